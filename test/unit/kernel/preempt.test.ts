// Voluntary preemption: where a task lets others go first, and where it does not.

import { describe, expect, test } from 'vitest'
import { type Sleep, TASK_UNINTERRUPTIBLE, type task_struct } from '../../../src/kernel/core.js'
import type { Kernel } from '../../../src/kernel/kernel.js'
import {
  cond_resched,
  kthread_bind,
  kthread_run,
  let_others_begin,
  might_sleep,
  schedule,
  set_current_state,
  try_to_wake_up,
} from '../../../src/kernel/task.js'
import { VirtualKernel } from './support.js'

/** A kernel thread of CPU 0 that sleeps until it is woken, then says so; `more` before it sleeps again. */
function sleeper(
  k: Kernel,
  seen: string[],
  name: string,
  more: () => void = () => {},
): task_struct {
  const thread = kthread_run(
    k,
    function* () {
      for (;;) {
        set_current_state(k, TASK_UNINTERRUPTIBLE)
        yield* schedule(k, 'work')
        seen.push(name)
        more()
      }
    },
    name,
  )
  kthread_bind(thread, 0)
  return thread
}

function wake(task: task_struct): void {
  expect(try_to_wake_up(task, TASK_UNINTERRUPTIBLE)).toBe(true)
}

function task(k: Kernel, body: () => Sleep<void>): void {
  k.spawn('io1', body, [0])
  k.runReady()
}

describe('might_sleep', () => {
  test('a kernel thread that was woken on this CPU goes first, and those that it wakes', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    const second = sleeper(k, seen, 'kworker/0:1')
    const first = sleeper(k, seen, 'kworker/0:0', () => wake(second))
    k.runReady()
    task(k, function* () {
      wake(first)
      seen.push('before')
      yield* might_sleep(k)
      seen.push('after')
    })
    expect(seen).toEqual(['before', 'kworker/0:0', 'kworker/0:1', 'after'])
  })

  test('without a wake-up the task goes on, also when others are ready', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    k.spawn(
      'io1',
      function* () {
        yield* might_sleep(k)
        seen.push('io1')
      },
      [0],
    )
    k.spawn(
      'io2',
      function* () {
        yield* might_sleep(k)
        seen.push('io2')
      },
      [0],
    )
    k.runReady()
    expect(seen).toEqual(['io1', 'io2'])
  })

  test('a task that was woken does not preempt: only kernel threads have slept longer', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    const other = k.spawn(
      'io2',
      function* () {
        set_current_state(k, TASK_UNINTERRUPTIBLE)
        yield* schedule(k)
        seen.push('io2')
      },
      [0],
    )
    k.runReady()
    task(k, function* () {
      wake(other)
      yield* might_sleep(k)
      seen.push('io1')
    })
    expect(seen).toEqual(['io1', 'io2'])
  })

  test('a thread of another CPU runs there, beside it', () => {
    const { k } = new VirtualKernel({ nrCpus: 2 })
    const seen: string[] = []
    const thread = sleeper(k, seen, 'kworker/1:0')
    kthread_bind(thread, 1)
    k.runReady()
    task(k, function* () {
      wake(thread)
      yield* might_sleep(k)
      seen.push('io1')
    })
    expect(seen).toEqual(['io1', 'kworker/1:0'])
  })

  test('what is plugged leaves the CPU with the task, and comes back before it goes on', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    const thread = sleeper(k, seen, 'kworker/0:0')
    k.runReady()
    task(k, function* () {
      k.current.plug = {
        blk_needs_flush_plug: () => false,
        blk_schedule_flush_plug: () => void seen.push('flushed'),
        blk_plug_out: () => void seen.push('out'),
        blk_plug_in: () => void seen.push('in'),
      }
      yield* might_sleep(k)
      wake(thread)
      yield* might_sleep(k)
      seen.push('io1')
    })
    expect(seen).toEqual(['out', 'kworker/0:0', 'in', 'io1'])
  })

  test('two threads that keep waking each other do not hold the task for ever', () => {
    const { k } = new VirtualKernel()
    let turns = 0
    let over = 0
    const threads: task_struct[] = []
    for (const [name, other] of [
      ['a', 1],
      ['b', 0],
    ] as const)
      threads.push(
        sleeper(k, [], name, () => {
          if (++turns < 1000) try_to_wake_up(threads[other]!, TASK_UNINTERRUPTIBLE)
        }),
      )
    k.runReady()
    task(k, function* () {
      wake(threads[0]!)
      yield* might_sleep(k)
      over = turns
    })
    while (turns < 1000) k.runReady()
    expect(over).toBeGreaterThan(10)
    expect(over).toBeLessThan(100)
  })
})

describe('turns', () => {
  test('cond_resched passes it to whoever is ready', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    for (const name of ['io1', 'io2'])
      k.spawn(name, function* () {
        for (let round = 0; round < 2; round++) {
          seen.push(name)
          yield* cond_resched(k)
        }
      })
    k.runReady()
    expect(seen).toEqual(['io1', 'io2', 'io1', 'io2'])
  })

  test('alone it goes on, but gives the caller a look in now and then', () => {
    const { k } = new VirtualKernel()
    k.runReady()
    k.unbroken = 0
    let rounds = 0
    while (cond_resched(k).next().done === true) rounds++
    expect(rounds).toBeGreaterThan(10)
    expect(rounds).toBeLessThan(1000)
  })

  test('let_others_begin waits for nobody when nobody is there', () => {
    const { k } = new VirtualKernel()
    const seen: string[] = []
    k.spawn('io1', function* () {
      yield* let_others_begin(k)
      seen.push('io1')
      k.spawn('io2', function* () {
        seen.push('io2')
        yield 'its turn'
      })
      yield* let_others_begin(k)
      seen.push('io1 again')
    })
    k.runReady()
    expect(seen).toEqual(['io1', 'io2', 'io1 again'])
  })
})
