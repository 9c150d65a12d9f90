// node dist/bench/gate/power.js [--processes N] [--trials N] [--bench NAME] [--slower LIST] [--limit LIST]
//
// The power of the gate on this machine, with its clock: how often a slowdown of a known size is found, and how often base
// against base is called regressed.
//
//   1  two builds are made: a copy of this one, and one whose benchmark does 3 %, 10 % ... more work than it says
//   2  so many processes measure base against copy, and so many base against each slow build (gate-child, as the gate does)
//   3  trials draw their processes from these at random, without putting back, and go through the gate's own sequence:
//      self-check, first pass, confirmation
//
// With the defaults (80 processes, 100 trials) it takes some five minutes. Needs `npm run build`.

import { copyFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { type Build, copyBuild, findBuild, Workshop } from '../../src/cli/gate-build.js'
import { PairSampler } from '../../src/cli/gate-speed.js'
import { Prng } from '../../src/core/prng.js'
import { distUrl } from '../../src/core/wasm.js'
import { judge, PAIR, RESAMPLES, type Sample } from '../../src/gate/judge.js'
import { limitOf } from '../../src/gate/limits.js'
import { type Batch, rateBench, runSequence, type Sampler } from '../../src/gate/sequence.js'
import { deviation } from '../../src/gate/stats.js'

/** Processes of a first pass; the self-check has as many, the confirmation twice as many. */
const COUNT = 10

interface Options {
  readonly processes: number
  readonly trials: number
  readonly bench: string
  /** Percent. */
  readonly slower: readonly number[]
  readonly limits: readonly number[]
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      processes: { type: 'string', default: '80' },
      trials: { type: 'string', default: '100' },
      bench: { type: 'string', default: 'inline-qd32' },
      slower: { type: 'string', default: '3,10' },
      limit: { type: 'string', default: '2,5' },
    },
  })
  const numbers = (text: string): number[] => text.split(',').map(Number)
  return {
    processes: Math.max(4 * COUNT, Number(values.processes)),
    trials: Number(values.trials),
    bench: values.bench,
    slower: numbers(values.slower),
    limits: numbers(values.limit),
  }
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

/** Draws from what was measured, without putting back within a trial. */
class Replay implements Sampler {
  readonly #pools: { self: Sample[]; head: Sample[] }

  constructor(self: readonly Sample[], head: readonly Sample[], prng: Prng) {
    this.#pools = { self: shuffled(self, prng), head: shuffled(head, prng) }
  }

  async draw(
    names: readonly string[],
    batch: Batch,
    count: number,
  ): Promise<Map<string, Sample[]>> {
    const pool = batch === 'self' ? this.#pools.self : this.#pools.head
    if (pool.length < count) throw new Error('more processes are needed: --processes')
    return new Map([[names[0], pool.splice(0, count)]])
  }
}

function shuffled(samples: readonly Sample[], prng: Prng): Sample[] {
  const list = [...samples]
  for (let i = list.length - 1; i > 0; i--) {
    const j = prng.below(i + 1)
    ;[list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

/** How many of the trials end in each verdict. */
async function trials(
  { trials: count, bench, processes }: Options,
  self: readonly Sample[],
  head: readonly Sample[],
  limit: number,
): Promise<Record<string, number>> {
  const verdicts: Record<string, number> = {}
  for (let trial = 0; trial < count; trial++) {
    const prng = new Prng(trial)
    // base against base as head must not draw the processes of its own self-check
    const same = self === head
    const half = Math.floor(processes / 4)
    const list = same ? shuffled(self, prng) : self
    const replay = same
      ? new Replay(list.slice(0, half), list.slice(half), prng)
      : new Replay(self, head, prng)
    const [{ verdict }] = await runSequence([rateBench(bench, 'IO', limit)], replay, {
      statistic: PAIR,
      best: false,
      count: COUNT,
      doublings: 0,
      seed: trial,
      resamples: RESAMPLES / 10,
      selfCheck: true,
    })
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
  }
  return verdicts
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

const options = readOptions()
const workshop = new Workshop()
try {
  const base = findBuild(fileURLToPath(distUrl('..')), workshop)
  const other = copyBuild(base, workshop)
  const measure = async (head: Build): Promise<Sample[]> => {
    const sampler = new PairSampler(base, other, head, () => {})
    return (await sampler.draw([options.bench], 'first', options.processes)).get(options.bench)!
  }
  const self = await measure(other)
  const logs = self.map(sample => sample.logRatio)
  const { scatter } = judge(self, PAIR, 0.05, 0)
  const calibrated = limitOf(scatter * Math.sqrt(options.processes / COUNT))
  print(
    `${options.bench}: base against base, ${self.length} processes: deviation ${(deviation(logs) * 100).toFixed(2)} %, ` +
      `calibrated limit ${(calibrated * 100).toFixed(1)} %`,
  )
  const heads = new Map<number, readonly Sample[]>([[0, self]])
  for (const percent of options.slower)
    heads.set(percent, await measure(slowBuild(base, percent, workshop)))
  for (const limit of options.limits) {
    for (const [percent, head] of heads) {
      const verdicts = await trials(options, self, head, limit / 100)
      print(
        `limit ${limit} %, head ${percent} % slower, ${options.trials} trials: ${JSON.stringify(verdicts)}`,
      )
    }
  }
} finally {
  workshop.close()
}
