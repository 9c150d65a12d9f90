// What a job is once everything the user wrote has been understood: plain values in fixed units, one object per
// running job (each clone of `numjobs` is a job of its own), and the plan of the whole run around them.
//
// Nothing here parses. `jobfile.ts` turns text into sections, `options.ts` says what each option is, `expand.ts`
// turns sections into these objects, and `run-command.ts` puts the plan together.
//
// Units, everywhere: sizes and offsets in bytes, times in nanoseconds, shares in percent (0 to 100), rates in bytes or
// I/Os a second. Zero means "none" where the comment says so. Triples are read, write, trim in that order.

import type { Sysctls } from '../fs/sysctl.js'
import type { DebugView } from '../machine/debug-views.js'
import type { DeviceSpec, MachineSpec } from '../machine/spec.js'
import type { ShardFacts } from '../report/result.js'

/** Read, write, trim. */
export type Triple<T = number> = readonly [read: T, write: T, trim: T]

/** The access pattern, in fio's words. `readwrite` is written `rw`. */
export type RwMode =
  | 'read'
  | 'write'
  | 'trim'
  | 'randread'
  | 'randwrite'
  | 'randtrim'
  | 'rw'
  | 'randrw'
  | 'trimwrite'
  | 'randtrimwrite'

/** The engines that exist here. mmap and splice run as psync and keep their name. */
export type IoEngine =
  | 'sync'
  | 'psync'
  | 'vsync'
  | 'pvsync'
  | 'pvsync2'
  | 'libaio'
  | 'posixaio'
  | 'io_uring'
  | 'mmap'
  | 'splice'
  | 'null'

/** One region of one disk that a job works on; `base` includes `offset`, `offset_increment` and the place of a plain file. */
export interface JobFile {
  /** The name the user wrote, or the one fio would have made up. */
  readonly name: string
  /** The device that holds it, such as `/dev/nvme0n1`. */
  readonly disk: string
  /** First byte of the region on the disk. */
  readonly base: number
  /** Bytes of the region. */
  readonly size: number
}

/** Regions in turn, `count` I/Os each; one after the other; or drawn at random after `count` I/Os. */
export interface FileService {
  readonly order: 'roundrobin' | 'sequential' | 'random'
  readonly count: number
}

/** One entry of `bssplit`: blocks of `bytes` make up `percent` of the I/Os. Percents of a list add up to 100. */
export interface BsSplit {
  readonly bytes: number
  readonly percent: number
}

/** One zone of `zoned:`: `access` percent of the I/Os fall on `size` percent of the region. Both add up to 100. */
export interface AccessZone {
  readonly access: number
  readonly size: number
}

/** Where random I/Os fall. `centre` is 0..1 of the region, null for fio's own place (a hash of the seed). */
export type Distribution =
  | { readonly kind: 'random' }
  | { readonly kind: 'zipf'; readonly theta: number; readonly centre: number | null }
  | { readonly kind: 'pareto'; readonly h: number; readonly centre: number | null }
  | { readonly kind: 'normal'; readonly deviation: number; readonly centre: number | null }
  | { readonly kind: 'zoned'; readonly zones: readonly AccessZone[] }
  /** As `zoned`, but `size` is in bytes. */
  | { readonly kind: 'zoned_abs'; readonly zones: readonly AccessZone[] }

/** What protects the data of a verify job. */
export type VerifyMethod =
  | 'none'
  | 'md5'
  | 'crc7'
  | 'crc16'
  | 'crc32'
  | 'crc32c'
  | 'crc64'
  | 'xxhash'
  | 'sha1'
  | 'sha256'
  | 'sha512'
  | 'sha3-224'
  | 'sha3-256'
  | 'sha3-384'
  | 'sha3-512'
  | 'meta'
  | 'pattern'
  | 'pattern_hdr'
  | 'null'

/** One piece of a data pattern: literal bytes, or `%o`, the 8-byte little-endian offset of the block. */
export type PatternPiece = { readonly bytes: readonly number[] } | { readonly offset: true }

