// The sweep of completion modes: what a point is made of, and where the crossover lies.

import { describe, expect, test } from 'vitest'
import {
  COMPLETION_MODES,
  completionMode,
  crossovers,
  pollVsIrq,
  type PollVsIrqGrid,
  type PollVsIrqPoint,
} from '../../../src/workload/poll-vs-irq.js'

const GRID: PollVsIrqGrid = {
  clock: 'virtual',
  services: [10, 100],
  depths: [1, 8],
  cpus: [1, 2],
  modes: COMPLETION_MODES,
  ios: 200,
  seed: 1,
}

describe('points in virtual time', async () => {
  const points = await pollVsIrq(GRID, () => {})
  const at = (mode: string, serviceUs: number, depth: number, cpus: number): PollVsIrqPoint =>
    points.find(
      p => p.mode === mode && p.serviceUs === serviceUs && p.depth === depth && p.cpus === cpus,
    )!

  test('there is one for each combination, and all of its I/Os are accounted for', () => {
    expect(points).toHaveLength(2 * 2 * 2 * 4)
    for (const p of points) {
      expect(p.ios).toBe(200 * p.cpus)
      expect(p.polled + p.interrupted).toBe(p.ios + p.settling)
      expect(p.settling > 0).toBe(p.mode === 'hybrid')
      expect(p.mean).toBeGreaterThan(p.serviceUs * 1000)
    }
  })

  test('polling saves an interrupt and a switch of latency, and costs the whole service time', () => {
    for (const service of [10, 100]) {
      const [poll, irq] = [at('poll', service, 1, 1), at('irq', service, 1, 1)]
      // costs of the machine: irq 1200 ns, switch 2500 ns
      expect(irq.mean - poll.mean).toBeCloseTo(3700, -2)
      expect(poll.cpuPerIo).toBeGreaterThan(service * 1000)
      expect(irq.cpuPerIo).toBeLessThan(6000)
      expect(irq.irqsPerIo).toBe(1)
      expect(poll.irqsPerIo).toBe(0)
    }
  })

  test('coalescing takes fewer interrupts', () => {
    expect(at('coalesce', 10, 8, 1).irqsPerIo).toBeLessThan(0.5)
    expect(at('irq', 10, 8, 1).irqsPerIo).toBeGreaterThan(0.9)
  })

  test('hybrid polling has measured before it is measured: it sleeps for half of the mean time', () => {
    for (const service of [10, 100]) {
      const [hybrid, poll] = [at('hybrid', service, 1, 1), at('poll', service, 1, 1)]
      expect(poll.spinsPerIo).toBe((service * 1000) / 50)
      // looks of 50 ns in what is left of the service time after the sleep, and the interrupt and the switches that end it, 3700 ns
      const left = service * 1000 - hybrid.mean / 2 - 3700
      expect(Math.abs(hybrid.spinsPerIo * 50 - left)).toBeLessThan(500)
      expect(Math.abs(poll.cpuPerIo - hybrid.cpuPerIo - hybrid.mean / 2)).toBeLessThan(500)
      expect(hybrid.mean - poll.mean).toBeLessThan(100)
    }
  })

  test('coalescing takes the numbers that it is told', async () => {
    const grid = { ...GRID, services: [10], depths: [16], cpus: [1] }
    const modes = ['coalesce', 'coalesce:8/100us', 'coalesce:2/100us'] as const
    const [eight, same, two] = await pollVsIrq({ ...grid, modes }, () => {})
    expect({ ...same, mode: 'coalesce' }).toEqual(eight)
    expect(two!.irqsPerIo).toBeGreaterThan(2 * eight!.irqsPerIo)
    expect(completionMode('coalesce:256/25500us')).not.toBeNull()
    for (const word of ['spin', 'coalesce:', 'coalesce:0/100us', 'coalesce:8/150us', 'irq:8/100us'])
      expect(completionMode(word)).toBeNull()
  })

  test('CPUs with queues of their own do not disturb each other', () => {
    for (const mode of ['poll', 'irq'])
      expect(at(mode, 10, 8, 2).iops / at(mode, 10, 8, 1).iops).toBeCloseTo(2, 1)
  })

  test('the same seed gives the same points', async () => {
    expect(await pollVsIrq(GRID, () => {})).toEqual(points)
  })
})

describe('crossovers', () => {
  const point = (
    mode: 'poll' | 'irq',
    serviceUs: number,
    cpuPerIo: number,
    mean: number,
  ): PollVsIrqPoint => ({
    ...{ mode, serviceUs, cpuPerIo, mean },
    ...{ depth: 1, cpus: 1, ios: 1, iops: 1, p50: 1, p99: 1, p999: 1, spinsPerIo: 0 },
    ...{ irqsPerIo: 0, settling: 0, polled: 1, interrupted: 0 },
  })

  test('lie between the points where the sign changes, and CPU time and latency both decide', () => {
    const points = [
      ...[point('poll', 0, 1000, 1000), point('irq', 0, 5000, 5000)],
      ...[point('poll', 10, 11000, 11000), point('irq', 10, 5000, 15000)],
      ...[point('poll', 100, 101000, 101000), point('irq', 100, 5000, 105000)],
    ]
    const [found] = crossovers(points)
    expect(found!.cpuUs).toBeCloseTo(4, 6)
    // 10 %: +2900 at 10 us, -6100 at 100 us
    expect(found!.latencyUs).toBeCloseTo(39, 6)
    expect(found!.crossoverUs).toBe(found!.latencyUs)
  })

  test('are absent when the range has none', () => {
    const points = [point('poll', 0, 1000, 1000), point('irq', 0, 5000, 5000)]
    expect(crossovers(points)).toEqual([
      { depth: 1, cpus: 1, cpuUs: null, latencyUs: null, crossoverUs: null },
    ])
  })
})
