// CPUs go while a disk is used: the hotplug callback of block/blk-mq.c, Linux 4.19 (CPUHP_BLK_MQ_DEAD).
//
// A hardware queue registers when it is made. When a CPU is dead, what waits on its software queue goes to the dispatch list
// and is dispatched soon. 4.19 does not ask whether the CPU was one of this hardware queue's: callbacks are called
// newest first, so that the queue that was made last takes the list; its requests are dispatched to their own all the same.
// The map is one of possible CPUs and stays as it is; who runs a hardware queue is looked for among the CPUs that are
// online (blk_mq_hctx_next_cpu). What is in flight is completed by the CPU that has the interrupt.

import { CTX_HEAD, CTX_SIZE, CTX_TAIL, Q_CTXS, RQ_NEXT } from '../../assembly/layout.js'
import { cpuhp_setup_state } from '../kernel/cpu.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_mq_run_hw_queue, this_cpu } from './blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from './blkdev.js'

/** Everything that waits on a software queue, oldest first; it is empty then. */
function take_ctx({ at, blk }: request_queue, cpu: number): number[] {
  const { view } = blk
  const ctx = view.u32(at + Q_CTXS) + cpu * CTX_SIZE
  const list: number[] = []
  for (let rq = view.u32(ctx + CTX_HEAD); rq; rq = view.u32(rq + RQ_NEXT)) list.push(rq)
  view.setU32(ctx + CTX_HEAD, 0)
  view.setU32(ctx + CTX_TAIL, 0)
  return list
}

function blk_mq_hctx_notify_dead(hctx: blk_mq_hw_ctx, cpu: number): void {
  const { q } = hctx
  const { k, core } = q.blk
  const t = enter(k, 'blk_mq_hctx_notify_dead')
  const list = take_ctx(q, cpu)
  for (const rq of list) core.blk_mq_request_bypass_insert(this_cpu(q.blk), hctx.at, rq, 0)
  if (list.length > 0) blk_mq_run_hw_queue(hctx, true)
  leave(k, t)
}

/** blk_mq_init_hctx: from now on it hears of CPUs that die. @returns ends that */
export function blk_mq_add_cpuhp(hctx: blk_mq_hw_ctx): () => void {
  return cpuhp_setup_state(hctx.q.blk.k, {
    name: 'block/mq:dead',
    dead: cpu => blk_mq_hctx_notify_dead(hctx, cpu),
  })
}
