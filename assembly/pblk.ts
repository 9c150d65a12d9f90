// pblk's hot path: drivers/lightnvm/pblk-cache.c, pblk-rb.c, pblk-read.c and pblk-core.c of Linux 4.19, where nothing is special.
// src/drivers/lightnvm has everything, over the same memory (PB_*, LN_*); what is not done here is done there.
//
//   pblk_make_rq    a read whose sectors are all in the ring or nowhere ends at once; one whose sectors are all on the media
//                   becomes a vector command; a write for which there is room goes into the ring
//   pblk_submit_write   a write unit of the ring goes to the media, for the writer
//   pblk_write_ts   the writer's turn, when it has been kicked and all that is to be written is plain
//   pblk_end_rq     a vector command of the core has ended
//
// The trace core leaves all of it to TypeScript. test/e2e/pblk-core.test.ts runs the same jobs on both.

import {
  BIO_DATA, BIO_DISK, BIO_END_IO, BIO_NEXT, BIO_OPF, BIO_REMAINING, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CLOCK_REAL, CPU_CLOCK,
  CPU_ENDED, CPU_INDEX, CPU_NOW, CPU_SUBMITTED, CTX_HCTX, CTX_HEAD, CTX_SIZE, DRIVER_NVME, END_IO_JOB, END_IO_NONE,
  HB_INSERT_REQUEST, HB_PBLK_END, HB_PBLK_ERASE, HB_PBLK_GROUP, HB_PBLK_KICK, HB_PBLK_LINE_PUT, HB_PBLK_NEXT, HB_PBLK_OVER,
  HB_PBLK_SYNC, HB_PBLK_UP, HB_PBLK_USER_IN, HC_DISPATCHED, HC_DISPATCH_BUSY, HC_DISPATCH_HEAD, HC_DRIVER, HC_GATE, HC_RUN, HC_VSLOTS, IOU_JOB,
  JOB_CPU, LN_CUR_SEC, LN_ID, LN_INFLIGHT, LN_INVALID, LN_LBAS, LN_LEFT_EBLKS, LN_LEFT_MSECS, LN_MAP, LN_REF, LN_SEC_IN_LINE, LN_SIZE, LN_STATE, LN_TO_UPDATE, LN_VALID_LBAS, LN_VSC, LN_WRITE_ERR, LU_COUNT, LU_SIZE, LU_WAITING, M_BASE,
  M_JIFFIES, M_WRITER, NVME_REQ_CANCELLED, PAGE_SHIFT, PAGE_SIZE, PBW_CORE, PBLK_IOTYPE_USER, PBLK_LINESTATE_CLOSED, PBLK_LINESTATE_OPEN,
  PBLK_SUBMITTED_ENTRY, PBLK_WRITABLE_ENTRY, PBLK_WRITTEN_DATA, PB_CHUNK_BITS, PB_CHUNK_SHIFT, PB_CH_BITS, PB_CLBA, PB_COMPLETE, PB_DATA_LINE, PB_ERASE_LINE, PB_FLUSHES, PB_GC_WANTS, PB_HIGH_THRS, PB_INFLIGHT, PB_KICK_STAMP, PB_L2P,
  PB_LBA_ROOM, PB_LINES, PB_LINE_BYTES, PB_LUN, PB_LUNS, PB_META, PB_META_ANY, PB_MID_THRS, PB_MW_CUNITS, PB_NR_SECS, PB_NSID, PB_NUM_CH, PB_NVME_Q, PB_PAD_WA, PB_PENDING, PB_RB_BACK, PB_RB_FLUSH,
  PB_RB_DATA, PB_RB_FLAGS, PB_RB_L2P, PB_RB_LBA, PB_RB_MAX_IO, PB_RB_MEM, PB_RB_N, PB_RB_PPA, PB_RB_SUBM, PB_RB_SYNC,
  PB_RB_SYNCED, PB_RB_TAKEN, PB_RL_ACTIVE, PB_RL_GC_CNT, PB_RL_GC_MAX, PB_RL_SPACE, PB_RL_STAMP, PB_RL_USER_CNT, PB_RL_USER_MAX, PB_SEC_BITS,
  PB_SEC_PER_LINE, PB_SETTLE_AT, PB_SLOW, PB_SPACE_WATCH, PB_UNITS, PB_UNIT_BITS, PB_USER_WA, PB_WATCH, PB_WRITER_SLEEPS, PB_WS_OPT, PU_ADDRESS, PU_POS, PU_SIZE,
  Q_CTXS, Q_ELEVATOR, Q_FROZEN, Q_TARGET, Q_VECTOR_WAITS, RQ_BIO, RQ_DATA_LEN, RQ_END_IO, RQ_END_PBLK, RQ_HCTX,
  RQ_NR_SEGS, RQ_Q, RQ_RESULT, RQ_RESULT1, RQ_RETRIES, RQ_SECTOR, RQ_SQE, RQ_START_NS, RQ_STATUS, RQ_TAG, VSK_READ, VSK_WRITE, VS_BIO,
  VS_KIND, VS_LBA, VS_N, VS_OOB, VS_PB, VS_POS, VS_PPAS, VS_SENTRY, VS_SIZE, VS_SQE, VS_USER,
} from './layout'
import {
  REQ_FUA, REQ_OP_DRV_IN, REQ_OP_DRV_OUT, REQ_OP_MASK, REQ_OP_READ, REQ_OP_WRITE, REQ_PREFLUSH, SQE_CDW0, SQE_CDW10,
  SQE_CDW12, SQE_CDW14, SQE_CDW2, SQE_MPTR, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { nvme_ring_doorbells } from './doorbell'
import { event_cpu_at } from './events'
import { host } from './host'
import { OCSSD_READ, OCSSD_WRITE } from './ocssd'
import { bio_endio, blk_mq_free_request, blk_mq_rq_ctx_init, pair } from './request'
import { nvme_queue_rq } from './sq'
import { blk_mq_get_tag } from './tag'

const PAGE: u32 = PAGE_SIZE
/** A T from here on is a ring entry, or nothing. */
const CACHED: u32 = 0x80000000
const EMPTY: u32 = u32.MAX_VALUE
const MAX_SECTORS: u32 = 64
const NO_LBA: f64 = -1
/** rwb.ppa of an entry that is not mapped. */
const NO_PPA: f64 = 4294967295

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u32): void {
  store<f64>(counter, load<f64>(counter) + <f64>n)
}

