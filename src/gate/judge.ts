// From samples to an interval of head/base, and from the interval to a verdict.
//
//   pair      one number for each process: the median log ratio of its slices. Over processes: the median
//   process   one pair of rates for each pair of processes. The ratio of the best of each side (95th percentile),
//             because quiet moments all reach the same ceiling; beside it the median of the pairs
//
//   regressed   hi < 1 - L/2 and estimate < 1 - L       L is the limit
//   improved    lo > 1 + L/2 and estimate > 1 + L
//   same        1 - L <= lo and hi <= 1 + L
//   unclear     anything else
//
// With many benchmarks the first pass also asks Holm: pWorse is the share of resamples that are not below 1 - L/2, so for
// one benchmark `pWorse <= 2.5 %` and `hi < 1 - L/2` say the same.
//
// The best of each side is blind to changes in the slow tail.

import { ascending, bootstrap, deviation, holm, interval, median, quantile } from './stats.js'
import type { Ratio, Verdict } from './types.js'

export const RESAMPLES = 10_000
const LEVEL = 0.95
/** Chance of a mistake in each direction. */
export const ALPHA: number = (1 - LEVEL) / 2
const BEST = 0.95

/** What one process (pair mode) or one pair of processes came to: rates in operations a second, or latencies in ns. */
export interface Sample {
  readonly base: number
  readonly head: number
  /** ln(head / base) of a rate, ln(base / head) of a latency; in pair mode the median over slices. */
  readonly logRatio: number
}

/** How samples become one log ratio. */
export interface Statistic {
  readonly of: (samples: readonly Sample[], chosen: Int32Array) => number
}

function pick(samples: readonly Sample[], chosen: Int32Array, key: keyof Sample): Float64Array {
  const values = new Float64Array(chosen.length)
  for (let i = 0; i < chosen.length; i++) values[i] = samples[chosen[i]][key]
  return values.sort()
}

/** The median over processes. */
export const PAIR: Statistic = {
  of: (samples, chosen) => quantile(pick(samples, chosen, 'logRatio'), 0.5),
}

/** The best of head against the best of base. */
export const BEST_OF: Statistic = {
  of: (samples, chosen) => {
    const head = quantile(pick(samples, chosen, 'head'), BEST)
    const base = quantile(pick(samples, chosen, 'base'), BEST)
    return Math.log(head / base)
  },
}

/** What samples say. */
export interface Judgement {
  readonly ratio: Ratio
  /** Chance that the head is not worse, or not better, by more than half the limit. */
  readonly pWorse: number
  readonly pBetter: number
  /** Standard deviation of the statistic. */
  readonly scatter: number
}

/** Interval and p-values of samples. `seed` fixes the resampling. */
export function judge(
  samples: readonly Sample[],
  statistic: Statistic,
  limit: number,
  seed: number,
  resamples: number = RESAMPLES,
): Judgement {
  const every = Int32Array.from(samples, (_, i) => i)
  const estimate = statistic.of(samples, every)
  const distribution = bootstrap(
    [samples.length],
    chosen => statistic.of(samples, chosen),
    resamples,
    seed,
  )
  return {
    ratio: ratioOf(estimate, distribution),
    ...chances(distribution, limit),
    scatter: deviation(distribution),
  }
}

/** The ratio of a log estimate and its resampled distribution. */
export function ratioOf(estimate: number, distribution: Float64Array): Ratio {
  const { lo, hi } = interval(distribution, LEVEL)
  return { estimate: Math.exp(estimate), lo: Math.exp(lo), hi: Math.exp(hi) }
}

/** Both p-values of a resampled distribution of log ratios. */
export function chances(
  distribution: Float64Array,
  limit: number,
): { pWorse: number; pBetter: number } {
  const [worse, better] = [Math.log(1 - limit / 2), Math.log(1 + limit / 2)]
  const n = distribution.length
  return {
    pWorse: (1 + distribution.reduce((sum, x) => sum + (x >= worse ? 1 : 0), 0)) / (n + 1),
    pBetter: (1 + distribution.reduce((sum, x) => sum + (x <= better ? 1 : 0), 0)) / (n + 1),
  }
}

/** The verdict of one interval. */
export function verdictOf({ estimate, lo, hi }: Ratio, limit: number): Verdict {
  if (hi < 1 - limit / 2 && estimate < 1 - limit) return 'regressed'
  if (lo > 1 + limit / 2 && estimate > 1 + limit) return 'improved'
  if (lo >= 1 - limit && hi <= 1 + limit) return 'same'
  return 'unclear'
}

/** A judged metric and the limit that applies to it. */
export interface Judged {
  readonly ratio: Ratio
  readonly limit: number
  readonly pWorse: number
  readonly pBetter: number
}

/** Verdicts of a whole suite: what Holm does not let stand is unclear. */
export function suiteVerdicts(judged: readonly Judged[]): Verdict[] {
  const worse = holm(
    judged.map(one => one.pWorse),
    ALPHA,
  )
  const better = holm(
    judged.map(one => one.pBetter),
    ALPHA,
  )
  return judged.map(({ ratio, limit }, i) => {
    const verdict = verdictOf(ratio, limit)
    const stands = (verdict !== 'regressed' || worse[i]) && (verdict !== 'improved' || better[i])
    return stands ? verdict : 'unclear'
  })
}

/** Median of the pairs with its interval: the second opinion of process mode. */
export function pairedMedian(samples: readonly Sample[], seed: number): Ratio {
  return judge(samples, PAIR, 0, seed).ratio
}

/** The rate that stands for one side: the best of it, or its median. */
export function sideValue(samples: readonly Sample[], key: 'base' | 'head', best: boolean): number {
  const values = samples.map(sample => sample[key])
  return best ? quantile(ascending(values), BEST) : median(values)
}
