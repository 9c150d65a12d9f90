// The host's ports on a Fibre Channel link, and their link services: the first half of drivers/nvme/host/fc.c of Linux 4.19.
//
//   local port    registered by the link's driver with its template
//   remote port   behind a local port; DELETED when it was lost, until dev_loss_tmo has passed: whoever comes back under the
//                 same names meanwhile is the same port, and its controllers go on
//
//   a local port   that is unregistered takes no new remote ports (-ESHUTDOWN), and goes with the last one it has; the same
//                 device may register it again meanwhile
//
// A controller hears of a loss and of a return through what it attached (fc_rport_user).

import type { Kernel } from '../../../kernel/kernel.js'
import { complete, completion, wait_for_completion } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import {
  ECONNREFUSED,
  EEXIST,
  EINVAL,
  EIO,
  ENOSPC,
  ESHUTDOWN,
  EXDEV,
} from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { fcnvme_accepted, type nvmefc_fcp_req, type nvmefc_ls_req } from '../fc.js'

/** Seconds. */
const NVME_FC_DEFAULT_DEV_LOSS_TMO = 60
const NVME_FC_LS_TIMEOUT_SEC = 2
/** Ports have numbers of 16 bits. */
const MAX_PORTS = 65536

/** What the link's driver gives the host. */
export interface nvme_fc_port_template {
  readonly max_hw_queues: number
  readonly max_sgl_segments: number
  create_queue(qidx: number, qsize: number): void
  delete_queue(qidx: number): void
  /** @returns 0 or -errno: then `done` is not called */
  ls_req(rport: nvme_fc_rport, lsreq: nvmefc_ls_req): number
  fcp_io(rport: nvme_fc_rport, fcpreq: nvmefc_fcp_req): number
  /** The request ends soon, if it has not yet. */
  fcp_abort(fcpreq: nvmefc_fcp_req): void
  /** Nobody uses a lost port any more. */
  remoteport_delete(rport: nvme_fc_rport): void
  /** A local port that was unregistered has gone. */
  localport_delete?(lport: nvme_fc_lport): void
}

export type fc_objstate = 'ONLINE' | 'DELETED'

/** A controller, as its port sees it. */
export interface fc_rport_user {
  connectivity_loss(): void
  resume(): void
}

export class nvme_fc_lport {
  readonly k: Kernel
  readonly template: nvme_fc_port_template
  readonly nn: string
  readonly pn: string
  readonly rports: nvme_fc_rport[] = []
  readonly list: nvme_fc_lport_list
  /** Whose port it is: the adapter's driver knows. */
  readonly dev: unknown
  port_state: fc_objstate = 'ONLINE'

  constructor(
    list: nvme_fc_lport_list,
    k: Kernel,
    template: nvme_fc_port_template,
    { nn, pn, dev }: fc_port_info,
  ) {
    this.list = list
    this.k = k
    this.template = template
    this.nn = nn
    this.pn = pn
    this.dev = dev
  }
}

export class nvme_fc_rport {
  readonly lport: nvme_fc_lport
  readonly nn: string
  readonly pn: string
  port_state: fc_objstate = 'ONLINE'
  /** Seconds; 0: controllers go at once. */
  dev_loss_tmo: number = NVME_FC_DEFAULT_DEV_LOSS_TMO
  /** ns. */
  dev_loss_end = 0
  /** Associations there are. */
  act_ctrl_cnt = 0
  readonly ctrls: Set<fc_rport_user> = new Set()

  constructor(lport: nvme_fc_lport, nn: string, pn: string) {
    this.lport = lport
    this.nn = nn
    this.pn = pn
  }
}

/** The local ports of one kernel. */
export type nvme_fc_lport_list = nvme_fc_lport[]

/** The names of a port, and whose it is. */
export interface fc_port_info {
  readonly nn: string
  readonly pn: string
  readonly dev: unknown
}

/** A port that was unregistered and has not gone yet is its device's again; a status when it is not free. */
function nvme_fc_attach_to_unreg_lport(
  lport: nvme_fc_lport,
  template: nvme_fc_port_template,
  dev: unknown,
): nvme_fc_lport | number {
  if (lport.dev !== dev || lport.template !== template) return -EXDEV
  if (lport.port_state !== 'DELETED') return -EEXIST
  lport.port_state = 'ONLINE'
  return lport
}

