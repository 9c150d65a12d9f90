// Vector reads and writes of an open-channel device (revision 2.0) that are plain: src/device/ocssd/device.ts has all rules,
// and executes whatever is left to it here. The state of the media is in memory (OC_*), the same for both.
//
//   read    every sector can be read, reads never fail, the media take no time
//   write   one run of sectors at the write pointer of a chunk, which it opens or fills only if nobody counts the open
//           ones; writes never fail. A chunk that was never written is TypeScript's: it has no records yet
//
// A command that is not plain changes nothing here.

import {
  DSQ_BASE, CHUNK_CLOSED, CHUNK_FREE, CHUNK_OPEN, CHUNK_SEQUENTIAL, OCC_OOB, OCC_PAGE, OCC_SIZE, OCC_SPARE, OCC_WORD, OCF_CLOSE, OCF_READ, OCF_WRITE, OC_CHUNKS, OC_CHUNK_BITS,
  OC_CLBA, OC_DATA, OC_END, OC_FLAGS, OC_FREE, OC_GROUPS, OC_MW_CUNITS, OC_NEXT, OC_PUS, OC_PU_BITS, OC_READS,
  OC_ROOM, OC_SECTORS_READ, OC_SECTORS_WRITTEN, OC_SEC_BITS, OC_STATE, OC_TIGHT, OC_TOUCHED, OC_TYPE, OC_USED, OC_WP, OC_WRITES, OC_WS_MIN,
  PAGE_SIZE,
} from './layout'
import { SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_MPTR, SQE_PRP1, SQE_PRP2 } from './nvme'
import { reachable } from './prp'

export const OCSSD_WRITE: u32 = 0x91
export const OCSSD_READ: u32 = 0x92
const PAGE_MASK: u32 = PAGE_SIZE - 1
const MAX_VECTOR: u32 = 64
const OOB: u32 = 16
const NOWHERE: u64 = u64.MAX_VALUE

// @ts-ignore: decorator
@inline
function count(counter: u32, n: u32): void {
  store<f64>(counter, load<f64>(counter) + <f64>n)
}

/** Chunk << 32 | sector of an address; NOWHERE if a field is too large. */
// @ts-ignore: decorator
@inline
function place_of(oc: u32, address: u64): u64 {
  const sec_bits = load<u32>(oc, OC_SEC_BITS)
  const chunk_bits = load<u32>(oc, OC_CHUNK_BITS)
  const pu_bits = load<u32>(oc, OC_PU_BITS)
  const sector = <u32>(address & (((<u64>1) << sec_bits) - 1))
  const above = address >> sec_bits
  const chunk = <u32>(above & (((<u64>1) << chunk_bits) - 1))
  const unit = above >> chunk_bits
  const pu = <u32>(unit & (((<u64>1) << pu_bits) - 1))
  const group = unit >> pu_bits
  const pus = load<u32>(oc, OC_PUS)
  const chunks = load<u32>(oc, OC_CHUNKS)
  if (sector >= load<u32>(oc, OC_CLBA) || chunk >= chunks || pu >= pus || group >= load<u32>(oc, OC_GROUPS)) return NOWHERE
  return <u64>((<u32>group * pus + pu) * chunks + chunk) << 32 | sector
}

/** Whether out-of-band data of `n` sectors are in reach, if there are any. */
// @ts-ignore: decorator
@inline
function reachable_oob(dev: u32, oob: u64, n: u32): bool {
  return !(oob & 3) && (!oob || reachable(dev, oob, n * OOB))
}

/** The list of a command's addresses; 0 if it is out of reach. */
// @ts-ignore: decorator
@inline
function address_list(dev: u32, sqe: u32, n: u32): u32 {
  if (n == 1) return sqe + SQE_CDW10
  const list = load<u64>(sqe, SQE_CDW10)
  return list & 7 || !reachable(dev, list, n << 3) ? 0 : <u32>list
}

