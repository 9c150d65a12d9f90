// What a controller over Fibre Channel is made of: struct nvme_fc_ctrl, its queues and its exchanges (struct nvme_fc_fcp_op),
// drivers/nvme/host/fc.c of Linux 4.19.

import type { request_queue } from '../../../block/blkdev.js'
import { wait_queue_head } from '../../../kernel/wait.js'
import { mod_delayed_work } from '../../../kernel/workqueue-cancel.js'
import { INIT_DELAYED_WORK, INIT_WORK } from '../../../kernel/workqueue-queue.js'
import type { WorkFn, workqueue_struct } from '../../../kernel/workqueue-structs.js'
import type { nvmefc_fcp_req } from '../fc.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_reset_ctrl } from './core-state.js'
import { nvmf_life_alloc } from './fabrics-ctrl.js'
import type { nvmf_life, nvmf_lower } from './fabrics-life.js'
import type { nvmf_ctrl_options } from './fabrics-options.js'
import type { nvmf_module, nvmf_transport_ops } from './fabrics.js'
import type { fc_rport_user, nvme_fc_lport, nvme_fc_lport_list, nvme_fc_rport } from './fc-ports.js'
import type { nvme_ctrl } from './nvme.js'

/** The module nvme_fc of one kernel. */
export interface nvme_fc_module {
  readonly f: nvmf_module
  readonly lports: nvme_fc_lport_list
  readonly ctrls: nvme_fc_ctrl[]
  /** nvme_fc_wq of the 4.9 era. */
  readonly wq: workqueue_struct | null
  readonly transport: nvmf_transport_ops
  /** Asks for the end of a controller. 0 or -errno. */
  del(ctrl: nvme_ctrl): number
}

type op_state = 'IDLE' | 'ACTIVE' | 'ABORTED' | 'COMPLETE'

/** struct nvme_fc_fcp_op: one exchange. */
export class nvme_fc_fcp_op implements nvmefc_fcp_req {
  readonly queue: nvme_fc_queue
  /** Null: an asynchronous event. */
  readonly q: request_queue | null
  readonly rq: number
  state: op_state = 'IDLE'
  termio = false
  cmd: Uint8Array = new Uint8Array(0)
  pieces: nvmefc_fcp_req['pieces'] = []
  payload_length = 0
  rsp: Uint8Array = new Uint8Array(0)
  transferred_length = 0
  status = 0

  readonly done: () => void

  /** @param end called when the link is done with it */
  constructor(
    queue: nvme_fc_queue,
    q: request_queue | null,
    rq: number,
    end: (op: nvme_fc_fcp_op) => void,
  ) {
    this.queue = queue
    this.q = q
    this.rq = rq
    this.done = () => end(this)
  }
}

interface nvme_fc_queue {
  readonly ctrl: nvme_fc_ctrl
  readonly qid: number
  connection_id: bigint
  connected: boolean
  csn: number
}

/** What of the life of a controller is fc.ts's. */
export interface nvme_fc_works {
  readonly lower_of: (c: nvme_fc_ctrl) => nvmf_lower
  readonly connect_ctrl: WorkFn<nvmf_life>
  readonly connect_err: WorkFn<nvmf_life>
  readonly reset_ctrl: WorkFn<nvme_ctrl>
}

/** struct nvme_fc_ctrl. */
export class nvme_fc_ctrl implements fc_rport_user {
  readonly m: nvme_fc_module
  readonly lport: nvme_fc_lport
  readonly rport: nvme_fc_rport
  readonly life: nvmf_life
  readonly queues: nvme_fc_queue[]
  /** Exchanges under way. */
  readonly ops: Set<nvme_fc_fcp_op> = new Set()
  readonly ioabort_wait: wait_queue_head
  /** Aborted exchanges whose end is still to come. */
  iocnt = 0
  association_id = 0n
  assoc_active = false
  err_work_active = false
  terminating = false

  constructor(
    m: nvme_fc_module,
    opts: nvmf_ctrl_options,
    rport: nvme_fc_rport,
    works: nvme_fc_works,
  ) {
    const { nvme_wq } = m.f.nvme
    this.m = m
    this.rport = rport
    this.lport = rport.lport
    this.life = nvmf_life_alloc(m.f, opts, works.lower_of(this), {
      err: nvme_wq,
      reconnect: nvme_wq,
    })
    const { k } = this.life.ctrl
    this.ioabort_wait = new wait_queue_head(k, 'exchanges that are aborted')
    const fresh = { ctrl: this, connection_id: 0n, connected: false, csn: 0 }
    this.queues = Array.from({ length: k.cpus.length + 1 }, (_, qid) => ({ ...fresh, qid }))
    const { life } = this
    INIT_DELAYED_WORK(life.reconnect_work, works.connect_ctrl)
    INIT_WORK(life.err_work, works.connect_err)
    INIT_WORK(life.ctrl.reset_work, works.reset_ctrl)
  }

  get opts(): nvmf_ctrl_options {
    return this.life.opts
  }

  connectivity_loss(): void {
    const { ctrl } = this.life
    ctrl_log(ctrl, 'info', 'controller connectivity lost. Awaiting Reconnect')
    if (this.m.wq !== null || this.rport.dev_loss_tmo === 0) this.m.del(ctrl)
    else if ((ctrl.state === 'NEW' || ctrl.state === 'LIVE') && nvme_reset_ctrl(ctrl))
      this.m.del(ctrl)
  }

  resume(): void {
    const { ctrl, reconnect_work, works } = this.life
    if (ctrl.state === 'NEW' || ctrl.state === 'CONNECTING') {
      ctrl_log(ctrl, 'info', 'connectivity re-established. Attempting reconnect')
      mod_delayed_work(works.reconnect, reconnect_work, 0)
    }
  }
}

export function fc_of({ ctrl }: nvmf_life): nvme_fc_ctrl {
  return controllers.get(ctrl)!
}

/** What a controller of the core is here. */
export const controllers: WeakMap<nvme_ctrl, nvme_fc_ctrl> = new WeakMap()
