// Workers at work: their loop, managers and rescuers. After kernel/workqueue.c.
//
//   worker    idle → woken → while works wait and nobody else runs: take the first, with what is
//             linked to it, and run it → idle
//   manager   the worker that finds no other one idle before it starts: makes one first. While
//             that fails it tries again every second, and the pool's mayday timer calls for help
//   rescuer   one task per WQ_MEM_RECLAIM queue, made with the queue. Called for help by a pool, it
//             joins that pool, takes the works of its own queue, runs them one by one, and leaves
//
// So a queue with a rescuer makes progress even if no worker can be made; works of other queues
// wait. `canCreateWorker` of the kernel's options says when making one fails.

import { BUG_ON } from './bug.js'
import type { Sleep } from './core.js'
import { PF_WQ_WORKER, TASK_IDLE, TASK_INTERRUPTIBLE, TASK_RUNNING } from './core.js'
import {
  list_add_tail,
  list_del_init,
  list_empty,
  list_entries,
  list_first,
  list_move_tail,
} from './list.js'
import {
  cond_resched,
  kthread_create,
  kthread_should_stop,
  schedule,
  set_cpus_allowed_ptr,
  set_current_state,
  wake_up_process,
} from './task.js'
import { del_timer_sync, mod_timer } from './timer.js'
import { schedule_timeout } from './timer-sleep.js'
import type { timer_list } from './timer-wheel.js'
import { enter, leave, trace_event } from './trace.js'
import { wake_up } from './wait.js'
import {
  find_worker_executing_work,
  keep_working,
  may_start_working,
  move_linked_works,
  need_more_worker,
  need_to_create_worker,
  wake_up_worker,
  worker_attach_to_pool,
  worker_clr_flags,
  worker_detach_from_pool,
  worker_enter_idle,
  worker_leave_idle,
  worker_set_flags,
  wq_worker_sleeping,
  wq_worker_waking_up,
} from './workqueue-pool.js'
import { get_pwq, pwq_dec_nr_in_flight, put_pwq, work_name } from './workqueue-queue.js'
import type { pool_workqueue, work_struct, workqueue_struct } from './workqueue-structs.js'
import {
  get_work_color,
  get_work_pwq,
  MAYDAY_INITIAL_TIMEOUT,
  MAYDAY_INTERVAL,
  POOL_MANAGER_ACTIVE,
  RESCUER_NICE_LEVEL,
  set_work_off_queue,
  WORK_STRUCT_LINKED,
  WORKER_CPU_INTENSIVE,
  WORKER_DIE,
  WORKER_PREP,
  WORKER_REBOUND,
  WQ_CPU_INTENSIVE,
  worker,
  type worker_pool,
} from './workqueue-structs.js'

// --- running works

/** Runs the function; it may sleep. */
function* run_work_func(work: work_struct): Sleep<void> {
  const k = work.k
  if (k.trace.on) trace_event(k, 'workqueue_execute_start', { function: work_name(work) })
  const body = work.func!(work)
  if (body !== undefined) yield* body
}

/**
 * Runs one work, unless another worker of the pool runs it already: then it is left to that one.
 */
function* process_one_work(self: worker, work: work_struct): Sleep<void> {
  const pool = self.pool!
  const pwq = get_work_pwq(work)!
  const k = pool.k
  const collision = find_worker_executing_work(pool, work)
  if (collision !== null) {
    move_linked_works(work, collision.scheduled)
    return
  }
  const cpu_intensive = (pwq.wq.flags & WQ_CPU_INTENSIVE) !== 0
  const color = get_work_color(work)
  pool.busy_hash.set(work, self)
  self.current_work = work
  self.current_func = work.func
  self.current_pwq = pwq
  list_del_init(work.entry)
  if (cpu_intensive) worker_set_flags(self, WORKER_CPU_INTENSIVE)
  if (need_more_worker(pool)) wake_up_worker(pool)
  set_work_off_queue(work, pool, 0)
  yield* run_work_func(work)
  if (cpu_intensive) worker_clr_flags(self, WORKER_CPU_INTENSIVE)
  pool.busy_hash.delete(work)
  self.current_work = null
  self.current_func = null
  self.current_pwq = null
  pwq_dec_nr_in_flight(pwq, color)
  // One that has nothing more to do sleeps at once.
  if (list_first(pool.worklist) !== null) yield* cond_resched(k)
}

