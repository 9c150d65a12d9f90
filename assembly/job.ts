// The generator: one fio job's loop inside the core. What the next I/O is (direction, size, offset)
// is offset.ts's; here it becomes a bio, goes down through submit_bio, and is counted when it ends.
//
//   job_issue   up to iodepth_batch I/Os between blk_start_plug and blk_finish_plug, until the depth
//               is reached or something makes the job wait
//   job_reap    ends I/Os: errors, verification, latency, histograms, logs
//
// A job is in one state (JOB_*). Waiting is never done here: the job says what it waits for, the
// caller looks at other jobs, and in the end TypeScript sleeps. Each CPU runs its jobs in turn.

import {
  BIO_DATA, BIO_DISK, BIO_FLAGS, BIO_REMAINING, BIO_END_IO, BIO_OPF, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CPU_CLOCK, CPU_INDEX,
  CPU_LAT, CPU_NOW, CPU_SEQ, CPU_SLOW, CPU_SUBMITTED, CPU_SWITCHES, FL_Q, HB_FILE_IO, CLOCK_VIRTUAL, CTX_SIZE, DDIR_READ, DDIR_SYNC,
  DDIR_TRIM, DDIR_WRITE, END_IO_JOB, HC_TAGS, HC_WAIT_INDEX, HOST_CHECK, HOST_FILL, HOST_LOG,
  HOST_NONE, HOST_REPLAY, IOUF_MEASURED, IOUF_NOTED, IOUF_VERIFY, IOU_ACTIVE, IOU_AGAIN, IOU_BUF, IOU_FROZEN, IOU_DDIR, IOU_FILE,
  IOU_FLAGS, IOU_FRESH, IOU_ISSUE_NS, IOU_LEN, IOU_NEXT, IOU_NUMBER, IOU_OFFSET, IOU_START_NS,
  IOU_STATE, JF_FILL, JF_LAT_TARGET, JF_LOG, JF_MAX_LAT, JF_RATE, JF_REPLAY, JF_SYNC, JF_THINK,
  JF_VERIFY, JF_BARRIER, JF_DISKS, JF_DRY, JF_END_SYNC, JF_FLOW, JF_FILE, JF_HIPRI, JF_IGNORE, JF_OFFLOAD, JF_PRIO, JF_REAP_MAX, JF_SERIAL,
  JF_TRIM, FILES_IN_TURN, JG_FILE_N, JG_FILE_NOW, JG_FILE_ORDER, JG_FILE_TURN, JG_NEXT_DDIR, JG_NEXT_DISK, JG_NEXT_FILE, JG_NEXT_LEN, JG_ONLY, JG_RW,
  JOB_BATCH, JOB_BYTES, JOB_COMPLETES, JOB_CONTINUE, JOB_DEPTHS, JOB_DONE, JOB_DONE_HEAD,
  JOB_DONE_TAIL, JOB_DRAIN, JOB_ENDED, JOB_END_NS, JOB_ERROR, JOB_ERRORS, JOB_FEATURES,
  JOB_FINISH_NS, JOB_FIRST_NS, JOB_FREE, JOB_FSYNCS, JOB_FSYNC_EVERY, JOB_FULL, JOB_GEN, JOB_HOST_WHY,
  JOB_IN_FLIGHT, JOB_IODEPTH, JOB_IO_LIMIT, JOB_ISSUED, JOB_ISSUED_MEASURED, JOB_LAST_END_NS,
  JOB_LAST_NS, JOB_LAT_BAD, JOB_LAT_SEEN, JOB_LAT_TARGET_NS, JOB_LOG, JOB_LOG_CAP, JOB_LOG_COUNT,
  JOB_LOW, JOB_MAX_IO, JOB_MAX_LAT_NS, JOB_PL_NQ, JOB_MEASURED, JOB_MEASURE_NS, JOB_NUMBER_IOS, JOB_PENDING,
  JOB_Q, JOB_RAMP_NS, JOB_RATE_IO_NS, JOB_RATE_NEXT, JOB_RATE_NS, JOB_RATE_POISSON, JOB_REAP_MIN, JOB_RECORD,
  JOB_RETRY, JOB_RUN, JOB_SINCE_SYNC, JOB_SINCE_THINK, JOB_START_NS, JOB_STATE, JOB_STATS, JOB_STOP,
  JOB_SUBMITS, JOB_THINK_BLOCKS, JOB_THINK_NS, JOB_VER, JOB_VERIFYING, JOB_VERIFY_AFTER, JOB_WAITER,
  JOB_WAIT_HOST, JOB_WAIT_IO, JOB_WAIT_TAG, JOB_WAIT_TIME, JOB_WAKE_NS,
  JOB_WRITE_FLAGS, JOB_BARRIER, JOB_DIRTY, JOB_FLOW_SLEEP_NS, JOB_POLLING, IOUF_POLLED, JOB_REAP_MAX, JOB_SYNC_FILE, JOB_THINK_ENDS, JOB_THINK_IO_NS,
  JOB_THINK_SPIN_NS, JOB_THOUGHT_NS, JOB_WRITTEN, JV_FATAL, JV_KIND, JV_NEXT_NUMBER,
  LAT_BATCH, LAT_EVERY, LAT_NONE, LAT_SAMPLED, LOG_BYTES, LOG_DDIR, LOG_LAT, LOG_OFFSET, LOG_SIZE,
  LOG_SLAT, LOG_TIME, M_BASE, M_COST_COPY, M_COST_SWITCH, PAGE_SIZE, M_COST_SYSCALL, M_STOP, Q_CTXS, RW_READ, RW_TRIM, RW_TRIMWRITE, RW_WRITE, SECTOR_SHIFT,
  STAT_BYTES, STAT_CLAT, STAT_IOS, STAT_LAT, STAT_SIZE, STAT_SLAT, TAGS_BITMAP, VERIFY_ANY, VERIFY_HOST, VERIFY_ZEROES, WT_WOKEN,
} from './layout'
import {
  BLK_STS_NOSPC, REQ_FUA, REQ_OP_DISCARD, REQ_OP_READ, REQ_OP_WRITE, REQ_PREFLUSH, REQ_SYNC,
} from './nvme'
import { read_clock, spend } from './clock'
import { nvme_list_doorbell, nvme_ring_doorbells } from './doorbell'
import { host } from './host'
import { lat_record, lat_record_all, lat_record_n, lat_reset } from './hist'
import { pair } from './request'
import { exp_interval } from './distribution'
import {
  REPLAY_END, REPLAY_HOST, REPLAY_READY, REPLAY_WAIT, draw_polling, draw_priority, flow_leave, flow_turn, hold_back, ignores, overlaps,
  priority_of, record_priority, replay_due, replay_next, reset_priorities, trim_next, trim_note,
} from './features'
import { gen_again, gen_next, gen_restart, region_at } from './offset'
import { sbitmap_finish_wait, sbitmap_prepare_to_wait, sbq_wait_ptr } from './sbitmap'
import { SUBMIT_AGAIN, SUBMIT_FROZEN, SUBMIT_NO_BIO, blk_finish_plug, blk_mq_map_queue, blk_start_plug, submit_bio, submit_bio_again, submit_bio_thawed } from './submit'
import { fill_buffer } from './buffer'
import { plain_issue } from './plain'
import { verify_begin, verify_busy, verify_next, verify_note_write, verify_number, verify_write_done } from './readback'
import { verify_check, verify_fill } from './verify'

