// Whether an instance of pblk agrees with itself: L2P, reverse map, valid counts and line states, at any pause.
//
//   - what the L2P has on the media is written, valid in its line, and known to the line under that lba
//   - what it has in the ring is an entry of that lba
//   - valid sectors of a line = those that the L2P means + entries of the ring that are mapped there + room for more
//   - every line is in the list of its state, free lines are counted, positions of the ring are in order

import { test_bit } from './bitmap.js'
import {
  ADDR_EMPTY,
  PBLK_LINESTATE_BAD,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_CORRUPT,
  PBLK_LINESTATE_FREE,
  PBLK_LINESTATE_NEW,
  PBLK_LINESTATE_OPEN,
  type pblk,
  type pblk_line,
  pblk_addr_in_cache,
  pblk_ppa_empty,
  pblk_t_line,
  pblk_t_paddr,
} from './pblk.js'
import { emeta_lba } from './pblk-meta.js'

function line_lba(pblk: pblk, line: pblk_line, paddr: number): number | null {
  if (line.lba_list !== null) return line.lba_list[paddr]
  return line.meta === null ? null : emeta_lba(pblk, line.meta.emeta, paddr)
}

function check_l2p(pblk: pblk, refs: Map<pblk_line, number>, say: (text: string) => void): void {
  const seen = new Set<number>()
  for (let lba = 0; lba < pblk.trans_map.length; lba++) {
    const t = pblk.trans_map[lba]
    if (pblk_ppa_empty(pblk, t)) continue
    if (seen.has(t)) say(`lba ${lba} shares its place with another`)
    seen.add(t)
    if (pblk_addr_in_cache(pblk, t)) {
      const pos = t - pblk.cached_base
      if (pblk.rwb.lba[pos] !== lba)
        say(`lba ${lba} means ring entry ${pos} of ${pblk.rwb.lba[pos]}`)
      continue
    }
    const line = pblk_t_line(pblk, t)
    const paddr = pblk_t_paddr(pblk, t)
    refs.set(line, (refs.get(line) ?? 0) + 1)
    if (line.invalid_bitmap === null) say(`lba ${lba} means line ${line.id}, which holds nothing`)
    else if (test_bit(line.invalid_bitmap, paddr)) say(`lba ${lba} means an invalid sector`)
    const back = line_lba(pblk, line, paddr)
    if (back !== null && back !== lba) say(`line ${line.id} has ${back} where ${lba} should be`)
  }
}

function check_ring(pblk: pblk, refs: Map<pblk_line, number>, say: (text: string) => void): void {
  const { rwb } = pblk
  const ahead = (a: number, b: number): number => (a - b) & (rwb.nr_entries - 1)
  const used = ahead(rwb.mem, rwb.l2p_update)
  const order = [rwb.sync, rwb.subm, rwb.mem].map(pos => ahead(pos, rwb.l2p_update))
  if (order.some((n, i) => i > 0 && n < order[i - 1])) say(`the ring's positions are out of order`)
  for (let i = 0; i < used; i++) {
    const pos = (rwb.l2p_update + i) & (rwb.nr_entries - 1)
    if (rwb.ppa[pos] === pblk.addr_empty) continue
    const line = pblk_t_line(pblk, rwb.ppa[pos])
    const bitmap = line.invalid_bitmap
    if (bitmap === null) say(`ring entry ${pos} is in line ${line.id}, which holds nothing`)
    else if (!test_bit(bitmap, pblk_t_paddr(pblk, rwb.ppa[pos])))
      refs.set(line, (refs.get(line) ?? 0) + 1)
  }
}

const LISTED: readonly number[] = [
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_BAD,
  PBLK_LINESTATE_CORRUPT,
]

function check_line(pblk: pblk, line: pblk_line, refs: number, say: (text: string) => void): void {
  const waits = pblk.l_mg.pending.some(one => one.line === line)
  const free = line.state === PBLK_LINESTATE_FREE || line.state === PBLK_LINESTATE_NEW
  if (free && line.list !== pblk.l_mg.free_list && !waits) say(`line ${line.id} is free and lost`)
  if (LISTED.includes(line.state) && line.list === null) say(`line ${line.id} is in no list`)
  if (line.state === PBLK_LINESTATE_CORRUPT) say(`line ${line.id} is corrupt`)
  if (line.invalid_bitmap === null) return
  const room = line.state === PBLK_LINESTATE_OPEN ? line.left_msecs : 0
  if (line.vsc !== refs + room)
    say(`line ${line.id}: ${line.vsc} valid sectors, ${refs} in use and ${room} to come`)
}

/** What does not agree; empty if everything does. No command may be failing just now. */
export function pblk_check(pblk: pblk): string[] {
  const problems: string[] = []
  const say = (text: string): void => {
    if (problems.length < 20) problems.push(text)
  }
  const refs = new Map<pblk_line, number>()
  check_l2p(pblk, refs, say)
  check_ring(pblk, refs, say)
  for (const line of pblk.lines) check_line(pblk, line, refs.get(line) ?? 0, say)
  const { l_mg, rwb } = pblk
  if (l_mg.nr_free_lines !== l_mg.free_list.size)
    say(`${l_mg.nr_free_lines} free lines are counted`)
  const gone = rwb.lba.filter(lba => lba !== ADDR_EMPTY && lba >= pblk.trans_map.length)
  if (gone.length > 0) say('the ring holds an lba that is none')
  return problems
}
