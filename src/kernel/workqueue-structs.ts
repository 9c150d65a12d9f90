// The data of the workqueues, after kernel/workqueue.c, kernel/workqueue_internal.h and
// include/linux/workqueue.h.
//
//   work ──▶ workqueue ──▶ pool_workqueue (pwq) ──▶ worker_pool ──▶ worker (a task)
//              one per       one per CPU, or per      two per CPU       runs one work at
//              alloc_        NUMA node if unbound;    (nice 0, -20),    a time
//              workqueue     counts and limits        and unbound ones
//
// A work that may run is on its pool's worklist, one that exceeds its pwq's max_active on the pwq's
// delayed_works. All workqueues that map to a pool share the pool's worklist and its workers.
//
//   workqueue-structs.ts  this file
//   workqueue-pool.ts     workers that are idle or running, concurrency management
//   workqueue-queue.ts    from queue_work to the worklist; delayed works
//   workqueue-worker.ts   the worker's loop, managers, rescuers
//   workqueue-flush.ts    barriers, colours, draining
//   workqueue-cancel.ts   taking back what is pending; mod_delayed_work
//   workqueue-alloc.ts    creating and destroying queues and unbound pools
//   workqueue-control.ts  max_active, freezing, CPU hotplug, queries
//   workqueue-show.ts     a look inside
//   workqueue.ts          boot, and everything a user of workqueues needs
//
// Not modelled: lockdep, RCU works, debug objects, the sysfs files themselves (only that a queue is
// registered).

import { completion } from './completion.js'
import type { Sleep, task_struct } from './core.js'
import { list_head } from './list.js'
import type { TimerKernel } from './timer-wheel.js'
import { timer_list } from './timer-wheel.js'
import { wait_queue_head } from './wait.js'

export const WQ_UNBOUND: number = 1 << 1
export const WQ_FREEZABLE: number = 1 << 2
export const WQ_MEM_RECLAIM: number = 1 << 3
export const WQ_HIGHPRI: number = 1 << 4
export const WQ_CPU_INTENSIVE: number = 1 << 5
export const WQ_SYSFS: number = 1 << 6
export const WQ_POWER_EFFICIENT: number = 1 << 7
export const __WQ_DRAINING: number = 1 << 16
export const __WQ_ORDERED: number = 1 << 17
export const __WQ_LEGACY: number = 1 << 18
export const __WQ_ORDERED_EXPLICIT: number = 1 << 19

export const WQ_MAX_ACTIVE = 512
export const WQ_MAX_UNBOUND_PER_CPU = 4
export const WQ_DFL_ACTIVE: number = WQ_MAX_ACTIVE / 2
export const WQ_NAME_LEN = 24

export const WORK_STRUCT_PENDING: number = 1 << 0
export const WORK_STRUCT_DELAYED: number = 1 << 1
export const WORK_STRUCT_PWQ: number = 1 << 2
export const WORK_STRUCT_LINKED: number = 1 << 3
export const WORK_STRUCT_COLOR_SHIFT = 4
export const WORK_STRUCT_COLOR_BITS = 4
/** Off queue: somebody cancels the work and waits for its end. */
export const WORK_OFFQ_CANCELING: number = 1 << 8

export const WORK_NR_COLORS: number = (1 << WORK_STRUCT_COLOR_BITS) - 1
/** The colour of works that take no part in flushing. */
export const WORK_NO_COLOR: number = WORK_NR_COLORS

/** work_busy() */
export const WORK_BUSY_PENDING = 1
export const WORK_BUSY_RUNNING = 2

/** "No particular CPU". */
export const WORK_CPU_UNBOUND = -1

export const POOL_MANAGER_ACTIVE: number = 1 << 0
export const POOL_DISASSOCIATED: number = 1 << 2

