// pblk's garbage collector: drivers/lightnvm/pblk-gc.c of Linux 4.19.
//
//   pblk_gc_ts          every second, or when kicked: frees full lines, picks victims while there is need
//   pblk_gc_reader_ts   a work for each victim: its list of lbas, its valid sectors cut into requests
//   (works)             a request: sectors that the L2P still means are read
//   pblk_gc_writer_ts   puts what was read into the ring, when limiter and ring let it
//
// Victims come from the lists werr (0), high (1), mid (2), low (3), the line with the fewest valid sectors first; a list
// counts only while the limiter's state is above its number, and after one that gave a victim no other is looked at.
//
// A line with entries of the ring that have not left it is no victim: the collector would pass over what only they mean, and
// the line would be freed with it. In 4.19 it is one (quirks=4.19); here the entries leave the ring first.
//
// Four lines may be read at once. In 4.19 that is all: a line of few sectors is read soon, and the collector takes the next
// one, until it has all lines in hand, whatever is still valid in them. Here four is the limit until a victim is free.
//
// A sector that cannot be read keeps its line: it is closed again (4.19 frees it, data and all).

import { PB_GC_WANTS } from '../../../assembly/layout.js'
import { printk, type Sleep, TASK_INTERRUPTIBLE } from '../../kernel/core.js'
import { semaphore, down, up } from '../../kernel/semaphore.js'
import {
  io_schedule,
  kthread_create,
  kthread_should_stop,
  kthread_stop,
  set_current_state,
} from '../../kernel/task.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { del_timer_sync, mod_timer, timer_setup } from '../../kernel/timer.js'
import { schedule_timeout_uninterruptible } from '../../kernel/timer-sleep.js'
import { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave } from '../../kernel/trace.js'
import { wait_event_timeout } from '../../kernel/wait.js'
import { alloc_workqueue, destroy_workqueue } from '../../kernel/workqueue-alloc.js'
import { flush_workqueue } from '../../kernel/workqueue-flush.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { WQ_MEM_RECLAIM, WQ_UNBOUND, work_struct } from '../../kernel/workqueue-structs.js'
import { find_next_zero_bit } from './bitmap.js'
import { SECTOR_BYTES } from './lightnvm.js'
import {
  ADDR_EMPTY,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_GC,
  type pblk,
  type pblk_gc,
  type pblk_gc_rq,
  type pblk_line,
} from './pblk.js'
import { pblk_write_should_kick } from './pblk-cache.js'
import { pblk_write_kick } from './pblk-core.js'
import { pblk_gc_kick, pblk_gc_reader_kick, pblk_gc_writer_kick } from './pblk-gc-start.js'
import { pblk_line_put } from './pblk-line-free.js'
import { pblk_line_read_emeta } from './pblk-line-io.js'
import { take_off } from './pblk-line-list.js'
import { emeta_lbas, emeta_len, read_emeta } from './pblk-meta.js'
import { pblk_submit_read_gc } from './pblk-read.js'
import {
  pblk_rb_gc_room,
  pblk_rb_may_write_gc,
  pblk_rb_relieve,
  pblk_rb_wrap_pos,
  pblk_rb_write_entry_gc,
} from './pblk-rb.js'
import { pblk_rl_high_thrs, pblk_rl_nr_free_blks, pblk_rl_update_rates } from './pblk-rl.js'

const GC_TIME_MSECS = 1000
const PBLK_GC_L_QD = 4
const PBLK_GC_RQ_QD = 128
const PBLK_GC_MAX_READERS = 8
/** Whoever waits for room looks again after a while, whatever happens. */
const LOOK_AGAIN_MS = 100

// ---------------------------------------------------------------- a victim's sectors

interface line_ws {
  readonly pblk: pblk
  readonly line: pblk_line
}

interface rq_ws {
  readonly pblk: pblk
  readonly gc_rq: pblk_gc_rq
}

