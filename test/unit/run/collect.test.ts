import { describe, expect, it } from 'vitest'
import {
  JOB_DEPTHS,
  JOB_FIRST_NS,
  JOB_LAST_NS,
  JOB_LAT_BAD,
  JOB_LAT_SEEN,
  JOB_MEASURE_NS,
  JOB_RECORD,
  JOB_START_NS,
  LS_MAX,
  LS_MIN,
  LS_N,
  LS_SHIFT,
  LS_SUM,
  LS_SUMSQ,
  STAT_BYTES,
  STAT_CLAT,
  STAT_IOS,
  STAT_LAT,
} from '../../../assembly/layout.js'
import type { View } from '../../../src/core/view.js'
import { bucketIndex } from '../../../src/report/histogram.js'
import { collectJob, type JobFacts } from '../../../src/workload/collect.js'
import { readCounters, readLatency, statAddress } from '../../../src/workload/job-view.js'
import { jobOf } from '../workload/plan-of.js'
import { giveHistogram, HISTS, JOB, newView } from './memory.js'

/** What assembly/hist.ts does, for one latency after another. */
function recordAll(view: View, ls: number, index: number, values: readonly number[]): void {
  giveHistogram(view, ls, index)
  const hist = HISTS + index * 1856 * 4
  view.setF64(ls + LS_SHIFT, values[0]!)
  view.setU64(ls + LS_MIN, Math.min(...values))
  view.setU64(ls + LS_MAX, Math.max(...values))
  view.setU64(ls + LS_N, values.length)
  view.setF64(
    ls + LS_SUM,
    values.reduce((a, b) => a + b, 0),
  )
  view.setF64(
    ls + LS_SUMSQ,
    values.reduce((a, b) => a + (b - values[0]!) ** 2, 0),
  )
  for (const v of values)
    view.setU32(hist + 4 * bucketIndex(v), view.u32(hist + 4 * bucketIndex(v)) + 1)
}

function facts(over: Partial<JobFacts> = {}): JobFacts {
  return {
    address: JOB,
    errno: 0,
    firstErrno: 0,
    samples: null,
    depth: null,
    steady: null,
    usrNs: 0,
    sysNs: 0,
    switches: 0,
    endNs: 3e9,
    submissionTimed: true,
    elapsedNs: 3.2e9,
    epochMs: 0,
    ...over,
  }
}

/** A job that has measured from 1 s to 3 s. */
function ran(view: View, reads: number, writes = 0): void {
  view.setU64(JOB + JOB_START_NS, 0.5e9)
  view.setU64(JOB + JOB_MEASURE_NS, 1e9)
  view.setU32(JOB + JOB_RECORD, 1)
  ;[reads, writes].forEach((n, d) => {
    view.setU64(statAddress(JOB, d) + STAT_IOS, n)
    view.setU64(statAddress(JOB, d) + STAT_BYTES, n * 4096)
  })
}

describe('readLatency', () => {
  it('gives mean, deviation and counts of what was recorded', () => {
    const view = newView()
    const ls = statAddress(JOB, 0) + STAT_CLAT
    const values = [1_000_000_100, 1_000_000_000, 1_000_000_300]
    recordAll(view, ls, 0, values)
    const latency = readLatency(view, ls)
    const mean = values.reduce((a, b) => a + b) / 3
    expect(latency).toMatchObject({ n: 3, min: 1_000_000_000, max: 1_000_000_300, mean })
    expect(latency.m2).toBeCloseTo(
      values.reduce((a, v) => a + (v - mean) ** 2, 0),
      3,
    )
    expect(latency.buckets!.reduce((a, b) => a + b)).toBe(3)
  })

  it('is empty, without a histogram, when nothing was recorded', () => {
    const view = newView()
    const latency = readLatency(view, statAddress(JOB, 2) + STAT_LAT)
    expect(latency).toEqual({ n: 0, min: 0, max: 0, mean: 0, m2: 0 })
  })
})

