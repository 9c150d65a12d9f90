// What Linux 4.19 shows of a multi-queue disk in /sys/kernel/debug/block: block/blk-mq-debugfs.c, in its words. Files are
// texts under their names; nothing is mounted, whoever asks gets what there is now.
//
//   state, requeue_list, pm_only                      the queue
//   sched/*                                           its scheduler
//   hctxN/state, flags, dispatch, busy, ctx_map, tags, tags_bitmap, sched_tags, sched_tags_bitmap, io_poll, dispatched,
//         queued, run, active, dispatch_busy, sched/* a hardware queue
//   hctxN/cpuM/rq_list, dispatched, merged, completed  a software queue
//
// Everything but the requeue list and the scheduler stands in the shared memory, so that a queue without a kernel of ours
// is shown as well. What such a machine keeps on the slow list is on the dispatch list in Linux, and is shown there.
// Left out: poll_stat, write_hints, zone_wlock, rqos.

import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import { ctx_uses } from './blk-mq.js'
import { blk_mq_tag_to_rq, busy_tags } from './blk-mq-tag.js'
import type { debugfs_file, request_queue } from './blkdev.js'
import { sbitmap_bitmap_show, sbitmap_queue_show, set_bits } from './sbitmap-show.js'

/** Bits of queue_flags by number. */
const QUEUE_FLAGS: readonly (string | undefined)[] = [
  ...['QUEUED', 'STOPPED', 'DYING', 'BYPASS', 'BIDI', 'NOMERGES', 'SAME_COMP', 'FAIL_IO'],
  ...[undefined, 'NONROT', 'IO_STAT', 'DISCARD', 'NOXMERGES', 'ADD_RANDOM', 'SECERASE'],
  ...['SAME_FORCE', 'DEAD', 'INIT_DONE', 'NO_SG_MERGE', 'POLL', 'WC', 'FUA', 'FLUSH_NQ', 'DAX'],
  ...['STATS', 'POLL_STATS', 'REGISTERED', 'SCSI_PASSTHROUGH', 'QUIESCED'],
]

const HCTX_STATES: readonly string[] = ['STOPPED', 'TAG_ACTIVE', 'SCHED_RESTART']

const HCTX_FLAGS: readonly (string | undefined)[] = [
  ...['SHOULD_MERGE', 'TAG_SHARED', 'SG_MERGE', undefined, undefined, 'BLOCKING', 'NO_SCHED'],
]

/** Bits of cmd_flags above the operation. */
const CMD_FLAGS: readonly string[] = [
  ...['FAILFAST_DEV', 'FAILFAST_TRANSPORT', 'FAILFAST_DRIVER', 'SYNC', 'META', 'PRIO', 'NOMERGE'],
  ...['IDLE', 'INTEGRITY', 'FUA', 'PREFLUSH', 'RAHEAD', 'BACKGROUND', 'NOWAIT', 'NOUNMAP'],
]

const RQF_NAMES: readonly (string | undefined)[] = [
  ...['SORTED', 'STARTED', 'QUEUED', 'SOFTBARRIER', 'FLUSH_SEQ', 'MIXED_MERGE', 'MQ_INFLIGHT'],
  ...['DONTPREP', 'PREEMPT', 'COPY_USER', 'FAILED', 'QUIET', 'ELVPRIV', 'IO_STAT', 'ALLOCED', 'PM'],
  ...['HASHED', 'STATS', 'SPECIAL_PAYLOAD', 'ZONE_WRITE_LOCKED', 'MQ_POLL_SLEPT', 'TIMED_OUT'],
]

const OPERATIONS: Readonly<Record<number, string>> = {
  [N.REQ_OP_READ]: 'READ',
  [N.REQ_OP_WRITE]: 'WRITE',
  [N.REQ_OP_FLUSH]: 'FLUSH',
  [N.REQ_OP_DISCARD]: 'DISCARD',
  [N.REQ_OP_SECURE_ERASE]: 'SECURE_ERASE',
  [N.REQ_OP_WRITE_SAME]: 'WRITE_SAME',
  [N.REQ_OP_WRITE_ZEROES]: 'WRITE_ZEROES',
  [N.REQ_OP_SCSI_IN]: 'SCSI_IN',
  [N.REQ_OP_SCSI_OUT]: 'SCSI_OUT',
  [N.REQ_OP_DRV_IN]: 'DRV_IN',
  [N.REQ_OP_DRV_OUT]: 'DRV_OUT',
}

const RQ_STATES: readonly string[] = ['idle', 'in_flight', 'complete']

const OP_BITS = 8
const DISPATCH_ORDERS = 7

