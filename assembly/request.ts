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
  BIO_BYTES, BIO_DATA, BIO_DISK, BIO_END_IO, BIO_FLAGS, BIO_NEXT, BIO_PRIVATE, BIO_REMAINING, BIO_SECTOR,
  BIO_SIZE, BIO_STATUS, CLOCK_VIRTUAL, CPU_BIO_FREE, CPU_CLOCK, CPU_ENDED, CPU_ENDIO, CPU_FAILED, CPU_INDEX, CPU_MAIL,
  CPU_NOW, CPU_RING, CPU_SLOW, CPU_STAGE_D2C, CPU_STAGE_G2I, CPU_STAGE_I2D, CPU_STAGE_N,
  CPU_STAGE_Q2C, CPU_STAGE_Q2G, CPU_STAGES, CTX_COMPLETED_ASYNC, CTX_DISPATCHED_ASYNC,
  CTX_STAT_IOS, CTX_STAT_SECTORS, CTX_STAT_TICKS, END_IO_CHAIN, END_IO_HOST, END_IO_JOB, END_IO_NONE,
  HB_ADD_TIMER, HB_BIO_END_IO, HB_END_IO, HB_FINISH, HB_FREED, HB_PBLK_END, HB_RESTART, HC_FLAGS, HC_GATE,
  HC_NR_ACTIVE, HC_OWNER, HC_SCHED_TAGS, HC_SIZE, HC_STATE, HC_TAGS, IOUF_FAILED, IOU_FLAGS, IOU_JOB, IOU_NEXT, JOB_ENDED,
  M_BASE, M_COST_SUBMIT, M_HZ, M_JIFFIES, MQ_RQ_COMPLETE, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, Q_FLAGS, Q_HCTXS, Q_IN_QUEUE,
  Q_IO_TICKS, Q_NR_HW, Q_STAT_STAMP, Q_TIMEOUT, Q_TIMER_ARMED, Q_TIMER_NEXT, Q_WATCH, REF_FREED,
  RING_BASE, RING_MASK, RING_TAIL, RQ_BIO, RQ_CMD_FLAGS, RQ_CPU, RQ_CTX, RQ_DATA_LEN, RQ_DEADLINE,
  RQ_END_IO, RQ_END_PBLK, RQ_FLAGS, RQ_GEN, RQ_GOT_TAG_NS, RQ_HCTX, RQ_INSERT_NS, RQ_INTERNAL_TAG, RQ_IO_START_NS,
  RQ_NEXT, RQ_PRP_LIST, RQ_Q, RQ_REF, RQ_RETRIES, RQ_SECTOR, RQ_SIZE, RQ_START_NS, RQ_STATE,
  RQ_STATUS, RQ_TAG, RQ_TIMEOUT, SBQ_MAP, SBQ_MAP_NR, SBQ_SHIFT, SBW_SIZE, SECTOR_SHIFT,
  TAGS_BITMAP, TAGS_RESERVED, TAGS_RQS, TAGS_STATIC_RQS, WATCH_FREEZE, WATCH_LAPTOP,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, BLK_MQ_S_SCHED_RESTART, BLK_STS_OK, QUEUE_FLAG_STATS, REQ_FUA, REQ_OP_DISCARD, REQ_OP_FLUSH,
  REQ_OP_MASK, REQ_OP_READ, REQ_OP_SCSI_IN, REQ_PREFLUSH, REQ_SYNC, RQF_ELVPRIV, RQF_FLUSH_SEQ, RQF_IO_STAT,
  RQF_MQ_INFLIGHT, RQF_PLAIN, RQF_TIMED_OUT,
} from './nvme'
import {
  EV_block_bio_complete, EV_block_rq_complete, EV_block_rq_issue, EV_block_rq_requeue,
  FN___blk_mq_free_request, FN___blk_mq_get_tag, FN___blk_mq_requeue_request, FN_bio_advance,
  FN_bio_endio, FN_blk_account_io_completion, FN_blk_account_io_done, FN_blk_add_timer,
  FN_blk_mq_check_inflight, FN_blk_mq_end_request, FN_blk_mq_free_request,
  FN_blk_mq_get_driver_tag, FN_blk_mq_get_tag, FN_blk_mq_in_flight, FN_blk_mq_put_tag,
  FN_blk_mq_queue_tag_busy_iter, FN_blk_mq_sched_restart, FN_blk_mq_start_request,
  FN_blk_queue_exit, FN_blk_status_to_errno, FN_blk_update_request, FN_rq_qos_done,
  FN_rq_qos_done_bio, FN_rq_qos_issue, FN_rq_qos_requeue,
} from './trace-names'
import { BUG_ON, BUG_RQ_STATE } from './bug'
import { host, hosted } from './host'
import { __blk_mq_get_tag, blk_mq_put_tag, blk_mq_tag_busy } from './tag'
import { bio_event, enter, entered, leave, rq_event } from './trace'
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
export function blk_add_timer(cpu: u32, q: u32, rq: u32): void {
  const t = enter(cpu, FN_blk_add_timer)
  const own = load<u32>(rq, RQ_TIMEOUT)
  const deadline = (load<u32>(M_BASE, M_JIFFIES) + (own ? own : load<u32>(q, Q_TIMEOUT))) & ~1
  store<u32>(rq, deadline, RQ_DEADLINE)
  if (blk_timer_must_move(q, deadline)) {
    if (hosted()) host(cpu, HB_ADD_TIMER, q, deadline)
    else blk_mq_call_slow(cpu, load<u32>(rq, RQ_HCTX))
  }
  leave(cpu, t)
}

