// Where the media of an open-channel device are in a machine's memory, so that the core can read and write them
// (OC_*, assembly/ocssd.ts):
//
//   block | states | types | write pointers | table of chunks' sectors | sectors of chunks | pages
//
// A device without a machine has JavaScript's memory instead: pages in slabs.

import * as L from '../../../assembly/layout.js'
import type { View } from '../../core/view.js'
import { bitsFor, type OcssdGeometry, SECTOR_BYTES, sectorBits, totalChunks } from './geometry.js'

const SECTOR_WORDS = SECTOR_BYTES / 4
/** Words of what is known of a sector. */
const RECORD = L.OCC_SIZE / 4
/** Bytes for what is known of sectors beside their data, at most: the chunks of a large drive are not all written. */
const SECTORS_MOST = 512 * 2 ** 20
/** The first slab's pages; each further one is twice as large, so that there are few of them. */
const SLAB_PAGES = 64

/** Pages of one sector each. A sector is known by the words of its chunk and where it begins in them (OCC_*). */
export interface PagePool {
  /** Pages in use. */
  readonly used: number
  /** The page of a sector that is written; null when the budget is used up. */
  claim(data: Uint32Array, at: number): Uint32Array | null
  /** The page of a sector that is read; null: it has none. */
  page(data: Uint32Array, at: number): Uint32Array | null
  /** A sector needs no page any more. */
  drop(data: Uint32Array, at: number): void
  /** Nothing is known of the sectors from the one at `from` on. */
  clear(data: Uint32Array, from: number): void
}

// ---------------------------------------------------------------- JavaScript's memory

/** The slab of a page, and its first page. */
function slab_of(page: number): number {
  return 31 - Math.clz32(Math.floor(page / SLAB_PAGES) + 1)
}

function slab_start(slab: number): number {
  return (2 ** slab - 1) * SLAB_PAGES
}

export class SlabPages implements PagePool {
  readonly #budget: number
  readonly #slabs: Uint32Array[] = []
  readonly #free: number[] = []
  #pages = 0

  /** @param budget bytes */
  constructor(budget: number) {
    this.#budget = budget
  }

  get used(): number {
    return this.#pages - this.#free.length
  }

  claim(data: Uint32Array, at: number): Uint32Array | null {
    if (data[at] === 0) data[at] = this.#take()
    return this.page(data, at)
  }

  page(data: Uint32Array, at: number): Uint32Array | null {
    return data[at] === 0 ? null : this.#at(data[at])
  }

  drop(data: Uint32Array, at: number): void {
    if (data[at] !== 0) this.#free.push(data[at])
    data[at] = 0
  }

  clear(data: Uint32Array, from: number): void {
    for (let at = from; at < data.length; at += RECORD) this.drop(data, at)
    data.fill(0, from)
  }

  /** A page's number, which begins with 1; 0: the budget is used up. */
  #take(): number {
    const page = this.#free.pop()
    if (page !== undefined) return page
    if ((this.#pages + 1) * SECTOR_BYTES > this.#budget) return 0
    const { length } = this.#slabs
    if (this.#pages === slab_start(length))
      this.#slabs.push(new Uint32Array(SLAB_PAGES * 2 ** length * SECTOR_WORDS))
    return ++this.#pages
  }

  #at(page: number): Uint32Array {
    const slab = slab_of(page - 1)
    const from = (page - 1 - slab_start(slab)) * SECTOR_WORDS
    return this.#slabs[slab].subarray(from, from + SECTOR_WORDS)
  }
}

// ---------------------------------------------------------------- the machine's memory

/** A part of a machine's memory, zeroed and on a boundary of 4096. */
export interface OcssdRegion {
  readonly view: View
  readonly at: number
  readonly bytes: number
}

const up = (bytes: number, to: number): number => Math.ceil(bytes / to) * to

function headBytes(g: OcssdGeometry): number {
  const chunks = totalChunks(g)
  return L.OC_SIZE + 2 * up(chunks, 8) + 8 * chunks
}

function sectorsBytes(g: OcssdGeometry): number {
  return Math.min(totalChunks(g) * g.clba * L.OCC_SIZE, SECTORS_MOST)
}

/** Bytes that a device takes beside its pages. */
export function ocssdHeadBytes(g: OcssdGeometry): number {
  return up(headBytes(g) + sectorsBytes(g), SECTOR_BYTES)
}

/** Bytes of all sectors of a device. */
export function ocssdBytes(g: OcssdGeometry): number {
  return totalChunks(g) * g.clba * SECTOR_BYTES
}

/** The media of one device in a machine's memory. */
export class OcssdMemory {
  readonly view: View
  /** The block (OC_*). */
  readonly at: number
  readonly pages: MemoryPages
  readonly #table: number
  readonly #chunkBytes: number
  /** What is known of the sectors of chunks, by chunk; and those that hold nothing, unless the core has written them since. */
  readonly #records: Map<number, Uint32Array> = new Map()
  readonly #idle: Set<number> = new Set()
  #next: number
  readonly #end: number