/** Memory of any request: all of one size, so that pieces fit again. */
function data_bytes(pblk: pblk): number {
  return pblk.max_write_pgs * SECTOR_BYTES
}

function free_gc_rq(pblk: pblk, gc_rq: pblk_gc_rq): void {
  if (gc_rq.data !== 0) pblk.memory.free(gc_rq.data, data_bytes(pblk))
  gc_rq.data = 0
}

/** A request is over, whatever became of it. */
function gc_rq_over(pblk: pblk, gc_rq: pblk_gc_rq): void {
  free_gc_rq(pblk, gc_rq)
  pblk.gc.pipeline--
  pblk_line_put(pblk, gc_rq.line)
}

/** Reads one request and hands it to the writer. */
function* pblk_gc_line_ws(work: work_struct<rq_ws>): Sleep<void> {
  const { pblk, gc_rq } = work.container
  const { gc } = pblk
  up(gc.gc_sem)
  gc_rq.data = pblk.memory.alloc(data_bytes(pblk))
  const error = yield* pblk_submit_read_gc(pblk, gc_rq)
  if (error !== 0 && !pblk.quirks) gc_rq.line.gc_failed = true
  if (error !== 0 || gc_rq.secs_to_gc === 0) {
    gc_rq_over(pblk, gc_rq)
    return
  }
  while (gc.w_entries >= PBLK_GC_RQ_QD) {
    pblk_gc_writer_kick(pblk)
    yield* schedule_timeout_uninterruptible(pblk.k, 1)
  }
  gc.w_entries++
  gc.w_list.push(gc_rq)
  pblk_gc_writer_kick(pblk)
}

/** A closed line's list of lbas: from memory if it is there, else from the media. */
function* lba_list_of(pblk: pblk, line: pblk_line): Sleep<((paddr: number) => number) | null> {
  const kept = line.lba_list
  if (kept !== null) return paddr => kept[paddr]
  const buf = pblk.memory.alloc(emeta_len(pblk))
  const error = yield* pblk_line_read_emeta(pblk, line, buf)
  let list: Float64Array | null = null
  if (error === 0 && read_emeta(pblk, buf) !== null) list = emeta_lbas(pblk, buf, line.emeta_ssec)
  else printk(pblk.k, 'err', `pblk ${pblk.name}: line ${line.id} cannot be collected: no emeta`)
  pblk.memory.free(buf, emeta_len(pblk))
  return list === null ? null : paddr => list[paddr]
}

/**
 * Sectors of a collector's request. What the ring must keep for the device to read back leaves no room for more than
 * rb_max_io at once: a request of 64 would wait for ever where a ring of 256 keeps 192 (quirks=4.19 keeps none).
 */
function pblk_gc_rq_secs(pblk: pblk): number {
  return Math.min(pblk.max_write_pgs, pblk.rl.rb_max_io)
}

function new_gc_rq(pblk: pblk, line: pblk_line): pblk_gc_rq {
  return {
    line,
    nr_secs: 0,
    secs_to_gc: 0,
    paddr_list: new Float64Array(pblk.max_write_pgs),
    lba_list: new Float64Array(pblk.max_write_pgs),
    data: 0,
  }
}

/** Cuts a victim into requests. */
function* pblk_gc_line_prepare_ws(work: work_struct<line_ws>): Sleep<void> {
  const { pblk, line } = work.container
  const { gc } = pblk
  const list = yield* lba_list_of(pblk, line)
  if (list === null) line.gc_failed = true
  else {
    const invalid = line.invalid_bitmap!.slice()
    const most = pblk_gc_rq_secs(pblk)
    for (let bit = -1; ; ) {
      const gc_rq = new_gc_rq(pblk, line)
      while (gc_rq.nr_secs < most) {
        bit = find_next_zero_bit(invalid, pblk.lm.sec_per_line, bit + 1)
        if (bit >= line.emeta_ssec) break
        gc_rq.paddr_list[gc_rq.nr_secs] = bit
        gc_rq.lba_list[gc_rq.nr_secs++] = list(bit)
      }
      if (gc_rq.nr_secs === 0) break
      yield* down(gc.gc_sem)
      line.ref++
      gc.pipeline++
      const rq_work = new work_struct<rq_ws>(pblk.k, { pblk, gc_rq })
      INIT_WORK(rq_work, pblk_gc_line_ws)
      queue_work(gc.gc_line_reader_wq!, rq_work)
    }
  }
  pblk_line_put(pblk, line)
  gc.read_inflight_gc--
  gc.pipeline--
  pblk_gc_kick(pblk)
}

