// Open-channel devices behind the NVMe driver: drivers/nvme/host/lightnvm.c of Linux 4.19.
//
//   nvme_nvm_ns_supported   the controller is one of those (quirk), and the namespace says so (vs[0])
//   nvme_nvm_register       ... becomes a device of the LightNVM subsystem
//   nvme_nvm_submit_io      a command of a target: a request that carries it, its pages and its lists, on the namespace's queue
//   nvme_nvm_end_io         dwords 0 and 1 are the map of failed addresses
//
// Requests are inserted without FAILFAST, so that the core retries a status without Do Not Retry. Where Linux sleeps for a
// tag, or because the queue is frozen, a command waits here until another one has ended, or the queue is open again.
//
// Vector ioctls of programs are in lightnvm-ioctl.ts.

import {
  BIO_END_IO,
  BIO_NEXT,
  CPU_SUBMITTED,
  END_IO_HOST,
  HC_TAGS,
  FROZEN_DYING,
  HC_VSLOTS,
  Q_FROZEN,
  Q_VECTOR_WAITS,
  RQ_BIO,
  RQ_BIOTAIL,
  RQ_CMD_FLAGS,
  RQ_DATA_LEN,
  RQ_NR_SEGS,
  RQ_RESULT,
  RQ_RESULT1,
  RQ_RETRIES,
  RQ_RETRIES_MASK,
  RQ_SQE,
  TAGS_NR,
  VS_SIZE,
} from '../../../../assembly/layout.js'
import { REQ_FAILFAST_DRIVER } from '../../../../assembly/nvme.js'
import { bio_of_pages, bio_put_pages } from '../../../block/bio.js'
import {
  blk_execute_rq,
  blk_execute_rq_nowait,
  blk_mq_free_request,
} from '../../../block/blk-exec.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, EIO, EWOULDBLOCK } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event } from '../../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../../kernel/workqueue-queue.js'
import { work_struct } from '../../../kernel/workqueue-structs.js'
import { type lightnvm, nvm_end_io, nvm_register, nvm_unregister } from '../../lightnvm/core.js'
import {
  DMA_BLOCK_BYTES,
  DMA_PPA_OFFSET,
  NVM_L2P_NONE,
  NVM_OP_ERASE,
  NVM_OP_HBWRITE,
  nvm_dev,
  type nvm_dev_ops,
  type nvm_memory,
  type nvm_rq,
  SECTOR_BYTES,
} from '../../lightnvm/lightnvm.js'
import {
  copy_of,
  nvme_alloc_request,
  nvme_alloc_request_nowait,
  nvme_free_request,
  nvme_get_log,
  nvme_req_end,
  nvme_submit_sync_cmd,
  with_buffer,
} from './core-cmd.js'
import { NVME_NVM_IDENTITY_BYTES, nvme_nvm_read_identity } from './lightnvm-geo.js'
import { nvme_nvm_ioctl } from './lightnvm-ioctl.js'
import {
  NVME_QUIRK_LIGHTNVM,
  type nvme_command,
  type nvme_ns,
  type nvme_nvm_hooks,
} from './nvme.js'

const nvme_nvm_admin_identity = 0xe2
const nvme_nvm_admin_get_l2p_tbl = 0xea
const nvme_nvm_admin_set_bb_tbl = 0xf1
const nvme_nvm_admin_get_bb_tbl = 0xf2
const NVME_NVM_LOG_REPORT_CHUNK = 0xca
const CHUNK_DESCRIPTOR = 32
const BB_HEADER = 64
/** Bytes of one Get Log Page for chunks, and of one answer about the device's table. */
const MAX_LOG_BYTES = 262144

/** What of a device belongs to its namespace. */
interface ns_data {
  readonly ns: nvme_ns
  /** Commands that found no tag. */
  readonly waiting: nvm_rq[]
  /** A work waits until the queue is not frozen any more. */
  frozen: boolean
  /** Blocks of the DMA pool. */
  readonly pool: number[]
}

const data_of = (dev: nvm_dev): ns_data => dev.private_data as ns_data
const TWO_32 = 2 ** 32
const high = (value: number): number => Math.floor(value / TWO_32)
const low = (value: number): number => value - high(value) * TWO_32

// ---------------------------------------------------------------- commands

