// The gate's report for people: a table on a terminal, Markdown for a step summary, and annotations of GitHub Actions.
//
// Exact metrics are many and mostly the same, so only those that are not are listed.

import type { GateReport, GateResult, Ratio, Side, Verdict } from './types.js'

/** Annotations that one step may show. */
const ANNOTATIONS = 10

/** A step summary may take 1 MiB; what is longer is not shown at all. */
const SUMMARY_BYTES = 1_000_000

const ORDER: readonly Verdict[] = [
  'regressed',
  'changed',
  'noisy',
  'unclear',
  'new',
  'improved',
  'same',
  'advisory',
]

/** A figure with its unit, in the size that a person would use. */
export function figure(value: number | string, unit: string): string {
  if (typeof value === 'string') return value
  const [number, prefix] = scaled(value, unit)
  return `${number}${unit === '' ? '' : ` ${prefix}${unit}`}`
}

function scaled(value: number, unit: string): [string, string] {
  const isRate = unit.endsWith('/s')
  if (!isRate && unit !== 'ns')
    return [Number.isInteger(value) ? String(value) : value.toFixed(3), '']
  if (unit === 'ns') return [Number.isInteger(value) ? String(value) : value.toFixed(1), '']
  for (const [prefix, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= size) return [(value / size).toPrecision(4), prefix]
  }
  return [value.toPrecision(4), '']
}

/** A ratio as a change: `-3.1 % (-3.4 to -2.7)`. */
export function changeText(ratio: Ratio | null): string {
  if (ratio === null) return ''
  const percent = (x: number): string => `${x >= 1 ? '+' : ''}${((x - 1) * 100).toFixed(1)}`
  return `${percent(ratio.estimate)} % (${percent(ratio.lo)} to ${percent(ratio.hi)})`
}

function sideText(side: Side | null, unit: string): string {
  return side === null ? '-' : figure(side.value, unit)
}

function limitText(limit: number | null): string {
  return limit === null ? '' : `${Number((limit * 100).toFixed(1))} %`
}

function row(result: GateResult): string[] {
  const { benchmark, metric, unit, base, head, ratio, limit, verdict } = result
  return [
    verdict,
    benchmark,
    metric,
    sideText(base, unit),
    sideText(head, unit),
    changeText(ratio),
    limitText(limit),
  ]
}

const HEAD = ['verdict', 'benchmark', 'metric', 'base', 'head', 'head is better by', 'limit']

/** Results in the order of their weight; those worth a line. */
function listed(report: GateReport): readonly GateResult[] {
  const worth =
    report.mode === 'exact'
      ? report.results.filter(({ verdict }) => verdict === 'changed')
      : report.results
  return [...worth].sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict))
}

/** `3 same, 1 regressed`, worst first. */
export function countsText(results: readonly GateResult[]): string {
  const counts = ORDER.map(
    verdict => [verdict, results.filter(one => one.verdict === verdict).length] as const,
  )
  return counts
    .filter(([, n]) => n > 0)
    .map(([verdict, n]) => `${n} ${verdict}`)
    .join(', ')
}

/** Notes of the report, then those of results, each once. */
function notesOf(report: GateReport): string[] {
  const own = report.results.flatMap(({ benchmark, metric, notes }) =>
    notes.map(note => `${benchmark}, ${metric}: ${note}`),
  )
  return [...new Set([...report.notes, ...own])]
}

/** The report as text. */
export function reportText(report: GateReport): string {
  const rows = listed(report).map(row)
  const table = rows.length === 0 ? [] : [HEAD, ...rows]
  const widths = HEAD.map((_, i) => Math.max(...table.map(cells => cells[i].length)))
  const lines = table.map(cells =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  )
  const notes = notesOf(report).map(note => `note: ${note}`)
  return `${[...lines, ...notes, `gate (${report.mode}): ${countsText(report.results)}`].join('\n')}\n`
}

function escapeCell(text: string): string {
  return text.replace(/[\\|<>`*_]/g, c => `\\${c}`).replace(/\s+/g, ' ')
}

/** The report in Markdown, short enough for a step summary. */
export function summaryText(report: GateReport): string {
  const cells = (list: readonly string[]): string => `| ${list.map(escapeCell).join(' | ')} |`
  const lines = [`### phasebit gate (${report.mode}): ${countsText(report.results)}`, '']
  const rows = listed(report).map(row)
  if (rows.length > 0) lines.push(cells(HEAD), `|${' --- |'.repeat(HEAD.length)}`)
  let bytes = 0
  for (const [i, one] of rows.entries()) {
    const line = cells(one)
    bytes += line.length * 4
    if (bytes > SUMMARY_BYTES) {
      lines.push('', `${rows.length - i} more are in the JSON report.`)
      break
    }
    lines.push(line)
  }
  const notes = notesOf(report).slice(0, 50)
  if (notes.length > 0) lines.push('', ...notes.map(note => `- ${escapeCell(note)}`))
  return `${lines.join('\n')}\n\n`
}

/** What a workflow command may not hold as it is. */
function escapeMessage(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function escapeTitle(text: string): string {
  return escapeMessage(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

function annotation(kind: 'error' | 'warning', result: GateResult): string {
  const { benchmark, metric, verdict, base, head, unit, ratio } = result
  const change = ratio === null ? '' : `, ${changeText(ratio)}`
  const text = `${benchmark}, ${metric}: ${sideText(base, unit)} became ${sideText(head, unit)}${change}`
  return `::${kind} title=${escapeTitle(`${verdict}: ${benchmark}`)}::${escapeMessage(text)}`
}

/** Workflow commands: errors for what fails, warnings for what cannot be told; at most ten of each. */
export function annotations(report: GateReport): string[] {
  const gated = report.results.filter(result => result.gated)
  const of = (...verdicts: Verdict[]): GateResult[] =>
    gated.filter(({ verdict }) => verdicts.includes(verdict)).slice(0, ANNOTATIONS)
  return [
    ...of('regressed', 'changed').map(result => annotation('error', result)),
    ...of('unclear', 'noisy').map(result => annotation('warning', result)),
  ]
}
