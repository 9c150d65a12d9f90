// rrpc over a device that keeps a table: places of pages, locks, the collector, failures, what is there after a loss of power.

import { describe, expect, it } from 'vitest'
import { BLK_STS_NOSPC } from '../../../../assembly/nvme.js'
import { GEOMETRY_12, type OcssdGeometry } from '../../../../src/device/ocssd/geometry.js'
import { NVM_IO_OK } from '../../../../src/drivers/lightnvm/lightnvm.js'
import {
  MAX_INVALID_PAGES,
  RRPC_EMPTY,
  type rrpc,
  rrpc_lock_laddr,
  rrpc_page_block,
  rrpc_unlock_laddr,
} from '../../../../src/drivers/lightnvm/rrpc.js'
import { rrpc_check } from '../../../../src/drivers/lightnvm/rrpc-check.js'
import { block_prio_find_max, rrpc_blocks_need } from '../../../../src/drivers/lightnvm/rrpc-gc.js'
import { rrpc_pages } from '../../../../src/drivers/lightnvm/rrpc-init.js'
import { rrpc_user_limit } from '../../../../src/drivers/lightnvm/rrpc-map.js'
import { EINVAL } from '../../../../src/kernel/errno.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig, type LnvmRigOptions } from './rig.js'

const DATA = 12 * 2 ** 20
const READ = DATA + 2 ** 20
const WRITE_OP = 0x81
const READ_OP = 0x92
const ERASE_OP = 0x90

/** One channel of four LUNs; blocks of 32 pages of one sector. */
const SMALL: OcssdGeometry = {
  ...GEOMETRY_12,
  groups: 1,
  pus: 4,
  chunks: 16,
  planes: 1,
  pageSectors: 1,
  clba: 32,
  wsMin: 1,
  wsOpt: 1,
  dom: 1,
}
/** With enough blocks for those kernels to take writes. */
const LARGE: OcssdGeometry = { ...SMALL, chunks: 64, clba: 8 }

const quirky = { rrpc: { quirks: () => true } }

function rigOf(options: Partial<LnvmRigOptions> = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: SMALL, ...options })
  expect(rig.register()).toBe(0)
  expect(rig.create({ tgttype: 'rrpc', tgtname: 'rrpc0', flags: 0 })).toBe(0)
  rig.log.length = 0
  return rig
}

const pages = ({ rrpc }: LnvmRig): number => rrpc_pages(rrpc.geo)

function stamp(rig: LnvmRig, value: number, at = DATA): number {
  rig.mem.words.fill(value, at >> 2, (at >> 2) + 1024)
  return at
}

/** Writes a page of its own number plus `add`; its status. */
function put(rig: LnvmRig, laddr: number, add = 0): number {
  return rig.wait(rig.write(laddr, 1, stamp(rig, laddr + add)))
}

function get(rig: LnvmRig, laddr: number): number {
  expect(rig.wait(rig.read(laddr, 1, READ))).toBe(0)
  return rig.mem.words[(READ >> 2) + 5]
}

/** LUN of each command, as the device numbers them. */
function luns(rig: LnvmRig, op: number): number[] {
  const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
  return rig.log
    .filter(one => one.op === op)
    .map(({ addresses }) => {
      rig.device.format.place(addresses[0], place)
      return place.pu
    })
}

const ops = (rig: LnvmRig): number[] => rig.log.map(({ op }) => op)

/** Lets the collector work until it rests. */
function settle(rig: LnvmRig): void {
  for (let i = 0; i < 200; i++) {
    const { erased } = rig.rrpc.stats
    rig.rest(50)
    if (rig.rrpc.collecting === 0 && rig.rrpc.stats.erased === erased) return
  }
  throw new Error('the collector does not rest')
}

