// The slow half of the multi-queue block layer: block/blk-mq.c of Linux 4.19, what happens to requests that do not go
// straight from the submitter to the driver. The straight way is the core's (assembly/submit.ts).
//
//   blk_mq_run_hw_queue         something waits: dispatch here, or by kblockd on a CPU of the queue
//   __blk_mq_run_hw_queue       hctx->dispatch first, then the scheduler or the software queues (blk-mq-sched.ts)
//   blk_mq_dispatch_rq_list     tag, queue_rq, one by one; what the driver cannot take goes back to hctx->dispatch
//   blk_mq_requeue_work         the requeue list: requests that the driver or the flush machinery gave back
//   stop, quiesce, freeze       three ways to hold a queue
//
// A request whose driver answers RESOURCE is run again 3 ms later, or as soon as the RESTART bit was cleared by one
// that was freed; DEV_RESOURCE waits for the latter alone.
//
// Lists of hardware and software queues are in the shared memory, linked by RQ_NEXT. Budgets are the driver's
// (blk_mq_ops). One thread serves all CPUs of a kernel, hence no locks.

import {
  CTX_HCTX,
  CTX_HCTX_POLL,
  CTX_HCTX_READ,
  CTX_HEAD,
  CTX_TAIL,
  GATE_QUIESCED,
  GATE_STOPPED,
  HC_DISPATCH_HEAD,
  HC_DISPATCH_TAIL,
  HC_DISPATCHED,
  HC_FLAGS,
  HC_GATE,
  HC_RUN,
  HC_STATE,
  HC_TAGS,
  HC_WAIT_INDEX,
  RQ_CTX,
  RQ_FLAGS,
  RQ_HCTX,
  RQ_NEXT,
  RQ_Q,
  RQ_TAG,
  SBQ_WAIT_QUEUES,
  SBQ_WS,
  TAGS_BITMAP,
  WS_SIZE,
  WT_CPU,
} from '../../assembly/layout.js'
import {
  BLK_MQ_F_BLOCKING,
  BLK_MQ_F_TAG_SHARED,
  BLK_MQ_S_SCHED_RESTART,
  BLK_MQ_S_STOPPED,
  BLK_STS_DEV_RESOURCE,
  BLK_STS_IOERR,
  BLK_STS_OK,
  BLK_STS_RESOURCE,
  RQF_DONTPREP,
  RQF_SOFTBARRIER,
} from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import type { Sleep } from '../kernel/core.js'
import { synchronize_rcu } from '../kernel/rcu.js'
import { msecs_to_jiffies } from '../kernel/time.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { cancel_delayed_work, mod_delayed_work_on } from '../kernel/workqueue-cancel.js'
import { queue_work } from '../kernel/workqueue-queue.js'
import {
  type delayed_work,
  WORK_CPU_UNBOUND,
  type work_struct,
} from '../kernel/workqueue-structs.js'
import type { BlockLayer, blk_mq_hw_ctx, request_queue, rq_list } from './blkdev.js'
import { rq_event } from './trace-events.js'

const BLK_MQ_CPU_WORK_BATCH = 8
const BLK_MQ_RESOURCE_DELAY = 3
const BLK_MQ_MAX_DISPATCH_ORDER = 7

// ---------------------------------------------------------------- small helpers

/** The block of the CPU that runs. */
export function this_cpu(blk: BlockLayer): number {
  return blk.cpus[blk.k.cpu.id]!
}

/** The hardware queue of a request. */
export function rq_hctx(blk: BlockLayer, rq: number): blk_mq_hw_ctx {
  return blk.hctxs.get(blk.view.u32(rq + RQ_HCTX))!
}

export function rq_queue(blk: BlockLayer, rq: number): request_queue {
  return blk.queues.get(blk.view.u32(rq + RQ_Q))!
}

function set_bits(blk: BlockLayer, word: number, bits: number): void {
  blk.view.store(word, blk.view.load(word) | bits)
}

function clear_bits(blk: BlockLayer, word: number, bits: number): void {
  blk.view.store(word, blk.view.load(word) & ~bits)
}

