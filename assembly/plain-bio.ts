// The short way of one plain bio that TypeScript submits by itself (openMachine): a read or write of at most two pages on
// an NVMe disk whose hardware queue belongs to this CPU alone, with nothing in the way, in real time.
//
//   plain_submit   submit_bio down to the doorbell; plain_rw fills the bio as well
//   plain_bios     completion entries of such requests, up to the ring of ended bios
//   plain_look     a look for completions (plain-look.ts): the device, and plain_bios
//
// Nothing is left out but the doors that cannot matter: the same words are written as by the chain of submit.ts, sq.ts and
// cq.ts (test/unit/core/plain-bio.test.ts), from the same parts where they are parts. What is not plain goes the chain's
// way, and nothing has changed by then. RQF_PLAIN_BIO marks the request until its end or an error. The trace build has the
// chain only. Batches of generators have a short way of their own (plain.ts), whose free slots this one relies on.

import {
  BIO_DATA, BIO_DISK, BIO_END_IO, BIO_NEXT, BIO_OPF, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CLOCK_REAL, CPU_BELL, CPU_CLOCK,
  CPU_DOORBELLS, CPU_ENDED, CPU_HCTX, CPU_INDEX, CPU_NOW, CPU_PB_NQ, CPU_PB_Q, CPU_PLUG, CPU_RING, CPU_STAGES,
  CPU_SUBMITTED, CTX_COMPLETED_ASYNC, CTX_DISPATCHED_ASYNC, CTX_HCTX, CTX_SIZE, CTX_STAT_IOS, CTX_STAT_SECTORS,
  CTX_STAT_TICKS, DEV_FAULTS, DEV_HOST, DEV_MODEL, DSQ_DEV, END_IO_RING, HC_DISPATCH_BUSY, HC_DRIVER_DATA, HC_GATE,
  HC_INDEX, HC_NEXT_OWNED, HC_OWNER, HC_QUEUED, HC_TAGS, MODEL_FIXED, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, NOT_PLAIN, NQ_CQ, NQ_CQ_HEAD,
  NQ_CQ_PHASE, NQ_DEPTH, NQ_DSQ, NQ_LAST_SQ_TAIL, NQ_SHADOW_SQ, NQ_SQ, NQ_SQ_DB, NQ_SQ_TAIL, NQ_TAGS, NQ_WAIT,
  PAGE_SIZE, Q_BIO_BASED, Q_CAPACITY, Q_CTXS, Q_ELEVATOR, Q_FROZEN, Q_LBA_SHIFT, Q_MAX_SECTORS, RING_BASE, RING_MASK,
  RING_TAIL, RQ_BIO, RQ_CMD_FLAGS, RQ_CTX, RQ_DATA_LEN, RQ_FLAGS, RQ_SIZE, RQ_START_NS, RQ_STATE, RQ_STATUS, SBQ_HINTS,
  SBQ_HINT_SIZE, SBQ_MAP, SBQ_SHIFT, SBW_SIZE, SECTOR_SHIFT, TAGS_BITMAP, TAGS_NR, TAGS_STATIC_RQS, WAIT_INLINE,
} from './layout'
import {
  BLK_QC_T_SHIFT, CQE_BYTES, CQE_DW0, CQE_DW3, NVME_CMD_READ, NVME_CMD_WRITE, REQ_OP_WRITE, REQ_SYNC, RQF_IO_STAT,
  RQF_PLAIN_BIO, SQE_BYTES,
} from './nvme'
import { nvme_write_sq_db } from './doorbell'
import { hosted } from './host'
import { plain_queue } from './plain'
import { blk_mq_bio_to_request, blk_mq_start_request, op_is_sync, pair } from './request'
import { sbitmap_queue_get_near } from './sbitmap'
import { nvme_setup_prp_simple, nvme_setup_rw, nvme_submit_cmd } from './sq'

const PAGE: u32 = PAGE_SIZE

/** A read or write that a command with two PRP entries can carry, within the disk. */
// @ts-ignore: decorator
@inline
function fits(q: u32, data: u32, bytes: u32, sector: u64): bool {
  const sectors = bytes >> SECTOR_SHIFT
  const capacity = load<u64>(q, Q_CAPACITY)
  const pages = <u32>!bytes | <u32>((data & (PAGE - 1)) + bytes > 2 * PAGE) | <u32>(sectors > load<u32>(q, Q_MAX_SECTORS))
  return !(pages | <u32>(sector > capacity) | <u32>(sectors > capacity - sector)) // no branches: nearly all fit
}

