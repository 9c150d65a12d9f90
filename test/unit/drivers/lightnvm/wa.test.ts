// Write amplification of pblk under uniform overwrite: it falls as the spare space grows.

import { describe, expect, it } from 'vitest'
import { Prng } from '../../../../src/core/prng.js'
import { TINY } from '../../device/ocssd/rig.js'
import { LnvmRig } from './rig.js'

const DATA = 4 * 2 ** 20

function amplification(op: number): number {
  const rig = new LnvmRig({
    geometry: { ...TINY, chunks: 40, clba: 64, mwCunits: 4 },
    memory: 24 * 2 ** 20,
    channel: false,
  })
  rig.register()
  expect(rig.create({ type: 1, lun_begin: 0xffff, lun_end: 0xffff, op })).toBe(0)
  const { pblk } = rig
  const prng = new Prng(op)
  for (let lba = 0; lba < pblk.capacity; lba += 8)
    rig.wait(rig.write(lba, Math.min(8, pblk.capacity - lba), DATA))
  for (let i = 0; i < pblk.capacity; i++) rig.wait(rig.write(prng.below(pblk.capacity), 1, DATA))
  const { user_wa, gc_wa } = pblk
  for (let i = 0; i < pblk.capacity; i++) rig.wait(rig.write(prng.below(pblk.capacity), 1, DATA))
  return 1 + (pblk.gc_wa - gc_wa) / (pblk.user_wa - user_wa)
}

describe('write amplification', () => {
  it('falls as spare space grows', () => {
    const [little, much] = [40, 70].map(amplification)
    expect(little).toBeGreaterThan(much)
    expect(much).toBeGreaterThanOrEqual(1)
  })
})
