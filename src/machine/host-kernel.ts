// A kernel for a machine: the emulated kernel of src/kernel over the machine's clock, and the block layer over its core.
// From then on the core calls TypeScript in the middle of its functions (M_HOST), and a run of the clock is
//
//   step     timers that are due, tasks that are ready, until none is       (kernel.ts)
//   slice    the core's events, up to the next jiffy or the kernel's next deadline
//
// In real time tasks that are ready for ever must not keep the core waiting: a step then ends after a moment.
//
// Who runs on a CPU is known on both sides: a call into the core takes number and depth of the context along, and the
// task's plug; a call from the core runs in the context that the core was in, which is the caller's own, or the hard
// interrupt of a CPU whose events the core serves.
//
// One kernel serves all CPUs on one thread, in both clocks: its objects are not shared memory (shared-thread.ts).

import * as L from '../../assembly/layout.js'
import { blk_plug, wake_tag_waiters } from '../block/bio.js'
import { blk_start_queue_async, blk_stop_queue } from '../block/blk-core.js'
import { blk_mq_init_queue } from '../block/blk-mq-init.js'
import { blk_dev_init, block_host } from '../block/block-layer.js'
import {
  blk_mq_requeue_request,
  blk_mq_start_stopped_hw_queues,
  blk_mq_stop_hw_queues,
} from '../block/blk-mq.js'
import type { BlockLayer, blk_mq_hw_ctx, blk_mq_ops, request_queue } from '../block/blkdev.js'
import { BLK_EH_DONE } from '../block/blkdev.js'
import { blk_mq_init_sched } from '../block/blk-mq-sched.js'
import { SCHEDULERS, type SchedulerName } from '../block/schedulers.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import { null_blk, type NullbOptions } from '../drivers/block/null_blk.js'
import { nvme_complete_rq } from '../drivers/nvme/host/core.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import { type Cpu, ExecContext, run_in_context } from '../kernel/core.js'
import { cpuhp_setup_state } from '../kernel/cpu.js'
import { hrtimer_get_next_event } from '../kernel/hrtimer.js'
import { Kernel } from '../kernel/kernel.js'
import { do_softirq, ksoftirqd_running } from '../kernel/softirq.js'
import { enter, leave, trace_call, type TraceContext, type TraceSink } from '../kernel/trace.js'
import type { DiskConfig, MachineConfig, PageCacheConfig } from './config.js'
import { HostFiles } from './host-files.js'
import { HostLightnvm } from './host-lightnvm.js'
import { type DeviceTimers, type NvmeControllers, NvmeHost } from './host-nvme.js'
import { hasHostPart } from './null-blk.js'
import type { NullBlkConfig } from './null-blk-config.js'
import { SingleQueues } from './host-single-queue.js'
import { Slab } from '../mm/slab.js'

const BIOS = 256
const WAITERS = 64
const WAITER_STRIDE = L.LINE
const SCHED_TAGS_MAX = 256
/** Words of a CPU's block that every call into the core sets. */
const DEPTH = L.CPU_DEPTH / 4
const CTX_ID = L.CPU_CTX_ID / 4
const PLUG = L.CPU_PLUG / 4
/** Longest step in real time. */
const STEP_NS = 500_000
/** Arguments of a core's function that is called for every I/O, at most. */
const SHORT_CALL = 4

type CoreFn = (...args: number[]) => number
/** What answers a call out of the core. */
type Answerer = (a: number, b: number, c: number) => number

/** Bytes that a kernel wants of the machine's memory (MachineConfig.extraBytes). */
export function hostKernelBytes(cpus: number, hardwareQueues: number, heapBytes = 0): number {
  const tags = SCHED_TAGS_MAX * (L.RQ_SIZE + 4 + L.SBW_SIZE) + L.TAGS_SIZE + cpus * L.SBQ_HINT_SIZE
  return (
    BIOS * L.BIO_BYTES +
    WAITERS * WAITER_STRIDE +
    hardwareQueues * (tags + 4096) +
    65536 +
    heapBytes
  )
}

/**
 * Whether a disk needs a kernel: for a controller to be found, a scheduler, timeouts, a share of tags that falls idle, a queue that is stopped and started, a
 * single queue; in real time also for a driver with a part in TypeScript, when there are several CPUs.
 */
