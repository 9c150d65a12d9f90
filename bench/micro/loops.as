// Loops around single parts of the core, compiled by the AssemblyScript compiler together with
// those parts, so that no call crosses the boundary to JavaScript within them. Each does `ops`
// operations and returns a sum of what it saw, so that nothing of it can be left out.

import { dev_run_sq } from '../../assembly/device'
import { nvme_dbbuf_need_event } from '../../assembly/doorbell'
import { lat_record } from '../../assembly/hist'
import {
  JG_NEXT_OFFSET, JOB_GEN, NQ_CQ, NQ_CQ_DB, NQ_CQ_HEAD, NQ_CQ_PHASE, NQ_DEPTH, NQ_DSQ, NQ_SQ,
  NQ_SQ_DB, NQ_SQ_TAIL,
} from '../../assembly/layout'
import {
  CQE_BYTES, CQE_DW3, NVME_CMD_READ, SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_CDW14, SQE_CDW2,
  SQE_MPTR, SQE_PRP1, SQE_PRP2,
} from '../../assembly/nvme'
import { gen_next, gen_restart } from '../../assembly/offset'
import { prng_next } from '../../assembly/prng'
import { __sbitmap_queue_get, sbitmap_queue_clear } from '../../assembly/sbitmap'
import { blk_mq_get_tag, blk_mq_put_tag } from '../../assembly/tag'

export { sbitmap_queue_init_node, sbitmap_words } from '../../assembly/sbitmap'

/** A cheap generator whose state stays in a local. */
// @ts-ignore: decorator
@inline
function step(x: u64): u64 {
  x ^= x << 13
  x ^= x >> 7
  return x ^ (x << 17)
}

/** Takes `held` bits and notes them. */
export function sbitmap_hold(sbq: u32, list: u32, held: u32, cpu: u32): void {
  for (let i: u32 = 0; i < held; i++) store<u32>(list + (i << 2), __sbitmap_queue_get(sbq, cpu))
}

/** Frees a random one of the bits that are held, then takes one. */
export function sbitmap_churn(sbq: u32, list: u32, held: u32, cpu: u32, ops: u32): u32 {
  let x: u64 = 0x9e3779b97f4a7c15
  let sum: u32 = 0
  for (let n: u32 = 0; n < ops; n++) {
    x = step(x)
    const at = list + (<u32>(((x >> 32) * held) >> 32) << 2)
    sbitmap_queue_clear(sbq, load<u32>(at), cpu)
    // another thread may have taken the last free bit: there is one again at once
    let bit = __sbitmap_queue_get(sbq, cpu)
    while (bit < 0) bit = __sbitmap_queue_get(sbq, cpu)
    store<u32>(at, bit)
    sum += bit
  }
  return sum
}

/** Takes a tag and gives it back. */
export function tag_pairs(hctx: u32, tags: u32, ops: u32): u32 {
  let sum: u32 = 0
  for (let n: u32 = 0; n < ops; n++) {
    const tag = blk_mq_get_tag(hctx, 0, 0)
    blk_mq_put_tag(tags, 0, tag)
    sum += tag
  }
  return sum
}

/** The same with `held` tags in flight: the oldest is given back before one is taken. */
export function tag_window(hctx: u32, tags: u32, list: u32, held: u32, ops: u32): u32 {
  for (let i: u32 = 0; i < held; i++) store<u32>(list + (i << 2), blk_mq_get_tag(hctx, 0, 0))
  let sum: u32 = 0
  let oldest: u32 = 0
  for (let n: u32 = 0; n < ops; n++) {
    const at = list + (oldest << 2)
    blk_mq_put_tag(tags, 0, load<u32>(at))
    const tag = blk_mq_get_tag(hctx, 0, 0)
    store<u32>(at, tag)
    sum += tag
    if (++oldest == held) oldest = 0
  }
  for (let i: u32 = 0; i < held; i++) blk_mq_put_tag(tags, 0, load<u32>(list + (i << 2)))
  return sum
}

/** Writes a read of 4 KiB. */
// @ts-ignore: decorator
@inline
function write_sqe(sqe: u32, cid: u32): void {
  store<u64>(sqe, <u64>(NVME_CMD_READ | (cid << 16)) | (<u64>1 << 32), SQE_CDW0)
  store<u64>(sqe, 0, SQE_CDW2)
  store<u64>(sqe, 0, SQE_MPTR)
  store<u64>(sqe, 4096, SQE_PRP1)
  store<u64>(sqe, 0, SQE_PRP2)
  store<u64>(sqe, cid << 3, SQE_CDW10)
  store<u64>(sqe, 7, SQE_CDW12)
  store<u64>(sqe, 0, SQE_CDW14)
}

/**
 * Entries in batches: written, rung, run by the device, reaped by phase, rung again. Returns how
 * many were reaped.
 */
