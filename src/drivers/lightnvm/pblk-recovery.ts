// pblk's recovery: what was written before. drivers/lightnvm/pblk-recovery.c of Linux 4.19.
//
//   1  every line whose first good chunk is written says in its smeta whose it is and when it was begun
//   2  in that order: a line with emeta replays its list of lbas, one without is read sector by sector, out-of-band data
//      only counting; what comes later overrides
//   3  the newest line, if it has room, stays the open one
//
// After a loss of power the LUNs of a line are written to different rows, and the last sectors of an open chunk cannot be
// read (mw_cunits). On a device of revision 2.0 the chunk log says how far each chunk is written. Its open chunks are padded
// to a common row, and further until everything before can be read; chunks of lines that are not written any more are
// padded to their end, because an open chunk cannot be reset. A device of revision 1.2 has no log: each chunk is read until
// the first page that is empty.
//
// Different from 4.19: there the scan of a 2.0 device never ends, and padding goes by the number of LUNs. A line that was
// being erased when power was lost counts as an old line; what it still holds is overridden by later lines.

import { printk, type Sleep } from '../../kernel/core.js'
import { EINVAL } from '../../kernel/errno.js'
import { enter, leave } from '../../kernel/trace.js'
import { set_bit, test_bit } from './bitmap.js'
import { NVM_CHK_ST_FREE, NVM_CHK_ST_OPEN, NVM_OP_PREAD, NVM_RSP_WARN_HIGHECC } from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  oob_lba,
  PBLK_LINEGC_NONE,
  PBLK_LINESTATE_BAD,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_OPEN,
  PBLK_LINETYPE_DATA,
  type pblk,
  type pblk_line,
  pblk_paddr_of,
  pblk_paddr_pos,
  pblk_paddr_sec,
  pblk_t_of,
} from './pblk.js'
import {
  __pblk_map_invalidate,
  pblk_alloc_dma,
  pblk_alloc_rqd,
  pblk_free_rqd,
  pblk_set_read_mode,
  pblk_submit_io_sync,
  pblk_update_map,
} from './pblk-core.js'
import {
  pblk_line_alloc_bitmaps,
  pblk_line_mark_bitmaps,
  pblk_line_setup_metadata,
} from './pblk-core-line.js'
import { pblk_line_read_emeta, pblk_line_read_smeta } from './pblk-line-io.js'
import { move_to, pblk_line_gc_list, take_off } from './pblk-line-list.js'
import {
  begin_emeta,
  type emeta_facts,
  emeta_lba,
  emeta_len,
  read_emeta,
  read_smeta,
  set_emeta_lba,
  SMETA_VERSION,
  smeta_len,
} from './pblk-meta.js'
import { pblk_pad_chunk } from './pblk-pad.js'
import { pblk_rl_free_lines_dec } from './pblk-rl.js'

/** What recovery found: the open line, or null; a negative error. */
export type recovered = { readonly found: number; readonly open: pblk_line | null } | number

function good_chunks(line: pblk_line): number[] {
  return [...line.blk_bitmap.keys()].filter(pos => line.blk_bitmap[pos] === 0)
}

// ---------------------------------------------------------------- open chunks of a 2.0 device

function is_open(line: pblk_line, pos: number): boolean {
  return line.blk_bitmap[pos] === 0 && line.chk_state[pos] === NVM_CHK_ST_OPEN
}

function has_open_chunk(line: pblk_line): boolean {
  return good_chunks(line).some(pos => is_open(line, pos))
}

/** Pads a chunk up to a sector; a chunk that fails is closed. */
function* pad_to(pblk: pblk, line: pblk_line, pos: number, to: number): Sleep<void> {
  const from = line.done[pos]
  if (from >= to) return
  const ok = yield* pblk_pad_chunk(pblk, line, pos, from, to)
  line.done[pos] = ok ? to : pblk.geo.clba
  line.written[pos] = 1
  line.chk_state[pos] = line.done[pos] >= pblk.geo.clba ? 0 : NVM_CHK_ST_OPEN
}

/** The row up to which a line's chunks must be written so that all that they hold can be read. */
function front(pblk: pblk, line: pblk_line): number {
  const { ws_opt, clba } = pblk.geo
  const behind = pblk.geo.version === 20 ? Math.ceil(pblk.geo.mw_cunits / ws_opt) : 0
  let rows = 0
  for (const pos of good_chunks(line))
    if (line.chk_wp[pos] < clba) rows = Math.max(rows, Math.ceil(line.chk_wp[pos] / ws_opt))
  return Math.min((rows + behind) * ws_opt, clba)
}

