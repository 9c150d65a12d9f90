// pblk's lines: the upper half of drivers/lightnvm/pblk-core.c of Linux 4.19.
//
//   NEW, FREE ── pblk_line_get ──▶ OPEN ── emeta written ──▶ CLOSED ── victim ──▶ GC ── last reference ──▶ FREE
//                                                                 BAD: too few good chunks
//
// Two lines are open: data_line takes the writes, data_next is erased meanwhile, a chunk with each write. A full data_line
// gives way to data_next (pblk_line_replace_data), whose smeta is written first, and its emeta follows in pieces between the
// data of the new line (pblk-write.ts).
//
// bits   map_bitmap      taken: bad chunks, smeta, everything written; later emeta
//        invalid_bitmap  holds nothing of use: bad chunks, smeta, emeta, padding, what was overwritten
//
// On purpose different from 4.19: a line whose smeta cannot be written goes back to the free list instead of being
// forgotten; chunks that were never written since their last erase are not erased again, which a device of revision 2.0
// would refuse.

import { PB_SPACE_WATCH } from '../../../assembly/layout.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { enter, leave } from '../../kernel/trace.js'
import { wait_event, wake_up_all } from '../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct } from '../../kernel/workqueue-structs.js'
import { bitmap_set, bitmap_weight, find_next_zero_bit, set_bit, test_bit } from './bitmap.js'
import {
  PBLK_LINEGC_NONE,
  PBLK_LINESTATE_BAD,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_FREE,
  PBLK_LINESTATE_NEW,
  PBLK_LINESTATE_OPEN,
  PBLK_LINETYPE_DATA,
  PBLK_STATE_STOPPING,
  type pblk,
  type pblk_line,
  pblk_paddr_of,
} from './pblk.js'
import { pblk_io_over } from './pblk-core.js'
import { pblk_line_free } from './pblk-line-free.js'
import {
  pblk_line_submit_smeta_io,
  pblk_line_erase,
  pblk_line_wait_erased,
} from './pblk-line-io.js'
import { move_to, pblk_line_gc_list, take_off } from './pblk-line-list.js'
import { begin_emeta, emeta_lba, emeta_next, put_smeta } from './pblk-meta.js'
import { pblk_rl_free_lines_dec, pblk_rl_werr_line_in } from './pblk-rl.js'

// ---------------------------------------------------------------- places in a line

export function pblk_line_is_full(pblk: pblk, line: pblk_line): boolean {
  const t = enter(pblk.k, 'pblk_line_is_full')
  return leave(pblk.k, t, line.left_msecs === 0)
}

/** The next free place of a line. */
export function pblk_lookup_page(pblk: pblk, line: pblk_line): number {
  return find_next_zero_bit(line.map_bitmap!, pblk.lm.sec_per_line, line.cur_sec)
}

/** Takes `n` places, for data or metadata. */
export function __pblk_alloc_page(pblk: pblk, line: pblk_line, n: number): number {
  const t = enter(pblk.k, '__pblk_alloc_page')
  const paddr = pblk_lookup_page(pblk, line)
  line.cur_sec = paddr + n
  bitmap_set(line.map_bitmap!, paddr, n)
  const pos = Math.floor(paddr / pblk.geo.ws_opt) % pblk.lm.blk_per_line
  line.written[pos] = 1
  return leave(pblk.k, t, paddr)
}

/** Takes `n` places for data. */
export function pblk_alloc_page(pblk: pblk, line: pblk_line, n: number): number {
  const t = enter(pblk.k, 'pblk_alloc_page')
  line.left_msecs -= n
  return leave(pblk.k, t, __pblk_alloc_page(pblk, line, n))
}

export function pblk_line_get_data(pblk: pblk): pblk_line | null {
  const t = enter(pblk.k, 'pblk_line_get_data')
  return leave(pblk.k, t, pblk.l_mg.data_line)
}

