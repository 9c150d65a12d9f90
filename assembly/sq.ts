// The NVMe driver's way down: drivers/nvme/host/pci.c and core.c of Linux 4.19, from queue_rq to the
// submission ring.
//
//   nvme_queue_rq      a request becomes a command
//   nvme_setup_cmd     opcode, blocks, flags (Read, Write, Flush, Dataset Management, Write Zeroes)
//   nvme_setup_prps    where its data lie
//   nvme_submit_cmd    the entry is complete: the tail moves on
//
// The entry is built in place, in the ring. A queue that several CPUs fill takes sq_lock from the
// choice of the slot to the doorbell; a queue with one CPU has no lock, and its doorbell waits for
// the end of the batch. Ring rule: of N entries N - 1 may be in use; the number of tags sees to it.

import {
  BIO_DATA, BIO_NEXT, BIO_SECTOR, BIO_SIZE, HC_DRIVER_DATA, NQ_DEPTH, NQ_PRP_BASE, NQ_PRP_FREE,
  NQ_PRP_LINKS, NQ_QID, NQ_SGL_THRESHOLD, NQ_SHARED, NQ_SQ, NQ_SUSPENDED, NQ_SQ_LOCK, NQ_SQ_TAIL, PAGE_SHIFT, PAGE_SIZE, Q_LBA_SHIFT,
  Q_NSID, Q_PRINFO, RQ_BIO, RQ_CMD_FLAGS, RQ_DATA_LEN, RQ_FLAGS, RQ_NR_SEGS, RQ_PRP_LIST, RQ_Q, RQ_SECTOR, RQ_SQE,
  RQ_TAG, SECTOR_SHIFT,
} from './layout'
import {
  BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, DSM_RANGE_BYTES, NVME_CMD_DSM, NVME_CMD_FLUSH,
  NVME_CMD_READ, NVME_CMD_WRITE, NVME_CMD_WRITE_ZEROES, NVME_DSMGMT_AD, NVME_RW_FUA, NVME_RW_LR, NVME_RW_PREFETCH, NVME_RW_PRINFO_PRCHK_REF, REQ_FAILFAST_DEV, REQ_FUA, REQ_RAHEAD,
  REQ_OP_DISCARD, REQ_OP_DRV_IN, REQ_OP_DRV_OUT, REQ_OP_FLUSH, REQ_OP_MASK, REQ_OP_READ,
  REQ_OP_WRITE, REQ_OP_WRITE_ZEROES, RQF_SPECIAL_PAYLOAD, SQE_BYTES, SQE_CDW0, SQE_CDW10,
  SQE_CDW12, SQE_CDW14, SQE_CDW2, SQE_FLAGS_SGL, SQE_MPTR, SQE_NSID, SQE_PRP1, SQE_PRP2,
  SGL_BYTES, SGL_DATA, SGL_LAST_SEGMENT,
} from './nvme'
import { EV_nvme_setup_cmd, FN_blk_rq_map_sg, FN_nvme_queue_rq, FN_nvme_setup_cmd, FN_nvme_submit_cmd } from './trace-names'
import { nvme_list_doorbell, nvme_write_sq_db } from './doorbell'
import { lock, unlock } from './lock'
import { enter, entered, leave, nvme_event } from './trace'
import { blk_mq_start_request, pair } from './request'

const PAGE: u32 = PAGE_SIZE
const PAGE_MASK: u32 = PAGE_SIZE - 1
const LAST_SLOT: u32 = PAGE_SIZE - 8

// ---------------------------------------------------------------- list pages

/** Where the link of a list page stands: links are kept apart, the device owns the page itself. */
function prp_link(nq: u32, page: u32): u32 {
  return load<u32>(nq, NQ_PRP_LINKS) + (((page - load<u32>(nq, NQ_PRP_BASE)) >> PAGE_SHIFT) << 2)
}

