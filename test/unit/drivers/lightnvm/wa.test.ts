// Write amplification of pblk under uniform overwrite, and what the collector takes in hand.

import { describe, expect, it } from 'vitest'
import { Prng } from '../../../../src/core/prng.js'
import { PBLK_LINESTATE_GC, type pblk } from '../../../../src/drivers/lightnvm/pblk.js'
import { fifoAmplification, popularity } from '../../../../src/workload/write-amp.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig } from './rig.js'

const DATA = 4 * 2 ** 20

function filled(geometry: object, op: number, quirks = false): LnvmRig {
  const rig = new LnvmRig({
    geometry: { ...TINY, ...geometry },
    memory: 48 * 2 ** 20,
    channel: false,
    pblk: { quirks },
  })
  rig.register()
  expect(rig.create({ type: 1, lun_begin: 0xffff, lun_end: 0xffff, op })).toBe(0)
  const { capacity } = rig.pblk
  for (let lba = 0; lba < capacity; lba += 8)
    rig.wait(rig.write(lba, Math.min(8, capacity - lba), DATA))
  return rig
}

function overwrite(rig: LnvmRig, count: number, prng: Prng, look = (): void => {}): void {
  const { pblk } = rig
  for (let i = 0; i < count; i++) {
    rig.wait(rig.write(prng.below(pblk.capacity), 1, DATA))
    look()
  }
}

function collected({ lines }: pblk): number {
  return lines.filter(line => line.state === PBLK_LINESTATE_GC).length
}

/** The factor, and that of a FIFO log over the lines that are neither free nor open. */
function amplification(op: number): { measured: number; curve: number } {
  const rig = filled({ chunks: 40, clba: 64, mwCunits: 4 }, op)
  const { pblk } = rig
  const prng = new Prng(op)
  overwrite(rig, pblk.capacity, prng)
  const { user_wa, gc_wa } = pblk
  overwrite(rig, pblk.capacity, prng)
  const measured = 1 + (pblk.gc_wa - gc_wa) / (pblk.user_wa - user_wa)
  const { lm, rl, lines, capacity } = pblk
  const inUse = lines.length - rl.free_user_blocks / lm.blk_per_line - 1
  const places = inUse * (lm.sec_per_line - lm.smeta_sec - lm.emeta_sec)
  return { measured, curve: fifoAmplification(places, capacity, popularity('random', capacity)) }
}

describe('write amplification', () => {
  it('falls as spare space grows, along the curve of the lines in use', () => {
    const [little, much] = [30, 60].map(amplification)
    expect(little.measured).toBeGreaterThan(much.measured)
    for (const { measured, curve } of [little, much]) {
      expect(measured / curve).toBeGreaterThan(0.75)
      expect(measured / curve).toBeLessThan(1.3)
    }
  })

  it('comes from four victims at most in hand, each with the fewest valid sectors; 4.19 takes what it gets', () => {
    const most = (quirks: boolean): number => {
      const rig = filled({ chunks: 40, clba: 64, mwCunits: 4 }, 40, quirks)
      let seen = 0
      overwrite(rig, 3000, new Prng(3), () => {
        seen = Math.max(seen, collected(rig.pblk))
      })
      expect(rig.pblk.gc_wa).toBeGreaterThan(0)
      return seen
    }
    expect(most(false)).toBeLessThanOrEqual(4)
    expect(most(true)).toBeGreaterThan(4)
  })

  it('the collector goes on where the ring keeps most of itself for a device with a cache', () => {
    // a ring of 256 of which 192 stay for reads: 64 sectors at once would never fit beside a tail of less than a write unit
    const eight = { groups: 2, pus: 4, chunks: 48, clba: 64, wsOpt: 8, mwCunits: 24 }
    const rig = filled(eight, 40)
    expect(rig.pblk.rl.rb_max_io).toBeLessThan(rig.pblk.max_write_pgs)
    overwrite(rig, 4000, new Prng(1))
    expect(rig.pblk.gc_wa).toBeGreaterThan(1000)
  })
})
