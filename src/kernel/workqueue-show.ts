// A look inside the workqueues: what is queued, what runs, who is idle. After
// show_workqueue_state() of kernel/workqueue.c.
//
// `workqueue_state` gives plain data that JSON can carry; `show_workqueue_state` gives the text of
// it, busy queues and pools only.

import { list_entries } from './list.js'
import type {
  pool_workqueue,
  WorkqueueKernel,
  work_struct,
  worker,
  worker_pool,
  workqueue_struct,
} from './workqueue-structs.js'
import {
  __WQ_DRAINING,
  __WQ_LEGACY,
  __WQ_ORDERED,
  __WQ_ORDERED_EXPLICIT,
  all_pools,
  get_work_pwq,
  WORKER_IDLE,
  WQ_CPU_INTENSIVE,
  WQ_FREEZABLE,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_POWER_EFFICIENT,
  WQ_SYSFS,
  WQ_UNBOUND,
} from './workqueue-structs.js'
import { work_name } from './workqueue-queue.js'

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [WQ_UNBOUND, 'UNBOUND'],
  [WQ_FREEZABLE, 'FREEZABLE'],
  [WQ_MEM_RECLAIM, 'MEM_RECLAIM'],
  [WQ_HIGHPRI, 'HIGHPRI'],
  [WQ_CPU_INTENSIVE, 'CPU_INTENSIVE'],
  [WQ_SYSFS, 'SYSFS'],
  [WQ_POWER_EFFICIENT, 'POWER_EFFICIENT'],
  [__WQ_DRAINING, 'DRAINING'],
  [__WQ_ORDERED, 'ORDERED'],
  [__WQ_LEGACY, 'LEGACY'],
  [__WQ_ORDERED_EXPLICIT, 'ORDERED_EXPLICIT'],
]

export interface WorkerView {
  /** The task's name. */
  readonly name: string
  readonly state: 'idle' | 'busy' | 'free'
  /** The function it runs, and for which queue; absent when it runs none. */
  readonly function?: string
  readonly workqueue?: string
  /** What it sleeps on while it runs that function. */
  readonly waiting_on?: string
}

export interface PoolView {
  readonly id: number
  /** null: unbound. */
  readonly cpu: number | null
  readonly cpus: readonly number[]
  readonly nice: number
  readonly nr_workers: number
  readonly nr_idle: number
  readonly nr_running: number
  readonly manager: string | null
  readonly workers: readonly WorkerView[]
  /** Functions of the works that wait for a worker, in order. */
  readonly worklist: readonly string[]
}

export interface PwqView {
  readonly pool: number
  readonly active: number
  readonly max_active: number
  readonly in_flight: readonly { readonly worker: string; readonly function: string }[]
  /** On the pool's worklist. */
  readonly pending: readonly string[]
  /** Beyond max_active. */
  readonly delayed: readonly string[]
}

export interface WorkqueueView {
  readonly name: string
  readonly flags: readonly string[]
  readonly max_active: number
  readonly rescuer: boolean
  readonly sysfs: boolean
  readonly work_color: number
  readonly flush_color: number
  readonly pwqs: readonly PwqView[]
}

export interface WorkqueuesView {
  readonly workqueues: readonly WorkqueueView[]
  readonly pools: readonly PoolView[]
}

function worker_view(self: worker): WorkerView {
  const name = self.task.name
  if ((self.flags & WORKER_IDLE) !== 0) return { name, state: 'idle' }
  if (self.current_work === null) return { name, state: 'free' }
  return {
    name,
    state: 'busy',
    function: self.current_func?.name ?? '',
    workqueue: self.current_pwq?.wq.name ?? '',
    waiting_on: self.task.waiting_on,
  }
}

function pool_view(pool: worker_pool): PoolView {
  return {
    id: pool.id,
    cpu: pool.cpu < 0 ? null : pool.cpu,
    cpus: pool.attrs.cpumask,
    nice: pool.attrs.nice,
    nr_workers: pool.nr_workers,
    nr_idle: pool.nr_idle,
    nr_running: pool.nr_running,
    manager: pool.manager?.task.name ?? null,
    workers: list_entries(pool.workers).map(worker_view),
    worklist: list_entries(pool.worklist).map(work_name),
  }
}

