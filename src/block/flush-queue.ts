// How the flush machinery (blk-flush.ts) reaches a kernel's requeue list, and what ends a request of its own.

import { HC_Q, RQ_END_FLUSH, RQ_END_FLUSH_DATA, RQ_END_IO, RQ_HCTX } from '../../assembly/layout.js'
import { enter, leave } from '../kernel/trace.js'
import { type BlkContext, flush_end_io, mq_flush_data_end_io } from './blk-flush.js'
import { blk_mq_add_to_requeue_list, blk_mq_run_hw_queue, this_cpu } from './blk-mq.js'
import { clear_restart } from './blk-mq-restart.js'
import type { BlockLayer, request_queue } from './blkdev.js'

/** The flush machinery's view of a queue. */
export function flush_context(q: request_queue): BlkContext {
  const { blk } = q
  return {
    core: blk.core,
    view: blk.view,
    cpu: this_cpu(blk),
    kernel: {
      k: blk.k,
      elevator: q.elevator !== null,
      requeue: (rq, at_head) => blk_mq_add_to_requeue_list(q, rq, at_head, true),
      restart: at => {
        const hctx = blk.hctxs.get(at)!
        const t = enter(blk.k, 'blk_mq_sched_restart')
        if (clear_restart(hctx)) blk_mq_run_hw_queue(hctx, true)
        leave(blk.k, t)
      },
    },
  }
}

/** rq->end_io: a flush, or the data of a sequence; passthrough requests have one of their own. */
export function end_io(
  blk: BlockLayer,
  rq: number,
  status: number,
  other: (rq: number, status: number) => void,
): void {
  const { view } = blk
  const kind = view.u32(rq + RQ_END_IO)
  if (kind !== RQ_END_FLUSH && kind !== RQ_END_FLUSH_DATA) {
    other(rq, status)
    return
  }
  const context = flush_context(blk.queues.get(view.u32(view.u32(rq + RQ_HCTX) + HC_Q))!)
  if (kind === RQ_END_FLUSH) flush_end_io(context, rq, status)
  else mq_flush_data_end_io(context, rq, status)
}
