// NVMe over Fibre Channel as both ends see it: include/linux/nvme-fc.h and nvme-fc-driver.h of Linux 4.19.
//
//   link services   requests and answers of the association and its connections, big-endian: a word with the command, the
//                   length of the descriptors, the descriptors (tag, length, content)
//   command IU      96 bytes: which connection, how many bytes in which direction, and the NVMe command
//   response        12 zero bytes: all went as expected; 32 bytes (ERSP): with the completion
//
// Disconnect Connection (deprecated) and the 5.10 services from target to host are not modelled.

import type { Sleep } from '../../kernel/core.js'
import { CMD_BYTES, RSP_BYTES } from './nvme.js'

export const FCNVME_LS_RJT = 1
export const FCNVME_LS_ACC = 2
export const FCNVME_LS_CREATE_ASSOCIATION = 3
export const FCNVME_LS_CREATE_CONNECTION = 4
export const FCNVME_LS_DISCONNECT_ASSOC = 5

const FCNVME_LSDESC_RQST = 1
const FCNVME_LSDESC_RJT = 2
const FCNVME_LSDESC_CREATE_ASSOC_CMD = 3
const FCNVME_LSDESC_CREATE_CONN_CMD = 4
const FCNVME_LSDESC_DISCONN_CMD = 5
const FCNVME_LSDESC_CONN_ID = 6
const FCNVME_LSDESC_ASSOC_ID = 7

/** Reasons of a rejection. */
export const FCNVME_RJT_RC_INV_ASSOC = 0x40
export const FCNVME_RJT_RC_INV_CONN = 0x41
export const FCNVME_RJT_RC_INV_PARAM = 0x42
export const FCNVME_RJT_RC_INSUF_RES = 0x43

const CREATE_ASSOC_BYTES = 1024
const CREATE_ASSOC_ACC_BYTES = 56
const CREATE_CONN_BYTES = 80
const CREATE_CONN_ACC_BYTES = 40
const DISCONNECT_BYTES = 48
const DISCONNECT_ACC_BYTES = 24
const RJT_BYTES = 40

export const FCNVME_CMD_IU_BYTES = 96
export const FCNVME_ERSP_BYTES = 32
/** A response that only says that all went as expected. */
export const FCNVME_ZERO_RSP_BYTES = 12
const IU_FORMAT = 0xfd
const IU_FC_TYPE = 0x28
const IU_WRITE = 1
const IU_READ = 2
const IU_SQE = 24
const ERSP_CQE = 16

export type fcp_dir = 'none' | 'write' | 'read'

/** A link service under way, as the host's driver gives it to the link. */
export interface nvmefc_ls_req {
  /** Seconds that the link may take; nvme_fc itself waits as long as the link does. */
  readonly timeout: number
  readonly rqst: Uint8Array
  rsp: Uint8Array
  /** @param status 0 or -errno */
  done(status: number): void
}

/** A command under way, as the host's driver gives it to the link. */
export interface nvmefc_fcp_req {
  readonly cmd: Uint8Array
  /** The host's memory. */
  pieces: readonly { readonly data: number; readonly bytes: number }[]
  payload_length: number
  rsp: Uint8Array
  transferred_length: number
  /** 0 or -errno. */
  status: number
  done(): void
}

/** A link service as the target gets it. */
export interface nvmefc_tgt_ls_req {
  readonly rqst: Uint8Array
  rsp: Uint8Array
  done(): void
}

/** A command as the target gets it. */
export interface nvmefc_tgt_fcp_req {
  op: 'READDATA' | 'WRITEDATA' | 'RSP'
  /** The target's memory. */
  sg: number
  transfer_length: number
  rsp: Uint8Array
  /** 0 or -errno. */
  fcp_error: number
  done(): Sleep<void> | undefined
}

function viewOf(b: Uint8Array): DataView {
  return new DataView(b.buffer, b.byteOffset, b.byteLength)
}

/** A service: command, list length, and room for descriptors. */
function ls(command: number, bytes: number): DataView {
  const v = viewOf(new Uint8Array(bytes))
  v.setUint8(0, command)
  v.setUint32(4, bytes - 8)
  return v
}

function desc(v: DataView, at: number, tag: number, bytes: number): void {
  v.setUint32(at, tag)
  v.setUint32(at + 4, bytes - 8)
}

function id_desc(v: DataView, at: number, tag: number, id: bigint): void {
  desc(v, at, tag, 16)
  v.setBigUint64(at + 8, id)
}

function bytesOf(v: DataView): Uint8Array {
  return new Uint8Array(v.buffer)
}

export interface create_assoc {
  readonly ersp_ratio: number
  /** Entries less one. */
  readonly sqsize: number
  readonly hostid: Uint8Array
  readonly hostnqn: string
  readonly subnqn: string
}

