// The files of the tree as the house rules see them: a path relative to the root, the text, and (for TypeScript) the
// syntax tree. Rules take lists of these, so that a test can hand them made-up files as well.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))

/** One file; `path` has forward slashes and is relative to the root. */
export interface HouseFile {
  readonly path: string
  readonly text: string
}

/** A TypeScript file with its syntax tree. */
export interface ParsedFile extends HouseFile {
  readonly tree: ts.SourceFile
}

/** Folders whose files are written by hand, and single files of the root. */
const FOLDERS = ['assembly', 'src', 'bench', 'test', 'scripts', 'examples', '.ci', '.github']
const SINGLES = ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'package.json', 'asconfig.json']
const TEXT = /\.(ts|mts|mjs|js|json|md|yml|fio|c|h|html|css)$|\/run$|Makefile$/

/** Every text file that was written by hand, in the order of the paths. */
export function houseFiles(): HouseFile[] {
  const below = FOLDERS.filter(folder => existsSync(join(ROOT, folder))).flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/')),
  )
  return [...below, ...SINGLES.filter(file => existsSync(join(ROOT, file)))]
    .filter(path => TEXT.test(path))
    .sort()
    .map(path => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

/** The TypeScript and JavaScript files among them, parsed. */
export function parsed(files: readonly HouseFile[]): ParsedFile[] {
  return files.filter(({ path }) => /\.(ts|mts|mjs|js)$/.test(path)).map(file => new LazyFile(file))
}

/** Parses when a rule asks for the tree: most rules look at the text first. */
class LazyFile implements ParsedFile {
  readonly path: string
  readonly text: string
  #tree: ts.SourceFile | undefined

  constructor({ path, text }: HouseFile) {
    this.path = path
    this.text = text
  }

  get tree(): ts.SourceFile {
    this.#tree ??= ts.createSourceFile(this.path, this.text, ts.ScriptTarget.Latest, true)
    return this.#tree
  }
}

/** Calls `visit` for every node of a file. */
export function walk(file: ParsedFile, visit: (node: ts.Node) => void): void {
  const step = (node: ts.Node): void => {
    visit(node)
    ts.forEachChild(node, step)
  }
  step(file.tree)
}

/** `path:line` of a node. */
export function at(file: ParsedFile, node: ts.Node): string {
  const { line } = file.tree.getLineAndCharacterOfPosition(node.getStart(file.tree))
  return `${file.path}:${line + 1}`
}
