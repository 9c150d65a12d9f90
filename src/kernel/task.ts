// Tasks: how they sleep, wake and take turns, after kernel/sched/core.c and kernel/kthread.c.
//
// A task is a generator. It sleeps as in Linux: set a state, look at the condition, call
// schedule():
//
//     set_current_state(k, TASK_UNINTERRUPTIBLE)
//     while (!done) yield* schedule(k)
//
// and whoever makes the condition true calls wake_up_process. A wake-up that comes between the two
// is not lost: it sets the state back to running, and schedule() then only passes the turn.
//
// Turns: one first-in-first-out queue over all CPUs, in the order of wake-ups. A task runs until it
// sleeps or passes its turn; nothing preempts it but interrupts, which the machine delivers between
// turns, and, where it might sleep (CONFIG_PREEMPT_VOLUNTARY), kernel threads that it has woken. Code takes no time, except
// where a task submits requests in a row (submit_time). So tasks on different CPUs interleave as if the CPUs ran side by side, and the order
// repeats. Priorities (nice) are recorded and have no effect; there is no load balancing: a task
// stays on its CPU unless that is busy and another it may use is not. Signals are not modelled: an
// interruptible sleep is one that shows as such.

import { BUG, BUG_ON } from './bug.js'
import type { Cpu, ExecContext, KernelCore, Sleep } from './core.js'
import {
  in_interrupt,
  PF_KTHREAD,
  TASK_DEAD,
  TASK_NORMAL,
  TASK_RUNNING,
  TASK_UNINTERRUPTIBLE,
  task_struct,
} from './core.js'
import { enter, leave } from './trace.js'

/** Works or loop rounds that a task may do in one turn when nobody else is ready. */
const MAX_UNBROKEN = 64

export function set_current_state(k: KernelCore, state: number): void {
  k.cpu.current.state = state
}

// --- the run queue

/**
 * The n-th wake-up takes FIRST + n * UNLIKE of the spread, modulo 1: every part of it about as often, and no two near each
 * other alike (multiples of the reciprocal of the plastic number).
 */
const UNLIKE = 0.754_877_666_246_693
const FIRST = 0.9

function switch_ns(k: KernelCore, task: task_struct): number {
  const { switchNs = 0, switchSpreadNs = 0 } = k.options
  if (task.body === null || switchSpreadNs === 0) return switchNs
  return switchNs + Math.floor(switchSpreadNs * ((FIRST + k.nr_switches++ * UNLIKE) % 1))
}

function enqueue_task(k: KernelCore, task: task_struct): void {
  const cost = switch_ns(k, task)
  task.ready_at = cost > 0 ? k.now() + cost : 0
  task.rq_next = null
  if (k.rq_tail === null) k.rq_head = task
  else k.rq_tail.rq_next = task
  k.rq_tail = task
}

/** A task that computes goes on when it has, whoever has been woken meanwhile. */
function enqueue_computing(k: KernelCore, task: task_struct): void {
  task.ready_at = task.computes_until
  task.computes_until = 0
  let before: task_struct | null = null
  let next = k.rq_head
  while (next !== null && next.ready_at <= task.ready_at) {
    before = next
    next = next.rq_next
  }
  task.rq_next = next
  if (before === null) k.rq_head = task
  else before.rq_next = task
  if (next === null) k.rq_tail = task
}

/** Takes a task off the run queue; false if it does not wait there. */
function dequeue_task(task: task_struct): boolean {
  const { k } = task
  let before: task_struct | null = null
  for (let one = k.rq_head; one !== null; before = one, one = one.rq_next) {
    if (one !== task) continue
    if (before === null) k.rq_head = task.rq_next
    else before.rq_next = task.rq_next
    if (k.rq_tail === task) k.rq_tail = before
    task.rq_next = null
    return true
  }
  return false
}

/** A task that waits for its turn waits behind all others. */
export function go_behind(task: task_struct): void {
  if (dequeue_task(task)) enqueue_task(task.k, task)
}

/** Takes the next task whose time has come off the run queue. */
export function pick_next_task(k: KernelCore): task_struct | null {
  const task = k.rq_head
  if (task === null || (task.ready_at > 0 && task.ready_at > k.now())) return null
  k.rq_head = task.rq_next
  if (k.rq_head === null) k.rq_tail = null
  task.rq_next = null
  return task
}

/** Whether nothing is runnable there. */
export function idle_cpu(cpu: Cpu): boolean {
  return cpu.nr_running === 0
}

function may_run_on(task: task_struct, cpu: Cpu): boolean {
  return cpu.online && (task.cpus_allowed === null || task.cpus_allowed.includes(cpu.id))
}

