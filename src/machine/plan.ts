// The memory plan of a machine: every block, ring and table gets its address before anything exists.
//
//   machine    M_ block, CPU blocks, rings of finished bios, split bios, the event queue, tables of queues and devices
//   queues     for each disk: request queue, software and hardware queues, tags and requests, rings, doorbells,
//              the controller's side, PRP pages
//   jobs       job blocks and their waiters
//   buffers    what the executor takes with alloc()
//   store      directories of the data stores, then their pages to the end of the memory
//
// Blocks begin on 128-byte boundaries, rings and doorbells on pages. Nothing here touches memory.

import {
  BIO_BYTES,
  CPU_SIZE,
  CTX_SIZE,
  DCQ_SIZE,
  DEV_SIZE,
  DSQ_SIZE,
  EVQ_SIZE,
  EV_SIZE,
  FIFO_SIZE,
  FLT_SIZE,
  HC_SIZE,
  IRQ_SIZE,
  JOB_SIZE,
  LINE_PAIR,
  M_SIZE,
  NBT_SIZE,
  NQ_SIZE,
  NS_SIZE,
  NULLB_SIZE,
  NULL_Q_MQ,
  NULL_Q_RQ,
  PAGE_SIZE,
  POOL_SIZE,
  OT_SIZE,
  Q_SIZE,
  RING_SIZE,
  RQ_SIZE,
  SBQ_HINT_SIZE,
  SBW_SIZE,
  ST_SIZE,
  TAGS_SIZE,
} from '../../assembly/layout.js'
import { BLK_MQ_MAX_DEPTH, CQE_BYTES, DOORBELLS, SQE_BYTES } from '../../assembly/nvme.js'
import { blk_mq_map_queues } from '../block/blk-mq-cpumap.js'
import { nvme_calc_irq_sets } from '../drivers/nvme/host/pci-queue.js'
import { irq_spread } from '../kernel/pci.js'
import { nullb_to_queue } from '../drivers/block/null_blk-options.js'
import { alignUp, MEMORY_LIMIT, MemoryPlan } from '../core/memory.js'
import { ocssdBytes, ocssdHeadBytes } from '../device/ocssd/memory.js'
import { sharesThread } from './clock.js'
import type { DiskConfig, MachineConfig } from './config.js'
import { ADMIN_ENTRIES, ADMIN_PRP } from './host-nvme.js'
import { nandBytes } from './nand.js'

/** Finished bios of TypeScript's own that a CPU's ring holds. */
export const RING_ENTRIES = 1024

/** Bytes of PRP pages that a disk takes at most unless told. */
const PRP_BUDGET = 256 * 2 ** 20

/** blk_queue_max_hw_sectors leaves max_sectors at BLK_DEF_MAX_SECTORS: 1280 KiB a request. */
export const MAX_REQUEST_BYTES: number = 1280 * 1024

/** Pages below one directory entry of a data store. */
export const LEAF_PAGES = 1024

/** Where the blocks of one hardware queue are. */
export interface QueuePlan {
  readonly tags: number
  readonly tagMap: number
  readonly tagHints: number
  readonly rqs: number
  readonly requests: number
  /** The flush request: behind the slots of the tags, or, where tags are shared, the disk's own. */
  readonly flush: number
  readonly nq: number
  readonly sq: number
  readonly cq: number
  readonly dsq: number
  readonly dcq: number
  readonly fifo: number
  readonly irq: number
  readonly prp: number
  readonly prpLinks: number
  readonly owner: number
  readonly cpus: readonly number[]
}

/** Where the admin queue of a controller is. */
export interface AdminPlan {
  readonly nq: number
  readonly sq: number
  readonly cq: number
  readonly dsq: number
  readonly dcq: number
  readonly irq: number
  readonly irqStride: number
  readonly prp: number
  readonly prpLinks: number
}

/** Where the blocks of one disk are, and the numbers they follow from. */
export interface DiskPlan {
  readonly config: DiskConfig
  readonly nrHw: number
  /** Tags of each hardware queue; rings have one entry more. */
  readonly nrTags: number
  readonly nrPrp: number
  readonly stride: number
  readonly map: readonly number[]
  readonly q: number
  readonly mqMap: number
  readonly ctxs: number
  readonly hctxs: number
  readonly dev: number
  /** null_blk: its block (NULLB_*) and its lists of timers, one for each CPU; else 0. */
  readonly nullb: number
  readonly timers: number
  readonly ns: number
  readonly units: number
  readonly empirical: number
  /** Flash (NA_*), and the tables behind it; 0 = there is none. */
  readonly nand: number
  /** Times of the other operations (OT_*), and their tables behind them; 0 = as reads. */
  readonly operations: number
  readonly faults: number
  readonly bar: number
  /** Shadow doorbells and event indices; 0 = none. */
  readonly shadow: number
  readonly eventIndex: number
  /** Data store and its directory; 0 for model null. */
  readonly store: number
  readonly dir: number
  readonly leaves: number
  readonly queues: readonly QueuePlan[]
  /** Queue 0 of a disk with a controller. */
  readonly admin: AdminPlan | null
  /** Controller memory buffer; 0 = there is none. */
  readonly cmb: number
}

