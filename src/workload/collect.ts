// The result of one job, read from its block after it has ended.
//
// How long a direction ran: from the start of the measurement to the end of the job, as fio counts it. When a verify
// phase has read back what the job wrote, writes ran until the last of them was done, and reads from the first one.

import {
  DDIR_READ,
  DDIR_SYNC,
  DDIR_TRIM,
  JOB_COMPLETES,
  JOB_DEPTHS,
  JOB_ERRORS,
  JOB_FIRST_NS,
  JOB_LAST_NS,
  JOB_MEASURE_NS,
  JOB_RECORD,
  JOB_START_NS,
  JOB_SUBMITS,
  STAT_CLAT,
  STAT_IOS,
  STAT_LAT,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import {
  type DepthCounts,
  type DirectionResult,
  defaultReportOptions,
  emptyDirection,
  emptyLatency,
  type JobHeader,
  type JobReportOptions,
  type JobResult,
  type LatencyTargetResult,
  type SteadyStateResult,
  type SyncResult,
} from '../report/result.js'
import { errorText } from './error-text.js'
import type { JobSpec } from './job.js'
import { hasPriorities, readPriorities } from './extras.js'
import { readDirection, readLatency, statAddress } from './job-view.js'
import type { RateSamples } from './samples.js'

/** fio's word for "nobody knows how long". */
const ETA_UNKNOWN = 2147483647
const DEPTH_CLASSES = 7
/** Emulated processes are numbered from here. */
const FIRST_PID = 1000

/** What is known of a job beside its block. Times in ns. */
export interface JobFacts {
  /** Address of its block; 0 for a job that never ran. */
  readonly address: number
  /** What ended it, and the first error even if it survived that. */
  readonly errno: number
  readonly firstErrno: number
  readonly samples: RateSamples | null
  /** The depth that latency_target has come to, or null. */
  readonly depth: number | null
  readonly steady: SteadyStateResult | null
  readonly usrNs: number
  readonly sysNs: number
  readonly switches: number
  /** When the job ended, or now if it still runs, on the machine's clock. */
  readonly endNs: number
  /** Every I/O has its own submission time; otherwise latencies begin with the completion's. */
  readonly submissionTimed: boolean
  /** From the start of the run to its end. */
  readonly elapsedNs: number
  /** Start of the run, ms since the epoch of its clock. */
  readonly epochMs: number
}

/** The result of `job`. */
export function collectJob(view: View, job: JobSpec, facts: JobFacts): JobResult {
  const { address, errno, firstErrno } = facts
  const seen = address === 0 ? 0 : view.u64(address + JOB_ERRORS)
  return {
    jobname: job.name,
    groupid: job.groupid,
    clone: job.cloneIndex,
    pid: FIRST_PID + job.index,
    error: errno,
    errorText: errorText(errno),
    totalErrors: Math.max(seen, firstErrno === 0 ? 0 : 1),
    firstError: firstErrno,
    firstErrorText: errorText(firstErrno),
    etaS: ETA_UNKNOWN,
    elapsedS: Math.ceil(facts.elapsedNs / 1e9),
    jobStartMs:
      facts.epochMs + (address === 0 ? 0 : Math.floor(view.u64(address + JOB_START_NS) / 1e6)),
    jobRuntimeNs: measuredNs(view, facts),
    usrNs: facts.usrNs,
    sysNs: facts.sysNs,
    ctx: facts.switches,
    majf: 0,
    minf: 0,
    header: header(job),
    jobOptions: { ...job.options },
    numjobs: job.numjobs,
    report: reportOptions(job),
    ...(job.prioClass > 0
      ? { priority: { prioclass: job.prioClass, prio: job.prio, priohint: 0 } }
      : {}),
    read: directionResult(view, job, facts, 0),
    write: directionResult(view, job, facts, 1),
    trim: directionResult(view, job, facts, 2),
    sync: syncResult(view, facts),
    depth: depthCounts(view, address),
    latencyTarget: latencyTarget(job, facts.depth),
    ...(facts.steady ? { steadystate: facts.steady } : {}),
  }
}

/** Measured time of a job. */
function measuredNs(view: View, { address, endNs }: JobFacts): number {
  if (address === 0 || view.load(address + JOB_RECORD) === 0) return 0
  return Math.max(0, endNs - view.u64(address + JOB_MEASURE_NS))
}

function directionResult(view: View, job: JobSpec, facts: JobFacts, d: number): DirectionResult {
  if (facts.address === 0) return emptyDirection()
  const result = readDirection(view, facts.address, d)
  result.runtimeNs = result.totalIos > 0 ? directionNs(view, job, facts, d) : 0
  if (!facts.submissionTimed && !job.disableLat && !job.gtodReduce) result.lat = result.clat
  // a synchronous engine submits and completes in one call, and that call is what it times
  if (facts.submissionTimed && job.engineKind === 'sync' && result.lat.n > 0 && !job.disableClat)
    result.clat = result.lat
  if (d < DDIR_TRIM && hasPriorities(job))
    result.prios = readPriorities(view, facts.address, job, d as 0 | 1)
  if (facts.samples && !job.disableBw && !job.gtodReduce) {
    result.bw = facts.samples.bw.stat(d)
    result.iops = facts.samples.iops.stat(d)
  }
  return result
}

function directionNs(view: View, job: JobSpec, facts: JobFacts, d: number): number {
  const { address } = facts
  const readBack = job.uses[1] && job.verify.method !== 'none' && job.verify.atEnd
  if (!readBack) return measuredNs(view, facts)
  const last = view.u64(address + JOB_LAST_NS + 8 * d)
  const only = d === DDIR_READ && !job.uses[DDIR_READ]
  const first = view.u64(address + (only ? JOB_FIRST_NS + 8 * d : JOB_MEASURE_NS))
  return Math.max(0, last - first)
}

function syncResult(view: View, { address, submissionTimed }: JobFacts): SyncResult {
  if (address === 0) return { totalIos: 0, lat: emptyLatency() }
  const stat = statAddress(address, DDIR_SYNC)
  const lat = stat + (submissionTimed ? STAT_LAT : STAT_CLAT)
  return { totalIos: view.u64(stat + STAT_IOS), lat: readLatency(view, lat) }
}

function depthCounts(view: View, address: number): DepthCounts {
  const seven = (field: number): number[] =>
    Array.from({ length: DEPTH_CLASSES }, (_, i) =>
      address === 0 ? 0 : view.u64(address + field + 8 * i),
    )
  return { level: seven(JOB_DEPTHS), submit: seven(JOB_SUBMITS), complete: seven(JOB_COMPLETES) }
}

function latencyTarget(job: JobSpec, depth: number | null): LatencyTargetResult {
  const target = job.latencyTarget
  return {
    targetNs: target?.targetNs ?? 0,
    windowUs: Math.floor((target?.windowNs ?? 0) / 1000),
    percentile: target?.percentile ?? 100,
    depth: depth ?? job.iodepth,
  }
}

function header(job: JobSpec): JobHeader {
  const range = (d: number): [number, number] => [job.bsMin[d]!, job.bsMax[d]!]
  return {
    rw: job.rw,
    bs: [range(0), range(1), range(2)],
    ioengine: job.ioengine,
    iodepth: job.iodepth,
    thread: isSet(job.options.thread) || isSet(job.globalOptions.thread),
  }
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '0'
}

function reportOptions(job: JobSpec): JobReportOptions {
  const { read, write, verify } = job.continueOnError
  return {
    ...defaultReportOptions(),
    groupReporting: job.groupReporting,
    stats: job.stats,
    unifiedRw: job.unifiedRwReporting,
    percentileList: [...job.percentileList],
    slatPercentiles: job.slatPercentiles,
    clatPercentiles: job.clatPercentiles,
    latPercentiles: job.latPercentiles,
    disableSlat: job.disableSlat,
    disableClat: job.disableClat,
    disableLat: job.disableLat,
    disableBw: job.disableBw,
    gtodReduce: job.gtodReduce,
    significantFigures: job.significantFigures,
    kbBase: job.kbBase === 1000 ? 1000 : 1024,
    unitBase: job.unitBase === 1 ? 1 : job.unitBase === 8 ? 8 : 0,
    continueOnError: read || write || verify,
    ...(job.description === '' ? {} : { description: job.description }),
  }
}
