// Hybrid polling in virtual time: block/blk-mq.c of Linux 4.19, blk_mq_poll_hybrid_sleep with io_poll_delay 0. Who waits
// for a command sleeps for half of the mean time of its like, and polls only then.
//
//   blk_mq_poll_stats_bkt   commands are alike in direction and in the power of two of their size: 16 buckets
//   blk_mq_poll_nsecs       half of the bucket's mean; 0 while nothing is known
//   blk_mq_poll_stats_start the first command that ends opens a window of 100 ms; when it is over, the means of those that
//                           ended in it replace the old ones, where there were any
//
// Measuring begins with the first poll ever, which therefore does not sleep. Of several commands in flight the first to
// complete says how long the CPU slept. Only what a CPU without anything else to do waited for is slept for and measured.

import {
  NQ_CQ, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_HCTX, NQ_TAGS, HC_Q, Q_POLL_BATCH, Q_POLL_SAMPLES,
  Q_POLL_SINCE, Q_POLL_STAT, Q_POLL_WINDOW, RQ_CMD_FLAGS, RQ_DATA_LEN, RQ_RETRIES, RQ_START_NS,
  TAGS_NR, TAGS_RQS,
} from './layout'
import { CQE_BYTES, CQE_DW3 } from './nvme'

const BUCKETS: i32 = 16
const WINDOW_NS: u64 = 100_000_000

/** The bucket of a command of `bytes`; `write` 0 or 1. Less than a sector: none, -1. */
export function blk_mq_poll_stats_bkt(bytes: u32, write: u32): i32 {
  const bucket = <i32>write + 2 * (22 - <i32>clz<u32>(bytes))
  if (bucket < 0) return -1
  return bucket < BUCKETS ? bucket : <i32>write + BUCKETS - 2
}

/** How long to sleep before polling for such a command, ns: 0 while nothing is known, and when nobody measured yet. */
export function blk_mq_poll_nsecs(q: u32, bytes: u32, write: u32, now: f64): f64 {
  return <f64>poll_nsecs(q, blk_mq_poll_stats_bkt(bytes, write), <u64>now)
}

function poll_nsecs(q: u32, bucket: i32, now: u64): u64 {
  if (!load<u64>(q, Q_POLL_SINCE)) store<u64>(q, now, Q_POLL_SINCE)
  return bucket < 0 ? 0 : (load<u64>(q + (<u32>bucket << 3), Q_POLL_STAT) + 1) >> 1
}

/** blk_mq_poll_stats_fn: the window is over. */
function fold(q: u32): void {
  for (let i: u32 = 0; i < <u32>BUCKETS; i++) {
    const samples = load<u32>(q + (i << 2), Q_POLL_SAMPLES)
    if (!samples) continue
    store<u64>(q + (i << 3), load<u64>(q + (i << 3), Q_POLL_BATCH) / samples, Q_POLL_STAT)
    store<u64>(q + (i << 3), 0, Q_POLL_BATCH)
    store<u32>(q + (i << 2), 0, Q_POLL_SAMPLES)
  }
}

/** blk_stat_add: a command of this bucket took so long. */
export function blk_stat_add(q: u32, bucket: i32, took: f64, now: f64): void {
  const window = load<u64>(q, Q_POLL_WINDOW)
  if (window && <u64>now >= window) fold(q)
  if (!window || <u64>now >= window) store<u64>(q, <u64>now + WINDOW_NS, Q_POLL_WINDOW)
  if (bucket < 0) return
  const at = q + (<u32>bucket << 3)
  store<u64>(at, load<u64>(at, Q_POLL_BATCH) + <u64>took, Q_POLL_BATCH)
  store<u32>(q + (<u32>bucket << 2), load<u32>(q + (<u32>bucket << 2), Q_POLL_SAMPLES) + 1, Q_POLL_SAMPLES)
}

/** How long the CPU slept before it polled for the first of the new completions, ns; notes the times of all of them. */
export function hybrid_rest(nq: u32, now: u64): u64 {
  const q = load<u32>(load<u32>(nq, NQ_HCTX), HC_Q)
  const since = load<u64>(q, Q_POLL_SINCE)
  const base = load<u32>(nq, NQ_CQ)
  const tags = load<u32>(nq, NQ_TAGS)
  let head = load<u32>(nq, NQ_CQ_HEAD)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let rest: u64 = u64.MAX_VALUE
  while (true) {
    const dw3 = load<u32>(base + head * CQE_BYTES, CQE_DW3)
    if (((dw3 >> 16) & 1) != phase) break
    const cid = dw3 & 0xffff
    const rq: u32 = cid < load<u32>(tags, TAGS_NR) ? load<u32>(load<u32>(tags, TAGS_RQS) + (cid << 2)) : 0
    if (rq) {
      const bucket = blk_mq_poll_stats_bkt(load<u32>(rq, RQ_DATA_LEN), load<u32>(rq, RQ_CMD_FLAGS) & 1)
      if (rest == u64.MAX_VALUE) rest = poll_nsecs(q, bucket, now)
      const start = load<u64>(rq, RQ_START_NS)
      // A second try has waited for the CPU as well, which may have slept: that must not make it sleep longer.
      const measured = start >= since && start < now && !load<u32>(rq, RQ_RETRIES)
      if (since && measured) blk_stat_add(q, bucket, <f64>(now - start), <f64>now)
    }
    if (++head == load<u32>(nq, NQ_DEPTH)) {
      head = 0
      phase ^= 1
    }
  }
  return rest == u64.MAX_VALUE ? 0 : rest
}
