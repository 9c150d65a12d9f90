// The rules of the gate for builds, by the numbers they have in its specification, on builds that are made up
// (test/unit/gate/fake-build.ts): their benchmarks tell a time that nobody measures, so every verdict is certain.
//
//   1  pair       one process loads both builds, in alternating order; A B B A slices, 300 pairs; ten processes and more
//   2  process    twenty pairs of processes A B B A, the best of each side; beside it the median of the pairs
//   3  history    advisory
//   4  verdicts   regressed, improved, same, unclear; what is unclear is doubled, up to four times; --strict
//   5  confirmation  a fresh batch
//   6  self-check    too noisy: nothing fails. Calibration: three deviations, 2 % at least
//   7  latencies     p50 and p99 decide in pair mode only, p99.9 never
//   8  fingerprints  what is not the same benchmark is not compared
//
// Holm (5) and the arithmetic of intervals are in test/unit/gate.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GateReport, GateResult } from '../../src/gate/types.js'
import { type FakeBuild, fakeBuild } from '../unit/gate/fake-build.js'
import { type Ended, JOB, phasebitHere } from './gate-command.js'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-gate-builds-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

/** Enough where nothing scatters. */
const FEW = ['--count=2', '--doublings=0']

interface Told extends Ended {
  readonly report: GateReport & { readonly exit_status: number }
}

/** `phasebit gate` of two builds, with its report. */
async function gate(base: FakeBuild, head: FakeBuild, ...more: string[]): Promise<Told> {
  const sides = ['--base', fakeBuild(dir, 'base', base), '--head', fakeBuild(dir, 'head', head)]
  const ended = await phasebitHere(dir, ['gate', ...sides, '--json=o.json', ...more])
  const report = JSON.parse(readFileSync(join(dir, 'o.json'), 'utf8')) as Told['report']
  return { ...ended, report }
}

function only({ report }: Told): GateResult {
  expect(report.results.length).toBe(1)
  return report.results[0]
}

/** Lines of a log by process, in the order in which the processes began. */
function processes(log: string): string[][] {
  const byPid = new Map<string, string[]>()
  for (const line of readFileSync(log, 'utf8').trimEnd().split('\n')) {
    const [pid, ...words] = line.split(' ')
    const lines = byPid.get(pid) ?? []
    lines.push(words.join(' '))
    byPid.set(pid, lines)
  }
  return [...byPid.values()]
}

describe('1, pair mode', () => {
  it('loads both builds in one process, in turning order, and slices them A B B A, 300 pairs', async () => {
    const log = join(dir, 'log')
    const told = await gate({ log }, { log })
    expect(told).toMatchObject({ status: 0, stderr: '' })
    expect(only(told)).toMatchObject({ verdict: 'same', limit: 0.05 })
    const measured = processes(log).filter(lines => lines.some(line => line.startsWith('run')))
    expect(measured.length).toBe(20)
    const self = measured.filter(lines => lines.includes('load copy of base'))
    const first = measured.filter(lines => lines.includes('load head'))
    expect([self.length, first.length]).toEqual([10, 10])
    for (const batch of [self, first]) {
      const orders = batch.map(lines => lines.filter(line => line.startsWith('load'))[0])
      expect(new Set([0, 2, 4, 6, 8].map(i => orders[i])).size).toBe(1)
      expect(new Set([1, 3, 5, 7, 9].map(i => orders[i])).size).toBe(1)
      expect(orders[0]).not.toBe(orders[1])
    }
    for (const lines of first) {
      const slices = lines.slice(lines.lastIndexOf('forget head') + 1)
      const runs = slices.filter(line => line.startsWith('run')).map(line => line.split(' '))
      const timed = runs.slice(-600)
      const sides = timed.map(([, side]) => side[0]).join('')
      expect(sides).toMatch(/^((bhhb){150}|(hbbh){150})$/)
      // slices of 0.4 to 2 ms
      for (const [, , ns] of timed) {
        expect(Number(ns)).toBeGreaterThanOrEqual(400_000)
        expect(Number(ns)).toBeLessThanOrEqual(2_000_000)
      }
    }
  })

  it('takes the median of the slices, so that a few that were disturbed do not count', async () => {
    // every seventh slice of the head takes ten times as long
    const told = await gate({}, { ns: 'i % 7 === 0 ? 1000 : 100' }, ...FEW)
    expect(only(told)).toMatchObject({ verdict: 'same', ratio: { estimate: 1 } })
  })

  it('takes what a change of the build costs as a part of both', async () => {
    const cold = '(cold ? 108 : 100)'
    const told = await gate({ ns: cold }, { ns: `${cold} * (i % 7 ? 1 : 3)` }, ...FEW)
    expect(only(told)).toMatchObject({ verdict: 'same', ratio: { estimate: 1 } })
  })

  it('opens a benchmark of all threads in a worker for each core, and times those', async () => {
    const log = join(dir, 'log')
    const all = { log, threads: 'all' } as const
    const told = await gate(all, all, ...FEW, '--limit=49')
    expect(only(told).head!.samples.length).toBe(2)
    const [, began] = processes(log).filter(lines => lines.includes('load head'))
    expect(began.filter(line => line === 'load head').length).toBe(1 + availableParallelism())
    expect(began.some(line => line.startsWith('run head'))).toBe(true)
  })
})