it('a block that is full and collected before the next write is no open block (seeds 14449, 16525)', () => {
  const rig = rigOf({ geometry: { ...SMALL, pus: 1 } })
  const [lun] = rig.rrpc.luns
  const full = (): boolean => lun.cur !== null && lun.cur.next_page === rig.rrpc.sec_per_blk
  let laddr = 1
  while (lun.nr_free_blocks >= rrpc_blocks_need(rig.rrpc) || full())
    expect(put(rig, laddr++)).toBe(0)
  while (!full()) expect(put(rig, 0)).toBe(0)
  const open = lun.cur!
  for (let i = 0; i < laddr; i++) {
    const page = rig.rrpc.trans_map[i]
    if (page !== RRPC_EMPTY && rrpc_page_block(rig.rrpc, page) === open)
      expect(rig.wait(rig.trim(i, 1))).toBe(0)
  }
  settle(rig)
  expect(lun.free_list).toContain(open)
  expect(rrpc_check(rig.rrpc)).toEqual([])
  expect(put(rig, 0, 7)).toBe(0)
  expect(get(rig, 0)).toBe(7)
})

describe('rrpc: what it needs', () => {
  it('ftl-rrpc 10.1: a device that keeps a table, which pblk refuses', () => {
    for (const [dom, rrpc, pblk] of [
      [0, -EINVAL, 0],
      [1, 0, -EINVAL],
    ] as const) {
      const geometry = { ...GEOMETRY_12, planes: 1, pageSectors: 1, clba: 64, dom }
      for (const [tgttype, ret] of [
        ['rrpc', rrpc],
        ['pblk', pblk],
      ] as const) {
        const rig = new LnvmRig({ geometry })
        rig.register()
        expect(rig.create({ tgttype }), `${tgttype} on dom ${dom}`).toBe(ret)
        if (ret !== 0) expect(rig.mem.used).toBe(0)
      }
    }
  })

  it('ftl-rrpc 10.2: capacity', () => {
    expect(rrpc_pages({ all_luns: 4, num_chk: 64, clba: 256 })).toBe(55296)
    const rig = rigOf({ geometry: { ...LARGE, clba: 256 } })
    const [{ type, private_data }] = rig.dev.targets as [(typeof rig.dev.targets)[number]]
    expect(type.capacity(private_data)).toBe(442368)
    expect(rig.rrpc.nr_sects).toBe(65536)
  })

  it('ftl-rrpc 10.3: 512 pages in a block, not 513', () => {
    const create = (clba: number): number => {
      const rig = new LnvmRig({ geometry: { ...SMALL, chunks: 14, clba } })
      rig.register()
      return rig.create({ tgttype: 'rrpc' })
    }
    expect([create(MAX_INVALID_PAGES), create(MAX_INVALID_PAGES + 1)]).toEqual([0, -EINVAL])
  })

  it('blocks enough that a full disk can be collected', () => {
    const rig = new LnvmRig({ geometry: { ...SMALL, chunks: 13 } })
    rig.register()
    expect(rig.create({ tgttype: 'rrpc' })).toBe(-EINVAL)
    expect(rig.complaints.join()).toContain('13 blocks in a LUN, at least 14')
    const old = new LnvmRig({ geometry: { ...SMALL, chunks: 4 }, ...quirky })
    old.register()
    expect(old.create({ tgttype: 'rrpc' })).toBe(0)
    expect(old.complaints.join()).toContain('no space beside the reserved blocks')
  })
})

