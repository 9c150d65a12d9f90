// From the sections of job files and of the command line to running jobs.
//
//   sections -> drafts (one for each clone, options understood) -> regions on disks -> JobSpec
//
// Inheritance: a global section sets defaults for the sections below it in its file; later globals override for what
// follows. Groups count from 0: `stonewall` and `new_group` open one, except before the very first job. A wall
// (`stonewall`, or the beginning of a second file) also opens a phase. Clones stay together in both.
// `wait_for` takes a name above it that is unique there.

import { UserError } from '../core/errors.js'
import { show } from '../machine/spec-values.js'
import { SECTOR } from './generator-params.js'
import type { JobSpec, Triple } from './job.js'
import type { RawOption, RawSection } from './jobfile.js'
import { type JobWishes, layOut, type Target, wishesOf } from './layout.js'
import { jobSpec, type OwnFields, type SharedFields } from './job-spec.js'
import type { Notes } from './notes.js'
import type { SizeValue } from './options.js'
import {
  blockFields,
  engineFields,
  goalFields,
  integrityFields,
  type JobContext,
  logFields,
  paceFields,
  patternFields,
  priorityFields,
  replayOptions,
  reportFields,
  timeFields,
  zoneFields,
} from './resolve.js'
import { type Replay, readReplayOf, replayFields } from './replay.js'
import { draw, fold32, mix32 } from './seed.js'
import { classOf, Settings } from './settings.js'
import { formatBytes } from './units.js'

/** One source of sections: a job file, or the jobs of the command line. */
export interface JobSource {
  readonly sections: readonly RawSection[]
  /** Options that win over what the sections say (`--runtime=2` before a file). */
  readonly overrides: readonly RawOption[]
  /** Its first job waits for everything before it: the second and later files. */
  readonly walled: boolean
}

/** What the expansion depends on besides the sections. */
export interface ExpandOptions {
  readonly targets: readonly Target[]
  readonly notes: Notes
  /** The run's seed; used by jobs with randrepeat=0. */
  readonly seed: number
  readonly maxJobs: number
  /** For the logs that jobs replay. */
  readonly readFile: (path: string) => Uint8Array
}

/** A section ready to run, with the options it inherits. */
export interface FlatSection {
  readonly name: string
  readonly where: string
  readonly globals: readonly RawOption[]
  readonly own: readonly RawOption[]
  readonly overrides: readonly RawOption[]
  readonly walled: boolean
}

/** fio's own limit on jobs in a run. */
export const MAX_JOBS = 4096
/** All files of all jobs. */
const MAX_FILES = 262_144
/** Data buffers of everything in flight at once; one memory holds 4 GiB in all. */
const MAX_IN_FLIGHT: number = 2 ** 31
/** fio's seed when nobody gives one. */
const DEFAULT_SEED = 0x89

/**
 * Sections with what they inherit.
 * @throws UserError for a wrong option in a global section that no job follows
 */
export function flatten(sources: readonly JobSource[], notes: Notes): FlatSection[] {
  const flat: FlatSection[] = []
  for (const source of sources) {
    let globals: RawOption[] = []
    let unused = false
    let walled = source.walled
    for (const section of source.sections) {
      if (section.global) {
        globals = [...globals, ...section.options]
        unused = true
        continue
      }
      unused = false
      const { name, where, options } = section
      flat.push({ name, where, globals, own: options, overrides: source.overrides, walled })
      walled = false
    }
    // Globals that no job follows are read all the same: a wrong option is never silent.
    if (unused) new Settings({ globals, own: [], overrides: [] }, notes)
  }
  return flat
}

/** A section whose options are understood, with its place in the run. */
interface Placed {
  readonly section: FlatSection
  readonly settings: Settings
  readonly name: string
  readonly clones: number
  readonly firstIndex: number
  readonly groupid: number
  readonly phase: number
  readonly waitFor: readonly number[]
}

/**
 * Everything that runs, in order.
 * @throws UserError naming file, line and option
 */
