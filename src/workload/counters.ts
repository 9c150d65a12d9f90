// What the policies look at while a job runs: its measured counters at one moment, read from shared memory by job-view.ts.

import type { Triple } from './job.js'

/** Measured I/O of one job so far (or of several jobs together). Counts begin when the ramp ends. */
export interface JobCounters {
  readonly ios: Triple
  readonly bytes: Triple
  /** Completion latencies recorded, and their sum in ns. */
  readonly latencies: number
  readonly latencySumNs: number
  /** I/Os over latency_target, and I/Os compared with it, since the job began. */
  readonly overTarget: number
  readonly compared: number
}

export const NO_COUNTS: JobCounters = {
  ios: [0, 0, 0],
  bytes: [0, 0, 0],
  latencies: 0,
  latencySumNs: 0,
  overTarget: 0,
  compared: 0,
}

/** Read, write and trim together. */
export function total(t: Triple): number {
  return t[0] + t[1] + t[2]
}

/** Adds member by member. */
export function addCounters(a: JobCounters, b: JobCounters): JobCounters {
  const add = (x: Triple, y: Triple): Triple => [x[0] + y[0], x[1] + y[1], x[2] + y[2]]
  return {
    ios: add(a.ios, b.ios),
    bytes: add(a.bytes, b.bytes),
    latencies: a.latencies + b.latencies,
    latencySumNs: a.latencySumNs + b.latencySumNs,
    overTarget: a.overTarget + b.overTarget,
    compared: a.compared + b.compared,
  }
}
