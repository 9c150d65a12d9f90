// Opening and closing a block device: fs/block_dev.c of Linux 4.19, as far as the driver hears of it.
//
// There is one inode for each disk and nothing to look up; the last close writes nothing back, because direct I/O leaves
// nothing behind.

import type { request_queue } from '../block/blkdev.js'
import { enter, leave } from '../kernel/trace.js'

/** null_blk's open and release do nothing. */
function is_null(q: request_queue): boolean {
  return q.ops.name === 'null_blk'
}

export function blkdev_open(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blkdev_open')
  leave(k, enter(k, 'bd_acquire'))
  const g = enter(k, 'blkdev_get')
  const u = enter(k, '__blkdev_get')
  if (is_null(q)) leave(k, enter(k, 'null_open'))
  leave(k, u)
  leave(k, g)
  leave(k, t)
}

export function blkdev_close(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blkdev_close')
  const p = enter(k, 'blkdev_put')
  const u = enter(k, '__blkdev_put')
  if (is_null(q)) leave(k, enter(k, 'null_release'))
  leave(k, u)
  leave(k, p)
  leave(k, t)
}
