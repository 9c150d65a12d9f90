// A machine booted to be looked at: its NVMe controllers are found by the driver, and commands go to them as a program's
// would, through /dev/nvme0 (nvme_dev_ioctl) and the admin queue.

import { UserError } from '../core/errors.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import {
  nvme_dev_ioctl,
  type nvme_dev_request,
  type nvme_passthru_cmd,
} from '../drivers/nvme/host/core-ioctl.js'
import type { nvme_command, nvme_ctrl, nvme_ns, nvme_result } from '../drivers/nvme/host/nvme.js'
import { readl } from '../kernel/pci.js'
import { msleep } from '../kernel/timer-sleep.js'
import type { Machine } from '../machine/booted.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { diskController, withNamespaces } from './controller-disks.js'
import { builtOnly, controllerHeaps, diskConfig } from './machine-config.js'
import { rest, runTask } from './scenario-task.js'

const HZ = 250
const HEAP = 2 ** 22
/** Namespaces that may come beside those of the device text. */
const SPARE = 15
/** Largest buffer of one command, bytes. */
export const MOST_BYTES: number = 2 ** 20

/** What a command came to. */
export interface AdminAnswer {
  /** Status of the completion without phase; 0 = good. */
  readonly status: number
  readonly result: number
  readonly data: Uint8Array
}

/** A booted machine with its controllers up. */
export class NvmeMachine {
  readonly machine: Machine
  readonly #buffer: number

  constructor(machine: Machine) {
    this.machine = machine
    this.#buffer = machine.alloc(MOST_BYTES, 4096)
  }

  get ctrls(): nvme_ctrl[] {
    const { nvme } = this.machine.host!
    return nvme!.bus.devices.flatMap((_, i) => nvme!.ctrl(i) ?? [])
  }

  /** With the address of each controller's function. */
  get subsysCtrls(): { ctrl: nvme_ctrl; address: string }[] {
    const { nvme } = this.machine.host!
    return nvme!.bus.devices.flatMap(({ name }, i) => {
      const ctrl = nvme!.ctrl(i)
      return ctrl ? [{ ctrl, address: name }] : []
    })
  }

  /** /dev/nvme0 or /dev/nvme0n1: the controller, and the namespace if one was named. @throws UserError */
  find(path: string): { ctrl: nvme_ctrl; ns: nvme_ns | null } {
    const name = path.replace(/^\/dev\//, '')
    for (const ctrl of this.ctrls) {
      if (ctrl.device === name) return { ctrl, ns: null }
      const ns = ctrl.namespaces.find(one => one.disk_name === name)
      if (ns) return { ctrl, ns }
    }
    const names = this.ctrls.flatMap(c => [c.device, ...c.namespaces.map(ns => ns.disk_name)])
    throw new UserError(`${path}: there is no such device; there are /dev/${names.join(', /dev/')}`)
  }

  /** Sends an admin command with a buffer of so many bytes, which is written from `send` first. */
  async admin(
    ctrl: nvme_ctrl,
    cmd: nvme_command,
    bytes: number,
    send?: Uint8Array,
  ): Promise<AdminAnswer> {
    const { view } = this.machine
    view.fill(this.#buffer, Math.max(bytes, 1), 0)
    if (send) view.bytes.set(send, this.#buffer)
    const passthru: nvme_passthru_cmd = { cmd, addr: this.#buffer, data_len: bytes }
    const result: nvme_result = { u32: 0, u64: 0n }
    const status = await this.#ask(ctrl, { op: 'admin', passthru, result })
    const data = view.bytes.slice(this.#buffer, this.#buffer + bytes)
    return { status, result: result.u32, data }
  }

  /** reset, rescan, subsystem-reset. @returns 0 or -errno */
  async ioctl(ctrl: nvme_ctrl, op: 'reset' | 'rescan' | 'subsystem-reset'): Promise<number> {
    return await this.#ask(ctrl, { op })
  }

  async #ask(ctrl: nvme_ctrl, request: nvme_dev_request): Promise<number> {
    let status = 0
    const { nvme, k } = this.machine.host!
    await runTask(this.machine, 'nvme', 0, function* () {
      status = yield* nvme_dev_ioctl(ctrl, request)
      while (!nvme!.settled) yield* msleep(k, 4)
    })
    return status
  }

  /** A register of 4 bytes. */
  register(ctrl: nvme_ctrl, offset: number): number {
    const { nvme } = this.machine.host!
    const at = nvme!.bus.devices.findIndex((_, i) => nvme!.ctrl(i) === ctrl)
    return readl(nvme!.bus.devices[at]!, offset)
  }

  async stop(): Promise<void> {
    await rest(this.machine, 1e6)
    await this.machine.stop()
  }
}

/**
 * Boots a machine with these devices (`--device` texts) and finds their controllers.
 * @throws UserError for devices that are none, or do not come up
 */
export async function openNvme(devices: readonly string[], era: KernelEra): Promise<NvmeMachine> {
  const cpus = 2
  const disks = parseDevices(devices.length > 0 ? devices : ['nvme,size=1G']).flatMap(one => {
    const spec = builtOnly(one)
    if (spec.kind !== 'nvme') throw new UserError(`nvme: ${spec.name} is no NVMe disk`)
    const { features } = spec
    const disk = diskConfig({ ...spec, features: {}, faults: [] }, 'virtual', 0, cpus)
    const sizeBytes = disk.sizeBytes + (features.unallocatedBytes ?? 0)
    const controller = diskController(spec, disk.sizeBytes, SPARE)
    const { shadow = false, mdtsBytes = 0 } = features
    return withNamespaces(spec, { ...disk, sizeBytes, shadow, mdtsBytes, controller })
  })
  const heapBytes = HEAP + controllerHeaps(disks)
  const machine = bootMachine({
    clock: 'virtual',
    cpus,
    hz: HZ,
    seed: 0,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 26,
    disks,
    extraBytes: hostKernelBytes(cpus, cpus * disks.length, heapBytes) + MOST_BYTES + 8192,
    jobs: 0,
    kernel: { heapBytes, era },
  })
  await machine.start()
  await machine.probed()
  return new NvmeMachine(machine)
}
