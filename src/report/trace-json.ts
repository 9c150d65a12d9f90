// A trace as JSON, in the form in which real kernels were recorded: function entries in the order of time with depth and
// context, and tracepoints between them.
//
//   { kernel, scenario, config, steps: [{fn, depth, ctx?}], events: [{event, fields, at}], notes }
//
// `ctx` stands where it differs from the step before. Runs of equal groups of steps are not folded.

/** A record as this file needs it. */
export interface TraceRecord {
  readonly kind: 'enter' | 'event'
  readonly name: string
  readonly time: number
  readonly cpu: number
  /** task, `kworker-1`, softirq, hardirq or idle. */
  readonly context: string
  readonly depth: number
  readonly fields: Readonly<Record<string, string | number | boolean>>
}

export interface TraceDocument {
  readonly kernel: string
  readonly scenario: string
  readonly config: Readonly<Record<string, string>>
  readonly notes: readonly string[]
}

interface Step {
  fn: string
  depth: number
  ctx?: string
}

/** Tracepoints that recordings leave out. */
const NOT_RECORDED = new Set(['timer_cancel', 'hrtimer_cancel'])

/** Fields that mean something in one run only. */
const LEFT_OUT = new Set(['sector', 'dev'])

function known(fields: TraceRecord['fields']): Record<string, string | number | boolean> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !LEFT_OUT.has(name)))
}

/** The document as one line of JSON. */
export function traceJson(about: TraceDocument, records: readonly TraceRecord[]): string {
  const steps: Step[] = []
  const events: { event: string; fields: TraceRecord['fields']; at: number }[] = []
  let context = ''
  for (const record of records) {
    if (record.kind === 'event') {
      if (NOT_RECORDED.has(record.name)) continue
      events.push({ event: record.name, fields: known(record.fields), at: steps.length - 1 })
      continue
    }
    const step: Step = { fn: record.name, depth: record.depth }
    if (record.context !== context) step.ctx = context = record.context
    steps.push(step)
  }
  const { kernel, scenario, config, notes } = about
  return `${JSON.stringify({ kernel, scenario, config, steps, events, notes })}\n`
}