// ---------------------------------------------------------------- addresses and lines

/** The line of an address on the media. */
// @ts-ignore: decorator
@inline
function line_of(pb: u32, t: u32): u32 {
  return load<u32>(pb, PB_LINES) + (t >> (load<u32>(pb, PB_SEC_BITS) + load<u32>(pb, PB_UNIT_BITS))) * load<u32>(pb, PB_LINE_BYTES)
}

/** Channel and LUN of an address: a PU_ record. */
// @ts-ignore: decorator
@inline
function unit_of(pb: u32, t: u32): u32 {
  const unit = (t >> load<u32>(pb, PB_SEC_BITS)) & ((<u32>1 << load<u32>(pb, PB_UNIT_BITS)) - 1)
  return load<u32>(pb, PB_UNITS) + unit * PU_SIZE
}

// @ts-ignore: decorator
@inline
function sector_of(pb: u32, t: u32): u32 {
  return t & ((<u32>1 << load<u32>(pb, PB_SEC_BITS)) - 1)
}

/** The place of an address in its line. */
// @ts-ignore: decorator
@inline
function paddr_of(pb: u32, t: u32): u32 {
  const unit = load<u32>(pb, PB_WS_OPT)
  const sector = sector_of(pb, t)
  const row = sector / unit
  return (row * load<u32>(pb, PB_LUNS) + load<u32>(unit_of(pb, t), PU_POS)) * unit + sector - row * unit
}

/** The device's address. */
// @ts-ignore: decorator
@inline
function address_of(pb: u32, t: u32): u64 {
  const chunk = <u64>(t >> (load<u32>(pb, PB_SEC_BITS) + load<u32>(pb, PB_UNIT_BITS)))
  return load<u64>(unit_of(pb, t), PU_ADDRESS) + (chunk << load<u32>(pb, PB_CHUNK_SHIFT)) + sector_of(pb, t)
}

/** One reference less. */
// @ts-ignore: decorator
@inline
function pblk_line_put(cpu: u32, pb: u32, line: u32): void {
  const left = load<u32>(line, LN_REF) - 1
  store<u32>(line, left, LN_REF)
  if (!left) host(cpu, HB_PBLK_LINE_PUT, pb, load<u32>(line, LN_ID))
}

/** Whether a closed line with so many valid sectors may have come into another list with the last one that went. */
function regroups(pb: u32, line: u32, vsc: u32): bool {
  if (!vsc || vsc + 1 == load<u32>(pb, PB_HIGH_THRS) || vsc + 1 == load<u32>(pb, PB_MID_THRS)) return true
  return vsc + 1 >= load<u32>(line, LN_SEC_IN_LINE) || load<u32>(line, LN_WRITE_ERR) != 0
}

/** What an address held is of no use any more. */
function pblk_map_invalidate(cpu: u32, pb: u32, t: u32): void {
  const line = line_of(pb, t)
  const paddr = paddr_of(pb, t)
  const word = load<u32>(line, LN_INVALID) + ((paddr >> 5) << 2)
  const bits = load<u32>(word)
  const bit: u32 = <u32>1 << (paddr & 31)
  if (bits & bit) return
  store<u32>(word, bits | bit)
  const vsc = load<u32>(line, LN_VSC) - 1
  store<u32>(line, vsc, LN_VSC)
  if (load<u32>(line, LN_STATE) == PBLK_LINESTATE_CLOSED && regroups(pb, line, vsc)) {
    host(cpu, HB_PBLK_GROUP, pb, load<u32>(line, LN_ID))
  }
}

// ---------------------------------------------------------------- the ring

// @ts-ignore: decorator
@inline
function ring_mask(pb: u32): u32 {
  return load<u32>(pb, PB_RB_N) - 1
}

