// Taking back works that are pending, after kernel/workqueue.c.
//
// try_to_grab_pending is the one place that takes a work from wherever it is:
//
//    1         it was pending, on its timer or on a list; PENDING is ours now
//    0         it was idle; PENDING is ours now
//   -ENOENT    somebody else is cancelling it and waits for its end
//
// Linux also knows -EAGAIN, try again: pending, but between PENDING and the list. There is no such
// instant here. The only work that is pending and nowhere is one that was dropped because its queue
// drained; Linux spins on it for ever, here it is a KernelBug.
//
// A work on delayed_works is activated before it is taken, so that its pwq's counts come out right.

import { BUG } from './bug.js'
import type { Sleep } from './core.js'
import { TASK_NORMAL, TASK_UNINTERRUPTIBLE } from './core.js'
import { ENOENT } from './errno.js'
import { list_del_init } from './list.js'
import { schedule } from './task.js'
import { del_timer, del_timer_sync } from './timer.js'
import { enter, leave } from './trace.js'
import {
  __wake_up,
  autoremove_wake_function,
  finish_wait,
  prepare_to_wait_exclusive,
  wait_queue_entry,
} from './wait.js'
import { __flush_work } from './workqueue-flush.js'
import {
  __queue_delayed_work,
  __queue_work,
  pwq_activate_delayed_work,
  pwq_dec_nr_in_flight,
  work_name,
} from './workqueue-queue.js'
import type {
  delayed_work,
  WorkqueueKernel,
  work_struct,
  workqueue_struct,
} from './workqueue-structs.js'
import {
  get_work_color,
  get_work_pwq,
  set_work_off_queue,
  test_and_set_pending,
  WORK_CPU_UNBOUND,
  WORK_OFFQ_CANCELING,
  WORK_STRUCT_DELAYED,
  WORK_STRUCT_PENDING,
  work_is_canceling,
} from './workqueue-structs.js'

/** Takes a work off the list it is on. */
function steal_queued(work: work_struct): void {
  const pwq = get_work_pwq(work)!
  if ((work.flags & WORK_STRUCT_DELAYED) !== 0) pwq_activate_delayed_work(work)
  list_del_init(work.entry)
  const color = get_work_color(work)
  set_work_off_queue(work, pwq.pool, WORK_STRUCT_PENDING)
  pwq_dec_nr_in_flight(pwq, color)
}

/** Not recorded, as in the kernel that was recorded: the compiler put it into its callers. */
function try_to_grab_pending(work: work_struct, dwork: delayed_work | null): number {
  if (dwork !== null && del_timer(dwork.timer) === 1) return 1
  if (!test_and_set_pending(work)) return 0
  if (get_work_pwq(work) !== null) {
    steal_queued(work)
    return 1
  }
  if (work_is_canceling(work)) return -ENOENT
  return BUG(`workqueue: ${work_name(work)} was dropped by a draining queue: no cancel can end`)
}

// --- without waiting

function __cancel_work(work: work_struct, dwork: delayed_work | null): boolean {
  const ret = try_to_grab_pending(work, dwork)
  if (ret < 0) return false
  set_work_off_queue(work, work.pool, 0)
  return ret > 0
}

/** Takes a pending work back; one that runs goes on. True if it was pending. */
export function cancel_work(work: work_struct): boolean {
  const t = enter(work.k, 'cancel_work')
  return leave(work.k, t, __cancel_work(work, null))
}

/** As cancel_work, for a delayed work and its timer. */
export function cancel_delayed_work(dwork: delayed_work): boolean {
  const k = dwork.work.k
  const t = enter(k, 'cancel_delayed_work')
  return leave(k, t, __cancel_work(dwork.work, dwork))
}

/**
 * Queues a delayed work after `delay` jiffies from now, also if it is pending for another time.
 * True if it was pending. While somebody cancels it nothing is done.
 */
export function mod_delayed_work_on(
  cpu: number,
  wq: workqueue_struct,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(wq.k, 'mod_delayed_work_on')
  const ret = try_to_grab_pending(dwork.work, dwork)
  if (ret >= 0) __queue_delayed_work(cpu, wq, dwork, delay)
  // As in Linux, -ENOENT counts as "was pending".
  return leave(wq.k, t, ret !== 0)
}

export function mod_delayed_work(
  wq: workqueue_struct,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(wq.k, 'mod_delayed_work')
  return leave(wq.k, t, mod_delayed_work_on(WORK_CPU_UNBOUND, wq, dwork, delay))
}

// --- waiting

/** Waits for another task's cancel of the same work. */
function* wait_for_canceler(k: WorkqueueKernel, work: work_struct): Sleep<void> {
  const waitq = k.wq.cancel_waitq
  const entry = new wait_queue_entry(k, (self, mode, key) =>
    key === work ? autoremove_wake_function(self, mode) : 0,
  )
  prepare_to_wait_exclusive(waitq, entry, TASK_UNINTERRUPTIBLE)
  if (work_is_canceling(work)) yield* schedule(k, waitq.name)
  finish_wait(waitq, entry)
}

function* __cancel_work_timer(work: work_struct, dwork: delayed_work | null): Sleep<boolean> {
  const k = work.k
  let ret = try_to_grab_pending(work, dwork)
  while (ret === -ENOENT) {
    yield* wait_for_canceler(k, work)
    ret = try_to_grab_pending(work, dwork)
  }
  set_work_off_queue(work, work.pool, WORK_STRUCT_PENDING | WORK_OFFQ_CANCELING)
  yield* __flush_work(work, true)
  set_work_off_queue(work, null, 0)
  __wake_up(k.wq.cancel_waitq, TASK_NORMAL, 1, work)
  return ret > 0
}

/**
 * Takes a work back and waits for its end if it runs. Afterwards it is neither queued nor running,
 * even if it queues itself. True if it was pending.
 */
export function* cancel_work_sync(work: work_struct): Sleep<boolean> {
  const t = enter(work.k, 'cancel_work_sync')
  const was_pending = yield* __cancel_work_timer(work, null)
  return leave(work.k, t, was_pending)
}

/** As cancel_work_sync, for a delayed work and its timer. */
export function* cancel_delayed_work_sync(dwork: delayed_work): Sleep<boolean> {
  const k = dwork.work.k
  const t = enter(k, 'cancel_delayed_work_sync')
  const was_pending = yield* __cancel_work_timer(dwork.work, dwork)
  return leave(k, t, was_pending)
}

/** If the work waits for its timer, queues it at once; then waits as flush_work does. */
export function* flush_delayed_work(dwork: delayed_work): Sleep<boolean> {
  const k = dwork.work.k
  const t = enter(k, 'flush_delayed_work')
  if (del_timer_sync(dwork.timer) === 1) __queue_work(dwork.cpu, dwork.wq!, dwork.work)
  const waited = yield* __flush_work(dwork.work, false)
  return leave(k, t, waited)
}
