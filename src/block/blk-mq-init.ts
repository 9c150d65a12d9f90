// Making and ending a request queue: block/blk-mq.c and blk-core.c of Linux 4.19, in its order.
//
//   blk_mq_alloc_tag_set    what the driver asks for is checked and corrected; the map of CPUs; tags and requests of
//                           each hardware queue
//   blk_mq_init_queue       blk_alloc_queue_node (timers), then blk_mq_init_allocated_queue: hardware queues, works
//   blk_cleanup_queue       nobody comes in any more, everybody leaves, timers and works are stopped
//   blk_mq_free_tag_set
//
// The blocks of queues, tags and requests are planned and written when the machine boots; a tag set finds its own there,
// and refuses a shape that was not planned.

import * as L from '../../assembly/layout.js'
import { BLK_MQ_MAX_DEPTH } from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { EINVAL, ENOMEM } from '../kernel/errno.js'
import { del_timer_sync, timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { wait_queue_head, wake_up_all } from '../kernel/wait.js'
import { cancel_delayed_work_sync, cancel_work_sync } from '../kernel/workqueue-cancel.js'
import { INIT_DELAYED_WORK, INIT_WORK, schedule_work } from '../kernel/workqueue-queue.js'
import { delayed_work, work_struct } from '../kernel/workqueue-structs.js'
import { blk_mq_quiesce_queue, blk_mq_run_work_fn, requeue_work_of } from './blk-mq.js'
import { bdi_alloc_node, laptop_mode_timer_setup } from '../mm/backing-dev.js'
import { blk_mq_map_queues } from './blk-mq-cpumap.js'
import { blk_freeze_queue_start, blk_mq_freeze_queue_wait } from './blk-mq-freeze.js'
import { blk_mq_exit_sched, blk_mq_sched_insert_request } from './blk-mq-sched.js'
import { blk_mq_timeout_work, blk_rq_timed_out_timer } from './blk-timeout.js'
import type { BlockLayer, blk_mq_hw_ctx, blk_mq_ops, request_queue, rq_list } from './blkdev.js'

/** struct blk_mq_tag_set: what a driver asks for. blk_mq_alloc_tag_set corrects it and fills in the rest. */
export interface blk_mq_tag_set {
  readonly blk: BlockLayer
  /** Address of the request queue's block (Q_*). */
  readonly at: number
  readonly ops: blk_mq_ops
  nr_hw_queues: number
  queue_depth: number
  readonly reserved_tags: number
  /** Hardware queue of each CPU. */
  mq_map: Uint32Array
  /** Tags (TAGS_*) of each hardware queue. */
  tags: number[]
}

// ---------------------------------------------------------------- tag sets

function booted_tags(set: blk_mq_tag_set, hctx_idx: number): number {
  const { view } = set.blk
  if (hctx_idx >= view.u32(set.at + L.Q_NR_HW)) return 0
  return view.u32(view.u32(set.at + L.Q_HCTXS) + hctx_idx * L.HC_SIZE + L.HC_TAGS)
}

/** The map of tags of one hardware queue: 0 when there is no room for so many. */
function blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: number): number {
  const { k, view } = set.blk
  const t = enter(k, 'blk_mq_alloc_rq_map')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  trace_call(k, 'blk_mq_init_tags')
  const tags = booted_tags(set, hctx_idx)
  const fits = tags !== 0 && view.u32(tags + L.TAGS_NR) >= set.queue_depth
  return leave(k, t, fits ? tags : 0)
}

/** Tags and requests of one hardware queue; false when there is no room for so many. */
function __blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: number): boolean {
  const { k } = set.blk
  const t = enter(k, '__blk_mq_alloc_rq_map')
  const tags = blk_mq_alloc_rq_map(set, hctx_idx)
  if (tags === 0) return leave(k, t, false)
  const r = enter(k, 'blk_mq_alloc_rqs')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  leave(k, r)
  set.tags[hctx_idx] = tags
  return leave(k, t, true)
}

/** The depth is halved until there is room. */
function blk_mq_alloc_rq_maps(set: blk_mq_tag_set): number {
  for (;;) {
    let all = true
    for (let i = 0; i < set.nr_hw_queues; i++) all &&= __blk_mq_alloc_rq_map(set, i)
    if (all) return 0
    set.queue_depth >>= 1
    if (set.queue_depth < set.reserved_tags + 1) return -ENOMEM
  }
}

function bad_tag_set({ nr_hw_queues, queue_depth, reserved_tags, ops }: blk_mq_tag_set): boolean {
  if (nr_hw_queues === 0 || queue_depth === 0 || queue_depth < reserved_tags + 1) return true
  return (ops.get_budget === undefined) !== (ops.put_budget === undefined)
}

