// Namespaces: how they are found, become disks, and go. drivers/nvme/host/core.c of Linux 4.19.
//
//   nvme_scan_work        only while LIVE: the changed-namespace log is read away, Identify Controller for NN, then lists of
//                         active identifiers (or, where those do not work, 1 to NN)
//   nvme_validate_ns      a known namespace is looked at again, an unknown one made
//   nvme_alloc_ns         queue, identify, identifiers, limits, disk
//   nvme_ns_remove        disk and queue go
//
// Protection information is the controller's to make and to check (PRACT), as where a request carries no integrity data of
// the block layer. Not modelled: multipath, metadata in requests, streams.

import {
  Q_CAPACITY,
  Q_FLAGS,
  Q_LBA_SHIFT,
  Q_MAX_DISCARD,
  Q_MAX_ZEROES,
  Q_NSID,
  Q_PRINFO,
} from '../../../../assembly/layout.js'
import {
  NVME_RW_PRINFO_PRACT,
  NVME_RW_PRINFO_PRCHK_GUARD,
  NVME_RW_PRINFO_PRCHK_REF,
  QUEUE_FLAG_NONROT,
  QUEUE_FLAG_POLL,
} from '../../../../assembly/nvme.js'
import {
  blk_cleanup_queue,
  blk_mq_init_queue,
  blk_put_queue,
  type blk_mq_tag_set,
} from '../../../block/blk-mq-init.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from '../../../block/blk-mq-freeze.js'
import type { request_queue } from '../../../block/blkdev.js'
import { del_gendisk, device_add_disk } from '../../../block/genhd.js'
import type { Sleep } from '../../../kernel/core.js'
import { EIO, ENODEV } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { flush_work } from '../../../kernel/workqueue-flush.js'
import { queue_work } from '../../../kernel/workqueue-queue.js'
import type { work_struct } from '../../../kernel/workqueue-structs.js'
import {
  __nvme_submit_sync_cmd,
  copy_of,
  ctrl_log,
  nvme_get_log,
  nvme_identify_ctrl,
  nvme_identify_ns,
  nvme_identify_ns_list,
  with_buffer,
} from './core-cmd.js'
import { nvme_id, nvme_set_queue_limits } from './core-identify.js'
import { nvme_get_ctrl, nvme_put_ctrl } from './core-ref.js'
import {
  NVME_CTRL_ONCS_DSM,
  NVME_ID_CNS_NS_DESC_LIST,
  NVME_IDENTIFY_DATA_SIZE,
  NVME_LOG_CHANGED_NS,
  NVME_QUIRK_DEALLOCATE_ZEROES,
  NVME_QUIRK_IDENTIFY_CNS,
  NVME_VS,
  type nvme_ctrl,
  type nvme_ns,
  nvme_admin_identify,
} from './nvme.js'

const LIST_ENTRIES = 1024
/** Sectors of one discard: as many as a 32-bit byte count can say, whole pages. */
const MAX_DISCARD_SECTORS = 0x7ffff8
const DEFAULT_LBA_SHIFT = 9

// ---------------------------------------------------------------- identity

/** Identifiers of a namespace: from its identify data, and the descriptors of 1.3. */
function* nvme_report_ns_ids(ctrl: nvme_ctrl, ns: nvme_ns, id: nvme_id): Sleep<void> {
  const { k } = ctrl
  const t = enter(k, 'nvme_report_ns_ids')
  ns.eui64 = ctrl.vs >= NVME_VS(1, 1, 0) ? id.hex(120, 8) : ''
  ns.nguid = ctrl.vs >= NVME_VS(1, 2, 0) ? id.hex(104, 16) : ''
  if (ctrl.vs >= NVME_VS(1, 3, 0) && ctrl.nvme.era.reads_ns_descs)
    yield* nvme_identify_ns_descs(ctrl, ns)
  leave(k, t)
}

const NVME_NIDT_EUI64 = 1
const NVME_NIDT_NGUID = 2
const NVME_NIDT_UUID = 3

