// LightNVM on a machine: open-channel devices behind its controllers, the subsystem in its kernel, targets as disks.
//
//   openChannelOf   the device that a disk's configuration describes, as an extension of its controller
//   HostLightnvm    the subsystem: memory for what the device reaches, queues of targets, their bios
//
// A target's disk is bio-based: the core hands its bios to make_request, and gets them back by bio_endio.

import {
  BIO_DATA,
  BIO_DISK,
  BIO_END_IO,
  BIO_OPF,
  BIO_SECTOR,
  BIO_SIZE,
  BIO_STATUS,
  END_IO_JOB,
  IOU_JOB,
  JOB_CPU,
  BIO_BASED_HOST,
  HB_PBLK_END,
  HB_PBLK_NEXT,
  HC_VSLOTS,
  Q_BIO_BASED,
  Q_CAPACITY,
  Q_FLAGS,
  Q_LBA_SHIFT,
  Q_MAX_DISCARD,
  Q_MAX_SECTORS,
  Q_TARGET,
  RQ_HCTX,
  RQ_TAG,
  VS_PB,
  VS_SIZE,
  VS_USER,
} from '../../assembly/layout.js'
import { BLK_QC_T_NONE, QUEUE_FLAG_WC } from '../../assembly/nvme.js'
import { blk_alloc_bio_queue, blk_cleanup_queue, blk_put_queue } from '../block/blk-mq-init.js'
import type { BlockLayer, request_queue } from '../block/blkdev.js'
import { del_gendisk, device_add_disk } from '../block/genhd.js'
import type { Extension } from '../device/nvme/extension.js'
import { OpenChannelDevice, type OcssdOptions } from '../device/ocssd/device.js'
import { openChannelExtension } from '../device/ocssd/extension.js'
import type { OcssdRegion } from '../device/ocssd/memory.js'
import { lightnvm, nvm_register_tgt_type } from '../drivers/lightnvm/core.js'
import type { nvm_memory, tgt_bio, tgt_disk } from '../drivers/lightnvm/lightnvm.js'
import { pblk, type pblk_options } from '../drivers/lightnvm/pblk.js'
import { pblk_answer, pblk_vector } from '../drivers/lightnvm/pblk-hot.js'
import { tt_pblk } from '../drivers/lightnvm/pblk-init.js'
import { tt_rrpc } from '../drivers/lightnvm/rrpc-init.js'
import {
  nvme_nvm_end_vector,
  nvme_nvm_init,
  nvme_nvm_next,
  nvme_nvm_queue,
} from '../drivers/nvme/host/lightnvm.js'
import type { nvme_core } from '../drivers/nvme/host/nvme.js'
import { trace_call } from '../kernel/trace.js'

/** (4096 >> 9) * 64: what one vector command moves. */
const MAX_SECTORS = 512
const MAX_DISCARD_SECTORS = 0xffffffff >>> 9

/** The device behind a controller, and what it adds to it. */
export interface OpenChannel {
  readonly device: OpenChannelDevice
  readonly extension: Extension
  /** Address of its media (OC_*). */
  readonly memory: number
}

export function openChannelOf(options: OcssdOptions, region: OcssdRegion): OpenChannel {
  const device = new OpenChannelDevice(options, region)
  return { device, extension: openChannelExtension(device), memory: region.at }
}

/** The kernel's memory, as targets ask for it. */
function memoryOf(blk: BlockLayer): nvm_memory {
  const { mem, view } = blk
  return {
    bytes: view.bytes,
    words: view.words,
    alloc(bytes) {
      const at = mem.kzalloc(Math.max(bytes, 4096))
      if (at === 0) throw new Error('the kernel has no memory left for LightNVM')
      return at
    },
    free: at => mem.kfree(at),
  }
}

export class HostLightnvm {
  readonly lnvm: lightnvm
  /** Targets that are to behave as their kernels do where that is wrong, by name. */
  readonly quirks: Set<string>
  readonly #blk: BlockLayer
  /** Queues of targets' disks, by name and by address. */
  readonly disks: Map<string, request_queue> = new Map()
  readonly #make: Map<number, (bio: tgt_bio) => number> = new Map()
  /** Instances by the blocks that the core knows them by. */
  readonly #shared: Map<number, pblk> = new Map()
  /** Queues that were planned at boot for targets of these names, so that jobs find them. */
  readonly #planned: ReadonlyMap<string, number>

