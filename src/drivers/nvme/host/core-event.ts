// What a live controller says by itself, and how it is kept alive: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_enable_aen          which events it shall report (Set Features 0Bh)
//   nvme_async_event_work    one Asynchronous Event Request is outstanding again
//   nvme_complete_async_event  what a report means: a scan, a firmware activation, a line for the log
//   nvme_fw_act_work         queues stand still while firmware is activated; a reset if it takes too long
//   nvme_keep_alive_work     a Keep Alive command every KATO seconds (fabrics)

import { RQ_TIMEOUT } from '../../../../assembly/layout.js'
import { BLK_MQ_REQ_RESERVED } from '../../../../assembly/nvme.js'
import { blk_execute_rq_nowait } from '../../../block/blk-exec.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import type { Sleep } from '../../../kernel/core.js'
import { msecs_to_jiffies } from '../../../kernel/time.js'
import { msleep } from '../../../kernel/timer-sleep.js'
import { enter, leave } from '../../../kernel/trace.js'
import { cancel_delayed_work_sync } from '../../../kernel/workqueue-cancel.js'
import { queue_work, schedule_delayed_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import {
  ctrl_log,
  nvme_alloc_request_nowait,
  nvme_free_request,
  nvme_get_log,
  nvme_set_features,
  with_buffer,
} from './core-cmd.js'
import { nvme_queue_scan } from './core-scan.js'
import { nvme_reset_ctrl } from './core-state.js'
import {
  ADMIN_TIMEOUT_S,
  NVME_AEN_SUPPORTED,
  NVME_CC_ENABLE,
  NVME_CSTS_PP,
  NVME_FEAT_ASYNC_EVENT,
  NVME_LOG_FW_SLOT,
  NVME_REG_CSTS,
  type nvme_ctrl,
  nvme_admin_keep_alive,
} from './nvme.js'

// ---------------------------------------------------------------- events

export function* nvme_enable_aen(ctrl: nvme_ctrl): Sleep<void> {
  const supported = ctrl.oaes & NVME_AEN_SUPPORTED
  if (!supported) return
  const status = yield* nvme_set_features(ctrl, NVME_FEAT_ASYNC_EVENT, supported >>> 0)
  if (status) ctrl_log(ctrl, 'warn', `Failed to configure AEN (cfg ${supported.toString(16)})`)
}

export function nvme_async_event_work(work: work_struct<nvme_ctrl>): void {
  const ctrl = work.container
  const { k } = ctrl
  const t = enter(k, 'nvme_async_event_work')
  ctrl.aen_result = 0
  ctrl.ops.submit_async_event(ctrl)
  leave(k, t)
}

const NVME_AER_ERROR = 0
const NVME_AER_SMART = 1
const NVME_AER_NOTICE = 2
const NVME_AER_CSS = 6
const NVME_AER_VS = 7
const NVME_AER_NOTICE_NS_CHANGED = 0
const NVME_AER_NOTICE_FW_ACT_STARTING = 1

function nvme_handle_aen_notice(ctrl: nvme_ctrl, result: number): void {
  const { nvme } = ctrl
  const info = (result >>> 8) & 0xff
  if (info === NVME_AER_NOTICE_NS_CHANGED) {
    ctrl.events.changed_ns = true
    nvme_queue_scan(ctrl)
  } else if (info === NVME_AER_NOTICE_FW_ACT_STARTING) queue_work(nvme.nvme_wq, ctrl.fw_act_work)
  else ctrl_log(ctrl, 'warn', `async event result ${result.toString(16).padStart(8, '0')}`)
}

/** An event was reported. With an error the request is not sent again. */
export function nvme_complete_async_event(ctrl: nvme_ctrl, status: number, result: number): void {
  const { k } = ctrl
  const t = enter(k, 'nvme_complete_async_event')
  if (status === 0) handle_event(ctrl, result)
  leave(k, t)
}

function handle_event(ctrl: nvme_ctrl, result: number): void {
  const type = result & 7
  if (type === NVME_AER_NOTICE) nvme_handle_aen_notice(ctrl, result)
  else if ([NVME_AER_ERROR, NVME_AER_SMART, NVME_AER_CSS, NVME_AER_VS].includes(type)) {
    ctrl.aen_result = result
    ctrl_log(ctrl, 'info', `NVME_AEN=0x${result.toString(16).padStart(8, '0')}`)
  }
  queue_work(ctrl.nvme.nvme_wq, ctrl.async_event_work)
}

// ---------------------------------------------------------------- firmware activation

function* nvme_ctrl_pp_status(ctrl: nvme_ctrl): Sleep<boolean> {
  const csts = yield* ctrl.ops.reg_read32(ctrl, NVME_REG_CSTS)
  if (csts < 0 || csts === 0xffffffff) return false
  return (ctrl.ctrl_config & NVME_CC_ENABLE) !== 0 && (csts & NVME_CSTS_PP) !== 0
}

export function* nvme_fw_act_work(work: work_struct<nvme_ctrl>): Sleep<void> {
  const ctrl = work.container
  const { k } = ctrl
  const t = enter(k, 'nvme_fw_act_work')
  const wait = msecs_to_jiffies(k, ctrl.mtfa ? ctrl.mtfa * 100 : ADMIN_TIMEOUT_S * 1000)
  const fw_act_timeout = k.jiffies + wait
  for (const ns of ctrl.namespaces) yield* blk_mq_quiesce_queue(ns.queue)
  while (yield* nvme_ctrl_pp_status(ctrl)) {
    if (k.jiffies > fw_act_timeout) {
      ctrl_log(ctrl, 'warn', 'Fw activation timeout, reset controller')
      nvme_reset_ctrl(ctrl)
      break
    }
    yield* msleep(k, 100)
  }
  if (ctrl.state !== 'LIVE') return leave(k, t)
  for (const ns of ctrl.namespaces) blk_mq_unquiesce_queue(ns.queue)
  // 4.19.71 has the page and its parameter the wrong way round, and asks for page 0.
  yield* with_buffer(ctrl, 512, at => nvme_get_log(ctrl, 0, NVME_LOG_FW_SLOT, at, 512))
  leave(k, t)
}

// ---------------------------------------------------------------- keep alive

function nvme_keep_alive_end_io(ctrl: nvme_ctrl, rq: number, status: number): void {
  const { k } = ctrl
  const t = enter(k, 'nvme_keep_alive_end_io')
  nvme_free_request(ctrl.admin_q!, rq)
  if (status !== 0) ctrl_log(ctrl, 'err', `failed nvme_keep_alive_end_io error=${status}`)
  else if (ctrl.state === 'LIVE' || ctrl.state === 'CONNECTING')
    schedule_delayed_work(k, ctrl.ka_work, ctrl.kato * k.hz)
  leave(k, t)
}

/** Sends a Keep Alive. @returns 0 or -errno */
function nvme_keep_alive(ctrl: nvme_ctrl): number {
  const { k, blk } = ctrl
  const t = enter(k, 'nvme_keep_alive')
  const q = ctrl.admin_q!
  const cmd = { opcode: nvme_admin_keep_alive }
  const rq = nvme_alloc_request_nowait(q, cmd, BLK_MQ_REQ_RESERVED)
  if (rq < 0) return leave(k, t, rq)
  blk.view.setU32(rq + RQ_TIMEOUT, ctrl.kato * k.hz)
  blk_execute_rq_nowait(q, rq, false, (one, status) => nvme_keep_alive_end_io(ctrl, one, status))
  return leave(k, t, 0)
}

export function nvme_keep_alive_work(work: work_struct<nvme_ctrl>): void {
  const ctrl = work.container
  const { k } = ctrl
  const t = enter(k, 'nvme_keep_alive_work')
  if (nvme_keep_alive(ctrl) !== 0) {
    ctrl_log(ctrl, 'err', 'keep-alive failed')
    nvme_reset_ctrl(ctrl)
  }
  leave(k, t)
}

export function nvme_start_keep_alive(ctrl: nvme_ctrl): void {
  const { k } = ctrl
  const t = enter(k, 'nvme_start_keep_alive')
  if (ctrl.kato) schedule_delayed_work(k, ctrl.ka_work, ctrl.kato * k.hz)
  leave(k, t)
}

/** As a part of nvme_stop_ctrl, into which the compiler puts it. */
export function* stop_keep_alive(ctrl: nvme_ctrl): Sleep<void> {
  if (ctrl.kato) yield* cancel_delayed_work_sync(ctrl.ka_work)
}

export function* nvme_stop_keep_alive(ctrl: nvme_ctrl): Sleep<void> {
  const { k } = ctrl
  if (!ctrl.kato) return
  const t = enter(k, 'nvme_stop_keep_alive')
  yield* stop_keep_alive(ctrl)
  leave(k, t)
}
