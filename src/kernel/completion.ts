// Completions, after kernel/sched/completion.c: "wait until it has happened", counted.
//
// complete() lets one waiter through, now or later; complete_all() lets everybody through until
// reinit_completion(). Waiters are served in the order in which they came.

import type { Sleep } from './core.js'
import { TASK_INTERRUPTIBLE, TASK_NORMAL, TASK_UNINTERRUPTIBLE } from './core.js'
import { might_sleep, set_current_state } from './task.js'
import { MAX_SCHEDULE_TIMEOUT } from './time.js'
import { io_schedule_timeout, schedule_timeout } from './timer-sleep.js'
import type { TimerKernel } from './timer-wheel.js'
import { enter, leave } from './trace.js'
import {
  __wake_up,
  add_wait_queue_exclusive,
  default_wake_function,
  remove_wait_queue,
  wait_queue_entry,
  wait_queue_head,
} from './wait.js'

/** The count that complete_all leaves: never used up. */
const DONE_FOR_ALL: number = Number.POSITIVE_INFINITY

export class completion {
  done = 0
  readonly wait: wait_queue_head

  /** @param name said of a task that waits for it */
  constructor(k: TimerKernel, name = 'completion') {
    this.wait = new wait_queue_head(k, name)
  }
}

/** Makes a completion that was used ready to be used again. */
export function reinit_completion(x: completion): void {
  x.done = 0
}

export function complete(x: completion): void {
  const t = enter(x.wait.k, 'complete')
  x.done++
  __wake_up(x.wait, TASK_NORMAL, 1, null)
  leave(x.wait.k, t)
}

export function complete_all(x: completion): void {
  const t = enter(x.wait.k, 'complete_all')
  x.done = DONE_FOR_ALL
  __wake_up(x.wait, TASK_NORMAL, 0, null)
  leave(x.wait.k, t)
}

/** Whether a wait would end at once. */
export function completion_done(x: completion): boolean {
  return x.done > 0
}

/** The plain twin of wait_for_completion: takes one if it is there. */
export function try_wait_for_completion(x: completion): boolean {
  if (x.done === 0) return false
  x.done--
  return true
}

type Action = typeof schedule_timeout

function* wait_for_common(
  x: completion,
  action: Action,
  timeout: number,
  state: number,
): Sleep<number> {
  const k = x.wait.k
  yield* might_sleep(k)
  if (x.done === 0) {
    const entry = new wait_queue_entry(k, default_wake_function)
    add_wait_queue_exclusive(x.wait, entry)
    do {
      set_current_state(k, state)
      timeout = yield* action(k, timeout, x.wait.name)
    } while (x.done === 0 && timeout > 0)
    remove_wait_queue(x.wait, entry)
    if (x.done === 0) return 0
  }
  x.done--
  return Math.max(1, timeout)
}

/** Sleeps until it is complete. */
export function* wait_for_completion(x: completion): Sleep<void> {
  const k = x.wait.k
  const t = enter(k, 'wait_for_completion')
  yield* wait_for_common(x, schedule_timeout, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE)
  leave(k, t)
}

/**
 * As wait_for_completion, for `timeout` jiffies at most.
 * @returns 0 if the time is over, else the jiffies left, at least 1
 */
export function* wait_for_completion_timeout(x: completion, timeout: number): Sleep<number> {
  const k = x.wait.k
  const t = enter(k, 'wait_for_completion_timeout')
  const left = yield* wait_for_common(x, schedule_timeout, timeout, TASK_UNINTERRUPTIBLE)
  return leave(k, t, left)
}

/** As wait_for_completion_timeout; there are no signals that could end it early. */
export function* wait_for_completion_interruptible_timeout(
  x: completion,
  timeout: number,
): Sleep<number> {
  const k = x.wait.k
  const t = enter(k, 'wait_for_completion_interruptible_timeout')
  const left = yield* wait_for_common(x, schedule_timeout, timeout, TASK_INTERRUPTIBLE)
  return leave(k, t, left)
}

/** As wait_for_completion, for one that waits for I/O: its plug is flushed first. */
export function* wait_for_completion_io(x: completion): Sleep<void> {
  yield* wait_for_common(x, io_schedule_timeout, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE)
}

/** As wait_for_completion_io, for `timeout` jiffies at most. */
export function* wait_for_completion_io_timeout(x: completion, timeout: number): Sleep<number> {
  const k = x.wait.k
  const t = enter(k, 'wait_for_completion_io_timeout')
  const left = yield* wait_for_common(x, io_schedule_timeout, timeout, TASK_UNINTERRUPTIBLE)
  return leave(k, t, left)
}
