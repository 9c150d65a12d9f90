// Function and event tracing of the part of the machine that is written in TypeScript.
//
// Every function that has a counterpart in Linux opens with
//
//     const t = enter(k, 'mod_timer')
//     ...
//     return leave(k, t, result)
//
// When tracing is off, `enter` is one load and a compare and yields -1, and `leave` compares again:
// nothing is allocated. When it is on, `enter` gives the sink a record and counts the depth of the
// context that runs (a task, or a CPU's softirq or hardirq); `leave` sets the depth back to what it
// was at entry. So a function that sleeps keeps its place while others run, and tracing may be
// switched on or off in the middle of everything without the depth going astray.
//
// Records reach the sink in the one global order of this thread. `TraceLog` keeps them in memory;
// the machine supplies a sink of its own that writes into the rings it shares with the WASM half.

export type ContextKind = 'task' | 'kworker' | 'idle' | 'softirq' | 'hardirq'

/** Who runs: a task, or the interrupt level of a CPU. */
export interface TraceContext {
  /** Unique within its kernel. */
  readonly id: number
  readonly name: string
  readonly kind: ContextKind
  /**
   * Traced callers that have been entered and not left. The machine carries it across the WASM
   * boundary.
   */
  depth: number
}

export type TraceFields = Readonly<Record<string, string | number | boolean>>

/**
 * Receives what happens, in order. `time` is the kernel's clock in ns, `fn` the number that
 * `Trace.intern` gave to `name`.
 */
export interface TraceSink {
  enter(fn: number, name: string, ctx: TraceContext, cpu: number, time: number): void
  leave(ctx: TraceContext, cpu: number, time: number): void
  event(name: string, fields: TraceFields, ctx: TraceContext, cpu: number, time: number): void
}

/** What tracing needs to know of its kernel. */
export interface TraceHost {
  readonly trace: Trace
  /** The context that runs now. */
  ctx: TraceContext
  /** The CPU it runs on. */
  readonly cpu: { readonly id: number }
  /** The clock, in ns. */
  now(): number
}

const NOT_TRACED = -1

/** One kernel's tracing: its switch, its names and its sink. */
export class Trace {
  /** The one flag that every traced function looks at. */
  on = false
  sink: TraceSink
  /** Function names by id. */
  readonly names: string[] = []
  readonly #ids: Map<string, number> = new Map()

  constructor(sink: TraceSink) {
    this.sink = sink
  }

  /** The id of a function name; a new name gets the next number. */
  intern(name: string): number {
    let id = this.#ids.get(name)
    if (id === undefined) {
      id = this.names.length
      this.names.push(name)
      this.#ids.set(name, id)
    }
    return id
  }
}

/** Records the entry of a function. The result goes to `leave`. */
export function enter(k: TraceHost, name: string): number {
  if (!k.trace.on) return NOT_TRACED
  const ctx = k.ctx
  k.trace.sink.enter(k.trace.intern(name), name, ctx, k.cpu.id, k.now())
  return ctx.depth++
}

/**
 * Ends what `enter` began; a third argument is passed through, so that `return leave(k, t, value)`
 * reads in order.
 */
export function leave(k: TraceHost, mark: number): void
export function leave<T>(k: TraceHost, mark: number, value: T): T
export function leave<T>(k: TraceHost, mark: number, value?: T): T | undefined {
  if (mark === NOT_TRACED) return value
  k.ctx.depth = mark
  if (k.trace.on) k.trace.sink.leave(k.ctx, k.cpu.id, k.now())
  return value
}

/** Records a call that has nothing below it and nothing to do in this model. */
export function trace_call(k: TraceHost, name: string): void {
  if (k.trace.on) leave(k, enter(k, name))
}

/** Records a tracepoint. Callers whose fields cost something to make test `k.trace.on` first. */
export function trace_event(k: TraceHost, name: string, fields: TraceFields): void {
  if (k.trace.on) k.trace.sink.event(name, fields, k.ctx, k.cpu.id, k.now())
}

/** One record of a `TraceLog`; `name` is a function or an event. */
export interface TraceRecord {
  readonly type: 'enter' | 'leave' | 'event'
  readonly name: string
  readonly ctx: number
  readonly depth: number
  readonly cpu: number
  readonly time: number
  readonly fields?: TraceFields
}

/** A sink that keeps everything in memory, for tests and short scenarios. */
export class TraceLog implements TraceSink {
  readonly records: TraceRecord[] = []
  /** Every context that was seen, by id. */
  readonly contexts: Map<number, TraceContext> = new Map()

  enter(_fn: number, name: string, ctx: TraceContext, cpu: number, time: number): void {
    this.#add('enter', name, ctx, cpu, time)
  }

  leave(ctx: TraceContext, cpu: number, time: number): void {
    this.#add('leave', '', ctx, cpu, time)
  }

  event(name: string, fields: TraceFields, ctx: TraceContext, cpu: number, time: number): void {
    this.#add('event', name, ctx, cpu, time, fields)
  }

  #add(
    type: TraceRecord['type'],
    name: string,
    ctx: TraceContext,
    cpu: number,
    time: number,
    fields?: TraceFields,
  ): void {
    this.contexts.set(ctx.id, ctx)
    const record = { type, name, ctx: ctx.id, depth: ctx.depth, cpu, time }
    this.records.push(fields === undefined ? record : { ...record, fields })
  }
}

/** The sink of a kernel that was given none. */
export const NO_SINK: TraceSink = { enter() {}, leave() {}, event() {} }
