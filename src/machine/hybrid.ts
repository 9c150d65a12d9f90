// Hybrid polling in real time: block/blk-mq.c blk_mq_poll_hybrid_sleep with io_poll_delay 0, which sleeps for half of
// the mean completion time before it begins to poll.
//
// The core polls a bounded number of times and says RUN_POLL; by then it is known that nothing comes at once. The mean
// comes from the CPU's own counters: over a stretch of time, (bios in flight x time) / bios ended is the mean time of a
// bio. A sleep ends 70 to 90 us late here, so that much is taken off, and a medium faster than some 300 us is simply
// polled. Linux keeps a mean for each size and direction; here there is one for the CPU.

import {
  CPU_ENDED,
  CPU_FAILED,
  CPU_HCTX,
  CPU_SUBMITTED,
  DRIVER_NVME,
  HC_DRIVER,
  HC_DRIVER_DATA,
  HC_NEXT_OWNED,
  NQ_WAIT,
  WAIT_HYBRID,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'

/** Share of a new observation in the mean. */
const WEIGHT = 0.125

/** A sleep shorter than this saves nothing, ns. */
const LEAST_NS = 50_000

/** True when all queues that a CPU owns are polled after a sleep. */
export function isHybrid(view: View, cpu: number): boolean {
  let hctx = view.u32(cpu + CPU_HCTX)
  if (!hctx) return false
  for (; hctx; hctx = view.u32(hctx + HC_NEXT_OWNED)) {
    if (view.u32(hctx + HC_DRIVER) !== DRIVER_NVME) return false
    if (view.u32(view.u32(hctx + HC_DRIVER_DATA) + NQ_WAIT) !== WAIT_HYBRID) return false
  }
  return true
}

/** Says how long a polling CPU may sleep. */
export class HybridSleep {
  readonly #view: View
  readonly #cpu: number
  readonly #overshootNs: number
  #ended = 0
  #endedAt = 0
  #meanNs = 0
  #slept = false

  /** @param overshootNs how late a sleep ends */
  constructor(view: View, cpu: number, overshootNs: number) {
    this.#view = view
    this.#cpu = cpu
    this.#overshootNs = overshootNs
  }

  /** Mean time of a bio, ns; 0 = not known yet. */
  get meanNs(): number {
    return this.#meanNs
  }

  /**
   * Looks at the counters after a call into the core.
   * @returns ns to sleep now; 0 = poll on. Once between two completions.
   */
  restNs(now: number): number {
    const view = this.#view
    const ended = view.u64(this.#cpu + CPU_ENDED) + view.u64(this.#cpu + CPU_FAILED)
    const inFlight = view.u64(this.#cpu + CPU_SUBMITTED) - ended
    if (ended !== this.#ended) this.#observe(ended - this.#ended, inFlight, now)
    this.#ended = ended
    if (this.#slept || inFlight <= 0) return 0
    const rest = this.#endedAt + this.#meanNs / 2 - now - this.#overshootNs
    if (rest < LEAST_NS) return 0
    this.#slept = true
    return rest
  }

  #observe(count: number, inFlight: number, now: number): void {
    const took = now - this.#endedAt
    const first = this.#endedAt === 0
    this.#endedAt = now
    this.#slept = false
    if (first) return
    const mean = (Math.max(inFlight, 1) * took) / count
    this.#meanNs += this.#meanNs === 0 ? mean : (mean - this.#meanNs) * WEIGHT
  }
}