// ---------------------------------------------------------------- threads

function pblk_gc_read(pblk: pblk): boolean {
  const line = pblk.gc.r_list.shift()
  if (line === undefined) return false
  pblk.gc.pipeline++
  const work = new work_struct<line_ws>(pblk.k, { pblk, line })
  INIT_WORK(work, pblk_gc_line_prepare_ws)
  queue_work(pblk.gc.gc_reader_wq!, work)
  return true
}

/** Into the ring, as soon as there is room. */
function* pblk_write_gc_to_cache(pblk: pblk, gc_rq: pblk_gc_rq): Sleep<void> {
  const t = enter(pblk.k, 'pblk_write_gc_to_cache')
  const n = gc_rq.secs_to_gc
  let pos = pblk_rb_may_write_gc(pblk, n)
  while (pos < 0 && !pblk.failed && !pblk.gc_stop) {
    if (pblk.want_meta) pblk_write_kick(pblk)
    const { synced } = pblk.rwb
    const { rb_gc_max, rb_gc_cnt, rb_user_active } = pblk.rl
    pblk.shared.put(PB_GC_WANTS, n)
    yield* wait_event_timeout(
      pblk.space,
      () =>
        pblk.failed ||
        pblk.gc_stop ||
        (pblk_rb_gc_room(pblk, n) &&
          (pblk.rwb.synced !== synced ||
            pblk.rl.rb_gc_max !== rb_gc_max ||
            pblk.rl.rb_gc_cnt !== rb_gc_cnt ||
            pblk.rl.rb_user_active !== rb_user_active)),
      msecs_to_jiffies(pblk.k, LOOK_AGAIN_MS),
    )
    pblk.shared.put(PB_GC_WANTS, 0)
    pos = pblk_rb_may_write_gc(pblk, n)
  }
  if (pos >= 0) {
    let valid = 0
    for (let i = 0; i < gc_rq.nr_secs; i++) {
      const lba = gc_rq.lba_list[i]
      if (lba === ADDR_EMPTY) continue
      const from = gc_rq.data + valid * SECTOR_BYTES
      const at = pblk_rb_wrap_pos(pblk, pos + valid)
      pblk_rb_write_entry_gc(pblk, at, from, lba, gc_rq.line, gc_rq.paddr_list[i])
      valid++
    }
    pblk.gc_wa += valid
    pblk_write_should_kick(pblk)
  } else gc_rq.line.gc_failed = true
  leave(pblk.k, t)
}

function* pblk_gc_write(pblk: pblk): Sleep<boolean> {
  const { gc } = pblk
  const list = gc.w_list.splice(0)
  gc.w_entries = 0
  for (const gc_rq of list) {
    yield* pblk_write_gc_to_cache(pblk, gc_rq)
    gc_rq_over(pblk, gc_rq)
  }
  return list.length > 0
}

function* pblk_gc_reader_ts(pblk: pblk): Sleep<void> {
  while (!kthread_should_stop(pblk.k)) {
    const t = enter(pblk.k, 'pblk_gc_reader_ts')
    const more = pblk_gc_read(pblk)
    leave(pblk.k, t)
    if (more) continue
    set_current_state(pblk.k, TASK_INTERRUPTIBLE)
    yield* io_schedule(pblk.k, 'lines to collect')
  }
}

