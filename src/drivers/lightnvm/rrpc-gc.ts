// rrpc's collector: drivers/lightnvm/rrpc.c until 4.16.
//
//   rrpc_gc_timer          every 10 ms: a work for each LUN (rrpc-lun)
//   rrpc_lun_gc            while the LUN has fewer free blocks than it wants: its full block with the most invalid pages
//   rrpc_block_gc          one block at a time (rrpc-bg): its valid pages are read and written one by one, then it is erased
//
// A LUN wants a tenth of its blocks free, and as many as there are LUNs.
//
// Different from those kernels, unless quirks: blocks that are being collected count as free ones to come (there each round
// begins as many again, until all blocks are in hand, however much of them is valid); a block is erased when no write is under
// way that replaces a page of it; one that cannot be read is left as it is (there it is tried again and again), one that cannot
// be erased is bad; the table of bad blocks hears of it. In both, bios that wait for a block while there is nothing to be
// collected end with an error: there they wait for ever.

import { BLK_STS_NOSPC } from '../../../assembly/nvme.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { EIO, ENOSPC } from '../../kernel/errno.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { mod_timer } from '../../kernel/timer.js'
import type { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave } from '../../kernel/trace.js'
import { wait_event } from '../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import type { work_struct } from '../../kernel/workqueue-structs.js'
import { find_next_zero_bit } from './bitmap.js'
import { nvm_set_tgt_bb_tbl, nvm_submit_io_sync } from './core.js'
import {
  NVM_BLK_T_GRWN_BAD,
  NVM_OP_ERASE,
  NVM_OP_PREAD,
  type nvm_rq,
  SECTOR_BYTES,
} from './lightnvm.js'
import {
  NVM_BLK_ST_BAD,
  RRPC_EMPTY,
  RRPC_RESERVED_BLOCKS,
  type rrpc,
  rrpc_blk_to_ppa,
  type rrpc_block,
  type rrpc_inflight_rq,
  rrpc_lock_laddr,
  type rrpc_lun,
  rrpc_ppa_to_gaddr,
  rrpc_unlock_laddr,
} from './rrpc.js'
import { rrpc_map_page, type rrpc_place, rrpc_put_blk } from './rrpc-map.js'
import {
  rrpc_end_io_write,
  rrpc_gc_kick,
  rrpc_get_rq,
  rrpc_is_error,
  rrpc_put_rq,
  rrpc_setup_write,
  rrpc_wake_requeue,
} from './rrpc-rq.js'

const GC_LIMIT_INVERSE = 10
const GC_TIMER_MS = 10
/** A page that cannot be written anywhere is given up. */
const MAX_WRITES = 8
/** Rounds in which nothing moves: then bios that wait for blocks wait in vain. */
const IDLE_ROUNDS = 3

/** Free blocks that a LUN wants. */
export function rrpc_blocks_need(rrpc: rrpc): number {
  const need = Math.max(Math.floor(rrpc.nr_blks / GC_LIMIT_INVERSE), rrpc.nr_luns)
  return rrpc.quirks ? need : Math.max(need, RRPC_RESERVED_BLOCKS + 2)
}

// ---------------------------------------------------------------- one block

/** One page of a victim goes elsewhere; its logical page is locked. 0 or an error. */
function* move_page(rrpc: rrpc, page: number, laddr: number, data: number): Sleep<number> {
  const rqd = rrpc_get_rq(rrpc)
  rqd.opcode = NVM_OP_PREAD
  rqd.nr_ppas = 1
  rqd.pages[0] = data
  rqd.ppa_list[0] = rrpc_ppa_to_gaddr(rrpc, page)
  let error = yield* nvm_submit_io_sync(rrpc.dev, rqd)
  rrpc.stats.gc_read++
  if (error === 0 && rrpc_is_error(rqd)) error = -EIO
  for (let tries = 0, written = false; error === 0 && !written; tries++) {
    const place = tries < MAX_WRITES ? rrpc_map_page(rrpc, laddr, null) : null
    if (place === null) error = tries < MAX_WRITES ? -ENOSPC : -EIO
    else written = yield* write_page(rrpc, rqd, laddr, place, data)
  }
  rrpc_put_rq(rrpc, rqd)
  return error
}