/** Where the media of an open-channel device are. */
export interface MediaPlan {
  readonly at: number
  readonly bytes: number
}

/** Where everything is. */
export interface MachinePlan {
  readonly memory: MemoryPlan
  readonly config: MachineConfig
  readonly cpus: number
  readonly rings: number
  readonly splitBios: number
  readonly nrSplitBios: number
  readonly events: number
  readonly eventHeap: number
  readonly eventCap: number
  readonly hctxTable: number
  readonly nrHctx: number
  readonly devs: number
  readonly jobs: number
  readonly waiters: number
  readonly extra: number
  readonly disks: readonly DiskPlan[]
  readonly pool: number
  readonly poolStart: number
  readonly poolPages: number
  /** Media of open-channel devices, by the number of their disk. */
  readonly media: ReadonlyMap<number, MediaPlan>
  /** Bytes of the memory to make. */
  readonly bytes: number
  readonly notes: readonly string[]
}

/** From one CPU's ring to the next. */
export const RING_STRIDE: number = alignUp(RING_SIZE + RING_ENTRIES * 4, LINE_PAIR)

/** From one job's waiter to the next: two lines, since the freeing CPU writes them. */
export const WAITER_STRIDE: number = LINE_PAIR

/** The request_list of a single queue: BLKDEV_MAX_RQ reads and as many writes. */
const SINGLE_QUEUE_REQUESTS = 256

/** Tags of a disk's hardware queues: NVMe keeps one ring slot free, and Linux has no more than 10240. */
export function tagsOf(disk: DiskConfig): number {
  if (disk.nullBlk?.queueMode === NULL_Q_RQ) return SINGLE_QUEUE_REQUESTS
  return Math.min(disk.depth, BLK_MQ_MAX_DEPTH) - (disk.driver === 'nvme' ? 1 : 0)
}

/** Hardware queues that a disk gets: never more than CPUs, and those of further classes. */
export function queuesOf(
  disk: Pick<DiskConfig, 'queues' | 'nullBlk' | 'controller'>,
  cpus: number,
): number {
  if (disk.nullBlk?.queueMode === NULL_Q_RQ) return 1
  const { write_queues = 0, poll_queues = 0 } = disk.controller ?? {}
  return Math.min(disk.queues, cpus + Math.min(write_queues, cpus) + Math.min(poll_queues, cpus))
}

/** Address of a CPU's block. */
export function cpuOf(plan: MachinePlan, index: number): number {
  return plan.cpus + index * CPU_SIZE
}

/** Words of the tag map: at least four as long as there are tags enough (`sbitmap_init_node`). */
export function tagWords(nrTags: number): number {
  let shift = 6
  if (nrTags >= 4) while (4 << shift > nrTags) shift--
  return Math.ceil(nrTags / 2 ** shift)
}

/** PRP pages of each hardware queue. */
function prpPagesOf(disk: DiskConfig, nrHw: number, nrTags: number): number {
  if (disk.driver !== 'nvme') return 0
  if (disk.prpPages !== undefined) return disk.prpPages
  const share = Math.floor(PRP_BUDGET / PAGE_SIZE / nrHw)
  return Math.min(nrTags, Math.max(share, 1))
}

function eventCapacity(config: MachineConfig): number {
  if (config.clock !== 'virtual' && !sharesThread(config)) return 0
  const nvme = config.disks.filter(d => d.driver === 'nvme' && d.namespaceOf === undefined)
  const queues = nvme.reduce((n, d) => n + queuesOf(d, config.cpus) + (d.controller ? 1 : 0), 0)
  // A CPU has one event, a queue a doorbell, a due and a coalescing event.
  return config.cpus + queues * 3
}

/** The part of a hardware queue that a tag set has: null_blk disks with shared_tags have it in common. */
type TagsPlan = Pick<QueuePlan, 'tags' | 'tagMap' | 'tagHints' | 'rqs' | 'requests'>

