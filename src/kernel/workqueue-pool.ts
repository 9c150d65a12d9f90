// Worker pools: who is idle, who runs, when another worker is needed. After kernel/workqueue.c.
//
// Concurrency management of a CPU's pool: nr_running counts workers that are busy and awake. As
// long as it is not 0 nobody else is started; a worker that goes to sleep in a work lowers it, and
// if it falls to 0 with works waiting, the next idle worker is woken. So a CPU runs one work at a
// time unless works sleep. Workers that are idle or between works (PREP), that run a CPU-intensive
// work, or that belong to an unbound pool are not counted: an unbound pool starts a worker for
// every work.
//
// A pool keeps at least one idle worker while it works (its busy ones make it,
// workqueue-worker.ts). Superfluous idle workers go after five minutes: too many are (nr_idle - 2)
// * 4 >= nr_busy with more than two idle.

import { TASK_NORMAL, type task_struct } from './core.js'
import {
  list_add,
  list_add_tail,
  list_del_init,
  list_empty,
  list_first,
  type list_head,
  list_last,
} from './list.js'
import { kthread_bind_mask, try_to_wake_up, wake_up_process } from './task.js'
import { time_before } from './time.js'
import { mod_timer, timer_pending } from './timer.js'
import type { timer_list } from './timer-wheel.js'
import { enter, leave } from './trace.js'
import { wake_up_all } from './wait.js'
import type { work_struct } from './workqueue-structs.js'
import {
  IDLE_WORKER_TIMEOUT_S,
  MAX_IDLE_WORKERS_RATIO,
  POOL_DISASSOCIATED,
  POOL_MANAGER_ACTIVE,
  WORK_STRUCT_LINKED,
  WORKER_DIE,
  WORKER_IDLE,
  WORKER_NOT_RUNNING,
  WORKER_REBOUND,
  WORKER_UNBOUND,
  worker,
  type worker_pool,
} from './workqueue-structs.js'

// --- policy

export function __need_more_worker(pool: worker_pool): boolean {
  return pool.nr_running === 0
}

/** Works wait and nobody runs. */
export function need_more_worker(pool: worker_pool): boolean {
  return !list_empty(pool.worklist) && __need_more_worker(pool)
}

/** Somebody else is idle and can take over. */
export function may_start_working(pool: worker_pool): boolean {
  return pool.nr_idle > 0
}

/** Whether the worker that asks should go on with the next work. */
export function keep_working(pool: worker_pool): boolean {
  return !list_empty(pool.worklist) && pool.nr_running <= 1
}

export function need_to_create_worker(pool: worker_pool): boolean {
  return need_more_worker(pool) && !may_start_working(pool)
}

export function too_many_workers(pool: worker_pool): boolean {
  const managing = (pool.flags & POOL_MANAGER_ACTIVE) !== 0 ? 1 : 0
  const nr_idle = pool.nr_idle + managing
  const nr_busy = pool.nr_workers - nr_idle
  return nr_idle > 2 && (nr_idle - 2) * MAX_IDLE_WORKERS_RATIO >= nr_busy
}

// --- waking

export function first_idle_worker(pool: worker_pool): worker | null {
  return list_first(pool.idle_list)
}

/** Wakes the worker that became idle last. */
export function wake_up_worker(pool: worker_pool): void {
  const t = enter(pool.k, 'wake_up_worker')
  const idle = first_idle_worker(pool)
  if (idle !== null) wake_up_process(idle.task)
  leave(pool.k, t)
}

/** The worker of a task, or null if it is no worker's. */
export function kthread_worker(task: task_struct): worker | null {
  return task.kthread_data instanceof worker ? task.kthread_data : null
}

/** Called by the scheduler when a worker's task is about to sleep. */
export function wq_worker_sleeping(task: task_struct): void {
  const self = kthread_worker(task)
  if (self === null || (self.flags & WORKER_NOT_RUNNING) !== 0) return
  const t = enter(task.k, 'wq_worker_sleeping')
  const pool = self.pool!
  if (--pool.nr_running === 0 && !list_empty(pool.worklist)) {
    const idle = first_idle_worker(pool)
    if (idle !== null) try_to_wake_up(idle.task, TASK_NORMAL)
  }
  leave(task.k, t)
}

