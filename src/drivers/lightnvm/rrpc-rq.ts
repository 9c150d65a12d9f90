// Requests of rrpc to its device, and the end of writes: drivers/lightnvm/rrpc.c until 4.16.
//
//   rrpc_setup_write     a hybrid write of pages that have been mapped
//   rrpc_end_io_write    pages are written, or not: then the block is bad, and the logical pages are where they were
//   rrpc_run_gc          a block has been written to its end
//   rrpc_gc_kick, rrpc_wake_requeue   works that somebody waits for

import { enter, leave } from '../../kernel/trace.js'
import { wake_up_all } from '../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct } from '../../kernel/workqueue-structs.js'
import type { Sleep } from '../../kernel/core.js'
import { test_and_set_bit } from './bitmap.js'
import { nvm_dev_dma_alloc, nvm_dev_dma_free, nvm_set_tgt_bb_tbl } from './core.js'
import {
  NVM_BLK_T_GRWN_BAD,
  NVM_OP_HBWRITE,
  NVM_RSP_ERR_FAILWRITE,
  NVM_RSP_WARN_HIGHECC,
  nvm_rq,
  ppa_failed,
  SECTOR_BYTES,
} from './lightnvm.js'
import {
  NVM_BLK_ST_BAD,
  RRPC_EMPTY,
  type rrpc,
  rrpc_blk_to_ppa,
  type rrpc_block,
  rrpc_page_block,
  rrpc_ppa_to_gaddr,
} from './rrpc.js'
import { type rrpc_place, rrpc_restore_map } from './rrpc-map.js'

// ---------------------------------------------------------------- the pool

/** A request with a block of memory for its list. */
export function rrpc_get_rq(rrpc: rrpc): nvm_rq {
  let rqd = rrpc.rqs.pop()
  if (rqd === undefined) {
    rqd = new nvm_rq()
    rqd.dma = nvm_dev_dma_alloc(rrpc.dev.parent)
  }
  rqd.flags = 0
  rqd.error = 0
  rqd.ppa_status_low = 0
  rqd.ppa_status_high = 0
  rqd.end_io = null
  rrpc.nr_rqs++
  return rqd
}

export function rrpc_put_rq(rrpc: rrpc, rqd: nvm_rq): void {
  rqd.private = null
  rrpc.rqs.push(rqd)
  rrpc.nr_rqs--
  wake_up_all(rrpc.wait)
}

/** The memory of requests goes. */
export function rrpc_free_rqs(rrpc: rrpc): void {
  for (const { dma } of rrpc.rqs.splice(0)) nvm_dev_dma_free(rrpc.dev.parent, dma)
}

/** Whether a command has failed, and not only warned. */
export function rrpc_is_error({ error }: nvm_rq): boolean {
  return error !== 0 && error !== NVM_RSP_WARN_HIGHECC
}

// ---------------------------------------------------------------- writes

/** Fills in a write of logical pages from `laddr` on. */
export function rrpc_setup_write(
  rrpc: rrpc,
  rqd: nvm_rq,
  laddr: number,
  places: readonly rrpc_place[],
  data: number,
): void {
  rqd.opcode = NVM_OP_HBWRITE
  rqd.nr_ppas = places.length
  rqd.slba = rrpc.soffset + laddr
  for (const [i, { page }] of places.entries()) {
    rqd.ppa_list[i] = rrpc_ppa_to_gaddr(rrpc, page)
    rqd.pages[i] = data + i * SECTOR_BYTES
  }
}

/** The device hears that a block is bad. */
function* rrpc_mark_bad_ws({ container: block }: work_struct<rrpc_block>): Sleep<void> {
  const { rrpc } = block.lun
  const ppa = rrpc_ppa_to_gaddr(rrpc, rrpc_blk_to_ppa(block.lun, block.id))
  yield* nvm_set_tgt_bb_tbl(rrpc.dev, [ppa], NVM_BLK_T_GRWN_BAD)
}

/** A write to a block has failed: nobody gets it any more. */
function rrpc_mark_bad_block(rrpc: rrpc, block: rrpc_block): void {
  const t = enter(rrpc.k, 'rrpc_mark_bad_block')
  if (block.state !== NVM_BLK_ST_BAD) {
    block.state = NVM_BLK_ST_BAD
    const work = new work_struct<rrpc_block>(rrpc.k, block)
    INIT_WORK(work, rrpc_mark_bad_ws)
    queue_work(rrpc.krqd_wq!, work)
  }
  leave(rrpc.k, t)
}

/** Pages are written in order: behind one that was not, none can be. The rest of the block is given up. */
function give_up_rest(rrpc: rrpc, block: rrpc_block): void {
  const rest = rrpc.sec_per_blk - block.next_page
  for (let i = block.next_page; i < rrpc.sec_per_blk; i++)
    if (!test_and_set_bit(block.invalid_pages, i)) block.nr_invalid_pages++
  block.next_page = rrpc.sec_per_blk
  rrpc_pages_done(rrpc, block, rest)
}

/** So many pages of a block are written, or never will be. */
function rrpc_pages_done(rrpc: rrpc, block: rrpc_block, n: number): void {
  block.data_cmnt_size += n
  if (n > 0 && block.data_cmnt_size === rrpc.sec_per_blk) rrpc_run_gc(rrpc, block)
}

/** The pages of a write have ended; its range is still locked. */
export function rrpc_end_io_write(
  rrpc: rrpc,
  rqd: nvm_rq,
  laddr: number,
  places: readonly rrpc_place[],
): void {
  const t = enter(rrpc.k, 'rrpc_end_io_write')
  const all = (rqd.ppa_status_low | rqd.ppa_status_high) === 0
  for (const [i, place] of places.entries()) {
    const block = rrpc_page_block(rrpc, place.page)
    if (place.old !== RRPC_EMPTY) rrpc_page_block(rrpc, place.old).nr_pending--
    if (rrpc_is_error(rqd) && (all || ppa_failed(rqd, i))) {
      if (rqd.error === NVM_RSP_ERR_FAILWRITE) rrpc_mark_bad_block(rrpc, block)
      if (!rrpc.quirks) {
        rrpc_restore_map(rrpc, laddr + i, place)
        give_up_rest(rrpc, block)
      }
    }
    rrpc_pages_done(rrpc, block, 1)
  }
  wake_up_all(rrpc.wait)
  leave(rrpc.k, t)
}

// ---------------------------------------------------------------- works

function rrpc_gc_queue({ container: block }: work_struct<rrpc_block>): void {
  const { rrpc } = block.lun
  const t = enter(rrpc.k, 'rrpc_gc_queue')
  block.lun.prio_list.push(block)
  leave(rrpc.k, t)
}

/** Every page of a block has been written: it may be collected from now on. */
function rrpc_run_gc(rrpc: rrpc, block: rrpc_block): void {
  INIT_WORK(block.ws_gc, rrpc_gc_queue)
  queue_work(rrpc.kgc_wq!, block.ws_gc)
}

/** Bios that wait for blocks try again. */
export function rrpc_wake_requeue(rrpc: rrpc): void {
  rrpc.idle_rounds = 0
  if (rrpc.requeue_bios.length > 0) queue_work(rrpc.kgc_wq!, rrpc.ws_requeue)
}

/** Every LUN looks whether it wants blocks. */
export function rrpc_gc_kick(rrpc: rrpc): void {
  const t = enter(rrpc.k, 'rrpc_gc_kick')
  for (const lun of rrpc.luns) queue_work(rrpc.krqd_wq!, lun.ws_gc)
  leave(rrpc.k, t)
}