export const WORKER_DIE: number = 1 << 1
export const WORKER_IDLE: number = 1 << 2
export const WORKER_PREP: number = 1 << 3
export const WORKER_CPU_INTENSIVE: number = 1 << 6
export const WORKER_UNBOUND: number = 1 << 7
export const WORKER_REBOUND: number = 1 << 8
/** A worker with any of these does not count as running. */
export const WORKER_NOT_RUNNING: number =
  WORKER_PREP | WORKER_CPU_INTENSIVE | WORKER_UNBOUND | WORKER_REBOUND

export const MAX_IDLE_WORKERS_RATIO = 4
/** Seconds. */
export const IDLE_WORKER_TIMEOUT_S = 300
export const RESCUER_NICE_LEVEL = -20
export const HIGHPRI_NICE_LEVEL = -20

/** Jiffies before the first call for help, a hundredth of a second but two ticks at least. */
export function MAYDAY_INITIAL_TIMEOUT(hz: number): number {
  return Math.max(Math.floor(hz / 100), 2)
}

/** Jiffies between calls for help. */
export function MAYDAY_INTERVAL(hz: number): number {
  return Math.floor(hz / 10)
}

/**
 * A work's function: plain, or a generator if it may sleep. The work may be queued again, or given
 * up, as soon as it runs.
 */
export type WorkFn<T> = { bivariant(work: work_struct<T>): void | Sleep<void> }['bivariant']

/** One piece of deferred work. `container` is what it is embedded in (Linux: container_of). */
export class work_struct<T = unknown> {
  readonly k: WorkqueueKernel
  readonly container: T
  func: WorkFn<T> | null = null
  /**
   * The low bits of Linux's data word: PENDING, DELAYED, PWQ, LINKED, colour; off queue also
   * CANCELING.
   */
  flags = 0
  /** While queued (WORK_STRUCT_PWQ). */
  pwq: pool_workqueue | null = null
  /** Where it is queued, or where it ran last. */
  pool: worker_pool | null = null
  readonly entry: list_head<work_struct> = new list_head<work_struct>(this)

  constructor(k: WorkqueueKernel, container: T) {
    this.k = k
    this.container = container
  }
}

/** A work with a timer that queues it. */
export class delayed_work<T = unknown> {
  readonly work: work_struct<T>
  readonly timer: timer_list<delayed_work>
  wq: workqueue_struct | null = null
  cpu: number = WORK_CPU_UNBOUND

  constructor(k: WorkqueueKernel, container: T) {
    this.work = new work_struct<T>(k, container)
    this.timer = new timer_list<delayed_work>(k, this)
  }
}

/** What tells one kind of unbound worker from another. */
export interface workqueue_attrs {
  readonly nice: number
  /** CPUs the workers may use, ascending. */
  readonly cpumask: readonly number[]
  /** One pwq for all nodes. */
  readonly no_numa: boolean
}

/** Workers that share a list of works. */
export class worker_pool {
  readonly k: WorkqueueKernel
  readonly id: number
  /** Its CPU, or -1 if unbound. */
  readonly cpu: number
  readonly node: number
  readonly attrs: workqueue_attrs
  flags: number = POOL_DISASSOCIATED
  refcnt = 1
  readonly worklist: list_head<work_struct> = new list_head<work_struct>()
  nr_workers = 0
  nr_idle = 0
  /** Workers that are busy and not asleep; always 0 in unbound pools. */
  nr_running = 0
  /** Last in, first out. */
  readonly idle_list: list_head<worker> = new list_head<worker>()
  /** Who runs which work. */
  readonly busy_hash: Map<work_struct, worker> = new Map()
  /** All workers, a rescuer that helps included. */
  readonly workers: list_head<worker> = new list_head<worker>()
  readonly worker_ida: Set<number> = new Set()
  readonly idle_timer: timer_list<worker_pool>
  readonly mayday_timer: timer_list<worker_pool>
  manager: worker | null = null
  /** Jiffy of the last progress. */
  watchdog_ts = 0
  /** Tasks that wait for the last worker to leave. */
  readonly detach_wait: wait_queue_head