export function needsHostKernel(
  disk: Pick<DiskConfig, 'nullBlk' | 'sched' | 'controller'>,
  machine: Pick<MachineConfig, 'clock' | 'cpus'>,
): boolean {
  const { nullBlk, sched, controller } = disk
  if (controller || (sched ?? 'none') !== 'none') return true
  if (nullBlk === undefined) return false
  if (
    nullBlk.sharedTags ||
    nullBlk.mbps > 0 ||
    nullBlk.timeout !== null ||
    nullBlk.queueMode === L.NULL_Q_RQ
  )
    return true
  return machine.clock === 'real' && machine.cpus > 1 && hasHostPart(disk)
}

/** What a kernel knows of a disk of its machine. */
export interface HostDisk {
  /** request_queue (Q_*). */
  readonly q: number
  readonly config: {
    readonly name: string
    readonly driver: string
    readonly depth: number
    readonly sched?: SchedulerName
    readonly nullBlk?: NullBlkConfig
    readonly controller?: { readonly ocssd?: object }
    readonly namespaceOf?: string
    readonly target?: { readonly quirks: boolean }
  }
}

export interface HostKernelOptions {
  readonly view: View
  /** This thread's instance. */
  readonly core: Core
  /** CPU blocks by number. */
  readonly cpus: readonly number[]
  readonly hz: number
  readonly disks: readonly HostDisk[]
  readonly nullBlk: readonly NullbOptions[]
  readonly seed: number
  /** Zeroed memory, hostKernelBytes in all. */
  readonly alloc: (bytes: number, align?: number) => number
  /** Of it for the kernel's own memory (mm/slab.ts); absent = none. */
  readonly heapBytes?: number
  readonly trace?: TraceSink
  readonly timer?: 'wheel' | 'exact'
  /** Between a wake-up and the task's first instruction, ns. */
  readonly switchNs?: number
  readonly switchSpreadNs?: number
  /** What a request takes a task that submits many, ns. */
  readonly submitNs?: number
  /** Controllers of disks that are to be found, and what their devices do later. */
  readonly controllers?: NvmeControllers
  readonly deviceTimers?: DeviceTimers
  readonly era?: KernelEra
  /** A page cache for jobs, and how many jobs there are. */
  readonly pageCache?: PageCacheConfig
  readonly jobs?: number
  /** They are found when somebody says so. */
  readonly manual?: boolean
  /** The machine keeps pace with the host's clock (paced.ts). */
  readonly paced?: boolean
  /** Real time: the host's clock, ns. Absent = virtual time, the machine's own. */
  readonly now?: () => number
}

/** Whether softirqs wait there that are not left to ksoftirqd. */
function raised(cpu: Cpu): boolean {
  return cpu.softirq_pending !== 0 && !ksoftirqd_running(cpu)
}

/** Heap bytes for so many requests of a scheduler: blocks of the heap are powers of two, and the old ones go last. */
export function schedTagsBytes(requests: number): number {
  return 4 * (L.RQ_SIZE + 8) * requests + 16 * L.PAGE_SIZE
}

/** An emulated kernel, its block layer, and their machine. */
export class HostKernel {
  readonly k: Kernel
  readonly blk: BlockLayer
  /** The NVMe driver, on machines with controllers that it has to find. */
  readonly nvme: NvmeHost | null
  /** LightNVM, on machines with open-channel devices. */
  readonly lightnvm: HostLightnvm | null
  /** Buffered I/O of jobs, on machines with a page cache. */
  readonly files: HostFiles | null
  readonly #view: View
  readonly #options: HostKernelOptions
  readonly #null: null_blk
  readonly #single: SingleQueues
  /** Memory of schedulers' tags, by hardware queue. */
  readonly #schedTags = new Map<number, number[]>()
  /** ... and of those that have more than usual. */
  readonly #grownTags = new Map<number, number[]>()
  /** Calls into the core that have not returned. */
  #inside = 0
  /** Contexts of the CPUs' jobs, where they have names. */
  readonly #jobs: ExecContext[] = []
  /** CPUs that have jobs. */
  readonly #working: number[] = []
  /** The last slice had no event: time may jump to the next deadline. */
  #quiet = false