/** Whether the device can read an entry's place back. */
function readable(pb: u32, pos: u32): bool {
  const ppa = load<f64>(load<u32>(pb, PB_RB_PPA) + (pos << 3))
  if (ppa == NO_PPA) return true
  const t = <u32>ppa
  const line = line_of(pb, t)
  const written = load<u32>(line + LN_SIZE + (load<u32>(unit_of(pb, t), PU_POS) << 2))
  if (load<u32>(line, LN_STATE) != PBLK_LINESTATE_OPEN || written >= load<u32>(pb, PB_CLBA)) return true
  return sector_of(pb, t) + load<u32>(pb, PB_MW_CUNITS) < written
}

/** An entry gives way to its place on the media. */
function pblk_update_map_dev(cpu: u32, pb: u32, pos: u32, lba: f64, t: u32): void {
  if (lba == NO_LBA) {
    add(pb + PB_PAD_WA, 1)
    pblk_map_invalidate(cpu, pb, t)
    return
  }
  const entry = load<u32>(pb, PB_L2P) + (<u32>lba << 2)
  if (load<u32>(entry) == (CACHED | pos)) store<u32>(entry, t)
  else pblk_map_invalidate(cpu, pb, t)
}

/** `n` entries leave the ring. */
function __pblk_rb_update_l2p(cpu: u32, pb: u32, n: u32): void {
  const lbas = load<u32>(pb, PB_RB_LBA)
  const ppas = load<u32>(pb, PB_RB_PPA)
  const flags = load<u32>(pb, PB_RB_FLAGS)
  let users: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    const pos = load<u32>(pb, PB_RB_L2P)
    if (load<u32>(flags + (pos << 2)) & PBLK_IOTYPE_USER) users++
    const t = <u32>load<f64>(ppas + (pos << 3))
    pblk_update_map_dev(cpu, pb, pos, load<f64>(lbas + (pos << 3)), t)
    const line = line_of(pb, t)
    store<u32>(line, load<u32>(line, LN_TO_UPDATE) - 1, LN_TO_UPDATE)
    pblk_line_put(cpu, pb, line)
    store<f64>(lbas + (pos << 3), NO_LBA)
    store<f64>(ppas + (pos << 3), NO_PPA)
    store<u32>(flags + (pos << 2), PBLK_WRITABLE_ENTRY)
    store<u32>(pb, (pos + 1) & ring_mask(pb), PB_RB_L2P)
  }
  store<u32>(pb, load<u32>(pb, PB_RL_USER_CNT) - users, PB_RL_USER_CNT)
  store<u32>(pb, load<u32>(pb, PB_RL_GC_CNT) - (n - users), PB_RL_GC_CNT)
}

/** Makes room for `n` entries; false if something in the way cannot leave yet, or is not mapped. */
function pblk_rb_update_l2p(cpu: u32, pb: u32, n: u32): bool {
  const mask = ring_mask(pb)
  const first = load<u32>(pb, PB_RB_L2P)
  const space = (first - load<u32>(pb, PB_RB_MEM) - 1) & mask
  if (space > n) return true
  const ppas = load<u32>(pb, PB_RB_PPA)
  for (let i: u32 = 0; i < n - space; i++) {
    const pos = (first + i) & mask
    if (load<f64>(ppas + (pos << 3)) == NO_PPA || !readable(pb, pos)) return false
  }
  __pblk_rb_update_l2p(cpu, pb, n - space)
  return true
}

/** May a user's write of `n` sectors be taken, without a wait? */
function pblk_rb_may_write_user(cpu: u32, pb: u32, n: u32): bool {
  if (load<i32>(pb, PB_RL_SPACE) >= 0 || load<u32>(pb, PB_RL_USER_CNT) >= load<u32>(pb, PB_RL_USER_MAX)) return false
  const room = (load<u32>(pb, PB_RB_SYNC) - load<u32>(pb, PB_RB_MEM) - 1) & ring_mask(pb)
  return room >= n + load<u32>(pb, PB_RB_BACK) && pblk_rb_update_l2p(cpu, pb, n)
}

/** A user's sector becomes an entry. */
function pblk_rb_write_entry_user(cpu: u32, pb: u32, pos: u32, from: u32, lba: u32): void {
  memory.copy(load<u32>(pb, PB_RB_DATA) + (pos << PAGE_SHIFT), from, PAGE)
  store<f64>(load<u32>(pb, PB_RB_LBA) + (pos << 3), <f64>lba)
  store<f64>(load<u32>(pb, PB_RB_PPA) + (pos << 3), NO_PPA)
  store<u32>(load<u32>(pb, PB_RB_FLAGS) + (pos << 2), PBLK_IOTYPE_USER | PBLK_WRITTEN_DATA)
  const entry = load<u32>(pb, PB_L2P) + (lba << 2)
  const old = load<u32>(entry)
  if (old < CACHED) pblk_map_invalidate(cpu, pb, old)
  store<u32>(entry, CACHED | pos)
}

