// NVMe over Fibre Channel, the host: drivers/nvme/host/fc.c of Linux 4.19, and of 4.10 as the 4.9 era. Ports and link

import { blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import { BLK_EH_RESET_TIMER } from '../../../block/blkdev.js'
import { type Sleep, WARN } from '../../../kernel/core.js'
import { EALREADY, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOTCONN } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { create_workqueue, destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import {
  cancel_delayed_work_sync,
  cancel_work_sync,
  flush_delayed_work,
} from '../../../kernel/workqueue-cancel.js'
import { INIT_WORK, queue_delayed_work, queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct, workqueue_struct } from '../../../kernel/workqueue-structs.js'
import { nvme_fc_parse_traddr } from '../fc.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_init_ctrl, nvme_stop_ctrl, nvme_uninit_ctrl } from './core-ctrl.js'
import { nvme_stop_keep_alive } from './core-event.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl } from './core-state.js'
import type { nvmf_life, nvmf_lower, nvmf_names } from './fabrics-life.js'
import {
  nvmf_alloc_tagset,
  nvmf_drop_queue,
  nvmf_free_tagset,
  nvmf_make_queue,
} from './fabrics-queues.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import {
  nvmf_check_duplicate,
  type nvmf_module,
  nvmf_register_transport,
  nvmf_should_reconnect,
  type nvmf_transport_ops,
  nvmf_unregister_transport,
} from './fabrics.js'
import { check, nvme_fc_create_association, nvme_fc_delete_association } from './fc-assoc.js'
import {
  controllers,
  fc_of,
  nvme_fc_ctrl,
  type nvme_fc_module,
  type nvme_fc_works,
} from './fc-ctrl.js'
import {
  __nvme_fc_abort_op,
  exit_request,
  init_request,
  nvme_fc_complete_rq,
  nvme_fc_error_recovery,
  nvme_fc_queue_rq,
  nvme_fc_submit_async_event,
} from './fc-io.js'
import { type nvme_fc_rport, nvme_fc_rport_get, nvme_fc_rport_put } from './fc-ports.js'
import type { nvme_ctrl } from './nvme.js'

/** Requests, hardware queues and the rest of the shared life; steps that are FC's own have their names here. */
function names_of(old: boolean): nvmf_names {
  return {
    create_ctrl: old ? '__nvme_fc_create_ctrl' : 'nvme_fc_create_ctrl',
    setup_ctrl: '',
    configure_admin_queue: '',
    configure_io_queues: '',
    alloc_io_queues: '',
    connect_io_queues: '',
    alloc_tagset: '',
    init_admin_hctx: 'nvme_fc_init_admin_hctx',
    init_hctx: 'nvme_fc_init_hctx',
    init_request: 'nvme_fc_init_request',
    exit_request: 'nvme_fc_exit_request',
    map_queues: '',
    queue_rq: 'nvme_fc_queue_rq',
    complete_rq: 'nvme_fc_complete_rq',
    timeout: 'nvme_fc_timeout',
    teardown_io_queues: '',
    teardown_admin_queue: '',
    destroy_io_queues: '',
    destroy_admin_queue: '',
    error_recovery: '',
    error_recovery_work: '',
    reconnect_ctrl_work: '',
    reconnect_or_remove: '',
    reset_ctrl_work: '',
    stop_ctrl: '',
    delete_ctrl: 'nvme_fc_delete_ctrl',
    shutdown_ctrl: '',
    free_ctrl: 'nvme_fc_nvme_ctrl_freed',
    submit_async_event: 'nvme_fc_submit_async_event',
  }
}

function* __nvme_fc_terminate_io(c: nvme_fc_ctrl): Sleep<void> {
  const { ctrl } = c.life
  const t = enter(ctrl.k, '__nvme_fc_terminate_io')
  yield* nvme_stop_keep_alive(ctrl)
  yield* nvme_fc_delete_association(c)
  if (ctrl.state !== 'CONNECTING' && !nvme_change_ctrl_state(ctrl, 'CONNECTING'))
    ctrl_log(ctrl, 'err', "error_recovery: Couldn't change state to CONNECTING")
  leave(ctrl.k, t)
}

function* nvme_fc_connect_err_work(work: work_struct<nvmf_life>): Sleep<void> {
  const c = fc_of(work.container)
  const t = enter(work.k, 'nvme_fc_connect_err_work')
  yield* __nvme_fc_terminate_io(c)
  c.err_work_active = false
  leave(work.k, t)
}

function* nvme_fc_reset_ctrl_work(work: work_struct<nvme_ctrl>): Sleep<void> {
  const c = controllers.get(work.container)!
  const { ctrl } = c.life
  const t = enter(work.k, 'nvme_fc_reset_ctrl_work')
  yield* __nvme_fc_terminate_io(c)
  yield* nvme_stop_ctrl(ctrl)
  const online = c.rport.port_state === 'ONLINE'
  const error = online ? yield* nvme_fc_create_association(c) : -ENOTCONN
  if (error) nvme_fc_reconnect_or_delete(c, error)
  else ctrl_log(ctrl, 'info', 'controller reset complete')
  leave(work.k, t)
}

function* nvme_fc_connect_ctrl_work(work: work_struct<nvmf_life>): Sleep<void> {
  const c = fc_of(work.container)
  const t = enter(work.k, 'nvme_fc_connect_ctrl_work')
  const error = yield* nvme_fc_create_association(c)
  if (error) nvme_fc_reconnect_or_delete(c, error)
  else ctrl_log(c.life.ctrl, 'info', 'controller connect complete')
  leave(work.k, t)
}

function nvme_fc_reconnect_or_delete(c: nvme_fc_ctrl, status: number): void {
  const { life, rport, opts, m } = c
  const { ctrl, works } = life
  if (ctrl.state !== 'CONNECTING') return
  const t = enter(ctrl.k, 'nvme_fc_reconnect_or_delete')
  const online = rport.port_state === 'ONLINE'
  if (online) ctrl_log(ctrl, 'info', `reset: Reconnect attempt failed (${status})`)
  // Jiffies of the port's patience that are left.
  const patience = ((rport.dev_loss_end - ctrl.k.now()) * ctrl.k.hz) / 1e9
  const left = online ? Number.POSITIVE_INFINITY : Math.ceil(patience)
  if (left > 0 && nvmf_should_reconnect(ctrl, opts, life.nr_reconnects)) {
    const delay = Math.min(opts.reconnect_delay * ctrl.k.hz, left)
    queue_delayed_work(works.reconnect, life.reconnect_work, delay)
  } else {
    const why = left > 0 ? 'Max reconnect attempts reached' : 'dev_loss_tmo expired'
    ctrl_log(ctrl, 'warn', `${why}. Removing controller`)
    m.del(ctrl)
  }
  leave(ctrl.k, t)
}

function* nvme_fc_delete_ctrl(c: nvme_fc_ctrl): Sleep<void> {
  const { life } = c
  const t = enter(life.ctrl.k, 'nvme_fc_delete_ctrl')
  yield* cancel_work_sync(life.err_work)
  yield* cancel_delayed_work_sync(life.reconnect_work)
  yield* nvme_fc_delete_association(c)
  leave(life.ctrl.k, t)
}

/** The last reference is gone. */
function* nvme_fc_ctrl_put(c: nvme_fc_ctrl): Sleep<void> {
  const { life, rport } = c
  const { ctrl } = life
  const t = enter(ctrl.k, 'nvme_fc_ctrl_put')
  yield* nvmf_drop_queue(ctrl.connect_q)
  ctrl.connect_q = null
  nvmf_free_tagset(life, false)
  if (ctrl.admin_q) blk_mq_unquiesce_queue(ctrl.admin_q)
  yield* nvmf_drop_queue(ctrl.admin_q)
  ctrl.admin_q = null
  nvmf_free_tagset(life, true)
  rport.ctrls.delete(c)
  nvme_fc_rport_put(rport)
  leave(ctrl.k, t)
}

// ---------------------------------------------------------------- the module

export function lower_of(c: nvme_fc_ctrl): nvmf_lower {
  const { m, lport } = c
  return {
    names: names_of(m.wq !== null),
    driver: 'fc',
    max_hw_sectors: (lport.template.max_sgl_segments - 1) * 8,
    alloc_queue: () => 0,
    stop_queue: () => undefined,
    free_queue: () => undefined,
    queue_rq: (_, qid, hctx, rq) => nvme_fc_queue_rq(c, qid, hctx, rq),
    complete_rq: (_, qid, q, rq) => nvme_fc_complete_rq(c, qid, q, rq),
    submit_async_event: () => nvme_fc_submit_async_event(c),
    check: () => check(c),
    max_queues: () => lport.template.max_hw_queues,
    init_request,
    exit_request,
    timeout: () => {
      nvme_fc_error_recovery(c, 'io timeout error')
      // 4.10 ends the exchanges that are under way; so must a deletion, whose I/O nobody else ends: 4.19 waits for ever.
      if (m.wq !== null || c.life.ctrl.state === 'DELETING')
        for (const op of [...c.ops]) __nvme_fc_abort_op(c, op)
      return BLK_EH_RESET_TIMER
    },
    delete_ctrl: () => nvme_fc_delete_ctrl(c),
    free_ctrl: () => nvme_fc_ctrl_put(c),
    freed: () => {
      m.ctrls.splice(m.ctrls.indexOf(c), 1)
    },
    ...(m.wq === null ? {} : { reset: () => -EIO }),
  }
}

/** 4.9 calls the deletion's work by the transport's name. */
function rename_delete_work({ ctrl }: nvmf_life): void {
  const body = ctrl.delete_work.func!
  function* nvme_fc_del_ctrl_work(work: work_struct<nvme_ctrl>): Sleep<void> {
    const t = enter(work.k, 'nvme_fc_del_ctrl_work')
    const sleep = body(work)
    if (sleep) yield* sleep
    leave(work.k, t)
  }
  INIT_WORK(ctrl.delete_work, nvme_fc_del_ctrl_work)
}

/** The remote port of two addresses; -EINVAL: they are none, -ENOENT: nobody is there. */
function find_rport(
  m: nvme_fc_module,
  { traddr, host_traddr }: nvmf_ctrl_options,
): nvme_fc_rport | number {
  const { k } = m.f.nvme
  trace_call(k, 'nvme_fc_parse_traddr')
  const raddr = nvme_fc_parse_traddr(traddr)
  trace_call(k, 'nvme_fc_parse_traddr')
  const laddr = nvme_fc_parse_traddr(host_traddr)
  if (raddr === null || laddr === null) return -EINVAL
  const lport = m.lports.find(one => one.nn === laddr.nn && one.pn === laddr.pn)
  const rport = lport?.rports.find(one => one.nn === raddr.nn && one.pn === raddr.pn)
  return rport?.port_state === 'ONLINE' ? rport : -ENOENT
}

const FC_WORKS: nvme_fc_works = {
  lower_of,
  connect_ctrl: nvme_fc_connect_ctrl_work,
  connect_err: nvme_fc_connect_err_work,
  reset_ctrl: nvme_fc_reset_ctrl_work,
}

function* nvme_fc_create_ctrl(
  m: nvme_fc_module,
  opts: nvmf_ctrl_options,
): Sleep<nvme_ctrl | number> {
  const { k } = m.f.nvme
  const t = enter(k, m.wq === null ? 'nvme_fc_create_ctrl' : '__nvme_fc_create_ctrl')
  const rport = find_rport(m, opts)
  if (typeof rport === 'number') {
    m.f.why = `nvme_fc: ${opts.host_traddr} - ${opts.traddr} combination not found`
    return leave(k, t, rport)
  }
  const duplicate = nvmf_check_duplicate(m.ctrls, opts)
  if (duplicate) return leave(k, t, -EALREADY)
  nvme_fc_rport_get(rport)
  const c = new nvme_fc_ctrl(m, opts, rport, FC_WORKS)
  if (m.wq !== null) rename_delete_work(c.life)
  controllers.set(c.life.ctrl, c)
  rport.ctrls.add(c)
  m.ctrls.push(c)
  return leave(k, t, yield* begin(c))
}

function* begin(c: nvme_fc_ctrl): Sleep<nvme_ctrl | number> {
  const { life, m } = c
  const { ctrl } = life
  let error = nvmf_alloc_tagset(life, true)
  if (error === 0) ctrl.admin_q = nvmf_make_queue(life, true)
  if (error === 0 && ctrl.admin_q === null) error = -ENOMEM
  if (error === 0) error = nvme_init_ctrl(ctrl)
  if (error === 0 && m.wq === null) {
    nvme_change_ctrl_state(ctrl, 'RESETTING')
    nvme_change_ctrl_state(ctrl, 'CONNECTING')
    queue_delayed_work(life.works.reconnect, life.reconnect_work, 0)
    yield* flush_delayed_work(life.reconnect_work)
  } else if (error === 0) error = yield* nvme_fc_create_association(c)
  if (error) {
    m.f.why = ctrl.k.dmesg.at(-1)?.text ?? ''
    nvme_uninit_ctrl(ctrl)
    yield* nvme_put_ctrl(ctrl)
    return error > 0 ? -EIO : error
  }
  ctrl_log(ctrl, 'info', `new ctrl: NQN "${life.opts.subsysnqn}"`)
  nvme_get_ctrl(ctrl)
  return ctrl
}

/** 4.9: a state and a work of nvme_fc_wq. @returns 0 or -EBUSY */
function nvme_fc_del_nvme_ctrl(wq: workqueue_struct, ctrl: nvme_ctrl): number {
  const t = enter(ctrl.k, 'nvme_fc_del_nvme_ctrl')
  if (!nvme_change_ctrl_state(ctrl, 'DELETING')) return leave(ctrl.k, t, -EBUSY)
  return leave(ctrl.k, t, queue_work(wq, ctrl.delete_work) ? 0 : -EBUSY)
}

/** Loads nvme_fc. @returns the module, -ENOMEM or -EINVAL */
export function nvme_fc_init_module(f: nvmf_module): nvme_fc_module | number {
  const { k, era } = f.nvme
  const t = enter(k, 'nvme_fc_init_module')
  const old = !era.resets_by_state
  const wq = old ? create_workqueue(k, 'nvme_fc_wq') : null
  if (old && wq === null) return leave(k, t, -ENOMEM)
  const del = wq === null ? nvme_delete_ctrl : (one: nvme_ctrl) => nvme_fc_del_nvme_ctrl(wq, one)
  const transport: nvmf_transport_ops = {
    name: 'fc',
    required_opts: ['traddr', 'host_traddr'],
    allowed_opts: ['reconnect_delay', 'ctrl_loss_tmo'],
    create_ctrl: opts => nvme_fc_create_ctrl(m, opts),
  }
  const m: nvme_fc_module = { f, lports: [], ctrls: [], wq, del, transport }
  const error = nvmf_register_transport(f, transport)
  return leave(k, t, error === 0 ? m : error)
}

/** Unloads nvme_fc. Its users have taken their ports back before, and with them went the controllers. */
export function* nvme_fc_exit_module(m: nvme_fc_module): Sleep<void> {
  const { k } = m.f.nvme
  const t = enter(k, 'nvme_fc_exit_module')
  WARN(k, m.lports.length > 0, 'nvme_fc: localport list not empty')
  nvmf_unregister_transport(m.f, m.transport)
  if (m.wq !== null) yield* destroy_workqueue(m.wq)
  leave(k, t)
}
