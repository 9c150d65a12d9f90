// What pblk writes and reads of whole lines by itself: smeta, emeta, erases. A part of drivers/lightnvm/pblk-core.c of
// Linux 4.19.

import { PB_WATCH } from '../../../assembly/layout.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { wait_event, waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct } from '../../kernel/workqueue-structs.js'
import { nvm_set_tgt_bb_tbl } from './core.js'
import {
  NVM_BLK_T_GRWN_BAD,
  NVM_OP_PREAD,
  NVM_OP_PWRITE,
  type nvm_rq,
  NVM_RSP_WARN_HIGHECC,
  ppa_chk,
} from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  type pblk,
  type pblk_line,
  pblk_paddr_pos,
  pblk_ppa_to_pos,
  set_oob_lba,
} from './pblk.js'
import {
  hex,
  pblk_alloc_dma,
  pblk_alloc_rqd,
  pblk_chunk_ppa,
  pblk_free_rqd,
  pblk_io_over,
  pblk_log_write_err,
  pblk_note_done,
  pblk_set_read_mode,
  pblk_set_write_mode,
  pblk_setup_e_rq,
  pblk_submit_io,
  pblk_submit_io_sync,
  pblk_erase_in_doubt,
  pblk_erase_told,
} from './pblk-core.js'

// ---------------------------------------------------------------- sectors of a line

/** Fills a request with `n` places of a line from `paddr` on, and memory from `data` on. */
export function pblk_set_line_rq(
  pblk: pblk,
  rqd: nvm_rq,
  line: pblk_line,
  paddr: number,
  n: number,
  data: number,
): void {
  for (let i = 0; i < n; i++) {
    rqd.ppa_list[i] = addr_to_gen_ppa(pblk, paddr + i, line.id)
    rqd.pages[i] = data + i * pblk.geo.csecs
    set_oob_lba(pblk, rqd, i, ADDR_EMPTY)
  }
  rqd.nr_ppas = n
}

function* read_or_write(
  pblk: pblk,
  line: pblk_line,
  paddr: number,
  n: number,
  data: number,
  write: boolean,
): Sleep<number> {
  const rqd = pblk_alloc_rqd(pblk)
  pblk_alloc_dma(pblk, rqd)
  const b = enter(pblk.k, 'bio_map_kern')
  trace_call(pblk.k, 'bio_alloc_bioset')
  for (let i = 0; i < n; i++) trace_call(pblk.k, 'bio_add_pc_page')
  leave(pblk.k, b)
  pblk_set_line_rq(pblk, rqd, line, paddr, n, data)
  rqd.opcode = write ? NVM_OP_PWRITE : NVM_OP_PREAD
  rqd.flags = write ? pblk_set_write_mode(pblk) : pblk_set_read_mode(pblk, n)
  const failed = yield* pblk_submit_io_sync(pblk, rqd)
  const { error } = rqd
  if (write && failed === 0) {
    for (let i = 0; i < n; i++) line.written[pblk_paddr_pos(pblk, paddr + i)] = 1
    if (error === 0) pblk_note_done(pblk, rqd)
    else pblk_log_write_err(pblk, rqd)
  }
  pblk_free_rqd(pblk, rqd)
  return failed !== 0 ? failed : error === NVM_RSP_WARN_HIGHECC ? 0 : error
}

/** Writes a line's smeta. 0 or what went wrong. */
export function* pblk_line_submit_smeta_io(
  pblk: pblk,
  line: pblk_line,
  paddr: number,
): Sleep<number> {
  const t = enter(pblk.k, 'pblk_line_submit_smeta_io')
  const { smeta_sec } = pblk.lm
  const error = yield* read_or_write(pblk, line, paddr, smeta_sec, line.meta!.smeta, true)
  return leave(pblk.k, t, error)
}

/** Where a line's smeta is: the first unit of its first good chunk. */
export function pblk_line_smeta_start(pblk: pblk, line: pblk_line): number {
  return line.blk_bitmap.indexOf(0) * pblk.geo.ws_opt
}

/** Reads a line's smeta to memory. */
export function* pblk_line_read_smeta(pblk: pblk, line: pblk_line, to: number): Sleep<number> {
  const t = enter(pblk.k, 'pblk_line_read_smeta')
  const paddr = pblk_line_smeta_start(pblk, line)
  return leave(pblk.k, t, yield* read_or_write(pblk, line, paddr, pblk.lm.smeta_sec, to, false))
}

/** Reads a line's emeta to memory, piece by piece, bad chunks left out. */
export function* pblk_line_read_emeta(pblk: pblk, line: pblk_line, to: number): Sleep<number> {
  const t = enter(pblk.k, 'pblk_line_read_emeta')
  const { lm, geo, min_write_pgs: n } = pblk
  let paddr = line.emeta_ssec
  let error = 0
  for (let done = 0; done < lm.emeta_sec && error === 0; paddr += n) {
    if (paddr >= lm.sec_per_line) error = -1
    else if (line.blk_bitmap[pblk_paddr_pos(pblk, paddr)] === 0) {
      error = yield* read_or_write(pblk, line, paddr, n, to + done * geo.csecs, false)
      done += n
    }
  }
  return leave(pblk.k, t, error)
}

// ---------------------------------------------------------------- erasing

interface bad_block {
  readonly pblk: pblk
  readonly ppa: number
}

