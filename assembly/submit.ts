// From a bio to the driver: block/blk-core.c and block/blk-mq.c of Linux 4.19, the path of scheduler
// "none".
//
//   submit_bio -> generic_make_request -> blk_mq_make_request
//     split        a bio above max_sectors goes down in chained parts
//     plug merge   a bio that continues a plugged request joins it
//     get request  one try for a tag; without one the caller waits and tries again
//     flush, FUA   TypeScript's: blk_insert_flush
//     plugged      one hardware queue: up to 16 requests, sorted at the flush; more queues: the
//                  newest request only, the one before it is issued
//     direct       queue_rq at once
//
// The gate word of the hardware queue is looked at before a request is issued. If it is not zero (a
// scheduler, a stopped, quiesced or frozen queue, requests already waiting) the filled request goes
// to the slow list, in order of submission, and TypeScript decides.

import {
  BIO_DATA, BIO_DISK, BIO_NEXT, BIO_OPF, BIO_REMAINING, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CPU_INDEX,
  CPU_NOTAG, CPU_NOW, CPU_PLUG, CPU_PLUG_COUNT, CPU_PLUG_ENDS, CPU_PLUG_KEYS, CPU_PLUG_MIXED,
  CPU_PLUG_RQS, CPU_PLUG_STARTS, CPU_STAGES, CPU_SUBMITTED, CTX_HCTX, CTX_MERGED, CTX_SIZE,
  CTX_STAT_MERGES, DRIVER_NVME, GATE_DISPATCH, HC_DISPATCH_BUSY, HC_DISPATCH_HEAD, HC_DISPATCH_TAIL,
  HC_DRIVER, HC_GATE, HC_INDEX, HC_QUEUED, HC_SHARED, HC_SLOW_HEAD, HC_SLOW_LOCK, HC_SLOW_TAIL,
  M_BASE, M_COST_SUBMIT, PLUG_MAX, Q_CAPACITY, Q_CTXS, Q_FLAGS, Q_MAX_DISCARD, Q_MAX_SECTORS,
  Q_MAX_SEGMENTS, Q_MAX_ZEROES, Q_NR_HW, Q_VIRT_BOUNDARY, RQ_BIO, RQ_BIOTAIL, RQ_CMD_FLAGS, RQ_CTX,
  RQ_DATA_LEN, RQ_GOT_TAG_NS, RQ_HCTX, RQ_INSERT_NS, RQ_NEXT, RQ_NR_SEGS, RQ_Q, RQ_SECTOR,
  RQ_START_NS, RQ_TAG, SECTOR_SHIFT,
} from './layout'
import {
  BLK_QC_T_NONE, BLK_QC_T_SHIFT, BLK_STS_DEV_RESOURCE, BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK,
  BLK_STS_RESOURCE, QUEUE_FLAG_NOMERGES, QUEUE_FLAG_WC, REQ_FUA, REQ_NOMERGE, REQ_OP_DISCARD,
  REQ_OP_MASK, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES, REQ_PREFLUSH,
} from './nvme'
import { spend } from './clock'
import { nvme_ring_doorbells } from './doorbell'
import { lock, unlock } from './lock'
import {
  __blk_mq_requeue_request, bio_endio, bio_put, bio_split, blk_mq_bio_to_request, blk_mq_call_slow,
  blk_mq_end_request, blk_mq_rq_ctx_init, op_is_flush, op_is_sync, stat_group,
} from './request'
import { nvme_queue_rq } from './sq'
import { blk_mq_get_tag } from './tag'

/** submit_bio's answer when no tag was free: wait for one and try again. */
export const SUBMIT_AGAIN: i32 = -2
/** ... and when no bio was free to split with: try again when something has ended. */
export const SUBMIT_NO_BIO: i32 = -3

const BLK_MAX_REQUEST_COUNT: u32 = 16
const BLK_PLUG_FLUSH_SIZE: u32 = 128 * 1024

// ---------------------------------------------------------------- issue

