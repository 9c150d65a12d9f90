// One emulated kernel, as its machine sees it.
//
// The machine owns the clock and the thread. It drives a kernel with three calls, and needs nothing
// else for it to live:
//
//     kernel.advance()            read the clock; fire the timers that are due
//     kernel.runReady(budget)     deliver calls between CPUs; run the tasks that are ready
//     kernel.nextDeadline()       when to call again at the latest
//
// With a virtual clock the loop is: run until nothing is ready, set the clock to the deadline,
// advance. With the real clock: run, then sleep until the deadline or until another thread has
// something to say. Device interrupts come in through `handle_irq_event` (irq.ts) or `run_hardirq`
// (softirq.ts) between these calls.
//
// Jiffies move in `advance` only. With the real clock, and many tasks ready, alternate it with
// `runReady` of a modest budget.
//
// Boot order: softirqs, timers, workqueues, as in start_kernel().

import { BUG } from './bug.js'
import { type Cpu, KernelCore, type KernelOptions, type Sleep, type task_struct } from './core.js'
import type { CpuhpState, HotplugKernel } from './cpu.js'
import {
  type hrtimer_cpu_base,
  hrtimer_get_next_event,
  hrtimer_interrupt,
  hrtimers_due,
  init_hrtimers,
} from './hrtimer.js'
import type { IrqKernel } from './irq.js'
import { type call_single_data, flush_smp_call_function_queue, type SmpKernel } from './smp.js'
import { rcu_check_callbacks, rcu_init, rcu_next_event, rcu_pending } from './rcu.js'
import { run_hardirq, softirq_init } from './softirq.js'
import { pick_next_task, run_task, spawn } from './task.js'
import { type TaskletKernel, tasklet_init } from './tasklet.js'
import {
  deferrable_timers_due,
  get_next_timer_interrupt,
  init_timers,
  open_timer_softirq,
  run_local_timers,
  timers_due,
} from './timer.js'
import type { TimerKernel } from './timer-wheel.js'
import { workqueue_init } from './workqueue.js'
import { WorkqueueState, type workqueue_struct } from './workqueue-structs.js'

export type { KernelOptions, Sleep } from './core.js'

export class Kernel
  extends KernelCore
  implements HotplugKernel, SmpKernel, IrqKernel, TaskletKernel
{
  readonly softirq_vec: (() => void)[] = []
  readonly irqs: IrqKernel['irqs'] = new Map()
  readonly tasklet_vec: TaskletKernel['tasklet_vec'] = new Map()
  ipi_head: call_single_data | null = null
  ipi_tail: call_single_data | null = null
  readonly timer_bases: TimerKernel['timer_bases']
  readonly hrtimer_bases: hrtimer_cpu_base[]
  readonly cpuhp_states: CpuhpState[] = []
  readonly wq: WorkqueueState
  readonly system_wq: workqueue_struct
  readonly system_highpri_wq: workqueue_struct
  readonly system_long_wq: workqueue_struct
  readonly system_unbound_wq: workqueue_struct
  readonly system_freezable_wq: workqueue_struct
  readonly system_power_efficient_wq: workqueue_struct
  readonly system_freezable_power_efficient_wq: workqueue_struct

  constructor(options: KernelOptions) {
    super(options)
    softirq_init(this)
    tasklet_init(this)
    rcu_init(this)
    this.timer_bases = init_timers(this)
    this.hrtimer_bases = init_hrtimers(this)
    open_timer_softirq(this)
    this.wq = new WorkqueueState(this)
    const queues = workqueue_init(this)
    this.system_wq = queues.system_wq
    this.system_highpri_wq = queues.system_highpri_wq
    this.system_long_wq = queues.system_long_wq
    this.system_unbound_wq = queues.system_unbound_wq
    this.system_freezable_wq = queues.system_freezable_wq
    this.system_power_efficient_wq = queues.system_power_efficient_wq
    this.system_freezable_power_efficient_wq = queues.system_freezable_power_efficient_wq
  }

  /** Starts a task of user space (a program that does I/O). It runs in the next `runReady`. */
  spawn(name: string, fn: () => Sleep<void>, cpus: readonly number[] | null = null): task_struct {
    return spawn(this, name, fn, cpus)
  }

  /** When jiffies will have a given value, in ns. */
  jiffyNs(jiffies: number): number {
    return this.boot_ns + (jiffies - this.initial_jiffies) * this.tick_nsec
  }

  /**
   * The clock value, in ns, at which `advance` or `runReady` has something to do next, if nothing
   * else happens; infinity if never. It may lie in the past. Tasks that are ready now are not
   * counted: run them first.
   */
  nextDeadline(): number {
    let next = Math.min(this.jiffyNs(get_next_timer_interrupt(this)), hrtimer_get_next_event(this))
    if (this.rcu.length > 0) next = Math.min(next, this.jiffyNs(rcu_next_event(this)))
    if (this.ipi_head !== null) next = Math.min(next, this.ipi_head.due)
    if (this.rq_head !== null && this.rq_head.ready_at > 0) {
      next = Math.min(next, this.rq_head.ready_at)
    }
    return next
  }

  /**
   * Reads the clock, moves jiffies, and gives every CPU that has timers due its timer interrupt.
   * True if one had.
   */
  advance(): boolean {
    const now = this.now()
    const ticked = this.#tick_do_update_jiffies64(now)
    // Between two ticks high-resolution timers alone may be due.
    if (!ticked && hrtimer_get_next_event(this) > now) return false
    let fired = false
    for (const cpu of this.cpus) {
      const hr = hrtimers_due(this, cpu, now)
      const tick = ticked && this.#timers_due(cpu)
      const rcu = ticked && rcu_pending(this, cpu)
      if (!hr && !tick && !rcu) continue
      fired = true
      run_hardirq(this, cpu, () => {
        if (tick) run_local_timers(this)
        if (rcu) rcu_check_callbacks(this)
        if (hr) hrtimer_interrupt(this)
      })
    }
    return fired
  }

  /**
   * Delivers calls between CPUs and runs tasks that are ready, until none is left.
   * @param budget turns of tasks at most
   * @returns whether anything ran
   */
  runReady(budget: number = Number.POSITIVE_INFINITY): boolean {
    if (this.ctx.kind !== 'idle') BUG(`runReady was called by ${this.ctx.name}`)
    let ran = false
    for (let turn = 0; turn < budget; turn++) {
      if (flush_smp_call_function_queue(this)) ran = true
      const task = pick_next_task(this)
      if (task === null) break
      ran = true
      this.#wake_cpu(task.cpu)
      run_task(this, task)
    }
    return ran
  }

  #tick_do_update_jiffies64(now: number): boolean {
    const jiffies = this.initial_jiffies + Math.floor((now - this.boot_ns) / this.tick_nsec)
    if (jiffies <= this.jiffies) return false
    this.jiffies = jiffies
    this.options.onJiffies?.(jiffies)
    return true
  }

  /** A busy CPU's tick runs deferrable timers as well; an idle one is not woken for them. */
  #timers_due(cpu: Cpu): boolean {
    return timers_due(this, cpu) || (cpu.nr_running > 0 && deferrable_timers_due(this, cpu))
  }

  /** Deferrable timers that came due while a CPU was idle run when it has something to do. */
  #wake_cpu(cpu: Cpu): void {
    if (deferrable_timers_due(this, cpu)) run_hardirq(this, cpu, () => run_local_timers(this))
  }
}
