// The NVMe driver for PCIe: drivers/nvme/host/pci.c of Linux 4.19, how controllers are found and lost.
//
//   nvme_init          the driver is registered; each function of class 0x010802 is probed
//   nvme_probe         memory, controller, the first reset; the rest of probe goes on beside (async)
//   nvme_remove        DELETING, namespaces, nvme_dev_disable, queues; DEAD when the device is gone
//   nvme_shutdown, nvme_suspend, nvme_resume
//   nvme_reset_prepare, nvme_reset_done     around a function level reset
//   nvme_error_detected, nvme_slot_reset, nvme_error_resume     recovery from an error of the bus
//   nvme_reset         4.9: asks for a reset by the work, not by the state
//
// Files: pci-queue.ts (one queue), pci-reset.ts (bringing it up), pci-disable.ts, pci-timeout.ts, pci-hmb.ts. Not modelled:
// SR-IOV, threaded interrupts.

import { completion } from '../../../kernel/completion.js'
import { printk, type Sleep } from '../../../kernel/core.js'
import { EBUSY, ENODEV, ENOMEM } from '../../../kernel/errno.js'
import { mutex } from '../../../kernel/mutex.js'
import {
  device_release_driver,
  lo_hi_readq,
  type pci_bus,
  type pci_channel_state,
  type pci_dev,
  pci_device_is_present,
  type pci_ers_result,
  type pci_driver,
  pci_register_driver,
  pci_release_mem_regions,
  pci_request_mem_regions,
  pci_unregister_driver,
  readl,
  writel,
} from '../../../kernel/pci.js'
import { timer_setup } from '../../../kernel/timer.js'
import { timer_list } from '../../../kernel/timer-wheel.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { destroy_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_work_sync } from '../../../kernel/workqueue-cancel.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { work_busy } from '../../../kernel/workqueue-control.js'
import { INIT_WORK, queue_work } from '../../../kernel/workqueue-queue.js'
import { work_struct } from '../../../kernel/workqueue-structs.js'
import { blk_mq_free_tag_set } from '../../../block/blk-mq-init.js'
import type { BlockLayer, request_queue } from '../../../block/blkdev.js'
import {
  nvme_alloc_ctrl,
  nvme_core_init,
  nvme_init_ctrl,
  nvme_kill_queues,
  nvme_stop_ctrl,
  nvme_uninit_ctrl,
} from './core-ctrl.js'
import { ctrl_log } from './core-cmd.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import { nvme_remove_namespaces, nvme_revalidate_disk } from './core-scan.js'
import type { nvme_era } from './era.js'
import {
  nvme_change_ctrl_state,
  nvme_reset_ctrl,
  nvme_try_sched_reset,
  nvme_wait_reset,
} from './core-state.js'
import {
  NVME_CSTS_CFS,
  NVME_CSTS_NSSRO,
  NVME_F_METADATA_SUPPORTED,
  NVME_QUIRK_DELAY_BEFORE_CHK_RDY,
  NVME_QUIRK_IDENTIFY_CNS,
  NVME_QUIRK_LIGHTNVM,
  NVME_REG_CSTS,
  NVME_REG_DBS,
  type nvme_core,
  type nvme_ctrl,
  type nvme_ctrl_ops,
  type nvme_ns,
} from './nvme.js'
import { nvme_dev_disable, nvme_dev_remove_admin, nvme_put_admin_queue } from './pci-disable.js'
import { nvme_dbbuf_dma_free, nvme_free_host_mem } from './pci-hmb.js'
import {
  type nvme_dev,
  type nvme_memory,
  nvme_free_queues,
  nvme_handle_cqe,
  nvme_pci_submit_async_event,
} from './pci-queue.js'
import { arm_watchdog, nvme_remap_bar, nvme_reset_work } from './pci-reset.js'

const PCI_CLASS_STORAGE_EXPRESS = 0x010802

