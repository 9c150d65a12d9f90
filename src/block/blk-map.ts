// Buffers of passthrough requests: block/blk-map.c and block/bio.c of Linux 4.19. A request of the kernel's own or of a
// program carries its buffer as a bio, so that the driver maps it like any other data.
//
//   blk_rq_map_kern     a buffer of the kernel: mapped as it is, or copied when it is not aligned for DMA
//   blk_rq_map_user     a program's buffer: mapped as it is, or copied when it is not aligned for DMA
//
// A buffer is one contiguous piece, like that of every bio.

import * as L from '../../assembly/layout.js'
import { ENOMEM } from '../kernel/errno.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import { bio_alloc_bioset, bio_put } from './bio.js'
import { this_cpu } from './blk-mq.js'
import type { request_queue } from './blkdev.js'

/** Bytes to which buffers that are mapped as they are must be aligned (dma_alignment). */
const DMA_ALIGNMENT = 4

/** Hangs a bio on a request that has none (blk_rq_append_bio). */
function blk_rq_append_bio(q: request_queue, rq: number, bio: number, bytes: number): void {
  const { k, view } = q.blk
  const t = enter(k, 'blk_rq_append_bio')
  const p = enter(k, 'blk_rq_bio_prep')
  trace_call(k, 'blk_recount_segments')
  view.setU32(rq + L.RQ_BIO, bio)
  view.setU32(rq + L.RQ_BIOTAIL, bio)
  view.setU32(rq + L.RQ_DATA_LEN, bytes)
  view.setU32(rq + L.RQ_NR_SEGS, 1)
  leave(k, p)
  leave(k, t)
}

function add_bio(
  q: request_queue,
  rq: number,
  data: number,
  bytes: number,
  end_io: (bio: number) => void,
): number {
  const { blk } = q
  const { k, view } = blk
  const opf = view.u32(rq + L.RQ_CMD_FLAGS)
  const bio = bio_alloc_bioset(blk, { q, opf, sector: 0, bytes, data, end_io })
  view.setU32(bio + L.BIO_DISK, 0)
  trace_call(k, 'bio_add_pc_page')
  // It has not come by submit_bio, and is counted when it ends.
  const submitted = this_cpu(blk) + L.CPU_SUBMITTED
  view.setU64(submitted, view.u64(submitted) + 1)
  return bio
}

function bio_map_kern(q: request_queue, rq: number, data: number, bytes: number): number {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'bio_map_kern')
  const bio = add_bio(q, rq, data, bytes, one => {
    const e = enter(k, 'bio_map_kern_endio')
    trace_call(k, 'bio_free')
    blk.bios.bios.push(one)
    leave(k, e)
  })
  return leave(k, t, bio)
}

function bio_copy_kern(q: request_queue, rq: number, data: number, bytes: number): number {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'bio_copy_kern')
  const bio = add_bio(q, rq, data, bytes, one => {
    const e = enter(k, 'bio_copy_kern_endio')
    bio_put(blk, one)
    leave(k, e)
  })
  return leave(k, t, bio)
}

/** Gives a request the buffer `data` of `bytes` bytes; nothing for 0 bytes. */
export function blk_rq_map_kern(q: request_queue, rq: number, data: number, bytes: number): void {
  if (bytes === 0) return
  const { k } = q.blk
  const t = enter(k, 'blk_rq_map_kern')
  const copies = data % DMA_ALIGNMENT !== 0 || bytes % DMA_ALIGNMENT !== 0 || bytes < 512
  const bio = copies ? bio_copy_kern(q, rq, data, bytes) : bio_map_kern(q, rq, data, bytes)
  blk_rq_append_bio(q, rq, bio, bytes)
  leave(k, t)
}

/** Whether a program's buffer is used as it is; else its data are copied. */
function aligned(data: number, bytes: number): boolean {
  return data % DMA_ALIGNMENT === 0 && bytes % DMA_ALIGNMENT === 0
}

/** What a program's buffer is to the driver: itself, or memory of the kernel with what is to be written; 0 = there is none. */
function dma_buffer(q: request_queue, rq: number, data: number, bytes: number): number {
  const { mem, view } = q.blk
  if (aligned(data, bytes)) return data
  const copy = mem.kzalloc(bytes)
  const writes = (view.u32(rq + L.RQ_CMD_FLAGS) & 1) !== 0
  if (copy && writes) view.bytes.copyWithin(copy, data, data + bytes)
  return copy
}

/** The same for a program's buffer. @returns its bio, for blk_rq_unmap_user, or -ENOMEM */
export function blk_rq_map_user(q: request_queue, rq: number, data: number, bytes: number): number {
  const { k } = q.blk
  const t = enter(k, 'blk_rq_map_user')
  const v = enter(k, 'blk_rq_map_user_iov')
  const at = dma_buffer(q, rq, data, bytes)
  const c = at === data ? enter(k, 'bio_map_user_iov') : enter(k, 'bio_copy_user_iov')
  const bio = at === 0 ? -ENOMEM : add_bio(q, rq, at, bytes, () => {})
  leave(k, c)
  if (bio > 0) blk_rq_append_bio(q, rq, bio, bytes)
  leave(k, v)
  return leave(k, t, bio)
}

/** After the request ended: the program has its data, of which the address and size were given; the bio goes. */
export function blk_rq_unmap_user(
  q: request_queue,
  bio: number,
  data: number,
  bytes: number,
): void {
  const { k, view, mem } = q.blk
  const t = enter(k, 'blk_rq_unmap_user')
  const at = view.u32(bio + L.BIO_DATA)
  const direct = at === data
  const reads = (view.u32(bio + L.BIO_OPF) & 1) === 0
  if (!direct && reads) view.bytes.copyWithin(data, at, at + bytes)
  if (!direct) mem.kfree(at)
  const u = direct ? enter(k, 'bio_unmap_user') : enter(k, 'bio_uncopy_user')
  trace_call(k, 'bio_put')
  if (direct) trace_call(k, 'bio_put')
  else bio_put(q.blk, bio)
  leave(k, u)
  if (direct) bio_put(q.blk, bio)
  leave(k, t)
}
