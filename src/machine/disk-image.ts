// What a disk holds, kept in a file while the machine runs: every write that was answered is in the file, so that a
// process that is killed loses nothing (a host that loses power may; flushes are fsyncs).
//
//   0      header: magic, bytes of the disk
//   4096   a bit for each page of 4 KiB: it was written
//   then   the pages, each at its place; the file is sparse
//
// A page whose bit is clear reads as zeros, whatever its place in the file holds. Data are written before their bit is.

import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { UserError } from '../core/errors.js'
import { EIO, ENOSPC } from '../kernel/errno.js'
import { StoreLock } from './store-lock.js'

const MAGIC = 'phasebit image 1'
const PAGE = 4096
const HEADER_BYTES = 32

/** The file behind one disk. */
export class DiskImage {
  readonly bytes: number
  readonly #lock: StoreLock
  readonly #fd: number
  readonly #map: Uint8Array
  readonly #data: number

  /**
   * Opens or makes the file of a disk of so many bytes.
   * @throws UserError when it cannot be had, another process has it, or it belongs to a disk of another size
   */
  constructor(path: string, bytes: number) {
    this.bytes = bytes
    this.#map = new Uint8Array(Math.ceil(bytes / PAGE / 8))
    this.#data = PAGE + Math.ceil(this.#map.length / PAGE) * PAGE
    this.#fd = openOrMake(path)
    this.#lock = this.#prepare(path)
  }

  /** The file is one, and nobody else's. */
  #prepare(path: string): StoreLock {
    let lock: StoreLock | undefined
    try {
      if (!fstatSync(this.#fd).isFile()) throw new UserError(`${path}: is no file`)
      lock = new StoreLock(path)
      this.#readHeader(path)
      return lock
    } catch (error) {
      lock?.release()
      closeSync(this.#fd)
      throw error
    }
  }

  #readHeader(path: string): void {
    const header = Buffer.alloc(HEADER_BYTES)
    const file = fstatSync(this.#fd)
    if (file.size === 0) {
      header.write(MAGIC, 'latin1')
      header.writeBigUInt64LE(BigInt(this.bytes), 16)
      writeSync(this.#fd, header, 0, HEADER_BYTES, 0)
      return
    }
    readSync(this.#fd, header, 0, HEADER_BYTES, 0)
    if (header.toString('latin1', 0, MAGIC.length) !== MAGIC)
      throw new UserError(`${path}: is no image of a disk`)
    const size = Number(header.readBigUInt64LE(16))
    if (size !== this.bytes)
      throw new UserError(`${path}: holds a disk of ${size} bytes; this one has ${this.bytes}`)
    readSync(this.#fd, this.#map, 0, this.#map.length, PAGE)
  }

  #has(page: number): boolean {
    return (this.#map[page >>> 3]! & (1 << (page & 7))) !== 0
  }

  /** Marks pages; returns whether one changed. */
  #mark(first: number, last: number, value: boolean): void {
    for (let page = first; page <= last; page++) {
      if (page % 8 === 0 && page + 7 <= last) {
        // whole bytes at once: a discard may be of the whole disk
        const end = Math.floor((last + 1) / 8)
        this.#map.fill(value ? 0xff : 0, page / 8, end)
        page = end * 8 - 1
        continue
      }
      const bit = 1 << (page & 7)
      if (value) this.#map[page >>> 3]! |= bit
      else this.#map[page >>> 3]! &= ~bit
    }
    const from = first >>> 3
    writeSync(this.#fd, this.#map, from, (last >>> 3) - from + 1, PAGE + from)
  }

  /** Zeros in the file, where a page gets its bit but not all of its data. */
  #zero(from: number, to: number): void {
    if (to > from) writeSync(this.#fd, new Uint8Array(to - from), 0, to - from, this.#data + from)
  }

  /** Keeps a write; a positive errno, 0 = good. */
  write(offset: number, data: Uint8Array): number {
    const end = offset + data.length
    const [first, last] = [Math.floor(offset / PAGE), Math.ceil(end / PAGE) - 1]
    return guarded(() => {
      if (!this.#has(first)) this.#zero(first * PAGE, offset)
      if (!this.#has(last)) this.#zero(end, (last + 1) * PAGE)
      const plain = data.buffer instanceof SharedArrayBuffer ? Uint8Array.from(data) : data
      writeSync(this.#fd, plain, 0, plain.length, this.#data + offset)
      for (let page = first; page <= last; page++)
        if (!this.#has(page)) {
          this.#mark(first, last, true)
          break
        }
    })
  }

  /** Forgets a range: it reads as zeros; a positive errno, 0 = good. */
  discard(offset: number, bytes: number): number {
    const end = offset + bytes
    const [first, last] = [Math.ceil(offset / PAGE), Math.floor(end / PAGE) - 1]
    return guarded(() => {
      this.#clearPart(offset, Math.min(end, first * PAGE))
      if (last >= first) this.#mark(first, last, false)
      this.#clearPart(Math.max(offset, (last + 1) * PAGE, first * PAGE), end)
    })
  }

  #clearPart(from: number, to: number): void {
    if (to > from && this.#has(Math.floor(from / PAGE))) this.#zero(from, to)
  }

  /** Makes durable what was written; a positive errno, 0 = good. */
  flush(): number {
    return guarded(() => fdatasyncSync(this.#fd))
  }

  /** Runs of pages that are there, each of at most `most` bytes, in order. */
  *pieces(most: number): Generator<{ offset: number; data: Uint8Array }> {
    const pages = Math.ceil(this.bytes / PAGE)
    for (let page = 0; page < pages; page++) {
      if (page % 8 === 0 && this.#map[page >>> 3] === 0) {
        page += 7
        continue
      }
      if (!this.#has(page)) continue
      let end = page + 1
      while (end < pages && this.#has(end) && (end - page + 1) * PAGE <= most) end++
      const offset = page * PAGE
      const data = new Uint8Array(Math.min(end * PAGE, this.bytes) - offset)
      readSync(this.#fd, data, 0, data.length, this.#data + offset)
      yield { offset, data }
      page = end - 1
    }
  }

  close(): void {
    closeSync(this.#fd)
    this.#lock.release()
  }
}

function openOrMake(path: string): number {
  try {
    return openSync(path, 'r+')
  } catch {
    // there is none, or it cannot be had
  }
  try {
    return openSync(path, 'w+')
  } catch (error) {
    throw new UserError(`${path}: ${(error as Error).message}`)
  }
}

function guarded(fn: () => void): number {
  try {
    fn()
    return 0
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOSPC' ? ENOSPC : EIO
  }
}
