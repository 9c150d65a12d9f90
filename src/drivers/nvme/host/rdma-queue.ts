// What a connection of the RDMA host is made of: struct nvme_rdma_queue and nvme_rdma_request of drivers/nvme/host/rdma.c,
// Linux 4.19.

import type { request_queue } from '../../../block/blkdev.js'
import { completion } from '../../../kernel/completion.js'
import { ETIMEDOUT } from '../../../kernel/errno.js'
import type { workqueue_struct } from '../../../kernel/workqueue-structs.js'
import type { ib_client, rdma_cm_id, rdma_fabric } from '../verbs.js'
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
  /** nvme_rdma_wq of the 4.9 era. */
  readonly wq: workqueue_struct | null
  /** 4.9: asks for the end of a controller. 0 or -EBUSY. */
  del(ctrl: nvme_ctrl): number
}

// ---------------------------------------------------------------- queues

/** struct nvme_rdma_request. */
interface nvme_rdma_request {
  readonly q: request_queue | null
  readonly rq: number
  /** Send and response are still to come. */
  left: number
  answer: Uint8Array | null
  /** A buffer in place of several pieces; 0 = none. */
  readonly bounce: number
}

/** Bits of SGLS: keyed descriptors, offsets for data in the capsule. */
export const SGLS_KEYED = 4
export const SGLS_OFFSET: number = 1 << 20

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
  readonly requests: Map<number, nvme_rdma_request> = new Map()

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
    this.cm_done = new completion(life.ctrl.k, 'a connection')
    this.cm_id = m.fabric.rdma_create_id(handler(this))
  }
}

export function queue_at(
  m: nvme_rdma_module,
  c: nvmf_life,
  qid: number,
): nvme_rdma_queue | undefined {
  return m.queues.get(c)?.[qid]
}
