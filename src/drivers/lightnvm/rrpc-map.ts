// Pages of rrpc: which one a logical page gets, and what becomes of the one it had. drivers/lightnvm/rrpc.c until 4.16.
//
//   user's page        the next LUN in turn; its open block, else a free one, but not the last two
//   collector's page   the LUN with the most free blocks; in need the emergency block (gc_cur), and those two
//
// All pages of a bio get their LUNs before the first of them is mapped, so that a bio is mapped whole or not at all.

import { enter, leave } from '../../kernel/trace.js'
import { clear_bit, test_and_set_bit } from './bitmap.js'
import {
  block_is_full,
  NVM_BLK_ST_FREE,
  NVM_BLK_ST_TGT,
  RRPC_EMPTY,
  RRPC_RESERVED_BLOCKS,
  type rrpc,
  rrpc_blk_to_ppa,
  type rrpc_block,
  type rrpc_lun,
  rrpc_page_block,
} from './rrpc.js'

// ---------------------------------------------------------------- blocks

/** A free block of a LUN, to be written; null when there is none, or none but the reserved ones. */
export function rrpc_get_blk(rrpc: rrpc, lun: rrpc_lun, gc: boolean): rrpc_block | null {
  const t = enter(rrpc.k, 'rrpc_get_blk')
  const last = lun.nr_free_blocks === 0 || (!gc && lun.nr_free_blocks < RRPC_RESERVED_BLOCKS)
  if (last) return leave(rrpc.k, t, null)
  const block = lun.free_list.shift()!
  block.state = NVM_BLK_ST_TGT
  block.invalid_pages.fill(0)
  block.next_page = 0
  block.nr_invalid_pages = 0
  block.data_cmnt_size = 0
  return leave(rrpc.k, t, block)
}

/** An erased block is free again; its LUN may not have looked for another one since it was full. */
export function rrpc_put_blk(rrpc: rrpc, block: rrpc_block): void {
  const t = enter(rrpc.k, 'rrpc_put_blk')
  const { lun } = block
  block.state = NVM_BLK_ST_FREE
  lun.free_list.push(block)
  if (lun.cur === block) lun.cur = null
  if (lun.gc_cur === block) lun.gc_cur = null
  leave(rrpc.k, t)
}

/** The next page of a block, or RRPC_EMPTY. */
function rrpc_alloc_addr(rrpc: rrpc, block: rrpc_block | null): number {
  if (block === null || block_is_full(rrpc, block)) return RRPC_EMPTY
  return rrpc_blk_to_ppa(block.lun, block.id) + block.next_page++
}

// ---------------------------------------------------------------- LUNs

/** Free blocks of a LUN below which users' pages are refused. */
export function rrpc_user_limit(rrpc: rrpc): number {
  return rrpc.quirks ? 4 * rrpc.nr_luns : RRPC_RESERVED_BLOCKS + 1
}

/** Of each LUN while a bio's pages are planned: free blocks, pages of the open one. */
interface plan {
  readonly free: Int32Array
  readonly room: Int32Array
}

function begin_plan(rrpc: rrpc): plan {
  const free = new Int32Array(rrpc.nr_luns)
  const room = new Int32Array(rrpc.nr_luns)
  for (const [i, { nr_free_blocks, cur }] of rrpc.luns.entries()) {
    free[i] = nr_free_blocks
    room[i] = cur === null ? 0 : rrpc.sec_per_blk - cur.next_page
  }
  return { free, room }
}

/**
 * LUNs for `n` pages of a user, in turn; those without room are passed over (there, the bio is refused).
 * @returns whether all pages have one
 */
export function get_next_luns(rrpc: rrpc, n: number, luns: Int32Array): boolean {
  const t = enter(rrpc.k, 'get_next_lun')
  const { free, room } = begin_plan(rrpc)
  const limit = rrpc_user_limit(rrpc)
  const tries = rrpc.quirks ? 1 : rrpc.nr_luns
  let next = rrpc.next_lun
  for (let i = 0; i < n; i++) {
    let left = tries
    do {
      if (left-- === 0) return leave(rrpc.k, t, false)
      next = (next + 1) % rrpc.nr_luns
    } while (free[next] < limit)
    luns[i] = next
    if (room[next] === 0) {
      free[next]--
      room[next] = rrpc.sec_per_blk
    }
    room[next]--
  }
  rrpc.next_lun = next
  return leave(rrpc.k, t, true)
}