/** Called by the scheduler when a worker's task wakes. */
export function wq_worker_waking_up(task: task_struct): void {
  const self = kthread_worker(task)
  if (self === null || (self.flags & WORKER_NOT_RUNNING) !== 0) return
  const t = enter(task.k, 'wq_worker_waking_up')
  self.pool!.nr_running++
  leave(task.k, t)
}

/** Sets flags; a worker that stops counting as running is taken off the count. */
export function worker_set_flags(self: worker, flags: number): void {
  const was_running = (self.flags & WORKER_NOT_RUNNING) === 0
  self.flags |= flags
  if (was_running && (flags & WORKER_NOT_RUNNING) !== 0) self.pool!.nr_running--
}

/** Clears flags; a worker that no flag keeps from counting as running is counted. */
export function worker_clr_flags(self: worker, flags: number): void {
  const was_running = (self.flags & WORKER_NOT_RUNNING) === 0
  self.flags &= ~flags
  if (!was_running && (self.flags & WORKER_NOT_RUNNING) === 0) self.pool!.nr_running++
}

// --- works

/** The worker of a pool that runs a work right now, with the function it has now. */
export function find_worker_executing_work(pool: worker_pool, work: work_struct): worker | null {
  const found = pool.busy_hash.get(work)
  return found !== undefined && found.current_func === work.func ? found : null
}

/**
 * Moves a work and those linked to it to the end of a list.
 * @returns the place after the last one moved
 */
export function move_linked_works(
  work: work_struct,
  head: list_head<work_struct>,
): list_head<work_struct> {
  let entry = work.entry
  while (true) {
    const next = entry.next
    const linked = (entry.owner!.flags & WORK_STRUCT_LINKED) !== 0
    list_del_init(entry)
    list_add_tail(entry, head)
    if (!linked) return next
    entry = next
  }
}

// --- idle workers

export function worker_enter_idle(self: worker): void {
  const pool = self.pool!
  const k = pool.k
  const t = enter(k, 'worker_enter_idle')
  self.flags |= WORKER_IDLE
  pool.nr_idle++
  self.last_active = k.jiffies
  list_add(self.entry, pool.idle_list)
  if (too_many_workers(pool) && !timer_pending(pool.idle_timer)) {
    mod_timer(pool.idle_timer, k.jiffies + IDLE_WORKER_TIMEOUT_S * k.hz)
  }
  leave(k, t)
}

export function worker_leave_idle(self: worker): void {
  const pool = self.pool!
  worker_clr_flags(self, WORKER_IDLE)
  pool.nr_idle--
  list_del_init(self.entry)
}

/** Tells an idle worker to end. */
export function destroy_worker(self: worker): void {
  const pool = self.pool!
  const t = enter(pool.k, 'destroy_worker')
  pool.nr_workers--
  pool.nr_idle--
  list_del_init(self.entry)
  self.flags |= WORKER_DIE
  wake_up_process(self.task)
  leave(pool.k, t)
}

/**
 * Ends the workers that have been idle for too long, the longest idle first, as long as there are
 * too many.
 */
export function idle_worker_timeout(timer: timer_list<worker_pool>): void {
  const pool = timer.container
  const k = pool.k
  const t = enter(k, 'idle_worker_timeout')
  while (too_many_workers(pool)) {
    // With a manager counted as idle there may be too many and yet none on the list.
    const oldest = list_last(pool.idle_list)
    if (oldest === null) break
    const expires = oldest.last_active + IDLE_WORKER_TIMEOUT_S * k.hz
    if (time_before(k.jiffies, expires)) {
      mod_timer(pool.idle_timer, expires)
      break
    }
    destroy_worker(oldest)
  }
  leave(k, t)
}

// --- membership

/** Makes a worker, or a rescuer, one of the pool's. */
export function worker_attach_to_pool(self: worker, pool: worker_pool): void {
  const t = enter(pool.k, 'worker_attach_to_pool')
  kthread_bind_mask(self.task, pool.attrs.cpumask)
  if ((pool.flags & POOL_DISASSOCIATED) !== 0) self.flags |= WORKER_UNBOUND
  list_add_tail(self.node, pool.workers)
  self.pool = pool
  leave(pool.k, t)
}

export function worker_detach_from_pool(self: worker): void {
  const pool = self.pool!
  const t = enter(pool.k, 'worker_detach_from_pool')
  list_del_init(self.node)
  self.pool = null
  self.flags &= ~(WORKER_UNBOUND | WORKER_REBOUND)
  if (list_empty(pool.workers)) wake_up_all(pool.detach_wait)
  leave(pool.k, t)
}
