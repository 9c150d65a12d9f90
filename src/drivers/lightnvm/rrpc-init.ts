// rrpc as a target type, and the life of an instance: drivers/lightnvm/rrpc.c until 4.16.
//
//   rrpc_init   area of the device's logical sectors, LUNs without their bad blocks, maps, the device's table read back,
//               states of blocks from the reverse map, two open blocks for each LUN, works, timer
//   rrpc_exit   timer and works end, bios that wait end with an error
//
// It needs a device that keeps a table (bit 0 of dom), which pblk refuses. There are no create flags: what the table says is
// there. Power loss: what had ended is on the media and in the table; what had not is old or new.
//
// Different from those kernels, unless quirks: blocks that the table names are full, and so can be collected; the others are
// erased before they are written; LUNs with fewer blocks than the collector needs are refused.

import { printk, type Sleep } from '../../kernel/core.js'
import { EINVAL, EIO, ENOMEM } from '../../kernel/errno.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { del_timer_sync, mod_timer, timer_setup } from '../../kernel/timer.js'
import { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave } from '../../kernel/trace.js'
import { wait_event } from '../../kernel/wait.js'
import { alloc_workqueue, destroy_workqueue } from '../../kernel/workqueue-alloc.js'
import { flush_workqueue } from '../../kernel/workqueue-flush.js'
import { INIT_WORK } from '../../kernel/workqueue-queue.js'
import { WQ_MEM_RECLAIM, WQ_UNBOUND } from '../../kernel/workqueue-structs.js'
import { BLK_STS_IOERR } from '../../../assembly/nvme.js'
import { nvm_get_area, nvm_put_area } from './area.js'
import { set_bit } from './bitmap.js'
import { nvm_bb_tbl_fold, nvm_get_l2p_tbl, nvm_get_tgt_bb_tbl, nvm_submit_io_sync } from './core.js'
import {
  NVM_BLK_T_FREE,
  NVM_L2P_NONE,
  NVM_MAX_VLBA,
  NVM_OP_ERASE,
  NVM_RSP_L2P,
  type nvm_geo,
  type nvm_tgt_dev,
  type nvm_tgt_type,
  ppa_ch,
  ppa_chk,
  ppa_failed,
  ppa_lun,
  ppa_of,
  ppa_sec,
} from './lightnvm.js'
import {
  lun_key,
  MAX_INVALID_PAGES,
  NR_PHY_IN_LOG,
  NVM_BLK_ST_BAD,
  NVM_BLK_ST_FREE,
  NVM_BLK_ST_TGT,
  RRPC_EMPTY,
  rrpc,
  rrpc_blk_to_ppa,
  rrpc_block,
  rrpc_lun,
  type rrpc_options,
  rrpc_ppa_to_gaddr,
} from './rrpc.js'
import { rrpc_gc_init, rrpc_gc_timer } from './rrpc-gc.js'
import { rrpc_make_rq, rrpc_requeue } from './rrpc-io.js'
import { rrpc_get_blk } from './rrpc-map.js'
import { rrpc_free_rqs, rrpc_get_rq, rrpc_put_rq } from './rrpc-rq.js'

/** Blocks of a LUN that the disk does not show, beside a tenth of the rest: open ones, the collector's. */
const HIDDEN_BLOCKS = 4
/** Below this a full disk would leave the collector no block to work with. */
const MIN_BLOCKS = 14
const FIRST_GC_MS = 10

/** What of a geometry the capacity follows from. */
type rrpc_shape = Pick<nvm_geo, 'all_luns' | 'num_chk' | 'clba'>

/** Pages that the disk shows; 0 or less: none. */
export function rrpc_pages({ all_luns, num_chk, clba }: rrpc_shape): number {
  const reserved = all_luns * clba * HIDDEN_BLOCKS
  return Math.floor((all_luns * num_chk * clba - reserved) / 10) * 9
}

