// A queue pair of the emulated RDMA fabric (verbs.ts), with its completion queue: soft RoCE's three tasklets.
//
//   ib_post_send      a chain of work requests; the requester is scheduled, and does them in order:
//                     REG_MR, LOCAL_INV                    here and now
//                     SEND, SEND_WITH_INV, RDMA_READ, RDMA_WRITE   by the wire; over when the other end's answer is back
//   completion        in the order of posting; of an unsignaled work request only when it failed
//   error             what is posted or unanswered is flushed, the other end answers no more
//
// What the other end may reach is looked at when a message arrives: a key that is not valid there, or not for this, puts both
// queue pairs in error, the sender's with REM_ACCESS_ERR (a key to be invalidated: REM_INV_REQ_ERR). Registering a region that
// is not free is LOC_QP_OP_ERR, invalidating one that is not valid MW_BIND_ERR.

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import { tasklet_schedule, tasklet_struct } from '../kernel/tasklet.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'
import { INIT_DELAYED_WORK, queue_delayed_work } from '../kernel/workqueue-queue.js'
import { delayed_work, type workqueue_struct } from '../kernel/workqueue-structs.js'
import { Flow, type Job, Jobs, quiet, type Wire } from './verbs-jobs.js'
import {
  IB_ACCESS_REMOTE_READ,
  IB_ACCESS_REMOTE_WRITE,
  type MemoryRegion,
  type ProtectionDomain,
  type VerbsMemory,
} from './verbs-memory.js'

type Status =
  | 'SUCCESS'
  | 'LOC_QP_OP_ERR'
  | 'MW_BIND_ERR'
  | 'REM_ACCESS_ERR'
  | 'REM_INV_REQ_ERR'
  | 'RETRY_EXC_ERR'
  | 'WR_FLUSH_ERR'

interface Completion {
  readonly status: Status
  readonly message: Uint8Array | null
  readonly invalidate_rkey: number | null
}
type Done = (wc: Completion) => Sleep<void> | undefined

interface WrEnd {
  /** Whether it completes when it was good. */
  readonly signaled: boolean
  readonly done: Done | null
}
interface Rdma extends WrEnd {
  readonly remote_addr: number
  readonly rkey: number
  readonly local: number
  readonly bytes: number
}

export type SendWr =
  | ({ readonly opcode: 'SEND'; readonly message: Uint8Array } & WrEnd)
  | ({
      readonly opcode: 'SEND_WITH_INV'
      readonly message: Uint8Array
      readonly invalidate_rkey: number
    } & WrEnd)
  | ({ readonly opcode: 'RDMA_READ' } & Rdma)
  | ({ readonly opcode: 'RDMA_WRITE' } & Rdma)
  | ({
      readonly opcode: 'REG_MR'
      readonly mr: object
      readonly key: number
      readonly access: number
    } & WrEnd)
  | ({ readonly opcode: 'LOCAL_INV'; readonly invalidate_rkey: number } & WrEnd)

export interface QpInit {
  readonly pd: object | null
  readonly poll: 'softirq' | 'workqueue'
  readonly max_send_wr: number
  readonly max_recv_wr: number
  readonly cqe: number
  readonly event_handler?: (event: 'QP_ACCESS_ERR') => void
}

/** What a queue pair needs of its fabric. */
interface QpFabric {
  readonly k: Kernel
  readonly bytes: Uint8Array
  readonly memory: VerbsMemory
  readonly wire: Wire
  readonly cm_wq: workqueue_struct
  readonly comp_wq: workqueue_struct
  irq_poll(taken: Job): void
  tamper: ((wr: SendWr) => SendWr) | null
}

/** The end of a connection that it belongs to. */
interface QpEnd {
  readonly peer: QpEnd | null
  readonly qp: QueuePair | null
  readonly established: boolean
  readonly silent: boolean
  readonly destroyed: boolean
}

/** A work request between its begin and its completion. */
interface Flight {
  readonly wr: SendWr
  status: Status | null
  /** On their way to the other end, or back from it. */
  data: Uint8Array
}

/** s of sending in vain: eight times the 2.1 s that soft RoCE waits for an answer, less what the first begins with. */
const RETRY_S = 16

const NOTHING = new Uint8Array(0)

export class QueuePair {
  readonly init: QpInit
  error = false
  readonly #fabric: QpFabric
  readonly #end: QpEnd
  readonly #req: tasklet_struct
  readonly #comp: tasklet_struct
  readonly #resp: tasklet_struct
  readonly #cq: Jobs
  readonly #flow = new Flow()
  #sends: SendWr[] = []
  /** Begun, in order, and not completed. */
  readonly #begun: Flight[] = []
  #recvs: Done[] = []
  #inbox: { message: Uint8Array; invalidate_rkey: number | null }[] = []
  /** Completions that are still to be taken. */
  #pending = 0
  #trying_again = false
  readonly #drained: wait_queue_head

