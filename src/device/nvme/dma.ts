// The controller reaches host memory: PRPs and SGLs become lists of pieces, pieces are read and written.
//
//   PRP1          any dword of a page; all others are whole pages
//   PRP2          the second page, or a list when there are more; a list may begin at any qword of its page
//   last slot     of a list page leads to the next one when more than one page is left
//   SGL           the descriptor in the command is a data block, or leads to segments of descriptors
//
// Only [from, to) of the memory can be reached; anything else is a Data Transfer Error. Not modelled: keyed and transport
// descriptors (they belong to fabrics), and offsets into capsules.

import type { View } from '../../core/view.js'
import type { Command } from './command.js'
import {
  DATA_XFER_ERROR,
  DNR,
  INVALID_FIELD,
  PRP_OFFSET_INVALID,
  SGL_INVALID_DATA,
  SGL_INVALID_LAST,
  SGL_INVALID_SUBTYPE,
  SGL_INVALID_TYPE,
} from './spec.js'

/** A piece of host memory; address 0 is a bit bucket: what is read is thrown away. */
export interface Piece {
  readonly at: number
  readonly bytes: number
}

/** Pieces in order, or the status that says what is wrong. */
export type Pieces = readonly Piece[] | number

const SGL_DATA = 0
const SGL_BUCKET = 1
const SGL_SEGMENT = 2
const SGL_LAST = 3
const DESCRIPTOR = 16

/** Descriptors that one command may have: a chain that leads in a circle ends here. */
const MOST_DESCRIPTORS = 65536

export class Dma {
  readonly view: View
  readonly from: number
  readonly to: number
  /** Bytes of a page, as CC.MPS says. */
  page = 4096

  constructor(view: View, from: number, to: number) {
    this.view = view
    this.from = from
    this.to = Math.min(to, view.buffer.byteLength)
  }

  reaches(at: number, bytes: number): boolean {
    return at >= this.from && at + bytes <= this.to
  }

  /** The memory of a command's data: by its PRPs, or by its SGL. */
  pieces(c: Command, bytes: number): Pieces {
    if (c.psdt === 0) return this.prps(c.prp1, c.prp2, bytes)
    return this.sgl(c, bytes)
  }

  // ---------------------------------------------------------------- PRP

  prps(prp1: number, prp2: number, bytes: number): Pieces {
    const { page } = this
    if (bytes === 0) return []
    if (prp1 % 4 !== 0) return PRP_OFFSET_INVALID | DNR
    const first = Math.min(bytes, page - (prp1 % page))
    if (!this.reaches(prp1, first)) return DATA_XFER_ERROR | DNR
    const pieces: Piece[] = [{ at: prp1, bytes: first }]
    const left = bytes - first
    if (left === 0) return pieces
    if (left <= page) return this.#addPage(pieces, prp2, left) || pieces
    return this.#list(pieces, prp2, left)
  }