  constructor(options: HostKernelOptions) {
    const { view, hz, cpus } = options
    this.#options = options
    this.#view = view
    this.k = new Kernel({
      now: options.now ?? (() => view.u64(L.M_BASE + L.M_NOW)),
      hz,
      nrCpus: cpus.length,
      bootNs: 0,
      initialJiffies: 0,
      ...(options.trace ? { trace: options.trace } : {}),
      ...(options.timer ? { timer: options.timer } : {}),
      switchNs: options.switchNs ?? 0,
      switchSpreadNs: options.switchSpreadNs ?? 0,
      submitNs: options.submitNs ?? 0,
      within: run => this.#within(run),
    })
    const heap = options.heapBytes ?? 0
    const mem = new Slab(view, heap ? options.alloc(heap, L.PAGE_SIZE) : 0, heap)
    const offline = (cpu: number, gone: number): void =>
      view.store(cpus[cpu]! + L.CPU_OFFLINE, gone)
    cpuhp_setup_state(this.k, {
      name: 'machine',
      online: cpu => offline(cpu, 0),
      dead: cpu => offline(cpu, 1),
    })
    this.blk = blk_dev_init(this.k, this.#wrap(options.core), view, cpus, mem)
    this.#reserve()
    this.#null = this.#nullBlk()
    this.#single = new SingleQueues(this.k, this.blk)
    for (const disk of options.disks)
      if (!disk.config.controller && disk.config.namespaceOf === undefined) this.#init_queue(disk)
    this.files = options.pageCache
      ? new HostFiles(this.blk, options.pageCache, options.jobs ?? 0, options.alloc)
      : null
    this.nvme = options.controllers
      ? new NvmeHost(this.k, this.blk, options.controllers, cpus, options.era ?? '4.19')
      : null
    const targets = new Map(
      options.disks.filter(d => d.config.target).map(({ q, config }) => [config.name, q]),
    )
    const channels = options.disks.some(disk => disk.config.controller?.ocssd !== undefined)
    const quirks = options.disks.filter(d => d.config.target?.quirks).map(d => d.config.name)
    const ways = { seed: options.seed, quirks }
    this.lightnvm = channels ? new HostLightnvm(this.blk, targets, ways) : null
    if (this.nvme && this.lightnvm) this.nvme.before = nvme => this.lightnvm!.attach(nvme)
    if (!options.manual) this.nvme?.load()
    view.store(L.M_BASE + L.M_HOST, 1)
  }

  #init_queue(disk: HostDisk): void {
    const { name, sched } = disk.config
    const { blk } = this
    const tags = {
      nr_hw_queues: 1,
      queue_depth: 1,
      reserved_tags: 0,
      mq_map: new Uint32Array(),
      tags: [],
    }
    const q = blk_mq_init_queue({ blk, at: disk.q, ops: this.#ops(disk), ...tags }, name)!
    if (sched) blk_mq_init_sched(q, SCHEDULERS[sched], hctx => this.schedTags(hctx))
    const { nullBlk } = disk.config
    if (nullBlk?.queueMode === L.NULL_Q_RQ) this.#single.init(disk, nullBlk, this.#null)
  }

  #reserve(): void {
    const { alloc } = this.#options
    const { bios, waiters } = this.blk.bios
    const bio = alloc(BIOS * L.BIO_BYTES)
    for (let i = BIOS; i--; ) bios.push(bio + i * L.BIO_BYTES)
    const waiter = alloc(WAITERS * WAITER_STRIDE)
    for (let i = WAITERS; i--; ) waiters.push(waiter + i * WAITER_STRIDE)
  }

  /** The queue of a disk. */
  queue(disk: HostDisk): request_queue {
    return this.blk.queues.get(disk.q)!
  }

  // ---------------------------------------------------------------- drivers

  #ops(disk: HostDisk): blk_mq_ops {
    const { blk } = this
    if (disk.config.driver === 'nvme')
      return {
        name: 'nvme',
        complete_failed: nvme_complete_rq,
        commit_rqs: () => blk.core.nvme_ring_doorbells(blk.cpus[this.k.cpu.id]!),
      }
    if (disk.config.driver === 'lightnvm') return { name: 'lightnvm' }
    const { k } = this
    return {
      name: 'null_blk',
      timeout: (q, rq) => this.#null_timeout_rq(q, rq),
      open: () => trace_call(k, 'null_open'),
      release: () => {
        trace_call(k, 'null_release')
        return undefined
      },
    }
  }

