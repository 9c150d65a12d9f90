// The page cache of a block layer: memory management over its queues, and how pages become bios.
//
//   page_cache_init   mm_state; a backing device and a file for each request queue, and one for the file system that the
//                     computer started from, which is never dirty
//   vm_laptop_mode    the sysctl: while it is not 0, every freed request of a bio pushes its device's timer
//
// A page goes to the disk as one bio (block_write_full_page, submit_bh of fs/buffer.c of Linux 4.19).

import {
  BIO_STATUS,
  PAGE_SIZE,
  Q_CAPACITY,
  Q_WATCH,
  SECTOR_SHIFT,
  WATCH_LAPTOP,
} from '../../assembly/layout.js'
import {
  BLK_STS_NOSPC,
  BLK_STS_OK,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { bio_alloc, bio_put, blk_finish_plug, blk_start_plug, submit_bio } from '../block/bio.js'
import type { BlockLayer, request_queue } from '../block/blkdev.js'
import { EIO, ENOSPC } from '../kernel/errno.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import {
  bdi_alloc_node,
  bdi_register,
  default_bdi_init,
  laptop_mode_timer_setup,
} from '../mm/backing-dev.js'
import type { backing_dev_info, inode, mm_state } from '../mm/mm.js'
import { laptop_io_completion, set_laptop_mode } from '../mm/page-writeback.js'
import { register_disk } from './block_dev-open.js'
import { type bdev_io, bdget, type page_bio } from './buffered.js'
import { wakeup_flusher_threads_bdi, wb_workfn } from './fs-writeback.js'
import type { sync_targets } from './sync.js'

/** The page cache of one kernel. */
export interface page_cache {
  readonly blk: BlockLayer
  readonly mm: mm_state
  /** The files of the request queues. */
  readonly bdevs: Map<request_queue, inode>
  readonly targets: sync_targets
}

function errnoOf(status: number): number {
  if (status === BLK_STS_OK) return 0
  return status === BLK_STS_NOSPC ? -ENOSPC : -EIO
}

/** The bio has one page: Linux adds it to the vector, here it was given at allocation. */
function bio_add_page(blk: BlockLayer): void {
  const t = enter(blk.k, 'bio_add_page')
  leave(blk.k, enter(blk.k, '__bio_add_page'))
  leave(blk.k, t)
}

function queue_io(q: request_queue): bdev_io {
  const { blk } = q
  return {
    *submit({ write, sync, pos, at, bytes, end }: page_bio) {
      const opf = write ? REQ_OP_WRITE | (sync ? REQ_SYNC : 0) : REQ_OP_READ
      const bio = bio_alloc(blk, {
        q,
        opf,
        sector: pos / 2 ** SECTOR_SHIFT,
        bytes,
        data: at,
        end_io: done => {
          const error = errnoOf(blk.view.u32(done + BIO_STATUS))
          end(error)
          bio_put(blk, done)
        },
      })
      bio_add_page(blk)
      yield* submit_bio(q, bio)
    },
  }
}

/**
 * Makes the page cache.
 * @param frames address of the first frame, and how many there are
 */
export function page_cache_init(
  blk: BlockLayer,
  frames: { readonly at: number; readonly count: number },
): page_cache {
  const at = Array.from({ length: frames.count }, (_, i) => frames.at + i * PAGE_SIZE).reverse()
  const mm = default_bdi_init(blk.k, at, {
    wakeup_flusher_threads_bdi,
    wb_workfn,
    blk_start_plug: () => blk_start_plug(blk),
    blk_finish_plug: () => blk_finish_plug(blk),
  })
  const root = bdi_alloc_node(mm, 'root')
  bdi_register(root)
  laptop_mode_timer_setup(root)
  const bdevs = new Map<request_queue, inode>()
  for (const q of blk.queues.values()) bdevs.set(q, open_queue(mm, q))
  const targets: sync_targets = {
    mm,
    supers: [root],
    get bdevs() {
      return [...bdevs.values()]
    },
  }
  blk.mm = mm
  blk.bdev = {
    *register_disk(q) {
      if (q.bdi === null) throw new Error(`${q.name} has no backing device`)
      const bdev = file_of(q, q.bdi)
      bdevs.set(q, bdev)
      yield* register_disk(q, bdev)
    },
    del_disk(q) {
      bdevs.delete(q)
      trace_call(blk.k, 'fsync_bdev')
      trace_call(blk.k, 'bd_forget')
    },
  }
  return { blk, mm, bdevs, targets }
}

/** A queue that was there before the page cache gets its backing device now. */
function open_queue(mm: mm_state, q: request_queue): inode {
  const bdi: backing_dev_info = q.bdi ?? bdi_alloc_node(mm, q.name)
  if (q.bdi === null) {
    laptop_mode_timer_setup(bdi)
    q.bdi = bdi
    bdi_register(bdi)
  }
  return file_of(q, bdi)
}

function file_of(q: request_queue, bdi: backing_dev_info): inode {
  const bytes = q.blk.view.u64(q.at + Q_CAPACITY) * 2 ** SECTOR_SHIFT
  return bdget(bdi, q.name, bytes, queue_io(q))
}

/** Whether the core tells of each request that it frees. */
function watch(q: request_queue, bit: number, on: boolean): void {
  const { view } = q.blk
  const others = view.u32(q.at + Q_WATCH) & ~bit
  view.setU32(q.at + Q_WATCH, on ? others | bit : others)
}

/** vm.laptop_mode, seconds: 0 or -errno. */
export function vm_laptop_mode(cache: page_cache, seconds: number): number {
  const error = set_laptop_mode(cache.mm, seconds)
  if (error !== 0) return error
  const completion = (q: request_queue): void => {
    const bdev = cache.bdevs.get(q)
    if (bdev !== undefined) laptop_io_completion(bdev.bdi)
  }
  const on = cache.mm.laptop_mode !== 0
  cache.blk.laptop_io_completion = on ? completion : null
  for (const q of cache.bdevs.keys()) watch(q, WATCH_LAPTOP, on)
  return 0
}
