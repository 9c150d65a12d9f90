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
  CLOCK_VIRTUAL, CPU_CLOCK, CPU_DONE_LIST, CPU_ENDED, CPU_ERR, CPU_INDEX, CPU_IPIS, CPU_NOW,
  CPU_SLOW, CPU_STAGES, CTX_COMPLETED_ASYNC, CTX_SIZE, CTX_STAT_IOS, CTX_STAT_SECTORS,
  CTX_STAT_TICKS, DRIVER_NULL_BLK, HB_COMPLETED, HC_DRIVER, HC_DRIVER_DATA, HC_FLAGS, HC_GATE,
  HC_OWNER, HC_Q, IOU_JOB, IOU_NEXT, JOB_ENDED, M_BASE, M_COST_COMPLETE, M_COST_IPI, MQ_RQ_IDLE,
  MQ_RQ_IN_FLIGHT, NQ_CQ, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_HCTX, NQ_SHARED, NQ_SPURIOUS,
  NQ_TAGS, Q_CTXS, RQ_BIO, RQ_CMD_FLAGS, RQ_CPU, RQ_DATA_LEN, RQ_HCTX, RQ_INTERNAL_TAG, RQ_NEXT,
  RQ_PRP_LIST, RQ_START_NS, RQ_STATE, RQ_STATUS, SBQ_HINT_SIZE, SBQ_HINTS, SBQ_MAP,
  SBQ_ROUND_ROBIN, SBQ_SHIFT, SBQ_WAITERS, SBW_SIZE, SECTOR_SHIFT, TAGS_BITMAP, TAGS_NR,
  TAGS_RESERVED, TAGS_RQS,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, BLK_STS_OK, CQE_BYTES, CQE_DW0, CQE_DW3, REQ_OP_MASK, RQF_PLAIN,
} from './nvme'
import {
  FN___blk_mq_complete_request_remote, FN_blk_mq_complete_request, FN_blk_should_fake_timeout,
  FN_null_softirq_done_fn, FN_nvme_complete_rq, FN_nvme_pci_complete_rq,
  FN_smp_call_function_single_async,
} from './trace-names'
import { spend } from './clock'
import { host, hosted } from './host'
import { enter, entered, leave, trace_irq_enter, trace_irq_exit } from './trace'
import { nvme_ring_cq_doorbell } from './doorbell'
import {
  blk_mq_end_request, blk_mq_mark_complete, op_is_sync, pair, rq_push, rq_push_atomic, stages_done,
} from './request'
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
  const t = enter(cpu, FN_nvme_complete_rq)
  blk_mq_end_request(cpu, rq, BLK_STS_OK)
  leave(cpu, t)
}

/** nvme_pci_complete_rq, or null_softirq_done_fn: the request's own driver. */
function softirq_done(cpu: u32, rq: u32): void {
  const null_blk = load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER) == DRIVER_NULL_BLK
  const status = load<u32>(rq, RQ_STATUS)
  const t = enter(cpu, null_blk ? FN_null_softirq_done_fn : FN_nvme_pci_complete_rq)
  if (null_blk && !status) blk_mq_end_request(cpu, rq, BLK_STS_OK)
  else nvme_complete_rq(cpu, rq, status)
  leave(cpu, t)
}

/** Hands a request to the CPU that submitted it: Linux's IPI. RQ_STATUS says how it went. */
export function complete_remote(cpu: u32, to: u32, rq: u32): void {
  entered(cpu, FN_smp_call_function_single_async)
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
  const t = enter(cpu, FN_blk_mq_complete_request)
  const to = load<u32>(rq, RQ_CPU)
  entered(cpu, FN_blk_should_fake_timeout)
  if (hosted() && load<i32>(rq, RQ_INTERNAL_TAG) >= 0) host(cpu, HB_COMPLETED, rq, 0)
  const p = enter(cpu, FN_nvme_pci_complete_rq)
  if (to == cpu) nvme_complete_rq(cpu, rq, status)
  leave(cpu, p)
  if (to != cpu) complete_remote(cpu, to, rq)
  leave(cpu, t)
  return true
}

