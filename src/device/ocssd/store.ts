// What an open-channel device holds: sectors of 4096 bytes and 16 bytes of out-of-band data beside each.
//
// Sparse: a chunk takes memory when it is first written and gives it back when it is reset. A sector that is one word over
// and over (zeros, a pattern) takes four bytes, any other one page of a pool that grows in slabs, up to a budget.

import { OOB_BYTES, SECTOR_BYTES } from './geometry.js'

const SECTOR_WORDS = SECTOR_BYTES / 4
const OOB_WORDS = OOB_BYTES / 4
/** The first slab's pages; each further one is twice as large, so that there are few of them. */
const SLAB_PAGES = 64

/** The slab of a page, and its first page. */
function slab_of(page: number): number {
  return 31 - Math.clz32(Math.floor(page / SLAB_PAGES) + 1)
}

function slab_start(slab: number): number {
  return (2 ** slab - 1) * SLAB_PAGES
}

interface ChunkData {
  /** Page of the pool, or -1: `word` over and over. */
  readonly page: Int32Array
  readonly word: Uint32Array
  readonly oob: Uint32Array
}

export class SectorStore {
  readonly #clba: number
  readonly #budget: number
  readonly #chunks: Map<number, ChunkData> = new Map()
  readonly #slabs: Uint32Array[] = []
  readonly #free: number[] = []
  #pages = 0

  /** @param budget bytes of sectors at most, over the whole device */
  constructor(clba: number, budget: number = Number.POSITIVE_INFINITY) {
    this.#clba = clba
    this.#budget = budget
  }

  /** Bytes in use for sectors. */
  get bytes(): number {
    return (this.#pages - this.#free.length) * SECTOR_BYTES
  }

  #chunk(chunk: number): ChunkData {
    let data = this.#chunks.get(chunk)
    if (data === undefined) {
      const n = this.#clba
      data = {
        page: new Int32Array(n).fill(-1),
        word: new Uint32Array(n),
        oob: new Uint32Array(n * OOB_WORDS),
      }
      this.#chunks.set(chunk, data)
    }
    return data
  }

  /** A page of the pool; -1 when the budget is used up. */
  #take(): number {
    const page = this.#free.pop()
    if (page !== undefined) return page
    if ((this.#pages + 1) * SECTOR_BYTES > this.#budget) return -1
    const { length } = this.#slabs
    if (this.#pages === slab_start(length))
      this.#slabs.push(new Uint32Array(SLAB_PAGES * 2 ** length * SECTOR_WORDS))
    return this.#pages++
  }

  #at(page: number): Uint32Array {
    const slab = slab_of(page)
    const from = (page - slab_start(slab)) * SECTOR_WORDS
    return this.#slabs[slab].subarray(from, from + SECTOR_WORDS)
  }

  /**
   * Writes one sector. `mem` is words; `from` and `oob` are word numbers in it, `oob` -1 for none.
   * @returns false when there is no memory left for it
   */
  write(chunk: number, sector: number, mem: Uint32Array, from: number, oob: number): boolean {
    const data = this.#chunk(chunk)
    const first = mem[from]
    let same = 1
    while (same < SECTOR_WORDS && mem[from + same] === first) same++
    if (same === SECTOR_WORDS) {
      this.#drop(data, sector)
      data.word[sector] = first
    } else {
      if (data.page[sector] < 0) data.page[sector] = this.#take()
      if (data.page[sector] < 0) return false
      this.#at(data.page[sector]).set(mem.subarray(from, from + SECTOR_WORDS))
    }
    const at = sector * OOB_WORDS
    for (let i = 0; i < OOB_WORDS; i++) data.oob[at + i] = oob < 0 ? 0 : mem[oob + i]
    return true
  }

  /** Reads one sector; one that was never written is zeros. */
  read(chunk: number, sector: number, mem: Uint32Array, to: number, oob: number): void {
    const data = this.#chunks.get(chunk)
    const page = data?.page[sector] ?? -1
    if (page >= 0) mem.set(this.#at(page), to)
    else mem.fill(data?.word[sector] ?? 0, to, to + SECTOR_WORDS)
    if (oob >= 0) this.readOob(chunk, sector, mem, oob)
  }

  readOob(chunk: number, sector: number, mem: Uint32Array, oob: number): void {
    const data = this.#chunks.get(chunk)
    const at = sector * OOB_WORDS
    for (let i = 0; i < OOB_WORDS; i++) mem[oob + i] = data?.oob[at + i] ?? 0
  }

  #drop(data: ChunkData, sector: number): void {
    if (data.page[sector] >= 0) this.#free.push(data.page[sector])
    data.page[sector] = -1
  }

  /** The chunk's sectors are gone, from one on. */
  clear(chunk: number, from = 0): void {
    const data = this.#chunks.get(chunk)
    if (data === undefined) return
    for (let sector = from; sector < this.#clba; sector++) this.#drop(data, sector)
    if (from === 0) this.#chunks.delete(chunk)
    else {
      data.word.fill(0, from)
      data.oob.fill(0, from * OOB_WORDS)
    }
  }
}