function* nvme_identify_ns_descs(ctrl: nvme_ctrl, ns: nvme_ns): Sleep<void> {
  yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
    const cmd = { opcode: nvme_admin_identify, nsid: ns.ns_id, cdw10: NVME_ID_CNS_NS_DESC_LIST }
    const q = ctrl.admin_q!
    const status = yield* __nvme_submit_sync_cmd(q, cmd, null, at, NVME_IDENTIFY_DATA_SIZE)
    if (status !== 0) return status
    const id = new nvme_id(copy_of(ctrl, at, NVME_IDENTIFY_DATA_SIZE))
    for (let pos = 0; pos + 4 <= NVME_IDENTIFY_DATA_SIZE; ) {
      const [type, length] = [id.u8(pos), id.u8(pos + 1)]
      if (length === 0 || pos + 4 + length > NVME_IDENTIFY_DATA_SIZE) break
      if (type === NVME_NIDT_EUI64) ns.eui64 = id.hex(pos + 4, 8)
      if (type === NVME_NIDT_NGUID) ns.nguid = id.hex(pos + 4, 16)
      if (type === NVME_NIDT_UUID) ns.uuid = id.hex(pos + 4, 16)
      pos += 4 + length
    }
    return 0
  })
}

// ---------------------------------------------------------------- limits of a disk

function nvme_config_discard(ns: nvme_ns): void {
  const { ctrl, queue: q } = ns
  const { k, view } = q.blk
  if (!(ctrl.oncs & NVME_CTRL_ONCS_DSM)) {
    view.setU32(q.at + Q_MAX_DISCARD, 0)
    return
  }
  trace_call(k, 'blk_queue_flag_test_and_set')
  if (view.u32(q.at + Q_MAX_DISCARD) === 0) {
    trace_call(k, 'blk_queue_max_discard_sectors')
    trace_call(k, 'blk_queue_max_discard_segments')
  }
  view.setU32(q.at + Q_MAX_DISCARD, MAX_DISCARD_SECTORS)
  if (ctrl.quirks & NVME_QUIRK_DEALLOCATE_ZEROES)
    view.setU32(q.at + Q_MAX_ZEROES, MAX_DISCARD_SECTORS)
}

const nvme_ns_has_pi = (ns: nvme_ns): boolean => ns.pi_type !== 0 && ns.ms === PI_BYTES

const PI_BYTES = 8

/** What reads and writes say of protection information: type 3 has no reference tag to check. */
function prinfo(pi_type: number): number {
  if (pi_type === 0) return 0
  const guard = NVME_RW_PRINFO_PRACT | NVME_RW_PRINFO_PRCHK_GUARD
  return pi_type === 3 ? guard : guard | NVME_RW_PRINFO_PRCHK_REF
}

/** Block size and capacity; a format that the driver cannot use has no capacity. */
function* nvme_update_disk_info(ns: nvme_ns, id: nvme_id): Sleep<void> {
  const { queue: q } = ns
  const { k, view } = q.blk
  yield* blk_mq_freeze_queue(q)
  trace_call(k, 'blk_queue_logical_block_size')
  trace_call(k, 'blk_queue_physical_block_size')
  trace_call(k, 'blk_queue_io_min')
  view.setU32(q.at + Q_LBA_SHIFT, ns.lba_shift)
  // Metadata that no controller takes off needs a place, which requests here do not have.
  const usable = ns.ms === 0 || nvme_ns_has_pi(ns)
  view.setU32(q.at + Q_PRINFO, ns.ms === 0 ? 0 : prinfo(ns.pi_type))
  const sectors = Number(id.u64(0)) * 2 ** (ns.lba_shift - DEFAULT_LBA_SHIFT)
  view.setU64(q.at + Q_CAPACITY, usable ? sectors : 0)
  nvme_config_discard(ns)
  blk_mq_unfreeze_queue(q)
}

function* __nvme_revalidate_disk(ns: nvme_ns, id: nvme_id): Sleep<void> {
  const { k } = ns.ctrl
  const t = enter(k, '__nvme_revalidate_disk')
  const format = 128 + 4 * (id.u8(26) & 0xf)
  ns.lba_shift = id.u8(format + 2) || DEFAULT_LBA_SHIFT
  ns.ms = id.u16(format)
  ns.ext = ns.ms !== 0 && (id.u8(26) & 0x10) !== 0
  ns.pi_type = ns.ms === 8 ? id.u8(29) & 7 : 0
  ns.noiob = id.u16(46)
  ns.id = id.data
  yield* nvme_update_disk_info(ns, id)
  if (ns.ndev) ns.ctrl.nvme.lightnvm?.nvme_nvm_update_nvm_info(ns)
  leave(k, t)
}

interface ns_ids {
  readonly eui64: string
  readonly nguid: string
  readonly uuid: string
}

