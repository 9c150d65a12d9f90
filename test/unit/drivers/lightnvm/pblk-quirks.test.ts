// What pblk of 4.19 does and later ones do better, both ways: each test gives what happens here, and with quirks=4.19.

import { describe, expect, it } from 'vitest'
import { NVM_OP_PREAD, NVM_OP_PWRITE } from '../../../../src/drivers/lightnvm/lightnvm.js'
import * as P from '../../../../src/drivers/lightnvm/pblk.js'
import { pblk_check } from '../../../../src/drivers/lightnvm/pblk-check.js'
import { pblk_gc_sysfs_force } from '../../../../src/drivers/lightnvm/pblk-gc.js'
import { pblk_gc_kick } from '../../../../src/drivers/lightnvm/pblk-gc-start.js'
import { pblk_share } from '../../../../src/drivers/lightnvm/pblk-hot.js'
import { pblk_line_put } from '../../../../src/drivers/lightnvm/pblk-line-free.js'
import {
  move_to,
  pblk_line_gc_list,
  take_off,
} from '../../../../src/drivers/lightnvm/pblk-line-list.js'
import { pblk_sysfs_store } from '../../../../src/drivers/lightnvm/pblk-sysfs.js'
import { test_bit } from '../../../../src/drivers/lightnvm/bitmap.js'
import { EINVAL } from '../../../../src/kernel/errno.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig, type LnvmRigOptions } from './rig.js'

const DATA = 12 * 2 ** 20
const READ = DATA + 2 ** 20

/** What something gives now, and with quirks=4.19. */
function sides<T>(what: (quirks: boolean) => T): [T, T] {
  return [what(false), what(true)]
}

function rigOf(quirks: boolean, options: Partial<LnvmRigOptions> = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: TINY, pblk: { quirks }, ...options })
  expect(rig.register()).toBe(0)
  expect(rig.create()).toBe(0)
  return rig
}

/** A device that keeps its last 24 sectors of a chunk to itself, and the same with 32. */
const KEEPS_24 = { ...TINY, mwCunits: 24 }
const KEEPS_32 = { ...TINY, mwCunits: 32 }

/** Writes sectors from `lba` on, each with its number in it, and lets each end. */
function fill(rig: LnvmRig, lba: number, n: number): void {
  for (let at = lba; at < lba + n; at++) {
    rig.mem.words.fill(at + 1, DATA >> 2, (DATA >> 2) + 1024)
    expect(rig.wait(rig.write(at, 1, DATA))).toBe(0)
  }
}

function read(rig: LnvmRig, lba: number): number {
  expect(rig.wait(rig.read(lba, 1, READ))).toBe(0)
  return rig.mem.words[READ >> 2]!
}

describe('quirks=4.19: the ring', () => {
  it('is of the size that the device wants behind its write pointer, and of a unit of each LUN more', () => {
    const entries = (quirks: boolean): number =>
      rigOf(quirks, { geometry: KEEPS_32 }).pblk.rwb.nr_entries
    expect(sides(entries)).toEqual([256, 128])
  })

  it('keeps what the device cannot read back, and is filled up to the last entry there', () => {
    const taken = (quirks: boolean): number => {
      const rig = rigOf(quirks)
      let n = 0
      while (rig.write(n, 1, DATA).done) n++
      return n
    }
    expect(sides(taken)).toEqual([95, 127])
  })

  it('an entry stays until the device can read its sector; one that has left too early reads as zeros there', () => {
    const found = (quirks: boolean): number => {
      const rig = rigOf(quirks, { geometry: KEEPS_32, pblk: { quirks, write_buffer_size: 128 } })
      fill(rig, 0, 100)
      expect(rig.wait(rig.flush())).toBe(0)
      for (let i = 0; i < 100; i++) rig.write(200 + i, 1, DATA)
      return read(rig, 0)
    }
    expect(sides(found)).toEqual([1, 0])
  })

  it('takes as many sectors at once as there is ever room for; half of it there', () => {
    const most = (quirks: boolean): number =>
      rigOf(quirks, { geometry: KEEPS_24 }).pblk.rl.rb_max_io
    expect(sides(most)).toEqual([28, 64])
    sides(quirks => {
      const rig = rigOf(quirks, { geometry: KEEPS_24 })
      expect(rig.wait(rig.write(0, 128, DATA))).toBe(0)
    })
  })

  it('lets go of what is persisted when the limiter holds a write back; there it waits for the collector', () => {
    const goesOn = (quirks: boolean): boolean => {
      const rig = rigOf(quirks)
      const { rl } = rig.pblk
      fill(rig, 0, 80)
      expect(rig.wait(rig.flush())).toBe(0)
      rl.rb_user_max = rl.rb_user_cnt
      const io = rig.write(100, 1, DATA)
      return rig.until(() => io.done, 5e9)
    }
    expect(sides(goesOn)).toEqual([true, false])
  })

  it('goes on in the core, unless it is that of 4.19', () => {
    const shared = (quirks: boolean): boolean => {
      const rig = rigOf(quirks)
      const { pblk, dev } = rig
      const ops = { ...dev.ops, core_queue: () => ({ q: 4096, nsid: 1 }) }
      const parent = Object.assign(Object.create(dev) as typeof dev, { ops })
      const one = Object.assign(Object.create(pblk) as typeof pblk, {
        dev: { ...pblk.dev, parent },
      })
      return pblk_share(one) === pblk.shared.at
    }
    expect(sides(shared)).toEqual([true, false])
  })
})

