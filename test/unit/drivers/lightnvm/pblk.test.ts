// pblk over a device: what commands it sends, what it computes, how it survives failures and losses of power. Numbers are
// those of the statements and observed runs of "pblk".

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GEOMETRY_12, GEOMETRY_20 } from '../../../../src/device/ocssd/geometry.js'
import { bitmap_set, bitmap_weight, test_bit } from '../../../../src/drivers/lightnvm/bitmap.js'
import { NVM_OP_ERASE, ppa_of } from '../../../../src/drivers/lightnvm/lightnvm.js'
import { CHUNK_OFFLINE } from '../../../../assembly/layout.js'
import * as P from '../../../../src/drivers/lightnvm/pblk.js'
import { pblk_check } from '../../../../src/drivers/lightnvm/pblk-check.js'
import { pblk_gc_sysfs_force } from '../../../../src/drivers/lightnvm/pblk-gc.js'
import { pblk_gc_kick } from '../../../../src/drivers/lightnvm/pblk-gc-start.js'
import {
  move_to,
  pblk_line_gc_list,
  take_off,
} from '../../../../src/drivers/lightnvm/pblk-line-list.js'
import { pblk_crc, put_header } from '../../../../src/drivers/lightnvm/pblk-meta.js'
import { pblk_rb_flush_point_count } from '../../../../src/drivers/lightnvm/pblk-rb.js'
import { pblk_rl_update_rates } from '../../../../src/drivers/lightnvm/pblk-rl.js'
import { EINTR, EINVAL } from '../../../../src/kernel/errno.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig, type LnvmRigOptions } from './rig.js'

const DATA = 12 * 2 ** 20

function rigOf(options: Partial<LnvmRigOptions> = {}, change: object = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: TINY, ...options })
  expect(rig.register()).toBe(0)
  expect(rig.create(change)).toBe(0)
  return rig
}

const quirky = { pblk: { quirks: true } }

/** The commands since the last call: operation and places. */
function commands(rig: LnvmRig): string[] {
  const text = rig.log.map(({ op, addresses }) => {
    const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
    rig.device.format.place(addresses[0], place)
    const { group, pu, chunk, sector } = place
    const what = { 144: 'erase', 145: 'write', 146: 'read' }[op]
    return `${what} ${addresses.length} at ${group},${pu},${chunk},${sector}`
  })
  rig.log.length = 0
  return text
}

/** Fills sectors of memory with a number. */
function stamp(rig: LnvmRig, at: number, ...values: number[]): void {
  for (const [i, value] of values.entries()) {
    const word = (at >> 2) + i * 1024
    rig.mem.words.fill(value, word, word + 1024)
    rig.mem.words[word] = ~value
  }
}

function stamped(rig: LnvmRig, at: number, i = 0): number {
  return rig.mem.words[(at >> 2) + i * 1024 + 1]
}

function readOne(rig: LnvmRig, lba: number): number {
  expect(rig.wait(rig.read(lba, 1, DATA + 2 ** 20))).toBe(0)
  return stamped(rig, DATA + 2 ** 20)
}

