// From the options of one job to the fields of its JobSpec: defaults, and what options say about each other.
//
// Names, groups, walls and clones are expand.ts's; regions are layout.ts's. The rules are fio 3.33's unless said.

import { UserError } from '../core/errors.js'
import type { BsSplit, JobSpec, RwMode, Triple } from './job.js'
import type { Notes } from './notes.js'
import type { RunName } from './options.js'
import type { ReplayOptions } from './replay.js'
import type { Settings } from './settings.js'
import { NS_PER_MS, NS_PER_S, type OpenTriple } from './units.js'
import { parseNames } from './values.js'

/** What the functions below look at. */
export interface JobContext {
  readonly settings: Settings
  readonly notes: Notes
  /** `file:line: [section]`, for messages about options in combination. */
  readonly where: string
  readonly name: string
}

const WRITE = 1

function fail(job: JobContext, option: RunName, reason: string): never {
  throw new UserError(`${job.settings.quote(option)}: ${reason}`)
}

/** The triple with its open places filled. */
function filled<T>(open: OpenTriple<T> | undefined, fallback: Triple<T>): Triple<T> {
  if (open === undefined) return fallback
  return [open[0] ?? fallback[0], open[1] ?? fallback[1], open[2] ?? fallback[2]]
}

function map3<T, U>(triple: Triple<T>, change: (value: T, i: 0 | 1 | 2) => U): Triple<U> {
  return [change(triple[0], 0), change(triple[1], 1), change(triple[2], 2)]
}

/** Which directions a pattern uses. */
export function directions(mode: RwMode): Triple<boolean> {
  const plain = mode.replace('rand', '')
  if (plain === 'rw') return [true, true, false]
  if (plain === 'trimwrite') return [false, true, true]
  return [plain === 'read', plain === 'write', plain === 'trim']
}

export type PatternFields = Pick<
  JobSpec,
  | 'rw'
  | 'random'
  | 'uses'
  | 'ddirSeqCount'
  | 'ddirSeqAdd'
  | 'rwSequencer'
  | 'rwmixread'
  | 'percentageRandom'
  | 'distribution'
  | 'norandommap'
  | 'randomGenerator'
  | 'loops'
  | 'numberIos'
  | 'fileService'
>

/** Which I/O comes next. */
export function patternFields(job: JobContext): PatternFields {
  const s = job.settings
  const { mode, postfix } = s.get('rw') ?? { mode: 'read', postfix: null }
  const random = mode.startsWith('rand')
  const uniform = { kind: 'random' } as const
  return {
    rw: mode,
    random,
    uses: directions(mode),
    ddirSeqCount: random ? Math.max(1, postfix ?? 1) : 1,
    ddirSeqAdd: random ? 0 : (postfix ?? 0),
    rwSequencer: s.get('rw_sequencer') ?? 'sequential',
    rwmixread: mixRead(s),
    percentageRandom: filled(s.get('percentage_random'), [100, 100, 100]),
    distribution: s.get('random_distribution') ?? [uniform, uniform, uniform],
    norandommap: s.get('norandommap') ?? false,
    randomGenerator: s.get('random_generator') ?? 'tausworthe',
    loops: Math.max(1, s.get('loops') ?? 1),
    numberIos: s.get('number_ios') ?? 0,
    fileService: s.get('file_service_type') ?? { order: 'roundrobin', count: 1 },
  }
}

/** Of rwmixread and rwmixwrite the one written last counts. */
function mixRead(s: Settings): number {
  if (s.order('rwmixwrite') > s.order('rwmixread')) return 100 - s.get('rwmixwrite')!
  return s.get('rwmixread') ?? 50
}

export type BlockFields = Pick<
  JobSpec,
  'bsMin' | 'bsMax' | 'bssplit' | 'bsUnaligned' | 'blockAlign'
>

