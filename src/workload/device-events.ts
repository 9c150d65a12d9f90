// What happens to controllers while jobs run (`event=` of a device): see spec-event.ts for the words. Each event is a task of the
// emulated kernel, as a shell's would be that writes to a file of sysfs, or a service of the bus. What a driver refuses is a
// failure of the run.

import type { NvmeController } from '../device/nvme/controller.js'
import { nvme_dev_ioctl, nvme_sysfs_reset } from '../drivers/nvme/host/core-ioctl.js'
import type { nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import type { nvme_dev } from '../drivers/nvme/host/pci-queue.js'
import type { Sleep } from '../kernel/core.js'
import { EIO, ENODEV, errname } from '../kernel/errno.js'
import {
  type pci_bus,
  type pci_dev,
  pci_pm_resume,
  pci_pm_suspend,
  pci_reset_function,
  pci_stop_and_remove_bus_device,
  pcie_do_recovery,
} from '../kernel/pci.js'
import { msleep } from '../kernel/timer-sleep.js'
import type { Machine } from '../machine/booted.js'
import type { EventAction, EventSpec } from '../machine/spec.js'
import { formatEvent } from '../machine/spec-event.js'
import type { Periodic } from './executor.js'

/** A controller and the function that its driver has. */
interface Target {
  readonly bus: pci_bus
  readonly dev: pci_dev
  readonly controller: NvmeController
}

/** The controller of a disk; undefined when it has none, or is no longer on the bus. */
export function eventTarget(machine: Machine, disk: string): Target | undefined {
  const { nvme } = machine.host!
  const found = nvme?.controllers.all.find(one => one.disk.config.name === disk)
  const dev = nvme?.bus.devices.find(({ fn }) => fn === found?.controller)
  return found && dev ? { bus: nvme!.bus, dev, controller: found.controller } : undefined
}

function* sleepFor(dev: pci_dev, ns: number): Sleep<number> {
  const error = yield* pci_pm_suspend(dev)
  if (error !== 0) return error
  yield* msleep(dev.k, Math.ceil(ns / 1e6))
  return yield* pci_pm_resume(dev)
}

function* asked(ctrl: nvme_ctrl | undefined, { kind }: EventAction): Sleep<number> {
  if (ctrl === undefined) return -ENODEV
  if (kind === 'reset') return yield* nvme_sysfs_reset(ctrl)
  return yield* nvme_dev_ioctl(ctrl, { op: kind === 'rescan' ? 'rescan' : 'subsystem-reset' })
}

/** Makes an event happen. @returns 0 or -errno */
export function* deviceEvent({ bus, dev, controller }: Target, action: EventAction): Sleep<number> {
  switch (action.kind) {
    case 'flr':
      yield* pci_reset_function(dev)
      return 0
    case 'suspend':
      return yield* sleepFor(dev, action.ns)
    case 'aer': {
      const result = yield* pcie_do_recovery(dev, action.fatal ? 'frozen' : 'normal')
      return result === 'disconnect' ? -EIO : 0
    }
    case 'power-loss':
      controller.powerLoss()
      return 0
    case 'unbind':
      yield* pci_stop_and_remove_bus_device(bus, dev)
      return 0
    default:
      return yield* asked((dev.drvdata as nvme_dev | null)?.ctrl, action)
  }
}

/** The events of a machine's devices. */
export class DeviceEvents {
  readonly #machine: Machine
  readonly #failed: (line: string) => void
  readonly #waiting: Set<EventSpec>

  constructor(machine: Machine, failed: (line: string) => void) {
    this.#machine = machine
    this.#failed = failed
    this.#waiting = new Set(machine.disks.flatMap(disk => disk.config.controller?.events ?? []))
  }

  /** What the executor calls. */
  get periodic(): Periodic[] {
    return this.#machine.disks.flatMap(({ config: { name, controller } }) =>
      (controller?.events ?? []).map(event => ({
        firstNs: event.atNs,
        everyNs: Number.POSITIVE_INFINITY,
        call: () => this.#begin(name, event),
      })),
    )
  }

  /** A line for each event whose time did not come. */
  get missed(): string[] {
    return [...this.#waiting].map(event => `event=${formatEvent(event)}: the jobs ended before it`)
  }

  #begin(disk: string, event: EventSpec): void {
    this.#waiting.delete(event)
    const target = eventTarget(this.#machine, disk)
    const end = (error: number): void => {
      if (error !== 0) this.#failed(`${disk}: event=${formatEvent(event)}: ${errname(error)}`)
    }
    if (target === undefined) end(-ENODEV)
    else
      this.#machine.host!.k.spawn('event', function* () {
        end(yield* deviceEvent(target, event.action))
      })
  }
}
