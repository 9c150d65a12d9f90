// What an RDMA host does about work requests that fail: nvme_rdma_wr_error, drivers/nvme/host/rdma.c of Linux 4.19.

import { enter, leave } from '../../../kernel/trace.js'
import type { ib_wc_status } from '../verbs.js'
import { ctrl_log } from './core-cmd.js'
import { nvmf_error_recovery } from './fabrics-ctrl.js'
import type { nvme_rdma_queue } from './rdma-queue.js'

/** @param op what failed */
export function nvme_rdma_wr_error(queue: nvme_rdma_queue, op: string, status: ib_wc_status): void {
  const { ctrl } = queue.life
  const t = enter(ctrl.k, 'nvme_rdma_wr_error')
  if (ctrl.state === 'LIVE') ctrl_log(ctrl, 'info', `${op} failed: ${status}`)
  if (!queue.waiting) nvmf_error_recovery(queue.life)
  leave(ctrl.k, t)
}
