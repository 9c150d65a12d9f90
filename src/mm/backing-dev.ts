// Backing devices: mm/backing-dev.c of Linux 4.19.
//
//   default_bdi_init    the workqueue `writeback`, and what the kernel has beside it (mm_state)
//   bdi_alloc_node      one for each request queue, with its laptop-mode timer
//   bdi_register        its write-back may run
//   wb_wakeup_delayed   the first dirty page: write-back in dirty_writeback_interval, unless something comes before
//
// One bdi_writeback for each device: control groups are left out.

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { msecs_to_jiffies } from '../kernel/time.js'
import { timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { wait_queue_head } from '../kernel/wait.js'
import {
  alloc_workqueue,
  delayed_work,
  flush_delayed_work,
  INIT_DELAYED_WORK,
  mod_delayed_work,
  queue_delayed_work,
  WQ_FREEZABLE,
  WQ_MEM_RECLAIM,
  WQ_SYSFS,
  WQ_UNBOUND,
} from '../kernel/workqueue.js'
import type { backing_dev_info, bdi_writeback, mm_ops, mm_state } from './mm.js'
import { laptop_mode_timer_fn } from './page-writeback.js'

/** Defaults of vm.dirty_*. */
const DIRTY_WRITEBACK_INTERVAL = 500
const DIRTY_EXPIRE_INTERVAL = 3000
const DIRTY_BACKGROUND_RATIO = 10
const DIRTY_RATIO = 20

/**
 * The memory management of a kernel.
 * @param frames addresses of the page frames that the cache may use
 */
export function default_bdi_init(k: Kernel, frames: readonly number[], ops: mm_ops): mm_state {
  const t = enter(k, 'default_bdi_init')
  const flags = WQ_MEM_RECLAIM | WQ_FREEZABLE | WQ_UNBOUND | WQ_SYSFS
  const bdi_wq = alloc_workqueue(k, 'writeback', flags, 0)
  if (bdi_wq === null) throw new Error('the workqueue writeback cannot be made')
  return leave(k, t, {
    k,
    ops,
    bdi_wq,
    bdi_list: [],
    laptop_mode: 0,
    dirty_writeback_interval: DIRTY_WRITEBACK_INTERVAL,
    dirty_expire_interval: DIRTY_EXPIRE_INTERVAL,
    dirty_background_ratio: DIRTY_BACKGROUND_RATIO,
    vm_dirty_ratio: DIRTY_RATIO,
    free_frames: [...frames],
    nr_frames: frames.length,
    lru: new Set(),
    nr_dirty: 0,
    nr_writeback: 0,
    throttled: new wait_queue_head(k, 'dirty pages'),
  })
}

function wb_init(
  mm: mm_state,
  bdi: backing_dev_info,
  dwork: delayed_work<bdi_writeback>,
): bdi_writeback {
  const t = enter(mm.k, 'wb_init')
  INIT_DELAYED_WORK(dwork, mm.ops.wb_workfn)
  return leave(mm.k, t, {
    bdi,
    dwork,
    work_list: [],
    b_dirty: [],
    b_io: [],
    registered: false,
    has_dirty_io: false,
    start_all: false,
    start_all_reason: 0,
    last_old_flush: mm.k.jiffies,
  })
}

/** A backing device, not registered yet. */
export function bdi_alloc_node(mm: mm_state, name: string): backing_dev_info {
  const { k } = mm
  const t = enter(k, 'bdi_alloc_node')
  const bdi = { mm, name } as { -readonly [K in keyof backing_dev_info]: backing_dev_info[K] }
  const wb = {} as bdi_writeback
  Object.assign(wb, wb_init(mm, bdi, new delayed_work<bdi_writeback>(k, wb)))
  bdi.wb = wb
  bdi.laptop_mode_wb_timer = new timer_list<backing_dev_info>(k, bdi)
  return leave(k, t, bdi)
}

/** The request queue that owns the device sets its timer up (blk_alloc_queue_node). */
export function laptop_mode_timer_setup(bdi: backing_dev_info): void {
  timer_setup(bdi.laptop_mode_wb_timer, laptop_mode_timer_fn)
}

function bdi_register_va(bdi: backing_dev_info): void {
  const { mm } = bdi
  const t = enter(mm.k, 'bdi_register_va')
  bdi.wb.registered = true
  mm.bdi_list.push(bdi)
  leave(mm.k, t)
}

/** From now on it is written back. */
export function bdi_register(bdi: backing_dev_info): void {
  const { k } = bdi.mm
  const t = enter(k, 'bdi_register')
  bdi_register_va(bdi)
  leave(k, t)
}

/** The same for a disk. */
export function bdi_register_owner(bdi: backing_dev_info): void {
  const { k } = bdi.mm
  const t = enter(k, 'bdi_register_owner')
  bdi_register(bdi)
  leave(k, t)
}

/** No work is accepted any more; what there is runs now, and is waited for (wb_shutdown). */
function* wb_shutdown(wb: bdi_writeback): Sleep<void> {
  const { mm } = wb.bdi
  if (!wb.registered) return
  wb.registered = false
  mod_delayed_work(mm.bdi_wq, wb.dwork, 0)
  yield* flush_delayed_work(wb.dwork)
}

/** It is written back no more. */
export function* bdi_unregister(bdi: backing_dev_info): Sleep<void> {
  const { mm } = bdi
  const t = enter(mm.k, 'bdi_unregister')
  const at = mm.bdi_list.indexOf(bdi)
  if (at >= 0) mm.bdi_list.splice(at, 1)
  // bdi_remove_from_list waits for readers of the list by a work of RCU; here nobody reads it without having it
  const r = enter(mm.k, 'queue_work_on')
  trace_call(mm.k, '__queue_work')
  leave(mm.k, r)
  yield* wb_shutdown(bdi.wb)
  leave(mm.k, t)
}

/** Write-back in dirty_writeback_interval; an earlier wake-up is kept. */
export function wb_wakeup_delayed(wb: bdi_writeback): void {
  const { mm } = wb.bdi
  const t = enter(mm.k, 'wb_wakeup_delayed')
  const timeout = msecs_to_jiffies(mm.k, mm.dirty_writeback_interval * 10)
  if (wb.registered) queue_delayed_work(mm.bdi_wq, wb.dwork, timeout)
  leave(mm.k, t)
}

export function wb_has_dirty_io(wb: bdi_writeback): boolean {
  return wb.has_dirty_io
}

export function bdi_has_dirty_io(bdi: backing_dev_info): boolean {
  return wb_has_dirty_io(bdi.wb)
}
