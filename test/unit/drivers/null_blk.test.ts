// null_blk without a machine around it: options, storage, bad blocks, zones, bandwidth, faults. Tests are named after the
// statements of the null_blk sheet that they hold.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLK_STS_IOERR, BLK_STS_OK } from '../../../assembly/nvme.js'
import {
  badblocks,
  badblocks_check,
  badblocks_clear,
  badblocks_set,
  badblocks_show,
} from '../../../src/block/badblocks.js'
import {
  fault_attr,
  setup_fault_attr,
  should_fail,
} from '../../../src/drivers/block/null_blk-fault.js'
import {
  module_defaults,
  null_init,
  null_validate_conf,
  nullb_device,
  nullb_device_show,
  nullb_device_store,
  type nullb_module,
  nullb_to_queue,
} from '../../../src/drivers/block/null_blk-options.js'
import {
  copy_from_nullb,
  copy_to_nullb,
  null_free_cache,
  null_handle_discard,
  null_handle_flush,
  nullb_store,
} from '../../../src/drivers/block/null_blk-store.js'
import {
  mb_per_tick,
  null_del_throttle,
  null_throttle,
  nullb_setup_bwtimer,
  nullb_throttle,
} from '../../../src/drivers/block/null_blk-throttle.js'
import {
  null_zone_init,
  null_zone_report,
  null_zone_reset,
  null_zone_write,
} from '../../../src/drivers/block/null_blk-zoned.js'
import { EBUSY, EINVAL, ENOMEM, ENOSPC, ERANGE } from '../../../src/kernel/errno.js'
import { VirtualKernel } from '../kernel/support.js'

const { k } = new VirtualKernel()
const host = { nr_cpu_ids: 8, nr_online_nodes: 2 }

function device(changes: Partial<nullb_module> = {}, add: () => number = () => 0): nullb_device {
  const module = { ...module_defaults(), ...changes }
  null_init(module, host)
  const dev = new nullb_device(k, module, host, {
    add: dev => {
      null_validate_conf(dev)
      return add()
    },
    del: () => {},
  })
  return dev
}

/** A description after its attributes were written and power was switched on. */
function powered(attributes: Record<string, string>): nullb_device {
  const dev = device()
  for (const [name, text] of Object.entries(attributes))
    expect(nullb_device_store(dev, name, text)).toBe(0)
  expect(nullb_device_store(dev, 'power', '1')).toBe(0)
  return dev
}