/** Quirks by vendor and device; everything else binds by class. */
const QUIRKS: readonly (readonly [vendor: number, device: number, quirks: number])[] = [
  [0x8086, 0x5845, NVME_QUIRK_IDENTIFY_CNS],
  [0x1bb1, 0x0100, NVME_QUIRK_DELAY_BEFORE_CHK_RDY],
  [0x1c58, 0x0003, NVME_QUIRK_DELAY_BEFORE_CHK_RDY],
  [0x1d1d, 0x1f1f, NVME_QUIRK_LIGHTNVM],
  [0x1d1d, 0x2807, NVME_QUIRK_LIGHTNVM],
  [0x1d1d, 0x2601, NVME_QUIRK_LIGHTNVM],
]

function quirks_of({ fn }: pci_dev): number {
  return QUIRKS.find(([v, d]) => v === fn.vendor && d === fn.device)?.[2] ?? 0
}

// ---------------------------------------------------------------- registers

function pdev_of(ctrl: nvme_ctrl): pci_dev {
  return (ctrl.priv as nvme_dev).pdev
}

// biome-ignore lint/correctness/useYield: over other transports a register is read by a command
function* nvme_pci_reg_read32(ctrl: nvme_ctrl, off: number): Sleep<number> {
  trace_call(ctrl.k, 'nvme_pci_reg_read32')
  return readl(pdev_of(ctrl), off)
}

// biome-ignore lint/correctness/useYield: as above
function* nvme_pci_reg_write32(ctrl: nvme_ctrl, off: number, value: number): Sleep<number> {
  trace_call(ctrl.k, 'nvme_pci_reg_write32')
  writel(pdev_of(ctrl), off, value)
  return 0
}

// biome-ignore lint/correctness/useYield: as above
function* nvme_pci_reg_read64(ctrl: nvme_ctrl, off: number): Sleep<bigint> {
  trace_call(ctrl.k, 'nvme_pci_reg_read64')
  return lo_hi_readq(pdev_of(ctrl), off)
}

const nvme_pci_ctrl_ops: nvme_ctrl_ops = {
  name: 'pcie',
  flags: NVME_F_METADATA_SUPPORTED,
  reg_read32: nvme_pci_reg_read32,
  reg_write32: nvme_pci_reg_write32,
  reg_read64: nvme_pci_reg_read64,
  free_ctrl: ctrl => nvme_pci_free_ctrl(ctrl.priv as nvme_dev),
  submit_async_event: ctrl => nvme_pci_submit_async_event(ctrl.priv as nvme_dev),
  reset_ctrl: ctrl => nvme_reset(ctrl.priv as nvme_dev),
  get_address: ctrl => pdev_of(ctrl).name,
}

/** What hangs on the last reference: shadow doorbells, tags, the admin queue. */
function nvme_pci_free_ctrl(dev: nvme_dev): void {
  const { k } = dev.nvme
  const t = enter(k, 'nvme_pci_free_ctrl')
  nvme_dbbuf_dma_free(dev)
  if (dev.tagset) blk_mq_free_tag_set(dev.tagset)
  dev.tagset = null
  nvme_put_admin_queue(dev)
  leave(k, t)
}

// ---------------------------------------------------------------- resets, as 4.9 asks for them

/** Asks for a reset. @returns 0; -ENODEV without an admin queue, or while a reset waits or runs; -EBUSY */
export function nvme_reset(dev: nvme_dev): number {
  const { ctrl, nvme } = dev
  const { k } = nvme
  const t = enter(k, 'nvme_reset')
  if (!ctrl.admin_q || ctrl.admin_q.dying) return leave(k, t, -ENODEV)
  if (work_busy(ctrl.reset_work) !== 0) return leave(k, t, -ENODEV)
  return leave(k, t, queue_work(nvme.nvme_reset_wq, ctrl.reset_work) ? 0 : -EBUSY)
}

/** Every second, 4.9: a controller that says it is dead is reset, though nobody waits for it. */
function nvme_watchdog_timer(timer: timer_list<nvme_dev>): void {
  const dev = timer.container
  const { k } = dev.nvme
  const t = enter(k, 'nvme_watchdog_timer')
  const csts = readl(dev.pdev, NVME_REG_CSTS)
  const nssro = dev.subsystem && (csts & NVME_CSTS_NSSRO) !== 0
  if ((csts & NVME_CSTS_CFS) !== 0 || nssro) {
    if (nvme_reset(dev) === 0)
      printk(k, 'warn', `nvme ${dev.ctrl.device}: Failed status: 0x${csts.toString(16)}, reset.`)
  } else arm_watchdog(dev)
  leave(k, t)
}