/**
 * What does not change while a machine without a kernel lives: this disk has an NVMe queue that is this CPU's alone, no
 * scheduler, and real time. Notes it (CPU_PB_*), so that it is asked once for a disk.
 */
function may_be_plain(cpu: u32, q: u32, hctx: u32): bool {
  if (hosted() || load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL || load<u32>(cpu, CPU_STAGES)) return false
  if (load<u32>(q, Q_BIO_BASED) | load<u32>(q, Q_ELEVATOR)) return false
  if (load<u32>(hctx, HC_OWNER) != cpu || !plain_queue(q, hctx)) return false
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  if (load<u32>(nq, NQ_SHADOW_SQ)) return false
  store<u32>(cpu, q, CPU_PB_Q)
  store<u32>(cpu, looks_itself(cpu, hctx, nq) ? nq : 0, CPU_PB_NQ)
  return true
}

/** plain_look may run the device: it is inline, takes no time, and is all that this CPU serves. */
function looks_itself(cpu: u32, hctx: u32, nq: u32): bool {
  const dev = load<u32>(load<u32>(nq, NQ_DSQ), DSQ_DEV)
  if (load<u32>(nq, NQ_WAIT) != WAIT_INLINE || load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED) return false
  if (load<u32>(dev, DEV_FAULTS) | load<u32>(dev, DEV_HOST)) return false
  return load<u32>(cpu, CPU_HCTX) == hctx && !load<u32>(hctx, HC_NEXT_OWNED)
}

/** submit_bio of a plain bio: its cookie, or NOT_PLAIN. */
export function plain_submit(cpu: u32, bio: u32): i32 {
  const q = load<u32>(bio, BIO_DISK)
  const opf = load<u32>(bio, BIO_OPF)
  const bytes = load<u32>(bio, BIO_SIZE)
  const data = load<u32>(bio, BIO_DATA)
  const sector = load<u64>(bio, BIO_SECTOR)
  if (opf & ~(REQ_OP_WRITE | REQ_SYNC) || load<u32>(bio, BIO_END_IO) != END_IO_RING) return NOT_PLAIN
  if (!fits(q, data, bytes, sector)) return NOT_PLAIN
  return issue(cpu, q, bio, opf, data, bytes, sector)
}

/**
 * A read or write whose bio, which has its disk and its end, is filled in here: one call from TypeScript instead of five
 * stores and a call. `offset` and `bytes` are whole blocks of the disk, or it is NOT_PLAIN, and the bio is as it was.
 */
export function plain_rw(cpu: u32, bio: u32, opf: u32, offset: f64, bytes: u32, data: u32): i32 {
  const q = load<u32>(bio, BIO_DISK)
  const at = <i64>offset
  if (<f64>at != offset || (at | bytes) & ((1 << load<u32>(q, Q_LBA_SHIFT)) - 1)) return NOT_PLAIN
  const sector = <u64>at >> SECTOR_SHIFT
  if (isDefined(TRACE_BUILD) || !fits(q, data, bytes, sector)) return NOT_PLAIN
  const cookie = issue(cpu, q, bio, opf, data, bytes, sector)
  if (cookie == NOT_PLAIN) return NOT_PLAIN
  store<u32>(bio, opf, BIO_OPF)
  store<u64>(bio, sector, BIO_SECTOR)
  store<u32>(bio, bytes, BIO_SIZE)
  store<u32>(bio, data, BIO_DATA)
  return cookie
}

