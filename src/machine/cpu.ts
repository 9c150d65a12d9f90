// The life of a thread: an emulated CPU, or a device of its own thread. One task of the pool, from boot to M_STOP.
//
// A CPU's loop calls the core in pieces of about a millisecond, so that V8 can replace baseline code between the calls
// and M_STOP is seen, and does outside of the core what may wait:
//
//   RUN_MORE             again; the piece grows or shrinks
//   RUN_POLL             nothing has come although the core looked often: look again, and sleep a little when the host has
//                        fewer cores than spinners or nothing has come for 2 ms; hybrid queues sleep first (hybrid.ts)
//   RUN_SLEEP            an interrupt will come: sleep on CPU_WAKE
//   RUN_TIMER, RUN_IDLE  sleep until the deadline; others may still send work, for a CPU serves its queues to the end
//
// No wake-up is lost: the count is read, then CPU_WAITING is set, then the core looks once more (cpu_arm), then the thread
// sleeps unless the count has changed. A timed sleep overshoots by 70 to 90 us, so short rests are spun away. The way from
// a sleep to the next is short, because an I/O by interrupt pays for it: words that are looked at again and again are read
// plainly, as each atomic access is a call.
//
// A device's loop is the same with DEV_WAKE: it spins for a bounded number of empty looks, then sleeps until a doorbell
// or the next due command.

import type { MessagePort } from 'node:worker_threads'
import {
  CPU_ENDED,
  CPU_FAILED,
  CPU_JOB,
  CPU_NULLB,
  CPU_SIZE,
  CPU_SLEEPS,
  CPU_WAITING,
  CPU_WAKE,
  DCQ_COAL_NS,
  DCQ_PEND,
  DCQ_PEND_NS,
  DEV_NR_SQ,
  DEV_SIZE,
  DEV_SQS,
  DEV_WAITING,
  DEV_WAKE,
  DSQ_CQ,
  DSQ_FIFO,
  DSQ_FIFO_COUNT,
  DSQ_FIFO_HEAD,
  DSQ_SIZE,
  FIFO_DUE,
  FIFO_SIZE,
  JOB_DONE,
  JOB_NEXT,
  JOB_STATE,
  M_BASE,
  M_CPUS,
  M_DEVS,
  M_HZ,
  M_JIFFIES,
  M_SEED,
  M_STOP,
  M_TRAP,
  RUN_MORE,
  RUN_POLL,
  RUN_REASON,
  RUN_SLEEP,
} from '../../assembly/layout.js'
import { View } from '../core/view.js'
import { type Core, type CoreImports, instantiateCore, trapText } from '../core/wasm.js'
import type { NullbOptions } from '../drivers/block/null_blk.js'
import { type ClockOrigin, jiffiesAt, realClock } from './clock.js'
import type { SlowContext, SlowHandlers } from './config.js'
import { HybridSleep, isHybrid } from './hybrid.js'
import { nullBlkImports } from './null-blk.js'
import { ownThread } from './thread-time.js'
import { serviceSlow, slowPending } from './slow.js'

/** What a thread is told. */
export interface ThreadTask {
  readonly kind: 'cpu' | 'device'
  /** Number of the CPU or device. */
  readonly index: number
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly origin: ClockOrigin
  /** The host has fewer cores than this machine has spinners. */
  readonly crowded: boolean
  readonly nullBlk: readonly NullbOptions[]
  readonly port: MessagePort
}

/** What a thread tells the main thread. */
export type ThreadMessage =
  /** `thread`: the host kernel's number of the thread, 0 = unknown. */
  | { readonly type: 'ready'; readonly thread: number }
  | { readonly type: 'done'; readonly job: number }
  | { readonly type: 'message'; readonly message: unknown }

/** I/Os of one call: the first calls are small, and a call shall take about a millisecond. */
const FIRST_BUDGET = 32
const MAX_BUDGET = 65536
const SHORT_CALL_NS = 700_000
const LONG_CALL_NS = 1_400_000

/** Without any completion for so long, a poller begins to sleep between its looks. */
const FRUITLESS_NS = 2_000_000
const NAP_MS = 0.05

/** A timed sleep may end so late; what is nearer is spun away. */
const OVERSHOOT_NS = 90_000

/** Longest sleep: nothing depends on it, it bounds what a forgotten wake-up could cost. */
const MAX_SLEEP_MS = 100

/** Empty calls (500 looks at each queue) before a device sleeps; fewer when cores are short. */
const DEVICE_SPINS = 50
const CROWDED_DEVICE_SPINS = 2

const DEVICE_BUDGET = 256