/** Block sizes: bs, overruled by bsrange, overruled by bssplit, each direction for itself. */
export function blockFields(job: JobContext): BlockFields {
  const s = job.settings
  const bs = filled(s.get('bs'), [4096, 4096, 4096])
  const ranges = s.get('bsrange')
  const splits = s.get('bssplit')
  const bsMin = map3(bs, (size, i) => smallest(splits?.[i]) ?? ranges?.[i]?.lo ?? size)
  const bsMax = map3(bs, (size, i) => largest(splits?.[i]) ?? ranges?.[i]?.hi ?? size)
  return {
    bsMin,
    bsMax,
    bssplit: [splits?.[0] ?? [], splits?.[1] ?? [], splits?.[2] ?? []],
    bsUnaligned: s.get('bs_unaligned') ?? false,
    blockAlign: filled(s.get('ba'), bsMin),
  }
}

const smallest = (split: readonly BsSplit[] | null | undefined): number | undefined =>
  split?.reduce((least, entry) => Math.min(least, entry.bytes), Number.MAX_SAFE_INTEGER)

const largest = (split: readonly BsSplit[] | null | undefined): number | undefined =>
  split?.reduce((most, entry) => Math.max(most, entry.bytes), 0)

export type ZoneFields = Pick<JobSpec, 'zonemode' | 'zonesize' | 'zonerange' | 'zoneskip'>

/** Strided zones; zoned block devices are not there yet. */
export function zoneFields(job: JobContext): ZoneFields {
  const s = job.settings
  const zonemode = s.get('zonemode') ?? 'none'
  const zonesize = s.get('zonesize') ?? 0
  if (zonemode === 'zbd') fail(job, 'zonemode', 'not yet: zoned block devices')
  if (zonemode === 'none') {
    if (zonesize > 0) fail(job, 'zonesize', 'needs zonemode=strided')
    for (const name of ['zonerange', 'zoneskip'] as const) {
      if (s.get(name)) job.notes.warn(`${s.quote(name)}: no effect without zonemode=strided`)
    }
    return { zonemode, zonesize: 0, zonerange: 0, zoneskip: 0 }
  }
  if (zonesize === 0) fail(job, 'zonemode', 'needs zonesize')
  const zonerange = Math.max(zonesize, s.get('zonerange') ?? 0)
  return { zonemode, zonesize, zonerange, zoneskip: s.get('zoneskip') ?? 0 }
}

export type TimeFields = Pick<
  JobSpec,
  'runtimeNs' | 'timeBased' | 'rampTimeNs' | 'exitall' | 'exitWhat' | 'exitallOnError'
>

/** How long it runs, and what its end does. */
export function timeFields(job: JobContext): TimeFields {
  const s = job.settings
  const runtimeNs = s.get('runtime') ?? 0
  const wanted = s.get('time_based') ?? false
  if (wanted && runtimeNs === 0) {
    job.notes.warn(`${job.where}: time_based without a runtime has no effect`)
  }
  return {
    runtimeNs,
    timeBased: wanted && runtimeNs > 0,
    rampTimeNs: s.get('ramp_time') ?? 0,
    exitall: s.get('exitall') ?? false,
    exitWhat: s.get('exit_what') ?? 'group',
    exitallOnError: s.get('exitall_on_error') ?? false,
  }
}

export type EngineFields = Pick<
  JobSpec,
  | 'ioengine'
  | 'engineKind'
  | 'iodepth'
  | 'queueDepth'
  | 'iodepthBatch'
  | 'iodepthBatchCompleteMin'
  | 'iodepthBatchCompleteMax'
  | 'iodepthLow'
  | 'ioSubmitMode'
  | 'serializeOverlap'
  | 'hipriPercentage'
  | 'direct'
  | 'invalidate'
>

const ASYNC_ENGINES: readonly string[] = ['libaio', 'posixaio', 'io_uring']

