// Log texts parse back to their samples; windows average; histogram logs hold differences.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bucketIndex } from '../../../src/report/histogram.js'
import {
  averageLog,
  formatHistogramLog,
  formatLog,
  type LogColumns,
  type LogSample,
  logFileName,
} from '../../../src/report/logs.js'
import { HISTOGRAM_BUCKETS } from '../../../src/report/result.js'
import { latencyOf } from './synthetic.js'

const sample = fc.record({
  timeMs: fc.nat(100_000),
  value: fc.maxSafeNat(),
  direction: fc.constantFrom(0 as const, 1 as const, 2 as const),
  bs: fc.nat(1 << 20),
  offset: fc.maxSafeNat(),
  ioprio: fc.nat(0xffff),
  issueNs: fc.maxSafeNat(),
})

/** The reader's side: columns by position. */
function parse(text: string, columns: LogColumns): LogSample[] {
  const rows = text.split('\n').slice(0, -1)
  return rows.map(row => {
    const fields = row.split(', ').map(Number)
    const [timeMs, value, direction, bs] = fields
    const rest = fields.slice(4)
    const offset = columns.offset ? rest.shift()! : 0
    const ioprio = rest.shift()!
    const issueNs = columns.issueTime ? rest.shift()! : 0
    expect(rest).toEqual([])
    return { timeMs, value, direction: direction as 0 | 1 | 2, bs, offset, ioprio, issueNs }
  })
}

describe('formatLog', () => {
  const flags = fc.record({ offset: fc.boolean(), prio: fc.boolean(), issueTime: fc.boolean() })

  test('parses back', () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 20 }), flags, (samples, columns) => {
        const expected = samples.map(s => ({
          ...s,
          offset: columns.offset ? s.offset : 0,
          ioprio: columns.prio ? s.ioprio : Number(s.ioprio >> 13 === 1),
          issueNs: columns.issueTime ? s.issueNs : 0,
        }))
        expect(parse(formatLog(samples, columns), columns)).toEqual(expected)
      }),
    )
  })

  test('the lines of fio', () => {
    const one: LogSample = {
      timeMs: 3,
      value: 14867,
      direction: 1,
      bs: 4096,
      offset: 8192,
      ioprio: 0,
    }
    expect(formatLog([one])).toBe('3, 14867, 1, 4096, 0\n')
    expect(formatLog([one], { offset: true, prio: true })).toBe('3, 14867, 1, 4096, 8192, 0x0000\n')
    expect(formatLog([{ ...one, ioprio: 0x2003 }])).toBe('3, 14867, 1, 4096, 1\n')
    expect(formatLog([])).toBe('')
  })
})

test('file names', () => {
  expect(logFileName('run', 'clat', 2)).toBe('run_clat.2.log')
  expect(logFileName('run', 'bw', undefined)).toBe('run_bw.log')
  expect(logFileName('run', 'clat_hist', 1)).toBe('run_clat_hist.1.log')
})

describe('averageLog', () => {
  const at = (timeMs: number, value: number, direction: 0 | 1 | 2 = 0): LogSample => ({
    timeMs,
    value,
    direction,
    bs: 4096,
    offset: 512,
    ioprio: 0,
  })

  test('one line per direction and window, the sample that ends it included', () => {
    const samples = [at(10, 4), at(20, 1, 1), at(100, 7), at(150, 3), at(230, 3)]
    const averaged = averageLog(samples, 100, 240)
    expect(formatLog(averaged, { offset: true })).toBe(
      '100, 6, 0, 0, 0, 0\n230, 3, 0, 0, 0, 0\n240, 1, 1, 0, 0, 0\n',
    )
  })

  test('without a window the samples stay as they are', () => {
    expect(averageLog([at(1, 2)], 0, 5)).toEqual([at(1, 2)])
  })

  test('means lie between the extremes and times rise, for any samples', () => {
    const sorted = fc
      .array(sample, { minLength: 1, maxLength: 50 })
      .map(list => list.map(s => ({ ...s, value: s.value % 2 ** 40 })))
      .map(list => list.toSorted((a, b) => a.timeMs - b.timeMs))
    fc.assert(
      fc.property(sorted, fc.integer({ min: 1, max: 5000 }), (samples, windowMs) => {
        const end = samples.at(-1)!.timeMs
        const averaged = averageLog(samples, windowMs, end)
        for (const direction of [0, 1, 2] as const) {
          const values = samples.filter(s => s.direction === direction).map(s => s.value)
          const lines = averaged.filter(s => s.direction === direction)
          expect(lines.length > 0).toBe(values.length > 0)
          for (const { value, bs, offset } of lines) {
            expect(value).toBeGreaterThanOrEqual(Math.min(...values))
            expect(value).toBeLessThanOrEqual(Math.max(...values))
            expect([bs, offset]).toEqual([0, 0])
          }
          const times = lines.map(s => s.timeMs)
          expect(times).toEqual(times.toSorted((a, b) => a - b))
        }
      }),
    )
  })
})

describe('formatHistogramLog', () => {
  const rows = (text: string): number[][] =>
    text
      .trimEnd()
      .split('\n')
      .map(line => line.split(', ').map(Number))

  test('each line holds what was added since the one before', () => {
    const first = latencyOf([50, 300]).buckets!
    const second = latencyOf([50, 300, 300, 9000]).buckets!
    const text = formatHistogramLog(
      [
        { timeMs: 300, direction: 0, bs: 4096, buckets: first },
        { timeMs: 300, direction: 1, bs: 4096, buckets: first },
        { timeMs: 600, direction: 0, bs: 4096, buckets: second },
      ],
      0,
    )
    const [, write, read] = rows(text)
    expect(write.slice(0, 3)).toEqual([300, 1, 4096])
    expect(write).toHaveLength(3 + HISTOGRAM_BUCKETS)
    const counts = read.slice(3)
    expect(counts.reduce((a, b) => a + b, 0)).toBe(2)
    expect([counts[bucketIndex(300)], counts[bucketIndex(9000)]]).toEqual([1, 1])
  })

  test.each([0, 1, 4, 6])('coarseness %d adds neighbours up', coarseness => {
    const snapshot = {
      timeMs: 1,
      direction: 0 as const,
      bs: 512,
      buckets: latencyOf([1, 2, 3]).buckets!,
    }
    const [row] = rows(formatHistogramLog([snapshot], coarseness))
    expect(row).toHaveLength(3 + HISTOGRAM_BUCKETS / 2 ** coarseness)
    expect(row.slice(3).reduce((a, b) => a + b, 0)).toBe(3)
  })
})