function planTags(
  take: (name: string, bytes: number) => number,
  nrTags: number,
  cpus: number,
): TagsPlan {
  return {
    tags: take('blk_mq_tags', TAGS_SIZE),
    tagMap: take('tag map', tagWords(nrTags) * SBW_SIZE),
    tagHints: take('tag hints', cpus * SBQ_HINT_SIZE),
    rqs: take('rqs', nrTags * 4),
    requests: take('requests', (nrTags + 1) * RQ_SIZE),
  }
}

/** Lays out one disk's hardware queues; the arrays that the layout wants side by side come first. */
function planQueues(
  memory: MemoryPlan,
  disk: DiskConfig,
  map: readonly number[],
  set: readonly TagsPlan[] | undefined,
): { queues: QueuePlan[]; admin: AdminPlan | null } {
  const cpus = map.length
  const nrHw = queuesOf(disk, cpus)
  const nrTags = tagsOf(disk)
  const nrPrp = prpPagesOf(disk, nrHw, nrTags)
  const owner = `queues of ${disk.name}`
  const take = (name: string, bytes: number, align?: number): number =>
    memory.take(owner, name, bytes, align)
  const ring = (name: string, bytes: number, align?: number): number =>
    disk.driver === 'nvme' ? take(name, bytes, align) : 0
  // A controller's queue 0 is the admin queue.
  const first = disk.controller ? 1 : 0
  const nqs = ring('nvme_queue', (nrHw + first) * NQ_SIZE)
  const dsqs = ring('submission queues, device side', (nrHw + first) * DSQ_SIZE)
  const dcqs = ring('completion queues, device side', (nrHw + first) * DCQ_SIZE)
  const irqStride = alignUp(IRQ_SIZE, LINE_PAIR)
  const irqs = ring('interrupt vectors', (nrHw + first) * irqStride)
  const nth = (first: number, size: number, i: number): number => (first ? first + i * size : 0)
  const mapped: number[][] = Array.from({ length: nrHw }, () => [])
  map.forEach((queue, cpu) => {
    mapped[queue]!.push(cpu)
  })
  const queues = mapped.map((cpusOfQueue, i) => {
    const common = set?.[i]
    const tags = common ?? planTags(take, nrTags, cpus)
    return {
      ...tags,
      flush: common ? take('flush request', RQ_SIZE) : tags.requests + nrTags * RQ_SIZE,
      nq: nth(nqs, NQ_SIZE, i + first),
      sq: ring('submission ring', disk.depth * SQE_BYTES, PAGE_SIZE),
      cq: ring('completion ring', disk.depth * CQE_BYTES, PAGE_SIZE),
      dsq: nth(dsqs, DSQ_SIZE, i + first),
      dcq: nth(dcqs, DCQ_SIZE, i + first),
      fifo: ring('commands in service', disk.depth * FIFO_SIZE),
      irq: nth(irqs, irqStride, i + first),
      prp: nrPrp ? take('PRP pages', nrPrp * PAGE_SIZE, PAGE_SIZE) : 0,
      prpLinks: nrPrp ? take('links of PRP pages', nrPrp * 4) : 0,
      owner: cpusOfQueue[0] ?? i % cpus,
      cpus: cpusOfQueue,
    }
  })
  if (!disk.controller) return { queues, admin: null }
  const admin = {
    nq: nqs,
    sq: ring('admin submission ring', ADMIN_ENTRIES * SQE_BYTES, PAGE_SIZE),
    cq: ring('admin completion ring', ADMIN_ENTRIES * CQE_BYTES, PAGE_SIZE),
    dsq: dsqs,
    dcq: dcqs,
    irq: irqs,
    irqStride,
    prp: take('admin PRP pages', ADMIN_PRP * PAGE_SIZE, PAGE_SIZE),
    prpLinks: take('links of admin PRP pages', ADMIN_PRP * 4),
  }
  return { queues, admin }
}

/** The CPU map of a disk. */
function mapOf(disk: DiskConfig, config: MachineConfig): number[] {
  if (disk.nullBlk && disk.nullBlk.queueMode !== NULL_Q_MQ) {
    const nr = queuesOf(disk, config.cpus)
    return Array.from({ length: config.cpus }, (_, cpu) => nullb_to_queue(cpu, nr, config.cpus))
  }
  if (disk.controller) {
    const { write_queues = 0 } = disk.controller
    const irqs = queuesOf(disk, config.cpus) - disk.pollQueues
    const [rest] = nvme_calc_irq_sets(write_queues, irqs)
    const queues = irq_spread(config.cpus, rest)
    return Array.from({ length: config.cpus }, (_, cpu) => queues.findIndex(q => q.includes(cpu)))
  }
  const map = new Uint32Array(config.cpus)
  blk_mq_map_queues(map, queuesOf(disk, config.cpus), config.siblings)
  return [...map]
}