describe('pblk: what follows from the geometry (section 14)', () => {
  it('pblk 15.1: D20 in the words of 4.19', () => {
    const rig = rigOf({ geometry: GEOMETRY_20, ...quirky, memory: 32 * 2 ** 20 })
    const { lm, rl, rwb, capacity, op_blks, min_write_pgs, max_write_pgs } = rig.pblk
    expect([lm.sec_per_line, lm.smeta_sec, lm.emeta_sec, lm.min_blk_line]).toEqual([
      65536, 8, 136, 2,
    ])
    expect([min_write_pgs, max_write_pgs, rwb.nr_entries]).toEqual([8, 64, 512])
    expect([rl.rb_max_io, rl.rb_windows_pw, op_blks, capacity]).toEqual([256, 3, 106, 3485696])
    expect([rl.high, rl.high_pw, rl.rsv_blocks, rl.nr_secs]).toEqual([87, 7, 16, 3932160])
    expect([lm.mid_thrs, lm.high_thrs, rig.pblk.lines[0].sec_in_line]).toEqual([
      32768, 16384, 65392,
    ])
    expect(rig.pblk.trans_map.BYTES_PER_ELEMENT).toBe(4)
  })

  it('pblk 15.1: D20 as later kernels have it', () => {
    const { rl, capacity, rwb } = rigOf({ geometry: GEOMETRY_20, memory: 32 * 2 ** 20 }).pblk
    expect([capacity * 8, rl.high, rwb.nr_entries]).toEqual([26116096, 141, 512])
  })

  it('T20, both ways', () => {
    const old = rigOf(quirky).pblk
    expect([old.lm.sec_per_line, old.lm.smeta_sec, old.lm.emeta_sec]).toEqual([1024, 4, 4])
    expect([old.min_write_pgs, old.max_write_pgs, old.rwb.nr_entries]).toEqual([4, 16, 128])
    expect([old.rl.rb_max_io, old.rl.rb_windows_pw, old.op_blks]).toEqual([64, 1, 15])
    expect([old.capacity, old.rl.high, old.rl.high_pw, old.rl.rsv_blocks]).toEqual([
      28672, 10, 4, 4,
    ])
    const now = rigOf().pblk
    expect([now.capacity, now.rl.high, now.op]).toEqual([22272, 35, 31])
  })

  it('pblk 15.2, pblk 15.3: the rate limiter', () => {
    const rates = (rig: LnvmRig, free: number, werr = 0): number[] => {
      const { rl } = rig.pblk
      rl.free_user_blocks = free
      rl.werr_lines = werr
      pblk_rl_update_rates(rig.pblk)
      return [rl.rb_user_max, rl.rb_gc_max, rl.rb_state]
    }
    const tiny = rigOf(quirky)
    expect(rates(tiny, 10)).toEqual([128, 0, P.PBLK_RL_OFF])
    for (const f of [9, 8]) expect(rates(tiny, f)).toEqual([64, 64, P.PBLK_RL_LOW])
    for (const f of [5, 4]) expect(rates(tiny, f)).toEqual([0, 128, P.PBLK_RL_LOW])
    const big = rigOf({ geometry: GEOMETRY_20, ...quirky, memory: 32 * 2 ** 20 })
    expect(rates(big, 86)).toEqual([320, 192, P.PBLK_RL_LOW])
    expect(rates(big, 17)).toEqual([64, 448, P.PBLK_RL_LOW])
    expect(rates(big, 16)).toEqual([0, 512, P.PBLK_RL_LOW])
    expect(rates(big, 200, 1)).toEqual([504, 8, P.PBLK_RL_WERR])
  })

  it('pblk 15.10: places of a line', () => {
    const { pblk } = rigOf()
    expect(P.addr_to_gen_ppa(pblk, 4, 0)).toBe(ppa_of(1, 0, 0, 0))
    expect(P.addr_to_gen_ppa(pblk, 100, 0)).toBe(ppa_of(1, 0, 0, 24))
    for (let paddr = 0; paddr < 1024; paddr++) {
      const t = P.pblk_t_of(pblk, 7, paddr)
      expect([P.pblk_t_line(pblk, t).id, P.pblk_t_paddr(pblk, t)]).toEqual([7, paddr])
      expect(P.pblk_ppa_to_t(pblk, P.pblk_t_to_ppa(pblk, t))).toBe(t)
    }
  })

  it('pblk 15.13: checksums', () => {
    const crc = (version: [number, number]): number => {
      const bytes = new Uint8Array(32)
      put_header(bytes, version, new Uint8Array(16), 5)
      return new DataView(bytes.buffer).getUint32(0, true)
    }
    expect([crc([0, 1]), crc([0, 2])]).toEqual([0xd37d7300, 0x94dd09d0])
    expect(pblk_crc(new Uint8Array(28), 0, 28)).toBe(0x7f8f8816)
  })

  it('a checksum taken by words is that of the bytes, wherever they begin', () => {
    const bits = (bytes: Uint8Array): number => {
      let crc = 0xffffffff
      for (const byte of bytes) {
        crc ^= byte
        for (let i = 0; i < 8; i++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
      }
      return crc >>> 0
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 90 }), fc.nat(40), (bytes, from) => {
        const start = Math.min(from, bytes.length)
        expect(pblk_crc(bytes, start, bytes.length)).toBe(bits(bytes.subarray(start)))
      }),
    )
  })

  it('bits of a map are set and counted word by word as one by one', () => {
    fc.assert(
      fc.property(fc.nat(150), fc.nat(150), fc.nat(160), (from, count, bits) => {
        const map = new Uint32Array(10)
        bitmap_set(map, from, count)
        const set = Array.from({ length: 320 }, (_, bit) => Number(test_bit(map, bit)))
        expect(set).toEqual(set.map((_, bit) => Number(bit >= from && bit < from + count)))
        expect(bitmap_weight(map, bits)).toBe(set.slice(0, bits).reduce((a, b) => a + b, 0))
      }),
    )
  })

  it('pblk 15.14: groups of lines by valid sectors', () => {
    const { pblk } = rigOf()
    const line = pblk.lines[20]
    line.sec_in_line = 1016
    const group = (vsc: number): number => {
      line.vsc = vsc
      line.gc_group = P.PBLK_LINEGC_NONE
      pblk_line_gc_list(pblk, line)
      return line.gc_group
    }
    expect([0, 255, 256, 511, 512, 1015, 1016].map(group)).toEqual([
      P.PBLK_LINEGC_FULL,
      P.PBLK_LINEGC_HIGH,
      P.PBLK_LINEGC_MID,
      P.PBLK_LINEGC_MID,
      P.PBLK_LINEGC_LOW,
      P.PBLK_LINEGC_LOW,
      P.PBLK_LINEGC_EMPTY,
    ])
    group(1017)
    expect(line.state).toBe(P.PBLK_LINESTATE_CORRUPT)
  })

  it.each([
    [{ geometry: { ...GEOMETRY_12, dom: 1 } }, -EINVAL, 'host-side L2P'],
    [{ geometry: { ...TINY, chunks: 8 } }, -EINVAL, 'too small'],
    [{ geometry: { ...TINY, groups: 1, pus: 2, clba: 4, mwCunits: 0 } }, -EINVAL, 'LUN in line'],
    [{ geometry: { ...GEOMETRY_12, groups: 3 } }, -EINVAL, 'power-of-two'],
  ])('refuses %o', (options, ret, words) => {
    const rig = new LnvmRig(options as LnvmRigOptions)
    rig.register()
    expect(rig.create()).toBe(ret)
    expect(rig.complaints.join('\n')).toContain(words)
    expect(rig.mem.used).toBe(0)
  })

  it('refuses spare space that cannot free a line, and says how much would do', () => {
    const rig = new LnvmRig({ geometry: TINY })
    rig.register()
    expect(rig.create({ type: 1, lun_begin: 0, lun_end: 3, op: 12 })).toBe(-EINTR)
    expect(rig.complaints[0]).toContain('ask for more than op=29')
    expect(rig.create({ type: 1, lun_begin: 0, lun_end: 3, op: 40 })).toBe(0)
  })
})

