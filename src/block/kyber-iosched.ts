// The kyber scheduler: block/kyber-iosched.c of Linux 4.19 (rewritten in later kernels).
//
// Requests of three domains have so many tokens each, device-wide; a request is dispatched with one and gives it back
// when it is over. Reads and synchronous writes have a latency to meet; if one of them misses it, the other domains get
// fewer tokens.
//
//   domain       tokens   batch   target
//   READ         256      16      2 ms
//   SYNC_WRITE   128      8       10 ms
//   OTHER        64       8       -         asynchronous writes, discards
//
// Requests wait in lists of their CPU (kyber_ctx_queue) and move to the hardware queue's only when there is a token. One
// domain is served until its batch is over, or it has no request or token; then the next one that has both.
//
// The window: a completion later than its target begins one of 10 ms; at its end the depths change by what was measured
// (kyber_stat_timer_fn), and another one of 100 ms follows while a target is missed or OTHER is held back.
//
// Tunables: read_lat_nsec, write_lat_nsec. Of the bitmaps that hold the tokens only the numbers are modelled.

import {
  BIO_OPF,
  CTX_INDEX_HW,
  HC_SCHED_TAGS,
  Q_FLAGS,
  RQ_CMD_FLAGS,
  RQ_CTX,
  SBQ_SHIFT,
  TAGS_BITMAP,
} from '../../assembly/layout.js'
import {
  QUEUE_FLAG_STATS,
  REQ_FUA,
  REQ_OP_MASK,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { EINVAL } from '../kernel/errno.js'
import { msecs_to_jiffies } from '../kernel/time.js'
import { del_timer_sync, mod_timer, timer_pending, timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave } from '../kernel/trace.js'
import { mod_delayed_work_on } from '../kernel/workqueue-cancel.js'
import { WORK_CPU_UNBOUND } from '../kernel/workqueue-structs.js'
import { rq_list_show } from './blk-mq-debugfs.js'
import type {
  blk_mq_hw_ctx,
  debugfs_attr,
  elevator_queue,
  elevator_type,
  elv_fs_entry,
  request_queue,
  rq_list,
} from './blkdev.js'
import { blk_mq_sched_request_inserted } from './elevator.js'

export const KYBER_READ = 0
export const KYBER_SYNC_WRITE = 1
export const KYBER_OTHER = 2
const DOMAINS: readonly number[] = [KYBER_READ, KYBER_SYNC_WRITE, KYBER_OTHER]

const kyber_depth: readonly number[] = [256, 128, 64]
const kyber_batch_size: readonly number[] = [16, 8, 8]

/** Share of a word of scheduler tags that asynchronous requests may use, percent. */
const KYBER_ASYNC_PERCENT = 75

/** Requests of a software queue that a bio is compared with, the newest first. */
const MERGE_LOOK_BACK = 8

const SHORT_WINDOW_MS = 10
const LONG_WINDOW_MS = 100

/** How a domain does, by its mean latency against its target. Good ones are positive. */
export const NONE = 0
export const GOOD = 1
export const GREAT = 2
export const BAD = -1
export const AWFUL = -2

function domainOf(opf: number): number {
  const op = opf & REQ_OP_MASK
  if (op === REQ_OP_READ) return KYBER_READ
  const sync = opf & (REQ_SYNC | REQ_FUA | REQ_PREFLUSH)
  return op === REQ_OP_WRITE && sync ? KYBER_SYNC_WRITE : KYBER_OTHER
}

/** The tokens of one domain. */
class domain_tokens {
  depth: number
  #taken = 0
  /** Hardware queues that found none and want to be run when there is one. */
  readonly waiting: Set<blk_mq_hw_ctx> = new Set()

  constructor(depth: number) {
    this.depth = depth
  }

  get(): boolean {
    if (this.#taken >= this.depth) return false
    this.#taken++
    return true
  }

  put(): void {
    this.#taken--
  }

  get taken(): number {
    return this.#taken
  }
}

/** Latencies of a window. */
interface samples {
  count: number
  sum: number
}

/** struct kyber_queue_data. */
export class kyber_queue_data {
  readonly q: request_queue
  readonly domain_tokens: readonly domain_tokens[] = kyber_depth.map(n => new domain_tokens(n))
  readonly timer: timer_list<kyber_queue_data>
  readonly stat: samples[] = DOMAINS.map(() => ({ count: 0, sum: 0 }))
  /** Domain whose token a request holds. */
  readonly tokens: Map<number, number> = new Map()
  /** When requests were dispatched, ns. */
  readonly issued: Map<number, number> = new Map()
  read_lat_nsec = 2_000_000
  write_lat_nsec = 10_000_000

  constructor(q: request_queue) {
    this.q = q
    this.timer = new timer_list<kyber_queue_data>(q.blk.k, this)
    timer_setup(this.timer, kyber_stat_timer_fn)
  }
}

/** struct kyber_hctx_data. */
class kyber_hctx_data {
  /** By domain. */
  readonly rqs: readonly rq_list[] = DOMAINS.map(() => [])
  /** By domain, then software queue. */
  readonly kcqs: readonly rq_list[][]
  cur_domain = 0
  batching = 0

  constructor(nr_ctx: number) {
    this.kcqs = DOMAINS.map(() => Array.from({ length: nr_ctx }, () => []))
  }
}

function kyber(q: request_queue): kyber_queue_data {
  return q.elevator!.elevator_data as kyber_queue_data
}

function khd(hctx: blk_mq_hw_ctx): kyber_hctx_data {
  return hctx.sched_data as kyber_hctx_data
}

function rq_sched_domain(q: request_queue, rq: number): number {
  return domainOf(q.blk.view.u32(rq + RQ_CMD_FLAGS))
}

// ---------------------------------------------------------------- depths

/** How a domain did in the window. */
export function kyber_lat_status(mean: number | null, target: number): number {
  if (mean === null) return NONE
  if (mean >= 2 * target) return AWFUL
  if (mean > target) return BAD
  return mean <= target / 2 ? GREAT : GOOD
}

/** Depth of READ or SYNC_WRITE after a window, by how it did and how the other of the two did. */
export function kyber_adjust_rw_depth(depth: number, own: number, other: number): number {
  if (own === NONE || own * other > 0) return depth
  if (other === NONE) return depth + 1
  if (own === GOOD) return depth - Math.max(Math.floor(depth / (other === AWFUL ? 4 : 8)), 1)
  if (own === GREAT)
    return other === AWFUL ? Math.floor(depth / 2) : depth - Math.max(Math.floor(depth / 4), 1)
  return own === AWFUL && other === GREAT ? depth + 2 : depth + 1
}

/** Depth of OTHER: as long as one of the two does well, it is not held back. */
export function kyber_adjust_other_depth(
  depth: number,
  read: number,
  write: number,
  have_samples: boolean,
): number {
  if (read === NONE && write === NONE) return depth + 2
  if (!have_samples) return depth
  const status = read === NONE ? write : write === NONE ? read : Math.max(read, write)
  if (status === GREAT) return depth + 2
  if (status === GOOD) return depth + 1
  return status === BAD ? depth - Math.max(Math.floor(depth / 4), 1) : Math.floor(depth / 2)
}

function resize(kqd: kyber_queue_data, domain: number, depth: number): void {
  kqd.domain_tokens[domain]!.depth = Math.min(Math.max(depth, 1), kyber_depth[domain]!)
  wake(kqd, domain)
}

function mean({ count, sum }: samples): number | null {
  return count === 0 ? null : Math.floor(sum / count)
}

/** blk_stat_activate_msecs: a window begins. */
function begin_window(kqd: kyber_queue_data, ms: number): void {
  const { k } = kqd.q.blk
  for (const one of kqd.stat) Object.assign(one, { count: 0, sum: 0 })
  mod_timer(kqd.timer, k.jiffies + msecs_to_jiffies(k, ms))
}

/** A window is over. */
function kyber_stat_timer_fn(timer: timer_list<kyber_queue_data>): void {
  const kqd = timer.container
  const { k } = kqd.q.blk
  const t = enter(k, 'kyber_stat_timer_fn')
  const [reads, writes, others] = kqd.stat as [samples, samples, samples]
  const read = kyber_lat_status(mean(reads), kqd.read_lat_nsec)
  const write = kyber_lat_status(mean(writes), kqd.write_lat_nsec)
  const depth = (domain: number): number => kqd.domain_tokens[domain]!.depth
  resize(kqd, KYBER_READ, kyber_adjust_rw_depth(depth(KYBER_READ), read, write))
  resize(kqd, KYBER_SYNC_WRITE, kyber_adjust_rw_depth(depth(KYBER_SYNC_WRITE), write, read))
  const other = kyber_adjust_other_depth(depth(KYBER_OTHER), read, write, others.count > 0)
  resize(kqd, KYBER_OTHER, other)
  const held_back = depth(KYBER_OTHER) < kyber_depth[KYBER_OTHER]!
  if (read < 0 || write < 0 || held_back) begin_window(kqd, LONG_WINDOW_MS)
  leave(k, t)
}

// ---------------------------------------------------------------- tokens

/** kyber_domain_wake: queues that wait for a token of this domain are run. */
function wake(kqd: kyber_queue_data, domain: number): void {
  const tokens = kqd.domain_tokens[domain]!
  if (tokens.waiting.size === 0 || tokens.taken >= tokens.depth) return
  const { kblockd } = kqd.q.blk
  for (const hctx of [...tokens.waiting])
    mod_delayed_work_on(WORK_CPU_UNBOUND, kblockd, hctx.run_work, 0)
  tokens.waiting.clear()
}

/** A token of the current domain; false: there is none, and the queue will be run when there is. */
function kyber_get_domain_token(kqd: kyber_queue_data, hctx: blk_mq_hw_ctx): boolean {
  const { k } = kqd.q.blk
  const t = enter(k, 'kyber_get_domain_token')
  const tokens = kqd.domain_tokens[khd(hctx).cur_domain]!
  const got = tokens.get()
  if (got) tokens.waiting.delete(hctx)
  else tokens.waiting.add(hctx)
  return leave(k, t, got)
}

function rq_clear_domain_token(kqd: kyber_queue_data, rq: number): void {
  const domain = kqd.tokens.get(rq)
  kqd.issued.delete(rq)
  if (domain === undefined) return
  kqd.tokens.delete(rq)
  kqd.domain_tokens[domain]!.put()
  wake(kqd, domain)
}

// ---------------------------------------------------------------- a request's way

/** Bits of a word of scheduler tags that asynchronous requests may use. */
function kyber_async_depth(q: request_queue): number {
  const { view } = q.blk
  const tags = view.u32(q.queue_hw_ctx[0]!.at + HC_SCHED_TAGS)
  const bits = 2 ** view.u32(tags + TAGS_BITMAP + SBQ_SHIFT)
  return Math.floor((bits * KYBER_ASYNC_PERCENT) / 100)
}

function kyber_limit_depth(q: request_queue, opf: number): number {
  const { k } = q.blk
  const t = enter(k, 'kyber_limit_depth')
  const sync = (opf & REQ_OP_MASK) === REQ_OP_READ || opf & (REQ_SYNC | REQ_FUA | REQ_PREFLUSH)
  return leave(k, t, sync ? 0 : kyber_async_depth(q))
}

function kyber_bio_merge(hctx: blk_mq_hw_ctx, bio: number): boolean {
  const { blk, at } = hctx.q
  const t = enter(blk.k, 'kyber_bio_merge')
  const lists = khd(hctx).kcqs[domainOf(blk.view.u32(bio + BIO_OPF))]!
  const own = hctx.cpumask.indexOf(blk.k.cpu.id)
  const newest = (lists[own] ?? []).slice(-MERGE_LOOK_BACK).reverse()
  const m = enter(blk.k, 'blk_mq_bio_list_merge')
  const joined = newest.some(rq => blk.core.blk_try_merge(at, rq, bio) !== 0)
  leave(blk.k, m)
  return leave(blk.k, t, joined)
}

function kyber_prepare_request(q: request_queue, rq: number): void {
  const t = enter(q.blk.k, 'kyber_prepare_request')
  kyber(q).tokens.delete(rq)
  leave(q.blk.k, t)
}

function kyber_insert_requests(hctx: blk_mq_hw_ctx, list: rq_list, at_head: boolean): void {
  const { q } = hctx
  const { k, view } = q.blk
  const t = enter(k, 'kyber_insert_requests')
  for (const rq of list) {
    const ctx = view.u32(view.u32(rq + RQ_CTX) + CTX_INDEX_HW)
    const queue = khd(hctx).kcqs[rq_sched_domain(q, rq)]![ctx]!
    if (at_head) queue.unshift(rq)
    else queue.push(rq)
    blk_mq_sched_request_inserted(q, rq)
  }
  leave(k, t)
}

function kyber_finish_request(q: request_queue, rq: number): void {
  const t = enter(q.blk.k, 'kyber_finish_request')
  rq_clear_domain_token(kyber(q), rq)
  leave(q.blk.k, t)
}

/** Measures; a target missed begins a window. */
function kyber_completed_request(q: request_queue, rq: number): void {
  const { k } = q.blk
  const t = enter(k, 'kyber_completed_request')
  const kqd = kyber(q)
  const issued = kqd.issued.get(rq)
  const domain = rq_sched_domain(q, rq)
  if (issued !== undefined) {
    const latency = k.now() - issued
    const target = domain === KYBER_READ ? kqd.read_lat_nsec : kqd.write_lat_nsec
    if (timer_pending(kqd.timer)) {
      kqd.stat[domain]!.count++
      kqd.stat[domain]!.sum += latency
    } else if (domain !== KYBER_OTHER && latency > target) begin_window(kqd, SHORT_WINDOW_MS)
  }
  leave(k, t)
}

// ---------------------------------------------------------------- dispatch

function anything(lists: readonly rq_list[]): boolean {
  return lists.some(list => list.length > 0)
}

/** kyber_flush_busy_kcqs: what waits on the CPUs' lists of a domain moves to the hardware queue's. */
function kyber_flush_busy_kcqs(data: kyber_hctx_data, domain: number): void {
  for (const list of data.kcqs[domain]!) data.rqs[domain]!.push(...list.splice(0))
}

function kyber_dispatch_cur_domain(kqd: kyber_queue_data, hctx: blk_mq_hw_ctx): number {
  const { k } = kqd.q.blk
  const t = enter(k, 'kyber_dispatch_cur_domain')
  const data = khd(hctx)
  const domain = data.cur_domain
  const rqs = data.rqs[domain]!
  const waits = rqs.length > 0 || anything(data.kcqs[domain]!)
  if (!waits || !kyber_get_domain_token(kqd, hctx)) return leave(k, t, 0)
  if (rqs.length === 0) kyber_flush_busy_kcqs(data, domain)
  const rq = rqs.shift()!
  data.batching++
  kqd.tokens.set(rq, domain)
  kqd.issued.set(rq, k.now())
  return leave(k, t, rq)
}

function kyber_dispatch_request(hctx: blk_mq_hw_ctx): number {
  const { k } = hctx.q.blk
  const t = enter(k, 'kyber_dispatch_request')
  const kqd = kyber(hctx.q)
  const data = khd(hctx)
  if (data.batching < kyber_batch_size[data.cur_domain]!) {
    const rq = kyber_dispatch_cur_domain(kqd, hctx)
    if (rq) return leave(k, t, rq)
  }
  // another batch, in the end of the same domain again if no other has anything to do
  data.batching = 0
  for (let i = 0; i < DOMAINS.length; i++) {
    data.cur_domain = (data.cur_domain + 1) % DOMAINS.length
    const rq = kyber_dispatch_cur_domain(kqd, hctx)
    if (rq) return leave(k, t, rq)
  }
  return leave(k, t, 0)
}

function kyber_has_work(hctx: blk_mq_hw_ctx): boolean {
  const { k } = hctx.q.blk
  const t = enter(k, 'kyber_has_work')
  const data = khd(hctx)
  return leave(k, t, anything(data.rqs) || data.kcqs.some(anything))
}

// ---------------------------------------------------------------- life

/** blk_stat_add_callback: each request is stamped when it is issued, and the queue says so. */
function keeps_stats({ at, blk: { view } }: request_queue, on: boolean): void {
  const flags = view.load(at + Q_FLAGS)
  const flag = 1 << QUEUE_FLAG_STATS
  view.store(at + Q_FLAGS, on ? flags | flag : flags & ~flag)
}

function kyber_init_sched(q: request_queue, e: elevator_queue): number {
  const t = enter(q.blk.k, 'kyber_init_sched')
  e.elevator_data = new kyber_queue_data(q)
  keeps_stats(q, true)
  return leave(q.blk.k, t, 0)
}

function kyber_exit_sched(e: elevator_queue): void {
  const t = enter(e.q.blk.k, 'kyber_exit_sched')
  del_timer_sync((e.elevator_data as kyber_queue_data).timer)
  keeps_stats(e.q, false)
  e.elevator_data = null
  leave(e.q.blk.k, t)
}

/** How many tags asynchronous requests leave to be waited for: who waits must not wait for more frees than there can be. */
function kyber_depth_updated({ q, at }: blk_mq_hw_ctx): void {
  const { core, view } = q.blk
  const map = view.u32(at + HC_SCHED_TAGS) + TAGS_BITMAP
  core.sbitmap_queue_min_shallow_depth(map, kyber_async_depth(q))
}

function kyber_init_hctx(hctx: blk_mq_hw_ctx): number {
  const t = enter(hctx.q.blk.k, 'kyber_init_hctx')
  hctx.sched_data = new kyber_hctx_data(hctx.cpumask.length)
  kyber_depth_updated(hctx)
  return leave(hctx.q.blk.k, t, 0)
}

function kyber_exit_hctx(hctx: blk_mq_hw_ctx): void {
  const t = enter(hctx.q.blk.k, 'kyber_exit_hctx')
  hctx.sched_data = null
  leave(hctx.q.blk.k, t)
}

function latency(name: 'read_lat_nsec' | 'write_lat_nsec'): elv_fs_entry {
  return {
    name,
    show: e => `${(e.elevator_data as kyber_queue_data)[name]}\n`,
    store: (e, text) => {
      if (!/^\d+$/.test(text.trim())) return -EINVAL
      ;(e.elevator_data as kyber_queue_data)[name] = Number(text)
      return 0
    },
  }
}

const NAMES: readonly string[] = ['read', 'sync_write', 'other']

/** Of a bitmap of tokens only the numbers: see above. */
function tokens_attr(domain: number): debugfs_attr<request_queue> {
  return {
    name: `${NAMES[domain]}_tokens`,
    show: q => {
      const { depth, taken } = kyber(q).domain_tokens[domain]!
      return `depth=${depth}\nbusy=${taken}\n`
    },
  }
}

function hctx_attrs(domain: number): debugfs_attr<blk_mq_hw_ctx>[] {
  const rqs = (hctx: blk_mq_hw_ctx): number[] => {
    const data = khd(hctx)
    return [...data.rqs[domain]!, ...data.kcqs[domain]!.flat()]
  }
  const waits = (hctx: blk_mq_hw_ctx): boolean =>
    kyber(hctx.q).domain_tokens[domain]!.waiting.has(hctx)
  return [
    { name: `${NAMES[domain]}_rqs`, show: hctx => rq_list_show(hctx.q.blk.view, rqs(hctx)) },
    { name: `${NAMES[domain]}_waiting`, show: hctx => `${Number(waits(hctx))}\n` },
  ]
}

/** The scheduler as it is attached. */
export const kyber_sched: elevator_type = {
  elevator_name: 'kyber',
  ops: {
    init_sched: kyber_init_sched,
    exit_sched: kyber_exit_sched,
    init_hctx: kyber_init_hctx,
    exit_hctx: kyber_exit_hctx,
    depth_updated: kyber_depth_updated,
    limit_depth: kyber_limit_depth,
    bio_merge: kyber_bio_merge,
    prepare_request: kyber_prepare_request,
    insert_requests: kyber_insert_requests,
    finish_request: kyber_finish_request,
    requeue_request: kyber_finish_request,
    completed_request: kyber_completed_request,
    dispatch_request: kyber_dispatch_request,
    has_work: kyber_has_work,
  },
  elevator_attrs: [latency('read_lat_nsec'), latency('write_lat_nsec')],
  queue_debugfs_attrs: [
    ...DOMAINS.map(tokens_attr),
    { name: 'async_depth', show: q => `${kyber_async_depth(q)}\n` },
  ],
  hctx_debugfs_attrs: [
    ...DOMAINS.flatMap(hctx_attrs),
    { name: 'cur_domain', show: hctx => `${NAMES[khd(hctx).cur_domain]!.toUpperCase()}\n` },
    { name: 'batching', show: hctx => `${khd(hctx).batching}\n` },
  ],
}
