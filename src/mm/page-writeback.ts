// Dirty pages: mm/page-writeback.c of Linux 4.19.
//
//   laptop mode   every request that ends pushes a timer of its device vm.laptop_mode seconds away; when it fires, all
//                 that is dirty is written, while the disk runs anyway. sync(2) stops the timers
//   limits        above dirty_background_ratio the flusher runs (not in laptop mode), above dirty_ratio writers wait
//   write_cache_pages   the dirty pages of a file, in order, each given to `writepage`
//
// Of the estimation of bandwidths only the calls are there: a device has all of the bandwidth. Ratios are of the frames
// that the page cache has.

import { EINVAL } from '../kernel/errno.js'
import type { Sleep } from '../kernel/core.js'
import { msecs_to_jiffies } from '../kernel/time.js'
import { del_timer, mod_timer } from '../kernel/timer.js'
import { schedule_timeout_uninterruptible } from '../kernel/timer-sleep.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event, waitqueue_active, wake_up_all } from '../kernel/wait.js'
import {
  type address_space,
  type backing_dev_info,
  type bdi_writeback,
  type mm_state,
  type page,
  PAGE_SIZE,
  WB_REASON_LAPTOP_TIMER,
  WB_REASON_PERIODIC,
  WB_SYNC_ALL,
  WB_SYNC_NONE,
  type writeback_control,
} from './mm.js'

const INT_MAX = 2 ** 31 - 1

/** How long a writer pauses at a time above dirty_ratio, ms. */
const PAUSE_MS = 20

// ---------------------------------------------------------------- laptop mode

/** The disk has been quiet for so long: now is the time to write. */
export function laptop_mode_timer_fn(timer: timer_list<backing_dev_info>): void {
  const bdi = timer.container
  const { k, ops } = bdi.mm
  const t = enter(k, 'laptop_mode_timer_fn')
  ops.wakeup_flusher_threads_bdi(bdi, WB_REASON_LAPTOP_TIMER)
  leave(k, t)
}

/** A request has ended: the timer starts again. */
export function laptop_io_completion(bdi: backing_dev_info): void {
  const { k, laptop_mode } = bdi.mm
  const t = enter(k, 'laptop_io_completion')
  mod_timer(bdi.laptop_mode_wb_timer, k.jiffies + laptop_mode)
  leave(k, t)
}

/** Everything has just been written: no timer needs to fire. */
export function laptop_sync_completion(mm: mm_state): void {
  const t = enter(mm.k, 'laptop_sync_completion')
  for (const bdi of mm.bdi_list) del_timer(bdi.laptop_mode_wb_timer)
  leave(mm.k, t)
}

// ---------------------------------------------------------------- sysctls

/** vm.laptop_mode in seconds: 0 or -errno. A pending timer stays. */
export function set_laptop_mode(mm: mm_state, seconds: number): number {
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > INT_MAX / mm.k.hz) return -EINVAL
  mm.laptop_mode = seconds * mm.k.hz
  return 0
}

/** vm.dirty_writeback_centisecs: 0 or -errno. A new interval wakes all flushers. */
export function dirty_writeback_centisecs_handler(mm: mm_state, centisecs: number): number {
  if (!Number.isInteger(centisecs) || centisecs < 0) return -EINVAL
  const old = mm.dirty_writeback_interval
  mm.dirty_writeback_interval = centisecs
  if (centisecs !== 0 && centisecs !== old)
    for (const bdi of mm.bdi_list) mm.ops.wakeup_flusher_threads_bdi(bdi, WB_REASON_PERIODIC)
  return 0
}

// ---------------------------------------------------------------- limits

/** Pages that may be dirty before write-back begins, and before writers wait. */
export function global_dirty_limits(mm: mm_state): { background: number; dirty: number } {
  const dirty = Math.floor((mm.nr_frames * mm.vm_dirty_ratio) / 100)
  const background = Math.floor((mm.nr_frames * mm.dirty_background_ratio) / 100)
  return { dirty, background: background >= dirty ? Math.floor(dirty / 2) : background }
}

/** A device's share of a limit: all of it. */
function wb_calc_thresh(wb: bdi_writeback, thresh: number): number {
  const { k } = wb.bdi.mm
  const t = enter(k, 'wb_calc_thresh')
  return leave(k, t, thresh)
}

