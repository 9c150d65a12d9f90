// The single-queue request queue of Linux 4.19: types of block/blk-core.c and what belongs to it.
//
// Requests are slots of the disk's tag set, as everywhere; a tag stands for an entry of the request_list. What else a
// request has (its driver's command, its end_io, where a flush sequence is) hangs on `sq_request`.
//
// One thread serves the queue, so that nothing needs a lock; what the lock costs is time. Submission and completion hold
// queue_lock for as long as they take (`submit` and `complete` of the machine's costs), and a CPU that finds it held is busy
// until it is free.

import { CPU_NOW } from '../../assembly/layout.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import type { delayed_work, work_struct } from '../kernel/workqueue-structs.js'
import type { BlockLayer, rq_list } from './blkdev.js'

/** What the queue needs of its block layer. */
export type SqLayer = Pick<BlockLayer, 'k' | 'core' | 'view' | 'cpus' | 'kblockd'>

/** What a driver's prep_rq_fn says: go on, fail the request, or try again later. */
export const BLKPREP_OK = 0
export const BLKPREP_KILL = 1
export const BLKPREP_DEFER = 2

export const ELEVATOR_INSERT_FRONT = 1
export const ELEVATOR_INSERT_BACK = 2
export const ELEVATOR_INSERT_SORT = 3
export const ELEVATOR_INSERT_REQUEUE = 4
export const ELEVATOR_INSERT_FLUSH = 5

/** What a request has beside its slot. */
export interface sq_request {
  /** The driver's command. */
  special: unknown
  /** Takes the request when it is over; null = its bios end and the slot is free. */
  end_io: ((q: sq_queue, rq: number, error: number) => void) | null
  /** REQ_FSEQ_* that are done. */
  seq: number
}

/** The flush machinery of a single queue. */
export interface sq_flush_queue {
  /** Two lists of requests that wait for a flush; pending and running take turns. */
  readonly flush_queue: [rq_list, rq_list]
  pending_idx: 0 | 1
  running_idx: 0 | 1
  pending_since: number
  readonly data_in_flight: rq_list
  /** Slot of the internal flush request. */
  readonly flush_rq: number
  /** A request could not be fetched while a flush was under way. */
  queue_delayed: boolean
}

/** The scheduler of a single queue. */
export interface sq_elevator {
  readonly name: string
  add(rq: number): void
  /** Moves a request to the dispatch queue; false: there is none. */
  dispatch(to: (rq: number) => void): boolean
  /** The request that a bio from `sector` on continues, 0 = none. */
  merge(sector: number): number
  readonly size: number
}

/** What a driver gives blk_init_queue. */
export interface sq_driver {
  request_fn(q: sq_queue): void
  prep_rq_fn(q: sq_queue, rq: number): number
  softirq_done_fn(q: sq_queue, rq: number): void
  /** @returns BLK_EH_DONE or BLK_EH_RESET_TIMER */
  rq_timed_out_fn(q: sq_queue, rq: number): number
}

/** struct request_queue of a single-queue driver. */
export interface sq_queue {
  readonly blk: SqLayer
  /** Address of its block (Q_*), and of its one hardware queue (HC_*), whose tags are the request_list. */
  readonly at: number
  readonly hctx: number
  readonly name: string
  readonly driver: sq_driver
  readonly elevator: sq_elevator
  /** The dispatch queue. */
  readonly queue_head: rq_list
  readonly requests: Map<number, sq_request>
  readonly fq: sq_flush_queue
  readonly delay_work: delayed_work<sq_queue>
  readonly timeout: timer_list<sq_queue>
  readonly timeout_work: work_struct<sq_queue>
  readonly timeout_list: rq_list
  /** ns at which queue_lock is free again, and how many calls deep it is held. */
  lock_free: number
  lock_depth: number
  stopped: boolean
  dead: boolean
  request_fn_active: number
  /** Called for each request of a bio that is finished, while laptop mode is on. */
  laptop_io_completion: (() => void) | null
}

/** What a request has beside its slot. */
export function of_rq(q: sq_queue, rq: number): sq_request {
  let request = q.requests.get(rq)
  if (request === undefined) {
    request = { special: null, end_io: null, seq: 0 }
    q.requests.set(rq, request)
  }
  return request
}

/** Takes queue_lock for a piece of work on a CPU (CPU_*), which costs so many ns. Nested calls find it held by themselves. */
export function with_queue_lock<T>(q: sq_queue, cpu: number, cost: number, work: () => T): T {
  const { view } = q.blk
  if (q.lock_depth++ === 0 && q.lock_free > view.u64(cpu + CPU_NOW))
    view.setU64(cpu + CPU_NOW, q.lock_free)
  view.setU64(cpu + CPU_NOW, view.u64(cpu + CPU_NOW) + cost)
  try {
    return work()
  } finally {
    if (--q.lock_depth === 0) q.lock_free = view.u64(cpu + CPU_NOW)
  }
}
