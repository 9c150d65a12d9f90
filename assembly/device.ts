// The controller's I/O queues: fetch by doorbell, execute, post. NVMe 1.3/1.4, sections on queues,
// doorbells and NVM commands (nvme.ts has the numbers).
//
//   dev_run_sq   reads the tail doorbell (or its shadow), executes the new entries in order, and
//                posts their completions, or queues them until the medium is done (FIFO records,
//                sorted by due time)
//   dev_post     writes one completion entry, the word with the phase bit last
//   dev_notify   raises the interrupt of a completion queue, coalesced by count and time
//
// The same code runs inside the submitting thread, on a thread of the device's own, and under the
// events of virtual time; who calls it decides what "now" is. A completion queue that is full holds
// the device back: it stops fetching until the host's head doorbell moves.
//
// Read, Write, Compare, Write Zeroes, Dataset Management (deallocate), Flush and Verify. Anything
// else completes with Invalid Command Opcode. Data are addressed by PRPs.

import {
  DCQ_BASE, DCQ_COAL_N, DCQ_COAL_NS, DCQ_DB, DCQ_EI, DCQ_END, DCQ_ENTRIES, DCQ_HEAD_SEEN, DCQ_IEN, DCQ_PEND,
  DCQ_PEND_NS, DCQ_PHASE, DCQ_RAISED, DCQ_SHADOW, DCQ_TAIL, DEV_FAULTS,
  DEV_LOCK, DEV_MAX_LBAS, DEV_MODEL, DEV_NN, DEV_NS, DEV_SHARED, DEV_WHERE, DSQ_BASE, DSQ_COMMANDS, DSQ_CQ, DSQ_DB, DSQ_DEV, DSQ_EI, DSQ_END,
  DSQ_ENTRIES, DSQ_ERRORS, DSQ_FIFO, DSQ_FIFO_COUNT, DSQ_FIFO_HEAD, DSQ_HEAD, DSQ_ID, DSQ_SHADOW, FAULT_CORRUPT,
  FAULT_DELAY, FAULT_STATUS, FIFO_CID, FIFO_DUE, FIFO_SIZE, FIFO_STATUS, FLT_ACTION, FLT_FROM,
  FLT_HITS, FLT_MET, FLT_NEXT, FLT_NTH, FLT_OPCODE, FLT_SQ, FLT_TO, FLT_VALUE, MODEL_FIXED,
  NS_LBADS, NS_NSZE, NS_SIZE, NS_STORE, PAGE_SIZE,
} from './layout'
import {
  CQE_BYTES, CQE_DW0, CQE_DW3, CQE_SQHD, DSM_RANGE_BYTES, NVME_CMD_COMPARE, NVME_CMD_DSM,
  NVME_CMD_FLUSH, NVME_CMD_READ, NVME_CMD_VERIFY, NVME_CMD_WRITE, NVME_CMD_WRITE_ZEROES,
  NVME_DSMGMT_AD, NVME_SC_CAP_EXCEEDED, NVME_SC_COMPARE_FAILED, NVME_SC_DNR,
  NVME_SC_INVALID_FIELD, NVME_SC_INVALID_NS, NVME_SC_INVALID_OPCODE, NVME_SC_LBA_RANGE, NVME_SC_PRP_OFFSET_INVALID,
  NVME_SC_SUCCESS, SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_NSID, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { lock, unlock } from './lock'
import { serve, service_time } from './media'
import { store_equals, store_read, store_write, store_zero } from './store'

/** Commands that an inline device executes before the host looks at its completions. */
export const INLINE_BURST: u32 = 32

const PAGE: u32 = PAGE_SIZE
const PAGE_MASK: u32 = PAGE_SIZE - 1
const ANY: u32 = 0xffffffff
const LAST_SLOT: u32 = PAGE_SIZE - 8

// ---------------------------------------------------------------- data by PRP

// A transfer is walked page by page. The cursor is the address of the next PRP entry: first the
// field PRP2 of the command itself when it is a data pointer, else an entry of the list.

/** Moves one piece between memory and the medium. Returns a status. */
function move_piece(opcode: u32, st: u32, at: u64, mem: u32, len: u32): u32 {
  while (len) {
    const part = min<u32>(len, PAGE - (<u32>at & PAGE_MASK))
    if (opcode == NVME_CMD_READ) store_read(st, at, mem, part)
    else if (opcode == NVME_CMD_WRITE) {
      if (!store_write(st, at, mem, part)) return NVME_SC_CAP_EXCEEDED | NVME_SC_DNR
    } else if (!store_equals(st, at, mem, part)) return NVME_SC_COMPARE_FAILED | NVME_SC_DNR
    at += part
    mem += part
    len -= part
  }
  return NVME_SC_SUCCESS
}

/** Moves `len` bytes at byte `at` of the namespace as the command's PRPs say. */
function move_data(sqe: u32, opcode: u32, st: u32, at: u64, len: u32): u32 {
  const prp1 = <u32>load<u64>(sqe, SQE_PRP1)
  if (prp1 & 3) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  const first = min<u32>(len, PAGE - (prp1 & PAGE_MASK))
  let status = move_piece(opcode, st, at, prp1, first)
  let done = first
  let cursor = sqe + SQE_PRP2
  if (len - first > PAGE) {
    cursor = <u32>load<u64>(sqe, SQE_PRP2)
    if (cursor & 7) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  }
  while (done < len && status == NVME_SC_SUCCESS) {
    // The last slot of a list page leads on when more than one page of data is left.
    if ((cursor & PAGE_MASK) == LAST_SLOT && len - done > PAGE) {
      cursor = <u32>load<u64>(cursor)
      if (cursor & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    }
    const page = <u32>load<u64>(cursor)
    if (page & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    const part = min<u32>(len - done, PAGE)
    status = move_piece(opcode, st, at + done, page, part)
    done += part
    cursor += 8
  }
  return status
}

// ---------------------------------------------------------------- commands

// @ts-ignore: decorator
@inline
function out_of_range(ns: u32, slba: u64, blocks: u64): bool {
  const nsze = load<u64>(ns, NS_NSZE)
  return slba >= nsze || blocks > nsze - slba
}

/** MDTS is a page at least, so that small transfers need not ask. */
function exceeds_mdts(dev: u32, len: u32): bool {
  const most = load<u32>(dev, DEV_MAX_LBAS)
  return most != 0 && len > most
}

// @ts-ignore: decorator
@inline
function read_write(dev: u32, ns: u32, sqe: u32, opcode: u32): u32 {
  const slba = load<u64>(sqe, SQE_CDW10)
  const blocks: u32 = <u32>load<u16>(sqe, SQE_CDW12) + 1
  if (out_of_range(ns, slba, blocks)) return NVME_SC_LBA_RANGE | NVME_SC_DNR
  const st = load<u32>(ns, NS_STORE)
  if (!st || opcode == NVME_CMD_VERIFY) return NVME_SC_SUCCESS
  const shift = load<u32>(ns, NS_LBADS)
  const at = slba << shift
  const len = blocks << shift
  if (opcode != NVME_CMD_WRITE_ZEROES) {
    if (len > PAGE && exceeds_mdts(dev, len)) return NVME_SC_INVALID_FIELD | NVME_SC_DNR
    return move_data(sqe, opcode, st, at, len)
  }
  store_zero(st, at, len)
  return NVME_SC_SUCCESS
}

function deallocate(ns: u32, sqe: u32): u32 {
  const ranges: u32 = <u32>load<u8>(sqe, SQE_CDW10) + 1
  if (!(load<u32>(sqe, SQE_CDW10 + 4) & NVME_DSMGMT_AD)) return NVME_SC_SUCCESS
  const shift = load<u32>(ns, NS_LBADS)
  const st = load<u32>(ns, NS_STORE)
  let range = <u32>load<u64>(sqe, SQE_PRP1)
  if (range & (DSM_RANGE_BYTES - 1)) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  for (let i: u32 = 0; i < ranges; i++) {
    const blocks = <u64>load<u32>(range, 4)
    const slba = load<u64>(range, 8)
    if (blocks) {
      if (out_of_range(ns, slba, blocks)) return NVME_SC_LBA_RANGE | NVME_SC_DNR
      if (st) store_zero(st, slba << shift, blocks << shift)
    }
    range += DSM_RANGE_BYTES
    // The list goes on in the page of PRP2.
    if (!(range & PAGE_MASK)) range = <u32>load<u64>(sqe, SQE_PRP2)
  }
  return NVME_SC_SUCCESS
}

/** Executes one command: its status. Data are moved at once; the time it takes is the medium's. */
// @ts-ignore: decorator
@inline
function execute(dev: u32, sqe: u32): u32 {
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  const nsid = load<u32>(sqe, SQE_NSID)
  if (nsid - 1 >= load<u32>(dev, DEV_NN)) {
    if (opcode == NVME_CMD_FLUSH && nsid == ANY) return NVME_SC_SUCCESS
    return NVME_SC_INVALID_NS | NVME_SC_DNR
  }
  const ns = load<u32>(dev, DEV_NS) + (nsid - 1) * NS_SIZE
  if (opcode == NVME_CMD_READ || opcode == NVME_CMD_WRITE) return read_write(dev, ns, sqe, opcode)
  if (opcode == NVME_CMD_FLUSH) return NVME_SC_SUCCESS
  if (opcode == NVME_CMD_DSM) return deallocate(ns, sqe)
  if (opcode == NVME_CMD_COMPARE || opcode == NVME_CMD_WRITE_ZEROES || opcode == NVME_CMD_VERIFY) {
    return read_write(dev, ns, sqe, opcode)
  }
  return NVME_SC_INVALID_OPCODE | NVME_SC_DNR
}

// ---------------------------------------------------------------- faults

function fault_meets(fault: u32, sq: u32, sqe: u32): bool {
  const opcode = load<u32>(fault, FLT_OPCODE)
  if (opcode != ANY && opcode != (load<u32>(sqe, SQE_CDW0) & 0xff)) return false
  const queue = load<u32>(fault, FLT_SQ)
  if (queue && queue != sq) return false
  const slba = load<u64>(sqe, SQE_CDW10)
  const end = slba + load<u16>(sqe, SQE_CDW12) + 1
  if (end <= load<u64>(fault, FLT_FROM) || slba >= load<u64>(fault, FLT_TO)) return false
  const met = atomic.add<u32>(fault, 1, FLT_MET) + 1
  const nth = load<u32>(fault, FLT_NTH)
  return nth == 0 || met == nth
}

/** The first fault that acts on this command, or 0. */
function find_fault(dev: u32, sq: u32, sqe: u32): u32 {
  let fault = load<u32>(dev, DEV_FAULTS)
  while (fault && !fault_meets(fault, sq, sqe)) fault = load<u32>(fault, FLT_NEXT)
  if (fault) atomic.add<u32>(fault, 1, FLT_HITS)
  return fault
}

/** Bytes of a command's data in its first page; 0 if it carries none. */
function data_in_first_page(dev: u32, sqe: u32): u32 {
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  const nsid = load<u32>(sqe, SQE_NSID)
  if (opcode != NVME_CMD_READ && opcode != NVME_CMD_WRITE && opcode != NVME_CMD_COMPARE) return 0
  if (nsid - 1 >= load<u32>(dev, DEV_NN)) return 0
  const ns = load<u32>(dev, DEV_NS) + (nsid - 1) * NS_SIZE
  const len = (<u32>load<u16>(sqe, SQE_CDW12) + 1) << load<u32>(ns, NS_LBADS)
  return min<u32>(len, PAGE - (<u32>load<u64>(sqe, SQE_PRP1) & PAGE_MASK))
}

/** Flips one byte of the data in the command's first page. */
function spoil(dev: u32, sqe: u32, at: u64): void {
  const bytes = data_in_first_page(dev, sqe)
  if (!bytes) return
  const byte = <u32>load<u64>(sqe, SQE_PRP1) + <u32>(at % <u64>bytes)
  store<u8>(byte, ~load<u8>(byte))
}

/** Executes a command under a fault. What is read is spoilt afterwards; of what is written, the medium's copy. */
function execute_faulty(dev: u32, sqe: u32, fault: u32): u32 {
  const action = load<u32>(fault, FLT_ACTION)
  const value = load<u64>(fault, FLT_VALUE)
  if (action == FAULT_STATUS) return <u32>value
  if (action != FAULT_CORRUPT) return execute(dev, sqe)
  const write = (load<u32>(sqe, SQE_CDW0) & 0xff) != NVME_CMD_READ
  if (write) spoil(dev, sqe, value)
  const status = execute(dev, sqe)
  if (write || status == NVME_SC_SUCCESS) spoil(dev, sqe, value) // a write's second flip restores the host's byte
  return status
}

// ---------------------------------------------------------------- completion entries

/** Takes the host's head from its doorbell. What is not an index of this ring is as if it had not been written. */
function cq_read_head(dcq: u32): void {
  const shadow = load<u32>(dcq, DCQ_SHADOW)
  const head = atomic.load<u32>(shadow ? shadow : load<u32>(dcq, DCQ_DB))
  if (head >= load<u32>(dcq, DCQ_ENTRIES)) return
  store<u32>(dcq, head, DCQ_HEAD_SEEN)
  if (shadow) atomic.store<u32>(load<u32>(dcq, DCQ_EI), head)
}

function cq_has_room(dcq: u32): bool {
  if (cq_known_room(dcq)) return true
  cq_read_head(dcq)
  return cq_known_room(dcq) != 0
}

/** Posts one completion. The caller knows that there is room. */
function dev_post(dsq: u32, dcq: u32, cid: u32, status: u32, threaded: u32): void {
  const tail = load<u32>(dcq, DCQ_TAIL)
  const phase = load<u32>(dcq, DCQ_PHASE)
  const cqe = load<u32>(dcq, DCQ_BASE) + tail * CQE_BYTES
  store<u64>(cqe, 0, CQE_DW0)
  store<u32>(cqe, load<u32>(dsq, DSQ_HEAD) | (load<u32>(dsq, DSQ_ID) << 16), CQE_SQHD)
  const dw3 = cid | (phase << 16) | (status << 17)
  // The word with the phase bit is stored last: whoever sees the phase sees the rest.
  if (threaded) atomic.store<u32>(cqe, dw3, CQE_DW3)
  else store<u32>(cqe, dw3, CQE_DW3)
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
function fifo_insert(dsq: u32, due: u64, cid: u32, status: u32): void {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const base = load<u32>(dsq, DSQ_FIFO)
  const head = load<u32>(dsq, DSQ_FIFO_HEAD)
  const count = load<u32>(dsq, DSQ_FIFO_COUNT)
  let at = fifo_slot(head + count, entries)
  for (let left = count; left; left--) {
    const before = at ? at - 1 : entries - 1
    const from = base + before * FIFO_SIZE
    if (load<u64>(from, FIFO_DUE) <= due) break
    memory.copy(base + at * FIFO_SIZE, from, FIFO_SIZE)
    at = before
  }
  const slot = base + at * FIFO_SIZE
  store<u64>(slot, due, FIFO_DUE)
  store<u32>(slot, cid, FIFO_CID)
  store<u32>(slot, status, FIFO_STATUS)
  store<u32>(dsq, count + 1, DSQ_FIFO_COUNT)
}

function fifo_slot(at: u32, entries: u32): u32 {
  return at >= entries ? at - entries : at
}

/** When the oldest command in service is due; u64.MAX_VALUE if there is none. */
export function dev_next_due(dsq: u32): u64 {
  if (!load<u32>(dsq, DSQ_FIFO_COUNT)) return u64.MAX_VALUE
  return load<u64>(load<u32>(dsq, DSQ_FIFO) + load<u32>(dsq, DSQ_FIFO_HEAD) * FIFO_SIZE, FIFO_DUE)
}

/** Posts what is due at `now`, as far as the completion queue has room: how many. */
export function dev_post_due(dsq: u32, now: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const threaded = load<u32>(load<u32>(dsq, DSQ_DEV), DEV_WHERE)
  let posted: u32 = 0
  while (dev_next_due(dsq) <= now && cq_has_room(dcq)) {
    const head = load<u32>(dsq, DSQ_FIFO_HEAD)
    const slot = load<u32>(dsq, DSQ_FIFO) + head * FIFO_SIZE
    store<u32>(dsq, fifo_slot(head + 1, load<u32>(dsq, DSQ_ENTRIES)), DSQ_FIFO_HEAD)
    store<u32>(dsq, load<u32>(dsq, DSQ_FIFO_COUNT) - 1, DSQ_FIFO_COUNT)
    dev_post(dsq, dcq, load<u32>(slot, FIFO_CID), load<u32>(slot, FIFO_STATUS), threaded)
    posted++
  }
  return posted
}

// ---------------------------------------------------------------- fetching

/** The tail that the host last published. */
export function dev_sq_tail(dsq: u32): u32 {
  const shadow = load<u32>(dsq, DSQ_SHADOW)
  return atomic.load<u32>(shadow ? shadow : load<u32>(dsq, DSQ_DB))
}

/** Before it looks elsewhere, a device with shadow doorbells says up to where it has seen. */
function dev_publish_event_index(dsq: u32): void {
  if (load<u32>(dsq, DSQ_SHADOW)) atomic.store<u32>(load<u32>(dsq, DSQ_EI), load<u32>(dsq, DSQ_HEAD))
}

/** A command of a timed model: executed now, posted when a unit of the medium is done with it. */
function start_service(dev: u32, dsq: u32, cid: u32, status: u32, now: u64, extra: u64, opcode: u32): void {
  const shared = load<u32>(dev, DEV_SHARED)
  if (shared) lock(dev + DEV_LOCK)
  const due = serve(dev, now, service_time(dev, opcode) + extra)
  if (shared) unlock(dev + DEV_LOCK)
  fifo_insert(dsq, due, cid, status)
}

/** One entry of a device with faults or a timed medium. */
function run_entry(dev: u32, dsq: u32, dcq: u32, sqe: u32, now: u64): void {
  const cid = load<u32>(sqe, SQE_CDW0) >> 16
  const faults = load<u32>(dev, DEV_FAULTS)
  const fault: u32 = faults ? find_fault(dev, load<u32>(dsq, DSQ_ID), sqe) : 0
  const status = fault ? execute_faulty(dev, sqe, fault) : execute(dev, sqe)
  if (status) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + 1, DSQ_ERRORS)
  const delay: u64 =
    fault != 0 && load<u32>(fault, FLT_ACTION) == FAULT_DELAY ? load<u64>(fault, FLT_VALUE) : 0
  if (load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED || delay) {
    start_service(dev, dsq, cid, status, now, delay, load<u32>(sqe, SQE_CDW0) & 0xff)
  } else dev_post(dsq, dcq, cid, status, load<u32>(dev, DEV_WHERE))
}

/** Fetches one by one: each command may take its time. As many as the ring has entries may be in service. */
function run_timed(dev: u32, dsq: u32, tail: u32, max: u32, now: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const base = load<u32>(dsq, DSQ_BASE)
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  let head = load<u32>(dsq, DSQ_HEAD)
  let n: u32 = 0
  while (head != tail && n < max && load<u32>(dsq, DSQ_FIFO_COUNT) < entries && cq_has_room(dcq)) {
    const sqe = base + head * SQE_BYTES
    if (++head == entries) head = 0
    store<u32>(dsq, head, DSQ_HEAD)
    run_entry(dev, dsq, dcq, sqe, now)
    n++
  }
  return n
}

/** How many completions the queue has room for, as far as the host's head is known. */
function cq_known_room(dcq: u32): u32 {
  const entries = load<u32>(dcq, DCQ_ENTRIES)
  const used = load<u32>(dcq, DCQ_TAIL) + entries - load<u32>(dcq, DCQ_HEAD_SEEN)
  return entries - 1 - (used >= entries ? used - entries : used)
}

/** Room for up to `want` completions: the host's head is read again when the known one does not leave so much. */
function cq_room(dcq: u32, want: u32): u32 {
  const known = cq_known_room(dcq)
  if (known >= want) return want
  cq_read_head(dcq)
  return min<u32>(want, cq_known_room(dcq))
}

/** A Read or Write of a namespace that keeps no data needs only its range checked. */
// @ts-ignore: decorator
@inline
function execute_null(ns: u32, sqe: u32): u32 {
  const slba = load<u64>(sqe, SQE_CDW10)
  const nsze = load<u64>(ns, NS_NSZE)
  if (slba < nsze) if (<u64>load<u16>(sqe, SQE_CDW12) < nsze - slba) return NVME_SC_SUCCESS
  return NVME_SC_LBA_RANGE | NVME_SC_DNR
}

/**
 * Fetches, executes and posts up to `room` commands of a medium that takes no time, from the ring whose tail
 * is `tail`; the caller has seen that the completion queue has so much room. How many.
 */
export function run_untimed(dev: u32, dsq: u32, tail: u32, room: u32): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const base = load<u32>(dsq, DSQ_BASE)
  const end = load<u32>(dsq, DSQ_END)
  const last = base + tail * SQE_BYTES
  const cq = load<u32>(dcq, DCQ_BASE)
  const cq_end = load<u32>(dcq, DCQ_END)
  const threaded = load<u32>(dev, DEV_WHERE)
  const ns = load<u32>(dev, DEV_NS)
  const data = load<u32>(ns, NS_STORE)
  const id = load<u32>(dsq, DSQ_ID) << 16
  let sqe = base + load<u32>(dsq, DSQ_HEAD) * SQE_BYTES
  let cqe = cq + load<u32>(dcq, DCQ_TAIL) * CQE_BYTES
  let phase = load<u32>(dcq, DCQ_PHASE) << 16
  let errors: u32 = 0
  const most = room
  while (room) {
    if (sqe == last) break
    const cdw0 = load<u32>(sqe, SQE_CDW0)
    // Read (2) and Write (1) of namespace 1, when it keeps no data, are done here.
    const other = ((cdw0 - 1) & 0xfe) | data | (load<u32>(sqe, SQE_NSID) - 1)
    const status = other ? execute(dev, sqe) : execute_null(ns, sqe)
    if (status) errors++
    sqe += SQE_BYTES
    if (sqe == end) sqe = base
    const sqhd = ((sqe - base) / SQE_BYTES) | id
    const dw3 = (cdw0 >> 16) | phase | (status << 17)
    store<u64>(cqe, 0, CQE_DW0)
    // The word with the phase bit is stored last: whoever sees the phase sees the rest.
    if (threaded) {
      store<u32>(cqe, sqhd, CQE_SQHD)
      atomic.store<u32>(cqe, dw3, CQE_DW3)
    } else {
      store<u64>(cqe, <u64>sqhd | (<u64>dw3 << 32), CQE_SQHD) // and dword 3
    }
    cqe += CQE_BYTES
    if (cqe == cq_end) {
      cqe = cq
      phase ^= 0x10000
    }
    room--
  }
  store<u32>(dsq, (sqe - base) / SQE_BYTES, DSQ_HEAD)
  store<u32>(dcq, (cqe - cq) / CQE_BYTES, DCQ_TAIL)
  store<u32>(dcq, phase >> 16, DCQ_PHASE)
  if (errors) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + errors, DSQ_ERRORS)
  return most - room
}

/**
 * Fetches and executes up to `max` new entries; completions of untimed models are posted at once.
 * Returns how many were fetched. `now` matters to timed models only.
 */
export function dev_run_sq(dsq: u32, max: u32, now: u64): u32 {
  const tail = dev_sq_tail(dsq)
  if (tail >= load<u32>(dsq, DSQ_ENTRIES)) return 0
  if (load<u32>(dsq, DSQ_HEAD) == tail) {
    dev_publish_event_index(dsq)
    return 0
  }
  const dev = load<u32>(dsq, DSQ_DEV)
  const plain = load<u32>(dev, DEV_MODEL) < <u32>MODEL_FIXED && !load<u32>(dev, DEV_FAULTS)
  const n = plain ? run_untimed(dev, dsq, tail, cq_room(load<u32>(dsq, DSQ_CQ), max)) : run_timed(dev, dsq, tail, max, now)
  store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + n, DSQ_COMMANDS)
  return n
}
