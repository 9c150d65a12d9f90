// Counting semaphores, after kernel/locking/semaphore.c.
//
// up() hands what it gives to the waiter that came first, so that nobody who comes later takes it away.

import type { Sleep, task_struct } from './core.js'
import { TASK_UNINTERRUPTIBLE } from './core.js'
import { set_current_state, wake_up_process } from './task.js'
import { MAX_SCHEDULE_TIMEOUT } from './time.js'
import { schedule_timeout } from './timer-sleep.js'
import type { TimerKernel } from './timer-wheel.js'

interface Waiter {
  readonly task: task_struct
  up: boolean
}

export class semaphore {
  readonly k: TimerKernel
  readonly name: string
  readonly cell: sem_cell
  readonly waiters: Waiter[] = []

  constructor(
    k: TimerKernel,
    count: number,
    name = 'semaphore',
    cell: sem_cell = { count: 0, waiting: 0 },
  ) {
    this.k = k
    this.cell = cell
    this.name = name
    cell.count = count
  }

  get count(): number {
    return this.cell.count
  }
}

/** What may stand in shared memory: what is left, and how many wait for it. */
export interface sem_cell {
  count: number
  waiting: number
}

/** The plain twin of down: takes one if it is there. */
export function down_trylock(sem: semaphore): boolean {
  if (sem.count === 0) return false
  sem.cell.count--
  return true
}

/** Takes one, waiting at most `jiffies`. False if the time was over first. */
export function* down_timeout(sem: semaphore, jiffies: number): Sleep<boolean> {
  if (down_trylock(sem)) return true
  const waiter: Waiter = { task: sem.k.cpu.current, up: false }
  sem.waiters.push(waiter)
  sem.cell.waiting++
  let left = jiffies
  while (!waiter.up && left > 0) {
    set_current_state(sem.k, TASK_UNINTERRUPTIBLE)
    left = yield* schedule_timeout(sem.k, left, sem.name)
  }
  if (!waiter.up) {
    sem.waiters.splice(sem.waiters.indexOf(waiter), 1)
    sem.cell.waiting--
  }
  return waiter.up
}

/** Takes one, however long it takes. */
export function* down(sem: semaphore): Sleep<void> {
  yield* down_timeout(sem, MAX_SCHEDULE_TIMEOUT)
}

export function up(sem: semaphore): void {
  const waiter = sem.waiters.shift()
  if (waiter === undefined) sem.cell.count++
  else {
    sem.cell.waiting--
    waiter.up = true
    wake_up_process(waiter.task)
  }
}