/** Where the data pages of a command beyond the first are listed, if all `n` are whole and in reach; 0: they are not. */
function page_list(dev: u32, sqe: u32, n: u32): u32 {
  let list = sqe + SQE_PRP2
  if (n > 2) {
    const prp2 = load<u64>(sqe, SQE_PRP2)
    const bytes = (n - 1) << 3
    if (prp2 & 7 || (<u32>prp2 & PAGE_MASK) + bytes > <u32>PAGE_SIZE || !reachable(dev, prp2, bytes)) return 0
    list = <u32>prp2
  }
  for (let i: u32 = 0; i < n; i++) {
    const page = i ? load<u64>(list + ((i - 1) << 3)) : load<u64>(sqe, SQE_PRP1)
    if (page & PAGE_MASK || !reachable(dev, page, PAGE_SIZE)) return 0
  }
  return list
}

// @ts-ignore: decorator
@inline
function data_page(sqe: u32, list: u32, i: u32): u32 {
  return <u32>(i ? load<u64>(list + ((i - 1) << 3)) : load<u64>(sqe, SQE_PRP1))
}

/** Whether an OCC_PAGE is a page with what the sector holds. */
// @ts-ignore: decorator
@inline
function is_data(page: u32): bool {
  return page != 0 && !(page & OCC_SPARE)
}

/** The sectors of a chunk, if one of them can be read from the media now; else 0. */
// @ts-ignore: decorator
@inline
function readable(oc: u32, chunk: u32, sector: u32): u32 {
  const state = load<u8>(load<u32>(oc, OC_STATE) + chunk)
  const wp = load<u32>(load<u32>(oc, OC_WP) + (chunk << 2))
  if (load<u8>(load<u32>(oc, OC_TYPE) + chunk) != CHUNK_SEQUENTIAL) return 0
  if (state == CHUNK_OPEN) {
    if (sector + load<u32>(oc, OC_MW_CUNITS) >= wp) return 0
  } else if (state != CHUNK_CLOSED || sector >= wp) return 0
  return load<u32>(load<u32>(oc, OC_DATA) + (chunk << 2))
}

function read_sector(sector: u32, to: u32, oob: u32): void {
  const page = load<u32>(sector, OCC_PAGE)
  if (is_data(page)) memory.copy(to, page, PAGE_SIZE)
  else {
    const word = load<u32>(sector, OCC_WORD)
    for (let at = to; at < to + <u32>PAGE_SIZE; at += 4) store<u32>(at, word)
  }
  if (!oob) return
  store<u64>(oob, load<u64>(sector, OCC_OOB))
  store<u64>(oob, load<u64>(sector, OCC_OOB + 8), 8)
}

/** Asks memory for what a sector's page begins with. */
// @ts-ignore: decorator
@inline
function touch(oc: u32, page: u32): void {
  if (is_data(page)) store<u32>(oc, load<u32>(page), OC_TOUCHED)
}

/**
 * The reads of one sector among the entries of a queue from `head` to before `end`: their sectors are in no cache, and memory
 * has several of them in the time of one.
 */
export function ocssd_look_ahead(oc: u32, dsq: u32, head: u32, end: u32): void {
  const base = load<u32>(dsq, DSQ_BASE)
  const table = load<u32>(oc, OC_DATA)
  for (let i = head; i < end; i++) {
    const sqe = base + i * SQE_BYTES
    if (load<u8>(sqe, SQE_CDW0) != OCSSD_READ || load<u16>(sqe, SQE_CDW12)) continue
    const place = place_of(oc, load<u64>(sqe, SQE_CDW10))
    const data: u32 = place == NOWHERE ? 0 : load<u32>(table + (<u32>(place >> 32) << 2))
    if (data) touch(oc, load<u32>(data + <u32>place * OCC_SIZE, OCC_PAGE))
  }
}

