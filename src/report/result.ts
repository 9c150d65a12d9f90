// What a finished run hands to the reporters: plain data, filled by the executor, changed by nobody afterwards.
//
//   RunResult
//     jobs[]       one JobResult per clone, in starting order; the reporter merges them for group_reporting
//       read, write, trim, sync      counters, latencies, bandwidth and IOPS samples
//     disks[]      one DiskUtil per block device that a job touched
//     phasebit     what fio has no key for: clock, seed, queues, stages, the books
//
// Rules for the one who fills it:
// - Counts and byte totals are JS numbers and exact to 2^53. Times end in their unit (runtimeNs, usrNs).
// - A latency that was not recorded (disable_*, gtod_reduce, a sync engine's submission) is emptyLatency().
// - Statistics carry n, mean and m2 (sum of squared deviations from the mean), so that they add without loss;
//   fromSums() makes them from running sums.
// - In virtual time every figure comes from the virtual clock, epochMs is 0, utc is true and facts about the host are absent.
// Nothing here computes a report; see merge.ts, fio-json.ts, fio-terse.ts and fio-normal.ts.

/** Counts per bucket of fio's latency histogram: 29 groups of 64 buckets (histogram.ts maps nanoseconds to buckets). */
export const HISTOGRAM_BUCKETS: 1856 = 1856

/** The fio version whose output forms are followed; importers look at the digits. */
export const FIO_VERSION: string = 'fio-3.33'

export type Direction = 'read' | 'write' | 'trim'

/** The order in which fio reports directions. */
export const DIRECTIONS: readonly Direction[] = ['read', 'write', 'trim']

/** Count, extremes, mean and sum of squared deviations of one series. All fields are 0 when n is 0. */
export interface RunningStat {
  n: number
  min: number
  max: number
  mean: number
  /** Sum of (x - mean)^2 over the series: sample variance is m2 / (n - 1). */
  m2: number
}

/** One latency in nanoseconds. */
export interface LatencyStat extends RunningStat {
  /** HISTOGRAM_BUCKETS counts whose sum is n; absent when the distribution was not recorded (or n is 0). */
  buckets?: Float64Array
}

/** Bandwidth (KiB/s) or IOPS (1/s) samples, one per averaging window (bwavgtime, iopsavgtime; 500 ms). */
export type SampleStat = RunningStat

/** The latency of one I/O priority, when priorities are told apart. */
export interface PriorityLatency {
  /** 0 none, 1 real time, 2 best effort, 3 idle. */
  prioclass: number
  /** 0 (highest) to 7. */
  prio: number
  priohint: number
  latency: LatencyStat
}

/** The I/O priority of a job whose I/Os all carry the same one. */
export type Priority = Omit<PriorityLatency, 'latency'>

/** What one job did in one direction, after the ramp. */
export interface DirectionResult {
  ioBytes: number
  totalIos: number
  shortIos: number
  dropIos: number
  /** Time this direction was active, in ns. */
  runtimeNs: number
  slat: LatencyStat
  clat: LatencyStat
  lat: LatencyStat
  /** KiB/s whatever kb_base is. */
  bw: SampleStat
  iops: SampleStat
  /** Only when two or more priorities have samples. The latency is `lat` when lat_percentiles is set, else `clat`. */
  prios?: PriorityLatency[]
  /** Share of reads served by the page cache, in percent; absent when there was no page cache in the path. */
  cachehit?: number
}

/** Flushes and syncs: fsync=, fdatasync=, end_fsync, sync_file_range. */
export interface SyncResult {
  totalIos: number
  lat: LatencyStat
}

/**
 * How many I/Os (level) or calls (submit, complete) fell into each class; seven counts each.
 * level: depth 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 and more, sampled once per submitted I/O.
 * submit, complete: I/Os per call 0, 1-4, 5-8, 9-16, 17-32, 33-64, more than 64; all zero for sync engines.
 */