// ---------------------------------------------------------------- probe

function make_dev(nvme: nvme_core, pdev: pci_dev): nvme_dev {
  const { k } = nvme
  const bare = { nvme, pdev, memory: pdev.platform_data as nvme_memory } as unknown as nvme_dev
  const dev: nvme_dev = Object.assign(bare, {
    queues: [],
    tagset: null,
    admin_tagset: null,
    online_queues: 0,
    max_qid: 0,
    io_queues: { default: 0, read: 0, poll: 0 },
    num_vecs: 0,
    q_depth: 0,
    db_stride: 1,
    cmb: { at: 0, bytes: 0 },
    bar_mapped_size: 0,
    subsystem: false,
    remove_work: new work_struct<nvme_dev>(k, bare),
    shutdown_lock: new mutex(k, 'shutdown_lock'),
    ioq_wait: new completion(k, 'queues that are deleted'),
    watchdog_timer: nvme.era.watchdog ? new timer_list<nvme_dev>(k, bare) : null,
    dbbuf_dbs: 0,
    dbbuf_eis: 0,
    host_mem: null,
    last_error: 0,
    nvme_revalidate: (q: request_queue) => nvme_revalidate_disk(q.queuedata as nvme_ns),
  })
  dev.ctrl = nvme_alloc_ctrl(nvme, nvme_pci_ctrl_ops, dev, quirks_of(pdev))
  return dev
}

/** Boot waits for this, not for each probe: the first reset and the first scan are over. */
function* nvme_async_probe(work: work_struct<nvme_dev>): Sleep<void> {
  const dev = work.container
  const { k } = dev.nvme
  const t = enter(k, 'nvme_async_probe')
  yield* flush_work(dev.ctrl.reset_work)
  yield* flush_work(dev.ctrl.scan_work)
  yield* nvme_put_ctrl(dev.ctrl)
  leave(k, t)
}

/** @returns 0 or -errno */
function nvme_probe(nvme: nvme_core, pdev: pci_dev): number {
  const { k, era } = nvme
  const t = enter(k, 'nvme_probe')
  const dev = make_dev(nvme, pdev)
  pdev.drvdata = dev
  if (pci_request_mem_regions(pdev) !== 0) return leave(k, t, -ENODEV)
  nvme_remap_bar(dev, NVME_REG_DBS + 4096)
  INIT_WORK(dev.ctrl.reset_work, nvme_reset_work)
  INIT_WORK(dev.remove_work, nvme_remove_dead_ctrl_work)
  if (dev.watchdog_timer) timer_setup(dev.watchdog_timer, nvme_watchdog_timer)
  const error = nvme_init_ctrl(dev.ctrl)
  if (error) return leave(k, t, error)
  printk(k, 'info', `nvme ${dev.ctrl.device}: pci function ${pdev.name}`)
  if (era.resets_by_state) nvme_reset_ctrl(dev.ctrl)
  else queue_work(nvme.nvme_reset_wq, dev.ctrl.reset_work)
  if (era.async_probe) {
    nvme_get_ctrl(dev.ctrl)
    const probe = new work_struct<nvme_dev>(k, dev)
    INIT_WORK(probe, nvme_async_probe)
    queue_work(k.system_unbound_wq, probe)
  }
  return leave(k, t, 0)
}

// ---------------------------------------------------------------- the end

/** A controller that did not come up leaves its driver. */
function* nvme_remove_dead_ctrl_work(work: work_struct<nvme_dev>): Sleep<void> {
  const dev = work.container
  const { k } = dev.nvme
  const t = enter(k, 'nvme_remove_dead_ctrl_work')
  if (dev.pdev.drvdata !== null) yield* device_release_driver(dev.pdev)
  yield* nvme_put_ctrl(dev.ctrl)
  leave(k, t)
}

