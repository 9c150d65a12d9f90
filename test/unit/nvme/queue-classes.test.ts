// nvme-pci, section 16: queues for writes alone and queues that are polled, the option beyond 4.19.

import { describe, expect, test } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { REQ_HIPRI, REQ_OP_READ, REQ_OP_WRITE } from '../../../assembly/nvme.js'
import { nvme_calc_irq_sets } from '../../../src/drivers/nvme/host/pci-queue.js'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { type Wire, wired } from './wire.js'

const CREATE_CQ = 5
const IEN = 2

/** Four CPUs and a controller of so many queue pairs. */
function classes(queues: number, write_queues: number, poll_queues: number): Promise<Wire> {
  const polled = Math.min(poll_queues, queues - 1)
  const device = `nvme,size=64M,depth=64,model=fixed,queues=${queues},poll-queues=${polled}`
  return wired({ cpus: 4, device, controller: { write_queues, poll_queues } })
}

/** For each CPU the numbers of its hardware queues: writes and the rest, reads, polled I/O. */
function maps({ p }: Wire): number[][] {
  const { view } = p.machine
  const { core } = p.machine.host!.blk
  const q = p.q()
  return p.k.cpus.map((_, cpu) => {
    const ctx = view.u32(q.at + L.Q_CTXS) + cpu * L.CTX_SIZE
    return [REQ_OP_WRITE, REQ_OP_READ, REQ_OP_WRITE | REQ_HIPRI, REQ_OP_READ | REQ_HIPRI].map(opf =>
      view.u32((core.blk_mq_map_queue(ctx, opf) >>> 0) + L.HC_INDEX),
    )
  })
}

describe('nvme-pci 16: classes of queues', () => {
  test.each([
    [0, 4, [4, 0]],
    [1, 4, [1, 3]],
    [3, 4, [3, 1]],
    [4, 4, [3, 1]],
    [9, 4, [3, 1]],
    [1, 1, [1, 0]],
  ])('%i queues for writes of %i vectors', (write, vectors, sets) => {
    expect(nvme_calc_irq_sets(write, vectors)).toEqual(sets)
  })

  test('CPUs and both classes are asked for together; polled queues come last, without interrupts', async () => {
    const wire = await classes(7, 1, 2)
    const { dev } = wire.p
    const asked = wire.of(9, true).filter(c => (c.cdw[0]! & 0xff) === 7)
    expect(asked.map(c => c.cdw[1])).toEqual([0x00060006])
    expect(dev.io_queues).toEqual({ default: 1, read: 4, poll: 2 })
    expect(dev.num_vecs).toBe(6)
    const created = wire.of(CREATE_CQ, true).map(c => (c.cdw[1]! & IEN) !== 0)
    expect(created).toEqual([true, true, true, true, true, false, false])
    expect(maps(wire)).toEqual([
      [0, 1, 5, 5],
      [0, 2, 6, 6],
      [0, 3, 5, 5],
      [0, 4, 6, 6],
    ])
  })

  test.each([
    [3, 0, 2, { default: 1, read: 0, poll: 2 }],
    [3, 2, 2, { default: 1, read: 0, poll: 2 }],
    [2, 4, 4, { default: 1, read: 0, poll: 1 }],
    [1, 0, 0, { default: 1, read: 0, poll: 0 }],
    [4, 2, 1, { default: 2, read: 1, poll: 1 }],
  ])('%i queues for %i and %i: %j', async (queues, write, poll, io_queues) => {
    const { p } = await classes(queues, write, poll)
    expect(p.dev.io_queues).toEqual(io_queues)
    for (const cpu of [0, 1, 2, 3]) {
      expect(await p.task(() => blkdev_write_iter(p.io(cpu, true)), 1000, cpu)).toBe(0)
      expect(await p.task(() => blkdev_read_iter(p.io(cpu)), 1000, cpu)).toBe(0)
    }
  })

  test('reads and writes take the queues of their class, before a reset and after it', async () => {
    const { p } = await classes(6, 2, 1)
    const queued = (): number[] =>
      p.q().queue_hw_ctx.map(({ at }) => p.machine.view.u64(at + L.HC_QUEUED))
    for (const round of [0, 1]) {
      const before = queued()
      for (let i = 0; i < 3; i++) await p.task(() => blkdev_write_iter(p.io(i, true)), 1000, 3)
      for (let i = 0; i < 5; i++) await p.task(() => blkdev_read_iter(p.io(i)), 1000, 0)
      const after = queued().map((n, i) => n - before[i]!)
      // writes: queues 0 and 1, CPU 3 has the second; reads: 2 to 4, CPU 0 has the first; 5 is polled
      expect(after, `round ${round}`).toEqual([0, 3, 5, 0, 0, 0])
      expect(nvme_reset_ctrl(p.ctrl)).toBe(0)
      await p.settle()
    }
    expect(p.dev.queues.slice(1).map(one => one.polled)).toEqual([
      false,
      false,
      false,
      false,
      false,
      true,
    ])
  })
})
