// read_iolog: from a recorded log to what a job does, entry by entry.
//
//   fields of the log        what becomes of them
//   time                     only the distance to the entry before it counts: an entry is due so long after that one was
//                            issued (replay_time_scale in percent of the recorded pace, replay_no_stall: at once)
//   file                     a disk of the machine, or a region of the default disk; replay_redirect: one for all
//   offset                   divided by replay_scale, then cut to a multiple of replay_align
//   length                   as recorded; of a blktrace raised to a multiple of replay_align
//   read, write, trim, sync  left out by replay_skip; the time of what is left out is left out too
//
// As in fio, `rw`, `bs` and `size` of the job mean nothing: they follow from the log. Several logs, separated by colons, go
// to the clones in turn.

import { DDIR_READ, DDIR_SYNC, DDIR_TRIM, DDIR_WRITE } from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import { isBlktrace } from '../report/blktrace-read.js'
import { readReplay } from '../report/replay.js'
import type { ReplayAction } from '../report/replay-types.js'
import type { JobSpec, ReplayEntry, ReplaySpec, RwMode, Triple } from './job.js'
import { readBytes } from './jobfile.js'
import type { Notes } from './notes.js'

/** The options of a replay, before the log is read. */
export type ReplayOptions = Omit<ReplaySpec, 'path' | 'entries'> & {
  /** Logs for the clones in turn. */
  readonly paths: readonly string[]
}

/** A file of a log. */
export interface ReplayFile {
  readonly name: string
  /** One past the last byte that the log touches. */
  readonly end: number
}

/** What a log asks of one clone. */
export interface Replay {
  readonly spec: ReplaySpec
  readonly files: readonly ReplayFile[]
}

/** The least multiple that every block of a disk is of. */
const SECTOR = 512
/** Longest I/O that a job's buffers hold. */
const MAX_LENGTH = 2 ** 30
const DDIRS: Readonly<Record<string, number>> = {
  read: DDIR_READ,
  write: DDIR_WRITE,
  trim: DDIR_TRIM,
  sync: DDIR_SYNC,
  datasync: DDIR_SYNC,
}

type Io = Extract<ReplayAction, { length: number }>

/**
 * Reads the log of clone `cloneIndex`.
 * @throws UserError when it cannot be read, holds nothing that is left to do, or asks for what no disk can do
 */
export function readReplayOf(
  options: ReplayOptions,
  cloneIndex: number,
  readFile: (path: string) => Uint8Array,
  notes: Notes,
): Replay {
  const path = options.paths[cloneIndex % options.paths.length]!
  const bytes = readBytes(path, readFile)
  const trace = readReplay(bytes, path)
  for (const note of trace.notes) notes.once(note, note)
  const { entries, files } = new Planner(options, path, bytes).plan(trace.actions)
  if (entries.length === 0) throw new UserError(`${path}: replay_skip leaves nothing to do`)
  const { paths: _, ...rest } = options
  return { spec: { ...rest, path, entries }, files }
}

const VERSION_2 = 'fio version 2 iolog'

function isVersion2(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, VERSION_2.length)) === VERSION_2
}

class Planner {
  readonly #options: ReplayOptions
  readonly #path: string
  readonly #binary: boolean
  readonly #files = new Map<string, { index: number; end: number }>()
  readonly #entries: ReplayEntry[] = []
  /** Time of the entry before; null = none yet. */
  #lastUs: number | null

  constructor(options: ReplayOptions, path: string, bytes: Uint8Array) {
    this.#options = options
    this.#path = path
    this.#binary = isBlktrace(bytes)
    this.#lastUs = isVersion2(bytes) ? 0 : null
  }

