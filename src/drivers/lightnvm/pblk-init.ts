// pblk as a target type, and the life of an instance: drivers/lightnvm/pblk-init.c of Linux 4.19.
//
//   pblk_init   geometry, LUNs, lines by what the device says of its chunks, ring and limiter, L2P (recovered, unless the
//               instance is new: FACTORY), writer, collector, limits of the queue
//   pblk_exit   collector ends; gracefully: the ring is written, the open line padded and closed; writer ends
//   pblk_make_rq  a bio: discard, read in parts of 64 sectors, write in parts that the ring can take

import {
  LU_SIZE,
  PB_LUN,
  PB_DATA_LINE,
  PB_ERASE_LINE,
  PB_SIZE,
  PB_SPACE_WATCH,
  PU_SIZE,
} from '../../../assembly/layout.js'
import { BLK_STS_IOERR, REQ_OP_DISCARD, REQ_OP_MASK, REQ_OP_READ } from '../../../assembly/nvme.js'
import { REQ_PREFLUSH } from '../../../assembly/nvme.js'
import { Prng } from '../../core/prng.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { EFAULT, EINVAL } from '../../kernel/errno.js'
import { semaphore } from '../../kernel/semaphore.js'
import { kthread_create, kthread_stop, wake_up_process } from '../../kernel/task.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { del_timer_sync, mod_timer, timer_setup } from '../../kernel/timer.js'
import { timer_list } from '../../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { wait_event, wait_queue_head } from '../../kernel/wait.js'
import { alloc_workqueue, destroy_workqueue } from '../../kernel/workqueue-alloc.js'
import { flush_workqueue } from '../../kernel/workqueue-flush.js'
import { WQ_MEM_RECLAIM, WQ_UNBOUND } from '../../kernel/workqueue-structs.js'
import { nvm_bb_tbl_fold, nvm_get_chunk_meta, nvm_get_tgt_bb_tbl } from './core.js'
import {
  NVM_CHK_ST_CLOSED,
  NVM_CHK_ST_FREE,
  NVM_CHK_ST_OFFLINE,
  NVM_IO_DONE,
  NVM_IO_ERR,
  NVM_IO_OK,
  NVM_TARGET_FACTORY,
  type nvm_tgt_dev,
  type nvm_tgt_type,
  ppa_of,
  SECTOR_BYTES,
  type tgt_bio,
} from './lightnvm.js'
import {
  type bio_parts,
  end_part,
  NR_PHY_IN_LOG,
  PBLK_DATA_LINES,
  PBLK_LINESTATE_BAD,
  PBLK_MAX_REQ_ADDRS,
  PBLK_STATE_RECOVERING,
  PBLK_STATE_STOPPED,
  PBLK_STATE_STOPPING,
  pblk,
  pblk_line,
  type pblk_options,
} from './pblk.js'
import { pblk_write_or_park, write_part_of } from './pblk-cache.js'
import {
  pblk_invalidate_range,
  pblk_set_sec_per_write,
  pblk_wait_for_io,
  pblk_write_kick,
} from './pblk-core.js'
import { pblk_line_close_meta, pblk_line_get_first_data, pblk_next_line } from './pblk-core-line.js'
import {
  pblk_gc_exit,
  pblk_gc_free_full_lines,
  pblk_gc_init,
  pblk_gc_new,
  pblk_gc_should_kick,
} from './pblk-gc.js'
import {
  pblk_blk_meta,
  pblk_geometry_problem,
  pblk_line_meta_init,
  pblk_set_provision,
} from './pblk-geometry.js'
import { pblk_share } from './pblk-hot.js'
import { move_to } from './pblk-line-list.js'
import { emeta_len, emeta_to_lbas, smeta_len } from './pblk-meta.js'
import { lun_cell, pblk_line_bytes } from './pblk-shared.js'
import { pblk_recov_pad_oob } from './pblk-pad.js'
import {
  pblk_rb_calculate_size,
  pblk_rb_flush,
  pblk_rb_free,
  pblk_rb_init,
  pblk_rb_sync_count,
  pblk_rb_sync_l2p,
} from './pblk-rb.js'
import { pblk_submit_read } from './pblk-read.js'
import { pblk_recov_l2p } from './pblk-recovery.js'
import { pblk_rl_free, pblk_rl_init, pblk_rl_max_io } from './pblk-rl.js'
import { pblk_sysfs, pblk_sysfs_exit, pblk_sysfs_init } from './pblk-sysfs.js'
import { pblk_write_timer_fn, pblk_write_ts, pblk_close_meta_sync } from './pblk-write.js'

