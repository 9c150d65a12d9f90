// Block devices through the page cache: the buffered half of fs/block_dev.c and fs/buffer.c of Linux 4.19.
//
//   bdget                a block device as a file: inode, address_space
//   generic_file_read    blkdev_read_iter without O_DIRECT
//   generic_file_write   blkdev_write_iter without O_DIRECT: dirty pages, which the flusher writes
//   blkdev_writepages    dirty pages to the disk, one bio for each
//   blkdev_readpage      a page from the disk
//
// How a bio is made and submitted is the block layer's: `bdev_io` is handed in. A buffer is a whole page.

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event, wait_queue_head } from '../kernel/wait.js'
import {
  type Copy,
  generic_file_buffered_read,
  generic_perform_write,
  grab_cache_page_write_begin,
  lock_page,
  unlock_page,
  type write_ops,
} from '../mm/filemap.js'
import {
  address_space,
  type address_space_operations,
  type backing_dev_info,
  type inode,
  type page,
  PAGE_SIZE,
  WB_SYNC_ALL,
  type writeback_control,
} from '../mm/mm.js'
import {
  balance_dirty_pages_ratelimited,
  end_page_writeback,
  set_page_dirty,
  set_page_writeback,
  wake_waiters,
  write_cache_pages,
} from '../mm/page-writeback.js'
import { __mark_inode_dirty, wb_start_background_writeback } from './fs-writeback.js'

/** One bio of a page, or of the end of a disk. */
export interface page_bio {
  readonly write: boolean
  /** Somebody waits for it. */
  readonly sync: boolean
  /** First byte on the disk. */
  readonly pos: number
  /** Address of the data, and bytes. */
  readonly at: number
  readonly bytes: number
  /** Called once: 0 or -errno. */
  readonly end: (error: number) => void
}

/** How the pages of a device reach the disk. */
export interface bdev_io {
  /** Allocates a bio and submits it; sleeps for a request if it must. */
  submit(bio: page_bio): Sleep<void>
}

/** Bytes of a page that lie on the device. */
function bytesOf(p: page): number {
  return Math.min(PAGE_SIZE, p.mapping.host.i_size - p.index * PAGE_SIZE)
}

function blkdev_get_block(k: Kernel, p: page): void {
  const t = enter(k, 'blkdev_get_block')
  p.mapped = true
  leave(k, t)
}

// ---------------------------------------------------------------- pages to and from the disk

function* blkdev_readpage(k: Kernel, io: bdev_io, p: page): Sleep<number> {
  const t = enter(k, 'blkdev_readpage')
  if (!p.mapped) blkdev_get_block(k, p)
  const bytes = bytesOf(p)
  const result: { error: number | null } = { error: null }
  yield* io.submit({
    write: false,
    sync: true,
    pos: p.index * PAGE_SIZE,
    at: p.at,
    bytes,
    end: error => {
      result.error = error
      wake_waiters(p)
    },
  })
  if (result.error === null) yield* wait_event(p.mapping.wait, () => result.error !== null)
  p.uptodate = result.error === 0
  return leave(k, t, result.error ?? 0)
}

function* blkdev_writepage(k: Kernel, io: bdev_io, p: page, wbc: writeback_control): Sleep<number> {
  const t = enter(k, 'blkdev_writepage')
  if (!p.mapped) blkdev_get_block(k, p)
  set_page_writeback(p)
  yield* io.submit({
    write: true,
    sync: wbc.sync_mode === WB_SYNC_ALL,
    pos: p.index * PAGE_SIZE,
    at: p.at,
    bytes: bytesOf(p),
    end: error => {
      p.mapping.wb_err ||= error
      end_page_writeback(p)
    },
  })
  return leave(k, t, 0)
}

function* blkdev_writepages(
  io: bdev_io,
  mapping: address_space,
  wbc: writeback_control,
): Sleep<number> {
  const { k, ops } = mapping.mm
  const t = enter(k, 'blkdev_writepages')
  ops.blk_start_plug()
  const error = yield* write_cache_pages(mapping, wbc, (p, how) => blkdev_writepage(k, io, p, how))
  ops.blk_finish_plug()
  return leave(k, t, error)
}

/** A block device as a file of `bytes`. */
export function bdget(bdi: backing_dev_info, name: string, bytes: number, io: bdev_io): inode {
  const { mm } = bdi
  const inode = {
    name,
    bdi,
    i_size: bytes,
    dirtied_when: 0,
    dirty_pages: false,
    sync: false,
  } as inode
  const a_ops: address_space_operations = {
    writepages: (mapping, wbc) => blkdev_writepages(io, mapping, wbc),
    readpage: p => blkdev_readpage(mm.k, io, p),
  }
  inode.i_mapping = new address_space(
    mm,
    inode,
    a_ops,
    new wait_queue_head(mm.k, `pages of ${name}`),
  )
  return inode
}

// ---------------------------------------------------------------- read and write

/** The page of a write, locked; read first when the write covers a part of it only. */
function* blkdev_write_begin(
  mapping: address_space,
  pos: number,
  len: number,
): Sleep<page | number> {
  const { k } = mapping.mm
  const t = enter(k, 'blkdev_write_begin')
  const p = yield* grab_cache_page_write_begin(mapping, Math.floor(pos / PAGE_SIZE))
  yield* lock_page(p)
  if (!p.mapped) blkdev_get_block(k, p)
  if (p.writeback) yield* wait_event(mapping.wait, () => !p.writeback)
  if (!p.uptodate && len < bytesOf(p)) {
    const error = yield* mapping.a_ops.readpage(p)
    if (error !== 0) {
      unlock_page(p)
      return leave(k, t, error)
    }
  }
  return leave(k, t, p)
}

function blkdev_write_end(mapping: address_space, p: page): void {
  const { k } = mapping.mm
  const t = enter(k, 'blkdev_write_end')
  p.uptodate = true
  if (set_page_dirty(p)) __mark_inode_dirty(mapping.host)
  unlock_page(p)
  leave(k, t)
}

const blkdev_write_ops: write_ops = {
  write_begin: blkdev_write_begin,
  write_end: blkdev_write_end,
  balance: mapping => balance_dirty_pages_ratelimited(mapping, wb_start_background_writeback),
}

/** Bytes from `pos` on that the device has. */
function within(bdev: inode, pos: number, count: number): number {
  return Math.max(0, Math.min(count, bdev.i_size - pos))
}

/**
 * Reads through the cache.
 * @returns bytes, 0 at the end of the device, or -errno
 */
export function* generic_file_read(
  bdev: inode,
  pos: number,
  count: number,
  copy: Copy,
): Sleep<number> {
  return yield* generic_file_buffered_read(bdev.i_mapping, pos, within(bdev, pos, count), copy)
}

/**
 * Writes into the cache.
 * @returns bytes, 0 at the end of the device, or -errno
 */
export function* generic_file_write(
  bdev: inode,
  pos: number,
  count: number,
  copy: Copy,
): Sleep<number> {
  const bytes = within(bdev, pos, count)
  return yield* generic_perform_write(bdev.i_mapping, pos, bytes, blkdev_write_ops, copy)
}
