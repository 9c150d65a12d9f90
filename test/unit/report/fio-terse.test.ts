// The terse form: column counts, and that its columns give the values back.

import { describe, expect, test } from 'vitest'
import { fioTerse } from '../../../src/report/fio-terse.js'
import { percentiles } from '../../../src/report/histogram.js'
import { DIRECTIONS, type JobReportOptions, type JobResult } from '../../../src/report/result.js'
import { stddev } from '../../../src/report/stat.js'
import { DISK, job, run } from './synthetic.js'

const PLAIN_COLUMNS = 121
const DIRECTION_COLUMNS = 41
const DISK_COLUMNS = 9

function columns(
  version: 2 | 3 | 4 | 5,
  options: Partial<JobReportOptions> = {},
  overrides: Partial<JobResult> = {},
  disks = [] as (typeof DISK)[],
): string[] {
  const text = fioTerse(run([job(overrides, options)], { disks }), version)
  expect(text.endsWith('\n')).toBe(true)
  return text.trimEnd().split(';')
}

describe('number of columns (fio-jobs 4, terse version 3)', () => {
  test('121 plus nine per disk, two for errors, one for the description', () => {
    expect(columns(3)).toHaveLength(PLAIN_COLUMNS)
    expect(columns(3, {}, {}, [DISK, DISK])).toHaveLength(PLAIN_COLUMNS + 2 * DISK_COLUMNS)
    expect(columns(3, { continueOnError: true })).toHaveLength(PLAIN_COLUMNS + 2)
    const all = { continueOnError: true, description: 'measured phase' }
    const full = columns(3, all, {}, [DISK])
    expect(full).toHaveLength(PLAIN_COLUMNS + DISK_COLUMNS + 3)
    expect(full.at(-1)).toBe('measured phase')
  })

  test('version 2 has trim, no version of fio, no disks, and the description on a line of its own', () => {
    const options = { continueOnError: true, description: 'measured phase' }
    const full = columns(2, options, {}, [DISK])
    expect(full).toHaveLength(PLAIN_COLUMNS - 1 + DIRECTION_COLUMNS + 3)
    expect(full[0]).toBe('2')
    expect(full.at(-2)).toMatch(/^\d+\n$/)
    expect(full.at(-1)).toBe('measured phase')
  })

  test('version 4 adds trim, version 5 six sample columns per direction', () => {
    expect(columns(4)).toHaveLength(PLAIN_COLUMNS + DIRECTION_COLUMNS)
    expect(columns(5)).toHaveLength(PLAIN_COLUMNS + DIRECTION_COLUMNS + 3 * 6)
  })

  test('mixed reporting has one direction, both has the mixed one in addition', () => {
    expect(columns(3, { unifiedRw: 'mixed' })).toHaveLength(PLAIN_COLUMNS - DIRECTION_COLUMNS)
    expect(columns(3, { unifiedRw: 'both' })).toHaveLength(PLAIN_COLUMNS + DIRECTION_COLUMNS)
  })

  test('a stacked disk is followed by the sum of those below', () => {
    const below = { ...DISK, aggregate: DISK }
    const fields = columns(3, {}, {}, [below])
    expect(fields).toHaveLength(PLAIN_COLUMNS + 2 * DISK_COLUMNS)
    expect(fields[PLAIN_COLUMNS + DISK_COLUMNS]).toBe('slaves')
  })
})

describe('values', () => {
  test('the columns of each direction give the result back', () => {
    const fields = columns(4, {}, { groupid: 3, error: 5 })
    expect(fields.slice(0, 5)).toEqual(['4', 'fio-3.33', 'mix', '3', '5'])
    const source = job()
    DIRECTIONS.forEach((name, i) => {
      const d = source[name]
      const at = 5 + i * DIRECTION_COLUMNS
      const numbers = fields.slice(at, at + DIRECTION_COLUMNS).map(Number.parseFloat)
      const seconds = d.runtimeNs / 1e9
      expect(numbers[0]).toBe(d.ioBytes / 1024)
      expect(numbers[1]).toBe(Math.floor(d.ioBytes / 1024 / seconds))
      expect(numbers[2]).toBe(Math.floor(d.totalIos / seconds))
      expect(numbers[3]).toBe(Math.ceil(d.runtimeNs / 1e6))
      const latencies = [d.slat, d.clat, d.lat].map((_, k) =>
        numbers.slice([4, 8, 32][k]).slice(0, 4),
      )
      latencies.forEach((four, k) => {
        const stat = [d.slat, d.clat, d.lat][k]
        expect(four[0]).toBe(Math.floor(stat.min / 1000))
        expect(four[1]).toBe(Math.floor(stat.max / 1000))
        expect(four[2]).toBeCloseTo(stat.mean / 1000, 5)
        expect(four[3]).toBeCloseTo(stddev(stat) / 1000, 5)
      })
      expect(numbers.slice(36, 38)).toEqual([d.bw.min, d.bw.max])
      expect(numbers[39]).toBeCloseTo(d.bw.mean, 5)
    })
  })

  test('percentiles are in microseconds, ascending, in the first of twenty columns', () => {
    const fields = columns(3, { percentileList: [99, 50] }).slice(5 + 12, 5 + 32)
    const [p50, p99] = percentiles(job().read.clat.buckets!, [50, 99])
    expect(fields.slice(0, 3)).toEqual([
      `50.000000%=${Math.floor(p50.ns / 1000)}`,
      `99.000000%=${Math.floor(p99.ns / 1000)}`,
      '0%=0',
    ])
    expect(fields).toHaveLength(20)
  })

  test('without percentiles all twenty are empty', () => {
    const fields = columns(3, { clatPercentiles: false }).slice(5 + 12, 5 + 32)
    expect(fields).toEqual(new Array(20).fill('0%=0'))
  })

  test('nanosecond shares count in the first microsecond class', () => {
    const latencyShares = { ns: [400, 0, 400], us: [400], ms: [0, 400] }
    const fields = columns(3, {}, { latencyShares })
    expect(fields.slice(99, 101)).toEqual(['75.00%', '0.00%'])
    expect(fields.slice(109, 112)).toEqual(['0.00%', '25.00%', '0.00%'])
  })

  test('one line per reporting unit', () => {
    expect(fioTerse(run([job(), job({ jobname: 'two' })])).split('\n')).toHaveLength(3)
  })
})
