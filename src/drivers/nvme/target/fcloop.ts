// A Fibre Channel link in one machine: drivers/nvme/target/fcloop.c of Linux 4.19. Local, remote and target ports are made
// by texts as its files in sysfs take them:
//
//   add_local_port    wwnn=0x...,wwpn=0x...
//   add_target_port   wwnn=0x...,wwpn=0x...
//   add_remote_port   wwnn=0x...,wwpn=0x...,lpwwnn=0x...,lpwwpn=0x...      a remote port leads to the target port of its names
//
// Every hop is a work on the system's queue: a command to the target, a response to the host, an abort, the answer of a link
// service. Data are copied between the host's pieces and the target's buffer, unless the host has given the command up.
//
// A link can be made silent, which Linux's cannot: nothing gets through, and nobody is told. A link service then ends when
// its time is over, a command when the host aborts it.

import type { Sleep } from '../../../kernel/core.js'
import type { Kernel } from '../../../kernel/kernel.js'
import {
  ECANCELED,
  ECONNABORTED,
  ECONNREFUSED,
  EINVAL,
  ENOENT,
  ETIMEDOUT,
} from '../../../kernel/errno.js'
import { might_sleep_within } from '../../../kernel/task.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  schedule_delayed_work,
  schedule_work,
} from '../../../kernel/workqueue-queue.js'
import { delayed_work, work_struct } from '../../../kernel/workqueue-structs.js'
import type { nvmefc_fcp_req, nvmefc_ls_req, nvmefc_tgt_fcp_req, nvmefc_tgt_ls_req } from '../fc.js'
import {
  type nvme_fc_lport,
  type nvme_fc_lport_list,
  type nvme_fc_port_template,
  nvme_fc_register_localport,
  nvme_fc_unregister_localport,
  nvme_fc_register_remoteport,
  type nvme_fc_rport,
  nvme_fc_unregister_remoteport,
} from '../host/fc-ports.js'
import {
  nvmet_fc_rcv_fcp_abort,
  nvmet_fc_rcv_fcp_req,
  nvmet_fc_rcv_ls_req,
  nvmet_fc_register_targetport,
  type nvmet_fc_target_template,
  type nvmet_fc_tgtport,
} from './fc.js'
import type { nvmet } from './nvmet.js'

const FCLOOP_HW_QUEUES = 4
const FCLOOP_SGL_SEGS = 256

type Options = Readonly<Record<string, string>>

/** struct fcloop_nport: what has these names. */
interface fcloop_nport {
  rport: nvme_fc_rport | null
  tport: nvmet_fc_tgtport | null
}

type inistate = 'START' | 'ACTIVE' | 'ABORTED' | 'COMPLETED'

/** struct fcloop_fcpreq: a command between both sides. */
class fcloop_fcpreq implements nvmefc_tgt_fcp_req {
  readonly loop: fcloop
  readonly tport: nvmet_fc_tgtport
  /** Null: the host has heard of its end. */
  fcpreq: nvmefc_fcp_req | null
  state: inistate = 'START'
  status: number = -ECONNABORTED
  op: nvmefc_tgt_fcp_req['op'] = 'RSP'
  sg = 0
  transfer_length = 0
  rsp: Uint8Array = new Uint8Array(0)
  fcp_error = 0
  done: () => Sleep<void> | undefined = () => undefined
  readonly fcp_rcv_work: work_struct<fcloop_fcpreq>
  readonly abort_rcv_work: work_struct<fcloop_fcpreq>
  readonly tio_done_work: work_struct<fcloop_fcpreq>

  constructor(loop: fcloop, tport: nvmet_fc_tgtport, fcpreq: nvmefc_fcp_req) {
    this.loop = loop
    this.tport = tport
    this.fcpreq = fcpreq
    this.fcp_rcv_work = new work_struct<fcloop_fcpreq>(loop.k, this)
    this.abort_rcv_work = new work_struct<fcloop_fcpreq>(loop.k, this)
    this.tio_done_work = new work_struct<fcloop_fcpreq>(loop.k, this)
    INIT_WORK(this.fcp_rcv_work, fcloop_fcp_recv_work)
    INIT_WORK(this.abort_rcv_work, fcloop_fcp_abort_recv_work)
    INIT_WORK(this.tio_done_work, fcloop_tgt_fcprqst_done_work)
  }
}

/** The module fcloop of one kernel. */
export class fcloop {
  readonly k: Kernel
  readonly target: nvmet
  readonly lports: nvme_fc_lport_list
  readonly nports: Map<string, fcloop_nport> = new Map()
  template: nvme_fc_port_template | null = null
  /** Nothing gets through. */
  silent = false
  /** Commands that the host waits for. */
  readonly busy: Map<nvmefc_fcp_req, fcloop_fcpreq> = new Map()