/** blk_flags_show: the names of the bits that are set; a bit without a name is a number. */
function blk_flags_show(flags: number, names: readonly (string | undefined)[]): string {
  const set = Array.from({ length: 32 }, (_, bit) => bit).filter(bit => (flags >>> bit) & 1)
  return set.map(bit => names[bit] ?? `${bit}`).join('|')
}

/** One request (RQ_*), one line. */
export function blk_mq_debugfs_rq_show(view: View, rq: number): string {
  const opf = view.u32(rq + L.RQ_CMD_FLAGS)
  const op = opf & N.REQ_OP_MASK
  // a bit of ours stands among the flags
  const flags = (view.u32(rq + L.RQ_FLAGS) & ~(N.RQF_PLAIN | N.RQF_PLAIN_BIO)) >>> 0
  const fields = [
    `.op=${OPERATIONS[op] ?? op}`,
    `.cmd_flags=${blk_flags_show(opf >>> OP_BITS, CMD_FLAGS)}`,
    `.rq_flags=${blk_flags_show(flags, RQF_NAMES)}`,
    `.state=${RQ_STATES[view.load(rq + L.RQ_STATE)] ?? '?'}`,
    `.tag=${view.i32(rq + L.RQ_TAG)}`,
    `.internal_tag=${view.i32(rq + L.RQ_INTERNAL_TAG)}`,
  ]
  return `${rq.toString(16).padStart(8, '0')} {${fields.join(', ')}}\n`
}

/** Requests of a list, one a line. */
export function rq_list_show(view: View, list: Iterable<number>): string {
  return [...list].map(rq => blk_mq_debugfs_rq_show(view, rq)).join('')
}

/** Requests linked by RQ_NEXT. While other threads change the list, it may lead in circles. */
function linked(view: View, first: number): number[] {
  const list = new Set<number>()
  for (let rq = first; rq && !list.has(rq); rq = view.u32(rq + L.RQ_NEXT)) list.add(rq)
  return [...list]
}

// ---------------------------------------------------------------- a hardware queue

/** Requests that the driver has, of those that this hardware queue's software queues sent. */
function hctx_busy_show(view: View, hctx: number): string {
  const tags = view.u32(hctx + L.HC_TAGS)
  const rqs = busy_tags(view, tags)
    .map(tag => blk_mq_tag_to_rq(view, tags, tag))
    .filter(rq => rq && view.u32(rq + L.RQ_HCTX) === hctx)
  return rq_list_show(
    view,
    rqs.filter(rq => view.load(rq + L.RQ_STATE) !== L.MQ_RQ_IDLE),
  )
}

function tags_show(view: View, tags: number, nr_cpus: number): string {
  const reserved = view.u32(tags + L.TAGS_RESERVED)
  const own = reserved
    ? `\nbreserved_tags:\n${sbitmap_queue_show(view, tags + L.TAGS_BRESERVED, nr_cpus)}`
    : ''
  return [
    `nr_tags=${view.u32(tags + L.TAGS_NR)}\n`,
    `nr_reserved_tags=${reserved}\n`,
    `active_queues=${view.load(tags + L.TAGS_ACTIVE_QUEUES)}\n`,
    `\nbitmap_tags:\n${sbitmap_queue_show(view, tags + L.TAGS_BITMAP, nr_cpus)}`,
    own,
  ].join('')
}

function tags_bitmap_show(view: View, tags: number): string {
  const map = tags + L.TAGS_BITMAP
  return sbitmap_bitmap_show(view.u32(map + L.SBQ_DEPTH), set_bits(view, map))
}

/** How many requests the runs of the queue found, in powers of two. */
function hctx_dispatched_show(view: View, hctx: number): string {
  const lines = Array.from({ length: DISPATCH_ORDERS }, (_, i) => {
    const label = `${i === 0 ? 0 : 2 ** (i - 1)}`.padStart(8)
    return `${label}${i === DISPATCH_ORDERS - 1 ? '+' : ''}\t${view.u32(hctx + L.HC_DISPATCHED + 4 * i)}\n`
  })
  return lines.join('')
}

function hctx_io_poll_show(view: View, hctx: number): string {
  const { u64 } = { u64: (field: number): number => view.u64(hctx + field) }
  return `considered=${u64(L.HC_POLL_CONSIDERED)}\ninvoked=${u64(L.HC_POLL_INVOKED)}\nsuccess=${u64(L.HC_POLL_SUCCESS)}\n`
}

function* ctx_files(view: View, at: string, ctx: number): Iterable<debugfs_file> {
  const both = (sync: number, async: number): string =>
    `${view.u64(ctx + sync)} ${view.u64(ctx + async)}\n`
  yield [`${at}/rq_list`, rq_list_show(view, linked(view, view.u32(ctx + L.CTX_HEAD)))]
  yield [`${at}/dispatched`, both(L.CTX_DISPATCHED_SYNC, L.CTX_DISPATCHED_ASYNC)]
  yield [`${at}/merged`, `${view.u64(ctx + L.CTX_MERGED)}\n`]
  yield [`${at}/completed`, both(L.CTX_COMPLETED_SYNC, L.CTX_COMPLETED_ASYNC)]
}

