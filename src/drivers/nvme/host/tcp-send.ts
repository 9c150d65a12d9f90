// What the TCP host sends: nvme_tcp_queue_rq and nvme_tcp_try_send of drivers/nvme/host/tcp.c, Linux 5.10.
//
// A write's data go in the capsule if they fit (admin: 8192 bytes; I/O: IOCCSZ * 16 - 64), SGL 01; else SGL 5A, and H2CData
// when an R2T asks for them, in PDUs of at most MAXH2CDATA.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_OK } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx } from '../../../block/blkdev.js'
import { enter, leave } from '../../../kernel/trace.js'
import { get16, put16 } from '../bytes.js'
import {
  CMD_PDU_HLEN,
  NVME_TCP_F_DATA_LAST,
  RSP_HLEN,
  nvme_tcp_h2c_data,
  pdu_length,
  put_cmd,
  put_data,
} from '../nvme-tcp.js'
import {
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
  NVME_SGL_FMT_OFFSET,
  NVME_TRANSPORT_SGL_DATA_DESC,
  nvme_admin_async_event,
  nvme_is_write,
  set_sgl,
} from '../nvme.js'
import { NVMF_AEN_CID, type nvmf_life } from './fabrics-life.js'
import { nvmf_check_ready, nvmf_fail_nonready_command } from './fabrics.js'
import { nvme_setup_cmd, rq_pieces } from './setup-cmd.js'
import {
  inline_data_size,
  kick,
  type nvme_tcp_module,
  type nvme_tcp_queue,
  type nvme_tcp_request,
  queues_of,
  request_of,
  take_request,
} from './tcp-queue.js'

const SEND_BYTES = 128 * 1024

const NOTHING = new Uint8Array(0)

// ---------------------------------------------------------------- submission

export function nvme_tcp_queue_rq(
  m: nvme_tcp_module,
  c: nvmf_life,
  qid: number,
  hctx: blk_mq_hw_ctx,
  rq: number,
): number {
  const { q } = hctx
  const { ctrl } = c
  const queue = queues_of(m, c)[qid]
  const live = c.live[qid] === true
  if (!nvmf_check_ready(ctrl, q, rq, live) || queue === undefined || queue.stopped)
    return nvmf_fail_nonready_command(ctrl, q, rq)
  const { view, core } = q.blk
  const cid = view.u32(rq + L.RQ_TAG)
  const req = take_request(queue, cid)
  const status = nvme_setup_cmd(q, rq, req.cmd, qid)
  if (status !== BLK_STS_OK) {
    req.out = false
    return status
  }
  req.rq = rq
  req.q = q
  map_data(queue, req)
  core.blk_mq_start_request(this_cpu(q.blk), q.at, rq)
  queue.send_list.push(req)
  kick(queue)
  return BLK_STS_OK
}

/** Where the data of a request go: nowhere, into the capsule, or by transfers. */
function map_data(queue: nvme_tcp_queue, req: nvme_tcp_request): void {
  req.pieces = rq_pieces(req.q!, req.rq)
  for (const { bytes } of req.pieces) req.data_len += bytes
  const write = nvme_is_write(req.cmd)
  req.inline = write && req.data_len > 0 && req.data_len <= inline_data_size(queue)
  const type = req.inline ? NVME_SGL_FMT_OFFSET : NVME_TRANSPORT_SGL_DATA_DESC
  set_sgl(req.cmd, type, req.data_len)
}

/** Bytes of a request's data, from `offset` on. */
function data_of(
  queue: nvme_tcp_queue,
  req: nvme_tcp_request,
  offset: number,
  length: number,
): Uint8Array {
  const { view } = queue.life.ctrl.blk
  const [first] = req.pieces
  if (first !== undefined && first.bytes >= offset + length)
    return view.bytes.subarray(first.data + offset, first.data + offset + length)
  const out = new Uint8Array(length)
  let at = 0
  for (const { data, bytes } of req.pieces) {
    const from = Math.max(offset - at, 0)
    const to = Math.min(offset + length - at, bytes)
    if (to > from) out.set(view.bytes.subarray(data + from, data + to), at + from - offset)
    at += bytes
  }
  return out
}

export function nvme_tcp_submit_async_event(m: nvme_tcp_module, c: nvmf_life): void {
  const queue = queues_of(m, c)[0]
  if (queue === undefined || queue.stopped || request_of(queue, NVMF_AEN_CID)) return
  const req = take_request(queue, NVMF_AEN_CID)
  req.cmd.fill(0)
  req.cmd[CMD_OPCODE] = nvme_admin_async_event
  req.cmd[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  put16(req.cmd, CMD_ID, NVMF_AEN_CID)
  set_sgl(req.cmd, NVME_TRANSPORT_SGL_DATA_DESC, 0)
  queue.send_list.push(req)
  kick(queue)
}

// ---------------------------------------------------------------- sending

/** Length of the next H2CData PDU's data. */
function next_part(queue: nvme_tcp_queue, req: nvme_tcp_request): number {
  return Math.min(req.r2t!.length, queue.maxh2cdata)
}

function pdu_bytes(queue: nvme_tcp_queue, req: nvme_tcp_request): number {
  const { digests } = queue
  if (req.r2t) return pdu_length(RSP_HLEN, next_part(queue, req), digests)
  return pdu_length(CMD_PDU_HLEN, req.inline ? req.data_len : 0, digests)
}

/** Writes the next PDU of a request; returns the end. */
function put_pdu(
  queue: nvme_tcp_queue,
  req: nvme_tcp_request,
  out: Uint8Array,
  at: number,
): number {
  const { digests } = queue
  const { r2t } = req
  if (r2t === null) {
    const data = req.inline ? data_of(queue, req, 0, req.data_len) : NOTHING
    return put_cmd(out, at, req.cmd, data, digests)
  }
  const length = next_part(queue, req)
  const { ttag, offset } = r2t
  const last = length === r2t.length
  const fields = { cid: get16(req.cmd, CMD_ID), ttag, offset, length }
  const data = data_of(queue, req, offset, length)
  req.r2t = last ? null : { ttag, offset: offset + length, length: r2t.length - length }
  const flags = last ? NVME_TCP_F_DATA_LAST : 0
  return put_data(out, at, nvme_tcp_h2c_data, flags, fields, data, digests)
}

/** Sends some PDUs in one piece; false when there are none, or the socket takes no more. */
export function nvme_tcp_try_send(queue: nvme_tcp_queue): boolean {
  const { send_list, sock } = queue
  if (send_list.length === 0 || queue.stopped || !sock.sk_stream_is_writeable()) return false
  const t = enter(queue.io_work.k, 'nvme_tcp_try_send')
  let bytes = 0
  let count = 0
  while (count < send_list.length && (count === 0 || bytes < SEND_BYTES))
    bytes += pdu_bytes(queue, send_list[count++]!)
  const list = send_list.splice(0, count)
  sock.sendmsg(bytes, (out, from) => {
    let at = from
    for (const req of list) {
      at = put_pdu(queue, req, out, at)
      if (req.r2t !== null) send_list.push(req)
    }
  })
  return leave(queue.io_work.k, t, true)
}
