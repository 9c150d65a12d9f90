// Simulations in real time: what is drawn comes from a seed, what meets what from the host. Only counts and books are looked
// at, never times.
//
//   jobs     a machine of threads, or one whose CPUs share a thread for a kernel's sake; a job verifies what it writes
//   fabrics  host and target on one kernel: tasks write and read back while the controller is reset; then it is deleted

import { describe, expect, it } from 'vitest'
import { Prng } from '../../src/core/prng.js'
import { nvme_delete_ctrl, nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { nvmf_dev_write } from '../../src/drivers/nvme/host/fabrics.js'
import type { nvme_ctrl } from '../../src/drivers/nvme/host/nvme.js'
import { blkdev_read_iter, blkdev_write_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import { hostKernelBytes } from '../../src/machine/host-kernel.js'
import { bootMachine, type Machine } from '../../src/machine/machine.js'
import { parseDevices } from '../../src/machine/spec-parse.js'
import {
  FABRIC_BYTES,
  FABRIC_HEAP,
  FABRIC_TEXTS,
  FabricStage,
  type FabricTransport,
} from '../../src/workload/fabric-stage.js'
import { builtOnly, diskConfig } from '../../src/workload/machine-config.js'
import { runTask } from '../../src/workload/scenario-task.js'
import { succeed } from '../e2e/run.js'

const SEEDS = 16

/** Device texts: with and without a kernel, and a thread of the device's own. */
function drawDevice(r: Prng, kernel: boolean): string {
  const queues = 1 + r.below(3)
  const depth = 5 + r.below(40)
  const where = r.below(3) === 0
  const text = `nvme,size=32M,queues=${queues},depth=${depth}${r.below(3) === 0 ? ',model=fixed' : ''}`
  if (!kernel) return where ? `${text},where=thread` : text
  const kind = r.below(4)
  if (kind === 0) return `${text},fault=duplicate/nth:${1 + r.below(200)}`
  if (kind === 1) return `${text},fault=status:0x6/admin:0x0a/nth:1`
  const sched = r.below(2) ? 'kyber' : 'mq-deadline'
  if (kind === 2) return `${text},sched=${sched}${where ? ',where=thread' : ''}`
  const nullb = `null_blk,size=32,submit_queues=${queues},irqmode=${r.below(3)},memory_backed=1`
  return `${nullb},sched=${sched},hw_queue_depth=${depth},requeue=${1 + r.below(4)}/50/0/-1`
}

describe('jobs in real time', () => {
  it.each(Array.from({ length: SEEDS }, (_, seed) => seed))('seed %i', async seed => {
    const r = new Prng(seed)
    const kernel = r.below(3) > 0
    const device = drawDevice(r, kernel)
    const [cpus, jobs, depth] = [1 + r.below(4), 1 + r.below(3), 1 + r.below(24)]
    const disk = device.startsWith('null_blk') ? '/dev/nullb0' : '/dev/nvme0n1'
    const text = `[a]\nfilename=${disk}\ndirect=1\nioengine=libaio\nrw=randwrite\nbs=4k\nsize=512k\nverify=crc32c
iodepth=${depth}\nnumjobs=${jobs}\noffset_increment=1m\n`
    const args = ['j.fio', '--clock=real', `--cpus=${cpus}`, `--seed=${seed}`, '--device', device]
    const result = await succeed(args, { 'j.fio': text })
    expect(result.jobs, device).toHaveLength(jobs)
    for (const { read, write } of result.jobs)
      expect([write.totalIos, read.totalIos], device).toEqual([128, 128])
    expect(result.phasebit, device).toMatchObject({
      books: { balanced: true, failed: 0, tagsHeld: 0, ringEntries: 0 },
      cpuThreads: kernel ? 1 : cpus,
    })
  })
})

const BLOCK = 4096
const TASKS = 3
const CPUS = 2

function fabricMachine(): Machine {
  const [spec] = parseDevices(['null_blk,size=16,memory_backed=1,irqmode=0'])
  return bootMachine({
    clock: 'real',
    cpus: CPUS,
    hz: 250,
    seed: 1,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 24,
    disks: [diskConfig(builtOnly(spec!), 'real', 0, CPUS)],
    extraBytes: hostKernelBytes(CPUS, CPUS, FABRIC_HEAP) + FABRIC_BYTES + (TASKS + 1) * BLOCK,
    jobs: 0,
    kernel: { heapBytes: FABRIC_HEAP },
  })
}

/** Writes blocks of its own and reads them back. @returns how many were not what was written */
function* writer(machine: Machine, ctrl: nvme_ctrl, data: number, task: number): Sleep<number> {
  const { view } = machine
  let wrong = 0
  for (let n = 0; n < 60; n++) {
    const q = ctrl.namespaces[0]!.queue
    const io = { q, pos: (task * 64 + n) * BLOCK, bytes: BLOCK, data }
    view.bytes.fill(n + 1, data, data + BLOCK)
    if ((yield* blkdev_write_iter({ ...io, write: true })) !== 0) wrong++
    view.bytes.fill(0, data, data + BLOCK)
    if ((yield* blkdev_read_iter({ ...io, write: false })) !== 0) wrong++
    if (view.u32(data) !== (n + 1) * 0x01010101) wrong++
  }
  return wrong
}

describe('fabrics in real time', () => {
  const transports: FabricTransport[] = ['loop', 'rdma', 'fc', 'tcp']
  it.each(transports)('%s: connect, write and read back over a reset, delete', async transport => {
    const machine = fabricMachine()
    const { k } = machine.host!
    try {
      const stage = new FabricStage(machine)
      const data = machine.alloc(TASKS * BLOCK, BLOCK)
      await machine.start()
      await runTask(machine, 'connect', 0, function* () {
        const made = yield* nvmf_dev_write(stage.f, `${FABRIC_TEXTS[transport]},queue_size=16`)
        expect(typeof made, stage.f.why).not.toBe('number')
        while (stage.nvme.ctrls[0]!.namespaces.length === 0) yield* msleep(k, 5)
      })
      const ctrl = stage.nvme.ctrls[0]!
      let wrong = 0
      let left = TASKS
      for (let task = 0; task < TASKS; task++)
        k.spawn(
          'writer',
          function* () {
            wrong += yield* writer(machine, ctrl, data + task * BLOCK, task)
            left--
          },
          [task % CPUS],
        )
      await runTask(machine, 'reset', 1, function* () {
        yield* msleep(k, 4)
        nvme_reset_ctrl(ctrl)
        while (left > 0 || ctrl.state !== 'LIVE') yield* msleep(k, 5)
        nvme_delete_ctrl(ctrl)
        while (stage.nvme.ctrls.length > 0 || stage.subsys.ctrls.length > 0) yield* msleep(k, 5)
        yield* msleep(k, 50)
      })
      expect(wrong).toBe(0)
      expect(stage.pool.used).toBe(0)
      expect(machine.books().problems).toEqual([])
    } finally {
      await machine.stop()
    }
  })
})
