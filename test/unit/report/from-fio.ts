// Turns the json+ output of a real fio into a RunResult, so that our writers can be held against what fio itself printed
// about the same run. Only what fio prints can be read back: percentages become counts again, means and deviations have six
// decimals, the runtime is whole milliseconds.

import { bucketIndex } from '../../../src/report/histogram.js'
import {
  DIRECTIONS,
  type Direction,
  type DirectionResult,
  HISTOGRAM_BUCKETS,
  type JobReportOptions,
  type JobResult,
  type LatencyStat,
  type RunResult,
} from '../../../src/report/result.js'
import { job, run } from './synthetic.js'

export interface FioLatency {
  min: number
  max: number
  mean: number
  stddev: number
  N: number
  bins?: Record<string, number>
}

export type FioDirection = Record<string, number> &
  Record<'slat_ns' | 'clat_ns' | 'lat_ns', FioLatency>

export interface FioJob extends Record<Direction, FioDirection> {
  jobname: string
  groupid: number
  /** Later than 3.33. */
  job_start?: number
  error: number
  eta: number
  elapsed: number
  'job options': Record<string, string>
  sync: { total_ios: number; lat_ns: FioLatency }
  job_runtime: number
  usr_cpu: number
  sys_cpu: number
  ctx: number
  majf: number
  minf: number
  iodepth_level: Record<string, number>
  iodepth_submit: Record<string, number>
  iodepth_complete: Record<string, number>
  latency_ns: Record<string, number>
  latency_us: Record<string, number>
  latency_ms: Record<string, number>
  total_err?: number
  first_error?: number
  latency_depth: number
  latency_target: number
  latency_percentile: number
  latency_window: number
  desc?: string
}

export interface FioDocument {
  'fio version': string
  timestamp_ms: number
  'global options'?: Record<string, string>
  jobs: FioJob[]
}

/** The run that fio reported, with report options taken from the global and job options. */
export function fromFio(document: FioDocument): RunResult {
  const globals = document['global options'] ?? {}
  return run(
    document.jobs.map(fioJob => jobFromFio(fioJob, { ...globals, ...fioJob['job options'] })),
    { epochMs: document.timestamp_ms, utc: false, globalOptions: globals, disks: [] },
  )
}

function jobFromFio(f: FioJob, options: Record<string, string>): JobResult {
  const total = DIRECTIONS.reduce((sum, d) => sum + f[d]['total_ios'], 0)
  const counts = (shares: Record<string, number>, of: number): number[] =>
    orderedShares(shares).map(share => Math.round((share * of) / 100))
  return job(
    {
      jobname: f.jobname,
      groupid: f.groupid,
      error: f.error,
      etaS: f.eta,
      elapsedS: f.elapsed,
      jobStartMs: f.job_start ?? 0,
      jobOptions: f['job options'],
      jobRuntimeNs: f.job_runtime * 1e6,
      usrNs: (f.usr_cpu / 100) * f.job_runtime * 1e6,
      sysNs: (f.sys_cpu / 100) * f.job_runtime * 1e6,
      ctx: f.ctx,
      majf: f.majf,
      minf: f.minf,
      totalErrors: f.total_err ?? 0,
      firstError: f.first_error ?? 0,
      read: directionFromFio(f.read),
      write: directionFromFio(f.write),
      trim: directionFromFio(f.trim),
      sync: { totalIos: f.sync.total_ios, lat: latencyFromFio(f.sync.lat_ns) },
      depth: {
        level: counts(f.iodepth_level, total),
        submit: counts(f.iodepth_submit, 1e6),
        complete: counts(f.iodepth_complete, 1e6),
      },
      latencyShares: {
        ns: counts(f.latency_ns, total),
        us: counts(f.latency_us, total),
        ms: counts(f.latency_ms, total),
      },
      latencyTarget: {
        targetNs: f.latency_target,
        windowUs: f.latency_window,
        percentile: f.latency_percentile,
        depth: f.latency_depth,
      },
    },
    reportOptions(options),
  )
}

/** Shares in the order of their classes, whatever order the parsed object has. */
function orderedShares(shares: Record<string, number>): number[] {
  const rank = (key: string): number => (key.startsWith('>=') ? Number.MAX_VALUE : Number(key))
  return Object.entries(shares)
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([, share]) => share)
}

function reportOptions(o: Record<string, string>): Partial<JobReportOptions> {
  const flag = (name: string): Record<string, boolean> =>
    o[name] === undefined ? {} : { [name.replace(/_p/, 'P')]: o[name] === '1' }
  return {
    ...flag('slat_percentiles'),
    ...flag('clat_percentiles'),
    ...flag('lat_percentiles'),
    ...(o['percentile_list']
      ? { percentileList: o['percentile_list'].split(':').map(Number) }
      : {}),
    ...(o['unified_rw_reporting'] === 'both' ? { unifiedRw: 'both' as const } : {}),
    ...(o['significant_figures'] ? { significantFigures: Number(o['significant_figures']) } : {}),
    ...(o['kb_base'] ? { kbBase: Number(o['kb_base']) as 1000 | 1024 } : {}),
    ...(o['unit_base'] ? { unitBase: Number(o['unit_base']) as 1 | 8 } : {}),
    ...(o['description'] ? { description: o['description'] } : {}),
    continueOnError: o['continue_on_error'] !== undefined,
  }
}

function directionFromFio(f: FioDirection): DirectionResult {
  const rate = (name: string, deviation: string) => ({
    n: f[`${name}_samples`],
    min: f[`${name}_min`],
    max: f[`${name}_max`],
    mean: f[`${name}_mean`],
    m2: f[deviation] ** 2 * Math.max(0, f[`${name}_samples`] - 1),
  })
  return {
    ioBytes: f['io_bytes'],
    totalIos: f['total_ios'],
    shortIos: f['short_ios'],
    dropIos: f['drop_ios'],
    runtimeNs: f['runtime'] * 1e6,
    slat: latencyFromFio(f.slat_ns),
    clat: latencyFromFio(f.clat_ns),
    lat: latencyFromFio(f.lat_ns),
    bw: rate('bw', 'bw_dev'),
    iops: rate('iops', 'iops_stddev'),
  }
}

function latencyFromFio(f: FioLatency): LatencyStat {
  const { min, max, mean, N: n } = f
  const stat: LatencyStat = { n, min, max, mean, m2: f.stddev ** 2 * Math.max(0, n - 1) }
  if (!f.bins) return stat
  stat.buckets = new Float64Array(HISTOGRAM_BUCKETS)
  for (const [ns, count] of Object.entries(f.bins)) stat.buckets[bucketIndex(Number(ns))] += count
  return stat
}
