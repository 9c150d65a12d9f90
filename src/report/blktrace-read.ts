// Reads a blktrace binary for replay: the merged file that `blkparse -d` writes, or one per-CPU file.
//
//   offset 0 magic 4 | 4 sequence 4 | 8 time 8 | 16 sector 8 | 24 bytes 4 | 28 action 4 | 32 pid 4 | 36 device 4
//   40 cpu 4 | 44 error 2 | 46 pdu_len 2 | then pdu_len bytes
//
// The writer's byte order is read off the magic, 0x65617400 + version. Only records of action Q are replayed, that is, bios as
// they entered the queue: everything later follows from them. FLUSH becomes a sync (followed by the write, when it carries
// data), DISCARD a trim; reads and writes without bytes are dropped, and so are passthrough commands. A last record that is
// cut off is dropped, as the blktrace tools do. Files are named after the device: /dev/block/259:0.
//
// Not read: the order of the per-CPU files of one trace among each other (merge them with blkparse first).

import { UserError } from '../core/errors.js'
import { isIo, type ReplayAction, type ReplayTrace } from './replay-types.js'

const MAGIC = 0x65617400
const RECORD = 48
const ACTION_QUEUE = 1
const MINOR_BITS = 20

const CATEGORY = {
  write: 1 << 17,
  flush: 1 << 18,
  passthrough: 1 << 25,
  notify: 1 << 26,
  discard: 1 << 29,
} as const

/** True when the bytes begin with a blktrace record of either byte order. */
export function isBlktrace(bytes: Uint8Array): boolean {
  return byteOrder(bytes) !== undefined
}

/** The actions of a trace in order of time, times from its first record. `name` appears in messages. */
export function readBlktrace(bytes: Uint8Array, name: string): ReplayTrace {
  const little = byteOrder(bytes)
  if (little === undefined) throw new UserError(`${name}: not a blktrace binary: wrong magic`)
  const records = readRecords(bytes, little, name).filter(isReplayed)
  records.sort((a, b) => a.timeNs - b.timeNs)
  const startNs = records.length > 0 ? records[0].timeNs : 0
  const files = new Set(records.map(record => record.file))
  const actions: ReplayAction[] = [
    ...opening(files, 'add'),
    ...opening(files, 'open'),
    ...records.flatMap(record => replayed(record, (record.timeNs - startNs) / 1000)),
  ]
  if (!actions.some(isIo)) {
    throw new UserError(`${name}: the trace holds no queued (Q) read, write, discard or flush`)
  }
  return { actions, notes: [] }
}

/** true little endian, false big endian, undefined no blktrace. */
function byteOrder(bytes: Uint8Array): boolean | undefined {
  if (bytes.length < 4) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if ((view.getUint32(0, true) & 0xffffff00) === MAGIC) return true
  return (view.getUint32(0, false) & 0xffffff00) === MAGIC ? false : undefined
}

interface TraceRecord {
  timeNs: number
  offset: number
  length: number
  action: number
  file: string
}

function readRecords(bytes: Uint8Array, little: boolean, name: string): TraceRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: TraceRecord[] = []
  let at = 0
  while (at + RECORD <= bytes.length) {
    if ((view.getUint32(at, little) & 0xffffff00) !== MAGIC) {
      throw new UserError(`${name}: byte ${at}: no blktrace record begins here (wrong magic)`)
    }
    const end = at + RECORD + view.getUint16(at + 46, little)
    if (end > bytes.length) break
    records.push(readRecord(view, at, little))
    at = end
  }
  return records
}

function readRecord(view: DataView, at: number, little: boolean): TraceRecord {
  const device = view.getUint32(at + 36, little)
  return {
    timeNs: Number(view.getBigUint64(at + 8, little)),
    offset: Number(view.getBigUint64(at + 16, little)) * 512,
    length: view.getUint32(at + 24, little),
    action: view.getUint32(at + 28, little),
    file: `/dev/block/${device >>> MINOR_BITS}:${device & ((1 << MINOR_BITS) - 1)}`,
  }
}

function isReplayed({ action }: TraceRecord): boolean {
  const skipped = CATEGORY.notify | CATEGORY.passthrough
  return (action & 0xffff) === ACTION_QUEUE && (action & skipped) === 0
}

function opening(files: Iterable<string>, action: 'add' | 'open'): ReplayAction[] {
  return [...files].map(file => ({ timeUs: 0, file, action }))
}

function replayed(record: TraceRecord, timeUs: number): ReplayAction[] {
  const { action, file, offset, length } = record
  const actions: ReplayAction[] = []
  if (action & CATEGORY.flush) {
    actions.push({ timeUs, file, action: 'sync', offset: 0, length: 0 })
  }
  if (length === 0) return actions
  const kind = action & CATEGORY.discard ? 'trim' : action & CATEGORY.write ? 'write' : 'read'
  actions.push({ timeUs, file, action: kind, offset, length })
  return actions
}
