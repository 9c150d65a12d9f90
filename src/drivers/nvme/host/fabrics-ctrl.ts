// The life of a fabrics controller, as nvme_rdma, nvme_tcp and (for the most part) nvme_loop live it: what is the same in
// drivers/nvme/host/rdma.c of Linux 4.19, host/tcp.c of 5.10 and target/loop.c. A transport gives its own half as `lower`,
// and the names under which Linux knows these functions there.
//
//   create      NEW → CONNECTING → setup → LIVE
//   setup       admin queue (connection, tags, Connect, CAP, CC.EN, identify), checks, I/O queues (Set Features 7,
//               connections, tags, Connect each), LIVE, start
//   error       LIVE → RESETTING, err_work: keep-alive stops, I/O queues and admin queue are torn down, what was sent is
//               cancelled and waits for another try, CONNECTING, then reconnect_work after reconnect_delay, again and again
//               until it succeeds or attempts are used up: then the controller is deleted
//   reset       reset_work: all is torn down in order and set up again
//   delete      DELETING: works are stopped, namespaces go, the controller is shut down, everything is freed
//
// In the 4.9 era (RDMA) LIVE → RECONNECTING, without a limit of attempts, and all works run on the transport's own queue.

import * as L from '../../../../assembly/layout.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import {
  blk_cleanup_queue,
  blk_mq_alloc_tag_set,
  blk_mq_free_tag_set,
  blk_mq_init_queue,
  blk_mq_update_nr_hw_queues,
  blk_release_queue,
  type blk_mq_tag_set,
  type planned_memory,
} from '../../../block/blk-mq-init.js'
import { blk_mq_tagset_busy_iter } from '../../../block/blk-mq-tag.js'
import {
  BLK_EH_DONE,
  BLK_EH_RESET_TIMER,
  type blk_mq_hw_ctx,
  type blk_mq_ops,
  type request_queue,
} from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, EIO, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { cancel_delayed_work_sync, cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_delayed_work,
  queue_work,
} from '../../../kernel/workqueue-queue.js'
import {
  delayed_work,
  type work_struct,
  work_struct as work,
} from '../../../kernel/workqueue-structs.js'
import type { WorkFn, workqueue_struct } from '../../../kernel/workqueue-structs.js'
import { ctrl_log, nvme_set_queue_count } from './core-cmd.js'
import {
  nvme_alloc_ctrl,
  nvme_cancel_request,
  nvme_delete_ctrl_work_of,
  nvme_disable_ctrl,
  nvme_enable_ctrl,
  nvme_init_ctrl,
  nvme_kill_queues,
  nvme_shutdown_ctrl,
  nvme_start_ctrl,
  nvme_start_queues,
  nvme_stop_ctrl,
  nvme_stop_queues,
  nvme_uninit_ctrl,
} from './core-ctrl.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_stop_keep_alive } from './core-event.js'
import { nvme_init_identify } from './core-identify.js'
import {
  nvme_open,
  nvme_release,
  nvme_remove_namespaces,
  nvme_revalidate_disk,
} from './core-scan.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl } from './core-state.js'
import {
  nvmf_connect_admin_queue,
  nvmf_connect_io_queue,
  nvmf_free_options,
  nvmf_get_address,
  nvmf_reg_read32,
  nvmf_reg_read64,
  nvmf_reg_write32,
  nvmf_should_reconnect,
  type nvmf_module,
} from './fabrics.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import { NVME_F_FABRICS, NVME_REG_CAP, type nvme_ctrl, type nvme_ns } from './nvme.js'

/** Entries of the admin queue, and the tags that are left of it for the block layer. */
export const NVMF_AQ_DEPTH = 32
export const NVMF_AQ_TAGS = 30
/** Connect and Keep Alive never wait for a tag. */
const ADMIN_RESERVED = 2
const IO_RESERVED = 1
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
  /** The controller is gone. */
  /** Other than nvmf_free_queues. */
  free_ctrl?(c: nvmf_life): Sleep<void>
  freed(c: nvmf_life): void
  /** Where a request's private part is made and goes; else it is only named. */
  init_request?(c: nvmf_life): void
  exit_request?(c: nvmf_life): void
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