/** The command of a request. Addresses beyond the first go to memory. */
function nvme_nvm_rqtocmd(dev: nvm_dev, rqd: nvm_rq): nvme_command {
  const { ns } = data_of(dev)
  let spba = rqd.ppa_list[0]
  if (rqd.nr_ppas > 1) {
    spba = rqd.dma + DMA_PPA_OFFSET
    const { words } = dev.memory
    for (let i = 0; i < rqd.nr_ppas; i++) {
      words[(spba >> 2) + 2 * i] = low(rqd.ppa_list[i])
      words[(spba >> 2) + 2 * i + 1] = high(rqd.ppa_list[i])
    }
  }
  return {
    opcode: rqd.opcode,
    nsid: ns.ns_id,
    cdw10: low(spba),
    cdw11: high(spba),
    cdw12: (rqd.nr_ppas - 1) | ((rqd.flags & 0xffff) << 16),
    metadata: rqd.opcode === NVM_OP_ERASE ? 0 : rqd.dma,
    ...(rqd.opcode === NVM_OP_HBWRITE ? { cdw14: low(rqd.slba), cdw15: high(rqd.slba) } : null),
  }
}

/** Hangs a request's pages on it: a bio for each run of neighbours. */
function map_pages(q: request_queue, rq: number, rqd: nvm_rq): void {
  const { blk } = q
  const { k, view } = blk
  const t = enter(k, 'blk_init_request_from_bio')
  trace_call(k, 'blk_recount_segments')
  const opf = view.u32(rq + RQ_CMD_FLAGS)
  const { nr_ppas, pages } = rqd
  let last = 0
  let segments = 0
  for (let i = 0; i < nr_ppas; ) {
    let n = 1
    while (i + n < nr_ppas && pages[i + n] === pages[i] + n * SECTOR_BYTES) n++
    const bio = bio_of_pages(blk, opf, pages[i], n * SECTOR_BYTES)
    if (last === 0) rqd.bio = bio
    else view.setU32(last + BIO_NEXT, bio)
    last = bio
    segments++
    i += n
  }
  const { bio_end_io } = rqd
  if (bio_end_io !== null) {
    view.setU32(last + BIO_END_IO, END_IO_HOST)
    blk.bios.end_io.set(last, bio_end_io)
  }
  const submitted = this_cpu(blk) + CPU_SUBMITTED
  view.setU64(submitted, view.u64(submitted) + segments)
  view.setU32(rq + RQ_BIO, rqd.bio)
  view.setU32(rq + RQ_BIOTAIL, last)
  view.setU32(rq + RQ_DATA_LEN, rqd.nr_ppas * SECTOR_BYTES)
  view.setU32(rq + RQ_NR_SEGS, segments)
  leave(k, t)
}

/** What a fresh request still lacks. */
function dress(q: request_queue, rq: number, rqd: nvm_rq): void {
  const { view } = q.blk
  view.setU32(rq + RQ_CMD_FLAGS, view.u32(rq + RQ_CMD_FLAGS) & ~REQ_FAILFAST_DRIVER)
  if (rqd.opcode !== NVM_OP_ERASE) map_pages(q, rq, rqd)
}

function take_result(q: request_queue, rq: number, rqd: nvm_rq): void {
  const { view } = q.blk
  bio_put_pages(q.blk, rqd.bio)
  rqd.bio = 0
  rqd.ppa_status_low = view.u32(rq + RQ_RESULT)
  rqd.ppa_status_high = view.u32(rq + RQ_RESULT1)
  rqd.again = (view.u32(rq + RQ_RETRIES) & RQ_RETRIES_MASK) > 0
  const end = nvme_req_end(view, rq)
  rqd.error = end < 0 ? -end : end
}

/** Commands that wait for a tag, as the core sees them. */
function note_waiting(q: request_queue, waiting: readonly nvm_rq[]): void {
  q.blk.view.setU32(q.at + Q_VECTOR_WAITS, waiting.length)
}

/** The queue of a device's namespace. */
export function nvme_nvm_queue(dev: nvm_dev): number {
  return data_of(dev).ns.queue.at
}

