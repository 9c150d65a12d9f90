// Shares of the distributions, with fixed seeds, against their formulas.

import { describe, expect, it } from 'vitest'
import type { GeneratorParams } from '../../../src/workload/generator-params.js'
import { Prng } from '../../../src/core/prng.js'
import { JOB, KiB, Rig } from './rig.js'

const BLOCK = 4 * KiB
const DRAWS = 40_000

type Dist = GeneratorParams['distribution'][0]

/** How often each of `n` blocks is drawn. */
function histogram(d: Dist, n: number, draws: number = DRAWS, seed = 1): number[] {
  const rig = new Rig({ rw: 'randread', size: n * BLOCK, distribution: [d, d, d], seed })
  const counts = new Array<number>(n).fill(0)
  for (let i = 0; i < draws; i++) counts[rig.next()!.offset / BLOCK]!++
  return counts
}

function ranked(counts: readonly number[]): number[] {
  return counts.toSorted((a, b) => b - a)
}

/** Share of the draws that the `k` most drawn blocks have. */
function topShare(counts: readonly number[], k: number): number {
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0)
  return sum(ranked(counts).slice(0, k)) / sum(counts)
}

describe('zipf', () => {
  it.each([0.4, 0.99, 1.2, 2])('gives rank k a share proportional to 1 / k^%d', theta => {
    const n = 1000
    const counts = ranked(histogram({ kind: 'zipf', theta, centre: null }, n))
    let zeta = 0
    for (let k = 1; k <= n; k++) zeta += k ** -theta
    let want = 0
    for (const [rank, tolerance] of [
      [1, 0.01],
      [2, 0.01],
      [5, 0.015],
      [20, 0.02],
      [100, 0.05],
    ] as const) {
      const got = counts.slice(0, rank).reduce((a, b) => a + b, 0) / DRAWS
      want = 0
      for (let k = 1; k <= rank; k++) want += k ** -theta / zeta
      expect(Math.abs(got - want)).toBeLessThan(tolerance)
    }
  })

  it('is exact in the tail: the expected counts of the ranks', () => {
    const n = 16
    const d: Dist = { kind: 'zipf', theta: 0.7, centre: null }
    const counts = ranked(histogram(d, n))
    const weights = counts.map((_, i) => (i + 1) ** -0.7)
    const zeta = weights.reduce((a, b) => a + b, 0)
    let chi = 0
    for (const [i, w] of weights.entries()) {
      const want = (DRAWS * w) / zeta
      chi += (counts[i]! - want) ** 2 / want
    }
    // 15 degrees of freedom: above 37.7 in one of a thousand seeds
    expect(chi).toBeLessThan(37.7)
  })

  it('scatters the ranks, and puts the first at the centre', () => {
    const n = 1000
    const scattered = histogram({ kind: 'zipf', theta: 1.2, centre: null }, n)
    const centred = histogram({ kind: 'zipf', theta: 1.2, centre: 0.25 }, n)
    expect(centred.indexOf(Math.max(...centred))).toBe(250)
    expect(scattered.indexOf(Math.max(...scattered))).not.toBe(250)
    const hot = centred.flatMap((c, i) => (c > 100 ? [i] : [])).filter(i => Math.abs(i - 250) > 20)
    expect(hot.length).toBeGreaterThan(10)
  })

  it('has another place for another seed', () => {
    const top = (seed: number) => {
      const counts = histogram({ kind: 'zipf', theta: 1.2, centre: null }, 1000, 4000, seed)
      return counts.indexOf(Math.max(...counts))
    }
    expect(new Set([1, 2, 3, 4, 5].map(top)).size).toBeGreaterThan(3)
  })

  it('works on a region of 2^40 blocks', () => {
    const d: Dist = { kind: 'zipf', theta: 0.9, centre: null }
    const rig = new Rig({ rw: 'randread', size: 2 ** 52, distribution: [d, d, d] })
    const ios = rig.take(2000)
    expect(ios.every(io => io.offset >= 0 && io.offset < 2 ** 52)).toBe(true)
    expect(new Set(ios.map(io => io.offset)).size).toBeGreaterThan(1500)
  })
})

describe('pareto', () => {
  it.each([0.1, 0.2, 0.5])('gives a share 1 - %d of the I/Os to that part of the blocks', h => {
    const n = 2000
    const counts = histogram({ kind: 'pareto', h, centre: null }, n)
    expect(Math.abs(topShare(counts, h * n) - (1 - h))).toBeLessThan(h === 0.5 ? 0.1 : 0.02)
  })

  it('puts the hottest block at the centre', () => {
    const counts = histogram({ kind: 'pareto', h: 0.1, centre: 0.5 }, 500)
    expect(counts.indexOf(Math.max(...counts))).toBe(250)
  })
})

