import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import {
  countedIos,
  countedMerges,
  diskConfig,
  machineConfig,
  runJobs,
  startJob,
} from './helper.js'

type Change = Parameters<typeof machineConfig>[0]

/** Boots, runs one job on each CPU of `jobCpus`, and returns machine and jobs. */
async function run(
  change: Change,
  jobCpus: readonly number[],
  shape: Parameters<typeof startJob>[4],
): Promise<{ machine: Machine; jobs: number[] }> {
  const machine = bootMachine(machineConfig({ jobs: jobCpus.length, ...change }))
  await machine.start()
  const jobs = jobCpus.map((cpu, i) => {
    return startJob(machine, i, cpu, machine.disks[0]!, { seed: i + 1, ...shape })
  })
  await runJobs(machine, jobs)
  return { machine, jobs }
}

function expectBooks(machine: Machine, ios: number): void {
  const books = machine.books()
  expect(books.problems).toEqual([])
  expect(books).toMatchObject({ submitted: ios, completed: ios, failed: 0, balanced: true })
}

describe('virtual time', () => {
  it('runs every I/O of a job, and the books balance', async () => {
    const disks = [diskConfig({ model: 'fixed' })]
    const { machine, jobs } = await run({ disks }, [0], { ios: 3000, depth: 16, batch: 4 })
    expect(countedIos(machine, jobs[0]!)).toBe(3000)
    expectBooks(machine, 3000)
  })

  it('makes an I/O at depth 1 cost at least 500 ns even on a medium that takes no time', async () => {
    for (const wait of ['poll', 'irq', 'hybrid'] as const) {
      const { machine } = await run({ disks: [diskConfig({ wait })] }, [0], { ios: 200, depth: 1 })
      expect(machine.now()).toBeGreaterThanOrEqual(200 * 500)
    }
  })

  it('takes the service time of the medium, and serves as many at once as there are units', async () => {
    const at = async (depth: number): Promise<number> => {
      const disks = [diskConfig({ model: 'fixed', serviceNs: 1_000_000, units: 4 })]
      const { machine } = await run({ disks }, [0], { ios: 400, depth, batch: depth })
      return machine.now()
    }
    const [one, four, eight] = [await at(1), await at(4), await at(8)]
    expect(one).toBeGreaterThan(400e6)
    expect(one).toBeLessThan(404e6)
    expect(four).toBeLessThan(102e6)
    expect(eight).toBeGreaterThan(100e6)
  })

  it('tells poll, interrupt and coalesced interrupt apart', async () => {
    const with_ = async (change: Parameters<typeof diskConfig>[0]) => {
      const disks = [diskConfig({ model: 'fixed', units: 1, ...change })]
      const { machine } = await run({ disks }, [0], { ios: 1600, depth: 16, batch: 16 })
      expectBooks(machine, 1600)
      const requests = 1600 - countedMerges(machine, machine.disks[0]!)
      return { ...machine.cpuCounters(0), requests, facts: machine.queueFacts()[0]! }
    }
    const poll = await with_({ wait: 'poll' })
    expect([poll.polled, poll.irqs, poll.facts.completion]).toEqual([poll.requests, 0, 'poll'])
    expect(poll.spins).toBeGreaterThan(100)
    const irq = await with_({ wait: 'irq' })
    expect([irq.polled, irq.irqDone, irq.facts.completion]).toEqual([0, irq.requests, 'irq'])
    expect(irq.facts.interruptsRaised).toBeGreaterThan(0)
    const few = await with_({ wait: 'irq', coalesceCount: 8, coalesceNs: 100_000 })
    expect(few.irqs).toBeLessThan(irq.irqs)
    expect(few.facts.interruptsRaised).toBeLessThan(irq.facts.interruptsRaised)
    expect(few.irqDone).toBe(few.requests)
  })

  it('polls with less latency and more CPU than it waits for interrupts', async () => {
    const with_ = async (wait: 'poll' | 'irq') => {
      const disks = [diskConfig({ model: 'fixed', serviceNs: 20_000, wait })]
      const { machine } = await run({ disks }, [0], { ios: 500, depth: 1 })
      return { ns: machine.now(), busy: machine.cpuCounters(0).busyNs }
    }
    const poll = await with_('poll')
    const irq = await with_('irq')
    expect(poll.ns).toBeLessThan(irq.ns)
    expect(poll.busy).toBeGreaterThan(irq.busy)
  })

  it.each([
    ['more CPUs than queues', 6, 2],
    ['fewer CPUs than queues', 2, 8],
    ['as many CPUs as queues', 4, 4],
  ])('serves %s', async (_, cpus, queues) => {
    const disks = [diskConfig({ model: 'fixed', queues })]
    const all = Array.from({ length: cpus }, (_, i) => i)
    const { machine, jobs } = await run({ cpus, disks }, all, { ios: 300, depth: 8, batch: 2 })
    for (const job of jobs) expect(countedIos(machine, job)).toBe(300)
    expectBooks(machine, 300 * cpus)
    const facts = machine.queueFacts()
    expect(facts).toHaveLength(Math.min(cpus, queues))
    const merges = countedMerges(machine, machine.disks[0]!)
    expect(facts.reduce((n, f) => n + f.queued, 0)).toBe(300 * cpus - merges)
    const handed = all.reduce((n, i) => n + machine.cpuCounters(i).ipis, 0)
    if (cpus > queues) expect(handed).toBeGreaterThan(0)
    else expect(handed).toBe(0)
  })

  it('waits for tags when jobs are deeper than the queue', async () => {
    const disks = [diskConfig({ model: 'fixed', depth: 8, queues: 1 })]
    const { machine } = await run({ cpus: 2, disks }, [0, 1], { ios: 500, depth: 32, batch: 8 })
    expectBooks(machine, 1000)
    const noTag = machine.cpuCounters(0).noTag + machine.cpuCounters(1).noTag
    expect(noTag).toBeGreaterThan(0)
  })

  it('repeats to the byte from a seed, however the host slices it', async () => {
    const digest = async (seed: number): Promise<string> => {
      const disks = [
        diskConfig({
          model: 'lognormal',
          sigmaNs: 4000,
          queues: 2,
          shadow: true,
          sizeBytes: 2 ** 22,
        }),
      ]
      const config = { seed, cpus: 3, disks, memBytes: 2 ** 23, extraBytes: 2 ** 20 }
      const shape = { ios: 700, depth: 8, batch: 3, write: true }
      const { machine } = await run(config, [0, 1, 2], shape)
      return createHash('sha256').update(machine.view.bytes).digest('hex')
    }
    const first = await digest(42)
    expect(await digest(42)).toBe(first)
    expect(await digest(43)).not.toBe(first)
  })

  it('keeps what is written', async () => {
    const disks = [diskConfig({ model: 'fixed', sizeBytes: 2 ** 16 })]
    const machine = bootMachine(machineConfig({ disks }))
    await machine.start()
    const disk = machine.disks[0]!
    const job = startJob(machine, 0, 0, disk, { ios: 200, depth: 1, write: true })
    const iou = machine.view.u32(job + L.JOB_FREE)
    machine.view.fill(machine.view.u32(iou + L.IOU_BUF), 4096, 0x5a)
    await runJobs(machine, [job])
    const leaf = machine.view.u32(machine.view.u32(disk.store + L.ST_DIR))
    const page = machine.view.u32(leaf)
    expect(machine.view.bytes.subarray(page, page + 4096).every(b => b === 0x5a)).toBe(true)
  })

  it('runs to a deadline and no further, and says when nothing is left', async () => {
    const machine = bootMachine(machineConfig({ disks: [diskConfig({ model: 'fixed' })] }))
    await machine.start()
    const job = startJob(machine, 0, 0, machine.disks[0]!, { ios: 1e9, depth: 4, endNs: 3e6 })
    expect(await machine.run(1e6)).toBe('time')
    expect(machine.now()).toBe(1e6)
    expect(await machine.run(2.5e6)).toBe('time')
    const seen: number[] = []
    machine.onJobDone(done => seen.push(done))
    expect(await machine.run()).toBe('event')
    expect(seen).toEqual([job])
    expect(machine.now()).toBeGreaterThanOrEqual(3e6)
    expect(machine.now()).toBeLessThan(3.1e6)
    expect(await machine.run()).toBe('idle')
    expect(await machine.run(9e6)).toBe('idle')
    expect(machine.now()).toBe(9e6)
  })

  it('starts the next job at the moment at which the last one ended', async () => {
    const machine = bootMachine(machineConfig({ disks: [diskConfig({ model: 'fixed' })] }))
    await machine.start()
    const disk = machine.disks[0]!
    const first = startJob(machine, 0, 0, disk, { ios: 10_000, depth: 4 })
    expect(await machine.run()).toBe('event')
    const ended = machine.view.u64(first + L.JOB_FINISH_NS)
    expect(machine.now() - ended).toBeLessThanOrEqual(0)
    const second = startJob(machine, 1, 0, disk, { ios: 10, depth: 1 })
    await runJobs(machine, [second])
    expectBooks(machine, 10_010)
  })

  it('ends jobs that are told to stop', async () => {
    const machine = bootMachine(machineConfig({ disks: [diskConfig({ model: 'fixed' })] }))
    await machine.start()
    const job = startJob(machine, 0, 0, machine.disks[0]!, { ios: 1e9, depth: 16, batch: 4 })
    await machine.run(1e6)
    expect(machine.books().inFlight).toBeGreaterThan(0)
    expect(machine.books().biosUnbalanced).toBe(0)
    machine.stopJobs()
    await runJobs(machine, [job])
    expect(machine.books().balanced).toBe(true)
  })

  it('gives the event loop turns, so that interrupt() ends a run', async () => {
    const machine = bootMachine(machineConfig({ disks: [diskConfig({ model: 'null' })] }))
    await machine.start()
    startJob(machine, 0, 0, machine.disks[0]!, { ios: 1e12, depth: 16, batch: 4 })
    setTimeout(() => machine.interrupt(), 5)
    expect(await machine.run()).toBe('event')
    expect(machine.cpuCounters(0).ended).toBeGreaterThan(0)
  })

  it('counts jiffies on the virtual clock', async () => {
    const disks = [diskConfig({ model: 'fixed', serviceNs: 1_000_000 })]
    const { machine } = await run({ disks, hz: 250 }, [0], { ios: 100, depth: 1 })
    expect(machine.view.load(L.M_BASE + L.M_JIFFIES)).toBe(Math.floor(machine.now() / 4e6))
  })

  it('runs 1,024 CPUs on 1,024 queues', async () => {
    const disks = [diskConfig({ model: 'fixed', queues: 1024, depth: 64, units: 1024 })]
    const cpus = Array.from({ length: 1024 }, (_, i) => i)
    const change = { cpus: 1024, disks, extraBytes: 2 ** 26 }
    const { machine } = await run(change, cpus, { ios: 4, depth: 2 })
    expectBooks(machine, 4096)
    expect(machine.queueFacts().every(f => f.queued === 4)).toBe(true)
  })
})
