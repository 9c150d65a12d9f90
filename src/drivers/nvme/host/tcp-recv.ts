// What the TCP host does with what a controller sends: nvme_tcp_try_recv and what is below it, drivers/nvme/host/tcp.c of
// Linux 5.10. What is no legal PDU, or none of a request that is out, ends the connection.

import { complete } from '../../../kernel/completion.js'
import { enter, leave } from '../../../kernel/trace.js'
import { get16, get32 } from '../bytes.js'
import {
  NVME_TCP_FES_INVALID_PDU_HDR,
  NVME_TCP_FES_UNSUPPORTED_PARAM,
  NVME_TCP_F_DATA_LAST,
  NVME_TCP_F_DATA_SUCCESS,
  NVME_TCP_MIN_MAXH2CDATA,
  data_fields_of,
  ic_of,
  nvme_tcp_c2h_data,
  nvme_tcp_c2h_term,
  nvme_tcp_h2c_term,
  nvme_tcp_icresp,
  nvme_tcp_r2t,
  nvme_tcp_rsp,
  type pdu_digests,
  type pdu_sink,
  type pdu_violation,
  term_pdu,
  violation,
} from '../nvme-tcp.js'
import { nvme_is_write } from '../nvme.js'
import { kernel_sendmsg } from '../socket.js'
import { ctrl_log } from './core-cmd.js'
import { nvmf_error_recovery } from './fabrics-ctrl.js'
import { end_request, type nvme_tcp_queue, request_of } from './tcp-queue.js'

// ---------------------------------------------------------------- receiving

export function sink_of(queue: nvme_tcp_queue): pdu_sink {
  return {
    header: (header, data) => on_header(queue, header, data),
    data: (bytes, from, to) => on_data(queue, bytes, from, to),
    end: (header, digest) => on_end(queue, header, digest),
  }
}

/** Where the completion stands in a response. */
const CQE = 8

const UNKNOWN_CID = violation(NVME_TCP_FES_INVALID_PDU_HDR, 8)

function on_header(queue: nvme_tcp_queue, header: Uint8Array, data: number): 'ok' | pdu_violation {
  queue.receiving = null
  switch (header[0]) {
    case nvme_tcp_icresp:
      return nvme_tcp_init_connection(queue, header)
    case nvme_tcp_c2h_data:
      return nvme_tcp_handle_c2h_data(queue, header, data)
    case nvme_tcp_r2t:
      return nvme_tcp_handle_r2t(queue, header)
    case nvme_tcp_c2h_term:
      return violation(NVME_TCP_FES_INVALID_PDU_HDR)
    default:
      return 'ok'
  }
}

/** Why an ICResp is not acceptable; '' when it is. */
export function nvme_tcp_icresp_wrong(header: Uint8Array, asked: pdu_digests): string {
  const { pfv, pda, hdr_digest, data_digest, limit } = ic_of(header)
  if (pfv !== 0) return `bad pfv returned ${pfv}`
  if (hdr_digest !== asked.hdr_digest || data_digest !== asked.data_digest)
    return 'mismatch of digests'
  if (pda !== 0) return `unsupported cpda returned ${pda}`
  if (limit % 4 !== 0 || limit < NVME_TCP_MIN_MAXH2CDATA) return `bad maxh2cdata returned ${limit}`
  return ''
}

function nvme_tcp_init_connection(queue: nvme_tcp_queue, header: Uint8Array): 'ok' | pdu_violation {
  const wrong = nvme_tcp_icresp_wrong(header, queue.digests)
  queue.maxh2cdata = wrong === '' ? ic_of(header).limit : -1
  if (wrong !== '') ctrl_log(queue.life.ctrl, 'err', `queue ${queue.qid}: ${wrong}`)
  queue.reader.hdr_digest = queue.digests.hdr_digest
  queue.reader.data_digest = queue.digests.data_digest
  complete(queue.init)
  return wrong === '' ? 'ok' : violation(NVME_TCP_FES_UNSUPPORTED_PARAM)
}