/** Completes what other CPUs handed to this one: how many. */
export function complete_done_list(cpu: u32): u32 {
  if (!atomic.load<u32>(cpu, CPU_DONE_LIST)) return 0
  let rq = atomic.xchg<u32>(cpu, 0, CPU_DONE_LIST)
  let n: u32 = 0
  while (rq) {
    const next = load<u32>(rq, RQ_NEXT)
    if (isDefined(TRACE_BUILD)) {
      const before = trace_irq_enter(cpu)
      const t = enter(cpu, FN___blk_mq_complete_request_remote)
      softirq_done(cpu, rq)
      leave(cpu, t)
      trace_irq_exit(cpu, before)
    } else nvme_complete_rq(cpu, rq, load<u32>(rq, RQ_STATUS))
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

/**
 * Ends good completions of plain requests, as nvme_handle_cqe down to blk_mq_put_tag would, with what
 * is common to them loaded once and counters added up. Stops at the first entry that is not plain.
 */
function process_plain(cpu: u32, nq: u32, max: u32): u32 {
  const hctx = load<u32>(nq, NQ_HCTX)
  const tags = load<u32>(nq, NQ_TAGS)
  const sbq = tags + TAGS_BITMAP
  const base = load<u32>(nq, NQ_CQ)
  const depth = load<u32>(nq, NQ_DEPTH)
  const rqs = load<u32>(tags, TAGS_RQS)
  const nr = load<u32>(tags, TAGS_NR)
  const map = load<u32>(sbq, SBQ_MAP)
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const cost: u64 = load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL ? load<u32>(M_BASE, M_COST_COMPLETE) : 0
  const stages = load<u32>(cpu, CPU_STAGES)
  const ctx = load<u32>(load<u32>(hctx, HC_Q), Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE
  let now = load<u64>(cpu, CPU_NOW)
  let head = load<u32>(nq, NQ_CQ_HEAD)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let last: u32 = 0
  let reads: u32 = 0
  let syncs: u32 = 0
  let read_sectors: u64 = 0
  let write_sectors: u64 = 0
  let read_ticks: u64 = 0
  let write_ticks: u64 = 0
  let n: u32 = 0
  while (n < max) {
    const dw3 = atomic.load<u32>(base + head * CQE_BYTES, CQE_DW3)
    const cid = dw3 & 0xffff
    // a bad status, an old phase, or an identifier that cannot be: not plain
    if (dw3 >> 16 != phase || cid >= nr) break
    const rq = load<u32>(rqs + (cid << 2))
    const flags = load<u64>(rq, RQ_CMD_FLAGS) // and RQ_FLAGS
    const opf = <u32>flags
    // Free slots have no RQF_PLAIN: a second completion of one is not plain.
    if (!(<u32>(flags >> 32) & RQF_PLAIN) || load<u32>(rq, RQ_STATE) != MQ_RQ_IN_FLIGHT) break
    const bio = load<u32>(rq, RQ_BIO)
    now += cost
    if (stages) stages_done(cpu, rq, now)
    const sectors = load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT
    const start = load<u64>(rq, RQ_START_NS)
    const ticks: u64 = now > start ? now - start : 0
    syncs += op_is_sync(opf) ? 1 : 0
    if (opf & REQ_OP_MASK) {
      write_sectors += sectors
      write_ticks += ticks
    } else {
      reads++
      read_sectors += sectors
      read_ticks += ticks
    }
    store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
    const job = load<u32>(bio, IOU_JOB)
    store<u32>(bio, load<u32>(job, JOB_ENDED), IOU_NEXT)
    store<u32>(job, bio, JOB_ENDED)
    const word = map + (cid >> shift) * SBW_SIZE
    store<u64>(word, load<u64>(word) & ~(<u64>1 << (cid & ((1 << shift) - 1))))
    last = cid
    n++
    if (++head == depth) {
      head = 0
      phase ^= 1
    }
  }
  if (!n) return 0
  store<u32>(nq, head, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  store<u64>(cpu, now, CPU_NOW)
  store<u32>(load<u32>(sbq, SBQ_HINTS) + load<u32>(cpu, CPU_INDEX) * SBQ_HINT_SIZE, last)
  add(cpu + CPU_ENDED, n)
  if (n > syncs) add(ctx + CTX_COMPLETED_ASYNC, n - syncs)
  if (syncs) add(ctx + CTX_COMPLETED_ASYNC + 8, syncs)
  if (reads) {
    add(ctx + CTX_STAT_IOS, reads)
    add(ctx + CTX_STAT_SECTORS, read_sectors)
    add(ctx + CTX_STAT_TICKS, read_ticks)
  }
  if (n > reads) {
    add(ctx + CTX_STAT_IOS + 8, n - reads)
    add(ctx + CTX_STAT_SECTORS + 8, write_sectors)
    add(ctx + CTX_STAT_TICKS + 8, write_ticks)
  }
  return n
}

function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** True if completions of this queue may go the short way: one CPU, no waiters, no gate, no reserved tags. */
function cq_is_plain(cpu: u32, nq: u32): bool {
  if (isDefined(TRACE_BUILD) || load<u32>(nq, NQ_SHARED)) return false
  const tags = load<u32>(nq, NQ_TAGS)
  const hctx = load<u32>(nq, NQ_HCTX)
  if (load<u32>(tags, TAGS_RESERVED) || atomic.load<u32>(hctx, HC_GATE)) return false
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED || load<u32>(hctx, HC_OWNER) != cpu) return false
  return !load<u32>(tags + TAGS_BITMAP, SBQ_WAITERS) && !load<u32>(tags + TAGS_BITMAP, SBQ_ROUND_ROBIN)
}

/** Takes up to `max` new entries: how many there were. Owner of the queue only. */
export function nvme_process_cq(cpu: u32, nq: u32, max: u32): u32 {
  const base = load<u32>(nq, NQ_CQ)
  const tags = load<u32>(nq, NQ_TAGS)
  const depth = load<u32>(nq, NQ_DEPTH)
  let found: u32 = cq_is_plain(cpu, nq) ? process_plain(cpu, nq, max) : 0
  let head = load<u32>(nq, NQ_CQ_HEAD)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
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
