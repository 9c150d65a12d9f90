// A machine of which every step is the test's: bios go down with submit(), fetch() lets the device work, reap() takes
// completions, slow() does what waits for TypeScript. Time stands still. No event is queued, because the CPUs of a machine
// booted for virtual time are told that their clock is a real one.

import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import type { View } from '../../../src/core/view.js'
import {
  bootMachine,
  type Disk,
  type DiskConfig,
  type DiskQueue,
  type Machine,
  type MachineConfig,
} from '../../../src/machine/machine.js'
import { serviceSlow } from '../../../src/machine/slow.js'
import { diskConfig, machineConfig } from '../machine/helper.js'
import type { RawCore } from './raw.js'

/** A bio that ended. */
export interface Ended {
  readonly bio: number
  /** blk_status_t. */
  readonly status: number
}

/** A command as the device finds it in the ring. */
export interface Sent {
  readonly opcode: number
  readonly cid: number
  readonly nsid: number
  readonly slba: number
  readonly blocks: number
  readonly fua: boolean
  readonly prp1: number
  readonly prp2: number
}

export class Stepped {
  readonly machine: Machine
  readonly view: View
  readonly core: RawCore
  readonly disk: Disk
  /** The first hardware queue. */
  readonly queue: DiskQueue
  /** Every command the device has fetched, oldest first. */
  readonly sent: Sent[] = []
  readonly #ended: Ended[] = []

  constructor(disk: Partial<DiskConfig> = {}, change: Partial<MachineConfig> = {}) {
    const disks = change.disks ?? [diskConfig({ model: 'ram', ...disk })]
    this.machine = bootMachine(machineConfig({ extraBytes: 2 ** 24, ...change, disks }))
    this.view = this.machine.view
    this.core = this.machine.core as RawCore
    this.disk = this.machine.disks[0]!
    this.queue = this.disk.queues[0]!
    for (let i = 0; i < this.machine.config.cpus; i++)
      this.view.setU32(this.cpu(i) + L.CPU_CLOCK, L.CLOCK_REAL)
    // The rolling timer is running: nobody needs to be told of the first request.
    this.view.store(this.disk.q + L.Q_TIMER_ARMED, 1)
    this.view.store(this.disk.q + L.Q_TIMER_NEXT, 1)
  }

  cpu(index = 0): number {
    return this.machine.cpuAddress(index)
  }

  /** A bio of TypeScript's own, with a buffer of its own unless `data` is given. */
  bio(opf: number, sector: number, bytes: number, _cpu = 0, data?: number): number {
    const { view } = this
    const bio = this.machine.alloc(L.BIO_BYTES)
    const buffer = data ?? (bytes === 0 || isDiscard(opf) ? 0 : this.machine.alloc(bytes, 4096))
    view.setU32(bio + L.BIO_OPF, opf)
    view.setU64(bio + L.BIO_SECTOR, sector)
    view.setU32(bio + L.BIO_SIZE, bytes)
    view.setU32(bio + L.BIO_DATA, buffer)
    view.setU32(bio + L.BIO_END_IO, L.END_IO_RING)
    view.setU32(bio + L.BIO_DISK, this.disk.q)
    return bio
  }

  /** A cookie, -1, or -2 = no tag, -3 = no bio to split with. */
  submit(bio: number, cpu = 0): number {
    return this.core.submit_bio(this.cpu(cpu), bio)
  }

  again(bio: number, cpu = 0): number {
    return this.core.submit_bio_again(this.cpu(cpu), bio)
  }

  plugged(body: () => void, cpu = 0): void {
    this.core.blk_start_plug(this.cpu(cpu))
    body()
    this.core.blk_finish_plug(this.cpu(cpu))
  }

  /** The device fetches, executes and posts: how many commands. */
  fetch(max = 0xffffffff, queue: DiskQueue = this.queue): number {
    const head = this.view.u32(queue.dsq + L.DSQ_HEAD)
    const n = this.core.dev_run_sq(queue.dsq, max, 0n)
    this.core.dev_post_due(queue.dsq, 2n ** 62n)
    for (let i = 0; i < n; i++) this.sent.push(this.#entry(queue, head + i))
    return n
  }

  #entry(queue: DiskQueue, index: number): Sent {
    const { view } = this
    const entries = view.u32(queue.dsq + L.DSQ_ENTRIES)
    const at = view.u32(queue.dsq + L.DSQ_BASE) + (index % entries) * N.SQE_BYTES
    const cdw12 = view.u32(at + N.SQE_CDW12)
    return {
      opcode: view.u32(at) & 0xff,
      cid: view.u32(at) >>> 16,
      nsid: view.u32(at + N.SQE_NSID),
      slba: view.u64(at + N.SQE_CDW10),
      blocks: (cdw12 & 0xffff) + 1,
      fua: (cdw12 & N.NVME_RW_FUA) !== 0,
      prp1: view.u64(at + N.SQE_PRP1),
      prp2: view.u64(at + N.SQE_PRP2),
    }
  }

  /** The owner takes completions: how many. */
  reap(max = 0xffffffff, queue: DiskQueue = this.queue): number {
    return this.core.nvme_process_cq(this.cpu(queue.owner), queue.nq, max)
  }

  /** What waits for TypeScript on every CPU. */
  slow(): void {
    const { core, view, machine } = this
    for (let index = 0; index < machine.config.cpus; index++) {
      const context = { core, view, cpu: this.cpu(index), index, now: machine.now, post: () => {} }
      serviceSlow(context, { bio: (_, bio) => this.#end(bio) })
    }
  }

  #end(bio: number): void {
    this.#ended.push({ bio, status: this.view.u32(bio + L.BIO_STATUS) })
  }

  /** Fetches, reaps and serves until two rounds have found nothing to do. */
  settle(): void {
    for (let idle = 0; idle < 2; ) {
      const before = this.sent.length + this.#ended.length
      for (const queue of this.disk.queues) {
        this.fetch(undefined, queue)
        this.reap(undefined, queue)
      }
      for (let i = 0; i < this.machine.config.cpus; i++) this.core.complete_done_list(this.cpu(i))
      this.slow()
      idle = this.sent.length + this.#ended.length === before ? idle + 1 : 0
    }
  }

  /** Bios that ended since the last call, oldest first. */
  ended(): Ended[] {
    this.slow()
    return this.#ended.splice(0)
  }

  /** Bytes of a bio's buffer, or of any memory. */
  bytes(at: number, length: number): Uint8Array {
    return this.view.bytes.subarray(at, at + length)
  }

  /** Merged bios of a CPU. */
  merged(cpu = 0): number {
    return this.view.u64(this.view.u32(this.disk.q + L.Q_CTXS) + cpu * L.CTX_SIZE + L.CTX_MERGED)
  }

  /** Tags that are taken. */
  held(queue: DiskQueue = this.queue): number {
    return this.core.sbitmap_weight(queue.tags + L.TAGS_BITMAP)
  }
}

function isDiscard(opf: number): boolean {
  return (opf & N.REQ_OP_MASK) === N.REQ_OP_DISCARD
}
