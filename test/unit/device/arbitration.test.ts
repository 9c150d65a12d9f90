// Which queue's entries are fetched first: round robin with bursts, weighted round robin with an urgent class, and queues that
// wait because only so many commands may be in service.

import { describe, expect, it } from 'vitest'
import { Rig } from './rig.js'

const WEIGHTED = 0x00460801

/** Queues with these classes, all completing into queue 1's ring. */
function rigOf(classes: readonly number[], cc = 0x00460001, serviceSlots = 0): Rig {
  const rig = new Rig({
    queues: classes.length,
    serviceNs: serviceSlots ? 1000 : 0,
    config: { serviceSlots },
  })
  rig.enable(32, cc)
  classes.forEach((priority, i) => {
    rig.pair(i + 1, 64, 1, 1, priority)
  })
  return rig
}

/** Entries of each queue are there at once; in which order the controller takes them. */
function order(rig: Rig, counts: readonly number[]): number[] {
  rig.controller.busMaster(false)
  counts.forEach((count, i) => {
    for (let k = 0; k < count; k++) rig.push(i + 1, { opcode: 0, nsid: 1 })
    rig.ring(i + 1)
  })
  rig.controller.busMaster(true)
  const ids: number[] = []
  for (let round = 0; round < 100; round++) {
    ids.push(...rig.reap(1).map(c => c.sqid))
    rig.run(1000)
  }
  return ids
}

/** Lengths of runs: 1, 1, 2 becomes [1, 2], [2, 1]. */
function runs(ids: readonly number[]): [number, number][] {
  const list: [number, number][] = []
  for (const id of ids) {
    const last = list.at(-1)
    if (last?.[0] === id) last[1]++
    else list.push([id, 1])
  }
  return list
}

describe('arbitration', () => {
  it('nvme-spec 22.15: AB=2 over two queues of ten starts 4, 4, 4, 4, 2, 2', () => {
    const rig = rigOf([0, 0])
    rig.setFeature(1, 2)
    expect(runs(order(rig, [10, 10])).map(([, n]) => n)).toEqual([4, 4, 4, 4, 2, 2])
  })

  it('no limit: one queue after the other', () => {
    const rig = rigOf([0, 0, 0])
    rig.setFeature(1, 7)
    expect(
      runs(order(rig, [5, 6, 7]))
        .map(([, n]) => n)
        .sort(),
    ).toEqual([5, 6, 7])
  })

  it('nvme-spec 22.16: HPW=3, MPW=1, LPW=0 starts 4 high, 2 medium, 1 low a round', () => {
    const rig = rigOf([1, 2, 3], WEIGHTED)
    rig.setFeature(1, 0x03010007)
    const ids = order(rig, [12, 6, 3])
    expect(ids.slice(0, 21)).toEqual([
      1, 1, 1, 1, 2, 2, 3, 1, 1, 1, 1, 2, 2, 3, 1, 1, 1, 1, 2, 2, 3,
    ])
  })

  it('urgent comes before all weights; inside a class queues take turns', () => {
    const rig = rigOf([1, 0, 1], WEIGHTED)
    rig.setFeature(1, 0x03000000)
    const ids = order(rig, [4, 3, 4])
    expect(ids.slice(0, 3)).toEqual([2, 2, 2])
    expect(runs(ids.slice(3)).every(([, n]) => n === 1)).toBe(true)
    expect(ids).toHaveLength(11)
  })

  it('round robin takes no notice of classes', () => {
    const rig = rigOf([3, 0])
    rig.setFeature(1, 0)
    expect(runs(order(rig, [3, 3])).map(([, n]) => n)).toEqual([1, 1, 1, 1, 1, 1])
  })

  it('entries wait in their rings while so many are in service as may be', () => {
    const rig = rigOf([0, 0, 0, 0], undefined, 2)
    const ids = order(rig, [8, 8, 8, 8])
    expect(ids).toHaveLength(32)
    for (let i = 0; i < 32; i += 4) expect(new Set(ids.slice(i, i + 4)).size).toBe(4)
  })

  it('the admin queue is served while I/O queues are full', () => {
    const rig = rigOf([1], WEIGHTED, 2)
    for (let i = 0; i < 40; i++) rig.push(1, { opcode: 0, nsid: 1 })
    rig.ring(1)
    rig.run(2000)
    expect(rig.feature(1).status).toBe(0)
  })
})