/** A read of one sector, which has neither a list of addresses nor one of pages. */
function read_one(dev: u32, oc: u32, sqe: u32): bool {
  const page = load<u64>(sqe, SQE_PRP1)
  const oob = load<u64>(sqe, SQE_MPTR)
  if (<u32>page & PAGE_MASK || !reachable(dev, page, PAGE_SIZE) || !reachable_oob(dev, oob, 1)) return false
  const place = place_of(oc, load<u64>(sqe, SQE_CDW10))
  const data: u32 = place == NOWHERE ? 0 : readable(oc, <u32>(place >> 32), <u32>place)
  if (!data) return false
  read_sector(data + <u32>place * OCC_SIZE, <u32>page, <u32>oob)
  count(oc + OC_READS, 1)
  count(oc + OC_SECTORS_READ, 1)
  return true
}

function vector_read(oc: u32, sqe: u32, n: u32, addresses: u32, pages: u32, oob: u32): bool {
  for (let i: u32 = 0; i < n; i++) {
    const place = place_of(oc, load<u64>(addresses + (i << 3)))
    const data: u32 = place == NOWHERE ? 0 : readable(oc, <u32>(place >> 32), <u32>place)
    if (!data) return false
    touch(oc, load<u32>(data + <u32>place * OCC_SIZE, OCC_PAGE))
  }
  const table = load<u32>(oc, OC_DATA)
  for (let i: u32 = 0; i < n; i++) {
    const place = place_of(oc, load<u64>(addresses + (i << 3)))
    const data = load<u32>(table + (<u32>(place >> 32) << 2))
    read_sector(data + <u32>place * OCC_SIZE, data_page(sqe, pages, i), oob ? oob + i * OOB : 0)
  }
  count(oc + OC_READS, 1)
  count(oc + OC_SECTORS_READ, n)
  return true
}

/** Whether a sector is its first word over and over. */
// @ts-ignore: decorator
@inline
function is_one_word(from: u32): bool {
  const word = load<u32>(from)
  const both = <u64>word | <u64>word << 32
  for (let at = from; at < from + <u32>PAGE_SIZE; at += 8) if (load<u64>(at) != both) return false
  return true
}

/** A page that no sector keeps. The caller has seen that there is one. */
function take_page(oc: u32): u32 {
  let page = load<u32>(oc, OC_FREE)
  if (page) store<u32>(oc, load<u32>(page), OC_FREE)
  else {
    page = load<u32>(oc, OC_NEXT)
    store<u32>(oc, page + PAGE_SIZE, OC_NEXT)
  }
  return page
}

/** Whether pages for `n` sectors are left, whatever these keep. */
// @ts-ignore: decorator
@inline
function has_pages(oc: u32, n: u32): bool {
  if (load<u32>(oc, OC_TIGHT)) return load<u32>(oc, OC_USED) + n <= load<u32>(oc, OC_ROOM)
  return n <= (load<u32>(oc, OC_END) - load<u32>(oc, OC_NEXT)) / PAGE_SIZE
}

/** The page that a sector's data go to: the one that it kept of what it held before, or another one. */
function page_for(oc: u32, sector: u32): u32 {
  const kept = load<u32>(sector, OCC_PAGE)
  const page = kept ? kept & ~OCC_SPARE : take_page(oc)
  store<u32>(sector, page, OCC_PAGE)
  store<u32>(oc, load<u32>(oc, OC_USED) + 1, OC_USED)
  return page
}

/** What is known of a sector beside its data. */
// @ts-ignore: decorator
@inline
function write_oob(sector: u32, oob: u32): void {
  store<u64>(sector, oob ? load<u64>(oob) : 0, OCC_OOB)
  store<u64>(sector, oob ? load<u64>(oob, 8) : 0, OCC_OOB + 8)
}

