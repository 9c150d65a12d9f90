// blktrace's binary form, one file for each CPU: BASE.blktrace.0, .1, ... blkparse, btt and blkrawverify of blktrace 1.2
// read it. A record has 48 bytes and its data, little-endian; the first of CPU 0 is the wall clock, then comes the name
// of every task. Within a file times rise.

import type { TraceRecord } from './trace-json.js'

const MAGIC = 0x65617407
const RECORD = 48
const NAME_BYTES = 16

const ACTION: Readonly<Record<string, readonly [action: number, category: number]>> = {
  block_bio_queue: [1, 4],
  block_bio_backmerge: [2, 4],
  block_bio_frontmerge: [3, 4],
  block_getrq: [4, 4],
  block_sleeprq: [5, 4],
  block_rq_requeue: [6, 5],
  block_rq_issue: [7, 6],
  block_rq_complete: [8, 7],
  block_plug: [9, 4],
  block_unplug: [10, 4],
  block_rq_insert: [12, 4],
}
const NOTIFY = 1 << 10
const NOTIFY_PROCESS = 0
const NOTIFY_CLOCK = 1

const READ = 0
const WRITE = 1
const FLUSH = 2
const SYNC = 3
const AHEAD = 11
const META = 12
const DISCARD = 13
const FUA = 15

/** Category bits of the letters of a request. */
function categories(rwbs: string): number {
  let bits = 0
  const body = rwbs.startsWith('F') && rwbs.length > 1 ? rwbs.slice(1) : rwbs
  if (body !== rwbs || rwbs === 'F') bits |= 1 << FLUSH
  const first = body[0]
  if (first === 'R') bits |= 1 << READ
  if (first === 'W') bits |= 1 << WRITE
  if (first === 'F') bits |= (1 << FLUSH) | (1 << WRITE)
  if (first === 'D') bits |= (1 << DISCARD) | (1 << WRITE)
  const rest = body.slice(1)
  if (rest.includes('F')) bits |= 1 << FUA
  if (rest.includes('S')) bits |= 1 << SYNC
  if (rest.includes('A')) bits |= 1 << AHEAD
  if (rest.includes('M')) bits |= 1 << META
  return bits
}

interface Line {
  time: number
  sector: number
  bytes: number
  action: number
  pid: number
  device: number
  error: number
  data: Buffer
}

/** One CPU's file. */
class CpuFile {
  readonly #cpu: number
  readonly #parts: Buffer[] = []
  #sequence = 0
  #time = -1

  constructor(cpu: number) {
    this.#cpu = cpu
  }

  add(line: Line): void {
    this.#time = Math.max(line.time, this.#time + 1)
    const head = Buffer.alloc(RECORD)
    head.writeUInt32LE(MAGIC, 0)
    head.writeUInt32LE(++this.#sequence, 4)
    head.writeBigUInt64LE(BigInt(Math.round(this.#time)), 8)
    head.writeBigUInt64LE(BigInt(line.sector), 16)
    head.writeUInt32LE(line.bytes, 24)
    head.writeUInt32LE(line.action >>> 0, 28)
    head.writeUInt32LE(line.pid, 32)
    head.writeUInt32LE(line.device >>> 0, 36)
    head.writeUInt32LE(this.#cpu, 40)
    head.writeUInt16LE(line.error & 0xffff, 44)
    head.writeUInt16LE(line.data.length, 46)
    this.#parts.push(head, line.data)
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

const NO_DATA = Buffer.alloc(0)

function notify(what: number, pid: number, data: Buffer): Line {
  const action = ((NOTIFY << 16) | what) >>> 0
  return { time: 0, sector: 0, bytes: 0, action, pid, device: 0, error: 0, data }
}

/** Data of an unplug: how many requests, most significant byte first. */
function unplugData(n: number): Buffer {
  const data = Buffer.alloc(8)
  data.writeBigUInt64BE(BigInt(n))
  return data
}

function lineOf(record: TraceRecord, pid: number, device: number): Line | null {
  const known = ACTION[record.name]
  if (!known) return null
  const [action, category] = known
  const { fields } = record
  const sectors = Number(fields['sectors'] ?? 0)
  const bits = (1 << category) | categories(String(fields['rwbs'] ?? ''))
  return {
    time: record.time,
    sector: Number(fields['sector'] ?? 0),
    bytes: Number(fields['bytes'] ?? sectors * 512),
    action: ((bits << 16) | action) >>> 0,
    pid: record.name === 'block_rq_complete' ? 0 : pid,
    device,
    error: Number(fields['error'] ?? 0),
    data: record.name === 'block_unplug' ? unplugData(Number(fields['n'] ?? 0)) : NO_DATA,
  }
}

/**
 * The files of a trace, by CPU.
 * @param devices device number (major << 20 | minor) of each disk
 */
export function writeBlktrace(
  records: readonly TraceRecord[],
  cpus: number,
  devices: readonly number[],
): Buffer[] {
  const files = Array.from({ length: cpus }, (_, cpu) => new CpuFile(cpu))
  files[0]?.add(notify(NOTIFY_CLOCK, 0, Buffer.alloc(8)))
  const pids = new Map<string, number>()
  for (const { context, cpu } of records) {
    if (pids.has(context)) continue
    pids.set(context, pids.size + 1)
    const name = Buffer.alloc(NAME_BYTES)
    name.write(context.slice(0, NAME_BYTES - 1))
    files[cpu]?.add(notify(NOTIFY_PROCESS, pids.size, name))
  }
  for (const record of records) {
    if (record.kind !== 'event') continue
    const device = devices[Number(record.fields['dev'] ?? 0)] ?? 0
    const line = lineOf(record, pids.get(record.context) ?? 0, device)
    if (line) files[record.cpu]?.add(line)
  }
  return files.map(file => file.bytes())
}
