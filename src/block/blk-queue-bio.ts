// How requests come to a single queue and leave it for the driver: block/blk-core.c and the single-queue half of
// block/elevator.c, Linux 4.19.
//
//   blk_queue_bio     merge, or get_request and insert; then the queue runs
//   blk_peek_request  the request that goes next, prepared by the driver; one that cannot be prepared now stays first
//   blk_fetch_request ... and started
//   blk_requeue_request   the driver gives it back: it goes first the next time
//
// Where a request is inserted:
//
//   SORT            to the scheduler
//   FRONT, REQUEUE  head of the dispatch queue
//   BACK            the scheduler is drained first; tail; the queue runs
//   FLUSH           a flush sequence begins
//
// Left out: the plug (a bio goes into the queue at once), congestion, tagged queueing, other schedulers than noop.

import {
  BIO_OPF,
  BIO_SECTOR,
  BIO_SIZE,
  CPU_INDEX,
  CPU_NOW,
  CTX_SIZE,
  HC_FQ_RQ,
  HC_QUEUED,
  HC_TAGS,
  M_BASE,
  M_COST_SUBMIT,
  MQ_RQ_IDLE,
  MQ_RQ_IN_FLIGHT,
  Q_CTXS,
  Q_HCTXS,
  Q_MAX_SECTORS,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_CMD_FLAGS,
  RQ_CPU,
  RQ_CTX,
  RQ_DATA_LEN,
  RQ_FLAGS,
  RQ_HCTX,
  RQ_INTERNAL_TAG,
  RQ_NR_SEGS,
  RQ_Q,
  RQ_SECTOR,
  RQ_SIZE,
  RQ_START_NS,
  RQ_STATE,
  RQ_TAG,
  RQ_TIMEOUT,
  SECTOR_SHIFT,
  TAGS_STATIC_RQS,
} from '../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  REQ_FUA,
  REQ_PREFLUSH,
  RQF_DONTPREP,
  RQF_IO_STAT,
  RQF_SORTED,
  RQF_STARTED,
} from '../../assembly/nvme.js'
import { timer_setup } from '../kernel/timer.js'
import { timer_list } from '../kernel/timer-wheel.js'
import { enter, leave, trace_event } from '../kernel/trace.js'
import { delayed_work, INIT_DELAYED_WORK, INIT_WORK, work_struct } from '../kernel/workqueue.js'
import { __blk_run_queue, blk_delay_work, blk_end_request_all, blk_run_queue } from './blk-core.js'
import { blk_alloc_flush_queue, blk_insert_flush } from './blk-flush-sq.js'
import { bio_mergeable, blk_rq_sectors } from './blk-merge.js'
import { blk_softirq_init } from './blk-softirq.js'
import {
  blk_add_timer,
  blk_delete_timer,
  blk_rq_timed_out_timer,
  blk_timeout_work,
} from './blk-timeout-sq.js'
import { noop_init_queue } from './noop-iosched.js'
import {
  BLKPREP_DEFER,
  BLKPREP_KILL,
  ELEVATOR_INSERT_BACK,
  ELEVATOR_INSERT_FLUSH,
  ELEVATOR_INSERT_FRONT,
  ELEVATOR_INSERT_REQUEUE,
  ELEVATOR_INSERT_SORT,
  type SqLayer,
  type sq_driver,
  type sq_queue,
  with_queue_lock,
} from './sq.js'
import { blk_fill_rwbs } from './trace-events.js'

const BLK_QC_T_NONE = -1
/** submit_bio's answer when no request is free: wait for one and try again. */
const SUBMIT_AGAIN = -2
/** ... and when there is no bio to split with. */
const SUBMIT_NO_BIO = -3

// ---------------------------------------------------------------- life

/** blk_init_queue_node: a queue over the blocks of a disk, whose tags are its request_list. */
export function blk_init_queue(
  blk: SqLayer,
  at: number,
  name: string,
  driver: sq_driver,
): sq_queue {
  const { k, view } = blk
  const t = enter(k, 'blk_init_queue')
  blk_softirq_init(k)
  const hctx = view.u32(at + Q_HCTXS)
  const q = { blk, at, hctx, name, driver } as { -readonly [K in keyof sq_queue]: sq_queue[K] }
  Object.assign(q, {
    elevator: noop_init_queue(k, view),
    queue_head: [],
    requests: new Map(),
    fq: blk_alloc_flush_queue(view.u32(hctx + HC_FQ_RQ)),
    delay_work: new delayed_work<sq_queue>(k, q),
    timeout: new timer_list<sq_queue>(k, q),
    timeout_work: new work_struct<sq_queue>(k, q),
    timeout_list: [],
    stopped: false,
    dead: false,
    request_fn_active: 0,
    lock_free: 0,
    lock_depth: 0,
    laptop_io_completion: null,
  })
  INIT_DELAYED_WORK(q.delay_work, blk_delay_work)
  INIT_WORK(q.timeout_work, blk_timeout_work)
  timer_setup(q.timeout, blk_rq_timed_out_timer)
  return leave(k, t, q)
}