function pwq_view(pwq: pool_workqueue): PwqView {
  const mine = (work: work_struct): boolean => get_work_pwq(work) === pwq
  const busy = list_entries(pwq.pool.workers).filter(self => self.current_pwq === pwq)
  const taken = list_entries(pwq.pool.workers).flatMap(self => list_entries(self.scheduled))
  const waiting = [...list_entries(pwq.pool.worklist), ...taken].filter(mine)
  return {
    pool: pwq.pool.id,
    active: pwq.nr_active,
    max_active: pwq.max_active,
    in_flight: busy.map(self => ({
      worker: self.task.name,
      function: self.current_func?.name ?? '',
    })),
    pending: waiting.map(work_name),
    delayed: list_entries(pwq.delayed_works).map(work_name),
  }
}

function wq_view(wq: workqueue_struct): WorkqueueView {
  return {
    name: wq.name,
    flags: FLAG_NAMES.filter(([bit]) => (wq.flags & bit) !== 0).map(([, name]) => name),
    max_active: wq.saved_max_active,
    rescuer: wq.rescuer !== null,
    sysfs: wq.sysfs,
    work_color: wq.work_color,
    flush_color: wq.flush_color,
    pwqs: list_entries(wq.pwqs)
      .map(pwq_view)
      .sort((a, b) => a.pool - b.pool),
  }
}

/** Everything about the workqueues, as plain data. */
export function workqueue_state(k: WorkqueueKernel): WorkqueuesView {
  return { workqueues: k.wq.workqueues.map(wq_view), pools: all_pools(k).map(pool_view) }
}

function pwq_lines(pwq: PwqView): string[] {
  const lines = [`  pwq of pool ${pwq.pool}: active=${pwq.active}/${pwq.max_active}`]
  for (const { worker: name, function: fn } of pwq.in_flight) {
    lines.push(`    in-flight: ${name}:${fn}`)
  }
  if (pwq.pending.length > 0) lines.push(`    pending: ${pwq.pending.join(', ')}`)
  if (pwq.delayed.length > 0) lines.push(`    delayed: ${pwq.delayed.join(', ')}`)
  return lines
}

function is_busy(pwq: PwqView): boolean {
  return pwq.active + pwq.in_flight.length + pwq.pending.length + pwq.delayed.length > 0
}

function worker_line(one: WorkerView): string {
  if (one.state !== 'busy') return `    ${one.name} ${one.state}`
  const waits = one.waiting_on ? `, waits: ${one.waiting_on}` : ''
  return `    ${one.name} busy: ${one.function} of ${one.workqueue}${waits}`
}

function pool_line(pool: PoolView): string {
  const cpus = pool.cpu === null ? `unbound cpus=${pool.cpus.join()}` : `cpu=${pool.cpu}`
  const workers = `workers=${pool.nr_workers} idle=${pool.nr_idle}`
  const manager = pool.manager === null ? '' : ` manager=${pool.manager}`
  return `pool ${pool.id}: ${cpus} nice=${pool.nice} ${workers}${manager}`
}

function pool_lines(pool: PoolView): string[] {
  const pending = pool.worklist.length > 0 ? [`    pending: ${pool.worklist.join(', ')}`] : []
  return [pool_line(pool), ...pool.workers.map(worker_line), ...pending]
}

function wq_lines(wq: WorkqueueView, pwqs: readonly PwqView[]): string[] {
  return [`workqueue ${wq.name}: ${wq.flags.join('|') || '0'}`, ...pwqs.flatMap(pwq_lines)]
}

/** Busy workqueues and the pools that have more than idle workers, in text. */
export function show_workqueue_state(k: WorkqueueKernel): string {
  const { workqueues, pools } = workqueue_state(k)
  const busy = workqueues.map(wq => ({ wq, pwqs: wq.pwqs.filter(is_busy) }))
  const active = pools.filter(pool => pool.nr_idle !== pool.nr_workers || pool.worklist.length > 0)
  return [
    ...busy.flatMap(({ wq, pwqs }) => (pwqs.length > 0 ? wq_lines(wq, pwqs) : [])),
    ...active.map(pool_line),
  ].join('\n')
}

/** Every workqueue and every pool with its workers, idle ones included, in text. */
export function show_all_workqueues({ workqueues, pools }: WorkqueuesView): string {
  const lines = [...workqueues.flatMap(wq => wq_lines(wq, wq.pwqs)), ...pools.flatMap(pool_lines)]
  return `${lines.join('\n')}\n`
}
