// The way of a completion into its queue: room, the entry, the interrupt's coalescing, and the commands in service whose
// completions come later (FIFO records, sorted by due time). A completion queue that is full holds the device back until
// the host's head doorbell moves.

import {
  DCQ_BASE, DCQ_COAL_N, DCQ_COAL_NS, DCQ_DB, DCQ_EI, DCQ_END, DCQ_ENTRIES, DCQ_HEAD_SEEN, DCQ_IEN, DCQ_PEND,
  DCQ_PEND_NS, DCQ_PHASE, DCQ_RAISED, DCQ_SHADOW, DCQ_TAIL, DEV_WHERE, DSQ_CQ, DSQ_DB, DSQ_DEV, DSQ_ENTRIES,
  DSQ_FIFO, DSQ_FIFO_COUNT, DSQ_FIFO_HEAD, DSQ_HEAD, DSQ_ID, DSQ_SHADOW, FIFO_CID, FIFO_DUE, FIFO_SIZE,
  FIFO_STATUS,
} from './layout'
import {
  CQE_BYTES, CQE_DW0, CQE_DW3, CQE_SQHD,
} from './nvme'

/** The tail that the host last published. */
export function dev_sq_tail(dsq: u32): u32 {
  const shadow = load<u32>(dsq, DSQ_SHADOW)
  return atomic.load<u32>(shadow ? shadow : load<u32>(dsq, DSQ_DB))
}

/** Takes the host's head from its doorbell. What is not an index of this ring is as if it had not been written. */
export function cq_read_head(dcq: u32): void {
  const shadow = load<u32>(dcq, DCQ_SHADOW)
  const head = atomic.load<u32>(shadow ? shadow : load<u32>(dcq, DCQ_DB))
  if (head >= load<u32>(dcq, DCQ_ENTRIES)) return
  store<u32>(dcq, head, DCQ_HEAD_SEEN)
  if (shadow) atomic.store<u32>(load<u32>(dcq, DCQ_EI), head)
}

// @ts-ignore: decorator
@inline
export function cq_has_room(dcq: u32): bool {
  if (!cq_is_full(dcq)) return true
  cq_read_head(dcq)
  return !cq_is_full(dcq)
}

/** Whether the entry before the host's head, as far as that is known, is the next one. */
// @ts-ignore: decorator
@inline
function cq_is_full(dcq: u32): bool {
  const next = load<u32>(dcq, DCQ_TAIL) + 1
  return (next == load<u32>(dcq, DCQ_ENTRIES) ? 0 : next) == load<u32>(dcq, DCQ_HEAD_SEEN)
}

/** How many completions the queue has room for, as far as the host's head is known. */
export function cq_known_room(dcq: u32): u32 {
  const entries = load<u32>(dcq, DCQ_ENTRIES)
  const used = load<u32>(dcq, DCQ_TAIL) + entries - load<u32>(dcq, DCQ_HEAD_SEEN)
  return entries - 1 - (used >= entries ? used - entries : used)
}

/** Room for up to `want` completions: the host's head is read again when the known one does not leave so much. */
export function cq_room(dcq: u32, want: u32): u32 {
  const known = cq_known_room(dcq)
  if (known >= want) return want
  cq_read_head(dcq)
  return min<u32>(want, cq_known_room(dcq))
}

/** Fills a completion entry. `sqhd` is its dword 2: submission queue and head. */
// @ts-ignore: decorator
@inline
function write_entry(cqe: u32, cid: u32, status: u32, result: u64, sqhd: u32, phase: u32, threaded: u32): void {
  store<u64>(cqe, result, CQE_DW0)
  store<u32>(cqe, sqhd, CQE_SQHD)
  // bit 31 of a status is none of the entry's: the fault of a wrong phase
  const dw3 = cid | ((phase ^ (status >> 31)) << 16) | (status << 17)
  // The word with the phase bit is stored last: whoever sees the phase sees the rest.
  if (threaded) atomic.store<u32>(cqe, dw3, CQE_DW3)
  else store<u32>(cqe, dw3, CQE_DW3)
}

