// The command line of `phasebit run`, job files included, as one plan. Nothing is run and nothing is printed here.
//
//   phasebit run JOBFILE... [options] [--OPTION=VALUE overrides] [--name=JOB --OPTION=VALUE ...]...
//
// Options of the command and options of fio's may stand anywhere; `--opt value` and `--opt=value` mean the same.
// fio options before the first --name override what the job files say (fio itself would let the files win; a note says
// where that makes a difference); after a --name they belong to that job. Jobs of the command line come first, then the
// files, each file after the first behind a wall.

import { UserError } from '../core/errors.js'
import { SYSCTL_RANGES, type SysctlName, SYSCTLS } from '../fs/sysctl.js'
import { DEBUG_VIEWS } from '../machine/debug-views.js'
import type { DeviceSpec, MachineSpec } from '../machine/spec.js'
import { checkKernel, DEFAULT_MACHINE, parseDevices, parseMachine } from '../machine/spec-parse.js'
import { show } from '../machine/spec-values.js'
import { BadValue, withPrefix } from './bad-value.js'
import { parseDumpTimes, parseDumpViews } from './dump.js'
import { parseQueueWrite } from './queue-writes.js'
import { expandJobs, type FlatSection, flatten, type JobSource, MAX_JOBS } from './expand.js'
import {
  type DumpPlan,
  type JobSpec,
  type LatMode,
  type OutputFormat,
  type QueueWrite,
  type RunPlan,
  TRACE_FORMATS,
  type TraceFormat,
} from './job.js'
import {
  type JobFileSource,
  type RawOption,
  type RawSection,
  readJobFile,
  readText,
  STDIN,
} from './jobfile.js'
import { diskNeeds, targetsOf } from './layout.js'
import { Notes } from './notes.js'
import { OPTION_CLASSES, usefulNames } from './option-classes.js'
import { RUN_OPTIONS } from './options.js'
import { classOf } from './settings.js'
import { showCommand } from './showcmd.js'
import { didYouMean } from './suggest.js'
import { NS_PER_S, parseSize, parseTime } from './units.js'
import { oneOf } from './values.js'

/** The outside world, as far as a command line needs it. */
export interface RunContext {
  /** Contents of a file; throws when there is none. */
  readonly readFile: (path: string) => Uint8Array
  readonly env: Readonly<Record<string, string | undefined>>
  /** CPUs of this host: `$ncpus` in real time. */
  readonly hostCpus: number
}

/** `$ncpus` where nothing may depend on the host. */
const VIRTUAL_CPUS = 4
const PAGE_SIZE = 4096

/** Memory of the page cache: what is accepted, and the default. */
const MIN_CACHE = 2 ** 20
const MAX_CACHE = 2 ** 30
const DEFAULT_CACHE = 2 ** 28

/** Options of the command that stand alone. */
const FLAGS = ['showcmd', 'parse-only', 'warnings-fatal', 'readonly', 'stages', 'minimal'] as const

/** What the options of the command say; everything may be left out. */
interface Said {
  clock?: 'real' | 'virtual'
  kernel?: '4.19' | '4.9'
  seed?: number
  cpus?: number
  machine?: string
  outputFormats?: readonly OutputFormat[]
  output?: string
  eta?: RunPlan['eta']
  statusIntervalNs?: number
  terseVersion?: RunPlan['terseVersion']
  maxJobs?: number
  maxRuntimeNs?: number
  maxIo?: number
  shard?: NonNullable<RunPlan['shard']>
  lat?: LatMode
  trace?: string
  traceFormat?: TraceFormat
  pageCache?: number
  dump?: DumpPlan['views']
  dumpAt?: DumpPlan['atNs']
  dumpFile?: string
}

/** The command line sorted, before any file is read. */
interface Arguments {
  readonly files: string[]
  readonly flags: Set<string>
  readonly sections: string[]
  readonly devices: string[]
  readonly sysctls: Partial<Record<SysctlName, number>>
  readonly queueWrites: QueueWrite[]
  readonly said: Said
  readonly overrides: RawOption[]
  readonly jobs: { name: string; options: RawOption[] }[]
}

const whole = (text: string, min: number, max: number): number => {
  const value = parseSize(text, 1024)
  if (value < min || value > max) throw new BadValue(`must be ${min} to ${max}`)
  return value
}

const present = (text: string): string => {
  if (text === '') throw new BadValue('the value is empty')
  return text
}

