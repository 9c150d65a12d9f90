// Queues of the PCIe driver: struct nvme_queue and what is done to one, drivers/nvme/host/pci.c of Linux 4.19.
//
//   nvme_alloc_queue    memory of the rings, pages for PRP lists
//   nvme_init_queue     tail, head, phase, doorbells, shadow doorbells
//   nvme_create_queue   the controller's side, completion queue first, then its interrupt
//   nvme_suspend_queue  no commands, no interrupts
//   nvme_handle_cqe     entries that name no request: events, and identifiers that cannot be
//
// The queue itself is a block of the shared memory (NQ_*), which the core fills and empties (assembly/sq.ts, cq.ts). Memory
// is where the machine planned it: that is what dma_alloc_coherent gives.

import * as L from '../../../../assembly/layout.js'
import { CQE_BYTES, CQE_DW0, CQE_DW3, SQE_BYTES } from '../../../../assembly/nvme.js'
import { this_cpu, blk_mq_quiesce_queue } from '../../../block/blk-mq.js'
import type { blk_mq_tag_set, planned_memory } from '../../../block/blk-mq-init.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { irq_block, type pci_dev, pci_free_irq, pci_request_irq } from '../../../kernel/pci.js'
import type { mutex } from '../../../kernel/mutex.js'
import type { completion } from '../../../kernel/completion.js'
import type { timer_list } from '../../../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import { ctrl_log, nvme_submit_sync_cmd } from './core-cmd.js'
import { nvme_complete_async_event } from './core-event.js'
import {
  ADMIN_TIMEOUT_S,
  NVME_IO_TIMEOUT_S,
  NVME_QUIRK_MEDIUM_PRIO_SQ,
  NVME_REG_DBS,
  type nvme_core,
  type nvme_ctrl,
  nvme_admin_async_event,
  nvme_admin_create_cq,
  nvme_admin_create_sq,
  nvme_admin_delete_cq,
  nvme_admin_delete_sq,
} from './nvme.js'

/** Where the blocks of a queue are. */
export interface nvme_queue_memory {
  readonly nq: number
  readonly sq: number
  readonly cq: number
  /** Entries that there is room for. */
  readonly entries: number
  readonly prp: number
  readonly prpLinks: number
  readonly nrPrp: number
}

/** Of Linux 5.0: with queues for writes, those that are over are for reads, and one is. */
export function nvme_calc_irq_sets(
  write_queues: number,
  irqs: number,
): [rest: number, read: number] {
  if (irqs <= 1 || write_queues === 0) return [irqs, 0]
  const read = write_queues >= irqs ? 1 : irqs - write_queues
  return [irqs - read, read]
}

/** What the machine planned for one controller. */
export interface nvme_memory {
  /** BAR 0 in the shared memory: doorbells are written there straight. */
  readonly bar: number
  /** By queue identifier. */
  readonly queues: readonly nvme_queue_memory[]
  /** The first namespace's queue and the tags of the I/O queues. */
  readonly planned: planned_memory
  /** BAR 2: the controller's memory buffer, as the host reaches it. */
  readonly cmb?: { readonly at: number; readonly bytes: number }
  /** I/O submission queues go there when they fit (use_cmb_sqs, on by default). */
  readonly use_cmb_sqs?: boolean
  /** Mebibytes of a host memory buffer at most (max_host_mem_size_mb). */
  readonly max_host_mem_mb?: number
  /** Queue pairs for writes alone, and queue pairs that are polled (write_queues, poll_queues of Linux 5.0). */
  readonly write_queues?: number
  readonly poll_queues?: number
  /** Entries of an I/O queue (io_queue_depth). */
  readonly io_queue_depth?: number
  /** sgl_threshold; bytes. */
  readonly sgl_threshold?: number
  /** nvme_io_timeout, admin_timeout; seconds. */
  readonly io_timeout?: number
  readonly admin_timeout?: number
}

/** struct nvme_queue. */
export interface nvme_queue {
  readonly dev: nvme_dev
  readonly qid: number
  /** Its block (NQ_*). */
  readonly at: number
  readonly memory: nvme_queue_memory
  /** Where the commands are: memory of the host, or the controller's. */
  readonly sq: number
  q_depth: number
  /** -1 = suspended; 0 when it is polled. */
  cq_vector: number
  /** It has no interrupt (NVMEQ_POLLED). */
  polled: boolean
}