describe('options', () => {
  it('null-blk 11.1: defaults', () => {
    const dev = device()
    null_validate_conf(dev)
    expect(dev).toMatchObject({ queue_mode: 2, irqmode: 1, submit_queues: 1, hw_queue_depth: 64 })
    expect(dev).toMatchObject({ completion_nsec: 10_000, blocksize: 512, mbps: 0, cache_size: 0 })
    expect(dev.size * 2048).toBe(524_288_000)
  })

  it('null-blk 11.3: submit_queues between 1 and the number of CPUs', () => {
    expect(powered({ submit_queues: '16' }).submit_queues).toBe(8)
    expect(powered({ submit_queues: '0' }).submit_queues).toBe(1)
    expect(device({ submit_queues: -3 }).submit_queues).toBe(1)
    expect(powered({ use_per_node_hctx: '1', submit_queues: '7' }).submit_queues).toBe(2)
  })

  it('null-blk 11.4: block sizes', () => {
    const sizes = ['700', '1536', '5000', '100', '0x1000', '01000']
    expect(sizes.map(blocksize => powered({ blocksize }).blocksize)).toEqual([
      512, 1536, 4096, 512, 4096, 512,
    ])
  })

  it('null-blk 11.8: mbps has a limit, and none in bio mode', () => {
    expect(powered({ mbps: '50000' }).mbps).toBe(40960)
    expect(powered({ mbps: '100', queue_mode: '0' }).mbps).toBe(0)
  })

  it('a cache needs memory, memory may sleep, modes have a highest value', () => {
    expect(powered({ cache_size: '4' }).cache_size).toBe(0)
    expect(powered({ cache_size: '4', memory_backed: 'y' })).toMatchObject({
      cache_size: 4,
      blocking: true,
    })
    expect(powered({ queue_mode: '9', irqmode: '9' })).toMatchObject({ queue_mode: 2, irqmode: 2 })
  })

  it('null-blk 11.10: CPUs of modes 0 and 1 go to queues in blocks', () => {
    const map = Array.from({ length: 8 }, (_, cpu) => nullb_to_queue(cpu, 3, 8))
    expect(map).toEqual([0, 0, 0, 1, 1, 1, 2, 2])
    expect(nullb_to_queue(7, 1, 8)).toBe(0)
  })

  it('null-blk 11.19: attributes are fixed while the disk exists', () => {
    const dev = powered({})
    expect(nullb_device_store(dev, 'blocksize', '4096')).toBe(-EBUSY)
    expect(nullb_device_store(dev, 'memory_backed', '1')).toBe(-EBUSY)
    expect(nullb_device_store(dev, 'badblocks', '+1-2')).toBe(0)
    expect(nullb_device_store(dev, 'power', '0')).toBe(0)
    expect(nullb_device_store(dev, 'blocksize', '4096')).toBe(0)
    expect(nullb_device_show(dev, 'blocksize')).toBe('4096\n')
  })

  it('power: on twice is once; a disk that cannot be made is ENOMEM and not up', () => {
    let made = 0
    const dev = device({}, () => ++made && 0)
    for (const text of ['1', 'y', 'on']) expect(nullb_device_store(dev, 'power', text)).toBe(0)
    expect([made, nullb_device_show(dev, 'power')]).toEqual([1, '1\n'])
    const bad = device({}, () => -EINVAL)
    expect(nullb_device_store(bad, 'power', '1')).toBe(-ENOMEM)
    expect([bad.up, bad.configured]).toEqual([false, false])
  })

  it('texts that are no values', () => {
    const dev = device()
    expect(nullb_device_store(dev, 'size', '-1')).toBe(-EINVAL)
    expect(nullb_device_store(dev, 'size', '12k')).toBe(-EINVAL)
    expect(nullb_device_store(dev, 'mbps', '4294967296')).toBe(-ERANGE)
    expect(nullb_device_store(dev, 'discard', 'maybe')).toBe(-EINVAL)
    expect(nullb_device_store(dev, 'colour', '1')).toBe(-EINVAL)
    expect(nullb_device_show(dev, 'colour')).toBeUndefined()
  })

  it('module parameters out of range fail the load', () => {
    const load = (changes: Partial<nullb_module>): number =>
      null_init({ ...module_defaults(), ...changes }, host)
    expect(load({ queue_mode: 3 })).toBe(-EINVAL)
    expect(load({ irqmode: -1 })).toBe(-EINVAL)
    expect(load({ zoned: true, zone_size: 3 })).toBe(-EINVAL)
    expect(load({ zone_size: 3 })).toBe(0)
  })
})