  constructor(k: Kernel, target: nvmet, lports: nvme_fc_lport_list) {
    this.k = k
    this.target = target
    this.lports = lports
  }
}

// ---------------------------------------------------------------- link services

function fcloop_ls_req(loop: fcloop, rport: nvme_fc_rport, lsreq: nvmefc_ls_req): number {
  const { k } = loop
  const t = enter(k, 'fcloop_ls_req')
  const tport = tport_of(loop, rport)
  const tls: nvmefc_tgt_ls_req = { rqst: lsreq.rqst, rsp: lsreq.rsp, done() {} }
  loop_ls.set(tls, lsreq)
  if (loop.silent) give_up_ls(loop, lsreq)
  else if (tport) nvmet_fc_rcv_ls_req(tport, tls)
  else finish_ls(loop, lsreq, -ECONNREFUSED)
  return leave(k, t, 0)
}

/** Which service of the host the target's is. */
const loop_ls = new WeakMap<nvmefc_tgt_ls_req, nvmefc_ls_req>()

function finish_ls(loop: fcloop, lsreq: nvmefc_ls_req, status: number): void {
  const work = new work_struct<{ lsreq: nvmefc_ls_req; status: number }>(loop.k, { lsreq, status })
  INIT_WORK(work, fcloop_tgt_lsrqst_done_work)
  schedule_work(loop.k, work)
}

/** Nobody answers within the time that a link service has. */
function give_up_ls(loop: fcloop, lsreq: nvmefc_ls_req): void {
  const { k } = loop
  const work = new delayed_work(k, lsreq)
  INIT_DELAYED_WORK(work, function fcloop_ls_timeout_work({ container }) {
    container.done(-ETIMEDOUT)
  })
  schedule_delayed_work(k, work, lsreq.timeout * k.hz)
}

function fcloop_tgt_lsrqst_done_work(
  work: work_struct<{ lsreq: nvmefc_ls_req; status: number }>,
): void {
  const t = enter(work.k, 'fcloop_tgt_lsrqst_done_work')
  const { lsreq, status } = work.container
  lsreq.done(status)
  leave(work.k, t)
}

function fcloop_xmt_ls_rsp(loop: fcloop, tls: nvmefc_tgt_ls_req): void {
  const t = enter(loop.k, 'fcloop_xmt_ls_rsp')
  const lsreq = loop_ls.get(tls)!
  lsreq.rsp = tls.rsp
  tls.done()
  finish_ls(loop, lsreq, 0)
  leave(loop.k, t)
}

// ---------------------------------------------------------------- commands

function fcloop_fcp_req(loop: fcloop, rport: nvme_fc_rport, fcpreq: nvmefc_fcp_req): number {
  const { k } = loop
  const t = enter(k, 'fcloop_fcp_req')
  const tport = tport_of(loop, rport)
  if (tport === null) return leave(k, t, -ECONNREFUSED)
  // for the memory of tfcp
  might_sleep_within(k)
  const tfcp = new fcloop_fcpreq(loop, tport, fcpreq)
  loop.busy.set(fcpreq, tfcp)
  if (!loop.silent) schedule_work(k, tfcp.fcp_rcv_work)
  return leave(k, t, 0)
}

function* fcloop_fcp_recv_work(work: work_struct<fcloop_fcpreq>): Sleep<void> {
  const tfcp = work.container
  const { k } = work
  const t = enter(k, 'fcloop_fcp_recv_work')
  if (tfcp.state === 'START' && tfcp.fcpreq) {
    tfcp.state = 'ACTIVE'
    const ret = yield* nvmet_fc_rcv_fcp_req(tfcp.tport, tfcp, tfcp.fcpreq.cmd)
    if (ret) fcloop_call_host_done(tfcp, ret)
  }
  leave(k, t)
}

/** The host hears of the end, once. */
function fcloop_call_host_done(tfcp: fcloop_fcpreq, status: number): void {
  const { fcpreq, loop } = tfcp
  if (fcpreq) {
    tfcp.fcpreq = null
    loop.busy.delete(fcpreq)
    fcpreq.status = status
    fcpreq.done()
  }
  trace_call(loop.k, 'fcloop_tfcp_req_put')
}

function fcloop_fcp_abort(loop: fcloop, fcpreq: nvmefc_fcp_req): void {
  const { k } = loop
  const t = enter(k, 'fcloop_fcp_abort')
  const tfcp = loop.busy.get(fcpreq)
  if (tfcp && tfcp.state !== 'COMPLETED' && tfcp.state !== 'ABORTED') {
    tfcp.state = 'ABORTED'
    schedule_work(k, tfcp.abort_rcv_work)
  }
  leave(k, t)
}

