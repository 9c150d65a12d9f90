// What a controller of rdma, tcp and (for the most part) loop and fc is made of: what struct nvme_rdma_ctrl of Linux 4.19,
// nvme_tcp_ctrl of 5.10 and nvme_loop_ctrl have in common, what a transport adds, and Linux's names for the steps there.

import type { blk_mq_tag_set } from '../../../block/blk-mq-init.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { enter, leave } from '../../../kernel/trace.js'
import { INIT_DELAYED_WORK, INIT_WORK } from '../../../kernel/workqueue-queue.js'
import {
  type WorkFn,
  delayed_work,
  type work_struct,
  work_struct as work,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import {
  nvme_alloc_ctrl,
  nvme_delete_ctrl_work_of,
  nvme_kill_queues,
  nvme_start_queues,
} from './core-ctrl.js'
import { nvme_remove_namespaces } from './core-scan.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import type { nvmf_module } from './fabrics.js'
import type { nvme_ctrl } from './nvme.js'

/** Entries of the admin queue, and the tags that are left of it for the block layer. */
export const NVMF_AQ_DEPTH = 32

export const NVMF_AQ_TAGS = 30

/** Command identifier of the Asynchronous Event Request. */
export const NVMF_AEN_CID = 31

/** Linux's names for the steps; '' = it has no name of its own there. */
export interface nvmf_names {
  readonly create_ctrl: string
  readonly setup_ctrl: string
  readonly configure_admin_queue: string
  readonly configure_io_queues: string
  readonly alloc_io_queues: string
  readonly connect_io_queues: string
  readonly alloc_tagset: string
  readonly init_admin_hctx: string
  readonly init_hctx: string
  readonly init_request: string
  readonly exit_request: string
  readonly map_queues: string
  /** What it asks its device's vectors with. */
  readonly device_map_queues?: string
  readonly queue_rq: string
  readonly complete_rq: string
  readonly timeout: string
  readonly teardown_io_queues: string
  readonly teardown_admin_queue: string
  readonly destroy_io_queues: string
  readonly destroy_admin_queue: string
  readonly error_recovery: string
  readonly error_recovery_work: string
  readonly reconnect_ctrl_work: string
  readonly reconnect_or_remove: string
  readonly reset_ctrl_work: string
  readonly stop_ctrl: string
  readonly delete_ctrl: string
  readonly shutdown_ctrl: string
  readonly free_ctrl: string
  readonly submit_async_event: string
}

/** One transport's half. Errors are -errno. */
export interface nvmf_lower {
  readonly names: nvmf_names
  readonly driver: string
  /**
   * Host and target are one kernel (loop): a new controller is not CONNECTING, its admin queue is made anew by a reset, and
   * its registers are left alone when it goes.
   */
  readonly local?: true
  /** Connection of a queue that has `size` entries. */
  alloc_queue(c: nvmf_life, qid: number, size: number): Sleep<number> | number
  /** Nothing of this queue completes any more. */
  stop_queue(c: nvmf_life, qid: number): Sleep<void> | undefined
  free_queue(c: nvmf_life, qid: number): Sleep<void> | undefined
  /** A blk_status_t. */
  queue_rq(c: nvmf_life, qid: number, hctx: blk_mq_hw_ctx, rq: number): number
  complete_rq(c: nvmf_life, qid: number, q: request_queue, rq: number): void
  submit_async_event(c: nvmf_life): void
  /** After identify: what the transport cannot live with. 0 or -errno. */
  check(c: nvmf_life): number
  /** Largest transfer, in sectors; 0 = no limit of its own. */
  readonly max_hw_sectors: number
  /** Queues of it that this machine can have. */
  max_queues(): number
  /** Other than nvmf_free_queues. */
  free_ctrl?(c: nvmf_life): Sleep<void>
  /** The controller is gone. */
  freed(c: nvmf_life): void
  /** Where a request's private part is made and goes; else it is only named. */
  init_request?(c: nvmf_life): void
  exit_request?(c: nvmf_life): void
  /** What a set of tags holds of the transport. */
  tagset_allocated?(c: nvmf_life): void
  tagset_freed?(c: nvmf_life): void
  /** Transports that recover in their own way. */
  timeout?(c: nvmf_life): number
  delete_ctrl?(c: nvmf_life): Sleep<void>
  /** Eras in which a reset and a deletion are the transport's own. 0 or -errno. */
  reset?(c: nvmf_life): number
  del?(c: nvmf_life): number
}

/** Queues on which the works of a controller run. */
export interface nvmf_works {
  readonly err: workqueue_struct
  readonly reconnect: workqueue_struct
}

/** What a life consists of: fabrics-ctrl.ts's. */
export interface nvmf_steps {
  readonly ctrl_ops: (c: nvmf_life) => nvme_ctrl['ops']
  readonly error_recovery_work: (item: work_struct<nvmf_life>) => Sleep<void>
  readonly reconnect_ctrl_work: (item: work_struct<nvmf_life>) => Sleep<void>
  readonly reset_ctrl_work: (item: work_struct<nvme_ctrl>) => Sleep<void>
  readonly timeout: (c: nvmf_life, q: request_queue, rq: number) => Sleep<number>
}

/** A fabrics controller. */
export class nvmf_life {
  readonly f: nvmf_module
  readonly opts: nvmf_ctrl_options
  readonly lower: nvmf_lower
  readonly ctrl: nvme_ctrl
  readonly works: nvmf_works
  readonly steps: nvmf_steps
  readonly err_work: work_struct<nvmf_life>
  readonly reconnect_work: delayed_work<nvmf_life>
  /** Queues that may carry commands, by identifier. */
  readonly live: boolean[] = []
  nr_reconnects = 0
  admin_tag_set: blk_mq_tag_set | null = null
  tag_set: blk_mq_tag_set | null = null
  nr_io_queues = 0
  /** A queue is being made that is no namespace's. */
  own_queue = false

  constructor(
    f: nvmf_module,
    opts: nvmf_ctrl_options,
    lower: nvmf_lower,
    works: nvmf_works,
    steps: nvmf_steps,
  ) {
    const { k } = f.nvme
    this.steps = steps
    this.f = f
    this.opts = opts
    this.lower = lower
    this.works = works
    this.ctrl = nvme_alloc_ctrl(f.nvme, steps.ctrl_ops(this), this)
    this.err_work = new work<nvmf_life>(k, this)
    this.reconnect_work = new delayed_work<nvmf_life>(k, this)
    const { names } = lower
    INIT_DELAYED_WORK(
      this.reconnect_work,
      named(names.reconnect_ctrl_work, steps.reconnect_ctrl_work),
    )
    INIT_WORK(this.err_work, named(names.error_recovery_work, steps.error_recovery_work))
    INIT_WORK(this.ctrl.reset_work, named(names.reset_ctrl_work, steps.reset_ctrl_work))
    INIT_WORK(this.ctrl.delete_work, nvme_delete_ctrl_work_of(remove_namespaces))
    this.ctrl.queue_count = opts.nr_io_queues + 1
    this.ctrl.sqsize = opts.queue_size - 1
    this.ctrl.kato = opts.kato
    this.ctrl.opts = opts
  }
}

/**
 * A reset that a deletion cut off, or whose attempts to connect all failed, has left the queues stopped. 4.19 then waits for
 * their requests for ever; here, as in later kernels, they start again, and fail since the controller is being deleted.
 */
function* remove_namespaces(ctrl: nvme_ctrl): Sleep<void> {
  if (ctrl.namespaces.some(ns => ns.queue.quiesced)) nvme_start_queues(ctrl)
  yield* nvme_remove_namespaces(ctrl, nvme_kill_queues)
}

/** A work's function under the name that Linux has for it in this transport: traces show it. */
function named<T>(name: string, body: (item: work_struct<T>) => Sleep<void>): WorkFn<T> {
  return { [name]: (item: work_struct<T>) => body(item) }[name]!
}

export function life_of(ctrl: nvme_ctrl): nvmf_life {
  return ctrl.priv as nvmf_life
}

export function begin(c: nvmf_life, name: string): number {
  return name === '' ? -1 : enter(c.ctrl.k, name)
}

export function note(c: nvmf_life, name: string): void {
  leave(c.ctrl.k, begin(c, name))
}