/** `verify=` and its companions. `method` none means that nothing is checked. */
export interface VerifySpec {
  readonly method: VerifyMethod
  /** Read back at the end of the write phase (`do_verify`). */
  readonly atEnd: boolean
  /** Check only, write nothing (`verify_only`). */
  readonly only: boolean
  /** Bytes covered by one header; 0 = the whole block. */
  readonly interval: number
  /** Where the header is moved to inside its interval, in bytes. */
  readonly offset: number
  readonly pattern: readonly PatternPiece[]
  /** Check after this many written blocks; 0 = only at the end. */
  readonly backlog: number
  /** Blocks checked each time; 0 = all of the backlog. */
  readonly backlogBatch: number
  /** Stop the job at the first mismatch. */
  readonly fatal: boolean
  readonly dump: boolean
}

/** `trim_percentage` and its companions: discard part of what a verify job wrote. */
export interface TrimSpec {
  readonly percent: number
  /** Read discarded blocks back and expect zeros. */
  readonly verifyZero: boolean
  readonly backlog: number
  readonly backlogBatch: number
}

/** `steadystate=`: stop when the metric varies less than `limit` over the window. */
export interface SteadyStateSpec {
  readonly metric: 'iops' | 'bw' | 'lat'
  /** Judge the slope of a fitted line instead of the largest deviation from the mean. */
  readonly slope: boolean
  readonly limit: number
  /** `limit` is a percentage of the mean; otherwise it is in the metric's own unit (I/Os a second, bytes a second, ns). */
  readonly limitIsPercent: boolean
  readonly durationNs: number
  readonly rampNs: number
  readonly intervalNs: number
}

/** `latency_target` and its companions. */
export interface LatencyTargetSpec {
  readonly targetNs: number
  readonly windowNs: number
  readonly percentile: number
  /** Go on adjusting the depth for the whole run (`latency_run`). */
  readonly keepAdjusting: boolean
}

/** Command priorities of libaio and io_uring; pairs are read, write. */
export interface CmdPrioSpec {
  readonly percentage: readonly [number, number]
  readonly class: readonly [number, number]
  readonly level: readonly [number, number]
  /** Per block size, instead of `percentage`. */
  readonly split: readonly [readonly CmdPrioSplit[], readonly CmdPrioSplit[]]
}

/** One entry of `cmdprio_bssplit`. */
export interface CmdPrioSplit {
  readonly bytes: number
  readonly percent: number
  readonly class: number
  readonly level: number
}

/** Which errors a job survives. */
export interface ContinueOnError {
  readonly read: boolean
  readonly write: boolean
  readonly verify: boolean
}

/** Positive errno values that do not count as errors. */
export interface IgnoreError {
  readonly read: readonly number[]
  readonly write: readonly number[]
  readonly verify: readonly number[]
}

/** Log files of one job. A name is fio's prefix (`NAME_bw.J.log`); null = not written. */
export interface LogSpec {
  readonly bw: string | null
  readonly iops: string | null
  readonly lat: string | null
  readonly hist: string | null
  /** Averaging window of bw, iops and lat; 0 = one line per I/O. */
  readonly averageNs: number
  /** Log the largest value of a window instead of the mean. */
  readonly maxValue: boolean
  readonly histNs: number
  /** 0..6: 1856 / 2^coarseness counts a line. */
  readonly histCoarseness: number
  readonly offset: boolean
  readonly prio: boolean
  /** One file per job (`NAME_bw.1.log`) instead of one for all (`NAME_bw.log`). */
  readonly perJob: boolean
}

/** One I/O of a replayed log. */
export interface ReplayEntry {
  /** Not before so long after the entry before it. */
  readonly gapNs: number
  /** DDIR_*. */
  readonly ddir: number
  /** Index in `JobSpec.files`. */
  readonly file: number
  /** In the file, bytes. */
  readonly offset: number
  readonly length: number
}

