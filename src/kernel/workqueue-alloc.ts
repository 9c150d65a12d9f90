// Creating and destroying workqueues, their pwqs and the unbound pools. After kernel/workqueue.c.
//
//   flags                          gets
//   bound (no WQ_UNBOUND)          a pwq per CPU, on that CPU's normal or high-priority pool
//   WQ_UNBOUND                     a pwq per NUMA node, on an unbound pool of that node's CPUs
//   WQ_UNBOUND, max_active 1       one pwq for the whole machine: one work at a time, in order
//   WQ_MEM_RECLAIM                 a rescuer
//
// max_active counts per pwq, not per queue; 0 means 256. Unbound pools are shared by all queues
// with the same priority and CPUs, and go when the last of those is destroyed.

import { type Cpu, MIN_NICE, type Sleep } from './core.js'
import { printk, WARN } from './core.js'
import { EINVAL } from './errno.js'
import { list_add, list_del_init, list_empty, list_entries } from './list.js'
import { kthread_stop } from './task.js'
import { del_timer_sync, timer_setup } from './timer.js'
import { TIMER_DEFERRABLE } from './timer-wheel.js'
import { enter, leave } from './trace.js'
import { wait_event } from './wait.js'
import { drain_workqueue } from './workqueue-flush.js'
import {
  destroy_worker,
  first_idle_worker,
  idle_worker_timeout,
  wake_up_worker,
} from './workqueue-pool.js'
import { INIT_WORK, put_pwq, pwq_activate_first_delayed } from './workqueue-queue.js'
import type { WorkqueueKernel, work_struct, workqueue_attrs } from './workqueue-structs.js'
import {
  __WQ_LEGACY,
  __WQ_ORDERED,
  __WQ_ORDERED_EXPLICIT,
  HIGHPRI_NICE_LEVEL,
  POOL_MANAGER_ACTIVE,
  pool_workqueue,
  WORK_NR_COLORS,
  WQ_DFL_ACTIVE,
  WQ_FREEZABLE,
  WQ_HIGHPRI,
  WQ_MAX_ACTIVE,
  WQ_MAX_UNBOUND_PER_CPU,
  WQ_MEM_RECLAIM,
  WQ_POWER_EFFICIENT,
  WQ_SYSFS,
  WQ_UNBOUND,
  worker_pool,
  workqueue_struct,
} from './workqueue-structs.js'
import { create_worker, init_rescuer, pool_mayday_timeout } from './workqueue-worker.js'

// --- pools

/** A pool without workers. */
export function init_worker_pool(
  k: WorkqueueKernel,
  cpu: number,
  node: number,
  attrs: workqueue_attrs,
): worker_pool {
  const pool = new worker_pool(k, k.wq.next_pool_id(), cpu, node, attrs)
  timer_setup(pool.idle_timer, idle_worker_timeout, TIMER_DEFERRABLE)
  timer_setup(pool.mayday_timer, pool_mayday_timeout)
  return pool
}

function attrs_key(attrs: workqueue_attrs): string {
  return `${attrs.nice}:${attrs.cpumask.join()}`
}

function node_of_cpus(k: WorkqueueKernel, cpumask: readonly number[]): number {
  const nodes = new Set(cpumask.map(cpu => k.cpus[cpu].node))
  return nodes.size === 1 ? [...nodes][0] : -1
}

/** The pool for these attributes, made if need be; null if its first worker cannot be made. */
function get_unbound_pool(k: WorkqueueKernel, attrs: workqueue_attrs): worker_pool | null {
  const t = enter(k, 'get_unbound_pool')
  const key = attrs_key(attrs)
  const found = k.wq.unbound_pool_hash.get(key)
  if (found !== undefined) {
    found.refcnt++
    return leave(k, t, found)
  }
  const node = node_of_cpus(k, attrs.cpumask)
  const pool = init_worker_pool(k, -1, node, { ...attrs, no_numa: false })
  if (!create_worker(pool)) return leave(k, t, null)
  k.wq.unbound_pool_hash.set(key, pool)
  return leave(k, t, pool)
}

/** Drops a reference; with the last one the pool and its workers go. */
function* put_unbound_pool(pool: worker_pool): Sleep<void> {
  const k = pool.k
  const t = enter(k, 'put_unbound_pool')
  if (--pool.refcnt === 0) {
    WARN(k, !list_empty(pool.worklist), `workqueue: pool ${pool.id} goes with works on it`)
    k.wq.unbound_pool_hash.delete(attrs_key(pool.attrs))
    // Become the manager, so that no worker is made any more.
    const managed = (): boolean => (pool.flags & POOL_MANAGER_ACTIVE) !== 0
    yield* wait_event(k.wq.wq_manager_wait, () => !managed())
    pool.flags |= POOL_MANAGER_ACTIVE
    for (let idle = first_idle_worker(pool); idle !== null; idle = first_idle_worker(pool)) {
      destroy_worker(idle)
    }
    yield* wait_event(pool.detach_wait, () => list_empty(pool.workers))
    del_timer_sync(pool.idle_timer)
    del_timer_sync(pool.mayday_timer)
  }
  leave(k, t)
}

