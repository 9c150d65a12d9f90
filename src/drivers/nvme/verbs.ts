// RDMA as its users see it: include/rdma/rdma_cm.h and ib_verbs.h, as far as nvme_rdma and nvmet_rdma use them. The other
// side of this interface is an emulated fabric (src/device/verbs.ts).
//
// Events of connections come in a worker's context; completions of work requests come in the softirq of the CPU (host)
// or in a worker (target), as each side asks for. What may sleep in a worker is a generator.

import type { KernelCore, Sleep } from '../../kernel/core.js'
import { enter, leave } from '../../kernel/trace.js'

export type rdma_cm_event =
  | 'ADDR_RESOLVED'
  | 'ADDR_ERROR'
  | 'ROUTE_RESOLVED'
  | 'CONNECT_REQUEST'
  | 'ESTABLISHED'
  | 'REJECTED'
  | 'UNREACHABLE'
  | 'DISCONNECTED'

/** A method's type, so that a fabric may know more of its own connections than its users do. */
export type rdma_event_handler = { handle(event: rdma_event): void }['handle']

/** What an event brings. */
export interface rdma_event {
  readonly event: rdma_cm_event
  /** Private data of CONNECT_REQUEST, ESTABLISHED and REJECTED. */
  readonly data: Uint8Array
  /** Of CONNECT_REQUEST: the new connection. */
  readonly id?: rdma_cm_id
}

/** The status of a work request's completion. */
export type ib_wc_status = 'SUCCESS' | 'WR_FLUSH_ERR' | 'RETRY_EXC_ERR'

/** How a completion is taken. */
export type ib_poll_context = 'softirq' | 'workqueue'

/** struct ib_qp_init_attr: how much a queue pair and its completion queue hold. Who posts more has miscounted. */
export interface ib_qp_init {
  readonly poll: ib_poll_context
  readonly max_send_wr: number
  readonly max_recv_wr: number
  readonly cqe: number
}

export type ib_done = (status: ib_wc_status, message: Uint8Array | null) => Sleep<void> | undefined

/** One end of a connection, with its queue pair. */
export interface rdma_cm_id {
  handler: rdma_event_handler
  /** Leads to ADDR_RESOLVED or ADDR_ERROR. */
  rdma_resolve_addr(address: string): void
  /** Leads to ROUTE_RESOLVED. */
  rdma_resolve_route(): void
  /** Leads to ESTABLISHED, REJECTED or UNREACHABLE. */
  rdma_connect(data: Uint8Array): void
  rdma_accept(data: Uint8Array): void
  rdma_reject(data: Uint8Array): void
  /** Posted work requests are flushed, the other end is told. */
  rdma_disconnect(): void
  rdma_destroy_id(): void
  /** The queue pair, with a completion queue of its own. */
  rdma_create_qp(init: ib_qp_init): void
  rdma_destroy_qp(): void
  readonly has_qp: boolean
  ib_post_recv(done: ib_done): void
  /** A message for the other end; `done` may be null: unsignalled. */
  ib_post_send(message: Uint8Array, done: ib_done | null): void
  /** Copies between this machine's memory and the other's, then completes. */
  rdma_read(remote: number, local: number, bytes: number, done: ib_done): void
  rdma_write(remote: number, local: number, bytes: number): void
  /** Nothing of this queue pair completes any more when it returns. */
  ib_drain_qp(): Sleep<void>
}

/** A fabric as its users find it. */
export interface rdma_fabric {
  rdma_create_id(handler: rdma_event_handler): rdma_cm_id
  rdma_listen(address: string, handler: rdma_event_handler): void
  rdma_unlisten(address: string): void
}

/** A user that wants to hear of devices that come and go. */
export interface ib_client {
  readonly name: string
}

/** @returns 0 */
export function ib_register_client(k: KernelCore, clients: ib_client[], client: ib_client): number {
  const t = enter(k, 'ib_register_client')
  clients.push(client)
  return leave(k, t, 0)
}

export function ib_unregister_client(k: KernelCore, clients: ib_client[], client: ib_client): void {
  const t = enter(k, 'ib_unregister_client')
  clients.splice(clients.indexOf(client), 1)
  leave(k, t)
}

/** Private data of a connection request: queue, depths (recfmt 0). */
export const RDMA_CM_REQ_BYTES = 32
export const RDMA_REJECT = {
  invalid_length: 1,
  recfmt: 2,
  qid: 3,
  hsqsize: 4,
  hrqsize: 5,
  no_resources: 6,
} as const