const WRITER_FIRST_MS = 100
const CHUNK_DESCRIPTOR = 32

// ---------------------------------------------------------------- bios

/** Cuts a bio into parts of at most `most` sectors, and does something with each. */
function split(
  bio: tgt_bio,
  most: number,
  one: (parts: bio_parts, lba: number, n: number, data: number) => number,
): void {
  const lba = bio.sector / NR_PHY_IN_LOG
  const sectors = bio.bytes / SECTOR_BYTES
  const count = Math.max(1, Math.ceil(sectors / most))
  const parts: bio_parts = { bio, left: count, status: 0 }
  for (let i = 0; i < count; i++) {
    const n = Math.min(most, sectors - i * most)
    const ret = one(parts, lba + i * most, n, bio.data + i * most * SECTOR_BYTES)
    if (ret === NVM_IO_DONE) end_part(parts, 0)
    else if (ret === NVM_IO_ERR) end_part(parts, BLK_STS_IOERR)
  }
}

function pblk_rw_write(pblk: pblk, bio: tgt_bio): void {
  const max = pblk_rl_max_io(pblk)
  const most = bio.bytes / SECTOR_BYTES > max ? Math.min(PBLK_MAX_REQ_ADDRS, max) : max
  split(bio, most, (parts, lba, n, data) =>
    pblk_write_or_park(pblk, write_part_of(parts, lba, n, data, bio.opf)),
  )
}

function pblk_discard(pblk: pblk, bio: tgt_bio): void {
  const t = enter(pblk.k, 'pblk_discard')
  pblk_invalidate_range(pblk, bio.sector / NR_PHY_IN_LOG, bio.bytes / SECTOR_BYTES)
  leave(pblk.k, t)
}

/** The disk's make_request function. The bio ends by its end_io. */
export function pblk_make_rq(pblk: pblk, bio: tgt_bio): number {
  const t = enter(pblk.k, 'pblk_make_rq')
  const op = bio.opf & REQ_OP_MASK
  if (op === REQ_OP_DISCARD) {
    pblk_discard(pblk, bio)
    if ((bio.opf & REQ_PREFLUSH) === 0) bio.end_io(0)
    else pblk_rw_write(pblk, { ...bio, bytes: 0, end_io: status => bio.end_io(status) })
  } else if (op === REQ_OP_READ) {
    trace_call(pblk.k, 'blk_queue_split')
    split(bio, PBLK_MAX_REQ_ADDRS, (parts, lba, n, data) =>
      pblk_submit_read(pblk, parts, lba, n, data),
    )
  } else pblk_rw_write(pblk, bio)
  return leave(pblk.k, t, NVM_IO_OK)
}

/** In 512 bytes. */
export function pblk_capacity(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_capacity')
  return leave(pblk.k, t, pblk.capacity * NR_PHY_IN_LOG)
}

// ---------------------------------------------------------------- making an instance

