// Opening and closing a block device: fs/block_dev.c of Linux 4.19.
//
//   blkdev_open, blkdev_close   what a program does; the last close writes nothing back, because direct I/O leaves nothing
//                               behind; a disk that was removed meanwhile goes with it
//   register_disk               the first open of a new disk: its partition table is looked for in the first page, through
//                               the page cache, which forgets the page again
//
// There is one inode for each disk and nothing to look up. No disk has partitions.

import { blk_put_queue } from '../block/blk-mq-init.js'
import type { request_queue } from '../block/blkdev.js'
import type { Sleep } from '../kernel/core.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import {
  filemap_write_and_wait,
  grab_cache_page_write_begin,
  read_mapping_page,
  truncate_inode_pages,
} from '../mm/filemap.js'
import type { inode } from '../mm/mm.js'

/** What the disk's first open does beyond the driver's own: looks at the partition table. */
function* rescan_partitions(q: request_queue, bdev: inode): Sleep<void> {
  const { k } = bdev.bdi.mm
  trace_call(k, 'fsync_bdev')
  if (q.ops.revalidate_disk) yield* q.ops.revalidate_disk(q)
  const p = yield* grab_cache_page_write_begin(bdev.i_mapping, 0)
  if (!p.uptodate) yield* read_mapping_page(p)
}

function* __blkdev_get(q: request_queue, fresh: inode | null): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, '__blkdev_get')
  q.ops.open?.(q)
  if (fresh !== null) yield* rescan_partitions(q, fresh)
  leave(k, t)
}

function* blkdev_get(q: request_queue, fresh: inode | null): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_get')
  yield* __blkdev_get(q, fresh)
  leave(k, t)
}

/** The last one writes what is dirty, and forgets the pages. */
function* __blkdev_put(q: request_queue, last: inode | null): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, '__blkdev_put')
  if (last !== null) {
    yield* filemap_write_and_wait(last.i_mapping)
    truncate_inode_pages(last.i_mapping, () => trace_call(k, 'blkdev_releasepage'))
  }
  const release = q.ops.release?.(q)
  const gone = release ? yield* release : false
  if (gone) blk_put_queue(q)
  if (last !== null) {
    trace_call(k, 'bdi_put')
    trace_call(k, 'bd_forget')
  }
  leave(k, t)
}

function* blkdev_put(q: request_queue, last: inode | null): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_put')
  yield* __blkdev_put(q, last)
  leave(k, t)
}

export function* register_disk(q: request_queue, bdev: inode): Sleep<void> {
  yield* blkdev_get(q, bdev)
  yield* blkdev_put(q, bdev)
}

export function* blkdev_open(q: request_queue): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_open')
  trace_call(k, 'bd_acquire')
  yield* blkdev_get(q, null)
  leave(k, t)
}

/** The kernel's own use of a disk. */
export function* blkdev_get_by_path(q: request_queue): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_get_by_path')
  trace_call(k, 'bd_acquire')
  yield* blkdev_get(q, null)
  leave(k, t)
}

export function* blkdev_close(q: request_queue): Sleep<void> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_close')
  yield* blkdev_put(q, null)
  leave(k, t)
}
