// Requests without data pages: block/blk-lib.c of Linux 4.19, the discard of a range, and its ioctl.

import { REQ_OP_DISCARD, REQ_SYNC } from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { EIO } from '../kernel/errno.js'
import { enter, leave, trace_call } from '../kernel/trace.js'
import {
  bio_alloc_bioset,
  bio_put,
  blk_finish_plug,
  blk_start_plug,
  submit_bio_wait,
} from './bio.js'
import type { request_queue } from './blkdev.js'

/** Sectors of one bio: as many as a 32-bit byte count can say. */
const UINT_MAX_SECTORS = 0x7fffff

/** Tells the disk that sectors are not needed any more. @returns 0 or -errno */
export function* blkdev_issue_discard(
  q: request_queue,
  sector: number,
  nr_sects: number,
): Sleep<number> {
  const { blk } = q
  const { k } = blk
  const t = enter(k, 'blkdev_issue_discard')
  blk_start_plug(blk)
  let error = 0
  for (let done = 0; done < nr_sects && error === 0; done += UINT_MAX_SECTORS) {
    const bytes = Math.min(nr_sects - done, UINT_MAX_SECTORS) * 512
    const { bio, status } = yield* submit_bio_wait(q, end_io => {
      const d = enter(k, '__blkdev_issue_discard')
      const opf = REQ_OP_DISCARD | REQ_SYNC
      const one = bio_alloc_bioset(blk, { q, opf, sector: sector + done, bytes, data: 0, end_io })
      return leave(k, d, one)
    })
    bio_put(blk, bio)
    if (status !== 0) error = -EIO
  }
  blk_finish_plug(blk)
  return leave(k, t, error)
}

/** BLKDISCARD of a program: first byte and how many. */
export function* blk_ioctl_discard(q: request_queue, start: number, len: number): Sleep<number> {
  const { k } = q.blk
  const i = enter(k, 'blkdev_ioctl')
  const t = enter(k, 'blk_ioctl_discard')
  const error = yield* blkdev_issue_discard(q, start / 512, len / 512)
  leave(k, t)
  trace_call(k, 'truncate_inode_pages_range')
  return leave(k, i, error)
}
