// The short way of one plain bio that TypeScript submits by itself (openMachine): a read or write of at most two pages on
// an NVMe disk whose hardware queue belongs to this CPU alone, with nothing in the way, in real time.
//
//   plain_submit   submit_bio down to the doorbell; plain_rw fills the bio of a program's slot as well
//   plain_bios     completion entries of such requests, up to the ring of ended bios
//   plain_look     a look for completions (plain-look.ts): the device, and plain_bios
//
// Nothing is left out but the doors that cannot matter: the same words are written as by the chain of submit.ts, sq.ts and
// cq.ts (test/unit/core/plain-bio.test.ts), from the same parts where they are parts. What is not plain goes the chain's
// way, and nothing has changed by then. RQF_PLAIN_BIO marks the request until its end or an error. The trace build has the
// chain only. Batches of generators have a short way of their own (plain.ts), whose free slots this one relies on.
//
// What does not change of a disk is looked up once and kept beside each other in the CPU's block (CPU_PB_*).

import {
  BIO_BUFFER, BIO_BUSY, BIO_DATA, BIO_DISK, BIO_END_IO, BIO_NEXT, BIO_OPF, BIO_SECTOR, BIO_SIZE, CLOCK_REAL, CPU_BELL,
  CPU_CLOCK, CPU_DOORBELLS, CPU_ENDED, CPU_HCTX, CPU_INDEX, CPU_NOW, CPU_PB_BLOCK, CPU_PB_BYTES, CPU_PB_COOKIE, CPU_PB_CQ,
  CPU_PB_CQ_DB, CPU_PB_CTX, CPU_PB_DCQ, CPU_PB_DEPTH, CPU_PB_DSQ, CPU_PB_ENTRIES, CPU_PB_HCTX, CPU_PB_HINT, CPU_PB_LBA_SHIFT,
  CPU_PB_MAP, CPU_PB_MAX, CPU_PB_NQ, CPU_PB_NR, CPU_PB_NS, CPU_PB_NSID, CPU_PB_Q, CPU_PB_RING, CPU_PB_RING_MASK, CPU_PB_SHIFT,
  CPU_PB_SLOTS, CPU_PB_SQ, CPU_PB_SQ_DB, CPU_PB_TIMEOUT, CPU_PB_WAITERS, CPU_PLUG, CPU_RING, CPU_STAGES, CPU_SUBMITTED,
  CTX_COMPLETED_ASYNC, CTX_DISPATCHED_ASYNC, CTX_HCTX, CTX_SIZE, CTX_STAT_IOS, CTX_STAT_SECTORS, CTX_STAT_TICKS, DEV_FAULTS,
  DEV_HOST, DEV_MODEL, DEV_NS, DSQ_CQ, DSQ_DEV, END_IO_RING, HC_DISPATCH_BUSY, HC_DRIVER_DATA, HC_GATE, HC_INDEX, HC_NEXT_OWNED,
  HC_OWNER, HC_QUEUED, HC_TAGS, MODEL_FIXED, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, M_BASE, M_JIFFIES, NOT_PLAIN, NQ_CQ, NQ_CQ_DB,
  NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_DSQ, NQ_LAST_SQ_TAIL, NQ_SHADOW_SQ, NQ_SQ, NQ_SQ_DB, NQ_SQ_TAIL, NQ_TAGS, NQ_WAIT,
  NS_STORE, PAGE_SIZE, Q_BIO_BASED, Q_CAPACITY, Q_CTXS, Q_ELEVATOR, Q_FROZEN, Q_LBA_SHIFT, Q_MAX_SECTORS, Q_NSID, Q_PRINFO,
  Q_TIMEOUT, Q_TIMER_ARMED, RING_BASE, RING_MASK, RING_TAIL, RQ_BIO, RQ_CMD_FLAGS, RQ_CTX, RQ_DATA_LEN, RQ_DEADLINE, RQ_GEN,
  RQ_SIZE, RQ_START_NS, RQ_STATE, RQ_STATUS, SBQ_DEPTH, SBQ_HINTS, SBQ_HINT_SIZE, SBQ_MAP, SBQ_SHIFT, SBQ_WAITERS, SBW_SIZE,
  SECTOR_SHIFT, TAGS_BITMAP, TAGS_NR, TAGS_STATIC_RQS, WAIT_INLINE,
} from './layout'
import {
  BLK_QC_T_SHIFT, CQE_BYTES, CQE_DW0, CQE_DW3, NVME_CMD_READ, NVME_CMD_WRITE, REQ_OP_WRITE, REQ_SYNC, RQF_IO_STAT,
  RQF_PLAIN_BIO, SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_CDW14, SQE_CDW2, SQE_MPTR, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { nvme_write_sq_db } from './doorbell'
import { hosted } from './host'
import { plain_queue } from './plain'
import { blk_mq_bio_to_request, pair } from './request'
import { sbitmap_queue_get_near } from './sbitmap'

const PAGE: u32 = PAGE_SIZE
/** A number from here on has no fraction, and below it, with this added, its bits are those of a whole number. */
const TWO_52: f64 = 4503599627370496
const TWO_52_BITS: u64 = 0x4330000000000000
/** Larger disks have their first sectors served the short way. */
const MAX_SECTORS: u64 = <u64>1 << 43

/**
 * What does not change while a machine without a kernel lives: this disk has an NVMe queue that is this CPU's alone, no
 * scheduler, no protection information, and real time; its timer runs. Notes it (CPU_PB_*), so that it is asked once for a
 * disk.
 */
function may_be_plain(cpu: u32, q: u32): bool {
  if (hosted() || load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL || load<u32>(cpu, CPU_STAGES)) return false
  if (load<u32>(q, Q_BIO_BASED) | load<u32>(q, Q_ELEVATOR) | load<u32>(q, Q_PRINFO)) return false
  const ctx = load<u32>(q, Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  if (load<u32>(hctx, HC_OWNER) != cpu || !plain_queue(q, hctx)) return false
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  if (load<u32>(nq, NQ_SHADOW_SQ) || !load<u32>(q, Q_TIMER_ARMED)) return false
  note_disk(cpu, q)
  note_queue(cpu, hctx, nq)
  store<u32>(cpu, ctx, CPU_PB_CTX)
  store<u32>(cpu, q, CPU_PB_Q)
  return true
}

function note_disk(cpu: u32, q: u32): void {
  const bytes = min<u64>(load<u64>(q, Q_CAPACITY), MAX_SECTORS) << SECTOR_SHIFT
  const limit = min<u64>(<u64>load<u32>(q, Q_MAX_SECTORS) << SECTOR_SHIFT, bytes)
  store<u64>(cpu, bytes, CPU_PB_BYTES)
  store<u32>(cpu, <u32>min<u64>(limit, 2 * PAGE), CPU_PB_MAX)
  store<u32>(cpu, (1 << load<u32>(q, Q_LBA_SHIFT)) - 1, CPU_PB_BLOCK)
  store<u32>(cpu, load<u32>(q, Q_LBA_SHIFT), CPU_PB_LBA_SHIFT)
  store<u32>(cpu, load<u32>(q, Q_NSID), CPU_PB_NSID)
  store<u32>(cpu, load<u32>(q, Q_TIMEOUT), CPU_PB_TIMEOUT)
}

function note_queue(cpu: u32, hctx: u32, nq: u32): void {
  const tags = load<u32>(hctx, HC_TAGS)
  const sbq = tags + TAGS_BITMAP
  const ring = load<u32>(cpu, CPU_RING)
  store<u32>(cpu, hctx, CPU_PB_HCTX)
  store<u32>(cpu, load<u32>(hctx, HC_INDEX) << BLK_QC_T_SHIFT, CPU_PB_COOKIE)
  store<u32>(cpu, load<u32>(tags, TAGS_STATIC_RQS), CPU_PB_SLOTS)
  store<u32>(cpu, load<u32>(tags, TAGS_NR), CPU_PB_NR)
  store<u32>(cpu, load<u32>(sbq, SBQ_HINTS) + load<u32>(cpu, CPU_INDEX) * SBQ_HINT_SIZE, CPU_PB_HINT)
  store<u32>(cpu, load<u32>(sbq, SBQ_MAP), CPU_PB_MAP)
  store<u32>(cpu, load<u32>(sbq, SBQ_SHIFT), CPU_PB_SHIFT)
  store<u32>(cpu, load<u32>(sbq, SBQ_DEPTH), CPU_PB_DEPTH)
  store<u32>(cpu, sbq + SBQ_WAITERS, CPU_PB_WAITERS)
  store<u32>(cpu, load<u32>(nq, NQ_SQ), CPU_PB_SQ)
  store<u32>(cpu, load<u32>(nq, NQ_CQ), CPU_PB_CQ)
  store<u32>(cpu, load<u32>(nq, NQ_DEPTH), CPU_PB_ENTRIES)
  store<u32>(cpu, load<u32>(nq, NQ_SQ_DB), CPU_PB_SQ_DB)
  store<u32>(cpu, load<u32>(nq, NQ_CQ_DB), CPU_PB_CQ_DB)
  store<u32>(cpu, load<u32>(ring, RING_BASE), CPU_PB_RING)
  store<u32>(cpu, load<u32>(ring, RING_MASK), CPU_PB_RING_MASK)
  note_device(cpu, hctx, nq)
}

/** Whether plain_look may run the device: it is inline, takes no time, and is all that this CPU serves. */
function note_device(cpu: u32, hctx: u32, nq: u32): void {
  const alone = load<u32>(nq, NQ_WAIT) == WAIT_INLINE && load<u32>(cpu, CPU_HCTX) == hctx && !load<u32>(hctx, HC_NEXT_OWNED)
  const dsq = load<u32>(nq, NQ_DSQ)
  const dev = load<u32>(dsq, DSQ_DEV)
  const ours = alone && load<u32>(dev, DEV_MODEL) < <u32>MODEL_FIXED && !(load<u32>(dev, DEV_FAULTS) | load<u32>(dev, DEV_HOST))
  const ns = load<u32>(dev, DEV_NS)
  store<u32>(cpu, dsq, CPU_PB_DSQ)
  store<u32>(cpu, load<u32>(dsq, DSQ_CQ), CPU_PB_DCQ)
  store<u32>(cpu, ours ? nq : 0, CPU_PB_NQ)
  store<u32>(cpu, ours && !load<u32>(ns, NS_STORE) ? ns : 0, CPU_PB_NS)
}

/** submit_bio of a plain bio: its cookie, or NOT_PLAIN. */
export function plain_submit(cpu: u32, bio: u32): i32 {
  const q = load<u32>(bio, BIO_DISK)
  const opf = load<u32>(bio, BIO_OPF)
  const sector = load<u64>(bio, BIO_SECTOR)
  if (opf & ~(REQ_OP_WRITE | REQ_SYNC) || load<u32>(bio, BIO_END_IO) != END_IO_RING || sector >= MAX_SECTORS) return NOT_PLAIN
  if (load<u32>(cpu, CPU_PB_Q) != q && !may_be_plain(cpu, q)) return NOT_PLAIN
  return issue(cpu, q, bio, opf, load<u32>(bio, BIO_DATA), load<u32>(bio, BIO_SIZE), sector << SECTOR_SHIFT)
}

/**
 * A read or write by a slot of a program's queue, whose bio, which has its disk, buffer and end, is filled in here: one call
 * from TypeScript instead of five stores and a call. `offset` and `bytes` are whole blocks of the disk and the slot is free,
 * or it is NOT_PLAIN, and the bio is as it was.
 */
export function plain_rw(cpu: u32, bio: u32, opf: u32, offset: f64, bytes: u32): i32 {
  if (isDefined(TRACE_BUILD)) return NOT_PLAIN
  const q = load<u32>(bio, BIO_DISK)
  if (load<u32>(bio, BIO_BUSY)) return NOT_PLAIN
  if (load<u32>(cpu, CPU_PB_Q) != q) if (!may_be_plain(cpu, q)) return NOT_PLAIN
  // what has a fraction is not the same again; what is negative or no number is beyond every disk
  const shifted = offset + TWO_52
  if (shifted - TWO_52 != offset) return NOT_PLAIN
  const at = reinterpret<u64>(shifted) - TWO_52_BITS
  const cookie = issue(cpu, q, bio, opf, load<u32>(bio, BIO_BUFFER), bytes, at)
  if (cookie != NOT_PLAIN) store<u32>(bio, 1, BIO_BUSY)
  return cookie
}

/** A read or write of whole blocks within the disk, which a command with two PRP entries can carry. The bio is filled as well. */
function issue(cpu: u32, q: u32, bio: u32, opf: u32, data: u32, bytes: u32, at: u64): i32 {
  const hctx = load<u32>(cpu, CPU_PB_HCTX)
  const page_end = (data & (PAGE - 1)) + bytes
  // one branch each, never taken: an answer made of all costs more than they do
  if ((<u32>at | bytes) & load<u32>(cpu, CPU_PB_BLOCK)) return NOT_PLAIN
  if (bytes - 1 >= load<u32>(cpu, CPU_PB_MAX)) return NOT_PLAIN
  if (at > load<u64>(cpu, CPU_PB_BYTES) - bytes) return NOT_PLAIN
  if (page_end > 2 * PAGE) return NOT_PLAIN
  if (in_the_way(cpu, q, hctx)) return NOT_PLAIN
  const map = load<u32>(cpu, CPU_PB_MAP)
  const shift = load<u32>(cpu, CPU_PB_SHIFT)
  const tag = sbitmap_queue_get_near(load<u32>(cpu, CPU_PB_HINT), map, shift, load<u32>(cpu, CPU_PB_DEPTH))
  if (tag < 0) return NOT_PLAIN
  const rq = load<u32>(cpu, CPU_PB_SLOTS) + tag * RQ_SIZE
  store<u64>(bio, opf, BIO_OPF) // and BIO_STATUS 0
  store<u64>(bio, at >> SECTOR_SHIFT, BIO_SECTOR)
  store<u64>(bio, pair(bytes, data), BIO_SIZE) // and BIO_DATA
  store<u64>(bio, 0, BIO_NEXT) // and BIO_REMAINING
  blk_mq_bio_to_request(rq, bio, at >> SECTOR_SHIFT, bytes)
  start(cpu, rq, opf)
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  const sqe = load<u32>(cpu, CPU_PB_SQ) + tail * SQE_BYTES
  const opcode: u32 = opf & REQ_OP_WRITE ? NVME_CMD_WRITE : NVME_CMD_READ
  store<u64>(sqe, pair(opcode | (tag << 16), load<u32>(cpu, CPU_PB_NSID)), SQE_CDW0)
  write_entry(cpu, sqe, data, bytes, at, page_end)
  store<u32>(nq, tail + 1 == load<u32>(cpu, CPU_PB_ENTRIES) ? 0 : tail + 1, NQ_SQ_TAIL)
  count_submitted(cpu, hctx, opf)
  if (load<u32>(nq, NQ_WAIT) == WAIT_INLINE) ring_inline(cpu, nq)
  else nvme_write_sq_db(cpu, nq)
  return tag | load<u32>(cpu, CPU_PB_COOKIE)
}

/** The gate is read plainly: who closes it from another thread cannot know what was submitted just before either. */
// @ts-ignore: decorator
@inline
function in_the_way(cpu: u32, q: u32, hctx: u32): u32 {
  const here = load<u32>(cpu, CPU_PLUG) | load<u32>(cpu, CPU_BELL)
  return here | load<u32>(hctx, HC_GATE) | load<u32>(hctx, HC_DISPATCH_BUSY) | load<u32>(q, Q_FROZEN)
}

/** What blk_mq_rq_ctx_init and blk_mq_start_request write into a free slot; the timer runs, and need not be told. */
// @ts-ignore: decorator
@inline
function start(cpu: u32, rq: u32, opf: u32): void {
  const deadline = (load<u32>(M_BASE, M_JIFFIES) + load<u32>(cpu, CPU_PB_TIMEOUT)) & ~1
  store<u32>(rq, opf, RQ_CMD_FLAGS)
  store<u32>(rq, load<u32>(rq, RQ_GEN) + 1, RQ_GEN)
  store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_START_NS)
  store<u64>(rq, deadline, RQ_DEADLINE) // and RQ_TIMEOUT, which is 0
  store<u64>(rq, pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN_BIO), RQ_STATE) // and RQ_FLAGS
}

