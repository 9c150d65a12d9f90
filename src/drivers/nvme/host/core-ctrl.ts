// The life of a controller, whatever its transport: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_core_init          the module's workqueues
//   nvme_init_ctrl          a new controller: number, works
//   nvme_start_ctrl         it is live: namespaces are looked for, events asked for
//   nvme_stop_ctrl, nvme_uninit_ctrl
//   nvme_disable_ctrl, nvme_enable_ctrl, nvme_shutdown_ctrl   by its registers, with their waits
//   nvme_stop_queues, nvme_kill_queues, nvme_start_freeze ... what happens to the queues of all namespaces

import {
  MQ_RQ_COMPLETE,
  NVME_REQ_CANCELLED,
  Q_CAPACITY,
  RQ_RETRIES,
  RQ_STATE,
  RQ_STATUS,
} from '../../../../assembly/layout.js'
import { NVME_SC_ABORT_REQ } from '../../../../assembly/nvme.js'
import {
  this_cpu,
  blk_mq_quiesce_queue,
  blk_mq_quiesce_queue_nowait,
  blk_mq_unquiesce_queue,
} from '../../../block/blk-mq.js'
import {
  blk_freeze_queue_start,
  blk_mq_freeze_queue_wait,
  blk_mq_freeze_queue_wait_timeout,
  blk_mq_unfreeze_queue,
  blk_set_queue_dying,
} from '../../../block/blk-mq-freeze.js'
import type { BlockLayer, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { ENODEV } from '../../../kernel/errno.js'
import { msleep } from '../../../kernel/timer-sleep.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_queue_head } from '../../../kernel/wait.js'
import { alloc_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { INIT_DELAYED_WORK, INIT_WORK, queue_work } from '../../../kernel/workqueue-queue.js'
import {
  delayed_work,
  type WorkFn,
  WQ_MEM_RECLAIM,
  WQ_SYSFS,
  WQ_UNBOUND,
  work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import { ctrl_log } from './core-cmd.js'
import {
  nvme_async_event_work,
  nvme_enable_aen,
  nvme_fw_act_work,
  nvme_keep_alive_work,
  nvme_start_keep_alive,
  stop_keep_alive,
} from './core-event.js'
import { nvme_put_ctrl } from './core-ref.js'
import { nvme_queue_scan, nvme_scan_work } from './core-scan.js'
import type { nvme_era } from './era.js'
import {
  NVME_CC_AMS_RR,
  NVME_CC_ENABLE,
  NVME_CC_IOCQES,
  NVME_CC_IOSQES,
  NVME_CC_SHN_MASK,
  NVME_CC_SHN_NORMAL,
  NVME_CSTS_RDY,
  NVME_CSTS_SHST_CMPLT,
  NVME_CSTS_SHST_MASK,
  NVME_QUIRK_DELAY_BEFORE_CHK_RDY,
  NVME_REG_CC,
  NVME_REG_CSTS,
  type nvme_core,
  type nvme_ctrl,
  type nvme_ctrl_facts,
  type nvme_ctrl_ops,
  SHUTDOWN_TIMEOUT_S,
} from './nvme.js'

/** NVME_QUIRK_DELAY_AMOUNT, ms. */
const NVME_QUIRK_DELAY_AMOUNT = 2300

// ---------------------------------------------------------------- the module

/**
 * Loads nvme_core.
 * @returns null when a workqueue could not be made (-ENOMEM)
 */
export function nvme_core_init(blk: BlockLayer, era: nvme_era): nvme_core | null {
  const { k } = blk
  const flags = WQ_UNBOUND | WQ_MEM_RECLAIM
  const sysfs = era.core_wq === null ? flags : flags | WQ_SYSFS
  const make = (name: string | null): workqueue_struct | null =>
    name === null ? k.system_wq : alloc_workqueue(k, name, sysfs, 0)
  const nvme_wq = make(era.core_wq)
  const nvme_reset_wq = make(era.reset_wq)
  const nvme_delete_wq = make(era.delete_wq)
  if (!nvme_wq || !nvme_reset_wq || !nvme_delete_wq) return null
  return {
    k,
    blk,
    era,
    nvme_wq,
    nvme_reset_wq,
    nvme_delete_wq,
    instances: new Set(),
    subsystems: new Map(),
    ctrls: [],
    lightnvm: null,
    disk_hooks: { added() {}, removed() {} },
    epoch_ms: 0,
  }
}

// ---------------------------------------------------------------- deletion

function* nvme_do_delete_ctrl(ctrl: nvme_ctrl, remove: (c: nvme_ctrl) => Sleep<void>): Sleep<void> {
  yield* flush_work(ctrl.reset_work)
  yield* nvme_stop_ctrl(ctrl)
  yield* remove(ctrl)
  if (ctrl.ops.delete_ctrl) yield* ctrl.ops.delete_ctrl(ctrl)
  nvme_uninit_ctrl(ctrl)
  yield* nvme_put_ctrl(ctrl)
}

/** The delete_work of transports that delete by it; `remove` takes the namespaces away. */
export function nvme_delete_ctrl_work_of(
  remove: (ctrl: nvme_ctrl) => Sleep<void>,
): WorkFn<nvme_ctrl> {
  return function* nvme_delete_ctrl_work(work: work_struct<nvme_ctrl>): Sleep<void> {
    const { k } = work
    const t = enter(k, 'nvme_delete_ctrl_work')
    yield* nvme_do_delete_ctrl(work.container, remove)
    leave(k, t)
  }
}

// ---------------------------------------------------------------- beginning and end

function fresh_facts(): nvme_ctrl_facts {
  return {
    cap: 0n,
    vs: 0,
    ctrl_config: 0,
    page_size: 4096,
    max_hw_sectors: 0,
    max_segments: 0,
    max_discard_sectors: 0,
    oacs: 0,
    oncs: 0,
    oaes: 0,
    abort_limit: 0,
    vwc: 0,
    cntlid: 0,
    connect_cntlid: 0,
    sgls: 0,
    kas: 0,
    npss: 0,
    apsta: 0,
    hmpre: 0,
    hmmin: 0,
    hmminds: 0,
    hmmaxd: 0,
    mtfa: 0,
    max_namespaces: 0,
    shutdown_timeout: SHUTDOWN_TIMEOUT_S,
    ioccsz: 0,
    iorcsz: 0,
    icdoff: 0,
    maxcmd: 0,
    serial: '',
    model: '',
    firmware_rev: '',
    subnqn: '',
    crdt: [],
  }
}

/** The lowest number that is free (ida_simple_get). */
function nvme_set_instance(nvme: nvme_core): number {
  let n = 0
  while (nvme.instances.has(n)) n++
  nvme.instances.add(n)
  return n
}

/** A controller before anybody knows it; nvme_init_ctrl gives it a name. */
export function nvme_alloc_ctrl(
  nvme: nvme_core,
  ops: nvme_ctrl_ops,
  priv: unknown,
  quirks = 0,
): nvme_ctrl {
  const { k, blk } = nvme
  const bare = { nvme, k, blk, ops, priv, quirks } as unknown as nvme_ctrl
  return Object.assign(bare, fresh_facts(), {
    state: 'NEW' as const,
    state_wq: new wait_queue_head(k, 'another state of the controller'),
    instance: -1,
    device: '',
    refs: 1,
    admin_q: null,
    connect_q: null,
    tagset: null,
    admin_tagset: null,
    namespaces: [],
    queue_count: 0,
    sqsize: 0,
    subsystem: false,
    identified: false,
    kato: 0,
    opts: null,
    aen_result: 0,
    events: { changed_ns: false },
    stops: 0,
    effects: null,
    id: null,
    memory: null,
    nr_streams: 0,
    reset_work: new work_struct<nvme_ctrl>(k, bare),
    delete_work: new work_struct<nvme_ctrl>(k, bare),
    scan_work: new work_struct<nvme_ctrl>(k, bare),
    async_event_work: new work_struct<nvme_ctrl>(k, bare),
    fw_act_work: new work_struct<nvme_ctrl>(k, bare),
    ka_work: new delayed_work<nvme_ctrl>(k, bare),
  })
}

/** Number, works and character device of a new controller. reset_work and delete_work are the transport's. @returns 0 or -errno */
export function nvme_init_ctrl(ctrl: nvme_ctrl): number {
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_init_ctrl')
  ctrl.state = 'NEW'
  INIT_WORK(ctrl.scan_work, nvme_scan_work)
  INIT_WORK(ctrl.async_event_work, nvme_async_event_work)
  INIT_WORK(ctrl.fw_act_work, nvme_fw_act_work)
  INIT_DELAYED_WORK(ctrl.ka_work, nvme_keep_alive_work)
  ctrl.instance = nvme_set_instance(nvme)
  ctrl.device = `nvme${ctrl.instance}`
  nvme.ctrls.push(ctrl)
  for (let i = 0; i < SYSFS_ATTRIBUTES; i++) trace_call(k, 'nvme_dev_attrs_are_visible')
  return leave(k, t, 0)
}

/** Files of a controller in sysfs whose visibility is asked for. */
const SYSFS_ATTRIBUTES = 11

/** The character device and the number go. */
export function nvme_uninit_ctrl(ctrl: nvme_ctrl): void {
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_uninit_ctrl')
  const at = nvme.ctrls.indexOf(ctrl)
  if (at >= 0) nvme.ctrls.splice(at, 1)
  leave(k, t)
}

/** The controller is live: keep-alive, scan, events. It sleeps for Set Features. */
export function* nvme_start_ctrl(ctrl: nvme_ctrl): Sleep<void> {
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_start_ctrl')
  if (ctrl.kato) nvme_start_keep_alive(ctrl)
  if (ctrl.queue_count > 1) {
    nvme_queue_scan(ctrl)
    const { stops } = ctrl
    // Linux asks for notices since it reads the list of changed namespaces (4.18).
    if (nvme.era.reads_changed_ns) yield* nvme_enable_aen(ctrl)
    queue_work(nvme.nvme_wq, ctrl.async_event_work)
    // Who stopped the queues meanwhile has disabled the controller, and resets it: Linux 4.19 opens them, and I/O fails.
    if (ctrl.stops === stops) nvme_start_queues(ctrl)
  }
  leave(k, t)
}

/** Nothing begins by itself any more. */
export function* nvme_stop_ctrl(ctrl: nvme_ctrl): Sleep<void> {
  const { k } = ctrl
  const t = enter(k, 'nvme_stop_ctrl')
  yield* stop_keep_alive(ctrl)
  yield* flush_work(ctrl.async_event_work)
  yield* cancel_work_sync(ctrl.fw_act_work)
  if (ctrl.ops.stop_ctrl) yield* ctrl.ops.stop_ctrl(ctrl)
  leave(k, t)
}

// ---------------------------------------------------------------- registers

/** Waits for CSTS.RDY. @returns 0, -ENODEV when time is over or the device gone */
export function* nvme_wait_ready(ctrl: nvme_ctrl, cap: bigint, enabled: boolean): Sleep<number> {
  const { k, ops } = ctrl
  const t = enter(k, 'nvme_wait_ready')
  const to = Number((cap >> 24n) & 0xffn)
  const deadline = k.jiffies + Math.floor(((to + 1) * k.hz) / 2)
  for (;;) {
    const csts = yield* ops.reg_read32(ctrl, NVME_REG_CSTS)
    if (csts < 0) return leave(k, t, csts)
    if (csts === 0xffffffff) return leave(k, t, -ENODEV)
    if ((csts & NVME_CSTS_RDY) === (enabled ? NVME_CSTS_RDY : 0)) return leave(k, t, 0)
    yield* msleep(k, 100)
    if (k.jiffies > deadline) {
      const what = enabled ? 'initialisation' : 'reset'
      ctrl_log(ctrl, 'err', `Device not ready; aborting ${what}`)
      return leave(k, t, -ENODEV)
    }
  }
}

/** Clears CC.EN and waits until it is so. */
export function* nvme_disable_ctrl(ctrl: nvme_ctrl, cap: bigint): Sleep<number> {
  const { k, ops } = ctrl
  const t = enter(k, 'nvme_disable_ctrl')
  ctrl.ctrl_config = (ctrl.ctrl_config & ~NVME_CC_SHN_MASK & ~NVME_CC_ENABLE) >>> 0
  const error = yield* ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config)
  if (error) return leave(k, t, error)
  if (ctrl.quirks & NVME_QUIRK_DELAY_BEFORE_CHK_RDY) yield* msleep(k, NVME_QUIRK_DELAY_AMOUNT)
  return leave(k, t, yield* nvme_wait_ready(ctrl, cap, false))
}

const PAGE_SHIFT = 12

/** Sets CC.EN with what this host wants, and waits until it is so. */
export function* nvme_enable_ctrl(ctrl: nvme_ctrl, cap: bigint): Sleep<number> {
  const { k, ops } = ctrl
  const t = enter(k, 'nvme_enable_ctrl')
  const dev_page_min = Number((cap >> 48n) & 0xfn) + 12
  if (dev_page_min > PAGE_SHIFT) {
    const sizes = `${2 ** dev_page_min} > host ${2 ** PAGE_SHIFT}`
    ctrl_log(ctrl, 'err', `Minimum device page size ${sizes}`)
    return leave(k, t, -ENODEV)
  }
  ctrl.page_size = 2 ** PAGE_SHIFT
  ctrl.ctrl_config =
    ((PAGE_SHIFT - 12) << 7) | NVME_CC_AMS_RR | NVME_CC_IOSQES | NVME_CC_IOCQES | NVME_CC_ENABLE
  const error = yield* ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config)
  if (error) return leave(k, t, error)
  return leave(k, t, yield* nvme_wait_ready(ctrl, cap, true))
}

/** Tells the controller that power will go, and waits until its caches are empty. */
export function* nvme_shutdown_ctrl(ctrl: nvme_ctrl): Sleep<number> {
  const { k, ops } = ctrl
  const t = enter(k, 'nvme_shutdown_ctrl')
  const deadline = k.jiffies + ctrl.shutdown_timeout * k.hz
  ctrl.ctrl_config = ((ctrl.ctrl_config & ~NVME_CC_SHN_MASK) | NVME_CC_SHN_NORMAL) >>> 0
  const error = yield* ops.reg_write32(ctrl, NVME_REG_CC, ctrl.ctrl_config)
  if (error) return leave(k, t, error)
  for (;;) {
    const csts = yield* ops.reg_read32(ctrl, NVME_REG_CSTS)
    if (csts < 0) return leave(k, t, csts)
    if ((csts & NVME_CSTS_SHST_MASK) === NVME_CSTS_SHST_CMPLT) return leave(k, t, 0)
    yield* msleep(k, 100)
    if (k.jiffies > deadline) {
      ctrl_log(ctrl, 'err', 'Device shutdown incomplete; abort shutdown')
      return leave(k, t, -ENODEV)
    }
  }
}

// ---------------------------------------------------------------- queues of all namespaces

/** A started request is given up: it ends with "abort requested", or is tried again. */
export function nvme_cancel_request(blk: BlockLayer, rq: number): void {
  const { core, view } = blk
  if (view.load(rq + RQ_STATE) === MQ_RQ_COMPLETE) return
  view.setU32(rq + RQ_STATUS, NVME_SC_ABORT_REQ)
  core.blk_mq_complete_any(this_cpu(blk), rq)
}

/** Marks a request as given up by the driver: whoever waits for it gets -EINTR. */
export function nvme_req_cancelled({ view }: BlockLayer, rq: number): void {
  view.setU32(rq + RQ_RETRIES, view.u32(rq + RQ_RETRIES) | NVME_REQ_CANCELLED)
}

/** A queue of a dead namespace: it has no capacity any more, and who waits is sent away. */
function nvme_set_queue_dying(q: request_queue): void {
  if (!q.dying) {
    q.blk.view.setU64(q.at + Q_CAPACITY, 0)
    blk_set_queue_dying(q)
    blk_mq_unquiesce_queue(q)
  } else if (q.quiesced) {
    // A reset that gave up has stopped it once more. Linux leaves it so, and what came in between waits for ever.
    blk_mq_unquiesce_queue(q)
  }
}

/** The controller will not come back: everything that waits fails. */
export function nvme_kill_queues(ctrl: nvme_ctrl): void {
  const { k } = ctrl
  const t = enter(k, 'nvme_kill_queues')
  if (ctrl.admin_q && !ctrl.admin_q.dying) blk_mq_unquiesce_queue(ctrl.admin_q)
  for (const ns of ctrl.namespaces) {
    ns.dead = true
    // 4.9 starts the queues again whenever it is called: a reset may have stopped them after their end.
    if (ns.queue.dying && !ctrl.nvme.era.freezes) blk_mq_unquiesce_queue(ns.queue)
    nvme_set_queue_dying(ns.queue)
  }
  leave(k, t)
}

/** 4.9 stops them; later kernels wait, one after the other, until nobody dispatches any more. */
export function* nvme_stop_queues(ctrl: nvme_ctrl): Sleep<void> {
  const t = enter(ctrl.k, 'nvme_stop_queues')
  ctrl.stops++
  for (const { queue } of [...ctrl.namespaces]) {
    if (ctrl.nvme.era.freezes) yield* blk_mq_quiesce_queue(queue)
    else blk_mq_quiesce_queue_nowait(queue)
  }
  leave(ctrl.k, t)
}

export function nvme_start_queues(ctrl: nvme_ctrl): void {
  const t = enter(ctrl.k, 'nvme_start_queues')
  for (const ns of ctrl.namespaces) blk_mq_unquiesce_queue(ns.queue)
  leave(ctrl.k, t)
}

export function nvme_start_freeze(ctrl: nvme_ctrl): void {
  const t = enter(ctrl.k, 'nvme_start_freeze')
  for (const ns of ctrl.namespaces) blk_freeze_queue_start(ns.queue)
  leave(ctrl.k, t)
}

export function nvme_unfreeze(ctrl: nvme_ctrl): void {
  const t = enter(ctrl.k, 'nvme_unfreeze')
  for (const ns of ctrl.namespaces)
    if (ns.queue.mq_freeze_depth > 0) blk_mq_unfreeze_queue(ns.queue)
  leave(ctrl.k, t)
}

export function* nvme_wait_freeze(ctrl: nvme_ctrl): Sleep<void> {
  const t = enter(ctrl.k, 'nvme_wait_freeze')
  for (const ns of [...ctrl.namespaces]) yield* blk_mq_freeze_queue_wait(ns.queue)
  leave(ctrl.k, t)
}

/** At most so many jiffies for all of them. */
export function* nvme_wait_freeze_timeout(ctrl: nvme_ctrl, timeout: number): Sleep<void> {
  const t = enter(ctrl.k, 'nvme_wait_freeze_timeout')
  let left = timeout
  for (const ns of [...ctrl.namespaces]) {
    left = yield* blk_mq_freeze_queue_wait_timeout(ns.queue, left)
    if (left <= 0) break
  }
  leave(ctrl.k, t)
}
