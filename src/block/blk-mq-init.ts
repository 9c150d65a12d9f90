// Making and ending a request queue: block/blk-mq.c and blk-core.c of Linux 4.19, in its order.
//
//   blk_mq_alloc_tag_set    what the driver asks for is checked and corrected; the map of CPUs; tags and requests of
//                           each hardware queue
//   blk_mq_init_queue       blk_alloc_queue_node (timers), then blk_mq_init_allocated_queue: hardware queues, works
//   blk_mq_update_nr_hw_queues   all queues of a set frozen, tags for the new number, the maps anew
//   blk_cleanup_queue       nobody comes in any more, everybody leaves, timers and works are stopped
//   blk_mq_free_tag_set
//
// Blocks of queues, tags and requests are of three kinds: written when the machine booted (`at`: such a set finds its own
// there and refuses a shape that was not planned), planned at boot and written here (`memory`: a disk whose place jobs
// must know before it is found), or the kernel's own memory (mm/slab.ts).

import * as L from '../../assembly/layout.js'
import {
  BLK_MQ_F_SHOULD_MERGE,
  BLK_MQ_F_TAG_SHARED,
  BLK_MQ_MAX_DEPTH,
  QUEUE_FLAG_INIT_DONE,
  QUEUE_FLAG_IO_STAT,
  QUEUE_FLAG_SAME_COMP,
} from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { EINVAL, ENOMEM } from '../kernel/errno.js'
import { call_rcu } from '../kernel/rcu.js'
import { del_timer_sync, timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { wait_queue_head } from '../kernel/wait.js'
import { cancel_delayed_work_sync, cancel_work_sync } from '../kernel/workqueue-cancel.js'
import { INIT_DELAYED_WORK, INIT_WORK, schedule_work } from '../kernel/workqueue-queue.js'
import { delayed_work, work_struct } from '../kernel/workqueue-structs.js'
import { bdi_alloc_node, laptop_mode_timer_setup } from '../mm/backing-dev.js'
import {
  blk_mq_quiesce_queue,
  blk_mq_run_work_fn,
  dispatch_unwait,
  requeue_work_of,
} from './blk-mq.js'
import { blk_mq_add_cpuhp } from './blk-mq-cpuhp.js'
import { blk_mq_map_queues } from './blk-mq-cpumap.js'
import {
  blk_freeze_queue_start,
  blk_mq_freeze_queue,
  blk_mq_freeze_queue_wait,
  blk_mq_unfreeze_queue,
  blk_set_queue_dying,
} from './blk-mq-freeze.js'
import { blk_mq_exit_sched, blk_mq_sched_insert_request } from './blk-mq-sched.js'
import {
  blk_mq_alloc_tags,
  blk_mq_free_tags,
  blk_mq_init_tags,
  blk_mq_tag_idle,
  type tags_memory,
} from './blk-mq-tag.js'
import { blk_mq_timeout_work, blk_rq_timed_out_timer } from './blk-timeout.js'
import type {
  BlockLayer,
  blk_mq_hw_ctx,
  blk_mq_ops,
  request_queue,
  rq_list,
  tag_set_facts,
} from './blkdev.js'

/** Where the blocks of a request queue lie: Q_*, the map of CPUs, software and hardware queues for the most there can be. */
export interface queue_memory {
  readonly q: number
  readonly mqMap: number
  readonly ctxs: number
  readonly hctxs: number
}

/** Memory that was planned at boot for a tag set: null where nothing was planned, or it is in use. */
export interface planned_memory {
  tags(hctx_idx: number): tags_memory | null
  queue(): queue_memory | null
  /** The queue that had it is gone. @returns false when it was not planned memory */
  queue_free(q: number): boolean
}

/** struct blk_mq_tag_set: what a driver asks for. blk_mq_alloc_tag_set corrects it and fills in the rest. */
export interface blk_mq_tag_set extends tag_set_facts {
  readonly blk: BlockLayer
  /** Address of a request queue's block (Q_*) that was written at boot; absent: made by blk_mq_init_queue. */
  readonly at?: number
  readonly memory?: planned_memory
  readonly ops: blk_mq_ops
  /** DRIVER_* of hardware queues made here. */
  readonly driver?: number
  nr_hw_queues: number
  queue_depth: number
  readonly reserved_tags: number
  /** rq_timeout, jiffies; absent: 30 s. */
  readonly timeout?: number
  /** BLK_MQ_F_* beside SHOULD_MERGE. */
  readonly flags?: number
  driver_data?: unknown
  /** Hardware queue of each CPU. */
  mq_map: Uint32Array
  /** Classes of queues (Linux 5.0): how many maps there are, at most as many queues in each as there are CPUs; absent = 1. */
  readonly nr_maps?: number
  /** Hardware queues of reads and of polled I/O, by CPU; null = they have none of their own. */
  read_map?: Uint32Array | null
  poll_map?: Uint32Array | null
  /** How many CPUs use each hardware queue. */
  users?: Uint32Array
  /** Tags (TAGS_*) of each hardware queue. */
  tags: number[]
  /** The same with all that belongs to them, of those that were made here. */
  tag_memory?: tags_memory[]
  /** Queues that use it. */
  tag_list?: request_queue[]
}

// ---------------------------------------------------------------- tag sets

function booted_tags(set: blk_mq_tag_set, at: number, hctx_idx: number): number {
  const { view } = set.blk
  if (hctx_idx >= view.u32(at + L.Q_NR_HW)) return 0
  return view.u32(view.u32(at + L.Q_HCTXS) + hctx_idx * L.HC_SIZE + L.HC_TAGS)
}

/** Tags of a queue whose blocks stand there since boot: they must have been planned for so many. */
function find_booted_tags(set: blk_mq_tag_set, at: number, hctx_idx: number): boolean {
  const tags = booted_tags(set, at, hctx_idx)
  const fits = tags !== 0 && set.blk.view.u32(tags + L.TAGS_NR) >= set.queue_depth
  if (fits) set.tags[hctx_idx] = tags
  return fits
}

function nr_maps(set: blk_mq_tag_set): number {
  return set.nr_maps ?? 1
}

/** How many CPUs use each hardware queue. Classes have no queue in common. */
function count_users({ mq_map, read_map, poll_map, nr_hw_queues }: blk_mq_tag_set): Uint32Array {
  const users = new Uint32Array(nr_hw_queues)
  for (const map of [mq_map, read_map, poll_map])
    for (let cpu = 0; map && cpu < map.length; cpu++) users[map[cpu]!]!++
  return users
}

function blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: number): tags_memory | null {
  const { blk } = set
  const t = enter(blk.k, 'blk_mq_alloc_rq_map')
  leave(blk.k, enter(blk.k, 'blk_mq_hw_queue_to_node'))
  const i = enter(blk.k, 'blk_mq_init_tags')
  const sharers = set.users?.[hctx_idx] ?? 0
  const shape = { depth: set.queue_depth, reserved: set.reserved_tags, shared: sharers > 1 }
  const memory = set.memory?.tags(hctx_idx) ?? blk_mq_alloc_tags(blk, shape)
  if (memory) blk_mq_init_tags(blk, memory, shape)
  leave(blk.k, i)
  return leave(blk.k, t, memory)
}

