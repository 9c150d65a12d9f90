// Commands of the driver's own: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_alloc_request        a request that carries a command (REQ_OP_DRV_IN or _OUT), on any queue or on one
//   __nvme_submit_sync_cmd    ... executed, with a buffer of the kernel's, and waited for
//   nvme_set_features, nvme_identify_ctrl, nvme_get_log, ...
//
// A command goes the way of every request: tag, hardware queue, queue_rq, ring. Its 64 bytes lie in the kernel's memory
// from nvme_alloc_request to nvme_free_request. Results of functions here: 0, a negative errno, or the status of the
// completion entry, which is positive.

import {
  NVME_REQ_CANCELLED,
  NVME_REQ_USERCMD,
  RQ_RESULT,
  RQ_RESULT1,
  RQ_RETRIES,
  RQ_SQE,
  RQ_STATUS,
  RQ_TIMEOUT,
} from '../../../../assembly/layout.js'
import {
  REQ_FAILFAST_DRIVER,
  REQ_OP_DRV_IN,
  REQ_OP_DRV_OUT,
  SQE_BYTES,
  SQE_CDW10,
  SQE_CDW2,
  SQE_MPTR,
  SQE_NSID,
  SQE_PRP1,
  SQE_PRP2,
} from '../../../../assembly/nvme.js'
import {
  blk_execute_rq,
  blk_mq_alloc_request,
  blk_mq_alloc_request_hctx,
  blk_mq_alloc_request_wait,
  blk_mq_free_request,
} from '../../../block/blk-exec.js'
import { blk_rq_map_kern } from '../../../block/blk-map.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { View } from '../../../core/view.js'
import { printk, type Sleep } from '../../../kernel/core.js'
import { EINTR, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import {
  NVME_FEAT_NUM_QUEUES,
  NVME_ID_CNS_CTRL,
  NVME_ID_CNS_NS,
  NVME_ID_CNS_NS_ACTIVE_LIST,
  NVME_IDENTIFY_DATA_SIZE,
  NVME_NSID_ALL,
  NVME_QID_ANY,
  type nvme_command,
  type nvme_ctrl,
  type nvme_result,
  nvme_admin_get_features,
  nvme_admin_get_log_page,
  nvme_admin_identify,
  nvme_admin_set_features,
} from './nvme.js'

/** Writes a command into 64 bytes of memory. */
export function nvme_write_command(view: View, at: number, cmd: nvme_command): void {
  view.words.fill(0, at >>> 2, (at + SQE_BYTES) >>> 2)
  view.setU32(at, cmd.opcode | ((cmd.flags ?? 0) << 8))
  view.setU32(at + SQE_NSID, cmd.nsid ?? 0)
  view.setU32(at + SQE_CDW2, cmd.cdw2 ?? 0)
  view.setU32(at + SQE_CDW2 + 4, cmd.cdw3 ?? 0)
  view.setU64(at + SQE_MPTR, cmd.metadata ?? 0)
  view.setU64(at + SQE_PRP1, cmd.prp1 ?? 0)
  view.setU64(at + SQE_PRP2, cmd.prp2 ?? 0)
  view.setU32(at + SQE_CDW10, cmd.cdw10 ?? 0)
  view.setU32(at + SQE_CDW10 + 4, cmd.cdw11 ?? 0)
  view.setU32(at + SQE_CDW10 + 8, cmd.cdw12 ?? 0)
  view.setU32(at + SQE_CDW10 + 12, cmd.cdw13 ?? 0)
  view.setU32(at + SQE_CDW10 + 16, cmd.cdw14 ?? 0)
  view.setU32(at + SQE_CDW10 + 20, cmd.cdw15 ?? 0)
}

/** The direction of a command's data, by its opcode (nvme_is_write; a fabrics command's is its type's). */
export function nvme_is_write({ opcode, nsid = 0 }: nvme_command): boolean {
  return ((opcode === 0x7f ? nsid & 0xff : opcode) & 1) !== 0
}

function opf_of(cmd: nvme_command): number {
  return (nvme_is_write(cmd) ? REQ_OP_DRV_OUT : REQ_OP_DRV_IN) | REQ_FAILFAST_DRIVER
}

/** Hangs the command on a fresh request. */
function dress(q: request_queue, rq: number, cmd: nvme_command): number {
  if (rq < 0) return rq
  const { mem, view } = q.blk
  const at = mem.kzalloc(SQE_BYTES)
  if (at === 0) {
    blk_mq_free_request(q, rq)
    return -ENOMEM
  }
  nvme_write_command(view, at, cmd)
  view.setU32(rq + RQ_SQE, at)
  view.setU32(rq + RQ_RETRIES, 0)
  view.setU32(rq + RQ_STATUS, 0)
  view.setU32(rq + RQ_RESULT, 0)
  view.setU32(rq + RQ_RESULT1, 0)
  return rq
}

/**
 * A request that carries a command. It may sleep for a tag.
 * @param flags BLK_MQ_REQ_*
 * @param qid the NVMe queue that it has to go by
 * @returns the request, or -errno
 */
export function* nvme_alloc_request(
  q: request_queue,
  cmd: nvme_command,
  flags = 0,
  qid: number = NVME_QID_ANY,
): Sleep<number> {
  const { k } = q.blk
  const t = enter(k, 'nvme_alloc_request')
  const opf = opf_of(cmd)
  const rq =
    qid === NVME_QID_ANY
      ? yield* blk_mq_alloc_request_wait(q, opf, flags)
      : blk_mq_alloc_request_hctx(q, opf, flags, qid ? qid - 1 : 0)
  return leave(k, t, dress(q, rq, cmd))
}

/** The same without sleeping: -EWOULDBLOCK when there is no tag. */
export function nvme_alloc_request_nowait(q: request_queue, cmd: nvme_command, flags = 0): number {
  const { k } = q.blk
  const t = enter(k, 'nvme_alloc_request')
  return leave(k, t, dress(q, blk_mq_alloc_request(q, opf_of(cmd), flags), cmd))
}

/** The request and its command go. */
export function nvme_free_request(q: request_queue, rq: number): void {
  const { mem, view } = q.blk
  const at = view.u32(rq + RQ_SQE)
  view.setU32(rq + RQ_SQE, 0)
  mem.kfree(at)
  blk_mq_free_request(q, rq)
}

/** nvme_req(rq)->result. */
export function nvme_req_result(view: View, rq: number): nvme_result {
  const low = view.u32(rq + RQ_RESULT)
  return { u32: low, u64: (BigInt(view.u32(rq + RQ_RESULT1)) << 32n) | BigInt(low) }
}

/** What a request that ended says: -EINTR if the driver gave it up, else nvme_req(rq)->status. */
export function nvme_req_end(view: View, rq: number): number {
  return view.u32(rq + RQ_RETRIES) & NVME_REQ_CANCELLED ? -EINTR : view.u32(rq + RQ_STATUS)
}

/** Marks a request as sent by a program. */
export function nvme_req_usercmd(view: View, rq: number): void {
  view.setU32(rq + RQ_RETRIES, view.u32(rq + RQ_RETRIES) | NVME_REQ_USERCMD)
}

function* submit_sync(
  q: request_queue,
  cmd: nvme_command,
  result: nvme_result | null,
  buffer: number,
  bufflen: number,
  timeout: number,
  qid: number,
  at_head: boolean,
  flags: number,
): Sleep<number> {
  const { view } = q.blk
  const rq = yield* nvme_alloc_request(q, cmd, flags, qid)
  if (rq < 0) return rq
  view.setU32(rq + RQ_TIMEOUT, timeout)
  if (buffer && bufflen) blk_rq_map_kern(q, rq, buffer, bufflen)
  yield* blk_execute_rq(q, rq, at_head)
  if (result) Object.assign(result, nvme_req_result(view, rq))
  const end = nvme_req_end(view, rq)
  nvme_free_request(q, rq)
  return end
}

/**
 * Executes a command and waits for its end.
 * @param result gets dwords 0 and 1 of the completion
 * @param buffer address of its data in the kernel's memory, `bufflen` bytes
 * @param timeout jiffies, 0 = the queue's
 * @returns 0, -errno, or the status of the completion (positive)
 */
export function* __nvme_submit_sync_cmd(
  q: request_queue,
  cmd: nvme_command,
  result: nvme_result | null = null,
  buffer = 0,
  bufflen = 0,
  timeout = 0,
  qid: number = NVME_QID_ANY,
  at_head = false,
  flags = 0,
): Sleep<number> {
  const t = enter(q.blk.k, '__nvme_submit_sync_cmd')
  const end = yield* submit_sync(q, cmd, result, buffer, bufflen, timeout, qid, at_head, flags)
  return leave(q.blk.k, t, end)
}

/** The same with all defaults. */
export function* nvme_submit_sync_cmd(
  q: request_queue,
  cmd: nvme_command,
  buffer = 0,
  bufflen = 0,
): Sleep<number> {
  const t = enter(q.blk.k, 'nvme_submit_sync_cmd')
  const end = yield* submit_sync(q, cmd, null, buffer, bufflen, 0, NVME_QID_ANY, false, 0)
  return leave(q.blk.k, t, end)
}

// ---------------------------------------------------------------- buffers

/** Runs `body` with a zeroed buffer, which goes afterwards. -ENOMEM when there is none. */
export function* with_buffer(
  ctrl: nvme_ctrl,
  bytes: number,
  body: (at: number) => Sleep<number>,
): Sleep<number> {
  const at = ctrl.blk.mem.kzalloc(bytes)
  if (at === 0) return -ENOMEM
  const end = yield* body(at)
  ctrl.blk.mem.kfree(at)
  return end
}

/** A copy of so many bytes of memory. */
export function copy_of(ctrl: nvme_ctrl, at: number, bytes: number): Uint8Array {
  return ctrl.blk.view.bytes.slice(at, at + bytes)
}

// ---------------------------------------------------------------- features

/** Get Features. `buffer`, `buflen`: of its data. */
export function* nvme_get_features(
  ctrl: nvme_ctrl,
  fid: number,
  dword11: number,
  buffer: number,
  buflen: number,
  result: nvme_result,
): Sleep<number> {
  const cmd = { opcode: nvme_admin_get_features, cdw10: fid, cdw11: dword11 }
  return yield* __nvme_submit_sync_cmd(ctrl.admin_q!, cmd, result, buffer, buflen)
}

export function* nvme_set_features(
  ctrl: nvme_ctrl,
  fid: number,
  dword11: number,
  buffer = 0,
  buflen = 0,
  result: nvme_result = { u32: 0, u64: 0n },
): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_set_features')
  const cmd = { opcode: nvme_admin_set_features, cdw10: fid, cdw11: dword11 }
  const end = yield* __nvme_submit_sync_cmd(ctrl.admin_q!, cmd, result, buffer, buflen)
  return leave(k, t, end)
}