/** Makes `count` list pages at `base` free; `links` has a u32 for each. */
export function nvme_init_prp_pool(nq: u32, base: u32, links: u32, count: u32): void {
  store<u32>(nq, base, NQ_PRP_BASE)
  store<u32>(nq, links, NQ_PRP_LINKS)
  store<u32>(nq, 0, NQ_PRP_FREE)
  for (let i = count; i; i--) {
    store<u32>(links + ((i - 1) << 2), load<u32>(nq, NQ_PRP_FREE))
    store<u32>(nq, base + ((i - 1) << PAGE_SHIFT), NQ_PRP_FREE)
  }
}

/** Takes one more page for a request; 0 when none is free. The queue's lock is held. */
function prp_page_add(nq: u32, rq: u32): u32 {
  const page = load<u32>(nq, NQ_PRP_FREE)
  if (!page) return 0
  const link = prp_link(nq, page)
  store<u32>(nq, load<u32>(link), NQ_PRP_FREE)
  store<u32>(link, load<u32>(rq, RQ_PRP_LIST))
  store<u32>(rq, page, RQ_PRP_LIST)
  return page
}

/** Gives back the list pages of a request (nvme_unmap_data). */
export function nvme_unmap_data(nq: u32, rq: u32): void {
  let page = load<u32>(rq, RQ_PRP_LIST)
  if (!page) return
  store<u32>(rq, 0, RQ_PRP_LIST)
  const shared = load<u32>(nq, NQ_SHARED)
  if (shared) lock(nq + NQ_SQ_LOCK)
  while (page) {
    const link = prp_link(nq, page)
    const next = load<u32>(link)
    store<u32>(link, load<u32>(nq, NQ_PRP_FREE))
    store<u32>(nq, page, NQ_PRP_FREE)
    page = next
  }
  if (shared) unlock(nq + NQ_SQ_LOCK)
}

// ---------------------------------------------------------------- data

/** One bio in one or two pages: PRP1 and PRP2 hold it. */
export function nvme_setup_prp_simple(sqe: u32, addr: u32, len: u32): void {
  const first = PAGE - (addr & PAGE_MASK)
  store<u64>(sqe, addr, SQE_PRP1)
  store<u64>(sqe, len > first ? addr + first : 0, SQE_PRP2)
}

/** Writes a list entry, going on in a fresh page if this one is full. Returns the next slot, 0: none. */
function prp_list_add(nq: u32, rq: u32, slot: u32, addr: u32, more: bool): u32 {
  if ((slot & PAGE_MASK) == LAST_SLOT && more) {
    const page = prp_page_add(nq, rq)
    if (!page) return 0
    store<u64>(slot, page)
    slot = page
  }
  store<u64>(slot, addr)
  return slot + 8
}

/** Any number of pages from any number of bios (they begin and end on page boundaries inside). */
function nvme_setup_prps(nq: u32, rq: u32, sqe: u32, len: u32): bool {
  let bio = load<u32>(rq, RQ_BIO)
  let addr = load<u32>(bio, BIO_DATA)
  let left = load<u32>(bio, BIO_SIZE)
  store<u64>(sqe, addr, SQE_PRP1)
  let part = min<u32>(left, PAGE_SIZE - (addr & PAGE_MASK))
  let rest = len - part
  const single = rest <= PAGE
  let slot = sqe + SQE_PRP2
  if (!single) {
    slot = prp_page_add(nq, rq)
    if (!slot) return false
    store<u64>(sqe, slot, SQE_PRP2)
  } else store<u64>(slot, 0)
  while (rest) {
    left -= part
    addr += part
    if (!left) {
      bio = load<u32>(bio, BIO_NEXT)
      addr = load<u32>(bio, BIO_DATA)
      left = load<u32>(bio, BIO_SIZE)
    }
    part = min<u32>(left, PAGE_SIZE)
    if (single) store<u64>(slot, addr)
    else {
      slot = prp_list_add(nq, rq, slot, addr, rest > PAGE)
      if (!slot) return false
    }
    rest -= part
  }
  return true
}