// @ts-ignore: decorator
@inline
function issue(cpu: u32, q: u32, bio: u32, opf: u32, data: u32, bytes: u32, sector: u64): i32 {
  if (load<u32>(cpu, CPU_PLUG) | load<u32>(cpu, CPU_BELL)) return NOT_PLAIN
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  if (load<u32>(cpu, CPU_PB_Q) != q && !may_be_plain(cpu, q, hctx)) return NOT_PLAIN
  if (atomic.load<u32>(hctx, HC_GATE) | load<u32>(hctx, HC_DISPATCH_BUSY) | load<u32>(q, Q_FROZEN)) return NOT_PLAIN
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  const tags = load<u32>(hctx, HC_TAGS)
  const tag = sbitmap_queue_get_near(tags + TAGS_BITMAP, index)
  if (tag < 0) return NOT_PLAIN
  const rq = load<u32>(tags, TAGS_STATIC_RQS) + tag * RQ_SIZE
  store<u64>(bio, 0, BIO_NEXT) // and BIO_REMAINING
  store<u32>(bio, 0, BIO_STATUS)
  store<u32>(rq, opf, RQ_CMD_FLAGS)
  store<u32>(rq, RQF_IO_STAT | RQF_PLAIN_BIO, RQ_FLAGS)
  store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_START_NS)
  blk_mq_bio_to_request(rq, bio, sector, bytes)
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  const sqe = load<u32>(nq, NQ_SQ) + tail * SQE_BYTES
  nvme_setup_rw(q, rq, sqe, opf & REQ_OP_WRITE ? NVME_CMD_WRITE : NVME_CMD_READ, opf & REQ_OP_WRITE, bytes)
  nvme_setup_prp_simple(sqe, data, bytes)
  blk_mq_start_request(cpu, q, rq)
  nvme_submit_cmd(nq, tail)
  add(cpu + CPU_SUBMITTED, 1)
  add(hctx + HC_QUEUED, 1)
  add(ctx + CTX_DISPATCHED_ASYNC + (op_is_sync(opf) ? 8 : 0), 1)
  if (load<u32>(nq, NQ_WAIT) == WAIT_INLINE) ring_inline(cpu, nq)
  else nvme_write_sq_db(cpu, nq)
  return tag | (load<u32>(hctx, HC_INDEX) << BLK_QC_T_SHIFT)
}

/** nvme_write_sq_db for a device in this thread: nobody else reads the register, and nobody is to be woken. */
// @ts-ignore: decorator
@inline
function ring_inline(cpu: u32, nq: u32): void {
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  store<u32>(load<u32>(nq, NQ_SQ_DB), tail)
  store<u32>(nq, tail, NQ_LAST_SQ_TAIL)
  add(cpu + CPU_DOORBELLS, 1)
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
    if (load<u64>(rq, RQ_STATE) != pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN_BIO)) break // and RQ_FLAGS
    store<u64>(rq, <u64>load<u32>(cqe, CQE_DW0) << 32, RQ_STATUS) // and RQ_RESULT
    store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
    end_bio(cpu, rq)
    const word = map + (cid >> shift) * SBW_SIZE
    store<u64>(word, load<u64>(word) & ~(<u64>1 << (cid & ((1 << shift) - 1)))) // the map is this CPU's, and nobody waits
    last = cid
    n++
    cqe += CQE_BYTES
    if (cqe == ring_end) {
      cqe = ring
      phase ^= 1
    }
  }
  if (!n) return 0
  store<u32>(load<u32>(sbq, SBQ_HINTS) + load<u32>(cpu, CPU_INDEX) * SBQ_HINT_SIZE, last)
  store<u32>(nq, (cqe - ring) / CQE_BYTES, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  return n
}

/** blk_account_io_done, the counters of blk_mq_free_request, and the bio into the ring. */
// @ts-ignore: decorator
@inline
function end_bio(cpu: u32, rq: u32): void {
  const bio = load<u32>(rq, RQ_BIO)
  const opf = load<u32>(rq, RQ_CMD_FLAGS)
  const ctx = load<u32>(rq, RQ_CTX)
  const stat = ctx + ((opf & REQ_OP_WRITE) << 3)
  store<u32>(rq, 0, RQ_BIO)
  add(stat + CTX_STAT_IOS, 1)
  add(stat + CTX_STAT_SECTORS, load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT)
  add(stat + CTX_STAT_TICKS, load<u64>(cpu, CPU_NOW) - load<u64>(rq, RQ_START_NS))
  add(ctx + CTX_COMPLETED_ASYNC + (op_is_sync(opf) ? 8 : 0), 1)
  add(cpu + CPU_ENDED, 1)
  const ended = load<u32>(cpu, CPU_RING)
  const tail = load<u32>(ended, RING_TAIL)
  store<u32>(load<u32>(ended, RING_BASE) + ((tail & load<u32>(ended, RING_MASK)) << 2), bio)
  store<u32>(ended, tail + 1, RING_TAIL)
}

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}
