import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RwMode, Triple } from '../../../src/workload/job.js'
import { type Io, JOB, KiB, MiB, Rig } from './rig.js'

const same = (n: number): Triple => [n, n, n]

/** Blocks of `unit` bytes that the I/Os touch, with repetitions. */
function blocks(ios: readonly Io[], unit: number): number[] {
  return ios.flatMap(io => Array.from({ length: io.len / unit }, (_, i) => io.offset / unit + i))
}

function sorted(list: readonly number[]): number[] {
  return list.toSorted((a, b) => a - b)
}

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i)
}

describe('the random map', () => {
  it('covers every block of one size exactly once a pass, whatever the number of blocks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 700 }),
        fc.integer({ min: 0, max: 4095 }),
        fc.nat(),
        fc.constantFrom<RwMode>('randread', 'randwrite', 'randtrim', 'randrw'),
        (n, tail, seed, rw) => {
          const rig = new Rig({ rw, size: n * 4 * KiB + tail, seed })
          expect(sorted(blocks(rig.run(), 4 * KiB))).toEqual(upTo(n))
          expect(rig.next()).toBeNull()
          rig.core.gen_restart(JOB)
          expect(sorted(blocks(rig.run(), 4 * KiB))).toEqual(upTo(n))
        },
      ),
    )
  })

  it('covers every block of mixed sizes exactly once a pass', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 700 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(),
        fc.constantFrom<RwMode>('randread', 'randrw'),
        (n, most, seed, rw) => {
          const rig = new Rig({
            rw,
            size: n * KiB,
            seed,
            bsMin: same(KiB),
            bsMax: same(most * KiB),
          })
          const ios = rig.run()
          expect(sorted(blocks(ios, KiB))).toEqual(upTo(n))
          expect(ios.every(io => io.len <= most * KiB)).toBe(true)
          rig.core.gen_restart(JOB)
          expect(sorted(blocks(rig.run(), KiB))).toEqual(upTo(n))
        },
      ),
    )
  })

  it('covers every block when directions have different sizes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), (n, seed) => {
        const bs: Triple = [4 * KiB, 12 * KiB, 4 * KiB]
        const rig = new Rig({
          rw: 'randrw',
          size: n * 4 * KiB,
          seed,
          bsMin: bs,
          bsMax: bs,
          blockAlign: bs,
        })
        const ios = rig.run()
        const map = blocks(ios, 4 * KiB)
        expect(new Set(map).size).toBe(map.length)
        if (n >= 3) expect(sorted(map)).toEqual(upTo(n))
      }),
    )
  })

  it('has another order in each pass, and another for each seed', () => {
    const order = (rig: Rig) => rig.run().map(io => io.offset)
    const rig = new Rig({ rw: 'randread' })
    const first = order(rig)
    rig.core.gen_restart(JOB)
    expect(order(rig)).not.toEqual(first)
    expect(order(new Rig({ rw: 'randread', seed: 2 }))).not.toEqual(first)
    expect(order(new Rig({ rw: 'randread' }))).toEqual(first)
  })

  it('gives an order in which neighbours have nothing to do with each other', () => {
    const n = 4096
    const at = new Rig({ rw: 'randread', size: n * 4 * KiB }).run().map(io => io.offset / (4 * KiB))
    for (const lag of [1, 2, 3, 16, 64, 256]) {
      let sum = 0
      for (let i = lag; i < n; i++) sum += (at[i]! - n / 2) * (at[i - lag]! - n / 2)
      // a correlation of independent draws has a deviation of 1 / sqrt(n) = 0.016
      expect(Math.abs(sum / n / ((n * n) / 12))).toBeLessThan(0.07)
    }
    const steps = new Set(at.slice(1).map((b, i) => (b - at[i]! + n) % n))
    expect(steps.size).toBeGreaterThan(n / 2)
  })

  it('holds 2^40 blocks without memory', () => {
    const rig = new Rig({ rw: 'randread', size: 2 ** 52 })
    const ios = rig.take(1000)
    expect(new Set(ios.map(io => io.offset)).size).toBe(1000)
    expect(Math.max(...ios.map(io => io.offset))).toBeGreaterThan(2 ** 51)
    expect(ios.every(io => io.offset % 4096 === 0 && io.offset < 2 ** 52)).toBe(true)
  })

  it('is off with norandommap: blocks repeat, and the pass does not end', () => {
    const ios = new Rig({ rw: 'randread', norandommap: true }).take(2560)
    const seen = new Map<number, number>()
    for (const b of blocks(ios, 4 * KiB)) seen.set(b, (seen.get(b) ?? 0) + 1)
    // ten draws a block: none is left out (e^-10 each), none has more than thirty
    expect(seen.size).toBe(256)
    expect(Math.max(...seen.values())).toBeLessThan(30)
  })

  it('is off with blockalign, whose offsets still leave room for a whole block', () => {
    const rig = new Rig({
      rw: 'randread',
      bs: 64 * KiB,
      size: 256 * KiB,
      blockAlign: same(4 * KiB),
    })
    const ios = rig.take(2000)
    const places = sorted([...new Set(ios.map(io => io.offset / (4 * KiB)))])
    expect(places).toEqual(upTo(49))
    expect(ios.every(io => io.offset + io.len <= 256 * KiB)).toBe(true)
  })

  it('ends at once when no block fits', () => {
    for (const norandommap of [false, true]) {
      expect(new Rig({ rw: 'randread', size: 2 * KiB, norandommap }).next()).toBeNull()
    }
  })
})