function nvme_ns_ids_equal(ns: nvme_ns, old: ns_ids): boolean {
  trace_call(ns.ctrl.k, 'nvme_ns_ids_equal')
  return ns.eui64 === old.eui64 && ns.nguid === old.nguid && ns.uuid === old.uuid
}

/** A disk is looked at again. @returns 0, -ENODEV when it is gone or another one */
export function* nvme_revalidate_disk(ns: nvme_ns): Sleep<number> {
  const { ctrl } = ns
  const { k } = ctrl
  const t = enter(k, 'nvme_revalidate_disk')
  if (ns.dead) {
    ctrl.blk.view.setU64(ns.queue.at + Q_CAPACITY, 0)
    return leave(k, t, -ENODEV)
  }
  let data: Uint8Array | null = null
  const status = yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
    const ret = yield* nvme_identify_ns(ctrl, ns.ns_id, at)
    if (ret === 0) data = copy_of(ctrl, at, NVME_IDENTIFY_DATA_SIZE)
    return ret
  })
  if (status !== 0 || data === null) return leave(k, t, status < 0 ? status : -EIO)
  const id = new nvme_id(data)
  if (id.u64(8) === 0n) return leave(k, t, -ENODEV)
  yield* __nvme_revalidate_disk(ns, id)
  const { eui64, nguid, uuid } = ns
  yield* nvme_report_ns_ids(ctrl, ns, id)
  if (nvme_ns_ids_equal(ns, { eui64, nguid, uuid })) return leave(k, t, 0)
  ctrl_log(ctrl, 'err', `identifiers changed for nsid ${ns.ns_id}`)
  return leave(k, t, -ENODEV)
}

// ---------------------------------------------------------------- they come

/** The lowest number that no disk of this controller has. */
function free_instance(ctrl: nvme_ctrl): number {
  let n = 1
  while (ctrl.namespaces.some(ns => ns.instance === n)) n++
  return n
}

function new_ns(ctrl: nvme_ctrl, nsid: number): nvme_ns | null {
  const instance = free_instance(ctrl)
  const disk_name = `${ctrl.device}n${instance}`
  const queue = blk_mq_init_queue(ctrl.tagset as blk_mq_tag_set, disk_name)
  if (queue === null) return null
  const ns: nvme_ns = {
    ctrl,
    ns_id: nsid,
    disk_name,
    instance,
    queue,
    lba_shift: DEFAULT_LBA_SHIFT,
    ms: 0,
    ext: false,
    pi_type: 0,
    noiob: 0,
    eui64: '',
    nguid: '',
    uuid: '',
    id: null,
    ndev: null,
    added: false,
    removing: false,
    kref: 1,
    dead: false,
  }
  queue.queuedata = ns
  return ns
}

/** Limits of a fresh queue. */
function init_ns_queue(ns: nvme_ns): void {
  const { ctrl, queue: q } = ns
  const { k, view } = q.blk
  trace_call(k, 'blk_queue_flag_set')
  const flags = (1 << QUEUE_FLAG_NONROT) | (1 << QUEUE_FLAG_POLL)
  view.store(q.at + Q_FLAGS, view.load(q.at + Q_FLAGS) | flags)
  view.setU32(q.at + Q_NSID, ns.ns_id)
  trace_call(k, 'blk_queue_logical_block_size')
  nvme_set_queue_limits(ctrl, q)
}

/** Open-channel devices: LightNVM takes the namespace. @returns 0 or -errno */
function* register_lightnvm(ns: nvme_ns): Sleep<number> {
  const { lightnvm } = ns.ctrl.nvme
  if (lightnvm === null || !lightnvm.nvme_nvm_ns_supported(ns)) return 0
  const error = yield* lightnvm.nvme_nvm_register(ns, ns.disk_name)
  if (error) ctrl_log(ns.ctrl, 'warn', 'LightNVM init failure')
  return error
}

/** A queue that never became a disk goes again. */
function* free_ns_queue(ns: nvme_ns): Sleep<void> {
  yield* blk_cleanup_queue(ns.queue)
  blk_put_queue(ns.queue)
}