  constructor(k: WorkqueueKernel, id: number, cpu: number, node: number, attrs: workqueue_attrs) {
    this.k = k
    this.id = id
    this.cpu = cpu
    this.node = node
    this.attrs = attrs
    this.idle_timer = new timer_list<worker_pool>(k, this)
    this.mayday_timer = new timer_list<worker_pool>(k, this)
    this.detach_wait = new wait_queue_head(k, 'workers of a pool')
    this.watchdog_ts = k.jiffies
  }
}

/** A workqueue's share in a pool. */
export class pool_workqueue {
  readonly pool: worker_pool
  readonly wq: workqueue_struct
  /** Colour of what is queued now. */
  work_color = 0
  /** Colour that is being waited for, or -1. */
  flush_color = -1
  refcnt = 1
  readonly nr_in_flight: number[] = new Array<number>(WORK_NR_COLORS).fill(0)
  nr_active = 0
  max_active = 0
  /** Works that wait for nr_active to fall. */
  readonly delayed_works: list_head<work_struct> = new list_head<work_struct>()
  readonly pwqs_node: list_head<pool_workqueue> = new list_head<pool_workqueue>(this)
  readonly mayday_node: list_head<pool_workqueue> = new list_head<pool_workqueue>(this)
  readonly unbound_release_work: work_struct<pool_workqueue>

  constructor(wq: workqueue_struct, pool: worker_pool) {
    this.wq = wq
    this.pool = pool
    this.unbound_release_work = new work_struct<pool_workqueue>(wq.k, this)
  }
}

export class worker {
  readonly id: number
  flags: number = WORKER_PREP
  task!: task_struct
  pool: worker_pool | null = null
  /** On the idle list. */
  readonly entry: list_head<worker> = new list_head<worker>(this)
  /** On the pool's list of workers. */
  readonly node: list_head<worker> = new list_head<worker>(this)
  current_work: work_struct | null = null
  current_func: WorkFn<unknown> | null = null
  current_pwq: pool_workqueue | null = null
  /** Works it has taken and will run itself. */
  readonly scheduled: list_head<work_struct> = new list_head<work_struct>()
  /** Jiffy at which it became idle. */
  last_active = 0
  /** The queue it is the rescuer of. */
  readonly rescue_wq: workqueue_struct | null

  constructor(id: number, rescue_wq: workqueue_struct | null = null) {
    this.id = id
    this.rescue_wq = rescue_wq
  }
}

export class workqueue_struct {
  readonly k: WorkqueueKernel
  /** At most 23 characters. */
  readonly name: string
  flags: number
  saved_max_active: number
  readonly pwqs: list_head<pool_workqueue> = new list_head<pool_workqueue>()
  /** By CPU, for bound queues. */
  cpu_pwqs: pool_workqueue[] = []
  /** By node, for unbound queues. */
  numa_pwq_tbl: pool_workqueue[] = []
  dfl_pwq: pool_workqueue | null = null
  work_color = 0
  flush_color = 0
  nr_pwqs_to_flush = 0
  first_flusher: wq_flusher | null = null
  readonly flusher_queue: list_head<wq_flusher> = new list_head<wq_flusher>()
  readonly flusher_overflow: list_head<wq_flusher> = new list_head<wq_flusher>()
  /** Pwqs that need the rescuer. */
  readonly maydays: list_head<pool_workqueue> = new list_head<pool_workqueue>()
  rescuer: worker | null = null
  nr_drainers = 0
  /** Registered below /sys/bus/workqueue. */
  sysfs = false

  constructor(k: WorkqueueKernel, name: string, flags: number, max_active: number) {
    this.k = k
    this.name = name.slice(0, WQ_NAME_LEN - 1)
    this.flags = flags
    this.saved_max_active = max_active
  }
}

