// Exchanges of a host over Fibre Channel: nvme_fc_queue_rq to nvme_fc_fcpio_done, drivers/nvme/host/fc.c of Linux 4.19.
//
// A request goes out as a command IU. Its answer is an extended response, or only the number of bytes that were moved, which
// then stands for success. Whatever does not add up is an error of the association: LIVE → a reset, CONNECTING → err_work.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_IOERR, BLK_STS_OK, NVME_SC_DNR } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event, wake_up } from '../../../kernel/wait.js'
import { schedule_work } from '../../../kernel/workqueue-queue.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  FCNVME_ERSP_BYTES,
  FCNVME_ZERO_RSP_BYTES,
  fcnvme_cmd_iu,
  fcnvme_parse_ersp,
  type fcp_dir,
} from '../fc.js'
import {
  CMD_BYTES,
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
  NVME_SC_HOST_PATH_ERROR,
  NVME_SGL_FMT_DATA_DESC,
  RSP_ID,
  RSP_STATUS,
  nvme_admin_async_event,
  nvme_is_write,
  set_sgl,
} from '../nvme.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_complete_async_event } from './core-event.js'
import { nvme_reset_ctrl } from './core-state.js'
import { NVMF_AEN_CID, type nvmf_life } from './fabrics-life.js'
import { nvmf_check_ready, nvmf_fail_nonready_command } from './fabrics.js'
import { type nvme_fc_ctrl, nvme_fc_fcp_op } from './fc-ctrl.js'
import {
  nvme_cleanup_cmd,
  nvme_end_request,
  nvme_finish_clean,
  nvme_setup_cmd,
  rq_pieces,
} from './setup-cmd.js'

// ---------------------------------------------------------------- exchanges

export function nvme_fc_queue_rq(
  c: nvme_fc_ctrl,
  qid: number,
  { q }: blk_mq_hw_ctx,
  rq: number,
): number {
  const queue = c.queues[qid]!
  const { ctrl, live } = c.life
  const ready = queue.connected && c.rport.port_state === 'ONLINE'
  if (!ready || !nvmf_check_ready(ctrl, q, rq, live[qid] === true))
    return nvmf_fail_nonready_command(ctrl, q, rq)
  const sqe = new Uint8Array(CMD_BYTES)
  const status = nvme_setup_cmd(q, rq, sqe, qid)
  if (status !== BLK_STS_OK) return status
  const op = new nvme_fc_fcp_op(queue, q, rq, nvme_fc_fcpio_done)
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

export function nvme_fc_complete_rq(
  c: nvme_fc_ctrl,
  qid: number,
  q: request_queue,
  rq: number,
): void {
  if (rq_pieces(q, rq).length > 0) {
    const t = enter(q.blk.k, 'nvme_fc_unmap_data')
    nvme_cleanup_cmd(q, rq)
    leave(q.blk.k, t)
  }
  nvme_finish_clean(q, rq, qid)
  trace_call(c.life.ctrl.k, 'nvme_fc_ctrl_put')
}

export function nvme_fc_submit_async_event(c: nvme_fc_ctrl): void {
  const queue = c.queues[0]!
  if (c.terminating || !queue.connected) return
  const sqe = new Uint8Array(CMD_BYTES)
  sqe[CMD_OPCODE] = nvme_admin_async_event
  sqe[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  put16(sqe, CMD_ID, NVMF_AEN_CID)
  nvme_fc_start_fcp_op(new nvme_fc_fcp_op(queue, null, 0, nvme_fc_fcpio_done), sqe, 'none')
}

export function __nvme_fc_abort_op(c: nvme_fc_ctrl, op: nvme_fc_fcp_op): void {
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
export function* abort_all(c: nvme_fc_ctrl): Sleep<void> {
  for (const op of [...c.ops]) __nvme_fc_abort_op(c, op)
  yield* wait_event(c.ioabort_wait, () => c.iocnt === 0)
}

// ---------------------------------------------------------------- an association

export function init_request(c: nvmf_life): void {
  const t = enter(c.ctrl.k, 'nvme_fc_init_request')
  trace_call(c.ctrl.k, '__nvme_fc_init_request')
  leave(c.ctrl.k, t)
}

export function exit_request(c: nvmf_life): void {
  const t = enter(c.ctrl.k, 'nvme_fc_exit_request')
  trace_call(c.ctrl.k, '__nvme_fc_exit_request')
  leave(c.ctrl.k, t)
}

export function terminate_exchange(c: nvme_fc_ctrl, rq: number): void {
  for (const op of c.ops) if (op.q !== null && op.rq === rq) __nvme_fc_abort_op(c, op)
}

// ---------------------------------------------------------------- errors and works

export function nvme_fc_error_recovery(c: nvme_fc_ctrl, why: string): void {
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
