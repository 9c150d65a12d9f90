// Resets, timeouts and the end of a controller: nvme-pci, sections 5, 11, 14, 15 and 17.

import { describe, expect, test } from 'vitest'
import { BLK_STS_IOERR } from '../../../assembly/nvme.js'
import { blk_mq_quiesce_queue_nowait } from '../../../src/block/blk-mq.js'
import { nvme_kill_queues } from '../../../src/drivers/nvme/host/core-ctrl.js'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { nvme_sysfs_reset } from '../../../src/drivers/nvme/host/core-ioctl.js'
import { nvme_queue_scan } from '../../../src/drivers/nvme/host/core-scan.js'
import { nvme_reset } from '../../../src/drivers/nvme/host/pci.js'
import { blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { EBUSY, ENODEV } from '../../../src/kernel/errno.js'
import { pci_stop_and_remove_bus_device } from '../../../src/kernel/pci.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import { Probed } from './probed.js'
import { Wire } from './wire.js'

async function booted(options: ConstructorParameters<typeof Probed>[0] = {}): Promise<Probed> {
  const p = new Probed(options)
  await p.settle()
  return p
}

describe('reset', () => {
  test('data is there afterwards, and I/O goes on', async () => {
    const p = await booted()
    p.machine.view.bytes.fill(7, p.data, p.data + 4096)
    await p.task(() => blkdev_write_iter(p.io(5, true)))
    expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
    await p.settle()
    p.machine.view.bytes.fill(0, p.data, p.data + 4096)
    expect(await p.task(() => blkdev_read_iter(p.io(5)))).toBe(0)
    expect(p.machine.view.bytes[p.data + 4095]).toBe(7)
    expect(p.ctrl.namespaces).toHaveLength(1)
    expect(p.machine.books().problems).toEqual([])
  })

  test('with shadow doorbells: they are configured anew, and nothing is withheld', async () => {
    const p = await booted({ shadow: true })
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 5; n++) await p.task(() => blkdev_read_iter(p.io(n)))
      expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
      await p.settle()
    }
    for (let n = 0; n < 5; n++) expect(await p.task(() => blkdev_read_iter(p.io(n)))).toBe(0)
  })

  test('nvme-pci 17.16: a reset while RESETTING is refused with -EBUSY', async () => {
    const p = await booted()
    expect(nvme_reset_ctrl(p.ctrl)).toBe(0)
    expect(p.ctrl.state).toBe('RESETTING')
    expect(nvme_reset_ctrl(p.ctrl)).toBe(-EBUSY)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
  })

  test('nvme-pci 17.16: in the age of 4.9 the work is asked, not the state', async () => {
    const p = await booted({ era: '4.9' })
    expect(nvme_reset(p.dev)).toBe(0)
    expect(p.ctrl.state).toBe('LIVE')
    expect(nvme_reset(p.dev)).toBe(-ENODEV)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
    expect(await p.task(() => blkdev_read_iter(p.io(1)))).toBe(0)
  })

  test('a namespace is dropped if a reset cuts off the Identify of a scan, as 4.19 does; the next scan makes it anew', async () => {
    const p = await booted()
    const before = p.q()
    // A scan identifies the controller, lists the namespaces, then looks at each.
    const late = { opcode: 0x06, admin: true, nth: 3, count: 1 }
    p.controller.inject({ match: late, action: { kind: 'delay', ns: 50e6 } })
    nvme_queue_scan(p.ctrl)
    await p.run(5)
    expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
    await p.settle()
    expect(p.log).toContainEqual(expect.stringMatching(/Identify namespace failed \(-4\)/))
    expect(p.ctrl.state).toBe('LIVE')
    expect(p.ctrl.namespaces).toHaveLength(1)
    expect(p.q()).not.toBe(before)
    expect(await p.task(() => blkdev_read_iter(p.io(1)))).toBe(0)
    expect(p.machine.books().problems).toEqual([])
  })

  test('reads in flight are retried on the new queues', async () => {
    const p = await booted({ controller: { config: { readyNs: 5e6 } } })
    const done: number[] = []
    for (let n = 0; n < 8; n++)
      p.k.spawn(`r${n}`, function* () {
        for (let i = 0; i < 20; i++) if ((yield* blkdev_read_iter(p.io(n))) === 0) done.push(n)
      })
    expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
    await p.run(5000, () => done.length === 160)
    expect(done).toHaveLength(160)
    expect(p.machine.books().problems).toEqual([])
  })
})

