// The controller's I/O queues: fetch by doorbell, execute, post. NVMe 1.3/1.4, sections on queues,
// doorbells and NVM commands (nvme.ts has the numbers).
//
//   dev_run_sq   reads the tail doorbell (or its shadow), executes the new entries in order, and posts their completions,
//                or queues them until the medium is done (post.ts, service.ts)
//
// The same code runs inside the submitting thread, on a thread of the device's own, and under the
// events of virtual time; who calls it decides what "now" is. A completion queue that is full holds
// the device back: it stops fetching until the host's head doorbell moves.
//
// What a command does is commands.ts; a device with a controller in TypeScript fetches by hosted.ts.

import {
  DCQ_BASE, DCQ_END, DCQ_PHASE, DCQ_TAIL, DEV_FAULTS, DEV_HOST, DEV_MODEL, DEV_NS, DEV_SHARED, DEV_WHERE, DSQ_BAD,
  DSQ_BASE, DSQ_COMMANDS, DSQ_CQ, DSQ_DEV, DSQ_EI, DSQ_END, DSQ_ENTRIES, DSQ_ERRORS, DSQ_FIFO_COUNT,
  DSQ_HEAD, DSQ_ID, DSQ_SHADOW, DV_DOORBELL, FAULT_DELAY, FLT_ACTION, FLT_VALUE, MODEL_FIXED, MODEL_NAND, NS_LBADS, NS_NSZE, NS_STORE,
  PAGE_SIZE,
} from './layout'
import {
  CQE_BYTES, CQE_DW0, CQE_DW3, CQE_SQHD, NVME_CMD_READ, NVME_SC_DNR, NVME_SC_LBA_RANGE, NVME_SC_SUCCESS, SQE_BYTES,
  SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_NSID, SQE_PRP1,
} from './nvme'
import { device_host } from './host'
import { execute } from './commands'
import { execute_faulty, find_fault } from './faults'
import { run_hosted } from './hosted'
import { flash_reads } from './nand-reads'
import { nand_touch } from './nand'
import { cq_has_room, cq_room, dev_sq_tail, fifo_insert } from './post'
import { due_of, end_entry } from './service'
import { find_page } from './store'

/** Commands that an inline device executes before the host looks at its completions. */
export const INLINE_BURST: u32 = 32

// ---------------------------------------------------------------- fetching

/** Before it looks elsewhere, a device with shadow doorbells says up to where it has seen. */
function dev_publish_event_index(dsq: u32): void {
  if (load<u32>(dsq, DSQ_SHADOW)) atomic.store<u32>(load<u32>(dsq, DSQ_EI), load<u32>(dsq, DSQ_HEAD))
}

/** One entry of a device with faults. */
function run_faulty(dev: u32, dsq: u32, dcq: u32, sqe: u32, now: u64): void {
  const fault = find_fault(dev, load<u32>(dsq, DSQ_ID), sqe)
  const status = fault ? execute_faulty(dev, sqe, fault) : execute(dev, sqe)
  if (status) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + 1, DSQ_ERRORS)
  const late = fault != 0 && load<u32>(fault, FLT_ACTION) == FAULT_DELAY
  end_entry(dev, dsq, dcq, sqe, status, now, late ? load<u64>(fault, FLT_VALUE) : 0)
}

/** A tail beyond the ring, or for a queue that is not there: ignored, and a controller is told once. */
function bad_tail(dsq: u32, tail: u32): u32 {
  if (!load<u32>(load<u32>(dsq, DSQ_DEV), DEV_HOST) || tail == load<u32>(dsq, DSQ_BAD)) return 0
  store<u32>(dsq, tail, DSQ_BAD)
  device_host(DV_DOORBELL, dsq, 0, tail)
  return 0
}

/** Fetches one by one from a device with faults. As many as the ring has entries may be in service. */
function run_with_faults(dev: u32, dsq: u32, tail: u32, max: u32, now: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const base = load<u32>(dsq, DSQ_BASE)
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  let head = load<u32>(dsq, DSQ_HEAD)
  let n: u32 = 0
  while (head != tail && n < max && load<u32>(dsq, DSQ_FIFO_COUNT) < entries && cq_has_room(dcq)) {
    const sqe = base + head * SQE_BYTES
    if (++head == entries) head = 0
    store<u32>(dsq, head, DSQ_HEAD)
    run_faulty(dev, dsq, dcq, sqe, now)
    n++
  }
  return n
}