// @ts-ignore: decorator
@inline
function nvme_map_data(nq: u32, rq: u32, sqe: u32, len: u32): bool {
  const bio = load<u32>(rq, RQ_BIO)
  const addr = load<u32>(bio, BIO_DATA)
  if (load<u32>(bio, BIO_SIZE) == len && (addr & PAGE_MASK) + len <= 2 * PAGE) {
    nvme_setup_prp_simple(sqe, addr, len)
    return true
  }
  const threshold = load<u32>(nq, NQ_SGL_THRESHOLD)
  if (threshold && (len + load<u32>(rq, RQ_NR_SEGS) - 1) / load<u32>(rq, RQ_NR_SEGS) >= threshold) {
    return nvme_pci_setup_sgls(nq, rq, sqe)
  }
  return nvme_setup_prps(nq, rq, sqe, len)
}

/** A descriptor of 16 bytes: address, length, type. */
function sgl_set(at: u32, addr: u32, len: u32, type: u32): void {
  store<u64>(at, addr)
  store<u64>(at, <u64>len | (<u64>type << 56), 8)
}

/** A data block in the command for one segment; for more, their list in a page (127 segments at most: it holds them). */
function nvme_pci_setup_sgls(nq: u32, rq: u32, sqe: u32): bool {
  store<u8>(sqe, SQE_FLAGS_SGL, 1)
  let bio = load<u32>(rq, RQ_BIO)
  if (!load<u32>(bio, BIO_NEXT)) {
    sgl_set(sqe + SQE_PRP1, load<u32>(bio, BIO_DATA), load<u32>(bio, BIO_SIZE), SGL_DATA)
    return true
  }
  const page = prp_page_add(nq, rq)
  if (!page) return false
  let at = page
  while (bio) {
    sgl_set(at, load<u32>(bio, BIO_DATA), load<u32>(bio, BIO_SIZE), SGL_DATA)
    at += SGL_BYTES
    bio = load<u32>(bio, BIO_NEXT)
  }
  sgl_set(sqe + SQE_PRP1, page, at - page, SGL_LAST_SEGMENT)
  return true
}

// ---------------------------------------------------------------- commands

function blocks_of(q: u32, sectors: u64): u64 {
  return sectors >> (load<u32>(q, Q_LBA_SHIFT) - SECTOR_SHIFT)
}

/** Dwords 0 and 1, and the ones that no command of ours uses. */
// @ts-ignore: decorator
@inline
function nvme_begin(q: u32, rq: u32, sqe: u32, opcode: u32): void {
  store<u64>(sqe, pair(opcode | (load<u32>(rq, RQ_TAG) << 16), load<u32>(q, Q_NSID)), SQE_CDW0)
  store<u64>(sqe, 0, SQE_CDW2)
  store<u64>(sqe, 0, SQE_MPTR)
}

/** What flags of the request ask of the controller: to the medium, not too hard, more will be read. */
function rw_hints(opf: u32): u64 {
  const fua: u64 = opf & REQ_FUA ? NVME_RW_FUA : 0
  const limited: u64 = opf & (REQ_FAILFAST_DEV | REQ_RAHEAD) ? NVME_RW_LR : 0
  const prefetch: u64 = opf & REQ_RAHEAD ? NVME_RW_PREFETCH : 0
  return fua | limited | (prefetch << 32)
}

// @ts-ignore: decorator
@inline
export function nvme_setup_rw(q: u32, rq: u32, sqe: u32, opcode: u32, opf: u32, len: u32): void {
  nvme_begin(q, rq, sqe, opcode)
  const shift = load<u32>(q, Q_LBA_SHIFT)
  const slba = load<u64>(rq, RQ_SECTOR) >> (shift - SECTOR_SHIFT)
  const prinfo = load<u32>(q, Q_PRINFO)
  store<u64>(sqe, slba, SQE_CDW10)
  const hints = opf & (REQ_FUA | REQ_FAILFAST_DEV | REQ_RAHEAD) ? rw_hints(opf) : 0
  store<u64>(sqe, <u64>(((len >> shift) - 1) | prinfo) | hints, SQE_CDW12) // and CDW13
  store<u64>(sqe, prinfo & NVME_RW_PRINFO_PRCHK_REF ? <u64><u32>slba : 0, SQE_CDW14) // reference tag
}