describe('2, process mode', () => {
  it('takes twenty pairs, the best of each side, and tells the median of the pairs beside it', async () => {
    writeFileSync(join(dir, 'j.fio'), JOB)
    // the quiet moments of the head reach the same ceiling: best of each side is equal, the median is not
    const told = await gate({}, { iops: 'p % 3 ? 700 : 1000' }, 'j.fio', '--doublings=0')
    const result = only(told)
    expect(told.report.mode).toBe('process')
    expect(result).toMatchObject({ verdict: 'same', ratio: { estimate: 1 } })
    expect(result.base!.samples.length).toBe(20)
    expect(result.base!.value).toBe(1000)
    expect(result.notes.join()).toMatch(/median of the pairs: -30\.0 %/)
  })

  it('fails for a build whose best is worse', async () => {
    writeFileSync(join(dir, 'j.fio'), JOB)
    const told = await gate({ iops: 1000 }, { iops: 900 }, 'j.fio', ...FEW)
    expect(told).toMatchObject({ status: 1, stderr: '' })
    const result = only(told)
    expect(result).toMatchObject({ benchmark: 'a: read', verdict: 'regressed' })
    expect(result.ratio!.estimate).toBeCloseTo(0.9, 9)
    expect(result.confirmation!.estimate).toBeCloseTo(0.9, 9)
  })
})

describe('3, history', () => {
  it('never fails', async () => {
    const head = (ns: number): string => fakeBuild(dir, 'head', { ns })
    const run = (build: string): Promise<Ended> =>
      phasebitHere(dir, ['gate', '--mode=history', '--baseline=kept', '--head', build, '--count=2'])
    expect((await run(head(100))).status).toBe(3)
    const slow = await run(head(1000))
    expect(slow).toMatchObject({ status: 0, stderr: '' })
    expect(slow.stdout).toMatch(/^advisory +made-up +rate .*-90\.0 %/m)
    expect(slow.stdout).toMatch(/above 0 of 1 stored runs/)
  })
})

describe('4, verdicts', () => {
  it.each([
    [100, 'same', 0],
    [106, 'regressed', 1],
    [94, 'improved', 0],
    [104, 'same', 0],
  ])('an operation of %i ns after one of 100 ns: %s', async (ns, verdict, status) => {
    const told = await gate({}, { ns }, ...FEW)
    expect(told).toMatchObject({ status, stderr: '', report: { exit_status: status } })
    expect(only(told).verdict).toBe(verdict)
  })

  it('doubles what is unclear up to four times, and then says so; --strict fails', async () => {
    // whole processes are slower or faster, by more than any number of them makes clear
    const head = { ns: 'p % 2 ? 104 : 86' }
    const told = await gate({}, head, '--count=2', '--strict')
    const result = only(told)
    expect(result.verdict).toBe('unclear')
    expect(result.head!.samples.length).toBe(2 * 2 ** 4)
    expect(told.status).toBe(2)
  })
})

