// Flush and FUA sequencing: block/blk-flush.c of Linux 4.19, for blk-mq without a scheduler.
//
// A bio with PREFLUSH or FUA becomes up to three steps, in this order; which ones, the queue's cache says (WC, FUA):
//
//   PREFLUSH    a flush before the data
//   DATA        the write itself
//   POSTFLUSH   a flush after it, when the drive has no FUA
//
// Flushes are shared. Each hardware queue has two lists of requests that wait for one: the pending list takes new ones
// while the flush that serves the running list is under way. The two indices are equal when none is.
//
// blk_kick_flush issues a flush unless
//   C1  one is under way, or nobody waits
//   C2  data of a sequence are in flight, unless
//   C3  the first has waited for FLUSH_PENDING_TIMEOUT
//
// The flush request borrows the tag of the first request that waits. Everything here runs on the thread that owns the
// hardware queue, which stands in for mq_flush_lock.
//
// With a kernel (`BlkContext.kernel`) steps go through the requeue list and its work, as in Linux; without one, straight
// to hctx->dispatch. With a scheduler a flush takes a tag of the driver of its own, and C2 does not hold.
//
// Not modelled: the single-queue form.

import {
  CPU_NOW,
  HC_FQ_DATA,
  HC_FQ_ORIG_RQ,
  HC_FQ_PENDING_IDX,
  HC_FQ_PENDING_SINCE,
  HC_FQ_QUEUE0,
  HC_FQ_RQ,
  HC_FQ_RUNNING_IDX,
  HC_TAGS,
  M_BASE,
  M_HZ,
  M_JIFFIES,
  MQ_RQ_IDLE,
  Q_FLAGS,
  RQ_BIO,
  RQ_CMD_FLAGS,
  RQ_CPU,
  RQ_CTX,
  RQ_DATA_LEN,
  RQ_END_FLUSH,
  RQ_END_FLUSH_DATA,
  RQ_END_IO,
  RQ_FLAGS,
  RQ_FLUSH_SEQ,
  RQ_HCTX,
  RQ_INTERNAL_TAG,
  RQ_PRP_LIST,
  RQ_Q,
  RQ_RETRIES,
  RQ_SAVED_END_IO,
  RQ_SECTOR,
  RQ_START_NS,
  RQ_STATE,
  RQ_STATUS,
  RQ_STATUS_FINAL,
  RQ_TAG,
  RQ_TIMEOUT,
  TAGS_RQS,
} from '../../assembly/layout.js'
import {
  BLK_STS_OK,
  QUEUE_FLAG_FUA,
  QUEUE_FLAG_WC,
  REQ_FUA,
  REQ_OP_FLUSH,
  REQ_PREFLUSH,
  REQ_SYNC,
  RQF_FLUSH_SEQ,
} from '../../assembly/nvme.js'
import type { Core } from '../core/wasm.js'
import type { View } from '../core/view.js'
import { enter, leave, type TraceHost } from '../kernel/trace.js'
import { append, first, remove, takeAll } from './request-list.js'

/** Steps of a sequence (REQ_FSEQ_*). */
const PREFLUSH = 1
const DATA = 2
const POSTFLUSH = 4
const ACTIONS = PREFLUSH | DATA | POSTFLUSH
const DONE = 8

/** C3: so long may a flush wait for data in flight, seconds. */
const FLUSH_PENDING_TIMEOUT_S = 5

/** What the block layer's functions work with: the core and the memory, on the thread of a CPU. */
export interface BlkContext {
  readonly core: Core
  readonly view: View
  /** CPU block of this thread. */
  readonly cpu: number
  /** The kernel whose requeue list is used; absent = there is none. */
  readonly kernel?: FlushKernel
}

/** What the flush machinery needs of a kernel's block layer, for one request queue. */
export interface FlushKernel {
  readonly k: TraceHost
  /** A scheduler is attached. */
  readonly elevator: boolean
  /** blk_mq_add_to_requeue_list with a kick. */
  requeue(rq: number, at_head: boolean): void
  restart(hctx: number): void
}

const NOT_ENTERED = -1

function begin({ kernel }: BlkContext, name: string): number {
  return kernel ? enter(kernel.k, name) : NOT_ENTERED
}

function end({ kernel }: BlkContext, mark: number): void {
  if (kernel) leave(kernel.k, mark)
}

/** Gives a step to the driver. */
function blk_flush_queue_rq(context: BlkContext, rq: number, add_front: boolean): void {
  const { core, cpu, view, kernel } = context
  const t = begin(context, 'blk_flush_queue_rq')
  if (kernel) kernel.requeue(rq, add_front)
  else core.blk_mq_insert_dispatch_head(cpu, view.u32(rq + RQ_HCTX), rq)
  end(context, t)
}

