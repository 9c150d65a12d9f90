// An association of a host over Fibre Channel, from nvme_fc_create_association to nvme_fc_delete_association,
// drivers/nvme/host/fc.c of Linux 4.19.
//
//   begin  queue 0, Create Association, Connect, registers, identify, AENs, I/O queues (Create Connection, Connect each), LIVE
//   end    queues stop, every exchange is aborted and waited for, Disconnect Association, the link's queues go, queues start
//          again so that the rest waits or fails

import { blk_mq_update_nr_hw_queues } from '../../../block/blk-mq-init.js'
import { blk_mq_tagset_busy_iter } from '../../../block/blk-mq-tag.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from '../../../block/blk-mq.js'
import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, EINVAL, EIO, ENODEV, ENOMEM, ENOTCONN } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { fcnvme_create_assoc, fcnvme_create_conn, fcnvme_disconnect } from '../fc.js'
import { NVME_AQ_DEPTH } from '../nvme.js'
import { ctrl_log, nvme_set_queue_count } from './core-cmd.js'
import {
  nvme_enable_ctrl,
  nvme_start_ctrl,
  nvme_start_queues,
  nvme_stop_queues,
} from './core-ctrl.js'
import { nvme_init_identify } from './core-identify.js'
import { nvme_change_ctrl_state } from './core-state.js'
import { nvmf_check_depth } from './fabrics-ctrl.js'
import { nvmf_alloc_tagset, nvmf_make_queue, nvmf_start_queue } from './fabrics-queues.js'
import { nvmf_reg_read64 } from './fabrics.js'
import type { nvme_fc_ctrl } from './fc-ctrl.js'
import { abort_all, terminate_exchange } from './fc-io.js'
import {
  nvme_fc_ctlr_active_on_rport,
  nvme_fc_ctlr_inactive_on_rport,
  nvme_fc_send_ls_req,
  nvme_fc_send_ls_req_async,
} from './fc-ports.js'
import { NVME_REG_CAP } from './nvme.js'

/** Commands between responses with a completion, as a part of the queue. */
const ERSP_PART = 4

/** A link service makes the queue known to the target. @returns 0 or -errno */
function* connect_queue(c: nvme_fc_ctrl, qid: number, entries: number): Sleep<number> {
  const queue = c.queues[qid]!
  const { host, subsysnqn } = c.opts
  const [sqsize, ersp_ratio] = [entries - 1, Math.floor(entries / ERSP_PART)]
  const rqst =
    qid === 0
      ? fcnvme_create_assoc({
          ersp_ratio,
          sqsize,
          hostid: host.id,
          hostnqn: host.nqn,
          subnqn: subsysnqn,
        })
      : fcnvme_create_conn(c.association_id, qid, sqsize, ersp_ratio)
  const answer = yield* nvme_fc_send_ls_req(c.rport, rqst)
  if (typeof answer === 'number') {
    ctrl_log(c.life.ctrl, 'err', `queue ${qid} connect failed (${answer}).`)
    return answer
  }
  if (qid === 0) c.association_id = answer.assoc
  queue.connection_id = answer.conn
  queue.connected = true
  queue.csn = 0
  return 0
}

/** @returns 0, -errno, or the status of a Connect */
export function* nvme_fc_create_association(c: nvme_fc_ctrl): Sleep<number> {
  const { k } = c.life.ctrl
  const t = enter(k, 'nvme_fc_create_association')
  c.life.nr_reconnects++
  if (c.rport.port_state !== 'ONLINE') return leave(k, t, -ENODEV)
  if (c.assoc_active) return leave(k, t, -EBUSY)
  c.assoc_active = true
  c.terminating = false
  nvme_fc_ctlr_active_on_rport(c.rport)
  let error = yield* admin_part(c)
  if (error === 0 && c.life.ctrl.queue_count > 1) error = yield* io_queues(c)
  // It may have been given up meanwhile.
  if (error === 0 && !c.assoc_active) error = -ENOTCONN
  if (error !== 0) {
    yield* give_up(c)
    return leave(k, t, error)
  }
  const live = nvme_change_ctrl_state(c.life.ctrl, 'LIVE')
  c.life.nr_reconnects = 0
  if (live) yield* nvme_start_ctrl(c.life.ctrl)
  return leave(k, t, 0)
}

function* admin_part(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport } = c
  const { ctrl } = life
  lport.template.create_queue(0, NVME_AQ_DEPTH)
  let error = yield* connect_queue(c, 0, NVME_AQ_DEPTH)
  if (error) return error
  blk_mq_unquiesce_queue(ctrl.admin_q!)
  error = yield* nvmf_start_queue(life, 0)
  if (error) return error
  const cap = yield* nvmf_reg_read64(ctrl, NVME_REG_CAP)
  if (cap < 0n) return -EIO
  ctrl.cap = cap
  ctrl.sqsize = Math.min(Number(cap & 0xffffn), ctrl.sqsize)
  error = yield* nvme_enable_ctrl(ctrl, cap)
  if (error) return error
  ctrl.max_hw_sectors = life.lower.max_hw_sectors
  error = yield* nvme_init_identify(ctrl)
  if (error) return error
  error = check(c)
  if (error) return error
  nvmf_check_depth(life)
  trace_call(ctrl.k, '__nvme_fc_init_request')
  return 0
}

