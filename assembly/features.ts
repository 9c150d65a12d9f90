// What only some jobs have, each under its JF_ bit: a job without the bit does not come here.
//
//   serialize_overlap          is any byte of an I/O in flight already?
//   ignore_error               the errnos that do not count
//   cmdprio_*                  which priority a command gets, and the latencies by priority
//   hipri                      for which I/Os the job polls
//   flow                       jobs of one flow_id keep their I/Os in the proportion of their weights
//   trim_percentage            which of the blocks written and noted for verification are trimmed
//   read_iolog                 the next entry of a log, and when it is due
//   iodepth_batch_complete_max how many ended I/Os are taken at once
//
// job.ts says when; nothing here issues or ends an I/O.

import {
  BIO_DISK, BIO_OPF, CTX_HCTX_POLL, DDIR_TRIM, FL_REGION, FW_COUNT, FW_WEIGHT, IOUF_POLLED, IOU_ACTIVE, IOU_DDIR, IOU_FLAGS, IOU_ISSUE_NS,
  IOU_LEN, IOU_NEXT, IOU_OFFSET, IOU_PRIO_SHIFT, IOU_SIZE, IOU_START_NS, IOU_STATE, JG_NEXT_DDIR,
  JG_NEXT_DISK, JG_NEXT_FILE, JG_NEXT_LEN, JG_NEXT_OFFSET, JG_RNG_MIX, JOB_ENDED, JOB_FLOW,
  JOB_FLOW_IN, JOB_FLOW_N, JOB_FLOW_WEIGHT, JOB_GEN, JOB_HELD, JOB_IGNORE, JOB_IGNORED,
  JOB_IN_FLIGHT, JOB_IOUS, JOB_PENDING, JOB_POLLED, JOB_POLLING, JOB_POLL_PCT, JOB_PRIO, JOB_PRIO_N, JOB_PRIO_TOTAL,
  JOB_REPLAY, JOB_REPLAY_AT, JOB_REPLAY_MORE, JOB_REPLAY_N, JOB_REPLAY_NS, JOB_TRIM_BATCH,
  JOB_TRIM_CAP, JOB_TRIM_EVERY, JOB_TRIM_HEAD, JOB_TRIM_LEFT, JOB_TRIM_LIST, JOB_TRIM_SEEN,
  JOB_TRIM_SHARE, JOB_TRIM_TAIL, JOB_WAKE_NS, LAT_EVERY, PR_BYTES, PR_KINDS, PR_SHARE, PR_SIZE,
  PR_STAT, Q_CTXS, RP_DDIR, RP_FILE, RP_GAP_NS, RP_LEN, RP_OFFSET, RP_SIZE, VP_FILE, VP_LEN, VP_NUMBER,
  VP_OFFSET, VP_SIZE,
} from './layout'
import { REQ_HIPRI, REQ_OP_MASK, REQ_OP_WRITE } from './nvme'
import { lat_record, lat_reset } from './hist'
import { region_at } from './offset'
import { prng_below, prng_next } from './prng'
import { verify_intact } from './readback'

/** 32 random bits. */
function draw(job: u32): u32 {
  return <u32>(prng_next(job + JOB_GEN + JG_RNG_MIX) >> 32)
}

// ---------------------------------------------------------------- serialize_overlap

/** Whether an I/O in flight touches these bytes of the disk whose queue is `q`. */
export function overlaps(job: u32, q: u32, disk: u64, len: u32): bool {
  let left = load<u32>(job, JOB_IN_FLIGHT)
  let iou = load<u32>(job, JOB_IOUS)
  while (left) {
    if (load<u32>(iou, IOU_STATE) == IOU_ACTIVE) {
      const at = load<u64>(iou, IOU_OFFSET)
      const meets = at < disk + len && disk < at + load<u32>(iou, IOU_LEN)
      if (meets && load<u32>(iou, BIO_DISK) == q) return true
      left--
    }
    iou += IOU_SIZE
  }
  return false
}

