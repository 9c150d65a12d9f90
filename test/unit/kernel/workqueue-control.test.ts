import { describe, expect, test } from 'vitest'
import { complete, completion, wait_for_completion } from '../../../src/kernel/completion.js'
import { cpu_down, cpu_up, cpuhp_setup_state } from '../../../src/kernel/cpu.js'
import {
  CLOCK_MONOTONIC,
  HRTIMER_MODE_PINNED,
  HRTIMER_MODE_REL,
  HRTIMER_NORESTART,
  hrtimer,
  hrtimer_init,
  hrtimer_start,
} from '../../../src/kernel/hrtimer.js'
import { add_timer_on, timer_setup } from '../../../src/kernel/timer.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import { timer_list } from '../../../src/kernel/timer-wheel.js'
import {
  alloc_ordered_workqueue,
  alloc_workqueue,
  create_workqueue,
  freeze_workqueues_begin,
  freeze_workqueues_busy,
  INIT_WORK,
  queue_work,
  queue_work_on,
  show_all_workqueues,
  show_workqueue_state,
  thaw_workqueues,
  WORK_CPU_UNBOUND,
  WQ_FREEZABLE,
  WQ_MEM_RECLAIM,
  WQ_UNBOUND,
  work_struct,
  workqueue_congested,
  workqueue_set_max_active,
  workqueue_state,
} from '../../../src/kernel/workqueue.js'
import { __WQ_ORDERED } from '../../../src/kernel/workqueue-structs.js'
import { VirtualKernel } from './support.js'

function gated(v: VirtualKernel): {
  work: work_struct<null>
  open: () => void
  began: () => number
} {
  const gate = new completion(v.k, 'gate')
  let began = 0
  const work = new work_struct(v.k, null)
  INIT_WORK(work, function* gated_work() {
    began++
    yield* wait_for_completion(gate)
  })
  return { work, open: () => complete(gate), began: () => began }
}

describe('max_active', () => {
  test('workqueue-timers 8: raising it starts works that fit now; lowering it stops none', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 2)!
    const works = Array.from({ length: 6 }, () => gated(v))
    for (const w of works) queue_work(queue, w.work)
    v.k.runReady()
    expect(workqueue_congested(WORK_CPU_UNBOUND, queue)).toBe(true)
    workqueue_set_max_active(queue, 5)
    v.k.runReady()
    expect(works.map(w => w.began())).toEqual([1, 1, 1, 1, 1, 0])
    workqueue_set_max_active(queue, 1)
    works[0].open()
    v.k.runReady()
    expect(works[5].began()).toBe(0)
    for (const w of works) w.open()
    v.k.runReady()
    expect(works[5].began()).toBe(1)
    expect(workqueue_congested(0, queue)).toBe(false)
  })

  test('workqueue-timers 8: refused for explicitly ordered queues, drops implicit ordering, clamps', () => {
    const v = new VirtualKernel()
    const ordered = alloc_ordered_workqueue(v.k, 'o', 0)!
    workqueue_set_max_active(ordered, 5)
    expect(ordered.saved_max_active).toBe(1)
    expect(v.warnings.length).toBe(1)
    const implicit = alloc_workqueue(v.k, 'i', WQ_UNBOUND, 1)!
    expect(implicit.flags & __WQ_ORDERED).not.toBe(0)
    workqueue_set_max_active(implicit, 100_000)
    expect(implicit.flags & __WQ_ORDERED).toBe(0)
    expect(implicit.saved_max_active).toBe(512)
    expect(v.warnings.length).toBe(2)
  })
})

