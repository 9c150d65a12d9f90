// Machines of any shape: whatever the numbers of CPUs, queues and tags, the ways of waiting and the medium, every I/O
// ends once, and nothing is left behind. In virtual time, so that a failure repeats from fast-check's seed.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { bootMachine } from '../../../src/machine/machine.js'
import { countedIos, diskConfig, machineConfig, runJobs, startJob } from './helper.js'

const disks = fc.record({
  queues: fc.integer({ min: 1, max: 6 }),
  pollShare: fc.integer({ min: 0, max: 6 }),
  depth: fc.integer({ min: 2, max: 20 }),
  lbaShift: fc.constantFrom(9 as const, 12 as const),
  model: fc.constantFrom('null', 'ram', 'fixed', 'normal', 'lognormal', 'empirical'),
  serviceNs: fc.integer({ min: 1, max: 100_000 }),
  sigmaNs: fc.integer({ min: 0, max: 50_000 }),
  empirical: fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 9 }),
  units: fc.integer({ min: 1, max: 9 }),
  wait: fc.constantFrom('poll', 'irq', 'hybrid'),
  coalesceCount: fc.integer({ min: 1, max: 9 }),
  coalesceNs: fc.integer({ min: 0, max: 100_000 }),
  stride: fc.integer({ min: 0, max: 5 }),
  shadow: fc.boolean(),
  mdtsBytes: fc.constantFrom(0, 4096, 65536),
})

const shapes = fc.record({
  ios: fc.integer({ min: 1, max: 150 }),
  depth: fc.integer({ min: 1, max: 24 }),
  batch: fc.integer({ min: 1, max: 24 }),
  bytes: fc.constantFrom(4096, 8192, 32768, 131072),
  write: fc.boolean(),
})

const machines = fc.record({
  cpus: fc.integer({ min: 1, max: 6 }),
  seed: fc.integer({ min: 0, max: 5 }),
  lat: fc.constantFrom('none', 'sampled', 'batch', 'every'),
  stages: fc.boolean(),
  disk: disks,
  jobs: fc.array(shapes, { minLength: 1, maxLength: 5 }),
})

it('ends every I/O once, whatever the machine', async () => {
  await fc.assert(
    fc.asyncProperty(machines, async ({ disk, jobs, ...rest }) => {
      const pollQueues = Math.min(disk.pollShare, disk.queues)
      const machine = bootMachine(
        machineConfig({
          ...rest,
          disks: [diskConfig({ ...disk, pollQueues, sizeBytes: 2 ** 23 })],
          jobs: jobs.length,
          memBytes: 2 ** 23,
          extraBytes: 2 ** 25,
        }),
      )
      await machine.start()
      const all = jobs.map((shape, i) => {
        return startJob(machine, i, i % rest.cpus, machine.disks[0]!, { ...shape, seed: i + 1 })
      })
      await runJobs(machine, all)
      const total = jobs.reduce((n, shape) => n + shape.ios, 0)
      expect(all.map(job => countedIos(machine, job))).toEqual(jobs.map(shape => shape.ios))
      expect(machine.books()).toMatchObject({ submitted: total, completed: total, problems: [] })
    }),
    { numRuns: 60 },
  )
})
