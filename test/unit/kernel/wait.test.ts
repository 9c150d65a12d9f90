import { describe, expect, test } from 'vitest'
import {
  complete,
  complete_all,
  completion,
  completion_done,
  reinit_completion,
  try_wait_for_completion,
  wait_for_completion,
  wait_for_completion_interruptible_timeout,
  wait_for_completion_io,
  wait_for_completion_io_timeout,
  wait_for_completion_timeout,
} from '../../../src/kernel/completion.js'
import { type Sleep, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE } from '../../../src/kernel/core.js'
import {
  down_read,
  down_read_trylock,
  down_write,
  mutex,
  mutex_is_locked,
  mutex_lock,
  mutex_trylock,
  mutex_unlock,
  rw_semaphore,
  up_read,
  up_write,
} from '../../../src/kernel/mutex.js'
import {
  percpu_ref,
  percpu_ref_get,
  percpu_ref_is_dying,
  percpu_ref_is_zero,
  percpu_ref_kill,
  percpu_ref_put,
  percpu_ref_reinit,
  percpu_ref_resurrect,
  percpu_ref_tryget,
  percpu_ref_tryget_live,
} from '../../../src/kernel/percpu-refcount.js'
import { schedule, wake_up_process } from '../../../src/kernel/task.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import {
  add_wait_queue,
  finish_wait,
  prepare_to_wait,
  prepare_to_wait_exclusive,
  remove_wait_queue,
  wait_event,
  wait_event_timeout,
  wait_queue_entry,
  wait_queue_head,
  waitqueue_active,
  wake_up,
  wake_up_all,
  wake_up_interruptible,
  wake_up_nr,
} from '../../../src/kernel/wait.js'
import { VirtualKernel } from './support.js'

/** A kernel, a queue, and tasks that wait on it once and then note their names. */
function waiters(): {
  v: VirtualKernel
  wq: wait_queue_head
  woken: string[]
  add: (name: string, exclusive: boolean, state?: number) => void
} {
  const v = new VirtualKernel()
  const wq = new wait_queue_head(v.k, 'tags')
  const woken: string[] = []
  const add = (name: string, exclusive: boolean, state: number = TASK_UNINTERRUPTIBLE): void => {
    v.k.spawn(name, function* () {
      const entry = new wait_queue_entry(v.k)
      if (exclusive) prepare_to_wait_exclusive(wq, entry, state)
      else prepare_to_wait(wq, entry, state)
      yield* schedule(v.k)
      finish_wait(wq, entry)
      woken.push(name)
    })
    v.k.runReady()
  }
  return { v, wq, woken, add }
}