function blk_mq_alloc_rqs(set: blk_mq_tag_set, { requests }: tags_memory, hctx_idx: number): void {
  const { k } = set.blk
  const t = enter(k, 'blk_mq_alloc_rqs')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  // What drivers keep for a request is not modelled: only a trace sees that they are asked.
  if (k.trace.on)
    for (let tag = 0; tag < set.queue_depth; tag++)
      set.ops.init_request?.(set, requests + tag * L.RQ_SIZE, hctx_idx)
  leave(k, t)
}

/** The tags and requests with which the machine booted. */
function find_booted(set: blk_mq_tag_set, at: number, hctx_idx: number): boolean {
  const { k } = set.blk
  const m = enter(k, 'blk_mq_alloc_rq_map')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  trace_call(k, 'blk_mq_init_tags')
  leave(k, m)
  const r = enter(k, 'blk_mq_alloc_rqs')
  trace_call(k, 'blk_mq_hw_queue_to_node')
  leave(k, r)
  return find_booted_tags(set, at, hctx_idx)
}

/** Tags and requests of one hardware queue; false when there is no room for so many. */
function __blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: number): boolean {
  const { k } = set.blk
  const t = enter(k, '__blk_mq_alloc_rq_map')
  if (set.at !== undefined) return leave(k, t, find_booted(set, set.at, hctx_idx))
  const memory = blk_mq_alloc_rq_map(set, hctx_idx)
  if (memory === null) return leave(k, t, false)
  blk_mq_alloc_rqs(set, memory, hctx_idx)
  set.tags[hctx_idx] = memory.tags
  set.tag_memory![hctx_idx] = memory
  return leave(k, t, true)
}

