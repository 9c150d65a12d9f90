// NVMe over RDMA, the host: drivers/nvme/host/rdma.c of Linux 4.19, and of 4.9 by the era, over the verbs of
// src/drivers/nvme/verbs.ts.
//
// A queue is a connection with a queue pair: address and route are resolved, the queue pair made, the target asked; each
// step is an event of the connection manager, taken by nvme_rdma_cm_handler. Receives are posted for all responses at
// once.
//
//   data     none → null keyed SGL; a write of at most IOCCSZ * 16 - 64 bytes on an I/O queue → in the capsule, SGL 01;
//            else a keyed SGL over the memory of the request. A request of several pieces goes through one buffer (Linux
//            registers memory for it)
//   done     a request is complete when its send and its response have completed
//
// In 4.9 err_work, reconnect_work, reset_work and delete_work all run on nvme_rdma_wq, one at a time on a CPU; a lost
// controller is RECONNECTING, without a limit of attempts. In 4.19 they run on the queues of the core.
//
// Not modelled: memory registration and its invalidation, T10 protection, device removal.

import * as L from '../../../../assembly/layout.js'
import { BLK_STS_OK, BLK_STS_RESOURCE } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import { complete, completion, wait_for_completion_timeout } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import {
  EBUSY,
  ECONNRESET,
  EHOSTUNREACH,
  EINVAL,
  ENOMEM,
  ETIMEDOUT,
} from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { create_workqueue, destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import { flush_workqueue } from '../../../kernel/workqueue-flush.js'
import { INIT_WORK, queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct, workqueue_struct } from '../../../kernel/workqueue-structs.js'
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
import {
  type ib_client,
  ib_register_client,
  ib_unregister_client,
  type ib_wc_status,
  RDMA_CM_REQ_BYTES,
  type rdma_cm_id,
  type rdma_event,
  type rdma_fabric,
} from '../verbs.js'
import { ctrl_log } from './core-cmd.js'

import { nvme_complete_async_event } from './core-event.js'
import { nvme_change_ctrl_state, nvme_delete_ctrl } from './core-state.js'
import {
  nvmf_check_duplicate,
  nvmf_check_ready,
  nvmf_fail_nonready_command,
  type nvmf_module,
  nvmf_register_transport,
  type nvmf_transport_ops,
  nvmf_unregister_transport,
} from './fabrics.js'
import { nvmf_error_recovery, nvmf_life_create, nvmf_life_alloc } from './fabrics-ctrl.js'
import {
  NVMF_AEN_CID,
  type nvmf_life,
  type nvmf_lower,
  type nvmf_names,
  type nvmf_works,
} from './fabrics-life.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import type { nvme_ctrl } from './nvme.js'
import { nvme_end_request, nvme_finish_rq, nvme_setup_cmd, rq_pieces } from './setup-cmd.js'

/** ms for each step of a connection. */
const NVME_RDMA_CONNECT_TIMEOUT_MS = 3000
/** Pages of one memory registration, less one: (256 - 1) * 8 sectors. */
const MAX_HW_SECTORS = (256 - 1) * 8
const SGLS_KEYED = 4
const SGLS_OFFSET = 1 << 20

/** The module nvme_rdma of one kernel. */
export interface nvme_rdma_module {
  readonly f: nvmf_module
  readonly fabric: rdma_fabric
  readonly clients: ib_client[]
  readonly client: ib_client
  readonly ctrls: nvmf_life[]
  readonly queues: Map<nvmf_life, (nvme_rdma_queue | undefined)[]>
  readonly transport: nvmf_transport_ops
  /** nvme_rdma_wq of the 4.9 era. */
  readonly wq: workqueue_struct | null
  /** 4.9: asks for the end of a controller. 0 or -EBUSY. */
  del(ctrl: nvme_ctrl): number
}

function names_of(old: boolean): nvmf_names {
  return {
    create_ctrl: 'nvme_rdma_create_ctrl',
    setup_ctrl: old ? '' : 'nvme_rdma_setup_ctrl',
    configure_admin_queue: '',
    configure_io_queues: '',
    alloc_io_queues: '',
    connect_io_queues: '',
    alloc_tagset: old ? '' : 'nvme_rdma_alloc_tagset',
    init_admin_hctx: 'nvme_rdma_init_admin_hctx',
    init_hctx: 'nvme_rdma_init_hctx',
    init_request: 'nvme_rdma_init_request',
    exit_request: 'nvme_rdma_exit_request',
    map_queues: 'nvme_rdma_map_queues',
    queue_rq: 'nvme_rdma_queue_rq',
    complete_rq: 'nvme_rdma_complete_rq',
    timeout: 'nvme_rdma_timeout',
    teardown_io_queues: 'nvme_rdma_teardown_io_queues',
    teardown_admin_queue: '',
    destroy_io_queues: 'nvme_rdma_destroy_io_queues',
    destroy_admin_queue: 'nvme_rdma_destroy_admin_queue',
    error_recovery: '',
    error_recovery_work: 'nvme_rdma_error_recovery_work',
    reconnect_ctrl_work: 'nvme_rdma_reconnect_ctrl_work',
    reconnect_or_remove: old ? '' : 'nvme_rdma_reconnect_or_remove',
    reset_ctrl_work: 'nvme_rdma_reset_ctrl_work',
    stop_ctrl: old ? '' : 'nvme_rdma_stop_ctrl',
    delete_ctrl: 'nvme_rdma_delete_ctrl',
    shutdown_ctrl: '',
    free_ctrl: 'nvme_rdma_free_ctrl',
    submit_async_event: 'nvme_rdma_submit_async_event',
  }
}

// ---------------------------------------------------------------- queues

/** struct nvme_rdma_request. */
interface nvme_rdma_request {
  readonly q: request_queue | null
  readonly rq: number
  /** Send and response are still to come. */
  left: number
  answer: Uint8Array | null
  /** A buffer in place of several pieces; 0 = none. */
  readonly bounce: number
}

class nvme_rdma_queue {
  readonly life: nvmf_life
  readonly qid: number
  readonly size: number
  readonly cm_id: rdma_cm_id
  readonly cm_done: completion
  /** -1 until the connection is there or failed. */
  cm_error: number = -ETIMEDOUT
  waiting = true
  stopped = false
  readonly requests: Map<number, nvme_rdma_request> = new Map()

  constructor(m: nvme_rdma_module, life: nvmf_life, qid: number, size: number) {
    this.life = life
    this.qid = qid
    this.size = size
    this.cm_done = new completion(life.ctrl.k, 'a connection')
    this.cm_id = m.fabric.rdma_create_id(event => nvme_rdma_cm_handler(m, this, event))
  }
}

function queue_at(m: nvme_rdma_module, c: nvmf_life, qid: number): nvme_rdma_queue | undefined {
  return m.queues.get(c)?.[qid]
}

/** Private data of the connection request. */
function cm_request(queue: nvme_rdma_queue): Uint8Array {
  const data = new Uint8Array(RDMA_CM_REQ_BYTES)
  const { qid, size, life } = queue
  put16(data, 2, qid)
  put16(data, 4, qid === 0 ? size : life.ctrl.sqsize + 1)
  put16(data, 6, qid === 0 ? size - 1 : life.ctrl.sqsize)
  return data
}

function connected(queue: nvme_rdma_queue, error: number): void {
  queue.cm_error = error
  queue.waiting = false
  complete(queue.cm_done)
}

function nvme_rdma_cm_handler(
  m: nvme_rdma_module,
  queue: nvme_rdma_queue,
  { event }: rdma_event,
): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_cm_handler')
  switch (event) {
    case 'ADDR_RESOLVED':
      nvme_rdma_create_qp(m, queue)
      trace_call(k, 'rdma_resolve_route')
      queue.cm_id.rdma_resolve_route()
      break
    case 'ROUTE_RESOLVED':
      trace_call(k, 'rdma_connect')
      queue.cm_id.rdma_connect(cm_request(queue))
      break
    case 'ESTABLISHED':
      for (let n = 0; n <= queue.size; n++) nvme_rdma_post_recv(queue)
      connected(queue, 0)
      break
    case 'REJECTED':
      nvme_rdma_destroy_queue_ib(queue)
      connected(queue, -ECONNRESET)
      break
    case 'DISCONNECTED':
      if (queue.waiting) connected(queue, -ECONNRESET)
      else nvmf_error_recovery(queue.life)
      break
    default:
      connected(queue, -EHOSTUNREACH)
  }
  leave(k, t)
}

