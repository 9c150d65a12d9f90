// The page cache: mm/filemap.c of Linux 4.19, as block devices use it.
//
//   generic_file_buffered_read   page by page: from the cache, or read first
//   generic_perform_write        page by page: write_begin makes the page current, the data go in, write_end dirties it
//   filemap_*                    write-back of a range, and waiting for it (fsync, direct I/O of the same bytes)
//
// Every page has a frame of the shared memory. When none is free the clean page that was used longest ago goes; when all
// are dirty the flusher is woken, and the task waits.
//
// Left out: readahead, huge pages, mmap. A file is a block device, so that there are no holes and it never grows.

import type { Sleep } from '../kernel/core.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event } from '../kernel/wait.js'
import {
  type address_space,
  type mm_state,
  page,
  PAGE_SIZE,
  WB_REASON_FREE_MORE_MEM,
  WB_SYNC_ALL,
  type writeback_control,
} from './mm.js'
import { do_writepages, wait_on_page_writeback, wake_waiters } from './page-writeback.js'

const LONG_MAX = Number.MAX_SAFE_INTEGER

// ---------------------------------------------------------------- frames

function evictable(p: page): boolean {
  return !p.dirty && !p.writeback && !p.locked
}

/** Takes a page out of the cache; its frame is free. */
function remove_page(p: page): void {
  const { mm } = p.mapping
  p.mapping.pages.delete(p.index)
  mm.lru.delete(p)
  mm.free_frames.push(p.at)
}

function try_to_free_page(mm: mm_state): void {
  for (const p of mm.lru) {
    if (!evictable(p)) continue
    remove_page(p)
    return
  }
}

/** A frame, at once: 0 when everything is dirty or under I/O. */
function frame(mm: mm_state): number {
  if (mm.free_frames.length === 0) try_to_free_page(mm)
  return mm.free_frames.pop() ?? 0
}

function any_evictable(mm: mm_state): boolean {
  for (const p of mm.lru) if (evictable(p)) return true
  return false
}

function* alloc_frame(mm: mm_state): Sleep<number> {
  for (;;) {
    const at = frame(mm)
    if (at) return at
    for (const bdi of mm.bdi_list) mm.ops.wakeup_flusher_threads_bdi(bdi, WB_REASON_FREE_MORE_MEM)
    yield* wait_event(mm.throttled, () => any_evictable(mm))
  }
}

// ---------------------------------------------------------------- pages

/** A page of the cache, and marks it as used; undefined if it is not there. */
export function find_get_page(mapping: address_space, index: number): page | undefined {
  const p = mapping.pages.get(index)
  if (p === undefined) return undefined
  mapping.mm.lru.delete(p)
  mapping.mm.lru.add(p)
  return p
}

/** A page of the cache, made if it is not there. */
export function* grab_cache_page_write_begin(mapping: address_space, index: number): Sleep<page> {
  for (;;) {
    const found = find_get_page(mapping, index)
    if (found !== undefined) return found
    const at = yield* alloc_frame(mapping.mm)
    // another task may have made it meanwhile
    if (mapping.pages.has(index)) {
      mapping.mm.free_frames.push(at)
      continue
    }
    const made = new page(mapping, index, at)
    mapping.pages.set(index, made)
    mapping.mm.lru.add(made)
    return made
  }
}

/** Sleeps until nobody else has the page, then has it. */
export function* lock_page(p: page): Sleep<void> {
  if (p.locked) yield* wait_event(p.mapping.wait, () => !p.locked)
  p.locked = true
}

export function unlock_page(p: page): void {
  p.locked = false
  wake_waiters(p)
}

/** Reads a page that is not current, once, however many tasks want it: 0 or -errno. */
export function* read_mapping_page(p: page): Sleep<number> {
  yield* lock_page(p)
  let error = 0
  if (!p.uptodate) error = yield* p.mapping.a_ops.readpage(p)
  unlock_page(p)
  return error
}

// ---------------------------------------------------------------- read and write

/** Moves bytes between a page and its user: `at` the address of the first byte in the frame. */
export type Copy = (at: number, bytes: number, done: number) => void

/**
 * Reads bytes through the cache.
 * @returns bytes read, or -errno if there were none
 */
export function* generic_file_buffered_read(
  mapping: address_space,
  pos: number,
  count: number,
  copy: Copy,
): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, 'generic_file_buffered_read')
  let done = 0
  while (done < count) {
    const at = pos + done
    const p = yield* grab_cache_page_write_begin(mapping, Math.floor(at / PAGE_SIZE))
    const error = p.uptodate ? 0 : yield* read_mapping_page(p)
    if (error !== 0) return leave(k, t, done || error)
    const offset = at % PAGE_SIZE
    const bytes = Math.min(PAGE_SIZE - offset, count - done)
    copy(p.at + offset, bytes, done)
    done += bytes
  }
  return leave(k, t, done)
}