function nvme_setup_flush(q: u32, rq: u32, sqe: u32): void {
  nvme_begin(q, rq, sqe, NVME_CMD_FLUSH)
  memory.fill(sqe + SQE_PRP1, 0, SQE_BYTES - SQE_PRP1)
}

/** A discard carries a page of ranges, one for each of its bios. */
function nvme_setup_discard(nq: u32, q: u32, rq: u32, sqe: u32): bool {
  const page = prp_page_add(nq, rq)
  if (!page) return false
  let ranges: u32 = 0
  let bio = load<u32>(rq, RQ_BIO)
  while (bio) {
    const range = page + ranges * DSM_RANGE_BYTES
    store<u32>(range, 0)
    store<u32>(range, load<u32>(bio, BIO_SIZE) >> load<u32>(q, Q_LBA_SHIFT), 4)
    store<u64>(range, blocks_of(q, load<u64>(bio, BIO_SECTOR)), 8)
    ranges++
    bio = load<u32>(bio, BIO_NEXT)
  }
  memory.fill(sqe + SQE_PRP2, 0, SQE_BYTES - SQE_PRP2)
  nvme_begin(q, rq, sqe, NVME_CMD_DSM)
  store<u64>(sqe, page, SQE_PRP1)
  store<u32>(sqe, ranges - 1, SQE_CDW10)
  store<u32>(sqe, NVME_DSMGMT_AD, SQE_CDW10 + 4)
  store<u32>(rq, load<u32>(rq, RQ_FLAGS) | RQF_SPECIAL_PAYLOAD, RQ_FLAGS)
  return true
}

/** A command that TypeScript built (passthrough): the identifier is ours, and where the data lie, if there are any. */
function nvme_setup_passthrough(nq: u32, rq: u32, sqe: u32): bool {
  const from = load<u32>(rq, RQ_SQE)
  const cdw0 = (load<u32>(from, SQE_CDW0) & 0xffff) | (load<u32>(rq, RQ_TAG) << 16)
  // Word by word: what was written a moment ago in such words is not read from the cache yet.
  store<u64>(sqe, pair(cdw0, load<u32>(from, SQE_NSID)), SQE_CDW0)
  store<u64>(sqe, load<u64>(from, SQE_CDW2), SQE_CDW2)
  store<u64>(sqe, load<u64>(from, SQE_MPTR), SQE_MPTR)
  store<u64>(sqe, load<u64>(from, SQE_PRP1), SQE_PRP1)
  store<u64>(sqe, load<u64>(from, SQE_PRP2), SQE_PRP2)
  store<u64>(sqe, load<u64>(from, SQE_CDW10), SQE_CDW10)
  store<u64>(sqe, load<u64>(from, SQE_CDW12), SQE_CDW12)
  store<u64>(sqe, load<u64>(from, SQE_CDW14), SQE_CDW14)
  return !load<u32>(rq, RQ_BIO) || nvme_map_data(nq, rq, sqe, load<u32>(rq, RQ_DATA_LEN))
}

