// What host and target of the fabrics share: include/linux/nvme.h of Linux 4.19 as far as it is about fabrics commands,
// capsules, controller properties, identify data and the discovery log. assembly/nvme.ts has the rest (opcodes of the
// NVM command set, status codes that the core knows).
//
// A command is 64 bytes and a completion 16 bytes, both little-endian. Statuses are those of a completion shifted right
// by one: SC 7:0, SCT 10:8, DNR 0x4000.

import { put16, put32, put64, putBig64, putText } from './bytes.js'

export const NVME_DISC_SUBSYS_NAME = 'nqn.2014-08.org.nvmexpress.discovery'
export const NVMF_NQN_FIELD_LEN = 256
/** The longest name, with its ending zero. */
export const NVMF_NQN_SIZE = 223
export const NVMF_TRADDR_SIZE = 256
export const NVMF_TRSVCID_SIZE = 32

export const NVMF_TRTYPE_RDMA = 1
export const NVMF_TRTYPE_FC = 2
export const NVMF_TRTYPE_TCP = 3
export const NVMF_TRTYPE_LOOP = 254

export const NVMF_ADDR_FAMILY_IP4 = 1
export const NVMF_ADDR_FAMILY_IP6 = 2
export const NVMF_ADDR_FAMILY_FC = 4

export const NVME_NQN_DISC = 1
export const NVME_NQN_NVME = 2

/** Entries of an admin queue over fabrics. */
export const NVME_AQ_DEPTH = 32

// ---------------------------------------------------------------- properties

export const NVME_REG_CAP = 0x00
export const NVME_REG_VS = 0x08
export const NVME_REG_CC = 0x14
export const NVME_REG_CSTS = 0x1c

export const NVME_CC_ENABLE = 1
export const NVME_CC_SHN_NORMAL: number = 1 << 14
export const NVME_CC_SHN_MASK: number = 3 << 14
export const NVME_CC_IOSQES: number = 6 << 16
export const NVME_CC_IOCQES: number = 4 << 20

export const NVME_CSTS_RDY = 1
export const NVME_CSTS_CFS = 2
export const NVME_CSTS_SHST_CMPLT: number = 2 << 2
export const NVME_CSTS_SHST_MASK: number = 3 << 2

// ---------------------------------------------------------------- opcodes

export const nvme_admin_get_log_page = 0x02
export const nvme_admin_identify = 0x06
export const nvme_admin_abort_cmd = 0x08
export const nvme_admin_set_features = 0x09
export const nvme_admin_get_features = 0x0a
export const nvme_admin_async_event = 0x0c
export const nvme_admin_keep_alive = 0x18
export const nvme_fabrics_command = 0x7f

export const nvme_fabrics_type_property_set = 0x00
export const nvme_fabrics_type_connect = 0x01
export const nvme_fabrics_type_property_get = 0x04

export const NVME_ID_CNS_NS = 0
export const NVME_ID_CNS_CTRL = 1
export const NVME_ID_CNS_NS_ACTIVE_LIST = 2
export const NVME_ID_CNS_NS_DESC_LIST = 3

export const NVME_LOG_ERROR = 0x01
export const NVME_LOG_SMART = 0x02
export const NVME_LOG_FW_SLOT = 0x03
export const NVME_LOG_CHANGED_NS = 0x04
export const NVME_LOG_CMD_EFFECTS = 0x05
export const NVME_LOG_DISC = 0x70

export const NVME_FEAT_VOLATILE_WC = 0x06
export const NVME_FEAT_NUM_QUEUES = 0x07
export const NVME_FEAT_ASYNC_EVENT = 0x0b
export const NVME_FEAT_KATO = 0x0f
export const NVME_FEAT_HOST_ID = 0x81
export const NVME_FEAT_WRITE_PROTECT = 0x84

export const NVME_AER_NOTICE_NS_CHANGED = 0x00
export const NVME_AEN_CFG_NS_ATTR: number = 1 << 8

// ---------------------------------------------------------------- statuses

export const NVME_SC_CMD_SEQ_ERROR = 0x00c
export const NVME_SC_SGL_INVALID_TYPE = 0x011
export const NVME_SC_SGL_INVALID_OFFSET = 0x016
export const NVME_SC_TRANSIENT_TR_ERR = 0x022
export const NVME_SC_SGL_INVALID_DATA = 0x00f
export const NVME_SC_ASYNC_LIMIT = 0x105
export const NVME_SC_CONNECT_FORMAT = 0x180
export const NVME_SC_CONNECT_CTRL_BUSY = 0x181
export const NVME_SC_CONNECT_INVALID_PARAM = 0x182
export const NVME_SC_CONNECT_INVALID_HOST = 0x184
export const NVME_SC_HOST_PATH_ERROR = 0x370
export const NVME_SC_HOST_ABORTED_CMD = 0x371

// ---------------------------------------------------------------- SGLs

