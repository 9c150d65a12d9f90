// A machine in virtual time whose NVMe controller has to be found and brought up, for tests of the PCIe driver. Both sides
// of the wire are the machine's own; a test reaches the controller as a person with a screwdriver would.

import type { request_queue } from '../../../src/block/blkdev.js'
import type { NvmeController } from '../../../src/device/nvme/controller.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import type { nvme_ctrl } from '../../../src/drivers/nvme/host/nvme.js'
import type { nvme_dev } from '../../../src/drivers/nvme/host/pci-queue.js'
import type { kiocb } from '../../../src/fs/block_dev.js'
import type { Sleep } from '../../../src/kernel/core.js'
import type { Kernel } from '../../../src/kernel/kernel.js'
import type { Machine } from '../../../src/machine/booted.js'
import type { DiskController } from '../../../src/machine/config.js'
import { hostKernelBytes } from '../../../src/machine/host-kernel.js'
import type { NvmeHost } from '../../../src/machine/host-nvme.js'
import { bootMachine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { builtOnly, diskConfig } from '../../../src/workload/machine-config.js'

const HEAP = 2 ** 22

export interface ProbedOptions {
  readonly device?: string
  readonly cpus?: number
  readonly controller?: Partial<DiskController>
  readonly era?: KernelEra
  readonly manual?: boolean
  readonly shadow?: boolean
  readonly seed?: number
  readonly clock?: 'virtual' | 'real'
  /** Of memory for the test's own data, beside the usual. */
  readonly extraBytes?: number
}

export class Probed {
  readonly machine: Machine
  readonly k: Kernel
  readonly nvme: NvmeHost
  readonly controller: NvmeController
  readonly data: number

  constructor(options: ProbedOptions = {}) {
    const {
      device = 'nvme,size=64M,depth=64,model=fixed',
      cpus = 2,
      era = '4.19',
      clock = 'virtual',
    } = options
    const controller: DiskController = { config: {}, slots: 4, ...options.controller }
    const disks = parseDevices([device]).map(s => ({
      ...diskConfig(builtOnly(s), clock, 0, cpus),
      shadow: options.shadow ?? false,
      controller,
    }))
    this.machine = bootMachine({
      clock,
      cpus,
      hz: 250,
      seed: options.seed ?? 1,
      lat: 'none',
      stages: false,
      trace: false,
      memBytes: 2 ** 26,
      disks,
      extraBytes: hostKernelBytes(cpus, cpus, HEAP) + 2 ** 20 + (options.extraBytes ?? 0),
      jobs: 1,
      kernel: { timer: 'exact', heapBytes: HEAP, era, manual: options.manual ?? false },
    })
    this.k = this.machine.host!.k
    this.nvme = this.machine.host!.nvme!
    this.controller = this.nvme.controllers.all[0]!.controller
    this.data = this.machine.alloc(64 * 4096, 4096)
  }

  /** The driver's controller; it must be there. */
  get ctrl(): nvme_ctrl {
    const ctrl = this.nvme.ctrl(0)
    if (ctrl === null) throw new Error('the driver has no controller')
    return ctrl
  }

  get dev(): nvme_dev {
    return this.ctrl.priv as nvme_dev
  }

  /** Queue of the n-th namespace. */
  q(n = 0): request_queue {
    return this.ctrl.namespaces[n]!.queue
  }

  /** Lines of the kernel's log. */
  get log(): string[] {
    return this.k.dmesg.map(line => line.text)
  }

  /** Lets so many ms of virtual time pass, or until `done`. */
  async run(ms: number, done: () => boolean = () => false): Promise<void> {
    const end = this.machine.now() + ms * 1e6
    // Looked at more and more seldom: long waits are for timeouts.
    for (let step = 0.5e6; this.machine.now() < end && !done(); step = Math.min(step * 1.2, 1e9)) {
      const next = Math.min(end, this.machine.now() + step)
      if ((await this.machine.run(next)) === 'idle' && this.machine.now() >= end) break
    }
  }

  /** Until every controller is up, or was given up. */
  async settle(ms = 60_000): Promise<void> {
    await this.run(ms, () => this.nvme.settled)
    if (!this.nvme.settled) throw new Error(`not settled: ${this.log.join(' | ')}`)
  }

  /** Runs a task to its end; what it returned. */
  async task<T>(body: () => Sleep<T>, ms = 300_000, cpu = 0): Promise<T> {
    const result: { value: T | null; over: boolean } = { value: null, over: false }
    this.k.spawn(
      'test',
      function* () {
        result.value = yield* body()
        result.over = true
      },
      [cpu],
    )
    await this.run(ms, () => result.over)
    if (!result.over) throw new Error(`the task has not ended: ${this.log.join(' | ')}`)
    return result.value as T
  }

  /** A 4 KiB I/O at a block of 4 KiB. */
  io(block: number, write = false, rest: Partial<kiocb> = {}): kiocb {
    return { q: this.q(), write, pos: block * 4096, bytes: 4096, data: this.data, ...rest }
  }
}