function fcloop_fcp_abort_recv_work(work: work_struct<fcloop_fcpreq>): void {
  const tfcp = work.container
  const t = enter(work.k, 'fcloop_fcp_abort_recv_work')
  if (!tfcp.loop.silent) nvmet_fc_rcv_fcp_abort(tfcp.tport)
  fcloop_call_host_done(tfcp, -ECANCELED)
  leave(work.k, t)
}

function fcloop_tgt_fcprqst_done_work(work: work_struct<fcloop_fcpreq>): void {
  const tfcp = work.container
  const t = enter(work.k, 'fcloop_tgt_fcprqst_done_work')
  fcloop_call_host_done(tfcp, tfcp.status)
  leave(work.k, t)
}

function fcloop_fcp_copy_data(tfcp: fcloop_fcpreq, fcpreq: nvmefc_fcp_req): void {
  const { k, target } = tfcp.loop
  const t = enter(k, 'fcloop_fcp_copy_data')
  const { bytes } = target.blk.view
  let [at, left] = [tfcp.sg, tfcp.transfer_length]
  for (const piece of fcpreq.pieces) {
    const n = Math.min(piece.bytes, left)
    if (tfcp.op === 'WRITEDATA') bytes.copyWithin(at, piece.data, piece.data + n)
    else bytes.copyWithin(piece.data, at, at + n)
    at += n
    left -= n
  }
  fcpreq.transferred_length = tfcp.transfer_length - left
  leave(k, t)
}

function fcloop_fcp_op(loop: fcloop, tfcp: fcloop_fcpreq): Sleep<void> | undefined {
  const t = enter(loop.k, 'fcloop_fcp_op')
  const fcpreq = tfcp.state === 'ABORTED' || loop.silent ? null : tfcp.fcpreq
  tfcp.fcp_error = 0
  if (fcpreq === null) tfcp.fcp_error = tfcp.op === 'RSP' ? 0 : -ECANCELED
  else if (tfcp.op !== 'RSP') fcloop_fcp_copy_data(tfcp, fcpreq)
  else {
    fcpreq.rsp = tfcp.rsp.slice()
    tfcp.status = 0
  }
  return leave(loop.k, t, tfcp.done())
}

function fcloop_fcp_req_release(loop: fcloop, tfcp: fcloop_fcpreq): void {
  const t = enter(loop.k, 'fcloop_fcp_req_release')
  // What a silent link has swallowed waits for the host's abort.
  const heard = tfcp.state === 'ABORTED' || !loop.silent
  if (tfcp.state !== 'ABORTED' && heard) tfcp.state = 'COMPLETED'
  if (heard) schedule_work(loop.k, tfcp.tio_done_work)
  leave(loop.k, t)
}

// ---------------------------------------------------------------- templates

function host_template(loop: fcloop): nvme_fc_port_template {
  const { k } = loop
  return {
    max_hw_queues: FCLOOP_HW_QUEUES,
    max_sgl_segments: FCLOOP_SGL_SEGS,
    create_queue: () => trace_call(k, 'fcloop_create_queue'),
    delete_queue: () => trace_call(k, 'fcloop_delete_queue'),
    ls_req: (rport, lsreq) => fcloop_ls_req(loop, rport, lsreq),
    fcp_io: (rport, fcpreq) => fcloop_fcp_req(loop, rport, fcpreq),
    fcp_abort: fcpreq => fcloop_fcp_abort(loop, fcpreq),
    remoteport_delete: () => {
      const t = enter(k, 'fcloop_remoteport_delete')
      trace_call(k, 'fcloop_nport_put')
      leave(k, t)
    },
  }
}

function target_template(loop: fcloop): nvmet_fc_target_template {
  return {
    max_hw_queues: FCLOOP_HW_QUEUES,
    xmt_ls_rsp: tls => fcloop_xmt_ls_rsp(loop, tls),
    fcp_op: fcpreq => fcloop_fcp_op(loop, fcpreq as fcloop_fcpreq),
    fcp_req_release: fcpreq => fcloop_fcp_req_release(loop, fcpreq as fcloop_fcpreq),
  }
}

// ---------------------------------------------------------------- ports

