// The blocks of a null_blk disk: what null_add_dev of Linux 4.19 leaves behind.
//
// The driver sets no limit for requests, so that the block layer's own hold: 255 sectors, rounded down to whole blocks,
// and 128 segments. A bio-based disk (queue_mode 0) is not split at all. Flushes reach a disk with a cache only.

import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { View } from '../core/view.js'
import type { DiskConfig } from './config.js'
import type { NullBlkConfig } from './null-blk-config.js'
import { cpuOf, type DiskPlan, type MachinePlan } from './plan.js'

/** BLK_SAFE_MAX_SECTORS and BLK_MAX_SEGMENTS. */
const MAX_SECTORS = 255
const MAX_SEGMENTS = 128

/** UINT_MAX >> 9. */
const MAX_DISCARD_SECTORS = 0x7fffff

/** Request timeout of the driver, seconds. */
const TIMEOUT_S = 5

type Fields = readonly (readonly [field: number, value: number])[]

const FLAGS =
  (1 << N.QUEUE_FLAG_IO_STAT) |
  (1 << N.QUEUE_FLAG_SAME_COMP) |
  (1 << N.QUEUE_FLAG_POLL) |
  (1 << N.QUEUE_FLAG_NONROT) |
  (1 << N.QUEUE_FLAG_INIT_DONE)

/** Queue flags of a disk. */
function flags(nullBlk: NullBlkConfig): number {
  const cache = nullBlk.cacheBytes > 0
  return FLAGS | (cache ? (1 << N.QUEUE_FLAG_WC) | (1 << N.QUEUE_FLAG_FUA) : 0)
}

/** What of the request queue differs from an NVMe disk's. */
export function nullBlkLimits(disk: DiskConfig, nullBlk: NullBlkConfig, hz: number): Fields {
  const block = 2 ** (disk.lbaShift - L.SECTOR_SHIFT)
  const whole = (sectors: number): number => sectors - (sectors % block)
  const bioBased = nullBlk.queueMode === L.NULL_Q_BIO
  return [
    [L.Q_FLAGS, flags(nullBlk)],
    [L.Q_TIMEOUT, TIMEOUT_S * hz],
    [L.Q_MAX_SECTORS, bioBased ? 2 ** 23 - 1 : whole(MAX_SECTORS)],
    [L.Q_MAX_SEGMENTS, MAX_SEGMENTS],
    [L.Q_VIRT_BOUNDARY, 0],
    [L.Q_NSID, 0],
    [L.Q_MAX_DISCARD, nullBlk.discard ? whole(MAX_DISCARD_SECTORS) : 0],
    [L.Q_BIO_BASED, bioBased ? L.BIO_BASED_NULL : L.BIO_BASED_NONE],
  ]
}

/** NULLB_F_*: for what TypeScript is asked. */
export function nullBlkFeatures(nullBlk: NullBlkConfig): number {
  const command =
    nullBlk.memoryBacked ||
    nullBlk.mbps > 0 ||
    nullBlk.badblocks.length > 0 ||
    nullBlk.zoneSectors > 0
  const faults = nullBlk.timeout !== null || nullBlk.requeue !== null
  return (command ? L.NULLB_F_COMMAND : 0) | (faults ? L.NULLB_F_FAULTS : 0)
}

/** The block of the disk, and its lists of timers, one for each CPU. */
export function bootNullBlk(view: View, plan: MachinePlan, disk: DiskPlan, index: number): void {
  const { nullb, timers } = disk
  const nullBlk = disk.config.nullBlk!
  view.setU32(nullb + L.NULLB_QUEUE_MODE, nullBlk.queueMode)
  view.setU32(nullb + L.NULLB_IRQMODE, nullBlk.irqmode)
  view.setU32(nullb + L.NULLB_FEATURES, nullBlkFeatures(nullBlk))
  view.setU32(nullb + L.NULLB_BS, 2 ** disk.config.lbaShift)
  view.setU64(nullb + L.NULLB_COMPLETION_NS, nullBlk.completionNs)
  view.setU32(nullb + L.NULLB_Q, disk.q)
  view.setU32(nullb + L.NULLB_TIMERS, timers)
  view.setU32(nullb + L.NULLB_INDEX, index)
  if (nullBlk.irqmode !== L.NULL_IRQ_TIMER) return
  for (let cpu = 0; cpu < plan.config.cpus; cpu++) {
    const list = timers + cpu * L.NBT_SIZE
    const first = cpuOf(plan, cpu) + L.CPU_NULLB
    view.setU32(list + L.NBT_NEXT, view.u32(first))
    view.setU32(first, list)
  }
}