/** Queues of each class, in this order: all I/O or, with queues for reads, the rest of it; reads; polled I/O. */
export interface nvme_io_queues {
  readonly default: number
  readonly read: number
  readonly poll: number
}

/** struct nvme_dev. */
export interface nvme_dev {
  readonly nvme: nvme_core
  readonly pdev: pci_dev
  readonly memory: nvme_memory
  ctrl: nvme_ctrl
  readonly queues: nvme_queue[]
  tagset: blk_mq_tag_set | null
  admin_tagset: blk_mq_tag_set | null
  online_queues: number
  max_qid: number
  io_queues: nvme_io_queues
  num_vecs: number
  q_depth: number
  db_stride: number
  /** Memory of the controller for submission queues, 0 bytes = none. */
  cmb: { at: number; bytes: number }
  /** Bytes of BAR 0 that are mapped. */
  bar_mapped_size: number
  subsystem: boolean
  readonly remove_work: work_struct<nvme_dev>
  readonly shutdown_lock: mutex
  readonly ioq_wait: completion
  watchdog_timer: timer_list<nvme_dev> | null
  /** Shadow doorbells and event indexes; 0 = none. */
  dbbuf_dbs: number
  dbbuf_eis: number
  host_mem: { descs: number; at: number[]; size: number; chunks: number } | null
  /** Why the last reset failed, 0 = it did not. */
  last_error: number
  /** Of the core: its disks are looked at again when they are opened. */
  readonly nvme_revalidate: (q: request_queue) => Sleep<number>
}

/** What an admin command has, and whoever waits for several of them: jiffies. */
export function admin_timeout({ memory, nvme }: nvme_dev): number {
  return (memory.admin_timeout ?? ADMIN_TIMEOUT_S) * nvme.k.hz
}

/** What an I/O has, and a shutdown for those under way: jiffies. */
export function io_timeout({ memory, nvme }: nvme_dev): number {
  return (memory.io_timeout ?? NVME_IO_TIMEOUT_S) * nvme.k.hz
}

// ---------------------------------------------------------------- memory

/** The first unused byte behind the doorbells of so many I/O queues. */
export function db_bar_size(dev: nvme_dev, nr_io_queues: number): number {
  return NVME_REG_DBS + (nr_io_queues + 1) * 8 * dev.db_stride
}

/** The place of a submission queue in the controller's memory; 0 = it is in the host's. */
function nvme_alloc_sq_cmds(dev: nvme_dev, qid: number, depth: number): number {
  if (qid === 0 || dev.cmb.bytes === 0) return 0
  return dev.cmb.at + (qid - 1) * page_aligned(depth * SQE_BYTES)
}

const PAGE = 4096

function page_aligned(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE
}

/** A queue that would be shorter than this goes to the host's memory. */
const CMB_LEAST_DEPTH = 64

/**
 * Submission queues that the controller's memory holds: as deep as they can be.
 * @returns entries of each, 0 = not worth it
 */
export function nvme_cmb_qdepth(dev: nvme_dev, nr_io_queues: number): number {
  if (page_aligned(dev.q_depth * SQE_BYTES) * nr_io_queues <= dev.cmb.bytes) return dev.q_depth
  const each = Math.floor(dev.cmb.bytes / nr_io_queues / PAGE) * PAGE
  const depth = each / SQE_BYTES
  return depth < CMB_LEAST_DEPTH ? 0 : depth
}

/** Makes queue `qid` of so many entries. False: there is no memory. */
export function nvme_alloc_queue(dev: nvme_dev, qid: number, depth: number): boolean {
  const { k } = dev.nvme
  const t = enter(k, 'nvme_alloc_queue')
  if (dev.ctrl.queue_count > qid) return leave(k, t, true)
  const memory = dev.memory.queues[qid]
  if (memory === undefined || depth > memory.entries) return leave(k, t, false)
  const sq = nvme_alloc_sq_cmds(dev, qid, depth) || memory.sq
  dev.queues[qid] = {
    dev,
    qid,
    at: memory.nq,
    memory,
    sq,
    q_depth: depth,
    cq_vector: -1,
    polled: false,
  }
  write_queue(dev.queues[qid])
  dev.ctrl.queue_count++
  return leave(k, t, true)
}

