// null_blk, a disk without hardware: drivers/block/null_blk_main.c of Linux 4.19, the way of a command.
//
//   null_queue_rq     multi-queue mode: starts the request, asks for faults, handles the command
//   null_queue_bio    bio mode: a command of the CPU's queue, no request, no merging, no timeout
//   null_handle_cmd   bandwidth, bad blocks, data, zones, then the end of the command by irqmode:
//
//     none      ends here, inside queue_rq
//     softirq   blk_mq_complete_request, on the CPU that submitted it (a bio ends here)
//     timer     NULLB_COMPLETION_NS later, each command by a timer of its own
//
// A plain disk, whatever its irqmode, never leaves the core. What a disk may have beyond that (memory, cache, bandwidth,
// bad blocks, zones, faults) is src/drivers/block's: NULLB_FEATURES says when it is asked, by a call in the middle of
// null_handle_cmd.
//
// All timers of a disk run equally long, so that a list in order of arming is a list in order of expiry. A CPU keeps its
// own list for each disk; TypeScript (real time) or the CPU's event (virtual time) looks at its head.
//
// A command of the bio mode is a request slot of the queue's tag set: RQ_BIO, RQ_CPU, RQ_HCTX and the timer's link count.

import {
  BIO_NEXT, BIO_OPF, BIO_SECTOR, BIO_SIZE, BIO_STATUS, CLOCK_REAL, CPU_CLOCK, CPU_INDEX, CPU_NOTAG,
  CPU_NOW, CPU_NULLB, CTX_HCTX, CTX_SIZE, HB_COMPLETED, HC_DRIVER_DATA, HC_Q, HC_QUEUED, HC_TAGS, M_BASE,
  M_COST_COMPLETE, M_COST_IRQ, M_COST_SUBMIT, M_TRACE, M_TRACE_NS, NBT_HEAD, NBT_NEXT, NBT_SIZE, NBT_TAIL, TRACE_TIMED,
  NULL_CMD_AGAIN, NULL_CMD_RESOURCE, NULL_CMD_TAKEN, NULL_IRQ_NONE, NULL_IRQ_SOFTIRQ, NULL_Q_BIO,
  NULLB_COMPLETION_NS, NULLB_F_COMMAND, NULLB_F_FAULTS, NULLB_FEATURES, NULLB_IRQMODE, NULLB_Q,
  NULLB_QUEUE_MODE, NULLB_TIMERS, Q_CTXS, RQ_BIO, RQ_CPU, RQ_DUE_NS, RQ_HCTX, RQ_INTERNAL_TAG,
  RQ_NEXT, RQ_STATUS, RQ_STATUS_FINAL, RQ_TAG,
} from './layout'
import { BLK_QC_T_NONE, BLK_STS_DEV_RESOURCE, BLK_STS_OK, BLK_STS_RESOURCE } from './nvme'
import {
  EV_hrtimer_expire_entry, EV_hrtimer_start, FN_blk_mq_complete_request,
  FN_blk_should_fake_timeout, FN_hrtimer_start_range_ns, FN_null_cmd_timer_expired,
  FN_null_handle_cmd, FN_null_queue_bio, FN_null_queue_rq, FN_null_softirq_done_fn,
} from './trace-names'
import { read_clock, set_now, spend } from './clock'
import { complete_remote, completes_here } from './cq'
import { NEVER, event_cpu_at } from './events'
import { host, hosted } from './host'
import { enter, entered, leave, queue_event, trace_irq_enter, trace_irq_exit } from './trace'
import {
  bio_endio, blk_mq_bio_to_request, blk_mq_end_request, blk_mq_mark_complete, blk_mq_rq_ctx_init,
  blk_mq_start_request,
} from './request'
import { blk_mq_put_tag, blk_mq_get_tag } from './tag'
import { wake_cpu } from './wake'

/** No command is free (bio mode): wait for one and try again. The number of submit.ts. */
const SUBMIT_AGAIN: i32 = -2

