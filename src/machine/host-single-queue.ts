// The single-queue disks of a kernel: null_blk with queue_mode=1 over the single-queue block layer (src/block/blk-core.ts).
//
// Their bios leave the core at make_request (BIO_BASED_HOST); their requests are slots of the disk's one tag set, of
// which there are 256, the request_list of Linux: 128 reads and as many writes.

import {
  BIO_BASED_HOST,
  BIO_DISK,
  HC_DRIVER_DATA,
  Q_BIO_BASED,
  Q_HCTXS,
} from '../../assembly/layout.js'
import { blk_init_queue, blk_queue_bio } from '../block/blk-queue-bio.js'
import type { BlockLayer } from '../block/blkdev.js'
import type { sq_queue } from '../block/sq.js'
import { null_rq_driver, type NullbModule } from '../drivers/block/null_blk-rq.js'
import type { Kernel } from '../kernel/kernel.js'
import type { NullBlkConfig } from './null-blk-config.js'

/** What is known of a disk. */
export interface SingleQueueDisk {
  /** Address of its request queue's block (Q_*). */
  readonly q: number
  readonly config: { readonly name: string; readonly depth: number }
}

export class SingleQueues {
  readonly #k: Kernel
  readonly #blk: BlockLayer
  readonly #queues: Map<number, sq_queue> = new Map()

  constructor(k: Kernel, blk: BlockLayer) {
    this.#k = k
    this.#blk = blk
  }

  /** Makes the queue of a disk. */
  init(disk: SingleQueueDisk, nullBlk: NullBlkConfig, module: NullbModule): void {
    const { view } = this.#blk
    const { name, depth } = disk.config
    const options = {
      nullb: view.u32(view.u32(disk.q + Q_HCTXS) + HC_DRIVER_DATA),
      irqmode: nullBlk.irqmode,
      completion_nsec: nullBlk.completionNs,
      hw_queue_depth: depth,
    }
    const q = blk_init_queue(this.#blk, disk.q, name, null_rq_driver(this.#k, module, options))
    q.laptop_io_completion = () => this.#blk.laptop_io_completion?.(this.#blk.queues.get(disk.q)!)
    this.#queues.set(disk.q, q)
    view.setU32(disk.q + Q_BIO_BASED, BIO_BASED_HOST)
  }

  /** The queue of a disk, undefined when it has several. */
  at(q: number): sq_queue | undefined {
    return this.#queues.get(q)
  }

  /** The make_request_fn: a cookie or SUBMIT_*. */
  make_request(cpu: number, bio: number): number {
    const q = this.#queues.get(this.#blk.view.u32(bio + BIO_DISK))
    if (!q) throw new Error(`a bio of a disk that has no single queue: ${bio}`)
    return blk_queue_bio(q, cpu, bio)
  }
}
