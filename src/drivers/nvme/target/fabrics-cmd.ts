// Connect and properties: drivers/nvme/target/fabrics-cmd.c of Linux 4.19.
//
//   Connect refused for            status   dword 0 of the answer
//   recfmt not 0                   180
//   admin: cntlid not 0xFFFF       182      1<<16 | 16
//   unknown subnqn                 182      1<<16 | 256
//   host not allowed               184      1<<16 | 512
//   no cntlid left                 181
//   I/O: cntlid unknown, or another host's   182   1<<16 | 16
//   qid above the maximum          182      42
//   sqsize 0, or above MQES        182      44
//   the queue identifier is in use 00C
//
// All with DNR. Properties: CAP (8 bytes), VS, CC, CSTS (4) can be read, CC can be written; anything else is 002.

import {
  NVME_SC_DNR,
  NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_OPCODE,
} from '../../../../assembly/nvme.js'
import type { Sleep } from '../../../kernel/core.js'
import { enter, leave } from '../../../kernel/trace.js'
import { get16, get32, getText, putBig64 } from '../bytes.js'
import {
  CMD_FCTYPE,
  CMD_OPCODE,
  CONNECT_CATTR,
  CONNECT_DATA_BYTES,
  CONNECT_DATA_CNTLID,
  CONNECT_DATA_HOSTID,
  CONNECT_DATA_HOSTNQN,
  CONNECT_DATA_SUBNQN,
  CONNECT_KATO,
  CONNECT_QID,
  CONNECT_RECFMT,
  CONNECT_SQSIZE,
  NVME_CNTLID_DYNAMIC,
  NVME_CONNECT_DISABLE_SQFLOW,
  nvme_fabrics_command,
  nvme_fabrics_type_connect,
  nvme_fabrics_type_property_get,
  nvme_fabrics_type_property_set,
  NVME_REG_CAP,
  NVME_REG_CC,
  NVME_REG_CSTS,
  NVME_REG_VS,
  NVME_SC_CMD_SEQ_ERROR,
  NVME_SC_CONNECT_CTRL_BUSY,
  NVME_SC_CONNECT_FORMAT,
  NVME_SC_CONNECT_INVALID_PARAM,
  NVMF_NQN_FIELD_LEN,
  PROP_ATTRIB,
  PROP_OFFSET,
  PROP_VALUE,
} from '../nvme.js'
import {
  IPO_IATTR_CONNECT_DATA,
  IPO_IATTR_CONNECT_SQE,
  nvmet_alloc_ctrl,
  nvmet_check_data_len,
  nvmet_copy_from_sgl,
  nvmet_cq_setup,
  nvmet_ctrl_find_get,
  nvmet_ctrl_put,
  nvmet_req_complete,
  nvmet_set_result,
  nvmet_sq_setup,
  nvmet_update_cc,
  req_target,
} from './core.js'
import { type nvmet_ctrl, NVMET_QUEUE_SIZE, type nvmet_req } from './nvmet.js'

const DNR = NVME_SC_DNR
/** NVMe 1.3.0. */
export const NVMET_VS = 0x10300

function nvmet_execute_prop_set(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_prop_set')
  if (!nvmet_check_data_len(req)) return leave(k, t, undefined)
  const narrow = (req.cmd[PROP_ATTRIB]! & 1) === 0
  let status = NVME_SC_INVALID_FIELD | DNR
  if (narrow && get32(req.cmd, PROP_OFFSET) === NVME_REG_CC) {
    nvmet_update_cc(req.sq.ctrl!, get32(req.cmd, PROP_VALUE))
    status = 0
  }
  nvmet_req_complete(req, status)
  leave(k, t)
  return undefined
}

/** A property, null when there is none of that offset and width. */
function property(ctrl: nvmet_ctrl, offset: number, wide: boolean): bigint | null {
  if (wide) return offset === NVME_REG_CAP ? ctrl.cap : null
  if (offset === NVME_REG_VS) return BigInt(NVMET_VS)
  if (offset === NVME_REG_CC) return BigInt(ctrl.cc >>> 0)
  return offset === NVME_REG_CSTS ? BigInt(ctrl.csts) : null
}

function nvmet_execute_prop_get(req: nvmet_req): undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_prop_get')
  if (!nvmet_check_data_len(req)) return leave(k, t, undefined)
  const wide = (req.cmd[PROP_ATTRIB]! & 1) !== 0
  const value = property(req.sq.ctrl!, get32(req.cmd, PROP_OFFSET), wide)
  if (value !== null) putBig64(req.rsp, 0, value)
  nvmet_req_complete(req, value === null ? NVME_SC_INVALID_FIELD | DNR : 0)
  leave(k, t)
  return undefined
}

/** Fabrics commands of a connected admin queue. */
export function nvmet_parse_fabrics_cmd(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_parse_fabrics_cmd')
  switch (req.cmd[CMD_FCTYPE]) {
    case nvme_fabrics_type_property_set:
      req.execute = nvmet_execute_prop_set
      return leave(k, t, 0)
    case nvme_fabrics_type_property_get:
      req.execute = nvmet_execute_prop_get
      return leave(k, t, 0)
    default:
      return leave(k, t, NVME_SC_INVALID_OPCODE | DNR)
  }
}