function nvme_tcp_handle_c2h_data(
  queue: nvme_tcp_queue,
  header: Uint8Array,
  data: number,
): 'ok' | pdu_violation {
  const req = request_of(queue, get16(header, 8))
  if (req === null || req.rq === 0) return UNKNOWN_CID
  if (req.data_len === 0 || nvme_is_write(req.cmd) || req.done + data > req.data_len)
    return violation(NVME_TCP_FES_INVALID_PDU_HDR, 16)
  const flags = header[1]!
  if (flags & NVME_TCP_F_DATA_SUCCESS && !(flags & NVME_TCP_F_DATA_LAST))
    return violation(NVME_TCP_FES_INVALID_PDU_HDR, 1)
  queue.receiving = req
  return 'ok'
}

function nvme_tcp_handle_r2t(queue: nvme_tcp_queue, header: Uint8Array): 'ok' | pdu_violation {
  const { cid, ttag, offset, length } = data_fields_of(header)
  const req = request_of(queue, cid)
  if (req === null || req.rq === 0 || !nvme_is_write(req.cmd)) return UNKNOWN_CID
  if (length === 0 || offset + length > req.data_len)
    return violation(NVME_TCP_FES_INVALID_PDU_HDR, 16)
  if (offset < req.done || req.r2t !== null || req.inline)
    return violation(NVME_TCP_FES_INVALID_PDU_HDR, 12)
  req.done = offset + length
  req.r2t = { ttag, offset, length }
  queue.send_list.push(req)
  return 'ok'
}

function on_data(queue: nvme_tcp_queue, bytes: Uint8Array, from: number, to: number): void {
  const req = queue.receiving
  if (req === null || queue.stopped) return
  const { view } = queue.life.ctrl.blk
  let at = from
  let before = 0
  for (const piece of req.pieces) {
    const into = req.done - before
    const room = piece.bytes - into
    if (at < to && into >= 0 && room > 0) {
      const n = Math.min(room, to - at)
      view.bytes.set(bytes.subarray(at, at + n), piece.data + into)
      req.done += n
      at += n
    }
    before += piece.bytes
  }
}

function on_end(queue: nvme_tcp_queue, header: Uint8Array, digest: boolean): 'ok' | pdu_violation {
  if (!digest) return violation(NVME_TCP_FES_INVALID_PDU_HDR)
  const type = header[0]
  if (type === nvme_tcp_rsp) {
    const status = get16(header, CQE + 14) >> 1
    const low = get32(header, CQE)
    const known = end_request(queue, get16(header, CQE + 12), status, low, get32(header, CQE + 4))
    return known ? 'ok' : UNKNOWN_CID
  }
  const success = type === nvme_tcp_c2h_data && (header[1]! & NVME_TCP_F_DATA_SUCCESS) !== 0
  queue.receiving = null
  if (success) return end_request(queue, get16(header, 8), 0, 0, 0) ? 'ok' : UNKNOWN_CID
  return 'ok'
}

export function nvme_tcp_try_recv(queue: nvme_tcp_queue): boolean {
  const { sock, reader, life } = queue
  if (queue.stopped) return false
  const chunk = sock.recv()
  if (chunk === null) return false
  const t = enter(queue.io_work.k, 'nvme_tcp_recv_skb')
  reader.feed(chunk)
  if (reader.failed !== null && !queue.stopped) {
    ctrl_log(
      life.ctrl,
      'err',
      `queue ${queue.qid}: receive failed: ${JSON.stringify(reader.failed)}`,
    )
    kernel_sendmsg(sock, term_pdu(nvme_tcp_h2c_term, reader.failed, reader.header))
    failed(queue)
  }
  return leave(queue.io_work.k, t, true)
}

export function failed(queue: nvme_tcp_queue): void {
  complete(queue.init)
  nvmf_error_recovery(queue.life)
}