describe('bad blocks', () => {
  const check = (dev: nullb_device, from: number, to: number): number =>
    badblocks_check(k, dev.badblocks, from, to - from + 1)

  it('null-blk 11.16: ranges are inclusive, any overlap counts', () => {
    const dev = device()
    expect(nullb_device_show(dev, 'badblocks')).toBe('')
    expect(nullb_device_store(dev, 'badblocks', '+100-103')).toBe(0)
    const pairs: [number, number][] = [
      [96, 99],
      [96, 100],
      [103, 103],
      [104, 104],
    ]
    expect(pairs.map(([from, to]) => check(dev, from, to))).toEqual([0, 1, 1, 0])
    expect(nullb_device_show(dev, 'badblocks')).toBe('100 4\n')
    expect(nullb_device_store(dev, 'badblocks', '-100-103')).toBe(0)
    expect(check(dev, 0, 1000)).toBe(0)
    for (const text of ['+5', '+9-5', '5-9', '+a-b', ''])
      expect(nullb_device_store(dev, 'badblocks', text)).toBe(-EINVAL)
  })

  it('null-blk 8.3: an entry has 512 sectors at most, a table 512 entries', () => {
    const bb = new badblocks(true)
    expect(badblocks_set(k, bb, 0, 1300)).toBe(0)
    expect(badblocks_show(bb)).toBe('0 512\n512 512\n1024 276\n')
    expect(badblocks_clear(k, bb, 0, 1300)).toBe(0)
    for (let i = 0; i < 512; i++) expect(badblocks_set(k, bb, 2 * i, 1)).toBe(0)
    expect(badblocks_set(k, bb, 2000, 1)).toBe(1)
    expect(bb.ranges.length).toBe(512)
  })

  it('behaves like a set of sectors', () => {
    const range = fc.tuple(fc.boolean(), fc.nat(90), fc.integer({ min: 1, max: 20 }))
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), steps => {
        const bb = new badblocks(true)
        const bad = new Set<number>()
        for (const [add, start, length] of steps) {
          expect((add ? badblocks_set : badblocks_clear)(k, bb, start, length)).toBe(0)
          for (let s = start; s < start + length; s++) add ? bad.add(s) : bad.delete(s)
        }
        for (let s = 0; s < 110; s++) expect(badblocks_check(k, bb, s, 1)).toBe(bad.has(s) ? 1 : 0)
      }),
      { numRuns: 100 },
    )
  })
})

describe('zones', () => {
  it('null-blk 11.17: sizes, write pointer, reset', () => {
    const zones = null_zone_init(k, 250 * 2 ** 30, 256 * 2048)
    expect([zones.zone_size_sects, zones.zones.length]).toEqual([524_288, 1000])
    expect(null_zone_write(k, zones, 0, 8)).toBe(BLK_STS_OK)
    expect(null_zone_report(k, zones, 0, 1)).toMatchObject([{ type: 2, cond: 2, wp: 8 }])
    expect(null_zone_write(k, zones, 16, 8)).toBe(BLK_STS_IOERR)
    expect(null_zone_reset(k, zones, 5)).toBe(BLK_STS_OK)
    expect(null_zone_report(k, zones, 0, 1)).toMatchObject([{ cond: 1, wp: 0 }])
  })

  it('null-blk 8.4: a whole zone goes from empty to full; what is behind the last is none', () => {
    const zones = null_zone_init(k, (3 * 2048 + 100) * 512, 2048)
    expect(zones.zones.length).toBe(3)
    expect(null_zone_write(k, zones, 2048, 2048)).toBe(BLK_STS_OK)
    expect(zones.zones[1]).toMatchObject({ cond: 14, wp: 4096 })
    expect(null_zone_write(k, zones, 4095, 1)).toBe(BLK_STS_IOERR)
    expect(null_zone_write(k, zones, 3 * 2048, 1)).toBe(BLK_STS_IOERR)
    expect(null_zone_reset(k, zones, 3 * 2048)).toBe(BLK_STS_IOERR)
  })
})

