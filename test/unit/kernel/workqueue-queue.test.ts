import { describe, expect, test } from 'vitest'
import { completion, complete, wait_for_completion } from '../../../src/kernel/completion.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import {
  alloc_ordered_workqueue,
  alloc_workqueue,
  create_workqueue,
  delayed_work,
  flush_work,
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_delayed_work,
  queue_work,
  queue_work_on,
  schedule_work,
  schedule_work_on,
  WQ_CPU_INTENSIVE,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_UNBOUND,
  work_busy,
  work_pending,
  work_struct,
  type workqueue_struct,
} from '../../../src/kernel/workqueue.js'
import { VirtualKernel } from './support.js'

type Body = () => void | Sleep<void>

function work_of(v: VirtualKernel, body: Body): work_struct<null> {
  const work = new work_struct(v.k, null)
  INIT_WORK(work, body)
  return work
}

/**
 * A work that runs until it is let go; counts how often it began and ended, and how many
 * overlapped.
 */
class Held {
  readonly gate: completion
  readonly work: work_struct<null>
  began = 0
  ended = 0
  most = 0

  constructor(v: VirtualKernel) {
    this.gate = new completion(v.k, 'gate')
    const self = this
    this.work = work_of(v, function* held() {
      self.began++
      self.most = Math.max(self.most, self.began - self.ended)
      yield* wait_for_completion(self.gate)
      self.ended++
    })
  }

  release(): void {
    complete(this.gate)
  }
}

describe('queueing', () => {
  test('workqueue-timers 15.4: twice before execution: true, false; one run', () => {
    const v = new VirtualKernel()
    let runs = 0
    const work = work_of(v, () => void runs++)
    expect(schedule_work(v.k, work)).toBe(true)
    expect(schedule_work(v.k, work)).toBe(false)
    v.k.runReady()
    expect(runs).toBe(1)
  })

  test('workqueue-timers 15.5: from inside its own function: true; two runs, no overlap', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    let runs = 0
    let inside = 0
    const results: boolean[] = []
    const work = work_of(v, function* () {
      expect(++inside).toBe(1)
      if (++runs === 1) {
        results.push(queue_work_on(2, v.k.system_wq, work), queue_work(v.k.system_wq, work))
      }
      yield* msleep(v.k, 20)
      inside--
    })
    queue_work_on(1, v.k.system_wq, work)
    v.ticks(50)
    expect(runs).toBe(2)
    expect(results).toEqual([true, false])
  })

  test('workqueue-timers 15.6: work_busy', () => {
    const v = new VirtualKernel()
    const held = new Held(v)
    expect(work_busy(held.work)).toBe(0)
    schedule_work(v.k, held.work)
    expect(work_busy(held.work)).toBe(1)
    v.k.runReady()
    expect(work_busy(held.work)).toBe(2)
    schedule_work(v.k, held.work)
    expect(work_busy(held.work)).toBe(3)
    held.release()
    held.release()
    v.k.runReady()
    expect(held.ended).toBe(2)
    expect(work_busy(held.work)).toBe(0)
    const dwork = new delayed_work(v.k, null)
    INIT_DELAYED_WORK(dwork, () => {})
    queue_delayed_work(v.k.system_wq, dwork, 100)
    expect(work_busy(dwork.work)).toBe(1)
  })

  test('workqueue-timers 15.7: the reset function of the 4.9 age', () => {
    const ENODEV = 19
    const EBUSY = 16
    const v = new VirtualKernel()
    const held = new Held(v)
    const queue = alloc_workqueue(v.k, 'nvme', WQ_UNBOUND | WQ_MEM_RECLAIM, 0)!
    const nvme_reset = (between = (): void => {}): number => {
      if (work_busy(held.work) !== 0) return -ENODEV
      between()
      return queue_work(queue, held.work) ? 0 : -EBUSY
    }
    expect(nvme_reset()).toBe(0)
    expect(nvme_reset()).toBe(-ENODEV)
    v.k.runReady()
    expect(nvme_reset()).toBe(-ENODEV)
    queue_work(queue, held.work)
    expect(nvme_reset()).toBe(-ENODEV)
    held.release()
    held.release()
    v.k.runReady()
    // The narrow gap: somebody else queues between the test and our queue_work.
    expect(nvme_reset(() => void queue_work(queue, held.work))).toBe(-EBUSY)
  })

  test('workqueue-timers 4: a bound queue runs on the local CPU or the one asked for', () => {
    const v = new VirtualKernel({ nrCpus: 4, bootCpu: 1 })
    const cpus: number[] = []
    const work = work_of(v, () => void cpus.push(v.k.cpu.id))
    schedule_work(v.k, work)
    v.k.runReady()
    schedule_work_on(v.k, 3, work)
    v.k.runReady()
    expect(cpus).toEqual([1, 3])
  })

  test('workqueue-timers 4: works for no particular CPU keep to the unbound mask, in turn', () => {
    const v = new VirtualKernel({ nrCpus: 4, unboundCpus: [1, 3] })
    const cpus: number[] = []
    for (let i = 0; i < 4; i++)
      schedule_work(
        v.k,
        work_of(v, () => void cpus.push(v.k.cpu.id)),
      )
    v.k.runReady()
    expect(cpus).toEqual([1, 3, 1, 3])
  })

  test('workqueue-timers 4: an unbound queue uses the pwq of the local node', () => {
    const v = new VirtualKernel({ nrCpus: 4, cpuToNode: [0, 0, 1, 1] })
    const queue = alloc_workqueue(v.k, 'u', WQ_UNBOUND, 0)!
    const nodes: number[] = []
    const work = work_of(v, () => void nodes.push(v.k.cpu.node))
    queue_work(queue, work)
    v.k.runReady()
    queue_work_on(3, queue, work)
    v.k.runReady()
    expect(nodes).toEqual([0, 1])
  })

  test('workqueue-timers 4.3: queued elsewhere while it runs, it follows its worker: never two at once', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const held = new Held(v)
    queue_work_on(0, v.k.system_wq, held.work)
    v.k.runReady()
    queue_work_on(3, v.k.system_wq, held.work)
    v.k.runReady()
    expect(held.began).toBe(1)
    expect(held.work.pool?.cpu).toBe(0)
    held.release()
    held.release()
    v.k.runReady()
    expect([held.began, held.ended, held.most]).toEqual([2, 2, 1])
  })

  test('workqueue-timers 4.3: a work moved to another queue loses that', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const other = alloc_workqueue(v.k, 'other', 0, 0)!
    const held = new Held(v)
    queue_work_on(0, v.k.system_wq, held.work)
    v.k.runReady()
    queue_work_on(1, other, held.work)
    v.k.runReady()
    expect(held.most).toBe(2)
  })

  test('workqueue-timers 4: PENDING is clear when the function runs', () => {
    const v = new VirtualKernel()
    const seen: boolean[] = []
    const work = work_of(v, () => void seen.push(work_pending(work)))
    schedule_work(v.k, work)
    expect(work_pending(work)).toBe(true)
    v.k.runReady()
    expect(seen).toEqual([false])
  })

  test('a work without a function stops the kernel', () => {
    const v = new VirtualKernel()
    expect(() => schedule_work(v.k, new work_struct(v.k, null))).toThrow(/without a function/)
  })
})

