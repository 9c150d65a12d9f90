// Timeouts of single queues: block/blk-timeout.c of Linux 4.19.
//
// Started requests stand on a list of their queue. One timer for the queue, as with several queues; its work takes what
// has expired off the list, marks it as complete, and asks the driver:
//
//   BLK_EH_DONE          nothing more: the driver ends it
//   BLK_EH_RESET_TIMER   a new deadline
//
// The timer that follows is rounded to a second, which that of several queues is not.

import {
  M_BASE,
  M_HZ,
  MQ_RQ_COMPLETE,
  MQ_RQ_IN_FLIGHT,
  Q_TIMEOUT,
  RQ_STATE,
  RQ_TIMEOUT,
} from '../../assembly/layout.js'
import { round_jiffies_up } from '../kernel/round-jiffies.js'
import { time_after_eq } from '../kernel/time.js'
import { mod_timer, timer_pending } from '../kernel/timer.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave } from '../kernel/trace.js'
import { queue_work } from '../kernel/workqueue.js'
import type { work_struct } from '../kernel/workqueue-structs.js'
import { BLK_EH_RESET_TIMER } from './blkdev.js'
import type { sq_queue } from './sq.js'

const BLK_MAX_TIMEOUT_S = 5

/** Jiffy at which each started request expires. */
const deadlines = new WeakMap<sq_queue, Map<number, number>>()

function deadlinesOf(q: sq_queue): Map<number, number> {
  let map = deadlines.get(q)
  if (map === undefined) {
    map = new Map()
    deadlines.set(q, map)
  }
  return map
}

/** True for the one caller that may complete the request. */
export function blk_mark_rq_complete(q: sq_queue, rq: number): boolean {
  const { view } = q.blk
  if (view.u32(rq + RQ_STATE) !== MQ_RQ_IN_FLIGHT) return false
  view.setU32(rq + RQ_STATE, MQ_RQ_COMPLETE)
  return true
}

/** The request has begun: it has a deadline. */
export function blk_add_timer(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_add_timer')
  const timeout = view.u32(rq + RQ_TIMEOUT) || view.u32(q.at + Q_TIMEOUT)
  const deadline = k.jiffies + timeout
  deadlinesOf(q).set(rq, deadline)
  if (!q.timeout_list.includes(rq)) q.timeout_list.push(rq)
  const cap = round_jiffies_up(k, k.jiffies + BLK_MAX_TIMEOUT_S * view.u32(M_BASE + M_HZ))
  const expiry = Math.min(round_jiffies_up(k, deadline), cap)
  if (!timer_pending(q.timeout)) mod_timer(q.timeout, expiry)
  else if (q.timeout.expires - expiry >= k.hz / 2) mod_timer(q.timeout, expiry)
  leave(k, t)
}

export function blk_delete_timer(q: sq_queue, rq: number): void {
  const at = q.timeout_list.indexOf(rq)
  if (at >= 0) q.timeout_list.splice(at, 1)
  deadlinesOf(q).delete(rq)
}

export function blk_rq_timed_out_timer(timer: timer_list<sq_queue>): void {
  const q = timer.container
  const { k, kblockd } = q.blk
  const t = enter(k, 'blk_rq_timed_out_timer')
  queue_work(kblockd, q.timeout_work)
  leave(k, t)
}

function blk_rq_timed_out(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_rq_timed_out')
  if (q.driver.rq_timed_out_fn(q, rq) === BLK_EH_RESET_TIMER) {
    blk_add_timer(q, rq)
    view.setU32(rq + RQ_STATE, MQ_RQ_IN_FLIGHT)
  }
  leave(k, t)
}

/** Looks at every started request. */
export function blk_timeout_work(work: work_struct<sq_queue>): void {
  const q = work.container
  const { k } = q.blk
  const t = enter(k, 'blk_timeout_work')
  let next = Number.POSITIVE_INFINITY
  for (const rq of [...q.timeout_list]) {
    const deadline = deadlinesOf(q).get(rq)!
    if (!time_after_eq(k.jiffies, deadline)) next = Math.min(next, deadline)
    else {
      blk_delete_timer(q, rq)
      if (blk_mark_rq_complete(q, rq)) blk_rq_timed_out(q, rq)
    }
  }
  if (next !== Number.POSITIVE_INFINITY) mod_timer(q.timeout, round_jiffies_up(k, next))
  leave(k, t)
}