export function fcnvme_create_assoc({
  ersp_ratio,
  sqsize,
  hostid,
  hostnqn,
  subnqn,
}: create_assoc): Uint8Array {
  const v = ls(FCNVME_LS_CREATE_ASSOCIATION, CREATE_ASSOC_BYTES)
  const bytes = bytesOf(v)
  desc(v, 8, FCNVME_LSDESC_CREATE_ASSOC_CMD, CREATE_ASSOC_BYTES - 8)
  v.setUint16(16, ersp_ratio)
  v.setUint16(56, 0xffff)
  v.setUint16(58, sqsize)
  bytes.set(hostid, 64)
  bytes.set(new TextEncoder().encode(hostnqn), 80)
  bytes.set(new TextEncoder().encode(subnqn), 336)
  return bytes
}

export function fcnvme_create_conn(
  assoc: bigint,
  qid: number,
  sqsize: number,
  ersp_ratio: number,
): Uint8Array {
  const v = ls(FCNVME_LS_CREATE_CONNECTION, CREATE_CONN_BYTES)
  id_desc(v, 8, FCNVME_LSDESC_ASSOC_ID, assoc)
  desc(v, 24, FCNVME_LSDESC_CREATE_CONN_CMD, CREATE_CONN_BYTES - 24)
  v.setUint16(32, ersp_ratio)
  v.setUint16(72, qid)
  v.setUint16(74, sqsize)
  return bytesOf(v)
}

export function fcnvme_disconnect(assoc: bigint): Uint8Array {
  const v = ls(FCNVME_LS_DISCONNECT_ASSOC, DISCONNECT_BYTES)
  id_desc(v, 8, FCNVME_LSDESC_ASSOC_ID, assoc)
  desc(v, 24, FCNVME_LSDESC_DISCONN_CMD, DISCONNECT_BYTES - 24)
  v.setBigUint64(40, assoc)
  return bytesOf(v)
}

/** What a request of a link service says; null: it is not formed as it must be. */
export type fcnvme_ls =
  | { readonly command: 'create association'; readonly sqsize: number; readonly ersp_ratio: number }
  | {
      readonly command: 'create connection'
      readonly assoc: bigint
      readonly qid: number
      readonly sqsize: number
      readonly ersp_ratio: number
    }
  | { readonly command: 'disconnect'; readonly assoc: bigint }

const LS_BYTES: Readonly<Record<number, number>> = {
  [FCNVME_LS_CREATE_ASSOCIATION]: CREATE_ASSOC_BYTES,
  [FCNVME_LS_CREATE_CONNECTION]: CREATE_CONN_BYTES,
  [FCNVME_LS_DISCONNECT_ASSOC]: DISCONNECT_BYTES,
}

export function fcnvme_parse_ls(rqst: Uint8Array): fcnvme_ls | null {
  const bytes = LS_BYTES[rqst[0] ?? 0]
  if (bytes === undefined || rqst.length !== bytes) return null
  const v = viewOf(rqst)
  if (v.getUint32(4) !== bytes - 8) return null
  if (rqst[0] === FCNVME_LS_CREATE_ASSOCIATION) {
    if (v.getUint32(8) !== FCNVME_LSDESC_CREATE_ASSOC_CMD) return null
    return { command: 'create association', sqsize: v.getUint16(58), ersp_ratio: v.getUint16(16) }
  }
  if (v.getUint32(8) !== FCNVME_LSDESC_ASSOC_ID) return null
  const assoc = v.getBigUint64(16)
  if (rqst[0] === FCNVME_LS_DISCONNECT_ASSOC)
    return v.getUint32(24) === FCNVME_LSDESC_DISCONN_CMD ? { command: 'disconnect', assoc } : null
  if (v.getUint32(24) !== FCNVME_LSDESC_CREATE_CONN_CMD) return null
  const [ersp_ratio, qid, sqsize] = [v.getUint16(32), v.getUint16(72), v.getUint16(74)]
  return { command: 'create connection', assoc, qid, sqsize, ersp_ratio }
}

/** The answer that accepts a request, with the identifiers that it brings. */
export function fcnvme_accept(rqst: Uint8Array, assoc = 0n, conn = 0n): Uint8Array {
  const command = rqst[0]!
  const bytes =
    command === FCNVME_LS_CREATE_ASSOCIATION
      ? CREATE_ASSOC_ACC_BYTES
      : command === FCNVME_LS_CREATE_CONNECTION
        ? CREATE_CONN_ACC_BYTES
        : DISCONNECT_ACC_BYTES
  const v = ls(FCNVME_LS_ACC, bytes)
  desc(v, 8, FCNVME_LSDESC_RQST, 16)
  v.setUint8(16, command)
  if (command === FCNVME_LS_CREATE_ASSOCIATION) {
    id_desc(v, 24, FCNVME_LSDESC_ASSOC_ID, assoc)
    id_desc(v, 40, FCNVME_LSDESC_CONN_ID, conn)
  } else if (command === FCNVME_LS_CREATE_CONNECTION) id_desc(v, 24, FCNVME_LSDESC_CONN_ID, conn)
  return bytesOf(v)
}