describe('5, confirmation', () => {
  it('is a fresh batch of twice as many, and without it nothing fails', async () => {
    const log = join(dir, 'log')
    const told = await gate({ log }, { log, ns: 120 }, '--count=3', '--doublings=0')
    expect(told.status).toBe(1)
    const heads = processes(log).filter(lines => lines.some(line => line.startsWith('run head')))
    expect(heads.length).toBe(3 + 6)
    expect(only(told).confirmation).not.toBeNull()
    expect(only(told).head!.samples.length).toBe(3)
  })
})

describe('6, self-check', () => {
  it('says that the machine is too noisy, and nothing fails', async () => {
    // a copy that is by turns slower and faster: base against itself spreads over 20 %
    const ns = "name.startsWith('copy') ? (p % 2 ? 90 : 110) : 100"
    const told = await gate({ ns }, { ns: 150 }, '--count=2', '--doublings=1')
    expect(told.status).toBe(0)
    const result = only(told)
    expect(result.verdict).toBe('noisy')
    expect(result.notes.join()).toMatch(/machine too noisy/)
    expect((await gate({ ns }, {}, ...FEW, '--strict')).status).toBe(2)
  })

  it('finds limits that later runs go by', async () => {
    const base = fakeBuild(dir, 'base', {})
    const calibrate = ['gate', '--calibrate', '--base', base, '--baseline=kept', '--count=4']
    expect(await phasebitHere(dir, calibrate)).toMatchObject({ status: 0, stderr: '' })
    const path = join(dir, 'kept', 'limits.json')
    const limits = JSON.parse(readFileSync(path, 'utf8')) as { limits: Record<string, number> }
    // nothing scatters here
    expect(limits.limits).toEqual({ 'made-up': 0.02 })
    const told = await gate({}, { ns: 103 }, '--baseline=kept', ...FEW)
    expect(only(told)).toMatchObject({ verdict: 'regressed', limit: 0.02 })
    const said = await gate({}, { ns: 103 }, '--baseline=kept', '--limit=5', ...FEW)
    expect(only(said)).toMatchObject({ verdict: 'same', limit: 0.05 })
  })
})

describe('7, latencies', () => {
  it('p50 and p99 decide within one process, p99.9 is advisory', async () => {
    const told = await gate({ latency: 640 }, { latency: 704 }, ...FEW)
    expect(told.status).toBe(1)
    const verdicts = told.report.results.map(({ metric, verdict }) => [metric, verdict])
    expect(verdicts).toEqual([
      ['rate', 'same'],
      ['p50', 'regressed'],
      ['p99', 'regressed'],
      ['p99.9', 'advisory'],
    ])
  })

  it('are not looked at between processes', async () => {
    const told = await gate({ latency: 640 }, { latency: 704 }, '--mode=process', ...FEW)
    expect(told.report.results.map(({ metric }) => metric)).toEqual(['rate'])
  })
})

describe('8, what may not be compared', () => {
  const builds = (base: FakeBuild, head: FakeBuild): string[] => [
    ...['gate', '--base', fakeBuild(dir, 'base', base)],
    ...['--head', fakeBuild(dir, 'head', head)],
  ]

  it('benchmarks that do something else', async () => {
    const ended = await phasebitHere(dir, builds({ does: 'this' }, { does: 'that' }))
    expect(ended).toMatchObject({ status: 64, stdout: '' })
    expect(ended.stderr).toMatch(/no benchmark in common/)
  })

  it('a build that breaks is an error of one line, never a pass', async () => {
    const ended = await phasebitHere(dir, builds({}, { fails: 'the core is broken' }))
    expect(ended.stdout).toBe('')
    expect(ended.stderr.trimEnd().split('\n').length).toBe(1)
    expect(ended.stderr).toMatch(/the core is broken/)
    expect(ended.status).toBe(70)
  })
})
