// What a device remembers: sparse pages of 4 KiB behind a two-level table (a leaf of 1024 page
// addresses per 4 MiB). A page that was never written, or was trimmed, is not there and reads as
// zeros. All stores take pages from one pool, whose size is the machine's `mem=` budget.
//
// With several threads (ST_SHARED) leaves and pages appear by compare-and-swap: the loser gives its
// page back. Trimmed pages are then zeroed in place, because another thread may be reading them.
// Two commands in flight on the same block at the same time may mix, as on a real drive.

import {
  PAGE_SIZE, POOL_END, POOL_FREE, POOL_FULL, POOL_LOCK, POOL_NEXT, POOL_USED, ST_DIR,
  ST_POOL, ST_SHARED,
} from './layout'
import { lock, unlock } from './lock'

const LEAF_SHIFT: u64 = 22
const OFFSET_MASK: u32 = PAGE_SIZE - 1

/** A page of the pool, its content undefined; 0 when the budget is spent. */
function pool_get(pool: u32): u32 {
  lock(pool + POOL_LOCK)
  let page = load<u32>(pool, POOL_FREE)
  if (page) {
    store<u32>(pool, load<u32>(page), POOL_FREE)
  } else {
    page = load<u32>(pool, POOL_NEXT)
    if (page == load<u32>(pool, POOL_END)) {
      store<u32>(pool, 1, POOL_FULL)
      page = 0
    } else {
      store<u32>(pool, page + PAGE_SIZE, POOL_NEXT)
    }
  }
  if (page) store<u32>(pool, load<u32>(pool, POOL_USED) + 1, POOL_USED)
  unlock(pool + POOL_LOCK)
  return page
}

function pool_put(pool: u32, page: u32): void {
  lock(pool + POOL_LOCK)
  store<u32>(page, load<u32>(pool, POOL_FREE))
  store<u32>(pool, page, POOL_FREE)
  store<u32>(pool, load<u32>(pool, POOL_USED) - 1, POOL_USED)
  unlock(pool + POOL_LOCK)
}

/** Puts a fresh zeroed page at a table slot, unless another thread was first. 0: no page. */
function fill_slot(st: u32, slot: u32): u32 {
  const pool = load<u32>(st, ST_POOL)
  const page = pool_get(pool)
  if (!page) return 0
  memory.fill(page, 0, PAGE_SIZE)
  if (!load<u32>(st, ST_SHARED)) {
    store<u32>(slot, page)
    return page
  }
  const other = atomic.cmpxchg<u32>(slot, 0, page)
  if (!other) return page
  pool_put(pool, page)
  return other
}

/** The page that holds byte `at`, 0 if it is not there. */
// @ts-ignore: decorator
@inline
export function find_page(st: u32, at: u64): u32 {
  const leaf = load<u32>(load<u32>(st, ST_DIR) + (<u32>(at >> LEAF_SHIFT) << 2))
  return leaf ? load<u32>(leaf + ((<u32>at >> 10) & 0xffc)) : 0
}

/** The same, made if it is missing; 0 when the budget is spent. */
export function make_page(st: u32, at: u64): u32 {
  const slot = load<u32>(st, ST_DIR) + (<u32>(at >> LEAF_SHIFT) << 2)
  let leaf = load<u32>(slot)
  if (!leaf) {
    leaf = fill_slot(st, slot)
    if (!leaf) return 0
  }
  const entry = leaf + ((<u32>at >> 10) & 0xffc)
  const page = load<u32>(entry)
  return page ? page : fill_slot(st, entry)
}

/** Copies `len` bytes, within one page of the store, from the store to memory. */
// @ts-ignore: decorator
@inline
export function store_read(st: u32, at: u64, to: u32, len: u32): void {
  const page = find_page(st, at)
  if (page) memory.copy(to, page + (<u32>at & OFFSET_MASK), len)
  else memory.fill(to, 0, len)
}

/** Copies `len` bytes, within one page, from memory to the store; false when the budget is spent. */
export function store_write(st: u32, at: u64, from: u32, len: u32): bool {
  const page = make_page(st, at)
  if (!page) return false
  memory.copy(page + (<u32>at & OFFSET_MASK), from, len)
  return true
}

/** True if `len` bytes within one page equal those in memory. */
export function store_equals(st: u32, at: u64, with_: u32, len: u32): bool {
  const page = find_page(st, at)
  if (page) return memory.compare(page + (<u32>at & OFFSET_MASK), with_, len) == 0
  for (let i: u32 = 0; i < len; i++) if (load<u8>(with_ + i)) return false
  return true
}

/** Zeroes a range of any length; whole pages leave the store. */
export function store_zero(st: u32, at: u64, len: u64): void {
  const end = at + len
  while (at < end) {
    const part = min<u64>(PAGE_SIZE - (at & OFFSET_MASK), end - at)
    zero_in_page(st, at, <u32>part)
    at += part
    if (!(at & OFFSET_MASK)) at = skip_empty(st, at, end)
  }
}

/** From a page boundary, goes on to the first leaf that exists. */
function skip_empty(st: u32, at: u64, end: u64): u64 {
  const dir = load<u32>(st, ST_DIR)
  while (at < end && !load<u32>(dir + (<u32>(at >> LEAF_SHIFT) << 2))) {
    at = ((at >> LEAF_SHIFT) + 1) << LEAF_SHIFT
  }
  return at
}

function zero_in_page(st: u32, at: u64, len: u32): void {
  const page = find_page(st, at)
  if (!page) return
  if (len < <u32>PAGE_SIZE || load<u32>(st, ST_SHARED)) {
    memory.fill(page + (<u32>at & OFFSET_MASK), 0, len)
    return
  }
  const leaf = load<u32>(load<u32>(st, ST_DIR) + (<u32>(at >> LEAF_SHIFT) << 2))
  store<u32>(leaf + ((<u32>at >> 10) & 0xffc), 0)
  pool_put(load<u32>(st, ST_POOL), page)
}

