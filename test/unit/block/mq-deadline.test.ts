// mq-deadline without a driver: order, batches, starvation, expiry, merging, tunables.

import { describe, expect, it } from 'vitest'
import { REQ_OP_DRV_IN, REQ_PREFLUSH } from '../../../assembly/nvme.js'
import { mq_deadline } from '../../../src/block/mq-deadline.js'
import { EINVAL } from '../../../src/kernel/errno.js'
import { READ, SchedRig, WRITE } from './sched-rig.js'

describe('mq-deadline, order', () => {
  it('goes by sectors within a batch', () => {
    const rig = new SchedRig(mq_deadline)
    for (const sector of [400, 100, 300, 200]) rig.add(READ, sector)
    expect(rig.has_work()).toBe(true)
    // a batch begins with the oldest request when there is no next one
    expect(rig.drain()).toEqual([400, 100, 200, 300])
    expect(rig.has_work()).toBe(false)
  })

  it('blk-mq 20.20: endless reads and writes alternate 32 to 16', () => {
    const rig = new SchedRig(mq_deadline)
    const next = [0, 1_000_000]
    const feed = (op: number): void => {
      rig.add(op, next[op]!)
      next[op]! += 100
    }
    for (let i = 0; i < 64; i++) for (const op of [READ, WRITE]) feed(op)
    const runs: [string, number][] = []
    for (let i = 0; i < 160; i++) {
      const op = rig.sector(rig.dispatch()) < 1_000_000 ? READ : WRITE
      const name = op === READ ? 'read' : 'write'
      if (runs.at(-1)?.[0] === name) runs.at(-1)![1]++
      else runs.push([name, 1])
      feed(op)
    }
    expect(runs).toEqual([
      ['read', 32],
      ['write', 16],
      ['read', 32],
      ['write', 16],
      ['read', 32],
      ['write', 16],
      ['read', 16],
    ])
  })

  it('counts starvation only while a write waits', () => {
    const rig = new SchedRig(mq_deadline)
    for (let i = 0; i < 64; i++) rig.add(READ, i * 100)
    for (let i = 0; i < 48; i++) rig.dispatch()
    rig.add(WRITE, 1_000_000)
    expect(rig.drain().indexOf(1_000_000)).toBe(16)
  })

  it('begins a batch with what has expired', () => {
    const rig = new SchedRig(mq_deadline)
    rig.add(READ, 900)
    expect(rig.drain()).toEqual([900])
    for (let i = 0; i < 20; i++) rig.add(READ, 1000 + i * 100)
    for (let i = 0; i < 15; i++) rig.dispatch()
    rig.add(READ, 0)
    expect(rig.show('read_expire')).toBe('500\n')
    rig.vk.ticks(125)
    // the batch of 16 ends first; then the oldest, which is the next one as well
    expect(rig.drain()).toEqual([2500, 2600, 2700, 2800, 2900, 0])
    rig.add(READ, 5000)
    rig.add(READ, 4000)
    rig.add(READ, 6000)
    expect(rig.drain()).toEqual([5000, 6000, 4000])
  })

  it('goes on in order of sectors after a batch, unless the oldest has expired', () => {
    const batchAfter = (ticks: number): number[] => {
      const rig = new SchedRig(mq_deadline)
      rig.add(READ, 100)
      rig.add(READ, 5000)
      for (let sector = 200; sector <= 2000; sector += 100) rig.add(READ, sector)
      for (let i = 0; i < 16; i++) rig.dispatch()
      rig.vk.ticks(ticks)
      return rig.drain().slice(0, 2)
    }
    expect(batchAfter(124)).toEqual([1700, 1800])
    expect(batchAfter(125)).toEqual([5000, 1700])
  })

  it('forgets where one direction went on when a batch of the other begins', () => {
    const rig = new SchedRig(mq_deadline)
    for (const sector of [100, 5000]) rig.add(READ, sector)
    for (let sector = 200; sector <= 4000; sector += 100) rig.add(READ, sector)
    for (let i = 0; i < 3; i++) rig.add(WRITE, 10_000 + i * 100)
    const order = rig.drain()
    // two batches of reads while writes wait, all the writes, then the oldest read
    expect(order.slice(32, 36)).toEqual([10_000, 10_100, 10_200, 5000])
  })

  it('puts the head and passthrough before everything', () => {
    const rig = new SchedRig(mq_deadline)
    rig.add(READ, 100)
    rig.add(REQ_OP_DRV_IN, 7)
    rig.insert([rig.request(READ, 500), rig.request(READ, 600)], true)
    expect(rig.drain()).toEqual([600, 500, 7, 100])
  })
})

