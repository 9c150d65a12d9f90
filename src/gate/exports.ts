// The report in other tools' forms.
//
//   nativeJson         everything: every sample, fingerprints, seed, verdicts
//   actionBenchmark    github-action-benchmark: [{ name, unit, value, range, extra }], one file for each direction
//   bencherJson        Bencher Metric Format: { benchmark: { measure: { value, lower_value, upper_value } } }
//   junitXml           a suite for each benchmark, a case for each metric
//   goBench            `BenchmarkName-8 N value unit`, a line for each sample; one text for each side, for benchstat
//   hyperfineJson      { results: [{ command, mean, stddev, median, min, max, times }] }, seconds
//   csv                a line for each metric
//
// All but the native form hold numbers only: hashes and words of exact metrics are left out there. What holds a single value
// for each metric holds the head's.

import { ascending, deviation, mean, median } from './stats.js'
import type { Better, GateReport, GateResult, Side } from './types.js'

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** Everything there is. */
export function nativeJson(report: GateReport, exitStatus: number): string {
  return json({ ...report, exit_status: exitStatus })
}

type Figured = GateResult & { readonly head: Side & { readonly value: number } }

/** Results whose head has a number. */
function figured(report: GateReport): Figured[] {
  return report.results.filter(
    (result): result is Figured => result.head !== null && typeof result.head.value === 'number',
  )
}

/** Half the width of the interval, as free text. */
function range({ ratio }: GateResult): { range: string } | object {
  if (ratio === null) return {}
  const half = ((ratio.hi - ratio.lo) / 2 / ratio.estimate) * 100
  return { range: `±${half.toFixed(1)}%` }
}

/** For the tool customBiggerIsBetter or customSmallerIsBetter. */
export function actionBenchmark(report: GateReport, better: Better): string {
  const entries = figured(report)
    .filter(result => result.better === better)
    .map(result => ({
      name: `${result.benchmark} ${result.metric}`,
      unit: result.unit === '' ? 'count' : result.unit,
      value: result.head.value,
      ...range(result),
      extra: `verdict: ${result.verdict}`,
    }))
  return json(entries)
}

const BENCHER_NAME = 1024
const BENCHER_MEASURE = 64

/** The measures that Bencher knows by itself: ns are latency, operations a second are throughput. */
function measure({ unit, metric }: GateResult, taken: object): string {
  const built = unit === 'ns' ? 'latency' : unit === 'IO/s' ? 'throughput' : metric
  return (Object.hasOwn(taken, built) ? metric : built).slice(0, BENCHER_MEASURE)
}

export function bencherJson(report: GateReport): string {
  const benchmarks: Record<string, Record<string, object>> = {}
  for (const result of figured(report)) {
    const name = result.benchmark.slice(0, BENCHER_NAME)
    const measures = (benchmarks[name] ??= {})
    measures[measure(result, measures)] = { value: result.head.value, ...bounds(result) }
  }
  return json(benchmarks)
}

/** The interval of the ratio, around the head's value. */
function bounds({ ratio, head, better }: Figured): object {
  if (ratio === null) return {}
  const of = (x: number): number =>
    better === 'higher' ? (head.value * x) / ratio.estimate : (head.value * ratio.estimate) / x
  const [a, b] = [of(ratio.lo), of(ratio.hi)]
  return { lower_value: Math.min(a, b), upper_value: Math.max(a, b) }
}

// ------------------------------------------------------------------ JUnit

function xml(text: string): string {
  const names: Readonly<Record<string, string>> = { '<': 'lt', '>': 'gt', '&': 'amp', '"': 'quot' }
  // control characters have no place in XML, escaped or not
  return [...text]
    .map(c => (names[c] ? `&${names[c]};` : c < ' ' && c !== '\n' && c !== '\t' ? '?' : c))
    .join('')
}

function properties(result: GateResult): string[] {
  const { base, head, ratio, limit, unit, confirmation, selfCheck } = result
  const list: [string, string | number | undefined][] = [
    ['base', base?.value],
    ['head', head?.value],
    ['unit', unit],
    ['ratio', ratio?.estimate],
    ['ratio_lo', ratio?.lo],
    ['ratio_hi', ratio?.hi],
    ['limit', limit ?? undefined],
    ['confirmation', confirmation?.estimate],
    ['self_check_lo', selfCheck?.lo],
    ['self_check_hi', selfCheck?.hi],
  ]
  return list
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `        <property name="${name}" value="${xml(String(value))}"/>`)
}