function* write_page(
  rrpc: rrpc,
  rqd: nvm_rq,
  laddr: number,
  place: rrpc_place,
  data: number,
): Sleep<boolean> {
  rrpc_setup_write(rrpc, rqd, laddr, [place], data)
  rrpc.stats.gc_written++
  const error = yield* nvm_submit_io_sync(rrpc.dev, rqd)
  if (error !== 0) rqd.error = EIO
  rrpc_end_io_write(rrpc, rqd, laddr, [place])
  return rqd.error === 0
}

/** Locks the logical page of a page, when nobody else has it; null when the page has none any more. */
function* lock_page(rrpc: rrpc, page: number): Sleep<rrpc_inflight_rq | null> {
  for (;;) {
    const laddr = rrpc.rev_trans_map[page]
    if (laddr === RRPC_EMPTY) return null
    const r = rrpc_lock_laddr(rrpc, laddr, 1)
    if (r !== null) return r
    yield* wait_event(rrpc.wait, () => {
      for (const { l_start, l_end } of rrpc.inflights)
        if (l_start <= laddr && laddr <= l_end) return false
      return true
    })
  }
}

/** Valid pages of a block go elsewhere, one at a time. 0 or an error. */
function* rrpc_move_valid_pages(rrpc: rrpc, block: rrpc_block): Sleep<number> {
  const t = enter(rrpc.k, 'rrpc_move_valid_pages')
  const { sec_per_blk } = rrpc
  const data = rrpc.memory.alloc(SECTOR_BYTES)
  let error = 0
  while (error === 0 && !rrpc.stopping) {
    const slot = find_next_zero_bit(block.invalid_pages, sec_per_blk, 0)
    if (slot === sec_per_blk) {
      if (block.nr_pending === 0 || rrpc.quirks) break
      yield* wait_event(rrpc.wait, () => block.nr_pending === 0)
      continue
    }
    const page = rrpc_blk_to_ppa(block.lun, block.id) + slot
    const r = yield* lock_page(rrpc, page)
    if (r === null) continue
    error = yield* move_page(rrpc, page, r.l_start, data)
    rrpc_unlock_laddr(rrpc, r)
  }
  rrpc.memory.free(data, SECTOR_BYTES)
  return leave(rrpc.k, t, error)
}

function* erase_block(rrpc: rrpc, block: rrpc_block): Sleep<number> {
  const rqd = rrpc_get_rq(rrpc)
  rqd.opcode = NVM_OP_ERASE
  rqd.nr_ppas = 1
  rqd.flags = rrpc.geo.pln_mode >> 1
  rqd.ppa_list[0] = rrpc_ppa_to_gaddr(rrpc, rrpc_blk_to_ppa(block.lun, block.id))
  const error = yield* nvm_submit_io_sync(rrpc.dev, rqd)
  rrpc.stats.erased++
  const status = rqd.error
  rrpc_put_rq(rrpc, rqd)
  return error === 0 && status !== 0 ? -EIO : error
}

/** A block cannot be erased: nobody gets it any more. */
function* mark_grown_bad(rrpc: rrpc, block: rrpc_block): Sleep<void> {
  block.state = NVM_BLK_ST_BAD
  const ppa = rrpc_ppa_to_gaddr(rrpc, rrpc_blk_to_ppa(block.lun, block.id))
  yield* nvm_set_tgt_bb_tbl(rrpc.dev, [ppa], NVM_BLK_T_GRWN_BAD)
}