/** Content stays until it is overwritten. */
function keepsData({ model, nand, namespaceOf }: DiskConfig): boolean {
  if (namespaceOf !== undefined) return false
  return model !== 'null' && nand?.keepsData !== false
}

/** The records of the operations, each of them with its table. */
function operationBytes({ operations = [] }: DiskConfig): number {
  return operations.reduce((sum, one) => sum + OT_SIZE + 8 * (one.empirical?.length ?? 0), 0)
}

function planDisk(
  memory: MemoryPlan,
  disk: DiskConfig,
  config: MachineConfig,
  dev: number,
  set: readonly TagsPlan[] | undefined,
): DiskPlan {
  const owner = `queues of ${disk.name}`
  const nrHw = queuesOf(disk, config.cpus)
  const nrTags = tagsOf(disk)
  const stride = disk.stride ?? (disk.where === 'thread' ? 4 : 0)
  const doorbells = (nrHw + 1) * 8 * 2 ** stride
  const leaves = Math.ceil(disk.sizeBytes / PAGE_SIZE / LEAF_PAGES)
  const kept = keepsData(disk)
  const map = mapOf(disk, config)
  const take = (name: string, bytes: number, align?: number): number =>
    memory.take(owner, name, bytes, align)
  const faults = disk.faults?.length ?? 0
  const empirical = disk.empirical?.length ?? 0
  const cmbBytes = disk.controller?.cmbBytes ?? 0
  return {
    config: disk,
    nrHw,
    nrTags,
    nrPrp: prpPagesOf(disk, nrHw, nrTags),
    stride,
    map,
    dev,
    q: take('request_queue', Q_SIZE),
    mqMap: take('mq_map', config.cpus * 4),
    ctxs: take('software queues', config.cpus * CTX_SIZE),
    hctxs: take('hardware queues', nrHw * HC_SIZE),
    nullb: disk.nullBlk ? take('nullb', NULLB_SIZE) : 0,
    timers: disk.nullBlk ? take('timers of commands', config.cpus * NBT_SIZE) : 0,
    ns: take('namespaces', NS_SIZE * (disk.controller?.slots ?? 1)),
    units: take('units of the medium', disk.units * 8),
    empirical: empirical ? take('measured latencies', empirical * 8) : 0,
    operations: disk.operations ? take('times by operation', operationBytes(disk)) : 0,
    nand: disk.nand ? take('flash', nandBytes(disk.nand, disk.sizeBytes)) : 0,
    faults: faults ? take('faults', faults * FLT_SIZE) : 0,
    bar: disk.driver !== 'nvme' ? 0 : take('doorbells', DOORBELLS + doorbells, PAGE_SIZE),
    cmb: cmbBytes ? take('controller memory buffer', cmbBytes, PAGE_SIZE) : 0,
    shadow: disk.shadow ? take('shadow doorbells', doorbells, PAGE_SIZE) : 0,
    eventIndex: disk.shadow ? take('event indices', doorbells, PAGE_SIZE) : 0,
    store: kept ? take('data store', ST_SIZE) : 0,
    dir: kept ? memory.take(`page directory of ${disk.name}`, 'directory', leaves * 4) : 0,
    leaves: kept ? leaves : 0,
    ...planQueues(memory, disk, map, set),
  }
}

/** A further namespace of a controller: a request queue of its own, everything else is the controller's. */
function planNamespace(memory: MemoryPlan, config: DiskConfig, whole: DiskPlan): DiskPlan {
  const owner = `queues of ${config.name}`
  const cpus = whole.map.length
  const take = (name: string, bytes: number): number => memory.take(owner, name, bytes)
  return {
    ...whole,
    config,
    admin: null,
    q: take('request_queue', Q_SIZE),
    mqMap: take('mq_map', cpus * 4),
    ctxs: take('software queues', cpus * CTX_SIZE),
    hctxs: take('hardware queues', whole.nrHw * HC_SIZE),
  }
}

/** Pages of all stores together: the budget, but no more than the disks have, with the leaves above them. */
function poolPagesWanted(config: MachineConfig): number {
  const kept = config.disks.filter(keepsData)
  const whole = kept.reduce((n, d) => n + Math.ceil(d.sizeBytes / PAGE_SIZE), 0)
  const data = Math.min(Math.floor(config.memBytes / PAGE_SIZE), whole)
  // Sequential data need one leaf for 1024 pages; more leaves, for scattered data, come out of the budget.
  return data + (kept.length ? Math.ceil(data / LEAF_PAGES) + kept.length : 0)
}

