// Schedulers' place in the multi-queue block layer: block/blk-mq-sched.c of Linux 4.19.
//
//   blk_mq_sched_insert_request     one request: a flush, hctx->dispatch, the scheduler, or the software queue
//   blk_mq_sched_dispatch_requests  what a run of a hardware queue dispatches, and in which order
//   blk_mq_do_dispatch_sched, _ctx  one request at a time, while the driver takes them
//   blk_mq_sched_restart            a request was freed: those that wait get another chance
//   blk_mq_init_sched, _exit_sched  a scheduler comes and goes
//
// A request of a scheduler has a tag of the scheduler; it gets one of the driver when it is dispatched.

import {
  GATE_SCHED,
  HC_DISPATCH_BUSY,
  HC_GATE,
  HC_SCHED_TAGS,
  HC_STATE,
  HC_TAGS,
  Q_ELEVATOR,
  Q_NR_REQUESTS,
  RQ_CMD_FLAGS,
  RQ_FLAGS,
  RQ_CTX,
  TAGS_NR,
} from '../../assembly/layout.js'
import {
  BLK_MQ_S_SCHED_RESTART,
  REQ_FUA,
  REQ_PREFLUSH,
  RQF_FLUSH_SEQ,
  RQF_SORTED,
} from '../../assembly/nvme.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_insert_flush } from './blk-flush.js'
import {
  __blk_mq_insert_request,
  blk_mq_ctx_busy,
  blk_mq_dequeue_from_ctx,
  blk_mq_dispatch_rq_list,
  blk_mq_flush_busy_ctxs,
  blk_mq_run_hw_queue,
  rq_hctx,
  take_dispatch,
  this_cpu,
} from './blk-mq.js'
import { clear_restart } from './blk-mq-restart.js'
import type { blk_mq_hw_ctx, elevator_queue, elevator_type, request_queue } from './blkdev.js'
import { flush_context } from './flush-queue.js'

// ---------------------------------------------------------------- insertion

export function op_is_flush(opf: number): boolean {
  return (opf & (REQ_FUA | REQ_PREFLUSH)) !== 0
}

/** The request by-passes everything: an internal flush goes in front of the others. */
function blk_mq_sched_bypass_insert(hctx: blk_mq_hw_ctx, rq: number): boolean {
  const { view, core } = hctx.q.blk
  if (!(view.u32(rq + RQ_FLAGS) & RQF_FLUSH_SEQ)) {
    if (hctx.q.elevator) view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_SORTED)
    return false
  }
  core.blk_mq_insert_dispatch_head(this_cpu(hctx.q.blk), hctx.at, rq)
  return true
}

export function blk_mq_sched_insert_request(
  q: request_queue,
  rq: number,
  at_head: boolean,
  run_queue: boolean,
  async: boolean,
): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_sched_insert_request')
  const hctx = rq_hctx(q.blk, rq)
  const sequenced = (view.u32(rq + RQ_FLAGS) & RQF_FLUSH_SEQ) !== 0
  if (!sequenced && op_is_flush(view.u32(rq + RQ_CMD_FLAGS))) blk_insert_flush(flush_context(q), rq)
  else if (!blk_mq_sched_bypass_insert(hctx, rq)) {
    if (q.elevator) q.elevator.type.ops.insert_requests(hctx, [rq], at_head)
    else __blk_mq_insert_request(hctx, rq, at_head)
  }
  if (run_queue) blk_mq_run_hw_queue(hctx, async)
  leave(k, t)
}

// ---------------------------------------------------------------- dispatch

/** One request of the scheduler after the other, while there are any and the driver takes them. */
function blk_mq_do_dispatch_sched(hctx: blk_mq_hw_ctx): void {
  const { q } = hctx
  const { k } = q.blk
  const t = enter(k, 'blk_mq_do_dispatch_sched')
  const ops = q.elevator!.type.ops
  for (;;) {
    if (!ops.has_work(hctx)) break
    if (q.ops.get_budget?.(hctx) === false) break
    const rq = ops.dispatch_request(hctx)
    if (!rq) {
      q.ops.put_budget?.(hctx)
      break
    }
    if (!blk_mq_dispatch_rq_list(q, [rq], true)) break
  }
  leave(k, t)
}