// ---------------------------------------------------------------- ignore_error

/** Whether this errno does not count; `kind` is 0 read, 1 write, 2 verify. */
export function ignores(job: u32, kind: u32, errno: u32): bool {
  if (errno >= 128) return false
  const words = job + JOB_IGNORE + (kind << 4)
  if (!((load<u64>(words + ((errno >> 6) << 3)) >> (errno & 63)) & 1)) return false
  if (!load<u32>(job, JOB_IGNORED)) store<u32>(job, errno, JOB_IGNORED)
  return true
}

// ---------------------------------------------------------------- priorities

function prio_at(job: u32, ddir: u32, kind: u32): u32 {
  return load<u32>(job, JOB_PRIO) + (ddir * PR_KINDS + kind) * PR_SIZE
}

/** Gives an I/O its priority: the number of its kind goes into IOU_FLAGS. */
export function draw_priority(job: u32, iou: u32): void {
  const ddir = load<u32>(iou, IOU_DDIR)
  if (ddir >= <u32>DDIR_TRIM) return
  const n = load<u32>(job + (ddir << 2), JOB_PRIO_N)
  const len = load<u32>(iou, IOU_LEN)
  const r = draw(job)
  for (let kind: u32 = 1; kind < n; kind++) {
    const pr = prio_at(job, ddir, kind)
    const bytes = load<u32>(pr, PR_BYTES)
    if ((bytes && bytes != len) || r > load<u32>(pr, PR_SHARE)) continue
    store<u32>(iou, load<u32>(iou, IOU_FLAGS) | (kind << IOU_PRIO_SHIFT), IOU_FLAGS)
    return
  }
}

/** The number of an I/O's priority. */
export function priority_of(iou: u32): u32 {
  return (load<u32>(iou, IOU_FLAGS) >> IOU_PRIO_SHIFT) & 0xff
}

/** Records the latency of an I/O with its priority; `lat` is how the CPU times. */
export function record_priority(job: u32, iou: u32, lat: u32, now: u64): void {
  const ddir = load<u32>(iou, IOU_DDIR)
  if (ddir >= <u32>DDIR_TRIM) return
  const total = load<u32>(job, JOB_PRIO_TOTAL) || lat != LAT_EVERY
  const from = total ? load<u64>(iou, IOU_START_NS) : load<u64>(iou, IOU_ISSUE_NS)
  lat_record(prio_at(job, ddir, priority_of(iou)) + PR_STAT, now - from)
}

/** Forgets them: the ramp is over. */
export function reset_priorities(job: u32): void {
  for (let ddir: u32 = 0; ddir < 2; ddir++) {
    const n = load<u32>(job + (ddir << 2), JOB_PRIO_N)
    for (let kind: u32 = 0; kind < n; kind++) lat_reset(prio_at(job, ddir, kind) + PR_STAT)
  }
}

// ---------------------------------------------------------------- hipri

/** Whether the job polls for this I/O: always, or for a share of them. */
export function draw_polling(job: u32, iou: u32): void {
  const all = load<u32>(job, JOB_POLLED) == 1
  if (!all && prng_below(job + JOB_GEN + JG_RNG_MIX, 100) >= load<u32>(job, JOB_POLL_PCT)) return
  store<u32>(iou, load<u32>(iou, IOU_FLAGS) | IOUF_POLLED, IOU_FLAGS)
  store<u32>(job, load<u32>(job, JOB_POLLING) + 1, JOB_POLLING)
  // A disk with queues for that gets it there.
  const ctx = load<u32>(load<u32>(iou, BIO_DISK), Q_CTXS)
  const data = (load<u32>(iou, BIO_OPF) & REQ_OP_MASK) <= <u32>REQ_OP_WRITE
  if (data && load<u32>(ctx, CTX_HCTX_POLL)) store<u32>(iou, load<u32>(iou, BIO_OPF) | REQ_HIPRI, BIO_OPF)
}