/** Why a device cannot have an instance; null if it can. */
export function rrpc_geometry_problem(geo: rrpc_shape, dom: number): string | null {
  if ((dom & NVM_RSP_L2P) === 0) return 'needs a device that keeps a table (dom bit 0)'
  if (geo.clba > MAX_INVALID_PAGES)
    return `${geo.clba} sectors in a block, at most ${MAX_INVALID_PAGES} can be`
  return null
}

/** The same for blocks of a LUN, of which those kernels have no least number. */
export function rrpc_size_problem({ num_chk }: rrpc_shape): string | null {
  return num_chk < MIN_BLOCKS
    ? `too small: ${num_chk} blocks in a LUN, at least ${MIN_BLOCKS}`
    : null
}

/** In 512 bytes. */
function rrpc_capacity(rrpc: rrpc): number {
  const t = enter(rrpc.k, 'rrpc_capacity')
  const pages = rrpc_pages(rrpc.geo)
  if (pages > 0) return leave(rrpc.k, t, pages * NR_PHY_IN_LOG)
  printk(rrpc.k, 'err', `rrpc ${rrpc.name}: there is no space beside the reserved blocks`)
  return leave(rrpc.k, t, 0)
}

// ---------------------------------------------------------------- LUNs and maps

function* rrpc_bb_discovery(rrpc: rrpc, lun: rrpc_lun): Sleep<number> {
  const t = enter(rrpc.k, 'rrpc_bb_discovery')
  const { ch, lun: id } = rrpc.dev.luns[lun.id]
  const raw = yield* nvm_get_tgt_bb_tbl(rrpc.dev, ppa_of(ch, id, 0, 0))
  const table = typeof raw === 'number' ? raw : nvm_bb_tbl_fold(rrpc.geo, raw)
  if (typeof table === 'number') return leave(rrpc.k, t, table)
  for (const block of lun.blocks)
    if (table[block.id] !== NVM_BLK_T_FREE) block.state = NVM_BLK_ST_BAD
  return leave(rrpc.k, t, 0)
}

function* rrpc_luns_init(rrpc: rrpc): Sleep<number> {
  const t = enter(rrpc.k, 'rrpc_luns_init')
  rrpc.luns = Array.from({ length: rrpc.nr_luns }, (_, i) => new rrpc_lun(rrpc, i))
  let error = 0
  for (const lun of rrpc.luns) {
    for (let i = 0; i < rrpc.nr_blks; i++) lun.blocks.push(new rrpc_block(rrpc, lun, i))
    error ||= yield* rrpc_bb_discovery(rrpc, lun)
  }
  return leave(rrpc.k, t, error)
}

/** The page of a target's address. */
function page_of(rrpc: rrpc, ppa: number): number {
  const lun = rrpc.luns[rrpc.lun_ids.get(lun_key(ppa_ch(ppa), ppa_lun(ppa)))!]
  return rrpc_blk_to_ppa(lun, ppa_chk(ppa)) + ppa_sec(ppa)
}

/** Both maps, from the device's table. */
function* rrpc_map_init(rrpc: rrpc): Sleep<number> {
  const t = enter(rrpc.k, 'rrpc_map_init')
  rrpc.trans_map = new Uint32Array(rrpc.nr_sects).fill(RRPC_EMPTY)
  rrpc.rev_trans_map = new Uint32Array(rrpc.nr_sects).fill(RRPC_EMPTY)
  const table = yield* nvm_get_l2p_tbl(rrpc.dev, rrpc.soffset, rrpc.nr_sects)
  if (typeof table === 'number') {
    printk(rrpc.k, 'err', `rrpc ${rrpc.name}: the device's table cannot be read back`)
    return leave(rrpc.k, t, table)
  }
  for (let laddr = 0; laddr < table.length; laddr++) {
    if (table[laddr] === NVM_L2P_NONE) continue
    const page = page_of(rrpc, table[laddr])
    if (page === 0 && rrpc.quirks) continue
    rrpc.trans_map[laddr] = page
    rrpc.rev_trans_map[page] = laddr
  }
  return leave(rrpc.k, t, 0)
}