/** A fabrics controller. */
export class nvmf_life {
  readonly f: nvmf_module
  readonly opts: nvmf_ctrl_options
  readonly lower: nvmf_lower
  readonly ctrl: nvme_ctrl
  readonly works: nvmf_works
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

  constructor(f: nvmf_module, opts: nvmf_ctrl_options, lower: nvmf_lower, works: nvmf_works) {
    const { k } = f.nvme
    this.f = f
    this.opts = opts
    this.lower = lower
    this.works = works
    this.ctrl = nvme_alloc_ctrl(f.nvme, ctrl_ops(this), this)
    this.err_work = new work<nvmf_life>(k, this)
    this.reconnect_work = new delayed_work<nvmf_life>(k, this)
    const { names } = lower
    INIT_DELAYED_WORK(this.reconnect_work, named(names.reconnect_ctrl_work, reconnect_ctrl_work))
    INIT_WORK(this.err_work, named(names.error_recovery_work, error_recovery_work))
    INIT_WORK(this.ctrl.reset_work, named(names.reset_ctrl_work, reset_ctrl_work))
    INIT_WORK(
      this.ctrl.delete_work,
      nvme_delete_ctrl_work_of(one => nvme_remove_namespaces(one, nvme_kill_queues)),
    )
    this.ctrl.queue_count = opts.nr_io_queues + 1
    this.ctrl.sqsize = opts.queue_size - 1
    this.ctrl.kato = opts.kato
    this.ctrl.opts = opts
  }
}

/** A work's function under the name that Linux has for it in this transport: traces show it. */
function named<T>(name: string, body: (item: work_struct<T>) => Sleep<void>): WorkFn<T> {
  return { [name]: (item: work_struct<T>) => body(item) }[name]!
}

function life_of(ctrl: nvme_ctrl): nvmf_life {
  return ctrl.priv as nvmf_life
}

function begin(c: nvmf_life, name: string): number {
  return name === '' ? -1 : enter(c.ctrl.k, name)
}

function note(c: nvmf_life, name: string): void {
  leave(c.ctrl.k, begin(c, name))
}

function ctrl_ops(c: nvmf_life): nvme_ctrl['ops'] {
  return {
    name: c.lower.driver,
    flags: NVME_F_FABRICS,
    reg_read32: nvmf_reg_read32,
    reg_read64: nvmf_reg_read64,
    reg_write32: nvmf_reg_write32,
    free_ctrl: nvmf_life_free,
    submit_async_event: ctrl => {
      const { lower } = life_of(ctrl)
      const t = enter(ctrl.k, lower.names.submit_async_event)
      lower.submit_async_event(life_of(ctrl))
      leave(ctrl.k, t)
    },
    delete_ctrl: ctrl => (c.lower.delete_ctrl ? c.lower.delete_ctrl(c) : nvmf_life_delete(ctrl)),
    ...(c.lower.delete_ctrl || c.lower.local ? {} : { stop_ctrl: nvmf_life_stop }),
    get_address: ctrl => nvmf_get_address(ctrl, life_of(ctrl).opts),
    ...(c.lower.reset ? { reset_ctrl: () => c.lower.reset!(c) } : {}),
  }
}

// ---------------------------------------------------------------- tags and queues

/** The queue that a hardware queue's commands go by. */
function qid_of(admin: boolean, hctx_idx: number): number {
  return admin ? 0 : hctx_idx + 1
}