const positive = (text: string): number => {
  const ns = parseTime(text, NS_PER_S)
  if (ns === 0) throw new BadValue('must be more than 0')
  return ns
}

/** Options of the command that take a value. */
const VALUES: Readonly<Record<string, (args: Arguments, text: string) => void>> = {
  section: (a, text) => a.sections.push(present(text)),
  device: (a, text) => a.devices.push(present(text)),
  machine: (a, text) => (a.said.machine = present(text)),
  clock: (a, text) => (a.said.clock = oneOf(text, ['real', 'virtual'])),
  kernel: (a, text) => (a.said.kernel = oneOf(text, ['4.19', '4.9'])),
  seed: (a, text) => (a.said.seed = whole(text, 0, Number.MAX_SAFE_INTEGER)),
  cpus: (a, text) => (a.said.cpus = whole(text, 1, 128)),
  'output-format': (a, text) => (a.said.outputFormats = parseFormats(text)),
  output: (a, text) => (a.said.output = present(text)),
  eta: (a, text) => (a.said.eta = oneOf(text, ['auto', 'always', 'never'])),
  'status-interval': (a, text) => (a.said.statusIntervalNs = positive(text)),
  'terse-version': (a, text) => (a.said.terseVersion = TERSE[oneOf(text, ['2', '3', '4', '5'])]),
  'max-jobs': (a, text) => (a.said.maxJobs = whole(text, 1, 65536)),
  'max-runtime': (a, text) => (a.said.maxRuntimeNs = positive(text)),
  'max-io': (a, text) => (a.said.maxIo = whole(text, 1, Number.MAX_SAFE_INTEGER)),
  shard: (a, text) => (a.said.shard = parseShard(text)),
  lat: (a, text) => (a.said.lat = oneOf(text, ['none', 'sampled', 'batch', 'every'])),
  trace: (a, text) => (a.said.trace = present(text)),
  queue: (a, text) => a.queueWrites.push(parseQueueWrite(text)),
  sysctl: (a, text) => Object.assign(a.sysctls, parseSysctl(text)),
  'page-cache': (a, text) => (a.said.pageCache = whole(text, MIN_CACHE, MAX_CACHE)),
  dump: (a, text) => (a.said.dump = parseDumpViews(text)),
  'dump-at': (a, text) => (a.said.dumpAt = parseDumpTimes(text)),
  'dump-file': (a, text) => (a.said.dumpFile = present(text)),
  'trace-format': (a, text) => (a.said.traceFormat = oneOf(text, TRACE_FORMATS)),
}

const TERSE = { '2': 2, '3': 3, '4': 4, '5': 5 } as const

function parseFormats(text: string): readonly OutputFormat[] {
  const formats = text.split(',').map(part => {
    const word = oneOf(part.trim(), ['normal', 'json', 'json+', 'terse', 'minimal'])
    return word === 'minimal' ? 'terse' : word
  })
  return [...new Set(formats)]
}

/** `vm.laptop_mode=5`. */
function parseSysctl(text: string): Partial<Record<SysctlName, number>> {
  const [name, value] = text.split('=', 2)
  const key = oneOf(name!.trim().replaceAll('/', '.'), SYSCTLS)
  const [min, max] = SYSCTL_RANGES[key]
  if (!/^\d+$/.test(value ?? '')) throw new BadValue(`must be ${key}=${min} to ${Math.floor(max)}`)
  return { [key]: whole(value!, min, Math.floor(max)) }
}

function parseShard(text: string): NonNullable<RunPlan['shard']> {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text)
  const [index, count] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || index < 1 || index > count) throw new BadValue('must be I/N, such as 1/4')
  return { index, count }
}

const COMMAND_LINE = 'command line'

/** Where a fio option goes: to the last job of the command line, or to the overrides. */
function addJobOption(args: Arguments, key: string, value: string | null): void {
  const raw: RawOption = { key, value, where: COMMAND_LINE }
  if (classOf(raw).name === 'name') {
    if (value === null || value === '') throw new UserError(`${COMMAND_LINE}: --name needs a name`)
    args.jobs.push({ name: value, options: [] })
  } else (args.jobs.at(-1)?.options ?? args.overrides).push(raw)
}

/** Whether the option may stand without a value, so that the next word is not one. */
function standsAlone(key: string): boolean {
  const info = OPTION_CLASSES.get(key)
  if (info === undefined) return false
  return info.class === 'RUN' ? RUN_OPTIONS[info.name].bare !== undefined : info.bare
}

