// phasebit stress, for about a second.

import { describe, expect, test } from 'vitest'
import { parseStress, Report, Resident, stressCommand } from '../../src/cli/stress.js'
import { stressHelp } from '../../src/cli/stress-help.js'
import { UserError } from '../../src/core/errors.js'
import { STRESS_FAULTS, type StressCounts, stress } from '../../src/workload/stress.js'
import { stdoutOf } from './capture.js'

const out = (...args: string[]): Promise<string> => stdoutOf(stressCommand, args)

describe('phasebit stress', () => {
  test('a second of everything: no violation', async () => {
    const text = await out('--for', '1s', '--seed', '3')
    expect(text).toContain('seed 3')
    expect(text).toContain('real time')
    expect(text).toMatch(/: \d+ I\/Os a second, \d+ in all; .* MiB resident$/m)
    expect(text).toMatch(/no violation\n$/)
  })

  test('memory: the median of a minute counts, neither dip nor spike', () => {
    const growth = (rss: (s: number) => number, seconds = 600) => {
      const resident = new Resident()
      for (let s = 5; s <= seconds; s += 5) resident.note({ at: s * 1000, rss: rss(s) })
      return resident.growth
    }
    expect(growth(s => (s === 170 ? 80 : s === 560 ? 200 : 100))).toEqual({ warm: 100, ratio: 1 })
    expect(growth(s => (s < 60 ? 1000 : 100))).toEqual({ warm: 100, ratio: 1 })
    expect(growth(s => 100 + s / 100)?.ratio).toBeCloseTo(105.7 / 101.5, 2)
    expect(growth(() => 100, 235)?.ratio).toBe(1)
    expect(growth(() => 100, 220)).toBeNull()
  })

  test('a second without an I/O says what is waited for', () => {
    const report = new Report()
    const counts = { ios: 10, rounds: 1, lives: 1, failed: 0, dropped: 0, resets: 0, removals: 0 }
    const at = (wallMs: number) => ({ ...counts, rules: 0, wallMs, doing: 'controller LIVE' })
    expect(report.line(at(1000))).not.toContain('waits')
    expect(report.line(at(2000))).toMatch(/ 0 I\/Os a second.*; waits: controller LIVE\n$/)
  })

  test('what is waited for: state, tasks, the last word', async () => {
    const { doing } = await stress({ clock: 'virtual', seed: 1, faults: [], forMs: 1e6, maxIos: 1 })
    expect(doing).toMatch(/^controller LIVE; .*nvme nvme0: /)
  })

  test('a seed repeats itself', async () => {
    const options = {
      clock: 'virtual',
      seed: 7,
      faults: STRESS_FAULTS,
      forMs: 1e6,
      maxIos: 20_000,
    } as const
    const runs: StressCounts[] = [await stress(options), await stress(options)]
    const [one, other] = runs.map(({ wallMs: _, ...rest }) => rest)
    expect(one).toEqual(other)
    expect(one!.ios).toBeGreaterThanOrEqual(20_000)
  })

  test('real time: machines come and go on one memory, and nothing is lost', async () => {
    const counts = await stress({
      clock: 'real',
      seed: 5,
      faults: ['reset', 'duplicate', 'status', 'remove'],
      forMs: 1500,
      maxIos: 1e9,
    })
    expect(counts.ios).toBeGreaterThan(0)
    expect(counts.rounds).toBeGreaterThan(0)
  })

  test('without faults nothing is reset, and every I/O ends well', async () => {
    const counts = await stress({ clock: 'virtual', seed: 1, faults: [], forMs: 1e6, maxIos: 8000 })
    expect(counts).toMatchObject({ resets: 0, removals: 0, rules: 0, failed: 0 })
  })

  test.each([
    ['--for', 'soon'],
    ['--for', '0'],
    ['--seed', '-1'],
    ['--clock', 'wall'],
    ['--max-io', '0'],
    ['--faults', 'reset,rain'],
    ['--nothing'],
  ])('%s %s: one line for the user', (...args) => {
    expect(() => parseStress(args)).toThrow(UserError)
  })

  test('its help says what it is', () => {
    expect(stressHelp()).toContain('--clock real')
    for (const fault of STRESS_FAULTS) expect(stressHelp()).toContain(fault)
  })
})
