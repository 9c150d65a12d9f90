// Disks come and go: block/genhd.c and blk-sysfs.c of Linux 4.19, in its order.
//
//   device_add_disk   the backing device may write back, the partition table is read, the queue stands in sysfs
//   del_gendisk       the file and the backing device go, the queue leaves sysfs; then the driver ends the queue
//
// There is no sysfs here: what registers there is only recorded. No disk has partitions; the table is read all the same,
// which is the first I/O of every disk that has a size, where there is a page cache to read it with.

import { Q_CAPACITY } from '../../assembly/layout.js'
import type { Sleep } from '../kernel/core.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { bdi_register_owner, bdi_unregister } from '../mm/backing-dev.js'
import type { request_queue } from './blkdev.js'

function __blk_mq_register_dev(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, '__blk_mq_register_dev')
  for (const _ of q.queue_hw_ctx) trace_call(k, 'blk_mq_register_hctx')
  leave(k, t)
}

function blk_register_queue(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_register_queue')
  q.init_done = true
  trace_call(k, 'blk_queue_bypass_end')
  __blk_mq_register_dev(q)
  leave(k, t)
}

function* __device_add_disk(q: request_queue): Sleep<void> {
  const { blk, bdi } = q
  const { k } = blk
  const t = enter(k, '__device_add_disk')
  trace_call(k, 'blk_alloc_devt')
  if (bdi !== null) bdi_register_owner(bdi)
  const sized = blk.view.u64(q.at + Q_CAPACITY) !== 0
  if (blk.bdev !== null && sized) yield* blk.bdev.register_disk(q)
  blk_register_queue(q)
  trace_call(k, 'blk_get_queue')
  leave(k, t)
}

/** From now on the disk can be opened. */
export function* device_add_disk(q: request_queue): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'device_add_disk')
  yield* __device_add_disk(q)
  leave(k, t)
}

function blk_unregister_queue(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_unregister_queue')
  trace_call(k, 'blk_queue_flag_clear')
  trace_call(k, 'blk_mq_unregister_dev')
  trace_call(k, 'rq_qos_exit')
  leave(k, t)
}

/** Nobody can open the disk any more. Its queue is the driver's to end. */
export function* del_gendisk(q: request_queue): Sleep<void> {
  const { blk, bdi } = q
  const { k } = blk
  const t = enter(k, 'del_gendisk')
  blk.bdev?.del_disk(q)
  if (bdi !== null) yield* bdi_unregister(bdi)
  blk_unregister_queue(q)
  leave(k, t)
}
