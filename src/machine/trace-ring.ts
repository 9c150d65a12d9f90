// The trace rings of a machine: one for each CPU, in the shared memory, written by the core's hooks and by TypeScript's
// half, each record with its place among all records. `drain` takes what stands there, in order.
//
// A record of TypeScript's own events names a row of a table on this side, because their fields are words.

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
  return cpus * (L.TRB_SIZE + records * L.TR_SIZE)
}

/** The rings. As the sink of a kernel it is TypeScript's pen. */
export class TraceRings implements TraceSink {
  readonly #view: View
  readonly #rings: readonly number[]
  readonly #host_names: string[] = []
  readonly #host_events: { name: string; fields: TraceFields }[] = []
  #passed: ((cpu: number) => void) | null = null
  /** Contexts by the number that records have. */
  readonly contexts: Map<number, TraceContext> = new Map()

  /**
   * @param at memory of traceBytes, zero
   * @param records for each CPU, a power of two
   */
  constructor(view: View, cpus: readonly number[], at: number, records: number) {
    this.#view = view
    this.#rings = cpus.map((_, i) => at + i * (L.TRB_SIZE + records * L.TR_SIZE))
    this.#rings.forEach((ring, i) => {
      view.setU32(ring + L.TRB_MASK, records - 1)
      view.setU32(cpus[i]! + L.CPU_TRACE, ring)
    })
  }

  /** Switches the core's hooks. */
  set on(on: boolean) {
    this.#view.store(L.M_BASE + L.M_TRACE, on ? 1 : 0)
  }

  get on(): boolean {
    return this.#view.load(L.M_BASE + L.M_TRACE) === 1
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
    this.#record(cpu, T.FN_HOST + fn, ctx, time)
    this.#passed?.(cpu)
  }

  leave(): void {}

  event(name: string, fields: TraceFields, ctx: TraceContext, cpu: number, time: number): void {
    const row = this.#host_events.push({ name, fields }) - 1
    this.#record(cpu, L.TR_HOST_EVENT, ctx, time, row)
  }

  #record(cpu: number, what: number, ctx: TraceContext, time: number, row = 0): void {
    if (!this.on) return
    const view = this.#view
    const ring = this.#rings[cpu]!
    this.contexts.set(ctx.id, ctx)
    const head = view.u32(ring + L.TRB_HEAD)
    const mask = view.u32(ring + L.TRB_MASK)
    if (head - view.load(ring + L.TRB_TAIL) > mask) {
      view.setU32(ring + L.TRB_DROPS, view.u32(ring + L.TRB_DROPS) + 1)
      return
    }
    const at = ring + L.TRB_RECORDS + (head & mask) * L.TR_SIZE
    view.setU64(at + L.TR_TIME, time)
    view.setU32(at + L.TR_SEQ, view.add(L.M_BASE + L.M_TRACE_SEQ, 1))
    view.setU32(at + L.TR_WHAT, what)
    view.setU32(at + L.TR_CTX, ctx.id)
    view.setU32(at + L.TR_DEPTH, ctx.depth)
    view.setU32(at + L.TR_BYTES, row)
    view.store(ring + L.TRB_HEAD, head + 1)
  }

  /** Records for which there was no room. */
  get drops(): number {
    return this.#rings.reduce((sum, ring) => sum + this.#view.u32(ring + L.TRB_DROPS), 0)
  }

  /** Takes everything recorded so far, in the order in which it happened. */
  drain(): TraceEntry[] {
    const view = this.#view
    const all: { seq: number; entry: TraceEntry }[] = []
    this.#rings.forEach((ring, cpu) => {
      const mask = view.u32(ring + L.TRB_MASK)
      const head = view.load(ring + L.TRB_HEAD)
      for (let n = view.u32(ring + L.TRB_TAIL); n !== head; n = (n + 1) >>> 0) {
        const at = ring + L.TRB_RECORDS + (n & mask) * L.TR_SIZE
        all.push({ seq: view.u32(at + L.TR_SEQ), entry: this.#read(at, cpu) })
      }
      view.store(ring + L.TRB_TAIL, head)
    })
    all.sort((a, b) => (a.seq - b.seq) | 0)
    return all.map(({ entry }) => entry)
  }

  #read(at: number, cpu: number): TraceEntry {
    const view = this.#view
    const what = view.u32(at + L.TR_WHAT)
    const base = {
      time: view.u64(at + L.TR_TIME),
      cpu,
      ctx: view.u32(at + L.TR_CTX),
      depth: view.u32(at + L.TR_DEPTH),
    }
    if (what & L.TR_HOST_EVENT) {
      const row = this.#host_events[view.u32(at + L.TR_BYTES)]!
      return { kind: 'event', ...row, ...base }
    }
    if (what & L.TR_EVENT) return this.#readEvent(at, what, base)
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
    const q = view.u32(at + L.TR_Q)
    return {
      kind: 'event',
      name: EVENTS.get(what & 0xffff) ?? '?',
      ...base,
      opf: view.u32(at + L.TR_OPF),
      sector: view.u64(at + L.TR_SECTOR),
      bytes: view.u32(at + L.TR_BYTES),
      error: view.u32(at + L.TR_ERROR),
      disk: q ? view.u32(q + L.Q_INDEX) : 0,
    }
  }
}