/**
 * True if the queue's rolling timer does not run, or may have to fire earlier for this deadline. It fires at the latest
 * five seconds from now; Q_TIMER_NEXT is the first time for which it need not move.
 */
// @ts-ignore: decorator
@inline
export function blk_timer_must_move(q: u32, deadline: u32): bool {
  if (!load<u32>(q, Q_TIMER_ARMED)) return true
  const cap = load<u32>(M_BASE, M_JIFFIES) + 5 * load<u32>(M_BASE, M_HZ)
  const when = <i32>(deadline - cap) < 0 ? deadline : cap
  return <i32>(when - load<u32>(q, Q_TIMER_NEXT)) < 0
}

/** The request goes to the driver: it has a deadline and may be completed from now on. */
// @ts-ignore: decorator
@inline
export function blk_mq_start_request(cpu: u32, q: u32, rq: u32): void {
  const t = enter(cpu, FN_blk_mq_start_request)
  BUG_ON(load<u32>(rq, RQ_STATE) != MQ_RQ_IDLE, BUG_RQ_STATE)
  rq_event(cpu, EV_block_rq_issue, rq, 0)
  if (isDefined(TRACE_BUILD)) {
    if (load<u32>(q, Q_FLAGS) & (1 << QUEUE_FLAG_STATS)) entered(cpu, FN_rq_qos_issue)
  }
  if (load<u32>(cpu, CPU_STAGES)) store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_IO_START_NS)
  blk_add_timer(cpu, q, rq)
  store<u32>(rq, load<u32>(rq, RQ_GEN) + 1, RQ_GEN)
  store<u32>(rq, MQ_RQ_IN_FLIGHT, RQ_STATE)
  leave(cpu, t)
}

/** The request goes back to wait: it may be started again. A scheduler's request gives its driver tag back. */
export function __blk_mq_requeue_request(cpu: u32, rq: u32): void {
  const t = enter(cpu, FN___blk_mq_requeue_request)
  blk_mq_put_driver_tag(cpu, rq)
  rq_event(cpu, EV_block_rq_requeue, rq, 0)
  entered(cpu, FN_rq_qos_requeue)
  store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
  store<u32>(rq, load<u32>(rq, RQ_FLAGS) & ~RQF_TIMED_OUT, RQ_FLAGS)
  leave(cpu, t)
}

