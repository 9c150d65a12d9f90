// How the PCIe driver brings a controller up, the first time and after every reset: nvme_reset_work of
// drivers/nvme/host/pci.c, Linux 4.19.
//
//    1  the state must be RESETTING                       9  nvme_init_identify
//    2  CC.EN: nvme_dev_disable                          10  (Opal: not modelled)
//    3  shutdown_lock                                    11  shadow doorbells, if the controller has them
//    4  nvme_pci_enable                                  12  host memory buffer, if it wants one
//    5  nvme_pci_configure_admin_queue                   13  nvme_setup_io_queues
//    6  nvme_alloc_admin_tags                            14  no I/O queues: an admin queue alone; else queues run, the freeze
//    7  limits; unlock                                       is waited for, nvme_dev_add, thaw
//    8  CONNECTING                                       15  LIVE (or ADMIN_ONLY), 16 nvme_start_ctrl
//
// Each stage goes on or ends in nvme_remove_dead_ctrl. What 4.9 does otherwise is in the era's table.

import {
  DRIVER_NVME,
  HC_DRIVER_DATA,
  NQ_HCTX,
  NQ_LOCKED,
  NQ_SHARED,
  NQ_TAGS,
} from '../../../../assembly/layout.js'
import { BLK_MQ_F_NO_SCHED } from '../../../../assembly/nvme.js'
import {
  blk_mq_alloc_tag_set,
  blk_mq_free_tag_set,
  blk_mq_init_queue,
  blk_mq_update_nr_hw_queues,
  type blk_mq_tag_set,
} from '../../../block/blk-mq-init.js'
import { blk_mq_start_stopped_hw_queues, blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import { blk_mq_map_queues } from '../../../block/blk-mq-cpumap.js'
import type { blk_mq_hw_ctx, blk_mq_ops } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, EIO, ENODEV, ENOMEM } from '../../../kernel/errno.js'
import { mutex_lock, mutex_unlock } from '../../../kernel/mutex.js'
import {
  lo_hi_readq,
  lo_hi_writeq,
  type pci_dev,
  pci_alloc_irq_vectors_affinity,
  pci_enable_device_mem,
  pci_free_irq_vectors,
  pci_irq_get_affinity,
  pci_set_master,
  readl,
  writel,
} from '../../../kernel/pci.js'
import { round_jiffies } from '../../../kernel/round-jiffies.js'
import { mod_timer } from '../../../kernel/timer.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import { nvme_complete_rq } from './core.js'
import { ctrl_log, nvme_set_queue_count } from './core-cmd.js'
import {
  nvme_disable_ctrl,
  nvme_enable_ctrl,
  nvme_kill_queues,
  nvme_start_ctrl,
  nvme_start_queues,
  nvme_unfreeze,
  nvme_wait_freeze,
} from './core-ctrl.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_init_identify } from './core-identify.js'
import { nvme_open, nvme_release, nvme_remove_namespaces } from './core-scan.js'
import { nvme_change_ctrl_state } from './core-state.js'
import {
  NVME_CC_ENABLE,
  NVME_CSTS_NSSRO,
  NVME_MAX_KB_SZ,
  NVME_MAX_SEGS,
  NVME_REG_ACQ,
  NVME_REG_AQA,
  NVME_REG_ASQ,
  NVME_REG_CAP,
  NVME_REG_CMBLOC,
  NVME_REG_CMBSZ,
  NVME_REG_CSTS,
  NVME_REG_VS,
  NVME_VS,
  type nvme_ctrl,
  type nvme_ctrl_state,
} from './nvme.js'
import { nvme_dev_disable, nvme_pci_disable } from './pci-disable.js'
import { nvme_dbbuf_dma_alloc, nvme_dbbuf_set, nvme_setup_host_mem } from './pci-hmb.js'
import {
  admin_timeout,
  db_bar_size,
  free_admin_irq,
  io_timeout,
  type nvme_dev,
  type nvme_io_queues,
  nvme_alloc_queue,
  nvme_calc_irq_sets,
  nvme_cmb_qdepth,
  nvme_create_queue,
  nvme_dbbuf_init,
  nvme_free_queues,
  nvme_init_queue,
  queue_request_irq,
} from './pci-queue.js'
import { nvme_timeout } from './pci-timeout.js'

/** io_queue_depth. */
const NVME_Q_DEPTH = 1024
const BLK_MQ_MAX_DEPTH = 10240
/** Classes of queues: default, read, poll. */
const HCTX_MAX_TYPES = 3

