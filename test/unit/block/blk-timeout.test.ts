// Request timeouts on an emulated kernel: blk-timers, section 10. HZ is 250, timers are exact.

import { describe, expect, test } from 'vitest'
import { Q_TIMEOUT, RQ_FLAGS } from '../../../assembly/layout.js'
import { RQF_TIMED_OUT } from '../../../assembly/nvme.js'
import { blk_abort_request, blk_mq_queue_tag_busy_iter } from '../../../src/block/blk-timeout.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { timer_pending } from '../../../src/kernel/timer.js'
import { Hosted } from './hosted.js'

/** A disk that loses every request, with two hardware queues. */
const LOST = 'null_blk,gb=1,no_sched=1,submit_queues=2,timeout=1/100/0/-1'
const GOOD = 'null_blk,gb=1,no_sched=1,submit_queues=2'

function read(h: Hosted, at: number, cpu = 0): { ended: number | null } {
  return h.task(at, cpu, function* () {
    yield* blkdev_read_iter(h.io(cpu + 2 * at))
  })
}

function setTimeoutJiffies(h: Hosted, jiffies: number): void {
  h.machine.view.setU32(h.q.at + Q_TIMEOUT, jiffies)
}

describe('a request that is lost', () => {
  test('blk-timers 10.2, blk-timers 10.3: 30 s from jiffy 1000: the timer fires at 2500 first, then at 8500', async () => {
    const h = new Hosted(LOST)
    setTimeoutJiffies(h, 7500)
    const task = read(h, 1000)
    await h.until(1001)
    expect(h.q.timeout.expires).toBe(2500)
    await h.until(2502)
    expect(h.q.timeout.expires).toBe(8500)
    expect(task.ended).toBeNull()
    await h.until(8502)
    expect(task.ended).toBe(8500)
  })

  test('blk-timers 10.4: 5 s from jiffy 1000 end at 2500', async () => {
    const h = new Hosted(LOST)
    const task = read(h, 1000)
    await h.until(2499)
    expect(task.ended).toBeNull()
    await h.until(2502)
    expect(task.ended).toBe(2500)
  })

  test('blk-timers 10.5: 5 s from jiffy 1125 end at 2500', async () => {
    const h = new Hosted(LOST)
    const task = read(h, 1125)
    await h.until(2600)
    expect(task.ended).toBe(2500)
  })

  test('blk-timers 10.6: a second one at 1200 leaves the timer alone; both end at 2500', async () => {
    const h = new Hosted(LOST)
    const tasks = [read(h, 1000), read(h, 1200)]
    await h.until(1201)
    expect(h.q.timeout.expires).toBe(2500)
    await h.until(2600)
    expect(tasks.map(task => task.ended)).toEqual([2500, 2500])
  })

  test('blk-timers 10.7: one of 1 s moves the timer to 1500', async () => {
    const h = new Hosted(LOST)
    const slow = read(h, 1000)
    await h.until(1000.5)
    setTimeoutJiffies(h, 250)
    const fast = read(h, 1000)
    await h.until(1002)
    expect(h.q.timeout.expires).toBe(1500)
    await h.until(1600)
    expect(fast.ended).toBe(1500)
    await h.until(2600)
    expect(slow.ended).toBe(2250)
  })

  test('blk-timers 10.8: a gain of 3 jiffies does not move it', async () => {
    const h = new Hosted(LOST)
    read(h, 1000, 0)
    read(h, 1000, 1)
    await h.until(1002)
    expect(h.q.timeout.expires).toBe(2500)
  })

  test('blk-timers 10.12: given up by its driver, it expires in the next run of the work', async () => {
    const h = new Hosted(LOST)
    const task = read(h, 1000)
    h.task(1100, 1, function* () {
      blk_mq_queue_tag_busy_iter(h.q, rq => blk_abort_request(h.q, rq))
      yield 'a turn'
    })
    await h.until(1105)
    expect(task.ended).toBe(1100)
  })
})

describe('a request that ends', () => {
  test('blk-timers 10.11: the timer fires all the same, finds nothing, and is off', async () => {
    const h = new Hosted(GOOD)
    const task = read(h, 1000)
    await h.until(1010)
    expect(task.ended).toBe(1000)
    expect(timer_pending(h.q.timeout)).toBe(true)
    await h.until(2502)
    expect(timer_pending(h.q.timeout)).toBe(false)
  })

  test('one that expires is marked, and its slot is clean when it is used again', async () => {
    const h = new Hosted('null_blk,gb=1,no_sched=1,timeout=2/100/0/1')
    const first = read(h, 1000)
    const lost = read(h, 1001)
    await h.until(1003)
    let flags = -1
    blk_mq_queue_tag_busy_iter(h.q, rq => {
      flags = h.machine.view.u32(rq + RQ_FLAGS)
    })
    expect(flags & RQF_TIMED_OUT).toBe(0)
    await h.until(2600)
    const again = read(h, 2700)
    await h.until(2710)
    expect([first.ended, lost.ended, again.ended]).toEqual([1000, 2500, 2700])
    expect(h.machine.books().balanced).toBe(true)
  })
})
