// steadystate: a job ends when its IOPS, bandwidth or mean latency stays steady over a window.
//
// Each ss_interval one value is taken (of the whole reporting group with group_reporting) and kept for ss_dur. Once the
// window is full, every new value is judged:
//   mean   the largest distance of a value from the mean of the window is below the limit
//   slope  the slope of the straight line through the window (least squares, per interval) is below the limit, either sign
// With `%` both are taken relative to the mean. Values of the first ss_ramp are not used.

import type { SteadyStateResult } from '../report/result.js'
import { type JobCounters, NO_COUNTS, total } from './counters.js'
import type { SteadyStateSpec } from './job.js'

/** Largest distance from the mean, absolute or in percent of the mean. */
export function deviation(values: readonly number[], percent: boolean): number {
  const mean = average(values)
  const far = values.reduce((m, v) => Math.max(m, Math.abs(v - mean)), 0)
  return relative(far, mean, percent)
}

/** Slope of the least-squares line through the values at x = 0, 1, 2, ..., absolute or in percent of the mean. */
export function slope(values: readonly number[], percent: boolean): number {
  const mean = average(values)
  const middle = (values.length - 1) / 2
  let xy = 0
  let xx = 0
  values.forEach((v, x) => {
    xy += (x - middle) * (v - mean)
    xx += (x - middle) ** 2
  })
  return relative(xx === 0 ? 0 : xy / xx, mean, percent)
}

function average(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length
}

function relative(value: number, mean: number, percent: boolean): number {
  if (!percent) return value
  return mean === 0 ? Number.POSITIVE_INFINITY : (100 * value) / mean
}

/** The steadiness of one job, or of the jobs of one reporting group. */
export class SteadyState {
  readonly #spec: SteadyStateSpec
  readonly #size: number
  readonly #startNs: number
  readonly #iops: number[] = []
  readonly #bw: number[] = []
  readonly #lat: number[] = []
  #last: JobCounters = NO_COUNTS
  #lastNs: number
  attained = false

  constructor(spec: SteadyStateSpec, startNs: number) {
    this.#spec = spec
    this.#size = Math.max(1, Math.floor(spec.durationNs / spec.intervalNs))
    this.#startNs = startNs
    this.#lastNs = startNs
  }

  get nextNs(): number {
    return this.attained ? Number.POSITIVE_INFINITY : this.#lastNs + this.#spec.intervalNs
  }

  /** Takes a value when one is due. True when the steady state has just been reached. */
  tick(nowNs: number, counters: JobCounters): boolean {
    if (nowNs < this.nextNs) return false
    if (nowNs >= this.#startNs + this.#spec.rampNs + this.#spec.intervalNs)
      this.#take((nowNs - this.#lastNs) / 1e9, counters)
    this.#last = counters
    this.#lastNs = nowNs
    this.attained = this.#judged().length === this.#size && this.#steady()
    return this.attained
  }

  #take(seconds: number, now: JobCounters): void {
    const count = now.latencies - this.#last.latencies
    const push = (list: number[], value: number): void => {
      list.push(value)
      if (list.length > this.#size) list.shift()
    }
    push(this.#iops, (total(now.ios) - total(this.#last.ios)) / seconds)
    push(this.#bw, (total(now.bytes) - total(this.#last.bytes)) / seconds)
    push(this.#lat, count > 0 ? (now.latencySumNs - this.#last.latencySumNs) / count : 0)
  }

  #judged(): readonly number[] {
    return { iops: this.#iops, bw: this.#bw, lat: this.#lat }[this.#spec.metric]
  }

  #steady(): boolean {
    const { slope: useSlope, limit, limitIsPercent } = this.#spec
    const measure = useSlope ? slope : deviation
    return Math.abs(measure(this.#judged(), limitIsPercent)) < limit
  }

  result(): SteadyStateResult {
    const { metric, slope: useSlope, limit, limitIsPercent, durationNs } = this.#spec
    const values = this.#judged()
    return {
      criterion: useSlope ? `${metric}_slope` : metric,
      limit,
      percent: limitIsPercent,
      durationS: Math.floor(durationNs / 1e9),
      attained: this.attained,
      maxDeviation: useSlope || values.length === 0 ? 0 : deviation(values, limitIsPercent),
      slope: useSlope && values.length > 0 ? slope(values, limitIsPercent) : 0,
      bw: this.#bw.map(v => Math.floor(v / 1024)),
      iops: this.#iops.map(Math.floor),
      ...(metric === 'lat' ? { latNs: this.#lat.map(Math.floor) } : {}),
    }
  }
}