/** The line to be erased, for the next write. */
export function pblk_line_get_erase(pblk: pblk): pblk_line | null {
  const t = enter(pblk.k, 'pblk_line_get_erase')
  return leave(pblk.k, t, pblk.l_mg.data_next)
}

// ---------------------------------------------------------------- taking a line

export function pblk_line_alloc_bitmaps(pblk: pblk, line: pblk_line): void {
  const t = enter(pblk.k, 'pblk_line_alloc_bitmaps')
  line.alloc_bitmaps(pblk.lm.sec_per_line)
  leave(pblk.k, t)
}

/** A free line is opened. False: it has too few good chunks. */
function pblk_line_prepare(pblk: pblk, line: pblk_line): boolean {
  const t = enter(pblk.k, 'pblk_line_prepare')
  let left = 0
  for (const [pos, bad] of line.blk_bitmap.entries()) {
    line.erase_bitmap[pos] = bad !== 0 || line.written[pos] === 0 ? 1 : 0
    if (line.erase_bitmap[pos] === 0) left++
  }
  if (line.state === PBLK_LINESTATE_NEW) line.state = PBLK_LINESTATE_FREE
  if (line.blk_in_line < pblk.lm.min_blk_line) return leave(pblk.k, t, false)
  line.state = PBLK_LINESTATE_OPEN
  line.left_eblks = left
  line.left_seblks = left
  line.meta_distance = pblk.lm.meta_distance
  line.emeta_mem = 0
  line.emeta_sync = 0
  line.has_write_err = false
  line.lba_list = null
  line.ref = 1
  return leave(pblk.k, t, true)
}

/** The next free line, opened; null: there is none. */
export function pblk_line_get(pblk: pblk): pblk_line | null {
  const t = enter(pblk.k, 'pblk_line_get')
  const { l_mg } = pblk
  for (const line of l_mg.free_list) {
    take_off(line)
    l_mg.nr_free_lines--
    if (pblk_line_prepare(pblk, line)) return leave(pblk.k, t, line)
    bad_line(pblk, line)
  }
  printk(pblk.k, 'err', `pblk ${pblk.name}: no free lines`)
  return leave(pblk.k, t, null)
}

function bad_line(pblk: pblk, line: pblk_line): void {
  line.state = PBLK_LINESTATE_BAD
  move_to(line, pblk.l_mg.bad_list)
  pblk_rl_free_lines_dec(pblk, line, true)
  printk(pblk.k, 'info', `pblk ${pblk.name}: line ${line.id} is bad`)
}

/** A buffer for a line's metadata; the line may have to wait for one. */
export function* pblk_line_setup_metadata(pblk: pblk, line: pblk_line): Sleep<void> {
  const t = enter(pblk.k, 'pblk_line_setup_metadata')
  const { bufs } = pblk.l_mg
  let buf = bufs.find(one => one.line === null)
  if (buf === undefined) {
    pblk.shared.watch(PB_SPACE_WATCH, 1)
    yield* wait_event(pblk.space, () => bufs.some(one => one.line === null))
    pblk.shared.watch(PB_SPACE_WATCH, -1)
    buf = bufs.find(one => one.line === null)!
  }
  buf.line = line
  line.meta = buf
  leave(pblk.k, t)
}

/** Fills in a line's metadata. False: it has become bad. */
function pblk_line_init_metadata(pblk: pblk, line: pblk_line, cur: pblk_line | null): boolean {
  const t = enter(pblk.k, 'pblk_line_init_metadata')
  const good = line.blk_in_line >= pblk.lm.min_blk_line
  if (good) {
    put_smeta(pblk, line, cur)
    begin_emeta(pblk, line, cur)
    if (cur?.meta != null) emeta_next(pblk, cur, line)
  } else bad_line(pblk, line)
  return leave(pblk.k, t, good)
}