/** A scheduler's request gets a tag of the driver, if it has none: false when none is free. */
export function blk_mq_get_driver_tag(cpu: u32, rq: u32): bool {
  const t = enter(cpu, FN_blk_mq_get_driver_tag)
  let tag = load<i32>(rq, RQ_TAG)
  if (tag < 0) {
    const hctx = load<u32>(rq, RQ_HCTX)
    const g = enter(cpu, FN_blk_mq_get_tag)
    entered(cpu, FN___blk_mq_get_tag)
    blk_mq_tag_busy(hctx)
    tag = __blk_mq_get_tag(hctx, load<u32>(cpu, CPU_INDEX), 0, 0)
    leave(cpu, g)
    if (tag >= 0) {
      store<i32>(rq, tag, RQ_TAG)
      store<u32>(load<u32>(load<u32>(hctx, HC_TAGS), TAGS_RQS) + (tag << 2), rq)
      if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED) {
        store<u32>(rq, load<u32>(rq, RQ_FLAGS) | RQF_MQ_INFLIGHT, RQ_FLAGS)
        atomic.add<u32>(hctx, 1, HC_NR_ACTIVE)
      }
    }
  }
  leave(cpu, t)
  return tag >= 0
}

/** Gives the driver tag of a scheduler's request back; others keep theirs. */
export function blk_mq_put_driver_tag(cpu: u32, rq: u32): void {
  const tag = load<i32>(rq, RQ_TAG)
  if (tag < 0 || load<i32>(rq, RQ_INTERNAL_TAG) < 0) return
  const hctx = load<u32>(rq, RQ_HCTX)
  entered(cpu, FN_blk_mq_put_tag)
  blk_mq_put_tag(load<u32>(hctx, HC_TAGS), load<u32>(load<u32>(rq, RQ_CPU), CPU_INDEX), tag)
  store<i32>(rq, -1, RQ_TAG)
  if (load<u32>(rq, RQ_FLAGS) & RQF_MQ_INFLIGHT) {
    store<u32>(rq, load<u32>(rq, RQ_FLAGS) & ~RQF_MQ_INFLIGHT, RQ_FLAGS)
    atomic.sub<u32>(hctx, 1, HC_NR_ACTIVE)
  }
}

/** blk_mq_rq_ctx_init for a scheduler's tag: the request has no tag of the driver yet. */
export function blk_mq_sched_rq_init(q: u32, hctx: u32, ctx: u32, cpu: u32, tag: u32, opf: u32): u32 {
  const rq = load<u32>(load<u32>(hctx, HC_SCHED_TAGS), TAGS_STATIC_RQS) + tag * RQ_SIZE
  store<u64>(rq, pair(<u32>-1, tag), RQ_TAG) // and RQ_INTERNAL_TAG
  store<u32>(load<u32>(load<u32>(hctx, HC_SCHED_TAGS), TAGS_RQS) + (tag << 2), rq)
  store<u32>(rq, opf, RQ_CMD_FLAGS)
  store<u32>(rq, RQF_IO_STAT, RQ_FLAGS)
  store<u64>(rq, pair(ctx, hctx), RQ_CTX) // and RQ_HCTX
  store<u64>(rq, pair(q, cpu), RQ_Q) // and RQ_CPU
  const counter = ctx + CTX_DISPATCHED_ASYNC + (op_is_sync(opf) ? 8 : 0)
  store<u64>(counter, load<u64>(counter) + 1)
  return rq
}

// ---------------------------------------------------------------- statistics

/** Requests of a queue that hold a driver tag. */
function blk_mq_queue_tag_busy_iter(cpu: u32, q: u32): u32 {
  const t = enter(cpu, FN_blk_mq_queue_tag_busy_iter)
  let busy: u32 = 0
  for (let i: u32 = 0; i < load<u32>(q, Q_NR_HW); i++) {
    const tags = load<u32>(load<u32>(q, Q_HCTXS) + i * HC_SIZE, HC_TAGS)
    const map = load<u32>(tags, TAGS_BITMAP + SBQ_MAP)
    const shift = load<u32>(tags, TAGS_BITMAP + SBQ_SHIFT)
    for (let w: u32 = 0; w < load<u32>(tags, TAGS_BITMAP + SBQ_MAP_NR); w++) {
      for (let bits = load<u64>(map + w * SBW_SIZE); bits; bits &= bits - 1) {
        const tag = (w << shift) + <u32>ctz(bits) + load<u32>(tags, TAGS_RESERVED)
        const rq = load<u32>(load<u32>(tags, TAGS_RQS) + (tag << 2))
        if (!rq || load<u32>(rq, RQ_Q) != q) continue
        entered(cpu, FN_blk_mq_check_inflight)
        busy++
      }
    }
  }
  entered(cpu, FN_blk_queue_exit)
  leave(cpu, t)
  return busy
}

