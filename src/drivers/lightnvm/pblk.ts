// pblk, a page-mapped translation layer in the host: what its files share. drivers/lightnvm/pblk.h of Linux 4.19.
//
//   user bio ──▶ ring (pblk-cache, pblk-rb) ──▶ writer (pblk-write, pblk-map) ──▶ device
//                  ▲                                    │ a line = chunk i of every LUN
//   GC (pblk-gc) ──┘                                    ▼
//   read: ring or device (pblk-read)            L2P: lba → ring entry or address
//
// An address inside of a pblk is a number `T`: sector, channel, LUN and line from low to high, as many bits each as it
// needs, so that the L2P table takes four bytes a sector where they are less than 32. Two kinds of T are no addresses:
// `addr_empty` (all ones), and from `cached_base` on the positions of ring entries. A place inside of a line is a `paddr`:
// units of ws_opt sectors go round all LUNs, then to the next row.
//
// quirks=4.19 brings back what that kernel does and later ones do better:
//
//   FUA goes unseen, failed reads end well, a read of what was never written leaves the buffer as it was
//   the spare space may be too small to collect garbage
//   an entry leaves the ring before the device can read it back, and the ring is that much smaller
//   entries that keep a user or the collector waiting stay in the ring until others push them out
//   users whom the limiter gives nothing wait also when there is nothing to collect
//   a line is erased although what replaced its data is still in the ring; one with entries in the ring is a victim
//   a victim that cannot be read is freed, data and all; all lines may be victims at once
//   of a write of several units that fails only the first chunk is given up, and its list may have what failed
//   what is sent again after a reset, and was carried out the first time, is a failure
//
//   pblk.ts            this file: constants, structures, arithmetic of addresses
//   pblk-core*.ts      requests, L2P, lines
//   pblk-rb.ts -rl.ts  ring and rate limiter
//   pblk-cache.ts -write.ts -map.ts -read.ts -gc.ts -recovery.ts
//   pblk-init.ts       making and removing an instance
//   pblk-sysfs.ts      its attributes: write amplification, padding, limiter, lines, ...
//
// Not modelled: debug counters, module parameters but the write buffer's size.

import type { task_struct } from '../../kernel/core.js'
import type { Kernel } from '../../kernel/kernel.js'
import type { semaphore } from '../../kernel/semaphore.js'
import type { timer_list } from '../../kernel/timer-wheel.js'
import type { wait_queue_head } from '../../kernel/wait.js'
import type { workqueue_struct } from '../../kernel/workqueue-structs.js'
import {
  PB_INFLIGHT,
  PB_PAD_WA,
  PB_RL_SPACE,
  PB_SIZE,
  PB_SLOW,
  PB_USER_WA,
  PBS_FAILED,
} from '../../../assembly/layout.js'
import type { nvm_geo, nvm_memory, nvm_rq, nvm_tgt_dev, tgt_bio } from './lightnvm.js'
import { ppa_ch, ppa_chk, ppa_lun, ppa_of, ppa_sec } from './lightnvm.js'
import {
  type flush_bio,
  pblk_block,
  type pblk_line,
  type pblk_meta_buf,
  type pblk_rb,
  pblk_rl,
} from './pblk-shared.js'

export const PBLK_EXPOSED_PAGE_SIZE = 4096
export const PBLK_MAX_REQ_ADDRS = 64
export const NR_PHY_IN_LOG = 8
export const PBLK_DEFAULT_OP = 11
/** Metadata buffers: lines that are open or being closed at once. */
export const PBLK_DATA_LINES = 4
export const PBLK_MIN_RB_ENTRIES = 128
/** ms: the LUN's semaphore, and everything else that is waited for with a limit. */
export const PBLK_COMMAND_TIMEOUT_MS = 30000

/** "No lba": metadata and padding. All ones on the media. */
export const ADDR_EMPTY = -1

// Flags of a ring entry.
export {
  PBLK_FLUSH_ENTRY,
  PBLK_IOTYPE_GC,
  PBLK_IOTYPE_USER,
  PBLK_LINESTATE_CLOSED,
  PBLK_LINESTATE_OPEN,
  PBLK_SUBMITTED_ENTRY,
  PBLK_WRITABLE_ENTRY,
  PBLK_WRITTEN_DATA,
} from '../../../assembly/layout.js'
export {
  type flush_bio,
  PBLK_LINEGC_NONE,
  PBLK_LINESTATE_NEW,
  PBLK_LINETYPE_FREE,
  pblk_line,
  pblk_rb,
  pblk_rl,
} from './pblk-shared.js'

// States of an instance.
export const PBLK_STATE_RUNNING = 0
export const PBLK_STATE_STOPPING = 1
export const PBLK_STATE_RECOVERING = 2
export const PBLK_STATE_STOPPED = 3

