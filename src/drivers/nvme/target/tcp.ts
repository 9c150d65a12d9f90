// The TCP transport of the target: drivers/nvme/target/tcp.c of Linux 5.10 (4.19 has none), with the specification's
// C2HTermReq where nvmet only shuts the socket.
//
// One socket is one queue. Its work, nvmet_tcp_io_work on nvmet_tcp_wq, receives, executes and sends until there is
// nothing to do or its budget is used up:
//
//   ICReq        pfv 0, hpda 0, else TermReq 6; answered with cpda 0 and MAXH2CDATA
//   CapsuleCmd   nvmet_req_init; data in the capsule go straight into the request's buffer, also those of a command that
//                was refused (they are dropped). A write whose data are not in the capsule gets R2Ts of at most MAXH2CDATA,
//                one at a time; a read is executed as soon as there is a buffer
//   H2CData      must continue exactly where the R2T's data stand, else TermReq 1 (unknown tag), 4 (offset) or 5 (too much)
//   response     C2HData, all in one, then CapsuleResp; or C2HData with SUCCESS alone where SQ flow control is disabled
//
// A wrong data digest spoils its command (022), nothing else. Every other violation ends the connection: TermReq, then
// the socket is closed.
//
// Memory: buffers come from one pool (sgl-pool.ts), of which a queue may hold a part at most; a queue has as many commands
// as it has entries, and sends only while its socket is writeable. What cannot go on waits, and while a command waits for
// room for data in its capsule nothing is read from its socket.

