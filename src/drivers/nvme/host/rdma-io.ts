// Requests of the RDMA host: nvme_rdma_queue_rq to nvme_rdma_complete_rq, drivers/nvme/host/rdma.c of Linux 4.19.
//
// A command is one message; a write's data go with it if they are few and the controller allows it, else the target moves
// them by the request's key (rdma-map.ts). A request is over when its send has completed, its response has come, and its key is
// worth nothing any more. In 4.9 a response is enough: only each 32nd send completes, and nobody waits for the key.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import { EAGAIN, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  CMD_BYTES,
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
  NVME_KEY_SGL_FMT_DATA_DESC,
  nvme_admin_async_event,
  set_sgl,
} from '../nvme.js'
import type { ib_send_wr, ib_wc } from '../verbs.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_complete_async_event } from './core-event.js'
import { nvmf_error_recovery } from './fabrics-ctrl.js'
import { NVMF_AEN_CID, type nvmf_life } from './fabrics-life.js'
import { nvmf_check_ready, nvmf_fail_nonready_command } from './fabrics.js'
import { nvme_rdma_wr_error } from './rdma-error.js'
import {
  nvme_rdma_inv_rkey,
  nvme_rdma_map_data,
  nvme_rdma_unmap_data,
  type rdma_capsule,
} from './rdma-map.js'
import {
  type nvme_rdma_module,
  type nvme_rdma_queue,
  nvme_rdma_request,
  queue_at,
} from './rdma-queue.js'
import {
  nvme_cleanup_cmd,
  nvme_end_request,
  nvme_finish_clean,
  nvme_setup_cmd,
} from './setup-cmd.js'

export function nvme_rdma_queue_rq(
  m: nvme_rdma_module,
  c: nvmf_life,
  qid: number,
  { q }: blk_mq_hw_ctx,
  rq: number,
): number {
  const queue = queue_at(m, c, qid)
  const live = c.live[qid] === true
  if (queue === undefined || queue.stopped || !nvmf_check_ready(c.ctrl, q, rq, live))
    return nvmf_fail_nonready_command(c.ctrl, q, rq)
  const { view, core } = q.blk
  const cmd = new Uint8Array(CMD_BYTES)
  const status = nvme_setup_cmd(q, rq, cmd, qid)
  if (status !== BLK_STS_OK) return status
  core.blk_mq_start_request(this_cpu(q.blk), q.at, rq)
  const req = new nvme_rdma_request(queue, q, rq, m.wq === null ? 2 : 1)
  const capsule = nvme_rdma_map_data(m, queue, req, cmd)
  if (typeof capsule === 'number') {
    ctrl_log(c.ctrl, 'err', `data cannot be mapped (${capsule})`)
    nvme_cleanup_cmd(q, rq)
    return capsule === -EAGAIN || capsule === -ENOMEM ? BLK_STS_RESOURCE : BLK_STS_IOERR
  }
  m.requests.set(rq, req)
  queue.requests.set(view.u32(rq + L.RQ_TAG), req)
  nvme_rdma_post_send(queue, req, capsule, m.wq === null || queue.signal_limit())
  return BLK_STS_OK
}

/** Registration and command go together: the command is not sent unless the memory is registered. */
function nvme_rdma_post_send(
  queue: nvme_rdma_queue,
  req: nvme_rdma_request,
  { message, reg_wr }: rdma_capsule,
  signaled: boolean,
): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_post_send')
  const send: ib_send_wr = {
    opcode: 'SEND',
    message,
    signaled,
    done: ({ status }) => {
      const d = enter(k, 'nvme_rdma_send_done')
      if (status !== 'SUCCESS') nvme_rdma_wr_error(queue, 'SEND', status)
      else if (!queue.old) step(queue, req)
      leave(k, d)
      return undefined
    },
  }
  queue.cm_id.ib_post_send(reg_wr === null ? [send] : [reg_wr, send])
  leave(k, t)
}

export function nvme_rdma_post_recv(queue: nvme_rdma_queue): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_post_recv')
  queue.cm_id.ib_post_recv(wc => {
    nvme_rdma_recv_done(queue, wc)
    return undefined
  })
  leave(k, t)
}

function nvme_rdma_recv_done(queue: nvme_rdma_queue, wc: ib_wc): void {
  const { ctrl } = queue.life
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_recv_done')
  const r = enter(k, '__nvme_rdma_recv_done')
  if (wc.status !== 'SUCCESS' || wc.message === null) nvme_rdma_wr_error(queue, 'RECV', wc.status)
  else {
    const { message } = wc
    const cid = get16(message, 12)
    if (queue.qid === 0 && cid === NVMF_AEN_CID)
      nvme_complete_async_event(ctrl, get16(message, 14) >> 1, get32(message, 0))
    else nvme_rdma_process_nvme_rsp(queue, cid, message, wc.invalidate_rkey)
    nvme_rdma_post_recv(queue)
  }
  leave(k, r)
  leave(k, t)
}

/** A response: with it the target may have made the request's key worthless, else that is done here first. */
function nvme_rdma_process_nvme_rsp(
  queue: nvme_rdma_queue,
  cid: number,
  message: Uint8Array,
  invalidated: number | null,
): void {
  const { ctrl } = queue.life
  const req = queue.requests.get(cid)
  if (req === undefined) {
    ctrl_log(ctrl, 'err', `tag 0x${cid.toString(16)} on QP not found`)
    nvmf_error_recovery(queue.life)
    return
  }
  trace_call(ctrl.k, 'blk_mq_tag_to_rq')
  req.answer = message
  if (invalidated !== null) {
    if (invalidated === req.mr?.rkey) req.need_inval = false
    else if (!queue.old) {
      ctrl_log(ctrl, 'err', `the target invalidated another key: 0x${invalidated.toString(16)}`)
      nvmf_error_recovery(queue.life)
    }
  } else if (req.mr !== null && !queue.old) {
    nvme_rdma_inv_rkey(queue, req, () => step(queue, req))
    return
  }
  step(queue, req)
}

/** Of the completions that a request needs one has come. */
function step(queue: nvme_rdma_queue, req: nvme_rdma_request): void {
  if (--req.left > 0 || req.answer === null) return
  const { answer, q, rq } = req
  const cid = get16(answer, 12)
  if (queue.requests.get(cid) !== req) return
  queue.requests.delete(cid)
  nvme_end_request(q, rq, get16(answer, 14) >> 1, get32(answer, 0), get32(answer, 4))
}

export function nvme_rdma_submit_async_event(m: nvme_rdma_module, c: nvmf_life): void {
  const queue = queue_at(m, c, 0)
  if (queue === undefined || queue.stopped) return
  const { k } = c.ctrl
  const cmd = new Uint8Array(CMD_BYTES)
  cmd[CMD_OPCODE] = nvme_admin_async_event
  cmd[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  put16(cmd, CMD_ID, NVMF_AEN_CID)
  set_sgl(cmd, NVME_KEY_SGL_FMT_DATA_DESC, 0)
  const t = enter(k, 'nvme_rdma_post_send')
  const done = (): undefined => {
    trace_call(k, 'nvme_rdma_async_done')
  }
  queue.cm_id.ib_post_send([{ opcode: 'SEND', message: cmd, signaled: true, done }])
  leave(k, t)
}

export function nvme_rdma_complete_rq(
  m: nvme_rdma_module,
  q: request_queue,
  rq: number,
  qid: number,
): void {
  const req = m.requests.get(rq)
  if (req !== undefined) {
    m.requests.delete(rq)
    nvme_rdma_unmap_data(m, req)
  }
  nvme_finish_clean(q, rq, qid)
}
