// What the block layer's files share: include/linux/blkdev.h, blk-mq.h and elevator.h of Linux 4.19, as far as they are
// types.
//
// Requests, software queues and hardware queues live in the shared memory; a request is the address of its slot (RQ_*
// of assembly/layout.ts), and `rq_list` an array of such addresses in list order. What belongs to a whole request
// queue, and only its home thread touches, hangs on `request_queue` here: works, timers, the requeue list, the
// scheduler.
//
// `blk_mq_hw_ctx` and `request_queue` are made by blk_mq_init_queue (blk-mq.ts) over blocks that the machine has booted.
// Everything is reached from `BlockLayer`: the kernel whose tasks and works run these functions, the core, the memory.

import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { Sleep, task_struct } from '../kernel/core.js'
import type { Kernel } from '../kernel/kernel.js'
import type { timer_list } from '../kernel/timer-wheel.js'
import type { wait_queue_head } from '../kernel/wait.js'
import type { delayed_work, work_struct, workqueue_struct } from '../kernel/workqueue-structs.js'
import type { backing_dev_info, mm_state } from '../mm/mm.js'
import type { Slab } from '../mm/slab.js'

/** Requests in the order of a list: addresses of their slots. */
export type rq_list = number[]

/** The block layer of one thread. */
export interface BlockLayer {
  readonly k: Kernel
  /** Calls into it carry the trace context across; use no other. */
  readonly core: Core
  readonly view: View
  /** CPU blocks by the kernel's CPU numbers. */
  readonly cpus: readonly number[]
  readonly kblockd: workqueue_struct
  /** Memory for what is made while the machine runs: queues, tags, commands, buffers. */
  readonly mem: Slab
  /** By address of their blocks (Q_*, HC_*). */
  readonly queues: Map<number, request_queue>
  readonly hctxs: Map<number, blk_mq_hw_ctx>
  readonly bios: bio_set
  /** end_io of requests of the kernel's own, while they are executed. */
  readonly passthrough: Map<number, (rq: number, status: number) => void>
  /** blk_mq_sched_dispatch_requests, and what the core asks for (HB_*): handed down by block-layer.ts. */
  readonly dispatch_requests: (hctx: blk_mq_hw_ctx) => void
  /** The page cache's memory management, once there is one: queues made from then on have a backing device. */
  mm: mm_state | null
  /** The first open of a new disk, which reads its partition table, and the close of a disk that goes: the page cache's. */
  bdev: bdev_ops | null
  /** The NVMe driver's look at a completion entry that names no request in flight: whether it meant something. */
  nvme_handle_cqe: ((nq: number, cqe: number) => boolean) | null
  /** An io_u of a job goes through the page cache; 0: the job closes its files. */
  file_io: ((job: number, iou: number) => void) | null
  /** Called once for every request of a bio that is freed (laptop mode), while it is set. */
  laptop_io_completion: ((q: request_queue) => void) | null
  /** Answers of pblk to the core (HB_PBLK_*). */
  lightnvm: ((what: number, a: number, b: number) => number) | null
}

/** What disks ask of the layer of files above them. */
export interface bdev_ops {
  /** register_disk: opens the disk for the first time, looks for partitions, closes it. */
  register_disk(q: request_queue): Sleep<void>
  /** The disk has gone: its file goes. */
  del_disk(q: request_queue): void
}

/** Bios of TypeScript's own, and blocks for tasks that wait for a tag; addresses. */
export interface bio_set {
  readonly bios: number[]
  readonly waiters: number[]
  /** bi_end_io of each bio in flight. */
  readonly end_io: Map<number, (bio: number) => void>
  /** Tasks that sleep for a tag, by waiter. */
  readonly sleeping: Map<number, task_struct>
  /** Hardware queues whose dispatch list waits for a tag that they share, by waiter. */
  readonly dispatching: Map<number, blk_mq_hw_ctx>
}

