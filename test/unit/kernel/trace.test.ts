import { describe, expect, test } from 'vitest'
import { TASK_UNINTERRUPTIBLE } from '../../../src/kernel/core.js'
import { run_hardirq } from '../../../src/kernel/softirq.js'
import { schedule, set_current_state, wake_up_process } from '../../../src/kernel/task.js'
import { mod_timer, timer_setup } from '../../../src/kernel/timer.js'
import { timer_list } from '../../../src/kernel/timer-wheel.js'
import { enter, leave, trace_event } from '../../../src/kernel/trace.js'
import {
  delayed_work,
  INIT_DELAYED_WORK,
  INIT_WORK,
  mod_delayed_work,
  queue_delayed_work_on,
  queue_work,
  queue_work_on,
  work_struct,
} from '../../../src/kernel/workqueue.js'
import { VirtualKernel } from './support.js'

/** Entries as "context depth name". */
function shape(v: VirtualKernel): string[] {
  const entries = v.log.records.filter(r => r.type === 'enter')
  return entries.map(r => `${v.log.contexts.get(r.ctx)?.name} ${r.depth} ${r.name}`)
}

describe('tracing', () => {
  test('off: nothing is recorded, and the depth stays 0', () => {
    const v = new VirtualKernel()
    const t = enter(v.k, 'blk_mq_get_tag')
    trace_event(v.k, 'block_getrq', { rwbs: 'R' })
    expect(leave(v.k, t, 5)).toBe(5)
    expect(v.log.records).toEqual([])
    expect(v.k.trace.names).toEqual([])
  })

  test('on: entry, depth, context, CPU and time, in one order; names are interned', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    k.trace.on = true
    v.ns = 77
    const a = enter(k, 'submit_bio')
    const b = enter(k, 'blk_mq_get_tag')
    leave(k, b)
    run_hardirq(k, k.cpus[1], () => leave(k, enter(k, 'nvme_irq')))
    const c = enter(k, 'blk_mq_get_tag')
    leave(k, c)
    leave(k, a)
    expect(shape(v)).toEqual([
      'swapper/0 0 submit_bio',
      'swapper/0 1 blk_mq_get_tag',
      'hardirq 0 nvme_irq',
      'swapper/0 1 blk_mq_get_tag',
    ])
    expect(v.log.records.every(r => r.time === 77)).toBe(true)
    expect(v.log.records.find(r => r.name === 'nvme_irq')?.cpu).toBe(1)
    expect(k.trace.names).toEqual(['submit_bio', 'blk_mq_get_tag', 'nvme_irq'])
    expect(v.log.records.filter(r => r.type === 'leave').length).toBe(4)
  })

  test('a function that sleeps keeps its depth while others run', () => {
    const v = new VirtualKernel()
    const { k } = v
    k.trace.on = true
    const sleeper = k.spawn('io1', function* () {
      const t = enter(k, 'blk_mq_get_tag')
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      yield* schedule(k)
      leave(k, enter(k, '__blk_mq_get_tag'))
      leave(k, t)
    })
    k.runReady()
    k.spawn('io2', function* () {
      leave(k, enter(k, 'blk_mq_put_tag'))
      yield 'turn'
      wake_up_process(sleeper)
    })
    k.runReady()
    expect(shape(v).filter(line => line.includes('tag'))).toEqual([
      'io1 0 blk_mq_get_tag',
      'io2 0 blk_mq_put_tag',
      'io1 1 __blk_mq_get_tag',
    ])
    expect(sleeper.depth).toBe(0)
  })

  test('switching it on or off inside a call leaves the depth right', () => {
    const v = new VirtualKernel()
    const { k } = v
    const outer = enter(k, 'off')
    k.trace.on = true
    const inner = enter(k, 'on')
    k.trace.on = false
    leave(k, inner)
    leave(k, outer)
    k.trace.on = true
    leave(k, enter(k, 'later'))
    expect(shape(v)).toEqual(['swapper/0 0 on', 'swapper/0 0 later'])
  })
})

