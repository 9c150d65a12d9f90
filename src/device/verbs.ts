// An emulated RDMA fabric in virtual time: connections, queue pairs, messages, reads and writes of the other's memory. Both
// ends are in one machine, so that an address is an address. Its users see the interface of src/drivers/nvme/verbs.ts.
//
//   a task takes events of connections one after the other, another one completions for workers; completions for the
//   softirq raise IRQ_POLL
//   cut()    the wire is gone: requests that are posted fail by and by, connections are told they are disconnected
//   refuse   what listens no more answers REJECTED
//
// Latencies are not modelled: a message arrives when whoever sent it lets others run.

import type { Kernel } from '../kernel/kernel.js'
import type { Sleep, task_struct } from '../kernel/core.js'
import { IRQ_POLL_SOFTIRQ, open_softirq, __raise_softirq_irqoff } from '../kernel/softirq.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'

type Status = 'SUCCESS' | 'WR_FLUSH_ERR' | 'RETRY_EXC_ERR'
type Done = (status: Status, message: Uint8Array | null) => Sleep<void> | undefined
type Poll = 'softirq' | 'workqueue'
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

/** A worker of its own: what is given to it runs in order. */
class Worker {
  readonly #jobs: (() => Sleep<void> | undefined)[] = []
  readonly #wq: wait_queue_head

  constructor(
    k: Kernel,
    name: string,
    start: (name: string, fn: () => Sleep<void>) => task_struct,
  ) {
    this.#wq = new wait_queue_head(k, name)
    start(name, () => this.#run())
  }

  push(job: () => Sleep<void> | undefined): void {
    this.#jobs.push(job)
    wake_up(this.#wq)
  }

  *#run(): Sleep<void> {
    for (;;) {
      yield* wait_event(this.#wq, () => this.#jobs.length > 0)
      const sleep = this.#jobs.shift()!()
      if (sleep !== undefined) yield* sleep
    }
  }
}

export class VerbsFabric {
  readonly k: Kernel
  readonly bytes: Uint8Array
  readonly listeners: Map<string, Handler> = new Map()
  readonly ids: Set<VerbsId> = new Set()
  readonly cm: Worker
  readonly comp: Worker
  readonly #soft: (() => void)[] = []

  /** @param bytes the machine's memory */
  constructor(
    k: Kernel,
    bytes: Uint8Array,
    worker: (name: string, fn: () => Sleep<void>) => task_struct,
  ) {
    this.k = k
    this.bytes = bytes
    this.cm = new Worker(k, 'kworker/rdma_cm', worker)
    this.comp = new Worker(k, 'kworker/ib-comp', worker)
    open_softirq(k, IRQ_POLL_SOFTIRQ, () => {
      for (const fn of this.#soft.splice(0)) fn()
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

  complete(poll: Poll, done: Done, status: Status, message: Uint8Array | null): void {
    if (poll === 'workqueue') {
      this.comp.push(() => done(status, message))
      return
    }
    this.#soft.push(() => void done(status, message))
    __raise_softirq_irqoff(this.k, IRQ_POLL_SOFTIRQ)
  }

  /** Every connection breaks. */
  cut(): void {
    for (const id of [...this.ids]) if (id.established) id.rdma_disconnect()
  }
}

export class VerbsId {
  handler: Handler
  peer: VerbsId | null = null
  established = false
  has_qp = false
  readonly #fabric: VerbsFabric
  #poll: Poll = 'softirq'
  #address = ''
  #destroyed = false
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

  #event(event: EventName, data: Uint8Array = NOTHING, id?: VerbsId): void {
    this.#fabric.cm.push(() => {
      if (!this.#destroyed) this.handler(id ? { event, data, id } : { event, data })
      return undefined
    })
  }

  rdma_resolve_addr(address: string): void {
    this.#address = address
    this.#event('ADDR_RESOLVED')
  }

  rdma_resolve_route(): void {
    this.#event('ROUTE_RESOLVED')
  }

  rdma_connect(data: Uint8Array): void {
    const listener = this.#fabric.listeners.get(this.#address)
    if (listener === undefined) {
      this.#event('REJECTED', Uint8Array.of(0, 0, 0, 0))
      return
    }
    const other = new VerbsId(this.#fabric, listener)
    this.#fabric.ids.add(other)
    this.peer = other
    other.peer = this
    other.#event('CONNECT_REQUEST', data, other)
  }

  rdma_accept(data: Uint8Array): void {
    const { peer } = this
    if (peer === null) return
    this.established = true
    peer.established = true
    peer.#event('ESTABLISHED', data)
    this.#event('ESTABLISHED')
  }

  rdma_reject(data: Uint8Array): void {
    const { peer } = this
    this.peer = null
    if (peer === null) return
    peer.#event('REJECTED', data)
    peer.peer = null
  }

  rdma_disconnect(): void {
    const { peer } = this
    if (!this.established) return
    this.established = false
    this.#flush()
    if (peer?.established) {
      peer.established = false
      peer.#event('DISCONNECTED')
    }
    this.#event('DISCONNECTED')
  }

  rdma_destroy_id(): void {
    this.#destroyed = true
    this.established = false
    this.#fabric.ids.delete(this)
    if (this.peer) this.peer.peer = null
    this.peer = null
  }

  rdma_create_qp(poll: Poll): void {
    this.#poll = poll
    this.has_qp = true
  }

  #complete(done: Done, status: Status, message: Uint8Array | null): void {
    this.#pending++
    this.#fabric.complete(
      this.#poll,
      (one, bytes) => {
        const sleep = this.#destroyed ? undefined : done(one, bytes)
        if (--this.#pending === 0) wake_up(this.#drained)
        return sleep
      },
      status,
      message,
    )
  }

  #flush(): void {
    for (const done of this.#recvs.splice(0)) this.#complete(done, 'WR_FLUSH_ERR', null)
    this.#inbox = []
  }

  #deliver(): void {
    while (this.#inbox.length > 0 && this.#recvs.length > 0)
      this.#complete(this.#recvs.shift()!, 'SUCCESS', this.#inbox.shift()!)
  }

  ib_post_recv(done: Done): void {
    this.#recvs.push(done)
    if (this.established) this.#deliver()
  }

  ib_post_send(message: Uint8Array, done: Done | null): void {
    const { peer } = this
    const good = this.established && peer !== null
    if (good) {
      peer.#inbox.push(message)
      peer.#deliver()
    }
    if (done) this.#complete(done, good ? 'SUCCESS' : 'WR_FLUSH_ERR', null)
  }

  rdma_read(remote: number, local: number, bytes: number, done: Done): void {
    const good = this.established
    if (good) this.#fabric.bytes.copyWithin(local, remote, remote + bytes)
    this.#complete(done, good ? 'SUCCESS' : 'WR_FLUSH_ERR', null)
  }

  rdma_write(remote: number, local: number, bytes: number): void {
    if (this.established) this.#fabric.bytes.copyWithin(remote, local, local + bytes)
  }

  *ib_drain_qp(): Sleep<void> {
    this.#flush()
    yield* wait_event(this.#drained, () => this.#pending === 0)
  }
}