function sortArguments(argv: readonly string[]): Arguments {
  const args: Arguments = {
    files: [],
    flags: new Set(),
    sections: [],
    devices: [],
    sysctls: {},
    queueWrites: [],
    said: {},
    overrides: [],
    jobs: [],
  }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (!word.startsWith('-') || word === STDIN) {
      args.files.push(word)
      continue
    }
    const equals = word.indexOf('=')
    const key = word.slice(2, equals < 0 ? undefined : equals)
    let value = equals < 0 ? null : word.slice(equals + 1)
    checkOption(word, key)
    const flag = FLAGS.some(one => one === key)
    const next = argv[i + 1]
    const takesNext = value === null && !flag && !standsAlone(key)
    if (takesNext && next !== undefined && !next.startsWith('--')) {
      value = next
      i++
    }
    if (flag) addFlag(args, key, value)
    else if (Object.hasOwn(VALUES, key)) addValue(args, key, value)
    else addJobOption(args, key, value)
  }
  return args
}

/** Options of the command. */
const OURS: ReadonlySet<string> = new Set([...FLAGS, ...Object.keys(VALUES)])

/** @throws UserError with the nearest right name */
function checkOption(word: string, key: string): void {
  if (word.startsWith('--') && (OURS.has(key) || OPTION_CLASSES.has(key))) return
  const hint = didYouMean(key, [...OURS, ...usefulNames()])
  throw new UserError(`${COMMAND_LINE}: unknown option ${show(word)}${hint}`)
}

function addFlag(args: Arguments, key: string, value: string | null): void {
  if (value !== null) throw new UserError(`${COMMAND_LINE}: --${key} takes no value`)
  args.flags.add(key)
}

function addValue(args: Arguments, key: string, value: string | null): void {
  if (value === null) throw new UserError(`${COMMAND_LINE}: --${key} needs a value`)
  withPrefix(
    () => `${COMMAND_LINE}: --${key}=${show(value)}`,
    () => VALUES[key]!(args, value),
  )
}

function readMachine(args: Arguments, context: RunContext): MachineSpec {
  const file = args.said.machine
  if (file !== undefined) {
    return parseMachine(readText(file, context.readFile), file, args.devices)
  }
  return { ...DEFAULT_MACHINE, devices: parseDevices(args.devices) }
}

/** Sections of everything, in the order they run. */
function readSources(args: Arguments, source: JobFileSource, notes: Notes): JobSource[] {
  const globals: RawSection = {
    name: 'global',
    global: true,
    where: COMMAND_LINE,
    options: args.overrides,
  }
  const jobs = args.jobs.map(({ name, options }): RawSection => {
    return { name, global: false, where: COMMAND_LINE, options }
  })
  const sources: JobSource[] = []
  if (jobs.length > 0) {
    sources.push({ sections: [globals, ...jobs], overrides: [], walled: false })
  }
  args.files.forEach((file, i) => {
    const sections = readJobFile(file, source, notes)
    sources.push({
      sections: chosen(sections, args.sections),
      overrides: args.overrides,
      walled: i > 0,
    })
  })
  checkSections(args, sources)
  return sources
}

const chosen = (
  sections: readonly RawSection[],
  names: readonly string[],
): readonly RawSection[] =>
  names.length === 0 ? sections : sections.filter(one => one.global || names.includes(one.name))

/** Every --section must exist, and something must run. */
function checkSections(args: Arguments, sources: readonly JobSource[]): void {
  const names = sources.flatMap(source =>
    source.sections.filter(section => !section.global).map(section => section.name),
  )
  for (const wanted of args.sections) {
    if (names.includes(wanted)) continue
    throw new UserError(`${COMMAND_LINE}: --section=${show(wanted)}: no such section`)
  }
  if (names.length > 0) return
  const what =
    args.files.length === 0 ? 'no job file and no --name' : 'no job, only global sections'
  const where = args.files.length === 0 ? COMMAND_LINE : args.files.join(', ')
  throw new UserError(`${where}: ${what}`)
}

/** fio lets the file win; whoever relies on that is told. */
function noteOverrides(sections: readonly FlatSection[], notes: Notes): void {
  for (const { globals, own, overrides } of sections) {
    const written = [...globals, ...own]
    for (const option of overrides) {
      const { name } = classOf(option)
      const loser = written.findLast(raw => classOf(raw).name === name)
      if (loser === undefined || loser.value === option.value) continue
      notes.once(
        `override ${name}`,
        `--${show(option.key)}: overrides what job files say (${loser.where}); in fio the file would win`,
      )
    }
  }
}