/** The CPU for a task that wakes: where it was, unless that is taken and another one is idle. */
export function select_task_rq(task: task_struct): Cpu {
  const { cpu, k, cpus_allowed } = task
  if (cpus_allowed?.length === 1) {
    const only = k.cpus[cpus_allowed[0]!]!
    if (only.online) return only
  }
  const allowed = may_run_on(task, cpu)
  if (allowed && idle_cpu(cpu)) return cpu
  const idle = k.cpus.find(c => may_run_on(task, c) && idle_cpu(c))
  if (idle !== undefined) return idle
  if (allowed) return cpu
  // All its CPUs are offline: Linux breaks the affinity rather than the task.
  return k.cpus.find(c => may_run_on(task, c)) ?? k.cpus.find(c => c.online) ?? cpu
}

function activate_task(task: task_struct): void {
  task.cpu = select_task_rq(task)
  task.on_rq = true
  task.woken = true
  if (task.flags & PF_KTHREAD) task.cpu.need_resched = true
  task.cpu.nr_running++
  enqueue_task(task.k, task)
}

function deactivate_task(task: task_struct): void {
  task.on_rq = false
  task.cpu.nr_running--
}

// --- sleeping and waking

/** Wakes a task that sleeps in one of the states of the mask; false if it does not. */
export function try_to_wake_up(task: task_struct, state: number): boolean {
  if ((task.state & state) === 0) return false
  task.state = TASK_RUNNING
  if (task.on_rq) return true
  task.hooks?.wq_worker_waking_up(task)
  activate_task(task)
  return true
}

export function wake_up_process(task: task_struct): boolean {
  const t = enter(task.k, 'wake_up_process')
  return leave(task.k, t, try_to_wake_up(task, TASK_NORMAL))
}

/** A sleeping task's plug is flushed, so that nothing it may wait for stays in it. */
function sched_submit_work(task: task_struct): void {
  if (task.state === TASK_RUNNING || !task.plug?.blk_needs_flush_plug()) return
  task.plug.blk_schedule_flush_plug()
}

/**
 * Gives up the CPU: until someone wakes the task if its state says that it sleeps, else until its
 * next turn.
 * @param what what it waits for, in words
 */
export function* schedule(k: KernelCore, what = 'schedule'): Sleep<void> {
  const t = enter(k, 'schedule')
  const task = k.cpu.current
  BUG_ON(task.body === null || in_interrupt(k), `scheduling while atomic: ${k.ctx.name} (${what})`)
  sched_submit_work(task)
  if (task.state !== TASK_RUNNING) {
    task.hooks?.wq_worker_sleeping(task)
    deactivate_task(task)
  }
  yield what
  leave(k, t)
}

/**
 * As schedule(), for one that waits for I/O: the plug is flushed even if the wait turns out to be
 * over already.
 */
export function* io_schedule(k: KernelCore, what = 'io_schedule'): Sleep<void> {
  const t = enter(k, 'io_schedule')
  k.cpu.current.plug?.blk_schedule_flush_plug()
  yield* schedule(k, what)
  leave(k, t)
}

/**
 * Passes the turn if another task is ready, and now and then in any case, so that the run loop's
 * caller gets a look in.
 */
export function* cond_resched(k: KernelCore): Sleep<void> {
  if (k.rq_head !== null || ++k.unbroken >= MAX_UNBROKEN) yield 'cond_resched'
}

/**
 * The time that one of many requests takes its submitter (KernelOptions.submitNs), or one of `parts` of it: interrupts
 * come in.
 */
export function* submit_time(k: KernelCore, parts = 1): Sleep<void> {
  const ns = k.options.submitNs ?? 0
  if (ns === 0) return
  k.cpu.current.computes_until = k.now() + ns / parts
  yield 'submit_time'
}

/** Lets everybody begin who is ready, as on CPUs that run side by side. */
export function* let_others_begin(k: KernelCore): Sleep<void> {
  if (k.rq_head !== null) yield 'others'
}

/** Turns that a task leaves to others in one place at most. */
const MAX_PREEMPTED = 32

/** A kernel thread of this CPU that was woken and waits for its turn. */
function woken_thread(k: KernelCore): task_struct | null {
  for (let task = k.rq_head; task !== null; task = task.rq_next)
    if (task.cpu === k.cpu && task.woken && task.flags & PF_KTHREAD) return task
  return null
}

function take_woken_thread(k: KernelCore): task_struct | null {
  const task = woken_thread(k)
  if (task !== null) dequeue_task(task)
  return task
}

/**
 * A place where a task may be preempted: before it allocates, before it waits. A kernel thread that was woken on its CPU
 * meanwhile has slept longer than the task, and goes first (check_preempt_wakeup); so do those that it wakes.
 */
export function* might_sleep(k: KernelCore): Sleep<void> {
  if (!k.cpu.need_resched) return
  const task = k.cpu.current
  const { plug } = task
  plug?.blk_plug_out()
  for (let turn = 0; turn < MAX_PREEMPTED && woken_thread(k) !== null; turn++) yield 'its turn'
  plug?.blk_plug_in()
}

/**
 * The same for a task that is in a call of the core's and cannot pass its turn: the kernel threads have theirs inside of it.
 * A kernel thread gives way to none here, it has slept as long.
 */
