// node dist/bench/gate/power.js [--processes N] [--trials N] [--bench NAME]
//
// The power of the gate on this machine, with its clock: how often a slowdown of a known size is found, and how often base
// against base is called regressed.
//
//   1  two builds are made whose benchmark does 3 % and 10 % more work than it says
//   2  N times, by turns: a process measures base against a copy of itself, one base against each slow build, as the gate does
//      (gate-child). So there are three series of processes over the same minutes, with whatever else the machine did then
//   3  a trial is a window of these series: what the gate asks for one after the other (self-check, first pass, doublings,
//      confirmation) it gets from processes that followed one another. Each trial begins at another process; the series are
//      closed to rings, so that as many trials as processes are possible
//
// Demanded, of a hundred trials: with the default limit 10 % are found in 95 and base against base is called regressed in 1 at
// most; with a limit of 2 % 3 % are found in 90. Exit status 1: one of them is missed. With the defaults (100 processes a series)
// it takes some five minutes on two idle cores. Needs `npm run build`.

import { copyFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { type Build, copyBuild, findBuild, Workshop } from '../../src/cli/gate-build.js'
import { PairSampler } from '../../src/cli/gate-speed.js'
import { distUrl } from '../../src/core/wasm.js'
import { judge, PAIR, RESAMPLES, type Sample } from '../../src/gate/judge.js'
import { limitOf } from '../../src/gate/limits.js'
import { changeText } from '../../src/gate/print.js'
import { type Batch, rateBench, runSequence, type Sampler } from '../../src/gate/sequence.js'
import { deviation } from '../../src/gate/stats.js'

/** Processes of a first pass; the self-check has as many, the confirmation twice as many. */
const COUNT = 10

/** Processes of a trial without doublings. With each there are twice as many, and no window may lap itself: it would be confirmed by itself. */
const LONGEST = COUNT + COUNT + 2 * COUNT

/** What is tried: a slowdown under a limit, in percent, and how many of a hundred trials shall say `regressed`. */
interface Demand {
  readonly slower: number
  readonly limit: number
  readonly atLeast: number
  readonly atMost: number
}

const DEMANDS: readonly Demand[] = [
  { slower: 10, limit: 5, atLeast: 95, atMost: 100 },
  { slower: 0, limit: 5, atLeast: 0, atMost: 1 },
  { slower: 3, limit: 2, atLeast: 90, atMost: 100 },
  { slower: 0, limit: 2, atLeast: 0, atMost: 1 },
]

interface Options {
  readonly processes: number
  readonly trials: number
  readonly bench: string
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      processes: { type: 'string', default: '100' },
      trials: { type: 'string' },
      bench: { type: 'string', default: 'inline-qd32' },
    },
  })
  const processes = Number(values.processes)
  const trials = Number(values.trials ?? Math.min(100, processes))
  if (!(processes >= LONGEST)) throw new Error(`--processes: ${LONGEST} and more are needed`)
  if (!(trials >= 1 && trials <= processes))
    throw new Error('--trials: each begins at another process, so there are not more of them')
  return { processes, trials, bench: values.bench }
}

/** A build whose benchmarks do `percent` more than they report. */
function slowBuild(build: Build, percent: number, workshop: Workshop): Build {
  const copy = copyBuild(build, workshop)
  const probe = fileURLToPath(copy.probe!)
  const inner = probe.replace(/\.js$/, '-inner.js')
  copyFileSync(probe, inner)
  const factor = 1 + percent / 100
  writeFileSync(
    probe,
    `import { openProbe as open } from ${JSON.stringify(pathToFileURL(inner).href)}
export * from ${JSON.stringify(pathToFileURL(inner).href)}
export async function openProbe(name) {
  const probe = await open(name)
  return {
    close: () => probe.close(),
    async run(ops) {
      const { ops: did, ns } = await probe.run(Math.round(ops * ${factor}))
      return { ops: did / ${factor}, ns }
    },
  }
}
`,
  )
  return copy
}

/** Gives out the series from one place on, in the order in which they were measured. */
class Window implements Sampler {
  readonly #series: { readonly self: readonly Sample[]; readonly head: readonly Sample[] }
  #at: number

