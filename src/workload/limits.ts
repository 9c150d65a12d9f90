// How long and how much a job really runs: the job file's own limits, cut by --max-runtime and --max-io.
//
//   --max-runtime T   ramp_time + runtime is at most T; a ramp that is cut keeps its share of the whole
//   --max-io N        the job ends after N measured I/Os; reads of a verify phase are not among them
//
// A job that was not limited by time is ended after T; its ramp is then at most half of T, so that something is measured.

import type { JobSpec } from './job.js'

/** The caps of the command line; null = none. */
export interface Caps {
  readonly maxRuntimeNs: number | null
  readonly maxIo: number | null
}

/** Limits of one job. Infinity = none. */
export interface JobLimits {
  readonly rampNs: number
  /** Measured time. */
  readonly runtimeNs: number
  /** The measured time was cut, so the job is shorter than its file says, whatever else ends it. */
  readonly clipped: boolean
  /** A deadline that only --max-runtime has set: the run is shortened if the job reaches it. */
  readonly capped: boolean
  /** Bytes of all passes together. */
  readonly bytes: number
  readonly numberIos: number
  readonly maxIo: number
}

type LimitedJob = Pick<
  JobSpec,
  'rampTimeNs' | 'runtimeNs' | 'timeBased' | 'ioSize' | 'loops' | 'numberIos' | 'rw' | 'replay'
>

/** The limits that hold for `job` under the caps of the command line. */
export function jobLimits(job: LimitedJob, caps: Caps): JobLimits {
  const amount = {
    bytes: bytesOf(job),
    numberIos: numberOfIos(job) || Number.POSITIVE_INFINITY,
    maxIo: caps.maxIo ?? Number.POSITIVE_INFINITY,
  }
  return { ...times(job.rampTimeNs, job.runtimeNs, caps.maxRuntimeNs), ...amount }
}

/** A replayed log ends when it is through, however much that is. */
function bytesOf(job: LimitedJob): number {
  const endless = job.timeBased || job.replay !== null
  return endless ? Number.POSITIVE_INFINITY : job.ioSize * Math.max(1, job.loops)
}

/** A block that is trimmed, then written, counts once; the core counts both I/Os. */
function numberOfIos({ numberIos, rw }: LimitedJob): number {
  return rw === 'trimwrite' || rw === 'randtrimwrite' ? 2 * numberIos : numberIos
}

function times(
  rampNs: number,
  runtimeNs: number,
  maxNs: number | null,
): Pick<JobLimits, 'rampNs' | 'runtimeNs' | 'clipped' | 'capped'> {
  const wanted = runtimeNs || Number.POSITIVE_INFINITY
  if (maxNs === null || rampNs + wanted <= maxNs)
    return { rampNs, runtimeNs: wanted, clipped: false, capped: false }
  if (runtimeNs > 0) {
    const ramp = Math.floor((rampNs * maxNs) / (rampNs + runtimeNs))
    return { rampNs: ramp, runtimeNs: maxNs - ramp, clipped: true, capped: false }
  }
  const ramp = Math.min(rampNs, Math.floor(maxNs / 2))
  return { rampNs: ramp, runtimeNs: maxNs - ramp, clipped: false, capped: true }
}
