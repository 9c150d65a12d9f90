// An emulated RDMA fabric in virtual time: connections, queue pairs, messages, reads and writes of the other's memory. Both
// ends are in one machine, so that an address is an address. Its users see the interface of src/drivers/nvme/verbs.ts.
//
// It works as soft RoCE does, as far as its users can see: a queue pair has three tasklets (requester, completer, responder),
// and messages of the connection manager go by a queue pair of their own.
//
//   post_send                 the requester is scheduled; when it runs, messages go to the other end, whose answer completes them
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
// A message is there when whoever sent it lets others run, or later: a fabric may have a latency, by chance also more. What is
// under way when a connection breaks or goes silent is lost. What goes on inside is not traced, as in recordings: only what users
// call is, and by name the calls by which ib_core starts works and timers of its own, in whose place the fabric's events stand.
// Queue pairs are in verbs-qp.ts, memory and its keys in verbs-memory.ts.

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { __raise_softirq_irqoff, IRQ_POLL_SOFTIRQ, open_softirq } from '../kernel/softirq.js'
import { tasklet_schedule, tasklet_struct } from '../kernel/tasklet.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { alloc_workqueue } from '../kernel/workqueue-alloc.js'
import { INIT_DELAYED_WORK, queue_delayed_work } from '../kernel/workqueue-queue.js'
import {
  delayed_work,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  type workqueue_struct,
} from '../kernel/workqueue-structs.js'
import { Flow, type Job, Jobs, quiet, Wire, type WireTimes } from './verbs-jobs.js'
import { type ProtectionDomain, VerbsMemory } from './verbs-memory.js'
import { type QpInit, QueuePair, type SendWr } from './verbs-qp.js'

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

/** s that the number of an ended connection is kept. */
const TIMEWAIT_S = 2.048

/** A delayed work of ib_core's, as it is seen from outside: the fabric's own events stand for what it does. */
function show_delayed_work(k: Kernel): void {
  const m = enter(k, 'mod_delayed_work_on')
  trace_call(k, 'del_timer')
  const q = enter(k, '__queue_delayed_work')
  trace_call(k, '__queue_work')
  leave(k, q)
  leave(k, m)
}

/** What a fabric is like. */
export interface VerbsOptions extends Partial<WireTimes> {
  /** Memory regions that the device has: soft RoCE's 2048. */
  readonly max_mr?: number
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
  readonly memory: VerbsMemory
  readonly wire: Wire
  /** Pieces of memory that one request reads or writes. */
  readonly max_sge: number = 32
  /** Turns what is sent into something else, for those who want to see what becomes of it. */
  tamper: ((wr: SendWr) => SendWr) | null = null
  readonly #qp1: tasklet_struct
  readonly #mads: { readonly flow: Flow; readonly arrived: () => void }[] = []
  readonly #polled: Job[] = []

  /** @param bytes the machine's memory */
  constructor(k: Kernel, bytes: Uint8Array, options: VerbsOptions = {}) {
    const { latencyNs = 0, jitterNs = 0, seed = 1, max_mr = 2048 } = options
    this.k = k
    this.bytes = bytes
    this.memory = new VerbsMemory(bytes.length, max_mr)
    this.wire = new Wire(k, { latencyNs, jitterNs, seed })
    this.cm_wq = alloc_workqueue(k, 'ib_cm', 0, 1)!
    this.comp_wq = alloc_workqueue(k, 'ib-comp-wq', WQ_HIGHPRI | WQ_MEM_RECLAIM, 0)!
    this.cm = new Jobs(k, this.cm_wq, 'cm_work_handler')
    this.#qp1 = new tasklet_struct(k, () => {
      for (const { flow, arrived } of this.#mads.splice(0)) this.wire.carry(flow, arrived)
    })
    open_softirq(k, IRQ_POLL_SOFTIRQ, () => {
      for (const taken of this.#polled.splice(0)) void taken()
    })
  }