/** A Read or Write of a namespace that keeps no data needs only its range checked. */
// @ts-ignore: decorator
@inline
export function execute_null(ns: u32, sqe: u32): u32 {
  const slba = load<u64>(sqe, SQE_CDW10)
  const nsze = load<u64>(ns, NS_NSZE)
  if (slba < nsze) if (<u64>load<u16>(sqe, SQE_CDW12) < nsze - slba) return NVME_SC_SUCCESS
  return NVME_SC_LBA_RANGE | NVME_SC_DNR
}

/**
 * True for a Write (1) or Read (2), within its range, of the first namespace, of `nsze` blocks, which are 65,536 or more; `cdw0` is
 * the command's first eight bytes.
 */
// @ts-ignore: decorator
@inline
export function is_plain(sqe: u32, cdw0: u64, nsze: u64): bool {
  if ((cdw0 - 0x100000001) & 0xffffffff000000fe) return false
  return load<u64>(sqe, SQE_CDW10) < nsze - load<u16>(sqe, SQE_CDW12)
}

/**
 * Answers Reads and Writes of the first namespace, which keeps no data and has at least 65,536 blocks, up to the
 * first of `n` that is something else or out of range: how many. `done` is the second half of the first answer
 * without its command identifier; the next one's queue head is one more.
 */
function answer_null(sqe: u32, cqe: u32, n: u32, nsze: u64, done: u64): u32 {
  const end = sqe + n * SQE_BYTES
  let at = sqe
  while (at != end) {
    const cdw0 = load<u64>(at, SQE_CDW0) // and SQE_NSID
    if (!is_plain(at, cdw0, nsze)) break
    store<u64>(cqe, 0, CQE_DW0)
    store<u64>(cqe, done | ((cdw0 << 16) & 0xffff00000000), CQE_SQHD) // and dword 3
    done++
    at += SQE_BYTES
    cqe += CQE_BYTES
  }
  return (at - sqe) / SQE_BYTES
}

/** The blocks of a device's first namespace if answer_null may answer for it; else 0. */
export function null_size(dev: u32): u64 {
  const ns = load<u32>(dev, DEV_NS)
  const nsze = load<u64>(ns, NS_NSZE)
  return nsze > 0xffff && !(load<u32>(ns, NS_STORE) | load<u32>(dev, DEV_WHERE)) ? nsze : 0
}

/** run_untimed for a device with a null_size, as long as neither ring begins anew: how many commands, and it may be none. */
export function run_null(dsq: u32, tail: u32, nsze: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const head = load<u32>(dsq, DSQ_HEAD)
  const at = load<u32>(dcq, DCQ_TAIL)
  const cqe = load<u32>(dcq, DCQ_BASE) + at * CQE_BYTES
  const most = min<u32>(tail - head, INLINE_BURST)
  if (tail <= head || cqe + most * CQE_BYTES >= load<u32>(dcq, DCQ_END)) return 0
  const done = (load<u32>(dsq, DSQ_ID) << 16) | (head + 1) | (<u64>load<u32>(dcq, DCQ_PHASE) << 48)
  const n = answer_null(load<u32>(dsq, DSQ_BASE) + head * SQE_BYTES, cqe, most, nsze, done)
  store<u32>(dsq, head + n, DSQ_HEAD)
  store<u32>(dcq, at + n, DCQ_TAIL)
  return n
}

/** A Read of one page of the first namespace that was never written: the memory that gets its zeros; 0 = it is something else. */
// @ts-ignore: decorator
@inline
function reads_nothing(ns: u32, sqe: u32): u32 {
  const to = <u32>load<u64>(sqe, SQE_PRP1)
  const shift = load<u32>(ns, NS_LBADS)
  const at = load<u64>(sqe, SQE_CDW10) << shift
  const len = (<u32>load<u16>(sqe, SQE_CDW12) + 1) << shift
  if (load<u8>(sqe, SQE_CDW0) != NVME_CMD_READ || load<u32>(sqe, SQE_NSID) != 1 || len != PAGE_SIZE) return 0
  if ((<u32>at | to) & (PAGE_SIZE - 1) || !load<u32>(ns, NS_STORE) || execute_null(ns, sqe)) return 0
  return find_page(load<u32>(ns, NS_STORE), at) ? 0 : to
}

