// pblk's write buffer, a ring of sectors: drivers/lightnvm/pblk-rb.c of Linux 4.19.
//
//   l2p_update <= sync <= subm <= mem      round the ring
//
//   mem          where the next entry goes
//   subm         entries before it are with the device
//   sync         ... are persisted
//   l2p_update   ... have given way to their place on the media: reads go there
//   flush_point  the last entry that must go now, however few there are; -1: none
//
// One entry stays free, so that full and empty differ. An entry serves reads until its slot is wanted, even if it is long
// persisted. With a device that cannot read back what it has just written (mw_cunits), an entry that leaves the ring must
// have enough behind it that is persisted: `back_thres` entries, and where that is not enough (the tail of a line whose
// metadata are still to be written) the newcomer waits.

import { PB_FLUSHES, PB_GC_WANTS, PB_SPACE_WATCH } from '../../../assembly/layout.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import { NVM_IO_DONE, NVM_IO_OK, NVM_IO_REQUEUE, SECTOR_BYTES } from './lightnvm.js'
import {
  ADDR_EMPTY,
  type flush_bio,
  PBLK_FLUSH_ENTRY,
  PBLK_IOTYPE_GC,
  PBLK_IOTYPE_USER,
  PBLK_LINESTATE_OPEN,
  PBLK_MIN_RB_ENTRIES,
  PBLK_SUBMITTED_ENTRY,
  PBLK_WRITABLE_ENTRY,
  PBLK_WRITTEN_DATA,
  type pblk,
  type pblk_line,
  pblk_rb,
  pblk_t_line,
  pblk_t_pos,
  pblk_t_sec,
} from './pblk.js'
import { PBLK_RB_ENTRY } from './pblk-shared.js'
import { pblk_update_map_cache, pblk_update_map_dev, pblk_update_map_gc } from './pblk-core.js'
import { pblk_line_put, pblk_lines_settle } from './pblk-line-free.js'
import {
  pblk_rl_gc_in,
  pblk_rl_gc_may_insert,
  pblk_rl_out,
  pblk_rl_user_in,
  pblk_rl_user_may_insert,
} from './pblk-rl.js'

/** Entries for a device that wants `pgs` sectors behind the write pointer: a power of two. */
export function pblk_rb_calculate_size(pblk: pblk, pgs: number): number {
  const t = enter(pblk.k, 'pblk_rb_calculate_size')
  let n = PBLK_MIN_RB_ENTRIES
  while (n < pgs) n *= 2
  return leave(pblk.k, t, n)
}

/** Entries that must be persisted behind one that leaves the ring. */
export function pblk_rb_back_thres(pblk: pblk): number {
  const { mw_cunits, ws_opt, all_luns } = pblk.geo
  if (pblk.quirks || pblk.geo.version === 12) return 0
  return Math.ceil(mw_cunits / ws_opt) * ws_opt * all_luns
}

/** A ring of `nr_entries` (a power of two). */
export function pblk_rb_init(pblk: pblk, nr_entries: number): pblk_rb {
  const t = enter(pblk.k, 'pblk_rb_init')
  const data = pblk.memory.alloc(nr_entries * PBLK_RB_ENTRY)
  const back = pblk_rb_back_thres(pblk)
  const rb = new pblk_rb(pblk.memory, pblk.shared.at, nr_entries, back, data)
  rb.lba.fill(ADDR_EMPTY)
  rb.ppa.fill(pblk.addr_empty)
  rb.flags.fill(PBLK_WRITABLE_ENTRY)
  return leave(pblk.k, t, rb)
}

export function pblk_rb_free(pblk: pblk): void {
  pblk.memory.free(pblk.rwb.data, pblk.rwb.nr_entries * PBLK_RB_ENTRY)
}

function pblk_rb_ring_count(rb: pblk_rb, head: number, tail: number): number {
  return (head - tail) & (rb.nr_entries - 1)
}

export function pblk_rb_ring_space(rb: pblk_rb, head: number, tail: number): number {
  return (tail - head - 1) & (rb.nr_entries - 1)
}

export function pblk_rb_wrap_pos(pblk: pblk, pos: number): number {
  const t = enter(pblk.k, 'pblk_rb_wrap_pos')
  return leave(pblk.k, t, pos & (pblk.rwb.nr_entries - 1))
}

/** Entries that the writer may take. */
export function pblk_rb_read_count(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rb_read_count')
  return leave(pblk.k, t, pblk_rb_ring_count(pblk.rwb, pblk.rwb.mem, pblk.rwb.subm))
}

/** Entries that are not persisted. */
export function pblk_rb_sync_count(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rb_sync_count')
  return leave(pblk.k, t, pblk_rb_ring_count(pblk.rwb, pblk.rwb.mem, pblk.rwb.sync))
}

