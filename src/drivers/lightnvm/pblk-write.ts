// pblk's writer: from the ring to the device. drivers/lightnvm/pblk-write.c of Linux 4.19.
//
//   pblk_write_ts ── pblk_submit_write ── pblk_submit_io_set ─┬─ the data: pblk_setup_w_rq, pblk_submit_io
//      one request a turn; a failed one comes first           ├─ one erase: pblk_blk_erase_async
//                                                             └─ one piece of emeta: pblk_submit_meta_io
//   pblk_end_io_write ── pblk_complete_write    entries end in the order of the ring, requests that come too early wait
//                     └─ pblk_end_w_fail        the chunk is given up from there on, the entries are mapped again
//
// A piece of emeta goes to half of the LUNs away from the data beside it. When a newcomer waits for a line's emeta, it goes
// without data.

import {
  PB_COMPLETE,
  PB_META,
  PB_META_ANY,
  PB_WRITER_SLEEPS,
  PBW_CORE,
  PBW_TASK,
} from '../../../assembly/layout.js'
import { BLK_STS_IOERR } from '../../../assembly/nvme.js'
import { printk, type Sleep, TASK_INTERRUPTIBLE } from '../../kernel/core.js'
import { io_schedule, kthread_should_stop, set_current_state } from '../../kernel/task.js'
import type { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct } from '../../kernel/workqueue-structs.js'
import { test_and_set_bit, test_bit } from './bitmap.js'
import { NVM_OP_PWRITE, type nvm_rq, ppa_chk, ppa_failed, ppa_sec } from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  PBLK_LINESTATE_OPEN,
  type pblk,
  type pblk_c_ctx,
  type pblk_line,
  pblk_paddr_of,
  pblk_paddr_pos,
  pblk_ppa_to_pos,
  pblk_ppa_to_t,
  pblk_t_line,
  pblk_t_paddr,
  pblk_t_pos,
  pblk_t_sec,
} from './pblk.js'
import {
  __pblk_map_invalidate,
  pblk_alloc_dma,
  pblk_alloc_rqd,
  pblk_calc_secs,
  pblk_chunk_ppa,
  pblk_down_page,
  pblk_free_rqd,
  pblk_io_over,
  pblk_log_write_err,
  pblk_note_done,
  pblk_set_write_mode,
  pblk_submit_io,
  pblk_up_page,
  pblk_up_rq,
  pblk_wake_writer,
  pblk_was_done,
  pblk_write_kick,
} from './pblk-core.js'
import { pblk_blk_erase_async, pblk_set_line_rq } from './pblk-line-io.js'
import {
  __pblk_alloc_page,
  pblk_line_close_later,
  pblk_line_get_erase,
  pblk_lookup_page,
} from './pblk-core-line.js'
import { finish_emeta, set_emeta_lba } from './pblk-meta.js'
import { pblk_line_put } from './pblk-line-free.js'
import { type erase_choice, NO_ERASE, pblk_map_erase_rq, pblk_map_rq } from './pblk-map.js'
import { pblk_pad_chunk } from './pblk-pad.js'
import {
  pblk_rb_flush_point_count,
  pblk_rb_read_commit,
  pblk_rb_read_count,
  pblk_rb_read_to_bio,
  pblk_rb_sync_advance,
  pblk_rb_sync_end,
  pblk_rb_sync_init,
  pblk_rb_take_bios,
  pblk_rb_w_ctx,
} from './pblk-rb.js'

// ---------------------------------------------------------------- contexts

/** Whose request it is. */
export interface w_private {
  readonly pblk: pblk
  readonly ctx: pblk_c_ctx
}

interface m_private {
  readonly pblk: pblk
  readonly line: pblk_line
}

function new_ctx(pblk: pblk): pblk_c_ctx {
  const lun_bitmap = new Uint8Array(pblk.geo.all_luns)
  return { sentry: 0, nr_valid: 0, nr_padded: 0, lun_bitmap }
}

function alloc_w_rq(pblk: pblk, rqd: nvm_rq, n: number, end_io: (rqd: nvm_rq) => void): void {
  const t = enter(pblk.k, 'pblk_alloc_w_rq')
  rqd.opcode = NVM_OP_PWRITE
  rqd.nr_ppas = n
  rqd.flags = pblk_set_write_mode(pblk)
  rqd.end_io = end_io
  pblk_alloc_dma(pblk, rqd)
  leave(pblk.k, t)
}

