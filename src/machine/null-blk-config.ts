// How a null_blk disk is made: types only.

import type { FaultNumbers } from '../drivers/block/null_blk-fault.js'

/** What a null_blk disk does beyond ending commands, and how. */
export interface NullBlkConfig {
  readonly queueMode: 0 | 1 | 2
  readonly irqmode: 0 | 1 | 2
  /** Delay of irqmode 2, ns. */
  readonly completionNs: number
  readonly noSched: boolean
  readonly sharedTags: boolean
  readonly blocking: boolean
  readonly memoryBacked: boolean
  readonly discard: boolean
  /** Megabytes (2^20) a second; 0 = no limit. */
  readonly mbps: number
  readonly cacheBytes: number
  /** Inclusive ranges of 512-byte sectors. */
  readonly badblocks: readonly (readonly [first: number, last: number])[]
  /** Sectors of a zone; 0 = not zoned. */
  readonly zoneSectors: number
  readonly timeout: FaultNumbers | null
  readonly requeue: FaultNumbers | null
  /** Bytes that memory and cache may take. */
  readonly memBytes: number
  /** The mistakes of 4.19 as well. */
  readonly quirks: boolean
}
