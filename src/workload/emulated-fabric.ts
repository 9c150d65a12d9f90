// A machine whose emulated fabric has a target where one is asked for: RDMA, Fibre Channel and loop do not leave the machine,
// so that host and target are both its own. The first disk is the target's namespace.

import { UserError, OutputError } from '../core/errors.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import { nvmf_dev_write } from '../drivers/nvme/host/fabrics.js'
import type { nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import { msleep } from '../kernel/timer-sleep.js'
import { work_busy } from '../kernel/workqueue-control.js'
import type { Machine } from '../machine/booted.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine } from '../machine/machine.js'
import type { FabricSpec } from '../machine/spec-fabric.js'
import { parseDevices } from '../machine/spec-parse.js'
import {
  FABRIC_BYTES,
  FABRIC_HEAP,
  FABRIC_PLACE,
  type FabricPlace,
  FabricStage,
  type FcNames,
} from './fabric-stage.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { runTask } from './scenario-task.js'

const HZ = 250
const EINVAL = 22

/** What is asked for: the options of /dev/nvme-fabrics. */
export interface EmulatedTarget {
  readonly transport: 'rdma' | 'fc' | 'loop'
  readonly nqn: string
  /** Addresses as they were given; '' = none. */
  readonly traddr: string
  readonly trsvcid: string
  readonly hostTraddr: string
  /** More options, `name=value` or a name. */
  readonly options: readonly string[]
  readonly devices: readonly string[]
  readonly era: KernelEra
  readonly fabric?: FabricSpec
}

function textOf(t: EmulatedTarget): string {
  const named = [
    ['transport', t.transport],
    ['nqn', t.nqn],
    ['traddr', t.traddr],
    ['trsvcid', t.trsvcid],
    ['host_traddr', t.hostTraddr],
  ].filter(([, value]) => value !== '')
  return [...named.map(([name, value]) => `${name}=${value}`), ...t.options].join()
}

/** nn-0x<16 digits>:pn-0x<16 digits>, or the driver refuses it. */
function fcNames(text: string, fallback: FcNames): FcNames {
  const m = /^nn-(0x[0-9a-f]{16}):pn-(0x[0-9a-f]{16})$/i.exec(text)
  return m === null ? fallback : { nn: m[1]!, pn: m[2]! }
}

function placeOf(t: EmulatedTarget): FabricPlace {
  const { fc } = FABRIC_PLACE
  return {
    nqn: t.nqn,
    rdma: [t.traddr || FABRIC_PLACE.rdma[0], t.trsvcid || FABRIC_PLACE.rdma[1]],
    fc: { target: fcNames(t.traddr, fc.target), host: fcNames(t.hostTraddr, fc.host) },
  }
}

function boot(devices: readonly string[]): Machine {
  const specs = parseDevices(devices.length > 0 ? devices : ['nvme,model=ram']).map(builtOnly)
  if (specs.length > 1) throw new UserError('nvme connect --device: the target has one disk')
  return bootMachine({
    clock: 'virtual',
    cpus: 1,
    hz: HZ,
    seed: 1,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 20,
    disks: specs.map(spec => diskConfig(spec, 'virtual', 0, 1)),
    extraBytes: hostKernelBytes(1, 1, FABRIC_HEAP) + FABRIC_BYTES,
    jobs: 0,
    kernel: { heapBytes: FABRIC_HEAP },
  })
}

/**
 * Boots, connects, and hands the controller over; the machine is gone afterwards.
 * @throws UserError for options that the driver refuses, OutputError when it cannot connect
 */
export async function connectEmulated<T>(
  target: EmulatedTarget,
  look: (ctrl: nvme_ctrl) => T,
): Promise<T> {
  const machine = boot(target.devices)
  await machine.start()
  try {
    const { f } = new FabricStage(machine, target.era, placeOf(target), target.fabric)
    let found: nvme_ctrl | number = 0
    await runTask(machine, 'nvme', 0, function* () {
      found = yield* nvmf_dev_write(f, textOf(target))
      if (typeof found === 'number') return
      while (work_busy(found.scan_work) !== 0) yield* msleep(found.k, 4)
    })
    if (typeof found !== 'number') return look(found)
    const why = f.why || `error ${-found}`
    if (found === -EINVAL) throw new UserError(`nvme connect: ${why}`)
    throw new OutputError(`${target.nqn}: could not connect: ${why}`)
  } finally {
    await machine.stop()
  }
}
