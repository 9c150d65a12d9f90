// Statistics against tables, brute force and known distributions, all from seeds.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Prng } from '../../../src/core/prng.js'
import {
  ascending,
  bootstrap,
  deviation,
  holm,
  interval,
  lowMedian,
  mannWhitney,
  median,
  normalTail,
  quantile,
} from '../../../src/gate/stats.js'
import { normals } from './synthetic.js'

describe('quantiles', () => {
  it('interpolate between neighbours', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5)
    expect(quantile([10, 20, 30], 0.95)).toBeCloseTo(29)
    expect(quantile([7], 0.1)).toBe(7)
    expect(quantile([], 0.5)).toBeNaN()
  })

  it('have a lower median that was really there', () => {
    expect(lowMedian([4, 1, 3, 2])).toBe(2)
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), values => {
        expect(values).toContain(lowMedian(values))
      }),
    )
  })
})

describe('the tail of the normal distribution', () => {
  it.each([
    [0, 0.5],
    [1, 0.158655253931457],
    [1.959963984540054, 0.025],
    [3, 0.001349898031630095],
    [3.5, 0.000232629079035525],
    [6, 9.865876450376946e-10],
    [-1, 0.841344746068543],
  ])('beyond %f is %f', (z, share) => {
    expect(normalTail(z) / share).toBeCloseTo(1, 9)
  })
})

describe('Mann-Whitney', () => {
  it('knows the exact table', () => {
    // 5 against 5, wholly apart: 2 of the 252 orders
    expect(mannWhitney([6, 7, 8, 9, 10], [1, 2, 3, 4, 5])).toEqual({ u: 25, p: 2 / 252 })
    // critical values at 5 %, two-sided: U of 23 for 10 and 10
    const low = (u: number) => {
      const b = Array.from({ length: 10 }, (_, i) => i * 2)
      // values of a, one for each gap: a[i] stands above `wins[i]` of b
      const wins = Array.from({ length: 10 }, (_, i) =>
        Math.min(10, Math.max(0, Math.floor((u + i) / 10))),
      )
      return mannWhitney(
        wins.map((w, i) => w * 2 - 1 + i * 0.01),
        b,
      )
    }
    expect(low(23).u).toBe(23)
    expect(low(23).p).toBeLessThan(0.05)
    expect(low(24).p).toBeGreaterThan(0.05)
  })

  it('counts every order', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 3, maxLength: 8 }),
        fc.integer({ min: 1, max: 4 }),
        (values, want) => {
          const n = Math.min(want, values.length - 1)
          const uOf = (chosen: readonly number[]): number => {
            const rest = values.filter(v => !chosen.includes(v))
            return chosen.reduce((s, a) => s + rest.filter(b => a > b).length, 0)
          }
          const chosen = values.slice(0, n)
          const all = combinations(values, n).map(uOf)
          const most = n * (values.length - n)
          const u = uOf(chosen)
          const extreme = Math.min(u, most - u)
          const p = Math.min(1, (2 * all.filter(x => x <= extreme).length) / all.length)
          const test = mannWhitney(chosen, values.slice(n))
          expect(test.u).toBe(u)
          expect(test.p).toBeCloseTo(p, 12)
        },
      ),
      { numRuns: 60, seed: 7 },
    )
  })

  it('finds a shift and no other thing', () => {
    const a = normals(1, 30, 100, 5)
    expect(
      mannWhitney(
        a,
        a.map(x => x - 8),
      ).p,
    ).toBeLessThan(0.001)
    expect(mannWhitney(a, normals(2, 30, 100, 5)).p).toBeGreaterThan(0.05)
    expect(mannWhitney([1, 1, 1], [1, 1, 1])).toEqual({ u: 4.5, p: 1 })
    expect(mannWhitney([], [1]).p).toBe(1)
  })

  it('calls true equals different in about 5 of 100', () => {
    let wrong = 0
    for (let i = 0; i < 400; i++)
      if (mannWhitney(normals(i, 12, 0, 1), normals(i + 10_000, 12, 0, 1)).p < 0.05) wrong++
    expect(wrong).toBeGreaterThan(6)
    expect(wrong).toBeLessThan(36)
  })
})

describe('the bootstrap', () => {
  const middle = (values: readonly number[]) => (chosen: Int32Array) =>
    median(Array.from(chosen, i => values[i]))

  it('repeats from its seed', () => {
    const values = normals(3, 12, 50, 4)
    const once = bootstrap([12], middle(values), 300, 9)
    expect([...bootstrap([12], middle(values), 300, 9)]).toEqual([...once])
    expect([...bootstrap([12], middle(values), 300, 10)]).not.toEqual([...once])
  })

  it('has an interval that holds the true median in about 95 of 100', () => {
    let held = 0
    for (let i = 0; i < 200; i++) {
      const { lo, hi } = interval(bootstrap([15], middle(normals(i, 15, 50, 4)), 400, i), 0.95)
      if (lo <= 50 && hi >= 50) held++
    }
    expect(held).toBeGreaterThan(178)
  })

  it('resamples groups for themselves', () => {
    const sums = bootstrap([2, 3], (a, b) => a.length * 10 + b.length, 5, 1)
    expect([...sums]).toEqual([23, 23, 23, 23, 23])
  })
})

describe('Holm', () => {
  it('steps down', () => {
    expect(holm([0.01, 0.04, 0.03, 0.005], 0.05)).toEqual([true, false, false, true])
    expect(holm([], 0.05)).toEqual([])
  })

  it('finds no less than Bonferroni and no more than one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true })), p => {
        const found = holm(p, 0.05)
        p.forEach((value, i) => {
          if (value <= 0.05 / p.length) expect(found[i]).toBe(true)
          if (found[i]) expect(value).toBeLessThanOrEqual(0.05)
        })
      }),
    )
  })
})

it('deviation is that of a sample', () => {
  expect(deviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(2.138089935, 8)
  expect(deviation([3])).toBe(0)
  expect(ascending([3, 1, 2])).toEqual([1, 2, 3])
  expect(new Prng(1).unit()).toBeLessThan(1)
})

function combinations(values: readonly number[], n: number): number[][] {
  if (n === 0) return [[]]
  return values.flatMap((v, i) =>
    combinations(values.slice(i + 1), n - 1).map(rest => [v, ...rest]),
  )
}
