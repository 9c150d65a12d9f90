// What programs and sysfs ask of a controller: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_dev_ioctl     /dev/nvme0: admin commands, reset, rescan, subsystem reset
//   nvme_ioctl         /dev/nvme0n1: I/O commands; what is LightNVM's goes there
//   nvme_sysfs_reset   the file reset_controller
//
// A program's buffer is a piece of the kernel's memory here. Commands that change namespaces are followed by what the
// effects log says they have for an effect: here, a rescan after those that can (nvme_passthru_end).

import { RQ_TIMEOUT } from '../../../../assembly/layout.js'
import { blk_execute_rq } from '../../../block/blk-exec.js'
import { blk_rq_map_user, blk_rq_unmap_user } from '../../../block/blk-map.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, ENOTTY, ENXIO } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import {
  nvme_alloc_request,
  nvme_free_request,
  nvme_req_end,
  nvme_req_result,
  nvme_req_usercmd,
} from './core-cmd.js'
import { nvme_queue_scan, nvme_revalidate_disk } from './core-scan.js'
import { nvme_reset_ctrl_sync } from './core-state.js'
import {
  NVME_REG_NSSR,
  type nvme_command,
  type nvme_ctrl,
  type nvme_ns,
  type nvme_result,
  nvme_admin_format_nvm,
  nvme_admin_ns_attach,
  nvme_admin_ns_mgmt,
} from './nvme.js'

/** "NVMe". */
const NSSR_RESET = 0x4e564d65

/** struct nvme_passthru_cmd. */
export interface nvme_passthru_cmd {
  readonly cmd: nvme_command
  /** Address and bytes of its data in the kernel's memory. */
  readonly addr?: number
  readonly data_len?: number
  readonly timeout_ms?: number
}

/** Executes a program's command. @returns 0, -errno, or the status */
function* nvme_submit_user_cmd(
  q: request_queue,
  { cmd, addr = 0, data_len = 0, timeout_ms = 0 }: nvme_passthru_cmd,
  result: nvme_result,
): Sleep<number> {
  const { k, view } = q.blk
  const t = enter(k, 'nvme_submit_user_cmd')
  const rq = yield* nvme_alloc_request(q, cmd)
  if (rq < 0) return leave(k, t, rq)
  nvme_req_usercmd(view, rq)
  view.setU32(rq + RQ_TIMEOUT, Math.ceil((timeout_ms * k.hz) / 1000))
  const bio = data_len > 0 ? blk_rq_map_user(q, rq, addr, data_len) : 0
  if (bio < 0) {
    nvme_free_request(q, rq)
    return leave(k, t, bio)
  }
  yield* blk_execute_rq(q, rq, false)
  const end = nvme_req_end(view, rq)
  Object.assign(result, nvme_req_result(view, rq))
  if (bio) blk_rq_unmap_user(q, bio, addr, data_len)
  nvme_free_request(q, rq)
  return leave(k, t, end)
}

/** After a command that may have changed namespaces, formats or capacities. */
function* nvme_passthru_end(ctrl: nvme_ctrl, { opcode, nsid = 0 }: nvme_command): Sleep<void> {
  if (opcode === nvme_admin_format_nvm) {
    const all = ctrl.namespaces.filter(ns => nsid === 0xffffffff || ns.ns_id === nsid)
    for (const ns of all) yield* nvme_revalidate_disk(ns)
  }
  if (opcode === nvme_admin_ns_mgmt || opcode === nvme_admin_ns_attach) nvme_queue_scan(ctrl)
}

export function* nvme_user_cmd(
  ctrl: nvme_ctrl,
  ns: nvme_ns | null,
  passthru: nvme_passthru_cmd,
  result: nvme_result,
): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_user_cmd')
  const q = ns?.queue ?? ctrl.admin_q
  if (q === null) return leave(k, t, -ENXIO)
  const status = yield* nvme_submit_user_cmd(q, passthru, result)
  if (ns === null && status === 0) yield* nvme_passthru_end(ctrl, passthru.cmd)
  return leave(k, t, status)
}

/** What a program may ask of the controller's character device. */
export type nvme_dev_request =
  | { readonly op: 'admin'; readonly passthru: nvme_passthru_cmd; readonly result: nvme_result }
  | { readonly op: 'reset' | 'subsystem-reset' | 'rescan' }

/** Opens the character device. @returns 0, or -EWOULDBLOCK in a state in which there is nobody to talk to */
export function nvme_dev_open(ctrl: nvme_ctrl): number {
  const { k } = ctrl
  trace_call(k, 'nvme_dev_open')
  return ctrl.state === 'LIVE' || ctrl.state === 'ADMIN_ONLY' ? 0 : -EBUSY
}

/** @returns 0, -errno, or the status of a command */
export function* nvme_dev_ioctl(ctrl: nvme_ctrl, request: nvme_dev_request): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_dev_ioctl')
  if (request.op === 'admin')
    return leave(k, t, yield* nvme_user_cmd(ctrl, null, request.passthru, request.result))
  if (request.op === 'reset') return leave(k, t, yield* nvme_reset_ctrl_sync(ctrl))
  if (request.op === 'rescan') nvme_queue_scan(ctrl)
  else return leave(k, t, yield* nvme_reset_subsystem(ctrl))
  return leave(k, t, 0)
}

function* nvme_reset_subsystem(ctrl: nvme_ctrl): Sleep<number> {
  if (!ctrl.subsystem) return -ENOTTY
  return yield* ctrl.ops.reg_write32(ctrl, NVME_REG_NSSR, NSSR_RESET)
}

/**
 * ioctl of a namespace's disk: an I/O command, or LightNVM's with its structure. `admin`: the caller has CAP_SYS_ADMIN.
 * @returns as above, -ENOTTY for an unknown one
 */
export function* nvme_ioctl(
  ns: nvme_ns,
  request:
    | { readonly passthru: nvme_passthru_cmd; readonly result: nvme_result }
    | { readonly cmd: number; readonly arg: Uint8Array; readonly admin?: boolean },
): Sleep<number> {
  const { ctrl } = ns
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_ioctl')
  if ('passthru' in request)
    return leave(k, t, yield* nvme_user_cmd(ctrl, ns, request.passthru, request.result))
  const { lightnvm } = nvme
  if (lightnvm === null || ns.ndev === null) return leave(k, t, -ENOTTY)
  const { cmd, arg, admin = true } = request
  return leave(k, t, yield* lightnvm.nvme_nvm_ioctl(ns, cmd, arg, admin))
}

/** Writes to reset_controller. */
export function* nvme_sysfs_reset(ctrl: nvme_ctrl): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvme_sysfs_reset')
  return leave(k, t, yield* nvme_reset_ctrl_sync(ctrl))
}