/** Marks what a line cannot hold data in. */
export function pblk_line_mark_bitmaps(pblk: pblk, line: pblk_line): void {
  const { lm, geo } = pblk
  const [map, invalid] = [line.map_bitmap!, line.invalid_bitmap!]
  line.sec_in_line = lm.sec_per_line
  for (const [pos, bad] of line.blk_bitmap.entries()) {
    if (bad === 0) continue
    for (let sec = 0; sec < geo.clba; sec++) set_bit(map, pblk_paddr_of(pblk, pos, sec))
    line.sec_in_line -= geo.clba
  }
  const off = line.blk_bitmap.indexOf(0) * geo.ws_opt
  bitmap_set(map, off, lm.smeta_sec)
  line.sec_in_line -= lm.smeta_sec
  line.smeta_ssec = off
  line.cur_sec = off + lm.smeta_sec
  invalid.set(map)
  let end = lm.sec_per_line
  for (let left = lm.emeta_sec; left > 0; ) {
    end -= geo.ws_opt
    if (test_bit(invalid, end)) continue
    bitmap_set(invalid, end, geo.ws_opt)
    left -= geo.ws_opt
  }
  line.emeta_ssec = end
  line.sec_in_line -= lm.emeta_sec
  line.nr_valid_lbas = 0
  line.left_msecs = line.sec_in_line
  line.vsc = line.sec_in_line
}

/** Marks bad chunks and metadata, and writes smeta. False: it could not be written. */
function* pblk_line_init_bb(pblk: pblk, line: pblk_line): Sleep<boolean> {
  const t = enter(pblk.k, 'pblk_line_init_bb')
  pblk_line_mark_bitmaps(pblk, line)
  const error = yield* pblk_line_submit_smeta_io(pblk, line, line.smeta_ssec)
  if (error === 0) {
    const set = bitmap_weight(line.invalid_bitmap!, pblk.lm.sec_per_line)
    if (pblk.lm.sec_per_line - line.sec_in_line !== set) {
      bad_line(pblk, line)
      return leave(pblk.k, t, false)
    }
  }
  return leave(pblk.k, t, error === 0)
}

/** A line is of no use: another one takes its place, metadata buffer and all. */
function* pblk_line_retry(pblk: pblk, line: pblk_line): Sleep<pblk_line | null> {
  const t = enter(pblk.k, 'pblk_line_retry')
  const { l_mg } = pblk
  const retry = pblk_line_get(pblk)
  if (retry === null) {
    l_mg.data_line = null
    return leave(pblk.k, t, null)
  }
  retry.meta = line.meta
  retry.meta!.line = retry
  line.meta = null
  retry.seq_nr = line.seq_nr
  retry.type = PBLK_LINETYPE_DATA
  pblk_line_free(line)
  if (line.state !== PBLK_LINESTATE_BAD) {
    line.state = PBLK_LINESTATE_FREE
    move_to(line, l_mg.free_list)
    l_mg.nr_free_lines++
  }
  l_mg.data_line = retry
  if ((yield* pblk_line_erase(pblk, retry)) !== 0) return leave(pblk.k, t, null)
  pblk_line_alloc_bitmaps(pblk, retry)
  return leave(pblk.k, t, retry)
}

/** Metadata and smeta of a line that is erased, or of the one that takes its place; null: there is none. */
function* setup(pblk: pblk, line: pblk_line, cur: pblk_line | null): Sleep<pblk_line | null> {
  let now: pblk_line | null = line
  while (now !== null) {
    if (pblk_line_init_metadata(pblk, now, cur) && (yield* pblk_line_init_bb(pblk, now))) return now
    now = yield* pblk_line_retry(pblk, now)
  }
  return null
}

/** The line after the next one. Without any, writes end when what there is is full. */
export function pblk_next_line(pblk: pblk): void {
  const { l_mg } = pblk
  const next = pblk_line_get(pblk)
  l_mg.data_next = next
  if (next === null) {
    pblk_stop_writes(pblk)
    return
  }
  next.seq_nr = l_mg.d_seq_nr++
  next.type = PBLK_LINETYPE_DATA
}

