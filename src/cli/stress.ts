// `phasebit stress`: the NVMe driver and its controller under random trouble, from a seed.

import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { OutputError, UserError } from '../core/errors.js'
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
/** Until then a process still grows: its heap finds its size. */
const WARM_MS = 120_000
/**
 * What trouble is rarely made of is compiled rarely: megabytes of code, minute after minute, that nothing leaks. Virtual time
 * runs as many rounds in so long as real time does in ten minutes.
 */
const REHEARSAL_MS = 25_000
/** The median of so long is what a process holds; what comes and goes in between is the compiler's and the collector's. */
const WINDOW_MS = 60_000
/** Garbage is collected so often, beside at the end of each life; what is resident then is noted. */
const COLLECT_MS = 5000
/** So much more at the end than after WARM_MS is a leak. */
const GROWTH = 0.02
/** The shortest run whose memory is judged. */
const JUDGED_MS = WARM_MS + 2 * WINDOW_MS

interface Look {
  /** Since the beginning, ms. */
  readonly at: number
  /** Bytes. */
  readonly rss: number
}

/** Resident memory: what was held after two minutes, and what is held at the end. */
export class Resident {
  #warm: Look[] = []
  #recent: Look[] = []

  note(look: Look): void {
    if (look.at >= WARM_MS && look.at < WARM_MS + WINDOW_MS) this.#warm.push(look)
    this.#recent = this.#recent.filter(one => one.at > look.at - WINDOW_MS)
    this.#recent.push(look)
  }

  /** What the end is to the warm window, 1 = the same; null if the run was too short for two windows. */
  get growth(): { readonly warm: number; readonly ratio: number } | null {
    const at = this.#recent.at(-1)?.at ?? 0
    // A host that stood still for all of a window leaves nothing to compare.
    if (at < JUDGED_MS - 2 * COLLECT_MS || this.#warm.length === 0) return null
    const warm = medianOf(this.#warm)
    return { warm, ratio: medianOf(this.#recent) / warm }
  }
}

function medianOf(looks: readonly Look[]): number {
  const sorted = looks.map(one => one.rss).sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

/** Words about the I/Os of the last second or so, and of all; and about memory. */
export class Report {
  readonly resident: Resident = new Resident()
  #ios = 0
  #wallMs = 0

  line(counts: StressCounts): string {
    const { ios, rounds, lives, resets, removals, dropped, rules, failed, wallMs } = counts
    const rate = Math.round(((ios - this.#ios) * 1000) / Math.max(wallMs - this.#wallMs, 1))
    const waits = ios === this.#ios ? `; waits: ${counts.doing}` : ''
    this.#ios = ios
    this.#wallMs = wallMs
    return (
      `${(wallMs / 1000).toFixed(1)} s: ${rate} I/Os a second, ${ios} in all; ${rounds} rounds on ${lives} machines, ` +
      `${resets} resets, ${rules} faults, ${removals} removals, ${dropped} namespaces dropped by a scan, ` +
      `${failed} I/Os failed with their controller or namespace; ` +
      `${(process.memoryUsage.rss() / MIB).toFixed(1)} MiB resident${waits}\n`
    )
  }

  /** The rate of the whole run, and what memory came to since its second minute. @throws OutputError if it has grown */
  last(counts: StressCounts): string {
    const { ios, wallMs } = counts
    this.#ios = 0
    this.#wallMs = 0
    const text = this.line({ ...counts, ios, wallMs })
    const growth = this.resident.growth
    if (growth === null) return text
    const percent = `${((growth.ratio - 1) * 100).toFixed(1)} %`
    const said = `resident memory: ${(growth.warm / MIB).toFixed(1)} MiB in the third minute, ${percent} more in the last`
    if (growth.ratio > 1 + GROWTH) throw new OutputError(`stress: ${said}; at most 2 % is accepted`)
    return `${text}${said}\n`
  }
}

/** Collects garbage, so that resident memory tells what is kept. Node has it for those who ask for it. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}

/** Runs `phasebit stress`; the exit status. */
export async function stressCommand(argv: readonly string[]): Promise<number> {
  const options = parseStress(argv)
  const { seed, faults, clock } = options
  await printOut(`stress: seed ${seed}, faults ${faults.join(',') || 'none'}, ${clock} time\n`)
  const collect = collector()
  if (clock === 'real' && options.forMs >= JUDGED_MS) {
    await printOut(`stress: first ${REHEARSAL_MS / 1000} s of the same in virtual time\n`)
    await stress({ ...options, clock: 'virtual', forMs: REHEARSAL_MS, onLife: collect })
  }
  const report = new Report()
  let collected = 0
  const counts = await stress({
    ...options,
    onLife: collect,
    onProgress: now => {
      // On a busy host a life may last a minute, and the heap grows with what is garbage by then.
      if (now.wallMs - collected >= COLLECT_MS) {
        collected = now.wallMs
        collect()
        report.resident.note({ at: now.wallMs, rss: process.memoryUsage.rss() })
      }
      void printOut(report.line(now))
    },
  })
  return printOut(`${report.last(counts)}no violation\n`)
}