function* nvme_alloc_ns(ctrl: nvme_ctrl, nsid: number): Sleep<void> {
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_alloc_ns')
  const ns = new_ns(ctrl, nsid)
  if (ns === null) return leave(k, t)
  init_ns_queue(ns)
  let data: Uint8Array | null = null
  yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
    const ret = yield* nvme_identify_ns(ctrl, nsid, at)
    if (ret === 0) data = copy_of(ctrl, at, NVME_IDENTIFY_DATA_SIZE)
    return ret
  })
  const id = data === null ? null : new nvme_id(data)
  if (id === null || id.u64(8) === 0n) {
    yield* free_ns_queue(ns)
    return leave(k, t)
  }
  yield* nvme_report_ns_ids(ctrl, ns, id)
  ns.id = id.data
  if ((yield* register_lightnvm(ns)) !== 0) {
    yield* free_ns_queue(ns)
    return leave(k, t)
  }
  yield* __nvme_revalidate_disk(ns, id)
  nvme_get_ctrl(ctrl)
  ctrl.namespaces.push(ns)
  ctrl.namespaces.sort((a, b) => a.ns_id - b.ns_id)
  yield* device_add_disk(ns.queue)
  ns.added = true
  for (let i = 0; i < NS_ATTRIBUTES; i++) trace_call(k, 'nvme_ns_id_attrs_are_visible')
  nvme.lightnvm?.nvme_nvm_register_sysfs(ns)
  trace_call(k, 'nvme_fault_inject_init')
  nvme.disk_hooks.added(ns)
  leave(k, t)
}

/** Files of a namespace in sysfs whose visibility is asked for. */
const NS_ATTRIBUTES = 5

// ---------------------------------------------------------------- they go

export function* nvme_ns_remove(ns: nvme_ns): Sleep<void> {
  if (ns.removing) return
  ns.removing = true
  const { ctrl } = ns
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_ns_remove')
  trace_call(k, 'nvme_fault_inject_fini')
  if (ns.added) {
    nvme.lightnvm?.nvme_nvm_unregister_sysfs(ns)
    yield* del_gendisk(ns.queue)
    yield* blk_cleanup_queue(ns.queue)
  }
  const at = ctrl.namespaces.indexOf(ns)
  if (at >= 0) ctrl.namespaces.splice(at, 1)
  nvme.disk_hooks.removed(ns)
  yield* nvme_put_ns(ns)
  leave(k, t)
}

/** The last reference is gone. `open`: a file of it is being closed, which puts the queue. */
function* nvme_free_ns(ns: nvme_ns, open: boolean): Sleep<void> {
  const { ctrl } = ns
  const { k, nvme } = ctrl
  const t = enter(k, 'nvme_free_ns')
  if (ns.ndev && nvme.lightnvm !== null) yield* nvme.lightnvm.nvme_nvm_unregister(ns)
  if (!open) blk_put_queue(ns.queue)
  trace_call(k, 'nvme_put_subsystem')
  yield* nvme_put_ctrl(ctrl)
  leave(k, t)
}

function* nvme_put_ns(ns: nvme_ns, open: boolean = false): Sleep<void> {
  const { k } = ns.ctrl
  const t = enter(k, 'nvme_put_ns')
  if (--ns.kref === 0) yield* nvme_free_ns(ns, open)
  leave(k, t)
}

// ---------------------------------------------------------------- files

/** A file of a namespace keeps it, and its controller, until it is closed. */
export function nvme_open(q: request_queue): void {
  const ns = q.queuedata as nvme_ns
  trace_call(q.blk.k, 'nvme_open')
  ns.kref++
}

export function* nvme_release(q: request_queue): Sleep<boolean> {
  const ns = q.queuedata as nvme_ns
  const { k } = q.blk
  const t = enter(k, 'nvme_release')
  yield* nvme_put_ns(ns, true)
  return leave(k, t, ns.kref === 0)
}

export function* nvme_remove_namespaces(
  ctrl: nvme_ctrl,
  kill_queues: (ctrl: nvme_ctrl) => void,
): Sleep<void> {
  const { k } = ctrl
  const t = enter(k, 'nvme_remove_namespaces')
  // A dead controller answers nothing: whoever waits in the middle of a scan must not wait for ever.
  if (ctrl.state === 'DEAD') kill_queues(ctrl)
  yield* flush_work(ctrl.scan_work)
  for (const ns of [...ctrl.namespaces]) yield* nvme_ns_remove(ns)
  leave(k, t)
}

// ---------------------------------------------------------------- scans

