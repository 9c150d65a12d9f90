// null_blk's single-queue mode (queue_mode=1): drivers/block/null_blk_main.c of Linux 4.19, over block/blk-core.c.
//
//   null_request_fn       fetches requests one by one; faults: timeout before requeue, the other way round than with
//                         several queues
//   null_rq_prep_fn       a command for the request; when there is none the queue stops until one is free
//   null_handle_cmd       the work (null_blk.ts), then the end by irqmode: at once, in the block softirq, or by a timer
//   end_cmd               ends the request, frees the command, starts the queue again if it was stopped
//
// A request that is out of bandwidth goes back to the queue, which is stopped. Linux's null_request_fn fetches it again
// and again until the timer has filled the budget; this one ends its round.

import {
  NULL_CMD_AGAIN,
  NULL_IRQ_NONE,
  NULL_IRQ_SOFTIRQ,
  RQ_CPU,
  RQ_FLAGS,
} from '../../../assembly/layout.js'
import { BLK_STS_OK, RQF_DONTPREP } from '../../../assembly/nvme.js'
import { blk_end_request_all, blk_start_queue_async, blk_stop_queue } from '../../block/blk-core.js'
import { blk_fetch_request, blk_requeue_request } from '../../block/blk-queue-bio.js'
import { __blk_complete_request, blk_complete_request } from '../../block/blk-softirq.js'
import { BLK_EH_DONE } from '../../block/blkdev.js'
import { BLKPREP_DEFER, BLKPREP_OK, of_rq, type sq_driver, type sq_queue } from '../../block/sq.js'
import {
  CLOCK_MONOTONIC,
  HRTIMER_MODE_REL,
  HRTIMER_NORESTART,
  hrtimer,
  hrtimer_cancel,
  hrtimer_init,
  type HrtimerKernel,
  hrtimer_start,
} from '../../kernel/hrtimer.js'
import { enter, leave } from '../../kernel/trace.js'

/** What of the module a single-queue disk uses: null_blk.ts. */
export interface NullbModule {
  null_cmd(cpu: number, nullb: number, rq: number, faults: number): number
  should_timeout_request(nullb: number): boolean
  should_requeue_request(nullb: number): boolean
}

export interface NullbRqOptions {
  /** Address of the disk's block (NULLB_*). */
  readonly nullb: number
  readonly irqmode: number
  readonly completion_nsec: number
  readonly hw_queue_depth: number
}

/** struct nullb_cmd. */
interface nullb_cmd {
  readonly tag: number
  readonly timer: hrtimer<nullb_cmd>
  q: sq_queue | null
  rq: number
  error: number
}

/** The driver of one single-queue disk. */
export function null_rq_driver(
  k: HrtimerKernel,
  module: NullbModule,
  options: NullbRqOptions,
): sq_driver {
  const free: nullb_cmd[] = []

  function null_cmd_timer_expired(timer: hrtimer<nullb_cmd>): number {
    const t = enter(k, 'null_cmd_timer_expired')
    end_cmd(timer.container)
    return leave(k, t, HRTIMER_NORESTART)
  }

  for (let tag = options.hw_queue_depth; tag--; ) {
    const cmd = { tag, q: null, rq: 0, error: BLK_STS_OK } as unknown as {
      -readonly [K in keyof nullb_cmd]: nullb_cmd[K]
    }
    cmd.timer = new hrtimer<nullb_cmd>(k, cmd)
    free.push(cmd)
  }

  function end_cmd(cmd: nullb_cmd): void {
    const q = cmd.q!
    of_rq(q, cmd.rq).special = null
    blk_end_request_all(q, cmd.rq, cmd.error)
    cmd.q = null
    free.push(cmd)
    if (q.stopped) blk_start_queue_async(q)
  }

  function cmdOf(q: sq_queue, rq: number): nullb_cmd {
    return of_rq(q, rq).special as nullb_cmd
  }

  function null_cmd_end_timer(cmd: nullb_cmd): void {
    hrtimer_init(cmd.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL)
    cmd.timer.function = null_cmd_timer_expired
    hrtimer_start(cmd.timer, options.completion_nsec, HRTIMER_MODE_REL)
  }

  function null_handle_cmd(q: sq_queue, rq: number): void {
    const t = enter(k, 'null_handle_cmd')
    const { view } = q.blk
    const cmd = cmdOf(q, rq)
    const status = module.null_cmd(view.u32(rq + RQ_CPU), options.nullb, rq, 0)
    if (status === NULL_CMD_AGAIN) {
      view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_DONTPREP)
      blk_requeue_request(q, rq)
    } else {
      cmd.error = status
      if (options.irqmode === NULL_IRQ_NONE) end_cmd(cmd)
      else if (options.irqmode === NULL_IRQ_SOFTIRQ) blk_complete_request(q, rq)
      else null_cmd_end_timer(cmd)
    }
    leave(k, t)
  }

  function null_request_fn(q: sq_queue): void {
    const t = enter(k, 'null_request_fn')
    while (!q.stopped) {
      const rq = blk_fetch_request(q)
      if (!rq) break
      if (module.should_timeout_request(options.nullb)) continue
      if (module.should_requeue_request(options.nullb)) blk_requeue_request(q, rq)
      else null_handle_cmd(q, rq)
    }
    leave(k, t)
  }

  function null_rq_prep_fn(q: sq_queue, rq: number): number {
    const t = enter(k, 'null_rq_prep_fn')
    const request = of_rq(q, rq)
    if (request.special !== null) return leave(k, t, BLKPREP_OK)
    const cmd = free.pop()
    if (cmd === undefined) {
      blk_stop_queue(q)
      return leave(k, t, BLKPREP_DEFER)
    }
    Object.assign(cmd, { q, rq, error: BLK_STS_OK })
    request.special = cmd
    return leave(k, t, BLKPREP_OK)
  }

  function null_softirq_done_fn(q: sq_queue, rq: number): void {
    const t = enter(k, 'null_softirq_done_fn')
    end_cmd(cmdOf(q, rq))
    leave(k, t)
  }

  /** The request ends as if the command had come to its end. */
  function null_rq_timed_out_fn(q: sq_queue, rq: number): number {
    const t = enter(k, 'null_rq_timed_out_fn')
    hrtimer_cancel(cmdOf(q, rq).timer)
    __blk_complete_request(q, rq)
    return leave(k, t, BLK_EH_DONE)
  }

  return {
    request_fn: null_request_fn,
    prep_rq_fn: null_rq_prep_fn,
    softirq_done_fn: null_softirq_done_fn,
    rq_timed_out_fn: null_rq_timed_out_fn,
  }
}
