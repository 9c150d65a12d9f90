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
/** Bytes for what is known of sectors beside their data, at most: the chunks of a large drive are not all written. */
const SECTORS_MOST = 512 * 2 ** 20
/** The first slab's pages; each further one is twice as large, so that there are few of them. */
const SLAB_PAGES = 64

/** Pages of one sector each, by number; 0 is none. */
export interface PagePool {
  /** Pages in use. */
  readonly used: number
  /** 0 when the budget is used up. */
  take(): number
  give(page: number): void
  at(page: number): Uint32Array
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

  take(): number {
    const page = this.#free.pop()
    if (page !== undefined) return page
    if ((this.#pages + 1) * SECTOR_BYTES > this.#budget) return 0
    const { length } = this.#slabs
    if (this.#pages === slab_start(length))
      this.#slabs.push(new Uint32Array(SLAB_PAGES * 2 ** length * SECTOR_WORDS))
    return ++this.#pages
  }

  give(page: number): void {
    this.#free.push(page)
  }

  at(page: number): Uint32Array {
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
  readonly pages: PagePool
  readonly #table: number
  readonly #chunkBytes: number
  readonly #free: number[] = []
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
    this.pages = new MemoryPages(view, at)
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

  /** Zeroed words for the sectors of a chunk; null when there are none left. */
  takeChunk(chunk: number): Uint32Array | null {
    let at = this.#free.pop()
    if (at === undefined) {
      if (this.#next + this.#chunkBytes > this.#end) return null
      at = this.#next
      this.#next += this.#chunkBytes
    } else this.view.fill(at, this.#chunkBytes, 0)
    this.view.setU32(this.#table + 4 * chunk, at)
    return this.view.words.subarray(at / 4, (at + this.#chunkBytes) / 4)
  }

  giveChunk(chunk: number): void {
    this.#free.push(this.view.u32(this.#table + 4 * chunk))
    this.view.setU32(this.#table + 4 * chunk, 0)
  }

  /** Which commands the core may execute (OCF_*). */
  allow(flags: number): void {
    this.view.setU32(this.at + L.OC_FLAGS, flags)
  }
}

/** Pages by their addresses; a free one begins with the address of the next. */
class MemoryPages implements PagePool {
  readonly #view: View
  readonly #at: number

  constructor(view: View, at: number) {
    this.#view = view
    this.#at = at
  }

  get used(): number {
    return this.#view.u32(this.#at + L.OC_USED)
  }

  #use(n: number): void {
    this.#view.setU32(this.#at + L.OC_USED, this.used + n)
  }

  take(): number {
    const view = this.#view
    let page = view.u32(this.#at + L.OC_FREE)
    if (page !== 0) view.setU32(this.#at + L.OC_FREE, view.u32(page))
    else {
      page = view.u32(this.#at + L.OC_NEXT)
      if (page === view.u32(this.#at + L.OC_END)) return 0
      view.setU32(this.#at + L.OC_NEXT, page + SECTOR_BYTES)
    }
    this.#use(1)
    return page
  }

  give(page: number): void {
    this.#view.setU32(page, this.#view.u32(this.#at + L.OC_FREE))
    this.#view.setU32(this.#at + L.OC_FREE, page)
    this.#use(-1)
  }

  at(page: number): Uint32Array {
    return this.#view.words.subarray(page / 4, page / 4 + SECTOR_WORDS)
  }
}
