// The block layer of a kernel: kblockd, and the door through
// which the core asks for what TypeScript does (HB_* of assembly/layout.ts).
//
//   blk_dev_init        kblockd
//   block_host          one call of the core, in the middle of one of its functions

import * as L from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { Kernel } from '../kernel/kernel.js'
import { alloc_workqueue } from '../kernel/workqueue-alloc.js'
import { WQ_HIGHPRI, WQ_MEM_RECLAIM } from '../kernel/workqueue-structs.js'
import type { Slab } from '../mm/slab.js'
import { blk_insert_flush } from './blk-flush.js'
import { blk_queue_freed } from './blk-mq-freeze.js'
import { blk_mq_run_hw_queue, rq_queue } from './blk-mq.js'
import {
  blk_mq_sched_dispatch_requests,
  blk_mq_sched_insert_request,
  blk_mq_sched_restart,
} from './blk-mq-sched.js'
import { blk_rq_timer } from './blk-timeout.js'
import type { BlockLayer, request_queue, rq_list } from './blkdev.js'
import { end_io, flush_context } from './flush-queue.js'
import { blk_mq_attempt_merge } from './ctx-merge.js'

/** Makes the block layer of a kernel; queues come by blk_mq_init_queue. */
export function blk_dev_init(
  k: Kernel,
  core: Core,
  view: View,
  cpus: readonly number[],
  mem: Slab,
): BlockLayer {
  const kblockd = alloc_workqueue(k, 'kblockd', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
  if (kblockd === null) throw new Error('kblockd could not be made')
  return {
    k,
    core,
    view,
    cpus,
    kblockd,
    mem,
    queues: new Map(),
    hctxs: new Map(),
    bios: { bios: [], waiters: [], end_io: new Map(), sleeping: new Map(), dispatching: new Map() },
    passthrough: new Map(),
    dispatch_requests: blk_mq_sched_dispatch_requests,
    mm: null,
    bdev: null,
    nvme_handle_cqe: null,
    file_io: null,
    laptop_io_completion: null,
    lightnvm: null,
  }
}

// ---------------------------------------------------------------- what the core asks

function list_of(view: View, first: number): rq_list {
  const list: rq_list = []
  for (let rq = first; rq; rq = view.u32(rq + L.RQ_NEXT)) list.push(rq)
  return list
}

function freed(blk: BlockLayer, q: request_queue, rq: number): void {
  if (rq) blk.laptop_io_completion?.(q)
  else blk_queue_freed(q)
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
    if (!done) throw new Error(`bio ${bio} has ended already`)
    done(bio)
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
  [L.HB_QUEUE_RQ]: (blk, at, rq) => {
    const hctx = blk.hctxs.get(at)!
    return hctx.q.ops.queue_rq!(hctx, rq)
  },
  [L.HB_COMPLETE_RQ]: (blk, rq) => {
    const q = rq_queue(blk, rq)
    q.ops.complete!(q, rq)
    return 0
  },
  [L.HB_COMPLETE_FAILED]: (blk, rq, status) => {
    const q = rq_queue(blk, rq)
    q.ops.complete_failed!(q, rq, status)
    return 0
  },
  [L.HB_NVME_CQE]: (blk, nq, cqe) => blk.nvme_handle_cqe?.(nq, cqe) ?? false,
  [L.HB_FILE_IO]: (blk, job, iou) => {
    blk.file_io!(job, iou)
    return 0
  },
  [L.HB_MERGE_BIO]: (blk, ctx, bio) => {
    const hctx = blk.hctxs.get(blk.view.u32(ctx + L.CTX_HCTX))!
    return blk_mq_attempt_merge(hctx.q, ctx, bio)
  },
}

/** One call of the core. */
export function block_host(blk: BlockLayer, what: number, a: number, b: number): number {
  if (what >= L.HB_PBLK_END) return blk.lightnvm!(what, a >>> 0, b >>> 0)
  const answer = ANSWERS[what]
  if (!answer) throw new Error(`the core asked for ${what}, which nobody knows`)
  return Number(answer(blk, a >>> 0, b >>> 0) ?? 0)
}