/** A task in flush_workqueue. */
export class wq_flusher {
  readonly list: list_head<wq_flusher> = new list_head<wq_flusher>(this)
  /** The colour it waits for; -1 while all colours are taken. */
  flush_color = -1
  readonly done: completion

  constructor(wq: workqueue_struct) {
    this.done = new completion(wq.k, `flush of workqueue ${wq.name}`)
  }
}

/** What workqueues add to a kernel. */
export interface WorkqueueKernel extends TimerKernel {
  readonly wq: WorkqueueState
  /** "events": schedule_work */
  readonly system_wq: workqueue_struct
  readonly system_highpri_wq: workqueue_struct
  readonly system_long_wq: workqueue_struct
  readonly system_unbound_wq: workqueue_struct
  readonly system_freezable_wq: workqueue_struct
  readonly system_power_efficient_wq: workqueue_struct
  readonly system_freezable_power_efficient_wq: workqueue_struct
}

export class WorkqueueState {
  /** All workqueues, oldest first. */
  readonly workqueues: workqueue_struct[] = []
  /** By CPU: the normal and the high-priority pool. */
  readonly cpu_worker_pools: (readonly [worker_pool, worker_pool])[] = []
  /** Unbound pools by their attributes. */
  readonly unbound_pool_hash: Map<string, worker_pool> = new Map()
  workqueue_freezing = false
  /** Tasks that cancel a work someone else is cancelling. */
  readonly cancel_waitq: wait_queue_head
  /** Tasks that wait for a pool's manager to finish. */
  readonly wq_manager_wait: wait_queue_head
  /** Last CPU taken from the mask for unbound works. */
  rr_cpu = -1
  #next_pool_id = 0

  constructor(k: TimerKernel) {
    this.cancel_waitq = new wait_queue_head(k, 'end of a cancelled work')
    this.wq_manager_wait = new wait_queue_head(k, 'manager of a pool')
  }

  next_pool_id(): number {
    return this.#next_pool_id++
  }
}

/** Every pool there is, by id. */
export function all_pools(k: WorkqueueKernel): worker_pool[] {
  return [...k.wq.cpu_worker_pools.flat(), ...k.wq.unbound_pool_hash.values()]
}

// --- the data word

export function get_work_color(work: work_struct): number {
  return (work.flags >> WORK_STRUCT_COLOR_SHIFT) & WORK_NR_COLORS
}

export function work_color_to_flags(color: number): number {
  return color << WORK_STRUCT_COLOR_SHIFT
}

/** The pwq of a queued work. */
export function get_work_pwq(work: work_struct): pool_workqueue | null {
  return (work.flags & WORK_STRUCT_PWQ) !== 0 ? work.pwq : null
}

export function set_work_pwq(work: work_struct, pwq: pool_workqueue, extra_flags: number): void {
  work.flags = WORK_STRUCT_PENDING | WORK_STRUCT_PWQ | extra_flags
  work.pwq = pwq
  work.pool = pwq.pool
}

/** Off queue, last seen in `pool`; `flags` is PENDING, CANCELING, both or none. */
export function set_work_off_queue(
  work: work_struct,
  pool: worker_pool | null,
  flags: number,
): void {
  work.flags = flags
  work.pwq = null
  work.pool = pool
}

export function test_and_set_pending(work: work_struct): boolean {
  const was = (work.flags & WORK_STRUCT_PENDING) !== 0
  work.flags |= WORK_STRUCT_PENDING
  return was
}

/** Queued, or waiting for its timer, or about to be: queueing it now would do nothing. */
export function work_pending(work: work_struct): boolean {
  return (work.flags & WORK_STRUCT_PENDING) !== 0
}

export function delayed_work_pending(dwork: delayed_work): boolean {
  return work_pending(dwork.work)
}

export function work_is_canceling(work: work_struct): boolean {
  return (work.flags & (WORK_STRUCT_PWQ | WORK_OFFQ_CANCELING)) === WORK_OFFQ_CANCELING
}
