// The block layer of a kernel: kblockd, its request queues over the blocks that a machine booted, and the door through
// which the core asks for what TypeScript does (HB_* of assembly/layout.ts).
//
//   blk_dev_init        kblockd
//   blk_mq_init_queue   works, timers and hardware queues of one request queue; its blocks exist already
//   block_host          one call of the core, in the middle of one of its functions

import * as L from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { Kernel } from '../kernel/kernel.js'
import { timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_queue_head, wake_up_all } from '../kernel/wait.js'
import { alloc_workqueue } from '../kernel/workqueue-alloc.js'
import { INIT_DELAYED_WORK, INIT_WORK } from '../kernel/workqueue-queue.js'
import {
  delayed_work,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  work_struct,
} from '../kernel/workqueue-structs.js'
import { blk_insert_flush } from './blk-flush.js'
import { blk_mq_run_hw_queue, blk_mq_run_work_fn, requeue_work_of, rq_queue } from './blk-mq.js'
import {
  blk_mq_sched_dispatch_requests,
  blk_mq_sched_insert_request,
  blk_mq_sched_restart,
} from './blk-mq-sched.js'
import { blk_mq_timeout_work, blk_rq_timed_out_timer, blk_rq_timer } from './blk-timeout.js'
import type { BlockLayer, blk_mq_hw_ctx, blk_mq_ops, request_queue, rq_list } from './blkdev.js'
import { end_io, flush_context } from './flush-queue.js'
import { blk_mq_attempt_merge } from './ctx-merge.js'

