// One shared WebAssembly memory holds the whole computer. A plan hands out its regions from the bottom up before the
// memory exists; then the memory is made exactly as large as the plan, and never grows.
//
//   0          the compiler's constant data
//   64 KiB     PLAN_BASE: the machine block, CPUs, queues, jobs, buffers, ...
//   ...        pages of the data stores
//   <= 4 GiB   minus one wasm page, so that an end address still fits a u32
//
// Addresses are plain numbers and may pass 4 GiB while planning: fits() is asked at the end, when the
// size of everything is known and an error can name what is too big.

import { LINE_PAIR, PLAN_BASE } from '../../assembly/layout.js'
import { UserError } from './errors.js'

const WASM_PAGE = 65536

/** The largest memory a plan may need, bytes. */
export const MEMORY_LIMIT: number = 65535 * WASM_PAGE

/** A part of the memory. */
export interface Region {
  /** What the user would call it, such as `queues of nvme0n1`. */
  readonly owner: string
  readonly name: string
  readonly address: number
  readonly bytes: number
}

/** Rounds up to a multiple of a power of two. */
export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align
}

/** Bytes as a person writes them. */
export function formatBytes(bytes: number): string {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${Math.round((bytes / size) * 10) / 10} ${unit}`
  }
  return `${bytes} bytes`
}

/** Hands out regions, one after another. */
export class MemoryPlan {
  readonly regions: Region[] = []
  #end = PLAN_BASE

  /** Address of a new region; it begins at a multiple of `align` (a power of two). */
  take(owner: string, name: string, bytes: number, align: number = LINE_PAIR): number {
    const address = alignUp(this.#end, align)
    this.regions.push({ owner, name, address, bytes })
    this.#end = address + bytes
    return address
  }

  /** First byte after the last region. */
  get end(): number {
    return this.#end
  }

  /** Bytes by owner, largest first. */
  owners(): [owner: string, bytes: number][] {
    const sums = new Map<string, number>()
    for (const r of this.regions) sums.set(r.owner, (sums.get(r.owner) ?? 0) + r.bytes)
    return [...sums].sort((a, b) => b[1] - a[1])
  }

  /**
   * Checks that everything fits with `reserve` more bytes behind it.
   * @throws UserError that names the three largest parts
   */
  fits(reserve: number): void {
    if (this.#end + reserve <= MEMORY_LIMIT) return
    const parts = this.owners()
      .slice(0, 3)
      .map(([owner, bytes]) => `${owner} ${formatBytes(bytes)}`)
    const need = formatBytes(this.#end + reserve)
    throw new UserError(
      `the machine needs ${need} of memory and can have 4 GiB: ${parts.join(', ')}`,
    )
  }
}

/**
 * The memory of a finished plan.
 * @throws UserError when the host refuses so much
 */
export function createMemory(bytes: number): WebAssembly.Memory {
  const pages = Math.max(16, Math.ceil(bytes / WASM_PAGE))
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new UserError(
      `this host does not give ${formatBytes(pages * WASM_PAGE)} of memory; lower mem=`,
    )
  }
}