const EIO: u32 = 5
const ENOSPC: u32 = 28
const ETIME: u32 = 62
const EILSEQ: u32 = 84
/** How long a call may spin for thinktime_spin. */
const SPIN_SLICE_NS: u64 = 500000
/** How long a job that has had its share of a flow waits before it looks again. */
const FLOW_LOOK_NS: u64 = 2000
/** Writes that verify_only notes in one go. */
const DRY_STEPS: u32 = 4096

// ---------------------------------------------------------------- small things

// @ts-ignore: decorator
@inline
export function bump(counter: u32): void {
  store<u64>(counter, load<u64>(counter) + 1)
}

/** fio's buckets of depths: 1, 2, 4, 8, 16, 32, >= 64. */
// @ts-ignore: decorator
@inline
function depth_bucket(depth: u32): u32 {
  return min<u32>(6, 31 - <u32>clz<u32>(depth | 1))
}

/** fio's buckets of batch sizes: 0, up to 4, 8, 16, 32, 64, more. */
// @ts-ignore: decorator
@inline
export function batch_bucket(n: u32): u32 {
  if (n <= 4) return n ? 1 : 0
  return min<u32>(6, 31 - <u32>clz<u32>(n - 1))
}

/** Remembers the first error; the job stops as soon as it holds no io_u that waits for a tag. */
function fail(job: u32, error: u32): void {
  if (!load<u32>(job, JOB_ERROR)) store<u32>(job, error, JOB_ERROR)
  atomic.store<u32>(job, 1, JOB_STOP)
}

/** Hands the job to TypeScript, which sets its state when it has done its part. */
function ask_host(cpu: u32, job: u32, why: u32): void {
  store<u32>(job, why, JOB_HOST_WHY)
  store<u32>(job, JOB_WAIT_HOST, JOB_STATE)
  store<u32>(cpu, 1, CPU_SLOW)
}

function wait_until(job: u32, when: u64): void {
  store<u64>(job, when, JOB_WAKE_NS)
  store<u32>(job, JOB_WAIT_TIME, JOB_STATE)
}

/** The ramp is over: everything recorded so far is forgotten. */
function end_ramp(job: u32, now: u64): void {
  store<u64>(job, 0, JOB_RAMP_NS)
  store<u32>(job, 1, JOB_RECORD)
  store<u64>(job, now, JOB_MEASURE_NS)
  store<u64>(job, 0, JOB_MEASURED)
  memory.fill(job + JOB_DEPTHS, 0, 3 * 56)
  for (let ddir: u32 = 0; ddir < 4; ddir++) {
    const stat = job + JOB_STATS + ddir * STAT_SIZE
    memory.fill(stat, 0, STAT_CLAT)
    lat_reset(stat + STAT_CLAT)
    lat_reset(stat + STAT_SLAT)
    lat_reset(stat + STAT_LAT)
  }
  if (load<u32>(job, JOB_FEATURES) & JF_PRIO) reset_priorities(job)
}

// ---------------------------------------------------------------- what is next

/** Limits, in the order in which fio looks at them; true: the job issues nothing more. */
function finished_issuing(job: u32, now: u64): bool {
  return (
    now >= load<u64>(job, JOB_END_NS) ||
    load<u64>(job, JOB_ISSUED) >= load<u64>(job, JOB_NUMBER_IOS) ||
    load<u64>(job, JOB_BYTES) >= load<u64>(job, JOB_IO_LIMIT) ||
    load<u64>(job, JOB_ISSUED_MEASURED) >= load<u64>(job, JOB_MAX_IO)
  )
}

/** Chooses the next I/O (JG_NEXT_*); false: there is none. */
// @ts-ignore: decorator
@inline
function choose(job: u32): bool {
  if (gen_next(job)) return true
  if ((load<u32>(job, JOB_FEATURES) & JF_END_SYNC) && owes_sync(job)) return false
  const limit = load<u64>(job, JOB_IO_LIMIT)
  const bytes = load<u64>(job, JOB_BYTES)
  if (!gen_again(job, limit > bytes ? limit - bytes : 0)) return false
  gen_restart(job)
  return gen_next(job) != 0
}

/** When the rate lets a direction go on, ns. */
function rate_due(job: u32, ddir: u32): u64 {
  return <u64>load<f64>(job + (ddir << 3), JOB_RATE_NEXT)
}

/** Charges an I/O to the rate of its direction. */
function rate_charge(job: u32, ddir: u32, len: u32): void {
  const at = job + (ddir << 3)
  const mean = load<f64>(at, JOB_RATE_NS) * <f64>len + load<f64>(at, JOB_RATE_IO_NS)
  if (mean == 0.0) return
  const gap = load<u32>(job, JOB_RATE_POISSON) ? exp_interval(job, mean) : mean
  store<f64>(at, load<f64>(at, JOB_RATE_NEXT) + gap, JOB_RATE_NEXT)
}

/** When the rate of a job with one kind of I/O lets it go on. */
function rate_due_single(job: u32, rw: u32): u64 {
  if (rw & RW_TRIMWRITE) return max<u64>(rate_due(job, DDIR_WRITE), rate_due(job, DDIR_TRIM))
  if (rw & RW_WRITE) return rate_due(job, DDIR_WRITE)
  return rate_due(job, rw & RW_TRIM ? DDIR_TRIM : DDIR_READ)
}

/** True if the rate lets the job issue now; a mix goes on with the direction that may. */
function rate_allows(job: u32, now: u64): bool {
  const gen = job + JOB_GEN
  const rw = load<u32>(gen, JG_RW)
  if ((rw & (RW_READ | RW_WRITE)) != (RW_READ | RW_WRITE)) {
    const due = rate_due_single(job, rw)
    if (due > now) wait_until(job, due)
    return due <= now
  }
  const read = rate_due(job, DDIR_READ)
  const write = rate_due(job, DDIR_WRITE)
  if (read > now && write > now) {
    wait_until(job, min<u64>(read, write))
    return false
  }
  store<u32>(gen, read > now ? DDIR_WRITE + 1 : write > now ? DDIR_READ + 1 : 0, JG_ONLY)
  return true
}

/** Whether it is time to think: after so many blocks, or so much time of I/O. */
function think_due(cpu: u32, job: u32): bool {
  if (load<u32>(job, JOB_SINCE_THINK) >= load<u32>(job, JOB_THINK_BLOCKS)) return true
  const io_time = load<u64>(job, JOB_THINK_IO_NS)
  return io_time != 0 && load<u64>(cpu, CPU_NOW) >= load<u64>(job, JOB_THOUGHT_NS) + io_time
}

/** Burns CPU time from the end of the last I/O on, a slice of it in each call; false: not over yet. */
function spun(cpu: u32, job: u32): bool {
  const until = min<u64>(
    load<u64>(job, JOB_LAST_END_NS) + load<u64>(job, JOB_THINK_SPIN_NS), load<u64>(job, JOB_END_NS),
  )
  const now = read_clock(cpu)
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL) {
    store<u64>(cpu, max<u64>(now, until), CPU_NOW)
    return true
  }
  const slice = min<u64>(until, now + SPIN_SLICE_NS)
  while (read_clock(cpu) < slice) continue
  if (slice == until || until <= now) return true
  wait_until(job, slice) // it is due at once
  return false
}