// ---------------------------------------------------------------- flow

/** Counts one I/O of the job in its flow; false: it has had its share, others come first. */
export function flow_turn(job: u32): bool {
  const flow = load<u32>(job, JOB_FLOW)
  const mine = load<u64>(job, JOB_FLOW_N)
  const all = atomic.load<u64>(flow, FW_COUNT)
  const weights = <u64>atomic.load<u32>(flow, FW_WEIGHT)
  if (mine * weights > load<u32>(job, JOB_FLOW_WEIGHT) * all) return false
  atomic.add<u64>(flow, 1, FW_COUNT)
  store<u64>(job, mine + 1, JOB_FLOW_N)
  return true
}

/** The job is over: the others share among themselves. */
export function flow_leave(job: u32): void {
  if (!load<u32>(job, JOB_FLOW_IN)) return
  const flow = load<u32>(job, JOB_FLOW)
  store<u32>(job, 0, JOB_FLOW_IN)
  atomic.sub<u64>(flow, load<u64>(job, JOB_FLOW_N), FW_COUNT)
  atomic.sub<u32>(flow, load<u32>(job, JOB_FLOW_WEIGHT), FW_WEIGHT)
}

// ---------------------------------------------------------------- trims of what was written

/** A write that verification knows of has ended well: some are to be trimmed later. The oldest give way. */
export function trim_note(job: u32, file: u32, disk: u64, len: u32, number: u32): void {
  store<u32>(job, load<u32>(job, JOB_TRIM_SEEN) + 1, JOB_TRIM_SEEN)
  if (draw(job) > load<u32>(job, JOB_TRIM_SHARE)) return
  const cap = load<u32>(job, JOB_TRIM_CAP)
  const tail = load<u32>(job, JOB_TRIM_TAIL)
  const at = load<u32>(job, JOB_TRIM_LIST) + (tail & (cap - 1)) * VP_SIZE
  store<u64>(at, disk, VP_OFFSET)
  store<u32>(at, len, VP_LEN)
  store<u32>(at, number, VP_NUMBER)
  store<u32>(at, file, VP_FILE)
  store<u32>(job, tail + 1, JOB_TRIM_TAIL)
  const head = load<u32>(job, JOB_TRIM_HEAD)
  if (tail + 1 - head > cap) store<u32>(job, head + 1, JOB_TRIM_HEAD)
}

/** Whether a batch of trims goes on or begins. */
function trim_batch(job: u32): bool {
  if (load<u32>(job, JOB_TRIM_LEFT)) return true
  if (load<u32>(job, JOB_TRIM_SEEN) < load<u32>(job, JOB_TRIM_EVERY)) return false
  store<u32>(job, 0, JOB_TRIM_SEEN)
  store<u32>(job, load<u32>(job, JOB_TRIM_BATCH), JOB_TRIM_LEFT)
  return true
}

/** Makes the next piece that is to be trimmed the job's next I/O (JG_NEXT_*); false: none now. */
export function trim_next(job: u32): bool {
  // an I/O that was held back is still in JG_NEXT_*
  if (load<u32>(job, JOB_PENDING) || !trim_batch(job)) return false
  const mask = load<u32>(job, JOB_TRIM_CAP) - 1
  const tail = load<u32>(job, JOB_TRIM_TAIL)
  for (let head = load<u32>(job, JOB_TRIM_HEAD); head != tail; head++) {
    const at = load<u32>(job, JOB_TRIM_LIST) + (head & mask) * VP_SIZE
    const file = load<u32>(at, VP_FILE)
    const disk = load<u64>(at, VP_OFFSET)
    const len = load<u32>(at, VP_LEN)
    store<u32>(job, head + 1, JOB_TRIM_HEAD)
    if (!verify_intact(job, file, disk, len, load<u32>(at, VP_NUMBER))) continue
    store<u32>(job, load<u32>(job, JOB_TRIM_LEFT) - 1, JOB_TRIM_LEFT)
    choose(job, DDIR_TRIM, file, disk, len)
    return true
  }
  store<u32>(job, 0, JOB_TRIM_LEFT)
  return false
}