/** Replay of a recorded log (`read_iolog`). */
export interface ReplaySpec {
  /** The log of this clone. */
  readonly path: string
  /** What is to be done, in order. */
  readonly entries: readonly ReplayEntry[]
  readonly noStall: boolean
  /** Percent of the recorded pace: 200 is twice as fast, 50 half. */
  readonly timeScale: number
  /** Send everything to this disk; null = to the recorded names. */
  readonly redirect: string | null
  readonly skip: Triple<boolean>
  readonly skipSync: boolean
  /** Round offsets down to a multiple of this; 0 = leave them. */
  readonly align: number
  /** Divide offsets by this. */
  readonly scale: number
}

/** One running job: a section of a job file after inheritance, defaults and cloning. */
export interface JobSpec {
  // --- who it is
  readonly name: string
  readonly description: string
  /** Place in the run, from 0; also the index in `RunPlan.jobs`. */
  readonly index: number
  /** 0 for the first clone of its section. */
  readonly cloneIndex: number
  readonly numjobs: number
  /** File and line of the section, for messages. */
  readonly source: string
  /** What the user wrote in this section, plus rw, bs, iodepth and numjobs: the JSON `job options`. */
  readonly options: Readonly<Record<string, string>>
  /** What the global sections above had set, for the JSON `global options`. */
  readonly globalOptions: Readonly<Record<string, string>>

  // --- when it runs
  /** Reporting group, from 0. */
  readonly groupid: number
  /** Its group gives one result, named after the group's first job. */
  readonly groupReporting: boolean
  /** Number of walls above it: it starts when every job of a smaller number has ended. */
  readonly phase: number
  /** Indices of the jobs that `wait_for` names: all clones of that section must have ended. */
  readonly waitFor: readonly number[]
  /** After its wall, and after wait_for. A range has been drawn from the seed. */
  readonly startDelayNs: number
  /** Measured time; 0 = no limit. */
  readonly runtimeNs: number
  readonly timeBased: boolean
  /** Unmeasured time before `runtimeNs`. */
  readonly rampTimeNs: number
  /** When it ends, the jobs of `exitWhat` end too. */
  readonly exitall: boolean
  readonly exitWhat: 'group' | 'stonewall' | 'all'
  /** An error of this job ends the run's other jobs (`exitall_on_error`). */
  readonly exitallOnError: boolean

  // --- where it works
  readonly files: readonly JobFile[]
  /** Which of several regions comes next (`file_service_type`). */
  readonly fileService: FileService
  /** Bytes of all regions together. */
  readonly size: number
  /** Bytes moved in one pass: `io_size`, or else `size`. */
  readonly ioSize: number
  readonly loops: number
  /** End after this many I/Os; 0 = no limit. */
  readonly numberIos: number
  /** False: through the page cache. */
  readonly direct: boolean
  /** The page cache forgets a file that the job opens. */
  readonly invalidate: boolean

  // --- what it does
  readonly rw: RwMode
  readonly random: boolean
  /** Which directions `rw` uses. */
  readonly uses: Triple<boolean>
  /** Random: a new offset every so many I/Os (`rw=randread:8`), otherwise 1. */
  readonly ddirSeqCount: number
  /** Sequential: bytes left out after each I/O (`rw=write:4k`); negative reads backwards. */
  readonly ddirSeqAdd: number
  readonly rwSequencer: 'sequential' | 'identical'
  /** Percent of reads in a read and write mix. */
  readonly rwmixread: number
  /** Smallest and largest block; equal unless `bsrange` or `bssplit` say otherwise. */
  readonly bsMin: Triple
  readonly bsMax: Triple
  /** Empty = no split. */
  readonly bssplit: Triple<readonly BsSplit[]>
  /** Blocks of any length between min and max, not only multiples of min (`bs_unaligned`). */
  readonly bsUnaligned: boolean
  /** Offsets of random I/Os are multiples of this. */
  readonly blockAlign: Triple
  /** Percent of random I/Os in a random workload. */
  readonly percentageRandom: Triple
  readonly distribution: Triple<Distribution>
  readonly norandommap: boolean
  readonly randomGenerator: 'tausworthe' | 'tausworthe64' | 'lfsr'
  /** Same offsets in each run. When false, the run's own seed has been mixed into `seed`. */
  readonly randrepeat: boolean
  /** `randseed`, 0..2^53-1. */
  readonly randseed: number
  /** 32-bit seed of this job's generators: different for each clone, fixed by randseed (and the run's seed if !randrepeat). */
  readonly seed: number
  readonly zonemode: 'none' | 'strided'
  readonly zonesize: number
  readonly zonerange: number
  readonly zoneskip: number