describe('quirks=4.19: failures', () => {
  it('a write that was carried out, and is sent again after a reset, is no failure; it is one there', () => {
    const failures = (quirks: boolean): number => {
      let armed = false
      const again = (opcode: number): 'done' | null => {
        const now = armed && opcode === NVM_OP_PWRITE
        if (now) armed = false
        return now ? 'done' : null
      }
      const rig = rigOf(quirks, { resent: ({ opcode }) => again(opcode) })
      armed = true
      fill(rig, 0, 16)
      expect(rig.wait(rig.flush())).toBe(0)
      expect([0, 7, 15].map(lba => read(rig, lba))).toEqual([1, 8, 16])
      return rig.pblk.write_failed
    }
    // there the next unit of the chunk may be under way already
    const [now, then] = sides(failures)
    expect(now).toBe(0)
    expect(then).toBeGreaterThan(0)
  })

  it('of a write of four chunks the one that failed is given up; the first there, whichever it was', () => {
    const chunks = (quirks: boolean): boolean[] => {
      const rig = rigOf(quirks)
      const { pblk, device } = rig
      expect(pblk_sysfs_store(pblk, 'max_sec_per_write', '16\n')).toBeGreaterThan(0)
      // the chunks of the line go by channels: its third is the second LUN of the first channel
      device.faults.failWrites(TINY.chunks, 0)
      for (let i = 0; i < 16; i++) rig.write(i, 1, DATA)
      const given = (pos: number): boolean => pblk.lines[0]!.done[pos] === TINY.clba
      rig.until(() => [1, 2, 3].some(given))
      return [1, 2].map(given)
    }
    expect(sides(chunks)).toEqual([
      [false, true],
      [true, false],
    ])
  })

  /** Chunk of the line and place in the line of each address that a command had. */
  function places(rig: LnvmRig, addresses: readonly number[]): { pos: number; paddr: number }[] {
    const { device, pblk } = rig
    return addresses.map(address => {
      const at = { group: 0, pu: 0, chunk: 0, sector: 0 }
      device.format.place(address, at)
      const pos = at.pu * device.geometry.groups + at.group
      return { pos, paddr: P.pblk_paddr_of(pblk, pos, at.sector) }
    })
  }

  const writesOf0 = ({ log }: LnvmRig): LnvmRig['log'] =>
    log.filter(({ op, lba }) => op === NVM_OP_PWRITE && lba === 0)

  it('of a write of four chunks nothing counts when one fails, and those behind it are filled up; neither there', () => {
    const left = (quirks: boolean): [number, number] => {
      const rig = rigOf(quirks)
      const { pblk, device } = rig
      expect(pblk_sysfs_store(pblk, 'max_sec_per_write', '16\n')).toBeGreaterThan(0)
      device.faults.failWrites(TINY.chunks, 0)
      for (let i = 0; i < 16; i++) rig.write(i, 1, DATA)
      rig.until(() => writesOf0(rig).length > 1)
      const map = pblk.lines[0]!.invalid_bitmap!
      const [first] = writesOf0(rig)
      const taken = places(rig, first!.addresses)
      expect(taken.map(({ pos }) => pos)).toEqual([1, 2, 3, 0].flatMap(pos => Array(4).fill(pos)))
      const invalid = taken.filter(({ paddr }) => test_bit(map, paddr)).length
      const full = [...device.chunks.wp].filter(wp => wp === TINY.clba).length
      return [invalid, full]
    }
    // of the line's four chunks, one failed, and the device closed it; one was written before it
    expect(sides(left)).toEqual([
      [16, 2],
      [4, 0],
    ])
  })

  it('a write that ends well in a chunk that was given up meanwhile is written again; it counts there', () => {
    const writes = (quirks: boolean): number[] => {
      const rig = rigOf(quirks, { wire: 1e6 })
      fill(rig, 0, 4)
      rig.until(() => writesOf0(rig).length > 0)
      const [first] = places(rig, writesOf0(rig)[0]!.addresses)
      rig.pblk.lines[0]!.done[first!.pos] = TINY.clba
      expect(rig.wait(rig.flush())).toBe(0)
      return writesOf0(rig).map(({ addresses }) => places(rig, addresses)[0]!.pos)
    }
    expect(sides(writes)).toEqual([[1, 2], [1]])
  })

  it('a line of which a sector cannot be read is closed again; it is free there, data and all', () => {
    const kept = (quirks: boolean): [number, string] => {
      const rig = rigOf(quirks)
      const { pblk, device } = rig
      fill(rig, 0, 1200)
      fill(rig, 0, 600)
      fill(rig, 2000, 300)
      const line = pblk.lines[0]!
      expect([line.state, line.vsc > 0]).toEqual([P.PBLK_LINESTATE_CLOSED, true])
      pblk.rl.high = 1000
      pblk.rl.rb_state = P.PBLK_RL_LOW
      pblk_gc_sysfs_force(pblk, 1)
      rig.until(() => line.state === P.PBLK_LINESTATE_GC)
      // its list of lbas comes first, and is read well
      const before = rig.log.length
      rig.until(() => rig.log.slice(before).some(({ op }) => op === NVM_OP_PREAD))
      device.faults.rates = { ecc: 1 }
      rig.until(() => pblk.read_failed_gc > 0)
      pblk_gc_sysfs_force(pblk, 0)
      pblk.rl.high = 0
      rig.rest(100)
      device.faults.rates = {}
      return [line.state, pblk_check(pblk)[0] ?? '']
    }
    expect(sides(kept)).toEqual([
      [P.PBLK_LINESTATE_CLOSED, ''],
      [P.PBLK_LINESTATE_FREE, expect.stringMatching(/lba \d+ means/)],
    ])
  })
})

