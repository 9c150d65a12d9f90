// The proof that nothing was lost, taken from shared memory while nobody runs.
//
// Two sides are counted independently and compared: what the CPUs' counters say went in and came out, and what is found
// by walking every tag map, ring and list. After a run that ended well both sides say that nothing is left; after a
// crash they still have to agree about what is.

import {
  BIO_END_IO,
  BIO_NEXT,
  BIO_PRIVATE,
  CPU_DONE_LIST,
  CPU_ENDED,
  CPU_ENDIO,
  CPU_ERR,
  CPU_FAILED,
  CPU_PLUG_COUNT,
  CPU_RING,
  CPU_SUBMITTED,
  DCQ_TAIL,
  DSQ_FIFO_COUNT,
  DSQ_HEAD,
  END_IO_CHAIN,
  HC_DISPATCH_HEAD,
  HC_SLOW_HEAD,
  NQ_CQ_HEAD,
  NQ_DEPTH,
  NQ_SHARED,
  NQ_SQ_TAIL,
  NQ_SUSPENDED,
  RING_HEAD,
  RING_TAIL,
  RQ_BIO,
  RQ_NEXT,
  RQ_SIZE,
  SBQ_WAITERS,
  TAGS_BITMAP,
  TAGS_STATIC_RQS,
} from '../../assembly/layout.js'
import { blk_mq_tag_to_rq, busy_tags } from '../block/blk-mq-tag.js'
import { set_bits } from '../block/sbitmap-show.js'
import type { View } from '../core/view.js'
import type { Books, Disk, DiskQueue } from './config.js'

export type { Books } from './config.js'

/** Tags that are taken, lowest first. */
export function heldTags(view: View, tags: number): number[] {
  return set_bits(view, tags + TAGS_BITMAP)
}

/** The bios that a request carries; of a part of a split bio, the bio that was submitted. */
function addBios(view: View, rq: number, bios: Set<number>): void {
  for (let bio = view.u32(rq + RQ_BIO); bio; bio = view.u32(bio + BIO_NEXT)) {
    let whole = bio
    while (view.u32(whole + BIO_END_IO) === END_IO_CHAIN) whole = view.u32(whole + BIO_PRIVATE)
    bios.add(whole)
  }
}

function listLength(view: View, head: number): number {
  let n = 0
  for (let rq = head; rq; rq = view.u32(rq + RQ_NEXT)) n++
  return n
}

/** Entries between two ring indices. */
function between(head: number, tail: number, entries: number): number {
  return (tail - head + entries) % entries
}

/** Named counts of what the rings of a queue pair still hold; null_blk has none. */
function ringRest(view: View, queue: DiskQueue): [what: string, count: number][] {
  // A queue that its driver has stopped, or never made, holds nothing: its controller forgot it.
  if (!queue.nq || view.u32(queue.nq + NQ_SHARED) & NQ_SUSPENDED) return []
  const depth = view.u32(queue.nq + NQ_DEPTH)
  const sq = between(view.u32(queue.dsq + DSQ_HEAD), view.u32(queue.nq + NQ_SQ_TAIL), depth)
  const cq = between(view.u32(queue.nq + NQ_CQ_HEAD), view.u32(queue.dcq + DCQ_TAIL), depth)
  return [
    ['entries in the submission ring', sq],
    ['entries in the completion ring', cq],
    ['commands in service', view.u32(queue.dsq + DSQ_FIFO_COUNT)],
  ]
}

/** Named counts of what a hardware queue still holds. */
function queueRest(view: View, queue: DiskQueue): [what: string, count: number][] {
  return [
    ...ringRest(view, queue),
    ['requests on the slow list', listLength(view, view.u32(queue.hctx + HC_SLOW_HEAD))],
    ['requests on the dispatch list', listLength(view, view.u32(queue.hctx + HC_DISPATCH_HEAD))],
    ['waiters for a tag', view.load(queue.tags + TAGS_BITMAP + SBQ_WAITERS)],
  ]
}

function cpuRest(view: View, cpu: number): [what: string, count: number][] {
  const ring = view.u32(cpu + CPU_RING)
  return [
    ['plugged requests', view.u32(cpu + CPU_PLUG_COUNT)],
    ['failed requests undecided', listLength(view, view.u32(cpu + CPU_ERR))],
    ['requests whose end_io is due', listLength(view, view.u32(cpu + CPU_ENDIO))],
    ['requests completed by another CPU', listLength(view, view.load(cpu + CPU_DONE_LIST))],
    ['bios unread in the ring', view.u32(ring + RING_TAIL) - view.u32(ring + RING_HEAD)],
  ]
}

/**
 * Counts everything again.
 * @param cpus addresses of the CPU blocks
 * @param admin tag maps of admin queues, whose commands may be under way when a run ends: a controller scanned, say
 */
export function takeBooks(
  view: View,
  cpus: readonly number[],
  disks: readonly Disk[],
  admin: readonly number[] = [],
): Books {
  const sum = (field: number): number => cpus.reduce((n, cpu) => n + view.u64(cpu + field), 0)
  const problems: string[] = []
  const bios = new Set<number>()
  let tagsHeld = 0
  let ringEntries = 0
  const note = (where: string, rest: readonly [string, number][]): void => {
    for (const [what, count] of rest) {
      if (count) problems.push(`${where}: ${count} ${what}`)
      ringEntries += count
    }
  }
  cpus.forEach((cpu, i) => {
    note(`CPU ${i}`, cpuRest(view, cpu))
  })
  for (const disk of disks) {
    for (const queue of disk.queues) {
      const where = `${disk.config.name} queue ${queue.index + 1}`
      const held = heldTags(view, queue.tags)
      if (held.length) problems.push(`${where}: ${held.length} tags held`)
      tagsHeld += held.length
      const requests = view.u32(queue.tags + TAGS_STATIC_RQS)
      for (const tag of held) addBios(view, requests + tag * RQ_SIZE, bios)
      note(where, queueRest(view, queue))
    }
  }
  for (const tags of admin)
    for (const tag of busy_tags(view, tags)) {
      const rq = blk_mq_tag_to_rq(view, tags, tag)
      if (rq) addBios(view, rq, bios)
    }
  const submitted = sum(CPU_SUBMITTED)
  const completed = sum(CPU_ENDED)
  const failed = sum(CPU_FAILED)
  const inFlight = bios.size
  const biosUnbalanced = submitted - completed - failed - inFlight
  if (biosUnbalanced > 0) problems.push(`${biosUnbalanced} bios lost`)
  if (biosUnbalanced < 0) problems.push(`${-biosUnbalanced} bios ended twice`)
  const balanced = problems.length === 0
  return {
    submitted,
    completed,
    failed,
    inFlight,
    tagsHeld,
    ringEntries,
    biosUnbalanced,
    problems,
    balanced,
  }
}