/** The steps that a request needs (blk_flush_policy). */
export function blk_flush_policy(queueFlags: number, opf: number, bytes: number): number {
  const steps = bytes ? DATA : 0
  if (!(queueFlags & (1 << QUEUE_FLAG_WC))) return steps
  const pre = opf & REQ_PREFLUSH ? PREFLUSH : 0
  const post = opf & REQ_FUA && !(queueFlags & (1 << QUEUE_FLAG_FUA)) ? POSTFLUSH : 0
  return steps | pre | post
}

/**
 * Begins the sequence of a request that has PREFLUSH or FUA.
 * @returns true when the request is plain data now and is to be issued by the caller
 */
export function blk_insert_flush(context: BlkContext, rq: number): boolean {
  const t = begin(context, 'blk_insert_flush')
  const plain = insert_flush(context, rq)
  end(context, t)
  return plain
}

function insert_flush(context: BlkContext, rq: number): boolean {
  const { view, core, cpu, kernel } = context
  const queueFlags = view.load(view.u32(rq + RQ_Q) + Q_FLAGS)
  const opf = view.u32(rq + RQ_CMD_FLAGS)
  const policy = blk_flush_policy(queueFlags, opf, view.u32(rq + RQ_DATA_LEN))
  const fua = queueFlags & (1 << QUEUE_FLAG_FUA) ? 0 : REQ_FUA
  view.setU32(rq + RQ_CMD_FLAGS, ((opf & ~(REQ_PREFLUSH | fua)) | REQ_SYNC) >>> 0)
  if (!policy) {
    core.blk_mq_end_request(cpu, rq, BLK_STS_OK)
    return false
  }
  if (policy === DATA) {
    if (!kernel) return true
    core.blk_mq_request_bypass_insert(cpu, view.u32(rq + RQ_HCTX), rq, 0)
    return false
  }
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_FLUSH_SEQ)
  view.setU32(rq + RQ_FLUSH_SEQ, 0)
  view.setU32(rq + RQ_SAVED_END_IO, view.u32(rq + RQ_END_IO))
  view.setU32(rq + RQ_END_IO, RQ_END_FLUSH_DATA)
  blk_flush_complete_seq(context, rq, ACTIONS & ~policy, BLK_STS_OK)
  return false
}

/** The step that a request is at: the lowest one not done. */
function blk_flush_cur_seq(view: View, rq: number): number {
  const left = ~view.u32(rq + RQ_FLUSH_SEQ)
  return left & -left
}

function list(hctx: number, index: number): number {
  return hctx + HC_FQ_QUEUE0 + 8 * index
}

/** Notes steps of a sequence as done and starts the next. */
function blk_flush_complete_seq(
  context: BlkContext,
  rq: number,
  done: number,
  error: number,
): void {
  const { view } = context
  const t = begin(context, 'blk_flush_complete_seq')
  const hctx = view.u32(rq + RQ_HCTX)
  view.setU32(rq + RQ_FLUSH_SEQ, view.u32(rq + RQ_FLUSH_SEQ) | done)
  const next = error ? DONE : blk_flush_cur_seq(view, rq)
  if (next === PREFLUSH || next === POSTFLUSH) {
    const pending = list(hctx, view.u32(hctx + HC_FQ_PENDING_IDX))
    if (!first(view, pending))
      view.setU32(hctx + HC_FQ_PENDING_SINCE, view.load(M_BASE + M_JIFFIES))
    append(view, pending, rq)
  } else if (next === DATA) {
    append(view, hctx + HC_FQ_DATA, rq)
    blk_flush_queue_rq(context, rq, true)
  } else {
    endSequence(context, rq, error)
  }
  blk_kick_flush(context, hctx)
  end(context, t)
}

/** DONE: the request is an ordinary one again, and ends on the CPU that submitted it. */
function endSequence({ view, core, cpu, kernel }: BlkContext, rq: number, error: number): void {
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_FLUSH_SEQ)
  view.setU32(rq + RQ_END_IO, view.u32(rq + RQ_SAVED_END_IO))
  const to = view.u32(rq + RQ_CPU)
  if (kernel || to === cpu) {
    core.blk_mq_end_request(cpu, rq, error)
    return
  }
  view.setU32(rq + RQ_STATUS, RQ_STATUS_FINAL | error)
  core.complete_remote(cpu, to, rq)
}

/** Issues a flush for those who wait, unless C1 to C3 say no. */
function blk_kick_flush(context: BlkContext, hctx: number): void {
  const t = begin(context, 'blk_kick_flush')
  kick_flush(context, hctx)
  end(context, t)
}