/** Gives a request to its driver: a blk_status_t. */
// @ts-ignore: decorator
@inline
export function queue_rq(cpu: u32, hctx: u32, rq: u32): u32 {
  if (load<u32>(hctx, HC_DRIVER) == DRIVER_NVME) return nvme_queue_rq(cpu, hctx, rq)
  return BLK_STS_IOERR
}

/** A filled request that may not go on: to the slow list, in order of submission. */
export function blk_mq_slow_insert(cpu: u32, hctx: u32, rq: u32): void {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  store<u32>(rq, 0, RQ_NEXT)
  const tail = load<u32>(hctx, HC_SLOW_TAIL)
  if (tail) store<u32>(tail, rq, RQ_NEXT)
  else store<u32>(hctx, rq, HC_SLOW_HEAD)
  store<u32>(hctx, rq, HC_SLOW_TAIL)
  atomic.or<u32>(hctx, GATE_DISPATCH, HC_GATE)
  if (shared) unlock(hctx + HC_SLOW_LOCK)
  blk_mq_call_slow(cpu, hctx)
}

/** To the tail of hctx->dispatch: it goes out before anything else, when TypeScript runs the queue. */
export function blk_mq_request_bypass_insert(cpu: u32, hctx: u32, rq: u32): void {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  const tail = load<u32>(hctx, HC_DISPATCH_TAIL)
  store<u32>(rq, 0, RQ_NEXT)
  if (tail) store<u32>(tail, rq, RQ_NEXT)
  else store<u32>(hctx, rq, HC_DISPATCH_HEAD)
  store<u32>(hctx, rq, HC_DISPATCH_TAIL)
  atomic.or<u32>(hctx, GATE_DISPATCH, HC_GATE)
  if (shared) unlock(hctx + HC_SLOW_LOCK)
  blk_mq_call_slow(cpu, hctx)
}

/** To the head of hctx->dispatch. */
export function blk_mq_insert_dispatch_head(cpu: u32, hctx: u32, rq: u32): void {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  const head = load<u32>(hctx, HC_DISPATCH_HEAD)
  store<u32>(rq, head, RQ_NEXT)
  if (!head) store<u32>(hctx, rq, HC_DISPATCH_TAIL)
  store<u32>(hctx, rq, HC_DISPATCH_HEAD)
  atomic.or<u32>(hctx, GATE_DISPATCH, HC_GATE)
  if (shared) unlock(hctx + HC_SLOW_LOCK)
  blk_mq_call_slow(cpu, hctx)
}

/**
 * The next request that waits: of hctx->dispatch, then of the slow list. 0: both are empty, and the
 * gate is open again; whoever was taken before has been issued by then, so nothing overtakes it.
 */
export function blk_mq_take_waiting(hctx: u32): u32 {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  const list: u32 = load<u32>(hctx, HC_DISPATCH_HEAD) ? HC_DISPATCH_HEAD : HC_SLOW_HEAD
  const rq = load<u32>(hctx + list)
  if (rq) {
    const next = load<u32>(rq, RQ_NEXT)
    store<u32>(hctx + list, next)
    if (!next) store<u32>(hctx + list, 0, 4) // the tail stands behind the head
  } else {
    atomic.and<u32>(hctx, ~GATE_DISPATCH, HC_GATE)
  }
  if (shared) unlock(hctx + HC_SLOW_LOCK)
  return rq
}

/** EWMA of "the driver was busy", weight 8 (no scheduler attached). */
// @ts-ignore: decorator
@inline
export function blk_mq_update_dispatch_busy(hctx: u32, busy: bool): void {
  const old = load<u32>(hctx, HC_DISPATCH_BUSY)
  if (!old && !busy) return
  store<u32>(hctx, (old * 7 + (busy ? 16 : 0)) >> 3, HC_DISPATCH_BUSY)
}