/** Think time: the job lets everything finish, spins for a part of it, and waits for the rest. */
function thinks(cpu: u32, job: u32): bool {
  if (!think_due(cpu, job)) return false
  if (load<u32>(job, JOB_IN_FLIGHT)) {
    store<u32>(job, JOB_WAIT_IO, JOB_STATE)
    return true
  }
  if (load<u64>(job, JOB_THINK_SPIN_NS) && !spun(cpu, job)) return true
  const until = load<u64>(job, JOB_LAST_END_NS) + load<u64>(job, JOB_THINK_NS)
  store<u32>(job, 0, JOB_SINCE_THINK)
  store<u64>(job, until, JOB_THOUGHT_NS)
  wait_until(job, until)
  return true
}

/** Room for the records of everything in flight and of one more batch. */
function log_has_room(job: u32): bool {
  const used = load<u32>(job, JOB_LOG_COUNT) + load<u32>(job, JOB_IN_FLIGHT) + load<u32>(job, JOB_BATCH)
  return used < load<u32>(job, JOB_LOG_CAP)
}

/** While another thread empties the log nothing may be added to it: I/Os that ended wait. */
function log_is_read(job: u32): bool {
  return atomic.load<u32>(job, JOB_STATE) == JOB_WAIT_HOST && load<u32>(job, JOB_HOST_WHY) == HOST_LOG
}

/** A write must not go down while another one to the same bytes is in flight. */
function verify_holds(job: u32): bool {
  const gen = job + JOB_GEN
  const ddir = load<u32>(gen, JG_NEXT_DDIR)
  if (ddir == DDIR_READ || !load<u32>(job, JOB_IN_FLIGHT)) return false
  const len = load<u32>(gen, JG_NEXT_LEN)
  if (!verify_busy(job, load<u32>(gen, JG_NEXT_FILE), load<u64>(gen, JG_NEXT_DISK), len)) return false
  store<u32>(job, 1, JOB_PENDING)
  store<u32>(job, JOB_WAIT_IO, JOB_STATE)
  return true
}

/** serialize_overlap: the I/O in JG_NEXT_* waits for those it overlaps. */
function serial_holds(job: u32): bool {
  const gen = job + JOB_GEN
  const fl = region_at(gen, load<u32>(gen, JG_NEXT_FILE))
  if (!overlaps(job, load<u32>(fl, FL_Q), load<u64>(gen, JG_NEXT_DISK), load<u32>(gen, JG_NEXT_LEN))) return false
  store<u32>(job, 1, JOB_PENDING)
  store<u32>(job, JOB_WAIT_IO, JOB_STATE)
  return true
}

/** Whether the end of a pass owes a sync of some region. */
function owes_sync(job: u32): bool {
  return (load<u32>(job, JOB_DIRTY) | load<u32>(job, JOB_SYNC_FILE)) != 0
}

/** Nothing more to write: read back, or drain. True: reading back has begun, the job goes on. */
function pass_over(job: u32): bool {
  if ((load<u32>(job, JOB_FEATURES) & JF_VERIFY) && load<u32>(job, JOB_VERIFY_AFTER)) {
    // Reads must not overtake the writes that they check.
    if (load<u32>(job, JOB_IN_FLIGHT)) {
      store<u32>(job, JOB_WAIT_IO, JOB_STATE)
      return false
    }
    if (!load<u32>(job, JOB_VERIFYING)) {
      store<u32>(job, 1, JOB_VERIFYING)
      verify_begin(job)
      return true
    }
  }
  store<u32>(job, JOB_DRAIN, JOB_STATE)
  return false
}

// ---------------------------------------------------------------- one I/O

/** What a direction is to the block layer. */
// @ts-ignore: decorator
@inline
function opf_of(job: u32, ddir: u32): u32 {
  if (ddir == DDIR_READ) return REQ_OP_READ
  if (ddir == DDIR_WRITE) return REQ_OP_WRITE | load<u32>(job, JOB_WRITE_FLAGS)
  return ddir == DDIR_TRIM ? REQ_OP_DISCARD | REQ_SYNC : REQ_OP_WRITE | REQ_PREFLUSH
}

/** Fills an io_u: direction, bytes, offset on the disk. */
// @ts-ignore: decorator
@inline
function fill_iou(job: u32, iou: u32, ddir: u32, len: u32, offset: u64): void {
  const flags: u32 = load<u32>(job, JOB_RECORD) ? IOUF_MEASURED : 0
  store<u64>(iou, pair(ddir, len), IOU_DDIR) // and IOU_LEN
  store<u64>(iou, offset, IOU_OFFSET)
  store<u64>(iou, pair(IOU_FRESH, flags), IOU_STATE) // and IOU_FLAGS
  store<u32>(iou, opf_of(job, ddir), BIO_OPF)
  store<u64>(iou, offset >> SECTOR_SHIFT, BIO_SECTOR)
  store<u64>(iou, pair(len, load<u32>(iou, IOU_BUF)), BIO_SIZE) // and BIO_DATA
}

/** Fills an io_u for the I/O in JG_NEXT_*. */
// @ts-ignore: decorator
@inline
function prepare(job: u32, iou: u32, ddir: u32): void {
  const gen = job + JOB_GEN
  fill_iou(job, iou, ddir, load<u32>(gen, JG_NEXT_LEN), load<u64>(gen, JG_NEXT_DISK))
  store<u32>(iou, load<u32>(gen, JG_NEXT_FILE), IOU_FILE)
}

/** Stamps the start of an I/O as the latency mode says; 0 = this one is not timed. */
// @ts-ignore: decorator
@inline
function stamp_start(cpu: u32, iou: u32): void {
  const lat = load<u32>(cpu, CPU_LAT)
  let start: u64 = 0
  if (lat == LAT_BATCH) start = load<u64>(cpu, CPU_NOW)
  else if (lat == LAT_EVERY) start = read_clock(cpu)
  else if (lat == LAT_SAMPLED) {
    const seq = load<u32>(cpu, CPU_SEQ)
    store<u32>(cpu, seq + 1, CPU_SEQ)
    if (!(seq & 63)) start = read_clock(cpu)
  }
  store<u64>(iou, start, IOU_START_NS)
  store<u64>(iou, start, IOU_ISSUE_NS)
}

/** Fills what a verifying job writes and notes it. True: TypeScript has to add the digest. */
function fill_verified(job: u32, iou: u32): bool {
  const ver = job + JOB_VER
  const len = load<u32>(iou, IOU_LEN)
  const disk = load<u64>(iou, IOU_OFFSET)
  const write = load<u32>(iou, IOU_DDIR) == DDIR_WRITE
  const number = write ? verify_number(job) : VERIFY_ZEROES
  store<u32>(iou, number, IOU_NUMBER)
  store<u32>(iou, load<u32>(iou, IOU_FLAGS) | IOUF_NOTED, IOU_FLAGS)
  verify_note_write(job, load<u32>(iou, IOU_FILE), disk, len, number)
  if (!write) return false
  verify_fill(job, load<u32>(iou, IOU_BUF), disk, len, number)
  return load<u32>(ver, JV_KIND) == VERIFY_HOST
}

/** Puts a finished io_u on the list of those that never met the block layer (engine null). */
function end_at_once(job: u32, iou: u32): void {
  store<u32>(iou, 0, BIO_STATUS)
  store<u32>(iou, load<u32>(job, JOB_ENDED), IOU_NEXT)
  store<u32>(job, iou, JOB_ENDED)
}

