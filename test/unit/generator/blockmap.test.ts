// The bitmap of mixed block sizes against a plain array, with one, two, three and four levels.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PLAN_BASE } from '../../../assembly/layout.js'
import { Prng } from '../../../src/core/prng.js'
import { instantiate } from './core.js'

const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true })
const core = instantiate(memory)
const MAP = PLAN_BASE
const NONE = 2n ** 64n - 1n

function nextFree(n: number, from: number): number | null {
  const block = BigInt.asUintN(64, core.blockmap_next_free(MAP, BigInt(n), BigInt(from)))
  return block === NONE ? null : Number(block)
}

function take(n: number, from: number, want: number): number {
  return Number(core.blockmap_take(MAP, BigInt(n), BigInt(from), BigInt(want)))
}

/** The same in an array. */
class Model {
  readonly taken: Uint8Array

  constructor(n: number) {
    this.taken = new Uint8Array(n)
  }

  nextFree(from: number): number | null {
    const after = this.taken.indexOf(0, from)
    const block = after >= 0 ? after : this.taken.indexOf(0)
    return block >= 0 ? block : null
  }

  take(from: number, want: number): number {
    let got = 0
    while (got < want && this.taken[from + got] === 0) this.taken[from + got++] = 1
    return got
  }
}

describe('blockmap', () => {
  it('finds and takes what the model does, until all are taken', () => {
    const size = fc.oneof(
      fc.constantFrom(1, 63, 64, 65, 4096, 4097),
      fc.integer({ min: 1, max: 9000 }),
    )
    fc.assert(
      fc.property(size, fc.integer({ min: 1, max: 200 }), fc.nat(), (n, most, seed) => {
        const model = new Model(n)
        const prng = new Prng(seed)
        core.blockmap_clear(MAP, BigInt(n))
        for (;;) {
          const from = prng.below(n)
          const free = nextFree(n, from)
          if (free !== model.nextFree(from)) expect.fail(`from ${from} of ${n}: ${free}`)
          if (free === null) break
          const want = 1 + prng.below(most)
          const got = take(n, free, want)
          if (got !== model.take(free, want)) expect.fail(`${got} of ${want} at ${free}`)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('finds the last free block of 300,000', () => {
    const n = 300_000
    const left = 270_001
    core.blockmap_clear(MAP, BigInt(n))
    expect(take(n, 0, left)).toBe(left)
    expect(take(n, left + 1, n)).toBe(n - left - 1)
    for (const from of [0, left, left + 1, n - 1]) expect(nextFree(n, from)).toBe(left)
    expect(take(n, left, 5)).toBe(1)
    expect(nextFree(n, 0)).toBeNull()
    core.blockmap_clear(MAP, BigInt(n))
    expect(nextFree(n, 123)).toBe(123)
  })
})
