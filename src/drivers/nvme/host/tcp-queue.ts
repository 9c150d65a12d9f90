// What a connection of the TCP host is made of: struct nvme_tcp_queue and nvme_tcp_request of drivers/nvme/host/tcp.c,
// Linux 5.10.
//
// Each tag has a request, which is out from queue_rq to its answer; 31 is the Asynchronous Event Request's.

import type { planned_memory } from '../../../block/blk-mq-init.js'
import type { request_queue } from '../../../block/blkdev.js'
import { completion } from '../../../kernel/completion.js'
import { INIT_WORK, queue_work_on } from '../../../kernel/workqueue-queue.js'
import {
  type WorkFn,
  work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import {
  NVME_TCP_ADMIN_CCSZ,
  nvme_tcp_reader,
  type pdu_digests,
  type pdu_sink,
} from '../nvme-tcp.js'
import { CMD_BYTES } from '../nvme.js'
import type { socket } from '../socket.js'
import { nvme_complete_async_event } from './core-event.js'
import { NVMF_AEN_CID, type nvmf_life } from './fabrics-life.js'
import type { nvmf_module, nvmf_transport_ops } from './fabrics.js'
import { nvme_end_request, type rq_piece } from './setup-cmd.js'

/** How this machine makes connections: `done` gets the socket, or -errno. */
export type nvme_tcp_connector = (
  traddr: string,
  trsvcid: string,
  done: (result: socket | number) => void,
) => void

/** The module nvme_tcp of one kernel. */
export interface nvme_tcp_module {
  readonly f: nvmf_module
  readonly wq: workqueue_struct
  readonly ctrls: nvmf_life[]
  readonly connect: nvme_tcp_connector
  readonly transport: nvmf_transport_ops
  readonly memory: planned_memory | null
}

// ---------------------------------------------------------------- requests

const NO_PIECES: readonly rq_piece[] = []

/** struct nvme_tcp_request: what is out under a tag. */
export class nvme_tcp_request {
  readonly cmd: Uint8Array = new Uint8Array(CMD_BYTES)
  /** 0 = the Asynchronous Event Request. */
  rq = 0
  q: request_queue | null = null
  /** Whether an answer may come: given to the queue, and not ended. */
  out = false
  pieces: readonly rq_piece[] = NO_PIECES
  data_len = 0
  inline = false
  /** Bytes that came in, or were asked for by R2Ts. */
  done = 0
  /** What an R2T asks for now. */
  r2t: { ttag: number; offset: number; length: number } | null = null
}

export class nvme_tcp_queue {
  readonly life: nvmf_life
  readonly qid: number
  readonly size: number
  readonly sock: socket
  readonly reader: nvme_tcp_reader
  readonly io_work: work_struct<nvme_tcp_queue>
  readonly wq: workqueue_struct
  readonly io_cpu: number
  /** By command identifier. */
  readonly requests: readonly nvme_tcp_request[]
  /** To be sent, in order: commands, and requests whose data were asked for. */
  readonly send_list: nvme_tcp_request[] = []
  readonly init: completion
  digests: pdu_digests = { hdr_digest: false, data_digest: false }
  /** 0 until ICResp; -1: it was not acceptable. */
  maxh2cdata = 0
  stopped = false
  receiving: nvme_tcp_request | null = null

  /** @param sink takes what the connection's reader finds */
  constructor(
    m: nvme_tcp_module,
    life: nvmf_life,
    qid: number,
    size: number,
    sock: socket,
    sink: (queue: nvme_tcp_queue) => pdu_sink,
    io_work: WorkFn<nvme_tcp_queue>,
  ) {
    const { k } = life.ctrl
    this.life = life
    this.qid = qid
    this.size = size
    const identifiers = Math.max(size, NVMF_AEN_CID + 1)
    this.requests = Array.from({ length: identifiers }, () => new nvme_tcp_request())
    this.sock = sock
    this.wq = m.wq
    this.io_cpu = qid === 0 ? 0 : (qid - 1) % k.cpus.length
    this.reader = new nvme_tcp_reader('controller', sink(this))
    this.io_work = new work_struct<nvme_tcp_queue>(k, this)
    this.init = new completion(k, 'ICResp')
    INIT_WORK(this.io_work, io_work)
  }
}

export function kick(queue: nvme_tcp_queue): void {
  queue_work_on(queue.io_cpu, queue.wq, queue.io_work)
}

/** Bytes of data that a command of this queue may carry itself. */
export function inline_data_size(queue: nvme_tcp_queue): number {
  if (queue.qid === 0) return NVME_TCP_ADMIN_CCSZ
  return Math.max(0, queue.life.ctrl.ioccsz * 16 - CMD_BYTES)
}

/** The request that is out under an identifier, if one is. */
export function request_of(queue: nvme_tcp_queue, cid: number): nvme_tcp_request | null {
  if (cid >= queue.requests.length) return null
  const req = queue.requests[cid]!
  return req.out ? req : null
}

export function take_request(queue: nvme_tcp_queue, cid: number): nvme_tcp_request {
  const req = queue.requests[cid]!
  req.rq = 0
  req.q = null
  req.pieces = NO_PIECES
  req.data_len = 0
  req.inline = false
  req.done = 0
  req.r2t = null
  req.out = true
  return req
}

/** What came is the answer: the request is over as far as this queue is concerned. `low`, `high`: its result. */
export function end_request(
  queue: nvme_tcp_queue,
  cid: number,
  status: number,
  low: number,
  high: number,
): boolean {
  const req = request_of(queue, cid)
  if (req === null || queue.stopped) return false
  req.out = false
  const { rq, q } = req
  // It may be on the list still: an answer before all was sent.
  if (queue.send_list.length > 0) {
    const at = queue.send_list.indexOf(req)
    if (at >= 0) queue.send_list.splice(at, 1)
  }
  if (rq === 0) nvme_complete_async_event(queue.life.ctrl, status, low)
  else nvme_end_request(q!, rq, status, low, high)
  return true
}

// ---------------------------------------------------------------- connections

export function queues_of(m: nvme_tcp_module, c: nvmf_life): (nvme_tcp_queue | undefined)[] {
  return (m as tcp_state).queues.get(c)!
}

export interface tcp_state extends nvme_tcp_module {
  readonly queues: Map<nvmf_life, (nvme_tcp_queue | undefined)[]>
}
