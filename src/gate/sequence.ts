// The order in which a suite of speed benchmarks is judged.
//
//   1  self-check    base against base. An interval that stays wider than the limit, whatever is added: the machine is too
//                    noisy, nothing fails
//   2  first pass    base against head, n samples each; Holm over the suite. What is unclear gets as many samples again,
//                    up to `doublings` times
//   3  confirmation  what has regressed is measured afresh with twice as many samples; only if that batch says the same by
//                    itself does it fail, else it is unclear
//
// Samples come from a Sampler: processes in the command, made-up numbers in tests.

import {
  type Judgement,
  judge,
  type Sample,
  type Statistic,
  sideValue,
  suiteVerdicts,
  verdictOf,
} from './judge.js'
import {
  type Better,
  blankResult,
  type GateResult,
  type Ratio,
  type Side,
  type Verdict,
} from './types.js'

/** One speed metric of the suite. */
export interface Bench {
  /** Unique in the suite: what samples are drawn by. */
  readonly name: string
  readonly benchmark: string
  readonly metric: string
  readonly unit: string
  readonly better: Better
  readonly limit: number
  /** Advisory figures are measured and never decide. */
  readonly gated: boolean
}

export type Batch = 'self' | 'first' | 'confirm'

/** Measures benchmarks: `count` samples of each by name. */
export interface Sampler {
  draw(names: readonly string[], batch: Batch, count: number): Promise<Map<string, Sample[]>>
}

export interface SequenceOptions {
  readonly statistic: Statistic
  /** Rates of a side: its best, or the median. */
  readonly best: boolean
  /** Samples of the first pass: at least 10 processes, or 20 pairs of processes. */
  readonly count: number
  readonly doublings: number
  readonly seed: number
  readonly resamples: number
  /** False leaves out the self-check, for a caller who has just made one. */
  readonly selfCheck: boolean
}

/** What is known of a benchmark so far. */
interface State {
  readonly bench: Bench
  readonly self: Judgement | null
  samples: Sample[]
  judged: Judgement
  verdict: Verdict
}

/** Samples of a confirmation for each sample that is to be confirmed: a true regression shall not fail to be found twice. */
const CONFIRMATION = 2

/** The rate of a benchmark, in what it counts a second. */
export function rateBench(benchmark: string, per: string, limit: number): Bench {
  const unit = `${per}/s`
  return { name: benchmark, benchmark, metric: 'rate', unit, better: 'higher', limit, gated: true }
}

/** Judges a suite. */
export async function runSequence(
  benches: readonly Bench[],
  sampler: Sampler,
  options: SequenceOptions,
): Promise<GateResult[]> {
  const self = options.selfCheck ? await selfChecks(benches, sampler, options) : new Map()
  const states = await firstPass(benches, self, sampler, options)
  const failed = states.filter(state => state.verdict === 'regressed')
  const confirmed = await confirm(failed, sampler, options)
  return states.map(state => resultOf(state, confirmed.get(state.bench.name) ?? null, options))
}

/** A/A judgements by name. What is wider than its limit gets as many samples again, as in the first pass. */
export async function selfChecks(
  benches: readonly Bench[],
  sampler: Sampler,
  { statistic, count, doublings, seed, resamples }: SequenceOptions,
): Promise<Map<string, Judgement>> {
  const samples = new Map<string, Sample[]>()
  const checks = new Map<string, Judgement>()
  let open = benches
  let size = count
  for (let round = 0; round <= doublings && open.length > 0; round++) {
    const drawn = await sampler.draw(names(open), 'self', size)
    for (const { name, limit } of open) {
      samples.set(name, [...(samples.get(name) ?? []), ...drawn.get(name)!])
      checks.set(name, judge(samples.get(name)!, statistic, limit, seed, resamples))
    }
    size = samples.get(open[0].name)!.length
    open = open.filter(bench => isWide(checks.get(bench.name)!, bench))
  }
  return checks
}

