// rate_min and rate_iops_min: a job that falls below its floor, averaged over rate_cycle, fails with EIO.
//
// The first two seconds are not judged, so that a job may reach its pace.

import type { JobCounters } from './counters.js'
import type { JobSpec, Triple } from './job.js'

const GRACE_NS = 2e9
const NAMES = ['read', 'write', 'trim'] as const

type FlooredJob = Pick<JobSpec, 'rateMin' | 'rateIopsMin' | 'rateCycleNs' | 'uses'>

/** Watches one job. */
export class RateFloor {
  readonly #job: FlooredJob
  readonly #graceEndNs: number
  #lastNs: number
  #bytes: Triple | null = null
  #ios: Triple = [0, 0, 0]

  constructor(job: FlooredJob, startNs: number) {
    this.#job = job
    this.#graceEndNs = startNs + GRACE_NS
    this.#lastNs = startNs
  }

  /** Whether the job has a floor at all. */
  static wanted(job: FlooredJob): boolean {
    return [...job.rateMin, ...job.rateIopsMin].some(v => v > 0)
  }

  get nextNs(): number {
    return Math.max(this.#graceEndNs, this.#lastNs + this.#job.rateCycleNs)
  }

  /** Returns what was not reached, or null. */
  tick(nowNs: number, counters: JobCounters): string | null {
    if (nowNs < this.nextNs) return null
    const failure = this.#bytes === null ? null : this.#judge(nowNs - this.#lastNs, counters)
    this.#bytes = counters.bytes
    this.#ios = counters.ios
    this.#lastNs = nowNs
    return failure
  }

  #judge(spentNs: number, now: JobCounters): string | null {
    const { rateMin, rateIopsMin, uses } = this.#job
    for (let d = 0; d < 3; d++) {
      // fewer than before: the statistics were begun anew
      if (!uses[d] || now.ios[d] < this.#ios[d]) continue
      const bytes = ((now.bytes[d] - this.#bytes![d]) * 1e9) / spentNs
      const ios = ((now.ios[d] - this.#ios[d]) * 1e9) / spentNs
      if (rateMin[d] > 0 && bytes < rateMin[d])
        return `${NAMES[d]}: rate_min=${rateMin[d]} B/s not met, got ${Math.floor(bytes)} B/s`
      if (rateIopsMin[d] > 0 && ios < rateIopsMin[d])
        return `${NAMES[d]}: rate_iops_min=${rateIopsMin[d]} not met, got ${Math.floor(ios)} IOPS`
    }
    return null
  }
}
