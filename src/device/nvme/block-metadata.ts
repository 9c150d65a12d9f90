// Blocks with metadata: how data and metadata lie in host memory, and the protection information in them.
//
//   extended    data and metadata of a block one behind the other in the data buffer
//   separate    metadata of all blocks one behind the other where MPTR points: a buffer, or (PSDT 2) one SGL segment
//   PRACT       with metadata that are protection information alone, none of it is transferred: inserted on writes, checked and
//               stripped on reads; with more, the host's metadata are transferred and their eight bytes replaced
//
// A block that was never written has protection information of all ones, which is not checked.

import { type Answer, type Command, OK, refuse } from './command.js'
import type { LbaFormat } from './config.js'
import type { Dma, Piece, Pieces } from './dma.js'
import type { Medium } from './medium.js'
import type { Extent, Namespace } from './namespaces.js'
import {
  check,
  checkWishes,
  insert,
  PI_BYTES,
  placeOf,
  type Wishes,
  wishesOf,
} from './protection.js'
import { COMPARE_FAILED } from './spec.js'

/** Blocks as they are to be written. */
export interface Prepared {
  readonly data: Uint8Array
  /** One after another. */
  readonly metadata: Uint8Array
}

function stripped(c: Command, ns: Namespace, format: LbaFormat): boolean {
  return ns.shape.protection !== 0 && format.metadataBytes === PI_BYTES && wishesOf(c).action
}

export class BlockMetadata {
  readonly #dma: Dma
  readonly #medium: Medium

  constructor(dma: Dma, medium: Medium) {
    this.#dma = dma
    this.#medium = medium
  }

  /** Bytes of the data buffer that one block takes. */
  transferred(c: Command, ns: Namespace, format: LbaFormat): number {
    const size = 2 ** format.dataShift
    if (!ns.shape.extended || stripped(c, ns, format)) return size
    return size + format.metadataBytes
  }