describe('storage', () => {
  const fill = (bytes: number, value: number): Uint8Array => new Uint8Array(bytes).fill(value)
  const read = (nullb: nullb_store, sector: number, bytes: number): Uint8Array => {
    const to = fill(bytes, 0xee)
    copy_from_nullb(nullb, to, sector)
    return to
  }

  it('null-blk 11.14: one sector of a page', () => {
    const nullb = new nullb_store(k, 512, 2 ** 20)
    expect(copy_to_nullb(nullb, fill(512, 7), 9, false)).toBe(0)
    expect([...nullb.data.pages.keys()]).toEqual([1])
    expect(nullb.data.get(1)!.bitmap).toBe(1 << 1)
    const page = read(nullb, 8, 4096)
    expect(page.subarray(512, 1024).every(b => b === 7)).toBe(true)
    expect(page.reduce((sum, b) => sum + b, 0)).toBe(512 * 7)
  })

  it('null-blk 11.15: a block of 4096 uses one bit, and its discard frees the page', () => {
    const nullb = new nullb_store(k, 4096, 2 ** 20)
    copy_to_nullb(nullb, fill(4096, 1), 8, false)
    expect(nullb.data.get(1)!.bitmap).toBe(1)
    null_handle_discard(nullb, 8, 4096)
    expect(nullb.data.pages.size).toBe(0)
    expect(read(nullb, 8, 4096).every(b => b === 0)).toBe(true)
  })

  it('null-blk 11.20: room in the cache is made before the block that would fill it', () => {
    const nullb = new nullb_store(k, 4096, 2 ** 24)
    nullb.cache_size = 2 ** 20
    for (let i = 0; i < 255; i++) copy_to_nullb(nullb, fill(4096, i), i * 8, false)
    expect([nullb.curr_cache, nullb.data.pages.size]).toEqual([1_044_480, 0])
    copy_to_nullb(nullb, fill(4096, 255), 255 * 8, false)
    expect([nullb.cache.pages.size, nullb.data.pages.size]).toEqual([240, 16])
    expect(nullb.curr_cache).toBe(240 * 4096)
    for (let i = 0; i < 256; i++) expect(read(nullb, i * 8, 4096)[0]).toBe(i)
  })

  it('null-blk 8.2: a flush empties the cache; FUA goes past it; power-off loses what is in it', () => {
    const nullb = new nullb_store(k, 512, 2 ** 20)
    nullb.cache_size = 2 ** 20
    copy_to_nullb(nullb, fill(1024, 1), 0, false)
    expect(null_handle_flush(nullb)).toBe(0)
    expect([nullb.curr_cache, nullb.data.get(0)!.bitmap]).toEqual([0, 3])
    copy_to_nullb(nullb, fill(512, 2), 16, false)
    copy_to_nullb(nullb, fill(512, 3), 16, true)
    expect([nullb.curr_cache, nullb.data.get(2)!.bytes[0]]).toEqual([0, 3])
    copy_to_nullb(nullb, fill(512, 4), 800, false)
    null_free_cache(nullb)
    expect([read(nullb, 800, 512)[0], read(nullb, 16, 512)[0]]).toEqual([0, 3])
  })

  it('says ENOSPC when its memory is used up', () => {
    const nullb = new nullb_store(k, 4096, 2 * 4096)
    expect(copy_to_nullb(nullb, fill(8192, 1), 0, false)).toBe(0)
    expect(copy_to_nullb(nullb, fill(4096, 1), 16, false)).toBe(-ENOSPC)
    expect(copy_to_nullb(nullb, fill(4096, 2), 8, false)).toBe(0)
  })

  it('reads what was written, whatever the cache does', () => {
    const step = fc.record({
      what: fc.constantFrom('write', 'fua', 'discard', 'flush'),
      block: fc.nat(40),
      blocks: fc.integer({ min: 1, max: 12 }),
      value: fc.integer({ min: 1, max: 255 }),
    })
    const bs = fc.constantFrom(512, 1024, 4096)
    fc.assert(
      fc.property(bs, fc.nat(3), fc.array(step, { maxLength: 30 }), (bytes, cache, steps) => {
        const nullb = new nullb_store(k, bytes, 2 ** 22)
        nullb.cache_size = cache * 4 * 4096
        const model = new Uint8Array(64)
        for (const { what, block, blocks, value } of steps) {
          const sector = (block * bytes) / 512
          if (what === 'flush') null_handle_flush(nullb)
          else if (what === 'discard') null_handle_discard(nullb, sector, blocks * bytes)
          else copy_to_nullb(nullb, fill(blocks * bytes, value), sector, what === 'fua')
          if (what !== 'flush') model.fill(what === 'discard' ? 0 : value, block, block + blocks)
        }
        for (let i = 0; i < 64; i++)
          expect(read(nullb, (i * bytes) / 512, bytes).every(b => b === model[i])).toBe(true)
        if (cache) expect(nullb.curr_cache).toBe(nullb.cache.pages.size * 4096)
      }),
      { numRuns: 60 },
    )
  })
})