/** The words that stay as they are while the queue exists. */
function write_queue(nvmeq: nvme_queue): void {
  const { at, qid, memory } = nvmeq
  const { blk } = nvmeq.dev.nvme
  const { view, core, cpus } = blk
  view.setU32(at + L.NQ_SQ, nvmeq.sq)
  view.setU32(at + L.NQ_CQ, memory.cq)
  view.setU32(at + L.NQ_DEPTH, nvmeq.q_depth)
  view.setU32(at + L.NQ_QID, qid)
  view.setU32(at + L.NQ_WAIT, L.WAIT_IRQ)
  view.setU32(at + L.NQ_SHARED, L.NQ_SUSPENDED | (cpus.length > 1 ? L.NQ_LOCKED : 0))
  core.nvme_init_prp_pool(at, memory.prp, memory.prpLinks, memory.nrPrp)
}

/** Queues from `lowest` on go, the last one first. */
export function nvme_free_queues(dev: nvme_dev, lowest: number): void {
  for (let i = dev.ctrl.queue_count - 1; i >= lowest; i--) {
    dev.ctrl.queue_count--
    trace_call(dev.nvme.k, 'nvme_free_queue')
    dev.queues.length = i
  }
}

// ---------------------------------------------------------------- doorbells

/** Slots of the shadow doorbells; the admin queue has none. */
export function nvme_dbbuf_init(nvmeq: nvme_queue): void {
  const { dev, qid, at } = nvmeq
  const { view } = dev.nvme.blk
  const step = 4 * dev.db_stride
  const slot = (base: number, i: number): number => (base && qid ? base + (2 * qid + i) * step : 0)
  view.setU32(at + L.NQ_SHADOW_SQ, slot(dev.dbbuf_dbs, 0))
  view.setU32(at + L.NQ_SHADOW_CQ, slot(dev.dbbuf_dbs, 1))
  view.setU32(at + L.NQ_EI_SQ, slot(dev.dbbuf_eis, 0))
  view.setU32(at + L.NQ_EI_CQ, slot(dev.dbbuf_eis, 1))
}

/** Tail, head and phase as after power-on, completion entries cleared. */
export function nvme_init_queue(nvmeq: nvme_queue): void {
  const { dev, qid, at, memory } = nvmeq
  const { k, blk } = dev.nvme
  const { view } = blk
  const t = enter(k, 'nvme_init_queue')
  const db = dev.memory.bar + NVME_REG_DBS + qid * 2 * 4 * dev.db_stride
  view.setU32(at + L.NQ_SQ_TAIL, 0)
  view.setU32(at + L.NQ_LAST_SQ_TAIL, 0)
  view.setU32(at + L.NQ_CQ_HEAD, 0)
  view.setU32(at + L.NQ_CQ_PHASE, 1)
  view.setU32(at + L.NQ_SQ_DB, db)
  view.setU32(at + L.NQ_CQ_DB, db + 4 * dev.db_stride)
  view.fill(memory.cq, nvmeq.q_depth * CQE_BYTES, 0)
  nvme_dbbuf_init(nvmeq)
  view.setU32(at + L.NQ_SGL_THRESHOLD, sgl_threshold(dev, qid))
  dev.online_queues++
  leave(k, t)
}

/** From how many bytes of a mean segment on this queue uses lists of segments; 0 = never. */
function sgl_threshold(dev: nvme_dev, qid: number): number {
  const supported = dev.nvme.era.sgl && (dev.ctrl.sgls & 3) !== 0
  return supported && qid !== 0 ? (dev.memory.sgl_threshold ?? 32768) : 0
}

// ---------------------------------------------------------------- interrupts

