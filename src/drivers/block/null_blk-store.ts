// What a memory-backed null_blk remembers: drivers/block/null_blk_main.c of Linux 4.19, the part about pages.
//
// Two trees of pages, by page number (sector >> 3): `data`, and `cache` for a disk with cache_size. A page has 4096 bytes
// and a map of ten bits: eight say which sectors hold data, NULLB_PAGE_LOCK that it is being written back,
// NULLB_PAGE_FREE that it was dropped meanwhile.
//
//   write     the page of the cache, or of the data, or a new one (in the cache, unless FUA); FUA takes the sector out of the cache
//   read      cache first, then data; no page, or its bit is clear: zeros
//   discard   clears bits in both trees; a page without bits is freed
//   flush     the cache is written back until it is empty
//
// Data move in units of a block, and only the bit of a unit's first sector counts, as in Linux. Room in the cache is made
// before each block: up to 16 pages in order of their numbers from cache_flush_pos on are written back, until there is
// enough. The trees belong to one thread, which stands in for nullb->lock.

import { ENOSPC } from '../../kernel/errno.js'
import { enter, leave, type TraceHost } from '../../kernel/trace.js'

export const PAGE_SIZE = 4096
const SECTOR_SHIFT = 9
const PAGE_SECTORS = 8
const SECTOR_MASK = 7
const SECTORS_MAP = 0xff
const NULLB_PAGE_FREE = 1 << 8
const NULLB_PAGE_LOCK = 1 << 9
const FREE_BATCH = 16

/** struct nullb_page. */
export class nullb_page {
  readonly index: number
  readonly bytes: Uint8Array = new Uint8Array(PAGE_SIZE)
  bitmap = 0

  constructor(index: number) {
    this.index = index
  }
}

/** Pages by number; numbers in order are asked for by the cache only. */
export class nullb_tree {
  readonly pages: Map<number, nullb_page> = new Map()
  #order: number[] | null = null

  get(index: number): nullb_page | undefined {
    return this.pages.get(index)
  }

  insert(page: nullb_page): void {
    this.pages.set(page.index, page)
    this.#order = null
  }

  delete(index: number): void {
    this.pages.delete(index)
  }

  /** Up to `count` pages from number `from` on, in order. */
  gang_lookup(from: number, count: number): nullb_page[] {
    this.#order ??= [...this.pages.keys()].sort((a, b) => a - b)
    const order = this.#order
    let low = 0
    for (let high = order.length; low < high; ) {
      const middle = (low + high) >> 1
      if (order[middle]! >= from) high = middle
      else low = middle + 1
    }
    const found: nullb_page[] = []
    for (; low < order.length && found.length < count; low++) {
      const page = this.pages.get(order[low]!)
      if (page !== undefined) found.push(page)
    }
    return found
  }
}

/** The storage of one disk. */
export class nullb_store {
  readonly k: TraceHost
  readonly data: nullb_tree = new nullb_tree()
  cache: nullb_tree = new nullb_tree()
  /** Bytes of a block. */
  readonly blocksize: number
  /** Bytes of the write cache; 0 = none. */
  cache_size = 0
  /** Bytes of the pages in the cache. */
  curr_cache = 0
  cache_flush_pos = 0
  /** Pages that both trees may have together. */
  readonly #most: number

  /** @param mem_bytes what the pages may take */
  constructor(k: TraceHost, blocksize: number, mem_bytes: number) {
    this.k = k
    this.blocksize = blocksize
    this.#most = Math.floor(mem_bytes / PAGE_SIZE)
  }

  get full(): boolean {
    return this.data.pages.size + this.cache.pages.size >= this.#most
  }
}

export function null_cache_active(nullb: nullb_store): boolean {
  return nullb.cache_size > 0
}

function __null_lookup_page(
  nullb: nullb_store,
  sector: number,
  for_write: boolean,
  is_cache: boolean,
): nullb_page | undefined {
  const root = is_cache ? nullb.cache : nullb.data
  const page = root.get(Math.floor(sector / PAGE_SECTORS))
  if (page === undefined) return undefined
  return for_write || page.bitmap & (1 << (sector & SECTOR_MASK)) ? page : undefined
}

/** The page that a sector is read from, or written to. */
export function null_lookup_page(
  nullb: nullb_store,
  sector: number,
  for_write: boolean,
  ignore_cache: boolean,
): nullb_page | undefined {
  const cached = ignore_cache ? undefined : __null_lookup_page(nullb, sector, for_write, true)
  return cached ?? __null_lookup_page(nullb, sector, for_write, false)
}

/** The page that a sector is written to, made if it is missing; undefined when memory is used up. */
export function null_insert_page(
  nullb: nullb_store,
  sector: number,
  ignore_cache: boolean,
): nullb_page | undefined {
  const t = enter(nullb.k, 'null_insert_page')
  const found = null_lookup_page(nullb, sector, true, ignore_cache)
  if (found !== undefined || nullb.full) return leave(nullb.k, t, found)
  const page = new nullb_page(Math.floor(sector / PAGE_SECTORS))
  if (ignore_cache) nullb.data.insert(page)
  else {
    nullb.cache.insert(page)
    nullb.curr_cache += PAGE_SIZE
  }
  return leave(nullb.k, t, page)
}

function null_page_empty(page: nullb_page): boolean {
  return (page.bitmap & SECTORS_MAP) === 0
}