/** The writer takes `n` entries. @returns the first */
export function pblk_rb_read_commit(pblk: pblk, n: number): number {
  const t = enter(pblk.k, 'pblk_rb_read_commit')
  const { rwb } = pblk
  const from = rwb.subm
  rwb.subm = (from + n) & (rwb.nr_entries - 1)
  return leave(pblk.k, t, from)
}

/** The page of an entry. */
export function pblk_rb_page(rb: pblk_rb, pos: number): number {
  return rb.data + pos * SECTOR_BYTES
}

// ---------------------------------------------------------------- L2P moves on

/** Whether the device can read an entry's place back. */
function readable(pblk: pblk, pos: number): boolean {
  const at = pblk.rwb.ppa[pos]
  if (at === pblk.addr_empty) return true
  const line = pblk_t_line(pblk, at)
  const lun = pblk_t_pos(pblk, at)
  const written = line.done[lun]
  if (line.state !== PBLK_LINESTATE_OPEN || written >= pblk.geo.clba) return true
  return pblk_t_sec(pblk, at) < written - pblk.geo.mw_cunits
}

/** How many of `n` entries from l2p_update on may leave the ring. */
function pblk_rb_readable(pblk: pblk, n: number): number {
  const { rwb, geo } = pblk
  if (pblk.quirks || geo.version === 12 || geo.mw_cunits === 0) return n
  for (let i = 0; i < n; i++)
    if (!readable(pblk, (rwb.l2p_update + i) & (rwb.nr_entries - 1))) return i
  return n
}

/** `n` entries leave the ring. */
function __pblk_rb_update_l2p(pblk: pblk, n: number): void {
  const { rwb } = pblk
  let [users, gc] = [0, 0]
  for (let i = 0; i < n; i++) {
    const pos = rwb.l2p_update
    if ((rwb.flags[pos] & PBLK_IOTYPE_USER) !== 0) users++
    else gc++
    pblk_update_map_dev(pblk, rwb.lba[pos], rwb.ppa[pos], pblk.cached_base + pos)
    const line = pblk_t_line(pblk, rwb.ppa[pos])
    line.sec_to_update--
    pblk_line_put(pblk, line)
    rwb.lba[pos] = ADDR_EMPTY
    rwb.ppa[pos] = pblk.addr_empty
    rwb.flags[pos] = PBLK_WRITABLE_ENTRY
    rwb.l2p_update = (pos + 1) & (rwb.nr_entries - 1)
  }
  pblk_rl_out(pblk, users, gc)
}

/** Makes room for `n`; false if something in the way cannot leave yet. */
function pblk_rb_update_l2p(pblk: pblk, n: number): boolean {
  const { rwb } = pblk
  const space = pblk_rb_ring_space(rwb, rwb.mem, rwb.l2p_update)
  if (space > n) return true
  const count = n - space
  if (pblk_rb_readable(pblk, count) < count) {
    pblk.want_meta = true
    return false
  }
  __pblk_rb_update_l2p(pblk, count)
  return true
}

/** Everything that is persisted leaves the ring. */
export function pblk_rb_sync_l2p(pblk: pblk): void {
  const { rwb } = pblk
  __pblk_rb_update_l2p(pblk, pblk_rb_ring_count(rwb, rwb.sync, rwb.l2p_update))
}

/** ... as far as the device can read it. Whoever waits for the limiter's counts gets them so. */
export function pblk_rb_relieve(pblk: pblk): void {
  const { rwb } = pblk
  const count = pblk_rb_ring_count(rwb, rwb.sync, rwb.l2p_update)
  const free = pblk_rb_readable(pblk, count)
  if (free > 0) __pblk_rb_update_l2p(pblk, free)
}

// ---------------------------------------------------------------- entries come

function write_entry(pblk: pblk, pos: number, from: number, lba: number, flags: number): void {
  const { rwb, memory } = pblk
  memory.bytes.copyWithin(pblk_rb_page(rwb, pos), from, from + SECTOR_BYTES)
  rwb.lba[pos] = lba
  rwb.ppa[pos] = pblk.addr_empty
  rwb.flags[pos] = flags | PBLK_WRITTEN_DATA
}

/** A user's sector at address `from` becomes an entry. */
export function pblk_rb_write_entry_user(
  pblk: pblk,
  pos: number,
  from: number,
  lba: number,
  flags: number,
): void {
  const t = enter(pblk.k, 'pblk_rb_write_entry_user')
  write_entry(pblk, pos, from, lba, flags | PBLK_IOTYPE_USER)
  pblk_update_map_cache(pblk, lba, pblk.cached_base + pos)
  leave(pblk.k, t)
}

