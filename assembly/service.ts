// From an executed command to its completion: at once, or when a unit of a timed medium is done with it.

import { DEV_LOCK, DEV_MODEL, DEV_SHARED, DEV_WHERE, MODEL_FIXED, MODEL_NAND } from './layout'
import { SQE_CDW0 } from './nvme'
import { lock, unlock } from './lock'
import { serve, service_time } from './media'
import { nand_due } from './nand'
import { dev_post, fifo_insert } from './post'

/** When a unit of the medium is done with a command that it is given now. */
// @ts-ignore: decorator
@inline
export function service_due(dev: u32, now: u64, extra: u64, opcode: u32): u64 {
  const shared = load<u32>(dev, DEV_SHARED)
  if (shared) lock(dev + DEV_LOCK)
  const due = serve(dev, now, service_time(dev, opcode) + extra)
  if (shared) unlock(dev + DEV_LOCK)
  return due
}

/** The same of flash, which looks at the command; one that failed needs no flash. */
function flash_due(dev: u32, sqe: u32, status: u32, now: u64, delay: u64): u64 {
  if (status) return now + delay
  const shared = load<u32>(dev, DEV_SHARED)
  if (shared) lock(dev + DEV_LOCK)
  const due = nand_due(dev, sqe, now)
  if (shared) unlock(dev + DEV_LOCK)
  return due + delay
}

/** When a timed medium is done with a command that was executed now. */
// @ts-ignore: decorator
@inline
export function due_of(dev: u32, model: u32, sqe: u32, status: u32, now: u64, delay: u64): u64 {
  if (model == MODEL_NAND) return flash_due(dev, sqe, status, now, delay)
  return service_due(dev, now, delay, load<u32>(sqe, SQE_CDW0) & 0xff)
}

/** A command was executed: it is posted now, or when its time is over. */
// @ts-ignore: decorator
@inline
export function end_entry(dev: u32, dsq: u32, dcq: u32, sqe: u32, status: u32, now: u64, delay: u64): void {
  const cid = load<u16>(sqe, SQE_CDW0 + 2)
  const model = load<u32>(dev, DEV_MODEL)
  if (model >= <u32>MODEL_FIXED || delay) fifo_insert(dsq, due_of(dev, model, sqe, status, now, delay), cid, status)
  else dev_post(dsq, dcq, cid, status, 0, load<u32>(dev, DEV_WHERE))
}
