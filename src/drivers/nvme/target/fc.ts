// The FC transport of the target: drivers/nvme/target/fc.c of Linux 4.19.
//
//   link service   handled by a work: an association with its admin queue, a connection for each I/O queue, their end
//   command        nvmet_fc_rcv_fcp_req finds the queue by the connection; data of a write are fetched, then it runs
//   response       data of a read are sent first; then 12 zero bytes, or an ERSP: every ersp_ratio commands, and when there
//                  is something to say
//
// What carries it is a template (nvmet_fc_target_template), here that of fcloop.ts. A command for which the queue has no
// room is refused: waiting lists (defer_rcv) are not modelled, nor are transfers in several sequences.

import { NVME_SC_DNR, NVME_SC_INTERNAL } from '../../../../assembly/nvme.js'
import type { Sleep } from '../../../kernel/core.js'
import { EIO, ENOENT, ENOTCONN } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event, wait_queue_head, wake_up } from '../../../kernel/wait.js'
import { alloc_workqueue, destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import { INIT_WORK, schedule_work } from '../../../kernel/workqueue-queue.js'
import { work_struct, type workqueue_struct } from '../../../kernel/workqueue-structs.js'
import { get16, get32 } from '../bytes.js'
import {
  type fcp_cmd,
  FCNVME_RJT_RC_INV_ASSOC,
  FCNVME_RJT_RC_INV_CONN,
  FCNVME_RJT_RC_INV_PARAM,
  FCNVME_ZERO_RSP_BYTES,
  fcnvme_accept,
  fcnvme_ersp,
  fcnvme_parse_cmd_iu,
  fcnvme_parse_ls,
  fcnvme_reject,
  type nvmefc_tgt_fcp_req,
  type nvmefc_tgt_ls_req,
} from '../fc.js'
import {
  CMD_OPCODE,
  NVMF_ADDR_FAMILY_FC,
  NVMF_TRTYPE_FC,
  nvme_fabrics_command,
  RSP_STATUS,
} from '../nvme.js'
import {
  nvmet_async_events,
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
  NVMET_NR_QUEUES,
  NVMET_QUEUE_SIZE,
  nvmet_req,
  nvmet_sq,
  type nvmet_subsys,
} from './nvmet.js'
import { NVMET_PARSERS } from './parsers.js'

/** Largest transfer of one command. */
const MAX_TRANSFER = 2 ** 20
const QID_MASK = 0xffffn

/** What carries the target's side of the link. */
export interface nvmet_fc_target_template {
  readonly max_hw_queues: number
  xmt_ls_rsp(lsreq: nvmefc_tgt_ls_req): void
  /** Moves data or sends the response, then calls fcpreq.done. */
  fcp_op(fcpreq: nvmefc_tgt_fcp_req): Sleep<void> | undefined
  /** The target has nothing more to do with it. */
  fcp_req_release(fcpreq: nvmefc_tgt_fcp_req): void
}

/** One port of the target on the link. */
export class nvmet_fc_tgtport {
  readonly target: nvmet
  readonly template: nvmet_fc_target_template
  readonly nn: string
  readonly pn: string
  nport: nvmet_port | null = null
  readonly assocs: Map<bigint, nvmet_fc_tgt_assoc> = new Map()
  /** Associations that there were. */
  count = 0

  constructor(target: nvmet, template: nvmet_fc_target_template, nn: string, pn: string) {
    this.target = target
    this.template = template
    this.nn = nn
    this.pn = pn
  }
}

class nvmet_fc_tgt_assoc {
  readonly tgtport: nvmet_fc_tgtport
  readonly id: bigint
  readonly queues: Map<number, nvmet_fc_tgt_queue> = new Map()
  readonly del_work: work_struct<nvmet_fc_tgt_assoc>

  constructor(tgtport: nvmet_fc_tgtport, id: bigint) {
    this.tgtport = tgtport
    this.id = id
    this.del_work = new work_struct<nvmet_fc_tgt_assoc>(tgtport.target.blk.k, this)
    INIT_WORK(this.del_work, nvmet_fc_delete_assoc)
  }
}

class nvmet_fc_tgt_queue {
  readonly assoc: nvmet_fc_tgt_assoc
  readonly qid: number
  readonly sqsize: number
  readonly ersp_ratio: number
  readonly nvme_cq: nvmet_cq = new nvmet_cq()
  readonly nvme_sq: nvmet_sq
  readonly free: nvmet_fc_fcp_iod[] = []
  readonly active: Set<nvmet_fc_fcp_iod> = new Set()
  readonly idle: wait_queue_head
  /** For commands that come in an interrupt; fcloop's come in a work, and are handled there. */
  readonly work_q: workqueue_struct
  /** Responses without and with a completion. */
  zrspcnt = 0
  rsn = 0

  constructor(
    assoc: nvmet_fc_tgt_assoc,
    qid: number,
    sqsize: number,
    ersp_ratio: number,
    work_q: workqueue_struct,
  ) {
    this.assoc = assoc
    this.work_q = work_q
    this.qid = qid
    this.sqsize = sqsize
    this.ersp_ratio = ersp_ratio
    this.nvme_sq = new nvmet_sq(this)
    this.idle = new wait_queue_head(assoc.tgtport.target.blk.k, 'commands of a queue that goes')
    for (let n = 0; n <= sqsize; n++) this.free.push(new nvmet_fc_fcp_iod(this))
  }
}

/** struct nvmet_fc_fcp_iod: one command. */
class nvmet_fc_fcp_iod extends nvmet_req {
  readonly queue: nvmet_fc_tgt_queue
  fcpreq!: nvmefc_tgt_fcp_req
  dir: fcp_cmd['dir'] = 'none'
  /** Bytes that the host means to move, and that were moved. */
  total = 0
  moved = 0
  /** 0 = none. */
  buffer = 0

  constructor(queue: nvmet_fc_tgt_queue) {
    super()
    this.queue = queue
  }
}

function kernel_of(queue: nvmet_fc_tgt_queue): nvmet['blk']['k'] {
  return queue.assoc.tgtport.target.blk.k
}

// ---------------------------------------------------------------- link services

interface ls_iod {
  readonly tgtport: nvmet_fc_tgtport
  readonly lsreq: nvmefc_tgt_ls_req
}

/** A link service has come. */
export function nvmet_fc_rcv_ls_req(tgtport: nvmet_fc_tgtport, lsreq: nvmefc_tgt_ls_req): void {
  const { k } = tgtport.target.blk
  const t = enter(k, 'nvmet_fc_rcv_ls_req')
  trace_call(k, 'nvmet_fc_tgtport_get')
  const work = new work_struct<ls_iod>(k, { tgtport, lsreq })
  INIT_WORK(work, nvmet_fc_handle_ls_rqst_work)
  schedule_work(k, work)
  leave(k, t)
}

function* nvmet_fc_handle_ls_rqst_work(work: work_struct<ls_iod>): Sleep<void> {
  const { k } = work
  const { tgtport, lsreq } = work.container
  const t = enter(k, 'nvmet_fc_handle_ls_rqst_work')
  const ls = fcnvme_parse_ls(lsreq.rqst)
  if (ls === null) lsreq.rsp = fcnvme_reject(lsreq.rqst, FCNVME_RJT_RC_INV_PARAM)
  else if (ls.command === 'create association') create_association(tgtport, lsreq, ls)
  else if (ls.command === 'create connection') create_connection(tgtport, lsreq, ls)
  else yield* disconnect(tgtport, lsreq, ls.assoc)
  lsreq.done = () => {
    const d = enter(k, 'nvmet_fc_xmt_ls_rsp_done')
    trace_call(k, 'nvmet_fc_tgtport_put')
    leave(k, d)
  }
  tgtport.template.xmt_ls_rsp(lsreq)
  leave(k, t)
}

function nvmet_fc_alloc_target_queue(
  assoc: nvmet_fc_tgt_assoc,
  qid: number,
  sqsize: number,
  ersp_ratio: number,
): bigint {
  const { k } = assoc.tgtport.target.blk
  const t = enter(k, 'nvmet_fc_alloc_target_queue')
  trace_call(k, 'nvmet_fc_tgt_a_get')
  const name = `ntfc${assoc.tgtport.nport?.portid ?? 0}.${assoc.id >> 16n}.${qid}`
  const work_q = alloc_workqueue(k, name, 0, 0)
  if (work_q === null) throw new Error(`${name}: no workqueue`)
  trace_call(k, 'nvmet_sq_init')
  assoc.queues.set(qid, new nvmet_fc_tgt_queue(assoc, qid, sqsize, ersp_ratio, work_q))
  return leave(k, t, assoc.id | BigInt(qid))
}

/** Limits of what a queue may be asked to be. */
function fits({ sqsize, ersp_ratio }: { sqsize: number; ersp_ratio: number }): boolean {
  return sqsize > 0 && sqsize < NVMET_QUEUE_SIZE && ersp_ratio < sqsize
}

function create_association(
  tgtport: nvmet_fc_tgtport,
  lsreq: nvmefc_tgt_ls_req,
  ls: { sqsize: number; ersp_ratio: number },
): void {
  if (!fits(ls)) {
    lsreq.rsp = fcnvme_reject(lsreq.rqst, FCNVME_RJT_RC_INV_PARAM)
    return
  }
  trace_call(tgtport.target.blk.k, 'nvmet_fc_tgtport_get')
  const assoc = new nvmet_fc_tgt_assoc(tgtport, BigInt(++tgtport.count) << 16n)
  tgtport.assocs.set(assoc.id, assoc)
  const conn = nvmet_fc_alloc_target_queue(assoc, 0, ls.sqsize, ls.ersp_ratio)
  lsreq.rsp = fcnvme_accept(lsreq.rqst, assoc.id, conn)
}

function create_connection(
  tgtport: nvmet_fc_tgtport,
  lsreq: nvmefc_tgt_ls_req,
  ls: { assoc: bigint; qid: number; sqsize: number; ersp_ratio: number },
): void {
  const { k } = tgtport.target.blk
  const assoc = tgtport.assocs.get(ls.assoc)
  if (assoc === undefined) {
    lsreq.rsp = fcnvme_reject(lsreq.rqst, FCNVME_RJT_RC_INV_ASSOC)
    return
  }
  trace_call(k, 'nvmet_fc_tgt_a_get')
  const bad = !fits(ls) || ls.qid === 0 || ls.qid > NVMET_NR_QUEUES
  if (bad || assoc.queues.has(ls.qid)) {
    const reason = bad ? FCNVME_RJT_RC_INV_PARAM : FCNVME_RJT_RC_INV_CONN
    lsreq.rsp = fcnvme_reject(lsreq.rqst, reason)
  } else {
    const conn = nvmet_fc_alloc_target_queue(assoc, ls.qid, ls.sqsize, ls.ersp_ratio)
    lsreq.rsp = fcnvme_accept(lsreq.rqst, assoc.id, conn)
  }
  trace_call(k, 'nvmet_fc_tgt_a_put')
}

function* disconnect(tgtport: nvmet_fc_tgtport, lsreq: nvmefc_tgt_ls_req, id: bigint): Sleep<void> {
  const { k } = tgtport.target.blk
  const assoc = tgtport.assocs.get(id)
  if (assoc === undefined) {
    lsreq.rsp = fcnvme_reject(lsreq.rqst, FCNVME_RJT_RC_INV_ASSOC)
    return
  }
  trace_call(k, 'nvmet_fc_tgt_a_get')
  yield* nvmet_fc_delete_target_assoc(assoc)
  lsreq.rsp = fcnvme_accept(lsreq.rqst)
  trace_call(k, 'nvmet_fc_tgt_a_put')
}

// ---------------------------------------------------------------- the end

/** I/O queues first, the admin queue last. */
function* nvmet_fc_delete_target_assoc(assoc: nvmet_fc_tgt_assoc): Sleep<void> {
  if (!assoc.tgtport.assocs.delete(assoc.id)) return
  const queues = [...assoc.queues.values()].sort((a, b) => b.qid - a.qid)
  for (const queue of queues) yield* nvmet_fc_delete_target_queue(queue)
}

function* nvmet_fc_delete_target_queue(queue: nvmet_fc_tgt_queue): Sleep<void> {
  const { nvme_sq, qid, assoc } = queue
  yield* wait_event(queue.idle, () => queue.active.size === nvmet_async_events(nvme_sq))
  yield* nvmet_sq_destroy(assoc.tgtport.target, nvme_sq)
  yield* destroy_workqueue(queue.work_q)
  assoc.queues.delete(qid)
}

function* nvmet_fc_delete_assoc(work: work_struct<nvmet_fc_tgt_assoc>): Sleep<void> {
  const t = enter(work.k, 'nvmet_fc_delete_assoc')
  yield* nvmet_fc_delete_target_assoc(work.container)
  leave(work.k, t)
}

/** The target gives a controller up. */
function nvmet_fc_delete_ctrl(tgtport: nvmet_fc_tgtport, ctrl: nvmet_ctrl): void {
  const { k } = tgtport.target.blk
  const t = enter(k, 'nvmet_fc_delete_ctrl')
  for (const assoc of tgtport.assocs.values())
    if (assoc.queues.get(0)?.nvme_sq.ctrl === ctrl) schedule_work(k, assoc.del_work)
  leave(k, t)
}

// ---------------------------------------------------------------- commands

function nvmet_fc_find_target_queue(
  tgtport: nvmet_fc_tgtport,
  conn: bigint,
): nvmet_fc_tgt_queue | undefined {
  const { k } = tgtport.target.blk
  const t = enter(k, 'nvmet_fc_find_target_queue')
  const queue = tgtport.assocs.get(conn & ~QID_MASK)?.queues.get(Number(conn & QID_MASK))
  if (queue) trace_call(k, 'nvmet_fc_tgt_q_get')
  return leave(k, t, queue)
}

/** A command has come. @returns 0; -EIO: it is none, -ENOTCONN: of nobody, -ENOENT: one too many */
export function* nvmet_fc_rcv_fcp_req(
  tgtport: nvmet_fc_tgtport,
  fcpreq: nvmefc_tgt_fcp_req,
  iu: Uint8Array,
): Sleep<number> {
  const { k } = tgtport.target.blk
  const t = enter(k, 'nvmet_fc_rcv_fcp_req')
  const cmd = fcnvme_parse_cmd_iu(iu)
  if (cmd === null) return leave(k, t, -EIO)
  const queue = nvmet_fc_find_target_queue(tgtport, cmd.conn)
  if (queue === undefined) return leave(k, t, -ENOTCONN)
  const fod = queue.free.pop()
  if (fod === undefined) return leave(k, t, -ENOENT)
  fod.fcpreq = fcpreq
  queue.active.add(fod)
  yield* nvmet_fc_handle_fcp_rqst(fod, cmd)
  return leave(k, t, 0)
}

/** The host gives a command up. It ends here as any other; who gave it up hears nothing of it. */
export function nvmet_fc_rcv_fcp_abort(tgtport: nvmet_fc_tgtport): void {
  trace_call(tgtport.target.blk.k, 'nvmet_fc_rcv_fcp_abort')
}

function* nvmet_fc_handle_fcp_rqst(fod: nvmet_fc_fcp_iod, cmd: fcp_cmd): Sleep<void> {
  const { queue } = fod
  const { target, nport } = queue.assoc.tgtport
  const k = kernel_of(queue)
  const t = enter(k, 'nvmet_fc_handle_fcp_rqst')
  fod.cmd.set(cmd.sqe)
  fod.dir = cmd.dir
  fod.total = cmd.data_len
  fod.moved = 0
  fod.buffer = 0
  const good = nvmet_req_init(fod, nport!, queue.nvme_cq, queue.nvme_sq, NVMET_PARSERS)
  if (!good) return leave(k, t)
  fod.transfer_len = cmd.data_len
  if (cmd.data_len > 0 && cmd.dir !== 'none') {
    fod.buffer = cmd.data_len > MAX_TRANSFER ? 0 : target.blk.mem.kzalloc(cmd.data_len)
    fod.sg = fod.buffer
    if (fod.buffer === 0) {
      nvmet_req_complete(fod, NVME_SC_INTERNAL | NVME_SC_DNR)
      return leave(k, t)
    }
  }
  const sleep =
    cmd.dir === 'write' ? nvmet_fc_transfer_fcp_data(fod, 'WRITEDATA') : nvmet_req_execute(fod)
  if (sleep !== undefined) yield* sleep
  leave(k, t)
}

function nvmet_fc_transfer_fcp_data(
  fod: nvmet_fc_fcp_iod,
  op: 'READDATA' | 'WRITEDATA',
): Sleep<void> | undefined {
  const k = kernel_of(fod.queue)
  const t = enter(k, 'nvmet_fc_transfer_fcp_data')
  const { fcpreq } = fod
  fcpreq.op = op
  fcpreq.sg = fod.buffer
  fcpreq.transfer_length = fod.total
  fcpreq.fcp_error = 0
  return leave(k, t, fcp_op(fod))
}

/** Gives an operation to the link; what follows it may sleep. */
function fcp_op(fod: nvmet_fc_fcp_iod): Sleep<void> | undefined {
  fod.fcpreq.done = () => nvmet_fc_xmt_fcp_op_done(fod)
  return fod.queue.assoc.tgtport.template.fcp_op(fod.fcpreq)
}

function nvmet_fc_xmt_fcp_op_done(fod: nvmet_fc_fcp_iod): Sleep<void> | undefined {
  const k = kernel_of(fod.queue)
  const t = enter(k, 'nvmet_fc_xmt_fcp_op_done')
  const o = enter(k, 'nvmet_fc_fod_op_done')
  const sleep = fod_op_done(fod)
  leave(k, o)
  return leave(k, t, sleep)
}

function fod_op_done(fod: nvmet_fc_fcp_iod): Sleep<void> | undefined {
  const { op, fcp_error, transfer_length } = fod.fcpreq
  if (op === 'RSP') {
    nvmet_fc_free_tgt_pgs(fod, false)
    nvmet_fc_free_fcp_iod(fod)
    return undefined
  }
  if (fcp_error === 0) fod.moved = transfer_length
  if (op === 'READDATA') {
    nvmet_fc_free_tgt_pgs(fod, true)
    nvmet_fc_xmt_fcp_rsp(fod)
    return undefined
  }
  if (fcp_error === 0) return nvmet_req_execute(fod)
  nvmet_req_complete(fod, NVME_SC_INTERNAL)
  return undefined
}

function nvmet_fc_free_tgt_pgs(fod: nvmet_fc_fcp_iod, named: boolean): void {
  const { blk } = fod.queue.assoc.tgtport.target
  if (named) trace_call(blk.k, 'nvmet_fc_free_tgt_pgs')
  if (fod.buffer !== 0) blk.mem.kfree(fod.buffer)
  fod.buffer = 0
}

/** The command is done: data of a read go first. */
function nvmet_fc_fcp_nvme_cmd_done(req: nvmet_req): void {
  const fod = req as nvmet_fc_fcp_iod
  const k = kernel_of(fod.queue)
  const t = enter(k, 'nvmet_fc_fcp_nvme_cmd_done')
  const good = get16(fod.rsp, RSP_STATUS) >> 1 === 0
  if (good && fod.dir === 'read' && fod.buffer !== 0) nvmet_fc_transfer_fcp_data(fod, 'READDATA')
  else {
    nvmet_fc_free_tgt_pgs(fod, true)
    nvmet_fc_xmt_fcp_rsp(fod)
  }
  leave(k, t)
}

function nvmet_fc_xmt_fcp_rsp(fod: nvmet_fc_fcp_iod): void {
  const k = kernel_of(fod.queue)
  const t = enter(k, 'nvmet_fc_xmt_fcp_rsp')
  fod.fcpreq.op = 'RSP'
  fod.fcpreq.rsp = nvmet_fc_prep_fcp_rsp(fod)
  fcp_op(fod)
  leave(k, t)
}

/** Twelve zero bytes when nothing needs saying. */
function nvmet_fc_prep_fcp_rsp(fod: nvmet_fc_fcp_iod): Uint8Array {
  const { queue, rsp } = fod
  trace_call(kernel_of(queue), 'nvmet_fc_prep_fcp_rsp')
  const ratio = queue.ersp_ratio
  const says =
    (ratio > 0 && ++queue.zrspcnt % ratio === 0) ||
    fod.cmd[CMD_OPCODE] === nvme_fabrics_command ||
    fod.moved !== fod.total ||
    get16(rsp, RSP_STATUS) >> 1 !== 0 ||
    get32(rsp, 0) !== 0 ||
    get32(rsp, 4) !== 0
  if (!says) return new Uint8Array(FCNVME_ZERO_RSP_BYTES)
  return fcnvme_ersp(++queue.rsn, fod.moved, rsp)
}

function nvmet_fc_free_fcp_iod(fod: nvmet_fc_fcp_iod): void {
  const { queue } = fod
  const k = kernel_of(queue)
  const t = enter(k, 'nvmet_fc_free_fcp_iod')
  if (queue.active.delete(fod)) {
    queue.assoc.tgtport.template.fcp_req_release(fod.fcpreq)
    queue.free.push(fod)
    trace_call(k, 'nvmet_fc_tgt_q_put')
    if (!queue.assoc.tgtport.assocs.has(queue.assoc.id)) wake_up(queue.idle)
  }
  leave(k, t)
}

// ---------------------------------------------------------------- ports

export function nvmet_fc_register_targetport(
  target: nvmet,
  template: nvmet_fc_target_template,
  nn: string,
  pn: string,
): nvmet_fc_tgtport {
  const { k } = target.blk
  const t = enter(k, 'nvmet_fc_register_targetport')
  return leave(k, t, new nvmet_fc_tgtport(target, template, nn, pn))
}

/** Subsystems can be connected to over this port. */
export function nvmet_fc_add_port(
  tgtport: nvmet_fc_tgtport,
  subsystems: readonly nvmet_subsys[],
): void {
  const { k } = tgtport.target.blk
  const traddr = `nn-0x${tgtport.nn}:pn-0x${tgtport.pn}`
  const where = {
    portid: 1,
    trtype: NVMF_TRTYPE_FC,
    adrfam: NVMF_ADDR_FAMILY_FC,
    traddr,
    trsvcid: 'none',
  }
  const ops = {
    type: NVMF_TRTYPE_FC,
    msdbd: 1,
    has_keyed_sgls: false,
    inline_data_size: 0,
    queue_response: nvmet_fc_fcp_nvme_cmd_done,
    delete_ctrl: (ctrl: nvmet_ctrl) => nvmet_fc_delete_ctrl(tgtport, ctrl),
    add_port: (port: nvmet_port) => {
      trace_call(k, 'nvmet_fc_add_port')
      tgtport.nport = port
    },
  }
  nvmet_enable_port(tgtport.target, where, ops, subsystems)
}
