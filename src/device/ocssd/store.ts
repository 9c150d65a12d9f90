// What an open-channel device holds: sectors of 4096 bytes and 16 bytes of out-of-band data beside each.
//
// Sparse: a chunk takes memory when it is first written. A sector that is one word over and over (zeros, a pattern) takes
// four bytes, any other one page of a pool, up to a budget. In a machine all of it lies in the machine's memory, where the
// core reads and writes it too (memory.ts, assembly/ocssd.ts); there a chunk that is reset keeps its memory until others
// need it.

import { OCC_OOB, OCC_SIZE, OCC_WORD } from '../../../assembly/layout.js'
import { OOB_BYTES, SECTOR_BYTES } from './geometry.js'
import { type OcssdMemory, type PagePool, SlabPages } from './memory.js'

const SECTOR_WORDS = SECTOR_BYTES / 4
const OOB_WORDS = OOB_BYTES / 4

/** Words of what is known of a sector (OCC_*): its page, or 0 and one word over and over; out-of-band data. */
const STEP = OCC_SIZE / 4
const WORD = OCC_WORD / 4
const OOB = OCC_OOB / 4

export class SectorStore {
  readonly #clba: number
  readonly #chunks: Map<number, Uint32Array> = new Map()
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

  /** What is known of a chunk's sectors; undefined: it was never written. */
  #known(chunk: number): Uint32Array | undefined {
    return this.#memory ? this.#memory.chunk(chunk) : this.#chunks.get(chunk)
  }

  /** The same for one that is written now; null: there is no memory for it. */
  #taken(chunk: number): Uint32Array | null {
    if (this.#memory) return this.#memory.takeChunk(chunk)
    let data = this.#chunks.get(chunk)
    if (data === undefined) {
      data = new Uint32Array(this.#clba * STEP)
      this.#chunks.set(chunk, data)
    }
    return data
  }

  /**
   * Writes one sector. `mem` is words; `from` and `oob` are word numbers in it, `oob` -1 for none.
   * @returns false when there is no memory left for it
   */
  write(chunk: number, sector: number, mem: Uint32Array, from: number, oob: number): boolean {
    const data = this.#taken(chunk)
    if (data === null) return false
    const at = sector * STEP
    const first = mem[from]
    let same = 1
    while (same < SECTOR_WORDS && mem[from + same] === first) same++
    if (same === SECTOR_WORDS) {
      this.#pages.drop(data, at)
      data[at + WORD] = first
    } else {
      const page = this.#pages.claim(data, at)
      if (page === null) return false
      page.set(mem.subarray(from, from + SECTOR_WORDS))
    }
    for (let i = 0; i < OOB_WORDS; i++) data[at + OOB + i] = oob < 0 ? 0 : mem[oob + i]
    return true
  }

  /** Reads one sector; one that was never written is zeros. */
  read(chunk: number, sector: number, mem: Uint32Array, to: number, oob: number): void {
    const data = this.#known(chunk)
    const page = data === undefined ? null : this.#pages.page(data, sector * STEP)
    if (page !== null) mem.set(page, to)
    else mem.fill(data?.[sector * STEP + WORD] ?? 0, to, to + SECTOR_WORDS)
    if (oob >= 0) this.readOob(chunk, sector, mem, oob)
  }

  readOob(chunk: number, sector: number, mem: Uint32Array, oob: number): void {
    const data = this.#known(chunk)
    const at = sector * STEP + OOB
    for (let i = 0; i < OOB_WORDS; i++) mem[oob + i] = data?.[at + i] ?? 0
  }

  /** The chunk's sectors are gone, from one on. */
  clear(chunk: number, from = 0): void {
    const data = this.#known(chunk)
    if (data === undefined) return
    this.#pages.clear(data, from * STEP)
    if (from > 0) return
    if (this.#memory) this.#memory.idle(chunk)
    else this.#chunks.delete(chunk)
  }
}
