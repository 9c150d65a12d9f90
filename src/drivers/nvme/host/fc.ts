// NVMe over Fibre Channel, the host: drivers/nvme/host/fc.c of Linux 4.19, and of 4.10 as the 4.9 era. Ports and link
// services are in fc-ports.ts.
//
//   create       NEW → RESETTING → CONNECTING, then connect_work: the association is made by it, now and after each loss
//   association  queue 0, Create Association, Connect, registers, identify, AENs, I/O queues (Create Connection, Connect), LIVE
//   its end      queues stop, every exchange is aborted, Disconnect Association, queues start again so that the rest waits or fails
//   error        LIVE → a reset; CONNECTING → err_work ends the association that is being made; else nothing
//   reset_work   the association ends, CONNECTING, a new one at once; without a port: as after a failed attempt
//   lost port    a reset, attempts until dev_loss_tmo is over or reconnects are used up, then the controller is deleted; when the
//                port is back in time, an attempt at once
//
// In the 4.9 era the association is made by __nvme_fc_create_ctrl, there is no reset (-EIO) and no other attempt: a lost port
// deletes its controllers, by delete_work on nvme_fc_wq.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_IOERR, BLK_STS_OK, NVME_SC_DNR } from '../../../../assembly/nvme.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue, this_cpu } from '../../../block/blk-mq.js'
import { blk_mq_update_nr_hw_queues } from '../../../block/blk-mq-init.js'
import { blk_mq_tagset_busy_iter } from '../../../block/blk-mq-tag.js'
import {
  BLK_EH_RESET_TIMER,
  type blk_mq_hw_ctx,
  type request_queue,
} from '../../../block/blkdev.js'
import { type Sleep, WARN } from '../../../kernel/core.js'
import {
  EALREADY,
  EBUSY,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOTCONN,
} from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event, wait_queue_head, wake_up } from '../../../kernel/wait.js'
import { create_workqueue, destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import {
  cancel_delayed_work_sync,
  cancel_work_sync,
  flush_delayed_work,
  mod_delayed_work,
} from '../../../kernel/workqueue-cancel.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_delayed_work,
  queue_work,
  schedule_work,
} from '../../../kernel/workqueue-queue.js'
import type { work_struct, workqueue_struct } from '../../../kernel/workqueue-structs.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  FCNVME_ERSP_BYTES,
  FCNVME_ZERO_RSP_BYTES,
  type fcp_dir,
  fcnvme_cmd_iu,
  fcnvme_create_assoc,
  fcnvme_create_conn,
  fcnvme_disconnect,
  fcnvme_parse_ersp,
  nvme_fc_parse_traddr,
  type nvmefc_fcp_req,
} from '../fc.js'
import {
  CMD_BYTES,
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_AQ_DEPTH,
  NVME_CMD_SGL_METABUF,
  NVME_SC_HOST_PATH_ERROR,
  NVME_SGL_FMT_DATA_DESC,
  nvme_admin_async_event,
  nvme_is_write,
  RSP_ID,
  RSP_STATUS,
  set_sgl,
} from '../nvme.js'
import { ctrl_log, nvme_set_queue_count } from './core-cmd.js'
import {
  nvme_enable_ctrl,
  nvme_init_ctrl,
  nvme_start_ctrl,
  nvme_start_queues,
  nvme_stop_ctrl,
  nvme_stop_queues,
  nvme_uninit_ctrl,
} from './core-ctrl.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_complete_async_event, nvme_stop_keep_alive } from './core-event.js'
import { nvme_init_identify } from './core-identify.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl, nvme_reset_ctrl } from './core-state.js'
import {
  nvmf_check_duplicate,
  nvmf_check_ready,
  nvmf_fail_nonready_command,
  type nvmf_module,
  nvmf_reg_read64,
  nvmf_register_transport,
  nvmf_unregister_transport,
  nvmf_should_reconnect,
  type nvmf_transport_ops,
} from './fabrics.js'
import {
  NVMF_AEN_CID,
  nvmf_alloc_tagset,
  nvmf_check_depth,
  nvmf_drop_queue,
  nvmf_free_tagset,
  nvmf_life,
  type nvmf_lower,
  nvmf_make_queue,
  type nvmf_names,
  nvmf_start_queue,
} from './fabrics-ctrl.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import {
  type fc_rport_user,
  type nvme_fc_lport,
  type nvme_fc_lport_list,
  nvme_fc_ctlr_active_on_rport,
  nvme_fc_ctlr_inactive_on_rport,
  nvme_fc_rport_get,
  nvme_fc_rport_put,
  type nvme_fc_rport,
  nvme_fc_send_ls_req,
  nvme_fc_send_ls_req_async,
} from './fc-ports.js'
import { NVME_REG_CAP, type nvme_ctrl } from './nvme.js'
import { nvme_end_request, nvme_finish_rq, nvme_setup_cmd, rq_pieces } from './setup-cmd.js'

