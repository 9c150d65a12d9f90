// Mutexes, after kernel/locking/mutex.c, and reader-writer semaphores, after
// kernel/locking/rwsem-xadd.c.
//
// Needed only around code that sleeps: code between two sleeps is atomic anyway. Both are fair: the
// lock is handed to the waiter that came first (with a semaphore, to all readers up to the next
// writer). Spinning on an owner, and priority inheritance, have no counterpart here.

import { BUG, BUG_ON } from './bug.js'
import type { KernelCore, Sleep, task_struct } from './core.js'
import { TASK_UNINTERRUPTIBLE } from './core.js'
import { schedule, set_current_state, wake_up_process } from './task.js'
import { enter, leave } from './trace.js'

function* sleep_until(k: KernelCore, what: string, mine: () => boolean): Sleep<void> {
  while (!mine()) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    yield* schedule(k, what)
  }
}

export class mutex {
  readonly k: KernelCore
  readonly name: string
  owner: task_struct | null = null
  readonly waiters: task_struct[] = []

  constructor(k: KernelCore, name = 'mutex') {
    this.k = k
    this.name = name
  }
}

export function mutex_is_locked(lock: mutex): boolean {
  return lock.owner !== null
}

/** The plain twin of mutex_lock: takes the lock if it is free. */
export function mutex_trylock(lock: mutex): boolean {
  const t = enter(lock.k, 'mutex_trylock')
  if (lock.owner !== null) return leave(lock.k, t, false)
  lock.owner = lock.k.cpu.current
  return leave(lock.k, t, true)
}

export function* mutex_lock(lock: mutex): Sleep<void> {
  const k = lock.k
  const t = enter(k, 'mutex_lock')
  const task = k.cpu.current
  BUG_ON(lock.owner === task, `mutex_lock: ${task.name} holds ${lock.name} already`)
  if (lock.owner === null) lock.owner = task
  else {
    lock.waiters.push(task)
    yield* sleep_until(k, lock.name, () => lock.owner === task)
  }
  leave(k, t)
}

export function mutex_unlock(lock: mutex): void {
  const t = enter(lock.k, 'mutex_unlock')
  const task = lock.k.cpu.current
  BUG_ON(lock.owner !== task, `mutex_unlock: ${task.name} does not hold ${lock.name}`)
  lock.owner = lock.waiters.shift() ?? null
  if (lock.owner !== null) wake_up_process(lock.owner)
  leave(lock.k, t)
}

interface SemWaiter {
  readonly task: task_struct
  readonly write: boolean
  granted: boolean
}

export class rw_semaphore {
  readonly k: KernelCore
  readonly name: string
  /** Readers inside, or -1 for a writer. */
  count = 0
  readonly waiters: SemWaiter[] = []

  constructor(k: KernelCore, name = 'rw_semaphore') {
    this.k = k
    this.name = name
  }
}

function may_enter(sem: rw_semaphore, write: boolean): boolean {
  return write ? sem.count === 0 : sem.count >= 0
}

function take(sem: rw_semaphore, write: boolean): void {
  sem.count = write ? -1 : sem.count + 1
}

function* down(sem: rw_semaphore, write: boolean): Sleep<void> {
  if (sem.waiters.length === 0 && may_enter(sem, write)) {
    take(sem, write)
    return
  }
  const waiter = { task: sem.k.cpu.current, write, granted: false }
  sem.waiters.push(waiter)
  yield* sleep_until(sem.k, sem.name, () => waiter.granted)
}

function rwsem_wake(sem: rw_semaphore): void {
  while (sem.waiters.length > 0 && may_enter(sem, sem.waiters[0].write)) {
    const waiter = sem.waiters.shift()!
    take(sem, waiter.write)
    waiter.granted = true
    wake_up_process(waiter.task)
  }
}

export function* down_read(sem: rw_semaphore): Sleep<void> {
  const t = enter(sem.k, 'down_read')
  yield* down(sem, false)
  leave(sem.k, t)
}

export function* down_write(sem: rw_semaphore): Sleep<void> {
  const t = enter(sem.k, 'down_write')
  yield* down(sem, true)
  leave(sem.k, t)
}

/** The plain twin of down_read: enters if nobody has to be waited for. */
export function down_read_trylock(sem: rw_semaphore): boolean {
  if (sem.waiters.length > 0 || !may_enter(sem, false)) return false
  take(sem, false)
  return true
}

export function up_read(sem: rw_semaphore): void {
  const t = enter(sem.k, 'up_read')
  if (sem.count <= 0) BUG(`up_read: ${sem.name} has no reader`)
  sem.count--
  rwsem_wake(sem)
  leave(sem.k, t)
}

export function up_write(sem: rw_semaphore): void {
  const t = enter(sem.k, 'up_write')
  if (sem.count !== -1) BUG(`up_write: ${sem.name} has no writer`)
  sem.count = 0
  rwsem_wake(sem)
  leave(sem.k, t)
}
