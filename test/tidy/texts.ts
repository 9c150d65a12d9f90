// Rules about single files: a story at the beginning, no leftover markers, no paths of one machine, no mutable globals in
// the core.

import ts from 'typescript'
import { at, type HouseFile, type ParsedFile, walk } from './files.js'

// Written in two halves, so that this file does not find itself.
const MARKERS = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK']
const MARKER = new RegExp(`\\b(${MARKERS.join('|')})\\b`)

/** Lines with a marker of unfinished work. */
export function leftoverMarkers(files: readonly HouseFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, i) =>
        MARKER.test(line) ? [`${path}:${i + 1}: ${MARKER.exec(line)![1]}`] : [],
      ),
  )
}

/** Code that does not begin by saying what it is. */
export function withoutStory(files: readonly HouseFile[]): string[] {
  return files
    .filter(({ path }) => /^(src|assembly|bench|scripts)\/.*\.(ts|mts|mjs|js)$/.test(path))
    .filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*)/.test(text))
    .map(({ path }) => `${path}: does not begin with a comment`)
}

const ABSOLUTE = /(^|[^\w.$])\/(work|home|tmp|root|Users)\//
const WORKPLACE = /(^|[^\w.$])\/work\//

/** Literals that name a place of one machine. Tests may use the system's folder for temporary files by name. */
export function machinePaths(files: readonly ParsedFile[]): string[] {
  const found: string[] = []
  for (const file of files) {
    const pattern = file.path.startsWith('test/') ? WORKPLACE : ABSOLUTE
    if (!pattern.test(file.text)) continue
    walk(file, node => {
      if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node)) {
        if (pattern.test(node.text)) found.push(`${at(file, node)}: '${node.text}'`)
      }
    })
  }
  return found
}

/** The same for files that are no TypeScript: every line counts. */
export function machinePathsInText(files: readonly HouseFile[]): string[] {
  return files
    .filter(({ path }) => !/\.(ts|mts|mjs|js)$/.test(path) && !path.startsWith('test/'))
    .flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, i) => (ABSOLUTE.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
    )
}

/** Variables of a core module: one instance serves all CPUs in virtual time, and each thread has its own copy. */
export function mutableGlobals(files: readonly ParsedFile[]): string[] {
  return files
    .filter(file => file.path.startsWith('assembly/'))
    .flatMap(file =>
      file.tree.statements
        .filter(ts.isVariableStatement)
        .filter(({ declarationList }) => !(declarationList.flags & ts.NodeFlags.Const))
        .map(statement => `${at(file, statement)}: a mutable global`),
    )
}

/** Lines of layout.ts and nvme.ts that are no constant integer expression. */
export function notConstant(files: readonly ParsedFile[]): string[] {
  return files
    .filter(({ path }) => path === 'assembly/layout.ts' || path === 'assembly/nvme.ts')
    .flatMap(file =>
      file.tree.statements
        .filter(
          statement =>
            !/^export const [A-Z]\w* = [-\w\s+*<|()]+$/.test(statement.getText(file.tree)),
        )
        .map(statement => `${at(file, statement)}: not export const NAME = integer expression`),
    )
}
