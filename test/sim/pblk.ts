// One life of pblk from a seed: what the seed is about.

import { GEOMETRY_12 } from '../../src/device/ocssd/geometry.js'
import { Story, type StoryOptions } from '../unit/drivers/lightnvm/story.js'
import type { Moment } from '../unit/drivers/lightnvm/media-check.js'
import type { SimFacts } from './simulate.js'

/** One host at a time: all use the same. */
const MEMORY = new ArrayBuffer(8 * 2 ** 20)

/** Most are short, one in ten fills the disk until it is collected. */
function storyOf(seed: number): StoryOptions {
  const kind = seed % 10
  const short = { seed, lives: 1, steps: 30, span: 0.3 }
  if (kind === 0) return { seed, span: 1, steps: 120, lives: 1 }
  if (kind === 1 || kind === 6) return { ...short, writeFail: 0.01 }
  if (kind === 2) return { ...short, eraseFail: 0.03 }
  if (kind === 4) return { ...short, lives: 4, steps: 10 }
  if (kind === 3 || kind === 8)
    return { ...short, geometry: { ...GEOMETRY_12, clba: 2 * 4 * 8, chunks: 24 } }
  return short
}

/**
 * @param seen how often power went while a command of a kind was under way, counted on
 * @throws Error that names the seed and what is wrong
 */
export function simulatePblk(seed: number, seen: Map<Moment, number> = new Map()): SimFacts {
  const story = new Story({ ...storyOf(seed), memory: MEMORY })
  const [problem] = story.run()
  for (const kind of story.moments.flatMap(one => [...new Set(one)]))
    seen.set(kind, (seen.get(kind) ?? 0) + 1)
  if (problem !== undefined) throw new Error(`seed ${seed}: ${problem}`)
  return { ios: story.ios, virtualNs: story.rig.vk.ns }
}
