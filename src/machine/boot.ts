// Writes a machine's blocks into fresh (zeroed) memory, in the order in which Linux would make them: CPUs, then for
// each disk the controller, its rings, the tag sets, the hardware and software queues, the request queue.
//
// What is not modelled here: probe and reset of the controller (the driver's slow half does that), the admin queue,
// schedulers (a request queue begins with none), and CPU hotplug.

import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import { bootNullBlk, nullBlkLimits } from './boot-null-blk.js'
import type {
  DiskConfig,
  DiskQueue,
  FaultConfig,
  MachineConfig,
  MediaModel,
  OperationTimes,
} from './config.js'
import { sharesThread } from './clock.js'
import { costsOf, PACED_COSTS, writeCosts } from './costs.js'
import { bootNand } from './nand.js'
import {
  type AdminPlan,
  cpuOf,
  type DiskPlan,
  type MachinePlan,
  MAX_REQUEST_BYTES,
  type QueuePlan,
  RING_ENTRIES,
  RING_STRIDE,
} from './plan.js'

/** Any command, queue or block in a fault rule. */
const ANY = 0xffffffff

/** NVME_MAX_KB_SZ and NVME_MAX_SEGS: what the driver allocates for at most. */
const NVME_MAX_BYTES = 4096 * 1024
const NVME_MAX_SEGS = 127

/** nvme_io_timeout, seconds. */
const IO_TIMEOUT_S = 30

/** Sectors of one discard: as many as a 32-bit byte count can say, whole pages. */
const MAX_DISCARD_SECTORS = 0x7ffff8

const FLAGS =
  (1 << N.QUEUE_FLAG_IO_STAT) |
  (1 << N.QUEUE_FLAG_SAME_COMP) |
  (1 << N.QUEUE_FLAG_POLL) |
  (1 << N.QUEUE_FLAG_NONROT) |
  (1 << N.QUEUE_FLAG_INIT_DONE)

const FLAGS_WRITE_CACHE = (1 << N.QUEUE_FLAG_WC) | (1 << N.QUEUE_FLAG_FUA)

const LAT: Readonly<Record<MachineConfig['lat'], number>> = {
  none: L.LAT_NONE,
  sampled: L.LAT_SAMPLED,
  batch: L.LAT_BATCH,
  every: L.LAT_EVERY,
}

const MODEL: Readonly<Record<MediaModel, number>> = {
  null: L.MODEL_NULL,
  ram: L.MODEL_RAM,
  fixed: L.MODEL_FIXED,
  normal: L.MODEL_NORMAL,
  lognormal: L.MODEL_LOGNORMAL,
  empirical: L.MODEL_EMPIRICAL,
  nand: L.MODEL_NAND,
}

const WAIT: Readonly<Record<DiskQueue['wait'], number>> = {
  inline: L.WAIT_INLINE,
  poll: L.WAIT_POLL,
  irq: L.WAIT_IRQ,
  hybrid: L.WAIT_HYBRID,
}

const FAULT: Readonly<Record<FaultConfig['action'], number>> = {
  status: L.FAULT_STATUS,
  delay: L.FAULT_DELAY,
  corrupt: L.FAULT_CORRUPT,
}

/** CLOCK_*. */
function clockOf(config: MachineConfig): number {
  if (config.clock === 'virtual') return L.CLOCK_VIRTUAL
  return sharesThread(config) ? L.CLOCK_SHARED : L.CLOCK_REAL
}

/** Whether each CPU has a thread of its own. */
function threaded(config: MachineConfig): boolean {
  return clockOf(config) === L.CLOCK_REAL
}

/**
 * How the host learns of the completions of hardware queue `index`. A device in the submitting thread leaves nothing
 * to wait for; the last `pollQueues` queues have no interrupt. CPUs that share a thread have no time to sleep in between.
 */
export function waitOf(
  disk: DiskConfig,
  config: MachineConfig,
  index: number,
  nrHw: number,
): DiskQueue['wait'] {
  if (disk.target) return 'irq'
  if (disk.nullBlk) return disk.nullBlk.irqmode === L.NULL_IRQ_TIMER ? 'irq' : 'inline'
  if (threaded(config) && disk.where === 'inline') return 'inline'
  if (disk.wait === 'hybrid' && sharesThread(config)) return 'poll'
  return index >= nrHw - disk.pollQueues && disk.wait === 'irq' ? 'poll' : disk.wait
}