describe('pblk: commands of an observed run (section 14)', () => {
  it('1: a new instance writes one smeta and erases nothing', () => {
    const rig = rigOf()
    const { pblk } = rig
    expect(commands(rig)).toEqual(['write 4 at 0,0,0,0'])
    expect([pblk.l_mg.nr_free_lines, pblk.rl.free_blocks]).toEqual([30, 124])
    const { cur_sec, left_msecs, vsc } = pblk.lines[0]
    expect([cur_sec, left_msecs, vsc]).toEqual([4, 1016, 1016])
  })

  it('2 to 5: buffered writes, a flush with padding, reads', () => {
    const rig = rigOf()
    const { pblk } = rig
    const { rwb } = pblk
    commands(rig)
    stamp(rig, DATA, 1, 2, 3, 4, 5, 6, 7)
    for (let i = 0; i < 3; i++) expect(rig.wait(rig.write(i, 1, DATA + i * 4096))).toBe(0)
    // with enough free lines the collector waits until users have been silent for five seconds
    rig.rest(7000)
    expect(commands(rig)).toEqual([])
    expect([rwb.mem, rwb.subm]).toEqual([3, 0])
    rig.write(3, 1, DATA + 3 * 4096)
    rig.rest(10)
    expect(commands(rig)).toEqual(['write 4 at 1,0,0,0'])
    expect([rwb.mem, rwb.subm, rwb.sync, rwb.l2p_update]).toEqual([4, 4, 4, 0])
    expect(rig.wait(rig.flush())).toBe(0)
    expect(commands(rig)).toEqual([])
    for (let i = 4; i < 7; i++) rig.write(i, 1, DATA + i * 4096)
    expect(rig.wait(rig.flush())).toBe(0)
    expect(commands(rig)).toEqual(['write 4 at 0,1,0,0'])
    expect([rwb.mem, rwb.subm, rwb.sync, rwb.l2p_update]).toEqual([7, 7, 7, 0])
    expect([pblk.user_wa, pblk.gc_wa, pblk.pad_wa, pblk.nr_flush]).toEqual([7, 0, 1, 2])
    expect(pblk.pad_dist).toEqual([1, 0, 0])
    expect([0, 6].map(lba => readOne(rig, lba))).toEqual([1, 7])
    expect(readOne(rig, 1000)).toBe(0)
    expect(commands(rig)).toEqual([])
    for (let i = 0; i < 20; i++) rig.write(20 + i, 1, DATA)
    rig.rest(20)
    expect(commands(rig)).toEqual([
      'write 4 at 1,1,0,0',
      'write 4 at 0,0,0,4',
      'write 4 at 1,0,0,4',
      'write 4 at 0,1,0,4',
      'write 4 at 1,1,0,4',
    ])
  })

  it('6: a sequential fill', () => {
    const rig = rigOf()
    const { pblk, device } = rig
    const before = device.counts.sectorsWritten
    let user = 0
    for (let lba = 0; lba < pblk.capacity; lba += 16, user += 16) rig.wait(rig.write(lba, 16, DATA))
    expect(rig.wait(rig.flush())).toBe(0)
    expect(user).toBe(22272)
    const closed = pblk.lines.filter(line => line.state === P.PBLK_LINESTATE_CLOSED)
    const smeta = 4 * (22 - 1)
    const data = 22272 + pblk.pad_wa
    expect(device.counts.sectorsWritten - before).toBe(data + smeta + 4 * 21)
    expect(closed.length).toBe(21)
    expect(pblk.l_mg.gc_empty_list.size).toBe(21)
    expect([pblk.gc.gc_active, pblk.rl.free_blocks]).toEqual([false, 40])
    expect(rig.complaints).toEqual([])
  })

  it('pblk 15.11: a line is one smeta, data, one emeta', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 1016 + 64; lba += 8) rig.wait(rig.write(lba, 8, DATA))
    rig.rest(100)
    const writes = rig.log.filter(({ op, addresses }) => {
      const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
      return op === 0x91 && rig.device.format.place(addresses[0], place) && place.chunk === 0
    })
    expect(writes.length).toBe(1 + 254 + 1)
    expect(rig.pblk.lines[0].state).toBe(P.PBLK_LINESTATE_CLOSED)
  })
})

