// Waiting for works, after kernel/workqueue.c.
//
// One work: flush_work puts a barrier behind it, a work that completes the waiter. Behind a queued
// work the barrier is linked to it, so that whoever takes the one takes the other; for a running
// work it goes to the head of what its worker will run next. A barrier has no colour and does not
// count against max_active.
//
// A whole queue: colours. Each pwq counts what is in flight by colour, and everything queued gets
// the current one. flush_workqueue takes the current colour for itself, moves the queue to the next
// of the 15, and waits until nothing of its colour is in flight.
//
//   flush_color   the oldest colour that is still being flushed
//   work_color    the colour of works queued now; never given out so far that it meets flush_color
//
// Flushes end in order. The first flusher arms the pwqs that have works of its colour; the last of
// them to empty wakes it. It then releases those that wait for the same colour, and hands on: the
// next colour's first waiter becomes first flusher, colours with nothing in flight are skipped
// over. Who comes when all colours are taken waits on the overflow list, which gets one new colour
// as a whole as soon as there is one.
//
// Waits that can never end are errors here: a work that flushes itself, or its own queue.

import { BUG, BUG_ON } from './bug.js'
import { complete, completion, wait_for_completion } from './completion.js'
import type { Sleep } from './core.js'
import { PF_MEMALLOC, printk, WARN_ONCE } from './core.js'
import {
  list_add_tail,
  list_del_init,
  list_empty,
  list_entries,
  list_first,
  list_splice_tail_init,
} from './list.js'
import { enter, leave } from './trace.js'
import { find_worker_executing_work } from './workqueue-pool.js'
import { current_wq_worker, INIT_WORK, insert_work, work_name } from './workqueue-queue.js'
import type {
  pool_workqueue,
  WorkqueueKernel,
  worker,
  workqueue_struct,
} from './workqueue-structs.js'
import {
  __WQ_DRAINING,
  __WQ_LEGACY,
  get_work_pwq,
  test_and_set_pending,
  WORK_NO_COLOR,
  WORK_NR_COLORS,
  WORK_STRUCT_LINKED,
  WQ_MEM_RECLAIM,
  work_color_to_flags,
  work_struct,
  wq_flusher,
} from './workqueue-structs.js'

// --- one work

function wq_barrier_func(work: work_struct<completion>): void {
  complete(work.container)
}

/** Puts a barrier behind a work: one that `runner` runs, or one that is queued if there is none. */
function insert_wq_barrier(
  pwq: pool_workqueue,
  done: completion,
  target: work_struct,
  runner: worker | null,
): void {
  const t = enter(target.k, 'insert_wq_barrier')
  const barrier = new work_struct(target.k, done)
  INIT_WORK(barrier, wq_barrier_func)
  test_and_set_pending(barrier)
  let linked = 0
  let head = runner?.scheduled.next
  if (head === undefined) {
    head = target.entry.next
    linked = target.flags & WORK_STRUCT_LINKED
    target.flags |= WORK_STRUCT_LINKED
  }
  insert_work(pwq, barrier, head, work_color_to_flags(WORK_NO_COLOR) | linked)
  leave(target.k, t)
}

/** Warns when a task that memory reclaim may depend on waits for works that may wait for memory. */
function check_flush_dependency(
  k: WorkqueueKernel,
  target_wq: workqueue_struct,
  target: work_struct | null,
): void {
  if ((target_wq.flags & WQ_MEM_RECLAIM) !== 0) return
  const task = k.cpu.current
  const what = `!WQ_MEM_RECLAIM ${target_wq.name}:${target === null ? '' : work_name(target)}`
  const memalloc = (task.flags & PF_MEMALLOC) !== 0
  WARN_ONCE(k, memalloc, `workqueue: PF_MEMALLOC task ${task.name} is flushing ${what}`)
  const self = current_wq_worker(k)
  const wq = self?.current_pwq?.wq
  if (wq === undefined || (wq.flags & (WQ_MEM_RECLAIM | __WQ_LEGACY)) !== WQ_MEM_RECLAIM) return
  const source = `${wq.name}:${self?.current_func?.name ?? ''}`
  WARN_ONCE(k, true, `workqueue: WQ_MEM_RECLAIM ${source} is flushing ${what}`)
}

/** Puts a barrier behind a work wherever it is; null if it is neither queued nor running. */
function start_flush_work(work: work_struct, from_cancel: boolean): completion | null {
  const k = work.k
  const pool = work.pool
  if (pool === null) return null
  const queued = get_work_pwq(work)
  const runner = queued === null ? find_worker_executing_work(pool, work) : null
  const pwq = queued ?? runner?.current_pwq ?? null
  if (pwq === null) return null
  if (runner !== null && runner === current_wq_worker(k)) {
    BUG(`workqueue: ${work_name(work)} waits for its own end`)
  }
  if (!from_cancel) check_flush_dependency(k, pwq.wq, work)
  const done = new completion(k, `flush of ${work_name(work)}`)
  insert_wq_barrier(pwq, done, work, runner)
  return done
}

/** flush_work and the last step of a cancel. */
export function* __flush_work(work: work_struct, from_cancel: boolean): Sleep<boolean> {
  const k = work.k
  const t = enter(k, '__flush_work')
  const done = start_flush_work(work, from_cancel)
  if (done === null) return leave(k, t, false)
  yield* wait_for_completion(done)
  return leave(k, t, true)
}

