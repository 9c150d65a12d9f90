// The NVMe driver and a controller that it has to find, in virtual time, by the host's time: from the driver's first call to
// LIVE with 64 queues, in a machine that has just booted; and a reset while tasks read, of which nothing may be lost.
//
// In a process that has just started the first round is the one that counts for a user: nothing is compiled yet.

import { nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { blkdev_read_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import { Probed } from '../../test/unit/nvme/probed.js'
import { atMost, type Cell, type Measured, type Size } from '../cell.js'

const QUEUES: Readonly<Record<Size, number>> = { small: 4, large: 64 }
const READS: Readonly<Record<Size, number>> = { small: 20, large: 2000 }
/** Longer than anything here takes, in ms of virtual time. */
const LONG_MS = 120_000

/** ms of the host's time for what is done. */
async function timed(act: () => Promise<void>): Promise<Measured> {
  const [began, used] = [performance.now(), process.cpuUsage()]
  await act()
  const { user, system } = process.cpuUsage(used)
  return { value: performance.now() - began, cpu: (user + system) / 1000 }
}

async function probe(size: Size): Promise<Measured> {
  const cpus = QUEUES[size]
  const device = `nvme,size=64M,depth=64,queues=${cpus},model=fixed`
  const p = new Probed({ cpus, device, manual: true, extraBytes: cpus * 2 ** 16 })
  await p.machine.start()
  const measured = await timed(async () => {
    p.nvme.load()
    await p.run(LONG_MS, () => p.nvme.ctrl(0)?.state === 'LIVE')
  })
  if (p.ctrl.state !== 'LIVE' || p.dev.online_queues !== cpus + 1)
    throw new Error(`${p.ctrl.state} with ${p.dev.online_queues - 1} of ${cpus} queues`)
  return measured
}

async function reset(size: Size): Promise<Measured> {
  const p = new Probed({ cpus: 4 })
  await p.settle()
  let [ended, failed] = [0, 0]
  const reads = READS[size]
  const reader = (task: number): (() => Sleep<void>) =>
    function* () {
      for (let n = 0; n < reads / 4; n++) {
        const status = yield* blkdev_read_iter(p.io((task * 97 + n) % 1024))
        ended++
        if (status !== 0) failed++
      }
    }
  for (let task = 0; task < 4; task++) p.k.spawn(`r${task}`, reader(task), [task])
  await p.run(LONG_MS, () => ended > reads / 10)
  const measured = await timed(async () => {
    if (nvme_reset_ctrl(p.ctrl) !== 0) throw new Error('the reset was refused')
    await p.run(LONG_MS, () => p.nvme.settled)
  })
  await p.run(LONG_MS, () => ended === reads)
  if (ended !== reads || failed > 0) throw new Error(`${ended} of ${reads} reads, ${failed} failed`)
  const { problems } = p.machine.books()
  if (problems.length > 0) throw new Error(problems.join('; '))
  return measured
}

function cell(
  name: string,
  title: string,
  measure: Cell['sides'][0]['measure'],
  goal: Cell['goal'],
): Cell {
  return {
    name,
    title,
    unit: 'ms',
    sides: [{ name: 'phasebit', where: 'child', measure }],
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
    probe,
    atMost(20),
  ),
  cell('nvme-reset', 'reset of a controller while four tasks read, virtual time', reset, null),
]
