import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CQE_BYTES, SQE_BYTES } from '../../../assembly/nvme.js'
import { PLAN_BASE } from '../../../assembly/layout.js'
import { UserError } from '../../../src/core/errors.js'
import { formatBytes, MEMORY_LIMIT } from '../../../src/core/memory.js'
import { memoryReport } from '../../../src/machine/memory-report.js'
import { planMachine } from '../../../src/machine/plan.js'
import { validateConfig } from '../../../src/machine/validate.js'
import { diskConfig, machineConfig } from './helper.js'

const GIB = 2 ** 30

const configs = fc
  .record({
    cpus: fc.integer({ min: 1, max: 40 }),
    queues: fc.integer({ min: 1, max: 40 }),
    depth: fc.integer({ min: 2, max: 2000 }),
    stride: fc.integer({ min: 0, max: 6 }),
    shadow: fc.boolean(),
    disks: fc.integer({ min: 0, max: 3 }),
    units: fc.integer({ min: 1, max: 64 }),
    jobs: fc.integer({ min: 0, max: 20 }),
    extra: fc.integer({ min: 0, max: 2 ** 20 }),
    model: fc.constantFrom('null' as const, 'ram' as const, 'normal' as const),
    size: fc.integer({ min: 1, max: 2 ** 20 }),
  })
  .map(c => {
    const disk = (i: number) => diskConfig({ ...c, name: `nvme${i}n1`, sizeBytes: c.size * 4096 })
    return machineConfig({
      cpus: c.cpus,
      jobs: c.jobs,
      extraBytes: c.extra,
      disks: Array.from({ length: c.disks }, (_, i) => disk(i)),
    })
  })

