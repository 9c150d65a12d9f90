// Several I/Os in one system call: io_submit, fs/aio.c of Linux 4.19, on block devices.
//
//   a plug around all of them; each gets memory for its kiocb first, where the task may be preempted by the workers that
//   the one before has woken; then blkdev_read_iter or blkdev_write_iter
//
// Contexts, rings of events and io_getevents are not modelled: whoever submits hears of each end by its function.

import { blk_finish_plug, blk_start_plug } from '../block/bio.js'
import type { BlockLayer } from '../block/blkdev.js'
import type { Sleep } from '../kernel/core.js'
import { might_sleep, submit_time } from '../kernel/task.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'
import { blkdev_read_iter, blkdev_write_iter, type kiocb } from './block_dev.js'

/** Submits I/Os, each of which has a `done`. */
export function* io_submit(blk: BlockLayer, iocbs: readonly kiocb[]): Sleep<void> {
  blk_start_plug(blk)
  for (const io of iocbs) {
    yield* might_sleep(blk.k)
    yield* submit_time(blk.k)
    yield* io.write ? blkdev_write_iter(io) : blkdev_read_iter(io)
  }
  blk_finish_plug(blk)
}

/** io_submit, then io_getevents until all have ended. */
export function* io_submit_wait(blk: BlockLayer, iocbs: readonly kiocb[]): Sleep<void> {
  const ended = new wait_queue_head(blk.k, 'I/Os')
  let left = iocbs.length
  const done = (): void => {
    left--
    wake_up(ended)
  }
  yield* io_submit(
    blk,
    iocbs.map(io => ({ ...io, done })),
  )
  yield* wait_event(ended, () => left === 0)
}
