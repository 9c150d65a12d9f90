// Wait queues, after kernel/sched/wait.c and include/linux/wait.h.
//
// Waiters that are not exclusive are put in front, exclusive ones at the end. A wake-up for n goes
// through the queue in order, calls each waiter's function (the usual one wakes its task) and ends
// after the n-th exclusive waiter whose function said that it woke someone; so every non-exclusive
// waiter in front of it is woken too. n = 0 wakes all. A waiter whose task is awake already does
// not use up the wake-up.
//
// The loop of a waiter:
//
//     const wait = new wait_queue_entry(k)
//     while (true) {
//       prepare_to_wait(head, wait, TASK_UNINTERRUPTIBLE)
//       if (condition()) break
//       yield* schedule(k)
//     }
//     finish_wait(head, wait)
//
// `wait_event(head, condition)` is that loop. There are no signals: an interruptible wait only
// shows as one.

import type { KernelCore, Sleep, task_struct } from './core.js'
import { TASK_INTERRUPTIBLE, TASK_NORMAL, TASK_RUNNING, TASK_UNINTERRUPTIBLE } from './core.js'
import { list_add, list_add_tail, list_del_init, list_empty, list_head } from './list.js'
import { schedule, set_current_state, try_to_wake_up } from './task.js'
import { schedule_timeout } from './timer-sleep.js'
import type { TimerKernel } from './timer-wheel.js'
import { enter, leave } from './trace.js'

export const WQ_FLAG_EXCLUSIVE = 1

/** @returns > 0 if it woke someone, 0 if not, < 0 to end the walk */
export type wait_queue_func_t = (entry: wait_queue_entry, mode: number, key: unknown) => number

export class wait_queue_head {
  readonly k: TimerKernel
  /** Said of a task that sleeps here. */
  readonly name: string
  readonly head: list_head<wait_queue_entry> = new list_head<wait_queue_entry>()

  constructor(k: TimerKernel, name = 'wait queue') {
    this.k = k
    this.name = name
  }
}

export class wait_queue_entry {
  flags = 0
  readonly task: task_struct
  readonly func: wait_queue_func_t
  readonly entry: list_head<wait_queue_entry> = new list_head<wait_queue_entry>(this)

  /**
   * An entry of the running task. By default it takes itself off the queue when it wakes the task.
   */
  constructor(k: KernelCore, func: wait_queue_func_t = autoremove_wake_function) {
    this.task = k.cpu.current
    this.func = func
  }
}

/** Wakes the entry's task and leaves the entry where it is. */
export function default_wake_function(entry: wait_queue_entry, mode: number): number {
  return try_to_wake_up(entry.task, mode) ? 1 : 0
}

/** Wakes the entry's task; if it slept, takes the entry off the queue. */
export function autoremove_wake_function(entry: wait_queue_entry, mode: number): number {
  const ret = default_wake_function(entry, mode)
  if (ret > 0) list_del_init(entry.entry)
  return ret
}

/** Whether anyone waits. */
export function waitqueue_active(wq: wait_queue_head): boolean {
  return !list_empty(wq.head)
}

export function add_wait_queue(wq: wait_queue_head, entry: wait_queue_entry): void {
  entry.flags &= ~WQ_FLAG_EXCLUSIVE
  list_add(entry.entry, wq.head)
}

export function add_wait_queue_exclusive(wq: wait_queue_head, entry: wait_queue_entry): void {
  entry.flags |= WQ_FLAG_EXCLUSIVE
  list_add_tail(entry.entry, wq.head)
}

export function remove_wait_queue(_wq: wait_queue_head, entry: wait_queue_entry): void {
  list_del_init(entry.entry)
}

/**
 * Wakes all non-exclusive waiters in the way and up to `nr` exclusive ones; 0: all. `key` goes to
 * the waiters' functions.
 */
export function __wake_up(wq: wait_queue_head, mode: number, nr: number, key: unknown): void {
  const t = enter(wq.k, '__wake_up')
  let next: list_head<wait_queue_entry>
  for (let pos = wq.head.next; pos !== wq.head; pos = next) {
    next = pos.next
    const entry = pos.owner!
    const exclusive = (entry.flags & WQ_FLAG_EXCLUSIVE) !== 0
    const ret = entry.func(entry, mode, key)
    if (ret < 0 || (ret > 0 && exclusive && --nr === 0)) break
  }
  leave(wq.k, t)
}

export function wake_up(wq: wait_queue_head): void {
  __wake_up(wq, TASK_NORMAL, 1, null)
}

export function wake_up_nr(wq: wait_queue_head, nr: number): void {
  __wake_up(wq, TASK_NORMAL, nr, null)
}

export function wake_up_all(wq: wait_queue_head): void {
  __wake_up(wq, TASK_NORMAL, 0, null)
}

export function wake_up_interruptible(wq: wait_queue_head): void {
  __wake_up(wq, TASK_INTERRUPTIBLE, 1, null)
}

/** Queues the entry, unless it is queued, and sets the task's state. */
export function prepare_to_wait(wq: wait_queue_head, entry: wait_queue_entry, state: number): void {
  const t = enter(wq.k, 'prepare_to_wait')
  if (list_empty(entry.entry)) add_wait_queue(wq, entry)
  set_current_state(wq.k, state)
  leave(wq.k, t)
}

export function prepare_to_wait_exclusive(
  wq: wait_queue_head,
  entry: wait_queue_entry,
  state: number,
): void {
  const t = enter(wq.k, 'prepare_to_wait_exclusive')
  if (list_empty(entry.entry)) add_wait_queue_exclusive(wq, entry)
  set_current_state(wq.k, state)
  leave(wq.k, t)
}

/** Ends a wait: running again, off the queue. */
export function finish_wait(wq: wait_queue_head, entry: wait_queue_entry): void {
  const t = enter(wq.k, 'finish_wait')
  set_current_state(wq.k, TASK_RUNNING)
  list_del_init(entry.entry)
  leave(wq.k, t)
}

/** Sleeps until the condition holds; somebody calls wake_up whenever it may have come true. */
export function* wait_event(wq: wait_queue_head, condition: () => boolean): Sleep<void> {
  if (condition()) return
  const entry = new wait_queue_entry(wq.k)
  while (true) {
    prepare_to_wait(wq, entry, TASK_UNINTERRUPTIBLE)
    if (condition()) break
    yield* schedule(wq.k, wq.name)
  }
  finish_wait(wq, entry)
}

/**
 * As wait_event, for `timeout` jiffies at most.
 * @returns 0 if the time is over and the condition does not hold, else the jiffies left, at least 1
 */
export function* wait_event_timeout(
  wq: wait_queue_head,
  condition: () => boolean,
  timeout: number,
): Sleep<number> {
  if (condition()) return Math.max(1, timeout)
  const entry = new wait_queue_entry(wq.k)
  let left = timeout
  while (true) {
    prepare_to_wait(wq, entry, TASK_UNINTERRUPTIBLE)
    const holds = condition()
    if (holds && left === 0) left = 1
    if (holds || left === 0) break
    left = yield* schedule_timeout(wq.k, left, wq.name)
  }
  finish_wait(wq, entry)
  return left
}
