// The deadline scheduler: block/mq-deadline.c of Linux 4.19.
//
// Requests stand in two orders for each direction: by sector (sort_list), and by arrival (fifo_list, with the jiffy by
// which they should have gone). One dispatch takes, in this order:
//
//   1  what was inserted at the head, or is passthrough (dispatch)
//   2  the next request of the batch, in order of sectors, while there are fewer than fifo_batch
//   3  a new batch: reads, unless writes have been passed over writes_starved times; else writes. It begins with the
//      oldest request of that direction if that has expired, or if the direction has no next one; else with the next one
//
// The state is one for all hardware queues, on the home thread of the queue.
//
//   tunable          default   sysfs
//   read_expire      HZ / 2    ms
//   write_expire     5 HZ      ms
//   writes_starved   2
//   front_merges     1
//   fifo_batch       16        requests
//
// Left out: the write locks of zones (a zoned null_blk says itself what it cannot take).

import { BIO_OPF, RQ_FLAGS } from '../../assembly/layout.js'
import { REQ_OP_WRITE, RQF_STARTED } from '../../assembly/nvme.js'
import { EINVAL } from '../kernel/errno.js'
import { jiffies_to_msecs, msecs_to_jiffies, time_after_eq, time_before } from '../kernel/time.js'
import { enter, leave } from '../kernel/trace.js'
import { rq_list_show } from './blk-mq-debugfs.js'
import { blk_rq_is_passthrough, rq_data_dir, rq_mergeable } from './blk-merge.js'
import {
  type blk_mq_hw_ctx,
  type debugfs_attr,
  ELEVATOR_FRONT_MERGE,
  ELEVATOR_NO_MERGE,
  type elevator_queue,
  type elevator_type,
  type elv_fs_entry,
  type request_queue,
  type rq_list,
} from './blkdev.js'
import {
  blk_mq_sched_request_inserted,
  blk_mq_sched_try_insert_merge,
  blk_mq_sched_try_merge,
  elv_front_place,
  elv_rb_add,
  elv_rb_del,
  elv_rb_neighbour,
  elv_rqhash_add,
  elv_rqhash_del,
  last_merge,
  type merge_place,
  rb_root,
  set_last_merge,
} from './elevator.js'

const READ = 0
const WRITE = 1
type Direction = 0 | 1

/** struct deadline_data. */
export class deadline_data {
  readonly q: request_queue
  readonly sort_list: readonly [rb_root, rb_root] = [new rb_root(), new rb_root()]
  /** Requests in order of arrival, with the jiffy at which each expires (fifo_time). */
  readonly fifo_list: [Map<number, number>, Map<number, number>] = [new Map(), new Map()]
  readonly next_rq: [number, number] = [0, 0]
  /** Requests dispatched in this batch. */
  batching = 0
  /** Batches of reads while a write waited. */
  starved = 0
  readonly fifo_expire: [number, number]
  fifo_batch = 16
  writes_starved = 2
  front_merges = 1
  readonly dispatch: rq_list = []

  constructor(q: request_queue) {
    this.q = q
    this.fifo_expire = [Math.floor(q.blk.k.hz / 2), 5 * q.blk.k.hz]
  }
}

function deadline(q: request_queue): deadline_data {
  return q.elevator!.elevator_data as deadline_data
}

function rq_dir(dd: deadline_data, rq: number): Direction {
  return rq_data_dir(dd.q.blk.view, rq)
}

/** First request of a direction in order of arrival, 0 if there is none. */
function oldest(dd: deadline_data, dir: Direction): number {
  for (const rq of dd.fifo_list[dir].keys()) return rq
  return 0
}

// ---------------------------------------------------------------- lists

function deadline_add_rq_rb(dd: deadline_data, rq: number): void {
  elv_rb_add(dd.q, dd.sort_list[rq_dir(dd, rq)], rq)
}

function deadline_latter_request(dd: deadline_data, rq: number): number {
  return elv_rb_neighbour(dd.q, dd.sort_list[rq_dir(dd, rq)], rq, 1)
}

