// An emulated RDMA fabric in virtual time: connections, queue pairs, messages, reads and writes of the other's memory. Both
// ends are in one machine, so that an address is an address. Its users see the interface of src/drivers/nvme/verbs.ts.
//
// It works as soft RoCE does, as far as its users can see: a queue pair has three tasklets (requester, completer, responder),
// and messages of the connection manager go by a queue pair of their own.
//
//   post_send                 the requester is scheduled; when it runs, the message is with the other end, and the send completes
//   queue pair to error       all three are scheduled; what is posted is flushed
//   completion                called in a softirq after it (host: IRQ_POLL), or queued for a worker of this CPU (target: ib-comp-wq)
//   rdma_disconnect           the queue pair goes to error, and a DREQ is sent; the other end hears DISCONNECTED, disconnects too,
//                             which answers with a DREP, and then this end hears DISCONNECTED
//   timewait                  the number of a connection that has ended is not used again for two seconds
//   cut()                     the wire is gone: connections are told they are disconnected
//   silence()                 the wire is dead: nothing arrives, nobody is told; who sends tries for RETRY_S, and its queue pair
//                             goes to error with RETRY_EXC_ERR
//   refuse                    what listens no more answers REJECTED
//
// Latencies are not modelled: a message arrives when whoever sent it lets others run. What goes on inside is not traced, as
// in recordings: only what users call is, and by name the calls by which ib_core starts works and timers of its own, in whose
// place the fabric's events stand.

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { __raise_softirq_irqoff, IRQ_POLL_SOFTIRQ, open_softirq } from '../kernel/softirq.js'
import { tasklet_schedule, tasklet_struct } from '../kernel/tasklet.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'
import { alloc_workqueue } from '../kernel/workqueue-alloc.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_delayed_work,
  queue_work,
} from '../kernel/workqueue-queue.js'
import {
  delayed_work,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  work_struct,
  type workqueue_struct,
} from '../kernel/workqueue-structs.js'

type Status = 'SUCCESS' | 'WR_FLUSH_ERR' | 'RETRY_EXC_ERR'
type Done = (status: Status, message: Uint8Array | null) => Sleep<void> | undefined
interface QpInit {
  readonly poll: 'softirq' | 'workqueue'
  readonly max_send_wr: number
  readonly max_recv_wr: number
  readonly cqe: number
}
type EventName =
  | 'ADDR_RESOLVED'
  | 'ADDR_ERROR'
  | 'ROUTE_RESOLVED'
  | 'CONNECT_REQUEST'
  | 'ESTABLISHED'
  | 'REJECTED'
  | 'UNREACHABLE'
  | 'DISCONNECTED'

interface Event {
  readonly event: EventName
  readonly data: Uint8Array
  readonly id?: VerbsId
}

/** Methods, so that a user may say in more words what an event is. */
type Handler = { handle(event: Event): void }['handle']

const NOTHING = new Uint8Array(0)

/** s of sending in vain: eight times the 2.1 s that soft RoCE waits for an answer, less what the first begins with. */
const RETRY_S = 16

/** s that the number of an ended connection is kept. */
const TIMEWAIT_S = 2.048

/** What is done unseen. */
function quiet(k: Kernel, what: () => void): void {
  const { on } = k.trace
  k.trace.on = false
  what()
  k.trace.on = on
}

type Job = () => Sleep<void> | undefined

/** A delayed work of ib_core's, as it is seen from outside: the fabric's own events stand for what it does. */
function show_delayed_work(k: Kernel): void {
  const m = enter(k, 'mod_delayed_work_on')
  trace_call(k, 'del_timer')
  const q = enter(k, '__queue_delayed_work')
  trace_call(k, '__queue_work')
  leave(k, q)
  leave(k, m)
}

/** A work that does what is given to it in order. */
class Jobs {
  readonly #k: Kernel
  readonly #wq: workqueue_struct
  readonly #work: work_struct<Jobs>
  readonly #jobs: Job[] = []

