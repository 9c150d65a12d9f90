// More I/O than tags: jobs that wait for tags, one by one and together. Nobody starves, everything ends. Jobs run in virtual
// time, which repeats; sbitmap-tags 9.18 as far as the core goes.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { bootMachine, type DiskConfig, type Machine } from '../../../src/machine/machine.js'
import {
  countedIos,
  diskConfig,
  type JobShape,
  machineConfig,
  runJobs,
  startJob,
} from '../machine/helper.js'

function boot(disk: Partial<DiskConfig>, cpus = 1, jobs = 16): Machine {
  const disks = [diskConfig({ model: 'fixed', queues: 1, ...disk })]
  return bootMachine(machineConfig({ cpus, jobs, disks, extraBytes: 2 ** 25 }))
}

async function run(machine: Machine, shapes: readonly JobShape[]): Promise<number[]> {
  await machine.start()
  const { cpus } = machine.config
  const jobs = shapes.map((shape, i) => startJob(machine, i, i % cpus, machine.disks[0]!, shape))
  await runJobs(machine, jobs)
  expect(machine.books().problems).toEqual([])
  const queue = machine.disks[0]!.queues[0]!
  expect(machine.view.u32(queue.tags + L.TAGS_BITMAP + L.SBQ_WAITERS)).toBe(0)
  return jobs.map(job => countedIos(machine, job))
}

describe('jobs deeper than the queue', () => {
  it.each([2, 3, 5, 9, 17, 65])('one job of depth 128 on a ring of %d entries', async depth => {
    const machine = boot({ depth })
    expect(await run(machine, [{ ios: 2000, depth: 128, batch: 32 }])).toEqual([2000])
    expect(machine.cpuCounters(0).noTag).toBeGreaterThan(0)
  })

  it.each([
    [2, 4],
    [3, 16],
    [9, 8],
    [65, 12],
  ])('a ring of %d entries and %d jobs on one CPU', async (depth, count) => {
    const machine = boot({ depth })
    const shapes = Array.from({ length: count }, (_, i) => ({ ios: 400, depth: 16, seed: i + 1 }))
    expect(await run(machine, shapes)).toEqual(shapes.map(() => 400))
  })

  it.each([1, 2, 4])('from %d CPUs on one queue', async cpus => {
    const machine = boot({ depth: 5 }, cpus)
    const shapes = Array.from({ length: 8 }, (_, i) => ({ ios: 300, depth: 8, seed: i + 1 }))
    expect(await run(machine, shapes)).toEqual(shapes.map(() => 300))
  })

  it('nobody starves: jobs of one kind have got on equally far when time is up', async () => {
    const machine = boot({ depth: 4, serviceNs: 5000, units: 4 })
    const shapes = Array.from({ length: 8 }, (_, i) => {
      return { ios: 10 ** 9, depth: 4, batch: 2, seed: i + 1, endNs: 20e6 }
    })
    const counts = await run(machine, shapes)
    expect(Math.min(...counts)).toBeGreaterThan(500)
    expect(Math.max(...counts) / Math.min(...counts)).toBeLessThan(2)
  })

  it('nobody starves: a shallow job beside a deep one', async () => {
    const machine = boot({ depth: 9 })
    const counts = await run(machine, [
      { ios: 10 ** 9, depth: 64, batch: 16, endNs: 20e6 },
      { ios: 10 ** 9, depth: 1, endNs: 20e6 },
    ])
    expect(counts[1]).toBeGreaterThan(100)
  })

  it('large I/Os whose parts alone are more than the tags', async () => {
    const machine = boot({ depth: 4, mdtsBytes: 4096 })
    const shapes = [1, 2, 3].map(seed => ({ ios: 50, depth: 4, bytes: 65536, seed, write: true }))
    expect(await run(machine, shapes)).toEqual([50, 50, 50])
  })

  it('sbitmap-tags 9.18: a job that finds no tag tries again once it stands in the queue, then sleeps', async () => {
    const machine = boot({ depth: 2, serviceNs: 10_000 })
    await machine.start()
    const jobs = [1, 2].map((seed, i) => {
      return startJob(machine, i, 0, machine.disks[0]!, { ios: 1, depth: 1, seed })
    })
    await machine.run(5000)
    const state = jobs.map(job => machine.view.load(job + L.JOB_STATE))
    expect(state.filter(s => s === L.JOB_WAIT_TAG)).toHaveLength(1)
    expect(machine.cpuCounters(0).noTag).toBe(2)
    await runJobs(machine, jobs)
    expect(machine.books().problems).toEqual([])
  })
})
