// `phasebit sweep`: every point of a sweep file is run once, by a pool of processes.
//
//   finished points   are skipped: their files are named by the hash of what was run
//   a point's run     is a `phasebit run` of its own. One that was killed is run again; one that fails is reported, the others
//                     go on, and the next call of the same command tries it again
//   a killed sweep    leaves finished points and nothing else; the same command goes on
//
// Results are printed nowhere: they are JSON lines in the output folder (sweep-results.ts).

import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { UserError } from '../core/errors.js'
import { distUrl } from '../core/wasm.js'
import { isRecord } from '../gate/json-file.js'
import type { Fingerprint } from '../gate/types.js'
import { writeText } from './gate-exact.js'
import { hostFingerprint } from './gate-speed.js'
import { printErr, printOut } from './output.js'
import {
  finishedPoints,
  fingerprintOf,
  headerOf,
  type PointResult,
  resultsText,
  storePoint,
} from './sweep-results.js'
import {
  type Point,
  parseShard,
  pointText,
  readSweep,
  type Shard,
  type Sweep,
  shardPoints,
} from './sweep-spec.js'

/** How often a point is run whose process is killed. */
const ATTEMPTS = 3

interface Options {
  readonly file: string
  readonly folder: string
  readonly shard: Shard
  readonly workers: number | null
  readonly dryRun: boolean
}

/** Runs `phasebit sweep ARGS...`; the result is the exit status. */
export async function sweepCommand(argv: readonly string[]): Promise<number> {
  const options = readOptions(argv)
  const sweep = readSweep(options.file)
  const points = shardPoints(sweep, options.shard)
  if (options.dryRun)
    return printOut(points.map(point => `${point.hash} ${pointText(point)}\n`).join(''))
  const results = finishedPoints(options.folder, points, ownFingerprint(sweep.clock))
  const open = points.filter(point => !results.has(point.hash))
  const before = results.size
  const runner = new Runner(options.folder, results)
  const failures = await runner.run(open, options.workers ?? defaultWorkers(sweep))
  if (failures > 0 || runner.interrupted) {
    const left = points.length - results.size
    printErr(
      `phasebit: ${left} of ${points.length} points are not done; the same command goes on\n`,
    )
    return 1
  }
  const path = writeResults(sweep, points, results, options)
  return printOut(`${points.length} points, ${before} of them done before: ${path}\n`)
}

function readOptions(argv: readonly string[]): Options {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(argv)
  } catch (error) {
    throw new UserError((error as Error).message)
  }
  const { values, positionals } = parsed
  if (positionals.length !== 1)
    throw new UserError('phasebit sweep takes one sweep file (phasebit sweep --help)')
  const [file] = positionals
  return {
    file,
    folder: values.output ?? file.replace(/(\.json)?$/, '.results'),
    shard: values.shard === undefined ? { index: 1, count: 1 } : parseShard(values.shard),
    workers: values.workers === undefined ? null : workersOf(values.workers),
    dryRun: values['dry-run'] ?? false,
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      output: { type: 'string' },
      shard: { type: 'string' },
      workers: { type: 'string' },
      'dry-run': { type: 'boolean' },
    },
  })
}

function workersOf(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text)
  throw new UserError(`--workers=${text}: 1 to 999 is accepted`)
}

/** Virtual time does not mind company; runs in real time would measure each other. */
function defaultWorkers(sweep: Sweep): number {
  return sweep.clock === 'virtual' ? availableParallelism() : 1
}

function ownFingerprint(clock: 'real' | 'virtual'): Fingerprint {
  const { version } = JSON.parse(readFileSync(distUrl('../package.json'), 'utf8')) as {
    version: string
  }
  const core = readFileSync(distUrl('core.hash'), 'utf8').slice(0, 16)
  return fingerprintOf({ phasebit: { version, core, clock } }, hostFingerprint())
}

function writeResults(
  sweep: Sweep,
  points: readonly Point[],
  results: ReadonlyMap<string, PointResult>,
  { folder, shard }: Options,
): string {
  const name =
    shard.count === 1 ? 'results.jsonl' : `results.${shard.index}-of-${shard.count}.jsonl`
  const path = join(folder, name)
  const lines = points.map(({ index, hash, overrides, seed }) => {
    const { result } = results.get(hash)!
    return { index, hash, overrides, seed, result }
  })
  const fingerprint = ownFingerprint(sweep.clock)
  const header = headerOf(sweep.hash, sweep.points.length, shard, lines.length, fingerprint)
  writeText(folder, path, resultsText(header, lines))
  return path
}

// ------------------------------------------------------------------ running

const CLI = fileURLToPath(distUrl('lib/cli.js'))

/** How a run of a point ended. */
type Ended = { readonly killed: string } | { readonly failed: string } | { readonly text: string }

/** Runs points, some at a time. */
class Runner {
  readonly #folder: string
  readonly #results: Map<string, PointResult>
  readonly #children = new Set<ChildProcess>()
  interrupted = false

  constructor(folder: string, results: Map<string, PointResult>) {
    this.#folder = folder
    this.#results = results
  }

  /** Returns how many have failed. */
  async run(points: readonly Point[], workers: number): Promise<number> {
    const stop = (): void => {
      this.interrupted = true
      for (const child of this.#children) child.kill('SIGKILL')
    }
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    let failures = 0
    let next = 0
    const work = async (): Promise<void> => {
      while (next < points.length && !this.interrupted) {
        const point = points[next++]
        if (!(await this.#point(point))) failures++
      }
    }
    try {
      await Promise.all(Array.from({ length: Math.min(workers, points.length) }, work))
    } finally {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
      for (const child of this.#children) child.kill('SIGKILL')
    }
    return failures
  }

  async #point(point: Point): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      const ended = await this.#child(point)
      if ('text' in ended) {
        this.#keep(point, ended.text)
        return true
      }
      if (this.interrupted) return false
      if ('killed' in ended && attempt < ATTEMPTS) continue
      const why = 'killed' in ended ? `killed ${ATTEMPTS} times by ${ended.killed}` : ended.failed
      printErr(`phasebit: point ${point.index} ${pointText(point)}: ${why}\n`)
      return false
    }
  }

  #keep({ hash }: Point, text: string): void {
    const result: unknown = JSON.parse(text)
    if (!isRecord(result)) throw new Error('a run printed no result')
    const stored = { hash, fingerprint: fingerprintOf(result, hostFingerprint()), result }
    storePoint(this.#folder, stored)
    this.#results.set(hash, stored)
  }

  #child(point: Point): Promise<Ended> {
    const args = [CLI, 'run', ...point.args, '--output-format=json+', '--eta=never']
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#children.add(child)
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (data: Buffer) => out.push(data))
    child.stderr.on('data', (data: Buffer) => err.push(data))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => {
        this.#children.delete(child)
        if (signal !== null) resolve({ killed: signal })
        else if (code === 0) resolve({ text: Buffer.concat(out).toString('utf8') })
        else resolve({ failed: failure(Buffer.concat(err).toString('utf8'), code) })
      })
    })
  }
}

/** What a failed run complained about, without its notes. */
function failure(text: string, code: number | null): string {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('phasebit: note:'))
  return (lines[0] ?? `exit status ${code}`).replace(/^phasebit: /, '')
}