/** TypeScript's part of a command, at once: a blk_status_t or NULL_CMD_*. `faults`: only whether it fails on purpose. */
// @ts-ignore: decorator
@external("env", "null_cmd")
declare function null_cmd(cpu: u32, nullb: u32, rq: u32, faults: u32): u32

// ---------------------------------------------------------------- the end of a command

/** end_cmd: the command is over, with a blk_status_t. */
function end_cmd(cpu: u32, nullb: u32, rq: u32, status: u32): void {
  spend(cpu, load<u32>(M_BASE, M_COST_COMPLETE))
  if (load<u32>(nullb, NULLB_QUEUE_MODE) == NULL_Q_BIO) end_bio(cpu, rq, status)
  else blk_mq_end_request(cpu, rq, status)
}

function end_bio(cpu: u32, cmd: u32, status: u32): void {
  const bio = load<u32>(cmd, RQ_BIO)
  store<u32>(cmd, 0, RQ_BIO)
  if (status) store<u32>(bio, status, BIO_STATUS)
  bio_endio(cpu, bio)
  const index = load<u32>(load<u32>(cmd, RQ_CPU), CPU_INDEX)
  blk_mq_put_tag(load<u32>(load<u32>(cmd, RQ_HCTX), HC_TAGS), index, load<u32>(cmd, RQ_TAG))
}

/** null_softirq_done_fn: the second half of blk_mq_complete_request. */
export function null_softirq_done_fn(cpu: u32, nullb: u32, rq: u32, status: u32): void {
  const t = enter(cpu, FN_null_softirq_done_fn)
  end_cmd(cpu, nullb, rq, status)
  leave(cpu, t)
}

/** Hands a command to the CPU that submitted it: complete_done_list of cq.ts ends it there. */
function to_submitter(cpu: u32, rq: u32, status: u32): void {
  store<u32>(rq, status ? RQ_STATUS_FINAL | status : 0, RQ_STATUS)
  complete_remote(cpu, load<u32>(rq, RQ_CPU), rq)
}

/** blk_mq_complete_request: once, and on the CPU that submitted the request. */
export function null_complete_request(cpu: u32, nullb: u32, rq: u32, status: u32): void {
  const t = enter(cpu, FN_blk_mq_complete_request)
  entered(cpu, FN_blk_should_fake_timeout)
  if (blk_mq_mark_complete(rq)) {
    if (hosted() && load<i32>(rq, RQ_INTERNAL_TAG) >= 0) host(cpu, HB_COMPLETED, rq, 0)
    const to = load<u32>(rq, RQ_CPU)
    if (completes_here(cpu, to, rq)) {
      null_softirq_done_fn(cpu, nullb, rq, status)
      if (to != cpu) wake_cpu(to)
    } else to_submitter(cpu, rq, status)
  }
  leave(cpu, t)
}

/**
 * Ends a command on this CPU, whoever submitted it. In real time a bio must end on its own CPU's thread, so that
 * another CPU's command goes there, where Linux would end it here.
 */
function end_here(cpu: u32, nullb: u32, rq: u32, status: u32): void {
  const submitter = load<u32>(rq, RQ_CPU)
  if (submitter != cpu && load<u32>(cpu, CPU_CLOCK) == CLOCK_REAL) {
    to_submitter(cpu, rq, status)
    return
  }
  end_cmd(cpu, nullb, rq, status)
  if (submitter != cpu) wake_cpu(submitter)
}

// ---------------------------------------------------------------- timers

