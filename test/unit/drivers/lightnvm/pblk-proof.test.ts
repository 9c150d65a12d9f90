// The checkers of pblk find what is broken on purpose, and statements of "pblk" that take a closer look than pblk.test.ts:
// what is under way at once, what becomes of a chunk that fails, what an instance leaves to the next.

import { describe, expect, it } from 'vitest'
import { GEOMETRY_12 } from '../../../../src/device/ocssd/geometry.js'
import { test_bit } from '../../../../src/drivers/lightnvm/bitmap.js'
import { NVM_OP_PWRITE } from '../../../../src/drivers/lightnvm/lightnvm.js'
import * as P from '../../../../src/drivers/lightnvm/pblk.js'
import { pblk_check } from '../../../../src/drivers/lightnvm/pblk-check.js'
import { set_emeta_lba } from '../../../../src/drivers/lightnvm/pblk-meta.js'
import { pblk_rb_ring_space } from '../../../../src/drivers/lightnvm/pblk-rb.js'
import { TINY } from '../../device/ocssd/rig.js'
import { media_check } from './media-check.js'
import { LnvmRig, type LnvmRigOptions } from './rig.js'

const DATA = 12 * 2 ** 20

function rigOf(options: Partial<LnvmRigOptions> = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: TINY, ...options })
  expect(rig.register()).toBe(0)
  expect(rig.create()).toBe(0)
  return rig
}

/** Some 300 sectors written, most of them out of the ring; three were written twice. */
function lived(): LnvmRig {
  const rig = rigOf()
  for (let lba = 0; lba < 300; lba += 4) rig.wait(rig.write(lba, 4, DATA))
  rig.wait(rig.write(8, 3, DATA))
  rig.wait(rig.flush())
  for (let lba = 400; lba < 560; lba += 4) rig.wait(rig.write(lba, 4, DATA))
  rig.wait(rig.flush())
  return rig
}

describe('the checkers', () => {
  const rig = lived()
  const { pblk } = rig
  const all = (): string[] => [...pblk_check(pblk), ...media_check(rig)]
  const line = pblk.lines[0]!
  const [a, b] = [pblk.trans_map[20]!, pblk.trans_map[21]!]
  const { meta } = line

  /** What is changed, what is said, and how it is put right again. */
  const damage: [string, () => void, RegExp, () => void][] = [
    [
      'two entries of the L2P are exchanged',
      () => pblk.trans_map.set([b, a], 20),
      /line 0 has 21 where 20 should be[\s\S]*lba 20 means a sector of lba 21/,
      () => pblk.trans_map.set([a, b], 20),
    ],
    [
      'two sectors share a place',
      () => pblk.trans_map.set([a, a], 20),
      /lba 21 shares its place/,
      () => pblk.trans_map.set([a, b], 20),
    ],
    [
      'an entry of the L2P is lost',
      () => pblk.trans_map.set([pblk.addr_empty], 20),
      /line 0: \d+ valid sectors/,
      () => pblk.trans_map.set([a], 20),
    ],
    ['a valid count is too large', () => line.vsc++, /line 0: \d+ valid sectors/, () => line.vsc--],
    ['a valid count is too small', () => line.vsc--, /line 0: \d+ valid sectors/, () => line.vsc++],
    [
      'a valid sector is marked invalid',
      () => flip(),
      /lba 20 means an invalid sector/,
      () => flip(),
    ],
    [
      'the list of lbas has another one',
      () => set_emeta_lba(pblk, meta!.emeta, P.pblk_t_paddr(pblk, a), 77),
      /line 0 has 77 where 20 should be/,
      () => set_emeta_lba(pblk, meta!.emeta, P.pblk_t_paddr(pblk, a), 20),
    ],
    [
      'the out-of-band data have another lba',
      () => brand(77),
      /lba 20 means a sector of lba 77/,
      () => brand(20),
    ],
    [
      'free lines are counted wrong',
      () => pblk.l_mg.nr_free_lines++,
      /free lines are counted/,
      () => pblk.l_mg.nr_free_lines--,
    ],
    [
      'an entry of the ring is of another sector',
      () => pblk.rwb.lba.set([300], ring()),
      /means ring entry \d+ of 300/,
      () => pblk.rwb.lba.set([ringLba()], ring()),
    ],
  ]

  /** The bit of lba 20's place. */
  function flip(): void {
    const paddr = P.pblk_t_paddr(pblk, a)
    line.invalid_bitmap![paddr >>> 5]! ^= 1 << (paddr & 31)
  }

  /** Writes an lba into the out-of-band data of lba 20's place, as nobody may. */
  function brand(lba: number): void {
    const { store } = rig.device
    const { num_ch } = pblk.geo
    const pos = P.pblk_t_pos(pblk, a)
    const unit = (pos % num_ch) * pblk.geo.num_lun + Math.floor(pos / num_ch)
    const chunk = unit * pblk.geo.num_chk + line.id
    const mem = new Uint32Array(1028)
    const sector = P.pblk_t_sec(pblk, a)
    store.read(chunk, sector, mem, 0, 1024)
    mem[1026] = lba
    store.write(chunk, sector, mem, 0, 1024)
  }

  /** The last entry of the ring, and whose it is. */
  function ring(): number {
    return (pblk.rwb.mem - 1) & (pblk.rwb.nr_entries - 1)
  }

  function ringLba(): number {
    return pblk.trans_map.indexOf(pblk.cached_base + ring())
  }

  it.each(damage)('%s', (_, harm, says, mend) => {
    expect(all()).toEqual([])
    harm()
    expect(all().join('\n')).toMatch(says)
    mend()
    expect(all()).toEqual([])
  })
})

