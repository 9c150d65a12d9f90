// pblk's rate limiter: how much of the ring users and the garbage collector may have. drivers/lightnvm/pblk-rl.c of Linux
// 4.19.
//
//   f = free chunks                         users                              collector
//   f >= high, no line with a write error   all                                0, off unless forced
//   f >= high, some                         all but a small share              the share
//   f < high                                (f >> (high_pw - windows)) << 6    the rest
//   f <= reserve                            0                                  all
//
// The share of users is 0 also above the reserve where the ring is small. They have a window then, once nothing is left that
// could be collected (is_stuck).
//
// Counts of entries in the ring fall when an entry leaves it (its L2P moves on), not when it is persisted. `rb_space`
// counts down once a line could not be had, so that what is left can be written and nothing more.

import { PB_RL_STAMP } from '../../../assembly/layout.js'
import { jiffies_to_msecs, msecs_to_jiffies } from '../../kernel/time.js'
import { del_timer, mod_timer, timer_setup } from '../../kernel/timer.js'
import { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave } from '../../kernel/trace.js'
import { waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import { NVM_IO_ERR, NVM_IO_OK, NVM_IO_REQUEUE } from './lightnvm.js'
import {
  PBLK_MAX_REQ_ADDRS,
  PBLK_RL_HIGH,
  PBLK_RL_LOW,
  PBLK_RL_OFF,
  PBLK_RL_WERR,
  type pblk,
  type pblk_line,
  type pblk_rl,
} from './pblk.js'
import { pblk_gc_should_start, pblk_gc_should_stop } from './pblk-gc-start.js'

/** How long a user's write keeps the collector's share low. */
const USER_ACTIVE_MS = 5000

export function pblk_rl_is_limit(rl: pblk_rl): boolean {
  return rl.rb_space === 0
}

/**
 * Whether users would wait for ever: they are given nothing, and there is nothing that the collector could free. That comes of
 * chunks that grow bad. In 4.19 they do wait (quirks); here they have a window as long as more is free than the reserve.
 */
function is_stuck({ rl, gc, l_mg, quirks }: pblk): boolean {
  if (rl.rb_user_max > 0 || rl.rb_user_cnt >= PBLK_MAX_REQ_ADDRS || quirks) return false
  if (rl.free_user_blocks <= rl.rsv_blocks || gc.in_hand > 0 || l_mg.pending.length > 0)
    return false
  const { gc_werr_list, gc_high_list, gc_mid_list, gc_low_list, gc_full_list } = l_mg
  const lists = [gc_werr_list, gc_high_list, gc_mid_list, gc_low_list, gc_full_list]
  return lists.every(list => list.size === 0)
}

/** Whether a user's write of `n` sectors may go on. */
export function pblk_rl_user_may_insert(pblk: pblk, n: number): number {
  const t = enter(pblk.k, 'pblk_rl_user_may_insert')
  const { rl } = pblk
  if (rl.rb_space >= 0 && rl.rb_space < n) return leave(pblk.k, t, NVM_IO_ERR)
  const full = rl.rb_user_cnt >= rl.rb_user_max && !is_stuck(pblk)
  return leave(pblk.k, t, full ? NVM_IO_REQUEUE : NVM_IO_OK)
}

export function pblk_rl_inserted(pblk: pblk, n: number): void {
  const t = enter(pblk.k, 'pblk_rl_inserted')
  if (pblk.rl.rb_space >= 0) pblk.rl.rb_space -= n
  leave(pblk.k, t)
}

/** Whether the collector may insert: above its share only while no user writes. */
export function pblk_rl_gc_may_insert(pblk: pblk): boolean {
  const { rl } = pblk
  return !(rl.rb_gc_cnt >= rl.rb_gc_max && rl.rb_user_active)
}

export function pblk_rl_user_in(pblk: pblk, n: number): void {
  const t = enter(pblk.k, 'pblk_rl_user_in')
  const { rl } = pblk
  rl.rb_user_cnt += n
  rl.rb_user_active = true
  pblk_rl_user_timer(pblk)
  leave(pblk.k, t)
}

/** Users have written just now. */
export function pblk_rl_user_timer(pblk: pblk): void {
  const { k, u_timer, shared } = pblk
  if (u_timer !== null) mod_timer(u_timer, k.jiffies + msecs_to_jiffies(k, USER_ACTIVE_MS))
  shared.put(PB_RL_STAMP, k.jiffies)
}

export function pblk_rl_gc_in(pblk: pblk, n: number): void {
  pblk.rl.rb_gc_cnt += n
}

/** Entries have left the ring. */
export function pblk_rl_out(pblk: pblk, users: number, gc: number): void {
  pblk.rl.rb_user_cnt -= users
  pblk.rl.rb_gc_cnt -= gc
}

/** Windows of 64 entries for so many free chunks below the mark. */
function low_window(rl: pblk_rl, free: number): number {
  const shift = rl.high_pw - rl.rb_windows_pw
  const windows = shift >= 0 ? free >> shift : free << -shift
  return Math.min(windows * PBLK_MAX_REQ_ADDRS, rl.rb_budget)
}

function __pblk_rl_update_rates(pblk: pblk, free: number): void {
  const { rl } = pblk
  const max = rl.rb_budget
  if (free >= rl.high) {
    if (rl.werr_lines > 0) {
      rl.rb_gc_max = 1 << rl.rb_windows_pw
      rl.rb_user_max = max - rl.rb_gc_max
      rl.rb_state = PBLK_RL_WERR
    } else {
      rl.rb_user_max = max
      rl.rb_gc_max = 0
      rl.rb_state = PBLK_RL_OFF
    }
  } else {
    rl.rb_user_max = free <= rl.rsv_blocks ? 0 : low_window(rl, free)
    rl.rb_gc_max = max - rl.rb_user_max
    rl.rb_state = PBLK_RL_LOW
  }
  if (rl.rb_state !== PBLK_RL_OFF) pblk_gc_should_start(pblk)
  else pblk_gc_should_stop(pblk)
  if (waitqueue_active(pblk.space)) wake_up_all(pblk.space)
}

export function pblk_rl_nr_free_blks(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rl_nr_free_blks')
  return leave(pblk.k, t, pblk.rl.free_blocks)
}

export function pblk_rl_high_thrs(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rl_high_thrs')
  return leave(pblk.k, t, pblk.rl.high)
}

export function pblk_rl_update_rates(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_rl_update_rates')
  __pblk_rl_update_rates(pblk, pblk.rl.free_user_blocks)
  leave(pblk.k, t)
}

/** A line is free. */
export function pblk_rl_free_lines_inc(pblk: pblk, line: pblk_line): void {
  const t = enter(pblk.k, 'pblk_rl_free_lines_inc')
  pblk.rl.free_blocks += line.blk_in_line
  pblk.rl.free_user_blocks += line.blk_in_line
  __pblk_rl_update_rates(pblk, pblk.rl.free_user_blocks)
  leave(pblk.k, t)
}

/** A line is taken; `used`: for data. */
export function pblk_rl_free_lines_dec(pblk: pblk, line: pblk_line, used: boolean): void {
  const t = enter(pblk.k, 'pblk_rl_free_lines_dec')
  const { rl } = pblk
  rl.free_blocks -= line.blk_in_line
  if (used) rl.free_user_blocks -= line.blk_in_line
  __pblk_rl_update_rates(pblk, rl.free_user_blocks)
  leave(pblk.k, t)
}

export function pblk_rl_werr_line_in(pblk: pblk): void {
  pblk.rl.werr_lines++
  pblk_rl_update_rates(pblk)
}

export function pblk_rl_werr_line_out(pblk: pblk): void {
  pblk.rl.werr_lines--
  pblk_rl_update_rates(pblk)
}

export function pblk_rl_max_io(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_rl_max_io')
  return leave(pblk.k, t, pblk.rl.rb_max_io)
}

/** No user has written for a while. */
function pblk_rl_u_timer(timer: timer_list<pblk>): void {
  const { rl, space } = timer.container
  rl.rb_user_active = false
  wake_up_all(space)
}

export function pblk_rl_free(pblk: pblk): void {
  if (pblk.u_timer !== null) del_timer(pblk.u_timer)
}

/** ceil(log2(n)); n from 1. */
export function get_count_order(n: number): number {
  return n <= 1 ? 0 : 32 - Math.clz32(n - 1)
}

/**
 * The limiter of a new instance, for a ring of `budget` entries. Its marks come from the spare space: `op_blks` chunks, of
 * which `blk_meta` go to metadata.
 */
export function pblk_rl_init(pblk: pblk, budget: number, op_blks: number, blk_meta: number): void {
  const t = enter(pblk.k, 'pblk_rl_init')
  const { rl, lm } = pblk
  rl.high = (op_blks - blk_meta - lm.blk_per_line) >>> 0
  rl.high_pw = get_count_order(rl.high)
  rl.rsv_blocks = lm.blk_per_line
  rl.rb_windows_pw = get_count_order(budget / PBLK_MAX_REQ_ADDRS)
  rl.rb_budget = budget
  // what is not a whole write unit stays in the ring until more comes: a part must fit beside it
  const room = budget - pblk.rwb.back_thres - pblk.geo.ws_opt
  rl.rb_max_io = Math.min(budget / 2, room)
  rl.rb_user_max = budget
  rl.rb_gc_max = 0
  rl.rb_state = PBLK_RL_HIGH
  rl.rb_space = -1
  pblk.u_timer = new timer_list(pblk.k, pblk)
  timer_setup(pblk.u_timer, pblk_rl_u_timer)
  leave(pblk.k, t)
}

/** Milliseconds until users count as inactive, for what the instance tells of itself. */
export function pblk_rl_active_ms(pblk: pblk): number {
  const { u_timer, rl } = pblk
  if (!rl.rb_user_active || u_timer === null) return 0
  return jiffies_to_msecs(pblk.k, Math.max(0, u_timer.expires - pblk.k.jiffies))
}