describe('bandwidth', () => {
  /** Requests that pass, one after the other, until a tick's budget is used up `ticks` times. */
  function passing(mbps: number, bytes: number, ticks: number): number[] {
    const vk = new VirtualKernel()
    let stopped = false
    const nullb = new nullb_throttle(vk.k, mbps, {
      stop: () => {
        stopped = true
      },
      restart_async: () => {
        stopped = false
      },
    })
    nullb_setup_bwtimer(nullb)
    vk.runUntil(1e9 + 1)
    const passed: number[] = []
    let now = vk.ns
    for (let tick = 0; tick < ticks; tick++) {
      let n = 0
      while (!stopped && null_throttle(nullb, bytes)) {
        n++
        vk.runUntil(now)
      }
      passed.push(n)
      now += 20_000_000
      vk.runUntil(now)
    }
    null_del_throttle(nullb)
    expect(null_throttle(nullb, 1e12)).toBe(true)
    return passed
  }

  it('null-blk 11.5: mbps 1, 4 KiB: six pass after an idle time, then five a tick', () => {
    expect(mb_per_tick(1)).toBe(20_971)
    expect(passing(1, 4096, 4)).toEqual([6, 5, 5, 5])
    expect(5 * 4096 * 50).toBe(1_024_000)
  })

  it('null-blk 11.6: mbps 10 and 100', () => {
    expect(mb_per_tick(100) * 50).toBe(104_855_000)
    expect(passing(10, 4096, 3)).toEqual([52, 51, 51])
    expect(passing(100, 4096, 3)).toEqual([512, 511, 511])
  })

  it('null-blk 11.7: a request larger than the budget never passes', () => {
    expect(passing(1, 65_536, 5)).toEqual([0, 0, 0, 0, 0])
    expect(mb_per_tick(4)).toBe(83_884)
    expect(passing(4, 65_536, 3)).toEqual([2, 1, 1])
  })
})

describe('faults', () => {
  const calls = (text: string, n: number, seed = 1): number[] => {
    const attr = new fault_attr(seed)
    expect(setup_fault_attr(attr, text)).toBe(1)
    const failed: number[] = []
    for (let i = 1; i <= n; i++) if (should_fail(k, attr, 1)) failed.push(i)
    return failed
  }

  it('null-blk 11.13: interval, space, probability', () => {
    expect(calls('3,100,0,-1', 10)).toEqual([3, 6, 9])
    expect(calls('1,100,3,-1', 6)).toEqual([3, 4, 5, 6])
    const half = calls('1,50,0,-1', 1000).length
    expect(half).toBeGreaterThan(420)
    expect(half).toBeLessThan(580)
  })

  it('null-blk 9: times ends it, 0 is never; a seed repeats', () => {
    expect(calls('1,100,0,2', 10)).toEqual([1, 2])
    expect(calls('1,100,0,0', 10)).toEqual([])
    expect(calls('1,0,0,-1', 10)).toEqual([])
    expect(calls('1,30,0,-1', 50, 7)).toEqual(calls('1,30,0,-1', 50, 7))
  })

  it('strings that are not understood change nothing', () => {
    const attr = new fault_attr(1)
    for (const text of ['', '1,2,3', '1,2,3,4,5', 'a,b,c,d', '1, 2,3,4'])
      expect(setup_fault_attr(attr, text)).toBe(0)
    expect([attr.interval, attr.probability, attr.times]).toEqual([1, 0, 1])
  })
})
