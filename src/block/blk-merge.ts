// Requests that join: block/blk-merge.c of Linux 4.19, the part about two requests, or a bio and a request that a
// scheduler holds.
//
//   blk_attempt_req_merge   `next` joins `rq` when it continues it; its slot is free then
//   attempt_back_merge      after a bio was added behind: does the request reach the next one now?
//   attempt_front_merge     after a bio was added in front: ... the one before?
//
// The bios move over, the lengths add up, and the scheduler takes `next` out of its lists (elv_merge_requests, handed in
// as part of the elevator). How a bio joins a request is the core's (blk_try_merge).
//
// Left out: write hints and integrity data (nobody has any), mixed failfast flags, discards of several ranges.

import {
  BIO_DATA,
  BIO_NEXT,
  BIO_OPF,
  BIO_SECTOR,
  BIO_SIZE,
  CTX_MERGED,
  Q_FLAGS,
  Q_MAX_SECTORS,
  Q_MAX_SEGMENTS,
  Q_VIRT_BOUNDARY,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_CMD_FLAGS,
  RQ_CTX,
  RQ_DATA_LEN,
  RQ_FLAGS,
  RQ_NR_SEGS,
  RQ_SECTOR,
  RQ_START_NS,
  SECTOR_SHIFT,
} from '../../assembly/layout.js'
import {
  QUEUE_FLAG_NOMERGES,
  QUEUE_FLAG_NOXMERGES,
  REQ_FUA,
  REQ_NOMERGE,
  REQ_OP_FLUSH,
  REQ_OP_MASK,
  REQ_OP_SCSI_IN,
  REQ_OP_WRITE,
  REQ_OP_WRITE_ZEROES,
  REQ_PREFLUSH,
  RQF_FLUSH_SEQ,
  RQF_PLAIN,
  RQF_SOFTBARRIER,
  RQF_SPECIAL_PAYLOAD,
  RQF_STARTED,
} from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import { enter, leave } from '../kernel/trace.js'
import type { request_queue } from './blkdev.js'

const NOMERGE = REQ_NOMERGE | REQ_PREFLUSH | REQ_FUA
const RQF_NOMERGE = RQF_STARTED | RQF_SOFTBARRIER | RQF_FLUSH_SEQ | RQF_SPECIAL_PAYLOAD

/** First sector of a request. */
export function blk_rq_pos(view: View, rq: number): number {
  return view.u64(rq + RQ_SECTOR)
}

export function blk_rq_sectors(view: View, rq: number): number {
  return view.u32(rq + RQ_DATA_LEN) >>> SECTOR_SHIFT
}

/** One past the last sector of a request. */
export function rq_end_sector(view: View, rq: number): number {
  return blk_rq_pos(view, rq) + blk_rq_sectors(view, rq)
}

/** One past the last sector of a bio. */
export function bio_end_sector(view: View, bio: number): number {
  return view.u64(bio + BIO_SECTOR) + (view.u32(bio + BIO_SIZE) >>> SECTOR_SHIFT)
}

export function req_op(view: View, rq: number): number {
  return view.u32(rq + RQ_CMD_FLAGS) & REQ_OP_MASK
}

/** 0 from the device, 1 to it. */
export function rq_data_dir(view: View, rq: number): 0 | 1 {
  return view.u32(rq + RQ_CMD_FLAGS) & REQ_OP_WRITE ? 1 : 0
}

export function blk_rq_is_passthrough(view: View, rq: number): boolean {
  return req_op(view, rq) >= REQ_OP_SCSI_IN
}

/** Whether anything may join a request. */
export function rq_mergeable(view: View, rq: number): boolean {
  const op = req_op(view, rq)
  if (op >= REQ_OP_SCSI_IN || op === REQ_OP_FLUSH || op === REQ_OP_WRITE_ZEROES) return false
  return !(view.u32(rq + RQ_CMD_FLAGS) & NOMERGE) && !(view.u32(rq + RQ_FLAGS) & RQF_NOMERGE)
}

export function bio_mergeable(view: View, bio: number): boolean {
  return !(view.u32(bio + BIO_OPF) & NOMERGE)
}

export function blk_queue_nomerges(q: request_queue): boolean {
  return (q.blk.view.load(q.at + Q_FLAGS) & (1 << QUEUE_FLAG_NOMERGES)) !== 0
}

/** Only the cheap tries are wanted: plug and last_merge. */
export function blk_queue_noxmerges(q: request_queue): boolean {
  return (q.blk.view.load(q.at + Q_FLAGS) & (1 << QUEUE_FLAG_NOXMERGES)) !== 0
}