function nvme_rdma_create_qp(_m: nvme_rdma_module, queue: nvme_rdma_queue): void {
  const { k } = queue.life.ctrl
  if (queue.qid > 0) trace_call(k, 'nvme_rdma_dev_get')
  const t = enter(k, 'nvme_rdma_create_qp')
  queue.cm_id.rdma_create_qp('softirq')
  leave(k, t)
  for (let n = 0; n < queue.size; n++) trace_call(k, 'nvme_rdma_alloc_qe')
}

function nvme_rdma_destroy_queue_ib(queue: nvme_rdma_queue): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_destroy_queue_ib')
  trace_call(k, 'nvme_rdma_dev_put')
  leave(k, t)
}

function* nvme_rdma_alloc_queue(
  m: nvme_rdma_module,
  c: nvmf_life,
  qid: number,
  size: number,
): Sleep<number> {
  const { k } = c.ctrl
  const t = enter(k, 'nvme_rdma_alloc_queue')
  const queue = new nvme_rdma_queue(m, c, qid, size)
  m.queues.get(c)![qid] = queue
  trace_call(k, 'rdma_resolve_addr')
  queue.cm_id.rdma_resolve_addr(`${c.opts.traddr}:${c.opts.trsvcid || '4420'}`)
  const timeout = Math.ceil((NVME_RDMA_CONNECT_TIMEOUT_MS * k.hz) / 1000)
  yield* wait_for_completion_timeout(queue.cm_done, timeout)
  const error = queue.cm_error
  if (error) {
    ctrl_log(c.ctrl, 'info', `rdma connection establishment failed (${error})`)
    yield* nvme_rdma_free_queue(m, c, qid)
  }
  return leave(k, t, error)
}

