// Tracing of the core: a record for each entry of a function of Linux, and for each tracepoint.
//
// The hooks stand where Linux's functions begin and end. Without TRACE_BUILD they are empty and inlined away: the
// release text has nothing of them. With it, records go into the ring of the CPU that runs (TRB_* and TR_*, layout.ts), which
// TypeScript's half writes as well; the depth of nesting is a word of the CPU (CPU_DEPTH), which TypeScript loads before
// a call and takes back after it, so that it goes on across the boundary. M_TRACE_SEQ gives all records one order.
//
// A ring that is full drops what comes, and counts it; with TRB_LAST it keeps the last records instead, for jobs that go on
// for long: then nobody reads it until they have ended.

import {
  BIO_DISK, BIO_OPF, BIO_SECTOR, BIO_SIZE, CPU_CTX_ID, CPU_DEPTH, CPU_INDEX, CPU_NOW, CPU_TRACE,
  M_BASE, M_TRACE, M_TRACE_NS, M_TRACE_SEQ, RQ_CMD_FLAGS, RQ_DATA_LEN, RQ_Q, RQ_SECTOR, TR_CTX,
  TR_DEPTH_SHIFT, TR_EVENT, TR_SEQ, TR_SIZE, TR_TIME, TR_WHAT_SHIFT, TRACE_HARDIRQ, TRACE_MUTED, TRB_DROPS, TRB_HEAD, TRB_LAST,
  TRB_MASK, TRB_MORE, TRB_RECORDS, TRB_SHARED, TRB_TAIL, TRE_BYTES, TRE_ERROR, TRE_OPF, TRE_Q, TRE_SECTOR, TRE_SIZE,
} from './layout'
import { time_passed } from './clock'
import { hosted } from './host'

/** No place in the ring. */
const FULL: u32 = 0xffffffff

/** Its place among all records: an atomic costs more than the rest of a record, and is paid only where threads need it. */
// @ts-ignore: decorator
@inline
function next_seq(ring: u32): u32 {
  if (load<u32>(ring, TRB_SHARED)) return atomic.add<u32>(M_BASE, 1, M_TRACE_SEQ)
  const seq = load<u32>(M_BASE, M_TRACE_SEQ)
  store<u32>(M_BASE, seq + 1, M_TRACE_SEQ)
  return seq
}

/** Writes the next record of a CPU's ring: its place there, or FULL. */
// @ts-ignore: decorator
@inline
function record(cpu: u32, ring: u32, what: u32, depth: u32): u32 {
  const head = load<u32>(ring, TRB_HEAD)
  const mask = load<u32>(ring, TRB_MASK)
  if (!load<u32>(ring, TRB_LAST) && head - atomic.load<u32>(ring, TRB_TAIL) > mask) {
    store<u32>(ring, load<u32>(ring, TRB_DROPS) + 1, TRB_DROPS)
    return FULL
  }
  const place = head & mask
  const at = ring + TRB_RECORDS + place * TR_SIZE
  store<u64>(at, load<u64>(cpu, CPU_NOW) | <u64>what << TR_WHAT_SHIFT, TR_TIME)
  store<u32>(at, next_seq(ring), TR_SEQ)
  store<u32>(at, load<u32>(cpu, CPU_CTX_ID) | depth << TR_DEPTH_SHIFT, TR_CTX)
  // who reads while this goes on is this thread; others read when it is over
  store<u32>(ring, head + 1, TRB_HEAD)
  return place
}

function trace_enter(cpu: u32, fn: u32): u32 {
  const on = load<u32>(M_BASE, M_TRACE)
  if (!on) return 0
  const depth = load<u32>(cpu, CPU_DEPTH)
  if (on == 1) {
    record(cpu, load<u32>(cpu, CPU_TRACE), fn, depth)
    const ns = load<u32>(M_BASE, M_TRACE_NS)
    if (ns) time_passed(cpu, ns)
  }
  store<u32>(cpu, depth + 1, CPU_DEPTH)
  return depth
}

function trace_entered(cpu: u32, fn: u32): void {
  if (load<u32>(M_BASE, M_TRACE) != 1) return
  record(cpu, load<u32>(cpu, CPU_TRACE), fn, load<u32>(cpu, CPU_DEPTH))
  const ns = load<u32>(M_BASE, M_TRACE_NS)
  if (ns) time_passed(cpu, ns)
}

/** A function of Linux begins. The result goes to `leave`. */
// @ts-ignore: decorator
@inline
export function enter(cpu: u32, fn: u32): u32 {
  if (isDefined(TRACE_BUILD)) return trace_enter(cpu, fn)
  return 0
}