describe('the memory plan', () => {
  it('gives every region its own bytes, in order, above the constant data', () => {
    fc.assert(
      fc.property(configs, config => {
        const plan = planMachine(config)
        let end = PLAN_BASE
        for (const { address, bytes, name } of plan.memory.regions) {
          if (address < end || address % 128)
            throw new Error(`${name} at ${address}, ${end} is used`)
          end = address + bytes
        }
        expect(plan.bytes).toBe(end)
      }),
    )
  })

  it('puts rings, doorbells and data on pages, and rings end before the next region', () => {
    fc.assert(
      fc.property(configs, config => {
        const plan = planMachine(config)
        expect(plan.poolStart % 4096).toBe(0)
        for (const disk of plan.disks) {
          expect(disk.bar % 4096).toBe(0)
          for (const queue of disk.queues) {
            for (const page of [queue.sq, queue.cq, queue.prp]) expect(page % 4096).toBe(0)
            expect(queue.cq - queue.sq).toBeGreaterThanOrEqual(disk.config.depth * SQE_BYTES)
            expect(queue.fifo - queue.cq).toBeGreaterThanOrEqual(disk.config.depth * CQE_BYTES)
          }
        }
      }),
    )
  })

  it('gives each disk as many queues as asked for, but no more than CPUs, and every queue a CPU', () => {
    fc.assert(
      fc.property(configs, config => {
        for (const disk of planMachine(config).disks) {
          expect(disk.nrHw).toBe(Math.min(disk.config.queues, config.cpus))
          const mapped = disk.queues.flatMap(q => q.cpus)
          expect([...mapped].sort((a, b) => a - b)).toEqual(disk.map.map((_, cpu) => cpu))
          for (const queue of disk.queues) expect(queue.owner).toBe(Math.min(...queue.cpus))
        }
      }),
    )
  })

  it('has no more store than the disks need, and a leaf for each 4 MiB', () => {
    const disks = [diskConfig({ sizeBytes: 8 * 2 ** 20 })]
    expect(planMachine(machineConfig({ disks, memBytes: 2 * GIB })).poolPages).toBe(2048 + 2 + 1)
    expect(planMachine(machineConfig({ disks, memBytes: 2 ** 20 })).poolPages).toBe(256 + 1 + 1)
    const nothing = [diskConfig({ model: 'null' })]
    expect(planMachine(machineConfig({ disks: nothing })).poolPages).toBe(0)
  })

  it('takes a sparse disk of 16 TiB', () => {
    const disks = [diskConfig({ sizeBytes: 2 ** 44 })]
    const plan = planMachine(machineConfig({ disks, memBytes: 2 * GIB }))
    expect(plan.bytes).toBeLessThan(2.2 * GIB)
    expect(plan.disks[0]!.leaves).toBe(2 ** 22)
  })

  it('takes 1,024 CPUs and 1,024 queues of 1,024 entries', () => {
    const disks = [diskConfig({ queues: 1024, depth: 1024, sizeBytes: GIB })]
    const plan = planMachine(machineConfig({ cpus: 1024, disks, memBytes: GIB }))
    expect(plan.disks[0]!.queues).toHaveLength(1024)
    expect(plan.bytes).toBeLessThan(MEMORY_LIMIT)
  })

  it('says which part is too big for 4 GiB', () => {
    const big = machineConfig({ extraBytes: 5 * GIB })
    expect(() => planMachine(big)).toThrow(/jobs' buffers and tables 5 GiB/)
    const huge = machineConfig({ disks: [diskConfig({ sizeBytes: 2 ** 53 })] })
    expect(() => planMachine(huge)).toThrow(/page directory of nvme0n1/)
    const many = machineConfig({ jobs: 2 ** 20, extraBytes: GIB })
    expect(() => planMachine(many)).toThrow(UserError)
    const deep = diskConfig({ queues: 1024, depth: 65536 })
    expect(() => planMachine(machineConfig({ cpus: 1024, disks: [deep] }))).toThrow(
      /queues of nvme0n1/,
    )
  })

  it('shrinks the data store to what is left, and says so', () => {
    const disks = [diskConfig({ sizeBytes: 8 * GIB })]
    const plan = planMachine(machineConfig({ disks, memBytes: 8 * GIB, extraBytes: GIB }))
    expect(plan.bytes).toBeLessThanOrEqual(MEMORY_LIMIT)
    expect(plan.bytes).toBeGreaterThan(MEMORY_LIMIT - 2 ** 20)
    expect(plan.notes).toEqual([expect.stringContaining('mem=')])
  })

  it('reports the bytes of each queue', () => {
    const plan = planMachine(
      machineConfig({ cpus: 4, disks: [diskConfig({ queues: 2, depth: 128 })] }),
    )
    const report = memoryReport(plan.disks, 4)
    expect(report.map(r => r.qid)).toEqual([1, 2])
    for (const r of report) {
      expect(r.submission).toBe(128 * 64)
      expect(r.completion).toBe(128 * 16)
      const parts = r.submission + r.completion + r.requests + r.tags + r.prpPages + r.control
      expect(r.total).toBe(parts)
      const region = plan.memory.owners().find(([owner]) => owner === 'queues of nvme0n1')!
      expect(r.total * 2).toBeLessThan(region[1])
    }
  })
})

describe('what a machine refuses', () => {
  const refused: readonly [RegExp, Parameters<typeof machineConfig>[0]][] = [
    [/cpus=0/, { cpus: 0 }],
    [/cpus=5000/, { cpus: 5000 }],
    [/in real time each CPU is a thread/, { cpus: 1024, clock: 'real' }],
    [/hz=60/, { hz: 60 }],
    [/depth=1:/, { disks: [diskConfig({ depth: 1 })] }],
    [/stride=16/, { disks: [diskConfig({ stride: 16 })] }],
    [/queues=0/, { disks: [diskConfig({ queues: 0 })] }],
    [/poll-queues=9/, { disks: [diskConfig({ queues: 4, pollQueues: 9 })] }],
    [/units=0/, { disks: [diskConfig({ units: 0 })] }],
    [/size=5000/, { disks: [diskConfig({ sizeBytes: 5000 })] }],
    [/at least one latency/, { disks: [diskConfig({ model: 'empirical' })] }],
    [/mean above 0/, { disks: [diskConfig({ model: 'lognormal', serviceNs: 0 })] }],
    [/where=thread exists in real time only/, { disks: [diskConfig({ where: 'thread' })] }],
    [/two disks are named nvme0n1/, { disks: [diskConfig(), diskConfig()] }],
    [/cost irq=-1/, { costs: { irq: -1 } }],
    [/at least 500 ns/, { costs: { submit: 0 } }],
    [/siblings: 1 entries/, { cpus: 2, siblings: [0] }],
  ]

  it.each(refused)('%s', (message, change) => {
    expect(() => validateConfig(machineConfig(change))).toThrow(UserError)
    expect(() => validateConfig(machineConfig(change))).toThrow(message)
  })

  it('accepts the machines of the other tests', () => {
    expect(() => validateConfig(machineConfig())).not.toThrow()
  })
})

describe('formatBytes', () => {
  it.each([
    [512, '512 bytes'],
    [2048, '2 KiB'],
    [1.5 * 2 ** 20, '1.5 MiB'],
    [2 ** 32, '4 GiB'],
  ])('%d is %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