function stopped(hctx: blk_mq_hw_ctx): boolean {
  return (hctx.q.blk.view.load(hctx.at + HC_STATE) & BLK_MQ_S_STOPPED) !== 0
}

/** Takes a whole list of {head, tail} words, to the end of `all`. */
function splice(blk: BlockLayer, head: number, tail: number, all: rq_list = []): rq_list {
  if (blk.view.u32(head) === 0) return all
  for (let rq = blk.view.u32(head); rq; rq = blk.view.u32(rq + RQ_NEXT)) all.push(rq)
  blk.view.setU32(head, 0)
  blk.view.setU32(tail, 0)
  return all
}

/** Puts a list back in front of hctx->dispatch. */
function splice_dispatch(hctx: blk_mq_hw_ctx, list: rq_list): void {
  const { core } = hctx.q.blk
  for (const rq of [...list].reverse())
    core.blk_mq_insert_dispatch_head(this_cpu(hctx.q.blk), hctx.at, rq)
}

// ---------------------------------------------------------------- kblockd

export function kblockd_schedule_work(blk: BlockLayer, work: work_struct): boolean {
  const t = enter(blk.k, 'kblockd_schedule_work')
  return leave(blk.k, t, queue_work(blk.kblockd, work))
}

export function kblockd_mod_delayed_work_on(
  blk: BlockLayer,
  cpu: number,
  dwork: delayed_work,
  delay: number,
): boolean {
  const t = enter(blk.k, 'kblockd_mod_delayed_work_on')
  return leave(blk.k, t, mod_delayed_work_on(cpu, blk.kblockd, dwork, delay))
}

// ---------------------------------------------------------------- running a hardware queue

/** Whether a software queue is one of a hardware queue's, for whatever class of I/O. */
export function ctx_uses(view: View, ctx: number, hctx: number): boolean {
  if (view.u32(ctx + CTX_HCTX) === hctx) return true
  return view.u32(ctx + CTX_HCTX_READ) === hctx || view.u32(ctx + CTX_HCTX_POLL) === hctx
}

/** Classes of queues: the requests of a software queue go to several hardware queues (rq_lists of Linux 5.0, in one list). */
function has_classes(view: View, ctx: number): boolean {
  return (view.u32(ctx + CTX_HCTX_READ) | view.u32(ctx + CTX_HCTX_POLL)) !== 0
}

/** The first request of a software queue that is a hardware queue's, and the one before it; 0 = none. */
function first_of(view: View, ctx: number, hctx: number): { rq: number; before: number } {
  let before = 0
  let rq = view.u32(ctx + CTX_HEAD)
  while (rq && has_classes(view, ctx) && view.u32(rq + RQ_HCTX) !== hctx) {
    before = rq
    rq = view.u32(rq + RQ_NEXT)
  }
  return { rq, before }
}

/** Takes it out; 0 = there is none. */
function take_first(view: View, ctx: number, hctx: number): number {
  const { rq, before } = first_of(view, ctx, hctx)
  if (!rq) return 0
  const next = view.u32(rq + RQ_NEXT)
  view.setU32(before ? before + RQ_NEXT : ctx + CTX_HEAD, next)
  if (!next) view.setU32(ctx + CTX_TAIL, before)
  return rq
}

function ctx_pending(hctx: blk_mq_hw_ctx): boolean {
  const { view } = hctx.q.blk
  for (const ctx of hctx.ctxs) if (first_of(view, ctx, hctx.at).rq !== 0) return true
  return false
}

/** Whether requests wait: on hctx->dispatch, on software queues, in the scheduler. */
function blk_mq_hctx_has_pending(hctx: blk_mq_hw_ctx): boolean {
  const { view } = hctx.q.blk
  if (view.u32(hctx.at + HC_DISPATCH_HEAD) !== 0 || ctx_pending(hctx)) return true
  return hctx.q.elevator?.type.ops.has_work(hctx) ?? false
}

/** Dispatches what waits, now or (async) by kblockd. True if something waited. */
export function blk_mq_run_hw_queue(hctx: blk_mq_hw_ctx, async: boolean): boolean {
  const { k } = hctx.q.blk
  const t = enter(k, 'blk_mq_run_hw_queue')
  const need_run = !hctx.q.quiesced && blk_mq_hctx_has_pending(hctx)
  if (need_run) __blk_mq_delay_run_hw_queue(hctx, async, 0)
  return leave(k, t, need_run)
}