// ---------------------------------------------------------------- completion

function end_entries(pblk: pblk, ctx: pblk_c_ctx): void {
  for (let i = 0; i < ctx.nr_valid; i++) {
    const bios = pblk_rb_take_bios(pblk.rwb, pblk_rb_w_ctx(pblk, ctx.sentry + i))
    for (const bio of bios ?? []) bio.end(0)
  }
}

/** A request ends: its entries are persisted. @returns the ring's sync position */
function pblk_end_w_bio(pblk: pblk, rqd: nvm_rq, ctx: pblk_c_ctx): number {
  const t = enter(pblk.k, 'pblk_end_w_bio')
  end_entries(pblk, ctx)
  if (ctx.nr_padded > 0) trace_call(pblk.k, 'pblk_bio_free_pages')
  const pos = pblk_rb_sync_advance(pblk, ctx.nr_valid)
  const b = enter(pblk.k, 'bio_put')
  trace_call(pblk.k, 'bio_free')
  leave(pblk.k, b)
  pblk_free_rqd(pblk, rqd)
  return leave(pblk.k, t, pos)
}

function context(rqd: nvm_rq): pblk_c_ctx {
  return (rqd.private as w_private).ctx
}

/** A request is over, as far as its lines' emeta waits for it. */
function landed(pblk: pblk, rqd: nvm_rq): void {
  for (let i = 0; i < rqd.nr_ppas; i++) pblk.lines[ppa_chk(rqd.ppa_list[i])].inflight--
}

/** A request has gone well: it and those that waited for it end, in the order of the ring. */
function pblk_complete_write(pblk: pblk, rqd: nvm_rq, ctx: pblk_c_ctx): void {
  pblk_up_rq(pblk, ctx.lun_bitmap)
  const pos = pblk_rb_sync_init(pblk)
  if (ctx.sentry === pos) {
    let next = pblk_end_w_bio(pblk, rqd, ctx)
    for (;;) {
      const at = pblk.compl_list.findIndex(one => context(one).sentry === next)
      if (at < 0) break
      const [waiting] = pblk.compl_list.splice(at, 1)
      next = pblk_end_w_bio(pblk, waiting, context(waiting))
    }
  } else pblk.compl_list.push(rqd)
  pblk.shared.put(PB_COMPLETE, pblk.compl_list.length)
  pblk_rb_sync_end(pblk)
}

/** Places of a line that hold nothing of what was to be written there. */
function give_up(pblk: pblk, line: pblk_line, paddr: number): void {
  __pblk_map_invalidate(pblk, line, paddr)
  if (line.meta !== null) set_emeta_lba(pblk, line.meta.emeta, paddr, ADDR_EMPTY)
}

/** The chunk of an address is given up from there on. */
function pblk_map_remaining(pblk: pblk, at: number): void {
  const line = pblk_t_line(pblk, at)
  const pos = pblk_t_pos(pblk, at)
  for (let sec = pblk_t_sec(pblk, at); sec < pblk.geo.clba; sec++) {
    const paddr = pblk_paddr_of(pblk, pos, sec)
    if (line.map_bitmap !== null && !test_and_set_bit(line.map_bitmap, paddr))
      if (!test_bit(line.invalid_bitmap!, paddr)) line.left_msecs--
    give_up(pblk, line, paddr)
  }
  line.done[pos] = pblk.geo.clba
  if (line.state === PBLK_LINESTATE_OPEN) line.has_write_err = true
  note_meta(pblk)
}

function chunk_of(ppa: number): number {
  return ppa - (ppa % 2 ** 21)
}

/** Where a request failed: its first address alone, or the first that did in each chunk. */
function failed_chunks(pblk: pblk, rqd: nvm_rq): number[] {
  if (pblk.quirks) return [rqd.ppa_list[0]]
  const first = new Map<number, number>()
  const any = rqd.ppa_status_low !== 0 || rqd.ppa_status_high !== 0
  for (let i = 0; i < rqd.nr_ppas; i++) {
    const chunk = chunk_of(rqd.ppa_list[i])
    if ((!any || ppa_failed(rqd, i)) && !first.has(chunk)) first.set(chunk, rqd.ppa_list[i])
  }
  return [...first.values()]
}