/** Commands between responses with a completion, as a part of the queue. */
const ERSP_PART = 4

/** The module nvme_fc of one kernel. */
export interface nvme_fc_module {
  readonly f: nvmf_module
  readonly lports: nvme_fc_lport_list
  readonly ctrls: nvme_fc_ctrl[]
  /** nvme_fc_wq of the 4.9 era. */
  readonly wq: workqueue_struct | null
  readonly transport: nvmf_transport_ops
  /** Asks for the end of a controller. 0 or -errno. */
  del(ctrl: nvme_ctrl): number
}

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

type op_state = 'IDLE' | 'ACTIVE' | 'ABORTED' | 'COMPLETE'

/** struct nvme_fc_fcp_op: one exchange. */
class nvme_fc_fcp_op implements nvmefc_fcp_req {
  readonly queue: nvme_fc_queue
  /** Null: an asynchronous event. */
  readonly q: request_queue | null
  readonly rq: number
  state: op_state = 'IDLE'
  termio = false
  cmd: Uint8Array = new Uint8Array(0)
  pieces: nvmefc_fcp_req['pieces'] = []
  payload_length = 0
  rsp: Uint8Array = new Uint8Array(0)
  transferred_length = 0
  status = 0

  constructor(queue: nvme_fc_queue, q: request_queue | null, rq: number) {
    this.queue = queue
    this.q = q
    this.rq = rq
  }

  done(): void {
    nvme_fc_fcpio_done(this)
  }
}

interface nvme_fc_queue {
  readonly ctrl: nvme_fc_ctrl
  readonly qid: number
  connection_id: bigint
  connected: boolean
  csn: number
}

/** struct nvme_fc_ctrl. */
class nvme_fc_ctrl implements fc_rport_user {
  readonly m: nvme_fc_module
  readonly lport: nvme_fc_lport
  readonly rport: nvme_fc_rport
  readonly life: nvmf_life
  readonly queues: nvme_fc_queue[]
  /** Exchanges under way. */
  readonly ops: Set<nvme_fc_fcp_op> = new Set()
  readonly ioabort_wait: wait_queue_head
  /** Aborted exchanges whose end is still to come. */
  iocnt = 0
  association_id = 0n
  assoc_active = false
  err_work_active = false
  terminating = false

  constructor(m: nvme_fc_module, opts: nvmf_ctrl_options, rport: nvme_fc_rport) {
    const { nvme_wq } = m.f.nvme
    this.m = m
    this.rport = rport
    this.lport = rport.lport
    this.life = new nvmf_life(m.f, opts, lower_of(this), { err: nvme_wq, reconnect: nvme_wq })
    const { k } = this.life.ctrl
    this.ioabort_wait = new wait_queue_head(k, 'exchanges that are aborted')
    const fresh = { ctrl: this, connection_id: 0n, connected: false, csn: 0 }
    this.queues = Array.from({ length: k.cpus.length + 1 }, (_, qid) => ({ ...fresh, qid }))
    const { life } = this
    INIT_DELAYED_WORK(life.reconnect_work, nvme_fc_connect_ctrl_work)
    INIT_WORK(life.err_work, nvme_fc_connect_err_work)
    INIT_WORK(life.ctrl.reset_work, nvme_fc_reset_ctrl_work)
    if (m.wq !== null) rename_delete_work(life)
  }

  get opts(): nvmf_ctrl_options {
    return this.life.opts
  }

