// The report's forms, each held against what its reader expects, and the exit status.
import { describe, expect, it } from 'vitest'
import {
  actionBenchmark,
  bencherJson,
  csv,
  goBench,
  hyperfineJson,
  junitXml,
  nativeJson,
} from '../../../src/gate/exports.js'
import {
  annotations,
  changeText,
  figure,
  reportText,
  summaryText,
} from '../../../src/gate/print.js'
import { exitStatus, type GateResult, type Verdict } from '../../../src/gate/types.js'
import { CHANGED, REGRESSED, reportOf, SAME, SLOWER } from './report.js'

const REPORT = reportOf([SAME, SLOWER, REGRESSED])

describe('the exit status', () => {
  const status = (verdicts: Verdict[], strict = false, init = false): number =>
    exitStatus(
      verdicts.map((verdict): GateResult => ({ ...SAME, verdict })),
      { strict, init },
    )

  it.each([
    [['same', 'improved', 'unclear', 'noisy', 'advisory'], 0],
    [['same', 'regressed', 'changed', 'new'], 1],
    [['changed', 'new'], 2],
    [['new', 'same'], 3],
    [[], 0],
  ] as const)('of %j is %i', (verdicts, expected) => {
    expect(status([...verdicts])).toBe(expected)
  })

  it('is 2 for what is unclear when that is not accepted, and 0 for a first baseline when it is', () => {
    expect(status(['unclear'], true)).toBe(2)
    expect(status(['noisy'], true)).toBe(2)
    expect(status(['improved'], true)).toBe(0)
    expect(status(['new'], false, true)).toBe(0)
  })

  it('does not look at advisory figures', () => {
    const advisory = { ...SAME, verdict: 'regressed' as const, gated: false }
    expect(exitStatus([advisory], { strict: true, init: false })).toBe(0)
  })
})

describe('the table', () => {
  it('has the worst first, and every note', () => {
    const lines = reportText(REPORT).trimEnd().split('\n')
    expect(lines[1]).toMatch(
      /^regressed +inline, <qd> 32 +rate +4\.000 MIO\/s +3\.600 MIO\/s +-10\.0 % \(-11\.0 to -9\.0\) +5 %$/,
    )
    expect(lines[2]).toMatch(/^unclear/)
    expect(lines.at(-1)).toBe('gate (pair): 1 regressed, 1 unclear, 1 same')
    expect(lines).toContain('note: a | note')
    expect(lines).toContain('note: a: read, p99: 100 % strange')
  })

  it('lists of exact metrics what has changed', () => {
    const text = reportText(reportOf([SAME, CHANGED], 'exact'))
    expect(text).toMatch(/^verdict/)
    expect(text).toMatch(/changed +j\.fio: run +order +abc +def/)
    expect(text).not.toMatch(/same +j/)
    expect(reportText(reportOf([SAME], 'exact'))).toBe('note: a | note\ngate (exact): 1 same\n')
  })

  it('writes figures as a person would', () => {
    expect(figure(12_345_678, 'IO/s')).toBe('12.35 MIO/s')
    expect(figure(512, 'B/s')).toBe('512.0 B/s')
    expect(figure(1234.56, 'ns')).toBe('1234.6 ns')
    expect(figure('abc', 'hash')).toBe('abc')
    expect(changeText({ estimate: 1.021, lo: 1.01, hi: 1.03 })).toBe('+2.1 % (+1.0 to +3.0)')
  })
})