function mq_ops(c: nvmf_life, admin: boolean): blk_mq_ops {
  const { names } = c.lower
  const { k } = c.ctrl
  return {
    name: c.lower.driver,
    queue_rq: (hctx, rq) => {
      const t = enter(k, names.queue_rq)
      return leave(k, t, c.lower.queue_rq(c, qid_of(admin, hctx.queue_num), hctx, rq))
    },
    complete: (q, rq) => {
      const t = enter(k, names.complete_rq)
      const { view } = q.blk
      const hctx = q.blk.hctxs.get(view.u32(rq + L.RQ_HCTX))!
      c.lower.complete_rq(c, qid_of(admin, hctx.queue_num), q, rq)
      leave(k, t)
    },
    complete_failed: (q, rq) => c.lower.complete_rq(c, 0, q, rq),
    init_hctx: () => note(c, admin ? names.init_admin_hctx : names.init_hctx),
    init_request: () => {
      if (c.lower.init_request) c.lower.init_request(c)
      else note(c, names.init_request)
    },
    exit_request: () => {
      if (c.lower.exit_request) c.lower.exit_request(c)
      else note(c, names.exit_request)
    },
    timeout: (q, rq) => nvmf_timeout(c, q, rq),
    ...(admin ? {} : DISK_OPS),
  }
}

/** What a namespace is as a disk. */
const DISK_OPS = {
  open: nvme_open,
  release: nvme_release,
  revalidate_disk: (q: request_queue) => nvme_revalidate_disk(q.queuedata as nvme_ns),
}

/** @returns 0 or -errno */
export function nvmf_alloc_tagset(c: nvmf_life, admin: boolean): number {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.alloc_tagset)
  const set: blk_mq_tag_set = {
    blk: ctrl.blk,
    ops: mq_ops(c, admin),
    driver: L.DRIVER_HOST,
    nr_hw_queues: admin ? 1 : c.nr_io_queues,
    queue_depth: admin ? NVMF_AQ_TAGS : ctrl.sqsize + 1,
    reserved_tags: admin ? ADMIN_RESERVED : IO_RESERVED,
    timeout: (admin ? 60 : 30) * ctrl.k.hz,
    driver_data: c,
    mq_map: new Uint32Array(),
    tags: [],
    ...(admin ? {} : memory_of(c)),
  }
  const error = blk_mq_alloc_tag_set(set)
  if (error === 0) {
    if (admin) {
      c.admin_tag_set = set
      ctrl.admin_tagset = set
    } else {
      c.tag_set = set
      ctrl.tagset = set
    }
  }
  return leave(ctrl.k, t, error)
}

export function nvmf_free_tagset(c: nvmf_life, admin: boolean): void {
  const set = admin ? c.admin_tag_set : c.tag_set
  if (set === null) return
  blk_mq_free_tag_set(set)
  if (admin) {
    c.admin_tag_set = null
    c.ctrl.admin_tagset = null
  } else {
    c.tag_set = null
    c.ctrl.tagset = null
  }
}

/** A queue that carries only commands of the driver's own. Its blocks are not those planned for a namespace. */
export function nvmf_make_queue(c: nvmf_life, admin: boolean): request_queue | null {
  c.own_queue = true
  const set = admin ? c.admin_tag_set! : c.tag_set!
  const q = blk_mq_init_queue(set, `${c.ctrl.device}-${admin ? 'admin' : 'connect'}`)
  c.own_queue = false
  return q
}

/** Memory planned at boot, for tags and namespaces. */
function memory_of(c: nvmf_life): { memory?: planned_memory } {
  const { memory } = c.ctrl
  if (memory === null) return {}
  return {
    memory: {
      tags: hctx_idx => memory.tags(hctx_idx),
      queue: () => (c.own_queue ? null : memory.queue()),
      queue_free: q => memory.queue_free(q),
    },
  }
}

export function* nvmf_drop_queue(q: request_queue | null): Sleep<void> {
  if (q === null) return
  yield* blk_cleanup_queue(q)
  blk_release_queue(q)
}

/** The result of what may have slept. */
function* slept<T>(what: Sleep<T> | T): Sleep<T> {
  const sleeps = typeof what === 'object' && what !== null && Symbol.iterator in what
  return sleeps ? yield* what as Sleep<T> : (what as T)
}

// ---------------------------------------------------------------- admin queue