import { NVME_SC_DNR, NVME_SC_INVALID_FIELD } from '../../../../assembly/nvme.js'
import type { Sleep } from '../../../kernel/core.js'
import { enter, leave } from '../../../kernel/trace.js'
import { wait_event, wait_queue_head, wake_up } from '../../../kernel/wait.js'
import { alloc_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_delayed_work } from '../../../kernel/workqueue-cancel.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  queue_work,
  schedule_delayed_work,
  schedule_work,
} from '../../../kernel/workqueue-queue.js'
import {
  delayed_work,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import { get16, get32 } from '../bytes.js'
import {
  CMD_ID,
  CMD_SGL_LENGTH,
  CMD_SGL_TYPE,
  NVME_AQ_DEPTH,
  NVME_SC_SGL_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SC_TRANSIENT_TR_ERR,
  NVME_SGL_FMT_OFFSET,
  NVME_TRANSPORT_SGL_DATA_DESC,
  NVMF_TRTYPE_TCP,
  nvme_is_write,
  RSP_STATUS,
} from '../nvme.js'
import {
  data_fields_of,
  ic_of,
  icresp_pdu,
  NVME_TCP_ADMIN_CCSZ,
  NVME_TCP_F_DATA_LAST,
  NVME_TCP_F_DATA_SUCCESS,
  NVME_TCP_FES_DATA_LIMIT_EXCEEDED,
  NVME_TCP_FES_DATA_OUT_OF_RANGE,
  NVME_TCP_FES_INVALID_PDU_HDR,
  NVME_TCP_FES_UNSUPPORTED_PARAM,
  nvme_tcp_c2h_data,
  nvme_tcp_c2h_term,
  nvme_tcp_cmd,
  nvme_tcp_h2c_data,
  nvme_tcp_h2c_term,
  nvme_tcp_icreq,
  nvme_tcp_reader,
  type pdu_digests,
  pdu_length,
  type pdu_sink,
  type pdu_violation,
  put_data,
  put_r2t,
  put_rsp,
  RSP_HLEN,
  term_pdu,
  violation,
} from '../nvme-tcp.js'
import { kernel_sendmsg, type socket } from '../socket.js'
import {
  __nvmet_req_complete,
  nvmet_async_events_free,
  nvmet_ctrl_fatal_error,
  nvmet_enable_port,
  nvmet_req_complete,
  nvmet_req_execute,
  nvmet_req_init,
  nvmet_sq_destroy,
} from './core.js'
import {
  type nvmet,
  nvmet_cq,
  type nvmet_ctrl,
  type nvmet_port,
  nvmet_req,
  nvmet_sq,
  type nvmet_subsys,
} from './nvmet.js'
import { NVMET_PARSERS } from './parsers.js'
import type { sgl_pool } from './sgl-pool.js'

const DNR = NVME_SC_DNR
/** Rounds of receiving and sending in one go of a queue's work. */
const IO_WORK_BUDGET = 64
/** Bytes of PDUs that are put together before they are sent. */
const SEND_BYTES = 128 * 1024
/** Seconds that a connection may take to become a queue. */
const CONNECT_SECONDS = 30
/** A queue may hold this share of the pool. */
const QUEUE_SHARE = 4
const NOTHING = new Uint8Array(0)

/** What a port is made with. */
export interface nvmet_tcp_options {
  readonly portid: number
  readonly adrfam: number
  readonly traddr: string
  readonly trsvcid: string
  /** Bytes that an I/O capsule may carry, a multiple of 16. */
  readonly inline_data_size: number
  readonly maxh2cdata: number
  /** Connections at once; more are closed as they come. */
  readonly max_queues: number
  readonly pool: sgl_pool
  /** Address for the discovery log as a connection sees it. */
  readonly local_address?: (sock: socket) => string | null
}

/** One listening address. */
export class nvmet_tcp_port {
  readonly target: nvmet
  readonly options: nvmet_tcp_options
  readonly nport: nvmet_port
  readonly queues: Set<nvmet_tcp_queue> = new Set()
  readonly wq: workqueue_struct

  constructor(target: nvmet, options: nvmet_tcp_options, subsystems: readonly nvmet_subsys[]) {
    this.target = target
    this.options = options
    const wq = alloc_workqueue(target.blk.k, 'nvmet_tcp_wq', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
    if (wq === null) throw new Error('nvmet_tcp_wq could not be made')
    this.wq = wq
    const { portid, adrfam, traddr, trsvcid, inline_data_size, local_address } = options
    const address = { portid, trtype: NVMF_TRTYPE_TCP, adrfam, traddr, trsvcid }
    const sock_of = (req: nvmet_req): socket => queue_of(req).sock
    this.nport = nvmet_enable_port(
      target,
      address,
      {
        type: NVMF_TRTYPE_TCP,
        msdbd: 1,
        has_keyed_sgls: false,
        inline_data_size,
        queue_response: nvmet_tcp_queue_response,
        delete_ctrl: ctrl => nvmet_tcp_delete_ctrl(this, ctrl),
        ...(local_address
          ? { disc_traddr: req => local_address(sock_of(req)) ?? options.traddr }
          : {}),
      },
      subsystems,
    )
  }
}

const FREE = 0
/** Parsed; its data in the capsule are coming in, or it waits for a buffer. */
const PARSED = 1
const DATA_IN = 2
const EXECUTING = 3
const RESPONSE = 4

class nvmet_tcp_command extends nvmet_req {
  readonly queue: nvmet_tcp_queue
  /** Its number, which is its transfer tag. */
  readonly ttag: number
  state: number = FREE
  /** Its buffer: address and bytes; 0 = none. */
  buffer = 0
  buffer_len = 0
  /** Bytes of data that have come. */
  rbytes_done = 0
  /** End of what the last R2T asked for. */
  r2t_end = 0
  r2t_due = false
  bad_digest = false

  constructor(queue: nvmet_tcp_queue, ttag: number) {
    super()
    this.queue = queue
    this.ttag = ttag
  }
}

function queue_of(req: nvmet_req): nvmet_tcp_queue {
  if (req instanceof nvmet_tcp_command) return req.queue
  throw new Error('a request of another transport came to nvmet_tcp')
}

/** One connection. */
export class nvmet_tcp_queue {
  readonly port: nvmet_tcp_port
  readonly sock: socket
  readonly reader: nvme_tcp_reader
  readonly nvme_cq: nvmet_cq = new nvmet_cq()
  readonly nvme_sq: nvmet_sq
  readonly io_work: work_struct<nvmet_tcp_queue>
  readonly release_work: work_struct<nvmet_tcp_queue>
  readonly connect_work: delayed_work<nvmet_tcp_queue>
  readonly idle: wait_queue_head
  digests: pdu_digests = { hdr_digest: false, data_digest: false }
  readonly commands: nvmet_tcp_command[] = []
  readonly free: nvmet_tcp_command[] = []
  /** In the order of their ends; R2Ts that are due among them. */
  readonly resp_list: nvmet_tcp_command[] = []
  /** Ready to be executed. */
  readonly ready: nvmet_tcp_command[] = []
  /** In need of a buffer. */
  readonly hungry: nvmet_tcp_command[] = []
  /** Bytes of the pool. */
  held = 0
  /** Executing: their end comes from elsewhere. */
  inflight = 0
  closing = false
  waits = false
  /** Whose data are coming; null = they are dropped. */
  receiving: nvmet_tcp_command | null = null

  constructor(port: nvmet_tcp_port, sock: socket) {
    const { k } = port.target.blk
    this.port = port
    this.sock = sock
    this.nvme_sq = new nvmet_sq(this)
    this.reader = new nvme_tcp_reader('host', sink_of(this))
    this.io_work = new work_struct<nvmet_tcp_queue>(k, this)
    this.release_work = new work_struct<nvmet_tcp_queue>(k, this)
    this.connect_work = new delayed_work<nvmet_tcp_queue>(k, this)
    this.idle = new wait_queue_head(k, 'commands of a closing queue')
  }

  /** Commands that may be outstanding: as many as the queue has entries. */
  get nr_cmds(): number {
    return this.nvme_sq.size || NVME_AQ_DEPTH
  }
}

// ---------------------------------------------------------------- connections

/** A connection came in. */
export function nvmet_tcp_alloc_queue(port: nvmet_tcp_port, sock: socket): nvmet_tcp_queue | null {
  const { k } = port.target.blk
  const t = enter(k, 'nvmet_tcp_alloc_queue')
  if (port.queues.size >= port.options.max_queues) {
    sock.sock_release()
    return leave(k, t, null)
  }
  const queue = new nvmet_tcp_queue(port, sock)
  INIT_WORK(queue.io_work, nvmet_tcp_io_work)
  INIT_WORK(queue.release_work, nvmet_tcp_release_queue_work)
  INIT_DELAYED_WORK(queue.connect_work, nvmet_tcp_connect_timeout)
  schedule_delayed_work(k, queue.connect_work, CONNECT_SECONDS * k.hz)
  port.queues.add(queue)
  sock.sk_data_ready = () => nvmet_tcp_data_ready(queue)
  sock.sk_write_space = () => kick(queue)
  sock.sk_state_change = () => nvmet_tcp_state_change(queue)
  if (sock.closed) close(queue)
  else kick(queue)
  return leave(k, t, queue)
}

function kick(queue: nvmet_tcp_queue): void {
  queue_work(queue.port.wq, queue.io_work)
}

function nvmet_tcp_data_ready(queue: nvmet_tcp_queue): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_data_ready')
  kick(queue)
  leave(queue.io_work.k, t)
}

function nvmet_tcp_state_change(queue: nvmet_tcp_queue): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_state_change')
  if (queue.sock.closed) close(queue)
  leave(queue.io_work.k, t)
}

