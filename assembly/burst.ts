// The short way there and back, again and again: one plain job (plain.ts) alone on a CPU, whose only queue
// belongs to a device that runs in the same thread and takes no time, or to one on a thread of its own whose
// completions are polled for. This is where a million-IOPS run spends its life.
//
//   fill up to iodepth      plain_batch, doorbell
//   let the device run      run_untimed; or look for its entry, LOOKS times
//   end what completed      request, tag, io_u; the completion doorbell
//
// The order is that of cpu_pass; what is saved is going through all its doors for each batch. Counters are
// added up and written when the burst ends. It ends when the budget is spent, at a limit of the job, at the
// gate or a stop word, and at the first thing that is not plain, which cpu_pass then finds as it is.

import {
  CLOCK_REAL, CPU_CLOCK, CPU_CQ_DOORBELLS, CPU_DONE_LIST, CPU_DOORBELLS, CPU_ENDED, CPU_HCTX, CPU_INLINE,
  CPU_JOB, CPU_LAT, CPU_MAIL, CPU_NOW, CPU_POLLED, CPU_SLOW, CPU_SPINS, CPU_STAGES, CTX_COMPLETED_ASYNC,
  CTX_STAT_IOS, CTX_STAT_SECTORS, CTX_STAT_TICKS, DCQ_PHASE, DCQ_TAIL, DDIR_WRITE, DEV_FAULTS, DEV_HOST,
  DEV_MODEL, DSQ_COMMANDS, DSQ_CQ, DSQ_DEV, DSQ_HEAD, DSQ_ID, HC_GATE, HC_NEXT_OWNED, IOUF_MEASURED,
  IOU_ACTIVE, IOU_NEXT, IOU_STATE, JG_RW, JOB_BATCH, JOB_BYTES, JOB_COMPLETES, JOB_END_NS, JOB_FEATURES,
  JOB_FREE, JOB_GEN, JOB_IN_FLIGHT, JOB_IODEPTH, JOB_IO_LIMIT, JOB_ISSUED, JOB_ISSUED_MEASURED,
  JOB_LAST_END_NS, JOB_LAST_NS, JOB_LOW, JOB_MAX_IO, JOB_MEASURED, JOB_NEXT, JOB_NUMBER_IOS, JOB_PLAIN,
  JOB_PL_CQ, JOB_PL_CQ_END, JOB_PL_CTX, JOB_PL_FLYING, JOB_PL_HCTX, JOB_PL_HINTS, JOB_PL_LEN, JOB_PL_MASK,
  JOB_PL_NQ, JOB_PL_OPS, JOB_PL_RING, JOB_PL_SBQ, JOB_PL_SLOTS, JOB_PL_TICKS, JOB_PL_WRITES, JOB_RAMP_NS,
  JOB_REAP_MIN, JOB_RECORD, JOB_RUN, JOB_STATE, JOB_STATS, JOB_STOP, LAT_BATCH, MODEL_FIXED, MQ_RQ_IDLE,
  MQ_RQ_IN_FLIGHT, M_BASE, M_STOP, NQ_CQ_DB, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DSQ, NQ_LAST_SQ_TAIL, NQ_POLLED,
  NQ_SHADOW_SQ, NQ_SQ_DB, NQ_SQ_TAIL, NQ_TAGS, NQ_WAIT, PLAIN_YES, PLO_SIZE, PLO_SYNC, RQ_BIO, RQ_CMD_FLAGS,
  RQ_SIZE, RQ_START_NS, RQ_STATE, RW_READ, RW_WRITE, SBQ_MAP, SBQ_SHIFT, SBW_SIZE, SECTOR_SHIFT, STAT_BYTES,
  STAT_CLAT, STAT_IOS, STAT_SIZE, TAGS_NR, WAIT_INLINE, WAIT_POLL,
} from './layout'
import { CQE_BYTES, CQE_DW0, CQE_DW3, CQE_SQHD, RQF_IO_STAT, RQF_PLAIN, SQE_BYTES, SQE_CDW0 } from './nvme'
import { read_clock } from './clock'
import { cq_is_plain } from './cq'
import { INLINE_BURST, is_plain, null_size, run_null, run_untimed } from './device'
import { wake_device } from './doorbell'
import { lat_record_n } from './hist'
import { batch_bucket, count_fill, finish_batch, job_reap } from './job'
import { plain_batch, plain_issued, plain_may_go, plain_one } from './plain'
import { pair } from './request'

