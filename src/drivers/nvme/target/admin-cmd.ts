// Admin commands of an I/O controller: drivers/nvme/target/admin-cmd.c of Linux 4.19, with the log pages of 5.10.
//
//   Get Log Page     1 error (empty), 2 SMART, 3 firmware slot, 4 changed namespaces, 5 commands supported; from any
//                    dword offset
//   Identify         0 namespace, 1 controller, 2 active namespaces, 3 descriptors; identify.ts fills them
//   Set/Get Features 6 cache, 7 queues, 0Bh events, 0Fh keep-alive, 81h host identifier
//   Abort            answered "not aborted"
//   Async Event      held; one too many gets 105
//   Keep Alive       begins a new period

import {
  NVME_CMD_DSM,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_ZEROES,
  NVME_SC_DNR,
  NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_NS,
  NVME_SC_INVALID_OPCODE,
} from '../../../../assembly/nvme.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { schedule_work } from '../../../kernel/workqueue-queue.js'
import { get16, get32, put16, put32, put64 } from '../bytes.js'
import {
  CMD_CDW10,
  CMD_CDW11,
  CMD_CDW12,
  CMD_NSID,
  CMD_OPCODE,
  NVME_AEN_CFG_NS_ATTR,
  NVME_FEAT_ASYNC_EVENT,
  NVME_FEAT_HOST_ID,
  NVME_FEAT_KATO,
  NVME_FEAT_NUM_QUEUES,
  NVME_FEAT_VOLATILE_WC,
  NVME_ID_CNS_CTRL,
  NVME_ID_CNS_NS,
  NVME_ID_CNS_NS_ACTIVE_LIST,
  NVME_ID_CNS_NS_DESC_LIST,
  NVME_LOG_CHANGED_NS,
  NVME_LOG_CMD_EFFECTS,
  NVME_LOG_ERROR,
  NVME_LOG_FW_SLOT,
  NVME_LOG_SMART,
  NVME_SC_ASYNC_LIMIT,
  NVME_SC_CMD_SEQ_ERROR,
  nvme_admin_abort_cmd,
  nvme_admin_async_event,
  nvme_admin_get_features,
  nvme_admin_get_log_page,
  nvme_admin_identify,
  nvme_admin_keep_alive,
  nvme_admin_set_features,
} from '../nvme.js'
import {
  nvmet_find_namespace,
  nvmet_put_namespace,
  nvmet_check_ctrl_status,
  nvmet_check_data_len,
  nvmet_copy_to_sgl,
  nvmet_req_complete,
  nvmet_restart_keep_alive,
  nvmet_set_kato,
  nvmet_set_result,
  nvmet_zero_sgl,
  req_target,
} from './core.js'
import {
  IDENTIFY_BYTES,
  identify_ctrl,
  ns_identifiers,
  identify_ns,
  identify_nslist,
} from './identify.js'
import { NVMET_ASYNC_EVENTS, type nvmet_ctrl, type nvmet_ns, type nvmet_req } from './nvmet.js'

const DNR = NVME_SC_DNR
const HOST_ID_BYTES = 16
const ALL_NAMESPACES = 0xffffffff
/** Bit 15 of dword 10 of Get Log Page. */
const RETAIN_ASYNC_EVENT = 0x80

/** The first commands of 1.3: both sides are counted in units of 1000 * 512 bytes, rounded up. */
const SMART_UNIT = 512_000

// ---------------------------------------------------------------- log pages

/** Bytes that a Get Log Page asks for. */
export function nvmet_get_log_page_len(cmd: Uint8Array): number {
  return (get16(cmd, CMD_CDW11) * 65536 + get16(cmd, CMD_CDW10 + 2) + 1) * 4
}

/** Offset into the log that a Get Log Page begins at. */
export function nvmet_get_log_page_offset(cmd: Uint8Array): number {
  return get32(cmd, CMD_CDW12) + get32(cmd, CMD_CDW12 + 4) * 2 ** 32
}

/** Answers with a part of a log, zeros behind its end. */
export function answer_log(req: nvmet_req, log: Uint8Array): void {
  const offset = nvmet_get_log_page_offset(req.cmd)
  if (offset % 4 !== 0) {
    nvmet_req_complete(req, NVME_SC_INVALID_FIELD | DNR)
    return
  }
  const part = log.subarray(Math.min(offset, log.length), offset + req.transfer_len)
  nvmet_zero_sgl(req, part.length, req.transfer_len - part.length)
  nvmet_req_complete(req, nvmet_copy_to_sgl(req, 0, part))
}

