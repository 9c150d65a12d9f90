// Requests of the kernel's own: block/blk-exec.c of Linux 4.19, and blk_mq_alloc_request.
//
//   blk_mq_alloc_request    a request without a bio, in the context of this CPU; no tag: null (the caller has NOWAIT)
//   blk_execute_rq_nowait   inserted and run, in this call if the queue may; `done` gets it when it ends, and frees it
//   blk_execute_rq          ... and waited for

import {
  CTX_HCTX,
  CTX_SIZE,
  Q_CTXS,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_DATA_LEN,
  RQ_END_HOST,
  RQ_END_IO,
  RQ_NR_SEGS,
  RQ_SECTOR,
} from '../../assembly/layout.js'
import { BLK_STS_IOERR } from '../../assembly/nvme.js'
import { completion, complete, wait_for_completion_io } from '../kernel/completion.js'
import type { Sleep } from '../kernel/core.js'
import { enter, leave } from '../kernel/trace.js'
import { this_cpu } from './blk-mq.js'
import { blk_mq_sched_insert_request } from './blk-mq-sched.js'
import type { request_queue } from './blkdev.js'

/** One try for a request; null when no tag is free, or the queue is frozen. */
export function blk_mq_alloc_request(q: request_queue, opf: number): number | null {
  const { k, core, view, cpus } = q.blk
  const t = enter(k, 'blk_mq_alloc_request')
  if (q.mq_freeze_depth > 0 || q.elevator !== null) return leave(k, t, null)
  const cpu = cpus[k.cpu.id]!
  const ctx = view.u32(q.at + Q_CTXS) + k.cpu.id * CTX_SIZE
  const hctx = view.u32(ctx + CTX_HCTX)
  const tag = core.blk_mq_get_tag(hctx, k.cpu.id, 0)
  if (tag < 0) return leave(k, t, null)
  const rq = core.blk_mq_rq_ctx_init(q.at, hctx, ctx, cpu, tag, opf) >>> 0
  for (const field of [RQ_BIO, RQ_BIOTAIL, RQ_DATA_LEN, RQ_NR_SEGS]) view.setU32(rq + field, 0)
  view.setU64(rq + RQ_SECTOR, 0)
  return leave(k, t, rq)
}

/** Gives a request back, that was executed or never was. */
export function blk_mq_free_request(q: request_queue, rq: number): void {
  q.blk.view.setU32(rq + RQ_END_IO, 0)
  q.blk.core.blk_mq_free_request(this_cpu(q.blk), rq)
}

export function blk_execute_rq_nowait(
  q: request_queue,
  rq: number,
  at_head: boolean,
  done: (rq: number, status: number) => void,
): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_execute_rq_nowait')
  if (q.dying) done(rq, BLK_STS_IOERR)
  else {
    view.setU32(rq + RQ_END_IO, RQ_END_HOST)
    q.blk.passthrough.set(rq, done)
    blk_mq_sched_insert_request(q, rq, at_head, true, false)
  }
  leave(k, t)
}

/** @returns the blk_status_t; the caller frees the request */
export function* blk_execute_rq(q: request_queue, rq: number, at_head: boolean): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'blk_execute_rq')
  const wait = new completion(k)
  let result = 0
  blk_execute_rq_nowait(q, rq, at_head, (_rq, status) => {
    const e = enter(k, 'blk_end_sync_rq')
    result = status
    complete(wait)
    leave(k, e)
  })
  yield* wait_for_completion_io(wait)
  return leave(k, t, result)
}