/** What the generator would have left in JG_NEXT_*. */
function choose(job: u32, ddir: u32, file: u32, disk: u64, len: u32): void {
  const gen = job + JOB_GEN
  store<u32>(gen, ddir, JG_NEXT_DDIR)
  store<u32>(gen, len, JG_NEXT_LEN)
  store<u64>(gen, disk - load<u64>(region_at(gen, file), FL_REGION), JG_NEXT_OFFSET)
  store<u64>(gen, disk, JG_NEXT_DISK)
  store<u32>(gen, file, JG_NEXT_FILE)
}

// ---------------------------------------------------------------- replay

export const REPLAY_END: u32 = 0 //   the log is over
export const REPLAY_READY: u32 = 1 // JG_NEXT_* holds the entry
export const REPLAY_HOST: u32 = 2 //  TypeScript has more of the log
export const REPLAY_WAIT: u32 = 3 //  the entry is due at replay_due

function replay_entry(job: u32): u32 {
  return load<u32>(job, JOB_REPLAY) + load<u32>(job, JOB_REPLAY_AT) * RP_SIZE
}

/** When the next entry is due: so long after the one before it as in the log. */
export function replay_due(job: u32): u64 {
  return load<u64>(job, JOB_REPLAY_NS) + load<u64>(replay_entry(job), RP_GAP_NS)
}

/** Takes the next entry of the log: REPLAY_*. */
export function replay_next(job: u32, now: u64): u32 {
  const at = load<u32>(job, JOB_REPLAY_AT)
  if (at >= load<u32>(job, JOB_REPLAY_N)) return load<u32>(job, JOB_REPLAY_MORE) ? REPLAY_HOST : REPLAY_END
  const entry = replay_entry(job)
  const due = replay_due(job)
  if (due > now) return REPLAY_WAIT
  choose(job, load<u32>(entry, RP_DDIR), load<u32>(entry, RP_FILE), load<u64>(entry, RP_OFFSET), load<u32>(entry, RP_LEN))
  // Who waited for it and woke late does not make the rest of the log late.
  store<u64>(job, load<u64>(job, JOB_WAKE_NS) == due ? due : now, JOB_REPLAY_NS)
  store<u32>(job, at + 1, JOB_REPLAY_AT)
  return REPLAY_READY
}

// ---------------------------------------------------------------- iodepth_batch_complete_max

/** Leaves the `most` oldest of the ended io_us in JOB_ENDED; the others wait in JOB_HELD. */
export function hold_back(job: u32, most: u32): void {
  let oldest: u32 = 0
  for (let iou = load<u32>(job, JOB_ENDED); iou; ) {
    const older = load<u32>(iou, IOU_NEXT)
    store<u32>(iou, oldest, IOU_NEXT)
    oldest = iou
    iou = older
  }
  append_held(job, oldest)
  let taken: u32 = 0
  let held = load<u32>(job, JOB_HELD)
  for (let n = most; n && held; n--) {
    const next = load<u32>(held, IOU_NEXT)
    store<u32>(held, taken, IOU_NEXT)
    taken = held
    held = next
  }
  store<u32>(job, held, JOB_HELD)
  store<u32>(job, taken, JOB_ENDED)
}

function append_held(job: u32, list: u32): void {
  let last = load<u32>(job, JOB_HELD)
  if (!last) {
    store<u32>(job, list, JOB_HELD)
    return
  }
  while (load<u32>(last, IOU_NEXT)) last = load<u32>(last, IOU_NEXT)
  store<u32>(last, list, IOU_NEXT)
}