/** Posts one completion with its 64-bit result. The caller knows that there is room. */
export function dev_post(dsq: u32, dcq: u32, cid: u32, status: u32, result: u64, threaded: u32): void {
  const tail = load<u32>(dcq, DCQ_TAIL)
  const phase = load<u32>(dcq, DCQ_PHASE)
  const sqhd = load<u32>(dsq, DSQ_HEAD) | (load<u32>(dsq, DSQ_ID) << 16)
  write_entry(load<u32>(dcq, DCQ_BASE) + tail * CQE_BYTES, cid, status, result, sqhd, phase, threaded)
  if (tail + 1 == load<u32>(dcq, DCQ_ENTRIES)) {
    store<u32>(dcq, 0, DCQ_TAIL)
    store<u32>(dcq, phase ^ 1, DCQ_PHASE)
  } else {
    store<u32>(dcq, tail + 1, DCQ_TAIL)
  }
}

/**
 * Counts `posted` new entries and says whether the interrupt is to be raised now: a count or a time
 * since the first has been reached.
 */
export function dev_coalesce(dcq: u32, posted: u32, now: u64): bool {
  if (!load<u32>(dcq, DCQ_IEN)) return false
  const pend = load<u32>(dcq, DCQ_PEND)
  if (posted && !pend) store<u64>(dcq, now, DCQ_PEND_NS)
  const total = pend + posted
  if (!total) return false
  const limit = load<u32>(dcq, DCQ_COAL_N)
  if (total < limit && now - load<u64>(dcq, DCQ_PEND_NS) < load<u64>(dcq, DCQ_COAL_NS)) {
    store<u32>(dcq, total, DCQ_PEND)
    return false
  }
  store<u32>(dcq, 0, DCQ_PEND)
  store<u64>(dcq, load<u64>(dcq, DCQ_RAISED) + 1, DCQ_RAISED)
  return true
}

// ---------------------------------------------------------------- commands in service

/** Keeps a finished command until it is due. Records stay sorted; ties keep their order. */
// @ts-ignore: decorator
@inline
export function fifo_insert(dsq: u32, due: u64, cid: u32, status: u32): void {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const count = load<u32>(dsq, DSQ_FIFO_COUNT)
  const at = fifo_slot(load<u32>(dsq, DSQ_FIFO_HEAD) + count, entries)
  store<u32>(dsq, count + 1, DSQ_FIFO_COUNT)
  let slot = load<u32>(dsq, DSQ_FIFO) + at * FIFO_SIZE
  const before = at ? slot - FIFO_SIZE : slot + (entries - 1) * FIFO_SIZE
  if (count && load<u64>(before, FIFO_DUE) > due) slot = fifo_move(dsq, due, at, count)
  store<u64>(slot, due, FIFO_DUE)
  store<u64>(slot, <u64>cid | (<u64>status << 32), FIFO_CID) // and FIFO_STATUS
}

/** Moves the records that are due later than `due` up by one, from `at` down: the place that is free then. */
function fifo_move(dsq: u32, due: u64, at: u32, count: u32): u32 {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const base = load<u32>(dsq, DSQ_FIFO)
  for (let left = count; left; left--) {
    const before = at ? at - 1 : entries - 1
    const from = base + before * FIFO_SIZE
    if (load<u64>(from, FIFO_DUE) <= due) break
    const to = base + at * FIFO_SIZE
    store<u64>(to, load<u64>(from)) // a record is two words; memory.copy is a call
    store<u64>(to, load<u64>(from, FIFO_CID), FIFO_CID)
    at = before
  }
  return base + at * FIFO_SIZE
}

// @ts-ignore: decorator
@inline
function fifo_slot(at: u32, entries: u32): u32 {
  return at >= entries ? at - entries : at
}

/** When the oldest command in service is due; u64.MAX_VALUE if there is none. */
export function dev_next_due(dsq: u32): u64 {
  if (!load<u32>(dsq, DSQ_FIFO_COUNT)) return u64.MAX_VALUE
  return load<u64>(load<u32>(dsq, DSQ_FIFO) + load<u32>(dsq, DSQ_FIFO_HEAD) * FIFO_SIZE, FIFO_DUE)
}

