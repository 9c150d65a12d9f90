// A trace as Chrome trace events, which Perfetto's viewer and chrome://tracing open: a slice for each function, an
// asynchronous slice for each request from Q to C with its steps, an instant for other tracepoints. Times are
// microseconds of the machine's clock.

import type { TraceRecord } from './trace-json.js'

type Json = Record<string, unknown>

/** Steps of a request between Q and C. */
const STEPS: Readonly<Record<string, string>> = {
  block_getrq: 'G',
  block_rq_insert: 'I',
  block_rq_issue: 'D',
  block_rq_requeue: 'R',
}

/** When each function ends: with the next record of its context that is not inside it. */
function ends(records: readonly TraceRecord[]): number[] {
  const end = records.map(r => r.time)
  const open = new Map<string, number[]>()
  let last = 0
  records.forEach((record, i) => {
    last = Math.max(last, record.time)
    if (record.kind === 'event') return
    const stack = open.get(record.context) ?? []
    open.set(record.context, stack)
    while (stack.length > 0 && records[stack[stack.length - 1]!]!.depth >= record.depth)
      end[stack.pop()!] = record.time
    stack.push(i)
  })
  for (const stack of open.values()) for (const i of stack) end[i] = Math.max(end[i]!, last)
  return end
}

const us = (ns: number): number => Math.round(ns) / 1000

function asyncEvent(record: TraceRecord, tid: number): Json | null {
  const { name, fields, time } = record
  const base = { cat: 'request', id: `${fields['dev']}:${fields['sector']}`, pid: 1, tid }
  const ts = us(time)
  const title = `${fields['rwbs']} ${fields['sector']}+${fields['sectors']}`
  if (name === 'block_bio_queue') return { ...base, name: title, ph: 'b', ts, args: fields }
  if (name === 'block_rq_complete') return { ...base, name: title, ph: 'e', ts, args: fields }
  const step = STEPS[name]
  return step === undefined ? null : { ...base, name: step, ph: 'n', ts }
}

/** The document. */
export function tracePerfetto(records: readonly TraceRecord[], title: string): string {
  const threads = new Map<string, number>()
  const tidOf = (context: string): number => {
    const tid = threads.get(context) ?? threads.size + 1
    threads.set(context, tid)
    return tid
  }
  const end = ends(records)
  const events: Json[] = records.map((record, i) => {
    const tid = tidOf(record.context)
    const ts = us(record.time)
    const { name, fields } = record
    if (record.kind === 'enter')
      return { name, ph: 'X', ts, dur: us(end[i]! - record.time), pid: 1, tid }
    return asyncEvent(record, tid) ?? { name, ph: 'i', s: 't', ts, pid: 1, tid, args: fields }
  })
  const names: Json[] = [...threads].map(([name, tid]) => ({
    name: 'thread_name',
    ph: 'M',
    pid: 1,
    tid,
    args: { name },
  }))
  names.push({ name: 'process_name', ph: 'M', pid: 1, args: { name: title } })
  return `${JSON.stringify({ traceEvents: [...names, ...events], displayTimeUnit: 'ns' })}\n`
}
