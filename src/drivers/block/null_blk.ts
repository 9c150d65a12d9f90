// null_blk's half in TypeScript: drivers/block/null_blk_main.c of Linux 4.19, what a disk may do beyond ending commands.
//
// The core (assembly/null_blk.ts) has null_queue_rq, null_queue_bio, null_handle_cmd's frame and the ends of a command. It
// calls null_cmd here, in the middle of the function that Linux has it in, when the disk's NULLB_FEATURES say so:
//
//   faults     should_requeue_request, then should_timeout_request   NULL_CMD_RESOURCE, NULL_CMD_TAKEN or 0
//   command    bandwidth, bad blocks, data or discard or flush, write pointer of the zone
//                                                                    a blk_status_t, or NULL_CMD_AGAIN
//
// A disk's state belongs to one thread: in real time such a disk has one CPU.
//
// Mistakes of 4.19, shown by `quirks`: FUA is never seen by the cache (the operation is masked before the test).

import {
  BIO_DATA,
  BIO_NEXT,
  BIO_SECTOR,
  BIO_SIZE,
  NULL_CMD_AGAIN,
  NULL_CMD_RESOURCE,
  NULL_CMD_TAKEN,
  RQ_BIO,
  RQ_CMD_FLAGS,
  RQ_DATA_LEN,
  RQ_HCTX,
  RQ_SECTOR,
  SECTOR_SHIFT,
} from '../../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  BLK_STS_NOSPC,
  BLK_STS_OK,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_FLUSH,
  REQ_OP_MASK,
  REQ_OP_WRITE,
} from '../../../assembly/nvme.js'
import { badblocks, badblocks_check, badblocks_set } from '../../block/badblocks.js'
import type { View } from '../../core/view.js'
import type { HrtimerKernel } from '../../kernel/hrtimer.js'
import type { TraceHost } from '../../kernel/trace.js'
import { type FaultNumbers, fault_attr, set_fault_attr, should_fail } from './null_blk-fault.js'
import {
  copy_from_nullb,
  copy_to_nullb,
  null_handle_discard,
  null_handle_flush,
  nullb_store,
} from './null_blk-store.js'
import { null_throttle, nullb_setup_bwtimer, nullb_throttle } from './null_blk-throttle.js'
import { null_zone_init, null_zone_write, type null_zones } from './null_blk-zoned.js'

/** What a disk was made with. Sizes in bytes, sectors of 512. */
export interface NullbOptions {
  /** Address of its block (NULLB_*) and of its request queue. */
  readonly nullb: number
  readonly q: number
  readonly sizeBytes: number
  readonly blockBytes: number
  readonly memoryBacked: boolean
  readonly cacheBytes: number
  readonly memBytes: number
  readonly mbps: number
  readonly badblocks: readonly (readonly [first: number, last: number])[]
  /** 0 = not zoned. */
  readonly zoneSectors: number
  readonly timeout: FaultNumbers | null
  readonly requeue: FaultNumbers | null
  readonly quirks: boolean
}

/** What the driver asks of the block layer. */
export interface NullbBlockLayer {
  /** blk_mq_stop_hw_queues, or blk_stop_queue of a single queue. */
  stop(q: number): void
  /** blk_mq_start_stopped_hw_queues(async), or blk_start_queue_async. */
  restart_async(q: number): void
  /** blk_mq_requeue_request with a kick, or blk_requeue_request. */
  requeue(cpu: number, rq: number): void
}

/** struct nullb: one disk. */
class nullb {
  readonly options: NullbOptions
  readonly store: nullb_store | null
  readonly zones: null_zones | null
  readonly badblocks: badblocks
  readonly throttle: nullb_throttle | null
  /** Of each hardware queue. */
  readonly requeue_selection: Map<number, number> = new Map()

  constructor(k: TraceHost, options: NullbOptions, throttle: nullb_throttle | null) {
    const { blockBytes, memBytes, cacheBytes, badblocks: ranges, sizeBytes } = options
    this.options = options
    this.throttle = throttle
    this.store = options.memoryBacked ? new nullb_store(k, blockBytes, memBytes) : null
    if (this.store) this.store.cache_size = cacheBytes
    this.zones = options.zoneSectors ? null_zone_init(k, sizeBytes, options.zoneSectors) : null
    this.badblocks = new badblocks(ranges.length > 0)
    for (const [first, last] of ranges) badblocks_set(k, this.badblocks, first, last - first + 1)
  }
}

/** The module: its disks on this thread, and the fault attributes that they share. */
export class null_blk {
  readonly #k: TraceHost
  readonly #view: View
  readonly #layer: NullbBlockLayer
  readonly #list: Map<number, nullb> = new Map()
  readonly #timeout_attr: fault_attr
  readonly #requeue_attr: fault_attr