describe('mq-deadline, merging', () => {
  it('joins a bio behind and in front', () => {
    const rig = new SchedRig(mq_deadline)
    const rq = rig.add(READ, 100)
    expect(rig.merge(rig.bio(READ, 108))).toBe(true)
    expect(rig.merge(rig.bio(READ, 92))).toBe(true)
    expect(rig.merge(rig.bio(WRITE, 116))).toBe(false)
    expect(rig.merge(rig.bio(READ, 200))).toBe(false)
    expect(rig.merge(rig.bio(READ | REQ_PREFLUSH, 116))).toBe(false)
    expect([rig.sector(rq), rig.sectors(rq), rig.bios(rq)]).toEqual([92, 24, [92, 100, 108]])
    expect(rig.drain()).toEqual([92])
  })

  it('joins in front only when told to, except to the request that grew last', () => {
    const rig = new SchedRig(mq_deadline)
    expect(rig.set('front_merges', '0')).toBe(0)
    rig.add(READ, 1000)
    rig.add(READ, 100)
    expect(rig.merge(rig.bio(READ, 92))).toBe(false)
    expect(rig.merge(rig.bio(READ, 992))).toBe(true)
  })

  it('joins two requests when a bio closes the gap between them', () => {
    const rig = new SchedRig(mq_deadline)
    const low = rig.add(READ, 100)
    const high = rig.add(READ, 116)
    rig.add(READ, 900)
    expect(rig.merge(rig.bio(READ, 108))).toBe(true)
    expect(rig.freed).toEqual([high])
    expect([rig.sectors(low), rig.bios(low)]).toEqual([24, [100, 108, 116]])
    expect(rig.drain()).toEqual([100, 900])
  })

  it('inherits the earlier deadline and its place', () => {
    const rig = new SchedRig(mq_deadline)
    const high = rig.add(WRITE, 108)
    rig.vk.ticks(10)
    rig.add(WRITE, 500)
    rig.vk.ticks(10)
    rig.add(WRITE, 92)
    expect(rig.merge(rig.bio(WRITE, 100))).toBe(true)
    expect(rig.freed).toEqual([high])
    expect(rig.drain()).toEqual([92, 500])
  })

  it('joins requests at insertion, and gives their slots back', () => {
    const rig = new SchedRig(mq_deadline)
    const first = rig.add(READ, 100)
    const second = rig.add(READ, 108)
    const third = rig.add(READ, 116)
    expect(rig.freed).toEqual([second, third])
    expect([rig.sectors(first), rig.bios(first)]).toEqual([24, [100, 108, 116]])
    expect(rig.drain()).toEqual([100])
    expect(rig.has_work()).toBe(false)
  })

  it('keeps to the limits of the queue', () => {
    const rig = new SchedRig(mq_deadline)
    rig.add(READ, 0, 250)
    rig.add(READ, 250, 8)
    expect(rig.freed).toEqual([])
    expect(rig.drain()).toEqual([0, 250])
  })

  it('lets nothing join what has been dispatched', () => {
    const rig = new SchedRig(mq_deadline)
    rig.add(READ, 100)
    rig.dispatch()
    expect(rig.merge(rig.bio(READ, 108))).toBe(false)
  })
})

describe('mq-deadline, tunables', () => {
  it('has Linux’s defaults', () => {
    for (const hz of [100, 250, 1000]) {
      const rig = new SchedRig(mq_deadline, hz)
      const names = ['read_expire', 'write_expire', 'writes_starved', 'front_merges', 'fifo_batch']
      expect(names.map(name => rig.show(name))).toEqual(['500\n', '5000\n', '2\n', '1\n', '16\n'])
    }
  })

  it('changes what happens next', () => {
    const rig = new SchedRig(mq_deadline)
    expect(rig.set('fifo_batch', '1')).toBe(0)
    expect(rig.set('writes_starved', '0')).toBe(0)
    rig.add(WRITE, 10_000)
    for (const sector of [300, 200, 100]) rig.add(READ, sector)
    expect(rig.drain()[0]).toBe(10_000)
  })

  it('puts values on the bounds, and refuses what is no number', () => {
    const rig = new SchedRig(mq_deadline)
    expect(rig.set('front_merges', '7')).toBe(0)
    expect(rig.show('front_merges')).toBe('1\n')
    expect(rig.set('read_expire', '-5')).toBe(0)
    expect(rig.show('read_expire')).toBe('0\n')
    expect(rig.set('fifo_batch', 'many')).toBe(-EINVAL)
  })
})