export function ring_rounds(nq: u32, batch: u32, ops: u32): u32 {
  const sq = load<u32>(nq, NQ_SQ)
  const cq = load<u32>(nq, NQ_CQ)
  const depth = load<u32>(nq, NQ_DEPTH)
  const dsq = load<u32>(nq, NQ_DSQ)
  let tail = load<u32>(nq, NQ_SQ_TAIL)
  let head = load<u32>(nq, NQ_CQ_HEAD)
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let reaped: u32 = 0
  while (reaped < ops) {
    for (let i: u32 = 0; i < batch; i++) {
      write_sqe(sq + tail * SQE_BYTES, i)
      if (++tail == depth) tail = 0
    }
    atomic.store<u32>(load<u32>(nq, NQ_SQ_DB), tail)
    // The device looks at the completion head only when it has to: it may take a batch in two
    // parts.
    const end = reaped + batch
    while (reaped < end) {
      if (!dev_run_sq(dsq, batch, 0)) return reaped
      while (((atomic.load<u32>(cq + head * CQE_BYTES, CQE_DW3) >> 16) & 1) == phase) {
        reaped++
        if (++head == depth) {
          head = 0
          phase ^= 1
        }
      }
      atomic.store<u32>(load<u32>(nq, NQ_CQ_DB), head)
    }
  }
  store<u32>(nq, tail, NQ_SQ_TAIL)
  store<u32>(nq, head, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  return reaped
}

/** Entries written, and the doorbell rung after each batch. Returns the tail. */
export function sq_rounds(nq: u32, batch: u32, ops: u32): u32 {
  const sq = load<u32>(nq, NQ_SQ)
  const depth = load<u32>(nq, NQ_DEPTH)
  let tail: u32 = 0
  for (let n: u32 = 0; n < ops; n += batch) {
    for (let i: u32 = 0; i < batch; i++) {
      write_sqe(sq + tail * SQE_BYTES, i)
      if (++tail == depth) tail = 0
    }
    atomic.store<u32>(load<u32>(nq, NQ_SQ_DB), tail)
  }
  atomic.store<u32>(load<u32>(nq, NQ_SQ_DB), 0)
  return tail
}

/** Batches of completion entries, found by phase, the head rung after each. The entries are written by this loop, too. */
export function cq_rounds(nq: u32, batch: u32, ops: u32): u32 {
  const cq = load<u32>(nq, NQ_CQ)
  const depth = load<u32>(nq, NQ_DEPTH)
  let tail: u32 = 0
  let head: u32 = 0
  let written: u32 = 1
  let phase: u32 = 1
  let sum: u32 = 0
  memory.fill(cq, 0, depth * CQE_BYTES)
  for (let n: u32 = 0; n < ops; n += batch) {
    for (let i: u32 = 0; i < batch; i++) {
      atomic.store<u32>(cq + tail * CQE_BYTES, i | (written << 16), CQE_DW3)
      if (++tail == depth) {
        tail = 0
        written ^= 1
      }
    }
    for (;;) {
      const dw3 = atomic.load<u32>(cq + head * CQE_BYTES, CQE_DW3)
      if (((dw3 >> 16) & 1) != phase) break
      sum += dw3 & 0xffff
      if (++head == depth) {
        head = 0
        phase ^= 1
      }
    }
    atomic.store<u32>(load<u32>(nq, NQ_CQ_DB), head)
  }
  memory.fill(cq, 0, depth * CQE_BYTES)
  atomic.store<u32>(load<u32>(nq, NQ_CQ_DB), 0)
  return sum
}

/** Submission doorbells of `queues` queues in turn, `stride` bytes apart. */
export function doorbells(base: u32, stride: u32, queues: u32, ops: u32): u32 {
  let qid: u32 = 0
  for (let n: u32 = 0; n < ops; n++) {
    atomic.store<u32>(base + 2 * qid * stride, n)
    if (++qid == queues) qid = 0
  }
  return qid
}

/** The same into shadow pages: the event index says whether the register is to be written, which it seldom is. */
export function shadow_doorbells(base: u32, shadow: u32, event: u32, stride: u32, queues: u32, ops: u32): u32 {
  let qid: u32 = 0
  let rung: u32 = 0
  for (let n: u32 = 0; n < ops; n++) {
    const at = 2 * qid * stride
    const old = load<u32>(shadow + at)
    const now = (old + 1) & 0xffff
    atomic.store<u32>(shadow + at, now)
    if (nvme_dbbuf_need_event(atomic.load<u32>(event + at), now, old)) {
      atomic.store<u32>(base + at, now)
      rung++
    }
    if (++qid == queues) qid = 0
  }
  return rung
}

/** Nothing: what a call from JavaScript costs. */
export function nothing(a: u32, b: u32): u32 {
  return a + b
}

/** Nothing, of numbers that JavaScript has to make a BigInt for. */
export function nothing64(a: u64, b: u64): u64 {
  return a + b
}

/** Takes `count` descriptors of 16 bytes: a block, a length, a buffer. */
export function described(base: u32, count: u32): u32 {
  let sum: u32 = 0
  for (let i: u32 = 0; i < count; i++) {
    const at = base + (i << 4)
    sum += <u32>load<u64>(at) + load<u32>(at, 8) + load<u32>(at, 12)
  }
  return sum
}

/** Records latencies up to 16 us. */
export function histogram(ls: u32, ops: u32): u32 {
  let x: u64 = 0x9e3779b97f4a7c15
  for (let n: u32 = 0; n < ops; n++) {
    x = step(x)
    lat_record(ls, x >> 50)
  }
  return <u32>x
}

/** What the next I/O of a job is. */
export function generator(job: u32, ops: u32): u32 {
  let sum: u64 = 0
  for (let n: u32 = 0; n < ops; n++) {
    if (!gen_next(job)) {
      gen_restart(job)
      gen_next(job)
    }
    sum += load<u64>(job + JOB_GEN, JG_NEXT_OFFSET)
  }
  return <u32>sum
}

/** The random numbers alone. */
export function random(state: u32, ops: u32): u32 {
  let sum: u64 = 0
  for (let n: u32 = 0; n < ops; n++) sum += prng_next(state)
  return <u32>sum
}