/** A software queue and the CPU it is of. */
interface ctx_of_cpu {
  readonly cpu: number
  readonly ctx: number
}

function* hctx_files(
  view: View,
  hctx: number,
  ctxs: readonly ctx_of_cpu[],
  nr_cpus: number,
): Iterable<debugfs_file> {
  const at = `hctx${view.u32(hctx + L.HC_INDEX)}`
  const waiting = [L.HC_DISPATCH_HEAD, L.HC_SLOW_HEAD].flatMap(head =>
    linked(view, view.u32(hctx + head)),
  )
  const filled = ctxs.flatMap(({ ctx }, i) => (view.u32(ctx + L.CTX_HEAD) ? [i] : []))
  const tags = view.u32(hctx + L.HC_TAGS)
  const sched = view.u32(hctx + L.HC_SCHED_TAGS)
  const flags = blk_flags_show(view.u32(hctx + L.HC_FLAGS) & 0xff, HCTX_FLAGS)
  yield [`${at}/state`, `${blk_flags_show(view.load(hctx + L.HC_STATE), HCTX_STATES)}\n`]
  yield [`${at}/flags`, `alloc_policy=FIFO ${flags}\n`]
  yield [`${at}/dispatch`, rq_list_show(view, waiting)]
  yield [`${at}/busy`, hctx_busy_show(view, hctx)]
  yield [`${at}/ctx_map`, sbitmap_bitmap_show(ctxs.length, filled)]
  yield [`${at}/tags`, tags ? tags_show(view, tags, nr_cpus) : '']
  yield [`${at}/tags_bitmap`, tags ? tags_bitmap_show(view, tags) : '']
  yield [`${at}/sched_tags`, sched ? tags_show(view, sched, nr_cpus) : '']
  yield [`${at}/sched_tags_bitmap`, sched ? tags_bitmap_show(view, sched) : '']
  yield [`${at}/io_poll`, hctx_io_poll_show(view, hctx)]
  yield [`${at}/dispatched`, hctx_dispatched_show(view, hctx)]
  yield [`${at}/queued`, `${view.u64(hctx + L.HC_QUEUED)}\n`]
  yield [`${at}/run`, `${view.u64(hctx + L.HC_RUN)}\n`]
  yield [`${at}/active`, `${view.load(hctx + L.HC_NR_ACTIVE)}\n`]
  yield [`${at}/dispatch_busy`, `${view.u32(hctx + L.HC_DISPATCH_BUSY)}\n`]
  for (const { cpu, ctx } of ctxs) yield* ctx_files(view, `${at}/cpu${cpu}`, ctx)
}

// ---------------------------------------------------------------- a queue

/**
 * The files of a disk's queue (Q_*).
 * @param q the queue of the kernel that serves it; null where none does, or another thread's
 */
export function* blk_mq_debugfs(
  view: View,
  at: number,
  nr_cpus: number,
  q: request_queue | null,
): Iterable<debugfs_file> {
  const kept = view.load(at + L.Q_FLAGS)
  const flags = kept | (q?.quiesced ? 1 << N.QUEUE_FLAG_QUIESCED : 0) | (q?.dying ? 1 << 2 : 0)
  yield ['state', `${blk_flags_show(flags >>> 0, QUEUE_FLAGS)}\n`]
  yield ['requeue_list', q ? rq_list_show(view, q.requeue_list) : '']
  const type = q?.elevator?.type
  for (const { name, show } of type?.queue_debugfs_attrs ?? []) yield [`sched/${name}`, show(q!)]
  const hctxs = view.u32(at + L.Q_HCTXS)
  for (let i = 0; i < view.u32(at + L.Q_NR_HW); i++) {
    const hctx = hctxs + i * L.HC_SIZE
    yield* hctx_files(view, hctx, ctxs_of(view, at, hctx, nr_cpus), nr_cpus)
    const own = q?.queue_hw_ctx[i]
    if (own)
      for (const { name, show } of type?.hctx_debugfs_attrs ?? [])
        yield [`hctx${i}/sched/${name}`, show(own)]
  }
}

function ctxs_of(view: View, q: number, hctx: number, nr_cpus: number): ctx_of_cpu[] {
  const all = Array.from({ length: nr_cpus }, (_, cpu) => ({
    cpu,
    ctx: view.u32(q + L.Q_CTXS) + cpu * L.CTX_SIZE,
  }))
  return all.filter(({ ctx }) => ctx_uses(view, ctx, hctx))
}
