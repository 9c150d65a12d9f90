// NVMe over nothing: drivers/nvme/target/loop.c of Linux 4.19. Host and target in one kernel: queue_rq gives the command
// to nvmet_req_init, a work on the system's queue executes it, and the response completes the request.
//
// A transfer of several pieces goes through a buffer of its own, because a request of the target has one piece.

import { nvme_delete_ctrl } from '../host/core-state.js'
import * as L from '../../../../assembly/layout.js'
import { BLK_STS_OK, BLK_STS_RESOURCE } from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { blk_mq_hw_ctx, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { INIT_WORK, schedule_work } from '../../../kernel/workqueue-queue.js'
import { work_struct } from '../../../kernel/workqueue-structs.js'
import { get16, get32, put16 } from '../bytes.js'
import {
  CMD_FLAGS,
  CMD_ID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
  NVMF_TRTYPE_LOOP,
  nvme_admin_async_event,
  nvme_is_write,
  RSP_STATUS,
} from '../nvme.js'

import { nvme_complete_async_event } from '../host/core-event.js'
import {
  nvmf_check_ready,
  nvmf_fail_nonready_command,
  type nvmf_module,
  nvmf_register_transport,
  type nvmf_transport_ops,
} from '../host/fabrics.js'
import { nvmf_life_create, nvmf_life_alloc } from '../host/fabrics-ctrl.js'
import {
  NVMF_AEN_CID,
  type nvmf_life,
  type nvmf_lower,
  type nvmf_names,
} from '../host/fabrics-life.js'
import type { nvmf_ctrl_options } from '../host/fabrics-options.js'
import type { nvme_ctrl } from '../host/nvme.js'
import { nvme_end_request, nvme_finish_rq, nvme_setup_cmd, rq_pieces } from '../host/setup-cmd.js'
import { nvmet_enable_port, nvmet_req_execute, nvmet_req_init, nvmet_sq_destroy } from './core.js'
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

const NAMES: nvmf_names = {
  create_ctrl: 'nvme_loop_create_ctrl',
  setup_ctrl: '',
  configure_admin_queue: 'nvme_loop_configure_admin_queue',
  configure_io_queues: '',
  alloc_io_queues: 'nvme_loop_init_io_queues',
  connect_io_queues: 'nvme_loop_connect_io_queues',
  alloc_tagset: '',
  init_admin_hctx: 'nvme_loop_init_admin_hctx',
  init_hctx: 'nvme_loop_init_hctx',
  init_request: 'nvme_loop_init_request',
  exit_request: '',
  map_queues: '',
  queue_rq: 'nvme_loop_queue_rq',
  complete_rq: 'nvme_loop_complete_rq',
  timeout: 'nvme_loop_timeout',
  teardown_io_queues: '',
  teardown_admin_queue: '',
  destroy_io_queues: 'nvme_loop_destroy_io_queues',
  destroy_admin_queue: '',
  error_recovery: '',
  error_recovery_work: '',
  reconnect_ctrl_work: '',
  reconnect_or_remove: '',
  reset_ctrl_work: 'nvme_loop_reset_ctrl_work',
  stop_ctrl: '',
  delete_ctrl: 'nvme_loop_delete_ctrl_host',
  shutdown_ctrl: 'nvme_loop_shutdown_ctrl',
  free_ctrl: 'nvme_loop_free_ctrl',
  submit_async_event: 'nvme_loop_submit_async_event',
}

/** struct nvme_loop_iod: one command under way. */
class nvme_loop_iod extends nvmet_req {
  readonly queue: nvme_loop_queue
  readonly work: work_struct<nvme_loop_iod>
  q: request_queue | null = null
  rq = 0
  /** A buffer in place of several pieces; 0 = none. */
  bounce = 0

  constructor(queue: nvme_loop_queue) {
    super()
    this.queue = queue
    this.work = new work_struct<nvme_loop_iod>(queue.life.ctrl.k, this)
    INIT_WORK(this.work, nvme_loop_execute_work)
  }
}

class nvme_loop_queue {
  readonly life: nvmf_life
  readonly qid: number
  readonly nvme_sq: nvmet_sq
  readonly nvme_cq: nvmet_cq = new nvmet_cq()
  readonly pool: nvme_loop_iod[] = []
  /** Commands whose response is still to come. */
  readonly busy: Set<nvme_loop_iod> = new Set()

  constructor(life: nvmf_life, qid: number) {
    this.life = life
    this.qid = qid
    this.nvme_sq = new nvmet_sq(this)
  }
}

/** The module nvme_loop of one kernel, with its port. */
export interface nvme_loop_module {
  readonly f: nvmf_module
  readonly target: nvmet
  readonly port: nvmet_port
  readonly queues: Map<nvmf_life, (nvme_loop_queue | undefined)[]>
}

function* nvme_loop_execute_work(work: work_struct<nvme_loop_iod>): Sleep<void> {
  const t = enter(work.k, 'nvme_loop_execute_work')
  const sleep = nvmet_req_execute(work.container)
  if (sleep !== undefined) yield* sleep
  leave(work.k, t)
}

// ---------------------------------------------------------------- commands

/** The data of a request as one piece; false when there is no memory for it. */
function map_sg(iod: nvme_loop_iod): boolean {
  const { blk } = iod.queue.life.ctrl
  const pieces = rq_pieces(iod.q!, iod.rq)
  const [first] = pieces
  iod.bounce = 0
  if (first === undefined) return true
  trace_call(blk.k, 'blk_rq_map_sg')
  iod.transfer_len = pieces.reduce((sum, { bytes }) => sum + bytes, 0)
  iod.sg = first.data
  if (pieces.length === 1) return true
  iod.bounce = blk.mem.kzalloc(iod.transfer_len)
  iod.sg = iod.bounce
  if (iod.bounce !== 0 && nvme_is_write(iod.cmd)) copy_pieces(iod, true)
  return iod.bounce !== 0
}

function copy_pieces(iod: nvme_loop_iod, out: boolean): void {
  const { bytes } = iod.queue.life.ctrl.blk.view
  let at = iod.bounce
  for (const { data, bytes: n } of rq_pieces(iod.q!, iod.rq)) {
    if (out) bytes.copyWithin(at, data, data + n)
    else bytes.copyWithin(data, at, at + n)
    at += n
  }
}

function nvme_loop_queue_rq(
  m: nvme_loop_module,
  c: nvmf_life,
  qid: number,
  { q }: blk_mq_hw_ctx,
  rq: number,
): number {
  const queue = m.queues.get(c)?.[qid]
  const live = c.live[qid] === true
  if (queue === undefined || !nvmf_check_ready(c.ctrl, q, rq, live))
    return nvmf_fail_nonready_command(c.ctrl, q, rq)
  const iod = queue.pool.pop() ?? new nvme_loop_iod(queue)
  iod.q = q
  iod.rq = rq
  const status = nvme_setup_cmd(q, rq, iod.cmd, qid)
  if (status !== BLK_STS_OK) {
    queue.pool.push(iod)
    return status
  }
  q.blk.core.blk_mq_start_request(this_cpu(q.blk), q.at, rq)
  queue.busy.add(iod)
  if (!nvmet_req_init(iod, m.port, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS)) return BLK_STS_OK
  if (!map_sg(iod)) return BLK_STS_RESOURCE
  schedule_work(c.ctrl.k, iod.work)
  return BLK_STS_OK
}

function nvme_loop_queue_response(req: nvmet_req): void {
  const iod = req as nvme_loop_iod
  const { queue, rq, q } = iod
  const { ctrl } = queue.life
  const { k, blk } = ctrl
  const t = enter(k, 'nvme_loop_queue_response')
  queue.busy.delete(iod)
  const status = get16(iod.rsp, RSP_STATUS) >> 1
  const [low, high] = [get32(iod.rsp, 0), get32(iod.rsp, 4)]
  if (q === null) nvme_complete_async_event(ctrl, status, low)
  else {
    if (iod.bounce !== 0) {
      if (status === 0 && !nvme_is_write(iod.cmd)) copy_pieces(iod, false)
      blk.mem.kfree(iod.bounce)
    }
    trace_call(k, 'blk_mq_tag_to_rq')
    // It may have been given up meanwhile, and be somebody else's now.
    if (blk.view.load(rq + L.RQ_STATE) === L.MQ_RQ_IN_FLIGHT)
      nvme_end_request(q, rq, status, low, high)
  }
  queue.pool.push(iod)
  leave(k, t)
}

function nvme_loop_submit_async_event(m: nvme_loop_module, c: nvmf_life): void {
  const queue = m.queues.get(c)?.[0]
  if (queue === undefined) return
  const iod = new nvme_loop_iod(queue)
  iod.cmd[CMD_OPCODE] = nvme_admin_async_event
  iod.cmd[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  put16(iod.cmd, CMD_ID, NVMF_AEN_CID)
  queue.busy.add(iod)
  if (nvmet_req_init(iod, m.port, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS))
    schedule_work(c.ctrl.k, iod.work)
}

// ---------------------------------------------------------------- queues

function nvme_loop_alloc_queue(m: nvme_loop_module, c: nvmf_life, qid: number): number {
  trace_call(c.ctrl.k, 'nvmet_sq_init')
  m.queues.get(c)![qid] = new nvme_loop_queue(c, qid)
  return 0
}

function* nvme_loop_free_queue(m: nvme_loop_module, c: nvmf_life, qid: number): Sleep<void> {
  const queues = m.queues.get(c)
  const queue = queues?.[qid]
  if (queues === undefined || queue === undefined) return
  queues[qid] = undefined
  yield* nvmet_sq_destroy(m.target, queue.nvme_sq)
}

/** The target gives a controller up: the host deletes it. */
function nvme_loop_delete_ctrl(m: nvme_loop_module, ctrl: nvmet_ctrl): void {
  for (const [life, queues] of m.queues)
    if (queues.some(queue => queue?.nvme_sq.ctrl === ctrl)) nvme_delete_ctrl(life.ctrl)
}

function lower_of(m: nvme_loop_module): nvmf_lower {
  return {
    names: NAMES,
    driver: 'loop',
    local: true,
    max_hw_sectors: 0,
    alloc_queue: (c, qid) => nvme_loop_alloc_queue(m, c, qid),
    stop_queue: () => undefined,
    free_queue: (c, qid) => nvme_loop_free_queue(m, c, qid),
    queue_rq: (c, qid, hctx, rq) => nvme_loop_queue_rq(m, c, qid, hctx, rq),
    complete_rq: (_, qid, q, rq) => nvme_finish_rq(q, rq, qid),
    submit_async_event: c => nvme_loop_submit_async_event(m, c),
    check: () => 0,
    max_queues: () => m.f.nvme.k.cpus.length,
    freed: c => {
      m.queues.delete(c)
    },
  }
}

function* nvme_loop_create_ctrl(
  m: nvme_loop_module,
  opts: nvmf_ctrl_options,
): Sleep<nvme_ctrl | number> {
  const { nvme_wq, nvme_reset_wq } = m.f.nvme
  const c = nvmf_life_alloc(m.f, opts, lower_of(m), { err: nvme_reset_wq, reconnect: nvme_wq })
  m.queues.set(c, [])
  return yield* nvmf_life_create(c)
}

/** Loads nvme_loop, with a port over these subsystems. @returns the module, or -EINVAL */
export function nvme_loop_init_module(
  f: nvmf_module,
  target: nvmet,
  subsystems: readonly nvmet_subsys[],
): nvme_loop_module | number {
  const ops = {
    type: NVMF_TRTYPE_LOOP,
    msdbd: 1,
    has_keyed_sgls: false,
    inline_data_size: 0,
    queue_response: nvme_loop_queue_response,
    delete_ctrl: (ctrl: nvmet_ctrl) => nvme_loop_delete_ctrl(m, ctrl),
  }
  const address = { portid: 1, trtype: NVMF_TRTYPE_LOOP, adrfam: 254, traddr: '', trsvcid: '' }
  const m: nvme_loop_module = {
    f,
    target,
    port: nvmet_enable_port(target, address, ops, subsystems),
    queues: new Map(),
  }
  const transport: nvmf_transport_ops = {
    name: 'loop',
    required_opts: [],
    allowed_opts: [],
    create_ctrl: opts => nvme_loop_create_ctrl(m, opts),
  }
  return nvmf_register_transport(f, transport) === 0 ? m : -EINVAL
}
