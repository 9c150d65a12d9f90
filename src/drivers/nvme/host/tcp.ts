// NVMe/TCP, the host: drivers/nvme/host/tcp.c of Linux 5.10 (4.19 has none) on 4.19's core.

import type { planned_memory } from '../../../block/blk-mq-init.js'
import { complete, completion, wait_for_completion_timeout } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, ENOMEM, ETIMEDOUT } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { alloc_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import { WQ_HIGHPRI, WQ_MEM_RECLAIM, type work_struct } from '../../../kernel/workqueue-structs.js'
import { icreq_pdu } from '../nvme-tcp.js'
import { kernel_sendmsg, type socket } from '../socket.js'
import { ctrl_log } from './core-cmd.js'
import { nvmf_life_create, nvmf_life_alloc } from './fabrics-ctrl.js'
import type { nvmf_life, nvmf_lower, nvmf_names } from './fabrics-life.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import {
  nvmf_check_duplicate,
  type nvmf_module,
  nvmf_register_transport,
  type nvmf_transport_ops,
} from './fabrics.js'
import type { nvme_ctrl } from './nvme.js'
import { nvme_finish_rq } from './setup-cmd.js'
import {
  kick,
  type nvme_tcp_connector,
  type nvme_tcp_module,
  nvme_tcp_queue,
  queues_of,
  type tcp_state,
} from './tcp-queue.js'
import { failed, nvme_tcp_try_recv, sink_of } from './tcp-recv.js'
import { nvme_tcp_queue_rq, nvme_tcp_submit_async_event, nvme_tcp_try_send } from './tcp-send.js'

/** Seconds for ICResp. */
const IC_TIMEOUT_S = 10

/** Seconds for a connection. */
const SYN_TIMEOUT_S = 10

const IO_WORK_BUDGET = 64

const NAMES: nvmf_names = {
  create_ctrl: 'nvme_tcp_create_ctrl',
  setup_ctrl: 'nvme_tcp_setup_ctrl',
  configure_admin_queue: '',
  configure_io_queues: '',
  alloc_io_queues: '',
  connect_io_queues: '',
  alloc_tagset: 'nvme_tcp_alloc_tagset',
  init_admin_hctx: 'nvme_tcp_init_admin_hctx',
  init_hctx: 'nvme_tcp_init_hctx',
  init_request: 'nvme_tcp_init_request',
  exit_request: 'nvme_tcp_exit_request',
  map_queues: 'nvme_tcp_map_queues',
  queue_rq: 'nvme_tcp_queue_rq',
  complete_rq: '',
  timeout: 'nvme_tcp_timeout',
  teardown_io_queues: 'nvme_tcp_teardown_io_queues',
  teardown_admin_queue: 'nvme_tcp_teardown_admin_queue',
  destroy_io_queues: '',
  destroy_admin_queue: 'nvme_tcp_destroy_admin_queue',
  error_recovery: 'nvme_tcp_error_recovery',
  error_recovery_work: 'nvme_tcp_error_recovery_work',
  reconnect_ctrl_work: 'nvme_tcp_reconnect_ctrl_work',
  reconnect_or_remove: 'nvme_tcp_reconnect_or_remove',
  reset_ctrl_work: 'nvme_reset_ctrl_work',
  stop_ctrl: 'nvme_tcp_stop_ctrl',
  delete_ctrl: 'nvme_tcp_delete_ctrl',
  shutdown_ctrl: '',
  free_ctrl: 'nvme_tcp_free_ctrl',
  submit_async_event: 'nvme_tcp_submit_async_event',
}

function nvme_tcp_io_work(work: work_struct<nvme_tcp_queue>): void {
  const queue = work.container
  const t = enter(work.k, 'nvme_tcp_io_work')
  let pending = true
  for (let round = 0; pending && round < IO_WORK_BUDGET && !queue.stopped; round++) {
    pending = nvme_tcp_try_send(queue)
    if (nvme_tcp_try_recv(queue)) pending = true
    if (queue.reader.failed !== null) break
  }
  if (pending && !queue.stopped && queue.reader.failed === null) kick(queue)
  leave(work.k, t)
}

function* open_socket(m: nvme_tcp_module, c: nvmf_life): Sleep<socket | number> {
  const { k } = c.ctrl
  const connected = new completion(k, 'a connection')
  let result: socket | number = -ETIMEDOUT
  let late = false
  m.connect(c.opts.traddr, c.opts.trsvcid, answer => {
    if (late) {
      if (typeof answer !== 'number') answer.sock_release()
      return
    }
    result = answer
    complete(connected)
  })
  yield* wait_for_completion_timeout(connected, SYN_TIMEOUT_S * k.hz)
  late = true
  return result
}