/** Runs every hardware queue that is not stopped. */
export function blk_mq_run_hw_queues(q: request_queue, async: boolean): void {
  const t = enter(q.blk.k, 'blk_mq_run_hw_queues')
  run_hw_queues(q, async)
  leave(q.blk.k, t)
}

/** The same inside of short functions, where the recorded kernel's compiler leaves no call. */
export function run_hw_queues(q: request_queue, async: boolean): void {
  for (const hctx of q.queue_hw_ctx) if (!stopped(hctx)) blk_mq_run_hw_queue(hctx, async)
}

export function blk_mq_delay_run_hw_queue(hctx: blk_mq_hw_ctx, msecs: number): void {
  const t = enter(hctx.q.blk.k, 'blk_mq_delay_run_hw_queue')
  __blk_mq_delay_run_hw_queue(hctx, true, msecs)
  leave(hctx.q.blk.k, t)
}

export function __blk_mq_delay_run_hw_queue(
  hctx: blk_mq_hw_ctx,
  async: boolean,
  msecs: number,
): void {
  const { blk } = hctx.q
  const { k, view } = blk
  const t = enter(k, '__blk_mq_delay_run_hw_queue')
  const blocking = (view.u32(hctx.at + HC_FLAGS) & BLK_MQ_F_BLOCKING) !== 0
  if (stopped(hctx)) {
    // it runs when it is started again
  } else if (!async && !blocking && hctx.cpumask.includes(k.cpu.id)) __blk_mq_run_hw_queue(hctx)
  else {
    const delay = msecs_to_jiffies(k, msecs)
    kblockd_mod_delayed_work_on(blk, blk_mq_hctx_next_cpu(hctx), hctx.run_work, delay)
  }
  leave(k, t)
}

function next_online(hctx: blk_mq_hw_ctx, after: number): number {
  const online = hctx.cpumask.filter(cpu => hctx.q.blk.k.cpus[cpu]?.online === true)
  return online.find(cpu => cpu > after) ?? online[0] ?? WORK_CPU_UNBOUND
}

/** The CPU that runs the queue's work: each in turn for eight runs; any CPU if there is one queue only. */
export function blk_mq_hctx_next_cpu(hctx: blk_mq_hw_ctx): number {
  if (hctx.q.queue_hw_ctx.length === 1) return WORK_CPU_UNBOUND
  let next = hctx.next_cpu
  if (--hctx.next_cpu_batch <= 0) {
    next = next_online(hctx, next)
    hctx.next_cpu_batch = BLK_MQ_CPU_WORK_BATCH
  }
  const online = (cpu: number): boolean => hctx.q.blk.k.cpus[cpu]?.online === true
  if (!online(next)) next = next_online(hctx, next)
  if (next !== WORK_CPU_UNBOUND) {
    hctx.next_cpu = next
    return next
  }
  // None is online: any CPU does it this time.
  hctx.next_cpu_batch = 1
  return WORK_CPU_UNBOUND
}

export function blk_mq_run_work_fn(work: work_struct<blk_mq_hw_ctx>): void {
  const hctx = work.container
  const { k } = hctx.q.blk
  const t = enter(k, 'blk_mq_run_work_fn')
  if (!stopped(hctx)) __blk_mq_run_hw_queue(hctx)
  leave(k, t)
}

function __blk_mq_run_hw_queue(hctx: blk_mq_hw_ctx): void {
  const { k, view } = hctx.q.blk
  const t = enter(k, '__blk_mq_run_hw_queue')
  if (!stopped(hctx) && !hctx.q.quiesced) {
    view.setU64(hctx.at + HC_RUN, view.u64(hctx.at + HC_RUN) + 1)
    hctx.q.blk.dispatch_requests(hctx)
    hctx.q.ops.commit_rqs?.(hctx)
  }
  leave(k, t)
}

// ---------------------------------------------------------------- lists

/** Takes all of hctx->dispatch. */
export function take_dispatch(hctx: blk_mq_hw_ctx): rq_list {
  return splice(hctx.q.blk, hctx.at + HC_DISPATCH_HEAD, hctx.at + HC_DISPATCH_TAIL)
}