function blk_mq_free_rqs(set: blk_mq_tag_set): void {
  const { k } = set.blk
  const t = enter(k, 'blk_mq_free_rqs')
  if (k.trace.on && set.ops.exit_request)
    for (let tag = 0; tag < set.queue_depth; tag++) set.ops.exit_request(set)
  leave(k, t)
}

/** The tags of hardware queues from `first` on are given back. */
function blk_mq_free_rq_maps(set: blk_mq_tag_set, first: number): void {
  const { k } = set.blk
  for (let i = first; i < set.tags.length; i++) {
    blk_mq_free_rqs(set)
    trace_call(k, 'blk_mq_free_tags')
    // those with which the machine booted stay
    const memory = set.tag_memory?.[i]
    if (memory && set.memory?.tags(i)?.tags !== memory.tags) blk_mq_free_tags(set.blk, memory)
  }
  if (set.tag_memory) set.tag_memory.length = Math.min(set.tag_memory.length, first)
  set.tags.length = Math.min(set.tags.length, first)
}

/** The depth is halved until there is room. */
function blk_mq_alloc_rq_maps(set: blk_mq_tag_set): number {
  for (;;) {
    let all = true
    for (let i = 0; i < set.nr_hw_queues; i++) all &&= __blk_mq_alloc_rq_map(set, i)
    if (all) return 0
    if (set.at === undefined) blk_mq_free_rq_maps(set, 0)
    set.queue_depth >>= 1
    if (set.queue_depth < set.reserved_tags + 1) return -ENOMEM
  }
}

function bad_tag_set({ nr_hw_queues, queue_depth, reserved_tags, ops }: blk_mq_tag_set): boolean {
  if (nr_hw_queues === 0 || queue_depth === 0 || queue_depth < reserved_tags + 1) return true
  return (ops.get_budget === undefined) !== (ops.put_budget === undefined)
}

/** Which hardware queue each CPU uses. */
function blk_mq_update_queue_map(set: blk_mq_tag_set): void {
  const { k, cpus } = set.blk
  const t = enter(k, 'blk_mq_update_queue_map')
  set.mq_map = new Uint32Array(cpus.length)
  if (set.ops.map_queues) set.ops.map_queues(set)
  else {
    const m = enter(k, 'blk_mq_map_queues')
    blk_mq_map_queues(set.mq_map, set.nr_hw_queues)
    leave(k, m)
  }
  set.users = count_users(set)
  leave(k, t)
}

/** @returns 0, -EINVAL for a set that contradicts itself, -ENOMEM when no depth has room */
export function blk_mq_alloc_tag_set(set: blk_mq_tag_set): number {
  const { k, cpus } = set.blk
  const t = enter(k, 'blk_mq_alloc_tag_set')
  if (bad_tag_set(set)) return leave(k, t, -EINVAL)
  set.queue_depth = Math.min(set.queue_depth, BLK_MQ_MAX_DEPTH)
  // With classes a CPU has several.
  if (nr_maps(set) === 1) set.nr_hw_queues = Math.min(set.nr_hw_queues, cpus.length)
  set.tags = []
  set.tag_memory = []
  set.tag_list = []
  blk_mq_update_queue_map(set)
  return leave(k, t, blk_mq_alloc_rq_maps(set))
}

