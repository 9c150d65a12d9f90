import { describe, expect, test } from 'vitest'
import { complete, completion, wait_for_completion } from '../../../src/kernel/completion.js'
import { PF_MEMALLOC, type Sleep } from '../../../src/kernel/core.js'
import { list_entries } from '../../../src/kernel/list.js'
import { schedule } from '../../../src/kernel/task.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import {
  alloc_workqueue,
  cancel_work,
  cancel_work_sync,
  create_workqueue,
  destroy_workqueue,
  drain_workqueue,
  flush_scheduled_work,
  flush_work,
  flush_workqueue,
  INIT_WORK,
  queue_work,
  queue_work_on,
  schedule_work,
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

/** A work that waits at a gate. */
function gated(v: VirtualKernel): {
  work: work_struct<null>
  open: () => void
  runs: () => number
} {
  const gate = new completion(v.k, 'gate')
  let runs = 0
  const work = work_of(v, function* gated_work() {
    yield* wait_for_completion(gate)
    runs++
  })
  return { work, open: () => complete(gate), runs: () => runs }
}

/** Starts a task that notes its name when the sleep is over. */
function when(v: VirtualKernel, done: string[], name: string, sleep: () => Sleep<unknown>): void {
  v.k.spawn(name, function* () {
    yield* sleep()
    done.push(name)
  })
  v.k.runReady()
}

describe('flush_work', () => {
  test('workqueue-timers 15.8: idle false; pending true, and on return the function has ended', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    let ended = false
    const work = work_of(v, function* () {
      yield* msleep(v.k, 50)
      ended = true
    })
    expect(v.run(() => flush_work(work))).toBe(false)
    schedule_work(v.k, work)
    expect(v.run(() => flush_work(work))).toBe(true)
    expect(ended).toBe(true)
    expect(v.run(() => flush_work(work))).toBe(false)
  })

  test('workqueue-timers 6: a running work is waited for; one queued later is not', () => {
    const v = new VirtualKernel()
    const { work, open, runs } = gated(v)
    const done: string[] = []
    schedule_work(v.k, work)
    v.k.runReady()
    when(v, done, 'flusher', () => flush_work(work))
    schedule_work(v.k, work)
    open()
    v.k.runReady()
    expect(done).toEqual(['flusher'])
    expect(runs()).toBe(1)
    expect(work_busy(work)).toBe(2)
  })

  test('workqueue-timers 6: several flushers of one queued work, and of one beyond max_active', () => {
    const v = new VirtualKernel()
    const queue = create_workqueue(v.k, 'serial')!
    const first = gated(v)
    const second = gated(v)
    queue_work(queue, first.work)
    queue_work(queue, second.work)
    const done: string[] = []
    when(v, done, 'a', () => flush_work(second.work))
    when(v, done, 'b', () => flush_work(second.work))
    when(v, done, 'c', () => flush_work(first.work))
    // Barriers have no colour and no share of max_active.
    expect(queue.cpu_pwqs[0].nr_active).toBe(1)
    first.open()
    v.k.runReady()
    expect(done).toEqual(['c'])
    second.open()
    v.k.runReady()
    // Each barrier goes right behind the work, so the last one to come is the first to run.
    expect(done).toEqual(['c', 'b', 'a'])
    const [pwq] = queue.cpu_pwqs
    expect([pwq.nr_active, pwq.refcnt]).toEqual([0, 1])
  })

  test('workqueue-timers 6: a work that flushes itself is reported', () => {
    const v = new VirtualKernel()
    const work = work_of(v, function* selfish() {
      yield* flush_work(work)
    })
    schedule_work(v.k, work)
    expect(() => v.k.runReady()).toThrow(/selfish waits for its own end/)
  })

  test('workqueue-timers 6: from a MEM_RECLAIM queue onto another one: a warning, not for legacy queues', () => {
    const v = new VirtualKernel()
    const reclaim = alloc_workqueue(v.k, 'reclaim', WQ_MEM_RECLAIM, 0)!
    const legacy = create_workqueue(v.k, 'legacy')!
    const flush_from = (queue: workqueue_struct): string[] => {
      const target = work_of(v, function* target_work() {
        yield* msleep(v.k, 20)
      })
      schedule_work(v.k, target)
      queue_work(
        queue,
        work_of(v, function* source_work() {
          yield* flush_work(target)
        }),
      )
      v.ticks(20)
      return v.warnings
    }
    expect(flush_from(legacy)).toEqual([])
    expect(flush_from(reclaim)).toEqual([
      'workqueue: WQ_MEM_RECLAIM reclaim:source_work is flushing !WQ_MEM_RECLAIM events:target_work',
    ])
  })

  test('a PF_MEMALLOC task that flushes a queue without rescuer is warned', () => {
    const v = new VirtualKernel()
    const work = work_of(v, function* () {
      yield* msleep(v.k, 10)
    })
    schedule_work(v.k, work)
    v.run(function* () {
      v.k.current.flags |= PF_MEMALLOC
      return yield* flush_work(work)
    })
    expect(v.warnings[0]).toMatch(/PF_MEMALLOC task test is flushing/)
  })
})

