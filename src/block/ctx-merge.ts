// Merging with scheduler none: blk_mq_attempt_merge of block/blk-mq-sched.c. A bio may join one of the newest eight
// requests of its own software queue.

import { BIO_OPF, CTX_HEAD, HC_FLAGS, RQ_BIO, RQ_HCTX, RQ_NEXT } from '../../assembly/layout.js'
import { BLK_MQ_F_SHOULD_MERGE } from '../../assembly/nvme.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_rq_merge_ok } from './blk-merge.js'
import type { request_queue } from './blkdev.js'

const LOOK_BACK = 8

/** True when the bio joined a request. */
export function blk_mq_attempt_merge(q: request_queue, ctx: number, bio: number): boolean {
  const { k, view, core } = q.blk
  const t = enter(k, 'blk_mq_attempt_merge')
  const waiting: number[] = []
  for (let rq = view.u32(ctx + CTX_HEAD); rq; rq = view.u32(rq + RQ_NEXT)) waiting.push(rq)
  const newest = waiting.reverse().slice(0, LOOK_BACK)
  // Only with one that goes where the bio would go.
  const hctx = core.blk_mq_map_queue(ctx, view.u32(bio + BIO_OPF)) >>> 0
  const merges = (rq: number): boolean => {
    if (view.u32(rq + RQ_HCTX) !== hctx) return false
    const flags = view.u32(hctx + HC_FLAGS)
    if (!(flags & BLK_MQ_F_SHOULD_MERGE) || !view.u32(rq + RQ_BIO)) return false
    return blk_rq_merge_ok(q, rq, bio) && core.blk_try_merge(q.at, rq, bio) !== 0
  }
  const m = enter(k, 'blk_mq_bio_list_merge')
  const joined = newest.some(merges)
  leave(k, m)
  return leave(k, t, joined)
}
