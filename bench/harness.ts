// Runs a cell: some fresh processes, some rounds in each, every side once a round.
//
// The order of the sides turns with every round, so that what drifts meets them all; the figure is
// made within the round. What is missing on this host makes the cell skipped, with the reason; what
// goes wrong makes it failed.

import type { Cell, Measured, Need, Size } from './cell.js'
import { Child } from './children.js'
import { buildBareCore } from './bare.js'
import { buildYardstick } from './native.js'
import { output } from './spawn.js'
import { type Summary, summarize } from './stats.js'

/** How often, and how large. */
export interface Effort {
  readonly processes: number
  /** Rounds of each process. */
  readonly rounds: number
  readonly size: Size
}

/** The values of one side, one for each round. */
export interface SideResult {
  readonly name: string
  readonly values: readonly number[]
}

/** What a cell came to. */
export interface CellResult {
  readonly cell: Cell
  /** The figure of each round, and what they come to. */
  readonly figures: readonly number[]
  readonly summary: Summary
  /** The same by CPU time; none when a side has no CPU time. */
  readonly byCpu: Summary | null
  readonly sides: readonly SideResult[]
}

export type Outcome = CellResult | { readonly cell: Cell; readonly skipped: string } | Failure

export interface Failure {
  readonly cell: Cell
  readonly failed: string
}

/** Every side of one round. */
type Round = readonly Measured[]

const CHECKS: Readonly<Record<Need, () => Promise<string | null>>> = {
  yardstick: buildYardstick,
  'bare core': buildBareCore,
  fio: async () => {
    try {
      await output('fio', ['--version'])
      return null
    } catch {
      return 'fio is not installed'
    }
  },
}

async function missing(cell: Cell): Promise<string | null> {
  for (const need of cell.needs) {
    const why = await CHECKS[need]()
    if (why !== null) return why
  }
  return null
}

/** Runs a cell. Never throws for what the cell does. */
export async function runCell(cell: Cell, effort: Effort): Promise<Outcome> {
  const skipped = await missing(cell)
  if (skipped !== null) return { cell, skipped }
  try {
    const rounds: Round[] = []
    for (let i = 0; i < effort.processes; i++) rounds.push(...(await oneProcess(cell, effort)))
    return cellResult(cell, rounds)
  } catch (error) {
    return { cell, failed: error instanceof Error ? error.message : String(error) }
  }
}

async function oneProcess(cell: Cell, { rounds, size }: Effort): Promise<Round[]> {
  const child = cell.sides.some(side => side.where === 'child') ? new Child(cell) : null
  const result: Round[] = []
  try {
    for (let i = 0; i < rounds; i++) result.push(await oneRound(cell, child, i, size))
  } finally {
    await child?.end()
  }
  return result
}

async function oneRound(
  cell: Cell,
  child: Child | null,
  first: number,
  size: Size,
): Promise<Round> {
  const n = cell.sides.length
  const measured = new Array<Measured>(n)
  for (let k = 0; k < n; k++) {
    const i = (first + k) % n
    const side = cell.sides[i]!
    measured[i] = await (side.where === 'child' ? child!.measure(i, size) : side.measure(size))
  }
  return measured
}

/** The medians of what the rounds came to. */
export function cellResult(cell: Cell, rounds: readonly Round[]): CellResult {
  const figures = rounds.map(round => cell.figure(round.map(side => side.value)))
  const cpu = rounds.map(round => cell.figure(round.map(side => side.cpu ?? Number.NaN)))
  return {
    cell,
    figures,
    summary: summarize(figures),
    byCpu: cpu.some(Number.isFinite) ? summarize(cpu) : null,
    sides: cell.sides.map((side, i) => ({
      name: side.name,
      values: rounds.map(round => round[i]!.value),
    })),
  }
}