/** Engine, depth and batches. Batches beyond the depth are cut to it; 0 stands for the depth. */
export function engineFields(job: JobContext): EngineFields {
  const s = job.settings
  const engine = s.engine
  const kind = engine === 'null' ? 'null' : ASYNC_ENGINES.includes(engine) ? 'async' : 'sync'
  const iodepth = s.get('iodepth') ?? 1
  const offload = s.get('io_submit_mode') === 'offload'
  const queueDepth = kind === 'sync' && !offload ? 1 : iodepth
  noteEngine(job, engine, queueDepth < iodepth)
  const upTo = (value: number): number => (value === 0 ? queueDepth : Math.min(value, queueDepth))
  const completeMin = Math.min(s.get('iodepth_batch_complete_min') ?? 1, queueDepth)
  return {
    ioengine: engine,
    engineKind: kind,
    iodepth,
    queueDepth,
    // tasks that submit for the job do so one I/O each
    iodepthBatch: offload ? 1 : upTo(s.get('iodepth_batch') ?? 1),
    iodepthBatchCompleteMin: completeMin,
    iodepthBatchCompleteMax: completeMax(s.get('iodepth_batch_complete_max'), completeMin),
    iodepthLow: upTo(s.get('iodepth_low') ?? 0),
    ioSubmitMode: s.get('io_submit_mode') ?? 'inline',
    serializeOverlap: s.get('serialize_overlap') ?? false,
    hipriPercentage: hipri(job),
    direct: direct(job, engine),
    invalidate: s.get('invalidate') ?? true,
  }
}

/** 0 = no limit: fio takes one I/O at a time when nobody says more, which would only be slower here. */
function completeMax(wanted: number | undefined, least: number): number {
  return wanted === undefined ? 0 : Math.max(1, least, wanted)
}

function noteEngine(job: JobContext, engine: string, tooDeep: boolean): void {
  if (engine === 'io_uring') {
    job.notes.once(
      'io_uring',
      'ioengine=io_uring: Linux 4.19 has none (it came in 5.1); run as asynchronous I/O',
    )
  }
  if (engine === 'mmap' || engine === 'splice') {
    job.notes.once(`engine ${engine}`, `ioengine=${engine}: run as psync`)
  }
  if (tooDeep) {
    job.notes.warn(`${job.where}: ioengine=${engine} is synchronous: its depth is 1, not iodepth`)
  }
}

function hipri(job: JobContext): number {
  const s = job.settings
  const share = s.get('hipri_percentage')
  if (s.get('hipri') === true) return share ?? 100
  if (share) job.notes.warn(`${s.quote('hipri_percentage')}: no effect without hipri`)
  return 0
}

/** Whoever says nothing runs as direct I/O, and is told so. */
function direct(job: JobContext, engine: string): boolean {
  const s = job.settings
  if (engine === 'null') return true
  const by = s.order('buffered') > s.order('direct') ? 'buffered' : 'direct'
  const wanted = by === 'direct' ? s.get('direct') : !s.get('buffered')
  if (wanted !== undefined) return wanted
  job.notes.once(
    'direct unsaid',
    'jobs that say neither direct nor buffered run as direct=1 (fio: buffered)',
  )
  return true
}

export type PaceFields = Pick<
  JobSpec,
  | 'thinktimeNs'
  | 'thinktimeSpinNs'
  | 'thinktimeBlocks'
  | 'thinktimeBlocksType'
  | 'thinktimeIotimeNs'
  | 'rate'
  | 'rateMin'
  | 'rateIops'
  | 'rateIopsMin'
  | 'rateCycleNs'
  | 'rateProcess'
  | 'rateIgnoreThinktime'
  | 'flow'
  | 'flowId'
  | 'flowSleepNs'
  | 'maxLatencyNs'
>

const NOTHING: Triple = [0, 0, 0]
const NO_BLOCKS = 2 ** 32 - 1

