// The attributes of a pblk in sysfs: what they count, in which words, and what may be written to them. Numbers are those of
// the statements and observed runs of "pblk".

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PB_WRITER_SLEEPS, PBW_CORE, PBW_TASK } from '../../../../assembly/layout.js'
import { GEOMETRY_12 } from '../../../../src/device/ocssd/geometry.js'
import { pblk_rl_update_rates } from '../../../../src/drivers/lightnvm/pblk-rl.js'
import { pblk_sysfs, pblk_sysfs_show } from '../../../../src/drivers/lightnvm/pblk-sysfs.js'
import { pblk_sysfs_store } from '../../../../src/drivers/lightnvm/pblk-sysfs.js'
import { EACCES, EINVAL, ENOENT } from '../../../../src/kernel/errno.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig, type LnvmRigOptions } from './rig.js'

const DATA = 12 * 2 ** 20

function rigOf(options: Partial<LnvmRigOptions> = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: TINY, ...options })
  expect([rig.register(), rig.create()]).toEqual([0, 0])
  return rig
}

const show = (rig: LnvmRig, name: string): string | number => pblk_sysfs_show(rig.pblk, name)
const store = (rig: LnvmRig, name: string, page: string): number =>
  pblk_sysfs_store(rig.pblk, name, page)

/** Writes each of these sectors in a bio of its own. */
function write(rig: LnvmRig, from: number, n: number): void {
  for (let i = 0; i < n; i++) expect(rig.wait(rig.write(from + i, 1, DATA))).toBe(0)
}

