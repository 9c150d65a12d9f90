// The short way of a plain job: random or sequential reads and writes of one disk, whose hardware
// queue belongs to this CPU alone, with nothing in the way (the gate word is zero).
//
// It is the chain of job.ts, submit.ts, tag.ts and request.ts for a whole batch: what does not change
// from one I/O to the next is loaded once, counters are added up in locals, and each request is left
// in the plug exactly as submit_bio would have left it. Whatever is not plain (a merge, a split, no
// tag, the end of a pass, a limit) ends the batch here and is done by the chain itself, I/O by I/O.
// The trace build never goes this way.
//
// It relies on what free things keep from one use to the next:
//
//   a slot of a queue that one CPU owns   RQ_TAG, RQ_INTERNAL_TAG -1, RQ_CTX, RQ_HCTX, RQ_Q, RQ_CPU, rqs[tag];
//                                         0 in RQ_RETRIES, RQ_END_IO, RQ_PRP_LIST, RQ_SQE, RQ_TIMEOUT
//   an io_u                               0 in BIO_STATUS, BIO_NEXT, BIO_REMAINING, BIO_END_IO
//
// RQF_PLAIN marks such a request until something happens to it that only the chain can end: a merge,
// list pages, an error.

import {
  BIO_DATA, BIO_OPF, BIO_SECTOR, BIO_SIZE, CLOCK_VIRTUAL, CPU_CLOCK, CPU_INDEX, CPU_LAT, CPU_NOW,
  CPU_PLUG_COUNT, CPU_PLUG_ENDS, CPU_PLUG_RQS, CPU_PLUG_STARTS, CPU_STAGES, CPU_SUBMITTED,
  CTX_DISPATCHED_ASYNC, CTX_HCTX, CTX_SIZE, DDIR_READ, DDIR_WRITE, DRIVER_NVME, FL_BLOCKS,
  FL_REGION, GEN_RANDOM, HC_DRIVER, HC_FLAGS, HC_GATE, HC_QUEUED, HC_SHARED, HC_TAGS, IOUF_MEASURED,
  IOU_ACTIVE, IOU_BUF, IOU_DDIR, IOU_FLAGS, IOU_ISSUE_NS, IOU_LEN, IOU_NEXT, IOU_START_NS,
  IOU_STATE, JG_ALIGN, JG_FILE0, JG_MIN_BS, JG_MODE, JG_NEXT_DDIR, JG_NEXT_DISK, JG_NEXT_LEN,
  JG_NEXT_OFFSET, JG_RNG_OFF, JG_RW, JOB_BYTES, JOB_FEATURES, JOB_FREE, JOB_GEN, JOB_IN_FLIGHT,
  JOB_IO_LIMIT, JOB_ISSUED, JOB_ISSUED_MEASURED, JOB_PENDING, JOB_PLAIN, JOB_Q, JOB_RECORD,
  JOB_WRITE_FLAGS, LAT_BATCH, LAT_EVERY, LAT_NONE, M_BASE, M_COST_SUBMIT, PLUG_MAX, Q_BIO_BASED,
  Q_CAPACITY, Q_CTXS, Q_FLAGS, Q_MAX_SECTORS, Q_NR_HW, RQ_BIO, RQ_BIOTAIL, RQ_CMD_FLAGS,
  RQ_DATA_LEN, RQ_FLAGS, RQ_GOT_TAG_NS, RQ_INSERT_NS, RQ_NR_SEGS, RQ_SECTOR, RQ_SIZE, RQ_START_NS,
  RW_READ, RW_TRIM, RW_TRIMWRITE, SBQ_DEPTH, SBQ_HINTS, SBQ_HINT_SIZE, SBQ_MAP, SBQ_ROUND_ROBIN,
  SBQ_SHIFT, SBW_DEPTH, SBW_SIZE, SECTOR_SHIFT, TAGS_BITMAP, TAGS_RESERVED, TAGS_STATIC_RQS,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, QUEUE_FLAG_NOMERGES, REQ_FUA, REQ_OP_READ, REQ_OP_WRITE, REQ_PREFLUSH, RQF_IO_STAT, RQF_PLAIN,
} from './nvme'
import { gen_next } from './offset'
import { pair } from './request'
import { __sbitmap_queue_get } from './sbitmap'
import { blk_flush_plug_list, issue_plugged, sector_bit } from './submit'