/** What a failed request wrote in other chunks is of no use either. */
function drop_rest(pblk: pblk, rqd: nvm_rq): void {
  for (let i = 0; i < rqd.nr_ppas; i++) {
    const at = pblk_ppa_to_t(pblk, rqd.ppa_list[i])
    give_up(pblk, pblk_t_line(pblk, at), pblk_t_paddr(pblk, at))
  }
}

/** The first sector of a chunk that a request has not written: of several units some may be in one chunk. */
function fill_from(rqd: nvm_rq, ppa: number): number {
  if (rqd.error !== 0) return ppa_sec(ppa)
  const last = rqd.ppa_list
    .subarray(0, rqd.nr_ppas)
    .findLast(one => chunk_of(one) === chunk_of(ppa))!
  return ppa_sec(last) + 1
}

/**
 * A request of several units ends at the first chunk that fails: the device has closed that one, those behind it are as they
 * were. They are given up too, since their places are passed, and filled up before, so that the device can read back what it
 * still keeps of them. In 4.19 they are left.
 */
function* fill_chunks(pblk: pblk, rqd: nvm_rq, chunks: readonly number[]): Sleep<void> {
  if (pblk.quirks || pblk.geo.version === 12 || rqd.nr_ppas <= pblk.min_write_pgs) return
  const any = rqd.ppa_status_low !== 0 || rqd.ppa_status_high !== 0
  for (const ppa of any ? chunks.slice(1) : chunks) {
    const line = pblk.lines[ppa_chk(ppa)]
    const pos = pblk_ppa_to_pos(pblk, ppa)
    if (line.done[pos] >= pblk.geo.clba) continue
    yield* pblk_pad_chunk(pblk, line, pos, fill_from(rqd, ppa), pblk.geo.clba)
  }
}

/** The work after a failed write. */
function* pblk_submit_rec(work: work_struct<{ pblk: pblk; rqd: nvm_rq }>): Sleep<void> {
  const { pblk, rqd } = work.container
  const t = enter(pblk.k, 'pblk_submit_rec')
  const ctx = context(rqd)
  if (rqd.error !== 0) pblk_log_write_err(pblk, rqd)
  const chunks = failed_chunks(pblk, rqd)
  yield* fill_chunks(pblk, rqd, chunks)
  for (const ppa of chunks) pblk_map_remaining(pblk, pblk_ppa_to_t(pblk, ppa))
  if (!pblk.quirks) drop_rest(pblk, rqd)
  landed(pblk, rqd)
  pblk_up_rq(pblk, ctx.lun_bitmap)
  pblk.resubmit_list.push(ctx)
  pblk_free_rqd(pblk, rqd)
  pblk_io_over(pblk)
  pblk_write_kick(pblk)
  leave(pblk.k, t)
}

function pblk_end_w_fail(pblk: pblk, rqd: nvm_rq): void {
  const t = enter(pblk.k, 'pblk_end_w_fail')
  const work = new work_struct(pblk.k, { pblk, rqd })
  INIT_WORK(work, pblk_submit_rec)
  queue_work(pblk.close_wq!, work)
  leave(pblk.k, t)
}

/**
 * Whether a chunk of a request was given up while it was under way: its places count for nothing any more, whatever is there
 * now. In 4.19 the data of such a write that went well are lost with the line.
 */
function given_up(pblk: pblk, rqd: nvm_rq): boolean {
  for (let i = 0; i < rqd.nr_ppas; i++) {
    const at = pblk_ppa_to_t(pblk, rqd.ppa_list[i])
    if (pblk_t_line(pblk, at).done[pblk_t_pos(pblk, at)] > pblk_t_sec(pblk, at)) return true
  }
  return false
}

export function pblk_end_io_write(rqd: nvm_rq): void {
  const { pblk, ctx } = rqd.private as w_private
  const t = enter(pblk.k, 'pblk_end_io_write')
  pblk_was_done(pblk, rqd)
  if (rqd.error !== 0 || (!pblk.quirks && given_up(pblk, rqd))) pblk_end_w_fail(pblk, rqd)
  else {
    pblk_note_done(pblk, rqd)
    landed(pblk, rqd)
    pblk_complete_write(pblk, rqd, ctx)
    pblk_io_over(pblk)
  }
  leave(pblk.k, t)
}

