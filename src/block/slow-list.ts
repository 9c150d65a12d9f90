// The slow half of the multi-queue block layer: block/blk-mq.c of Linux 4.19, what happens to requests that the core
// did not issue itself (scheduler none).
//
//   run_slow_list   hctx->dispatch first, then the slow list, in order, through the same queue_rq
//   finishEndIo           requests whose end_io is TypeScript's
//
// A request that the driver has no resources for goes back to the head of hctx->dispatch; the next request that is
// freed runs the queue again. While anything waits, the gate word keeps later requests behind it.
//
// Schedulers, software-queue lists, quiesce and freeze are not built yet: nothing sets their gate bits.

import {
  CPU_ENDIO,
  RQ_CMD_FLAGS,
  RQ_END_FLUSH,
  RQ_END_FLUSH_DATA,
  RQ_END_IO,
  RQ_FLAGS,
  RQ_NEXT,
  RQ_STATUS,
} from '../../assembly/layout.js'
import {
  BLK_STS_DEV_RESOURCE,
  BLK_STS_IOERR,
  BLK_STS_OK,
  BLK_STS_RESOURCE,
  REQ_FUA,
  REQ_PREFLUSH,
  RQF_FLUSH_SEQ,
} from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import {
  type BlkContext,
  blk_insert_flush,
  flush_end_io,
  mq_flush_data_end_io,
} from './blk-flush.js'

export type { BlkContext } from './blk-flush.js'

/** Requests of a stack that several threads push on, oldest first; the stack is empty then. */
function takeStack(view: View, stack: number): number[] {
  const all: number[] = []
  for (let rq = view.exchange(stack, 0); rq; rq = view.u32(rq + RQ_NEXT)) all.push(rq)
  return all.reverse()
}

/** Whether the request begins a flush sequence. */
function wantsFlush(view: View, rq: number): boolean {
  const sequenced = view.u32(rq + RQ_FLAGS) & RQF_FLUSH_SEQ
  return !sequenced && (view.u32(rq + RQ_CMD_FLAGS) & (REQ_PREFLUSH | REQ_FUA)) !== 0
}

/** Gives one request to the driver; false when the driver cannot take it now. */
function dispatch({ view, core, cpu }: BlkContext, hctx: number, rq: number): boolean {
  const status = core.queue_rq(cpu, hctx, rq)
  if (status === BLK_STS_RESOURCE || status === BLK_STS_DEV_RESOURCE) {
    core.__blk_mq_requeue_request(cpu, rq)
    core.blk_mq_insert_dispatch_head(cpu, hctx, rq)
    core.blk_mq_update_dispatch_busy(hctx, 1)
    return false
  }
  core.blk_mq_update_dispatch_busy(hctx, 0)
  if (status !== BLK_STS_OK) {
    view.setU32(rq + RQ_STATUS, 0)
    core.blk_mq_end_request(cpu, rq, BLK_STS_IOERR)
  }
  return true
}

/** Issues what waits on a hardware queue. Only the thread that owns it may call this. */
export function run_slow_list(context: BlkContext, hctx: number): void {
  const { view, core, cpu } = context
  for (;;) {
    const rq = core.blk_mq_take_waiting(hctx) >>> 0
    if (!rq) break
    if (wantsFlush(view, rq) && !blk_insert_flush(context, rq)) continue
    if (!dispatch(context, hctx, rq)) break
  }
  core.nvme_ring_doorbells(cpu)
}

/** Calls the end_io of requests that came to their end: those of flush sequences. */
export function finishEndIo(
  context: BlkContext,
  other: (rq: number, status: number) => void,
): void {
  const { view, cpu } = context
  for (const rq of takeStack(view, cpu + CPU_ENDIO)) {
    const status = view.u32(rq + RQ_STATUS)
    const endIo = view.u32(rq + RQ_END_IO)
    if (endIo === RQ_END_FLUSH) flush_end_io(context, rq, status)
    else if (endIo === RQ_END_FLUSH_DATA) mq_flush_data_end_io(context, rq, status)
    else other(rq, status)
  }
}
