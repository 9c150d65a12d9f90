// The RESTART bit of a hardware queue: set when requests were held back, cleared by the one that runs the queue again.

import { HC_STATE } from '../../assembly/layout.js'
import { BLK_MQ_S_SCHED_RESTART } from '../../assembly/nvme.js'
import type { blk_mq_hw_ctx } from './blkdev.js'

/** Clears the bit; whether it was set. */
export function clear_restart(hctx: blk_mq_hw_ctx): boolean {
  const { view } = hctx.q.blk
  const state = view.load(hctx.at + HC_STATE)
  if (!(state & BLK_MQ_S_SCHED_RESTART)) return false
  view.store(hctx.at + HC_STATE, state & ~BLK_MQ_S_SCHED_RESTART)
  return true
}