function dev_of(ctrl: nvme_ctrl): nvme_dev {
  return ctrl.priv as nvme_dev
}

// ---------------------------------------------------------------- operations of the queues

/** A hardware context and its NVMe queue are one to one. */
function wire(hctx: blk_mq_hw_ctx, dev: nvme_dev, qid: number, set: blk_mq_tag_set): void {
  const nvmeq = dev.queues[qid]!
  const { view, cpus } = dev.nvme.blk
  hctx.driver_data = nvmeq
  view.setU32(hctx.at + HC_DRIVER_DATA, nvmeq.at)
  view.setU32(nvmeq.at + NQ_HCTX, hctx.at)
  view.setU32(nvmeq.at + NQ_TAGS, set.tags[hctx.queue_num]!)
  const users = qid === 0 ? cpus.length : (set.users?.[hctx.queue_num] ?? 0)
  const flags = view.u32(nvmeq.at + NQ_SHARED)
  view.setU32(nvmeq.at + NQ_SHARED, users > 1 ? flags | NQ_LOCKED : flags & ~NQ_LOCKED)
}

function ops_of(dev: nvme_dev, admin: boolean): blk_mq_ops {
  const { k, blk } = dev.nvme
  const common = {
    name: 'nvme',
    commit_rqs: () => blk.core.nvme_ring_doorbells(blk.cpus[k.cpu.id]!),
    complete_failed: nvme_complete_rq,
    init_request: () => {
      if (admin && !dev.nvme.era.freezes) trace_call(k, 'nvme_admin_init_request')
      else trace_call(k, 'nvme_init_request')
    },
    timeout: (q: Parameters<typeof nvme_timeout>[1], rq: number) => nvme_timeout(dev, q, rq),
  }
  if (admin)
    return {
      ...common,
      init_hctx: hctx => {
        trace_call(k, 'nvme_admin_init_hctx')
        wire(hctx, dev, 0, dev.admin_tagset!)
      },
      exit_hctx: () => trace_call(k, 'nvme_admin_exit_hctx'),
    }
  return {
    ...common,
    init_hctx: (hctx, hctx_idx) => {
      trace_call(k, 'nvme_init_hctx')
      wire(hctx, dev, hctx_idx + 1, dev.tagset!)
    },
    exit_hctx: hctx => unwire(dev, hctx),
    map_queues: () => nvme_pci_map_queues(dev, dev.tagset!),
    open: nvme_open,
    release: nvme_release,
    revalidate_disk: q => dev.nvme_revalidate(q),
  }
}

/** The queue's words name another namespace's hardware context from now on, if there is one. */
function unwire(dev: nvme_dev, hctx: blk_mq_hw_ctx): void {
  const { view } = dev.nvme.blk
  const nvmeq = dev.queues[hctx.queue_num + 1]
  if (nvmeq === undefined || view.u32(nvmeq.at + NQ_HCTX) !== hctx.at) return
  const other = dev.tagset?.tag_list?.find(q => q !== hctx.q)
  const next = other?.queue_hw_ctx[hctx.queue_num]
  if (next) view.setU32(nvmeq.at + NQ_HCTX, next.at)
}

/** Each CPU uses the queue whose vector interrupts it, in each class that has interrupts. */
function nvme_pci_map_queues(dev: nvme_dev, set: blk_mq_tag_set): void {
  const { k, blk } = dev.nvme
  const t = enter(k, 'nvme_pci_map_queues')
  const { read, poll } = dev.io_queues
  const first = set.nr_hw_queues - read - poll
  set.read_map = read > 0 ? new Uint32Array(blk.cpus.length) : null
  set.poll_map = poll > 0 ? new Uint32Array(blk.cpus.length) : null
  blk_mq_pci_map_queues(dev, set.mq_map, 0, first)
  if (set.read_map) blk_mq_pci_map_queues(dev, set.read_map, first, first + read)
  if (set.poll_map) {
    blk_mq_map_queues(set.poll_map, poll)
    set.poll_map.forEach((queue, cpu, map) => {
      map[cpu] = first + read + queue
    })
  }
  leave(k, t)
}

/** The queues from `from` to before `to`. */
function blk_mq_pci_map_queues(dev: nvme_dev, map: Uint32Array, from: number, to: number): void {
  const { k, era } = dev.nvme
  const m = enter(k, 'blk_mq_pci_map_queues')
  const offset = dev.num_vecs > 1 && !era.shares_admin_vector ? 1 : 0
  for (let queue = from; queue < to; queue++)
    for (const cpu of pci_irq_get_affinity(dev.pdev, queue + offset)) map[cpu] = queue
  leave(k, m)
}