describe('rrpc: pages', () => {
  it('ftl-rrpc 10.4: the LUNs in turn', () => {
    const rig = rigOf()
    for (let i = 0; i < 5; i++) expect(put(rig, i)).toBe(0)
    expect(luns(rig, WRITE_OP)).toEqual([0, 1, 2, 3, 0])
    rig.log.length = 0
    expect(rig.wait(rig.write(10, 2, DATA))).toBe(0)
    expect(rig.log[0]!.addresses.length).toBe(2)
  })

  it('ftl-rrpc 10.5: a write ends with its program', () => {
    const rig = rigOf({ wire: 0 })
    const begun = rig.vk.ns
    put(rig, 0)
    const [{ at, due }] = rig.log as [(typeof rig.log)[number]]
    expect([at, rig.vk.ns]).toEqual([begun, due])
    // A lower page of an MLC block: the channel, then the program.
    expect(due - at).toBe(52433 + 850000)
    const flush = rig.flush()
    expect(flush.done).toBe(true)
  })

  it('ftl-rrpc 10.6: who overlaps waits', () => {
    const rig = rigOf()
    put(rig, 4, 100)
    rig.log.length = 0
    const read = rig.read(4, 1, READ)
    const write = rig.write(0, 8, DATA)
    const other = rig.read(9, 1, READ + 4096)
    expect(ops(rig)).toEqual([READ_OP])
    expect([read.done, write.done, other.done]).toEqual([false, false, true])
    expect(rig.rrpc.stats.locked_out).toBe(1)
    rig.until(() => read.done)
    expect(write.done).toBe(false)
    expect(rig.wait(write)).toBe(0)
    expect(rig.mem.words[(READ >> 2) + 5]).toBe(104)
    expect(ops(rig)).toEqual([READ_OP, WRITE_OP])
  })

  it('ftl-rrpc 10.7: a read of pages of which one is nowhere', () => {
    for (const quirks of [true, false]) {
      const rig = rigOf({ geometry: LARGE, rrpc: { quirks: () => quirks } })
      for (const laddr of [0, 1, 3]) put(rig, laddr, 50)
      rig.log.length = 0
      rig.mem.words.fill(7, READ >> 2, (READ >> 2) + 4096)
      const io = rig.read(0, 4, READ)
      expect(io.done).toBe(quirks)
      expect(rig.wait(io)).toBe(0)
      const found = [0, 1, 2, 3].map(i => rig.mem.words[(READ >> 2) + 1024 * i])
      expect(found).toEqual(quirks ? [7, 7, 7, 7] : [50, 51, 0, 53])
      expect(rig.log.map(one => one.addresses.length)).toEqual(quirks ? [] : [3])
      const nothing = rig.read(100, 2, READ)
      expect([nothing.done, nothing.status]).toEqual([true, 0])
    }
  })

  it('lightnvm 10.14: cuts what is longer than a vector command, and refuses what is beyond the end', () => {
    const rig = rigOf()
    expect(rig.wait(rig.write(0, 150, DATA))).toBe(0)
    expect(rig.log.map(one => one.addresses.length)).toEqual([64, 64, 22])
    expect(
      rig.make_rq!({
        opf: 1,
        sector: 8 * 2048,
        bytes: 4096,
        data: DATA,
        end_io: () => {},
      } as never),
    ).toBe(NVM_IO_OK)
    expect(rig.wait(rig.write(rig.rrpc.nr_sects, 1, DATA))).toBe(10)
    expect(rrpc_check(rig.rrpc)).toEqual([])
  })

  it('a bio that waits for a range and one that waits for a block do not wake each other (seed 23173)', () => {
    const rig = rigOf({ geometry: { ...SMALL, pus: 1 } })
    let laddr = 0
    for (; rig.rrpc.requeue_bios.length === 0; laddr++) {
      rig.write(laddr, 1, stamp(rig, laddr))
      rig.rest(5)
    }
    const [refused] = rig.rrpc.requeue_bios
    const read = rig.read(0, 1, READ)
    const locked = rig.write(0, 1, stamp(rig, 7))
    expect(rig.rrpc.locked_bios).toHaveLength(1)
    expect(rig.wait(rig.read(laddr - 1, 1, READ + 4096))).toBe(0) // never written: it unlocks at once
    expect(rig.wait(read)).toBe(0)
    expect(rig.wait(locked)).toBe(BLK_STS_NOSPC)
    expect(rig.rrpc.requeue_bios).not.toContain(refused)
  })

  it('discards: what was there reads as zeros, and the bio ends', () => {
    const rig = rigOf()
    for (let i = 0; i < 8; i++) put(rig, i, 1)
    expect(rig.wait(rig.trim(2, 3))).toBe(0)
    expect([1, 2, 4, 5].map(i => get(rig, i))).toEqual([2, 0, 0, 6])
    const read = rig.read(0, 8, READ)
    const trim = rig.trim(7, 1)
    expect(trim.done).toBe(false)
    rig.wait(trim)
    expect(read.done).toBe(true)
  })
})

