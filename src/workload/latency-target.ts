// latency_target: the search for the deepest queue that keeps `percentile` percent of the I/Os at or below a latency.
//
// The depth begins at 1. After each window that meets the target it doubles, until one window fails; from then on the
// search halves the interval between the deepest good depth and the shallowest bad one:
//
//   window good   low = depth; depth = 2 * depth while nothing has failed, else the middle of depth and high
//                 (when depth + 1 = high, every third good window in a row raises high by one and tries again)
//   window bad    high = depth; low sinks by one if it was depth; depth = middle of low and depth; at depth 1: give up
//   depth stays   that is the answer: the statistics begin anew, one more window is measured, then the job ends
//                 (latency_run=1: it goes on adjusting until the job ends otherwise)

import type { LatencyTargetSpec } from './job.js'

/** What follows from the end of a window. */
export type DepthVerdict =
  /** Nothing to do: the window is not over or had no I/O. */
  | 'wait'
  /** `depth` has changed. */
  | 'changed'
  /** The answer is found; statistics are to begin anew. */
  | 'settled'
  /** The last window is measured; the job ends. */
  | 'finished'
  /** Even depth 1 is too slow; the job ends. */
  | 'hopeless'

/** The depth search of one job. */
export class DepthSearch {
  readonly #spec: LatencyTargetSpec
  readonly #max: number
  #low = 1
  #high: number
  #stable = 0
  #settled = false
  #windowNs: number
  #compared = 0
  #over = 0
  depth = 1

  constructor(spec: LatencyTargetSpec, iodepth: number, startNs: number) {
    this.#spec = spec
    this.#max = iodepth
    this.#high = iodepth
    this.#windowNs = startNs
  }

  get nextNs(): number {
    return this.#windowNs + this.#spec.windowNs
  }

  /** `compared` and `over` are totals since the job began. */
  tick(nowNs: number, compared: number, over: number): DepthVerdict {
    if (nowNs < this.nextNs) return 'wait'
    const ios = compared - this.#compared
    const good = ios - (over - this.#over)
    this.#windowNs = nowNs
    if (ios <= 0) return 'wait'
    this.#compared = compared
    this.#over = over
    return (100 * good) / ios >= this.#spec.percentile ? this.#good() : this.#bad()
  }

  #good(): DepthVerdict {
    const before = this.depth
    this.#low = before
    if (before + 1 === this.#high && ++this.#stable >= 3) {
      this.#high += 1
      this.#stable = 0
    }
    const next = this.#high === this.#max ? before * 2 : Math.floor((before + this.#high) / 2)
    this.depth = Math.min(next, this.#max)
    if (this.depth !== before) return 'changed'
    if (this.#spec.keepAdjusting) return 'wait'
    if (this.#settled) return 'finished'
    this.#settled = true
    return 'settled'
  }

  #bad(): DepthVerdict {
    if (this.depth === 1) return this.#spec.keepAdjusting ? 'wait' : 'hopeless'
    this.#high = this.depth
    if (this.depth === this.#low) this.#low -= 1
    this.depth = Math.max(1, Math.floor((this.depth + this.#low) / 2))
    this.#stable = 0
    return 'changed'
  }
}