export function blk_mq_free_tag_set(set: blk_mq_tag_set): void {
  const t = enter(set.blk.k, 'blk_mq_free_tag_set')
  blk_mq_free_rq_maps(set, 0)
  set.tags = []
  leave(set.blk.k, t)
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
function blk_alloc_queue_node(set: blk_mq_tag_set, at: number, name: string): request_queue {
  const { blk, ops } = set
  const { k } = blk
  const t = enter(k, 'blk_alloc_queue_node')
  if (set.at !== undefined) reset_blocks(blk, at)
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
    usage_switch: null,
    tag_waiters: 0,
    quiesced: false,
    init_done: set.at !== undefined,
    dying: false,
    queuedata: null,
    flush_rqs: [] as number[],
    tag_set: set,
  })
  timer_setup(q.timeout, blk_rq_timed_out_timer)
  trace_call(k, 'init_timer_key') // delay_work, which only single queues use (blk-core.ts)
  return leave(k, t, q)
}

function blk_mq_init_hctx(set: blk_mq_tag_set, q: request_queue, queue_num: number): blk_mq_hw_ctx {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'blk_mq_init_hctx')
  const at = blk.view.u32(q.at + L.Q_HCTXS) + queue_num * L.HC_SIZE
  const bare = { at, q, queue_num, cpumask: [], ctxs: [] } as unknown as blk_mq_hw_ctx
  trace_call(k, 'blk_mq_hw_queue_to_node')
  const hctx: blk_mq_hw_ctx = Object.assign(bare, {
    run_work: new delayed_work<blk_mq_hw_ctx>(k, bare),
    driver_data: null,
    next_cpu: 0,
    next_cpu_batch: 8,
    dispatch_from: 0,
    dispatch_wait: 0,
    sched_data: null,
    remove_cpuhp: () => {},
  })
  hctx.remove_cpuhp = blk_mq_add_cpuhp(hctx)
  INIT_DELAYED_WORK(hctx.run_work, blk_mq_run_work_fn)
  blk.hctxs.set(at, hctx)
  if (set.at === undefined) init_hctx_block(set, hctx)
  set.ops.init_hctx?.(hctx, queue_num)
  trace_call(k, 'blk_alloc_flush_queue')
  const flush = blk.view.u32(at + L.HC_FQ_RQ)
  if (set.at === undefined) set.ops.init_request?.(set, flush, queue_num)
  trace_call(k, 'blk_mq_hctx_kobj_init')
  return leave(k, t, hctx)
}

/** Writes the block of a hardware queue. Who owns it, and who uses it, is the map's (blk_mq_map_swqueue). */
function init_hctx_block(set: blk_mq_tag_set, hctx: blk_mq_hw_ctx): void {
  const { at, q, queue_num } = hctx
  const { blk } = q
  const { view } = blk
  view.fill(at, L.HC_SIZE, 0)
  const flush = flush_slot(set, q, queue_num)
  view.setU32(flush + L.RQ_TAG, 0xffffffff)
  view.setU32(flush + L.RQ_INTERNAL_TAG, 0xffffffff)
  view.setU32(at + L.HC_INDEX, queue_num)
  view.setU32(at + L.HC_Q, q.at)
  view.setU32(at + L.HC_TAGS, set.tags[queue_num]!)
  view.setU32(at + L.HC_DRIVER, set.driver ?? L.DRIVER_HOST)
  view.setU32(at + L.HC_FLAGS, hctx_flags(set))
  view.setU32(at + L.HC_FQ_RQ, flush)
}

function hctx_flags(set: blk_mq_tag_set): number {
  const shared = (set.tag_list?.length ?? 0) > 1 ? BLK_MQ_F_TAG_SHARED : 0
  return BLK_MQ_F_SHOULD_MERGE | (set.flags ?? 0) | shared
}