/** Makes what open chunks hold readable. */
function* pad_open(pblk: pblk, line: pblk_line, to: number): Sleep<void> {
  for (const pos of good_chunks(line)) if (is_open(line, pos)) yield* pad_to(pblk, line, pos, to)
}

// ---------------------------------------------------------------- the lines there are

/** Reads a line's smeta; true if the line is this instance's. -EINVAL: it is of another version. */
function* pblk_recov_check_line(pblk: pblk, line: pblk_line, buf: number): Sleep<boolean | number> {
  if (pblk.geo.version === 20 && line.written[line.blk_bitmap.indexOf(0)] === 0) return false
  if ((yield* pblk_line_read_smeta(pblk, line, buf)) !== 0) return false
  const facts = read_smeta(pblk, buf)
  if (facts === null || facts.id !== line.id) return false
  if (facts.major !== SMETA_VERSION[0]) {
    printk(pblk.k, 'err', `pblk ${pblk.name}: smeta of version ${facts.major} is not known`)
    return -EINVAL
  }
  if (!pblk.has_uuid) {
    pblk.instance_uuid = facts.uuid
    pblk.has_uuid = true
  } else if (!facts.uuid.every((byte, i) => byte === pblk.instance_uuid[i])) return false
  line.seq_nr = facts.seq_nr
  line.type = facts.type
  return true
}

/** All lines that belong to the instance, oldest first. */
function* find_lines(pblk: pblk): Sleep<pblk_line[] | number> {
  const buf = pblk.memory.alloc(smeta_len(pblk))
  const found: pblk_line[] = []
  let failed = 0
  for (const line of pblk.lines) {
    if (line.state === PBLK_LINESTATE_BAD || failed !== 0) continue
    if (has_open_chunk(line)) yield* pad_open(pblk, line, front(pblk, line))
    const mine = yield* pblk_recov_check_line(pblk, line, buf)
    if (typeof mine === 'number') failed = mine
    else if (mine) found.push(line)
    else yield* pad_open(pblk, line, pblk.geo.clba)
  }
  pblk.memory.free(buf, smeta_len(pblk))
  return failed !== 0 ? failed : found.sort((a, b) => a.seq_nr - b.seq_nr)
}

// ---------------------------------------------------------------- one line

/** A line is in use again. */
function adopt(pblk: pblk, line: pblk_line): void {
  take_off(line)
  pblk.l_mg.nr_free_lines--
  pblk_line_alloc_bitmaps(pblk, line)
  pblk_line_mark_bitmaps(pblk, line)
  line.state = PBLK_LINESTATE_OPEN
  line.ref = 1
  line.erase_bitmap.fill(1)
  line.left_eblks = 0
  line.left_seblks = 0
  line.meta_distance = pblk.lm.meta_distance
  pblk_rl_free_lines_dec(pblk, line, true)
}

function close(pblk: pblk, line: pblk_line): void {
  line.state = PBLK_LINESTATE_CLOSED
  line.gc_group = PBLK_LINEGC_NONE
  line.left_msecs = 0
  line.free_map()
  move_to(line, pblk_line_gc_list(pblk, line))
}

/** One sector of a line, as its metadata or its out-of-band data have it. */
function replay(pblk: pblk, line: pblk_line, paddr: number, lba: number): void {
  if (lba === ADDR_EMPTY || lba >= pblk.rl.nr_secs) {
    __pblk_map_invalidate(pblk, line, paddr)
    return
  }
  line.nr_valid_lbas++
  pblk_update_map(pblk, lba, pblk_t_of(pblk, line.id, paddr))
}

/** Replays a line's list of lbas. */
function pblk_recov_l2p_from_emeta(pblk: pblk, line: pblk_line, buf: number): void {
  const t = enter(pblk.k, 'pblk_recov_l2p_from_emeta')
  for (let paddr = 0; paddr < line.emeta_ssec; paddr++)
    if (!test_bit(line.map_bitmap!, paddr)) replay(pblk, line, paddr, emeta_lba(pblk, buf, paddr))
  leave(pblk.k, t)
}

/** Emeta, if the line is full and has it. */
function* emeta_of(pblk: pblk, line: pblk_line, buf: number): Sleep<emeta_facts | null> {
  const full = pblk.geo.version === 12 || good_chunks(line).every(pos => closed(pblk, line, pos))
  if (!full || (yield* pblk_line_read_emeta(pblk, line, buf)) !== 0) return null
  const facts = read_emeta(pblk, buf)
  return facts?.seq_nr === line.seq_nr ? facts : null
}

