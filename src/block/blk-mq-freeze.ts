// Freezing a queue: block/blk-mq.c and blk-core.c of Linux 4.19. Whoever comes to submit waits at the door
// (blk_queue_enter), and the freeze waits until everybody inside has left: until no request holds a tag.
//
// Linux counts those inside with q_usage_counter. Here the tags are looked at, and whether anybody sleeps for one.
// Completions and dispatch go on all the time. Freezes nest.

import {
  HC_SCHED_TAGS,
  HC_TAGS,
  Q_FROZEN,
  Q_WATCH,
  SBQ_WAITERS,
  TAGS_BITMAP,
  TAGS_BRESERVED,
  TAGS_RESERVED,
  WATCH_FREEZE,
} from '../../assembly/layout.js'
import type { Sleep } from '../kernel/core.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event, wake_up_all } from '../kernel/wait.js'
import { blk_mq_run_hw_queues } from './blk-mq.js'
import type { request_queue } from './blkdev.js'

/** Every set of tags of a queue. */
function tag_sets(q: request_queue): number[] {
  const { view } = q.blk
  return q.queue_hw_ctx
    .flatMap(({ at }) => [view.u32(at + HC_TAGS), view.u32(at + HC_SCHED_TAGS)])
    .filter(tags => tags !== 0)
}

/** Whether any request of the queue holds a tag, or a task waits for one. */
export function blk_queue_busy(q: request_queue): boolean {
  const { core, view } = q.blk
  return tag_sets(q).some(tags => {
    if (view.load(tags + TAGS_BITMAP + SBQ_WAITERS) > 0) return true
    const reserved = view.u32(tags + TAGS_RESERVED) > 0
    if (core.sbitmap_any_bit_set(tags + TAGS_BITMAP)) return true
    return reserved && core.sbitmap_any_bit_set(tags + TAGS_BRESERVED) !== 0
  })
}

/** Shuts the door. */
export function blk_freeze_queue_start(q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_freeze_queue_start')
  if (++q.mq_freeze_depth === 1) {
    view.store(q.at + Q_FROZEN, 1)
    view.store(q.at + Q_WATCH, view.load(q.at + Q_WATCH) | WATCH_FREEZE)
    blk_mq_run_hw_queues(q, false)
  }
  leave(k, t)
}

/** Sleeps until everybody has left. */
export function* blk_mq_freeze_queue_wait(q: request_queue): Sleep<void> {
  const t = enter(q.blk.k, 'blk_mq_freeze_queue_wait')
  yield* wait_event(q.mq_freeze_wq, () => !blk_queue_busy(q))
  leave(q.blk.k, t)
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
    view.store(q.at + Q_FROZEN, 0)
    view.store(q.at + Q_WATCH, view.load(q.at + Q_WATCH) & ~WATCH_FREEZE)
    wake_up_all(q.mq_freeze_wq)
  }
  leave(k, t)
}