/** What holds a job back. */
export function paceFields(job: JobContext): PaceFields {
  const s = job.settings
  const thinktimeNs = s.get('thinktime') ?? 0
  const rate = filled(s.get('rate'), NOTHING)
  const rateMin = filled(s.get('rate_min'), NOTHING)
  const rateIops = filled(s.get('rate_iops'), NOTHING)
  const rateIopsMin = filled(s.get('rate_iops_min'), NOTHING)
  checkRates(job, { rate, rateMin, rateIops, rateIopsMin })
  return {
    rate,
    rateMin,
    rateIops,
    rateIopsMin,
    rateCycleNs: s.get('rate_cycle') ?? NS_PER_S,
    rateProcess: s.get('rate_process') ?? 'linear',
    rateIgnoreThinktime: s.get('rate_ignore_thinktime') ?? false,
    thinktimeNs,
    thinktimeSpinNs: Math.min(thinktimeNs, s.get('thinktime_spin') ?? 0),
    // by time of I/O alone, unless blocks are asked for as well
    thinktimeBlocks: s.get('thinktime_blocks') ?? (s.get('thinktime_iotime') ? NO_BLOCKS : 1),
    thinktimeBlocksType: s.get('thinktime_blocks_type') ?? 'complete',
    thinktimeIotimeNs: s.get('thinktime_iotime') ?? 0,
    flow: s.get('flow') ?? 0,
    flowId: s.get('flow_id') ?? 0,
    flowSleepNs: s.get('flow_sleep') ?? 0,
    maxLatencyNs: s.get('max_latency') ?? 0,
  }
}

function checkRates(
  job: JobContext,
  r: { rate: Triple; rateMin: Triple; rateIops: Triple; rateIopsMin: Triple },
): void {
  for (const i of [0, 1, 2] as const) {
    if (r.rate[i] > 0 && r.rateIops[i] > 0) fail(job, 'rate_iops', 'excludes rate')
    if (r.rateMin[i] > 0 && r.rateIopsMin[i] > 0) fail(job, 'rate_iops_min', 'excludes rate_min')
    if (r.rate[i] > 0 && r.rateMin[i] > r.rate[i]) fail(job, 'rate_min', 'is above rate')
    if (r.rateIops[i] > 0 && r.rateIopsMin[i] > r.rateIops[i]) {
      fail(job, 'rate_iops_min', 'is above rate_iops')
    }
  }
}

export type GoalFields = Pick<JobSpec, 'latencyTarget' | 'steadyState'>

/** What a job searches for: a depth, or a steady state. */
export function goalFields(job: JobContext): GoalFields {
  const s = job.settings
  const targetNs = s.get('latency_target') ?? 0
  const percentile = s.get('latency_percentile') ?? 100
  const windowNs = s.get('latency_window') ?? 0
  const keepAdjusting = s.get('latency_run') ?? false
  return {
    latencyTarget: targetNs === 0 ? null : { targetNs, windowNs, percentile, keepAdjusting },
    steadyState: steadyState(job),
  }
}

/** fio's criterion when only a duration was given. */
const STEADY_DEFAULT = {
  metric: 'iops',
  slope: true,
  limit: 0.01,
  limitIsPercent: true,
} as const

function steadyState(job: JobContext): JobSpec['steadyState'] {
  const s = job.settings
  const durationNs = s.get('steadystate_duration') ?? 0
  if (durationNs === 0) {
    if (s.has('steadystate')) {
      job.notes.warn(`${s.quote('steadystate')}: no effect without steadystate_duration`)
    }
    return null
  }
  const intervalNs = s.get('steadystate_check_interval') ?? NS_PER_S
  if (intervalNs === 0) fail(job, 'steadystate_check_interval', 'must not be 0')
  if (durationNs < intervalNs) {
    fail(job, 'steadystate_duration', 'is shorter than steadystate_check_interval')
  }
  const rampNs = s.get('steadystate_ramp_time') ?? 0
  return { ...(s.get('steadystate') ?? STEADY_DEFAULT), durationNs, rampNs, intervalNs }
}

export type IntegrityFields = Pick<
  JobSpec,
  | 'fsync'
  | 'fdatasync'
  | 'endFsync'
  | 'fsyncOnClose'
  | 'sync'
  | 'writeBarrier'
  | 'verify'
  | 'trim'
  | 'bufferPattern'
  | 'zeroBuffers'
  | 'refillBuffers'
  | 'continueOnError'
  | 'ignoreError'
>

