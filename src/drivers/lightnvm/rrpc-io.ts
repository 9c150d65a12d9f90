// Bios of rrpc: drivers/lightnvm/rrpc.c until 4.16.
//
//   rrpc_make_rq     cut to 64 pages; a discard invalidates, the rest goes to the device with the bio's own pages
//   rrpc_submit_io   the logical range is locked: who overlaps waits. A read looks its pages up, a write maps new ones
//   rrpc_end_io      the bio ends when the media have done their part: nothing is buffered, a flush has nothing to do
//   rrpc_requeue     bios that had to wait try again (rrpc-bg)
//
// Different from those kernels: a discard ends its bio.

import { BLK_STS_IOERR, REQ_OP_DISCARD, REQ_OP_MASK, REQ_OP_READ } from '../../../assembly/nvme.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import type { work_struct } from '../../kernel/workqueue-structs.js'
import { nvm_submit_io } from './core.js'
import {
  NVM_IO_DONE,
  NVM_IO_ERR,
  NVM_IO_OK,
  NVM_IO_REQUEUE,
  NVM_MAX_VLBA,
  NVM_OP_PREAD,
  type nvm_rq,
  SECTOR_BYTES,
  type tgt_bio,
} from './lightnvm.js'
import {
  NR_PHY_IN_LOG,
  RRPC_EMPTY,
  type rrpc,
  type rrpc_inflight_rq,
  rrpc_lock_laddr,
  rrpc_ppa_to_gaddr,
  rrpc_unlock_laddr,
} from './rrpc.js'
import { get_next_luns, rrpc_invalidate_range, rrpc_map_page, type rrpc_place } from './rrpc-map.js'
import {
  rrpc_end_io_write,
  rrpc_gc_kick,
  rrpc_get_rq,
  rrpc_is_error,
  rrpc_put_rq,
  rrpc_setup_write,
} from './rrpc-rq.js'

/** What of a request belongs to its bio. */
interface rrpc_rq {
  readonly rrpc: rrpc
  readonly bio: tgt_bio
  readonly laddr: number
  readonly lock: rrpc_inflight_rq
  /** Of a write. */
  readonly places: readonly rrpc_place[]
}

const laddr_of = (bio: tgt_bio): number => bio.sector / NR_PHY_IN_LOG
const pages_of = (bio: tgt_bio): number => bio.bytes / SECTOR_BYTES

// ---------------------------------------------------------------- the end

function rrpc_end_io(rqd: nvm_rq): void {
  const { rrpc, bio, laddr, lock, places } = rqd.private as rrpc_rq
  const t = enter(rrpc.k, 'rrpc_end_io')
  if (places.length > 0) rrpc_end_io_write(rrpc, rqd, laddr, places)
  const status = rrpc_is_error(rqd) ? BLK_STS_IOERR : 0
  rrpc_put_rq(rrpc, rqd)
  rrpc_unlock_laddr(rrpc, lock)
  bio.end_io(status)
  leave(rrpc.k, t)
}

function submit(rqd: nvm_rq, rq: rrpc_rq): number {
  const { rrpc } = rq
  rqd.private = rq
  rqd.end_io = rrpc_end_io
  if (nvm_submit_io(rrpc.dev, rqd) === 0) return NVM_IO_OK
  rqd.error = BLK_STS_IOERR
  if (rq.places.length > 0) rrpc_end_io_write(rrpc, rqd, rq.laddr, rq.places)
  rrpc_put_rq(rrpc, rqd)
  rrpc_unlock_laddr(rrpc, rq.lock)
  return NVM_IO_ERR
}

// ---------------------------------------------------------------- reads

/** Looks pages up and fills in the request; zeros for what is nowhere. @returns pages of the request */
function rrpc_read_ppalist_rq(rrpc: rrpc, bio: tgt_bio, rqd: nvm_rq): number {
  const t = enter(rrpc.k, 'rrpc_read_ppalist_rq')
  const [laddr, n] = [laddr_of(bio), pages_of(bio)]
  let count = 0
  for (let i = 0; i < n; i++) {
    const page = rrpc.trans_map[laddr + i]
    const to = bio.data + i * SECTOR_BYTES
    if (page === RRPC_EMPTY) {
      if (rrpc.quirks) return leave(rrpc.k, t, 0)
      rrpc.memory.bytes.fill(0, to, to + SECTOR_BYTES)
      continue
    }
    rqd.ppa_list[count] = rrpc_ppa_to_gaddr(rrpc, page)
    rqd.pages[count] = to
    count++
  }
  return leave(rrpc.k, t, count)
}

function rrpc_read_rq(rrpc: rrpc, bio: tgt_bio, lock: rrpc_inflight_rq): number {
  const rqd = rrpc_get_rq(rrpc)
  rqd.opcode = NVM_OP_PREAD
  rqd.nr_ppas = rrpc_read_ppalist_rq(rrpc, bio, rqd)
  rrpc.stats.read += rqd.nr_ppas
  if (rqd.nr_ppas > 0) return submit(rqd, { rrpc, bio, laddr: laddr_of(bio), lock, places: [] })
  rrpc_put_rq(rrpc, rqd)
  rrpc_unlock_laddr(rrpc, lock)
  return NVM_IO_DONE
}

// ---------------------------------------------------------------- writes

const luns = new Int32Array(NVM_MAX_VLBA)

