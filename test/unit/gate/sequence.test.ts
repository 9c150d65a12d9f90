// Verdicts and the order in which they are reached, on made-up measurements of known distributions.
import { describe, expect, it } from 'vitest'
import {
  BEST_OF,
  judge,
  PAIR,
  pairedMedian,
  type Sample,
  suiteVerdicts,
  verdictOf,
} from '../../../src/gate/judge.js'
import { calibrated, limitOf } from '../../../src/gate/limits.js'
import {
  type Batch,
  type Bench,
  rateBench,
  runSequence,
  type Sampler,
  type SequenceOptions,
  selfChecks,
} from '../../../src/gate/sequence.js'
import type { GateResult } from '../../../src/gate/types.js'
import { NoisyMachine } from './synthetic.js'

const BENCH: Bench = rateBench('a', 'IO', 0.05)
const OPTIONS: SequenceOptions = {
  statistic: PAIR,
  best: false,
  count: 10,
  doublings: 4,
  seed: 1,
  resamples: 300,
  selfCheck: true,
}
const PROCESS: SequenceOptions = { ...OPTIONS, statistic: BEST_OF, best: true, count: 20 }

/** Makes samples, and notes what was asked for. */
class Made implements Sampler {
  readonly asked: [Batch, readonly string[], number][] = []
  readonly #make: (batch: Batch, count: number, name: string) => Sample[]

  constructor(make: (batch: Batch, count: number, name: string) => Sample[]) {
    this.#make = make
  }