// @ts-ignore: decorator
@inline
function __blk_mq_issue_directly(cpu: u32, hctx: u32, rq: u32): void {
  const status = queue_rq(cpu, hctx, rq)
  if (status == BLK_STS_OK) {
    blk_mq_update_dispatch_busy(hctx, false)
  } else if (status == BLK_STS_RESOURCE || status == BLK_STS_DEV_RESOURCE) {
    blk_mq_update_dispatch_busy(hctx, true)
    __blk_mq_requeue_request(rq)
    blk_mq_request_bypass_insert(cpu, hctx, rq)
  } else {
    blk_mq_update_dispatch_busy(hctx, false)
    blk_mq_end_request(cpu, rq, status)
  }
}

export function blk_mq_try_issue_directly(cpu: u32, hctx: u32, rq: u32): void {
  if (load<u32>(cpu, CPU_STAGES)) store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_INSERT_NS)
  if (atomic.load<u32>(hctx, HC_GATE)) blk_mq_slow_insert(cpu, hctx, rq)
  else __blk_mq_issue_directly(cpu, hctx, rq)
}

// ---------------------------------------------------------------- plug

// The plug is an array of requests in the order of their arrival. Two hashed sets of the sectors at
// which they begin and end say, mostly without a look at any of them, that a bio continues none.

export function blk_start_plug(cpu: u32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_PLUG) + 1, CPU_PLUG)
}

export function blk_finish_plug(cpu: u32): void {
  const depth = load<u32>(cpu, CPU_PLUG) - 1
  store<u32>(cpu, depth, CPU_PLUG)
  if (depth) return
  if (load<u32>(cpu, CPU_PLUG_COUNT)) blk_flush_plug_list(cpu)
  nvme_ring_doorbells(cpu)
}

function plugged(cpu: u32, place: u32): u32 {
  return load<u32>(cpu + (place << 2), CPU_PLUG_RQS)
}

/** The bit of a sector in a hashed set. */
// @ts-ignore: decorator
@inline
export function sector_bit(sector: u64): u64 {
  return <u64>1 << ((sector >> 3) & 63)
}

// @ts-ignore: decorator
@inline
function plug_note(cpu: u32, start: u64, end: u64): void {
  store<u64>(cpu, load<u64>(cpu, CPU_PLUG_STARTS) | sector_bit(start), CPU_PLUG_STARTS)
  store<u64>(cpu, load<u64>(cpu, CPU_PLUG_ENDS) | sector_bit(end), CPU_PLUG_ENDS)
}

// @ts-ignore: decorator
@inline
function plug_add(cpu: u32, rq: u32, count: u32, start: u64, end: u64): void {
  store<u32>(cpu + (count << 2), rq, CPU_PLUG_RQS)
  store<u32>(cpu, count + 1, CPU_PLUG_COUNT)
  if (count && load<u32>(rq, RQ_CTX) != load<u32>(plugged(cpu, 0), RQ_CTX)) store<u32>(cpu, 1, CPU_PLUG_MIXED)
  plug_note(cpu, start, end)
}

/** Empties the plug; its requests stay where they are in the array. */
function plug_reset(cpu: u32): void {
  store<u64>(cpu, 0, CPU_PLUG_COUNT) // and CPU_PLUG_MIXED
  store<u64>(cpu, 0, CPU_PLUG_STARTS)
  store<u64>(cpu, 0, CPU_PLUG_ENDS)
}

/** Sorts the keys (sector << 8 | place) of `count` requests by insertion: there are few. */
function plug_sort(cpu: u32, count: u32): void {
  const keys = cpu + CPU_PLUG_KEYS
  for (let i: u32 = 0; i < count; i++) {
    const key = (load<u64>(plugged(cpu, i), RQ_SECTOR) << 8) | i
    let at = keys + (i << 3)
    while (at > keys && load<u64>(at - 8) > key) {
      store<u64>(at, load<u64>(at - 8))
      at -= 8
    }
    store<u64>(at, key)
  }
}

/** The place that is issued next of a plug with several software queues: by queue, then by sector. */
function plug_next_mixed(cpu: u32, count: u32): u32 {
  let best: u32 = count
  for (let i: u32 = 0; i < count; i++) {
    const rq = plugged(cpu, i)
    if (rq && (best == count || plug_rq_before(rq, plugged(cpu, best)))) best = i
  }
  return best
}