/** ... and ends. */
// @ts-ignore: decorator
@inline
export function leave(cpu: u32, depth: u32): void {
  if (isDefined(TRACE_BUILD)) store<u32>(cpu, depth, CPU_DEPTH)
}

/** A function that calls nothing which is recorded. */
// @ts-ignore: decorator
@inline
export function entered(cpu: u32, fn: u32): void {
  if (isDefined(TRACE_BUILD)) trace_entered(cpu, fn)
}

function event(cpu: u32, id: u32, q: u32, opf: u32, sector: u64, bytes: u32, error: u32): void {
  if ((load<u32>(M_BASE, M_TRACE) & (1 | TRACE_MUTED)) != 1) return
  const ring = load<u32>(cpu, CPU_TRACE)
  const place = record(cpu, ring, TR_EVENT | id, load<u32>(cpu, CPU_DEPTH))
  if (place == FULL) return
  const at = load<u32>(ring, TRB_MORE) + place * TRE_SIZE
  store<u64>(at, sector, TRE_SECTOR)
  store<u32>(at, bytes, TRE_BYTES)
  store<u32>(at, opf, TRE_OPF)
  store<u32>(at, q, TRE_Q)
  store<u32>(at, error, TRE_ERROR)
}

/** A tracepoint about a bio. */
// @ts-ignore: decorator
@inline
export function bio_event(cpu: u32, id: u32, bio: u32): void {
  if (isDefined(TRACE_BUILD)) {
    event(cpu, id, load<u32>(bio, BIO_DISK), load<u32>(bio, BIO_OPF), load<u64>(bio, BIO_SECTOR), load<u32>(bio, BIO_SIZE), 0)
  }
}

/** A tracepoint about a request. */
// @ts-ignore: decorator
@inline
export function rq_event(cpu: u32, id: u32, rq: u32, error: u32): void {
  if (isDefined(TRACE_BUILD)) {
    event(cpu, id, load<u32>(rq, RQ_Q), load<u32>(rq, RQ_CMD_FLAGS), load<u64>(rq, RQ_SECTOR), load<u32>(rq, RQ_DATA_LEN), error)
  }
}

/** A tracepoint of the NVMe driver: a queue's number and two words beside. */
// @ts-ignore: decorator
@inline
export function nvme_event(cpu: u32, id: u32, rq: u32, qid: u32, a: u64, b: u32): void {
  if (isDefined(TRACE_BUILD)) event(cpu, id, load<u32>(rq, RQ_Q), b, a, load<u32>(rq, RQ_DATA_LEN), qid)
}

/** The interrupt of an NVMe queue. */
// @ts-ignore: decorator
@inline
export function irq_event(cpu: u32, id: u32, q: u32, qid: u32): void {
  if (isDefined(TRACE_BUILD)) event(cpu, id, q, 0, 0, 0, qid)
}

/** A tracepoint about a queue, with a number. */
// @ts-ignore: decorator
@inline
export function queue_event(cpu: u32, id: u32, q: u32, n: u32): void {
  if (isDefined(TRACE_BUILD)) event(cpu, id, q, 0, 0, n, 0)
}

function mute(muted: u32): void {
  const on = load<u32>(M_BASE, M_TRACE)
  if (hosted() && on) store<u32>(M_BASE, on & ~TRACE_MUTED | muted, M_TRACE)
}

/** A function begins again that had to wait in the middle: what comes before the wait was recorded already. */
// @ts-ignore: decorator
@inline
export function mute_trace(): void {
  if (isDefined(TRACE_BUILD)) mute(TRACE_MUTED)
}

/** ... and here it waited. */
// @ts-ignore: decorator
@inline
export function unmute_trace(): void {
  if (isDefined(TRACE_BUILD)) mute(0)
}

/** The CPU takes an interrupt: what it was in the middle of, for trace_irq_exit. */
// @ts-ignore: decorator
@inline
export function trace_irq_enter(cpu: u32): u64 {
  if (!isDefined(TRACE_BUILD)) return 0
  const before = load<u64>(cpu, CPU_DEPTH) & 0xffffffff | <u64>load<u32>(cpu, CPU_CTX_ID) << 32
  store<u32>(cpu, TRACE_HARDIRQ | load<u32>(cpu, CPU_INDEX), CPU_CTX_ID)
  store<u32>(cpu, 0, CPU_DEPTH)
  return before
}

/** ... and goes on with it. */
// @ts-ignore: decorator
@inline
export function trace_irq_exit(cpu: u32, before: u64): void {
  if (!isDefined(TRACE_BUILD)) return
  store<u32>(cpu, <u32>before, CPU_DEPTH)
  store<u32>(cpu, <u32>(before >> 32), CPU_CTX_ID)
}