/**
 * Asks for so many I/O queues.
 * @param count gets how many there are: 0 if the controller answered with an error
 * @returns 0 or -errno
 */
export function* nvme_set_queue_count(ctrl: nvme_ctrl, count: { n: number }): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_set_queue_count')
  const q_count = ((count.n - 1) | ((count.n - 1) << 16)) >>> 0
  const result = { u32: 0, u64: 0n }
  const status = yield* nvme_set_features(ctrl, NVME_FEAT_NUM_QUEUES, q_count, 0, 0, result)
  if (status < 0) return leave(k, t, status)
  if (status > 0) {
    // A degraded controller may still be talked to by its admin queue.
    ctrl_log(ctrl, 'err', `Could not set queue count (${status})`)
    count.n = 0
  } else count.n = Math.min(count.n, 1 + Math.min(result.u32 & 0xffff, result.u32 >>> 16))
  return leave(k, t, 0)
}

/** A line in the kernel's log, with the controller's name. */
export function ctrl_log(ctrl: nvme_ctrl, level: 'err' | 'warn' | 'info', text: string): void {
  printk(ctrl.k, level, `nvme ${ctrl.device}: ${text}`)
}

// ---------------------------------------------------------------- identify and logs

/** Identify Controller into `at` (4096 bytes). */
export function* nvme_identify_ctrl(ctrl: nvme_ctrl, at: number): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_identify_ctrl')
  const cmd = { opcode: nvme_admin_identify, cdw10: NVME_ID_CNS_CTRL }
  const q = ctrl.admin_q!
  const end = yield* __nvme_submit_sync_cmd(q, cmd, null, at, NVME_IDENTIFY_DATA_SIZE)
  return leave(k, t, end)
}

