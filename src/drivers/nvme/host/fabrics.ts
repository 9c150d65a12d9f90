// What all fabrics transports share: drivers/nvme/host/fabrics.c of Linux 4.19.
//
//   nvmf_register_transport   a transport by its name, with the options it takes
//   nvmf_dev_write            the text of options becomes a controller: parse, find the transport, create
//   nvmf_connect_admin_queue, nvmf_connect_io_queue   the Connect command, first on every queue
//   nvmf_reg_read32, _read64, _write32                registers are read and written by commands
//   nvmf_should_reconnect     whether a lost controller is tried again
//   nvmf_check_ready          who may send a command while the controller is not live
//
// A bad Connect is explained in the kernel's log as Linux does.

import * as L from '../../../../assembly/layout.js'
import {
  BLK_MQ_REQ_NOWAIT,
  BLK_MQ_REQ_RESERVED,
  BLK_STS_OK,
  BLK_STS_RESOURCE,
  NVME_SC_DNR,
  REQ_OP_DRV_IN,
  REQ_OP_DRV_OUT,
  REQ_OP_MASK,
} from '../../../../assembly/nvme.js'
import { this_cpu } from '../../../block/blk-mq.js'
import type { request_queue } from '../../../block/blkdev.js'
import { printk, type Sleep } from '../../../kernel/core.js'
import { EALREADY, EINVAL } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import {
  CONNECT_DATA_BYTES,
  connect_data,
  NVME_AQ_DEPTH,
  NVME_CNTLID_DYNAMIC,
  NVME_CONNECT_DISABLE_SQFLOW,
  NVME_SC_CONNECT_CTRL_BUSY,
  NVME_SC_CONNECT_FORMAT,
  NVME_SC_CONNECT_INVALID_HOST,
  NVME_SC_CONNECT_INVALID_PARAM,
  NVME_SC_HOST_PATH_ERROR,
  nvme_fabrics_command,
  nvme_fabrics_type_connect,
  nvme_fabrics_type_property_get,
  nvme_fabrics_type_property_set,
} from '../nvme.js'
import { __nvme_submit_sync_cmd, ctrl_log, with_buffer } from './core-cmd.js'
import { nvme_put_ctrl } from './core-ref.js'
import { type nvmf_ctrl_options, type nvmf_host, nvmf_parse_options } from './fabrics-options.js'
import {
  NVME_KATO_GRACE_S,
  NVME_QID_ANY,
  type nvme_command,
  type nvme_core,
  type nvme_ctrl,
} from './nvme.js'

/** struct nvmf_transport_ops. */
export interface nvmf_transport_ops {
  readonly name: string
  /** Options that must be given. */
  readonly required_opts: readonly string[]
  /** Options that may be given, beside those that all transports take. */
  readonly allowed_opts: readonly string[]
  /** A live controller, or -errno. */
  create_ctrl(opts: nvmf_ctrl_options): Sleep<nvme_ctrl | number>
}

/** The module nvme_fabrics of one kernel. */
export interface nvmf_module {
  readonly nvme: nvme_core
  readonly transports: Map<string, nvmf_transport_ops>
  /** The name of hosts that give none. */
  readonly host: nvmf_host
  /** Why the last connection was refused. */
  why: string
}

export function nvmf_init(nvme: nvme_core, host: nvmf_host): nvmf_module {
  return { nvme, transports: new Map(), host, why: '' }
}

/** @returns 0, or -EINVAL for a transport that is there already */
export function nvmf_register_transport(f: nvmf_module, ops: nvmf_transport_ops): number {
  const { k } = f.nvme
  const t = enter(k, 'nvmf_register_transport')
  if (f.transports.has(ops.name)) return leave(k, t, -EINVAL)
  f.transports.set(ops.name, ops)
  return leave(k, t, 0)
}

export function nvmf_unregister_transport(f: nvmf_module, ops: nvmf_transport_ops): void {
  const { k } = f.nvme
  const t = enter(k, 'nvmf_unregister_transport')
  f.transports.delete(ops.name)
  leave(k, t)
}

