// Reads a job's block in shared memory: state, counters, latency statistics. Called while the job runs (progress,
// policies) and after it has ended (the result).
//
// The core keeps per latency the count, the extremes, the sum, and the sum of squared distances from the first value
// (LS_SHIFT); from these come mean and m2 without cancellation:
//
//   m2 = sum (x - s)^2 - (sum (x - s))^2 / n        with  sum (x - s) = sum x - n s

import {
  DDIR_TRIM,
  HIST_BUCKETS,
  JOB_LAT_BAD,
  JOB_LAT_SEEN,
  JOB_STATS,
  LS_HIST,
  LS_MAX,
  LS_MIN,
  LS_N,
  LS_SHIFT,
  LS_SUM,
  LS_SUMSQ,
  STAT_BYTES,
  STAT_CLAT,
  STAT_DROP,
  STAT_IOS,
  STAT_LAT,
  STAT_SHORT,
  STAT_SIZE,
  STAT_SLAT,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import {
  type DirectionResult,
  emptyLatency,
  emptyStat,
  type LatencyStat,
} from '../report/result.js'
import type { JobCounters } from './counters.js'
import type { Triple } from './job.js'

/** Address of the statistics of one direction (DDIR_*). */
export function statAddress(job: number, ddir: number): number {
  return job + JOB_STATS + ddir * STAT_SIZE
}

function byDirection(read: (ddir: number) => number): Triple {
  return [read(0), read(1), read(DDIR_TRIM)]
}

/** Measured I/O so far. */
export function readCounters(view: View, job: number): JobCounters {
  const field = (offset: number) => (d: number) => view.u64(statAddress(job, d) + offset)
  let latencies = 0
  let latencySumNs = 0
  for (let d = 0; d <= DDIR_TRIM; d++) {
    const clat = statAddress(job, d) + STAT_CLAT
    latencies += view.u64(clat + LS_N)
    latencySumNs += view.f64(clat + LS_SUM)
  }
  return {
    ios: byDirection(field(STAT_IOS)),
    bytes: byDirection(field(STAT_BYTES)),
    latencies,
    latencySumNs,
    overTarget: view.u64(job + JOB_LAT_BAD),
    compared: view.u64(job + JOB_LAT_SEEN),
  }
}

/** One latency with its histogram; empty when it was not recorded. */
export function readLatency(view: View, ls: number): LatencyStat {
  const n = view.u64(ls + LS_N)
  if (n === 0) return emptyLatency()
  const sum = view.f64(ls + LS_SUM)
  const shifted = sum - n * view.f64(ls + LS_SHIFT)
  return {
    n,
    min: view.u64(ls + LS_MIN),
    max: view.u64(ls + LS_MAX),
    mean: sum / n,
    m2: Math.max(0, view.f64(ls + LS_SUMSQ) - (shifted * shifted) / n),
    buckets: readHistogram(view, ls),
  }
}

/** The counts of a latency's histogram. */
export function readHistogram(view: View, ls: number): Float64Array {
  const first = view.u32(ls + LS_HIST) >>> 2
  return Float64Array.from(view.words.subarray(first, first + HIST_BUCKETS))
}

/** Everything recorded about one direction but its time and its samples. */
export function readDirection(view: View, job: number, ddir: number): DirectionResult {
  const stat = statAddress(job, ddir)
  return {
    ioBytes: view.u64(stat + STAT_BYTES),
    totalIos: view.u64(stat + STAT_IOS),
    shortIos: view.u64(stat + STAT_SHORT),
    dropIos: view.u64(stat + STAT_DROP),
    runtimeNs: 0,
    slat: readLatency(view, stat + STAT_SLAT),
    clat: readLatency(view, stat + STAT_CLAT),
    lat: readLatency(view, stat + STAT_LAT),
    bw: emptyStat(),
    iops: emptyStat(),
  }
}
