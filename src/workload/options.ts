// Every option that has an effect (RUN): its name, aliases, how its value is read, and who knows it.
// What is accepted without effect, refused, or not there yet is in option-classes.ts.
//
// The interface says what each option becomes; the table says how. Defaults belong to expand.ts, where the options meet.

import { BadValue } from './bad-value.js'
import type {
  BsSplit,
  CmdPrioSplit,
  ContinueOnError,
  Distribution,
  FileService,
  IgnoreError,
  PatternPiece,
  Triple,
  VerifyMethod,
} from './job.js'
import {
  NS_PER_MS,
  NS_PER_S,
  NS_PER_US,
  type OpenTriple,
  parseFloatValue,
  parseRange,
  parseSize,
  parseTime,
  parseTriple,
  type Range,
} from './units.js'
import {
  oneOf,
  parseBsSplit,
  parseCmdPrioSplit,
  parseContinueOnError,
  parseCpuMask,
  parseCpus,
  parseDistribution,
  parseFileService,
  parseIgnoreError,
  parseNames,
  parsePattern,
  parsePercentiles,
  parseReplaySkip,
  parseRw,
  parseSteadyState,
  type RwValue,
  type SkipValue,
  type SteadyCriterion,
} from './values.js'

/** Bytes, or a percentage (1 to 100) of the target. */
export type SizeValue = { readonly bytes: number } | { readonly percent: number }

/** What each RUN option becomes. Sizes in bytes, times in ns; an open triple keeps null where nothing was said. */
export interface RunValues {
  readonly name: string
  readonly description: string
  readonly numjobs: number
  readonly stonewall: boolean
  readonly new_group: boolean
  readonly group_reporting: boolean
  readonly wait_for: string
  readonly startdelay: Range
  readonly runtime: number
  readonly time_based: boolean
  readonly ramp_time: number
  readonly exitall: boolean
  readonly exit_what: 'group' | 'stonewall' | 'all'
  readonly exitall_on_error: boolean

  readonly filename: readonly string[]
  readonly directory: readonly string[]
  readonly filename_format: string
  readonly size: SizeValue
  readonly filesize: Range
  readonly io_size: SizeValue
  readonly offset: SizeValue
  readonly offset_increment: SizeValue
  readonly nrfiles: number
  readonly file_service_type: FileService
  readonly loops: number
  readonly number_ios: number
  readonly direct: boolean
  readonly buffered: boolean
  readonly invalidate: boolean

  readonly rw: RwValue
  readonly rw_sequencer: 'sequential' | 'identical'
  readonly rwmixread: number
  readonly rwmixwrite: number
  readonly bs: OpenTriple<number>
  readonly bsrange: OpenTriple<Range>
  readonly bssplit: OpenTriple<readonly BsSplit[]>
  readonly bs_unaligned: boolean
  readonly ba: OpenTriple<number>
  readonly percentage_random: OpenTriple<number>
  readonly random_distribution: Triple<Distribution>
  readonly norandommap: boolean
  readonly random_generator: 'tausworthe' | 'tausworthe64' | 'lfsr'
  readonly randrepeat: boolean
  readonly randseed: number
  readonly zonemode: 'none' | 'strided' | 'zbd'
  readonly zonesize: number
  readonly zonerange: number
  readonly zoneskip: number

  readonly ioengine: string
  readonly iodepth: number
  readonly iodepth_batch: number
  readonly iodepth_batch_complete_min: number
  readonly iodepth_batch_complete_max: number
  readonly iodepth_low: number
  readonly io_submit_mode: 'inline' | 'offload'
  readonly serialize_overlap: boolean
  readonly hipri: boolean
  readonly hipri_percentage: number
  readonly cpus_allowed: readonly number[]
  readonly cpumask: readonly number[]
  readonly cpus_allowed_policy: 'shared' | 'split'