describe('pblk: the ring', () => {
  it('pblk 15.5: a flush writes what is left, filled up to a unit', () => {
    const rig = rigOf()
    const { pblk } = rig
    const { rwb } = pblk
    for (let lba = 0; lba < 11; lba++) rig.write(lba, 1, DATA)
    rig.until(() => rwb.subm === 8)
    expect([rwb.sync, rwb.subm, rwb.mem]).toEqual([0, 8, 11])
    const [pads, first] = [pblk.pad_wa, pblk.pad_dist[0]]
    commands(rig)
    const flush = rig.flush()
    expect([rwb.flush_point, pblk_rb_flush_point_count(pblk)]).toEqual([10, 3])
    expect(rig.wait(flush)).toBe(0)
    expect(commands(rig)).toEqual(['write 4 at 1,1,0,0'])
    expect([pblk.pad_wa - pads, pblk.pad_dist[0] - first]).toEqual([1, 1])
    expect([rwb.sync, rwb.subm, rwb.mem]).toEqual([11, 11, 11])
  })

  it('pblk 15.6, pblk 15.8: a write ends without a command; a flushed one is still in the ring until its slot is wanted', () => {
    const rig = rigOf()
    commands(rig)
    expect(rig.write(5, 1, DATA).done).toBe(true)
    expect(commands(rig)).toEqual([])
    rig.wait(rig.flush())
    const { pblk } = rig
    expect(P.pblk_addr_in_cache(pblk, pblk.trans_map[5])).toBe(true)
    for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
    expect(P.pblk_addr_in_cache(pblk, pblk.trans_map[5])).toBe(false)
  })

  it('pblk 15.7: an empty flush with nothing outstanding ends at once', () => {
    const rig = rigOf()
    commands(rig)
    const io = rig.flush()
    expect([io.done, rig.pblk.nr_flush]).toEqual([true, 1])
    expect(commands(rig)).toEqual([])
  })

  it('pblk 15.9: of two writes of one sector one copy is valid', () => {
    const rig = rigOf()
    stamp(rig, DATA, 1, 2)
    rig.write(5, 1, DATA)
    rig.write(5, 1, DATA + 4096)
    rig.wait(rig.flush())
    for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
    const { pblk } = rig
    const at = P.pblk_t_paddr(pblk, pblk.trans_map[5])
    const invalid = pblk.lines[0].invalid_bitmap!
    const bit = (paddr: number): number => (invalid[paddr >>> 5] >>> (paddr & 31)) & 1
    expect([at, bit(at), bit(at - 1)]).toEqual([5, 0, 1])
    expect(readOne(rig, 5)).toBe(2)
  })

  it('pblk 15.17: FUA waits for the media, and does not in 4.19', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ pblk: { quirks } })
      const io = rig.bio(1 | 0x20000, 3, 1, DATA)
      expect(io.done).toBe(quirks)
      const flush = rig.write(4, 1, DATA, true)
      expect(flush.done).toBe(false)
      expect(rig.wait(flush)).toBe(0)
      expect(rig.wait(io)).toBe(0)
    }
  })

  it('discards: what was there reads as zeros, in the ring and on the media', () => {
    const rig = rigOf()
    stamp(rig, DATA, 1, 2, 3, 4)
    rig.wait(rig.write(0, 4, DATA, true))
    rig.wait(rig.trim(1, 1))
    expect([0, 1, 2].map(lba => readOne(rig, lba))).toEqual([1, 0, 3])
    for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
    rig.wait(rig.trim(2, 1))
    expect([0, 1, 2, 3].map(lba => readOne(rig, lba))).toEqual([1, 0, 0, 4])
  })

  it('reads partly from the ring, the media and nowhere', () => {
    const rig = rigOf()
    stamp(rig, DATA, 11, 12, 13, 14)
    rig.wait(rig.write(0, 4, DATA, true))
    for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
    stamp(rig, DATA, 21)
    rig.write(1, 1, DATA)
    commands(rig)
    const to = DATA + 2 ** 20
    rig.mem.words.fill(9, to >> 2, (to >> 2) + 6 * 1024)
    expect(rig.wait(rig.read(0, 6, to))).toBe(0)
    expect([0, 1, 2, 3, 4, 5].map(i => stamped(rig, to, i))).toEqual([11, 21, 13, 14, 0, 0])
    expect(commands(rig)[0]).toMatch(/^read 3 at/)
  })
})

