// The controller's queues: the core's blocks (DSQ_*, DCQ_*) of those that exist, the order in which they may come and go,
// and the way of the controller's own completions.
//
//   create   completion queue first, then the submission queues that use it
//   delete   submission queues first; their commands end as aborted before the deletion itself does
//
// A queue that does not exist has no entries, so that its doorbell leads nowhere. A completion that finds its queue full
// is held here until the host's head has moved (DCQ_HELD, DV_ROOM). Queues are physically contiguous (CAP.CQR).

import {
  DCQ_BASE,
  DCQ_COAL_N,
  DCQ_COAL_NS,
  DCQ_DB,
  DCQ_EI,
  DCQ_END,
  DCQ_ENTRIES,
  DCQ_HEAD_SEEN,
  DCQ_HELD,
  DCQ_IEN,
  DCQ_IRQ,
  DCQ_PEND,
  DCQ_PHASE,
  DCQ_SHADOW,
  DCQ_STEP,
  DCQ_TAIL,
  DEV_FIRST_SQ,
  DEV_TURNS,
  DSQ_BAD,
  DSQ_BASE,
  DSQ_CLASS,
  DSQ_CQ,
  DSQ_DB,
  DSQ_DEV,
  DSQ_EI,
  DSQ_END,
  DSQ_ENTRIES,
  DSQ_FIFO,
  DSQ_FIFO_COUNT,
  DSQ_FIFO_HEAD,
  DSQ_HEAD,
  DSQ_ID,
  DSQ_NEXT,
  DSQ_SHADOW,
  FIFO_CID,
  FIFO_SIZE,
  FIFO_STATUS,
} from '../../../assembly/layout.js'
import { CQE_BYTES, DOORBELLS, SQE_BYTES } from '../../../assembly/nvme.js'
import type { Command, Done } from './command.js'
import type { ControllerAddresses, ControllerConfig, ControllerPorts } from './config.js'
import type { Dma } from './dma.js'
import {
  ABORT_QUEUE,
  ABORT_REQ,
  CQ_INVALID,
  DATA_XFER_ERROR,
  INVALID_FIELD,
  INVALID_QUEUE_DELETION,
  INVALID_VECTOR,
  PRP_OFFSET_INVALID,
  QID_INVALID,
  QUEUE_SIZE,
} from './spec.js'

/** Whose turn it is: in each class, and of all queues. */
const TURNS = 5
/** No queue is above it. */
const NONE = 65536

/** Words of a queue that is not there which are 0. */
const SQ_FIELDS = [
  ...[DSQ_BASE, DSQ_END, DSQ_ENTRIES, DSQ_HEAD, DSQ_FIFO_HEAD, DSQ_FIFO_COUNT],
  ...[DSQ_SHADOW, DSQ_EI, DSQ_BAD],
]
const CQ_FIELDS = [
  ...[DCQ_BASE, DCQ_END, DCQ_ENTRIES, DCQ_TAIL, DCQ_PEND, DCQ_HEAD_SEEN, DCQ_IEN],
  ...[DCQ_SHADOW, DCQ_EI, DCQ_HELD, DCQ_IRQ, DCQ_STEP],
]

export interface SubmissionQueue {
  readonly cqid: number
  /** 0 urgent, 1 high, 2 medium, 3 low. */
  readonly priority: number
}

export interface CompletionQueue {
  readonly vector: number
  readonly interrupts: boolean
}

/** When interrupts are held back: entries (1 = each raises one) and ns. */
export interface Coalescing {
  readonly entries: number
  readonly ns: number
}

interface Held {
  readonly dsq: number
  readonly cid: number
  readonly done: Done
}

export class Queues {
  readonly sqs: Map<number, SubmissionQueue> = new Map()
  readonly cqs: Map<number, CompletionQueue> = new Map()
  /** Shadow doorbells and event indices (Doorbell Buffer Config), 0 = none. */
  readonly #ports: ControllerPorts
  readonly #at: ControllerAddresses
  readonly #config: ControllerConfig
  readonly #dma: Dma
  /** The last queue of the list. */
  #last = NONE
  #shadow = 0
  #eventIndex = 0
  #held: Held[] = []