function* nvme_tcp_alloc_queue(
  m: nvme_tcp_module,
  c: nvmf_life,
  qid: number,
  size: number,
): Sleep<number> {
  const { k } = c.ctrl
  const t = enter(k, 'nvme_tcp_alloc_queue')
  const sock = yield* open_socket(m, c)
  if (typeof sock === 'number') {
    ctrl_log(c.ctrl, 'err', `failed to connect socket: ${sock}`)
    return leave(k, t, sock)
  }
  const queue = new nvme_tcp_queue(m, c, qid, size, sock, sink_of, nvme_tcp_io_work)
  queues_of(m, c)[qid] = queue
  const { hdr_digest, data_digest } = c.opts
  queue.digests = { hdr_digest, data_digest }
  sock.sk_data_ready = () => {
    const d = enter(k, 'nvme_tcp_data_ready')
    kick(queue)
    leave(k, d)
  }
  sock.sk_write_space = () => kick(queue)
  sock.sk_state_change = () => {
    const s = enter(k, 'nvme_tcp_state_change')
    if (sock.closed && !queue.stopped) failed(queue)
    leave(k, s)
  }
  kernel_sendmsg(sock, icreq_pdu({ pfv: 0, pda: 0, hdr_digest, data_digest, limit: 0 }))
  kick(queue)
  yield* wait_for_completion_timeout(queue.init, IC_TIMEOUT_S * k.hz)
  if (queue.maxh2cdata > 0) return leave(k, t, 0)
  yield* nvme_tcp_free_queue(m, c, qid)
  return leave(k, t, -EINVAL)
}

function* nvme_tcp_stop_queue(m: nvme_tcp_module, c: nvmf_life, qid: number): Sleep<void> {
  const queue = queues_of(m, c)[qid]
  if (queue === undefined || queue.stopped) return
  const { k } = c.ctrl
  const t = enter(k, '__nvme_tcp_stop_queue')
  queue.stopped = true
  queue.sock.sk_data_ready = () => {}
  queue.sock.sk_write_space = () => {}
  queue.sock.sk_state_change = () => {}
  queue.sock.kernel_sock_shutdown()
  yield* cancel_work_sync(queue.io_work)
  leave(k, t)
}

function* nvme_tcp_free_queue(m: nvme_tcp_module, c: nvmf_life, qid: number): Sleep<void> {
  const queues = queues_of(m, c)
  if (queues[qid] === undefined) return
  const t = enter(c.ctrl.k, 'nvme_tcp_free_queue')
  yield* nvme_tcp_stop_queue(m, c, qid)
  queues[qid] = undefined
  leave(c.ctrl.k, t)
}

// ---------------------------------------------------------------- the module

/** ICDOFF, and what 5.10 looks at beside it: 4.19 takes another identifier over without a word. */
function nvme_tcp_check({ ctrl }: nvmf_life): number {
  const { cntlid, connect_cntlid } = ctrl
  if (cntlid !== connect_cntlid)
    ctrl_log(
      ctrl,
      'err',
      `Mismatching cntlid: Connect ${connect_cntlid} vs Identify ${cntlid}, rejecting`,
    )
  return ctrl.icdoff === 0 && cntlid === connect_cntlid ? 0 : -EINVAL
}

function lower_of(m: tcp_state): nvmf_lower {
  return {
    names: NAMES,
    driver: 'tcp',
    max_hw_sectors: 0,
    alloc_queue: (c, qid, size) => nvme_tcp_alloc_queue(m, c, qid, size),
    stop_queue: (c, qid) => nvme_tcp_stop_queue(m, c, qid),
    free_queue: (c, qid) => nvme_tcp_free_queue(m, c, qid),
    queue_rq: (c, qid, hctx, rq) => nvme_tcp_queue_rq(m, c, qid, hctx, rq),
    complete_rq: (_, qid, q, rq) => nvme_finish_rq(q, rq, qid),
    submit_async_event: c => nvme_tcp_submit_async_event(m, c),
    check: nvme_tcp_check,
    max_queues: () => m.f.nvme.k.cpus.length,
    freed: c => {
      m.queues.delete(c)
      m.ctrls.splice(m.ctrls.indexOf(c), 1)
    },
  }
}

function* nvme_tcp_create_ctrl(m: tcp_state, opts: nvmf_ctrl_options): Sleep<nvme_ctrl | number> {
  const duplicate = nvmf_check_duplicate(m.ctrls, opts)
  if (duplicate) return duplicate
  const { nvme_wq, nvme_reset_wq } = m.f.nvme
  const c = nvmf_life_alloc(m.f, opts, lower_of(m), { err: nvme_reset_wq, reconnect: nvme_wq })
  c.ctrl.memory = m.memory
  m.queues.set(c, [])
  m.ctrls.push(c)
  return yield* nvmf_life_create(c)
}

/** Loads nvme_tcp. `memory`: for the queue of a namespace that was planned at boot. @returns the module or -ENOMEM */
export function nvme_tcp_init_module(
  f: nvmf_module,
  connect: nvme_tcp_connector,
  memory: planned_memory | null = null,
): nvme_tcp_module | number {
  const { k } = f.nvme
  const wq = alloc_workqueue(k, 'nvme_tcp_wq', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
  if (wq === null) return -ENOMEM
  const transport: nvmf_transport_ops = {
    name: 'tcp',
    required_opts: ['traddr'],
    allowed_opts: [
      'trsvcid',
      'reconnect_delay',
      'host_traddr',
      'ctrl_loss_tmo',
      'hdr_digest',
      'data_digest',
      'disable_sqflow',
    ],
    create_ctrl: opts => nvme_tcp_create_ctrl(m, opts),
  }
  const m: tcp_state = { f, wq, ctrls: [], connect, transport, memory, queues: new Map() }
  nvmf_register_transport(f, transport)
  return m
}
