// Flush sequences of single queues: block/blk-flush.c of Linux 4.19, the form without hardware queues. The rules are those
// of blk-flush.ts (steps, two lists that take turns, C1 to C3).
//
// What differs: steps go to the dispatch queue itself, data to its head and flushes to its tail; the queue is run from
// kblockd (blk_run_queue_async) when a step was added by the end of another.

import {
  Q_FLAGS,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_CMD_FLAGS,
  RQ_CPU,
  RQ_CTX,
  RQ_DATA_LEN,
  RQ_FLAGS,
  RQ_HCTX,
  RQ_Q,
  RQ_STATE,
  RQ_TAG,
} from '../../assembly/layout.js'
import { MQ_RQ_IDLE } from '../../assembly/layout.js'
import {
  BLK_STS_OK,
  QUEUE_FLAG_FUA,
  REQ_FUA,
  REQ_OP_FLUSH,
  REQ_PREFLUSH,
  REQ_SYNC,
  RQF_FLUSH_SEQ,
} from '../../assembly/nvme.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_end_request_all, blk_run_queue_async } from './blk-core.js'
import { blk_flush_policy } from './blk-flush.js'
import type { rq_list } from './blkdev.js'
import { of_rq, type sq_flush_queue, type sq_queue } from './sq.js'

const REQ_FSEQ_PREFLUSH = 1
const REQ_FSEQ_DATA = 2
const REQ_FSEQ_POSTFLUSH = 4
const REQ_FSEQ_ACTIONS = REQ_FSEQ_PREFLUSH | REQ_FSEQ_DATA | REQ_FSEQ_POSTFLUSH
const REQ_FSEQ_DONE = 8

const FLUSH_PENDING_TIMEOUT_S = 5

function remove(list: rq_list, rq: number): void {
  const at = list.indexOf(rq)
  if (at >= 0) list.splice(at, 1)
}

/** The slot behind the last request is the flush request. */
export function blk_alloc_flush_queue(flush_rq: number): sq_flush_queue {
  return {
    flush_queue: [[], []],
    pending_idx: 0,
    running_idx: 0,
    pending_since: 0,
    data_in_flight: [],
    flush_rq,
    queue_delayed: false,
  }
}

/** A flush is under way. */
export function blk_flush_pending(q: sq_queue): boolean {
  return q.fq.pending_idx !== q.fq.running_idx
}

function blk_flush_cur_seq(q: sq_queue, rq: number): number {
  const left = ~of_rq(q, rq).seq
  return left & -left
}

function blk_flush_queue_rq(q: sq_queue, rq: number, add_front: boolean): void {
  const t = enter(q.blk.k, 'blk_flush_queue_rq')
  if (add_front) q.queue_head.unshift(rq)
  else q.queue_head.push(rq)
  leave(q.blk.k, t)
}

/** The sequence is over: an ordinary request again, which ends. */
function end_sequence(q: sq_queue, rq: number, error: number): void {
  const { view } = q.blk
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_FLUSH_SEQ)
  view.setU32(rq + RQ_BIO, view.u32(rq + RQ_BIOTAIL))
  of_rq(q, rq).end_io = null
  blk_end_request_all(q, rq, error)
}

/** Notes steps as done and starts the next. True: something was added to the queue. */
function blk_flush_complete_seq(q: sq_queue, rq: number, done: number, error: number): boolean {
  const { k } = q.blk
  const t = enter(k, 'blk_flush_complete_seq')
  const { fq } = q
  of_rq(q, rq).seq |= done
  const next = error ? REQ_FSEQ_DONE : blk_flush_cur_seq(q, rq)
  let queued = false
  if (next === REQ_FSEQ_PREFLUSH || next === REQ_FSEQ_POSTFLUSH) {
    const pending = fq.flush_queue[fq.pending_idx]
    if (pending.length === 0) fq.pending_since = k.jiffies
    pending.push(rq)
  } else if (next === REQ_FSEQ_DATA) {
    fq.data_in_flight.push(rq)
    blk_flush_queue_rq(q, rq, true)
    queued = true
  } else end_sequence(q, rq, error)
  return leave(k, t, blk_kick_flush(q) || queued)
}

