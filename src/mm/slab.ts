// Memory of an emulated kernel: mm/slab.c of Linux 4.19, as far as its callers see it.
//
//   kzalloc     zeroed, at a multiple of the size class (pages and above: of a page)
//   kfree       back to the list of its class
//
// Size classes are powers of two from two cache lines on, because most of what is allocated are blocks that several
// CPUs write (layout.ts). Nothing is given back to the machine.

import { LINE_PAIR, PAGE_SIZE } from '../../assembly/layout.js'
import type { View } from '../core/view.js'

/** The free memory of one kernel. */
export class Slab {
  readonly #view: View
  readonly #end: number
  readonly #free: Map<number, number[]> = new Map()
  readonly #sizes: Map<number, number> = new Map()
  #next: number

  /** @param at the first byte of `bytes` zeroed bytes, page aligned */
  constructor(view: View, at: number, bytes: number) {
    this.#view = view
    this.#next = at
    this.#end = at + bytes
  }

  /** Address of so many zeroed bytes; 0 when there is no room. */
  kzalloc(bytes: number): number {
    const size = size_class(bytes)
    const again = this.#free.get(size)?.pop()
    if (again !== undefined) {
      this.#sizes.set(again, size)
      this.#view.fill(again, size, 0)
      return again
    }
    const align = Math.min(size, PAGE_SIZE)
    const at = Math.ceil(this.#next / align) * align
    if (at + size > this.#end) return 0
    this.#next = at + size
    this.#sizes.set(at, size)
    return at
  }

  /** Gives memory back; 0 is nothing. @throws Error for an address that was not allocated */
  kfree(at: number): void {
    if (at === 0) return
    const size = this.#sizes.get(at)
    if (size === undefined) throw new Error(`kfree: ${at} was not allocated`)
    this.#sizes.delete(at)
    const list = this.#free.get(size)
    if (list) list.push(at)
    else this.#free.set(size, [at])
  }

  /** Bytes handed out. */
  get used(): number {
    let sum = 0
    for (const size of this.#sizes.values()) sum += size
    return sum
  }
}

function size_class(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(bytes, LINE_PAIR)))
}