  readonly thinktime: number
  readonly thinktime_spin: number
  readonly thinktime_blocks: number
  readonly thinktime_blocks_type: 'complete' | 'issue'
  readonly thinktime_iotime: number
  readonly rate: OpenTriple<number>
  readonly rate_min: OpenTriple<number>
  readonly rate_iops: OpenTriple<number>
  readonly rate_iops_min: OpenTriple<number>
  readonly rate_cycle: number
  readonly rate_process: 'linear' | 'poisson'
  readonly rate_ignore_thinktime: boolean
  readonly flow: number
  readonly flow_id: number
  readonly flow_sleep: number
  readonly latency_target: number
  readonly latency_window: number
  readonly latency_percentile: number
  readonly latency_run: boolean
  readonly max_latency: number
  readonly steadystate: SteadyCriterion
  readonly steadystate_duration: number
  readonly steadystate_ramp_time: number
  readonly steadystate_check_interval: number

  readonly fsync: number
  readonly fdatasync: number
  readonly end_fsync: boolean
  readonly fsync_on_close: boolean
  readonly sync: 'none' | 'sync' | 'dsync'
  readonly write_barrier: number
  readonly verify: VerifyMethod
  readonly do_verify: boolean
  readonly verify_only: boolean
  readonly verify_interval: number
  readonly verify_offset: number
  readonly verify_pattern: readonly PatternPiece[]
  readonly verify_backlog: number
  readonly verify_backlog_batch: number
  readonly verify_fatal: boolean
  readonly verify_dump: boolean
  readonly trim_percentage: number
  readonly trim_verify_zero: boolean
  readonly trim_backlog: number
  readonly trim_backlog_batch: number
  readonly buffer_pattern: readonly PatternPiece[]
  readonly zero_buffers: boolean
  readonly refill_buffers: boolean
  readonly continue_on_error: ContinueOnError
  readonly ignore_error: IgnoreError

  readonly prio: number
  readonly prioclass: number
  readonly cmdprio: OpenTriple<number>
  readonly cmdprio_class: OpenTriple<number>
  readonly cmdprio_percentage: OpenTriple<number>
  readonly cmdprio_bssplit: readonly [readonly CmdPrioSplit[], readonly CmdPrioSplit[]]

  readonly stats: boolean
  readonly disable_lat: boolean
  readonly disable_clat: boolean
  readonly disable_slat: boolean
  readonly disable_bw_measurement: boolean
  readonly gtod_reduce: boolean
  readonly lat_percentiles: boolean
  readonly clat_percentiles: boolean
  readonly slat_percentiles: boolean
  readonly percentile_list: readonly number[]
  readonly significant_figures: number
  readonly unified_rw_reporting: 'none' | 'mixed' | 'both'
  readonly kb_base: number
  readonly unit_base: number
  readonly bwavgtime: number
  readonly iopsavgtime: number
  readonly write_bw_log: string
  readonly write_iops_log: string
  readonly write_lat_log: string
  readonly write_hist_log: string
  readonly log_avg_msec: number
  readonly log_max_value: boolean
  readonly log_hist_msec: number
  readonly log_hist_coarseness: number
  readonly log_offset: boolean
  readonly log_prio: boolean
  readonly per_job_logs: boolean
  readonly write_iolog: string
  readonly read_iolog: string
  readonly replay_no_stall: boolean
  readonly replay_time_scale: number
  readonly replay_redirect: string
  readonly replay_skip: SkipValue
  readonly replay_align: number
  readonly replay_scale: number
}

/** Name of an option that has an effect. */
export type RunName = keyof RunValues

/** How one option is read. */
export interface OptionDef<T> {
  /** In two or three words, for messages. */
  readonly type: string
  readonly aliases: readonly string[]
  /** What the bare key means; undefined = it needs a value. */
  readonly bare?: T
  /** Engines that know it; undefined = all. */
  readonly engines?: readonly string[]
  /** Null places of this value keep what was said before. */
  readonly open?: boolean
  /** A repeated key adds to the list instead of replacing it. */
  readonly accumulates?: boolean
  /** @throws BadValue with the reason */
  readonly parse: (text: string, kbBase: number) => T
}

type Extra<T> = Partial<Pick<OptionDef<T>, 'bare' | 'engines' | 'open' | 'accumulates'>>

