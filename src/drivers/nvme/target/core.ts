// What every transport of the target uses: drivers/nvme/target/core.c of Linux 4.19, with 5.10's rules where they are
// stricter.
//
//   nvmet_req_init      flags, then: not connected → Connect only; I/O queue → io-cmd-bdev; fabrics → fabrics-cmd;
//                       discovery subsystem → discovery; else admin-cmd. A command that is refused is answered here,
//                       before any of its data is used
//   nvmet_req_complete  SQ head, queue and command identifier, status; then the transport's queue_response
//   nvmet_update_cc     EN 0→1 starts, 1→0 clears, SHN shuts down at once
//   keep-alive          kato seconds after Connect, CC.EN and each Keep Alive; traffic counts too with 5.10's rule:
//                       an expiry after a command only begins another period. Expiry → fatal error → association ends

import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { complete, completion, wait_for_completion } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import { call_rcu } from '../../../kernel/rcu.js'
import {
  cancel_delayed_work,
  cancel_delayed_work_sync,
  cancel_work_sync,
  mod_delayed_work,
} from '../../../kernel/workqueue-cancel.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { INIT_DELAYED_WORK, INIT_WORK } from '../../../kernel/workqueue-queue.js'
import { schedule_delayed_work, schedule_work } from '../../../kernel/workqueue-queue.js'
import type { delayed_work, work_struct } from '../../../kernel/workqueue-structs.js'
import {
  NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_NS,
  NVME_SC_DNR,
  NVME_SC_INTERNAL,
} from '../../../../assembly/nvme.js'
import { get16, get32, put16, put32 } from '../bytes.js'
import {
  CMD_FLAGS,
  CMD_ID,
  CMD_NSID,
  CMD_OPCODE,
  NVME_AEN_CFG_NS_ATTR,
  NVME_AER_NOTICE_NS_CHANGED,
  NVME_CC_ENABLE,
  NVME_CC_SHN_MASK,
  NVME_CMD_FUSE_MASK,
  NVME_CMD_SGL_ALL,
  NVME_CMD_SGL_METABUF,
  NVME_CSTS_CFS,
  NVME_CSTS_RDY,
  NVME_CSTS_SHST_CMPLT,
  NVME_DISC_SUBSYS_NAME,
  NVME_LOG_CHANGED_NS,
  NVME_NQN_DISC,
  NVME_NQN_NVME,
  NVME_SC_CMD_SEQ_ERROR,
  NVME_SC_CONNECT_CTRL_BUSY,
  NVME_SC_CONNECT_INVALID_HOST,
  NVME_SC_CONNECT_INVALID_PARAM,
  NVME_SC_SGL_INVALID_DATA,
  RSP_ID,
  RSP_SQHD,
  RSP_SQID,
  RSP_STATUS,
  nvme_fabrics_command,
} from '../nvme.js'
import {
  type nvmet,
  nvmet_ctrl,
  type nvmet_cq,
  type nvmet_fabrics_ops,
  NVMET_DISC_KATO,
  NVMET_MAX_CNTLID,
  NVMET_MIN_CNTLID,
  NVMET_QUEUE_SIZE,
  NVME_MAX_CHANGED_NAMESPACES,
  type nvmet_ns,
  type nvmet_port,
  type nvmet_req,
  type nvmet_sq,
  nvmet_subsys,
} from './nvmet.js'

const DNR = NVME_SC_DNR

/** What a Connect is refused for in its data, or in its command, as dword 0 of the answer says it. */
export function IPO_IATTR_CONNECT_DATA(offset: number): number {
  return (1 << 16) | offset
}

export function IPO_IATTR_CONNECT_SQE(offset: number): number {
  return offset
}

// ---------------------------------------------------------------- data

/** Where a request's data are, as far as it has any. */
function sg_bytes(req: nvmet_req, offset: number, bytes: number): Uint8Array {
  const { view } = req.port.subsystems[0]!.target.blk
  return view.bytes.subarray(req.sg + offset, req.sg + offset + bytes)
}

/** Copies into the request's data; a status. */
export function nvmet_copy_to_sgl(req: nvmet_req, offset: number, from: Uint8Array): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_copy_to_sgl')
  if (offset + from.length > req.transfer_len) return leave(k, t, NVME_SC_SGL_INVALID_DATA | DNR)
  sg_bytes(req, offset, from.length).set(from)
  return leave(k, t, 0)
}

