// Tracing of the core: a record for each entry of a function of Linux, and for each tracepoint.
//
// The hooks stand where Linux's functions begin and end. Without TRACE_BUILD they are empty and inlined away: the
// release text has nothing of them. With it, records go into a ring (TRB_*, layout.ts), which TypeScript's half writes as
// well; the depth of nesting is a word of the CPU (CPU_DEPTH), which TypeScript loads before a call and takes back after it,
// so that it goes on across the boundary.
//
// A record is one word, function and depth. What many have in common, time, context and CPU, stands in a stamp, which is
// written when one of them is not what it was. CPUs of one thread share a ring, whose order is that in which
// things happened; where each is a thread it has a ring of its own, and time orders them: no word is shared.
//
// A ring that is full drops what comes, and counts it; with TRB_LAST it keeps the last records instead, for jobs that go on
// for long: then nobody reads it until they have ended.

import {
  BIO_DISK, BIO_OPF, BIO_SECTOR, BIO_SIZE, CPU_CTX_ID, CPU_DEPTH, CPU_INDEX, CPU_NOW, CPU_TRACE,
  M_BASE, M_TRACE, M_TRACE_NS, RQ_CMD_FLAGS, RQ_DATA_LEN, RQ_Q, RQ_SECTOR, TR_DEPTH_SHIFT, TR_EVENT, TRACE_EVENTS,
  TRACE_HARDIRQ, TRACE_MUTED, TRACE_TIMED, TRB_AT, TRB_DROPS, TRB_LAST, TRB_MASK, TRB_MORE, TRB_MORE_HEAD, TRB_MORE_MASK,
  TRB_NOW, TRB_RECORDS, TRB_STAMP_HEAD, TRB_STAMP_MASK, TRB_STAMPS, TRB_STOP, TRB_TURN, TRB_WHO, TRE_BYTES, TRE_ERROR,
  TRE_OPF, TRE_Q, TRE_SECTOR, TRE_SIZE, TRS_CPU_SHIFT, TRS_CTX, TRS_FIRST, TRS_SIZE, TRS_TIME,
} from './layout'
import { time_passed } from './clock'
import { hosted } from './host'

/** From this record on: this time, context and CPU. */
function stamp(ring: u32, first: u32, now: u64, who: u64): void {
  const place = load<u32>(ring, TRB_STAMP_HEAD)
  const at = load<u32>(ring, TRB_STAMPS) + (place & load<u32>(ring, TRB_STAMP_MASK)) * TRS_SIZE
  store<u64>(at, now | who >> 32 << TRS_CPU_SHIFT, TRS_TIME)
  store<u32>(at, first, TRS_FIRST)
  store<u32>(at, <u32>who, TRS_CTX)
  store<u32>(ring, place + 1, TRB_STAMP_HEAD)
  store<u64>(ring, now, TRB_NOW)
  store<u64>(ring, who, TRB_WHO)
}

/** A record that needs a stamp, or finds the end of the ring: false when there is no room. */
function record_other(cpu: u32, ring: u32, word: u32): bool {
  const begin = ring + TRB_RECORDS
  let at = load<u32>(ring, TRB_AT)
  let turn = load<u32>(ring, TRB_TURN)
  if (at == load<u32>(ring, TRB_STOP)) {
    if (!load<u32>(ring, TRB_LAST)) {
      store<u32>(ring, load<u32>(ring, TRB_DROPS) + 1, TRB_DROPS)
      return false
    }
    at = begin
    turn += load<u32>(ring, TRB_MASK) + 1
  }
  const now = load<u64>(cpu, CPU_NOW)
  const who = load<u64>(cpu, CPU_CTX_ID)
  if (now != load<u64>(ring, TRB_NOW) || who != load<u64>(ring, TRB_WHO)) stamp(ring, turn + (at - begin >> 2), now, who)
  store<u32>(at, word)
  store<u32>(ring, at + 4, TRB_AT)
  // behind TRB_AT: who counts meanwhile (TypeScript) reads too little rather than too much
  store<u32>(ring, turn, TRB_TURN)
  return true
}

/** Writes the next record of a CPU's ring: false when there is no room. */
// @ts-ignore: decorator
@inline
function record(cpu: u32, ring: u32, word: u32): bool {
  const at = load<u32>(ring, TRB_AT)
  const other = load<u64>(cpu, CPU_NOW) ^ load<u64>(ring, TRB_NOW) | load<u64>(cpu, CPU_CTX_ID) ^ load<u64>(ring, TRB_WHO)
  if (other | u64(at == load<u32>(ring, TRB_STOP))) return record_other(cpu, ring, word)
  store<u32>(at, word)
  store<u32>(ring, at + 4, TRB_AT)
  return true
}

/** A function begins while not just records are written: none are, or they take time. */
function enter_other(cpu: u32, fn: u32, on: u32, depth: u32): void {
  if (on & (TRACE_EVENTS | TRACE_MUTED)) return
  record(cpu, load<u32>(cpu, CPU_TRACE), fn | depth << TR_DEPTH_SHIFT)
  if (on & TRACE_TIMED) time_passed(cpu, load<u32>(M_BASE, M_TRACE_NS))
}

// @ts-ignore: decorator
@inline
function trace_enter(cpu: u32, fn: u32): u32 {
  const on = load<u32>(M_BASE, M_TRACE)
  if (!on) return 0
  const depth = load<u32>(cpu, CPU_DEPTH)
  if (on == 1) record(cpu, load<u32>(cpu, CPU_TRACE), fn | depth << TR_DEPTH_SHIFT)
  else enter_other(cpu, fn, on, depth)
  store<u32>(cpu, depth + 1, CPU_DEPTH)
  return depth
}

// @ts-ignore: decorator
@inline
function trace_entered(cpu: u32, fn: u32): void {
  const on = load<u32>(M_BASE, M_TRACE)
  if (on == 1) record(cpu, load<u32>(cpu, CPU_TRACE), fn | load<u32>(cpu, CPU_DEPTH) << TR_DEPTH_SHIFT)
  else if (on) enter_other(cpu, fn, on, load<u32>(cpu, CPU_DEPTH))
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
  if (!record(cpu, ring, TR_EVENT | id | load<u32>(cpu, CPU_DEPTH) << TR_DEPTH_SHIFT)) return
  const place = load<u32>(ring, TRB_MORE_HEAD)
  const at = load<u32>(ring, TRB_MORE) + (place & load<u32>(ring, TRB_MORE_MASK)) * TRE_SIZE
  store<u32>(ring, place + 1, TRB_MORE_HEAD)
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
