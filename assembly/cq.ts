// The NVMe driver's way up: drivers/nvme/host/pci.c of Linux 4.19, from the completion ring to the
// block layer.
//
//   nvme_process_cq       takes every new entry (phase bit), moves the head, rings its doorbell once
//   nvme_handle_cqe       finds the request by its command identifier
//   blk_mq_complete_request   IN_FLIGHT -> COMPLETE; to the submitting CPU if that is another one
//   nvme_complete_rq      good: the request ends here; bad: TypeScript decides (retry or fail)
//
// An identifier that names nothing in flight is counted (NQ_SPURIOUS) and otherwise ignored.

import {
  CPU_DONE_LIST, CPU_ERR, CPU_IPIS, CPU_SLOW, HC_DRIVER_DATA, M_BASE, M_COST_COMPLETE, M_COST_IPI,
  NQ_CQ, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_SPURIOUS, NQ_TAGS, RQ_CPU, RQ_HCTX, RQ_NEXT,
  RQ_PRP_LIST, RQ_STATUS, TAGS_NR, TAGS_RQS,
} from './layout'
import { BLK_STS_OK, CQE_BYTES, CQE_DW0, CQE_DW3 } from './nvme'
import { spend } from './clock'
import { nvme_ring_cq_doorbell } from './doorbell'
import { blk_mq_end_request, blk_mq_mark_complete, pair, rq_push, rq_push_atomic } from './request'
import { nvme_unmap_data } from './sq'
import { wake_cpu } from './wake'

/** True if the entry at the head is new. */
export function nvme_cqe_pending(nq: u32): bool {
  const cqe = load<u32>(nq, NQ_CQ) + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
  return ((atomic.load<u32>(cqe, CQE_DW3) >> 16) & 1) == load<u32>(nq, NQ_CQ_PHASE)
}

/** The driver is done with a request, on the CPU that submitted it. */
// @ts-ignore: decorator
@inline
export function nvme_complete_rq(cpu: u32, rq: u32, status: u32): void {
  if (load<u32>(rq, RQ_PRP_LIST)) nvme_unmap_data(load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER_DATA), rq)
  if (status) {
    rq_push(cpu + CPU_ERR, rq)
    store<u32>(cpu, 1, CPU_SLOW)
    return
  }
  blk_mq_end_request(cpu, rq, BLK_STS_OK)
}

/** Hands a request to the CPU that submitted it: Linux's IPI. RQ_STATUS says how it went. */
export function complete_remote(cpu: u32, to: u32, rq: u32): void {
  rq_push_atomic(to + CPU_DONE_LIST, rq)
  store<u64>(cpu, load<u64>(cpu, CPU_IPIS) + 1, CPU_IPIS)
  spend(cpu, load<u32>(M_BASE, M_COST_IPI))
  wake_cpu(to)
}

/** Once for each start of a request; a second completion changes nothing. */
// @ts-ignore: decorator
@inline
function blk_mq_complete_request(cpu: u32, rq: u32, status: u32): bool {
  if (!blk_mq_mark_complete(rq)) return false
  const to = load<u32>(rq, RQ_CPU)
  if (to == cpu) nvme_complete_rq(cpu, rq, status)
  else complete_remote(cpu, to, rq)
  return true
}

/** Completes what other CPUs handed to this one: how many. */
export function complete_done_list(cpu: u32): u32 {
  if (!atomic.load<u32>(cpu, CPU_DONE_LIST)) return 0
  let rq = atomic.xchg<u32>(cpu, 0, CPU_DONE_LIST)
  let n: u32 = 0
  while (rq) {
    const next = load<u32>(rq, RQ_NEXT)
    nvme_complete_rq(cpu, rq, load<u32>(rq, RQ_STATUS))
    rq = next
    n++
  }
  return n
}

// @ts-ignore: decorator
@inline
function nvme_handle_cqe(cpu: u32, nq: u32, tags: u32, cqe: u32, dw3: u32): void {
  spend(cpu, load<u32>(M_BASE, M_COST_COMPLETE))
  const cid = dw3 & 0xffff
  const rq: u32 = cid < load<u32>(tags, TAGS_NR) ? load<u32>(load<u32>(tags, TAGS_RQS) + (cid << 2)) : 0
  if (rq) {
    const status = dw3 >> 17
    store<u64>(rq, pair(status, load<u32>(cqe, CQE_DW0)), RQ_STATUS) // and RQ_RESULT
    if (blk_mq_complete_request(cpu, rq, status)) return
  }
  store<u32>(nq, load<u32>(nq, NQ_SPURIOUS) + 1, NQ_SPURIOUS)
}

/** Takes up to `max` new entries: how many there were. Owner of the queue only. */
export function nvme_process_cq(cpu: u32, nq: u32, max: u32): u32 {
  const base = load<u32>(nq, NQ_CQ)
  const tags = load<u32>(nq, NQ_TAGS)
  const depth = load<u32>(nq, NQ_DEPTH)
  let head = load<u32>(nq, NQ_CQ_HEAD)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let found: u32 = 0
  while (found < max) {
    const cqe = base + head * CQE_BYTES
    // The phase is read first and atomically; the rest of the entry was written before it.
    const dw3 = atomic.load<u32>(cqe, CQE_DW3)
    if (((dw3 >> 16) & 1) != phase) break
    if (++head == depth) {
      head = 0
      phase ^= 1
    }
    nvme_handle_cqe(cpu, nq, tags, cqe, dw3)
    found++
  }
  if (!found) return 0
  store<u32>(nq, head, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  nvme_ring_cq_doorbell(cpu, nq)
  return found
}