/** Looks at an empty completion queue, one after the other, before a burst ends. */
const LOOKS: u32 = 100

/** The job, if this CPU may burst; else 0. */
function burst_job(cpu: u32): u32 {
  const job = load<u32>(cpu, CPU_JOB)
  if (!job || load<u32>(job, JOB_PLAIN) != PLAIN_YES || load<u32>(job, JOB_NEXT)) return 0
  if (load<u32>(cpu, CPU_STAGES) || load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL) return 0
  const hctx = load<u32>(job, JOB_PL_HCTX)
  if (load<u32>(cpu, CPU_HCTX) != hctx || load<u32>(hctx, HC_NEXT_OWNED)) return 0
  if (load<u32>(job, JOB_STATE) != JOB_RUN || atomic.load<u32>(cpu, CPU_DONE_LIST)) return 0
  // iodepth_low and iodepth_batch_complete_min leave a full queue alone for a while: not here.
  if (load<u32>(job, JOB_LOW) < load<u32>(job, JOB_IODEPTH) || load<u32>(job, JOB_REAP_MIN) > 1) return 0
  if (load<u32>(job, JOB_FEATURES)) return 0 // as does iodepth_batch_complete_max
  if (load<u64>(job, JOB_RAMP_NS) || !load<u32>(job, JOB_RECORD) || !both_begun(job)) return 0
  const nq = load<u32>(job, JOB_PL_NQ)
  if (!bursts_to(nq) || load<u32>(nq, NQ_SHADOW_SQ) || !cq_is_plain(cpu, nq)) return 0
  job_reap(cpu, job) // what cpu_pass left
  if (!all_plain(job)) return 0
  return plain_may_go(cpu, job, 1) ? job : 0
}

/** True if the device of this queue is run here and takes no time, or runs on its own thread and is polled. */
function bursts_to(nq: u32): bool {
  const dev = load<u32>(load<u32>(nq, NQ_DSQ), DSQ_DEV)
  if (load<u32>(dev, DEV_FAULTS) || load<u32>(dev, DEV_HOST)) return false
  const wait = load<u32>(nq, NQ_WAIT)
  return wait == WAIT_INLINE ? load<u32>(dev, DEV_MODEL) < <u32>MODEL_FIXED : wait == WAIT_POLL
}

/** True if all that the job has in flight went the short way. */
function all_plain(job: u32): bool {
  const in_flight = load<u32>(job, JOB_IN_FLIGHT)
  if (!in_flight) store<u32>(job, 0, JOB_PL_FLYING) // what failed was ended by the chain
  return load<u32>(job, JOB_PL_FLYING) == in_flight
}

/** Every direction of the job has ended an I/O: its first one is stamped by the chain. */
function both_begun(job: u32): bool {
  const rw = load<u32>(job + JOB_GEN, JG_RW)
  if (rw & RW_READ && !load<u64>(job + JOB_STATS, STAT_IOS)) return false
  return !(rw & RW_WRITE) || load<u64>(job + JOB_STATS + DDIR_WRITE * STAT_SIZE, STAT_IOS) != 0
}

/** How many I/Os the job may issue before a limit must be looked at. */
function far(job: u32): u64 {
  const number = load<u64>(job, JOB_NUMBER_IOS) - load<u64>(job, JOB_ISSUED)
  const most = load<u64>(job, JOB_MAX_IO) - load<u64>(job, JOB_ISSUED_MEASURED)
  const bytes = load<u64>(job, JOB_IO_LIMIT) - load<u64>(job, JOB_BYTES)
  return min<u64>(min<u64>(number, most), bytes / load<u32>(job, JOB_PL_LEN))
}