/** Syncs, verification, buffer content, and which errors end the job. */
export function integrityFields(job: JobContext, bsMin: Triple, bsMax: Triple): IntegrityFields {
  const s = job.settings
  const verify = verifyFields(job, bsMin, bsMax)
  const trimPercent = s.get('trim_percentage') ?? 0
  if (trimPercent > 0 && verify.method === 'none') {
    job.notes.warn(`${s.quote('trim_percentage')}: no effect without verify`)
  } else if (trimPercent > 0 && !s.get('trim_backlog')) {
    job.notes.warn(`${s.quote('trim_percentage')}: no effect without trim_backlog, as in fio`)
  }
  return {
    fsync: s.get('fsync') ?? 0,
    fdatasync: s.get('fdatasync') ?? 0,
    endFsync: s.get('end_fsync') ?? false,
    fsyncOnClose: s.get('fsync_on_close') ?? false,
    sync: s.get('sync') ?? 'none',
    writeBarrier: s.get('write_barrier') ?? 0,
    verify,
    trim: {
      percent: trimPercent,
      verifyZero: s.get('trim_verify_zero') ?? true,
      backlog: s.get('trim_backlog') ?? 0,
      backlogBatch: s.get('trim_backlog_batch') ?? 0,
    },
    bufferPattern: s.get('buffer_pattern') ?? [],
    zeroBuffers: s.get('zero_buffers') ?? false,
    refillBuffers: s.get('refill_buffers') ?? verify.method !== 'none',
    continueOnError: s.get('continue_on_error') ?? { read: false, write: false, verify: false },
    ignoreError: s.get('ignore_error') ?? { read: [], write: [], verify: [] },
  }
}

/** A header must fit into every block: with several sizes, or a larger interval, the smallest write decides. */
function verifyFields(job: JobContext, bsMin: Triple, bsMax: Triple): JobSpec['verify'] {
  const s = job.settings
  const method = s.get('verify') ?? 'none'
  const byPattern = method.startsWith('pattern')
  if (byPattern && !s.has('verify_pattern')) {
    job.notes.warn(`${s.quote('verify')}: without verify_pattern the pattern is zeros`)
  }
  const pattern = s.get('verify_pattern') ?? (byPattern ? [{ bytes: [0] }] : [])
  const wanted = s.get('verify_interval') ?? 0
  const smallest = bsMin[WRITE]
  const varied = bsMin[WRITE] !== bsMax[WRITE]
  const interval = wanted === 0 && varied && method !== 'none' ? smallest : wanted
  return {
    method,
    atEnd: s.get('do_verify') ?? true,
    only: s.get('verify_only') ?? false,
    interval: Math.min(interval, smallest),
    offset: s.get('verify_offset') ?? 0,
    pattern,
    backlog: s.get('verify_backlog') ?? 0,
    backlogBatch: s.get('verify_backlog_batch') ?? 0,
    fatal: s.get('verify_fatal') ?? false,
    dump: s.get('verify_dump') ?? false,
  }
}

export type PriorityFields = Pick<JobSpec, 'prio' | 'prioClass' | 'cmdPrio'>

/** Priorities of the job and of single commands. */
export function priorityFields(job: JobContext): PriorityFields {
  const s = job.settings
  const pair = (open: OpenTriple<number> | undefined, fallback: number): [number, number] => [
    open?.[0] ?? fallback,
    open?.[1] ?? fallback,
  ]
  const percentage = pair(s.get('cmdprio_percentage'), 0)
  if (s.has('cmdprio_bssplit') && percentage.some(share => share > 0)) {
    fail(job, 'cmdprio_bssplit', 'excludes cmdprio_percentage')
  }
  return {
    prio: s.get('prio') ?? 0,
    prioClass: s.get('prioclass') ?? (s.has('prio') ? 2 : 0),
    cmdPrio: {
      percentage,
      class: pair(s.get('cmdprio_class'), 1),
      level: pair(s.get('cmdprio'), 0),
      split: s.get('cmdprio_bssplit') ?? [[], []],
    },
  }
}

export type ReportFields = Pick<
  JobSpec,
  | 'description'
  | 'groupReporting'
  | 'stats'
  | 'disableLat'
  | 'disableClat'
  | 'disableSlat'
  | 'disableBw'
  | 'gtodReduce'
  | 'latPercentiles'
  | 'clatPercentiles'
  | 'slatPercentiles'
  | 'percentileList'
  | 'significantFigures'
  | 'unifiedRwReporting'
  | 'kbBase'
  | 'unitBase'
  | 'bwAvgNs'
  | 'iopsAvgNs'