function rrpc_write_rq(rrpc: rrpc, bio: tgt_bio, lock: rrpc_inflight_rq): number {
  const [laddr, n] = [laddr_of(bio), pages_of(bio)]
  if (!get_next_luns(rrpc, n, luns)) {
    rrpc.inflights.delete(lock) // nobody has met it; woken bios would come here again, and again
    rrpc_gc_kick(rrpc)
    return NVM_IO_REQUEUE
  }
  const places: rrpc_place[] = []
  for (let i = 0; i < n; i++) places.push(rrpc_map_page(rrpc, laddr + i, luns[i])!)
  const rqd = rrpc_get_rq(rrpc)
  rrpc_setup_write(rrpc, rqd, laddr, places, bio.data)
  rrpc.stats.written += n
  return submit(rqd, { rrpc, bio, laddr, lock, places })
}

// ---------------------------------------------------------------- bios

function rrpc_submit_io(rrpc: rrpc, bio: tgt_bio): number {
  const t = enter(rrpc.k, 'rrpc_submit_io')
  const [laddr, n] = [laddr_of(bio), pages_of(bio)]
  if (n < 1 || n > NVM_MAX_VLBA || laddr + n > rrpc.nr_sects) return leave(rrpc.k, t, NVM_IO_ERR)
  const lock = rrpc_lock_laddr(rrpc, laddr, n)
  if (lock === null) {
    rrpc.stats.locked_out++
    rrpc.locked_bios.push(bio)
    return leave(rrpc.k, t, NVM_IO_REQUEUE)
  }
  if ((bio.opf & REQ_OP_MASK) === REQ_OP_READ)
    return leave(rrpc.k, t, rrpc_read_rq(rrpc, bio, lock))
  const ret = rrpc_write_rq(rrpc, bio, lock)
  if (ret === NVM_IO_REQUEUE) {
    rrpc.stats.refused++
    rrpc.requeue_bios.push(bio)
  }
  return leave(rrpc.k, t, ret)
}

function rrpc_discard(rrpc: rrpc, bio: tgt_bio): number {
  const t = enter(rrpc.k, 'rrpc_discard')
  const [laddr, n] = [laddr_of(bio), pages_of(bio)]
  if (laddr + n > rrpc.nr_sects) return leave(rrpc.k, t, NVM_IO_ERR)
  const lock = rrpc_lock_laddr(rrpc, laddr, n)
  if (lock === null) {
    rrpc.stats.locked_out++
    rrpc.locked_bios.push(bio)
    return leave(rrpc.k, t, NVM_IO_REQUEUE)
  }
  rrpc_invalidate_range(rrpc, laddr, n)
  rrpc_unlock_laddr(rrpc, lock)
  return leave(rrpc.k, t, NVM_IO_DONE)
}

/** A bio of at most 64 pages, or a discard. It ends now or later; when it has to wait, it is in one of the lists. */
function handle(rrpc: rrpc, bio: tgt_bio): void {
  const discard = (bio.opf & REQ_OP_MASK) === REQ_OP_DISCARD
  const ret = discard ? rrpc_discard(rrpc, bio) : rrpc_submit_io(rrpc, bio)
  if (ret === NVM_IO_DONE) bio.end_io(0)
  else if (ret === NVM_IO_ERR) bio.end_io(BLK_STS_IOERR)
}

/** A bio that is too long, as pieces that end it together. */
function pieces(bio: tgt_bio): tgt_bio[] {
  const most = NVM_MAX_VLBA * SECTOR_BYTES
  const count = Math.ceil(bio.bytes / most)
  let [left, status] = [count, 0]
  const end_io = (one: number): void => {
    status ||= one
    left--
    if (left === 0) bio.end_io(status)
  }
  return Array.from({ length: count }, (_, i) => ({
    opf: bio.opf,
    sector: bio.sector + (i * most) / 512,
    bytes: Math.min(most, bio.bytes - i * most),
    data: bio.data + i * most,
    end_io,
  }))
}

/** The disk's make_request function. The bio ends by its end_io. */
export function rrpc_make_rq(rrpc: rrpc, bio: tgt_bio): number {
  const t = enter(rrpc.k, 'rrpc_make_rq')
  trace_call(rrpc.k, 'blk_queue_split')
  const discard = (bio.opf & REQ_OP_MASK) === REQ_OP_DISCARD
  if (discard || pages_of(bio) <= NVM_MAX_VLBA) handle(rrpc, bio)
  else for (const piece of pieces(bio)) handle(rrpc, piece)
  return leave(rrpc.k, t, NVM_IO_OK)
}

/** What had to wait tries again, in order. */
export function rrpc_requeue({ container: rrpc }: work_struct<rrpc>): void {
  const t = enter(rrpc.k, 'rrpc_requeue')
  const [locked, refused] = [rrpc.locked_bios, rrpc.requeue_bios]
  rrpc.locked_bios = []
  rrpc.requeue_bios = []
  for (const bio of locked) handle(rrpc, bio)
  for (const [i, bio] of refused.entries()) {
    const before = rrpc.requeue_bios.length
    handle(rrpc, bio)
    if (rrpc.requeue_bios.length === before) continue
    rrpc.requeue_bios.push(...refused.slice(i + 1))
    break
  }
  leave(rrpc.k, t)
}