  /** Where the metadata of a command are in host memory; none when they are extended or not transferred. */
  #pieces(c: Command, { ns, blocks }: Extent, format: LbaFormat): Pieces {
    if (ns.shape.extended || stripped(c, ns, format)) return []
    const bytes = blocks * format.metadataBytes
    return c.psdt === 2 ? this.#dma.sglAt(c.mptr, bytes) : this.#dma.buffer(c.mptr, bytes)
  }

  // ---------------------------------------------------------------- writes

  /** Collects what a Write brings, and makes or checks its protection; a number is a status. */
  prepare(
    c: Command,
    extent: Extent,
    format: LbaFormat,
    pieces: readonly Piece[],
  ): Prepared | number {
    const { ns, slba } = extent
    const separate = this.#pieces(c, extent, format)
    if (typeof separate === 'number') return separate
    const got = this.#collect(c, extent, format, pieces, separate)
    const type = ns.shape.protection
    if (type === 0) return got
    const w = wishesOf(c)
    const wrong = checkWishes(type, w, slba)
    if (wrong) return wrong | 0x4000
    const status = this.#protect(extent, format, got, w)
    return status === 0 ? got : status
  }

  #collect(
    c: Command,
    { ns, blocks }: Extent,
    format: LbaFormat,
    pieces: readonly Piece[],
    separate: readonly Piece[],
  ): Prepared {
    const host = this.#dma.read(pieces)
    const meta = format.metadataBytes
    if (stripped(c, ns, format)) return { data: host, metadata: new Uint8Array(blocks * meta) }
    if (!ns.shape.extended) return { data: host, metadata: this.#dma.read(separate) }
    const size = 2 ** format.dataShift
    const data = new Uint8Array(blocks * size)
    const metadata = new Uint8Array(blocks * meta)
    for (let i = 0; i < blocks; i++) {
      const at = i * (size + meta)
      data.set(host.subarray(at, at + size), i * size)
      metadata.set(host.subarray(at + size, at + size + meta), i * meta)
    }
    return { data, metadata }
  }

  /** Inserts or checks the protection information of blocks on their way to the medium. */
  #protect({ ns, blocks }: Extent, format: LbaFormat, got: Prepared, w: Wishes): number {
    const { protection: type, protectionFirst } = ns.shape
    const at = placeOf(format.metadataBytes, protectionFirst)
    for (let i = 0; i < blocks; i++) {
      const [data, metadata] = block(got, i, format)
      if (w.action) insert(type, w, i, data, metadata, at)
      else {
        const wrong = check(type, w, i, data, metadata, at)
        if (wrong) return wrong
      }
    }
    return 0
  }

  /** Stores prepared blocks; false when the budget of the stores is spent. */
  write({ ns, slba, blocks, at }: Extent, { data, metadata }: Prepared): boolean {
    const meta = metadata.length / blocks
    if (!this.#medium.write(at, data)) return false
    for (let i = 0; i < blocks; i++)
      ns.metadata.set(slba + i, metadata.slice(i * meta, (i + 1) * meta))
    return true
  }

  /** Write Zeroes: protection information of zeroes where the host wants it. */
  zeroed(c: Command, extent: Extent, format: LbaFormat): void {
    const { ns, slba, blocks } = extent
    const w = wishesOf(c)
    if (ns.shape.protection === 0 || !w.action) return
    const zero = { data: new Uint8Array(blocks * 2 ** format.dataShift) }
    const metadata = new Uint8Array(blocks * format.metadataBytes)
    this.#protect(extent, format, { ...zero, metadata }, w)
    for (let i = 0; i < blocks; i++)
      ns.metadata.set(slba + i, block({ ...zero, metadata }, i, format)[1].slice())
  }

  // ---------------------------------------------------------------- reads

  /** Data and metadata of the medium, checked; a number is a status. */
  #load(c: Command, extent: Extent, format: LbaFormat): Prepared | number {
    const { ns, slba, blocks, at, bytes } = extent
    const data = this.#medium.read(at, bytes)
    const metadata = new Uint8Array(blocks * format.metadataBytes)
    for (let i = 0; i < blocks; i++)
      metadata.set(ns.metadata.get(slba + i) ?? unwritten(ns, format), i * format.metadataBytes)
    const got = { data, metadata }
    const type = ns.shape.protection
    if (type === 0) return got
    const w = wishesOf(c)
    const wrong = checkWishes(type, w, slba)
    if (wrong) return wrong | 0x4000
    const status = this.#protect(extent, format, got, { ...w, action: false })
    return status === 0 ? got : status
  }

  read(c: Command, extent: Extent, format: LbaFormat, pieces: readonly Piece[]): Answer {
    const separate = this.#pieces(c, extent, format)
    if (typeof separate === 'number') return { status: separate }
    const got = this.#load(c, extent, format)
    if (typeof got === 'number') return { status: got }
    const { ns } = extent
    if (!ns.shape.extended || stripped(c, ns, format)) {
      this.#dma.write(pieces, got.data)
      this.#dma.write(separate, got.metadata)
    } else this.#dma.write(pieces, this.#interleave(extent, format, got))
    return OK
  }

  #interleave({ blocks }: Extent, format: LbaFormat, got: Prepared): Uint8Array {
    const size = 2 ** format.dataShift
    const step = size + format.metadataBytes
    const host = new Uint8Array(blocks * step)
    for (let i = 0; i < blocks; i++) {
      const [data, metadata] = block(got, i, format)
      host.set(data, i * step)
      host.set(metadata, i * step + size)
    }
    return host
  }

  /** Compare: data, and metadata without their protection information. */
  compare(c: Command, extent: Extent, format: LbaFormat, pieces: readonly Piece[]): Answer {
    const separate = this.#pieces(c, extent, format)
    if (typeof separate === 'number') return { status: separate }
    const medium = this.#load(c, extent, format)
    if (typeof medium === 'number') return { status: medium }
    const host = this.#collect(c, extent, format, pieces, separate)
    const { ns, blocks } = extent
    const skip = stripped(c, ns, format)
    for (let i = 0; i < blocks; i++) {
      const [data, metadata] = block(medium, i, format)
      const [other, otherMetadata] = block(host, i, format)
      if (!data.every((byte, k) => byte === other[k])) return refuse(COMPARE_FAILED)
      if (skip) continue
      const same = metadata.every((byte, k) => guarded(ns, format, k) || byte === otherMetadata[k])
      if (!same) return refuse(COMPARE_FAILED)
    }
    return OK
  }

  /** Verify: the checks of a read. */
  verify(c: Command, extent: Extent, format: LbaFormat): Answer {
    const got = this.#load(c, extent, format)
    return typeof got === 'number' ? { status: got } : OK
  }
}

/** The i-th block. */
function block(all: Prepared, i: number, format: LbaFormat): [Uint8Array, Uint8Array] {
  const size = 2 ** format.dataShift
  const meta = format.metadataBytes
  return [
    all.data.subarray(i * size, (i + 1) * size),
    all.metadata.subarray(i * meta, (i + 1) * meta),
  ]
}

/** Byte k of the metadata belongs to the protection information. */
function guarded({ shape }: Namespace, format: LbaFormat, k: number): boolean {
  if (shape.protection === 0) return false
  const at = placeOf(format.metadataBytes, shape.protectionFirst)
  return k >= at && k < at + PI_BYTES
}

function unwritten(ns: Namespace, format: LbaFormat): Uint8Array {
  const metadata = new Uint8Array(format.metadataBytes)
  return metadata.map((_, k) => (guarded(ns, format, k) ? 0xff : 0))
}