export function* nvmf_start_queue(c: nvmf_life, qid: number): Sleep<number> {
  const { ctrl, opts } = c
  const ret =
    qid === 0
      ? yield* nvmf_connect_admin_queue(ctrl, opts)
      : yield* nvmf_connect_io_queue(ctrl, opts, qid)
  if (ret === 0) c.live[qid] = true
  return ret
}

function* stop_queue(c: nvmf_life, qid: number): Sleep<void> | undefined {
  c.live[qid] = false
  yield* slept(c.lower.stop_queue(c, qid))
}

/** Everything of the admin queue that was made goes. */
function* destroy_admin_queue(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.destroy_admin_queue)
  if (remove) {
    yield* nvmf_drop_queue(ctrl.admin_q)
    ctrl.admin_q = null
    nvmf_free_tagset(c, true)
  }
  yield* slept(lower.free_queue(c, 0))
  leave(ctrl.k, t)
}

function* admin_steps(c: nvmf_life): Sleep<number> {
  const { ctrl, lower } = c
  let error = yield* nvmf_start_queue(c, 0)
  if (error) return error
  const cap = yield* nvmf_reg_read64(ctrl, NVME_REG_CAP)
  if (cap < 0n) return -EIO
  ctrl.cap = cap
  ctrl.sqsize = Math.min(Number(cap & 0xffffn), ctrl.sqsize)
  error = yield* nvme_enable_ctrl(ctrl, cap)
  if (error) return error
  ctrl.max_hw_sectors = lower.max_hw_sectors
  return yield* nvme_init_identify(ctrl)
}

function* configure_admin_queue(c: nvmf_life, fresh: boolean): Sleep<number> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.configure_admin_queue)
  const anew = fresh || lower.local === true
  let error = yield* slept(lower.alloc_queue(c, 0, NVMF_AQ_DEPTH))
  if (error) return leave(ctrl.k, t, error)
  if (anew) {
    error = nvmf_alloc_tagset(c, true)
    if (error === 0) ctrl.admin_q = nvmf_make_queue(c, true)
    if (error === 0 && ctrl.admin_q === null) error = -EIO
  }
  if (error === 0) error = yield* admin_steps(c)
  if (error !== 0) {
    yield* stop_queue(c, 0)
    cancel_all(c, true)
    yield* destroy_admin_queue(c, anew)
  }
  return leave(ctrl.k, t, error)
}

// ---------------------------------------------------------------- I/O queues

function* alloc_io_queues(c: nvmf_life): Sleep<number> {
  const t = begin(c, c.lower.names.alloc_io_queues)
  return leave(c.ctrl.k, t, yield* io_queues(c))
}

function* io_queues(c: nvmf_life): Sleep<number> {
  const { ctrl, lower, opts } = c
  const count = { n: Math.min(opts.nr_io_queues, ctrl.k.cpus.length, lower.max_queues()) }
  const error = yield* nvme_set_queue_count(ctrl, count)
  if (error) return error
  // 4.19 goes on without I/O queues, and I/O that waits then waits for ever; later kernels give up this attempt.
  if (count.n === 0) {
    ctrl_log(ctrl, 'err', 'unable to set any I/O queues')
    return -ENOMEM
  }
  ctrl.queue_count = count.n + 1
  c.nr_io_queues = count.n
  ctrl_log(ctrl, 'info', `creating ${count.n} I/O queues.`)
  for (let qid = 1; qid <= count.n; qid++) {
    const failed = yield* slept(lower.alloc_queue(c, qid, ctrl.sqsize + 1))
    if (failed === 0) continue
    for (let one = qid - 1; one >= 1; one--) yield* slept(lower.free_queue(c, one))
    return failed
  }
  return 0
}

function* destroy_io_queues(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.destroy_io_queues)
  if (remove) {
    yield* nvmf_drop_queue(ctrl.connect_q)
    ctrl.connect_q = null
    nvmf_free_tagset(c, false)
  }
  for (let qid = 1; qid < ctrl.queue_count; qid++) yield* slept(lower.free_queue(c, qid))
  leave(ctrl.k, t)
}