/** null_cmd_end_timer: the command ends NULLB_COMPLETION_NS from now. */
function null_cmd_end_timer(cpu: u32, nullb: u32, rq: u32, status: u32): void {
  const list = load<u32>(nullb, NULLB_TIMERS) + load<u32>(cpu, CPU_INDEX) * NBT_SIZE
  entered(cpu, FN_hrtimer_start_range_ns)
  queue_event(cpu, EV_hrtimer_start, load<u32>(nullb, NULLB_Q), 0)
  const due = read_clock(cpu) + load<u64>(nullb, NULLB_COMPLETION_NS)
  store<u64>(rq, due, RQ_DUE_NS)
  store<u32>(rq, status, RQ_STATUS)
  store<u32>(rq, 0, RQ_NEXT)
  const tail = load<u32>(list, NBT_TAIL)
  if (tail) store<u32>(tail, rq, RQ_NEXT)
  else store<u32>(list, rq, NBT_HEAD)
  store<u32>(list, rq, NBT_TAIL)
  if (load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL) event_cpu_at(cpu, due)
  if (isDefined(TRACE_BUILD)) if (load<u32>(M_BASE, M_TRACE_NS) >= <u32>load<u64>(nullb, NULLB_COMPLETION_NS)) fires_here(cpu, due)
}

/** Where recording a function takes longer than the timer, its interrupt comes before the next one is entered. */
function fires_here(cpu: u32, due: u64): void {
  if ((load<u32>(M_BASE, M_TRACE) | TRACE_TIMED) != (1 | TRACE_TIMED)) return
  store<u64>(cpu, due, CPU_NOW)
  set_now(due)
  null_cmd_timers(cpu)
}

/** null_cmd_timer_expired, for each command of this CPU whose time has come: how many. */
export function null_cmd_timers(cpu: u32): u32 {
  let n: u32 = 0
  const now = read_clock(cpu)
  for (let list = load<u32>(cpu, CPU_NULLB); list; list = load<u32>(list, NBT_NEXT)) {
    while (true) {
      const rq = load<u32>(list, NBT_HEAD)
      if (!rq || load<u64>(rq, RQ_DUE_NS) > now) break
      const next = load<u32>(rq, RQ_NEXT)
      store<u32>(list, next, NBT_HEAD)
      if (!next) store<u32>(list, 0, NBT_TAIL)
      // one interrupt for all that are due
      if (!n++) spend(cpu, load<u32>(M_BASE, M_COST_IRQ))
      const nullb = load<u32>(load<u32>(rq, RQ_HCTX), HC_DRIVER_DATA)
      const before = trace_irq_enter(cpu)
      queue_event(cpu, EV_hrtimer_expire_entry, load<u32>(nullb, NULLB_Q), 0)
      const t = enter(cpu, FN_null_cmd_timer_expired)
      end_here(cpu, nullb, rq, load<u32>(rq, RQ_STATUS))
      leave(cpu, t)
      trace_irq_exit(cpu, before)
    }
  }
  return n
}

/** When the next timer of this CPU fires, NEVER if none runs. */
export function null_next_due(cpu: u32): u64 {
  let when = NEVER
  for (let list = load<u32>(cpu, CPU_NULLB); list; list = load<u32>(list, NBT_NEXT)) {
    const rq = load<u32>(list, NBT_HEAD)
    if (rq) when = min<u64>(when, load<u64>(rq, RQ_DUE_NS))
  }
  return when
}

/** The same for TypeScript, ns; infinity if none runs. */
export function null_deadline(cpu: u32): f64 {
  const when = null_next_due(cpu)
  return when == NEVER ? Infinity : <f64>when
}

/** Takes a command off the list of its timer; false: none runs. For TypeScript, on the thread that armed it. */
export function null_cmd_cancel(cpu: u32, nullb: u32, rq: u32): bool {
  const list = load<u32>(nullb, NULLB_TIMERS) + load<u32>(cpu, CPU_INDEX) * NBT_SIZE
  let before: u32 = 0
  let at = load<u32>(list, NBT_HEAD)
  while (at && at != rq) {
    before = at
    at = load<u32>(at, RQ_NEXT)
  }
  if (!at) return false
  const next = load<u32>(rq, RQ_NEXT)
  if (before) store<u32>(before, next, RQ_NEXT)
  else store<u32>(list, next, NBT_HEAD)
  if (!next) store<u32>(list, before, NBT_TAIL)
  return true
}