describe('GitHub', () => {
  it('gets a Markdown table', () => {
    const text = summaryText(REPORT)
    expect(text).toMatch(/^### phasebit gate \(pair\): 1 regressed/)
    expect(text).toContain('| regressed | inline, \\<qd\\> 32 |')
    expect(text).toContain('- a \\| note')
    const many = Array.from({ length: 30_000 }, () => REGRESSED)
    expect(Buffer.byteLength(summaryText(reportOf(many)))).toBeLessThan(2 ** 20)
  })

  it('gets annotations, ten of each at most', () => {
    expect(annotations(REPORT)).toEqual([
      '::error title=regressed%3A inline%2C <qd> 32::inline, <qd> 32, rate: 4.000 MIO/s became 3.600 MIO/s, -10.0 %25 (-11.0 to -9.0)',
      '::warning title=unclear%3A a%3A read::a: read, p99: 1000 ns became 1250 ns, -20.0 %25 (-50.0 to +10.0)',
    ])
    const many = Array.from({ length: 40 }, () => CHANGED)
    expect(annotations(reportOf(many, 'exact')).length).toBe(10)
  })

  it('gets benchmarks, one file for each direction', () => {
    expect(JSON.parse(actionBenchmark(REPORT, 'higher'))).toEqual([
      { name: 'j.fio: a: read ios', unit: 'IOs', value: 7, extra: 'verdict: same' },
      {
        name: 'inline, <qd> 32 rate',
        unit: 'IO/s',
        value: 3_600_000,
        range: '±1.1%',
        extra: 'verdict: regressed',
      },
    ])
    const smaller = JSON.parse(actionBenchmark(REPORT, 'lower')) as { name: string }[]
    expect(smaller.map(one => one.name)).toEqual(['a: read p99'])
    expect(JSON.parse(actionBenchmark(reportOf([CHANGED]), 'higher'))).toEqual([])
  })
})

describe('other tools', () => {
  it('Bencher: measures with bounds around the head', () => {
    const json = JSON.parse(bencherJson(REPORT)) as Record<
      string,
      Record<string, { value: number; lower_value: number; upper_value: number }>
    >
    const { value, lower_value, upper_value } = json['inline, <qd> 32']['throughput']
    expect(value).toBe(3_600_000)
    expect(lower_value).toBeCloseTo(3_560_000, -1)
    expect(upper_value).toBeCloseTo(3_640_000, -1)
    const latency = json['a: read']['latency']
    expect(latency.lower_value).toBeLessThan(latency.value)
    expect(latency.upper_value).toBeGreaterThan(latency.value)
  })

  it('Bencher: no two metrics share a measure', () => {
    const two = [SLOWER, { ...SLOWER, metric: 'p50' }]
    expect(Object.keys(JSON.parse(bencherJson(reportOf(two)))['a: read'])).toEqual([
      'latency',
      'p50',
    ])
  })

  it('JUnit: failures, skipped, properties, and text that XML can hold', () => {
    const strange = { ...CHANGED, benchmark: 'a"&\u0001<b>' }
    const text = junitXml(reportOf([SAME, SLOWER, REGRESSED, strange]))
    expect(text).toContain(
      '<testsuites name="phasebit gate (pair)" tests="4" failures="2" skipped="1" errors="0">',
    )
    expect(text).toContain('<failure message="regressed" type="regressed">')
    expect(text).toContain('<skipped message="unclear"/>')
    expect(text).toContain(
      '<testsuite name="a: read" tests="1" failures="0" skipped="1" errors="0">',
    )
    expect(text.match(/<testsuite /g)!.length).toBe(4)
    expect(text).toContain('classname="phasebit.gate.pair.a&quot;&amp;?&lt;b&gt;"')
    expect(text).toContain('<property name="ratio" value="0.9"/>')
    expect(text.match(/<testcase/g)!.length).toBe(text.match(/<\/testcase>/g)!.length)
  })

  it('Go: a line for each sample, times for rates', () => {
    const head = goBench(REPORT, 'head', 8).trimEnd().split('\n')
    expect(head[0]).toBe('pkg: phasebit')
    expect(head).toContain(`BenchmarkInlineQd32/Rate-8 1 ${1e9 / 3_500_000} ns/op`)
    expect(head).toContain('BenchmarkARead/P99-8 1 1300 ns')
    for (const line of head.slice(1)) expect(line).toMatch(/^Benchmark\S+-8 1 [\d.]+ \S+$/)
    expect(goBench(REPORT, 'base', 8).split('\n').length).toBe(head.length + 1)
  })

  it('hyperfine: seconds of rates, and no mean of percentiles', () => {
    const { results } = JSON.parse(hyperfineJson(REPORT)) as {
      results: { command: string; mean: number; times: number[] }[]
    }
    expect(results.map(one => one.command)).toEqual([
      'inline, <qd> 32 rate (base)',
      'inline, <qd> 32 rate (head)',
    ])
    expect(results[0]).toMatchObject({ mean: 2.5e-7, median: 2.5e-7, min: 2.5e-7, max: 2.5e-7 })
    expect(results[1].times).toEqual([1 / 3_500_000, 1 / 3_700_000])
  })

  it('CSV: a line for each metric, quoted where needed', () => {
    const lines = csv(REPORT).trimEnd().split('\n')
    expect(lines.length).toBe(4)
    expect(lines[3]).toBe(
      '"inline, <qd> 32",rate,IO/s,regressed,4000000,3600000,0.9,0.89,0.91,0.05',
    )
  })

  it('the native form has everything', () => {
    expect(JSON.parse(nativeJson(REPORT, 1))).toEqual({ ...REPORT, exit_status: 1 })
  })
})