// States, types and groups of lines.
export const PBLK_LINESTATE_FREE = 10
export const PBLK_LINESTATE_GC = 13
export const PBLK_LINESTATE_BAD = 14
export const PBLK_LINESTATE_CORRUPT = 15

export const PBLK_LINETYPE_DATA = 2

export const PBLK_LINEGC_EMPTY = 21
export const PBLK_LINEGC_LOW = 22
export const PBLK_LINEGC_MID = 23
export const PBLK_LINEGC_HIGH = 24
export const PBLK_LINEGC_FULL = 25
export const PBLK_LINEGC_WERR = 26

// States of the rate limiter.
export const PBLK_RL_OFF = 0
export const PBLK_RL_WERR = 1
export const PBLK_RL_HIGH = 2
export const PBLK_RL_MID = 3
export const PBLK_RL_LOW = 4

// ---------------------------------------------------------------- lines

/** What all lines have in common: sizes in sectors unless they say otherwise. */
export interface pblk_line_meta {
  readonly blk_per_line: number
  readonly sec_per_line: number
  readonly smeta_sec: number
  /** Sectors of the line's end metadata, and where its list of lbas begins in it. */
  readonly emeta_sec: number
  readonly emeta_lba_sec: number
  /** Bytes of a bitmap of chunks on the media. */
  readonly blk_bitmap_len: number
  /** Chunks that a line must have to be of use. */
  readonly min_blk_line: number
  readonly mid_thrs: number
  readonly high_thrs: number
  readonly meta_distance: number
}

export interface pblk_line_mgmt {
  nr_free_lines: number
  readonly free_list: Set<pblk_line>
  readonly bad_list: Set<pblk_line>
  readonly corrupt_list: Set<pblk_line>
  readonly gc_full_list: Set<pblk_line>
  readonly gc_high_list: Set<pblk_line>
  readonly gc_mid_list: Set<pblk_line>
  readonly gc_low_list: Set<pblk_line>
  readonly gc_empty_list: Set<pblk_line>
  readonly gc_werr_list: Set<pblk_line>
  /** Lines whose emeta is to be written. */
  readonly emeta_list: Set<pblk_line>
  /** Lines that are free once the ring has been written up to a count of entries. */
  readonly pending: { readonly line: pblk_line; readonly upTo: number }[]
  data_line: pblk_line | null
  data_next: pblk_line | null
  readonly bufs: pblk_meta_buf[]
  d_seq_nr: number
}

// ---------------------------------------------------------------- ring, limiter, collector

export interface pblk_gc_rq {
  readonly line: pblk_line
  nr_secs: number
  secs_to_gc: number
  readonly paddr_list: Float64Array
  readonly lba_list: Float64Array
  /** Address of the data. */
  data: number
}

export interface pblk_gc {
  gc_enabled: boolean
  gc_active: boolean
  gc_forced: boolean
  /** Lines being read, and victims that are not free yet. */
  read_inflight_gc: number
  in_hand: number
  readonly r_list: pblk_line[]
  readonly w_list: pblk_gc_rq[]
  w_entries: number
  gc_sem: semaphore
  gc_ts: task_struct | null
  gc_writer_ts: task_struct | null
  gc_reader_ts: task_struct | null
  gc_timer: timer_list<pblk> | null
  gc_line_reader_wq: workqueue_struct | null
  gc_reader_wq: workqueue_struct | null
  /** Works that are not over. */
  pipeline: number
}

/** The context of a write to the media. */
export interface pblk_c_ctx {
  sentry: number
  nr_valid: number
  nr_padded: number
  readonly lun_bitmap: Uint8Array
}

export interface pblk_lun {
  /** Channel and LUN. */
  readonly ch: number
  readonly lun: number
  readonly wr_sem: semaphore
}

export interface pblk_options {
  /** Behave as 4.19 does where that is wrong. */
  readonly quirks?: boolean
  /** Entries of the ring at least (module parameter). */
  readonly write_buffer_size?: number
  /** Draws the instance's uuid. */
  readonly seed?: number
}

// ---------------------------------------------------------------- the instance

export class pblk {
  readonly k: Kernel
  readonly dev: nvm_tgt_dev
  readonly geo: nvm_geo
  readonly memory: nvm_memory
  readonly name: string
  readonly quirks: boolean
  readonly options: pblk_options
  state: number = PBLK_STATE_RUNNING
  lm!: pblk_line_meta
  l_mg!: pblk_line_mgmt
  lines: pblk_line[] = []
  luns: pblk_lun[] = []
  rwb!: pblk_rb
  readonly rl: pblk_rl
  u_timer: timer_list<pblk> | null = null
  gc!: pblk_gc
  instance_uuid: Uint8Array = new Uint8Array(16)
  has_uuid = false