describe('pblk: statements, more closely', () => {
  it('pblk 15.4: room in the ring, and where bios are split', () => {
    const rig = rigOf({ pblk: { quirks: true } })
    const { rwb } = rig.pblk
    const space = (mem: number): number => pblk_rb_ring_space(rwb, mem, 0)
    expect([space(0), space(10), space(127)]).toEqual([127, 117, 0])
    const taken: number[] = []
    let n = rwb.taken
    Object.defineProperty(rwb, 'taken', {
      get: () => n,
      set: to => {
        taken.push(to - n)
        n = to
      },
    })
    expect(rig.wait(rig.write(0, 64, DATA))).toBe(0)
    expect(taken.splice(0)).toEqual([64])
    expect(rig.wait(rig.write(100, 65, DATA))).toBe(0)
    expect(taken).toEqual([64, 1])
  })

  it('pblk 15.11: 1024 sectors are written of the first line', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 1016 + 64; lba += 8) rig.wait(rig.write(lba, 8, DATA))
    rig.rest(100)
    const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
    const first = rig.log.filter(
      one =>
        one.op === NVM_OP_PWRITE &&
        rig.device.format.place(one.addresses[0]!, place) &&
        place.chunk === 0,
    )
    const sizes = first.map(one => [one.lba === null, one.addresses.length])
    expect(sizes.filter(([meta]) => meta)).toEqual([
      [true, 4],
      [true, 4],
    ])
    expect(sizes.filter(([meta, n]) => !meta && n === 4).length).toBe(254)
  })

  it('pblk 15.12: a write of data to a LUN begins when the last one there has ended', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 800; lba += 8) rig.wait(rig.write(lba, 8, DATA))
    const ends = new Map<string, number>()
    let waited = 0
    for (const { op, addresses, lba, at, due } of rig.log) {
      if (op !== NVM_OP_PWRITE || lba === null) continue
      const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
      rig.device.format.place(addresses[0]!, place)
      const lun = `${place.group},${place.pu}`
      expect(at).toBeGreaterThanOrEqual(ends.get(lun) ?? 0)
      if (at - (ends.get(lun) ?? 0) < 50_000) waited++
      ends.set(lun, due)
    }
    expect([ends.size, waited > 20]).toEqual([4, true])
  })

  it('pblk 15.17: data with PREFLUSH end when they are persisted, and not before', () => {
    const rig = rigOf()
    const { rwb } = rig.pblk
    rig.write(3, 1, DATA)
    const io = rig.write(4, 1, DATA, true)
    rig.until(() => io.done)
    expect([rwb.synced >= 2, rwb.sync]).toEqual([true, 2])
    const [write] = rig.log.filter(one => one.lba !== null)
    expect(rig.vk.ns).toBeGreaterThanOrEqual(write!.due)
  })

  it('pblk 15.18: what is left of a chunk that failed is invalid, its line waits for the collector', () => {
    const rig = rigOf()
    const { pblk, device } = rig
    // group 1, PU 0, chunk 0: position 1 of the first line
    device.faults.failWrites(64, 8)
    const line = pblk.lines[0]!
    let werr = 0
    for (let lba = 0; lba < 1300; lba++) {
      expect(rig.wait(rig.write(lba, 1, DATA))).toBe(0)
      werr = Math.max(werr, pblk.rl.werr_lines)
      if (pblk.l_mg.gc_werr_list.has(line) && line.invalid_bitmap !== null)
        for (let sec = 8; sec < 256; sec++)
          expect(test_bit(line.invalid_bitmap, P.pblk_paddr_of(pblk, 1, sec))).toBe(true)
    }
    rig.rest(10_000)
    expect([werr, pblk.rl.werr_lines, pblk_check(pblk), media_check(rig)]).toEqual([1, 0, [], []])
  })

  it('pblk 15.19: counters go on as the last closed line has them', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 1500; lba += 5) rig.wait(rig.write(lba, 5, DATA, lba % 3 === 0))
    const last = rig.pblk
    expect(rig.remove()).toBe(0)
    expect(rig.create({ flags: 0 })).toBe(0)
    const counts = ({ user_wa, gc_wa, pad_wa }: P.pblk): number[] => [user_wa, gc_wa, pad_wa]
    expect(counts(rig.pblk)).toEqual(counts(last))
    expect(rig.pblk.pad_wa).toBeGreaterThan(0)
  })
})

it('a write that a reset sends again fails on a device of 1.2, gives its chunk up, and loses nothing', () => {
  let writes = 0
  const rig = rigOf({
    geometry: { ...GEOMETRY_12, clba: 2 * 4 * 32, chunks: 32 },
    resent: ({ opcode }) => (opcode === NVM_OP_PWRITE && ++writes === 20 ? 'done' : null),
  })
  const { pblk } = rig
  let given_up = 0
  for (let lba = 0; lba < 600; lba++) {
    rig.mem.words.fill(lba + 1, DATA / 4, DATA / 4 + 1024)
    expect(rig.wait(rig.write(lba, 1, DATA))).toBe(0)
    given_up = Math.max(given_up, pblk.lines.filter(line => line.has_write_err).length)
  }
  expect(rig.wait(rig.flush())).toBe(0)
  expect([pblk.write_failed, given_up, pblk_check(pblk)]).toEqual([1, 1, []])
  const there = Array.from({ length: 600 }, (_, lba) => {
    expect(rig.wait(rig.read(lba, 1, DATA))).toBe(0)
    return rig.mem.words[DATA / 4 + 1]
  })
  expect(there).toEqual(Array.from({ length: 600 }, (_, lba) => lba + 1))
})