/** Nobody connected a queue over this connection. */
function nvmet_tcp_connect_timeout(work: work_struct<nvmet_tcp_queue>): void {
  const queue = work.container
  if (queue.nvme_sq.ctrl === null) close(queue)
}

function nvmet_tcp_delete_ctrl(port: nvmet_tcp_port, ctrl: nvmet_ctrl): void {
  const { k } = port.target.blk
  const t = enter(k, 'nvmet_tcp_delete_ctrl')
  for (const queue of port.queues) if (queue.nvme_sq.ctrl === ctrl) close(queue)
  leave(k, t)
}

/** The queue is done for: nothing more is read or sent. */
function close(queue: nvmet_tcp_queue): void {
  if (queue.closing) return
  queue.closing = true
  queue.sock.sk_data_ready = () => {}
  queue.sock.sk_write_space = () => {}
  queue.sock.sk_state_change = () => {}
  queue.sock.kernel_sock_shutdown()
  schedule_work(queue.io_work.k, queue.release_work)
}

function* nvmet_tcp_release_queue_work(work: work_struct<nvmet_tcp_queue>): Sleep<void> {
  const queue = work.container
  const { port } = queue
  const t = enter(work.k, 'nvmet_tcp_release_queue_work')
  cancel_delayed_work(queue.connect_work)
  for (const list of [queue.resp_list, queue.ready, queue.hungry]) list.length = 0
  const { ctrl } = queue.nvme_sq
  if (ctrl && queue.nvme_sq.qid === 0) queue.inflight -= nvmet_async_events_free(ctrl)
  yield* wait_event(queue.idle, () => queue.inflight === 0)
  nvmet_sq_destroy(port.target, queue.nvme_sq)
  for (const cmd of queue.commands) put_buffer(cmd)
  port.queues.delete(queue)
  leave(work.k, t)
}