function deadline_del_rq_rb(dd: deadline_data, rq: number): void {
  const dir = rq_dir(dd, rq)
  if (dd.next_rq[dir] === rq) dd.next_rq[dir] = deadline_latter_request(dd, rq)
  elv_rb_del(dd.q, dd.sort_list[dir], rq)
}

/** Takes a request out of everything. */
function deadline_remove_request(dd: deadline_data, rq: number): void {
  const { q } = dd
  const t = enter(q.blk.k, 'deadline_remove_request')
  // what stands on the dispatch list is in no tree
  if (dd.fifo_list[rq_dir(dd, rq)].delete(rq)) deadline_del_rq_rb(dd, rq)
  elv_rqhash_del(q, rq)
  if (last_merge(q) === rq) set_last_merge(q, 0)
  leave(q.blk.k, t)
}

// ---------------------------------------------------------------- merging

function dd_request_merge(q: request_queue, bio: number): merge_place {
  const { k, view } = q.blk
  const t = enter(k, 'dd_request_merge')
  const dd = deadline(q)
  if (dd.front_merges === 0) return leave(k, t, { how: ELEVATOR_NO_MERGE, rq: 0 })
  const dir = view.u32(bio + BIO_OPF) & REQ_OP_WRITE ? WRITE : READ
  return leave(k, t, elv_front_place(q, dd.sort_list[dir], bio))
}

/** A request begins earlier than before: it moves in the tree. */
function dd_request_merged(q: request_queue, rq: number, how: number): void {
  const { k } = q.blk
  const t = enter(k, 'dd_request_merged')
  if (how === ELEVATOR_FRONT_MERGE) {
    const dd = deadline(q)
    const { requests } = dd.sort_list[rq_dir(dd, rq)]
    const at = requests.indexOf(rq)
    if (at >= 0) requests.splice(at, 1)
    deadline_add_rq_rb(dd, rq)
  }
  leave(k, t)
}

/** `next` joined `rq`, which inherits the earlier of the two deadlines, and the place that goes with it. */
function dd_merged_requests(q: request_queue, rq: number, next: number): void {
  const { k } = q.blk
  const t = enter(k, 'dd_merged_requests')
  const dd = deadline(q)
  const dir = rq_dir(dd, rq)
  const [own, other] = [dd.fifo_list[dir].get(rq), dd.fifo_list[dir].get(next)]
  if (own !== undefined && other !== undefined && time_before(other, own)) {
    const moved = [...dd.fifo_list[dir]]
      .filter(([one]) => one !== rq)
      .map(([one, time]): [number, number] => [one === next ? rq : one, time])
    // `next` leaves the tree here, its place in the fifo is taken
    dd.fifo_list[dir] = new Map(moved)
    deadline_del_rq_rb(dd, next)
  }
  deadline_remove_request(dd, next)
  leave(k, t)
}

function dd_bio_merge(hctx: blk_mq_hw_ctx, bio: number): boolean {
  const { k } = hctx.q.blk
  const t = enter(k, 'dd_bio_merge')
  return leave(k, t, blk_mq_sched_try_merge(hctx.q, bio))
}

// ---------------------------------------------------------------- insertion

function dd_insert_request(dd: deadline_data, rq: number, at_head: boolean): void {
  const { q } = dd
  const { k, view } = q.blk
  if (blk_mq_sched_try_insert_merge(q, rq)) return
  blk_mq_sched_request_inserted(q, rq)
  if (at_head) dd.dispatch.unshift(rq)
  else if (blk_rq_is_passthrough(view, rq)) dd.dispatch.push(rq)
  else {
    const dir = rq_dir(dd, rq)
    deadline_add_rq_rb(dd, rq)
    if (rq_mergeable(view, rq)) {
      elv_rqhash_add(q, rq)
      if (!last_merge(q)) set_last_merge(q, rq)
    }
    dd.fifo_list[dir].set(rq, k.jiffies + dd.fifo_expire[dir])
  }
}