function count_issue(job: u32, iou: u32): void {
  const ddir = load<u32>(iou, IOU_DDIR)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) + 1, JOB_IN_FLIGHT)
  store<u32>(iou, IOU_ACTIVE, IOU_STATE)
  if (ddir == DDIR_SYNC) bump(job + JOB_FSYNCS)
}

/** True when the job must wait for a tag; the waiter is queued and one more try was made. */
function wait_for_tag(cpu: u32, job: u32, iou: u32): bool {
  const q = load<u32>(iou, BIO_DISK)
  const hctx = blk_mq_map_queue(load<u32>(q, Q_CTXS) + load<u32>(cpu, CPU_INDEX) * CTX_SIZE, load<u32>(iou, BIO_OPF))
  const sbq = load<u32>(hctx, HC_TAGS) + TAGS_BITMAP
  const waiter = load<u32>(job, JOB_WAITER)
  sbitmap_prepare_to_wait(sbq, sbq_wait_ptr(sbq, hctx + HC_WAIT_INDEX), waiter)
  if (submit_bio_again(cpu, iou) != SUBMIT_AGAIN) {
    sbitmap_finish_wait(sbq, waiter)
    return false
  }
  store<u32>(job, iou, JOB_RETRY)
  store<u32>(job, JOB_WAIT_TAG, JOB_STATE)
  return true
}

/** SUBMIT_AGAIN, SUBMIT_NO_BIO or SUBMIT_FROZEN. A cookie of a scheduler's tag (BLK_QC_T_INTERNAL) is below them. */
// @ts-ignore: decorator
@inline
function not_submitted(cookie: i32): bool {
  return <u32>(cookie - SUBMIT_FROZEN) <= <u32>(SUBMIT_AGAIN - SUBMIT_FROZEN)
}

/** Gives a fresh io_u to the block layer; false: it is kept in JOB_RETRY and the job waits. */
// @ts-ignore: decorator
@inline
function submit_stamped(cpu: u32, job: u32, iou: u32, lat: u32): bool {
  const cookie = submit_bio(cpu, iou)
  if (not_submitted(cookie)) return submit_failed(cpu, job, iou, cookie)
  if (lat == LAT_EVERY) store<u64>(iou, read_clock(cpu), IOU_ISSUE_NS)
  store<u32>(iou, IOU_ACTIVE, IOU_STATE)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) + 1, JOB_IN_FLIGHT)
  return true
}

/** No tag, or no bio to split with: true if it went down after all. */
function submit_failed(cpu: u32, job: u32, iou: u32, cookie: i32): bool {
  if (cookie == SUBMIT_FROZEN) {
    // Nobody wakes it but who thaws the queue (blk_mq_unfreeze_queue).
    store<u32>(iou, IOU_FROZEN, IOU_STATE)
    store<u32>(job, iou, JOB_RETRY)
    store<u32>(load<u32>(job, JOB_WAITER), 0, WT_WOKEN)
    store<u32>(job, JOB_WAIT_TAG, JOB_STATE)
    return false
  }
  store<u32>(iou, IOU_AGAIN, IOU_STATE)
  if (cookie == SUBMIT_NO_BIO) {
    store<u32>(job, iou, JOB_RETRY)
    if (load<u32>(job, JOB_IN_FLIGHT)) store<u32>(job, JOB_WAIT_IO, JOB_STATE)
    return false
  }
  if (wait_for_tag(cpu, job, iou)) return false
  if (load<u32>(cpu, CPU_LAT) == LAT_EVERY) store<u64>(iou, read_clock(cpu), IOU_ISSUE_NS)
  count_issue(job, iou)
  return true
}

/** Gives an io_u to the job's task, which reads and writes files (TypeScript). */
function submit_file(cpu: u32, job: u32, iou: u32): void {
  stamp_start(cpu, iou)
  spend(cpu, ((load<u32>(iou, IOU_LEN) + PAGE_SIZE - 1) / PAGE_SIZE) * load<u32>(M_BASE, M_COST_COPY))
  if (load<u32>(cpu, CPU_LAT) == LAT_EVERY) store<u64>(iou, read_clock(cpu), IOU_ISSUE_NS)
  store<u32>(iou, 0, BIO_STATUS)
  store<u32>(iou, 0, BIO_REMAINING)
  store<u32>(iou, 0, BIO_FLAGS)
  count_issue(job, iou)
  bump(cpu + CPU_SUBMITTED)
  host(cpu, HB_FILE_IO, job, iou)
}

/** Gives an io_u to the block layer; false: it is kept in JOB_RETRY and the job waits. */
function submit(cpu: u32, job: u32, iou: u32): bool {
  if (!load<u32>(job, JOB_Q)) {
    count_issue(job, iou)
    end_at_once(job, iou)
    return true
  }
  if (load<u32>(job, JOB_FEATURES) & JF_FILE) {
    submit_file(cpu, job, iou)
    return true
  }
  const state = load<u32>(iou, IOU_STATE)
  const again = state == IOU_AGAIN
  if (!again && state != IOU_FROZEN) stamp_start(cpu, iou)
  const cookie = again ? submit_bio_again(cpu, iou) : state == IOU_FROZEN ? submit_bio_thawed(cpu, iou) : submit_bio(cpu, iou)
  if (not_submitted(cookie)) return submit_failed(cpu, job, iou, cookie)
  if (load<u32>(cpu, CPU_LAT) == LAT_EVERY) store<u64>(iou, read_clock(cpu), IOU_ISSUE_NS)
  count_issue(job, iou)
  return true
}

// @ts-ignore: decorator
@inline
function take_iou(job: u32): u32 {
  const iou = load<u32>(job, JOB_FREE)
  store<u32>(job, load<u32>(iou, IOU_NEXT), JOB_FREE)
  return iou
}

// @ts-ignore: decorator
@inline
function put_iou(job: u32, iou: u32): void {
  store<u32>(iou, load<u32>(job, JOB_FREE), IOU_NEXT)
  store<u32>(job, iou, JOB_FREE)
}

/** Books a fresh read, write or trim against the job's limits; of trimwrite the writes count as bytes. */
function count_chosen(job: u32, iou: u32, ddir: u32): void {
  bump(job + JOB_ISSUED)
  const trim_before = ddir == DDIR_TRIM && (load<u32>(job + JOB_GEN, JG_RW) & RW_TRIMWRITE) != 0
  if (!trim_before) store<u64>(job, load<u64>(job, JOB_BYTES) + load<u32>(iou, IOU_LEN), JOB_BYTES)
  if (load<u32>(iou, IOU_FLAGS) & IOUF_MEASURED) bump(job + JOB_ISSUED_MEASURED)
}

/** Sends an io_u to the disk of its region. */
function aim(job: u32, iou: u32): void {
  store<u32>(iou, load<u32>(region_at(job + JOB_GEN, load<u32>(iou, IOU_FILE)), FL_Q), BIO_DISK)
}

/** An fsync or fdatasync of a region. */
function sync_region(cpu: u32, job: u32, file: u32, counts: bool): bool {
  const iou = take_iou(job)
  fill_iou(job, iou, DDIR_SYNC, 0, 0)
  if (!counts) store<u32>(iou, 0, IOU_FLAGS)
  store<u32>(iou, file, IOU_FILE)
  if (load<u32>(job, JOB_FEATURES) & JF_DISKS) aim(job, iou)
  return submit(cpu, job, iou)
}

