// What becomes of commands that ended with an error: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_req_needs_retry   no DNR, not failfast, fewer than nvme_max_retries tries so far; in 4.9 also: not too late
//   nvme_error_status      the block layer's word for an NVMe status
//   nvme_complete_rq       retries the request, or ends it
//
// Multipath is not modelled.

import {
  CPU_ERR,
  Q_TIMEOUT,
  RQ_CMD_FLAGS,
  RQ_HCTX,
  RQ_NEXT,
  RQ_RESULT,
  RQ_RETRIES,
  RQ_RETRIES_MASK,
  RQ_START_NS,
  RQ_STATUS,
  RQ_STATUS_FINAL,
  RQ_TIMEOUT,
} from '../../../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  BLK_STS_MEDIUM,
  BLK_STS_NEXUS,
  BLK_STS_NOSPC,
  BLK_STS_NOTSUPP,
  BLK_STS_OK,
  BLK_STS_PROTECTION,
  BLK_STS_TARGET,
  NVME_SC_DNR,
  REQ_FAILFAST_DEV,
  REQ_FAILFAST_DRIVER,
  REQ_FAILFAST_TRANSPORT,
} from '../../../../assembly/nvme.js'
import type { BlkContext } from '../../../block/blk-flush.js'
import {
  blk_mq_delay_kick_requeue_list,
  blk_mq_requeue_request,
  this_cpu,
} from '../../../block/blk-mq.js'
import type { request_queue } from '../../../block/blkdev.js'
import { enter, leave, trace_event } from '../../../kernel/trace.js'
import type { nvme_era } from './era.js'

/** Tries after the first one. */
export const nvme_max_retries = 5

const FAILFAST = REQ_FAILFAST_DEV | REQ_FAILFAST_TRANSPORT | REQ_FAILFAST_DRIVER

/** NVMe status (type and code, bits 10:0) to blk_status_t. */
const BLK_STATUS: ReadonlyMap<number, number> = new Map([
  [0x000, BLK_STS_OK],
  [0x081, BLK_STS_NOSPC],
  [0x080, BLK_STS_TARGET],
  [0x001, BLK_STS_NOTSUPP],
  [0x002, BLK_STS_NOTSUPP],
  [0x00b, BLK_STS_NOTSUPP],
  [0x180, BLK_STS_NOTSUPP],
  [0x183, BLK_STS_NOTSUPP],
  [0x280, BLK_STS_MEDIUM],
  [0x281, BLK_STS_MEDIUM],
  [0x286, BLK_STS_MEDIUM],
  [0x287, BLK_STS_MEDIUM],
  [0x182, BLK_STS_MEDIUM],
  [0x285, BLK_STS_MEDIUM],
  [0x282, BLK_STS_PROTECTION],
  [0x283, BLK_STS_PROTECTION],
  [0x284, BLK_STS_PROTECTION],
  [0x181, BLK_STS_PROTECTION],
  [0x083, BLK_STS_NEXUS],
])

/** The block layer's status for a completion's status field (without phase). */
export function nvme_error_status(status: number): number {
  return BLK_STATUS.get(status & 0x7ff) ?? BLK_STS_IOERR
}

/** Whether a request that ended with `status` is tried again. Code 0 is success, whatever the bits beside it say. */
export function nvme_req_needs_retry(status: number, opf: number, retries: number): boolean {
  if (nvme_error_status(status) === BLK_STS_OK) return false
  if (opf & FAILFAST || status & NVME_SC_DNR) return false
  return retries < nvme_max_retries
}

/** What nvme_alloc_ns puts into a queue: its namespace; null in admin queues. */
interface queue_owner {
  readonly ctrl?: { readonly crdt: readonly number[]; readonly nvme: { readonly era: nvme_era } }
}

/** Whether a request may still be tried again: in 4.9 not when it has taken its whole timeout, all tries together. */
function in_time(q: request_queue, rq: number): boolean {
  const { k, view } = q.blk
  const owner = q.queuedata as queue_owner | null
  if (!owner?.ctrl?.nvme.era.retries_in_time) return true
  const timeout = view.u32(rq + RQ_TIMEOUT) || view.u32(q.at + Q_TIMEOUT)
  return (k.now() - view.u64(rq + RQ_START_NS)) * k.hz < timeout * 1e9
}

/**
 * How long a command is to wait before it is tried again, ms: the controller's word, which kernels after 4.19 hear. Here
 * they all do: only a controller that was given delays has any (CRDT).
 */
function retry_delay(q: request_queue, status: number): number {
  const crd = (status & NVME_SC_CRD) >>> NVME_SC_CRD_SHIFT
  if (crd === 0) return 0
  const owner = q.queuedata as queue_owner | null
  return (owner?.ctrl?.crdt[crd - 1] ?? 0) * CRDT_MS
}

const NVME_SC_CRD = 0x1800
const NVME_SC_CRD_SHIFT = 11
const CRDT_MS = 100

/** The request waits on the requeue list, and is tried again. */
function nvme_retry_req(q: request_queue, rq: number, status: number): void {
  const { view } = q.blk
  view.setU32(rq + RQ_RETRIES, (view.u32(rq + RQ_RETRIES) & RQ_RETRIES_MASK) + 1)
  const ms = retry_delay(q, status)
  blk_mq_requeue_request(q, rq, ms === 0)
  if (ms > 0) blk_mq_delay_kick_requeue_list(q, ms)
}

/** Decides about a command that ended with an NVMe status that is not success: another try, or its end. */
export function nvme_complete_rq(q: request_queue, rq: number, status: number): void {
  const { k, core, view } = q.blk
  const t = enter(k, 'nvme_complete_rq')
  const retries = view.u32(rq + RQ_RETRIES) & RQ_RETRIES_MASK
  if (k.trace.on)
    trace_event(k, 'nvme_complete_rq', { res: view.u32(rq + RQ_RESULT), retries, status })
  const again = nvme_req_needs_retry(status, view.u32(rq + RQ_CMD_FLAGS), retries)
  if (again && !q.dying && in_time(q, rq)) nvme_retry_req(q, rq, status)
  else core.blk_mq_end_request(this_cpu(q.blk), rq, nvme_error_status(status))
  leave(k, t)
}

// ---------------------------------------------------------------- without a kernel

/** Decides about one request that ended with an error, on the CPU that submitted it. */
function complete_failed({ view, core, cpu }: BlkContext, rq: number): void {
  const status = view.u32(rq + RQ_STATUS)
  if (status & RQ_STATUS_FINAL) {
    core.blk_mq_end_request(cpu, rq, status & 0xff)
    return
  }
  const retries = view.u32(rq + RQ_RETRIES)
  if (!nvme_req_needs_retry(status, view.u32(rq + RQ_CMD_FLAGS), retries)) {
    core.blk_mq_end_request(cpu, rq, nvme_error_status(status))
    return
  }
  view.setU32(rq + RQ_RETRIES, retries + 1)
  core.__blk_mq_requeue_request(cpu, rq)
  core.blk_mq_request_bypass_insert(cpu, view.u32(rq + RQ_HCTX), rq, 0)
}

/** Decides about all requests of this CPU that ended with an error. */
export function nvme_complete_failed(context: BlkContext): void {
  const { view, cpu } = context
  const failed: number[] = []
  for (let rq = view.u32(cpu + CPU_ERR); rq; rq = view.u32(rq + RQ_NEXT)) failed.push(rq)
  view.setU32(cpu + CPU_ERR, 0)
  for (const rq of failed.reverse()) complete_failed(context, rq)
}