function smart_log(ctrl: nvmet_ctrl, nsid: number): Uint8Array | null {
  const log = new Uint8Array(512)
  const { namespaces } = ctrl.subsys
  const all = nsid === ALL_NAMESPACES || nsid === 0
  const chosen = all ? [...namespaces.values()] : [namespaces.get(nsid)]
  if (chosen.includes(undefined)) return null
  const sum = (of: 'read_bytes' | 'written_bytes' | 'reads' | 'writes'): number =>
    chosen.reduce((total, ns) => total + ns![of], 0)
  put16(log, 1, 298) // kelvin
  log[3] = 100 // spare
  put64(log, 32, Math.ceil(sum('read_bytes') / SMART_UNIT))
  put64(log, 48, Math.ceil(sum('written_bytes') / SMART_UNIT))
  put64(log, 64, sum('reads'))
  put64(log, 80, sum('writes'))
  return log
}

/** Supported commands: bit 0; changing data: bit 1. */
function effects_log(): Uint8Array {
  const log = new Uint8Array(4096)
  for (const opcode of [
    nvme_admin_get_log_page,
    nvme_admin_identify,
    nvme_admin_abort_cmd,
    nvme_admin_set_features,
    nvme_admin_get_features,
    nvme_admin_async_event,
    nvme_admin_keep_alive,
  ])
    put32(log, 4 * opcode, 1)
  for (const opcode of [NVME_CMD_READ, NVME_CMD_FLUSH]) put32(log, 1024 + 4 * opcode, 1)
  for (const opcode of [NVME_CMD_WRITE, NVME_CMD_DSM, NVME_CMD_WRITE_ZEROES])
    put32(log, 1024 + 4 * opcode, 3)
  return log
}

/** `rae`: the event stays masked, so that no other is sent for what changes from now on. */
function changed_ns_log(ctrl: nvmet_ctrl, rae: boolean): Uint8Array {
  const log = new Uint8Array(4096)
  if (ctrl.changed_ns === null) put32(log, 0, ALL_NAMESPACES)
  else for (const [i, nsid] of ctrl.changed_ns.entries()) put32(log, 4 * i, nsid)
  ctrl.changed_ns = []
  if (!rae) ctrl.aen_masked &= ~NVME_AEN_CFG_NS_ATTR
  return log
}

function log_page(req: nvmet_req): Uint8Array | number {
  const ctrl = req.sq.ctrl!
  switch (req.cmd[CMD_CDW10]) {
    case NVME_LOG_ERROR:
      return new Uint8Array(64)
    case NVME_LOG_SMART:
      return smart_log(ctrl, get32(req.cmd, CMD_NSID)) ?? NVME_SC_INVALID_NS | DNR
    case NVME_LOG_FW_SLOT:
      return new Uint8Array(512)
    case NVME_LOG_CHANGED_NS:
      return changed_ns_log(ctrl, (req.cmd[CMD_CDW10 + 1]! & RETAIN_ASYNC_EVENT) !== 0)
    case NVME_LOG_CMD_EFFECTS:
      return effects_log()
    default:
      return NVME_SC_INVALID_FIELD | DNR
  }
}

/** The pages have functions of their own in 4.19. */
const LOG_FUNCTIONS: Readonly<Record<number, string>> = {
  [NVME_LOG_SMART]: 'nvmet_execute_get_log_smart',
  [NVME_LOG_CHANGED_NS]: 'nvmet_execute_get_log_changed_ns',
  [NVME_LOG_CMD_EFFECTS]: 'nvmet_execute_get_log_cmd_effects_ns',
}

function nvmet_execute_get_log_page(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, LOG_FUNCTIONS[req.cmd[CMD_CDW10]!] ?? 'nvmet_execute_get_log_page')
  if (nvmet_check_data_len(req)) {
    const log = log_page(req)
    if (typeof log === 'number') nvmet_req_complete(req, log)
    else answer_log(req, log)
  }
  leave(k, t)
  return undefined
}

// ---------------------------------------------------------------- identify

function answer_identify(req: nvmet_req, data: Uint8Array | number): void {
  if (typeof data === 'number') nvmet_req_complete(req, data)
  else nvmet_req_complete(req, nvmet_copy_to_sgl(req, 0, data))
}

function nvmet_execute_identify_ctrl(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_identify_ctrl')
  if (nvmet_check_data_len(req)) answer_identify(req, identify_ctrl(req.sq.ctrl!))
  leave(k, t)
  return undefined
}