/** Users write: the limiter's timer is set once a jiffy. */
function pblk_rl_user_in(cpu: u32, pb: u32, n: u32): void {
  store<u32>(pb, load<u32>(pb, PB_RL_USER_CNT) + n, PB_RL_USER_CNT)
  store<u32>(pb, 1, PB_RL_ACTIVE)
  if (load<u32>(pb, PB_RL_STAMP) != load<u32>(M_BASE, M_JIFFIES)) host(cpu, HB_PBLK_USER_IN, pb, 0)
}

/** How many entries wait for the writer. */
// @ts-ignore: decorator
@inline
function pblk_rb_read_count(pb: u32): u32 {
  return (load<u32>(pb, PB_RB_MEM) - load<u32>(pb, PB_RB_SUBM)) & ring_mask(pb)
}

/**
 * Wakes the writer if there is enough for it; its timer is set once a jiffy. In an event of the core's the writer may have
 * its turn there, after the event (pblk_write_ts).
 */
function pblk_write_should_kick(cpu: u32, pb: u32): void {
  if (pblk_rb_read_count(pb) < load<u32>(pb, PB_WS_OPT)) return
  const sleeps = load<u32>(pb, PB_WRITER_SLEEPS)
  const timed = load<u32>(pb, PB_KICK_STAMP) == load<u32>(M_BASE, M_JIFFIES)
  if (!sleeps && timed) return
  const turn = load<u32>(M_BASE, M_WRITER)
  if (sleeps == PBW_CORE && timed && (turn == 1 || turn == pb)) store<u32>(M_BASE, pb, M_WRITER)
  else host(cpu, HB_PBLK_KICK, pb, 0)
}

/** A write without a flush: true if it is in the ring. */
function pblk_write_to_cache(cpu: u32, pb: u32, bio: u32, lba: u32, n: u32): bool {
  if (load<u32>(pb, PB_SLOW) || n > load<u32>(pb, PB_RB_MAX_IO) || !pblk_rb_may_write_user(cpu, pb, n)) return false
  const mask = ring_mask(pb)
  const pos = load<u32>(pb, PB_RB_MEM)
  const data = load<u32>(bio, BIO_DATA)
  store<u32>(pb, (pos + n) & mask, PB_RB_MEM)
  add(pb + PB_RB_TAKEN, n)
  pblk_rl_user_in(cpu, pb, n)
  for (let i: u32 = 0; i < n; i++) pblk_rb_write_entry_user(cpu, pb, (pos + i) & mask, data + i * PAGE, lba + i)
  add(pb + PB_USER_WA, n)
  pblk_write_should_kick(cpu, pb)
  bio_endio(cpu, bio)
  return true
}

// ---------------------------------------------------------------- reads

/** How many of `n` sectors are on the media; more than `n` if one of them has to be looked at by TypeScript. */
// @ts-ignore: decorator
@inline
function pblk_lookup_l2p_seq(pb: u32, lba: u32, n: u32): u32 {
  const table = load<u32>(pb, PB_L2P) + (lba << 2)
  let misses: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    const t = load<u32>(table + (i << 2))
    if (t < CACHED) misses++
    else if (t != EMPTY) {
      const pos = t & ~CACHED
      if (load<f64>(load<u32>(pb, PB_RB_LBA) + (pos << 3)) != <f64>(lba + i)) return u32.MAX_VALUE
      if (load<u32>(load<u32>(pb, PB_RB_FLAGS) + (pos << 2)) & PBLK_WRITABLE_ENTRY) return u32.MAX_VALUE
    }
  }
  return misses
}

/** Every sector is in the ring, or was never written. */
function read_cached(pb: u32, to: u32, lba: u32, n: u32): void {
  const table = load<u32>(pb, PB_L2P) + (lba << 2)
  for (let i: u32 = 0; i < n; i++) {
    const t = load<u32>(table + (i << 2))
    if (t == EMPTY) memory.fill(to, 0, PAGE)
    else memory.copy(to, load<u32>(pb, PB_RB_DATA) + ((t & ~CACHED) << PAGE_SHIFT), PAGE)
    to += PAGE
  }
}

/** A read of at most 64 sectors: true if it has ended, or will. */
function pblk_submit_read(cpu: u32, pb: u32, bio: u32, lba: u32, n: u32): bool {
  const misses = pblk_lookup_l2p_seq(pb, lba, n)
  if (misses && misses != n) return false
  if (!misses) {
    read_cached(pb, load<u32>(bio, BIO_DATA), lba, n)
    bio_endio(cpu, bio)
    return true
  }
  const rq = vector_request(cpu, load<u32>(pb, PB_NVME_Q), REQ_OP_DRV_IN)
  if (!rq) return false
  const slot = slot_of(rq)
  const table = load<u32>(pb, PB_L2P) + (lba << 2)
  for (let i: u32 = 0; i < n; i++) {
    const t = load<u32>(table + (i << 2))
    const line = line_of(pb, t)
    store<u32>(line, load<u32>(line, LN_REF) + 1, LN_REF)
    store<u64>(slot + VS_PPAS + (i << 3), address_of(pb, t))
  }
  store<u32>(slot, bio, VS_USER)
  store<u32>(slot, lba, VS_LBA)
  store<u32>(slot, VSK_READ, VS_KIND)
  set_bio(slot + VS_BIO, load<u32>(bio, BIO_DATA), n * PAGE, 0)
  submit_vector(cpu, pb, rq, slot, OCSSD_READ, n, 1)
  return true
}