function def<T>(
  type: string,
  parse: OptionDef<T>['parse'],
  aliases: readonly string[] = [],
  extra: Extra<T> = {},
): OptionDef<T> {
  return { type, aliases, parse, ...extra }
}

function parseBool(text: string): boolean {
  if (text !== '0' && text !== '1') throw new BadValue('must be 0 or 1')
  return text === '1'
}

/** 0 or 1, and the key alone is not enough. */
const bool = (...aliases: string[]): OptionDef<boolean> => def('0 or 1', parseBool, aliases)

/** The key alone means 1. */
const flag = (...aliases: string[]): OptionDef<boolean> =>
  def('flag', parseBool, aliases, { bare: true })

const text = (type: string, ...aliases: string[]): OptionDef<string> =>
  def(
    type,
    value => {
      if (value === '') throw new BadValue('the value is empty')
      return value
    },
    aliases,
  )

/** A log whose name defaults to the job's; '' stands for that. */
const log = (): OptionDef<string> => def('file name', value => value, [], { bare: '' })

function ranged(value: number, min: number, max: number): number {
  if (value < min) throw new BadValue(`must be at least ${min}`)
  if (value > max) throw new BadValue(`must be at most ${max}`)
  return value
}

const whole = (min: number, max: number, ...aliases: string[]): OptionDef<number> =>
  def('number', (value, kb) => ranged(parseSize(value, kb), min, max), aliases)

const MAX = Number.MAX_SAFE_INTEGER
const MAX_INT = 0x7fffffff

const size = (...aliases: string[]): OptionDef<number> => def('size', parseSize, aliases)

const time = (unit: number, ...aliases: string[]): OptionDef<number> =>
  def('time', value => parseTime(value, unit), aliases)

const choice = <T extends string>(words: readonly T[], ...aliases: string[]): OptionDef<T> =>
  def(words.join('|'), value => oneOf(value, words), aliases)

/** Words of which some are other names. */
const translated = <T>(words: Readonly<Record<string, T>>, ...aliases: string[]): OptionDef<T> =>
  def(Object.keys(words).join('|'), value => words[oneOf(value, Object.keys(words))]!, aliases)

/** Read, write, trim; fio 3.33 also lets `:` and `-` stand between them. */
const triple = (min: number, max: number, ...aliases: string[]): OptionDef<OpenTriple<number>> =>
  def(
    'read,write,trim',
    (value, kb) => parseTriple(value, ',:-', part => ranged(parseSize(part, kb), min, max)),
    aliases,
    { open: true },
  )

const sizeOrPercent = (...aliases: string[]): OptionDef<SizeValue> =>
  def('size or percentage', parseSizeValue, aliases)

function parseSizeValue(value: string, kbBase: number): SizeValue {
  if (!value.endsWith('%')) return { bytes: parseSize(value, kbBase) }
  return { percent: ranged(parseSize(value.slice(0, -1), kbBase), 0, 100) }
}

const milliseconds = (...aliases: string[]): OptionDef<number> => time(NS_PER_MS, ...aliases)

function parsePercent(value: string): number {
  return ranged(parseFloatValue(value.endsWith('%') ? value.slice(0, -1) : value), 0, 100)
}

const prioPair = (max: number): OptionDef<OpenTriple<number>> => ({
  ...triple(0, max),
  engines: ['libaio', 'io_uring'],
})

const VERIFY_WORDS: Readonly<Record<string, VerifyMethod>> = {
  none: 'none',
  '0': 'none',
  md5: 'md5',
  crc7: 'crc7',
  crc16: 'crc16',
  crc32: 'crc32',
  crc32c: 'crc32c',
  'crc32c-intel': 'crc32c',
  crc64: 'crc64',
  xxhash: 'xxhash',
  sha1: 'sha1',
  sha256: 'sha256',
  sha512: 'sha512',
  'sha3-224': 'sha3-224',
  'sha3-256': 'sha3-256',
  'sha3-384': 'sha3-384',
  'sha3-512': 'sha3-512',
  meta: 'meta',
  pattern: 'pattern',
  pattern_hdr: 'pattern_hdr',
  null: 'null',
}

