// The flusher: fs/fs-writeback.c of Linux 4.19.
//
//   wakeup_flusher_threads[_bdi] -> wb_start_writeback -> wb_wakeup    all that is dirty, at once
//   wb_queue_work                                                       one explicit work (sync)
//   __mark_inode_dirty                                                  the first dirty page of an inode
//
// wb_workfn does what there is to do, in this order, and comes again while there is more:
//
//   1  explicit works, oldest first
//   2  everything dirty, if it was asked for (WB_start_all); page age does not matter
//   3  what is older than dirty_expire_interval, once in dirty_writeback_interval
//   4  until the background limit is met, if it is exceeded
//
// 3 and 4 stop when an explicit work arrives. Left out: control groups, several bdi_writeback for a device, the rescuer's
// own way.

import type { Sleep } from '../kernel/core.js'
import { msecs_to_jiffies, time_after, time_before } from '../kernel/time.js'
import { enter, leave } from '../kernel/trace.js'
import { mod_delayed_work } from '../kernel/workqueue.js'
import type { work_struct } from '../kernel/workqueue-structs.js'
import { bdi_has_dirty_io, wb_has_dirty_io, wb_wakeup_delayed } from '../mm/backing-dev.js'
import { filemap_fdatawait_range } from '../mm/filemap.js'
import {
  type backing_dev_info,
  type bdi_writeback,
  type inode,
  type mm_state,
  WB_REASON_BACKGROUND,
  WB_REASON_PERIODIC,
  WB_SYNC_ALL,
  WB_SYNC_NONE,
  type wb_writeback_work,
  type writeback_control,
} from '../mm/mm.js'
import { do_writepages, wb_over_bg_thresh, wb_update_bandwidth } from '../mm/page-writeback.js'

const LONG_MAX = Number.MAX_SAFE_INTEGER

/** Pages of an inode that one pass writes at most. */
const MIN_WRITEBACK_PAGES = 1024

// ---------------------------------------------------------------- waking the flusher

/** Makes the flusher run now. */
function wb_wakeup(wb: bdi_writeback): void {
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_wakeup')
  if (wb.registered) mod_delayed_work(mm.bdi_wq, wb.dwork, 0)
  leave(mm.k, t)
}

/** Gives the flusher one work. */
export function wb_queue_work(wb: bdi_writeback, work: wb_writeback_work): void {
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_queue_work')
  if (wb.registered) {
    wb.work_list.push(work)
    mod_delayed_work(mm.bdi_wq, wb.dwork, 0)
  } else work.done?.()
  leave(mm.k, t)
}

/** Asks for everything dirty of a device; asking twice before it is done is asking once. */
function wb_start_writeback(wb: bdi_writeback, reason: number): void {
  const { k } = wb.bdi.mm
  const t = enter(k, 'wb_start_writeback')
  if (wb_has_dirty_io(wb) && !wb.start_all) {
    wb.start_all = true
    wb.start_all_reason = reason
    wb_wakeup(wb)
  }
  leave(k, t)
}

export function wb_start_background_writeback(wb: bdi_writeback): void {
  const { k } = wb.bdi.mm
  const t = enter(k, 'wb_start_background_writeback')
  wb_wakeup(wb)
  leave(k, t)
}

function __wakeup_flusher_threads_bdi(bdi: backing_dev_info, reason: number): void {
  const { k } = bdi.mm
  const t = enter(k, '__wakeup_flusher_threads_bdi')
  if (bdi_has_dirty_io(bdi)) wb_start_writeback(bdi.wb, reason)
  leave(k, t)
}

export function wakeup_flusher_threads_bdi(bdi: backing_dev_info, reason: number): void {
  const { k } = bdi.mm
  const t = enter(k, 'wakeup_flusher_threads_bdi')
  __wakeup_flusher_threads_bdi(bdi, reason)
  leave(k, t)
}

/** All devices. */
export function wakeup_flusher_threads(mm: mm_state, reason: number): void {
  const t = enter(mm.k, 'wakeup_flusher_threads')
  for (const bdi of mm.bdi_list) __wakeup_flusher_threads_bdi(bdi, reason)
  leave(mm.k, t)
}