/** The peer broke a rule: it is told which, and that was it. */
function nvmet_tcp_fatal_error(queue: nvmet_tcp_queue, what: pdu_violation): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_fatal_error')
  kernel_sendmsg(queue.sock, term_pdu(nvme_tcp_c2h_term, what, queue.reader.header))
  const { ctrl } = queue.nvme_sq
  if (ctrl) nvmet_ctrl_fatal_error(ctrl)
  close(queue)
  leave(queue.io_work.k, t)
}

// ---------------------------------------------------------------- buffers

/** Gets the buffer of a command; false when it has to wait. */
function get_buffer(cmd: nvmet_tcp_command): boolean {
  const { queue, transfer_len } = cmd
  if (transfer_len === 0) return true
  const { pool } = queue.port.options
  const size = pool.rounded(transfer_len)
  const room = queue.held === 0 || queue.held + size <= pool.bytes / QUEUE_SHARE
  const sg = room ? pool.alloc(transfer_len) : 0
  if (sg === 0) return false
  hold(cmd, sg, transfer_len)
  cmd.sg = sg
  return true
}

function hold(cmd: nvmet_tcp_command, sg: number, bytes: number): void {
  cmd.buffer = sg
  cmd.buffer_len = bytes
  cmd.queue.held += cmd.queue.port.options.pool.rounded(bytes)
}

function put_buffer(cmd: nvmet_tcp_command): void {
  if (cmd.buffer_len === 0) return
  const { pool } = cmd.queue.port.options
  const { buffer, buffer_len } = cmd
  cmd.queue.held -= pool.rounded(buffer_len)
  cmd.buffer = 0
  cmd.buffer_len = 0
  pool.free(buffer, buffer_len)
}

/** The queue goes on when there is room again. */
function wait_for_room(queue: nvmet_tcp_queue): void {
  if (queue.waits) return
  queue.waits = true
  queue.port.options.pool.wait(() => {
    queue.waits = false
    if (!queue.closing) kick(queue)
  })
}

/** Gives buffers to commands that lack one, oldest first. */
function feed_hungry(queue: nvmet_tcp_queue): boolean {
  const { hungry } = queue
  let fed = false
  while (hungry.length > 0 && get_buffer(hungry[0]!)) {
    start_data(hungry.shift()!)
    fed = true
  }
  if (hungry.length > 0) wait_for_room(queue)
  return fed
}

/** A command has its buffer: its data are asked for, or it can be executed. */
function start_data(cmd: nvmet_tcp_command): void {
  if (nvme_is_write(cmd.cmd) && cmd.transfer_len > 0) {
    cmd.state = DATA_IN
    cmd.r2t_due = true
    cmd.queue.resp_list.push(cmd)
  } else cmd.queue.ready.push(cmd)
}

// ---------------------------------------------------------------- receiving

