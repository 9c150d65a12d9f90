// Machines with an emulated kernel, from seeds (hosted.ts); more of them: npm run sim -- --world block.

import { describe, expect, test } from 'vitest'
import { simulateHosted } from './hosted.js'

const SEEDS = 200

describe('random machines with a kernel', () => {
  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))('seed %i', async seed => {
    expect((await simulateHosted(seed)).ios).toBeGreaterThan(0)
  })
})
