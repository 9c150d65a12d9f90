// Files mode: what is read of fio's JSON, what is refused, how two sets of files compare.
import { describe, expect, it } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { compareFiles, type FilesOptions } from '../../../src/gate/files.js'
import { type FioFile, finePercentile, parseFio, percentileOf } from '../../../src/gate/fio-file.js'
import { nativeJson } from '../../../src/gate/exports.js'
import type { GateReport, GateResult } from '../../../src/gate/types.js'
import { fioText, type MadeJob } from './fio-text.js'
import { REGRESSED, reportOf, SLOWER } from './report.js'
import { normals } from './synthetic.js'

const OPTIONS: FilesOptions = { limit: 0.05, seed: 1, metrics: null }

function files(list: readonly MadeJob[], name = 'f'): FioFile[] {
  return list.map((job, i) => parseFio(`${name}${i}.json`, fioText([job])))
}

/** Files with these IOPS and latencies around a mean. */
function runs(iops: readonly number[], latency = 100_000, seed = 0): MadeJob[] {
  return iops.map((value, i) => ({
    iops: value,
    latencies: normals(seed + i, 400, latency, latency / 20),
  }))
}

function find(report: GateReport, metric: string): GateResult {
  return report.results.find(result => result.metric === metric)!
}

describe('a file of fio', () => {
  it('has units, with clones as one', () => {
    const text = fioText([
      { name: 'x', iops: 100, latencies: [1000, 2000] },
      { name: 'x', iops: 50, latencies: [4000] },
      { name: 'y', iops: 10 },
    ])
    const { units } = parseFio('f', text)
    expect([...units.keys()]).toEqual(['x: read', 'y: read'])
    const x = units.get('x: read')!
    expect(x).toMatchObject({ iops: 150, ios: 1500, clones: 2, latency: 'clat_ns' })
    expect(x.buckets!.reduce((a, b) => a + b, 0)).toBe(3)
  })

  it('keeps no percentiles of clones without histograms', () => {
    const plain = { name: 'x', plus: false }
    expect(
      parseFio('f', fioText([plain]))
        .units.get('x: read')!
        .percentiles.get(99),
    ).toBeGreaterThan(0)
    const two = parseFio('f', fioText([plain, plain])).units.get('x: read')!
    expect(two.buckets).toBeNull()
    expect([...two.percentiles]).toEqual([])
  })

  it('tells jobs of one name in two groups apart', () => {
    const text = fioText([{ name: 'x' }, { name: 'x', groupid: 1 }])
    expect([...parseFio('f', text).units.keys()]).toEqual(['x (g=0): read', 'x (g=1): read'])
  })

  it('may begin with notes, and ends with the last of several reports', () => {
    const [one, two] = [fioText([{ iops: 10 }]), fioText([{ iops: 20 }])]
    expect(parseFio('f', `fio: this is a note\n${one}`).units.get('a: read')!.iops).toBe(10)
    const both = parseFio('f', `${one}${two}`)
    expect(both.units.get('a: read')!.iops).toBe(20)
    expect(both.notes).toEqual(['f: holds 2 reports; the last one counts'])
    const line = JSON.stringify(JSON.parse(one))
    expect(parseFio('f', line).units.size).toBe(1)
  })

  it.each([
    ['', /^f: is empty/],
    ['hello', /^f: is no JSON/],
    [fioText([{}]).slice(0, 300), /^f: is cut off/],
    [`${fioText([{}])}${fioText([{}]).slice(0, 200)}`, /^f: is cut off/],
    ['[1, 2]', /neither fio's nor the gate's/],
    ['{"results": []}', /neither fio's nor the gate's/],
    ['{"fio version": "fio-3.33", "jobs": [3]}', /jobs\[0\] has no jobname/],
    ['{"fio version": "fio-3.33", "jobs": []}', /not one I\/O/],
    [fioText([{ ios: 0 }]), /not one I\/O/],
    [fioText([{ error: 5 }]), /job a failed with error 5/],
    [fioText([{ iops: -3, ios: 7 }]), /impossible/],
    [fioText([{}]).replace(/"bins": \{[^}]*\}/, '"bins": {"x": 1}'), /bins/],
  ])('refuses %j', (text, line) => {
    expect(() => parseFio('f', text)).toThrow(UserError)
    expect(() => parseFio('f', text)).toThrow(line)
  })
})