/** The sync that is due when enough writes have gone before: of several regions the one whose turn it is. */
function issue_sync(cpu: u32, job: u32): bool {
  const gen = job + JOB_GEN
  const turns = load<u32>(gen, JG_FILE_ORDER) == FILES_IN_TURN
  const file = turns ? load<u32>(gen, JG_FILE_TURN) : load<u32>(gen, JG_FILE_NOW)
  const n = load<u32>(gen, JG_FILE_N)
  store<u32>(job, 0, JOB_SINCE_SYNC)
  store<u32>(job, 0, JOB_DIRTY)
  if (turns && n > 1) store<u32>(gen, file + 1 == n ? 0 : file + 1, JG_FILE_TURN)
  return sync_region(cpu, job, file, true)
}

/** end_fsync: one region after the other, when everything is written. fio does not count these. */
function issue_end_sync(cpu: u32, job: u32): bool {
  if (load<u32>(job, JOB_IN_FLIGHT)) {
    store<u32>(job, JOB_WAIT_IO, JOB_STATE)
    return false
  }
  const file = load<u32>(job, JOB_SYNC_FILE)
  store<u32>(job, file + 1 < load<u32>(job + JOB_GEN, JG_FILE_N) ? file + 1 : 0, JOB_SYNC_FILE)
  store<u32>(job, 0, JOB_DIRTY)
  return sync_region(cpu, job, file, false)
}

/** A trim of something that was written before. */
function issue_trim(cpu: u32, job: u32, features: u32): bool {
  const iou = take_iou(job)
  prepare(job, iou, DDIR_TRIM)
  if (features & JF_DISKS) aim(job, iou)
  fill_verified(job, iou)
  return submit(cpu, job, iou)
}

/** A read that checks what was written before. */
function issue_verify(cpu: u32, job: u32): bool {
  const iou = take_iou(job)
  prepare(job, iou, DDIR_READ)
  const features = load<u32>(job, JOB_FEATURES)
  if (features & JF_DISKS) aim(job, iou)
  if (features & JF_HIPRI) draw_polling(job, iou)
  store<u32>(iou, load<u32>(iou, IOU_FLAGS) | IOUF_VERIFY, IOU_FLAGS)
  // Who did not write cannot know the number of a write.
  store<u32>(iou, features & JF_DRY ? VERIFY_ANY : load<u32>(job + JOB_VER, JV_NEXT_NUMBER), IOU_NUMBER)
  return submit(cpu, job, iou)
}

function count_think(job: u32): void {
  store<u32>(job, load<u32>(job, JOB_SINCE_THINK) + 1, JOB_SINCE_THINK)
}

const JF_RARE: u32 = JF_DISKS | JF_BARRIER | JF_PRIO | JF_OFFLOAD | JF_END_SYNC | JF_HIPRI

/** What only some jobs give their I/Os. */
function prepare_rare(cpu: u32, job: u32, iou: u32, ddir: u32, features: u32): void {
  store<u32>(job, 1, JOB_DIRTY)
  if (features & JF_DISKS) aim(job, iou)
  if (features & JF_PRIO) draw_priority(job, iou)
  if (features & JF_HIPRI) draw_polling(job, iou)
  if (features & JF_OFFLOAD) {
    spend(cpu, load<u32>(M_BASE, M_COST_SWITCH)) // to the task that submits
    bump(cpu + CPU_SWITCHES)
  }
  if (!(features & JF_BARRIER) || ddir != DDIR_WRITE) return
  const written = load<u32>(job, JOB_WRITTEN)
  const barrier = written == load<u32>(job, JOB_BARRIER)
  store<u32>(job, barrier ? 1 : written + 1, JOB_WRITTEN)
  if (barrier) store<u32>(iou, load<u32>(iou, BIO_OPF) | REQ_PREFLUSH | REQ_FUA, BIO_OPF)
}

/** The I/O that the generator has chosen. */
// @ts-ignore: decorator
@inline
function issue_chosen(cpu: u32, job: u32, features: u32): bool {
  const ddir = load<u32>(job + JOB_GEN, JG_NEXT_DDIR)
  const iou = take_iou(job)
  prepare(job, iou, ddir)
  count_chosen(job, iou, ddir)
  if (features) {
    if (features & JF_RATE) rate_charge(job, ddir, load<u32>(iou, IOU_LEN))
    if ((features & JF_THINK) && !load<u32>(job, JOB_THINK_ENDS)) count_think(job)
    if (features & JF_RARE) prepare_rare(cpu, job, iou, ddir, features)
    if (ddir == DDIR_WRITE) store<u32>(job, load<u32>(job, JOB_SINCE_SYNC) + 1, JOB_SINCE_SYNC)
    if (features & JF_VERIFY) {
      if (ddir == DDIR_READ) {
        store<u32>(iou, load<u32>(iou, IOU_FLAGS) | IOUF_VERIFY, IOU_FLAGS)
        store<u32>(iou, VERIFY_ANY, IOU_NUMBER)
      } else if (fill_verified(job, iou)) {
        store<u32>(job, iou, JOB_RETRY)
        ask_host(cpu, job, HOST_FILL)
        return false
      }
    } else if ((features & JF_FILL) && ddir == DDIR_WRITE) {
      fill_buffer(job, load<u32>(iou, IOU_BUF), load<u32>(iou, IOU_LEN))
    }
  }
  return submit(cpu, job, iou)
}

/** One more I/O of whatever kind is due; false: none, and the state says why. */
function issue_one(cpu: u32, job: u32, features: u32): bool {
  const retry = load<u32>(job, JOB_RETRY)
  if (retry) {
    store<u32>(job, 0, JOB_RETRY)
    return submit(cpu, job, retry)
  }
  if (atomic.load<u32>(job, JOB_STOP)) {
    store<u32>(job, JOB_DRAIN, JOB_STATE)
    return false
  }
  if (features) {
    if ((features & JF_TRIM) && !load<u32>(job, JOB_VERIFYING) && trim_next(job)) return issue_trim(cpu, job, features)
    if ((features & JF_VERIFY) && verify_next(job)) return issue_verify(cpu, job)
    if (load<u32>(job, JOB_VERIFYING)) {
      pass_over(job)
      return false
    }
    if ((features & JF_THINK) && thinks(cpu, job)) return false
  }
  const now = load<u64>(cpu, CPU_NOW)
  if (finished_issuing(job, now)) return at_end(cpu, job, features)
  if ((features & JF_SYNC) && load<u32>(job, JOB_SINCE_SYNC) >= load<u32>(job, JOB_FSYNC_EVERY)) {
    return issue_sync(cpu, job)
  }
  if (load<u32>(job, JOB_PENDING)) store<u32>(job, 0, JOB_PENDING)
  else {
    if (features & (JF_FLOW | JF_DRY | JF_REPLAY)) return issue_rare(cpu, job, features, now)
    if ((features & JF_RATE) && !rate_allows(job, now)) return false
    if (!choose(job)) return at_end(cpu, job, features)
  }
  return issue_unless_held(cpu, job, features)
}

