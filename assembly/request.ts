// The life of a request: block/blk-mq.c and block/blk-core.c of Linux 4.19, the parts that every
// driver shares. A request slot belongs to its tag; nothing is allocated.
//
//   blk_mq_rq_ctx_init     slot of a fresh tag: IDLE
//   blk_mq_start_request   deadline, generation, IDLE -> IN_FLIGHT
//   blk_mq_mark_complete   IN_FLIGHT -> COMPLETE, once
//   blk_mq_end_request     ends its bios, gives the tag back
//
// The state is written by the queue's owner only, so that its transitions need no atomics here;
// TypeScript's timeout scan runs on the owner's thread too.

import {
  BIO_BYTES, BIO_DATA, BIO_END_IO, BIO_NEXT, BIO_OPF, BIO_PRIVATE, BIO_REMAINING, BIO_SECTOR,
  BIO_SIZE, BIO_STATUS, CPU_BIO_FREE, CPU_ENDED, CPU_ENDIO, CPU_FAILED, CPU_INDEX, CPU_MAIL,
  CPU_NOW, CPU_RING, CPU_SLOW, CPU_STAGES, CPU_STAGE_D2C, CPU_STAGE_G2I, CPU_STAGE_I2D,
  CPU_STAGE_N, CPU_STAGE_Q2C, CPU_STAGE_Q2G, CTX_COMPLETED_ASYNC, CTX_DISPATCHED_ASYNC, CTX_STAT_IOS,
  CTX_STAT_SECTORS, CTX_STAT_TICKS, END_IO_CHAIN, END_IO_JOB, HC_FLAGS, HC_GATE, HC_NR_ACTIVE,
  HC_OWNER, HC_SCHED_TAGS, HC_TAGS, IOU_JOB, IOU_NEXT, JOB_ENDED, MQ_RQ_COMPLETE, MQ_RQ_IDLE,
  MQ_RQ_IN_FLIGHT, M_BASE, M_JIFFIES, Q_TIMEOUT, Q_TIMER_ARMED, Q_TIMER_NEXT, RING_BASE, RING_MASK,
  RING_TAIL, RQ_BIO, RQ_BIOTAIL, RQ_CMD_FLAGS, RQ_CPU, RQ_CTX, RQ_DATA_LEN, RQ_DEADLINE, RQ_END_IO,
  RQ_FLAGS, RQ_GEN, RQ_GOT_TAG_NS, RQ_HCTX, RQ_INSERT_NS, RQ_INTERNAL_TAG, RQ_IO_START_NS, RQ_NEXT,
  RQ_PRP_LIST, RQ_Q, RQ_RETRIES, RQ_SECTOR, RQ_SIZE, RQ_START_NS, RQ_STATE, RQ_STATUS, RQ_TAG,
  RQ_TIMEOUT, SECTOR_SHIFT, TAGS_RQS, TAGS_STATIC_RQS,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, BLK_STS_OK, REQ_FUA, REQ_OP_DISCARD, REQ_OP_FLUSH, REQ_OP_MASK, REQ_OP_READ,
  REQ_PREFLUSH, REQ_SYNC, RQF_FLUSH_SEQ, RQF_IO_STAT, RQF_MQ_INFLIGHT,
} from './nvme'
import { BUG_ON, BUG_RQ_STATE } from './bug'
import { blk_mq_put_tag } from './tag'
import { wake_cpu } from './wake'

// @ts-ignore: decorator
@inline
export function op_is_flush(opf: u32): bool {
  return (opf & (REQ_FUA | REQ_PREFLUSH)) != 0
}

// @ts-ignore: decorator
@inline
export function op_is_sync(opf: u32): bool {
  return (opf & REQ_OP_MASK) == REQ_OP_READ || (opf & (REQ_SYNC | REQ_FUA | REQ_PREFLUSH)) != 0
}

/** Tells TypeScript, on the thread that owns the queue, to look at it. */
export function blk_mq_call_slow(cpu: u32, hctx: u32): void {
  const owner = load<u32>(hctx, HC_OWNER)
  if (owner == cpu) {
    store<u32>(cpu, 1, CPU_SLOW)
  } else {
    atomic.store<u32>(owner, 1, CPU_MAIL)
    wake_cpu(owner)
  }
}

// ---------------------------------------------------------------- beginning

/** Two neighbouring words with one store: the first in the low half. */
// @ts-ignore: decorator
@inline
export function pair(first: u32, second: u32): u64 {
  return <u64>first | (<u64>second << 32)
}

