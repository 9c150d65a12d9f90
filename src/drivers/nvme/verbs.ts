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
export type ib_wc_status =
  | 'SUCCESS'
  | 'LOC_QP_OP_ERR'
  | 'MW_BIND_ERR'
  | 'REM_ACCESS_ERR'
  | 'REM_INV_REQ_ERR'
  | 'RETRY_EXC_ERR'
  | 'WR_FLUSH_ERR'

/** struct ib_wc. */
export interface ib_wc {
  readonly status: ib_wc_status
  /** What was received. */
  readonly message: Uint8Array | null
  /** IB_WC_WITH_INVALIDATE: the key that was invalidated with it. */
  readonly invalidate_rkey: number | null
}

export type ib_done = (wc: ib_wc) => Sleep<void> | undefined

/** How a completion is taken. */
export type ib_poll_context = 'softirq' | 'workqueue'

// ---------------------------------------------------------------- memory

export const IB_ACCESS_LOCAL_WRITE = 1
export const IB_ACCESS_REMOTE_WRITE = 2
export const IB_ACCESS_REMOTE_READ = 4

/** struct scatterlist: a piece of memory. */
export interface ib_sge {
  readonly addr: number
  readonly bytes: number
}

/** A region of memory that can be registered by a work request. */
export interface ib_mr {
  /** What gives the other end the right to reach it, once it is registered. */
  rkey: number
  /** Where it begins for the other end, and its bytes. */
  readonly iova: number
  readonly length: number
  /** @returns how many of the pieces it could take */
  ib_map_mr_sg(sg: readonly ib_sge[]): number
  ib_dereg_mr(): void
}

/** A protection domain: what its queue pairs' other ends may reach. */
export interface ib_pd {
  /** IB_PD_UNSAFE_GLOBAL_RKEY: a key to everything; null without. */
  readonly unsafe_global_rkey: number | null
  /** @returns null when the device has no more */
  ib_alloc_mr(max_num_sg: number): ib_mr | null
  ib_dealloc_pd(): void
}

/** The next key of the same region: the lowest eight bits are its user's. */
export function ib_inc_rkey(rkey: number): number {
  return ((rkey & 0xffffff00) | ((rkey + 1) & 0xff)) >>> 0
}

export function ib_update_fast_reg_key(mr: ib_mr, newkey: number): void {
  mr.rkey = ((mr.rkey & 0xffffff00) | (newkey & 0xff)) >>> 0
}

// ---------------------------------------------------------------- work requests

interface wr_end {
  /** IB_SEND_SIGNALED. Who fails completes in any case. */
  readonly signaled: boolean
  readonly done: ib_done | null
}

export interface ib_reg_wr extends wr_end {
  readonly opcode: 'REG_MR'
  readonly mr: ib_mr
  readonly key: number
  readonly access: number
}

export interface ib_rdma_wr extends wr_end {
  readonly opcode: 'RDMA_READ' | 'RDMA_WRITE'
  readonly remote_addr: number
  readonly rkey: number
  readonly local: number
  readonly bytes: number
}

export type ib_send_wr =
  | ({ readonly opcode: 'SEND'; readonly message: Uint8Array } & wr_end)
  | ({
      readonly opcode: 'SEND_WITH_INV'
      readonly message: Uint8Array
      readonly invalidate_rkey: number
    } & wr_end)
  | ({ readonly opcode: 'LOCAL_INV'; readonly invalidate_rkey: number } & wr_end)
  | ib_reg_wr
  | ib_rdma_wr

/** struct ib_qp_init_attr: how much a queue pair and its completion queue hold. Who posts more has miscounted. */
export interface ib_qp_init {
  /** null: nothing of this end's memory is anybody's. */
  readonly pd: ib_pd | null
  readonly poll: ib_poll_context
  readonly max_send_wr: number
  readonly max_recv_wr: number
  readonly cqe: number
  /** Hears of errors that no completion tells. */
  readonly event_handler?: (event: 'QP_ACCESS_ERR') => void
}

// ---------------------------------------------------------------- connections

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
  /** A chain of work requests, done in order. */
  ib_post_send(chain: readonly ib_send_wr[]): void
  /** Nothing of this queue pair completes any more when it returns. */
  ib_drain_qp(): Sleep<void>
}

/** A fabric as its users find it. */
export interface rdma_fabric {
  /** Pieces of memory that one RDMA READ or WRITE takes. */
  readonly max_sge: number
  /** @param global with a key to all memory (IB_PD_UNSAFE_GLOBAL_RKEY) */
  ib_alloc_pd(global: boolean): ib_pd
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