// ---------------------------------------------------------------- the function

/** @returns 0 or -ENOMEM */
export function nvme_remap_bar(dev: nvme_dev, size: number): number {
  const { k } = dev.nvme
  trace_call(k, 'nvme_remap_bar')
  if (size <= dev.bar_mapped_size) return 0
  dev.bar_mapped_size = size
  return 0
}

/** Controllers whose word about the depth of queues is not to be taken. */
function depth_quirk({ fn }: pci_dev, mqes: number): number | null {
  if (fn.vendor === 0x106b && fn.device === 0x2001) return 2
  const samsung = fn.vendor === 0x144d && (fn.device === 0xa821 || fn.device === 0xa822)
  return samsung && mqes === 0 ? 64 : null
}

/** @returns 0 or -errno */
function nvme_pci_enable(dev: nvme_dev): number {
  const { pdev, nvme, memory } = dev
  const { k } = nvme
  const t = enter(k, 'nvme_pci_enable')
  if (pci_enable_device_mem(pdev) !== 0) return leave(k, t, -ENOMEM)
  pci_set_master(pdev)
  if (readl(pdev, NVME_REG_CSTS) === 0xffffffff) {
    nvme_pci_disable(dev)
    return leave(k, t, -ENODEV)
  }
  // Some vector, for the admin queue: how many there are is seen when the I/O queues are set up.
  const n = pci_alloc_irq_vectors_affinity(pdev, 1, 1, null)
  if (n < 0) return leave(k, t, n)
  dev.num_vecs = 1
  dev.ctrl.cap = lo_hi_readq(pdev, NVME_REG_CAP)
  const mqes = Number(dev.ctrl.cap & 0xffffn)
  dev.q_depth = Math.min(mqes + 1, memory.io_queue_depth ?? NVME_Q_DEPTH)
  dev.db_stride = 2 ** Number((dev.ctrl.cap >> 32n) & 0xfn)
  dev.q_depth = depth_quirk(pdev, mqes) ?? dev.q_depth
  nvme_map_cmb(dev)
  return leave(k, t, 0)
}

/** What CMBSZ and CMBLOC say, as far as BAR 2 goes; only a buffer that takes submission queues is used. */
function nvme_map_cmb(dev: nvme_dev): void {
  const { pdev, memory } = dev
  const cmbsz = readl(pdev, NVME_REG_CMBSZ)
  dev.cmb = { at: 0, bytes: 0 }
  if (cmbsz === 0 || !(cmbsz & NVME_CMBSZ_SQS) || memory.use_cmb_sqs === false) return
  const unit = 2 ** (12 + 4 * ((cmbsz >>> 8) & 0xf))
  const cmbloc = readl(pdev, NVME_REG_CMBLOC)
  const offset = (cmbloc >>> 12) * unit
  const bar = memory.cmb
  if (bar === undefined || (cmbloc & 7) !== CMB_BAR || offset > bar.bytes) return
  dev.cmb = { at: bar.at + offset, bytes: Math.min((cmbsz >>> 12) * unit, bar.bytes - offset) }
}

const NVME_CMBSZ_SQS = 1
const CMB_BAR = 2

/** @returns 0 or -errno */
function* nvme_pci_configure_admin_queue(dev: nvme_dev): Sleep<number> {
  const { pdev, ctrl, nvme } = dev
  const { k, era } = nvme
  const t = enter(k, era.configure_admin_queue)
  const remapped = nvme_remap_bar(dev, db_bar_size(dev, 0))
  if (remapped < 0) return leave(k, t, remapped)
  const vs = readl(pdev, NVME_REG_VS)
  dev.subsystem = vs >= NVME_VS(1, 1, 0) && ((ctrl.cap >> 36n) & 1n) === 1n
  if (dev.subsystem && readl(pdev, NVME_REG_CSTS) & NVME_CSTS_NSSRO)
    writel(pdev, NVME_REG_CSTS, NVME_CSTS_NSSRO)
  const disabled = yield* nvme_disable_ctrl(ctrl, ctrl.cap)
  if (disabled < 0) return leave(k, t, disabled)
  if (!nvme_alloc_queue(dev, 0, era.aq_depth)) return leave(k, t, -ENOMEM)
  const nvmeq = dev.queues[0]!
  const aqa = nvmeq.q_depth - 1
  writel(pdev, NVME_REG_AQA, aqa | (aqa << 16))
  lo_hi_writeq(pdev, NVME_REG_ASQ, nvmeq.memory.sq)
  lo_hi_writeq(pdev, NVME_REG_ACQ, nvmeq.memory.cq)
  const enabled = yield* nvme_enable_ctrl(ctrl, ctrl.cap)
  if (enabled) return leave(k, t, enabled)
  nvmeq.cq_vector = 0
  if (!era.admin_init_in_reset) nvme_init_queue(nvmeq)
  const error = queue_request_irq(nvmeq)
  if (error) {
    nvmeq.cq_vector = -1
    return leave(k, t, error)
  }
  return leave(k, t, 0)
}

