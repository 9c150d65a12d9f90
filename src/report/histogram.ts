// fio's latency histogram: 1856 buckets, 29 groups of 64, a relative error of at most 1/128.
//
//   value (ns)        bucket
//   0 .. 127          the value itself
//   v >= 128          s = floor(log2 v) - 6; bucket = (s + 1) * 64 + ((v >> s) & 63), at most 1855
//
// A bucket stands for its middle: (2^6 + k + 0.5) * 2^s, truncated. The last bucket holds everything above 17 s.
// Percentiles are read off the running count; they are never averaged, histograms are added instead.

import { emptyLatency, HISTOGRAM_BUCKETS, type LatencyShares, type LatencyStat } from './result.js'
import { addSample, addStat } from './stat.js'

const GROUP = 64
const GROUP_BITS = 6
const LAST = HISTOGRAM_BUCKETS - 1

/** Bucket of a latency in whole nanoseconds (0 to 2^53 - 1). */
export function bucketIndex(ns: number): number {
  if (ns < 2 * GROUP) return Math.floor(ns)
  const shift = log2Floor(ns) - GROUP_BITS
  const index = (shift + 1) * GROUP + (Math.floor(ns / 2 ** shift) - GROUP)
  return Math.min(index, LAST)
}

/** The nanoseconds a bucket stands for: the middle of its range, truncated. */
export function bucketValue(index: number): number {
  if (index < 2 * GROUP) return index
  const shift = Math.floor(index / GROUP) - 1
  return Math.floor((GROUP + (index % GROUP) + 0.5) * 2 ** shift)
}

/** Exact floor(log2 v) for 1 <= v < 2^53, without the host's logarithm. */
function log2Floor(v: number): number {
  const high = Math.floor(v / 2 ** 32)
  return high > 0 ? 63 - Math.clz32(high) : 31 - Math.clz32(v)
}

/** A latency with an empty histogram, ready for recordLatency. */
export function newLatency(): LatencyStat {
  return { ...emptyLatency(), buckets: new Float64Array(HISTOGRAM_BUCKETS) }
}

/** Records one latency in whole nanoseconds. */
export function recordLatency(latency: LatencyStat, ns: number): void {
  addSample(latency, ns)
  if (latency.buckets) latency.buckets[bucketIndex(ns)]++
}

/** Adds `other` to `into`, histogram included. A side with samples but no histogram leaves the sum without one. */
export function addLatency(into: LatencyStat, other: Readonly<LatencyStat>): void {
  if (other.n === 0) return
  const intoHadSamples = into.n > 0
  addStat(into, other)
  if (!other.buckets || (intoHadSamples && !into.buckets)) {
    delete into.buckets
    return
  }
  into.buckets ??= new Float64Array(HISTOGRAM_BUCKETS)
  for (let i = 0; i < HISTOGRAM_BUCKETS; i++) into.buckets[i] += other.buckets[i]
}

/** One line of a percentile table. */
export interface Percentile {
  percent: number
  ns: number
}

/** Percentiles of a histogram, ascending: the first bucket whose running count reaches percent/100 of all counts. */
export function percentiles(buckets: Float64Array, list: readonly number[]): Percentile[] {
  const wanted = [...list].sort((a, b) => a - b)
  const total = buckets.reduce((a, b) => a + b, 0)
  const found: Percentile[] = []
  let sum = 0
  for (let i = 0; i < HISTOGRAM_BUCKETS && found.length < wanted.length; i++) {
    sum += buckets[i]
    while (found.length < wanted.length && sum >= (wanted[found.length] / 100) * total) {
      found.push({ percent: wanted[found.length], ns: bucketValue(i) })
    }
  }
  return found
}

/** Non-empty buckets as [ns, count], ascending. */
export function filledBuckets(buckets: Float64Array): [number, number][] {
  const filled: [number, number][] = []
  buckets.forEach((count, i) => {
    if (count > 0) filled.push([bucketValue(i), count])
  })
  return filled
}

const NS_AND_US_LIMITS: readonly number[] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000]
const MS_LIMITS: readonly number[] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000]

/** Latency shares with nothing counted. */
export function emptyShares(): LatencyShares {
  return { ns: zeros(10), us: zeros(10), ms: zeros(12) }
}

/** Counts `count` I/Os of a latency in whole nanoseconds: below 1000 ns, below 1000 us or in milliseconds. */
export function countShare(shares: LatencyShares, ns: number, count: number): void {
  if (ns < 1000) shares.ns[classOf(ns, NS_AND_US_LIMITS)] += count
  else if (ns < 1_000_000) shares.us[classOf(Math.floor(ns / 1000), NS_AND_US_LIMITS)] += count
  else shares.ms[classOf(Math.floor(ns / 1_000_000), MS_LIMITS)] += count
}

/** Shares read off histograms, each bucket counted at the value it stands for. */
export function sharesFromBuckets(histograms: readonly Float64Array[]): LatencyShares {
  const shares = emptyShares()
  for (const buckets of histograms) {
    for (const [ns, count] of filledBuckets(buckets)) countShare(shares, ns, count)
  }
  return shares
}

function classOf(value: number, limits: readonly number[]): number {
  const found = limits.findIndex(limit => value < limit)
  return found < 0 ? limits.length : found
}

function zeros(n: number): number[] {
  return new Array<number>(n).fill(0)
}