describe('the recorded shapes', () => {
  test('queue_work_on: queue_work_on, __queue_work, then the two events and the function', () => {
    const v = new VirtualKernel()
    const { k } = v
    const work = new work_struct(k, null)
    INIT_WORK(work, function blk_mq_timeout_work() {
      leave(k, enter(k, 'blk_mq_timeout_work'))
    })
    k.trace.on = true
    queue_work(k.system_wq, work)
    queue_work_on(0, k.system_wq, work)
    k.runReady()
    const kept = new Set(['queue_work_on', '__queue_work', 'blk_mq_timeout_work'])
    expect(v.calls.filter(name => kept.has(name))).toEqual([
      'queue_work_on',
      '__queue_work',
      'queue_work_on',
      'blk_mq_timeout_work',
    ])
    expect(v.events('workqueue_queue_work')).toEqual([
      { function: 'blk_mq_timeout_work', workqueue: 'events' },
    ])
    expect(v.events('workqueue_execute_start')).toEqual([{ function: 'blk_mq_timeout_work' }])
    queue_work_on(0, k.system_wq, work)
    expect(v.events('workqueue_queue_work')[1]).toEqual({
      function: 'blk_mq_timeout_work',
      workqueue: 'events',
      cpu_asked: true,
    })
  })

  test('mod_delayed_work_on: del_timer, then __queue_delayed_work with __queue_work or add_timer', () => {
    const v = new VirtualKernel()
    const { k } = v
    const dwork = new delayed_work(k, null)
    INIT_DELAYED_WORK(dwork, function blk_mq_requeue_work() {})
    const kept =
      /^(mod_delayed_work_on|del_timer|__queue_delayed_work|__queue_work|add_timer|mod_timer)$/
    const calls = (): string[] => v.calls.filter(name => kept.test(name))
    k.trace.on = true
    mod_delayed_work(k.system_wq, dwork, 0)
    expect(calls()).toEqual([
      'mod_delayed_work_on',
      'del_timer',
      '__queue_delayed_work',
      '__queue_work',
    ])
    k.runReady()
    v.log.records.length = 0
    mod_delayed_work(k.system_wq, dwork, 10)
    expect(calls()).toEqual([
      'mod_delayed_work_on',
      'del_timer',
      '__queue_delayed_work',
      'add_timer',
      'mod_timer',
    ])
    expect(v.events('timer_start')).toEqual([
      { function: 'delayed_work_timer_fn', timeout_jiffies: 10 },
    ])
    queue_delayed_work_on(0, k.system_wq, new_work(v), 5)
    expect(v.calls).toContain('add_timer_on')
  })

  function new_work(v: VirtualKernel): delayed_work {
    const dwork = new delayed_work(v.k, null)
    INIT_DELAYED_WORK(dwork, () => {})
    return dwork
  }

  test('a timer: timer_start when armed, timer_cancel and timer_expire_entry when it fires, in softirq', () => {
    const v = new VirtualKernel()
    const { k } = v
    const timer = new timer_list(k, null)
    timer_setup(timer, function laptop_mode_timer_fn() {
      leave(k, enter(k, 'laptop_mode_timer_fn'))
    })
    k.trace.on = true
    mod_timer(timer, k.jiffies + 1250)
    expect(v.events('timer_start')).toEqual([
      { function: 'laptop_mode_timer_fn', timeout_jiffies: 1250 },
    ])
    v.ticks(1400)
    expect(v.events('timer_cancel')).toEqual([{ function: 'laptop_mode_timer_fn' }])
    expect(v.events('timer_expire_entry')).toEqual([{ function: 'laptop_mode_timer_fn' }])
    expect(shape(v).at(-1)).toMatch(/^softirq \d laptop_mode_timer_fn$/)
  })
})