export interface DepthCounts {
  level: number[]
  submit: number[]
  complete: number[]
}

/**
 * Completion latencies of reads, writes and trims counted by "below k":
 * ns for k = 2 4 10 20 50 100 250 500 750 1000; us the same from 1000 ns on (whole microseconds);
 * ms for k = 2 4 10 20 50 100 250 500 750 1000 2000 and 2000 or more.
 */
export interface LatencyShares {
  /** 10 counts. */
  ns: number[]
  /** 10 counts. */
  us: number[]
  /** 12 counts. */
  ms: number[]
}

export interface LatencyTargetResult {
  /** latency_target in ns; 0 when unset. */
  targetNs: number
  /** latency_window in us; 0 when unset. */
  windowUs: number
  /** latency_percentile, 100 when unset. */
  percentile: number
  /** The depth the search ended with; iodepth when there was no target. */
  depth: number
}

export interface SteadyStateResult {
  criterion: 'iops' | 'iops_slope' | 'bw' | 'bw_slope' | 'lat' | 'lat_slope'
  limit: number
  /** The limit is a percentage of the mean. */
  percent: boolean
  /** ss_dur in seconds. */
  durationS: number
  attained: boolean
  /** Largest deviation from the mean of the window, in the unit of the data; 0 for the slope criteria. */
  maxDeviation: number
  /** Slope of the regression line, in the unit of the data per check interval; 0 for the mean criteria. */
  slope: number
  /** One entry per check interval of the window, oldest first; bytes per second. */
  bw: number[]
  iops: number[]
  /** ns; only for the lat criteria. */
  latNs?: number[]
}

/** Results of block_error_percentiles. */
export interface BlockInfo {
  /** Percentile as the user wrote it to block number. */
  percentiles: Record<string, number>
  /** State name to number of blocks. */
  states: Record<string, number>
}

/** The job's options that shape its report. Defaults are fio's (see defaultReportOptions). */
export interface JobReportOptions {
  groupReporting: boolean
  /** stats=0 leaves the job out of the report. */
  stats: boolean
  unifiedRw: 'none' | 'mixed' | 'both'
  /** Percentages, at most 20, any order. */
  percentileList: number[]
  slatPercentiles: boolean
  clatPercentiles: boolean
  latPercentiles: boolean
  disableSlat: boolean
  disableClat: boolean
  disableLat: boolean
  /** disable_bw_measurement. */
  disableBw: boolean
  /** Sets all four above. */
  gtodReduce: boolean
  /** 1 to 10; default 4. */
  significantFigures: number
  kbBase: 1024 | 1000
  /** 0: both forms as fio chooses, 1: bits, 8: bytes. */
  unitBase: 0 | 1 | 8
  /** Any continue_on_error other than none. */
  continueOnError: boolean
  description?: string
}

export const DEFAULT_PERCENTILES: readonly number[] = [
  1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99,
]

/** fio's defaults; the caller overrides what the job file says. */
export function defaultReportOptions(): JobReportOptions {
  return {
    groupReporting: false,
    stats: true,
    unifiedRw: 'none',
    percentileList: [...DEFAULT_PERCENTILES],
    slatPercentiles: false,
    clatPercentiles: true,
    latPercentiles: false,
    disableSlat: false,
    disableClat: false,
    disableLat: false,
    disableBw: false,
    gtodReduce: false,
    significantFigures: 4,
    kbBase: 1024,
    unitBase: 0,
    continueOnError: false,
  }
}

/** fio's one-line description of a job (`name: (g=0): rw=..., bs=(R) ...`); sizes in bytes, one pair per direction. */
export interface JobHeader {
  rw: string
  /** [min, max] for read, write, trim. */
  bs: [[number, number], [number, number], [number, number]]
  ioengine: string
  iodepth: number
  /** thread=1: counted as a thread, not a process, in the "Starting" line. */
  thread: boolean
}

