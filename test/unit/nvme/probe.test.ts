// From probe to the first I/O.

import { describe, expect, test } from 'vitest'
import { blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
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
    const faults = [{ match: { opcode: 9, admin: true, nth: 1 }, action: { kind: 'drop' } }] as const
    const p = new Probed({ controller: { config: { faults } } })
    await p.settle(200_000)
    expect(p.nvme.ctrl(0)).toBeNull()
    expect(p.log).toContain('nvme nvme0: could not set timestamp (-4)')
    expect(p.log).toContain('nvme nvme0: Removing after probe failure status: -4')
    expect(p.machine.books().problems).toEqual([])
    expect(p.machine.host!.blk.mem.used).toBe(0)
  })
})