function dd_insert_requests(hctx: blk_mq_hw_ctx, list: rq_list, at_head: boolean): void {
  const { q } = hctx
  const t = enter(q.blk.k, 'dd_insert_requests')
  const dd = deadline(q)
  for (const rq of list) dd_insert_request(dd, rq, at_head)
  leave(q.blk.k, t)
}

// ---------------------------------------------------------------- dispatch

function deadline_next_request(dd: deadline_data, dir: Direction): number {
  const { k } = dd.q.blk
  const t = enter(k, 'deadline_next_request')
  return leave(k, t, dd.next_rq[dir])
}

function deadline_fifo_request(dd: deadline_data, dir: Direction): number {
  const { k } = dd.q.blk
  const t = enter(k, 'deadline_fifo_request')
  return leave(k, t, oldest(dd, dir))
}

/** Whether the oldest request of a direction has expired. There is one. */
function deadline_check_fifo(dd: deadline_data, dir: Direction): boolean {
  return time_after_eq(dd.q.blk.k.jiffies, dd.fifo_list[dir].get(oldest(dd, dir))!)
}

/** The direction of the next batch; null when nothing waits. */
function choose_direction(dd: deadline_data): Direction | null {
  const writes = dd.fifo_list[WRITE].size > 0
  if (dd.fifo_list[READ].size > 0) {
    const waiting = deadline_fifo_request(dd, WRITE)
    if (!waiting || dd.starved++ < dd.writes_starved) return READ
  } else if (!writes) return null
  dd.starved = 0
  return WRITE
}

/** The request that goes next, 0 if there is none, out of every list but the dispatch list. */
function choose_request(dd: deadline_data): number {
  // the compiler leaves no function of the second look
  const next = deadline_next_request(dd, WRITE) || dd.next_rq[READ]
  if (next && dd.batching < dd.fifo_batch) return next
  const dir = choose_direction(dd)
  if (dir === null) return 0
  const following = deadline_next_request(dd, dir)
  const rq = deadline_check_fifo(dd, dir) || !following ? deadline_fifo_request(dd, dir) : following
  dd.batching = 0
  return rq
}

/** The next of the batch is the one behind this in order of sectors. */
function deadline_move_request(dd: deadline_data, rq: number): void {
  dd.next_rq[READ] = 0
  dd.next_rq[WRITE] = 0
  dd.next_rq[rq_dir(dd, rq)] = deadline_latter_request(dd, rq)
  deadline_remove_request(dd, rq)
}

function __dd_dispatch_request(dd: deadline_data): number {
  let rq = dd.dispatch.shift() ?? 0
  if (!rq) {
    rq = choose_request(dd)
    if (!rq) return 0
    dd.batching++
    deadline_move_request(dd, rq)
  }
  const { view } = dd.q.blk
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_STARTED)
  return rq
}

function dd_dispatch_request(hctx: blk_mq_hw_ctx): number {
  const { k } = hctx.q.blk
  const t = enter(k, 'dd_dispatch_request')
  return leave(k, t, __dd_dispatch_request(deadline(hctx.q)))
}

function dd_has_work(hctx: blk_mq_hw_ctx): boolean {
  const { k } = hctx.q.blk
  const t = enter(k, 'dd_has_work')
  const { dispatch, fifo_list } = deadline(hctx.q)
  return leave(k, t, dispatch.length + fifo_list[READ].size + fifo_list[WRITE].size > 0)
}

/** Nothing: the zones' locks would be taken and left here. */
function dd_prepare_request(q: request_queue): void {
  leave(q.blk.k, enter(q.blk.k, 'dd_prepare_request'))
}

function dd_finish_request(q: request_queue): void {
  leave(q.blk.k, enter(q.blk.k, 'dd_finish_request'))
}

function elv_rb_former_request(q: request_queue, rq: number): number {
  const t = enter(q.blk.k, 'elv_rb_former_request')
  const dd = deadline(q)
  return leave(q.blk.k, t, elv_rb_neighbour(q, dd.sort_list[rq_dir(dd, rq)], rq, -1))
}