// ---------------------------------------------------------------- mapping

/** A page of a LUN for a user or the collector; RRPC_EMPTY when there is none. */
function next_page(rrpc: rrpc, lun: rrpc_lun, gc: boolean): number {
  let page = rrpc_alloc_addr(rrpc, lun.cur)
  if (page !== RRPC_EMPTY) return page
  const block = rrpc_get_blk(rrpc, lun, false)
  if (block !== null) {
    lun.cur = block
    return rrpc_alloc_addr(rrpc, block)
  }
  if (!gc) return RRPC_EMPTY
  page = rrpc_alloc_addr(rrpc, lun.gc_cur)
  if (page !== RRPC_EMPTY) return page
  lun.gc_cur = rrpc_get_blk(rrpc, lun, true) ?? lun.gc_cur
  return rrpc_alloc_addr(rrpc, lun.gc_cur)
}

/** A page for the collector, of the LUN with the most free blocks; of another one when that has none (there: none). */
function gc_page(rrpc: rrpc): number {
  const most = rrpc.luns.reduce((a, b) => (b.nr_free_blocks > a.nr_free_blocks ? b : a))
  let page = next_page(rrpc, most, true)
  for (const lun of rrpc.quirks ? [] : rrpc.luns)
    if (page === RRPC_EMPTY) page = next_page(rrpc, lun, true)
  return page
}

/** A page does not hold its logical page any more. */
export function rrpc_page_invalidate(rrpc: rrpc, page: number): void {
  const block = rrpc_page_block(rrpc, page)
  if (!test_and_set_bit(block.invalid_pages, page % rrpc.sec_per_blk)) block.nr_invalid_pages++
  rrpc.rev_trans_map[page] = RRPC_EMPTY
}

/** A logical page is in another page from now on. @returns where it was, RRPC_EMPTY for nowhere */
function rrpc_update_map(rrpc: rrpc, laddr: number, page: number): number {
  const old = rrpc.trans_map[laddr]
  if (old !== RRPC_EMPTY) {
    rrpc_page_invalidate(rrpc, old)
    rrpc_page_block(rrpc, old).nr_pending++
  }
  rrpc.trans_map[laddr] = page
  rrpc.rev_trans_map[page] = laddr
  return old
}

/** What a write has to know of each of its pages. */
export interface rrpc_place {
  readonly page: number
  /** Where the logical page was. */
  readonly old: number
}

/** Maps a logical page. `lun`: of a user's page; null: the collector's. Null when there is no page. */
export function rrpc_map_page(rrpc: rrpc, laddr: number, lun: number | null): rrpc_place | null {
  const t = enter(rrpc.k, 'rrpc_map_page')
  const page = lun === null ? gc_page(rrpc) : next_page(rrpc, rrpc.luns[lun], false)
  if (page === RRPC_EMPTY) return leave(rrpc.k, t, null)
  return leave(rrpc.k, t, { page, old: rrpc_update_map(rrpc, laddr, page) })
}

/** The write of a page has failed: the logical page is where it was. */
export function rrpc_restore_map(rrpc: rrpc, laddr: number, { page, old }: rrpc_place): void {
  rrpc_page_invalidate(rrpc, page)
  rrpc.trans_map[laddr] = old
  if (old === RRPC_EMPTY) return
  const block = rrpc_page_block(rrpc, old)
  clear_bit(block.invalid_pages, old % rrpc.sec_per_blk)
  block.nr_invalid_pages--
  rrpc.rev_trans_map[old] = laddr
}

/** Logical pages hold nothing any more; their range is locked. */
export function rrpc_invalidate_range(rrpc: rrpc, laddr: number, n: number): void {
  const t = enter(rrpc.k, 'rrpc_invalidate_range')
  for (let i = laddr; i < laddr + n; i++) {
    const page = rrpc.trans_map[i]
    if (page === RRPC_EMPTY) continue
    rrpc_page_invalidate(rrpc, page)
    rrpc.trans_map[i] = RRPC_EMPTY
  }
  leave(rrpc.k, t)
}