  /** @param global whether a key to all memory is wanted (IB_PD_UNSAFE_GLOBAL_RKEY) */
  ib_alloc_pd(global: boolean): ProtectionDomain {
    return this.memory.ib_alloc_pd(global)
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
  mad(flow: Flow, arrived: () => void): void {
    this.#mads.push({ flow, arrived })
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

export class VerbsId {
  handler: Handler
  peer: VerbsId | null = null
  established = false
  /** The wire is dead. */
  silent = false
  qp: QueuePair | null = null
  destroyed = false
  readonly #fabric: VerbsFabric
  /** Messages of the connection manager. */
  readonly #flow = new Flow()
  #address = ''
  /** Its user has disconnected it. */
  #closed = false
  /** A DREQ has come and is to be answered; one has gone and is not answered. */
  #asked: VerbsId | null = null
  #asking = false

  constructor(fabric: VerbsFabric, handler: Handler) {
    this.#fabric = fabric
    this.handler = handler
  }

  get has_qp(): boolean {
    return this.qp !== null
  }

  #event(event: EventName, data: Uint8Array = NOTHING, id?: VerbsId): void {
    this.#fabric.cm.push(() => {
      if (!this.destroyed) this.handler(id ? { event, data, id } : { event, data })
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
    fabric.mad(this.#flow, () => this.#asks(data))
  }

  /** The request is there: somebody listens, or not. */
  #asks(data: Uint8Array): void {
    if (this.destroyed) return
    const fabric = this.#fabric
    const listener = fabric.listeners.get(this.#address)
    const other = new VerbsId(fabric, listener ?? (() => undefined))
    if (listener === undefined) {
      fabric.wire.carry(other.#flow, () => this.#event('REJECTED', Uint8Array.of(0, 0, 0, 0)))
      return
    }
    fabric.ids.add(other)
    this.peer = other
    other.peer = this
    other.#event('CONNECT_REQUEST', data, other)
  }

  rdma_accept(data: Uint8Array): void {
    const { peer } = this
    if (peer === null) return
    const { wire } = this.#fabric
    this.established = true
    peer.established = true
    this.#fabric.mad(this.#flow, () => {
      if (peer.established) peer.#event('ESTABLISHED', data)
      wire.carry(peer.#flow, () => {
        if (this.established) this.#event('ESTABLISHED')
      })
    })
  }

  rdma_reject(data: Uint8Array): void {
    const { peer } = this
    this.peer = null
    if (peer === null) return
    peer.peer = null
    this.#fabric.mad(this.#flow, () => peer.#event('REJECTED', data))
  }

  // -------------------------------------------------------------- the end

  rdma_disconnect(): void {
    const { peer } = this
    this.#closed = true
    this.qp?.modify_error()
    if (this.established && peer !== null) {
      this.established = false
      this.#asking = true
      if (this.silent) return
      peer.established = false
      this.#fabric.mad(this.#flow, () => peer.#dreq(this))
    } else this.#answer()
  }

  /** The other end wants to end it. */
  #dreq(from: VerbsId): void {
    this.#asked = from
    this.#event('DISCONNECTED')
    if (this.#closed || this.destroyed) this.#drep()
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
    this.#fabric.mad(this.#flow, () => {
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
    this.destroyed = true
    this.established = false
    this.#fabric.ids.delete(this)
    if (this.peer) this.peer.peer = null
    this.peer = null
  }

  // -------------------------------------------------------------- the queue pair

  /** What its user asked for; null without a queue pair. */
  get qp_init(): QpInit | null {
    return this.qp?.init ?? null
  }

  rdma_create_qp(init: QpInit): void {
    const { k } = this.#fabric
    this.qp = new QueuePair(this.#fabric, this, init)
    for (let timers = 0; timers < 3; timers++) trace_call(k, 'init_timer_key')
  }

  rdma_destroy_qp(): void {
    const { k } = this.#fabric
    for (let timers = 0; timers < 2; timers++) trace_call(k, 'del_timer_sync')
  }

  ib_post_recv(done: Parameters<QueuePair['post_recv']>[0]): void {
    this.qp!.post_recv(done)
  }

  ib_post_send(chain: readonly SendWr[]): void {
    this.qp!.post_send(chain)
  }

  /** Nothing completes any more. */
  *ib_drain_qp(): Sleep<void> {
    if (this.qp !== null) yield* this.qp.drain()
  }
}