// --- pool-workqueues

function pwq_unbound_release_workfn(work: work_struct<pool_workqueue>): Sleep<void> {
  const pwq = work.container
  list_del_init(pwq.pwqs_node)
  return put_unbound_pool(pwq.pool)
}

/** Brings a pwq's limit in line with its queue's, or to 0 if the queue is frozen. */
export function pwq_adjust_max_active(pwq: pool_workqueue): void {
  const { wq } = pwq
  const k = wq.k
  const freezable = (wq.flags & WQ_FREEZABLE) !== 0
  if (!freezable && pwq.max_active === wq.saved_max_active) return
  const t = enter(k, 'pwq_adjust_max_active')
  if (freezable && k.wq.workqueue_freezing) pwq.max_active = 0
  else {
    pwq.max_active = wq.saved_max_active
    while (!list_empty(pwq.delayed_works) && pwq.nr_active < pwq.max_active) {
      pwq_activate_first_delayed(pwq)
    }
    wake_up_worker(pwq.pool)
  }
  leave(k, t)
}

function link_pwq(wq: workqueue_struct, pool: worker_pool): pool_workqueue {
  const pwq = new pool_workqueue(wq, pool)
  INIT_WORK(pwq.unbound_release_work, pwq_unbound_release_workfn)
  pwq.work_color = wq.work_color
  pwq_adjust_max_active(pwq)
  list_add(pwq.pwqs_node, wq.pwqs)
  return pwq
}

/**
 * Makes an unbound queue's pwqs: one for all CPUs, and one for each node unless it is ordered.
 * False without memory.
 */
function apply_workqueue_attrs(wq: workqueue_struct, attrs: workqueue_attrs): boolean {
  const k = wq.k
  const pwq_for = (cpumask: readonly number[]): pool_workqueue | null => {
    const pool = get_unbound_pool(k, { ...attrs, cpumask })
    return pool === null ? null : link_pwq(wq, pool)
  }
  const dfl_pwq = pwq_for(attrs.cpumask)
  if (dfl_pwq === null) return false
  wq.dfl_pwq = dfl_pwq
  const nodes = [...new Set(k.cpus.map(cpu => cpu.node))]
  for (const node of nodes) {
    const cpumask = k.cpus.filter(cpu => cpu.node === node).map(cpu => cpu.id)
    const own: pool_workqueue | null =
      nodes.length > 1 && !attrs.no_numa ? pwq_for(cpumask) : dfl_pwq
    if (own === null) return false
    if (own === dfl_pwq) dfl_pwq.refcnt++
    wq.numa_pwq_tbl[node] = own
  }
  return true
}

function alloc_and_link_pwqs(wq: workqueue_struct): boolean {
  const k = wq.k
  const highpri = (wq.flags & WQ_HIGHPRI) !== 0
  if ((wq.flags & WQ_UNBOUND) === 0) {
    const pools = k.wq.cpu_worker_pools.map(pair => pair[highpri ? 1 : 0])
    wq.cpu_pwqs = pools.map(pool => link_pwq(wq, pool))
    return true
  }
  return apply_workqueue_attrs(wq, {
    nice: highpri ? HIGHPRI_NICE_LEVEL : 0,
    cpumask: k.cpus.map(cpu => cpu.id),
    no_numa: (wq.flags & __WQ_ORDERED) !== 0,
  })
}

// --- creating

/** The largest max_active an unbound queue may have: 512, or 4 per possible CPU. */
export function WQ_UNBOUND_MAX_ACTIVE(k: WorkqueueKernel): number {
  return Math.max(WQ_MAX_ACTIVE, k.cpus.length * WQ_MAX_UNBOUND_PER_CPU)
}

export function wq_clamp_max_active(
  k: WorkqueueKernel,
  max_active: number,
  flags: number,
  name: string,
): number {
  const lim = (flags & WQ_UNBOUND) !== 0 ? WQ_UNBOUND_MAX_ACTIVE(k) : WQ_MAX_ACTIVE
  if (max_active >= 1 && max_active <= lim) return max_active
  const range = `between 1 and ${lim}`
  const text = `workqueue: max_active ${max_active} requested for ${name} is out of range`
  printk(k, 'warn', `${text}, clamping ${range}`)
  return Math.min(Math.max(max_active, 1), lim)
}

/**
 * Makes a queue visible in sysfs: 0, or -EINVAL for an ordered one, whose attributes must not
 * change.
 */
export function workqueue_sysfs_register(wq: workqueue_struct): number {
  const explicit = (wq.flags & __WQ_ORDERED_EXPLICIT) !== 0
  const text = `workqueue ${wq.name}: an ordered queue cannot be registered in sysfs`
  if (WARN(wq.k, explicit, text)) return -EINVAL
  wq.sysfs = true
  return 0
}