function pblk_core_init(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_core_init')
  const { geo, k } = pblk
  const problem = pblk_geometry_problem(geo)
  if (problem !== null) {
    printk(k, 'err', `pblk ${pblk.name}: ${problem}`)
    return leave(k, t, -EINVAL)
  }
  pblk.min_write_pgs = geo.ws_opt
  pblk.max_write_pgs = Math.min(pblk.min_write_pgs * geo.all_luns, PBLK_MAX_REQ_ADDRS)
  pblk_set_sec_per_write(pblk, pblk.min_write_pgs)
  pblk.pad_dist = Array.from({ length: pblk.min_write_pgs - 1 }, () => 0)
  pblk.space = new wait_queue_head(k, `${pblk.name} space`)
  pblk.io_wait = new wait_queue_head(k, `${pblk.name} commands`)
  pblk.close_wq = alloc_workqueue(k, 'pblk-close-wq', WQ_MEM_RECLAIM | WQ_UNBOUND, 4)
  pblk.bb_wq = alloc_workqueue(k, 'pblk-bb-wq', WQ_MEM_RECLAIM | WQ_UNBOUND, 0)
  pblk.r_end_wq = alloc_workqueue(k, 'pblk-read-end-wq', WQ_MEM_RECLAIM | WQ_UNBOUND, 0)
  const at = pblk.memory.alloc(geo.all_luns * LU_SIZE)
  pblk.shared.put(PB_LUN, at)
  pblk.luns = Array.from({ length: geo.all_luns }, (_, i) => ({
    ch: i % geo.num_ch,
    lun: Math.floor(i / geo.num_ch),
    wr_sem: new semaphore(k, 1, 'wr_sem', new lun_cell(pblk.memory, at + i * LU_SIZE)),
  }))
  return leave(k, t, 0)
}

function set_t(pblk: pblk): void {
  const { geo } = pblk
  const pow = (n: number): number => 2 ** (n <= 1 ? 0 : 32 - Math.clz32(n - 1))
  pblk.t_ch = pow(geo.clba)
  pblk.t_lun = pblk.t_ch * pow(geo.num_ch)
  pblk.t_line = pblk.t_lun * pow(geo.num_lun)
  const small = pblk.t_line * pow(geo.num_chk) < 2 ** 32
  pblk.cached_base = small ? 2 ** 31 : 2 ** 52
  pblk.addr_empty = small ? 2 ** 32 - 1 : 2 ** 53 - 1
}

/** Descriptors of all chunks (2.0). */
function* pblk_chunk_get_info(pblk: pblk): Sleep<Uint8Array | number> {
  const t = enter(pblk.k, 'pblk_chunk_get_info')
  const log = yield* nvm_get_chunk_meta(pblk.dev, ppa_of(0, 0, 0, 0), pblk.geo.all_chunks)
  return leave(pblk.k, t, log)
}

/** Where the descriptor of a chunk is in the log. */
function pblk_chunk_get_off(pblk: pblk, pos: number, chunk: number): number {
  const t = enter(pblk.k, 'pblk_chunk_get_off')
  const { ch, lun } = pblk.luns[pos]
  const { num_lun, num_chk } = pblk.geo
  return leave(pblk.k, t, (ch * num_lun + lun) * num_chk + chunk)
}

/** What the device says of each chunk of each line. 0 or a negative error. */
function* read_chunks(pblk: pblk): Sleep<number> {
  if (pblk.geo.version === 12) return yield* read_bad_blocks(pblk)
  const log = yield* pblk_chunk_get_info(pblk)
  if (typeof log === 'number') return log
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength)
  for (const line of pblk.lines)
    for (const pos of pblk.luns.keys()) {
      const at = pblk_chunk_get_off(pblk, pos, line.id) * CHUNK_DESCRIPTOR
      const state = view.getUint8(at)
      line.chk_state[pos] = state
      line.blk_bitmap[pos] = (state & NVM_CHK_ST_OFFLINE) !== 0 ? 1 : 0
      line.written[pos] = state === NVM_CHK_ST_FREE ? 0 : 1
      line.chk_wp[pos] = Number(view.getBigUint64(at + 24, true))
      line.done[pos] = state === NVM_CHK_ST_CLOSED ? pblk.geo.clba : line.chk_wp[pos]
    }
  return 0
}

function* read_bad_blocks(pblk: pblk): Sleep<number> {
  for (const [pos, { ch, lun }] of pblk.luns.entries()) {
    const raw = yield* nvm_get_tgt_bb_tbl(pblk.dev, ppa_of(ch, lun, 0, 0))
    const table = typeof raw === 'number' ? raw : nvm_bb_tbl_fold(pblk.geo, raw)
    if (typeof table === 'number') return table
    for (const line of pblk.lines) {
      line.blk_bitmap[pos] = table[line.id] === 0 ? 0 : 1
      line.chk_state[pos] = NVM_CHK_ST_CLOSED
      line.written[pos] = 1
      line.chk_wp[pos] = pblk.geo.clba
      line.done[pos] = pblk.geo.clba
    }
  }
  return 0
}