function* process_scheduled_works(self: worker): Sleep<void> {
  for (let work = list_first(self.scheduled); work !== null; work = list_first(self.scheduled)) {
    yield* process_one_work(self, work)
  }
}

// --- the worker

function* process_worklist(self: worker, pool: worker_pool): Sleep<void> {
  do {
    const work = list_first(pool.worklist)!
    pool.watchdog_ts = pool.k.jiffies
    if ((work.flags & WORK_STRUCT_LINKED) !== 0) move_linked_works(work, self.scheduled)
    else yield* process_one_work(self, work)
    yield* process_scheduled_works(self)
  } while (keep_working(pool))
}

/** What a worker does each time it is woken. */
function* worker_turn(self: worker, pool: worker_pool): Sleep<void> {
  do {
    if (!need_more_worker(pool)) return
    // Managing may take long: look again afterwards.
  } while (!may_start_working(pool) && (yield* manage_workers(self)))
  worker_clr_flags(self, WORKER_PREP | WORKER_REBOUND)
  yield* process_worklist(self, pool)
  worker_set_flags(self, WORKER_PREP)
}

function* worker_thread(self: worker): Sleep<void> {
  const pool = self.pool!
  const k = pool.k
  self.task.flags |= PF_WQ_WORKER
  while ((self.flags & WORKER_DIE) === 0) {
    worker_leave_idle(self)
    yield* worker_turn(self, pool)
    worker_enter_idle(self)
    set_current_state(k, TASK_IDLE)
    yield* schedule(k, 'work')
  }
  self.task.flags &= ~PF_WQ_WORKER
  pool.worker_ida.delete(self.id)
  worker_detach_from_pool(self)
}

// --- making workers

function lowest_free(ids: Set<number>): number {
  let id = 0
  while (ids.has(id)) id++
  ids.add(id)
  return id
}

function worker_task_name(pool: worker_pool, id: number): string {
  if (pool.cpu < 0) return `kworker/u${pool.id}:${id}`
  return `kworker/${pool.cpu}:${id}${pool.attrs.nice < 0 ? 'H' : ''}`
}

const SLEEP_HOOKS = { wq_worker_sleeping, wq_worker_waking_up }

function worker_task(self: worker, pool: worker_pool): void {
  const name = worker_task_name(pool, self.id)
  self.task = kthread_create(pool.k, () => worker_thread(self), name, 'kworker')
  self.task.kthread_data = self
  self.task.hooks = SLEEP_HOOKS
  self.task.nice = pool.attrs.nice
}

/** Adds an idle worker to a pool. False if there is no memory for one. */
export function create_worker(pool: worker_pool): boolean {
  const k = pool.k
  const t = enter(k, 'create_worker')
  if (k.options.canCreateWorker?.() === false) return leave(k, t, false)
  const self = new worker(lowest_free(pool.worker_ida))
  worker_task(self, pool)
  worker_attach_to_pool(self, pool)
  pool.nr_workers++
  worker_enter_idle(self)
  wake_up_process(self.task)
  return leave(k, t, true)
}

/** Makes a worker, however long it takes, as long as one is needed; calls for help meanwhile. */
function* maybe_create_worker(pool: worker_pool): Sleep<void> {
  const k = pool.k
  const t = enter(k, 'maybe_create_worker')
  do {
    mod_timer(pool.mayday_timer, k.jiffies + MAYDAY_INITIAL_TIMEOUT(k.hz))
    while (!create_worker(pool) && need_to_create_worker(pool)) {
      set_current_state(k, TASK_INTERRUPTIBLE)
      yield* schedule_timeout(k, k.hz, `memory for ${worker_task_name(pool, -1)}`)
      if (!need_to_create_worker(pool)) break
    }
    del_timer_sync(pool.mayday_timer)
  } while (need_to_create_worker(pool))
  leave(k, t)
}

/**
 * Makes this worker the pool's manager, unless there is one. True if it was, and the world may have
 * changed.
 */
