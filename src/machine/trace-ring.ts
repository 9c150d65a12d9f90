// The trace rings of a machine: one for each CPU, in the shared memory, written by the core's hooks and by TypeScript's
// half, each record with its place among all records. `drain` takes what stands there, in order.
//
// A record of TypeScript's own events names a row of a table on this side, because their fields are words.
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

/** Every function that the core can record. */
export function coreFunctions(): string[] {
  return [...FUNCTIONS.values()]
}

/** Bytes that the rings of so many CPUs take. */
export function traceBytes(cpus: number, records: number): number {
  return cpus * ringBytes(records)
}

function ringBytes(records: number): number {
  return L.TRB_SIZE + records * (L.TR_SIZE + L.TRE_SIZE)
}

/** What rings keep, where it is not everything that finds room. */
export interface TraceRingOptions {
  /** The oldest records make room for new ones. */
  readonly last?: boolean
  /** Tracepoints alone are recorded. */
  readonly events?: boolean
  /** CPUs are threads, which write at the same time. */
  readonly shared?: boolean
}

/** The rings. As the sink of a kernel it is TypeScript's pen. */
export class TraceRings implements TraceSink {
  readonly #view: View
  readonly #rings: readonly number[]
  readonly #host_names: string[] = []
  readonly #host_events: { name: string; fields: TraceFields }[] = []
  #host_event = 0
  #lost = 0
  /** Rings that have lost some. */
  readonly #short = new Set<number>()
  readonly #records: number
  readonly #options: TraceRingOptions
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
    this.#records = cpus.length * records
    this.#options = options
    this.#rings = cpus.map((_, i) => at + i * ringBytes(records))
    this.#rings.forEach((ring, i) => {
      view.setU32(ring + L.TRB_MASK, records - 1)
      view.setU32(ring + L.TRB_LAST, options.last ? 1 : 0)
      view.setU32(ring + L.TRB_SHARED, options.shared ? 1 : 0)
      view.setU32(ring + L.TRB_MORE, ring + L.TRB_RECORDS + records * L.TR_SIZE)
      view.setU32(cpus[i]! + L.CPU_TRACE, ring)
    })
  }

  /** Switches the core's hooks. */
  set on(on: boolean) {
    const what = this.#options.events ? 1 | L.TRACE_EVENTS : 1
    this.#view.store(L.M_BASE + L.M_TRACE, on ? what : 0)
  }

  get on(): boolean {
    return (this.#view.load(L.M_BASE + L.M_TRACE) & (1 | L.TRACE_MUTED)) === 1
  }

  /**
   * Virtual time: what it costs the machine to record one function, as it costs a real one.
   * @param cpus addresses of the CPU blocks
   */
  takesTime(ns: number, cpus: readonly number[], core: Pick<Core, 'time_passed'>): void {
    this.#view.setU32(L.M_BASE + L.M_TRACE_NS, ns)
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
    // No more rows than records are in use.
    const row = this.#host_event++ % this.#records
    this.#host_events[row] = { name, fields }
    this.#record(cpu, L.TR_HOST_EVENT, ctx, time, row)
  }

  #record(cpu: number, what: number, ctx: TraceContext, time: number, row = 0): void {
    if (!this.on) return
    const view = this.#view
    const ring = this.#rings[cpu]!
    this.contexts.set(ctx.id, ctx)
    const head = view.u32(ring + L.TRB_HEAD)
    const mask = view.u32(ring + L.TRB_MASK)
    if (!this.#options.last && head - view.load(ring + L.TRB_TAIL) > mask) {
      view.setU32(ring + L.TRB_DROPS, view.u32(ring + L.TRB_DROPS) + 1)
      return
    }
    const place = head & mask
    const at = ring + L.TRB_RECORDS + place * L.TR_SIZE
    view.setU64(at + L.TR_TIME, time)
    view.setU32(at + L.TR_TIME + 4, (Math.floor(time / 2 ** 32) | (what << 16)) >>> 0)
    view.setU32(at + L.TR_SEQ, view.add(L.M_BASE + L.M_TRACE_SEQ, 1))
    view.setU32(at + L.TR_CTX, (ctx.id | (ctx.depth << L.TR_DEPTH_SHIFT)) >>> 0)
    view.setU32(view.u32(ring + L.TRB_MORE) + place * L.TRE_SIZE + L.TRE_BYTES, row)
    view.store(ring + L.TRB_HEAD, (head + 1) >>> 0)
  }

  /** Records for which there was no room. */
  get drops(): number {
    return this.#rings.reduce((sum, ring) => sum + this.#view.u32(ring + L.TRB_DROPS), 0)
  }

  /** The oldest record of a ring that still stands there. */
  #first(ring: number): number {
    const view = this.#view
    const tail = view.u32(ring + L.TRB_TAIL)
    const written = (view.load(ring + L.TRB_HEAD) - tail) >>> 0
    const lost = written - view.u32(ring + L.TRB_MASK) - 1
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
    const view = this.#view
    const all: { seq: number; entry: TraceEntry }[] = []
    // Where a ring has lost its oldest records, what others have of that time has nothing to stand beside.
    let begin = 0
    this.#rings.forEach((ring, cpu) => {
      const mask = view.u32(ring + L.TRB_MASK)
      const head = view.load(ring + L.TRB_HEAD)
      const first = this.#first(ring)
      for (let n = first; n !== head; n = (n + 1) >>> 0) {
        const at = ring + L.TRB_RECORDS + (n & mask) * L.TR_SIZE
        const entry = this.#read(at, view.u32(ring + L.TRB_MORE) + (n & mask) * L.TRE_SIZE, cpu)
        if (n === first && this.#short.has(ring)) begin = Math.max(begin, entry.time)
        all.push({ seq: view.u32(at + L.TR_SEQ), entry })
      }
      view.store(ring + L.TRB_TAIL, head)
    })
    const kept = begin > 0 ? all.filter(({ entry }) => entry.time >= begin) : all
    this.#lost += all.length - kept.length
    kept.sort((a, b) => (a.seq - b.seq) | 0)
    return kept.map(({ entry }) => entry)
  }

  #read(at: number, more: number, cpu: number): TraceEntry {
    const view = this.#view
    const high = view.u32(at + L.TR_TIME + 4)
    const what = high >>> 16
    const who = view.u32(at + L.TR_CTX)
    const base = {
      time: view.u32(at + L.TR_TIME) + (high & 0xffff) * 2 ** 32,
      cpu,
      ctx: who & (2 ** L.TR_DEPTH_SHIFT - 1),
      depth: who >>> L.TR_DEPTH_SHIFT,
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
