// Memory for the data of commands: a buddy allocator over one piece of the machine's memory (Linux: sgl_alloc, whose
// memory is the kernel's). Its size bounds what all connections together can make the target hold.
//
// Blocks are 4 KiB times a power of two. Who finds none leaves a function that is called when something was given back,
// in the order of asking.

import { PAGE_SIZE } from '../../../../assembly/layout.js'

/** Hands out buffers of the machine's memory. */
export class sgl_pool {
  readonly bytes: number
  readonly #base: number
  readonly #orders: number
  /** Free blocks by order: offsets in pages. */
  readonly #free: Set<number>[]
  #used = 0
  readonly #waiting: (() => void)[] = []

  /** @param bytes a power of two, a page at least */
  constructor(base: number, bytes: number) {
    this.#base = base
    this.bytes = bytes
    this.#orders = Math.log2(bytes / PAGE_SIZE)
    this.#free = Array.from({ length: this.#orders + 1 }, () => new Set<number>())
    this.#free[this.#orders]!.add(0)
  }

  /** Bytes that are handed out. */
  get used(): number {
    return this.#used
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Bytes that a request for `bytes` really takes. */
  rounded(bytes: number): number {
    return PAGE_SIZE * 2 ** this.#order(bytes)
  }

  #order(bytes: number): number {
    return Math.max(0, Math.ceil(Math.log2(bytes / PAGE_SIZE)))
  }

  /** Address of a buffer, 0 when there is none now. */
  alloc(bytes: number): number {
    const order = this.#order(bytes)
    let at = order
    while (at <= this.#orders && this.#free[at]!.size === 0) at++
    if (at > this.#orders) return 0
    const page = this.#free[at]!.values().next().value as number
    this.#free[at]!.delete(page)
    while (at > order) this.#free[--at]!.add(page + 2 ** at)
    this.#used += PAGE_SIZE * 2 ** order
    return this.#base + page * PAGE_SIZE
  }

  /** `bytes` as it was asked for. */
  free(address: number, bytes: number): void {
    let order = this.#order(bytes)
    let page = (address - this.#base) / PAGE_SIZE
    this.#used -= PAGE_SIZE * 2 ** order
    for (; order < this.#orders; order++) {
      const size = 2 ** order
      const buddy = page % (2 * size) === 0 ? page + size : page - size
      if (!this.#free[order]!.delete(buddy)) break
      page = Math.min(page, buddy)
    }
    this.#free[order]!.add(page)
    this.#wake()
  }

  /** Calls once, when something was given back. */
  wait(fn: () => void): void {
    this.#waiting.push(fn)
  }

  /** Those who asked first are called first; who still finds nothing asks again. */
  #wake(): void {
    for (const fn of this.#waiting.splice(0)) fn()
  }
}