// ---------------------------------------------------------------- vector commands

// @ts-ignore: decorator
@inline
function slot_of(rq: u32): u32 {
  return load<u32>(load<u32>(rq, RQ_HCTX), HC_VSLOTS) + load<u32>(rq, RQ_TAG) * VS_SIZE
}

/** A request of the namespace's queue, if it can go to the driver at once; else 0. */
// @ts-ignore: decorator
@inline
function vector_request(cpu: u32, q: u32, opf: u32): u32 {
  if (!q || load<u32>(q, Q_FROZEN) | load<u32>(q, Q_ELEVATOR) | load<u32>(q, Q_VECTOR_WAITS)) return 0
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  if (!load<u32>(hctx, HC_VSLOTS) || load<u32>(hctx, HC_DRIVER) != DRIVER_NVME || atomic.load<u32>(hctx, HC_GATE)) return 0
  if (load<u32>(hctx, HC_DISPATCH_HEAD) | load<u32>(hctx, HC_DISPATCH_BUSY) | load<u32>(ctx, CTX_HEAD)) return 0
  const tag = blk_mq_get_tag(hctx, index, 0)
  if (tag < 0) return 0
  return blk_mq_rq_ctx_init(q, hctx, ctx, cpu, tag, opf)
}

/** A bio that carries pages of a request. */
// @ts-ignore: decorator
@inline
function set_bio(bio: u32, data: u32, bytes: u32, next: u32): void {
  store<u64>(bio, 0, BIO_OPF) // and BIO_STATUS
  store<u64>(bio, 0, BIO_SECTOR)
  store<u64>(bio, pair(bytes, data), BIO_SIZE) // and BIO_DATA
  store<u64>(bio, pair(next, 0), BIO_NEXT) // and BIO_REMAINING
  store<u32>(bio, 0, BIO_DISK)
  store<u32>(bio, END_IO_NONE, BIO_END_IO)
}

/** The command, and the request to the driver. Addresses, bios and out-of-band data are in the slot. */
// @ts-ignore: decorator
@inline
function submit_vector(cpu: u32, pb: u32, rq: u32, slot: u32, opcode: u32, n: u32, segments: u32): void {
  const sqe = slot + VS_SQE
  store<u64>(sqe, pair(opcode, load<u32>(pb, PB_NSID)), SQE_CDW0)
  store<u64>(sqe, 0, SQE_CDW2)
  store<u64>(sqe, slot + VS_OOB, SQE_MPTR)
  store<u64>(sqe, 0, SQE_PRP1)
  store<u64>(sqe, 0, SQE_PRP2)
  store<u64>(sqe, n == 1 ? load<u64>(slot, VS_PPAS) : <u64>(slot + VS_PPAS), SQE_CDW10)
  store<u64>(sqe, n - 1, SQE_CDW12)
  store<u64>(sqe, 0, SQE_CDW14)
  store<u32>(slot, pb, VS_PB)
  store<u32>(slot, n, VS_N)
  store<u64>(rq, pair(slot + VS_BIO, segments > 1 ? slot + VS_BIO + 64 : slot + VS_BIO), RQ_BIO) // and RQ_BIOTAIL
  store<u64>(rq, pair(n * PAGE, segments), RQ_DATA_LEN) // and RQ_NR_SEGS
  store<u64>(rq, 0, RQ_SECTOR)
  store<u64>(rq, load<u64>(cpu, CPU_NOW), RQ_START_NS)
  store<u64>(rq, 0, RQ_STATUS) // and RQ_RESULT
  store<u32>(rq, 0, RQ_RESULT1)
  store<u64>(rq, pair(0, RQ_END_PBLK), RQ_RETRIES) // and RQ_END_IO
  store<u32>(rq, sqe, RQ_SQE)
  store<u64>(cpu, load<u64>(cpu, CPU_SUBMITTED) + segments, CPU_SUBMITTED)
  store<u32>(pb, load<u32>(pb, PB_INFLIGHT) + 1, PB_INFLIGHT)
  const hctx = load<u32>(rq, RQ_HCTX)
  if (nvme_queue_rq(cpu, hctx, rq)) {
    host(cpu, HB_INSERT_REQUEST, rq, 0)
    return
  }
  store<u64>(hctx, load<u64>(hctx, HC_RUN) + 1, HC_RUN)
  store<u32>(hctx, load<u32>(hctx, HC_DISPATCHED + 4) + 1, HC_DISPATCHED + 4)
  nvme_ring_doorbells(cpu)
}

// ---------------------------------------------------------------- the writer