describe('limits', () => {
  test('workqueue-timers 15.3: 300 sleeping works on one CPU: 256 active, 44 inactive', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    const held = Array.from({ length: 300 }, () => new Held(v))
    for (const h of held) queue_work_on(1, queue, h.work)
    v.k.runReady()
    const began = (): number => held.filter(h => h.began > 0).length
    const pwq = queue.cpu_pwqs[1]
    expect(began()).toBe(256)
    expect(pwq.nr_active).toBe(256)
    // workqueue-timers 14: one that waits for its turn is pending.
    expect(work_busy(held[299].work)).toBe(1)
    held[5].release()
    v.k.runReady()
    expect(began()).toBe(257)
    expect(pwq.nr_active).toBe(256)
    for (const h of held) h.release()
    v.k.runReady()
    expect(began()).toBe(300)
    expect(pwq.nr_active).toBe(0)
  })

  test('workqueue-timers 3 (b), 14: create_workqueue runs one at a time per CPU, CPUs in parallel', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const queue = create_workqueue(v.k, 'nvme_rdma_wq')!
    const [a, b, c] = [new Held(v), new Held(v), new Held(v)]
    queue_work_on(0, queue, a.work)
    queue_work_on(0, queue, b.work)
    queue_work_on(1, queue, c.work)
    v.k.runReady()
    expect([a.began, b.began, c.began]).toEqual([1, 0, 1])
    a.release()
    v.k.runReady()
    expect(b.began).toBe(1)
  })

  test('workqueue-timers 14: two controllers reset in parallel on one unbound queue, one never overlaps itself', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const queue = alloc_workqueue(v.k, 'nvme', WQ_UNBOUND | WQ_MEM_RECLAIM, 0)!
    const [a, b] = [new Held(v), new Held(v)]
    queue_work(queue, a.work)
    queue_work(queue, b.work)
    v.k.runReady()
    queue_work(queue, a.work)
    v.k.runReady()
    expect([a.began, b.began]).toEqual([1, 1])
    expect(a.most).toBe(1)
  })

  test('workqueue-timers 14: an ordered queue is first in first out, across CPUs and nodes', () => {
    const v = new VirtualKernel({ nrCpus: 4, cpuToNode: [0, 0, 1, 1] })
    const queue = alloc_ordered_workqueue(v.k, 'o', 0)!
    const order: number[] = []
    const works = Array.from({ length: 12 }, (_, i) =>
      work_of(v, function* () {
        order.push(i)
        yield* msleep(v.k, (12 - i) * 10)
        order.push(i)
      }),
    )
    works.forEach((work, i) => {
      queue_work_on(i % 4, queue, work)
    })
    v.ticks(1000)
    expect(order).toEqual(works.flatMap((_, i) => [i, i]))
  })

  test('a limit of 2 on an unbound queue', () => {
    const v = new VirtualKernel({ nrCpus: 8 })
    const queue = alloc_workqueue(v.k, 'two', WQ_UNBOUND, 2)!
    const held = Array.from({ length: 5 }, () => new Held(v))
    for (const h of held) queue_work(queue, h.work)
    v.k.runReady()
    expect(held.map(h => h.began)).toEqual([1, 1, 0, 0, 0])
    held[1].release()
    v.k.runReady()
    expect(held.map(h => h.began)).toEqual([1, 1, 1, 0, 0])
  })
})

