// A look at a machine from outside, as files that Linux would show, at any moment of a run:
//
//   workqueues   every workqueue, pool, worker and pending work (show_workqueue_state); of machines with a kernel
//   stat         /sys/block/DISK/stat
//   diskstats    /proc/diskstats
//   hctx         /sys/kernel/debug/block/DISK: queues, tags, requests, schedulers
//   pblk         /sys/block/DISK/pblk: write amplification, padding, limiter, lines, ... of each pblk
//
// Nothing changes by looking. In real time other threads go on meanwhile: what is shown is of about one moment, as in Linux.

import { NULL_Q_MQ } from '../../assembly/layout.js'
import { blk_mq_debugfs } from '../block/blk-mq-debugfs.js'
import { diskstats_show, part_stat_read, part_stat_show, sample } from '../block/part-stat.js'
import { show_all_workqueues, workqueue_state } from '../kernel/workqueue.js'
import type { Machine } from './booted.js'
import type { Disk } from './config.js'

export const DEBUG_VIEWS = ['workqueues', 'stat', 'diskstats', 'hctx', 'pblk'] as const
export type DebugView = (typeof DEBUG_VIEWS)[number]

/** One file: the path that it has in Linux (`workqueues` has none there), and its text. */
export interface DebugFile {
  readonly path: string
  readonly text: string
}

/** BLOCK_EXT_MAJOR, which nvme and targets use; and the first of those that drivers without a number of their own get. */
const EXT_MAJOR = 259
const DYNAMIC_MAJOR = 252

/** Whether a disk is served by request queues of blk-mq. */
function isMultiQueue({ config }: Disk): boolean {
  if (config.target) return false
  return config.nullBlk === undefined || config.nullBlk.queueMode === NULL_Q_MQ
}

function hctxFiles(machine: Machine, disk: Disk): DebugFile[] {
  const { view, host, config } = machine
  if (!isMultiQueue(disk)) return []
  const q = host?.blk.queues.get(disk.q) ?? null
  const files = blk_mq_debugfs(view, disk.q, config.cpus, q)
  return [...files].map(([name, text]) => ({
    path: `/sys/kernel/debug/block/${disk.config.name}/${name}`,
    text,
  }))
}

function diskstats(machine: Machine): string {
  const minors = new Map<number, number>()
  const lines = machine.disks.map(({ q, config: { name, driver } }) => {
    const major = driver === 'null_blk' ? DYNAMIC_MAJOR : EXT_MAJOR
    const minor = minors.get(major) ?? 0
    minors.set(major, minor + 1)
    return diskstats_show(major, minor, name, part_stat_read(machine.view, q, machine.config.cpus))
  })
  return lines.join('')
}

/** Attributes of targets that have some, as far as they can be read. */
function targetFiles({ host }: Machine): DebugFile[] {
  const targets = host?.lightnvm?.lnvm.devices.flatMap(dev => dev.targets) ?? []
  return targets.flatMap(({ name, type, private_data }) => {
    const readable = type.sysfs?.attributes.filter(attr => attr.readable) ?? []
    return readable.map(attr => ({
      path: `/sys/block/${name}/${type.name}/${attr.name}`,
      text: String(type.sysfs!.show(private_data, attr.name)),
    }))
  })
}

/** The files of one view. */
export function debugFiles(machine: Machine, what: DebugView): DebugFile[] {
  const { view, disks, host, config } = machine
  if (what === 'hctx') return disks.flatMap(disk => hctxFiles(machine, disk))
  if (what === 'pblk') return targetFiles(machine)
  if (what === 'diskstats') return [{ path: '/proc/diskstats', text: diskstats(machine) }]
  if (what === 'stat')
    return disks.map(({ q, config: { name } }) => ({
      path: `/sys/block/${name}/stat`,
      text: part_stat_show(part_stat_read(view, q, config.cpus)),
    }))
  if (host === null) return []
  return [{ path: 'workqueues', text: show_all_workqueues(workqueue_state(host.k)) }]
}

/** Busy times of disks that no kernel serves: to be called every jiffy or so while something looks at them. */
export function sampleStats(machine: Machine): void {
  if (machine.config.kernel) return
  const jiffies = Math.floor((machine.now() * machine.config.hz) / 1e9)
  for (const { q } of machine.disks) sample(machine.view, q, jiffies)
}

/** Files in the way `tail -n +1 FILE...` prints them; empty ones too. */
export function formatDebugFiles(files: readonly DebugFile[]): string {
  return files.map(({ path, text }) => `==> ${path} <==\n${text}`).join('\n')
}
