import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { View } from '../../../src/core/view.js'
import { clockOrigin, jiffiesAt, realClock } from '../../../src/machine/clock.js'
import { costsOf, DEFAULT_COSTS, MIN_IO_COST_NS, writeCosts } from '../../../src/machine/costs.js'

describe('the real clock', () => {
  it('begins at 0 and only goes forward', () => {
    const now = realClock(clockOrigin())
    let last = now()
    expect(last).toBeGreaterThanOrEqual(0)
    for (let i = 0; i < 1000; i++) {
      const next = now()
      expect(next).toBeGreaterThanOrEqual(last)
      last = next
    }
  })

  it('is the same on a thread whose performance.now() counts from elsewhere', () => {
    const origin = clockOrigin()
    const { port1, port2 } = new MessageChannel()
    port1.postMessage({ ...origin, timeOrigin: origin.timeOrigin + 5000 })
    const elsewhere = realClock(receiveMessageOnPort(port2)!.message)
    const here = realClock(origin)
    const before = here()
    const there = elsewhere()
    const after = here()
    port1.close()
    expect(there).toBeGreaterThan(before - 50_000)
    expect(there).toBeLessThan(after + 50_000)
  })

  it('counts ticks', () => {
    expect(jiffiesAt(3_999_999, 250)).toBe(0)
    expect(jiffiesAt(4_000_000, 250)).toBe(1)
    expect(jiffiesAt(10e9, 1000)).toBe(10_000)
    expect(jiffiesAt(2 ** 32 * 1e6, 1000)).toBe(0)
  })
})

describe('the costs of virtual time', () => {
  it('make an I/O cost something, and an interrupt as much as was measured', () => {
    const { submit, complete, irq, switch: sleep } = DEFAULT_COSTS
    expect(submit + complete).toBeGreaterThanOrEqual(MIN_IO_COST_NS)
    expect(irq + sleep).toBeGreaterThanOrEqual(3000)
    expect(irq + sleep).toBeLessThanOrEqual(5000)
  })

  it('are written where the core reads them', () => {
    const view = new View(new SharedArrayBuffer(L.M_BASE + L.M_SIZE))
    writeCosts(view, costsOf({ ipi: 777 }))
    expect(view.u32(L.M_BASE + L.M_COST_IPI)).toBe(777)
    expect(view.u32(L.M_BASE + L.M_COST_SUBMIT)).toBe(DEFAULT_COSTS.submit)
    expect(view.u32(L.M_BASE + L.M_COST_POLL)).toBe(DEFAULT_COSTS.poll)
  })
})
