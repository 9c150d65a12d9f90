// A kernel with a few workqueues and works, and beside it the plain model: sets and counters that
// say what must be true.
//
//   a work        pending or not, how many runs were accepted, begun, ended, taken back
//   a queue       what is queued now, in order; how many run at once
//   a flush       what was queued or running when it began: it ends when the last of that has ended
//
// The model learns from the answers of the calls and from the trace events `workqueue_queue_work`
// and `workqueue_execute_start`, and checks at every step.

import type { Sleep } from '../../src/kernel/core.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import type { TraceFields, TraceSink } from '../../src/kernel/trace.js'
import {
  alloc_ordered_workqueue,
  alloc_workqueue,
  cancel_delayed_work,
  cancel_delayed_work_sync,
  create_workqueue,
  delayed_work,
  flush_delayed_work,
  flush_work,
  flush_workqueue,
  INIT_DELAYED_WORK,
  mod_delayed_work_on,
  queue_delayed_work_on,
  WORK_CPU_UNBOUND,
  WQ_CPU_INTENSIVE,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_UNBOUND,
  work_busy,
  work_pending,
  type workqueue_struct,
} from '../../src/kernel/workqueue.js'
import { VirtualKernel } from '../unit/kernel/support.js'

export const NR_CPUS = 4

interface QueueKind {
  readonly make: (v: VirtualKernel) => workqueue_struct | null
  readonly max_active: number
  readonly unbound: boolean
  readonly ordered: boolean
}

const kind = (
  make: QueueKind['make'],
  max_active: number,
  unbound = false,
  ordered = false,
): QueueKind => ({ make, max_active, unbound, ordered })

export const KINDS: readonly QueueKind[] = [
  kind(v => alloc_workqueue(v.k, 'bound', 0, 0), 256),
  kind(v => alloc_workqueue(v.k, 'two', WQ_HIGHPRI | WQ_MEM_RECLAIM, 2), 2),
  kind(v => create_workqueue(v.k, 'serial'), 1),
  kind(v => alloc_workqueue(v.k, 'unbound', WQ_UNBOUND | WQ_MEM_RECLAIM, 3), 3, true),
  kind(v => alloc_ordered_workqueue(v.k, 'ordered', WQ_MEM_RECLAIM), 1, true, true),
  kind(v => alloc_workqueue(v.k, 'intensive', WQ_CPU_INTENSIVE, 3), 3),
]

/** What a work does when it runs. */
export type Behaviour = 'instant' | 'turn' | 'sleep' | 'long' | 'again'

interface Queue {
  readonly kind: QueueKind
  readonly wq: workqueue_struct
  readonly queued: Work[]
  /** Running now, by CPU (or 0 for an unbound queue). */
  readonly running: Map<number, number>
}

interface Flush {
  readonly name: string
  /** Runs that have to end first. */
  left: Set<string>
  /** When the last of them had ended, in ns. */
  emptied: number
  returned: number
  /** One of its runs was taken back, and its barrier left behind: it may run later. */
  bereft: boolean
}

export class Work {
  readonly dwork: delayed_work<Work>
  readonly queue: Queue
  readonly name: string
  readonly behaviour: Behaviour
  /** Name of the run that is queued, and of the one that runs. */
  queued: string | null = null
  running: string | null = null
  on_timer = false
  cancelling = false
  /** How often it was queued, has ended, was taken off the queue. */
  queued_total = 0
  ended = 0
  taken_back = 0
  /** Whether it has queued itself. */
  repeated = false

  constructor(world: World, queue: Queue, index: number, behaviour: Behaviour) {
    this.queue = queue
    this.name = `work${index}`
    this.behaviour = behaviour
    this.dwork = new delayed_work<Work>(world.v.k, this)
    const body = (): Sleep<void> => world.body(this)
    Object.defineProperty(body, 'name', { value: this.name })
    INIT_DELAYED_WORK(this.dwork, body)
  }

  get pending(): boolean {
    return this.on_timer || this.queued !== null || this.cancelling
  }

  get runs(): string[] {
    return [this.running, this.queued].filter(run => run !== null)
  }

