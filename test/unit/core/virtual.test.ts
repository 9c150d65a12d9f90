// Virtual time inside the core: the queue of events, what a device and a CPU do at their events, and cases in which a run
// used to stop: everything ends whatever waits for whatever.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { NVME_CMD_FLUSH } from '../../../assembly/nvme.js'
import { bootMachine, type DiskConfig, type Machine } from '../../../src/machine/machine.js'
import {
  countedIos,
  diskConfig,
  type JobShape,
  machineConfig,
  runJobs,
  startJob,
} from '../machine/helper.js'

interface Options {
  readonly cpus?: number
  readonly disk?: Partial<DiskConfig>
  readonly costs?: Parameters<typeof machineConfig>[0] extends infer C
    ? C extends { costs?: infer T }
      ? T
      : never
    : never
  /** Changes the job blocks before they run. */
  readonly change?: (machine: Machine, jobs: readonly number[]) => void
}

async function run(shapes: readonly JobShape[], options: Options = {}) {
  const { cpus = 1, disk, costs, change } = options
  const config = machineConfig({
    cpus,
    jobs: shapes.length,
    disks: [diskConfig({ model: 'fixed', ...disk })],
    extraBytes: 2 ** 26,
    ...(costs ? { costs } : {}),
  })
  const machine = bootMachine(config)
  await machine.start()
  const jobs = shapes.map((shape, i) => startJob(machine, i, i % cpus, machine.disks[0]!, shape))
  change?.(machine, jobs)
  await runJobs(machine, jobs)
  expect(machine.books().problems).toEqual([])
  return { machine, jobs, ios: jobs.map(job => countedIos(machine, job)) }
}

/** After each `blocks` I/Os a job waits for everything to end, and then so long. */
function think(machine: Machine, job: number, blocks: number, ns: number): void {
  machine.view.setU32(job + L.JOB_FEATURES, L.JF_THINK)
  machine.view.setU32(job + L.JOB_THINK_BLOCKS, blocks)
  machine.view.setU64(job + L.JOB_THINK_NS, ns)
}

describe('everything ends', () => {
  it('a job that thinks for long beside one that works', async () => {
    const { ios } = await run(
      [
        { ios: 3, depth: 1 },
        { ios: 5000, depth: 1 },
      ],
      {
        change: (machine, [thinker]) => think(machine, thinker!, 1, 1e9),
      },
    )
    expect(ios).toEqual([3, 5000])
  })

  it('several that think for different times on one CPU', async () => {
    const { ios } = await run(
      [7e8, 1e6, 3e5, 5e7].map((_, i) => ({ ios: i === 0 || i === 3 ? 4 : 1500, depth: 1 })),
      {
        change: (machine, jobs) => {
          jobs.forEach((job, i) => {
            think(machine, job, 1, [7e8, 1e5, 3e4, 5e7][i]!)
          })
        },
      },
    )
    expect(ios).toEqual([4, 1500, 1500, 4])
  })

  it('one slow command among many fast ones', async () => {
    const faults = [{ nth: 3, action: 'delay' as const, value: 2e9 }]
    const { ios, machine } = await run([{ ios: 6000, depth: 4 }], { disk: { faults, units: 64 } })
    expect(ios).toEqual([6000])
    expect(machine.now()).toBeGreaterThan(2e9)
  })

  it('batches larger than anything on a queue that CPUs share', async () => {
    const disk = { queues: 1, depth: 8192 }
    const { ios } = await run([{ ios: 9000, depth: 4096, batch: 4096 }], { cpus: 2, disk })
    expect(ios).toEqual([9000])
  })

  it('an I/O that fails for good', async () => {
    const faults = [{ nth: 5, action: 'status' as const, value: 0x4281 }]
    const { machine, jobs, ios } = await run([{ ios: 20, depth: 1 }], { disk: { faults } })
    expect(ios).toEqual([4])
    expect(machine.view.u32(jobs[0]! + L.JOB_ERROR)).toBe(5)
  })

  it('I/Os that are tried again and again', async () => {
    const faults = [{ lba: [0, 500] as const, action: 'status' as const, value: 6 }]
    const { machine, jobs, ios } = await run([{ ios: 200, depth: 8 }], {
      disk: { faults },
      change: (m, [job]) => m.view.setU32(job! + L.JOB_CONTINUE, 7),
    })
    const failed = machine.view.u64(jobs[0]! + L.JOB_ERRORS)
    expect(failed).toBeGreaterThan(0)
    expect(ios[0]! + failed).toBe(200)
  })

  it.each([2, 3, 5, 64])('rings of %d entries that wrap all the time', async depth => {
    for (const model of ['null', 'fixed'] as const) {
      const { ios } = await run([{ ios: 700, depth: 9, batch: 3 }], { disk: { depth, model } })
      expect(ios).toEqual([700])
    }
  })

  it('with the least costs there may be', async () => {
    const costs = {
      submit: 500,
      complete: 0,
      doorbell: 0,
      irq: 0,
      switch: 0,
      ipi: 0,
      poll: 1,
      syscall: 0,
    }
    for (const wait of ['irq', 'poll'] as const) {
      const { ios } = await run(
        [
          { ios: 300, depth: 3 },
          { ios: 300, depth: 1 },
        ],
        {
          cpus: 2,
          costs,
          disk: { wait, queues: 1, serviceNs: 7 },
        },
      )
      expect(ios).toEqual([300, 300])
    }
  })
})

