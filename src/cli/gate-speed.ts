// Speed metrics: how fast builds of phasebit run, measured now, on this machine.
//
//   pair      every sample is a process that holds both builds (gate-child.ts); base against base is the base and a copy of it
//   process   every sample is a pair of processes, one build each, in the order A B B A. Job files are run this way
//   history   every sample is a process with one build; compared with what the same machine stored before
//
// The samples go through the same sequence: self-check, first pass, confirmation (src/gate/sequence.ts).

import { execFile } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { UserError } from '../core/errors.js'
import { distUrl } from '../core/wasm.js'
import { type FioUnit, parseFio } from '../gate/fio-file.js'
import type { Sample } from '../gate/judge.js'
import { type Batch, type Bench, rateBench, type Sampler } from '../gate/sequence.js'
import { median } from '../gate/stats.js'
import type { Fingerprint } from '../gate/types.js'
import type { Build } from './gate-build.js'
import type { ChildAnswer, ChildRequest, Side } from './gate-child.js'
import type { ProbeInfo } from './gate-probe.js'

const run = promisify(execFile)

/** A process that takes longer hangs. */
const TIMEOUT_MS = 600_000
const OUTPUT_BYTES = 256 * 2 ** 20

/** Facts about this host on which speeds depend. */
export function hostFingerprint(more: Fingerprint = {}): Fingerprint {
  return {
    'Node version': process.version,
    flags: [...process.execArgv, process.env['NODE_OPTIONS'] ?? '', ...ENGINE].join(' ').trim(),
    platform: `${process.platform}-${process.arch}`,
    'CPU model': cpus()[0]?.model.trim() ?? 'unknown',
    workers: String(availableParallelism()),
    ...more,
  }
}

/** Says how far a long command has come. */
export type Told = (line: string) => void

// ------------------------------------------------------------------ what can be measured

/** Benchmarks of a build; none when it is too old, or too new, for this gate. */
export async function probesOf(build: Build): Promise<readonly ProbeInfo[]> {
  if (build.probe === null) return []
  return (await child({ builds: [{ side: 'base', probe: build.probe }], names: [] })).probes
}

/** Benchmarks that both builds have and understand alike. */
export function commonProbes(
  base: readonly ProbeInfo[],
  head: readonly ProbeInfo[],
): { common: ProbeInfo[]; notes: string[] } {
  const notes: string[] = []
  const common = head.filter(probe => {
    const other = base.find(one => one.name === probe.name)
    if (other === undefined) notes.push(`${probe.name}: the base does not have this benchmark`)
    else if (other.does !== probe.does || other.threads !== probe.threads)
      notes.push(`${probe.name}: does something else in the base, not compared`)
    else return true
    return false
  })
  return { common, notes }
}

/** The benchmarks asked for. @throws UserError for one that is not there */
export function chosenProbes(
  probes: readonly ProbeInfo[],
  names: readonly string[] | null,
): readonly ProbeInfo[] {
  if (names === null) return probes
  return names.map(name => {
    const found = probes.find(probe => probe.name === name)
    if (found) return found
    const have = probes.map(probe => probe.name).join(', ')
    throw new UserError(`--bench=${name}: unknown benchmark; there are ${have || 'none'}`)
  })
}

// ------------------------------------------------------------------ processes

const CHILD = fileURLToPath(distUrl('lib/gate-child.js'))

/**
 * The engine compiles in the background, and on a busy host one build may wait for its fast code while the other already has
 * it: whole processes then differ by 5 to 20 %. So both builds get optimised code at once, and in the calling thread.
 */
const ENGINE = ['--no-liftoff', '--no-concurrent-recompilation'] as const

async function child(request: ChildRequest): Promise<ChildAnswer> {
  return JSON.parse(await output([...ENGINE, CHILD, JSON.stringify(request)])) as ChildAnswer
}

/** Standard output of a Node process. @throws Error with the last line of what it complained about */
async function output(args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(process.execPath, [...process.execArgv, ...args], {
      timeout: TIMEOUT_MS,
      maxBuffer: OUTPUT_BYTES,
    })
    return stdout
  } catch (error) {
    const { stderr, signal } = error as { stderr?: string; signal?: string }
    const why = stderr
      ?.trim()
      .split('\n')
      .find(line => /Error|phasebit:/.test(line))
    throw new Error(why ?? `a process of the gate ended with ${signal ?? 'an error'}`)
  }
}

/** A metric is drawn by the name of its benchmark, or that and a percentile. */
function metricOf(name: string): { benchmark: string; percentile: string | undefined } {
  const [benchmark, percentile] = name.split(' ')
  return { benchmark, percentile }
}

function sampleOf({ rates, logRatios, latencies }: ChildAnswer, name: string): Sample {
  const { benchmark, percentile } = metricOf(name)
  if (percentile === undefined) {
    const { base, head } = rates[benchmark]
    return { base: base!, head: head!, logRatio: logRatios[benchmark] }
  }
  const { base, head } = latencies[benchmark][percentile]
  return { base: base!, head: head!, logRatio: Math.log(base! / head!) }
}