/** A tag is free again. */
export function nvme_nvm_next(dev: nvm_dev): void {
  const { ns, waiting } = data_of(dev)
  const [next] = waiting
  if (next === undefined) return
  const ret = try_submit(dev, next)
  if (ret === -EWOULDBLOCK) return
  waiting.shift()
  note_waiting(ns.queue, waiting)
  if (ret === 0) return
  next.error = EIO
  nvm_end_io(next)
}

/** The queue is frozen, as during a reset: what came meanwhile goes on when it is not, or is dying. */
function* thawed(work: work_struct<nvm_dev>): Sleep<void> {
  const dev = work.container
  const data = data_of(dev)
  const q = data.ns.queue
  const shut = (): number => q.blk.view.load(q.at + Q_FROZEN)
  yield* wait_event(q.mq_freeze_wq, () => shut() === 0 || (shut() & FROZEN_DYING) !== 0)
  data.frozen = false
  for (let left = data.waiting.length; left > 0; left--) nvme_nvm_next(dev)
}

function wait_for_thaw(dev: nvm_dev): void {
  const data = data_of(dev)
  const { blk, at } = data.ns.queue
  if (data.frozen || blk.view.load(at + Q_FROZEN) === 0) return
  data.frozen = true
  const work = new work_struct<nvm_dev>(blk.k, dev)
  INIT_WORK(work, thawed)
  queue_work(blk.k.system_unbound_wq, work)
}

/** A command that the core sent has ended, and needs more than it can do: `rqd` is made of it. */
export function nvme_nvm_end_vector(dev: nvm_dev, rq: number, rqd: nvm_rq): void {
  const q = data_of(dev).ns.queue
  take_result(q, rq, rqd)
  nvm_end_io(rqd)
  q.blk.view.setU32(rq + RQ_SQE, 0)
  blk_mq_free_request(q, rq)
  nvme_nvm_next(dev)
}

function nvme_nvm_end_io(dev: nvm_dev, q: request_queue, rq: number, rqd: nvm_rq): void {
  const { k } = q.blk
  const t = enter(k, 'nvme_nvm_end_io')
  take_result(q, rq, rqd)
  nvm_end_io(rqd)
  nvme_free_request(q, rq)
  leave(k, t)
  nvme_nvm_next(dev)
}

/** Sends a command. 0, -EWOULDBLOCK when there is no tag or the queue is frozen, or why it cannot be sent. */
function try_submit(dev: nvm_dev, rqd: nvm_rq): number {
  const q = data_of(dev).ns.queue
  const { k } = q.blk
  const t = enter(k, 'nvme_nvm_submit_io')
  const a = enter(k, 'nvme_nvm_alloc_request')
  const rq = nvme_alloc_request_nowait(q, nvme_nvm_rqtocmd(dev, rqd))
  if (rq > 0) dress(q, rq, rqd)
  leave(k, a)
  if (rq < 0) return leave(k, t, rq)
  blk_execute_rq_nowait(q, rq, false, () => nvme_nvm_end_io(dev, q, rq, rqd))
  return leave(k, t, 0)
}

/** Nobody overtakes those who wait: writes of a chunk go in order. */
function nvme_nvm_submit_io(dev: nvm_dev, rqd: nvm_rq): number {
  const { ns, waiting } = data_of(dev)
  const ret = waiting.length > 0 ? -EWOULDBLOCK : try_submit(dev, rqd)
  if (ret !== -EWOULDBLOCK) return ret
  waiting.push(rqd)
  note_waiting(ns.queue, waiting)
  wait_for_thaw(dev)
  return 0
}

function* nvme_nvm_submit_io_sync(dev: nvm_dev, rqd: nvm_rq): Sleep<number> {
  const q = data_of(dev).ns.queue
  const { k } = q.blk
  const t = enter(k, 'nvme_nvm_submit_io_sync')
  const a = enter(k, 'nvme_nvm_alloc_request')
  const rq = yield* nvme_alloc_request(q, nvme_nvm_rqtocmd(dev, rqd))
  if (rq > 0) dress(q, rq, rqd)
  leave(k, a)
  if (rq < 0) return leave(k, t, rq)
  yield* blk_execute_rq(q, rq, false)
  take_result(q, rq, rqd)
  nvme_free_request(q, rq)
  return leave(k, t, 0)
}

// ---------------------------------------------------------------- what the subsystem asks for

