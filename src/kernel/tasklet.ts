// Tasklets, after kernel/softirq.c: functions that a softirq calls once for any number of calls of tasklet_schedule before
// it, on the CPU of the first of these.

import type { Cpu } from './core.js'
import {
  open_softirq,
  raise_softirq_irqoff,
  type SoftirqKernel,
  TASKLET_SOFTIRQ,
} from './softirq.js'

export class tasklet_struct {
  readonly k: TaskletKernel
  readonly func: () => void
  /** TASKLET_STATE_SCHED. */
  scheduled = false

  constructor(k: TaskletKernel, func: () => void) {
    this.k = k
    this.func = func
  }
}

/** What tasklets add to a kernel. */
export interface TaskletKernel extends SoftirqKernel {
  /** What is scheduled on each CPU. */
  readonly tasklet_vec: Map<Cpu, tasklet_struct[]>
}

export function tasklet_schedule(t: tasklet_struct): void {
  if (t.scheduled) return
  t.scheduled = true
  const { k } = t
  const list = k.tasklet_vec.get(k.cpu)
  if (list) list.push(t)
  else k.tasklet_vec.set(k.cpu, [t])
  raise_softirq_irqoff(k, TASKLET_SOFTIRQ)
}

/** What is scheduled meanwhile is left to the next round. */
function tasklet_action(k: TaskletKernel): void {
  for (const t of k.tasklet_vec.get(k.cpu)?.splice(0) ?? []) {
    t.scheduled = false
    t.func()
  }
}

/** Boot. */
export function tasklet_init(k: TaskletKernel): void {
  open_softirq(k, TASKLET_SOFTIRQ, () => tasklet_action(k))
}