describe('pblk: failures', () => {
  it('pblk 15.18: a failed write is repeated elsewhere, its line is collected', () => {
    const rig = rigOf()
    const { pblk, device } = rig
    device.faults.failWrites(pblk.luns.length === 4 ? 32 * 2 : 0, 8)
    for (let lba = 0; lba < 2200; lba++) {
      stamp(rig, DATA, lba + 1)
      expect(rig.wait(rig.write(lba, 1, DATA))).toBe(0)
    }
    rig.wait(rig.flush())
    // The next unit of the LUN may have been mapped to the chunk already.
    expect([1, 2]).toContain(pblk.write_failed)
    rig.rest(10_000)
    expect([pblk.rl.werr_lines, pblk.l_mg.gc_werr_list.size]).toEqual([0, 0])
    for (let lba = 0; lba < 2200; lba += 7) expect(readOne(rig, lba)).toBe(lba + 1)
  })

  it('what was never written reads as zeros, and leaves the buffer as it was in 4.19', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ pblk: { quirks } })
      const [to, sector] = [DATA + 2 ** 20, 4096]
      const nothing = quirks ? 0xa5 : 0
      const read = (n: number): number[] => {
        rig.pblk.memory.bytes.fill(0xa5, to, to + n * sector)
        expect(rig.wait(rig.read(0, n, to))).toBe(0)
        return Array.from({ length: n }, (_, i) => rig.pblk.memory.bytes[to + i * sector + 4])
      }
      expect(read(1)).toEqual([nothing])
      rig.pblk.memory.bytes.fill(7, DATA, DATA + sector)
      rig.wait(rig.write(1, 1, DATA, true))
      // in the ring, then on the media
      expect(read(3)).toEqual([nothing, 7, nothing])
      for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
      expect(read(3)).toEqual([nothing, 7, nothing])
      rig.wait(rig.trim(1, 1))
      expect(read(3)).toEqual([nothing, nothing, nothing])
    }
  })

  it('a failed read ends with an error, and without in 4.19', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ pblk: { quirks } })
      rig.wait(rig.write(0, 4, DATA, true))
      for (let i = 0; i < 160; i++) rig.wait(rig.write(100 + i, 1, DATA))
      rig.device.faults.rates = { ecc: 1 }
      expect(rig.wait(rig.read(0, 1, DATA))).toBe(quirks ? 0 : 10)
      rig.device.faults.rates = { highEcc: 1 }
      expect(rig.wait(rig.read(0, 1, DATA))).toBe(0)
      expect([rig.pblk.read_failed, rig.pblk.read_high_ecc]).toEqual([1, 1])
    }
  })
})