function* nvme_validate_ns(ctrl: nvme_ctrl, nsid: number): Sleep<void> {
  const { k } = ctrl
  const t = enter(k, 'nvme_validate_ns')
  trace_call(k, 'nvme_find_get_ns')
  const ns = ctrl.namespaces.find(one => one.ns_id === nsid)
  if (ns === undefined) yield* nvme_alloc_ns(ctrl, nsid)
  else {
    if ((yield* nvme_revalidate_disk(ns)) !== 0) yield* nvme_ns_remove(ns)
    trace_call(k, 'nvme_put_ns')
  }
  leave(k, t)
}

function* nvme_remove_invalid_namespaces(ctrl: nvme_ctrl, above: number): Sleep<void> {
  const { k } = ctrl
  const t = enter(k, 'nvme_remove_invalid_namespaces')
  const gone = ctrl.namespaces.filter(ns => ns.ns_id > above || ns.dead)
  for (const ns of gone) yield* nvme_ns_remove(ns)
  leave(k, t)
}

/** Removes known namespaces strictly between two identifiers. */
function* remove_between(ctrl: nvme_ctrl, low: number, high: number): Sleep<void> {
  const gone = ctrl.namespaces.filter(ns => ns.ns_id > low && ns.ns_id < high)
  for (const ns of gone) yield* nvme_ns_remove(ns)
}

/** By lists of active identifiers, 1024 each. @returns 0, or what an Identify ended with */
function* nvme_scan_ns_list(ctrl: nvme_ctrl, nn: number): Sleep<number> {
  let prev = 0
  for (let lists = Math.ceil(nn / LIST_ENTRIES); lists > 0; lists--) {
    const list: number[] = []
    const status = yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
      const ret = yield* nvme_identify_ns_list(ctrl, prev, at)
      for (let i = 0; ret === 0 && i < LIST_ENTRIES; i++) list.push(ctrl.blk.view.u32(at + 4 * i))
      return ret
    })
    if (status !== 0) return status
    const end = list.indexOf(0)
    for (const nsid of end < 0 ? list : list.slice(0, end)) {
      yield* nvme_validate_ns(ctrl, nsid)
      yield* remove_between(ctrl, prev, nsid)
      prev = nsid
    }
    if (end >= 0) break
  }
  yield* nvme_remove_invalid_namespaces(ctrl, prev)
  return 0
}

function* nvme_scan_ns_sequential(ctrl: nvme_ctrl, nn: number): Sleep<void> {
  for (let nsid = 1; nsid <= nn; nsid++) yield* nvme_validate_ns(ctrl, nsid)
  yield* nvme_remove_invalid_namespaces(ctrl, nn)
}

/** Reading the log clears it, so that the next change is reported. */
function* nvme_clear_changed_ns_log(ctrl: nvme_ctrl): Sleep<void> {
  const status = yield* with_buffer(ctrl, 4096, at =>
    nvme_get_log(ctrl, NVME_LOG_CHANGED_NS, 0, at, 4096),
  )
  if (status) ctrl_log(ctrl, 'warn', `reading changed ns log failed: ${status}`)
}

export function* nvme_scan_work(work: work_struct<nvme_ctrl>): Sleep<void> {
  const ctrl = work.container
  const { k } = ctrl
  const t = enter(k, 'nvme_scan_work')
  if (ctrl.state !== 'LIVE') return leave(k, t)
  if (ctrl.events.changed_ns && ctrl.nvme.era.reads_changed_ns) {
    ctrl.events.changed_ns = false
    yield* nvme_clear_changed_ns_log(ctrl)
  }
  let nn = 0
  const status = yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
    const ret = yield* nvme_identify_ctrl(ctrl, at)
    if (ret === 0) nn = ctrl.blk.view.u32(at + 516)
    return ret
  })
  if (status !== 0) return leave(k, t)
  const lists = ctrl.vs >= NVME_VS(1, 1, 0) && !(ctrl.quirks & NVME_QUIRK_IDENTIFY_CNS)
  if (!lists || (yield* nvme_scan_ns_list(ctrl, nn)) !== 0) yield* nvme_scan_ns_sequential(ctrl, nn)
  leave(k, t)
}

/** Asks for a scan of a live controller. */
export function nvme_queue_scan(ctrl: nvme_ctrl): void {
  if (ctrl.state !== 'LIVE') return
  if (ctrl.nvme.era.core_wq === null) {
    const t = enter(ctrl.k, 'nvme_queue_scan')
    queue_work(ctrl.nvme.nvme_wq, ctrl.scan_work)
    leave(ctrl.k, t)
  } else queue_work(ctrl.nvme.nvme_wq, ctrl.scan_work)
}