/** How a file system takes a write into a page. */
export interface write_ops {
  /** The page, locked and current where the write does not cover it; or -errno. */
  write_begin(mapping: address_space, pos: number, len: number): Sleep<page | number>
  /** The data are in: dirties and unlocks the page. */
  write_end(mapping: address_space, p: page, pos: number, len: number): void
  /** After each page: not too many dirty ones. */
  balance(mapping: address_space): Sleep<void>
}

/**
 * Writes bytes into the cache.
 * @returns bytes written, or -errno if there were none
 */
export function* generic_perform_write(
  mapping: address_space,
  pos: number,
  count: number,
  ops: write_ops,
  copy: Copy,
): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, 'generic_perform_write')
  let done = 0
  while (done < count) {
    const at = pos + done
    const offset = at % PAGE_SIZE
    const bytes = Math.min(PAGE_SIZE - offset, count - done)
    const p = yield* ops.write_begin(mapping, at, bytes)
    if (typeof p === 'number') return leave(k, t, done || p)
    copy(p.at + offset, bytes, done)
    ops.write_end(mapping, p, at, bytes)
    done += bytes
    yield* ops.balance(mapping)
  }
  return leave(k, t, done)
}

// ---------------------------------------------------------------- write-back of a range

/** Begins the write-back of a range of bytes. */
export function* __filemap_fdatawrite_range(
  mapping: address_space,
  range_start: number,
  range_end: number,
  sync_mode: number,
): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, '__filemap_fdatawrite_range')
  const wbc: writeback_control = {
    sync_mode,
    for_sync: false,
    nr_to_write: LONG_MAX,
    range_start,
    range_end,
  }
  return leave(k, t, yield* do_writepages(mapping, wbc))
}

/** The error of a write that has failed since it was last asked for, as -errno. */
export function filemap_check_errors(mapping: address_space): number {
  const error = mapping.wb_err
  mapping.wb_err = 0
  return error
}

/** Sleeps until nothing of the range is under write-back: 0 or -errno. */
export function* filemap_fdatawait_range(
  mapping: address_space,
  range_start: number,
  range_end: number,
): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, 'filemap_fdatawait_range')
  const [first, last] = [Math.floor(range_start / PAGE_SIZE), Math.floor(range_end / PAGE_SIZE)]
  for (const p of [...mapping.under_writeback])
    if (p.index >= first && p.index <= last) yield* wait_on_page_writeback(p)
  return leave(k, t, filemap_check_errors(mapping))
}

/** Writes a range and waits for it: 0 or -errno. A file without pages in the cache has nothing to write. */
export function* filemap_write_and_wait_range(
  mapping: address_space,
  range_start: number,
  range_end: number,
): Sleep<number> {
  const { k } = mapping.mm
  const t = enter(k, 'filemap_write_and_wait_range')
  let error = 0
  if (mapping.pages.size > 0) {
    error = yield* __filemap_fdatawrite_range(mapping, range_start, range_end, WB_SYNC_ALL)
    const waited = yield* filemap_fdatawait_range(mapping, range_start, range_end)
    error ||= waited
  }
  return leave(k, t, error)
}

/** Writes everything of a file and waits for it: 0 or -errno. */
export function* filemap_write_and_wait(mapping: address_space): Sleep<number> {
  const last = mapping.host.i_size - 1
  const wbc: writeback_control = {
    sync_mode: WB_SYNC_ALL,
    for_sync: false,
    nr_to_write: LONG_MAX,
    range_start: 0,
    range_end: last,
  }
  const error = yield* do_writepages(mapping, wbc)
  const waited = yield* filemap_fdatawait_range(mapping, 0, last)
  return error || waited
}

/** The file goes: so do its pages, all of them clean. `release` is told of each that a disk block is known of. */
export function truncate_inode_pages(mapping: address_space, release: (p: page) => void): void {
  for (const p of [...mapping.pages.values()]) {
    if (p.mapped) release(p)
    remove_page(p)
  }
}

/** Direct I/O has written a range: the cache forgets its clean pages of it. */
export function invalidate_inode_pages2_range(
  mapping: address_space,
  range_start: number,
  range_end: number,
): void {
  const { k } = mapping.mm
  const t = enter(k, 'invalidate_inode_pages2_range')
  const [first, last] = [Math.floor(range_start / PAGE_SIZE), Math.floor(range_end / PAGE_SIZE)]
  for (const p of [...mapping.pages.values()])
    if (p.index >= first && p.index <= last && evictable(p)) remove_page(p)
  leave(k, t)
}
