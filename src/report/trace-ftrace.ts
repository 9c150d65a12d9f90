// Tracepoints as ftrace's event text (trace_pipe, trace-cmd report): what perf scripts, trace-cmd and Perfetto's importer
// read. Function entries are not in this form.

import type { TraceRecord } from './trace-json.js'

const HEADER = `# tracer: nop
#
#                              _-----=> irqs-off
#                             / _----=> need-resched
#                            | / _---=> hardirq/softirq
#                            || / _--=> preempt-depth
#                            ||| /     delay
#           TASK-PID   CPU#  ||||    TIMESTAMP  FUNCTION
#              | |       |   ||||       |         |
`

const BIO = new Set([
  'block_bio_queue',
  'block_bio_backmerge',
  'block_bio_frontmerge',
  'block_getrq',
  'block_sleeprq',
])

function device(record: TraceRecord, devices: readonly number[]): string {
  const number = devices[Number(record.fields['dev'] ?? 0)] ?? 0
  return `${number >>> 20},${number & 0xfffff}`
}

function text(record: TraceRecord, devices: readonly number[]): string {
  const { name, fields, context } = record
  const dev = device(record, devices)
  const place = `${fields['sector'] ?? 0} + ${fields['sectors'] ?? 0}`
  if (BIO.has(name)) return `${dev} ${fields['rwbs']} ${place} [${context}]`
  if (name === 'block_rq_issue' || name === 'block_rq_insert')
    return `${dev} ${fields['rwbs']} ${fields['bytes']} () ${place} [${context}]`
  if (name.startsWith('block_rq_') || name === 'block_bio_complete')
    return `${dev} ${fields['rwbs']} ${name === 'block_bio_complete' ? '' : '() '}${place} [${fields['error'] ?? 0}]`
  if (name === 'block_plug') return `[${context}]`
  if (name === 'block_unplug') return `[${context}] ${fields['n']}`
  return Object.entries(fields)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
}

const FLAGS: Readonly<Record<string, string>> = { hardirq: 'd.h.', softirq: '..s.' }

/** The text. */
export function traceFtrace(records: readonly TraceRecord[], devices: readonly number[]): string {
  const pids = new Map<string, number>()
  const lines = records.flatMap(record => {
    const { context } = record
    if (!pids.has(context)) pids.set(context, pids.size + 1)
    if (record.kind !== 'event') return []
    const task = `${context.slice(0, 15).padStart(16)}-${String(pids.get(context)).padEnd(5)}`
    const cpu = `[${String(record.cpu).padStart(3, '0')}]`
    const whole = Math.floor(record.time / 1e9)
    const micros = Math.floor((record.time % 1e9) / 1e3)
    const time = `${String(whole).padStart(5)}.${String(micros).padStart(6, '0')}`
    return [
      `${task} ${cpu} ${FLAGS[context] ?? '....'} ${time}: ${record.name}: ${text(record, devices)}`,
    ]
  })
  return `${HEADER}${lines.map(line => `${line}\n`).join('')}`
}
