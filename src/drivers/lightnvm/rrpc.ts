// rrpc, the round-robin target with a map of pages: what its files share. drivers/lightnvm/rrpc.h as kernels had it from 4.4
// to 4.16; 4.19 has pblk in its place. It stands here for comparison.
//
//   rrpc-init.ts   making and removing an instance; what the device's own table says
//   rrpc-io.ts     bios: ranges are locked, pages mapped, the bio's own pages go to the device
//   rrpc-map.ts    pages, blocks, LUNs: who gets the next one
//   rrpc-gc.ts     timer, victims, moving what is valid
//   rrpc-check.ts  whether an instance agrees with itself
//
// A page is a sector of 4096 bytes. It has a number: (LUN * blocks + block) * pages of a block + page. The forward map has the
// page of each logical one, the reverse map the way back; both are kept in memory only, and the device keeps a copy of the
// forward map, which hybrid writes tell it about.
//
//   block   FREE -> (rrpc_get_blk) TGT, cur or gc_cur of its LUN -> every page written -> prio_list -> collected, erased -> FREE
//           a failed write or erase makes it BAD for good
//
// quirks: what those kernels do where it is wrong.
//
//   what                                        there                                  here
//   an overwrite that fails, or is interrupted  the old data are unreachable           they are there again
//   a read of pages some of which are unmapped  ends at once, the buffer untouched     zeros for those, the others are read
//   writes are refused                          below 4 * LUNs free blocks of the LUN  only when no LUN has more than 2 left
//   a LUN between that and the collector's goal refuses for ever                       cannot be
//   blocks after a restart                      are never collected                    are full, and collected
//   free blocks after a restart                 are not erased                         are erased
//   a block that is being collected             another one is begun in the next round     is one that will be free
//   a block that went bad                       is written on                          is full, and emptied
//   a table's page 0                            is skipped                             is a page like any other
//
// A write that a reset of the controller took away is sent again. If it was carried out, the device refuses it, with the status
// of one out of order: it ends with an error, as there, and the old data are there again.
//
// Not modelled: the list of blocks that wait to be written, which only ever has an entry between two locks; waiting bios that
// try again all the time (here: when a range is unlocked, or a block freed).

import type { Kernel } from '../../kernel/kernel.js'
import type { timer_list } from '../../kernel/timer-wheel.js'
import { wait_queue_head, wake_up_all } from '../../kernel/wait.js'
import { queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct, type workqueue_struct } from '../../kernel/workqueue-structs.js'
import { bitmap_alloc } from './bitmap.js'
import {
  type nvm_geo,
  type nvm_memory,
  type nvm_rq,
  type nvm_tgt_dev,
  ppa_of,
  type tgt_bio,
} from './lightnvm.js'

/** Blocks of a LUN that only the collector gets. */
export const RRPC_RESERVED_BLOCKS = 2
/** Pages of a block at most: 8 words of 64 bits. */
export const MAX_INVALID_PAGES = 512
/** 512 bytes of a page. */
export const NR_PHY_IN_LOG = 8
/** No page, no logical page. */
export const RRPC_EMPTY = 0xffffffff

export const NVM_BLK_ST_FREE = 1
export const NVM_BLK_ST_TGT = 2
export const NVM_BLK_ST_BAD = 8

export interface rrpc_options {
  /** Of the instance of that name: behave as those kernels do where that is wrong. */
  readonly quirks?: (name: string) => boolean
}

/** A block over all its planes. */
export class rrpc_block {
  readonly lun: rrpc_lun
  /** Of its LUN. */
  readonly id: number
  state: number = NVM_BLK_ST_FREE
  /** The next page to be written. */
  next_page = 0
  nr_invalid_pages = 0
  readonly invalid_pages: Uint32Array
  /** Pages whose writes have ended. */
  data_cmnt_size = 0
  /** Pages of it that writes under way are to replace: not to be erased before those have ended. */
  nr_pending = 0
  readonly ws_gc: work_struct<rrpc_block>

  constructor(rrpc: rrpc, lun: rrpc_lun, id: number) {
    this.lun = lun
    this.id = id
    this.invalid_pages = bitmap_alloc(rrpc.sec_per_blk)
    this.ws_gc = new work_struct<rrpc_block>(rrpc.k, this)
  }
}

export class rrpc_lun {
  readonly rrpc: rrpc
  readonly id: number
  readonly blocks: rrpc_block[] = []
  readonly free_list: rrpc_block[] = []
  /** Full blocks. */
  readonly prio_list: rrpc_block[] = []
  /** Where the next page is written; the collector's, when there is no other. */
  cur: rrpc_block | null = null
  gc_cur: rrpc_block | null = null
  readonly ws_gc: work_struct<rrpc_lun>
  /** Blocks of it that are being collected, or wait for that. */
  collecting = 0

  constructor(rrpc: rrpc, id: number) {
    this.rrpc = rrpc
    this.id = id
    this.ws_gc = new work_struct<rrpc_lun>(rrpc.k, this)
  }

