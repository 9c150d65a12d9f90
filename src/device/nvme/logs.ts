// Log pages: errors, health, firmware slots, changed namespaces, effects of commands, sanitize.
//
// A log is built when it is read, and a part of it is delivered: from a byte offset (a multiple of 4, inside of the log), so
// many dwords; what is asked for beyond its end reads as zeroes. Reading without RAE clears the class of events that leads to it.

import { Bytes } from './bytes.js'
import { type Answer, type Command, OK, refuse } from './command.js'
import type { Dma } from './dma.js'
import { INVALID_FIELD, INVALID_LOG_PAGE } from './spec.js'

const ERROR_BYTES = 64
const UNIT = 1000 // of 512-byte blocks

/** A failed command, as the error log keeps it. */
export interface ErrorEntry {
  readonly qid: number
  readonly cid: number
  readonly status: number
  readonly lba: number
  readonly nsid: number
}

/** What a drive has done since it was made. */
export interface Health {
  /** 512-byte blocks, commands. */
  readonly blocksRead: number
  readonly blocksWritten: number
  readonly reads: number
  readonly writes: number
  readonly powerCycles: number
  readonly powerOnHours: number
  readonly unsafeShutdowns: number
  readonly mediaErrors: number
  readonly warning: number
  /** Kelvin. */
  readonly temperature: number
}

/** Newest first, a fixed number of them. */
export class ErrorLog {
  readonly #entries: (ErrorEntry & { readonly count: number })[] = []
  readonly #most: number
  #count = 0

  constructor(most: number) {
    this.#most = most
  }

  get count(): number {
    return this.#count
  }

  add(entry: ErrorEntry): void {
    this.#count++
    this.#entries.unshift({ ...entry, count: this.#count })
    if (this.#entries.length > this.#most) this.#entries.pop()
  }

  page(): Bytes {
    const b = new Bytes(this.#most * ERROR_BYTES)
    this.#entries.forEach((e, i) => {
      const at = i * ERROR_BYTES
      b.u64(at, e.count)
        .u16(at + 8, e.qid)
        .u16(at + 10, e.cid)
      b.u16(at + 12, (e.status << 1) & 0xffff).u16(at + 14, 0xffff)
      b.u64(at + 16, e.lba).u32(at + 24, e.nsid)
    })
    return b
  }
}

/** SMART / Health Information. */
export function smartPage(h: Health, errors: number): Bytes {
  const b = new Bytes(512)
  b.u8(0, h.warning).u16(1, h.temperature)
  b.u8(3, 100).u8(4, 10)
  b.u64(32, Math.ceil(h.blocksRead / UNIT)).u64(48, Math.ceil(h.blocksWritten / UNIT))
  b.u64(64, h.reads).u64(80, h.writes)
  b.u64(112, h.powerCycles).u64(128, h.powerOnHours).u64(144, h.unsafeShutdowns)
  b.u64(160, h.mediaErrors).u64(176, errors)
  return b
}

/** Changed Namespace List; more than fit is said by all ones alone. */
export function changedPage(ids: readonly number[]): Bytes {
  const b = new Bytes(4096)
  if (ids.length > 1024) return b.u32(0, 0xffffffff)
  ids.forEach((id, i) => {
    b.u32(4 * i, id)
  })
  return b
}

/** Commands Supported and Effects: admin commands, then I/O commands; each opcode with its bits. */
export function effectsPage(
  admin: ReadonlyMap<number, number>,
  io: ReadonlyMap<number, number>,
): Bytes {
  const b = new Bytes(4096)
  for (const [opcode, bits] of admin) b.u32(4 * opcode, bits)
  for (const [opcode, bits] of io) b.u32(1024 + 4 * opcode, bits)
  return b
}

/** Delivers the part of a log that a command asks for. */
export function deliverLog(c: Command, dma: Dma, log: Bytes | undefined): Answer {
  if (!log) return refuse(INVALID_LOG_PAGE)
  const { data } = log
  const bytes = ((c.cdw(11) & 0xffff) * 65536 + (c.cdw(10) >>> 16) + 1) * 4
  const offset = c.u64(12)
  if (offset % 4 !== 0 || offset >= data.length) return refuse(INVALID_FIELD)
  const part = new Uint8Array(Math.min(bytes, data.length - offset))
  part.set(data.subarray(offset, offset + bytes))
  const pieces = dma.pieces(c, bytes)
  if (typeof pieces === 'number') return { status: pieces }
  const whole = new Uint8Array(bytes)
  whole.set(part)
  dma.write(pieces, whole)
  return OK
}
