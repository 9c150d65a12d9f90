// What a connection of the RDMA host is made of: struct nvme_rdma_queue and nvme_rdma_request of drivers/nvme/host/rdma.c,
// Linux 4.19.

import type { request_queue } from '../../../block/blkdev.js'
import { completion } from '../../../kernel/completion.js'
import { ETIMEDOUT } from '../../../kernel/errno.js'
import type { workqueue_struct } from '../../../kernel/workqueue-structs.js'
import { ib_mr_pool } from '../mr-pool.js'
import type { ib_client, ib_mr, ib_pd, rdma_cm_id, rdma_fabric } from '../verbs.js'
import type { nvmf_life } from './fabrics-life.js'
import type { nvmf_module, nvmf_transport_ops } from './fabrics.js'
import type { nvme_ctrl } from './nvme.js'

/** The module nvme_rdma of one kernel. */
export interface nvme_rdma_module {
  readonly f: nvmf_module
  readonly fabric: rdma_fabric
  readonly clients: ib_client[]
  readonly client: ib_client
  readonly ctrls: nvmf_life[]
  readonly queues: Map<nvmf_life, (nvme_rdma_queue | undefined)[]>
  readonly transport: nvmf_transport_ops
  /** Users of the one device: queue pairs and sets of tags. */
  device_refs: number
  /** The device's protection domain, while it has users. */
  pd: ib_pd | null
  /** Module parameter: memory is registered even where it is one piece; else there is a key to all of it. */
  readonly register_always: boolean
  /** What was sent, by request. */
  readonly requests: Map<number, nvme_rdma_request>
  /** nvme_rdma_wq of the 4.9 era. */
  readonly wq: workqueue_struct | null
  /** 4.9: asks for the end of a controller. 0 or -EBUSY. */
  del(ctrl: nvme_ctrl): number
}

// ---------------------------------------------------------------- queues

/** struct nvme_rdma_request. */
export class nvme_rdma_request {
  readonly queue: nvme_rdma_queue
  readonly q: request_queue
  readonly rq: number
  /** Completions that are still to come: send and response. */
  left: number
  answer: Uint8Array | null = null
  mr: ib_mr | null = null
  /** Its key is valid, as far as is known. */
  need_inval = false

  constructor(queue: nvme_rdma_queue, q: request_queue, rq: number, left: number) {
    this.queue = queue
    this.q = q
    this.rq = rq
    this.left = left
  }
}

/** Bits of SGLS: keyed descriptors, offsets for data in the capsule. */
export const SGLS_KEYED = 4
export const SGLS_OFFSET: number = 1 << 20

/** Sends of 4.9 of which one completes. */
const SIGNAL_EACH = 32

export class nvme_rdma_queue {
  readonly life: nvmf_life
  readonly qid: number
  readonly size: number
  readonly cm_id: rdma_cm_id
  readonly cm_done: completion
  /** -1 until the connection is there or failed. */
  cm_error: number = -ETIMEDOUT
  waiting = true
  /** It has a queue pair. */
  has_ib = false
  stopped = false
  readonly rdma_mrs: ib_mr_pool = new ib_mr_pool()
  /** By tag. */
  readonly requests: Map<number, nvme_rdma_request> = new Map()
  /** The 4.9 era's. */
  readonly old: boolean
  #sends = 0

  /** @param handler takes the connection manager's events */
  constructor(
    m: nvme_rdma_module,
    life: nvmf_life,
    qid: number,
    size: number,
    handler: (
      queue: nvme_rdma_queue,
    ) => Parameters<nvme_rdma_module['fabric']['rdma_create_id']>[0],
  ) {
    this.life = life
    this.qid = qid
    this.size = size
    this.old = m.wq !== null
    this.cm_done = new completion(life.ctrl.k, 'a connection')
    this.cm_id = m.fabric.rdma_create_id(handler(this))
  }

  /** 4.9: whether this send tells when it is done, which frees the places of all before it. */
  signal_limit(): boolean {
    return ++this.#sends % SIGNAL_EACH === 0
  }
}

export function queue_at(
  m: nvme_rdma_module,
  c: nvmf_life,
  qid: number,
): nvme_rdma_queue | undefined {
  return m.queues.get(c)?.[qid]
}