/** Writes `n` fresh sectors from the one at `sector` on. Neighbours in memory on both sides go in one copy. */
function write_sectors(oc: u32, sector: u32, n: u32, sqe: u32, pages: u32, oob: u32): void {
  let to: u32 = 0
  let from: u32 = 0
  let bytes: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    const data = data_page(sqe, pages, i)
    write_oob(sector, oob ? oob + i * OOB : 0)
    if (is_one_word(data)) store<u32>(sector, load<u32>(data), OCC_WORD)
    else {
      const page = page_for(oc, sector)
      if (page != to + bytes || data != from + bytes) {
        memory.copy(to, from, bytes)
        to = page
        from = data
        bytes = 0
      }
      bytes += PAGE_SIZE
    }
    sector += OCC_SIZE
  }
  memory.copy(to, from, bytes)
}

/** Whether `n` sectors from a place on are the next of a chunk, and fresh. */
function writable(oc: u32, place: u64, n: u32, addresses: u32): bool {
  const chunk = <u32>(place >> 32)
  const sector = <u32>place
  const uncounted = (load<u32>(oc, OC_FLAGS) & OCF_CLOSE) != 0
  const state = load<u8>(load<u32>(oc, OC_STATE) + chunk)
  if (state != CHUNK_OPEN && !(uncounted && state == CHUNK_FREE)) return false
  if (load<u8>(load<u32>(oc, OC_TYPE) + chunk) != CHUNK_SEQUENTIAL) return false
  if (load<u32>(load<u32>(oc, OC_WP) + (chunk << 2)) != sector || n % load<u32>(oc, OC_WS_MIN)) return false
  const clba = load<u32>(oc, OC_CLBA)
  if (sector + n > clba || (sector + n == clba && !uncounted)) return false
  const first = load<u64>(addresses)
  const data = load<u32>(load<u32>(oc, OC_DATA) + (chunk << 2))
  if (!data) return false
  for (let i: u32 = 0; i < n; i++) {
    const page = load<u32>(data + (sector + i) * OCC_SIZE, OCC_PAGE)
    if (load<u64>(addresses + (i << 3)) != first + i || is_data(page)) return false
    if (page) store<u32>(oc, load<u32>(page & ~OCC_SPARE), OC_TOUCHED)
  }
  return true
}

function vector_write(oc: u32, sqe: u32, n: u32, addresses: u32, pages: u32, oob: u32): bool {
  const place = place_of(oc, load<u64>(addresses))
  if (place == NOWHERE || !writable(oc, place, n, addresses) || !has_pages(oc, n)) return false
  const chunk = <u32>(place >> 32)
  const sector = <u32>place
  const data = load<u32>(load<u32>(oc, OC_DATA) + (chunk << 2))
  write_sectors(oc, data + sector * OCC_SIZE, n, sqe, pages, oob)
  store<u32>(load<u32>(oc, OC_WP) + (chunk << 2), sector + n)
  store<u8>(load<u32>(oc, OC_STATE) + chunk, sector + n == load<u32>(oc, OC_CLBA) ? CHUNK_CLOSED : CHUNK_OPEN)
  count(oc + OC_WRITES, 1)
  count(oc + OC_SECTORS_WRITTEN, n)
  return true
}

/** Executes a vector command. False: it is not plain, and nothing was done. */
export function ocssd_execute(dev: u32, oc: u32, sqe: u32, opcode: u32): bool {
  const wanted: u32 = opcode == OCSSD_READ ? OCF_READ : opcode == OCSSD_WRITE ? OCF_WRITE : 0
  if (!(load<u32>(oc, OC_FLAGS) & wanted)) return false
  const n: u32 = <u32>load<u16>(sqe, SQE_CDW12) + 1
  if (n > MAX_VECTOR) return false
  if (n == 1 && opcode == OCSSD_READ) return read_one(dev, oc, sqe)
  const addresses = address_list(dev, sqe, n)
  const oob = load<u64>(sqe, SQE_MPTR)
  if (!addresses || !reachable_oob(dev, oob, n)) return false
  const pages = page_list(dev, sqe, n)
  if (!pages) return false
  if (opcode == OCSSD_READ) return vector_read(oc, sqe, n, addresses, pages, <u32>oob)
  return vector_write(oc, sqe, n, addresses, pages, <u32>oob)
}