/** Copies out of the request's data; a status. */
export function nvmet_copy_from_sgl(req: nvmet_req, offset: number, to: Uint8Array): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_copy_from_sgl')
  if (offset + to.length > req.transfer_len) return leave(k, t, NVME_SC_SGL_INVALID_DATA | DNR)
  to.set(sg_bytes(req, offset, to.length))
  return leave(k, t, 0)
}

export function nvmet_zero_sgl(req: nvmet_req, offset: number, bytes: number): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_zero_sgl')
  if (offset + bytes > req.transfer_len) return leave(k, t, NVME_SC_SGL_INVALID_DATA | DNR)
  sg_bytes(req, offset, bytes).fill(0)
  return leave(k, t, 0)
}

/** Sets dword 0 of the answer. */
export function nvmet_set_result(req: nvmet_req, result: number): void {
  put32(req.rsp, 0, result)
}

/** The target that a request came to. */
export function req_target(req: nvmet_req): nvmet {
  return req.port.subsystems[0]!.target
}

// ---------------------------------------------------------------- requests

type Parser = (req: nvmet_req) => number

/** The parsers, handed down by target.ts: they call back into this file. */
export interface nvmet_parsers {
  readonly connect: Parser
  readonly fabrics: Parser
  readonly discovery: Parser
  readonly admin: Parser
  readonly io: Parser
}

function parser_of(req: nvmet_req, parsers: nvmet_parsers): Parser {
  const { sq } = req
  if (sq.ctrl === null) return parsers.connect
  if (sq.qid !== 0) return parsers.io
  if (req.cmd[CMD_OPCODE] === nvme_fabrics_command) return parsers.fabrics
  return sq.ctrl.subsys.type === NVME_NQN_DISC ? parsers.discovery : parsers.admin
}

/** Parses a command; false when it has been answered with an error. req.cmd is filled. */
export function nvmet_req_init(
  req: nvmet_req,
  port: nvmet_port,
  cq: nvmet_cq,
  sq: nvmet_sq,
  parsers: nvmet_parsers,
): boolean {
  req.port = port
  req.ops = port.ops
  req.cq = cq
  req.sq = sq
  req.ns = null
  req.sg = 0
  req.transfer_len = 0
  req.data_len = 0
  for (let i = 0; i < req.rsp.length; i++) req.rsp[i] = 0
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_req_init')
  const flags = req.cmd[CMD_FLAGS]!
  const good =
    (flags & NVME_CMD_SGL_ALL) === NVME_CMD_SGL_METABUF && (flags & NVME_CMD_FUSE_MASK) === 0
  const status = good ? parser_of(req, parsers)(req) : NVME_SC_INVALID_FIELD | DNR
  if (status === 0) {
    if (sq.ctrl) sq.ctrl.cmd_seen = true
    return leave(k, t, true)
  }
  __nvmet_req_complete(req, status)
  return leave(k, t, false)
}

/** Compares what the transport brought with what the command says; answers and returns false when they differ. */
export function nvmet_check_data_len(req: nvmet_req): boolean {
  if (req.data_len === req.transfer_len) return true
  nvmet_req_complete(req, NVME_SC_SGL_INVALID_DATA | DNR)
  return false
}

function nvmet_update_sq_head(req: nvmet_req): void {
  const { sq } = req
  if (sq.size) sq.sqhd = (sq.sqhd + 1) % sq.size
  put16(req.rsp, RSP_SQHD, sq.sqhd)
}

export function __nvmet_req_complete(req: nvmet_req, status: number): void {
  const { k } = req_target(req).blk
  const t = enter(k, '__nvmet_req_complete')
  if (req.sq.sqhd_disabled) put16(req.rsp, RSP_SQHD, 0xffff)
  else nvmet_update_sq_head(req)
  put16(req.rsp, RSP_SQID, req.sq.qid)
  put16(req.rsp, RSP_ID, get16(req.cmd, CMD_ID))
  put16(req.rsp, RSP_STATUS, status << 1)
  if (req.ns) nvmet_put_namespace(req)
  req.ops.queue_response(req)
  leave(k, t)
}

/** Ends a request. */
export function nvmet_req_complete(req: nvmet_req, status: number): void {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_req_complete')
  __nvmet_req_complete(req, status)
  leave(k, t)
}

