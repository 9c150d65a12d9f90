// The short way of one plain bio that TypeScript submits by itself (openMachine): a read or write of at most two pages on
// an NVMe disk whose hardware queue belongs to this CPU alone, with nothing in the way, in real time.
//
//   plain_submit   submit_bio down to the doorbell
//   plain_bios     completion entries of such requests, up to the ring of ended bios
//
// Nothing is left out but the doors that cannot matter: the same words are written as by the chain of submit.ts, sq.ts and
// cq.ts (test/unit/core/plain-bio.test.ts), from the same parts where they are parts. What is not plain goes the chain's
// way, and nothing has changed by then. RQF_PLAIN_BIO marks the request until its end or an error. The trace build has the
// chain only. Batches of generators have a short way of their own (plain.ts), whose free slots this one relies on.

import {
  BIO_DATA, BIO_DISK, BIO_END_IO, BIO_NEXT, BIO_OPF, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CLOCK_REAL, CPU_BELL,
  CPU_CLOCK, CPU_ENDED, CPU_INDEX, CPU_NOW, CPU_PLUG, CPU_RING, CPU_STAGES, CPU_SUBMITTED, CTX_COMPLETED_ASYNC,
  CTX_DISPATCHED_ASYNC, CTX_HCTX, CTX_SIZE, CTX_STAT_IOS, CTX_STAT_SECTORS, CTX_STAT_TICKS, END_IO_RING, HC_DISPATCH_BUSY,
  HC_DRIVER_DATA, HC_GATE, HC_INDEX, HC_OWNER, HC_QUEUED, HC_TAGS, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, NQ_CQ, NQ_CQ_HEAD,
  NQ_CQ_PHASE, NQ_DEPTH, NQ_SHADOW_SQ, NQ_SQ, NQ_SQ_TAIL, NQ_TAGS, PAGE_SIZE, Q_BIO_BASED, Q_CAPACITY, Q_CTXS, Q_ELEVATOR,
  Q_FROZEN, Q_MAX_SECTORS, RING_BASE, RING_MASK, RING_TAIL, RQ_BIO, RQ_CMD_FLAGS, RQ_CTX, RQ_DATA_LEN, RQ_FLAGS,
  RQ_SIZE, RQ_START_NS, RQ_STATE, RQ_STATUS, SECTOR_SHIFT, TAGS_BITMAP, TAGS_NR, TAGS_STATIC_RQS,
} from './layout'
import {
  BLK_QC_T_SHIFT, CQE_BYTES, CQE_DW0, CQE_DW3, NVME_CMD_READ, NVME_CMD_WRITE, REQ_OP_WRITE, REQ_SYNC, RQF_IO_STAT,
  RQF_PLAIN_BIO, SQE_BYTES,
} from './nvme'
import { nvme_write_sq_db } from './doorbell'
import { hosted } from './host'
import { plain_queue } from './plain'
import { blk_mq_bio_to_request, blk_mq_start_request, op_is_sync, pair } from './request'
import { __sbitmap_queue_get, sbitmap_queue_clear } from './sbitmap'
import { nvme_setup_prp_simple, nvme_setup_rw, nvme_submit_cmd } from './sq'

const PAGE: u32 = PAGE_SIZE
/** plain_submit's answer: the bio is none, and nothing has changed. */
export const NOT_PLAIN: i32 = -5

/** A read or write that a command with two PRP entries can carry, within the disk. */
// @ts-ignore: decorator
@inline
function is_plain(q: u32, bio: u32, opf: u32, bytes: u32, sector: u64): bool {
  if (opf & ~(REQ_OP_WRITE | REQ_SYNC) || load<u32>(bio, BIO_END_IO) != END_IO_RING) return false
  if (!bytes || (load<u32>(bio, BIO_DATA) & (PAGE - 1)) + bytes > 2 * PAGE) return false
  const sectors = bytes >> SECTOR_SHIFT
  if (sectors > load<u32>(q, Q_MAX_SECTORS)) return false
  const capacity = load<u64>(q, Q_CAPACITY)
  return sector <= capacity && sectors <= capacity - sector
}

/** Nothing stands between this CPU and the drive. */
// @ts-ignore: decorator
@inline
function is_open(cpu: u32, q: u32, hctx: u32): bool {
  if (load<u32>(q, Q_FROZEN) | load<u32>(q, Q_BIO_BASED) | load<u32>(q, Q_ELEVATOR)) return false
  if (atomic.load<u32>(hctx, HC_GATE) | load<u32>(hctx, HC_DISPATCH_BUSY)) return false
  return load<u32>(hctx, HC_OWNER) == cpu && plain_queue(q, hctx)
}

/** submit_bio of a plain bio: its cookie, or NOT_PLAIN. */
export function plain_submit(cpu: u32, bio: u32): i32 {
  if (load<u32>(cpu, CPU_PLUG) | load<u32>(cpu, CPU_STAGES) | load<u32>(cpu, CPU_BELL)) return NOT_PLAIN
  if (hosted() || load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL) return NOT_PLAIN
  const q = load<u32>(bio, BIO_DISK)
  const opf = load<u32>(bio, BIO_OPF)
  const bytes = load<u32>(bio, BIO_SIZE)
  const sector = load<u64>(bio, BIO_SECTOR)
  if (!is_plain(q, bio, opf, bytes, sector)) return NOT_PLAIN
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  if (!is_open(cpu, q, hctx)) return NOT_PLAIN
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  if (load<u32>(nq, NQ_SHADOW_SQ)) return NOT_PLAIN
  const tags = load<u32>(hctx, HC_TAGS)
  const tag = __sbitmap_queue_get(tags + TAGS_BITMAP, index)
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
  nvme_setup_rw(q, rq, sqe, opf & REQ_OP_WRITE ? NVME_CMD_WRITE : NVME_CMD_READ, opf, bytes)
  nvme_setup_prp_simple(sqe, load<u32>(bio, BIO_DATA), bytes)
  blk_mq_start_request(cpu, q, rq)
  nvme_submit_cmd(nq, tail)
  add(cpu + CPU_SUBMITTED, 1)
  add(hctx + HC_QUEUED, 1)
  add(ctx + CTX_DISPATCHED_ASYNC + (op_is_sync(opf) ? 8 : 0), 1)
  nvme_write_sq_db(cpu, nq)
  return tag | (load<u32>(hctx, HC_INDEX) << BLK_QC_T_SHIFT)
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
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let cqe = ring + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
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
    sbitmap_queue_clear(tags + TAGS_BITMAP, cid, load<u32>(cpu, CPU_INDEX))
    n++
    cqe += CQE_BYTES
    if (cqe == ring_end) {
      cqe = ring
      phase ^= 1
    }
  }
  if (!n) return 0
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
