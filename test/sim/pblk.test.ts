// Lives of pblk from seeds: nothing that was flushed is lost, nothing is torn, whatever fails and whenever power goes.

import { expect, it } from 'vitest'
import { simulatePblk } from './pblk.js'

/** Seeds; `npm run sim -- --world pblk` has more. */
const SEEDS = 500

it(`${SEEDS} lives of pblk`, () => {
  const failed: string[] = []
  for (let seed = 0; seed < SEEDS && failed.length < 5; seed++)
    try {
      simulatePblk(seed)
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error))
    }
  expect(failed).toEqual([])
})
