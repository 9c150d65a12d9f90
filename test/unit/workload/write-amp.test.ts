// Write amplification against spare space: the analytic curve, and layers that are held against it.

import { describe, expect, test } from 'vitest'
import {
  fifoAmplification,
  popularity,
  writeAmp,
  type WriteAmpPoint,
} from '../../../src/workload/write-amp.js'

describe('a log that is collected in the order of its age', () => {
  const one = (places: number, sectors: number): number =>
    fifoAmplification(places, sectors, popularity('random', sectors))

  test('comes to what the closed form says under uniform writes', () => {
    // a / (a + W(-a exp(-a))); 2.36 at 30 % more flash than data is the paper's own figure
    expect(one(1300, 1000)).toBeCloseTo(2.36, 2)
    for (const a of [1.07, 1.2, 1.5, 2]) {
      const amplification = one(a * 1e6, 1e6)
      const w = a / amplification - a
      expect(w * Math.exp(w)).toBeCloseTo(-a * Math.exp(-a), 6)
    }
  })

  test('suffers from skew, gains from space; without any it never ends', () => {
    const skewed = fifoAmplification(1300, 1000, popularity('zipf:1.1', 1000))
    expect(skewed).toBeGreaterThan(one(1300, 1000))
    expect(one(1600, 1000)).toBeLessThan(one(1300, 1000))
    expect(one(1000, 1000)).toBe(Number.POSITIVE_INFINITY)
  })

  test('popularity adds up to one', () => {
    const p = popularity('zipf:0.9', 500)
    expect(p.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 12)
    expect(p[0] / p[1]).toBeCloseTo(2 ** 0.9, 10)
  })
})

describe('layers', async () => {
  const points = await writeAmp(
    {
      layers: ['pblk', 'nand'],
      spares: [40, 60],
      distributions: ['random'],
      blocks: 32,
      sectors: 64,
      settle: 1,
      measure: 0.5,
      seed: 1,
    },
    () => {},
  )
  const at = (layer: string, spare: number): WriteAmpPoint =>
    points.find(p => p.layer === layer && p.spare === spare)!

  test('rrpc: no less spare space than it keeps, and the curve of the places that it uses', async () => {
    const small = { distributions: ['random'], blocks: 32, sectors: 64, settle: 1, measure: 0.5 }
    const grid = { ...small, layers: ['rrpc'] as const, spares: [10, 60], seed: 1 }
    const [point, ...more] = await writeAmp(grid, () => {})
    expect(more).toEqual([])
    const { spare, sectors, places, moved, amplification, nominal, inUse } = point!
    expect([spare, sectors / places]).toEqual([60, expect.closeTo(0.4, 3)])
    expect(moved).toBeGreaterThan(0)
    expect(inUse).toBeGreaterThan(nominal)
    expect(amplification / inUse).toBeGreaterThan(0.75)
    expect(amplification / inUse).toBeLessThan(1.35)
  })

  test.each(['pblk', 'nand'])('%s is near the curve of the places that it uses', layer => {
    for (const spare of [40, 60]) {
      const { amplification, inUse, nominal } = at(layer, spare)
      expect(inUse).toBeGreaterThan(nominal)
      expect(amplification / inUse).toBeGreaterThan(0.75)
      expect(amplification / inUse).toBeLessThan(1.35)
    }
  })

  test('pblk keeps more of the spare space free than the drive does', () => {
    for (const spare of [40, 60])
      expect(at('pblk', spare).unused).toBeGreaterThan(at('nand', spare).unused)
  })

  test('more spare space, fewer moves; with pblk, by the steps of its limiter', () => {
    expect(at('nand', 60).amplification).toBeLessThan(at('nand', 40).amplification)
    // 128 of the 153 spare chunks stay free: users get nothing of the ring below that
    expect(at('pblk', 60).unused / (8 * 64)).toBeGreaterThan(16)
  })
})