/** The I/O in JG_NEXT_*, unless it must wait for others of this job. */
// @ts-ignore: decorator
@inline
function issue_unless_held(cpu: u32, job: u32, features: u32): bool {
  if ((features & JF_VERIFY) && verify_holds(job)) return false
  if ((features & JF_SERIAL) && load<u32>(job, JOB_IN_FLIGHT) && serial_holds(job)) return false
  return issue_chosen(cpu, job, features)
}

/** A limit or the end of a pass has been reached. */
function at_end(cpu: u32, job: u32, features: u32): bool {
  if ((features & JF_END_SYNC) && owes_sync(job)) return issue_end_sync(cpu, job)
  return pass_over(job) && issue_one(cpu, job, features)
}

/** The next I/O of a job that shares its turns, replays a log, or only pretends to write. */
function issue_rare(cpu: u32, job: u32, features: u32, now: u64): bool {
  if ((features & JF_FLOW) && !flow_turn(job)) {
    flow_waits(job, now)
    return false
  }
  if ((features & JF_RATE) && !rate_allows(job, now)) return false
  if (features & JF_REPLAY) return issue_replayed(cpu, job, features, now)
  if (features & JF_DRY) return dry_run(cpu, job, features)
  if (!choose(job)) return at_end(cpu, job, features)
  return issue_unless_held(cpu, job, features)
}

/** The job has had its share: with flow_sleep it lets everything finish and sleeps, else it looks again soon. */
function flow_waits(job: u32, now: u64): void {
  const sleep = load<u64>(job, JOB_FLOW_SLEEP_NS)
  if (sleep && load<u32>(job, JOB_IN_FLIGHT)) store<u32>(job, JOB_WAIT_IO, JOB_STATE)
  else wait_until(job, now + (sleep ? sleep : FLOW_LOOK_NS))
}

/** The next entry of a replayed log, when it is due. */
function issue_replayed(cpu: u32, job: u32, features: u32, now: u64): bool {
  const next = replay_next(job, now)
  if (next == REPLAY_WAIT) wait_until(job, replay_due(job))
  else if (next == REPLAY_HOST) ask_host(cpu, job, HOST_REPLAY)
  if (next == REPLAY_END) return at_end(cpu, job, features)
  if (next != REPLAY_READY) return false
  const gen = job + JOB_GEN
  if (load<u32>(gen, JG_NEXT_DDIR) != DDIR_SYNC) return issue_unless_held(cpu, job, features)
  return sync_region(cpu, job, load<u32>(gen, JG_NEXT_FILE), true)
}

/** verify_only: one write as it would have been, noted and counted, but not issued. */
function dry_step(job: u32): void {
  const iou = take_iou(job)
  const ddir = load<u32>(job + JOB_GEN, JG_NEXT_DDIR)
  prepare(job, iou, ddir)
  count_chosen(job, iou, ddir)
  const file = load<u32>(iou, IOU_FILE)
  const disk = load<u64>(iou, IOU_OFFSET)
  const len = load<u32>(iou, IOU_LEN)
  if (ddir == DDIR_WRITE) {
    const number = verify_number(job)
    verify_note_write(job, file, disk, len, number)
    verify_write_done(job, file, disk, len, number, 1)
  }
  const stat = job + JOB_STATS + ddir * STAT_SIZE
  bump(stat + STAT_IOS)
  store<u64>(stat, load<u64>(stat, STAT_BYTES) + len, STAT_BYTES)
  put_iou(job, iou)
}

/** verify_only: goes through the writes of one pass without issuing them, then reads back. */
function dry_run(cpu: u32, job: u32, features: u32): bool {
  for (let n: u32 = 0; n < DRY_STEPS; n++) {
    const over = finished_issuing(job, load<u64>(cpu, CPU_NOW))
    if (over || !gen_next(job)) return pass_over(job) && issue_one(cpu, job, features)
    dry_step(job)
  }
  wait_until(job, load<u64>(cpu, CPU_NOW)) // it is due at once
  return false
}

// ---------------------------------------------------------------- a batch

/** How many I/Os the next batch may hold. */
function batch_room(job: u32): u32 {
  const depth = atomic.load<u32>(job, JOB_IODEPTH)
  const in_flight = load<u32>(job, JOB_IN_FLIGHT)
  if (in_flight >= depth) {
    store<u32>(job, 1, JOB_FULL)
    return 0
  }
  if (load<u32>(job, JOB_FULL)) {
    // A full queue is filled again when it has sunk to iodepth_low and enough I/Os ended in one go.
    const reap = min<u32>(load<u32>(job, JOB_REAP_MIN), depth)
    if (in_flight > min<u32>(load<u32>(job, JOB_LOW), depth - reap)) return 0
    store<u32>(job, 0, JOB_FULL)
  }
  return min<u32>(depth - in_flight, load<u32>(job, JOB_BATCH))
}

/** fio's IO depths: the depth that each of `n` I/Os found itself at, from `depth` on; `times` over. */
function count_depths(job: u32, depth: u32, n: u32, times: u64): void {
  while (n) {
    const bucket = depth_bucket(depth)
    const here = bucket == 6 ? n : min<u32>(n, (2 << bucket) - depth)
    const counter = job + JOB_DEPTHS + (bucket << 3)
    store<u64>(counter, load<u64>(counter) + here * times)
    depth += here
    n -= here
  }
}

/** Counts `times` submissions of batches that took the job from one depth to another. */
export function count_fill(job: u32, from: u32, to: u32, batch: u32, times: u64): void {
  if (!times) return
  count_depths(job, from + 1, to - from, times)
  while (from < to) {
    const n = min<u32>(to - from, batch)
    const counter = job + JOB_SUBMITS + (batch_bucket(n) << 3)
    store<u64>(counter, load<u64>(counter) + times)
    from += n
  }
}

/** The rest of a batch, of which `n` I/Os went the short way: rings the doorbell, says how many went down. */
export function finish_batch(cpu: u32, job: u32, depth: u32, n: u32, room: u32): u32 {
  if (n) nvme_list_doorbell(cpu, load<u32>(job, JOB_PL_NQ))
  if (n == room) nvme_ring_doorbells(cpu)
  else {
    // Whatever the short way left over (a limit, the end of the pass) is looked at here.
    const features = load<u32>(job, JOB_FEATURES)
    blk_start_plug(cpu)
    while (n < room && load<u32>(job, JOB_STATE) == JOB_RUN && issue_one(cpu, job, features)) n++
    blk_finish_plug(cpu)
  }
  if (n) {
    bump(job + JOB_SUBMITS + (batch_bucket(n) << 3))
    count_depths(job, depth + 1, n, 1)
  }
  return n
}

/** Issues one batch: how many I/Os went down. */
function job_batch(cpu: u32, job: u32, room: u32): u32 {
  const features = load<u32>(job, JOB_FEATURES)
  if ((features & JF_LOG) && !log_has_room(job)) {
    ask_host(cpu, job, HOST_LOG)
    return 0
  }
  if (load<u32>(cpu, CPU_LAT) == LAT_BATCH) read_clock(cpu)
  spend(cpu, load<u32>(M_BASE, M_COST_SYSCALL))
  const depth = load<u32>(job, JOB_IN_FLIGHT)
  return finish_batch(cpu, job, depth, features & ~JF_REAP_MAX ? 0 : plain_issue(cpu, job, room), room)
}

