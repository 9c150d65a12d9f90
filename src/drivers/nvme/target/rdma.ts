// The RDMA transport of the target: drivers/nvme/target/rdma.c of Linux 4.19, over the verbs of src/drivers/nvme/verbs.ts.
//
//   CONNECT_REQUEST   the private data say which queue and how deep; a queue pair with a receive for each command; accept
//   recv_done         a capsule: parse, map its SGL (in the capsule at an offset, or a keyed piece of the host's memory)
//   execute           data of a write are read from the host first; then the command runs. Its work requests must find room in
//                     the send queue, else it waits until others have completed
//   queue_response    data of a read are written to the host, then the response is sent, with a new receive posted; the host's
//                     key becomes worthless with it, if the command allows that
//   DISCONNECTED      the queue is released by a work

import { PAGE_SIZE } from '../../../../assembly/layout.js'
import { NVME_SC_DNR, NVME_SC_INVALID_FIELD } from '../../../../assembly/nvme.js'
import type { Sleep } from '../../../kernel/core.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event, wait_queue_head, wake_up } from '../../../kernel/wait.js'
import { INIT_WORK, schedule_work } from '../../../kernel/workqueue-queue.js'
import { flush_scheduled_work } from '../../../kernel/workqueue-flush.js'
import { work_struct } from '../../../kernel/workqueue-structs.js'
import { get16, get32, get64 } from '../bytes.js'
import {
  CMD_BYTES,
  CMD_SGL_ADDR,
  CMD_SGL_LENGTH,
  CMD_SGL_TYPE,
  NVME_KEY_SGL_FMT_DATA_DESC,
  NVME_KEY_SGL_FMT_INVALIDATE,
  NVME_SC_SGL_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SGL_FMT_OFFSET,
  NVMF_TRTYPE_RDMA,
  nvme_is_write,
  RSP_STATUS,
} from '../nvme.js'
import {
  type ib_done,
  type ib_rdma_wr,
  type ib_send_wr,
  type ib_wc,
  type ib_wc_status,
  RDMA_CM_REQ_BYTES,
  RDMA_REJECT,
  type rdma_cm_id,
  type rdma_event,
  type rdma_fabric,
} from '../verbs.js'
import {
  __nvmet_req_complete,
  nvmet_async_events,
  nvmet_ctrl_fatal_error,
  nvmet_enable_port,
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

const DNR = NVME_SC_DNR
const INLINE_BYTES = 4096
/** Largest transfer of one command. */
const MAX_TRANSFER = 2 ** 20

/** One listening address. */
export class nvmet_rdma_port {
  readonly target: nvmet
  readonly fabric: rdma_fabric
  readonly address: string
  readonly nport: nvmet_port
  readonly queues: Set<nvmet_rdma_queue> = new Set()

  constructor(
    target: nvmet,
    fabric: rdma_fabric,
    traddr: string,
    trsvcid: string,
    subsystems: readonly nvmet_subsys[],
  ) {
    this.target = target
    this.fabric = fabric
    this.address = `${traddr}:${trsvcid}`
    const where = { portid: 1, trtype: NVMF_TRTYPE_RDMA, adrfam: 1, traddr, trsvcid }
    const ops = {
      type: NVMF_TRTYPE_RDMA,
      msdbd: 1,
      has_keyed_sgls: true,
      inline_data_size: INLINE_BYTES,
      queue_response: nvmet_rdma_queue_response,
      delete_ctrl: (ctrl: nvmet_ctrl) => nvmet_rdma_delete_ctrl(this, ctrl),
    }
    this.nport = nvmet_enable_port(target, where, ops, subsystems)
  }

  listen(): void {
    this.fabric.rdma_listen(this.address, event => nvmet_rdma_cm_handler(this, event))
  }

  /** Nobody can connect any more, and who is connected is thrown out. */
  remove(): void {
    this.fabric.rdma_unlisten(this.address)
    for (const queue of [...this.queues]) __nvmet_rdma_queue_disconnect(queue)
  }
}

class nvmet_rdma_rsp extends nvmet_req {
  readonly queue: nvmet_rdma_queue
  /** The host's memory and its key: of a keyed descriptor. */
  remote: { readonly addr: number; readonly key: number } | null = null
  /** NVMET_RDMA_REQ_INVALIDATE_RKEY. */
  invalidates = false
  /** A buffer for the data. */
  buffer = 0
  /** RDMA reads or writes that it takes, and places that it has in the send queue. */
  n_rdma = 0
  places = 0
  /** What it does when it finds places. */
  waits_to: 'execute' | 'respond' = 'execute'

  constructor(queue: nvmet_rdma_queue) {
    super()
    this.queue = queue
  }
}

class nvmet_rdma_queue {
  readonly port: nvmet_rdma_port
  readonly cm_id: rdma_cm_id
  /** Commands that it may have. */
  readonly depth: number
  readonly nvme_cq: nvmet_cq = new nvmet_cq()
  readonly nvme_sq: nvmet_sq
  readonly release_work: work_struct<nvmet_rdma_queue>
  readonly free: nvmet_rdma_rsp[] = []
  /** Places in the send queue that nobody has, and who waits for some. */
  sq_wr_avail = 0
  readonly rsp_wr_wait_list: nvmet_rdma_rsp[] = []
  readonly idle: wait_queue_head
  inflight = 0
  gone = false

  constructor(port: nvmet_rdma_port, cm_id: rdma_cm_id, depth: number) {
    const { k } = port.target.blk
    this.port = port
    this.depth = depth
    this.cm_id = cm_id
    this.nvme_sq = new nvmet_sq(this)
    this.idle = new wait_queue_head(k, 'commands of a queue that goes')
    this.release_work = new work_struct<nvmet_rdma_queue>(k, this)
    INIT_WORK(this.release_work, nvmet_rdma_release_queue_work)
  }
}

// ---------------------------------------------------------------- connections

function nvmet_rdma_cm_handler(port: nvmet_rdma_port, { event, data, id }: rdma_event): void {
  const { k } = port.target.blk
  const t = enter(k, 'nvmet_rdma_cm_handler')
  if (event === 'CONNECT_REQUEST' && id) nvmet_rdma_queue_connect(port, id, data)
  leave(k, t)
}

/** What is wrong with a request's private data; 0 = nothing. */
function parse_cm_connect_req(data: Uint8Array): number {
  if (data.length < RDMA_CM_REQ_BYTES) return RDMA_REJECT.invalid_length
  if (get16(data, 0) !== 0) return RDMA_REJECT.recfmt
  const [qid, hrqsize, hsqsize] = [get16(data, 2), get16(data, 4), get16(data, 6)]
  if (qid === 0 && hrqsize > 32) return RDMA_REJECT.hrqsize
  return hsqsize + 1 > 1024 ? RDMA_REJECT.hsqsize : 0
}

function reject(id: rdma_cm_id, code: number): void {
  id.rdma_reject(Uint8Array.of(0, 0, code, 0))
}

function nvmet_rdma_queue_connect(port: nvmet_rdma_port, id: rdma_cm_id, data: Uint8Array): void {
  const { k } = port.target.blk
  const wrong = parse_cm_connect_req(data)
  if (wrong) {
    reject(id, wrong)
    return
  }
  const depth = get16(data, 6) + 1
  trace_call(k, 'nvmet_sq_init')
  const queue = new nvmet_rdma_queue(port, id, depth)
  for (let n = 0; n < 2 * depth; n++) {
    trace_call(k, 'nvmet_rdma_alloc_rsp')
    queue.free.push(new nvmet_rdma_rsp(queue))
  }
  trace_call(k, 'nvmet_rdma_alloc_cmds')
  const t = enter(k, 'nvmet_rdma_create_queue_ib')
  // Reads and writes of the host's memory are sent, too (rdma_rw_init_qp); one more of each: to drain it.
  const max_send_wr = 2 * depth + 1
  id.rdma_create_qp({
    pd: null,
    poll: 'workqueue',
    max_send_wr,
    max_recv_wr: depth + 1,
    cqe: 3 * depth + 1,
    event_handler: () => trace_call(k, 'nvmet_rdma_qp_event'),
  })
  queue.sq_wr_avail = max_send_wr
  for (let n = 0; n < depth; n++) nvmet_rdma_post_recv(queue)
  leave(k, t)
  port.queues.add(queue)
  id.handler = event => on_queue_event(queue, event)
  if (get16(data, 2) === 0) void flush_scheduled_work(k)
  const answer = new Uint8Array(RDMA_CM_REQ_BYTES)
  answer[2] = depth & 0xff
  answer[3] = depth >> 8
  id.rdma_accept(answer)
}

function on_queue_event(queue: nvmet_rdma_queue, { event }: rdma_event): void {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_cm_handler')
  if (event === 'DISCONNECTED') __nvmet_rdma_queue_disconnect(queue)
  leave(k, t)
}

function __nvmet_rdma_queue_disconnect(queue: nvmet_rdma_queue): void {
  const { k } = queue.port.target.blk
  const t = enter(k, '__nvmet_rdma_queue_disconnect')
  if (!queue.gone) {
    queue.gone = true
    const d = enter(k, 'rdma_disconnect')
    queue.cm_id.rdma_disconnect()
    leave(k, d)
    schedule_work(k, queue.release_work)
  }
  leave(k, t)
}

function* nvmet_rdma_release_queue_work(work: work_struct<nvmet_rdma_queue>): Sleep<void> {
  const queue = work.container
  const { port, nvme_sq } = queue
  const t = enter(work.k, 'nvmet_rdma_release_queue_work')
  yield* wait_event(queue.idle, () => queue.inflight <= nvmet_async_events(nvme_sq))
  yield* nvmet_sq_destroy(port.target, nvme_sq)
  const d = enter(work.k, 'ib_drain_qp')
  yield* queue.cm_id.ib_drain_qp()
  leave(work.k, d)
  queue.cm_id.rdma_destroy_id()
  queue.cm_id.rdma_destroy_qp()
  trace_call(work.k, 'cancel_work_sync')
  for (let n = 0; n < queue.depth; n++) trace_call(work.k, 'nvmet_rdma_free_cmd')
  const f = enter(work.k, 'nvmet_rdma_free_rsps')
  for (let n = 0; n < 2 * queue.depth; n++) trace_call(work.k, 'nvmet_rdma_free_rsp')
  leave(work.k, f)
  port.queues.delete(queue)
  leave(work.k, t)
}

function nvmet_rdma_delete_ctrl(port: nvmet_rdma_port, ctrl: nvmet_ctrl): void {
  for (const queue of [...port.queues])
    if (queue.nvme_sq.ctrl === ctrl) __nvmet_rdma_queue_disconnect(queue)
}

// ---------------------------------------------------------------- commands

function nvmet_rdma_post_recv(queue: nvmet_rdma_queue): void {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_post_recv')
  queue.cm_id.ib_post_recv(wc => nvmet_rdma_recv_done(queue, wc))
  leave(k, t)
}

function nvmet_rdma_recv_done(
  queue: nvmet_rdma_queue,
  { status, message }: ib_wc,
): Sleep<void> | undefined {
  const { k } = queue.port.target.blk
  if (status !== 'SUCCESS' || message === null || message.length < CMD_BYTES || queue.gone) {
    const t = enter(k, 'nvmet_rdma_recv_done')
    const short = message !== null && message.length < CMD_BYTES
    if (short && !queue.gone) nvmet_rdma_error_comp(queue)
    else failed(queue, status)
    leave(k, t)
    return undefined
  }
  const rsp = queue.free.pop() ?? new nvmet_rdma_rsp(queue)
  return handle(queue, rsp, message)
}

function* handle(queue: nvmet_rdma_queue, rsp: nvmet_rdma_rsp, message: Uint8Array): Sleep<void> {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_recv_done')
  yield* nvmet_rdma_handle_command(queue, rsp, message)
  leave(k, t)
}

function* nvmet_rdma_handle_command(
  queue: nvmet_rdma_queue,
  rsp: nvmet_rdma_rsp,
  message: Uint8Array,
): Sleep<void> {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_handle_command')
  rsp.cmd.set(message.subarray(0, CMD_BYTES))
  rsp.remote = null
  rsp.invalidates = false
  rsp.buffer = 0
  rsp.n_rdma = 0
  queue.inflight++
  const good = nvmet_req_init(rsp, queue.port.nport, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS)
  if (good) {
    const status = nvmet_rdma_map_sgl(rsp, message.subarray(CMD_BYTES))
    if (status) __nvmet_req_complete(rsp, status)
    else yield* execute_or_wait(rsp)
  }
  leave(k, t)
}

function* execute_or_wait(rsp: nvmet_rdma_rsp): Sleep<void> {
  const { queue } = rsp
  rsp.waits_to = 'execute'
  if (queue.rsp_wr_wait_list.length > 0 || !takes_places(rsp, 1 + rsp.n_rdma))
    queue.rsp_wr_wait_list.push(rsp)
  else yield* nvmet_rdma_execute_command(rsp)
}

function takes_places(rsp: nvmet_rdma_rsp, n: number): boolean {
  const { queue } = rsp
  if (queue.sq_wr_avail < n) return false
  queue.sq_wr_avail -= n
  rsp.places += n
  return true
}

/** Places are free again. */
function* nvmet_rdma_process_wr_wait_list(queue: nvmet_rdma_queue): Sleep<void> {
  for (let [rsp] = queue.rsp_wr_wait_list; rsp !== undefined; [rsp] = queue.rsp_wr_wait_list) {
    const executes = rsp.waits_to === 'execute'
    if (!takes_places(rsp, executes ? 1 + rsp.n_rdma : 1)) return
    queue.rsp_wr_wait_list.shift()
    if (executes) yield* nvmet_rdma_execute_command(rsp)
    else respond(rsp)
  }
}

/** Where the data are; a status. */
function nvmet_rdma_map_sgl(rsp: nvmet_rdma_rsp, inline: Uint8Array): number {
  const { cmd } = rsp
  const type = cmd[CMD_SGL_TYPE]!
  if (type === NVME_SGL_FMT_OFFSET) return map_sgl_inline(rsp, inline)
  if (type === NVME_KEY_SGL_FMT_DATA_DESC || type === NVME_KEY_SGL_FMT_INVALIDATE)
    return nvmet_rdma_map_sgl_keyed(rsp, type === NVME_KEY_SGL_FMT_INVALIDATE)
  return NVME_SC_SGL_INVALID_TYPE | DNR
}

function take_buffer(rsp: nvmet_rdma_rsp, length: number): boolean {
  rsp.transfer_len = length
  if (length === 0) return true
  rsp.buffer = length > MAX_TRANSFER ? 0 : rsp.queue.port.target.blk.mem.kzalloc(length)
  rsp.sg = rsp.buffer
  return rsp.buffer !== 0
}

function map_sgl_inline(rsp: nvmet_rdma_rsp, inline: Uint8Array): number {
  const length = get32(rsp.cmd, CMD_SGL_LENGTH)
  const offset = get64(rsp.cmd, CMD_SGL_ADDR)
  if (!nvme_is_write(rsp.cmd)) return NVME_SC_INVALID_FIELD | DNR
  if (offset + length > inline.length) return NVME_SC_SGL_INVALID_OFFSET | DNR
  if (!take_buffer(rsp, length)) return NVME_SC_INVALID_FIELD | DNR
  rsp.queue.port.target.blk.view.bytes.set(inline.subarray(offset, offset + length), rsp.sg)
  return 0
}

function nvmet_rdma_map_sgl_keyed(rsp: nvmet_rdma_rsp, invalidate: boolean): number {
  const { blk } = rsp.queue.port.target
  const t = enter(blk.k, 'nvmet_rdma_map_sgl_keyed')
  const { cmd } = rsp
  const length = get32(cmd, CMD_SGL_LENGTH) & 0xffffff
  if (!take_buffer(rsp, length)) return leave(blk.k, t, NVME_SC_INVALID_FIELD | DNR)
  if (length > 0) {
    rsp.remote = { addr: get64(cmd, CMD_SGL_ADDR), key: get32(cmd, CMD_SGL_LENGTH + 3) }
    rsp.invalidates = invalidate
    rsp.n_rdma = Math.ceil(Math.ceil(length / PAGE_SIZE) / rsp.queue.port.fabric.max_sge)
  }
  return leave(blk.k, t, 0)
}

/** rdma_rw_ctx_wrs: a work request for as many pages as one takes. The last of a read tells when all are done. */
function rdma_rw_ctx_wrs(
  rsp: nvmet_rdma_rsp,
  opcode: 'RDMA_READ' | 'RDMA_WRITE',
  done: ib_done | null,
): ib_rdma_wr[] {
  const { addr, key } = rsp.remote!
  const most = rsp.queue.port.fabric.max_sge * PAGE_SIZE
  return Array.from({ length: rsp.n_rdma }, (_, n) => {
    const bytes = Math.min(most, rsp.transfer_len - n * most)
    const where = { remote_addr: addr + n * most, rkey: key, local: rsp.sg + n * most, bytes }
    const last = n === rsp.n_rdma - 1 && done !== null
    return { opcode, ...where, signaled: last, done: last ? done : null }
  })
}

function* nvmet_rdma_execute_command(rsp: nvmet_rdma_rsp): Sleep<void> {
  const { k } = rsp.queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_execute_command')
  if (rsp.remote !== null && nvme_is_write(rsp.cmd)) {
    const done = (wc: ib_wc) => nvmet_rdma_read_data_done(rsp, wc)
    rsp.queue.cm_id.ib_post_send(rdma_rw_ctx_wrs(rsp, 'RDMA_READ', done))
  } else {
    const sleep = nvmet_req_execute(rsp)
    if (sleep !== undefined) yield* sleep
  }
  leave(k, t)
}

function* nvmet_rdma_read_data_done(rsp: nvmet_rdma_rsp, { status }: ib_wc): Sleep<void> {
  const { queue } = rsp
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_read_data_done')
  queue.sq_wr_avail += rsp.n_rdma
  rsp.places -= rsp.n_rdma
  rsp.n_rdma = 0
  if (status !== 'SUCCESS') {
    yield* nvmet_rdma_release_rsp(rsp)
    failed(queue, status)
  } else {
    const sleep = nvmet_req_execute(rsp)
    if (sleep !== undefined) yield* sleep
  }
  leave(k, t)
}

/** A command that failed before it was executed has no place yet. */
function nvmet_rdma_queue_response(req: nvmet_req): void {
  const rsp = req as nvmet_rdma_rsp
  const { queue } = rsp
  if (rsp.places > 0 || takes_places(rsp, 1)) respond(rsp)
  else {
    rsp.waits_to = 'respond'
    queue.rsp_wr_wait_list.push(rsp)
  }
}

function respond(rsp: nvmet_rdma_rsp): void {
  const { queue } = rsp
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_queue_response')
  const good = get16(rsp.rsp, RSP_STATUS) >> 1 === 0
  const out = good && rsp.remote !== null && !nvme_is_write(rsp.cmd)
  const writes = out ? rdma_rw_ctx_wrs(rsp, 'RDMA_WRITE', null) : []
  const end = { message: rsp.rsp.slice(), signaled: true, done: (wc: ib_wc) => sent(rsp, wc) }
  const send: ib_send_wr = rsp.invalidates
    ? { opcode: 'SEND_WITH_INV', invalidate_rkey: rsp.remote!.key, ...end }
    : { opcode: 'SEND', ...end }
  nvmet_rdma_post_recv(queue)
  queue.cm_id.ib_post_send([...writes, send])
  leave(k, t)
}

function* sent(rsp: nvmet_rdma_rsp, { status }: ib_wc): Sleep<void> {
  const { k } = rsp.queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_send_done')
  yield* nvmet_rdma_release_rsp(rsp)
  failed(rsp.queue, status)
  leave(k, t)
}

/** A work request failed, and not because the queue pair has gone already: that is the end of the association. */
function failed(queue: nvmet_rdma_queue, status: ib_wc_status): void {
  if (status !== 'SUCCESS' && status !== 'WR_FLUSH_ERR') nvmet_rdma_error_comp(queue)
}

function nvmet_rdma_error_comp(queue: nvmet_rdma_queue): void {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_error_comp')
  const { ctrl } = queue.nvme_sq
  if (ctrl) nvmet_ctrl_fatal_error(ctrl)
  else __nvmet_rdma_queue_disconnect(queue)
  leave(k, t)
}

function* nvmet_rdma_release_rsp(rsp: nvmet_rdma_rsp): Sleep<void> {
  const { queue } = rsp
  const { blk } = queue.port.target
  const t = enter(blk.k, 'nvmet_rdma_release_rsp')
  queue.sq_wr_avail += rsp.places
  rsp.places = 0
  blk.mem.kfree(rsp.buffer)
  rsp.buffer = 0
  queue.inflight--
  queue.free.push(rsp)
  if (queue.rsp_wr_wait_list.length > 0) yield* nvmet_rdma_process_wr_wait_list(queue)
  if (queue.gone) wake_up(queue.idle)
  leave(blk.k, t)
}
