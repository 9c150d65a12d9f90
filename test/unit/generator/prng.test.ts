import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PLAN_BASE } from '../../../assembly/layout.js'
import { mix64, Prng } from '../../../src/core/prng.js'
import { instantiate } from './core.js'

const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true })
const core = instantiate(memory)
const words = new Uint32Array(memory.buffer)

/** Puts the state of a generator into the core's memory. */
function share(prng: Prng): number {
  words.set(prng.state, PLAN_BASE / 4)
  return PLAN_BASE
}

function join([low, high]: readonly [number, number]): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}

describe('prng', () => {
  it('is xoroshiro128++: the published first outputs for the state 1, 2', () => {
    const prng = new Prng(0)
    prng.state.set([1, 0, 2, 0])
    const at = share(prng)
    // rotl(1 + 2, 17) + 1, worked out by hand
    expect(BigInt.asUintN(64, core.prng_next(at))).toBe(393217n)
    expect(join(prng.next())).toBe(393217n)
  })

  it('draws the same numbers in JavaScript and in the core', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(9), (seed, stream) => {
        const prng = new Prng(seed, stream)
        const at = share(prng)
        for (let i = 0; i < 20; i++) {
          expect(join(prng.next())).toBe(BigInt.asUintN(64, core.prng_next(at)))
        }
        expect(prng.unit()).toBe(core.prng_unit(at))
        expect([...words.subarray(at / 4, at / 4 + 4)]).toEqual([...prng.state])
      }),
    )
  })

  it('draws the same numbers below a bound', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.oneof(fc.integer({ min: 1, max: 2 ** 25 }), fc.maxSafeNat()),
        (seed, n) => {
          const prng = new Prng(seed)
          const at = share(prng)
          const bound = Math.max(1, n)
          for (let i = 0; i < 5; i++) {
            const drawn = prng.below(bound)
            expect(drawn).toBeLessThan(bound)
            expect(BigInt(drawn)).toBe(core.prng_below(at, BigInt(bound)))
          }
        },
      ),
    )
  })

  it('spreads numbers evenly below a bound of any size', () => {
    for (const n of [10, 2 ** 24 + 10, 2 ** 45]) {
      const prng = new Prng(7)
      const counts = new Array<number>(10).fill(0)
      for (let i = 0; i < 20_000; i++) counts[Math.floor((prng.below(n) / n) * 10)]!++
      for (const c of counts) expect(Math.abs(c - 2000)).toBeLessThan(200)
    }
  })

  it('mixes alike in both', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), x => {
        expect(BigInt.asUintN(64, core.mix64(x))).toBe(mix64(x))
      }),
    )
  })

  it('gives neighbouring seeds and streams different states', () => {
    const states = new Set<string>()
    for (let seed = 0; seed < 50; seed++) {
      for (let stream = 0; stream < 10; stream++) states.add(new Prng(seed, stream).state.join())
    }
    expect(states.size).toBe(500)
  })
})