  // --- engine and depth
  readonly ioengine: IoEngine
  /** `sync` completes each I/O before the next; `null` has no queue below it at all. */
  readonly engineKind: 'sync' | 'async' | 'null'
  /** As the user wrote it. */
  readonly iodepth: number
  /** What is really kept in flight: 1 for a sync engine. */
  readonly queueDepth: number
  readonly iodepthBatch: number
  readonly iodepthBatchCompleteMin: number
  readonly iodepthBatchCompleteMax: number
  readonly iodepthLow: number
  readonly ioSubmitMode: 'inline' | 'offload'
  readonly serializeOverlap: boolean
  /** Percent of I/Os completed by polling: 0 without hipri, 100 with it, or `hipri_percentage`. */
  readonly hipriPercentage: number
  /** CPUs this job may run on; null = any. A `split` policy has been applied: each clone has its own CPU. */
  readonly cpusAllowed: readonly number[] | null
  readonly cpusAllowedPolicy: 'shared' | 'split'

  // --- pace
  readonly thinktimeNs: number
  readonly thinktimeSpinNs: number
  readonly thinktimeBlocks: number
  readonly thinktimeBlocksType: 'complete' | 'issue'
  /** Think only after this much I/O time; 0 = after `thinktimeBlocks`. */
  readonly thinktimeIotimeNs: number
  /** Bytes a second; 0 = no limit. */
  readonly rate: Triple
  readonly rateMin: Triple
  readonly rateIops: Triple
  readonly rateIopsMin: Triple
  readonly rateCycleNs: number
  readonly rateProcess: 'linear' | 'poisson'
  readonly rateIgnoreThinktime: boolean
  /** 0 = no weighting. Jobs of one `flowId` keep their I/Os in proportion of their `flow`. */
  readonly flow: number
  readonly flowId: number
  readonly flowSleepNs: number
  readonly latencyTarget: LatencyTargetSpec | null
  /** An I/O slower than this fails the job; 0 = no limit. */
  readonly maxLatencyNs: number
  readonly steadyState: SteadyStateSpec | null

  // --- durability and integrity
  /** After every so many writes; 0 = never. */
  readonly fsync: number
  readonly fdatasync: number
  readonly endFsync: boolean
  readonly fsyncOnClose: boolean
  /** `sync=`: open with O_SYNC or O_DSYNC. */
  readonly sync: 'none' | 'sync' | 'dsync'
  /** Every so many-th write is a barrier; 0 = none. */
  readonly writeBarrier: number
  readonly verify: VerifySpec
  readonly trim: TrimSpec
  /** Empty = random data. */
  readonly bufferPattern: readonly PatternPiece[]
  readonly zeroBuffers: boolean
  readonly refillBuffers: boolean
  readonly continueOnError: ContinueOnError
  readonly ignoreError: IgnoreError

  // --- priority
  /** ioprio_set(2): class 0 none, 1 real-time, 2 best effort, 3 idle; level 0..7. */
  readonly prioClass: number
  readonly prio: number
  readonly cmdPrio: CmdPrioSpec

