// Interrupt levels, after kernel/softirq.c.
//
//   hardirq    entered by irq_enter, left by irq_exit; interrupts tasks and softirqs
//   softirq    raised by anyone; runs when the outermost hardirq of the CPU ends, when softirqs are
//              allowed again (local_bh_enable), or, if raised by a task, in ksoftirqd of that CPU
//
// One pass runs the raised vectors in the order of their numbers. What they raise meanwhile is run
// in another pass, ten at most, and none when a thread was woken here; the rest is left to ksoftirqd.
//
// The bracket `irq_enter` .. `irq_exit` is one function here, `run_hardirq`, so that it cannot be
// left open. An interrupt may be delivered to any CPU at any time between two turns, or by plain
// code: the interrupted context goes on afterwards. Tasklets are in tasklet.ts.

import type { Cpu, KernelCore, Sleep } from './core.js'
import { in_interrupt, run_in_context, TASK_INTERRUPTIBLE } from './core.js'
import {
  cond_resched,
  go_behind,
  kthread_bind,
  kthread_create,
  schedule,
  set_current_state,
  wake_up_process,
} from './task.js'
import { enter, leave, trace_event } from './trace.js'

export const HI_SOFTIRQ = 0
export const TIMER_SOFTIRQ = 1
export const NET_TX_SOFTIRQ = 2
export const NET_RX_SOFTIRQ = 3
export const BLOCK_SOFTIRQ = 4
export const IRQ_POLL_SOFTIRQ = 5
export const TASKLET_SOFTIRQ = 6
export const SCHED_SOFTIRQ = 7
export const HRTIMER_SOFTIRQ = 8
export const RCU_SOFTIRQ = 9

/** The vectors' names in the events, by number. */
export const softirq_to_name: readonly string[] = [
  'HI',
  'TIMER',
  'NET_TX',
  'NET_RX',
  'BLOCK',
  'IRQ_POLL',
  'TASKLET',
  'SCHED',
  'HRTIMER',
  'RCU',
]

const MAX_SOFTIRQ_RESTART = 10

/** What softirqs add to a kernel. */
export interface SoftirqKernel extends KernelCore {
  /** The action of each vector. It runs on the CPU that raised it. */
  readonly softirq_vec: (() => void)[]
}

/** Says what a vector does. */
export function open_softirq(k: SoftirqKernel, nr: number, action: () => void): void {
  k.softirq_vec[nr] = action
}

/** Marks a vector of this CPU as raised; whoever calls this sees to it that it runs. */
export function __raise_softirq_irqoff(k: SoftirqKernel, nr: number): void {
  const t = enter(k, '__raise_softirq_irqoff')
  if (k.trace.on) trace_event(k, 'softirq_raise', { action: softirq_to_name[nr] })
  k.cpu.softirq_pending |= 1 << nr
  k.softirqs = true
  leave(k, t)
}

/**
 * Raises a vector on this CPU. Outside interrupts nobody would look at it soon: ksoftirqd is woken.
 */
export function raise_softirq_irqoff(k: SoftirqKernel, nr: number): void {
  const t = enter(k, 'raise_softirq_irqoff')
  __raise_softirq_irqoff(k, nr)
  if (!in_interrupt(k)) wakeup_softirqd(k.cpu)
  leave(k, t)
}

export function raise_softirq(k: SoftirqKernel, nr: number): void {
  const t = enter(k, 'raise_softirq')
  raise_softirq_irqoff(k, nr)
  leave(k, t)
}

function wakeup_softirqd(cpu: Cpu): void {
  if (cpu.ksoftirqd !== null) wake_up_process(cpu.ksoftirqd)
}

function run_pending(k: SoftirqKernel, pending: number): void {
  for (let nr = 0; pending !== 0; nr++, pending >>>= 1) {
    if ((pending & 1) === 0) continue
    if (k.trace.on) trace_event(k, 'softirq_entry', { action: softirq_to_name[nr] })
    k.softirq_vec[nr]()
  }
}

/** Runs the raised vectors of this CPU in its softirq context. */
export function __do_softirq(k: SoftirqKernel): void {
  const cpu = k.cpu
  cpu.in_softirq = true
  run_in_context(k, cpu, cpu.softirq, () => {
    const t = enter(k, '__do_softirq')
    for (let pass = 0; cpu.softirq_pending !== 0; pass++) {
      if (pass === MAX_SOFTIRQ_RESTART || (pass > 0 && cpu.need_resched)) break
      const pending = cpu.softirq_pending
      cpu.softirq_pending = 0
      run_pending(k, pending)
    }
    leave(k, t)
  })
  cpu.in_softirq = false
  if (cpu.softirq_pending === 0) return
  // Who was woken meanwhile has slept longer than ksoftirqd.
  if (cpu.need_resched && cpu.ksoftirqd !== null) go_behind(cpu.ksoftirqd)
  wakeup_softirqd(cpu)
}

/**
 * Runs what is raised on this CPU, unless an interrupt level is active that will do it when it
 * ends.
 */
export function do_softirq(k: SoftirqKernel): void {
  if (!in_interrupt(k) && k.cpu.softirq_pending !== 0) __do_softirq(k)
}

/** Holds softirqs off on this CPU. Do not sleep before local_bh_enable. */
export function local_bh_disable(k: SoftirqKernel): void {
  k.cpu.bh_disabled++
}

/** Allows softirqs again and runs what was raised meanwhile. */
export function local_bh_enable(k: SoftirqKernel): void {
  k.cpu.bh_disabled--
  do_softirq(k)
}

/**
 * Runs `fn` as a hardirq of a CPU (irq_enter, handler, irq_exit). The softirqs it raised run before
 * this returns, unless the CPU was interrupted inside another interrupt level.
 */
export function run_hardirq(k: SoftirqKernel, cpu: Cpu, fn: () => void): void {
  cpu.in_hardirq++
  run_in_context(k, cpu, cpu.hardirq, fn)
  cpu.in_hardirq--
  if (!ksoftirqd_running(cpu)) run_in_context(k, cpu, cpu.current, () => do_softirq(k))
}

/** Ends of I/O can wait a little; tasklets cannot, and a tick that is not served would be due again at once. */
const CAN_WAIT = (1 << BLOCK_SOFTIRQ) | (1 << IRQ_POLL_SOFTIRQ)

/** Whether what is raised is left to ksoftirqd, which has been woken. */
export function ksoftirqd_running(cpu: Cpu): boolean {
  return (cpu.softirq_pending & ~CAN_WAIT) === 0 && cpu.ksoftirqd?.on_rq === true
}

function* run_ksoftirqd(k: SoftirqKernel): Sleep<void> {
  while (true) {
    do_softirq(k)
    if (k.cpu.softirq_pending !== 0) {
      yield* cond_resched(k)
      continue
    }
    set_current_state(k, TASK_INTERRUPTIBLE)
    yield* schedule(k, 'softirqs')
  }
}

/** Boot: starts ksoftirqd of every CPU. */
export function softirq_init(k: SoftirqKernel): void {
  for (const cpu of k.cpus) {
    const task = kthread_create(k, () => run_ksoftirqd(k), `ksoftirqd/${cpu.id}`)
    kthread_bind(task, cpu.id)
    task.cpu = cpu
    task.waiting_on = 'softirqs'
    cpu.ksoftirqd = task
  }
}
