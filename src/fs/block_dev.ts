// Block devices as files: fs/block_dev.c of Linux 4.19, the direct I/O of tasks.
//
//   blkdev_read_iter, blkdev_write_iter   one O_DIRECT read or write that the task waits for; O_DSYNC syncs after it
//   blkdev_direct_IO                      ... or does not wait for (asynchronous I/O, `done` is called)
//   blkdev_fsync                          blkdev_issue_flush: an empty write with PREFLUSH
//
// A write runs under a plug of blkdev_write_iter. Offsets and sizes are whole logical blocks; a direct I/O is one bio.
//
// With an inode the page cache has a say: direct I/O first has the dirty pages of its range written, an I/O with `copy` is
// a buffered one (buffered.ts), fsync writes what is dirty before it flushes.

import {
  BLK_STS_IOERR,
  BLK_STS_OK,
  REQ_FUA,
  REQ_IDLE,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import {
  bio_alloc_bioset,
  bio_init,
  type bio_init_options,
  bio_put,
  bio_status,
  bio_uninit,
  blk_finish_plug,
  blk_start_plug,
  submit_bio,
  submit_bio_wait,
} from '../block/bio.js'
import type { BlockLayer, request_queue } from '../block/blkdev.js'
import { type Sleep, TASK_UNINTERRUPTIBLE } from '../kernel/core.js'
import { io_schedule, set_current_state, wake_up_process } from '../kernel/task.js'
import { enter, leave } from '../kernel/trace.js'
import {
  type Copy,
  filemap_write_and_wait_range,
  invalidate_inode_pages2_range,
} from '../mm/filemap.js'
import type { inode } from '../mm/mm.js'
import { generic_file_read, generic_file_write } from './buffered.js'

/** One read or write of a file. */
export interface kiocb {
  readonly q: request_queue
  readonly write: boolean
  /** Bytes from the start of the disk. */
  readonly pos: number
  readonly bytes: number
  /** Address of the data. */
  readonly data: number
  /** O_DSYNC. */
  readonly dsync?: boolean
  /** Asynchronous: called with the blk_status_t when it has ended. */
  readonly done?: (status: number) => void
  /** The file, where there is a page cache. */
  readonly inode?: inode
  /** Buffered: moves the bytes between the pages and the user. */
  readonly copy?: Copy
}

const DIO_WRITE_OP = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE

function here(blk: BlockLayer, name: string): void {
  leave(blk.k, enter(blk.k, name))
}

function bio_of(io: kiocb, end_io: (bio: number) => void): bio_init_options {
  const fua = io.write && io.dsync ? REQ_FUA : 0
  const opf = io.write ? DIO_WRITE_OP | fua : REQ_OP_READ
  const { q, pos, bytes, data } = io
  return { q, opf, sector: pos / 512, bytes, data, end_io }
}

/** One I/O on the caller's stack. */
function* __blkdev_direct_IO_simple(io: kiocb): Sleep<number> {
  const { blk } = io.q
  const { k } = blk
  const t = enter(k, '__blkdev_direct_IO_simple')
  const task = k.cpu.current
  let done = false
  const bio = bio_init(
    blk,
    bio_of(io, () => {
      const e = enter(k, 'blkdev_bio_end_io_simple')
      done = true
      wake_up_process(task)
      leave(k, e)
    }),
  )
  here(blk, 'bio_iov_iter_get_pages')
  yield* submit_bio(io.q, bio)
  for (;;) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    if (done) break
    yield* io_schedule(k, 'a bio')
  }
  set_current_state(k, 0)
  const status = bio_status(blk, bio)
  bio_uninit(blk, bio)
  return leave(k, t, status)
}

/** The end of an asynchronous bio. A read's pages are looked at and released, a write's released. */
function blkdev_bio_end_io(io: kiocb, bio: number): void {
  const { blk } = io.q
  const { k } = blk
  const t = enter(k, 'blkdev_bio_end_io')
  const status = bio_status(blk, bio)
  here(blk, 'bio_put') // the reference of the I/O as a whole
  if (io.write) bio_put(blk, bio)
  else {
    const c = enter(k, 'bio_check_pages_dirty')
    here(blk, 'bio_release_pages')
    bio_put(blk, bio)
    leave(k, c)
  }
  io.done?.(status)
  leave(k, t)
}