  async draw(
    names: readonly string[],
    batch: Batch,
    count: number,
  ): Promise<Map<string, Sample[]>> {
    this.asked.push([batch, names, count])
    return new Map(names.map(name => [name, this.#make(batch, count, name)]))
  }
}

/** Processes with both builds, the head so fast by batch. */
function pairs(seed: number, speed: (batch: Batch) => number, scatter = 0.006): Made {
  const machine = new NoisyMachine(seed)
  return new Made((batch, count) => machine.processes(count, speed(batch), scatter))
}

async function one(made: Made, options = OPTIONS, bench = BENCH): Promise<GateResult> {
  return (await runSequence([bench], made, options))[0]
}

/** Trials of a hundred that end in this verdict. */
async function share(
  verdict: string,
  trials: number,
  options: SequenceOptions,
  bench: Bench,
  make: (seed: number) => Made,
): Promise<number> {
  let found = 0
  for (let seed = 0; seed < trials; seed++)
    if ((await one(make(seed), options, bench)).verdict === verdict) found++
  return (found / trials) * 100
}

describe('the verdict of an interval', () => {
  it.each([
    [0.9, 0.88, 0.96, 'regressed'],
    [0.94, 0.9, 0.974, 'regressed'],
    [0.94, 0.9, 0.976, 'unclear'],
    [0.951, 0.949, 0.953, 'unclear'],
    [0.96, 0.951, 0.97, 'same'],
    [1, 0.95, 1.05, 'same'],
    [1, 0.94, 1.05, 'unclear'],
    [1.06, 1.03, 1.1, 'improved'],
    [1.06, 1.02, 1.1, 'unclear'],
  ])('%f in %f to %f with a limit of 5 %%: %s', (estimate, lo, hi, verdict) => {
    expect(verdictOf({ estimate, lo, hi }, 0.05)).toBe(verdict)
  })

  it('is unclear when it does not stand among many', () => {
    const weak = { ratio: { estimate: 0.9, lo: 0.85, hi: 0.97 }, limit: 0.05, pBetter: 1 }
    expect(suiteVerdicts([{ ...weak, pWorse: 0.02 }])).toEqual(['regressed'])
    const others = Array.from({ length: 9 }, () => ({ ...weak, pWorse: 0.02 }))
    expect(new Set(suiteVerdicts(others))).toEqual(new Set(['unclear']))
    expect(suiteVerdicts([...others, { ...weak, pWorse: 0.0001 }]).at(-1)).toBe('regressed')
  })
})

describe('an interval', () => {
  it('agrees with its p-value', () => {
    for (let seed = 0; seed < 30; seed++) {
      const samples = new NoisyMachine(seed).processes(10, 0.975, 0.006)
      const { ratio, pWorse } = judge(samples, PAIR, 0.05, seed, 2000)
      if (ratio.hi < 0.974) expect(pWorse).toBeLessThan(0.03)
      if (ratio.hi > 0.976) expect(pWorse).toBeGreaterThan(0.02)
    }
  })

  it('is of the best of each side between processes, with the paired median beside it', () => {
    const samples = new NoisyMachine(4).pairs(40, 0.9)
    const { ratio } = judge(samples, BEST_OF, 0.05, 1, 500)
    expect(ratio.estimate).toBeGreaterThan(0.88)
    expect(ratio.estimate).toBeLessThan(0.92)
    const second = pairedMedian(samples, 1)
    expect(second.hi - second.lo).toBeGreaterThan(ratio.hi - ratio.lo)
  })
})

describe('a suite', () => {
  it('is checked against itself, then compared', async () => {
    const made = pairs(1, () => 1)
    const result = await one(made)
    expect(result).toMatchObject({ verdict: 'same', limit: 0.05, confirmation: null })
    expect(result.head!.samples.length).toBe(10)
    expect(made.asked).toEqual([
      ['self', ['a'], 10],
      ['first', ['a'], 10],
    ])
  })

  it('confirms a regression with a fresh batch before it fails', async () => {
    const made = pairs(2, batch => (batch === 'self' ? 1 : 0.9))
    const result = await one(made)
    expect(result.verdict).toBe('regressed')
    expect(result.confirmation!.estimate).toBeLessThan(0.92)
    expect(made.asked.at(-1)).toEqual(['confirm', ['a'], 20])
  })

  it('does not fail for what a fresh batch does not confirm', async () => {
    const result = await one(pairs(3, batch => (batch === 'first' ? 0.9 : 1)))
    expect(result.verdict).toBe('unclear')
    expect(result.notes.join()).toMatch(/did not confirm/)
  })

  it('doubles what is unclear, and gives up in the end', async () => {
    // half of the processes are faster, half are slower: no number of them makes that clear
    const made = new Made((batch, count) =>
      Array.from({ length: count }, (_, i) => {
        const logRatio = batch === 'self' ? 0 : i % 2 === 0 ? 0.3 : -0.3
        return { base: 1e6, head: 1e6 * Math.exp(logRatio), logRatio }
      }),
    )
    const result = await one(made, { ...OPTIONS, doublings: 2 })
    expect(result.verdict).toBe('unclear')
    expect(made.asked.map(([batch, , count]) => `${batch} ${count}`)).toEqual([
      'self 10',
      'first 10',
      'first 10',
      'first 20',
    ])
    expect(result.head!.samples.length).toBe(40)
  })

  it('says nothing on a machine that is too noisy', async () => {
    const made = pairs(5, batch => (batch === 'self' ? 1 : 0.7), 0.5)
    const result = await one(made, { ...OPTIONS, doublings: 1 })
    expect(result.verdict).toBe('noisy')
    expect(result.notes.join()).toMatch(/too noisy/)
    expect(made.asked.some(([batch]) => batch === 'confirm')).toBe(false)
  })

  it('looks again only at what needs it', async () => {
    const machine = new NoisyMachine(6)
    const made = new Made((batch, count, name) =>
      machine.processes(count, batch !== 'self' && name === 'b' ? 0.8 : 1, 0.004),
    )
    const results = await runSequence([BENCH, { ...BENCH, name: 'b' }], made, OPTIONS)
    expect(results.map(result => result.verdict)).toEqual(['same', 'regressed'])
    expect(made.asked.at(-1)).toEqual(['confirm', ['b'], 20])
  })

  it('measures advisory figures without a word about them', async () => {
    const made = pairs(7, batch => (batch === 'self' ? 1 : 0.8))
    const result = await one(made, OPTIONS, { ...BENCH, gated: false })
    expect(result).toMatchObject({ verdict: 'advisory', gated: false })
    expect(made.asked.map(([batch]) => batch)).toEqual(['self', 'first'])
  })

  it('repeats from its seed', async () => {
    const verdicts = async (): Promise<GateResult> => one(pairs(8, () => 0.96, 0.02))
    expect(await verdicts()).toEqual(await verdicts())
  })
})

describe('the power of', () => {
  it('pair mode: 3 % with a limit of 2 %, found in 90 of 100 and more', async () => {
    const bench = { ...BENCH, limit: 0.02 }
    const speed = (to: number) => (seed: number) =>
      pairs(seed, batch => (batch === 'self' ? 1 : to))
    expect(await share('regressed', 100, OPTIONS, bench, speed(0.97))).toBeGreaterThanOrEqual(90)
    expect(await share('regressed', 100, OPTIONS, bench, speed(1))).toBeLessThanOrEqual(1)
  })

  it('process mode: 10 % on a noisy machine, found in 95 of 100, at most one false alarm', async () => {
    const speed = (to: number) => (seed: number) => {
      const machine = new NoisyMachine(seed)
      return new Made((batch, count) => machine.pairs(count, batch === 'self' ? 1 : to))
    }
    expect(await share('regressed', 100, PROCESS, BENCH, speed(0.9))).toBeGreaterThanOrEqual(95)
    expect(await share('regressed', 100, PROCESS, BENCH, speed(1))).toBeLessThanOrEqual(1)
  })
})

describe('calibration', () => {
  it('is three deviations of base against base, 2 % at least', async () => {
    expect(limitOf(0.001)).toBe(0.02)
    expect(limitOf(0.0123)).toBe(0.037)
    expect(limitOf(3)).toBe(0.5)
    // the median of 200 processes that scatter by 10 % deviates by 1.25 x 10 % / sqrt(200), that of 50 twice as much
    const options = { ...OPTIONS, count: 200, resamples: 2000, doublings: 0 }
    const checks = await selfChecks(
      [BENCH],
      pairs(9, () => 1, 0.1),
      options,
    )
    const { limits } = calibrated(checks, 4, { node: 'v20' })
    expect(limits['a']).toBeGreaterThan(0.035)
    expect(limits['a']).toBeLessThan(0.075)
  })
})