/** The namespace that a command asks about, if it is there. */
function namespace_of(req: nvmet_req): nvmet_ns | null {
  const { k } = req_target(req).blk
  trace_call(k, 'nvmet_find_namespace')
  const ns = req.sq.ctrl!.subsys.namespaces.get(get32(req.cmd, CMD_NSID))
  if (!ns?.enabled) return null
  trace_call(k, 'nvmet_put_namespace')
  return ns
}

/** Writes the descriptors of a namespace, and zeros behind them; a status. */
function put_identifiers(req: nvmet_req): number {
  const status = nvmet_find_namespace(req)
  if (status) return status
  const copied = copy_identifiers(req, req.ns!)
  nvmet_put_namespace(req)
  return copied
}

function copy_identifiers(req: nvmet_req, ns: nvmet_ns): number {
  const { k } = req_target(req).blk
  let at = 0
  for (const bytes of ns_identifiers(ns)) {
    const t = enter(k, 'nvmet_copy_ns_identifier')
    const status =
      nvmet_copy_to_sgl(req, at, bytes.subarray(0, 4)) ||
      nvmet_copy_to_sgl(req, at + 4, bytes.subarray(4))
    leave(k, t)
    if (status) return status
    at += bytes.length
  }
  return nvmet_zero_sgl(req, at, IDENTIFY_BYTES - at)
}

function nvmet_execute_identify_ns(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_identify_ns')
  const nsid = get32(req.cmd, CMD_NSID)
  if (!nvmet_check_data_len(req)) return leave(k, t, undefined)
  const bad = nsid === ALL_NAMESPACES || nsid === 0
  const ns = bad ? null : namespace_of(req)
  if (bad) answer_identify(req, NVME_SC_INVALID_NS | DNR)
  else answer_identify(req, ns ? identify_ns(ns) : new Uint8Array(IDENTIFY_BYTES))
  leave(k, t)
  return undefined
}

function nvmet_execute_identify_nslist(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_identify_nslist')
  const nsid = get32(req.cmd, CMD_NSID)
  if (nvmet_check_data_len(req)) {
    const last = nsid >= ALL_NAMESPACES - 1
    answer_identify(req, last ? NVME_SC_INVALID_NS | DNR : identify_nslist(req.sq.ctrl!, nsid))
  }
  leave(k, t)
  return undefined
}

function nvmet_execute_identify_desclist(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_identify_desclist')
  if (nvmet_check_data_len(req)) nvmet_req_complete(req, put_identifiers(req))
  leave(k, t)
  return undefined
}

const IDENTIFY: Readonly<Record<number, nvmet_req['execute']>> = {
  [NVME_ID_CNS_NS]: nvmet_execute_identify_ns,
  [NVME_ID_CNS_CTRL]: nvmet_execute_identify_ctrl,
  [NVME_ID_CNS_NS_ACTIVE_LIST]: nvmet_execute_identify_nslist,
  [NVME_ID_CNS_NS_DESC_LIST]: nvmet_execute_identify_desclist,
}

// ---------------------------------------------------------------- features

function number_of_queues(ctrl: nvmet_ctrl): number {
  const last = ctrl.subsys.max_qid - 1
  return last | (last << 16)
}

function set_kato_feature(ctrl: nvmet_ctrl, ms: number): number {
  nvmet_set_kato(ctrl, Math.ceil(ms / 1000))
  return ctrl.kato * 1000
}

/** A status; the result is set. */
export function set_feature(req: nvmet_req): number {
  const ctrl = req.sq.ctrl!
  const value = get32(req.cmd, CMD_CDW11)
  switch (req.cmd[CMD_CDW10]) {
    case NVME_FEAT_NUM_QUEUES:
      if ((value & 0xffff) === 0xffff || value >>> 16 === 0xffff) return NVME_SC_INVALID_FIELD | DNR
      nvmet_set_result(req, number_of_queues(ctrl))
      return 0
    case NVME_FEAT_KATO:
      nvmet_set_result(req, set_kato_feature(ctrl, value))
      return 0
    case NVME_FEAT_ASYNC_EVENT:
      if (value & ~(NVME_AEN_CFG_NS_ATTR | 0xff)) return NVME_SC_INVALID_FIELD | DNR
      ctrl.aen_enabled = value
      nvmet_set_result(req, value)
      return 0
    case NVME_FEAT_HOST_ID:
      return NVME_SC_CMD_SEQ_ERROR | DNR
    default:
      return NVME_SC_INVALID_FIELD | DNR
  }
}

