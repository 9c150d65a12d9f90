// What pblk's half in the core (assembly/pblk.ts) and this one have to do with each other:
//
//   pblk_share     an instance is there: what the core must know of it, if it may work on it at all
//   pblk_answer    the core has found something to do that is not its own
//   pblk_vector    a command of the core has ended badly: it becomes a request like any other
//
// Only instances on devices of revision 2.0 whose addresses fit into 31 bits, and without quirks.

import * as L from '../../../assembly/layout.js'
import { waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import { nvm_ppa_tgt_to_dev } from './core.js'
import {
  NVM_OP_PREAD,
  NVM_OP_PWRITE,
  type nvm_rq,
  OOB_BYTES,
  ppa_of,
  type tgt_bio,
} from './lightnvm.js'
import { up } from '../../kernel/semaphore.js'
import { type pblk, pblk_ppa_to_pos, pblk_t_to_ppa } from './pblk.js'
import { pblk_alloc_dma, pblk_alloc_rqd, pblk_wake_writer } from './pblk-core.js'
import { __pblk_line_put } from './pblk-line-free.js'
import { move_to, pblk_line_gc_list } from './pblk-line-list.js'
import { lba_room } from './pblk-meta.js'
import { pblk_rb_synced } from './pblk-rb.js'
import { pblk_end_io_read, type r_private } from './pblk-read.js'
import { pblk_rl_user_timer } from './pblk-rl.js'
import { pblk_end_io_write, pblk_erase_beside, type w_private } from './pblk-write.js'

/** Records of the units: what an address of the device has in its place for each channel and LUN. */
function share_units(pblk: pblk, at: number, units: number): void {
  const { words } = pblk.memory
  const { num_ch, num_lun } = pblk.geo
  for (let unit = 0; unit < units; unit++) {
    const ppa = pblk_t_to_ppa(pblk, unit * pblk.t_ch)
    const pos = pblk_ppa_to_pos(pblk, ppa)
    const [ch, lun] = [pos % num_ch, Math.floor(pos / num_ch)]
    if (lun >= num_lun || unit * pblk.t_ch !== ch * pblk.t_ch + lun * pblk.t_lun) continue
    const list = Float64Array.of(ppa_of(ch, lun, 0, 0))
    nvm_ppa_tgt_to_dev(pblk.dev, list, 1)
    const record = (at + unit * L.PU_SIZE) / 4
    words[record] = list[0] % 2 ** 32
    words[record + 1] = Math.floor(list[0] / 2 ** 32)
    words[record + L.PU_POS / 4] = pos
  }
}

/** Tells the core of a new instance. @returns its block, 0 when all is TypeScript's */
export function pblk_share(pblk: pblk): number {
  const { geo, dev, shared, lm } = pblk
  const queue = dev.parent.ops.core_queue?.(dev.parent) ?? null
  const small = pblk.cached_base === 2 ** 31
  if (queue === null || geo.version !== 20 || !small || pblk.quirks || geo.num_lun < 0) return 0
  const units = pblk.t_line / pblk.t_ch
  pblk.units = pblk.memory.alloc(units * L.PU_SIZE)
  share_units(pblk, pblk.units, units)
  const { chk } = dev.parent.geo!.addrf
  const fields: readonly [number, number][] = [
    [L.PB_L2P, pblk.trans_map.byteOffset],
    [L.PB_NR_SECS, pblk.rl.nr_secs],
    [L.PB_SEC_BITS, Math.log2(pblk.t_ch)],
    [L.PB_UNIT_BITS, Math.log2(units)],
    [L.PB_UNITS, pblk.units],
    [L.PB_LINES, pblk.lines[0].at],
    [L.PB_LINE_BYTES, pblk.lines.length > 1 ? pblk.lines[1].at - pblk.lines[0].at : 0],
    [L.PB_WS_OPT, geo.ws_opt],
    [L.PB_LUNS, lm.blk_per_line],
    [L.PB_CLBA, geo.clba],
    [L.PB_MW_CUNITS, geo.mw_cunits],
    [L.PB_HIGH_THRS, lm.high_thrs],
    [L.PB_MID_THRS, lm.mid_thrs],
    [L.PB_NVME_Q, queue.q],
    [L.PB_NSID, queue.nsid],
    [L.PB_CHUNK_SHIFT, chk.offset],
    [L.PB_CHUNK_BITS, chk.len],
    [L.PB_CH_BITS, Math.log2(pblk.t_lun / pblk.t_ch)],
    [L.PB_NUM_CH, geo.num_ch],
    [L.PB_SEC_PER_LINE, lm.sec_per_line],
    [L.PB_LBA_ROOM, lba_room(pblk)],
  ]
  for (const [field, value] of fields) shared.put(field, value)
  return shared.at
}

/** HB_PBLK_*. `n`: a line, or a LUN. */
export function pblk_answer(pblk: pblk, what: number, n: number): void {
  switch (what) {
    case L.HB_PBLK_OVER:
      if (waitqueue_active(pblk.io_wait)) wake_up_all(pblk.io_wait)
      break
    case L.HB_PBLK_LINE_PUT:
      __pblk_line_put(pblk, pblk.lines[n])
      break
    case L.HB_PBLK_GROUP:
      move_to(pblk.lines[n], pblk_line_gc_list(pblk, pblk.lines[n]))
      break
    case L.HB_PBLK_USER_IN:
      pblk_rl_user_timer(pblk)
      break
    case L.HB_PBLK_KICK:
      pblk_wake_writer(pblk)
      break
    case L.HB_PBLK_UP:
      up(pblk.luns[n].wr_sem)
      break
    case L.HB_PBLK_ERASE:
      pblk_erase_beside(pblk, n)
      break
    case L.HB_PBLK_SYNC:
      pblk_rb_synced(pblk)
  }
}

/** The request of a command of the core, as it was when it ended. `slot`: VS_*; `bio`: the user's, of a read. */
export function pblk_vector(pblk: pblk, slot: number, bio: tgt_bio): nvm_rq {
  const { words, bytes } = pblk.memory
  const write = words[(slot + L.VS_KIND) / 4] === L.VSK_WRITE
  const rqd = pblk_alloc_rqd(pblk)
  pblk_alloc_dma(pblk, rqd)
  const n = words[(slot + L.VS_N) / 4]
  const lba = words[(slot + L.VS_LBA) / 4]
  bytes.copyWithin(rqd.dma, slot + L.VS_OOB, slot + L.VS_OOB + n * OOB_BYTES)
  rqd.opcode = write ? NVM_OP_PWRITE : NVM_OP_PREAD
  rqd.nr_ppas = n
  for (let i = 0; i < n; i++) {
    const at = (slot + L.VS_PPAS) / 4 + 2 * i
    rqd.ppa_list[i] = words[at] + words[at + 1] * 2 ** 32
    rqd.lbas[i] = lba + i
  }
  rqd.dev = pblk.dev.parent
  rqd.bio = 0
  if (write) {
    const lun_bitmap = new Uint8Array(pblk.geo.all_luns)
    lun_bitmap[words[(slot + L.VS_POS) / 4]] = 1
    const ctx = { sentry: words[(slot + L.VS_SENTRY) / 4], nr_valid: n, nr_padded: 0, lun_bitmap }
    rqd.end_io = pblk_end_io_write
    rqd.private = { pblk, ctx } satisfies w_private
  } else {
    const parts = { bio, left: 1, status: 0 }
    rqd.end_io = pblk_end_io_read
    rqd.private = { pblk, parts } satisfies r_private
  }
  return rqd
}
