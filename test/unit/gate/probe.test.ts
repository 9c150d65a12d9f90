// The benchmarks that a build brings: each does what it is asked to, and says how long it took.
import { describe, expect, it } from 'vitest'
import { openProbe, PROBE_VERSION, PROBES } from '../../../src/cli/gate-probe.js'

describe('benchmarks', () => {
  it('are told apart by their names, and say what they do', () => {
    expect(PROBE_VERSION).toBe(1)
    expect(new Set(PROBES.map(probe => probe.name)).size).toBe(PROBES.length)
    for (const { does } of PROBES) expect(does.length).toBeGreaterThan(20)
    expect(PROBES.filter(probe => probe.threads === 'all').map(probe => probe.name)).toEqual([
      'all-cpus',
    ])
  })

  it.each(PROBES.map(probe => probe.name))('%s', async name => {
    const probe = await openProbe(name)
    try {
      for (const wanted of [1, 100, 1000]) {
        const { ops, ns } = await probe.run(wanted)
        expect(ops).toBeGreaterThanOrEqual(wanted)
        expect(ops).toBeLessThan(wanted + 500)
        expect(ns).toBeGreaterThan(0)
      }
    } finally {
      await probe.close()
    }
  })

  it('may record latencies, of their own slices only', async () => {
    const probe = await openProbe('latency-qd8')
    const count = (): number => probe.latencies!().reduce((a, b) => a + b, 0)
    await probe.run(1000)
    expect(count()).toBeGreaterThanOrEqual(1000)
    probe.forget!()
    expect(count()).toBe(0)
    const { ops } = await probe.run(500)
    expect(count()).toBe(ops)
    await probe.close()
  })

  it('must be known', async () => {
    await expect(openProbe('speed')).rejects.toThrow('no benchmark speed')
  })
})