function outcome({ verdict, gated, notes, base, head }: GateResult): string[] {
  const text = xml([`base ${base?.value ?? '-'}, head ${head?.value ?? '-'}`, ...notes].join('; '))
  if (!gated) return []
  if (verdict === 'regressed' || verdict === 'changed')
    return [`      <failure message="${verdict}" type="${verdict}">${text}</failure>`]
  if (verdict === 'same' || verdict === 'improved') return []
  return [`      <skipped message="${verdict}"/>`]
}

/** The attributes that count cases. */
function counts(results: readonly GateResult[]): string {
  const has = (tag: string): number =>
    results.filter(result => outcome(result)[0]?.includes(tag)).length
  return `tests="${results.length}" failures="${has('<failure')}" skipped="${has('<skipped')}" errors="0"`
}

export function junitXml({ results, mode }: GateReport): string {
  const benchmarks = [...new Set(results.map(result => result.benchmark))]
  const suites = benchmarks.flatMap(benchmark => {
    const own = results.filter(result => result.benchmark === benchmark)
    return [
      `  <testsuite name="${xml(benchmark)}" ${counts(own)}>`,
      ...own.flatMap(result => testcase(result, mode)),
      '  </testsuite>',
    ]
  })
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="phasebit gate (${mode})" ${counts(results)}>`,
    ...suites,
    '</testsuites>',
  ].join('\n')}\n`
}

function testcase(result: GateResult, mode: string): string[] {
  return [
    `    <testcase classname="phasebit.gate.${mode}.${xml(result.benchmark)}" name="${xml(result.metric)}">`,
    '      <properties>',
    ...properties(result),
    '      </properties>',
    ...outcome(result),
    '    </testcase>',
  ]
}

// ------------------------------------------------------------------ samples

/** Samples of a side; an exact figure is its own only sample. */
function samplesOf(side: Side | null): readonly number[] {
  if (side === null || typeof side.value === 'string') return []
  return side.samples.length > 0 ? side.samples : [side.value]
}

/** Letters and digits only, each word with a capital, as Go's tools want it. */
function goName(text: string): string {
  return text
    .split(/[^A-Za-z0-9.]+/)
    .map(word => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}

/** One side as Go's benchmarks print themselves: a rate becomes ns/op, which is what such tools compare. */
export function goBench(report: GateReport, side: 'base' | 'head', cores: number): string {
  const lines = report.results.flatMap(result => {
    const name = `Benchmark${goName(result.benchmark)}/${goName(result.metric)}-${cores}`
    const isRate = result.unit.endsWith('/s') && result.unit !== 'B/s'
    return samplesOf(result[side]).map(value =>
      isRate
        ? `${name} 1 ${1e9 / value} ns/op`
        : `${name} 1 ${value} ${result.unit === '' ? 'count' : result.unit.replace(/\s/g, '-')}`,
    )
  })
  return `${['pkg: phasebit', ...lines].join('\n')}\n`
}

/** Seconds of one operation, of metrics that are rates of operations. Percentiles have no mean, so they are left out. */
function seconds({ unit }: GateResult, value: number): number | null {
  return unit.endsWith('/s') && unit !== 'B/s' ? 1 / value : null
}

export function hyperfineJson(report: GateReport): string {
  const results = report.results.flatMap(result =>
    (['base', 'head'] as const).flatMap(side => {
      const times = samplesOf(result[side])
        .map(value => seconds(result, value))
        .filter(time => time !== null)
      if (times.length === 0) return []
      const sorted = ascending(times)
      return {
        command: `${result.benchmark} ${result.metric} (${side})`,
        mean: mean(times),
        stddev: times.length > 1 ? deviation(times) : null,
        median: median(times),
        min: sorted[0],
        max: sorted.at(-1),
        times,
      }
    }),
  )
  return json({ results })
}

const COLUMNS = [
  'benchmark',
  'metric',
  'unit',
  'verdict',
  'base',
  'head',
  'ratio',
  'lo',
  'hi',
  'limit',
]

export function csv(report: GateReport): string {
  const cell = (value: string | number | null | undefined): string => {
    const text = String(value ?? '')
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  const lines = report.results.map(
    ({ benchmark, metric, unit, verdict, base, head, ratio, limit }) =>
      [
        benchmark,
        metric,
        unit,
        verdict,
        base?.value,
        head?.value,
        ratio?.estimate,
        ratio?.lo,
        ratio?.hi,
        limit,
      ]
        .map(cell)
        .join(','),
  )
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`
}
