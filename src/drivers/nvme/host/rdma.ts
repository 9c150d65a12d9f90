// NVMe over RDMA, the host: drivers/nvme/host/rdma.c of Linux 4.19, and of 4.9 by the era, over the verbs of

import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, EINVAL, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { create_workqueue, destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import { flush_workqueue } from '../../../kernel/workqueue-flush.js'
import { INIT_WORK, queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import {
  type ib_client,
  ib_register_client,
  ib_unregister_client,
  type rdma_fabric,
} from '../verbs.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl } from './core-state.js'
import { nvmf_life_alloc, nvmf_life_create } from './fabrics-ctrl.js'
import type { nvmf_life, nvmf_lower, nvmf_names, nvmf_works } from './fabrics-life.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import {
  nvmf_check_duplicate,
  type nvmf_module,
  nvmf_register_transport,
  type nvmf_transport_ops,
  nvmf_unregister_transport,
} from './fabrics.js'
import type { nvme_ctrl } from './nvme.js'
import {
  nvme_rdma_alloc_queue,
  nvme_rdma_dev_get,
  nvme_rdma_dev_put,
  nvme_rdma_free_queue,
  nvme_rdma_stop_queue,
} from './rdma-cm.js'
import {
  nvme_rdma_complete_rq,
  nvme_rdma_queue_rq,
  nvme_rdma_submit_async_event,
} from './rdma-io.js'
import { type nvme_rdma_module, SGLS_KEYED, SGLS_OFFSET } from './rdma-queue.js'

/** Pages of one memory registration, less one: (256 - 1) * 8 sectors. */
const MAX_HW_SECTORS = (256 - 1) * 8

function names_of(old: boolean): nvmf_names {
  return {
    create_ctrl: 'nvme_rdma_create_ctrl',
    setup_ctrl: old ? '' : 'nvme_rdma_setup_ctrl',
    configure_admin_queue: '',
    configure_io_queues: '',
    alloc_io_queues: '',
    connect_io_queues: '',
    alloc_tagset: old ? '' : 'nvme_rdma_alloc_tagset',
    init_admin_hctx: 'nvme_rdma_init_admin_hctx',
    init_hctx: 'nvme_rdma_init_hctx',
    init_request: 'nvme_rdma_init_request',
    exit_request: 'nvme_rdma_exit_request',
    map_queues: 'nvme_rdma_map_queues',
    device_map_queues: 'blk_mq_rdma_map_queues',
    queue_rq: 'nvme_rdma_queue_rq',
    complete_rq: 'nvme_rdma_complete_rq',
    timeout: 'nvme_rdma_timeout',
    teardown_io_queues: 'nvme_rdma_teardown_io_queues',
    teardown_admin_queue: '',
    destroy_io_queues: 'nvme_rdma_destroy_io_queues',
    destroy_admin_queue: 'nvme_rdma_destroy_admin_queue',
    error_recovery: '',
    error_recovery_work: 'nvme_rdma_error_recovery_work',
    reconnect_ctrl_work: 'nvme_rdma_reconnect_ctrl_work',
    reconnect_or_remove: old ? '' : 'nvme_rdma_reconnect_or_remove',
    reset_ctrl_work: 'nvme_rdma_reset_ctrl_work',
    stop_ctrl: old ? '' : 'nvme_rdma_stop_ctrl',
    delete_ctrl: 'nvme_rdma_delete_ctrl',
    shutdown_ctrl: '',
    free_ctrl: 'nvme_rdma_free_ctrl',
    submit_async_event: 'nvme_rdma_submit_async_event',
  }
}

// ---------------------------------------------------------------- the module

/** What RDMA cannot live with. */
function check({ ctrl }: nvmf_life): number {
  if (ctrl.icdoff) {
    ctrl_log(ctrl, 'err', 'icdoff is not supported!')
    return -EINVAL
  }
  const keyed = ctrl.nvme.era.resets_by_state ? SGLS_KEYED : SGLS_OFFSET
  if (ctrl.sgls & keyed) return 0
  ctrl_log(ctrl, 'err', 'Mandatory keyed sgls are not supported!')
  return -EINVAL
}

function lower_of(m: nvme_rdma_module): nvmf_lower {
  return {
    names: names_of(m.wq !== null),
    driver: 'rdma',
    max_hw_sectors: MAX_HW_SECTORS,
    alloc_queue: (c, qid, size) => nvme_rdma_alloc_queue(m, c, qid, size),
    stop_queue: (c, qid) => nvme_rdma_stop_queue(m, c, qid),
    free_queue: (c, qid) => nvme_rdma_free_queue(m, c, qid),
    queue_rq: (c, qid, hctx, rq) => nvme_rdma_queue_rq(m, c, qid, hctx, rq),
    complete_rq: (_, qid, q, rq) => nvme_rdma_complete_rq(m, q, rq, qid),
    submit_async_event: c => nvme_rdma_submit_async_event(m, c),
    check,
    max_queues: () => m.f.nvme.k.cpus.length,
    tagset_allocated: c => nvme_rdma_dev_get(m, c.ctrl.k),
    tagset_freed: c => nvme_rdma_dev_put(m, c.ctrl.k),
    init_request: c => {
      const t = enter(c.ctrl.k, 'nvme_rdma_init_request')
      trace_call(c.ctrl.k, 'nvme_rdma_alloc_qe')
      leave(c.ctrl.k, t)
    },
    freed: c => {
      m.queues.delete(c)
      m.ctrls.splice(m.ctrls.indexOf(c), 1)
    },
    ...(m.wq === null
      ? {}
      : {
          reset: (c: nvmf_life) => nvme_rdma_reset_ctrl(m, c),
          del: (c: nvmf_life) => nvme_rdma_del_ctrl(m, c),
        }),
  }
}

/** 4.9: a reset is a state and a work of nvme_rdma_wq. @returns 0 or -EBUSY */
function nvme_rdma_reset_ctrl(m: nvme_rdma_module, { ctrl }: nvmf_life): number {
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_reset_ctrl')
  if (!nvme_change_ctrl_state(ctrl, 'RESETTING')) return leave(k, t, -EBUSY)
  return leave(k, t, queue_work(m.wq!, ctrl.reset_work) ? 0 : -EBUSY)
}

/** 4.9: so is a deletion. */
function nvme_rdma_del_ctrl(m: nvme_rdma_module, { ctrl }: nvmf_life): number {
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_del_ctrl')
  if (!nvme_change_ctrl_state(ctrl, 'DELETING')) return leave(k, t, -EBUSY)
  return leave(k, t, queue_work(m.wq!, ctrl.delete_work) ? 0 : -EBUSY)
}

function works_of(m: nvme_rdma_module): nvmf_works {
  const { nvme_wq } = m.f.nvme
  return m.wq === null ? { err: nvme_wq, reconnect: nvme_wq } : { err: m.wq, reconnect: m.wq }
}

function* nvme_rdma_create_ctrl(
  m: nvme_rdma_module,
  opts: nvmf_ctrl_options,
): Sleep<nvme_ctrl | number> {
  const duplicate = nvmf_check_duplicate(m.ctrls, opts)
  if (duplicate) return duplicate
  const c = nvmf_life_alloc(m.f, opts, lower_of(m), works_of(m))
  if (m.wq !== null) rename_delete_work(c)
  m.queues.set(c, [])
  m.ctrls.push(c)
  return yield* nvmf_life_create(c)
}

/** 4.9 calls the deletion's work by the transport's name. */
function rename_delete_work(c: nvmf_life): void {
  const { delete_work } = c.ctrl
  const body = delete_work.func!
  function* nvme_rdma_del_ctrl_work(work: work_struct<nvme_ctrl>): Sleep<void> {
    const t = enter(work.k, 'nvme_rdma_del_ctrl_work')
    const sleep = body(work)
    if (sleep) yield* sleep
    leave(work.k, t)
  }
  INIT_WORK(delete_work, nvme_rdma_del_ctrl_work)
}

/** Module parameters. */
interface nvme_rdma_params {
  readonly register_always?: boolean
}

/** Loads nvme_rdma. @returns the module, -ENOMEM or -EINVAL */
export function nvme_rdma_init_module(
  f: nvmf_module,
  fabric: rdma_fabric,
  clients: ib_client[] = [],
  { register_always = true }: nvme_rdma_params = {},
): nvme_rdma_module | number {
  const { k, era } = f.nvme
  const t = enter(k, 'nvme_rdma_init_module')
  const old = !era.resets_by_state
  const wq = old ? create_workqueue(k, 'nvme_rdma_wq') : null
  if (old && wq === null) return leave(k, t, -ENOMEM)
  const client = { name: 'nvme_rdma' }
  ib_register_client(k, clients, client)
  const transport: nvmf_transport_ops = {
    name: 'rdma',
    required_opts: ['traddr'],
    allowed_opts: ['trsvcid', 'reconnect_delay', 'host_traddr', 'ctrl_loss_tmo'],
    create_ctrl: opts => nvme_rdma_create_ctrl(m, opts),
  }
  const m: nvme_rdma_module = {
    f,
    fabric,
    clients,
    client,
    ctrls: [],
    queues: new Map(),
    transport,
    device_refs: 0,
    pd: null,
    register_always,
    requests: new Map(),
    wq,
    del: ctrl => nvme_rdma_del_ctrl(m, ctrl.priv as nvmf_life),
  }
  const error = nvmf_register_transport(f, transport)
  return leave(k, t, error === 0 ? m : error)
}

/** Unloads it: every controller goes first. */
export function* nvme_rdma_cleanup_module(m: nvme_rdma_module): Sleep<void> {
  const { k, nvme_delete_wq } = m.f.nvme
  const t = enter(k, 'nvme_rdma_cleanup_module')
  nvmf_unregister_transport(m.f, m.transport)
  ib_unregister_client(k, m.clients, m.client)
  for (const c of [...m.ctrls]) {
    if (m.wq === null) nvme_delete_ctrl(c.ctrl)
    else nvme_rdma_del_ctrl(m, c)
  }
  yield* flush_workqueue(m.wq ?? nvme_delete_wq)
  if (m.wq !== null) yield* destroy_workqueue(m.wq)
  leave(k, t)
}
