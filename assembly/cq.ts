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
  CLOCK_REAL, CLOCK_VIRTUAL, CPU_CACHE, CPU_CLOCK, CPU_DEPTH, CPU_DONE_LIST, CPU_ENDED, CPU_ERR, CPU_INDEX, CPU_IPIS, CPU_NOW, CPU_OFFLINE,
  CPU_SLOW, CPU_STAGES, CTX_COMPLETED_ASYNC, CTX_SIZE, CTX_STAT_IOS, CTX_STAT_SECTORS,
  CTX_STAT_TICKS, DRIVER_HOST, DRIVER_NULL_BLK, HB_COMPLETED, HB_COMPLETE_FAILED, HB_COMPLETE_RQ, HB_NVME_CQE, HC_DRIVER, HC_DRIVER_DATA, HC_FLAGS, HC_GATE,
  HC_OWNER, HC_Q, IOU_JOB, IOU_NEXT, JOB_ENDED, JOB_PL_FLYING, MQ_RQ_IDLE, MQ_RQ_IN_FLIGHT, M_BASE,
  M_COST_COMPLETE, M_COST_IPI, NQ_CQ, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_HCTX, NQ_QID, NQ_SHARED,
  NQ_SPURIOUS, NQ_TAGS, Q_CTXS, Q_FLAGS, RQ_BIO, RQ_CMD_FLAGS, RQ_CPU, RQ_DATA_LEN, RQ_END_IO, RQ_END_PBLK, RQ_FLAGS, RQ_HCTX,
  RQ_INTERNAL_TAG, RQ_IO_START_NS, RQ_NEXT, RQ_PRP_LIST, RQ_RESULT, RQ_RESULT1, RQ_SIZE, RQ_START_NS, RQ_STATE, RQ_STATUS,
  SBQ_HINTS, SBQ_HINT_SIZE, SBQ_MAP, SBQ_ROUND_ROBIN, SBQ_SHIFT, SBQ_WAITERS, SBW_SIZE,
  SECTOR_SHIFT, TAGS_BITMAP, TAGS_NR, TAGS_RESERVED, TAGS_RQS, TAGS_STATIC_RQS,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, BLK_STS_OK, CQE_BYTES, CQE_DW0, CQE_DW1, CQE_DW3, QUEUE_FLAG_SAME_COMP, QUEUE_FLAG_SAME_FORCE, REQ_OP_MASK, RQF_IO_STAT, RQF_PLAIN,
  RQF_PLAIN_BIO,
} from './nvme'
import {
  EV_nvme_complete_rq, FN___blk_mq_complete_request_remote, FN_blk_mq_complete_request, FN_blk_mq_tag_to_rq,
  FN_blk_should_fake_timeout, FN_null_softirq_done_fn, FN_nvme_cleanup_cmd, FN_nvme_complete_cqes, FN_nvme_poll, FN_nvme_complete_rq,
  FN_nvme_free_iod, FN_nvme_pci_complete_rq, FN_nvme_should_fail, FN_smp_call_function_single_async,
} from './trace-names'
import { spend } from './clock'
import { host, hosted } from './host'
import { enter, entered, leave, nvme_event, trace_irq_enter, trace_irq_exit } from './trace'
import { nvme_ring_cq_doorbell } from './doorbell'
import { plain_bios } from './plain-bio'
import {
  blk_mq_end_request, blk_mq_mark_complete, op_is_sync, pair, plain_stamps, rq_push, rq_push_atomic, add_stages, submit_cost,
} from './request'
import { pblk_end_rq } from './pblk'
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
  entered(cpu, FN_nvme_cleanup_cmd)
  entered(cpu, FN_nvme_free_iod)
  if (load<u32>(rq, RQ_PRP_LIST)) nvme_unmap_data(load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER_DATA), rq)
  if (status) {
    if (hosted()) {
      host(cpu, HB_COMPLETE_FAILED, rq, status)
      return
    }
    if (load<u32>(cpu, CPU_STAGES)) plain_stamps(cpu, rq)
    rq_push(cpu + CPU_ERR, rq)
    store<u32>(rq, load<u32>(rq, RQ_FLAGS) & ~(RQF_PLAIN | RQF_PLAIN_BIO), RQ_FLAGS)
    store<u32>(cpu, 1, CPU_SLOW)
    return
  }
  if (load<u32>(rq, RQ_END_IO) == RQ_END_PBLK) {
    pblk_end_rq(cpu, rq)
    return
  }
  const t = enter(cpu, FN_nvme_complete_rq)
  if (isDefined(TRACE_BUILD)) complete_event(cpu, rq, 0)
  blk_mq_end_request(cpu, rq, BLK_STS_OK)
  leave(cpu, t)
}

