// A trace as ftrace's function_graph shows it: braces for what a function calls, a line where another context goes on.
// Functions that a context was in the middle of stay open until it goes on.

import type { TraceRecord } from './trace-json.js'

const HEADER = [
  '# tracer: function_graph',
  '#',
  '# CPU  TIME (us)         FUNCTION CALLS',
  '# |     |                 |   |   |   |',
]
const RULE = ' ------------------------------------------'

interface Open {
  readonly depth: number
}

/** For each record whether something it called was recorded: the next record of its context is deeper. */
function callers(records: readonly TraceRecord[]): boolean[] {
  const next = new Map<string, number>()
  const calls = records.map(() => false)
  for (let i = records.length - 1; i >= 0; i--) {
    const { kind, context, depth } = records[i]!
    if (kind === 'event') continue
    calls[i] = (next.get(context) ?? -1) > depth
    next.set(context, depth)
  }
  return calls
}

function line(record: TraceRecord, depth: number, text: string): string {
  const time = (record.time / 1000).toFixed(3).padStart(14)
  return `${String(record.cpu).padStart(3)}) ${time} |  ${'  '.repeat(depth)}${text}`
}

function switchLines(record: TraceRecord, from: string): string[] {
  return [RULE, `${String(record.cpu).padStart(3)})  ${from || '...'}  =>  ${record.context}`, RULE]
}

function comment({ name, fields }: TraceRecord): string {
  const shown = Object.entries(fields).map(([key, value]) => `${key}=${value}`)
  return `/* ${[name, ...shown].join(' ')} */`
}

/** The text. */
export function traceGraph(records: readonly TraceRecord[]): string {
  const lines = [...HEADER]
  const calls = callers(records)
  const stacks = new Map<string, Open[]>()
  let context = ''
  let depth = 0
  const close = (stack: Open[], record: TraceRecord, down: number): void => {
    while (stack.length > 0 && stack[stack.length - 1]!.depth >= down)
      lines.push(line(record, stack.pop()!.depth, '}'))
  }
  records.forEach((record, i) => {
    if (record.kind === 'event') {
      lines.push(line(record, depth, comment(record)))
      return
    }
    if (record.context !== context) {
      lines.push(...switchLines(record, context))
      context = record.context
    }
    const stack = stacks.get(context) ?? []
    stacks.set(context, stack)
    close(stack, record, record.depth)
    lines.push(line(record, record.depth, calls[i] ? `${record.name}() {` : `${record.name}();`))
    depth = record.depth + 1
    if (calls[i]) stack.push({ depth: record.depth })
  })
  const last = records[records.length - 1]
  if (last) for (const stack of stacks.values()) close(stack, last, 0)
  return `${lines.join('\n')}\n`
}