function plug_rq_before(a: u32, b: u32): bool {
  const ca = load<u32>(a, RQ_CTX)
  const cb = load<u32>(b, RQ_CTX)
  return ca < cb || (ca == cb && load<u64>(a, RQ_SECTOR) < load<u64>(b, RQ_SECTOR))
}

function blk_flush_plug_mixed(cpu: u32, count: u32): void {
  for (let n = count; n; n--) {
    const place = plug_next_mixed(cpu, count)
    const rq = plugged(cpu, place)
    store<u32>(cpu + (place << 2), 0, CPU_PLUG_RQS)
    blk_mq_try_issue_directly(cpu, load<u32>(rq, RQ_HCTX), rq)
  }
}

/** Issues what is plugged, sorted by software queue and sector. */
export function blk_flush_plug_list(cpu: u32): void {
  const count = load<u32>(cpu, CPU_PLUG_COUNT)
  const mixed = load<u32>(cpu, CPU_PLUG_MIXED)
  plug_reset(cpu)
  if (mixed) {
    blk_flush_plug_mixed(cpu, count)
    return
  }
  if (count > 1) plug_sort(cpu, count)
  const hctx = load<u32>(plugged(cpu, 0), RQ_HCTX)
  for (let i: u32 = 0; i < count; i++) {
    const place: u32 = count > 1 ? <u32>load<u64>(cpu + (i << 3), CPU_PLUG_KEYS) & 0xff : i
    blk_mq_try_issue_directly(cpu, hctx, plugged(cpu, place))
  }
}

// ---------------------------------------------------------------- merge

// @ts-ignore: decorator
@inline
function bio_mergeable(opf: u32): bool {
  return !(opf & (REQ_NOMERGE | REQ_FUA | REQ_PREFLUSH)) && (opf & REQ_OP_MASK) <= <u32>REQ_OP_WRITE
}

/** A boundary inside the request must be a boundary of the device's pages (PRPs have no gaps). */
function bio_will_gap(mask: u32, before: u32, after: u32): bool {
  const end = load<u32>(before, BIO_DATA) + load<u32>(before, BIO_SIZE)
  return ((end | load<u32>(after, BIO_DATA)) & mask) != 0
}

function fits(q: u32, rq: u32, bio: u32): bool {
  const sectors = (load<u32>(rq, RQ_DATA_LEN) + load<u32>(bio, BIO_SIZE)) >> SECTOR_SHIFT
  return sectors <= load<u32>(q, Q_MAX_SECTORS) && load<u32>(rq, RQ_NR_SEGS) < load<u32>(q, Q_MAX_SEGMENTS)
}

function bio_attempt_back_merge(q: u32, rq: u32, bio: u32): bool {
  const tail = load<u32>(rq, RQ_BIOTAIL)
  if (!fits(q, rq, bio) || bio_will_gap(load<u32>(q, Q_VIRT_BOUNDARY), tail, bio)) return false
  store<u32>(tail, bio, BIO_NEXT)
  store<u32>(rq, bio, RQ_BIOTAIL)
  return true
}

function bio_attempt_front_merge(q: u32, rq: u32, bio: u32): bool {
  const head = load<u32>(rq, RQ_BIO)
  if (!fits(q, rq, bio) || bio_will_gap(load<u32>(q, Q_VIRT_BOUNDARY), bio, head)) return false
  store<u32>(bio, head, BIO_NEXT)
  store<u32>(rq, bio, RQ_BIO)
  store<u64>(rq, load<u64>(bio, BIO_SECTOR), RQ_SECTOR)
  return true
}