/** What a driver gives blk_mq_init_queue beside the core's queue_rq and complete. */
export interface blk_mq_ops {
  readonly name: string
  /** A hardware queue has been made. */
  readonly init_hctx?: (hctx: blk_mq_hw_ctx, hctx_idx: number) => void
  /** It goes. */
  readonly exit_hctx?: (hctx: blk_mq_hw_ctx, hctx_idx: number) => void
  /** The disk is opened, and closed again. */
  readonly open?: (q: request_queue) => void
  /** Its first open: whether it is what it was. */
  readonly revalidate_disk?: (q: request_queue) => Sleep<number>
  /** True: nobody else has the disk, whose driver has let go of it. */
  readonly release?: (q: request_queue) => Sleep<boolean> | undefined
  /** @returns BLK_EH_DONE or BLK_EH_RESET_TIMER; it may sleep */
  readonly timeout?: (q: request_queue, rq: number) => number | Sleep<number>
  /** DRIVER_HOST: gives a request to the driver. @returns a blk_status_t */
  readonly queue_rq?: (hctx: blk_mq_hw_ctx, rq: number) => number
  /** DRIVER_HOST: a request is complete, on the CPU that submitted it; RQ_STATUS is the driver's. */
  readonly complete?: (q: request_queue, rq: number) => void
  /** NVMe: a command ended with an NVMe status that is not success; the driver retries or ends its request. */
  readonly complete_failed?: (q: request_queue, rq: number, status: number) => void
  /** A request slot was made, of hardware queue `hctx_idx`. */
  /** Of all requests that init_request had. */
  readonly exit_request?: (set: tag_set_facts) => void
  readonly init_request?: (set: tag_set_facts, rq: number, hctx_idx: number) => void
  /** Fills the map of CPUs to hardware queues. */
  readonly map_queues?: (set: tag_set_facts) => void
  readonly get_budget?: (hctx: blk_mq_hw_ctx) => boolean
  readonly put_budget?: (hctx: blk_mq_hw_ctx) => void
  /** After the batch of a dispatch list went to the driver: NVMe rings its doorbells. */
  readonly commit_rqs?: (hctx: blk_mq_hw_ctx) => void
}

/** What a driver's functions see of a tag set (blk_mq_tag_set). */
export interface tag_set_facts {
  readonly blk: BlockLayer
  readonly nr_hw_queues: number
  readonly mq_map: Uint32Array
  readonly driver_data?: unknown
}

export const BLK_EH_DONE = 0
export const BLK_EH_RESET_TIMER = 1

/** struct blk_mq_hw_ctx. Its state is in its block. */
export interface blk_mq_hw_ctx {
  /** Address of its block (HC_*). */
  readonly at: number
  readonly q: request_queue
  readonly queue_num: number
  /** Kernel numbers of the CPUs mapped to it, ascending; software queues in the order of index_hw. */
  readonly cpumask: readonly number[]
  readonly ctxs: readonly number[]
  /** The driver's own. */
  driver_data: unknown
  readonly run_work: delayed_work<blk_mq_hw_ctx>
  next_cpu: number
  next_cpu_batch: number
  dispatch_from: number
  /** The waiter of its dispatch list, while it waits for a shared tag; 0 = none. */
  dispatch_wait: number
  /** The scheduler's own. */
  sched_data: unknown
  /** Ends its hearing of CPUs that die (blk_mq_remove_cpuhp). */
  remove_cpuhp: () => void
}

/** struct request_queue. */
export interface request_queue {
  readonly blk: BlockLayer
  /** Address of its block (Q_*). */
  readonly at: number
  readonly name: string
  readonly ops: blk_mq_ops
  /** Null while there is no page cache. */
  bdi: backing_dev_info | null
  readonly queue_hw_ctx: blk_mq_hw_ctx[]
  elevator: elevator_queue | null
  /** Head first. */
  requeue_list: rq_list
  readonly requeue_work: delayed_work<request_queue>
  readonly timeout: timer_list<request_queue>
  readonly timeout_work: work_struct<request_queue>
  readonly mq_freeze_wq: wait_queue_head
  mq_freeze_depth: number
  /** The grace period that a freeze waits for, because each CPU counted for itself who is inside; null = none. */
  usage_switch: object | null
  /** Tasks inside that have no tag yet. */
  tag_waiters: number
  quiesced: boolean
  /** A disk: it stands in sysfs, or stood there since boot. */
  init_done: boolean
  dying: boolean
  /** The driver's own (a namespace). */
  queuedata: unknown
  /** Flush requests of its own (RQ_*), where its tag set has none for it. */
  readonly flush_rqs: number[]
  /** For shared tags: the set that it is a queue of. */
  tag_set: tag_set_facts | null
}