function* pblk_gc_writer_ts(pblk: pblk): Sleep<void> {
  while (!kthread_should_stop(pblk.k) || pblk.gc.w_list.length > 0) {
    const t = enter(pblk.k, 'pblk_gc_writer_ts')
    const more = yield* pblk_gc_write(pblk)
    leave(pblk.k, t)
    if (more) continue
    set_current_state(pblk.k, TASK_INTERRUPTIBLE)
    yield* io_schedule(pblk.k, 'sectors to move')
  }
}

/** Lines without anything valid need no reading. */
export function pblk_gc_free_full_lines(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_gc_free_full_lines')
  for (const line of pblk.l_mg.gc_full_list) {
    line.state = PBLK_LINESTATE_GC
    take_off(line)
    pblk_line_put(pblk, line)
  }
  leave(pblk.k, t)
}

function pblk_gc_should_run(pblk: pblk): boolean {
  const need = pblk_rl_high_thrs(pblk)
  const free = pblk_rl_nr_free_blks(pblk)
  return pblk.rl.werr_lines > 0 || (pblk.gc.gc_active && need > free)
}

/** Enough victims: as many are being read, or (quirks=4.19 does not look) on their way to be free. */
function hands_full({ gc, quirks }: pblk): boolean {
  return (quirks ? gc.read_inflight_gc : gc.in_hand) >= PBLK_GC_L_QD
}

/** The line of a list with the fewest valid sectors. */
function pblk_gc_get_victim_line(pblk: pblk, list: Set<pblk_line>): pblk_line | null {
  let victim: pblk_line | null = null
  for (const line of list) {
    if (!pblk.quirks && line.sec_to_update > 0) continue
    if (victim === null || line.vsc < victim.vsc) victim = line
  }
  return victim
}

/** Takes victims of one list while there is need. @returns whether there was one */
function victims_of(pblk: pblk, list: Set<pblk_line>): boolean {
  const { gc } = pblk
  let any = false
  for (;;) {
    const line = pblk_gc_get_victim_line(pblk, list)
    if (line === null) return any
    line.state = PBLK_LINESTATE_GC
    take_off(line)
    gc.r_list.push(line)
    gc.read_inflight_gc++
    gc.in_hand++
    line.victim = true
    pblk_gc_reader_kick(pblk)
    any = true
    if (!pblk_gc_should_run(pblk) || hands_full(pblk)) return any
  }
}

/** Frees full lines, then picks victims if there is need. */
function pblk_gc_run(pblk: pblk): void {
  const { l_mg, rl } = pblk
  pblk_gc_free_full_lines(pblk)
  if (!pblk_gc_should_run(pblk) || hands_full(pblk)) return
  if (!pblk.quirks) pblk_rb_relieve(pblk)
  const lists = [l_mg.gc_werr_list, l_mg.gc_high_list, l_mg.gc_mid_list, l_mg.gc_low_list]
  for (const [group, list] of lists.entries()) {
    if (group > 0 && rl.rb_state <= group) return
    if (victims_of(pblk, list)) return
  }
}

function* pblk_gc_ts(pblk: pblk): Sleep<void> {
  while (!kthread_should_stop(pblk.k)) {
    const t = enter(pblk.k, 'pblk_gc_ts')
    if (!pblk.gc_stop) pblk_gc_run(pblk)
    leave(pblk.k, t)
    set_current_state(pblk.k, TASK_INTERRUPTIBLE)
    yield* io_schedule(pblk.k, 'need of lines')
  }
}

function pblk_gc_timer(timer: timer_list<pblk>): void {
  const pblk = timer.container
  const t = enter(pblk.k, 'pblk_gc_timer')
  pblk_gc_kick(pblk)
  mod_timer(timer, pblk.k.jiffies + msecs_to_jiffies(pblk.k, GC_TIME_MSECS))
  leave(pblk.k, t)
}