export function might_sleep_within(k: KernelCore): void {
  const { cpu } = k
  const task = cpu.current
  const { within } = k.options
  if (!cpu.need_resched || k.ctx !== task || task.flags & PF_KTHREAD || !within) return
  task.plug?.blk_plug_out()
  within(() => {
    for (let turn = 0; turn < MAX_PREEMPTED; turn++) {
      const thread = take_woken_thread(k)
      if (thread === null) break
      run_task(k, thread)
      cpu.current = task
    }
  })
  task.plug?.blk_plug_in()
}

// --- the run loop's one step

/** Runs a task until it sleeps, passes its turn or ends. */
export function run_task(k: KernelCore, task: task_struct): void {
  const cpu = task.cpu
  const ctx_before: ExecContext = k.ctx
  const cpu_before = k.cpu
  k.cpu = cpu
  k.ctx = task
  cpu.current = task
  k.unbroken = 0
  task.woken = false
  cpu.need_resched = false
  task.body ??= task.start!()
  const turn = task.body.next()
  task.waiting_on = turn.done ? 'nothing: it has ended' : turn.value
  if (turn.done) do_exit(task)
  cpu.current = cpu.idle
  k.cpu = cpu_before
  k.ctx = ctx_before
  if (task.on_rq) requeue_task(task)
}

/**
 * A task that only passed its turn goes to the end of the queue, and off a CPU that it may no
 * longer use.
 */
function requeue_task(task: task_struct): void {
  if (!may_run_on(task, task.cpu)) {
    deactivate_task(task)
    activate_task(task)
  } else if (task.computes_until > 0) enqueue_computing(task.k, task)
  else enqueue_task(task.k, task)
}

function do_exit(task: task_struct): void {
  task.state = TASK_DEAD
  deactivate_task(task)
  task.body = null
  task.start = null
  task.depth = 0
  task.k.tasks.delete(task)
  for (const waiter of task.exit_waiters.splice(0)) wake_up_process(waiter)
}

// --- making tasks

/** A new task, asleep until wake_up_process. */
function copy_process(
  k: KernelCore,
  name: string,
  kind: 'task' | 'kworker',
  fn: () => Sleep<void>,
): task_struct {
  const task = new task_struct(k, name, kind, k.cpu)
  task.state = TASK_UNINTERRUPTIBLE
  task.waiting_on = 'creation'
  task.start = fn
  k.tasks.add(task)
  return task
}

/** A task of user space that starts at once: a program that does I/O, for instance. */
export function spawn(
  k: KernelCore,
  name: string,
  fn: () => Sleep<void>,
  cpus_allowed: readonly number[] | null = null,
): task_struct {
  const task = copy_process(k, name, 'task', fn)
  task.cpus_allowed = cpus_allowed
  wake_up_process(task)
  return task
}

/** A kernel thread; it does not run before wake_up_process. */
export function kthread_create(
  k: KernelCore,
  fn: () => Sleep<void>,
  name: string,
  kind: 'task' | 'kworker' = 'task',
): task_struct {
  const task = copy_process(k, name, kind, fn)
  task.flags |= PF_KTHREAD
  return task
}

/** kthread_create and the first wake-up. */
export function kthread_run(k: KernelCore, fn: () => Sleep<void>, name: string): task_struct {
  const task = kthread_create(k, fn, name)
  wake_up_process(task)
  return task
}

/**
 * Binds a task to CPUs. One that sleeps moves when it wakes; one that is queued to run, at its next
 * turn but one.
 */
export function kthread_bind_mask(task: task_struct, cpus: readonly number[] | null): void {
  task.cpus_allowed = cpus
}

export function kthread_bind(task: task_struct, cpu: number): void {
  kthread_bind_mask(task, [cpu])
}

/** For a kernel thread's own loop: has someone called kthread_stop? */
export function kthread_should_stop(k: KernelCore): boolean {
  return k.cpu.current.should_stop
}

/** Asks a kernel thread to end and waits until it has. */
export function* kthread_stop(task: task_struct): Sleep<void> {
  const k = task.k
  const t = enter(k, 'kthread_stop')
  if (task === k.cpu.current) BUG(`kthread_stop: ${task.name} stops itself`)
  task.should_stop = true
  wake_up_process(task)
  while (task.state !== TASK_DEAD) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    if (!task.exit_waiters.includes(k.cpu.current)) task.exit_waiters.push(k.cpu.current)
    yield* schedule(k, `end of ${task.name}`)
  }
  leave(k, t)
}

/** Moves the running task to another CPU from its next turn on, by passing the turn if need be. */
export function* set_cpus_allowed_ptr(k: KernelCore, cpus: readonly number[] | null): Sleep<void> {
  const task = k.cpu.current
  task.cpus_allowed = cpus
  while (!may_run_on(task, task.cpu) && k.cpus.some(c => may_run_on(task, c))) yield 'migration'
}
