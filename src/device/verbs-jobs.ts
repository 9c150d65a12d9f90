// How the emulated RDMA fabric gets things done in a kernel without being seen in its traces: works with a list of jobs, and a
// wire that may take time.

import type { Sleep } from '../kernel/core.js'
import { Prng } from '../core/prng.js'
import {
  CLOCK_MONOTONIC,
  hrtimer,
  hrtimer_init,
  hrtimer_start,
  HRTIMER_MODE_ABS,
  HRTIMER_NORESTART,
} from '../kernel/hrtimer.js'
import type { Kernel } from '../kernel/kernel.js'
import { INIT_WORK, queue_work } from '../kernel/workqueue-queue.js'
import { work_struct, type workqueue_struct } from '../kernel/workqueue-structs.js'

/** What is done unseen. */
export function quiet(k: Kernel, what: () => void): void {
  const { on } = k.trace
  k.trace.on = false
  what()
  k.trace.on = on
}

export type Job = () => Sleep<void> | undefined

/** A work that does what is given to it in order. */
export class Jobs {
  readonly #k: Kernel
  readonly #wq: workqueue_struct
  readonly #work: work_struct<Jobs>
  readonly #jobs: Job[] = []

  constructor(k: Kernel, wq: workqueue_struct, name: string) {
    this.#k = k
    this.#wq = wq
    this.#work = new work_struct<Jobs>(k, this)
    const run = {
      *[name]({ container }: work_struct<Jobs>): Sleep<void> {
        yield* container.#run()
      },
    }
    INIT_WORK(this.#work, run[name]!)
  }

  push(job: Job): void {
    this.#jobs.push(job)
    quiet(this.#k, () => void queue_work(this.#wq, this.#work))
  }

  *#run(): Sleep<void> {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      const sleep = job()
      if (sleep !== undefined) yield* sleep
    }
  }
}

/** How long a message is under way: a time, and up to so much more, by chance. */
export interface WireTimes {
  readonly latencyNs: number
  readonly jitterNs: number
  readonly seed: number
}

/** One direction of one connection: what is sent later never arrives earlier. */
export class Flow {
  last = 0
}

/** Everything that is under way. Without times it is there at once. */
export class Wire {
  readonly #k: Kernel
  readonly #times: WireTimes
  readonly #random: Prng
  readonly #timer: hrtimer<Wire>
  /** By arrival, the first one first. */
  readonly #under_way: { readonly at: number; readonly arrive: () => void }[] = []
  readonly instant: boolean

  constructor(k: Kernel, times: WireTimes) {
    this.#k = k
    this.#times = times
    this.#random = new Prng(times.seed)
    this.instant = times.latencyNs === 0 && times.jitterNs === 0
    this.#timer = new hrtimer<Wire>(k, this)
    this.#timer.function = function rdma_wire({ container }): number {
      container.#arrivals()
      return HRTIMER_NORESTART
    }
    quiet(k, () => hrtimer_init(this.#timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS))
  }

  carry(flow: Flow, arrive: () => void): void {
    if (this.instant) {
      arrive()
      return
    }
    const { latencyNs, jitterNs } = this.#times
    const more = jitterNs > 0 ? this.#random.below(jitterNs + 1) : 0
    const at = Math.max(flow.last, this.#k.now() + latencyNs + more)
    flow.last = at
    let slot = this.#under_way.length
    while (slot > 0 && this.#under_way[slot - 1]!.at > at) slot--
    this.#under_way.splice(slot, 0, { at, arrive })
    if (slot === 0) this.#arm()
  }

  #arm(): void {
    const [first] = this.#under_way
    if (first === undefined) return
    quiet(this.#k, () => hrtimer_start(this.#timer, first.at, HRTIMER_MODE_ABS))
  }

  #arrivals(): void {
    const now = this.#k.now()
    while (this.#under_way.length > 0 && this.#under_way[0]!.at <= now)
      this.#under_way.shift()!.arrive()
    this.#arm()
  }
}