/** Fills the job up to its depth, batch by batch (virtual time: one batch a step). */
export function job_issue(cpu: u32, job: u32): u32 {
  const ramp = load<u64>(job, JOB_RAMP_NS)
  if (ramp && load<u64>(cpu, CPU_NOW) >= ramp) end_ramp(job, load<u64>(cpu, CPU_NOW))
  const once = load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL
  let total: u32 = 0
  do {
    const room = batch_room(job)
    if (!room) break
    const n = job_batch(cpu, job, room)
    total += n
    if (!n) break
  } while (!once && load<u32>(job, JOB_STATE) == JOB_RUN)
  return total
}

// ---------------------------------------------------------------- the end of an I/O

function log_io(job: u32, iou: u32, now: u64): void {
  const count = load<u32>(job, JOB_LOG_COUNT)
  const record = load<u32>(job, JOB_LOG) + count * LOG_SIZE
  const start = load<u64>(iou, IOU_START_NS)
  const issue = load<u64>(iou, IOU_ISSUE_NS)
  store<u64>(record, now, LOG_TIME)
  store<u64>(record, start ? now - issue : 0, LOG_LAT)
  store<u64>(record, issue - start, LOG_SLAT)
  store<u64>(record, load<u64>(iou, IOU_OFFSET), LOG_OFFSET)
  store<u32>(record, load<u32>(iou, IOU_LEN), LOG_BYTES)
  const kind = load<u32>(iou, IOU_DDIR) | (priority_of(iou) << 8)
  store<u32>(record, kind | (load<u32>(iou, IOU_FILE) << 16), LOG_DDIR)
  store<u32>(job, count + 1, JOB_LOG_COUNT)
}

function watch_latency(job: u32, features: u32, lat: u64): void {
  if (features & JF_LAT_TARGET) {
    bump(job + JOB_LAT_SEEN)
    if (lat > load<u64>(job, JOB_LAT_TARGET_NS)) bump(job + JOB_LAT_BAD)
  }
  if ((features & JF_MAX_LAT) && lat > load<u64>(job, JOB_MAX_LAT_NS)) fail(job, ETIME)
}

// @ts-ignore: decorator
@inline
function record_latency(lat: u32, stat: u32, iou: u32, now: u64): void {
  const start = load<u64>(iou, IOU_START_NS)
  if (lat != LAT_EVERY) {
    lat_record(stat + STAT_CLAT, now - start)
    return
  }
  const issue = load<u64>(iou, IOU_ISSUE_NS)
  lat_record(stat + STAT_CLAT, now - issue)
  lat_record(stat + STAT_SLAT, issue - start)
  lat_record(stat + STAT_LAT, now - start)
}

/** Counts a good I/O. */
function account(cpu: u32, job: u32, iou: u32): void {
  const ddir = load<u32>(iou, IOU_DDIR)
  const features = load<u32>(job, JOB_FEATURES)
  const timed = load<u64>(iou, IOU_START_NS)
  const lat = load<u32>(cpu, CPU_LAT)
  if ((features & JF_THINK) && load<u32>(job, JOB_THINK_ENDS)) count_think(job)
  const now = timed != 0 && lat != LAT_BATCH ? read_clock(cpu) : load<u64>(cpu, CPU_NOW)
  if (features & JF_LOG) log_io(job, iou, now)
  if (timed != 0 && (features & (JF_LAT_TARGET | JF_MAX_LAT)) != 0) watch_latency(job, features, now - timed)
  if (!(load<u32>(iou, IOU_FLAGS) & IOUF_MEASURED)) return
  const stat = job + JOB_STATS + ddir * STAT_SIZE
  if (ddir <= <u32>DDIR_TRIM) {
    const span = job + (ddir << 3)
    if (!load<u64>(stat, STAT_IOS)) store<u64>(span, timed ? timed : now, JOB_FIRST_NS)
    store<u64>(span, now, JOB_LAST_NS)
  }
  bump(stat + STAT_IOS)
  store<u64>(stat, load<u64>(stat, STAT_BYTES) + load<u32>(iou, IOU_LEN), STAT_BYTES)
  if (timed != 0 && lat != LAT_NONE) {
    record_latency(lat, stat, iou, now)
    if (features & JF_PRIO) record_priority(job, iou, lat, now)
  }
  bump(job + JOB_MEASURED)
}

/** A failed I/O: the job goes on only if continue_on_error says so. */
function account_error(job: u32, iou: u32, error: u32, kind: u32): void {
  bump(job + JOB_ERRORS)
  if ((load<u32>(job, JOB_FEATURES) & JF_IGNORE) && ignores(job, kind >> 1, error)) return
  if (!(load<u32>(job, JOB_CONTINUE) & kind)) fail(job, error)
  else if (!load<u32>(job, JOB_ERROR)) store<u32>(job, error, JOB_ERROR)
}

function errno_of(status: u32): u32 {
  return status == BLK_STS_NOSPC ? ENOSPC : EIO
}

/** Checks the data of a read; true: TypeScript must look at the digest first. */
function check_data(cpu: u32, job: u32, iou: u32): bool {
  const buf = load<u32>(iou, IOU_BUF)
  const bad = verify_check(
    job, load<u32>(iou, IOU_FILE), buf, load<u64>(iou, IOU_OFFSET), load<u32>(iou, IOU_LEN), load<u32>(iou, IOU_NUMBER),
  )
  if (bad) {
    verify_failed(job, iou)
    return false
  }
  if (load<u32>(job + JOB_VER, JV_KIND) != VERIFY_HOST) return false
  const tail = load<u32>(job, JOB_DONE_TAIL)
  store<u32>(iou, 0, IOU_NEXT)
  if (tail) store<u32>(tail, iou, IOU_NEXT)
  else store<u32>(job, iou, JOB_DONE_HEAD)
  store<u32>(job, iou, JOB_DONE_TAIL)
  store<u32>(cpu, 1, CPU_SLOW)
  return true
}

/** A write that verification had noted is over. */
function write_done(job: u32, iou: u32): void {
  const ok: u32 = load<u32>(iou, BIO_STATUS) ? 0 : 1
  const disk = load<u64>(iou, IOU_OFFSET)
  const file = load<u32>(iou, IOU_FILE)
  const len = load<u32>(iou, IOU_LEN)
  const number = load<u32>(iou, IOU_NUMBER)
  verify_write_done(job, file, disk, len, number, ok)
  if (ok && number != VERIFY_ZEROES && (load<u32>(job, JOB_FEATURES) & JF_TRIM)) trim_note(job, file, disk, len, number)
}

/** The data of a read were not what was written. */
function verify_failed(job: u32, iou: u32): void {
  bump(job + JOB_ERRORS)
  if ((load<u32>(job, JOB_FEATURES) & JF_IGNORE) && ignores(job, 2, EILSEQ)) return
  if (!load<u32>(job, JOB_ERROR)) store<u32>(job, EILSEQ, JOB_ERROR)
  if (load<u32>(job + JOB_VER, JV_FATAL)) atomic.store<u32>(job, 1, JOB_STOP)
}

// @ts-ignore: decorator
@inline
function retire(cpu: u32, job: u32, iou: u32): void {
  if (load<u32>(iou, IOU_FLAGS) & IOUF_POLLED) store<u32>(job, load<u32>(job, JOB_POLLING) - 1, JOB_POLLING)
  store<u32>(iou, 0, IOU_STATE)
  put_iou(job, iou)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) - 1, JOB_IN_FLIGHT)
}

