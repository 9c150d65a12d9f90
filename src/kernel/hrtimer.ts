// High-resolution timers, after kernel/time/hrtimer.c.
//
// Each CPU keeps its timers ordered by expiry, in ns of the kernel's clock (CLOCK_MONOTONIC, the
// only one modelled); equal expiries fire in the order of arming. A function runs as a hardirq of
// its CPU and says whether its timer goes on (HRTIMER_RESTART, after hrtimer_forward) or not. A
// timer with slack fires somewhere in [expires - slack, expires]: an interrupt is asked for at its
// end, and one that comes earlier takes along every timer whose range has begun, in order of the
// ends.
//
// Linux keeps a red-black tree; a binary heap serves here, O(log n) to arm and cancel. Timers that
// fire in softirq context (HRTIMER_MODE_SOFT) are refused.

import { BUG, BUG_ON } from './bug.js'
import type { Cpu, KernelCore, Sleep, task_struct } from './core.js'
import { TASK_UNINTERRUPTIBLE, WARN } from './core.js'
import { schedule, set_current_state, wake_up_process } from './task.js'
import { MAX_SCHEDULE_TIMEOUT, NSEC_PER_USEC } from './time.js'
import { get_nohz_timer_target } from './timer.js'
import type { TimerKernel } from './timer-wheel.js'
import { enter, leave, trace_event } from './trace.js'

export const CLOCK_MONOTONIC = 1

export const HRTIMER_MODE_ABS = 0
export const HRTIMER_MODE_REL = 1
export const HRTIMER_MODE_PINNED = 2
export const HRTIMER_MODE_SOFT = 4

export const HRTIMER_NORESTART = 0
export const HRTIMER_RESTART = 1

/** @returns HRTIMER_NORESTART or HRTIMER_RESTART */
export type HrtimerFn<T> = { bivariant(timer: hrtimer<T>): number }['bivariant']

export class hrtimer<T = unknown> {
  readonly k: HrtimerKernel
  readonly container: T
  function: HrtimerFn<T> | null = null
  /** Latest time at which it fires, in ns. */
  expires = 0
  /** Earliest time, in ns. */
  softexpires = 0
  pinned = false
  base: hrtimer_cpu_base | null = null
  /** Place in the heap, or -1 when not queued. */
  slot = -1
  order = 0

  constructor(k: HrtimerKernel, container: T) {
    this.k = k
    this.container = container
  }
}

/** What high-resolution timers add to a kernel. */
export interface HrtimerKernel extends TimerKernel {
  readonly hrtimer_bases: readonly hrtimer_cpu_base[]
}

/** The timers of one CPU: a heap ordered by expiry, then by arming. */
export class hrtimer_cpu_base {
  running: hrtimer | null = null
  /** Timers queued on any CPU of this kernel. */
  readonly queued: { count: number }
  readonly #heap: hrtimer[] = []
  #armed = 0

  constructor(queued = { count: 0 }) {
    this.queued = queued
  }

  /** Timers queued. */
  get count(): number {
    return this.#heap.length
  }

  first(): hrtimer | null {
    return this.#heap[0] ?? null
  }

  add(timer: hrtimer): void {
    timer.base = this
    timer.order = this.#armed++
    this.queued.count++
    this.#heap.push(timer)
    this.#up(timer, this.#heap.length - 1)
  }

  remove(timer: hrtimer): void {
    const last = this.#heap.pop()!
    const slot = timer.slot
    timer.slot = -1
    this.queued.count--
    if (last === timer) return
    this.#up(last, slot)
    this.#down(last, last.slot)
  }

  #up(timer: hrtimer, slot: number): void {
    while (slot > 0) {
      const above = (slot - 1) >> 1
      if (!before(timer, this.#heap[above])) break
      this.#put(this.#heap[above], slot)
      slot = above
    }
    this.#put(timer, slot)
  }

  #down(timer: hrtimer, slot: number): void {
    const heap = this.#heap
    for (let child = 2 * slot + 1; child < heap.length; child = 2 * slot + 1) {
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++
      if (!before(heap[child], timer)) break
      this.#put(heap[child], slot)
      slot = child
    }
    this.#put(timer, slot)
  }

  #put(timer: hrtimer, slot: number): void {
    this.#heap[slot] = timer
    timer.slot = slot
  }
}

function before(a: hrtimer, b: hrtimer): boolean {
  return a.expires < b.expires || (a.expires === b.expires && a.order < b.order)
}

function fn_name(timer: hrtimer): string {
  return timer.function?.name ?? ''
}