/** The collector's sector, read from a place of a line, unless its lba means something else by now. */
export function pblk_rb_write_entry_gc(
  pblk: pblk,
  pos: number,
  from: number,
  lba: number,
  line: pblk_line,
  paddr: number,
): void {
  const t = enter(pblk.k, 'pblk_rb_write_entry_gc')
  write_entry(pblk, pos, from, lba, PBLK_IOTYPE_GC)
  if (!pblk_update_map_gc(pblk, lba, pblk.cached_base + pos, line, paddr))
    pblk.rwb.lba[pos] = ADDR_EMPTY
  leave(pblk.k, t)
}

/** Everything before `pos` must go; `bio` ends then. False: it is there already. */
function pblk_rb_flush_point_set(pblk: pblk, bio: flush_bio | null, pos: number): boolean {
  const { rwb } = pblk
  if (pos === rwb.sync) {
    pblk_rb_sync_end(pblk)
    return false
  }
  const point = (pos - 1) & (rwb.nr_entries - 1)
  rwb.flush_point = point
  if (bio !== null) {
    rwb.bios[point] ??= []
    rwb.bios[point]!.push(bio)
    pblk.shared.watch(PB_FLUSHES, 1)
  }
  pblk_rb_sync_end(pblk)
  return bio !== null
}

/** Room for `n` entries, made if need be. */
function __pblk_rb_may_write(pblk: pblk, n: number): boolean {
  const t = enter(pblk.k, '__pblk_rb_may_write')
  const { rwb } = pblk
  const room = pblk_rb_ring_space(rwb, rwb.mem, rwb.sync) >= n + rwb.back_thres
  const ok = (n === 0 || room) && pblk_rb_update_l2p(pblk, n)
  return leave(pblk.k, t, ok)
}

function publish(pblk: pblk, n: number): number {
  const { rwb } = pblk
  const pos = rwb.mem
  rwb.mem = (pos + n) & (rwb.nr_entries - 1)
  rwb.taken += n
  return pos
}

/** What pblk_rb_may_write_user found: an answer (NVM_IO_*), and where the entries go. */
export interface may_write {
  ret: number
  pos: number
}

/**
 * May a user's bio of `n` sectors be taken? `flush` is the bio if it is one. NVM_IO_OK: it ends with its flush point,
 * NVM_IO_DONE: as soon as its data are copied.
 */
export function pblk_rb_may_write_user(
  pblk: pblk,
  flush: flush_bio | null,
  n: number,
  to: may_write,
): void {
  const t = enter(pblk.k, 'pblk_rb_may_write_user')
  to.ret = pblk_rl_user_may_insert(pblk, n)
  if (to.ret === NVM_IO_OK) {
    if (!__pblk_rb_may_write(pblk, n)) to.ret = NVM_IO_REQUEUE
    else {
      to.ret = NVM_IO_DONE
      const end = (pblk.rwb.mem + n) & (pblk.rwb.nr_entries - 1)
      if (flush !== null) {
        pblk.nr_flush++
        if (pblk_rb_flush_point_set(pblk, flush, end)) to.ret = NVM_IO_OK
      }
      to.pos = publish(pblk, n)
      pblk_rl_user_in(pblk, n)
    }
  }
  leave(pblk.k, t)
}

/** May the collector insert `n` sectors? The position, or -1. */
export function pblk_rb_may_write_gc(pblk: pblk, n: number): number {
  const t = enter(pblk.k, 'pblk_rb_may_write_gc')
  let pos = -1
  if (pblk_rl_gc_may_insert(pblk) && __pblk_rb_may_write(pblk, n)) {
    pos = publish(pblk, n)
    pblk_rl_gc_in(pblk, n)
  }
  return leave(pblk.k, t, pos)
}

/** Whether there may be room for `n` sectors of the collector's, once what is in the way has left the ring. */
export function pblk_rb_gc_room(pblk: pblk, n: number): boolean {
  const { rwb } = pblk
  const room = pblk_rb_ring_space(rwb, rwb.mem, rwb.sync) >= n + rwb.back_thres
  return room && pblk_rl_gc_may_insert(pblk)
}

// ---------------------------------------------------------------- entries go

/** Marks `n` entries as submitted, and puts their pages into a request. */
export function pblk_rb_read_to_bio(
  pblk: pblk,
  pages: Uint32Array,
  pos: number,
  n: number,
  total: number,
): void {
  const t = enter(pblk.k, 'pblk_rb_read_to_bio')
  const { rwb } = pblk
  for (let i = 0; i < n; i++) {
    const at = (pos + i) & (rwb.nr_entries - 1)
    rwb.flags[at] = (rwb.flags[at] & ~PBLK_WRITTEN_DATA) | PBLK_SUBMITTED_ENTRY
    pages[i] = pblk_rb_page(rwb, at)
    trace_call(pblk.k, 'bio_add_pc_page')
  }
  const pad = total - n
  if (pad > 0) {
    const p = enter(pblk.k, 'pblk_bio_add_pages')
    for (let i = 0; i < pad; i++) trace_call(pblk.k, 'bio_add_pc_page')
    leave(pblk.k, p)
    if (pad < pblk.min_write_pgs) pblk.pad_dist[pad - 1]++
    else pblk.recov_pads++
    pages.fill(pblk.pad_page, n, total)
    pblk.pad_wa += pad
  }
  leave(pblk.k, t)
}