  #list(pieces: Piece[], list: number, bytes: number): Pieces {
    const { page, view } = this
    if (list % 8 !== 0) return PRP_OFFSET_INVALID | DNR
    let cursor = list
    let left = bytes
    while (left > 0) {
      if (!this.reaches(cursor, 8)) return DATA_XFER_ERROR | DNR
      if (cursor % page === page - 8 && left > page) {
        cursor = view.u64(cursor)
        if (cursor % page !== 0) return PRP_OFFSET_INVALID | DNR
        if (!this.reaches(cursor, page)) return DATA_XFER_ERROR | DNR
      }
      const wrong = this.#addPage(pieces, view.u64(cursor), Math.min(left, page))
      if (wrong) return wrong
      left -= page
      cursor += 8
    }
    return pieces
  }

  /** One contiguous buffer (metadata by MPTR). */
  buffer(at: number, bytes: number): Pieces {
    if (at % 4 !== 0) return INVALID_FIELD | DNR
    return this.reaches(at, bytes) ? [{ at, bytes }] : DATA_XFER_ERROR | DNR
  }

  #addPage(pieces: Piece[], at: number, bytes: number): number {
    if (at % this.page !== 0) return PRP_OFFSET_INVALID | DNR
    if (!this.reaches(at, bytes)) return DATA_XFER_ERROR | DNR
    pieces.push({ at, bytes })
    return 0
  }

  // ---------------------------------------------------------------- SGL

  /** The SGL whose first descriptor stands in the command's data pointer. */
  sgl(c: Command, bytes: number): Pieces {
    const first = [c.prp1, c.words[8]!, c.words[9]! >>> 24] as const
    return this.#descriptors(first, bytes)
  }

  /** The SGL of one segment at `at`, which holds one descriptor (a metadata pointer with PSDT 2). */
  sglAt(at: number, bytes: number): Pieces {
    if (at % 8 !== 0) return SGL_INVALID_LAST | DNR
    if (!this.reaches(at, DESCRIPTOR)) return DATA_XFER_ERROR | DNR
    return this.#descriptors(this.#descriptor(at), bytes)
  }

  #descriptor(at: number): readonly [address: number, length: number, id: number] {
    const { view } = this
    return [view.u64(at), view.u32(at + 8), view.bytes[at + 15]!]
  }

  #descriptors(first: readonly [number, number, number], bytes: number): Pieces {
    const pieces: Piece[] = []
    let [address, length, id] = first
    let left = bytes
    let seen = 0
    while (id >> 4 === SGL_SEGMENT || id >> 4 === SGL_LAST) {
      const last = id >> 4 === SGL_LAST
      if ((id & 15) !== 0) return SGL_INVALID_SUBTYPE | DNR
      if (length === 0 || length % DESCRIPTOR !== 0 || address % 8 !== 0)
        return SGL_INVALID_LAST | DNR
      if (!this.reaches(address, length)) return DATA_XFER_ERROR | DNR
      const end = address + length
      let next: readonly [number, number, number] | undefined
      for (let at = address; at < end; at += DESCRIPTOR) {
        if (++seen > MOST_DESCRIPTORS) return SGL_INVALID_LAST | DNR
        const one = this.#descriptor(at)
        if (one[2] >> 4 === SGL_SEGMENT || one[2] >> 4 === SGL_LAST) {
          // Only the last descriptor of a segment that is not the last one leads on.
          if (last || at + DESCRIPTOR !== end) return SGL_INVALID_LAST | DNR
          next = one
          break
        }
        const added = this.#addBlock(pieces, one, left)
        if (added < 0) return -added
        left -= added
      }
      if (next === undefined) return left > 0 ? SGL_INVALID_DATA | DNR : pieces
      ;[address, length, id] = next
    }
    const added = this.#addBlock(pieces, [address, length, id], left)
    if (added < 0) return -added
    return left > added ? SGL_INVALID_DATA | DNR : pieces
  }

  /** Adds a data block: its bytes, or a negative status. More than is needed is not used. */
  #addBlock(pieces: Piece[], d: readonly [number, number, number], left: number): number {
    const [address, length, id] = d
    const type = id >> 4
    if (type !== SGL_DATA && type !== SGL_BUCKET) return -(SGL_INVALID_TYPE | DNR)
    if ((id & 15) !== 0) return -(SGL_INVALID_SUBTYPE | DNR)
    const bytes = Math.min(length, left)
    if (bytes === 0) return 0
    if (type === SGL_DATA && !this.reaches(address, bytes)) return -(DATA_XFER_ERROR | DNR)
    pieces.push({ at: type === SGL_BUCKET ? 0 : address, bytes })
    return bytes
  }

  // ---------------------------------------------------------------- bytes

  /** Copies host memory. */
  read(pieces: readonly Piece[]): Uint8Array {
    const data = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.bytes, 0))
    let done = 0
    for (const { at, bytes } of pieces) {
      if (at !== 0) data.set(this.view.bytes.subarray(at, at + bytes), done)
      done += bytes
    }
    return data
  }

  /** Writes host memory; data that end early leave the rest alone. */
  write(pieces: readonly Piece[], data: Uint8Array): void {
    let done = 0
    for (const { at, bytes } of pieces) {
      const part = data.subarray(done, done + bytes)
      if (at !== 0) this.view.bytes.set(part, at)
      done += bytes
    }
  }

  /** The data of a command from the host: the bytes, or a status. */
  fetch(c: Command, bytes: number): Uint8Array | number {
    const pieces = this.pieces(c, bytes)
    return typeof pieces === 'number' ? pieces : this.read(pieces)
  }

  /** The data of a command to the host: 0, or a status. */
  deliver(c: Command, data: Uint8Array): number {
    const pieces = this.pieces(c, data.length)
    if (typeof pieces === 'number') return pieces
    this.write(pieces, data)
    return 0
  }
}