/** The rest of nvme_setup_rw and nvme_setup_prp_simple. */
// @ts-ignore: decorator
@inline
function write_entry(cpu: u32, sqe: u32, data: u32, bytes: u32, at: u64, page_end: u32): void {
  const shift = load<u32>(cpu, CPU_PB_LBA_SHIFT)
  store<u64>(sqe, 0, SQE_CDW2)
  store<u64>(sqe, 0, SQE_MPTR)
  store<u64>(sqe, data, SQE_PRP1)
  store<u64>(sqe, page_end > PAGE ? data + bytes + PAGE - page_end : 0, SQE_PRP2)
  store<u64>(sqe, at >> shift, SQE_CDW10)
  store<u64>(sqe, (bytes >> shift) - 1, SQE_CDW12) // and CDW13
  store<u64>(sqe, 0, SQE_CDW14)
}

/** 8 for sync, 0 for async: where a counter of a software queue stands. A read is sync. */
// @ts-ignore: decorator
@inline
function sync_at(opf: u32): u32 {
  return <u32>((opf & (REQ_OP_WRITE | REQ_SYNC)) != REQ_OP_WRITE) << 3
}

// @ts-ignore: decorator
@inline
function count_submitted(cpu: u32, hctx: u32, opf: u32): void {
  const ctx = load<u32>(cpu, CPU_PB_CTX) + sync_at(opf)
  store<u64>(cpu, load<u64>(cpu, CPU_SUBMITTED) + 1, CPU_SUBMITTED)
  store<u64>(hctx, load<u64>(hctx, HC_QUEUED) + 1, HC_QUEUED)
  store<u64>(ctx, load<u64>(ctx, CTX_DISPATCHED_ASYNC) + 1, CTX_DISPATCHED_ASYNC)
}

