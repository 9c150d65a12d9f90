// group_reporting, mixed reporting and what options hide.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  groupTotals,
  iopsOf,
  mixedDirection,
  rateOf,
  reportUnits,
  runtimeMs,
} from '../../../src/report/merge.js'
import {
  DIRECTIONS,
  type DirectionResult,
  emptyDirection,
  type JobResult,
} from '../../../src/report/result.js'
import { stddev } from '../../../src/report/stat.js'
import { direction, directionsOf, job, latencyOf } from './synthetic.js'

const GROUPED = { groupReporting: true }

describe('which jobs become one unit', () => {
  const names = (jobs: JobResult[]): [string, number, number][] =>
    reportUnits(jobs).map(u => [u.jobname, u.groupid, u.members])

  test('without group_reporting every clone stands alone', () => {
    const jobs = [job({ jobname: 'a' }), job({ jobname: 'a', clone: 1 }), job({ jobname: 'b' })]
    expect(names(jobs)).toEqual([
      ['a', 0, 1],
      ['a', 0, 1],
      ['b', 0, 1],
    ])
  })

  test('with it, one unit per group, named after its first job', () => {
    const jobs = [
      job({ jobname: 'a' }, GROUPED),
      job({ jobname: 'b' }, GROUPED),
      job({ jobname: 'c', groupid: 1 }, GROUPED),
    ]
    expect(names(jobs)).toEqual([
      ['a', 0, 2],
      ['c', 1, 1],
    ])
  })

  test('a job that reports alone is not merged into', () => {
    const jobs = [
      job({ jobname: 'a' }),
      job({ jobname: 'b' }, GROUPED),
      job({ jobname: 'c' }, GROUPED),
    ]
    expect(names(jobs)).toEqual([
      ['a', 0, 1],
      ['b', 0, 2],
    ])
  })

  test('stats=0 is left out, also in the middle of a group', () => {
    const jobs = [
      job({ jobname: 'a' }, GROUPED),
      job({ jobname: 'quiet' }, { ...GROUPED, stats: false }),
      job({ jobname: 'b' }, GROUPED),
    ]
    expect(names(jobs)).toEqual([['a', 0, 2]])
  })
})

describe('what adds', () => {
  const samples = fc.array(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 30 })

  test('merging clones equals recording their samples together', () => {
    fc.assert(
      fc.property(fc.array(samples, { minLength: 1, maxLength: 5 }), clones => {
        const jobs = clones.map(ns => job({ read: withClat(ns) }, GROUPED))
        const [unit] = reportUnits(jobs)
        const whole = latencyOf(clones.flat())
        expect(unit.read.clat.buckets).toEqual(whole.buckets)
        expect(unit.read.totalIos).toBe(whole.n)
        expect(unit.read.clat.mean).toBeCloseTo(whole.mean, 3)
        expect(stddev(unit.read.clat)).toBeCloseTo(stddev(whole), 0)
        const { ns, us, ms } = unit.latencyShares
        const rest = DIRECTIONS.slice(1).reduce((sum, d) => sum + unit[d].clat.n, 0)
        expect([...ns, ...us, ...ms].reduce((a, b) => a + b, 0)).toBe(whole.n + rest)
      }),
      { numRuns: 20 },
    )
  })

  function withClat(ns: number[]): DirectionResult {
    return { ...emptyDirection(), totalIos: ns.length, runtimeNs: 1e9, clat: latencyOf(ns) }
  }

  test('counters add, runtimes take the longest, samples of rates add up', () => {
    const slow = job({ read: direction(10, 3e9), usrNs: 1e9, ctx: 5, elapsedS: 4 }, GROUPED)
    const fast = job({ read: direction(10, 2e9), usrNs: 2e9, ctx: 6, elapsedS: 3 }, GROUPED)
    const [unit] = reportUnits([slow, fast])
    expect(unit.read).toMatchObject({ totalIos: 20, ioBytes: 81920, runtimeNs: 3e9 })
    expect(unit.read.bw).toMatchObject({ n: 6, min: 8000, max: 8800, mean: 8400 })
    expect(unit).toMatchObject({ usrNs: 3e9, ctx: 11, elapsedS: 4, jobRuntimeNs: 4e9 })
    expect(unit.depth.level).toEqual([20, 40, 140, 600, 2400, 0, 0])
    expect(unit.sync.totalIos).toBe(40)
  })

  test('the input is left as it was', () => {
    const one = job({}, GROUPED)
    const before = structuredClone(one)
    reportUnits([one, job({}, GROUPED)])
    expect(one).toEqual(before)
  })

  test('counted latency shares are added, not computed again', () => {
    const latencyShares = { ns: [1, 2], us: [3], ms: [] }
    const [unit] = reportUnits([job({ latencyShares }, GROUPED), job({ latencyShares }, GROUPED)])
    expect(unit.latencyShares.ns.slice(0, 3)).toEqual([2, 4, 0])
    expect(unit.latencyShares.us[0]).toBe(6)
  })
})

