// One life of rrpc from a seed: what the seed is about.

import { RrpcStory, type RrpcStoryOptions } from '../unit/drivers/lightnvm/rrpc-story.js'
import type { SimFacts } from './simulate.js'

/** One host at a time: all use the same. */
const MEMORY = new ArrayBuffer(4 * 2 ** 20)

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

/** @throws Error that names the seed and what is wrong */
export function simulateRrpc(seed: number): SimFacts {
  const story = new RrpcStory({ ...storyOf(seed), memory: MEMORY })
  const [problem] = story.run()
  if (problem !== undefined) throw new Error(`seed ${seed}: ${problem}`)
  return { ios: story.ios, virtualNs: story.rig.vk.ns }
}
