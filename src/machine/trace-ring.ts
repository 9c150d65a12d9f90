// The trace rings of a machine, in the shared memory, written by the core's hooks and by TypeScript's half: one for all CPUs,
// whose records stand in the order in which they happened, or one for each where CPUs are threads, ordered by time. `drain`
// takes what stands there.
//
// A record is one word. Time, context and CPU of a run of records stand in a stamp, and what a tracepoint has beside in a ring
// of events (assembly/trace.ts). A record of TypeScript's own events names a row of a table on this side, because their fields
// are words.
//
// Rings that keep the last records (`last`) are read once, when nothing writes to them any more.

import * as L from '../../assembly/layout.js'
import * as T from '../../assembly/trace-names.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { TraceContext, TraceFields, TraceSink } from '../kernel/trace.js'

/** One record, as exporters read it. */
export interface TraceEntry {
  readonly kind: 'enter' | 'event'
  /** Linux's name of the function or tracepoint. */
  readonly name: string
  /** ns on the machine's clock. */
  readonly time: number
  readonly cpu: number
  readonly ctx: number
  readonly depth: number
  /** Events of the core. */
  readonly opf?: number
  readonly sector?: number
  readonly bytes?: number
  readonly error?: number
  /** Number of the disk. */
  readonly disk?: number
  /** Events of TypeScript's half. */
  readonly fields?: TraceFields
}

const names = (prefix: string): Map<number, string> =>
  new Map(
    Object.entries(T)
      .filter(([name]) => name.startsWith(prefix) && name !== 'FN_HOST')
      .map(([name, value]) => [value, name.slice(prefix.length)]),
  )

const FUNCTIONS = names('FN_')
const EVENTS = names('EV_')

/** Whether a record is of a tracepoint. */
function isEvent(word: number): boolean {
  return (word & (L.TR_EVENT | L.TR_HOST_EVENT)) !== 0
}

/** Every function that the core can record. */
export function coreFunctions(): string[] {
  return [...FUNCTIONS.values()]
}

/** Bytes that the rings of so many CPUs take, with so many records for each. */
export function traceBytes(cpus: number, records: number): number {
  return Math.max(cpus * ringBytes(records), ringBytes(together(cpus, records)))
}

/** Records of one ring in place of several: a power of two. */
function together(cpus: number, records: number): number {
  return 2 ** Math.ceil(Math.log2(cpus * records))
}

/** Every record may need a stamp, or be a tracepoint. */
function ringBytes(records: number): number {
  return L.TRB_SIZE + records * (L.TR_SIZE + L.TRS_SIZE + L.TRE_SIZE)
}

/** What rings keep, where it is not everything that finds room. */
export interface TraceRingOptions {
  /** The oldest records make room for new ones. */
  readonly last?: boolean
  /** Tracepoints alone are recorded. */
  readonly events?: boolean
  /** CPUs are threads, which write at the same time: each has a ring. */
  readonly shared?: boolean
}

/** The rings. As the sink of a kernel it is TypeScript's pen. */
export class TraceRings implements TraceSink {
  readonly #view: View
  /** Addresses of the rings. */
  readonly #rings: readonly number[]
  readonly #host_names: string[] = []
  readonly #host_events: { name: string; fields: TraceFields }[] = []
  #host_event = 0
  #lost = 0
  /** Numbers that no record has, because a ring began again. */
  #skipped = 0
  /** Rings that have lost some. */
  readonly #short = new Set<number>()
  readonly #records: number
  readonly #options: TraceRingOptions
  #timed = false
  #passed: ((cpu: number) => void) | null = null
  /** Contexts by the number that records have. */
  readonly contexts: Map<number, TraceContext> = new Map()

