import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { DOORBELLS, QUEUE_FLAG_FUA, QUEUE_FLAG_WC } from '../../../assembly/nvme.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { queuesOwned } from '../../../src/machine/slow.js'
import { diskConfig, machineConfig } from './helper.js'

function boot(change: Parameters<typeof machineConfig>[0] = {}): Machine {
  return bootMachine(machineConfig(change))
}

describe('a booted machine', () => {
  it('has its numbers in the machine block', () => {
    const { view } = boot({ cpus: 3, hz: 1000, jobs: 2, lat: 'every', stages: true })
    const m = (field: number): number => view.u32(L.M_BASE + field)
    expect([m(L.M_CLOCK), m(L.M_NR_CPUS), m(L.M_HZ), m(L.M_NR_JOBS)]).toEqual([1, 3, 1000, 2])
    expect([m(L.M_LAT), m(L.M_STAGES), m(L.M_NR_HCTX), m(L.M_NR_DEVS)]).toEqual([3, 1, 3, 1])
    expect(view.u64(L.M_BASE + L.M_JIFFY_NS)).toBe(1_000_000)
  })

  it('numbers its CPUs, and each has a ring and a list of bios for splitting', () => {
    const machine = boot({ cpus: 3 })
    const { view } = machine
    for (let i = 0; i < 3; i++) {
      const cpu = machine.cpuAddress(i)
      expect(view.u32(cpu + L.CPU_INDEX)).toBe(i)
      const ring = view.u32(cpu + L.CPU_RING)
      expect(view.u32(ring + L.RING_MASK) & (view.u32(ring + L.RING_MASK) + 1)).toBe(0)
      let bios = 0
      for (let bio = view.u32(cpu + L.CPU_BIO_FREE); bio; bio = view.u32(bio + L.BIO_NEXT)) bios++
      expect(bios).toBe(1024)
    }
  })

  it('wires host queue and controller queue to the same rings and doorbells', () => {
    const machine = boot({ cpus: 2, disks: [diskConfig({ depth: 32, stride: 2 })] })
    const { view } = machine
    const disk = machine.disk('nvme0n1')
    disk.queues.forEach((queue, i) => {
      const nq = (field: number): number => view.u32(queue.nq + field)
      const dsq = (field: number): number => view.u32(queue.dsq + field)
      const dcq = (field: number): number => view.u32(queue.dcq + field)
      expect(nq(L.NQ_SQ)).toBe(dsq(L.DSQ_BASE))
      expect(nq(L.NQ_CQ)).toBe(dcq(L.DCQ_BASE))
      expect([nq(L.NQ_DEPTH), dsq(L.DSQ_ENTRIES), dcq(L.DCQ_ENTRIES)]).toEqual([32, 32, 32])
      const step = 4 << 2
      expect(nq(L.NQ_SQ_DB)).toBe(disk.bar + DOORBELLS + 2 * (i + 1) * step)
      expect(nq(L.NQ_CQ_DB)).toBe(disk.bar + DOORBELLS + (2 * (i + 1) + 1) * step)
      expect([dsq(L.DSQ_DB), dcq(L.DCQ_DB)]).toEqual([nq(L.NQ_SQ_DB), nq(L.NQ_CQ_DB)])
      expect([nq(L.NQ_QID), dsq(L.DSQ_ID)]).toEqual([i + 1, i + 1])
      expect([nq(L.NQ_CQ_PHASE), dcq(L.DCQ_PHASE)]).toEqual([1, 1])
      expect([nq(L.NQ_DSQ), dsq(L.DSQ_CQ), dcq(L.DCQ_NQ)]).toEqual([queue.dsq, queue.dcq, queue.nq])
      expect(view.u32(queue.irq + L.IRQ_CPU)).toBe(machine.cpuAddress(i))
    })
  })

  it('has shadow doorbells only where they are asked for', () => {
    const with_ = boot({ disks: [diskConfig({ shadow: true })] })
    const without = boot()
    const shadow = (m: Machine): number => m.view.u32(m.disks[0]!.queues[0]!.nq + L.NQ_SHADOW_SQ)
    expect(shadow(without)).toBe(0)
    expect(shadow(with_)).toBeGreaterThan(0)
    const { nq, dsq } = with_.disks[0]!.queues[0]!
    expect(with_.view.u32(dsq + L.DSQ_SHADOW)).toBe(shadow(with_))
    expect(with_.view.u32(dsq + L.DSQ_EI)).toBe(with_.view.u32(nq + L.NQ_EI_SQ))
  })

  it('has a tag set of depth - 1 idle requests for each hardware queue', () => {
    const machine = boot({ disks: [diskConfig({ depth: 64 })] })
    const { view } = machine
    const disk = machine.disks[0]!
    expect(disk.tags).toBe(63)
    const { tags } = disk.queues[0]!
    expect(view.u32(tags + L.TAGS_NR)).toBe(63)
    const sbq = tags + L.TAGS_BITMAP
    expect([view.u32(sbq + L.SBQ_DEPTH), view.u32(sbq + L.SBQ_SHIFT)]).toEqual([63, 3])
    expect(view.u32(sbq + L.SBQ_MAP_NR)).toBe(8)
    const requests = view.u32(tags + L.TAGS_STATIC_RQS)
    for (let tag = 0; tag < 63; tag++) {
      const rq = requests + tag * L.RQ_SIZE
      expect(view.u32(rq + L.RQ_Q)).toBe(disk.q)
      expect(view.u32(rq + L.RQ_STATE)).toBe(L.MQ_RQ_IDLE)
    }
    expect(disk.queues[0]!.flushRq).toBe(requests + 63 * L.RQ_SIZE)
    expect(view.i32(disk.queues[0]!.flushRq + L.RQ_TAG)).toBe(-1)
  })

  it('maps CPUs to queues: more CPUs than queues', () => {
    const machine = boot({ cpus: 5, disks: [diskConfig({ queues: 2 })] })
    const { view } = machine
    const disk = machine.disks[0]!
    expect(disk.map).toEqual([0, 1, 0, 1, 0])
    for (let cpu = 0; cpu < 5; cpu++) {
      const queue = disk.queues[disk.map[cpu]!]!
      expect(view.u32(view.u32(disk.q + L.Q_MAP) + cpu * 4)).toBe(queue.hctx)
      const ctx = view.u32(disk.q + L.Q_CTXS) + cpu * L.CTX_SIZE
      expect(view.u32(ctx + L.CTX_HCTX)).toBe(queue.hctx)
      expect(view.u32(ctx + L.CTX_CPU)).toBe(machine.cpuAddress(cpu))
      expect(view.u32(ctx + L.CTX_INDEX_HW)).toBe(Math.floor(cpu / 2))
    }
    for (const { hctx, nq, tags } of disk.queues) {
      expect(view.u32(hctx + L.HC_SHARED)).toBe(1)
      expect(view.u32(nq + L.NQ_SHARED)).toBe(1)
      expect(view.u32(tags + L.TAGS_BITMAP + L.SBQ_SHARED)).toBe(1)
    }
    expect(disk.queues.map(q => q.owner)).toEqual([0, 1])
  })

  it('maps CPUs to queues: fewer CPUs than queues give each CPU its own, without atomics', () => {
    const machine = boot({ cpus: 2, disks: [diskConfig({ queues: 7 })] })
    const disk = machine.disks[0]!
    expect(disk.map).toEqual([0, 1])
    expect(disk.nrHw).toBe(2)
    for (const { hctx, nq, tags } of disk.queues) {
      expect(machine.view.u32(hctx + L.HC_SHARED)).toBe(0)
      expect(machine.view.u32(nq + L.NQ_SHARED)).toBe(0)
      expect(machine.view.u32(tags + L.TAGS_BITMAP + L.SBQ_SHARED)).toBe(0)
    }
  })

  it('links the queues of all disks that a CPU owns', () => {
    const disks = [diskConfig(), diskConfig({ name: 'nvme1n1', queues: 1 })]
    const machine = boot({ cpus: 2, disks })
    const owned = (cpu: number): number[] => [...queuesOwned(machine.view, machine.cpuAddress(cpu))]
    const [a, b] = machine.disks
    expect(owned(0)).toEqual([a!.queues[0]!.hctx, b!.queues[0]!.hctx])
    expect(owned(1)).toEqual([a!.queues[1]!.hctx])
    const table = machine.view.u32(L.M_BASE + L.M_HCTXS)
    const hctxs = [...a!.queues, ...b!.queues].map(q => q.hctx)
    expect(hctxs.map((_, i) => machine.view.u32(table + i * 4))).toEqual(hctxs)
  })

  it('gives interrupts to queues that wait for them, and to no others', () => {
    const wait = (change: Parameters<typeof diskConfig>[0], clock: 'real' | 'virtual') => {
      const machine = boot({ cpus: 4, clock, disks: [diskConfig({ queues: 4, ...change })] })
      for (const queue of machine.disks[0]!.queues) {
        const interrupt = machine.view.u32(queue.dcq + L.DCQ_IEN) === 1
        expect(interrupt).toBe(queue.wait === 'irq')
        expect(machine.view.u32(queue.nq + L.NQ_IRQ) !== 0).toBe(interrupt)
      }
      return machine.disks[0]!.queues.map(q => q.wait)
    }
    expect(wait({}, 'virtual')).toEqual(['irq', 'irq', 'irq', 'irq'])
    expect(wait({ pollQueues: 1 }, 'virtual')).toEqual(['irq', 'irq', 'irq', 'poll'])
    expect(wait({ wait: 'hybrid' }, 'virtual')).toEqual(['hybrid', 'hybrid', 'hybrid', 'hybrid'])
    expect(wait({ where: 'thread', wait: 'poll' }, 'real')).toEqual([
      'poll',
      'poll',
      'poll',
      'poll',
    ])
    expect(wait({}, 'real')).toEqual(['inline', 'inline', 'inline', 'inline'])
  })

  it('limits requests as the driver does', () => {
    const q = (change: Parameters<typeof diskConfig>[0]) => {
      const machine = boot({ disks: [diskConfig(change)] })
      return (field: number): number => machine.view.u32(machine.disks[0]!.q + field)
    }
    const free = q({ wc: false })
    expect([free(L.Q_MAX_SECTORS), free(L.Q_MAX_SEGMENTS)]).toEqual([2560, 127])
    expect(free(L.Q_FLAGS) & ((1 << QUEUE_FLAG_WC) | (1 << QUEUE_FLAG_FUA))).toBe(0)
    const small = q({ mdtsBytes: 65536 })
    expect([small(L.Q_MAX_SECTORS), small(L.Q_MAX_SEGMENTS)]).toEqual([128, 17])
    expect(small(L.Q_FLAGS) & (1 << QUEUE_FLAG_WC)).not.toBe(0)
    expect(free(L.Q_TIMEOUT)).toBe(30 * 250)
  })

  it('describes the medium, and faults in the order given', () => {
    const faults = [
      { opcode: 1, nth: 3, action: 'status', value: 0x281 },
      { lba: [5, 9], action: 'delay', value: 1000 },
    ] as const
    const machine = boot({
      seed: 7,
      disks: [diskConfig({ model: 'empirical', empirical: [100, 2 ** 40], faults, sigmaNs: 2.5 })],
    })
    const { view } = machine
    const { dev, ns } = machine.disks[0]!
    expect(view.u32(dev + L.DEV_MODEL)).toBe(L.MODEL_EMPIRICAL)
    expect(view.u64(view.u32(dev + L.DEV_EMPIRICAL) + 8)).toBe(2 ** 40)
    expect(view.f64(dev + L.DEV_SIGMA_NS)).toBe(2.5)
    expect(view.u64(dev + L.DEV_SERVICE_NS)).toBe(10_000)
    expect(view.u64(ns + L.NS_NSZE)).toBe(2 ** 26 / 4096)
    const first = view.u32(dev + L.DEV_FAULTS)
    expect([view.u32(first + L.FLT_OPCODE), view.u32(first + L.FLT_NTH)]).toEqual([1, 3])
    expect(view.u64(first + L.FLT_TO)).toBe(2 ** 63)
    const second = view.u32(first + L.FLT_NEXT)
    expect([view.u64(second + L.FLT_FROM), view.u64(second + L.FLT_TO)]).toEqual([5, 10])
    expect(view.u32(second + L.FLT_NEXT)).toBe(0)
  })

  it('begins with hints at 0, or random ones that a seed repeats', () => {
    const hints = (seed: number): number[] => {
      const machine = boot({ cpus: 8, seed, disks: [diskConfig({ queues: 1 })] })
      const at = machine.view.u32(machine.disks[0]!.queues[0]!.tags + L.TAGS_BITMAP + L.SBQ_HINTS)
      return machine.disks[0]!.map.map((_, cpu) => machine.view.u32(at + cpu * L.SBQ_HINT_SIZE))
    }
    expect(hints(0)).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    expect(hints(5)).toEqual(hints(5))
    expect(new Set(hints(5)).size).toBeGreaterThan(2)
    expect(hints(5)).not.toEqual(hints(6))
    for (const hint of hints(5)) expect(hint).toBeLessThan(63)
  })

  it('hands out zeroed memory, and says when there is no more', () => {
    const machine = boot({ extraBytes: 10_000 })
    const a = machine.alloc(100)
    const b = machine.alloc(100, 4096)
    expect(b - a).toBe(4096)
    expect(machine.view.bytes.subarray(a, a + 100).every(byte => byte === 0)).toBe(true)
    expect(() => machine.alloc(6000)).toThrow(/more than the 9.8 KiB/)
  })

  it('knows its disks by name', () => {
    const machine = boot()
    expect(machine.disk('nvme0n1')).toBe(machine.disks[0])
    expect(() => machine.disk('sda')).toThrow('there is no disk sda; this machine has nvme0n1')
  })

  it('links jobs to their CPU in order', () => {
    const machine = boot({ cpus: 2 })
    const { view } = machine
    const jobs = [0, 1, 2].map(i => machine.jobAddress(i))
    machine.linkJob(jobs[0]!, 0)
    machine.linkJob(jobs[1]!, 1)
    machine.linkJob(jobs[2]!, 0)
    const first = view.u32(machine.cpuAddress(0) + L.CPU_JOB)
    expect([first, view.u32(first + L.JOB_NEXT)]).toEqual([jobs[0], jobs[2]])
    const waiter = view.u32(jobs[1]! + L.JOB_WAITER)
    expect(view.u32(waiter + L.WT_CPU)).toBe(machine.cpuAddress(1))
  })
})