describe('what mixes random and sequential', () => {
  it('rw=randread:4 jumps every four I/Os', () => {
    const ios = new Rig({ rw: 'randread', ddirSeqCount: 4, norandommap: true }).take(400)
    for (const [i, io] of ios.entries()) {
      if (i % 4 && ios[i - 1]!.offset < MiB - 4 * KiB) {
        expect(io.offset).toBe(ios[i - 1]!.offset + 4 * KiB)
      }
    }
    const jumps = ios.filter((_, i) => i % 4 === 0).map(io => io.offset)
    expect(new Set(jumps).size).toBeGreaterThan(60)
  })

  it('rw_sequencer=identical repeats the offset in between', () => {
    const ask = { rw: 'randread', ddirSeqCount: 4, rwSequencer: 'identical' } as const
    const ios = new Rig(ask).run(MiB)
    expect(ios.length).toBe(256)
    for (const [i, io] of ios.entries()) {
      expect(io.offset).toBe(ios[i - (i % 4)]!.offset)
    }
    expect(new Set(ios.map(io => io.offset)).size).toBe(64)
  })

  it('percentage_random makes a share of the I/Os sequential', () => {
    const ios = new Rig({
      rw: 'randread',
      size: 64 * MiB,
      percentageRandom: same(70),
    }).take(4000)
    const following = ios.filter((io, i) => i > 0 && io.offset === ios[i - 1]!.offset + 4 * KiB)
    // 1200 expected, deviation 29
    expect(Math.abs(following.length - 1200)).toBeLessThan(120)
  })
})

describe('directions', () => {
  it('are mixed by rwmixread', () => {
    for (const rwmixread of [0, 30, 75, 100]) {
      const ios = new Rig({ rw: 'randrw', rwmixread, norandommap: true }).take(4000)
      const reads = ios.filter(io => io.ddir === 0).length
      // deviation of the share below 0.008
      expect(Math.abs(reads / 4000 - rwmixread / 100)).toBeLessThan(0.03)
      if (rwmixread % 100 === 0) expect(reads).toBe(rwmixread * 40)
    }
  })

  it('randtrimwrite writes each block right after its trim, with the same length', () => {
    const bsMin = same(4 * KiB)
    for (const bsMax of [same(4 * KiB), same(16 * KiB)]) {
      const ios = new Rig({ rw: 'randtrimwrite', bsMin, bsMax }).run()
      const trims = ios.filter((_, i) => i % 2 === 0)
      const writes = ios.filter((_, i) => i % 2 === 1)
      expect(writes).toEqual(trims.map(io => ({ ...io, ddir: 1 })))
      expect(trims.every(io => io.ddir === 2)).toBe(true)
      expect(sorted(blocks(trims, 4 * KiB))).toEqual(upTo(256))
    }
  })
})

