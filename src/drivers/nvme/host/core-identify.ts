// What a controller says it is: nvme_init_identify of drivers/nvme/host/core.c, Linux 4.19, used by all transports.
//
//   registers VS and CAP -> Identify Controller -> effects log -> subsystem -> limits -> APST, timestamp
//
// It runs again after every reset. Not modelled: multipath, directives and streams, vendor quirks by model number, Opal.

import {
  Q_MAX_SECTORS,
  Q_MAX_SEGMENTS,
  Q_FLAGS,
  Q_VIRT_BOUNDARY,
} from '../../../../assembly/layout.js'
import { QUEUE_FLAG_FUA, QUEUE_FLAG_WC } from '../../../../assembly/nvme.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EINVAL, EIO } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import {
  copy_of,
  ctrl_log,
  nvme_get_log,
  nvme_identify_ctrl,
  nvme_set_features,
  with_buffer,
} from './core-cmd.js'
import {
  NVME_CTRL_LPA_CMD_EFFECTS_LOG,
  NVME_CTRL_ONCS_TIMESTAMP,
  NVME_CTRL_VWC_PRESENT,
  NVME_F_FABRICS,
  NVME_FEAT_TIMESTAMP,
  NVME_IDENTIFY_DATA_SIZE,
  NVME_LOG_CMD_EFFECTS,
  NVME_REG_CAP,
  NVME_REG_VS,
  NVME_VS,
  type nvme_ctrl,
  SHUTDOWN_TIMEOUT_S,
} from './nvme.js'

const USEC_PER_SEC = 1_000_000
const SHUTDOWN_TIMEOUT_MAX_S = 60
/** BLK_DEF_MAX_SECTORS. */
const DEF_MAX_SECTORS = 2560

/** Little-endian fields of identify data. */
export class nvme_id {
  readonly data: Uint8Array
  readonly #view: DataView

  constructor(data: Uint8Array) {
    this.data = data
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  u8(at: number): number {
    return this.#view.getUint8(at)
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true)
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true)
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at, true)
  }

  /** ASCII, padded with blanks (or zeros). */
  text(at: number, bytes: number): string {
    const chars = [...this.data.subarray(at, at + bytes)].map(c => String.fromCharCode(c))
    return chars.join('').replace(/[\0 ]+$/, '')
  }

  hex(at: number, bytes: number): string {
    const all = [...this.data.subarray(at, at + bytes)]
    return all.map(b => b.toString(16).padStart(2, '0')).join('')
  }
}

// ---------------------------------------------------------------- limits

/** Limits and cache of one queue of the controller. */
export function nvme_set_queue_limits(ctrl: nvme_ctrl, q: request_queue): void {
  const { k, view } = q.blk
  const t = enter(k, 'nvme_set_queue_limits')
  if (ctrl.max_hw_sectors) {
    const by_sectors = Math.floor(ctrl.max_hw_sectors / (ctrl.page_size >>> 9)) + 1
    trace_call(k, 'blk_queue_max_hw_sectors')
    view.setU32(q.at + Q_MAX_SECTORS, Math.min(ctrl.max_hw_sectors, DEF_MAX_SECTORS))
    trace_call(k, 'blk_queue_max_segments')
    view.setU32(q.at + Q_MAX_SEGMENTS, Math.min(by_sectors, ctrl.max_segments || by_sectors))
  }
  trace_call(k, 'blk_queue_virt_boundary')
  view.setU32(q.at + Q_VIRT_BOUNDARY, ctrl.page_size - 1)
  trace_call(k, 'blk_queue_write_cache')
  const bits = (1 << QUEUE_FLAG_WC) | (1 << QUEUE_FLAG_FUA)
  const flags = view.load(q.at + Q_FLAGS)
  const cached = (ctrl.vwc & NVME_CTRL_VWC_PRESENT) !== 0
  view.store(q.at + Q_FLAGS, cached ? flags | bits : flags & ~bits)
  leave(k, t)
}

/** Bytes of a transfer: MDTS in units of the smallest page, and what the transport said. */
function max_hw_sectors(ctrl: nvme_ctrl, mdts: number, page_shift: number): number {
  const most = mdts ? 2 ** (mdts + page_shift - 9) : 0xffffffff
  return Math.min(ctrl.max_hw_sectors || 0xffffffff, most)
}

