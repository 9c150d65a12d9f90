// Where each job works: names to disks, percentages to bytes, plain files to regions of the default disk.
//
//   /dev/nvme0n1, /dev/nullb0 ...   a disk of the machine
//   any other path                  a region of the default disk, after everything that jobs address directly:
//
//       | what jobs address on the disk itself | file a | file b | ...      each begins on a MiB
//
// A disk whose size is not known (the default machine) grows with the jobs, from 1 GiB to 16 TiB; a job without `size`
// takes all of it. A disk of known size never grows: a region past its end is refused.
//
// The rules of one job: `size` is shared equally by its files; `offset` + clone number x `offset_increment` shifts each
// of them; percentages are of the disk. With `filesize` each file has that size (a range is drawn from the seed).

import { UserError } from '../core/errors.js'
import { namespaceBytes, namespaceNames } from '../machine/spec-features.js'
import type { DeviceSpec, NvmeSpec } from '../machine/spec.js'
import { show } from '../machine/spec-values.js'
import type { JobFile, JobSpec } from './job.js'
import type { Notes } from './notes.js'
import type { RunName, SizeValue } from './options.js'
import { parentOf, targetBytes } from './lightnvm-disks.js'
import type { Replay, ReplayFile } from './replay.js'
import { draw } from './seed.js'
import type { Settings } from './settings.js'
import { formatBytes } from './units.js'

/** A disk of the machine as far as jobs care. */
export interface Target {
  /** `/dev/nvme0n1`. */
  readonly name: string
  /** Null = not known before the machine is booted. */
  readonly sizeBytes: number | null
  /** A disk of unknown size is made as large as the jobs need; a target on an open-channel device is not. */
  readonly grows: boolean
  readonly lbaBytes: number
}

/** The disks of a machine that was not described. */
const DEFAULT_TARGETS: readonly Target[] = [
  { name: '/dev/nvme0n1', sizeBytes: null, grows: true, lbaBytes: 512 },
  { name: '/dev/nullb0', sizeBytes: null, grows: true, lbaBytes: 512 },
]

/** The disks jobs may name. An open-channel device itself is none: its flash belongs to the targets on it. */
export function targetsOf(devices: readonly DeviceSpec[]): readonly Target[] {
  if (devices.length === 0) return DEFAULT_TARGETS
  return devices.flatMap((device): Target[] => {
    const name = `/dev/${device.name}`
    if (device.kind === 'ocssd') return []
    if (device.kind === 'nvme' || device.kind === 'null_blk') {
      const { sizeBytes } = device
      if (device.kind === 'nvme') return namespaceTargets(device)
      return [{ name, sizeBytes, grows: sizeBytes === null, lbaBytes: device.bs }]
    }
    const sizeBytes = targetBytes(device, parentOf(device, devices))
    return [{ name, sizeBytes, grows: false, lbaBytes: 4096 }]
  })
}

/** The disks of a controller: one for each namespace. */
function namespaceTargets({ name, sizeBytes, lbaBytes, features }: NvmeSpec): Target[] {
  const names = namespaceNames(name, features)
  const each = sizeBytes === null ? null : namespaceBytes(sizeBytes, names.length)
  return names.map(one => {
    return { name: `/dev/${one}`, sizeBytes: each, grows: each === null, lbaBytes }
  })
}

const MIB = 2 ** 20
/** Smallest and largest disk that is made to measure. */
export const MIN_DISK: number = 2 ** 30
export const MAX_DISK: number = 2 ** 44

/** A file of a job before the layout: its place on its disk is not known yet. */
interface Wish {
  readonly name: string
  /** Null = a plain file. */
  readonly target: Target | null
  readonly offset: number
  /** Null = the rest of a disk of unknown size. */
  readonly size: number | null
}

/** What one job wants. */
export interface JobWishes {
  readonly where: string
  /** Engine null has no disk below it. */
  readonly nullEngine: boolean
  readonly files: readonly Wish[]
}

/** The facts about a job that its regions depend on. */
export interface WishContext {
  readonly settings: Settings
  readonly notes: Notes
  readonly targets: readonly Target[]
  readonly where: string
  readonly name: string
  readonly cloneIndex: number
  readonly seed: number
  /** Smallest block of the directions in use. */
  readonly block: number
  /** A log says which files it works on, and how far. */
  readonly replay: Replay | null
}

const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to
const alignDown = (value: number, to: number): number => value - (value % to)

/** Where jobs without a disk of their own go. */
function defaultDisk(targets: readonly Target[]): Target {
  const first = targets.find(target => target.name === '/dev/nvme0n1') ?? targets[0]
  if (first === undefined) throw new UserError('the machine has no disk')
  return first
}

/**
 * The regions one clone wants, in the order of its files.
 * @throws UserError for a percentage without a known size, a missing size, a region past the end
 */