describe('flush_workqueue', () => {
  test('an empty queue: at once', () => {
    const v = new VirtualKernel()
    v.run(() => flush_workqueue(v.k.system_wq))
    v.run(() => flush_scheduled_work(v.k))
    expect(v.ns).toBe(0)
    expect(v.k.system_wq.flush_color).toBe(v.k.system_wq.work_color)
  })

  test('workqueue-timers 6: waits for what was queued before, on all CPUs, and for nothing queued later', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    const before = [0, 1, 3].map(cpu => {
      const g = gated(v)
      queue_work_on(cpu, queue, g.work)
      return g
    })
    const done: string[] = []
    when(v, done, 'flusher', () => flush_workqueue(queue))
    const later = gated(v)
    queue_work_on(2, queue, later.work)
    before[2].open()
    before[0].open()
    v.k.runReady()
    expect(done).toEqual([])
    before[1].open()
    v.k.runReady()
    expect(done).toEqual(['flusher'])
    expect(later.runs()).toBe(0)
  })

  test('workqueue-timers 15.9: 14 flushers take the colours 0 to 13, the 15th overflows', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    const g = gated(v)
    queue_work(queue, g.work)
    expect([queue.work_color, queue.flush_color]).toEqual([0, 0])
    const done: string[] = []
    for (let i = 0; i < 14; i++) {
      when(v, done, `f${i}`, () => flush_workqueue(queue))
      expect(queue.work_color).toBe(i + 1)
    }
    expect(list_entries(queue.flusher_queue).map(f => f.flush_color)).toEqual(
      Array.from({ length: 13 }, (_, i) => i + 1),
    )
    when(v, done, 'f14', () => flush_workqueue(queue))
    expect(queue.work_color).toBe(14)
    expect(list_entries(queue.flusher_overflow).length).toBe(1)
    when(v, done, 'f15', () => flush_workqueue(queue))
    expect(list_entries(queue.flusher_overflow).length).toBe(2)
    g.open()
    v.k.runReady()
    expect(done.length).toBe(16)
    expect([queue.first_flusher, queue.flush_color]).toEqual([null, queue.work_color])
    expect(queue.cpu_pwqs[0].flush_color).toBe(-1)
  })

  test('workqueue-timers 6: the overflow list gets one new colour; flushes end in order', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    const gates = Array.from({ length: 14 }, () => gated(v))
    const done: string[] = []
    gates.forEach((g, i) => {
      queue_work(queue, g.work)
      when(v, done, `f${i}`, () => flush_workqueue(queue))
    })
    const late = gated(v)
    queue_work(queue, late.work)
    when(v, done, 'o1', () => flush_workqueue(queue))
    when(v, done, 'o2', () => flush_workqueue(queue))
    // The second colour's works end first: nobody is released before the first colour.
    gates[1].open()
    v.k.runReady()
    expect(done).toEqual([])
    gates[0].open()
    v.k.runReady()
    expect(done).toEqual(['f0', 'f1'])
    expect(
      new Set(
        list_entries(queue.flusher_queue)
          .slice(-2)
          .map(f => f.flush_color),
      ).size,
    ).toBe(1)
    for (const g of gates.slice(2)) g.open()
    v.k.runReady()
    expect(done.length).toBe(14)
    late.open()
    v.k.runReady()
    expect(done.slice(14)).toEqual(['o1', 'o2'])
  })

  test('a work that flushes its own queue is reported', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    queue_work(
      queue,
      work_of(v, function* () {
        yield* flush_workqueue(queue)
      }),
    )
    expect(() => v.k.runReady()).toThrow(/waits for all of them/)
  })
})

