// Page cache, flusher, laptop mode, sync. Tests are named after the statements of the sheet on block timers.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EINVAL, EIO } from '../../../src/kernel/errno.js'
import { timer_pending } from '../../../src/kernel/timer.js'
import {
  filemap_write_and_wait_range,
  invalidate_inode_pages2_range,
} from '../../../src/mm/filemap.js'
import { PAGE_SIZE } from '../../../src/mm/mm.js'
import {
  dirty_writeback_centisecs_handler,
  global_dirty_limits,
  laptop_io_completion,
  set_laptop_mode,
} from '../../../src/mm/page-writeback.js'
import { CacheRig } from './rig.js'

const END = Number.MAX_SAFE_INTEGER

describe('page cache', () => {
  it('reads a page once, and writes it later', () => {
    const rig = new CacheRig()
    rig.disk.fill(5, 0, PAGE_SIZE)
    expect(rig.read(0)[100]).toBe(5)
    expect(rig.read(0, 10, 20)).toEqual(new Uint8Array(10).fill(5))
    expect(rig.took()).toEqual(['r0'])
    expect(rig.write(0, 6)).toBe(PAGE_SIZE)
    expect([rig.read(0)[0], rig.disk[0], rig.mm.nr_dirty]).toEqual([6, 5, 1])
    expect(rig.took()).toEqual([])
  })

  it('reads what a write does not cover, and nothing for a whole page', () => {
    const rig = new CacheRig()
    rig.disk.fill(5, 0, 2 * PAGE_SIZE)
    rig.write(0, 6, 10, 100)
    rig.write(1, 7)
    expect(rig.took()).toEqual(['r0'])
    expect([...rig.read(0, 3, 99)]).toEqual([5, 6, 6])
  })

  it('ends at the end of the device', () => {
    const rig = new CacheRig(64, 2)
    expect(rig.write(1, 3, 2 * PAGE_SIZE)).toBe(PAGE_SIZE)
    expect(rig.read(1, 2 * PAGE_SIZE).length).toBe(PAGE_SIZE)
    expect(rig.read(2).length).toBe(0)
  })

  it('gives up clean pages for new ones, oldest first', () => {
    const rig = new CacheRig(4)
    for (const page of [0, 1, 2, 3, 0, 4]) rig.read(page)
    rig.took()
    for (const page of [0, 2, 3, 4]) rig.read(page)
    expect(rig.took()).toEqual([])
    rig.read(1)
    expect(rig.took()).toEqual(['r1'])
  })

  it('writes dirty pages when it needs their frames', () => {
    const rig = new CacheRig(4)
    rig.mm.vm_dirty_ratio = 100
    rig.mm.dirty_background_ratio = 99
    for (let page = 0; page < 12; page++) rig.write(page, page + 1)
    expect(rig.took().filter(what => what.startsWith('w')).length).toBeGreaterThanOrEqual(8)
    for (let page = 0; page < 12; page++) expect(rig.read(page)[7]).toBe(page + 1)
  })

  it('fsync: writes a range, waits, and tells an error once', () => {
    const rig = new CacheRig()
    for (const page of [3, 1, 2]) rig.write(page, 9)
    const fsync = (first: number, last: number): number =>
      rig.vk.run(() =>
        filemap_write_and_wait_range(rig.bdev.i_mapping, first * PAGE_SIZE, last * PAGE_SIZE),
      )
    expect(fsync(1, 2)).toBe(0)
    expect([rig.took(), rig.mm.nr_dirty, rig.mm.nr_writeback]).toEqual([['w1', 'w2'], 1, 0])
    expect(rig.disk[2 * PAGE_SIZE]).toBe(9)
    rig.bad.add(3)
    expect(fsync(0, 10)).toBe(-EIO)
    expect(fsync(0, 10)).toBe(0)
    expect(rig.plugs).toBe(0)
  })

  it('forgets clean pages that direct I/O has written', () => {
    const rig = new CacheRig()
    rig.read(0)
    rig.write(1, 1)
    rig.disk.fill(8, 0, PAGE_SIZE)
    invalidate_inode_pages2_range(rig.bdev.i_mapping, 0, 2 * PAGE_SIZE)
    expect([rig.read(0)[0], rig.read(1)[0]]).toEqual([8, 1])
  })

  it('agrees with an array, whatever it holds and whenever it is written', () => {
    const step = fc.record({
      what: fc.constantFrom('read', 'write', 'write', 'sync', 'wait'),
      at: fc.nat(40_000),
      bytes: fc.integer({ min: 1, max: 9000 }),
      value: fc.integer({ min: 1, max: 255 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), steps => {
        const rig = new CacheRig(5, 12)
        const model = new Uint8Array(rig.disk.length)
        for (const { what, at, bytes, value } of steps) {
          const end = Math.min(at + bytes, model.length)
          if (what === 'sync') rig.sync()
          else if (what === 'wait') rig.vk.ticks(bytes)
          else if (what === 'read') {
            const data = Buffer.from(rig.read(0, bytes, at))
            expect(data.equals(model.subarray(at, end))).toBe(true)
          } else {
            rig.write(0, value, bytes, at)
            model.fill(value, at, end)
          }
        }
        rig.sync()
        expect(Buffer.from(rig.disk).equals(model)).toBe(true)
        expect([rig.mm.nr_dirty, rig.mm.nr_writeback]).toEqual([0, 0])
      }),
      { numRuns: 40 },
    )
  })
})

describe('the flusher', () => {
  it('blk-timers 4: writes what is older than 30 s, looking every 5 s', () => {
    const rig = new CacheRig()
    rig.write(0, 1)
    rig.vk.runUntil(rig.vk.ns + 4e9)
    rig.write(1, 1)
    rig.vk.runUntil(rig.vk.ns + 20e9)
    expect(rig.took()).toEqual([])
    rig.vk.runUntil(rig.vk.ns + 20e9)
    // an inode is dirty since its first page was: both go
    expect(rig.took()).toEqual(['w0', 'w1'])
    expect(rig.bdi.wb.has_dirty_io).toBe(false)
  })

  it('blk-timers 4: an interval of 0 stops that, another one wakes the flusher', () => {
    const rig = new CacheRig()
    expect(dirty_writeback_centisecs_handler(rig.mm, 0)).toBe(0)
    rig.write(0, 1)
    rig.vk.runUntil(rig.vk.ns + 100e9)
    expect(rig.took()).toEqual([])
    expect(dirty_writeback_centisecs_handler(rig.mm, 100)).toBe(0)
    rig.vk.runUntil(rig.vk.ns + 1e8)
    expect(rig.took()).toEqual(['w0'])
    expect(dirty_writeback_centisecs_handler(rig.mm, -1)).toBe(-EINVAL)
  })

  it('begins above the background limit, and lets writers wait above the other', () => {
    const rig = new CacheRig(50)
    expect(global_dirty_limits(rig.mm)).toEqual({ background: 5, dirty: 10 })
    for (let page = 0; page < 5; page++) rig.write(page, 1)
    rig.vk.ticks(5)
    expect(rig.took()).toEqual([])
    rig.ticks = 50
    for (let page = 5; page < 20; page++) rig.write(page, 1)
    expect(rig.mm.nr_dirty + rig.mm.nr_writeback).toBeLessThanOrEqual(11)
    rig.vk.ticks(200)
    expect(rig.disk[0]).toBe(1)
  })

  it('blk-timers 4.3: one request for everything is enough until it is done', () => {
    const rig = new CacheRig()
    for (let page = 0; page < 3; page++) rig.write(page, 1)
    rig.mm.ops.wakeup_flusher_threads_bdi(rig.bdi, 4)
    rig.mm.ops.wakeup_flusher_threads_bdi(rig.bdi, 0)
    expect([rig.bdi.wb.start_all, rig.bdi.wb.start_all_reason]).toEqual([true, 4])
    rig.vk.ticks(5)
    expect([rig.took(), rig.bdi.wb.start_all]).toEqual([['w0', 'w1', 'w2'], false])
  })

  it('goes by the names that Linux has', () => {
    const rig = new CacheRig()
    rig.ticks = 0
    rig.write(0, 1)
    rig.vk.k.trace.on = true
    rig.mm.ops.wakeup_flusher_threads_bdi(rig.bdi, 4)
    rig.vk.ticks(1)
    rig.vk.k.trace.on = false
    const names = rig.vk.calls.filter(name => /^(wb|wake|write|blkdev|do_w|__wr|__wa)/.test(name))
    expect(names.filter(name => !/^wake_up/.test(name))).toEqual([
      'wakeup_flusher_threads_bdi',
      '__wakeup_flusher_threads_bdi',
      'wb_start_writeback',
      'wb_wakeup',
      'wb_workfn',
      'wb_do_writeback',
      'wb_writeback',
      '__writeback_single_inode',
      'do_writepages',
      'blkdev_writepages',
      'blkdev_writepage',
      'wb_io_lists_depopulated',
      'wb_update_bandwidth',
      'wb_update_bandwidth',
      'wb_over_bg_thresh',
      'wb_calc_thresh',
    ])
  })
})

describe('laptop mode', () => {
  const expires = (rig: CacheRig): number =>
    rig.bdi.laptop_mode_wb_timer.expires - rig.vk.k.initial_jiffies

  it('blk-timers 10.13: each completion pushes the timer, sync stops it', () => {
    const rig = new CacheRig()
    expect(set_laptop_mode(rig.mm, 5)).toBe(0)
    expect(rig.mm.laptop_mode).toBe(1250)
    rig.vk.untilJiffy(1000)
    laptop_io_completion(rig.bdi)
    rig.vk.untilJiffy(1100)
    laptop_io_completion(rig.bdi)
    expect(expires(rig)).toBe(2350)
    rig.vk.untilJiffy(2000)
    rig.sync()
    expect(timer_pending(rig.bdi.laptop_mode_wb_timer)).toBe(false)
  })

  it('blk-timers 10.13: without dirty pages its firing starts nothing', () => {
    const rig = new CacheRig()
    set_laptop_mode(rig.mm, 5)
    laptop_io_completion(rig.bdi)
    rig.vk.k.trace.on = true
    rig.vk.ticks(1300)
    expect(rig.vk.calls).toContain('laptop_mode_timer_fn')
    expect(rig.vk.calls).not.toContain('wb_workfn')
  })

  it('blk-timers 10.14: dirty pages are written when it fires, whatever their age, and the chain ends', () => {
    const rig = new CacheRig()
    set_laptop_mode(rig.mm, 5)
    expect(dirty_writeback_centisecs_handler(rig.mm, 60_000)).toBe(0)
    rig.write(0, 1)
    rig.read(9)
    const began = rig.vk.j
    rig.vk.ticks(1249)
    expect(rig.took()).toEqual(['r9'])
    rig.vk.ticks(2)
    expect(rig.took()).toEqual(['w0'])
    expect(rig.vk.j - began).toBe(1251)
    // its own completion pushed the timer again; that firing finds nothing
    expect(timer_pending(rig.bdi.laptop_mode_wb_timer)).toBe(true)
    rig.vk.ticks(3000)
    expect(rig.took()).toEqual([])
    expect(timer_pending(rig.bdi.laptop_mode_wb_timer)).toBe(false)
  })

  it('blk-timers 4.2: switching it off leaves a pending timer alone', () => {
    const rig = new CacheRig()
    set_laptop_mode(rig.mm, 5)
    laptop_io_completion(rig.bdi)
    set_laptop_mode(rig.mm, 0)
    expect(timer_pending(rig.bdi.laptop_mode_wb_timer)).toBe(true)
    rig.sync()
    expect(timer_pending(rig.bdi.laptop_mode_wb_timer)).toBe(true)
  })

  it('blk-timers 4.3: does not begin at the background limit', () => {
    const rig = new CacheRig(50)
    set_laptop_mode(rig.mm, 100)
    for (let page = 0; page < 9; page++) rig.write(page, 1)
    rig.vk.ticks(50)
    expect(rig.took()).toEqual([])
  })

  it('takes whole seconds', () => {
    const rig = new CacheRig()
    for (const seconds of [-1, 1.5, 2 ** 31]) expect(set_laptop_mode(rig.mm, seconds)).toBe(-EINVAL)
  })
})

describe('sync', () => {
  it('writes everything and waits for it', () => {
    const rig = new CacheRig()
    rig.ticks = 7
    for (let page = 0; page < 6; page++) rig.write(page, 1)
    rig.took()
    rig.sync()
    expect(rig.took()).toEqual(['w0', 'w1', 'w2', 'w3', 'w4', 'w5'])
    expect([rig.mm.nr_dirty, rig.mm.nr_writeback, rig.disk[5 * PAGE_SIZE]]).toEqual([0, 0, 1])
    rig.vk.run(() => filemap_write_and_wait_range(rig.bdev.i_mapping, 0, END))
    expect(rig.took()).toEqual([])
  })
})