describe('wait queues', () => {
  test('wake_up wakes all non-exclusive waiters and one exclusive', () => {
    const { v, wq, woken, add } = waiters()
    add('x1', true)
    add('n1', false)
    add('x2', true)
    add('n2', false)
    wake_up(wq)
    v.k.runReady()
    // Non-exclusive waiters stand in front, the newest first; exclusive ones follow in their order.
    expect(woken).toEqual(['n2', 'n1', 'x1'])
    wake_up(wq)
    v.k.runReady()
    expect(woken.at(-1)).toBe('x2')
    expect(waitqueue_active(wq)).toBe(false)
  })

  test('wake_up_nr counts exclusive waiters; wake_up_all takes all', () => {
    const { v, wq, woken, add } = waiters()
    for (const name of ['a', 'b', 'c', 'd', 'e']) add(name, true)
    wake_up_nr(wq, 2)
    v.k.runReady()
    expect(woken).toEqual(['a', 'b'])
    wake_up_all(wq)
    v.k.runReady()
    expect(woken).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  test('a waiter that does not sleep in the state does not use the wake-up up', () => {
    const { v, wq, woken, add } = waiters()
    add('deep', true, TASK_UNINTERRUPTIBLE)
    add('light', true, TASK_INTERRUPTIBLE)
    wake_up_interruptible(wq)
    v.k.runReady()
    expect(woken).toEqual(['light'])
    expect(waitqueue_active(wq)).toBe(true)
  })

  test('a function that says < 0 ends the walk; one that says 0 does not count', () => {
    const { v, wq } = waiters()
    const seen: string[] = []
    const entry = (name: string, ret: number): wait_queue_entry =>
      new wait_queue_entry(v.k, () => {
        seen.push(name)
        return ret
      })
    const last = entry('last', 1)
    add_wait_queue(wq, last)
    add_wait_queue(wq, entry('ends', -1))
    add_wait_queue(wq, entry('nothing', 0))
    wake_up_all(wq)
    expect(seen).toEqual(['nothing', 'ends'])
    remove_wait_queue(wq, last)
  })

  test('wait_event looks again after each wake-up', () => {
    const v = new VirtualKernel()
    const wq = new wait_queue_head(v.k)
    let value = 0
    let done = false
    v.k.spawn('w', function* () {
      yield* wait_event(wq, () => value >= 2)
      done = true
    })
    v.k.runReady()
    for (value = 1; value <= 2; value++) {
      expect(done).toBe(false)
      wake_up(wq)
      v.k.runReady()
    }
    expect(done).toBe(true)
    expect(v.run(() => wait_event(wq, () => true))).toBe(undefined)
  })

  test('wait_event_timeout: jiffies left, at least 1 if the condition holds, 0 if not', () => {
    const v = new VirtualKernel()
    const wq = new wait_queue_head(v.k)
    expect(v.run(() => wait_event_timeout(wq, () => true, 0))).toBe(1)
    expect(v.run(() => wait_event_timeout(wq, () => false, 5))).toBe(0)
    let flag = false
    const left: number[] = []
    v.k.spawn('w', function* () {
      left.push(yield* wait_event_timeout(wq, () => flag, 50))
    })
    v.ticks(20)
    flag = true
    wake_up(wq)
    v.k.runReady()
    expect(left).toEqual([30])
    flag = false
    v.k.spawn('w', function* () {
      left.push(yield* wait_event_timeout(wq, () => flag, 5))
    })
    v.k.runReady()
    flag = true
    v.ticks(10)
    // The time was over, but the condition holds when it is looked at.
    expect(left[1]).toBe(1)
  })
})

describe('completions', () => {
  test('complete lets one through, in the order of waiting; a count is kept', () => {
    const v = new VirtualKernel()
    const x = new completion(v.k, 'reset')
    const through: string[] = []
    const waiter = (name: string): void => {
      v.k.spawn(name, function* () {
        yield* wait_for_completion(x)
        through.push(name)
      })
    }
    waiter('a')
    waiter('b')
    v.k.runReady()
    complete(x)
    v.k.runReady()
    expect(through).toEqual(['a'])
    complete(x)
    complete(x)
    v.k.runReady()
    expect(through).toEqual(['a', 'b'])
    expect(completion_done(x)).toBe(true)
    expect(try_wait_for_completion(x)).toBe(true)
    expect(try_wait_for_completion(x)).toBe(false)
  })

  test('complete_all lets everybody through until reinit', () => {
    const v = new VirtualKernel()
    const x = new completion(v.k)
    complete_all(x)
    v.run(() => wait_for_completion(x))
    v.run(() => wait_for_completion_io(x))
    expect(completion_done(x)).toBe(true)
    reinit_completion(x)
    expect(completion_done(x)).toBe(false)
  })

  test('a wake-up from elsewhere does not end the wait', () => {
    const v = new VirtualKernel()
    const x = new completion(v.k)
    let through = false
    const task = v.k.spawn('w', function* () {
      yield* wait_for_completion(x)
      through = true
    })
    v.k.runReady()
    expect(wake_up_process(task)).toBe(true)
    v.k.runReady()
    expect(through).toBe(false)
    complete(x)
    v.k.runReady()
    expect(through).toBe(true)
  })

  test('timeouts', () => {
    const v = new VirtualKernel()
    const x = new completion(v.k)
    expect(v.run(() => wait_for_completion_timeout(x, 10))).toBe(0)
    expect(v.run(() => wait_for_completion_io_timeout(x, 10))).toBe(0)
    expect(v.run(() => wait_for_completion_interruptible_timeout(x, 10))).toBe(0)
    expect(waitqueue_active(x.wait)).toBe(false)
    const left: number[] = []
    v.k.spawn('w', function* () {
      left.push(yield* wait_for_completion_timeout(x, 50))
    })
    v.ticks(10)
    complete(x)
    v.k.runReady()
    expect(left).toEqual([40])
    complete(x)
    expect(v.run(() => wait_for_completion_timeout(x, 0))).toBe(1)
  })
})

describe('mutexes and semaphores', () => {
  test('a mutex is handed on in order, across sleeps of its owner', () => {
    const v = new VirtualKernel()
    const lock = new mutex(v.k, 'scan_lock')
    const order: string[] = []
    for (const name of ['a', 'b', 'c']) {
      v.k.spawn(name, function* () {
        yield* mutex_lock(lock)
        order.push(`${name} in`)
        yield* msleep(v.k, 10)
        order.push(`${name} out`)
        mutex_unlock(lock)
      })
    }
    v.k.runReady()
    expect(mutex_is_locked(lock)).toBe(true)
    expect(mutex_trylock(lock)).toBe(false)
    v.ticks(100)
    expect(order).toEqual(['a in', 'a out', 'b in', 'b out', 'c in', 'c out'])
    expect(mutex_trylock(lock)).toBe(true)
    mutex_unlock(lock)
  })

  test('misuse stops the kernel', () => {
    const v = new VirtualKernel()
    const lock = new mutex(v.k)
    expect(() => mutex_unlock(lock)).toThrow(/does not hold/)
    mutex_trylock(lock)
    expect(() => mutex_lock(lock).next()).toThrow(/holds/)
    const sem = new rw_semaphore(v.k)
    expect(() => up_read(sem)).toThrow(/no reader/)
    expect(() => up_write(sem)).toThrow(/no writer/)
  })

  test('readers share, a writer waits for them, later readers wait for the writer', () => {
    const v = new VirtualKernel()
    const { k } = v
    const sem = new rw_semaphore(k, 'namespaces_rwsem')
    const order: string[] = []
    const reader = (name: string, ms: number): (() => Sleep<void>) =>
      function* () {
        yield* down_read(sem)
        order.push(`${name} in`)
        yield* msleep(k, ms)
        order.push(`${name} out`)
        up_read(sem)
      }
    k.spawn('r1', reader('r1', 20))
    k.spawn('r2', reader('r2', 40))
    k.spawn('w', function* () {
      yield* down_write(sem)
      order.push('w in')
      yield* msleep(k, 10)
      order.push('w out')
      up_write(sem)
    })
    k.spawn('r3', reader('r3', 10))
    k.spawn('r4', reader('r4', 10))
    k.runReady()
    expect(down_read_trylock(sem)).toBe(false)
    v.ticks(100)
    expect(order.slice(0, 8)).toEqual([
      'r1 in',
      'r2 in',
      'r1 out',
      'r2 out',
      'w in',
      'w out',
      'r3 in',
      'r4 in',
    ])
    expect(down_read_trylock(sem)).toBe(true)
    up_read(sem)
  })
})

test('a killed reference fails tryget_live, is released with the last put, and can live again', () => {
  const v = new VirtualKernel()
  let released = 0
  const ref = new percpu_ref(v.k, () => void released++)
  percpu_ref_get(ref)
  expect(percpu_ref_tryget_live(ref)).toBe(true)
  percpu_ref_kill(ref)
  expect(percpu_ref_is_dying(ref)).toBe(true)
  expect(percpu_ref_tryget_live(ref)).toBe(false)
  expect(percpu_ref_tryget(ref)).toBe(true)
  expect(() => percpu_ref_kill(ref)).toThrow(/dead already/)
  expect(() => percpu_ref_reinit(ref)).toThrow(/references left/)
  for (let i = 0; i < 3; i++) percpu_ref_put(ref)
  expect(released).toBe(1)
  expect(percpu_ref_is_zero(ref)).toBe(true)
  expect(percpu_ref_tryget(ref)).toBe(false)
  expect(() => percpu_ref_put(ref)).toThrow(/no reference/)
  percpu_ref_reinit(ref)
  expect(percpu_ref_tryget_live(ref)).toBe(true)
  percpu_ref_kill(ref)
  percpu_ref_resurrect(ref)
  expect(ref.count).toBe(2)
  expect(() => percpu_ref_resurrect(ref)).toThrow(/alive/)
})
