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
  BIO_BASED_NULL, BIO_DATA, BIO_DISK, BIO_FLAGS, BIO_NEXT, BIO_OPF, BIO_REMAINING, BIO_SECTOR,
  BIO_SIZE, BIO_STATUS, CPU_INDEX, CPU_NOTAG, CPU_NOW, CPU_PLUG, CPU_PLUG_COUNT, CPU_PLUG_ENDS,
  CPU_PLUG_KEYS, CPU_PLUG_MIXED, CPU_PLUG_RQS, CPU_PLUG_STARTS, CPU_STAGES, CPU_SUBMITTED,
  CTX_HCTX, CTX_HCTX_POLL, CTX_HCTX_READ, CTX_HEAD, CTX_MERGED, CTX_SIZE, CTX_STAT_MERGES, CTX_TAIL, DRIVER_HOST, DRIVER_NVME, FROZEN_DYING, GATE_DISPATCH,
  GATE_QUIESCED, GATE_SCHED, GATE_STOPPED, HB_BIO_MERGE, HB_INSERT_FLUSH, HB_INSERT_REQUEST,
  HB_INSERT_REQUESTS, HB_LIMIT_DEPTH, HB_MERGE_BIO, HB_PREPARE, HB_QUEUE_RQ, HB_RUN_HW_QUEUE, HC_DISPATCH_BUSY,
  HC_DISPATCH_HEAD, HC_DISPATCH_TAIL, HC_DRIVER, HC_GATE, HC_INDEX, HC_QUEUED, HC_SHARED,
  HC_SLOW_HEAD, HC_SLOW_LOCK, HC_SLOW_TAIL, M_BASE, M_COST_SUBMIT, PLUG_MAX, Q_BIO_BASED,
  Q_CAPACITY, Q_CTXS, Q_ELEVATOR, Q_FLAGS, Q_FROZEN, Q_MAX_DISCARD, Q_MAX_SECTORS, Q_MAX_SEGMENTS,
  Q_MAX_ZEROES, Q_NR_HW, Q_VIRT_BOUNDARY, RQ_BIO, RQ_BIOTAIL, RQ_CMD_FLAGS, RQ_CTX, RQ_DATA_LEN,
  RQ_FLAGS, RQ_GOT_TAG_NS, RQ_HCTX, RQ_INSERT_NS, RQ_INTERNAL_TAG, RQ_NEXT, RQ_NR_SEGS, RQ_Q,
  RQ_SECTOR, RQ_START_NS, RQ_TAG, SECTOR_SHIFT, NOT_PLAIN,
} from './layout'
import {
  BLK_MQ_REQ_INTERNAL, BLK_QC_T_INTERNAL, BLK_QC_T_NONE, BLK_QC_T_SHIFT, BLK_STS_DEV_RESOURCE,
  BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK, BLK_STS_RESOURCE, QUEUE_FLAG_NOMERGES, QUEUE_FLAG_WC,
  REQ_FUA, REQ_HIPRI, REQ_NOMERGE, REQ_OP_DISCARD, REQ_OP_MASK, REQ_OP_READ, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES,
  REQ_PREFLUSH, RQF_ELVPRIV,
} from './nvme'
import {
  EV_block_bio_backmerge, EV_block_bio_frontmerge, EV_block_bio_queue, EV_block_getrq,
  EV_block_plug, EV_block_rq_insert, EV_block_unplug, FN___blk_mq_get_tag,
  FN___blk_mq_sched_bio_merge, FN___blk_mq_try_issue_directly, FN_bio_attempt_back_merge,
  FN_bio_attempt_front_merge, FN_blk_account_io_start, FN_blk_attempt_plug_merge,
  FN_blk_finish_plug, FN_blk_flush_plug_list, FN_blk_init_request_from_bio,
  FN_blk_mq_flush_plug_list, FN_blk_mq_get_request, FN_blk_mq_get_tag, FN_blk_mq_hctx_mark_pending,
  FN_blk_mq_insert_requests, FN_blk_mq_make_request, FN_blk_mq_request_bypass_insert,
  FN_blk_mq_request_issue_directly, FN_blk_mq_sched_insert_requests, FN_blk_mq_try_issue_directly,
  FN_blk_mq_try_issue_list_directly, FN_blk_queue_enter, FN_blk_queue_exit, FN_blk_queue_split,
  FN_blk_rq_merge_ok, FN_blk_start_plug, FN_blk_try_merge, FN_generic_make_request,
  FN_generic_make_request_checks, FN_rq_qos_throttle, FN_rq_qos_track, FN_submit_bio,
} from './trace-names'
import { spend } from './clock'
import { nvme_ring_doorbells } from './doorbell'
import { lock, unlock } from './lock'
import { null_queue_bio, null_queue_rq } from './null_blk'
import { pblk_make_rq } from './pblk'
import { plain_submit } from './plain-bio'
import {
  __blk_mq_requeue_request, bio_endio, bio_put, bio_split, blk_mq_bio_to_request, blk_mq_call_slow,
  blk_mq_end_request, blk_mq_rq_ctx_init, op_is_flush, op_is_sync, stat_group,
  blk_mq_get_driver_tag, blk_mq_sched_rq_init, part_round_stats,
} from './request'
import { nvme_queue_rq } from './sq'
import { host, hosted } from './host'
import { bio_event, enter, entered, leave, mute_trace, queue_event, rq_event, unmute_trace } from './trace'
import { __blk_mq_get_tag, blk_mq_get_tag, blk_mq_tag_busy } from './tag'