/** Whether a bio is of the kind that may join this request, wherever it lies. */
export function blk_rq_merge_ok(q: request_queue, rq: number, bio: number): boolean {
  const { k, view } = q.blk
  const t = enter(k, 'blk_rq_merge_ok')
  const same = req_op(view, rq) === (view.u32(bio + BIO_OPF) & REQ_OP_MASK)
  return leave(k, t, same && rq_mergeable(view, rq) && bio_mergeable(view, bio))
}

// ---------------------------------------------------------------- two requests

/** What a scheduler does when a request swallows another. */
export type MergeRequests = (q: request_queue, rq: number, next: number) => void

/** PRPs have no gaps: the boundary between the two must be one of the device's pages. */
function req_gap_back_merge(q: request_queue, rq: number, next: number): boolean {
  const { view } = q.blk
  const mask = view.u32(q.at + Q_VIRT_BOUNDARY)
  const tail = view.u32(rq + RQ_BIOTAIL)
  const end = view.u32(tail + BIO_DATA) + view.u32(tail + BIO_SIZE)
  return ((end | view.u32(view.u32(next + RQ_BIO) + BIO_DATA)) & mask) !== 0
}

/** ll_merge_requests_fn: within the limits of the queue. */
function fits(q: request_queue, rq: number, next: number): boolean {
  const { view } = q.blk
  const sectors = blk_rq_sectors(view, rq) + blk_rq_sectors(view, next)
  const segments = view.u32(rq + RQ_NR_SEGS) + view.u32(next + RQ_NR_SEGS)
  if (sectors > view.u32(q.at + Q_MAX_SECTORS)) return false
  return segments <= view.u32(q.at + Q_MAX_SEGMENTS) && !req_gap_back_merge(q, rq, next)
}

function take_over(view: View, rq: number, next: number): void {
  view.setU32(view.u32(rq + RQ_BIOTAIL) + BIO_NEXT, view.u32(next + RQ_BIO))
  view.setU32(rq + RQ_BIOTAIL, view.u32(next + RQ_BIOTAIL))
  view.setU32(rq + RQ_DATA_LEN, view.u32(rq + RQ_DATA_LEN) + view.u32(next + RQ_DATA_LEN))
  view.setU32(rq + RQ_NR_SEGS, view.u32(rq + RQ_NR_SEGS) + view.u32(next + RQ_NR_SEGS))
  view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) & ~RQF_PLAIN)
  view.setU64(rq + RQ_START_NS, Math.min(view.u64(rq + RQ_START_NS), view.u64(next + RQ_START_NS)))
  const merged = view.u32(rq + RQ_CTX) + CTX_MERGED
  view.setU64(merged, view.u64(merged) + 1)
  view.setU32(next + RQ_BIO, 0)
  view.setU32(next + RQ_BIOTAIL, 0)
}

/** Lets `next` join `rq`: the slot that is empty now, 0 if they stay two. */
function attempt_merge(
  q: request_queue,
  rq: number,
  next: number,
  merge_requests: MergeRequests,
): number {
  const { view } = q.blk
  if (!rq_mergeable(view, rq) || !rq_mergeable(view, next)) return 0
  if (req_op(view, rq) !== req_op(view, next)) return 0
  if (rq_end_sector(view, rq) !== blk_rq_pos(view, next) || !fits(q, rq, next)) return 0
  take_over(view, rq, next)
  merge_requests(q, rq, next)
  return next
}

/** `rq` has grown at its end: the request behind it, if it joined, else 0. */
export function attempt_back_merge(
  q: request_queue,
  rq: number,
  next: number,
  merge_requests: MergeRequests,
): number {
  const { k } = q.blk
  const t = enter(k, 'attempt_back_merge')
  return leave(k, t, next ? attempt_merge(q, rq, next, merge_requests) : 0)
}

/** `rq` has grown at its front: it joins the request before it, or 0. */
export function attempt_front_merge(
  q: request_queue,
  rq: number,
  prev: number,
  merge_requests: MergeRequests,
): number {
  const { k } = q.blk
  const t = enter(k, 'attempt_front_merge')
  return leave(k, t, prev ? attempt_merge(q, prev, rq, merge_requests) : 0)
}

/** True when `next` joined `rq`; its slot has been given back. */
export function blk_attempt_req_merge(
  q: request_queue,
  rq: number,
  next: number,
  merge_requests: MergeRequests,
  free: (rq: number) => void,
): boolean {
  const { k } = q.blk
  const t = enter(k, 'blk_attempt_req_merge')
  const emptied = attempt_merge(q, rq, next, merge_requests)
  if (emptied) free(emptied)
  return leave(k, t, emptied !== 0)
}
