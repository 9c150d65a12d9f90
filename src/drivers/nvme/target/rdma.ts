// The RDMA transport of the target: drivers/nvme/target/rdma.c of Linux 4.19, over the verbs of src/drivers/nvme/verbs.ts.
//
//   CONNECT_REQUEST   the private data say which queue and how deep; a queue pair with a receive for each command; accept
//   recv_done         a capsule: parse, map its SGL (in the capsule at an offset, or a keyed piece of the host's memory)
//   execute           data of a write are read from the host first; then the command runs
//   queue_response    data of a read are written to the host, then the response is sent, with a new receive posted
//   DISCONNECTED      the queue is released by a work

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
  NVME_SC_SGL_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SGL_FMT_OFFSET,
  NVMF_TRTYPE_RDMA,
  nvme_is_write,
  RSP_STATUS,
} from '../nvme.js'
import {
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
const KEYED = 4
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
  /** The host's memory, and a buffer for it. */
  remote = 0
  buffer = 0

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
  // Reads of the host's memory are sent, too; one more of each: to drain it.
  id.rdma_create_qp({
    poll: 'workqueue',
    max_send_wr: 2 * depth + 1,
    max_recv_wr: depth + 1,
    cqe: 3 * depth + 1,
  })
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
  queue.cm_id.ib_post_recv((status, message) => nvmet_rdma_recv_done(queue, status, message))
  leave(k, t)
}

function nvmet_rdma_recv_done(
  queue: nvmet_rdma_queue,
  status: ib_wc_status,
  message: Uint8Array | null,
): Sleep<void> | undefined {
  if (status !== 'SUCCESS' || message === null || queue.gone) {
    trace_call(queue.port.target.blk.k, 'nvmet_rdma_recv_done')
    failed(queue, status)
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
  rsp.remote = 0
  rsp.buffer = 0
  queue.inflight++
  const good = nvmet_req_init(rsp, queue.port.nport, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS)
  if (good) {
    const status = nvmet_rdma_map_sgl(rsp, message.subarray(CMD_BYTES))
    if (status) __nvmet_req_complete(rsp, status)
    else yield* nvmet_rdma_execute_command(rsp)
  }
  leave(k, t)
}

/** Where the data are; a status. */
function nvmet_rdma_map_sgl(rsp: nvmet_rdma_rsp, inline: Uint8Array): number {
  const { cmd } = rsp
  const type = cmd[CMD_SGL_TYPE]!
  if (type === NVME_SGL_FMT_OFFSET) return map_sgl_inline(rsp, inline)
  if (type >> 4 === KEYED) return nvmet_rdma_map_sgl_keyed(rsp)
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

function nvmet_rdma_map_sgl_keyed(rsp: nvmet_rdma_rsp): number {
  const { k } = rsp.queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_map_sgl_keyed')
  const length = get32(rsp.cmd, CMD_SGL_LENGTH) & 0xffffff
  rsp.remote = get64(rsp.cmd, CMD_SGL_ADDR)
  return leave(k, t, take_buffer(rsp, length) ? 0 : NVME_SC_INVALID_FIELD | DNR)
}

function* nvmet_rdma_execute_command(rsp: nvmet_rdma_rsp): Sleep<void> {
  const { k } = rsp.queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_execute_command')
  if (rsp.remote !== 0 && rsp.transfer_len > 0 && nvme_is_write(rsp.cmd)) {
    const { cm_id } = rsp.queue
    cm_id.rdma_read(rsp.remote, rsp.sg, rsp.transfer_len, status =>
      nvmet_rdma_read_data_done(rsp, status),
    )
  } else {
    const sleep = nvmet_req_execute(rsp)
    if (sleep !== undefined) yield* sleep
  }
  leave(k, t)
}

function nvmet_rdma_read_data_done(
  rsp: nvmet_rdma_rsp,
  status: ib_wc_status,
): Sleep<void> | undefined {
  const { k } = rsp.queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_read_data_done')
  if (status !== 'SUCCESS') {
    nvmet_rdma_release_rsp(rsp)
    failed(rsp.queue, status)
    return leave(k, t, undefined)
  }
  const sleep = nvmet_req_execute(rsp)
  if (sleep === undefined) return leave(k, t, undefined)
  return (function* () {
    yield* sleep
    leave(k, t)
  })()
}

function nvmet_rdma_queue_response(req: nvmet_req): void {
  const rsp = req as nvmet_rdma_rsp
  const { queue } = rsp
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_queue_response')
  const { cm_id } = queue
  const good = get16(rsp.rsp, RSP_STATUS) >> 1 === 0
  if (good && rsp.remote !== 0 && rsp.transfer_len > 0 && !nvme_is_write(rsp.cmd))
    cm_id.rdma_write(rsp.remote, rsp.sg, rsp.transfer_len)
  nvmet_rdma_post_recv(queue)
  cm_id.ib_post_send(rsp.rsp.slice(), status => {
    const s = enter(k, 'nvmet_rdma_send_done')
    nvmet_rdma_release_rsp(rsp)
    failed(queue, status)
    leave(k, s)
    return undefined
  })
  leave(k, t)
}

/** A work request failed, and not because the queue pair has gone already: that is the end of the association. */
function failed(queue: nvmet_rdma_queue, status: ib_wc_status): void {
  if (status === 'RETRY_EXC_ERR') nvmet_rdma_error_comp(queue)
}

function nvmet_rdma_error_comp(queue: nvmet_rdma_queue): void {
  const { k } = queue.port.target.blk
  const t = enter(k, 'nvmet_rdma_error_comp')
  const { ctrl } = queue.nvme_sq
  if (ctrl) nvmet_ctrl_fatal_error(ctrl)
  else __nvmet_rdma_queue_disconnect(queue)
  leave(k, t)
}

function nvmet_rdma_release_rsp(rsp: nvmet_rdma_rsp): void {
  const { queue } = rsp
  const { blk } = queue.port.target
  const t = enter(blk.k, 'nvmet_rdma_release_rsp')
  blk.mem.kfree(rsp.buffer)
  rsp.buffer = 0
  queue.inflight--
  queue.free.push(rsp)
  if (queue.gone) wake_up(queue.idle)
  leave(blk.k, t)
}