/** @returns 0, -EINVAL for a set that contradicts itself, -ENOMEM when no depth has room */
export function blk_mq_alloc_tag_set(set: blk_mq_tag_set): number {
  const { k, cpus } = set.blk
  const t = enter(k, 'blk_mq_alloc_tag_set')
  if (bad_tag_set(set)) return leave(k, t, -EINVAL)
  set.queue_depth = Math.min(set.queue_depth, BLK_MQ_MAX_DEPTH)
  set.nr_hw_queues = Math.min(set.nr_hw_queues, cpus.length)
  const u = enter(k, 'blk_mq_update_queue_map')
  const m = enter(k, 'blk_mq_map_queues')
  set.mq_map = new Uint32Array(cpus.length)
  blk_mq_map_queues(set.mq_map, set.nr_hw_queues)
  leave(k, m)
  leave(k, u)
  set.tags = []
  return leave(k, t, blk_mq_alloc_rq_maps(set))
}

export function blk_mq_free_tag_set(set: blk_mq_tag_set): void {
  const { k } = set.blk
  const t = enter(k, 'blk_mq_free_tag_set')
  for (const _ of set.tags) {
    trace_call(k, 'blk_mq_free_rqs')
    trace_call(k, 'blk_mq_free_tags')
  }
  set.tags = []
  leave(k, t)
}

// ---------------------------------------------------------------- queues

/** What a queue's life before this one may have left in its blocks. */
function reset_blocks(blk: BlockLayer, at: number): void {
  const { view } = blk
  view.store(at + L.Q_FROZEN, 0)
  view.store(at + L.Q_WATCH, 0)
  const hctxs = view.u32(at + L.Q_HCTXS)
  for (let i = 0; i < view.u32(at + L.Q_NR_HW); i++)
    view.store(hctxs + i * L.HC_SIZE + L.HC_GATE, 0)
}

/** The queue with its timers, before it is anybody's. */
function blk_alloc_queue_node(
  blk: BlockLayer,
  at: number,
  name: string,
  ops: blk_mq_ops,
): request_queue {
  const { k } = blk
  const t = enter(k, 'blk_alloc_queue_node')
  reset_blocks(blk, at)
  const bdi = blk.mm === null ? null : bdi_alloc_node(blk.mm, name)
  const bare = { blk, at, name, ops, bdi, queue_hw_ctx: [] } as unknown as request_queue
  trace_call(k, 'blk_alloc_queue_stats')
  if (bdi !== null) laptop_mode_timer_setup(bdi)
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
  timer_setup(q.timeout, blk_rq_timed_out_timer)
  return leave(k, t, q)
}

function blk_mq_init_hctx(q: request_queue, queue_num: number): blk_mq_hw_ctx {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'blk_mq_init_hctx')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  const at = blk.view.u32(q.at + L.Q_HCTXS) + queue_num * L.HC_SIZE
  const bare = { at, q, queue_num, cpumask: [], ctxs: [] } as unknown as blk_mq_hw_ctx
  const hctx: blk_mq_hw_ctx = Object.assign(bare, {
    run_work: new delayed_work<blk_mq_hw_ctx>(blk.k, bare),
    next_cpu: 0,
    next_cpu_batch: 8,
    dispatch_from: 0,
    sched_data: null,
  })
  INIT_DELAYED_WORK(hctx.run_work, blk_mq_run_work_fn)
  blk.hctxs.set(at, hctx)
  q.ops.init_hctx?.(hctx, queue_num)
  trace_call(k, 'blk_alloc_flush_queue')
  trace_call(k, 'blk_mq_hctx_kobj_init')
  return leave(k, t, hctx)
}

function blk_mq_realloc_hw_ctxs(q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_realloc_hw_ctxs')
  const all = q.queue_hw_ctx as blk_mq_hw_ctx[]
  trace_call(k, 'blk_mq_sysfs_unregister')
  for (let i = 0; i < view.u32(q.at + L.Q_NR_HW); i++) all.push(blk_mq_init_hctx(q, i))
  trace_call(k, 'blk_mq_sysfs_register')
  leave(k, t)
}

/** Which software queues each hardware queue has. */
function blk_mq_map_swqueue(q: request_queue): void {
  const { k, view, cpus } = q.blk
  const t = enter(k, 'blk_mq_map_swqueue')
  for (const hctx of q.queue_hw_ctx) {
    const mine = cpus.flatMap((_, cpu) => {
      const ctx = view.u32(q.at + L.Q_CTXS) + cpu * L.CTX_SIZE
      return view.u32(ctx + L.CTX_HCTX) === hctx.at ? [{ cpu, ctx }] : []
    })
    const cpumask = hctx.cpumask as number[]
    cpumask.push(...mine.map(({ cpu }) => cpu))
    const ctxs = hctx.ctxs as number[]
    ctxs.push(...mine.map(({ ctx }) => ctx))
    hctx.next_cpu = cpumask[0] ?? 0
  }
  leave(k, t)
}

