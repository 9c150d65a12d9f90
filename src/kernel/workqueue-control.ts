// Changing and asking workqueues, after kernel/workqueue.c: max_active, freezing, CPU hotplug,
// queries.
//
// Freezing sets max_active of every freezable queue to 0: what runs ends, what is queued waits. A
// CPU that goes offline leaves its pools without it: their workers become unbound and run what is
// queued elsewhere, until the CPU comes back.

import { WARN } from './core.js'
import { list_empty, list_entries } from './list.js'
import { kthread_bind_mask, wake_up_process } from './task.js'
import { enter, leave } from './trace.js'
import { pwq_adjust_max_active, wq_clamp_max_active } from './workqueue-alloc.js'
import { find_worker_executing_work, wake_up_worker } from './workqueue-pool.js'
import { current_wq_worker } from './workqueue-queue.js'
import type {
  WorkqueueKernel,
  work_struct,
  worker,
  worker_pool,
  workqueue_struct,
} from './workqueue-structs.js'
import {
  __WQ_ORDERED,
  __WQ_ORDERED_EXPLICIT,
  POOL_DISASSOCIATED,
  WORK_BUSY_PENDING,
  WORK_BUSY_RUNNING,
  WORK_CPU_UNBOUND,
  WORKER_IDLE,
  WORKER_REBOUND,
  WORKER_UNBOUND,
  WQ_FREEZABLE,
  WQ_UNBOUND,
  work_pending,
} from './workqueue-structs.js'

// --- queries

/** WORK_BUSY_PENDING, WORK_BUSY_RUNNING, both or 0, as of now. */
export function work_busy(work: work_struct): number {
  const t = enter(work.k, 'work_busy')
  const pending = work_pending(work) ? WORK_BUSY_PENDING : 0
  const running = work.pool !== null && find_worker_executing_work(work.pool, work) !== null
  return leave(work.k, t, pending | (running ? WORK_BUSY_RUNNING : 0))
}

/** The work that the running task does, or null. */
export function current_work(k: WorkqueueKernel): work_struct | null {
  return current_wq_worker(k)?.current_work ?? null
}

/** Whether a rescuer does the running work: memory is short, and others of the queue wait. */
export function current_is_workqueue_rescuer(k: WorkqueueKernel): boolean {
  return current_wq_worker(k)?.rescue_wq != null
}

/**
 * Whether works of a queue have to wait because of max_active, on a CPU (WORK_CPU_UNBOUND: this
 * one).
 */
export function workqueue_congested(cpu: number, wq: workqueue_struct): boolean {
  const k = wq.k
  const id = cpu === WORK_CPU_UNBOUND ? k.cpu.id : cpu
  const unbound = (wq.flags & WQ_UNBOUND) !== 0
  const pwq = unbound ? wq.numa_pwq_tbl[k.cpus[id].node] : wq.cpu_pwqs[id]
  return !list_empty(pwq.delayed_works)
}

// --- limits

/**
 * Changes a queue's max_active. Works that fit now start; refused for queues that were made
 * ordered.
 */
export function workqueue_set_max_active(wq: workqueue_struct, max_active: number): void {
  const k = wq.k
  const t = enter(k, 'workqueue_set_max_active')
  const explicit = (wq.flags & __WQ_ORDERED_EXPLICIT) !== 0
  if (!WARN(k, explicit, `workqueue ${wq.name}: max_active of an ordered queue is 1`)) {
    wq.saved_max_active = wq_clamp_max_active(k, max_active, wq.flags, wq.name)
    wq.flags &= ~__WQ_ORDERED
    list_entries(wq.pwqs).forEach(pwq_adjust_max_active)
  }
  leave(k, t)
}

// --- freezing

function adjust_all(k: WorkqueueKernel): void {
  for (const wq of k.wq.workqueues) list_entries(wq.pwqs).forEach(pwq_adjust_max_active)
}

/** Lets no work of freezable queues start any more. */
export function freeze_workqueues_begin(k: WorkqueueKernel): void {
  const t = enter(k, 'freeze_workqueues_begin')
  k.wq.workqueue_freezing = true
  adjust_all(k)
  leave(k, t)
}

/** Whether works of freezable queues still run. */
export function freeze_workqueues_busy(k: WorkqueueKernel): boolean {
  const freezable = k.wq.workqueues.filter(wq => (wq.flags & WQ_FREEZABLE) !== 0)
  return freezable.some(wq => list_entries(wq.pwqs).some(pwq => pwq.nr_active > 0))
}

export function thaw_workqueues(k: WorkqueueKernel): void {
  const t = enter(k, 'thaw_workqueues')
  k.wq.workqueue_freezing = false
  adjust_all(k)
  leave(k, t)
}

// --- CPU hotplug

function unbind_pool(pool: worker_pool): void {
  for (const self of list_entries(pool.workers)) {
    self.flags |= WORKER_UNBOUND
    kthread_bind_mask(self.task, null)
  }
  pool.flags |= POOL_DISASSOCIATED
  // Nobody counts as running any more: every work gets a worker.
  pool.nr_running = 0
  wake_up_worker(pool)
}

/** A CPU goes offline. */
export function workqueue_offline_cpu(k: WorkqueueKernel, cpu: number): void {
  const t = enter(k, 'workqueue_offline_cpu')
  k.wq.cpu_worker_pools[cpu].forEach(unbind_pool)
  leave(k, t)
}

/**
 * Busy workers stay uncounted (REBOUND) until they are through with what they have; only then does
 * the pool count right.
 */
function rebind_worker(self: worker): void {
  self.flags |= WORKER_REBOUND
  self.flags &= ~WORKER_UNBOUND
  if ((self.flags & WORKER_IDLE) !== 0) wake_up_process(self.task)
}

function rebind_pool(pool: worker_pool): void {
  for (const self of list_entries(pool.workers)) {
    kthread_bind_mask(self.task, pool.attrs.cpumask)
  }
  pool.flags &= ~POOL_DISASSOCIATED
  list_entries(pool.workers).forEach(rebind_worker)
}

/** A CPU is back. */
export function workqueue_online_cpu(k: WorkqueueKernel, cpu: number): void {
  const t = enter(k, 'workqueue_online_cpu')
  k.wq.cpu_worker_pools[cpu].forEach(rebind_pool)
  leave(k, t)
}
