import { describe, expect, test } from 'vitest'
import { timer_pending } from '../../../src/kernel/timer.js'
import { TIMER_DEFERRABLE, TIMER_IRQSAFE } from '../../../src/kernel/timer-wheel.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import {
  cancel_delayed_work,
  cancel_delayed_work_sync,
  cancel_work_sync,
  delayed_work,
  delayed_work_pending,
  flush_delayed_work,
  flush_work,
  INIT_DEFERRABLE_WORK,
  INIT_DELAYED_WORK,
  mod_delayed_work,
  mod_delayed_work_on,
  queue_delayed_work,
  queue_delayed_work_on,
  schedule_delayed_work,
  schedule_delayed_work_on,
  work_busy,
} from '../../../src/kernel/workqueue.js'
import { VirtualKernel } from './support.js'

/** A delayed work that notes the jiffy (since boot) and the CPU of each run. */
function noting(v: VirtualKernel): { dwork: delayed_work<null>; runs: number[]; cpus: number[] } {
  const dwork = new delayed_work(v.k, null)
  const runs: number[] = []
  const cpus: number[] = []
  INIT_DELAYED_WORK(dwork, () => {
    runs.push(v.j)
    cpus.push(v.k.cpu.id)
  })
  return { dwork, runs, cpus }
}

