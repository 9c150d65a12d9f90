// Running statistics: adding a sample, adding two series, spread.
//
// A series is { n, min, max, mean, m2 }. Two series over disjoint samples add exactly (Chan, Golub, LeVeque 1983): that is
// how clones of a group, directions of a mixed report and shards of a sweep become one latency. Bandwidth and IOPS samples
// of jobs that run side by side add in another way: the sum of what each did at the same time (sumSamples).
//
// Everything is mutable in place, because a histogram is large and merging a thousand clones should not copy it each time.

import type { RunningStat } from './result.js'

/** Sample standard deviation (n - 1); 0 for fewer than two samples. */
export function stddev(stat: RunningStat): number {
  return stat.n > 1 ? Math.sqrt(stat.m2 / (stat.n - 1)) : 0
}

/** Adds one sample (Welford's update). */
export function addSample(stat: RunningStat, value: number): void {
  stat.min = stat.n === 0 ? value : Math.min(stat.min, value)
  stat.max = stat.n === 0 ? value : Math.max(stat.max, value)
  stat.n++
  const delta = value - stat.mean
  stat.mean += delta / stat.n
  stat.m2 += delta * (value - stat.mean)
}

/** Adds the samples of `other` to `into`, as if both series had been recorded together. */
export function addStat(into: RunningStat, other: Readonly<RunningStat>): void {
  if (other.n === 0) return
  if (into.n === 0) {
    copyStat(into, other)
    return
  }
  const n = into.n + other.n
  const delta = other.mean - into.mean
  into.min = Math.min(into.min, other.min)
  into.max = Math.max(into.max, other.max)
  into.m2 += other.m2 + delta * delta * ((into.n * other.n) / n)
  into.mean = (into.mean * into.n + other.mean * other.n) / n
  into.n = n
}

/** Adds rates of jobs that ran side by side: extremes, means and deviations add up, and so do the sample counts. */
export function sumSamples(into: RunningStat, other: Readonly<RunningStat>): void {
  into.n += other.n
  into.min += other.min
  into.max += other.max
  into.mean += other.mean
  into.m2 += other.m2
}

function copyStat(into: RunningStat, from: Readonly<RunningStat>): void {
  into.n = from.n
  into.min = from.min
  into.max = from.max
  into.mean = from.mean
  into.m2 = from.m2
}