function* connect_io_queues(c: nvmf_life): Sleep<number> {
  const t = begin(c, c.lower.names.connect_io_queues)
  for (let qid = 1; qid <= c.nr_io_queues; qid++) {
    const error = yield* nvmf_start_queue(c, qid)
    if (error) return leave(c.ctrl.k, t, error)
  }
  return leave(c.ctrl.k, t, 0)
}

function* configure_io_queues(c: nvmf_life, fresh: boolean): Sleep<number> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.configure_io_queues)
  let error = yield* alloc_io_queues(c)
  if (error) return leave(ctrl.k, t, error)
  const again = !fresh && c.tag_set !== null
  if (!again) {
    error = nvmf_alloc_tagset(c, false)
    if (error === 0) ctrl.connect_q = nvmf_make_queue(c, false)
    if (error === 0 && ctrl.connect_q === null) error = -EIO
  } else if (!lower.local) yield* blk_mq_update_nr_hw_queues(c.tag_set!, c.nr_io_queues)
  if (error === 0) error = yield* connect_io_queues(c)
  if (again && lower.local) yield* blk_mq_update_nr_hw_queues(c.tag_set!, c.nr_io_queues)
  if (error !== 0) {
    for (let qid = 1; qid <= c.nr_io_queues; qid++) yield* stop_queue(c, qid)
    cancel_all(c, false)
    yield* destroy_io_queues(c, fresh)
  }
  return leave(ctrl.k, t, error)
}

// ---------------------------------------------------------------- tearing down

/** What was sent is given up: it is tried again, or fails where nobody may try. */
function cancel_all(c: nvmf_life, admin: boolean): void {
  const set = admin ? c.admin_tag_set : c.tag_set
  if (set) blk_mq_tagset_busy_iter(set, rq => nvme_cancel_request(c.ctrl.blk, rq))
}

function* teardown_io_queues(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.teardown_io_queues)
  if (ctrl.queue_count > 1 && c.tag_set !== null) {
    nvme_stop_queues(ctrl)
    for (let qid = 1; qid < ctrl.queue_count; qid++) yield* stop_queue(c, qid)
    cancel_all(c, false)
    if (remove || (lower.local && ctrl.state === 'DELETING')) nvme_start_queues(ctrl)
    yield* destroy_io_queues(c, remove)
  }
  leave(ctrl.k, t)
}

function* teardown_admin_queue(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.teardown_admin_queue)
  if (ctrl.admin_q) blk_mq_quiesce_queue(ctrl.admin_q)
  yield* stop_queue(c, 0)
  cancel_all(c, true)
  if (ctrl.admin_q) blk_mq_unquiesce_queue(ctrl.admin_q)
  yield* destroy_admin_queue(c, remove)
  leave(ctrl.k, t)
}

/** @param shutdown for good; else it will be set up again */
function* shutdown_ctrl(c: nvmf_life, shutdown: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.shutdown_ctrl)
  yield* teardown_io_queues(c, shutdown && !lower.local)
  if (ctrl.admin_q && c.live[0] && !lower.local) {
    if (shutdown) yield* nvme_shutdown_ctrl(ctrl)
    else yield* nvme_disable_ctrl(ctrl, ctrl.cap)
  }
  yield* teardown_admin_queue(c, shutdown || lower.local === true)
  leave(ctrl.k, t)
}

// ---------------------------------------------------------------- setting up

/** Admin queue, checks, I/O queues, LIVE. @returns 0, -errno, or the status of a Connect */
function* setup_ctrl(c: nvmf_life, fresh: boolean): Sleep<number> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.setup_ctrl)
  const error = yield* configure_admin_queue(c, fresh)
  if (error) return leave(ctrl.k, t, error)
  let failed = lower.check(c)
  if (failed === 0) {
    nvmf_check_depth(c)
    if (ctrl.queue_count > 1) failed = yield* configure_io_queues(c, fresh)
  }
  if (failed === 0 && !nvme_change_ctrl_state(ctrl, 'LIVE')) {
    failed = -EINVAL
    yield* teardown_io_queues(c, fresh)
  }
  if (failed !== 0) {
    yield* stop_queue(c, 0)
    cancel_all(c, true)
    yield* destroy_admin_queue(c, fresh)
    return leave(ctrl.k, t, failed)
  }
  yield* nvme_start_ctrl(ctrl)
  return leave(ctrl.k, t, 0)
}