// ---------------------------------------------------------------- inodes

function wb_io_lists_populated(wb: bdi_writeback): boolean {
  if (wb.has_dirty_io) return false
  wb.has_dirty_io = true
  return true
}

function wb_io_lists_depopulated(wb: bdi_writeback): void {
  const { k } = wb.bdi.mm
  const t = enter(k, 'wb_io_lists_depopulated')
  if (wb.b_dirty.length + wb.b_io.length === 0) wb.has_dirty_io = false
  leave(k, t)
}

/** An inode has dirty pages. The first one of a device sets the periodic write-back going. */
export function __mark_inode_dirty(inode: inode): void {
  const { bdi } = inode
  const { k } = bdi.mm
  if (inode.dirty_pages) return
  const t = enter(k, '__mark_inode_dirty')
  inode.dirty_pages = true
  const { wb } = bdi
  if (!inode.sync && !wb.b_io.includes(inode)) {
    inode.dirtied_when = k.jiffies
    wb.b_dirty.push(inode)
    if (wb_io_lists_populated(wb)) wb_wakeup_delayed(wb)
  }
  leave(k, t)
}

/** What one pass writes: inodes dirtied before a time. */
function queue_io(wb: bdi_writeback, older_than: number): void {
  const { k } = wb.bdi.mm
  const t = enter(k, 'queue_io')
  const old = (inode: inode): boolean => !time_after(inode.dirtied_when, older_than)
  wb.b_io.push(...wb.b_dirty.filter(old))
  wb.b_dirty = wb.b_dirty.filter(inode => !old(inode))
  leave(k, t)
}

/** Writes the pages of one inode: how many. */
function* __writeback_single_inode(inode: inode, wbc: writeback_control): Sleep<number> {
  const { k } = inode.bdi.mm
  const t = enter(k, '__writeback_single_inode')
  const asked = wbc.nr_to_write
  inode.dirty_pages = false
  yield* do_writepages(inode.i_mapping, wbc)
  if (wbc.sync_mode === WB_SYNC_ALL && !wbc.for_sync)
    yield* filemap_fdatawait_range(inode.i_mapping, 0, LONG_MAX)
  return leave(k, t, asked - wbc.nr_to_write)
}

/** An inode was written: what is still dirty of it waits for the next pass. */
function requeue_inode(wb: bdi_writeback, inode: inode): void {
  if (inode.i_mapping.dirty.size > 0) {
    inode.dirty_pages = true
    wb.b_dirty.push(inode)
  } else wb_io_lists_depopulated(wb)
}

function* writeback_sb_inodes(wb: bdi_writeback, work: wb_writeback_work): Sleep<number> {
  let wrote = 0
  while (wb.b_io.length > 0 && work.nr_pages > 0) {
    const inode = wb.b_io.shift()!
    const whole = work.sync_mode === WB_SYNC_ALL
    const wbc: writeback_control = {
      sync_mode: work.sync_mode,
      for_sync: work.for_sync,
      nr_to_write: whole ? LONG_MAX : Math.min(work.nr_pages, MIN_WRITEBACK_PAGES),
      range_start: 0,
      range_end: LONG_MAX,
    }
    inode.sync = true
    const written = yield* __writeback_single_inode(inode, wbc)
    inode.sync = false
    work.nr_pages -= written
    wrote += written
    requeue_inode(wb, inode)
  }
  return wrote
}

// ---------------------------------------------------------------- the works

/** When an inode must have been dirtied to be written by a work. */
function older_than(wb: bdi_writeback, work: wb_writeback_work): number {
  const { k, dirty_expire_interval } = wb.bdi.mm
  return work.for_kupdate ? k.jiffies - msecs_to_jiffies(k, dirty_expire_interval * 10) : k.jiffies
}

