import { describe, expect, test } from 'vitest'
import { complete, completion, wait_for_completion } from '../../../src/kernel/completion.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import {
  alloc_workqueue,
  current_is_workqueue_rescuer,
  current_work,
  INIT_WORK,
  queue_work,
  WQ_MEM_RECLAIM,
  WQ_UNBOUND,
  work_struct,
} from '../../../src/kernel/workqueue.js'
import { too_many_workers } from '../../../src/kernel/workqueue-pool.js'
import { worker_pool } from '../../../src/kernel/workqueue-structs.js'
import { create_worker } from '../../../src/kernel/workqueue-worker.js'
import { VirtualKernel } from './support.js'

function work_of(v: VirtualKernel, body: () => void | Sleep<void>): work_struct<null> {
  const work = new work_struct(v.k, null)
  INIT_WORK(work, body)
  return work
}

/** A kernel whose CPU 0 has one worker stuck in a work and no memory for another. */
function starving(hz = 1000): { v: VirtualKernel; feed: () => void; free: () => void } {
  let memory = true
  const v = new VirtualKernel({ hz, canCreateWorker: () => memory })
  memory = false
  const gate = new completion(v.k)
  queue_work(
    v.k.system_wq,
    work_of(v, function* hog() {
      yield* wait_for_completion(gate)
    }),
  )
  v.k.runReady()
  return {
    v,
    feed: () => {
      memory = true
    },
    free: () => complete(gate),
  }
}

describe('idle workers', () => {
  test.each([
    // idle, busy, too many?
    [2, 0, false],
    [3, 0, true],
    [4, 10, false],
    [5, 10, true],
  ])('workqueue-timers 15.17: %i idle, %i busy: %s', (idle, busy, expected) => {
    const { k } = new VirtualKernel()
    const pool = new worker_pool(k, 99, 0, 0, { nice: 0, cpumask: [0], no_numa: false })
    pool.nr_idle = idle
    pool.nr_workers = idle + busy
    expect(too_many_workers(pool)).toBe(expected)
  })

  test('workqueue-timers 15.17, 5: of 4 idle workers the oldest two go after 300 s, then two stay', () => {
    const v = new VirtualKernel()
    const [pool] = v.k.wq.cpu_worker_pools[0]
    create_worker(pool)
    create_worker(pool)
    v.k.runReady()
    expect(pool.nr_idle).toBe(4)
    const names = (): string[] =>
      [...v.k.tasks]
        .map(task => task.name)
        .filter(name => name.startsWith('kworker/0:') && !name.endsWith('H'))
    const oldest = names().slice(0, 2)
    // The timer is deferrable: something else has to wake the CPU.
    const stay_awake = (seconds: number): void => {
      v.run(() => msleep(v.k, seconds * 1000))
    }
    stay_awake(290)
    expect(pool.nr_idle).toBe(4)
    stay_awake(40)
    expect(pool.nr_idle).toBe(2)
    for (const name of oldest) expect(names()).not.toContain(name)
    stay_awake(1000)
    expect(pool.nr_idle).toBe(2)
    expect(pool.worker_ida.size).toBe(2)
  })

  test('workqueue-timers 5: a worker with no idle one beside it makes one first', () => {
    const v = new VirtualKernel()
    const [pool] = v.k.wq.cpu_worker_pools[0]
    const gates = Array.from({ length: 5 }, () => new completion(v.k))
    for (const gate of gates) {
      queue_work(
        v.k.system_wq,
        work_of(v, function* () {
          yield* wait_for_completion(gate)
        }),
      )
    }
    v.k.runReady()
    expect([pool.nr_workers, pool.nr_idle]).toEqual([6, 1])
    // Idle workers are a stack: the last to become idle is the first to work.
    for (const gate of gates) complete(gate)
    v.k.runReady()
    const last = pool.idle_list.next.owner
    let ran = ''
    queue_work(
      v.k.system_wq,
      work_of(v, () => {
        ran = v.k.current.name
      }),
    )
    v.k.runReady()
    expect(ran).toBe(last?.task.name)
  })
})