/** TypeScript has compared the digest of an io_u that JOB_DONE_HEAD held. */
export function job_checked(cpu: u32, job: u32, iou: u32, bad: u32): void {
  if (bad) verify_failed(job, iou)
  retire(cpu, job, iou)
}

/** Records the completion latencies of the first `n` io_us of a list, of which neighbours began, mostly, at the same time. */
function record_runs(stat: u32, iou: u32, n: u32, now: u64): void {
  let start = load<u64>(iou, IOU_START_NS)
  let run: u32 = 0
  do {
    const began = load<u64>(iou, IOU_START_NS)
    if (began != start) {
      lat_record_n(stat, now - start, run)
      start = began
      run = 0
    }
    run++
    iou = load<u32>(iou, IOU_NEXT)
  } while (--n)
  lat_record_n(stat, now - start, run)
}

/** Puts the first `n` io_us of a list back, one by one. */
function free_all(job: u32, iou: u32, n: u32): void {
  let free = load<u32>(job, JOB_FREE)
  do {
    const next = load<u32>(iou, IOU_NEXT)
    store<u32>(iou, free, IOU_NEXT)
    free = iou
    iou = next
  } while (--n)
  store<u32>(job, free, JOB_FREE)
}

/**
 * Ends good I/Os of one direction of a plain job: `account` and `retire` for a run of them, with the
 * sums added up on the way. Stops at the first that failed, is of the other direction, is not counted,
 * or was timed on its own. Returns how many; JOB_ENDED holds the rest.
 */
function reap_plain(cpu: u32, job: u32): u32 {
  let iou = load<u32>(job, JOB_ENDED)
  const ddir = load<u32>(iou, IOU_DDIR)
  const lat = load<u32>(cpu, CPU_LAT)
  if (load<u32>(job, JOB_FEATURES) & ~JF_REAP_MAX || ddir > <u32>DDIR_WRITE || lat == LAT_SAMPLED) return 0
  if (lat == LAT_EVERY && load<u32>(cpu, CPU_CLOCK) != CLOCK_VIRTUAL) return 0
  const now = load<u64>(cpu, CPU_NOW)
  const stat = job + JOB_STATS + ddir * STAT_SIZE
  const ended = iou
  const first = load<u64>(iou, IOU_START_NS)
  let bytes: u64 = 0
  let n: u32 = 0
  while (iou) {
    const flags = load<u32>(iou, IOU_FLAGS)
    if (load<u32>(iou, IOU_DDIR) != ddir || flags != IOUF_MEASURED) break // nor IOUF_FAILED
    bytes += load<u32>(iou, IOU_LEN)
    iou = load<u32>(iou, IOU_NEXT)
    n++
  }
  store<u32>(job, iou, JOB_ENDED)
  if (!n) return 0
  if (lat == LAT_EVERY) lat_record_all(stat, ended, n, now)
  else if (lat == LAT_BATCH) record_runs(stat + STAT_CLAT, ended, n, now)
  free_all(job, ended, n)
  store<u32>(job, load<u32>(job, JOB_IN_FLIGHT) - n, JOB_IN_FLIGHT)
  const span = job + (ddir << 3)
  if (!load<u64>(stat, STAT_IOS)) store<u64>(span, first ? first : now, JOB_FIRST_NS)
  store<u64>(span, now, JOB_LAST_NS)
  store<u64>(stat, load<u64>(stat, STAT_IOS) + n, STAT_IOS)
  store<u64>(stat, load<u64>(stat, STAT_BYTES) + bytes, STAT_BYTES)
  store<u64>(job, load<u64>(job, JOB_MEASURED) + n, JOB_MEASURED)
  return n
}

/** Ends the I/Os whose bios are over: how many. */
export function job_reap(cpu: u32, job: u32): u32 {
  if (!load<u32>(job, JOB_ENDED)) return 0
  if (load<u32>(cpu, CPU_LAT) == LAT_BATCH) read_clock(cpu)
  store<u64>(job, load<u64>(cpu, CPU_NOW), JOB_LAST_END_NS)
  let n: u32 = 0
  let plain: u32
  do {
    plain = reap_plain(cpu, job)
    n += plain
  } while (plain && load<u32>(job, JOB_ENDED))
  let iou = load<u32>(job, JOB_ENDED)
  store<u32>(job, 0, JOB_ENDED)
  while (iou) {
    const next = load<u32>(iou, IOU_NEXT)
    const status = load<u32>(iou, BIO_STATUS)
    n++
    if (load<u32>(iou, IOU_FLAGS) & IOUF_NOTED) write_done(job, iou)
    let held = false
    if (status) {
      account_error(job, iou, errno_of(status), 1 << min<u32>(load<u32>(iou, IOU_DDIR), DDIR_WRITE))
      store<u32>(iou, 0, BIO_STATUS)
    }
    else {
      account(cpu, job, iou)
      if (load<u32>(iou, IOU_FLAGS) & IOUF_VERIFY) held = check_data(cpu, job, iou)
    }
    if (!held) retire(cpu, job, iou)
    iou = next
  }
  bump(job + JOB_COMPLETES + (batch_bucket(n) << 3))
  const state = load<u32>(job, JOB_STATE)
  if (state == JOB_WAIT_IO) store<u32>(job, JOB_RUN, JOB_STATE)
  return n
}

/** job_reap, of no more I/Os than iodepth_batch_complete_max, unless the job only waits for its last ones. */
export function job_take(cpu: u32, job: u32): u32 {
  const features = load<u32>(job, JOB_FEATURES)
  if ((features & JF_LOG) && log_is_read(job)) return 0
  if (features & JF_REAP_MAX) {
    const last = load<u32>(job, JOB_STATE) == JOB_DRAIN || load<u32>(job, JOB_STATE) == JOB_WAIT_IO
    hold_back(job, last ? u32.MAX_VALUE : load<u32>(job, JOB_REAP_MAX))
  }
  return job_reap(cpu, job)
}

/** Looks whether what a job waits for has come; true if it may issue. */
export function job_runnable(cpu: u32, job: u32): bool {
  const state = atomic.load<u32>(job, JOB_STATE)
  if (state == JOB_RUN) return true
  if (state == JOB_WAIT_TIME) {
    if (load<u64>(cpu, CPU_NOW) < load<u64>(job, JOB_WAKE_NS) && !load<u32>(job, JOB_STOP)) return false
  } else if (state == JOB_WAIT_TAG) {
    if (!atomic.load<u32>(load<u32>(job, JOB_WAITER), WT_WOKEN)) return false
  } else {
    if (state == JOB_DRAIN && !load<u32>(job, JOB_IN_FLIGHT)) job_end(cpu, job)
    return false
  }
  store<u32>(job, JOB_RUN, JOB_STATE)
  return true
}

/** Nothing in flight any more: the job is over, TypeScript is told. */
function job_end(cpu: u32, job: u32): void {
  flow_leave(job)
  store<u64>(job, load<u64>(cpu, CPU_NOW), JOB_FINISH_NS)
  if (load<u32>(job, JOB_FEATURES) & JF_FILE) host(cpu, HB_FILE_IO, job, 0)
  atomic.store<u32>(job, JOB_DONE, JOB_STATE)
  store<u32>(cpu, 1, CPU_SLOW)
}