/** Prepares a timer. The caller sets `timer.function`. */
export function hrtimer_init(timer: hrtimer, clock_id: number, mode: number): void {
  const t = enter(timer.k, 'hrtimer_init')
  BUG_ON(clock_id !== CLOCK_MONOTONIC, `hrtimer_init: clock ${clock_id} is not modelled`)
  BUG_ON((mode & HRTIMER_MODE_SOFT) !== 0, 'hrtimer_init: HRTIMER_MODE_SOFT is not modelled')
  timer.base = timer.k.hrtimer_bases[timer.k.cpu.id]
  leave(timer.k, t)
}

export function hrtimer_is_queued(timer: hrtimer): boolean {
  return timer.slot >= 0
}

/** Queued, or its function runs. */
export function hrtimer_active(timer: hrtimer): boolean {
  return hrtimer_is_queued(timer) || timer.base?.running === timer
}

export function hrtimer_set_expires_range_ns(timer: hrtimer, time: number, delta: number): void {
  timer.softexpires = time
  timer.expires = time + delta
}

/** Time until it fires at the latest, in ns; negative when late. */
export function hrtimer_get_remaining(timer: hrtimer): number {
  return timer.expires - timer.k.now()
}

function enqueue_hrtimer(timer: hrtimer, base: hrtimer_cpu_base): void {
  if (timer.k.trace.on) trace_event(timer.k, 'hrtimer_start', { function: fn_name(timer) })
  base.add(timer)
}

function remove_hrtimer(timer: hrtimer): number {
  if (!hrtimer_is_queued(timer)) return 0
  if (timer.k.trace.on) trace_event(timer.k, 'hrtimer_cancel', { function: fn_name(timer) })
  timer.base!.remove(timer)
  return 1
}

/** The CPU's base, unless the timer's function runs right now, somewhere else. */
function switch_hrtimer_base(timer: hrtimer): hrtimer_cpu_base {
  const k = timer.k
  if (timer.base!.running === timer) return timer.base!
  const migrate = k.options.timerMigration !== false && !timer.pinned
  return k.hrtimer_bases[migrate ? get_nohz_timer_target(k).id : k.cpu.id]
}

/**
 * Arms a timer, or re-arms it.
 * @param tim ns: from now with HRTIMER_MODE_REL, else on the kernel's clock
 * @param delta_ns slack: how much later it may fire
 */
export function hrtimer_start_range_ns(
  timer: hrtimer,
  tim: number,
  delta_ns: number,
  mode: number,
): void {
  const k = timer.k
  const t = enter(k, 'hrtimer_start_range_ns')
  if (timer.function === null || timer.base === null) BUG('hrtimer_start: not initialised')
  remove_hrtimer(timer)
  if ((mode & HRTIMER_MODE_REL) !== 0) tim += k.now()
  timer.pinned = (mode & HRTIMER_MODE_PINNED) !== 0
  hrtimer_set_expires_range_ns(timer, tim, delta_ns)
  enqueue_hrtimer(timer, switch_hrtimer_base(timer))
  leave(k, t)
}

/** hrtimer_start_range_ns without slack. */
export function hrtimer_start(timer: hrtimer, tim: number, mode: number): void {
  hrtimer_start_range_ns(timer, tim, 0, mode)
}

/** Arms a timer again for the range it has. */
export function hrtimer_restart(timer: hrtimer): void {
  const delta = timer.expires - timer.softexpires
  hrtimer_start_range_ns(timer, timer.softexpires, delta, HRTIMER_MODE_ABS)
}

/** 1 if it was queued and is not any more, 0 if it was not, -1 if its function runs. */
export function hrtimer_try_to_cancel(timer: hrtimer): number {
  const t = enter(timer.k, 'hrtimer_try_to_cancel')
  const ret = timer.base?.running === timer ? -1 : remove_hrtimer(timer)
  return leave(timer.k, t, ret)
}

/**
 * Disarms a timer and sees to it that its function is not running: 1 if it was queued. Not to be
 * called by that function.
 */
export function hrtimer_cancel(timer: hrtimer): number {
  const t = enter(timer.k, 'hrtimer_cancel')
  const ret = hrtimer_try_to_cancel(timer)
  BUG_ON(ret < 0, `hrtimer_cancel: ${fn_name(timer)} waits for its own end`)
  return leave(timer.k, t, ret)
}

/**
 * Moves the expiry on by whole intervals until it lies after `now`.
 * @returns the number of intervals; 0 if it was not due
 */
export function hrtimer_forward(timer: hrtimer, now: number, interval: number): number {
  const t = enter(timer.k, 'hrtimer_forward')
  const delta = now - timer.expires
  if (delta < 0) return leave(timer.k, t, 0)
  const queued = hrtimer_is_queued(timer)
  if (WARN(timer.k, queued, 'hrtimer_forward of a queued timer')) return leave(timer.k, t, 0)
  const step = Math.max(1, interval)
  const overruns = Math.floor(delta / step) + 1
  timer.expires += overruns * step
  timer.softexpires += overruns * step
  return leave(timer.k, t, overruns)
}

