// npm run fuzz -- [--cases N] [--seed S] [--only NAME] [--first CASE] [--workers N]
//
// N cases of each fuzzer (100,000 unless said; fewer where a case is long), spread over the cores; the counts at the end are of cases really run. A failure
// prints the fuzzer, its seed and case, ends the run with status 1, and is repeated by
// `npm run fuzz -- --only NAME --seed S --first CASE --cases 1`.
//
// The main thread hands out chunks; each worker runs one at a time, so a slow fuzzer does not hold the others up.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { FUZZERS, LONG_CASES } from './registry.js'

/** Part of a fuzzer's cases. */
interface Chunk {
  readonly name: string
  readonly seed: number
  readonly first: number
  readonly cases: number
}

/** What a worker answers. */
type Answer = { readonly cases: number } | { readonly failure: string }

const CHUNK = 5000
/** A chunk that takes longer, in ms, hangs. */
const WATCHDOG_MS = 600_000

/** All chunks, the fuzzers taking turns, so that a short run touches each of them. */
function chunks(names: readonly string[], seed: number, first: number, cases: number): Chunk[] {
  const list: Chunk[] = []
  for (let at = 0; at < cases; at += CHUNK) {
    for (const name of names) {
      const share = Math.ceil(cases / (LONG_CASES[name] ?? 1))
      if (at >= share) continue
      list.push({ name, seed, first: first + at, cases: Math.min(CHUNK, share - at) })
    }
  }
  return list
}

function runChunk({ name, seed, cases, first }: Chunk): Answer {
  try {
    return FUZZERS[name]!(seed, cases, first)
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}

/** Counts of really run cases by fuzzer; the first failure, if any, ends everything. */
async function runAll(
  list: readonly Chunk[],
  workers: number,
): Promise<{ counts: Map<string, number>; failure: string | null }> {
  const counts = new Map<string, number>()
  let next = 0
  let failure: string | null = null
  const work = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url))
    while (failure === null && next < list.length) {
      const chunk = list[next++]!
      const answer = await ask(worker, chunk)
      if ('failure' in answer) failure ??= answer.failure
      else counts.set(chunk.name, (counts.get(chunk.name) ?? 0) + answer.cases)
    }
    await worker.terminate()
  }
  await Promise.all(Array.from({ length: Math.min(workers, list.length) }, work))
  return { counts, failure }
}

/** A worker that dies answers with its death. */
function ask(worker: Worker, chunk: Chunk): Promise<Answer> {
  return new Promise(resolve => {
    const died = (error: unknown): void => {
      const where = `${chunk.name}: seed ${chunk.seed} cases ${chunk.first} to ${chunk.first + chunk.cases - 1}`
      clearTimeout(watchdog)
      resolve({ failure: `${where}: the worker died: ${String(error)}` })
    }
    const watchdog = setTimeout(() => died('it does not end'), WATCHDOG_MS)
    worker.removeAllListeners()
    worker.once('message', (answer: Answer) => {
      clearTimeout(watchdog)
      resolve(answer)
    })
    worker.once('error', died)
    worker.once('exit', code => died(`exit status ${code}`))
    worker.postMessage(chunk)
  })
}

const OPTIONS = {
  cases: { type: 'string', default: '100000' },
  seed: { type: 'string', default: '1' },
  only: { type: 'string' },
  first: { type: 'string', default: '0' },
  workers: { type: 'string', default: String(availableParallelism()) },
} as const

function count(name: string, text: string, least: number): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new Error(`--${name} needs a whole number from ${least}`)
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS })
  const names = values.only === undefined ? Object.keys(FUZZERS) : [values.only]
  for (const name of names) {
    if (Object.hasOwn(FUZZERS, name)) continue
    throw new Error(`no fuzzer ${name}; there are ${Object.keys(FUZZERS).join(', ')}`)
  }
  const cases = count('cases', values.cases, 1)
  const seed = count('seed', values.seed, 0)
  const list = chunks(names, seed, count('first', values.first, 0), cases)
  const { counts, failure } = await runAll(list, count('workers', values.workers, 1))
  let total = 0
  for (const name of names) {
    console.log(`${name}: ${counts.get(name) ?? 0} cases`)
    total += counts.get(name) ?? 0
  }
  console.log(`total: ${total} cases, seed ${seed}, ${failure === null ? 'no failure' : 'FAILED'}`)
  if (failure !== null) console.error(failure)
  return failure === null ? 0 : 1
}

if (isMainThread) {
  try {
    process.exitCode = await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 64
  }
} else parentPort!.on('message', (chunk: Chunk) => parentPort!.postMessage(runChunk(chunk)))
