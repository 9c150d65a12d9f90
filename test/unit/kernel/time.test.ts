import { describe, expect, test } from 'vitest'
import * as errno from '../../../src/kernel/errno.js'
import * as time from '../../../src/kernel/time.js'

const HZ = (hz: number): time.HasHz => ({ hz })

describe('conversions', () => {
  test('workqueue-timers 15.20: msecs_to_jiffies rounds up', () => {
    expect(time.msecs_to_jiffies(HZ(1000), 1)).toBe(1)
    expect(time.msecs_to_jiffies(HZ(250), 1)).toBe(1)
    expect(time.msecs_to_jiffies(HZ(100), 1)).toBe(1)
    expect(time.msecs_to_jiffies(HZ(250), 101)).toBe(26)
    expect(time.msecs_to_jiffies(HZ(250), 100)).toBe(25)
    expect(time.msecs_to_jiffies(HZ(250), 0)).toBe(0)
  })

  test('workqueue-timers 10: values with the sign bit set become MAX_JIFFY_OFFSET', () => {
    expect(time.msecs_to_jiffies(HZ(250), -1)).toBe(time.MAX_JIFFY_OFFSET)
    expect(time.msecs_to_jiffies(HZ(250), 2 ** 31)).toBe(time.MAX_JIFFY_OFFSET)
    expect(time.msecs_to_jiffies(HZ(250), 2 ** 31 - 1)).toBe(536870912)
    expect(time.usecs_to_jiffies(HZ(250), -5)).toBe(time.MAX_JIFFY_OFFSET)
    // Added to any jiffy count it stays exact.
    const sum = time.INITIAL_JIFFIES(1000) + time.MAX_JIFFY_OFFSET
    expect(Number.isSafeInteger(sum)).toBe(true)
  })

  test('blk-timers 1: HZ 100, 250, 300 and 1000 give their tick', () => {
    expect([100, 250, 300, 1000].map(time.tick_nsec)).toEqual([
      10_000_000, 4_000_000, 3_333_333, 1_000_000,
    ])
    expect(time.msecs_to_jiffies(HZ(300), 10)).toBe(3)
    expect(time.msecs_to_jiffies(HZ(300), 11)).toBe(4)
  })

  test('back to milliseconds, microseconds and nanoseconds', () => {
    expect(time.jiffies_to_msecs(HZ(250), 26)).toBe(104)
    expect(time.jiffies_to_usecs(HZ(1000), 3)).toBe(3000)
    expect(time.jiffies_to_nsecs(HZ(250), 2)).toBe(8_000_000)
    expect(time.nsecs_to_jiffies(HZ(250), 7_999_999)).toBe(1)
    expect(time.usecs_to_jiffies(HZ(250), 1)).toBe(1)
  })
})

describe('comparisons', () => {
  test('workqueue-timers 10: time_after is the sign of the difference', () => {
    expect(time.time_after(5, 4)).toBe(true)
    expect(time.time_after(4, 4)).toBe(false)
    expect(time.time_after_eq(4, 4)).toBe(true)
    expect(time.time_before(3, 4)).toBe(true)
    expect(time.time_before_eq(5, 4)).toBe(false)
    expect(time.time_in_range(4, 4, 5)).toBe(true)
    expect(time.time_in_range(6, 4, 5)).toBe(false)
  })

  test('workqueue-timers 10: jiffies start 300 s before 2^32, and order holds across it', () => {
    const start = time.INITIAL_JIFFIES(250)
    expect(start).toBe(4294892296)
    expect(start + 300 * 250).toBe(2 ** 32)
    expect(time.time_after(2 ** 32 + 1, 2 ** 32 - 1)).toBe(true)
  })
})

test('error numbers have names, with either sign', () => {
  expect(errno.errname(-errno.EIO)).toBe('EIO')
  expect(errno.errname(errno.ETIMEDOUT)).toBe('ETIMEDOUT')
  expect(errno.EWOULDBLOCK).toBe(11)
  expect(errno.errname(-9999)).toBe('9999')
})
