// Real time on one thread for all CPUs: a machine with an emulated kernel, whose objects cannot be shared by threads.
//
// CPUs and devices are actors of the same event loop as in virtual time (virtual.ts); only the clock differs. An event is
// handled when the host's clock has reached it, late by as much as the thread was busy, and work takes the time that it takes.
// A turn of a CPU is one event: it takes its completions, ends I/Os, and fills its jobs up to their depth, then the next one
// has its turn. A device on a thread of its own has no event: its interrupts are looked for between the events.

import {
  DCQ_IEN, DCQ_NQ, DEV_NR_SQ, DEV_SIZE, DEV_SQS, DEV_WHERE, DSQ_CQ, DSQ_SIZE, EV_TIME, IRQ_WORD, M_BASE, M_DEVS, M_EVENTS, M_NR_DEVS,
  NQ_IRQ, NQ_IRQ_SEEN, RUN_IDLE, RUN_MORE, RUN_TIMER,
} from './layout'
import { now_ns, set_now } from './clock'
import { nvme_cqe_pending } from './cq'
import { NEVER, event_first, event_time } from './events'
import { GO_ON, after_host, handle_event, signal_host } from './virtual'

/** Events before the limit is heeded: also a kernel whose timers are always due lets its CPUs work. */
const LEAST: u32 = 16
/** Events between two looks at devices with threads. */
const LOOK: u32 = 8

/** Whether the controller's thread has called for the completion queue since the last look. */
function called(dcq: u32): bool {
  const nq = load<u32>(dcq, DCQ_NQ)
  if (!load<u32>(dcq, DCQ_IEN)) return nvme_cqe_pending(nq)
  const raised = atomic.load<u32>(load<u32>(nq, NQ_IRQ), IRQ_WORD)
  if (raised == load<u32>(nq, NQ_IRQ_SEEN)) return false
  store<u32>(nq, raised, NQ_IRQ_SEEN)
  return true
}

/** Interrupts and polled completions of devices with threads of their own become events. */
export function look_at_threads(now: f64): void {
  const devs = load<u32>(M_BASE, M_DEVS)
  const end = devs + load<u32>(M_BASE, M_NR_DEVS) * DEV_SIZE
  for (let dev = devs; dev < end; dev += DEV_SIZE) {
    if (!load<u32>(dev, DEV_WHERE)) continue
    const first = load<u32>(dev, DEV_SQS)
    const last = first + load<u32>(dev, DEV_NR_SQ) * DSQ_SIZE
    for (let dsq = first; dsq < last; dsq += DSQ_SIZE) {
      const dcq = load<u32>(dsq, DSQ_CQ)
      if (called(dcq)) signal_host(dcq, <u64>now)
    }
  }
}

/** When the next event is due, ns; infinity = there is none. */
export function shared_deadline(): f64 {
  const due = event_time(load<u32>(M_BASE, M_EVENTS))
  return due == NEVER ? Infinity : <f64>due
}

/**
 * Handles events that the clock has reached, until `budget` of them are done, none is due, or the clock is past `until`
 * (ns). Returns RUN_* (layout.ts).
 */
export function shared_run(budget: u32, until: f64): i32 {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const limit: u64 = until >= 1.8e19 ? NEVER : <u64>until
  after_host(evq)
  for (let n: u32 = 0; n < budget; n++) {
    const now = now_ns()
    set_now(now)
    if (n >= LEAST && now >= limit) return RUN_TIMER
    if (!(n & (LOOK - 1))) look_at_threads(<f64>now)
    const event = event_first(evq)
    if (!event) return RUN_IDLE
    if (load<u64>(event, EV_TIME) > now) return RUN_TIMER
    const end = handle_event(evq, event, now)
    if (end != GO_ON) return end
  }
  return RUN_MORE
}