/** Queues are never deeper than the controller has commands. */
export function nvmf_check_depth({ ctrl, opts }: nvmf_life): void {
  if (opts.queue_size > ctrl.sqsize + 1)
    ctrl_log(
      ctrl,
      'warn',
      `queue_size ${opts.queue_size} > ctrl sqsize ${ctrl.sqsize + 1}, clamping down`,
    )
  if (ctrl.sqsize + 1 > ctrl.maxcmd) {
    ctrl_log(ctrl, 'warn', `sqsize ${ctrl.sqsize + 1} > ctrl maxcmd ${ctrl.maxcmd}, clamping down`)
    ctrl.sqsize = (ctrl.maxcmd - 1) & 0xffff
  }
}

/** Makes a controller live. @returns the controller, -errno, or -EIO's place for the status of a Connect */
export function* nvmf_life_create(c: nvmf_life): Sleep<nvme_ctrl | number> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.create_ctrl)
  const error = nvme_init_ctrl(ctrl)
  if (error) return leave(ctrl.k, t, error)
  if (ctrl.nvme.era.connecting !== null && !lower.local) nvme_change_ctrl_state(ctrl, 'CONNECTING')
  const failed = yield* setup_ctrl(c, true)
  if (failed) {
    c.f.why = ctrl.k.dmesg.at(-1)?.text ?? ''
    nvme_uninit_ctrl(ctrl)
    yield* nvme_put_ctrl(ctrl)
    return leave(ctrl.k, t, failed > 0 ? -EIO : failed)
  }
  ctrl_log(ctrl, 'info', `new ctrl: NQN "${c.opts.subsysnqn}", addr ${c.opts.traddr}`)
  nvme_get_ctrl(ctrl)
  return leave(ctrl.k, t, ctrl)
}

// ---------------------------------------------------------------- errors

/** The connection of a queue failed. */
export function nvmf_error_recovery(c: nvmf_life): void {
  const { ctrl, lower, works } = c
  const t = begin(c, lower.names.error_recovery)
  const state = ctrl.nvme.era.connecting === null ? 'RECONNECTING' : 'RESETTING'
  if (nvme_change_ctrl_state(ctrl, state)) queue_work(works.err, c.err_work)
  leave(ctrl.k, t)
}

function* error_recovery_work(item: work_struct<nvmf_life>): Sleep<void> {
  const c = item.container
  const { ctrl, lower } = c
  const t = begin(c, lower.names.error_recovery_work)
  yield* nvme_stop_keep_alive(ctrl)
  yield* teardown_io_queues(c, false)
  nvme_start_queues(ctrl)
  yield* teardown_admin_queue(c, false)
  const connecting = ctrl.nvme.era.connecting
  // A deletion may have come in between: it takes care of the rest.
  if (connecting === null || nvme_change_ctrl_state(ctrl, connecting)) reconnect_or_remove(c)
  leave(ctrl.k, t)
}

function reconnect_or_remove(c: nvmf_life): void {
  const { ctrl, lower, opts, works } = c
  const t = begin(c, lower.names.reconnect_or_remove)
  const waits = ctrl.state === 'CONNECTING' || ctrl.state === 'RECONNECTING'
  const endless = ctrl.nvme.era.connecting === null
  if (waits && (endless || nvmf_should_reconnect(ctrl, opts, c.nr_reconnects))) {
    ctrl_log(ctrl, 'info', `Reconnecting in ${opts.reconnect_delay} seconds...`)
    queue_delayed_work(works.reconnect, c.reconnect_work, opts.reconnect_delay * ctrl.k.hz)
  } else if (waits) {
    ctrl_log(ctrl, 'info', 'Removing controller...')
    if (lower.del) lower.del(c)
    else nvme_delete_ctrl(ctrl)
  }
  leave(ctrl.k, t)
}

