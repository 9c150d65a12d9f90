// Requests that take too long: block/blk-timeout.c and the scan of block/blk-mq.c, Linux 4.19.
//
// A request gets a deadline when it is started (blk_add_timer, in the core). One rolling timer per queue fires no later
// than the earliest deadline, rounded up to a second, and at most five seconds from now. When it fires, a work looks at
// every request that holds a tag of the driver:
//
//   expired      held (RQ_REF), looked at again, given to the driver's timeout function, let go
//                BLK_EH_DONE         it ended, or the driver will end it; it does not expire again
//                BLK_EH_RESET_TIMER  it gets a new deadline
//   not expired  the earliest deadline is when the timer fires next, to the jiffy
//   none left    the timer is off until the next start; of shared tags the queue has no share any more
//
// The core asks for the timer (HB_ADD_TIMER) only if it does not run or may have to fire earlier: Q_TIMER_NEXT is the
// first time for which it need not move. A timer is left alone if moving would gain less than half a second.

import {
  MQ_RQ_IN_FLIGHT,
  Q_TIMER_ARMED,
  Q_TIMER_NEXT,
  RQ_DEADLINE,
  RQ_FLAGS,
  RQ_Q,
  RQ_REF,
  RQ_STATE,
  HC_TAGS,
} from '../../assembly/layout.js'
import { RQF_TIMED_OUT } from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { round_jiffies_up } from '../kernel/round-jiffies.js'
import { mod_timer, timer_pending } from '../kernel/timer.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave } from '../kernel/trace.js'
import type { work_struct } from '../kernel/workqueue-structs.js'
import { blk_mq_tag_idle, blk_mq_tag_to_rq, busy_tags } from './blk-mq-tag.js'
import { kblockd_schedule_work, this_cpu } from './blk-mq.js'
import { blk_queue_left } from './blk-mq-freeze.js'
import { BLK_EH_DONE, BLK_EH_RESET_TIMER, type request_queue } from './blkdev.js'

const BLK_MAX_TIMEOUT_S = 5

/** The low words of jiffies stand in the memory: a number near `now` for one of them. */
function widen(now: number, word: number): number {
  return now + ((word - now) | 0)
}

/** Arms the timer, and says in the memory which starts need not ask for it. */
function arm(q: request_queue, expires: number): void {
  const { k, view } = q.blk
  mod_timer(q.timeout, expires)
  const half = expires - Math.floor(k.hz / 2)
  const boundary = half - (((half % k.hz) + k.hz) % k.hz)
  view.store(q.at + Q_TIMER_NEXT, boundary >>> 0)
  view.store(q.at + Q_TIMER_ARMED, 1)
}

/** blk_add_timer's second half: the timer must run, or fire earlier, for this deadline (low word of jiffies). */
export function blk_rq_timer(q: request_queue, deadline: number): void {
  const { k } = q.blk
  const cap = round_jiffies_up(k, k.jiffies + BLK_MAX_TIMEOUT_S * k.hz)
  const expiry = Math.min(round_jiffies_up(k, widen(k.jiffies, deadline)), cap)
  const pending = timer_pending(q.timeout)
  if (!pending || q.timeout.expires - expiry >= Math.floor(k.hz / 2)) arm(q, expiry)
}

export function blk_rq_timed_out_timer(timer: timer_list<request_queue>): void {
  const q = timer.container
  const { k } = q.blk
  const t = enter(k, 'blk_rq_timed_out_timer')
  q.blk.view.store(q.at + Q_TIMER_ARMED, 0)
  kblockd_schedule_work(q.blk, q.timeout_work)
  leave(k, t)
}

/** The requests of a queue that hold a tag of the driver, by hardware queue and tag. */
export function blk_mq_queue_tag_busy_iter(q: request_queue, each: (rq: number) => void): void {
  const { k } = q.blk
  const t = enter(k, 'blk_mq_queue_tag_busy_iter')
  for (const rq of busy_requests(q)) each(rq)
  leave(k, enter(k, 'blk_queue_exit'))
  leave(k, t)
}

function busy_requests(q: request_queue): number[] {
  const { view } = q.blk
  return q.queue_hw_ctx.flatMap(({ at }) => {
    const tags = view.u32(at + HC_TAGS)
    const rqs = busy_tags(view, tags).map(tag => blk_mq_tag_to_rq(view, tags, tag))
    return rqs.filter(rq => rq !== 0 && view.u32(rq + RQ_Q) === q.at)
  })
}

/** Whether a request is overdue; if it is only started, `next` learns of its deadline. */
function blk_mq_req_expired(q: request_queue, rq: number, next: { at: number | null }): boolean {
  const { view, k } = q.blk
  if (view.load(rq + RQ_STATE) !== MQ_RQ_IN_FLIGHT) return false
  if (view.u32(rq + RQ_FLAGS) & RQF_TIMED_OUT) return false
  const deadline = widen(k.jiffies, view.u32(rq + RQ_DEADLINE))
  if (k.jiffies >= deadline) return true
  next.at = next.at === null ? deadline : Math.min(next.at, deadline)
  return false
}

function* blk_mq_rq_timed_out(q: request_queue, rq: number): Sleep<void> {
  const { view, core } = q.blk
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_TIMED_OUT)
  const answer = q.ops.timeout?.(q, rq) ?? BLK_EH_RESET_TIMER
  if ((typeof answer === 'number' ? answer : yield* answer) === BLK_EH_DONE) return
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_TIMED_OUT)
  core.blk_add_timer(this_cpu(q.blk), q.at, rq)
}

/** Looks at one request, holding it, so that its tag is not used anew meanwhile. */
function* blk_mq_check_expired(
  q: request_queue,
  rq: number,
  next: { at: number | null },
): Sleep<void> {
  const { k, view, core } = q.blk
  if (view.load(rq + RQ_STATE) !== MQ_RQ_IN_FLIGHT) return
  const t = enter(k, 'blk_mq_check_expired')
  if (blk_mq_req_expired(q, rq, next)) {
    view.store(rq + RQ_REF, 1)
    yield* blk_mq_rq_timed_out(q, rq)
    core.blk_mq_put_reference(this_cpu(q.blk), rq)
  }
  leave(k, t)
}

export function* blk_mq_timeout_work(work: work_struct<request_queue>): Sleep<void> {
  const q = work.container
  const { k } = q.blk
  const t = enter(k, 'blk_mq_timeout_work')
  // the counter of a frozen queue that all have left is not taken
  if (q.mq_freeze_depth > 0 && blk_queue_left(q)) return leave(k, t)
  const next: { at: number | null } = { at: null }
  const i = enter(k, 'blk_mq_queue_tag_busy_iter')
  for (const rq of busy_requests(q)) yield* blk_mq_check_expired(q, rq, next)
  leave(k, enter(k, 'blk_queue_exit'))
  leave(k, i)
  if (next.at !== null) arm(q, next.at)
  else for (const hctx of q.queue_hw_ctx) blk_mq_tag_idle(hctx)
  leave(k, enter(k, 'blk_queue_exit'))
  leave(k, t)
}

/** Has a request expire at once: the driver has given it up. */
export function blk_abort_request(q: request_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_abort_request')
  view.setU32(rq + RQ_DEADLINE, (k.jiffies & ~1) >>> 0)
  kblockd_schedule_work(q.blk, q.timeout_work)
  leave(k, t)
}
