// The volatile write cache, by what can be lost of it: for every block that was written since it was last made durable, what
// was there before. Losing power puts that back; a flush, a write with FUA, or a cache that is switched off makes it durable.
//
// A block is old or new after a power loss, never in between. Nothing is kept where the controller is not told to track
// (trackCache): then writes are durable at once.

import type { Medium } from './medium.js'
import type { Namespace, Namespaces } from './namespaces.js'

interface Before {
  readonly ns: Namespace
  readonly lba: number
  readonly data: Uint8Array
  readonly metadata: Uint8Array | undefined
  readonly uncorrectable: boolean
}

export class WriteCache {
  enabled: boolean
  readonly #medium: Medium
  readonly #spaces: Namespaces
  /** By namespace, by block. */
  readonly #before = new Map<number, Map<number, Before>>()

  constructor(medium: Medium, spaces: Namespaces, enabled: boolean) {
    this.#medium = medium
    this.#spaces = spaces
    this.enabled = enabled
  }

  /** Blocks whose content would be lost now. */
  get dirty(): number {
    return [...this.#before.values()].reduce((sum, blocks) => sum + blocks.size, 0)
  }

  /** Blocks are about to change. */
  remember(ns: Namespace, slba: number, blocks: number): void {
    if (!this.enabled) return
    let known = this.#before.get(ns.nsid)
    if (!known) {
      known = new Map()
      this.#before.set(ns.nsid, known)
    }
    const size = 2 ** this.#spaces.shift(ns)
    for (let lba = slba; lba < slba + blocks; lba++) {
      if (known.has(lba)) continue
      known.set(lba, {
        ns,
        lba,
        data: this.#medium.read(ns.base + lba * size, size),
        metadata: ns.metadata.get(lba),
        uncorrectable: ns.uncorrectable.has(lba),
      })
    }
  }

  /** Blocks are durable: FUA. */
  commit(ns: Namespace, slba: number, blocks: number): void {
    const known = this.#before.get(ns.nsid)
    if (!known) return
    for (let lba = slba; lba < slba + blocks; lba++) known.delete(lba)
  }

  /** Everything of a namespace is durable, or of all (no argument). */
  flush(nsid?: number): void {
    if (nsid === undefined) this.#before.clear()
    else this.#before.delete(nsid)
  }

  /**
   * The power goes. Each block that was not made durable is what it was before, except those that `kept` names: a drive
   * may have written some of them.
   */
  lose(kept: (nsid: number, lba: number) => boolean): void {
    for (const known of this.#before.values()) {
      for (const { ns, lba, data, metadata, uncorrectable } of known.values()) {
        if (this.#spaces.list.get(ns.nsid) !== ns || kept(ns.nsid, lba)) continue
        this.#restore(ns.base + lba * data.length, data)
        if (metadata) ns.metadata.set(lba, metadata)
        else ns.metadata.delete(lba)
        if (uncorrectable) ns.uncorrectable.add(lba)
        else ns.uncorrectable.delete(lba)
      }
    }
    this.#before.clear()
    for (const nsid of this.#spaces.list.keys()) this.#spaces.update(nsid)
  }

  /** Zeroes take no page, and a page that is there may be written again without another one. */
  #restore(at: number, data: Uint8Array): void {
    if (data.every(byte => byte === 0)) this.#medium.zero(at, data.length)
    else if (!this.#medium.write(at, data)) throw new Error('no page for what was there before')
  }
}