  /**
   * @param kernel of the machine, for the timers of disks with mbps
   * @param seed of the faults' dice
   */
  constructor(
    k: TraceHost,
    view: View,
    layer: NullbBlockLayer,
    disks: readonly NullbOptions[],
    seed: number,
    kernel: HrtimerKernel | null,
  ) {
    this.#k = k
    this.#view = view
    this.#layer = layer
    this.#timeout_attr = new fault_attr(seed)
    this.#requeue_attr = new fault_attr(seed + 1)
    for (const options of disks) {
      if (options.timeout) set_fault_attr(this.#timeout_attr, options.timeout)
      if (options.requeue) set_fault_attr(this.#requeue_attr, options.requeue)
      this.#list.set(options.nullb, new nullb(k, options, this.#throttle(options, kernel)))
    }
  }

  #throttle({ mbps, q }: NullbOptions, kernel: HrtimerKernel | null): nullb_throttle | null {
    if (mbps === 0 || kernel === null) return null
    const throttle = new nullb_throttle(kernel, mbps, {
      stop: () => this.#layer.stop(q),
      restart_async: () => this.#layer.restart_async(q),
    })
    nullb_setup_bwtimer(throttle)
    return throttle
  }

  /** What the core asks about a command: a blk_status_t or NULL_CMD_*. */
  null_cmd = (cpu: number, at: number, rq: number, faults: number): number => {
    const disk = this.#list.get(at >>> 0)
    if (disk === undefined) return BLK_STS_IOERR
    return faults ? this.#faults(cpu, disk, rq >>> 0) : this.#handle(disk, rq >>> 0)
  }

  // ---------------------------------------------------------------- faults

  should_requeue_request(at: number): boolean {
    const wanted = this.#list.get(at)?.options.requeue != null
    return wanted && should_fail(this.#k, this.#requeue_attr, 1)
  }

  should_timeout_request(at: number): boolean {
    const wanted = this.#list.get(at)?.options.timeout != null
    return wanted && should_fail(this.#k, this.#timeout_attr, 1)
  }

  #faults(cpu: number, disk: nullb, rq: number): number {
    const at = disk.options.nullb
    if (this.should_requeue_request(at)) return this.#requeue(cpu, disk, rq)
    return this.should_timeout_request(at) ? NULL_CMD_TAKEN : 0
  }

  /** Every other one by the block layer's own way (RESOURCE), the rest by the driver's. */
  #requeue(cpu: number, disk: nullb, rq: number): number {
    const hctx = this.#view.u32(rq + RQ_HCTX)
    const selection = (disk.requeue_selection.get(hctx) ?? 0) + 1
    disk.requeue_selection.set(hctx, selection)
    if (selection & 1) return NULL_CMD_RESOURCE
    this.#layer.requeue(cpu, rq)
    return NULL_CMD_TAKEN
  }

  // ---------------------------------------------------------------- null_handle_cmd

  #handle(disk: nullb, rq: number): number {
    const view = this.#view
    const op = view.u32(rq + RQ_CMD_FLAGS) & REQ_OP_MASK
    const sector = view.u64(rq + RQ_SECTOR)
    const bytes = view.u32(rq + RQ_DATA_LEN)
    const sectors = bytes >>> SECTOR_SHIFT
    if (disk.throttle && !null_throttle(disk.throttle, bytes)) return NULL_CMD_AGAIN
    if (disk.badblocks.shift >= 0 && op !== REQ_OP_FLUSH)
      if (badblocks_check(this.#k, disk.badblocks, sector, sectors)) return BLK_STS_IOERR
    const status = disk.store ? this.#memory(disk, disk.store, rq, op) : BLK_STS_OK
    if (status !== BLK_STS_OK || disk.zones === null || op !== REQ_OP_WRITE) return status
    return null_zone_write(this.#k, disk.zones, sector, sectors)
  }

  #memory(disk: nullb, store: nullb_store, rq: number, op: number): number {
    const error =
      op === REQ_OP_FLUSH ? null_handle_flush(store) : this.#null_handle_rq(disk, store, rq, op)
    return error === 0 ? BLK_STS_OK : BLK_STS_NOSPC
  }

  /** Moves the data of every bio of a request: 0, or -errno. */
  #null_handle_rq(disk: nullb, store: nullb_store, rq: number, op: number): number {
    const view = this.#view
    if (op === REQ_OP_DISCARD) {
      null_handle_discard(store, view.u64(rq + RQ_SECTOR), view.u32(rq + RQ_DATA_LEN))
      return 0
    }
    const is_fua = !disk.options.quirks && (view.u32(rq + RQ_CMD_FLAGS) & REQ_FUA) !== 0
    for (let bio = view.u32(rq + RQ_BIO); bio; bio = view.u32(bio + BIO_NEXT)) {
      const sector = view.u64(bio + BIO_SECTOR)
      const from = view.u32(bio + BIO_DATA)
      const data = view.bytes.subarray(from, from + view.u32(bio + BIO_SIZE))
      const error =
        op === REQ_OP_WRITE
          ? copy_to_nullb(store, data, sector, is_fua)
          : copy_from_nullb(store, data, sector)
      if (error !== 0) return error
    }
    return 0
  }
}