/** The tracepoint nvme_complete_rq: queue, result, retries, status. */
function complete_event(cpu: u32, rq: u32, status: u32): void {
  const nq = load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER_DATA)
  nvme_event(cpu, EV_nvme_complete_rq, rq, load<u32>(nq, NQ_QID), load<u32>(rq, RQ_RESULT), status)
}

/** nvme_pci_complete_rq, or null_softirq_done_fn: the request's own driver. */
function softirq_done(cpu: u32, rq: u32): void {
  const driver = load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER)
  const null_blk = driver == DRIVER_NULL_BLK
  const status = load<u32>(rq, RQ_STATUS)
  if (driver == DRIVER_HOST) {
    host(cpu, HB_COMPLETE_RQ, rq, status)
    return
  }
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

/** Whether a request is completed here: it was submitted here, by a CPU that is gone, or rq_affinity lets it be. */
// @ts-ignore: decorator
@inline
export function completes_here(cpu: u32, to: u32, rq: u32): bool {
  return to == cpu || load<u32>(to, CPU_OFFLINE) != 0 || affinity_here(cpu, to, rq)
}

/** In real time a bio ends on its own CPU's thread, whatever rq_affinity says. */
function affinity_here(cpu: u32, to: u32, rq: u32): bool {
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_REAL) return false
  const flags = load<u32>(load<u32>(load<u32>(rq, RQ_HCTX), HC_Q), Q_FLAGS)
  if (!(flags & (1 << QUEUE_FLAG_SAME_COMP))) return true
  return !(flags & (1 << QUEUE_FLAG_SAME_FORCE)) && load<u32>(cpu, CPU_CACHE) == load<u32>(to, CPU_CACHE)
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
  if (completes_here(cpu, to, rq)) {
    const p = enter(cpu, FN_nvme_pci_complete_rq)
    nvme_complete_rq(cpu, rq, status)
    leave(cpu, p)
    if (to != cpu) wake_cpu(to)
  } else complete_remote(cpu, to, rq)
  leave(cpu, t)
  return true
}

/** The same for a request of any driver, whose RQ_STATUS says how it went: TypeScript ends or cancels it. */
export function blk_mq_complete_any(cpu: u32, rq: u32): bool {
  if (!blk_mq_mark_complete(rq)) return false
  const t = enter(cpu, FN_blk_mq_complete_request)
  const to = load<u32>(rq, RQ_CPU)
  entered(cpu, FN_blk_should_fake_timeout)
  if (hosted() && load<i32>(rq, RQ_INTERNAL_TAG) >= 0) host(cpu, HB_COMPLETED, rq, 0)
  if (completes_here(cpu, to, rq)) {
    softirq_done(cpu, rq)
    if (to != cpu) wake_cpu(to)
  } else complete_remote(cpu, to, rq)
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
    } else if (hosted()) softirq_done(cpu, rq)
    else nvme_complete_rq(cpu, rq, load<u32>(rq, RQ_STATUS))
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
  entered(cpu, FN_blk_mq_tag_to_rq)
  if (rq) {
    const status = dw3 >> 17
    store<u64>(rq, pair(status, load<u32>(cqe, CQE_DW0)), RQ_STATUS) // and RQ_RESULT
    if (hosted()) store<u32>(rq, load<u32>(cqe, CQE_DW1), RQ_RESULT1)
    entered(cpu, FN_nvme_should_fail)
    if (blk_mq_complete_request(cpu, rq, status)) return
  }
  if (hosted() && host(cpu, HB_NVME_CQE, nq, cqe)) return
  store<u32>(nq, load<u32>(nq, NQ_SPURIOUS) + 1, NQ_SPURIOUS)
}