function* nvme_remove(pdev: pci_dev): Sleep<void> {
  const dev = pdev.drvdata as nvme_dev | null
  if (dev === null) return
  const { ctrl, nvme } = dev
  const { k, era } = nvme
  const t = enter(k, 'nvme_remove')
  nvme_change_ctrl_state(ctrl, 'DELETING')
  if (era.freezes) yield* cancel_work_sync(ctrl.reset_work)
  pdev.drvdata = null
  if (!pci_device_is_present(pdev)) {
    nvme_change_ctrl_state(ctrl, 'DEAD')
    if (era.freezes) yield* nvme_dev_disable(dev, true)
  }
  yield* flush_work(ctrl.reset_work)
  yield* nvme_stop_ctrl(ctrl)
  yield* nvme_remove_namespaces(ctrl, nvme_kill_queues)
  yield* nvme_dev_disable(dev, true)
  nvme_free_host_mem(dev)
  yield* nvme_dev_remove_admin(dev)
  nvme_free_queues(dev, 0)
  nvme_uninit_ctrl(ctrl)
  pci_release_mem_regions(pdev)
  yield* nvme_put_ctrl(ctrl)
  leave(k, t)
}

function* nvme_shutdown(pdev: pci_dev): Sleep<void> {
  const dev = pdev.drvdata as nvme_dev | null
  if (dev === null) return
  const t = enter(pdev.k, 'nvme_shutdown')
  yield* nvme_dev_disable(dev, true)
  leave(pdev.k, t)
}

/** Stops the controller for a reset that comes later, once one that is under way is over. False: it is going, or has gone. */
function* nvme_disable_prepare_reset(pdev: pci_dev, shutdown: boolean): Sleep<boolean> {
  const dev = pdev.drvdata as nvme_dev | null
  if (dev === null || !(yield* nvme_wait_reset(dev.ctrl))) return false
  yield* nvme_dev_disable(dev, shutdown)
  return true
}

function* nvme_suspend(pdev: pci_dev): Sleep<number> {
  const t = enter(pdev.k, 'nvme_suspend')
  const stopped = yield* nvme_disable_prepare_reset(pdev, true)
  return leave(pdev.k, t, stopped ? 0 : -EBUSY)
}

// biome-ignore lint/correctness/useYield: other drivers' resume functions sleep
function* nvme_resume(pdev: pci_dev): Sleep<number> {
  const t = enter(pdev.k, 'nvme_resume')
  const dev = pdev.drvdata as nvme_dev | null
  return leave(pdev.k, t, dev === null ? -ENODEV : nvme_try_sched_reset(dev.ctrl))
}

// ---------------------------------------------------------------- resets of the function, errors of the bus

function* nvme_reset_prepare(pdev: pci_dev): Sleep<void> {
  const t = enter(pdev.k, 'nvme_reset_prepare')
  yield* nvme_disable_prepare_reset(pdev, false)
  leave(pdev.k, t)
}

function* nvme_reset_done(pdev: pci_dev): Sleep<void> {
  const t = enter(pdev.k, 'nvme_reset_done')
  const ctrl = (pdev.drvdata as nvme_dev | null)?.ctrl
  if (ctrl && nvme_try_sched_reset(ctrl) === 0) yield* flush_work(ctrl.reset_work)
  leave(pdev.k, t)
}

/**
 * Nothing is asked of a controller behind a frozen channel: it is stopped on this side alone. One that is being reset is given up,
 * as by Linux 6.5: that reset waits for answers that will not come. DELETING, so that it does not end well by chance.
 */
function* nvme_error_detected(pdev: pci_dev, state: pci_channel_state): Sleep<pci_ers_result> {
  const dev = pdev.drvdata as nvme_dev | null
  if (dev === null) return 'disconnect'
  const t = enter(pdev.k, 'nvme_error_detected')
  if (state === 'normal') return leave(pdev.k, t, 'can_recover')
  if (state === 'perm_failure') {
    ctrl_log(dev.ctrl, 'warn', 'failure state error detected, request disconnect')
    return leave(pdev.k, t, 'disconnect')
  }
  ctrl_log(dev.ctrl, 'warn', 'frozen state error detected, reset controller')
  const { ctrl } = dev
  const given_up = ctrl.nvme.era.resets_by_state && !nvme_change_ctrl_state(ctrl, 'RESETTING')
  if (given_up) nvme_change_ctrl_state(ctrl, 'DELETING')
  yield* nvme_dev_disable(dev, given_up)
  return leave(pdev.k, t, given_up ? 'disconnect' : 'need_reset')
}

