// What the page cache and its write-back are made of: state only, after include/linux/backing-dev-defs.h and fs.h of
// Linux 4.19.
//
//   mm_state            the sysctls vm.*, the page frames, the list of all backing devices, the workqueue
//   backing_dev_info    one for each request queue: its laptop-mode timer, and one bdi_writeback
//   bdi_writeback       the inodes with dirty pages, the works that were asked for, and the delayed work that does them
//   inode               the pages of one file; here, of one block device
//
// Pages lie in frames of the shared memory, so that a bio can point to them. Layers below never name layers above: what
// mm calls in fs and block is handed in (`mm_ops`, `address_space_operations`).

import type { Sleep } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import type { wait_queue_head } from '../kernel/wait.js'
import type { delayed_work, work_struct, workqueue_struct } from '../kernel/workqueue-structs.js'

export const PAGE_SIZE = 4096

/** Why write-back was begun: enum wb_reason. */
export const WB_REASON_BACKGROUND = 0
export const WB_REASON_VMSCAN = 1
export const WB_REASON_SYNC = 2
export const WB_REASON_PERIODIC = 3
export const WB_REASON_LAPTOP_TIMER = 4
export const WB_REASON_FREE_MORE_MEM = 5
export const WB_REASON_FS_FREE_SPACE = 6
export const WB_REASON_FORKER_THREAD = 7

/** Write-back that begins I/O, or also waits for it. */
export const WB_SYNC_NONE = 0
export const WB_SYNC_ALL = 1

/** What mm calls in the layers above. */
export interface mm_ops {
  wakeup_flusher_threads_bdi(bdi: backing_dev_info, reason: number): void
  /** The plug of the task that runs. */
  blk_start_plug(): void
  blk_finish_plug(): void
  wb_workfn(work: work_struct<bdi_writeback>): Sleep<void>
}

/** The memory management of one kernel. */
export interface mm_state {
  readonly k: Kernel
  readonly ops: mm_ops
  /** The workqueue `writeback`. */
  readonly bdi_wq: workqueue_struct
  readonly bdi_list: backing_dev_info[]
  /** Jiffies after the last completion at which dirty pages are written; 0 = off. */
  laptop_mode: number
  /** 1/100 s; 0 = no periodic write-back. */
  dirty_writeback_interval: number
  /** 1/100 s: age at which periodic write-back takes a page. */
  dirty_expire_interval: number
  /** Percent of the frames. */
  dirty_background_ratio: number
  vm_dirty_ratio: number
  /** Addresses of free frames. */
  readonly free_frames: number[]
  readonly nr_frames: number
  /** Pages in the order of their last use. */
  readonly lru: Set<page>
  nr_dirty: number
  nr_writeback: number
  /** Tasks that wait for a frame, or for fewer dirty pages. */
  readonly throttled: wait_queue_head
}

/** One page of the cache. */
export class page {
  readonly mapping: address_space
  readonly index: number
  /** Address of its frame. */
  readonly at: number
  uptodate = false
  dirty = false
  writeback = false
  /** Under I/O, or about to be: nobody takes it away. */
  locked = false
  /** Its place on the disk is known (buffer_mapped). */
  mapped = false

  constructor(mapping: address_space, index: number, at: number) {
    this.mapping = mapping
    this.index = index
    this.at = at
  }
}

/** How write-back is done: struct writeback_control. */
export interface writeback_control {
  readonly sync_mode: number
  readonly for_sync: boolean
  /** Pages still to be written. */
  nr_to_write: number
  /** First and last byte. */
  readonly range_start: number
  readonly range_end: number
}

/** struct address_space_operations. */
export interface address_space_operations {
  writepages(mapping: address_space, wbc: writeback_control): Sleep<number>
  readpage(p: page): Sleep<number>
}

/** struct address_space. */
export class address_space {
  readonly mm: mm_state
  readonly host: inode
  readonly a_ops: address_space_operations
  readonly pages: Map<number, page> = new Map()
  /** Numbers of dirty pages. */
  readonly dirty: Set<number> = new Set()
  /** Pages that are on their way to the disk. */
  readonly under_writeback: Set<page> = new Set()
  /** Tasks that wait for a page to be unlocked or written. */
  readonly wait: wait_queue_head
  /** First error of a write since it was last asked for. */
  wb_err = 0

  constructor(mm: mm_state, host: inode, a_ops: address_space_operations, wait: wait_queue_head) {
    this.mm = mm
    this.host = host
    this.a_ops = a_ops
    this.wait = wait
  }
}

/** struct inode, of a block device. */
export interface inode {
  readonly name: string
  readonly bdi: backing_dev_info
  i_mapping: address_space
  /** Bytes. */
  readonly i_size: number
  /** Jiffy of the first dirtying since it was clean. */
  dirtied_when: number
  /** I_DIRTY_PAGES. */
  dirty_pages: boolean
  /** I_SYNC: it is being written. */
  sync: boolean
}

/** struct wb_writeback_work. */
export interface wb_writeback_work {
  nr_pages: number
  readonly sync_mode: number
  readonly for_kupdate: boolean
  readonly for_background: boolean
  readonly for_sync: boolean
  readonly reason: number
  /** Called when it is done. */
  readonly done: (() => void) | null
}

/** struct bdi_writeback. */
export interface bdi_writeback {
  readonly bdi: backing_dev_info
  readonly dwork: delayed_work<bdi_writeback>
  readonly work_list: wb_writeback_work[]
  /** Inodes with dirty pages, oldest first. */
  b_dirty: inode[]
  /** Those that this pass writes. */
  b_io: inode[]
  registered: boolean
  has_dirty_io: boolean
  start_all: boolean
  start_all_reason: number
  last_old_flush: number
}

/** struct backing_dev_info. */
export interface backing_dev_info {
  readonly mm: mm_state
  readonly name: string
  readonly wb: bdi_writeback
  readonly laptop_mode_wb_timer: timer_list<backing_dev_info>
}