describe('rrpc: the collector', () => {
  it('ftl-rrpc 10.8: where users are refused, and what the collector wants', () => {
    const geometry = LARGE
    const { rrpc: old } = rigOf({ geometry, ...quirky })
    expect([rrpc_user_limit(old), rrpc_blocks_need(old)]).toEqual([16, 6])
    const { rrpc: now } = rigOf({ geometry })
    expect([rrpc_user_limit(now), rrpc_blocks_need(now)]).toEqual([3, 6])
    expect(rrpc_blocks_need(now)).toBeGreaterThan(rrpc_user_limit(now))
  })

  it('ftl-rrpc 10.8: between the two those kernels wait for ever: it is told, and the writes end', () => {
    const rig = rigOf({ geometry: LARGE, ...quirky })
    let status = 0
    let written = 0
    for (; status === 0 && written < pages(rig); written++) status = put(rig, written)
    // Of each LUN 47 whole blocks, and a page of the one that leaves 15 of them free; then the one that was refused.
    expect([written, status]).toEqual([4 * (47 * 8 + 1) + 1, 3])
    expect(rig.rrpc.luns.map(lun => lun.nr_free_blocks)).toEqual([15, 15, 15, 15])
    expect(rig.complaints.join()).toContain('writes wait for ever')
    expect(rig.rrpc.stats.erased).toBe(0)
  })

  it('a full disk can be overwritten as long as one likes', () => {
    const rig = rigOf()
    const n = pages(rig)
    expect(n).toBe(4 * 12 * 32 * 0.9 - ((4 * 12 * 32 * 0.9) % 9))
    for (let laddr = 0; laddr < n; laddr++) expect(put(rig, laddr)).toBe(0)
    // Not evenly: every fourth page, which were all on one LUN.
    for (let round = 1; round < 4; round++)
      for (let laddr = 0; laddr < n; laddr += 4) expect(put(rig, laddr, round * 10000)).toBe(0)
    expect(rrpc_check(rig.rrpc)).toEqual([])
    expect(rig.rrpc.stats.erased).toBeGreaterThan(20)
    for (let laddr = 0; laddr < n; laddr++)
      expect(get(rig, laddr)).toBe(laddr % 4 === 0 ? laddr + 30000 : laddr)
    expect(rig.complaints).toEqual([])
    expect(rig.remove('rrpc0')).toBe(0)
    expect(rig.mem.used).toBe(0)
  })

  it('ftl-rrpc 10.9: the victim is the first of those with the most invalid pages; of none with none', () => {
    const { rrpc } = rigOf()
    const [lun] = rrpc.luns as [(typeof rrpc.luns)[number]]
    const block = (nr_invalid_pages: number) => ({ nr_invalid_pages }) as never
    lun.prio_list.push(...[3, 9, 9, 0].map(block))
    expect(block_prio_find_max(lun)).toBe(lun.prio_list[1])
    lun.prio_list.length = 0
    const rig = rigOf({ geometry: { ...SMALL, pus: 8, chunks: 14 } })
    for (let laddr = 0; laddr < pages(rig); laddr++) put(rig, laddr)
    rig.rest(200)
    expect(rig.rrpc.luns.some(one => one.nr_free_blocks < rrpc_blocks_need(rig.rrpc))).toBe(true)
    expect([rig.rrpc.stats.erased, rig.rrpc.stats.gc_read]).toEqual([0, 0])
  })

  it('a round begins no more collections than blocks are missing; there, as many again each time', () => {
    const inHand = (options: Partial<LnvmRigOptions>): number => {
      const rig = rigOf({ geometry: { ...SMALL, pus: 1, chunks: 64 }, ...options })
      const { rrpc } = rig
      const [lun] = rrpc.luns as [(typeof rrpc.luns)[number]]
      const n = pages(rig)
      const half = Math.floor(n / 2)
      for (let i = 0; i < 2 * half; i++) put(rig, (i & 1) * half + (i >> 1))
      // each block holds pages of the first half, which nobody may move for now
      const first = rrpc_lock_laddr(rrpc, 0, half)!
      for (let i = 0; lun.collecting === 0; i++) expect(put(rig, half + ((i * 37) % half))).toBe(0)
      rig.rest(300)
      const seen = lun.collecting
      rrpc_unlock_laddr(rrpc, first)
      settle(rig)
      expect([lun.collecting, rrpc_check(rrpc)]).toEqual([0, []])
      return seen
    }
    expect(inHand({})).toBe(1)
    expect(inHand(quirky)).toBeGreaterThan(12)
  })

  it('ftl-rrpc 10.11: k valid pages are k reads, k writes and one erase, one after the other', () => {
    const rig = rigOf({ geometry: { ...SMALL, pus: 1, chunks: 14 }, wire: 0 })
    const { rrpc } = rig
    const n = pages(rig)
    for (let laddr = 0; laddr < n; laddr++) put(rig, laddr)
    expect(rrpc.stats.erased).toBe(0)
    rig.log.length = 0
    for (const laddr of [3, 4, 9]) put(rig, laddr, 5000)
    rig.log.length = 0
    const stats = { ...rrpc.stats }
    const [lun] = rrpc.luns as [(typeof rrpc.luns)[number]]
    settle(rig)
    const moved = rrpc.stats.gc_read - stats.gc_read
    const erased = rrpc.stats.erased - stats.erased
    expect([erased, moved]).toEqual([1, 29])
    expect(ops(rig)).toEqual([
      ...Array.from({ length: 29 }, () => [READ_OP, WRITE_OP]).flat(),
      ERASE_OP,
    ])
    for (const [i, { at }] of rig.log.entries())
      if (i > 0) expect(at).toBeGreaterThanOrEqual(rig.log[i - 1]!.due)
    expect(lun.prio_list.every(one => one.nr_invalid_pages === 0)).toBe(true)
    expect(get(rig, 4)).toBe(5004)
  })
})

