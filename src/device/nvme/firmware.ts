// Firmware: images come in pieces, are committed to one of seven slots, and become active.
//
//   download   pieces at dword offsets; two that overlap are refused
//   commit     0 into the slot; 1 into the slot, active at the next reset; 2 the slot, active at the next reset;
//              3 the slot (or what was downloaded), active at once: CSTS.PP stands while that lasts
//
// An image is taken for one if it begins with eight printable characters: its revision.

import { Bytes } from './bytes.js'
import { type Command, type Done, OK, refuse } from './command.js'
import type { Dma } from './dma.js'
import { FIRMWARE_IMAGE, FIRMWARE_SLOT, INVALID_FIELD, OVERLAPPING_RANGE } from './spec.js'

const SLOTS = 7
/** Largest image, bytes. */
const MOST = 16 * 2 ** 20

export class Firmware {
  readonly #dma: Dma
  readonly #slots: (string | undefined)[]
  #active = 1
  #next = 0
  #pieces: { readonly at: number; readonly data: Uint8Array }[] = []

  constructor(dma: Dma, revision: string) {
    this.#dma = dma
    this.#slots = [undefined, revision]
  }

  /** The revision that runs. */
  get revision(): string {
    return this.#slots[this.#active]!
  }

  /** A reset: the slot that was chosen becomes active. */
  reset(): void {
    if (this.#next !== 0) this.#active = this.#next
    this.#next = 0
    this.#pieces = []
  }

  /** Firmware Image Download. */
  download(c: Command): Done {
    const bytes = (c.cdw(10) + 1) * 4
    const at = c.cdw(11) * 4
    if (at + bytes > MOST) return refuse(INVALID_FIELD)
    if (this.#pieces.some(p => at < p.at + p.data.length && p.at < at + bytes))
      return refuse(OVERLAPPING_RANGE)
    const data = this.#dma.fetch(c, bytes)
    if (typeof data === 'number') return { status: data }
    this.#pieces.push({ at, data })
    return OK
  }

  /** Firmware Commit; `activate` is called when the slot is to be active at once. */
  commit(c: Command, activate: (slot: number) => Done): Done {
    const action = (c.cdw(10) >>> 3) & 7
    const slot = c.cdw(10) & 7 || this.#free()
    if (action > 3) return refuse(INVALID_FIELD)
    if (slot > SLOTS) return refuse(FIRMWARE_SLOT)
    const downloaded = this.#pieces.length > 0
    if (action < 2 || (action === 3 && downloaded)) {
      const revision = this.#image()
      if (revision === undefined) return refuse(FIRMWARE_IMAGE)
      this.#slots[slot] = revision
      this.#pieces = []
    }
    if (action !== 0 && this.#slots[slot] === undefined) return refuse(FIRMWARE_IMAGE)
    if (action === 3) return activate(slot)
    if (action !== 0) this.#next = slot
    return OK
  }

  /** The slot runs from now on. */
  activate(slot: number): void {
    this.#active = slot
    this.#next = 0
  }

  /** Slot 0 lets the controller choose: one that is empty, or the one behind the active one. */
  #free(): number {
    for (let slot = 1; slot <= SLOTS; slot++) if (this.#slots[slot] === undefined) return slot
    return (this.#active % SLOTS) + 1
  }

  /** The revision of what was downloaded; undefined when it has holes or is no image. */
  #image(): string | undefined {
    const pieces = [...this.#pieces].sort((a, b) => a.at - b.at)
    let end = 0
    for (const { at, data } of pieces) {
      if (at !== end) return undefined
      end += data.length
    }
    const head = pieces.flatMap(({ data }) => [...data.subarray(0, 8)]).slice(0, 8)
    if (head.length < 8 || head.some(x => x < 0x20 || x > 0x7e)) return undefined
    return String.fromCharCode(...head)
  }

  /** Firmware Slot Information. */
  page(): Bytes {
    const b = new Bytes(512)
    b.u8(0, this.#active | (this.#next << 4))
    for (let slot = 1; slot <= SLOTS; slot++) {
      const revision = this.#slots[slot]
      if (revision !== undefined) b.text(8 * slot, 8, revision)
    }
    return b
  }
}
