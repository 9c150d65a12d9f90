// Requests of the kernel's own: block/blk-exec.c of Linux 4.19, and blk_mq_alloc_request.
//
//   blk_mq_alloc_request    a request without a bio, in the context of this CPU; the plain twin has NOWAIT
//   blk_execute_rq_nowait   inserted and run, in this call if the queue may; `done` gets it when it ends, and frees it
//   blk_execute_rq          ... and waited for

import {
  CTX_SIZE,
  HC_SCHED_TAGS,
  HC_TAGS,
  Q_CTXS,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_DATA_LEN,
  RQ_END_HOST,
  RQ_END_IO,
  RQ_FLAGS,
  RQ_NR_SEGS,
  RQ_SECTOR,
  RQ_START_NS,
  SBQ_WS,
  TAGS_BITMAP,
  TAGS_BRESERVED,
  WT_CPU,
} from '../../assembly/layout.js'
import {
  BLK_MQ_REQ_INTERNAL,
  BLK_MQ_REQ_RESERVED,
  BLK_STS_IOERR,
  RQF_ELVPRIV,
} from '../../assembly/nvme.js'
import { completion, complete, wait_for_completion_io } from '../kernel/completion.js'
import { type Sleep, TASK_UNINTERRUPTIBLE } from '../kernel/core.js'
import { ENODEV, EWOULDBLOCK, EXDEV } from '../kernel/errno.js'
import { submit_time, io_schedule, set_current_state } from '../kernel/task.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { wait_event } from '../kernel/wait.js'
import { this_cpu } from './blk-mq.js'
import { blk_mq_sched_insert_request, op_is_flush } from './blk-mq-sched.js'
import type { request_queue } from './blkdev.js'

/** One try for a tag and its request, in the context of this CPU; 0 = none is free. */
function blk_mq_get_request(
  q: request_queue,
  opf: number,
  flags: number,
  number: number = q.blk.k.cpu.id,
): number {
  const { k, core, view, cpus } = q.blk
  const t = enter(k, 'blk_mq_get_request')
  const cpu = cpus[number]!
  const ctx = view.u32(q.at + Q_CTXS) + number * CTX_SIZE
  const hctx = core.blk_mq_map_queue(ctx, opf) >>> 0
  const sched = op_is_flush(opf) ? undefined : q.elevator?.type.ops
  const limited = flags & BLK_MQ_REQ_RESERVED ? undefined : sched
  const shallow = limited?.limit_depth?.(q, opf) ?? 0
  const g = enter(k, 'blk_mq_get_tag')
  leave(k, enter(k, '__blk_mq_get_tag'))
  const internal = q.elevator ? BLK_MQ_REQ_INTERNAL : 0
  const tag = core.__blk_mq_get_tag(hctx, number, flags | internal, shallow)
  leave(k, g)
  if (tag < 0) return leave(k, t, 0)
  const make = internal ? core.blk_mq_sched_rq_init : core.blk_mq_rq_ctx_init
  const rq = make(q.at, hctx, ctx, cpu, tag, opf) >>> 0
  for (const field of [RQ_BIO, RQ_BIOTAIL, RQ_DATA_LEN, RQ_NR_SEGS]) view.setU32(rq + field, 0)
  view.setU64(rq + RQ_SECTOR, 0)
  view.setU64(rq + RQ_START_NS, k.now())
  if (sched) {
    view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_ELVPRIV)
    sched.prepare_request?.(q, rq, 0)
  }
  return leave(k, t, rq)
}

/** One try for a request. @returns its slot, -EWOULDBLOCK without a tag or on a frozen queue, -ENODEV on a dying one */
export function blk_mq_alloc_request(q: request_queue, opf: number, flags = 0): number {
  const { k } = q.blk
  const t = enter(k, 'blk_mq_alloc_request')
  leave(k, enter(k, 'blk_queue_enter'))
  if (q.dying) return leave(k, t, -ENODEV)
  if (q.mq_freeze_depth > 0) return leave(k, t, -EWOULDBLOCK)
  const rq = blk_mq_get_request(q, opf, flags)
  leave(k, enter(k, 'blk_queue_exit'))
  return leave(k, t, rq === 0 ? -EWOULDBLOCK : rq)
}