/** One request of each software queue in turn. */
function blk_mq_do_dispatch_ctx(hctx: blk_mq_hw_ctx): void {
  const { q } = hctx
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_do_dispatch_ctx')
  for (;;) {
    if (!blk_mq_ctx_busy(hctx)) break
    if (q.ops.get_budget?.(hctx) === false) break
    const rq = blk_mq_dequeue_from_ctx(hctx, hctx.dispatch_from)
    if (!rq) {
      q.ops.put_budget?.(hctx)
      break
    }
    hctx.dispatch_from = (hctx.ctxs.indexOf(ctx_of(view, rq)) + 1) % hctx.ctxs.length
    if (!blk_mq_dispatch_rq_list(q, [rq], true)) break
  }
  leave(k, t)
}

function ctx_of(view: { u32(at: number): number }, rq: number): number {
  return view.u32(rq + RQ_CTX)
}

/** What one run of a hardware queue dispatches. */
export function blk_mq_sched_dispatch_requests(hctx: blk_mq_hw_ctx): void {
  const { q } = hctx
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_sched_dispatch_requests')
  const waiting = take_dispatch(hctx)
  if (waiting.length > 0) {
    // The next request that is freed runs the queue again, if these cannot all go.
    view.store(hctx.at + HC_STATE, view.load(hctx.at + HC_STATE) | BLK_MQ_S_SCHED_RESTART)
    if (blk_mq_dispatch_rq_list(q, waiting, false)) {
      if (q.elevator) blk_mq_do_dispatch_sched(hctx)
      else blk_mq_do_dispatch_ctx(hctx)
    }
  } else if (q.elevator) blk_mq_do_dispatch_sched(hctx)
  else if (view.u32(hctx.at + HC_DISPATCH_BUSY)) blk_mq_do_dispatch_ctx(hctx)
  else blk_mq_dispatch_rq_list(q, blk_mq_flush_busy_ctxs(hctx), false)
  leave(k, t)
}

/** A request was freed and the RESTART bit was set: the core has recorded the call (HB_RESTART). */
export function blk_mq_sched_restart(hctx: blk_mq_hw_ctx): void {
  if (clear_restart(hctx)) blk_mq_run_hw_queue(hctx, true)
}

// ---------------------------------------------------------------- schedulers

/** How many tags its first hardware queue has. */
function tags_of({ blk: { view }, queue_hw_ctx }: request_queue, field: number): number {
  const [hctx] = queue_hw_ctx
  return hctx ? view.u32(view.u32(hctx.at + field) + TAGS_NR) : 0
}

/**
 * Attaches a scheduler; null is "none". The queue is frozen and quiesced by the caller, or new.
 * @param tags makes the scheduler's tags of a hardware queue, and gives their address (TAGS_*)
 * @returns 0 or -errno
 */
export function blk_mq_init_sched(
  q: request_queue,
  type: elevator_type | null,
  tags: (hctx: blk_mq_hw_ctx) => number,
): number {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_init_sched')
  if (type === null) {
    q.elevator = null
    view.setU32(q.at + Q_NR_REQUESTS, tags_of(q, HC_TAGS))
    return leave(k, t, 0)
  }
  const e: elevator_queue = { type, q, elevator_data: null }
  for (const hctx of q.queue_hw_ctx) view.setU32(hctx.at + HC_SCHED_TAGS, tags(hctx))
  view.setU32(q.at + Q_NR_REQUESTS, tags_of(q, HC_SCHED_TAGS))
  const error = type.ops.init_sched(q, e)
  if (error !== 0) return leave(k, t, error)
  q.elevator = e
  for (const hctx of q.queue_hw_ctx) {
    type.ops.init_hctx?.(hctx)
    view.store(hctx.at + HC_GATE, view.load(hctx.at + HC_GATE) | GATE_SCHED)
  }
  view.setU32(q.at + Q_ELEVATOR, 1)
  return leave(k, t, 0)
}

/** Takes the scheduler off. The queue is frozen and quiesced: it holds nothing. */
export function blk_mq_exit_sched(q: request_queue): void {
  const { k, view } = q.blk
  const e = q.elevator
  if (e === null) return
  const t = enter(k, 'blk_mq_exit_sched')
  for (const hctx of q.queue_hw_ctx) {
    e.type.ops.exit_hctx?.(hctx)
    view.setU32(hctx.at + HC_SCHED_TAGS, 0)
    view.store(hctx.at + HC_GATE, view.load(hctx.at + HC_GATE) & ~GATE_SCHED)
  }
  e.type.ops.exit_sched?.(e)
  q.elevator = null
  view.setU32(q.at + Q_ELEVATOR, 0)
  leave(k, t)
}
