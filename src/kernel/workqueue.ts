// Workqueues: boot, and everything that their users need. After kernel/workqueue.c and
// include/linux/workqueue.h; the parts are listed in workqueue-structs.ts.
//
//     function my_reset_work(work: work_struct<my_dev>): Sleep<void> { ... work.container ... }
//     const work = new work_struct(k, dev)
//     INIT_WORK(work, my_reset_work)
//     queue_work(wq, work)
//     yield* flush_work(work)
//
// The system's own queues, in the order of boot:
//
//   system_wq                            events: short works of everyone (schedule_work)
//   system_highpri_wq                    events_highpri
//   system_long_wq                       events_long: works that may take long
//   system_unbound_wq                    events_unbound: any CPU, no limit that matters
//   system_freezable_wq                  events_freezable
//   system_power_efficient_wq            events_power_efficient: unbound if the boot option says so
//   system_freezable_power_efficient_wq  events_freezable_power_efficient, cut to 23 characters

import { BUG } from './bug.js'
import { alloc_workqueue, create_cpu_pools, WQ_UNBOUND_MAX_ACTIVE } from './workqueue-alloc.js'
import type { WorkqueueKernel, worker_pool, workqueue_struct } from './workqueue-structs.js'
import {
  POOL_DISASSOCIATED,
  WQ_FREEZABLE,
  WQ_HIGHPRI,
  WQ_POWER_EFFICIENT,
  WQ_UNBOUND,
} from './workqueue-structs.js'
import { wq_watchdog_init } from './workqueue-watchdog.js'
import { create_worker } from './workqueue-worker.js'

export {
  alloc_ordered_workqueue,
  alloc_workqueue,
  create_freezable_workqueue,
  create_singlethread_workqueue,
  create_workqueue,
  destroy_workqueue,
} from './workqueue-alloc.js'
export {
  cancel_delayed_work,
  cancel_delayed_work_sync,
  cancel_work,
  cancel_work_sync,
  flush_delayed_work,
  mod_delayed_work,
  mod_delayed_work_on,
} from './workqueue-cancel.js'
export {
  current_is_workqueue_rescuer,
  current_work,
  freeze_workqueues_begin,
  freeze_workqueues_busy,
  thaw_workqueues,
  work_busy,
  workqueue_congested,
  workqueue_set_max_active,
} from './workqueue-control.js'
export {
  drain_workqueue,
  flush_scheduled_work,
  flush_work,
  flush_workqueue,
} from './workqueue-flush.js'
export {
  INIT_DEFERRABLE_WORK,
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_delayed_work,
  queue_delayed_work_on,
  queue_work,
  queue_work_on,
  schedule_delayed_work,
  schedule_delayed_work_on,
  schedule_work,
  schedule_work_on,
} from './workqueue-queue.js'
export { show_all_workqueues, show_workqueue_state, workqueue_state } from './workqueue-show.js'
export {
  __WQ_LEGACY,
  delayed_work,
  delayed_work_pending,
  WORK_BUSY_PENDING,
  WORK_BUSY_RUNNING,
  WORK_CPU_UNBOUND,
  WQ_CPU_INTENSIVE,
  WQ_FREEZABLE,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_POWER_EFFICIENT,
  WQ_SYSFS,
  WQ_UNBOUND,
  type WorkqueueKernel,
  work_pending,
  work_struct,
  workqueue_struct,
} from './workqueue-structs.js'

/** The queues of `WorkqueueKernel`. */
export type SystemWorkqueues = Pick<
  WorkqueueKernel,
  | 'system_wq'
  | 'system_highpri_wq'
  | 'system_long_wq'
  | 'system_unbound_wq'
  | 'system_freezable_wq'
  | 'system_power_efficient_wq'
  | 'system_freezable_power_efficient_wq'
>

/**
 * Workers that a pool has when boot is over. Linux makes one, and the first work that runs on it
 * has a second made; every pool of a booted machine has run works, so ours start with two.
 */
const BOOT_WORKERS = 2

function create_boot_workers(pool: worker_pool): void {
  while (pool.nr_workers < BOOT_WORKERS && create_worker(pool)) {}
}

/** Boot: the CPUs' pools and their workers, then the system's queues. */
export function workqueue_init(k: WorkqueueKernel): SystemWorkqueues {
  for (const cpu of k.cpus) create_cpu_pools(k, cpu)
  for (const pool of k.wq.cpu_worker_pools.flat()) {
    pool.flags &= ~POOL_DISASSOCIATED
    create_boot_workers(pool)
  }
  const make = (name: string, flags: number, max_active = 0): workqueue_struct =>
    alloc_workqueue(k, name, flags, max_active) ?? BUG(`workqueue ${name} cannot be made at boot`)
  const queues = {
    system_wq: make('events', 0),
    system_highpri_wq: make('events_highpri', WQ_HIGHPRI),
    system_long_wq: make('events_long', 0),
    system_unbound_wq: make('events_unbound', WQ_UNBOUND, WQ_UNBOUND_MAX_ACTIVE(k)),
    system_freezable_wq: make('events_freezable', WQ_FREEZABLE),
    system_power_efficient_wq: make('events_power_efficient', WQ_POWER_EFFICIENT),
    system_freezable_power_efficient_wq: make(
      'events_freezable_power_efficient',
      WQ_FREEZABLE | WQ_POWER_EFFICIENT,
    ),
  }
  for (const pool of k.wq.unbound_pool_hash.values()) create_boot_workers(pool)
  wq_watchdog_init(k)
  return queues
}