describe('a fine percentile', () => {
  it('lies inside the bucket of the plain one', () => {
    const { buckets } = parseFio('f', fioText([{}])).units.get('a: read')!
    for (const percent of [1, 50, 99]) {
      const [fine, plain] = [finePercentile(buckets!, percent), percentileOf(buckets!, percent)]
      expect(Math.abs(fine / plain - 1)).toBeLessThan(1 / 64)
    }
    expect(finePercentile([0, 0, 0], 50)).toBeNaN()
  })

  it('moves with every count', () => {
    const at = (extra: number): number =>
      finePercentile(Float64Array.of(...new Array(200).fill(0), 50, 50 + extra, 0), 50)
    expect(at(10)).toBeGreaterThan(at(5))
  })
})

describe("the gate's own results", () => {
  const own = (value: number, facts = { 'Node version': 'v20' }): FioFile => {
    const result = { ...REGRESSED, head: { value, samples: [] } }
    const fingerprint = { base: facts, head: facts }
    return parseFio('own', nativeJson({ ...reportOf([result, SLOWER]), fingerprint }, 0))
  }

  it('compare by the rates of their heads', () => {
    const report = compareFiles([own(1000), own(1010)], [own(800), own(805)], OPTIONS)
    expect(report.results.map(({ benchmark, verdict }) => [benchmark, verdict])).toEqual([
      ['inline, <qd> 32: rate', 'regressed'],
    ])
  })

  it('are refused when they were made under other circumstances', () => {
    expect(() => compareFiles([own(1)], [own(1, { 'Node version': 'v22' })], OPTIONS)).toThrow(
      /Node version="v20".*Node version="v22"/,
    )
    const none = nativeJson(reportOf([SLOWER]), 0)
    expect(() => parseFio('own', none)).toThrow(/holds no rates/)
  })
})

describe('fewer than five files a side', () => {
  it('regress only where every head is worse, and by twice the limit', () => {
    const base = files(runs([1000, 1010, 990]))
    const verdict = (iops: number[]): string =>
      find(compareFiles(base, files(runs(iops)), OPTIONS), 'iops').verdict
    expect(verdict([890, 895, 880])).toBe('regressed')
    expect(verdict([905, 910, 920])).toBe('unclear')
    expect(verdict([700, 700, 995])).toBe('unclear')
    expect(verdict([1500, 1500, 1500])).toBe('unclear')
    expect(verdict([1000, 1000, 1000])).toBe('unclear')
  })

  it('gates latencies the other way round', () => {
    const report = compareFiles(
      files(runs([1000, 1000], 100_000)),
      files(runs([1000, 1000], 150_000)),
      OPTIONS,
    )
    expect(find(report, 'p99').verdict).toBe('regressed')
    expect(find(report, 'p99').ratio!.estimate).toBeLessThan(0.75)
    expect(find(report, 'p99.9')).toMatchObject({ verdict: 'advisory', gated: false })
    expect(report.notes.join('\n')).toMatch(/nothing is confirmed/)
    expect(report.notes.join('\n')).toMatch(/CPU model unknown/)
  })
})