/** Lines of 256 sectors. */
const SHORT = { ...TINY, clba: 64 }

describe('pblk: erases that a reset takes away', () => {
  /** Writes everything again and again, all erases sent again; of some only the second time is carried out, and fails. */
  function lived(fails: (n: number) => boolean, quirks = false) {
    let erases = 0
    let failed = 0
    const asked = new Set<number>()
    const rig: LnvmRig = rigOf({
      geometry: SHORT,
      pblk: { quirks },
      resent: ({ opcode, ppa_list: [chunk] }) => {
        if (opcode !== NVM_OP_ERASE || asked.delete(chunk!)) return null
        asked.add(chunk!)
        const fail = fails(erases++)
        rig.device.faults.rates = { reset: fail ? 1 : 0 }
        if (fail) failed++
        return fail ? 'not done' : 'done'
      },
    })
    const { capacity } = rig.pblk
    for (let at = 0; at < 2 * capacity; at += 16)
      expect(rig.wait(rig.write(at % capacity, 16, DATA))).toBe(0)
    expect(rig.wait(rig.flush())).toBe(0)
    expect(asked.size).toBe(0)
    return {
      rig,
      erases,
      failed,
      bad: rig.device.chunks.state.filter(s => s === CHUNK_OFFLINE).length,
    }
  }

  it('one that was carried out the first time is no failure, and is in 4.19', () => {
    const { rig, erases, bad } = lived(() => false)
    expect([erases > 50, rig.pblk.erase_failed, bad, pblk_check(rig.pblk)]).toEqual([
      true,
      0,
      0,
      [],
    ])
    expect(() => lived(() => false, true)).toThrow()
  })

  it('one that fails is asked about, and its chunk is bad', () => {
    const { rig, erases, failed, bad } = lived(n => n % 40 === 7)
    expect([erases > 50, failed > 1]).toEqual([true, true])
    expect([rig.pblk.erase_failed, bad, pblk_check(rig.pblk)]).toEqual([failed, failed, []])
  })
})

describe('pblk: chunks have grown bad', () => {
  it('users who are given nothing wait only while something can be collected; in 4.19 for ever', () => {
    for (const quirks of [false, true]) {
      const rig = rigOf({ pblk: { quirks } })
      const { rl, lm } = rig.pblk
      for (let lba = 0; lba < 32; lba += 16) rig.wait(rig.write(lba, 16, DATA))
      rl.free_user_blocks = 3 * lm.blk_per_line
      do {
        rl.free_blocks = --rl.free_user_blocks
        pblk_rl_update_rates(rig.pblk)
      } while (rl.rb_user_max > 0)
      const ios = Array.from({ length: 12 }, (_, i) => rig.write(32 + 16 * i, 16, DATA))
      rig.until(() => ios.every(io => io.done))
      expect(ios.filter(io => io.done).length).toBe(quirks ? 0 : 12)
    }
  })
})

