// npm run sim -- [--seeds N] [--from S] [--workers N]
//
// N seeds from S on (1,000 from 1 unless said), spread over the cores; the count at the end is of seeds really run. The first
// failure is printed with everything that was drawn, ends the run with status 1, and is repeated by
// `npm run sim -- --seeds 1 --from SEED`.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { simulate } from './simulate.js'

/** What a worker answers. */
type Answer = { readonly ios: number; readonly virtualNs: number } | { readonly failure: string }

/** A seed that takes longer, in ms, hangs. */
const WATCHDOG_MS = 60_000

interface Totals {
  seeds: number
  ios: number
  virtualNs: number
  failure: string | null
}

async function runAll(first: number, count: number, workers: number): Promise<Totals> {
  const totals: Totals = { seeds: 0, ios: 0, virtualNs: 0, failure: null }
  let next = first
  const work = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url))
    while (totals.failure === null && next < first + count) {
      const answer = await ask(worker, next++)
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
function ask(worker: Worker, seed: number): Promise<Answer> {
  return new Promise(resolve => {
    const died = (error: unknown): void => {
      clearTimeout(watchdog)
      resolve({ failure: `seed ${seed}: the worker died: ${String(error)}` })
    }
    const watchdog = setTimeout(() => died('it does not end'), WATCHDOG_MS)
    worker.removeAllListeners()
    worker.once('message', (answer: Answer) => {
      clearTimeout(watchdog)
      resolve(answer)
    })
    worker.once('error', died)
    worker.once('exit', code => died(`exit status ${code}`))
    worker.postMessage(seed)
  })
}

async function answer(seed: number): Promise<Answer> {
  try {
    return await simulate(seed)
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}

const OPTIONS = {
  seeds: { type: 'string', default: '1000' },
  from: { type: 'string', default: '1' },
  workers: { type: 'string', default: String(availableParallelism()) },
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
  const totals = await runAll(from, seeds, whole('workers', values.workers, 1))
  const ms = Math.round(totals.virtualNs / 1e6)
  console.log(
    `${totals.seeds} seeds from ${from}: ${totals.ios} I/Os, ${ms} ms of virtual time, each twice`,
  )
  if (totals.failure !== null) console.error(totals.failure)
  return totals.failure === null ? 0 : 1
}

if (isMainThread) {
  try {
    process.exitCode = await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 64
  }
} else {
  parentPort!.on('message', async (seed: number) => parentPort!.postMessage(await answer(seed)))
}
