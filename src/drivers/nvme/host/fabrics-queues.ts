// Queues of a fabrics controller: tags, the admin queue and the I/O queues are made, connected, stopped and given back. The
// same in drivers/nvme/host/rdma.c of Linux 4.19, host/tcp.c of 5.10 and target/loop.c.
//
//   admin  connection, tags, Connect, CAP, CC.EN, identify
//   I/O    Set Features 7, connections, tags, Connect each
//   down   queues stop, what was sent is cancelled and waits for another try, connections go; for good: tags, too

import * as L from '../../../../assembly/layout.js'
import { blk_mq_map_queues } from '../../../block/blk-mq-cpumap.js'
import {
  blk_cleanup_queue,
  blk_mq_alloc_tag_set,
  blk_mq_free_tag_set,
  blk_mq_init_queue,
  type blk_mq_tag_set,
  blk_mq_update_nr_hw_queues,
  blk_release_queue,
  type planned_memory,
} from '../../../block/blk-mq-init.js'
import { blk_mq_tagset_busy_iter } from '../../../block/blk-mq-tag.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import type { blk_mq_ops, request_queue, tag_set_facts } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EIO, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { ctrl_log, nvme_set_queue_count } from './core-cmd.js'
import {
  nvme_cancel_request,
  nvme_enable_ctrl,
  nvme_start_queues,
  nvme_stop_queues,
} from './core-ctrl.js'
import { nvme_init_identify } from './core-identify.js'
import { nvme_open, nvme_release, nvme_revalidate_disk } from './core-scan.js'
import { NVMF_AQ_DEPTH, NVMF_AQ_TAGS, begin, note, type nvmf_life } from './fabrics-life.js'
import { nvmf_connect_admin_queue, nvmf_connect_io_queue, nvmf_reg_read64 } from './fabrics.js'
import { NVME_REG_CAP, type nvme_ns } from './nvme.js'

/** Connect and Keep Alive never wait for a tag. */
const ADMIN_RESERVED = 2

const IO_RESERVED = 1

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
    timeout: (q, rq) => c.steps.timeout(c, q, rq),
    ...(admin ? {} : DISK_OPS),
    ...(admin || names.map_queues === '' ? {} : { map_queues: set => map_queues(c, set) }),
  }
}

/** A transport whose device has vectors of its own asks it; there is none here that has any. */
function map_queues(c: nvmf_life, set: tag_set_facts): void {
  const { k } = c.ctrl
  const { map_queues: name, device_map_queues = '' } = c.lower.names
  const t = enter(k, name)
  const d = begin(c, device_map_queues)
  const m = enter(k, 'blk_mq_map_queues')
  blk_mq_map_queues(set.mq_map, set.nr_hw_queues)
  leave(k, m)
  leave(k, d)
  leave(k, t)
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
    lower.tagset_allocated?.(c)
  }
  return leave(ctrl.k, t, error)
}

export function nvmf_free_tagset(c: nvmf_life, admin: boolean): void {
  const set = admin ? c.admin_tag_set : c.tag_set
  if (set === null) return
  blk_mq_free_tag_set(set)
  c.lower.tagset_freed?.(c)
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

export function* stop_queue(c: nvmf_life, qid: number): Sleep<void> | undefined {
  c.live[qid] = false
  yield* slept(c.lower.stop_queue(c, qid))
}

/** Everything of the admin queue that was made goes. */
export function* destroy_admin_queue(c: nvmf_life, remove: boolean): Sleep<void> {
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

export function* configure_admin_queue(c: nvmf_life, fresh: boolean): Sleep<number> {
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

export function* alloc_io_queues(c: nvmf_life): Sleep<number> {
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

export function* destroy_io_queues(c: nvmf_life, remove: boolean): Sleep<void> {
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

export function* connect_io_queues(c: nvmf_life): Sleep<number> {
  const t = begin(c, c.lower.names.connect_io_queues)
  for (let qid = 1; qid <= c.nr_io_queues; qid++) {
    const error = yield* nvmf_start_queue(c, qid)
    if (error) return leave(c.ctrl.k, t, error)
  }
  return leave(c.ctrl.k, t, 0)
}

export function* configure_io_queues(c: nvmf_life, fresh: boolean): Sleep<number> {
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
export function cancel_all(c: nvmf_life, admin: boolean): void {
  const set = admin ? c.admin_tag_set : c.tag_set
  if (set) blk_mq_tagset_busy_iter(set, rq => nvme_cancel_request(c.ctrl.blk, rq))
}

export function* teardown_io_queues(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.teardown_io_queues)
  if (ctrl.queue_count > 1 && c.tag_set !== null) {
    yield* nvme_stop_queues(ctrl)
    for (let qid = 1; qid < ctrl.queue_count; qid++) yield* stop_queue(c, qid)
    cancel_all(c, false)
    if (remove || (lower.local && ctrl.state === 'DELETING')) nvme_start_queues(ctrl)
    yield* destroy_io_queues(c, remove)
  }
  leave(ctrl.k, t)
}

export function* teardown_admin_queue(c: nvmf_life, remove: boolean): Sleep<void> {
  const { ctrl, lower } = c
  const t = begin(c, lower.names.teardown_admin_queue)
  if (ctrl.admin_q) yield* blk_mq_quiesce_queue(ctrl.admin_q)
  yield* stop_queue(c, 0)
  cancel_all(c, true)
  if (ctrl.admin_q) blk_mq_unquiesce_queue(ctrl.admin_q)
  yield* destroy_admin_queue(c, remove)
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
