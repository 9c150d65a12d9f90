// Which way imports point. A file may import from its own layer and from the layers that its layer names; there are no
// cycles, inside a layer either. Imports of types count: a type is knowledge of the other file.
//
// assembly/ has two files that everybody reads (layout.ts and nvme.ts, constants only). Nothing outside of assembly/
// imports anything else of it: the rest is compiled to WASM.

import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import ts from 'typescript'
import { at, type ParsedFile, walk } from './files.js'

/** One import: the specifier as written, and where it stands. */
export interface Import {
  readonly from: string
  readonly to: string
  readonly where: string
}

const KERNEL = ['kernel', 'core', 'constants']
const BLOCK = ['block', 'mm', ...KERNEL]
const MACHINE = ['machine', 'device', 'drivers', 'fs', ...BLOCK]
const RUN = ['workload', 'report', ...MACHINE]

/** Layers, lowest first, and what each may import (its own files always). */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  constants: [],
  assembly: ['constants'],
  core: ['constants'],
  kernel: KERNEL,
  mm: KERNEL,
  block: BLOCK,
  drivers: BLOCK,
  fs: BLOCK,
  device: KERNEL,
  machine: MACHINE,
  report: ['core'],
  workload: RUN,
  gate: ['report', 'core'],
  view: ['gate', ...RUN],
  cli: ['gate', ...RUN],
  index: ['gate', ...RUN],
  scripts: [],
  '.ci': [],
  bench: ['index', 'cli', 'view', 'gate', ...RUN],
  test: ['scripts', 'bench', 'index', 'cli', 'view', 'gate', 'assembly', ...RUN],
}

/** The layer of a file; undefined for a place that the table does not know. */
export function layerOf(path: string): string | undefined {
  if (/^assembly\/(layout|nvme|trace-names)\.ts$/.test(path)) return 'constants'
  if (path === 'src/index.ts') return 'index'
  if (path === 'src/cli.ts') return 'cli'
  const [top, second] = path.split('/')
  const layer = top === 'src' ? second : top
  return layer !== undefined && Object.hasOwn(LAYERS, layer) ? layer : undefined
}

/** Every module that a file names: import, export from, import(), import types. */
export function specifiers(file: ParsedFile): { text: string; where: string }[] {
  const found: { text: string; where: string }[] = []
  const add = (node: ts.Node | undefined): void => {
    if (node && ts.isStringLiteral(node)) found.push({ text: node.text, where: at(file, node) })
  }
  for (const node of file.tree.statements)
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier)
  if (!/\bimport\s*\(/.test(file.text)) return found
  walk(file, node => {
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0])
  })
  return found
}

/** The file that a relative specifier means: `./x.js` is `x.ts`, and assembly/ leaves the ending out. */
function resolve(from: string, specifier: string, known: ReadonlySet<string>): string {
  const path = posix.join(posix.dirname(from), specifier)
  const candidates = [path.replace(/\.js$/, '.ts'), path, `${path}.ts`]
  return candidates.find(candidate => known.has(candidate)) ?? path
}

/** Relative imports between the given files. */
export function importsOf(files: readonly ParsedFile[]): Import[] {
  const known = new Set(files.map(file => file.path))
  return files.flatMap(file =>
    specifiers(file)
      .filter(({ text }) => text.startsWith('.'))
      .map(({ text, where }) => ({ from: file.path, to: resolve(file.path, text, known), where })),
  )
}

/** Imports that point up, sideways, or to a place that nobody knows. */
export function wrongDirections(files: readonly ParsedFile[]): string[] {
  const known = new Set(files.map(file => file.path))
  const homeless = files
    .filter(file => layerOf(file.path) === undefined)
    .map(file => `${file.path}: stands in no layer of test/tidy/imports.ts`)
  const wrong = importsOf(files).flatMap(({ from, to, where }) => {
    const [above, below] = [layerOf(from), layerOf(to)]
    if (above === undefined || to.startsWith('dist/')) return []
    if (!known.has(to)) return to.endsWith('.json') ? [] : [`${where}: ${to} does not exist`]
    if (above === below || (below !== undefined && LAYERS[above]!.includes(below))) return []
    return [`${where}: ${above} may not import ${below ?? 'no layer'} (${to})`]
  })
  return [...homeless, ...wrong]
}

/** Every cycle that is found, as `a -> b -> a`, once for the place at which it closes. */
export function cycles(files: readonly ParsedFile[]): string[] {
  const targets = new Map<string, string[]>()
  for (const { from, to } of importsOf(files)) targets.set(from, [...(targets.get(from) ?? []), to])
  const done = new Set<string>()
  const path: string[] = []
  const found: string[] = []
  const visit = (file: string): void => {
    const start = path.indexOf(file)
    if (start >= 0) found.push([...path.slice(start), file].join(' -> '))
    if (start >= 0 || done.has(file)) return
    path.push(file)
    for (const target of targets.get(file) ?? []) visit(target)
    path.pop()
    done.add(file)
  }
  for (const file of targets.keys()) visit(file)
  return found
}

/** Packages that shipped code names without depending on them, or builtin modules without `node:`. */
export function strangePackages(
  files: readonly ParsedFile[],
  allowed: readonly string[],
): string[] {
  return files
    .filter(file => file.path.startsWith('src/'))
    .flatMap(file =>
      specifiers(file)
        .filter(({ text }) => !text.startsWith('.') && !allowed.includes(text))
        .filter(({ text }) => !(text.startsWith('node:') && builtinModules.includes(text.slice(5))))
        .map(({ text, where }) => `${where}: '${text}' is neither node: nor a dependency`),
    )
}