  /**
   * @param at memory of traceBytes, zero
   * @param records for each CPU, a power of two
   */
  constructor(
    view: View,
    cpus: readonly number[],
    at: number,
    records: number,
    options: TraceRingOptions = {},
  ) {
    this.#view = view
    const size = options.shared ? records : together(cpus.length, records)
    this.#records = size * (options.shared ? cpus.length : 1)
    this.#options = options
    this.#rings = options.shared ? cpus.map((_, i) => at + i * ringBytes(size)) : [at]
    for (const ring of this.#rings) this.#make(ring, size)
    cpus.forEach((cpu, i) => {
      view.setU32(cpu + L.CPU_TRACE, this.#ringOf(i))
      view.setU32(cpu + L.CPU_CTX_CPU, i)
    })
  }

  #make(ring: number, records: number): void {
    const view = this.#view
    const stamps = ring + L.TRB_RECORDS + records * L.TR_SIZE
    view.setU32(ring + L.TRB_MASK, records - 1)
    view.setU32(ring + L.TRB_AT, ring + L.TRB_RECORDS)
    view.setU32(ring + L.TRB_STOP, stamps)
    // nobody: the first record has a stamp
    view.setU64(ring + L.TRB_WHO, 2 ** 32 - 1)
    view.setU32(ring + L.TRB_LAST, this.#options.last ? 1 : 0)
    view.setU32(ring + L.TRB_STAMPS, stamps)
    view.setU32(ring + L.TRB_STAMP_MASK, records - 1)
    view.setU32(ring + L.TRB_MORE, stamps + records * L.TRS_SIZE)
    view.setU32(ring + L.TRB_MORE_MASK, records - 1)
  }

  #ringOf(cpu: number): number {
    return this.#rings[this.#options.shared ? cpu : 0]!
  }

  /** Switches the core's hooks. */
  set on(on: boolean) {
    const what = 1 | (this.#options.events ? L.TRACE_EVENTS : 0) | (this.#timed ? L.TRACE_TIMED : 0)
    this.#view.store(L.M_BASE + L.M_TRACE, on ? what : 0)
  }

  get on(): boolean {
    return (this.#view.load(L.M_BASE + L.M_TRACE) & (1 | L.TRACE_MUTED)) === 1
  }

  /**
   * Virtual time: what it costs the machine to record one function, as it costs a real one. Before it is switched on.
   * @param cpus addresses of the CPU blocks
   */
  takesTime(ns: number, cpus: readonly number[], core: Pick<Core, 'time_passed'>): void {
    this.#view.setU32(L.M_BASE + L.M_TRACE_NS, ns)
    this.#timed = ns > 0
    this.#passed = cpu => {
      if (this.on && ns > 0) core.time_passed(cpus[cpu]!, ns)
    }
  }

  enter(fn: number, name: string, ctx: TraceContext, cpu: number, time: number): void {
    this.#host_names[fn] = name
    if (!this.#options.events) this.#record(cpu, T.FN_HOST + fn, ctx, time)
    this.#passed?.(cpu)
  }

  leave(): void {}

  event(name: string, fields: TraceFields, ctx: TraceContext, cpu: number, time: number): void {
    if (this.#record(cpu, L.TR_HOST_EVENT, ctx, time)) this.#more(this.#ringOf(cpu), name, fields)
  }

  #record(cpu: number, what: number, ctx: TraceContext, time: number): boolean {
    if (!this.on) return false
    const view = this.#view
    const ring = this.#ringOf(cpu)
    this.contexts.set(ctx.id, ctx)
    let at = view.u32(ring + L.TRB_AT)
    if (at === view.u32(ring + L.TRB_STOP)) {
      if (!this.#options.last) {
        view.setU32(ring + L.TRB_DROPS, view.u32(ring + L.TRB_DROPS) + 1)
        return false
      }
      at = ring + L.TRB_RECORDS
      view.setU32(ring + L.TRB_TURN, (view.u32(ring + L.TRB_TURN) + this.#size(ring)) >>> 0)
    }
    view.setU32(ring + L.TRB_AT, at)
    this.#stamp(ring, this.#head(ring), cpu, ctx.id, time)
    view.setU32(at, (what | (ctx.depth << L.TR_DEPTH_SHIFT)) >>> 0)
    view.setU32(ring + L.TRB_AT, at + L.TR_SIZE)
    return true
  }

  /** Records that a ring has room for. */
  #size(ring: number): number {
    return this.#view.u32(ring + L.TRB_MASK) + 1
  }

  /** Records that were written; while a thread writes, fewer. */
  #head(ring: number): number {
    const turn = this.#view.load(ring + L.TRB_TURN)
    const at = this.#view.load(ring + L.TRB_AT)
    return (turn + (at - ring - L.TRB_RECORDS) / L.TR_SIZE) >>> 0
  }

  /** From the next record on: this CPU, context and time. */
  #stamp(ring: number, head: number, cpu: number, ctx: number, time: number): void {
    const view = this.#view
    const same = view.u64(ring + L.TRB_NOW) === time && view.u32(ring + L.TRB_WHO) === ctx
    if (same && view.u32(ring + L.TRB_WHO + 4) === cpu) return
    const place = view.u32(ring + L.TRB_STAMP_HEAD)
    const at = this.#stampAt(ring, place)
    view.setU64(at + L.TRS_TIME, time)
    const high = L.TRS_TIME + 4
    view.setU32(at + high, (view.u32(at + high) | (cpu << 16)) >>> 0)
    view.setU32(at + L.TRS_FIRST, head)
    view.setU32(at + L.TRS_CTX, ctx)
    view.setU32(ring + L.TRB_STAMP_HEAD, (place + 1) >>> 0)
    view.setU64(ring + L.TRB_NOW, time)
    view.setU32(ring + L.TRB_WHO, ctx)
    view.setU32(ring + L.TRB_WHO + 4, cpu)
  }

  #stampAt(ring: number, place: number): number {
    const view = this.#view
    return view.u32(ring + L.TRB_STAMPS) + (place & view.u32(ring + L.TRB_STAMP_MASK)) * L.TRS_SIZE
  }

  /** What an event of this half has beside. */
  #more(ring: number, name: string, fields: TraceFields): void {
    const view = this.#view
    // No more rows than records are in use.
    const row = this.#host_event++ % this.#records
    this.#host_events[row] = { name, fields }
    const place = view.u32(ring + L.TRB_MORE_HEAD)
    view.setU32(this.#moreAt(ring, place) + L.TRE_BYTES, row)
    view.setU32(ring + L.TRB_MORE_HEAD, (place + 1) >>> 0)
  }

  #moreAt(ring: number, place: number): number {
    const view = this.#view
    return view.u32(ring + L.TRB_MORE) + (place & view.u32(ring + L.TRB_MORE_MASK)) * L.TRE_SIZE
  }

