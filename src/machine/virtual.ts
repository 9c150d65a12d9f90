// Virtual time: one thread, one instance, and the core's queue of events. The clock jumps to the next event.
//
// The core is called in slices of about 2 ms of the host's time, and between two slices the event loop gets a turn, so
// that signals, timers and progress work. How long a slice is cannot be seen from inside: TypeScript acts only where the
// core asks for it (RUN_SLOW), at the deadline it gave itself, or when everything is over; all three are moments of
// virtual time.
//
// With a clock given, time is the host's and does not jump: a slice handles what the clock has reached (shared-thread.ts).

import {
  CPU_MAIL,
  CPU_SIZE,
  CPU_SLOW,
  JOB_DONE,
  JOB_STATE,
  M_BASE,
  M_NOW,
  M_TRAP,
  RUN_IDLE,
  RUN_MORE,
  RUN_REASON,
  RUN_SLOW,
  RUN_TIMER,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { type Core, trapText } from '../core/wasm.js'
import type { SlowContext, SlowHandlers } from './config.js'
import type { HostKernel } from './host-kernel.js'
import { jobsOf, serviceSlow } from './slow.js'

const FIRST_BUDGET = 256
const MAX_BUDGET = 65536
const SHORT_SLICE_MS = 1
const LONG_SLICE_MS = 2.5

/** The core takes this for no limit. */
const FOR_EVER = 2 ** 64

/** Why a slice ended. */
export type SliceEnd = 'more' | 'slow' | 'time' | 'idle'

/** Runs all CPUs and devices on this thread. */
export class VirtualTime {
  readonly #view: View
  readonly #core: Core
  readonly #contexts: readonly SlowContext[]
  readonly #done: (job: number) => void
  readonly #reported = new Set<number>()
  readonly #host: HostKernel | null
  readonly #clock: (() => number) | null
  #deadline = FOR_EVER
  #handlers: SlowHandlers = {}
  #budget = FIRST_BUDGET

  constructor(
    view: View,
    core: Core,
    cpus: { readonly first: number; readonly count: number },
    done: (job: number) => void,
    message: (message: unknown, cpu: number) => void,
    host: HostKernel | null = null,
    clock: (() => number) | null = null,
  ) {
    this.#host = host
    this.#clock = clock
    this.#view = view
    this.#core = core
    this.#done = done
    this.#contexts = Array.from({ length: cpus.count }, (_, index) => ({
      core,
      view,
      cpu: cpus.first + index * CPU_SIZE,
      index,
      now: () => this.now(),
      post: (what: unknown) => message(what, index),
    }))
  }

  install(handlers: SlowHandlers): void {
    this.#handlers = handlers
  }

  now(): number {
    return this.#clock ? this.#clock() : this.#view.u64(M_BASE + M_NOW)
  }

  /** When the next event of the core is due, ns; infinity = there is none. */
  nextEvent(): number {
    return this.#core.shared_deadline()
  }

  /** Runs what is due and ready in the kernel of the machine, if it has one. */
  step(): void {
    this.#deadline = this.#host?.step() ?? FOR_EVER
  }

  /** Handles one slice of events, and whatever TypeScript is asked for in it. */
  slice(untilNs: number): SliceEnd {
    const began = performance.now()
    const deadline = this.#deadline
    const result = this.#call(Math.min(untilNs, deadline, FOR_EVER))
    const took = performance.now() - began
    const reason = result & RUN_REASON
    if (reason === RUN_MORE && !(result & RUN_SLOW)) this.#adapt(took)
    if (result & RUN_SLOW) {
      this.#service()
      return 'slow'
    }
    const pending = this.#host?.sliced(reason === RUN_IDLE) ?? false
    if (this.#clock) return reason === RUN_MORE ? 'more' : 'time'
    if (reason === RUN_MORE) return 'more'
    if (pending && deadline <= untilNs) return 'more'
    if (pending || reason === RUN_TIMER) return deadline < untilNs ? 'more' : 'time'
    return 'idle'
  }

  #call(untilNs: number): number {
    try {
      if (this.#clock) return this.#core.shared_run(this.#budget, untilNs)
      return this.#core.virtual_run(this.#budget, untilNs)
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error
      const why = trapText(this.#view.load(M_BASE + M_TRAP))
      throw new Error(`${why} (${error.message})`, { cause: error })
    }
  }

  #adapt(tookMs: number): void {
    if (tookMs < SHORT_SLICE_MS) this.#budget = Math.min(this.#budget * 2, MAX_BUDGET)
    else if (tookMs > LONG_SLICE_MS) this.#budget = Math.max(this.#budget >>> 1, 1)
  }

  #service(): void {
    const { words } = this.#view
    const contexts = this.#contexts
    const first = contexts[0]!.cpu
    for (let i = 0; i < contexts.length; i++) {
      const cpu = first + i * CPU_SIZE
      // most of many CPUs have nothing
      if ((words[(cpu + CPU_SLOW) >>> 2]! | words[(cpu + CPU_MAIL) >>> 2]!) === 0) continue
      const context = contexts[i]!
      serviceSlow(context, this.#handlers, this.#host)
      this.#reportDone(context.cpu)
    }
  }

  #reportDone(cpu: number): void {
    for (const job of jobsOf(this.#view, cpu)) {
      const done = this.#view.load(job + JOB_STATE) === JOB_DONE
      if (done === this.#reported.has(job)) continue
      if (done) {
        this.#reported.add(job)
        this.#done(job)
      } else this.#reported.delete(job)
    }
  }
}