  get nr_free_blocks(): number {
    return this.free_list.length
  }
}

/** Logical pages that somebody works on: first and last. */
export interface rrpc_inflight_rq {
  readonly l_start: number
  readonly l_end: number
}

/** Counts, for tests and reports. */
export interface rrpc_stats {
  /** Pages. */
  read: number
  written: number
  gc_read: number
  gc_written: number
  erased: number
  /** Times that a bio had to wait: for a range, for a block. */
  locked_out: number
  refused: number
}

export class rrpc {
  readonly k: Kernel
  readonly dev: nvm_tgt_dev
  readonly geo: nvm_geo
  readonly memory: nvm_memory
  readonly name: string
  readonly quirks: boolean
  readonly nr_luns: number
  readonly nr_blks: number
  readonly sec_per_blk: number
  readonly nr_sects: number
  /** First logical sector of the device that is the target's. */
  soffset = 0
  luns: rrpc_lun[] = []
  /** By channel and LUN: its number. */
  readonly lun_ids: Map<number, number> = new Map()
  trans_map: Uint32Array = new Uint32Array(0)
  rev_trans_map: Uint32Array = new Uint32Array(0)
  /** Counts pages of users. */
  next_lun = -1
  readonly inflights: Set<rrpc_inflight_rq> = new Set()
  /** Bios that wait until a range is unlocked, or a block is freed. */
  locked_bios: tgt_bio[] = []
  requeue_bios: tgt_bio[] = []
  readonly ws_requeue: work_struct<rrpc>
  krqd_wq: workqueue_struct | null = null
  kgc_wq: workqueue_struct | null = null
  gc_timer: timer_list<rrpc> | null = null
  /** Rounds of the collector that found nothing to do while bios waited for blocks. */
  idle_rounds = 0
  /** Blocks that are being collected. */
  collecting = 0
  /** Requests under way; requests that are not used. */
  nr_rqs = 0
  readonly rqs: nvm_rq[] = []
  stopping = false
  /** Woken when a range is unlocked or a request has ended. */
  readonly wait: wait_queue_head
  readonly stats: rrpc_stats = {
    read: 0,
    written: 0,
    gc_read: 0,
    gc_written: 0,
    erased: 0,
    locked_out: 0,
    refused: 0,
  }

  constructor(dev: nvm_tgt_dev, name: string, quirks: boolean) {
    const { geo } = dev
    this.k = dev.parent.k
    this.dev = dev
    this.geo = geo
    this.memory = dev.parent.memory
    this.name = name
    this.quirks = quirks
    this.nr_luns = geo.all_luns
    this.nr_blks = geo.num_chk
    this.sec_per_blk = geo.clba
    this.nr_sects = geo.total_secs
    this.ws_requeue = new work_struct<rrpc>(this.k, this)
    this.wait = new wait_queue_head(this.k, `${name} wait`)
    for (const [id, { ch, lun }] of dev.luns.entries()) this.lun_ids.set(lun_key(ch, lun), id)
  }
}

export const lun_key = (ch: number, lun: number): number => ch * 256 + lun

// ---------------------------------------------------------------- pages

/** Number of the first page of a block. */
export function rrpc_blk_to_ppa({ rrpc, id }: rrpc_lun, block: number): number {
  return (id * rrpc.nr_blks + block) * rrpc.sec_per_blk
}

/** The block of a page. */
export function rrpc_page_block(rrpc: rrpc, page: number): rrpc_block {
  const block = Math.floor(page / rrpc.sec_per_blk)
  return rrpc.luns[Math.floor(block / rrpc.nr_blks)].blocks[block % rrpc.nr_blks]
}

/** The target's address of a page. */
export function rrpc_ppa_to_gaddr(rrpc: rrpc, page: number): number {
  const block = Math.floor(page / rrpc.sec_per_blk)
  const { ch, lun } = rrpc.dev.luns[Math.floor(block / rrpc.nr_blks)]
  return ppa_of(ch, lun, block % rrpc.nr_blks, page % rrpc.sec_per_blk)
}

export function block_is_full(rrpc: rrpc, { next_page }: rrpc_block): boolean {
  return next_page === rrpc.sec_per_blk
}

// ---------------------------------------------------------------- ranges

/** Locks logical pages; null when somebody has one of them. */
export function rrpc_lock_laddr(rrpc: rrpc, laddr: number, pages: number): rrpc_inflight_rq | null {
  const l_end = laddr + pages - 1
  for (const r of rrpc.inflights) if (laddr <= r.l_end && r.l_start <= l_end) return null
  const r = { l_start: laddr, l_end }
  rrpc.inflights.add(r)
  return r
}

/** Bios that wait for a range try again. */
export function rrpc_unlock_laddr(rrpc: rrpc, r: rrpc_inflight_rq): void {
  rrpc.inflights.delete(r)
  wake_up_all(rrpc.wait)
  if (rrpc.locked_bios.length > 0) queue_work(rrpc.kgc_wq!, rrpc.ws_requeue)
}
