// The end of a line's life in pblk: when nobody refers to it any more it is free. A part of drivers/lightnvm/pblk-core.c of
// Linux 4.19.
//
// What made the line's last sectors invalid may still be in the ring alone. Were the line erased before that is persisted,
// power loss would take data that had been flushed. So a line waits until the ring has been written as far as it goes now
// (pending), unless quirks=4.19 asks for the old way. Data in the ring never need more room than the open lines have.

import { PB_PENDING, PB_SETTLE_AT } from '../../../assembly/layout.js'
import { enter, leave } from '../../kernel/trace.js'
import { waitqueue_active, wake_up_all } from '../../kernel/wait.js'
import {
  PBLK_LINEGC_NONE,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_FREE,
  PBLK_LINETYPE_FREE,
  type pblk,
  type pblk_line,
} from './pblk.js'
import { pblk_gc_kick } from './pblk-gc-start.js'
import { move_to, pblk_line_gc_list, take_off } from './pblk-line-list.js'
import { pblk_rl_free_lines_inc, pblk_rl_werr_line_out } from './pblk-rl.js'

/** Bitmaps and lists go. */
export function pblk_line_free(line: pblk_line): void {
  line.free_bitmaps()
  line.lba_list = null
}

function pblk_line_is_free(pblk: pblk, line: pblk_line): void {
  move_to(line, pblk.l_mg.free_list)
  pblk.l_mg.nr_free_lines++
  pblk_rl_free_lines_inc(pblk, line)
}

/** The collector could not read all of a line: it is closed again. */
function put_back(pblk: pblk, line: pblk_line): void {
  line.gc_failed = false
  line.state = PBLK_LINESTATE_CLOSED
  line.gc_group = PBLK_LINEGC_NONE
  line.ref = 1
  move_to(line, pblk_line_gc_list(pblk, line))
}

/** Nobody refers to a line any more. */
export function __pblk_line_put(pblk: pblk, line: pblk_line): void {
  const t = enter(pblk.k, '__pblk_line_put')
  if (line.victim) {
    line.victim = false
    pblk.gc.in_hand--
    pblk_gc_kick(pblk)
  }
  if (line.gc_failed && line.vsc > 0) put_back(pblk, line)
  else {
    line.state = PBLK_LINESTATE_FREE
    line.gc_group = PBLK_LINEGC_NONE
    line.type = PBLK_LINETYPE_FREE
    line.gc_failed = false
    pblk_line_free(line)
    take_off(line)
    if (line.has_write_err) {
      line.has_write_err = false
      pblk_rl_werr_line_out(pblk)
    }
    const { taken, synced } = pblk.rwb
    if (pblk.quirks || taken === synced) pblk_line_is_free(pblk, line)
    else {
      pblk.l_mg.pending.push({ line, upTo: taken })
      note_pending(pblk)
    }
  }
  leave(pblk.k, t)
}

/** One reference less. */
export function pblk_line_put(pblk: pblk, line: pblk_line): void {
  if (--line.ref === 0) __pblk_line_put(pblk, line)
}

/** The core need not call before the first of the lines that wait is free. */
function note_pending({ shared, l_mg }: pblk): void {
  const { pending } = l_mg
  shared.put(PB_PENDING, pending.length)
  if (pending.length > 0) shared.put_double(PB_SETTLE_AT, pending[0].upTo)
}

/** Lines whose wait is over are free. Called when the ring's sync position has moved. */
export function pblk_lines_settle(pblk: pblk): void {
  const { pending } = pblk.l_mg
  if (pending.length === 0 || pending[0].upTo > pblk.rwb.synced) return
  while (pending.length > 0 && pending[0].upTo <= pblk.rwb.synced)
    pblk_line_is_free(pblk, pending.shift()!.line)
  note_pending(pblk)
  if (waitqueue_active(pblk.space)) wake_up_all(pblk.space)
}