describe('pblk 13: write amplification and padding', () => {
  it('an observed run: seven sectors of a user, one of padding, two flushes', () => {
    const rig = rigOf()
    expect(show(rig, 'write_amp_mileage')).toBe('user:0 gc:0 pad:0 WA:NaN\n')
    expect(show(rig, 'padding_dist')).toBe('0:0 1:0 2:0 3:0 \n')
    write(rig, 0, 4)
    rig.rest(10)
    rig.wait(rig.flush())
    write(rig, 4, 3)
    rig.wait(rig.flush())
    for (const name of ['write_amp_mileage', 'write_amp_trip'])
      expect(show(rig, name)).toBe('user:7 gc:0 pad:1 WA:1.14285\n')
    expect(show(rig, 'padding_dist')).toBe('0:50% 1:50% 2:0% 3:0% \n')
  })

  it('a 0 begins a trip and a distribution; the mileage goes on', () => {
    const rig = rigOf()
    write(rig, 0, 7)
    rig.wait(rig.flush())
    expect([store(rig, 'write_amp_trip', '0\n'), store(rig, 'padding_dist', '0x0\n')]).toEqual([
      2, 4,
    ])
    expect(show(rig, 'write_amp_trip')).toBe('user:0 gc:0 pad:0 WA:NaN\n')
    expect(show(rig, 'padding_dist')).toBe('0:0 1:0 2:0 3:0 \n')
    for (const sectors of [2, 4, 2]) {
      write(rig, 100, sectors)
      rig.wait(rig.flush())
    }
    expect(show(rig, 'write_amp_trip')).toBe('user:8 gc:0 pad:4 WA:1.50000\n')
    expect(show(rig, 'write_amp_mileage')).toBe('user:15 gc:0 pad:5 WA:1.33333\n')
    expect(show(rig, 'padding_dist')).toBe('0:33% 1:0% 2:66% 3:0% \n')
  })

  it('the collector counts the sectors that it moves, and all of them', () => {
    const rig = rigOf()
    const { pblk } = rig
    // line 0 is full of the first 1016, of which 600 are written again: 416 are left to move
    for (const end of [1016, 600])
      for (let lba = 0; lba < end; lba += 32)
        rig.wait(rig.write(lba, Math.min(32, end - lba), DATA))
    rig.wait(rig.flush())
    expect(show(rig, 'write_amp_mileage')).toBe('user:1616 gc:0 pad:0 WA:1.00000\n')
    expect(show(rig, 'lines')).toContain(
      'GC: full:0, high:0, mid:1, low:0, empty:0, werr: 0, queue:0',
    )
    pblk.rl.high = 1000
    pblk_rl_update_rates(pblk)
    expect(rig.until(() => pblk.gc_wa > 0 && pblk.l_mg.nr_free_lines === 30)).toBe(true)
    const { pad_wa: pad } = pblk
    const wa = Math.floor(((1616 + 416 + pad) * 1e5) / 1616)
    expect(show(rig, 'write_amp_mileage')).toBe(
      `user:1616 gc:416 pad:${pad} WA:1.${String(wa - 1e5).padStart(5, '0')}\n`,
    )
    expect(pad).toBeLessThan(4)
  })

  it('the next instance goes on with the mileage, and begins a trip', () => {
    const rig = rigOf()
    write(rig, 0, 7)
    rig.wait(rig.flush())
    expect([rig.remove(), rig.create({ flags: 0 })]).toEqual([0, 0])
    expect(show(rig, 'write_amp_mileage')).toBe('user:7 gc:0 pad:1 WA:1.14285\n')
    expect(show(rig, 'write_amp_trip')).toBe('user:0 gc:0 pad:0 WA:NaN\n')
  })

  it('five decimals, cut off', () => {
    const rig = rigOf()
    const { pblk } = rig
    const count = fc.nat(2 ** 40)
    fc.assert(
      fc.property(count, count, count, (user, gc, pad) => {
        pblk.user_wa = user + 1
        pblk.gc_wa = gc
        pblk.pad_wa = pad
        const text = String(show(rig, 'write_amp_mileage'))
        const [, whole, part] = /^user:\d+ gc:\d+ pad:\d+ WA:(\d+)\.(\d{5})\n$/.exec(text)!
        const wa = BigInt(whole!) * 100000n + BigInt(part!)
        const all = BigInt(user + 1 + gc + pad) * 100000n
        const rest = all - wa * BigInt(user + 1)
        expect(rest >= 0n && rest < BigInt(user + 1)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })
})

describe('pblk 13: max_sec_per_write', () => {
  it('is no other number, and no text', () => {
    const rig = rigOf()
    for (const text of ['0', '3', '5', '20', '-4', '+-4', 'four', '4 ', '', '4294967300'])
      expect([text, store(rig, 'max_sec_per_write', `${text}\n`)]).toEqual([text, -EINVAL])
    expect(show(rig, 'max_sec_per_write')).toBe('4\n')
  })

  it('is whole write units, one on each LUN at most; a text ends with a newline', () => {
    const rig = rigOf()
    for (const n of [8, 12, 16, 4]) {
      expect(store(rig, 'max_sec_per_write', `${n}\n`)).toBe(`${n}\n`.length)
      expect(show(rig, 'max_sec_per_write')).toBe(`${n}\n`)
    }
    expect(store(rig, 'max_sec_per_write', '16')).toBe(-EINVAL)
    expect(store(rig, 'max_sec_per_write', '0x10\n')).toBe(5)
    expect(show(rig, 'max_sec_per_write')).toBe('16\n')
  })

  it('is what one command writes, where so much is there', () => {
    const rig = rigOf()
    const sizes = (): number[] => {
      const all = rig.log.map(({ addresses }) => addresses.length)
      rig.log.length = 0
      return all
    }
    sizes()
    rig.wait(rig.write(0, 16, DATA))
    rig.rest(10)
    expect(sizes()).toEqual([4, 4, 4, 4])
    rig.pblk.shared.put(PB_WRITER_SLEEPS, PBW_CORE)
    store(rig, 'max_sec_per_write', '16\n')
    // the core writes one unit at a time, so that the task has to
    expect(rig.pblk.shared.peek(PB_WRITER_SLEEPS)).toBe(PBW_TASK)
    rig.mem.words.fill(77, DATA / 4, DATA / 4 + 40 * 1024)
    rig.wait(rig.write(16, 16, DATA))
    rig.rest(10)
    expect(sizes()).toEqual([16])
    rig.wait(rig.write(32, 25, DATA))
    rig.wait(rig.flush())
    expect(sizes()).toEqual([16, 8, 4])
    expect(show(rig, 'padding_dist')).toBe('0:0% 1:0% 2:0% 3:100% \n')
    // a ring's length later, what was written so comes from the media
    for (let i = 0; i < 10; i++) rig.wait(rig.write(200, 16, DATA + 2 ** 19))
    rig.rest(10)
    sizes()
    rig.wait(rig.read(16, 16, DATA + 2 ** 20))
    expect(sizes()).toEqual([16])
    const to = (DATA + 2 ** 20) / 4
    expect(rig.mem.words.subarray(to, to + 16 * 1024).every(word => word === 77)).toBe(true)
  })
})

describe('pblk 13: the other attributes', () => {
  it('of a new instance on T20', () => {
    const rig = rigOf()
    const texts = pblk_sysfs.attributes
      .filter(({ readable, name }) => readable && !/^write_amp|^padding|^max/.test(name))
      .map(({ name }) => [name, show(rig, name)])
    expect(Object.fromEntries(texts)).toEqual({
      write_luns: [
        'pblk: pos:0, ch:0, lun:0 - 0\n',
        'pblk: pos:1, ch:1, lun:0 - 0\n',
        'pblk: pos:2, ch:0, lun:1 - 0\n',
        'pblk: pos:3, ch:1, lun:1 - 0\n',
      ].join(''),
      rate_limiter: 'u:0/128,gc:0/0(0)(stop:<128,full:>35,free:124/124/128)-0\n',
      errors:
        'read_failed=0, read_high_ecc=0, read_empty=0, read_failed_gc=0, write_failed=0, erase_failed=0\n',
      gc_state: 'gc_enabled=1, gc_active=0\n',
      write_buffer: '128\t0\t0\t0\t0\t0\tNULL - 0/127/0 - 0\n',
      ppa_format:
        'pblk:(s:15)ch:8/1,lun:9/1,chk:10/5/sec:0/8\ndevice:ch:14/1,lun:13/1,chk:8/5,sec:0/8\n',
      lines: [
        'line: nluns:4, nblks:4, nsecs:1024\n',
        'lines:d:0,l:-1-f:30,m:0/1,c:0,b:0,co:0(d:0,l:0)t:32\n',
        'GC: full:0, high:0, mid:0, low:0, empty:0, werr: 0, queue:0\n',
        'data (0) cur:4, left:1016, vsc:1016, s:1016, map:4/1024 (0)\n',
      ].join(''),
      lines_info: [
        'smeta - len:16384, secs:4\n',
        'emeta - len:16384, sec:4, bb_start:3\n',
        'bitmap lengths: sec:128, blk:8, lun:8\n',
        'blk_line:4, sec_line:1024, sec_blk:256\n',
      ].join(''),
    })
  })

  it('while writes are under way', () => {
    const rig = rigOf()
    for (let lba = 0; lba < 11; lba++) rig.write(lba, 1, DATA)
    rig.until(() => rig.pblk.rwb.subm === 8)
    const flush = rig.flush()
    expect(show(rig, 'write_buffer')).toBe('128\t11\t8\t0\t0\t0\t10 - 3/116/3 - 0\n')
    expect(show(rig, 'write_luns')).toMatch(/^pblk: pos:0.* - 0\n.*pos:1.* - 1\n.*pos:2.* - 1\n/)
    expect(show(rig, 'rate_limiter')).toMatch(/^u:11\/128,gc:0\/0\(0\).*-1\n$/)
    rig.wait(flush)
    expect(show(rig, 'write_buffer')).toBe('128\t11\t11\t11\t0\t0\tNULL - 0/127/0 - 0\n')
  })

  it('of revision 1.2: planes and pages', () => {
    const rig = rigOf({ geometry: GEOMETRY_12, memory: 64 * 2 ** 20 })
    const { addrf } = rig.pblk.geo
    const field = (name: string, { offset, len }: { offset: number; len: number }): string =>
      `${name}:${offset}/${len}`
    const text = String(show(rig, 'ppa_format'))
    expect(text).toMatch(
      /^g:\(b:\d+\)blk:\d+\/\d+,pg:\d+\/\d+,lun:\d+\/\d+,ch:\d+\/\d+,pl:\d+\/\d+,sec:0\/\d+\nd:/,
    )
    const { chk, pg, lun, ch, pln, sec } = addrf
    const upper = [field('blk', chk), field('pg', pg), field('lun', lun), field('ch', ch)]
    expect(text).toContain(`d:${[...upper, field('pl', pln), field('sec', sec)].join(',')}\n`)
  })

  it('pblk 11: gc_force', () => {
    const rig = rigOf()
    const forced = (page: string): unknown[] => [
      store(rig, 'gc_force', page),
      show(rig, 'gc_state'),
    ]
    expect(forced('1\n')).toEqual([2, 'gc_enabled=1, gc_active=1\n'])
    expect(forced('7\n')).toEqual([2, 'gc_enabled=1, gc_active=1\n'])
    expect(forced('yes\n')).toEqual([-EINVAL, 'gc_enabled=1, gc_active=1\n'])
    expect(forced('0\n')).toEqual([2, 'gc_enabled=0, gc_active=0\n'])
  })

  it('what cannot be read, written, or is not there', () => {
    const rig = rigOf()
    const { pblk } = rig
    for (const { name, readable, writable } of pblk_sysfs.attributes) {
      expect(typeof show(rig, name)).toBe(readable ? 'string' : 'number')
      expect(store(rig, name, '1\n') === -EACCES).toBe(!writable)
    }
    expect(show(rig, 'gc_force')).toBe(-EACCES)
    for (const name of ['write_amp_trip', 'padding_dist'])
      for (const page of ['1\n', 'x\n', '0'])
        expect([name, page, store(rig, name, page)]).toEqual([name, page, -EINVAL])
    expect([show(rig, 'stats'), store(rig, 'stats', '0\n')]).toEqual([-ENOENT, -ENOENT])
    rig.remove()
    expect(pblk_sysfs_show(pblk, 'lines')).toBe(-ENOENT)
  })
})
