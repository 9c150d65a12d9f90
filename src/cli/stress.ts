// `phasebit stress`: the NVMe driver and its controller under random trouble, from a seed.

import { parseArgs } from 'node:util'
import { UserError } from '../core/errors.js'
import {
  STRESS_FAULTS,
  type StressCounts,
  type StressFault,
  type StressOptions,
  stress,
} from '../workload/stress.js'
import { NS_PER_MS, NS_PER_S, parseTime } from '../workload/units.js'
import { printOut } from './output.js'

const DEFAULT_FOR = '10s'
/** Lives have the seeds that follow. */
const MAX_SEED = 2 ** 52

/** @throws UserError */
export function parseStress(argv: readonly string[]): StressOptions {
  const values = readOptions(argv)
  return {
    clock: parseClock(values.clock ?? 'real'),
    seed: whole('seed', values.seed ?? '1', 0, MAX_SEED),
    faults: parseFaults(values.faults ?? 'all'),
    forMs: parseFor(values.for ?? DEFAULT_FOR),
    maxIos:
      values['max-io'] === undefined
        ? Number.POSITIVE_INFINITY
        : whole('max-io', values['max-io'], 1, Number.MAX_SAFE_INTEGER),
  }
}

function readOptions(argv: readonly string[]): ReturnType<typeof parse>['values'] {
  try {
    return parse(argv).values
  } catch (error) {
    throw new UserError(`stress: ${(error as Error).message}`)
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      clock: { type: 'string' },
      for: { type: 'string' },
      seed: { type: 'string' },
      faults: { type: 'string' },
      'max-io': { type: 'string' },
    },
  })
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new UserError(`stress --${name} ${text}: a whole number from ${least} is accepted`)
}

function parseClock(text: string): StressOptions['clock'] {
  if (text === 'real' || text === 'virtual') return text
  throw new UserError(`stress --clock ${text}: real and virtual are accepted`)
}

function parseFor(text: string): number {
  try {
    const ms = parseTime(text, NS_PER_S) / NS_PER_MS
    if (ms > 0) return ms
  } catch {
    // said below
  }
  throw new UserError(`stress --for ${text}: a time such as 10s, 10m or 1h is accepted`)
}

function parseFaults(text: string): readonly StressFault[] {
  if (text === 'all') return STRESS_FAULTS
  if (text === 'none') return []
  return text.split(',').map(word => {
    const fault = STRESS_FAULTS.find(one => one === word)
    if (fault !== undefined) return fault
    const known = STRESS_FAULTS.join(', ')
    throw new UserError(`stress --faults ${text}: '${word}' is none of ${known}, all, none`)
  })
}

const MIB = 2 ** 20
/** Until then a process still grows: its code is compiled, its heap finds its size. */
const WARM_MS = 120_000

/** Words about the I/Os of the last second or so, and of all; and about memory. */
class Report {
  #ios = 0
  #wallMs = 0
  #warm: number | null = null

  line(counts: StressCounts): string {
    const { ios, rounds, lives, resets, removals, dropped, rules, failed, wallMs } = counts
    const rate = Math.round(((ios - this.#ios) * 1000) / Math.max(wallMs - this.#wallMs, 1))
    this.#ios = ios
    this.#wallMs = wallMs
    const rss = process.memoryUsage.rss()
    if (wallMs >= WARM_MS) this.#warm ??= rss
    return (
      `${(wallMs / 1000).toFixed(1)} s: ${rate} I/Os a second, ${ios} in all; ${rounds} rounds on ${lives} machines, ` +
      `${resets} resets, ${rules} faults, ${removals} removals, ${dropped} namespaces dropped by a scan, ` +
      `${failed} I/Os failed with their controller or namespace; ` +
      `${(rss / MIB).toFixed(1)} MiB resident\n`
    )
  }

  /** The rate of the whole run, and what memory came to since its second minute. */
  last(counts: StressCounts): string {
    const { ios, wallMs } = counts
    this.#ios = 0
    this.#wallMs = 0
    const rss = process.memoryUsage.rss()
    const text = this.line({ ...counts, ios, wallMs })
    if (this.#warm === null || this.#warm === rss) return text
    const percent = ((rss / this.#warm - 1) * 100).toFixed(1)
    return `${text}resident memory after 2 minutes: ${(this.#warm / MIB).toFixed(1)} MiB, at the end ${percent} % more\n`
  }
}

/** Runs `phasebit stress`; the exit status. */
export async function stressCommand(argv: readonly string[]): Promise<number> {
  const options = parseStress(argv)
  const { seed, faults, clock } = options
  await printOut(`stress: seed ${seed}, faults ${faults.join(',') || 'none'}, ${clock} time\n`)
  const report = new Report()
  const counts = await stress({ ...options, onProgress: now => void printOut(report.line(now)) })
  return printOut(`${report.last(counts)}no violation\n`)
}