export function expandJobs(sections: readonly FlatSection[], options: ExpandOptions): JobSpec[] {
  const placed = placeSections(sections, options)
  const drafts = placed.flatMap(section => draftClones(section, options))
  const files = drafts.reduce((sum, one) => sum + one.wishes.files.length, 0)
  if (files > MAX_FILES) throw new UserError(`${files} files in all; at most ${MAX_FILES}`)
  const regions = layOut(
    drafts.map(one => one.wishes),
    options.targets,
  )
  const jobs = drafts.map((one, i) => withRegions(one, regions[i]!, options.targets))
  checkMemory(jobs)
  warnOverlap(placed, jobs, options.notes)
  return jobs
}

function placeSections(sections: readonly FlatSection[], options: ExpandOptions): Placed[] {
  const placed: Placed[] = []
  let [groupid, phase, index] = [0, 0, 0]
  for (const section of sections) {
    const settings = new Settings(section, options.notes)
    const walled = section.walled || (settings.get('stonewall') ?? false)
    if (index > 0 && walled) phase++
    if (index > 0 && (walled || (settings.get('new_group') ?? false))) groupid++
    const name = jobName(section)
    if (settings.has('name') && settings.get('name') !== name) {
      options.notes.warn(`${settings.quote('name')}: no effect in a global section`)
    }
    const clones = settings.get('numjobs') ?? 1
    if (index + clones > options.maxJobs) {
      throw new UserError(
        `${settings.quote('numjobs')}: more than ${options.maxJobs} jobs (--max-jobs)`,
      )
    }
    const waitFor = waitees(settings, name, placed)
    placed.push({ section, settings, name, clones, firstIndex: index, groupid, phase, waitFor })
    warnTwoFilenames(section, settings, options.notes)
    index += clones
  }
  return placed
}

/** What a section calls itself: `name=` counts only there, not in a global section. */
export function jobName(section: FlatSection): string {
  const named = section.own.findLast(raw => classOf(raw).name === 'name')
  return named?.value ?? section.name
}

/** Indices of all clones of the section that wait_for names. */
function waitees(settings: Settings, name: string, above: readonly Placed[]): readonly number[] {
  const wanted = settings.get('wait_for')
  if (wanted === undefined) return []
  const found = above.filter(section => section.name === wanted)
  const quoted = settings.quote('wait_for')
  if (found.length > 1) throw new UserError(`${quoted}: several sections above have this name`)
  const section = found[0]
  if (section === undefined) {
    const self = wanted === name ? 'a job cannot wait for itself' : 'no section above has this name'
    throw new UserError(`${quoted}: ${self}`)
  }
  return Array.from({ length: section.clones }, (_, i) => section.firstIndex + i)
}

function warnTwoFilenames(section: FlatSection, settings: Settings, notes: Notes): void {
  const writes = (options: readonly RawOption[]): boolean =>
    options.some(option => option.key === 'filename')
  if (!writes(section.globals) || !writes(section.own) || writes(section.overrides)) return
  const names = settings.get('filename')!.join(', ')
  notes.warn(`${settings.quote('filename')}: added to the global filename: ${show(names)}`)
}

/** A job without its regions. */
interface Draft {
  readonly wishes: JobWishes
  readonly context: JobContext
  readonly shared: SharedFields
  readonly own: OwnFields
  readonly replay: Replay | null
}

function draftClones(placed: Placed, options: ExpandOptions): Draft[] {
  const { section, settings, name } = placed
  const where = `${section.where}: [${show(section.name)}]`
  const context: JobContext = { settings, notes: options.notes, where, name }
  const shared = sharedFields(placed, context)
  const replaying = replayOptions(context)
  const block = smallestUsed(shared.block.bsMin, shared.pattern.uses)
  return Array.from({ length: placed.clones }, (_, cloneIndex) => {
    const index = placed.firstIndex + cloneIndex
    const seeds = seedFields(settings, index, options.seed)
    const startDelayNs = startDelay(settings, seeds.seed)
    const replay = replaying
      ? readReplayOf(replaying, cloneIndex, options.readFile, options.notes)
      : null
    const { cpusAllowed, cpusAllowedPolicy } = cpuFields(settings, index)
    const { randrepeat, randseed, seed } = seeds
    const own = {
      index,
      cloneIndex,
      startDelayNs,
      randrepeat,
      randseed,
      seed,
      cpusAllowed,
      cpusAllowedPolicy,
    }
    const wishes = wishesOf({
      settings,
      notes: options.notes,
      where,
      name,
      targets: options.targets,
      cloneIndex,
      seed,
      block,
      replay,
    })
    return { wishes, context, shared, own, replay }
  })
}

