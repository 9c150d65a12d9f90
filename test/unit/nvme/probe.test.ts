// From probe to the first I/O.

import { describe, expect, test } from 'vitest'
import { blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { nvme_dev_ioctl } from '../../../src/drivers/nvme/host/core-ioctl.js'
import { Probed } from './probed.js'

describe('probe', () => {
  test('a controller comes up, and its namespace is a disk', async () => {
    const p = new Probed()
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
    expect(p.ctrl.namespaces.map(ns => ns.disk_name)).toEqual(['nvme0n1'])
    const { view } = p.machine
    view.bytes.fill(0xa5, p.data, p.data + 4096)
    await p.task(() => blkdev_write_iter(p.io(3, true)))
    view.bytes.fill(0, p.data, p.data + 4096)
    await p.task(() => blkdev_read_iter(p.io(3)))
    expect(view.bytes.subarray(p.data, p.data + 4096).every(b => b === 0xa5)).toBe(true)
    expect(p.machine.books().problems).toEqual([])
  })

  test('nvme-pci 6.5: the time of day is lost: the controller was stopped for it, and is given up', async () => {
    const faults = [
      { match: { opcode: 9, admin: true, nth: 1 }, action: { kind: 'drop' } },
    ] as const
    const p = new Probed({ controller: { config: { faults } } })
    await p.settle(200_000)
    expect(p.nvme.ctrl(0)).toBeNull()
    expect(p.log).toContain('nvme nvme0: could not set timestamp (-4)')
    expect(p.log).toContain('nvme nvme0: Removing after probe failure status: -4')
    expect(p.machine.books().problems).toEqual([])
    expect(p.machine.host!.blk.mem.used).toBe(0)
  })

  test('a buffer of a program that is not aligned is copied, both ways', async () => {
    const p = new Probed()
    await p.settle()
    const { view } = p.machine
    const ask = (opcode: number, cdw10: number, addr: number, data_len: number) =>
      p.task(() => {
        const passthru = { cmd: { opcode, cdw10 }, addr, data_len }
        return nvme_dev_ioctl(p.ctrl, { op: 'admin', passthru, result: { u32: 0, u64: 0n } })
      })
    expect(await ask(6, 1, p.data, 4096)).toBe(0)
    expect(await ask(6, 1, p.data + 8194, 4096)).toBe(0)
    const [plain, copied] = [p.data, p.data + 8194].map(at => view.bytes.slice(at, at + 4096))
    expect(copied).toEqual(plain)
    expect(copied!.some(byte => byte !== 0)).toBe(true)
    // Set and Get Features of the time of day
    view.bytes.set([1, 2, 3, 4, 5, 6, 0, 0], p.data + 1)
    expect(await ask(9, 14, p.data + 1, 8)).toBe(0)
    expect(await ask(10, 14, p.data + 99, 8)).toBe(0)
    expect([...view.bytes.slice(p.data + 100, p.data + 105)]).toEqual([2, 3, 4, 5, 6])
    expect(await ask(6, 1, p.data + 2, 2 ** 30)).toBe(-12)
    expect(p.machine.books().problems).toEqual([])
  })
})