/**
 * Waits for the last queued execution of a work to end; one queued meanwhile is not waited for.
 * False if it was neither queued nor running. A delayed work whose timer has not fired counts as
 * idle.
 */
export function* flush_work(work: work_struct): Sleep<boolean> {
  const t = enter(work.k, 'flush_work')
  const waited = yield* __flush_work(work, false)
  return leave(work.k, t, waited)
}

// --- a whole queue

function work_next_color(color: number): number {
  return (color + 1) % WORK_NR_COLORS
}

/**
 * Arms the pwqs that have works of `flush_color` in flight (-1: none), and sets the colour of new
 * works to `work_color` (-1: no change). True if there is something to wait for.
 */
function flush_workqueue_prep_pwqs(
  wq: workqueue_struct,
  flush_color: number,
  work_color: number,
): boolean {
  const t = enter(wq.k, 'flush_workqueue_prep_pwqs')
  let armed = 0
  for (const pwq of list_entries(wq.pwqs)) {
    if (flush_color >= 0 && pwq.nr_in_flight[flush_color] > 0) {
      pwq.flush_color = flush_color
      armed++
    }
    if (work_color >= 0) pwq.work_color = work_color
  }
  if (flush_color >= 0) {
    wq.nr_pwqs_to_flush = armed
    if (armed === 0 && wq.first_flusher !== null) complete(wq.first_flusher.done)
  }
  return leave(wq.k, t, armed > 0)
}

/** Takes a colour if there is one. False if nothing is in flight: there is nothing to wait for. */
function join_flushers(wq: workqueue_struct, self: wq_flusher): boolean {
  const next_color = work_next_color(wq.work_color)
  if (next_color === wq.flush_color) {
    list_add_tail(self.list, wq.flusher_overflow)
    return true
  }
  self.flush_color = wq.work_color
  wq.work_color = next_color
  if (wq.first_flusher !== null) {
    list_add_tail(self.list, wq.flusher_queue)
    flush_workqueue_prep_pwqs(wq, -1, wq.work_color)
    return true
  }
  wq.first_flusher = self
  if (flush_workqueue_prep_pwqs(wq, wq.flush_color, wq.work_color)) return true
  wq.flush_color = next_color
  wq.first_flusher = null
  return false
}

/** Wakes those who wait for the colour that has just been flushed. */
function release_flushers(wq: workqueue_struct): void {
  for (const next of list_entries(wq.flusher_queue)) {
    if (next.flush_color !== wq.flush_color) break
    list_del_init(next.list)
    complete(next.done)
  }
}

/** There is a free colour again: the whole overflow list gets it. */
function assign_overflow(wq: workqueue_struct): void {
  if (list_empty(wq.flusher_overflow)) return
  for (const flusher of list_entries(wq.flusher_overflow)) flusher.flush_color = wq.work_color
  wq.work_color = work_next_color(wq.work_color)
  list_splice_tail_init(wq.flusher_overflow, wq.flusher_queue)
  flush_workqueue_prep_pwqs(wq, -1, wq.work_color)
}

/** What the first flusher does when its colour is done. */
function end_first_flush(wq: workqueue_struct): void {
  wq.first_flusher = null
  while (true) {
    release_flushers(wq)
    wq.flush_color = work_next_color(wq.flush_color)
    assign_overflow(wq)
    const next = list_first(wq.flusher_queue)
    if (next === null) break
    list_del_init(next.list)
    wq.first_flusher = next
    if (flush_workqueue_prep_pwqs(wq, wq.flush_color, -1)) break
    // Nothing of that colour is in flight: its waiter was let go, on to the next colour.
    wq.first_flusher = null
  }
}

/** Waits until everything that was queued on a workqueue before this call has run. */
export function* flush_workqueue(wq: workqueue_struct): Sleep<void> {
  const k = wq.k
  const t = enter(k, 'flush_workqueue')
  const own = current_wq_worker(k)?.current_pwq?.wq === wq
  BUG_ON(own, `workqueue ${wq.name}: one of its works waits for all of them`)
  const self = new wq_flusher(wq)
  if (!join_flushers(wq, self)) {
    leave(k, t)
    return
  }
  check_flush_dependency(k, wq, null)
  yield* wait_for_completion(self.done)
  if (wq.first_flusher === self) end_first_flush(wq)
  leave(k, t)
}

export function* flush_scheduled_work(k: WorkqueueKernel): Sleep<void> {
  yield* flush_workqueue(k.system_wq)
}

function drained(wq: workqueue_struct): boolean {
  return list_entries(wq.pwqs).every(pwq => pwq.nr_active === 0 && list_empty(pwq.delayed_works))
}

/** Flushes until a queue is empty; meanwhile only its own works may queue on it. */
export function* drain_workqueue(wq: workqueue_struct): Sleep<void> {
  const k = wq.k
  const t = enter(k, 'drain_workqueue')
  if (wq.nr_drainers++ === 0) wq.flags |= __WQ_DRAINING
  let tries = 0
  while (true) {
    yield* flush_workqueue(wq)
    if (drained(wq)) break
    tries++
    if (tries === 10 || (tries % 100 === 0 && tries <= 1000)) {
      printk(k, 'warn', `workqueue ${wq.name}: drain not complete after ${tries} tries`)
    }
  }
  if (--wq.nr_drainers === 0) wq.flags &= ~__WQ_DRAINING
  leave(k, t)
}