function may_go_on(wb: bdi_writeback, work: wb_writeback_work): boolean {
  if (work.nr_pages <= 0) return false
  if ((work.for_background || work.for_kupdate) && wb.work_list.length > 0) return false
  return !work.for_background || wb_over_bg_thresh(wb)
}

/** Writes what a work asks for: pages written. */
function* wb_writeback(wb: bdi_writeback, work: wb_writeback_work): Sleep<number> {
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_writeback')
  const asked = work.nr_pages
  mm.ops.blk_start_plug()
  while (may_go_on(wb, work)) {
    if (wb.b_io.length === 0) queue_io(wb, older_than(wb, work))
    const wrote = yield* writeback_sb_inodes(wb, work)
    wb_update_bandwidth(wb)
    if (wrote === 0) break
  }
  mm.ops.blk_finish_plug()
  return leave(mm.k, t, asked - work.nr_pages)
}

function work_of(change: Partial<wb_writeback_work>): wb_writeback_work {
  return {
    nr_pages: LONG_MAX,
    sync_mode: WB_SYNC_NONE,
    for_kupdate: false,
    for_background: false,
    for_sync: false,
    reason: WB_REASON_BACKGROUND,
    done: null,
    ...change,
  }
}

/** get_nr_dirty_pages: dirty pages, and the inodes that have them. */
function get_nr_dirty_pages({ bdi_list, nr_dirty }: mm_state): number {
  return bdi_list.reduce((n, { wb }) => n + wb.b_dirty.length + wb.b_io.length, nr_dirty)
}

function* wb_check_start_all(wb: bdi_writeback): Sleep<number> {
  if (!wb.start_all) return 0
  const nr_pages = get_nr_dirty_pages(wb.bdi.mm)
  let wrote = 0
  if (nr_pages > 0)
    wrote = yield* wb_writeback(wb, work_of({ nr_pages, reason: wb.start_all_reason }))
  wb.start_all = false
  return wrote
}

function* wb_check_old_data_flush(wb: bdi_writeback): Sleep<number> {
  const { k, dirty_writeback_interval } = wb.bdi.mm
  if (dirty_writeback_interval === 0) return 0
  const expired = wb.last_old_flush + msecs_to_jiffies(k, dirty_writeback_interval * 10)
  if (time_before(k.jiffies, expired)) return 0
  wb.last_old_flush = k.jiffies
  const nr_pages = get_nr_dirty_pages(wb.bdi.mm)
  if (nr_pages === 0) return 0
  const work = work_of({ nr_pages, for_kupdate: true, reason: WB_REASON_PERIODIC })
  return yield* wb_writeback(wb, work)
}

function* wb_check_background_flush(wb: bdi_writeback): Sleep<number> {
  if (!wb_over_bg_thresh(wb)) return 0
  return yield* wb_writeback(wb, work_of({ for_background: true }))
}

/** Everything that is to be done now: pages written. */
function* wb_do_writeback(wb: bdi_writeback): Sleep<number> {
  const { k } = wb.bdi.mm
  const t = enter(k, 'wb_do_writeback')
  let wrote = 0
  for (let work = wb.work_list.shift(); work !== undefined; work = wb.work_list.shift()) {
    wrote += yield* wb_writeback(wb, work)
    work.done?.()
  }
  wrote += yield* wb_check_start_all(wb)
  wrote += yield* wb_check_old_data_flush(wb)
  wrote += yield* wb_check_background_flush(wb)
  return leave(k, t, wrote)
}

/** The delayed work of a device. */
export function* wb_workfn(work: work_struct<bdi_writeback>): Sleep<void> {
  const wb = work.container
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_workfn')
  do yield* wb_do_writeback(wb)
  while (wb.work_list.length > 0)
  if (wb_has_dirty_io(wb) && mm.dirty_writeback_interval !== 0) wb_wakeup_delayed(wb)
  leave(mm.k, t)
}

/** An explicit work that writes all of a device for sync(2). */
export function sync_work(reason: number, done: () => void): wb_writeback_work {
  return work_of({ sync_mode: WB_SYNC_ALL, for_sync: true, reason, done })
}