export function wishesOf(job: WishContext): JobWishes {
  const nullEngine = job.settings.engine === 'null'
  if (job.replay) {
    const files = job.replay.files.map(file => replayWish(job, file, nullEngine))
    return { where: job.where, nullEngine, files }
  }
  const names = fileNames(job)
  const files = names.map((name, i) => wish(job, name, i, names.length, nullEngine))
  return { where: job.where, nullEngine, files }
}

/** The names the user wrote, or fio's own: `job.clone.file`, or what filename_format says. */
function fileNames(job: WishContext): readonly string[] {
  const s = job.settings
  const directories = s.get('directory') ?? []
  const folder = directories.length === 0 ? '' : directories[job.cloneIndex % directories.length]!
  const inFolder = (name: string): string =>
    folder === '' || name.startsWith('/') ? name : `${folder.replace(/\/$/, '')}/${name}`
  const given = s.get('filename')
  const count = s.get('nrfiles') ?? 1
  if (given !== undefined) {
    if (count > 1) job.notes.warn(`${s.quote('nrfiles')}: no effect beside filename`)
    return given.map(inFolder)
  }
  const format = s.get('filename_format') ?? '$jobname.$jobnum.$filenum'
  const names = Array.from({ length: count }, (_, i) =>
    inFolder(
      format
        .replaceAll('$jobname', job.name)
        .replaceAll('$jobnum', String(job.cloneIndex))
        .replaceAll('$filenum', String(i))
        .replaceAll('$clientuid', ''),
    ),
  )
  return [...new Set(names)]
}

/** The disk of a name; null for a plain file. */
function findTarget(job: WishContext, name: string): Target | null {
  const found = job.targets.find(target => target.name === name)
  if (found !== undefined) return found
  if (!/^\/dev\/(nvme|nullb|pblk|rrpc)\w*$/.test(name)) return null
  const have = job.targets.map(target => target.name).join(', ')
  throw new UserError(`${job.settings.quote('filename')}: ${show(name)}: the machine has ${have}`)
}

function wish(job: WishContext, name: string, i: number, files: number, nullEngine: boolean): Wish {
  const target = nullEngine ? null : findTarget(job, name)
  if (target === null && !nullEngine) notePlain(job, name)
  const known = target?.sizeBytes ?? null
  const offset = offsetOf(job, known)
  const size = sizeOf(job, known, offset, i, files)
  if (size === null && !target?.grows) {
    const why = target === null ? 'only a disk has a size of its own' : 'its size is not known yet'
    throw new UserError(`${job.where}: ${show(name)}: needs size= (${why})`)
  }
  if (size === null) {
    job.notes.once(
      `whole ${name}`,
      `${job.where}: without size= it takes all of ${name}, which is made as large as the jobs need`,
    )
  } else if (known !== null) checkEnd(job, target!, offset, size)
  else if (!Number.isSafeInteger(offset + size)) {
    throw new UserError(`${job.where}: ${show(name)}: offset and size together are too large`)
  }
  return { name, target, offset, size }
}

/** A file of a replayed log: from its beginning to the last byte that the log touches. */
function replayWish(job: WishContext, file: ReplayFile, nullEngine: boolean): Wish {
  const target = nullEngine ? null : findTarget(job, file.name)
  if (target === null && !nullEngine) notePlain(job, file.name)
  else if (target?.sizeBytes != null) checkEnd(job, target, 0, file.end)
  return { name: file.name, target, offset: 0, size: file.end }
}

function notePlain(job: WishContext, name: string): void {
  job.notes.once(
    'plain file',
    `plain files and directories, such as ${show(name)}, are regions of ${defaultDisk(job.targets).name}`,
  )
}

/** A size in bytes. @throws UserError for a percentage of an unknown size */
function bytesOf(
  job: WishContext,
  name: RunName,
  value: SizeValue | undefined,
  of: number | null,
): number {
  if (value === undefined) return 0
  if ('bytes' in value) return value.bytes
  if (of !== null) return Math.floor((of * value.percent) / 100)
  throw new UserError(
    `${job.settings.quote(name)}: a percentage needs a target of known size; give --device a size or write bytes`,
  )
}

/** Percentages end on a whole block. */
function offsetOf(job: WishContext, known: number | null): number {
  const s = job.settings
  const offset = s.get('offset')
  const start = bytesOf(job, 'offset', offset, known)
  const step = bytesOf(job, 'offset_increment', s.get('offset_increment'), known)
  const sum = start + step * job.cloneIndex
  if (!Number.isSafeInteger(sum)) {
    const culprit = step > start ? 'offset_increment' : 'offset'
    throw new UserError(`${s.quote(culprit)}: is too large`)
  }
  return offset !== undefined && 'percent' in offset ? alignUp(sum, job.block) : sum
}