/** @returns 0 or -errno */
export function queue_request_irq(nvmeq: nvme_queue): number {
  const { pdev } = nvmeq.dev
  const { view } = nvmeq.dev.nvme.blk
  const error = nvmeq.polled ? 0 : pci_request_irq(pdev, nvmeq.cq_vector)
  if (error) return error
  view.setU32(nvmeq.at + L.NQ_WAIT, nvmeq.polled ? L.WAIT_POLL : L.WAIT_IRQ)
  view.setU32(nvmeq.at + L.NQ_IRQ, irq_block(pdev, nvmeq.cq_vector))
  set_suspended(nvmeq, false)
  return 0
}

function set_suspended(nvmeq: nvme_queue, on: boolean): void {
  const { view } = nvmeq.dev.nvme.blk
  const word = nvmeq.at + L.NQ_SHARED
  const flags = view.u32(word)
  view.setU32(word, on ? flags | L.NQ_SUSPENDED : flags & ~L.NQ_SUSPENDED)
}

/** Takes no more commands, and no interrupts. True: it was suspended already. */
export function* nvme_suspend_queue(nvmeq: nvme_queue): Sleep<boolean> {
  const { dev } = nvmeq
  if (nvmeq.cq_vector === -1) return true
  const vector = nvmeq.cq_vector
  dev.online_queues--
  nvmeq.cq_vector = -1
  set_suspended(nvmeq, true)
  if (nvmeq.qid === 0 && dev.ctrl.admin_q) yield* blk_mq_quiesce_queue(dev.ctrl.admin_q)
  if (!nvmeq.polled) pci_free_irq(dev.pdev, vector)
  return false
}

/** The interrupt of the admin queue goes while vectors are given out anew. */
export function free_admin_irq(nvmeq: nvme_queue): void {
  pci_free_irq(nvmeq.dev.pdev, 0)
  set_suspended(nvmeq, true)
}

// ---------------------------------------------------------------- completion queues

/** Looks at a completion queue, outside of its interrupt: how many entries there were. */
export function nvme_process_cq(nvmeq: nvme_queue): number {
  const { core } = nvmeq.dev.nvme.blk
  return core.nvme_process_cq(this_cpu(nvmeq.dev.nvme.blk), nvmeq.at, 0xffffffff)
}

/** What is left in a completion queue is taken before the queue goes. */
export function nvme_drain_cq(nvmeq: nvme_queue): void {
  const { k } = nvmeq.dev.nvme
  if (nvmeq.dev.nvme.blk.core.nvme_cqe_pending(nvmeq.at)) nvme_process_cq(nvmeq)
  else trace_call(k, 'nvme_complete_cqes')
}

/**
 * An entry whose identifier names no request that is in flight.
 * @returns false when it means nothing
 */
export function nvme_handle_cqe(nvmeq: nvme_queue, cqe: number): boolean {
  const { dev, qid, q_depth } = nvmeq
  const { view } = dev.nvme.blk
  const dw3 = view.u32(cqe + CQE_DW3)
  const command_id = dw3 & 0xffff
  if (command_id >= q_depth) {
    ctrl_log(dev.ctrl, 'warn', `invalid id ${command_id} completed on queue ${qid}`)
    return false
  }
  const { aq_depth, nr_aen } = dev.nvme.era
  if (qid !== 0 || command_id < aq_depth - nr_aen) return false
  nvme_complete_async_event(dev.ctrl, dw3 >>> 17, view.u32(cqe + CQE_DW0))
  return true
}

// ---------------------------------------------------------------- the controller's side

function* adapter_delete_queue(dev: nvme_dev, opcode: number, id: number): Sleep<number> {
  return yield* nvme_submit_sync_cmd(dev.ctrl.admin_q!, { opcode, cdw10: id })
}

export function adapter_delete_cq(dev: nvme_dev, cqid: number): Sleep<number> {
  return adapter_delete_queue(dev, nvme_admin_delete_cq, cqid)
}

export function adapter_delete_sq(dev: nvme_dev, sqid: number): Sleep<number> {
  return adapter_delete_queue(dev, nvme_admin_delete_sq, sqid)
}

const NVME_QUEUE_PHYS_CONTIG = 1
const NVME_CQ_IRQ_ENABLED = 2
const NVME_SQ_PRIO_MEDIUM = 4

