// fio's progress line.

import { describe, expect, test } from 'vitest'
import {
  etaText,
  type JobProgress,
  type JobState,
  jobLetter,
  type Progress,
  statusLine,
} from '../../../src/report/status-line.js'

const READER: JobProgress = { state: 'running', directions: ['read'], random: false }

function progress(overrides: Partial<Progress> = {}): Progress {
  return {
    jobs: [READER, READER],
    openFiles: 2,
    rate: { read: 12.9 * 2 ** 30, write: 0, trim: 0 },
    iops: { read: 3_371_000, write: 0, trim: 0 },
    elapsedS: 3,
    etaS: 2,
    kbBase: 1024,
    unitBase: 0,
    ...overrides,
  }
}

describe('the line', () => {
  test('as fio prints it', () => {
    expect(statusLine(progress())).toBe(
      'Jobs: 2 (f=2): [R(2)][60.0%][r=12.9GiB/s][r=3371k IOPS][eta 00m:02s]',
    )
  })

  test('several directions, states counted in runs', () => {
    const state = (name: JobState): JobProgress => ({ ...READER, state: name })
    const mixed: JobProgress = { state: 'running', directions: ['read', 'write'], random: true }
    const line = statusLine(
      progress({
        jobs: [state('reaped'), mixed, state('not-created'), state('not-created')],
        openFiles: 1,
        rate: { read: 4096, write: 1024 ** 2, trim: 0 },
        iops: { read: 1, write: 256, trim: 0 },
      }),
    )
    expect(line).toBe(
      'Jobs: 1 (f=1): [_(1),m(1),P(2)][60.0%][r=4096B/s,w=1024KiB/s][r=1,w=256 IOPS][eta 00m:02s]',
    )
  })

  test('ends early while the end is unknown or nobody runs', () => {
    const { etaS: _, ...unknown } = progress()
    expect(statusLine(unknown)).toBe('Jobs: 2 (f=2)')
    expect(statusLine(progress({ jobs: [], openFiles: 0 }))).toBe('Jobs: 0 (f=0)')
  })

  test('while all jobs ramp there is no percentage, and without rates no brackets', () => {
    const none = { read: 0, write: 0, trim: 0 }
    const jobs: JobProgress[] = [{ ...READER, state: 'ramp' }]
    expect(statusLine(progress({ jobs, openFiles: 1, rate: none, iops: none }))).toBe(
      'Jobs: 1 (f=1): [/(1)][-.-%][eta 00m:02s]',
    )
  })

  test('limits come after the files', () => {
    const rateLimit = { min: 2 ** 20, target: 64 * 2 ** 20 }
    const iopsLimit = { min: 0, target: 20_000 }
    expect(statusLine(progress({ rateLimit, iopsLimit }))).toContain(
      '(f=2), 1024KiB/s-64.0MiB/s: [',
    )
    expect(statusLine(progress({ iopsLimit }))).toContain('(f=2), 0-20000 IOPS: [')
  })
})

test.each([
  ['running', ['read'], true, 'r'],
  ['running', ['write'], false, 'W'],
  ['running', ['trim'], true, 'd'],
  ['running', ['trim', 'write'], false, 'W'],
  ['running', ['read', 'write'], false, 'M'],
  ['verifying', ['write'], false, 'V'],
  ['fsyncing', ['write'], false, 'F'],
  ['failed', ['write'], false, 'X'],
  ['exited', ['read'], false, 'E'],
] as const)('%s %j random %s is %s', (state, directions, random, letter) => {
  expect(jobLetter({ state, directions, random })).toBe(letter)
})

test.each([
  [0, '00m:00s'],
  [61, '01m:01s'],
  [3600, '01h:00m:00s'],
  [90_061, '01d:01h:01m:01s'],
  [86_400, '01d:00h:00m:00s'],
])('%d s to go is %s', (seconds, text) => {
  expect(etaText(seconds)).toBe(text)
})