function pblk_stop_writes(pblk: pblk): void {
  pblk.rl.rb_space = 0
  pblk.state = PBLK_STATE_STOPPING
}

/** The first line of an instance. Null: none could be had. */
export function* pblk_line_get_first_data(pblk: pblk): Sleep<pblk_line | null> {
  const t = enter(pblk.k, 'pblk_line_get_first_data')
  const { l_mg } = pblk
  const line = pblk_line_get(pblk)
  if (line === null) return leave(pblk.k, t, null)
  line.seq_nr = l_mg.d_seq_nr++
  line.type = PBLK_LINETYPE_DATA
  l_mg.data_line = line
  yield* pblk_line_setup_metadata(pblk, line)
  pblk_next_line(pblk)
  pblk_line_alloc_bitmaps(pblk, line)
  if ((yield* pblk_line_erase(pblk, line)) !== 0) return leave(pblk.k, t, null)
  const ready = yield* setup(pblk, line, null)
  if (ready !== null) pblk_rl_free_lines_dec(pblk, ready, true)
  return leave(pblk.k, t, ready)
}

/** data_next becomes data_line. Null: there is none. */
export function* pblk_line_replace_data(pblk: pblk): Sleep<pblk_line | null> {
  const t = enter(pblk.k, 'pblk_line_replace_data')
  const { l_mg } = pblk
  const cur = l_mg.data_line
  const next = l_mg.data_next
  if (next === null) return leave(pblk.k, t, null)
  l_mg.data_line = next
  yield* pblk_line_setup_metadata(pblk, next)
  if ((yield* pblk_line_wait_erased(pblk, next)) !== 0) return leave(pblk.k, t, null)
  pblk_line_alloc_bitmaps(pblk, next)
  const ready = yield* setup(pblk, next, cur)
  if (ready === null) return leave(pblk.k, t, null)
  pblk_rl_free_lines_dec(pblk, ready, true)
  pblk_next_line(pblk)
  return leave(pblk.k, t, ready)
}

// ---------------------------------------------------------------- closing a line

/** Keeps a line's list of lbas in memory, since the media may have none. */
export function pblk_save_lba_list(pblk: pblk, line: pblk_line): void {
  const { meta } = line
  if (meta === null) return
  line.lba_list = Float64Array.from({ length: pblk.lm.sec_per_line }, (_, paddr) =>
    emeta_lba(pblk, meta.emeta, paddr),
  )
}

/** A line is full: its emeta is complete and may be written. */
export function pblk_line_close_meta(pblk: pblk, line: pblk_line): void {
  const t = enter(pblk.k, 'pblk_line_close_meta')
  if (line.has_write_err) pblk_save_lba_list(pblk, line)
  pblk.l_mg.emeta_list.add(line)
  leave(pblk.k, t)
}

/** A line is done with: it may be collected. */
export function pblk_line_close(pblk: pblk, line: pblk_line): void {
  const t = enter(pblk.k, 'pblk_line_close')
  if (line.has_write_err) {
    if (line.lba_list === null) pblk_save_lba_list(pblk, line)
    pblk_rl_werr_line_in(pblk)
  }
  line.state = PBLK_LINESTATE_CLOSED
  line.gc_group = PBLK_LINEGC_NONE
  move_to(line, pblk_line_gc_list(pblk, line))
  line.free_map()
  if (line.meta !== null) line.meta.line = null
  line.meta = null
  leave(pblk.k, t)
}

function pblk_line_close_ws(work: work_struct<{ pblk: pblk; line: pblk_line }>): void {
  const { pblk, line } = work.container
  pblk_line_close(pblk, line)
  pblk_io_over(pblk)
  wake_up_all(pblk.space)
}

/** The line will be closed by a worker. */
export function pblk_line_close_later(pblk: pblk, line: pblk_line): void {
  const work = new work_struct(pblk.k, { pblk, line })
  INIT_WORK(work, pblk_line_close_ws)
  pblk.inflight_io++
  queue_work(pblk.close_wq!, work)
}
