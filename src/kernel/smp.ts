// Function calls on other CPUs, after kernel/smp.c.
//
// A call is sent as an inter-processor interrupt: it is queued here, in the order of sending over
// all CPUs, and the run loop delivers it, `ipiNs` later, as a hardirq of the target CPU. A call to
// the own CPU runs at once, with interrupts off but in the caller's context, as in Linux.

import type { Sleep } from './core.js'
import { TASK_UNINTERRUPTIBLE, type task_struct } from './core.js'
import { ENXIO } from './errno.js'
import type { SoftirqKernel } from './softirq.js'
import { run_hardirq } from './softirq.js'
import { schedule, set_current_state, wake_up_process } from './task.js'
import { enter, leave } from './trace.js'

/**
 * One function call to be made on a CPU (struct __call_single_data). May be used again once it was
 * delivered.
 */
export class call_single_data {
  readonly func: () => void
  cpu = -1
  due = 0
  pending = false
  next: call_single_data | null = null
  waiter: task_struct | null = null

  constructor(func: () => void) {
    this.func = func
  }
}

/** What calls between CPUs add to a kernel. */
export interface SmpKernel extends SoftirqKernel {
  /** Calls on their way, oldest first. */
  ipi_head: call_single_data | null
  ipi_tail: call_single_data | null
}

function send_IPI(k: SmpKernel, csd: call_single_data, cpu: number): void {
  csd.cpu = cpu
  csd.due = k.now() + (k.options.ipiNs ?? 0)
  csd.pending = true
  csd.next = null
  if (k.ipi_tail === null) k.ipi_head = csd
  else k.ipi_tail.next = csd
  k.ipi_tail = csd
}

/**
 * Has a function called on a CPU and does not wait. Where Linux would spin because the last call of
 * this data has not arrived yet, nothing is sent: that call will see all that was done before this
 * one.
 * @returns 0, or -ENXIO if the CPU is offline
 */
export function smp_call_function_single_async(
  k: SmpKernel,
  cpu: number,
  csd: call_single_data,
): number {
  const t = enter(k, 'smp_call_function_single_async')
  if (k.cpus[cpu]?.online !== true) return leave(k, t, -ENXIO)
  if (cpu === k.cpu.id) csd.func()
  else if (!csd.pending) send_IPI(k, csd, cpu)
  return leave(k, t, 0)
}

/**
 * Has a function called on a CPU; with `wait` sleeps until it was (Linux spins).
 * @returns 0, or -ENXIO if the CPU is offline
 */
export function* smp_call_function_single(
  k: SmpKernel,
  cpu: number,
  func: () => void,
  wait: boolean,
): Sleep<number> {
  const t = enter(k, 'smp_call_function_single')
  const csd = new call_single_data(func)
  const err = smp_call_function_single_async(k, cpu, csd)
  if (wait) csd.waiter = k.cpu.current
  while (wait && csd.pending) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    yield* schedule(k, `call on CPU ${cpu}`)
  }
  return leave(k, t, err)
}

/** Delivers the calls that are due; whether there were any. */
export function flush_smp_call_function_queue(k: SmpKernel): boolean {
  let delivered = false
  while (k.ipi_head !== null && k.ipi_head.due <= k.now()) {
    const csd = k.ipi_head
    k.ipi_head = csd.next
    if (k.ipi_head === null) k.ipi_tail = null
    csd.pending = false
    run_hardirq(k, k.cpus[csd.cpu], csd.func)
    if (csd.waiter !== null) wake_up_process(csd.waiter)
    delivered = true
  }
  return delivered
}