/** The tag set and the queue of admin commands; after a reset they run again. @returns 0 or -errno */
function nvme_alloc_admin_tags(dev: nvme_dev): number {
  const { ctrl, nvme } = dev
  const { k, blk, era } = nvme
  const t = enter(k, 'nvme_alloc_admin_tags')
  if (ctrl.admin_q) {
    if (era.freezes) blk_mq_unquiesce_queue(ctrl.admin_q)
    else restart_admin(dev)
    return leave(k, t, 0)
  }
  const set: blk_mq_tag_set = {
    blk,
    ops: ops_of(dev, true),
    driver: DRIVER_NVME,
    nr_hw_queues: 1,
    queue_depth: era.aq_depth - era.nr_aen - 1,
    reserved_tags: 0,
    timeout: admin_timeout(dev),
    flags: BLK_MQ_F_NO_SCHED,
    driver_data: dev,
    mq_map: new Uint32Array(0),
    tags: [],
  }
  dev.admin_tagset = set
  if (blk_mq_alloc_tag_set(set) !== 0) return leave(k, t, -ENOMEM)
  ctrl.admin_tagset = set
  const q = blk_mq_init_queue(set, `${ctrl.device}q0`)
  if (q === null) {
    blk_mq_free_tag_set(set)
    return leave(k, t, -ENOMEM)
  }
  ctrl.admin_q = q
  // Nobody can have ended it yet, so that the reference is given.
  trace_call(k, 'blk_get_queue')
  return leave(k, t, 0)
}

/** 4.9 stops the queue and starts it again; here it is quiesced as well. */
function restart_admin(dev: nvme_dev): void {
  const q = dev.ctrl.admin_q!
  blk_mq_unquiesce_queue(q)
  trace_call(dev.nvme.k, 'blk_mq_start_stopped_hw_queues')
  blk_mq_start_stopped_hw_queues(q, true)
}

// ---------------------------------------------------------------- I/O queues

/** What of the classes there is with so many queues: the last ones are missing first. */
function classes_of({ io_queues }: nvme_dev, queues: number): nvme_io_queues {
  const rest = Math.min(io_queues.default, queues)
  const read = Math.min(io_queues.read, queues - rest)
  return { default: rest, read, poll: Math.min(io_queues.poll, queues - rest - read) }
}

/** The module's parameters, for at most as many queues as there are CPUs. 4.9 to 4.20 have none. */
function classes_wanted({ memory, nvme }: nvme_dev): { write: number; poll: number } {
  const most = nvme.blk.cpus.length
  const { write_queues = 0, poll_queues = 0 } = memory
  return { write: Math.min(write_queues, most), poll: Math.min(poll_queues, most) }
}

/** Memory and the controller's side of as many queues as there are vectors for. @returns 0 or a negative errno */
function* nvme_create_io_queues(dev: nvme_dev): Sleep<number> {
  let ret = 0
  for (let i = dev.ctrl.queue_count; i <= dev.max_qid; i++) {
    if (nvme_alloc_queue(dev, i, dev.q_depth)) continue
    ret = -ENOMEM
    break
  }
  const max = Math.min(dev.max_qid, dev.ctrl.queue_count - 1)
  const { default: rest, read } = dev.io_queues
  for (let i = dev.online_queues; i <= max; i++) {
    ret = yield* nvme_create_queue(dev.queues[i]!, i > rest + read)
    if (ret) break
  }
  dev.io_queues = classes_of(dev, dev.online_queues - 1)
  // The controller may have refused one: those that there are will do.
  return Math.min(ret, 0)
}