it('ftl-rrpc 10.12: pblk writes vectors of up to 16 sectors, several at once', () => {
  const rig = new LnvmRig({ geometry: TINY })
  rig.register()
  expect(rig.create()).toBe(0)
  const ios = Array.from({ length: 400 }, (_, i) => rig.write((i * 37) % 500, 1, DATA))
  for (const io of ios) expect(rig.wait(io)).toBe(0)
  expect(rig.wait(rig.flush())).toBe(0)
  const writes = rig.log.filter(({ op }) => op === 0x91)
  const lengths = writes.map(({ addresses }) => addresses.length)
  expect([Math.min(...lengths) % 4, Math.max(...lengths) <= 16]).toEqual([0, true])
  const most = Math.max(
    ...writes.map(({ at }) => writes.filter(one => one.at <= at && at < one.due).length),
  )
  expect(most).toBeGreaterThan(1)
  expect(most).toBeLessThanOrEqual(8)
})

describe('rrpc: failures', () => {
  /** The next write of a page fails on the media. */
  function fail_next(rig: LnvmRig): void {
    rig.device.faults.rates = { write: 1 }
  }

  it('ftl-rrpc 10.10: an overwrite that fails: the old data are there, in those kernels not', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ geometry: LARGE, rrpc: { quirks: () => quirks } })
      put(rig, 5)
      const old = rig.rrpc.trans_map[5]!
      fail_next(rig)
      expect(put(rig, 5, 1000)).toBe(10)
      rig.device.faults.rates = {}
      const now = rig.rrpc.trans_map[5]!
      expect(now === old).toBe(!quirks)
      if (quirks) expect(rig.wait(rig.read(5, 1, READ))).toBe(10)
      else expect(get(rig, 5)).toBe(5)
      const bad = rig.rrpc.luns[1]!.blocks[0]!
      expect(bad.state).toBe(8)
      rig.rest(1)
      expect(
        rig.device.badBlockTable(
          rig.device.format.address({ group: 0, pu: 1, chunk: 0, sector: 0 }),
        )![64],
      ).toBe(2)
      if (quirks) continue
      for (let i = 0; i < 8; i++) expect(put(rig, 20 + i)).toBe(0)
      expect(rrpc_page_block(rig.rrpc, rig.rrpc.trans_map[21]!)).not.toBe(bad)
      expect(rrpc_check(rig.rrpc)).toEqual([])
    }
  })

  it('a block that cannot be erased is bad, one that cannot be read is left alone', () => {
    const rig = rigOf({ geometry: { ...SMALL, chunks: 20 } })
    const n = pages(rig)
    for (let laddr = 0; laddr < n; laddr++) put(rig, laddr)
    rig.device.faults.rates = { reset: 0.3 }
    for (let i = 0; i < 2 * n; i++) {
      const status = put(rig, (i * 7) % n, 9000)
      if (status === 3) break
      if (i === 200) rig.device.faults.rates = {}
      expect(status).toBe(0)
    }
    const bad = rig.rrpc.luns.flatMap(lun => lun.blocks.filter(block => block.state === 8))
    expect(bad.length).toBeGreaterThan(0)
    expect(rrpc_check(rig.rrpc)).toEqual([])
    for (let laddr = 0; laddr < n; laddr += 13) expect(get(rig, laddr) % 9000).toBe(laddr)
  })
})