test('workqueue-timers 8: freezing stops freezable queues when all they run has ended; thawing goes on', () => {
  const v = new VirtualKernel()
  const frozen = alloc_workqueue(v.k, 'writeback', WQ_FREEZABLE | WQ_UNBOUND, 0)!
  const other = alloc_workqueue(v.k, 'other', 0, 0)!
  const [a, b, c] = [gated(v), gated(v), gated(v)]
  queue_work(frozen, a.work)
  v.k.runReady()
  freeze_workqueues_begin(v.k)
  queue_work(frozen, b.work)
  queue_work(other, c.work)
  v.k.runReady()
  expect([a.began(), b.began(), c.began()]).toEqual([1, 0, 1])
  expect(freeze_workqueues_busy(v.k)).toBe(true)
  a.open()
  v.k.runReady()
  expect(freeze_workqueues_busy(v.k)).toBe(false)
  expect(b.began()).toBe(0)
  thaw_workqueues(v.k)
  v.k.runReady()
  expect(b.began()).toBe(1)
})

describe('CPU hotplug', () => {
  test('workqueue-timers 8: works of an offline CPU run elsewhere; nothing is counted as running', () => {
    const v = new VirtualKernel({ nrCpus: 3 })
    const { k } = v
    const [pool] = k.wq.cpu_worker_pools[2]
    const held = gated(v)
    queue_work_on(2, k.system_wq, held.work)
    k.runReady()
    expect(cpu_down(k, 2)).toBe(0)
    const cpus: number[] = []
    const work = new work_struct(k, null)
    INIT_WORK(work, function* () {
      cpus.push(k.cpu.id)
      yield* msleep(k, 4)
      cpus.push(k.cpu.id)
    })
    queue_work_on(2, k.system_wq, work)
    v.ticks(10)
    expect(cpus.length).toBe(2)
    expect(cpus).not.toContain(2)
    expect(pool.nr_running).toBe(0)
    expect(cpu_up(k, 2)).toBe(0)
    queue_work_on(2, k.system_wq, work)
    v.ticks(10)
    expect(cpus.slice(2)).toEqual([2, 2])
    held.open()
    k.runReady()
    expect([pool.nr_running, pool.nr_idle]).toEqual([0, pool.nr_workers])
  })

  test('workqueue-timers 8: a work that is awake when its CPU goes, and when it comes back', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const [pool] = k.wq.cpu_worker_pools[1]
    let stop = false
    const spinner = new work_struct(k, null)
    INIT_WORK(spinner, function* () {
      while (!stop) yield 'turn'
    })
    queue_work_on(1, k.system_wq, spinner)
    k.runReady(5)
    expect(pool.nr_running).toBe(1)
    const [beside, after] = [gated(v), gated(v)]
    queue_work_on(1, k.system_wq, beside.work)
    k.runReady(5)
    expect(beside.began()).toBe(0)
    cpu_down(k, 1)
    expect(pool.nr_running).toBe(0)
    k.runReady(9)
    expect(beside.began()).toBe(1)
    cpu_up(k, 1)
    expect(pool.nr_running).toBe(0)
    stop = true
    k.runReady(9)
    queue_work_on(1, k.system_wq, after.work)
    beside.open()
    after.open()
    k.runReady()
    expect(after.began()).toBe(1)
    expect([pool.nr_running, pool.nr_idle]).toEqual([0, pool.nr_workers])
  })

  test('timers and hrtimers move to the CPU that takes it down; callbacks run, dead ones newest first', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const seen: string[] = []
    const timer = new timer_list(k, null)
    timer_setup(timer, () => void seen.push(`timer on ${k.cpu.id}`))
    timer.expires = k.jiffies + 5
    add_timer_on(timer, 1)
    const hr = new hrtimer(k, null)
    hrtimer_init(hr, CLOCK_MONOTONIC, HRTIMER_MODE_REL)
    hr.function = () => {
      seen.push(`hrtimer on ${k.cpu.id}`)
      return HRTIMER_NORESTART
    }
    k.cpu = k.cpus[1]
    hrtimer_start(hr, 50e6, HRTIMER_MODE_REL | HRTIMER_MODE_PINNED)
    k.cpu = k.cpus[0]
    const off = cpuhp_setup_state(k, {
      name: 'a',
      dead: cpu => void seen.push(`a dead ${cpu}`),
      online: cpu => void seen.push(`a online ${cpu}`),
    })
    cpuhp_setup_state(k, { name: 'b', dead: cpu => void seen.push(`b dead ${cpu}`) })
    cpu_down(k, 1)
    v.ticks(20)
    cpu_up(k, 1)
    off()
    cpu_down(k, 1)
    expect(seen).toEqual([
      'b dead 1',
      'a dead 1',
      'timer on 0',
      'hrtimer on 0',
      'a online 1',
      'b dead 1',
    ])
  })

  test('what cannot be', () => {
    const { k } = new VirtualKernel({ nrCpus: 2 })
    expect(cpu_down(k, 0)).toBe(-16)
    expect(cpu_down(k, 9)).toBe(-22)
    expect(cpu_up(k, 1)).toBe(-22)
    expect(cpu_down(k, 1)).toBe(0)
    expect(cpu_down(k, 1)).toBe(-22)
  })
})