/** RTD3E in microseconds becomes the wait for a shutdown, between the default and a minute. */
export function nvme_shutdown_timeout(rtd3e: number): number {
  if (!rtd3e) return SHUTDOWN_TIMEOUT_S
  const seconds = Math.floor(rtd3e / USEC_PER_SEC)
  return Math.min(Math.max(seconds, SHUTDOWN_TIMEOUT_S), SHUTDOWN_TIMEOUT_MAX_S)
}

// ---------------------------------------------------------------- parts

function subsystem_name(ctrl: nvme_ctrl, id: nvme_id): string {
  const nqn = id.text(768, 256)
  if (nqn !== '') return nqn
  if (ctrl.vs >= NVME_VS(1, 2, 1)) ctrl_log(ctrl, 'warn', 'missing or invalid SUBNQN field.')
  const hex = (n: number): string => n.toString(16).padStart(4, '0')
  const vendor = `nqn.2014.08.org.nvmexpress:${hex(id.u16(0))}${hex(id.u16(2))}`
  return `${vendor}${id.text(4, 20)}${id.text(24, 40)}`
}

/** The subsystem is found by its NQN, or made. */
function nvme_init_subsystem(ctrl: nvme_ctrl, id: nvme_id): void {
  const { nvme } = ctrl
  ctrl.subnqn = subsystem_name(ctrl, id)
  nvme.subsystems.set(ctrl.subnqn, (nvme.subsystems.get(ctrl.subnqn) ?? 0) + 1)
}

/** What is kept of the data, the same for every transport. */
function take_facts(ctrl: nvme_ctrl, id: nvme_id): void {
  ctrl.serial = id.text(4, 20)
  ctrl.model = id.text(24, 40)
  ctrl.firmware_rev = id.text(64, 8)
  ctrl.oacs = id.u16(256)
  ctrl.oncs = id.u16(520)
  ctrl.oaes = id.u32(92)
  ctrl.abort_limit = id.u8(258) + 1
  ctrl.vwc = id.u8(525)
  ctrl.cntlid = id.u16(78)
  ctrl.sgls = id.u32(536)
  ctrl.kas = id.u16(320)
  ctrl.npss = id.u8(263)
  ctrl.apsta = id.u8(265)
  ctrl.mtfa = id.u16(270)
  ctrl.max_namespaces = id.u32(540)
  ctrl.crdt = [128, 130, 132].map(at => id.u16(at))
  ctrl.shutdown_timeout = nvme_shutdown_timeout(id.u32(88))
}

/** @returns 0 or -EINVAL */
function take_fabrics_facts(ctrl: nvme_ctrl, id: nvme_id): number {
  ctrl.icdoff = id.u16(1800)
  ctrl.ioccsz = id.u32(1792)
  ctrl.iorcsz = id.u32(1796)
  ctrl.maxcmd = id.u16(514)
  if (!ctrl.kas && ctrl.opts?.discovery_nqn !== true) {
    ctrl_log(ctrl, 'err', 'keep-alive support is mandatory for fabrics')
    return -EINVAL
  }
  return 0
}

function take_pci_facts(ctrl: nvme_ctrl, id: nvme_id): void {
  ctrl.hmpre = id.u32(272)
  ctrl.hmmin = id.u32(276)
  ctrl.hmminds = id.u32(332)
  ctrl.hmmaxd = id.u16(336)
}

function* nvme_get_effects_log(ctrl: nvme_ctrl): Sleep<number> {
  return yield* with_buffer(ctrl, 4096, function* (at) {
    const ret = yield* nvme_get_log(ctrl, NVME_LOG_CMD_EFFECTS, 0, at, 4096)
    if (ret === 0) ctrl.effects = new Uint32Array(copy_of(ctrl, at, 4096).buffer)
    return ret
  })
}

/** Autonomous power states: the tables are not modelled, controllers here have none. */
function nvme_configure_apst(ctrl: nvme_ctrl): void {
  trace_call(ctrl.k, 'nvme_configure_apst')
}