const ALLOWED = [
  'transport',
  'nqn',
  'queue_size',
  'nr_io_queues',
  'keep_alive_tmo',
  'hostnqn',
  'hostid',
  'duplicate_connect',
  'discovery',
]

/** @returns 0 or -EINVAL, with the reason */
function check_options(ops: nvmf_transport_ops, opts: nvmf_ctrl_options): string {
  const missing = ops.required_opts.filter(name => !opts.mask.has(name))
  if (missing.length > 0) return `missing parameter '${missing[0]}=%s'`
  const allowed = [...ALLOWED, ...ops.required_opts, ...ops.allowed_opts]
  const extra = [...opts.mask].filter(name => !allowed.includes(name))
  return extra.length > 0 ? `invalid parameter '${extra[0]}'` : ''
}

/** The text of options becomes a controller. @returns the controller or -errno; f.why says why */
function* nvmf_create_ctrl(f: nvmf_module, text: string): Sleep<nvme_ctrl | number> {
  const { k } = f.nvme
  const refuse = (why: string, error = -EINVAL): number => {
    f.why = why
    printk(k, 'err', `nvme_fabrics: ${why}`)
    return error
  }
  const opts = nvmf_parse_options(text, k.cpus.length, f.host)
  if ('error' in opts) return refuse(opts.why, opts.error)
  const ops = f.transports.get(opts.transport)
  if (ops === undefined) return refuse(`no handler found for transport ${opts.transport}.`)
  const wrong = check_options(ops, opts)
  if (wrong !== '') return refuse(wrong)
  if (opts.kato === 0 && !opts.discovery_nqn)
    printk(k, 'warn', 'nvme_fabrics: keep_alive_tmo 0: no keep-alives are sent')
  f.why = ''
  return yield* ops.create_ctrl(opts)
}

/** A write to /dev/nvme-fabrics. */
export function* nvmf_dev_write(f: nvmf_module, text: string): Sleep<nvme_ctrl | number> {
  const { k } = f.nvme
  trace_call(k, 'nvmf_dev_open')
  const t = enter(k, 'nvmf_dev_write')
  trace_call(k, 'nvmf_host_put')
  const ctrl = yield* nvmf_create_ctrl(f, text)
  leave(k, t)
  trace_call(k, 'nvmf_dev_show')
  const r = enter(k, 'nvmf_dev_release')
  // The open file was a user of the controller.
  if (typeof ctrl !== 'number') yield* nvme_put_ctrl(ctrl)
  leave(k, r)
  return ctrl
}

/** Whether a controller of the same host, subsystem and address is there already: -EALREADY. */
export function nvmf_check_duplicate(
  ctrls: readonly { readonly opts: nvmf_ctrl_options }[],
  opts: nvmf_ctrl_options,
): number {
  if (opts.duplicate_connect) return 0
  const same = ctrls.some(
    ({ opts: other }) =>
      other.subsysnqn === opts.subsysnqn &&
      other.host.nqn === opts.host.nqn &&
      other.traddr === opts.traddr &&
      other.trsvcid === opts.trsvcid &&
      other.host_traddr === opts.host_traddr,
  )
  return same ? -EALREADY : 0
}

export function nvmf_free_options(ctrl: nvme_ctrl): void {
  const { k } = ctrl
  const t = enter(k, 'nvmf_free_options')
  trace_call(k, 'nvmf_host_put')
  leave(k, t)
}

export function nvmf_get_address(ctrl: nvme_ctrl, opts: nvmf_ctrl_options): string {
  trace_call(ctrl.k, 'nvmf_get_address')
  const given = (['traddr', 'trsvcid', 'host_traddr'] as const).filter(name => opts.mask.has(name))
  return `${given.map(name => `${name}=${opts[name]}`).join()}\n`
}

// ---------------------------------------------------------------- properties

function property(fctype: number, offset: number, attrib: number, value = 0): nvme_command {
  return {
    opcode: nvme_fabrics_command,
    nsid: fctype,
    cdw10: attrib,
    cdw11: offset,
    cdw12: value,
  }
}

function admin_cmd(
  ctrl: nvme_ctrl,
  cmd: nvme_command,
  result = { u32: 0, u64: 0n },
): Sleep<number> {
  return __nvme_submit_sync_cmd(ctrl.admin_q!, cmd, result, 0, 0, 0, NVME_QID_ANY, false, 0)
}