function pblk_end_io_write_meta(rqd: nvm_rq): void {
  const { pblk, line } = rqd.private as m_private
  const t = enter(pblk.k, 'pblk_end_io_write_meta')
  pblk_up_page(pblk, rqd.ppa_list[0])
  pblk_was_done(pblk, rqd)
  if (rqd.error !== 0) {
    pblk_log_write_err(pblk, rqd)
    line.has_write_err = true
  } else pblk_note_done(pblk, rqd)
  line.emeta_sync += rqd.nr_ppas
  if (line.emeta_sync >= pblk.lm.emeta_sec) pblk_line_close_later(pblk, line)
  pblk_free_rqd(pblk, rqd)
  pblk_io_over(pblk)
  leave(pblk.k, t)
}

// ---------------------------------------------------------------- emeta

/** Whether a piece of a line's emeta may go beside a data request. */
function pblk_valid_meta_ppa(pblk: pblk, meta_line: pblk_line, ctx: pblk_c_ctx): boolean {
  const data = pblk.l_mg.data_line
  if (data === null) return true
  const paddr = pblk_lookup_page(pblk, meta_line)
  const there = pblk_paddr_pos(pblk, paddr + data.meta_distance)
  if (ctx.lun_bitmap[there] !== 0 || data.blk_bitmap[there] !== 0) return true
  const here = addr_to_gen_ppa(pblk, paddr, 0)
  if (addr_to_gen_ppa(pblk, paddr + data.meta_distance, 0) === here) data.meta_distance--
  return false
}

/** Whether all data of a line are written or have failed: what failed must not stand in its list. */
function emeta_is_known(pblk: pblk, line: pblk_line): boolean {
  return pblk.quirks || line.inflight === 0
}

/** Tells the core beside which writes emeta may go, which are the task's: as pblk_valid_meta_ppa. */
function note_meta(pblk: pblk): void {
  const { data_line, emeta_list } = pblk.l_mg
  let lun = 0
  for (const line of emeta_list) {
    const paddr = pblk_lookup_page(pblk, line)
    const there = data_line && pblk_paddr_pos(pblk, paddr + data_line.meta_distance)
    const here = pblk_paddr_pos(pblk, paddr)
    lun = there === null || there === here || data_line!.blk_bitmap[there] ? PB_META_ANY : there + 1
    break
  }
  pblk.shared.put(PB_META, lun)
}

/** The line whose emeta goes on, if it may now. */
function pblk_should_submit_meta_io(pblk: pblk, ctx: pblk_c_ctx): pblk_line | null {
  for (const line of pblk.l_mg.emeta_list)
    return emeta_is_known(pblk, line) && pblk_valid_meta_ppa(pblk, line, ctx) ? line : null
  return null
}

/** Sends a piece of a line's emeta. */
function* pblk_submit_meta_io(pblk: pblk, line: pblk_line): Sleep<void> {
  const t = enter(pblk.k, 'pblk_submit_meta_io')
  const n = pblk.min_write_pgs
  const paddr = pblk_lookup_page(pblk, line)
  if (line.emeta_mem === 0) finish_emeta(pblk, line)
  const data = line.meta!.emeta + line.emeta_mem * pblk.geo.csecs
  line.emeta_mem += n
  if (line.emeta_mem >= pblk.lm.emeta_sec) pblk.l_mg.emeta_list.delete(line)
  if (paddr >= pblk.lm.sec_per_line) {
    no_room(pblk, line, n)
    leave(pblk.k, t)
    return
  }
  __pblk_alloc_page(pblk, line, n)
  const rqd = pblk_alloc_rqd(pblk)
  alloc_w_rq(pblk, rqd, n, pblk_end_io_write_meta)
  pblk_set_line_rq(pblk, rqd, line, paddr, n, data)
  rqd.private = { pblk, line } satisfies m_private
  yield* pblk_down_page(pblk, rqd.ppa_list[0])
  const failed = pblk_submit_io(pblk, rqd)
  if (failed !== 0) {
    printk(pblk.k, 'err', `pblk ${pblk.name}: emeta I/O submission failed: ${failed}`)
    rqd.error = -1
    pblk.inflight_io++
    pblk_end_io_write_meta(rqd)
  }
  leave(pblk.k, t)
}