/** Makes the block layer of a kernel; queues come by blk_mq_init_queue. */
export function blk_dev_init(
  k: Kernel,
  core: Core,
  view: View,
  cpus: readonly number[],
): BlockLayer {
  const kblockd = alloc_workqueue(k, 'kblockd', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
  if (kblockd === null) throw new Error('kblockd could not be made')
  return {
    k,
    core,
    view,
    cpus,
    kblockd,
    queues: new Map(),
    hctxs: new Map(),
    bios: { bios: [], waiters: [], end_io: new Map(), sleeping: new Map() },
    passthrough: new Map(),
    dispatch_requests: blk_mq_sched_dispatch_requests,
    laptop_io_completion: null,
  }
}

// ---------------------------------------------------------------- queues

function blk_mq_init_hctx(q: request_queue, queue_num: number): blk_mq_hw_ctx {
  const { blk } = q
  const t = enter(blk.k, 'blk_mq_init_hctx')
  const at = blk.view.u32(q.at + L.Q_HCTXS) + queue_num * L.HC_SIZE
  const ctxs: number[] = []
  const cpumask: number[] = []
  blk.cpus.forEach((_, cpu) => {
    const ctx = blk.view.u32(q.at + L.Q_CTXS) + cpu * L.CTX_SIZE
    if (blk.view.u32(ctx + L.CTX_HCTX) !== at) return
    cpumask.push(cpu)
    ctxs.push(ctx)
  })
  const hctx = { at, q, queue_num, cpumask, ctxs } as unknown as blk_mq_hw_ctx
  const made: blk_mq_hw_ctx = Object.assign(hctx, {
    run_work: new delayed_work<blk_mq_hw_ctx>(blk.k, hctx),
    next_cpu: cpumask[0] ?? 0,
    next_cpu_batch: 8,
    dispatch_from: 0,
    sched_data: null,
  })
  INIT_DELAYED_WORK(made.run_work, blk_mq_run_work_fn)
  blk.hctxs.set(at, made)
  return leave(blk.k, t, made)
}

/** Makes the queue's objects. Its blocks were written at boot. */
export function blk_mq_init_queue(
  blk: BlockLayer,
  at: number,
  name: string,
  ops: blk_mq_ops,
): request_queue {
  const { k } = blk
  const t = enter(k, 'blk_mq_init_queue')
  const queue_hw_ctx: blk_mq_hw_ctx[] = []
  const bare = { blk, at, name, ops, queue_hw_ctx } as unknown as request_queue
  const q: request_queue = Object.assign(bare, {
    elevator: null,
    requeue_list: [] as rq_list,
    requeue_work: new delayed_work<request_queue>(k, bare),
    timeout: new timer_list<request_queue>(k, bare),
    timeout_work: new work_struct<request_queue>(k, bare),
    mq_freeze_wq: new wait_queue_head(k, 'frozen queue'),
    mq_freeze_depth: 0,
    quiesced: false,
    dying: false,
  })
  INIT_DELAYED_WORK(q.requeue_work, requeue_work_of(blk_mq_sched_insert_request))
  INIT_WORK(q.timeout_work, blk_mq_timeout_work)
  timer_setup(q.timeout, blk_rq_timed_out_timer)
  for (let i = 0; i < blk.view.u32(at + L.Q_NR_HW); i++) queue_hw_ctx.push(blk_mq_init_hctx(q, i))
  blk.queues.set(at, q)
  return leave(k, t, q)
}

// ---------------------------------------------------------------- what the core asks

function list_of(view: View, first: number): rq_list {
  const list: rq_list = []
  for (let rq = first; rq; rq = view.u32(rq + L.RQ_NEXT)) list.push(rq)
  return list
}

function freed(blk: BlockLayer, q: request_queue, rq: number): void {
  if (rq) blk.laptop_io_completion?.(q)
  else wake_up_all(q.mq_freeze_wq)
}

type Answer = (blk: BlockLayer, a: number, b: number) => number | boolean | undefined

const ANSWERS: Readonly<Record<number, Answer>> = {
  [L.HB_INSERT_FLUSH]: (blk, rq) => blk_insert_flush(flush_context(rq_queue(blk, rq)), rq),
  [L.HB_RUN_HW_QUEUE]: (blk, at, async) => blk_mq_run_hw_queue(blk.hctxs.get(at)!, async !== 0),
  [L.HB_INSERT_REQUEST]: (blk, rq, async) => {
    blk_mq_sched_insert_request(rq_queue(blk, rq), rq, false, true, async !== 0)
    return 0
  },
  [L.HB_INSERT_REQUESTS]: (blk, at, first) => {
    const hctx = blk.hctxs.get(at)!
    hctx.q.elevator?.type.ops.insert_requests(hctx, list_of(blk.view, first), false)
    return 0
  },
  [L.HB_BIO_MERGE]: (blk, at, bio) => {
    const hctx = blk.hctxs.get(at)!
    return hctx.q.elevator?.type.ops.bio_merge?.(hctx, bio) ?? false
  },
  [L.HB_LIMIT_DEPTH]: (blk, at, opf) => {
    const q = blk.queues.get(at)!
    return q.elevator?.type.ops.limit_depth?.(q, opf) ?? 0
  },
  [L.HB_PREPARE]: (blk, rq, bio) => {
    const q = rq_queue(blk, rq)
    q.elevator?.type.ops.prepare_request?.(q, rq, bio)
    return 0
  },
  [L.HB_FINISH]: (blk, rq) => {
    const q = rq_queue(blk, rq)
    q.elevator?.type.ops.finish_request?.(q, rq)
    return 0
  },
  [L.HB_COMPLETED]: (blk, rq) => {
    const q = rq_queue(blk, rq)
    q.elevator?.type.ops.completed_request?.(q, rq)
    return 0
  },
  [L.HB_END_IO]: (blk, rq, status) => {
    end_io(blk, rq, status, () => {
      const done = blk.passthrough.get(rq)
      blk.passthrough.delete(rq)
      if (!done) throw new Error(`nobody takes the end of request ${rq}`)
      done(rq, status)
    })
    return 0
  },
  [L.HB_BIO_END_IO]: (blk, bio) => {
    const done = blk.bios.end_io.get(bio)
    blk.bios.end_io.delete(bio)
    done?.(bio)
    return 0
  },
  [L.HB_ADD_TIMER]: (blk, at, deadline) => {
    blk_rq_timer(blk.queues.get(at)!, deadline)
    return 0
  },
  [L.HB_RESTART]: (blk, at) => {
    blk_mq_sched_restart(blk.hctxs.get(at)!)
    return 0
  },
  [L.HB_FREED]: (blk, at, rq) => {
    freed(blk, blk.queues.get(at)!, rq)
    return 0
  },
  [L.HB_MERGE_BIO]: (blk, ctx, bio) => {
    const hctx = blk.hctxs.get(blk.view.u32(ctx + L.CTX_HCTX))!
    return blk_mq_attempt_merge(hctx.q, ctx, bio)
  },
}

/** One call of the core. */
export function block_host(blk: BlockLayer, what: number, a: number, b: number): number {
  const answer = ANSWERS[what]
  if (!answer) throw new Error(`the core asked for ${what}, which nobody knows`)
  return Number(answer(blk, a >>> 0, b >>> 0) ?? 0)
}