  connectivity_loss(): void {
    const { ctrl } = this.life
    ctrl_log(ctrl, 'info', 'controller connectivity lost. Awaiting Reconnect')
    if (this.m.wq !== null || this.rport.dev_loss_tmo === 0) this.m.del(ctrl)
    else if ((ctrl.state === 'NEW' || ctrl.state === 'LIVE') && nvme_reset_ctrl(ctrl))
      this.m.del(ctrl)
  }

  resume(): void {
    const { ctrl, reconnect_work, works } = this.life
    if (ctrl.state === 'NEW' || ctrl.state === 'CONNECTING') {
      ctrl_log(ctrl, 'info', 'connectivity re-established. Attempting reconnect')
      mod_delayed_work(works.reconnect, reconnect_work, 0)
    }
  }
}

function fc_of({ ctrl }: nvmf_life): nvme_fc_ctrl {
  return controllers.get(ctrl)!
}

/** What a controller of the core is here. */
const controllers = new WeakMap<nvme_ctrl, nvme_fc_ctrl>()

// ---------------------------------------------------------------- exchanges

function nvme_fc_queue_rq(c: nvme_fc_ctrl, qid: number, { q }: blk_mq_hw_ctx, rq: number): number {
  const queue = c.queues[qid]!
  const { ctrl, live } = c.life
  const ready = queue.connected && c.rport.port_state === 'ONLINE'
  if (!ready || !nvmf_check_ready(ctrl, q, rq, live[qid] === true))
    return nvmf_fail_nonready_command(ctrl, q, rq)
  const sqe = new Uint8Array(CMD_BYTES)
  const status = nvme_setup_cmd(q, rq, sqe, qid)
  if (status !== BLK_STS_OK) return status
  const op = new nvme_fc_fcp_op(queue, q, rq)
  op.pieces = rq_pieces(q, rq)
  op.payload_length = op.pieces.reduce((sum, { bytes }) => sum + bytes, 0)
  const dir = op.payload_length === 0 ? 'none' : nvme_is_write(sqe) ? 'write' : 'read'
  return nvme_fc_start_fcp_op(op, sqe, dir)
}

function nvme_fc_start_fcp_op(op: nvme_fc_fcp_op, sqe: Uint8Array, dir: fcp_dir): number {
  const { queue, q, payload_length } = op
  const { ctrl: c } = queue
  const { k } = c.life.ctrl
  const t = enter(k, 'nvme_fc_start_fcp_op')
  set_sgl(sqe, NVME_SGL_FMT_DATA_DESC, payload_length)
  const { connection_id: conn } = queue
  op.cmd = fcnvme_cmd_iu({ conn, csn: ++queue.csn, dir, data_len: payload_length, sqe })
  op.state = 'ACTIVE'
  c.ops.add(op)
  if (q !== null) {
    if (payload_length > 0) trace_call(k, 'blk_rq_map_sg')
    q.blk.core.blk_mq_start_request(this_cpu(q.blk), q.at, op.rq)
  }
  const ret = c.lport.template.fcp_io(c.rport, op)
  if (ret) {
    op.state = 'COMPLETE'
    c.ops.delete(op)
    return leave(k, t, BLK_STS_IOERR)
  }
  return leave(k, t, BLK_STS_OK)
}

/** What a response says: a status, with dwords 0 and 1; null: it does not fit what was asked. */
function answer_of(op: nvme_fc_fcp_op, cid: number): [number, number, number] | null {
  const { rsp, transferred_length, payload_length } = op
  if (rsp.length === 0 || rsp.length === FCNVME_ZERO_RSP_BYTES)
    return transferred_length === payload_length ? [0, 0, 0] : null
  const ersp = rsp.length === FCNVME_ERSP_BYTES ? fcnvme_parse_ersp(rsp) : null
  if (ersp === null || ersp.transferred !== transferred_length) return null
  const { cqe } = ersp
  if (get16(cqe, RSP_ID) !== cid) return null
  return [get16(cqe, RSP_STATUS) >> 1, get32(cqe, 0), get32(cqe, 4)]
}