/** Options by name; null when one is missing or no name of a port. */
function fcloop_parse_options(k: Kernel, text: string, needed: readonly string[]): Options | null {
  if (needed.length > 0) trace_call(k, 'fcloop_parse_options')
  else trace_call(k, 'fcloop_parse_nm_options')
  const options: Record<string, string> = {}
  for (const part of text.split(',')) {
    const m = /^(wwnn|wwpn|lpwwnn|lpwwpn)=0x([0-9a-f]{16})$/.exec(part)
    if (m === null) return null
    options[m[1]!] = m[2]!
  }
  return needed.every(one => one in options) ? options : null
}

function key({ wwnn, wwpn }: Options): string {
  return `${wwnn}:${wwpn}`
}

function tport_of(loop: fcloop, { nn, pn }: nvme_fc_rport): nvmet_fc_tgtport | null {
  const nport = loop.nports.get(`${nn}:${pn}`)
  return nport?.rport ? nport.tport : null
}

/** @returns the port or -errno */
export function fcloop_create_local_port(loop: fcloop, text: string): nvme_fc_lport | number {
  const { k } = loop
  const t = enter(k, 'fcloop_create_local_port')
  const o = fcloop_parse_options(k, text, ['wwnn', 'wwpn'])
  if (o === null) return leave(k, t, -EINVAL)
  const lport = nvme_fc_register_localport(
    k,
    loop.lports,
    (loop.template ??= host_template(loop)),
    { nn: o['wwnn']!, pn: o['wwpn']!, dev: loop },
  )
  return leave(k, t, lport)
}

/** Takes a local port back. @returns 0 or -errno */
export function fcloop_delete_local_port(loop: fcloop, text: string): number {
  const { k } = loop
  const t = enter(k, 'fcloop_delete_local_port')
  const o = fcloop_parse_options(k, text, ['wwnn', 'wwpn'])
  if (o === null) return leave(k, t, -EINVAL)
  const lport = loop.lports.find(one => one.nn === o['wwnn'] && one.pn === o['wwpn'])
  return leave(k, t, lport ? nvme_fc_unregister_localport(lport) : -ENOENT)
}

/** What these names belong to, made if it is not there. */
function fcloop_alloc_nport(
  loop: fcloop,
  text: string,
  needed: readonly string[],
): { readonly nport: fcloop_nport; readonly o: Options } | null {
  const t = enter(loop.k, 'fcloop_alloc_nport')
  const o = fcloop_parse_options(loop.k, text, needed)
  if (o === null) return leave(loop.k, t, null)
  const nport = loop.nports.get(key(o)) ?? { rport: null, tport: null }
  loop.nports.set(key(o), nport)
  return leave(loop.k, t, { nport, o })
}

/** @returns the port or -errno */
export function fcloop_create_target_port(loop: fcloop, text: string): nvmet_fc_tgtport | number {
  const { k } = loop
  const t = enter(k, 'fcloop_create_target_port')
  const made = fcloop_alloc_nport(loop, text, ['wwnn', 'wwpn'])
  if (made === null || made.nport.tport) return leave(k, t, -EINVAL)
  const { nport, o } = made
  nport.tport = nvmet_fc_register_targetport(
    loop.target,
    target_template(loop),
    o['wwnn']!,
    o['wwpn']!,
  )
  return leave(k, t, nport.tport)
}

/** @returns the port or -errno */
export function fcloop_create_remote_port(loop: fcloop, text: string): nvme_fc_rport | number {
  const { k } = loop
  const t = enter(k, 'fcloop_create_remote_port')
  const made = fcloop_alloc_nport(loop, text, ['wwnn', 'wwpn', 'lpwwnn', 'lpwwpn'])
  if (made === null || made.nport.rport) return leave(k, t, -EINVAL)
  const { nport, o } = made
  const lport = loop.lports.find(one => one.nn === o['lpwwnn'] && one.pn === o['lpwwpn'])
  if (lport === undefined) return leave(k, t, -ENOENT)
  // Controllers that go on send at once.
  const before = lport.rports.find(one => one.nn === o['wwnn'] && one.pn === o['wwpn'])
  nport.rport = before ?? null
  const rport = nvme_fc_register_remoteport(lport, o['wwnn']!, o['wwpn']!)
  nport.rport = typeof rport === 'number' ? null : rport
  return leave(k, t, rport)
}

/** @returns 0 or -errno */
export function fcloop_delete_remote_port(loop: fcloop, text: string): number {
  const { k } = loop
  const t = enter(k, 'fcloop_delete_remote_port')
  const o = fcloop_parse_options(k, text, [])
  const nport = o && loop.nports.get(key(o))
  if (!nport?.rport) return leave(k, t, -ENOENT)
  const { rport } = nport
  nport.rport = null
  return leave(k, t, nvme_fc_unregister_remoteport(rport))
}