/** The controller learns the time of day. @returns 0, a status, or -errno when the controller was stopped meanwhile */
function* nvme_configure_timestamp(ctrl: nvme_ctrl): Sleep<number> {
  if (!ctrl.nvme.era.timestamp || !(ctrl.oncs & NVME_CTRL_ONCS_TIMESTAMP)) return 0
  const ret = yield* with_buffer(ctrl, 8, at => {
    ctrl.blk.view.setU64(at, ctrl.nvme.epoch_ms + Math.floor(ctrl.k.now() / 1e6))
    return nvme_set_features(ctrl, NVME_FEAT_TIMESTAMP, 0, at, 8)
  })
  if (ret) ctrl_log(ctrl, 'warn', `could not set timestamp (${ret})`)
  return ret
}

/** A controller with retry delays is told that they are heeded (5.0 and later; see core.ts). @returns as above */
function* nvme_configure_acre(ctrl: nvme_ctrl): Sleep<number> {
  if (ctrl.crdt[0] === 0) return 0
  const ret = yield* with_buffer(ctrl, HOST_BEHAVIOR_BYTES, at => {
    ctrl.blk.view.fill(at, HOST_BEHAVIOR_BYTES, 0)
    ctrl.blk.view.setU32(at, 1)
    return nvme_set_features(ctrl, NVME_FEAT_HOST_BEHAVIOR, 0, at, HOST_BEHAVIOR_BYTES)
  })
  if (ret) ctrl_log(ctrl, 'warn', `could not enable retry delays (${ret})`)
  return ret
}

const NVME_FEAT_HOST_BEHAVIOR = 0x16
const HOST_BEHAVIOR_BYTES = 512

// ---------------------------------------------------------------- the whole

function* identify(ctrl: nvme_ctrl, page_shift: number): Sleep<number> {
  const { era } = ctrl.nvme
  const fabrics = (ctrl.ops.flags & NVME_F_FABRICS) !== 0
  const status = yield* with_buffer(ctrl, NVME_IDENTIFY_DATA_SIZE, function* (at) {
    const ret = yield* nvme_identify_ctrl(ctrl, at)
    if (ret === 0) ctrl.id = copy_of(ctrl, at, NVME_IDENTIFY_DATA_SIZE)
    return ret
  })
  if (status !== 0 || ctrl.id === null) {
    ctrl_log(ctrl, 'err', `Identify Controller failed (${status})`)
    return -EIO
  }
  const id = new nvme_id(ctrl.id)
  if (era.reads_effects && id.u8(261) & NVME_CTRL_LPA_CMD_EFFECTS_LOG) {
    const ret = yield* nvme_get_effects_log(ctrl)
    if (ret < 0) return ret
  }
  if (!ctrl.identified) nvme_init_subsystem(ctrl, id)
  take_facts(ctrl, id)
  ctrl.max_hw_sectors = max_hw_sectors(ctrl, id.u8(77), page_shift)
  nvme_set_queue_limits(ctrl, ctrl.admin_q!)
  if (!fabrics) take_pci_facts(ctrl, id)
  return fabrics ? take_fabrics_facts(ctrl, id) : 0
}

/** @returns 0, -errno */
export function* nvme_init_identify(ctrl: nvme_ctrl): Sleep<number> {
  const { k, ops } = ctrl
  const t = enter(k, 'nvme_init_identify')
  const vs = yield* ops.reg_read32(ctrl, NVME_REG_VS)
  if (vs < 0) {
    ctrl_log(ctrl, 'err', `Reading VS failed (${vs})`)
    return leave(k, t, vs)
  }
  const cap = yield* ops.reg_read64(ctrl, NVME_REG_CAP)
  if (cap < 0n) {
    ctrl_log(ctrl, 'err', `Reading CAP failed (${cap})`)
    return leave(k, t, Number(cap))
  }
  ctrl.vs = vs
  const page_shift = Number((cap >> 48n) & 0xfn) + 12
  if (vs >= NVME_VS(1, 1, 0)) ctrl.subsystem = ((cap >> 36n) & 1n) === 1n
  let ret = yield* identify(ctrl, page_shift)
  if (ret !== 0) return leave(k, t, ret)
  ctrl.identified = true
  nvme_configure_apst(ctrl)
  ret = yield* nvme_configure_timestamp(ctrl)
  if (ret < 0) return leave(k, t, ret)
  ret = yield* nvme_configure_acre(ctrl)
  return leave(k, t, Math.min(ret, 0))
}