/** Sets several u32 fields of the block at `base`. */
function fields(view: View, base: number, values: readonly (readonly [number, number])[]): void {
  for (const [field, value] of values) view.setU32(base + field, value)
}

/** Links `count` records into a list, first to last. */
function link(view: View, first: number, count: number, size: number, next: number): void {
  const { words } = view
  const last = first + (count - 1) * size
  for (let at = first; at < last; at += size) words[(at + next) >>> 2] = at + size
}

/** Writes everything. The memory must be zero. */
export function bootBlocks(view: View, core: Core, plan: MachinePlan): void {
  bootMachineBlock(view, plan)
  for (let i = 0; i < plan.config.cpus; i++) bootCpu(view, plan, i)
  plan.disks.forEach((disk, index) => {
    if (disk.config.namespaceOf !== undefined) return
    bootDevice(view, plan, disk, index)
    if (disk.config.nand) bootNand(view, core, disk.config.nand, disk.config.sizeBytes, disk.nand)
    bootNamespace(view, plan, disk)
    if (disk.admin) {
      wireController(view, disk, disk.admin)
      return
    }
    bootRequestQueue(view, plan, disk, index)
    bootSoftwareQueues(view, plan, disk)
    if (disk.nullb) bootNullBlk(view, plan, disk, index)
    disk.queues.forEach((queue, i) => {
      if (disk.config.driver === 'nvme') bootQueuePair(view, core, plan, disk, queue, i)
      // a tag set that several disks share is the first one's
      if (view.u32(queue.tags + L.TAGS_NR) === 0)
        bootTags(view, core, plan, disk, queue, i, index * 65536 + i)
      bootHctx(view, plan, disk, queue, i)
    })
  })
  bootOwners(view, plan)
  fields(view, plan.pool, [
    [L.POOL_NEXT, plan.poolStart],
    [L.POOL_END, plan.poolStart + plan.poolPages * L.PAGE_SIZE],
  ])
}

function bootMachineBlock(view: View, plan: MachinePlan): void {
  const { config } = plan
  fields(view, L.M_BASE, [
    [L.M_CLOCK, clockOf(config)],
    [L.M_NR_CPUS, config.cpus],
    [L.M_CPUS, plan.cpus],
    [L.M_HZ, config.hz],
    [L.M_EVENTS, plan.events],
    [L.M_NR_JOBS, config.jobs],
    [L.M_JOBS, plan.jobs],
    [L.M_LAT, LAT[config.lat]],
    [L.M_STAGES, config.stages ? 1 : 0],
    [L.M_NR_HCTX, plan.nrHctx],
    [L.M_HCTXS, plan.hctxTable],
    [L.M_NR_DEVS, plan.disks.length],
    [L.M_DEVS, plan.devs],
  ])
  fields(view, plan.events, [
    [L.EVQ_CAP, plan.eventCap],
    [L.EVQ_HEAP, plan.eventHeap],
  ])
  const jiffy = Math.floor(1e9 / config.hz)
  view.setU64(L.M_BASE + L.M_JIFFY_NS, jiffy)
  view.setU64(L.M_BASE + L.M_NEXT_JIFFY, jiffy)
  writeCosts(view, config.paced ? PACED_COSTS : costsOf(config.costs))
}

function bootCpu(view: View, plan: MachinePlan, index: number): void {
  const { config } = plan
  const cpu = cpuOf(plan, index)
  const ring = plan.rings + index * RING_STRIDE
  const bios = plan.splitBios + index * plan.nrSplitBios * L.BIO_BYTES
  fields(view, cpu, [
    [L.CPU_INDEX, index],
    [L.CPU_LAT, LAT[config.lat]],
    [L.CPU_CLOCK, clockOf(config)],
    [L.CPU_STAGES, config.stages ? 1 : 0],
    [L.CPU_CACHE, config.caches?.[index] ?? index],
    [L.CPU_RING, ring],
    [L.CPU_BIO_FREE, bios],
  ])
  fields(view, ring, [
    [L.RING_MASK, RING_ENTRIES - 1],
    [L.RING_BASE, ring + L.RING_SIZE],
  ])
  link(view, bios, plan.nrSplitBios, L.BIO_BYTES, L.BIO_NEXT)
}