function nvme_fc_fcpio_done(op: nvme_fc_fcp_op): void {
  const { queue, q, rq } = op
  const { ctrl: c } = queue
  const { ctrl } = c.life
  const t = enter(ctrl.k, 'nvme_fc_fcpio_done')
  const aborted = op.state === 'ABORTED'
  op.state = 'COMPLETE'
  c.ops.delete(op)
  const cid = q === null ? NVMF_AEN_CID : q.blk.view.u32(rq + L.RQ_TAG)
  const answer = aborted || op.status ? null : answer_of(op, cid)
  let [status, low, high] = answer ?? [NVME_SC_HOST_PATH_ERROR, 0, 0]
  if (op.termio && --c.iocnt === 0) wake_up(c.ioabort_wait)
  if (q === null) {
    nvme_complete_async_event(ctrl, status, low)
    trace_call(ctrl.k, 'nvme_fc_ctrl_put')
  } else {
    // Nobody may try it again while the association is being made.
    const first = ctrl.state === 'NEW' || ctrl.state === 'CONNECTING'
    if (status !== 0 && first) status |= NVME_SC_DNR
    nvme_end_request(q, rq, status, low, high)
  }
  if (answer === null) nvme_fc_error_recovery(c, 'transport detected io error')
  leave(ctrl.k, t)
}

function nvme_fc_complete_rq(c: nvme_fc_ctrl, qid: number, q: request_queue, rq: number): void {
  if (rq_pieces(q, rq).length > 0) trace_call(q.blk.k, 'nvme_fc_unmap_data')
  nvme_finish_rq(q, rq, qid)
  trace_call(c.life.ctrl.k, 'nvme_fc_ctrl_put')
}

function nvme_fc_submit_async_event(c: nvme_fc_ctrl): void {
  const queue = c.queues[0]!
  if (c.terminating || !queue.connected) return
  const sqe = new Uint8Array(CMD_BYTES)
  sqe[CMD_OPCODE] = nvme_admin_async_event
  sqe[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  put16(sqe, CMD_ID, NVMF_AEN_CID)
  nvme_fc_start_fcp_op(new nvme_fc_fcp_op(queue, null, 0), sqe, 'none')
}

function __nvme_fc_abort_op(c: nvme_fc_ctrl, op: nvme_fc_fcp_op): void {
  if (op.state !== 'ACTIVE') return
  const { k } = c.life.ctrl
  const t = enter(k, '__nvme_fc_abort_op')
  op.state = 'ABORTED'
  op.termio = true
  c.iocnt++
  c.lport.template.fcp_abort(op)
  leave(k, t)
}

/** Every exchange ends. */
function* abort_all(c: nvme_fc_ctrl): Sleep<void> {
  for (const op of [...c.ops]) __nvme_fc_abort_op(c, op)
  yield* wait_event(c.ioabort_wait, () => c.iocnt === 0)
}

// ---------------------------------------------------------------- an association

function init_request(c: nvmf_life): void {
  const t = enter(c.ctrl.k, 'nvme_fc_init_request')
  trace_call(c.ctrl.k, '__nvme_fc_init_request')
  leave(c.ctrl.k, t)
}

function exit_request(c: nvmf_life): void {
  const t = enter(c.ctrl.k, 'nvme_fc_exit_request')
  trace_call(c.ctrl.k, '__nvme_fc_exit_request')
  leave(c.ctrl.k, t)
}

/** A link service makes the queue known to the target. @returns 0 or -errno */
function* connect_queue(c: nvme_fc_ctrl, qid: number, entries: number): Sleep<number> {
  const queue = c.queues[qid]!
  const { host, subsysnqn } = c.opts
  const [sqsize, ersp_ratio] = [entries - 1, Math.floor(entries / ERSP_PART)]
  const rqst =
    qid === 0
      ? fcnvme_create_assoc({
          ersp_ratio,
          sqsize,
          hostid: host.id,
          hostnqn: host.nqn,
          subnqn: subsysnqn,
        })
      : fcnvme_create_conn(c.association_id, qid, sqsize, ersp_ratio)
  const answer = yield* nvme_fc_send_ls_req(c.rport, rqst)
  if (typeof answer === 'number') {
    ctrl_log(c.life.ctrl, 'err', `queue ${qid} connect failed (${answer}).`)
    return answer
  }
  if (qid === 0) c.association_id = answer.assoc
  queue.connection_id = answer.conn
  queue.connected = true
  queue.csn = 0
  return 0
}

/** @returns 0, -errno, or the status of a Connect */
function* nvme_fc_create_association(c: nvme_fc_ctrl): Sleep<number> {
  const { k } = c.life.ctrl
  const t = enter(k, 'nvme_fc_create_association')
  c.life.nr_reconnects++
  if (c.rport.port_state !== 'ONLINE') return leave(k, t, -ENODEV)
  if (c.assoc_active) return leave(k, t, -EBUSY)
  c.assoc_active = true
  c.terminating = false
  nvme_fc_ctlr_active_on_rport(c.rport)
  let error = yield* admin_part(c)
  if (error === 0 && c.life.ctrl.queue_count > 1) error = yield* io_queues(c)
  // It may have been given up meanwhile.
  if (error === 0 && !c.assoc_active) error = -ENOTCONN
  if (error !== 0) {
    yield* give_up(c)
    return leave(k, t, error)
  }
  const live = nvme_change_ctrl_state(c.life.ctrl, 'LIVE')
  c.life.nr_reconnects = 0
  if (live) yield* nvme_start_ctrl(c.life.ctrl)
  return leave(k, t, 0)
}

function* admin_part(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport } = c
  const { ctrl } = life
  lport.template.create_queue(0, NVME_AQ_DEPTH)
  let error = yield* connect_queue(c, 0, NVME_AQ_DEPTH)
  if (error) return error
  blk_mq_unquiesce_queue(ctrl.admin_q!)
  error = yield* nvmf_start_queue(life, 0)
  if (error) return error
  const cap = yield* nvmf_reg_read64(ctrl, NVME_REG_CAP)
  if (cap < 0n) return -EIO
  ctrl.cap = cap
  ctrl.sqsize = Math.min(Number(cap & 0xffffn), ctrl.sqsize)
  error = yield* nvme_enable_ctrl(ctrl, cap)
  if (error) return error
  ctrl.max_hw_sectors = life.lower.max_hw_sectors
  error = yield* nvme_init_identify(ctrl)
  if (error) return error
  error = check(c)
  if (error) return error
  nvmf_check_depth(life)
  trace_call(ctrl.k, '__nvme_fc_init_request')
  return 0
}