/** The flush request of a hardware queue: behind the slots of the tags for the set's first queue, else of its own. */
function flush_slot(set: blk_mq_tag_set, q: request_queue, queue_num: number): number {
  if (set.tag_list?.[0] === q || set.tag_list?.length === 0)
    return set.tag_memory![queue_num]!.requests + set.queue_depth * L.RQ_SIZE
  const own = set.blk.mem.kzalloc(L.RQ_SIZE)
  q.flush_rqs.push(own)
  return own
}

/** As many hardware queues as the set has: new ones are made, those too many go. */
function blk_mq_realloc_hw_ctxs(set: blk_mq_tag_set, q: request_queue): void {
  const { blk } = q
  const { k, view } = blk
  const t = enter(k, 'blk_mq_realloc_hw_ctxs')
  trace_call(k, 'blk_mq_sysfs_unregister')
  const all = q.queue_hw_ctx
  const nr = view.u32(q.at + L.Q_NR_HW)
  for (let i = all.length; i < nr; i++) all.push(blk_mq_init_hctx(set, q, i))
  for (const hctx of all.splice(nr)) blk_mq_exit_hctx(hctx)
  trace_call(k, 'blk_mq_sysfs_register')
  leave(k, t)
}

function blk_mq_exit_hctx(hctx: blk_mq_hw_ctx): void {
  const { q } = hctx
  const { k } = q.blk
  const t = enter(k, 'blk_mq_exit_hctx')
  blk_mq_tag_idle(hctx)
  const set = q.tag_set as blk_mq_tag_set
  if (set.at === undefined) q.ops.exit_request?.(set)
  q.ops.exit_hctx?.(hctx, hctx.queue_num)
  hctx.remove_cpuhp()
  dispatch_unwait(hctx)
  trace_call(k, 'blk_free_flush_queue')
  q.blk.hctxs.delete(hctx.at)
  leave(k, t)
}

/** Writes which hardware queue each CPU uses, and who owns each. */
function write_map(set: blk_mq_tag_set, q: request_queue): void {
  const { view, cpus } = q.blk
  const map = view.u32(q.at + L.Q_MAP)
  const ctxs = view.u32(q.at + L.Q_CTXS)
  const used = new Map<number, number>()
  /** Counts the CPU as one of a queue: how many there were. */
  const use = (hctx: blk_mq_hw_ctx | undefined, block: number): number => {
    if (hctx === undefined) return 0
    const index = used.get(hctx.at) ?? 0
    if (index === 0) view.setU32(hctx.at + L.HC_OWNER, block)
    used.set(hctx.at, index + 1)
    return index
  }
  cpus.forEach((block, cpu) => {
    const hctx = q.queue_hw_ctx[set.mq_map[cpu]!] ?? q.queue_hw_ctx[0]!
    const read = q.queue_hw_ctx[set.read_map?.[cpu] ?? -1]
    const poll = q.queue_hw_ctx[set.poll_map?.[cpu] ?? -1]
    const ctx = ctxs + cpu * L.CTX_SIZE
    view.setU32(ctx + L.CTX_CPU, block)
    view.setU32(ctx + L.CTX_HCTX, hctx.at)
    view.setU32(ctx + L.CTX_HCTX_READ, read?.at ?? 0)
    view.setU32(ctx + L.CTX_HCTX_POLL, poll?.at ?? 0)
    view.setU32(ctx + L.CTX_INDEX_HW, use(hctx, block))
    use(read, block)
    use(poll, block)
    view.setU32(map + 4 * cpu, hctx.at)
  })
  for (const { at } of q.queue_hw_ctx) {
    const n = used.get(at) ?? 0
    view.setU32(at + L.HC_SHARED, n > 1 ? 1 : 0)
    view.setU32(at + L.HC_NR_CTX, n)
    if (n === 0) view.setU32(at + L.HC_OWNER, cpus[0]!)
  }
}

/** Fields of a software queue with its hardware queues. */
const CLASSES = [L.CTX_HCTX, L.CTX_HCTX_READ, L.CTX_HCTX_POLL] as const

