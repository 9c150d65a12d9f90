// Clocks and random numbers. A run in virtual time must depend on nothing but its inputs and its seed, so only the clock
// and machine folders may ask the host what time it is, wait for it, or let it throw dice.

import ts from 'typescript'
import { at, type ParsedFile, walk } from './files.js'

/** Where the host's clock may be read. */
export function mayReadClocks(path: string): boolean {
  return /^(src\/machine\/|src\/kernel\/time|src\/core\/|bench\/|test\/|scripts\/)/.test(path)
}

const TIMERS = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']
const RANDOM = [
  'randomBytes',
  'randomInt',
  'randomUUID',
  'randomFill',
  'randomFillSync',
  'getRandomValues',
]

/** Members of an object that are banned; '*' = all of them. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  Date: ['now'],
  performance: ['*'],
  process: ['hrtime'],
  Math: ['random'],
}

const GLOBALS = [...TIMERS, ...Object.keys(MEMBERS).filter(name => name !== 'Math')]

/** A look at the text, which spares most files the walk through their trees. */
const HINT =
  /\b(Date|performance|hrtime|Math\.random|random\w+|getRandomValues|globalThis|node:(timers|perf_hooks)|set(Timeout|Interval|Immediate)|queueMicrotask)\b/

/** Modules whose only use is a clock. */
const MODULES = ['node:timers', 'node:timers/promises', 'node:perf_hooks']

function bannedMember(node: ts.Node): string | undefined {
  if (!ts.isPropertyAccessExpression(node)) return undefined
  const name = node.name.text
  if (RANDOM.includes(name)) return name
  if (!ts.isIdentifier(node.expression)) return undefined
  if (node.expression.text === 'globalThis') return GLOBALS.includes(name) ? name : undefined
  const object = node.expression.text
  const members = Object.hasOwn(MEMBERS, object) ? MEMBERS[object]! : []
  return members.includes(name) || members.includes('*') ? `${object}.${name}` : undefined
}

/** The name of what a node asks of the host, if that is time or chance. */
function banned(node: ts.Node): string | undefined {
  if (ts.isNewExpression(node) && node.expression.getText() === 'Date')
    return node.arguments?.length ? undefined : 'new Date()'
  if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
    const name = node.expression.text
    if (TIMERS.includes(name) || RANDOM.includes(name)) return name
    return name === 'Date' ? 'Date()' : undefined
  }
  if (ts.isStringLiteral(node) && MODULES.includes(node.text)) return node.text
  return bannedMember(node)
}

/** Uses of the host's time or chance where they do not belong. */
export function clockUses(files: readonly ParsedFile[]): string[] {
  const found: string[] = []
  for (const file of files) {
    if (mayReadClocks(file.path) || !HINT.test(file.text)) continue
    walk(file, node => {
      const what = banned(node)
      if (what !== undefined) found.push(`${at(file, node)}: ${what}`)
    })
  }
  return found
}