/** Write errors have taken the room of a line's emeta: its list of lbas stays in memory. */
function no_room(pblk: pblk, line: pblk_line, n: number): void {
  line.has_write_err = true
  line.emeta_sync += n
  if (line.emeta_sync >= pblk.lm.emeta_sec) pblk_line_close_later(pblk, line)
}

// ---------------------------------------------------------------- submission

function* pblk_setup_w_rq(
  pblk: pblk,
  rqd: nvm_rq,
  ctx: pblk_c_ctx,
  erase: erase_choice,
): Sleep<number> {
  const line = pblk_line_get_erase(pblk)
  alloc_w_rq(pblk, rqd, ctx.nr_valid + ctx.nr_padded, pblk_end_io_write)
  rqd.private = { pblk, ctx } satisfies w_private
  if (line === null || line.left_eblks === 0) return yield* pblk_map_rq(pblk, rqd, ctx, 0)
  return yield* pblk_map_erase_rq(pblk, rqd, ctx, erase)
}

/** The erase could not begin: its chunk is still to be erased. */
function undo_erase(erase: erase_choice, pos: number): void {
  if (erase.line === null) return
  erase.line.left_eblks++
  erase.line.erase_bitmap[pos] = 0
}

/** The core has written to a LUN, and chosen its chunk of the next line to be erased. */
export function pblk_erase_beside(pblk: pblk, pos: number): void {
  const line = pblk.l_mg.data_next!
  const ppa = pblk_chunk_ppa(pblk, pos, line.id)
  if (pblk_blk_erase_async(pblk, ppa) !== 0) undo_erase({ ppa, line }, pos)
}

/** One data request, and what goes beside it. 0 or a negative error. */
function* pblk_submit_io_set(pblk: pblk, rqd: nvm_rq, ctx: pblk_c_ctx): Sleep<number> {
  const erase: erase_choice = { ppa: NO_ERASE, line: null }
  const failed = yield* pblk_setup_w_rq(pblk, rqd, ctx, erase)
  if (failed !== 0) return failed
  const meta_line = pblk_should_submit_meta_io(pblk, ctx)
  const err = pblk_submit_io(pblk, rqd)
  if (err !== 0) return err
  if (erase.ppa !== NO_ERASE && pblk_blk_erase_async(pblk, erase.ppa) !== 0)
    undo_erase(erase, pblk_t_pos(pblk, pblk_ppa_to_t(pblk, erase.ppa)))
  if (meta_line !== null) yield* pblk_submit_meta_io(pblk, meta_line)
  return 0
}

/** Entries of a failed request are to be mapped again; what was overwritten meanwhile becomes padding. */
function pblk_prepare_resubmit(pblk: pblk, ctx: pblk_c_ctx): void {
  const { rwb } = pblk
  for (let i = 0; i < ctx.nr_valid; i++) {
    const pos = (ctx.sentry + i) & (rwb.nr_entries - 1)
    const lba = rwb.lba[pos]
    if (lba !== ADDR_EMPTY && pblk.trans_map[lba] !== pblk.cached_base + pos)
      rwb.lba[pos] = ADDR_EMPTY
    const line = pblk_t_line(pblk, rwb.ppa[pos])
    line.sec_to_update--
    pblk_line_put(pblk, line)
    rwb.ppa[pos] = pblk.addr_empty
  }
}

/** What the next request takes; false: nothing. */
function next_secs(pblk: pblk, ctx: pblk_c_ctx): boolean {
  const again = pblk.resubmit_list.shift()
  if (again !== undefined) {
    pblk_prepare_resubmit(pblk, again)
    ctx.sentry = again.sentry
    ctx.nr_valid = again.nr_valid
    const secs = pblk_calc_secs(pblk, again.nr_valid, again.nr_valid)
    const units = Math.ceil(again.nr_valid / pblk.min_write_pgs) * pblk.min_write_pgs
    ctx.nr_padded = Math.max(secs, units) - again.nr_valid
    return true
  }
  const avail = pblk_rb_read_count(pblk)
  if (avail === 0) return false
  const flush = pblk_rb_flush_point_count(pblk)
  if (flush === 0 && avail < pblk.min_write_pgs) return false
  const secs = pblk_calc_secs(pblk, avail, flush)
  if (secs === 0) return false
  ctx.nr_valid = Math.min(secs, avail)
  ctx.nr_padded = secs - ctx.nr_valid
  ctx.sentry = pblk_rb_read_commit(pblk, ctx.nr_valid)
  return true
}