/** Which software queues each hardware queue has. */
function blk_mq_map_swqueue(set: blk_mq_tag_set, q: request_queue): void {
  const { k, view, cpus } = q.blk
  const t = enter(k, 'blk_mq_map_swqueue')
  if (set.at === undefined) write_map(set, q)
  for (const { cpumask, ctxs } of q.queue_hw_ctx)
    (cpumask as number[]).length = (ctxs as number[]).length = 0
  for (let cpu = 0; cpu < cpus.length; cpu++) {
    const ctx = view.u32(q.at + L.Q_CTXS) + cpu * L.CTX_SIZE
    for (const field of CLASSES) {
      const hctx = q.blk.hctxs.get(view.u32(ctx + field))
      if (hctx === undefined) continue
      ;(hctx.cpumask as number[]).push(cpu)
      ;(hctx.ctxs as number[]).push(ctx)
    }
  }
  for (const hctx of q.queue_hw_ctx) hctx.next_cpu = hctx.cpumask[0] ?? 0
  leave(k, t)
}

function blk_mq_init_allocated_queue(set: blk_mq_tag_set, q: request_queue): request_queue {
  const { k } = q.blk
  const t = enter(k, 'blk_mq_init_allocated_queue')
  trace_call(k, 'blk_mq_sysfs_init')
  blk_mq_realloc_hw_ctxs(set, q)
  INIT_WORK(q.timeout_work, blk_mq_timeout_work)
  trace_call(k, 'blk_queue_rq_timeout')
  INIT_DELAYED_WORK(q.requeue_work, requeue_work_of(blk_mq_sched_insert_request))
  const m = enter(k, 'blk_queue_make_request')
  trace_call(k, 'blk_queue_congestion_threshold')
  leave(k, m)
  trace_call(k, 'blk_queue_softirq_done')
  blk_mq_map_swqueue(set, q)
  trace_call(k, 'elevator_init_mq')
  q.blk.queues.set(q.at, q)
  return leave(k, t, q)
}

function alloc_queue_memory(set: blk_mq_tag_set): queue_memory | null {
  const { mem, cpus } = set.blk
  const memory = {
    q: mem.kzalloc(L.Q_SIZE),
    mqMap: mem.kzalloc(4 * cpus.length),
    ctxs: mem.kzalloc(L.CTX_SIZE * cpus.length),
    hctxs: mem.kzalloc(L.HC_SIZE * cpus.length * nr_maps(set)),
  }
  if (Object.values(memory).every(at => at !== 0)) return memory
  for (const at of Object.values(memory)) mem.kfree(at)
  return null
}

/** BLK_DEF_MAX_SECTORS, BLK_MAX_SEGMENTS and what else blk_set_default_limits says. */
const DEF_MAX_SECTORS = 2560
const DEF_MAX_SEGMENTS = 128
const DEF_TIMEOUT_S = 30

/** Writes the block of a queue. Capacity and limits are the driver's. */
function init_queue_block(set: blk_mq_tag_set, memory: queue_memory): void {
  const { view, k, queues, cpus } = set.blk
  const { q } = memory
  view.fill(q, L.Q_SIZE, 0)
  view.fill(memory.ctxs, L.CTX_SIZE * cpus.length, 0)
  const flags =
    (1 << QUEUE_FLAG_IO_STAT) | (1 << QUEUE_FLAG_SAME_COMP) | (1 << QUEUE_FLAG_INIT_DONE)
  view.setU32(q + L.Q_FLAGS, flags)
  view.setU32(q + L.Q_NR_HW, set.nr_hw_queues)
  view.setU32(q + L.Q_MAP, memory.mqMap)
  view.setU32(q + L.Q_CTXS, memory.ctxs)
  view.setU32(q + L.Q_HCTXS, memory.hctxs)
  view.setU32(q + L.Q_TIMEOUT, set.timeout ?? DEF_TIMEOUT_S * k.hz)
  view.setU32(q + L.Q_MAX_SECTORS, DEF_MAX_SECTORS)
  view.setU32(q + L.Q_MAX_SEGMENTS, DEF_MAX_SEGMENTS)
  view.setU32(q + L.Q_LBA_SHIFT, L.SECTOR_SHIFT)
  view.setU32(q + L.Q_NR_REQUESTS, set.queue_depth)
  view.setU32(q + L.Q_INDEX, queues.size)
}