/** Fetches for a timed medium: nothing is posted meanwhile, so that room in both queues is looked for once. */
function run_timed(dev: u32, dsq: u32, tail: u32, max: u32, now: u64): u32 {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const head = load<u32>(dsq, DSQ_HEAD)
  const waiting: u32 = tail >= head ? tail - head : tail + entries - head
  const room = min<u32>(min<u32>(max, waiting), entries - load<u32>(dsq, DSQ_FIFO_COUNT))
  if (!room || !cq_has_room(load<u32>(dsq, DSQ_CQ))) return 0
  const model = load<u32>(dev, DEV_MODEL)
  let done: u32 = 0
  if (model == MODEL_NAND) {
    nand_touch(dev, load<u32>(dsq, DSQ_BASE), entries, head, tail)
    if (!load<u32>(load<u32>(dev, DEV_NS), NS_STORE) && !load<u32>(dev, DEV_SHARED)) done = flash_reads(dev, dsq, head, room, now)
  }
  const at = head + done
  const next: u32 = at >= entries ? at - entries : at
  if (done == room) store<u32>(dsq, next, DSQ_HEAD)
  else serve_each(dev, dsq, next, room - done, now)
  return room
}

/** Executes `n` commands from entry `head` on; each is kept until the medium is done with it. */
function serve_each(dev: u32, dsq: u32, head: u32, n: u32, now: u64): void {
  const base = load<u32>(dsq, DSQ_BASE)
  const end = base + load<u32>(dsq, DSQ_ENTRIES) * SQE_BYTES
  const model = load<u32>(dev, DEV_MODEL)
  const ns = load<u32>(dev, DEV_NS)
  let sqe = base + head * SQE_BYTES
  let zeroed: u32 = 0 // a page that the command before filled with zeros, and nobody has touched since
  do {
    const zeros = reads_nothing(ns, sqe)
    let status: u32 = NVME_SC_SUCCESS
    if (!zeros) status = execute(dev, sqe)
    else if (zeros != zeroed) memory.fill(zeros, 0, PAGE_SIZE)
    zeroed = zeros
    if (status) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + 1, DSQ_ERRORS)
    fifo_insert(dsq, due_of(dev, model, sqe, status, now, 0), load<u16>(sqe, SQE_CDW0 + 2), status)
    sqe += SQE_BYTES
    if (sqe == end) sqe = base
  } while (--n)
  store<u32>(dsq, (sqe - base) / SQE_BYTES, DSQ_HEAD)
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
  const nsze = null_size(dev)
  let sqe = base + load<u32>(dsq, DSQ_HEAD) * SQE_BYTES
  let cqe = cq + load<u32>(dcq, DCQ_TAIL) * CQE_BYTES
  let phase = load<u32>(dcq, DCQ_PHASE) << 16
  let errors: u32 = 0
  const most = room
  while (room) {
    if (sqe == last) break
    if (nsze) {
      // The last entry of the ring is answered below: with it the head begins anew.
      const straight = ((last > sqe ? last : end - SQE_BYTES) - sqe) / SQE_BYTES
      const most = min<u32>(min<u32>(straight, room), (cq_end - cqe) / CQE_BYTES)
      const done = id | ((sqe - base) / SQE_BYTES + 1)
      const n = answer_null(sqe, cqe, most, nsze, <u64>done | (<u64>phase << 32))
      if (n) {
        sqe += n * SQE_BYTES
        cqe += n * CQE_BYTES
        if (cqe == cq_end) {
          cqe = cq
          phase ^= 0x10000
        }
        room -= n
        continue
      }
    }
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
  if (tail >= load<u32>(dsq, DSQ_ENTRIES)) return bad_tail(dsq, tail)
  if (load<u32>(dsq, DSQ_HEAD) == tail) {
    dev_publish_event_index(dsq)
    return 0
  }
  const dev = load<u32>(dsq, DSQ_DEV)
  if (load<u32>(dev, DEV_HOST)) return run_hosted(dev, dsq, max, now)
  let n: u32
  if (load<u32>(dev, DEV_FAULTS)) n = run_with_faults(dev, dsq, tail, max, now)
  else if (load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED) n = run_timed(dev, dsq, tail, max, now)
  else n = run_untimed(dev, dsq, tail, cq_room(load<u32>(dsq, DSQ_CQ), max))
  store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + n, DSQ_COMMANDS)
  return n
}