  constructor(fabric: QpFabric, end: QpEnd, init: QpInit) {
    const { k, comp_wq } = fabric
    this.init = init
    this.#fabric = fabric
    this.#end = end
    this.#req = new tasklet_struct(k, () => this.#requester())
    this.#comp = new tasklet_struct(k, () => this.#look())
    this.#resp = new tasklet_struct(k, () => this.#responder())
    this.#cq = new Jobs(k, comp_wq, 'ib_cq_poll_work')
    this.#drained = new wait_queue_head(k, 'a queue pair that drains')
  }

  get #pd(): ProtectionDomain | null {
    return this.init.pd as ProtectionDomain | null
  }

  modify_error(): void {
    this.error = true
    for (const task of [this.#resp, this.#comp, this.#req]) tasklet_schedule(task)
  }

  /** Whoever drains the queue pair looks whether it is over. */
  #look(): void {
    quiet(this.#fabric.k, () => wake_up(this.#drained))
  }

  // -------------------------------------------------------------- sending

  post_send(chain: readonly SendWr[]): void {
    const { max_send_wr } = this.init
    const { tamper } = this.#fabric
    for (const wr of chain) this.#sends.push(tamper === null ? wr : tamper(wr))
    if (this.#sends.length + this.#begun.length > max_send_wr)
      throw new Error(`more than ${max_send_wr} sends`)
    tasklet_schedule(this.#req)
  }

  #requester(): void {
    if (this.error) this.#flush()
    for (const wr of this.#sends.splice(0)) this.#begin(wr)
    this.#look()
  }

  #flush(): void {
    for (const flight of this.#begun) flight.status ??= 'WR_FLUSH_ERR'
    this.#complete_begun()
  }

  #begin(wr: SendWr): void {
    const flight: Flight = { wr, status: null, data: NOTHING }
    this.#begun.push(flight)
    if (this.error) this.#over(flight, 'WR_FLUSH_ERR')
    else if (wr.opcode === 'REG_MR' || wr.opcode === 'LOCAL_INV')
      this.#over(flight, this.#local(wr))
    else {
      if (wr.opcode === 'RDMA_WRITE') flight.data = this.#copy(wr.local, wr.bytes)
      this.#fabric.wire.carry(this.#flow, () => this.#arrive(flight))
    }
  }

  #copy(at: number, bytes: number): Uint8Array {
    const { wire, bytes: all } = this.#fabric
    return wire.instant ? all.subarray(at, at + bytes) : all.slice(at, at + bytes)
  }

  #local(wr: SendWr & { readonly opcode: 'REG_MR' | 'LOCAL_INV' }): Status {
    if (wr.opcode === 'REG_MR')
      return (wr.mr as MemoryRegion).register(wr.key, wr.access) ? 'SUCCESS' : 'LOC_QP_OP_ERR'
    const was = this.#fabric.memory.invalidate(this.#pd, wr.invalidate_rkey)
    return was ? 'SUCCESS' : 'MW_BIND_ERR'
  }

  /** A message is at the other end, if there is one. */
  #arrive(flight: Flight): void {
    if (flight.status !== null) return
    const { peer, established, silent } = this.#end
    const qp = peer?.qp ?? null
    if (silent) this.#try_again()
    else if (!established || qp === null) this.#over(flight, 'WR_FLUSH_ERR')
    else if (qp.error) this.#try_again()
    else {
      const status = qp.#respond(flight)
      this.#fabric.wire.carry(qp.#flow, () => this.#answered(flight, status))
    }
  }

  #answered(flight: Flight, status: Status): void {
    if (flight.status !== null) return
    const { wr } = flight
    if (this.#end.silent) this.#try_again()
    else {
      if (wr.opcode === 'RDMA_READ' && status === 'SUCCESS')
        this.#fabric.bytes.set(flight.data, wr.local)
      this.#over(flight, status)
    }
  }

  #over(flight: Flight, status: Status): void {
    flight.status = status
    this.#complete_begun()
    if (status !== 'SUCCESS' && status !== 'WR_FLUSH_ERR') this.modify_error()
  }

  #complete_begun(): void {
    while (this.#begun.length > 0 && this.#begun[0]!.status !== null) {
      const { wr, status } = this.#begun.shift()!
      if (wr.done !== null && (wr.signaled || status !== 'SUCCESS'))
        this.#complete(wr.done, { status: status!, message: null, invalidate_rkey: null })
    }
  }

  /** Nobody answers: so it goes on, until the queue pair gives up. */
  #try_again(): void {
    if (this.#trying_again) return
    this.#trying_again = true
    const { k, cm_wq } = this.#fabric
    const work = new delayed_work<QueuePair>(k, this)
    INIT_DELAYED_WORK(work, function retransmit_timer({ container }) {
      const [first] = container.#begun
      container.#trying_again = false
      if (!container.error && first !== undefined) container.#over(first, 'RETRY_EXC_ERR')
    })
    quiet(k, () => void queue_delayed_work(cm_wq, work, RETRY_S * k.hz))
  }

  // -------------------------------------------------------------- receiving

  post_recv(done: Done): void {
    const { max_recv_wr } = this.init
    if (this.#recvs.push(done) > max_recv_wr) throw new Error(`more than ${max_recv_wr} receives`)
    if (this.error || this.#inbox.length > 0) tasklet_schedule(this.#resp)
  }

  /** Receives what has come; what is posted is flushed when the queue pair is in error. */
  #responder(): void {
    if (this.error) {
      const wc = { status: 'WR_FLUSH_ERR', message: null, invalidate_rkey: null } as const
      for (const done of this.#recvs.splice(0)) this.#complete(done, wc)
      this.#inbox = []
    } else this.#deliver()
    this.#look()
  }

  #deliver(): void {
    while (this.#inbox.length > 0 && this.#recvs.length > 0)
      this.#complete(this.#recvs.shift()!, { status: 'SUCCESS', ...this.#inbox.shift()! })
  }

  /** Does what the other end wants; how it went. */
  #respond(flight: Flight): Status {
    const { wr } = flight
    switch (wr.opcode) {
      case 'SEND':
        return this.#receive(wr.message, null)
      case 'SEND_WITH_INV':
        if (!this.#fabric.memory.invalidate(this.#pd, wr.invalidate_rkey))
          return this.#violated('REM_INV_REQ_ERR')
        return this.#receive(wr.message, wr.invalidate_rkey)
      case 'RDMA_READ':
      case 'RDMA_WRITE':
        return this.#reached(flight, wr)
      default:
        throw new Error(`${wr.opcode} is no message`)
    }
  }

  #receive(message: Uint8Array, invalidate_rkey: number | null): Status {
    this.#inbox.push({ message, invalidate_rkey })
    this.#deliver()
    return 'SUCCESS'
  }

  #violated(status: Status): Status {
    this.init.event_handler?.('QP_ACCESS_ERR')
    this.modify_error()
    return status
  }

  /** The other end reads or writes memory of this one. */
  #reached(flight: Flight, wr: SendWr & { readonly opcode: 'RDMA_READ' | 'RDMA_WRITE' }): Status {
    const { bytes, memory } = this.#fabric
    const reads = wr.opcode === 'RDMA_READ'
    const access = reads ? IB_ACCESS_REMOTE_READ : IB_ACCESS_REMOTE_WRITE
    const range = { addr: wr.remote_addr, bytes: wr.bytes }
    const pieces = memory.reach(this.#pd, wr.rkey, range, access)
    if (pieces === null) return this.#violated('REM_ACCESS_ERR')
    if (reads) flight.data = new Uint8Array(wr.bytes)
    let at = 0
    for (const piece of pieces) {
      const end = at + piece.bytes
      if (reads) flight.data.set(bytes.subarray(piece.addr, piece.addr + piece.bytes), at)
      else bytes.set(flight.data.subarray(at, end), piece.addr)
      at = end
    }
    return 'SUCCESS'
  }

  // -------------------------------------------------------------- completing

  #complete(done: Done, wc: Completion): void {
    const { poll, cqe } = this.init
    if (++this.#pending > cqe) throw new Error(`more than ${cqe} completions at once`)
    const taken = (): Sleep<void> | undefined => {
      const sleep = this.#end.destroyed ? undefined : done(wc)
      if (--this.#pending === 0) this.#look()
      return sleep
    }
    if (poll === 'softirq') this.#fabric.irq_poll(taken)
    else this.#cq.push(taken)
  }

  /** Once for what is sent, once for what is received. */
  *drain(): Sleep<void> {
    const over = (): boolean => !this.#req.scheduled && !this.#resp.scheduled && this.#pending === 0
    for (let half = 0; half < 2; half++) {
      this.modify_error()
      yield* wait_event(this.#drained, over)
    }
  }
}
