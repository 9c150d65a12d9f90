// Sleeping for a number of jiffies, after kernel/time/timer.c and kernel/sched/core.c.
//
// The timer of a sleep goes through the wheel like any other: a sleep lasts at least the jiffies
// asked for, and up to a bucket of its level longer.

import type { Sleep, task_struct } from './core.js'
import { printk, TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE } from './core.js'
import { schedule, set_current_state, wake_up_process } from './task.js'
import { MAX_SCHEDULE_TIMEOUT, msecs_to_jiffies } from './time.js'
import { __mod_timer, del_timer_sync, timer_setup } from './timer.js'
import { type TimerKernel, timer_list } from './timer-wheel.js'
import { enter, leave } from './trace.js'

function process_timeout(timer: timer_list<task_struct>): void {
  wake_up_process(timer.container)
}

/**
 * Sleeps until woken or until `timeout` jiffies have passed. The caller sets the state first; a
 * task that is still in TASK_RUNNING only passes its turn.
 * @returns the jiffies left, 0 when the time ran out; MAX_SCHEDULE_TIMEOUT as it was given
 */
export function* schedule_timeout(
  k: TimerKernel,
  timeout: number,
  what = 'schedule_timeout',
): Sleep<number> {
  const t = enter(k, 'schedule_timeout')
  if (timeout === MAX_SCHEDULE_TIMEOUT) {
    yield* schedule(k, what)
    return leave(k, t, timeout)
  }
  if (timeout < 0) {
    printk(k, 'err', `schedule_timeout: wrong timeout value ${timeout}`)
    set_current_state(k, TASK_RUNNING)
    return leave(k, t, 0)
  }
  const expire = k.jiffies + timeout
  const timer = new timer_list(k, k.cpu.current)
  timer_setup(timer, process_timeout)
  __mod_timer(timer, expire, 0)
  yield* schedule(k, what)
  del_timer_sync(timer)
  return leave(k, t, Math.max(0, expire - k.jiffies))
}

export function* schedule_timeout_interruptible(k: TimerKernel, timeout: number): Sleep<number> {
  set_current_state(k, TASK_INTERRUPTIBLE)
  return yield* schedule_timeout(k, timeout)
}

export function* schedule_timeout_uninterruptible(k: TimerKernel, timeout: number): Sleep<number> {
  set_current_state(k, TASK_UNINTERRUPTIBLE)
  return yield* schedule_timeout(k, timeout)
}

/** As schedule_timeout, for one that waits for I/O: its plug is flushed first. */
export function* io_schedule_timeout(
  k: TimerKernel,
  timeout: number,
  what = 'io_schedule_timeout',
): Sleep<number> {
  const t = enter(k, 'io_schedule_timeout')
  k.cpu.current.plug?.blk_schedule_flush_plug()
  const left = yield* schedule_timeout(k, timeout, what)
  return leave(k, t, left)
}

/** Sleeps at least `msecs` milliseconds: one jiffy more than they make, and what the wheel adds. */
export function* msleep(k: TimerKernel, msecs: number): Sleep<void> {
  const t = enter(k, 'msleep')
  let timeout = msecs_to_jiffies(k, msecs) + 1
  while (timeout > 0) timeout = yield* schedule_timeout_uninterruptible(k, timeout)
  leave(k, t)
}

/** Sleeps at least `seconds` seconds. */
export function* ssleep(k: TimerKernel, seconds: number): Sleep<void> {
  yield* msleep(k, seconds * 1000)
}
