import { describe, expect, test } from 'vitest'
import {
  __round_jiffies,
  __round_jiffies_relative,
  __round_jiffies_up,
  __round_jiffies_up_relative,
  round_jiffies,
  round_jiffies_relative,
  round_jiffies_up,
  round_jiffies_up_relative,
} from '../../../src/kernel/round-jiffies.js'
import { VirtualKernel } from './support.js'

const at = (hz: number, now: number, bootCpu = 0): VirtualKernel['k'] =>
  new VirtualKernel({ hz, initialJiffies: now, nrCpus: 8, bootCpu }).k

describe('round_jiffies', () => {
  test('workqueue-timers 15.16: HZ 1000', () => {
    const k = at(1000, 4000)
    expect(__round_jiffies(k, 5249, 0)).toBe(5000)
    expect(__round_jiffies(k, 5250, 0)).toBe(6000)
    expect(__round_jiffies(k, 5249, 1)).toBe(5997)
  })

  test('workqueue-timers 10: a result in the past leaves the original', () => {
    expect(__round_jiffies(at(1000, 5100), 5249, 0)).toBe(5249)
    expect(__round_jiffies(at(1000, 5000), 5249, 0)).toBe(5249)
  })

  test('blk-timers 10.1: the _up forms go up, a full second by a whole one', () => {
    const k = at(250, 1000)
    expect(__round_jiffies_up(k, 2250, 0)).toBe(2500)
    expect(__round_jiffies_up(k, 2250, 1)).toBe(2497)
    expect(__round_jiffies_up(k, 2250, 4)).toBe(2488)
    expect(__round_jiffies_up(k, 2251, 0)).toBe(2500)
  })

  test('the plain forms take the CPU that runs', () => {
    expect(round_jiffies_up(at(250, 1000, 4), 2250)).toBe(2488)
    expect(round_jiffies(at(1000, 4000, 1), 5249)).toBe(5997)
  })

  test('workqueue-timers 10: relative forms take and give distances', () => {
    const k = at(1000, 4000)
    expect(__round_jiffies_relative(k, 1249, 0)).toBe(1000)
    expect(round_jiffies_relative(k, 1250)).toBe(2000)
    expect(__round_jiffies_up_relative(k, 1001, 1)).toBe(1997)
    expect(round_jiffies_up_relative(k, 1001)).toBe(2000)
  })
})