function* reconnect_ctrl_work(item: work_struct<nvmf_life>): Sleep<void> {
  const c = item.container
  const { ctrl, lower } = c
  const t = begin(c, lower.names.reconnect_ctrl_work)
  c.nr_reconnects++
  const error = yield* setup_ctrl(c, false)
  if (error) {
    ctrl_log(ctrl, 'info', `Failed reconnect attempt ${c.nr_reconnects}`)
    reconnect_or_remove(c)
  } else {
    ctrl_log(ctrl, 'info', `Successfully reconnected (${c.nr_reconnects} attempts)`)
    c.nr_reconnects = 0
  }
  leave(ctrl.k, t)
}

function* reset_ctrl_work(item: work_struct<nvme_ctrl>): Sleep<void> {
  const c = life_of(item.container)
  const { ctrl, lower } = c
  const t = begin(c, lower.names.reset_ctrl_work)
  yield* nvme_stop_ctrl(ctrl)
  yield* shutdown_ctrl(c, false)
  const connecting = ctrl.nvme.era.connecting
  if (connecting !== null && !nvme_change_ctrl_state(ctrl, connecting)) return leave(ctrl.k, t)
  const error = yield* setup_ctrl(c, false)
  if (error) {
    c.nr_reconnects++
    reconnect_or_remove(c)
  }
  leave(ctrl.k, t)
}

/** A request took too long. */
function* nvmf_timeout(c: nvmf_life, q: request_queue, rq: number): Sleep<number> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.timeout)
  ctrl_log(ctrl, 'warn', `I/O ${q.blk.view.u32(rq + L.RQ_TAG)} timeout, state ${ctrl.state}`)
  if (lower.timeout) return leave(ctrl.k, t, lower.timeout(c))
  if (ctrl.state === 'LIVE') {
    nvmf_error_recovery(c)
    return leave(ctrl.k, t, BLK_EH_RESET_TIMER)
  }
  // Nobody else will end it: a command of the set-up, whose answer does not come.
  for (let qid = 0; qid < c.live.length; qid++) yield* stop_queue(c, qid)
  nvme_cancel_request(q.blk, rq)
  return leave(ctrl.k, t, BLK_EH_DONE)
}

// ---------------------------------------------------------------- the end

function* nvmf_life_stop(ctrl: nvme_ctrl): Sleep<void> {
  const c = life_of(ctrl)
  const t = begin(c, c.lower.names.stop_ctrl)
  yield* cancel_work_sync(c.err_work)
  yield* cancel_delayed_work_sync(c.reconnect_work)
  leave(ctrl.k, t)
}

function* nvmf_life_delete(ctrl: nvme_ctrl): Sleep<void> {
  const c = life_of(ctrl)
  const t = begin(c, c.lower.names.delete_ctrl)
  yield* shutdown_ctrl(c, true)
  leave(ctrl.k, t)
}

/** The last reference is gone: what deletion left goes, too. */
function* nvmf_life_free(ctrl: nvme_ctrl): Sleep<void> {
  const c = life_of(ctrl)
  const t = begin(c, c.lower.names.free_ctrl)
  if (c.lower.free_ctrl) yield* c.lower.free_ctrl(c)
  else yield* nvmf_free_queues(c)
  nvmf_free_options(ctrl)
  c.lower.freed(c)
  leave(ctrl.k, t)
}

/** Queues and tags that are left: loop's and FC's at all events, the others' after a failed reconnect. */
export function* nvmf_free_queues(c: nvmf_life): Sleep<void> {
  const { ctrl } = c
  yield* nvmf_drop_queue(ctrl.connect_q)
  ctrl.connect_q = null
  nvmf_free_tagset(c, false)
  yield* nvmf_drop_queue(ctrl.admin_q)
  ctrl.admin_q = null
  nvmf_free_tagset(c, true)
}
