// Requests of the RDMA host: nvme_rdma_queue_rq to nvme_rdma_complete_rq, drivers/nvme/host/rdma.c of Linux 4.19.
//
// A command is one message; a write's data go with it if they are few and the controller allows it, else the target moves
// them by the request's key. A request is over when both its send and its response have completed.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_OK, BLK_STS_RESOURCE } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  CMD_BYTES,
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
  NVME_KEY_SGL_FMT_DATA_DESC,
  NVME_KEY_SGL_FMT_INVALIDATE,
  NVME_SGL_FMT_OFFSET,
  nvme_admin_async_event,
  nvme_is_write,
  set_sgl,
} from '../nvme.js'
import type { ib_wc_status } from '../verbs.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_complete_async_event } from './core-event.js'
import { nvmf_error_recovery } from './fabrics-ctrl.js'
import { NVMF_AEN_CID, type nvmf_life } from './fabrics-life.js'
import { nvmf_check_ready, nvmf_fail_nonready_command } from './fabrics.js'
import { type nvme_rdma_module, type nvme_rdma_queue, queue_at, SGLS_OFFSET } from './rdma-queue.js'
import {
  nvme_cleanup_cmd,
  nvme_end_request,
  nvme_finish_clean,
  nvme_setup_cmd,
  rq_pieces,
} from './setup-cmd.js'

// ---------------------------------------------------------------- requests

/** Bytes that a command of this queue may carry itself. */
function inline_data_size(queue: nvme_rdma_queue): number {
  const { ctrl } = queue.life
  if (queue.qid === 0 || !(ctrl.sgls & SGLS_OFFSET)) return 0
  return Math.max(0, ctrl.ioccsz * 16 - CMD_BYTES)
}

/** The capsule of a request; null when there is no memory for its data. */
function map_data(
  queue: nvme_rdma_queue,
  q: request_queue,
  rq: number,
  cmd: Uint8Array,
): { message: Uint8Array; bounce: number } | null {
  const { blk } = queue.life.ctrl
  const pieces = rq_pieces(q, rq)
  const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0)
  const [first] = pieces
  if (first === undefined) {
    set_sgl(cmd, NVME_KEY_SGL_FMT_DATA_DESC, 0)
    return { message: cmd, bounce: 0 }
  }
  trace_call(blk.k, 'blk_rq_map_sg')
  const write = nvme_is_write(cmd)
  if (write && bytes <= inline_data_size(queue)) return inline(queue, pieces, bytes, cmd)
  let bounce = 0
  if (pieces.length > 1) {
    bounce = blk.mem.kzalloc(bytes)
    if (bounce === 0) return null
    if (write) gather(blk.view.bytes, pieces, bounce)
  }
  const type = pieces.length > 1 ? NVME_KEY_SGL_FMT_INVALIDATE : NVME_KEY_SGL_FMT_DATA_DESC
  set_sgl(cmd, type, bytes, bounce || first.data)
  return { message: cmd, bounce }
}

type Pieces = ReturnType<typeof rq_pieces>

function gather(bytes: Uint8Array, pieces: Pieces, to: number): void {
  let at = to
  for (const piece of pieces) {
    bytes.copyWithin(at, piece.data, piece.data + piece.bytes)
    at += piece.bytes
  }
}

function inline(
  queue: nvme_rdma_queue,
  pieces: Pieces,
  bytes: number,
  cmd: Uint8Array,
): { message: Uint8Array; bounce: number } {
  set_sgl(cmd, NVME_SGL_FMT_OFFSET, bytes, 0)
  const message = new Uint8Array(CMD_BYTES + bytes)
  message.set(cmd)
  let at = CMD_BYTES
  for (const piece of pieces) {
    const { view } = queue.life.ctrl.blk
    message.set(view.bytes.subarray(piece.data, piece.data + piece.bytes), at)
    at += piece.bytes
  }
  return { message, bounce: 0 }
}

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
  const mapped = map_data(queue, q, rq, cmd)
  if (mapped === null) return BLK_STS_RESOURCE
  const cid = view.u32(rq + L.RQ_TAG)
  queue.requests.set(cid, { q, rq, left: 2, answer: null, bounce: mapped.bounce })
  post_send(queue, cid, mapped.message)
  return BLK_STS_OK
}