/** Null = the rest of a disk of unknown size, or of a plain file. */
function sizeOf(
  job: WishContext,
  known: number | null,
  offset: number,
  i: number,
  files: number,
): number | null {
  const s = job.settings
  const filesize = s.get('filesize')
  if (filesize !== undefined) {
    const drawn = draw(job.seed, i + 1, filesize.lo, filesize.hi)
    return Math.max(filesize.lo, alignDown(drawn, Math.min(job.block, filesize.lo)))
  }
  const size = s.get('size')
  const whole = known === null ? null : known - offset
  if (size === undefined) return whole
  if ('bytes' in size) return size.bytes === 0 ? whole : Math.floor(size.bytes / files)
  if (size.percent === 0) return whole
  const share = alignDown(bytesOf(job, 'size', size, known), job.block)
  return Math.min(share, known! - offset)
}

function checkEnd(job: WishContext, target: Target, offset: number, size: number): void {
  const [end, last] = [offset + size, target.sizeBytes!]
  if (size > 0 && end <= last) return
  const what = offset >= last ? `begins at ${formatBytes(offset)}` : `ends at ${formatBytes(end)}`
  throw new UserError(
    `${job.where}: the region ${what}, but ${target.name} ends at ${formatBytes(last)}`,
  )
}

/**
 * The regions of all jobs, on their disks.
 * @throws UserError when a disk would have to be larger than it is, or than 16 TiB
 */
export function layOut(jobs: readonly JobWishes[], targets: readonly Target[]): JobFile[][] {
  const onDisk = jobs.filter(job => !job.nullEngine)
  const ends = new Map<string, number>()
  for (const target of targets) ends.set(target.name, diskEnd(target, onDisk))
  const bases = placePlainFiles(onDisk, defaultDisk(targets), ends)
  return jobs.map(job =>
    job.files.map(file => {
      if (job.nullEngine) {
        return { name: file.name, disk: '', base: file.offset, size: file.size! }
      }
      const disk = file.target ?? defaultDisk(targets)
      const base = file.offset + (file.target === null ? bases.get(file.name)! : 0)
      return { name: file.name, disk: disk.name, base, size: file.size ?? rest(disk, ends, file) }
    }),
  )
}

const rest = (disk: Target, ends: ReadonlyMap<string, number>, file: Wish): number =>
  ends.get(disk.name)! - file.offset

/** How far jobs reach on a disk they name; a disk made to measure has at least 1 GiB for those that take it all. */
function diskEnd(target: Target, jobs: readonly JobWishes[]): number {
  if (target.sizeBytes !== null) return usedEnd(target, jobs)
  let end = 0
  for (const job of jobs) {
    for (const file of job.files) {
      if (file.target?.name !== target.name) continue
      const beyond = file.offset === 0 ? MIN_DISK : alignUp(file.offset, MIB) + MIN_DISK
      end = Math.max(end, file.size === null ? beyond : file.offset + file.size)
      if (end > MAX_DISK) {
        throw new UserError(
          `${job.where}: ${target.name} would have to be larger than ${formatBytes(MAX_DISK)}`,
        )
      }
    }
  }
  return end
}

function usedEnd(target: Target, jobs: readonly JobWishes[]): number {
  const ends = jobs.flatMap(job =>
    job.files
      .filter(file => file.target?.name === target.name)
      .map(file => file.offset + file.size!),
  )
  return ends.reduce((most, end) => Math.max(most, end), 0)
}

/** The first byte of each plain file on the default disk. */
function placePlainFiles(
  jobs: readonly JobWishes[],
  disk: Target,
  ends: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>()
  const limit = disk.sizeBytes ?? MAX_DISK
  const bases = new Map<string, number>()
  for (const job of jobs) {
    for (const file of job.files) {
      if (file.target !== null) continue
      const end = file.offset + file.size!
      sizes.set(file.name, Math.max(sizes.get(file.name) ?? 0, end))
    }
  }
  let base = alignUp(ends.get(disk.name)!, MIB)
  for (const [name, size] of sizes) {
    bases.set(name, base)
    base += alignUp(size, MIB)
    if (base - alignUp(size, MIB) + size > limit) {
      throw new UserError(
        `${show(name)}: with it ${disk.name} would have to be larger than ${formatBytes(limit)}`,
      )
    }
  }
  return bases
}

/** For each disk that jobs address, the bytes it must have at least. */
export function diskNeeds(jobs: readonly Pick<JobSpec, 'files'>[]): Map<string, number> {
  const needs = new Map<string, number>()
  for (const job of jobs) {
    for (const file of job.files) {
      if (file.disk === '') continue
      needs.set(file.disk, Math.max(needs.get(file.disk) ?? 0, file.base + file.size))
    }
  }
  return needs
}