function sharedFields(placed: Placed, context: JobContext): SharedFields {
  const { section } = placed
  const blocks = blockFields(context)
  const globals = optionRecord(section.globals)
  return {
    section: {
      name: placed.name,
      numjobs: placed.clones,
      source: section.where,
      options: recordOf(section, globals),
      globalOptions: globals,
      groupid: placed.groupid,
      phase: placed.phase,
      waitFor: placed.waitFor,
    },
    pattern: patternFields(context),
    block: blocks,
    zone: zoneFields(context),
    time: timeFields(context),
    engine: engineFields(context),
    pace: paceFields(context),
    goal: goalFields(context),
    integrity: integrityFields(context, blocks.bsMin, blocks.bsMax),
    priority: priorityFields(context),
    report: reportFields(context),
    log: logFields(context),
  }
}

const smallestUsed = (sizes: Triple, uses: Triple<boolean>): number =>
  Math.min(...sizes.filter((_, i) => uses[i]))

/** Each job has its own generators; without randrepeat they also follow the run's seed. */
function seedFields(
  settings: Settings,
  index: number,
  runSeed: number,
): Pick<JobSpec, 'randrepeat' | 'randseed' | 'seed'> {
  const randrepeat = settings.get('randrepeat') ?? true
  const randseed = settings.get('randseed') ?? DEFAULT_SEED
  const repeatable = randrepeat || settings.has('randseed')
  const base = repeatable ? fold32(randseed) : mix32(fold32(randseed), fold32(runSeed))
  return { randrepeat, randseed, seed: mix32(base, index) }
}

function startDelay(settings: Settings, seed: number): number {
  const range = settings.get('startdelay')
  return range === undefined ? 0 : draw(seed, 0, range.lo, range.hi)
}

/** A split set gives each job one CPU, in the order of all jobs of the run, as fio does. */
function cpuFields(
  settings: Settings,
  index: number,
): Pick<JobSpec, 'cpusAllowed' | 'cpusAllowedPolicy'> {
  const byMask = settings.order('cpumask') > settings.order('cpus_allowed')
  const cpus = settings.get(byMask ? 'cpumask' : 'cpus_allowed') ?? null
  const policy = settings.get('cpus_allowed_policy') ?? 'shared'
  const split = policy === 'split' && cpus !== null
  return {
    cpusAllowed: split ? [cpus[index % cpus.length]!] : cpus,
    cpusAllowedPolicy: policy,
  }
}

/** Canonical names and the text after `=`, 1 for a bare key; several file names joined as fio joins them. */
function optionRecord(options: readonly RawOption[]): Record<string, string> {
  const record: Record<string, string> = {}
  for (const raw of options) {
    const { name } = classOf(raw)
    const value = raw.value ?? '1'
    const before = name === 'filename' ? record[name] : undefined
    record[name] = before === undefined ? value : `${before}:${value}`
  }
  return record
}

/** What readers of results look for is always there. */
const ALWAYS = [
  ['rw', 'read'],
  ['bs', '4k'],
  ['iodepth', '1'],
  ['numjobs', '1'],
] as const

function recordOf(
  { own, overrides }: FlatSection,
  globals: Readonly<Record<string, string>>,
): Record<string, string> {
  const record = optionRecord(own)
  if (overrides.length > 0) Object.assign(record, optionRecord(overrides))
  for (const [name, fallback] of ALWAYS) record[name] ??= globals[name] ?? fallback
  return record
}

function withRegions(
  { shared, own, context, replay }: Draft,
  files: JobSpec['files'],
  targets: readonly Target[],
): JobSpec {
  const size = files.reduce((sum, file) => sum + file.size, 0)
  const moved = replay?.spec.entries.reduce((sum, entry) => sum + entry.length, 0)
  const ioSize = moved ?? ioSizeOf(context, size)
  const plain = jobSpec(shared, own, { files, size, ioSize })
  const job = replay ? { ...plain, ...replayFields(replay) } : plain
  checkBlocks(context, job, targets)
  return job
}