/** Takes the requests of all software queues, in the order of their numbers. */
export function blk_mq_flush_busy_ctxs(hctx: blk_mq_hw_ctx): rq_list {
  const { blk } = hctx.q
  const t = enter(blk.k, 'blk_mq_flush_busy_ctxs')
  const all: rq_list = []
  const { view } = blk
  const { words } = view
  const { ctxs } = hctx
  // By number: an admin queue of many CPUs looks at all of them for every command.
  for (let i = 0; i < ctxs.length; i++) {
    const ctx = ctxs[i]!
    if (words[(ctx + CTX_HEAD) >>> 2] === 0) continue
    if (!has_classes(view, ctx)) splice(blk, ctx + CTX_HEAD, ctx + CTX_TAIL, all)
    else
      for (let rq = take_first(view, ctx, hctx.at); rq; rq = take_first(view, ctx, hctx.at))
        all.push(rq)
  }
  return leave(blk.k, t, all)
}

/** Takes one request of the first busy software queue from `start` on, cyclic; 0 = none. */
export function blk_mq_dequeue_from_ctx(hctx: blk_mq_hw_ctx, start: number): number {
  const { view, k } = hctx.q.blk
  const t = enter(k, 'blk_mq_dequeue_from_ctx')
  const n = hctx.ctxs.length
  for (let i = 0; i < n; i++) {
    const ctx = hctx.ctxs[(start + i) % n]!
    const rq = take_first(view, ctx, hctx.at)
    if (rq) return leave(k, t, rq)
  }
  return leave(k, t, 0)
}

/** Whether a software queue of this hardware queue holds a request. */
export function blk_mq_ctx_busy(hctx: blk_mq_hw_ctx): boolean {
  return ctx_pending(hctx)
}

/** Puts a request on its software queue. */
export function __blk_mq_insert_request(hctx: blk_mq_hw_ctx, rq: number, at_head: boolean): void {
  const { k, core, view } = hctx.q.blk
  const t = enter(k, '__blk_mq_insert_request')
  rq_event(hctx.q, 'block_rq_insert', rq)
  core.__blk_mq_insert_req_list(view.u32(rq + RQ_CTX), rq, at_head ? 1 : 0)
  leave(k, enter(k, 'blk_mq_hctx_mark_pending'))
  leave(k, t)
}

// ---------------------------------------------------------------- dispatch

/** The dispatch list waits for a tag no more. */
export function dispatch_unwait(hctx: blk_mq_hw_ctx): void {
  const { blk } = hctx.q
  const waiter = hctx.dispatch_wait
  if (waiter === 0) return
  hctx.dispatch_wait = 0
  blk.bios.dispatching.delete(waiter)
  blk.core.sbitmap_finish_wait(driver_bitmap(hctx), waiter)
  blk.bios.waiters.push(waiter)
}

/** Tags that others share: they do not run this queue when they free one, so that it waits for it as tasks do. */
function dispatch_wait_add(hctx: blk_mq_hw_ctx, rq: number): boolean {
  const { blk } = hctx.q
  const { core, view } = blk
  if (hctx.dispatch_wait !== 0) return false
  const waiter = blk.bios.waiters.pop()
  if (waiter === undefined) throw new Error('too many wait for a tag')
  const sbq = driver_bitmap(hctx)
  const index = view.u32(hctx.at + HC_WAIT_INDEX)
  view.setU32(hctx.at + HC_WAIT_INDEX, (index + 1) % SBQ_WAIT_QUEUES)
  view.setU32(waiter + WT_CPU, this_cpu(blk))
  core.sbitmap_prepare_to_wait(sbq, sbq + SBQ_WS + index * WS_SIZE, waiter)
  hctx.dispatch_wait = waiter
  blk.bios.dispatching.set(waiter, hctx)
  if (core.blk_mq_get_driver_tag(this_cpu(blk), rq) === 0) return false
  dispatch_unwait(hctx)
  return true
}