  constructor(k: Kernel, wq: workqueue_struct, name: string) {
    this.#k = k
    this.#wq = wq
    this.#work = new work_struct<Jobs>(k, this)
    const run = {
      *[name]({ container }: work_struct<Jobs>): Sleep<void> {
        yield* container.#run()
      },
    }
    INIT_WORK(this.#work, run[name]!)
  }

  push(job: Job): void {
    this.#jobs.push(job)
    quiet(this.#k, () => void queue_work(this.#wq, this.#work))
  }

  *#run(): Sleep<void> {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      const sleep = job()
      if (sleep !== undefined) yield* sleep
    }
  }
}

export class VerbsFabric {
  readonly k: Kernel
  readonly bytes: Uint8Array
  readonly listeners: Map<string, Handler> = new Map()
  readonly ids: Set<VerbsId> = new Set()
  /** Events of connections, one after the other. */
  readonly cm: Jobs
  readonly cm_wq: workqueue_struct
  readonly comp_wq: workqueue_struct
  readonly #qp1: tasklet_struct
  readonly #mads: (() => void)[] = []
  readonly #polled: Job[] = []

  /** @param bytes the machine's memory */
  constructor(k: Kernel, bytes: Uint8Array) {
    this.k = k
    this.bytes = bytes
    this.cm_wq = alloc_workqueue(k, 'ib_cm', 0, 1)!
    this.comp_wq = alloc_workqueue(k, 'ib-comp-wq', WQ_HIGHPRI | WQ_MEM_RECLAIM, 0)!
    this.cm = new Jobs(k, this.cm_wq, 'cm_work_handler')
    this.#qp1 = new tasklet_struct(k, () => {
      for (const mad of this.#mads.splice(0)) mad()
    })
    open_softirq(k, IRQ_POLL_SOFTIRQ, () => {
      for (const taken of this.#polled.splice(0)) void taken()
    })
  }

  rdma_create_id(handler: Handler): VerbsId {
    const id = new VerbsId(this, handler)
    this.ids.add(id)
    return id
  }

  rdma_listen(address: string, handler: Handler): void {
    this.listeners.set(address, handler)
  }

  rdma_unlisten(address: string): void {
    this.listeners.delete(address)
  }

  /** A message of the connection manager: `arrived` is called at the other end. */
  mad(arrived: () => void): void {
    this.#mads.push(arrived)
    tasklet_schedule(this.#qp1)
  }

  /** What is to be done in the softirq for completion queues. */
  irq_poll(taken: Job): void {
    this.#polled.push(taken)
    quiet(this.k, () => __raise_softirq_irqoff(this.k, IRQ_POLL_SOFTIRQ))
  }

  timewait(): void {
    const work = new delayed_work(this.k, null)
    INIT_DELAYED_WORK(work, function cm_work_handler() {})
    queue_delayed_work(this.cm_wq, work, Math.round(TIMEWAIT_S * this.k.hz))
  }

  /** Every connection breaks. */
  cut(): void {
    for (const id of [...this.ids]) if (id.established) id.lose()
  }

  /** Every connection that is there goes dead. */
  silence(): void {
    for (const id of this.ids) id.silent ||= id.established
  }
}

interface QueuePair {
  readonly init: QpInit
  readonly req: tasklet_struct
  readonly comp: tasklet_struct
  readonly resp: tasklet_struct
  readonly cq: Jobs
  error: boolean
}

export class VerbsId {
  handler: Handler
  peer: VerbsId | null = null
  established = false
  /** The wire is dead. */
  silent = false
  /** Sends that nobody hears. */
  readonly #unheard: Done[] = []
  readonly #fabric: VerbsFabric
  #qp: QueuePair | null = null
  #address = ''
  #destroyed = false
  /** Its user has disconnected it. */
  #closed = false
  /** A DREQ has come and is to be answered; one has gone and is not answered. */
  #asked: VerbsId | null = null
  #asking = false
  #sends: (() => void)[] = []
  #recvs: Done[] = []
  #inbox: Uint8Array[] = []
  /** Completions that are still to be taken. */
  #pending = 0
  readonly #drained: wait_queue_head

  constructor(fabric: VerbsFabric, handler: Handler) {
    this.#fabric = fabric
    this.handler = handler
    this.#drained = new wait_queue_head(fabric.k, 'a queue pair that drains')
  }

  get has_qp(): boolean {
    return this.#qp !== null
  }

