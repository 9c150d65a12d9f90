// Real time: threads over one memory. Nothing here judges how fast anything is.
import { availableParallelism } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { OutputError } from '../../../src/core/errors.js'
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
type Shape = Parameters<typeof startJob>[4]

const machines: Machine[] = []

function boot(change: Change = {}): Machine {
  const machine = bootMachine(machineConfig({ clock: 'real', ...change }))
  machines.push(machine)
  return machine
}

afterEach(async () => {
  await Promise.all(machines.splice(0).map(m => m.stop()))
})

/** Boots, runs one job on each of the first `jobs` CPUs to its end, and stops. */
async function run(change: Change, jobs: number, shape: Shape): Promise<Machine> {
  const machine = boot({ jobs, ...change })
  await machine.start()
  const all = Array.from({ length: jobs }, (_, i) => {
    return startJob(machine, i, i, machine.disks[0]!, { seed: i + 1, ...shape })
  })
  await runJobs(machine, all)
  await machine.stop()
  for (const job of all) expect(countedIos(machine, job)).toBe(shape.ios)
  const total = jobs * shape.ios
  const books = machine.books()
  expect(books.problems).toEqual([])
  expect(books).toMatchObject({ submitted: total, completed: total, failed: 0, balanced: true })
  return machine
}

/** Lets time pass until so many bios are in flight. */
async function untilInFlight(machine: Machine, count: number): Promise<void> {
  while (machine.books().inFlight < count) await machine.run(machine.now() + 2e6)
}

describe('real time', () => {
  it('runs a device in the submitting thread, and claims neither poll nor interrupt', async () => {
    const machine = await run({}, 1, { ios: 5000, depth: 16, batch: 4, write: true })
    const counters = machine.cpuCounters(0)
    const requests = 5000 - countedMerges(machine, machine.disks[0]!)
    expect(counters).toMatchObject({ inline: requests, polled: 0, irqs: 0 })
    expect(machine.queueFacts()[0]).toMatchObject({ completion: 'inline', queued: requests })
    expect(counters.doorbells).toBeLessThan(5000)
  })

  it('runs two CPUs with a queue each', async () => {
    const machine = await run({ cpus: 2 }, 2, { ios: 5000, depth: 8, batch: 2, write: true })
    const [a, b] = machine.queueFacts().map(f => f.queued)
    expect(a! + b! + countedMerges(machine, machine.disks[0]!)).toBe(10_000)
    expect(Math.min(a!, b!)).toBeGreaterThan(4900)
    expect(machine.cpuCounters(0).ipis + machine.cpuCounters(1).ipis).toBe(0)
  })

  it('runs two CPUs that share a queue, of which one reaps', async () => {
    const disks = [diskConfig({ queues: 1, depth: 16 })]
    const machine = await run({ cpus: 2, disks }, 2, { ios: 3000, depth: 8, batch: 2 })
    expect(machine.cpuCounters(1).inline).toBe(0)
    const merged = countedMerges(machine, machine.disks[0]!)
    expect(machine.cpuCounters(0).ipis).toBeGreaterThanOrEqual(3000 - merged)
  })

  it.each(['poll', 'irq', 'hybrid'] as const)(
    'waits by %s for a device on a thread',
    async wait => {
      const disks = [diskConfig({ where: 'thread', wait })]
      const machine = await run({ disks }, 1, { ios: 1000, depth: 8, batch: 2 })
      const counters = machine.cpuCounters(0)
      expect(machine.queueFacts()[0]!.completion).toBe(wait)
      if (wait === 'irq') expect([counters.irqDone, counters.polled]).toEqual([1000, 0])
      else expect([counters.irqDone, counters.polled]).toEqual([0, 1000])
      expect(counters.inline).toBe(0)
    },
  )

  it('coalesces the interrupts of a device on a thread', async () => {
    const disks = [diskConfig({ where: 'thread', coalesceCount: 8, coalesceNs: 50_000 })]
    const machine = await run({ disks }, 1, { ios: 1000, depth: 32, batch: 16 })
    const raised = machine.queueFacts()[0]!.interruptsRaised
    expect(raised).toBeGreaterThan(0)
    expect(raised).toBeLessThan(1000)
    expect(machine.cpuCounters(0).irqDone).toBeGreaterThan(900)
  })

  it.each(['inline', 'thread'] as const)(
    'waits for a medium that takes its time (%s)',
    async where => {
      const disks = [diskConfig({ where, model: 'fixed', serviceNs: 200_000, units: 4 })]
      const machine = await run({ disks }, 1, { ios: 100, depth: 4, batch: 4 })
      const job = machine.jobAddress(0)
      const took = machine.view.u64(job + L.JOB_FINISH_NS) - machine.view.u64(job + L.JOB_START_NS)
      expect(took).toBeGreaterThanOrEqual(25 * 200_000)
    },
  )

  it('runs more CPUs than the host has cores, and says so', async () => {
    const cpus = availableParallelism() + 2
    const machine = await run({ cpus, jobs: cpus }, cpus, { ios: 500, depth: 4 })
    expect(machine.notes).toEqual([expect.stringContaining(`${cpus} CPUs share the`)])
    expect(boot({ cpus: 1 }).notes).toEqual([])
  })

  it.each([
    ['its own thread', { where: 'thread', wait: 'irq' }],
    ['the submitter', {}],
  ] as const)(
    'more threads than cores fight for two tags, the device on %s: every I/O ends once',
    async (_, place) => {
      const cpus = availableParallelism() + 2
      const disks = [diskConfig({ queues: 1, depth: 3, ...place })]
      const machine = await run({ cpus, jobs: cpus, disks }, cpus, { ios: 400, depth: 4, batch: 2 })
      const waited = Array.from({ length: cpus }, (_, i) => machine.cpuCounters(i).noTag)
      expect(Math.max(...waited)).toBeGreaterThan(0)
      const { tags } = machine.disks[0]!.queues[0]!
      expect(machine.view.u32(tags + L.TAGS_BITMAP + L.SBQ_WAITERS)).toBe(0)
    },
  )

  it('returns from run at its deadline, and from a job that has ended', async () => {
    const machine = boot()
    await machine.start()
    const job = startJob(machine, 0, 0, machine.disks[0]!, { ios: 2 ** 40, depth: 4 })
    const until = machine.now() + 20e6
    expect(await machine.run(until)).toBe('time')
    expect(machine.now()).toBeGreaterThanOrEqual(until)
    const done: number[] = []
    machine.onJobDone(j => done.push(j))
    machine.stopJobs()
    expect(await machine.run()).toBe('event')
    expect(done).toEqual([job])
    expect(machine.view.load(job + L.JOB_STATE)).toBe(L.JOB_DONE)
  })

  it('runs a second job on the same CPU after the first', async () => {
    const machine = boot()
    await machine.start()
    const disk = machine.disks[0]!
    const first = startJob(machine, 0, 0, disk, { ios: 1000, depth: 4 })
    await runJobs(machine, [first])
    const second = startJob(machine, 1, 0, disk, { ios: 1000, depth: 4 })
    await runJobs(machine, [second])
    expect(machine.books()).toMatchObject({ submitted: 2000, balanced: true })
  })

  it('stops in the middle of everything, and the books still agree', async () => {
    const disks = [diskConfig({ where: 'thread', model: 'fixed', serviceNs: 600_000_000_000 })]
    const machine = boot({ cpus: 2, disks })
    await machine.start()
    for (const cpu of [0, 1]) {
      startJob(machine, cpu, cpu, machine.disks[0]!, { ios: 2 ** 40, depth: 4 })
    }
    await untilInFlight(machine, 8)
    await machine.stop()
    expect(machine.threads()).toEqual([])
    const books = machine.books()
    expect(books.inFlight).toBe(8)
    expect(books.tagsHeld).toBe(8)
    expect(books.biosUnbalanced).toBe(0)
    expect(books.balanced).toBe(false)
    expect(await machine.run()).toBe('idle')
  })

  it('ends the threads of a machine that was booted and never started', async () => {
    const machine = boot({ cpus: 2 })
    expect(machine.threads()).toHaveLength(2)
    await machine.stop()
    expect(machine.threads()).toEqual([])
  })
})