/** Sorts lines into free and bad ones. @returns good chunks of the free ones */
function setup_lines(pblk: pblk): number {
  const { l_mg, lm } = pblk
  let free = 0
  for (const line of pblk.lines) {
    line.blk_in_line = line.blk_bitmap.reduce((n, bad) => n + (bad === 0 ? 1 : 0), 0)
    if (line.blk_in_line < lm.min_blk_line) {
      line.state = PBLK_LINESTATE_BAD
      move_to(line, l_mg.bad_list)
      continue
    }
    move_to(line, l_mg.free_list)
    l_mg.nr_free_lines++
    free += line.blk_in_line
  }
  return free
}

/** The two lines that are open, which the core knows as well. */
function open_lines(pblk: pblk): Pick<pblk['l_mg'], 'data_line' | 'data_next'> {
  const { shared } = pblk
  let [data, next]: (pblk_line | null)[] = [null, null]
  return {
    get data_line() {
      return data
    },
    set data_line(line) {
      data = line
      shared.put(PB_DATA_LINE, line?.at ?? 0)
    },
    get data_next() {
      return next
    },
    set data_next(line) {
      next = line
      shared.put(PB_ERASE_LINE, line?.at ?? 0)
    },
  }
}

function* pblk_lines_init(pblk: pblk): Sleep<number> {
  const { geo } = pblk
  const lm = pblk_line_meta_init(geo)
  if (lm === null) {
    printk(pblk.k, 'err', `pblk ${pblk.name}: config. not supported. Min. LUN in line is too many`)
    return -EINVAL
  }
  pblk.lm = lm
  const list = (): Set<pblk_line> => new Set()
  pblk.l_mg = Object.assign(open_lines(pblk), {
    nr_free_lines: 0,
    free_list: list(),
    bad_list: list(),
    corrupt_list: list(),
    gc_full_list: list(),
    gc_high_list: list(),
    gc_mid_list: list(),
    gc_low_list: list(),
    gc_empty_list: list(),
    gc_werr_list: list(),
    emeta_list: list(),
    pending: [],
    bufs: [],
    d_seq_nr: 0,
  })
  const each = pblk_line_bytes(geo.all_luns)
  const at = pblk.memory.alloc(each * geo.num_chk)
  pblk.lines = Array.from(
    { length: geo.num_chk },
    (_, id) => new pblk_line(pblk.memory, at + id * each, id, geo.all_luns),
  )
  const failed = yield* read_chunks(pblk)
  if (failed !== 0) return failed
  for (let i = 0; i < PBLK_DATA_LINES; i++) {
    const smeta = pblk.memory.alloc(smeta_len(pblk))
    const emeta = pblk.memory.alloc(emeta_len(pblk))
    pblk.l_mg.bufs.push({ smeta, emeta, lbas: emeta_to_lbas(pblk, emeta), line: null })
  }
  pblk.pad_page = pblk.memory.alloc(SECTOR_BYTES)
  return pblk_set_provision(pblk, setup_lines(pblk))
}

function pblk_rwb_init(pblk: pblk): void {
  const { geo, options } = pblk
  const behind = Math.max(geo.mw_cunits, geo.ws_opt)
  const wanted = (pblk.quirks ? behind : behind + geo.ws_opt) * geo.all_luns
  const n = pblk_rb_calculate_size(pblk, Math.max(wanted, options.write_buffer_size ?? 0))
  pblk.rwb = pblk_rb_init(pblk, n)
  pblk_rl_init(pblk, n, pblk.op_blks, pblk_blk_meta(pblk))
}

function* pblk_l2p_init(pblk: pblk, factory: boolean): Sleep<number> {
  const small = pblk.cached_base === 2 ** 31
  const { nr_secs } = pblk.rl
  const { buffer } = pblk.memory.words
  const at = pblk.memory.alloc(nr_secs * (small ? 4 : 8))
  pblk.trans_map = small
    ? new Uint32Array(buffer, at, nr_secs)
    : new Float64Array(buffer, at, nr_secs)
  pblk.trans_map.fill(pblk.addr_empty)
  return yield* pblk_l2p_recover(pblk, factory)
}