  min_write_pgs = 0
  max_write_pgs = 0
  sec_per_write = 0
  /** Sectors that users see, chunks that they may fill, chunks in spare, percent of it. */
  capacity = 0
  op = 0
  op_blks = 0

  trans_map: Uint32Array | Float64Array = new Uint32Array(0)
  addr_empty = 0
  cached_base = 0
  /** Multipliers of a T: one step of the channel, LUN, line. */
  t_ch = 0
  t_lun = 0
  t_line = 0

  // Counters.
  gc_wa = 0
  nr_flush = 0
  /** Flushes by sectors of padding, from 1 on. */
  pad_dist: number[] = []
  /** What the counters were when a trip began. */
  user_rst_wa = 0
  gc_rst_wa = 0
  pad_rst_wa = 0
  nr_flush_rst = 0
  /** Its attributes are there. */
  in_sysfs = false
  write_failed = 0
  read_failed = 0
  read_failed_gc = 0
  read_empty = 0
  read_high_ecc = 0
  erase_failed = 0
  recov_pads = 0
  readonly compl_list: nvm_rq[] = []
  readonly resubmit_list: pblk_c_ctx[] = []
  readonly rqds: nvm_rq[] = []
  writer_ts: task_struct | null = null
  wtimer: timer_list<pblk> | null = null
  /** What waits for ring space, erases, in-flight commands. */
  space!: wait_queue_head
  io_wait!: wait_queue_head
  close_wq: workqueue_struct | null = null
  bb_wq: workqueue_struct | null = null
  r_end_wq: workqueue_struct | null = null
  /** A page of zeros, for padding; what the core knows of units. 0: not there. */
  pad_page = 0
  units = 0
  /** Writes that wait for room in the ring, in order. */
  readonly parked: write_part[] = []
  /** Sends one plain request from the ring of a block (PB_*), in the core; null: there is no core. */
  core_write: ((at: number) => boolean) | null = null
  /** Jiffy at which the disk's statistics went on last. */
  stamp = -1
  /** The collector takes nothing new. */
  gc_stop = false
  /** Somebody waits for a line's emeta to be written. */
  want_meta = false

  /** What the core sees of it (PB_*). */
  readonly shared: pblk_block

  constructor(dev: nvm_tgt_dev, name: string, options: pblk_options) {
    this.k = dev.parent.k
    const { memory } = dev.parent
    this.shared = new pblk_block(memory, memory.alloc(PB_SIZE))
    this.shared.put(PB_RL_SPACE, -1)
    this.rl = new pblk_rl(memory, this.shared.at)
    this.dev = dev
    this.geo = dev.geo
    this.memory = dev.parent.memory
    this.name = name
    this.options = options
    this.quirks = options.quirks ?? false
  }

  /** Sectors written by users, and as padding. */
  get user_wa(): number {
    return this.shared.double(PB_USER_WA)
  }

  set user_wa(n: number) {
    this.shared.put_double(PB_USER_WA, n)
  }

  get pad_wa(): number {
    return this.shared.double(PB_PAD_WA)
  }

  set pad_wa(n: number) {
    this.shared.put_double(PB_PAD_WA, n)
  }

  /** Commands and requests of this instance that are under way. */
  get inflight_io(): number {
    return this.shared.peek(PB_INFLIGHT)
  }

  set inflight_io(n: number) {
    this.shared.put(PB_INFLIGHT, n)
  }

  /** No line is left: writes fail. */
  get failed(): boolean {
    return (this.shared.peek(PB_SLOW) & PBS_FAILED) !== 0
  }

  set failed(failed: boolean) {
    this.shared.slow(PBS_FAILED, failed)
  }
}

// ---------------------------------------------------------------- addresses

/** The LUN of a place in a line, counted over all LUNs. */
export function pblk_paddr_pos(pblk: pblk, paddr: number): number {
  return Math.floor(paddr / pblk.geo.ws_opt) % pblk.lm.blk_per_line
}

/** The sector of its chunk that a place in a line is. */
export function pblk_paddr_sec(pblk: pblk, paddr: number): number {
  const { ws_opt } = pblk.geo
  return (paddr % ws_opt) + ws_opt * Math.floor(Math.floor(paddr / ws_opt) / pblk.lm.blk_per_line)
}

/** The place in a line of a sector of the chunk of a LUN. */
export function pblk_paddr_of(pblk: pblk, pos: number, sec: number): number {
  const { ws_opt } = pblk.geo
  return (Math.floor(sec / ws_opt) * pblk.lm.blk_per_line + pos) * ws_opt + (sec % ws_opt)
}

