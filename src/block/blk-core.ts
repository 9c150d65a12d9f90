// The single-queue block layer: block/blk-core.c of Linux 4.19, which later kernels have no more. Here: how a queue runs,
// and how requests end. How they come is blk-queue-bio.ts's.
//
// A queue runs its request_fn when something was added; later from a work, delay_work:
//
//   blk_delay_queue(ms)      in so many ms, unless it is due earlier
//   blk_run_queue_async      now, from kblockd; a time that was set is forgotten
//   blk_stop_queue           not at all, until blk_start_queue
//
//   driver -> blk_complete_request (softirq) or at once -> blk_end_request_all -> blk_finish_request

import {
  BIO_NEXT,
  BIO_STATUS,
  CPU_INDEX,
  CTX_STAT_IOS,
  CTX_STAT_SECTORS,
  HC_TAGS,
  M_BASE,
  M_COST_COMPLETE,
  MQ_RQ_IDLE,
  RQ_BIO,
  RQ_CPU,
  RQ_CTX,
  RQ_DATA_LEN,
  RQ_FLAGS,
  RQ_HCTX,
  RQ_STATE,
  RQ_TAG,
  SECTOR_SHIFT,
} from '../../assembly/layout.js'
import {
  BLK_STS_OK,
  REQ_OP_DISCARD,
  REQ_OP_FLUSH,
  REQ_OP_READ,
  RQF_DONTPREP,
  RQF_FLUSH_SEQ,
} from '../../assembly/nvme.js'
import { msecs_to_jiffies } from '../kernel/time.js'
import { enter, leave } from '../kernel/trace.js'
import { cancel_delayed_work, mod_delayed_work, queue_delayed_work } from '../kernel/workqueue.js'
import type { work_struct } from '../kernel/workqueue-structs.js'
import { blk_rq_is_passthrough, req_op } from './blk-merge.js'
import { blk_delete_timer } from './blk-timeout-sq.js'
import { of_rq, type sq_queue, with_queue_lock } from './sq.js'

// ---------------------------------------------------------------- running

/** Runs the queue even if it is stopped: its driver looks. */
export function __blk_run_queue_uncond(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, '__blk_run_queue_uncond')
  if (!q.dead) {
    q.request_fn_active++
    q.driver.request_fn(q)
    q.request_fn_active--
  }
  leave(k, t)
}

/** Runs the queue, unless it is stopped. */
export function __blk_run_queue(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, '__blk_run_queue')
  if (!q.stopped) __blk_run_queue_uncond(q)
  leave(k, t)
}

export function blk_run_queue(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_run_queue')
  __blk_run_queue(q)
  leave(k, t)
}

export function blk_delay_work(work: work_struct<sq_queue>): void {
  const { k } = work.container.blk
  const t = enter(k, 'blk_delay_work')
  __blk_run_queue(work.container)
  leave(k, t)
}

/** Runs the queue in so many ms; one that is due earlier stays so. */
export function blk_delay_queue(q: sq_queue, msecs: number): void {
  const { k, kblockd } = q.blk
  const t = enter(k, 'blk_delay_queue')
  if (!q.dead) queue_delayed_work(kblockd, q.delay_work, msecs_to_jiffies(k, msecs))
  leave(k, t)
}

/** Runs the queue from kblockd, now. */
export function blk_run_queue_async(q: sq_queue): void {
  const { k, kblockd } = q.blk
  const t = enter(k, 'blk_run_queue_async')
  if (!q.stopped && !q.dead) mod_delayed_work(kblockd, q.delay_work, 0)
  leave(k, t)
}

export function blk_stop_queue(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_stop_queue')
  cancel_delayed_work(q.delay_work)
  q.stopped = true
  leave(k, t)
}

export function blk_start_queue(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_start_queue')
  q.stopped = false
  __blk_run_queue(q)
  leave(k, t)
}

export function blk_start_queue_async(q: sq_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_start_queue_async')
  q.stopped = false
  blk_run_queue_async(q)
  leave(k, t)
}

// ---------------------------------------------------------------- the end

/** Place of an operation in the disk's statistics: read, write, discard, flush. */
function stat_group(op: number): number {
  if (op === REQ_OP_READ) return 0
  if (op === REQ_OP_DISCARD) return 2
  return op === REQ_OP_FLUSH ? 3 : 1
}

function blk_account_io_done(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_account_io_done')
  const stat = view.u32(rq + RQ_CTX) + 8 * stat_group(req_op(view, rq))
  const sectors = view.u32(rq + RQ_DATA_LEN) >>> SECTOR_SHIFT
  view.setU64(stat + CTX_STAT_IOS, view.u64(stat + CTX_STAT_IOS) + 1)
  view.setU64(stat + CTX_STAT_SECTORS, view.u64(stat + CTX_STAT_SECTORS) + sectors)
  leave(k, t)
}

/** Ends the bios of a request; of a flush sequence they wait for its last step. */
export function blk_update_request(q: sq_queue, rq: number, error: number): void {
  const { k, core, view } = q.blk
  const t = enter(k, 'blk_update_request')
  const cpu = view.u32(rq + RQ_CPU)
  if (!(view.u32(rq + RQ_FLAGS) & RQF_FLUSH_SEQ)) {
    let bio = view.u32(rq + RQ_BIO)
    view.setU32(rq + RQ_BIO, 0)
    while (bio) {
      const next = view.u32(bio + BIO_NEXT)
      view.setU32(bio + BIO_NEXT, 0)
      if (error !== BLK_STS_OK) view.setU32(bio + BIO_STATUS, error)
      core.bio_endio(cpu, bio)
      bio = next
    }
    // in virtual time nothing else tells the CPU of the submitter
    core.virtual_kick(cpu)
  }
  leave(k, t)
}

/** Gives the slot back; whoever waits for one is woken. */
function __blk_put_request(q: sq_queue, rq: number): void {
  const { core, view } = q.blk
  q.requests.delete(rq)
  view.setU32(rq + RQ_STATE, MQ_RQ_IDLE)
  const tags = view.u32(view.u32(rq + RQ_HCTX) + HC_TAGS)
  const index = view.u32(view.u32(rq + RQ_CPU) + CPU_INDEX)
  core.blk_mq_put_tag(tags, index, view.u32(rq + RQ_TAG))
}

/** The request is over: its end_io takes it, or its slot is free. */
export function blk_finish_request(q: sq_queue, rq: number, error: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_finish_request')
  if (!blk_rq_is_passthrough(view, rq) && req_op(view, rq) !== REQ_OP_FLUSH)
    q.laptop_io_completion?.()
  blk_delete_timer(q, rq)
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_DONTPREP)
  blk_account_io_done(q, rq)
  const { end_io } = of_rq(q, rq)
  if (end_io) end_io(q, rq, error)
  else __blk_put_request(q, rq)
  leave(k, t)
}

/** Ends a request as a whole. `error` is a blk_status_t. */
export function blk_end_request_all(q: sq_queue, rq: number, error: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_end_request_all')
  const here = q.blk.cpus[k.cpu.id]!
  with_queue_lock(q, here, view.u32(M_BASE + M_COST_COMPLETE), () => {
    blk_update_request(q, rq, error)
    blk_finish_request(q, rq, error)
  })
  leave(k, t)
}