/** Starts what the command asks for, after its data are there. */
export function nvmet_req_execute(req: nvmet_req): ReturnType<nvmet_req['execute']> {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_req_execute')
  const sleep = req.execute(req)
  if (sleep === undefined) {
    leave(k, t)
    return undefined
  }
  return (function* () {
    yield* sleep
    leave(k, t)
  })()
}

/** Whether a command other than the fabrics' own may run now; a status. */
export function nvmet_check_ctrl_status(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_check_ctrl_status')
  const ctrl = req.sq.ctrl!
  const ready = (ctrl.cc & NVME_CC_ENABLE) !== 0 && (ctrl.csts & NVME_CSTS_RDY) !== 0
  return leave(k, t, ready ? 0 : NVME_SC_CMD_SEQ_ERROR | DNR)
}

/** The namespace of a command; a status. */
export function nvmet_find_namespace(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_find_namespace')
  const ns = req.sq.ctrl!.subsys.namespaces.get(get32(req.cmd, CMD_NSID))
  req.ns = ns?.enabled ? ns : null
  return leave(k, t, req.ns ? 0 : NVME_SC_INVALID_NS | DNR)
}

export function nvmet_put_namespace(req: nvmet_req): void {
  const { k } = req_target(req).blk
  leave(k, enter(k, 'nvmet_put_namespace'))
  req.ns = null
}

// ---------------------------------------------------------------- queues

export function nvmet_cq_setup(ctrl: nvmet_ctrl, cq: nvmet_cq, qid: number, size: number): void {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_cq_setup')
  cq.qid = qid
  cq.size = size
  ctrl.cqs.set(qid, cq)
  leave(k, t)
}

export function nvmet_sq_setup(ctrl: nvmet_ctrl, sq: nvmet_sq, qid: number, size: number): void {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_sq_setup')
  sq.sqhd = 0
  sq.qid = qid
  sq.size = size
  ctrl.sqs.set(qid, sq)
  leave(k, t)
}

/**
 * The transport's queue goes: whoever waits for an event over it is answered, and nobody counts it any more when a grace
 * period is over. An admin queue takes its controller, and so all other queues, with it. The transport has waited for the
 * queue's commands.
 */
export function* nvmet_sq_destroy(target: nvmet, sq: nvmet_sq): Sleep<void> {
  const { k } = target.blk
  const t = enter(k, 'nvmet_sq_destroy')
  const { ctrl } = sq
  if (ctrl?.sqs.get(0) === sq) nvmet_async_events_free(ctrl)
  const free_done = new completion(k, 'users of a submission queue')
  call_rcu(k, () => {
    trace_call(k, 'nvmet_confirm_sq')
    const f = enter(k, 'nvmet_sq_free')
    complete(free_done)
    leave(k, f)
  })
  yield* wait_for_completion(free_done)
  if (ctrl) {
    if (ctrl.sqs.get(sq.qid) === sq) {
      ctrl.sqs.delete(sq.qid)
      ctrl.cqs.delete(sq.qid)
    }
    sq.ctrl = null
    if (sq.qid === 0 && ctrl.sqs.size > 0) ctrl.ops.delete_ctrl(ctrl)
    yield* nvmet_ctrl_put(ctrl)
  }
  leave(k, t)
}

// ---------------------------------------------------------------- asynchronous events

/** Commands of this queue that wait for events. */
export function nvmet_async_events(sq: nvmet_sq): number {
  return sq.ctrl?.sqs.get(0) === sq ? sq.ctrl.async_event_cmds.length : 0
}

/** They end with an error. */
function nvmet_async_events_free(ctrl: nvmet_ctrl): void {
  const waiting = ctrl.async_event_cmds.splice(0)
  ctrl.async_events.length = 0
  for (const req of waiting) nvmet_req_complete(req, NVME_SC_INTERNAL | DNR)
}

function nvmet_async_event_work(work: work_struct<nvmet_ctrl>): void {
  const ctrl = work.container
  const t = enter(work.k, 'nvmet_async_event_work')
  while (ctrl.async_event_cmds.length > 0 && ctrl.async_events.length > 0) {
    const req = ctrl.async_event_cmds.pop()!
    const { type, info, log } = ctrl.async_events.shift()!
    nvmet_set_result(req, type | (info << 8) | (log << 16))
    nvmet_req_complete(req, 0)
  }
  leave(work.k, t)
}