/** The T of a place in a line. */
export function pblk_t_of(pblk: pblk, line: number, paddr: number): number {
  const pos = pblk_paddr_pos(pblk, paddr)
  const { num_ch } = pblk.geo
  const up = (pos % num_ch) * pblk.t_ch + Math.floor(pos / num_ch) * pblk.t_lun
  return line * pblk.t_line + up + pblk_paddr_sec(pblk, paddr)
}

/** The line of an address. */
export function pblk_t_line(pblk: pblk, t: number): pblk_line {
  return pblk.lines[Math.floor(t / pblk.t_line)]
}

/** The LUN of an address. */
export function pblk_t_pos(pblk: pblk, t: number): number {
  const ch = Math.floor((t % pblk.t_lun) / pblk.t_ch)
  return Math.floor((t % pblk.t_line) / pblk.t_lun) * pblk.geo.num_ch + ch
}

/** The sector of its chunk. */
export function pblk_t_sec(pblk: pblk, t: number): number {
  return t % pblk.t_ch
}

/** The place in its line. */
export function pblk_t_paddr(pblk: pblk, t: number): number {
  return pblk_paddr_of(pblk, pblk_t_pos(pblk, t), pblk_t_sec(pblk, t))
}

/** The subsystem's form of an address. */
export function pblk_t_to_ppa(pblk: pblk, t: number): number {
  const ch = Math.floor((t % pblk.t_lun) / pblk.t_ch)
  const lun = Math.floor((t % pblk.t_line) / pblk.t_lun)
  return ppa_of(ch, lun, Math.floor(t / pblk.t_line), t % pblk.t_ch)
}

export function pblk_ppa_to_t(pblk: pblk, ppa: number): number {
  const up = ppa_ch(ppa) * pblk.t_ch + ppa_lun(ppa) * pblk.t_lun
  return ppa_chk(ppa) * pblk.t_line + up + ppa_sec(ppa)
}

/** The subsystem's address of a place in a line. */
export function addr_to_gen_ppa(pblk: pblk, paddr: number, line: number): number {
  const pos = pblk_paddr_pos(pblk, paddr)
  const { num_ch } = pblk.geo
  return ppa_of(pos % num_ch, Math.floor(pos / num_ch), line, pblk_paddr_sec(pblk, paddr))
}

/** The LUN of an address of the subsystem. */
export function pblk_ppa_to_pos(pblk: pblk, ppa: number): number {
  return ppa_lun(ppa) * pblk.geo.num_ch + ppa_ch(ppa)
}

export function pblk_ppa_empty(pblk: pblk, t: number): boolean {
  return t === pblk.addr_empty
}

/** Whether a T is a ring entry. */
export function pblk_addr_in_cache(pblk: pblk, t: number): boolean {
  return t >= pblk.cached_base && t !== pblk.addr_empty
}

// ---------------------------------------------------------------- small things

/** Reads a 64-bit lba of metadata or out-of-band data. */
export function get_lba(pblk: pblk, address: number): number {
  const { words } = pblk.memory
  const low = words[address >> 2]
  const high = words[(address >> 2) + 1]
  return high === 0xffffffff ? ADDR_EMPTY : high * 2 ** 32 + low
}

export function put_lba(pblk: pblk, address: number, lba: number): void {
  const { words } = pblk.memory
  const high = lba === ADDR_EMPTY ? 0xffffffff : Math.floor(lba / 2 ** 32)
  words[address >> 2] = lba === ADDR_EMPTY ? 0xffffffff : lba - high * 2 ** 32
  words[(address >> 2) + 1] = high
}

/** Out-of-band data of sector `i` of a request: 8 bytes of nothing, then the lba. */
export function oob_lba(pblk: pblk, rqd: nvm_rq, i: number): number {
  return get_lba(pblk, rqd.dma + 16 * i + 8)
}

export function set_oob_lba(pblk: pblk, rqd: nvm_rq, i: number, lba: number): void {
  const at = (rqd.dma + 16 * i) >> 2
  pblk.memory.words[at] = 0
  pblk.memory.words[at + 1] = 0
  put_lba(pblk, rqd.dma + 16 * i + 8, lba)
}

/** A part of a user's write. */
export interface write_part extends flush_bio {
  readonly parts: bio_parts
  readonly lba: number
  readonly n: number
  readonly data: number
  readonly opf: number
}

/** A user's bio while its parts are under way. */
export interface bio_parts {
  readonly bio: tgt_bio
  left: number
  status: number
}

/** One part is over. */
export function end_part(parts: bio_parts, status: number): void {
  if (status !== 0) parts.status = status
  if (--parts.left === 0) parts.bio.end_io(parts.status)
}