/**
 * @returns the port; -EINVAL for a template that lacks something, -EEXIST for one that is up, -EXDEV for one of another
 * device or template, -ENOSPC when there is no number left
 */
export function nvme_fc_register_localport(
  k: Kernel,
  lports: nvme_fc_lport_list,
  template: nvme_fc_port_template,
  port: fc_port_info,
): nvme_fc_lport | number {
  const t = enter(k, 'nvme_fc_register_localport')
  const given: Partial<nvme_fc_port_template> = template
  const { max_hw_queues = 0, max_sgl_segments = 0, ls_req, fcp_io, fcp_abort } = given
  const whole = max_hw_queues > 0 && max_sgl_segments > 0 && ls_req && fcp_io && fcp_abort
  if (!whole) return leave(k, t, -EINVAL)
  const known = lports.find(one => one.nn === port.nn && one.pn === port.pn)
  if (known) return leave(k, t, nvme_fc_attach_to_unreg_lport(known, template, port.dev))
  if (lports.length >= MAX_PORTS) return leave(k, t, -ENOSPC)
  const lport = new nvme_fc_lport(lports, k, template, port)
  lports.push(lport)
  return leave(k, t, lport)
}

/** The device takes its port back. @returns 0, or -EINVAL when it did before */
export function nvme_fc_unregister_localport(lport: nvme_fc_lport): number {
  const { k } = lport
  const t = enter(k, 'nvme_fc_unregister_localport')
  if (lport.port_state !== 'ONLINE') return leave(k, t, -EINVAL)
  lport.port_state = 'DELETED'
  nvme_fc_lport_put(lport)
  return leave(k, t, 0)
}

/** A port that was unregistered goes with its last remote port. */
function nvme_fc_lport_put(lport: nvme_fc_lport): void {
  const { k, list, template } = lport
  trace_call(k, 'nvme_fc_lport_put')
  if (lport.port_state === 'ONLINE' || lport.rports.length > 0) return
  const at = list.indexOf(lport)
  if (at < 0) return
  list.splice(at, 1)
  template.localport_delete?.(lport)
}

/**
 * A remote port is there, for the first time or again.
 * @returns the port; -ESHUTDOWN behind a local port that was unregistered, -EEXIST when it is up already, -ENOSPC
 */
export function nvme_fc_register_remoteport(
  lport: nvme_fc_lport,
  nn: string,
  pn: string,
): nvme_fc_rport | number {
  const { k } = lport
  const t = enter(k, 'nvme_fc_register_remoteport')
  trace_call(k, 'nvme_fc_lport_get')
  if (lport.port_state !== 'ONLINE') return leave(k, t, -ESHUTDOWN)
  const known = lport.rports.find(one => one.nn === nn && one.pn === pn)
  if (known?.port_state === 'ONLINE') return leave(k, t, -EEXIST)
  const rport = known ?? new nvme_fc_rport(lport, nn, pn)
  if (known) {
    rport.port_state = 'ONLINE'
    for (const user of [...rport.ctrls]) user.resume()
  } else if (lport.rports.length >= MAX_PORTS) return leave(k, t, -ENOSPC)
  else lport.rports.push(rport)
  trace_call(k, 'nvme_fc_signal_discovery_scan')
  return leave(k, t, rport)
}

/** It was lost. @returns 0, or -EINVAL when it was before */
export function nvme_fc_unregister_remoteport(rport: nvme_fc_rport): number {
  const { k, template } = rport.lport
  const t = enter(k, 'nvme_fc_unregister_remoteport')
  if (rport.port_state !== 'ONLINE') return leave(k, t, -EINVAL)
  rport.port_state = 'DELETED'
  rport.dev_loss_end = k.now() + rport.dev_loss_tmo * 1e9
  for (const user of [...rport.ctrls]) user.connectivity_loss()
  if (rport.act_ctrl_cnt === 0) template.remoteport_delete(rport)
  nvme_fc_rport_put(rport)
  return leave(k, t, 0)
}

