// Lives of pblk from seeds: nothing that was flushed is lost, nothing is torn, whatever fails and whenever power goes.

import { describe, expect, it } from 'vitest'
import { GEOMETRY_12 } from '../../src/device/ocssd/geometry.js'
import { Story, type StoryOptions } from '../unit/drivers/lightnvm/story.js'

/** Seeds of a kind; PHASEBIT_PBLK_SEEDS asks for more. */
const SEEDS = Number(process.env['PHASEBIT_PBLK_SEEDS'] ?? 500)

/** What a seed is about: most are short, one in ten fills the disk until it is collected. */
function storyOf(seed: number): StoryOptions {
  const kind = seed % 10
  const short = { seed, lives: 1, steps: 30, span: 0.3 }
  if (kind === 0) return { seed, span: 1, steps: 120, lives: 1 }
  if (kind === 1 || kind === 6) return { ...short, writeFail: 0.01 }
  if (kind === 4) return { ...short, lives: 4, steps: 10 }
  if (kind === 3 || kind === 8)
    return { ...short, geometry: { ...GEOMETRY_12, clba: 2 * 4 * 8, chunks: 24 } }
  return short
}

describe('pblk from seeds', () => {
  it(`${SEEDS} lives`, () => {
    const failed: string[] = []
    for (let seed = 0; seed < SEEDS && failed.length < 5; seed++) {
      try {
        const problems = new Story(storyOf(seed)).run()
        if (problems.length > 0) failed.push(`seed ${seed}: ${problems[0]}`)
      } catch (error) {
        failed.push(`seed ${seed}: ${error instanceof Error ? error.message : error}`)
      }
    }
    expect(failed).toEqual([])
  })
})