/** Makes the slot of a driver tag ready. The operation counts as sync or async on its CPU. */
// @ts-ignore: decorator
@inline
export function blk_mq_rq_ctx_init(q: u32, hctx: u32, ctx: u32, cpu: u32, tag: u32, opf: u32): u32 {
  const tags = load<u32>(hctx, HC_TAGS)
  const rq = load<u32>(tags, TAGS_STATIC_RQS) + tag * RQ_SIZE
  store<u64>(rq, pair(tag, <u32>-1), RQ_TAG) // and RQ_INTERNAL_TAG
  store<u32>(load<u32>(tags, TAGS_RQS) + (tag << 2), rq)
  let flags: u32 = RQF_IO_STAT
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED) {
    flags |= RQF_MQ_INFLIGHT
    atomic.add<u32>(hctx, 1, HC_NR_ACTIVE)
  }
  store<u32>(rq, opf, RQ_CMD_FLAGS)
  store<u32>(rq, flags, RQ_FLAGS)
  store<u64>(rq, pair(ctx, hctx), RQ_CTX) // and RQ_HCTX
  store<u64>(rq, pair(q, cpu), RQ_Q) // and RQ_CPU
  const counter = ctx + CTX_DISPATCHED_ASYNC + (op_is_sync(opf) ? 8 : 0)
  store<u64>(counter, load<u64>(counter) + 1)
  return rq
}

/** Copies what the request needs of its first bio. */
// @ts-ignore: decorator
@inline
export function blk_mq_bio_to_request(rq: u32, bio: u32, sector: u64, bytes: u32): void {
  store<u64>(rq, pair(bio, bio), RQ_BIO) // and RQ_BIOTAIL
  store<u64>(rq, sector, RQ_SECTOR)
  store<u64>(rq, pair(bytes, 1), RQ_DATA_LEN) // and RQ_NR_SEGS
}

/**
 * Sets the deadline. The rolling timer of the queue is TypeScript's: it is told only when the timer
 * does not run, or would fire too late for this request.
 */
// @ts-ignore: decorator
@inline
function blk_add_timer(cpu: u32, q: u32, rq: u32): void {
  const own = load<u32>(rq, RQ_TIMEOUT)
  const deadline = load<u32>(M_BASE, M_JIFFIES) + (own ? own : load<u32>(q, Q_TIMEOUT))
  store<u32>(rq, deadline, RQ_DEADLINE)
  if (blk_timer_must_move(q, deadline)) blk_mq_call_slow(cpu, load<u32>(rq, RQ_HCTX))
}

/** True if the queue's rolling timer does not run, or would fire too late for this deadline. */
// @ts-ignore: decorator
@inline
export function blk_timer_must_move(q: u32, deadline: u32): bool {
  return !load<u32>(q, Q_TIMER_ARMED) || <i32>(deadline - load<u32>(q, Q_TIMER_NEXT)) < 0
}

/** The request goes to the driver: it has a deadline and may be completed from now on. */
// @ts-ignore: decorator
@inline
export function blk_mq_start_request(cpu: u32, q: u32, rq: u32): void {
  BUG_ON(load<u32>(rq, RQ_STATE) != MQ_RQ_IDLE, BUG_RQ_STATE)
  if (load<u32>(cpu, CPU_STAGES)) store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_IO_START_NS)
  blk_add_timer(cpu, q, rq)
  store<u32>(rq, load<u32>(rq, RQ_GEN) + 1, RQ_GEN)
  store<u32>(rq, MQ_RQ_IN_FLIGHT, RQ_STATE)
}

/** The request goes back to wait: it may be started again. */
export function __blk_mq_requeue_request(rq: u32): void {
  store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
}

// ---------------------------------------------------------------- ending

/** True for the one caller that takes the request from IN_FLIGHT to COMPLETE. */
// @ts-ignore: decorator
@inline
export function blk_mq_mark_complete(rq: u32): bool {
  if (load<u32>(rq, RQ_STATE) != MQ_RQ_IN_FLIGHT) return false
  store<u32>(rq, MQ_RQ_COMPLETE, RQ_STATE)
  return true
}

/** One part of a split bio is over: the parent, if it was the last part, else 0. */
function bio_chain_endio(cpu: u32, bio: u32): u32 {
  if (load<u32>(bio, BIO_END_IO) == END_IO_CHAIN) {
    const parent = load<u32>(bio, BIO_PRIVATE)
    if (load<u32>(bio, BIO_STATUS)) store<u32>(parent, load<u32>(bio, BIO_STATUS), BIO_STATUS)
    bio_put(cpu, bio)
    bio = parent
  }
  const left = load<u32>(bio, BIO_REMAINING) - 1
  store<u32>(bio, left, BIO_REMAINING)
  return left ? 0 : bio
}