/** Whether the next `n` places of a line are free, and where they are; EMPTY if they are not. */
function free_places(pb: u32, line: u32, n: u32): u32 {
  const paddr = load<u32>(line, LN_CUR_SEC)
  if (load<u32>(line, LN_LEFT_MSECS) < n || paddr + n > load<u32>(pb, PB_SEC_PER_LINE)) return EMPTY
  const map = load<u32>(line, LN_MAP)
  for (let at = paddr; at < paddr + n; at++) {
    if (load<u32>(map + ((at >> 5) << 2)) & (<u32>1 << (at & 31))) return EMPTY
  }
  return paddr
}

/** The T of a place in a line. */
function t_of(pb: u32, line: u32, paddr: u32): u32 {
  const unit = load<u32>(pb, PB_WS_OPT)
  const row = paddr / unit
  const luns = load<u32>(pb, PB_LUNS)
  const pos = row % luns
  const channels = load<u32>(pb, PB_NUM_CH)
  const up = (pos % channels) | ((pos / channels) << load<u32>(pb, PB_CH_BITS))
  const sector = paddr - row * unit + row / luns * unit
  const above = load<u32>(line, LN_ID) << load<u32>(pb, PB_UNIT_BITS) | up
  return above << load<u32>(pb, PB_SEC_BITS) | sector
}

/** Maps `n` entries of the ring from `sentry` on to a line, and fills in the command's lists. */
function pblk_map_page_data(pb: u32, line: u32, slot: u32, sentry: u32, n: u32, paddr: u32): u32 {
  const t = t_of(pb, line, paddr)
  const map = load<u32>(line, LN_MAP)
  const lbas = load<u32>(line, LN_LBAS)
  const room = load<u32>(pb, PB_LBA_ROOM)
  const address = address_of(pb, t)
  let valid: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    const pos = (sentry + i) & ring_mask(pb)
    const place = paddr + i
    const word = map + ((place >> 5) << 2)
    store<u32>(word, load<u32>(word) | (<u32>1 << (place & 31)))
    const flags = load<u32>(pb, PB_RB_FLAGS) + (pos << 2)
    store<u32>(flags, (load<u32>(flags) & ~PBLK_WRITTEN_DATA) | PBLK_SUBMITTED_ENTRY)
    store<f64>(load<u32>(pb, PB_RB_PPA) + (pos << 3), <f64>(t + i))
    const entry = load<f64>(load<u32>(pb, PB_RB_LBA) + (pos << 3))
    const lba: u64 = entry == NO_LBA ? u64.MAX_VALUE : <u64>entry
    if (entry != NO_LBA) valid++
    store<u64>(slot + VS_PPAS + (i << 3), address + i)
    store<u64>(slot + VS_OOB + (i << 4), 0)
    store<u64>(slot + VS_OOB + (i << 4), lba, 8)
    if (place < room) store<u64>(lbas + (place << 3), lba)
  }
  store<u32>(line, paddr + n, LN_CUR_SEC)
  store<u32>(line, load<u32>(line, LN_LEFT_MSECS) - n, LN_LEFT_MSECS)
  store<u32>(line, load<u32>(line, LN_INFLIGHT) + n, LN_INFLIGHT)
  store<u32>(line, load<u32>(line, LN_REF) + n, LN_REF)
  store<u32>(line, load<u32>(line, LN_TO_UPDATE) + n, LN_TO_UPDATE)
  store<u32>(line, load<u32>(line, LN_VALID_LBAS) + valid, LN_VALID_LBAS)
  if (n > valid) add(pb + PB_PAD_WA, n - valid)
  return t
}

/** The byte of a line's erase_bitmap for a LUN. */
// @ts-ignore: decorator
@inline
function erased_at(pb: u32, line: u32, pos: u32): u32 {
  return line + LN_SIZE + load<u32>(pb, PB_LUNS) * 5 + pos
}

/** Whether a write to a LUN goes alone, or at most beside an erase of a chunk there. */
function goes_alone(pb: u32, next: u32, pos: u32): bool {
  const meta = load<u32>(pb, PB_META)
  if (meta == PB_META_ANY || meta == pos + 1) return false
  return !next || !load<u32>(next, LN_LEFT_EBLKS) || !load<u8>(erased_at(pb, next, pos))
}

/** A chunk of the next line is erased beside a write to its LUN, as pblk_map_erase_rq of TypeScript chooses it. */
function pblk_erase_beside(cpu: u32, pb: u32, next: u32, pos: u32): void {
  store<u8>(erased_at(pb, next, pos), 1)
  store<u32>(next, load<u32>(next, LN_LEFT_EBLKS) - 1, LN_LEFT_EBLKS)
  host(cpu, HB_PBLK_ERASE, pb, pos)
}