/** `n` more I/Os of a job have ended the short way. */
function landed(job: u32, ended: u32, n: u32): void {
  store<u32>(job, ended, JOB_ENDED)
  store<u32>(job, load<u32>(job, JOB_PL_FLYING) - n, JOB_PL_FLYING)
}

/**
 * Ends good completions of plain requests (plain.ts), as nvme_handle_cqe down to blk_mq_put_tag would,
 * with what is common to them loaded once and counters added up. Stops at the first entry that is not plain.
 */
function process_plain(cpu: u32, nq: u32, max: u32): u32 {
  const tags = load<u32>(nq, NQ_TAGS)
  const map = load<u32>(tags + TAGS_BITMAP, SBQ_MAP)
  const shift = load<u32>(tags + TAGS_BITMAP, SBQ_SHIFT)
  const in_word = ((<u32>1) << shift) - 1
  const slots = load<u32>(tags, TAGS_STATIC_RQS)
  const nr = load<u32>(tags, TAGS_NR)
  const ring = load<u32>(nq, NQ_CQ)
  const ring_end = ring + load<u32>(nq, NQ_DEPTH) * CQE_BYTES
  const ctx = load<u32>(load<u32>(load<u32>(nq, NQ_HCTX), HC_Q), Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE
  const stages = load<u32>(cpu, CPU_STAGES)
  const cost: u64 = load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL ? load<u32>(M_BASE, M_COST_COMPLETE) : 0
  let now = load<u64>(cpu, CPU_NOW)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let cqe = ring + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
  let word = map
  let freed: u64 = 0
  let last: u32 = 0
  let job: u32 = 0
  let ended: u32 = 0
  let since: u32 = 0
  let bytes: u64 = 0
  let ticks: u64 = 0
  let writes: u32 = 0
  let queued: u64 = 0
  let issued: u64 = 0
  let over: u64 = 0
  let n: u32 = 0
  while (n < max) {
    const dw3 = atomic.load<u32>(cqe, CQE_DW3)
    const cid = dw3 & 0xffff
    // a bad status, an old phase, or an identifier that cannot be: not plain
    if (dw3 >> 16 != phase || cid >= nr) break
    const rq = slots + cid * RQ_SIZE
    if (load<u64>(rq, RQ_STATE) != pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN)) break // and RQ_FLAGS
    store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
    now += cost
    if (stages) {
      queued += load<u64>(rq, RQ_START_NS)
      issued += load<u64>(rq, RQ_IO_START_NS)
      over += now
    }
    if (load<u32>(rq, RQ_CMD_FLAGS) & REQ_OP_MASK) {
      account_write(ctx, rq, now)
      writes++
    } else {
      bytes += load<u32>(rq, RQ_DATA_LEN)
      ticks += now - load<u64>(rq, RQ_START_NS)
    }
    const at = map + (cid >> shift) * SBW_SIZE
    if (at != word) {
      store<u64>(word, load<u64>(word) & ~freed)
      word = at
      freed = 0
    }
    freed |= <u64>1 << (cid & in_word)
    const bio = load<u32>(rq, RQ_BIO)
    const owner = load<u32>(bio, IOU_JOB)
    if (owner != job) {
      if (job) landed(job, ended, n - since)
      job = owner
      since = n
      ended = load<u32>(job, JOB_ENDED)
    }
    store<u32>(bio, ended, IOU_NEXT)
    ended = bio
    last = cid
    n++
    cqe += CQE_BYTES
    if (cqe == ring_end) {
      cqe = ring
      phase ^= 1
    }
  }
  if (!n) return 0
  store<u64>(word, load<u64>(word) & ~freed)
  landed(job, ended, n - since)
  store<u32>(load<u32>(tags + TAGS_BITMAP, SBQ_HINTS) + load<u32>(cpu, CPU_INDEX) * SBQ_HINT_SIZE, last)
  store<u32>(nq, (cqe - ring) / CQE_BYTES, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  if (cost) store<u64>(cpu, now, CPU_NOW)
  if (stages) add_stages(cpu, n, queued, queued + submit_cost(cpu) * n, issued, issued, over)
  add(cpu + CPU_ENDED, n)
  if (n > writes) {
    add(ctx + CTX_COMPLETED_ASYNC + 8, n - writes)
    add(ctx + CTX_STAT_IOS, n - writes)
    add(ctx + CTX_STAT_SECTORS, bytes >> SECTOR_SHIFT)
    add(ctx + CTX_STAT_TICKS, ticks)
  }
  return n
}

/** Counts a write that ends, as blk_account_io_done and blk_mq_free_request do. */
function account_write(ctx: u32, rq: u32, now: u64): void {
  add(ctx + CTX_COMPLETED_ASYNC + (op_is_sync(load<u32>(rq, RQ_CMD_FLAGS)) ? 8 : 0), 1)
  add(ctx + CTX_STAT_IOS + 8, 1)
  add(ctx + CTX_STAT_SECTORS + 8, load<u32>(rq, RQ_DATA_LEN) >> SECTOR_SHIFT)
  add(ctx + CTX_STAT_TICKS + 8, now - load<u64>(rq, RQ_START_NS))
}

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** True if completions of this queue may go the short way: one CPU, no waiters, no gate, no reserved tags. */
export function cq_is_plain(cpu: u32, nq: u32): bool {
  if (isDefined(TRACE_BUILD) || load<u32>(nq, NQ_SHARED)) return false
  const tags = load<u32>(nq, NQ_TAGS)
  const hctx = load<u32>(nq, NQ_HCTX)
  if (load<u32>(tags, TAGS_RESERVED) || atomic.load<u32>(hctx, HC_GATE)) return false
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED || load<u32>(hctx, HC_OWNER) != cpu) return false
  return !load<u32>(tags + TAGS_BITMAP, SBQ_WAITERS) && !load<u32>(tags + TAGS_BITMAP, SBQ_ROUND_ROBIN)
}