  get next_run(): string {
    return `${this.name}#${this.queued_total + 1}`
  }
}

/**
 * flush_work and flush_delayed_work put a barrier behind a run that is queued; when that is taken back, the barrier is a work by
 * itself, which may run before an earlier run has ended, and after all have. flush_workqueue counts, and is exact.
 */
function loose({ name, bereft }: Flush): boolean {
  return bereft && !name.includes('queue ')
}

function must(condition: boolean, text: string): void {
  if (!condition) throw new Error(`the model disagrees: ${text}`)
}

export class World implements TraceSink {
  readonly v: VirtualKernel
  readonly queues: Queue[]
  readonly works: Work[]
  readonly flushes: Flush[] = []
  memory = true

  constructor(behaviours: readonly Behaviour[]) {
    this.v = new VirtualKernel({ nrCpus: NR_CPUS, canCreateWorker: () => this.memory })
    this.queues = KINDS.map(k => ({
      kind: k,
      wq: k.make(this.v)!,
      queued: [],
      running: new Map(),
    }))
    this.v.k.runReady()
    this.works = behaviours.map((b, i) => new Work(this, this.queues[i % KINDS.length], i, b))
    this.v.k.trace.sink = this
    this.v.k.trace.on = true
  }

  // --- what the kernel tells

  enter(): void {}
  leave(): void {}

  event(name: string, fields: TraceFields): void {
    const work = this.works.find(w => w.name === fields['function'])
    if (work === undefined) return
    if (name === 'workqueue_queue_work') this.#on_queue(work)
    if (name === 'workqueue_execute_start') this.#on_start(work)
  }

