// Writes of pblk's users: into the ring. drivers/lightnvm/pblk-cache.c of Linux 4.19.
//
// A write ends as soon as its data are in the ring; a PREFLUSH when everything before it is persisted. Where Linux lets the
// submitter sleep because the limiter or the ring has no room, the part of the bio waits here in a list (`parked`), and a
// worker goes on with it in order: the effect on others is the same.
//
// FUA alone goes unseen in 4.19; here it is taken as PREFLUSH unless quirks=4.19.

import { PB_SPACE_WATCH, PBS_PARKED } from '../../../assembly/layout.js'
import { BLK_STS_IOERR, REQ_FUA, REQ_PREFLUSH } from '../../../assembly/nvme.js'
import type { Sleep } from '../../kernel/core.js'
import { msecs_to_jiffies } from '../../kernel/time.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { wait_event_timeout } from '../../kernel/wait.js'
import { INIT_WORK, queue_work } from '../../kernel/workqueue-queue.js'
import { work_struct } from '../../kernel/workqueue-structs.js'
import { NVM_IO_DONE, NVM_IO_ERR, NVM_IO_OK, NVM_IO_REQUEUE, SECTOR_BYTES } from './lightnvm.js'
import {
  type bio_parts,
  end_part,
  PBLK_FLUSH_ENTRY,
  PBLK_STATE_STOPPING,
  type pblk,
  type write_part,
} from './pblk.js'
import { pblk_write_kick } from './pblk-core.js'
import {
  type may_write,
  pblk_rb_may_write_user,
  pblk_rb_read_count,
  pblk_rb_relieve,
  pblk_rb_wrap_pos,
  pblk_rb_write_entry_user,
} from './pblk-rb.js'
import { pblk_rl_inserted } from './pblk-rl.js'

export function write_part_of(
  parts: bio_parts,
  lba: number,
  n: number,
  data: number,
  opf: number,
): write_part {
  return { parts, lba, n, data, opf, end: status => end_part(parts, status) }
}

/** Whoever waits for room looks again after a while, whatever happens. */
const LOOK_AGAIN_MS = 100

const answer: may_write = { ret: 0, pos: 0 }

/** Statistics of the disk go on once a jiffy, and count what is in flight then. */
export function pblk_acct(pblk: pblk): void {
  if (pblk.stamp === pblk.k.jiffies) return
  pblk.stamp = pblk.k.jiffies
  const t = enter(pblk.k, 'blk_mq_in_flight')
  const s = enter(pblk.k, 'blk_mq_queue_tag_busy_iter')
  trace_call(pblk.k, 'blk_queue_exit')
  leave(pblk.k, s)
  leave(pblk.k, t)
}

export function pblk_write_should_kick(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_write_should_kick')
  if (pblk_rb_read_count(pblk) >= pblk.min_write_pgs) pblk_write_kick(pblk)
  leave(pblk.k, t)
}

function is_flush(pblk: pblk, opf: number): boolean {
  return (opf & (pblk.quirks ? REQ_PREFLUSH : REQ_PREFLUSH | REQ_FUA)) !== 0
}

/** Pipeline stop: no line is left to write to. */
function pblk_pipeline_stop(pblk: pblk): void {
  pblk.state = PBLK_STATE_STOPPING
}

/** Puts a part into the ring. NVM_IO_*; with NVM_IO_OK it ends later. */
export function pblk_write_to_cache(pblk: pblk, part: write_part): number {
  const t = enter(pblk.k, 'pblk_write_to_cache')
  const { n, lba, data, opf } = part
  const flush = is_flush(pblk, opf)
  if (n > 0) pblk_acct(pblk)
  if (pblk.failed) return leave(pblk.k, t, NVM_IO_ERR)
  pblk_rb_may_write_user(pblk, flush ? part : null, n, answer)
  const { ret, pos } = answer
  if (ret === NVM_IO_ERR) pblk_pipeline_stop(pblk)
  if (ret === NVM_IO_ERR || ret === NVM_IO_REQUEUE) return leave(pblk.k, t, ret)
  if (flush) pblk_write_kick(pblk)
  if (n > 0) {
    for (let i = 0; i < n; i++) {
      const at = pblk_rb_wrap_pos(pblk, pos + i)
      const flags = flush ? PBLK_FLUSH_ENTRY : 0
      pblk_rb_write_entry_user(pblk, at, data + i * SECTOR_BYTES, lba + i, flags)
      trace_call(pblk.k, 'bio_advance')
    }
    pblk.user_wa += n
    pblk_rl_inserted(pblk, n)
    pblk_acct(pblk)
  }
  pblk_write_should_kick(pblk)
  return leave(pblk.k, t, ret)
}

function settle(part: write_part, ret: number): void {
  if (ret === NVM_IO_DONE) part.end(0)
  else if (ret === NVM_IO_ERR) part.end(BLK_STS_IOERR)
}

/** Writes a part now, or when there is room. NVM_IO_OK when it ends by itself. */
export function pblk_write_or_park(pblk: pblk, part: write_part): number {
  const ret = pblk.parked.length > 0 ? NVM_IO_REQUEUE : pblk_write_to_cache(pblk, part)
  if (ret !== NVM_IO_REQUEUE) return ret
  pblk.parked.push(part)
  pblk.shared.slow(PBS_PARKED, true)
  if (pblk.parked.length === 1) {
    const work = new work_struct(pblk.k, pblk)
    INIT_WORK(work, pblk_parked_ws)
    queue_work(pblk.r_end_wq!, work)
  }
  return NVM_IO_OK
}

/** Whether the collector has nothing that would push entries out of the ring. */
function gc_is_idle(pblk: pblk): boolean {
  const { gc } = pblk
  return gc.read_inflight_gc === 0 && gc.w_entries === 0 && gc.pipeline === 0
}

/** Goes on with what waits, in order. */
function* pblk_parked_ws(work: work_struct<pblk>): Sleep<void> {
  const pblk = work.container
  const { parked, rwb } = pblk
  while (parked.length > 0) {
    const part = parked[0]
    const ret = pblk_write_to_cache(pblk, part)
    if (ret !== NVM_IO_REQUEUE) {
      parked.shift()
      pblk.shared.slow(PBS_PARKED, parked.length > 0)
      settle(part, ret)
      continue
    }
    if (pblk.want_meta) pblk_write_kick(pblk)
    if (!pblk.quirks && gc_is_idle(pblk) && rwb.l2p_update !== rwb.sync) {
      const before = rwb.l2p_update
      pblk_rb_relieve(pblk)
      if (rwb.l2p_update !== before) continue
    }
    const { synced } = rwb
    const { rb_user_max, rb_user_cnt } = pblk.rl
    pblk.shared.watch(PB_SPACE_WATCH, 1)
    yield* wait_event_timeout(
      pblk.space,
      () =>
        pblk.failed ||
        rwb.synced !== synced ||
        pblk.rl.rb_user_max !== rb_user_max ||
        pblk.rl.rb_user_cnt !== rb_user_cnt,
      msecs_to_jiffies(pblk.k, LOOK_AGAIN_MS),
    )
    pblk.shared.watch(PB_SPACE_WATCH, -1)
  }
}
