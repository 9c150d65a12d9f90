// Rules about the tests themselves: each asserts something, none is left out without a reason.
//
// A test asserts when its body, or a function of the test tree that it calls, or one that those call, names expect or
// assert. Functions are known by name, across files: a helper that asserts is a helper that asserts.

import ts from 'typescript'
import { at, type ParsedFile, walk } from './files.js'

const ASSERTIONS = new Set(['expect', 'assert', 'expectTypeOf'])

/** `it` of `it.each(table)('name', body)`; undefined for a callee that is no plain name. */
function rootName(node: ts.Expression): string | undefined {
  if (ts.isIdentifier(node)) return node.text
  if (
    ts.isPropertyAccessExpression(node) ||
    ts.isCallExpression(node) ||
    ts.isTaggedTemplateExpression(node)
  )
    return rootName(ts.isTaggedTemplateExpression(node) ? node.tag : node.expression)
  return undefined
}

/** The body of a test, if the node is one: `it('name', body)` in any of its forms. */
function testBody(node: ts.Node): ts.Node | undefined {
  if (!ts.isCallExpression(node)) return undefined
  const root = rootName(node.expression)
  if (root !== 'it' && root !== 'test') return undefined
  return node.arguments.find(
    arg =>
      ts.isArrowFunction(arg) ||
      ts.isFunctionExpression(arg) ||
      (ts.isIdentifier(arg) && arg !== node.arguments[0]),
  )
}

/** Names that are called, or handed on as functions, inside a node. */
function namesIn(node: ts.Node): Set<string> {
  const names = new Set<string>()
  const step = (n: ts.Node): void => {
    if (ts.isIdentifier(n)) names.add(n.text)
    ts.forEachChild(n, step)
  }
  step(node)
  return names
}

function meet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const name of a) if (b.has(name)) return true
  return false
}

/** Name and body of a function that a test may call. */
function namedFunction(node: ts.Node): [name: string, body: ts.Node] | undefined {
  if ((ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) && node.name && node.body)
    return [node.name.getText(), node.body]
  if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer)
    if (ts.isArrowFunction(node.initializer) || ts.isFunctionExpression(node.initializer))
      return [node.name.text, node.initializer.body]
  return undefined
}

/** Names of all functions that assert, directly or through others. */
export function assertingNames(files: readonly ParsedFile[]): Set<string> {
  const functions: { name: string; uses: Set<string> }[] = []
  for (const file of files) {
    walk(file, node => {
      const found = namedFunction(node)
      if (found) functions.push({ name: found[0], uses: namesIn(found[1]) })
    })
  }
  const asserting = new Set(ASSERTIONS)
  for (let before = -1; before !== asserting.size; ) {
    before = asserting.size
    for (const { name, uses } of functions) if (meet(uses, asserting)) asserting.add(name)
  }
  return asserting
}

/** Test files without a test, and tests without an assertion. */
export function emptyTests(files: readonly ParsedFile[]): string[] {
  const tests = files.filter(file => file.path.startsWith('test/'))
  const asserting = assertingNames(tests)
  return tests
    .filter(file => file.path.endsWith('.test.ts'))
    .flatMap(file => {
      const wrong: string[] = []
      let count = 0
      walk(file, node => {
        const body = testBody(node)
        if (!body) return
        count++
        if (!meet(namesIn(body), asserting)) wrong.push(`${at(file, node)}: asserts nothing`)
      })
      return count > 0 ? wrong : [`${file.path}: has no test`]
    })
}

/** A file whose tests need a tool: where it is missing they are skipped, and one test fails in CI. */
const FAILS_IN_CI = /\brequireInCi\(/

const LEFT_OUT = ['skip', 'skipIf', 'runIf', 'todo', 'fails']

/** A comment on the line of a node or on the line above it. */
function hasReason(file: ParsedFile, node: ts.Node): boolean {
  const lines = file.text.split('\n')
  const { line } = file.tree.getLineAndCharacterOfPosition(node.getStart(file.tree))
  return (
    /\/\/\s*\S/.test(lines[line] ?? '') || /^\s*(\/\/|\*|\/\*\*)\s*\S/.test(lines[line - 1] ?? '')
  )
}

/** Tests that run alone, and tests that are left out without a comment that says why. */
export function leftOutTests(files: readonly ParsedFile[]): string[] {
  const found: string[] = []
  for (const file of files.filter(({ path }) => path.startsWith('test/'))) {
    if (!/\.(only|skip|todo|fails|runIf)/.test(file.text)) continue
    walk(file, node => {
      if (!ts.isPropertyAccessExpression(node)) return
      const root = rootName(node.expression)
      if (root === undefined || !['it', 'test', 'describe'].includes(root)) return
      const name = node.name.text
      if (name === 'only') found.push(`${at(file, node)}: .only`)
      if (LEFT_OUT.includes(name) && !hasReason(file, node) && !FAILS_IN_CI.test(file.text))
        found.push(`${at(file, node)}: .${name} without a reason`)
    })
  }
  return found
}
