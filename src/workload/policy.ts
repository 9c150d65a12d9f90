// What TypeScript watches while one job runs, by ticks of the machine's clock, the same under both clocks:
//
//   bandwidth and IOPS samples      each bwavgtime, iopsavgtime
//   windows of averaged logs        each log_avg_msec, log_hist_msec
//   rate_min, rate_iops_min         each rate_cycle: below the floor the job fails
//   latency_target                  each latency_window: another depth, or the end
//
// (steadystate watches whole groups and stands in the executor.) Watching begins when the measurement does: during the ramp
// there is nothing to see. tick() acts on what is due and says what follows; nextNs is when it wants to be called again.

import { EIO } from '../kernel/errno.js'
import type { JobCounters } from './counters.js'
import type { JobSpec } from './job.js'
import { DepthSearch } from './latency-target.js'
import { RateFloor } from './rate-min.js'
import { RateSamples } from './samples.js'

/** What must be done to a job. */
export interface Verdict {
  /** The new depth of its queue. */
  readonly depth?: number
  /** Its statistics begin anew. */
  readonly restart?: boolean
  /** It ends now ... */
  readonly stop?: boolean
  /** ... with this error. */
  readonly error?: { readonly errno: number; readonly text: string }
}

export type WatchedJob = Pick<
  JobSpec,
  | 'bwAvgNs'
  | 'iopsAvgNs'
  | 'latencyTarget'
  | 'queueDepth'
  | 'rateMin'
  | 'rateIopsMin'
  | 'rateCycleNs'
  | 'uses'
>

/** The watch over one job from the start of its measurement. */
export class JobPolicy {
  readonly samples: RateSamples
  readonly #floor: RateFloor | null
  readonly #search: DepthSearch | null

  constructor(job: WatchedJob, measureNs: number) {
    this.samples = new RateSamples(measureNs, job.bwAvgNs, job.iopsAvgNs)
    this.#floor = RateFloor.wanted(job) ? new RateFloor(job, measureNs) : null
    this.#search = job.latencyTarget
      ? new DepthSearch(job.latencyTarget, job.queueDepth, measureNs)
      : null
  }

  /** The depth that latency_target has come to; null without one. */
  get depth(): number | null {
    return this.#search?.depth ?? null
  }

  get nextNs(): number {
    const floor = this.#floor?.nextNs ?? Number.POSITIVE_INFINITY
    const search = this.#search?.nextNs ?? Number.POSITIVE_INFINITY
    return Math.min(this.samples.nextNs, floor, search)
  }

  tick(nowNs: number, counters: JobCounters): Verdict {
    this.samples.tick(nowNs, counters)
    const missed = this.#floor?.tick(nowNs, counters)
    if (missed) return { stop: true, error: { errno: EIO, text: missed } }
    return this.#search ? this.#searched(this.#search, nowNs, counters) : {}
  }

  #searched(search: DepthSearch, nowNs: number, counters: JobCounters): Verdict {
    switch (search.tick(nowNs, counters.compared, counters.overTarget)) {
      case 'changed':
        return { depth: search.depth }
      case 'settled':
        this.samples.restart(nowNs)
        return { restart: true }
      case 'finished':
      case 'hopeless':
        return { stop: true }
      case 'wait':
        return {}
    }
  }
}
