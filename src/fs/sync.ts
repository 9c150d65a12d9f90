// sync(2): fs/sync.c of Linux 4.19.
//
//   ksys_sync   wakes every flusher; has each file system write its inodes, and waits; then the same for block devices
//               themselves; last, in laptop mode, the timers are stopped: nothing is left to write
//
// The computer has one file system beside its block devices, the one that it started from; nothing of it is ever dirty.

import type { Sleep } from '../kernel/core.js'
import { completion, complete, wait_for_completion } from '../kernel/completion.js'
import { let_others_begin } from '../kernel/task.js'
import { enter, leave } from '../kernel/trace.js'
import { __filemap_fdatawrite_range, filemap_fdatawait_range } from '../mm/filemap.js'
import {
  type backing_dev_info,
  type inode,
  type mm_state,
  WB_REASON_SYNC,
  WB_SYNC_ALL,
} from '../mm/mm.js'
import { laptop_sync_completion } from '../mm/page-writeback.js'
import { sync_work, wakeup_flusher_threads, wb_queue_work } from './fs-writeback.js'

const LONG_MAX = Number.MAX_SAFE_INTEGER

/** What sync(2) knows of: devices with file systems, and block devices that were opened themselves. */
export interface sync_targets {
  readonly mm: mm_state
  readonly supers: readonly backing_dev_info[]
  readonly bdevs: readonly inode[]
}

function* wb_wait_for_completion(bdi: backing_dev_info, done: completion): Sleep<void> {
  const { k } = bdi.mm
  const t = enter(k, 'wb_wait_for_completion')
  yield* wait_for_completion(done)
  leave(k, t)
}

/** Has the flusher write everything of a file system, and waits. */
function* sync_inodes_sb(bdi: backing_dev_info): Sleep<void> {
  const done = new completion(bdi.mm.k, 'sync')
  wb_queue_work(
    bdi.wb,
    sync_work(WB_REASON_SYNC, () => complete(done)),
  )
  yield* wb_wait_for_completion(bdi, done)
}

/** Calls `fn` for every block device that has pages in the cache. */
function* iterate_bdevs(
  { mm, bdevs }: sync_targets,
  fn: (bdev: inode) => Sleep<unknown>,
): Sleep<void> {
  const t = enter(mm.k, 'iterate_bdevs')
  for (const bdev of bdevs) if (bdev.i_mapping.pages.size > 0) yield* fn(bdev)
  leave(mm.k, t)
}

export function* ksys_sync(targets: sync_targets): Sleep<number> {
  const { mm, supers } = targets
  const t = enter(mm.k, 'ksys_sync')
  wakeup_flusher_threads(mm, WB_REASON_SYNC)
  // the flushers run on other CPUs, and have begun before this task has looked at its file systems
  yield* let_others_begin(mm.k)
  for (const bdi of supers) yield* sync_inodes_sb(bdi)
  yield* iterate_bdevs(targets, bdev =>
    __filemap_fdatawrite_range(bdev.i_mapping, 0, LONG_MAX, WB_SYNC_ALL),
  )
  yield* iterate_bdevs(targets, bdev => filemap_fdatawait_range(bdev.i_mapping, 0, LONG_MAX))
  if (mm.laptop_mode !== 0) laptop_sync_completion(mm)
  return leave(mm.k, t, 0)
}