describe('rrpc: the next life', () => {
  function again(rig: LnvmRig): LnvmRig {
    const next = rig.crash()
    expect(next.register()).toBe(0)
    expect(next.create({ tgttype: 'rrpc', tgtname: 'rrpc0', flags: 0 })).toBe(0)
    return next
  }

  it('what had ended is there; what had not is old or new', () => {
    let rig = rigOf()
    const n = pages(rig)
    for (let laddr = 0; laddr < n; laddr++) put(rig, laddr)
    for (let i = 0; i < 300; i++) put(rig, (i * 11) % n, 5000)
    const overwritten = new Set(Array.from({ length: 300 }, (_, i) => (i * 11) % n))
    for (let life = 0; life < 3; life++) {
      for (let i = 0; i < 4; i++) rig.write(i, 1, stamp(rig, 7777, DATA + i * 4096))
      rig.rest(life)
      rig = again(rig)
      expect(rrpc_check(rig.rrpc)).toEqual([])
      for (let laddr = 0; laddr < n; laddr++) {
        const found = get(rig, laddr)
        const known = laddr + (overwritten.has(laddr) ? 5000 : 0)
        if (laddr >= 4) expect(found).toBe(known)
        else expect([known, 7777]).toContain(found)
      }
    }
    for (let i = 0; i < n; i++) expect(put(rig, i, 20000)).toBe(0)
    settle(rig)
    expect(rrpc_check(rig.rrpc)).toEqual([])
  })

  it('targets have logical sectors of their own, and find them again', () => {
    const half = (rig: LnvmRig, name: string, begin: number): number =>
      rig.create({ tgttype: 'rrpc', tgtname: name, flags: 0, lun_begin: begin, lun_end: begin + 1 })
    const of = (rig: LnvmRig, name: string): rrpc =>
      rig.dev.targets.find(one => one.name === name)!.private_data as rrpc
    const rig = new LnvmRig({ geometry: SMALL })
    rig.register()
    expect([half(rig, 'a', 0), half(rig, 'b', 2)]).toEqual([0, 0])
    expect([of(rig, 'a').soffset, of(rig, 'b').soffset]).toEqual([0, 1024])
    put(rig, 6)
    const next = rig.crash()
    next.register()
    expect([half(next, 'a', 0), half(next, 'b', 2)]).toEqual([0, 0])
    expect([of(next, 'a'), of(next, 'b')].map(one => one.trans_map[6] !== RRPC_EMPTY)).toEqual([
      false,
      true,
    ])
    next.remove('a')
    expect(half(next, 'c', 0)).toBe(0)
    expect(of(next, 'c').soffset).toBe(0)
  })

  it('a table that names a place of somebody else is refused; page 0 is skipped in those kernels', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ geometry: LARGE, rrpc: { quirks: () => quirks } })
      put(rig, 9)
      expect(rig.rrpc.trans_map[9]).toBe(0)
      const next = again(rig)
      expect(next.rrpc.trans_map[9]).toBe(quirks ? RRPC_EMPTY : 0)
    }
    const rig = rigOf()
    put(rig, 9)
    const next = rig.crash()
    next.register()
    expect(next.create({ tgttype: 'rrpc', flags: 0, lun_begin: 2, lun_end: 3 })).toBe(-EINVAL)
    expect(next.complaints.join()).toContain('table cannot be read back')
  })
})