const MAX_REQUESTS: u32 = 16
const FLUSH_BYTES: u32 = 128 * 1024

const PLAIN: u32 = 1
const NOT_PLAIN: u32 = 2

/** What of a job does not change while it runs: PLAIN or NOT_PLAIN. */
function classify(cpu: u32, job: u32): u32 {
  const q = load<u32>(job, JOB_Q)
  if (load<u32>(job, JOB_FEATURES) || !q || load<u32>(q, Q_BIO_BASED)) return NOT_PLAIN
  if (load<u32>(job + JOB_GEN, JG_RW) & (RW_TRIM | RW_TRIMWRITE)) return NOT_PLAIN
  if (load<u32>(job, JOB_WRITE_FLAGS) & (REQ_FUA | REQ_PREFLUSH)) return NOT_PLAIN
  const lat = load<u32>(cpu, CPU_LAT)
  const virtual = load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL
  if (lat != LAT_NONE && lat != LAT_BATCH && !(lat == LAT_EVERY && virtual)) return NOT_PLAIN
  const hctx = load<u32>(load<u32>(q, Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE, CTX_HCTX)
  if (load<u32>(hctx, HC_DRIVER) != DRIVER_NVME || load<u32>(hctx, HC_SHARED)) return NOT_PLAIN
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED) return NOT_PLAIN
  return load<u32>(load<u32>(hctx, HC_TAGS) + TAGS_BITMAP, SBQ_ROUND_ROBIN) ? NOT_PLAIN : PLAIN
}

