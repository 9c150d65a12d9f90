// What schedulers share: block/elevator.c of Linux 4.19, and the merge helpers of block/blk-mq-sched.c.
//
//   elv_rqhash_*   requests by the sector at which they end: which one does a bio, or a request, continue?
//   elv_rb_*       requests in order of their first sector
//   elv_merge      the request that a bio may join: the last one that grew, then the hash, then the scheduler's own idea
//
// Hash and last_merge belong to the scheduler that is attached (elevator_queue); trees are the schedulers' own. A tree
// is a sorted array: a few hundred requests at most, and equal sectors keep their order of arrival.
//
// Switching schedulers is elevator-switch.ts's; the single-queue forms are blk-core.ts's.

import { BIO_SECTOR, RQ_CMD_FLAGS, RQ_DATA_LEN } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { enter, leave, trace_event } from '../kernel/trace.js'
import {
  attempt_back_merge,
  attempt_front_merge,
  bio_end_sector,
  bio_mergeable,
  blk_attempt_req_merge,
  blk_queue_nomerges,
  blk_queue_noxmerges,
  blk_rq_merge_ok,
  blk_rq_pos,
  blk_rq_sectors,
  rq_end_sector,
  rq_mergeable,
} from './blk-merge.js'
import {
  ELEVATOR_BACK_MERGE,
  ELEVATOR_FRONT_MERGE,
  ELEVATOR_NO_MERGE,
  type elevator_queue,
  type request_queue,
} from './blkdev.js'
import { blk_fill_rwbs } from './trace-events.js'

/** What elv_merge found: how a bio may join which request. */
export interface merge_place {
  readonly how: number
  readonly rq: number
}

const NO_PLACE: merge_place = { how: ELEVATOR_NO_MERGE, rq: 0 }

// ---------------------------------------------------------------- the hash

/** Mergeable requests of a scheduler by their end, and the request that grew last. */
class elv_hash {
  readonly #byEnd: Map<number, number[]> = new Map()
  readonly #ends: Map<number, number> = new Map()
  last_merge = 0

  has(rq: number): boolean {
    return this.#ends.has(rq)
  }

  add(rq: number, end: number): void {
    this.#ends.set(rq, end)
    const same = this.#byEnd.get(end)
    // newest first
    if (same === undefined) this.#byEnd.set(end, [rq])
    else same.unshift(rq)
  }

  delete(rq: number): void {
    const end = this.#ends.get(rq)
    if (end === undefined) return
    this.#ends.delete(rq)
    const rest = this.#byEnd.get(end)!.filter(one => one !== rq)
    if (rest.length > 0) this.#byEnd.set(end, rest)
    else this.#byEnd.delete(end)
  }

  at(end: number): readonly number[] {
    return this.#byEnd.get(end) ?? []
  }
}

const hashes = new WeakMap<elevator_queue, elv_hash>()

function hashOf(e: elevator_queue): elv_hash {
  let hash = hashes.get(e)
  if (hash === undefined) {
    hash = new elv_hash()
    hashes.set(e, hash)
  }
  return hash
}

/** The request that something joined last, or that was inserted first; 0 = none. */
export function last_merge(q: request_queue): number {
  return q.elevator === null ? 0 : hashOf(q.elevator).last_merge
}

export function set_last_merge(q: request_queue, rq: number): void {
  if (q.elevator !== null) hashOf(q.elevator).last_merge = rq
}

export function elv_rqhash_add(q: request_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rqhash_add')
  hashOf(q.elevator!).add(rq, rq_end_sector(view, rq))
  leave(k, t)
}

export function elv_rqhash_del(q: request_queue, rq: number): void {
  const { k } = q.blk
  const t = enter(k, 'elv_rqhash_del')
  hashOf(q.elevator!).delete(rq)
  leave(k, t)
}

/** After a request has grown at its end. */
export function elv_rqhash_reposition(q: request_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rqhash_reposition')
  const hash = hashOf(q.elevator!)
  hash.delete(rq)
  hash.add(rq, rq_end_sector(view, rq))
  leave(k, t)
}

/** A mergeable request that ends at a sector, 0 if there is none. */
export function elv_rqhash_find(q: request_queue, offset: number): number {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rqhash_find')
  const hash = hashOf(q.elevator!)
  for (const rq of [...hash.at(offset)]) {
    if (rq_mergeable(view, rq)) return leave(k, t, rq)
    hash.delete(rq)
  }
  return leave(k, t, 0)
}

