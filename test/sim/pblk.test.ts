// Lives of pblk from seeds: nothing that was flushed is lost, nothing is torn, whatever fails and whenever power goes.

import { expect, it } from 'vitest'
import type { Moment } from '../unit/drivers/lightnvm/media-check.js'
import { simulatePblk } from './pblk.js'

/** What there is in recovery counts padding as metadata. */
const KINDS: readonly Moment[] = [
  'nothing',
  'data',
  'meta',
  'erase',
  'read',
  'collecting',
  'meta in recovery',
  'erase in recovery',
  'read in recovery',
]

/** Seeds; `npm run sim -- --world pblk` has more. */
const SEEDS = 500
/** One that has found something: two units of a request in one chunk, the second of which failed. */
const FOUND = [711]

it(`${SEEDS} lives of pblk`, () => {
  const failed: string[] = []
  const seen = new Map<Moment, number>()
  const seeds = [...Array(SEEDS).keys(), ...FOUND]
  for (const seed of seeds)
    try {
      simulatePblk(seed, seen)
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error))
    }
  expect(failed).toEqual([])
  // power has gone in the midst of everything
  const rare = KINDS.filter(kind => (seen.get(kind) ?? 0) < 4)
  expect([rare, seen]).toEqual([[], seen])
})