export function nvmet_add_async_event(
  ctrl: nvmet_ctrl,
  type: number,
  info: number,
  log: number,
): void {
  const { k } = ctrl.subsys.target.blk
  ctrl.async_events.push({ type, info, log })
  schedule_work(k, ctrl.async_event_work)
}

const NVME_AER_NOTICE = 2

/** Tells every controller of the subsystem that a namespace has changed. */
export function nvmet_ns_changed(subsys: nvmet_subsys, nsid: number): void {
  trace_call(subsys.target.blk.k, 'nvmet_ns_changed')
  for (const ctrl of subsys.ctrls) {
    if (ctrl.changed_ns !== null && !ctrl.changed_ns.includes(nsid)) ctrl.changed_ns.push(nsid)
    if (ctrl.changed_ns && ctrl.changed_ns.length > NVME_MAX_CHANGED_NAMESPACES)
      ctrl.changed_ns = null
    const bit = NVME_AEN_CFG_NS_ATTR
    if (!(ctrl.aen_enabled & bit) || ctrl.aen_masked & bit) continue
    ctrl.aen_masked |= bit
    nvmet_add_async_event(ctrl, NVME_AER_NOTICE, NVME_AER_NOTICE_NS_CHANGED, NVME_LOG_CHANGED_NS)
  }
}

// ---------------------------------------------------------------- keep-alive

function nvmet_keep_alive_timer(work: work_struct<nvmet_ctrl>): void {
  const ctrl = work.container
  const t = enter(work.k, 'nvmet_keep_alive_timer')
  const { traffic_based_keep_alive } = ctrl.subsys.target.options
  if (traffic_based_keep_alive && ctrl.cmd_seen) {
    ctrl.cmd_seen = false
    schedule_delayed_work(work.k, ctrl.ka_work, ctrl.kato * work.k.hz)
  } else nvmet_ctrl_fatal_error(ctrl)
  leave(work.k, t)
}

function nvmet_start_keep_alive_timer(ctrl: nvmet_ctrl): void {
  if (ctrl.kato === 0) return
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_start_keep_alive_timer')
  schedule_delayed_work(k, ctrl.ka_work, ctrl.kato * k.hz)
  leave(k, t)
}

function nvmet_stop_keep_alive_timer(ctrl: nvmet_ctrl): void {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_stop_keep_alive_timer')
  cancel_delayed_work(ctrl.ka_work)
  leave(k, t)
}

/** The period begins again. */
export function nvmet_restart_keep_alive(ctrl: nvmet_ctrl): void {
  const { k } = ctrl.subsys.target.blk
  if (ctrl.kato > 0) mod_delayed_work(k.system_wq, ctrl.ka_work, ctrl.kato * k.hz)
}

/** A new period for keep-alives, seconds; 0 switches them off. */
export function nvmet_set_kato(ctrl: nvmet_ctrl, kato: number): void {
  nvmet_stop_keep_alive_timer(ctrl)
  ctrl.kato = kato
  nvmet_start_keep_alive_timer(ctrl)
}

// ---------------------------------------------------------------- controllers

function nvmet_start_ctrl(ctrl: nvmet_ctrl): void {
  const io = ctrl.subsys.type !== NVME_NQN_DISC
  const sqes = (ctrl.cc >>> 16) & 0xf
  const cqes = (ctrl.cc >>> 20) & 0xf
  const others = (ctrl.cc >>> 4) & 0x3ff // CSS, MPS, AMS
  const entries = !io || (sqes === 6 && cqes === 4)
  if (!entries || others !== 0) {
    ctrl.csts = NVME_CSTS_CFS
    return
  }
  ctrl.csts = NVME_CSTS_RDY
  nvmet_restart_keep_alive(ctrl)
}

function nvmet_clear_ctrl(ctrl: nvmet_ctrl): void {
  ctrl.csts &= ~NVME_CSTS_RDY
  ctrl.cc = 0
}

