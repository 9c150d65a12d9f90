// Simulations of NVMe over fabrics from seeds.

import { expect, it } from 'vitest'
import { simulateFabric, STORIES } from './fabrics.js'

const SEEDS = 500

it(`${SEEDS} seeds: nothing is lost`, { timeout: 300_000 }, () => {
  const outcomes = Array.from({ length: SEEDS }, (_, seed) => simulateFabric(seed))
  expect(outcomes.reduce((sum, { ios }) => sum + ios, 0)).toBeGreaterThan(SEEDS * 10)
  for (const transport of ['tcp', 'rdma', 'fc', 'loop'])
    expect(outcomes.filter(one => one.transport === transport).length).toBeGreaterThan(30)
  expect(outcomes.some(one => one.failed > 0)).toBe(true)
  const counts = STORIES.map(story => [
    story,
    outcomes.filter(({ reached }) => reached.includes(story)).length,
  ])
  for (const [story, count] of counts) expect(count, `${story}`).toBeGreaterThan(0)
})

it('the same seed is the same run', () => {
  expect(simulateFabric(77)).toEqual(simulateFabric(77))
})
