// What the target's TCP transport does with what a host sends: nvmet_tcp_try_recv and what is below it,
// drivers/nvme/target/tcp.c of Linux 5.10.

import { NVME_SC_DNR, NVME_SC_INVALID_FIELD } from '../../../../assembly/nvme.js'
import { get16, get32 } from '../bytes.js'
import {
  NVME_TCP_ADMIN_CCSZ,
  NVME_TCP_FES_DATA_LIMIT_EXCEEDED,
  NVME_TCP_FES_DATA_OUT_OF_RANGE,
  NVME_TCP_FES_INVALID_PDU_HDR,
  NVME_TCP_FES_UNSUPPORTED_PARAM,
  data_fields_of,
  ic_of,
  icresp_pdu,
  nvme_tcp_cmd,
  nvme_tcp_h2c_data,
  nvme_tcp_h2c_term,
  nvme_tcp_icreq,
  type pdu_sink,
  type pdu_violation,
  violation,
} from '../nvme-tcp.js'
import {
  CMD_BYTES,
  CMD_ID,
  CMD_SGL_LENGTH,
  CMD_SGL_TYPE,
  NVME_SC_SGL_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SC_TRANSIENT_TR_ERR,
  NVME_SGL_FMT_OFFSET,
  NVME_TRANSPORT_SGL_DATA_DESC,
  nvme_is_write,
} from '../nvme.js'
import { kernel_sendmsg } from '../socket.js'
import { __nvmet_req_complete, nvmet_req_complete, nvmet_req_init } from './core.js'
import { NVMET_PARSERS } from './parsers.js'
import {
  DATA_IN,
  PARSED,
  close,
  get_buffer,
  get_capsule_buffer,
  get_cmd,
  type nvmet_tcp_command,
  nvmet_tcp_fatal_error,
  type nvmet_tcp_queue,
  start_data,
  wait_for_room,
} from './tcp-queue.js'

const DNR = NVME_SC_DNR

const NOTHING = new Uint8Array(0)

// ---------------------------------------------------------------- receiving

export function sink_of(queue: nvmet_tcp_queue): pdu_sink {
  return {
    header: (header, data) => on_header(queue, header, data),
    data: (bytes, from, to) => on_data(queue, bytes, from, to),
    end: (header, digest) => on_end(queue, header, digest),
  }
}

function on_header(
  queue: nvmet_tcp_queue,
  header: Uint8Array,
  data: number,
): 'ok' | 'wait' | pdu_violation {
  queue.receiving = null
  switch (header[0]) {
    case nvme_tcp_icreq:
      return nvmet_tcp_handle_icreq(queue, header)
    case nvme_tcp_cmd:
      return capsule(queue, header, data)
    case nvme_tcp_h2c_data:
      return nvmet_tcp_handle_h2c_data_pdu(queue, header, data)
    default:
      return 'ok'
  }
}

function nvmet_tcp_handle_icreq(queue: nvmet_tcp_queue, header: Uint8Array): 'ok' | pdu_violation {
  const { pfv, pda, hdr_digest, data_digest } = ic_of(header)
  if (pfv !== 0) return violation(NVME_TCP_FES_UNSUPPORTED_PARAM, 8)
  if (pda !== 0) return violation(NVME_TCP_FES_UNSUPPORTED_PARAM, 10)
  queue.digests = { hdr_digest, data_digest }
  queue.reader.hdr_digest = hdr_digest
  queue.reader.data_digest = data_digest
  const limit = queue.port.options.maxh2cdata
  kernel_sendmsg(queue.sock, icresp_pdu({ pfv: 0, pda: 0, hdr_digest, data_digest, limit }))
  return 'ok'
}

/** Bytes that a capsule of this queue may carry. */
function capsule_limit(queue: nvmet_tcp_queue): number {
  const { inline_data_size } = queue.port.options
  return queue.nvme_sq.qid === 0
    ? Math.max(NVME_TCP_ADMIN_CCSZ, inline_data_size)
    : inline_data_size
}

function capsule(
  queue: nvmet_tcp_queue,
  header: Uint8Array,
  data: number,
): 'ok' | 'wait' | pdu_violation {
  const inCapsule = header[8 + CMD_SGL_TYPE] === NVME_SGL_FMT_OFFSET
  const length = get32(header, 8 + CMD_SGL_LENGTH)
  if (data > capsule_limit(queue)) return violation(NVME_TCP_FES_DATA_LIMIT_EXCEEDED)
  if (data !== 0 && !(inCapsule && length === data))
    return violation(NVME_TCP_FES_INVALID_PDU_HDR, 4)
  // What an admin command changes must be seen by the next one.
  if (queue.ready.length > 0 && queue.nvme_sq.qid === 0) return 'wait'
  const cmd = get_cmd(queue)
  if (cmd === null) return 'wait'
  if (data > 0 && !get_capsule_buffer(cmd, data)) {
    queue.free.push(cmd)
    wait_for_room(queue)
    return 'wait'
  }
  begin(cmd, header)
  if (!nvmet_req_init(cmd, queue.port.nport, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS))
    return 'ok'
  accept(cmd, inCapsule, length, data)
  return 'ok'
}