/** A write of CC. */
export function nvmet_update_cc(ctrl: nvmet_ctrl, value: number): void {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_update_cc')
  const old = ctrl.cc
  ctrl.cc = value
  const enable = (value & NVME_CC_ENABLE) !== 0
  const enabled = (old & NVME_CC_ENABLE) !== 0
  if (enable && !enabled) nvmet_start_ctrl(ctrl)
  if (!enable && enabled) nvmet_clear_ctrl(ctrl)
  const shut = (value & NVME_CC_SHN_MASK) !== 0
  const was = (old & NVME_CC_SHN_MASK) !== 0
  if (shut && !was) {
    nvmet_clear_ctrl(ctrl)
    ctrl.csts |= NVME_CSTS_SHST_CMPLT
  }
  if (!shut && was) ctrl.csts &= ~NVME_CSTS_SHST_CMPLT
  leave(k, t)
}

/** MQES 1023, TO 15 (7.5 s), the NVM command set. */
const NVMET_CAP = (1n << 37n) | (15n << 24n) | BigInt(NVMET_QUEUE_SIZE - 1)

export interface nvmet_host {
  readonly hostid: Uint8Array
  readonly hostnqn: string
}

/** A subsystem by its name, if this port has it. */
export function nvmet_find_get_subsys(port: nvmet_port, subsysnqn: string): nvmet_subsys | null {
  const { k } = port.subsystems[0]!.target.blk
  const t = enter(k, 'nvmet_find_get_subsys')
  const found = port.subsystems.find(one => one.subsysnqn === subsysnqn) ?? null
  return leave(k, t, found)
}

export function nvmet_host_allowed(subsys: nvmet_subsys, hostnqn: string): boolean {
  const { k } = subsys.target.blk
  const t = enter(k, 'nvmet_host_allowed')
  const allowed = subsys.allow_any_host || subsys.hosts.has(hostnqn)
  return leave(k, t, allowed)
}

/** Whether a host may know of a discovery subsystem's existence: everybody may. */
function may_connect(subsys: nvmet_subsys, hostnqn: string): boolean {
  return subsys.type === NVME_NQN_DISC || nvmet_host_allowed(subsys, hostnqn)
}

function free_cntlid(target: nvmet): number {
  for (let id = NVMET_MIN_CNTLID; id <= NVMET_MAX_CNTLID; id++)
    if (!target.cntlids.has(id)) return id
  return 0
}

/** Seconds of keep-alive for what a Connect asked for in ms. */
function kato_seconds(subsys: nvmet_subsys, kato: number): number {
  const seconds = Math.ceil(kato / 1000)
  return subsys.type === NVME_NQN_DISC && seconds === 0 ? NVMET_DISC_KATO : seconds
}

/** A controller for a host, or a status in its place. */
export function nvmet_alloc_ctrl(
  req: nvmet_req,
  subsysnqn: string,
  host: nvmet_host,
  kato: number,
): nvmet_ctrl | number {
  const target = req_target(req)
  const { k } = target.blk
  const t = enter(k, 'nvmet_alloc_ctrl')
  const subsys = nvmet_find_get_subsys(req.port, subsysnqn)
  if (subsys === null) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_DATA(256))
    return leave(k, t, NVME_SC_CONNECT_INVALID_PARAM | DNR)
  }
  if (!may_connect(subsys, host.hostnqn)) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_DATA(512))
    return leave(k, t, NVME_SC_CONNECT_INVALID_HOST | DNR)
  }
  const cntlid = free_cntlid(target)
  if (cntlid === 0) return leave(k, t, NVME_SC_CONNECT_CTRL_BUSY | DNR)
  target.cntlids.add(cntlid)
  const seconds = kato_seconds(subsys, kato)
  const ctrl = new nvmet_ctrl(subsys, cntlid, req.port, host, NVMET_CAP, seconds)
  INIT_WORK(ctrl.async_event_work, nvmet_async_event_work)
  INIT_WORK(ctrl.fatal_err_work, nvmet_fatal_error_handler)
  INIT_DELAYED_WORK(ctrl.ka_work as delayed_work, nvmet_keep_alive_timer)
  nvmet_start_keep_alive_timer(ctrl)
  subsys.ctrls.push(ctrl)
  return leave(k, t, ctrl)
}