/** What the reverse map says of a block: in use, and full. */
function rrpc_block_map_update(rrpc: rrpc, block: rrpc_block): void {
  const first = rrpc_blk_to_ppa(block.lun, block.id)
  const pages = rrpc.rev_trans_map.subarray(first, first + rrpc.sec_per_blk)
  if (pages.every(laddr => laddr === RRPC_EMPTY)) return
  if (block.state === NVM_BLK_ST_FREE) block.state = NVM_BLK_ST_TGT
  if (rrpc.quirks) return
  for (const [i, laddr] of pages.entries()) {
    if (laddr !== RRPC_EMPTY) continue
    set_bit(block.invalid_pages, i)
    block.nr_invalid_pages++
  }
  block.next_page = rrpc.sec_per_blk
  block.data_cmnt_size = rrpc.sec_per_blk
  block.lun.prio_list.push(block)
}

/** Erases one block of each of some LUNs. */
function* erase(rrpc: rrpc, blocks: readonly rrpc_block[]): Sleep<number> {
  const rqd = rrpc_get_rq(rrpc)
  rqd.opcode = NVM_OP_ERASE
  rqd.nr_ppas = blocks.length
  rqd.flags = rrpc.geo.pln_mode >> 1
  for (const [i, { lun, id }] of blocks.entries())
    rqd.ppa_list[i] = rrpc_ppa_to_gaddr(rrpc, rrpc_blk_to_ppa(lun, id))
  const error = yield* nvm_submit_io_sync(rrpc.dev, rqd)
  const failed = blocks.findIndex((_, i) => ppa_failed(rqd, i))
  const ok = rqd.error === 0
  rrpc_put_rq(rrpc, rqd)
  if (error !== 0) return error
  if (ok) return 0
  if (failed < 0) return -EIO
  // The device has stopped there: the block is bad, the rest is still to be done.
  blocks[failed].state = NVM_BLK_ST_BAD
  const rest = blocks.slice(failed + 1)
  return rest.length === 0 ? 0 : yield* erase(rrpc, rest)
}

/** Blocks that hold nothing are erased, over all LUNs at once. */
function* erase_free(rrpc: rrpc): Sleep<number> {
  for (let id = 0; id < rrpc.nr_blks; id++) {
    const blocks = rrpc.luns.map(lun => lun.blocks[id])
    const free = blocks.filter(block => block.state === NVM_BLK_ST_FREE)
    for (let at = 0; at < free.length; at += NVM_MAX_VLBA) {
      const error = yield* erase(rrpc, free.slice(at, at + NVM_MAX_VLBA))
      if (error !== 0) return error
    }
  }
  return 0
}

function* rrpc_blocks_init(rrpc: rrpc): Sleep<number> {
  const t = enter(rrpc.k, 'rrpc_blocks_init')
  for (const lun of rrpc.luns) for (const block of lun.blocks) rrpc_block_map_update(rrpc, block)
  const error = rrpc.quirks ? 0 : yield* erase_free(rrpc)
  for (const lun of rrpc.luns)
    for (const block of lun.blocks) if (block.state === NVM_BLK_ST_FREE) lun.free_list.push(block)
  return leave(rrpc.k, t, error)
}

/** Two open blocks for each LUN. */
function rrpc_luns_configure(rrpc: rrpc): number {
  const t = enter(rrpc.k, 'rrpc_luns_configure')
  for (const lun of rrpc.luns) {
    lun.cur = rrpc_get_blk(rrpc, lun, false)
    lun.gc_cur = rrpc_get_blk(rrpc, lun, true)
    // After a restart a full LUN may have none: the collector makes some.
    if (rrpc.quirks && (lun.cur === null || lun.gc_cur === null)) return leave(rrpc.k, t, -EINVAL)
  }
  return leave(rrpc.k, t, 0)
}

// ---------------------------------------------------------------- life

