// From queue_work to the worklist, after kernel/workqueue.c.
//
// queue_work_on sets PENDING; if it was set, the call does nothing and says false. __queue_work
// then chooses the pwq: of the CPU asked for or the local one, or of the local node if the queue is
// unbound. Non-reentrancy comes before that choice: if the work still runs somewhere for the same
// workqueue, it is queued there, behind itself. Up to max_active works of a pwq are on the pool's
// worklist or running; the rest wait on the pwq's delayed_works, pending like the others.
//
// PENDING is cleared when the function is called, so a work can be queued again while it runs, by
// itself too.
//
// A delayed work is pending from the time its timer is armed. Delay 0 means no timer.

import { BUG, BUG_ON } from './bug.js'
import { complete } from './completion.js'
import { PF_WQ_WORKER, WARN, WARN_ONCE } from './core.js'
import { list_add_tail, list_empty, list_first, type list_head } from './list.js'
import { add_timer, add_timer_on, timer_pending, timer_setup } from './timer.js'
import { TIMER_DEFERRABLE, TIMER_IRQSAFE, type timer_list } from './timer-wheel.js'
import { enter, leave, trace_event } from './trace.js'
import {
  __need_more_worker,
  find_worker_executing_work,
  kthread_worker,
  move_linked_works,
  wake_up_worker,
} from './workqueue-pool.js'
import type {
  delayed_work,
  pool_workqueue,
  WorkFn,
  WorkqueueKernel,
  work_struct,
  worker,
  workqueue_struct,
} from './workqueue-structs.js'
import {
  __WQ_DRAINING,
  get_work_pwq,
  set_work_pwq,
  test_and_set_pending,
  WORK_CPU_UNBOUND,
  WORK_NO_COLOR,
  WORK_STRUCT_DELAYED,
  WQ_UNBOUND,
  work_color_to_flags,
} from './workqueue-structs.js'

/** Says what a work does. */
export function INIT_WORK<T>(work: work_struct<T>, func: WorkFn<T>): void {
  work.func = func
}

/** Says what a delayed work does. Its timer may run with interrupts off. */
export function INIT_DELAYED_WORK<T>(dwork: delayed_work<T>, func: WorkFn<T>): void {
  INIT_WORK(dwork.work, func)
  timer_setup(dwork.timer, delayed_work_timer_fn, TIMER_IRQSAFE)
}

/** As INIT_DELAYED_WORK; the timer does not wake an idle CPU. */
export function INIT_DEFERRABLE_WORK<T>(dwork: delayed_work<T>, func: WorkFn<T>): void {
  INIT_WORK(dwork.work, func)
  timer_setup(dwork.timer, delayed_work_timer_fn, TIMER_IRQSAFE | TIMER_DEFERRABLE)
}

export function work_name(work: work_struct): string {
  return work.func?.name ?? ''
}

/** The worker whose work the running task does, or null. */
export function current_wq_worker(k: WorkqueueKernel): worker | null {
  const task = k.cpu.current
  return (task.flags & PF_WQ_WORKER) !== 0 ? kthread_worker(task) : null
}

// --- pool-workqueues

export function get_pwq(pwq: pool_workqueue): void {
  pwq.refcnt++
}

/** The last reference of an unbound queue's pwq has a work release it. */
export function put_pwq(pwq: pool_workqueue): void {
  if (--pwq.refcnt > 0) return
  const k = pwq.wq.k
  const bound = (pwq.wq.flags & WQ_UNBOUND) === 0
  if (WARN(k, bound, `workqueue ${pwq.wq.name}: a bound pool-workqueue lost its last reference`)) {
    return
  }
  queue_work(k.system_wq, pwq.unbound_release_work)
}

/** Moves a work, and what is linked to it, from its pwq's delayed_works to the pool's worklist. */
export function pwq_activate_delayed_work(work: work_struct): void {
  const pwq = get_work_pwq(work)!
  const k = work.k
  const t = enter(k, 'pwq_activate_delayed_work')
  if (list_empty(pwq.pool.worklist)) pwq.pool.watchdog_ts = k.jiffies
  move_linked_works(work, pwq.pool.worklist)
  work.flags &= ~WORK_STRUCT_DELAYED
  pwq.nr_active++
  leave(k, t)
}