  constructor(self: readonly Sample[], head: readonly Sample[], from: number) {
    this.#series = { self, head }
    this.#at = from
  }

  async draw(
    names: readonly string[],
    batch: Batch,
    count: number,
  ): Promise<Map<string, Sample[]>> {
    const series = batch === 'self' ? this.#series.self : this.#series.head
    const samples = Array.from({ length: count }, (_, i) => series[(this.#at + i) % series.length]!)
    this.#at += count
    return new Map([[names[0], samples]])
  }
}

/** How many of the trials end in each verdict. */
async function tryOut(
  { trials, bench }: Options,
  self: readonly Sample[],
  head: readonly Sample[],
  limit: number,
): Promise<Record<string, number>> {
  const verdicts: Record<string, number> = {}
  const doublings = Math.floor(Math.log2(self.length / LONGEST))
  for (let trial = 0; trial < trials; trial++) {
    const from = Math.floor((trial * self.length) / trials)
    const window = new Window(self, head, from)
    const [{ verdict }] = await runSequence([rateBench(bench, 'IO', limit)], window, {
      statistic: PAIR,
      best: false,
      count: COUNT,
      doublings,
      seed: trial,
      resamples: RESAMPLES,
      selfCheck: true,
    })
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  }
  return verdicts
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** The series by slowdown, measured by turns. */
async function measure(
  { processes, bench }: Options,
  base: Build,
  workshop: Workshop,
): Promise<Map<number, Sample[]>> {
  const other = copyBuild(base, workshop)
  const slowdowns = [...new Set(DEMANDS.map(({ slower }) => slower))].sort((a, b) => a - b)
  const series = slowdowns.map(slower => {
    const head = slower === 0 ? other : slowBuild(base, slower, workshop)
    return {
      slower,
      sampler: new PairSampler(base, other, head, () => {}),
      samples: [] as Sample[],
    }
  })
  for (let i = 0; i < processes; i++)
    for (const { sampler, samples } of series)
      samples.push(...(await sampler.draw([bench], 'first', 1)).get(bench)!)
  return new Map(series.map(({ slower, samples }) => [slower, samples]))
}

/** Says what a demand came to; whether it is met. */
function judged(
  { slower, limit, atLeast, atMost }: Demand,
  verdicts: Record<string, number>,
): boolean {
  const trials = Object.values(verdicts).reduce((a, b) => a + b, 0)
  const share = ((verdicts['regressed'] ?? 0) / trials) * 100
  const met = share >= atLeast && share <= atMost
  const demand = atLeast > 0 ? `${atLeast} of 100 and more` : `${atMost} of 100 at most`
  const head = slower === 0 ? 'base against base' : `${slower} % slower`
  print(
    `limit ${limit} %, ${head}: regressed in ${verdicts['regressed'] ?? 0} of ${trials} (${demand}): ` +
      `${met ? 'met' : 'MISSED'}; ${JSON.stringify(verdicts)}`,
  )
  return met
}

const options = readOptions()
const workshop = new Workshop()
try {
  const began = Date.now()
  const base = findBuild(fileURLToPath(distUrl('..')), workshop)
  const series = await measure(options, base, workshop)
  const took = ((Date.now() - began) / 60_000).toFixed(1)
  for (const [slower, samples] of series) {
    const logs = samples.map(sample => sample.logRatio)
    const { ratio } = judge(samples, PAIR, 0.05, 0)
    print(
      `${options.bench}, ${slower} % slower: ${samples.length} processes: ${changeText(ratio)}, ` +
        `deviation of a process ${(deviation(logs) * 100).toFixed(2)} %`,
    )
  }
  const self = series.get(0)!
  const { scatter } = judge(self, PAIR, 0.05, 0)
  const calibrated = limitOf(scatter * Math.sqrt(self.length / COUNT)) * 100
  print(`calibrated limit ${calibrated.toFixed(1)} %; measured in ${took} minutes`)
  const met: boolean[] = []
  for (const demand of DEMANDS) {
    const head = series.get(demand.slower)!
    met.push(judged(demand, await tryOut(options, self, head, demand.limit / 100)))
  }
  if (!met.every(Boolean)) process.exitCode = 1
} finally {
  workshop.close()
}