/** Tries to add a bio to a request that was not issued yet: back, then front. */
export function blk_try_merge(q: u32, rq: u32, bio: u32): bool {
  const opf = load<u32>(rq, RQ_CMD_FLAGS)
  if (!bio_mergeable(opf) || (opf & REQ_OP_MASK) != (load<u32>(bio, BIO_OPF) & REQ_OP_MASK)) return false
  const start = load<u64>(rq, RQ_SECTOR)
  const len = load<u32>(rq, RQ_DATA_LEN)
  const at = load<u64>(bio, BIO_SECTOR)
  const size = load<u32>(bio, BIO_SIZE)
  let merged = false
  if (start + (len >> SECTOR_SHIFT) == at) merged = bio_attempt_back_merge(q, rq, bio)
  else if (at + (size >> SECTOR_SHIFT) == start) merged = bio_attempt_front_merge(q, rq, bio)
  if (!merged) return false
  store<u32>(rq, len + size, RQ_DATA_LEN)
  store<u32>(rq, load<u32>(rq, RQ_NR_SEGS) + 1, RQ_NR_SEGS)
  const ctx = load<u32>(rq, RQ_CTX)
  store<u64>(ctx, load<u64>(ctx, CTX_MERGED) + 1, CTX_MERGED)
  const stat = ctx + CTX_STAT_MERGES + (stat_group(opf) << 3)
  store<u64>(stat, load<u64>(stat) + 1)
  return true
}

/** Walks the plug from the newest request to the oldest. */
function plug_scan(cpu: u32, q: u32, bio: u32): bool {
  for (let i = load<u32>(cpu, CPU_PLUG_COUNT); i; i--) {
    const rq = plugged(cpu, i - 1)
    if (load<u32>(rq, RQ_Q) != q || !blk_try_merge(q, rq, bio)) continue
    const start = load<u64>(rq, RQ_SECTOR)
    plug_note(cpu, start, start + (load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT))
    return true
  }
  return false
}

// @ts-ignore: decorator
@inline
function blk_attempt_plug_merge(cpu: u32, q: u32, bio: u32, start: u64, end: u64): bool {
  const back = load<u64>(cpu, CPU_PLUG_ENDS) & sector_bit(start)
  const front = load<u64>(cpu, CPU_PLUG_STARTS) & sector_bit(end)
  return (back | front) != 0 && plug_scan(cpu, q, bio)
}

/** Takes the oldest plugged request of a queue out of the plug; 0 if there is none. */
function plug_take(cpu: u32, q: u32): u32 {
  const count = load<u32>(cpu, CPU_PLUG_COUNT)
  for (let i: u32 = 0; i < count; i++) {
    const rq = plugged(cpu, i)
    if (load<u32>(rq, RQ_Q) != q) continue
    const at = cpu + CPU_PLUG_RQS + (i << 2)
    memory.copy(at, at + 4, (count - i - 1) << 2)
    if (count == 1) plug_reset(cpu)
    else store<u32>(cpu, count - 1, CPU_PLUG_COUNT)
    return rq
  }
  return 0
}

// ---------------------------------------------------------------- bio to request

/** One try for a request of the submitting CPU's queue; 0 if no tag is free. */
// @ts-ignore: decorator
@inline
function blk_mq_get_request(cpu: u32, q: u32, bio: u32, opf: u32, sector: u64, bytes: u32): u32 {
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  const tag = blk_mq_get_tag(hctx, index, 0)
  if (tag < 0) {
    store<u64>(cpu, load<u64>(cpu, CPU_NOTAG) + 1, CPU_NOTAG)
    return 0
  }
  const rq = blk_mq_rq_ctx_init(q, hctx, ctx, cpu, tag, opf)
  blk_mq_bio_to_request(rq, bio, sector, bytes)
  store<u64>(hctx, load<u64>(hctx, HC_QUEUED) + 1, HC_QUEUED)
  return rq
}

// @ts-ignore: decorator
@inline
function plug_full(cpu: u32, rq: u32, start: u64, end: u64): void {
  let count = load<u32>(cpu, CPU_PLUG_COUNT)
  if (count && (count >= BLK_MAX_REQUEST_COUNT ||
    load<u32>(plugged(cpu, count - 1), RQ_DATA_LEN) >= BLK_PLUG_FLUSH_SIZE)) {
    blk_flush_plug_list(cpu)
    count = 0
  }
  plug_add(cpu, rq, count, start, end)
}