/** A shared tag was freed: the queue is run. */
export function blk_mq_dispatch_wake(hctx: blk_mq_hw_ctx): void {
  const { k } = hctx.q.blk
  const t = enter(k, 'blk_mq_dispatch_wake')
  dispatch_unwait(hctx)
  blk_mq_run_hw_queue(hctx, true)
  leave(k, t)
}

/** Another try for a tag, after it is certain that someone who frees one will run the queue. */
function blk_mq_mark_tag_wait(hctx: blk_mq_hw_ctx, rq: number): boolean {
  const { blk } = hctx.q
  if (blk.view.u32(hctx.at + HC_FLAGS) & BLK_MQ_F_TAG_SHARED) return dispatch_wait_add(hctx, rq)
  set_bits(blk, hctx.at + HC_STATE, BLK_MQ_S_SCHED_RESTART)
  return blk.core.blk_mq_get_driver_tag(this_cpu(blk), rq) !== 0
}

function get_tag(hctx: blk_mq_hw_ctx, rq: number): boolean {
  const { blk } = hctx.q
  return blk.core.blk_mq_get_driver_tag(this_cpu(blk), rq) !== 0 || blk_mq_mark_tag_wait(hctx, rq)
}

/** The bucket of `dispatched` for so many requests. */
export function queued_to_index(queued: number): number {
  if (queued === 0) return 0
  return Math.min(BLK_MQ_MAX_DISPATCH_ORDER - 1, 31 - Math.clz32(queued) + 1)
}

interface DispatchState {
  queued: number
  errors: number
  status: number
  no_tag: boolean
}

function is_resource(status: number): boolean {
  return status === BLK_STS_RESOURCE || status === BLK_STS_DEV_RESOURCE
}

/** Issues the first request of a list; false when the rest must wait. */
function dispatch_one(
  hctx: blk_mq_hw_ctx,
  list: rq_list,
  got_budget: boolean,
  state: DispatchState,
): boolean {
  const { blk, ops } = hctx.q
  const { core } = blk
  const cpu = this_cpu(blk)
  const rq = list[0]!
  if (!got_budget && ops.get_budget?.(hctx) === false) return false
  if (!get_tag(hctx, rq)) {
    ops.put_budget?.(hctx)
    state.no_tag = (blk.view.u32(hctx.at + HC_FLAGS) & BLK_MQ_F_TAG_SHARED) !== 0
    return false
  }
  list.shift()
  const next = list[0]
  if (next !== undefined) core.blk_mq_get_driver_tag(cpu, next)
  state.status = core.queue_rq(cpu, hctx.at, rq)
  if (is_resource(state.status)) {
    if (next !== undefined) core.blk_mq_put_driver_tag(cpu, next)
    list.unshift(rq)
    core.__blk_mq_requeue_request(cpu, rq)
    return false
  }
  if (state.status === BLK_STS_OK) state.queued++
  else {
    state.errors++
    core.blk_mq_end_request(cpu, rq, BLK_STS_IOERR)
  }
  return true
}

/** What is left of a dispatched list goes back, and is run again at the right time. */
function put_back(hctx: blk_mq_hw_ctx, list: rq_list, state: DispatchState): void {
  const { core, view } = hctx.q.blk
  splice_dispatch(hctx, list)
  const restart = (view.load(hctx.at + HC_STATE) & BLK_MQ_S_SCHED_RESTART) !== 0
  const missed = state.no_tag && hctx.dispatch_wait === 0
  if (!restart || missed) blk_mq_run_hw_queue(hctx, true)
  else if (state.status === BLK_STS_RESOURCE) blk_mq_delay_run_hw_queue(hctx, BLK_MQ_RESOURCE_DELAY)
  if (hctx.q.elevator === null) core.blk_mq_update_dispatch_busy(hctx.at, 1)
}

/**
 * Gives requests to the driver until it has had enough; the rest goes back to hctx->dispatch.
 * @returns whether the caller may go on with more
 */
