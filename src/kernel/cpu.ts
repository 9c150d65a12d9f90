// Taking CPUs offline and back, after kernel/cpu.c.
//
//   cpu_down   workqueues let go of the CPU; its tasks move at their next turn; its timers and
//              raised softirqs go to the CPU that calls; then the "dead" callbacks of whoever
//              registered, newest first (blk-mq takes over the CPU's queued requests)
//   cpu_up     the CPU is there again, its workers return, then the "online" callbacks
//
// Both are called on another CPU, which is the control processor in Linux as well. CPU 0 can go
// too, as long as one is left.

import { EBUSY, EINVAL } from './errno.js'
import type { HrtimerKernel } from './hrtimer.js'
import { hrtimers_dead_cpu } from './hrtimer.js'
import { timers_dead_cpu } from './timer.js'
import { enter, leave } from './trace.js'
import { workqueue_offline_cpu, workqueue_online_cpu } from './workqueue-control.js'
import type { WorkqueueKernel } from './workqueue-structs.js'

/** What a subsystem does when CPUs come and go. */
export interface CpuhpState {
  readonly name: string
  readonly online?: (cpu: number) => void
  readonly dead?: (cpu: number) => void
}

/** What CPU hotplug adds to a kernel. */
export interface HotplugKernel extends HrtimerKernel, WorkqueueKernel {
  readonly cpuhp_states: CpuhpState[]
}

/** Registers callbacks; the function it gives takes them off again. */
export function cpuhp_setup_state(k: HotplugKernel, state: CpuhpState): () => void {
  k.cpuhp_states.push(state)
  return () => {
    const at = k.cpuhp_states.indexOf(state)
    if (at >= 0) k.cpuhp_states.splice(at, 1)
  }
}

/** Takes a CPU offline. 0, -EINVAL if it is not online, -EBUSY if it is this one or the last. */
export function cpu_down(k: HotplugKernel, cpu: number): number {
  const target = k.cpus[cpu]
  if (target?.online !== true) return -EINVAL
  if (target === k.cpu) return -EBUSY
  const t = enter(k, 'cpu_down')
  target.online = false
  workqueue_offline_cpu(k, cpu)
  timers_dead_cpu(k, target)
  hrtimers_dead_cpu(k, target)
  k.cpu.softirq_pending |= target.softirq_pending
  target.softirq_pending = 0
  for (const state of [...k.cpuhp_states].reverse()) state.dead?.(cpu)
  return leave(k, t, 0)
}

/** Brings a CPU back. 0, or -EINVAL if it is there. */
export function cpu_up(k: HotplugKernel, cpu: number): number {
  const target = k.cpus[cpu]
  if (target === undefined || target.online) return -EINVAL
  const t = enter(k, 'cpu_up')
  target.online = true
  workqueue_online_cpu(k, cpu)
  for (const state of k.cpuhp_states) state.online?.(cpu)
  return leave(k, t, 0)
}