/** Tells a device of revision 1.2 of a block that has grown bad. */
function* pblk_line_mark_bb(work: work_struct<bad_block>): Sleep<void> {
  const { pblk, ppa } = work.container
  if ((yield* nvm_set_tgt_bb_tbl(pblk.dev, [ppa], NVM_BLK_T_GRWN_BAD)) !== 0)
    printk(pblk.k, 'err', `pblk ${pblk.name}: failed to mark bb, ppa ${ppa}`)
}

/** A chunk is bad from now on. */
function pblk_mark_bb(pblk: pblk, line: pblk_line, ppa: number): void {
  const pos = pblk_ppa_to_pos(pblk, ppa)
  pblk.erase_failed++
  printk(pblk.k, 'info', `pblk ${pblk.name}: erase failed: line:${line.id}, pos:${pos}`)
  if (line.blk_bitmap[pos] !== 0) return
  line.blk_bitmap[pos] = 1
  line.blk_in_line--
  pblk.rl.free_blocks--
  pblk.rl.free_user_blocks--
  if (pblk.geo.version === 20) return
  const work = new work_struct<bad_block>(pblk.k, { pblk, ppa })
  INIT_WORK(work, pblk_line_mark_bb)
  queue_work(pblk.bb_wq!, work)
}

function __pblk_end_io_erase(pblk: pblk, rqd: nvm_rq): void {
  const ppa = rqd.ppa_list[0]
  const line = pblk.lines[ppa_chk(ppa)]
  const pos = pblk_ppa_to_pos(pblk, ppa)
  line.left_seblks--
  line.done[pos] = 0
  if (rqd.error !== 0) pblk_mark_bb(pblk, line, ppa)
  else line.written[pos] = 0
  if (waitqueue_active(pblk.io_wait)) wake_up_all(pblk.io_wait)
}

function pblk_end_io_erase(rqd: nvm_rq): void {
  const pblk = rqd.private as pblk
  const t = enter(pblk.k, 'pblk_end_io_erase')
  if (!pblk_erase_in_doubt(pblk, rqd) || !ask_again(pblk, rqd)) erase_over(pblk, rqd)
  pblk_io_over(pblk)
  leave(pblk.k, t)
}

function erase_over(pblk: pblk, rqd: nvm_rq): void {
  __pblk_end_io_erase(pblk, rqd)
  pblk_free_rqd(pblk, rqd)
}

/** Erases a chunk once more. False: that cannot be asked, and counts as a failure. */
function ask_again(pblk: pblk, rqd: nvm_rq): boolean {
  rqd.end_io = end_asked
  return pblk_submit_io(pblk, rqd) === 0
}

function end_asked(rqd: nvm_rq): void {
  const pblk = rqd.private as pblk
  pblk_erase_told(rqd)
  erase_over(pblk, rqd)
  pblk_io_over(pblk)
}

/** Begins the erase of a chunk. 0 or a negative error. */
export function pblk_blk_erase_async(pblk: pblk, ppa: number): number {
  const t = enter(pblk.k, 'pblk_blk_erase_async')
  const rqd = pblk_alloc_rqd(pblk)
  pblk_setup_e_rq(pblk, rqd, ppa)
  rqd.end_io = pblk_end_io_erase
  rqd.private = pblk
  const failed = pblk_submit_io(pblk, rqd)
  if (failed !== 0) pblk_free_rqd(pblk, rqd)
  return leave(pblk.k, t, failed)
}

function* pblk_blk_erase_sync(pblk: pblk, ppa: number): Sleep<number> {
  const t = enter(pblk.k, 'pblk_blk_erase_sync')
  const rqd = pblk_alloc_rqd(pblk)
  pblk_setup_e_rq(pblk, rqd, ppa)
  let failed = yield* pblk_submit_io_sync(pblk, rqd)
  if (failed === 0 && pblk_erase_in_doubt(pblk, rqd)) {
    failed = yield* pblk_submit_io_sync(pblk, rqd)
    pblk_erase_told(rqd)
  }
  if (failed === 0) __pblk_end_io_erase(pblk, rqd)
  pblk_free_rqd(pblk, rqd)
  return leave(pblk.k, t, failed)
}

/** Erases what is left of a line, chunk by chunk. 0 or a negative error. */
export function* pblk_line_erase(pblk: pblk, line: pblk_line): Sleep<number> {
  const t = enter(pblk.k, 'pblk_line_erase')
  for (;;) {
    const pos = line.erase_bitmap.indexOf(0)
    if (pos < 0) break
    line.erase_bitmap[pos] = 1
    line.left_eblks--
    const failed = yield* pblk_blk_erase_sync(pblk, pblk_chunk_ppa(pblk, pos, line.id))
    if (failed !== 0) {
      printk(pblk.k, 'err', `pblk ${pblk.name}: failed to erase line ${line.id}: ${hex(-failed)}`)
      return leave(pblk.k, t, failed)
    }
  }
  return leave(pblk.k, t, 0)
}

/** Waits until all erases of a line have ended; those that have not begun are done here. */
export function* pblk_line_wait_erased(pblk: pblk, line: pblk_line): Sleep<number> {
  while (line.left_seblks > 0) {
    if (line.left_eblks > 0) {
      const failed = yield* pblk_line_erase(pblk, line)
      if (failed !== 0) return failed
    } else {
      pblk.shared.watch(PB_WATCH, 1)
      yield* wait_event(pblk.io_wait, () => line.left_seblks === 0)
      pblk.shared.watch(PB_WATCH, -1)
    }
  }
  return 0
}