/** @returns 0 or a negative errno; 0 without a queue is a controller that has none */
function* nvme_setup_io_queues(dev: nvme_dev): Sleep<number> {
  const { pdev, nvme, ctrl } = dev
  const { k, blk } = nvme
  const t = enter(k, 'nvme_setup_io_queues')
  const wanted = classes_wanted(dev)
  const count = { n: blk.cpus.length + wanted.write + wanted.poll }
  const result = yield* nvme_set_queue_count(ctrl, count)
  if (result < 0) return leave(k, t, result)
  if (count.n === 0) return leave(k, t, 0)
  let nr = Math.min(count.n, dev.memory.queues.length - 1)
  if (dev.cmb.bytes > 0) {
    const depth = nvme_cmb_qdepth(dev, nr)
    if (depth > 0) dev.q_depth = depth
    else dev.cmb = { at: 0, bytes: 0 }
  }
  while (nvme_remap_bar(dev, db_bar_size(dev, nr)) !== 0)
    if (--nr === 0) return leave(k, t, -ENOMEM)
  const adminq = dev.queues[0]!
  // The admin queue's vector is given back, so that all can be asked for together.
  free_admin_irq(adminq)
  pci_free_irq_vectors(pdev)
  const pre = nvme.era.shares_admin_vector ? 0 : 1
  // Queues that are polled need no vector; one that is not there must be.
  const poll = Math.min(wanted.poll, nr - 1)
  const sets = wanted.write > 0 ? (n: number) => nvme_calc_irq_sets(wanted.write, n) : undefined
  const vectors = pci_alloc_irq_vectors_affinity(pdev, 1, nr - poll + pre, pre, sets)
  if (vectors <= 0) return leave(k, t, -EIO)
  dev.num_vecs = vectors
  const irqs = pre ? Math.max(vectors - 1, 1) : Math.min(nr, vectors)
  dev.max_qid = irqs + poll
  const [rest, read] = nvme_calc_irq_sets(wanted.write, irqs)
  dev.io_queues = { default: rest, read, poll }
  const error = queue_request_irq(adminq)
  if (error) {
    adminq.cq_vector = -1
    return leave(k, t, error)
  }
  return leave(k, t, yield* nvme_create_io_queues(dev))
}

/** The tag set of the I/O queues; after a reset their number may be another. @returns 0 or -errno */
function* nvme_dev_add(dev: nvme_dev): Sleep<number> {
  const { ctrl, nvme, memory } = dev
  const { k, blk } = nvme
  const t = enter(k, 'nvme_dev_add')
  if (ctrl.tagset) {
    yield* blk_mq_update_nr_hw_queues(ctrl.tagset, dev.online_queues - 1)
    // None: a timeout has disabled the controller meanwhile. A scan that goes on finds its queues, and is refused there.
    if (dev.online_queues > 0) nvme_free_queues(dev, dev.online_queues)
    return leave(k, t, 0)
  }
  const { write, poll } = classes_wanted(dev)
  const set: blk_mq_tag_set = {
    blk,
    ops: ops_of(dev, false),
    driver: DRIVER_NVME,
    nr_hw_queues: dev.online_queues - 1,
    queue_depth: Math.min(dev.q_depth, BLK_MQ_MAX_DEPTH) - 1,
    reserved_tags: 0,
    nr_maps: write + poll > 0 ? HCTX_MAX_TYPES : 1,
    timeout: io_timeout(dev),
    memory: memory.planned,
    driver_data: dev,
    mq_map: new Uint32Array(0),
    tags: [],
  }
  dev.tagset = set
  const error = blk_mq_alloc_tag_set(set)
  if (error) {
    ctrl_log(ctrl, 'warn', `IO queues tagset allocation failed ${error}`)
    return leave(k, t, error)
  }
  ctrl.tagset = set
  yield* dbbuf_set(dev)
  return leave(k, t, 0)
}

function* dbbuf_set(dev: nvme_dev): Sleep<void> {
  if (!(yield* nvme_dbbuf_set(dev))) for (const nvmeq of dev.queues) nvme_dbbuf_init(nvmeq)
}

// ---------------------------------------------------------------- the whole

/** A controller that does not come up: it is stopped, and its driver lets go of it. */
export function* nvme_remove_dead_ctrl(dev: nvme_dev, status: number): Sleep<void> {
  const { ctrl, nvme } = dev
  const { k } = nvme
  const t = enter(k, 'nvme_remove_dead_ctrl')
  ctrl_log(ctrl, 'warn', `Removing after probe failure status: ${status}`)
  dev.last_error = status
  nvme_get_ctrl(ctrl)
  yield* nvme_dev_disable(dev, false)
  nvme_kill_queues(ctrl)
  if (!queue_work(nvme.nvme_wq, dev.remove_work)) yield* nvme_put_ctrl(ctrl)
  leave(k, t)
}