describe('readCounters', () => {
  it('reads what the policies need', () => {
    const view = newView()
    ran(view, 100, 50)
    recordAll(view, statAddress(JOB, 0) + STAT_CLAT, 0, [10, 20])
    recordAll(view, statAddress(JOB, 1) + STAT_CLAT, 1, [40])
    view.setU64(JOB + JOB_LAT_BAD, 3)
    view.setU64(JOB + JOB_LAT_SEEN, 150)
    expect(readCounters(view, JOB)).toEqual({
      ios: [100, 50, 0],
      bytes: [409600, 204800, 0],
      latencies: 3,
      latencySumNs: 70,
      overTarget: 3,
      compared: 150,
    })
  })
})

describe('collectJob', () => {
  it('counts a direction from the start of the measurement to the end of the job', () => {
    const view = newView()
    ran(view, 100, 50)
    view.setU64(JOB + JOB_DEPTHS + 8, 150)
    const result = collectJob(view, jobOf('rw=randrw', 'iodepth=4'), facts())
    expect(result.read).toMatchObject({ totalIos: 100, ioBytes: 409600, runtimeNs: 2e9 })
    expect(result.write).toMatchObject({ totalIos: 50, runtimeNs: 2e9 })
    expect(result.trim).toMatchObject({ totalIos: 0, runtimeNs: 0 })
    expect(result).toMatchObject({ jobRuntimeNs: 2e9, elapsedS: 4, jobStartMs: 500, error: 0 })
    expect(result.depth.level).toEqual([0, 150, 0, 0, 0, 0, 0])
  })

  it('gives each direction of a verify job the time of its own phase', () => {
    const view = newView()
    ran(view, 10, 10)
    view.setU64(JOB + JOB_LAST_NS + 8, 2.5e9)
    view.setU64(JOB + JOB_FIRST_NS, 2.5e9)
    view.setU64(JOB + JOB_LAST_NS, 3e9)
    const result = collectJob(view, jobOf('rw=write', 'verify=crc32c'), facts())
    expect(result.write.runtimeNs).toBe(1.5e9)
    expect(result.read.runtimeNs).toBe(0.5e9)
  })

  it('takes clat for lat when submissions are not timed', () => {
    const view = newView()
    ran(view, 2)
    recordAll(view, statAddress(JOB, 0) + STAT_CLAT, 0, [100, 300])
    const { read } = collectJob(view, jobOf('rw=read'), facts({ submissionTimed: false }))
    expect(read.lat).toMatchObject({ n: 2, mean: 200 })
    expect(read.slat.n).toBe(0)
  })

  it('has one latency for a synchronous engine', () => {
    const view = newView()
    ran(view, 2)
    recordAll(view, statAddress(JOB, 0) + STAT_CLAT, 0, [100, 300])
    recordAll(view, statAddress(JOB, 0) + STAT_LAT, 1, [150, 350])
    const { read } = collectJob(view, jobOf('rw=read', 'ioengine=psync'), facts())
    expect(read.clat.mean).toBe(250)
    expect(read.lat.mean).toBe(250)
  })

  it('is all zeros for a job that never ran', () => {
    const result = collectJob(newView(), jobOf('rw=read'), facts({ address: 0, errno: 0 }))
    expect(result).toMatchObject({ jobRuntimeNs: 0, jobStartMs: 0, totalErrors: 0 })
    expect(result.read.totalIos).toBe(0)
  })

  it('names the error, and the depth that the search came to', () => {
    const view = newView()
    ran(view, 1)
    const job = jobOf('rw=read', 'iodepth=64', 'latency_target=100us', 'latency_window=1s')
    const result = collectJob(view, job, facts({ errno: 84, firstErrno: 84, depth: 12 }))
    expect(result.errorText).toMatch(/Invalid or incomplete multibyte/)
    expect(result).toMatchObject({ error: 84, totalErrors: 1 })
    expect(result.latencyTarget).toEqual({
      targetNs: 100_000,
      windowUs: 1e6,
      percentile: 100,
      depth: 12,
    })
  })
})