function bytesOf(size: SizeValue, of: number): number {
  return 'bytes' in size ? size.bytes : Math.floor((of * size.percent) / 100)
}

/** `io_size`, or else what `size` allows: with filesize the files may hold more than `size` asks for. */
function ioSizeOf({ settings }: JobContext, regions: number): number {
  const wanted = settings.get('io_size')
  if (wanted !== undefined) {
    const bytes = bytesOf(wanted, regions)
    if (bytes > 0) return bytes
  }
  const size = settings.get('size')
  const limit = settings.has('filesize') && size !== undefined ? bytesOf(size, regions) : 0
  return limit > 0 ? Math.min(limit, regions) : regions
}

/** Direct I/O moves whole blocks of the disk, and every region must hold at least one I/O. */
function checkBlocks(context: JobContext, job: JobSpec, targets: readonly Target[]): void {
  const used = [0, 1, 2].filter(i => job.uses[i])
  for (const file of job.files) {
    const least = Math.min(...used.map(i => job.bsMin[i]!))
    if (file.size < least && job.replay === null) {
      throw new UserError(
        `${context.where}: ${show(file.name)}: a region of ${formatBytes(file.size)} is smaller than one block of ${formatBytes(least)}`,
      )
    }
    // the page cache takes any sector
    const lba = job.direct ? targets.find(target => target.name === file.disk)?.lbaBytes : SECTOR
    if (lba !== undefined) checkAlignment(context, job, file.disk, file.base, lba)
  }
}

function checkAlignment(
  { where, settings }: JobContext,
  job: JobSpec,
  disk: string,
  base: number,
  lba: number,
): void {
  const whole = (what: string, bytes: number): void => {
    if (bytes % lba === 0) return
    throw new UserError(
      `${where}: ${what} of ${formatBytes(bytes)} is not a multiple of the ${lba}-byte blocks of ${disk}`,
    )
  }
  whole('an offset', base)
  for (const i of [0, 1, 2].filter(d => job.uses[d])) {
    const split = job.bssplit[i]!.map(entry => entry.bytes)
    for (const bytes of [job.bsMin[i]!, job.bsMax[i]!, ...split]) whole('a block', bytes)
    if (job.random) whole('blockalign', job.blockAlign[i]!)
    if (job.direct && job.bsUnaligned && job.bsMin[i] !== job.bsMax[i]) {
      throw new UserError(`${settings.quote('bs_unaligned')}: direct I/O needs whole blocks`)
    }
  }
  whole('a gap', Math.abs(job.ddirSeqAdd))
  whole('zonesize', job.zonesize)
  whole('zoneskip', job.zoneskip)
}

/** What is in flight at the same time has to fit into one memory. */
function checkMemory(jobs: readonly JobSpec[]): void {
  const phases = new Map<number, number>()
  for (const job of jobs) {
    const largest = Math.max(...job.bsMax.filter((_, i) => job.uses[i]))
    const bytes = (phases.get(job.phase) ?? 0) + largest * job.queueDepth
    phases.set(job.phase, bytes)
    if (bytes > MAX_IN_FLIGHT) {
      throw new UserError(
        `${job.source}: [${show(job.name)}]: more than ${formatBytes(MAX_IN_FLIGHT)} of buffers in flight at once (numjobs x iodepth x bs)`,
      )
    }
  }
}

/** fio's warning: writers that share a region destroy each other's checksums. */
function warnOverlap(placed: readonly Placed[], jobs: readonly JobSpec[], notes: Notes): void {
  for (const section of placed) {
    const job = jobs[section.firstIndex]!
    const second = jobs[section.firstIndex + 1]
    if (section.clones < 2 || job.verify.method === 'none' || !job.uses[1]) continue
    if (second!.files[0]!.base === job.files[0]!.base) {
      notes.warn(
        `${job.source}: [${show(job.name)}]: clones overwrite each other's blocks; verify will fail`,
      )
    }
  }
}