function post_send(queue: nvme_rdma_queue, cid: number, message: Uint8Array): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_post_send')
  queue.cm_id.ib_post_send(message, status => {
    const d = enter(k, 'nvme_rdma_send_done')
    if (status === 'SUCCESS') step(queue, cid)
    else nvme_rdma_wr_error(queue, status)
    leave(k, d)
    return undefined
  })
  leave(k, t)
}

function nvme_rdma_wr_error(queue: nvme_rdma_queue, status: ib_wc_status): void {
  const { ctrl } = queue.life
  const t = enter(ctrl.k, 'nvme_rdma_wr_error')
  if (ctrl.state === 'LIVE') ctrl_log(ctrl, 'info', `SEND or RECV failed: ${status}`)
  if (!queue.waiting) nvmf_error_recovery(queue.life)
  leave(ctrl.k, t)
}

export function nvme_rdma_post_recv(queue: nvme_rdma_queue): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_post_recv')
  queue.cm_id.ib_post_recv((status, message) => {
    nvme_rdma_recv_done(queue, status, message)
    return undefined
  })
  leave(k, t)
}

function nvme_rdma_recv_done(
  queue: nvme_rdma_queue,
  status: ib_wc_status,
  message: Uint8Array | null,
): void {
  const { ctrl } = queue.life
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_recv_done')
  const r = enter(k, '__nvme_rdma_recv_done')
  if (status !== 'SUCCESS' || message === null) {
    nvme_rdma_wr_error(queue, status)
    leave(k, r)
    leave(k, t)
    return
  }
  const cid = get16(message, 12)
  if (queue.qid === 0 && cid === NVMF_AEN_CID)
    nvme_complete_async_event(ctrl, get16(message, 14) >> 1, get32(message, 0))
  else {
    const req = queue.requests.get(cid)
    if (req === undefined) {
      ctrl_log(ctrl, 'err', `tag 0x${cid.toString(16)} on QP not found`)
      nvmf_error_recovery(queue.life)
    } else {
      req.answer = message
      trace_call(k, 'blk_mq_tag_to_rq')
      step(queue, cid)
    }
  }
  nvme_rdma_post_recv(queue)
  leave(k, r)
  leave(k, t)
}

/** Of the two completions that a request needs one has come. */
function step(queue: nvme_rdma_queue, cid: number): void {
  const req = queue.requests.get(cid)
  if (req === undefined || --req.left > 0) return
  queue.requests.delete(cid)
  const { answer, q, rq, bounce } = req
  const { blk } = queue.life.ctrl
  if (answer === null || q === null) return
  const status = get16(answer, 14) >> 1
  if (bounce !== 0) {
    if (status === 0) scatter(blk.view.bytes, q, rq, bounce)
    blk.mem.kfree(bounce)
  }
  nvme_end_request(q, rq, status, get32(answer, 0), get32(answer, 4))
}

/** Data that came into a buffer go to the request's own memory, if it reads. */
function scatter(bytes: Uint8Array, q: request_queue, rq: number, from: number): void {
  const opf = q.blk.view.u32(rq + L.RQ_CMD_FLAGS)
  if (opf & 1) return
  let at = from
  for (const piece of rq_pieces(q, rq)) {
    bytes.copyWithin(piece.data, at, at + piece.bytes)
    at += piece.bytes
  }
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
  queue.cm_id.ib_post_send(cmd, () => {
    trace_call(k, 'nvme_rdma_async_done')
    return undefined
  })
  leave(k, t)
}

export function nvme_rdma_complete_rq(q: request_queue, rq: number, qid: number): void {
  const t = enter(q.blk.k, 'nvme_rdma_unmap_data')
  if (rq_pieces(q, rq).length > 0) nvme_cleanup_cmd(q, rq)
  leave(q.blk.k, t)
  nvme_finish_clean(q, rq, qid)
}
