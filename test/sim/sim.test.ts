// A short simulation: 100 seeds. `npm run sim` runs as many as wanted.

import { describe, expect, it } from 'vitest'
import { draw } from './draw.js'
import { simulate } from './simulate.js'

const SEEDS = 100
const CHUNK = 20

describe('the simulation', () => {
  for (let from = 1; from <= SEEDS; from += CHUNK) {
    it(`seeds ${from} to ${from + CHUNK - 1}`, async () => {
      let ios = 0
      for (let seed = from; seed < from + CHUNK; seed++) ios += (await simulate(seed)).ios
      expect(ios).toBeGreaterThan(100)
    })
  }

  it('draws the same from a seed, and other things from another', () => {
    expect(draw(7)).toEqual(draw(7))
    expect(new Set(Array.from({ length: 50 }, (_, i) => JSON.stringify(draw(i)))).size).toBe(50)
  })
})