  // --- what is reported
  readonly stats: boolean
  readonly disableLat: boolean
  readonly disableClat: boolean
  readonly disableSlat: boolean
  readonly disableBw: boolean
  readonly gtodReduce: boolean
  readonly latPercentiles: boolean
  readonly clatPercentiles: boolean
  readonly slatPercentiles: boolean
  /** Ascending percents, at most 20. */
  readonly percentileList: readonly number[]
  readonly significantFigures: number
  readonly unifiedRwReporting: 'none' | 'mixed' | 'both'
  /** 1024 or 1000. */
  readonly kbBase: number
  /** 0 = by the base, 8 = bytes, 1 = bits. */
  readonly unitBase: number
  /** Window of the bandwidth and IOPS samples. */
  readonly bwAvgNs: number
  readonly iopsAvgNs: number
  readonly log: LogSpec
  readonly writeIolog: string | null
  readonly replay: ReplaySpec | null
}

/** One form of result. */
export type OutputFormat = 'normal' | 'json' | 'json+' | 'terse'

/** How a trace leaves the machine. */
export const TRACE_FORMATS = ['json', 'graph', 'perfetto', 'ftrace', 'blktrace', 'iolog'] as const
export type TraceFormat = (typeof TRACE_FORMATS)[number]

/** How latencies are measured. */
export type LatMode = 'none' | 'sampled' | 'batch' | 'every'

/** When the machine is shown, and what of it. */
export interface DumpPlan {
  readonly views: readonly DebugView[]
  /** ns after the jobs began, ascending; empty = when they have ended. */
  readonly atNs: readonly number[]
  /** Null = standard error. */
  readonly file: string | null
}

/** One write to an attribute of a disk's queue. */
export interface QueueWrite {
  /** ns after the jobs began. */
  readonly atNs: number
  /** `nullb0`. */
  readonly disk: string
  /** Where the attribute is: /sys/block/DISK/queue, or /sys/block/DISK/pblk. */
  readonly of: 'queue' | 'pblk'
  /** `scheduler`, `iosched/fifo_batch`, `max_sec_per_write`. */
  readonly attribute: string
  readonly value: string
}

/** Everything `phasebit run` was told. */
export interface RunPlan {
  readonly jobs: readonly JobSpec[]
  /** One line each, to be printed once, before the run, on stderr. */
  readonly notes: readonly string[]
  readonly globalOptions: Readonly<Record<string, string>>
  /** For each disk the jobs address, the bytes it must have at least. */
  readonly diskNeeds: ReadonlyMap<string, number>

  // --- the machine
  /** Every device asked for; empty = the default machine. */
  readonly devices: readonly DeviceSpec[]
  /** The machine file and its overrides; defaults where nothing was said. */
  readonly machine: MachineSpec
  readonly clock: 'real' | 'virtual'
  readonly kernel: '4.19' | '4.9'
  /** 0..2^53-1, default 0. */
  readonly seed: number
  /** null = as many as the jobs ask for. */
  readonly cpus: number | null

  // --- the run
  readonly parseOnly: boolean
  /** Print `showcmdLines` instead of running. */
  readonly showcmd: boolean
  readonly showcmdLines: readonly string[]
  readonly readonly: boolean
  readonly maxJobs: number
  /** null = no cap. */
  readonly maxRuntimeNs: number | null
  readonly maxIo: number | null
  /** This process runs part `index` (1..count) of `count`. */
  readonly shard: { readonly index: number; readonly count: number } | null
  /** Of a plan that is one shard of a run (shard.ts); absent = the run is whole. */
  readonly dealt?: ShardFacts

  // --- what comes out
  readonly outputFormats: readonly OutputFormat[]
  /** null = standard output. */
  readonly output: string | null
  readonly eta: 'auto' | 'always' | 'never'
  /** null = only at the end. */
  readonly statusIntervalNs: number | null
  readonly terseVersion: 2 | 3 | 4 | 5
  readonly lat: LatMode
  readonly stages: boolean
  readonly trace: string | null
  readonly traceFormat: TraceFormat
  readonly dump: DumpPlan | null
  /** What is written to attributes of queues while the jobs run (--queue). */
  readonly queueWrites: readonly QueueWrite[]
  /** What differs from the kernel's own settings. */
  readonly sysctls: Sysctls
  /** Memory of the page cache, if a job uses it. */
  readonly pageCacheBytes: number
}