/** Issues a flush for those who wait, unless C1 to C3 say no. */
function blk_kick_flush(q: sq_queue): boolean {
  const { k, view } = q.blk
  const t = enter(k, 'blk_kick_flush')
  const { fq } = q
  const first = fq.flush_queue[fq.pending_idx][0]
  const overdue = k.jiffies - fq.pending_since >= FLUSH_PENDING_TIMEOUT_S * k.hz
  const wait = fq.data_in_flight.length > 0 && !overdue
  if (blk_flush_pending(q) || first === undefined || wait) return leave(k, t, false)
  fq.pending_idx = fq.pending_idx === 0 ? 1 : 0
  const { flush_rq } = fq
  for (const field of [RQ_CTX, RQ_HCTX, RQ_Q, RQ_CPU])
    view.setU32(flush_rq + field, view.u32(first + field))
  view.setU32(flush_rq + RQ_CMD_FLAGS, (REQ_OP_FLUSH | REQ_PREFLUSH) >>> 0)
  view.setU32(flush_rq + RQ_FLAGS, RQF_FLUSH_SEQ)
  view.setU32(flush_rq + RQ_DATA_LEN, 0)
  view.setU32(flush_rq + RQ_BIO, 0)
  view.setU32(flush_rq + RQ_TAG, 0xffffffff)
  view.setU32(flush_rq + RQ_STATE, MQ_RQ_IDLE)
  of_rq(q, flush_rq).end_io = flush_end_io
  blk_flush_queue_rq(q, flush_rq, false)
  return leave(k, t, true)
}

/** A flush is over: everybody who waited for it goes on. */
function flush_end_io(q: sq_queue, _flush_rq: number, error: number): void {
  const { k } = q.blk
  const t = enter(k, 'flush_end_io')
  const { fq } = q
  const served = fq.flush_queue[fq.running_idx].splice(0)
  fq.running_idx = fq.running_idx === 0 ? 1 : 0
  let queued = false
  for (const rq of served)
    if (blk_flush_complete_seq(q, rq, blk_flush_cur_seq(q, rq), error)) queued = true
  if (queued || fq.queue_delayed) blk_run_queue_async(q)
  fq.queue_delayed = false
  leave(k, t)
}

/** The data of a sequence are over. */
function flush_data_end_io(q: sq_queue, rq: number, error: number): void {
  const { k } = q.blk
  const t = enter(k, 'flush_data_end_io')
  remove(q.fq.data_in_flight, rq)
  if (blk_flush_complete_seq(q, rq, REQ_FSEQ_DATA, error)) blk_run_queue_async(q)
  leave(k, t)
}

/** Begins the sequence of a request with PREFLUSH or FUA; plain data go to the tail of the dispatch queue. */
export function blk_insert_flush(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_insert_flush')
  const flags = view.load(q.at + Q_FLAGS)
  const opf = view.u32(rq + RQ_CMD_FLAGS)
  const policy = blk_flush_policy(flags, opf, view.u32(rq + RQ_DATA_LEN))
  const fua = flags & (1 << QUEUE_FLAG_FUA) ? 0 : REQ_FUA
  view.setU32(rq + RQ_CMD_FLAGS, ((opf & ~(REQ_PREFLUSH | fua)) | REQ_SYNC) >>> 0)
  if (policy === 0) blk_end_request_all(q, rq, BLK_STS_OK)
  else if (policy === REQ_FSEQ_DATA) q.queue_head.push(rq)
  else {
    view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_FLUSH_SEQ)
    Object.assign(of_rq(q, rq), { seq: 0, end_io: flush_data_end_io })
    blk_flush_complete_seq(q, rq, REQ_FSEQ_ACTIONS & ~policy, BLK_STS_OK)
  }
  leave(k, t)
}