// ---------------------------------------------------------------- the controller's side

/** True when more than one thread executes commands of this device. */
function manyThreads(plan: MachinePlan, disk: DiskPlan): boolean {
  return threaded(plan.config) && disk.config.where === 'inline' && disk.nrHw > 1
}

function bootDevice(view: View, plan: MachinePlan, disk: DiskPlan, index: number): void {
  const { config, dev } = disk
  fields(view, dev, [
    [L.DEV_INDEX, index],
    [L.DEV_MODEL, MODEL[config.model]],
    [L.DEV_WHERE, config.where === 'thread' ? 1 : 0],
    [L.DEV_NN, 1],
    [L.DEV_NS, disk.ns],
    [L.DEV_NR_SQ, disk.nullb ? 0 : disk.nrHw],
    [L.DEV_SQS, disk.queues[0]!.dsq],
    [L.DEV_UNITS, config.units],
    [L.DEV_UNIT_FREE, disk.units],
    [L.DEV_MAX_LBAS, config.mdtsBytes],
    [L.DEV_EMPIRICAL, disk.empirical],
    [L.DEV_EMPIRICAL_N, config.empirical?.length ?? 0],
    [L.DEV_FAULTS, disk.faults],
    [L.DEV_OPS, disk.operations],
    [L.DEV_NAND, disk.nand],
    [L.DEV_SHARED, manyThreads(plan, disk) ? 1 : 0],
  ])
  view.setU64(dev + L.DEV_SERVICE_NS, config.serviceNs)
  view.setF64(dev + L.DEV_SIGMA_NS, config.sigmaNs ?? 0)
  view.setU64(dev + L.DEV_SEED, plan.config.seed)
  view.setU32(dev + L.DEV_SEED, mix(plan.config.seed, index))
  config.empirical?.forEach((ns, i) => {
    view.setU64(disk.empirical + i * 8, ns)
  })
  bootOperations(view, disk.operations, config.operations ?? [])
  config.faults?.forEach((fault, i) => {
    const last = i + 1 === config.faults?.length
    bootFault(view, disk.faults + i * L.FLT_SIZE, fault, last)
  })
}

/** Writes the records of the operations at `at`, their tables behind them. */
function bootOperations(view: View, at: number, operations: readonly OperationTimes[]): void {
  let table = at + operations.length * L.OT_SIZE
  for (const [i, { serviceNs, sigmaNs, empirical = [] }] of operations.entries()) {
    const record = at + i * L.OT_SIZE
    view.setU64(record + L.OT_SERVICE_NS, serviceNs)
    view.setF64(record + L.OT_SIGMA_NS, sigmaNs ?? 0)
    view.setU32(record + L.OT_EMPIRICAL, table)
    view.setU32(record + L.OT_EMPIRICAL_N, empirical.length)
    for (const ns of empirical) {
      view.setU64(table, ns)
      table += 8
    }
  }
}

