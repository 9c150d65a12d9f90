// What a disk has done so far: part_stat_show and diskstats_show of Linux 4.19 (block/partition-generic.c, block/genhd.c),
// the fields of Documentation/iostats.txt.
//
//   reads completed, merged, sectors, ms     writes: the same     in flight, ms busy, ms of all in flight     discards: the same
//
// Counts stand in the software queues, one of each CPU. Busy time goes on once a jiffy in which something was in flight
// (part_round_stats): by the core where a kernel serves it, else by whoever looks (`sample`).
// Internal flushes and passthrough requests are not counted.

import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import { blk_mq_tag_to_rq, busy_tags } from './blk-mq-tag.js'

const NS_PER_MS = 1e6
/** Reads, writes, discards. */
const GROUPS = [0, 1, 2] as const

/** Requests of one kind that are over. */
export interface group_stat {
  readonly ios: number
  readonly merges: number
  readonly sectors: number
  readonly ms: number
}

/** struct disk_stats, summed over all CPUs. */
export interface disk_stat {
  readonly groups: readonly [reads: group_stat, writes: group_stat, discards: group_stat]
  readonly in_flight: number
  readonly io_ticks_ms: number
  readonly time_in_queue_ms: number
}

function group_sum(view: View, q: number, nr_cpus: number, group: number): group_stat {
  const sum = (field: number): number => {
    let n = 0
    for (let cpu = 0; cpu < nr_cpus; cpu++)
      n += view.u64(view.u32(q + L.Q_CTXS) + cpu * L.CTX_SIZE + field + 8 * group)
    return n
  }
  return {
    ios: sum(L.CTX_STAT_IOS),
    merges: sum(L.CTX_STAT_MERGES),
    sectors: sum(L.CTX_STAT_SECTORS),
    ms: Math.floor(sum(L.CTX_STAT_TICKS) / NS_PER_MS),
  }
}

function is_counted(view: View, rq: number): boolean {
  const passthrough = (view.u32(rq + L.RQ_CMD_FLAGS) & N.REQ_OP_MASK) >= N.REQ_OP_SCSI_IN
  return !passthrough && !(view.u32(rq + L.RQ_FLAGS) & N.RQF_FLUSH_SEQ)
}

/** Requests of a queue (Q_*) that hold a tag of the driver. */
export function part_in_flight(view: View, q: number): number {
  let n = 0
  const seen = new Set<number>()
  for (let i = 0; i < view.u32(q + L.Q_NR_HW); i++) {
    const tags = view.u32(view.u32(q + L.Q_HCTXS) + i * L.HC_SIZE + L.HC_TAGS)
    if (!tags || seen.has(tags)) continue
    seen.add(tags)
    for (const tag of busy_tags(view, tags)) {
      const rq = blk_mq_tag_to_rq(view, tags, tag)
      if (rq && view.u32(rq + L.RQ_Q) === q && is_counted(view, rq)) n++
    }
  }
  return n
}

/** part_round_stats for a queue that no kernel serves: what is in flight now has been so for all jiffies since the last look. */
export function sample(view: View, q: number, jiffies: number): void {
  const past = jiffies - view.u32(q + L.Q_STAT_STAMP)
  if (past <= 0) return
  const busy = part_in_flight(view, q)
  view.setU32(q + L.Q_STAT_STAMP, jiffies)
  if (busy === 0) return
  view.setU32(q + L.Q_IN_QUEUE, view.u32(q + L.Q_IN_QUEUE) + busy * past)
  view.setU32(q + L.Q_IO_TICKS, view.u32(q + L.Q_IO_TICKS) + past)
}

/** Everything that is counted of a disk's queue (Q_*). */
export function part_stat_read(view: View, q: number, nr_cpus: number): disk_stat {
  const ms = 1000 / view.u32(L.M_BASE + L.M_HZ)
  const [reads, writes, discards] = GROUPS.map(group => group_sum(view, q, nr_cpus, group))
  return {
    groups: [reads!, writes!, discards!],
    in_flight: part_in_flight(view, q),
    io_ticks_ms: Math.floor(view.u32(q + L.Q_IO_TICKS) * ms),
    time_in_queue_ms: Math.floor(view.u32(q + L.Q_IN_QUEUE) * ms),
  }
}

/** The order of all files that show it. */
function fields({ groups, in_flight, io_ticks_ms, time_in_queue_ms }: disk_stat): number[] {
  const [reads, writes, discards] = groups.map(g => [g.ios, g.merges, g.sectors, g.ms])
  return [...reads!, ...writes!, in_flight, io_ticks_ms, time_in_queue_ms, ...discards!]
}

/** /sys/block/DISK/stat. */
export function part_stat_show(stat: disk_stat): string {
  return `${fields(stat)
    .map(n => `${n}`.padStart(8))
    .join(' ')}\n`
}

/** One line of /proc/diskstats. */
export function diskstats_show(
  major: number,
  minor: number,
  name: string,
  stat: disk_stat,
): string {
  return `${`${major}`.padStart(4)} ${`${minor}`.padStart(7)} ${name} ${fields(stat).join(' ')}\n`
}