/** A bio is over: it goes back to whoever made it. */
// @ts-ignore: decorator
@inline
export function bio_endio(cpu: u32, bio: u32): void {
  if (load<u32>(bio, BIO_END_IO) != END_IO_JOB || load<u32>(bio, BIO_REMAINING)) {
    bio_endio_other(cpu, bio)
    return
  }
  const counter = cpu + (load<u32>(bio, BIO_STATUS) ? CPU_FAILED : CPU_ENDED)
  store<u64>(counter, load<u64>(counter) + 1)
  const job = load<u32>(bio, IOU_JOB)
  store<u32>(bio, load<u32>(job, JOB_ENDED), IOU_NEXT)
  store<u32>(job, bio, JOB_ENDED)
}

/** The end of a bio that was split, is a part, or belongs to TypeScript. */
function bio_endio_other(cpu: u32, bio: u32): void {
  if (load<u32>(bio, BIO_REMAINING) || load<u32>(bio, BIO_END_IO) == END_IO_CHAIN) {
    bio = bio_chain_endio(cpu, bio)
    if (!bio) return
  }
  const counter = cpu + (load<u32>(bio, BIO_STATUS) ? CPU_FAILED : CPU_ENDED)
  store<u64>(counter, load<u64>(counter) + 1)
  if (load<u32>(bio, BIO_END_IO) == END_IO_JOB) {
    const job = load<u32>(bio, IOU_JOB)
    store<u32>(bio, load<u32>(job, JOB_ENDED), IOU_NEXT)
    store<u32>(job, bio, JOB_ENDED)
    return
  }
  const ring = load<u32>(cpu, CPU_RING)
  const tail = load<u32>(ring, RING_TAIL)
  store<u32>(load<u32>(ring, RING_BASE) + ((tail & load<u32>(ring, RING_MASK)) << 2), bio)
  store<u32>(ring, tail + 1, RING_TAIL)
}

/** A bio for one part of a larger one; 0 if none is free. */
export function bio_alloc(cpu: u32): u32 {
  const bio = load<u32>(cpu, CPU_BIO_FREE)
  if (bio) store<u32>(cpu, load<u32>(bio, BIO_NEXT), CPU_BIO_FREE)
  return bio
}

/** Gives back a bio of bio_alloc. */
export function bio_put(cpu: u32, bio: u32): void {
  store<u32>(bio, load<u32>(cpu, CPU_BIO_FREE), BIO_NEXT)
  store<u32>(cpu, bio, CPU_BIO_FREE)
}

/** Cuts the first `bytes` off a bio: a chained part, which the caller submits. 0: none is free. */
export function bio_split(cpu: u32, bio: u32, bytes: u32): u32 {
  const part = bio_alloc(cpu)
  if (!part) return 0
  memory.copy(part, bio, BIO_BYTES)
  store<u32>(part, bytes, BIO_SIZE)
  store<u64>(part, 0, BIO_NEXT) // and BIO_REMAINING
  store<u32>(part, END_IO_CHAIN, BIO_END_IO)
  store<u32>(part, bio, BIO_PRIVATE)
  // The bio itself counts as one part: it goes down as the last one.
  store<u32>(bio, max<u32>(load<u32>(bio, BIO_REMAINING), 1) + 1, BIO_REMAINING)
  store<u32>(bio, load<u32>(bio, BIO_SIZE) - bytes, BIO_SIZE)
  store<u32>(bio, load<u32>(bio, BIO_DATA) + bytes, BIO_DATA)
  store<u64>(bio, load<u64>(bio, BIO_SECTOR) + (bytes >> SECTOR_SHIFT), BIO_SECTOR)
  return part
}

/** Direction as the disk's statistics count it: 0 read, 1 write, 2 discard, 3 flush. */
// @ts-ignore: decorator
@inline
export function stat_group(opf: u32): u32 {
  const op = opf & REQ_OP_MASK
  if (op == REQ_OP_READ) return 0
  if (op == REQ_OP_DISCARD) return 2
  return op == REQ_OP_FLUSH ? 3 : 1
}

// @ts-ignore: decorator
@inline
function blk_account_io_done(cpu: u32, rq: u32): void {
  const stat = load<u32>(rq, RQ_CTX) + (stat_group(load<u32>(rq, RQ_CMD_FLAGS)) << 3)
  store<u64>(stat, load<u64>(stat, CTX_STAT_IOS) + 1, CTX_STAT_IOS)
  const sectors = load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT
  store<u64>(stat, load<u64>(stat, CTX_STAT_SECTORS) + sectors, CTX_STAT_SECTORS)
  const start = load<u64>(rq, RQ_START_NS)
  const now = load<u64>(cpu, CPU_NOW)
  if (now > start) store<u64>(stat, load<u64>(stat, CTX_STAT_TICKS) + (now - start), CTX_STAT_TICKS)
}

function add_stage(cpu: u32, stage: u32, from: u64, to: u64): void {
  if (to > from) store<f64>(cpu + stage, load<f64>(cpu + stage) + <f64>(to - from))
}