function nvmet_install_queue(ctrl: nvmet_ctrl, req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_install_queue')
  const { cmd, sq } = req
  const qid = get16(cmd, CONNECT_QID)
  const sqsize = get16(cmd, CONNECT_SQSIZE)
  if (sqsize === 0 || sqsize > NVMET_QUEUE_SIZE - 1) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_SQE(CONNECT_SQSIZE))
    return leave(k, t, NVME_SC_CONNECT_INVALID_PARAM | DNR)
  }
  if (sq.ctrl !== null) return leave(k, t, NVME_SC_CONNECT_CTRL_BUSY | DNR)
  if (ctrl.sqs.has(qid)) return leave(k, t, NVME_SC_CMD_SEQ_ERROR | DNR)
  sq.ctrl = ctrl
  nvmet_cq_setup(ctrl, req.cq, qid, sqsize + 1)
  nvmet_sq_setup(ctrl, sq, qid, sqsize + 1)
  if (cmd[CONNECT_CATTR]! & NVME_CONNECT_DISABLE_SQFLOW) sq.sqhd_disabled = true
  return leave(k, t, 0)
}

interface ConnectData {
  readonly hostid: Uint8Array
  readonly cntlid: number
  readonly subsysnqn: string
  readonly hostnqn: string
}

function connect_data_of(req: nvmet_req): ConnectData | number {
  const data = new Uint8Array(CONNECT_DATA_BYTES)
  const status = nvmet_copy_from_sgl(req, 0, data)
  if (status) return status
  return {
    hostid: data.slice(CONNECT_DATA_HOSTID, CONNECT_DATA_HOSTID + 16),
    cntlid: get16(data, CONNECT_DATA_CNTLID),
    subsysnqn: getText(data, CONNECT_DATA_SUBNQN, NVMF_NQN_FIELD_LEN),
    hostnqn: getText(data, CONNECT_DATA_HOSTNQN, NVMF_NQN_FIELD_LEN),
  }
}

function* connect_admin(req: nvmet_req, data: ConnectData): Sleep<number> {
  if (data.cntlid !== NVME_CNTLID_DYNAMIC) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_DATA(CONNECT_DATA_CNTLID))
    return NVME_SC_CONNECT_INVALID_PARAM | DNR
  }
  const kato = get32(req.cmd, CONNECT_KATO)
  const ctrl = nvmet_alloc_ctrl(req, data.subsysnqn, data, kato)
  if (typeof ctrl === 'number') return ctrl
  const status = nvmet_install_queue(ctrl, req)
  if (status) yield* nvmet_ctrl_put(ctrl)
  else nvmet_set_result(req, ctrl.cntlid)
  return status
}

function* connect_io(req: nvmet_req, data: ConnectData): Sleep<number> {
  const ctrl = nvmet_ctrl_find_get(req, data.subsysnqn, data.hostnqn, data.cntlid)
  if (typeof ctrl === 'number') return ctrl
  let status: number
  if (get16(req.cmd, CONNECT_QID) > ctrl.subsys.max_qid) {
    nvmet_set_result(req, IPO_IATTR_CONNECT_SQE(CONNECT_QID))
    status = NVME_SC_CONNECT_INVALID_PARAM | DNR
  } else status = nvmet_install_queue(ctrl, req)
  if (status) yield* nvmet_ctrl_put(ctrl)
  else nvmet_set_result(req, ctrl.cntlid)
  return status
}

function* execute_connect(req: nvmet_req, connect: typeof connect_admin): Sleep<void> {
  if (!nvmet_check_data_len(req)) return
  const data = connect_data_of(req)
  if (typeof data === 'number') nvmet_req_complete(req, data)
  else if (get16(req.cmd, CONNECT_RECFMT) !== 0)
    nvmet_req_complete(req, NVME_SC_CONNECT_FORMAT | DNR)
  else nvmet_req_complete(req, yield* connect(req, data))
}

function* nvmet_execute_admin_connect(req: nvmet_req): Sleep<void> {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_admin_connect')
  yield* execute_connect(req, connect_admin)
  leave(k, t)
}

function* nvmet_execute_io_connect(req: nvmet_req): Sleep<void> {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_execute_io_connect')
  yield* execute_connect(req, connect_io)
  leave(k, t)
}

/** The first command of a queue: Connect, nothing else. */
export function nvmet_parse_connect_cmd(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_parse_connect_cmd')
  const { cmd } = req
  const connect =
    cmd[CMD_OPCODE] === nvme_fabrics_command && cmd[CMD_FCTYPE] === nvme_fabrics_type_connect
  if (!connect) return leave(k, t, NVME_SC_INVALID_OPCODE | DNR)
  req.data_len = CONNECT_DATA_BYTES
  const admin = get16(cmd, CONNECT_QID) === 0
  req.execute = admin ? nvmet_execute_admin_connect : nvmet_execute_io_connect
  return leave(k, t, 0)
}