/** 32 bits from a seed and a number: neighbours give unrelated values (murmur3's finalizer). */
function mix(seed: number, n: number): number {
  let x = (seed ^ Math.floor(seed / 2 ** 32) ^ Math.imul(n + 1, 0x9e3779b9)) | 0
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

function bootFault(view: View, at: number, fault: FaultConfig, last: boolean): void {
  fields(view, at, [
    [L.FLT_NEXT, last ? 0 : at + L.FLT_SIZE],
    [L.FLT_OPCODE, fault.opcode ?? ANY],
    [L.FLT_SQ, fault.qid ?? 0],
    [L.FLT_ACTION, FAULT[fault.action]],
    [L.FLT_NTH, fault.nth ?? 0],
  ])
  view.setU64(at + L.FLT_FROM, fault.lba?.[0] ?? 0)
  view.setU64(at + L.FLT_TO, fault.lba ? fault.lba[1] + 1 : 2 ** 63)
  view.setU64(at + L.FLT_VALUE, fault.value)
}

function bootNamespace(view: View, plan: MachinePlan, disk: DiskPlan): void {
  view.setU64(disk.ns + L.NS_NSZE, disk.config.sizeBytes / 2 ** disk.config.lbaShift)
  view.setU32(disk.ns + L.NS_LBADS, disk.config.lbaShift)
  view.setU32(disk.ns + L.NS_STORE, disk.store)
  if (!disk.store) return
  fields(view, disk.store, [
    [L.ST_DIR, disk.dir],
    [L.ST_DIRS, disk.leaves],
    [L.ST_SHARED, manyThreads(plan, disk) ? 1 : 0],
    [L.ST_POOL, plan.pool],
  ])
}

// ---------------------------------------------------------------- queue pairs

/** The four doorbell words of a queue pair: SQ tail and CQ head, in a region of registers or its shadow. */
function doorbellsOf(disk: DiskPlan, region: number, qid: number): [sq: number, cq: number] {
  const step = 4 * 2 ** disk.stride
  return region ? [region + 2 * qid * step, region + (2 * qid + 1) * step] : [0, 0]
}

function bootQueuePair(
  view: View,
  core: Core,
  plan: MachinePlan,
  disk: DiskPlan,
  queue: QueuePlan,
  index: number,
): void {
  const { config } = disk
  const qid = index + 1
  const wait = waitOf(config, plan.config, index, disk.nrHw)
  const [sqDb, cqDb] = doorbellsOf(disk, disk.bar + N.DOORBELLS, qid)
  const [shadowSq, shadowCq] = doorbellsOf(disk, disk.shadow, qid)
  const [eiSq, eiCq] = doorbellsOf(disk, disk.eventIndex, qid)
  const interrupt = wait === 'irq'
  fields(view, queue.nq, [
    [L.NQ_SQ, queue.sq],
    [L.NQ_CQ, queue.cq],
    [L.NQ_DEPTH, config.depth],
    [L.NQ_QID, qid],
    [L.NQ_SQ_DB, sqDb],
    [L.NQ_CQ_DB, cqDb],
    [L.NQ_SHADOW_SQ, shadowSq],
    [L.NQ_SHADOW_CQ, shadowCq],
    [L.NQ_EI_SQ, eiSq],
    [L.NQ_EI_CQ, eiCq],
    [L.NQ_TAGS, queue.tags],
    [L.NQ_DSQ, queue.dsq],
    [L.NQ_SHARED, queue.cpus.length > 1 ? 1 : 0],
    [L.NQ_IRQ, interrupt ? queue.irq : 0],
    [L.NQ_HCTX, disk.hctxs + index * L.HC_SIZE],
    [L.NQ_WAIT, WAIT[wait]],
    [L.NQ_CQ_PHASE, 1],
  ])
  core.nvme_init_prp_pool(queue.nq, queue.prp, queue.prpLinks, disk.nrPrp)
  view.setU32(queue.irq + L.IRQ_CPU, cpuOf(plan, queue.owner))
  fields(view, queue.dsq, [
    [L.DSQ_BASE, queue.sq],
    [L.DSQ_ENTRIES, config.depth],
    [L.DSQ_END, queue.sq + config.depth * N.SQE_BYTES],
    [L.DSQ_DB, sqDb],
    [L.DSQ_CQ, queue.dcq],
    [L.DSQ_DEV, disk.dev],
    [L.DSQ_ID, qid],
    [L.DSQ_SHADOW, shadowSq],
    [L.DSQ_EI, eiSq],
    [L.DSQ_FIFO, queue.fifo],
  ])
  fields(view, queue.dcq, [
    [L.DCQ_BASE, queue.cq],
    [L.DCQ_ENTRIES, config.depth],
    [L.DCQ_END, queue.cq + config.depth * N.CQE_BYTES],
    [L.DCQ_DB, cqDb],
    [L.DCQ_IEN, interrupt ? 1 : 0],
    [L.DCQ_IRQ, interrupt ? queue.irq : 0],
    [L.DCQ_SHADOW, shadowCq],
    [L.DCQ_EI, eiCq],
    [L.DCQ_COAL_N, config.coalesceCount],
    [L.DCQ_NQ, queue.nq],
    [L.DCQ_PHASE, 1],
  ])
  view.setU64(queue.dcq + L.DCQ_COAL_NS, config.coalesceNs)
}

// ---------------------------------------------------------------- the block layer's side

/**
 * What no driver writes: which of the controller's queues stands behind a host queue, so that a doorbell and an interrupt
 * find their way. All else of such a disk is made by the driver.
 */
function wireController(view: View, disk: DiskPlan, admin: AdminPlan): void {
  for (const { nq, dsq, dcq } of [admin, ...disk.queues]) {
    view.setU32(nq + L.NQ_DSQ, dsq)
    view.setU32(nq + L.NQ_SHARED, L.NQ_SUSPENDED)
    view.setU32(nq + L.NQ_IRQ, admin.irq)
    view.setU32(dcq + L.DCQ_NQ, nq)
  }
}

/** A tag set of one hardware queue: maps, and request slots that know their queue. */
function bootTags(
  view: View,
  core: Core,
  plan: MachinePlan,
  disk: DiskPlan,
  queue: QueuePlan,
  index: number,
  number: number,
): void {
  const { seed, cpus } = plan.config
  fields(view, queue.tags, [
    [L.TAGS_NR, disk.nrTags],
    [L.TAGS_RQS, queue.rqs],
    [L.TAGS_STATIC_RQS, queue.requests],
  ])
  const shared = queue.cpus.length > 1 ? 1 : 0
  const hintSeed = seed === 0 ? 0 : mix(seed, number) | 1
  const bitmap = queue.tags + L.TAGS_BITMAP
  const { tagMap: map, tagHints: hints } = queue
  core.sbitmap_queue_init_node(bitmap, disk.nrTags, -1, 0, map, hints, cpus, shared, hintSeed)
  core.sbitmap_queue_init_node(queue.tags + L.TAGS_BRESERVED, 0, -1, 0, 0, 0, 0, shared, 0)
  bootRequests(view, plan, disk, queue, disk.hctxs + index * L.HC_SIZE)
}

/**
 * A free slot knows its tag and its queue, and, while one CPU fills the queue, that CPU (assembly/plain.ts). The last slot
 * is the queue's flush request. There may be a million slots: one store after another.
 */
function bootRequests(
  view: View,
  plan: MachinePlan,
  disk: DiskPlan,
  queue: QueuePlan,
  hctx: number,
): void {
  const ctx = disk.ctxs + queue.owner * L.CTX_SIZE
  const cpu = cpuOf(plan, queue.owner)
  for (let tag = 0; tag <= disk.nrTags; tag++) {
    const rq = tag === disk.nrTags ? queue.flush : queue.requests + tag * L.RQ_SIZE
    view.setU32(rq + L.RQ_TAG, tag === disk.nrTags ? -1 : tag)
    view.setU32(rq + L.RQ_INTERNAL_TAG, -1)
    view.setU32(rq + L.RQ_Q, disk.q)
    view.setU32(rq + L.RQ_CTX, ctx)
    view.setU32(rq + L.RQ_HCTX, hctx)
    view.setU32(rq + L.RQ_CPU, cpu)
    if (tag < disk.nrTags) view.setU32(queue.rqs + 4 * tag, rq)
  }
}

/** BLK_MQ_F_*: what the driver asked for, and whether other disks use the tag set. */
function hctxFlags(plan: MachinePlan, disk: DiskPlan): number {
  const nullBlk = disk.config.nullBlk
  const sharing = plan.disks.filter(d => d.queues[0]!.tags === disk.queues[0]!.tags).length > 1
  return (
    N.BLK_MQ_F_SHOULD_MERGE |
    (sharing ? N.BLK_MQ_F_TAG_SHARED : 0) |
    (nullBlk?.noSched ? N.BLK_MQ_F_NO_SCHED : 0) |
    (nullBlk?.blocking || nullBlk?.memoryBacked ? N.BLK_MQ_F_BLOCKING : 0)
  )
}

/** Who serves a hardware queue. A target's has nothing to serve. */
const DRIVER: Readonly<Record<DiskConfig['driver'], number>> = {
  nvme: L.DRIVER_NVME,
  null_blk: L.DRIVER_NULL_BLK,
  lightnvm: L.DRIVER_HOST,
}

function bootHctx(
  view: View,
  plan: MachinePlan,
  disk: DiskPlan,
  queue: QueuePlan,
  index: number,
): void {
  fields(view, disk.hctxs + index * L.HC_SIZE, [
    [L.HC_INDEX, index],
    [L.HC_Q, disk.q],
    [L.HC_TAGS, queue.tags],
    [L.HC_DRIVER, DRIVER[disk.config.driver]],
    [L.HC_DRIVER_DATA, disk.nullb || queue.nq],
    [L.HC_OWNER, cpuOf(plan, queue.owner)],
    [L.HC_FLAGS, hctxFlags(plan, disk)],
    [L.HC_SHARED, queue.cpus.length > 1 ? 1 : 0],
    [L.HC_NR_CTX, queue.cpus.length],
    [L.HC_FQ_RQ, queue.flush],
  ])
}

function bootRequestQueue(view: View, plan: MachinePlan, disk: DiskPlan, index: number): void {
  const { config } = disk
  const hwBytes = Math.min(config.mdtsBytes || NVME_MAX_BYTES, NVME_MAX_BYTES)
  const segments = Math.floor(hwBytes / L.PAGE_SIZE) + 1
  fields(view, disk.q, [
    [L.Q_FLAGS, FLAGS | (config.wc ? FLAGS_WRITE_CACHE : 0)],
    [L.Q_NR_HW, disk.nrHw],
    [L.Q_MAP, disk.mqMap],
    [L.Q_CTXS, disk.ctxs],
    [L.Q_HCTXS, disk.hctxs],
    [L.Q_TIMEOUT, IO_TIMEOUT_S * plan.config.hz],
    [L.Q_MAX_SECTORS, Math.min(hwBytes, MAX_REQUEST_BYTES) / 512],
    [L.Q_MAX_SEGMENTS, Math.min(segments, NVME_MAX_SEGS)],
    [L.Q_LBA_SHIFT, config.lbaShift],
    [L.Q_VIRT_BOUNDARY, L.PAGE_SIZE - 1],
    [L.Q_NSID, 1],
    [L.Q_NR_REQUESTS, disk.nrTags],
    [L.Q_MAX_DISCARD, MAX_DISCARD_SECTORS],
    [L.Q_INDEX, index],
  ])
  view.setU64(disk.q + L.Q_CAPACITY, config.sizeBytes / 512)
  if (config.nullBlk) fields(view, disk.q, nullBlkLimits(config, config.nullBlk, plan.config.hz))
}

/** Software queues and the map from CPUs to hardware queues (blk_mq_map_swqueue). */
function bootSoftwareQueues(view: View, plan: MachinePlan, disk: DiskPlan): void {
  disk.queues.forEach((queue, i) => {
    const hctx = disk.hctxs + i * L.HC_SIZE
    queue.cpus.forEach((cpu, indexHw) => {
      fields(view, disk.ctxs + cpu * L.CTX_SIZE, [
        [L.CTX_CPU, cpuOf(plan, cpu)],
        [L.CTX_HCTX, hctx],
        [L.CTX_INDEX_HW, indexHw],
      ])
      view.setU32(disk.mqMap + cpu * 4, hctx)
    })
  })
}

/** The table of all hardware queues, and each CPU's list of those that it owns, in the order of the table. */
function bootOwners(view: View, plan: MachinePlan): void {
  const link = new Map<number, number>()
  let at = plan.hctxTable
  for (const disk of plan.disks) {
    if (disk.admin || disk.config.namespaceOf !== undefined) continue
    disk.queues.forEach((queue, i) => {
      const hctx = disk.hctxs + i * L.HC_SIZE
      view.setU32(at, hctx)
      at += 4
      view.setU32(link.get(queue.owner) ?? cpuOf(plan, queue.owner) + L.CPU_HCTX, hctx)
      link.set(queue.owner, hctx + L.HC_NEXT_OWNED)
    })
  }
}
