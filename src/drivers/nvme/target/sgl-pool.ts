// Memory for the data of commands: a buddy allocator over one piece of the machine's memory (Linux: sgl_alloc, whose
// memory is the kernel's). Its size bounds what all connections together can make the target hold.
//
// Blocks are 4 KiB times a power of two. Who finds none leaves a function that is called when something was given back,
// in the order of asking. Single pages that come back are kept apart, some of them, without looking for their buddies
// (Linux's lists of pages for each CPU): most commands want one.

import { PAGE_SIZE } from '../../../../assembly/layout.js'

/** Single pages that are kept apart, at most. */
const PAGES_KEPT = 128

/** Hands out buffers of the machine's memory. */
export class sgl_pool {
  readonly bytes: number
  readonly #base: number
  readonly #orders: number
  /** Free blocks by order: offsets in pages. */
  readonly #free: Set<number>[]
  readonly #pages: number[] = []
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
    return PAGE_SIZE * (1 << this.#order(bytes))
  }

  #order(bytes: number): number {
    return bytes <= PAGE_SIZE ? 0 : 32 - Math.clz32(Math.ceil(bytes / PAGE_SIZE) - 1)
  }

  /** Address of a buffer, 0 when there is none now. */
  alloc(bytes: number): number {
    const order = this.#order(bytes)
    const kept = order === 0 ? this.#pages.pop() : undefined
    const page = kept ?? this.#split(order) ?? this.#splitAll(order)
    if (page === undefined) return 0
    this.#used += PAGE_SIZE * (1 << order)
    return this.#base + page * PAGE_SIZE
  }

  /** A block of an order, cut out of the smallest that there is. */
  #split(order: number): number | undefined {
    let at = order
    while (at <= this.#orders && this.#free[at]!.size === 0) at++
    if (at > this.#orders) return undefined
    const page = this.#free[at]!.values().next().value as number
    this.#free[at]!.delete(page)
    while (at > order) this.#free[--at]!.add(page + (1 << at))
    return page
  }

  /** The same after the pages that are kept apart have joined their buddies. */
  #splitAll(order: number): number | undefined {
    for (const page of this.#pages.splice(0)) this.#join(page, 0)
    return this.#split(order)
  }

  /** `bytes` as it was asked for. */
  free(address: number, bytes: number): void {
    const order = this.#order(bytes)
    const page = (address - this.#base) / PAGE_SIZE
    this.#used -= PAGE_SIZE * (1 << order)
    if (order === 0 && this.#pages.length < PAGES_KEPT) this.#pages.push(page)
    else this.#join(page, order)
    if (this.#waiting.length > 0) this.#wake()
  }

  #join(first: number, smallest: number): void {
    let page = first
    let order = smallest
    for (; order < this.#orders; order++) {
      const size = 1 << order
      const buddy = page % (2 * size) === 0 ? page + size : page - size
      if (!this.#free[order]!.delete(buddy)) break
      page = Math.min(page, buddy)
    }
    this.#free[order]!.add(page)
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