/** A command in service ends at `now` with another status: true if it was there. */
export function dev_abort(dsq: u32, cid: u32, status: u32, now: f64): bool {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const base = load<u32>(dsq, DSQ_FIFO)
  const head = load<u32>(dsq, DSQ_FIFO_HEAD)
  const count = load<u32>(dsq, DSQ_FIFO_COUNT)
  let i: u32 = 0
  while (i < count && load<u32>(base + fifo_slot(head + i, entries) * FIFO_SIZE, FIFO_CID) != cid) i++
  if (i == count) return false
  for (; i + 1 < count; i++) {
    const to = base + fifo_slot(head + i, entries) * FIFO_SIZE
    memory.copy(to, base + fifo_slot(head + i + 1, entries) * FIFO_SIZE, FIFO_SIZE)
  }
  store<u32>(dsq, count - 1, DSQ_FIFO_COUNT)
  fifo_insert(dsq, <u64>now, cid, status)
  return true
}

/** Posts what is due at `now`, as far as the completion queue has room: how many. */
export function dev_post_due(dsq: u32, now: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  let posted: u32 = 0
  while (dev_next_due(dsq) <= now && cq_has_room(dcq)) posted += post_run(dsq, dcq, now, cq_known_room(dcq))
  return posted
}

/**
 * Posts what is due up to `until`, as long as it only adds to what the interrupt of its queue waits for (there is such, and
 * its time is not over before): when the last of it was due; 0 = none.
 */
export function post_ahead(dsq: u32, until: u64): u64 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const pend = load<u32>(dcq, DCQ_PEND)
  const room = min<u32>(cq_known_room(dcq), load<u32>(dcq, DCQ_COAL_N) - 1 - pend)
  const last = min<u64>(until, load<u64>(dcq, DCQ_PEND_NS) + load<u64>(dcq, DCQ_COAL_NS) - 1)
  if (!room || dev_next_due(dsq) > last) return 0
  const n = post_run(dsq, dcq, last, room)
  store<u32>(dcq, pend + n, DCQ_PEND)
  const head = load<u32>(dsq, DSQ_FIFO_HEAD)
  return load<u64>(load<u32>(dsq, DSQ_FIFO) + ((head ? head : load<u32>(dsq, DSQ_ENTRIES)) - 1) * FIFO_SIZE, FIFO_DUE)
}

/** Posts up to `room` of what is due, at least one: how many. */
function post_run(dsq: u32, dcq: u32, now: u64, room: u32): u32 {
  const fifo = load<u32>(dsq, DSQ_FIFO)
  const fifo_end = fifo + load<u32>(dsq, DSQ_ENTRIES) * FIFO_SIZE
  const cq = load<u32>(dcq, DCQ_BASE)
  const cq_end = load<u32>(dcq, DCQ_END)
  const threaded = load<u32>(load<u32>(dsq, DSQ_DEV), DEV_WHERE)
  const sqhd = load<u32>(dsq, DSQ_HEAD) | (load<u32>(dsq, DSQ_ID) << 16)
  const count = load<u32>(dsq, DSQ_FIFO_COUNT)
  const most = min<u32>(room, count)
  let from = fifo + load<u32>(dsq, DSQ_FIFO_HEAD) * FIFO_SIZE
  let cqe = cq + load<u32>(dcq, DCQ_TAIL) * CQE_BYTES
  let phase = load<u32>(dcq, DCQ_PHASE)
  let n: u32 = 0
  do {
    write_entry(cqe, load<u32>(from, FIFO_CID), load<u32>(from, FIFO_STATUS), 0, sqhd, phase, threaded)
    from += FIFO_SIZE
    if (from == fifo_end) from = fifo
    cqe += CQE_BYTES
    if (cqe == cq_end) {
      cqe = cq
      phase ^= 1
    }
  } while (++n < most && load<u64>(from, FIFO_DUE) <= now)
  store<u32>(dsq, (from - fifo) / FIFO_SIZE, DSQ_FIFO_HEAD)
  store<u32>(dsq, count - n, DSQ_FIFO_COUNT)
  store<u32>(dcq, (cqe - cq) / CQE_BYTES, DCQ_TAIL)
  store<u32>(dcq, phase, DCQ_PHASE)
  return n
}
