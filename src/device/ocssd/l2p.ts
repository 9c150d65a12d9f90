// The table of a device of revision 1.2 that keeps one (bit 0 of dom): which sector of the flash holds which logical one.
// Hybrid writes (81h) say what they are about; the host reads the table back with EAh after it has come up.
//
// A sector's entry goes when its block is erased. A write that power loss interrupts was never there: the entry is again
// what it was before, if that is still on the flash.

/** Of a sector of the flash that holds nothing of the table's. */
const NONE = -1

export class L2pTable {
  readonly #clba: number
  /** Sector of the flash (chunk * clba + sector) by logical sector. */
  readonly #map: Map<number, number> = new Map()
  /** By chunk: for each sector the logical one that was written there, and where that had been before. */
  readonly #owners: Map<number, Float64Array> = new Map()

  constructor(clba: number) {
    this.#clba = clba
  }

  /** Sector of the flash that holds a logical one, or -1. */
  find(lba: number): number {
    return this.#map.get(lba) ?? NONE
  }

  /** A logical sector was written. */
  set(lba: number, chunk: number, sector: number): void {
    let owners = this.#owners.get(chunk)
    if (owners === undefined) {
      owners = new Float64Array(2 * this.#clba).fill(NONE)
      this.#owners.set(chunk, owners)
    }
    owners[2 * sector] = lba
    owners[2 * sector + 1] = this.find(lba)
    this.#map.set(lba, chunk * this.#clba + sector)
  }

  /** A block is erased. */
  erase(chunk: number): void {
    const owners = this.#owners.get(chunk)
    if (owners === undefined) return
    this.#owners.delete(chunk)
    for (let sector = 0; sector < this.#clba; sector++) {
      const lba = owners[2 * sector]
      if (lba !== NONE && this.find(lba) === chunk * this.#clba + sector) this.#map.delete(lba)
    }
  }

  /** A write has not happened after all. Called from the last one back. */
  undo(chunk: number, sector: number): void {
    const owners = this.#owners.get(chunk)
    const lba = owners?.[2 * sector] ?? NONE
    if (owners === undefined || lba === NONE) return
    const before = owners[2 * sector + 1]
    owners.fill(NONE, 2 * sector, 2 * sector + 2)
    if (this.find(lba) !== chunk * this.#clba + sector) return
    if (before !== NONE && this.#holder(before) === lba) this.#map.set(lba, before)
    else this.#map.delete(lba)
  }

  #holder(place: number): number {
    const owners = this.#owners.get(Math.floor(place / this.#clba))
    return owners?.[2 * (place % this.#clba)] ?? NONE
  }
}
