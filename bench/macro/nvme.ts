// The NVMe driver and a controller that it has to find, in virtual time, by the host's time: from the driver's first call to
// LIVE with 64 queues, in a machine that has just booted, as `phasebit bench probe` says (src/workload/probe-time.ts); and a
// reset while tasks read, of which nothing may be lost.

import { nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { blkdev_read_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import type { nvme_ctrl } from '../../src/drivers/nvme/host/nvme.js'
import type { Machine } from '../../src/machine/booted.js'
import { hostKernelBytes } from '../../src/machine/host-kernel.js'
import { bootMachine } from '../../src/machine/machine.js'
import { parseDevices } from '../../src/machine/spec-parse.js'
import { builtOnly, diskConfig } from '../../src/workload/machine-config.js'
import { atMost, type Cell, type Measured, type Size } from '../cell.js'
import { output } from '../spawn.js'
import { CLI } from './program.js'

const QUEUES: Readonly<Record<Size, number>> = { small: 4, large: 64 }
const READS: Readonly<Record<Size, number>> = { small: 20, large: 2000 }
/** Longer than anything here takes, in ms of virtual time. */
const LONG_MS = 120_000

const HEAP = 2 ** 22

/** A machine with a controller that its driver has to find. */
function boot(cpus: number, device: string): Machine {
  const [spec] = parseDevices([device])
  const controller = { config: {}, slots: 4 }
  return bootMachine({
    clock: 'virtual',
    cpus,
    hz: 250,
    seed: 1,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 26,
    disks: [{ ...diskConfig(builtOnly(spec!), 'virtual', 0, cpus), controller }],
    extraBytes: hostKernelBytes(cpus, cpus, HEAP) + 2 ** 20,
    jobs: 1,
    kernel: { timer: 'exact', heapBytes: HEAP },
  })
}

/** Lets time pass until `done`, for LONG_MS at most; looks more and more seldom. */
async function until(machine: Machine, done: () => boolean): Promise<void> {
  const end = machine.now() + LONG_MS * 1e6
  for (let step = 0.5e6; machine.now() < end && !done(); step = Math.min(step * 1.2, 1e9))
    await machine.run(Math.min(end, machine.now() + step))
}

/** The driver's controller; it must be there. */
function ctrlOf(machine: Machine): nvme_ctrl {
  const ctrl = machine.host!.nvme!.ctrl(0)
  if (ctrl === null) throw new Error('the driver has no controller')
  return ctrl
}

/** ms of the host's time from here to the call of what is returned. */
function stopwatch(): () => Measured {
  const [began, used] = [performance.now(), process.cpuUsage()]
  return () => {
    const { user, system } = process.cpuUsage(used)
    return { value: performance.now() - began, cpu: (user + system) / 1000 }
  }
}

/** The command as users run it, in a process that has just started. */
async function probe(size: Size): Promise<Measured> {
  const line = await output(process.execPath, [CLI, 'bench', 'probe', `--queues=${QUEUES[size]}`])
  const [, value, cpu] = /: ([\d.]+) ms of this host, ([\d.]+) ms of its CPUs/.exec(line)!
  return { value: Number(value), cpu: Number(cpu) }
}

async function reset(size: Size): Promise<Measured> {
  const machine = boot(4, 'nvme,size=64M,depth=64,model=fixed')
  const { nvme, k } = machine.host!
  const data = machine.alloc(4096, 4096)
  await until(machine, () => nvme!.settled)
  let [ended, failed] = [0, 0]
  const reads = READS[size]
  const { queue } = ctrlOf(machine).namespaces[0]!
  const reader = (task: number): (() => Sleep<void>) =>
    function* () {
      for (let n = 0; n < reads / 4; n++) {
        const pos = ((task * 97 + n) % 1024) * 4096
        const status = yield* blkdev_read_iter({ q: queue, write: false, pos, bytes: 4096, data })
        ended++
        if (status !== 0) failed++
      }
    }
  for (let task = 0; task < 4; task++) k.spawn(`r${task}`, reader(task), [task])
  await until(machine, () => ended > reads / 10)
  const watch = stopwatch()
  if (nvme_reset_ctrl(ctrlOf(machine)) !== 0) throw new Error('the reset was refused')
  await until(machine, () => nvme!.settled)
  const measured = watch()
  await until(machine, () => ended === reads)
  if (ended !== reads || failed > 0) throw new Error(`${ended} of ${reads} reads, ${failed} failed`)
  const { problems } = machine.books()
  if (problems.length > 0) throw new Error(problems.join('; '))
  return measured
}

function cell(
  name: string,
  title: string,
  where: Cell['sides'][0]['where'],
  measure: Cell['sides'][0]['measure'],
  goal: Cell['goal'],
): Cell {
  return {
    name,
    title,
    unit: 'ms',
    sides: [{ name: 'phasebit', where, measure }],
    figure: values => values[0]!,
    figureUnit: 'ms',
    goal,
    needs: [],
  }
}

export const NVME_CELLS: readonly Cell[] = [
  cell(
    'nvme-probe',
    'probe to LIVE of a controller with 64 queues, virtual time',
    'here',
    probe,
    atMost(20),
  ),
  cell(
    'nvme-reset',
    'reset of a controller while four tasks read, virtual time',
    'child',
    reset,
    null,
  ),
]
