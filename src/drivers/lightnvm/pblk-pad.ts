// Padding in pblk: sectors that hold nothing, written so that a chunk can be read to its end, or closed. A part of
// drivers/lightnvm/pblk-recovery.c of Linux 4.19.
//
//   pblk_recov_pad_oob     the open line to its end, when an instance ends in order
//   pblk_pad_chunk         one chunk up to a sector, after a loss of power

import { printk, type Sleep } from '../../kernel/core.js'
import { submit_time } from '../../kernel/task.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { nvm_dev_dma_alloc } from './core.js'
import { NVM_OP_PWRITE, type nvm_rq, ppa_of } from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  type pblk,
  type pblk_line,
  pblk_ppa_to_t,
  set_oob_lba,
} from './pblk.js'
import {
  pblk_alloc_dma,
  pblk_alloc_rqd,
  pblk_calc_secs,
  pblk_down_page,
  pblk_free_rqd,
  pblk_io_over,
  pblk_log_write_err,
  pblk_map_invalidate,
  pblk_note_done,
  pblk_set_write_mode,
  pblk_submit_io,
  pblk_submit_io_sync,
  pblk_up_page,
  pblk_wait_for_io,
  pblk_was_done,
} from './pblk-core.js'
import { pblk_alloc_page } from './pblk-core-line.js'
import { set_emeta_lba } from './pblk-meta.js'

function pblk_end_io_recov(rqd: nvm_rq): void {
  const pblk = rqd.private as pblk
  const t = enter(pblk.k, 'pblk_end_io_recov')
  pblk_up_page(pblk, rqd.ppa_list[0])
  pblk_was_done(pblk, rqd)
  if (rqd.error !== 0) pblk_log_write_err(pblk, rqd)
  else pblk_note_done(pblk, rqd)
  pblk_free_rqd(pblk, rqd)
  pblk_io_over(pblk)
  leave(pblk.k, t)
}

/** The pages of a buffer of the kernel's own have moved. */
function pblk_bio_map_addr_endio(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_bio_map_addr_endio')
  const b = enter(pblk.k, 'bio_put')
  trace_call(pblk.k, 'bio_free')
  leave(pblk.k, b)
  leave(pblk.k, t)
}

/** One unit of padding in a line. */
function* pad_unit(pblk: pblk, line: pblk_line): Sleep<void> {
  const n = pblk.min_write_pgs
  const dma = nvm_dev_dma_alloc(pblk.dev.parent)
  const b = enter(pblk.k, 'pblk_bio_map_addr')
  trace_call(pblk.k, 'bio_alloc_bioset')
  for (let i = 0; i < n; i++) trace_call(pblk.k, 'bio_add_pc_page')
  leave(pblk.k, b)
  const rqd = pblk_alloc_rqd(pblk)
  rqd.dma = dma
  rqd.bio_end_io = () => pblk_bio_map_addr_endio(pblk)
  rqd.opcode = NVM_OP_PWRITE
  rqd.flags = pblk_set_write_mode(pblk)
  rqd.nr_ppas = n
  rqd.end_io = pblk_end_io_recov
  rqd.private = pblk
  const paddr = pblk_alloc_page(pblk, line, n)
  for (let i = 0; i < n; i++) {
    const ppa = addr_to_gen_ppa(pblk, paddr + i, line.id)
    rqd.ppa_list[i] = ppa
    rqd.pages[i] = pblk.pad_page
    set_oob_lba(pblk, rqd, i, ADDR_EMPTY)
    set_emeta_lba(pblk, line.meta!.emeta, paddr + i, ADDR_EMPTY)
    pblk_map_invalidate(pblk, pblk_ppa_to_t(pblk, ppa))
    yield* submit_time(pblk.k, n)
  }
  yield* pblk_down_page(pblk, rqd.ppa_list[0])
  if (pblk_submit_io(pblk, rqd) === 0) return
  pblk_up_page(pblk, rqd.ppa_list[0])
  pblk_free_rqd(pblk, rqd)
  printk(pblk.k, 'err', `pblk ${pblk.name}: padding could not be submitted`)
}

/** Fills a line up with padding. */
export function* pblk_recov_pad_oob(pblk: pblk, line: pblk_line): Sleep<void> {
  const t = enter(pblk.k, 'pblk_recov_pad_oob')
  while (line.left_msecs >= pblk.min_write_pgs) {
    pblk_calc_secs(pblk, line.left_msecs, 0)
    yield* pad_unit(pblk, line)
  }
  yield* pblk_wait_for_io(pblk)
  leave(pblk.k, t)
}

/** Writes padding to the chunk of a LUN, from sector `from` to `to` - 1. False: the device failed a write. */
export function* pblk_pad_chunk(
  pblk: pblk,
  line: pblk_line,
  pos: number,
  from: number,
  to: number,
): Sleep<boolean> {
  const { ch, lun } = pblk.luns[pos]
  const unit = pblk.geo.ws_opt
  for (let sec = from; sec < to; ) {
    const n = Math.min(unit - (sec % unit), to - sec)
    const rqd = pblk_alloc_rqd(pblk)
    pblk_alloc_dma(pblk, rqd)
    rqd.opcode = NVM_OP_PWRITE
    rqd.flags = pblk_set_write_mode(pblk)
    rqd.nr_ppas = n
    for (let i = 0; i < n; i++) {
      rqd.ppa_list[i] = ppa_of(ch, lun, line.id, sec + i)
      rqd.pages[i] = pblk.pad_page
      set_oob_lba(pblk, rqd, i, ADDR_EMPTY)
    }
    const failed = yield* pblk_submit_io_sync(pblk, rqd)
    const error = failed !== 0 || rqd.error !== 0
    if (error) pblk_log_write_err(pblk, rqd)
    pblk_free_rqd(pblk, rqd)
    if (error) return false
    pblk.recov_pads += n
    sec += n
  }
  return true
}
