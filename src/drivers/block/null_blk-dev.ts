// Making and removing a disk of null_blk: drivers/block/null_blk_main.c of Linux 4.19, the `power` file of configfs.
//
//   nullb_device_power_store   1: null_add_dev, 0: null_del_dev
//   null_add_dev               tag set, queue, a command queue for each hardware queue, limits, disk
//   null_del_dev               disk, queue, tag set
//
// The blocks of the disk were planned and written when the machine booted. Only queue_mode 2 comes and goes; disks of the
// other modes stay as they were made.

import {
  blk_cleanup_queue,
  blk_mq_alloc_tag_set,
  blk_mq_free_tag_set,
  blk_mq_init_queue,
  blk_put_queue,
  type blk_mq_tag_set,
} from '../../block/blk-mq-init.js'
import type { BlockLayer, blk_mq_ops, request_queue } from '../../block/blkdev.js'
import { del_gendisk, device_add_disk } from '../../block/genhd.js'
import type { Sleep } from '../../kernel/core.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'

/** A disk that can be switched on and off. */
export interface nullb_device {
  readonly blk: BlockLayer
  readonly name: string
  /** Address of its request queue's block (Q_*). */
  readonly at: number
  readonly ops: blk_mq_ops
  readonly submit_queues: number
  readonly hw_queue_depth: number
  /** While it is on. */
  q: request_queue | null
  tag_set: blk_mq_tag_set | null
}

function* null_add_dev(dev: nullb_device): Sleep<number> {
  const { blk, at, ops, name } = dev
  const { k } = blk
  const t = enter(k, 'null_add_dev')
  const set: blk_mq_tag_set = {
    blk,
    at,
    ops,
    nr_hw_queues: dev.submit_queues,
    queue_depth: dev.hw_queue_depth,
    reserved_tags: 0,
    mq_map: new Uint32Array(0),
    tags: [],
  }
  const error = blk_mq_alloc_tag_set(set)
  if (error !== 0) return leave(k, t, error)
  trace_call(k, 'null_setup_fault')
  const q = blk_mq_init_queue(set, name)!
  for (const _ of q.queue_hw_ctx) trace_call(k, 'null_init_queue')
  trace_call(k, 'blk_queue_flag_set')
  trace_call(k, 'blk_queue_flag_clear')
  trace_call(k, 'blk_queue_logical_block_size')
  trace_call(k, 'blk_queue_physical_block_size')
  yield* device_add_disk(q)
  dev.q = q
  dev.tag_set = set
  return leave(k, t, 0)
}

function* null_del_dev(dev: nullb_device, q: request_queue): Sleep<void> {
  const { k } = dev.blk
  const t = enter(k, 'null_del_dev')
  yield* del_gendisk(q)
  yield* blk_cleanup_queue(q)
  if (dev.tag_set) blk_mq_free_tag_set(dev.tag_set)
  blk_put_queue(q)
  dev.q = null
  dev.tag_set = null
  leave(k, t)
}

/** Writes the file `power`: 0 or -errno. Writing what it is already does nothing. */
export function* nullb_device_power_store(dev: nullb_device, on: boolean): Sleep<number> {
  const { k } = dev.blk
  const t = enter(k, 'nullb_device_power_store')
  let error = 0
  if (on && dev.q === null) error = yield* null_add_dev(dev)
  else if (!on && dev.q !== null) yield* null_del_dev(dev, dev.q)
  return leave(k, t, error)
}