/** nvme_write_sq_db for a device in this thread: nobody else reads the register, and nobody is to be woken. */
// @ts-ignore: decorator
@inline
function ring_inline(cpu: u32, nq: u32): void {
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  store<u32>(load<u32>(cpu, CPU_PB_SQ_DB), tail)
  store<u32>(nq, tail, NQ_LAST_SQ_TAIL)
  store<u64>(cpu, load<u64>(cpu, CPU_DOORBELLS) + 1, CPU_DOORBELLS)
}

/**
 * Ends good completions of plain bios, as nvme_handle_cqe down to the ring of ended bios would; stops at the first entry
 * that is none. The caller has asked cq_is_plain, and rings the doorbell. How many.
 */
export function plain_bios(cpu: u32, nq: u32, max: u32): u32 {
  const tags = load<u32>(nq, NQ_TAGS)
  const nr = load<u32>(tags, TAGS_NR)
  const slots = load<u32>(tags, TAGS_STATIC_RQS)
  const ring = load<u32>(nq, NQ_CQ)
  const ring_end = ring + load<u32>(nq, NQ_DEPTH) * CQE_BYTES
  const sbq = tags + TAGS_BITMAP
  const map = load<u32>(sbq, SBQ_MAP)
  const shift = load<u32>(sbq, SBQ_SHIFT)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let cqe = ring + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
  let last: u32 = 0
  let n: u32 = 0
  while (n < max) {
    const dw3 = atomic.load<u32>(cqe, CQE_DW3)
    const cid = dw3 & 0xffff
    if (dw3 >> 16 != phase || cid >= nr) break
    const rq = slots + cid * RQ_SIZE
    if (!is_plain_bio(rq)) break
    end_request(cpu, load<u32>(rq, RQ_CTX), rq, load<u32>(cqe, CQE_DW0))
    put_tag(map, shift, cid)
    last = cid
    n++
    cqe += CQE_BYTES
    if (cqe == ring_end) {
      cqe = ring
      phase ^= 1
    }
  }
  if (!n) return 0
  store<u64>(cpu, load<u64>(cpu, CPU_ENDED) + n, CPU_ENDED)
  store<u32>(load<u32>(sbq, SBQ_HINTS) + load<u32>(cpu, CPU_INDEX) * SBQ_HINT_SIZE, last)
  store<u32>(nq, (cqe - ring) / CQE_BYTES, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  return n
}

/** The slot holds a plain bio that is in flight. */
// @ts-ignore: decorator
@inline
export function is_plain_bio(rq: u32): bool {
  return load<u64>(rq, RQ_STATE) == pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN_BIO) // and RQ_FLAGS
}