/** One clone of one job section. */
export interface JobResult {
  jobname: string
  /** Reporting group, from 0; stonewall and new_group open a new one. */
  groupid: number
  /** Clone number within its section, from 0. Clones of one section are adjacent and share one `header` line. */
  clone: number
  /** The emulated task's pid. */
  pid: number
  /** errno of the error that ended the job, 0 = ok. */
  error: number
  /** Text of that error as in the C library, "Success" or absent when 0. */
  errorText?: string
  /** errors seen, ended the job or not. */
  totalErrors: number
  firstError: number
  firstErrorText?: string
  /** Whole seconds; 2147483647 when unknown (always, at the end of a run). */
  etaS: number
  /** Whole seconds since the run began, rounded up. */
  elapsedS: number
  /** When the job began, ms since the epoch of the run's clock. */
  jobStartMs: number
  /** Wall (or virtual) time of this clone after the ramp, in ns; what usr and sys are shares of. */
  jobRuntimeNs: number
  usrNs: number
  sysNs: number
  /** Context switches, voluntary and not. */
  ctx: number
  majf: number
  minf: number
  header: JobHeader
  /** Raw text of the section's options, in the order written; the reporter adds rw, bs, iodepth, numjobs when absent. */
  jobOptions: Record<string, string>
  /** numjobs of the section. */
  numjobs: number
  report: JobReportOptions
  /** prioclass= and prio=, when set; a group tells its clones apart by it. */
  priority?: Priority
  read: DirectionResult
  write: DirectionResult
  trim: DirectionResult
  sync: SyncResult
  depth: DepthCounts
  /** Absent: computed from the clat histograms (exact to a bucket). */
  latencyShares?: LatencyShares
  latencyTarget: LatencyTargetResult
  steadystate?: SteadyStateResult
  block?: BlockInfo
  /** Zones reset by this job on a zoned disk. */
  zoneResets?: number
}

/** A block device's counters over the run, as /sys/block/NAME/stat counts them. */
export interface DiskUtil {
  name: string
  readIos: number
  writeIos: number
  readMerges: number
  writeMerges: number
  /** 512-byte units. */
  readSectors: number
  writeSectors: number
  readTicksMs: number
  writeTicksMs: number
  inQueueMs: number
  /** Percent of the run's time in which the disk had I/O in flight. */
  util: number
  /** Sum over the disks below a stacked device (pblk). */
  aggregate?: Omit<DiskUtil, 'name' | 'aggregate'>
}

/** A JSON value in phasebit's own part of the result. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** How one hardware queue completed its I/O. */
export interface QueueFacts {
  /** Block device or controller name, e.g. nvme0n1. */
  device: string
  /** Hardware queue number; NVMe's I/O queues begin at 1, other drivers' at 0. */
  queue: number
  /** Owning CPU. */
  cpu: number
  /** What was really done; `inline` when the device runs in the submitting thread and nothing was waited for. */
  completion: 'inline' | 'poll' | 'irq' | 'hybrid'
  submitted: number
  completed: number
  /** Completions by the way they were found. Their sum is `completed`. */
  inline: number
  polled: number
  interrupts: number
  /** Interrupts raised (coalescing makes this less than the completions found by them). */
  irqs: number
  /** Empty looks at the phase bit. */
  spins: number
  sqDoorbells: number
  cqDoorbells: number
  /** Requests sent to the slow list, requeued, timed out. */
  slow: number
  requeued: number
  timeouts: number
}

/** One stage of the request's life, in ns. */
export type StageName = 'Q2G' | 'G2I' | 'I2D' | 'D2C' | 'Q2C'

/** The proof that nothing was lost (design: "Nothing lost"). All of them are totals over the whole run, ramp included. */
export interface Books {
  submitted: number
  completed: number
  failed: number
  inFlight: number
  /** Tags still taken, ring slots still used, bios not ended or ended twice, works and timers still pending. */
  tagsHeld: number
  ringEntries: number
  biosUnbalanced: number
  worksPending: number
  timersPending: number
  /** submitted = completed + failed + inFlight, and all the rest is 0. */
  balanced: boolean
}