function plug_limited(cpu: u32, q: u32, rq: u32, start: u64, end: u64): void {
  const same = plug_take(cpu, q)
  if (load<u32>(cpu, CPU_PLUG_COUNT) == PLUG_MAX) blk_flush_plug_list(cpu)
  plug_add(cpu, rq, load<u32>(cpu, CPU_PLUG_COUNT), start, end)
  if (same) blk_mq_try_issue_directly(cpu, load<u32>(same, RQ_HCTX), same)
}

/** The stamps of a request that has just got its tag. */
function stamp_stages(cpu: u32, rq: u32): void {
  store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_GOT_TAG_NS)
  store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_INSERT_NS)
}

function issues_directly(q: u32, hctx: u32, opf: u32): bool {
  return (load<u32>(q, Q_NR_HW) > 1 && op_is_sync(opf)) || !load<u32>(hctx, HC_DISPATCH_BUSY)
}

/** A bio within the limits: a cookie, or SUBMIT_AGAIN. */
// @ts-ignore: decorator
@inline
function blk_mq_submit_part(cpu: u32, q: u32, bio: u32, opf: u32, sector: u64, bytes: u32): i32 {
  const plugging = load<u32>(cpu, CPU_PLUG)
  const nomerges = load<u32>(q, Q_FLAGS) & (1 << QUEUE_FLAG_NOMERGES)
  const queued = load<u64>(cpu, CPU_NOW)
  const end = sector + (bytes >> SECTOR_SHIFT)
  if (plugging && !nomerges && bio_mergeable(opf) && blk_attempt_plug_merge(cpu, q, bio, sector, end)) {
    return BLK_QC_T_NONE
  }
  const rq = blk_mq_get_request(cpu, q, bio, opf, sector, bytes)
  if (!rq) return SUBMIT_AGAIN
  const hctx = load<u32>(rq, RQ_HCTX)
  store<u64>(rq, queued, RQ_START_NS)
  spend(cpu, load<u32>(M_BASE, M_COST_SUBMIT))
  if (load<u32>(cpu, CPU_STAGES)) stamp_stages(cpu, rq)
  const cookie = load<u32>(rq, RQ_TAG) | (load<u32>(hctx, HC_INDEX) << BLK_QC_T_SHIFT)
  if (op_is_flush(opf)) blk_mq_slow_insert(cpu, hctx, rq)
  else if (plugging && load<u32>(q, Q_NR_HW) == 1) plug_full(cpu, rq, sector, end)
  else if (plugging && !nomerges) plug_limited(cpu, q, rq, sector, end)
  else if (issues_directly(q, hctx, opf)) blk_mq_try_issue_directly(cpu, hctx, rq)
  else blk_mq_slow_insert(cpu, hctx, rq)
  return <i32>cookie
}

/** Bytes that one request of this kind may carry; 0 = the disk does not know the operation. */
function max_bytes_other(q: u32, op: u32): u64 {
  if (op == REQ_OP_DISCARD) return <u64>load<u32>(q, Q_MAX_DISCARD) << SECTOR_SHIFT
  if (op == REQ_OP_WRITE_ZEROES) return <u64>load<u32>(q, Q_MAX_ZEROES) << SECTOR_SHIFT
  return <u64>load<u32>(q, Q_MAX_SECTORS) << SECTOR_SHIFT
}

// @ts-ignore: decorator
@inline
function max_bytes(q: u32, opf: u32): u64 {
  const op = opf & REQ_OP_MASK
  if (op > <u32>REQ_OP_WRITE) return max_bytes_other(q, op)
  return <u64>load<u32>(q, Q_MAX_SECTORS) << SECTOR_SHIFT
}

/** Sends the front parts of a bio that is too large, until the rest fits. 0, or SUBMIT_*. */
function blk_queue_split(cpu: u32, q: u32, bio: u32, most: u32): i32 {
  const opf = load<u32>(bio, BIO_OPF)
  while (load<u32>(bio, BIO_SIZE) > most) {
    const part = bio_split(cpu, bio, most)
    if (!part) return SUBMIT_NO_BIO
    if (blk_mq_submit_part(cpu, q, part, opf, load<u64>(part, BIO_SECTOR), most) == SUBMIT_AGAIN) {
      bio_unsplit(cpu, bio, part)
      return SUBMIT_AGAIN
    }
  }
  return 0
}