/** Sums the stages of a request that had all of its stamps taken. */
export function stages_done(cpu: u32, rq: u32, now: u64): void {
  const q = load<u64>(rq, RQ_START_NS)
  const g = load<u64>(rq, RQ_GOT_TAG_NS)
  const i = load<u64>(rq, RQ_INSERT_NS)
  const d = load<u64>(rq, RQ_IO_START_NS)
  store<u64>(cpu, load<u64>(cpu, CPU_STAGE_N) + 1, CPU_STAGE_N)
  add_stage(cpu, CPU_STAGE_Q2G, q, g)
  add_stage(cpu, CPU_STAGE_G2I, g, i)
  add_stage(cpu, CPU_STAGE_I2D, i, d)
  add_stage(cpu, CPU_STAGE_D2C, d, now)
  add_stage(cpu, CPU_STAGE_Q2C, q, now)
}

// @ts-ignore: decorator
@inline
function blk_update_request(cpu: u32, rq: u32, status: u32): void {
  let bio = load<u32>(rq, RQ_BIO)
  store<u32>(rq, 0, RQ_BIO)
  while (bio) {
    const next = load<u32>(bio, BIO_NEXT)
    store<u32>(bio, 0, BIO_NEXT)
    if (status != BLK_STS_OK) store<u32>(bio, status, BIO_STATUS)
    bio_endio(cpu, bio)
    bio = next
  }
}

/** Ends a request: every bio once, then the slot is free. `status` is a blk_status_t. */
// @ts-ignore: decorator
@inline
export function blk_mq_end_request(cpu: u32, rq: u32, status: u32): void {
  if (load<u32>(rq, RQ_END_IO)) {
    end_to_host(cpu, rq, status)
    return
  }
  if (load<u32>(cpu, CPU_STAGES)) stages_done(cpu, rq, load<u64>(cpu, CPU_NOW))
  blk_account_io_done(cpu, rq)
  blk_update_request(cpu, rq, status)
  blk_mq_free_request(cpu, rq)
}

/** The end of a request whose end_io is TypeScript's, on the thread that owns the queue. */
function end_to_host(cpu: u32, rq: u32, status: u32): void {
  // A request inside a flush sequence keeps its bio, and is counted, when the sequence is over.
  if (!(load<u32>(rq, RQ_FLAGS) & RQF_FLUSH_SEQ)) {
    blk_account_io_done(cpu, rq)
    blk_update_request(cpu, rq, status)
  }
  store<u32>(rq, status, RQ_STATUS)
  const hctx = load<u32>(rq, RQ_HCTX)
  rq_push_atomic(load<u32>(hctx, HC_OWNER) + CPU_ENDIO, rq)
  blk_mq_call_slow(cpu, hctx)
}

/** Puts a request on a list that several threads fill (newest first). */
export function rq_push_atomic(list: u32, rq: u32): void {
  let head: u32
  do {
    head = atomic.load<u32>(list)
    store<u32>(rq, head, RQ_NEXT)
  } while (atomic.cmpxchg<u32>(list, head, rq) != head)
}

/** Puts a request on one of the lists that TypeScript empties (newest first). */
export function rq_push(list: u32, rq: u32): void {
  store<u32>(rq, load<u32>(list), RQ_NEXT)
  store<u32>(list, rq)
}

/** Gives the tag back; if the queue holds back requests, TypeScript runs it again. */
// @ts-ignore: decorator
@inline
export function blk_mq_free_request(cpu: u32, rq: u32): void {
  const hctx = load<u32>(rq, RQ_HCTX)
  const ctx = load<u32>(rq, RQ_CTX)
  const counter = ctx + CTX_COMPLETED_ASYNC + (op_is_sync(load<u32>(rq, RQ_CMD_FLAGS)) ? 8 : 0)
  store<u64>(counter, load<u64>(counter) + 1)
  if (load<u32>(rq, RQ_FLAGS) & RQF_MQ_INFLIGHT) atomic.sub<u32>(hctx, 1, HC_NR_ACTIVE)
  store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
  store<u32>(rq, 0, RQ_TIMEOUT)
  store<u64>(rq, 0, RQ_RETRIES) // and RQ_END_IO
  store<u64>(rq, 0, RQ_PRP_LIST) // and RQ_SQE
  const index = load<u32>(load<u32>(rq, RQ_CPU), CPU_INDEX)
  const tag = load<i32>(rq, RQ_TAG)
  const internal = load<i32>(rq, RQ_INTERNAL_TAG)
  if (tag >= 0) blk_mq_put_tag(load<u32>(hctx, HC_TAGS), index, tag)
  if (internal >= 0) blk_mq_put_tag(load<u32>(hctx, HC_SCHED_TAGS), index, internal)
  if (atomic.load<u32>(hctx, HC_GATE)) blk_mq_call_slow(cpu, hctx)
}
