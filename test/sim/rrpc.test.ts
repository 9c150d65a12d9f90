// Lives of rrpc from seeds: what has ended is there, nothing is torn, whatever fails and whenever power goes.

import { expect, it } from 'vitest'
import { simulateRrpc } from './rrpc.js'

/** Seeds; `npm run sim -- --world rrpc` has more. */
const SEEDS = 24

it(`${SEEDS} lives of rrpc`, () => {
  let ios = 0
  for (let seed = 0; seed < SEEDS; seed++) ios += simulateRrpc(seed).ios
  expect(ios).toBeGreaterThan(100 * SEEDS)
})
