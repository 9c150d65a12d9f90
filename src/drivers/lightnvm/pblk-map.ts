// Where pblk's data go: drivers/lightnvm/pblk-map.c of Linux 4.19.
//
// min_write_pgs sectors at a time, all on one LUN, one unit after the other in the open line. A line that is full gives way
// to the next one here. With each request one chunk of the next line is erased: on a LUN that the request has taken anyway.

import type { Sleep } from '../../kernel/core.js'
import { EINTR } from '../../kernel/errno.js'
import { enter, leave } from '../../kernel/trace.js'
import type { nvm_rq } from './lightnvm.js'
import { ppa_ch, ppa_lun, ppa_of } from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  type pblk,
  type pblk_c_ctx,
  type pblk_line,
  pblk_ppa_to_pos,
  pblk_ppa_to_t,
  set_oob_lba,
} from './pblk.js'
import { __pblk_map_invalidate, pblk_chunk_ppa, pblk_down_rq } from './pblk-core.js'
import {
  pblk_alloc_page,
  pblk_line_close_meta,
  pblk_line_get_data,
  pblk_line_get_erase,
  pblk_line_is_full,
  pblk_line_replace_data,
} from './pblk-core-line.js'
import { set_emeta_lba } from './pblk-meta.js'
import { pblk_rb_w_ctx } from './pblk-rb.js'

/** "No chunk is to be erased." */
export const NO_ERASE = -1

/** A line with room; null: there is none. */
function* writable_line(pblk: pblk): Sleep<pblk_line | null> {
  let line = pblk_line_get_data(pblk)
  while (line !== null && pblk_line_is_full(pblk, line)) {
    const prev: pblk_line = line
    line = yield* pblk_line_replace_data(pblk)
    pblk_line_close_meta(pblk, prev)
  }
  return line
}

/** Maps one unit: sectors `from` to `from` + min of a request, of which those below nr_valid are entries of the ring. */
function* pblk_map_page_data(
  pblk: pblk,
  rqd: nvm_rq,
  ctx: pblk_c_ctx,
  from: number,
): Sleep<number> {
  const t = enter(pblk.k, 'pblk_map_page_data')
  const n = pblk.min_write_pgs
  const line = yield* writable_line(pblk)
  if (line === null) return leave(pblk.k, t, -EINTR)
  const paddr = pblk_alloc_page(pblk, line, n)
  line.inflight += n
  const { emeta } = line.meta!
  // one write unit: its sectors follow each other on one LUN
  const ppa = addr_to_gen_ppa(pblk, paddr, line.id)
  const at = pblk_ppa_to_t(pblk, ppa)
  for (let i = 0; i < n; i++) {
    rqd.ppa_list[from + i] = ppa + i
    let lba = ADDR_EMPTY
    if (from + i < ctx.nr_valid) {
      line.ref++
      line.sec_to_update++
      const pos = pblk_rb_w_ctx(pblk, ctx.sentry + from + i)
      pblk.rwb.ppa[pos] = at + i
      lba = pblk.rwb.lba[pos]
      if (lba !== ADDR_EMPTY) line.nr_valid_lbas++
      else pblk.pad_wa++
    } else __pblk_map_invalidate(pblk, line, paddr + i)
    set_oob_lba(pblk, rqd, from + i, lba)
    set_emeta_lba(pblk, emeta, paddr + i, lba)
  }
  yield* pblk_down_rq(pblk, rqd.ppa_list[from], ctx.lun_bitmap)
  return leave(pblk.k, t, 0)
}

/** Maps the units of a request from `from` on. 0, or -EINTR when there is no line. */
export function* pblk_map_rq(
  pblk: pblk,
  rqd: nvm_rq,
  ctx: pblk_c_ctx,
  from: number,
): Sleep<number> {
  const t = enter(pblk.k, 'pblk_map_rq')
  for (let i = from; i < rqd.nr_ppas; i += pblk.min_write_pgs) {
    const failed = yield* pblk_map_page_data(pblk, rqd, ctx, i)
    if (failed !== 0) return leave(pblk.k, t, failed)
  }
  return leave(pblk.k, t, 0)
}

/** What pblk_map_erase_rq found to erase. */
export interface erase_choice {
  /** The target's address of a chunk, or NO_ERASE. */
  ppa: number
  line: pblk_line | null
}

function choose(line: pblk_line, pos: number, ppa: number, to: erase_choice): void {
  line.erase_bitmap[pos] = 1
  line.left_eblks--
  to.ppa = ppa
  to.line = line
}

/** As pblk_map_rq, and chooses a chunk of the next line that may be erased beside it. */
export function* pblk_map_erase_rq(
  pblk: pblk,
  rqd: nvm_rq,
  ctx: pblk_c_ctx,
  to: erase_choice,
): Sleep<number> {
  const t = enter(pblk.k, 'pblk_map_erase_rq')
  const min = pblk.min_write_pgs
  for (let i = 0; i < rqd.nr_ppas; i += min) {
    const failed = yield* pblk_map_page_data(pblk, rqd, ctx, i)
    if (failed !== 0) return leave(pblk.k, t, failed)
    const line = pblk_line_get_erase(pblk)
    if (line === null) return leave(pblk.k, t, yield* pblk_map_rq(pblk, rqd, ctx, i + min))
    const ppa = rqd.ppa_list[i]
    const pos = pblk_ppa_to_pos(pblk, ppa)
    if (line.erase_bitmap[pos] !== 0) continue
    choose(line, pos, ppa_of(ppa_ch(ppa), ppa_lun(ppa), line.id, 0), to)
    return leave(pblk.k, t, yield* pblk_map_rq(pblk, rqd, ctx, i + min))
  }
  bad_here(pblk, to)
  return leave(pblk.k, t, 0)
}

/** A LUN that this line never writes to may still have a chunk to erase in the next one. */
function bad_here(pblk: pblk, to: erase_choice): void {
  const line = pblk_line_get_erase(pblk)
  const data = pblk.l_mg.data_line
  if (line === null || data === null) return
  const pos = data.blk_bitmap.findIndex((bad, i) => bad !== 0 && line.erase_bitmap[i] === 0)
  if (pos >= 0) choose(line, pos, pblk_chunk_ppa(pblk, pos, line.id), to)
}