/** Stages 4 to 7, under the lock. @returns 0 or -errno */
function* bring_up(dev: nvme_dev): Sleep<number> {
  const { ctrl, nvme } = dev
  let result = nvme_pci_enable(dev)
  if (result) return result
  result = yield* nvme_pci_configure_admin_queue(dev)
  if (result) return result
  if (nvme.era.admin_init_in_reset) nvme_init_queue(dev.queues[0]!)
  result = nvme_alloc_admin_tags(dev)
  if (result) return result
  ctrl.max_hw_sectors = NVME_MAX_KB_SZ * 2
  ctrl.max_segments = NVME_MAX_SEGS
  return 0
}

/** Stages 9 to 13. @returns 0 or a negative errno */
function* set_up(dev: nvme_dev): Sleep<number> {
  const { ctrl, nvme } = dev
  let result = yield* nvme_init_identify(ctrl)
  if (result) return result
  nvme_dbbuf_dma_alloc(dev)
  if (ctrl.hmpre && nvme.era.hmb) {
    result = yield* nvme_setup_host_mem(dev)
    if (result < 0) return result
  }
  return yield* nvme_setup_io_queues(dev)
}

/** Stage 14: what the controller becomes; null: Doorbell Buffer Config timed out, and the controller was disabled. */
function* add_or_degrade(dev: nvme_dev): Sleep<nvme_ctrl_state | null> {
  const { ctrl, nvme } = dev
  if (dev.online_queues < 2) {
    ctrl_log(ctrl, 'warn', 'IO queues not created')
    nvme_kill_queues(ctrl)
    yield* nvme_remove_namespaces(ctrl, nvme_kill_queues)
    return nvme.era.admin_only
  }
  // Before anything runs: a doorbell in memory that the controller does not look at is not rung.
  if (ctrl.tagset) yield* dbbuf_set(dev)
  if (dev.online_queues === 0) return null
  nvme_start_queues(ctrl)
  if (nvme.era.freezes) yield* nvme_wait_freeze(ctrl)
  const added = yield* nvme_dev_add(dev)
  if (nvme.era.freezes) nvme_unfreeze(ctrl)
  if (dev.online_queues === 0) return null
  return added ? nvme.era.admin_only : 'LIVE'
}

/** Every second, 4.9: fatal states are found even if nothing is sent. */
export function arm_watchdog(dev: nvme_dev): void {
  const { k } = dev.nvme
  if (dev.watchdog_timer) mod_timer(dev.watchdog_timer, round_jiffies(k, k.jiffies + k.hz))
}

function* reset(dev: nvme_dev): Sleep<number> {
  const { ctrl, nvme } = dev
  const { era } = nvme
  if (ctrl.ctrl_config & NVME_CC_ENABLE) yield* nvme_dev_disable(dev, false)
  if (!era.resets_by_state && !nvme_change_ctrl_state(ctrl, 'RESETTING')) return -ENODEV
  yield* mutex_lock(dev.shutdown_lock)
  let result = yield* bring_up(dev)
  mutex_unlock(dev.shutdown_lock)
  if (result) return result
  if (era.connecting && !nvme_change_ctrl_state(ctrl, era.connecting)) {
    ctrl_log(ctrl, 'warn', `failed to mark controller ${era.connecting}`)
    return -EBUSY
  }
  result = yield* set_up(dev)
  if (result) return result
  const target = yield* add_or_degrade(dev)
  if (target === null || !nvme_change_ctrl_state(ctrl, target)) {
    ctrl_log(ctrl, 'warn', `failed to mark controller state ${target ?? 'LIVE'}`)
    return -ENODEV
  }
  arm_watchdog(dev)
  yield* nvme_start_ctrl(ctrl)
  return 0
}

export function* nvme_reset_work(work: work_struct<nvme_ctrl>): Sleep<void> {
  const ctrl = work.container
  const dev = dev_of(ctrl)
  const { k, era } = dev.nvme
  const t = enter(k, 'nvme_reset_work')
  const twice = era.resets_by_state ? ctrl.state !== 'RESETTING' : ctrl.state === 'RESETTING'
  if (twice) ctrl_log(ctrl, 'warn', `reset in state ${ctrl.state}`)
  const result = twice ? -ENODEV : yield* reset(dev)
  if (result) yield* nvme_remove_dead_ctrl(dev, result)
  leave(k, t)
}
