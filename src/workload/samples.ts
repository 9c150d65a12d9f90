// Bandwidth and IOPS samples: one per averaging window and direction, as fio's helper thread takes them.
//
// A window in which a direction moved nothing gives no sample, and the rest of a job that is shorter than a window
// gives none either: a job of 1.2 s has two samples of 500 ms.

import { DIRECTIONS, fromSamples, type RunningStat } from '../report/result.js'
import type { JobCounters } from './counters.js'
import type { Triple } from './job.js'

/** Samples of one quantity, taken every `windowNs` from `startNs`. */
export class Sampler {
  readonly windowNs: number
  readonly #values: number[][] = [[], [], []]
  /** Divides a difference, per second: 1024 for KiB/s, 1 for I/Os a second. */
  readonly #unit: number
  #last: Triple = [0, 0, 0]
  #lastNs: number

  constructor(windowNs: number, startNs: number, unit: number) {
    this.windowNs = windowNs
    this.#lastNs = startNs
    this.#unit = unit
  }

  get nextNs(): number {
    return this.#lastNs + this.windowNs
  }

  /** Closes the window when it is over. `counts` are totals since the measurement began. Returns the samples of this window. */
  tick(nowNs: number, counts: Triple): (number | null)[] | null {
    if (nowNs < this.nextNs) return null
    const seconds = (nowNs - this.#lastNs) / 1e9
    const closed = DIRECTIONS.map((_, d) => {
      const delta = counts[d] - this.#last[d]
      // none, or fewer than before because the statistics were begun anew
      if (delta <= 0) return null
      const value = Math.floor(delta / seconds / this.#unit)
      this.#values[d].push(value)
      return value
    })
    this.#last = counts
    this.#lastNs = nowNs
    return closed
  }

  /** Forgets everything: the statistics of the job were reset at `nowNs`. */
  restart(nowNs: number): void {
    for (const list of this.#values) list.length = 0
    this.#last = [0, 0, 0]
    this.#lastNs = nowNs
  }

  stat(direction: number): RunningStat {
    return fromSamples(this.#values[direction])
  }
}

/** The two samplers of a job. */
export class RateSamples {
  readonly bw: Sampler
  readonly iops: Sampler

  constructor(startNs: number, bwAvgNs: number, iopsAvgNs: number) {
    this.bw = new Sampler(bwAvgNs, startNs, 1024)
    this.iops = new Sampler(iopsAvgNs, startNs, 1)
  }

  get nextNs(): number {
    return Math.min(this.bw.nextNs, this.iops.nextNs)
  }

  tick(nowNs: number, counters: JobCounters): void {
    this.bw.tick(nowNs, counters.bytes)
    this.iops.tick(nowNs, counters.ios)
  }

  restart(nowNs: number): void {
    this.bw.restart(nowNs)
    this.iops.restart(nowNs)
  }
}
