// Lives of rrpc from seeds: what has ended is there, nothing is torn, whatever fails and whenever power goes.

import { expect, it } from 'vitest'
import { RrpcStory, type RrpcStoryOptions } from '../unit/drivers/lightnvm/rrpc-story.js'

/** Seeds; PHASEBIT_RRPC_SEEDS asks for more. */
const SEEDS = Number(process.env['PHASEBIT_RRPC_SEEDS'] ?? 24)

/** What a seed is about. */
function storyOf(seed: number): RrpcStoryOptions {
  const kind = seed % 6
  if (kind === 0) return { seed, steps: 120, lives: 1 }
  if (kind === 1) return { seed, writeFail: 0.004, span: 0.7 }
  if (kind === 2) return { seed, eraseFail: 0.02, span: 0.7, steps: 80 }
  if (kind === 3) return { seed, steps: 12, lives: 5 }
  if (kind === 4)
    return {
      seed,
      geometry: { planes: 2, pageSectors: 4, wsMin: 4, wsOpt: 8, clba: 32 },
      span: 0.6,
    }
  return { seed, geometry: { groups: 1, pus: 1, chunks: 30 }, steps: 60 }
}

it(`${SEEDS} lives of rrpc`, () => {
  const failed: string[] = []
  for (let seed = 0; seed < SEEDS && failed.length < 5; seed++) {
    try {
      const problems = new RrpcStory(storyOf(seed)).run()
      if (problems.length > 0) failed.push(`seed ${seed}: ${problems[0]}`)
    } catch (error) {
      failed.push(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
    }
  }
  expect(failed).toEqual([])
})