function closed(pblk: pblk, line: pblk_line, pos: number): boolean {
  const state = line.chk_state[pos]
  if (state === NVM_CHK_ST_OPEN || state === NVM_CHK_ST_FREE)
    return line.chk_wp[pos] >= pblk.geo.clba
  return true
}

/** The out-of-band lba of places of a line; `failed`, where they cannot be read. */
function* read_oob(
  pblk: pblk,
  line: pblk_line,
  paddrs: readonly number[],
  scratch: number,
): Sleep<{ readonly error: number; readonly lbas: number[] }> {
  const rqd = pblk_alloc_rqd(pblk)
  pblk_alloc_dma(pblk, rqd)
  for (const [i, paddr] of paddrs.entries()) {
    rqd.ppa_list[i] = addr_to_gen_ppa(pblk, paddr, line.id)
    rqd.pages[i] = scratch + i * pblk.geo.csecs
  }
  rqd.opcode = NVM_OP_PREAD
  rqd.nr_ppas = paddrs.length
  rqd.flags = pblk_set_read_mode(pblk, rqd.nr_ppas)
  const failed = yield* pblk_submit_io_sync(pblk, rqd)
  const error = failed !== 0 ? failed : rqd.error === NVM_RSP_WARN_HIGHECC ? 0 : rqd.error
  const lbas = paddrs.map((_, i) => oob_lba(pblk, rqd, i))
  pblk_free_rqd(pblk, rqd)
  return { error, lbas }
}

/** How far each chunk of a 1.2 device's line is written: until a page is empty. */
function* probe_rows(pblk: pblk, line: pblk_line, scratch: number): Sleep<void> {
  const { ws_opt, clba } = pblk.geo
  for (const pos of good_chunks(line)) {
    let sec = 0
    for (; sec < clba; sec += ws_opt) {
      const unit = Array.from({ length: ws_opt }, (_, i) => pblk_paddr_of(pblk, pos, sec + i))
      if ((yield* read_oob(pblk, line, unit, scratch)).error !== 0) break
    }
    line.chk_wp[pos] = sec
    line.done[pos] = sec
  }
}

/** Whether a place was written before the loss of power. */
function was_written(pblk: pblk, line: pblk_line, paddr: number): boolean {
  const pos = pblk_paddr_pos(pblk, paddr)
  return line.written[pos] !== 0 && pblk_paddr_sec(pblk, paddr) < line.chk_wp[pos]
}

/** Reads what a line holds and replays it. `keep` gets the lba of each place. */
function* pblk_recov_scan_oob(
  pblk: pblk,
  line: pblk_line,
  scratch: number,
  keep: (paddr: number, lba: number) => void,
): Sleep<void> {
  const t = enter(pblk.k, 'pblk_recov_scan_oob')
  const unit = pblk.geo.ws_opt
  for (let from = 0; from < line.emeta_ssec; from += unit) {
    if (test_bit(line.map_bitmap!, from)) continue
    const all = Array.from({ length: unit }, (_, i) => from + i)
    const there = all.filter(paddr => was_written(pblk, line, paddr))
    if (there.length === 0) continue
    const { error, lbas } = yield* read_oob(pblk, line, there, scratch)
    if (error !== 0)
      printk(pblk.k, 'err', `pblk ${pblk.name}: recovery cannot read line ${line.id}`)
    for (const [i, paddr] of there.entries()) {
      const lba = error === 0 ? lbas[i] : ADDR_EMPTY
      keep(paddr, lba)
      replay(pblk, line, paddr, lba)
    }
  }
  leave(pblk.k, t)
}

/** Everything of a line that was not written holds nothing, up to a place. */
function drop_unwritten(pblk: pblk, line: pblk_line, to: number): void {
  for (let paddr = 0; paddr < to; paddr++)
    if (!test_bit(line.map_bitmap!, paddr) && !was_written(pblk, line, paddr))
      if (!test_bit(line.invalid_bitmap!, paddr)) __pblk_map_invalidate(pblk, line, paddr)
}

/** A line without emeta that takes no more: its list of lbas stays in memory. */
function* close_scanned(pblk: pblk, line: pblk_line, scratch: number): Sleep<void> {
  const list = new Float64Array(pblk.lm.sec_per_line).fill(ADDR_EMPTY)
  yield* pblk_recov_scan_oob(pblk, line, scratch, (paddr, lba) => {
    list[paddr] = lba
  })
  drop_unwritten(pblk, line, line.emeta_ssec)
  line.lba_list = list
  close(pblk, line)
}

