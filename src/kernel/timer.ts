// Timers, after kernel/time/timer.c; the wheel that holds them is in timer-wheel.ts.
//
//   timer_setup → mod_timer → (tick) → TIMER_SOFTIRQ → run_timer_softirq → call_timer_fn
//
// The tick. Every CPU is treated as NO_HZ treats an idle one: a CPU gets a tick only at a jiffy at
// which one of its timers is due, so the machine may jump from one deadline to the next. A timer
// that is armed for now or for the past fires at the next jiffy edge. Deferrable timers never cause
// a tick; they run with the next thing that wakes their CPU.
//
// A timer's function runs in the softirq of the CPU it was armed for, cannot sleep, and is never
// interrupted by the timer API's callers. So `del_timer_sync`, which waits for a running function,
// can only find it running when called from that function itself, where Linux hangs: here that is a
// KernelBug.

import { BUG, BUG_ON } from './bug.js'
import type { Cpu } from './core.js'
import { WARN_ONCE } from './core.js'
import { open_softirq, raise_softirq_irqoff, TIMER_SOFTIRQ } from './softirq.js'
import { idle_cpu } from './task.js'
import type { TimerFn, TimerKernel, timer_list } from './timer-wheel.js'
import {
  first_expiry,
  TIMER_DEFERRABLE,
  TIMER_IRQSAFE,
  TIMER_PINNED,
  timer_base,
} from './timer-wheel.js'
import { enter, leave, trace_event } from './trace.js'

const MOD_TIMER_PENDING_ONLY = 1
const MOD_TIMER_REDUCE = 2

function init_timer_key(timer: timer_list, flags: number): void {
  const t = enter(timer.k, 'init_timer_key')
  timer.flags = flags
  timer.base = get_timer_cpu_base(timer, timer.k.cpu)
  leave(timer.k, t)
}

/** Prepares a timer. `flags`: TIMER_DEFERRABLE, TIMER_PINNED, TIMER_IRQSAFE. */
export function timer_setup<T>(timer: timer_list<T>, fn: TimerFn<T>, flags = 0): void {
  timer.function = fn
  init_timer_key(timer, flags)
}

/** Whether a timer is armed. False as soon as its function is about to run. */
export function timer_pending(timer: timer_list): boolean {
  return timer.idx >= 0
}

function get_timer_cpu_base(timer: timer_list, cpu: Cpu): timer_base {
  const bases = timer.k.timer_bases[cpu.id]
  return (timer.flags & TIMER_DEFERRABLE) !== 0 ? bases.def : bases.std
}

/** A busy CPU for an unpinned timer that is armed on an idle one; this CPU if all are idle. */
export function get_nohz_timer_target(k: TimerKernel): Cpu {
  if (!idle_cpu(k.cpu)) return k.cpu
  return k.cpus.find(cpu => cpu.online && !idle_cpu(cpu)) ?? k.cpu
}

function get_target_base(timer: timer_list): timer_base {
  const k = timer.k
  const migrate = k.options.timerMigration !== false && (timer.flags & TIMER_PINNED) === 0
  return get_timer_cpu_base(timer, migrate ? get_nohz_timer_target(k) : k.cpu)
}

function lock_timer_base(timer: timer_list): timer_base {
  return timer.base ?? BUG('a timer was used before timer_setup')
}

function fn_name(timer: timer_list): string {
  return timer.function?.name ?? ''
}

function debug_activate(timer: timer_list): void {
  const k = timer.k
  if (!k.trace.on) return
  const timeout_jiffies = timer.expires - k.jiffies
  trace_event(k, 'timer_start', { function: fn_name(timer), timeout_jiffies })
}

function detach_timer(timer: timer_list, base: timer_base): void {
  if (timer.k.trace.on) trace_event(timer.k, 'timer_cancel', { function: fn_name(timer) })
  base.detach_timer(timer)
}

function detach_if_pending(timer: timer_list, base: timer_base): number {
  if (!timer_pending(timer)) return 0
  detach_timer(timer, base)
  return 1
}

function internal_add_timer(base: timer_base, timer: timer_list): void {
  const t = enter(timer.k, 'internal_add_timer')
  base.enqueue_timer(timer, base.calc_wheel_index(timer.expires, base.clk))
  leave(timer.k, t)
}