/** The commands beside Read and Write. */
function nvme_setup_other(nq: u32, q: u32, rq: u32, sqe: u32, op: u32): u32 {
  if (op == REQ_OP_DRV_IN || op == REQ_OP_DRV_OUT) {
    return nvme_setup_passthrough(nq, rq, sqe) ? BLK_STS_OK : BLK_STS_RESOURCE
  } else if (op == REQ_OP_FLUSH) {
    nvme_setup_flush(q, rq, sqe)
  } else if (op == REQ_OP_DISCARD) {
    return nvme_setup_discard(nq, q, rq, sqe) ? BLK_STS_OK : BLK_STS_RESOURCE
  } else if (op == REQ_OP_WRITE_ZEROES) {
    store<u64>(sqe, 0, SQE_PRP1)
    store<u64>(sqe, 0, SQE_PRP2)
    nvme_setup_rw(q, rq, sqe, NVME_CMD_WRITE_ZEROES, 0, load<u32>(rq, RQ_DATA_LEN))
    store<u16>(sqe, 0, SQE_CDW12 + 2)
    store<u32>(sqe, 0, SQE_CDW14)
  } else return BLK_STS_IOERR
  return BLK_STS_OK
}

/** Fills the entry. Returns a blk_status_t; RESOURCE when no list page is free. */
// @ts-ignore: decorator
@inline
function nvme_setup_cmd(nq: u32, q: u32, rq: u32, sqe: u32): u32 {
  const opf = load<u32>(rq, RQ_CMD_FLAGS)
  const op = opf & REQ_OP_MASK
  if (op > <u32>REQ_OP_WRITE) return nvme_setup_other(nq, q, rq, sqe, op)
  const len = load<u32>(rq, RQ_DATA_LEN)
  nvme_setup_rw(q, rq, sqe, op == REQ_OP_READ ? NVME_CMD_READ : NVME_CMD_WRITE, opf, len)
  return nvme_map_data(nq, rq, sqe, len) ? BLK_STS_OK : BLK_STS_RESOURCE
}

/** The entry at the tail is complete. */
export function nvme_submit_cmd(nq: u32, tail: u32): void {
  const next = tail + 1 == load<u32>(nq, NQ_DEPTH) ? 0 : tail + 1
  store<u32>(nq, next, NQ_SQ_TAIL)
}

/** Gives a request to the drive. Returns a blk_status_t; the doorbell is the batch's. */
// @ts-ignore: decorator
@inline
export function nvme_queue_rq(cpu: u32, hctx: u32, rq: u32): u32 {
  const t = enter(cpu, FN_nvme_queue_rq)
  const status = queue_rq(cpu, hctx, rq)
  leave(cpu, t)
  return status
}

// @ts-ignore: decorator
@inline
function queue_rq(cpu: u32, hctx: u32, rq: u32): u32 {
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  const shared = load<u32>(nq, NQ_SHARED)
  if (shared) {
    if (shared & NQ_SUSPENDED) return BLK_STS_IOERR
    lock(nq + NQ_SQ_LOCK)
  }
  const q = load<u32>(rq, RQ_Q)
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  entered(cpu, FN_nvme_setup_cmd)
  const status = nvme_setup_cmd(nq, q, rq, load<u32>(nq, NQ_SQ) + tail * SQE_BYTES)
  if (status == BLK_STS_OK) {
    if (isDefined(TRACE_BUILD)) setup_event(cpu, nq, rq, load<u32>(nq, NQ_SQ) + tail * SQE_BYTES)
    blk_mq_start_request(cpu, q, rq)
    entered(cpu, FN_nvme_submit_cmd)
    nvme_submit_cmd(nq, tail)
    if (shared) nvme_write_sq_db(cpu, nq)
    else nvme_list_doorbell(cpu, nq)
  }
  if (shared) unlock(nq + NQ_SQ_LOCK)
  if (status != BLK_STS_OK) nvme_unmap_data(nq, rq)
  return status
}

/** The tracepoint nvme_setup_cmd: queue, opcode, namespace, dwords 10 and 11. */
function setup_event(cpu: u32, nq: u32, rq: u32, sqe: u32): void {
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  nvme_event(cpu, EV_nvme_setup_cmd, rq, load<u32>(nq, NQ_QID), load<u64>(sqe, SQE_CDW10), opcode)
  if (load<u32>(rq, RQ_BIO)) entered(cpu, FN_blk_rq_map_sg)
}
