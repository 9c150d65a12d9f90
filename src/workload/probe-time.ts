// How long the PCIe driver takes to bring a controller up, by the host's time: `phasebit bench probe`.
//
// A machine in virtual time with as many CPUs as queues has booted; its driver is loaded, and the reset work that ends with
// the controller LIVE is waited for. The scan of namespaces goes on beside it and is not counted. In a process that has just
// started nothing is warm: that is what a run pays whose controller is probed.

import type { Sleep } from '../kernel/core.js'
import { flush_work } from '../kernel/workqueue-flush.js'
import type { nvme_dev } from '../drivers/nvme/host/pci-queue.js'
import { clockOrigin, realClock } from '../machine/clock.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { builtOnly, diskConfig } from './machine-config.js'

/** Longer than a probe takes, ns of virtual time. */
const LONG_NS = 120e9
const HEAP = 2 ** 22

/** What a probe took: ms of this host, ms of its CPUs in this process, ms of virtual time. */
export interface ProbeTime {
  readonly queues: number
  readonly ms: number
  readonly cpuMs: number
  readonly virtualMs: number
}

/** Boots a machine with a controller of so many I/O queues and times its probe. */
export async function probeTime(queues: number): Promise<ProbeTime> {
  const [spec] = parseDevices([`nvme,size=64M,depth=64,queues=${queues},model=fixed`])
  const controller = { config: {}, slots: 4 }
  const machine = bootMachine({
    clock: 'virtual',
    cpus: queues,
    hz: 250,
    seed: 1,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 26,
    disks: [{ ...diskConfig(builtOnly(spec!), 'virtual', 0, queues), controller }],
    extraBytes: hostKernelBytes(queues, queues, HEAP) + 2 ** 20 + queues * 2 ** 16,
    jobs: 1,
    kernel: { timer: 'exact', heapBytes: HEAP, manual: true },
  })
  const { k, nvme } = machine.host!
  await machine.start()
  let time: ProbeTime | null = null
  const now = realClock(clockOrigin())
  const began = { ns: now(), virtual: machine.now(), cpu: process.cpuUsage() }
  const live = function* (): Sleep<void> {
    yield* flush_work(nvme!.ctrl(0)!.reset_work)
    const { user, system } = process.cpuUsage(began.cpu)
    time = {
      queues,
      ms: (now() - began.ns) / 1e6,
      cpuMs: (user + system) / 1000,
      virtualMs: (machine.now() - began.virtual) / 1e6,
    }
    machine.interrupt()
  }
  nvme!.load(() => k.spawn('live', live))
  while (time === null && machine.now() < LONG_NS) await machine.run(LONG_NS)
  const ctrl = nvme!.ctrl(0)
  const online = ctrl === null ? 0 : (ctrl.priv as nvme_dev).online_queues - 1
  if (time === null || ctrl?.state !== 'LIVE' || online !== queues)
    throw new Error(`${ctrl?.state ?? 'no controller'} with ${online} of ${queues} queues`)
  await machine.stop()
  return time
}
