// Files of a controller in sysfs, as programs such as nvme-cli use them: drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_sysfs_show     what is read to find a controller: subsystem, transport, address, state
//   nvme_sysfs_delete   delete_controller is written to: the controller is deleted, and the writer waits for it
//   nvme_ns_identify    a program asks a disk for its identify data and descriptors

import type { Sleep } from '../../../kernel/core.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { nvme_user_cmd } from './core-ioctl.js'
import {
  NVME_ID_CNS_NS,
  NVME_ID_CNS_NS_DESC_LIST,
  NVME_IDENTIFY_DATA_SIZE,
  type nvme_ctrl,
  type nvme_ns,
  nvme_admin_identify,
} from './nvme.js'

/** A program looks for a controller. */
export function nvme_sysfs_show(ctrl: nvme_ctrl): void {
  const { k } = ctrl
  trace_call(k, 'nvme_sysfs_show_subsysnqn')
  trace_call(k, 'nvme_sysfs_show_transport')
  const t = enter(k, 'nvme_sysfs_show_address')
  ctrl.ops.get_address?.(ctrl)
  leave(k, t)
  nvme_sysfs_show_state(ctrl)
}

/** The file `state` is read. */
export function nvme_sysfs_show_state({ k, state }: nvme_ctrl): string {
  const t = enter(k, 'nvme_sysfs_show_state')
  return leave(k, t, state.toLowerCase())
}

/** A program asks a disk who it is, once it knows its number; `data` is the address of 4096 bytes. */
export function* nvme_ns_identify(ns: nvme_ns, data: number): Sleep<void> {
  const { ctrl } = ns
  const { k } = ctrl
  const n = enter(k, 'blkdev_ioctl')
  trace_call(k, 'nvme_ioctl')
  leave(k, n)
  for (const cns of [NVME_ID_CNS_NS, NVME_ID_CNS_NS_DESC_LIST]) {
    const t = enter(k, 'blkdev_ioctl')
    const i = enter(k, 'nvme_ioctl')
    const cmd = { opcode: nvme_admin_identify, nsid: ns.ns_id, cdw10: cns }
    const passthru = { cmd, addr: data, data_len: NVME_IDENTIFY_DATA_SIZE }
    yield* nvme_user_cmd(ctrl, null, passthru, { u32: 0, u64: 0n })
    leave(k, i)
    leave(k, t)
  }
}

/** `del` asks for the deletion. */
export function* nvme_sysfs_delete(ctrl: nvme_ctrl, del: (ctrl: nvme_ctrl) => number): Sleep<void> {
  const { k } = ctrl
  trace_call(k, 'nvme_subsys_show_nqn')
  const t = enter(k, 'nvme_sysfs_delete')
  if (del(ctrl) === 0) yield* flush_work(ctrl.delete_work)
  leave(k, t)
}