export function pwq_activate_first_delayed(pwq: pool_workqueue): void {
  pwq_activate_delayed_work(list_first(pwq.delayed_works)!)
}

/**
 * A work of the given colour is done, or taken back: lets the next one in and tells the flusher of
 * the last one.
 */
export function pwq_dec_nr_in_flight(pwq: pool_workqueue, color: number): void {
  const t = enter(pwq.wq.k, 'pwq_dec_nr_in_flight')
  if (color !== WORK_NO_COLOR) {
    pwq.nr_in_flight[color]--
    pwq.nr_active--
    if (!list_empty(pwq.delayed_works) && pwq.nr_active < pwq.max_active) {
      pwq_activate_first_delayed(pwq)
    }
    if (pwq.flush_color === color && pwq.nr_in_flight[color] === 0) {
      pwq.flush_color = -1
      if (--pwq.wq.nr_pwqs_to_flush === 0) complete(pwq.wq.first_flusher!.done)
    }
  }
  put_pwq(pwq)
  leave(pwq.wq.k, t)
}

// --- queueing

/** Puts a work before `head` of a worklist, and sees to a worker. */
export function insert_work(
  pwq: pool_workqueue,
  work: work_struct,
  head: list_head<work_struct>,
  extra_flags: number,
): void {
  const k = work.k
  const t = enter(k, 'insert_work')
  set_work_pwq(work, pwq, extra_flags)
  list_add_tail(work.entry, head)
  get_pwq(pwq)
  if (__need_more_worker(pwq.pool)) wake_up_worker(pwq.pool)
  leave(k, t)
}

/** Whether a work of this queue is what runs. */
function is_chained_work(wq: workqueue_struct): boolean {
  return current_wq_worker(wq.k)?.current_pwq?.wq === wq
}

/** The local CPU if works may run on it, else the next one of those they may run on. */
function wq_select_unbound_cpu(k: WorkqueueKernel, cpu: number): number {
  const mask = k.options.unboundCpus
  if (mask === undefined || mask.length === 0 || mask.includes(cpu)) return cpu
  const state = k.wq
  const online = mask.filter(c => k.cpus[c]?.online === true)
  if (online.length === 0) return cpu
  state.rr_cpu = online.find(c => c > state.rr_cpu) ?? online[0]
  return state.rr_cpu
}

function select_pwq(req_cpu: number, wq: workqueue_struct, work: work_struct): pool_workqueue {
  const k = wq.k
  const cpu = req_cpu === WORK_CPU_UNBOUND ? wq_select_unbound_cpu(k, k.cpu.id) : req_cpu
  const unbound = (wq.flags & WQ_UNBOUND) !== 0
  const pwq = unbound ? wq.numa_pwq_tbl[k.cpus[cpu].node] : wq.cpu_pwqs[cpu]
  const last_pool = work.pool
  if (last_pool === null || last_pool === pwq.pool) return pwq
  const running = find_worker_executing_work(last_pool, work)
  return running?.current_pwq?.wq === wq ? running.current_pwq : pwq
}

function trace_queue_work(req_cpu: number, wq: workqueue_struct, work: work_struct): void {
  if (!wq.k.trace.on) return
  const fields = { function: work_name(work), workqueue: wq.name }
  const asked = req_cpu !== WORK_CPU_UNBOUND
  trace_event(wq.k, 'workqueue_queue_work', asked ? { ...fields, cpu_asked: true } : fields)
}

/** Queues a work whose PENDING bit the caller has set. */
export function __queue_work(req_cpu: number, wq: workqueue_struct, work: work_struct): void {
  const k = wq.k
  const t = enter(k, '__queue_work')
  BUG_ON(work.func === null, 'queue_work: a work without a function')
  if ((wq.flags & __WQ_DRAINING) !== 0 && !is_chained_work(wq)) {
    // Linux's behaviour: the caller is told that it was queued, and PENDING stays set for ever.
    WARN_ONCE(k, true, `workqueue ${wq.name}: ${work_name(work)} queued while it drains: dropped`)
    leave(k, t)
    return
  }
  const pwq = select_pwq(req_cpu, wq, work)
  trace_queue_work(req_cpu, wq, work)
  if (pwq.refcnt === 0) BUG(`workqueue ${wq.name}: ${work_name(work)} queued after its end`)
  if (!list_empty(work.entry)) BUG(`workqueue ${wq.name}: ${work_name(work)} is on a list`)
  pwq.nr_in_flight[pwq.work_color]++
  const flags = work_color_to_flags(pwq.work_color)
  if (pwq.nr_active < pwq.max_active) {
    pwq.nr_active++
    if (list_empty(pwq.pool.worklist)) pwq.pool.watchdog_ts = k.jiffies
    insert_work(pwq, work, pwq.pool.worklist, flags)
  } else insert_work(pwq, work, pwq.delayed_works, flags | WORK_STRUCT_DELAYED)
  leave(k, t)
}