describe('concurrency management', () => {
  function nested(v: VirtualKernel, queue: workqueue_struct, sleeps: boolean): string[] {
    const order: string[] = []
    const body = (name: string): Body =>
      function* () {
        order.push(`${name} begins`)
        // Passing the turn is not sleeping: the worker stays runnable.
        for (let i = 0; i < 3; i++) {
          if (sleeps) yield* msleep(v.k, 4)
          else yield 'turn'
        }
        order.push(`${name} ends`)
      }
    queue_work_on(0, queue, work_of(v, body('a')))
    queue_work_on(0, queue, work_of(v, body('b')))
    v.ticks(50)
    return order
  }

  test('workqueue-timers 5: a CPU runs one work at a time unless works sleep', () => {
    const v = new VirtualKernel()
    expect(nested(v, v.k.system_wq, false)).toEqual(['a begins', 'a ends', 'b begins', 'b ends'])
    expect(nested(v, v.k.system_wq, true).slice(0, 2)).toEqual(['a begins', 'b begins'])
  })

  test('workqueue-timers 5: a CPU-intensive work is not counted, the next starts beside it', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'busy', WQ_CPU_INTENSIVE, 0)!
    expect(nested(v, queue, false).slice(0, 2)).toEqual(['a begins', 'b begins'])
    expect(v.k.wq.cpu_worker_pools[0][0].nr_running).toBe(0)
  })

  test('workqueue-timers 5: an unbound pool starts a worker for every work', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'u', WQ_UNBOUND, 0)!
    expect(nested(v, queue, false).slice(0, 2)).toEqual(['a begins', 'b begins'])
  })

  test('workqueue-timers 5: normal and high-priority works of a CPU do not wait for each other', () => {
    const v = new VirtualKernel()
    const high = alloc_workqueue(v.k, 'kblockd', WQ_HIGHPRI, 0)!
    const seen: string[] = []
    const spin = (name: string): Body =>
      function* () {
        seen.push(name)
        yield 'turn'
        yield 'turn'
        seen.push(name)
      }
    queue_work(v.k.system_wq, work_of(v, spin('normal')))
    queue_work(high, work_of(v, spin('high')))
    v.k.runReady()
    expect(seen.slice(0, 2).sort()).toEqual(['high', 'normal'])
  })

  test('workqueue-timers 5: when the last running worker sleeps, the next idle one is woken', () => {
    const v = new VirtualKernel()
    v.k.trace.on = true
    const held = new Held(v)
    let second = 0
    schedule_work(v.k, held.work)
    schedule_work(
      v.k,
      work_of(v, () => void second++),
    )
    v.k.runReady()
    expect(second).toBe(1)
    expect(v.calls).toContain('wq_worker_sleeping')
    held.release()
    v.k.runReady()
    expect(v.calls).toContain('wq_worker_waking_up')
    const [pool] = v.k.wq.cpu_worker_pools[0]
    expect([pool.nr_running, pool.nr_idle === pool.nr_workers]).toEqual([0, true])
  })

  test('workqueue-timers 5: a work that another worker of the pool runs is left to that one', () => {
    const v = new VirtualKernel()
    const held = new Held(v)
    schedule_work(v.k, held.work)
    v.k.runReady()
    schedule_work(v.k, held.work)
    let other = 0
    schedule_work(
      v.k,
      work_of(v, () => void other++),
    )
    v.k.runReady()
    // A second worker met the held work, handed it to the first, and went on.
    expect(other).toBe(1)
    expect(held.began).toBe(1)
    // It waits for the work while that still runs, or it would find nothing to wait for.
    let waited = false
    v.k.spawn('flush', function* () {
      waited = yield* flush_work(held.work)
    })
    v.k.runReady()
    held.release()
    held.release()
    v.run(() => flush_work(held.work))
    expect(waited).toBe(true)
    expect(held.ended).toBe(2)
  })
})
