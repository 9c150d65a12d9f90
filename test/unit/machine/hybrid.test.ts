import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { View } from '../../../src/core/view.js'
import { HybridSleep, isHybrid } from '../../../src/machine/hybrid.js'
import { bootMachine } from '../../../src/machine/machine.js'
import { diskConfig, machineConfig } from './helper.js'

const CPU = 0
const OVERSHOOT = 90_000

/** A CPU with `depth` bios always in flight. */
function cpu(depth: number) {
  const view = new View(new SharedArrayBuffer(L.CPU_SIZE))
  const sleep = new HybridSleep(view, CPU, OVERSHOOT)
  let ended = 0
  const end = (count: number): void => {
    ended += count
    view.setU64(CPU + L.CPU_ENDED, ended)
    view.setU64(CPU + L.CPU_SUBMITTED, ended + depth)
  }
  end(0)
  return { sleep, end }
}

describe('hybrid polling', () => {
  it('sleeps for half of the mean, less the overshoot, once for each completion', () => {
    const { sleep, end } = cpu(1)
    for (let i = 1; i <= 50; i++) {
      end(1)
      sleep.restNs(i * 1e6)
    }
    expect(sleep.meanNs).toBe(1e6)
    end(1)
    expect(sleep.restNs(51e6)).toBe(500_000 - OVERSHOOT)
    expect(sleep.restNs(51.4e6)).toBe(0)
    end(1)
    expect(sleep.restNs(52e6)).toBeGreaterThan(0)
  })

  it('counts what is in flight together: four at once take four times as long each', () => {
    const { sleep, end } = cpu(4)
    for (let i = 1; i <= 50; i++) {
      end(1)
      sleep.restNs(i * 1e6)
    }
    expect(sleep.meanNs).toBe(4e6)
  })

  it('does not sleep before it knows, for a fast medium, or with nothing in flight', () => {
    const fresh = cpu(1)
    expect(fresh.sleep.restNs(1e6)).toBe(0)
    const fast = cpu(1)
    const idle = cpu(0)
    for (let i = 1; i <= 20; i++) {
      fast.end(1)
      expect(fast.sleep.restNs(i * 200_000)).toBe(0)
      idle.end(1)
      expect(idle.sleep.restNs(i * 1e6)).toBe(0)
    }
  })

  it('is for CPUs whose queues are all hybrid', () => {
    const of = (wait: 'poll' | 'hybrid') => diskConfig({ wait, name: wait })
    const machine = (...disks: ReturnType<typeof diskConfig>[]) => {
      const booted = bootMachine(machineConfig({ disks }))
      return isHybrid(booted.view, booted.cpuAddress(0))
    }
    expect(machine(of('hybrid'))).toBe(true)
    expect(machine(of('poll'))).toBe(false)
    expect(machine(of('hybrid'), of('poll'))).toBe(false)
    expect(machine()).toBe(false)
  })
})