/** No data in capsules; 4.10 asks for the exact sizes. */
export function check({ life: { ctrl }, m }: nvme_fc_ctrl): number {
  if (ctrl.icdoff) {
    ctrl_log(ctrl, 'err', `icdoff ${ctrl.icdoff} is not supported!`)
    return -EINVAL
  }
  if (m.wq !== null && (ctrl.ioccsz !== 4 || ctrl.iorcsz !== 1)) {
    ctrl_log(ctrl, 'err', `ioccsz ${ctrl.ioccsz} or iorcsz ${ctrl.iorcsz} is not supported!`)
    return -EINVAL
  }
  return 0
}

function* io_queues(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport, opts } = c
  const { ctrl } = life
  const wanted = Math.min(opts.nr_io_queues, ctrl.k.cpus.length, lport.template.max_hw_queues)
  const count = { n: wanted }
  const failed = yield* nvme_set_queue_count(ctrl, count)
  if (failed) {
    ctrl_log(ctrl, 'info', `set_queue_count failed: ${failed}`)
    return failed
  }
  if (count.n === 0) {
    ctrl_log(ctrl, 'err', 'unable to set any I/O queues')
    return -ENOMEM
  }
  ctrl.queue_count = count.n + 1
  life.nr_io_queues = count.n
  const fresh = life.tag_set === null
  let error = 0
  if (fresh) {
    error = nvmf_alloc_tagset(life, false)
    if (error === 0) ctrl.connect_q = nvmf_make_queue(life, false)
    if (error === 0 && ctrl.connect_q === null) error = -ENOMEM
  }
  if (error === 0) error = yield* nvme_fc_connect_io_queues(c)
  if (error === 0 && !fresh) yield* blk_mq_update_nr_hw_queues(life.tag_set!, count.n)
  return error
}

function* nvme_fc_connect_io_queues(c: nvme_fc_ctrl): Sleep<number> {
  const { life, lport } = c
  const { k, sqsize } = life.ctrl
  const h = enter(k, 'nvme_fc_create_hw_io_queues')
  for (let qid = 1; qid <= life.nr_io_queues; qid++) lport.template.create_queue(qid, sqsize + 1)
  leave(k, h)
  const t = enter(k, 'nvme_fc_connect_io_queues')
  for (let qid = 1; qid <= life.nr_io_queues; qid++) {
    let error = yield* connect_queue(c, qid, sqsize + 1)
    if (error === 0) error = yield* nvmf_start_queue(life, qid)
    if (error) return leave(k, t, error)
  }
  return leave(k, t, 0)
}

function nvme_fc_xmt_disconnect_assoc(c: nvme_fc_ctrl): void {
  const { k } = c.life.ctrl
  if (c.association_id === 0n) return
  const t = enter(k, 'nvme_fc_xmt_disconnect_assoc')
  nvme_fc_send_ls_req_async(c.rport, fcnvme_disconnect(c.association_id))
  c.association_id = 0n
  leave(k, t)
}

function nvme_fc_free_queues(c: nvme_fc_ctrl): void {
  const { life, lport, queues } = c
  const { k } = life.ctrl
  if (life.tag_set !== null) {
    const t = enter(k, 'nvme_fc_delete_hw_io_queues')
    for (let qid = life.nr_io_queues; qid >= 1; qid--) lport.template.delete_queue(qid)
    leave(k, t)
    for (let qid = 1; qid <= life.nr_io_queues; qid++) trace_call(k, 'nvme_fc_free_queue')
  }
  lport.template.delete_queue(0)
  trace_call(k, 'nvme_fc_free_queue')
  for (const queue of queues) {
    queue.connected = false
    queue.connection_id = 0n
    life.live[queue.qid] = false
  }
}

/** An association that could not be made goes. */
function* give_up(c: nvme_fc_ctrl): Sleep<void> {
  if (!c.assoc_active) return
  for (const queue of c.queues) c.life.live[queue.qid] = false
  // Who else has sent something must not wait for ever, as in later kernels.
  yield* abort_all(c)
  nvme_fc_xmt_disconnect_assoc(c)
  nvme_fc_free_queues(c)
  c.assoc_active = false
  nvme_fc_ctlr_inactive_on_rport(c.rport)
}

export function* nvme_fc_delete_association(c: nvme_fc_ctrl): Sleep<void> {
  const { ctrl, admin_tag_set, tag_set } = c.life
  const { k } = ctrl
  if (!c.assoc_active) return
  c.assoc_active = false
  const t = enter(k, 'nvme_fc_delete_association')
  c.terminating = true
  if (ctrl.queue_count > 1) {
    yield* nvme_stop_queues(ctrl)
    if (tag_set) blk_mq_tagset_busy_iter(tag_set, rq => terminate_exchange(c, rq))
  }
  yield* blk_mq_quiesce_queue(ctrl.admin_q!)
  blk_mq_tagset_busy_iter(admin_tag_set!, rq => terminate_exchange(c, rq))
  yield* abort_all(c)
  trace_call(k, '__nvme_fc_exit_request')
  nvme_fc_xmt_disconnect_assoc(c)
  nvme_fc_free_queues(c)
  blk_mq_unquiesce_queue(ctrl.admin_q!)
  nvme_start_queues(ctrl)
  nvme_fc_ctlr_inactive_on_rport(c.rport)
  leave(k, t)
}