function begin(cmd: nvmet_tcp_command, header: Uint8Array): void {
  for (let i = 0; i < CMD_BYTES; i++) cmd.cmd[i] = header[8 + i]!
  cmd.state = PARSED
  cmd.rbytes_done = 0
  cmd.r2t_end = 0
  cmd.r2t_due = false
  cmd.bad_digest = false
}

/** Whether the SGL of a command that was parsed is one; a status. */
function nvmet_tcp_map_data(
  cmd: nvmet_tcp_command,
  inCapsule: boolean,
  length: number,
  data: number,
): number {
  const type = cmd.cmd[CMD_SGL_TYPE]!
  if (length === 0) return 0
  if (inCapsule) {
    if (!nvme_is_write(cmd.cmd)) return NVME_SC_INVALID_FIELD | DNR
    return length === data ? 0 : NVME_SC_SGL_INVALID_OFFSET | DNR
  }
  if (type !== NVME_TRANSPORT_SGL_DATA_DESC) return NVME_SC_SGL_INVALID_TYPE | DNR
  const { mdts } = cmd.queue.port.target.options
  return mdts > 0 && length > 4096 * (1 << mdts) ? NVME_SC_INVALID_FIELD | DNR : 0
}

/** A command that was parsed: it waits for its data, for a buffer, or is ready. */
function accept(cmd: nvmet_tcp_command, inCapsule: boolean, length: number, data: number): void {
  const { queue } = cmd
  const status = nvmet_tcp_map_data(cmd, inCapsule, length, data)
  if (status) {
    __nvmet_req_complete(cmd, status)
    return
  }
  cmd.sg = cmd.buffer
  cmd.transfer_len = length
  if (data > 0) queue.receiving = cmd
  else if (queue.hungry.length === 0 && get_buffer(cmd)) start_data(cmd)
  else go_hungry(cmd)
}

function go_hungry(cmd: nvmet_tcp_command): void {
  cmd.queue.hungry.push(cmd)
  wait_for_room(cmd.queue)
}

function nvmet_tcp_handle_h2c_data_pdu(
  queue: nvmet_tcp_queue,
  header: Uint8Array,
  data: number,
): 'ok' | pdu_violation {
  const { cid, ttag, offset } = data_fields_of(header)
  const cmd = queue.commands[ttag]
  if (cmd?.state !== DATA_IN || cmd.r2t_due) return violation(NVME_TCP_FES_INVALID_PDU_HDR, 10)
  if (get16(cmd.cmd, CMD_ID) !== cid) return violation(NVME_TCP_FES_INVALID_PDU_HDR, 8)
  if (offset !== cmd.rbytes_done) return violation(NVME_TCP_FES_DATA_OUT_OF_RANGE)
  if (data > queue.port.options.maxh2cdata) return violation(NVME_TCP_FES_DATA_LIMIT_EXCEEDED)
  if (offset + data > cmd.r2t_end) return violation(NVME_TCP_FES_DATA_OUT_OF_RANGE)
  queue.receiving = cmd
  return 'ok'
}

function on_data(queue: nvmet_tcp_queue, bytes: Uint8Array, from: number, to: number): void {
  const cmd = queue.receiving
  if (cmd === null) return
  const part = from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)
  if (cmd.beside !== null) cmd.beside.set(part, cmd.rbytes_done)
  else queue.port.target.blk.view.bytes.set(part, cmd.sg + cmd.rbytes_done)
  cmd.rbytes_done += to - from
}

function on_end(queue: nvmet_tcp_queue, header: Uint8Array, digest: boolean): 'ok' | pdu_violation {
  if (header[0] === nvme_tcp_h2c_term) {
    close(queue)
    return 'ok'
  }
  const cmd = queue.receiving
  if (cmd === null) return 'ok'
  queue.receiving = null
  if (!digest) cmd.bad_digest = true
  if (cmd.state === DATA_IN && cmd.rbytes_done < cmd.r2t_end) return 'ok'
  if (cmd.bad_digest) nvmet_req_complete(cmd, NVME_SC_TRANSIENT_TR_ERR)
  else if (cmd.rbytes_done < cmd.transfer_len) {
    cmd.r2t_due = true
    queue.resp_list.push(cmd)
  } else if (cmd.beside !== null) go_hungry(cmd)
  else queue.ready.push(cmd)
  return 'ok'
}

/** Reads what there is of one chunk; false when there was nothing, or nothing could be done with it. */
export function nvmet_tcp_try_recv(queue: nvmet_tcp_queue): boolean {
  const { sock, reader } = queue
  const { held } = reader
  const chunk = sock.recv() ?? (held ? NOTHING : null)
  if (chunk === null) return false
  const used = reader.feed(chunk)
  if (reader.failed) {
    if (!queue.closing) nvmet_tcp_fatal_error(queue, reader.failed)
    return false
  }
  if (used < chunk.length) sock.unread(chunk.subarray(used))
  return used > 0 || (held && !reader.held)
}