/** One try for a request of a given hardware queue, in the context of its first CPU. Errors as above. */
export function blk_mq_alloc_request_hctx(
  q: request_queue,
  opf: number,
  flags: number,
  hctx_idx: number,
): number {
  const { k } = q.blk
  const t = enter(k, 'blk_mq_alloc_request_hctx')
  const hctx = q.queue_hw_ctx[hctx_idx]
  const cpu = hctx?.cpumask[0]
  if (hctx === undefined || cpu === undefined) return leave(k, t, -EXDEV)
  if (q.dying) return leave(k, t, -ENODEV)
  if (q.mq_freeze_depth > 0) return leave(k, t, -EWOULDBLOCK)
  trace_call(k, 'blk_queue_enter')
  const rq = blk_mq_get_request(q, opf, flags, cpu)
  trace_call(k, 'blk_queue_exit')
  return leave(k, t, rq === 0 ? -EWOULDBLOCK : rq)
}

/** The bitmap in which a request finds its tag on this CPU. */
function bitmap_here(q: request_queue, opf: number, flags: number): number {
  const { k, view, core } = q.blk
  const ctx = view.u32(q.at + Q_CTXS) + k.cpu.id * CTX_SIZE
  const hctx = core.blk_mq_map_queue(ctx, opf) >>> 0
  const tags = view.u32(hctx + (q.elevator ? HC_SCHED_TAGS : HC_TAGS))
  return tags + (flags & BLK_MQ_REQ_RESERVED ? TAGS_BRESERVED : TAGS_BITMAP)
}

/** Sleeps until a tag of this CPU's hardware queue may be free. */
function* wait_for_tag(q: request_queue, opf: number, flags: number): Sleep<void> {
  const { blk } = q
  const { k, core, view } = blk
  const sbq = bitmap_here(q, opf, flags)
  const waiter = blk.bios.waiters.pop()
  if (waiter === undefined) throw new Error('too many tasks wait for a tag')
  view.setU32(waiter + WT_CPU, this_cpu(blk))
  core.sbitmap_prepare_to_wait(sbq, sbq + SBQ_WS, waiter)
  blk.bios.sleeping.set(waiter, k.cpu.current)
  set_current_state(k, TASK_UNINTERRUPTIBLE)
  yield* io_schedule(k, 'a tag')
  blk.bios.sleeping.delete(waiter)
  core.sbitmap_finish_wait(sbq, waiter)
  blk.bios.waiters.push(waiter)
  // It goes on with other tags, on another CPU or with another scheduler: the wake-up is for the next one who waits here.
  if (bitmap_here(q, opf, flags) !== sbq) core.sbitmap_queue_wake_up(sbq)
}

/** The same, waiting for a tag and for the queue to be thawed. @returns the slot, or -ENODEV */
export function* blk_mq_alloc_request_wait(
  q: request_queue,
  opf: number,
  flags = 0,
): Sleep<number> {
  for (;;) {
    const rq = blk_mq_alloc_request(q, opf, flags)
    if (rq !== -EWOULDBLOCK) return rq
    if (q.mq_freeze_depth > 0)
      yield* wait_event(q.mq_freeze_wq, () => q.mq_freeze_depth === 0 || q.dying)
    else yield* wait_for_tag(q, opf, flags)
  }
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
  const wait = new completion(k, 'a request')
  let result = 0
  blk_execute_rq_nowait(q, rq, at_head, (_rq, status) => {
    const e = enter(k, 'blk_end_sync_rq')
    result = status
    complete(wait)
    leave(k, e)
  })
  yield* submit_time(k)
  // io_schedule_timeout, in the task that waits
  yield* wait_for_completion_io(wait)
  return leave(k, t, result)
}