  constructor(ports: ControllerPorts, at: ControllerAddresses, config: ControllerConfig, dma: Dma) {
    this.#ports = ports
    this.#at = at
    this.#config = config
    this.#dma = dma
    this.reset()
  }

  /** The highest I/O queue identifier. */
  get most(): number {
    return Math.min(this.#config.ioQueues, this.#at.dsqs.length - 1)
  }

  get #mostCompletion(): number {
    return Math.min(this.#config.ioCompletionQueues ?? this.#config.ioQueues, this.most)
  }

  /** I/O queues exist. */
  get any(): boolean {
    return this.cqs.size > 1 || this.sqs.size > 1
  }

  /** No queue exists any more; what was held back is dropped. */
  reset(): void {
    this.sqs.clear()
    this.cqs.clear()
    this.#link()
    this.#held = []
    this.#shadow = 0
    this.#eventIndex = 0
    for (const [qid, dsq] of this.#at.dsqs.entries()) {
      this.#clearSq(qid, dsq)
      this.#clearCq(qid, this.#at.dcqs[qid]!)
    }
  }

  #step(): number {
    return 4 * 2 ** this.#config.stride
  }

  #doorbell(qid: number, completion: number): number {
    return this.#at.bar + DOORBELLS + (2 * qid + completion) * this.#step()
  }

  #clearSq(qid: number, dsq: number): void {
    const { view } = this.#ports
    const db = this.#doorbell(qid, 0)
    view.store(db, 0)
    for (let i = 0; i < SQ_FIELDS.length; i++) view.words[(dsq + SQ_FIELDS[i]!) >>> 2] = 0
    view.setU32(dsq + DSQ_ID, qid)
    view.setU32(dsq + DSQ_DB, db)
    view.setU32(dsq + DSQ_DEV, this.#at.dev)
    view.setU32(dsq + DSQ_CQ, this.#at.dcqs[qid]!)
    view.setU32(dsq + DSQ_FIFO, this.#at.fifos[qid] ?? 0)
  }

  #clearCq(qid: number, dcq: number): void {
    const { view } = this.#ports
    const db = this.#doorbell(qid, 1)
    view.store(db, 0)
    for (let i = 0; i < CQ_FIELDS.length; i++) view.words[(dcq + CQ_FIELDS[i]!) >>> 2] = 0
    view.setU32(dcq + DCQ_DB, db)
    view.setU32(dcq + DCQ_PHASE, 1)
    view.setU32(dcq + DCQ_COAL_N, 1)
    view.setU64(dcq + DCQ_COAL_NS, 0)
  }

  // ---------------------------------------------------------------- making queues

  #initSq(qid: number, base: number, entries: number, queue: SubmissionQueue): void {
    const { view } = this.#ports
    const dsq = this.#at.dsqs[qid]!
    this.#clearSq(qid, dsq)
    view.setU32(dsq + DSQ_BASE, base)
    view.setU32(dsq + DSQ_END, base + entries * SQE_BYTES)
    view.setU32(dsq + DSQ_CQ, this.#at.dcqs[queue.cqid]!)
    view.setU32(dsq + DSQ_ENTRIES, entries)
    this.sqs.set(qid, queue)
    view.setU32(dsq + DSQ_CLASS, queue.priority)
    this.#link(qid)
    this.#shadowSq(qid)
  }

  #initCq(qid: number, base: number, entries: number, queue: CompletionQueue): void {
    const { view } = this.#ports
    const dcq = this.#at.dcqs[qid]!
    this.#clearCq(qid, dcq)
    view.setU32(dcq + DCQ_BASE, base)
    view.setU32(dcq + DCQ_END, base + entries * CQE_BYTES)
    view.setU32(dcq + DCQ_IEN, queue.interrupts ? 1 : 0)
    view.setU32(dcq + DCQ_IRQ, this.#at.irqs + queue.vector * this.#at.irqStride)
    view.setU32(dcq + DCQ_ENTRIES, entries)
    this.cqs.set(qid, queue)
    this.#shadowCq(qid)
  }

  /** Lists the queues for arbitration, by identifier; turns begin anew. `added`: it alone is new. */
  #link(added = 0): void {
    const { view } = this.#ports
    const { dev, dsqs } = this.#at
    const behind = added > this.#last
    const qids = behind ? [added] : [...this.sqs.keys()].sort((a, b) => a - b)
    let link = behind ? dsqs[this.#last]! + DSQ_NEXT : dev + DEV_FIRST_SQ
    for (const qid of qids) {
      view.setU32(link, dsqs[qid]!)
      link = dsqs[qid]! + DSQ_NEXT
    }
    view.setU32(link, 0)
    this.#last = qids.at(-1) ?? NONE
    for (let i = 0; i < TURNS; i++) view.setU32(dev + DEV_TURNS + 4 * i, 0)
  }

  /** The admin queue, from AQA, ASQ and ACQ; false when its memory cannot be reached. */
  startAdmin(asq: number, sqEntries: number, acq: number, cqEntries: number): boolean {
    if (!this.#dma.reaches(asq, sqEntries * SQE_BYTES)) return false
    if (!this.#dma.reaches(acq, cqEntries * CQE_BYTES)) return false
    this.#initCq(0, acq, cqEntries, { vector: 0, interrupts: true })
    this.#initSq(0, asq, sqEntries, { cqid: 0, priority: 0 })
    return true
  }

  /** Create I/O Completion Queue: status without DNR, 0 = good. `coalescing` is what the vector has. */
  createCq(c: Command, coalescing: (vector: number) => Coalescing): number {
    const qid = c.cdw(10) & 0xffff
    const size = c.cdw(10) >>> 16
    const vector = c.cdw(11) >>> 16
    const contiguous = (c.cdw(11) & 1) !== 0
    if (qid === 0 || qid > this.#mostCompletion || this.cqs.has(qid)) return QID_INVALID
    if (size === 0 || size >= this.#config.entries) return QUEUE_SIZE
    if (c.prp1 % this.#dma.page !== 0) return PRP_OFFSET_INVALID
    if (vector >= this.#config.vectors) return INVALID_VECTOR
    if (!contiguous) return INVALID_FIELD
    if (!this.#dma.reaches(c.prp1, (size + 1) * CQE_BYTES)) return DATA_XFER_ERROR
    this.#initCq(qid, c.prp1, size + 1, { vector, interrupts: (c.cdw(11) & 2) !== 0 })
    this.coalesce(qid, coalescing(vector))
    return 0
  }

  /** Create I/O Submission Queue. */
  createSq(c: Command): number {
    const qid = c.cdw(10) & 0xffff
    const size = c.cdw(10) >>> 16
    const cqid = c.cdw(11) >>> 16
    if (cqid === 0 || !this.cqs.has(cqid)) return CQ_INVALID
    if (qid === 0 || qid > this.most || this.sqs.has(qid)) return QID_INVALID
    if (size === 0 || size >= this.#config.entries) return QUEUE_SIZE
    if (c.prp1 % this.#dma.page !== 0) return PRP_OFFSET_INVALID
    if ((c.cdw(11) & 1) === 0) return INVALID_FIELD
    if (!this.#dma.reaches(c.prp1, (size + 1) * SQE_BYTES)) return DATA_XFER_ERROR
    this.#initSq(qid, c.prp1, size + 1, { cqid, priority: (c.cdw(11) >>> 1) & 3 })
    return 0
  }

  /** Delete I/O Submission Queue: what is in service or was not fetched yet ends as aborted. */
  deleteSq(c: Command): number {
    const qid = c.cdw(10) & 0xffff
    if (qid === 0 || !this.sqs.has(qid)) return QID_INVALID
    const dsq = this.#at.dsqs[qid]!
    this.#endAll(qid, dsq)
    this.sqs.delete(qid)
    this.#link()
    this.#held = this.#held.filter(held => held.dsq !== dsq)
    this.#clearSq(qid, dsq)
    return 0
  }

  /** What was not fetched is aborted; what is in service too, or ends as it would have (ControllerConfig.aborts). */
  #endAll(qid: number, dsq: number): void {
    const { view } = this.#ports
    const entries = view.u32(dsq + DSQ_ENTRIES)
    const fifo = view.u32(dsq + DSQ_FIFO)
    const first = view.u32(dsq + DSQ_FIFO_HEAD)
    const ended = Array.from({ length: view.u32(dsq + DSQ_FIFO_COUNT) }, (_, i) => {
      const record = fifo + ((first + i) % entries) * FIFO_SIZE
      const status = this.#config.aborts ? ABORT_QUEUE : view.u32(record + FIFO_STATUS)
      return { cid: view.u32(record + FIFO_CID), status }
    })
    const tail = this.tail(qid)
    const base = view.u32(dsq + DSQ_BASE)
    for (let at = view.u32(dsq + DSQ_HEAD); tail < entries && at !== tail; at = (at + 1) % entries)
      ended.push({ cid: view.u32(base + at * SQE_BYTES) >>> 16, status: ABORT_QUEUE })
    if (tail < entries) view.setU32(dsq + DSQ_HEAD, tail)
    for (const { cid, status } of ended) this.#post({ dsq, cid, done: { status } })
  }

  /** Delete I/O Completion Queue; 0x10c comes without DNR: it may work later. */
  deleteCq(c: Command): number {
    const qid = c.cdw(10) & 0xffff
    if (qid === 0 || !this.cqs.has(qid)) return QID_INVALID
    for (const { cqid } of this.sqs.values()) if (cqid === qid) return INVALID_QUEUE_DELETION
    this.cqs.delete(qid)
    this.#clearCq(qid, this.#at.dcqs[qid]!)
    return 0
  }

  // ---------------------------------------------------------------- doorbells

  /** The tail that the host last wrote for a queue. */
  tail(qid: number): number {
    const { view } = this.#ports
    const dsq = this.#at.dsqs[qid]!
    return view.load(view.u32(dsq + DSQ_SHADOW) || view.u32(dsq + DSQ_DB))
  }

  /** Entries of a queue. */
  entries(qid: number, completion: boolean): number {
    const { view } = this.#ports
    return completion
      ? view.u32(this.#at.dcqs[qid]! + DCQ_ENTRIES)
      : view.u32(this.#at.dsqs[qid]! + DSQ_ENTRIES)
  }

  /**
   * Whether a value takes a doorbell on: a tail that went back would take entries away that the controller may have read, a
   * head that is beyond the tail would free entries that are not there. Shadow doorbells are looked at by the core.
   */
  moves(qid: number, completion: boolean, value: number): boolean {
    const { view } = this.#ports
    const [dsq, dcq] = [this.#at.dsqs[qid]!, this.#at.dcqs[qid]!]
    if (view.u32(completion ? dcq + DCQ_SHADOW : dsq + DSQ_SHADOW) !== 0) return true
    const entries = this.entries(qid, completion)
    const from = (start: number, to: number): number => (to - start + entries) % entries
    if (completion) {
      const head = view.load(view.u32(dcq + DCQ_DB))
      return from(head, value) <= from(head, view.u32(dcq + DCQ_TAIL))
    }
    const head = view.u32(dsq + DSQ_HEAD)
    const tail = this.tail(qid)
    return tail >= entries || from(head, value) >= from(head, tail)
  }

  /** Submission queues (DSQ_*) that use a completion queue. */
  sqsOf(cqid: number): number[] {
    return [...this.sqs]
      .filter(([, queue]) => queue.cqid === cqid)
      .map(([qid]) => this.#at.dsqs[qid]!)
  }

  /** Abort: a command in service ends now; false when it is not in service. */
  abort(qid: number, cid: number): boolean {
    const { core, now } = this.#ports
    const dsq = this.#at.dsqs[qid]!
    if (core.dev_abort(dsq, cid, ABORT_REQ, now()) === 0) return false
    core.dev_step(dsq, now())
    return true
  }

  /** Doorbell Buffer Config: the I/O queues' doorbells in memory, filled with what they are now. */
  useShadow(shadow: number, eventIndex: number): void {
    this.#shadow = shadow
    this.#eventIndex = eventIndex
    for (const qid of this.sqs.keys()) this.#shadowSq(qid)
    for (const qid of this.cqs.keys()) this.#shadowCq(qid)
  }

  /** Bytes of such a buffer. */
  get shadowBytes(): number {
    return (this.most + 1) * 2 * this.#step()
  }

  #shadowSq(qid: number): void {
    if (this.#shadow === 0 || qid === 0) return
    const { view } = this.#ports
    const dsq = this.#at.dsqs[qid]!
    const offset = 2 * qid * this.#step()
    view.store(this.#shadow + offset, view.load(view.u32(dsq + DSQ_DB)))
    view.store(this.#eventIndex + offset, view.u32(dsq + DSQ_HEAD))
    view.setU32(dsq + DSQ_SHADOW, this.#shadow + offset)
    view.setU32(dsq + DSQ_EI, this.#eventIndex + offset)
  }

  #shadowCq(qid: number): void {
    if (this.#shadow === 0 || qid === 0) return
    const { view } = this.#ports
    const dcq = this.#at.dcqs[qid]!
    const offset = (2 * qid + 1) * this.#step()
    view.store(this.#shadow + offset, view.load(view.u32(dcq + DCQ_DB)))
    view.store(this.#eventIndex + offset, view.u32(dcq + DCQ_HEAD_SEEN))
    view.setU32(dcq + DCQ_SHADOW, this.#shadow + offset)
    view.setU32(dcq + DCQ_EI, this.#eventIndex + offset)
  }

  // ---------------------------------------------------------------- interrupts

  /** Sets when the interrupts of a completion queue are held back. */
  coalesce(qid: number, { entries, ns }: Coalescing): void {
    const { view } = this.#ports
    const dcq = this.#at.dcqs[qid]!
    view.setU32(dcq + DCQ_COAL_N, qid === 0 ? 1 : entries)
    view.setU64(dcq + DCQ_COAL_NS, qid === 0 ? 0 : ns)
  }

  // ---------------------------------------------------------------- completions

  /** Ends a command. A queue that has gone takes nothing. */
  complete(c: Command, done: Done): void {
    this.post(c, c.cid, done)
  }

  /** The same under another identifier (a fault). */
  post({ dsq }: Command, cid: number, done: Done): void {
    this.#post({ dsq, cid, done })
  }

  #post(held: Held): void {
    if (!this.#try(held)) this.#held.push(held)
  }

  #try({ dsq, cid, done }: Held): boolean {
    const { core, view, now, raise } = this.#ports
    const { status, dw0 = 0, dw1 = 0 } = done
    const posted = core.dev_complete(dsq, cid, status, dw0, dw1, now())
    if (posted === 2) {
      const cq = view.u32(dsq + DSQ_CQ)
      const queue = this.cqs.get(this.#at.dcqs.indexOf(cq))
      if (queue && raise) raise(queue.vector)
    }
    return posted !== 0
  }

  /** There may be room again in the completion queue of `dsq`: posts what is held for it, in order. */
  release(dsq: number): void {
    const { view } = this.#ports
    const dcq = view.u32(dsq + DSQ_CQ)
    const rest: Held[] = []
    let full = false
    for (const held of this.#held) {
      const same = view.u32(held.dsq + DSQ_CQ) === dcq
      if (same && !full) full = !this.#try(held)
      if (!same || full) rest.push(held)
    }
    this.#held = rest
  }
}