export function fcnvme_reject(rqst: Uint8Array, reason: number): Uint8Array {
  const v = ls(FCNVME_LS_RJT, RJT_BYTES)
  desc(v, 8, FCNVME_LSDESC_RQST, 16)
  v.setUint8(16, rqst[0] ?? 0)
  desc(v, 24, FCNVME_LSDESC_RJT, 16)
  v.setUint8(33, reason)
  return bytesOf(v)
}

/** The identifiers that an answer brings; null: it is no acceptance of this request. */
export function fcnvme_accepted(
  rqst: Uint8Array,
  rsp: Uint8Array,
): { readonly assoc: bigint; readonly conn: bigint } | null {
  const same = fcnvme_accept(rqst)
  if (rsp[0] !== FCNVME_LS_ACC || rsp.length !== same.length || rsp[16] !== rqst[0]) return null
  const v = viewOf(rsp)
  if (rqst[0] === FCNVME_LS_CREATE_ASSOCIATION)
    return { assoc: v.getBigUint64(32), conn: v.getBigUint64(48) }
  return { assoc: 0n, conn: rqst[0] === FCNVME_LS_CREATE_CONNECTION ? v.getBigUint64(32) : 0n }
}

// ---------------------------------------------------------------- commands and responses

export interface fcp_cmd {
  readonly conn: bigint
  readonly csn: number
  readonly dir: fcp_dir
  readonly data_len: number
  /** 64 bytes. */
  readonly sqe: Uint8Array
}

export function fcnvme_cmd_iu({ conn, csn, dir, data_len, sqe }: fcp_cmd): Uint8Array {
  const bytes = new Uint8Array(FCNVME_CMD_IU_BYTES)
  const v = viewOf(bytes)
  bytes[0] = IU_FORMAT
  bytes[1] = IU_FC_TYPE
  v.setUint16(2, FCNVME_CMD_IU_BYTES / 4)
  bytes[7] = dir === 'write' ? IU_WRITE : dir === 'read' ? IU_READ : 0
  v.setBigUint64(8, conn)
  v.setUint32(16, csn)
  v.setUint32(20, data_len)
  bytes.set(sqe, IU_SQE)
  return bytes
}

/** What a command IU says; null: it is none. */
export function fcnvme_parse_cmd_iu(bytes: Uint8Array): fcp_cmd | null {
  if (bytes.length !== FCNVME_CMD_IU_BYTES) return null
  const v = viewOf(bytes)
  if (bytes[0] !== IU_FORMAT || bytes[1] !== IU_FC_TYPE) return null
  if (v.getUint16(2) !== FCNVME_CMD_IU_BYTES / 4) return null
  const flags = bytes[7]! & (IU_WRITE | IU_READ)
  if (flags === (IU_WRITE | IU_READ)) return null
  return {
    conn: v.getBigUint64(8),
    csn: v.getUint32(16),
    dir: flags === IU_WRITE ? 'write' : flags === IU_READ ? 'read' : 'none',
    data_len: v.getUint32(20),
    sqe: bytes.subarray(IU_SQE, IU_SQE + CMD_BYTES),
  }
}

/** A response with the completion in it. */
export function fcnvme_ersp(rsn: number, transferred: number, cqe: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FCNVME_ERSP_BYTES)
  const v = viewOf(bytes)
  v.setUint16(2, FCNVME_ERSP_BYTES / 4)
  v.setUint32(4, rsn)
  v.setUint32(8, transferred)
  bytes.set(cqe, ERSP_CQE)
  return bytes
}

/** The completion in a response and how much the target says it moved; null: it is none. */
export function fcnvme_parse_ersp(
  bytes: Uint8Array,
): { readonly transferred: number; readonly cqe: Uint8Array } | null {
  const v = viewOf(bytes)
  if (bytes.length !== FCNVME_ERSP_BYTES || bytes[0] !== 0) return null
  if (v.getUint16(2) !== FCNVME_ERSP_BYTES / 4) return null
  return { transferred: v.getUint32(8), cqe: bytes.subarray(ERSP_CQE, ERSP_CQE + RSP_BYTES) }
}

/** Names of a port, "nn-0x<16 hex>:pn-0x<16 hex>" or without the 0x; null: it is no such text. */
export function nvme_fc_parse_traddr(text: string): { nn: string; pn: string } | null {
  const m = /^nn-(?:0x)?([0-9a-f]{16}):pn-(?:0x)?([0-9a-f]{16})$/i.exec(text)
  if (m === null || (text.length !== 43 && text.length !== 39)) return null
  return { nn: m[1]!.toLowerCase(), pn: m[2]!.toLowerCase() }
}