/** Host latencies of a benchmark that records them: p50 and p99 decide, p99.9 is advisory. */
export function latencyBenches(benchmark: string, limit: (name: string) => number): Bench[] {
  if (!benchmark.startsWith('latency')) return []
  return ['p50', 'p99', 'p99.9'].map(metric => {
    const name = `${benchmark} ${metric}`
    const gated = metric !== 'p99.9'
    return { name, benchmark, metric, unit: 'ns', better: 'lower', limit: limit(name), gated }
  })
}

/** Both builds in one process. */
export class PairSampler implements Sampler {
  readonly #base: Build
  readonly #head: Build
  /** The copy of the base. */
  readonly #other: Build
  readonly #told: Told
  #count = 0

  constructor(base: Build, other: Build, head: Build, told: Told) {
    this.#base = base
    this.#other = other
    this.#head = head
    this.#told = told
  }

  async draw(
    names: readonly string[],
    batch: Batch,
    count: number,
  ): Promise<Map<string, Sample[]>> {
    const samples = new Map(names.map(name => [name, [] as Sample[]]))
    const benchmarks = [...new Set(names.map(name => metricOf(name).benchmark))]
    for (let i = 0; i < count; i++) {
      this.#told(`${batchText(batch)}: process ${i + 1} of ${count}, ${benchmarks.join(' ')}`)
      const answer = await child({ builds: this.#builds(batch), names: benchmarks })
      for (const name of names) samples.get(name)!.push(sampleOf(answer, name))
    }
    return samples
  }

  /** The order of loading alternates. */
  #builds(batch: Batch): ChildRequest['builds'] {
    const head = batch === 'self' ? this.#other : this.#head
    const builds = [
      { side: 'base' as const, probe: this.#base.probe! },
      { side: 'head' as const, probe: head.probe! },
    ]
    return this.#count++ % 2 === 0 ? builds : builds.reverse()
  }
}

/** One process for each build, by whatever measures it. */
export class ProcessSampler implements Sampler {
  readonly #measure: (build: Build, names: readonly string[]) => Promise<Record<string, number>>
  readonly #base: Build
  readonly #head: Build
  readonly #told: Told
  #count = 0

  constructor(
    base: Build,
    head: Build,
    measure: (build: Build, names: readonly string[]) => Promise<Record<string, number>>,
    told: Told,
  ) {
    this.#base = base
    this.#head = head
    this.#measure = measure
    this.#told = told
  }

  async draw(
    names: readonly string[],
    batch: Batch,
    count: number,
  ): Promise<Map<string, Sample[]>> {
    const samples = new Map(names.map(name => [name, [] as Sample[]]))
    for (let i = 0; i < count; i++) {
      this.#told(`${batchText(batch)}: pair ${i + 1} of ${count}, ${names.join(' ')}`)
      const took = await this.#pair(batch === 'self' ? this.#base : this.#head, names)
      for (const name of names) {
        const [base, head] = [took.base[name], took.head[name]]
        samples.get(name)!.push({ base, head, logRatio: Math.log(head / base) })
      }
    }
    return samples
  }

  /** A B, then B A. */
  async #pair(
    head: Build,
    names: readonly string[],
  ): Promise<Record<Side, Record<string, number>>> {
    if (this.#count++ % 2 === 0) {
      const first = await this.#measure(this.#base, names)
      return { base: first, head: await this.#measure(head, names) }
    }
    const first = await this.#measure(head, names)
    return { base: await this.#measure(this.#base, names), head: first }
  }
}

function batchText(batch: Batch): string {
  return { self: 'base against base', first: 'base against head', confirm: 'once more' }[batch]
}

/** Rates of a build's own benchmarks, from a process with that build alone. */
export async function suiteRates(
  build: Build,
  names: readonly string[],
): Promise<Record<string, number>> {
  const { rates } = await child({ builds: [{ side: 'head', probe: build.probe! }], names })
  return Object.fromEntries(names.map(name => [name, rates[name].head!]))
}

/** I/Os a second of each job and direction, from one `phasebit run` of a build; `keep` gets fio's JSON of it. */
export async function jobRates(
  build: Build,
  args: readonly string[],
  keep: (json: string) => void = () => {},
): Promise<Record<string, number>> {
  const argv = [build.cli, 'run', ...args, '--output-format=json', '--eta=never']
  const text = await output(argv).catch((error: Error) => {
    throw new UserError(`${build.label} cannot run this: ${error.message}`)
  })
  keep(text)
  const units: ReadonlyMap<string, FioUnit> = parseFio('phasebit run', text).units
  return Object.fromEntries([...units].map(([key, unit]) => [key, unit.iops]))
}

/** The middle of each rate over some processes. */
export async function drawRates(
  names: readonly string[],
  count: number,
  measure: (names: readonly string[]) => Promise<Record<string, number>>,
  told: Told,
): Promise<Map<string, { median: number; samples: number[] }>> {
  const samples = new Map(names.map(name => [name, [] as number[]]))
  for (let i = 0; i < count; i++) {
    told(`process ${i + 1} of ${count}, ${names.join(' ')}`)
    const rates = await measure(names)
    for (const name of names) samples.get(name)!.push(rates[name])
  }
  return new Map(
    [...samples].map(([name, list]) => [name, { median: median(list), samples: list }]),
  )
}

/** Benchmarks with the limit that applies to each. */
export function benchesOf(
  probes: readonly { readonly name: string; readonly per: string }[],
  limit: (name: string) => number,
): Bench[] {
  return probes.map(({ name, per }) => rateBench(name, per, limit(name)))
}