/** Nothing outside asks for attention. Read after the gate, the other words may be seen a batch later. */
// @ts-ignore: decorator
@inline
function undisturbed(cpu: u32, job: u32, hctx: u32): bool {
  return !(
    atomic.load<u32>(hctx, HC_GATE) | load<u32>(job, JOB_STOP) | load<u32>(M_BASE, M_STOP) |
    load<u32>(cpu, CPU_MAIL) | load<u32>(cpu, CPU_SLOW)
  )
}

/** The counters of a request's end, for all of a burst (blk_account_io_done, blk_mq_free_request, account). */
function burst_ended(cpu: u32, job: u32, ddir: u32, n: u64, ticks: u64, sync: u64): void {
  if (!n) return
  const ctx = load<u32>(job, JOB_PL_CTX)
  const bytes = n * load<u32>(job, JOB_PL_LEN)
  add(ctx + CTX_COMPLETED_ASYNC, n - sync)
  add(ctx + CTX_COMPLETED_ASYNC + 8, sync)
  const stat = ctx + (ddir << 3)
  add(stat + CTX_STAT_IOS, n)
  add(stat + CTX_STAT_SECTORS, bytes >> SECTOR_SHIFT)
  add(stat + CTX_STAT_TICKS, ticks)
  const mine = job + JOB_STATS + ddir * STAT_SIZE
  const now = load<u64>(cpu, CPU_NOW)
  store<u64>(job + (ddir << 3), now, JOB_LAST_NS)
  store<u64>(job, now, JOB_LAST_END_NS)
  add(mine + STAT_IOS, n)
  add(mine + STAT_BYTES, bytes)
  add(job + JOB_MEASURED, n)
  add(cpu + CPU_ENDED, n)
}

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** The tail doorbell of a device on its own thread, which may sleep. */
function ring_and_wake(dev: u32, bell: u32, tail: u32): void {
  atomic.store<u32>(bell, tail)
  wake_device(dev)
}

/** Looks for a completion entry up to LOOKS times: how many were in vain. */
function look_for(cqe: u32, phase: u32): u32 {
  let empty: u32 = 0
  while (empty < LOOKS && ((atomic.load<u32>(cqe, CQE_DW3) >> 16) & 1) != phase) empty++
  return empty
}

/**
 * Ends up to `most` requests whose completions follow from `cqe` on, as far as they are plain and `phase` says that they
 * are there: how many. Their tags are free, their io_us, oldest first, at the head of the free list; ticks and
 * writes are added to JOB_PL_TICKS (read, write) and JOB_PL_WRITES. `nr` is the number of tags.
 */
function end_completed(job: u32, cqe: u32, most: u32, phase: u32, now: u64, nr: u32, lat: bool): u32 {
  const slots = load<u32>(job, JOB_PL_SLOTS)
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const width = load<u32>(job, JOB_PL_MASK) + 1
  const ring_end = load<u32>(job, JOB_PL_CQ_END)
  const free = load<u32>(job, JOB_FREE)
  let before_it: u32 = job + JOB_FREE - IOU_NEXT
  let base: u32 = 0 // the first tag of the word whose bits are in `freed`
  let freed: u64 = 0
  let took: u64 = 0 // neighbours began, mostly, at the same time:
  let write: u32 = 0
  let run: u64 = 0 // so many took so long
  let cid: u32 = 0
  let left = most
  do {
    const begin = cqe
    const end = min<u32>(ring_end, cqe + left * CQE_BYTES)
    do {
      // Below `nr` it is the identifier of a command whose phase bit is there and whose status is good.
      const id = atomic.load<u32>(cqe, CQE_DW3) ^ (phase << 16)
      if (id >= nr) break
      const rq = slots + id * RQ_SIZE
      if (load<u64>(rq, RQ_STATE) != pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN)) break // and RQ_FLAGS
      const iou = load<u32>(rq, RQ_BIO)
      if (load<u64>(iou, IOU_STATE) != pair(IOU_ACTIVE, IOUF_MEASURED)) break // and IOU_FLAGS
      store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
      const other = now - load<u64>(rq, RQ_START_NS)
      if (other != took || (load<u32>(rq, RQ_CMD_FLAGS) & 1) != write) {
        count_ended(job, write, took, run, lat)
        took = other
        write = load<u32>(rq, RQ_CMD_FLAGS) & 1
        run = 0
      }
      run++
      cid = id
      if (cid - base >= width) {
        free_bits(sbq, base, freed)
        base = cid & ~(width - 1)
        freed = 0
      }
      freed |= <u64>1 << (cid - base)
      store<u32>(before_it, iou, IOU_NEXT)
      before_it = iou
      cqe += CQE_BYTES
    } while (cqe != end)
    left -= (cqe - begin) / CQE_BYTES
    if (cqe != end) break
    cqe = load<u32>(job, JOB_PL_CQ)
    phase ^= 1
  } while (left)
  if (left == most) return 0
  store<u32>(before_it, free, IOU_NEXT)
  free_bits(sbq, base, freed)
  store<u32>(load<u32>(job, JOB_PL_HINTS), cid)
  count_ended(job, write, took, run, lat)
  return most - left
}

