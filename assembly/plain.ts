// The short way of a plain job: random reads and writes of one size on one NVMe disk, whose hardware
// queue belongs to this CPU alone, with nothing in the way (the gate word is zero).
//
// A batch is done step by step instead of I/O by I/O, so that what does not change is loaded once and
// counters are added up:
//
//   gen_draw      the next I/Os, as sort keys
//   sort, touches in the order of the plug; two neighbours would have been merged
//   take          tags and io_us
//   write         bio, request and ring entry, as submit_bio and nvme_queue_rq leave them
//
// A batch goes this way whole or not at all: when two I/Os touch, tags are short or a limit is near, all
// of it is put back and the chain of job.ts, submit.ts and sq.ts does it I/O by I/O. The same seed gives
// the same bytes in memory either way (test/unit/core/plain.test.ts). The trace build has the chain only.
//
// Completions of such requests go the short way too (cq.ts, reap_plain of job.ts). RQF_PLAIN marks them
// until an error, which is the chain's. Free things keep what both ways rely on:
//
//   a slot of a queue that one CPU owns   RQ_TAG, RQ_INTERNAL_TAG -1, RQ_CTX, RQ_HCTX, RQ_Q, RQ_CPU, rqs[tag];
//                                         0 in RQ_RETRIES, RQ_END_IO, RQ_PRP_LIST, RQ_SQE, RQ_TIMEOUT
//   an io_u                               0 in BIO_STATUS, BIO_NEXT, BIO_REMAINING, BIO_END_IO