describe('a look inside', () => {
  test('workqueue_state: queues, pools, what runs and what waits, as data that JSON can carry', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const queue = create_workqueue(v.k, 'nvme_rdma_wq')!
    const [a, b] = [gated(v), gated(v)]
    queue_work_on(1, queue, a.work)
    queue_work_on(1, queue, b.work)
    v.k.runReady()
    const view = workqueue_state(v.k)
    expect(JSON.parse(JSON.stringify(view))).toEqual(view)
    const mine = view.workqueues.find(wq => wq.name === 'nvme_rdma_wq')!
    expect(mine).toMatchObject({ flags: ['MEM_RECLAIM', 'LEGACY'], max_active: 1, rescuer: true })
    expect(mine.pwqs[1]).toMatchObject({
      active: 1,
      max_active: 1,
      pending: [],
      delayed: ['gated_work'],
    })
    expect(mine.pwqs[1].in_flight[0].function).toBe('gated_work')
    const pool = view.pools.find(p => p.cpu === 1 && p.nice === 0)!
    const busy = pool.workers.find(w => w.state === 'busy')
    expect(busy).toMatchObject({ workqueue: 'nvme_rdma_wq', waiting_on: 'gate' })
    expect(view.pools.find(p => p.cpu === null)?.cpus).toEqual([0, 1])
  })

  test('show_workqueue_state: the same as text, busy ones only', () => {
    const v = new VirtualKernel()
    expect(show_workqueue_state(v.k)).toBe('')
    const queue = alloc_workqueue(v.k, 'x', WQ_MEM_RECLAIM, 1)!
    queue_work(queue, gated(v).work)
    queue_work(v.k.system_wq, gated(v).work)
    expect(show_workqueue_state(v.k)).toContain('pending: gated_work')
    v.k.runReady()
    queue_work(queue, gated(v).work)
    const text = show_workqueue_state(v.k)
    expect(text).toContain('workqueue x: MEM_RECLAIM\n  pwq of pool 0: active=1/1\n    in-flight: ')
    expect(text).toContain('delayed: gated_work')
    expect(text).toContain('pool 0: cpu=0 nice=0')
    const all = show_all_workqueues(workqueue_state(v.k))
    expect(all).toContain('workqueue events_long: 0\n')
    expect(all).toMatch(/^ {4}kworker\/\S+ busy: gated_work of x, waits: gate$/m)
    expect(all).toMatch(/^pool 1: cpu=0 nice=-20 workers=2 idle=2\n {4}kworker\/0:0H idle$/m)
  })

  test('workqueue-timers 2: the watchdog reports a pool without progress for 30 s', () => {
    let memory = true
    const v = new VirtualKernel({ wqWatchdogThresh: 30, canCreateWorker: () => memory })
    memory = false
    queue_work(v.k.system_wq, gated(v).work)
    v.k.runReady()
    queue_work(v.k.system_wq, gated(v).work)
    v.ticks(250 * 200)
    const lines = v.k.dmesg.filter(line => line.level === 'emerg').map(line => line.text)
    expect(lines[0]).toMatch(/^BUG: workqueue lockup - pool 0 cpus=0 nice=0 stuck for \d+s!$/)
    expect(Number(/for (\d+)s/.exec(lines[0])?.[1])).toBeGreaterThanOrEqual(30)
  })
})