/** The map is this CPU's, and nobody waits. */
// @ts-ignore: decorator
@inline
export function put_tag(map: u32, shift: u32, tag: u32): void {
  const word = map + (tag >> shift) * SBW_SIZE
  store<u64>(word, load<u64>(word) & ~(<u64>1 << (tag & ((1 << shift) - 1))))
}

/** A good request's end: blk_account_io_done, the counters of blk_mq_free_request, and the bio into the ring. */
// @ts-ignore: decorator
@inline
export function end_request(cpu: u32, ctx: u32, rq: u32, result: u32): void {
  const bio = load<u32>(rq, RQ_BIO)
  const opf = load<u32>(rq, RQ_CMD_FLAGS)
  const stat = ctx + ((opf & REQ_OP_WRITE) << 3)
  const done = ctx + sync_at(opf)
  const ticks = load<u64>(cpu, CPU_NOW) - load<u64>(rq, RQ_START_NS)
  store<u64>(rq, <u64>result << 32, RQ_STATUS) // and RQ_RESULT
  store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
  store<u32>(rq, 0, RQ_BIO)
  store<u64>(stat, load<u64>(stat, CTX_STAT_IOS) + 1, CTX_STAT_IOS)
  store<u64>(stat, load<u64>(stat, CTX_STAT_SECTORS) + (load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT), CTX_STAT_SECTORS)
  store<u64>(stat, load<u64>(stat, CTX_STAT_TICKS) + ticks, CTX_STAT_TICKS)
  store<u64>(done, load<u64>(done, CTX_COMPLETED_ASYNC) + 1, CTX_COMPLETED_ASYNC)
  const ended = load<u32>(cpu, CPU_RING)
  const tail = load<u32>(ended, RING_TAIL)
  store<u32>(load<u32>(cpu, CPU_PB_RING) + ((tail & load<u32>(cpu, CPU_PB_RING_MASK)) << 2), bio)
  store<u32>(ended, tail + 1, RING_TAIL)
}