/** submit_bio's answer when no tag was free: wait for one and try again. */
export const SUBMIT_AGAIN: i32 = -2
/** ... and when no bio was free to split with: try again when something has ended. */
export const SUBMIT_NO_BIO: i32 = -3
/** The queue is frozen: the bio is untouched, and submit_bio_thawed is called when it is not any more. */
export const SUBMIT_FROZEN: i32 = -4

const BLK_MAX_REQUEST_COUNT: u32 = 16
const BLK_PLUG_FLUSH_SIZE: u32 = 128 * 1024

/** The make_request_fn of a disk whose driver is TypeScript's, at once: a cookie, BLK_QC_T_NONE or SUBMIT_*. */
// @ts-ignore: decorator
@external("env", "make_request")
declare function make_request(cpu: u32, bio: u32): i32

// ---------------------------------------------------------------- issue

/** Gives a request to its driver: a blk_status_t. */
// @ts-ignore: decorator
@inline
export function queue_rq(cpu: u32, hctx: u32, rq: u32): u32 {
  const driver = load<u32>(hctx, HC_DRIVER)
  if (driver == DRIVER_NVME) return nvme_queue_rq(cpu, hctx, rq)
  if (driver == DRIVER_HOST) return host(cpu, HB_QUEUE_RQ, hctx, rq)
  return null_queue_rq(cpu, hctx, rq)
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
export function blk_mq_request_bypass_insert(cpu: u32, hctx: u32, rq: u32, run: bool): void {
  const t = enter(cpu, FN_blk_mq_request_bypass_insert)
  bypass_insert(cpu, hctx, rq)
  if (run && hosted()) host(cpu, HB_RUN_HW_QUEUE, hctx, 0)
  leave(cpu, t)
}

function bypass_insert(cpu: u32, hctx: u32, rq: u32): void {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  const tail = load<u32>(hctx, HC_DISPATCH_TAIL)
  store<u32>(rq, 0, RQ_NEXT)
  if (tail) store<u32>(tail, rq, RQ_NEXT)
  else store<u32>(hctx, rq, HC_DISPATCH_HEAD)
  store<u32>(hctx, rq, HC_DISPATCH_TAIL)
  call_slow(cpu, hctx, shared)
}

/** The end of an insertion: while nobody answers at once, the gate is shut, and the owner looks at the queue. */
function call_slow(cpu: u32, hctx: u32, shared: u32): void {
  if (!hosted()) atomic.or<u32>(hctx, GATE_DISPATCH, HC_GATE)
  if (shared) unlock(hctx + HC_SLOW_LOCK)
  if (!hosted()) blk_mq_call_slow(cpu, hctx)
}

/** To the head of hctx->dispatch. */
export function blk_mq_insert_dispatch_head(cpu: u32, hctx: u32, rq: u32): void {
  const shared = load<u32>(hctx, HC_SHARED)
  if (shared) lock(hctx + HC_SLOW_LOCK)
  const head = load<u32>(hctx, HC_DISPATCH_HEAD)
  store<u32>(rq, head, RQ_NEXT)
  if (!head) store<u32>(hctx, rq, HC_DISPATCH_TAIL)
  store<u32>(hctx, rq, HC_DISPATCH_HEAD)
  call_slow(cpu, hctx, shared)
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
function __blk_mq_issue_directly(cpu: u32, hctx: u32, rq: u32): u32 {
  const status = queue_rq(cpu, hctx, rq)
  const busy = status == BLK_STS_RESOURCE || status == BLK_STS_DEV_RESOURCE
  blk_mq_update_dispatch_busy(hctx, busy)
  if (busy) __blk_mq_requeue_request(cpu, rq)
  return status
}

/**
 * Gives a request to its driver, unless something stands in the way: a blk_status_t. `bypass`: the caller keeps a
 * request that could not go, and RESOURCE says so; otherwise it waits on hctx->dispatch.
 */
// @ts-ignore: decorator
@inline
function __blk_mq_try_issue_directly(cpu: u32, hctx: u32, rq: u32, bypass: bool): u32 {
  const t = enter(cpu, FN___blk_mq_try_issue_directly)
  const gate = atomic.load<u32>(hctx, HC_GATE)
  let status: u32 = BLK_STS_OK
  if (!gate) {
    if (isDefined(TRACE_BUILD)) blk_mq_get_driver_tag(cpu, rq)
    status = __blk_mq_issue_directly(cpu, hctx, rq)
  } else if (hosted()) status = try_issue_gated(cpu, hctx, rq, gate, bypass)
  else blk_mq_slow_insert(cpu, hctx, rq)
  leave(cpu, t)
  return status
}

/** The same while the gate is not open: a stopped or quiesced queue, a scheduler. */
function try_issue_gated(cpu: u32, hctx: u32, rq: u32, gate: u32, bypass: bool): u32 {
  if (gate & (GATE_STOPPED | GATE_QUIESCED)) {
    blk_mq_request_bypass_insert(cpu, hctx, rq, false)
    return BLK_STS_OK
  }
  if ((bypass || !(gate & GATE_SCHED)) && blk_mq_get_driver_tag(cpu, rq)) {
    return __blk_mq_issue_directly(cpu, hctx, rq)
  }
  if (bypass) return BLK_STS_RESOURCE
  blk_mq_request_bypass_insert(cpu, hctx, rq, true)
  return BLK_STS_OK
}

export function blk_mq_try_issue_directly(cpu: u32, hctx: u32, rq: u32): void {
  const t = enter(cpu, FN_blk_mq_try_issue_directly)
  if (load<u32>(cpu, CPU_STAGES)) store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_INSERT_NS)
  const status = __blk_mq_try_issue_directly(cpu, hctx, rq, false)
  if (status == BLK_STS_RESOURCE || status == BLK_STS_DEV_RESOURCE) blk_mq_request_bypass_insert(cpu, hctx, rq, true)
  else if (status != BLK_STS_OK) blk_mq_end_request(cpu, rq, status)
  leave(cpu, t)
}

// ---------------------------------------------------------------- plug

// The plug is an array of requests in the order of their arrival. Two hashed sets of the sectors at
// which they begin and end say, mostly without a look at any of them, that a bio continues none.

export function blk_start_plug(cpu: u32): void {
  entered(cpu, FN_blk_start_plug)
  store<u32>(cpu, load<u32>(cpu, CPU_PLUG) + 1, CPU_PLUG)
}

export function blk_finish_plug(cpu: u32): void {
  const t = enter(cpu, FN_blk_finish_plug)
  const depth = load<u32>(cpu, CPU_PLUG) - 1
  store<u32>(cpu, depth, CPU_PLUG)
  if (!depth) {
    if (isDefined(TRACE_BUILD) || load<u32>(cpu, CPU_PLUG_COUNT)) blk_flush_plug_list(cpu)
    nvme_ring_doorbells(cpu)
  }
  leave(cpu, t)
}

/** A task goes to sleep: what it has plugged goes on by itself. */
export function blk_schedule_flush_plug(cpu: u32): void {
  const t = enter(cpu, FN_blk_flush_plug_list)
  if (load<u32>(cpu, CPU_PLUG_COUNT)) blk_mq_flush_plug_list(cpu, true)
  leave(cpu, t)
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
  const t = enter(cpu, FN_blk_flush_plug_list)
  if (!hosted()) flush_plug_unhosted(cpu)
  else if (load<u32>(cpu, CPU_PLUG_COUNT)) blk_mq_flush_plug_list(cpu, false)
  leave(cpu, t)
}

/** Whole runs of one software queue go on together. */
function blk_mq_flush_plug_list(cpu: u32, from_schedule: bool): void {
  const t = enter(cpu, FN_blk_mq_flush_plug_list)
  const count = load<u32>(cpu, CPU_PLUG_COUNT)
  plug_reset(cpu)
  let first: u32 = 0
  let last: u32 = 0
  let depth: u32 = 0
  for (let n = count; n; n--) {
    const place = plug_next_mixed(cpu, count)
    const rq = plugged(cpu, place)
    store<u32>(cpu + (place << 2), 0, CPU_PLUG_RQS)
    if (first && (load<u32>(rq, RQ_CTX) != load<u32>(first, RQ_CTX) || load<u32>(rq, RQ_HCTX) != load<u32>(first, RQ_HCTX))) {
      queue_event(cpu, EV_block_unplug, load<u32>(first, RQ_Q), depth)
      blk_mq_sched_insert_requests(cpu, first, from_schedule)
      first = 0
      depth = 0
    }
    store<u32>(rq, 0, RQ_NEXT)
    if (first) store<u32>(last, rq, RQ_NEXT)
    else first = rq
    last = rq
    depth++
  }
  if (first) {
    queue_event(cpu, EV_block_unplug, load<u32>(first, RQ_Q), depth)
    blk_mq_sched_insert_requests(cpu, first, from_schedule)
  }
  leave(cpu, t)
}

/** Requests of one software queue, linked by RQ_NEXT: to the scheduler, to the driver, or onto the software queue. */
function blk_mq_sched_insert_requests(cpu: u32, first: u32, run_queue_async: bool): void {
  const t = enter(cpu, FN_blk_mq_sched_insert_requests)
  const hctx = load<u32>(first, RQ_HCTX)
  let left = first
  if (atomic.load<u32>(hctx, HC_GATE) & GATE_SCHED) host(cpu, HB_INSERT_REQUESTS, hctx, first)
  else {
    if (!load<u32>(hctx, HC_DISPATCH_BUSY) && !run_queue_async) left = blk_mq_try_issue_list_directly(cpu, hctx, first)
    if (left) blk_mq_insert_requests(cpu, load<u32>(left, RQ_CTX), left)
  }
  if (left) host(cpu, HB_RUN_HW_QUEUE, hctx, run_queue_async ? 1 : 0)
  leave(cpu, t)
}

/** Issues requests one by one. What is left of the list when the driver has had enough: its first request, or 0. */
function blk_mq_try_issue_list_directly(cpu: u32, hctx: u32, first: u32): u32 {
  const t = enter(cpu, FN_blk_mq_try_issue_list_directly)
  let rq = first
  while (rq) {
    const next = load<u32>(rq, RQ_NEXT)
    const d = enter(cpu, FN_blk_mq_request_issue_directly)
    const status = __blk_mq_try_issue_directly(cpu, hctx, rq, true)
    leave(cpu, d)
    if (status == BLK_STS_RESOURCE || status == BLK_STS_DEV_RESOURCE) {
      blk_mq_request_bypass_insert(cpu, hctx, rq, !next)
      rq = next
      break
    }
    if (status != BLK_STS_OK) blk_mq_end_request(cpu, rq, status)
    rq = next
  }
  leave(cpu, t)
  return rq
}

/** Appends requests, linked by RQ_NEXT, to a software queue. */
export function blk_mq_insert_requests(cpu: u32, ctx: u32, first: u32): void {
  const t = enter(cpu, FN_blk_mq_insert_requests)
  let rq = first
  while (rq) {
    const next = load<u32>(rq, RQ_NEXT)
    rq_event(cpu, EV_block_rq_insert, rq, 0)
    __blk_mq_insert_req_list(ctx, rq, false)
    rq = next
  }
  entered(cpu, FN_blk_mq_hctx_mark_pending)
  leave(cpu, t)
}

/** Puts a request at the tail or the head of a software queue. */
export function __blk_mq_insert_req_list(ctx: u32, rq: u32, at_head: bool): void {
  const head = load<u32>(ctx, CTX_HEAD)
  if (at_head) {
    store<u32>(rq, head, RQ_NEXT)
    store<u32>(ctx, rq, CTX_HEAD)
    if (!head) store<u32>(ctx, rq, CTX_TAIL)
    return
  }
  store<u32>(rq, 0, RQ_NEXT)
  if (head) store<u32>(load<u32>(ctx, CTX_TAIL), rq, RQ_NEXT)
  else store<u32>(ctx, rq, CTX_HEAD)
  store<u32>(ctx, rq, CTX_TAIL)
}

function flush_plug_unhosted(cpu: u32): void {
  const count = load<u32>(cpu, CPU_PLUG_COUNT)
  const mixed = load<u32>(cpu, CPU_PLUG_MIXED)
  if (isDefined(TRACE_BUILD)) if (!count) return
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

/** Walks the plug from the newest request to the oldest; for the trace also when none of them can be `possible`. */
function plug_scan(cpu: u32, q: u32, bio: u32, possible: bool): bool {
  for (let i = load<u32>(cpu, CPU_PLUG_COUNT); i; i--) {
    const rq = plugged(cpu, i - 1)
    if (load<u32>(rq, RQ_Q) != q) continue
    entered(cpu, FN_blk_rq_merge_ok)
    entered(cpu, FN_blk_try_merge)
    if (!possible || !blk_try_merge(q, rq, bio)) continue
    const front = load<u32>(rq, RQ_BIO) == bio
    if (isDefined(TRACE_BUILD)) {
      entered(cpu, front ? FN_bio_attempt_front_merge : FN_bio_attempt_back_merge)
      bio_event(cpu, front ? EV_block_bio_frontmerge : EV_block_bio_backmerge, bio)
    }
    const start = load<u64>(rq, RQ_SECTOR)
    plug_note(cpu, start, start + (load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT))
    return true
  }
  return false
}

// @ts-ignore: decorator
@inline
function blk_attempt_plug_merge(cpu: u32, q: u32, bio: u32, start: u64, end: u64): bool {
  const t = enter(cpu, FN_blk_attempt_plug_merge)
  const back = load<u64>(cpu, CPU_PLUG_ENDS) & sector_bit(start)
  const front = load<u64>(cpu, CPU_PLUG_STARTS) & sector_bit(end)
  const possible = (back | front) != 0
  const merged = (isDefined(TRACE_BUILD) || possible) && plug_scan(cpu, q, bio, possible)
  leave(cpu, t)
  return merged
}

/** The scheduler's requests, or those of the software queue, may have room for a bio. */
// @ts-ignore: decorator
@inline
function __blk_mq_sched_bio_merge(cpu: u32, q: u32, bio: u32): bool {
  const t = enter(cpu, FN___blk_mq_sched_bio_merge)
  let merged = false
  if (hosted()) {
    const ctx = load<u32>(q, Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE
    if (load<u32>(q, Q_ELEVATOR)) merged = host(cpu, HB_BIO_MERGE, blk_mq_map_queue(ctx, load<u32>(bio, BIO_OPF)), bio) != 0
    else if (load<u32>(ctx, CTX_HEAD)) merged = host(cpu, HB_MERGE_BIO, ctx, bio) != 0
  }
  leave(cpu, t)
  return merged
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

// @ts-ignore: decorator
@inline
function get_tag(cpu: u32, hctx: u32, index: u32): i32 {
  const t = enter(cpu, FN_blk_mq_get_tag)
  unmute_trace()
  entered(cpu, FN___blk_mq_get_tag)
  blk_mq_tag_busy(hctx)
  const tag = blk_mq_get_tag(hctx, index, 0)
  leave(cpu, t)
  return tag
}

/** A tag of the scheduler. */
function get_sched_tag(cpu: u32, q: u32, hctx: u32, index: u32, opf: u32): i32 {
  const shallow = hosted() && !op_is_flush(opf) ? host(cpu, HB_LIMIT_DEPTH, q, opf) : 0
  const t = enter(cpu, FN_blk_mq_get_tag)
  unmute_trace()
  entered(cpu, FN___blk_mq_get_tag)
  const tag = __blk_mq_get_tag(hctx, index, BLK_MQ_REQ_INTERNAL, shallow)
  leave(cpu, t)
  return tag
}

/**
 * blk_mq_map_queue of Linux 5.0: which of its hardware queues a software queue takes for an I/O. Only drivers of an emulated
 * kernel have classes of queues.
 */
export function blk_mq_map_queue(ctx: u32, opf: u32): u32 {
  const poll = load<u32>(ctx, CTX_HCTX_POLL)
  if (poll && opf & REQ_HIPRI) return poll
  const read = load<u32>(ctx, CTX_HCTX_READ)
  return read && (opf & REQ_OP_MASK) == <u32>REQ_OP_READ ? read : load<u32>(ctx, CTX_HCTX)
}

/** One try for a request of the submitting CPU's queue; 0 if no tag is free. */
// @ts-ignore: decorator
@inline
function blk_mq_get_request(cpu: u32, q: u32, bio: u32, opf: u32, sector: u64, bytes: u32): u32 {
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = hosted() ? blk_mq_map_queue(ctx, opf) : load<u32>(ctx, CTX_HCTX)
  const t = enter(cpu, FN_blk_mq_get_request)
  const sched = load<u32>(q, Q_ELEVATOR)
  const tag = sched ? get_sched_tag(cpu, q, hctx, index, opf) : get_tag(cpu, hctx, index)
  if (tag < 0) {
    store<u64>(cpu, load<u64>(cpu, CPU_NOTAG) + 1, CPU_NOTAG)
    leave(cpu, t)
    return 0
  }
  const rq = sched ? blk_mq_sched_rq_init(q, hctx, ctx, cpu, tag, opf) : blk_mq_rq_ctx_init(q, hctx, ctx, cpu, tag, opf)
  blk_mq_bio_to_request(rq, bio, sector, bytes)
  if (sched && !op_is_flush(opf)) {
    store<u32>(rq, load<u32>(rq, RQ_FLAGS) | RQF_ELVPRIV, RQ_FLAGS)
    if (hosted()) host(cpu, HB_PREPARE, rq, bio)
  }
  leave(cpu, t)
  store<u64>(hctx, load<u64>(hctx, HC_QUEUED) + 1, HC_QUEUED)
  return rq
}

// @ts-ignore: decorator
@inline
function plug_full(cpu: u32, rq: u32, start: u64, end: u64): void {
  let count = load<u32>(cpu, CPU_PLUG_COUNT)
  if (!count) queue_event(cpu, EV_block_plug, load<u32>(rq, RQ_Q), 0)
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
  if (load<u32>(q, Q_NR_HW) > 1 && op_is_sync(opf)) return true
  return !load<u32>(q, Q_ELEVATOR) && !load<u32>(hctx, HC_DISPATCH_BUSY)
}

/** What blk_poll asks for: the tag, or the scheduler's with a mark. */
// @ts-ignore: decorator
@inline
function request_cookie(rq: u32, hctx: u32): u32 {
  const tag = load<i32>(rq, RQ_TAG)
  const number = tag >= 0 ? <u32>tag : load<u32>(rq, RQ_INTERNAL_TAG) | BLK_QC_T_INTERNAL
  return number | (load<u32>(hctx, HC_INDEX) << BLK_QC_T_SHIFT)
}

// @ts-ignore: decorator
@inline
function blk_account_io_start(cpu: u32, q: u32): void {
  const t = enter(cpu, FN_blk_account_io_start)
  if (hosted()) part_round_stats(cpu, q)
  leave(cpu, t)
}

/** A bio within the limits: a cookie, or SUBMIT_AGAIN. */
// @ts-ignore: decorator
@inline
function blk_mq_submit_part(cpu: u32, q: u32, bio: u32, opf: u32, sector: u64, bytes: u32): i32 {
  const plugging = load<u32>(cpu, CPU_PLUG)
  const nomerges = load<u32>(q, Q_FLAGS) & (1 << QUEUE_FLAG_NOMERGES)
  const queued = load<u64>(cpu, CPU_NOW)
  const end = sector + (bytes >> SECTOR_SHIFT)
  const tries = !nomerges && bio_mergeable(opf)
  if ((isDefined(TRACE_BUILD) || plugging) && tries && blk_attempt_plug_merge(cpu, q, bio, sector, end)) {
    return BLK_QC_T_NONE
  }
  if ((isDefined(TRACE_BUILD) || hosted()) && tries && __blk_mq_sched_bio_merge(cpu, q, bio)) return BLK_QC_T_NONE
  entered(cpu, FN_rq_qos_throttle)
  bio_event(cpu, EV_block_getrq, bio)
  const rq = blk_mq_get_request(cpu, q, bio, opf, sector, bytes)
  if (!rq) return SUBMIT_AGAIN
  const hctx = load<u32>(rq, RQ_HCTX)
  store<u64>(rq, queued, RQ_START_NS)
  spend(cpu, load<u32>(M_BASE, M_COST_SUBMIT))
  if (load<u32>(cpu, CPU_STAGES)) stamp_stages(cpu, rq)
  entered(cpu, FN_rq_qos_track)
  const cookie = request_cookie(rq, hctx)
  entered(cpu, FN_blk_init_request_from_bio)
  blk_account_io_start(cpu, q)
  if (op_is_flush(opf)) {
    if (hosted()) {
      host(cpu, HB_INSERT_FLUSH, rq, 0)
      host(cpu, HB_RUN_HW_QUEUE, hctx, 1)
    } else blk_mq_slow_insert(cpu, hctx, rq)
  } else if (plugging && load<u32>(q, Q_NR_HW) == 1) plug_full(cpu, rq, sector, end)
  else if (plugging && !nomerges) plug_limited(cpu, q, rq, sector, end)
  else if (issues_directly(q, hctx, opf)) blk_mq_try_issue_directly(cpu, hctx, rq)
  else if (hosted()) host(cpu, HB_INSERT_REQUEST, rq, 1)
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
export function bio_unsplit(cpu: u32, bio: u32, part: u32): void {
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
  const t = enter(cpu, FN_blk_mq_make_request)
  const s = enter(cpu, FN_blk_queue_split)
  let cookie: i32 = 0
  if (<u64>load<u32>(bio, BIO_SIZE) > most) cookie = blk_queue_split(cpu, q, bio, <u32>most)
  leave(cpu, s)
  if (!cookie) cookie = blk_mq_submit_part(cpu, q, bio, opf, load<u64>(bio, BIO_SECTOR), load<u32>(bio, BIO_SIZE))
  leave(cpu, t)
  return cookie
}

function end_with(cpu: u32, bio: u32, status: u32): u64 {
  store<u32>(bio, status, BIO_STATUS)
  bio_endio(cpu, bio)
  return 0
}

/** Whether a bio may go on: how many bytes its disk takes at once; 0 = it has ended here. */
// @ts-ignore: decorator
@inline
function generic_make_request_checks(cpu: u32, q: u32, bio: u32): u64 {
  const t = enter(cpu, FN_generic_make_request_checks)
  const most = check_bio(cpu, q, bio)
  leave(cpu, t)
  if (isDefined(TRACE_BUILD)) {
    if (!most) return 0
    bio_event(cpu, EV_block_bio_queue, bio)
    store<u32>(bio, 1, BIO_FLAGS)
  }
  return most
}

// @ts-ignore: decorator
@inline
function check_bio(cpu: u32, q: u32, bio: u32): u64 {
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
  return most ? most : end_with(cpu, bio, BLK_STS_NOTSUPP)
}

// @ts-ignore: decorator
@inline
export function generic_make_request(cpu: u32, bio: u32, inside: bool): i32 {
  const q = load<u32>(bio, BIO_DISK)
  const t = enter(cpu, FN_generic_make_request)
  entered(cpu, FN_blk_queue_enter)
  let cookie: i32 = BLK_QC_T_NONE
  const frozen: u32 = inside ? 0 : load<u32>(q, Q_FROZEN)
  if (frozen & FROZEN_DYING) end_with(cpu, bio, BLK_STS_IOERR)
  else if (frozen) cookie = SUBMIT_FROZEN
  else {
    const most = generic_make_request_checks(cpu, q, bio)
    if (most) {
      const based = load<u32>(q, Q_BIO_BASED)
      if (!based) cookie = blk_mq_make_request(cpu, q, bio, load<u32>(bio, BIO_OPF), most)
      else if (based == BIO_BASED_NULL) cookie = null_queue_bio(cpu, q, bio)
      else if (!pblk_make_rq(cpu, q, bio)) cookie = make_request(cpu, bio)
    }
    if (isDefined(TRACE_BUILD)) if (cookie != SUBMIT_AGAIN) entered(cpu, FN_blk_queue_exit)
  }
  leave(cpu, t)
  return cookie
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
  const t = enter(cpu, FN_submit_bio)
  const cookie = generic_make_request(cpu, bio, false)
  leave(cpu, t)
  if (!load<u32>(cpu, CPU_PLUG)) nvme_ring_doorbells(cpu)
  return cookie
}

/** The same for one bio that TypeScript gives to a disk: the short way, if it is plain. */
export function submit_bio_one(cpu: u32, bio: u32): i32 {
  if (!isDefined(TRACE_BUILD)) {
    const cookie = plain_submit(cpu, bio)
    if (cookie != NOT_PLAIN) return cookie
  }
  return submit_bio(cpu, bio)
}

/** The next try of a bio that came to a frozen queue. */
export function submit_bio_thawed(cpu: u32, bio: u32): i32 {
  const t = enter(cpu, FN_submit_bio)
  const cookie = generic_make_request(cpu, bio, false)
  leave(cpu, t)
  if (!load<u32>(cpu, CPU_PLUG)) nvme_ring_doorbells(cpu)
  return cookie
}

/** The second and later tries of a bio for which no tag was free. */
export function submit_bio_again(cpu: u32, bio: u32): i32 {
  mute_trace()
  const t = enter(cpu, FN_submit_bio)
  // It is inside already: a freeze waits for it.
  const cookie = generic_make_request(cpu, bio, true)
  leave(cpu, t)
  unmute_trace()
  if (!load<u32>(cpu, CPU_PLUG)) nvme_ring_doorbells(cpu)
  return cookie
}