/** part_round_stats: once a jiffy, what was in flight since the last time. */
export function part_round_stats(cpu: u32, q: u32): void {
  const now = load<u32>(M_BASE, M_JIFFIES)
  const past = now - load<u32>(q, Q_STAT_STAMP)
  if (!past) return
  const t = enter(cpu, FN_blk_mq_in_flight)
  const busy = blk_mq_queue_tag_busy_iter(cpu, q)
  leave(cpu, t)
  store<u32>(q, now, Q_STAT_STAMP)
  if (!busy) return
  store<u32>(q, load<u32>(q, Q_IN_QUEUE) + busy * past, Q_IN_QUEUE)
  store<u32>(q, load<u32>(q, Q_IO_TICKS) + past, Q_IO_TICKS)
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
  const t = enter(cpu, FN_bio_endio)
  if (isDefined(TRACE_BUILD)) if (load<u32>(bio, BIO_DISK)) entered(cpu, FN_rq_qos_done_bio)
  bio_end(cpu, bio)
  leave(cpu, t)
}

// @ts-ignore: decorator
@inline
function bio_end(cpu: u32, bio: u32): void {
  if (isDefined(TRACE_BUILD)) {
    if (load<u32>(bio, BIO_FLAGS)) {
      store<u32>(bio, 0, BIO_FLAGS)
      entered(cpu, FN_blk_status_to_errno)
      bio_event(cpu, EV_block_bio_complete, bio)
    }
  }
  if (load<u32>(bio, BIO_END_IO) != END_IO_JOB || load<u32>(bio, BIO_REMAINING)) {
    bio_endio_other(cpu, bio)
    return
  }
  count_end(cpu, bio)
  job_ends(bio)
}

// @ts-ignore: decorator
@inline
function count_end(cpu: u32, bio: u32): void {
  const counter = cpu + (load<u32>(bio, BIO_STATUS) ? CPU_FAILED : CPU_ENDED)
  store<u64>(counter, load<u64>(counter) + 1)
}

/** An io_u whose bio has ended goes to its job, which shall see a failure without looking at the bio. */
// @ts-ignore: decorator
@inline
function job_ends(iou: u32): void {
  const job = load<u32>(iou, IOU_JOB)
  if (load<u32>(iou, BIO_STATUS)) store<u32>(iou, load<u32>(iou, IOU_FLAGS) | IOUF_FAILED, IOU_FLAGS)
  store<u32>(iou, load<u32>(job, JOB_ENDED), IOU_NEXT)
  store<u32>(job, iou, JOB_ENDED)
}

