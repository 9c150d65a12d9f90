// The histogram against a slow model: buckets as a list of ranges, percentiles from sorted samples.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addLatency,
  bucketIndex,
  bucketValue,
  countShare,
  emptyShares,
  filledBuckets,
  newLatency,
  percentiles,
  sharesFromBuckets,
} from '../../../src/report/histogram.js'
import { HISTOGRAM_BUCKETS } from '../../../src/report/result.js'
import { addSample, stddev } from '../../../src/report/stat.js'
import { latencyOf } from './synthetic.js'

/** First value of each bucket: 128 of width 1, then 64 of each width 2, 4, 8 ... */
function bucketStarts(): bigint[] {
  const starts: bigint[] = []
  let next = 0n
  for (let i = 0; i < HISTOGRAM_BUCKETS; i++) {
    starts.push(next)
    next += i < 128 ? 1n : 2n ** BigInt(Math.floor(i / 64) - 1)
  }
  return starts
}

const STARTS = bucketStarts()

function slowIndex(value: number): number {
  return STARTS.findLastIndex(start => start <= BigInt(value))
}

const nanoseconds = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  fc.maxSafeNat(),
)

describe('buckets (fio-json-schema histogram)', () => {
  test('index is the model range that holds the value', () => {
    fc.assert(
      fc.property(nanoseconds, v => {
        expect(bucketIndex(v)).toBe(slowIndex(v))
      }),
    )
  })

  test('every bucket begins and ends where the model says, and maps back to itself', () => {
    STARTS.forEach((start, i) => {
      expect(bucketIndex(Number(start))).toBe(i)
      if (i > 0) expect(bucketIndex(Number(start) - 1)).toBe(i - 1)
      expect(bucketIndex(bucketValue(i))).toBe(i)
    })
  })

  test('the value is the truncated middle of the range', () => {
    for (let i = 128; i < HISTOGRAM_BUCKETS - 1; i++) {
      const middle = (STARTS[i] + STARTS[i + 1]) / 2n
      expect(bucketValue(i)).toBe(Number(middle))
    }
  })

  test('the relative error is at most 1/128 below the last bucket', () => {
    const top = Number(STARTS.at(-1))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 }), v => {
        fc.pre(v < top)
        expect(Math.abs(bucketValue(bucketIndex(v)) - v) / v).toBeLessThanOrEqual(1 / 128)
      }),
    )
  })
})

describe('percentiles', () => {
  const samples = fc.array(nanoseconds, { minLength: 1, maxLength: 200 })
  const lists = fc.array(fc.double({ min: 0.01, max: 100, noNaN: true }), {
    minLength: 1,
    maxLength: 20,
  })

  test('are the bucket of the sample at that rank', () => {
    fc.assert(
      fc.property(samples, lists, (values, list) => {
        const sorted = values.map(bucketIndex).sort((a, b) => a - b)
        const table = percentiles(latencyOf(values).buckets!, list)
        expect(table.map(p => p.percent)).toEqual([...list].sort((a, b) => a - b))
        for (const { percent, ns } of table) {
          const rank = sorted.findIndex((_, i) => i + 1 >= (percent / 100) * values.length)
          expect(ns).toBe(bucketValue(sorted[rank]))
        }
      }),
    )
  })

  test('of nothing recorded are the first bucket, and an empty list gives an empty table', () => {
    expect(percentiles(newLatency().buckets!, [])).toEqual([])
  })
})

describe('adding', () => {
  const samples = fc.array(nanoseconds, { maxLength: 60 })

  test('two latencies equals recording all samples in one', () => {
    fc.assert(
      fc.property(samples, samples, (a, b) => {
        const sum = latencyOf(a)
        addLatency(sum, latencyOf(b))
        const whole = latencyOf([...a, ...b])
        expect(sum.n).toBe(whole.n)
        expect([sum.min, sum.max]).toEqual([whole.min, whole.max])
        expect(sum.buckets).toEqual(whole.buckets)
        const scale = Math.max(1, whole.max)
        expect(Math.abs(sum.mean - whole.mean) / scale).toBeLessThan(1e-12)
        expect(Math.abs(stddev(sum) - stddev(whole)) / scale).toBeLessThan(1e-6)
      }),
      { numRuns: 40 },
    )
  })

  test('a side that has samples but no histogram leaves none', () => {
    const counted = latencyOf([5, 6])
    const bare = { n: 0, min: 0, max: 0, mean: 0, m2: 0 }
    addSample(bare, 7)
    addLatency(counted, bare)
    expect(counted.n).toBe(3)
    expect(counted.buckets).toBeUndefined()
    addLatency(counted, latencyOf([1]))
    expect(counted.buckets).toBeUndefined()
  })

  test('nothing changes nothing', () => {
    const latency = latencyOf([5, 6])
    addLatency(latency, newLatency())
    expect(filledBuckets(latency.buckets!)).toEqual([
      [5, 1],
      [6, 1],
    ])
  })
})

describe('latency shares', () => {
  test.each([
    [0, 'ns', 0],
    [1, 'ns', 0],
    [2, 'ns', 1],
    [749, 'ns', 8],
    [999, 'ns', 9],
    [1000, 'us', 0],
    [1999, 'us', 0],
    [2000, 'us', 1],
    [999_999, 'us', 9],
    [1_000_000, 'ms', 0],
    [1_999_999_999, 'ms', 10],
    [2_000_000_000, 'ms', 11],
  ] as const)('%d ns counts in %s class %d', (ns, scale, index) => {
    const shares = emptyShares()
    countShare(shares, ns, 3)
    const expected = emptyShares()
    expected[scale][index] = 3
    expect(shares).toEqual(expected)
  })

  test('read off histograms, they add up to the number of samples', () => {
    fc.assert(
      fc.property(fc.array(nanoseconds, { maxLength: 50 }), values => {
        const { ns, us, ms } = sharesFromBuckets([latencyOf(values).buckets!])
        expect([...ns, ...us, ...ms].reduce((a, b) => a + b, 0)).toBe(values.length)
      }),
    )
  })
})
