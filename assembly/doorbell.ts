// Doorbells: NVMe registers from 0x1000 on, 4 << DSTRD bytes apart, one submission tail and one
// completion head per queue. Each struct nvme_queue holds the addresses of its two; this file knows
// when they are written.
//
// An entry is written first and committed later: queues with entries that no doorbell has told the
// device about stand on their CPU's list, and nvme_ring_doorbells at the end of a batch rings each of
// them once. With shadow doorbells (Doorbell Buffer Config) the new index goes to a page of memory,
// and the register is written only if the device asked to be told (nvme_dbbuf_update_and_check_event).

import {
  CLOCK_REAL, CPU_BELL, CPU_BELLS_SAVED, CPU_CLOCK, CPU_CQ_DOORBELLS, CPU_DOORBELLS, CPU_NOW,
  DCQ_HELD, DEV_WAITING, DEV_WAKE, DEV_WHERE, DSQ_CQ, DSQ_DEV, DSQ_EVENT_SQ, EV_SQ, M_BASE, M_COST_DOORBELL, NQ_BELL_LISTED,
  NQ_BELL_NEXT, NQ_SHARED, NQ_CQ_DB, NQ_CQ_HEAD, NQ_DSQ, NQ_EI_CQ, NQ_EI_SQ, NQ_LAST_SQ_TAIL, NQ_SHADOW_CQ,
  NQ_SHADOW_SQ, NQ_SQ_DB, NQ_SQ_TAIL,
} from './layout'
import { spend } from './clock'
import { event_by } from './events'

/** True when the device's event index lies between the old and the new one: it wants the register. */
export function nvme_dbbuf_need_event(event_idx: u32, new_idx: u32, old: u32): bool {
  return ((new_idx - event_idx - 1) & 0xffff) < ((new_idx - old) & 0xffff)
}

/** Publishes an index in the shadow page; true if the register has to be written as well. */
function dbbuf_update(value: u32, shadow: u32, event_index: u32): bool {
  const old = load<u32>(shadow)
  // Sequentially consistent: the index is visible before the event index is read.
  atomic.store<u32>(shadow, value)
  return nvme_dbbuf_need_event(atomic.load<u32>(event_index), value, old)
}

/** Wakes a device thread that sleeps. */
export function wake_device(dev: u32): void {
  if (!load<u32>(dev, DEV_WHERE) || !atomic.load<u32>(dev, DEV_WAITING)) return
  atomic.add<u32>(dev, 1, DEV_WAKE)
  atomic.notify(dev + DEV_WAKE, 1)
}

/** A doorbell: other threads see what was written before it, if any of them looks. */
// @ts-ignore: decorator
@inline
function write_register(nq: u32, register: u32, value: u32): void {
  const dev = load<u32>(load<u32>(nq, NQ_DSQ), DSQ_DEV)
  if (load<u32>(nq, NQ_SHARED) | load<u32>(dev, DEV_WHERE)) atomic.store<u32>(register, value)
  else store<u32>(register, value)
}

/** Tells the device the submission tail (nvme_write_sq_db). */
export function nvme_write_sq_db(cpu: u32, nq: u32): void {
  const tail = load<u32>(nq, NQ_SQ_TAIL)
  if (tail == load<u32>(nq, NQ_LAST_SQ_TAIL)) return
  const shadow = load<u32>(nq, NQ_SHADOW_SQ)
  if (!shadow || dbbuf_update(tail, shadow, load<u32>(nq, NQ_EI_SQ))) {
    write_register(nq, load<u32>(nq, NQ_SQ_DB), tail)
    store<u64>(cpu, load<u64>(cpu, CPU_DOORBELLS) + 1, CPU_DOORBELLS)
    spend(cpu, load<u32>(M_BASE, M_COST_DOORBELL))
  } else {
    store<u64>(cpu, load<u64>(cpu, CPU_BELLS_SAVED) + 1, CPU_BELLS_SAVED)
  }
  store<u32>(nq, tail, NQ_LAST_SQ_TAIL)
  const dsq = load<u32>(nq, NQ_DSQ)
  const dev = load<u32>(dsq, DSQ_DEV)
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_REAL || load<u32>(dev, DEV_WHERE)) wake_device(dev)
  else event_by(load<u64>(cpu, CPU_NOW), EV_SQ, dsq + DSQ_EVENT_SQ)
}

/** A completion queue that was full has room: the device looks at its submission queue again. */
function cq_has_moved(cpu: u32, nq: u32): void {
  const dsq = load<u32>(nq, NQ_DSQ)
  if (!load<u32>(load<u32>(dsq, DSQ_CQ), DCQ_HELD)) return
  event_by(load<u64>(cpu, CPU_NOW), EV_SQ, dsq + DSQ_EVENT_SQ)
}

/** Tells the device the completion head (nvme_ring_cq_doorbell). */
export function nvme_ring_cq_doorbell(cpu: u32, nq: u32): void {
  const head = load<u32>(nq, NQ_CQ_HEAD)
  const shadow = load<u32>(nq, NQ_SHADOW_CQ)
  if (!shadow || dbbuf_update(head, shadow, load<u32>(nq, NQ_EI_CQ))) {
    write_register(nq, load<u32>(nq, NQ_CQ_DB), head)
    store<u64>(cpu, load<u64>(cpu, CPU_CQ_DOORBELLS) + 1, CPU_CQ_DOORBELLS)
    spend(cpu, load<u32>(M_BASE, M_COST_DOORBELL))
  } else {
    store<u64>(cpu, load<u64>(cpu, CPU_BELLS_SAVED) + 1, CPU_BELLS_SAVED)
  }
  if (load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL) cq_has_moved(cpu, nq)
}

/** Remembers that a queue of this CPU has entries to commit. */
// @ts-ignore: decorator
@inline
export function nvme_list_doorbell(cpu: u32, nq: u32): void {
  if (load<u32>(nq, NQ_BELL_LISTED)) return
  store<u32>(nq, 1, NQ_BELL_LISTED)
  store<u32>(nq, load<u32>(cpu, CPU_BELL), NQ_BELL_NEXT)
  store<u32>(cpu, nq, CPU_BELL)
}

/** Commits: one doorbell for each queue that this CPU has written entries to. */
export function nvme_ring_doorbells(cpu: u32): void {
  let nq = load<u32>(cpu, CPU_BELL)
  store<u32>(cpu, 0, CPU_BELL)
  while (nq) {
    const next = load<u32>(nq, NQ_BELL_NEXT)
    store<u32>(nq, 0, NQ_BELL_LISTED)
    nvme_write_sq_db(cpu, nq)
    nq = next
  }
}