function* nvme_nvm_identity(dev: nvm_dev): Sleep<number> {
  const { ns } = data_of(dev)
  const t = enter(dev.k, 'nvme_nvm_identity')
  const error = yield* with_buffer(ns.ctrl, NVME_NVM_IDENTITY_BYTES, function* (at) {
    const cmd = { opcode: nvme_nvm_admin_identity, nsid: ns.ns_id }
    if ((yield* nvme_submit_sync_cmd(ns.ctrl.admin_q!, cmd, at, NVME_NVM_IDENTITY_BYTES)) !== 0)
      return -EIO
    const bytes = copy_of(ns.ctrl, at, NVME_NVM_IDENTITY_BYTES)
    const geo = nvme_nvm_read_identity(bytes, 0, 0)
    if (typeof geo === 'number') return geo
    dev.geo = geo
    return 0
  })
  return leave(dev.k, t, error)
}

function* nvme_nvm_get_bb_tbl(dev: nvm_dev, ppa: number): Sleep<Uint8Array | number> {
  const { ns } = data_of(dev)
  const { num_chk, num_pln } = dev.geo!
  const entries = num_chk * num_pln
  const [cdw10, cdw11] = [low(ppa), high(ppa)]
  let table: Uint8Array | null = null
  const error = yield* with_buffer(ns.ctrl, BB_HEADER + entries, function* (at) {
    const cmd = { opcode: nvme_nvm_admin_get_bb_tbl, nsid: ns.ns_id, cdw10, cdw11 }
    if ((yield* nvme_submit_sync_cmd(ns.ctrl.admin_q!, cmd, at, BB_HEADER + entries)) !== 0)
      return -EIO
    const { view } = ns.ctrl.blk
    const magic = view.u32(at) === 0x544c4242 && (view.u32(at + 4) & 0xffff) === 1
    if (!magic || view.u32(at + 12) !== entries) return -EINVAL
    table = copy_of(ns.ctrl, at + BB_HEADER, entries)
    return 0
  })
  return table ?? error
}

function* nvme_nvm_set_bb_tbl(dev: nvm_dev, ppas: readonly number[], type: number): Sleep<number> {
  const { ns } = data_of(dev)
  const { blk } = ns.ctrl
  return yield* with_buffer(ns.ctrl, 8 * ppas.length, function* (at) {
    for (const [i, ppa] of ppas.entries()) blk.view.setU64(at + 8 * i, ppa)
    const spba = ppas.length === 1 ? ppas[0] : at
    const [cdw10, cdw11] = [low(spba), high(spba)]
    const cdw12 = (ppas.length - 1) | (type << 16)
    const cmd = { opcode: nvme_nvm_admin_set_bb_tbl, nsid: ns.ns_id, cdw10, cdw11, cdw12 }
    return (yield* nvme_submit_sync_cmd(ns.ctrl.admin_q!, cmd)) === 0 ? 0 : -EIO
  })
}

function get(address: number, field: { offset: number; len: number }): number {
  return Math.floor(address / 2 ** field.offset) % 2 ** field.len
}

function* nvme_nvm_get_chk_meta(dev: nvm_dev, ppa: number, n: number): Sleep<Uint8Array | number> {
  const { ns } = data_of(dev)
  const { num_lun, num_chk, addrf } = dev.geo!
  const t = enter(dev.k, 'nvme_nvm_get_chk_meta')
  const pu = get(ppa, addrf.ch) * num_lun + get(ppa, addrf.lun)
  const first = (pu * num_chk + get(ppa, addrf.chk)) * CHUNK_DESCRIPTOR
  const all = new Uint8Array(n * CHUNK_DESCRIPTOR)
  let error = 0
  for (let done = 0; done < all.length && error === 0; ) {
    const bytes = Math.min(all.length - done, MAX_LOG_BYTES)
    error = yield* with_buffer(ns.ctrl, bytes, function* (at) {
      const offset = first + done
      const status = yield* nvme_get_log(ns.ctrl, NVME_NVM_LOG_REPORT_CHUNK, 0, at, bytes, offset)
      if (status === 0) all.set(copy_of(ns.ctrl, at, bytes), done)
      return status
    })
    done += bytes
  }
  return leave(dev.k, t, error === 0 ? all : -EIO)
}