// ---------------------------------------------------------------- insertion

/** Moves what the scheduler holds to the dispatch queue. */
function elv_drain_elevator(q: sq_queue): void {
  while (q.elevator.dispatch(rq => q.queue_head.push(rq))) {}
}

export function __elv_add_request(q: sq_queue, rq: number, where: number): void {
  const { k, view } = q.blk
  const t = enter(k, '__elv_add_request')
  if (k.trace.on)
    trace_event(k, 'block_rq_insert', {
      rwbs: blk_fill_rwbs(view.u32(rq + RQ_CMD_FLAGS)),
      sectors: blk_rq_sectors(view, rq),
      bytes: view.u32(rq + RQ_DATA_LEN),
    })
  if (where === ELEVATOR_INSERT_FLUSH) blk_insert_flush(q, rq)
  else if (where === ELEVATOR_INSERT_SORT) {
    view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_SORTED)
    q.elevator.add(rq)
  } else if (where === ELEVATOR_INSERT_FRONT || where === ELEVATOR_INSERT_REQUEUE)
    q.queue_head.unshift(rq)
  else if (where === ELEVATOR_INSERT_BACK) {
    elv_drain_elevator(q)
    q.queue_head.push(rq)
    __blk_run_queue(q)
  }
  leave(k, t)
}

/** A slot of the request_list, filled from a bio; 0: none is free. */
function get_request(q: sq_queue, cpu: number, bio: number): number {
  const { k, core, view } = q.blk
  const t = enter(k, 'get_request')
  const index = view.u32(cpu + CPU_INDEX)
  const tag = core.blk_mq_get_tag(q.hctx, index, 0)
  if (tag < 0) return leave(k, t, 0)
  const tags = view.u32(q.hctx + HC_TAGS)
  const rq = view.u32(tags + TAGS_STATIC_RQS) + tag * RQ_SIZE
  const fields: readonly (readonly [number, number])[] = [
    [RQ_TAG, tag],
    [RQ_INTERNAL_TAG, 0xffffffff],
    [RQ_CMD_FLAGS, view.u32(bio + BIO_OPF)],
    [RQ_FLAGS, RQF_IO_STAT],
    [RQ_DATA_LEN, view.u32(bio + BIO_SIZE)],
    [RQ_NR_SEGS, 1],
    [RQ_BIO, bio],
    [RQ_BIOTAIL, bio],
    [RQ_CTX, view.u32(q.at + Q_CTXS) + index * CTX_SIZE],
    [RQ_HCTX, q.hctx],
    [RQ_Q, q.at],
    [RQ_CPU, cpu],
    [RQ_TIMEOUT, 0],
    [RQ_STATE, MQ_RQ_IDLE],
  ]
  for (const [field, value] of fields) view.setU32(rq + field, value)
  view.setU64(rq + RQ_SECTOR, view.u64(bio + BIO_SECTOR))
  view.setU64(rq + RQ_START_NS, view.u64(cpu + CPU_NOW))
  view.setU64(q.hctx + HC_QUEUED, view.u64(q.hctx + HC_QUEUED) + 1)
  return leave(k, t, rq)
}

/** True when the bio joined a request that the scheduler holds. */
function attempt_merge(q: sq_queue, bio: number): boolean {
  const { core, view } = q.blk
  if (!bio_mergeable(view, bio)) return false
  const rq = q.elevator.merge(view.u64(bio + BIO_SECTOR))
  return rq !== 0 && core.blk_try_merge(q.at, rq, bio) !== 0
}

/** One bio within the limits of the queue. */
function queue_part(q: sq_queue, cpu: number, bio: number): number {
  const { view } = q.blk
  const flush = (view.u32(bio + BIO_OPF) & (REQ_FUA | REQ_PREFLUSH)) !== 0
  if (!flush && attempt_merge(q, bio)) return BLK_QC_T_NONE
  const rq = get_request(q, cpu, bio)
  if (!rq) return SUBMIT_AGAIN
  __elv_add_request(q, rq, flush ? ELEVATOR_INSERT_FLUSH : ELEVATOR_INSERT_SORT)
  return BLK_QC_T_NONE
}