>

const PERCENTILES = [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99]

/** What the result shows. gtod_reduce takes no times, so it leaves no latencies. */
export function reportFields(job: JobContext): ReportFields {
  const s = job.settings
  const gtodReduce = s.get('gtod_reduce') ?? false
  const off = (name: 'disable_lat' | 'disable_clat' | 'disable_slat'): boolean =>
    gtodReduce || (s.get(name) ?? false)
  const [disableLat, disableClat, disableSlat] = [
    off('disable_lat'),
    off('disable_clat'),
    off('disable_slat'),
  ]
  return {
    description: s.get('description') ?? '',
    groupReporting: s.get('group_reporting') ?? false,
    stats: s.get('stats') ?? true,
    disableLat,
    disableClat,
    disableSlat,
    disableBw: gtodReduce || (s.get('disable_bw_measurement') ?? false),
    gtodReduce,
    latPercentiles: !disableLat && (s.get('lat_percentiles') ?? false),
    clatPercentiles: !disableClat && (s.get('clat_percentiles') ?? true),
    slatPercentiles: !disableSlat && (s.get('slat_percentiles') ?? false),
    percentileList: s.get('percentile_list') ?? PERCENTILES,
    significantFigures: s.get('significant_figures') ?? 4,
    unifiedRwReporting: s.get('unified_rw_reporting') ?? 'none',
    kbBase: s.kbBase,
    unitBase: s.get('unit_base') ?? 0,
    bwAvgNs: s.get('bwavgtime') ?? 500 * NS_PER_MS,
    iopsAvgNs: s.get('iopsavgtime') ?? 500 * NS_PER_MS,
  }
}

export type LogFields = Pick<JobSpec, 'log' | 'writeIolog' | 'replay'>

/** Files written, and a log played back. A log without a name takes the job's. */
export function logFields(job: JobContext): LogFields {
  const s = job.settings
  const named = (name: RunName & `write_${string}_log`): string | null => {
    const value = s.get(name)
    return value === undefined ? null : value === '' ? job.name : value
  }
  return {
    log: {
      bw: named('write_bw_log'),
      iops: named('write_iops_log'),
      lat: named('write_lat_log'),
      hist: named('write_hist_log'),
      averageNs: s.get('log_avg_msec') ?? 0,
      maxValue: s.get('log_max_value') ?? false,
      histNs: s.get('log_hist_msec') ?? 0,
      histCoarseness: s.get('log_hist_coarseness') ?? 0,
      offset: s.get('log_offset') ?? false,
      prio: s.get('log_prio') ?? false,
      perJob: s.get('per_job_logs') ?? true,
    },
    writeIolog: s.get('write_iolog') ?? null,
    replay: null,
  }
}

/** What read_iolog and its companions say; null without it. */
export function replayOptions(job: JobContext): ReplayOptions | null {
  const s = job.settings
  const path = s.get('read_iolog')
  if (path === undefined) return null
  for (const name of ['verify', 'zonemode'] as const)
    if ((s.get(name) ?? 'none') !== 'none') fail(job, name, 'does not go with read_iolog')
  for (const name of ['time_based', 'loops'] as const)
    if (Number(s.get(name) ?? 0) > (name === 'loops' ? 1 : 0))
      job.notes.warn(`${s.quote(name)}: no effect: a log is replayed once`)
  const align = s.get('replay_align') ?? 0
  if (align > 0 && 2 ** Math.round(Math.log2(align)) !== align)
    fail(job, 'replay_align', 'must be a power of 2')
  const skip = s.get('replay_skip')
  return {
    paths: parseNames(path),
    noStall: s.get('replay_no_stall') ?? false,
    timeScale: s.get('replay_time_scale') ?? 100,
    redirect: s.get('replay_redirect') ?? null,
    skip: skip?.skip ?? [false, false, false],
    skipSync: skip?.sync ?? false,
    align,
    scale: s.get('replay_scale') ?? 1,
  }
}