function kick_flush(context: BlkContext, hctx: number): void {
  const { view } = context
  const index = view.u32(hctx + HC_FQ_PENDING_IDX)
  const waiting = first(view, list(hctx, index))
  if (index !== view.u32(hctx + HC_FQ_RUNNING_IDX) || !waiting) return
  const waited = (view.load(M_BASE + M_JIFFIES) - view.u32(hctx + HC_FQ_PENDING_SINCE)) | 0
  const overdue = waited >= FLUSH_PENDING_TIMEOUT_S * view.u32(M_BASE + M_HZ)
  if (first(view, hctx + HC_FQ_DATA) && !overdue && !context.kernel?.elevator) return
  view.setU32(hctx + HC_FQ_PENDING_IDX, index ^ 1)
  blk_flush_queue_rq(context, makeFlushRequest(context, hctx, waiting), false)
}

/** The queue's flush request, with the tag of the first request that waits. */
function makeFlushRequest(context: BlkContext, hctx: number, waiting: number): number {
  const { view, cpu, kernel } = context
  end(context, begin(context, 'blk_rq_init'))
  const flush = view.u32(hctx + HC_FQ_RQ)
  const tag = kernel?.elevator ? -1 : view.i32(waiting + RQ_TAG)
  view.setU32(hctx + HC_FQ_ORIG_RQ, waiting)
  view.setU32(flush + RQ_TAG, tag)
  view.setU32(flush + RQ_INTERNAL_TAG, kernel?.elevator ? view.i32(waiting + RQ_INTERNAL_TAG) : -1)
  view.setU32(flush + RQ_CMD_FLAGS, (REQ_OP_FLUSH | REQ_PREFLUSH) >>> 0)
  view.setU32(flush + RQ_FLAGS, RQF_FLUSH_SEQ)
  view.setU64(flush + RQ_SECTOR, 0)
  view.setU32(flush + RQ_DATA_LEN, 0)
  view.setU32(flush + RQ_BIO, 0)
  view.setU32(flush + RQ_CTX, view.u32(waiting + RQ_CTX))
  view.setU32(flush + RQ_HCTX, hctx)
  view.setU32(flush + RQ_Q, view.u32(waiting + RQ_Q))
  view.setU32(flush + RQ_CPU, kernel ? view.u32(waiting + RQ_CPU) : cpu)
  view.setU32(flush + RQ_STATE, MQ_RQ_IDLE)
  view.setU32(flush + RQ_TIMEOUT, 0)
  view.setU32(flush + RQ_RETRIES, 0)
  view.setU32(flush + RQ_PRP_LIST, 0)
  view.setU32(flush + RQ_END_IO, RQ_END_FLUSH)
  view.setU64(flush + RQ_START_NS, view.u64(cpu + CPU_NOW))
  if (tag >= 0) setTagOwner(view, hctx, tag, flush)
  return flush
}

function setTagOwner(view: View, hctx: number, tag: number, rq: number): void {
  view.setU32(view.u32(view.u32(hctx + HC_TAGS) + TAGS_RQS) + 4 * tag, rq)
}

/** A flush is over: everybody who waited for it goes on. */
export function flush_end_io(context: BlkContext, flush: number, error: number): void {
  const { view, core, cpu } = context
  const t = begin(context, 'flush_end_io')
  const hctx = view.u32(flush + RQ_HCTX)
  if (context.kernel?.elevator) {
    core.blk_mq_put_driver_tag(cpu, flush)
    view.setU32(flush + RQ_INTERNAL_TAG, -1)
  } else setTagOwner(view, hctx, view.i32(flush + RQ_TAG), view.u32(hctx + HC_FQ_ORIG_RQ))
  view.setU32(flush + RQ_TAG, -1)
  view.setU32(flush + RQ_STATE, MQ_RQ_IDLE)
  const running = view.u32(hctx + HC_FQ_RUNNING_IDX)
  const served = takeAll(view, list(hctx, running))
  view.setU32(hctx + HC_FQ_RUNNING_IDX, running ^ 1)
  for (const rq of served) blk_flush_complete_seq(context, rq, blk_flush_cur_seq(view, rq), error)
  end(context, t)
}

/** The data of a sequence are over. */
export function mq_flush_data_end_io(context: BlkContext, rq: number, error: number): void {
  const { view, core, cpu, kernel } = context
  const t = begin(context, 'mq_flush_data_end_io')
  const hctx = view.u32(rq + RQ_HCTX)
  if (kernel?.elevator) core.blk_mq_put_driver_tag(cpu, rq)
  remove(view, hctx + HC_FQ_DATA, rq)
  view.setU32(rq + RQ_STATE, MQ_RQ_IDLE)
  blk_flush_complete_seq(context, rq, DATA, error)
  kernel?.restart(hctx)
  end(context, t)
}
