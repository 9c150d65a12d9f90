// Results as a person reads them: a row for each cell, below it what its sides came to.

import { type Goal, reached } from './cell.js'
import type { CellResult, Outcome } from './harness.js'
import type { MicroResult } from './micro/micro.js'
import { median, type Summary } from './stats.js'

const NAME = 20
const FIGURE = 22
const GOAL = 10
const CPU = 8

/** Three significant digits, at most two decimals. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toFixed(digits)
}

/** Median and range. */
function range({ median: middle, min, max }: Summary, unit: string): string {
  const text = `${short(middle)} (${short(min)}..${short(max)})`
  return unit === '' ? text : `${text} ${unit}`
}

function goalText(goal: Goal | null): string {
  return goal === null ? '' : `${goal.is === 'at most' ? '<=' : '>='} ${goal.value}`
}

/** Whether the goal is met; if only by CPU time, that is said: the host may have been busy. */
function verdict({ cell, summary, byCpu }: CellResult): string {
  if (cell.goal === null) return ''
  if (summary.n === 0) return 'no figure'
  if (reached(cell.goal, summary.median)) return 'met'
  return byCpu !== null && reached(cell.goal, byCpu.median) ? 'missed; met by CPU time' : 'MISSED'
}

/** The head of the table. */
export function tableHead(): string {
  const [name, figure] = ['cell'.padEnd(NAME), 'median (range)'.padEnd(FIGURE)]
  return `${name} ${figure} ${'by CPU'.padEnd(CPU)} goal`
}

/** The lines of one cell. */
export function tableRow(outcome: Outcome): string {
  const { name, title } = outcome.cell
  if ('skipped' in outcome) return `${name.padEnd(NAME)} skipped: ${outcome.skipped}`
  if ('failed' in outcome) return `${name.padEnd(NAME)} FAILED: ${outcome.failed}`
  const { cell, summary, byCpu } = outcome
  const columns = [
    name.padEnd(NAME),
    range(summary, cell.figureUnit).padEnd(FIGURE),
    (byCpu === null ? '' : short(byCpu.median)).padEnd(CPU),
    goalText(cell.goal).padEnd(GOAL),
    verdict(outcome),
  ]
  return `${columns.join(' ').trimEnd()}\n    ${title}\n    ${sides(outcome)}`
}

function sides({ cell, sides }: CellResult): string {
  const texts = sides.map(({ name, values }) => `${name} ${short(median(values))}`)
  return `${texts.join(', ')} ${cell.unit}`
}

const MICRO_NAME = 46

/** A microbenchmark, ns for each operation, and how many times as long its twin in plain JavaScript takes. */
export function microRow({ name, p50, min, max, twin }: MicroResult): string {
  const own = `${short(p50).padStart(7)} (${short(min)}..${short(max)}) ns`
  const other =
    twin === null
      ? '  plain JavaScript itself'
      : `  JavaScript ${short(twin).padStart(6)} ns, ${(twin / p50).toFixed(2)} times`
  return `${name.padEnd(MICRO_NAME)} ${own.padEnd(30)}${other}`.trimEnd()
}
