// Changing a queue's scheduler while it runs: block/elevator.c of Linux 4.19. The queue is frozen, so that no request is
// of the old scheduler, and quiesced, so that nobody dispatches; then the new one is attached.

import type { Sleep } from '../kernel/core.js'
import { EINVAL } from '../kernel/errno.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from './blk-mq.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from './blk-mq-freeze.js'
import { blk_mq_exit_sched, blk_mq_init_sched } from './blk-mq-sched.js'
import type { blk_mq_hw_ctx, elevator_type, request_queue } from './blkdev.js'

/**
 * Makes the scheduler's tags of a hardware queue, and gives their address (TAGS_*); 0 = no memory.
 * @param depth how many; absent: as many as a scheduler has at first
 */
export type SchedTags = (hctx: blk_mq_hw_ctx, depth?: number) => number

/** The queue is frozen and quiesced. @returns 0 or -errno; after an error there is none */
export function elevator_switch_mq(
  q: request_queue,
  type: elevator_type | null,
  tags: SchedTags,
): number {
  const { k } = q.blk
  const t = enter(k, 'elevator_switch_mq')
  blk_mq_exit_sched(q)
  return leave(k, t, blk_mq_init_sched(q, type, tags))
}

function* elevator_switch(
  q: request_queue,
  type: elevator_type | null,
  tags: SchedTags,
): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'elevator_switch')
  yield* blk_mq_freeze_queue(q)
  yield* blk_mq_quiesce_queue(q)
  const error = elevator_switch_mq(q, type, tags)
  blk_mq_unquiesce_queue(q)
  blk_mq_unfreeze_queue(q)
  return leave(k, t, error)
}

/** What sysfs shows: the schedulers there are, the one in use in brackets. */
export function elv_iosched_show(q: request_queue, types: readonly elevator_type[]): string {
  const used = q.elevator?.type.elevator_name ?? 'none'
  const names = [...types.map(type => type.elevator_name), 'none']
  return `${names.map(name => (name === used ? `[${name}]` : name)).join(' ')}\n`
}

/** What writing a name to sysfs does: 0, or -EINVAL for a name that is none. */
export function* elv_iosched_store(
  q: request_queue,
  name: string,
  types: readonly elevator_type[],
  tags: SchedTags,
): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'elv_iosched_store')
  const wanted = name.trim()
  const type = types.find(one => one.elevator_name === wanted) ?? null
  if (type === null && wanted !== 'none') return leave(k, t, -EINVAL)
  const same = (q.elevator?.type ?? null) === type
  const error = same ? 0 : yield* elevator_switch(q, type, tags)
  return leave(k, t, error)
}
