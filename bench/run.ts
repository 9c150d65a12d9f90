// npm run bench -- [NAME...] [--quick] [--json FILE] [--rounds N] [--processes N] [--list]
//
// Names choose cells, by themselves or by how they begin; `micro` stands for the microbenchmarks.
// Without a name everything runs. The table goes to standard output as it is made. Exit status 1: a
// cell failed, or --json could not be written; a goal that is missed is reported, not an error,
// because the host may be busy.

import { writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { type Cell, reached } from './cell.js'
import { type Effort, type Outcome, runCell } from './harness.js'
import { CELLS } from './macro/cells.js'
import { coreMicros } from './micro/core.js'
import { type MicroResult, runMicros } from './micro/micro.js'
import { timerMicros } from './micro/timer.js'
import { workqueueMicros } from './micro/workqueue.js'
import { microRow, tableHead, tableRow } from './table.js'

const MICRO = 'micro'
const FULL: Effort = { processes: 3, rounds: 5, size: 'large' }
const QUICK: Effort = { processes: 1, rounds: 2, size: 'large' }

interface Options {
  readonly names: readonly string[]
  readonly effort: Effort
  readonly json: string | undefined
  readonly list: boolean
}

/** Everything that is said, or an error that says what is wrong with it. */
function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean' },
      list: { type: 'boolean' },
      json: { type: 'string' },
      rounds: { type: 'string' },
      processes: { type: 'string' },
    },
  })
  const usual = values.quick ? QUICK : FULL
  return {
    names: positionals,
    effort: {
      processes: count('processes', values.processes) ?? usual.processes,
      rounds: count('rounds', values.rounds) ?? usual.rounds,
      size: usual.size,
    },
    json: values.json,
    list: values.list ?? false,
  }
}

function count(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`--${name}=${text}: 1 to 9999 is accepted`)
  return Number(text)
}

function chosen(names: readonly string[]): readonly Cell[] {
  const known = [...CELLS.map(cell => cell.name), MICRO]
  for (const name of names) {
    if (known.some(one => one.startsWith(name))) continue
    throw new Error(`there is no cell ${name}; there are ${known.join(', ')}`)
  }
  return names.length === 0
    ? CELLS
    : CELLS.filter(cell => names.some(name => cell.name.startsWith(name)))
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function loadText(): string {
  const load = loadavg().map(value => value.toFixed(1))
  return `load ${load.join(' ')} on ${availableParallelism()} cores, node ${process.version}`
}

async function runCells(cells: readonly Cell[], effort: Effort): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  if (cells.length > 0) print(tableHead())
  for (const cell of cells) {
    const outcome = await runCell(cell, effort)
    outcomes.push(outcome)
    print(tableRow(outcome))
  }
  return outcomes
}

async function runMicro(names: readonly string[]): Promise<MicroResult[]> {
  if (names.length > 0 && !names.some(name => MICRO.startsWith(name))) return []
  const micros = [
    ...(await coreMicros('large')),
    ...timerMicros('large'),
    ...workqueueMicros('large'),
  ]
  return runMicros(micros, 'large', result => print(microRow(result)))
}

/** How many cells with a goal have reached it. */
function goals(outcomes: readonly Outcome[]): string {
  const judged = outcomes.filter(one => 'summary' in one && one.cell.goal !== null)
  const met = judged.filter(
    one => 'summary' in one && reached(one.cell.goal!, one.summary.median),
  ).length
  return `${met} of ${judged.length} goals met`
}

/** Plain data of an outcome. */
function plain(outcome: Outcome): object {
  const { name, title, unit, goal } = outcome.cell
  const { cell: _, ...rest } = outcome
  return { name, title, unit, goal, ...rest }
}

async function main(): Promise<void> {
  const { names, effort, json, list } = readOptions(process.argv.slice(2))
  const cells = chosen(names)
  if (list) return print([...cells.map(cell => `${cell.name}: ${cell.title}`), MICRO].join('\n'))
  const before = loadText()
  print(`${effort.processes} processes of ${effort.rounds} rounds; ${before}`)
  const outcomes = await runCells(cells, effort)
  const micros = await runMicro(names)
  const after = loadText()
  print(`${goals(outcomes)}; ${after}`)
  if (json !== undefined) {
    const result = { effort, before, after, cells: outcomes.map(plain), micros }
    writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`)
  }
  if (outcomes.some(outcome => 'failed' in outcome)) process.exitCode = 1
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`)
  process.exitCode = 1
}
