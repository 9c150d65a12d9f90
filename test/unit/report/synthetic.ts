// Synthetic runs for the report tests: small, complete, and the same on every call.

import { newLatency, recordLatency } from '../../../src/report/histogram.js'
import {
  DIRECTIONS,
  type Direction,
  type DirectionResult,
  type DiskUtil,
  defaultReportOptions,
  emptyDirection,
  fromSamples,
  type JobReportOptions,
  type JobResult,
  type LatencyStat,
  type RunResult,
} from '../../../src/report/result.js'

/** A latency from a list of nanoseconds. */
export function latencyOf(ns: readonly number[]): LatencyStat {
  const latency = newLatency()
  for (const value of ns) recordLatency(latency, value)
  return latency
}

/** `n` reproducible latencies around `around` ns. */
export function sampleNs(n: number, around: number, seed = 1): number[] {
  let state = seed
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor(around * (0.5 + (state % 4096) / 2048))
  })
}

/** A direction with n I/Os of 4 KiB in `runtimeNs`. */
export function direction(n: number, runtimeNs: number, seed = 1): DirectionResult {
  return {
    ...emptyDirection(),
    ioBytes: n * 4096,
    totalIos: n,
    runtimeNs,
    slat: latencyOf(sampleNs(n, 800, seed)),
    clat: latencyOf(sampleNs(n, 12_000, seed + 1)),
    lat: latencyOf(sampleNs(n, 13_000, seed + 2)),
    bw: fromSamples([4000, 4400, 4200]),
    iops: fromSamples([1000, 1100, 1050]),
  }
}

/** A job that read 1000, wrote 500 and trimmed 100 blocks in two seconds. */
export function job(
  overrides: Partial<JobResult> = {},
  options: Partial<JobReportOptions> = {},
): JobResult {
  return {
    jobname: 'mix',
    groupid: 0,
    clone: 0,
    pid: 4242,
    error: 0,
    totalErrors: 0,
    firstError: 0,
    etaS: 2147483647,
    elapsedS: 3,
    jobStartMs: 0,
    jobRuntimeNs: 2_000_000_000,
    usrNs: 500_000_000,
    sysNs: 250_000_000,
    ctx: 12,
    majf: 0,
    minf: 7,
    header: {
      rw: 'randrw',
      bs: [
        [4096, 4096],
        [4096, 16384],
        [4096, 4096],
      ],
      ioengine: 'libaio',
      iodepth: 16,
      thread: false,
    },
    jobOptions: { rw: 'randrw', bs: '4k' },
    numjobs: 1,
    report: { ...defaultReportOptions(), ...options },
    read: direction(1000, 2_000_000_000, 11),
    write: direction(500, 1_999_000_001, 22),
    trim: direction(100, 1_000_000, 33),
    sync: { totalIos: 20, lat: latencyOf(sampleNs(20, 90_000, 44)) },
    depth: { level: [10, 20, 70, 300, 1200, 0, 0], submit: [0, 90, 10, 0, 0, 0, 0], complete: [] },
    latencyTarget: { targetNs: 0, windowUs: 0, percentile: 100, depth: 16 },
    ...overrides,
  }
}

/** The three directions of a job replaced by those of `make`. */
export function directionsOf(
  make: (direction: Direction, index: number) => DirectionResult,
): Pick<JobResult, Direction> {
  const [read, write, trim] = DIRECTIONS.map(make)
  return { read, write, trim }
}

export const DISK: DiskUtil = {
  name: 'nvme0n1',
  readIos: 1000,
  writeIos: 500,
  readMerges: 3,
  writeMerges: 4,
  readSectors: 8000,
  writeSectors: 4000,
  readTicksMs: 15,
  writeTicksMs: 9,
  inQueueMs: 24,
  util: 87.654321,
}

/** A run of the given jobs on one disk, in virtual time. */
export function run(jobs: JobResult[], overrides: Partial<RunResult> = {}): RunResult {
  return {
    epochMs: 0,
    utc: true,
    globalOptions: { ioengine: 'libaio', iodepth: '16' },
    jobs,
    disks: [DISK],
    phasebit: {
      version: '0.1.0',
      clock: 'virtual',
      kernel: '4.19',
      seed: '42',
      cpus: 2,
      devices: ['nvme,size=1G,model=fixed'],
      latencyMode: 'every',
      queues: [
        {
          device: 'nvme0n1',
          queue: 1,
          cpu: 0,
          completion: 'irq',
          submitted: 1600,
          completed: 1600,
          inline: 0,
          polled: 0,
          interrupts: 1600,
          irqs: 400,
          spins: 0,
          sqDoorbells: 200,
          cqDoorbells: 400,
          slow: 0,
          requeued: 0,
          timeouts: 0,
        },
      ],
      stages: { Q2C: latencyOf(sampleNs(1600, 12_500, 5)) },
      books: {
        submitted: 1600,
        completed: 1600,
        failed: 0,
        inFlight: 0,
        tagsHeld: 0,
        ringEntries: 0,
        biosUnbalanced: 0,
        worksPending: 0,
        timersPending: 0,
        balanced: true,
      },
      notes: [],
    },
    ...overrides,
  }
}