  #event(event: EventName, data: Uint8Array = NOTHING, id?: VerbsId): void {
    this.#fabric.cm.push(() => {
      if (!this.#destroyed) this.handler(id ? { event, data, id } : { event, data })
      return undefined
    })
  }

  // -------------------------------------------------------------- connecting

  rdma_resolve_addr(address: string): void {
    const { k } = this.#fabric
    this.#address = address
    trace_call(k, 'init_timer_key')
    show_delayed_work(k)
    this.#event('ADDR_RESOLVED')
  }

  rdma_resolve_route(): void {
    const { k } = this.#fabric
    const t = enter(k, 'queue_work_on')
    trace_call(k, '__queue_work')
    leave(k, t)
    this.#event('ROUTE_RESOLVED')
  }

  rdma_connect(data: Uint8Array): void {
    const fabric = this.#fabric
    trace_call(fabric.k, 'init_timer_key')
    const listener = fabric.listeners.get(this.#address)
    if (listener === undefined) {
      fabric.mad(() => this.#event('REJECTED', Uint8Array.of(0, 0, 0, 0)))
      return
    }
    const other = new VerbsId(fabric, listener)
    fabric.ids.add(other)
    this.peer = other
    other.peer = this
    fabric.mad(() => other.#event('CONNECT_REQUEST', data, other))
  }

  rdma_accept(data: Uint8Array): void {
    const { peer } = this
    if (peer === null) return
    this.established = true
    peer.established = true
    this.#fabric.mad(() => {
      peer.#event('ESTABLISHED', data)
      this.#event('ESTABLISHED')
    })
  }

  rdma_reject(data: Uint8Array): void {
    const { peer } = this
    this.peer = null
    if (peer === null) return
    peer.peer = null
    this.#fabric.mad(() => peer.#event('REJECTED', data))
  }

  // -------------------------------------------------------------- the end

  rdma_disconnect(): void {
    const { peer } = this
    this.#closed = true
    this.#modify_error()
    if (this.established && peer !== null) {
      this.established = false
      this.#asking = true
      if (this.silent) return
      peer.established = false
      this.#fabric.mad(() => peer.#dreq(this))
    } else this.#answer()
  }

  /** The other end wants to end it. */
  #dreq(from: VerbsId): void {
    this.#asked = from
    this.#event('DISCONNECTED')
    if (this.#closed || this.#destroyed) this.#drep()
  }

  #answer(): void {
    if (this.#asked === null) return
    this.#fabric.timewait()
    this.#drep()
  }

  #drep(): void {
    const asked = this.#asked
    this.#asked = null
    if (asked === null) return
    this.#fabric.mad(() => {
      if (asked.#asking) asked.#event('DISCONNECTED')
      asked.#asking = false
    })
  }

  /** The wire is gone. */
  lose(): void {
    const { peer } = this
    this.established = false
    this.#event('DISCONNECTED')
    if (peer?.established) peer.lose()
  }

  rdma_destroy_id(): void {
    const { k } = this.#fabric
    if (this.#asking) {
      show_delayed_work(k)
      this.#fabric.timewait()
    }
    this.#answer()
    this.#asking = false
    this.#destroyed = true
    this.established = false
    this.#fabric.ids.delete(this)
    if (this.peer) this.peer.peer = null
    this.peer = null
  }

  // -------------------------------------------------------------- the queue pair

  /** What its user asked for; null without a queue pair. */
  get qp_init(): QpInit | null {
    return this.#qp?.init ?? null
  }

  rdma_create_qp(init: QpInit): void {
    const { k, comp_wq } = this.#fabric
    this.#qp = {
      init,
      req: new tasklet_struct(k, () => this.#requester()),
      comp: new tasklet_struct(k, () => this.#look()),
      resp: new tasklet_struct(k, () => this.#responder()),
      cq: new Jobs(k, comp_wq, 'ib_cq_poll_work'),
      error: false,
    }
    for (let timers = 0; timers < 3; timers++) trace_call(k, 'init_timer_key')
  }

  rdma_destroy_qp(): void {
    const { k } = this.#fabric
    for (let timers = 0; timers < 2; timers++) trace_call(k, 'del_timer_sync')
  }

  #modify_error(): void {
    if (this.#qp === null) return
    this.#qp.error = true
    for (const task of [this.#qp.resp, this.#qp.comp, this.#qp.req]) tasklet_schedule(task)
  }

  /** Whoever drains the queue pair looks whether it is over. */
  #look(): void {
    quiet(this.#fabric.k, () => wake_up(this.#drained))
  }

  /** Sends what is posted. */
  #requester(): void {
    for (const send of this.#sends.splice(0)) send()
    if (this.#qp!.error)
      for (const done of this.#unheard.splice(0)) this.#complete(done, 'WR_FLUSH_ERR', null)
    this.#look()
  }

  /** Receives what has come; what is posted is flushed when the queue pair is in error. */
  #responder(): void {
    if (this.#qp!.error) {
      for (const done of this.#recvs.splice(0)) this.#complete(done, 'WR_FLUSH_ERR', null)
      this.#inbox = []
    } else this.#deliver()
    this.#look()
  }

  #complete(done: Done, status: Status, message: Uint8Array | null): void {
    const { init, cq } = this.#qp!
    if (++this.#pending > init.cqe) throw new Error(`more than ${init.cqe} completions at once`)
    const taken = (): Sleep<void> | undefined => {
      const sleep = this.#destroyed ? undefined : done(status, message)
      if (--this.#pending === 0) this.#look()
      return sleep
    }
    if (init.poll === 'softirq') this.#fabric.irq_poll(taken)
    else cq.push(taken)
  }

  #deliver(): void {
    while (this.#inbox.length > 0 && this.#recvs.length > 0)
      this.#complete(this.#recvs.shift()!, 'SUCCESS', this.#inbox.shift()!)
  }

  ib_post_recv(done: Done): void {
    const qp = this.#qp!
    const { max_recv_wr } = qp.init
    if (this.#recvs.push(done) > max_recv_wr) throw new Error(`more than ${max_recv_wr} receives`)
    if (qp.error || this.#inbox.length > 0) tasklet_schedule(qp.resp)
  }

  #post(send: (good: boolean) => void, done: Done | null): void {
    const { max_send_wr } = this.#qp!.init
    if (this.#sends.length + this.#unheard.length >= max_send_wr)
      throw new Error(`more than ${max_send_wr} sends`)
    this.#sends.push(() => {
      if (this.silent && !this.#qp!.error) {
        this.#try_again(done ?? (() => undefined))
        return
      }
      const good = this.established && !this.#qp!.error
      send(good)
      if (done) this.#complete(done, good ? 'SUCCESS' : 'WR_FLUSH_ERR', null)
    })
    tasklet_schedule(this.#qp!.req)
  }

  /** Nobody answers: so it goes on, until the queue pair gives up. */
  #try_again(done: Done): void {
    this.#unheard.push(done)
    if (this.#unheard.length > 1) return
    const { k, cm_wq } = this.#fabric
    const work = new delayed_work<VerbsId>(k, this)
    INIT_DELAYED_WORK(work, function retransmit_timer({ container }) {
      const first = container.#qp!.error ? undefined : container.#unheard.shift()
      if (first === undefined) return
      container.#complete(first, 'RETRY_EXC_ERR', null)
      container.#modify_error()
    })
    quiet(k, () => void queue_delayed_work(cm_wq, work, RETRY_S * k.hz))
  }

  ib_post_send(message: Uint8Array, done: Done | null): void {
    this.#post(good => {
      const { peer } = this
      if (!good || peer === null || peer.#qp === null) return
      peer.#inbox.push(message)
      peer.#deliver()
    }, done)
  }

  rdma_read(remote: number, local: number, bytes: number, done: Done): void {
    this.#post(good => {
      if (good) this.#fabric.bytes.copyWithin(local, remote, remote + bytes)
    }, done)
  }

  rdma_write(remote: number, local: number, bytes: number): void {
    if (this.established && !this.silent)
      this.#fabric.bytes.copyWithin(remote, local, local + bytes)
  }

  /** Once for what is sent, once for what is received. */
  *ib_drain_qp(): Sleep<void> {
    const qp = this.#qp
    if (qp === null) return
    const over = (): boolean => !qp.req.scheduled && !qp.resp.scheduled && this.#pending === 0
    for (let half = 0; half < 2; half++) {
      this.#modify_error()
      yield* wait_event(this.#drained, over)
    }
  }
}
