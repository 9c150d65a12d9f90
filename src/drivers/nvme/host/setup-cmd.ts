// Commands of transports in TypeScript, and their ends: nvme_setup_cmd and nvme_complete_rq of drivers/nvme/host/core.c,
// Linux 4.19, for requests that do not go to a PCIe ring (assembly/sq.ts has the ring's).
//
//   read, write   SLBA, NLB, FUA; limited retry for failfast requests
//   flush         the namespace alone
//   discard       one range for each bio, in a list of the driver's own (RQ_PRP_LIST)
//   write zeroes  SLBA, NLB
//   passthrough   64 bytes as nvme_alloc_request left them
//
// PSDT is 01 in all of them: data are described by an SGL, which the transport fills in.

import * as L from '../../../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  BLK_STS_OK,
  BLK_STS_RESOURCE,
  DSM_RANGE_BYTES,
  NVME_CMD_DSM,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_ZEROES,
  NVME_DSMGMT_AD,
  NVME_RW_FUA,
  NVME_RW_LR,
  REQ_FAILFAST_DEV,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_DRV_IN,
  REQ_OP_DRV_OUT,
  REQ_OP_FLUSH,
  REQ_OP_MASK,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_OP_WRITE_ZEROES,
  REQ_RAHEAD,
} from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { request_queue } from '../../../block/blkdev.js'
import { enter, leave, trace_call, trace_event } from '../../../kernel/trace.js'
import { get32, put16, put32, put64 } from '../bytes.js'
import {
  CMD_BYTES,
  CMD_CDW10,
  CMD_CDW11,
  CMD_CDW12,
  CMD_FLAGS,
  CMD_ID,
  CMD_NSID,
  CMD_OPCODE,
  NVME_CMD_SGL_METABUF,
} from '../nvme.js'
import { nvme_complete_rq } from './core.js'

const SECTOR_SHIFT = 9

/** A piece of a request's data. */
export interface rq_piece {
  readonly data: number
  readonly bytes: number
}

/** Where the data of a request lie, in order. A discard's are its ranges. */
export function rq_pieces(q: request_queue, rq: number): rq_piece[] {
  const { view } = q.blk
  const ranges = view.u32(rq + L.RQ_PRP_LIST)
  if (ranges !== 0) return [{ data: ranges, bytes: discard_ranges(q, rq) * DSM_RANGE_BYTES }]
  const op = view.u32(rq + L.RQ_CMD_FLAGS) & REQ_OP_MASK
  if (op === REQ_OP_DISCARD || op === REQ_OP_WRITE_ZEROES || op === REQ_OP_FLUSH) return []
  const pieces: rq_piece[] = []
  for (let bio = view.u32(rq + L.RQ_BIO); bio; bio = view.u32(bio + L.BIO_NEXT)) {
    const bytes = view.u32(bio + L.BIO_SIZE)
    if (bytes > 0) pieces.push({ data: view.u32(bio + L.BIO_DATA), bytes })
  }
  return pieces
}

function discard_ranges(q: request_queue, rq: number): number {
  const { view } = q.blk
  let n = 0
  for (let bio = view.u32(rq + L.RQ_BIO); bio; bio = view.u32(bio + L.BIO_NEXT)) n++
  return n
}

function shift_of(q: request_queue): number {
  return q.blk.view.u32(q.at + L.Q_LBA_SHIFT)
}

function put_rw(q: request_queue, rq: number, cmd: Uint8Array, opcode: number): void {
  const { view } = q.blk
  const shift = shift_of(q)
  const opf = view.u32(rq + L.RQ_CMD_FLAGS)
  const fua = opf & REQ_FUA ? NVME_RW_FUA : 0
  const limited = opf & (REQ_FAILFAST_DEV | REQ_RAHEAD) ? NVME_RW_LR : 0
  cmd[CMD_OPCODE] = opcode
  put32(cmd, CMD_NSID, view.u32(q.at + L.Q_NSID))
  put64(cmd, CMD_CDW10, view.u64(rq + L.RQ_SECTOR) / (1 << (shift - SECTOR_SHIFT)))
  const blocks = view.u32(rq + L.RQ_DATA_LEN) >>> shift
  put32(cmd, CMD_CDW12, ((blocks - 1) | fua | limited) >>> 0)
}