/** struct elevator_queue: one scheduler attached to one queue. */
export interface elevator_queue {
  readonly type: elevator_type
  readonly q: request_queue
  /** The scheduler's own: deadline_data, kyber_queue_data. */
  elevator_data: unknown
}

/** One tunable of a scheduler, as sysfs shows it. */
export interface elv_fs_entry {
  readonly name: string
  show(e: elevator_queue): string
  /** @returns 0 or -errno */
  store(e: elevator_queue, value: string): number
}

/** A file of debugfs: its name below the disk's folder, and its text. */
export type debugfs_file = readonly [name: string, text: string]

/** One file that a scheduler has in debugfs. */
export interface debugfs_attr<T> {
  readonly name: string
  show(of: T): string
}

export interface elevator_type {
  /** As in sysfs: `mq-deadline`, `kyber`. */
  readonly elevator_name: string
  readonly ops: elevator_mq_ops
  readonly elevator_attrs: readonly elv_fs_entry[]
  readonly queue_debugfs_attrs: readonly debugfs_attr<request_queue>[]
  readonly hctx_debugfs_attrs: readonly debugfs_attr<blk_mq_hw_ctx>[]
}

/**
 * struct elevator_mq_ops. The block layer calls each where Linux does; a function opens with `enter(k, its name)` and
 * closes with `leave`, under its own Linux name (dd_insert_requests, ...).
 */
export interface elevator_mq_ops {
  /** @returns 0 or -errno; sets e.elevator_data */
  init_sched(q: request_queue, e: elevator_queue): number
  exit_sched?(e: elevator_queue): void
  init_hctx?(hctx: blk_mq_hw_ctx): number
  exit_hctx?(hctx: blk_mq_hw_ctx): void
  /** The hardware queue has another number of tags (later kernels; 4.19 forgets to say so). */
  depth_updated?(hctx: blk_mq_hw_ctx): void
  /** True when the bio (BIO_*) joined a request; the block layer frees a request that this emptied. */
  bio_merge?(hctx: blk_mq_hw_ctx, bio: number): boolean
  /** The request that the bio may join, and how; called by elv_merge after its hash found none. */
  request_merge?(q: request_queue, bio: number): { how: number; rq: number }
  request_merged?(q: request_queue, rq: number, how: number): void
  /** `next` was merged into `rq` and goes. */
  requests_merged?(q: request_queue, rq: number, next: number): void
  /** Depth of one word that an allocation may use (kyber: async requests); 0 = all. */
  limit_depth?(q: request_queue, opf: number): number
  prepare_request?(q: request_queue, rq: number, bio: number): void
  finish_request?(q: request_queue, rq: number): void
  insert_requests(hctx: blk_mq_hw_ctx, list: rq_list, at_head: boolean): void
  /** 0 = none now. */
  dispatch_request(hctx: blk_mq_hw_ctx): number
  has_work(hctx: blk_mq_hw_ctx): boolean
  completed_request?(q: request_queue, rq: number): void
  requeue_request?(q: request_queue, rq: number): void
  former_request?(q: request_queue, rq: number): number
  next_request?(q: request_queue, rq: number): number
}

export const ELEVATOR_NO_MERGE = 0
export const ELEVATOR_FRONT_MERGE = 1
export const ELEVATOR_BACK_MERGE = 2
export const ELEVATOR_DISCARD_MERGE = 3