describe('pblk: the collector', () => {
  /** Lines as if they were closed, with so many valid sectors, in the list of their group. */
  function closed(rig: LnvmRig, ...valid: number[]): P.pblk_line[] {
    const { pblk } = rig
    return valid.map(vsc => {
      const [line] = pblk.l_mg.free_list
      take_off(line)
      Object.assign(line, { state: P.PBLK_LINESTATE_CLOSED, vsc, sec_in_line: 1016, ref: 1 })
      move_to(line, pblk_line_gc_list(pblk, line))
      return line
    })
  }

  it('pblk 15.15: victims of one list in a pass, the one with the fewest valid sectors first', () => {
    const rig = rigOf()
    const { pblk } = rig
    const [more, few, middle] = closed(rig, 200, 100, 300)
    expect([...pblk.l_mg.gc_high_list]).toEqual([more, few])
    expect([...pblk.l_mg.gc_mid_list]).toEqual([middle])
    // need of lines, and a reader that does not come: what was chosen stays in the list
    pblk.rl.high = 1000
    pblk.rl.rb_state = P.PBLK_RL_LOW
    pblk.gc.gc_active = true
    pblk.gc.gc_reader_ts = null
    pblk_gc_kick(pblk)
    rig.rest(1)
    expect(pblk.gc.r_list).toEqual([few, more])
    expect(middle.state).toBe(P.PBLK_LINESTATE_CLOSED)
    expect([...pblk.l_mg.gc_mid_list]).toEqual([middle])
  })

  it('pblk 15.16: what is overwritten while its line is collected does not come back', () => {
    const rig = rigOf()
    const { pblk } = rig
    const n = 1500
    for (let lba = 0; lba < n; lba++) {
      stamp(rig, DATA, lba + 1)
      rig.wait(rig.write(lba, 1, DATA))
    }
    for (let lba = 0; lba < n; lba += 2) rig.wait(rig.write(lba, 1, DATA))
    const { high } = pblk.rl
    pblk.rl.high = 1000
    pblk.rl.rb_state = P.PBLK_RL_LOW
    pblk_gc_sysfs_force(pblk, 1)
    rig.until(() => pblk.gc.in_hand > 0)
    pblk.rl.high = high
    const collected = pblk.lines.filter(line => line.state === P.PBLK_LINESTATE_GC)
    expect(collected.length).toBeGreaterThan(0)
    for (let lba = 0; lba < n; lba += 3) {
      stamp(rig, DATA, 10_000 + lba)
      rig.wait(rig.write(lba, 1, DATA))
    }
    for (let i = 0; i < 300; i++) rig.wait(rig.write(5000 + i, 1, DATA))
    // with enough free lines the collector waits until users have been silent for five seconds
    rig.rest(7000)
    for (const line of collected) expect(line.state).not.toBe(P.PBLK_LINESTATE_GC)
    expect(pblk.gc_wa).toBeGreaterThan(0)
    for (let lba = 0; lba < n; lba += 3) expect(readOne(rig, lba)).toBe(10_000 + lba)
    for (let lba = 1; lba < n; lba += 6) expect(readOne(rig, lba)).toBe(lba + 1)
  })
})

describe('pblk: from one life to the next', () => {
  it('pblk 15.19: a graceful end loses nothing, and counters go on', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 1500; lba++) {
      stamp(rig, DATA, lba + 1)
      rig.wait(rig.write(lba, 1, DATA))
    }
    const { user_wa } = rig.pblk
    expect(rig.remove()).toBe(0)
    expect(rig.create({ flags: 0 })).toBe(0)
    expect(rig.pblk.user_wa).toBe(user_wa)
    for (let lba = 0; lba < 1500; lba++) expect(readOne(rig, lba)).toBe(lba + 1)
    expect(readOne(rig, 1600)).toBe(0)
    expect(rig.remove()).toBe(0)
    expect([rig.complaints, rig.mem.used]).toEqual([[], 0])
  })

  it.each([
    ['2.0', TINY],
    ['1.2', { ...GEOMETRY_12, clba: 2 * 4 * 32, chunks: 32 }],
  ])(
    'pblk 15.20: after a loss of power all that was flushed is found, on a device of %s',
    (_, geometry) => {
      const rig = rigOf({ geometry })
      const n = 1300
      for (let lba = 0; lba < n; lba++) {
        stamp(rig, DATA, lba + 1)
        rig.wait(rig.write(lba, 1, DATA))
      }
      rig.wait(rig.flush())
      rig.write(5, 1, DATA)
      const next = rig.crash()
      expect(next.register()).toBe(0)
      expect(next.create({ flags: 0 })).toBe(0)
      for (let lba = 0; lba < n; lba++) {
        const found = readOne(next, lba)
        if (lba !== 5) expect(found).toBe(lba + 1)
      }
      for (let lba = 0; lba < 3000; lba++) next.wait(next.write(lba, 1, DATA))
      const fresh = next.crash()
      fresh.register()
      expect(fresh.create({ flags: 1 })).toBe(0)
      expect(readOne(fresh, 7)).toBe(0)
    },
  )
})
