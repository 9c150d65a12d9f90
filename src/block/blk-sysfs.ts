// What /sys/block/DISK/queue lets one change while the disk works: block/blk-sysfs.c of Linux 4.19, and the schedulers'
// own attributes (iosched/, elevator.c).
//
//   scheduler      none, mq-deadline, kyber; changing it freezes the queue
//   nomerges       0 merge; 1 only what is found at once; 2 not at all
//   rq_affinity    0 a request ends on the CPU that its completion came to; 1 on the CPU that submitted it, unless the two
//                  share their last-level cache; 2 on that CPU in any case
//   nr_requests    tags of each hardware queue: a scheduler's may become more, a driver's cannot (nr-requests.ts)
//   iosched/NAME   tunables of the scheduler in use

import { Q_FLAGS, Q_NR_REQUESTS } from '../../assembly/layout.js'
import {
  QUEUE_FLAG_NOMERGES,
  QUEUE_FLAG_NOXMERGES,
  QUEUE_FLAG_SAME_COMP,
  QUEUE_FLAG_SAME_FORCE,
} from '../../assembly/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { EINVAL, ENOENT } from '../kernel/errno.js'
import { enter, leave } from '../kernel/trace.js'
import { elv_iosched_show, elv_iosched_store, type SchedTags } from './elevator-switch.js'
import type { elevator_type, elv_fs_entry, request_queue } from './blkdev.js'
import { queue_requests_store } from './nr-requests.js'
import { SCHEDULERS } from './schedulers.js'

const TYPES: readonly elevator_type[] = Object.values(SCHEDULERS).filter(type => type !== null)

/** One attribute of a queue. */
interface queue_sysfs_entry {
  show(q: request_queue): string
  /** @returns 0 or -errno; absent = it can only be read */
  store?(q: request_queue, value: string, tags: SchedTags): number | Sleep<number>
}

function has(q: request_queue, flag: number): boolean {
  return (q.blk.view.load(q.at + Q_FLAGS) & (1 << flag)) !== 0
}

function set(q: request_queue, flag: number, on: boolean): void {
  const { view } = q.blk
  const flags = view.load(q.at + Q_FLAGS) & ~(1 << flag)
  view.store(q.at + Q_FLAGS, on ? flags | (1 << flag) : flags)
}

/** A number of 0 to 2; -1 for anything else. */
function choice(value: string): number {
  return /^[012]$/.test(value) ? Number(value) : -1
}

function queue_nomerges_store(q: request_queue, value: string): number {
  const nm = choice(value)
  if (nm < 0) return -EINVAL
  set(q, QUEUE_FLAG_NOMERGES, nm === 2)
  set(q, QUEUE_FLAG_NOXMERGES, nm === 1)
  return 0
}

function queue_rq_affinity_store(q: request_queue, value: string): number {
  const affinity = choice(value)
  if (affinity < 0) return -EINVAL
  set(q, QUEUE_FLAG_SAME_COMP, affinity > 0)
  set(q, QUEUE_FLAG_SAME_FORCE, affinity === 2)
  return 0
}

const ENTRIES: Readonly<Record<string, queue_sysfs_entry>> = {
  scheduler: {
    show: q => elv_iosched_show(q, TYPES),
    store: (q, value, tags) => elv_iosched_store(q, value, TYPES, tags),
  },
  nomerges: {
    show: q => `${has(q, QUEUE_FLAG_NOMERGES) ? 2 : Number(has(q, QUEUE_FLAG_NOXMERGES))}\n`,
    store: queue_nomerges_store,
  },
  rq_affinity: {
    show: q => `${Number(has(q, QUEUE_FLAG_SAME_COMP)) << Number(has(q, QUEUE_FLAG_SAME_FORCE))}\n`,
    store: queue_rq_affinity_store,
  },
  nr_requests: {
    show: q => `${q.blk.view.u32(q.at + Q_NR_REQUESTS)}\n`,
    store: queue_requests_store,
  },
}

/** Names of the attributes that can be written, the schedulers' tunables included. */
export const WRITABLE: readonly string[] = [
  ...Object.keys(ENTRIES).filter(name => ENTRIES[name]!.store !== undefined),
  ...TYPES.flatMap(type => type.elevator_attrs.map(({ name }) => `iosched/${name}`)),
]

function tunables(q: request_queue): readonly elv_fs_entry[] {
  return q.elevator?.type.elevator_attrs ?? []
}

/** The attributes that are there now, by name. */
export function queue_attrs(q: request_queue): ReadonlyMap<string, string> {
  const { elevator } = q
  const own = Object.entries(ENTRIES).map(([name, entry]) => [name, entry.show(q)] as const)
  const its = tunables(q).map(({ name, show }) => [`iosched/${name}`, show(elevator!)] as const)
  return new Map([...own, ...its])
}

/** Writes an attribute: 0, -EINVAL for a value that is none, -ENOENT when there is no such attribute now. */
export function* queue_attr_store(
  q: request_queue,
  name: string,
  value: string,
  tags: SchedTags,
): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'queue_attr_store')
  const entry = ENTRIES[name]
  const tunable = tunables(q).find(one => `iosched/${one.name}` === name)
  if (tunable) return leave(k, t, tunable.store(q.elevator!, value))
  if (!entry?.store) return leave(k, t, -ENOENT)
  const stored = entry.store(q, value.trim(), tags)
  return leave(k, t, typeof stored === 'number' ? stored : yield* stored)
}
