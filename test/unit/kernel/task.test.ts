import { describe, expect, test } from 'vitest'
import {
  PF_KTHREAD,
  type Sleep,
  TASK_INTERRUPTIBLE,
  TASK_UNINTERRUPTIBLE,
} from '../../../src/kernel/core.js'
import {
  cond_resched,
  io_schedule,
  kthread_bind,
  kthread_create,
  kthread_run,
  kthread_should_stop,
  kthread_stop,
  schedule,
  set_cpus_allowed_ptr,
  set_current_state,
  try_to_wake_up,
  wake_up_process,
} from '../../../src/kernel/task.js'
import { MAX_SCHEDULE_TIMEOUT } from '../../../src/kernel/time.js'
import {
  io_schedule_timeout,
  msleep,
  schedule_timeout,
  schedule_timeout_interruptible,
  schedule_timeout_uninterruptible,
  ssleep,
} from '../../../src/kernel/timer-sleep.js'
import { VirtualKernel } from './support.js'

describe('sleeping and waking', () => {
  test('a task sleeps until it is woken, and says on what', () => {
    const v = new VirtualKernel()
    const { k } = v
    const seen: string[] = []
    const task = k.spawn('io1', function* () {
      seen.push(`on ${k.current.name}`)
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      yield* schedule(k, 'a tag')
      seen.push('woken')
    })
    expect(k.runReady()).toBe(true)
    expect(task.waiting_on).toBe('a tag')
    expect(k.runReady()).toBe(false)
    expect(wake_up_process(task)).toBe(true)
    expect(wake_up_process(task)).toBe(false)
    k.runReady()
    expect(seen).toEqual(['on io1', 'woken'])
    expect(k.tasks.has(task)).toBe(false)
    expect(k.current.name).toBe('swapper/0')
  })

  test('a wake-up between setting the state and sleeping is not lost', () => {
    const v = new VirtualKernel()
    const { k } = v
    let done = false
    k.spawn('io1', function* () {
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      wake_up_process(k.current)
      yield* schedule(k)
      done = true
    })
    k.runReady()
    expect(done).toBe(true)
  })

  test('a wake-up for another state does not wake', () => {
    const v = new VirtualKernel()
    const { k } = v
    const task = k.spawn('io1', function* () {
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      yield* schedule(k)
    })
    k.runReady()
    expect(try_to_wake_up(task, TASK_INTERRUPTIBLE)).toBe(false)
    expect(try_to_wake_up(task, TASK_UNINTERRUPTIBLE)).toBe(true)
  })

  test('sleeping outside a task, or in an interrupt, stops the kernel', () => {
    const { k } = new VirtualKernel()
    expect(() => schedule(k).next()).toThrow(/while atomic/)
  })

  test('the run loop is not for tasks', () => {
    const { k } = new VirtualKernel()
    k.spawn('fool', function* () {
      k.runReady()
      yield 'turn'
    })
    expect(() => k.runReady()).toThrow(/called by fool/)
  })

  test('tasks take turns in the order of their wake-ups, over all CPUs', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const turns: string[] = []
    const body = (name: string): (() => Sleep<void>) =>
      function* () {
        for (let i = 0; i < 3; i++) {
          turns.push(`${name}@${k.cpu.id}`)
          yield* cond_resched(k)
        }
      }
    k.spawn('a', body('a'), [0])
    k.spawn('b', body('b'), [1])
    k.spawn('c', body('c'), [0])
    expect(k.runReady(4)).toBe(true)
    expect(turns).toEqual(['a@0', 'b@1', 'c@0', 'a@0'])
    k.runReady()
    expect(turns.length).toBe(9)
  })

  test('cond_resched lets the caller of the run loop in even if nobody else is ready', () => {
    const v = new VirtualKernel()
    const { k } = v
    let rounds = 0
    k.spawn('spinner', function* () {
      while (true) {
        rounds++
        yield* cond_resched(k)
      }
    })
    k.runReady(3)
    expect(rounds).toBe(3 * 64 + 0)
  })

  test('a task whose CPU is busy wakes on an idle one; a bound one waits', () => {
    const v = new VirtualKernel({ nrCpus: 3 })
    const { k } = v
    const cpus: number[] = []
    const note = function* (): Sleep<void> {
      cpus.push(k.cpu.id)
      yield 'turn'
    }
    k.spawn('a', note)
    k.spawn('b', note)
    k.spawn('bound', note, [0])
    k.runReady()
    expect(cpus).toEqual([0, 1, 0])
  })

  test('set_cpus_allowed_ptr moves the running task', () => {
    const v = new VirtualKernel({ nrCpus: 3 })
    const { k } = v
    const seen = v.run(function* () {
      const before = k.cpu.id
      yield* set_cpus_allowed_ptr(k, [2])
      return [before, k.cpu.id]
    })
    expect(seen).toEqual([0, 2])
  })

  test('switchNs: a woken task runs that much later', () => {
    const v = new VirtualKernel({ switchNs: 1500 })
    const { k } = v
    let at = -1
    k.spawn('io1', function* () {
      at = k.now()
      yield 'turn'
    })
    expect(k.runReady()).toBe(false)
    expect(k.nextDeadline()).toBe(1500)
    v.runUntil(10_000)
    expect(at).toBe(1500)
  })

  test('a plug is flushed before its task sleeps, not when it only passes its turn', () => {
    const v = new VirtualKernel()
    const { k } = v
    const flushed: string[] = []
    const task = k.spawn('io1', function* () {
      k.current.plug = {
        blk_needs_flush_plug: () => true,
        blk_plug_out: () => undefined,
        blk_plug_in: () => undefined,
        blk_schedule_flush_plug: () => void flushed.push(k.current.name),
      }
      yield* schedule(k)
      expect(flushed).toEqual([])
      yield* io_schedule(k)
      expect(flushed).toEqual(['io1'])
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      yield* schedule(k)
    })
    k.runReady()
    expect(flushed).toEqual(['io1', 'io1'])
    expect(task.on_rq).toBe(false)
  })
})

