// Running statistics: one at a time, from sums, from a list and in two halves give the same series.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { emptyStat, fromSamples, fromSums, type RunningStat } from '../../../src/report/result.js'
import { addSample, addStat, stddev, sumSamples } from '../../../src/report/stat.js'

const samples = fc.array(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 40 })

function oneByOne(values: readonly number[]): RunningStat {
  const stat = emptyStat()
  for (const value of values) addSample(stat, value)
  return stat
}

function expectSame(a: RunningStat, b: RunningStat): void {
  expect([a.n, a.min, a.max]).toEqual([b.n, b.min, b.max])
  expect(a.mean).toBeCloseTo(b.mean, 6)
  expect(Math.abs(a.m2 - b.m2)).toBeLessThanOrEqual(1e-9 * (b.m2 + b.n * b.mean ** 2) + 1e-9)
}

describe('four ways to the same series', () => {
  test('one by one, a list, running sums, two halves', () => {
    fc.assert(
      fc.property(samples, samples, (first, second) => {
        const all = [...first, ...second]
        const whole = fromSamples(all)
        expectSame(oneByOne(all), whole)
        const sum = all.reduce((a, b) => a + b, 0)
        const squares = all.reduce((a, b) => a + b * b, 0)
        expectSame(fromSums(all.length, Math.min(...all), Math.max(...all), sum, squares), whole)
        const halves = oneByOne(first)
        addStat(halves, oneByOne(second))
        expectSame(halves, whole)
      }),
    )
  })

  test('the deviation is that of a sample', () => {
    expect(stddev(fromSamples([2, 4, 4, 4, 5, 5, 7, 9]))).toBeCloseTo(Math.sqrt(32 / 7), 12)
    expect(stddev(fromSamples([3]))).toBe(0)
  })
})

test('rates side by side add up', () => {
  const sum = fromSamples([100, 200])
  sumSamples(sum, fromSamples([10, 30]))
  expect(sum).toMatchObject({ n: 4, min: 110, max: 230, mean: 170 })
})