function nvmet_execute_set_features(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_set_features')
  if (nvmet_check_data_len(req)) nvmet_req_complete(req, set_feature(req))
  leave(k, t)
  return undefined
}

/** A status; result and data are set. */
export function get_feature(req: nvmet_req): number {
  const ctrl = req.sq.ctrl!
  switch (req.cmd[CMD_CDW10]) {
    case NVME_FEAT_VOLATILE_WC:
      nvmet_set_result(req, 1)
      return 0
    case NVME_FEAT_NUM_QUEUES:
      nvmet_set_result(req, number_of_queues(ctrl))
      return 0
    case NVME_FEAT_KATO:
      nvmet_set_result(req, ctrl.kato * 1000)
      return 0
    case NVME_FEAT_ASYNC_EVENT:
      nvmet_set_result(req, ctrl.aen_enabled)
      return 0
    case NVME_FEAT_HOST_ID:
      if (!(get32(req.cmd, CMD_CDW11) & 1)) return NVME_SC_INVALID_FIELD | DNR
      return nvmet_copy_to_sgl(req, 0, ctrl.hostid)
    default:
      return NVME_SC_INVALID_FIELD | DNR
  }
}

function nvmet_execute_get_features(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_get_features')
  // Hosts bring a buffer for features that have no data as well: it comes back empty, not as somebody left it.
  nvmet_zero_sgl(req, 0, req.transfer_len)
  nvmet_req_complete(req, get_feature(req))
  leave(k, t)
  return undefined
}

// ---------------------------------------------------------------- the rest

function nvmet_execute_abort(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_abort')
  if (nvmet_check_data_len(req)) {
    nvmet_set_result(req, 1)
    nvmet_req_complete(req, 0)
  }
  leave(k, t)
  return undefined
}

export function nvmet_execute_async_event(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_async_event')
  const ctrl = req.sq.ctrl!
  if (!nvmet_check_data_len(req)) return leave(k, t, undefined)
  if (ctrl.async_event_cmds.length >= NVMET_ASYNC_EVENTS)
    nvmet_req_complete(req, NVME_SC_ASYNC_LIMIT | DNR)
  else {
    ctrl.async_event_cmds.push(req)
    schedule_work(k, ctrl.async_event_work)
  }
  leave(k, t)
  return undefined
}

export function nvmet_execute_keep_alive(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_keep_alive')
  if (nvmet_check_data_len(req)) {
    nvmet_restart_keep_alive(req.sq.ctrl!)
    nvmet_req_complete(req, 0)
  }
  leave(k, t)
  return undefined
}

/** The command will be done by that function, and moves so many bytes; a status. */
export function plan(req: nvmet_req, execute: nvmet_req['execute'], data_len = 0): number {
  req.execute = execute
  req.data_len = data_len
  return 0
}

/** What an admin command of an I/O controller means; a status. */
export function nvmet_parse_admin_cmd(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_parse_admin_cmd')
  const status = nvmet_check_ctrl_status(req)
  return leave(k, t, status || parse_admin(req))
}

function parse_admin(req: nvmet_req): number {
  const { cmd } = req
  switch (cmd[CMD_OPCODE]) {
    case nvme_admin_get_log_page:
      return plan(req, nvmet_execute_get_log_page, nvmet_get_log_page_len(cmd))
    case nvme_admin_identify: {
      const identify = IDENTIFY[cmd[CMD_CDW10]!]
      if (identify === undefined) return NVME_SC_INVALID_FIELD | DNR
      return plan(req, identify, IDENTIFY_BYTES)
    }
    case nvme_admin_abort_cmd:
      return plan(req, nvmet_execute_abort)
    case nvme_admin_set_features:
      return plan(req, nvmet_execute_set_features)
    case nvme_admin_get_features:
      return plan(req, nvmet_execute_get_features, feature_bytes(cmd))
    case nvme_admin_async_event:
      return plan(req, nvmet_execute_async_event)
    case nvme_admin_keep_alive:
      return plan(req, nvmet_execute_keep_alive)
    default:
      return NVME_SC_INVALID_OPCODE | DNR
  }
}

function feature_bytes(cmd: Uint8Array): number {
  return cmd[CMD_CDW10] === NVME_FEAT_HOST_ID ? HOST_ID_BYTES : 0
}
