// Number and date texts, with figures taken from fio 3.33's own output.

import { describe, expect, test } from 'vitest'
import {
  ctime,
  fixed,
  humanBytes,
  humanNumber,
  humanRate,
  percentOf,
} from '../../../src/report/numbers.js'

describe('humanNumber', () => {
  test.each([
    [0, '0'],
    [9999, '9999'],
    [10_000, '10.0k'],
    [17_946, '17.9k'],
    [100_000, '100k'],
    [665_000, '665k'],
    [2_048_000, '2048k'],
    [9_999_999, '10000k'],
    [99_960, '100.0k'],
    [999_999, '1000k'],
  ])('%d in four figures is %s', (value, text) => {
    expect(humanNumber(value, 4, false, '')).toBe(text)
  })

  test('sizes and rates in both bases', () => {
    expect(humanBytes(16_777_216, 4, true)).toBe('16.0MiB')
    expect(humanBytes(16_777_216, 4, false)).toBe('16.8MB')
    expect(humanBytes(1_048_576, 4, true)).toBe('1024KiB')
    expect(humanBytes(4096, 4, true)).toBe('4096B')
    expect(humanRate(8_388_608_000, 4, true, 0)).toBe('8000MiB/s')
    expect(humanRate(8_388_608_000, 4, false, 8)).toBe('8389MB/s')
    expect(humanRate(8_388_608_000, 7, false, 1)).toBe('67108.9Mbit/s')
    expect(humanRate(8_388_608_000, 7, true, 1)).toBe('64000.0Mibit/s')
  })

  test('six figures, as latency lines use them', () => {
    expect(humanNumber(142_729, 6, false, '')).toBe('142729')
    expect(humanNumber(2_832_262, 6, false, '')).toBe('2832.3k')
  })
})

test('fixed pads like printf', () => {
  expect(fixed(9.184, 2, 5)).toBe(' 9.18')
  expect(fixed(53.929574, 2, 5)).toBe('53.93')
})

test('percentOf of nothing is 0', () => {
  expect(percentOf(3, 0)).toBe(0)
  expect(percentOf(1, 7)).toBeCloseTo(14.285714)
})

describe('ctime', () => {
  test('in UTC', () => {
    expect(ctime(0, true)).toBe('Thu Jan  1 00:00:00 1970')
    expect(ctime(1_795_298_638_166, true)).toBe('Sat Nov 21 22:03:58 2026')
  })

  test('in local time agrees with the host about the hour', () => {
    const ms = 1_795_298_638_166
    const hour = String(new Date(ms).getHours()).padStart(2, '0')
    expect(ctime(ms, false)).toContain(` ${hour}:`)
  })
})
