// What the media of a device hold, beside what an instance of pblk knows: the reverse map in the out-of-band data, and what
// was under way at a moment.

import { nvm_ppa_tgt_to_dev } from '../../../../src/drivers/lightnvm/core.js'
import { NVM_OP_ERASE, NVM_OP_PWRITE } from '../../../../src/drivers/lightnvm/lightnvm.js'
import {
  pblk_addr_in_cache,
  pblk_ppa_empty,
  pblk_t_line,
  pblk_t_pos,
  pblk_t_sec,
  pblk_t_to_ppa,
} from '../../../../src/drivers/lightnvm/pblk.js'
import type { LnvmRig } from './rig.js'

const oob = new Uint32Array(4)
const address = new Float64Array(1)

/** The lba beside a sector of the device. */
function oob_lba(rig: LnvmRig, ppa: number): number {
  const { device } = rig
  const { pus, chunks } = device.geometry
  const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
  address[0] = ppa
  nvm_ppa_tgt_to_dev(rig.pblk.dev, address, 1)
  device.format.place(address[0]!, place)
  const chunk = (place.group * pus + place.pu) * chunks + place.chunk
  device.store.readOob(chunk, place.sector, oob, 0)
  return oob[2]! + oob[3]! * 2 ** 32
}

/** Sectors that the L2P has on the media, and whose writes have ended, with another lba beside them. */
export function media_check(rig: LnvmRig): string[] {
  const problems: string[] = []
  const { pblk } = rig
  for (let lba = 0; lba < pblk.trans_map.length && problems.length < 5; lba++) {
    const t = pblk.trans_map[lba]!
    if (pblk_ppa_empty(pblk, t) || pblk_addr_in_cache(pblk, t)) continue
    if (pblk_t_line(pblk, t).done[pblk_t_pos(pblk, t)]! <= pblk_t_sec(pblk, t)) continue
    const there = oob_lba(rig, pblk_t_to_ppa(pblk, t))
    if (there !== lba) problems.push(`lba ${lba} means a sector of lba ${there}`)
  }
  return problems
}

/** What a command is for. */
type Kind = 'data' | 'meta' | 'erase' | 'read'
export type Moment = 'nothing' | 'collecting' | Kind | `${Kind} in recovery`

/** What is under way now. `making`: an instance is being made from what is there. */
export function moments_of(rig: LnvmRig, making: boolean): Moment[] {
  const under_way = rig.log.filter(one => one.due > rig.vk.ns)
  const collecting = !making && rig.dev.targets.length > 0 && rig.pblk.gc.in_hand > 0
  if (under_way.length === 0) return [collecting ? 'collecting' : 'nothing']
  const kinds = under_way.map(({ op, lba }): Moment => {
    const kind: Kind =
      op === NVM_OP_ERASE ? 'erase' : op !== NVM_OP_PWRITE ? 'read' : lba === null ? 'meta' : 'data'
    return making ? `${kind} in recovery` : kind
  })
  return collecting ? ['collecting', ...kinds] : kinds
}