/** Reads the device's table, as many entries at once as an answer has room for. */
function* nvme_nvm_get_l2p_tbl(
  dev: nvm_dev,
  slba: number,
  n: number,
): Sleep<Float64Array | number> {
  const { ns } = data_of(dev)
  const { view } = ns.ctrl.blk
  const t = enter(dev.k, 'nvme_nvm_get_l2p_tbl')
  const table = new Float64Array(n)
  let error = 0
  for (let done = 0; done < n && error === 0; ) {
    const count = Math.min(n - done, MAX_LOG_BYTES / 8)
    const from = slba + done
    error = yield* with_buffer(ns.ctrl, 8 * count, function* (at) {
      const where = { cdw10: low(from), cdw11: high(from), cdw12: count }
      const cmd = { opcode: nvme_nvm_admin_get_l2p_tbl, nsid: ns.ns_id, ...where }
      if ((yield* nvme_submit_sync_cmd(ns.ctrl.admin_q!, cmd, at, 8 * count)) !== 0) return -EIO
      for (let i = 0; i < count; i++) {
        const none = view.u32(at + 8 * i + 4) === 0xffffffff
        table[done + i] = none ? NVM_L2P_NONE : view.u64(at + 8 * i)
      }
      return 0
    })
    done += count
  }
  return leave(dev.k, t, error === 0 ? table : error)
}

function nvme_nvm_destroy_dma_pool(dev: nvm_dev): void {
  const t = enter(dev.k, 'nvme_nvm_destroy_dma_pool')
  for (const at of data_of(dev).pool.splice(0)) dev.memory.free(at, DMA_BLOCK_BYTES)
  leave(dev.k, t)
}

function nvme_nvm_dev_dma_alloc(dev: nvm_dev): number {
  const t = enter(dev.k, 'nvme_nvm_dev_dma_alloc')
  return leave(dev.k, t, data_of(dev).pool.pop() ?? dev.memory.alloc(DMA_BLOCK_BYTES))
}

function nvme_nvm_dev_dma_free(dev: nvm_dev, at: number): void {
  const t = enter(dev.k, 'nvme_nvm_dev_dma_free')
  data_of(dev).pool.push(at)
  leave(dev.k, t)
}

/** Memory for a command of the core behind each tag of the namespace's queue. Null: there is not enough. */
function core_queue(dev: nvm_dev): { q: number; nsid: number } | null {
  const { ns } = data_of(dev)
  const { core, mem, view } = ns.queue.blk
  if (core.pblk_in_core() === 0) return null
  for (const hctx of ns.queue.queue_hw_ctx) {
    if (view.u32(hctx.at + HC_VSLOTS) !== 0) continue
    const slots = mem.kzalloc(view.u32(view.u32(hctx.at + HC_TAGS) + TAGS_NR) * VS_SIZE)
    if (slots === 0) return null
    view.setU32(hctx.at + HC_VSLOTS, slots)
  }
  return { q: ns.queue.at, nsid: ns.ns_id }
}

/** The device goes, and with it that memory. */
function free_core_queue(dev: nvm_dev): void {
  const { queue } = data_of(dev).ns
  const { mem, view } = queue.blk
  for (const hctx of queue.queue_hw_ctx) {
    mem.kfree(view.u32(hctx.at + HC_VSLOTS))
    view.setU32(hctx.at + HC_VSLOTS, 0)
  }
}

const nvme_nvm_dev_ops: nvm_dev_ops = {
  identity: nvme_nvm_identity,
  get_bb_tbl: nvme_nvm_get_bb_tbl,
  set_bb_tbl: nvme_nvm_set_bb_tbl,
  get_chk_meta: nvme_nvm_get_chk_meta,
  get_l2p_tbl: nvme_nvm_get_l2p_tbl,
  submit_io: nvme_nvm_submit_io,
  submit_io_sync: nvme_nvm_submit_io_sync,
  create_dma_pool(dev) {
    trace_call(dev.k, 'nvme_nvm_create_dma_pool')
    return true
  },
  destroy_dma_pool: nvme_nvm_destroy_dma_pool,
  dev_dma_alloc: nvme_nvm_dev_dma_alloc,
  dev_dma_free: nvme_nvm_dev_dma_free,
  core_queue,
}

// ---------------------------------------------------------------- life of a device