/** True if the next batch may go the short way. The caller has seen that no io_u waits for a tag. */
export function plain_possible(cpu: u32, job: u32): bool {
  if (isDefined(TRACE_BUILD)) return false // a trace shows every function of the chain
  let plain = load<u32>(job, JOB_PLAIN)
  if (!plain) {
    plain = classify(cpu, job)
    store<u32>(job, plain, JOB_PLAIN)
  }
  if (plain != PLAIN || load<u32>(cpu, CPU_PLUG_COUNT) || load<u32>(job, JOB_PENDING)) return false
  const q = load<u32>(job, JOB_Q)
  if (load<u32>(q, Q_FLAGS) & (1 << QUEUE_FLAG_NOMERGES)) return false
  const ctx = load<u32>(q, Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE
  return !atomic.load<u32>(load<u32>(ctx, CTX_HCTX), HC_GATE)
}

/** Puts back a tag that was not used after all. */
function unget(map: u32, shift: u32, bit: u32): void {
  const word = map + (bit >> shift) * SBW_SIZE
  store<u64>(word, load<u64>(word) & ~(<u64>1 << (bit & ((1 << shift) - 1))))
}

/** Issues up to `room` I/Os into the plug. Returns how many; the caller goes on with the rest. */
export function plain_issue(cpu: u32, job: u32, room: u32): u32 {
  const gen = job + JOB_GEN
  const q = load<u32>(job, JOB_Q)
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  const tags = load<u32>(hctx, HC_TAGS)
  const sbq = tags + TAGS_BITMAP
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const in_word = ((<u32>1) << shift) - 1
  const map = load<u32>(sbq, SBQ_MAP)
  const depth = load<u32>(sbq, SBQ_DEPTH)
  const hints = load<u32>(sbq, SBQ_HINTS) + index * SBQ_HINT_SIZE
  const slots = load<u32>(tags, TAGS_STATIC_RQS) + load<u32>(tags, TAGS_RESERVED) * RQ_SIZE
  const capacity = load<u64>(q, Q_CAPACITY)
  const most = load<u32>(q, Q_MAX_SECTORS) << SECTOR_SHIFT
  const sorted = load<u32>(q, Q_NR_HW) == 1
  const limit = load<u64>(job, JOB_IO_LIMIT)
  const lat = load<u32>(cpu, CPU_LAT)
  const stages = load<u32>(cpu, CPU_STAGES)
  const cost: u64 = load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL ? load<u32>(M_BASE, M_COST_SUBMIT) : 0
  const flags: u32 = load<u32>(job, JOB_RECORD) ? IOUF_MEASURED : 0
  const write_opf = REQ_OP_WRITE | load<u32>(job, JOB_WRITE_FLAGS)
  const write_sync: u32 = load<u32>(job, JOB_WRITE_FLAGS) ? 1 : 0
  const random = load<u32>(gen, JG_MODE) == GEN_RANDOM
  const rng = gen + JG_RNG_OFF
  const fl = gen + JG_FILE0
  const only: u32 = load<u32>(gen, JG_RW) & RW_READ ? DDIR_READ : DDIR_WRITE
  const blocks: u64 = random ? load<u64>(fl + (only << 3), FL_BLOCKS) : 0
  const align = load<u32>(gen + (only << 2), JG_ALIGN)
  const region = load<u64>(fl, FL_REGION)
  let s0 = load<u64>(rng)
  let s1 = load<u64>(rng, 8)
  let ddir = only
  let len = load<u32>(gen + (only << 2), JG_MIN_BS)
  let offset: u64 = 0
  let now = load<u64>(cpu, CPU_NOW)
  let bytes = load<u64>(job, JOB_BYTES)
  let iou = load<u32>(job, JOB_FREE)
  let hint = load<u32>(hints)
  let starts: u64 = 0
  let ends: u64 = 0
  let plugged: u32 = 0
  let last_len: u32 = 0
  let reads: u32 = 0
  let n: u32 = 0
  while (n < room && bytes < limit) {
    // --- a tag: the first free bit from the hint to the end of its word, else the whole walk
    if (hint >= depth) break
    const hinted = hint
    const word = map + (hint >> shift) * SBW_SIZE
    const bits = load<u64>(word)
    const free = ~bits & (<u64>-1 << (hint & in_word)) & (<u64>-1 >> (64 - load<u32>(word, SBW_DEPTH)))
    let bit: u32
    if (free) {
      const at = <u32>ctz(free)
      store<u64>(word, bits | (<u64>1 << at))
      bit = (hint & ~in_word) | at
      if (bit == hint) hint = hint + 1 >= depth - 1 ? 0 : hint + 1
    } else {
      store<u32>(hints, hint)
      const found = __sbitmap_queue_get(sbq, index)
      hint = load<u32>(hints)
      if (found < 0) break
      bit = <u32>found
    }
    // --- the I/O: uniform offsets are drawn here (prng_below of prng.ts, its state in locals)
    if (random && blocks <= 0x1000000) {
      const x = s1 ^ s0
      const sum = rotl<u64>(s0 + s1, 17) + s0
      s0 = rotl<u64>(s0, 49) ^ x ^ (x << 21)
      s1 = rotl<u64>(x, 28)
      offset = region + (((sum >> 32) * blocks) >> 32) * align
    } else {
      store<u64>(rng, s0)
      store<u64>(rng, s1, 8)
      if (!gen_next(job)) {
        unget(map, shift, bit)
        hint = hinted
        break
      }
      s0 = load<u64>(rng)
      s1 = load<u64>(rng, 8)
      ddir = load<u32>(gen, JG_NEXT_DDIR)
      len = load<u32>(gen, JG_NEXT_LEN)
      offset = load<u64>(gen, JG_NEXT_DISK)
    }
    const sector = offset >> SECTOR_SHIFT
    const end = sector + (len >> SECTOR_SHIFT)
    const start_bit = sector_bit(sector)
    const end_bit = sector_bit(end)
    if (end > capacity || len > most || ((ends & start_bit) | (starts & end_bit)) != 0) {
      unget(map, shift, bit)
      hint = hinted
      if (random) {
        store<u32>(gen, ddir, JG_NEXT_DDIR)
        store<u32>(gen, len, JG_NEXT_LEN)
        store<u64>(gen, offset, JG_NEXT_DISK)
        store<u64>(gen, offset - region, JG_NEXT_OFFSET)
      }
      store<u32>(job, 1, JOB_PENDING)
      break
    }
    // --- io_u and bio
    const opf: u32 = ddir == DDIR_READ ? REQ_OP_READ : write_opf
    store<u32>(iou, opf, BIO_OPF)
    store<u64>(iou, sector, BIO_SECTOR)
    store<u64>(iou, pair(len, load<u32>(iou, IOU_BUF)), BIO_SIZE) // and BIO_DATA
    store<u64>(iou, pair(ddir, len), IOU_DDIR) // and IOU_LEN
    store<u64>(iou, pair(IOU_ACTIVE, flags), IOU_STATE) // and IOU_FLAGS
    // --- request
    const rq = slots + bit * RQ_SIZE
    store<u64>(rq, pair(opf, RQF_IO_STAT | RQF_PLAIN), RQ_CMD_FLAGS) // and RQ_FLAGS
    store<u64>(rq, sector, RQ_SECTOR)
    store<u64>(rq, pair(len, 1), RQ_DATA_LEN) // and RQ_NR_SEGS
    store<u64>(rq, pair(iou, iou), RQ_BIO) // and RQ_BIOTAIL
    store<u64>(rq, now, RQ_START_NS)
    // --- times
    store<u64>(iou, lat == LAT_NONE ? 0 : now, IOU_START_NS)
    now += cost
    if (stages) {
      store<u64>(rq, now, RQ_GOT_TAG_NS)
      store<u64>(rq, now, RQ_INSERT_NS)
      store<u64>(iou, now, IOU_ISSUE_NS)
    }
    // --- plug: 16 requests, sorted, with one hardware queue; only the newest with more
    if (sorted ? plugged >= MAX_REQUESTS || last_len >= FLUSH_BYTES : plugged == PLUG_MAX) {
      store<u32>(cpu, plugged, CPU_PLUG_COUNT)
      store<u64>(cpu, now, CPU_NOW)
      if (sorted) blk_flush_plug_list(cpu)
      else issue_plugged(cpu, hctx, plugged, false)
      store<u32>(cpu, 0, CPU_PLUG_COUNT)
      plugged = 0
      starts = 0
      ends = 0
    }
    store<u32>(cpu + (plugged << 2), rq, CPU_PLUG_RQS)
    plugged++
    last_len = len
    starts = (sorted ? starts : 0) | start_bit
    ends = (sorted ? ends : 0) | end_bit
    iou = load<u32>(iou, IOU_NEXT)
    bytes += len
    reads += ddir == DDIR_READ ? 1 : 0
    n++
  }
  store<u64>(rng, s0)
  store<u64>(rng, s1, 8)
  store<u32>(hints, hint)
  store<u32>(job, iou, JOB_FREE)
  store<u64>(job, bytes, JOB_BYTES)
  store<u64>(cpu, now, CPU_NOW)
  if (!sorted && plugged > 1) {
    issue_plugged(cpu, hctx, plugged - 1, false)
    store<u32>(cpu, load<u32>(cpu + ((plugged - 1) << 2), CPU_PLUG_RQS), CPU_PLUG_RQS)
    plugged = 1
  }
  store<u32>(cpu, plugged, CPU_PLUG_COUNT)
  store<u64>(cpu, starts, CPU_PLUG_STARTS)
  store<u64>(cpu, ends, CPU_PLUG_ENDS)
  // --- counters
  const sync = reads + (n - reads) * write_sync
  if (n > sync) add(ctx + CTX_DISPATCHED_ASYNC, n - sync)
  if (sync) add(ctx + CTX_DISPATCHED_ASYNC + 8, sync)
  add(hctx + HC_QUEUED, n)
  add(cpu + CPU_SUBMITTED, n)
  add(job + JOB_ISSUED, n)
  if (flags) add(job + JOB_ISSUED_MEASURED, n)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) + n, JOB_IN_FLIGHT)
  return n
}

function add(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n)
}
