// The discovery subsystem: drivers/nvme/target/discovery.c of Linux 4.19.
//
// Its one log (70h) is a header of 1024 bytes (generation, number of records, format 0) and an entry of 1024 bytes for each
// subsystem of the port that the host may connect to. It can be read in parts, from any dword offset.

import {
  NVME_SC_DNR,
  NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_OPCODE,
} from '../../../../assembly/nvme.js'
import { enter, leave } from '../../../kernel/trace.js'
import { put16, put64, putText } from '../bytes.js'
import {
  CMD_CDW10,
  CMD_OPCODE,
  NVME_AQ_DEPTH,
  NVME_CNTLID_DYNAMIC,
  NVME_ID_CNS_CTRL,
  NVME_LOG_DISC,
  NVME_NQN_DISC,
  NVME_NQN_NVME,
  NVME_FEAT_ASYNC_EVENT,
  NVME_FEAT_KATO,
  NVMF_ADDR_FAMILY_IP4,
  NVMF_ADDR_FAMILY_IP6,
  NVMF_NQN_FIELD_LEN,
  NVMF_TRADDR_SIZE,
  NVMF_TRSVCID_SIZE,
  nvme_admin_async_event,
  nvme_admin_get_features,
  nvme_admin_get_log_page,
  nvme_admin_identify,
  nvme_admin_keep_alive,
  nvme_admin_set_features,
} from '../nvme.js'
import {
  answer_log,
  get_feature,
  nvmet_execute_async_event,
  nvmet_execute_keep_alive,
  nvmet_get_log_page_len,
  plan,
  set_feature,
} from './admin-cmd.js'
import {
  nvmet_check_ctrl_status,
  nvmet_check_data_len,
  nvmet_copy_to_sgl,
  nvmet_host_allowed,
  nvmet_req_complete,
  req_target,
} from './core.js'
import { IDENTIFY_BYTES, identify_disc_ctrl } from './identify.js'
import type { nvmet_port, nvmet_req, nvmet_subsys } from './nvmet.js'

const DNR = NVME_SC_DNR
const ENTRY = 1024
const SPACE = 0x20
/** TREQ: SQ flow control may be disabled; secure channel unspecified. */
const TREQ_DISABLE_SQFLOW = 4

/** A port of both families shows each connection the address that it came to. */
function adrfam_of({ adrfam }: nvmet_port, traddr: string): number {
  return adrfam === NVMF_ADDR_FAMILY_IP6 && !traddr.includes(':') ? NVMF_ADDR_FAMILY_IP4 : adrfam
}

function put_entry(
  log: Uint8Array,
  at: number,
  port: nvmet_port,
  subsys: nvmet_subsys,
  traddr: string,
): void {
  log[at] = port.trtype
  log[at + 1] = adrfam_of(port, traddr)
  log[at + 2] = subsys.type === NVME_NQN_DISC ? NVME_NQN_DISC : NVME_NQN_NVME
  log[at + 3] = TREQ_DISABLE_SQFLOW
  put16(log, at + 4, port.portid)
  put16(log, at + 6, NVME_CNTLID_DYNAMIC)
  put16(log, at + 8, NVME_AQ_DEPTH)
  putText(log, at + 32, NVMF_TRSVCID_SIZE, port.trsvcid, SPACE)
  putText(log, at + 256, NVMF_NQN_FIELD_LEN, subsys.subsysnqn)
  putText(log, at + 512, NVMF_TRADDR_SIZE, traddr, SPACE)
}

/** The log as one host sees it. */
function disc_log(req: nvmet_req): Uint8Array {
  const { port } = req
  const { hostnqn } = req.sq.ctrl!
  const seen = port.subsystems.filter(
    subsys => subsys.type !== NVME_NQN_DISC && nvmet_host_allowed(subsys, hostnqn),
  )
  const traddr = req.ops.disc_traddr?.(req) ?? port.traddr
  const log = new Uint8Array(ENTRY * (1 + seen.length))
  put64(log, 0, req_target(req).genctr)
  put64(log, 8, seen.length)
  for (const [i, subsys] of seen.entries()) put_entry(log, ENTRY * (i + 1), port, subsys, traddr)
  return log
}

function nvmet_execute_get_disc_log_page(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_get_disc_log_page')
  if (nvmet_check_data_len(req)) {
    if (req.cmd[CMD_CDW10] === NVME_LOG_DISC) answer_log(req, disc_log(req))
    else nvmet_req_complete(req, NVME_SC_INVALID_FIELD | DNR)
  }
  leave(k, t)
  return undefined
}

function nvmet_execute_identify_disc_ctrl(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_identify_disc_ctrl')
  if (nvmet_check_data_len(req))
    nvmet_req_complete(req, nvmet_copy_to_sgl(req, 0, identify_disc_ctrl(req.sq.ctrl!)))
  leave(k, t)
  return undefined
}

/** A discovery controller has two features: keep-alive, and which events are sent. */
function answer(status: (req: nvmet_req) => number): nvmet_req['execute'] {
  return req => {
    const fid = req.cmd[CMD_CDW10]
    const there = fid === NVME_FEAT_KATO || fid === NVME_FEAT_ASYNC_EVENT
    if (nvmet_check_data_len(req))
      nvmet_req_complete(req, there ? status(req) : NVME_SC_INVALID_FIELD | DNR)
    return undefined
  }
}

const set_disc_features = answer(set_feature)
const get_disc_features = answer(get_feature)

/** Admin commands of a discovery controller; a status. */
export function nvmet_parse_discovery_cmd(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_parse_discovery_cmd')
  const status = nvmet_check_ctrl_status(req)
  return leave(k, t, status || parse_discovery(req))
}

function parse_discovery(req: nvmet_req): number {
  const { cmd } = req
  switch (cmd[CMD_OPCODE]) {
    case nvme_admin_set_features:
      return plan(req, set_disc_features)
    case nvme_admin_get_features:
      return plan(req, get_disc_features)
    case nvme_admin_async_event:
      return plan(req, nvmet_execute_async_event)
    case nvme_admin_keep_alive:
      return plan(req, nvmet_execute_keep_alive)
    case nvme_admin_get_log_page:
      return plan(req, nvmet_execute_get_disc_log_page, nvmet_get_log_page_len(cmd))
    case nvme_admin_identify:
      if (cmd[CMD_CDW10] !== NVME_ID_CNS_CTRL) return NVME_SC_INVALID_FIELD | DNR
      return plan(req, nvmet_execute_identify_disc_ctrl, IDENTIFY_BYTES)
    default:
      return NVME_SC_INVALID_OPCODE | DNR
  }
}
