// The blocks of a device of revision 1.2: which sectors are written, and the bad-block tables.
//
// There are no states and no write pointers: a sector is free or full, an erase frees all sectors of a block over its
// planes. Pages are programmed in order: a page is begun when the one before it has been. The table of a LUN has a byte
// for each plane of each block (planes fastest): 0 good, 1 bad from the factory, 2 grown bad, 4 and 8 reserved. It is the
// host that marks blocks as grown bad; a block that is bad refuses to be erased.

import { type OcssdGeometry, punits } from './geometry.js'

export const BLOCK_GOOD = 0
export const BLOCK_FACTORY_BAD = 1
export const BLOCK_GROWN_BAD = 2

/** Header of a bad-block table: bytes before the first entry. */
export const TABLE_HEADER = 64

export class Blocks {
  readonly #geometry: OcssdGeometry
  readonly #written: Map<number, Uint8Array> = new Map()
  /** Pages begun, by block. */
  readonly #pages: Map<number, number> = new Map()
  readonly #tables: Uint8Array[]
  readonly erases: Uint32Array

  constructor(geometry: OcssdGeometry) {
    this.#geometry = geometry
    const { chunks, planes } = geometry
    this.#tables = Array.from({ length: punits(geometry) }, () => new Uint8Array(chunks * planes))
    this.erases = new Uint32Array(punits(geometry) * chunks)
  }

  #page(sector: number): number {
    return Math.floor(sector / (this.#geometry.planes * this.#geometry.pageSectors))
  }

  full(block: number, sector: number): boolean {
    return (this.#written.get(block)?.[sector] ?? 0) !== 0
  }

  /** Whether pages are programmed in order with this one. */
  inOrder(block: number, sector: number, begun: number): boolean {
    return this.#page(sector) <= Math.max(begun, this.#pages.get(block) ?? 0)
  }

  /** Pages of a block that are begun once a sector is written. */
  begunAfter(sector: number): number {
    return this.#page(sector) + 1
  }

  write(block: number, sector: number): void {
    let written = this.#written.get(block)
    if (written === undefined) {
      written = new Uint8Array(this.#geometry.clba)
      this.#written.set(block, written)
    }
    written[sector] = 1
    const begun = this.begunAfter(sector)
    if (begun > (this.#pages.get(block) ?? 0)) this.#pages.set(block, begun)
  }

  /** Takes back a write that power loss interrupted; the page stays begun. */
  unwrite(block: number, sector: number): void {
    const written = this.#written.get(block)
    if (written !== undefined) written[sector] = 0
  }

  erase(block: number): void {
    this.erases[block]++
    this.#written.delete(block)
    this.#pages.delete(block)
  }

  /** Whether any plane of a block is in the table. */
  bad(block: number): boolean {
    const { chunks, planes } = this.#geometry
    const from = (block % chunks) * planes
    const table = this.#tables[Math.floor(block / chunks)]
    return table.subarray(from, from + planes).some(type => type !== BLOCK_GOOD)
  }

  mark(lun: number, block: number, plane: number, type: number): void {
    this.#tables[lun][block * this.#geometry.planes + plane] = type
  }

  /** The table of a LUN with its header "BBLT". */
  table(lun: number): Uint8Array {
    const entries = this.#tables[lun]
    const bytes = new Uint8Array(TABLE_HEADER + entries.length)
    const view = new DataView(bytes.buffer)
    bytes.set([0x42, 0x42, 0x4c, 0x54])
    view.setUint16(4, 1, true)
    const count = (type: number): number => entries.reduce((n, e) => n + (e === type ? 1 : 0), 0)
    const totals = [entries.length, count(1), count(2), count(4), count(8)]
    for (const [i, total] of totals.entries()) view.setUint32(12 + 4 * i, total, true)
    bytes.set(entries, TABLE_HEADER)
    return bytes
  }
}
