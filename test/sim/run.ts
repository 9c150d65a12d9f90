// npm run sim -- [--seeds N] [--from S] [--workers N] [--world NAME]
//
// N seeds from S on (1,000 from 1 unless said) in each world (worlds.ts), or in the one that is named, spread over the cores;
// the count at the end is of seeds really run. The first failure is printed with everything that was drawn, ends the run with
// status 1, and is repeated by `npm run sim -- --seeds 1 --from SEED --world NAME`.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { WORLDS } from './worlds.js'

/** What a worker is asked. */
interface Question {
  readonly world: string
  readonly seed: number
}

/** What a worker answers. */
type Answer = { readonly ios: number; readonly virtualNs: number } | { readonly failure: string }

/** A seed that takes longer, in ms of the wall, hangs: a run at idle priority on a busy host may get no time for a minute. */
const WATCHDOG_MS = 600_000

interface Totals {
  seeds: number
  ios: number
  virtualNs: number
  failure: string | null
}

async function runAll(
  world: string,
  first: number,
  count: number,
  workers: number,
): Promise<Totals> {
  const totals: Totals = { seeds: 0, ios: 0, virtualNs: 0, failure: null }
  let next = first
  const work = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url))
    while (totals.failure === null && next < first + count) {
      const answer = await ask(worker, { world, seed: next++ })
      if ('failure' in answer) totals.failure ??= answer.failure
      else {
        totals.seeds++
        totals.ios += answer.ios
        totals.virtualNs += answer.virtualNs
      }
    }
    await worker.terminate()
  }
  await Promise.all(Array.from({ length: Math.min(workers, count) }, work))
  return totals
}

/** A worker that dies or hangs answers with that. */
function ask(worker: Worker, question: Question): Promise<Answer> {
  return new Promise(resolve => {
    const died = (error: unknown): void => {
      clearTimeout(watchdog)
      resolve({ failure: `seed ${question.seed}: the worker died: ${String(error)}` })
    }
    const watchdog = setTimeout(() => died('it does not end'), WATCHDOG_MS)
    worker.removeAllListeners()
    worker.once('message', (answer: Answer) => {
      clearTimeout(watchdog)
      resolve(answer)
    })
    worker.once('error', died)
    worker.once('exit', code => died(`exit status ${code}`))
    worker.postMessage(question)
  })
}

async function answer({ world, seed }: Question): Promise<Answer> {
  try {
    return await WORLDS[world]!(seed)
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return { failure: text.startsWith(`seed ${seed}:`) ? text : `seed ${seed}: ${text}` }
  }
}

const OPTIONS = {
  seeds: { type: 'string', default: '1000' },
  from: { type: 'string', default: '1' },
  workers: { type: 'string', default: String(availableParallelism()) },
  world: { type: 'string' },
} as const

function whole(name: string, text: string, least: number): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new Error(`--${name} needs a whole number from ${least}`)
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS })
  const seeds = whole('seeds', values.seeds, 1)
  const from = whole('from', values.from, 0)
  const { world } = values
  if (world !== undefined && !Object.hasOwn(WORLDS, world))
    throw new Error(`--world ${world}: there are ${Object.keys(WORLDS).join(', ')}`)
  const workers = whole('workers', values.workers, 1)
  for (const name of world === undefined ? Object.keys(WORLDS) : [world]) {
    const totals = await runAll(name, from, seeds, workers)
    const ms = Math.round(totals.virtualNs / 1e6)
    const times = name === 'jobs' ? ', each twice' : ''
    console.log(
      `${name}: ${totals.seeds} seeds from ${from}: ${totals.ios} I/Os, ${ms} ms of virtual time${times}`,
    )
    if (totals.failure === null) continue
    console.error(totals.failure)
    return 1
  }
  return 0
}

if (isMainThread) {
  try {
    process.exitCode = await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 64
  }
} else {
  parentPort!.on('message', async (question: Question) =>
    parentPort!.postMessage(await answer(question)),
  )
}