  /** Records written so far. */
  get written(): number {
    return this.#rings.reduce((sum, ring) => sum + this.#head(ring), -this.#skipped)
  }

  /** Records for which there was no room. */
  get drops(): number {
    return this.#rings.reduce((sum, ring) => sum + this.#view.u32(ring + L.TRB_DROPS), 0)
  }

  /** The oldest record of a ring that still stands there. */
  #first(ring: number): number {
    const view = this.#view
    const tail = view.u32(ring + L.TRB_TAIL)
    const lost = ((this.#head(ring) - tail) | 0) - this.#size(ring)
    if (lost <= 0) return tail
    this.#lost += lost
    this.#short.add(ring)
    const first = (tail + lost) >>> 0
    view.store(ring + L.TRB_TAIL, first)
    return first
  }

  /** Rings that keep the last records count in 32 bits: to be called before so many were written. */
  count(): void {
    for (const ring of this.#rings) this.#first(ring)
  }

  /** Records that made room for later ones, as far as count() and drain() have seen. */
  get lost(): number {
    return this.#lost
  }

  /** Takes what is there, in the order in which it happened. */
  drain(): TraceEntry[] {
    const rings = this.#rings.map(ring => this.#take(ring))
    if (rings.length === 1) return rings[0]!
    // Where a ring has lost its oldest records, what others have of that time has nothing to stand beside.
    const short = rings.filter((_, i) => this.#short.has(this.#rings[i]!))
    const begin = Math.max(0, ...short.map(entries => entries[0]?.time ?? 0))
    const all = rings.flat()
    const kept = begin > 0 ? all.filter(entry => entry.time >= begin) : all
    this.#lost += all.length - kept.length
    // the time of a CPU does not go back, and a sort leaves equal ones as they are
    return kept.sort((a, b) => a.time - b.time)
  }

  /** What one ring has, in its order. */
  #take(ring: number): TraceEntry[] {
    const view = this.#view
    const first = this.#first(ring)
    const head = this.#head(ring)
    const entries: TraceEntry[] = []
    let stamp = this.#firstStamp(ring, first)
    let event = view.u32(ring + L.TRB_MORE_HEAD) - this.#events(ring, first, head)
    const stamps = view.u32(ring + L.TRB_STAMP_HEAD)
    for (let n = first; n !== head; n = (n + 1) >>> 0) {
      const next = (stamp + 1) >>> 0
      if (next !== stamps && view.u32(this.#stampAt(ring, next) + L.TRS_FIRST) === n) stamp = next
      const word = view.u32(this.#wordAt(ring, n))
      entries.push(this.#read(word, this.#stampAt(ring, stamp), this.#moreAt(ring, event)))
      if (isEvent(word)) event++
    }
    this.#emptied(ring, head)
    return entries
  }

  /** All records are read: a ring that keeps the last goes on behind them, another one from its beginning. */
  #emptied(ring: number, head: number): void {
    const view = this.#view
    const size = this.#size(ring)
    const turn = Math.ceil(head / size) * size
    const last = this.#options.last === true
    view.store(ring + L.TRB_TAIL, last ? head : turn >>> 0)
    if (last) return
    this.#skipped += turn - head
    view.setU32(ring + L.TRB_TURN, turn >>> 0)
    view.setU32(ring + L.TRB_AT, ring + L.TRB_RECORDS)
  }

  #wordAt(ring: number, n: number): number {
    return ring + L.TRB_RECORDS + (n & this.#view.u32(ring + L.TRB_MASK)) * L.TR_SIZE
  }

  /** The stamp that a record has. */
  #firstStamp(ring: number, n: number): number {
    const view = this.#view
    let stamp = (view.u32(ring + L.TRB_STAMP_HEAD) - 1) >>> 0
    while (((view.u32(this.#stampAt(ring, stamp) + L.TRS_FIRST) - n) | 0) > 0) {
      stamp = (stamp - 1) >>> 0
    }
    return stamp
  }

  /** How many of these records are events. */
  #events(ring: number, first: number, head: number): number {
    let events = 0
    for (let n = first; n !== head; n = (n + 1) >>> 0) {
      if (isEvent(this.#view.u32(this.#wordAt(ring, n)))) events++
    }
    return events
  }

  #read(word: number, stamp: number, more: number): TraceEntry {
    const view = this.#view
    const high = view.u32(stamp + L.TRS_TIME + 4)
    const what = word & 0xffff
    const base = {
      time: view.u32(stamp + L.TRS_TIME) + (high & 0xffff) * 2 ** 32,
      cpu: high >>> 16,
      ctx: view.u32(stamp + L.TRS_CTX),
      depth: word >>> L.TR_DEPTH_SHIFT,
    }
    if (what & L.TR_HOST_EVENT) {
      const row = this.#host_events[view.u32(more + L.TRE_BYTES)]!
      return { kind: 'event', ...row, ...base }
    }
    if (what & L.TR_EVENT) return this.#readEvent(more, what, base)
    const name =
      what >= T.FN_HOST ? this.#host_names[what - T.FN_HOST]! : (FUNCTIONS.get(what) ?? '?')
    return { kind: 'enter', name, ...base }
  }

  #readEvent(
    at: number,
    what: number,
    base: { time: number; cpu: number; ctx: number; depth: number },
  ): TraceEntry {
    const view = this.#view
    const q = view.u32(at + L.TRE_Q)
    return {
      kind: 'event',
      name: EVENTS.get(what & (L.TR_EVENT - 1)) ?? '?',
      ...base,
      opf: view.u32(at + L.TRE_OPF),
      sector: view.u64(at + L.TRE_SECTOR),
      bytes: view.u32(at + L.TRE_BYTES),
      error: view.u32(at + L.TRE_ERROR),
      disk: q ? view.u32(q + L.Q_INDEX) : 0,
    }
  }
}