describe('drain_workqueue', () => {
  test('workqueue-timers 15.10, 4.1: an external queue_work runs nothing, a chained one is executed', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    const gate = new completion(v.k)
    const runs: string[] = []
    const chained = work_of(v, () => void runs.push('chained'))
    const external = work_of(v, () => void runs.push('external'))
    const first = work_of(v, function* () {
      yield* wait_for_completion(gate)
      runs.push('first')
      queue_work(queue, chained)
    })
    queue_work(queue, first)
    const done: string[] = []
    when(v, done, 'drainer', () => drain_workqueue(queue))
    // As in Linux the caller is told that it was queued, and PENDING stays set.
    expect(queue_work(queue, external)).toBe(true)
    expect(work_pending(external)).toBe(true)
    expect(v.warnings.length).toBe(1)
    complete(gate)
    v.k.runReady()
    expect(runs).toEqual(['first', 'chained'])
    expect(done).toEqual(['drainer'])
    // Linux would spin for ever on a work in that state.
    expect(() => cancel_work(external)).toThrow(/dropped/)
    const after = work_of(v, () => void runs.push('after'))
    queue_work(queue, after)
    v.k.runReady()
    expect(runs.at(-1)).toBe('after')
  })

  test('workqueue-timers 6: warns at the 10th and each 100th try', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    let left = 1500
    const work = work_of(v, function* () {
      yield 'turn'
      if (--left > 0) queue_work(queue, work)
    })
    queue_work(queue, work)
    v.run(() => drain_workqueue(queue))
    const tries = v.warnings.map(text => Number(/after (\d+) tries/.exec(text)?.[1]))
    expect(tries).toEqual([10, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000])
    expect(left).toBe(0)
  })

  test('workqueue-timers 6: destroy_workqueue drains first', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', WQ_UNBOUND, 0)!
    let runs = 0
    const work = work_of(v, function* () {
      yield* msleep(v.k, 10)
      if (++runs < 3) queue_work(queue, work)
    })
    queue_work(queue, work)
    v.run(() => destroy_workqueue(queue))
    expect(runs).toBe(3)
  })
})

