// A trace as JSON, in the form in which real kernels were recorded: function entries in the order of time with depth and
// context, and tracepoints between them.
//
//   { kernel, scenario, config, steps: [{fn, depth, ctx?}], events: [{event, fields, at}], notes }
//
// `ctx` stands where it differs from the step before. Groups of steps that ran several times in a row stand there once,
// with `repeat` and, for more than one step, `span`; so do events that every round has: those of the first are left. What
// came in one round only, an interrupt after the last for instance, stays. A round that ends in another context than it begins:
// the next one's first step has no `ctx` of its own, in recordings as here. Its depth tells, as only its context has callers
// there; a step without callers therefore says its context for all rounds.

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

/** One entry, with the context that it ran in. */
interface Entry {
  readonly fn: string
  readonly depth: number
  readonly ctx: string
}

interface Step {
  fn: string
  depth: number
  ctx?: string
  repeat?: number
  span?: number
}

interface Event {
  event: string
  fields: TraceRecord['fields']
  /** The last step that had begun. */
  at: number
}

/** Longest group that is looked for: 200 in recordings, which have a fifth fewer functions than we. From 220 to 800 nothing changes. */
const MAX_SPAN = 240

function sameStep(a: Entry, b: Entry): boolean {
  return a.fn === b.fn && a.depth === b.depth && a.ctx === b.ctx
}

/** How often the `span` steps from `at` on stand there in a row. */
function repeats(steps: readonly Entry[], at: number, span: number): number {
  let n = 1
  for (;;) {
    const next = at + n * span
    if (next + span > steps.length) return n
    for (let i = 0; i < span; i++) if (!sameStep(steps[at + i]!, steps[next + i]!)) return n
    n++
  }
}

/** The shortest group at `at` that repeats itself. */
function groupAt(steps: readonly Entry[], at: number): { span: number; repeat: number } | null {
  const most = Math.min(MAX_SPAN, (steps.length - at) >> 1)
  for (let span = 1; span <= most; span++) {
    const repeat = sameStep(steps[at]!, steps[at + span]!) ? repeats(steps, at, span) : 1
    if (repeat > 1) return { span, repeat }
  }
  return null
}

/** Folds runs from the left; events go with the step after which they stand. */
function fold(
  steps: readonly Entry[],
  events: readonly Event[],
): { steps: Step[]; events: Event[] } {
  const folded: Step[] = []
  let context = ''
  const place = new Map<number, number>([[-1, -1]])
  /** Steps of later rounds, and which of the first round they are. */
  const first_of = new Map<number, number>()
  for (let i = 0; i < steps.length; ) {
    const group = groupAt(steps, i)
    const span = group?.span ?? 1
    for (let j = 0; j < span; j++) {
      const { fn, depth, ctx } = steps[i + j]!
      const returns = group !== null && j === 0 && depth === 0 && steps[i + span - 1]!.ctx !== ctx
      const told = ctx !== context || returns
      place.set(i + j, folded.push({ fn, depth, ...(told ? { ctx } : {}) }) - 1)
      context = ctx
    }
    if (group) {
      for (let j = span; j < span * group.repeat; j++) first_of.set(i + j, i + (j % span))
      const first = folded[folded.length - span]!
      first.repeat = group.repeat
      if (span > 1) first.span = span
    }
    i += span * (group?.repeat ?? 1)
  }
  const seen = new Set(events.filter(e => place.has(e.at)).map(e => `${e.at} ${e.event}`))
  const kept = events.flatMap(e => {
    const at = first_of.get(e.at) ?? e.at
    if (at !== e.at && seen.has(`${at} ${e.event}`)) return []
    return [{ ...e, at: place.get(at)! }]
  })
  return { steps: folded, events: kept }
}

/** Tracepoints that recordings leave out. */
const NOT_RECORDED = new Set(['timer_cancel', 'hrtimer_cancel'])

/** Nor do they have the ends of delayed works' timers: the works begin there; nor softirqs that are not the block layer's. */
function isRecorded({ name, fields }: TraceRecord): boolean {
  if (NOT_RECORDED.has(name)) return false
  if (name.startsWith('softirq_')) return fields['action'] === 'BLOCK'
  return name !== 'timer_expire_entry' || fields['function'] !== 'delayed_work_timer_fn'
}

/**
 * What calls handlers of interrupts: recordings begin with what it calls. They have functions of the storage stack, and the
 * helpers that these call.
 */
const DISPATCHERS = new Set([
  '__do_softirq',
  'run_timer_softirq',
  'call_timer_fn',
  'hrtimer_interrupt',
])

/** Entries without those of DISPATCHERS, and not as deep where these were above. */
class Entries {
  readonly steps: Entry[] = []
  /** Depths at which a context is in a dispatcher. */
  readonly #above: Map<string, number[]> = new Map()

  add({ name, depth, context }: TraceRecord): void {
    const above = this.#above.get(context) ?? []
    while (above.length > 0 && above[above.length - 1]! >= depth) above.pop()
    if (DISPATCHERS.has(name)) {
      above.push(depth)
      this.#above.set(context, above)
    } else this.steps.push({ fn: name, depth: depth - above.length, ctx: context })
  }
}

/** Fields that mean something in one run only. */
const LEFT_OUT = new Set(['sector', 'dev'])

function known(fields: TraceRecord['fields']): Record<string, string | number | boolean> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !LEFT_OUT.has(name)))
}

/** Entries and tracepoints of the longest recording: what came after the first so many was cut off. */
export const RECORDING_MOST = 8000

/**
 * The document as one line of JSON.
 * @param most entries and tracepoints, before they are folded; the notes say that others were cut off
 */
export function traceJson(
  about: TraceDocument,
  records: readonly TraceRecord[],
  most: number = Number.POSITIVE_INFINITY,
): string {
  const entries = new Entries()
  const { steps } = entries
  const events: Event[] = []
  const cut: string[] = []
  for (const record of records) {
    if (steps.length + events.length === most) {
      cut.push(`cut after the first ${most} calls and events`)
      break
    }
    if (record.kind === 'event') {
      if (!isRecorded(record)) continue
      events.push({ event: record.name, fields: known(record.fields), at: steps.length - 1 })
      continue
    }
    entries.add(record)
  }
  const { kernel, scenario, config } = about
  const notes = [...about.notes, ...cut]
  return `${JSON.stringify({ kernel, scenario, config, ...fold(steps, events), notes })}\n`
}