export function blk_mq_dispatch_rq_list(
  q: request_queue,
  list: rq_list,
  got_budget: boolean,
): boolean {
  const { k, core, view } = q.blk
  if (list.length === 0) return false
  const t = enter(k, 'blk_mq_dispatch_rq_list')
  const state: DispatchState = { queued: 0, errors: 0, status: BLK_STS_OK, no_tag: false }
  let hctx = rq_hctx(q.blk, list[0]!)
  let budget = got_budget
  while (list.length > 0) {
    hctx = rq_hctx(q.blk, list[0]!)
    if (!dispatch_one(hctx, list, budget, state)) break
    budget = false
  }
  const bucket = hctx.at + HC_DISPATCHED + 4 * queued_to_index(state.queued)
  view.setU32(bucket, view.u32(bucket) + 1)
  if (list.length > 0) {
    put_back(hctx, list, state)
    return leave(k, t, false)
  }
  if (q.elevator === null) core.blk_mq_update_dispatch_busy(hctx.at, 0)
  return leave(k, t, state.queued + state.errors !== 0)
}

// ---------------------------------------------------------------- requeue

/** The driver gives a request back: it will be inserted again, in front of others. */
export function blk_mq_requeue_request(
  q: request_queue,
  rq: number,
  kick_requeue_list: boolean,
): void {
  const { k, core } = q.blk
  const t = enter(k, 'blk_mq_requeue_request')
  core.__blk_mq_requeue_request(this_cpu(q.blk), rq)
  q.elevator?.type.ops.requeue_request?.(q, rq)
  blk_mq_add_to_requeue_list(q, rq, true, kick_requeue_list)
  leave(k, t)
}

export function blk_mq_add_to_requeue_list(
  q: request_queue,
  rq: number,
  at_head: boolean,
  kick_requeue_list: boolean,
): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_add_to_requeue_list')
  if (at_head) {
    view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_SOFTBARRIER)
    q.requeue_list.unshift(rq)
  } else q.requeue_list.push(rq)
  if (kick_requeue_list) blk_mq_kick_requeue_list(q)
  leave(k, t)
}

export function blk_mq_kick_requeue_list(q: request_queue): void {
  const t = enter(q.blk.k, 'blk_mq_kick_requeue_list')
  kblockd_mod_delayed_work_on(q.blk, WORK_CPU_UNBOUND, q.requeue_work, 0)
  leave(q.blk.k, t)
}

export function blk_mq_delay_kick_requeue_list(q: request_queue, msecs: number): void {
  const t = enter(q.blk.k, 'blk_mq_delay_kick_requeue_list')
  const delay = msecs_to_jiffies(q.blk.k, msecs)
  kblockd_mod_delayed_work_on(q.blk, WORK_CPU_UNBOUND, q.requeue_work, delay)
  leave(q.blk.k, t)
}

/** How a request is inserted again; blk-mq-sched.ts, which is above this file, says it. */
export type InsertRequest = (
  q: request_queue,
  rq: number,
  at_head: boolean,
  run_queue: boolean,
  async: boolean,
) => void

/** Inserts the requests of the requeue list: those at the head first, then the others, in order; then runs the queues. */
export function requeue_work_of(insert: InsertRequest): (work: work_struct<request_queue>) => void {
  return function blk_mq_requeue_work(work: work_struct<request_queue>): void {
    const q = work.container
    const { k, core, view } = q.blk
    const t = enter(k, 'blk_mq_requeue_work')
    const all = q.requeue_list
    q.requeue_list = []
    const flags = (rq: number): number => view.u32(rq + RQ_FLAGS)
    const first = all.filter(rq => flags(rq) & (RQF_SOFTBARRIER | RQF_DONTPREP))
    const rest = all.filter(rq => !first.includes(rq))
    for (const rq of first) {
      view.setU32(rq + RQ_FLAGS, flags(rq) & ~RQF_SOFTBARRIER)
      if (flags(rq) & RQF_DONTPREP)
        core.blk_mq_request_bypass_insert(this_cpu(q.blk), view.u32(rq + RQ_HCTX), rq, 0)
      else insert(q, rq, true, false, false)
    }
    for (const rq of rest) insert(q, rq, false, false, false)
    blk_mq_run_hw_queues(q, false)
    leave(k, t)
  }
}

// ---------------------------------------------------------------- stopping

