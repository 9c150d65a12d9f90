// The controller's view of its data store: bytes at places, copied between pieces of host memory and the core's sparse pages
// (assembly/store.ts). A store that is 0 keeps nothing and reads as zeroes.

import { PAGE_SIZE, ST_DIR } from '../../../assembly/layout.js'
import type { View } from '../../core/view.js'
import type { Core } from '../../core/wasm.js'
import type { Piece } from './dma.js'

const LEAF_BYTES = 2 ** 22

export class Medium {
  readonly #core: Core
  readonly #view: View
  readonly #store: number

  constructor(core: Core, view: View, store: number) {
    this.#core = core
    this.#view = view
    this.#store = store
  }

  /** The page that holds byte `at`; 0 = it is not there and reads as zeroes. */
  #find(at: number): number {
    const view = this.#view
    const dir = view.u32(this.#store + ST_DIR)
    const leaf = view.u32(dir + Math.floor(at / LEAF_BYTES) * 4)
    return leaf === 0 ? 0 : view.u32(leaf + Math.floor((at % LEAF_BYTES) / PAGE_SIZE) * 4)
  }

  read(at: number, bytes: number): Uint8Array {
    const data = new Uint8Array(bytes)
    if (!this.#store) return data
    for (let done = 0; done < bytes; ) {
      const offset = (at + done) % PAGE_SIZE
      const part = Math.min(bytes - done, PAGE_SIZE - offset)
      const page = this.#find(at + done)
      if (page) data.set(this.#view.bytes.subarray(page + offset, page + offset + part), done)
      done += part
    }
    return data
  }

  /** False when the budget of the stores is spent; the pages before that are written. */
  write(at: number, data: Uint8Array): boolean {
    if (!this.#store) return true
    for (let done = 0; done < data.length; ) {
      const offset = (at + done) % PAGE_SIZE
      const part = Math.min(data.length - done, PAGE_SIZE - offset)
      const page = this.#core.dev_page(this.#store, at + done) >>> 0
      if (!page) return false
      this.#view.bytes.set(data.subarray(done, done + part), page + offset)
      done += part
    }
    return true
  }

  zero(at: number, bytes: number): void {
    if (this.#store) this.#core.dev_zero(this.#store, at, bytes)
  }

  /** From the store to host memory. */
  copyOut(at: number, pieces: readonly Piece[]): void {
    let done = 0
    for (const piece of pieces) {
      if (piece.at !== 0) this.#out(at + done, piece)
      done += piece.bytes
    }
  }

  #out(at: number, piece: Piece): void {
    if (this.#store) this.#core.dev_read(this.#store, at, piece.at, piece.bytes)
  }

  /** From host memory to the store; false when the budget is spent. */
  copyIn(at: number, pieces: readonly Piece[]): boolean {
    let done = 0
    for (const piece of pieces) {
      if (
        this.#store &&
        this.#core.dev_write(this.#store, at + done, piece.at, piece.bytes) !== piece.bytes
      )
        return false
      done += piece.bytes
    }
    return true
  }
}