// ---------------------------------------------------------------- life

/** The collector of an instance that is being made: not running yet. */
export function pblk_gc_new(pblk: pblk): pblk_gc {
  return {
    gc_enabled: false,
    gc_active: false,
    gc_forced: false,
    read_inflight_gc: 0,
    in_hand: 0,
    r_list: [],
    w_list: [],
    w_entries: 0,
    gc_sem: new semaphore(pblk.k, PBLK_GC_RQ_QD, 'gc_sem'),
    gc_ts: null,
    gc_writer_ts: null,
    gc_reader_ts: null,
    gc_timer: null,
    gc_line_reader_wq: null,
    gc_reader_wq: null,
    pipeline: 0,
  }
}

/** Threads, timer, workqueues. */
export function pblk_gc_init(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_gc_init')
  const { gc, k } = pblk
  gc.gc_ts = kthread_create(k, () => pblk_gc_ts(pblk), 'pblk-gc-ts')
  gc.gc_writer_ts = kthread_create(k, () => pblk_gc_writer_ts(pblk), 'pblk-gc-writer-ts')
  gc.gc_reader_ts = kthread_create(k, () => pblk_gc_reader_ts(pblk), 'pblk-gc-reader-ts')
  gc.gc_timer = new timer_list(k, pblk)
  timer_setup(gc.gc_timer, pblk_gc_timer)
  mod_timer(gc.gc_timer, k.jiffies + msecs_to_jiffies(k, GC_TIME_MSECS))
  const flags = WQ_MEM_RECLAIM | WQ_UNBOUND
  gc.gc_line_reader_wq = alloc_workqueue(k, 'pblk-gc-line-reader-wq', flags, PBLK_GC_MAX_READERS)
  gc.gc_reader_wq = alloc_workqueue(k, 'pblk-gc-line_wq', flags, 1)
  gc.gc_enabled = true
  leave(k, t)
}

/** Once the instance is there: does the collector have work already? */
export function pblk_gc_should_kick(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_gc_should_kick')
  pblk_rl_update_rates(pblk)
  leave(pblk.k, t)
}

/** The collector ends: what it has in hand goes back to its line. */
export function* pblk_gc_exit(pblk: pblk): Sleep<void> {
  const t = enter(pblk.k, 'pblk_gc_exit')
  const { gc } = pblk
  gc.gc_enabled = false
  gc.gc_active = false
  pblk.gc_stop = true
  del_timer_sync(gc.gc_timer!)
  pblk_gc_kick(pblk)
  for (const task of [gc.gc_ts, gc.gc_reader_ts]) if (task !== null) yield* kthread_stop(task)
  for (const line of gc.r_list.splice(0)) {
    line.state = PBLK_LINESTATE_CLOSED
    gc.read_inflight_gc--
    gc.in_hand--
    line.victim = false
  }
  yield* flush_workqueue(gc.gc_reader_wq!)
  yield* flush_workqueue(gc.gc_line_reader_wq!)
  yield* destroy_workqueue(gc.gc_reader_wq!)
  yield* destroy_workqueue(gc.gc_line_reader_wq!)
  if (gc.gc_writer_ts !== null) yield* kthread_stop(gc.gc_writer_ts)
  leave(pblk.k, t)
}

/** What gc_state says. */
export function pblk_gc_sysfs_state_show({ gc }: pblk): Pick<pblk_gc, 'gc_enabled' | 'gc_active'> {
  return gc
}

/** gc_force: 1 collects come what may, 0 no more; another number changes nothing. */
export function pblk_gc_sysfs_force(pblk: pblk, force: number): void {
  const { gc } = pblk
  if (force === 1) {
    gc.gc_forced = true
    gc.gc_enabled = true
    gc.gc_active = true
    pblk_gc_kick(pblk)
  } else if (force === 0) {
    gc.gc_forced = false
    gc.gc_enabled = false
    gc.gc_active = false
  }
}