// ---------------------------------------------------------------- trees

/** Requests in order of their first sector: a struct rb_root. */
export class rb_root {
  readonly requests: number[] = []

  /** Place of the first request that begins at a sector or behind it. */
  from(view: View, sector: number): number {
    let low = 0
    for (let high = this.requests.length; low < high; ) {
      const middle = (low + high) >> 1
      if (blk_rq_pos(view, this.requests[middle]!) >= sector) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Place of a request, -1 if it is not there. */
  place(view: View, rq: number): number {
    return this.requests.indexOf(rq, this.from(view, blk_rq_pos(view, rq)))
  }
}

/** Adds a request behind those of the same sector. */
export function elv_rb_add(q: request_queue, root: rb_root, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rb_add')
  root.requests.splice(root.from(view, blk_rq_pos(view, rq) + 1), 0, rq)
  leave(k, t)
}

export function elv_rb_del(q: request_queue, root: rb_root, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rb_del')
  const at = root.place(view, rq)
  if (at >= 0) root.requests.splice(at, 1)
  leave(k, t)
}

/** The request that begins at a sector, 0 if there is none. */
export function elv_rb_find(q: request_queue, root: rb_root, sector: number): number {
  const { k, view } = q.blk
  const t = enter(k, 'elv_rb_find')
  const rq = root.requests[root.from(view, sector)] ?? 0
  return leave(k, t, rq && blk_rq_pos(view, rq) === sector ? rq : 0)
}

/** The request before, or behind, another one; 0 if it is the first or last, or not there. */
export function elv_rb_neighbour(
  q: request_queue,
  root: rb_root,
  rq: number,
  step: 1 | -1,
): number {
  const at = root.place(q.blk.view, rq)
  return at < 0 ? 0 : (root.requests[at + step] ?? 0)
}

// ---------------------------------------------------------------- a bio

function elv_bio_merge_ok(q: request_queue, rq: number, bio: number): boolean {
  const { k } = q.blk
  const t = enter(k, 'elv_bio_merge_ok')
  return leave(k, t, blk_rq_merge_ok(q, rq, bio))
}

/** How a bio continues a request. */
export function blk_try_merge(q: request_queue, rq: number, bio: number): number {
  const { k, view } = q.blk
  const t = enter(k, 'blk_try_merge')
  const back = rq_end_sector(view, rq) === view.u64(bio + BIO_SECTOR)
  const front = bio_end_sector(view, bio) === blk_rq_pos(view, rq)
  const how = back ? ELEVATOR_BACK_MERGE : front ? ELEVATOR_FRONT_MERGE : ELEVATOR_NO_MERGE
  return leave(k, t, how)
}

/** The request that a bio may join. */
export function elv_merge(q: request_queue, bio: number): merge_place {
  const { k } = q.blk
  const t = enter(k, 'elv_merge')
  return leave(k, t, find_place(q, bio))
}

function find_place(q: request_queue, bio: number): merge_place {
  const { view } = q.blk
  if (q.elevator === null || blk_queue_nomerges(q) || !bio_mergeable(view, bio)) return NO_PLACE
  const last = last_merge(q)
  if (last && elv_bio_merge_ok(q, last, bio)) {
    const how = blk_try_merge(q, last, bio)
    if (how !== ELEVATOR_NO_MERGE) return { how, rq: last }
  }
  if (blk_queue_noxmerges(q)) return NO_PLACE
  const found = elv_rqhash_find(q, view.u64(bio + BIO_SECTOR))
  if (found && elv_bio_merge_ok(q, found, bio)) return { how: ELEVATOR_BACK_MERGE, rq: found }
  return q.elevator.type.ops.request_merge?.(q, bio) ?? NO_PLACE
}

/** For a scheduler's request_merge: the front merge with a request that begins where the bio ends. */
export function elv_front_place(q: request_queue, root: rb_root, bio: number): merge_place {
  const rq = elv_rb_find(q, root, bio_end_sector(q.blk.view, bio))
  return rq && elv_bio_merge_ok(q, rq, bio) ? { how: ELEVATOR_FRONT_MERGE, rq } : NO_PLACE
}

/** A bio has joined a request: the scheduler's lists follow. */
export function elv_merged_request(q: request_queue, rq: number, how: number): void {
  const { k } = q.blk
  const t = enter(k, 'elv_merged_request')
  q.elevator!.type.ops.request_merged?.(q, rq, how)
  if (how === ELEVATOR_BACK_MERGE) elv_rqhash_reposition(q, rq)
  set_last_merge(q, rq)
  leave(k, t)
}

/** `next` has joined `rq`: the scheduler forgets it. */
export function elv_merge_requests(q: request_queue, rq: number, next: number): void {
  const { k } = q.blk
  const t = enter(k, 'elv_merge_requests')
  q.elevator!.type.ops.requests_merged?.(q, rq, next)
  elv_rqhash_reposition(q, rq)
  set_last_merge(q, rq)
  leave(k, t)
}

export function elv_latter_request(q: request_queue, rq: number): number {
  const { k } = q.blk
  const t = enter(k, 'elv_latter_request')
  return leave(k, t, q.elevator!.type.ops.next_request?.(q, rq) ?? 0)
}

export function elv_former_request(q: request_queue, rq: number): number {
  const { k } = q.blk
  const t = enter(k, 'elv_former_request')
  return leave(k, t, q.elevator!.type.ops.former_request?.(q, rq) ?? 0)
}

// ---------------------------------------------------------------- what schedulers call

/** Gives the slot of a request that was merged away back. */
function free_merged(q: request_queue, rq: number): void {
  const { core, cpus, k } = q.blk
  core.blk_mq_free_request(cpus[k.cpu.id]!, rq)
}

/** True when a bio joined one of the scheduler's requests. */
export function blk_mq_sched_try_merge(q: request_queue, bio: number): boolean {
  const { k, core, view } = q.blk
  const t = enter(k, 'blk_mq_sched_try_merge')
  const { how, rq } = elv_merge(q, bio)
  if (how === ELEVATOR_NO_MERGE) return leave(k, t, false)
  // the core decides again, because the limits are its business
  const back = rq_end_sector(view, rq) === view.u64(bio + BIO_SECTOR)
  if (!core.blk_try_merge(q.at, rq, bio)) return leave(k, t, false)
  const emptied = back
    ? attempt_back_merge(q, rq, elv_latter_request(q, rq), elv_merge_requests)
    : attempt_front_merge(q, rq, elv_former_request(q, rq), elv_merge_requests)
  if (emptied) free_merged(q, emptied)
  else elv_merged_request(q, rq, back ? ELEVATOR_BACK_MERGE : ELEVATOR_FRONT_MERGE)
  return leave(k, t, true)
}

/** True when a request that is to be inserted joined others instead; its slot has been given back. */
export function elv_attempt_insert_merge(q: request_queue, rq: number): boolean {
  const { k } = q.blk
  const t = enter(k, 'elv_attempt_insert_merge')
  return leave(k, t, insert_merge(q, rq))
}

function insert_merge(q: request_queue, rq: number): boolean {
  const { view } = q.blk
  if (blk_queue_nomerges(q)) return false
  const join = (onto: number, what: number): boolean =>
    blk_attempt_req_merge(q, onto, what, elv_merge_requests, gone => free_merged(q, gone))
  const last = last_merge(q)
  if (last && join(last, rq)) return true
  if (blk_queue_noxmerges(q)) return false
  let merged = false
  let what = rq
  for (;;) {
    const found = elv_rqhash_find(q, blk_rq_pos(view, what))
    if (!found || !join(found, what)) return merged
    // the one it joined may now reach another one
    merged = true
    what = found
  }
}

export function blk_mq_sched_try_insert_merge(q: request_queue, rq: number): boolean {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_sched_try_insert_merge')
  return leave(k, t, rq_mergeable(view, rq) && elv_attempt_insert_merge(q, rq))
}

/** Tells the trace that a request is the scheduler's now. */
export function blk_mq_sched_request_inserted(q: request_queue, rq: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_mq_sched_request_inserted')
  if (k.trace.on) {
    trace_event(k, 'block_rq_insert', {
      rwbs: blk_fill_rwbs(view.u32(rq + RQ_CMD_FLAGS)),
      sectors: blk_rq_sectors(view, rq),
      bytes: view.u32(rq + RQ_DATA_LEN),
    })
  }
  leave(k, t)
}
