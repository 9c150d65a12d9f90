// Freezing a queue: block/blk-mq.c and blk-core.c of Linux 4.19. Whoever comes to submit waits at the door
// (blk_queue_enter), and the freeze waits until everybody inside has left: until no request holds a tag.
//
// Linux counts those inside with q_usage_counter (percpu_ref): each CPU for itself, so that a disk's submitters share no word, and
// in one place from a freeze on, once a grace period has gone by since which nobody counts in the old way. Until then nobody
// can know that everybody has left. A queue that is no disk is counted in one place always. Here the tags are looked at
// instead, and whether anybody sleeps for one, but not before the grace period is over.
// Completions and dispatch go on all the time. Freezes nest.

import {
  BIO_DISK,
  CPU_JOB,
  FROZEN_DYING,
  FROZEN_WAIT,
  HC_FLAGS,
  HC_SCHED_TAGS,
  HC_TAGS,
  IOU_AGAIN,
  IOU_FROZEN,
  IOU_STATE,
  JOB_NEXT,
  JOB_RETRY,
  JOB_WAITER,
  Q_FROZEN,
  Q_WATCH,
  RQ_Q,
  SBQ_WAITERS,
  TAGS_BITMAP,
  TAGS_BRESERVED,
  TAGS_RESERVED,
  WATCH_FREEZE,
  WT_WOKEN,
} from '../../assembly/layout.js'
import { BLK_MQ_F_TAG_SHARED } from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { call_rcu } from '../kernel/rcu.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event, wait_event_timeout, wake_up_all } from '../kernel/wait.js'
import { run_hw_queues } from './blk-mq.js'
import { blk_mq_tag_to_rq, busy_tags } from './blk-mq-tag.js'
import type { BlockLayer, request_queue } from './blkdev.js'

/** Whether a request of this queue holds a tag of those that it shares with other queues. */
function shared_busy(q: request_queue): boolean {
  const { view } = q.blk
  return q.queue_hw_ctx.some(({ at }) => {
    if (!(view.u32(at + HC_FLAGS) & BLK_MQ_F_TAG_SHARED)) return false
    const tags = view.u32(at + HC_TAGS)
    const rqs = busy_tags(view, tags).map(tag => blk_mq_tag_to_rq(view, tags, tag))
    return rqs.some(rq => rq !== 0 && view.u32(rq + RQ_Q) === q.at)
  })
}

/** Every set of tags that is this queue's alone. */
function tag_sets(q: request_queue): number[] {
  const { view } = q.blk
  return q.queue_hw_ctx
    .flatMap(({ at }) => {
      const shared = view.u32(at + HC_FLAGS) & BLK_MQ_F_TAG_SHARED
      return [shared ? 0 : view.u32(at + HC_TAGS), view.u32(at + HC_SCHED_TAGS)]
    })
    .filter(tags => tags !== 0)
}

/** I/Os of jobs that are kept until the job looks again, because they found no tag (IOU_AGAIN) or a frozen queue (IOU_FROZEN). */
function kept(
  { view, cpus }: BlockLayer,
  state: number,
): { job: number; iou: number; cpu: number }[] {
  const found: { job: number; iou: number; cpu: number }[] = []
  for (const cpu of cpus)
    for (let job = view.u32(cpu + CPU_JOB); job; job = view.u32(job + JOB_NEXT)) {
      const iou = view.u32(job + JOB_RETRY)
      if (iou !== 0 && view.u32(iou + IOU_STATE) === state) found.push({ job, iou, cpu })
    }
  return found
}

/** Whether a task or a job is inside that has no tag. It may have been woken already, and stand in no wait queue. */
function tag_wanted(q: request_queue): boolean {
  const { view } = q.blk
  return (
    q.tag_waiters > 0 || kept(q.blk, IOU_AGAIN).some(({ iou }) => view.u32(iou + BIO_DISK) === q.at)
  )
}

/** Whether any request of the queue holds a tag, or somebody inside waits for one. */
export function blk_queue_busy(q: request_queue): boolean {
  const { core, view } = q.blk
  if (tag_wanted(q) || shared_busy(q)) return true
  return tag_sets(q).some(tags => {
    if (view.load(tags + TAGS_BITMAP + SBQ_WAITERS) > 0) return true
    const reserved = view.u32(tags + TAGS_RESERVED) > 0
    if (core.sbitmap_any_bit_set(tags + TAGS_BITMAP)) return true
    return reserved && core.sbitmap_any_bit_set(tags + TAGS_BRESERVED) !== 0
  })
}

/** Whether everybody has left, and that can be known. */
export function blk_queue_left(q: request_queue): boolean {
  return q.usage_switch === null && !blk_queue_busy(q)
}