function* nvme_rdma_stop_queue(m: nvme_rdma_module, c: nvmf_life, qid: number): Sleep<void> {
  const queue = queue_at(m, c, qid)
  if (queue === undefined || queue.stopped) return
  queue.stopped = true
  trace_call(c.ctrl.k, 'rdma_disconnect')
  queue.cm_id.rdma_disconnect()
  const t = enter(c.ctrl.k, 'ib_drain_qp')
  yield* queue.cm_id.ib_drain_qp()
  leave(c.ctrl.k, t)
}

function* nvme_rdma_free_queue(m: nvme_rdma_module, c: nvmf_life, qid: number): Sleep<void> {
  const queue = queue_at(m, c, qid)
  if (queue === undefined) return
  yield* nvme_rdma_stop_queue(m, c, qid)
  m.queues.get(c)![qid] = undefined
  nvme_rdma_destroy_queue_ib(queue)
  queue.cm_id.rdma_destroy_id()
  for (const req of queue.requests.values()) c.ctrl.blk.mem.kfree(req.bounce)
  queue.requests.clear()
}

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

function nvme_rdma_queue_rq(
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

function nvme_rdma_post_recv(queue: nvme_rdma_queue): void {
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

function nvme_rdma_submit_async_event(m: nvme_rdma_module, c: nvmf_life): void {
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

function nvme_rdma_complete_rq(q: request_queue, rq: number, qid: number): void {
  trace_call(q.blk.k, 'nvme_rdma_unmap_data')
  nvme_finish_rq(q, rq, qid)
}

// ---------------------------------------------------------------- the module

/** What RDMA cannot live with. */
function check({ ctrl }: nvmf_life): number {
  if (ctrl.icdoff) {
    ctrl_log(ctrl, 'err', 'icdoff is not supported!')
    return -EINVAL
  }
  const keyed = ctrl.nvme.era.resets_by_state ? SGLS_KEYED : SGLS_OFFSET
  if (ctrl.sgls & keyed) return 0
  ctrl_log(ctrl, 'err', 'Mandatory keyed sgls are not supported!')
  return -EINVAL
}

function lower_of(m: nvme_rdma_module): nvmf_lower {
  return {
    names: names_of(m.wq !== null),
    driver: 'rdma',
    max_hw_sectors: MAX_HW_SECTORS,
    alloc_queue: (c, qid, size) => nvme_rdma_alloc_queue(m, c, qid, size),
    stop_queue: (c, qid) => nvme_rdma_stop_queue(m, c, qid),
    free_queue: (c, qid) => nvme_rdma_free_queue(m, c, qid),
    queue_rq: (c, qid, hctx, rq) => nvme_rdma_queue_rq(m, c, qid, hctx, rq),
    complete_rq: (_, qid, q, rq) => nvme_rdma_complete_rq(q, rq, qid),
    submit_async_event: c => nvme_rdma_submit_async_event(m, c),
    check,
    max_queues: () => m.f.nvme.k.cpus.length,
    freed: c => {
      m.queues.delete(c)
      m.ctrls.splice(m.ctrls.indexOf(c), 1)
    },
    ...(m.wq === null
      ? {}
      : {
          reset: (c: nvmf_life) => nvme_rdma_reset_ctrl(m, c),
          del: (c: nvmf_life) => nvme_rdma_del_ctrl(m, c),
        }),
  }
}

/** 4.9: a reset is a state and a work of nvme_rdma_wq. @returns 0 or -EBUSY */
function nvme_rdma_reset_ctrl(m: nvme_rdma_module, { ctrl }: nvmf_life): number {
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_reset_ctrl')
  if (!nvme_change_ctrl_state(ctrl, 'RESETTING')) return leave(k, t, -EBUSY)
  return leave(k, t, queue_work(m.wq!, ctrl.reset_work) ? 0 : -EBUSY)
}

/** 4.9: so is a deletion. */
function nvme_rdma_del_ctrl(m: nvme_rdma_module, { ctrl }: nvmf_life): number {
  const { k } = ctrl
  const t = enter(k, 'nvme_rdma_del_ctrl')
  if (!nvme_change_ctrl_state(ctrl, 'DELETING')) return leave(k, t, -EBUSY)
  return leave(k, t, queue_work(m.wq!, ctrl.delete_work) ? 0 : -EBUSY)
}

function works_of(m: nvme_rdma_module): nvmf_works {
  const { nvme_wq } = m.f.nvme
  return m.wq === null ? { err: nvme_wq, reconnect: nvme_wq } : { err: m.wq, reconnect: m.wq }
}

function* nvme_rdma_create_ctrl(
  m: nvme_rdma_module,
  opts: nvmf_ctrl_options,
): Sleep<nvme_ctrl | number> {
  const duplicate = nvmf_check_duplicate(m.ctrls, opts)
  if (duplicate) return duplicate
  const c = nvmf_life_alloc(m.f, opts, lower_of(m), works_of(m))
  if (m.wq !== null) rename_delete_work(c)
  m.queues.set(c, [])
  m.ctrls.push(c)
  return yield* nvmf_life_create(c)
}

/** 4.9 calls the deletion's work by the transport's name. */
function rename_delete_work(c: nvmf_life): void {
  const { delete_work } = c.ctrl
  const body = delete_work.func!
  function* nvme_rdma_del_ctrl_work(work: work_struct<nvme_ctrl>): Sleep<void> {
    const t = enter(work.k, 'nvme_rdma_del_ctrl_work')
    const sleep = body(work)
    if (sleep) yield* sleep
    leave(work.k, t)
  }
  INIT_WORK(delete_work, nvme_rdma_del_ctrl_work)
}

/** Loads nvme_rdma. @returns the module, -ENOMEM or -EINVAL */
export function nvme_rdma_init_module(
  f: nvmf_module,
  fabric: rdma_fabric,
  clients: ib_client[] = [],
): nvme_rdma_module | number {
  const { k, era } = f.nvme
  const t = enter(k, 'nvme_rdma_init_module')
  const old = !era.resets_by_state
  const wq = old ? create_workqueue(k, 'nvme_rdma_wq') : null
  if (old && wq === null) return leave(k, t, -ENOMEM)
  const client = { name: 'nvme_rdma' }
  ib_register_client(k, clients, client)
  const transport: nvmf_transport_ops = {
    name: 'rdma',
    required_opts: ['traddr'],
    allowed_opts: ['trsvcid', 'reconnect_delay', 'host_traddr', 'ctrl_loss_tmo'],
    create_ctrl: opts => nvme_rdma_create_ctrl(m, opts),
  }
  const m: nvme_rdma_module = {
    f,
    fabric,
    clients,
    client,
    ctrls: [],
    queues: new Map(),
    transport,
    wq,
    del: ctrl => nvme_rdma_del_ctrl(m, ctrl.priv as nvmf_life),
  }
  const error = nvmf_register_transport(f, transport)
  return leave(k, t, error === 0 ? m : error)
}

/** Unloads it: every controller goes first. */
export function* nvme_rdma_cleanup_module(m: nvme_rdma_module): Sleep<void> {
  const { k, nvme_delete_wq } = m.f.nvme
  const t = enter(k, 'nvme_rdma_cleanup_module')
  nvmf_unregister_transport(m.f, m.transport)
  ib_unregister_client(k, m.clients, m.client)
  for (const c of [...m.ctrls]) {
    if (m.wq === null) nvme_delete_ctrl(c.ctrl)
    else nvme_rdma_del_ctrl(m, c)
  }
  yield* flush_workqueue(m.wq ?? nvme_delete_wq)
  if (m.wq !== null) yield* destroy_workqueue(m.wq)
  leave(k, t)
}
