// References of a controller: nvme_get_ctrl, nvme_put_ctrl and nvme_free_ctrl of drivers/nvme/host/core.c, Linux 4.19.
//
// A controller is held by its driver, by each of its namespaces and by works under way. The last one to let go frees it;
// for a fabrics controller that may be whoever closes the last file of a disk, long after the controller was deleted.

import type { Sleep } from '../../../kernel/core.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import type { nvme_ctrl } from './nvme.js'

export function nvme_get_ctrl(ctrl: nvme_ctrl): void {
  ctrl.refs++
}

/** Drops a reference; the last one ends the controller. */
export function* nvme_put_ctrl(ctrl: nvme_ctrl): Sleep<void> {
  if (--ctrl.refs > 0) return
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_free_ctrl')
  nvme.instances.delete(ctrl.instance)
  const sleep = ctrl.ops.free_ctrl(ctrl)
  if (sleep) yield* sleep
  if (ctrl.identified) nvme_put_subsystem(ctrl)
  leave(k, t)
}

function nvme_put_subsystem(ctrl: nvme_ctrl): void {
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_put_subsystem')
  const left = (nvme.subsystems.get(ctrl.subnqn) ?? 1) - 1
  if (left > 0) nvme.subsystems.set(ctrl.subnqn, left)
  else {
    nvme.subsystems.delete(ctrl.subnqn)
    trace_call(k, 'nvme_release_subsystem')
  }
  leave(k, t)
}