/** One request of a write unit, for the writer's task: 0 if something is special, and nothing was done. */
export function pblk_submit_write(cpu: u32, pb: u32): u32 {
  if (isDefined(TRACE_BUILD)) return 0
  const n = load<u32>(pb, PB_WS_OPT)
  const mask = ring_mask(pb)
  const sentry = load<u32>(pb, PB_RB_SUBM)
  const line = load<u32>(pb, PB_DATA_LINE)
  const next = load<u32>(pb, PB_ERASE_LINE)
  if (pblk_rb_read_count(pb) < n || !line || !load<u32>(line, LN_LBAS)) return 0
  const paddr = free_places(pb, line, n)
  if (paddr == EMPTY) return 0
  const pos = (paddr / n) % load<u32>(pb, PB_LUNS)
  const lun = load<u32>(pb, PB_LUN) + pos * LU_SIZE
  if (!load<u32>(lun, LU_COUNT) || !goes_alone(pb, next, pos)) return 0
  const rq = vector_request(cpu, load<u32>(pb, PB_NVME_Q), REQ_OP_DRV_OUT)
  if (!rq) return 0
  const slot = slot_of(rq)
  store<u32>(lun, load<u32>(lun, LU_COUNT) - 1, LU_COUNT)
  store<u32>(pb, (sentry + n) & mask, PB_RB_SUBM)
  store<u8>(line + LN_SIZE + (load<u32>(pb, PB_LUNS) << 2) + pos, 1)
  const t = pblk_map_page_data(pb, line, slot, sentry, n, paddr)
  store<u32>(slot, VSK_WRITE, VS_KIND)
  store<u32>(slot, sentry, VS_SENTRY)
  store<u32>(slot, pos, VS_POS)
  store<u32>(slot, t, VS_LBA)
  const first = min<u32>(n, mask + 1 - sentry)
  const pages = load<u32>(pb, PB_RB_DATA)
  const more: u32 = first < n ? slot + VS_BIO + 64 : 0
  set_bio(slot + VS_BIO, pages + (sentry << PAGE_SHIFT), first * PAGE, more)
  if (more) set_bio(more, pages, (n - first) * PAGE, 0)
  submit_vector(cpu, pb, rq, slot, OCSSD_WRITE, n, more ? 2 : 1)
  if (next && load<u32>(next, LN_LEFT_EBLKS)) pblk_erase_beside(cpu, pb, next, pos)
  return 1
}

/** A turn of the writer without its task: false if something is special, and the task has to go on. */
export function pblk_write_ts(cpu: u32, pb: u32): bool {
  while (pblk_submit_write(cpu, pb)) continue
  return pblk_rb_read_count(pb) < load<u32>(pb, PB_WS_OPT) && load<i32>(pb, PB_RB_FLUSH) < 0
}

/** Whether the collector, which waits for room, may find some now: pblk_rb_gc_room of TypeScript. */
function gc_room(pb: u32): bool {
  const n = load<u32>(pb, PB_GC_WANTS)
  if (!n || (load<u32>(pb, PB_RL_ACTIVE) && load<u32>(pb, PB_RL_GC_CNT) >= load<u32>(pb, PB_RL_GC_MAX))) return false
  const room = (load<u32>(pb, PB_RB_SYNC) - load<u32>(pb, PB_RB_MEM) - 1) & ring_mask(pb)
  return room >= n + load<u32>(pb, PB_RB_BACK)
}

/** Entries are persisted: whether somebody waits for just so many. */
function settles(pb: u32): bool {
  if (load<u32>(pb, PB_SPACE_WATCH) || gc_room(pb)) return true
  return load<u32>(pb, PB_PENDING) != 0 && load<f64>(pb, PB_RB_SYNCED) >= load<f64>(pb, PB_SETTLE_AT)
}

/** Entries are persisted. */
function pblk_rb_sync_advance(cpu: u32, pb: u32, n: u32): void {
  const mask = ring_mask(pb)
  const sync = load<u32>(pb, PB_RB_SYNC)
  const point = load<i32>(pb, PB_RB_FLUSH)
  if (point >= 0 && ((<u32>point - sync) & mask) < n) store<i32>(pb, -1, PB_RB_FLUSH)
  store<u32>(pb, (sync + n) & mask, PB_RB_SYNC)
  add(pb + PB_RB_SYNCED, n)
  if (settles(pb)) host(cpu, HB_PBLK_SYNC, pb, 0)
}

/** A write went well; false if others have to end with it, or a bio with one of its entries. */
function pblk_end_io_write(cpu: u32, pb: u32, slot: u32, n: u32): bool {
  if (load<u32>(pb, PB_COMPLETE) | load<u32>(pb, PB_FLUSHES)) return false
  if (load<u32>(slot, VS_SENTRY) != load<u32>(pb, PB_RB_SYNC)) return false
  const t = load<u32>(slot, VS_LBA)
  const pos = load<u32>(slot, VS_POS)
  const line = line_of(pb, t)
  const done = line + LN_SIZE + (pos << 2)
  if (load<u32>(done) > sector_of(pb, t)) return false // the chunk was given up meanwhile
  store<u32>(done, max<u32>(load<u32>(done), sector_of(pb, t) + n))
  store<u32>(line, load<u32>(line, LN_INFLIGHT) - n, LN_INFLIGHT)
  const lun = load<u32>(pb, PB_LUN) + pos * LU_SIZE
  if (load<u32>(lun, LU_WAITING)) host(cpu, HB_PBLK_UP, pb, pos)
  else store<u32>(lun, load<u32>(lun, LU_COUNT) + 1, LU_COUNT)
  pblk_rb_sync_advance(cpu, pb, n)
  return true
}