/** The controller that an I/O queue's Connect names, or a status. */
export function nvmet_ctrl_find_get(
  req: nvmet_req,
  subsysnqn: string,
  hostnqn: string,
  cntlid: number,
): nvmet_ctrl | number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_ctrl_find_get')
  const subsys = nvmet_find_get_subsys(req.port, subsysnqn)
  const invalid = NVME_SC_CONNECT_INVALID_PARAM | DNR
  if (subsys === null) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_DATA(256))
    return leave(k, t, invalid)
  }
  const ctrl = subsys.ctrls.find(one => one.cntlid === cntlid)
  if (!ctrl || ctrl.hostnqn !== hostnqn || !ctrl.sqs.has(0)) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_DATA(16))
    return leave(k, t, invalid)
  }
  ctrl.ref++
  trace_call(k, 'nvmet_subsys_put')
  return leave(k, t, ctrl)
}

/** One queue less; with the last the controller goes. */
export function* nvmet_ctrl_put(ctrl: nvmet_ctrl): Sleep<void> {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_ctrl_put')
  if (--ctrl.ref === 0) yield* nvmet_ctrl_free(ctrl)
  leave(k, t)
}

function* nvmet_ctrl_free(ctrl: nvmet_ctrl): Sleep<void> {
  const { target, ctrls } = ctrl.subsys
  const { k } = target.blk
  const t = enter(k, 'nvmet_ctrl_free')
  ctrls.splice(ctrls.indexOf(ctrl), 1)
  const s = enter(k, 'nvmet_stop_keep_alive_timer')
  yield* cancel_delayed_work_sync(ctrl.ka_work)
  leave(k, s)
  yield* flush_work(ctrl.async_event_work)
  yield* cancel_work_sync(ctrl.fatal_err_work)
  target.cntlids.delete(ctrl.cntlid)
  trace_call(k, 'nvmet_subsys_put')
  leave(k, t)
}

function nvmet_fatal_error_handler(work: work_struct<nvmet_ctrl>): void {
  const t = enter(work.k, 'nvmet_fatal_error_handler')
  const ctrl = work.container
  ctrl.ops.delete_ctrl(ctrl)
  leave(work.k, t)
}

/** CSTS.CFS, and the association ends. */
export function nvmet_ctrl_fatal_error(ctrl: nvmet_ctrl): void {
  const { k } = ctrl.subsys.target.blk
  const t = enter(k, 'nvmet_ctrl_fatal_error')
  if (!(ctrl.csts & NVME_CSTS_CFS)) {
    ctrl.csts |= NVME_CSTS_CFS
    schedule_work(k, ctrl.fatal_err_work)
  }
  leave(k, t)
}

// ---------------------------------------------------------------- subsystems and ports

/** A subsystem; `max_qid` is the number of I/O queues a controller may have. */
export function nvmet_subsys_alloc(
  target: nvmet,
  subsysnqn: string,
  serial: string,
  max_qid: number,
): nvmet_subsys {
  const { k } = target.blk
  const t = enter(k, 'nvmet_subsys_alloc')
  const disc = subsysnqn === NVME_DISC_SUBSYS_NAME
  const type = disc ? NVME_NQN_DISC : NVME_NQN_NVME
  return leave(k, t, new nvmet_subsys(target, subsysnqn, type, serial, max_qid))
}

export function nvmet_ns_enable(ns: nvmet_ns): void {
  const { k } = ns.subsys.target.blk
  const t = enter(k, 'nvmet_ns_enable')
  nvmet_ns_add(ns)
  leave(k, t)
}

/** A namespace whose disk is open can be found. */
export function nvmet_ns_add(ns: nvmet_ns): void {
  const { subsys } = ns
  subsys.namespaces.set(ns.nsid, ns)
  ns.enabled = true
  nvmet_ns_changed(subsys, ns.nsid)
}

/** Opens a port: its subsystems, the discovery subsystem first, can be connected to. */
export function nvmet_enable_port(
  target: nvmet,
  port: Omit<nvmet_port, 'ops' | 'subsystems'>,
  ops: nvmet_fabrics_ops,
  subsystems: readonly nvmet_subsys[],
): nvmet_port {
  const { k } = target.blk
  const t = enter(k, 'nvmet_enable_port')
  target.disc_subsys ??= nvmet_subsys_alloc(target, NVME_DISC_SUBSYS_NAME, '0', 0)
  const opened: nvmet_port = { ...port, ops, subsystems: [target.disc_subsys, ...subsystems] }
  target.ports.push(opened)
  target.genctr++
  ops.add_port?.(opened)
  return leave(k, t, opened)
}