/** How long its controllers wait for it; a loss that has begun is not changed. @returns 0 or -EINVAL */
export function nvme_fc_set_remoteport_devloss(rport: nvme_fc_rport, seconds: number): number {
  const t = enter(rport.lport.k, 'nvme_fc_set_remoteport_devloss')
  if (rport.port_state !== 'ONLINE') return leave(rport.lport.k, t, -EINVAL)
  rport.dev_loss_tmo = seconds
  return leave(rport.lport.k, t, 0)
}

export function nvme_fc_rport_get(rport: nvme_fc_rport): void {
  trace_call(rport.lport.k, 'nvme_fc_rport_get')
}

/** A lost port that nobody waits for any more is forgotten. */
export function nvme_fc_rport_put(rport: nvme_fc_rport): void {
  const { lport } = rport
  trace_call(lport.k, 'nvme_fc_rport_put')
  if (rport.port_state === 'ONLINE' || rport.ctrls.size > 0) return
  const at = lport.rports.indexOf(rport)
  if (at < 0) return
  lport.rports.splice(at, 1)
  nvme_fc_lport_put(lport)
}

// ---------------------------------------------------------------- associations of a port

export function nvme_fc_ctlr_active_on_rport(rport: nvme_fc_rport): void {
  rport.act_ctrl_cnt++
}

export function nvme_fc_ctlr_inactive_on_rport(rport: nvme_fc_rport): void {
  const { k, template } = rport.lport
  const t = enter(k, 'nvme_fc_ctlr_inactive_on_rport')
  if (--rport.act_ctrl_cnt === 0 && rport.port_state === 'DELETED')
    template.remoteport_delete(rport)
  leave(k, t)
}

// ---------------------------------------------------------------- link services

function __nvme_fc_send_ls_req(
  rport: nvme_fc_rport,
  rqst: Uint8Array,
  done: (status: number, rsp: Uint8Array) => void,
): number {
  const { k, template } = rport.lport
  const t = enter(k, '__nvme_fc_send_ls_req')
  if (rport.port_state !== 'ONLINE') return leave(k, t, -ECONNREFUSED)
  nvme_fc_rport_get(rport)
  const lsreq: nvmefc_ls_req = {
    timeout: NVME_FC_LS_TIMEOUT_SEC,
    rqst,
    rsp: new Uint8Array(0),
    done: status => done(status, lsreq.rsp),
  }
  return leave(k, t, template.ls_req(rport, lsreq))
}

function __nvme_fc_finish_ls_req(rport: nvme_fc_rport): void {
  const { k } = rport.lport
  const t = enter(k, '__nvme_fc_finish_ls_req')
  nvme_fc_rport_put(rport)
  leave(k, t)
}

/** A service, and its answer. @returns the identifiers in it, or -errno: -EIO when it is a rejection */
export function* nvme_fc_send_ls_req(
  rport: nvme_fc_rport,
  rqst: Uint8Array,
): Sleep<{ assoc: bigint; conn: bigint } | number> {
  const { k } = rport.lport
  const ls_done = new completion(k, 'a link service')
  let answer: { status: number; rsp: Uint8Array } | undefined
  const error = __nvme_fc_send_ls_req(rport, rqst, (status, rsp) => {
    const t = enter(k, 'nvme_fc_send_ls_req_done')
    answer = { status, rsp }
    complete(ls_done)
    leave(k, t)
  })
  if (error) return error
  yield* wait_for_completion(ls_done)
  __nvme_fc_finish_ls_req(rport)
  if (answer!.status) return answer!.status
  return fcnvme_accepted(rqst, answer!.rsp) ?? -EIO
}

/** A service whose answer nobody waits for. */
export function nvme_fc_send_ls_req_async(rport: nvme_fc_rport, rqst: Uint8Array): void {
  const { k } = rport.lport
  __nvme_fc_send_ls_req(rport, rqst, () => {
    const t = enter(k, 'nvme_fc_disconnect_assoc_done')
    __nvme_fc_finish_ls_req(rport)
    leave(k, t)
  })
}