export function blk_mq_stop_hw_queue(hctx: blk_mq_hw_ctx): void {
  const { blk } = hctx.q
  const t = enter(blk.k, 'blk_mq_stop_hw_queue')
  cancel_delayed_work(hctx.run_work)
  set_bits(blk, hctx.at + HC_STATE, BLK_MQ_S_STOPPED)
  set_bits(blk, hctx.at + HC_GATE, GATE_STOPPED)
  leave(blk.k, t)
}

export function blk_mq_stop_hw_queues(q: request_queue): void {
  const t = enter(q.blk.k, 'blk_mq_stop_hw_queues')
  for (const hctx of q.queue_hw_ctx) blk_mq_stop_hw_queue(hctx)
  leave(q.blk.k, t)
}

function clear_stopped(hctx: blk_mq_hw_ctx): void {
  clear_bits(hctx.q.blk, hctx.at + HC_STATE, BLK_MQ_S_STOPPED)
  clear_bits(hctx.q.blk, hctx.at + HC_GATE, GATE_STOPPED)
}

export function blk_mq_start_hw_queue(hctx: blk_mq_hw_ctx): void {
  const { k } = hctx.q.blk
  const t = enter(k, 'blk_mq_start_hw_queue')
  clear_stopped(hctx)
  blk_mq_run_hw_queue(hctx, false)
  leave(k, t)
}

export function blk_mq_start_hw_queues(q: request_queue): void {
  const t = enter(q.blk.k, 'blk_mq_start_hw_queues')
  for (const hctx of q.queue_hw_ctx) blk_mq_start_hw_queue(hctx)
  leave(q.blk.k, t)
}

export function blk_mq_start_stopped_hw_queue(hctx: blk_mq_hw_ctx, async: boolean): void {
  if (!stopped(hctx)) return
  const { k } = hctx.q.blk
  const t = enter(k, 'blk_mq_start_stopped_hw_queue')
  clear_stopped(hctx)
  blk_mq_run_hw_queue(hctx, async)
  leave(k, t)
}

export function blk_mq_start_stopped_hw_queues(q: request_queue, async: boolean): void {
  const t = enter(q.blk.k, 'blk_mq_start_stopped_hw_queues')
  for (const hctx of q.queue_hw_ctx) blk_mq_start_stopped_hw_queue(hctx, async)
  leave(q.blk.k, t)
}

// ---------------------------------------------------------------- quiescing

/** Nothing is dispatched any more. Who dispatches already goes on. */
export function blk_mq_quiesce_queue_nowait(q: request_queue): void {
  q.quiesced = true
  trace_call(q.blk.k, 'blk_queue_flag_set')
  for (const hctx of q.queue_hw_ctx) set_bits(q.blk, hctx.at + HC_GATE, GATE_QUIESCED)
}

/**
 * The same, and whoever dispatches has done so. Dispatchers that may sleep are counted (SRCU): here none sleeps, so that the
 * others wait for a grace period, and these for nobody.
 */
export function* blk_mq_quiesce_queue(q: request_queue): Sleep<void> {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_quiesce_queue')
  blk_mq_quiesce_queue_nowait(q)
  const blocking = ({ at }: blk_mq_hw_ctx): boolean =>
    (view.u32(at + HC_FLAGS) & BLK_MQ_F_BLOCKING) !== 0
  if (!q.queue_hw_ctx.every(blocking)) yield* synchronize_rcu(k)
  leave(k, t)
}

export function blk_mq_unquiesce_queue(q: request_queue): void {
  const t = enter(q.blk.k, 'blk_mq_unquiesce_queue')
  q.quiesced = false
  trace_call(q.blk.k, 'blk_queue_flag_clear')
  for (const hctx of q.queue_hw_ctx) clear_bits(q.blk, hctx.at + HC_GATE, GATE_QUIESCED)
  run_hw_queues(q, true)
  leave(q.blk.k, t)
}

/** The request that a driver tag of this hardware queue stands for: the normal tags' bitmap. */
export function driver_bitmap(hctx: blk_mq_hw_ctx): number {
  return hctx.q.blk.view.u32(hctx.at + HC_TAGS) + TAGS_BITMAP
}

/** The driver's tag of a request, -1 = none. */
export function rq_tag(blk: BlockLayer, rq: number): number {
  return blk.view.i32(rq + RQ_TAG)
}
