// Tags: block/blk-mq-tag.c of Linux 4.19, the part that tries once. Waiting for a tag is the job
// loop's and TypeScript's: they queue themselves (sbitmap_prepare_to_wait), try again, and sleep.
//
// Numbers: reserved tags 0 .. nr_reserved - 1, the others above. cpu is a CPU's number.

import {
  HC_FLAGS, HC_NR_ACTIVE, HC_SCHED_TAGS, HC_STATE, HC_TAGS, RQ_INTERNAL_TAG, RQ_SIZE, RQ_TAG, SBQ_DEPTH, TAGS_ACTIVE_QUEUES, TAGS_BITMAP,
  TAGS_BRESERVED, TAGS_NR, TAGS_RESERVED,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, BLK_MQ_REQ_INTERNAL, BLK_MQ_REQ_RESERVED, BLK_MQ_S_TAG_ACTIVE, BLK_MQ_TAG_FAIL,
} from './nvme'
import { BUG_ON, BUG_TAG_FREE, BUG_TAG_RANGE } from './bug'
import { __sbitmap_queue_get, __sbitmap_queue_get_shallow, sbitmap_queue_clear, sbitmap_queue_share } from './sbitmap'

/** Slots of fresh tags know their numbers; one more slot stands behind them, which has none. */
export function blk_mq_init_rqs(rqs: u32, requests: u32, depth: u32): void {
  let rq = requests
  for (let tag: u32 = 0; tag < depth; tag++) {
    store<u32>(rq, tag, RQ_TAG)
    store<u32>(rq, -1, RQ_INTERNAL_TAG)
    store<u32>(rqs + (tag << 2), rq)
    rq += RQ_SIZE
  }
  store<u32>(rq, -1, RQ_TAG)
  store<u32>(rq, -1, RQ_INTERNAL_TAG)
}

/** A fair share of a tag set that several disks use; true when this queue may take one more. */
// @ts-ignore: decorator
@inline
export function hctx_may_queue(hctx: u32, sbq: u32): bool {
  if (!(load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED)) return true
  if (!(atomic.load<u32>(hctx, HC_STATE) & BLK_MQ_S_TAG_ACTIVE)) return true
  const depth = load<u32>(sbq, SBQ_DEPTH)
  const users = atomic.load<u32>(load<u32>(hctx, HC_TAGS), TAGS_ACTIVE_QUEUES)
  if (depth == 1 || users == 0) return true
  const share = max<u32>((depth + users - 1) / users, 4)
  return atomic.load<u32>(hctx, HC_NR_ACTIVE) < share
}

/** The hardware queue uses tags that others use as well: from now on until it is idle it has a share of them. */
// @ts-ignore: decorator
@inline
export function blk_mq_tag_busy(hctx: u32): void {
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED) __blk_mq_tag_busy(hctx)
}

function __blk_mq_tag_busy(hctx: u32): void {
  if (atomic.load<u32>(hctx, HC_STATE) & BLK_MQ_S_TAG_ACTIVE) return
  if (atomic.or<u32>(hctx, BLK_MQ_S_TAG_ACTIVE, HC_STATE) & BLK_MQ_S_TAG_ACTIVE) return
  const tags = load<u32>(hctx, HC_TAGS)
  atomic.add<u32>(tags, 1, TAGS_ACTIVE_QUEUES)
  sbitmap_queue_share(tags + TAGS_BITMAP, atomic.load<u32>(tags, TAGS_ACTIVE_QUEUES))
}

/** One try for a tag of this hardware queue: its number, or BLK_MQ_TAG_FAIL. */
// @ts-ignore: decorator
@inline
export function blk_mq_get_tag(hctx: u32, cpu: u32, flags: u32): i32 {
  return __blk_mq_get_tag(hctx, cpu, flags, 0)
}

/** The same from no more than `shallow` bits of a word; 0 = all of them. */
export function __blk_mq_get_tag(hctx: u32, cpu: u32, flags: u32, shallow: u32): i32 {
  const internal = flags & BLK_MQ_REQ_INTERNAL
  const tags = internal ? load<u32>(hctx, HC_SCHED_TAGS) : load<u32>(hctx, HC_TAGS)
  const reserved = load<u32>(tags, TAGS_RESERVED)
  if (flags & BLK_MQ_REQ_RESERVED) {
    return reserved ? __sbitmap_queue_get(tags + TAGS_BRESERVED, cpu) : BLK_MQ_TAG_FAIL
  }
  const bitmap = tags + TAGS_BITMAP
  if (!internal && !hctx_may_queue(hctx, bitmap)) return BLK_MQ_TAG_FAIL
  const bit = shallow ? __sbitmap_queue_get_shallow(bitmap, cpu, shallow) : __sbitmap_queue_get(bitmap, cpu)
  return bit < 0 ? BLK_MQ_TAG_FAIL : bit + reserved
}

/** Gives a tag back; cpu is the one that took it. */
// @ts-ignore: decorator
@inline
export function blk_mq_put_tag(tags: u32, cpu: u32, tag: u32): void {
  const reserved = load<u32>(tags, TAGS_RESERVED)
  BUG_ON(tag >= load<u32>(tags, TAGS_NR), BUG_TAG_RANGE)
  const was_set = tag < reserved
    ? sbitmap_queue_clear(tags + TAGS_BRESERVED, tag, cpu)
    : sbitmap_queue_clear(tags + TAGS_BITMAP, tag - reserved, cpu)
  BUG_ON(!was_set, BUG_TAG_FREE)
}