function checkReadonly(jobs: readonly JobSpec[]): void {
  const writer = jobs.find(job => job.uses[1] || job.uses[2])
  if (writer === undefined) return
  throw new UserError(
    `${writer.source}: [${show(writer.name)}]: rw=${writer.rw} changes data, but --readonly was given`,
  )
}

function noteDevices(devices: readonly DeviceSpec[], clock: string, notes: Notes): void {
  if (clock !== 'virtual') return
  for (const device of devices) {
    if ((device.kind === 'nvme' || device.kind === 'ocssd') && device.where !== null) {
      notes.warn(`--device nvme: where=${device.where} has no meaning in virtual time`)
    }
  }
}

/**
 * The plan of `phasebit run ARGV...`.
 * @throws UserError, one line, for anything wrong with what the user wrote
 */
export function parseRun(argv: readonly string[], context: RunContext): RunPlan {
  const args = sortArguments(argv)
  const { said } = args
  const notes = new Notes(args.flags.has('warnings-fatal'))
  const machine = readMachine(args, context)
  const clock = said.clock ?? machine.clock ?? 'real'
  const kernel = said.kernel ?? machine.kernel ?? '4.19'
  const seed = said.seed ?? machine.seed ?? 0
  const cpus = said.cpus ?? machine.cpus
  const maxJobs = said.maxJobs ?? MAX_JOBS
  checkKernel(machine.devices, kernel)
  noteDevices(machine.devices, clock, notes)
  const source: JobFileSource = {
    readFile: context.readFile,
    env: context.env,
    pageSize: PAGE_SIZE,
    mbMemory: machine.memBytes / 2 ** 20,
    ncpus: cpus ?? (clock === 'virtual' ? VIRTUAL_CPUS : context.hostCpus),
  }
  const sections = flatten(readSources(args, source, notes), notes)
  noteOverrides(sections, notes)
  const targets = targetsOf(machine.devices)
  const { readFile } = context
  const jobs = expandJobs(sections, { targets, notes, seed, maxJobs, readFile })
  if (args.flags.has('readonly')) checkReadonly(jobs)
  return {
    jobs,
    notes: notes.lines,
    globalOptions: jobs[0]!.globalOptions,
    diskNeeds: diskNeeds(jobs),
    devices: machine.devices,
    machine,
    clock,
    kernel,
    seed,
    cpus,
    maxJobs,
    ...outcome(args),
    showcmdLines: [showCommand(sections)],
  }
}

type Outcome = Omit<
  RunPlan,
  | 'jobs'
  | 'notes'
  | 'globalOptions'
  | 'diskNeeds'
  | 'devices'
  | 'machine'
  | 'clock'
  | 'kernel'
  | 'seed'
  | 'cpus'
  | 'maxJobs'
  | 'showcmdLines'
>

function dumpOf({ dump, dumpAt, dumpFile }: Said): DumpPlan | null {
  if (dump !== undefined) return { views: dump, atNs: dumpAt ?? [], file: dumpFile ?? null }
  const alone = dumpAt === undefined ? (dumpFile === undefined ? null : 'file') : 'at'
  if (alone === null) return null
  throw new UserError(`${COMMAND_LINE}: --dump-${alone} needs --dump=${DEBUG_VIEWS.join(',')}`)
}

/** How far to go, and what to write. */
function outcome({ said, flags, sysctls, queueWrites }: Arguments): Outcome {
  if (said.traceFormat !== undefined && said.trace === undefined) {
    throw new UserError(`${COMMAND_LINE}: --trace-format needs --trace=FILE`)
  }
  return {
    parseOnly: flags.has('parse-only'),
    showcmd: flags.has('showcmd'),
    readonly: flags.has('readonly'),
    maxRuntimeNs: said.maxRuntimeNs ?? null,
    maxIo: said.maxIo ?? null,
    shard: said.shard ?? null,
    outputFormats: said.outputFormats ?? (flags.has('minimal') ? ['terse'] : ['normal']),
    output: said.output ?? null,
    eta: said.eta ?? 'auto',
    statusIntervalNs: said.statusIntervalNs ?? null,
    terseVersion: said.terseVersion ?? 3,
    lat: said.lat ?? 'batch',
    stages: flags.has('stages'),
    trace: said.trace ?? null,
    traceFormat: said.traceFormat ?? 'graph',
    dump: dumpOf(said),
    queueWrites,
    sysctls,
    pageCacheBytes: said.pageCache ?? DEFAULT_CACHE,
  }
}