// biome-ignore lint/correctness/useYield: other drivers' functions sleep
function* nvme_slot_reset(pdev: pci_dev): Sleep<pci_ers_result> {
  const dev = pdev.drvdata as nvme_dev | null
  if (dev === null) return 'disconnect'
  const t = enter(pdev.k, 'nvme_slot_reset')
  ctrl_log(dev.ctrl, 'info', 'restart after slot reset')
  nvme_try_sched_reset(dev.ctrl)
  return leave(pdev.k, t, 'recovered')
}

function* nvme_error_resume(pdev: pci_dev): Sleep<void> {
  const t = enter(pdev.k, 'nvme_error_resume')
  const dev = pdev.drvdata as nvme_dev | null
  if (dev !== null) yield* flush_work(dev.ctrl.reset_work)
  leave(pdev.k, t)
}

// ---------------------------------------------------------------- the module

/** The driver's structure for the bus, and the queues' entries that name no request. */
export function nvme_pci_driver(nvme: nvme_core, bus: pci_bus): pci_driver {
  nvme.blk.nvme_handle_cqe = (nq, cqe) => {
    for (const { drvdata } of bus.devices) {
      const nvmeq = (drvdata as nvme_dev | null)?.queues.find(one => one.at === nq)
      if (nvmeq) return nvme_handle_cqe(nvmeq, cqe)
    }
    return false
  }
  return {
    name: 'nvme',
    matches: ({ fn }) => fn.classCode === PCI_CLASS_STORAGE_EXPRESS,
    // biome-ignore lint/correctness/useYield: other drivers' probe functions sleep
    probe: function* (pdev) {
      return nvme_probe(nvme, pdev)
    },
    remove: nvme_remove,
    shutdown: nvme_shutdown,
    suspend: nvme_suspend,
    resume: nvme_resume,
    reset_prepare: nvme_reset_prepare,
    reset_done: nvme_reset_done,
    error_detected: nvme_error_detected,
    slot_reset: nvme_slot_reset,
    error_resume: nvme_error_resume,
  }
}

/** The driver once it is loaded. */
export interface nvme_module {
  readonly nvme: nvme_core
  readonly driver: pci_driver
}

function* destroy_workqueues(nvme: nvme_core): Sleep<void> {
  for (const wq of new Set([nvme.nvme_wq, nvme.nvme_reset_wq, nvme.nvme_delete_wq]))
    if (wq !== nvme.k.system_wq) yield* destroy_workqueue(wq)
}

/**
 * Loads the driver: workqueues, then the registration, which probes. If it fails the workqueues go again. (From 4.13 on the
 * workqueues are those of nvme_core, which is loaded before.)
 * @returns the module, or -errno
 */
export function* nvme_init(
  blk: BlockLayer,
  bus: pci_bus,
  era: nvme_era,
  before: (nvme: nvme_core) => void = () => {},
): Sleep<nvme_module | number> {
  const { k } = blk
  const t = enter(k, 'nvme_init')
  const nvme = nvme_core_init(blk, era)
  if (nvme === null) return leave(k, t, -ENOMEM)
  before(nvme)
  const driver = nvme_pci_driver(nvme, bus)
  const error = yield* pci_register_driver(bus, driver)
  if (error === 0) return leave(k, t, { nvme, driver })
  yield* destroy_workqueues(nvme)
  return leave(k, t, error)
}

/** Unloads it. */
export function* nvme_exit({ nvme, driver }: nvme_module, bus: pci_bus): Sleep<void> {
  const { k } = nvme
  const t = enter(k, 'nvme_exit')
  yield* pci_unregister_driver(bus, driver)
  yield* destroy_workqueues(nvme)
  leave(k, t)
}