/** Completions from the head on that go a short way, and the same one: how many. */
// @ts-ignore: decorator
@inline
function take_plain(cpu: u32, nq: u32, max: u32): u32 {
  const tags = load<u32>(nq, NQ_TAGS)
  const cid = load<u32>(load<u32>(nq, NQ_CQ) + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES, CQE_DW3) & 0xffff
  if (cid >= load<u32>(tags, TAGS_NR)) return 0
  const flags = load<u32>(load<u32>(tags, TAGS_STATIC_RQS) + cid * RQ_SIZE, RQ_FLAGS)
  if (!(flags & (RQF_PLAIN | RQF_PLAIN_BIO)) || !cq_is_plain(cpu, nq)) return 0
  return flags & RQF_PLAIN_BIO ? plain_bios(cpu, nq, max) : process_plain(cpu, nq, max)
}

/** Takes the entry at the head, which the caller has seen to be new: its other words were written before its phase. */
function take_entry(cpu: u32, nq: u32): void {
  const head = load<u32>(nq, NQ_CQ_HEAD)
  const cqe = load<u32>(nq, NQ_CQ) + head * CQE_BYTES
  const wraps = head + 1 == load<u32>(nq, NQ_DEPTH)
  store<u32>(nq, wraps ? 0 : head + 1, NQ_CQ_HEAD)
  if (wraps) store<u32>(nq, load<u32>(nq, NQ_CQ_PHASE) ^ 1, NQ_CQ_PHASE)
  nvme_handle_cqe(cpu, nq, load<u32>(nq, NQ_TAGS), cqe, load<u32>(cqe, CQE_DW3))
}

/** One look at a queue that is polled: how many completions it found. */
export function nvme_poll(cpu: u32, nq: u32, max: u32): u32 {
  const t = enter(cpu, FN_nvme_poll)
  const found = nvme_process_cq(cpu, nq, max)
  leave(cpu, t)
  return found
}

/** Takes up to `max` new entries: how many there were. Owner of the queue only. */
export function nvme_process_cq(cpu: u32, nq: u32, max: u32): u32 {
  let found: u32 = 0
  const t = isDefined(TRACE_BUILD) && nvme_cqe_pending(nq) ? enter(cpu, FN_nvme_complete_cqes) : load<u32>(cpu, CPU_DEPTH)
  while (found < max && nvme_cqe_pending(nq)) {
    const n = isDefined(TRACE_BUILD) ? 0 : take_plain(cpu, nq, max - found)
    if (!n) take_entry(cpu, nq)
    found += n ? n : 1
  }
  leave(cpu, t)
  if (found) nvme_ring_cq_doorbell(cpu, nq)
  return found
}