function blk_mq_init_allocated_queue(q: request_queue): request_queue {
  const { k } = q.blk
  const t = enter(k, 'blk_mq_init_allocated_queue')
  trace_call(k, 'blk_mq_sysfs_init')
  blk_mq_realloc_hw_ctxs(q)
  INIT_WORK(q.timeout_work, blk_mq_timeout_work)
  trace_call(k, 'blk_queue_rq_timeout')
  INIT_DELAYED_WORK(q.requeue_work, requeue_work_of(blk_mq_sched_insert_request))
  const m = enter(k, 'blk_queue_make_request')
  trace_call(k, 'blk_queue_congestion_threshold')
  leave(k, m)
  trace_call(k, 'blk_queue_softirq_done')
  blk_mq_map_swqueue(q)
  trace_call(k, 'elevator_init_mq')
  q.blk.queues.set(q.at, q)
  return leave(k, t, q)
}

/** Makes the queue's objects over the blocks that were written at boot. */
export function blk_mq_init_queue(
  blk: BlockLayer,
  at: number,
  name: string,
  ops: blk_mq_ops,
): request_queue {
  const t = enter(blk.k, 'blk_mq_init_queue')
  const q = blk_alloc_queue_node(blk, at, name, ops)
  return leave(blk.k, t, blk_mq_init_allocated_queue(q))
}

/** Stops timers and works of a queue. The requeue work goes with the queue itself. */
function* blk_sync_queue(q: request_queue): Sleep<void> {
  const t = enter(q.blk.k, 'blk_sync_queue')
  del_timer_sync(q.timeout)
  yield* cancel_work_sync(q.timeout_work)
  for (const hctx of q.queue_hw_ctx) yield* cancel_delayed_work_sync(hctx.run_work)
  leave(q.blk.k, t)
}

/** Nobody comes in any more; whoever sleeps for a tag wakes and sees it. */
export function blk_set_queue_dying(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_set_queue_dying')
  q.dying = true
  blk_freeze_queue_start(q)
  const w = enter(k, 'blk_mq_wake_waiters')
  for (const _ of q.queue_hw_ctx) trace_call(k, 'blk_mq_tag_wakeup_all')
  wake_up_all(q.mq_freeze_wq)
  leave(k, w)
  leave(k, t)
}

function blk_mq_free_queue(q: request_queue): void {
  const { blk } = q
  const t = enter(blk.k, 'blk_mq_free_queue')
  for (const hctx of q.queue_hw_ctx) {
    const e = enter(blk.k, 'blk_mq_exit_hctx')
    q.ops.exit_hctx?.(hctx, hctx.queue_num)
    trace_call(blk.k, 'blk_free_flush_queue')
    blk.hctxs.delete(hctx.at)
    leave(blk.k, e)
  }
  leave(blk.k, t)
}

/** The end of a queue: it is frozen for good. Its memory goes with blk_put_queue. */
export function* blk_cleanup_queue(q: request_queue): Sleep<void> {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'blk_cleanup_queue')
  blk_set_queue_dying(q)
  const f = enter(k, 'blk_freeze_queue')
  blk_freeze_queue_start(q)
  yield* blk_mq_freeze_queue_wait(q)
  leave(k, f)
  blk_mq_quiesce_queue(q)
  if (q.bdi !== null) del_timer_sync(q.bdi.laptop_mode_wb_timer)
  yield* blk_sync_queue(q)
  blk_mq_exit_sched(q)
  if (q.bdi !== null) trace_call(k, 'bdi_put')
  blk_mq_free_queue(q)
  blk.queues.delete(q.at)
  leave(k, t)
}

function* __blk_release_queue(work: work_struct<request_queue>): Sleep<void> {
  const q = work.container
  const { k } = q.blk
  const t = enter(k, '__blk_release_queue')
  trace_call(k, 'blk_free_queue_stats')
  trace_call(k, 'blk_exit_rl')
  const r = enter(k, 'blk_mq_release')
  yield* cancel_delayed_work_sync(q.requeue_work)
  for (const _ of q.queue_hw_ctx) trace_call(k, 'blk_mq_hw_sysfs_release')
  const d = enter(k, 'blk_mq_sysfs_deinit')
  for (let i = 0; i <= q.blk.cpus.length; i++) trace_call(k, 'blk_mq_sysfs_release')
  leave(k, d)
  leave(k, r)
  leave(k, t)
}

/** The driver's reference, the last one: a work ends what is left of the queue. */
export function blk_put_queue(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_put_queue')
  const r = enter(k, 'blk_release_queue')
  const release = new work_struct<request_queue>(k, q)
  INIT_WORK(release, __blk_release_queue)
  schedule_work(k, release)
  leave(k, r)
  leave(k, t)
}