  plan(actions: readonly ReplayAction[]): { entries: ReplayEntry[]; files: ReplayFile[] } {
    for (const action of actions) {
      if (!('length' in action)) continue
      const gapNs = this.#gapNs(action.timeUs)
      if (!this.#skipped(action)) this.#add(action, gapNs)
    }
    const files = [...this.#files].map(([name, { end }]) => ({ name, end: Math.max(end, SECTOR) }))
    return { entries: this.#entries, files }
  }

  #skipped({ action }: Io): boolean {
    const { skip, skipSync } = this.#options
    const ddir = DDIRS[action]!
    return ddir === DDIR_SYNC ? skipSync : skip[ddir]!
  }

  /** Nothing is waited for before the first entry, unless a log of version 2 says `wait`. */
  #gapNs(timeUs: number): number {
    const { noStall, timeScale } = this.#options
    const gapUs = Math.max(0, timeUs - (this.#lastUs ?? timeUs))
    this.#lastUs = timeUs
    return noStall ? 0 : Math.round((gapUs * 1000 * 100) / timeScale)
  }

  #add(action: Io, gapNs: number): void {
    const name = this.#options.redirect ?? action.file
    const ddir = DDIRS[action.action]!
    const [offset, length] = ddir === DDIR_SYNC ? [0, 0] : this.#place(action)
    let file = this.#files.get(name)
    if (!file) this.#files.set(name, (file = { index: this.#files.size, end: 0 }))
    file.end = Math.max(file.end, offset + length)
    this.#entries.push({ gapNs, ddir, file: file.index, offset, length })
  }

  #place(action: Io): [offset: number, length: number] {
    const { scale, align } = this.#options
    const scaled = Math.floor(action.offset / Math.max(1, scale))
    const offset = align > 0 ? scaled - (scaled % align) : scaled
    const raise = this.#binary && align > 0
    const length = raise ? Math.ceil(action.length / align) * align : action.length
    this.#check(action, offset, length)
    return [offset, length]
  }

  #check(action: Io, offset: number, length: number): void {
    const what = `${this.#path}: ${action.action} of ${length} bytes at ${offset} of ${action.file}`
    if (length > MAX_LENGTH) throw new UserError(`${what}: longer than ${MAX_LENGTH} bytes`)
    if (offset % SECTOR === 0 && length % SECTOR === 0) return
    throw new UserError(
      `${what}: direct I/O moves whole sectors of ${SECTOR} bytes; replay_align=4k cuts offsets`,
    )
  }
}

type ReplayFields = Pick<
  JobSpec,
  | 'rw'
  | 'random'
  | 'uses'
  | 'ddirSeqCount'
  | 'ddirSeqAdd'
  | 'bsMin'
  | 'bsMax'
  | 'bssplit'
  | 'blockAlign'
  | 'bsUnaligned'
  | 'norandommap'
  | 'zonemode'
  | 'timeBased'
  | 'loops'
  | 'replay'
>

/** What of a job follows from its log. */
export function replayFields({ spec }: Replay): ReplayFields {
  const lengths = [0, 1, 2].map(d => spec.entries.filter(e => e.ddir === d).map(e => e.length))
  const uses = lengths.map(list => list.length > 0) as unknown as Triple<boolean>
  const each = (pick: (list: readonly number[]) => number): Triple =>
    lengths.map(list => (list.length === 0 ? 4096 : pick(list))) as unknown as Triple
  const bsMin = each(list => list.reduce((a, b) => Math.min(a, b)))
  return {
    rw: modeOf(uses),
    random: false,
    uses,
    ddirSeqCount: 1,
    ddirSeqAdd: 0,
    bsMin,
    bsMax: each(list => list.reduce((a, b) => Math.max(a, b))),
    bssplit: [[], [], []],
    blockAlign: bsMin,
    bsUnaligned: false,
    norandommap: true,
    zonemode: 'none',
    timeBased: false,
    loops: 1,
    replay: spec,
  }
}

/** fio's word for it; a log of syncs alone reads nothing. */
function modeOf([read, write, trim]: Triple<boolean>): RwMode {
  if (read && write) return 'rw'
  if (write) return trim ? 'trimwrite' : 'write'
  return trim && !read ? 'trim' : 'read'
}