  constructor(g: OcssdGeometry, { view, at, bytes }: OcssdRegion, budget: number) {
    this.view = view
    this.at = at
    const chunks = totalChunks(g)
    const states = at + L.OC_SIZE
    const types = states + up(chunks, 8)
    const wps = types + up(chunks, 8)
    this.#table = wps + 4 * chunks
    this.#chunkBytes = g.clba * L.OCC_SIZE
    this.#next = at + headBytes(g)
    const pages = at + ocssdHeadBytes(g)
    this.#end = this.#next + sectorsBytes(g)
    const room = Math.floor(Math.min(at + bytes - pages, budget) / SECTOR_BYTES)
    const fields: readonly [number, number][] = [
      [L.OC_GROUPS, g.groups],
      [L.OC_PUS, g.pus],
      [L.OC_CHUNKS, g.chunks],
      [L.OC_CLBA, g.clba],
      [L.OC_SEC_BITS, sectorBits(g)],
      [L.OC_CHUNK_BITS, bitsFor(g.chunks)],
      [L.OC_PU_BITS, bitsFor(g.pus)],
      [L.OC_WS_MIN, g.wsMin],
      [L.OC_MW_CUNITS, g.mwCunits],
      [L.OC_STATE, states],
      [L.OC_TYPE, types],
      [L.OC_WP, wps],
      [L.OC_DATA, this.#table],
      [L.OC_NEXT, pages],
      [L.OC_END, pages + room * SECTOR_BYTES],
      [L.OC_ROOM, room],
    ]
    for (const [field, value] of fields) view.setU32(at + field, value)
    this.pages = new MemoryPages(view, at, () => this.#gather())
  }

  #bytes(field: number, n: number): Uint8Array {
    const from = this.view.u32(this.at + field)
    return this.view.bytes.subarray(from, from + n)
  }

  /** States, types and write pointers of `n` chunks. */
  chunks(n: number): { state: Uint8Array; type: Uint8Array; wp: Uint32Array } {
    const wp = this.view.u32(this.at + L.OC_WP) / 4
    return {
      state: this.#bytes(L.OC_STATE, n),
      type: this.#bytes(L.OC_TYPE, n),
      wp: this.view.words.subarray(wp, wp + n),
    }
  }

  /** How many commands and sectors there were (OC_READS and so on). */
  counts(): Float64Array {
    const from = (this.at + L.OC_READS) / 8
    return this.view.doubles.subarray(from, from + 5)
  }

  /** The words of a chunk's sectors; undefined: it has none. */
  chunk(chunk: number): Uint32Array | undefined {
    return this.#records.get(chunk)
  }

  /** The same for a chunk that is written; null when no memory is left. */
  takeChunk(chunk: number): Uint32Array | null {
    this.#idle.delete(chunk)
    const known = this.#records.get(chunk)
    if (known !== undefined) return known
    const at = this.#next + this.#chunkBytes > this.#end ? this.#steal() : this.#next
    if (at === 0) return null
    if (at === this.#next) this.#next += this.#chunkBytes
    this.view.setU32(this.#table + 4 * chunk, at)
    const data = this.view.words.subarray(at / 4, (at + this.#chunkBytes) / 4)
    this.#records.set(chunk, data)
    return data
  }

  /** A chunk holds nothing any more. */
  idle(chunk: number): void {
    this.#idle.add(chunk)
  }

  /** The memory of a chunk that holds nothing, zeroed; 0: there is none. The core may have written those that were. */
  #steal(): number {
    for (const chunk of this.#idle) {
      this.#idle.delete(chunk)
      const state = this.view.bytes[this.view.u32(this.at + L.OC_STATE) + chunk]
      if (state === L.CHUNK_OPEN || state === L.CHUNK_CLOSED) continue
      const data = this.#records.get(chunk)!
      for (let at = 0; at < data.length; at += RECORD) this.pages.release(data, at)
      this.#records.delete(chunk)
      this.view.setU32(this.#table + 4 * chunk, 0)
      return data.byteOffset - this.view.bytes.byteOffset
    }
    return 0
  }

  /** No page is left but those that sectors keep: from now on nobody keeps one. */
  #gather(): void {
    this.view.setU32(this.at + L.OC_TIGHT, 1)
    for (const data of this.#records.values())
      for (let at = 0; at < data.length; at += RECORD) this.pages.release(data, at)
  }

  /** Which commands the core may execute (OCF_*). */
  allow(flags: number): void {
    this.view.setU32(this.at + L.OC_FLAGS, flags)
  }
}

/**
 * Pages by their addresses. A sector that needs its page no more keeps it (OCC_SPARE), for what it holds next; when all
 * pages have been in use, it gives it back. A free page begins with the address of the next.
 */
class MemoryPages implements PagePool {
  readonly #view: View
  readonly #at: number
  readonly #gather: () => void

  /** @param gather takes back what sectors keep */
  constructor(view: View, at: number, gather: () => void) {
    this.#view = view
    this.#at = at
    this.#gather = gather
  }

  get used(): number {
    return this.#view.u32(this.#at + L.OC_USED)
  }

  #use(n: number): void {
    this.#view.setU32(this.#at + L.OC_USED, this.used + n)
  }

  claim(data: Uint32Array, at: number): Uint32Array | null {
    if (data[at] === 0 || (data[at] & L.OCC_SPARE) !== 0) {
      const page = data[at] === 0 ? this.#take() : data[at] - L.OCC_SPARE
      if (page === 0) return null
      data[at] = page
      this.#use(1)
    }
    return this.page(data, at)
  }

  page(data: Uint32Array, at: number): Uint32Array | null {
    const page = data[at]
    if (page === 0 || (page & L.OCC_SPARE) !== 0) return null
    return this.#view.words.subarray(page / 4, page / 4 + SECTOR_WORDS)
  }

  drop(data: Uint32Array, at: number): void {
    if (data[at] === 0 || (data[at] & L.OCC_SPARE) !== 0) return
    this.#use(-1)
    data[at] += L.OCC_SPARE
    if (this.#view.u32(this.#at + L.OC_TIGHT) !== 0) this.release(data, at)
  }

  clear(data: Uint32Array, from: number): void {
    let gone = 0
    for (let at = from; at < data.length; at += RECORD) {
      if (data[at] !== 0 && (data[at] & L.OCC_SPARE) === 0) {
        data[at] += L.OCC_SPARE
        gone++
      }
      for (let word = at + 1; word < at + RECORD; word++) data[word] = 0
    }
    this.#use(-gone)
    if (this.#view.u32(this.#at + L.OC_TIGHT) === 0) return
    for (let at = from; at < data.length; at += RECORD) this.release(data, at)
  }

  /** A sector keeps no page any more. */
  release(data: Uint32Array, at: number): void {
    if ((data[at] & L.OCC_SPARE) === 0) return
    const page = data[at] - L.OCC_SPARE
    data[at] = 0
    this.#view.setU32(page, this.#view.u32(this.#at + L.OC_FREE))
    this.#view.setU32(this.#at + L.OC_FREE, page)
  }

  /** The address of a page that nobody keeps; 0: all are in use. */
  #take(): number {
    const page = this.#pop() || this.#fresh()
    if (page !== 0) return page
    this.#gather()
    return this.#pop()
  }

  #pop(): number {
    const page = this.#view.u32(this.#at + L.OC_FREE)
    if (page !== 0) this.#view.setU32(this.#at + L.OC_FREE, this.#view.u32(page))
    return page
  }

  #fresh(): number {
    const page = this.#view.u32(this.#at + L.OC_NEXT)
    if (page === this.#view.u32(this.#at + L.OC_END)) return 0
    this.#view.setU32(this.#at + L.OC_NEXT, page + SECTOR_BYTES)
    return page
  }
}