/** Sleeps a moment while another thread holds a lock. */
function relaxer(): () => void {
  const word = new Int32Array(new SharedArrayBuffer(4))
  return () => {
    Atomics.wait(word, 0, 0, 0.02)
  }
}

/** The core's instance for a thread, the clock it reads, and the null_blk disks in whose commands TypeScript has a part. */
export function threadCore(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  now: () => number,
  view: View,
  nullBlk: readonly NullbOptions[],
  host?: Pick<CoreImports, 'block_host' | 'null_cmd' | 'make_request' | 'device_host'>,
): Core {
  const seed = view.u32(M_BASE + M_SEED)
  const driver = host ?? nullBlkImports(view, nullBlk, seed, now, () => core)
  const core = instantiateCore(module, memory, { now, relax: relaxer(), ...driver })
  return core
}

/**
 * Runs a thread until M_STOP.
 * @throws Error when the core stopped over a broken invariant, or a handler failed
 */
export async function runThread(task: ThreadTask, handlers: SlowHandlers): Promise<void> {
  const { port } = task
  const view = new View(task.memory.buffer as unknown as SharedArrayBuffer)
  const now = realClock(task.origin)
  const core = threadCore(task.module, task.memory, now, view, task.nullBlk)
  port.postMessage({ type: 'ready', thread: ownThread() } satisfies ThreadMessage)
  try {
    if (task.kind === 'cpu') new CpuThread(task, view, core, now, handlers).run()
    else new DeviceThread(task, view, core, now).run()
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error
    throw new Error(`${trapText(view.load(M_BASE + M_TRAP))} (${error.message})`, { cause: error })
  } finally {
    port.close()
  }
}

class CpuThread {
  readonly #view: View
  readonly #core: Core
  readonly #now: () => number
  readonly #handlers: SlowHandlers
  readonly #context: SlowContext
  readonly #port: MessagePort
  readonly #cpu: number
  readonly #hz: number
  readonly #crowded: boolean
  readonly #reported = new Set<number>()
  readonly #hybrid: HybridSleep | undefined
  /** null_blk commands may end here by timer. */
  readonly #nullTimers: boolean
  #budget = FIRST_BUDGET
  #began = 0
  #spentBudget = false
  #fruitfulAt = 0
  #finished = -1
  #jiffies = -1

