// Grace periods, after kernel/rcu/tree.c, as far as somebody waits for one: a reference count that is killed
// (percpu_ref_kill_and_confirm) is one counter for all CPUs only when none can still count in its own.
//
//   call_rcu → (a grace period) → tick: rcu_check_callbacks → RCU_SOFTIRQ → the function
//   synchronize_rcu   sleeps until then; where one CPU alone is online nobody else can be inside, and it returns at once
//
// A grace period is over when every CPU has been idle, in user space, or has switched tasks. Here nothing runs beside the
// caller, so that nobody would have to wait: it is over at the second tick from now, the soonest that Linux manages.

import { complete, completion, wait_for_completion } from './completion.js'
import type { Cpu, KernelCore, Sleep } from './core.js'
import { open_softirq, RCU_SOFTIRQ, raise_softirq_irqoff, type SoftirqKernel } from './softirq.js'
import type { TimerKernel } from './timer-wheel.js'

/** Jiffies of a grace period. */
const GRACE = 2

/** Has `fn` called in a softirq of this CPU when a grace period is over. */
export function call_rcu(k: KernelCore, fn: () => void): void {
  k.rcu.push({ cpu: k.cpu, due: k.jiffies + GRACE, fn })
}

/** Sleeps for a grace period. */
export function* synchronize_rcu(k: TimerKernel): Sleep<void> {
  if (k.cpus.filter(cpu => cpu.online).length <= 1) return
  const over = new completion(k, 'a grace period')
  call_rcu(k, () => complete(over))
  yield* wait_for_completion(over)
}

/** Whether a grace period that somebody of this CPU waits for is over. */
export function rcu_pending(k: KernelCore, cpu: Cpu): boolean {
  return k.rcu.some(head => head.cpu === cpu && head.due <= k.jiffies)
}

/** The jiffy of the next tick that RCU needs; infinity for none. */
export function rcu_next_event(k: KernelCore): number {
  return k.rcu[0]?.due ?? Number.POSITIVE_INFINITY
}

/** The tick. */
export function rcu_check_callbacks(k: SoftirqKernel): void {
  raise_softirq_irqoff(k, RCU_SOFTIRQ)
}

function rcu_process_callbacks(k: SoftirqKernel): void {
  const { cpu, jiffies } = k
  const due = k.rcu.filter(head => head.cpu === cpu && head.due <= jiffies)
  for (const head of due) {
    k.rcu.splice(k.rcu.indexOf(head), 1)
    head.fn()
  }
}

/** Boot. */
export function rcu_init(k: SoftirqKernel): void {
  open_softirq(k, RCU_SOFTIRQ, () => rcu_process_callbacks(k))
}