describe('timeouts', () => {
  test('nvme-pci 17.9: a lost read is aborted after 30 s and ends with its second try', async () => {
    const p = await booted({
      controller: {
        config: {
          faults: [{ match: { opcode: 2, nth: 1 }, action: { kind: 'drop' } }],
        },
      },
    })
    const from = p.machine.now()
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(0)
    const seconds = (p.machine.now() - from) / 1e9
    expect(seconds).toBeGreaterThanOrEqual(30)
    expect(seconds).toBeLessThan(70)
    expect(p.log.some(line => line.includes('timeout, aborting'))).toBe(true)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
    expect(p.ctrl.abort_limit).toBe(p.controller.config.abortLimit)
    expect(p.machine.books().problems).toEqual([])
  })

  test('a read whose abort is lost as well: reset at 60 s, then it succeeds', async () => {
    const p = await booted({
      controller: {
        config: {
          faults: [
            { match: { opcode: 2, nth: 1 }, action: { kind: 'drop' } },
            { match: { opcode: 8, admin: true }, action: { kind: 'drop' } },
          ],
        },
      },
    })
    const from = p.machine.now()
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(0)
    const seconds = (p.machine.now() - from) / 1e9
    expect(seconds).toBeGreaterThanOrEqual(60)
    expect(seconds).toBeLessThan(75)
    expect(p.log.some(line => line.includes('reset controller'))).toBe(true)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
  })

  test('a controller that is dead and says so is reset at the first timeout, and given up', async () => {
    const p = await booted({
      controller: {
        config: {
          faults: [{ match: { opcode: 2, nth: 1 }, action: { kind: 'stuck', fatal: true } }],
        },
      },
    })
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(BLK_STS_IOERR)
    expect(p.log.some(line => line.includes('controller is down; will reset'))).toBe(true)
    await p.run(60_000, () => p.nvme.ctrl(0) === null)
    expect(p.nvme.ctrl(0)).toBeNull()
  })

  test('4.9: the watchdog finds a dead controller within seconds', async () => {
    const p = await booted({
      era: '4.9',
      controller: {
        config: {
          faults: [{ match: { opcode: 2, nth: 1 }, action: { kind: 'stuck', fatal: true } }],
        },
      },
    })
    const from = p.machine.now()
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(BLK_STS_IOERR)
    // The controller has CAP.TO of 15, and answers in none of 8 seconds.
    expect((p.machine.now() - from) / 1e9).toBeLessThan(20)
    expect(p.log.some(line => line.includes('Failed status'))).toBe(true)
  })

  test('a controller that hangs for good is removed, and its I/O fails', async () => {
    const p = await booted({
      controller: {
        config: { faults: [{ match: { opcode: 2, nth: 1 }, action: { kind: 'stuck' } }] },
      },
    })
    const { ctrl } = p
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(BLK_STS_IOERR)
    await p.run(300_000, () => p.nvme.ctrl(0) === null)
    expect(p.nvme.ctrl(0)).toBeNull()
    expect(ctrl.namespaces).toHaveLength(0)
  })
})

describe('an answer that comes while its timeout is stopping the controller', () => {
  /** Of an admin command: deletions of queues take this long. */
  const adminNs = 20e6

  /** The controller answers the creation of the second queue so late. */
  async function slow(era: KernelEra, opcode: number, ns: number): Promise<Wire> {
    const match = { opcode, admin: true, nth: 2 }
    const config = { faults: [{ match, action: { kind: 'delay', ns } }], adminNs } as const
    const wire = new Wire({ era, controller: { admin_timeout: 5, config } })
    await wire.p.run(100_000, () => wire.p.nvme.settled && wire.p.machine.now() > 20e9)
    expect(wire.p.nvme.settled).toBe(true)
    return wire
  }

  test.each([
    ['4.19', 0x05],
    ['4.19', 0x01],
    ['4.9', 0x05],
    ['4.9', 0x01],
  ] as const)(
    '%s, opcode %i: nobody goes on with a controller that is off',
    async (era, opcode) => {
      const lost = await slow(era, opcode, 60e9)
      const stopping = lost.p.k.dmesg.find(({ text }) => text.includes('timeout'))!.time
      const sent = lost.of(opcode, true)[1]!.at
      for (const late of [0.5, 1.5]) {
        const { p } = await slow(era, opcode, stopping - sent + (late - 1) * adminNs)
        const what = `${late}: ${p.log.join(' | ')}`
        expect(p.nvme.ctrl(0) === null, what).toBe(true)
        expect(p.log.at(-1), what).toContain('Removing after probe failure')
        expect(p.machine.books().problems, what).toEqual([])
      }
    },
  )
})

describe('the end', () => {
  test('unbind: queues, tags and memory are given back', async () => {
    const p = await booted()
    const { blk } = p.machine.host!
    await p.task(() => blkdev_read_iter(p.io(2)))
    const dev = p.nvme.bus.devices[0]!
    await p.task(() => pci_stop_and_remove_bus_device(p.nvme.bus, dev))
    await p.run(1000)
    expect(blk.queues.size).toBe(0)
    expect(blk.hctxs.size).toBe(0)
    expect(blk.mem.used).toBe(0)
    expect(p.machine.books().problems).toEqual([])
  })

  test('surprise removal under load: every read ends, with an error', async () => {
    const p = await booted()
    const ends: number[] = []
    const io = p.io(0)
    for (let n = 0; n < 6; n++)
      p.k.spawn(`r${n}`, function* () {
        for (let i = 0; i < 50; i++) {
          const r = yield* blkdev_read_iter({ ...io, pos: n * 4096 })
          ends.push(r)
          if (r !== 0) break
        }
      })
    await p.run(0.1)
    p.controller.surpriseRemove()
    const dev = p.nvme.bus.devices[0]!
    await p.task(() => pci_stop_and_remove_bus_device(p.nvme.bus, dev))
    await p.run(2000)
    expect(ends.filter(r => r === BLK_STS_IOERR)).toHaveLength(6)
    expect(p.machine.host!.blk.mem.used).toBe(0)
    expect(p.machine.books().problems).toEqual([])
  })

  test('what came in between a removal and a reset that gave up ends too (seeds 18383, 20769)', async () => {
    const p = await booted()
    const ends: number[] = []
    const io = p.io(0)
    const stop = (): void => {
      for (const { queue } of p.ctrl.namespaces) blk_mq_quiesce_queue_nowait(queue)
    }
    stop()
    p.k.spawn('reader', function* () {
      ends.push(yield* blkdev_read_iter(io))
    })
    await p.run(1)
    nvme_kill_queues(p.ctrl)
    stop() // before the queue was run
    await p.run(1000)
    expect(ends).toEqual([])
    nvme_kill_queues(p.ctrl)
    await p.run(1000)
    expect(ends).toEqual([0]) // the drive was not really gone
  })
})