/** The newest line goes on where it ended. */
function* reopen(pblk: pblk, line: pblk_line, to: number, scratch: number): Sleep<void> {
  yield* pblk_line_setup_metadata(pblk, line)
  begin_emeta(pblk, line, null)
  const { emeta } = line.meta!
  yield* pblk_recov_scan_oob(pblk, line, scratch, (paddr, lba) =>
    set_emeta_lba(pblk, emeta, paddr, lba),
  )
  const end = (to / pblk.geo.ws_opt) * pblk.lm.blk_per_line * pblk.geo.ws_opt
  drop_unwritten(pblk, line, end)
  let left = 0
  for (let paddr = 0; paddr < line.emeta_ssec; paddr++) {
    if (test_bit(line.map_bitmap!, paddr)) continue
    if (paddr < end) set_bit(line.map_bitmap!, paddr)
    else left++
  }
  line.cur_sec = end
  line.left_msecs = left
  line.type = PBLK_LINETYPE_DATA
}

/** Whether the newest line has room behind a row, and every good chunk can be brought there. */
function has_room(pblk: pblk, line: pblk_line, to: number): boolean {
  const { ws_opt, clba } = pblk.geo
  const end = (to / ws_opt) * pblk.lm.blk_per_line * ws_opt
  if (to >= clba || end >= line.emeta_ssec) return false
  return good_chunks(line).every(pos => line.chk_wp[pos] <= to && line.done[pos] < clba)
}

/** A line without emeta. @returns it, if it stays open */
function* pblk_recov_l2p_from_oob(
  pblk: pblk,
  line: pblk_line,
  newest: boolean,
  scratch: number,
): Sleep<pblk_line | null> {
  const t = enter(pblk.k, 'pblk_recov_l2p_from_oob')
  if (pblk.geo.version === 12) yield* probe_rows(pblk, line, scratch)
  const to = front(pblk, line)
  let open = newest && has_room(pblk, line, to)
  if (open) {
    for (const pos of good_chunks(line)) yield* pad_to(pblk, line, pos, to)
    open = good_chunks(line).every(pos => line.done[pos] === to)
  }
  if (open) yield* reopen(pblk, line, to, scratch)
  else {
    if (pblk.geo.version === 20) yield* pad_open(pblk, line, pblk.geo.clba)
    yield* close_scanned(pblk, line, scratch)
  }
  return leave(pblk.k, t, open ? line : null)
}

// ---------------------------------------------------------------- all of them

/** Counts go on from what a line says; a trip begins. */
function pblk_recov_wa_counters(pblk: pblk, { user, gc, pad }: emeta_facts): void {
  pblk.user_wa = user
  pblk.gc_wa = gc
  pblk.pad_wa = pad
  pblk.user_rst_wa = user
  pblk.gc_rst_wa = gc
  pblk.pad_rst_wa = pad
}

function* recover_lines(pblk: pblk, lines: readonly pblk_line[]): Sleep<pblk_line | null> {
  const buf = pblk.memory.alloc(emeta_len(pblk))
  const scratch = pblk.memory.alloc(pblk.min_write_pgs * pblk.geo.csecs)
  let open: pblk_line | null = null
  for (const [i, line] of lines.entries()) {
    adopt(pblk, line)
    const facts = yield* emeta_of(pblk, line, buf)
    if (facts !== null) {
      pblk_recov_wa_counters(pblk, facts)
      pblk_recov_l2p_from_emeta(pblk, line, buf)
      close(pblk, line)
    } else open = yield* pblk_recov_l2p_from_oob(pblk, line, i === lines.length - 1, scratch)
  }
  pblk.memory.free(buf, emeta_len(pblk))
  pblk.memory.free(scratch, pblk.min_write_pgs * pblk.geo.csecs)
  return open
}

/** Finds what an instance wrote in its former life, and fills the L2P with it. */
export function* pblk_recov_l2p(pblk: pblk): Sleep<recovered> {
  const t = enter(pblk.k, 'pblk_recov_l2p')
  const lines = yield* find_lines(pblk)
  if (typeof lines === 'number') return leave(pblk.k, t, lines)
  if (lines.length === 0) return leave(pblk.k, t, { found: 0, open: null })
  pblk.l_mg.d_seq_nr = lines[lines.length - 1].seq_nr + 1
  const open = yield* recover_lines(pblk, lines)
  return leave(pblk.k, t, { found: lines.length, open })
}