/** No data in capsules; 4.10 asks for the exact sizes. */
function check({ life: { ctrl }, m }: nvme_fc_ctrl): number {
  if (ctrl.icdoff) {
    ctrl_log(ctrl, 'err', `icdoff ${ctrl.icdoff} is not supported!`)
    return -EINVAL
  }
  if (m.wq !== null && (ctrl.ioccsz !== 4 || ctrl.iorcsz !== 1)) {
    ctrl_log(ctrl, 'err', `ioccsz ${ctrl.ioccsz} or iorcsz ${ctrl.iorcsz} is not supported!`)
    return -EINVAL
  }
  return 0
}

function* io_queues(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport, opts } = c
  const { ctrl } = life
  const wanted = Math.min(opts.nr_io_queues, ctrl.k.cpus.length, lport.template.max_hw_queues)
  const count = { n: wanted }
  const failed = yield* nvme_set_queue_count(ctrl, count)
  if (failed) {
    ctrl_log(ctrl, 'info', `set_queue_count failed: ${failed}`)
    return failed
  }
  if (count.n === 0) {
    ctrl_log(ctrl, 'err', 'unable to set any I/O queues')
    return -ENOMEM
  }
  ctrl.queue_count = count.n + 1
  life.nr_io_queues = count.n
  const fresh = life.tag_set === null
  let error = 0
  if (fresh) {
    error = nvmf_alloc_tagset(life, false)
    if (error === 0) ctrl.connect_q = nvmf_make_queue(life, false)
    if (error === 0 && ctrl.connect_q === null) error = -ENOMEM
  }
  if (error === 0) error = yield* nvme_fc_connect_io_queues(c)
  if (error === 0 && !fresh) yield* blk_mq_update_nr_hw_queues(life.tag_set!, count.n)
  return error
}

function* nvme_fc_connect_io_queues(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport } = c
  const { k, sqsize } = life.ctrl
  const h = enter(k, 'nvme_fc_create_hw_io_queues')
  for (let qid = 1; qid <= life.nr_io_queues; qid++) lport.template.create_queue(qid, sqsize + 1)
  leave(k, h)
  const t = enter(k, 'nvme_fc_connect_io_queues')
  for (let qid = 1; qid <= life.nr_io_queues; qid++) {
    let error = yield* connect_queue(c, qid, sqsize + 1)
    if (error === 0) error = yield* nvmf_start_queue(life, qid)
    if (error) return leave(k, t, error)
  }
  return leave(k, t, 0)
}