describe('accounting', () => {
  const raised = (machine: Machine) =>
    machine.queueFacts().reduce((n, q) => n + q.interruptsRaised, 0)

  it('an interrupt for each completion at depth 1, and every one of them found by it', async () => {
    const { machine } = await run([{ ios: 500, depth: 1 }])
    const c = machine.cpuCounters(0)
    expect([c.irqs, c.irqDone, c.polled, c.spins, raised(machine)]).toEqual([500, 500, 0, 0, 500])
  })

  it('no interrupt for a polled queue, and looks for the time that passed', async () => {
    const { machine } = await run([{ ios: 500, depth: 1 }], { disk: { wait: 'poll' } })
    const c = machine.cpuCounters(0)
    expect([c.irqs, c.polled, raised(machine)]).toEqual([0, 500, 0])
    const cost = machine.view.u32(L.M_BASE + L.M_COST_POLL)
    expect(c.spins * cost).toBeGreaterThanOrEqual(500 * 10_000)
    expect(c.busyNs / machine.now()).toBeGreaterThan(0.99)
  })

  it('nvme-spec 22.14: an interrupt for eight completions, or after the time', async () => {
    // Eight units and a depth of eight: eight completions come together.
    const many = await run([{ ios: 800, depth: 8, batch: 8 }], {
      disk: { coalesceCount: 8, coalesceNs: 1e6, units: 8 },
    })
    expect(raised(many.machine)).toBe(100)
    // A depth of three never gives eight: the time ends each wait.
    const few = await run([{ ios: 300, depth: 3, batch: 3 }], {
      disk: { coalesceCount: 8, coalesceNs: 1e6, units: 8 },
    })
    expect(raised(few.machine)).toBe(100)
    expect(few.machine.now()).toBeGreaterThan(100 * 1e6)
    const off = await run([{ ios: 300, depth: 3, batch: 3 }], {
      disk: { coalesceCount: 8, coalesceNs: 0, units: 1 },
    })
    expect(raised(off.machine)).toBe(300)
  })

  it('completions that only add to an interrupt come at their times, however far the machine is run at once', async () => {
    const facts = async (disk: Partial<DiskConfig>, step: number): Promise<unknown> => {
      const disks = [diskConfig({ queues: 2, depth: 33, coalesceNs: 100_000, ...disk })]
      const machine = bootMachine(
        machineConfig({ cpus: 2, lat: 'every', disks, extraBytes: 2 ** 24 }),
      )
      await machine.start()
      const jobs = [0, 1, 2].map(i => {
        const shape = { ios: 400, depth: 7 + 5 * i, batch: 1 + 3 * i, write: i === 1, seed: i + 5 }
        return startJob(machine, i, i % 2, machine.disks[0]!, shape)
      })
      const { view } = machine
      while (!jobs.every(job => view.load(job + L.JOB_STATE) === L.JOB_DONE))
        await machine.run(machine.now() + step)
      const { dcq } = machine.disks[0]!.queues[0]!
      const ring = view.bytes.slice(view.u32(dcq + L.DCQ_BASE), view.u32(dcq + L.DCQ_END))
      const stats = jobs.map(job => {
        return view.bytes.slice(job + L.JOB_STATS, job + L.JOB_STATS + 3 * L.STAT_SIZE)
      })
      const counters = [0, 1].map(cpu => machine.cpuCounters(cpu))
      const ends = jobs.map(job => view.u64(job + L.JOB_FINISH_NS))
      return { ring, stats, counters, ends, raised: raised(machine) }
    }
    for (const disk of [
      { model: 'lognormal', sigmaNs: 4000, coalesceCount: 5 },
      { model: 'fixed', serviceNs: 9000, units: 3, coalesceCount: 8 },
      { model: 'fixed', serviceNs: 40_000, units: 2, coalesceCount: 20, shadow: true },
    ] as const) {
      const whole = await facts(disk, 20e9)
      expect(await facts(disk, 700)).toEqual(whole)
      expect(await facts(disk, 13_000)).toEqual(whole)
    }
  })

  it('completions on a queue of another CPU come by IPI', async () => {
    const { machine } = await run(
      [
        { ios: 1, depth: 1 },
        { ios: 200, depth: 2 },
      ],
      {
        cpus: 2,
        disk: { queues: 1 },
      },
    )
    expect(machine.cpuCounters(0).ipis).toBe(200)
    expect(machine.cpuCounters(1).irqs).toBe(0)
  })

  it('a CPU is never busy for longer than time has passed', async () => {
    for (const wait of ['irq', 'poll', 'hybrid'] as const) {
      const { machine } = await run(
        [
          { ios: 900, depth: 7, batch: 2 },
          { ios: 900, depth: 2 },
        ],
        {
          cpus: 2,
          disk: { wait, queues: 2, model: 'normal', sigmaNs: 3000 },
        },
      )
      for (const cpu of [0, 1]) {
        const { busyNs } = machine.cpuCounters(cpu)
        expect(busyNs).toBeGreaterThan(0)
        expect(busyNs).toBeLessThanOrEqual(machine.view.u64(machine.cpuAddress(cpu) + L.CPU_NOW))
      }
    }
  })

  it('no I/O ends sooner than the medium takes: a doorbell is seen when it was written, not before', async () => {
    for (const depth of [4, 16, 32]) {
      const shape = { ios: 2000, depth, batch: 4 }
      const { machine, jobs } = await run([shape], { disk: { units: 64, serviceNs: 10_000 } })
      const least = machine.view.u64(jobs[0]! + L.JOB_STATS + L.STAT_CLAT + L.LS_MIN)
      expect(least).toBeGreaterThanOrEqual(10_000 + machine.view.u32(L.M_BASE + L.M_COST_IRQ))
    }
  })

  it('latencies are those of the medium and the costs on the way', async () => {
    const { machine, jobs } = await run([{ ios: 100, depth: 1 }], { disk: { serviceNs: 50_000 } })
    const clat = jobs[0]! + L.JOB_STATS + L.STAT_CLAT
    const [min, max] = [machine.view.u64(clat + L.LS_MIN), machine.view.u64(clat + L.LS_MAX)]
    expect(machine.view.u64(clat + L.LS_N)).toBe(100)
    expect(min).toBeGreaterThanOrEqual(50_000)
    expect(max).toBeLessThan(60_000)
  })

  it('a fault that delays shows in the latency, and only there', async () => {
    const faults = [{ nth: 50, action: 'delay' as const, value: 1e6 }]
    const { machine, jobs } = await run([{ ios: 100, depth: 1 }], { disk: { faults } })
    const clat = jobs[0]! + L.JOB_STATS + L.STAT_CLAT
    expect(machine.view.u64(clat + L.LS_MAX)).toBeGreaterThanOrEqual(1e6 + 10_000)
    expect(machine.view.f64(clat + L.LS_SUM)).toBeLessThan(1e6 + 100 * 20_000)
  })

  it('nothing is counted as spurious', async () => {
    const { machine } = await run([{ ios: 2000, depth: 16, batch: 4 }], { disk: { depth: 9 } })
    expect(machine.queueFacts().map(q => q.spurious)).toEqual([0])
  })
})

describe('repeatability', () => {
  it('the same seed leaves the same memory, byte for byte', async () => {
    const once = async (seed: number): Promise<Buffer> => {
      const config = machineConfig({
        cpus: 3,
        seed,
        disks: [
          diskConfig({
            model: 'lognormal',
            sigmaNs: 4000,
            queues: 2,
            depth: 17,
            faults: [{ opcode: NVME_CMD_FLUSH, action: 'delay', value: 100 }],
          }),
        ],
      })
      const machine = bootMachine(config)
      await machine.start()
      const jobs = [0, 1, 2, 3].map(i => {
        const shape = { ios: 500, depth: 5 + i, batch: 1 + i, write: i % 2 === 0, seed: i + seed }
        return startJob(machine, i, i % 3, machine.disks[0]!, shape)
      })
      await runJobs(machine, jobs)
      return Buffer.from(machine.view.bytes.slice(L.PLAN_BASE))
    }
    const [a, b, c] = [await once(7), await once(7), await once(8)]
    expect(a.equals(b)).toBe(true)
    expect(a.equals(c)).toBe(false)
  })
})