describe('a thread that dies', () => {
  const fixture = (name: string): URL =>
    new URL(`../../fixtures/${name}.worker.mjs`, import.meta.url)

  it.each(['at boot', 'at start'])(
    'is reported, and the others are stopped (file named %s)',
    async when => {
      const workerFile = fixture('dying')
      const machine = boot(when === 'at boot' ? { cpus: 2, workerFile } : { cpus: 2 })
      const start = machine.start(when === 'at boot' ? {} : { workerFile })
      await expect(start.then(() => machine.run())).rejects.toThrow(/CPU 1 died/)
      expect(machine.threads()).toEqual([])
      expect(machine.view.load(L.M_BASE + L.M_STOP)).toBe(1)
    },
  )

  it('by an exception in the slow half is reported with its message', async () => {
    const machine = boot({ cpus: 2 })
    await machine.start()
    const job = machine.jobAddress(0)
    machine.linkJob(job, 1)
    machine.view.setU32(job + L.JOB_HOST_WHY, L.HOST_REPLAY)
    machine.view.store(job + L.JOB_STATE, L.JOB_WAIT_HOST)
    machine.view.store(machine.cpuAddress(1) + L.CPU_MAIL, 1)
    machine.kick(1)
    const message = `CPU 1 died: CPU 1: nobody serves host request ${L.HOST_REPLAY}`
    await expect(machine.run()).rejects.toThrow(message)
    await expect(machine.run()).rejects.toThrow(OutputError)
    expect(machine.threads()).toEqual([])
  })

  it('that cannot even load its file is reported', async () => {
    const machine = boot({ workerFile: fixture('missing') })
    await expect(machine.start()).rejects.toThrow(/died/)
    expect(machine.threads()).toEqual([])
  })

  it('by force is reported, and what was in flight is still in the books', async () => {
    const disks = [diskConfig({ where: 'thread', model: 'fixed', serviceNs: 600_000_000_000 })]
    const machine = boot({ disks })
    await machine.start()
    startJob(machine, 0, 0, machine.disks[0]!, { ios: 1000, depth: 4 })
    await untilInFlight(machine, 4)
    void machine.threads()[0]!.terminate()
    await expect(machine.run()).rejects.toThrow(/died/)
    expect(machine.books()).toMatchObject({ submitted: 4, inFlight: 4, biosUnbalanced: 0 })
  })

  it('by a broken invariant says which', async () => {
    const machine = boot()
    await machine.start()
    const disk = machine.disks[0]!
    const requests = machine.view.u32(disk.queues[0]!.tags + L.TAGS_STATIC_RQS)
    for (let i = 0; i < disk.tags; i++) {
      machine.view.setU32(requests + i * L.RQ_SIZE + L.RQ_STATE, L.MQ_RQ_IN_FLIGHT)
    }
    startJob(machine, 0, 0, disk, { ios: 10, depth: 1 })
    await expect(machine.run()).rejects.toThrow('CPU 0 died: a request was started twice')
  })
})