/** One request from the ring. True: there may be more. */
function* pblk_submit_write(pblk: pblk): Sleep<boolean> {
  const ctx = new_ctx(pblk)
  if (!next_secs(pblk, ctx)) return yield* emeta_alone(pblk)
  trace_call(pblk.k, 'bio_alloc_bioset')
  const rqd = pblk_alloc_rqd(pblk)
  const total = ctx.nr_valid + ctx.nr_padded
  pblk_rb_read_to_bio(pblk, rqd.pages, ctx.sentry, ctx.nr_valid, total)
  const failed = yield* pblk_submit_io_set(pblk, rqd, ctx)
  if (failed === 0) return true
  pblk_up_rq(pblk, ctx.lun_bitmap)
  pblk_free_rqd(pblk, rqd)
  printk(pblk.k, 'err', `pblk ${pblk.name}: data I/O submission failed: ${failed}`)
  pblk_fail_ring(pblk, ctx)
  return false
}

/** No line is left: what the ring still holds can never be written. Those who wait for it learn so. */
function pblk_fail_ring(pblk: pblk, ctx: pblk_c_ctx): void {
  pblk.rl.rb_space = 0
  const { rwb } = pblk
  for (let pos = ctx.sentry; pos !== rwb.mem; pos = (pos + 1) & (rwb.nr_entries - 1))
    for (const bio of pblk_rb_take_bios(rwb, pos) ?? []) bio.end(BLK_STS_IOERR)
  pblk.failed = true
}

/** Sends all emeta that is left, at the end of an instance. */
export function* pblk_close_meta_sync(pblk: pblk): Sleep<void> {
  const t = enter(pblk.k, 'pblk_line_close_meta_sync')
  for (const line of pblk.l_mg.emeta_list)
    while (line.emeta_mem < pblk.lm.emeta_sec) yield* pblk_submit_meta_io(pblk, line)
  leave(pblk.k, t)
}

/** Somebody waits for a line that only lacks its emeta. */
function* emeta_alone(pblk: pblk): Sleep<boolean> {
  if (!pblk.want_meta) return false
  for (const line of pblk.l_mg.emeta_list) {
    if (!emeta_is_known(pblk, line)) return false
    yield* pblk_submit_meta_io(pblk, line)
    return true
  }
  pblk.want_meta = false
  return false
}

export function pblk_write_timer_fn(timer: timer_list<pblk>): void {
  const pblk = timer.container
  const t = enter(pblk.k, 'pblk_write_timer_fn')
  pblk_wake_writer(pblk)
  leave(pblk.k, t)
}

/** Whether the writer has nothing to do that only TypeScript can. */
function is_plain(pblk: pblk): boolean {
  if (pblk.core_write === null || pblk.resubmit_list.length > 0 || pblk.want_meta) return false
  note_meta(pblk)
  return pblk.sec_per_write === pblk.min_write_pgs
}

/** One request from the ring, by the core if nothing is special about it. */
function write_in_core(pblk: pblk): boolean {
  return is_plain(pblk) && pblk.core_write!(pblk.shared.at)
}

/** Whether the core may write without the task. What would change that comes with a kick of TypeScript's. */
function may_sleep_on(pblk: pblk): boolean {
  const { cpus, options } = pblk.k
  return is_plain(pblk) && cpus.length === 1 && (options.switchNs ?? 0) === 0
}

/** The writer's loop. */
export function* pblk_write_ts(pblk: pblk): Sleep<void> {
  const t = enter(pblk.k, 'pblk_write_ts')
  while (!kthread_should_stop(pblk.k)) {
    if (write_in_core(pblk) || (yield* pblk_submit_write(pblk))) continue
    set_current_state(pblk.k, TASK_INTERRUPTIBLE)
    pblk.shared.put(PB_WRITER_SLEEPS, may_sleep_on(pblk) ? PBW_CORE : PBW_TASK)
    yield* io_schedule(pblk.k, 'data to write')
  }
  leave(pblk.k, t)
}
