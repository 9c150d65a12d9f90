// What the target's TCP transport sends: responses with their data, and R2Ts; drivers/nvme/target/tcp.c of Linux 5.10.

import { enter, leave } from '../../../kernel/trace.js'
import { wake_up } from '../../../kernel/wait.js'
import { get16 } from '../bytes.js'
import {
  NVME_TCP_F_DATA_LAST,
  NVME_TCP_F_DATA_SUCCESS,
  RSP_HLEN,
  nvme_tcp_c2h_data,
  pdu_length,
  put_data,
  put_r2t,
  put_rsp,
} from '../nvme-tcp.js'
import { CMD_ID, RSP_STATUS, nvme_is_write } from '../nvme.js'
import type { nvmet_req } from './nvmet.js'
import {
  EXECUTING,
  RESPONSE,
  kick,
  type nvmet_tcp_command,
  type nvmet_tcp_queue,
  put_cmd,
  queue_of,
} from './tcp-queue.js'

/** Bytes of PDUs that are put together before they are sent. */
const SEND_BYTES = 128 * 1024

// ---------------------------------------------------------------- sending

export function nvmet_tcp_queue_response(req: nvmet_req): void {
  const queue = queue_of(req)
  const t = enter(queue.io_work.k, 'nvmet_tcp_queue_response')
  const cmd = req as nvmet_tcp_command
  if (cmd.state === EXECUTING) queue.inflight--
  cmd.state = RESPONSE
  if (queue.closing) wake_up(queue.idle)
  else {
    queue.resp_list.push(cmd)
    kick(queue)
  }
  leave(queue.io_work.k, t)
}

/** Whether a response brings data with it. */
function has_data_in(cmd: nvmet_tcp_command): boolean {
  const good = get16(cmd.rsp, RSP_STATUS) >> 1 === 0
  return good && cmd.buffer_len > 0 && !nvme_is_write(cmd.cmd)
}

function response_bytes(cmd: nvmet_tcp_command): number {
  const { digests } = cmd.queue
  const rsp = pdu_length(RSP_HLEN, 0, digests)
  if (cmd.r2t_due || !has_data_in(cmd)) return rsp
  const data = pdu_length(RSP_HLEN, cmd.transfer_len, digests)
  return cmd.queue.nvme_sq.sqhd_disabled ? data : data + rsp
}

function put_response(cmd: nvmet_tcp_command, out: Uint8Array, at: number): number {
  const { queue } = cmd
  const { digests } = queue
  const cid = get16(cmd.cmd, CMD_ID)
  if (!has_data_in(cmd)) return put_rsp(out, at, cmd.rsp, digests)
  const { view } = queue.port.target.blk
  const data = view.bytes.subarray(cmd.sg, cmd.sg + cmd.transfer_len)
  const fields = { cid, ttag: 0, offset: 0, length: data.length }
  const success = queue.nvme_sq.sqhd_disabled ? NVME_TCP_F_DATA_SUCCESS : 0
  const flags = NVME_TCP_F_DATA_LAST | success
  const end = put_data(out, at, nvme_tcp_c2h_data, flags, fields, data, digests)
  return success ? end : put_rsp(out, end, cmd.rsp, digests)
}

function put_next_r2t(cmd: nvmet_tcp_command, out: Uint8Array, at: number): number {
  const { maxh2cdata } = cmd.queue.port.options
  const offset = cmd.rbytes_done
  const length = Math.min(cmd.transfer_len - offset, maxh2cdata)
  cmd.r2t_end = offset + length
  cmd.r2t_due = false
  const fields = { cid: get16(cmd.cmd, CMD_ID), ttag: cmd.ttag, offset, length }
  return put_r2t(out, at, fields, cmd.queue.digests)
}

/** Sends some responses in one piece; false when there are none, or the socket takes no more. */
export function nvmet_tcp_try_send(queue: nvmet_tcp_queue): boolean {
  const { resp_list, sock } = queue
  if (resp_list.length === 0 || queue.closing || !sock.sk_stream_is_writeable()) return false
  let bytes = 0
  let count = 0
  while (count < resp_list.length && (count === 0 || bytes < SEND_BYTES))
    bytes += response_bytes(resp_list[count++]!)
  const list = resp_list.splice(0, count)
  sock.sendmsg(bytes, (out, from) => {
    let at = from
    for (const cmd of list) {
      at = cmd.r2t_due ? put_next_r2t(cmd, out, at) : put_response(cmd, out, at)
      if (cmd.state === RESPONSE) put_cmd(cmd)
    }
  })
  return true
}