/** Least pool that makes a machine with a data store worth starting, bytes. */
const POOL_MIN = 16 * 2 ** 20

/**
 * Gives everything its address.
 * @throws UserError when it does not fit into 4 GiB, naming what is too big
 */
export function planMachine(config: MachineConfig): MachinePlan {
  const memory = new MemoryPlan()
  const take = (name: string, bytes: number, align?: number): number =>
    memory.take('CPUs', name, bytes, align)
  take('machine', M_SIZE)
  const booted = config.disks.filter(d => !d.controller && d.namespaceOf === undefined)
  const nrHctx = booted.reduce((n, d) => n + queuesOf(d, config.cpus), 0)
  const nrSplitBios = config.cpus > 64 ? 128 : 1024
  const cpus = take('CPU blocks', config.cpus * CPU_SIZE)
  const rings = take('rings of finished bios', config.cpus * RING_STRIDE)
  const splitBios = take('bios for splitting', config.cpus * nrSplitBios * BIO_BYTES)
  const eventCap = eventCapacity(config)
  const events = take('event queue', EVQ_SIZE)
  const eventHeap = take('events', 2 * eventCap * EV_SIZE)
  const hctxTable = take('table of hardware queues', nrHctx * 4)
  const devs = take('devices', config.disks.length * DEV_SIZE)
  let set: readonly TagsPlan[] | undefined
  const disks: DiskPlan[] = []
  for (const [i, d] of config.disks.entries()) {
    if (d.namespaceOf !== undefined) {
      const whole = disks.find(disk => disk.config.name === d.namespaceOf)!
      disks.push(planNamespace(memory, d, whole))
      continue
    }
    const shares = d.nullBlk?.sharedTags === true
    const disk = planDisk(memory, d, config, devs + i * DEV_SIZE, shares ? set : undefined)
    if (shares) set ??= disk.queues
    disks.push(disk)
  }
  const jobs = memory.take('jobs', 'job blocks', config.jobs * JOB_SIZE)
  const waiters = memory.take('jobs', 'waiters', config.jobs * WAITER_STRIDE)
  const extra = memory.take("jobs' buffers and tables", 'extra', config.extraBytes, PAGE_SIZE)
  const pool = memory.take('CPUs', 'page pool', POOL_SIZE)
  const notes: string[] = []
  const poolPages = fitPool(memory, config, notes)
  const poolStart = memory.take('data stores', 'pages', poolPages * PAGE_SIZE, PAGE_SIZE)
  return {
    memory,
    config,
    cpus,
    rings,
    splitBios,
    nrSplitBios,
    events,
    eventHeap,
    eventCap,
    hctxTable,
    nrHctx,
    devs,
    jobs,
    waiters,
    extra,
    disks,
    pool,
    poolStart,
    poolPages,
    media: planMedia(memory, config.disks),
    bytes: memory.end,
    notes,
  }
}

/** Open-channel devices get what their data may take, or an equal share of what is left of the memory. */
function planMedia(memory: MemoryPlan, disks: readonly DiskConfig[]): Map<number, MediaPlan> {
  const media = new Map<number, MediaPlan>()
  let left = disks.filter(disk => disk.controller?.ocssd !== undefined).length
  for (const [i, disk] of disks.entries()) {
    const ocssd = disk.controller?.ocssd
    if (ocssd === undefined) continue
    const head = ocssdHeadBytes(ocssd.geometry)
    memory.fits(PAGE_SIZE + head + POOL_MIN)
    const share = Math.floor((MEMORY_LIMIT - alignUp(memory.end, PAGE_SIZE)) / left--)
    const data = Math.min(ocssd.budget ?? Number.POSITIVE_INFINITY, ocssdBytes(ocssd.geometry))
    const bytes = Math.min(head + alignUp(data, PAGE_SIZE), share)
    media.set(i, { at: memory.take(`media of ${disk.name}`, 'media', bytes, PAGE_SIZE), bytes })
  }
  return media
}

/** Pages that the pool gets: what is wanted, or what the rest of 4 GiB holds, which is then said. */
function fitPool(memory: MemoryPlan, config: MachineConfig, notes: string[]): number {
  const wanted = poolPagesWanted(config) * PAGE_SIZE
  memory.fits(PAGE_SIZE + Math.min(wanted, POOL_MIN))
  const room = MEMORY_LIMIT - alignUp(memory.end, PAGE_SIZE)
  if (wanted <= room) return wanted / PAGE_SIZE
  const mib = Math.floor(room / 2 ** 20)
  notes.push(
    `mem=${config.memBytes} does not fit beside queues and jobs: data stores have ${mib} MiB`,
  )
  return Math.floor(room / PAGE_SIZE)
}
