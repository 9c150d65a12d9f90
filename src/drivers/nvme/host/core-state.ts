// The states of a controller: drivers/nvme/host/core.c of Linux 4.19. Which moves there are is the era's table.
//
// In 4.19 asking for a reset is a move to RESETTING; before, it was a look at the reset work, and the transport's own.

import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, ENETRESET } from '../../../kernel/errno.js'
import { enter, leave, trace_event } from '../../../kernel/trace.js'
import { wait_event, waitqueue_active, wake_up_all } from '../../../kernel/wait.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { queue_work } from '../../../kernel/workqueue-queue.js'
import type { nvme_ctrl, nvme_ctrl_state } from './nvme.js'

/** Makes the move if the table has it. */
function change_ctrl_state(ctrl: nvme_ctrl, new_state: nvme_ctrl_state): boolean {
  const from = ctrl.nvme.era.states[new_state] ?? []
  const changed = from.includes(ctrl.state)
  if (!changed) return false
  ctrl.state = new_state
  if (waitqueue_active(ctrl.state_wq)) wake_up_all(ctrl.state_wq)
  return true
}

/** Asks for a state. False: it may not become that from what it is. */
export function nvme_change_ctrl_state(ctrl: nvme_ctrl, new_state: nvme_ctrl_state): boolean {
  const { k } = ctrl
  if (k.trace.on) trace_event(k, 'nvme_ctrl_state', { asked: new_state })
  const t = enter(k, 'nvme_change_ctrl_state')
  const changed = change_ctrl_state(ctrl, new_state)
  leave(k, t)
  if (k.trace.on) trace_event(k, 'nvme_ctrl_state_result', { changed })
  return changed
}

/** Asks for a reset. @returns 0, or -EBUSY when the state or a reset under way forbids it */
export function nvme_reset_ctrl(ctrl: nvme_ctrl): number {
  const { k, ops } = ctrl
  if (ops.reset_ctrl && !ctrl.nvme.era.resets_by_state) return ops.reset_ctrl(ctrl)
  const t = enter(k, 'nvme_reset_ctrl')
  if (!change_ctrl_state(ctrl, 'RESETTING')) return leave(k, t, -EBUSY)
  const queued = queue_work(ctrl.nvme.nvme_reset_wq, ctrl.reset_work)
  return leave(k, t, queued ? 0 : -EBUSY)
}

/**
 * Waits until a reset that is under way has ended, and makes the state RESETTING, for whoever is to stop the controller and to
 * reset it later (nvme_try_sched_reset). False: it is going, or has gone. Linux has both since 5.5; 4.19 stops the controller in
 * the middle of the other reset.
 */
export function* nvme_wait_reset(ctrl: nvme_ctrl): Sleep<boolean> {
  if (!ctrl.nvme.era.resets_by_state) {
    yield* flush_work(ctrl.reset_work)
    return ctrl.state !== 'DELETING' && ctrl.state !== 'DEAD'
  }
  const terminal = (): boolean => ctrl.state === 'DELETING' || ctrl.state === 'DEAD'
  yield* wait_event(ctrl.state_wq, () => change_ctrl_state(ctrl, 'RESETTING') || terminal())
  return !terminal()
}

/** Asks for the reset of a controller that is RESETTING already. @returns 0 or -EBUSY */
export function nvme_try_sched_reset(ctrl: nvme_ctrl): number {
  if (!ctrl.nvme.era.resets_by_state) return nvme_reset_ctrl(ctrl)
  if (ctrl.state !== 'RESETTING') return -EBUSY
  return queue_work(ctrl.nvme.nvme_reset_wq, ctrl.reset_work) ? 0 : -EBUSY
}

/** Asks for the end of a controller. @returns 0 or -EBUSY */
export function nvme_delete_ctrl(ctrl: nvme_ctrl): number {
  const { k } = ctrl
  const t = enter(k, 'nvme_delete_ctrl')
  if (!change_ctrl_state(ctrl, 'DELETING')) return leave(k, t, -EBUSY)
  const queued = queue_work(ctrl.nvme.nvme_delete_wq, ctrl.delete_work)
  return leave(k, t, queued ? 0 : -EBUSY)
}

/** As nvme_reset_ctrl, and waits for it. @returns -ENETRESET when the controller did not come up again */
export function* nvme_reset_ctrl_sync(ctrl: nvme_ctrl): Sleep<number> {
  const ret = nvme_reset_ctrl(ctrl)
  if (ret !== 0) return ret
  yield* flush_work(ctrl.reset_work)
  if (!ctrl.nvme.era.resets_by_state) return 0
  return ctrl.state === 'LIVE' || ctrl.state === 'ADMIN_ONLY' ? 0 : -ENETRESET
}