/** Counts `n` I/Os of one direction that took so long. */
function count_ended(job: u32, write: u32, took: u64, n: u64, lat: bool): void {
  if (!n) return
  if (write) add(job + JOB_PL_WRITES, n)
  add(job + JOB_PL_TICKS + (write << 3), took * n)
  if (lat) lat_record_n(job + JOB_STATS + STAT_CLAT + write * STAT_SIZE, took, <u32>n)
}

/** Clears bits of the word of tag `base`. */
function free_bits(sbq: u32, base: u32, freed: u64): void {
  const word = load<u32>(sbq, SBQ_MAP) + (base >> load<u32>(sbq, SBQ_SHIFT)) * SBW_SIZE
  store<u64>(word, load<u64>(word) & ~freed)
}

/**
 * One I/O after the other, at a depth of one, on a device that keeps no data: issued, answered and ended in a row, up to
 * `most`. How many. It ends early at what burst looks at too; a command that cannot be answered here stays in the ring.
 */
function one_by_one(cpu: u32, job: u32, most: u64, nsze: u64): u64 {
  const nq = load<u32>(job, JOB_PL_NQ)
  const hctx = load<u32>(job, JOB_PL_HCTX)
  const dsq = load<u32>(nq, NQ_DSQ)
  const dcq = load<u32>(dsq, DSQ_CQ)
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const id = load<u32>(dsq, DSQ_ID) << 16
  const ring = load<u32>(job, JOB_PL_CQ)
  const begin = load<u32>(nq, NQ_CQ_HEAD)
  let cqe = ring + begin * CQE_BYTES
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let n: u64 = 0
  if (load<u32>(dsq, DSQ_HEAD) != load<u32>(nq, NQ_SQ_TAIL) || load<u32>(dcq, DCQ_TAIL) != begin) return 0
  while (n < most && undisturbed(cpu, job, hctx)) {
    const sqe = load<u32>(job, JOB_PL_RING) + load<u32>(nq, NQ_SQ_TAIL) * SQE_BYTES
    if (!plain_one(cpu, job)) break
    const tail = load<u32>(nq, NQ_SQ_TAIL)
    store<u32>(load<u32>(nq, NQ_SQ_DB), tail)
    store<u32>(nq, tail, NQ_LAST_SQ_TAIL)
    // the device
    const cdw0 = load<u64>(sqe, SQE_CDW0)
    if (!is_plain(sqe, cdw0, nsze)) break
    store<u32>(dsq, tail, DSQ_HEAD)
    const cid = (<u32>cdw0) >> 16
    store<u64>(cqe, 0, CQE_DW0)
    store<u64>(cqe, pair(id | tail, cid | (phase << 16)), CQE_SQHD) // and dword 3
    // the driver
    const rq = load<u32>(job, JOB_PL_SLOTS) + cid * RQ_SIZE
    const iou = load<u32>(rq, RQ_BIO)
    store<u32>(rq, MQ_RQ_IDLE, RQ_STATE)
    if (load<u32>(rq, RQ_CMD_FLAGS) & 1) add(job + JOB_PL_WRITES, 1)
    free_bits(sbq, cid & ~load<u32>(job, JOB_PL_MASK), <u64>1 << (cid & load<u32>(job, JOB_PL_MASK)))
    store<u32>(load<u32>(job, JOB_PL_HINTS), cid)
    store<u32>(iou, load<u32>(job, JOB_FREE), IOU_NEXT)
    store<u32>(job, iou, JOB_FREE)
    cqe += CQE_BYTES
    if (cqe == load<u32>(job, JOB_PL_CQ_END)) {
      cqe = ring
      phase ^= 1
    }
    store<u32>(load<u32>(nq, NQ_CQ_DB), (cqe - ring) / CQE_BYTES)
    n++
  }
  if (!n) return 0
  const head = (cqe - ring) / CQE_BYTES
  store<u32>(nq, head, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  store<u32>(dcq, head, DCQ_TAIL)
  store<u32>(dcq, phase, DCQ_PHASE)
  return n
}

/** Runs until about `budget` I/Os have ended: how many did. */
export function plain_burst(cpu: u32, budget: u64): u64 {
  if (isDefined(TRACE_BUILD)) return 0
  const job = burst_job(cpu)
  if (!job) return 0
  return burst(cpu, budget, job)
}

function burst(cpu: u32, budget: u64, job: u32): u64 {
  const nq = load<u32>(job, JOB_PL_NQ)
  const hctx = load<u32>(job, JOB_PL_HCTX)
  const dsq = load<u32>(nq, NQ_DSQ)
  const dev = load<u32>(dsq, DSQ_DEV)
  const polled = load<u32>(nq, NQ_WAIT) == WAIT_POLL
  const null_nsze = polled ? 0 : null_size(dev)
  const nr = load<u32>(load<u32>(nq, NQ_TAGS), TAGS_NR)
  const ring = load<u32>(job, JOB_PL_CQ)
  const ring_end = load<u32>(job, JOB_PL_CQ_END)
  const lat = load<u32>(cpu, CPU_LAT) == LAT_BATCH
  const depth = atomic.load<u32>(job, JOB_IODEPTH)
  const batch = load<u32>(job, JOB_BATCH)
  const write_sync: u64 = load<u32>(job + JOB_PL_OPS + PLO_SIZE, PLO_SYNC)
  const single = depth == 1 && null_nsze != 0 && !lat
  let singles: u64 = 0
  let left = far(job)
  let in_flight = load<u32>(job, JOB_IN_FLIGHT)
  let cqe = ring + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  store<u64>(job, 0, JOB_PL_TICKS)
  store<u64>(job, 0, JOB_PL_TICKS + 8)
  store<u64>(job, 0, JOB_PL_WRITES)
  let issued: u64 = 0
  let bells: u64 = 0
  let reaps: u64 = 0
  let commands: u64 = 0
  let spins: u64 = 0
  let ended: u64 = 0
  let rest: u32 = 0
  let begun: u32 = 0
  let near = false // a limit of the job: the chain fills up what is left
  // how often the queue was filled from the one depth to the other, and how often so many ended together
  let fill_from: u32 = 0
  let fill_to: u32 = 0
  let fills: u64 = 0
  let reaped: u32 = 0
  let same: u64 = 0
  while (ended < budget && !rest && undisturbed(cpu, job, hctx)) {
    // --- fill
    const before = in_flight
    if (single && !before) {
      store<u32>(nq, (cqe - ring) / CQE_BYTES, NQ_CQ_HEAD)
      store<u32>(nq, phase, NQ_CQ_PHASE)
      const n = one_by_one(cpu, job, min<u64>(budget - ended, left), null_nsze)
      in_flight = load<u32>(dsq, DSQ_HEAD) != load<u32>(nq, NQ_SQ_TAIL) ? 1 : 0
      issued += n + in_flight
      left -= n + in_flight
      singles += n
      bells += in_flight
      ended += n
      cqe = ring + load<u32>(nq, NQ_CQ_HEAD) * CQE_BYTES
      phase = load<u32>(nq, NQ_CQ_PHASE)
      if (n && !in_flight) continue
    }
    while (in_flight < depth) {
      const room = min<u32>(depth - in_flight, batch)
      if (room > left || (lat && read_clock(cpu) >= load<u64>(job, JOB_END_NS))) {
        near = true
        break
      }
      const n = plain_batch(cpu, job, room)
      issued += n
      if (n < room) {
        begun = n
        rest = room
        break
      }
      in_flight += n
      left -= n
      bells++
      const tail = load<u32>(nq, NQ_SQ_TAIL)
      if (polled) ring_and_wake(dev, load<u32>(nq, NQ_SQ_DB), tail)
      else store<u32>(load<u32>(nq, NQ_SQ_DB), tail)
      store<u32>(nq, tail, NQ_LAST_SQ_TAIL)
    }
    if (before != fill_from || in_flight != fill_to) {
      count_fill(job, fill_from, fill_to, batch, fills)
      fill_from = before
      fill_to = in_flight
      fills = 0
    }
    fills++
    if (near || rest) break
    // --- the device
    let ran: u32
    if (polled) {
      const empty = look_for(cqe, phase)
      spins += empty
      if (empty == LOOKS) break
      ran = in_flight
    } else {
      const tail = load<u32>(nq, NQ_SQ_TAIL)
      ran = null_nsze ? run_null(dsq, tail, null_nsze) : 0
      if (!ran) ran = run_untimed(dev, dsq, tail, INLINE_BURST)
      commands += ran
    }
    // --- end what completed
    const now = lat ? read_clock(cpu) : load<u64>(cpu, CPU_NOW)
    const n = end_completed(job, cqe, ran, phase, now, nr, lat)
    if (!n) break
    cqe += n * CQE_BYTES
    if (cqe >= ring_end) {
      cqe -= ring_end - ring
      phase ^= 1
    }
    store<u32>(load<u32>(nq, NQ_CQ_DB), (cqe - ring) / CQE_BYTES)
    if (n != reaped) {
      add(job + JOB_COMPLETES + (batch_bucket(reaped) << 3), same)
      reaped = n
      same = 0
    }
    same++
    reaps++
    ended += n
    in_flight -= n
  }
  store<u32>(nq, (cqe - ring) / CQE_BYTES, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  count_fill(job, fill_from, fill_to, batch, fills)
  add(job + JOB_COMPLETES + (batch_bucket(reaped) << 3), same)
  count_fill(job, 0, 1, batch, singles)
  add(job + JOB_COMPLETES + (batch_bucket(1) << 3), singles)
  if (polled) {
    add(cpu + CPU_SPINS, spins)
    add(cpu + CPU_POLLED, ended)
    add(nq + NQ_POLLED, ended)
  } else {
    add(cpu + CPU_INLINE, ended)
    add(dsq + DSQ_COMMANDS, commands + singles)
  }
  add(cpu + CPU_DOORBELLS, bells + singles)
  add(cpu + CPU_CQ_DOORBELLS, reaps + singles)
  if (issued) plain_issued(cpu, job, issued)
  const writes = load<u64>(job, JOB_PL_WRITES)
  burst_ended(cpu, job, 0, ended - writes, load<u64>(job, JOB_PL_TICKS), ended - writes)
  burst_ended(cpu, job, DDIR_WRITE, writes, load<u64>(job, JOB_PL_TICKS + 8), writes * write_sync)
  store<u32>(job, in_flight + begun, JOB_IN_FLIGHT)
  store<u32>(job, in_flight + begun, JOB_PL_FLYING)
  if (rest) finish_batch(cpu, job, in_flight, begun, rest)
  return ended
}