function log_failed(ctrl: nvme_ctrl, what: string, status: number, off: number): void {
  if (status) ctrl_log(ctrl, 'err', `${what} error: ${status}, offset 0x${off.toString(16)}`)
}

/** A register of 32 bits; negative: -errno (a status becomes -EIO's place, itself negated). */
export function* nvmf_reg_read32(ctrl: nvme_ctrl, off: number): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvmf_reg_read32')
  const result = { u32: 0, u64: 0n }
  const cmd = property(nvme_fabrics_type_property_get, off, 0)
  const status = yield* admin_cmd(ctrl, cmd, result)
  log_failed(ctrl, 'Property Get', status, off)
  return leave(k, t, status === 0 ? result.u32 : -Math.abs(status))
}

export function* nvmf_reg_read64(ctrl: nvme_ctrl, off: number): Sleep<bigint> {
  const { k } = ctrl
  const t = enter(k, 'nvmf_reg_read64')
  const result = { u32: 0, u64: 0n }
  const cmd = property(nvme_fabrics_type_property_get, off, 1)
  const status = yield* admin_cmd(ctrl, cmd, result)
  log_failed(ctrl, 'Property Get', status, off)
  return leave(k, t, status === 0 ? result.u64 : -BigInt(Math.abs(status)))
}

export function* nvmf_reg_write32(ctrl: nvme_ctrl, off: number, value: number): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvmf_reg_write32')
  const status = yield* admin_cmd(ctrl, property(nvme_fabrics_type_property_set, off, 0, value))
  log_failed(ctrl, 'Property Set', status, off)
  return leave(k, t, status)
}

// ---------------------------------------------------------------- Connect

function connect_why(status: number, dw0: number): string {
  switch (status & ~NVME_SC_DNR) {
    case NVME_SC_CONNECT_INVALID_PARAM: {
      const offset = dw0 & 0xffff
      if (dw0 >>> 16) {
        if (offset === 16) return 'Connect Invalid Data Parameter, cntlid'
        if (offset === 512) return 'Connect Invalid Data Parameter, hostnqn'
        if (offset === 256) return 'Connect Invalid Data Parameter, subsysnqn'
        return `Connect Invalid Data Parameter, starting byte offset: ${offset}`
      }
      if (offset === 42) return 'Connect Invalid SQE Parameter, qid'
      return `Connect Invalid SQE Parameter, starting byte offset: ${offset}`
    }
    case NVME_SC_CONNECT_INVALID_HOST:
      return 'Connect for subsystem is not allowed'
    case NVME_SC_CONNECT_CTRL_BUSY:
      return 'Connect command failed: controller is busy or not available'
    case NVME_SC_CONNECT_FORMAT:
      return 'Connect incompatible format'
    default:
      return `Connect command failed, error wo/DNR bit: ${status & ~NVME_SC_DNR}`
  }
}

function* connect(
  ctrl: nvme_ctrl,
  opts: nvmf_ctrl_options,
  q: request_queue,
  qid: number,
  fields: { readonly sqsize: number; readonly kato: number; readonly cntlid: number },
): Sleep<number> {
  const cattr = opts.disable_sqflow ? NVME_CONNECT_DISABLE_SQFLOW : 0
  const cmd: nvme_command = {
    opcode: nvme_fabrics_command,
    nsid: nvme_fabrics_type_connect,
    cdw10: qid << 16,
    cdw11: fields.sqsize | (cattr << 16),
    cdw12: fields.kato,
  }
  const { host, subsysnqn } = opts
  return yield* with_buffer(ctrl, CONNECT_DATA_BYTES, function* (at) {
    const { view } = ctrl.blk
    view.bytes.set(connect_data(host.id, fields.cntlid, subsysnqn, host.nqn), at)
    const result = { u32: 0, u64: 0n }
    const flags = BLK_MQ_REQ_RESERVED | BLK_MQ_REQ_NOWAIT
    const any = qid === 0 ? NVME_QID_ANY : qid
    const ret = yield* __nvme_submit_sync_cmd(
      q,
      cmd,
      result,
      at,
      CONNECT_DATA_BYTES,
      0,
      any,
      true,
      flags,
    )
    if (ret > 0) ctrl_log(ctrl, 'err', connect_why(ret, result.u32))
    if (ret === 0 && qid === 0) {
      ctrl.cntlid = result.u32 & 0xffff
      ctrl.connect_cntlid = ctrl.cntlid
    }
    return ret
  })
}