// ---------------------------------------------------------------- the end of a command

/** Whether every sector that was read is what was asked for. */
// @ts-ignore: decorator
@inline
function pblk_read_check(slot: u32, n: u32): bool {
  const lba = <u64>load<u32>(slot, VS_LBA)
  for (let i: u32 = 0; i < n; i++) {
    const there = load<u64>(slot + VS_OOB + (i << 4), 8)
    if (there != lba + i && there != u64.MAX_VALUE) return false
  }
  return true
}

/** A user's bio is over, perhaps on another CPU than that of its job. */
function end_user(cpu: u32, bio: u32): void {
  const owner: u32 = load<u32>(bio, BIO_END_IO) == END_IO_JOB ? load<u32>(load<u32>(bio, IOU_JOB), JOB_CPU) : cpu
  bio_endio(cpu, bio)
  if (owner != cpu && load<u32>(owner, CPU_CLOCK) != CLOCK_REAL) event_cpu_at(owner, 0)
}

// @ts-ignore: decorator
@inline
function pblk_end_io_read(cpu: u32, pb: u32, slot: u32, n: u32): bool {
  if (!pblk_read_check(slot, n)) return false
  const table = slot + VS_PPAS
  end_user(cpu, load<u32>(slot, VS_USER))
  const shift = load<u32>(pb, PB_CHUNK_SHIFT)
  // the chunk stands below the LUN and the channel
  const mask = (<u64>1 << (load<u32>(pb, PB_CHUNK_BITS))) - 1
  for (let i: u32 = 0; i < n; i++) {
    const line = <u32>((load<u64>(table + (i << 3)) >> shift) & mask)
    pblk_line_put(cpu, pb, load<u32>(pb, PB_LINES) + line * load<u32>(pb, PB_LINE_BYTES))
  }
  return true
}

/** A command has ended, as far as those who wait for all of them see it. */
function pblk_io_over(cpu: u32, pb: u32): void {
  store<u32>(pb, load<u32>(pb, PB_INFLIGHT) - 1, PB_INFLIGHT)
  if (load<u32>(pb, PB_WATCH)) host(cpu, HB_PBLK_OVER, pb, 0)
}

/** The driver is done with a vector command of the core, and it went well: nvme_nvm_end_io and below. */
export function pblk_end_rq(cpu: u32, rq: u32): void {
  const slot = slot_of(rq)
  const pb = load<u32>(slot, VS_PB)
  const n = load<u32>(slot, VS_N)
  const q = load<u32>(rq, RQ_Q)
  store<u64>(cpu, load<u64>(cpu, CPU_ENDED) + load<u32>(rq, RQ_NR_SEGS), CPU_ENDED)
  store<u32>(rq, 0, RQ_BIO)
  const read = load<u32>(slot, VS_KIND) == VSK_READ
  const cancelled = load<u32>(rq, RQ_RETRIES) & NVME_REQ_CANCELLED
  if (cancelled || !(read ? pblk_end_io_read(cpu, pb, slot, n) : pblk_end_io_write(cpu, pb, slot, n))) {
    host(cpu, HB_PBLK_END, rq, 0)
    return
  }
  pblk_io_over(cpu, pb)
  store<u32>(rq, 0, RQ_END_IO)
  store<u32>(rq, 0, RQ_SQE)
  blk_mq_free_request(cpu, rq)
  if (load<u32>(q, Q_VECTOR_WAITS)) host(cpu, HB_PBLK_NEXT, q, 0)
}

/** Whether the core does anything of this: the one for traces does not. */
export function pblk_in_core(): bool {
  return !isDefined(TRACE_BUILD)
}

// ---------------------------------------------------------------- bios

/** The make_request function, where nothing is special: false if it is TypeScript's after all, and nothing was done. */
export function pblk_make_rq(cpu: u32, q: u32, bio: u32): bool {
  if (isDefined(TRACE_BUILD)) return false
  const pb = load<u32>(q, Q_TARGET)
  if (!pb) return false
  const opf = load<u32>(bio, BIO_OPF)
  const op = opf & REQ_OP_MASK
  const bytes = load<u32>(bio, BIO_SIZE)
  const sector = load<u64>(bio, BIO_SECTOR)
  if (!bytes || bytes & (PAGE - 1) || <u32>sector & 7) return false
  const n = bytes >> PAGE_SHIFT
  const lba = sector >> 3
  if (n > MAX_SECTORS || lba + n > <u64>load<u32>(pb, PB_NR_SECS)) return false
  if (op == REQ_OP_READ) return pblk_submit_read(cpu, pb, bio, <u32>lba, n)
  if (op != REQ_OP_WRITE || opf & (REQ_PREFLUSH | REQ_FUA)) return false
  return pblk_write_to_cache(cpu, pb, bio, <u32>lba, n)
}