/** Whether background write-back has something to do. */
export function wb_over_bg_thresh(wb: bdi_writeback): boolean {
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_over_bg_thresh')
  const { background } = global_dirty_limits(mm)
  const over = mm.nr_dirty > background || mm.nr_dirty > wb_calc_thresh(wb, background)
  return leave(mm.k, t, over)
}

export function wb_update_bandwidth(wb: bdi_writeback): void {
  const { k } = wb.bdi.mm
  leave(k, enter(k, 'wb_update_bandwidth'))
}

/**
 * After a page was dirtied: the writer waits while there are too many.
 * @param start_background begins background write-back
 */
export function* balance_dirty_pages_ratelimited(
  mapping: address_space,
  start_background: (wb: bdi_writeback) => void,
): Sleep<void> {
  const { mm, host } = mapping
  for (;;) {
    const { background, dirty } = global_dirty_limits(mm)
    const many = mm.nr_dirty + mm.nr_writeback
    const over = many > dirty
    if (over || (many > background && mm.laptop_mode === 0)) start_background(host.bdi.wb)
    if (!over) return
    yield* schedule_timeout_uninterruptible(mm.k, msecs_to_jiffies(mm.k, PAUSE_MS))
  }
}

// ---------------------------------------------------------------- pages

/** Notes that a page has to be written; false: it was noted already. */
export function set_page_dirty(p: page): boolean {
  if (p.dirty) return false
  p.dirty = true
  p.mapping.dirty.add(p.index)
  p.mapping.mm.nr_dirty++
  return true
}

/** The page goes to the disk: it is dirty no more; false: it was not. */
export function clear_page_dirty_for_io(p: page): boolean {
  if (!p.dirty) return false
  p.dirty = false
  p.mapping.dirty.delete(p.index)
  p.mapping.mm.nr_dirty--
  return true
}

export function set_page_writeback(p: page): void {
  p.writeback = true
  p.mapping.under_writeback.add(p)
  p.mapping.mm.nr_writeback++
}

/** The disk has it. */
export function end_page_writeback(p: page): void {
  const { mm } = p.mapping
  p.writeback = false
  p.mapping.under_writeback.delete(p)
  mm.nr_writeback--
  wake_waiters(p)
}

/** Whoever waits for a page, or for any page that could go. */
export function wake_waiters({ mapping }: page): void {
  if (waitqueue_active(mapping.wait)) wake_up_all(mapping.wait)
  if (waitqueue_active(mapping.mm.throttled)) wake_up_all(mapping.mm.throttled)
}

export function* wait_on_page_writeback(p: page): Sleep<void> {
  if (p.writeback) yield* wait_event(p.mapping.wait, () => !p.writeback)
}

/**
 * Gives the dirty pages of a file to `writepage`, in order.
 * @returns 0, or the first error
 */
export function* write_cache_pages(
  mapping: address_space,
  wbc: writeback_control,
  writepage: (p: page, wbc: writeback_control) => Sleep<number>,
): Sleep<number> {
  let error = 0
  const [first, last] = [wbc.range_start, wbc.range_end].map(at => Math.floor(at / PAGE_SIZE))
  const dirty = [...mapping.dirty].filter(i => i >= first! && i <= last!).sort((a, b) => a - b)
  for (const index of dirty) {
    const p = mapping.pages.get(index)
    if (p === undefined || !p.dirty) continue
    if (p.writeback) {
      if (wbc.sync_mode !== WB_SYNC_ALL) continue
      yield* wait_on_page_writeback(p)
    }
    if (!clear_page_dirty_for_io(p)) continue
    error ||= yield* writepage(p, wbc)
    if (--wbc.nr_to_write <= 0 && wbc.sync_mode === WB_SYNC_NONE) break
  }
  return error
}

/** Writes what is dirty of a file. */
export function* do_writepages(mapping: address_space, wbc: writeback_control): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, 'do_writepages')
  if (wbc.nr_to_write <= 0) return leave(k, t, 0)
  return leave(k, t, yield* mapping.a_ops.writepages(mapping, wbc))
}