/**
 * True if a pending timer can stay where it is: same expiry, or same bucket, or (reduce) it is due
 * earlier anyway.
 */
function mod_in_place(timer: timer_list, base: timer_base, expires: number, how: number): boolean {
  const reduce = (how & MOD_TIMER_REDUCE) !== 0
  const diff = timer.expires - expires
  if (diff === 0 || (reduce && diff <= 0)) return true
  base.forward_timer_base(timer.k.jiffies)
  if (base.calc_wheel_index(expires, base.clk) !== timer.idx) return false
  timer.expires = expires
  return true
}

/** Arms a timer. 1 if it was pending, 0 if not. */
export function __mod_timer(timer: timer_list, expires: number, how: number): number {
  const k = timer.k
  const t = enter(k, '__mod_timer')
  BUG_ON(timer.function === null, 'mod_timer: a timer without a function')
  let base = lock_timer_base(timer)
  if (timer_pending(timer) && mod_in_place(timer, base, expires, how)) return leave(k, t, 1)
  const pending = detach_if_pending(timer, base)
  if (pending === 0 && (how & MOD_TIMER_PENDING_ONLY) !== 0) return leave(k, t, 0)
  // A timer whose function runs stays on its CPU, so that whoever deletes it knows where to look.
  if (base.running_timer !== timer) base = get_target_base(timer)
  base.forward_timer_base(k.jiffies)
  timer.expires = expires
  debug_activate(timer)
  internal_add_timer(base, timer)
  return leave(k, t, pending)
}

/**
 * Arms or re-arms a timer for an absolute jiffy. 1 if it was pending, 0 if not. Pending for the
 * same jiffy: nothing happens, even if the caller hopes to push it back.
 */
export function mod_timer(timer: timer_list, expires: number): number {
  const t = enter(timer.k, 'mod_timer')
  return leave(timer.k, t, __mod_timer(timer, expires, 0))
}

/** Re-arms a timer only if it is pending. */
export function mod_timer_pending(timer: timer_list, expires: number): number {
  const t = enter(timer.k, 'mod_timer_pending')
  return leave(timer.k, t, __mod_timer(timer, expires, MOD_TIMER_PENDING_ONLY))
}

/** As mod_timer, but never makes a pending timer fire later. */
export function timer_reduce(timer: timer_list, expires: number): number {
  const t = enter(timer.k, 'timer_reduce')
  return leave(timer.k, t, __mod_timer(timer, expires, MOD_TIMER_REDUCE))
}

/** Arms a timer that is not pending for `timer.expires`. */
export function add_timer(timer: timer_list): void {
  const t = enter(timer.k, 'add_timer')
  BUG_ON(timer_pending(timer), `add_timer: ${fn_name(timer)} is pending`)
  mod_timer(timer, timer.expires)
  leave(timer.k, t)
}

/** As add_timer, on a given CPU. */
export function add_timer_on(timer: timer_list, cpu: number): void {
  const k = timer.k
  const t = enter(k, 'add_timer_on')
  BUG_ON(timer_pending(timer), `add_timer_on: ${fn_name(timer)} is pending`)
  BUG_ON(timer.function === null, 'add_timer_on: a timer without a function')
  const base = get_timer_cpu_base(timer, k.cpus[cpu])
  base.forward_timer_base(k.jiffies)
  debug_activate(timer)
  internal_add_timer(base, timer)
  leave(k, t)
}

/** Disarms a timer: 1 if it was pending. Its function may be running. */
export function del_timer(timer: timer_list): number {
  const t = enter(timer.k, 'del_timer')
  return leave(timer.k, t, detach_if_pending(timer, lock_timer_base(timer)))
}

/** As del_timer, but -1 and nothing done while the function runs. */
export function try_to_del_timer_sync(timer: timer_list): number {
  const t = enter(timer.k, 'try_to_del_timer_sync')
  const base = lock_timer_base(timer)
  const ret = base.running_timer === timer ? -1 : detach_if_pending(timer, base)
  return leave(timer.k, t, ret)
}

/**
 * Disarms a timer and sees to it that its function is not running. 1 if it was pending. Not to be
 * called by that function.
 */