describe('delayed works', () => {
  test('workqueue-timers 7: queue_delayed_work sets PENDING; a second call is refused and changes nothing', () => {
    const v = new VirtualKernel()
    const { dwork, runs } = noting(v)
    expect(schedule_delayed_work(v.k, dwork, 10)).toBe(true)
    expect(delayed_work_pending(dwork)).toBe(true)
    expect(work_busy(dwork.work)).toBe(1)
    expect(queue_delayed_work(v.k.system_wq, dwork, 2)).toBe(false)
    v.ticks(30)
    expect(runs).toEqual([11])
    expect(dwork.timer.flags).toBe(TIMER_IRQSAFE)
  })

  test('workqueue-timers 7, 14: delay 0 queues at once, without a timer; delay 1 runs at jiffies + 2', () => {
    const v = new VirtualKernel()
    const { dwork, runs } = noting(v)
    queue_delayed_work(v.k.system_wq, dwork, 0)
    expect(timer_pending(dwork.timer)).toBe(false)
    v.k.runReady()
    expect(runs).toEqual([0])
    queue_delayed_work(v.k.system_wq, dwork, 1)
    v.ticks(10)
    expect(runs).toEqual([0, 2])
    const exact = new VirtualKernel({ timer: 'exact' })
    const other = noting(exact)
    queue_delayed_work(exact.k.system_wq, other.dwork, 1)
    exact.ticks(10)
    expect(other.runs).toEqual([1])
  })

  test('workqueue-timers 7: bound to a CPU, timer and work are there', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const { dwork, cpus } = noting(v)
    queue_delayed_work_on(2, v.k.system_wq, dwork, 5)
    expect(dwork.timer.base).toBe(v.k.timer_bases[2].std)
    v.ticks(10)
    schedule_delayed_work_on(v.k, 3, dwork, 0)
    v.k.runReady()
    expect(cpus).toEqual([2, 3])
  })

  test('workqueue-timers 7: mod_delayed_work re-arms, earlier or later; true if it was pending', () => {
    const v = new VirtualKernel({ timer: 'exact' })
    const { dwork, runs } = noting(v)
    const wq = v.k.system_wq
    expect(mod_delayed_work(wq, dwork, 50)).toBe(false)
    expect(mod_delayed_work(wq, dwork, 20)).toBe(true)
    expect(mod_delayed_work(wq, dwork, 30)).toBe(true)
    v.ticks(40)
    expect(runs).toEqual([30])
    expect(mod_delayed_work(wq, dwork, 100)).toBe(false)
    expect(mod_delayed_work(wq, dwork, 0)).toBe(true)
    v.k.runReady()
    expect(runs).toEqual([30, 40])
  })

  test('blk-timers 10.17: kicked, then delayed before it ran: the delay wins', () => {
    const v = new VirtualKernel({ timer: 'exact' })
    const { dwork, runs } = noting(v)
    mod_delayed_work(v.k.system_wq, dwork, 0)
    expect(mod_delayed_work(v.k.system_wq, dwork, 25)).toBe(true)
    v.ticks(40)
    expect(runs).toEqual([25])
  })

  test('blk-timers 10.23: queue keeps the first delay, mod replaces it', () => {
    const v = new VirtualKernel({ timer: 'exact' })
    const { dwork, runs } = noting(v)
    queue_delayed_work(v.k.system_wq, dwork, 1)
    queue_delayed_work(v.k.system_wq, dwork, 25)
    v.ticks(30)
    expect(runs).toEqual([1])
    queue_delayed_work(v.k.system_wq, dwork, 25)
    mod_delayed_work(v.k.system_wq, dwork, 0)
    v.k.runReady()
    expect(runs).toEqual([1, 30])
  })

  test('workqueue-timers 7: cancel_delayed_work does not wait, the _sync form does', () => {
    const v = new VirtualKernel()
    let ended = 0
    const dwork = new delayed_work(v.k, null)
    INIT_DELAYED_WORK(dwork, function* () {
      yield* msleep(v.k, 100)
      ended++
    })
    expect(cancel_delayed_work(dwork)).toBe(false)
    schedule_delayed_work(v.k, dwork, 10)
    expect(cancel_delayed_work(dwork)).toBe(true)
    expect(delayed_work_pending(dwork)).toBe(false)
    v.ticks(50)
    expect(ended).toBe(0)
    schedule_delayed_work(v.k, dwork, 0)
    v.k.runReady()
    expect(cancel_delayed_work(dwork)).toBe(false)
    expect(ended).toBe(0)
    expect(v.run(() => cancel_delayed_work_sync(dwork))).toBe(false)
    expect(ended).toBe(1)
    schedule_delayed_work(v.k, dwork, 10)
    expect(v.run(() => cancel_delayed_work_sync(dwork))).toBe(true)
    v.ticks(50)
    expect(ended).toBe(1)
  })

  test('workqueue-timers 7: flush_delayed_work runs it now and waits', () => {
    const v = new VirtualKernel()
    const { dwork, runs } = noting(v)
    expect(v.run(() => flush_delayed_work(dwork))).toBe(false)
    schedule_delayed_work(v.k, dwork, 1000)
    expect(v.run(() => flush_delayed_work(dwork))).toBe(true)
    expect(runs).toEqual([0])
    v.ticks(2000)
    expect(runs).toEqual([0])
  })

  test('flush_work does not see a work that waits for its timer', () => {
    const v = new VirtualKernel()
    const { dwork } = noting(v)
    schedule_delayed_work(v.k, dwork, 10)
    expect(v.run(() => flush_work(dwork.work))).toBe(false)
    expect(v.run(() => cancel_delayed_work_sync(dwork))).toBe(true)
  })

  test('while a work is being cancelled mod_delayed_work does nothing', () => {
    const v = new VirtualKernel()
    const dwork = new delayed_work(v.k, null)
    let runs = 0
    INIT_DELAYED_WORK(dwork, function* () {
      yield* msleep(v.k, 40)
      runs++
    })
    schedule_delayed_work(v.k, dwork, 0)
    v.k.runReady()
    v.k.spawn('canceller', function* () {
      yield* cancel_delayed_work_sync(dwork)
    })
    v.k.runReady()
    expect(mod_delayed_work_on(0, v.k.system_wq, dwork, 0)).toBe(true)
    v.ticks(100)
    expect(runs).toBe(1)
  })

  test('a deferrable work waits for its CPU to wake', () => {
    const v = new VirtualKernel()
    const dwork = new delayed_work(v.k, null)
    let runs = 0
    INIT_DEFERRABLE_WORK(dwork, () => void runs++)
    expect(dwork.timer.flags & TIMER_DEFERRABLE).not.toBe(0)
    schedule_delayed_work(v.k, dwork, 5)
    v.ticks(100)
    expect(runs).toBe(0)
    v.run(() => msleep(v.k, 4))
    v.k.runReady()
    expect(runs).toBe(1)
  })

  test('works can be cancelled that were never queued', () => {
    const v = new VirtualKernel()
    const { dwork } = noting(v)
    expect(v.run(() => cancel_work_sync(dwork.work))).toBe(false)
  })
})