/** Identify Namespace into `at`. */
export function* nvme_identify_ns(ctrl: nvme_ctrl, nsid: number, at: number): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_identify_ns')
  const cmd = { opcode: nvme_admin_identify, nsid, cdw10: NVME_ID_CNS_NS }
  const q = ctrl.admin_q!
  const end = yield* __nvme_submit_sync_cmd(q, cmd, null, at, NVME_IDENTIFY_DATA_SIZE)
  if (end !== 0) ctrl_log(ctrl, 'warn', `Identify namespace failed (${end})`)
  return leave(k, t, end)
}

/** Identifiers of namespaces above `nsid` into `at`. */
export function* nvme_identify_ns_list(ctrl: nvme_ctrl, nsid: number, at: number): Sleep<number> {
  const cmd = { opcode: nvme_admin_identify, nsid, cdw10: NVME_ID_CNS_NS_ACTIVE_LIST }
  return yield* nvme_submit_sync_cmd(ctrl.admin_q!, cmd, at, NVME_IDENTIFY_DATA_SIZE)
}

/** Get Log Page: `size` bytes from byte `offset` of a page into `at`. */
export function* nvme_get_log(
  ctrl: nvme_ctrl,
  log_page: number,
  lsp: number,
  at: number,
  size: number,
  offset = 0,
): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_get_log')
  const dwlen = size / 4 - 1
  const cmd = {
    opcode: nvme_admin_get_log_page,
    nsid: NVME_NSID_ALL,
    cdw10: (log_page | (lsp << 8) | ((dwlen & 0xffff) << 16)) >>> 0,
    cdw11: dwlen >>> 16,
    cdw12: offset,
  }
  const end = yield* __nvme_submit_sync_cmd(ctrl.admin_q!, cmd, null, at, size)
  return leave(k, t, end)
}