  constructor(
    blk: BlockLayer,
    planned: ReadonlyMap<string, number> = new Map(),
    { seed = 0, quirks = [] }: { readonly seed?: number; readonly quirks?: readonly string[] } = {},
  ) {
    this.#blk = blk
    this.#planned = planned
    this.quirks = new Set(quirks)
    const quirky = (name: string): boolean => this.quirks.has(name)
    this.lnvm = new lightnvm(blk.k, (_dev, name, make_rq) => this.#disk(name, make_rq))
    blk.lightnvm = (what, a, b) => this.#answer(what, a, b)
    const pblk_ways = (name: string): pblk_options => ({ seed, quirks: quirky(name) })
    nvm_register_tgt_type(this.lnvm, tt_pblk(pblk_ways))
    nvm_register_tgt_type(this.lnvm, tt_rrpc({ quirks: quirky }))
  }

  /** The NVMe driver is there, and has not looked for controllers yet. */
  attach(nvme: nvme_core): void {
    nvme.lightnvm = nvme_nvm_init(this.lnvm, memoryOf(this.#blk))
  }

  #disk(name: string, make_rq: (bio: tgt_bio) => number): tgt_disk {
    const blk = this.#blk
    const { view } = blk
    const planned = this.#planned.get(name)
    const q =
      planned === undefined
        ? blk_alloc_bio_queue(blk, name, { name: 'lightnvm' })
        : blk.queues.get(planned)!
    if (q === null) throw new Error('the kernel has no memory left for a queue')
    view.setU32(q.at + Q_BIO_BASED, BIO_BASED_HOST)
    this.#make.set(q.at, make_rq)
    let added = false
    const self = this
    return {
      *add(capacity, write_cache, shared) {
        added = true
        trace_call(blk.k, 'blk_queue_max_hw_sectors')
        view.setU64(q.at + Q_CAPACITY, capacity)
        view.setU32(q.at + Q_MAX_SECTORS, MAX_SECTORS)
        view.setU32(q.at + Q_MAX_DISCARD, MAX_DISCARD_SECTORS)
        view.setU32(q.at + Q_LBA_SHIFT, 12)
        view.setU32(q.at + Q_TARGET, shared)
        const flags = view.load(q.at + Q_FLAGS) & ~(1 << QUEUE_FLAG_WC)
        view.store(q.at + Q_FLAGS, flags | (Number(write_cache) << QUEUE_FLAG_WC))
        self.disks.set(name, q)
        yield* device_add_disk(q)
      },
      *remove() {
        if (added) yield* del_gendisk(q)
        view.setU32(q.at + Q_TARGET, 0)
        self.#shared.clear()
        if (planned === undefined) yield* blk_cleanup_queue(q)
        self.disks.delete(name)
        self.#make.delete(q.at)
      },
      put_disk() {
        if (planned === undefined) blk_put_queue(q)
      },
    }
  }

  /** Whether a bio is for a target's disk. */
  owns(bio: number): boolean {
    return this.#make.has(this.#blk.view.u32(bio + BIO_DISK))
  }

  /** The make_request function of targets' disks. */
  make_request(bio: number): number {
    const make_rq = this.#make.get(this.#blk.view.u32(bio + BIO_DISK))!
    make_rq(this.#bio(bio))
    return BLK_QC_T_NONE
  }

  #bio(bio: number): tgt_bio {
    const { view, core, cpus, k } = this.#blk
    return {
      opf: view.u32(bio + BIO_OPF),
      sector: view.u64(bio + BIO_SECTOR),
      bytes: view.u32(bio + BIO_SIZE),
      data: view.u32(bio + BIO_DATA),
      end_io: status => {
        if (status !== 0) view.setU32(bio + BIO_STATUS, status)
        const here = cpus[k.cpu.id]!
        const owner =
          view.u32(bio + BIO_END_IO) === END_IO_JOB
            ? view.u32(view.u32(bio + IOU_JOB) + JOB_CPU)
            : here
        core.bio_endio(here, bio)
        if (owner !== here) core.virtual_kick(owner)
      },
    }
  }

  // ---------------------------------------------------------------- what the core asks

  /** The instance that the core knows by a block. */
  #pblk(at: number): pblk {
    let found = this.#shared.get(at)
    if (found === undefined) {
      const all = this.lnvm.devices.flatMap(dev => dev.targets.map(one => one.private_data))
      found = all.find(one => one instanceof pblk && one.shared.at === at) as pblk
      const { core, cpus, k } = this.#blk
      found.core_write = block => core.pblk_submit_write(cpus[k.cpu.id]!, block) !== 0
      this.#shared.set(at, found)
    }
    return found
  }

  /** HB_PBLK_*. */
  #answer(what: number, a: number, b: number): number {
    if (what === HB_PBLK_END) this.#end(a)
    else if (what === HB_PBLK_NEXT)
      nvme_nvm_next(this.lnvm.devices.find(dev => nvme_nvm_queue(dev) === a)!)
    else pblk_answer(this.#pblk(a), what, b)
    return 0
  }

  /** A command of the core has ended badly. */
  #end(rq: number): void {
    const { view } = this.#blk
    const slot = view.u32(view.u32(rq + RQ_HCTX) + HC_VSLOTS) + view.u32(rq + RQ_TAG) * VS_SIZE
    const one = this.#pblk(view.u32(slot + VS_PB))
    const bio = this.#bio(view.u32(slot + VS_USER))
    nvme_nvm_end_vector(one.dev.parent, rq, pblk_vector(one, slot, bio))
  }
}
