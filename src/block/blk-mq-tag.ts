// The slow half of tags: block/blk-mq-tag.c of Linux 4.19, who looks at all tags that are taken. Taking and giving back
// is the core's (assembly/tag.ts).
//
//   busy_tags                 tags of a set that are taken, reserved ones first
//   blk_mq_tagset_busy_iter   every started request of a tag set, whichever queue it is of
//   blk_mq_tag_idle           a queue of a shared set has had nothing in flight for a while
//   blk_mq_init_tags          a set of tags and its request slots, in memory of the kernel or of the machine's plan

import * as L from '../../assembly/layout.js'
import { BLK_MQ_F_TAG_SHARED, BLK_MQ_S_TAG_ACTIVE } from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import { enter, leave } from '../kernel/trace.js'
import type { BlockLayer, blk_mq_hw_ctx } from './blkdev.js'
import { set_bits } from './sbitmap-show.js'

/** Tags of a set (TAGS_*) that are taken. */
export function busy_tags(view: View, tags: number): number[] {
  const reserved = view.u32(tags + L.TAGS_RESERVED)
  const first = reserved > 0 ? set_bits(view, tags + L.TAGS_BRESERVED) : []
  return [...first, ...set_bits(view, tags + L.TAGS_BITMAP).map(bit => bit + reserved)]
}

/** The request that a tag stands for; 0 = none has ever had it. */
export function blk_mq_tag_to_rq(view: View, tags: number, tag: number): number {
  return tag < view.u32(tags + L.TAGS_NR) ? view.u32(view.u32(tags + L.TAGS_RQS) + 4 * tag) : 0
}

/** Calls `each` for every started request that holds one of these tags. */
export function blk_mq_tagset_busy_iter(
  set: { readonly blk: BlockLayer; readonly tags: readonly number[] },
  each: (rq: number) => void,
): void {
  const { k, view } = set.blk
  const t = enter(k, 'blk_mq_tagset_busy_iter')
  for (const tags of set.tags) {
    for (const tag of busy_tags(view, tags)) {
      const rq = blk_mq_tag_to_rq(view, tags, tag)
      if (rq && view.load(rq + L.RQ_STATE) !== L.MQ_RQ_IDLE) each(rq)
    }
  }
  leave(k, t)
}

/**
 * The hardware queue uses no tags of a shared set any more: the others share them without it, and whoever waits looks again.
 * Linux leaves the wake batch as it is, and may then wake nobody for as long as a queue counts that has become idle.
 */
export function blk_mq_tag_idle(hctx: blk_mq_hw_ctx): void {
  const { k, view } = hctx.q.blk
  if (!(view.u32(hctx.at + L.HC_FLAGS) & BLK_MQ_F_TAG_SHARED)) return
  const t = enter(k, '__blk_mq_tag_idle')
  if (view.load(hctx.at + L.HC_STATE) & BLK_MQ_S_TAG_ACTIVE) tag_idle(hctx)
  leave(k, t)
}

function tag_idle(hctx: blk_mq_hw_ctx): void {
  const { view, core } = hctx.q.blk
  view.store(hctx.at + L.HC_STATE, view.load(hctx.at + L.HC_STATE) & ~BLK_MQ_S_TAG_ACTIVE)
  const tags = view.u32(hctx.at + L.HC_TAGS)
  const users = view.add(tags + L.TAGS_ACTIVE_QUEUES, -1) - 1
  core.sbitmap_queue_share(tags + L.TAGS_BITMAP, users)
  core.sbitmap_queue_wake_all(tags + L.TAGS_BITMAP)
}

/** Where a set of tags lies; `words` words of its map, `depth + 1` slots (the last is the flush request's). */
export interface tags_memory {
  readonly tags: number
  readonly tagMap: number
  readonly tagHints: number
  readonly rqs: number
  readonly requests: number
}

export interface tags_shape {
  readonly depth: number
  readonly reserved: number
  /** Several CPUs take tags at once. */
  readonly shared: boolean
}

/** Memory of the kernel for a set of tags; null when there is none. */
export function blk_mq_alloc_tags(
  blk: BlockLayer,
  { depth, reserved }: tags_shape,
): tags_memory | null {
  const { core, mem, cpus } = blk
  const words =
    core.sbitmap_words(depth - reserved, -1) + (reserved && core.sbitmap_words(reserved, -1))
  const memory = {
    tags: mem.kzalloc(L.TAGS_SIZE),
    tagMap: mem.kzalloc(words * L.SBW_SIZE),
    tagHints: mem.kzalloc(2 * cpus.length * L.SBQ_HINT_SIZE),
    rqs: mem.kzalloc(4 * depth),
    requests: mem.kzalloc((depth + 1) * L.RQ_SIZE),
  }
  if (Object.values(memory).every(at => at !== 0)) return memory
  blk_mq_free_tags(blk, memory)
  return null
}

/** Gives back what blk_mq_alloc_tags took. */
export function blk_mq_free_tags(blk: BlockLayer, memory: tags_memory): void {
  for (const at of Object.values(memory) as number[]) blk.mem.kfree(at)
}

/** Writes a set of tags into zeroed memory. The slots know their tags; whose requests they are is said at each use. */
export function blk_mq_init_tags(blk: BlockLayer, memory: tags_memory, shape: tags_shape): void {
  const { core, view, cpus } = blk
  const { tags, tagMap, tagHints, rqs, requests } = memory
  const { depth, reserved } = shape
  const shared = shape.shared ? 1 : 0
  const normal = depth - reserved
  view.setU32(tags + L.TAGS_NR, depth)
  view.setU32(tags + L.TAGS_RESERVED, reserved)
  view.setU32(tags + L.TAGS_RQS, rqs)
  view.setU32(tags + L.TAGS_STATIC_RQS, requests)
  const n = cpus.length
  core.sbitmap_queue_init_node(tags + L.TAGS_BITMAP, normal, -1, 0, tagMap, tagHints, n, shared, 0)
  const map = tagMap + core.sbitmap_words(normal, -1) * L.SBW_SIZE
  const hints = tagHints + n * L.SBQ_HINT_SIZE
  if (reserved)
    core.sbitmap_queue_init_node(tags + L.TAGS_BRESERVED, reserved, -1, 0, map, hints, n, shared, 0)
  else core.sbitmap_queue_init_node(tags + L.TAGS_BRESERVED, 0, -1, 0, 0, 0, 0, shared, 0)
  core.blk_mq_init_rqs(rqs, requests, depth)
}