  constructor(task: ThreadTask, view: View, core: Core, now: () => number, handlers: SlowHandlers) {
    const { index, port } = task
    this.#view = view
    this.#core = core
    this.#now = now
    this.#handlers = handlers
    this.#port = port
    this.#crowded = task.crowded
    this.#cpu = view.u32(M_BASE + M_CPUS) + index * CPU_SIZE
    this.#hz = view.u32(M_BASE + M_HZ)
    this.#nullTimers = view.u32(this.#cpu + CPU_NULLB) !== 0
    this.#hybrid = isHybrid(view, this.#cpu)
      ? new HybridSleep(view, this.#cpu, OVERSHOOT_NS)
      : undefined
    const post = (message: unknown): void =>
      port.postMessage({ type: 'message', message } satisfies ThreadMessage)
    this.#context = { core, view, cpu: this.#cpu, index, now, post }
  }

  run(): void {
    while (!this.#view.u32(M_BASE + M_STOP)) {
      const reason = this.#call() & RUN_REASON
      if (slowPending(this.#view, this.#cpu)) serviceSlow(this.#context, this.#handlers)
      this.#reportDone()
      this.#spentBudget = reason === RUN_MORE
      if (reason === RUN_POLL) this.#restFromPolling()
      else if (reason !== RUN_MORE) this.#sleep(reason)
    }
  }

  /** One call into the core. */
  #call(): number {
    const cpu = this.#cpu
    const now = this.#now()
    if (this.#spentBudget) this.#adapt(now - this.#began)
    this.#began = now
    this.#tick(now)
    this.#core.cpu_set_now(cpu, now)
    if (this.#nullTimers) this.#core.null_cmd_timers(cpu)
    return this.#core.cpu_run(cpu, this.#budget)
  }

  #adapt(took: number): void {
    if (took < SHORT_CALL_NS) this.#budget = Math.min(this.#budget * 2, MAX_BUDGET)
    else if (took > LONG_CALL_NS) this.#budget = Math.max(this.#budget >>> 1, 1)
  }

  /** Jiffies go on as long as any CPU runs. */
  #tick(now: number): void {
    const jiffies = jiffiesAt(now, this.#hz)
    if (jiffies === this.#jiffies) return
    this.#jiffies = jiffies
    this.#view.store(M_BASE + M_JIFFIES, jiffies)
  }

  /** Tells the main thread, once for each time, that a job is done. */
  #reportDone(): void {
    const view = this.#view
    const reported = this.#reported
    for (let job = view.u32(this.#cpu + CPU_JOB); job; job = view.u32(job + JOB_NEXT)) {
      const done = view.u32(job + JOB_STATE) === JOB_DONE
      if (!done && reported.size === 0) continue
      if (done === reported.has(job)) continue
      if (done) {
        reported.add(job)
        this.#port.postMessage({ type: 'done', job } satisfies ThreadMessage)
      } else reported.delete(job)
    }
  }

  /** Low words of the two counters of ended bios: changes when anything completed. */
  #completions(): number {
    return this.#view.u32(this.#cpu + CPU_ENDED) + this.#view.u32(this.#cpu + CPU_FAILED)
  }

  #restFromPolling(): void {
    const sleep = this.#hybrid?.restNs(this.#now()) ?? 0
    if (sleep > 0) {
      const word = this.#cpu + CPU_WAKE
      this.#view.wait(word, this.#view.load(word), sleep / 1e6)
      return
    }
    const finished = this.#completions()
    if (finished !== this.#finished) {
      this.#finished = finished
      this.#fruitfulAt = this.#began
    }
    if (!this.#crowded && this.#began - this.#fruitfulAt < FRUITLESS_NS) return
    const word = this.#cpu + CPU_WAKE
    this.#view.wait(word, this.#view.load(word), NAP_MS)
  }

  #sleep(reason: number): void {
    const view = this.#view
    const cpu = this.#cpu
    const seen = view.u32(cpu + CPU_WAKE)
    const armed = this.#core.cpu_arm(cpu)
    const deadline = this.#nullTimers ? Math.min(armed, this.#core.null_deadline(cpu)) : armed
    const rest = deadline === Number.POSITIVE_INFINITY ? deadline : deadline - this.#now()
    if (rest >= OVERSHOOT_NS || (rest > 0 && this.#crowded)) {
      const timeout = Math.min(Math.max(rest - OVERSHOOT_NS, NAP_MS * 1e6) / 1e6, MAX_SLEEP_MS)
      if (reason === RUN_SLEEP) view.setU64(cpu + CPU_SLEEPS, view.u64(cpu + CPU_SLEEPS) + 1)
      view.wait(cpu + CPU_WAKE, seen, timeout)
    }
    view.setU32(cpu + CPU_WAITING, 0)
  }
}

class DeviceThread {
  readonly #view: View
  readonly #core: Core
  readonly #now: () => number
  readonly #dev: number
  readonly #spins: number

  constructor(task: ThreadTask, view: View, core: Core, now: () => number) {
    this.#view = view
    this.#core = core
    this.#now = now
    this.#dev = view.u32(M_BASE + M_DEVS) + task.index * DEV_SIZE
    this.#spins = task.crowded ? CROWDED_DEVICE_SPINS : DEVICE_SPINS
  }

  run(): void {
    let empty = 0
    while (!this.#view.load(M_BASE + M_STOP)) {
      if (this.#core.device_run(this.#dev, DEVICE_BUDGET)) empty = 0
      else if (++empty > this.#spins) this.#sleep()
    }
  }

  #sleep(): void {
    const view = this.#view
    const dev = this.#dev
    const rest = this.#deadline() - this.#now()
    if (rest < OVERSHOOT_NS) return
    const seen = view.load(dev + DEV_WAKE)
    view.store(dev + DEV_WAITING, 1)
    if (!this.#core.device_run(dev, DEVICE_BUDGET) && !view.load(M_BASE + M_STOP)) {
      view.wait(dev + DEV_WAKE, seen, Math.min((rest - OVERSHOOT_NS) / 1e6, MAX_SLEEP_MS))
    }
    view.store(dev + DEV_WAITING, 0)
  }

  /** When the next command is due or a coalescing time is over; Infinity = neither. */
  #deadline(): number {
    const view = this.#view
    const first = view.u32(this.#dev + DEV_SQS)
    const count = view.u32(this.#dev + DEV_NR_SQ)
    let next = Number.POSITIVE_INFINITY
    for (let dsq = first; dsq < first + count * DSQ_SIZE; dsq += DSQ_SIZE) {
      const dcq = view.u32(dsq + DSQ_CQ)
      if (view.u32(dcq + DCQ_PEND))
        next = Math.min(next, view.u64(dcq + DCQ_PEND_NS) + view.u64(dcq + DCQ_COAL_NS))
      if (!view.u32(dsq + DSQ_FIFO_COUNT)) continue
      const record = view.u32(dsq + DSQ_FIFO) + view.u32(dsq + DSQ_FIFO_HEAD) * FIFO_SIZE
      next = Math.min(next, view.u64(record + FIFO_DUE))
    }
    return next
  }
}