/** The last one has left. */
function blk_queue_usage_counter_release(q: request_queue): void {
  const t = enter(q.blk.k, 'blk_queue_usage_counter_release')
  wake_up_all(q.mq_freeze_wq)
  leave(q.blk.k, t)
}

/** Somebody has left a queue at which a freeze waits. */
export function blk_queue_freed(q: request_queue): void {
  if (blk_queue_left(q)) blk_queue_usage_counter_release(q)
  else wake_up_all(q.mq_freeze_wq)
}

/** From now on those inside are counted in one place (percpu_ref_kill). */
function usage_counter_kill(q: request_queue): void {
  if (!q.init_done) {
    if (blk_queue_left(q)) blk_queue_usage_counter_release(q)
    return
  }
  const grace = {}
  q.usage_switch = grace
  call_rcu(q.blk.k, () => {
    if (q.usage_switch !== grace) return
    q.usage_switch = null
    if (blk_queue_left(q)) blk_queue_usage_counter_release(q)
  })
}

/** Shuts the door. */
export function blk_freeze_queue_start(q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_freeze_queue_start')
  if (++q.mq_freeze_depth === 1) {
    view.store(q.at + Q_FROZEN, view.load(q.at + Q_FROZEN) | FROZEN_WAIT)
    view.store(q.at + Q_WATCH, view.load(q.at + Q_WATCH) | WATCH_FREEZE)
    usage_counter_kill(q)
    run_hw_queues(q, false)
  }
  leave(k, t)
}

/** Sleeps until everybody has left. */
export function* blk_mq_freeze_queue_wait(q: request_queue): Sleep<void> {
  const t = enter(q.blk.k, 'blk_mq_freeze_queue_wait')
  yield* wait_event(q.mq_freeze_wq, () => blk_queue_left(q))
  leave(q.blk.k, t)
}

/** Sleeps at most so many jiffies. @returns those left, 0 when somebody is still inside */
export function* blk_mq_freeze_queue_wait_timeout(
  q: request_queue,
  timeout: number,
): Sleep<number> {
  return yield* wait_event_timeout(q.mq_freeze_wq, () => blk_queue_left(q), timeout)
}

export function* blk_mq_freeze_queue(q: request_queue): Sleep<void> {
  const t = enter(q.blk.k, 'blk_mq_freeze_queue')
  blk_freeze_queue_start(q)
  yield* blk_mq_freeze_queue_wait(q)
  leave(q.blk.k, t)
}

/** Opens the door again, when the last freeze is over. */
export function blk_mq_unfreeze_queue(q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_unfreeze_queue')
  if (q.mq_freeze_depth === 0) throw new Error(`${q.name}: thawed, but not frozen`)
  if (--q.mq_freeze_depth === 0) {
    q.usage_switch = null
    view.store(q.at + Q_FROZEN, view.load(q.at + Q_FROZEN) & ~FROZEN_WAIT)
    view.store(q.at + Q_WATCH, view.load(q.at + Q_WATCH) & ~WATCH_FREEZE)
    wake_up_all(q.mq_freeze_wq)
    wake_frozen_jobs(q.blk)
  }
  leave(k, t)
}

/** Jobs that came to a frozen queue look again. */
function wake_frozen_jobs(blk: BlockLayer): void {
  const { view, core } = blk
  const frozen = kept(blk, IOU_FROZEN)
  for (const { job } of frozen) view.store(view.u32(job + JOB_WAITER) + WT_WOKEN, 1)
  for (const cpu of new Set(frozen.map(one => one.cpu))) core.virtual_kick(cpu)
}

/** Whoever waits at the door is sent away with an error, and whoever comes later (blk_set_queue_dying). */
export function blk_set_queue_dying(q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_set_queue_dying')
  q.dying = true
  view.store(q.at + Q_FROZEN, view.load(q.at + Q_FROZEN) | FROZEN_DYING)
  blk_freeze_queue_start(q)
  blk_mq_wake_waiters(q)
  wake_up_all(q.mq_freeze_wq)
  wake_frozen_jobs(q.blk)
  leave(k, t)
}

/** Tasks that wait for a tag look again. */
function blk_mq_wake_waiters(q: request_queue): void {
  const { k, core, view } = q.blk
  const t = enter(k, 'blk_mq_wake_waiters')
  const all = q.queue_hw_ctx.flatMap(({ at }) => [
    view.u32(at + HC_TAGS),
    view.u32(at + HC_SCHED_TAGS),
  ])
  for (const tags of all.filter(one => one !== 0)) {
    leave(k, enter(k, 'blk_mq_tag_wakeup_all'))
    core.sbitmap_queue_wake_all(tags + TAGS_BITMAP)
  }
  leave(k, t)
}