/** The tags are shared from the second queue on, and hardware queues know it. */
function blk_mq_add_queue_tag_set(set: blk_mq_tag_set, q: request_queue): void {
  if (set.at !== undefined || !set.tag_list) return
  if (!set.tag_list.includes(q)) set.tag_list.push(q)
  update_shared(set)
}

function update_shared(set: blk_mq_tag_set): void {
  const { view } = set.blk
  for (const q of set.tag_list ?? [])
    for (const { at } of q.queue_hw_ctx) view.setU32(at + L.HC_FLAGS, hctx_flags(set))
}

/**
 * Makes a queue of a tag set.
 * @returns null when there is no memory
 */
export function blk_mq_init_queue(set: blk_mq_tag_set, name: string): request_queue | null {
  const { blk } = set
  const t = enter(blk.k, 'blk_mq_init_queue')
  let at = set.at
  if (at === undefined) {
    const memory = set.memory?.queue() ?? alloc_queue_memory(set)
    if (memory === null) return leave(blk.k, t, null)
    init_queue_block(set, memory)
    at = memory.q
  }
  const q = blk_alloc_queue_node(set, at, name)
  blk_mq_add_queue_tag_set(set, q)
  blk_mq_init_allocated_queue(set, q)
  update_shared(set)
  return leave(blk.k, t, q)
}

/**
 * Makes the queue of a bio-based disk: its make_request function is the machine's, it has no tags and no hardware queues.
 * @returns null when there is no memory
 */
export function blk_alloc_bio_queue(
  blk: BlockLayer,
  name: string,
  ops: blk_mq_ops,
): request_queue | null {
  const none = { nr_hw_queues: 0, queue_depth: 0, reserved_tags: 0, tags: [] }
  const set: blk_mq_tag_set = { blk, ops, ...none, mq_map: new Uint32Array(0) }
  const memory = alloc_queue_memory(set)
  if (memory === null) return null
  init_queue_block(set, memory)
  const q = blk_alloc_queue_node(set, memory.q, name)
  INIT_WORK(q.timeout_work, blk_mq_timeout_work)
  INIT_DELAYED_WORK(q.requeue_work, requeue_work_of(blk_mq_sched_insert_request))
  const t = enter(blk.k, 'blk_queue_make_request')
  trace_call(blk.k, 'blk_queue_congestion_threshold')
  blk.view.setU32(memory.q + L.Q_BIO_BASED, L.BIO_BASED_HOST)
  blk.queues.set(memory.q, q)
  leave(blk.k, t)
  return q
}

/** Another number of hardware queues for every queue of a set: they are frozen meanwhile. Sleeps. */
export function* blk_mq_update_nr_hw_queues(set: blk_mq_tag_set, nr: number): Sleep<void> {
  const { k, view, cpus } = set.blk
  const t = enter(k, 'blk_mq_update_nr_hw_queues')
  const wanted = nr_maps(set) > 1 ? nr : Math.min(nr, cpus.length)
  if (wanted < 1 || wanted === set.nr_hw_queues || set.at !== undefined) return leave(k, t)
  const queues = set.tag_list ?? []
  for (const q of queues) blk_freeze_queue_start(q)
  for (const q of queues) yield* blk_mq_freeze_queue_wait(q)
  const before = set.nr_hw_queues
  set.nr_hw_queues = wanted
  blk_mq_update_queue_map(set)
  for (let i = before; i < wanted; i++) __blk_mq_alloc_rq_map(set, i)
  for (const q of queues) {
    view.setU32(q.at + L.Q_NR_HW, wanted)
    blk_mq_realloc_hw_ctxs(set, q)
    blk_mq_map_swqueue(set, q)
  }
  blk_mq_free_rq_maps(set, wanted)
  for (const q of queues) blk_mq_unfreeze_queue(q)
  leave(k, t)
}