export const NVME_SGL_FMT_DATA_DESC = 0x00
export const NVME_SGL_FMT_OFFSET = 0x01
export const NVME_KEY_SGL_FMT_DATA_DESC = 0x40
export const NVME_KEY_SGL_FMT_INVALIDATE = 0x4f
export const NVME_TRANSPORT_SGL_DATA_DESC = 0x5a

// ---------------------------------------------------------------- fields of a command

export const CMD_BYTES = 64
export const CMD_OPCODE = 0
export const CMD_FLAGS = 1
export const CMD_ID = 2
export const CMD_NSID = 4
export const CMD_FCTYPE = 4
export const CMD_SGL_ADDR = 24
export const CMD_SGL_LENGTH = 32
export const CMD_SGL_TYPE = 39
export const CMD_CDW10 = 40
export const CMD_CDW11 = 44
export const CMD_CDW12 = 48
export const CMD_CDW13 = 52

/** PSDT 01: metadata in a contiguous buffer, data by SGL; every command of the fabrics says so. */
export const NVME_CMD_SGL_METABUF = 0x40
export const NVME_CMD_SGL_ALL = 0xc0
export const NVME_CMD_FUSE_MASK = 3

export const RSP_BYTES = 16
export const RSP_SQHD = 8
export const RSP_SQID = 10
export const RSP_ID = 12
export const RSP_STATUS = 14

export const CONNECT_RECFMT = 40
export const CONNECT_QID = 42
export const CONNECT_SQSIZE = 44
export const CONNECT_CATTR = 46
export const CONNECT_KATO = 48
export const NVME_CONNECT_DISABLE_SQFLOW = 4

export const PROP_ATTRIB = 40
export const PROP_OFFSET = 44
export const PROP_VALUE = 48

export const CONNECT_DATA_BYTES = 1024
export const CONNECT_DATA_HOSTID = 0
export const CONNECT_DATA_CNTLID = 16
export const CONNECT_DATA_SUBNQN = 256
export const CONNECT_DATA_HOSTNQN = 512

/** Controller identifier that asks for any. */
export const NVME_CNTLID_DYNAMIC = 0xffff

/** True when the command carries data to the controller: bit 0 of the opcode, of the type for fabrics commands. */
export function nvme_is_write(cmd: Uint8Array): boolean {
  const code = cmd[CMD_OPCODE] === nvme_fabrics_command ? cmd[CMD_FCTYPE]! : cmd[CMD_OPCODE]!
  return (code & 1) !== 0
}

/** What a Connect command says beside its data. */
export interface connect_fields {
  readonly qid: number
  readonly sqsize: number
  readonly kato: number
  readonly cattr?: number
}

/** A Connect command without identifier and SGL. */
export function connect_command({ qid, sqsize, kato, cattr = 0 }: connect_fields): Uint8Array {
  const cmd = fabrics_command(nvme_fabrics_type_connect)
  put16(cmd, CONNECT_QID, qid)
  put16(cmd, CONNECT_SQSIZE, sqsize)
  cmd[CONNECT_CATTR] = cattr
  put32(cmd, CONNECT_KATO, kato)
  return cmd
}

/** The data of a Connect command. `hostid` is 16 bytes. */
export function connect_data(
  hostid: Uint8Array,
  cntlid: number,
  subnqn: string,
  hostnqn: string,
): Uint8Array {
  const data = new Uint8Array(CONNECT_DATA_BYTES)
  data.set(hostid, CONNECT_DATA_HOSTID)
  put16(data, CONNECT_DATA_CNTLID, cntlid)
  putText(data, CONNECT_DATA_SUBNQN, NVMF_NQN_FIELD_LEN, subnqn)
  putText(data, CONNECT_DATA_HOSTNQN, NVMF_NQN_FIELD_LEN, hostnqn)
  return data
}

function fabrics_command(fctype: number): Uint8Array {
  const cmd = new Uint8Array(CMD_BYTES)
  cmd[CMD_OPCODE] = nvme_fabrics_command
  cmd[CMD_FLAGS] = NVME_CMD_SGL_METABUF
  cmd[CMD_FCTYPE] = fctype
  return cmd
}

/** Property Get; `wide` asks for 8 bytes. */
export function property_get(offset: number, wide: boolean): Uint8Array {
  const cmd = fabrics_command(nvme_fabrics_type_property_get)
  cmd[PROP_ATTRIB] = wide ? 1 : 0
  put32(cmd, PROP_OFFSET, offset)
  return cmd
}

/** Property Set of 4 bytes. */
export function property_set(offset: number, value: number): Uint8Array {
  const cmd = fabrics_command(nvme_fabrics_type_property_set)
  put32(cmd, PROP_OFFSET, offset)
  putBig64(cmd, PROP_VALUE, BigInt(value >>> 0))
  return cmd
}

/** Fills the SGL descriptor of a command. */
export function set_sgl(cmd: Uint8Array, type: number, length: number, addr = 0): void {
  put64(cmd, CMD_SGL_ADDR, addr)
  put32(cmd, CMD_SGL_LENGTH, length)
  cmd[CMD_SGL_TYPE] = type
}