function* manage_workers(self: worker): Sleep<boolean> {
  const pool = self.pool!
  const k = pool.k
  const t = enter(k, 'manage_workers')
  if ((pool.flags & POOL_MANAGER_ACTIVE) !== 0) return leave(k, t, false)
  pool.flags |= POOL_MANAGER_ACTIVE
  pool.manager = self
  yield* maybe_create_worker(pool)
  pool.manager = null
  pool.flags &= ~POOL_MANAGER_ACTIVE
  wake_up(k.wq.wq_manager_wait)
  return leave(k, t, true)
}

// --- rescue

function send_mayday(work: work_struct): void {
  const pwq = get_work_pwq(work)!
  const { wq } = pwq
  if (wq.rescuer === null || !list_empty(pwq.mayday_node)) return
  const t = enter(work.k, 'send_mayday')
  get_pwq(pwq)
  list_add_tail(pwq.mayday_node, wq.maydays)
  wake_up_process(wq.rescuer.task)
  leave(work.k, t)
}

/** The pool's manager gets nowhere: calls the rescuers of all works that wait. */
export function pool_mayday_timeout(timer: timer_list<worker_pool>): void {
  const pool = timer.container
  const k = pool.k
  const t = enter(k, 'pool_mayday_timeout')
  if (need_to_create_worker(pool)) list_entries(pool.worklist).forEach(send_mayday)
  mod_timer(pool.mayday_timer, k.jiffies + MAYDAY_INTERVAL(k.hz))
  leave(k, t)
}

/** Takes all works of a pwq off its pool's worklist. */
function take_works_of(pwq: pool_workqueue, self: worker): void {
  const { worklist } = pwq.pool
  let pos = worklist.next
  while (pos !== worklist) {
    const work = pos.owner!
    if (get_work_pwq(work) === pwq) pos = move_linked_works(work, self.scheduled)
    else pos = pos.next
  }
}

function* rescue(self: worker, pwq: pool_workqueue): Sleep<void> {
  const { pool, wq } = pwq
  const k = pool.k
  worker_attach_to_pool(self, pool)
  yield* set_cpus_allowed_ptr(k, pool.attrs.cpumask)
  pool.watchdog_ts = k.jiffies
  take_works_of(pwq, self)
  if (!list_empty(self.scheduled)) {
    yield* process_scheduled_works(self)
    // Works that these have queued may need it again; other pools of the queue come first.
    if (pwq.nr_active > 0 && need_to_create_worker(pool)) {
      if (list_empty(pwq.mayday_node)) get_pwq(pwq)
      list_move_tail(pwq.mayday_node, wq.maydays)
    }
  }
  put_pwq(pwq)
  if (need_more_worker(pool)) wake_up_worker(pool)
  worker_detach_from_pool(self)
}

function* rescuer_thread(self: worker, wq: workqueue_struct): Sleep<void> {
  const k = wq.k
  self.task.flags |= PF_WQ_WORKER
  while (true) {
    set_current_state(k, TASK_IDLE)
    // Looked at before the maydays: none may come after the last look.
    const should_stop = kthread_should_stop(k)
    for (let pwq = list_first(wq.maydays); pwq !== null; pwq = list_first(wq.maydays)) {
      set_current_state(k, TASK_RUNNING)
      list_del_init(pwq.mayday_node)
      yield* rescue(self, pwq)
    }
    if (should_stop) break
    yield* schedule(k, `mayday of ${wq.name}`)
  }
  set_current_state(k, TASK_RUNNING)
  self.task.flags &= ~PF_WQ_WORKER
}

/** Makes the rescuer of a queue, a task of the queue's name. It never counts as running. */
export function init_rescuer(wq: workqueue_struct): void {
  const k = wq.k
  BUG_ON(wq.rescuer !== null, `workqueue ${wq.name} has a rescuer`)
  const self = new worker(0, wq)
  self.task = kthread_create(k, () => rescuer_thread(self, wq), wq.name)
  self.task.kthread_data = self
  self.task.hooks = SLEEP_HOOKS
  self.task.nice = RESCUER_NICE_LEVEL
  wq.rescuer = self
  wake_up_process(self.task)
}
