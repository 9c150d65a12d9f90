// NVMe/TCP, the host: drivers/nvme/host/tcp.c of Linux 5.10 (4.19 has none) on 4.19's core.
//
// A queue is a socket. queue_rq writes the command, decides where its data go and puts the request on the queue's list;
// nvme_tcp_io_work on nvme_tcp_wq sends what is on the list, as much as the socket takes, and reads what came.
//
//   ICReq → ICResp     length, version, digests as asked for, cpda 0, MAXH2CDATA at least 4096; at most 10 s
//   write              in the capsule if it fits (admin: 8192 bytes; I/O: IOCCSZ * 16 - 64), SGL 01; else SGL 5A, and
//                      H2CData when an R2T asks for it, in PDUs of at most MAXH2CDATA
//   read               SGL 5A; C2HData go into the request's memory as they come
//   response           CapsuleResp, or SUCCESS on the last C2HData
//
// What is no legal PDU, or none of a request that is out, ends the connection: error recovery (fabrics-ctrl.ts).
// Command identifiers are tags; the Asynchronous Event Request has 31.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_OK } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { planned_memory } from '../../../block/blk-mq-init.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import { completion, complete, wait_for_completion_timeout } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, ENOMEM, ETIMEDOUT } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { alloc_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import { INIT_WORK, queue_work_on } from '../../../kernel/workqueue-queue.js'
import {
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  CMD_BYTES,
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
import {
  CMD_PDU_HLEN,
  data_fields_of,
  ic_of,
  icreq_pdu,
  NVME_TCP_ADMIN_CCSZ,
  NVME_TCP_F_DATA_LAST,
  NVME_TCP_F_DATA_SUCCESS,
  NVME_TCP_FES_INVALID_PDU_HDR,
  NVME_TCP_FES_UNSUPPORTED_PARAM,
  NVME_TCP_MIN_MAXH2CDATA,
  nvme_tcp_c2h_data,
  nvme_tcp_c2h_term,
  nvme_tcp_h2c_data,
  nvme_tcp_h2c_term,
  nvme_tcp_icresp,
  nvme_tcp_r2t,
  nvme_tcp_reader,
  nvme_tcp_rsp,
  type pdu_digests,
  pdu_length,
  type pdu_sink,
  type pdu_violation,
  put_cmd,
  put_data,
  RSP_HLEN,
  term_pdu,
  violation,
} from '../nvme-tcp.js'
import { kernel_sendmsg, type socket } from '../socket.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_complete_async_event } from './core-event.js'
import {
  NVMF_AEN_CID,
  nvmf_error_recovery,
  nvmf_life,
  nvmf_life_create,
  type nvmf_lower,
  type nvmf_names,
} from './fabrics-ctrl.js'
import {
  nvmf_check_duplicate,
  nvmf_check_ready,
  nvmf_fail_nonready_command,
  type nvmf_module,
  nvmf_register_transport,
  type nvmf_transport_ops,
} from './fabrics.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import type { nvme_ctrl } from './nvme.js'
import { nvme_end_request, nvme_finish_rq, nvme_setup_cmd, rq_pieces } from './setup-cmd.js'

/** Seconds for ICResp. */
const IC_TIMEOUT_S = 10
/** Seconds for a connection. */
const SYN_TIMEOUT_S = 10
const SEND_BYTES = 128 * 1024
const IO_WORK_BUDGET = 64
const NOTHING = new Uint8Array(0)

/** How this machine makes connections: `done` gets the socket, or -errno. */
export type nvme_tcp_connector = (
  traddr: string,
  trsvcid: string,
  done: (result: socket | number) => void,
) => void

/** The module nvme_tcp of one kernel. */
export interface nvme_tcp_module {
  readonly f: nvmf_module
  readonly wq: workqueue_struct
  readonly ctrls: nvmf_life[]
  readonly connect: nvme_tcp_connector
  readonly transport: nvmf_transport_ops
  readonly memory: planned_memory | null
}

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

// ---------------------------------------------------------------- requests

/** struct nvme_tcp_request: what is out under a tag. */
class nvme_tcp_request {
  readonly cmd: Uint8Array = new Uint8Array(CMD_BYTES)
  /** 0 = the Asynchronous Event Request. */
  rq = 0
  q: request_queue | null = null
  /** Whether an answer may come: sent, and not ended. */
  out = false
  pieces: readonly { readonly data: number; readonly bytes: number }[] = []
  data_len = 0
  inline = false
  /** Bytes that came in, or were asked for by R2Ts. */
  done = 0
  /** What an R2T asks for now. */
  r2t: { ttag: number; offset: number; length: number } | null = null
}

class nvme_tcp_queue {
  readonly life: nvmf_life
  readonly qid: number
  readonly size: number
  readonly sock: socket
  readonly reader: nvme_tcp_reader
  readonly io_work: work_struct<nvme_tcp_queue>
  readonly wq: workqueue_struct
  readonly io_cpu: number
  readonly requests: Map<number, nvme_tcp_request> = new Map()
  readonly pool: nvme_tcp_request[] = []
  /** To be sent, in order: commands, and requests whose data were asked for. */
  readonly send_list: nvme_tcp_request[] = []
  readonly init: completion
  digests: pdu_digests = { hdr_digest: false, data_digest: false }
  /** 0 until ICResp; -1: it was not acceptable. */
  maxh2cdata = 0
  stopped = false
  receiving: nvme_tcp_request | null = null

  constructor(m: nvme_tcp_module, life: nvmf_life, qid: number, size: number, sock: socket) {
    const { k } = life.ctrl
    this.life = life
    this.qid = qid
    this.size = size
    this.sock = sock
    this.wq = m.wq
    this.io_cpu = qid === 0 ? 0 : (qid - 1) % k.cpus.length
    this.reader = new nvme_tcp_reader('controller', sink_of(this))
    this.io_work = new work_struct<nvme_tcp_queue>(k, this)
    this.init = new completion(k, 'ICResp')
    INIT_WORK(this.io_work, nvme_tcp_io_work)
  }
}

function kick(queue: nvme_tcp_queue): void {
  queue_work_on(queue.io_cpu, queue.wq, queue.io_work)
}

/** Bytes of data that a command of this queue may carry itself. */
function inline_data_size(queue: nvme_tcp_queue): number {
  if (queue.qid === 0) return NVME_TCP_ADMIN_CCSZ
  return Math.max(0, queue.life.ctrl.ioccsz * 16 - CMD_BYTES)
}

function take_request(queue: nvme_tcp_queue, cid: number): nvme_tcp_request {
  const req = queue.pool.pop() ?? new nvme_tcp_request()
  req.rq = 0
  req.q = null
  req.pieces = []
  req.data_len = 0
  req.inline = false
  req.done = 0
  req.r2t = null
  req.out = true
  queue.requests.set(cid, req)
  return req
}

/** What came is the answer: the request is over as far as this queue is concerned. */
function end_request(queue: nvme_tcp_queue, cid: number, rsp: Uint8Array | null): boolean {
  const req = queue.requests.get(cid)
  if (req === undefined || !req.out || queue.stopped) return false
  queue.requests.delete(cid)
  req.out = false
  const status = rsp ? get16(rsp, 14) >> 1 : 0
  const [low, high] = rsp ? [get32(rsp, 0), get32(rsp, 4)] : [0, 0]
  const { rq, q } = req
  // It may be on the list still: an answer before all was sent.
  const at = queue.send_list.indexOf(req)
  if (at >= 0) queue.send_list.splice(at, 1)
  queue.pool.push(req)
  if (rq === 0) nvme_complete_async_event(queue.life.ctrl, status, low)
  else nvme_end_request(q!, rq, status, low, high)
  return true
}

// ---------------------------------------------------------------- submission

function nvme_tcp_queue_rq(
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
    queue.requests.delete(cid)
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
  req.data_len = req.pieces.reduce((sum, { bytes }) => sum + bytes, 0)
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

function nvme_tcp_submit_async_event(m: nvme_tcp_module, c: nvmf_life): void {
  const queue = queues_of(m, c)[0]
  if (queue === undefined || queue.stopped || queue.requests.has(NVMF_AEN_CID)) return
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
function nvme_tcp_try_send(queue: nvme_tcp_queue): boolean {
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

// ---------------------------------------------------------------- receiving

function sink_of(queue: nvme_tcp_queue): pdu_sink {
  return {
    header: (header, data) => on_header(queue, header, data),
    data: (bytes, from, to) => on_data(queue, bytes, from, to),
    end: (header, digest) => on_end(queue, header, digest),
  }
}

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
  const { cid } = data_fields_of(header)
  const req = queue.requests.get(cid)
  if (req === undefined || !req.out || req.rq === 0) return UNKNOWN_CID
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
  const req = queue.requests.get(cid)
  if (req === undefined || !req.out || req.rq === 0 || !nvme_is_write(req.cmd)) return UNKNOWN_CID
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
    const rsp = header.slice(8, 24)
    return end_request(queue, get16(rsp, 12), rsp) ? 'ok' : UNKNOWN_CID
  }
  const success = type === nvme_tcp_c2h_data && (header[1]! & NVME_TCP_F_DATA_SUCCESS) !== 0
  queue.receiving = null
  if (success) return end_request(queue, get16(header, 8), null) ? 'ok' : UNKNOWN_CID
  return 'ok'
}

function nvme_tcp_try_recv(queue: nvme_tcp_queue): boolean {
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

function failed(queue: nvme_tcp_queue): void {
  complete(queue.init)
  nvmf_error_recovery(queue.life)
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

// ---------------------------------------------------------------- connections

function queues_of(m: nvme_tcp_module, c: nvmf_life): (nvme_tcp_queue | undefined)[] {
  return (m as tcp_state).queues.get(c)!
}

interface tcp_state extends nvme_tcp_module {
  readonly queues: Map<nvmf_life, (nvme_tcp_queue | undefined)[]>
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
  const queue = new nvme_tcp_queue(m, c, qid, size, sock)
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
    check: c => (c.ctrl.icdoff === 0 ? 0 : -EINVAL),
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
  const c = new nvmf_life(m.f, opts, lower_of(m), { err: nvme_reset_wq, reconnect: nvme_wq })
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