describe('errors', () => {
  test('the first failing clone names the error of the group', () => {
    const [unit] = reportUnits([
      job({}, GROUPED),
      job({ error: 5, errorText: 'Input/output error', totalErrors: 1, firstError: 5 }, GROUPED),
      job({ error: 28, errorText: 'No space left on device', totalErrors: 1 }, GROUPED),
    ])
    expect(unit).toMatchObject({ error: 5, errorText: 'Input/output error', totalErrors: 2 })
  })

  test('an error that continue_on_error passed over still shows as the error of the job', () => {
    const survived = { firstError: 84, firstErrorText: 'Invalid or incomplete', totalErrors: 3 }
    const [unit] = reportUnits([job(survived, { continueOnError: true })])
    expect(unit).toMatchObject({ error: 84, errorText: 'Invalid or incomplete', firstError: 84 })
  })
})

describe('options that hide latencies', () => {
  test.each([
    ['disableSlat', ['slat']],
    ['disableClat', ['clat']],
    ['disableLat', ['lat']],
    ['gtodReduce', ['slat', 'clat', 'lat']],
  ] as const)('%s drops %s', (option, hidden) => {
    const [unit] = reportUnits([job({}, { [option]: true })])
    for (const kind of ['slat', 'clat', 'lat'] as const) {
      const shown = !(hidden as readonly string[]).includes(kind)
      expect(unit.read[kind].n > 0).toBe(shown)
    }
    const counted = [...unit.latencyShares.ns, ...unit.latencyShares.us, ...unit.latencyShares.ms]
    expect(counted.some(n => n > 0)).toBe(!(hidden as readonly string[]).includes('clat'))
    expect(unit.read.bw.n).toBe(3)
  })
})

describe('unified_rw_reporting', () => {
  test('mixed folds everything into read', () => {
    const [unit] = reportUnits([job({}, { unifiedRw: 'mixed' })])
    expect(unit.read.totalIos).toBe(1600)
    expect(unit.read.clat.n).toBe(1600)
    expect(unit.write.totalIos + unit.trim.totalIos).toBe(0)
  })

  test('both keeps the directions and offers the sum', () => {
    const [unit] = reportUnits([job({}, { unifiedRw: 'both' })])
    expect(unit.read.totalIos).toBe(1000)
    expect(mixedDirection(unit)).toMatchObject({ totalIos: 1600, runtimeNs: 2_000_000_000 })
  })
})

describe('priorities', () => {
  const high = { prioclass: 1, prio: 0, priohint: 0 }

  test('clones of one priority each count under their own', () => {
    const [unit] = reportUnits([
      job({ priority: high }, GROUPED),
      job({}, GROUPED),
      job({}, GROUPED),
    ])
    expect(unit.read.prios?.map(p => [p.prioclass, p.latency.n])).toEqual([
      [1, 1000],
      [0, 2000],
    ])
  })

  test('without completion latency there is nothing to tell apart', () => {
    const [unit] = reportUnits([job({ priority: high }, { ...GROUPED, disableClat: true })])
    expect(unit.read.prios ?? []).toEqual([])
  })
})

describe('totals of a group', () => {
  test('rates of the slowest and fastest unit, and all bytes over the longest run', () => {
    const one = directionsOf(d => (d === 'read' ? direction(1000, 1e9) : emptyDirection()))
    const two = directionsOf(d => (d === 'read' ? direction(1000, 4e9) : emptyDirection()))
    const [group] = groupTotals(reportUnits([job(one), job(two)]))
    expect(group.read).toEqual({
      ioBytes: 8_192_000,
      minRunNs: 1e9,
      maxRunNs: 4e9,
      minRate: 1_024_000,
      maxRate: 4_096_000,
      aggregateRate: 2_048_000,
    })
    expect(group.write).toBeUndefined()
  })

  test('groups come in order', () => {
    const units = reportUnits([job({ groupid: 2 }), job({ groupid: 0 })])
    expect(groupTotals(units).map(g => g.groupid)).toEqual([0, 2])
  })
})

test('rates and runtimes', () => {
  expect(rateOf({ ioBytes: 4096, runtimeNs: 0 })).toBe(0)
  expect(iopsOf({ totalIos: 1000, runtimeNs: 1_250_000 })).toBe(800_000)
  expect([0, 1, 999_999, 1_000_000, 1_000_001].map(runtimeMs)).toEqual([0, 1, 1, 1, 2])
})