/** A sector holds nothing any more; a page without sectors goes. */
export function null_free_sector(nullb: nullb_store, sector: number, is_cache: boolean): void {
  const root = is_cache ? nullb.cache : nullb.data
  const page = root.get(Math.floor(sector / PAGE_SECTORS))
  if (page === undefined) return
  page.bitmap &= ~(1 << (sector & SECTOR_MASK))
  if (!null_page_empty(page)) return
  root.delete(page.index)
  page.bitmap |= NULLB_PAGE_FREE
  if (is_cache) nullb.curr_cache -= PAGE_SIZE
}

// ---------------------------------------------------------------- the cache is written back

/** Writes a page of the cache back: 0, or -errno. */
function null_flush_cache_page(nullb: nullb_store, c_page: nullb_page): number {
  const first = c_page.index * PAGE_SECTORS
  c_page.bitmap &= ~NULLB_PAGE_LOCK
  nullb.cache.delete(c_page.index)
  const t_page = null_insert_page(nullb, first, true)
  if (t_page === undefined) {
    nullb.cache.insert(c_page)
    return -ENOSPC
  }
  const step = nullb.blocksize >> SECTOR_SHIFT
  for (let i = 0; i < PAGE_SECTORS; i += step) {
    if ((c_page.bitmap & (1 << i)) === 0) continue
    const from = i << SECTOR_SHIFT
    t_page.bytes.set(c_page.bytes.subarray(from, from + nullb.blocksize), from)
    t_page.bitmap |= 1 << i
  }
  nullb.curr_cache -= PAGE_SIZE
  return 0
}

/** Takes up to 16 pages for writing back. */
function lockBatch(nullb: nullb_store): nullb_page[] {
  const pages = nullb.cache.gang_lookup(nullb.cache_flush_pos, FREE_BATCH)
  for (const page of pages) {
    nullb.cache_flush_pos = page.index
    page.bitmap |= NULLB_PAGE_LOCK
  }
  return pages
}

/** Makes room for `n` bytes in the cache: 0, or -errno. */
export function null_make_cache_space(nullb: nullb_store, n: number): number {
  const t = enter(nullb.k, 'null_make_cache_space')
  let flushed = 0
  while (flushed < n) {
    if (nullb.cache_size > nullb.curr_cache + n || nullb.curr_cache === 0) break
    const pages = lockBatch(nullb)
    if (pages.length === 0) nullb.cache_flush_pos = 0
    for (const page of pages) {
      const err = null_flush_cache_page(nullb, page)
      if (err !== 0) return leave(nullb.k, t, err)
      flushed += PAGE_SIZE
    }
  }
  return leave(nullb.k, t, 0)
}

/** Empties the cache: 0, or -errno. */
export function null_handle_flush(nullb: nullb_store): number {
  const t = enter(nullb.k, 'null_handle_flush')
  let err = 0
  while (null_cache_active(nullb) && err === 0) {
    err = null_make_cache_space(nullb, nullb.cache_size)
    if (nullb.curr_cache === 0) break
  }
  return leave(nullb.k, t, err)
}

// ---------------------------------------------------------------- data

/** Bytes from `done` on that move at once: a block, but never across a page. */
function unit(nullb: nullb_store, sector: number, left: number): number {
  const room = PAGE_SIZE - ((sector & SECTOR_MASK) << SECTOR_SHIFT)
  return Math.min(nullb.blocksize, left, room)
}

/** Writes bytes from a sector on: 0, or -errno. */
export function copy_to_nullb(
  nullb: nullb_store,
  source: Uint8Array,
  sector: number,
  is_fua: boolean,
): number {
  const cached = null_cache_active(nullb) && !is_fua
  for (let done = 0; done < source.length; ) {
    const bytes = unit(nullb, sector, source.length - done)
    if (cached) null_make_cache_space(nullb, PAGE_SIZE)
    const page = null_insert_page(nullb, sector, !cached)
    if (page === undefined) return -ENOSPC
    const at = (sector & SECTOR_MASK) << SECTOR_SHIFT
    page.bytes.set(source.subarray(done, done + bytes), at)
    page.bitmap |= 1 << (sector & SECTOR_MASK)
    if (is_fua) null_free_sector(nullb, sector, true)
    done += bytes
    sector += bytes >> SECTOR_SHIFT
  }
  return 0
}

/** Reads bytes from a sector on. */
export function copy_from_nullb(nullb: nullb_store, dest: Uint8Array, sector: number): number {
  for (let done = 0; done < dest.length; ) {
    const bytes = unit(nullb, sector, dest.length - done)
    const page = null_lookup_page(nullb, sector, false, !null_cache_active(nullb))
    const at = (sector & SECTOR_MASK) << SECTOR_SHIFT
    if (page === undefined) dest.fill(0, done, done + bytes)
    else dest.set(page.bytes.subarray(at, at + bytes), done)
    done += bytes
    sector += bytes >> SECTOR_SHIFT
  }
  return 0
}

/** Forgets `bytes` from a sector on. */
export function null_handle_discard(nullb: nullb_store, sector: number, bytes: number): void {
  const step = nullb.blocksize >> SECTOR_SHIFT
  for (let left = bytes; left > 0; left -= nullb.blocksize) {
    null_free_sector(nullb, sector, false)
    if (null_cache_active(nullb)) null_free_sector(nullb, sector, true)
    sector += step
  }
}

/** Power-off: what is in the cache and was not written back is lost. */
export function null_free_cache(nullb: nullb_store): void {
  nullb.cache = new nullb_tree()
  nullb.curr_cache = 0
  nullb.cache_flush_pos = 0
}