describe('quirks=4.19: lines', () => {
  it('one is free when the ring is written as far as it went; at once there', () => {
    const free = (quirks: boolean): [number, number, number] => {
      const rig = rigOf(quirks)
      const { pblk } = rig
      const { l_mg } = pblk
      for (let i = 0; i < 3; i++) rig.write(i, 1, DATA)
      const [line] = l_mg.free_list
      take_off(line!)
      l_mg.nr_free_lines--
      const before = l_mg.nr_free_lines
      Object.assign(line!, { state: P.PBLK_LINESTATE_GC, ref: 1 })
      pblk_line_put(pblk, line!)
      const now = l_mg.nr_free_lines - before
      rig.wait(rig.flush())
      return [now, l_mg.nr_free_lines - before, l_mg.pending.length]
    }
    expect(sides(free)).toEqual([
      [0, 1, 0],
      [1, 1, 0],
    ])
  })

  /** Closed lines of so many valid sectors, wanted by a collector whose reader does not come. */
  function wanted(rig: LnvmRig, valid: readonly number[]): P.pblk_line[] {
    const { pblk } = rig
    const lines = valid.map(vsc => {
      const [line] = pblk.l_mg.free_list
      take_off(line!)
      Object.assign(line!, { state: P.PBLK_LINESTATE_CLOSED, vsc, sec_in_line: 1016, ref: 1 })
      move_to(line!, pblk_line_gc_list(pblk, line!))
      return line!
    })
    pblk.rl.high = 1000
    pblk.rl.rb_state = P.PBLK_RL_LOW
    pblk.gc.gc_active = true
    pblk.gc.gc_reader_ts = null
    return lines
  }

  it('one with entries in the ring is no victim; it is one there', () => {
    const victims = (quirks: boolean): number[] => {
      const rig = rigOf(quirks)
      const [few, more] = wanted(rig, [100, 200])
      few!.sec_to_update = 5
      pblk_gc_kick(rig.pblk)
      rig.rest(1)
      return rig.pblk.gc.r_list.map(line => [few, more].indexOf(line))
    }
    expect(sides(victims)).toEqual([[1], [0, 1]])
  })

  it('entries leave the ring before victims are chosen; there they stay', () => {
    const left = (quirks: boolean): number => {
      const rig = rigOf(quirks)
      fill(rig, 0, 80)
      expect(rig.wait(rig.flush())).toBe(0)
      wanted(rig, [100])
      pblk_gc_kick(rig.pblk)
      rig.rest(1)
      return rig.pblk.rwb.l2p_update
    }
    const [now, then] = sides(left)
    expect(now).toBeGreaterThan(16)
    expect(then).toBe(0)
  })

  it('the list of a line waits for writes under way, which may fail; it is written there', () => {
    const pieces = (quirks: boolean): [number, number] => {
      const rig = rigOf(quirks)
      const { pblk } = rig
      const line = pblk.lines[0]!
      line.inflight++
      fill(rig, 0, 1100)
      expect(rig.wait(rig.flush())).toBe(0)
      const before = line.emeta_sync
      line.inflight--
      fill(rig, 1100, 200)
      expect(rig.wait(rig.flush())).toBe(0)
      return [before, line.emeta_sync]
    }
    expect(sides(pieces)).toEqual([
      [0, 4],
      [4, 4],
    ])
  })

  it('a device whose spare space is all metadata is refused; it is taken there', () => {
    const geometry = { ...TINY, chunks: 4, clba: 8, mwCunits: 4 }
    const made = (quirks: boolean): [number, string] => {
      const rig = new LnvmRig({ geometry, pblk: { quirks } })
      expect(rig.register()).toBe(0)
      return [rig.create({ type: 1, lun_begin: 0, lun_end: 3, op: 50 }), rig.complaints.join()]
    }
    const [now, then] = sides(made)
    expect(now).toEqual([-EINVAL, expect.stringContaining('the device is too small')])
    expect(then).toEqual([0, ''])
  })
})