describe('block sizes', () => {
  it('of a range are its multiples, each as likely', () => {
    const ask = { bsMin: same(4 * KiB), bsMax: same(18 * KiB), norandommap: true }
    const counts = new Map<number, number>()
    for (const io of new Rig({ rw: 'randread', size: 64 * MiB, ...ask }).take(4000)) {
      counts.set(io.len, (counts.get(io.len) ?? 0) + 1)
    }
    expect(sorted([...counts.keys()])).toEqual([4, 8, 12, 16].map(k => k * KiB))
    // 1000 each, deviation 27
    for (const c of counts.values()) expect(Math.abs(c - 1000)).toBeLessThan(120)
  })

  it('unaligned are whole sectors', () => {
    const ask = { bsMin: same(4 * KiB), bsMax: same(8 * KiB), bsUnaligned: true }
    const ios = new Rig({ rw: 'randread', size: 64 * MiB, ...ask }).take(1000)
    expect(sorted([...new Set(ios.map(io => io.len / 512))])).toEqual(upTo(9).map(i => i + 8))
    expect(ios.every(io => io.offset % (4 * KiB) === 0)).toBe(true)
  })

  it('of a split come by their shares, different for reads and writes', () => {
    const split = (...pairs: [kib: number, percent: number][]) =>
      pairs.map(([kib, percent]) => ({ bytes: kib * KiB, percent }))
    const reads = split([0.5, 5], [4, 60], [16, 20], [64, 15])
    const writes = split([4, 70], [64, 20], [128, 10])
    const ios = new Rig({
      rw: 'randrw',
      size: 512 * MiB,
      norandommap: true,
      bsMin: [512, 4 * KiB, 512],
      bsMax: [64 * KiB, 128 * KiB, 512],
      bssplit: [reads, writes, []],
    }).take(12_000)
    for (const [ddir, list] of [reads, writes].entries()) {
      const mine = ios.filter(io => io.ddir === ddir)
      for (const { bytes, percent } of list) {
        const share = mine.filter(io => io.len === bytes).length / mine.length
        expect(Math.abs(share - percent / 100)).toBeLessThan(0.03)
      }
      expect(mine.every(io => list.some(e => e.bytes === io.len))).toBe(true)
    }
  })

  it('cut a split to what fits before the end, and stay inside', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 4, max: 40 }), fc.boolean(), (seed, kib, seq) => {
        const rig = new Rig({
          rw: seq ? 'read' : 'randread',
          size: kib * KiB,
          seed,
          norandommap: true,
          timeBased: true,
          bsMin: same(4 * KiB),
          bsMax: same(32 * KiB),
          bssplit: [
            [
              { bytes: 4 * KiB, percent: 0 },
              { bytes: 10 * KiB, percent: 50 },
              { bytes: 32 * KiB, percent: 50 },
            ],
            [],
            [],
          ],
        })
        for (let i = 0; i < 50; i++) {
          const io = rig.next()
          if (!io) {
            expect(seq && kib % 4 !== 0).toBe(true)
            rig.core.gen_restart(JOB)
            continue
          }
          expect(io.offset + io.len).toBeLessThanOrEqual(kib * KiB)
          // 10k is cut to 8k, a multiple of the smallest size
          expect([4, 8, 32]).toContain(io.len / KiB)
        }
      }),
      { numRuns: 40 },
    )
  })
})

describe('any job', () => {
  it('has aligned offsets inside its region, for every mode', () => {
    const modes: RwMode[] = [
      'read',
      'randread',
      'randwrite',
      'rw',
      'randrw',
      'trimwrite',
      'randtrimwrite',
    ]
    fc.assert(
      fc.property(
        fc.constantFrom(...modes),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 1, max: 300 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 100 }),
        fc.nat(),
        (rw, min, more, kib, norandommap, ddirSeqCount, percent, seed) => {
          const rig = new Rig({
            rw,
            size: kib * KiB,
            norandommap,
            ddirSeqCount,
            seed,
            bsMin: same(min * KiB),
            bsMax: same((min + more) * KiB),
            percentageRandom: same(percent),
          })
          const step = min * KiB
          for (let i = 0; i < 200; i++) {
            const io = rig.next()
            if (!io) rig.core.gen_restart(JOB)
            else if (
              io.offset + io.len > kib * KiB ||
              io.offset % step !== 0 ||
              io.len % step !== 0 ||
              io.len === 0
            ) {
              expect.fail(`I/O ${i} at ${io.offset} of ${io.len} bytes`)
            }
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
