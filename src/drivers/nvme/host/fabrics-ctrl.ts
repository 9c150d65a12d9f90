// The life of a fabrics controller, as nvme_rdma, nvme_tcp and (for the most part) nvme_loop live it: what is the same in

import * as L from '../../../../assembly/layout.js'
import { BLK_EH_DONE, BLK_EH_RESET_TIMER, type request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, EIO } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { cancel_delayed_work_sync, cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import { queue_delayed_work, queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import { ctrl_log } from './core-cmd.js'
import {
  nvme_cancel_request,
  nvme_disable_ctrl,
  nvme_init_ctrl,
  nvme_shutdown_ctrl,
  nvme_start_ctrl,
  nvme_start_queues,
  nvme_stop_ctrl,
  nvme_uninit_ctrl,
} from './core-ctrl.js'
import { nvme_stop_keep_alive } from './core-event.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl } from './core-state.js'
import {
  begin,
  life_of,
  nvmf_life,
  type nvmf_lower,
  type nvmf_steps,
  type nvmf_works,
} from './fabrics-life.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import {
  cancel_all,
  configure_admin_queue,
  configure_io_queues,
  destroy_admin_queue,
  nvmf_free_queues,
  stop_queue,
  teardown_admin_queue,
  teardown_io_queues,
} from './fabrics-queues.js'
import {
  nvmf_free_options,
  nvmf_get_address,
  type nvmf_module,
  nvmf_reg_read32,
  nvmf_reg_read64,
  nvmf_reg_write32,
  nvmf_should_reconnect,
} from './fabrics.js'
import { NVME_F_FABRICS, type nvme_ctrl } from './nvme.js'

export function ctrl_ops(c: nvmf_life): nvme_ctrl['ops'] {
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

/** @param shutdown for good; else it will be set up again */
export function* shutdown_ctrl(c: nvmf_life, shutdown: boolean): Sleep<void> {
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
export function* setup_ctrl(c: nvmf_life, fresh: boolean): Sleep<number> {
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

const STEPS: nvmf_steps = {
  ctrl_ops,
  error_recovery_work,
  reconnect_ctrl_work,
  reset_ctrl_work,
  timeout: nvmf_timeout,
}

/** A controller that is not connected yet. */
export function nvmf_life_alloc(
  f: nvmf_module,
  opts: nvmf_ctrl_options,
  lower: nvmf_lower,
  works: nvmf_works,
): nvmf_life {
  return new nvmf_life(f, opts, lower, works, STEPS)
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

export function* error_recovery_work(item: work_struct<nvmf_life>): Sleep<void> {
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

export function reconnect_or_remove(c: nvmf_life): void {
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

export function* reconnect_ctrl_work(item: work_struct<nvmf_life>): Sleep<void> {
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

export function* reset_ctrl_work(item: work_struct<nvme_ctrl>): Sleep<void> {
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