// ---------------------------------------------------------------- a command

/** What has to be done for a command, and how it ends: BLK_STS_OK, or BLK_STS_DEV_RESOURCE (not taken). */
function null_handle_cmd(cpu: u32, nullb: u32, rq: u32): u32 {
  const t = enter(cpu, FN_null_handle_cmd)
  const status = handle_cmd(cpu, nullb, rq)
  leave(cpu, t)
  return status
}

// @ts-ignore: decorator
@inline
function handle_cmd(cpu: u32, nullb: u32, rq: u32): u32 {
  let status: u32 = BLK_STS_OK
  if (load<u32>(nullb, NULLB_FEATURES) & NULLB_F_COMMAND) {
    status = null_cmd(cpu, nullb, rq, 0)
    if (status == NULL_CMD_AGAIN) return BLK_STS_DEV_RESOURCE
  }
  const irqmode = load<u32>(nullb, NULLB_IRQMODE)
  if (irqmode == NULL_IRQ_NONE) end_here(cpu, nullb, rq, status)
  else if (irqmode != NULL_IRQ_SOFTIRQ) null_cmd_end_timer(cpu, nullb, rq, status)
  else if (load<u32>(nullb, NULLB_QUEUE_MODE) == NULL_Q_BIO) end_here(cpu, nullb, rq, status)
  else null_complete_request(cpu, nullb, rq, status)
  return BLK_STS_OK
}

/** Takes a request: a blk_status_t. */
export function null_queue_rq(cpu: u32, hctx: u32, rq: u32): u32 {
  const nullb = load<u32>(hctx, HC_DRIVER_DATA)
  const t = enter(cpu, FN_null_queue_rq)
  blk_mq_start_request(cpu, load<u32>(hctx, HC_Q), rq)
  let status: u32 = NULL_CMD_AGAIN
  if (load<u32>(nullb, NULLB_FEATURES) & NULLB_F_FAULTS) {
    const fault = null_cmd(cpu, nullb, rq, 1)
    if (fault == NULL_CMD_RESOURCE) status = BLK_STS_RESOURCE
    if (fault == NULL_CMD_TAKEN) status = BLK_STS_OK
  }
  if (status == NULL_CMD_AGAIN) status = null_handle_cmd(cpu, nullb, rq)
  leave(cpu, t)
  return status
}

/** The make_request of the bio mode: BLK_QC_T_NONE, or SUBMIT_AGAIN when no command is free. */
export function null_queue_bio(cpu: u32, q: u32, bio: u32): i32 {
  const index = load<u32>(cpu, CPU_INDEX)
  const ctx = load<u32>(q, Q_CTXS) + index * CTX_SIZE
  const hctx = load<u32>(ctx, CTX_HCTX)
  const tag = blk_mq_get_tag(hctx, index, 0)
  const t = enter(cpu, FN_null_queue_bio)
  if (tag < 0) {
    store<u64>(cpu, load<u64>(cpu, CPU_NOTAG) + 1, CPU_NOTAG)
    leave(cpu, t)
    return SUBMIT_AGAIN
  }
  const cmd = blk_mq_rq_ctx_init(q, hctx, ctx, cpu, tag, load<u32>(bio, BIO_OPF))
  store<u32>(bio, 0, BIO_NEXT)
  blk_mq_bio_to_request(cmd, bio, load<u64>(bio, BIO_SECTOR), load<u32>(bio, BIO_SIZE))
  store<u64>(hctx, load<u64>(hctx, HC_QUEUED) + 1, HC_QUEUED)
  spend(cpu, load<u32>(M_BASE, M_COST_SUBMIT))
  null_handle_cmd(cpu, load<u32>(hctx, HC_DRIVER_DATA), cmd)
  leave(cpu, t)
  return BLK_QC_T_NONE
}
