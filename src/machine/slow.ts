// The slow half's door: what a CPU's thread does when the core says RUN_SLOW, or when another CPU has put a note into
// its CPU_MAIL.
//
//   1  finished bios of TypeScript's own leave the CPU's ring             handlers.bio
//   2  io_us whose digests are to be checked, then what jobs in
//      JOB_WAIT_HOST wait for                                             handlers.job
//   3  failed requests are retried or ended (drivers/nvme/host/core), flush sequences go on (block/blk-flush), and what
//      waits on the queues of this CPU is issued (block/blk-mq)
//
// The flags are cleared first, so that a note that arrives meanwhile is seen the next time.

import {
  CPU_HCTX,
  CPU_JOB,
  CPU_MAIL,
  CPU_RING,
  CPU_SLOW,
  HC_GATE,
  HC_NEXT_OWNED,
  HC_Q,
  HOST_CHECK,
  JOB_DONE_HEAD,
  JOB_HOST_WHY,
  JOB_NEXT,
  JOB_STATE,
  JOB_WAIT_HOST,
  M_BASE,
  M_JIFFIES,
  Q_TIMER_ARMED,
  Q_TIMER_NEXT,
  RING_BASE,
  RING_HEAD,
  RING_MASK,
  RING_TAIL,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { run_slow_list, finishEndIo } from '../block/slow-list.js'
import { nvme_complete_failed } from '../drivers/nvme/host/core.js'
import type { SlowContext, SlowHandlers } from './config.js'
import type { HostKernel } from './host-kernel.js'

/** True when something waits for serviceSlow. */
export function slowPending(view: View, cpu: number): boolean {
  if (view.u32(cpu + CPU_SLOW) !== 0) return true
  // asked all the time: atomically, which is a call, only when there is mail to be read after it
  return view.u32(cpu + CPU_MAIL) !== 0 && view.load(cpu + CPU_MAIL) !== 0
}

/** The jobs of a CPU, in the order in which they were linked. */
export function* jobsOf(view: View, cpu: number): Generator<number> {
  for (let job = view.u32(cpu + CPU_JOB); job; job = view.u32(job + JOB_NEXT)) yield job
}

/** The hardware queues that a CPU owns. */
export function* queuesOwned(view: View, cpu: number): Generator<number> {
  for (let hctx = view.u32(cpu + CPU_HCTX); hctx; hctx = view.u32(hctx + HC_NEXT_OWNED)) yield hctx
}

/**
 * Does everything that waits for TypeScript on this CPU.
 * @throws Error when something waits that no handler takes
 */
export function serviceSlow(
  context: SlowContext,
  handlers: SlowHandlers,
  host: HostKernel | null = null,
): void {
  const { view, cpu } = context
  view.setU32(cpu + CPU_SLOW, 0)
  view.store(cpu + CPU_MAIL, 0)
  drainRing(context, handlers)
  for (const job of jobsOf(view, cpu)) {
    if (view.u32(job + JOB_DONE_HEAD)) askJob(context, handlers, job, HOST_CHECK)
    if (view.load(job + JOB_STATE) === JOB_WAIT_HOST)
      askJob(context, handlers, job, view.u32(job + JOB_HOST_WHY))
  }
  if (!host) serviceBlock(context)
}

function askJob(context: SlowContext, handlers: SlowHandlers, job: number, why: number): void {
  if (!handlers.job) throw new Error(`CPU ${context.index}: nobody serves host request ${why}`)
  handlers.job(context, job, why)
}

function drainRing(context: SlowContext, handlers: SlowHandlers): void {
  const { view, cpu } = context
  const ring = view.u32(cpu + CPU_RING)
  const base = view.u32(ring + RING_BASE)
  const mask = view.u32(ring + RING_MASK)
  for (;;) {
    const head = view.u32(ring + RING_HEAD)
    if (head === view.u32(ring + RING_TAIL)) return
    if (!handlers.bio) throw new Error(`CPU ${context.index}: nobody takes finished bios`)
    view.setU32(ring + RING_HEAD, head + 1)
    handlers.bio(context, view.u32(base + (head & mask) * 4))
  }
}

/** The block layer's turn: requests that failed, ended, or wait on the queues of this CPU. */
function serviceBlock(context: SlowContext): void {
  const { view, cpu } = context
  nvme_complete_failed(context)
  finishEndIo(context, rq => {
    throw new Error(`CPU ${context.index}: nobody takes the end of request ${rq}`)
  })
  for (const hctx of queuesOwned(view, cpu)) {
    if (view.load(hctx + HC_GATE)) run_slow_list(context, hctx)
    armTimer(view, view.u32(hctx + HC_Q))
  }
}

/** The rolling timer of a queue is noted as running; requests are not expired yet. */
function armTimer(view: View, q: number): void {
  if (view.load(q + Q_TIMER_ARMED)) return
  view.store(q + Q_TIMER_NEXT, view.load(M_BASE + M_JIFFIES))
  view.store(q + Q_TIMER_ARMED, 1)
}