/** Queues a work on a CPU (WORK_CPU_UNBOUND: the local one). False if it is pending already. */
export function queue_work_on(cpu: number, wq: workqueue_struct, work: work_struct): boolean {
  const t = enter(wq.k, 'queue_work_on')
  if (test_and_set_pending(work)) return leave(wq.k, t, false)
  __queue_work(cpu, wq, work)
  return leave(wq.k, t, true)
}

/**
 * Queues a work. False if it is pending already: then an execution that begins later sees all that
 * was done before this call.
 */
export function queue_work(wq: workqueue_struct, work: work_struct): boolean {
  const t = enter(wq.k, 'queue_work')
  return leave(wq.k, t, queue_work_on(WORK_CPU_UNBOUND, wq, work))
}

export function schedule_work(k: WorkqueueKernel, work: work_struct): boolean {
  const t = enter(k, 'schedule_work')
  return leave(k, t, queue_work(k.system_wq, work))
}

export function schedule_work_on(k: WorkqueueKernel, cpu: number, work: work_struct): boolean {
  const t = enter(k, 'schedule_work_on')
  return leave(k, t, queue_work_on(cpu, k.system_wq, work))
}

// --- delayed works

function delayed_work_timer_fn(timer: timer_list<delayed_work>): void {
  const dwork = timer.container
  const t = enter(timer.k, 'delayed_work_timer_fn')
  __queue_work(dwork.cpu, dwork.wq!, dwork.work)
  leave(timer.k, t)
}

/** Arms the timer of a work whose PENDING bit the caller has set; delay 0 queues it. */
export function __queue_delayed_work(
  cpu: number,
  wq: workqueue_struct,
  dwork: delayed_work,
  delay: number,
): void {
  const k = wq.k
  const t = enter(k, '__queue_delayed_work')
  WARN(k, timer_pending(dwork.timer), `workqueue ${wq.name}: timer of a delayed work is armed`)
  WARN(k, !list_empty(dwork.work.entry), `workqueue ${wq.name}: delayed work is queued`)
  if (delay === 0) __queue_work(cpu, wq, dwork.work)
  else {
    dwork.wq = wq
    dwork.cpu = cpu
    dwork.timer.expires = k.jiffies + delay
    if (cpu !== WORK_CPU_UNBOUND) add_timer_on(dwork.timer, cpu)
    else add_timer(dwork.timer)
  }
  leave(k, t)
}

/**
 * Queues a work after `delay` jiffies; the queueing CPU is the one asked for, or the timer's. False
 * if it is pending already.
 */
export function queue_delayed_work_on(
  cpu: number,
  wq: workqueue_struct,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(wq.k, 'queue_delayed_work_on')
  if (test_and_set_pending(dwork.work)) return leave(wq.k, t, false)
  __queue_delayed_work(cpu, wq, dwork, delay)
  return leave(wq.k, t, true)
}

export function queue_delayed_work(
  wq: workqueue_struct,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(wq.k, 'queue_delayed_work')
  return leave(wq.k, t, queue_delayed_work_on(WORK_CPU_UNBOUND, wq, dwork, delay))
}

export function schedule_delayed_work(
  k: WorkqueueKernel,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(k, 'schedule_delayed_work')
  return leave(k, t, queue_delayed_work(k.system_wq, dwork, delay))
}

export function schedule_delayed_work_on(
  k: WorkqueueKernel,
  cpu: number,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(k, 'schedule_delayed_work_on')
  return leave(k, t, queue_delayed_work_on(cpu, k.system_wq, dwork, delay))
}