function isWide({ ratio }: Judgement, { limit }: Bench): boolean {
  return ratio.hi - ratio.lo > limit
}

async function firstPass(
  benches: readonly Bench[],
  self: ReadonlyMap<string, Judgement>,
  sampler: Sampler,
  options: SequenceOptions,
): Promise<State[]> {
  const { statistic, count, doublings, seed, resamples } = options
  const drawn = await sampler.draw(names(benches), 'first', count)
  const states = benches.map((bench): State => {
    const samples = drawn.get(bench.name)!
    const judged = judge(samples, statistic, bench.limit, seed, resamples)
    return { bench, self: self.get(bench.name) ?? null, samples, judged, verdict: 'unclear' }
  })
  settle(states)
  for (let round = 0; round < doublings; round++) {
    const open = states.filter(state => state.verdict === 'unclear' && state.bench.gated)
    if (open.length === 0) break
    const size = open[0].samples.length
    const more = await sampler.draw(names(open.map(state => state.bench)), 'first', size)
    for (const state of open) {
      state.samples = [...state.samples, ...more.get(state.bench.name)!]
      state.judged = judge(state.samples, statistic, state.bench.limit, seed, resamples)
    }
    settle(states)
  }
  return states
}

/** Verdicts of all benchmarks together; a machine too noisy for one of them has no say about it. */
function settle(states: readonly State[]): void {
  const gated = states.filter(state => state.bench.gated)
  const verdicts = suiteVerdicts(
    gated.map(({ bench, judged }) => ({ ...judged, limit: bench.limit })),
  )
  for (const [i, state] of gated.entries()) {
    state.verdict = isNoisy(state) ? 'noisy' : verdicts[i]
  }
}

function isNoisy({ self, bench }: State): boolean {
  return self !== null && isWide(self, bench)
}

/** Fresh batches about what has regressed, by name. */
async function confirm(
  failed: readonly State[],
  sampler: Sampler,
  { statistic, seed, resamples }: SequenceOptions,
): Promise<Map<string, Ratio>> {
  const confirmed = new Map<string, Ratio>()
  const sizes = new Set(failed.map(state => state.samples.length))
  for (const size of sizes) {
    const alike = failed.filter(state => state.samples.length === size && state.bench.gated)
    if (alike.length === 0) continue
    const drawn = await sampler.draw(
      names(alike.map(state => state.bench)),
      'confirm',
      CONFIRMATION * size,
    )
    for (const { bench } of alike) {
      const { ratio } = judge(drawn.get(bench.name)!, statistic, bench.limit, seed + 1, resamples)
      confirmed.set(bench.name, ratio)
    }
  }
  return confirmed
}

function resultOf(
  { bench, self, samples, judged, verdict }: State,
  confirmation: Ratio | null,
  { best }: SequenceOptions,
): GateResult {
  const notes: string[] = []
  let final = verdict
  if (verdict === 'noisy') {
    const width = ((self!.ratio.hi - self!.ratio.lo) * 100).toFixed(1)
    notes.push(
      `machine too noisy: base against itself spreads over ${width} %, more than the limit`,
    )
  }
  if (confirmation !== null && verdictOf(confirmation, bench.limit) !== 'regressed') {
    final = 'unclear'
    notes.push('the first pass said regressed, a fresh batch did not confirm it')
  }
  return {
    ...blankResult(bench.benchmark, bench.metric, bench.unit, bench.better),
    verdict: bench.gated ? final : 'advisory',
    gated: bench.gated,
    ratio: judged.ratio,
    limit: bench.limit,
    base: side(samples, 'base', best),
    head: side(samples, 'head', best),
    selfCheck: self?.ratio ?? null,
    confirmation,
    notes,
  }
}

function side(samples: readonly Sample[], key: 'base' | 'head', best: boolean): Side {
  return { value: sideValue(samples, key, best), samples: samples.map(sample => sample[key]) }
}

function names(benches: readonly Bench[]): string[] {
  return benches.map(bench => bench.name)
}