  /** The driver gives a request up: it ends as if it had come to its end. */
  #null_timeout_rq(q: request_queue, rq: number): number {
    const t = enter(this.k, 'null_timeout_rq')
    const { core, cpus, view } = q.blk
    const nullb = view.u32(view.u32(rq + L.RQ_HCTX) + L.HC_DRIVER_DATA)
    core.null_cmd_cancel(cpus[this.k.cpu.id]!, nullb, rq)
    core.null_complete_request(cpus[this.k.cpu.id]!, nullb, rq, 0)
    return leave(this.k, t, BLK_EH_DONE)
  }

  #nullBlk(): null_blk {
    const { blk, k } = this
    const at = (q: number): request_queue => blk.queues.get(q)!
    const layer = {
      stop: (q: number): void => {
        const single = this.#single.at(q)
        if (single) blk_stop_queue(single)
        else blk_mq_stop_hw_queues(at(q))
      },
      restart_async: (q: number): void => {
        const single = this.#single.at(q)
        if (single) blk_start_queue_async(single)
        else blk_mq_start_stopped_hw_queues(at(q), true)
      },
      requeue: (_cpu: number, rq: number): void =>
        blk_mq_requeue_request(at(blk.view.u32(rq + L.RQ_Q)), rq, true),
    }
    return new null_blk(k, this.#view, layer, this.#options.nullBlk, this.#options.seed, k)
  }

  // ---------------------------------------------------------------- into the core

  #wrap(core: Core): Core {
    const wrapped: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(core)) {
      wrapped[name] = typeof value === 'function' ? this.#door(value as CoreFn) : value
    }
    // An object with so many names is a hash table, unless it is a prototype: then its functions are constants to the compiler.
    return Object.create(wrapped) as Core
  }

  /** Nobody makes a list of arguments for the short calls of every I/O. */
  #door(fn: CoreFn): CoreFn {
    if (fn.length > SHORT_CALL) return (...args) => this.#call(() => fn(...args), 0, 0, 0, 0)
    return (a, b, c, d) => this.#call(fn, a!, b!, c!, d!)
  }

  #call(fn: CoreFn, a: number, b: number, c: number, d: number): number {
    const { k } = this
    const view = this.#view
    // Words, not fields: this is much of what an admin command costs while nothing is warm.
    const { words } = view
    const cpu = this.#options.cpus[k.cpu.id]!
    const at = cpu >>> 2
    const depth = words[at + DEPTH]!
    const ctx = words[at + CTX_ID]!
    const plug = this.#inside === 0 && k.ctx === k.cpu.current ? k.cpu.current.plug : null
    words[at + DEPTH] = k.ctx.depth
    words[at + CTX_ID] = k.ctx.id
    if (this.#inside === 0) {
      const now = k.now()
      if (view.u64(cpu + L.CPU_NOW) < now) view.setU64(cpu + L.CPU_NOW, now)
      words[at + PLUG] = plug instanceof blk_plug ? plug.depth : 0
    }
    this.#inside++
    try {
      return fn(a, b, c, d)
    } finally {
      this.#inside--
      if (plug instanceof blk_plug) plug.depth = words[at + PLUG]!
      if (this.#inside === 0) words[at + PLUG] = 0
      words[at + DEPTH] = depth
      words[at + CTX_ID] = ctx
    }
  }

  /** Others run in the middle of a call of the core's: what they call begins anew, what the core keeps for this one stays. */
  #within(run: () => void): void {
    const view = this.#view
    const cpu = this.#options.cpus[this.k.cpu.id]!
    const plug = view.u32(cpu + L.CPU_PLUG)
    const inside = this.#inside
    this.#inside = 0
    view.setU32(cpu + L.CPU_PLUG, 0)
    run()
    this.#inside = inside
    view.setU32(cpu + L.CPU_PLUG, plug)
  }

  // ---------------------------------------------------------------- out of the core

  /** HB_*. */
  block_host = (cpu: number, what: number, a: number, b: number): number =>
    this.#from(cpu >>> 0, this.#block_host, what, a, b)

  readonly #block_host = (what: number, a: number, b: number): number =>
    block_host(this.blk, what, a, b)

  /** make_request_fn of single queues. */
  make_request = (cpu: number, bio: number): number =>
    this.#from(cpu >>> 0, this.#make_request, cpu, bio, 0)

  readonly #make_request = (cpu: number, bio: number): number =>
    this.lightnvm?.owns(bio >>> 0)
      ? this.lightnvm.make_request(bio >>> 0)
      : this.#single.make_request(cpu >>> 0, bio >>> 0)

  null_cmd = (cpu: number, nullb: number, rq: number, faults: number): number =>
    this.#from(
      cpu >>> 0,
      () => {
        const answer = this.#null.null_cmd(cpu, nullb, rq, faults)
        // A timer that was set for the past fires at once: interrupts are not held off here.
        if (hrtimer_get_next_event(this.k) <= this.k.now()) this.k.advance()
        return answer
      },
      0,
      0,
      0,
    )

  #from(cpu: number, fn: Answerer, a: number, b: number, c: number): number {
    const { k } = this
    const view = this.#view
    const at = k.cpus[view.u32(cpu + L.CPU_INDEX)]!
    const id = view.u32(cpu + L.CPU_CTX_ID)
    const depth = view.u32(cpu + L.CPU_DEPTH)
    const inside = this.#inside
    this.#inside = Math.max(inside, 1)
    try {
      const irq = (id & L.TRACE_HARDIRQ) !== 0
      if (irq || inside === 0) return this.#inIrq(at, irq, depth, fn, a, b, c)
      const before = k.ctx.depth
      k.ctx.depth = depth
      try {
        return fn(a, b, c)
      } finally {
        k.ctx.depth = before
      }
    } finally {
      this.#inside = inside
    }
  }

  /** What traces call the jobs of a CPU: whoever calls out of the core for them has that context. */
  jobContext(cpu: number, name: string): TraceContext {
    const ctx = new ExecContext(this.k.next_id(), name, 'task')
    this.#jobs[cpu] = ctx
    return ctx
  }

  /** The core serves an event of a CPU: its interrupt, or a turn of its jobs. */
  #inIrq(
    cpu: Cpu,
    irq: boolean,
    depth: number,
    fn: Answerer,
    a: number,
    b: number,
    c: number,
  ): number {
    const { k } = this
    const { cpu: cpu_before, ctx: ctx_before } = k
    const ctx = irq ? cpu.hardirq : (this.#jobs[cpu.id] ?? cpu.hardirq)
    const before = ctx.depth
    cpu.in_hardirq++
    k.cpu = cpu
    k.ctx = ctx
    ctx.depth = depth
    try {
      return fn(a, b, c)
    } finally {
      k.cpu = cpu_before
      k.ctx = ctx_before
      ctx.depth = before
      cpu.in_hardirq--
      this.#call_back(cpu)
    }
  }

  /**
   * Somebody was woken: the core returns after this event, so that time does not go on before he runs. A paced machine's
   * does not go on anyway, and what many events have woken is then run at once.
   */
  #call_back(cpu: Cpu): void {
    if (this.#options.paced) return
    const waits =
      this.k.rq_head !== null || this.blk.bios.sleeping.size + this.blk.bios.dispatching.size > 0
    if (!waits && cpu.softirq_pending === 0) return
    this.#view.setU32(this.#options.cpus[cpu.id]! + L.CPU_SLOW, 1)
  }

  // ---------------------------------------------------------------- time

  /** Runs what is due and ready. @returns until when the core may run, ns */
  step(): number {
    const { k, blk } = this
    const devices = this.#options.deviceTimers
    devices?.advance()
    k.advance()
    const enough = this.#options.now ? k.now() + STEP_NS : Number.POSITIVE_INFINITY
    do {
      this.#softirqs()
      wake_tag_waiters(blk)
    } while ((k.runReady(64) || this.#raised) && k.now() < enough)
    this.#kick()
    const next = Math.min(k.nextDeadline(), devices?.next() ?? Number.POSITIVE_INFINITY)
    // What has just been begun may arm a timer before it is over, which no deadline of now knows.
    const quiet =
      this.#quiet && this.#view.u32(this.#view.u32(L.M_BASE + L.M_EVENTS) + L.EVQ_COUNT) === 0
    return quiet ? next : Math.min(next, k.now() + k.tick_nsec)
  }

  /** When there is something to do here, ns: at once when a task is ready; Infinity = never. */
  deadline(): number {
    if (this.ready) return this.k.now()
    const devices = this.#options.deviceTimers?.next() ?? Number.POSITIVE_INFINITY
    return Math.min(this.k.nextDeadline(), devices)
  }

  /** A task is ready, or a softirq is pending. */
  get ready(): boolean {
    const { k } = this
    return k.rq_head !== null || this.#raised
  }

  get #raised(): boolean {
    return this.k.softirqs && this.k.cpus.some(raised)
  }

  /** What was raised by tasks, or by the core in their name. */
  #softirqs(): void {
    const { k } = this
    if (!k.softirqs) return
    for (const cpu of k.cpus)
      if (raised(cpu)) run_in_context(k, cpu, cpu.current, () => do_softirq(k))
    k.softirqs = k.cpus.some(cpu => cpu.softirq_pending !== 0)
  }

  /** A job whose I/O ended here, or for which there is a tag again, has no interrupt that says so. */
  #kick(): void {
    const { core } = this.#options
    for (const cpu of this.#working) if (core.cpu_pending(cpu)) core.virtual_kick(cpu)
  }

  /** A CPU (CPU_*) has jobs from now on. */
  has_jobs(cpu: number): void {
    if (!this.#working.includes(cpu)) this.#working.push(cpu)
    this.#working.sort((a, b) => a - b)
  }

  /** What the core's slice came to: whether anything at all is still to happen here. */
  sliced(idle: boolean): boolean {
    this.#quiet = idle
    const devices = this.#options.deviceTimers?.next() ?? Number.POSITIVE_INFINITY
    return Math.min(this.k.nextDeadline(), devices) !== Number.POSITIVE_INFINITY
  }

  // ---------------------------------------------------------------- schedulers' tags

  /**
   * Tags of a scheduler for a hardware queue (TAGS_*): twice the driver's depth, 256 at most, or as many as are asked for, in
   * the kernel's own memory; 0 = there is none.
   */
  schedTags(hctx: blk_mq_hw_ctx, depth: number | null = null): number {
    const { core, cpus } = this.#options
    const view = this.#view
    const driver = view.u32(view.u32(hctx.at + L.HC_TAGS) + L.TAGS_NR)
    const count = depth ?? 2 * Math.min(driver, SCHED_TAGS_MAX / 2)
    const words = core.sbitmap_words(count, -1) * L.SBW_SIZE
    const sizes = [L.TAGS_SIZE, 4 * count, L.RQ_SIZE * count, words, cpus.length * L.SBQ_HINT_SIZE]
    const places = depth === null ? this.#usualTags(hctx, sizes) : this.#moreTags(hctx, sizes)
    if (places === null) return 0
    const [tags = 0, rqs = 0, slots = 0, map = 0, hints = 0] = places
    view.setU32(tags + L.TAGS_NR, count)
    view.setU32(tags + L.TAGS_RQS, rqs)
    view.setU32(tags + L.TAGS_STATIC_RQS, slots)
    core.sbitmap_queue_init_node(tags + L.TAGS_BITMAP, count, -1, 0, map, hints, cpus.length, 0, 0)
    core.sbitmap_queue_init_node(tags + L.TAGS_BRESERVED, 0, -1, 0, 0, 0, 0, 0, 0)
    return tags
  }

  /** A scheduler that comes later has the memory of the one that went, which the frozen queue has left. */
  #usualTags(hctx: blk_mq_hw_ctx, sizes: readonly number[]): number[] {
    this.#freeTags(hctx)
    const kept = this.#schedTags.get(hctx.at)
    const places = kept ?? sizes.map(bytes => this.#options.alloc(bytes))
    for (const [i, at] of (kept ?? []).entries()) this.#view.fill(at, sizes[i]!, 0)
    this.#schedTags.set(hctx.at, places)
    return places
  }

  /** More than that; what was there before is given back. */
  #moreTags(hctx: blk_mq_hw_ctx, sizes: readonly number[]): number[] | null {
    const { mem } = this.blk
    const places = sizes.map(bytes => mem.kzalloc(bytes))
    if (places.includes(0)) {
      for (const at of places) mem.kfree(at)
      return null
    }
    this.#freeTags(hctx)
    this.#grownTags.set(hctx.at, places)
    return places
  }

  #freeTags(hctx: blk_mq_hw_ctx): void {
    for (const at of this.#grownTags.get(hctx.at) ?? []) this.blk.mem.kfree(at)
    this.#grownTags.delete(hctx.at)
  }
}