  #on_queue(work: Work): void {
    must(work.queued === null, `${work.name} is queued twice`)
    work.on_timer = false
    work.queued = work.next_run
    work.queued_total++
    work.queue.queued.push(work)
  }

  #on_start(work: Work): void {
    const { queue } = work
    must(work.queued !== null, `${work.name} runs without having been queued`)
    must(work.running === null, `${work.name} runs twice at once`)
    if (queue.kind.ordered) must(queue.queued[0] === work, `${work.name} runs out of order`)
    queue.queued.splice(queue.queued.indexOf(work), 1)
    work.running = work.queued
    work.queued = null
    const place = this.#place(queue)
    const now = (queue.running.get(place) ?? 0) + 1
    must(now <= queue.kind.max_active, `${queue.wq.name} runs ${now} works at once`)
    queue.running.set(place, now)
  }

  #place(queue: Queue): number {
    return queue.kind.unbound ? 0 : this.v.k.cpu.id
  }

  /** What every work does. */
  *body(work: Work): Sleep<void> {
    const { k } = this.v
    const place = this.#place(work.queue)
    must((work_busy(work.dwork.work) & 2) !== 0, `${work.name} runs and work_busy denies it`)
    if (work.behaviour === 'turn') yield 'turn'
    if (work.behaviour === 'sleep') yield* msleep(k, 10)
    if (work.behaviour === 'long') yield* msleep(k, 150)
    if (work.behaviour === 'again' && !work.repeated) {
      work.repeated = true
      this.queue(work, WORK_CPU_UNBOUND, 0)
      yield* msleep(k, 4)
    }
    const { running } = work.queue
    running.set(place, running.get(place)! - 1)
    this.#gone(work.running!, false)
    work.running = null
    work.ended++
  }

  // --- calls, each beside its model

  /** queue_delayed_work_on. */
  queue(work: Work, cpu: number, delay: number): void {
    const idle = !work.pending
    if (idle && delay > 0) work.on_timer = true
    const ret = queue_delayed_work_on(cpu, work.queue.wq, work.dwork, delay)
    must(ret === idle, `queue_delayed_work(${work.name}) says ${ret}`)
  }

  mod(work: Work, cpu: number, delay: number): void {
    const { pending } = work
    if (!work.cancelling) {
      this.#take_back(work)
      work.on_timer = delay > 0
    }
    const ret = mod_delayed_work_on(cpu, work.queue.wq, work.dwork, delay)
    must(ret === pending, `mod_delayed_work(${work.name}) says ${ret}`)
  }

  cancel(work: Work): void {
    const expected = work.pending && !work.cancelling
    if (!work.cancelling) this.#take_back(work)
    const ret = cancel_delayed_work(work.dwork)
    must(ret === expected, `cancel_delayed_work(${work.name}) says ${ret}`)
  }

  cancel_sync(work: Work): void {
    const world = this
    this.v.k.spawn('canceller', function* () {
      if (work.cancelling) return
      const { pending } = work
      world.#take_back(work)
      work.cancelling = true
      const ret = yield* cancel_delayed_work_sync(work.dwork)
      work.cancelling = false
      must(ret === pending, `cancel_delayed_work_sync(${work.name}) says ${ret}`)
      must(work.running === null, `${work.name} still runs after its cancel`)
    })
  }

  /** The work is off its timer, off its queue. */
  #take_back(work: Work): void {
    work.on_timer = false
    if (work.queued === null) return
    work.queue.queued.splice(work.queue.queued.indexOf(work), 1)
    this.#gone(work.queued, true)
    work.queued = null
    work.taken_back++
  }

  flush_work(work: Work): void {
    this.#flush(
      `flush_work ${work.name}`,
      () => work.runs,
      () => flush_work(work.dwork.work),
    )
  }

  flush_delayed(work: Work): void {
    const runs = (): string[] => (work.on_timer ? [...work.runs, work.next_run] : work.runs)
    this.#flush(`flush_delayed_work ${work.name}`, runs, () => flush_delayed_work(work.dwork))
  }

  flush_queue(index: number): void {
    const queue = this.queues[index]
    const name = `flush_workqueue ${queue.wq.name}`
    // With 15 colours in use at once flushes wait for more than they must: not what is tested here.
    const waiting = this.flushes.filter(f => f.name === name && f.returned < 0)
    if (waiting.length >= 12) return
    const mine = (): Work[] => this.works.filter(work => work.queue === queue)
    this.#flush(
      name,
      () => mine().flatMap(work => work.runs),
      function* () {
        yield* flush_workqueue(queue.wq)
        return null
      },
    )
  }

  #flush(name: string, runs: () => string[], sleep: () => Sleep<boolean | null>): void {
    const { v } = this
    const flush: Flush = { name, left: new Set(), emptied: -1, returned: -1, bereft: false }
    this.flushes.push(flush)
    v.k.spawn(name, function* () {
      flush.left = new Set(runs())
      const waits = flush.left.size > 0
      if (!waits) flush.emptied = v.ns
      const ret = yield* sleep()
      must(ret === null || ret === waits, `${name} says ${ret}`)
      must(
        flush.left.size === 0 || loose(flush),
        `${name} returns before ${[...flush.left].join()}`,
      )
      flush.returned = v.ns
    })
  }

  /** A run has ended or was taken back: tells the flushes that wait for it. */
  #gone(run: string, taken_back: boolean): void {
    for (const flush of this.flushes) {
      if (!flush.left.delete(run)) continue
      if (taken_back) flush.bereft = true
      if (flush.left.size === 0) flush.emptied = this.v.ns
    }
  }

  // --- checks

  /** What must hold at any time. */
  check(): void {
    for (const work of this.works) {
      const { dwork, name } = work
      must(work_pending(dwork.work) === work.pending, `${name} is pending or not`)
      const busy = (work.pending ? 1 : 0) + (work.running === null ? 0 : 2)
      must(work_busy(dwork.work) === busy, `work_busy(${name}) is ${work_busy(dwork.work)}`)
    }
  }

  /** What must hold when everything has come to rest. */
  check_rest(): void {
    this.check()
    for (const work of this.works) {
      must(!work.pending && work.running === null, `${work.name} never ended`)
      must(work.queued_total === work.ended + work.taken_back, `${work.name} lost a run`)
    }
    for (const flush of this.flushes) {
      must(flush.returned >= 0, `${flush.name} never returned`)
      const exact = flush.returned === flush.emptied
      must(exact || loose(flush), `${flush.name} returned late`)
    }
  }
}
