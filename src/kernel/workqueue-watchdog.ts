// Reports pools that make no progress, after the lockup detector of kernel/workqueue.c.
//
// A pool whose worklist has had works for longer than the threshold, and which has taken none of
// them, is stuck: its works run without end, or nobody can be made to run them. Each threshold's
// time a deferrable timer looks. Off unless `wqWatchdogThresh` is given.

import { printk } from './core.js'
import { list_empty } from './list.js'
import { time_after } from './time.js'
import { mod_timer, timer_setup } from './timer.js'
import { TIMER_DEFERRABLE, timer_list } from './timer-wheel.js'
import { show_workqueue_state } from './workqueue-show.js'
import type { WorkqueueKernel, worker_pool } from './workqueue-structs.js'
import { all_pools } from './workqueue-structs.js'

function pool_name(pool: worker_pool): string {
  const cpus = pool.cpu < 0 ? pool.attrs.cpumask.join() : String(pool.cpu)
  return `pool ${pool.id} cpus=${cpus} nice=${pool.attrs.nice}`
}

function wq_watchdog_timer_fn(timer: timer_list<WorkqueueKernel>): void {
  const k = timer.container
  const thresh = (k.options.wqWatchdogThresh ?? 0) * k.hz
  let lockup = false
  for (const pool of all_pools(k)) {
    if (list_empty(pool.worklist) || !time_after(k.jiffies, pool.watchdog_ts + thresh)) continue
    lockup = true
    const seconds = Math.floor((k.jiffies - pool.watchdog_ts) / k.hz)
    printk(k, 'emerg', `BUG: workqueue lockup - ${pool_name(pool)} stuck for ${seconds}s!`)
  }
  if (lockup) printk(k, 'info', show_workqueue_state(k))
  mod_timer(timer, k.jiffies + thresh)
}

/** Boot: starts the watchdog if there is a threshold. */
export function wq_watchdog_init(k: WorkqueueKernel): void {
  const thresh = k.options.wqWatchdogThresh ?? 0
  if (thresh === 0) return
  const timer = new timer_list(k, k)
  timer_setup(timer, wq_watchdog_timer_fn, TIMER_DEFERRABLE)
  mod_timer(timer, k.jiffies + thresh * k.hz)
}
