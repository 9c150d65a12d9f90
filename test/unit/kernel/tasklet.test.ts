import { describe, expect, test } from 'vitest'
import { in_interrupt } from '../../../src/kernel/core.js'
import { call_rcu, rcu_next_event } from '../../../src/kernel/rcu.js'
import {
  open_softirq,
  raise_softirq_irqoff,
  run_hardirq,
  TIMER_SOFTIRQ,
} from '../../../src/kernel/softirq.js'
import { schedule } from '../../../src/kernel/task.js'
import { tasklet_schedule, tasklet_struct } from '../../../src/kernel/tasklet.js'
import { timer_list } from '../../../src/kernel/timer-wheel.js'
import { add_timer, timer_setup } from '../../../src/kernel/timer.js'
import { VirtualKernel } from './support.js'

describe('tasklets', () => {
  test('any number of calls before it runs are one run, in the softirq of the CPU of the first', () => {
    const { k } = new VirtualKernel({ nrCpus: 2 })
    const seen: string[] = []
    const t = new tasklet_struct(k, () => {
      seen.push(`${k.ctx.name} cpu${k.cpu.id} ${in_interrupt(k)} ${t.scheduled}`)
    })
    run_hardirq(k, k.cpus[1], () => {
      tasklet_schedule(t)
      run_hardirq(k, k.cpus[0], () => tasklet_schedule(t))
      tasklet_schedule(t)
      expect(t.scheduled).toBe(true)
      expect(seen).toEqual([])
    })
    expect(seen).toEqual(['softirq cpu1 true false'])
    expect(k.tasklet_vec.get(k.cpus[0]) ?? []).toEqual([])
  })

  test('they run in the order in which they were scheduled, after timers', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    open_softirq(k, TIMER_SOFTIRQ, () => void seen.push('timers'))
    const make = (name: string) => new tasklet_struct(k, () => void seen.push(name))
    run_hardirq(k, k.cpus[0], () => {
      for (const name of ['requester', 'completer', 'responder']) tasklet_schedule(make(name))
      raise_softirq_irqoff(k, TIMER_SOFTIRQ)
    })
    expect(seen).toEqual(['timers', 'requester', 'completer', 'responder'])
  })

  test('one that schedules itself runs again in the next round, others before it', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    let left = 2
    const again: tasklet_struct = new tasklet_struct(k, () => {
      seen.push('again')
      if (left-- > 0) tasklet_schedule(again)
    })
    run_hardirq(k, k.cpus[0], () => {
      tasklet_schedule(again)
      tasklet_schedule(new tasklet_struct(k, () => void seen.push('other')))
    })
    k.runReady()
    expect(seen).toEqual(['again', 'other', 'again', 'again'])
  })

  test('scheduled by a task, it is run by ksoftirqd, and may wake a task', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    const t = new tasklet_struct(k, () => void seen.push(`${k.current.name} as ${k.ctx.name}`))
    k.spawn('io1', function* () {
      tasklet_schedule(t)
      seen.push('io1')
      yield* schedule(k)
      seen.push('io1 again')
    })
    k.runReady()
    expect(seen).toEqual(['io1', 'ksoftirqd/0 as softirq', 'io1 again'])
  })
})

describe('grace periods', () => {
  test('the function is called at the second tick, in a softirq of the CPU that asked', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const seen: string[] = []
    v.runUntil(k.jiffyNs(k.jiffies) + 1000)
    run_hardirq(k, k.cpus[1], () =>
      call_rcu(k, () => void seen.push(`${v.j} ${k.ctx.name} cpu${k.cpu.id}`)),
    )
    const start = v.j
    expect(rcu_next_event(k)).toBe(k.jiffies + 2)
    v.ticks(1)
    expect(seen).toEqual([])
    v.ticks(1)
    expect(seen).toEqual([`${start + 2} softirq cpu1`])
    expect(rcu_next_event(k)).toBe(Number.POSITIVE_INFINITY)
  })

  test('each is called once, in the order of asking; one that is asked for by another waits its own', () => {
    const v = new VirtualKernel()
    const { k } = v
    const seen: string[] = []
    const at = (name: string): void => void seen.push(`${name} ${v.j}`)
    const start = v.j
    call_rcu(k, () => {
      at('first')
      call_rcu(k, () => at('its own'))
    })
    call_rcu(k, () => at('second'))
    v.ticks(1)
    call_rcu(k, () => at('third'))
    v.ticks(10)
    expect(seen).toEqual([
      `first ${start + 2}`,
      `second ${start + 2}`,
      `third ${start + 3}`,
      `its own ${start + 4}`,
    ])
  })

  test('a tick is made for it when nothing else is due; what waits elsewhere is not forgotten', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const { k } = v
    const seen: number[] = []
    for (const cpu of k.cpus) run_hardirq(k, cpu, () => call_rcu(k, () => void seen.push(k.cpu.id)))
    expect(k.nextDeadline()).toBe(k.jiffyNs(k.jiffies + 2))
    // a timer long after it changes nothing
    const timer = new timer_list(k, null)
    timer_setup(timer, () => {}, 0)
    timer.expires = k.jiffies + 500
    add_timer(timer)
    v.ticks(2)
    expect(seen.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3])
  })
})