function rrpc_wqs_init(rrpc: rrpc): boolean {
  const flags = WQ_MEM_RECLAIM | WQ_UNBOUND
  rrpc.krqd_wq = alloc_workqueue(rrpc.k, 'rrpc-lun', flags, rrpc.nr_luns)
  rrpc.kgc_wq = alloc_workqueue(rrpc.k, 'rrpc-bg', WQ_MEM_RECLAIM, 1)
  INIT_WORK(rrpc.ws_requeue, rrpc_requeue)
  rrpc_gc_init(rrpc)
  return rrpc.krqd_wq !== null && rrpc.kgc_wq !== null
}

function* rrpc_free(rrpc: rrpc): Sleep<void> {
  const t = enter(rrpc.k, 'rrpc_free')
  for (const wq of [rrpc.krqd_wq, rrpc.kgc_wq]) if (wq !== null) yield* destroy_workqueue(wq)
  rrpc_free_rqs(rrpc)
  nvm_put_area(rrpc.dev.parent, rrpc.soffset)
  leave(rrpc.k, t)
}

function* bring_up(rrpc: rrpc): Sleep<number> {
  const error = yield* rrpc_luns_init(rrpc)
  if (error !== 0) return error
  const mapped = yield* rrpc_map_init(rrpc)
  if (mapped !== 0) return mapped
  const blocks = yield* rrpc_blocks_init(rrpc)
  if (blocks !== 0) return blocks
  const configured = rrpc_luns_configure(rrpc)
  if (configured !== 0) return configured
  return rrpc_wqs_init(rrpc) ? 0 : -ENOMEM
}

function* rrpc_init(dev: nvm_tgt_dev, name: string, options: rrpc_options): Sleep<rrpc | number> {
  const { k } = dev.parent
  const t = enter(k, 'rrpc_init')
  const instance = new rrpc(dev, name, options.quirks?.(name) ?? false)
  const small = instance.quirks ? null : rrpc_size_problem(dev.geo)
  const problem = rrpc_geometry_problem(dev.geo, dev.geo.dom) ?? small
  if (problem !== null) {
    printk(k, 'err', `rrpc ${name}: ${problem}`)
    return leave(k, t, -EINVAL)
  }
  instance.soffset = nvm_get_area(dev.parent, instance.nr_sects)
  if (instance.soffset < 0) return leave(k, t, instance.soffset)
  const error = yield* bring_up(instance)
  if (error !== 0) {
    yield* rrpc_free(instance)
    return leave(k, t, error)
  }
  instance.gc_timer = new timer_list(k, instance)
  timer_setup(instance.gc_timer, rrpc_gc_timer)
  mod_timer(instance.gc_timer, k.jiffies + msecs_to_jiffies(k, FIRST_GC_MS))
  const { nr_luns, nr_sects } = instance
  printk(k, 'info', `rrpc ${name}: ${nr_luns} LUNs and ${nr_sects} pages`)
  return leave(k, t, instance)
}

function* rrpc_exit(rrpc: rrpc): Sleep<void> {
  const t = enter(rrpc.k, 'rrpc_exit')
  rrpc.stopping = true
  del_timer_sync(rrpc.gc_timer!)
  const waiting = [...rrpc.locked_bios.splice(0), ...rrpc.requeue_bios.splice(0)]
  for (const bio of waiting) bio.end_io(BLK_STS_IOERR)
  yield* flush_workqueue(rrpc.krqd_wq!)
  yield* flush_workqueue(rrpc.kgc_wq!)
  yield* wait_event(rrpc.wait, () => rrpc.nr_rqs === 0)
  yield* rrpc_free(rrpc)
  leave(rrpc.k, t)
}

/** The type "rrpc" for nvm_register_tgt_type. */
export function tt_rrpc(options: rrpc_options = {}): nvm_tgt_type<rrpc> {
  return {
    name: 'rrpc',
    version: [1, 0, 0],
    write_through: true,
    make_rq: rrpc_make_rq,
    capacity: rrpc_capacity,
    init: (dev, name) => rrpc_init(dev, name, options),
    exit: rrpc => rrpc_exit(rrpc),
  }
}
