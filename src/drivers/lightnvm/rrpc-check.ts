// Whether an instance of rrpc agrees with itself: both maps, invalid pages, states and lists of blocks, at any pause.

import { bitmap_weight, test_bit } from './bitmap.js'
import {
  NVM_BLK_ST_BAD,
  NVM_BLK_ST_FREE,
  RRPC_EMPTY,
  type rrpc,
  rrpc_blk_to_ppa,
  type rrpc_block,
  rrpc_page_block,
} from './rrpc.js'

function check_maps(rrpc: rrpc, say: (text: string) => void): void {
  for (const [laddr, page] of rrpc.trans_map.entries()) {
    if (page === RRPC_EMPTY) continue
    if (rrpc.rev_trans_map[page] !== laddr)
      say(`logical page ${laddr} is in page ${page}, which has another`)
    const block = rrpc_page_block(rrpc, page)
    if (block.state === NVM_BLK_ST_FREE) say(`logical page ${laddr} is in a free block`)
    if (page % rrpc.sec_per_blk >= block.next_page)
      say(`logical page ${laddr} is in a page nobody got`)
  }
  for (const [page, laddr] of rrpc.rev_trans_map.entries())
    if (laddr !== RRPC_EMPTY && rrpc.trans_map[laddr] !== page)
      say(`page ${page} has logical page ${laddr}, which is elsewhere`)
}

function check_block(rrpc: rrpc, block: rrpc_block, say: (text: string) => void): void {
  const where = `block ${block.id} of LUN ${block.lun.id}`
  const { invalid_pages, nr_invalid_pages, next_page, data_cmnt_size } = block
  if (bitmap_weight(invalid_pages, rrpc.sec_per_blk) !== nr_invalid_pages)
    say(`${where}: ${nr_invalid_pages} invalid pages are counted wrong`)
  if (data_cmnt_size > next_page) say(`${where}: more pages have ended than were begun`)
  const first = rrpc_blk_to_ppa(block.lun, block.id)
  for (let i = 0; i < next_page; i++) {
    const valid = rrpc.rev_trans_map[first + i] !== RRPC_EMPTY
    if (valid === test_bit(invalid_pages, i)) say(`${where}: page ${i} is neither valid nor not`)
  }
}

/** What is wrong, in words; nothing when all is well. */
export function rrpc_check(rrpc: rrpc): string[] {
  const problems: string[] = []
  const say = (text: string): void => {
    if (problems.length < 20) problems.push(text)
  }
  check_maps(rrpc, say)
  for (const lun of rrpc.luns) {
    const lists = [...lun.free_list, ...lun.prio_list]
    if (new Set(lists).size !== lists.length) say(`LUN ${lun.id}: a block is in two lists`)
    for (const block of lun.free_list)
      if (block.state !== NVM_BLK_ST_FREE)
        say(`block ${block.id} of LUN ${lun.id} is listed as free`)
    for (const block of [lun.cur, lun.gc_cur])
      if (block?.state === NVM_BLK_ST_FREE) say(`LUN ${lun.id}: its open block is free`)
    for (const block of lun.blocks) {
      const listed = lun.free_list.includes(block)
      if ((block.state === NVM_BLK_ST_FREE) !== listed)
        say(`block ${block.id}: free, and not listed`)
      if (block.state !== NVM_BLK_ST_FREE && block.state !== NVM_BLK_ST_BAD)
        check_block(rrpc, block, say)
    }
  }
  if (rrpc.nr_rqs === 0)
    for (const lun of rrpc.luns)
      for (const block of lun.blocks)
        if (block.nr_pending !== 0) say(`block ${block.id}: writes under way that there are not`)
  return problems
}
