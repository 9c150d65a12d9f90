// nvme-pci, sections 6, 13 and 15: a controller that sleeps, gets other firmware or other queues.

import { describe, expect, test } from 'vitest'
import { nvme_submit_sync_cmd } from '../../../src/drivers/nvme/host/core-cmd.js'
import { nvme_sysfs_reset } from '../../../src/drivers/nvme/host/core-ioctl.js'
import { blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { pci_pm_resume, pci_pm_suspend } from '../../../src/kernel/pci.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import { type Wire, wired } from './wire.js'

async function goodRead({ p }: Wire, cpu = 0): Promise<void> {
  expect(await p.task(() => blkdev_read_iter(p.io(3)), 60_000, cpu)).toBe(0)
  expect(p.machine.books().problems).toEqual([])
}

describe('nvme-pci 15', () => {
  test('suspend stops the controller orderly, resume resets it; I/O in between waits', async () => {
    const wire = await wired()
    const { p } = wire
    const pdev = p.nvme.bus.devices[0]!
    p.machine.view.bytes.fill(9, p.data, p.data + 4096)
    await p.task(() => blkdev_write_iter(p.io(3, true)))
    let [asleep, awake] = [-1, -1]
    p.k.spawn('sleep', function* () {
      asleep = yield* pci_pm_suspend(pdev)
      yield* msleep(p.k, 10_000)
      awake = yield* pci_pm_resume(pdev)
    })
    await p.run(1000)
    expect(asleep).toBe(0)
    // CC.SHN: the controller was told to write its caches back.
    expect(wire.writes.some(w => w.offset === 0x14 && (w.value & 0xc000) === 0x4000)).toBe(true)
    expect(p.dev.online_queues).toBe(0)
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter({ ...p.io(3), data: p.data + 4096 })
    })
    await p.run(5000)
    expect(status).toBe(-1)
    await p.run(10_000)
    expect(awake).toBe(0)
    await p.settle()
    await p.run(5000, () => status !== -1)
    expect(status).toBe(0)
    expect(p.machine.view.bytes[p.data + 4096]).toBe(9)
    expect(p.ctrl.state).toBe('LIVE')
    await goodRead(wire)
  })

  test('shutdown leaves a stopped controller', async () => {
    const wire = await wired()
    const { p } = wire
    const pdev = p.nvme.bus.devices[0]!
    await p.task(() => p.nvme.module!.driver.shutdown!(pdev))
    expect(p.controller.read32(0x1c) & 0xc).toBe(8)
    expect(p.dev.online_queues).toBe(0)
    expect(p.machine.books().problems).toEqual([])
  })
})

describe('nvme-pci 13: firmware is activated', () => {
  const commit = (action: number) => ({ opcode: 0x10, cdw10: 1 | (action << 3) })

  test('queues stand still until it runs, then everything goes on', async () => {
    const wire = await wired({ controller: { config: { activateNs: 350e6 } } })
    const { p } = wire
    let reads = 0
    let bad = 0
    let go = true
    const at: number[] = []
    p.k.spawn('reader', function* () {
      while (go) {
        if ((yield* blkdev_read_iter(p.io(reads % 16))) !== 0) bad++
        reads++
        at.push(p.machine.now())
        yield* msleep(p.k, 10)
      }
    })
    await p.run(100)
    const status = await p.task(() => nvme_submit_sync_cmd(p.ctrl.admin_q!, commit(3)))
    expect(status).toBe(0)
    await p.run(2000)
    go = false
    await p.run(100)
    expect(bad).toBe(0)
    expect(reads).toBeGreaterThan(50)
    const gaps = at.slice(1).map((t, i) => t - at[i]!)
    expect(Math.max(...gaps)).toBeGreaterThanOrEqual(350e6)
    expect(gaps.filter(gap => gap > 50e6)).toHaveLength(1)
    expect(p.ctrl.state).toBe('LIVE')
    await goodRead(wire)
  })
})

describe('nvme-pci 6.7: queues over a reset', () => {
  test('fewer, then more again', async () => {
    const wire = await wired({ cpus: 4 })
    const { p } = wire
    const config = p.controller.config as { ioQueues: number }
    for (const [ioQueues, want] of [
      [2, 2],
      [1, 1],
      [3, 3],
      [8, 4],
    ] as const) {
      config.ioQueues = ioQueues
      expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
      await p.settle()
      expect(p.dev.online_queues - 1).toBe(want)
      expect(p.dev.tagset!.nr_hw_queues).toBe(want)
      for (let cpu = 0; cpu < 4; cpu++) await goodRead(wire, cpu)
    }
  })

  test('none: the disk goes; it is there again after the next reset', async () => {
    const wire = await wired()
    const { p } = wire
    const rule = {
      match: { opcode: 9, admin: true },
      action: { kind: 'status', status: 6 },
    } as const
    const takeBack = p.controller.inject(rule)
    await p.task(() => nvme_sysfs_reset(p.ctrl))
    await p.settle()
    expect(p.ctrl.state).toBe('ADMIN_ONLY')
    expect(p.ctrl.namespaces).toEqual([])
    takeBack()
    expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
    expect(p.ctrl.namespaces).toHaveLength(1)
    await goodRead(wire)
  })
})
