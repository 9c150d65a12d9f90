// pblk's requests, L2P and LUNs: the lower half of drivers/lightnvm/pblk-core.c of Linux 4.19. Lines are pblk-core-line.ts.
//
//   pblk_alloc_rqd, pblk_submit_io(_sync)   commands to the device
//   pblk_down_rq, pblk_up_rq                one write in flight for each LUN
//   pblk_update_map_*                       who may store what into the L2P table, and what becomes invalid
//
//   cache   a ring entry: always
//   gc      a ring entry of the collector: only if the lba still means the sector that was read
//   dev     the media, when an entry leaves the ring: only if the lba still means that entry

import {
  PB_KICK_STAMP,
  PB_WATCH,
  PB_WRITER_SLEEPS,
  PBW_CORE,
  PBW_TASK,
} from '../../../assembly/layout.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { mod_timer } from '../../kernel/timer.js'
import { enter, leave } from '../../kernel/trace.js'
import { wait_event, waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import { wake_up_process } from '../../kernel/task.js'
import { down_timeout, up } from '../../kernel/semaphore.js'
import { test_and_set_bit } from './bitmap.js'
import { nvm_dev_dma_alloc, nvm_dev_dma_free, nvm_submit_io, nvm_submit_io_sync } from './core.js'
import {
  NVM_IO_SCRAMBLE_ENABLE,
  NVM_IO_SUSPEND,
  NVM_OP_ERASE,
  NVM_OP_PWRITE,
  NVM_RSP_ERR_INVALIDRESET,
  NVM_RSP_ERR_OUTOFORDER,
  nvm_rq,
  ppa_chk,
  ppa_of,
  ppa_sec,
} from './lightnvm.js'
import {
  ADDR_EMPTY,
  PBLK_COMMAND_TIMEOUT_MS,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_CORRUPT,
  type pblk,
  type pblk_line,
  pblk_addr_in_cache,
  pblk_ppa_empty,
  pblk_ppa_to_pos,
  pblk_t_line,
  pblk_t_paddr,
} from './pblk.js'
import { move_to, pblk_line_gc_list } from './pblk-line-list.js'

// ---------------------------------------------------------------- requests

/** A request from the pool. */
export function pblk_alloc_rqd(pblk: pblk): nvm_rq {
  const t = enter(pblk.k, 'pblk_alloc_rqd')
  const rqd = pblk.rqds.pop() ?? new nvm_rq()
  rqd.error = 0
  rqd.ppa_status_low = 0
  rqd.ppa_status_high = 0
  rqd.flags = 0
  rqd.dma = 0
  rqd.private = null
  return leave(pblk.k, t, rqd)
}

/** Memory for a request's out-of-band data and address list. */
export function pblk_alloc_dma(pblk: pblk, rqd: nvm_rq): void {
  rqd.dma = nvm_dev_dma_alloc(pblk.dev.parent)
}

export function pblk_free_rqd(pblk: pblk, rqd: nvm_rq): void {
  const t = enter(pblk.k, 'pblk_free_rqd')
  if (rqd.dma !== 0) nvm_dev_dma_free(pblk.dev.parent, rqd.dma)
  rqd.dma = 0
  rqd.end_io = null
  rqd.bio_end_io = null
  rqd.private = null
  pblk.rqds.push(rqd)
  leave(pblk.k, t)
}

/** Flags of 1.2: plane mode. `plane`: the request covers whole pages over all planes. */
export function pblk_set_progr_mode(pblk: pblk, plane: boolean): number {
  if (pblk.geo.version !== 12 || !plane) return 0
  return pblk.geo.pln_mode >> 1
}

export function pblk_set_read_mode(pblk: pblk, n: number): number {
  if (pblk.geo.version !== 12) return 0
  const whole = n % pblk.min_write_pgs === 0
  return NVM_IO_SUSPEND | NVM_IO_SCRAMBLE_ENABLE | pblk_set_progr_mode(pblk, whole)
}

export function pblk_set_write_mode(pblk: pblk): number {
  if (pblk.geo.version !== 12) return 0
  return NVM_IO_SCRAMBLE_ENABLE | pblk_set_progr_mode(pblk, true)
}

/** Gives a request to the device. 0 or a negative error. */
export function pblk_submit_io(pblk: pblk, rqd: nvm_rq): number {
  const t = enter(pblk.k, 'pblk_submit_io')
  pblk.inflight_io++
  const failed = nvm_submit_io(pblk.dev, rqd)
  if (failed !== 0) pblk_io_over(pblk)
  return leave(pblk.k, t, failed)
}

/** A request of pblk_submit_io has ended. */
export function pblk_io_over(pblk: pblk): void {
  pblk.inflight_io--
  if (waitqueue_active(pblk.io_wait)) wake_up_all(pblk.io_wait)
}

export function* pblk_submit_io_sync(pblk: pblk, rqd: nvm_rq): Sleep<number> {
  pblk.inflight_io++
  const failed = yield* nvm_submit_io_sync(pblk.dev, rqd)
  pblk_was_done(pblk, rqd)
  pblk_io_over(pblk)
  return failed
}

/** Waits until nothing is in flight. */
export function* pblk_wait_for_io(pblk: pblk): Sleep<void> {
  pblk.shared.watch(PB_WATCH, 1)
  yield* wait_event(pblk.io_wait, () => pblk.inflight_io === 0)
  pblk.shared.watch(PB_WATCH, -1)
}

export function pblk_log_write_err(pblk: pblk, rqd: nvm_rq): void {
  pblk.write_failed++
  printk(
    pblk.k,
    'err',
    `pblk ${pblk.name}: write of ${rqd.nr_ppas} sectors failed: ${hex(rqd.error)}`,
  )
}

export function hex(status: number): string {
  return `0x${status.toString(16)}`
}

/** Sectors of the next write, of `avail` in the ring and `flush` that must go now. */
export function pblk_calc_secs(pblk: pblk, avail: number, flush: number): number {
  const t = enter(pblk.k, 'pblk_calc_secs')
  const { min_write_pgs: min, sec_per_write: max } = pblk
  let secs = 0
  if (avail >= max) secs = max
  else if (avail >= min) secs = min * Math.floor(avail / min)
  else if (flush > 0) secs = min
  return leave(pblk.k, t, secs)
}

/** Sectors of the largest write from now on. The core's half knows one write unit only: more is for the writer's task. */
export function pblk_set_sec_per_write(pblk: pblk, n: number): void {
  const t = enter(pblk.k, 'pblk_set_sec_per_write')
  const { shared } = pblk
  pblk.sec_per_write = n
  if (shared.peek(PB_WRITER_SLEEPS) === PBW_CORE) shared.put(PB_WRITER_SLEEPS, PBW_TASK)
  leave(pblk.k, t)
}

// ---------------------------------------------------------------- LUNs

function* __pblk_down_page(pblk: pblk, ppa: number): Sleep<void> {
  const lun = pblk.luns[pblk_ppa_to_pos(pblk, ppa)]
  const limit = msecs_to_jiffies(pblk.k, PBLK_COMMAND_TIMEOUT_MS)
  if (!(yield* down_timeout(lun.wr_sem, limit)))
    printk(pblk.k, 'err', `pblk ${pblk.name}: taking lun semaphore timed out`)
}

/** Takes the LUN of a request that has one. */
export function* pblk_down_page(pblk: pblk, ppa: number): Sleep<void> {
  const t = enter(pblk.k, 'pblk_down_page')
  yield* __pblk_down_page(pblk, ppa)
  leave(pblk.k, t)
}

/** Takes a LUN for a request that may have it already. */
export function* pblk_down_rq(pblk: pblk, ppa: number, lun_bitmap: Uint8Array): Sleep<void> {
  const t = enter(pblk.k, 'pblk_down_rq')
  const pos = pblk_ppa_to_pos(pblk, ppa)
  if (lun_bitmap[pos] === 0) {
    lun_bitmap[pos] = 1
    yield* __pblk_down_page(pblk, ppa)
  }
  leave(pblk.k, t)
}

export function pblk_up_page(pblk: pblk, ppa: number): void {
  const t = enter(pblk.k, 'pblk_up_page')
  up(pblk.luns[pblk_ppa_to_pos(pblk, ppa)].wr_sem)
  leave(pblk.k, t)
}

export function pblk_up_rq(pblk: pblk, lun_bitmap: Uint8Array): void {
  const t = enter(pblk.k, 'pblk_up_rq')
  for (let pos = 0; pos < lun_bitmap.length; pos++) {
    if (lun_bitmap[pos] === 0) continue
    lun_bitmap[pos] = 0
    up(pblk.luns[pos].wr_sem)
  }
  leave(pblk.k, t)
}

/**
 * A write that was sent again, because a reset of the controller had taken it away, finds that it was carried out the first
 * time: its places are written. In 4.19 that is a failure, the chunk is given up, and what the device cannot read back of it
 * yet is lost.
 */
export function pblk_was_done(pblk: pblk, rqd: nvm_rq): void {
  if (!rqd.again || pblk.quirks) return
  if (rqd.opcode === NVM_OP_PWRITE && rqd.error === NVM_RSP_ERR_OUTOFORDER) no_failure(rqd)
}

function no_failure(rqd: nvm_rq): void {
  rqd.error = 0
  rqd.ppa_status_low = 0
  rqd.ppa_status_high = 0
}

/**
 * The same of an erase says less: the chunk is free since the first time, or its reset has failed now. Erasing it once more
 * tells which (pblk_erase_told): a chunk that is free answers the same, one that has failed that it is gone.
 */
export function pblk_erase_in_doubt(pblk: pblk, rqd: nvm_rq): boolean {
  return rqd.again && !pblk.quirks && rqd.error === NVM_RSP_ERR_INVALIDRESET
}

export function pblk_erase_told(rqd: nvm_rq): void {
  if (rqd.error === NVM_RSP_ERR_INVALIDRESET) no_failure(rqd)
}

/** Remembers how far the chunks of a write that went well are written. */
export function pblk_note_done(pblk: pblk, rqd: nvm_rq): void {
  for (let i = 0; i < rqd.nr_ppas; i++) {
    const ppa = rqd.ppa_list[i]
    const line = pblk.lines[ppa_chk(ppa)]
    const pos = pblk_ppa_to_pos(pblk, ppa)
    const sec = ppa_sec(ppa) + 1
    if (line.done[pos] < sec) line.done[pos] = sec
  }
}

/** The device's address of the chunk of a LUN in a line. */
export function pblk_chunk_ppa(pblk: pblk, pos: number, line: number): number {
  const { ch, lun } = pblk.luns[pos]
  return ppa_of(ch, lun, line, 0)
}

// ---------------------------------------------------------------- L2P

export function pblk_trans_map_get(pblk: pblk, lba: number): number {
  return pblk.trans_map[lba]
}

export function pblk_trans_map_set(pblk: pblk, lba: number, t: number): void {
  pblk.trans_map[lba] = t
}

/** A sector of a line holds nothing any more. */
export function __pblk_map_invalidate(pblk: pblk, line: pblk_line, paddr: number): void {
  const t = enter(pblk.k, '__pblk_map_invalidate')
  if (!test_and_set_bit(line.invalid_bitmap!, paddr)) {
    line.vsc--
    if (line.state === PBLK_LINESTATE_CLOSED) move_to(line, pblk_line_gc_list(pblk, line))
  }
  leave(pblk.k, t)
}

export function pblk_map_invalidate(pblk: pblk, at: number): void {
  const t = enter(pblk.k, 'pblk_map_invalidate')
  __pblk_map_invalidate(pblk, pblk_t_line(pblk, at), pblk_t_paddr(pblk, at))
  leave(pblk.k, t)
}

/** Whether an lba is one of this instance's; a line in the log if it is not. */
function known(pblk: pblk, lba: number): boolean {
  if (lba < pblk.rl.nr_secs) return true
  printk(pblk.k, 'warn', `pblk ${pblk.name}: corrupted L2P map request of lba ${lba}`)
  return false
}

/** The lba means something else: what it meant on the media is invalid. */
export function pblk_update_map(pblk: pblk, lba: number, at: number): void {
  const t = enter(pblk.k, 'pblk_update_map')
  if (known(pblk, lba)) {
    const old = pblk.trans_map[lba]
    if (!pblk_addr_in_cache(pblk, old) && !pblk_ppa_empty(pblk, old)) pblk_map_invalidate(pblk, old)
    pblk.trans_map[lba] = at
  }
  leave(pblk.k, t)
}

export function pblk_update_map_cache(pblk: pblk, lba: number, at: number): void {
  const t = enter(pblk.k, 'pblk_update_map_cache')
  pblk_update_map(pblk, lba, at)
  leave(pblk.k, t)
}

/** The collector's copy of a sector is in the ring. False if the lba has come to mean something else. */
export function pblk_update_map_gc(
  pblk: pblk,
  lba: number,
  at: number,
  line: pblk_line,
  paddr: number,
): boolean {
  const t = enter(pblk.k, 'pblk_update_map_gc')
  const old = known(pblk, lba) ? pblk.trans_map[lba] : pblk.addr_empty
  const same =
    !pblk_addr_in_cache(pblk, old) &&
    !pblk_ppa_empty(pblk, old) &&
    pblk_t_line(pblk, old) === line &&
    pblk_t_paddr(pblk, old) === paddr
  if (same) {
    pblk.trans_map[lba] = at
    __pblk_map_invalidate(pblk, line, paddr)
  }
  return leave(pblk.k, t, same)
}

/** A ring entry gives way to its place on the media. */
export function pblk_update_map_dev(pblk: pblk, lba: number, mapped: number, entry: number): void {
  const t = enter(pblk.k, 'pblk_update_map_dev')
  if (lba === ADDR_EMPTY) {
    pblk.pad_wa++
    if (!pblk_ppa_empty(pblk, mapped)) pblk_map_invalidate(pblk, mapped)
  } else if (known(pblk, lba)) {
    if (pblk.trans_map[lba] === entry) pblk.trans_map[lba] = mapped
    else if (!pblk_ppa_empty(pblk, mapped)) pblk_map_invalidate(pblk, mapped)
  }
  leave(pblk.k, t)
}

/** Looks `n` sectors up; each one on the media holds its line. */
export function pblk_lookup_l2p_seq(pblk: pblk, ts: Float64Array, lba: number, n: number): void {
  const t = enter(pblk.k, 'pblk_lookup_l2p_seq')
  for (let i = 0; i < n; i++) {
    const at = pblk.trans_map[lba + i]
    ts[i] = at
    if (at < pblk.cached_base) pblk_t_line(pblk, at).ref++
  }
  leave(pblk.k, t)
}

/** What a range of lbas held is given up. Nothing is sent to the device. */
export function pblk_invalidate_range(pblk: pblk, lba: number, n: number): void {
  for (let i = lba; i < Math.min(lba + n, pblk.rl.nr_secs); i++) {
    const at = pblk.trans_map[i]
    if (at < pblk.cached_base) pblk_map_invalidate(pblk, at)
    pblk.trans_map[i] = pblk.addr_empty
  }
}

// ---------------------------------------------------------------- erase

/** Prepares the erase of one chunk. */
export function pblk_setup_e_rq(pblk: pblk, rqd: nvm_rq, ppa: number): void {
  rqd.opcode = NVM_OP_ERASE
  rqd.ppa_list[0] = ppa
  rqd.nr_ppas = 1
  rqd.flags = pblk_set_progr_mode(pblk, true)
}

export function pblk_line_corrupt(pblk: pblk, line: pblk_line): void {
  line.state = PBLK_LINESTATE_CORRUPT
  printk(pblk.k, 'err', `pblk ${pblk.name}: corrupted vsc for line ${line.id}, vsc:${line.vsc}`)
}

// ---------------------------------------------------------------- the writer's alarm

const WRITER_TIMER_MS = 1000

/** Wakes the writer, now and again later. */
export function pblk_wake_writer(pblk: pblk): void {
  const { k, shared } = pblk
  if (pblk.writer_ts !== null) wake_up_process(pblk.writer_ts)
  mod_timer(pblk.wtimer!, k.jiffies + msecs_to_jiffies(k, WRITER_TIMER_MS))
  shared.put(PB_WRITER_SLEEPS, 0)
  shared.put(PB_KICK_STAMP, k.jiffies)
}

export function pblk_write_kick(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_write_kick')
  pblk_wake_writer(pblk)
  leave(pblk.k, t)
}