describe('cancelling', () => {
  test('workqueue-timers 6: cancel_work_sync: true iff it was pending; the function never runs', () => {
    const v = new VirtualKernel()
    let runs = 0
    const work = work_of(v, () => void runs++)
    expect(v.run(() => cancel_work_sync(work))).toBe(false)
    // Queued by the very task that cancels it: no worker gets a turn in between.
    const was_pending = v.run(function* () {
      schedule_work(v.k, work)
      return yield* cancel_work_sync(work)
    })
    expect(was_pending).toBe(true)
    v.k.runReady()
    expect(runs).toBe(0)
    expect(work_busy(work)).toBe(0)
    schedule_work(v.k, work)
    v.k.runReady()
    expect(runs).toBe(1)
  })

  test('workqueue-timers 6: a running work is waited for, and what it queues itself is not kept', () => {
    const v = new VirtualKernel()
    const gate = new completion(v.k)
    const results: boolean[] = []
    let runs = 0
    const work = work_of(v, function* () {
      yield* wait_for_completion(gate)
      runs++
      results.push(schedule_work(v.k, work))
    })
    schedule_work(v.k, work)
    v.k.runReady()
    const done: string[] = []
    when(v, done, 'canceller', function* () {
      results.push(yield* cancel_work_sync(work))
    })
    expect(done).toEqual([])
    complete(gate)
    v.k.runReady()
    expect(done).toEqual(['canceller'])
    // PENDING belonged to the canceller: the work could not queue itself.
    expect(results).toEqual([false, false])
    expect(runs).toBe(1)
  })

  test('workqueue-timers 6: two tasks cancel the same work: one after the other', () => {
    const v = new VirtualKernel()
    const { work, open } = gated(v)
    schedule_work(v.k, work)
    v.k.runReady()
    const done: string[] = []
    when(v, done, 'a', () => cancel_work_sync(work))
    when(v, done, 'b', () => cancel_work_sync(work))
    when(v, done, 'c', () => cancel_work_sync(work))
    expect(done).toEqual([])
    open()
    v.k.runReady()
    expect(done).toEqual(['a', 'b', 'c'])
    expect(work_pending(work)).toBe(false)
  })

  test('workqueue-timers 6: an inactive work is activated before it is taken, so nr_active stays right', () => {
    const v = new VirtualKernel()
    const queue = create_workqueue(v.k, 'serial')!
    const first = gated(v)
    const second = gated(v)
    const third = gated(v)
    for (const g of [first, second, third]) queue_work(queue, g.work)
    v.k.runReady()
    const done: string[] = []
    when(v, done, 'flusher', () => flush_work(second.work))
    expect(cancel_work(second.work)).toBe(true)
    expect(queue.cpu_pwqs[0].nr_active).toBe(1)
    // Its barrier is left behind, active, and completes the flusher when a worker next looks.
    first.open()
    third.open()
    v.k.runReady()
    expect(done).toEqual(['flusher'])
    expect([first.runs(), second.runs(), third.runs()]).toEqual([1, 0, 1])
    expect(queue.cpu_pwqs[0].nr_active).toBe(0)
    expect(queue.cpu_pwqs[0].refcnt).toBe(1)
  })

  test('cancel_work does not wait for a running work', () => {
    const v = new VirtualKernel()
    const { work, open, runs } = gated(v)
    schedule_work(v.k, work)
    v.k.runReady()
    expect(cancel_work(work)).toBe(false)
    schedule_work(v.k, work)
    expect(cancel_work(work)).toBe(true)
    open()
    v.k.runReady()
    expect(runs()).toBe(1)
  })

  test('cancel_work while another task cancels: false', () => {
    const v = new VirtualKernel()
    const { work, open } = gated(v)
    schedule_work(v.k, work)
    v.k.runReady()
    const done: string[] = []
    when(v, done, 'a', () => cancel_work_sync(work))
    expect(cancel_work(work)).toBe(false)
    expect(schedule_work(v.k, work)).toBe(false)
    open()
    v.k.runReady()
    expect(done).toEqual(['a'])
  })

  test('a work that cancels itself is reported', () => {
    const v = new VirtualKernel()
    const work = work_of(v, function* () {
      yield* cancel_work_sync(work)
    })
    schedule_work(v.k, work)
    expect(() => v.k.runReady()).toThrow(/its own end/)
  })

  test('a flush that sleeps shows what it waits for', () => {
    const v = new VirtualKernel()
    const { work } = gated(v)
    schedule_work(v.k, work)
    when(v, [], 'flusher', () => flush_work(work))
    const flusher = [...v.k.tasks].find(task => task.name === 'flusher')
    expect(flusher?.waiting_on).toBe('flush of gated_work')
    when(v, [], 'other', () => schedule(v.k, 'nothing'))
  })
})