/** Attributes of the directory <disk>/lightnvm, by revision. */
export function nvme_nvm_attributes(dev: nvm_dev): Record<string, string> {
  const geo = dev.geo!
  const n = (value: number): string => String(value)
  const common = {
    version: geo.version === 20 ? '2.0' : '1',
    capabilities: n(geo.version === 20 ? geo.mccap : geo.cap),
    read_typ: n(geo.trdt),
    read_max: n(geo.trdm),
  }
  if (geo.version === 20)
    return {
      ...common,
      groups: n(geo.num_ch),
      punits: n(geo.num_lun),
      chunks: n(geo.num_chk),
      clba: n(geo.clba),
      ws_min: n(geo.ws_min),
      ws_opt: n(geo.ws_opt),
      maxoc: n(geo.maxoc),
      maxocpu: n(geo.maxocpu),
      mw_cunits: n(geo.mw_cunits),
      write_typ: n(geo.tprt),
      write_max: n(geo.tprm),
      reset_typ: n(geo.tbet),
      reset_max: n(geo.tbem),
    }
  const { ch, lun, pln, chk, pg, sec } = geo.addrf
  const byte = (value: number): string => value.toString(16).padStart(2, '0')
  const format = [ch, lun, pln, chk, pg, sec].map(f => byte(f.offset) + byte(f.len)).join('')
  const word = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`
  return {
    ...common,
    vendor_opcode: n(geo.vmnt),
    device_mode: n(geo.dom),
    media_manager: 'gennvm',
    ppa_format: `0x${format}`,
    media_type: n(geo.mtype),
    flash_media_type: n(geo.fmtype),
    num_channels: n(geo.num_ch),
    num_luns: n(geo.num_lun),
    num_planes: n(geo.num_pln),
    num_blocks: n(geo.num_chk),
    num_pages: n(geo.num_pg),
    page_size: n(geo.fpg_sz),
    hw_sector_size: n(geo.csecs),
    oob_sector_size: n(geo.sos),
    prog_typ: n(geo.tprt),
    prog_max: n(geo.tprm),
    erase_typ: n(geo.tbet),
    erase_max: n(geo.tbem),
    multiplane_modes: word(geo.mpos),
    media_capabilities: word(geo.mccap),
    max_phys_secs: '64',
  }
}

/** LightNVM's place in the NVMe driver of one kernel. */
export function nvme_nvm_init(lnvm: lightnvm, memory: nvm_memory): nvme_nvm_hooks {
  const { k } = lnvm
  return {
    nvme_nvm_ns_supported(ns) {
      trace_call(k, 'nvme_nvm_ns_supported')
      const supported = (ns.ctrl.quirks & NVME_QUIRK_LIGHTNVM) !== 0 && ns.id?.[384] === 1
      return supported
    },
    *nvme_nvm_register(ns, disk_name) {
      const t = enter(k, 'nvme_nvm_register')
      trace_call(k, 'nvm_alloc_dev')
      const dev = new nvm_dev(k, disk_name, nvme_nvm_dev_ops, memory, {
        ns,
        waiting: [],
        frozen: false,
        pool: [],
      })
      const error = yield* nvm_register(lnvm, dev)
      if (error === 0) ns.ndev = dev
      return leave(k, t, error)
    },
    nvme_nvm_register_sysfs(ns) {
      if (ns.ndev !== null) trace_call(k, 'nvme_nvm_register_sysfs')
    },
    nvme_nvm_unregister_sysfs(ns) {
      if (ns.ndev !== null) trace_call(k, 'nvme_nvm_unregister_sysfs')
    },
    *nvme_nvm_unregister(ns) {
      const t = enter(k, 'nvme_nvm_unregister')
      yield* nvm_unregister(lnvm, ns.ndev as nvm_dev)
      free_core_queue(ns.ndev as nvm_dev)
      ns.ndev = null
      leave(k, t)
    },
    nvme_nvm_update_nvm_info(ns) {
      trace_call(k, 'nvme_nvm_update_nvm_info')
      const dev = ns.ndev as nvm_dev
      if (dev.geo?.version === 20) dev.geo = { ...dev.geo, csecs: 2 ** ns.lba_shift, sos: ns.ms }
    },
    nvme_nvm_ioctl,
  }
}