export function hrtimer_forward_now(timer: hrtimer, interval: number): number {
  return hrtimer_forward(timer, timer.k.now(), interval)
}

// --- expiry

function __run_hrtimer(base: hrtimer_cpu_base, timer: hrtimer): void {
  const k = timer.k
  remove_hrtimer(timer)
  base.running = timer
  if (k.trace.on) trace_event(k, 'hrtimer_expire_entry', { function: fn_name(timer) })
  const restart = timer.function!(timer)
  base.running = null
  if (restart === HRTIMER_RESTART && !hrtimer_is_queued(timer)) enqueue_hrtimer(timer, base)
}

/** The timer interrupt's part, in hardirq context: runs what is due on this CPU. */
export function hrtimer_interrupt(k: HrtimerKernel): void {
  const t = enter(k, 'hrtimer_interrupt')
  const base = k.hrtimer_bases[k.cpu.id]
  const now = k.now()
  for (let timer = base.first(); timer !== null; timer = base.first()) {
    if (timer.softexpires > now) break
    __run_hrtimer(base, timer)
  }
  leave(k, t)
}

/** Whether a timer of this CPU has to fire now. */
export function hrtimers_due(k: HrtimerKernel, cpu: Cpu, now: number): boolean {
  const first = k.hrtimer_bases[cpu.id].first()
  return first !== null && first.expires <= now
}

/** Time of the next interrupt, in ns; infinity if no timer is queued. */
export function hrtimer_get_next_event(k: HrtimerKernel): number {
  let next = Number.POSITIVE_INFINITY
  if (k.hrtimer_bases[0].queued.count === 0) return next
  for (const base of k.hrtimer_bases) next = Math.min(next, base.first()?.expires ?? next)
  return next
}

/** Moves the timers of a CPU that went offline to this CPU. */
export function hrtimers_dead_cpu(k: HrtimerKernel, cpu: Cpu): void {
  const t = enter(k, 'hrtimers_dead_cpu')
  const from = k.hrtimer_bases[cpu.id]
  for (let timer = from.first(); timer !== null; timer = from.first()) {
    from.remove(timer)
    k.hrtimer_bases[k.cpu.id].add(timer)
  }
  leave(k, t)
}

/** Boot: one base per CPU. */
export function init_hrtimers(k: KernelCore): hrtimer_cpu_base[] {
  const queued = { count: 0 }
  return k.cpus.map(() => new hrtimer_cpu_base(queued))
}

// --- sleeping

/**
 * What a task that sleeps on a high-resolution timer holds; `task` becomes null when the timer has
 * fired.
 */
export class hrtimer_sleeper {
  readonly timer: hrtimer<hrtimer_sleeper>
  task: task_struct | null

  /** For the running task (hrtimer_init_on_stack and hrtimer_init_sleeper). */
  constructor(k: HrtimerKernel) {
    this.task = k.cpu.current
    this.timer = new hrtimer<hrtimer_sleeper>(k, this)
    hrtimer_init(this.timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS)
    this.timer.function = hrtimer_wakeup
  }
}

function hrtimer_wakeup(timer: hrtimer<hrtimer_sleeper>): number {
  const { task } = timer.container
  timer.container.task = null
  if (task !== null) wake_up_process(task)
  return HRTIMER_NORESTART
}

/**
 * Sleeps until woken or until a time; the caller sets the state first.
 * @param expires ns, read as `mode` says; MAX_SCHEDULE_TIMEOUT for no limit
 * @param delta slack in ns
 * @returns true if the time came, false if the task was woken before
 */
export function* schedule_hrtimeout_range(
  k: HrtimerKernel,
  expires: number,
  delta: number,
  mode: number,
): Sleep<boolean> {
  const t = enter(k, 'schedule_hrtimeout_range')
  if (expires === MAX_SCHEDULE_TIMEOUT) {
    yield* schedule(k, 'schedule_hrtimeout')
    return leave(k, t, false)
  }
  const sleeper = new hrtimer_sleeper(k)
  hrtimer_start_range_ns(sleeper.timer, expires, delta, mode)
  yield* schedule(k, 'schedule_hrtimeout')
  hrtimer_cancel(sleeper.timer)
  return leave(k, t, sleeper.task === null)
}

/** Sleeps between `min` and `max` microseconds. */
export function* usleep_range(k: HrtimerKernel, min: number, max: number): Sleep<void> {
  const t = enter(k, 'usleep_range')
  const until = k.now() + min * NSEC_PER_USEC
  const delta = (max - min) * NSEC_PER_USEC
  let expired = false
  while (!expired) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    expired = yield* schedule_hrtimeout_range(k, until, delta, HRTIMER_MODE_ABS)
  }
  leave(k, t)
}