/** Which part of a run that was dealt out to several machines this is. */
export interface ShardFacts {
  /** From 1. */
  readonly shard: number
  readonly count: number
  /** Numbers, from 0, of these jobs in the whole run, and how many it has. */
  readonly jobs: readonly number[]
  readonly of: number
}

/** What fio has no key for. Optional members are absent, never zero, when they were not measured. */
export interface PhasebitFacts {
  /** Package version and hash of the WASM core. */
  version: string
  core?: string
  clock: 'real' | 'virtual'
  kernel: string
  seed: string
  cpus: number
  /** Threads of the host that the CPUs live on; absent in virtual time. */
  cpuThreads?: number
  /** Device specs in full, with their defaults filled in. */
  devices: string[]
  /** --lat as it took effect. */
  latencyMode: 'none' | 'sampled' | 'batch' | 'every'
  queues: QueueFacts[]
  stages?: Partial<Record<StageName, LatencyStat>>
  books: Books
  /** Why the run is shorter than the job files say, e.g. "--max-io 1000". */
  shortened?: string
  /** Absent when the run is whole. */
  shard?: ShardFacts
  /** Notes about options that were accepted without effect, in the order found. */
  notes: string[]
  /** Facts about the host; absent in virtual time. */
  host?: { [key: string]: Json }
  /** Anything else, copied into the result as it stands. */
  extra?: { [key: string]: Json }
}

/** Share of time the host's CPUs idled (--idle-prof). */
export interface CpuIdleness {
  system: number
  /** Percent per CPU; only when asked for. */
  percpu?: number[]
  unitMeanUs: number
  unitStddevUs: number
}

export interface RunResult {
  /** End of the run, ms since 1970; 0 in virtual time. */
  epochMs: number
  /** Format dates in UTC (virtual time, tests) instead of local time. */
  utc: boolean
  /** Options of the global sections and the command line; absent or empty when there were none. */
  globalOptions: Record<string, string>
  jobs: JobResult[]
  disks: DiskUtil[]
  cpuIdleness?: CpuIdleness
  phasebit: PhasebitFacts
}

/** A series without samples. */
export function emptyStat(): RunningStat {
  return { n: 0, min: 0, max: 0, mean: 0, m2: 0 }
}

/** A latency that was not recorded. */
export function emptyLatency(): LatencyStat {
  return emptyStat()
}

/** A direction in which nothing happened. */
export function emptyDirection(): DirectionResult {
  return {
    ioBytes: 0,
    totalIos: 0,
    shortIos: 0,
    dropIos: 0,
    runtimeNs: 0,
    slat: emptyLatency(),
    clat: emptyLatency(),
    lat: emptyLatency(),
    bw: emptyStat(),
    iops: emptyStat(),
  }
}

/**
 * Statistics from running sums, which is what a fast loop keeps.
 * `sumOfSquares` loses digits when the deviation is far below the mean; a negative rest becomes 0.
 */
export function fromSums(
  n: number,
  min: number,
  max: number,
  sum: number,
  sumOfSquares: number,
): RunningStat {
  if (n === 0) return emptyStat()
  const mean = sum / n
  return { n, min, max, mean, m2: Math.max(0, sumOfSquares - sum * mean) }
}

/** Statistics of a list of samples, in two passes. */
export function fromSamples(samples: readonly number[]): RunningStat {
  const n = samples.length
  if (n === 0) return emptyStat()
  const mean = samples.reduce((a, b) => a + b, 0) / n
  return {
    n,
    min: samples.reduce((a, b) => Math.min(a, b)),
    max: samples.reduce((a, b) => Math.max(a, b)),
    mean,
    m2: samples.reduce((a, b) => a + (b - mean) ** 2, 0),
  }
}
