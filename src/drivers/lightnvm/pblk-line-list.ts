// Which list a line of pblk is in: a part of drivers/lightnvm/pblk-core.c of Linux 4.19.
//
//   write error                  werr
//   nothing valid                full    (names say how much is invalid)
//   less than a quarter valid    high    the best victims
//   less than half               mid
//   not all                      low
//   all                          empty

import {
  PBLK_LINEGC_EMPTY,
  PBLK_LINEGC_FULL,
  PBLK_LINEGC_HIGH,
  PBLK_LINEGC_LOW,
  PBLK_LINEGC_MID,
  PBLK_LINEGC_NONE,
  PBLK_LINEGC_WERR,
  PBLK_LINESTATE_CORRUPT,
  type pblk,
  type pblk_line,
} from './pblk.js'

/** Puts a line into a list, out of the one that it was in; null: it stays where it is. */
export function move_to(line: pblk_line, list: Set<pblk_line> | null): void {
  if (list === null || line.list === list) return
  line.list?.delete(line)
  line.list = list
  list.add(line)
}

export function take_off(line: pblk_line): void {
  line.list?.delete(line)
  line.list = null
}

/** The list that a closed line belongs to now; null if it is in it. */
export function pblk_line_gc_list(pblk: pblk, line: pblk_line): Set<pblk_line> | null {
  const { l_mg, lm } = pblk
  const { vsc } = line
  if (line.has_write_err) {
    if (line.gc_group === PBLK_LINEGC_WERR) return null
    line.gc_group = PBLK_LINEGC_WERR
    return l_mg.gc_werr_list
  }
  let group = PBLK_LINEGC_NONE
  let list = l_mg.corrupt_list
  if (vsc === 0) [group, list] = [PBLK_LINEGC_FULL, l_mg.gc_full_list]
  else if (vsc < lm.high_thrs) [group, list] = [PBLK_LINEGC_HIGH, l_mg.gc_high_list]
  else if (vsc < lm.mid_thrs) [group, list] = [PBLK_LINEGC_MID, l_mg.gc_mid_list]
  else if (vsc < line.sec_in_line) [group, list] = [PBLK_LINEGC_LOW, l_mg.gc_low_list]
  else if (vsc === line.sec_in_line) [group, list] = [PBLK_LINEGC_EMPTY, l_mg.gc_empty_list]
  else line.state = PBLK_LINESTATE_CORRUPT
  if (line.gc_group === group && group !== PBLK_LINEGC_NONE) return null
  line.gc_group = group
  return list
}