/** Undoes what creating has done so far; nothing has been queued yet. */
function free_half_made(wq: workqueue_struct): null {
  for (const pwq of list_entries(wq.pwqs)) {
    pwq.refcnt = 1
    put_pwq(pwq)
  }
  return null
}

/**
 * Creates a workqueue.
 * @param flags WQ_*
 * @param max_active works of a pwq that may run at the same time; 0 for the default, 256
 * @returns null if a first worker is needed and cannot be made, or WQ_SYSFS is refused
 */
export function alloc_workqueue(
  k: WorkqueueKernel,
  name: string,
  flags: number,
  max_active: number,
): workqueue_struct | null {
  const t = enter(k, 'alloc_workqueue')
  return leave(k, t, __alloc_workqueue_key(k, name, flags, max_active))
}

function __alloc_workqueue_key(
  k: WorkqueueKernel,
  name: string,
  flags: number,
  max_active: number,
): workqueue_struct | null {
  const t = enter(k, '__alloc_workqueue_key')
  if ((flags & WQ_UNBOUND) !== 0 && max_active === 1) flags |= __WQ_ORDERED
  if ((flags & WQ_POWER_EFFICIENT) !== 0 && k.options.wqPowerEfficient === true) flags |= WQ_UNBOUND
  const limit = wq_clamp_max_active(k, max_active === 0 ? WQ_DFL_ACTIVE : max_active, flags, name)
  const wq = new workqueue_struct(k, name, flags, limit)
  if ((flags & WQ_SYSFS) !== 0 && workqueue_sysfs_register(wq) < 0) return leave(k, t, null)
  if (!alloc_and_link_pwqs(wq)) return leave(k, t, free_half_made(wq))
  if ((flags & WQ_MEM_RECLAIM) !== 0) init_rescuer(wq)
  k.wq.workqueues.push(wq)
  return leave(k, t, wq)
}

/** One work at a time, in the order of queueing. */
export function alloc_ordered_workqueue(
  k: WorkqueueKernel,
  name: string,
  flags: number,
): workqueue_struct | null {
  return alloc_workqueue(k, name, WQ_UNBOUND | __WQ_ORDERED | __WQ_ORDERED_EXPLICIT | flags, 1)
}

/** The old form: one work at a time on each CPU, and a rescuer. */
export function create_workqueue(k: WorkqueueKernel, name: string): workqueue_struct | null {
  const t = enter(k, 'create_workqueue')
  return leave(k, t, alloc_workqueue(k, name, __WQ_LEGACY | WQ_MEM_RECLAIM, 1))
}

/** The old form: frozen during suspend, one work at a time. */
export function create_freezable_workqueue(
  k: WorkqueueKernel,
  name: string,
): workqueue_struct | null {
  return alloc_workqueue(k, name, __WQ_LEGACY | WQ_FREEZABLE | WQ_UNBOUND | WQ_MEM_RECLAIM, 1)
}

/** The old form of an ordered queue, with a rescuer. */
export function create_singlethread_workqueue(
  k: WorkqueueKernel,
  name: string,
): workqueue_struct | null {
  return alloc_ordered_workqueue(k, name, __WQ_LEGACY | WQ_MEM_RECLAIM)
}

// --- destroying

function still_used(wq: workqueue_struct, pwq: pool_workqueue): boolean {
  const flying = pwq.nr_in_flight.slice(0, WORK_NR_COLORS).some(count => count > 0)
  const referenced = pwq !== wq.dfl_pwq && pwq.refcnt > 1
  return flying || referenced || pwq.nr_active > 0 || !list_empty(pwq.delayed_works)
}

/** Drains a workqueue and gives it up. It must not be used afterwards. */
export function* destroy_workqueue(wq: workqueue_struct): Sleep<void> {
  const k = wq.k
  const t = enter(k, 'destroy_workqueue')
  yield* drain_workqueue(wq)
  const busy = list_entries(wq.pwqs).some(pwq => still_used(wq, pwq))
  if (WARN(k, busy, `workqueue ${wq.name}: still in use, not destroyed`)) {
    leave(k, t)
    return
  }
  k.wq.workqueues.splice(k.wq.workqueues.indexOf(wq), 1)
  wq.sysfs = false
  if (wq.rescuer !== null) yield* kthread_stop(wq.rescuer.task)
  wq.rescuer = null
  if ((wq.flags & WQ_UNBOUND) !== 0) {
    // Each node's reference, then the queue's own.
    for (const pwq of [...wq.numa_pwq_tbl, wq.dfl_pwq]) if (pwq != null) put_pwq(pwq)
  } else for (const pwq of wq.cpu_pwqs) pwq.refcnt = 0
  leave(k, t)
}

// --- boot

/** The normal and the high-priority pool of a CPU, each with its first worker. */
export function create_cpu_pools(k: WorkqueueKernel, cpu: Cpu): void {
  const make = (nice: number): worker_pool =>
    init_worker_pool(k, cpu.id, cpu.node, { nice, cpumask: [cpu.id], no_numa: false })
  k.wq.cpu_worker_pools.push([make(0), make(MIN_NICE)])
}