/** Position of the entry `i` behind `pos`. */
export function pblk_rb_w_ctx(pblk: pblk, pos: number): number {
  const t = enter(pblk.k, 'pblk_rb_w_ctx')
  return leave(pblk.k, t, pos & (pblk.rwb.nr_entries - 1))
}

/** Copies an entry to a reader, if it still holds what the reader looked up. */
export function pblk_rb_copy_to_bio(pblk: pblk, to: number, lba: number, pos: number): boolean {
  const t = enter(pblk.k, 'pblk_rb_copy_to_bio')
  const { rwb, memory } = pblk
  const same =
    rwb.lba[pos] === lba &&
    (rwb.flags[pos] & PBLK_WRITABLE_ENTRY) === 0 &&
    pblk.trans_map[lba] === pblk.cached_base + pos
  const from = pblk_rb_page(rwb, pos)
  if (same) memory.bytes.copyWithin(to, from, from + SECTOR_BYTES)
  return leave(pblk.k, t, same)
}

export function pblk_rb_sync_init(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rb_sync_init')
  return leave(pblk.k, t, pblk.rwb.sync)
}

export function pblk_rb_sync_end(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_rb_sync_end')
  leave(pblk.k, t)
}

/** Entries were persisted: lines may be free, and who waits for room is woken, the collector if it may find some. */
export function pblk_rb_synced(pblk: pblk): void {
  const { shared, space } = pblk
  pblk_lines_settle(pblk)
  const wanted = shared.peek(PB_GC_WANTS)
  const watched = shared.peek(PB_SPACE_WATCH) > 0 || (wanted > 0 && pblk_rb_gc_room(pblk, wanted))
  if (watched && waitqueue_active(space)) wake_up_all(space)
}

/** `n` entries are persisted. @returns the first that is not */
export function pblk_rb_sync_advance(pblk: pblk, n: number): number {
  const t = enter(pblk.k, 'pblk_rb_sync_advance')
  const { rwb } = pblk
  if (rwb.flush_point >= 0 && pblk_rb_ring_count(rwb, rwb.flush_point, rwb.sync) < n)
    rwb.flush_point = -1
  rwb.sync = (rwb.sync + n) & (rwb.nr_entries - 1)
  rwb.synced += n
  pblk_rb_synced(pblk)
  return leave(pblk.k, t, rwb.sync)
}

/** Entries that must go now for the flush point, beyond those that went. */
export function pblk_rb_flush_point_count(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rb_flush_point_count')
  const { rwb } = pblk
  let n = 0
  if (rwb.flush_point >= 0) {
    const to = pblk_rb_ring_count(rwb, rwb.flush_point, rwb.sync) + 1
    n = Math.max(0, to - pblk_rb_ring_count(rwb, rwb.subm, rwb.sync))
  }
  return leave(pblk.k, t, n)
}

/** Everything in the ring must go. */
export function pblk_rb_flush(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_rb_flush')
  pblk_rb_flush_point_set(pblk, null, pblk.rwb.mem)
  leave(pblk.k, t)
}

/** The ring in sysfs: its size and positions; entries to read, room, entries to flush; requests that ended too early. */
export function pblk_rb_sysfs(pblk: pblk): string {
  const { rwb, compl_list } = pblk
  const { nr_entries, mem, subm, sync, l2p_update, flush_point } = rwb
  const point = flush_point < 0 ? 'NULL' : flush_point
  const places = [nr_entries, mem, subm, sync, l2p_update, 0, point].join('\t')
  const room = pblk_rb_ring_space(rwb, mem, sync)
  const counts = [pblk_rb_read_count(pblk), room, pblk_rb_flush_point_count(pblk)].join('/')
  return `${places} - ${counts} - ${compl_list.length}\n`
}

/** Clears an entry's flush flag and takes the bios that wait for it. */
export function pblk_rb_take_bios(rb: pblk_rb, pos: number): flush_bio[] | null {
  const bios = rb.bios[pos]
  rb.flags[pos] &= ~PBLK_FLUSH_ENTRY
  rb.bios[pos] = null
  if (bios !== null) rb.watch(PB_FLUSHES, -bios.length)
  return bios
}
