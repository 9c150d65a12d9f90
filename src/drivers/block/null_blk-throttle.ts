// The bandwidth limit of null_blk (mbps): drivers/block/null_blk_main.c of Linux 4.19.
//
// A budget of bytes for each tick of 20 ms, mb_per_tick. Each request takes its bytes off; the first that makes the
// budget negative stops the queues and is put back. The timer fills the budget up and starts the queues again; after a
// tick in which nothing was taken it stops. Unused budget is lost, and so is the debt of the refused request.
//
// hrtimer_restart re-uses the expiry of the last tick: after an idle time that lies in the past, the timer fires at once,
// and the first request after it costs nothing, because it has been taken off already when the budget is filled.

import {
  CLOCK_MONOTONIC,
  HRTIMER_MODE_REL,
  HRTIMER_NORESTART,
  HRTIMER_RESTART,
  hrtimer,
  hrtimer_active,
  hrtimer_cancel,
  hrtimer_forward_now,
  hrtimer_init,
  type HrtimerKernel,
  hrtimer_restart,
  hrtimer_start,
} from '../../kernel/hrtimer.js'
import { enter, leave } from '../../kernel/trace.js'
import { TICKS_PER_SEC, TIMER_INTERVAL } from './null_blk-options.js'

/** Bytes of a tick: of a megabyte (2^20) a second, rounded down before it is multiplied. */
export function mb_per_tick(mbps: number): number {
  return Math.floor((1 << 20) / TICKS_PER_SEC) * mbps
}

/** What a throttled disk does to its queues. */
export interface ThrottledQueues {
  /** blk_mq_stop_hw_queues, or blk_stop_queue. */
  stop(): void
  /** blk_mq_start_stopped_hw_queues(async), or blk_start_queue_async. */
  restart_async(): void
}

/** Budget and timer of one disk. */
export class nullb_throttle {
  readonly k: HrtimerKernel
  readonly queues: ThrottledQueues
  readonly mbps: number
  readonly bw_timer: hrtimer<nullb_throttle>
  /** Bytes left in this tick. */
  cur_bytes: number

  constructor(k: HrtimerKernel, mbps: number, queues: ThrottledQueues) {
    this.k = k
    this.mbps = mbps
    this.queues = queues
    this.cur_bytes = mb_per_tick(mbps)
    this.bw_timer = new hrtimer<nullb_throttle>(k, this)
  }
}

function nullb_bwtimer_fn(timer: hrtimer<nullb_throttle>): number {
  const nullb = timer.container
  const t = enter(nullb.k, 'nullb_bwtimer_fn')
  const budget = mb_per_tick(nullb.mbps)
  if (nullb.cur_bytes === budget) return leave(nullb.k, t, HRTIMER_NORESTART)
  nullb.cur_bytes = budget
  null_restart_queue_async(nullb)
  hrtimer_forward_now(timer, TIMER_INTERVAL)
  return leave(nullb.k, t, HRTIMER_RESTART)
}

export function null_restart_queue_async(nullb: nullb_throttle): void {
  const t = enter(nullb.k, 'null_restart_queue_async')
  nullb.queues.restart_async()
  leave(nullb.k, t)
}

/** Fills the budget and starts the timer. */
export function nullb_setup_bwtimer(nullb: nullb_throttle): void {
  hrtimer_init(nullb.bw_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL)
  nullb.bw_timer.function = nullb_bwtimer_fn
  nullb.cur_bytes = mb_per_tick(nullb.mbps)
  hrtimer_start(nullb.bw_timer, TIMER_INTERVAL, HRTIMER_MODE_REL)
}

/**
 * Takes a request's bytes off the budget.
 * @returns false: it does not fit, the queues are stopped, and the request goes back
 */
export function null_throttle(nullb: nullb_throttle, bytes: number): boolean {
  if (!hrtimer_active(nullb.bw_timer)) hrtimer_restart(nullb.bw_timer)
  nullb.cur_bytes -= bytes
  if (nullb.cur_bytes >= 0) return true
  nullb.queues.stop()
  // the timer may have run meanwhile
  if (nullb.cur_bytes > 0) null_restart_queue_async(nullb)
  return false
}

/** Deleting the disk: the budget is endless and nobody waits any more. */
export function null_del_throttle(nullb: nullb_throttle): void {
  hrtimer_cancel(nullb.bw_timer)
  nullb.cur_bytes = Number.MAX_SAFE_INTEGER
  null_restart_queue_async(nullb)
}