/** The ranges of a discard; a blk_status_t. */
function put_discard(q: request_queue, rq: number, cmd: Uint8Array): number {
  const { view, mem } = q.blk
  const unit = 2 ** shift_of(q)
  const count = discard_ranges(q, rq)
  const list = mem.kzalloc(count * DSM_RANGE_BYTES)
  if (list === 0) return BLK_STS_RESOURCE
  let at = list
  let slba = view.u64(rq + L.RQ_SECTOR) / (unit / 2 ** SECTOR_SHIFT)
  for (let bio = view.u32(rq + L.RQ_BIO); bio; bio = view.u32(bio + L.BIO_NEXT)) {
    const blocks = view.u32(bio + L.BIO_SIZE) / unit
    view.setU32(at + 4, blocks)
    view.setU64(at + 8, slba)
    slba += blocks
    at += DSM_RANGE_BYTES
  }
  view.setU32(rq + L.RQ_PRP_LIST, list)
  cmd[CMD_OPCODE] = NVME_CMD_DSM
  put32(cmd, CMD_NSID, view.u32(q.at + L.Q_NSID))
  put32(cmd, CMD_CDW10, count - 1)
  put32(cmd, CMD_CDW11, NVME_DSMGMT_AD)
  return BLK_STS_OK
}

function put_command(q: request_queue, rq: number, cmd: Uint8Array): number {
  const { view } = q.blk
  switch (view.u32(rq + L.RQ_CMD_FLAGS) & REQ_OP_MASK) {
    case REQ_OP_DRV_IN:
    case REQ_OP_DRV_OUT: {
      const at = view.u32(rq + L.RQ_SQE)
      cmd.set(view.bytes.subarray(at, at + CMD_BYTES))
      return BLK_STS_OK
    }
    case REQ_OP_READ:
      put_rw(q, rq, cmd, NVME_CMD_READ)
      return BLK_STS_OK
    case REQ_OP_WRITE:
      put_rw(q, rq, cmd, NVME_CMD_WRITE)
      return BLK_STS_OK
    case REQ_OP_WRITE_ZEROES:
      put_rw(q, rq, cmd, NVME_CMD_WRITE_ZEROES)
      return BLK_STS_OK
    case REQ_OP_FLUSH:
      cmd[CMD_OPCODE] = NVME_CMD_FLUSH
      put32(cmd, CMD_NSID, view.u32(q.at + L.Q_NSID))
      return BLK_STS_OK
    case REQ_OP_DISCARD:
      return put_discard(q, rq, cmd)
    default:
      return BLK_STS_IOERR
  }
}

/** Writes the command of a request; a blk_status_t. Its identifier is the tag. */
export function nvme_setup_cmd(q: request_queue, rq: number, cmd: Uint8Array, qid: number): number {
  const { k, view } = q.blk
  const t = enter(k, 'nvme_setup_cmd')
  for (let i = 0; i < CMD_BYTES; i++) cmd[i] = 0
  view.setU32(rq + L.RQ_PRP_LIST, 0)
  const status = put_command(q, rq, cmd)
  cmd[CMD_FLAGS] = (cmd[CMD_FLAGS]! & 0x3f) | NVME_CMD_SGL_METABUF
  put16(cmd, CMD_ID, view.u32(rq + L.RQ_TAG))
  if (k.trace.on) trace_event(k, 'nvme_setup_cmd', { qid, nsid: get32(cmd, CMD_NSID) })
  return leave(k, t, status)
}

/** What nvme_setup_cmd took is given back. */
export function nvme_cleanup_cmd(q: request_queue, rq: number): void {
  const { k, view, mem } = q.blk
  const t = enter(k, 'nvme_cleanup_cmd')
  mem.kfree(view.u32(rq + L.RQ_PRP_LIST))
  view.setU32(rq + L.RQ_PRP_LIST, 0)
  leave(k, t)
}

/** A response came: the request is complete, on the CPU that submitted it. */
export function nvme_end_request(
  q: request_queue,
  rq: number,
  status: number,
  result: number,
  result1: number,
): void {
  const { k, core, view } = q.blk
  view.setU32(rq + L.RQ_STATUS, status)
  view.setU32(rq + L.RQ_RESULT, result)
  view.setU32(rq + L.RQ_RESULT1, result1)
  trace_call(k, 'nvme_should_fail')
  core.blk_mq_complete_any(this_cpu(q.blk), rq)
}

/** The end of a complete request: good, another try, or an error. */
export function nvme_finish_rq(q: request_queue, rq: number, qid: number): void {
  nvme_cleanup_cmd(q, rq)
  nvme_finish_clean(q, rq, qid)
}

/** As nvme_finish_rq, where the command was given back with the mapping of its data. */
export function nvme_finish_clean(q: request_queue, rq: number, qid: number): void {
  const { k, core, view } = q.blk
  const status = view.u32(rq + L.RQ_STATUS)
  if (status !== 0) {
    nvme_complete_rq(q, rq, status)
    return
  }
  const t = enter(k, 'nvme_complete_rq')
  if (k.trace.on) {
    const retries = view.u32(rq + L.RQ_RETRIES) & L.RQ_RETRIES_MASK
    trace_event(k, 'nvme_complete_rq', { qid, res: view.u32(rq + L.RQ_RESULT), retries, status })
  }
  core.blk_mq_end_request(this_cpu(q.blk), rq, BLK_STS_OK)
  leave(k, t)
}