/** Queue depths beyond this have no memory. */
export const MAX_IODEPTH = 65536

/** Every option with an effect. */
export const RUN_OPTIONS: { readonly [K in RunName]: OptionDef<RunValues[K]> } = {
  name: text('name'),
  description: def('text', value => value),
  numjobs: whole(1, MAX_INT),
  stonewall: flag('wait_for_previous'),
  new_group: flag(),
  group_reporting: flag(),
  wait_for: text('name of a section above'),
  startdelay: def('time or range of times', value =>
    parseRange(value, true, part => parseTime(part, NS_PER_S)),
  ),
  runtime: time(NS_PER_S, 'timeout'),
  time_based: flag(),
  ramp_time: time(NS_PER_S),
  exitall: flag(),
  exit_what: choice(['group', 'stonewall', 'all']),
  exitall_on_error: flag(),

  filename: def('names', parseNames, [], { accumulates: true }),
  directory: def('names', parseNames),
  filename_format: text('format'),
  size: sizeOrPercent(),
  filesize: def('size or range of sizes', (value, kb) =>
    parseRange(value, true, part => ranged(parseSize(part, kb), 1, MAX)),
  ),
  io_size: sizeOrPercent('io_limit'),
  offset: sizeOrPercent('fileoffset'),
  offset_increment: sizeOrPercent(),
  nrfiles: whole(1, 65536, 'nr_files'),
  file_service_type: def('order of files', parseFileService),
  loops: whole(0, MAX_INT),
  number_ios: whole(0, MAX),
  direct: bool(),
  buffered: bool(),
  invalidate: bool(),

  rw: def('pattern', parseRw, ['readwrite']),
  rw_sequencer: choice(['sequential', 'identical']),
  rwmixread: whole(0, 100),
  rwmixwrite: whole(0, 100),
  bs: triple(1, MAX_INT, 'blocksize'),
  bsrange: def(
    'ranges of sizes',
    (value, kb) =>
      parseTriple(value, ',', part =>
        parseRange(part, false, one => ranged(parseSize(one, kb), 1, MAX_INT)),
      ),
    ['blocksize_range'],
    { open: true },
  ),
  bssplit: def('size/percent:...', parseBsSplit, [], { open: true }),
  bs_unaligned: flag('blocksize_unaligned'),
  ba: triple(1, MAX_INT, 'blockalign'),
  percentage_random: triple(0, 100),
  random_distribution: def('distribution', parseDistribution),
  norandommap: flag(),
  random_generator: choice(['tausworthe', 'tausworthe64', 'lfsr']),
  randrepeat: bool('allrandrepeat'),
  randseed: whole(0, MAX),
  zonemode: choice(['none', 'strided', 'zbd']),
  zonesize: size(),
  zonerange: size(),
  zoneskip: size(),

  ioengine: text('engine'),
  iodepth: whole(1, MAX_IODEPTH),
  iodepth_batch: whole(0, MAX_IODEPTH, 'iodepth_batch_submit'),
  iodepth_batch_complete_min: whole(0, MAX_IODEPTH, 'iodepth_batch_complete'),
  iodepth_batch_complete_max: whole(0, MAX_IODEPTH),
  iodepth_low: whole(0, MAX_IODEPTH),
  io_submit_mode: choice(['inline', 'offload']),
  serialize_overlap: bool(),
  hipri: { ...flag(), engines: ['pvsync2', 'io_uring'] },
  hipri_percentage: { ...whole(0, 100), engines: ['pvsync2'] },
  cpus_allowed: def('CPU list', parseCpus),
  cpumask: def('bit mask', parseCpuMask),
  cpus_allowed_policy: choice(['shared', 'split']),

  thinktime: time(NS_PER_US),
  thinktime_spin: time(NS_PER_US),
  thinktime_blocks: whole(1, MAX_INT),
  thinktime_blocks_type: choice(['complete', 'issue']),
  thinktime_iotime: time(NS_PER_S),
  rate: triple(0, MAX),
  rate_min: triple(0, MAX, 'ratemin'),
  rate_iops: triple(0, MAX_INT),
  rate_iops_min: triple(0, MAX_INT),
  rate_cycle: milliseconds('ratecycle'),
  rate_process: choice(['linear', 'poisson']),
  rate_ignore_thinktime: bool(),
  flow: whole(0, 1000),
  flow_id: whole(0, MAX_INT),
  flow_sleep: time(NS_PER_US),
  latency_target: time(NS_PER_US),
  latency_window: time(NS_PER_US),
  latency_percentile: def('percentage', parsePercent),
  latency_run: bool(),
  max_latency: time(NS_PER_US),
  steadystate: def('criterion:limit', parseSteadyState, ['ss']),
  steadystate_duration: time(NS_PER_S, 'ss_dur'),
  steadystate_ramp_time: time(NS_PER_S, 'ss_ramp'),
  steadystate_check_interval: time(NS_PER_S, 'ss_interval'),

  fsync: whole(0, MAX_INT),
  fdatasync: whole(0, MAX_INT),
  end_fsync: bool(),
  fsync_on_close: bool(),
  sync: translated({ none: 'none', '0': 'none', sync: 'sync', '1': 'sync', dsync: 'dsync' }),
  write_barrier: whole(0, MAX_INT),
  verify: translated(VERIFY_WORDS),
  do_verify: bool(),
  verify_only: flag(),
  verify_interval: whole(80, MAX_INT),
  verify_offset: whole(0, MAX_INT),
  verify_pattern: def('pattern', value => parsePattern(value, true)),
  verify_backlog: whole(0, MAX_INT),
  verify_backlog_batch: whole(0, MAX_INT),
  verify_fatal: bool(),
  verify_dump: bool(),
  trim_percentage: whole(0, 100),
  trim_verify_zero: bool(),
  trim_backlog: whole(0, MAX_INT),
  trim_backlog_batch: whole(0, MAX_INT),
  buffer_pattern: def('pattern', value => parsePattern(value, false)),
  zero_buffers: flag(),
  refill_buffers: flag(),
  continue_on_error: def('none|read|write|io|verify|all', parseContinueOnError),
  ignore_error: def('read,write,verify lists', parseIgnoreError),

  prio: whole(0, 7),
  prioclass: whole(0, 3),
  cmdprio: prioPair(7),
  cmdprio_class: prioPair(3),
  cmdprio_percentage: prioPair(100),
  cmdprio_bssplit: {
    ...def('bs/percentage:...', parseCmdPrioSplit),
    engines: ['libaio', 'io_uring'],
  },

  stats: bool(),
  disable_lat: bool(),
  disable_clat: bool(),
  disable_slat: bool(),
  disable_bw_measurement: bool('disable_bw'),
  gtod_reduce: bool(),
  lat_percentiles: bool(),
  clat_percentiles: bool(),
  slat_percentiles: bool(),
  percentile_list: def('percentiles', parsePercentiles),
  significant_figures: whole(1, 10),
  unified_rw_reporting: translated({
    none: 'none',
    '0': 'none',
    mixed: 'mixed',
    '1': 'mixed',
    both: 'both',
    '2': 'both',
  }),
  kb_base: translated({ '1024': 1024, '1000': 1000 }),
  unit_base: translated({ '0': 0, '8': 8, '1': 1 }),
  bwavgtime: milliseconds(),
  iopsavgtime: milliseconds(),
  write_bw_log: log(),
  write_iops_log: log(),
  write_lat_log: log(),
  write_hist_log: log(),
  log_avg_msec: milliseconds(),
  log_max_value: bool(),
  log_hist_msec: milliseconds(),
  log_hist_coarseness: whole(0, 6),
  log_offset: bool(),
  log_prio: bool(),
  per_job_logs: bool(),
  write_iolog: text('file name'),
  read_iolog: text('file name'),
  replay_no_stall: bool(),
  replay_time_scale: whole(1, MAX_INT),
  replay_redirect: text('disk'),
  replay_skip: def('read,write,trim,sync', parseReplaySkip),
  replay_align: whole(0, MAX_INT),
  replay_scale: whole(1, MAX_INT),
}