/** ms of keep-alive as Connect says it. */
function connect_kato(opts: nvmf_ctrl_options): number {
  if (opts.discovery_nqn) return 0
  return (opts.kato + NVME_KATO_GRACE_S) * 1000
}

/** @returns 0, -errno, or the status of the Connect */
export function* nvmf_connect_admin_queue(ctrl: nvme_ctrl, opts: nvmf_ctrl_options): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvmf_connect_admin_queue')
  const fields = {
    sqsize: NVME_AQ_DEPTH - 1,
    kato: connect_kato(opts),
    cntlid: NVME_CNTLID_DYNAMIC,
  }
  return leave(k, t, yield* connect(ctrl, opts, ctrl.admin_q!, 0, fields))
}

export function* nvmf_connect_io_queue(
  ctrl: nvme_ctrl,
  opts: nvmf_ctrl_options,
  qid: number,
): Sleep<number> {
  const { k } = ctrl
  const t = enter(k, 'nvmf_connect_io_queue')
  const fields = { sqsize: ctrl.sqsize, kato: 0, cntlid: ctrl.cntlid }
  return leave(k, t, yield* connect(ctrl, opts, ctrl.connect_q!, qid, fields))
}

// ---------------------------------------------------------------- policy

/** Whether there is another attempt. */
export function nvmf_should_reconnect(
  ctrl: nvme_ctrl,
  opts: nvmf_ctrl_options,
  nr_reconnects: number,
): boolean {
  trace_call(ctrl.k, 'nvmf_should_reconnect')
  return opts.max_reconnects === -1 || nr_reconnects < opts.max_reconnects
}

/** Whether a request may be sent now. */
export function nvmf_check_ready(
  ctrl: nvme_ctrl,
  q: request_queue,
  rq: number,
  queue_live: boolean,
): boolean {
  if (ctrl.state === 'LIVE' || ctrl.state === 'ADMIN_ONLY') return true
  const { view } = q.blk
  const op = view.u32(rq + L.RQ_CMD_FLAGS) & REQ_OP_MASK
  const own = op === REQ_OP_DRV_IN || op === REQ_OP_DRV_OUT
  const user = (view.u32(rq + L.RQ_RETRIES) & L.NVME_REQ_USERCMD) !== 0
  if (!own || user || ctrl.state === 'DEAD') return false
  const setsUp =
    ctrl.nvme.era.connecting === null || ctrl.state === 'NEW' || ctrl.state === 'CONNECTING'
  return (setsUp && is_connect(q, rq)) || queue_live
}

function is_connect(q: request_queue, rq: number): boolean {
  const { view } = q.blk
  const at = view.u32(rq + L.RQ_SQE)
  return view.bytes[at] === nvme_fabrics_command && view.bytes[at + 4] === nvme_fabrics_type_connect
}

/** A request that may not be sent now: later, or never. A blk_status_t. */
export function nvmf_fail_nonready_command(ctrl: nvme_ctrl, q: request_queue, rq: number): number {
  const { view, core } = q.blk
  const failfast = (view.u32(rq + L.RQ_CMD_FLAGS) & FAILFAST) !== 0
  if (ctrl.state !== 'DELETING' && ctrl.state !== 'DEAD' && !failfast) return BLK_STS_RESOURCE
  const cpu = this_cpu(q.blk)
  view.setU32(rq + L.RQ_STATUS, NVME_SC_HOST_PATH_ERROR)
  core.blk_mq_start_request(cpu, q.at, rq)
  core.blk_mq_complete_any(cpu, rq)
  return BLK_STS_OK
}

/** REQ_FAILFAST_DEV, _TRANSPORT, _DRIVER. */
const FAILFAST = 0x700