/** Stops timers and works of a queue. The requeue work goes with the queue itself. */
function* blk_sync_queue(q: request_queue): Sleep<void> {
  const t = enter(q.blk.k, 'blk_sync_queue')
  del_timer_sync(q.timeout)
  yield* cancel_work_sync(q.timeout_work)
  for (const hctx of q.queue_hw_ctx) yield* cancel_delayed_work_sync(hctx.run_work)
  // A queue of bios has none: Linux cancels its delay_work, which nobody has queued.
  if (q.queue_hw_ctx.length === 0) yield* cancel_delayed_work_sync(q.requeue_work)
  leave(q.blk.k, t)
}

/** Its place in the tag set goes. Who is left alone there shares no more, and is stopped while it learns that. */
function* blk_mq_del_queue_tag_set(q: request_queue): Sleep<void> {
  const set = q.tag_set as blk_mq_tag_set
  if (!set.tag_list) return
  set.tag_list = set.tag_list.filter(other => other !== q)
  const [other] = set.tag_list
  if (set.tag_list.length !== 1 || other === undefined) return
  yield* blk_mq_freeze_queue(other)
  update_shared(set)
  blk_mq_unfreeze_queue(other)
}

/** Its place in the tag set and its hardware queues go. */
function* blk_mq_free_queue(q: request_queue): Sleep<void> {
  const { blk } = q
  const t = enter(blk.k, 'blk_mq_free_queue')
  yield* blk_mq_del_queue_tag_set(q)
  for (const hctx of q.queue_hw_ctx) blk_mq_exit_hctx(hctx)
  leave(blk.k, t)
}

/** The end of a queue: it is frozen for good. Its memory goes with blk_put_queue. */
export function* blk_cleanup_queue(q: request_queue): Sleep<void> {
  const { blk } = q
  const t = enter(blk.k, 'blk_cleanup_queue')
  blk_set_queue_dying(q)
  const f = enter(blk.k, 'blk_freeze_queue')
  blk_freeze_queue_start(q)
  yield* blk_mq_freeze_queue_wait(q)
  leave(blk.k, f)
  if (q.init_done) yield* blk_mq_quiesce_queue(q)
  if (q.bdi !== null) del_timer_sync(q.bdi.laptop_mode_wb_timer)
  yield* blk_sync_queue(q)
  blk_mq_exit_sched(q)
  if (q.bdi !== null) trace_call(blk.k, 'bdi_put')
  yield* blk_mq_free_queue(q)
  blk.queues.delete(q.at)
  leave(blk.k, t)
}

/** Blocks that were made here go, but for the queue's own. @returns whether that one was made here too */
function free_blocks(q: request_queue): boolean {
  const { mem, view } = q.blk
  const set = q.tag_set as blk_mq_tag_set
  for (const rq of q.flush_rqs.splice(0)) mem.kfree(rq)
  if (set.at !== undefined || set.memory?.queue_free(q.at) === true) return false
  for (const field of [L.Q_MAP, L.Q_CTXS, L.Q_HCTXS]) mem.kfree(view.u32(q.at + field))
  return true
}

/** Nobody can look at the queue any more. */
function blk_free_queue_rcu({ blk, at }: request_queue, own: boolean): void {
  const t = enter(blk.k, 'blk_free_queue_rcu')
  if (own) blk.mem.kfree(at)
  leave(blk.k, t)
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
  const own = free_blocks(q)
  call_rcu(k, () => blk_free_queue_rcu(q, own))
  leave(k, t)
}

/** The last reference is gone: a work ends what is left of the queue. */
export function blk_release_queue(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_release_queue')
  const release = new work_struct<request_queue>(k, q)
  INIT_WORK(release, __blk_release_queue)
  schedule_work(k, release)
  leave(k, t)
}

/** A disk's reference, the last one. */
export function blk_put_queue(q: request_queue): void {
  const { k } = q.blk
  const t = enter(k, 'blk_put_queue')
  blk_release_queue(q)
  leave(k, t)
}
