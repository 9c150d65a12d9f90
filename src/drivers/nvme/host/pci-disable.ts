// How the PCIe driver stops a controller: nvme_dev_disable and what hangs on it, drivers/nvme/host/pci.c of Linux 4.19.
//
//   freeze      who comes waits at the door (4.19; while the device is enabled and the controller is or will be live)
//   quiesce     nothing is given to the driver any more
//   delete      I/O submission queues, then completion queues, all at once, each pass up to a minute
//   suspend     every queue, the last one first; the admin queue with the controller
//   cancel      what was started ends with "abort requested", or is tried again when the queues run
//
// A controller that is dead (CFS, not ready, gone) is asked nothing. With `shutdown` it will not come back by itself: its
// caches are flushed by CC.SHN, and queues are opened again so that nothing hangs.

import { MQ_RQ_IN_FLIGHT, RQ_STATE } from '../../../../assembly/layout.js'
import {
  blk_mq_free_tag_set,
  blk_cleanup_queue,
  blk_put_queue,
} from '../../../block/blk-mq-init.js'
import { blk_execute_rq_nowait } from '../../../block/blk-exec.js'
import { blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import { blk_mq_tagset_busy_iter } from '../../../block/blk-mq-tag.js'
import {
  complete,
  reinit_completion,
  wait_for_completion_io_timeout,
} from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import { mutex_lock, mutex_unlock } from '../../../kernel/mutex.js'
import {
  lo_hi_readq,
  pci_channel_offline,
  pci_disable_device,
  pci_free_irq_vectors,
  pci_is_enabled,
  readl,
} from '../../../kernel/pci.js'
import { submit_time } from '../../../kernel/task.js'
import { del_timer_sync } from '../../../kernel/timer.js'
import { enter, leave } from '../../../kernel/trace.js'
import { nvme_alloc_request, nvme_alloc_request_nowait, nvme_free_request } from './core-cmd.js'
import {
  nvme_cancel_request,
  nvme_req_cancelled,
  nvme_disable_ctrl,
  nvme_shutdown_ctrl,
  nvme_start_freeze,
  nvme_start_queues,
  nvme_stop_queues,
  nvme_wait_freeze_timeout,
} from './core-ctrl.js'
import {
  NVME_CSTS_CFS,
  NVME_CSTS_RDY,
  NVME_REG_CAP,
  NVME_REG_CSTS,
  nvme_admin_delete_cq,
  nvme_admin_delete_sq,
} from './nvme.js'
import {
  admin_timeout,
  io_timeout,
  type nvme_dev,
  type nvme_queue,
  nvme_drain_cq,
  nvme_suspend_queue,
} from './pci-queue.js'

function deleted({ dev }: nvme_queue, rq: number): void {
  nvme_free_request(dev.ctrl.admin_q!, rq)
  complete(dev.ioq_wait)
}

function nvme_del_queue_end(nvmeq: nvme_queue, rq: number): void {
  const { k } = nvmeq.dev.nvme
  const t = enter(k, 'nvme_del_queue_end')
  deleted(nvmeq, rq)
  leave(k, t)
}

/** What is left in the completion queue is taken once more. */
function nvme_del_cq_end(nvmeq: nvme_queue, rq: number, status: number): void {
  const { k } = nvmeq.dev.nvme
  const t = enter(k, 'nvme_del_cq_end')
  if (status === 0) nvme_drain_cq(nvmeq)
  deleted(nvmeq, rq)
  leave(k, t)
}

/** Sends the deletion of a queue. False: there is no tag. */
function* nvme_delete_queue(nvmeq: nvme_queue, opcode: number): Sleep<boolean> {
  const q = nvmeq.dev.ctrl.admin_q!
  const rq = nvme_alloc_request_nowait(q, { opcode, cdw10: nvmeq.qid })
  if (rq < 0) return false
  const cq = opcode === nvme_admin_delete_cq
  blk_execute_rq_nowait(q, rq, false, (one, status) => {
    if (cq) nvme_del_cq_end(nvmeq, one, status)
    else nvme_del_queue_end(nvmeq, one)
  })
  return true
}

/** One pass over all I/O queues: as many at once as there are tags. False: time is over. */
function* delete_all(dev: nvme_dev, queues: number, opcode: number): Sleep<boolean> {
  let sent = 0
  let left = admin_timeout(dev)
  for (let i = queues; i > 0 || sent > 0; ) {
    while (i > 0 && (yield* nvme_delete_queue(dev.queues[i]!, opcode))) {
      i--
      sent++
      yield* submit_time(dev.nvme.k)
    }
    if (sent === 0) return false
    left = yield* wait_for_completion_io_timeout(dev.ioq_wait, left)
    if (left === 0) return false
    sent--
  }
  return true
}

function* nvme_disable_io_queues(dev: nvme_dev): Sleep<void> {
  const queues = dev.online_queues - 1
  for (const opcode of [nvme_admin_delete_sq, nvme_admin_delete_cq]) {
    reinit_completion(dev.ioq_wait)
    if (!(yield* delete_all(dev, queues, opcode))) return
  }
}

/** Linux 4.9 deletes queue by queue: the submission queue, then its completion queue. */
function* delete_in_pairs(dev: nvme_dev, queues: number): Sleep<void> {
  for (let i = queues; i > 0; i--) {
    for (const opcode of [nvme_admin_delete_sq, nvme_admin_delete_cq]) {
      reinit_completion(dev.ioq_wait)
      const q = dev.ctrl.admin_q!
      const rq = yield* nvme_alloc_request(q, { opcode, cdw10: i })
      if (rq < 0) return
      blk_execute_rq_nowait(q, rq, false, one => nvme_del_queue_end(dev.queues[i]!, one))
      const limit = admin_timeout(dev)
      if ((yield* wait_for_completion_io_timeout(dev.ioq_wait, limit)) === 0) return
    }
  }
}

function* nvme_disable_admin_queue(dev: nvme_dev, shutdown: boolean): Sleep<void> {
  const nvmeq = dev.queues[0]!
  if (shutdown) yield* nvme_shutdown_ctrl(dev.ctrl)
  else yield* nvme_disable_ctrl(dev.ctrl, lo_hi_readq(dev.pdev, NVME_REG_CAP))
  nvme_drain_cq(nvmeq)
}

/** Whether the controller can still be talked to; a freeze begins if it will come back. */
function begin_disable(dev: nvme_dev): boolean {
  const { ctrl, pdev, nvme } = dev
  if (!pci_is_enabled(pdev)) return true
  const csts = readl(pdev, NVME_REG_CSTS)
  const comes_back = ctrl.state === 'LIVE' || ctrl.state === 'RESETTING'
  // Remove freezes as well, and waits for what is under way, but only while the device answers.
  if (nvme.era.freezes && comes_back) nvme_start_freeze(ctrl)
  return (csts & NVME_CSTS_CFS) !== 0 || (csts & NVME_CSTS_RDY) === 0 || pci_channel_offline(pdev)
}

function* suspend_all(dev: nvme_dev, lowest: number): Sleep<void> {
  for (let i = dev.ctrl.queue_count - 1; i >= lowest; i--)
    if (dev.queues[i]) yield* nvme_suspend_queue(dev.queues[i]!)
}

/** Stops the controller. With `shutdown` for good. `claimed`: a request that ends here and not before (pci-timeout.ts). */
export function* nvme_dev_disable(dev: nvme_dev, shutdown: boolean, claimed = 0): Sleep<void> {
  const { ctrl, nvme } = dev
  const { k, era } = nvme
  const t = enter(k, 'nvme_dev_disable')
  if (dev.watchdog_timer) del_timer_sync(dev.watchdog_timer)
  yield* mutex_lock(dev.shutdown_lock)
  const dead = begin_disable(dev)
  if (!dead && shutdown && era.freezes) yield* nvme_wait_freeze_timeout(ctrl, io_timeout(dev))
  yield* nvme_stop_queues(ctrl)
  if (!dead && ctrl.queue_count > 0 && dev.queues[0]?.cq_vector !== -1) {
    const queues = dev.online_queues - 1
    if (era.freezes) yield* nvme_disable_io_queues(dev)
    else {
      yield* suspend_all(dev, 1)
      yield* delete_in_pairs(dev, queues)
    }
    yield* nvme_disable_admin_queue(dev, shutdown)
  }
  yield* suspend_all(dev, 0)
  nvme_pci_disable(dev)
  if (claimed) nvme.blk.view.store(claimed + RQ_STATE, MQ_RQ_IN_FLIGHT)
  cancel_all(dev)
  // Nobody may start the queues again: what waits is to fail, not to hang. 4.9 leaves them stopped at a shutdown. Who waited for
  // the lock may find that the controller goes meanwhile, or that its queues were killed.
  const dead_queues = ctrl.namespaces.some(ns => ns.dead)
  const going = dead_queues || ctrl.state === 'DELETING' || ctrl.state === 'DEAD'
  if (going || (shutdown && era.freezes)) {
    nvme_start_queues(ctrl)
    if (ctrl.admin_q && !ctrl.admin_q.dying) blk_mq_unquiesce_queue(ctrl.admin_q)
  }
  mutex_unlock(dev.shutdown_lock)
  leave(k, t)
}

/** Vectors and memory decoding go. */
export function nvme_pci_disable(dev: nvme_dev): void {
  pci_free_irq_vectors(dev.pdev)
  if (pci_is_enabled(dev.pdev)) pci_disable_device(dev.pdev)
}

/**
 * Who waits for a command of the admin queue gets -EINTR, as since 5.9. In 4.19 he takes it for a command that the controller
 * did not like, and a reset goes on with others, which wait for ever in a queue that was stopped.
 */
function cancel_all(dev: nvme_dev): void {
  const { blk } = dev.nvme
  const { tagset, admin_tagset } = dev
  if (tagset) blk_mq_tagset_busy_iter(tagset, rq => nvme_cancel_request(blk, rq))
  if (!admin_tagset) return
  blk_mq_tagset_busy_iter(admin_tagset, rq => {
    nvme_req_cancelled(blk, rq)
    nvme_cancel_request(blk, rq)
  })
}

/** The admin queue goes: who waits for it is let go first. */
export function* nvme_dev_remove_admin(dev: nvme_dev): Sleep<void> {
  const { ctrl, nvme } = dev
  const { k } = nvme
  if (!ctrl.admin_q || ctrl.admin_q.dying) return
  const t = enter(k, 'nvme_dev_remove_admin')
  // The controller may have been stopped in the middle of a reset: the queue must run to empty itself.
  blk_mq_unquiesce_queue(ctrl.admin_q)
  yield* blk_cleanup_queue(ctrl.admin_q)
  if (dev.admin_tagset) blk_mq_free_tag_set(dev.admin_tagset)
  leave(k, t)
}

/** The last reference to the admin queue. */
export function nvme_put_admin_queue(dev: nvme_dev): void {
  const { ctrl } = dev
  if (ctrl.admin_q) blk_put_queue(ctrl.admin_q)
  ctrl.admin_q = null
}
