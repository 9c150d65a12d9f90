// Simulations of NVMe over fabrics from seeds.

import { expect, it } from 'vitest'
import { REQ_OP_READ } from '../../assembly/nvme.js'
import { bio_init } from '../../src/block/bio.js'
import { FabricRig } from '../unit/nvme/fabric-rig.js'
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
  // Each of them, and not by one chance alone.
  for (const [story, count] of counts) expect(count, `${story}`).toBeGreaterThan(5)
})

it('a bio that ends twice does not go unseen', () => {
  const { machine, buffers } = new FabricRig({ cpus: 1 })
  const { blk } = machine.host!
  let ends = 0
  const bio = bio_init(blk, {
    q: machine.host!.queue(machine.disks[0]!),
    opf: REQ_OP_READ,
    sector: 0,
    bytes: 4096,
    data: buffers,
    end_io: () => ends++,
  })
  blk.core.bio_endio(machine.cpuAddress(0), bio)
  expect(() => blk.core.bio_endio(machine.cpuAddress(0), bio)).toThrow('has ended already')
  expect(ends).toBe(1)
})

it('the same seed is the same run', () => {
  expect(simulateFabric(77)).toEqual(simulateFabric(77))
})