describe('normal', () => {
  // deviation of the ranks: that of twelve uniform draws' mean, and that of one draw as wide as was asked for; the share of
  // the blocks within z deviations of the middle. fio 3.33, 4 MiB of 4k blocks: 0.417 and 0.729 for 10, 0.302 and 0.560
  // for 30.
  it.each([
    [10, 100, 0.4204],
    [10, 200, 0.7317],
    [30, 100, 0.3155],
    [30, 200, 0.5827],
    [0, 200, 0.7587],
  ])('of deviation %d gives %d of 1024 blocks a share of %d', (deviation, blocks, want) => {
    const counts = histogram({ kind: 'normal', deviation, centre: null }, 1024, 4 * DRAWS)
    expect(Math.abs(topShare(counts, blocks) - want)).toBeLessThan(0.03)
  })

  it('draws the ranks as the plain formula does', () => {
    const n = 60
    const counts = ranked(histogram({ kind: 'normal', deviation: 40, centre: null }, n))
    const prng = new Prng(99)
    const model = new Array<number>(n).fill(0)
    for (let i = 0; i < DRAWS; i++) {
      let sum = 0
      for (let k = 0; k < 12; k++) sum += prng.below(n + 1)
      const rank = Math.min(Math.ceil(sum / 12), n - 1)
      let off = Math.floor(24 * prng.unit()) - 12
      while (rank + off < 0 || rank + off >= n) off = Math.trunc(off / 2)
      model[rank + off]!++
    }
    for (const [i, count] of ranked(model).entries()) {
      expect(Math.abs(counts[i]! - count)).toBeLessThan(6 * Math.sqrt(count + 10))
    }
  })

  it('is scattered over the region, the middle rank at the centre', () => {
    const n = 1000
    const d = (centre: number | null): Dist => ({ kind: 'normal', deviation: 1, centre })
    const counts = histogram(d(0.8), n)
    // the hottest two hundred are anywhere
    const hot = counts.flatMap((c, i) => (c > 80 ? [i] : []))
    expect(hot.filter(i => i < n / 2).length).toBeGreaterThan(hot.length / 4)
    expect(counts[800]).toBeGreaterThan(120)
    expect(new Rig({ rw: 'randread', size: 1, distribution: [d(1), d(1), d(1)] }).next()).toBeNull()
  })
})

describe('zoned', () => {
  const zones = [
    { access: 60, size: 10 },
    { access: 30, size: 20 },
    { access: 8, size: 30 },
    { access: 2, size: 40 },
  ]

  it('gives each zone its share of the accesses, evenly inside', () => {
    const n = 1000
    const counts = histogram({ kind: 'zoned', zones }, n)
    let start = 0
    for (const zone of zones) {
      const part = counts.slice(start, start + zone.size * 10)
      const share = part.reduce((a, b) => a + b, 0) / DRAWS
      expect(Math.abs(share - zone.access / 100)).toBeLessThan(0.01)
      expect(Math.max(...part)).toBeLessThan((3 * DRAWS * zone.access) / 100 / part.length + 10)
      start += zone.size * 10
    }
  })

  it('takes sizes in bytes as well, and leaves the rest of the region alone', () => {
    const abs = [
      { access: 20, size: 40 * BLOCK },
      { access: 0, size: 10 * BLOCK },
      { access: 80, size: 50 * BLOCK },
    ]
    const counts = histogram({ kind: 'zoned_abs', zones: abs }, 200)
    const share = (from: number, to: number) =>
      counts.slice(from, to).reduce((a, b) => a + b, 0) / DRAWS
    expect(Math.abs(share(0, 40) - 0.2)).toBeLessThan(0.01)
    expect(share(40, 50)).toBe(0)
    expect(share(100, 200)).toBe(0)
  })

  it('cuts zones to a region that is smaller', () => {
    const abs = [
      { access: 50, size: 10 * BLOCK },
      { access: 50, size: 1000 * BLOCK },
    ]
    const counts = histogram({ kind: 'zoned_abs', zones: abs }, 8, 1000)
    expect(counts.reduce((a, b) => a + b, 0)).toBe(1000)
  })

  it('may differ by direction', () => {
    const low: Dist = { kind: 'zoned', zones: [{ access: 100, size: 10 }] }
    const high: Dist = {
      kind: 'zoned',
      zones: [
        { access: 0, size: 90 },
        { access: 100, size: 10 },
      ],
    }
    const ios = new Rig({
      rw: 'randrw',
      size: 100 * BLOCK,
      distribution: [low, high, low],
    }).take(500)
    for (const io of ios) {
      if (io.ddir === 0) expect(io.offset).toBeLessThan(10 * BLOCK)
      else expect(io.offset).toBeGreaterThanOrEqual(90 * BLOCK)
    }
  })
})

describe('sequence', () => {
  it('repeats its list', () => {
    const d: Dist = { kind: 'sequence', blocks: [2, 0, 7] }
    const rig = new Rig({ rw: 'randread', size: 8 * BLOCK, distribution: [d, d, d] })
    expect(rig.take(7).map(io => io.offset / BLOCK)).toEqual([2, 0, 7, 2, 0, 7, 2])
  })
})

describe('uniform', () => {
  it('draws every block alike', () => {
    const rig = new Rig({ rw: 'randread', size: 100 * BLOCK, norandommap: true })
    const counts = new Array<number>(100).fill(0)
    for (let i = 0; i < DRAWS; i++) counts[rig.next()!.offset / BLOCK]!++
    // chi-squared of 99 degrees of freedom: above 148 in one of a thousand seeds
    expect(counts.reduce((chi, c) => chi + (c - 400) ** 2 / 400, 0)).toBeLessThan(148)
  })
})

describe('poisson arrivals', () => {
  it('have exponential intervals of the mean asked for', () => {
    const { core } = new Rig({ rw: 'read' })
    const draws = Array.from({ length: 20_000 }, () => core.exp_interval(JOB, 1000))
    const mean = draws.reduce((a, b) => a + b, 0) / draws.length
    expect(Math.abs(mean - 1000)).toBeLessThan(30)
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(0)
    const beyond = draws.filter(d => d > 2000).length / draws.length
    expect(Math.abs(beyond - Math.exp(-2))).toBeLessThan(0.01)
  })
})