function sink_of(queue: nvmet_tcp_queue): pdu_sink {
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

function get_cmd(queue: nvmet_tcp_queue): nvmet_tcp_command | null {
  const free = queue.free.pop()
  if (free) return free
  if (queue.commands.length >= queue.nr_cmds) return null
  const cmd = new nvmet_tcp_command(queue, queue.commands.length)
  queue.commands.push(cmd)
  return cmd
}

function put_cmd(cmd: nvmet_tcp_command): void {
  put_buffer(cmd)
  cmd.state = FREE
  cmd.queue.free.push(cmd)
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
  const { pool } = queue.port.options
  const room =
    data === 0 || queue.held === 0 || queue.held + pool.rounded(data) <= pool.bytes / QUEUE_SHARE
  const sg = data > 0 && room ? pool.alloc(data) : 0
  if (data > 0 && sg === 0) {
    wait_for_room(queue)
    return 'wait'
  }
  const cmd = get_cmd(queue)
  if (cmd === null) {
    if (sg) pool.free(sg, data)
    return 'wait'
  }
  begin(cmd, header)
  if (sg) hold(cmd, sg, data)
  if (!nvmet_req_init(cmd, queue.port.nport, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS))
    return 'ok'
  accept(cmd, inCapsule, length, data, sg)
  return 'ok'
}

function begin(cmd: nvmet_tcp_command, header: Uint8Array): void {
  cmd.cmd.set(header.subarray(8, 72))
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
  return mdts > 0 && length > 4096 * 2 ** mdts ? NVME_SC_INVALID_FIELD | DNR : 0
}

/** A command that was parsed: it waits for its data, for a buffer, or is ready. */
function accept(
  cmd: nvmet_tcp_command,
  inCapsule: boolean,
  length: number,
  data: number,
  sg: number,
): void {
  const { queue } = cmd
  const status = nvmet_tcp_map_data(cmd, inCapsule, length, data)
  if (status) {
    __nvmet_req_complete(cmd, status)
    return
  }
  cmd.sg = sg
  cmd.transfer_len = length
  if (data > 0) queue.receiving = cmd
  else if (queue.hungry.length === 0 && get_buffer(cmd)) start_data(cmd)
  else {
    queue.hungry.push(cmd)
    wait_for_room(queue)
  }
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
  const { view } = queue.port.target.blk
  const part = from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)
  view.bytes.set(part, cmd.sg + cmd.rbytes_done)
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
  } else queue.ready.push(cmd)
  return 'ok'
}

/** Reads what there is of one chunk; false when there was nothing, or nothing could be done with it. */
function nvmet_tcp_try_recv(queue: nvmet_tcp_queue): boolean {
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

// ---------------------------------------------------------------- sending

function nvmet_tcp_queue_response(req: nvmet_req): void {
  const queue = queue_of(req)
  const t = enter(queue.io_work.k, 'nvmet_tcp_queue_response')
  const cmd = req as nvmet_tcp_command
  if (cmd.state === EXECUTING) queue.inflight--
  cmd.state = RESPONSE
  if (queue.closing) {
    if (queue.inflight === 0) wake_up(queue.idle)
  } else {
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
function nvmet_tcp_try_send(queue: nvmet_tcp_queue): boolean {
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

// ---------------------------------------------------------------- the work

function* execute_ready(queue: nvmet_tcp_queue): Sleep<void> {
  while (queue.ready.length > 0 && !queue.closing) {
    const cmd = queue.ready.shift()!
    cmd.state = EXECUTING
    queue.inflight++
    const sleep = nvmet_req_execute(cmd)
    if (sleep !== undefined) yield* sleep
  }
}

function* nvmet_tcp_io_work(work: work_struct<nvmet_tcp_queue>): Sleep<void> {
  const queue = work.container
  const t = enter(work.k, 'nvmet_tcp_io_work')
  let pending = true
  for (let round = 0; pending && round < IO_WORK_BUDGET && !queue.closing; round++) {
    pending = nvmet_tcp_try_recv(queue)
    if (feed_hungry(queue)) pending = true
    if (queue.ready.length > 0) {
      yield* execute_ready(queue)
      pending = true
    }
    while (nvmet_tcp_try_send(queue)) pending = true
  }
  if (pending && !queue.closing) kick(queue)
  leave(work.k, t)
}
