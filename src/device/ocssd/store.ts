// What an open-channel device holds: sectors of 4096 bytes and 16 bytes of out-of-band data beside each.
//
// Sparse: a chunk takes memory when it is first written and gives it back when it is reset. A sector that is one word over
// and over (zeros, a pattern) takes four bytes, any other one page of a pool, up to a budget. In a machine all of it lies in
// the machine's memory, where the core reads and writes it too (memory.ts, assembly/ocssd.ts).

import { OCC_SECTOR } from '../../../assembly/layout.js'
import { OOB_BYTES, SECTOR_BYTES } from './geometry.js'
import { type OcssdMemory, type PagePool, SlabPages } from './memory.js'

const SECTOR_WORDS = SECTOR_BYTES / 4
const OOB_WORDS = OOB_BYTES / 4

interface ChunkData {
  /** Page of the pool, or 0: `word` over and over. */
  readonly page: Uint32Array
  readonly word: Uint32Array
  readonly oob: Uint32Array
}

/** The arrays of a chunk (OCC_*) in zeroed words. */
function arrays(words: Uint32Array, clba: number): ChunkData {
  return {
    page: words.subarray(0, clba),
    word: words.subarray(clba, 2 * clba),
    oob: words.subarray(2 * clba),
  }
}

export class SectorStore {
  readonly #clba: number
  readonly #chunks: Map<number, ChunkData> = new Map()
  readonly #memory: OcssdMemory | null
  readonly #pages: PagePool

  /**
   * @param budget bytes of sectors at most, over the whole device
   * @param memory where everything is; null: in memory of its own
   */
  constructor(
    clba: number,
    budget: number = Number.POSITIVE_INFINITY,
    memory: OcssdMemory | null = null,
  ) {
    this.#clba = clba
    this.#memory = memory
    this.#pages = memory?.pages ?? new SlabPages(budget)
  }

  /** Bytes in use for sectors. */
  get bytes(): number {
    return this.#pages.used * SECTOR_BYTES
  }

  #chunk(chunk: number): ChunkData | null {
    const known = this.#chunks.get(chunk)
    if (known !== undefined) return known
    const words = this.#memory
      ? this.#memory.takeChunk(chunk)
      : new Uint32Array((this.#clba * OCC_SECTOR) / 4)
    if (words === null) return null
    const data = arrays(words, this.#clba)
    this.#chunks.set(chunk, data)
    return data
  }

  /**
   * Writes one sector. `mem` is words; `from` and `oob` are word numbers in it, `oob` -1 for none.
   * @returns false when there is no memory left for it
   */
  write(chunk: number, sector: number, mem: Uint32Array, from: number, oob: number): boolean {
    const data = this.#chunk(chunk)
    if (data === null) return false
    const first = mem[from]
    let same = 1
    while (same < SECTOR_WORDS && mem[from + same] === first) same++
    if (same === SECTOR_WORDS) {
      this.#drop(data, sector)
      data.word[sector] = first
    } else {
      if (data.page[sector] === 0) data.page[sector] = this.#pages.take()
      if (data.page[sector] === 0) return false
      this.#pages.at(data.page[sector]).set(mem.subarray(from, from + SECTOR_WORDS))
    }
    const at = sector * OOB_WORDS
    for (let i = 0; i < OOB_WORDS; i++) data.oob[at + i] = oob < 0 ? 0 : mem[oob + i]
    return true
  }

  /** Reads one sector; one that was never written is zeros. */
  read(chunk: number, sector: number, mem: Uint32Array, to: number, oob: number): void {
    const data = this.#chunks.get(chunk)
    const page = data?.page[sector] ?? 0
    if (page !== 0) mem.set(this.#pages.at(page), to)
    else mem.fill(data?.word[sector] ?? 0, to, to + SECTOR_WORDS)
    if (oob >= 0) this.readOob(chunk, sector, mem, oob)
  }

  readOob(chunk: number, sector: number, mem: Uint32Array, oob: number): void {
    const data = this.#chunks.get(chunk)
    const at = sector * OOB_WORDS
    for (let i = 0; i < OOB_WORDS; i++) mem[oob + i] = data?.oob[at + i] ?? 0
  }

  #drop(data: ChunkData, sector: number): void {
    if (data.page[sector] !== 0) this.#pages.give(data.page[sector])
    data.page[sector] = 0
  }

  /** The chunk's sectors are gone, from one on. */
  clear(chunk: number, from = 0): void {
    const data = this.#chunks.get(chunk)
    if (data === undefined) return
    for (let sector = from; sector < this.#clba; sector++) this.#drop(data, sector)
    if (from === 0) {
      this.#chunks.delete(chunk)
      this.#memory?.giveChunk(chunk)
    } else {
      data.word.fill(0, from)
      data.oob.fill(0, from * OOB_WORDS)
    }
  }
}