/** An I/O of its own bio, which the caller does not wait for. */
function* direct_IO_async(io: kiocb): Sleep<number> {
  const { blk } = io.q
  const bio = bio_alloc_bioset(
    blk,
    bio_of(io, b => blkdev_bio_end_io(io, b)),
  )
  blk_start_plug(blk)
  here(blk, 'bio_iov_iter_get_pages')
  if (!io.write) here(blk, 'bio_set_pages_dirty')
  yield* submit_bio(io.q, bio)
  blk_finish_plug(blk)
  return 0
}

function* blkdev_direct_IO(io: kiocb): Sleep<number> {
  const { k } = io.q.blk
  const t = enter(k, 'blkdev_direct_IO')
  const status = io.done ? yield* direct_IO_async(io) : yield* __blkdev_direct_IO_simple(io)
  return leave(k, t, status)
}

/** Bytes or -errno of a buffered I/O as a blk_status_t. */
function statusOf(result: number): number {
  return result < 0 ? BLK_STS_IOERR : BLK_STS_OK
}

/** What is dirty of the range goes to the disk before direct I/O; then the cache forgets what is written past it. */
function* direct_IO_past_cache(io: kiocb): Sleep<number> {
  const mapping = io.inode?.i_mapping
  const last = io.pos + io.bytes - 1
  if (mapping === undefined || mapping.pages.size === 0) return yield* blkdev_direct_IO(io)
  if (yield* filemap_write_and_wait_range(mapping, io.pos, last)) return BLK_STS_IOERR
  const status = yield* blkdev_direct_IO(io)
  if (io.write) invalidate_inode_pages2_range(mapping, io.pos, last)
  return status
}

/** @returns a blk_status_t; 0 for an asynchronous read that has begun */
export function* blkdev_read_iter(io: kiocb): Sleep<number> {
  const { k } = io.q.blk
  const t = enter(k, 'blkdev_read_iter')
  const status =
    io.inode && io.copy
      ? statusOf(yield* generic_file_read(io.inode, io.pos, io.bytes, io.copy))
      : yield* direct_IO_past_cache(io)
  return leave(k, t, status)
}

function* write_iter(io: kiocb): Sleep<number> {
  if (!io.inode || !io.copy) return yield* direct_IO_past_cache(io)
  return statusOf(yield* generic_file_write(io.inode, io.pos, io.bytes, io.copy))
}

/** @returns a blk_status_t; 0 for an asynchronous write that has begun */
export function* blkdev_write_iter(io: kiocb): Sleep<number> {
  const { blk } = io.q
  const { k } = blk
  const t = enter(k, 'blkdev_write_iter')
  blk_start_plug(blk)
  let status = yield* write_iter(io)
  if (io.dsync && !io.done && status === 0) status = yield* blkdev_fsync(io.q, io.inode)
  blk_finish_plug(blk)
  return leave(k, t, status)
}

/** Writes back a volatile cache. */
export function* blkdev_issue_flush(q: request_queue): Sleep<number> {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'blkdev_issue_flush')
  const opf = REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC
  const make = (end_io: () => void): number =>
    bio_alloc_bioset(blk, { q, opf, sector: 0, bytes: 0, data: 0, end_io })
  const { bio, status } = yield* submit_bio_wait(q, make)
  bio_put(blk, bio)
  return leave(k, t, status)
}

/** Everything dirty of the file goes to the disk, and from there to its medium. */
export function* blkdev_fsync(q: request_queue, file?: inode): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'blkdev_fsync')
  const error = file ? yield* filemap_write_and_wait_range(file.i_mapping, 0, file.i_size) : 0
  const status = error === 0 ? yield* blkdev_issue_flush(q) : BLK_STS_IOERR
  return leave(k, t, status)
}
