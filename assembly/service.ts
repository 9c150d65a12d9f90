// From an executed command to its completion: at once, or when a unit of a timed medium is done with it; and what a fault
// makes of the completion.

import {
  DEV_LOCK, DEV_MODEL, DEV_SHARED, DEV_WHERE, DSQ_ENTRIES, DSQ_FIFO_COUNT, FAULT_BAD_CID, FAULT_BAD_PHASE,
  FAULT_DELAY, FAULT_DUPLICATE, FLT_ACTION, FLT_VALUE, MODEL_FIXED,
} from './layout'
import {
  SQE_CDW0,
} from './nvme'
import { lock, unlock } from './lock'
import { serve, service_time } from './media'
import { cq_has_room, dev_post, fifo_insert } from './post'

/** A status with this bit is posted with the old phase (post.ts). */
const OLD_PHASE: u32 = 0x80000000

/** When a unit of the medium is done with a command that it is given now. */
export function service_due(dev: u32, now: u64, extra: u64, opcode: u32): u64 {
  const shared = load<u32>(dev, DEV_SHARED)
  if (shared) lock(dev + DEV_LOCK)
  const due = serve(dev, now, service_time(dev, opcode) + extra)
  if (shared) unlock(dev + DEV_LOCK)
  return due
}

/** A command was executed: it is posted now, or when its time is over. */
export function end_entry(dev: u32, dsq: u32, dcq: u32, sqe: u32, status: u32, now: u64): void {
  const cdw0 = load<u32>(sqe, SQE_CDW0)
  if (load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED) {
    fifo_insert(dsq, service_due(dev, now, 0, cdw0 & 0xff), cdw0 >> 16, status)
  } else dev_post(dsq, dcq, cdw0 >> 16, status, 0, load<u32>(dev, DEV_WHERE))
}

/** The same under a fault. */
export function end_faulty(dev: u32, dsq: u32, dcq: u32, sqe: u32, fault: u32, status: u32, now: u64): void {
  const cdw0 = load<u32>(sqe, SQE_CDW0)
  const action = load<u32>(fault, FLT_ACTION)
  const value = load<u64>(fault, FLT_VALUE)
  const cid = action == FAULT_BAD_CID ? (cdw0 >> 16) ^ (<u32>value & 0xffff) : cdw0 >> 16
  const entry = action == FAULT_BAD_PHASE ? status | OLD_PHASE : status
  const delay: u64 = action == FAULT_DELAY ? value : 0
  let copies = action == FAULT_DUPLICATE ? 2 : 1
  if (load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED || delay) {
    const due = service_due(dev, now, delay, cdw0 & 0xff)
    while (copies-- && load<u32>(dsq, DSQ_FIFO_COUNT) < load<u32>(dsq, DSQ_ENTRIES)) fifo_insert(dsq, due, cid, entry)
  } else while (copies-- && cq_has_room(dcq)) dev_post(dsq, dcq, cid, entry, 0, load<u32>(dev, DEV_WHERE))
}
