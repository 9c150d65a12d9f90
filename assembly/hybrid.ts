// Hybrid polling in virtual time: block/blk-mq.c of Linux 4.19, blk_mq_poll_hybrid_sleep with io_poll_delay 0. Who waits
// for a command sleeps for half of the mean time of its like, and polls only then.
//
//   blk_mq_poll_stats_bkt   commands are alike in direction and in the power of two of their size: 16 buckets
//   blk_mq_poll_nsecs       half of the bucket's mean; 0 while nothing is known
//
// Linux takes means over windows of 100 ms; here each command moves the mean of its bucket by an eighth, as in real time
// (src/machine/hybrid.ts). Of several commands in flight the first to complete says how long the CPU slept. Only what a
// CPU without anything else to do waited for is slept for and measured.

import {
  NQ_CQ, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_POLL_MEAN, NQ_TAGS, RQ_CMD_FLAGS, RQ_DATA_LEN,
  RQ_RETRIES, RQ_START_NS, TAGS_NR, TAGS_RQS,
} from './layout'
import { CQE_BYTES, CQE_DW3 } from './nvme'

const BUCKETS: u32 = 16

/** The bucket of a request of `bytes`; `write` 0 or 1. */
export function blk_mq_poll_stats_bkt(bytes: u32, write: u32): u32 {
  const size = 31 - <u32>clz<u32>(bytes | 512) - 9
  return min<u32>(write + 2 * size, BUCKETS - 2 + write)
}

/** Moves the mean of a bucket by an eighth of the way to `took`. */
function observe(mean: u32, took: u64): void {
  const before = load<u64>(mean)
  store<u64>(mean, before ? before - (before >> 3) + (took >> 3) : took)
}

/** How long the CPU slept before it polled for the first of the new completions, ns; notes the times of all of them. */
export function hybrid_rest(nq: u32, now: u64): u64 {
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
      const mean = nq + NQ_POLL_MEAN + (bucket << 3)
      if (rest == u64.MAX_VALUE) rest = (load<u64>(mean) + 1) >> 1
      const start = load<u64>(rq, RQ_START_NS)
      // A second try has waited for the CPU as well, which may have slept: that must not make it sleep longer.
      if (start && start < now && !load<u32>(rq, RQ_RETRIES)) observe(mean, now - start)
    }
    if (++head == load<u32>(nq, NQ_DEPTH)) {
      head = 0
      phase ^= 1
    }
  }
  return rest == u64.MAX_VALUE ? 0 : rest
}