function nvme_fc_xmt_disconnect_assoc(c: nvme_fc_ctrl): void {
  const { k } = c.life.ctrl
  if (c.association_id === 0n) return
  const t = enter(k, 'nvme_fc_xmt_disconnect_assoc')
  nvme_fc_send_ls_req_async(c.rport, fcnvme_disconnect(c.association_id))
  c.association_id = 0n
  leave(k, t)
}

function nvme_fc_free_queues(c: nvme_fc_ctrl): void {
  const { life, lport, queues } = c
  const { k } = life.ctrl
  if (life.tag_set !== null) {
    const t = enter(k, 'nvme_fc_delete_hw_io_queues')
    for (let qid = life.nr_io_queues; qid >= 1; qid--) lport.template.delete_queue(qid)
    leave(k, t)
    for (let qid = 1; qid <= life.nr_io_queues; qid++) trace_call(k, 'nvme_fc_free_queue')
  }
  lport.template.delete_queue(0)
  trace_call(k, 'nvme_fc_free_queue')
  for (const queue of queues) {
    queue.connected = false
    queue.connection_id = 0n
    life.live[queue.qid] = false
  }
}

/** An association that could not be made goes. */
function* give_up(c: nvme_fc_ctrl): Sleep<void> {
  if (!c.assoc_active) return
  for (const queue of c.queues) c.life.live[queue.qid] = false
  // Who else has sent something must not wait for ever, as in later kernels.
  yield* abort_all(c)
  nvme_fc_xmt_disconnect_assoc(c)
  nvme_fc_free_queues(c)
  c.assoc_active = false
  nvme_fc_ctlr_inactive_on_rport(c.rport)
}

function* nvme_fc_delete_association(c: nvme_fc_ctrl): Sleep<void> {
  const { ctrl, admin_tag_set, tag_set } = c.life
  const { k } = ctrl
  if (!c.assoc_active) return
  c.assoc_active = false
  const t = enter(k, 'nvme_fc_delete_association')
  c.terminating = true
  if (ctrl.queue_count > 1) {
    nvme_stop_queues(ctrl)
    if (tag_set) blk_mq_tagset_busy_iter(tag_set, rq => terminate_exchange(c, rq))
  }
  blk_mq_quiesce_queue(ctrl.admin_q!)
  blk_mq_tagset_busy_iter(admin_tag_set!, rq => terminate_exchange(c, rq))
  yield* abort_all(c)
  trace_call(k, '__nvme_fc_exit_request')
  nvme_fc_xmt_disconnect_assoc(c)
  nvme_fc_free_queues(c)
  blk_mq_unquiesce_queue(ctrl.admin_q!)
  nvme_start_queues(ctrl)
  nvme_fc_ctlr_inactive_on_rport(c.rport)
  leave(k, t)
}

function terminate_exchange(c: nvme_fc_ctrl, rq: number): void {
  for (const op of c.ops) if (op.q !== null && op.rq === rq) __nvme_fc_abort_op(c, op)
}

// ---------------------------------------------------------------- errors and works

function nvme_fc_error_recovery(c: nvme_fc_ctrl, why: string): void {
  const { ctrl, err_work } = c.life
  const t = enter(ctrl.k, 'nvme_fc_error_recovery')
  if (c.m.wq === null && ctrl.state === 'CONNECTING') {
    if (!c.err_work_active) {
      c.err_work_active = true
      schedule_work(ctrl.k, err_work)
    }
  } else if (c.m.wq === null && ctrl.state === 'LIVE') {
    ctrl_log(ctrl, 'warn', `transport association error detected: ${why}`)
    ctrl_log(ctrl, 'warn', 'resetting controller')
    nvme_reset_ctrl(ctrl)
  }
  leave(ctrl.k, t)
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

function lower_of(c: nvme_fc_ctrl): nvmf_lower {
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
      // 4.10 ends the exchanges that are under way.
      if (m.wq !== null) for (const op of [...c.ops]) __nvme_fc_abort_op(c, op)
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
  const c = new nvme_fc_ctrl(m, opts, rport)
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
