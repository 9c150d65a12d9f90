// Controllers of a machine and the driver that finds them: both sides of the wire, joined here and nowhere else.
//
//   DeviceTimers     what a device does later (a command that takes time, a controller that gets ready)
//   NvmeControllers  the controllers of the disks that have one, and the core's calls to them (DV_*)
//   NvmeHost         the bus with their functions on it, the driver, what it found
//
// The memory of queues was planned at boot: the driver gets it in place of dma_alloc_coherent.

import { DSQ_DEV, IRQ_CPU } from '../../assembly/layout.js'
import type { planned_memory, queue_memory } from '../block/blk-mq-init.js'
import type { tags_memory } from '../block/blk-mq-tag.js'
import type { BlockLayer } from '../block/blkdev.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { ControllerConfig } from '../device/nvme/config.js'
import type { OcssdOptions } from '../device/ocssd/device.js'
import type { Extension } from '../device/nvme/extension.js'
import { NvmeController } from '../device/nvme/controller.js'
import { type KernelEra, NVME_ERAS } from '../drivers/nvme/host/era.js'
import type { nvme_core, nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import { nvme_exit, nvme_init, type nvme_module } from '../drivers/nvme/host/pci.js'
import type { nvme_dev, nvme_memory } from '../drivers/nvme/host/pci-queue.js'
import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { mutex } from '../kernel/mutex.js'
import { work_busy } from '../kernel/workqueue-control.js'
import type { pci_bus, pci_dev } from '../kernel/pci.js'

/** Entries of an admin queue at most (NVME_AQ_DEPTH of 4.9), and its pages for PRP lists. */
export const ADMIN_ENTRIES = 256
export const ADMIN_PRP = 8

/** Where a queue pair is, both sides of it. */
interface PlannedPair {
  readonly nq: number
  readonly sq: number
  readonly cq: number
  readonly dsq: number
  readonly dcq: number
  readonly prp: number
  readonly prpLinks: number
}

/** What of a disk's plan and configuration belongs to its controller (DiskPlan of plan.ts). */
export interface ProbedDisk extends queue_memory {
  readonly dev: number
  readonly ns: number
  readonly bar: number
  readonly cmb: number
  readonly stride: number
  readonly nrPrp: number
  readonly admin: (PlannedPair & { readonly irq: number; readonly irqStride: number }) | null
  readonly queues: readonly (PlannedPair & tags_memory & { readonly fifo: number })[]
  readonly config: {
    readonly name: string
    readonly depth: number
    readonly queues: number
    readonly mdtsBytes: number
    readonly wc: boolean
    readonly shadow: boolean
    readonly namespaceOf?: string
    readonly controller?: Pick<
      nvme_memory,
      | 'io_queue_depth'
      | 'sgl_threshold'
      | 'io_timeout'
      | 'admin_timeout'
      | 'max_host_mem_mb'
      | 'use_cmb_sqs'
      | 'write_queues'
      | 'poll_queues'
    > & {
      readonly config: Partial<ControllerConfig>
      readonly slots: number
      readonly cmbBytes?: number
      readonly ocssd?: OcssdOptions
    }
  }
}

// ---------------------------------------------------------------- time of devices

/** What devices do later, on the machine's clock. */
export class DeviceTimers {
  readonly #now: () => number
  readonly #sooner: () => void
  /** By time, then by order. */
  #timers: { readonly at: number; readonly fn: () => void }[] = []

  /** @param sooner called when there is one earlier than all others */
  constructor(now: () => number, sooner: () => void) {
    this.#now = now
    this.#sooner = sooner
  }

  /** Calls `fn` after so many ns; the result calls it off. */
  after(ns: number, fn: () => void): () => void {
    const timer = { at: this.#now() + ns, fn }
    const place = this.#timers.findIndex(other => other.at > timer.at)
    this.#timers.splice(place < 0 ? this.#timers.length : place, 0, timer)
    if (this.#timers[0] === timer) this.#sooner()
    return () => {
      this.#timers = this.#timers.filter(other => other !== timer)
    }
  }

  /** When the next one is due, ns; Infinity = never. */
  next(): number {
    return this.#timers[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /** Does what is due. */
  advance(): void {
    while (this.next() <= this.#now()) this.#timers.shift()!.fn()
  }
}

// ---------------------------------------------------------------- the device's side

export interface ControllerPorts {
  readonly view: View
  /** This thread's instance, not the kernel's door to it. */
  readonly core: Core
  readonly now: () => number
  readonly timers: DeviceTimers
}

/** What a disk with a controller adds: extensions by the number of the disk. */
export type ExtensionsOf = (index: number) => readonly Extension[]

/** The controllers of a machine, by disk. */
export class NvmeControllers {
  readonly all: readonly { readonly disk: ProbedDisk; readonly controller: NvmeController }[]
  readonly #disks: readonly ProbedDisk[]
  readonly #view: View
  readonly #byDev: Map<number, NvmeController>

  constructor(ports: ControllerPorts, disks: readonly ProbedDisk[], extensions: ExtensionsOf) {
    this.#view = ports.view
    this.#disks = disks
    this.all = disks.flatMap((disk, i) =>
      disk.admin === null ? [] : [{ disk, controller: makeController(ports, disk, extensions(i)) }],
    )
    this.#byDev = new Map(this.all.map(({ disk, controller }) => [disk.dev, controller]))
  }

  /** The disks of a controller's further namespaces. */
  namespacesOf(disk: ProbedDisk): ProbedDisk[] {
    return this.#disks.filter(one => one.config.namespaceOf === disk.config.name)
  }

  /** DV_*. */
  device_host = (what: number, dsq: number, sqe: number, arg: number): number => {
    const controller = this.#byDev.get(this.#view.u32((dsq >>> 0) + DSQ_DEV))
    if (!controller) throw new Error('the core calls a controller that there is not')
    return controller.deviceHost(what, dsq >>> 0, sqe >>> 0, arg >>> 0)
  }
}

function makeController(
  { view, core, now, timers }: ControllerPorts,
  disk: ProbedDisk,
  extensions: readonly Extension[],
): NvmeController {
  const { config, admin, queues } = disk
  const { controller } = config
  return new NvmeController(
    { view, core, now, after: (ns, fn) => timers.after(ns, fn) },
    {
      dev: disk.dev,
      ns: disk.ns,
      bar: disk.bar,
      dsqs: [admin!.dsq, ...queues.map(q => q.dsq)],
      dcqs: [admin!.dcq, ...queues.map(q => q.dcq)],
      fifos: [0, ...queues.map(q => q.fifo)],
      irqs: admin!.irq,
      irqStride: admin!.irqStride,
    },
    {
      entries: config.depth,
      ioQueues: config.queues,
      vectors: queues.length + 1,
      stride: disk.stride,
      mdtsBytes: config.mdtsBytes,
      writeCache: config.wc,
      slots: controller!.slots,
      doorbellBuffer: config.shadow,
      ...(disk.cmb ? { cmb: { at: disk.cmb, bytes: controller!.cmbBytes! } } : {}),
      ...controller!.config,
    },
    extensions,
  )
}

// ---------------------------------------------------------------- the host's side

/** Blocks of the queues of the disk and its further namespaces, in their order, and of the tags. */
function plannedMemory(disk: ProbedDisk, more: readonly queue_memory[]): planned_memory {
  const all = [disk, ...more]
  const used = new Set<queue_memory>()
  return {
    tags: i => disk.queues[i] ?? null,
    queue: (): queue_memory | null => {
      const free = all.find(one => !used.has(one)) ?? null
      if (free) used.add(free)
      return free
    },
    queue_free: q => {
      const mine = all.find(one => one.q === q)
      return mine !== undefined && used.delete(mine)
    },
  }
}

function memoryOf(disk: ProbedDisk, more: readonly queue_memory[]): nvme_memory {
  const { admin, queues, config } = disk
  const { sgl_threshold, io_queue_depth, io_timeout, admin_timeout, max_host_mem_mb } =
    config.controller!
  const { use_cmb_sqs, cmbBytes, write_queues, poll_queues } = config.controller!
  return {
    bar: disk.bar,
    queues: [
      { ...admin!, entries: ADMIN_ENTRIES, nrPrp: ADMIN_PRP },
      ...queues.map(q => ({ ...q, entries: config.depth, nrPrp: disk.nrPrp })),
    ],
    planned: plannedMemory(disk, more),
    ...(cmbBytes === undefined ? {} : { cmb: { at: disk.cmb, bytes: cmbBytes } }),
    ...(use_cmb_sqs === undefined ? {} : { use_cmb_sqs }),
    ...(write_queues === undefined ? {} : { write_queues }),
    ...(poll_queues === undefined ? {} : { poll_queues }),
    ...(sgl_threshold === undefined ? {} : { sgl_threshold }),
    ...(io_queue_depth === undefined ? {} : { io_queue_depth }),
    ...(io_timeout === undefined ? {} : { io_timeout }),
    ...(admin_timeout === undefined ? {} : { admin_timeout }),
    ...(max_host_mem_mb === undefined ? {} : { max_host_mem_mb }),
  }
}

/** The driver of the controllers. */
export class NvmeHost {
  readonly bus: pci_bus
  readonly controllers: NvmeControllers
  readonly era: KernelEra
  readonly #k: Kernel
  readonly #blk: BlockLayer
  /** Called with the driver's core before it looks for controllers. */
  before: (nvme: nvme_core) => void = () => {}
  /** Once the driver is loaded. */
  module: nvme_module | null = null

  constructor(
    k: Kernel,
    blk: BlockLayer,
    controllers: NvmeControllers,
    cpus: readonly number[],
    era: KernelEra,
  ) {
    this.#k = k
    this.#blk = blk
    this.era = era
    this.controllers = controllers
    const { view } = blk
    const devices = controllers.all.map(({ disk, controller }, i) => {
      const { admin } = disk
      view.setU32(admin!.irq + IRQ_CPU, cpus[0]!)
      const dev: pci_dev = {
        k,
        view,
        fn: controller,
        name: `0000:00:${(4 + i).toString(16).padStart(2, '0')}.0`,
        irqs: admin!.irq,
        irq_stride: admin!.irqStride,
        cpus,
        platform_data: memoryOf(disk, controllers.namespacesOf(disk)),
        driver: null,
        drvdata: null,
        enabled: false,
        irq_affinity: [],
        requested: new Set(),
        offline: false,
        lock: new mutex(k, 'device lock'),
      }
      return dev
    })
    this.bus = { k, devices, drivers: [] }
  }

  /** Loads the driver in a task of its own, which probes every controller. */
  load(done: () => void = () => {}): void {
    const self = this
    this.#k.spawn('init', function* () {
      const loaded = yield* nvme_init(self.#blk, self.bus, NVME_ERAS[self.era], self.before)
      if (typeof loaded === 'number') throw new Error(`nvme_init: ${loaded}`)
      self.module = loaded
      done()
    })
  }

  /** Unloads the driver, which lets go of every controller. */
  *unload(): Sleep<void> {
    const { module } = this
    if (module === null) return
    this.module = null
    yield* nvme_exit(module, this.bus)
  }

  /** The driver's controller of a function, while it has one. */
  ctrl(index: number): nvme_ctrl | null {
    return (this.bus.devices[index]?.drvdata as nvme_dev | null)?.ctrl ?? null
  }

  /** Tag maps of the admin queues. */
  adminTags(): number[] {
    return this.bus.devices.flatMap((_, i) => this.ctrl(i)?.admin_tagset?.tags ?? [])
  }

  /** Every controller has come up, or will not, and was scanned. */
  get settled(): boolean {
    if (this.module === null) return false
    return this.bus.devices.every(({ drvdata }) => {
      const dev = drvdata as nvme_dev | null
      if (dev === null) return true
      const { reset_work, scan_work, state } = dev.ctrl
      // A timeout that is being handled may be about to ask for a reset.
      const queues = [dev.ctrl.admin_q, ...dev.ctrl.namespaces.map(ns => ns.queue)]
      const works = queues.flatMap(q => q?.timeout_work ?? [])
      const busy = [reset_work, scan_work, dev.remove_work, ...works].some(w => work_busy(w) !== 0)
      return !busy && (state === 'LIVE' || state === 'ADMIN_ONLY')
    })
  }
}