describe('rescue', () => {
  test('workqueue-timers 15.18: maydays at HZ 1000: first after 11 jiffies, then every 101 to 108; only MEM_RECLAIM queues progress', () => {
    const { v } = starving(1000)
    const { k } = v
    const reclaim = alloc_workqueue(k, 'reclaim', WQ_MEM_RECLAIM, 0)!
    const runs: [string, number, boolean][] = []
    const note = (name: string): work_struct<null> =>
      work_of(v, () => {
        runs.push([name, v.j, current_is_workqueue_rescuer(k)])
      })
    k.trace.on = true
    queue_work(k.system_wq, note('plain'))
    queue_work(reclaim, note('rescued'))
    k.runReady()
    expect(runs).toEqual([])
    expect(v.events('timer_start').find(e => e['function'] === 'pool_mayday_timeout')).toEqual({
      function: 'pool_mayday_timeout',
      timeout_jiffies: 10,
    })
    v.ticks(11)
    expect(runs).toEqual([['rescued', 11, true]])
    for (let i = 0; i < 5; i++) {
      v.ticks(1)
      queue_work(reclaim, note(`later ${i}`))
      v.ticks(200)
    }
    const maydays = v.log.records.filter(
      r =>
        r.type === 'event' &&
        r.name === 'timer_expire_entry' &&
        r.fields?.['function'] === 'pool_mayday_timeout',
    )
    const at = maydays.map(r => r.time / k.tick_nsec)
    const gaps = at.slice(1).map((t, i) => t - at[i])
    expect(gaps.length).toBeGreaterThan(5)
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(101)
      expect(gap).toBeLessThanOrEqual(108)
    }
    expect(runs.length).toBe(6)
    expect(runs.every(([name]) => name !== 'plain')).toBe(true)
  })

  test('workqueue-timers 5: the rescuer runs the works of its queue one by one, in order', () => {
    const { v } = starving()
    const { k } = v
    const reclaim = alloc_workqueue(k, 'reclaim', WQ_MEM_RECLAIM, 0)!
    const order: string[] = []
    for (const name of ['a', 'b', 'c']) {
      queue_work(
        reclaim,
        work_of(v, function* () {
          order.push(`${name} begins`)
          expect(current_work(k)).not.toBe(null)
          yield* msleep(k, 5)
          order.push(`${name} ends`)
        }),
      )
    }
    v.ticks(100)
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    const [pool] = k.wq.cpu_worker_pools[0]
    expect(reclaim.rescuer?.pool).toBe(null)
    expect(pool.workers.prev.owner).not.toBe(reclaim.rescuer)
  })

  test('workqueue-timers 5: with memory back, a worker is made within a second and the rest runs', () => {
    const { v, feed } = starving(250)
    let at = -1
    queue_work(
      v.k.system_wq,
      work_of(v, () => {
        at = v.j
      }),
    )
    v.ticks(100)
    expect(at).toBe(-1)
    feed()
    v.ticks(300)
    expect(at).toBeGreaterThan(0)
    const [pool] = v.k.wq.cpu_worker_pools[0]
    expect([pool.manager, pool.mayday_timer.idx]).toEqual([null, -1])
  })

  test('a work that ends takes the pool out of its trouble; the manager gives up trying', () => {
    const { v, free } = starving(250)
    let runs = 0
    queue_work(
      v.k.system_wq,
      work_of(v, () => void runs++),
    )
    v.ticks(10)
    free()
    v.ticks(300)
    expect(runs).toBe(1)
    const [pool] = v.k.wq.cpu_worker_pools[0]
    expect(pool.manager).toBe(null)
  })

  test('a rescuer helps an unbound pool too, and chained works of its queue', () => {
    let memory = true
    const v = new VirtualKernel({ nrCpus: 2, canCreateWorker: () => memory })
    const { k } = v
    const queue = alloc_workqueue(k, 'nvme', WQ_UNBOUND | WQ_MEM_RECLAIM, 0)!
    memory = false
    for (let i = 0; i < 2; i++) {
      queue_work(
        k.system_unbound_wq,
        work_of(v, function* () {
          yield* wait_for_completion(new completion(k))
        }),
      )
    }
    k.runReady()
    let runs = 0
    const work = work_of(v, () => {
      if (++runs < 4) queue_work(queue, work)
    })
    queue_work(queue, work)
    // The first mayday is enough: as long as the queue has works there, the rescuer comes back by
    // itself.
    v.ticks(5)
    expect(runs).toBe(4)
  })
})