function* adapter_alloc_cq(dev: nvme_dev, nvmeq: nvme_queue, vector: number): Sleep<number> {
  const size = nvmeq.q_depth - 1
  const flags = NVME_QUEUE_PHYS_CONTIG | (nvmeq.polled ? 0 : NVME_CQ_IRQ_ENABLED)
  return yield* nvme_submit_sync_cmd(dev.ctrl.admin_q!, {
    opcode: nvme_admin_create_cq,
    prp1: nvmeq.memory.cq,
    cdw10: (nvmeq.qid | (size << 16)) >>> 0,
    cdw11: (flags | (vector << 16)) >>> 0,
  })
}

function* adapter_alloc_sq(dev: nvme_dev, nvmeq: nvme_queue): Sleep<number> {
  const size = nvmeq.q_depth - 1
  const medium = dev.nvme.era.medium_prio_sq || (dev.ctrl.quirks & NVME_QUIRK_MEDIUM_PRIO_SQ) !== 0
  const flags = NVME_QUEUE_PHYS_CONTIG | (medium ? NVME_SQ_PRIO_MEDIUM : 0)
  return yield* nvme_submit_sync_cmd(dev.ctrl.admin_q!, {
    opcode: nvme_admin_create_sq,
    prp1: nvmeq.sq,
    cdw10: (nvmeq.qid | (size << 16)) >>> 0,
    cdw11: (flags | (nvmeq.qid << 16)) >>> 0,
  })
}

/** @returns 0, -errno, or the status of the command that the controller refused */
export function* nvme_create_queue(nvmeq: nvme_queue, polled: boolean): Sleep<number> {
  const { dev, qid } = nvmeq
  const { k, era } = dev.nvme
  const t = enter(k, 'nvme_create_queue')
  nvmeq.polled = polled
  const shared = dev.num_vecs === 1 || polled
  const vector = shared ? 0 : era.shares_admin_vector ? qid - 1 : qid
  let result = yield* adapter_alloc_cq(dev, nvmeq, vector)
  if (result) return leave(k, t, result)
  result = yield* adapter_alloc_sq(dev, nvmeq)
  if (result) {
    if (result > 0) yield* adapter_delete_cq(dev, qid)
    return leave(k, t, result)
  }
  nvmeq.cq_vector = vector
  nvme_init_queue(nvmeq)
  const error = queue_request_irq(nvmeq)
  if (error) {
    nvmeq.cq_vector = -1
    dev.online_queues--
    yield* adapter_delete_sq(dev, qid)
    yield* adapter_delete_cq(dev, qid)
    return leave(k, t, error)
  }
  return leave(k, t, 0)
}

// ---------------------------------------------------------------- events

/** Writes an Asynchronous Event Request into the admin queue: it has no request and no tag. */
export function nvme_pci_submit_async_event(dev: nvme_dev): void {
  const { k } = dev.nvme
  const t = enter(k, 'nvme_pci_submit_async_event')
  const nvmeq = dev.queues[0]
  if (nvmeq && nvmeq.cq_vector >= 0) write_event_request(dev, nvmeq)
  leave(k, t)
}

function write_event_request(dev: nvme_dev, nvmeq: nvme_queue): void {
  const { k, blk, era } = dev.nvme
  const { view, core } = blk
  const tail = view.u32(nvmeq.at + L.NQ_SQ_TAIL)
  const sqe = nvmeq.memory.sq + tail * SQE_BYTES
  view.fill(sqe, SQE_BYTES, 0)
  view.setU32(sqe, (nvme_admin_async_event | ((era.aq_depth - era.nr_aen) << 16)) >>> 0)
  trace_call(k, 'nvme_submit_cmd')
  view.setU32(nvmeq.at + L.NQ_SQ_TAIL, (tail + 1) % nvmeq.q_depth)
  core.nvme_write_sq_db(this_cpu(blk), nvmeq.at)
}

/** The queue that a request goes by. */
export function queue_of(dev: nvme_dev, q: request_queue, rq: number): nvme_queue {
  const { view } = dev.nvme.blk
  if (q === dev.ctrl.admin_q) return dev.queues[0]!
  const nq = view.u32(view.u32(rq + L.RQ_HCTX) + L.HC_DRIVER_DATA)
  return dev.queues.find(one => one.at === nq)!
}