function draw_uuid(pblk: pblk): void {
  const prng = new Prng(pblk.options.seed ?? 0, 0x9b1c)
  for (let i = 0; i < 16; i++) pblk.instance_uuid[i] = prng.below(256)
  pblk.has_uuid = true
}

function* pblk_l2p_recover(pblk: pblk, factory: boolean): Sleep<number> {
  let open: pblk_line | null = null
  if (!factory) {
    const found = yield* pblk_recov_l2p(pblk)
    if (typeof found === 'number') {
      printk(pblk.k, 'err', `pblk ${pblk.name}: could not recover l2p table`)
      return -EFAULT
    }
    open = found.open
  }
  if (!pblk.has_uuid) draw_uuid(pblk)
  pblk_gc_free_full_lines(pblk)
  if (open !== null) {
    pblk.l_mg.data_line = open
    pblk_next_line(pblk)
    return 0
  }
  if ((yield* pblk_line_get_first_data(pblk)) !== null) return 0
  printk(pblk.k, 'err', `pblk ${pblk.name}: line list corrupted`)
  return -EFAULT
}

function pblk_writer_init(pblk: pblk): void {
  const { k } = pblk
  pblk.wtimer = new timer_list(k, pblk)
  timer_setup(pblk.wtimer, pblk_write_timer_fn)
  mod_timer(pblk.wtimer, k.jiffies + msecs_to_jiffies(k, WRITER_FIRST_MS))
  pblk.writer_ts = kthread_create(k, () => pblk_write_ts(pblk), 'pblk-writer-t')
}

const QUEUE_LIMITS = [
  'blk_queue_logical_block_size',
  'blk_queue_max_hw_sectors',
  'blk_queue_write_cache',
  'blk_queue_max_discard_sectors',
  'blk_queue_flag_set',
]

/** Makes an instance. A negative error if it cannot be. */
export function* pblk_init(
  dev: nvm_tgt_dev,
  name: string,
  flags: number,
  options: pblk_options = {},
): Sleep<pblk | number> {
  const { k } = dev.parent
  const t = enter(k, 'pblk_init')
  const one = new pblk(dev, name, options)
  one.gc = pblk_gc_new(one)
  const failed = yield* make(one, (flags & NVM_TARGET_FACTORY) !== 0)
  if (failed !== 0) {
    yield* pblk_free(one)
    return leave(k, t, failed)
  }
  pblk_writer_init(one)
  pblk_gc_init(one)
  for (const limit of QUEUE_LIMITS) trace_call(k, limit)
  wake_up_process(one.writer_ts!)
  pblk_gc_should_kick(one)
  const lines = one.lines.length
  const entries = one.rwb.nr_entries
  printk(
    k,
    'info',
    `pblk ${name}: luns:${one.geo.all_luns}, lines:${lines}, buf entries:${entries}`,
  )
  return leave(k, t, one)
}

function* make(pblk: pblk, factory: boolean): Sleep<number> {
  const core = pblk_core_init(pblk)
  if (core !== 0) return core
  set_t(pblk)
  const lines = yield* pblk_lines_init(pblk)
  if (lines !== 0) return lines
  pblk_rwb_init(pblk)
  return yield* pblk_l2p_init(pblk, factory)
}

// ---------------------------------------------------------------- the end

function* pblk_flush_writer(pblk: pblk): Sleep<void> {
  pblk_rb_flush(pblk)
  pblk_write_kick(pblk)
  while (pblk_rb_sync_count(pblk) > 0 && !pblk.failed) {
    const { synced } = pblk.rwb
    pblk.shared.watch(PB_SPACE_WATCH, 1)
    yield* wait_event(pblk.space, () => pblk.rwb.synced !== synced || pblk.failed)
    pblk.shared.watch(PB_SPACE_WATCH, -1)
    pblk_write_kick(pblk)
  }
}