/** Puts a part that found no tag back in front of the rest. */
function bio_unsplit(cpu: u32, bio: u32, part: u32): void {
  const bytes = load<u32>(part, BIO_SIZE)
  store<u32>(bio, load<u32>(bio, BIO_SIZE) + bytes, BIO_SIZE)
  store<u32>(bio, load<u32>(bio, BIO_DATA) - bytes, BIO_DATA)
  store<u64>(bio, load<u64>(bio, BIO_SECTOR) - (bytes >> SECTOR_SHIFT), BIO_SECTOR)
  store<u32>(bio, load<u32>(bio, BIO_REMAINING) - 1, BIO_REMAINING)
  bio_put(cpu, part)
}

// @ts-ignore: decorator
@inline
export function blk_mq_make_request(cpu: u32, q: u32, bio: u32, opf: u32, most: u64): i32 {
  if (<u64>load<u32>(bio, BIO_SIZE) > most) {
    const split = blk_queue_split(cpu, q, bio, <u32>most)
    if (split) return split
  }
  return blk_mq_submit_part(cpu, q, bio, opf, load<u64>(bio, BIO_SECTOR), load<u32>(bio, BIO_SIZE))
}

function end_with(cpu: u32, bio: u32, status: u32): i32 {
  store<u32>(bio, status, BIO_STATUS)
  bio_endio(cpu, bio)
  return BLK_QC_T_NONE
}

// @ts-ignore: decorator
@inline
export function generic_make_request(cpu: u32, bio: u32): i32 {
  const q = load<u32>(bio, BIO_DISK)
  let opf = load<u32>(bio, BIO_OPF)
  const sectors = <u64>(load<u32>(bio, BIO_SIZE) >> SECTOR_SHIFT)
  const capacity = load<u64>(q, Q_CAPACITY)
  const sector = load<u64>(bio, BIO_SECTOR)
  if (sector > capacity || sectors > capacity - sector) return end_with(cpu, bio, BLK_STS_IOERR)
  if (op_is_flush(opf) && !(load<u32>(q, Q_FLAGS) & (1 << QUEUE_FLAG_WC))) {
    opf &= ~(REQ_PREFLUSH | REQ_FUA)
    store<u32>(bio, opf, BIO_OPF)
    if (!sectors) return end_with(cpu, bio, BLK_STS_OK)
  }
  const most = max_bytes(q, opf)
  if (!most) return end_with(cpu, bio, BLK_STS_NOTSUPP)
  return blk_mq_make_request(cpu, q, bio, opf, most)
}

/**
 * Gives a bio to its disk. Returns a cookie (hardware queue << 16 | tag), BLK_QC_T_NONE, or
 * SUBMIT_AGAIN when no tag was free (SUBMIT_NO_BIO: no bio to split with): then the bio is
 * untouched, or shortened by what went down already, and submit_bio_again is called later.
 */
// @ts-ignore: decorator
@inline
export function submit_bio(cpu: u32, bio: u32): i32 {
  store<u64>(cpu, load<u64>(cpu, CPU_SUBMITTED) + 1, CPU_SUBMITTED)
  store<u32>(bio, BLK_STS_OK, BIO_STATUS)
  store<u64>(bio, 0, BIO_NEXT) // and BIO_REMAINING
  const cookie = generic_make_request(cpu, bio)
  if (!load<u32>(cpu, CPU_PLUG)) nvme_ring_doorbells(cpu)
  return cookie
}

/** The second and later tries of a bio for which no tag was free. */
export function submit_bio_again(cpu: u32, bio: u32): i32 {
  const cookie = generic_make_request(cpu, bio)
  if (!load<u32>(cpu, CPU_PLUG)) nvme_ring_doorbells(cpu)
  return cookie
}
