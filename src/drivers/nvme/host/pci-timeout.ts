// A request of the PCIe driver takes too long: nvme_timeout of drivers/nvme/host/pci.c, Linux 4.19. The first that matches:
//
//   the channel is offline                         wait on: error recovery will come (not for one that goes: 6.x looks first)
//   CSTS says fatal, or a subsystem reset          disable, reset
//   the entry stands in the completion queue       it was a lost interrupt
//   the controller is coming or going              disable; the request ends
//   an admin command, or aborted once already      disable, reset
//   too many aborts under way                      wait on
//   otherwise                                      abort it, wait on
//
// A read or write that times out while nvme_reset_work waits for it (CONNECTING) hangs Linux 4.19: nvme_dev_disable stops the
// queues again, the cancelled request stays in them, and the freeze never ends. Here 5.10's way is taken: the controller is
// given up, its queues are opened, everything in them fails. So too for a controller that was pulled out in that moment
// (DELETING): Linux 4.19's nvme_remove waits for the reset before it opens the queues.
//
// 4.9 has neither the look at CSTS (its watchdog does that) nor the one at the completion queue.

import {
  MQ_RQ_COMPLETE,
  MQ_RQ_IN_FLIGHT,
  NVME_REQ_ABORTED,
  NVME_REQ_CANCELLED,
  RQ_RETRIES,
  RQ_STATE,
  RQ_STATUS,
  RQ_TAG,
  RQ_TIMEOUT,
} from '../../../../assembly/layout.js'
import { blk_execute_rq_nowait } from '../../../block/blk-exec.js'
import { BLK_EH_DONE, BLK_EH_RESET_TIMER, type request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { pci_channel_offline, readl } from '../../../kernel/pci.js'
import { submit_time } from '../../../kernel/task.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { ctrl_log, nvme_alloc_request_nowait, nvme_free_request } from './core-cmd.js'
import { nvme_change_ctrl_state, nvme_reset_ctrl } from './core-state.js'
import { NVME_CSTS_CFS, NVME_CSTS_NSSRO, NVME_REG_CSTS, nvme_admin_abort_cmd } from './nvme.js'
import { nvme_dev_disable } from './pci-disable.js'
import {
  admin_timeout,
  type nvme_dev,
  type nvme_queue,
  nvme_process_cq,
  queue_of,
} from './pci-queue.js'

/** Whether a reset is the only way on; never while one is under way. */
function nvme_should_reset(dev: nvme_dev, csts: number): boolean {
  const nssro = dev.subsystem && (csts & NVME_CSTS_NSSRO) !== 0
  if (dev.ctrl.state === 'RESETTING' || dev.ctrl.state === 'CONNECTING') return false
  return (csts & NVME_CSTS_CFS) !== 0 || nssro
}

/** Looks for a completion of one tag that nobody was interrupted for. */
function nvme_poll(nvmeq: nvme_queue, rq: number): boolean {
  const { k, blk } = nvmeq.dev.nvme
  if (!blk.core.nvme_cqe_pending(nvmeq.at)) return false
  const t = enter(k, 'nvme_poll')
  nvme_process_cq(nvmeq)
  return leave(k, t, blk.view.load(rq + RQ_STATE) !== MQ_RQ_IN_FLIGHT)
}

function note(dev: nvme_dev, rq: number, flag: number): void {
  const { view } = dev.nvme.blk
  view.setU32(rq + RQ_RETRIES, view.u32(rq + RQ_RETRIES) | flag)
}

/**
 * Stops the controller for a request that has timed out, and ends the request. 4.9 has claimed it before it asks the driver
 * (blk_mark_rq_complete): an answer that comes while the controller is being stopped does not end it. 4.19 lets it. For an
 * admin command that means that whoever waited goes on with a controller that will be off, and a reset waits for ever: those
 * are claimed in both.
 */
function* disable(nvmeq: nvme_queue, rq: number, shutdown: boolean): Sleep<void> {
  const { dev, qid } = nvmeq
  const claimed = qid === 0 || !dev.nvme.era.timeout_polls
  if (claimed) dev.nvme.blk.view.store(rq + RQ_STATE, MQ_RQ_COMPLETE)
  yield* nvme_dev_disable(dev, shutdown, claimed ? rq : 0)
}

function* disable_and_reset(nvmeq: nvme_queue, rq: number): Sleep<void> {
  const { ctrl, nvme } = nvmeq.dev
  yield* disable(nvmeq, rq, ctrl.state === 'DELETING' && nvme.era.freezes)
  nvme_reset_ctrl(ctrl)
}

function abort_endio(dev: nvme_dev, rq: number): void {
  const { k, blk } = dev.nvme
  const t = enter(k, 'abort_endio')
  const status = blk.view.u32(rq + RQ_STATUS)
  ctrl_log(dev.ctrl, 'warn', `Abort status: 0x${status.toString(16)}`)
  dev.ctrl.abort_limit++
  nvme_free_request(dev.ctrl.admin_q!, rq)
  leave(k, t)
}

/** Asks the controller to give up a command. */
function send_abort(dev: nvme_dev, nvmeq: nvme_queue, rq: number): void {
  const { blk } = dev.nvme
  const tag = blk.view.u32(rq + RQ_TAG)
  const q = dev.ctrl.admin_q!
  ctrl_log(dev.ctrl, 'warn', `I/O ${tag} QID ${nvmeq.qid} timeout, aborting`)
  const cdw10 = (nvmeq.qid | (tag << 16)) >>> 0
  const abort = nvme_alloc_request_nowait(q, { opcode: nvme_admin_abort_cmd, cdw10 })
  if (abort < 0) {
    dev.ctrl.abort_limit++
    return
  }
  blk.view.setU32(abort + RQ_TIMEOUT, admin_timeout(dev))
  blk_execute_rq_nowait(q, abort, false, one => abort_endio(dev, one))
}

/** What the controller's state says; null: nothing, the request is looked at by itself. */
function* by_state(nvmeq: nvme_queue, rq: number): Sleep<number | null> {
  const { dev, qid } = nvmeq
  const { ctrl, nvme } = dev
  const waited = ctrl.state === 'CONNECTING' && qid > 0 && nvme.era.freezes
  if (waited) nvme_change_ctrl_state(ctrl, 'DELETING')
  const shutdown = ctrl.state === 'DELETING' && nvme.era.freezes
  const busy = ctrl.state === 'RESETTING' || ctrl.state === 'CONNECTING' || shutdown
  if (!busy) return null
  const word = shutdown ? 'deleting' : 'initializing or resetting'
  ctrl_log(ctrl, 'warn', `I/O timeout, disable controller (${word})`)
  yield* disable(nvmeq, rq, shutdown)
  note(dev, rq, NVME_REQ_CANCELLED)
  return BLK_EH_DONE
}

/** Aborts an I/O command the first time, resets the controller the second time. */
function* abort_or_reset(dev: nvme_dev, nvmeq: nvme_queue, rq: number): Sleep<number> {
  const { ctrl, nvme } = dev
  const { view } = nvme.blk
  const aborted = (view.u32(rq + RQ_RETRIES) & NVME_REQ_ABORTED) !== 0
  if (nvmeq.qid === 0 || aborted) {
    ctrl_log(
      ctrl,
      'warn',
      `I/O ${view.u32(rq + RQ_TAG)} QID ${nvmeq.qid} timeout, reset controller`,
    )
    note(dev, rq, NVME_REQ_CANCELLED)
    yield* disable_and_reset(nvmeq, rq)
    return BLK_EH_DONE
  }
  if (!nvme.era.timeout_polls) note(dev, rq, NVME_REQ_ABORTED)
  if (--ctrl.abort_limit < 0) {
    ctrl.abort_limit++
    return BLK_EH_RESET_TIMER
  }
  note(dev, rq, NVME_REQ_ABORTED)
  send_abort(dev, nvmeq, rq)
  return BLK_EH_RESET_TIMER
}

export function* nvme_timeout(dev: nvme_dev, q: request_queue, rq: number): Sleep<number> {
  const { ctrl, pdev, nvme } = dev
  const { k } = nvme
  const t = enter(k, 'nvme_timeout')
  const nvmeq = queue_of(dev, q, rq)
  const going = ctrl.state === 'DELETING' || ctrl.state === 'DEAD'
  if (pci_channel_offline(pdev) && !going) return leave(k, t, BLK_EH_RESET_TIMER)
  if (nvme.era.timeout_polls) {
    const csts = readl(pdev, NVME_REG_CSTS)
    if (nvme_should_reset(dev, csts)) {
      trace_call(k, 'nvme_warn_reset')
      ctrl_log(ctrl, 'warn', `controller is down; will reset: CSTS=0x${csts.toString(16)}`)
      yield* disable_and_reset(nvmeq, rq)
      return leave(k, t, BLK_EH_DONE)
    }
    if (nvme_poll(nvmeq, rq)) {
      ctrl_log(ctrl, 'warn', `I/O QID ${nvmeq.qid} timeout, completion polled`)
      return leave(k, t, BLK_EH_DONE)
    }
  }
  const answer = (yield* by_state(nvmeq, rq)) ?? (yield* abort_or_reset(dev, nvmeq, rq))
  yield* submit_time(k)
  return leave(k, t, answer)
}
