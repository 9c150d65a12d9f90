// A device on a thread of its own (where=thread): one call serves all of its queues once.

import {
  DCQ_IRQ, DCQ_PEND, DEV_FAULTS, DEV_MODEL, DEV_NR_SQ, DEV_SQS, DSQ_CQ,
  DSQ_FIFO_COUNT, DSQ_HEAD, DSQ_SIZE, IRQ_CPU, IRQ_WORD, MODEL_FIXED, DCQ_COAL_N,
} from './layout'
import { now_ns } from './clock'
import { dev_run_sq } from './device'
import { dev_coalesce, dev_post_due, dev_sq_tail } from './post'
import { wake_thread } from './wake'

const BURST: u32 = 64
/** Empty rounds before a call returns, so that the thread can be stopped or may sleep. */
const IDLE_ROUNDS: u32 = 500

/** The interrupt of a vector: counted, and the CPU is woken if it sleeps. */
function raise_irq(irq: u32): void {
  atomic.add<u32>(irq, 1, IRQ_WORD)
  wake_thread(load<u32>(irq, IRQ_CPU))
}

/** One queue: what is new, what is due, and the interrupt for it. */
function serve_queue(dsq: u32, clocked: bool): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const busy = load<u32>(dsq, DSQ_FIFO_COUNT) != 0 || load<u32>(dcq, DCQ_PEND) != 0
  if (!busy && dev_sq_tail(dsq) == load<u32>(dsq, DSQ_HEAD)) return 0
  const coalesces = load<u32>(dcq, DCQ_COAL_N) > 1
  const now: u64 = clocked || coalesces ? now_ns() : 0
  const before = load<u32>(dsq, DSQ_FIFO_COUNT)
  const fetched = dev_run_sq(dsq, BURST, now)
  const kept = load<u32>(dsq, DSQ_FIFO_COUNT) - before
  const due: u32 = load<u32>(dsq, DSQ_FIFO_COUNT) ? dev_post_due(dsq, now) : 0
  if (dev_coalesce(dcq, fetched - kept + due, now)) raise_irq(load<u32>(dcq, DCQ_IRQ))
  return fetched + due
}

/** Serves every queue once. Returns entries fetched or posted. */
export function device_run(dev: u32, budget: u32): u32 {
  const clocked = load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED || load<u32>(dev, DEV_FAULTS) != 0
  const end = load<u32>(dev, DEV_SQS) + load<u32>(dev, DEV_NR_SQ) * DSQ_SIZE
  let total: u32 = 0
  let idle: u32 = 0
  while (total < budget && idle < IDLE_ROUNDS) {
    let n: u32 = 0
    for (let dsq = load<u32>(dev, DEV_SQS); dsq < end; dsq += DSQ_SIZE) n += serve_queue(dsq, clocked)
    total += n
    idle = n ? 0 : idle + 1
  }
  return total
}

/** True if a doorbell moved, a command is in service, or an interrupt is held back. */
export function device_pending(dev: u32): bool {
  const end = load<u32>(dev, DEV_SQS) + load<u32>(dev, DEV_NR_SQ) * DSQ_SIZE
  for (let dsq = load<u32>(dev, DEV_SQS); dsq < end; dsq += DSQ_SIZE) {
    if (dev_sq_tail(dsq) != load<u32>(dsq, DSQ_HEAD)) return true
    if (load<u32>(dsq, DSQ_FIFO_COUNT) || load<u32>(load<u32>(dsq, DSQ_CQ), DCQ_PEND)) return true
  }
  return false
}