function elv_rb_latter_request(q: request_queue, rq: number): number {
  const t = enter(q.blk.k, 'elv_rb_latter_request')
  return leave(q.blk.k, t, deadline_latter_request(deadline(q), rq))
}

// ---------------------------------------------------------------- life

function dd_init_queue(q: request_queue, e: elevator_queue): number {
  const t = enter(q.blk.k, 'dd_init_queue')
  e.elevator_data = new deadline_data(q)
  return leave(q.blk.k, t, 0)
}

function dd_exit_queue(e: elevator_queue): void {
  const t = enter(e.q.blk.k, 'dd_exit_queue')
  e.elevator_data = null
  leave(e.q.blk.k, t)
}

const INT_MAX = 2 ** 31 - 1

/** A tunable between two bounds: what lies outside is put on the bound. */
function tunable(
  name: string,
  low: number,
  high: number,
  get: (dd: deadline_data) => number,
  set: (dd: deadline_data, value: number) => void,
): elv_fs_entry {
  return {
    name,
    show: e => `${get(e.elevator_data as deadline_data)}\n`,
    store: (e, text) => {
      const digits = text.trim()
      if (!/^-?\d+$/.test(digits)) return -EINVAL
      set(e.elevator_data as deadline_data, Math.min(Math.max(Number(digits), low), high))
      return 0
    },
  }
}

function expire(name: string, dir: Direction): elv_fs_entry {
  return tunable(
    name,
    0,
    INT_MAX,
    dd => jiffies_to_msecs(dd.q.blk.k, dd.fifo_expire[dir]),
    (dd, ms) => {
      dd.fifo_expire[dir] = msecs_to_jiffies(dd.q.blk.k, ms)
    },
  )
}

function plain(
  name: 'writes_starved' | 'front_merges' | 'fifo_batch',
  low: number,
  high: number,
): elv_fs_entry {
  return tunable(
    name,
    low,
    high,
    dd => dd[name],
    (dd, value) => {
      dd[name] = value
    },
  )
}

function seen(name: string, show: (dd: deadline_data) => string): debugfs_attr<request_queue> {
  return { name, show: q => show(deadline(q)) }
}

function listed(
  name: string,
  list: (dd: deadline_data) => Iterable<number>,
): debugfs_attr<request_queue> {
  return seen(name, dd => rq_list_show(dd.q.blk.view, list(dd)))
}

const SEEN: readonly debugfs_attr<request_queue>[] = [
  listed('read_fifo_list', dd => dd.fifo_list[READ].keys()),
  listed('read_next_rq', dd => dd.next_rq.slice(READ, READ + 1).filter(rq => rq !== 0)),
  listed('write_fifo_list', dd => dd.fifo_list[WRITE].keys()),
  listed('write_next_rq', dd => dd.next_rq.slice(WRITE, WRITE + 1).filter(rq => rq !== 0)),
  seen('batching', dd => `${dd.batching}\n`),
  seen('starved', dd => `${dd.starved}\n`),
  listed('dispatch', dd => dd.dispatch),
]

/** The scheduler as it is attached. */
export const mq_deadline: elevator_type = {
  elevator_name: 'mq-deadline',
  ops: {
    init_sched: dd_init_queue,
    exit_sched: dd_exit_queue,
    bio_merge: dd_bio_merge,
    request_merge: dd_request_merge,
    request_merged: dd_request_merged,
    requests_merged: dd_merged_requests,
    prepare_request: dd_prepare_request,
    finish_request: dd_finish_request,
    insert_requests: dd_insert_requests,
    dispatch_request: dd_dispatch_request,
    has_work: dd_has_work,
    former_request: elv_rb_former_request,
    next_request: elv_rb_latter_request,
  },
  elevator_attrs: [
    expire('read_expire', READ),
    expire('write_expire', WRITE),
    plain('writes_starved', -(2 ** 31), INT_MAX),
    plain('front_merges', 0, 1),
    plain('fifo_batch', 0, INT_MAX),
  ],
  queue_debugfs_attrs: SEEN,
  hctx_debugfs_attrs: [],
}