/** Everything goes to the media, the open line is padded and closed. */
function* __pblk_pipeline_flush(pblk: pblk): Sleep<void> {
  const t = enter(pblk.k, '__pblk_pipeline_flush')
  if (pblk.state !== PBLK_STATE_STOPPED && !pblk.failed) {
    pblk.state = PBLK_STATE_RECOVERING
    yield* pblk_flush_writer(pblk)
    yield* pblk_wait_for_io(pblk)
    if (!pblk.failed) yield* pblk_recov_pad(pblk)
    yield* flush_workqueue(pblk.bb_wq!)
  }
  leave(pblk.k, t)
}

function* pblk_recov_pad(pblk: pblk): Sleep<void> {
  const t = enter(pblk.k, 'pblk_recov_pad')
  const line = pblk.l_mg.data_line
  if (line !== null) {
    yield* pblk_recov_pad_oob(pblk, line)
    pblk_line_close_meta(pblk, line)
    yield* pblk_close_meta_sync(pblk)
    yield* pblk_wait_for_io(pblk)
  }
  leave(pblk.k, t)
}

function* pblk_writer_stop(pblk: pblk): Sleep<void> {
  if (pblk.wtimer !== null) del_timer_sync(pblk.wtimer)
  if (pblk.writer_ts !== null) yield* kthread_stop(pblk.writer_ts)
  pblk.writer_ts = null
}

function* pblk_tear_down(pblk: pblk, graceful: boolean): Sleep<void> {
  if (graceful) yield* __pblk_pipeline_flush(pblk)
  pblk.state = PBLK_STATE_STOPPING
  yield* pblk_wait_for_io(pblk)
  pblk.state = PBLK_STATE_STOPPED
  yield* pblk_writer_stop(pblk)
  if (graceful && !pblk.failed) pblk_rb_sync_l2p(pblk)
  pblk_rl_free(pblk)
}

/** Memory and workqueues of an instance, as far as it came. */
function* pblk_free(pblk: pblk): Sleep<void> {
  for (const wq of [pblk.close_wq, pblk.bb_wq, pblk.r_end_wq])
    if (wq !== null) yield* destroy_workqueue(wq)
  pblk_rl_free(pblk)
  if (pblk.rwb !== undefined) pblk_rb_free(pblk)
  for (const buf of pblk.l_mg?.bufs ?? []) {
    pblk.memory.free(buf.smeta, smeta_len(pblk))
    pblk.memory.free(buf.emeta, emeta_len(pblk))
  }
  if (pblk.pad_page !== 0) pblk.memory.free(pblk.pad_page, SECTOR_BYTES)
  for (const line of pblk.lines) line.free_bitmaps()
  const bytes = pblk_line_bytes(pblk.geo.all_luns) * pblk.lines.length
  if (bytes > 0) pblk.memory.free(pblk.lines[0].at, bytes)
  const { byteOffset, byteLength } = pblk.trans_map
  if (byteLength > 0) pblk.memory.free(byteOffset, byteLength)
  const luns = pblk.shared.peek(PB_LUN)
  if (luns !== 0) pblk.memory.free(luns, pblk.luns.length * LU_SIZE)
  if (pblk.units !== 0) pblk.memory.free(pblk.units, (pblk.t_line / pblk.t_ch) * PU_SIZE)
  pblk.memory.free(pblk.shared.at, PB_SIZE)
}

/** The instance ends; gracefully, so that the next one need not search. */
export function* pblk_exit(pblk: pblk, graceful: boolean): Sleep<void> {
  const t = enter(pblk.k, 'pblk_exit')
  yield* pblk_gc_exit(pblk)
  yield* pblk_tear_down(pblk, graceful)
  yield* pblk_free(pblk)
  leave(pblk.k, t)
}

/** The target type, with options for an instance of a name. */
export function tt_pblk(options: (name: string) => pblk_options = () => ({})): nvm_tgt_type<pblk> {
  return {
    name: 'pblk',
    version: [1, 0, 0],
    make_rq: pblk_make_rq,
    capacity: pblk_capacity,
    init: (dev, name, flags) => pblk_init(dev, name, flags, options(name)),
    exit: pblk_exit,
    share: pblk_share,
    sysfs_init: pblk_sysfs_init,
    sysfs_exit: pblk_sysfs_exit,
    sysfs: pblk_sysfs,
  }
}
