// Changing how many requests a queue has while it works: blk_mq_update_nr_requests (block/blk-mq.c of Linux 4.19) and
// blk_mq_tag_update_depth (blk-mq-tag.c). The queue is frozen and quiesced meanwhile: nobody holds a tag.
//
//   no scheduler    the driver's tags: fewer of those that there are, and as many again
//   a scheduler     its own tags: also more than it had, up to 2048, which are then made anew
//
// A scheduler that is attached later has its usual number again.

import {
  HC_SCHED_TAGS,
  HC_TAGS,
  Q_NR_REQUESTS,
  TAGS_BITMAP,
  TAGS_NR,
  TAGS_RESERVED,
} from '../../assembly/layout.js'
import type { Sleep } from '../kernel/core.js'
import { EINVAL, ENOMEM } from '../kernel/errno.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from './blk-mq.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from './blk-mq-freeze.js'
import type { blk_mq_hw_ctx, request_queue } from './blkdev.js'
import type { SchedTags } from './elevator-switch.js'

const BLKDEV_MIN_RQ = 4
const BLKDEV_MAX_RQ = 128

/** @returns 0, -EINVAL for a number that these tags cannot have, -ENOMEM */
function blk_mq_tag_update_depth(hctx: blk_mq_hw_ctx, depth: number, more: SchedTags): number {
  const { k, view, core } = hctx.q.blk
  const t = enter(k, 'blk_mq_tag_update_depth')
  const sched_tags = view.u32(hctx.at + HC_SCHED_TAGS)
  const tags = sched_tags || view.u32(hctx.at + HC_TAGS)
  const reserved = view.u32(tags + TAGS_RESERVED)
  if (depth <= reserved) return leave(k, t, -EINVAL)
  if (depth <= view.u32(tags + TAGS_NR)) {
    core.sbitmap_queue_resize(tags + TAGS_BITMAP, depth - reserved)
    return leave(k, t, 0)
  }
  if (sched_tags === 0 || depth > 16 * BLKDEV_MAX_RQ) return leave(k, t, -EINVAL)
  const made = more(hctx, depth)
  if (made === 0) return leave(k, t, -ENOMEM)
  view.setU32(hctx.at + HC_SCHED_TAGS, made)
  return leave(k, t, 0)
}

/**
 * Other queues whose tags are those that change: Linux lets them go on, and then does not find their requests whose tags are
 * beyond the new number when these time out.
 */
function sharers(q: request_queue): request_queue[] {
  const { view, queues } = q.blk
  if (q.elevator !== null) return []
  const tags = new Set(q.queue_hw_ctx.map(({ at }) => view.u32(at + HC_TAGS)))
  return [...queues.values()].filter(
    other => other !== q && other.queue_hw_ctx.some(({ at }) => tags.has(view.u32(at + HC_TAGS))),
  )
}

/** @returns 0 or -errno; after an error some hardware queues may have the new number */
function* blk_mq_update_nr_requests(q: request_queue, nr: number, more: SchedTags): Sleep<number> {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_update_nr_requests')
  const frozen = [q, ...sharers(q)]
  for (const one of frozen) yield* blk_mq_freeze_queue(one)
  yield* blk_mq_quiesce_queue(q)
  let error = 0
  for (const hctx of q.queue_hw_ctx) {
    error = blk_mq_tag_update_depth(hctx, nr, more)
    if (error !== 0) break
    q.elevator?.type.ops.depth_updated?.(hctx)
  }
  if (error === 0) view.setU32(q.at + Q_NR_REQUESTS, nr)
  blk_mq_unquiesce_queue(q)
  for (const one of frozen) blk_mq_unfreeze_queue(one)
  return leave(k, t, error)
}

/** What writing a number to sysfs does: less than 4 is 4. @returns 0 or -errno */
export function* queue_requests_store(
  q: request_queue,
  value: string,
  more: SchedTags,
): Sleep<number> {
  if (!/^\d{1,9}$/.test(value) || q.queue_hw_ctx.length === 0) return -EINVAL
  return yield* blk_mq_update_nr_requests(q, Math.max(Number(value), BLKDEV_MIN_RQ), more)
}