/** The end of a bio that was split, is a part, or belongs to TypeScript. */
function bio_endio_other(cpu: u32, bio: u32): void {
  if (load<u32>(bio, BIO_REMAINING) || load<u32>(bio, BIO_END_IO) == END_IO_CHAIN) {
    bio = bio_chain_endio(cpu, bio)
    if (!bio) return
  }
  count_end(cpu, bio)
  if (load<u32>(bio, BIO_END_IO) == END_IO_NONE) return
  if (load<u32>(bio, BIO_END_IO) == END_IO_HOST) {
    host(cpu, HB_BIO_END_IO, bio, 0)
    return
  }
  if (load<u32>(bio, BIO_END_IO) == END_IO_JOB) {
    job_ends(bio)
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
  const t = enter(cpu, FN_blk_account_io_done)
  if (hosted()) {
    // An internal flush is not counted, and no passthrough.
    if (load<u32>(rq, RQ_FLAGS) & RQF_FLUSH_SEQ || (load<u32>(rq, RQ_CMD_FLAGS) & REQ_OP_MASK) >= <u32>REQ_OP_SCSI_IN) {
      leave(cpu, t)
      return
    }
    part_round_stats(cpu, load<u32>(rq, RQ_Q))
  }
  const stat = load<u32>(rq, RQ_CTX) + (stat_group(load<u32>(rq, RQ_CMD_FLAGS)) << 3)
  store<u64>(stat, load<u64>(stat, CTX_STAT_IOS) + 1, CTX_STAT_IOS)
  const sectors = load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT
  store<u64>(stat, load<u64>(stat, CTX_STAT_SECTORS) + sectors, CTX_STAT_SECTORS)
  const start = load<u64>(rq, RQ_START_NS)
  const now = load<u64>(cpu, CPU_NOW)
  if (now > start) store<u64>(stat, load<u64>(stat, CTX_STAT_TICKS) + (now - start), CTX_STAT_TICKS)
  leave(cpu, t)
}

function add_stage(cpu: u32, stage: u32, from: u64, to: u64): void {
  if (to > from) store<f64>(cpu + stage, load<f64>(cpu + stage) + <f64>(to - from))
}

/** Sums the stages of `n` requests that had all of their stamps taken, whose sums these are. */
export function add_stages(cpu: u32, n: u32, queued: u64, tagged: u64, inserted: u64, issued: u64, over: u64): void {
  store<u64>(cpu, load<u64>(cpu, CPU_STAGE_N) + n, CPU_STAGE_N)
  add_stage(cpu, CPU_STAGE_Q2G, queued, tagged)
  add_stage(cpu, CPU_STAGE_G2I, tagged, inserted)
  add_stage(cpu, CPU_STAGE_I2D, inserted, issued)
  add_stage(cpu, CPU_STAGE_D2C, issued, over)
  add_stage(cpu, CPU_STAGE_Q2C, queued, over)
}

/** The same of one. */
function stages_done(cpu: u32, rq: u32, now: u64): void {
  plain_stamps(cpu, rq)
  const queued = load<u64>(rq, RQ_START_NS)
  const tagged = load<u64>(rq, RQ_GOT_TAG_NS)
  add_stages(cpu, 1, queued, tagged, load<u64>(rq, RQ_INSERT_NS), load<u64>(rq, RQ_IO_START_NS), now)
}

/** What a plain request gets for its tag costs the same each time, and it is inserted when it is issued. */
export function plain_stamps(cpu: u32, rq: u32): void {
  if (!(load<u32>(rq, RQ_FLAGS) & RQF_PLAIN)) return
  store<u64>(rq, load<u64>(rq, RQ_START_NS) + submit_cost(cpu), RQ_GOT_TAG_NS)
  store<u64>(rq, load<u64>(rq, RQ_IO_START_NS), RQ_INSERT_NS)
}

/** What submit_bio costs down to the entry in the ring, ns. */
// @ts-ignore: decorator
@inline
export function submit_cost(cpu: u32): u64 {
  return load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL ? load<u32>(M_BASE, M_COST_SUBMIT) : 0
}

// @ts-ignore: decorator
@inline
function blk_update_request(cpu: u32, rq: u32, status: u32): void {
  const t = enter(cpu, FN_blk_update_request)
  rq_event(cpu, EV_block_rq_complete, rq, status)
  let bio = load<u32>(rq, RQ_BIO)
  if (bio) entered(cpu, FN_blk_account_io_completion)
  // In the middle of a flush sequence the bio has moved its data, and ends with the sequence.
  if (hosted() && load<u32>(rq, RQ_FLAGS) & RQF_FLUSH_SEQ) {
    if (bio) entered(cpu, FN_bio_advance)
    leave(cpu, t)
    return
  }
  store<u32>(rq, 0, RQ_BIO)
  while (bio) {
    const next = load<u32>(bio, BIO_NEXT)
    store<u32>(bio, 0, BIO_NEXT)
    if (status != BLK_STS_OK) store<u32>(bio, status, BIO_STATUS)
    if (isDefined(TRACE_BUILD)) store<u32>(bio, 0, BIO_FLAGS)
    // Pages that do not follow each other are bios of their own here; in Linux they are one.
    if (next && load<u32>(bio, BIO_END_IO) == END_IO_NONE) bio_end(cpu, bio)
    else {
      entered(cpu, FN_bio_advance)
      bio_endio(cpu, bio)
    }
    bio = next
  }
  leave(cpu, t)
}

/** Ends a request: every bio once, then the slot is free. `status` is a blk_status_t. */
// @ts-ignore: decorator
@inline
export function blk_mq_end_request(cpu: u32, rq: u32, status: u32): void {
  const t = enter(cpu, FN_blk_mq_end_request)
  if (load<u32>(rq, RQ_END_IO)) {
    end_to_host(cpu, rq, status)
    leave(cpu, t)
    return
  }
  if (load<u32>(cpu, CPU_STAGES)) stages_done(cpu, rq, load<u64>(cpu, CPU_NOW))
  blk_update_request(cpu, rq, status)
  blk_account_io_done(cpu, rq)
  blk_mq_free_request(cpu, rq)
  leave(cpu, t)
}

/** The end of a request whose end_io is TypeScript's, on the thread that owns the queue. */
function end_to_host(cpu: u32, rq: u32, status: u32): void {
  if (hosted()) {
    blk_update_request(cpu, rq, status)
    blk_account_io_done(cpu, rq)
    entered(cpu, FN_rq_qos_done)
    host(cpu, load<u32>(rq, RQ_END_IO) == RQ_END_PBLK ? HB_PBLK_END : HB_END_IO, rq, status)
    return
  }
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
  const t = enter(cpu, FN_blk_mq_free_request)
  const hctx = load<u32>(rq, RQ_HCTX)
  if (hosted()) blk_mq_free_hosted(cpu, rq)
  else blk_mq_put_request(cpu, hctx, rq)
  leave(cpu, t)
}

/** The same while TypeScript answers at once: it hears of it. */
function blk_mq_free_hosted(cpu: u32, rq: u32): void {
  const hctx = load<u32>(rq, RQ_HCTX)
  const q = load<u32>(rq, RQ_Q)
  if (load<u32>(rq, RQ_FLAGS) & RQF_ELVPRIV) host(cpu, HB_FINISH, rq, 0)
  const watched = load<u32>(q, Q_WATCH)
  if (watched & WATCH_LAPTOP && (load<u32>(rq, RQ_CMD_FLAGS) & REQ_OP_MASK) < <u32>REQ_OP_SCSI_IN) host(cpu, HB_FREED, q, rq)
  // The timeout scan holds a reference to a request that it ends: then the scan frees it.
  const held = load<u32>(rq, RQ_REF)
  if (held) {
    entered(cpu, FN_rq_qos_done)
    store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
    store<u32>(rq, held | REF_FREED, RQ_REF)
    return
  }
  blk_mq_put_request(cpu, hctx, rq)
}

/** The timeout scan gives up its reference: __blk_mq_free_request, if the request was freed meanwhile. */
export function blk_mq_put_reference(cpu: u32, rq: u32): void {
  const freed = load<u32>(rq, RQ_REF) & REF_FREED
  store<u32>(rq, 0, RQ_REF)
  if (freed) put_request(cpu, load<u32>(rq, RQ_HCTX), rq)
}

// @ts-ignore: decorator
@inline
function blk_mq_put_request(cpu: u32, hctx: u32, rq: u32): void {
  entered(cpu, FN_rq_qos_done)
  put_request(cpu, hctx, rq)
}

/** __blk_mq_free_request: tags and reference go. */
// @ts-ignore: decorator
@inline
function put_request(cpu: u32, hctx: u32, rq: u32): void {
  const t = enter(cpu, FN___blk_mq_free_request)
  const q = load<u32>(rq, RQ_Q)
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
  if (tag >= 0) {
    entered(cpu, FN_blk_mq_put_tag)
    blk_mq_put_tag(load<u32>(hctx, HC_TAGS), index, tag)
  }
  if (internal >= 0) {
    entered(cpu, FN_blk_mq_put_tag)
    blk_mq_put_tag(load<u32>(hctx, HC_SCHED_TAGS), index, internal)
  }
  blk_mq_sched_restart(cpu, hctx)
  entered(cpu, FN_blk_queue_exit)
  if (load<u32>(q, Q_WATCH) & WATCH_FREEZE) host(cpu, HB_FREED, q, 0)
  leave(cpu, t)
}

/** Requests that wait are given another chance. */
// @ts-ignore: decorator
@inline
function blk_mq_sched_restart(cpu: u32, hctx: u32): void {
  const t = enter(cpu, FN_blk_mq_sched_restart)
  if (!hosted()) {
    if (atomic.load<u32>(hctx, HC_GATE)) blk_mq_call_slow(cpu, hctx)
  } else if (atomic.load<u32>(hctx, HC_STATE) & BLK_MQ_S_SCHED_RESTART) host(cpu, HB_RESTART, hctx, 0)
  leave(cpu, t)
}