describe('five files a side and more', () => {
  it.each([
    [0.8, 'regressed'],
    [1, 'same'],
    [1.3, 'improved'],
  ])('say that %f of the base is %s', (factor, verdict) => {
    const base = files(runs(normals(1, 7, 1000, 8)))
    const head = files(runs(normals(2, 7, 1000 * factor, 8), 100_000, 50))
    const report = compareFiles(base, head, OPTIONS)
    expect(find(report, 'iops').verdict).toBe(verdict)
    expect(find(report, 'p50').verdict).toBe('same')
  })

  it('are unclear while they scatter', () => {
    const base = files(runs(normals(3, 6, 1000, 150)))
    const head = files(runs(normals(4, 6, 930, 150)))
    expect(find(compareFiles(base, head, OPTIONS), 'iops').verdict).toBe('unclear')
  })

  it('need both tests: two of five that fell far do not make a regression', () => {
    const base = files(runs([1000, 1001, 1002, 1003, 1004]))
    const head = files(runs([700, 701, 1005, 1006, 1007]))
    expect(find(compareFiles(base, head, OPTIONS), 'iops').verdict).toBe('unclear')
  })

  it('merge histograms, and never average percentiles', () => {
    // one file in five is slow in its tail and long: the percentile of all I/Os is not the mean of five percentiles
    const quick = Array.from({ length: 990 }, () => 1000)
    const slow = [
      ...Array.from({ length: 5000 }, () => 1000),
      ...new Array<number>(400).fill(90_000),
    ]
    const head = files([quick, quick, quick, quick, slow].map(latencies => ({ latencies })))
    const base = files([quick, quick, quick, quick, quick].map(latencies => ({ latencies })))
    const p99 = find(compareFiles(base, head, OPTIONS), 'p99')
    expect(p99.head!.value).toBeGreaterThan(89_000)
    expect(p99.head!.samples.filter(ns => ns < 1100).length).toBe(4)
    const plain = (list: FioFile[]): FioFile[] =>
      list.map(({ path }, i) =>
        parseFio(path, fioText([{ latencies: i === 4 ? slow : quick, plus: false }])),
      )
    const printed = find(
      compareFiles(
        plain(base).map((f, i) => (i === 4 ? base[0] : f)),
        plain(head),
        OPTIONS,
      ),
      'p99',
    )
    expect(printed.head!.samples).toContain(printed.head!.value)
  })

  it('repeat from their seed', () => {
    const base = files(runs(normals(5, 6, 1000, 30)))
    const head = files(runs(normals(6, 6, 960, 30)))
    expect(compareFiles(base, head, OPTIONS)).toEqual(compareFiles(base, head, OPTIONS))
  })
})

describe('what may not be compared', () => {
  const base = files([{}])
  const other = (jobs: readonly MadeJob[], more = {}): FioFile[] => [
    parseFio('other.json', fioText(jobs, more)),
  ]

  it.each([
    ['another version of fio', other([{}], { 'fio version': 'fio-3.36' }), /fio-3\.33.*fio-3\.36/],
    ['other global options', other([{}], { 'global options': { bs: '8k' } }), /4k.*8k/],
    ['other job options', other([{ options: { rw: 'read' } }]), /options of job a/],
    ['another job', other([{ name: 'b' }]), /has I\/O of/],
  ])('%s', (_, head, line) => {
    expect(() => compareFiles(base, head, OPTIONS)).toThrow(UserError)
    expect(() => compareFiles(base, head, OPTIONS)).toThrow(line)
  })

  it('nothing', () => {
    expect(() => compareFiles([], base, OPTIONS)).toThrow(/no base file/)
    expect(() => compareFiles(base, [], OPTIONS)).toThrow(/no head file/)
  })

  it('unknown metrics, and metrics that are not there', () => {
    const asked = (metric: string, list: FioFile[]) => () =>
      compareFiles(list, list, { ...OPTIONS, metrics: [metric] })
    expect(asked('speed', base)).toThrow(/unknown metric; there are iops, bw, p50/)
    const clones = other([{ plus: false }, { plus: false }])
    expect(asked('p99', clones)).toThrow(/use json\+/)
    expect(asked('iops', clones)().results.length).toBe(1)
  })

  it('runs of phasebit under another clock; their own latencies are advisory', () => {
    const own = (clock: string): FioFile[] => other([{}], { phasebit: { clock } })
    expect(() => compareFiles(own('real'), own('virtual'), OPTIONS)).toThrow(/phasebit clock/)
    expect(find(compareFiles(own('real'), own('real'), OPTIONS), 'p99').gated).toBe(false)
    expect(find(compareFiles(own('virtual'), own('virtual'), OPTIONS), 'p99').gated).toBe(true)
  })
})