import {
  BIO_DATA, BIO_OPF, BIO_SECTOR, BIO_SIZE, CLOCK_VIRTUAL, CPU_CLOCK, CPU_DRAWN, CPU_INDEX, CPU_LAT, CPU_NOW,
  CPU_PICKED, CPU_PLUG_COUNT, CPU_SORTING, CPU_STAGES, CPU_SUBMITTED, CTX_DISPATCHED_ASYNC, CTX_HCTX,
  CTX_SIZE, DDIR_WRITE, DRAW_MAX, DRIVER_NVME, FL_BLOCKS, FL_REGION, GEN_NEW, GEN_PERM, GEN_RANDOM,
  HC_DISPATCH_BUSY, HC_DRIVER, HC_DRIVER_DATA, HC_FLAGS, HC_GATE, HC_QUEUED, HC_SHARED, HC_TAGS,
  IOUF_MEASURED, IOU_ACTIVE, IOU_BUF, IOU_DDIR, IOU_ISSUE_NS, IOU_NEXT, IOU_START_NS, JF_REAP_MAX, JG_ALIGN,
  JG_FILE0, JG_MIN_BS, JG_MODE, JG_RW, JOB_BYTES, JOB_END_NS, JOB_FEATURES, JOB_FREE, JOB_GEN, JOB_IN_FLIGHT,
  JOB_IO_LIMIT, JOB_ISSUED, JOB_ISSUED_MEASURED, JOB_MAX_IO, JOB_NUMBER_IOS, JOB_PENDING, JOB_PLAIN,
  JOB_PL_CHUNK, JOB_PL_CQ, JOB_PL_CQ_END, JOB_PL_CTX, JOB_PL_FLYING, JOB_PL_HCTX, JOB_PL_LBA, JOB_PL_MASK,
  JOB_PL_PAGE2, JOB_PL_RING, JOB_PL_RING_END, JOB_PL_HINTS, JOB_PL_LEN, JOB_PL_NQ, JOB_PL_OPS, JOB_PL_SBQ,
  JOB_PL_SLOTS, JOB_PL_SORTED, JOB_PL_WROTE, JOB_Q, JOB_RECORD, JOB_RETRY, JOB_STOP, JOB_WRITE_FLAGS,
  LAT_BATCH, LAT_EVERY, LAT_NONE, MQ_RQ_IN_FLIGHT, M_BASE, M_JIFFIES, NQ_CQ, NQ_DEPTH, NQ_SHARED, NQ_SQ,
  NQ_SQ_TAIL, PAGE_SIZE, PLAIN_NO, PLAIN_UNKNOWN, PLAIN_YES, PLO_ACTIVE, PLO_CDW0, PLO_CDW12, PLO_DATA_LEN,
  PLO_DDIR_LEN, PLO_OPF, PLO_SIZE, PLO_SYNC, Q_BIO_BASED, Q_CAPACITY, Q_CTXS, Q_FLAGS, Q_LBA_SHIFT,
  Q_MAX_SECTORS, Q_NR_HW, Q_NSID, Q_TIMEOUT, RQ_BIO, RQ_BIOTAIL, RQ_CMD_FLAGS, RQ_DATA_LEN, RQ_DEADLINE,
  RQ_GEN, RQ_IO_START_NS, RQ_SECTOR, RQ_SIZE, RQ_START_NS, RQ_STATE, RW_READ, RW_TRIM, RW_TRIMWRITE, RW_WRITE,
  SBQ_DEPTH, SBQ_HINTS, SBQ_HINT_SIZE, SBQ_MAP, SBQ_MAP_NR, SBQ_ROUND_ROBIN, SBQ_SHIFT, SBW_DEPTH, SBW_SIZE,
  SECTOR_SHIFT, TAGS_BITMAP, TAGS_RESERVED, TAGS_STATIC_RQS,
} from './layout'
import {
  BLK_MQ_F_TAG_SHARED, CQE_BYTES, NVME_CMD_READ, NVME_CMD_WRITE, QUEUE_FLAG_NOMERGES, REQ_FUA, REQ_OP_READ,
  REQ_OP_WRITE, REQ_PREFLUSH, RQF_IO_STAT, RQF_PLAIN, SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_CDW2,
  SQE_MPTR, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { NO_KEY, gen_draw, gen_draw_one, gen_peek, gen_undraw } from './draw'
import { hosted } from './host'
import { blk_mq_call_slow, blk_timer_must_move, op_is_sync, pair, submit_cost } from './request'
import { __sbitmap_queue_get } from './sbitmap'

const MAX_REQUESTS: u32 = 16 // BLK_MAX_REQUEST_COUNT: a plug of one hardware queue is flushed when it holds so many
const FLUSH_BYTES: u32 = 128 * 1024
const PAGE: u32 = PAGE_SIZE

// ---------------------------------------------------------------- what does not change while a job runs

/** Whether the job's I/Os all have one size that two PRP entries can name; and the size. */
function plain_length(job: u32): u32 {
  const gen = job + JOB_GEN
  const rw = load<u32>(gen, JG_RW)
  const at = gen + (rw & RW_READ ? 0 : 4)
  const len = load<u32>(at, JG_MIN_BS)
  const align = load<u32>(at, JG_ALIGN)
  if ((rw & (RW_READ | RW_WRITE)) == (RW_READ | RW_WRITE)) {
    if (load<u32>(gen + 4, JG_MIN_BS) != len || load<u32>(gen + 4, JG_ALIGN) != align) return 0
  }
  return len <= 2 * PAGE && len < FLUSH_BYTES ? len : 0
}

/** The last byte that a random offset can reach lies within the disk. */
function plain_range(job: u32, q: u32, len: u32): bool {
  const gen = job + JOB_GEN
  const fl = gen + JG_FILE0
  const ddir: u32 = load<u32>(gen, JG_RW) & RW_READ ? 0 : 1
  const blocks = load<u64>(fl + (ddir << 3), FL_BLOCKS)
  const last = load<u64>(fl, FL_REGION) + (blocks - 1) * load<u32>(gen + (ddir << 2), JG_ALIGN) + len
  return last <= load<u64>(q, Q_CAPACITY) << SECTOR_SHIFT
}

function plain_latency(cpu: u32): bool {
  const lat = load<u32>(cpu, CPU_LAT)
  return lat == LAT_NONE || lat == LAT_BATCH || (lat == LAT_EVERY && load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL)
}

export function plain_queue(q: u32, hctx: u32): bool {
  if (load<u32>(hctx, HC_DRIVER) != DRIVER_NVME || load<u32>(hctx, HC_SHARED)) return false
  if (load<u32>(load<u32>(hctx, HC_DRIVER_DATA), NQ_SHARED)) return false
  if (load<u32>(hctx, HC_FLAGS) & BLK_MQ_F_TAG_SHARED) return false
  const tags = load<u32>(hctx, HC_TAGS)
  return !load<u32>(tags, TAGS_RESERVED) && !load<u32>(tags + TAGS_BITMAP, SBQ_ROUND_ROBIN) && !load<u32>(q, Q_BIO_BASED)
}

/** What the entries of one direction have in common. */
function plain_op(job: u32, q: u32, ddir: u32, len: u32): void {
  const op = job + JOB_PL_OPS + ddir * PLO_SIZE
  const opf: u32 = ddir == DDIR_WRITE ? REQ_OP_WRITE | load<u32>(job, JOB_WRITE_FLAGS) : REQ_OP_READ
  const opcode: u32 = ddir == DDIR_WRITE ? NVME_CMD_WRITE : NVME_CMD_READ
  store<u64>(op, opf, PLO_OPF)
  store<u64>(op, pair(ddir, len), PLO_DDIR_LEN)
  store<u64>(op, pair(opcode, load<u32>(q, Q_NSID)), PLO_CDW0)
  store<u64>(op, (len >> load<u32>(q, Q_LBA_SHIFT)) - 1, PLO_CDW12)
  store<u64>(op, 0, PLO_CDW12 + 8)
  store<u64>(op, pair(len, 1), PLO_DATA_LEN)
  store<u32>(op, op_is_sync(opf) ? 1 : 0, PLO_SYNC)
}

function note_rings(job: u32, nq: u32): void {
  const depth = load<u32>(nq, NQ_DEPTH)
  store<u32>(job, load<u32>(nq, NQ_SQ), JOB_PL_RING)
  store<u32>(job, load<u32>(nq, NQ_SQ) + depth * SQE_BYTES, JOB_PL_RING_END)
  store<u32>(job, load<u32>(nq, NQ_CQ), JOB_PL_CQ)
  store<u32>(job, load<u32>(nq, NQ_CQ) + depth * CQE_BYTES, JOB_PL_CQ_END)
}

/** Finds out whether a job may go the short way, and notes what it needs there. */
function classify(cpu: u32, job: u32): u32 {
  const mode = load<u32>(job + JOB_GEN, JG_MODE)
  if (mode == GEN_NEW) return PLAIN_UNKNOWN
  const q = load<u32>(job, JOB_Q)
  if (hosted()) return PLAIN_NO // the kernel in TypeScript wants to see each request
  if (!q || load<u32>(job, JOB_FEATURES) & ~JF_REAP_MAX || (mode != GEN_RANDOM && mode != GEN_PERM)) return PLAIN_NO
  if (load<u32>(job + JOB_GEN, JG_RW) & (RW_TRIM | RW_TRIMWRITE)) return PLAIN_NO
  if (load<u32>(job, JOB_WRITE_FLAGS) & (REQ_FUA | REQ_PREFLUSH) || !plain_latency(cpu)) return PLAIN_NO
  const len = plain_length(job)
  if (!len || len >> SECTOR_SHIFT > load<u32>(q, Q_MAX_SECTORS) || !plain_range(job, q, len)) return PLAIN_NO
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  if (!plain_queue(q, hctx)) return PLAIN_NO
  const tags = load<u32>(hctx, HC_TAGS)
  const sorted = load<u32>(q, Q_NR_HW) == 1
  store<u32>(job, sorted ? MAX_REQUESTS : DRAW_MAX, JOB_PL_CHUNK)
  store<u32>(job, sorted ? 1 : 0, JOB_PL_SORTED)
  store<u32>(job, len, JOB_PL_LEN)
  store<u32>(job, hctx, JOB_PL_HCTX)
  store<u32>(job, ctx, JOB_PL_CTX)
  store<u32>(job, load<u32>(hctx, HC_DRIVER_DATA), JOB_PL_NQ)
  store<u32>(job, load<u32>(tags + TAGS_BITMAP, SBQ_HINTS) + index * SBQ_HINT_SIZE, JOB_PL_HINTS)
  store<u32>(job, tags + TAGS_BITMAP, JOB_PL_SBQ)
  store<u32>(job, load<u32>(tags, TAGS_STATIC_RQS), JOB_PL_SLOTS)
  store<u32>(job, (1 << load<u32>(tags + TAGS_BITMAP, SBQ_SHIFT)) - 1, JOB_PL_MASK)
  store<u32>(job, load<u32>(q, Q_LBA_SHIFT) - SECTOR_SHIFT, JOB_PL_LBA)
  store<u64>(job, len > PAGE ? u64.MAX_VALUE : 0, JOB_PL_PAGE2)
  note_rings(job, load<u32>(hctx, HC_DRIVER_DATA))
  plain_op(job, q, 0, len)
  plain_op(job, q, 1, len)
  return PLAIN_YES
}

// ---------------------------------------------------------------- may this batch?

/** True while no limit of the job lies within the next `n` I/Os. */
function far_from_limits(cpu: u32, job: u32, n: u32): bool {
  const before = <u64>(n - 1) * load<u32>(job, JOB_PL_LEN)
  return (
    load<u64>(cpu, CPU_NOW) < load<u64>(job, JOB_END_NS) &&
    load<u64>(job, JOB_BYTES) + before < load<u64>(job, JOB_IO_LIMIT) &&
    load<u64>(job, JOB_ISSUED) + n <= load<u64>(job, JOB_NUMBER_IOS) &&
    load<u64>(job, JOB_ISSUED_MEASURED) + n <= load<u64>(job, JOB_MAX_IO)
  )
}

/** What an io_u is while it is under way, and whether it counts, which the end of the ramp changes. */
function note_record(job: u32): void {
  const active = pair(IOU_ACTIVE, load<u32>(job, JOB_RECORD) ? IOUF_MEASURED : 0)
  store<u64>(job + JOB_PL_OPS, active, PLO_ACTIVE)
  store<u64>(job + JOB_PL_OPS + PLO_SIZE, active, PLO_ACTIVE)
}

/** True if a batch of `n` I/Os may go the short way now. */
export function plain_may_go(cpu: u32, job: u32, n: u32): bool {
  let plain = load<u32>(job, JOB_PLAIN)
  if (plain != PLAIN_YES) {
    if (plain == PLAIN_NO) return false
    plain = classify(cpu, job)
    store<u32>(job, plain, JOB_PLAIN)
    if (plain != PLAIN_YES) return false
  }
  const hctx = load<u32>(job, JOB_PL_HCTX)
  if (atomic.load<u32>(hctx, HC_GATE) | load<u32>(hctx, HC_DISPATCH_BUSY) | load<u32>(cpu, CPU_PLUG_COUNT)) return false
  if (load<u32>(job, JOB_RETRY) | load<u32>(job, JOB_PENDING) | atomic.load<u32>(job, JOB_STOP)) return false
  if (load<u32>(load<u32>(job, JOB_Q), Q_FLAGS) & (1 << QUEUE_FLAG_NOMERGES)) return false
  if (n > <u32>DRAW_MAX && !load<u32>(job, JOB_PL_SORTED)) return false // merges reach across the whole batch
  note_record(job)
  return far_from_limits(cpu, job, n)
}

// ---------------------------------------------------------------- the steps

const KEY_BIT: i64 = 1 << 62
const NO_I_O: i64 = 0x3f << 56 // fills a sort up: larger than any key

/** The lower (upper) of each lane. */
// @ts-ignore: decorator
@inline
function lower(a: v128, b: v128): v128 {
  return f64x2.pmin(a, b)
}

// @ts-ignore: decorator
@inline
function upper(a: v128, b: v128): v128 {
  return f64x2.pmax(a, b)
}

// @ts-ignore: decorator
@inline
function firsts(a: v128, b: v128): v128 {
  return v128.shuffle<u64>(a, b, 0, 2)
}

// @ts-ignore: decorator
@inline
function seconds(a: v128, b: v128): v128 {
  return v128.shuffle<u64>(a, b, 1, 3)
}

// @ts-ignore: decorator
@inline
function key_pair(keys: u32): v128 {
  return v128.or(v128.load(keys), i64x2.splat(KEY_BIT))
}

/** Writes four keys that rise and then fall, two in each vector, in order and without KEY_BIT. */
// @ts-ignore: decorator
@inline
function settle(a: v128, b: v128, to: u32): void {
  const low = lower(a, b)
  const high = upper(a, b)
  const even = firsts(low, high)
  const odd = seconds(low, high)
  const less = lower(even, odd)
  const more = upper(even, odd)
  v128.store(to, v128.xor(firsts(less, more), i64x2.splat(KEY_BIT)))
  v128.store(to, v128.xor(seconds(less, more), i64x2.splat(KEY_BIT)), 16)
}

/** Sorts eight keys with KEY_BIT that rise and then fall, in place. */
function settle_eight(keys: u32): void {
  const a = v128.load(keys)
  const b = v128.load(keys, 16)
  const c = v128.load(keys, 32)
  const d = v128.load(keys, 48)
  settle(lower(a, c), lower(b, d), keys)
  settle(upper(a, c), upper(b, d), keys + 32)
}

/** Sorts eight keys: two columns of four, then the one upwards and the other downwards. */
function sort_eight(keys: u32, to: u32): void {
  const k0 = key_pair(keys)
  const k1 = key_pair(keys + 16)
  const k2 = key_pair(keys + 32)
  const k3 = key_pair(keys + 48)
  const a = lower(k0, k1)
  const b = upper(k0, k1)
  const c = lower(k2, k3)
  const d = upper(k2, k3)
  const top = lower(a, c)
  const e = upper(a, c)
  const f = lower(b, d)
  const last = upper(b, d)
  const second = lower(e, f)
  const third = upper(e, f)
  v128.store(to, firsts(top, second))
  v128.store(to, firsts(third, last), 16)
  v128.store(to, seconds(last, third), 32)
  v128.store(to, seconds(second, top), 48)
  settle_eight(to)
}

/** Vector `i` of the first eight keys and its mirror image among the second eight: the lower keys to the front, the upper behind. */
// @ts-ignore: decorator
@inline
function part(keys: u32, a: v128, mirror: v128, i: u32): void {
  const z = v128.shuffle<u64>(mirror, mirror, 1, 0)
  v128.store(keys + i * 16, lower(a, z))
  v128.store(keys + i * 16, upper(a, z), 64)
}

/** Sorts sixteen keys of which each eight are in order, in place. */
function merge_eights(keys: u32): void {
  const a1 = key_pair(keys + 16)
  const a2 = key_pair(keys + 32)
  const a3 = key_pair(keys + 48)
  const b0 = key_pair(keys + 64)
  const b1 = key_pair(keys + 80)
  const b2 = key_pair(keys + 96)
  part(keys, key_pair(keys), key_pair(keys + 112), 0)
  part(keys, a1, b2, 1)
  part(keys, a2, b1, 2)
  part(keys, a3, b0, 3)
  settle_eight(keys)
  settle_eight(keys + 64)
}

/**
 * Sorts up to sixteen keys from `keys` to `to` by a network of comparisons without branches (bitonic, Batcher 1968). As positive
 * floating-point numbers keys have the same order, and two of those are compared and exchanged in two instructions;
 * KEY_BIT keeps them away from the denormal ones, which some machines handle slowly.
 */
function sort_keys(keys: u32, n: u32, to: u32): void {
  const end = keys + (n << 3)
  const none = i64x2.splat(NO_I_O)
  v128.store(end, none)
  v128.store(end, none, 16)
  v128.store(end, none, 32)
  v128.store(end, none, 48)
  sort_eight(keys, to)
  if (n <= 8) return
  sort_eight(keys + 64, to + 64)
  merge_eights(to)
}

/**
 * True if an I/O begins where its neighbour ends, or the other way round: the plug would have merged them. Two that
 * overlap by one sector may be taken for such: they go the long way, where it is found out.
 */
// @ts-ignore: decorator
@inline
function touches(keys: u32, n: u32, sectors: u32): bool {
  const end = keys + (n << 3) - 8
  // A key's low eight bits are not its sector's: the distance may be off by less than one sector either way.
  const least = i64x2.splat((<i64>sectors << 8) - 256)
  const most = i64x2.splat((<i64>sectors << 8) + 256)
  const zero = i64x2.splat(0)
  let hits = zero
  store<u64>(end, <u64>i64.MAX_VALUE, 8) // the last one's neighbour
  for (let at = keys; at < end; at += 16) {
    const distance = i64x2.sub(v128.load(at, 8), v128.load(at))
    const ahead = i64x2.eq(i64x2.shr_u(i64x2.sub(distance, least), 9), zero)
    const behind = i64x2.eq(i64x2.shr_u(i64x2.add(distance, most), 9), zero)
    hits = v128.or(hits, v128.or(ahead, behind))
  }
  return v128.any_true(hits)
}

/** True if the I/O that comes after these, for which a full plug is flushed, would have merged with one of them. */
function next_touches(job: u32, keys: u32, n: u32): bool {
  const next = gen_peek(job)
  const sectors = <u64>(load<u32>(job, JOB_PL_LEN) >> SECTOR_SHIFT)
  for (let i: u32 = 0; i < n; i++) {
    const sector = load<u64>(keys + (i << 3)) >> 8
    if (sector + sectors == next || next + sectors == sector) return true
  }
  return false
}

function clear_bit(sbq: u32, bit: u32): void {
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const word = load<u32>(sbq, SBQ_MAP) + (bit >> shift) * SBW_SIZE
  store<u64>(word, load<u64>(word) & ~(<u64>1 << (bit & ((1 << shift) - 1))))
}

/** Puts back the first `n` tags that were taken for a batch. */
function put_back(job: u32, picked: u32, n: u32, hint: u32): void {
  const sbq = load<u32>(job, JOB_PL_SBQ)
  for (let i: u32 = 0; i < n; i++) {
    clear_bit(sbq, load<u32>(picked + (i << 3)))
  }
  store<u32>(load<u32>(job, JOB_PL_HINTS), hint)
}

/** Tags that __sbitmap_queue_get finds one after the other. False: there are not so many, and none was taken. */
function take_walking(cpu: u32, job: u32, picked: u32, n: u32): bool {
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const first = load<u32>(job, JOB_PL_HINTS)
  const hint = load<u32>(first)
  for (let i: u32 = 0; i < n; i++) {
    const bit = __sbitmap_queue_get(sbq, load<u32>(cpu, CPU_INDEX))
    if (bit < 0) {
      put_back(job, picked, i, hint)
      return false
    }
    store<u32>(picked + (i << 3), bit)
  }
  return true
}

/** Takes bits of a word, lowest first, up to `want` of those in `free`: how many. `first` is the number of its bit 0. */
// @ts-ignore: decorator
@inline
function take_bits(word: u32, first: u32, free: u64, want: u32, picked: u32): u32 {
  let left = free
  let n: u32 = 0
  while (left && n < want) {
    store<u32>(picked + (n << 3), first + <u32>ctz(left))
    left &= left - 1
    n++
  }
  store<u64>(word, load<u64>(word) | (free ^ left))
  return n
}

// @ts-ignore: decorator
@inline
function free_bits(word: u32): u64 {
  return ~load<u64>(word) & (<u64>-1 >> (64 - load<u32>(word, SBW_DEPTH)))
}

/** take_walking, a word at a time: the words of a map of few tags are short. */
function take_across(cpu: u32, job: u32, picked: u32, n: u32): bool {
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const hints = load<u32>(job, JOB_PL_HINTS)
  const before = load<u32>(hints)
  if (before + n + 1 >= load<u32>(sbq, SBQ_DEPTH)) return take_walking(cpu, job, picked, n)
  const map = load<u32>(sbq, SBQ_MAP)
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const in_word = load<u32>(job, JOB_PL_MASK)
  let hint = before
  let got: u32 = 0
  while (true) {
    // The hint moves on while it is itself the bit that is got, and into the next word.
    const word = map + (hint >> shift) * SBW_SIZE
    const from = hint & in_word
    const free = free_bits(word) >> from
    const run = min<u32>(n - got, <u32>ctz(~free))
    if (run) take_bits(word, hint - from, free << from, run, picked + (got << 3))
    got += run
    hint += run
    if (got == n || from + run < load<u32>(word, SBW_DEPTH)) break
  }
  // Then it stands: the bits behind it, those before it, and the other words.
  const words = load<u32>(sbq, SBQ_MAP_NR)
  let index = hint >> shift
  let skip = hint & in_word
  for (let i: u32 = 0; i < words && got < n; i++) {
    const word = map + index * SBW_SIZE
    const free = free_bits(word)
    const behind = free >> skip << skip
    got += take_bits(word, index << shift, behind, n - got, picked + (got << 3))
    if (skip) got += take_bits(word, index << shift, free ^ behind, n - got, picked + (got << 3))
    skip = 0
    if (++index == words) index = 0
  }
  store<u32>(hints, hint)
  if (got == n) return true
  put_back(job, picked, got, before)
  return false
}

/** Takes `n` io_us, in the order in which the job would. */
function take_ious(job: u32, picked: u32, n: u32): void {
  let iou = load<u32>(job, JOB_FREE)
  const end = picked + (n << 3)
  while (picked != end) {
    store<u32>(picked, iou, 4)
    iou = load<u32>(iou, IOU_NEXT)
    picked += 8
  }
  store<u32>(job, iou, JOB_FREE)
}

/** Tags and io_us for `n` I/Os, by the search. */
function take_searching(cpu: u32, job: u32, picked: u32, n: u32, across: bool): bool {
  if (!(across ? take_across(cpu, job, picked, n) : take_walking(cpu, job, picked, n))) return false
  take_ious(job, picked, n)
  return true
}

/**
 * Takes tags and io_us for `n` I/Os. The tags that the search would find one after the other stand, mostly, in the word
 * of the hint: its free bits from the hint on, then those before it. The hint moves on while it is itself
 * the bit that was got.
 */
// @ts-ignore: decorator
@inline
function take(cpu: u32, job: u32, picked: u32, n: u32): bool {
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const hints = load<u32>(job, JOB_PL_HINTS)
  const hint = load<u32>(hints)
  if (hint + n + 1 >= load<u32>(sbq, SBQ_DEPTH)) return take_searching(cpu, job, picked, n, false)
  const from = hint & load<u32>(job, JOB_PL_MASK)
  const word = load<u32>(sbq, SBQ_MAP) + (hint >> load<u32>(sbq, SBQ_SHIFT)) * SBW_SIZE
  const width = load<u32>(word, SBW_DEPTH)
  const bits = load<u64>(word)
  let above = (~bits >> from) & (<u64>-1 >> (64 - width + from))
  let below = ~bits & ~(<u64>-1 << from)
  const run = min<u32>(n, <u32>ctz(~above))
  const all = (above << from) | below
  const enough = <u32>popcnt(above)
  // Past the last bit of its word, the hint would go on in the next one.
  if (enough < n && (run + from == width || enough + <u32>popcnt(below) < n)) return take_searching(cpu, job, picked, n, true)
  let iou = load<u32>(job, JOB_FREE)
  const turn = picked + (min<u32>(n, enough) << 3)
  const end = picked + (n << 3)
  while (picked != turn) {
    store<u32>(picked, hint + <u32>ctz(above))
    store<u32>(picked, iou, 4)
    iou = load<u32>(iou, IOU_NEXT)
    above &= above - 1
    picked += 8
  }
  while (picked != end) {
    store<u32>(picked, hint - from + <u32>ctz(below))
    store<u32>(picked, iou, 4)
    iou = load<u32>(iou, IOU_NEXT)
    below &= below - 1
    picked += 8
  }
  store<u32>(job, iou, JOB_FREE)
  store<u64>(word, bits | (all ^ ((above << from) | below)))
  store<u32>(hints, hint + run)
  return true
}

/** A tag for one I/O: its number, or -1. */
// @ts-ignore: decorator
@inline
function take_tag(cpu: u32, job: u32): i32 {
  const sbq = load<u32>(job, JOB_PL_SBQ)
  const hints = load<u32>(job, JOB_PL_HINTS)
  const hint = load<u32>(hints)
  if (hint + 2 < load<u32>(sbq, SBQ_DEPTH)) {
    const from = hint & load<u32>(job, JOB_PL_MASK)
    const word = load<u32>(sbq, SBQ_MAP) + (hint >> load<u32>(sbq, SBQ_SHIFT)) * SBW_SIZE
    const bits = load<u64>(word)
    const free = (~bits >> from) & (<u64>-1 >> (64 - load<u32>(word, SBW_DEPTH) + from))
    if (free) {
      store<u64>(word, bits | ((free & (0 - free)) << from))
      if (free & 1) store<u32>(hints, hint + 1)
      return hint + <u32>ctz(free)
    }
  }
  return __sbitmap_queue_get(sbq, load<u32>(cpu, CPU_INDEX))
}

/** Stamps that virtual time and --stages take: I/O `place` of a batch that began at `now` (plain_stamps has the others). */
function stamp(cpu: u32, rq: u32, iou: u32, place: u32, cost: u64, issue: u64): void {
  const queued = load<u64>(cpu, CPU_NOW) + place * cost
  store<u64>(rq, queued, RQ_START_NS)
  store<u64>(rq, issue, RQ_IO_START_NS)
  if (load<u32>(cpu, CPU_LAT) != LAT_NONE) store<u64>(iou, queued, IOU_START_NS)
  store<u64>(iou, queued + cost, IOU_ISSUE_NS)
}

/**
 * Fills the bio, the request and the ring entry of one I/O; `op` is its direction's PLO block, `times` RQ_START_NS and the
 * two words after it.
 */
// @ts-ignore: decorator
@inline
function fill(
  op: u32, tag: u32, iou: u32, sector: u64, rq: u32, sqe: u32, times: v128, started: u64, lba: u64, second: u64,
): void {
  const buf = load<u32>(iou, IOU_BUF)
  const opf = load<u64>(op, PLO_OPF)
  store<u64>(iou, opf, BIO_OPF) // and BIO_STATUS
  store<u64>(iou, sector, BIO_SECTOR)
  store<u32>(iou, load<u32>(op, PLO_DDIR_LEN + 4), BIO_SIZE)
  store<u32>(iou, buf, BIO_DATA)
  v128.store(iou, v128.load(op, PLO_DDIR_LEN), IOU_DDIR) // to IOU_FLAGS
  store<u64>(iou, started, IOU_START_NS)
  store<u64>(rq, opf | (<u64>(load<u32>(rq, RQ_GEN) + 1) << 32), RQ_CMD_FLAGS) // and RQ_GEN
  store<u64>(rq, sector, RQ_SECTOR)
  store<u64>(rq, load<u64>(op, PLO_DATA_LEN), RQ_DATA_LEN) // and RQ_NR_SEGS
  store<u32>(rq, iou, RQ_BIO)
  store<u32>(rq, iou, RQ_BIOTAIL)
  v128.store(rq, times, RQ_START_NS)
  store<u64>(rq, pair(MQ_RQ_IN_FLIGHT, RQF_IO_STAT | RQF_PLAIN), RQ_STATE) // and RQ_FLAGS
  store<u64>(sqe, load<u64>(op, PLO_CDW0) | (<u64>tag << 16), SQE_CDW0) // and SQE_NSID
  store<u64>(sqe, 0, SQE_CDW2)
  store<u64>(sqe, 0, SQE_MPTR)
  store<u64>(sqe, buf, SQE_PRP1)
  store<u64>(sqe, <u64>(buf + PAGE) & second, SQE_PRP2)
  store<u64>(sqe, sector >> lba, SQE_CDW10)
  v128.store(sqe, v128.load(op, PLO_CDW12), SQE_CDW12) // to its end
}

/** RQ_START_NS of requests that begin now, RQ_DEADLINE, and RQ_TIMEOUT 0. */
// @ts-ignore: decorator
@inline
function times_of(job: u32, now: u64): v128 {
  const deadline = load<u32>(M_BASE, M_JIFFIES) + load<u32>(load<u32>(job, JOB_Q), Q_TIMEOUT)
  return i64x2.replace_lane(i64x2.splat(now), 1, <i64>deadline)
}

/** The I/Os drawn and picked, in the order of the keys, into the ring. */
// @ts-ignore: decorator
@inline
function write(cpu: u32, job: u32, n: u32): void {
  const nq = load<u32>(job, JOB_PL_NQ)
  const slots = load<u32>(job, JOB_PL_SLOTS)
  const ring_end = load<u32>(job, JOB_PL_RING_END)
  const lba = <u64>load<u32>(job, JOB_PL_LBA)
  const now = load<u64>(cpu, CPU_NOW)
  const started: u64 = load<u32>(cpu, CPU_LAT) == LAT_NONE ? 0 : now
  const times = times_of(job, now)
  const second = load<u64>(job, JOB_PL_PAGE2)
  let sqe = load<u32>(job, JOB_PL_RING) + load<u32>(nq, NQ_SQ_TAIL) * SQE_BYTES
  let at = cpu + CPU_DRAWN
  const last = at + (n << 3)
  let wrote: u32 = 0
  do {
    const end = min<u32>(last, at + (ring_end - sqe) / (SQE_BYTES / 8)) // of the ring, or of the batch
    do {
      const key = load<u64>(at)
      const ddir = <u32>key & 3
      const pick = cpu + (<u32>key & 0xfc) * 2
      const tag = load<u32>(pick, CPU_PICKED)
      const op = job + JOB_PL_OPS + ddir * PLO_SIZE
      fill(op, tag, load<u32>(pick, CPU_PICKED + 4), key >> 8, slots + tag * RQ_SIZE, sqe, times, started, lba, second)
      wrote += ddir
      sqe += SQE_BYTES
      at += 8
    } while (at != end)
    if (sqe == ring_end) sqe = load<u32>(job, JOB_PL_RING)
  } while (at != last)
  store<u32>(nq, (sqe - load<u32>(job, JOB_PL_RING)) / SQE_BYTES, NQ_SQ_TAIL)
  if (wrote) store<u32>(job, load<u32>(job, JOB_PL_WROTE) + wrote, JOB_PL_WROTE)
}

/** The stamps of what has been written. Sorted, it went when the plug was flushed; else each when the next one had its request. */
function stamp_all(cpu: u32, job: u32, n: u32, cost: u64, issue: u64): void {
  const slots = load<u32>(job, JOB_PL_SLOTS)
  const sorted = load<u32>(job, JOB_PL_SORTED)
  for (let place: u32 = 0; place < n; place++) {
    const pick = cpu + CPU_PICKED + (place << 3)
    const own = load<u64>(cpu, CPU_NOW) + min<u32>(place + 2, n) * cost
    stamp(cpu, slots + load<u32>(pick) * RQ_SIZE, load<u32>(pick, 4), place, cost, sorted ? issue : own)
  }
}

/** One I/O: the steps in a straight line. False: not this way, and nothing has changed. */
export function plain_one(cpu: u32, job: u32): bool {
  const hint = load<u32>(load<u32>(job, JOB_PL_HINTS))
  const tag = <u32>take_tag(cpu, job)
  if (<i32>tag < 0) return false
  const key = gen_draw_one(job)
  if (key == NO_KEY) {
    clear_bit(load<u32>(job, JOB_PL_SBQ), tag)
    store<u32>(load<u32>(job, JOB_PL_HINTS), hint)
    return false
  }
  const nq = load<u32>(job, JOB_PL_NQ)
  const iou = load<u32>(job, JOB_FREE)
  const rq = load<u32>(job, JOB_PL_SLOTS) + tag * RQ_SIZE
  const ddir = <u32>key & 3
  const now = load<u64>(cpu, CPU_NOW)
  const started: u64 = load<u32>(cpu, CPU_LAT) == LAT_NONE ? 0 : now
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  store<u32>(job, load<u32>(iou, IOU_NEXT), JOB_FREE)
  fill(
    job + JOB_PL_OPS + ddir * PLO_SIZE, tag, iou, key >> 8, rq, load<u32>(job, JOB_PL_RING) + tail * SQE_BYTES,
    times_of(job, now), started, <u64>load<u32>(job, JOB_PL_LBA), load<u64>(job, JOB_PL_PAGE2),
  )
  store<u32>(nq, tail + 1 == load<u32>(nq, NQ_DEPTH) ? 0 : tail + 1, NQ_SQ_TAIL)
  if (ddir) store<u32>(job, load<u32>(job, JOB_PL_WROTE) + 1, JOB_PL_WROTE)
  if (load<u32>(cpu, CPU_STAGES)) {
    const cost = submit_cost(cpu)
    stamp(cpu, rq, iou, 0, cost, now + cost)
    store<u64>(cpu, now + cost, CPU_NOW)
  }
  return true
}

/** Draws the next `n` I/Os and takes what they need; false: not this way, and nothing has changed. */
// @ts-ignore: decorator
@inline
function prepare(cpu: u32, job: u32, n: u32, more: bool): bool {
  const sorted = load<u32>(job, JOB_PL_SORTED)
  const keys = cpu + CPU_DRAWN
  const drawn: u32 = sorted ? cpu + CPU_SORTING : keys
  if (!gen_draw(job, drawn, n)) return false
  if (sorted) sort_keys(drawn, n, keys)
  const merges = touches(keys, n, load<u32>(job, JOB_PL_LEN) >> SECTOR_SHIFT) || (more && next_touches(job, keys, n))
  if (!merges && take(cpu, job, cpu + CPU_PICKED, n)) return true
  gen_undraw(job)
  return false
}

/**
 * Up to a chunk of I/Os into the ring: all of them, or nothing has changed. `more` follow in the same batch.
 */
function plain_chunk(cpu: u32, job: u32, n: u32, more: bool): bool {
  if (!prepare(cpu, job, n, more)) return false
  const cost = submit_cost(cpu)
  const after = load<u64>(cpu, CPU_NOW) + cost * n
  // A full plug is flushed when the next I/O has its request.
  write(cpu, job, n)
  if (load<u32>(cpu, CPU_STAGES)) stamp_all(cpu, job, n, cost, more ? after + cost : after)
  if (cost) store<u64>(cpu, after, CPU_NOW)
  return true
}

/** A batch of `room` I/Os into the ring, as far as whole chunks may go this way: how many. */
// @ts-ignore: decorator
@inline
export function plain_batch(cpu: u32, job: u32, room: u32): u32 {
  if (room == 1) return plain_one(cpu, job) ? 1 : 0
  const chunk = load<u32>(job, JOB_PL_CHUNK)
  let n: u32 = 0
  while (n < room) {
    const now = min<u32>(room - n, chunk)
    if (!plain_chunk(cpu, job, now, room - n > now)) break
    n += now
  }
  return n
}

/** Counts `n` I/Os that plain_batch has issued. */
export function plain_issued(cpu: u32, job: u32, n: u64): void {
  const q = load<u32>(job, JOB_Q)
  const hctx = load<u32>(job, JOB_PL_HCTX)
  if (blk_timer_must_move(q, load<u32>(M_BASE, M_JIFFIES) + load<u32>(q, Q_TIMEOUT))) blk_mq_call_slow(cpu, hctx)
  const wrote = load<u32>(job, JOB_PL_WROTE)
  store<u32>(job, 0, JOB_PL_WROTE)
  const sync = n - wrote + wrote * load<u32>(job + JOB_PL_OPS + PLO_SIZE, PLO_SYNC)
  const ctx = load<u32>(job, JOB_PL_CTX)
  add(ctx + CTX_DISPATCHED_ASYNC, n - sync)
  add(ctx + CTX_DISPATCHED_ASYNC + 8, sync)
  add(hctx + HC_QUEUED, n)
  add(cpu + CPU_SUBMITTED, n)
  add(job + JOB_ISSUED, n)
  add(job + JOB_BYTES, n * load<u32>(job, JOB_PL_LEN))
  if (load<u32>(job, JOB_RECORD)) add(job + JOB_ISSUED_MEASURED, n)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) + <u32>n, JOB_IN_FLIGHT)
  store<u32>(job, load<u32>(job, JOB_PL_FLYING) + <u32>n, JOB_PL_FLYING)
}

/** Issues `room` I/Os, or as many whole chunks as may go the short way: how many. The doorbell is the caller's. */
export function plain_issue(cpu: u32, job: u32, room: u32): u32 {
  if (isDefined(TRACE_BUILD) || !plain_may_go(cpu, job, room)) return 0
  const n = plain_batch(cpu, job, room)
  if (n) plain_issued(cpu, job, n)
  return n
}

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}