export function del_timer_sync(timer: timer_list): number {
  const k = timer.k
  const t = enter(k, 'del_timer_sync')
  const unsafe = k.cpu.in_hardirq > 0 && (timer.flags & TIMER_IRQSAFE) === 0
  WARN_ONCE(k, unsafe, `del_timer_sync of ${fn_name(timer)} in hardirq context`)
  const ret = try_to_del_timer_sync(timer)
  BUG_ON(ret < 0, `del_timer_sync: ${fn_name(timer)} waits for its own end`)
  return leave(k, t, ret)
}

// --- expiry

function call_timer_fn(timer: timer_list): void {
  const k = timer.k
  const t = enter(k, 'call_timer_fn')
  if (k.trace.on) trace_event(k, 'timer_expire_entry', { function: fn_name(timer) })
  timer.function!(timer)
  leave(k, t)
}

function expire_timers(base: timer_base, list: number): void {
  for (let timer = base.first_expired(list); timer !== null; timer = base.first_expired(list)) {
    base.running_timer = timer
    detach_timer(timer, base)
    call_timer_fn(timer)
    base.running_timer = null
  }
}

function __run_timers(k: TimerKernel, base: timer_base): void {
  base.busy = true
  while (base.clk <= k.jiffies) {
    // Highest level first: those have waited longest.
    for (let list = base.collect_expired_timers(k.jiffies) - 1; list >= 0; list--) {
      expire_timers(base, list)
    }
  }
  base.busy = false
}

function run_timer_softirq(k: TimerKernel): void {
  const t = enter(k, 'run_timer_softirq')
  const { std, def } = k.timer_bases[k.cpu.id]
  __run_timers(k, std)
  __run_timers(k, def)
  leave(k, t)
}

/** The tick's part, in hardirq context: has this CPU's wheels looked at if something is due. */
export function run_local_timers(k: TimerKernel): void {
  raise_softirq_irqoff(k, TIMER_SOFTIRQ)
}

/** Whether a tick of this CPU has timers to run. */
export function timers_due(k: TimerKernel, cpu: Cpu): boolean {
  return k.timer_bases[cpu.id].std.next_expiry <= k.jiffies
}

/** Whether deferrable timers wait for this CPU to wake. */
export function deferrable_timers_due(k: TimerKernel, cpu: Cpu): boolean {
  return k.timer_bases[cpu.id].def.next_expiry <= k.jiffies
}

/**
 * The jiffy at which the next timer fires, on any CPU; infinity if none is armed. A tick comes only
 * at a jiffy's edge.
 */
export function get_next_timer_interrupt(k: TimerKernel): number {
  const { first } = k.timer_bases[0].std
  if (first.stale) {
    first.stale = false
    first.jiffy = Number.POSITIVE_INFINITY
    for (const { std } of k.timer_bases) first.jiffy = Math.min(first.jiffy, std.next_expiry)
  }
  return Math.max(first.jiffy, k.jiffies + 1)
}

/** Moves all timers of a CPU that went offline to this CPU. */
export function timers_dead_cpu(k: TimerKernel, cpu: Cpu): void {
  const t = enter(k, 'timers_dead_cpu')
  const { std, def } = k.timer_bases[cpu.id]
  for (const old_base of [std, def]) {
    for (const timer of old_base.timers()) {
      old_base.detach_timer(timer)
      const new_base = get_timer_cpu_base(timer, k.cpu)
      new_base.forward_timer_base(k.jiffies)
      internal_add_timer(new_base, timer)
    }
  }
  leave(k, t)
}

/** Boot: makes the wheels. `k.timer_bases` is what this returns. */
export function init_timers(k: Omit<TimerKernel, 'timer_bases'>): TimerKernel['timer_bases'] {
  const exact = k.options.timer === 'exact'
  const [std, def] = [new first_expiry(), new first_expiry()]
  const make = (cpu: Cpu, first: first_expiry): timer_base =>
    new timer_base(cpu, k.hz, k.jiffies, exact, first)
  return k.cpus.map(cpu => ({ std: make(cpu, std), def: make(cpu, def) }))
}

/** Boot: opens the timer softirq. */
export function open_timer_softirq(k: TimerKernel): void {
  open_softirq(k, TIMER_SOFTIRQ, () => run_timer_softirq(k))
}