/** Empties a block and erases it. A bad one is only emptied. */
function* collect(rrpc: rrpc, block: rrpc_block): Sleep<void> {
  const { lun, id } = block
  const where = `block ${id} of LUN ${lun.id}`
  const error = yield* rrpc_move_valid_pages(rrpc, block)
  if (error !== 0) {
    if (error === -ENOSPC || rrpc.quirks) lun.prio_list.push(block)
    else printk(rrpc.k, 'err', `rrpc ${rrpc.name}: ${where} cannot be collected`)
    return
  }
  if (rrpc.stopping || block.state === NVM_BLK_ST_BAD) return
  if ((yield* erase_block(rrpc, block)) === 0) {
    rrpc_put_blk(rrpc, block)
    rrpc_wake_requeue(rrpc)
  } else if (rrpc.quirks) lun.prio_list.push(block)
  else yield* mark_grown_bad(rrpc, block)
}

function* rrpc_block_gc({ container: block }: work_struct<rrpc_block>): Sleep<void> {
  const { rrpc } = block.lun
  const t = enter(rrpc.k, 'rrpc_block_gc')
  yield* collect(rrpc, block)
  rrpc.collecting--
  block.lun.collecting--
  leave(rrpc.k, t)
}

// ---------------------------------------------------------------- victims

/** The block with the most invalid pages, the first of several. */
export function block_prio_find_max(lun: rrpc_lun): rrpc_block | null {
  let max: rrpc_block | null = null
  for (const block of lun.prio_list)
    if (max === null || block.nr_invalid_pages > max.nr_invalid_pages) max = block
  return max
}

function rrpc_lun_gc({ container: lun }: work_struct<rrpc_lun>): void {
  const { rrpc } = lun
  const t = enter(rrpc.k, 'rrpc_lun_gc')
  const coming = rrpc.quirks ? 0 : lun.collecting
  const missing = rrpc_blocks_need(rrpc) - lun.nr_free_blocks - coming
  for (let left = missing; left > 0 && !rrpc.stopping; left--) {
    const block = block_prio_find_max(lun)
    if (block === null || block.nr_invalid_pages === 0) break
    lun.prio_list.splice(lun.prio_list.indexOf(block), 1)
    rrpc.collecting++
    lun.collecting++
    INIT_WORK(block.ws_gc, rrpc_block_gc)
    queue_work(rrpc.kgc_wq!, block.ws_gc)
  }
  leave(rrpc.k, t)
}

// ---------------------------------------------------------------- rounds

/** Bios wait, and there is nothing that could free a block. */
function end_in_vain(rrpc: rrpc): void {
  const busy = rrpc.collecting > 0 || rrpc.nr_rqs > 0 || rrpc.requeue_bios.length === 0
  rrpc.idle_rounds = busy ? 0 : rrpc.idle_rounds + 1
  if (rrpc.idle_rounds < IDLE_ROUNDS) return
  const free = Math.min(...rrpc.luns.map(lun => lun.nr_free_blocks))
  const what = `a LUN has ${free} free blocks, and no block has anything to be collected`
  printk(rrpc.k, 'err', `rrpc ${rrpc.name}: writes wait for ever: ${what}`)
  rrpc.idle_rounds = 0
  for (const bio of rrpc.requeue_bios.splice(0)) bio.end_io(BLK_STS_NOSPC)
}

export function rrpc_gc_timer(timer: timer_list<rrpc>): void {
  const rrpc = timer.container
  const t = enter(rrpc.k, 'rrpc_gc_timer')
  end_in_vain(rrpc)
  rrpc_gc_kick(rrpc)
  mod_timer(timer, rrpc.k.jiffies + msecs_to_jiffies(rrpc.k, GC_TIMER_MS))
  leave(rrpc.k, t)
}

/** Works of LUNs. */
export function rrpc_gc_init(rrpc: rrpc): void {
  for (const lun of rrpc.luns) INIT_WORK(lun.ws_gc, rrpc_lun_gc)
}