/** Takes a bio under queue_lock. */
function make_request(q: sq_queue, cpu: number, bio: number): number {
  const { core, view } = q.blk
  const most = view.u32(q.at + Q_MAX_SECTORS) << SECTOR_SHIFT
  let cookie = BLK_QC_T_NONE
  while (view.u32(bio + BIO_SIZE) > most && cookie === BLK_QC_T_NONE) {
    const part = core.bio_split(cpu, bio, most)
    if (!part) cookie = SUBMIT_NO_BIO
    else {
      cookie = queue_part(q, cpu, part)
      if (cookie !== BLK_QC_T_NONE) core.bio_unsplit(cpu, bio, part)
    }
  }
  if (cookie === BLK_QC_T_NONE) cookie = queue_part(q, cpu, bio)
  blk_run_queue(q)
  return cookie
}

/** Takes a bio: BLK_QC_T_NONE, or SUBMIT_AGAIN when no request is free. What was split off went in already. */
export function blk_queue_bio(q: sq_queue, cpu: number, bio: number): number {
  const { k, view } = q.blk
  const t = enter(k, 'blk_queue_bio')
  const cost = view.u32(M_BASE + M_COST_SUBMIT)
  return leave(
    k,
    t,
    with_queue_lock(q, cpu, cost, () => make_request(q, cpu, bio)),
  )
}

// ---------------------------------------------------------------- to the driver

/** First request of the dispatch queue, filled from the scheduler when it is empty. */
function elv_next_request(q: sq_queue): number {
  const first = q.queue_head[0]
  if (first !== undefined) return first
  return q.elevator.dispatch(rq => q.queue_head.push(rq)) ? q.queue_head[0]! : 0
}

function blk_dequeue_request(q: sq_queue, rq: number): void {
  const at = q.queue_head.indexOf(rq)
  if (at >= 0) q.queue_head.splice(at, 1)
}

/** Marks a request as the driver's, and has it prepared: BLKPREP_*. */
function prepare(q: sq_queue, rq: number): number {
  const { k, view } = q.blk
  const flags = view.u32(rq + RQ_FLAGS)
  if (!(flags & RQF_STARTED)) {
    view.setU32(rq + RQ_FLAGS, flags | RQF_STARTED)
    if (k.trace.on)
      trace_event(k, 'block_rq_issue', {
        rwbs: blk_fill_rwbs(view.u32(rq + RQ_CMD_FLAGS)),
        sectors: blk_rq_sectors(view, rq),
        bytes: view.u32(rq + RQ_DATA_LEN),
      })
  }
  return flags & RQF_DONTPREP ? 0 : q.driver.prep_rq_fn(q, rq)
}

/** The request that goes next, prepared; 0: none, or it has to wait. */
export function blk_peek_request(q: sq_queue): number {
  const { k } = q.blk
  const t = enter(k, 'blk_peek_request')
  for (let rq = elv_next_request(q); rq; rq = elv_next_request(q)) {
    const ret = prepare(q, rq)
    if (ret === BLKPREP_DEFER) return leave(k, t, 0)
    if (ret !== BLKPREP_KILL) return leave(k, t, rq)
    blk_dequeue_request(q, rq)
    blk_end_request_all(q, rq, BLK_STS_IOERR)
  }
  return leave(k, t, 0)
}

/** The driver takes it: off the queue, with a deadline. */
export function blk_start_request(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_start_request')
  blk_dequeue_request(q, rq)
  view.setU32(rq + RQ_STATE, MQ_RQ_IN_FLIGHT)
  blk_add_timer(q, rq)
  leave(k, t)
}

/** The next request, started; 0 = none. */
export function blk_fetch_request(q: sq_queue): number {
  const { k } = q.blk
  const t = enter(k, 'blk_fetch_request')
  const rq = blk_peek_request(q)
  if (rq) blk_start_request(q, rq)
  return leave(k, t, rq)
}

/** The driver gives it back: it is first the next time. */
export function blk_requeue_request(q: sq_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_requeue_request')
  blk_delete_timer(q, rq)
  view.setU32(rq + RQ_STATE, MQ_RQ_IDLE)
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_STARTED)
  __elv_add_request(q, rq, ELEVATOR_INSERT_REQUEUE)
  leave(k, t)
}

/** What the queue still holds, for books: requests waiting and started. */
export function blk_queue_depth(q: sq_queue): number {
  return q.queue_head.length + q.elevator.size + q.timeout_list.length
}