describe('kernel threads', () => {
  test('run when woken, end when asked', () => {
    const v = new VirtualKernel()
    const { k } = v
    let rounds = 0
    const body = function* (): Sleep<void> {
      while (!kthread_should_stop(k)) {
        rounds++
        set_current_state(k, TASK_INTERRUPTIBLE)
        yield* schedule(k)
      }
    }
    const idle = kthread_create(k, body, 'pblk-gc')
    k.runReady()
    expect(rounds).toBe(0)
    expect(idle.flags & PF_KTHREAD).not.toBe(0)
    const task = kthread_run(k, body, 'pblk-writer')
    k.runReady()
    expect(rounds).toBe(1)
    v.run(() => kthread_stop(task))
    expect(k.tasks.has(task)).toBe(false)
    v.run(() => kthread_stop(task))
  })

  test('kthread_bind binds', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const { k } = v
    let cpu = -1
    const task = kthread_create(
      k,
      function* () {
        cpu = k.cpu.id
        yield 'turn'
      },
      'bound',
    )
    kthread_bind(task, 3)
    wake_up_process(task)
    k.runReady()
    expect(cpu).toBe(3)
  })

  test('one that stops itself stops the kernel', () => {
    const v = new VirtualKernel()
    const task = kthread_run(v.k, () => kthread_stop(task), 'fool')
    expect(() => v.k.runReady()).toThrow(/stops itself/)
  })
})

describe('sleeping for a time', () => {
  test('workqueue-timers 10: schedule_timeout gives the jiffies left, 0 at the end', () => {
    const v = new VirtualKernel()
    const { k } = v
    expect(v.run(() => schedule_timeout_uninterruptible(k, 10))).toBe(0)
    expect(v.j).toBe(11)
    const left: number[] = []
    const task = k.spawn('io1', function* () {
      left.push(yield* schedule_timeout_interruptible(k, 100))
    })
    v.ticks(30)
    wake_up_process(task)
    k.runReady()
    expect(left).toEqual([70])
    expect(k.timer_bases[0].std.count).toBe(0)
  })

  test('workqueue-timers 10: MAX_SCHEDULE_TIMEOUT never times out', () => {
    const v = new VirtualKernel()
    const { k } = v
    const left: number[] = []
    const task = k.spawn('io1', function* () {
      left.push(yield* schedule_timeout_uninterruptible(k, MAX_SCHEDULE_TIMEOUT))
    })
    k.runReady()
    expect(k.nextDeadline()).toBe(Number.POSITIVE_INFINITY)
    wake_up_process(task)
    k.runReady()
    expect(left).toEqual([MAX_SCHEDULE_TIMEOUT])
  })

  test('a negative timeout is an error in the log and no sleep', () => {
    const v = new VirtualKernel()
    expect(v.run(() => schedule_timeout_uninterruptible(v.k, -1))).toBe(0)
    expect(v.k.dmesg.map(line => line.level)).toEqual(['err'])
  })

  test('without a state schedule_timeout only passes the turn', () => {
    const v = new VirtualKernel()
    expect(v.run(() => schedule_timeout(v.k, 50))).toBe(50)
    expect(v.ns).toBe(0)
  })

  test('workqueue-timers 10: msleep(100) at HZ 1000 sleeps 101 jiffies and up to 8 more', () => {
    const v = new VirtualKernel({ hz: 1000 })
    v.run(() => msleep(v.k, 100))
    expect(v.j).toBeGreaterThan(101)
    expect(v.j).toBeLessThanOrEqual(109)
    const from = v.ns
    v.run(() => ssleep(v.k, 1))
    expect(v.ns - from).toBeGreaterThan(1e9)
  })

  test('io_schedule_timeout flushes the plug first', () => {
    const v = new VirtualKernel()
    let flushes = 0
    v.run(function* () {
      v.k.current.plug = {
        blk_needs_flush_plug: () => true,
        blk_plug_out: () => undefined,
        blk_plug_in: () => undefined,
        blk_schedule_flush_plug: () => void flushes++,
      }
      return yield* io_schedule_timeout(v.k, 1)
    })
    expect(flushes).toBe(1)
  })

  test('the recorded shape: io_schedule_timeout calls init_timer_key and del_timer_sync', () => {
    const v = new VirtualKernel()
    v.k.trace.on = true
    v.run(function* () {
      set_current_state(v.k, TASK_UNINTERRUPTIBLE)
      return yield* io_schedule_timeout(v.k, 2)
    })
    const calls = v.calls.filter(name => /^(io_schedule|init_timer|del_timer|mod_timer)/.test(name))
    expect(calls).toEqual(['io_schedule_timeout', 'init_timer_key', 'del_timer_sync'])
  })
})
