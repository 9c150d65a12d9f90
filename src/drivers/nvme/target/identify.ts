// Identify data of the target: the filling half of drivers/nvme/target/admin-cmd.c, Linux 5.10. Offsets are the
// specification's; every field that is not named is zero.

import { put16, put32, put64, putText } from '../bytes.js'
import { NVME_NQN_DISC } from '../nvme.js'
import { NVMET_VS } from './fabrics-cmd.js'
import { NVMET_KAS, NVMET_MAX_CMD, type nvmet_ctrl, type nvmet_ns } from './nvmet.js'

export const IDENTIFY_BYTES = 4096
const SPACE = 0x20

/** OAES: namespace changes are reported. */
const OAES_NS_ATTR = 1 << 8
/** CTRATT: 128-bit host identifier; traffic-based keep-alive. */
const CTRATT_HID_128 = 1
const CTRATT_TBKAS = 1 << 6
/** ONCS: dataset management, write zeroes. */
const ONCS = 4 | 8
/** LPA: SMART per namespace, commands supported, extended data. */
const LPA = 7
const SQES = 0x66
const CQES = 0x44
/** MPSMIN is 4 KiB: NN entries are namespaces 1 ... 1024. */
export const NVMET_MAX_NAMESPACES = 1024

function put_common(id: Uint8Array, ctrl: nvmet_ctrl): void {
  const { subsys } = ctrl
  const { options } = subsys.target
  putText(id, 4, 20, subsys.serial, SPACE)
  putText(id, 24, 40, options.model, SPACE)
  putText(id, 64, 8, options.firmware, SPACE)
  id[77] = options.mdts
  put16(id, 78, ctrl.cntlid)
  put32(id, 80, NVMET_VS)
  id[111] = subsys.type === NVME_NQN_DISC ? 2 : 1
  put16(id, 514, NVMET_MAX_CMD)
  putText(id, 768, 256, subsys.subsysnqn)
}

/** SGLS: supported; keyed; offsets into the capsule. */
function sgls(ctrl: nvmet_ctrl): number {
  const { has_keyed_sgls, inline_data_size } = ctrl.ops
  return 1 | (has_keyed_sgls ? 1 << 2 : 0) | (inline_data_size > 0 ? 1 << 20 : 0)
}

/** Identify Controller. */
export function identify_ctrl(ctrl: nvmet_ctrl): Uint8Array {
  const id = new Uint8Array(IDENTIFY_BYTES)
  const tbkas = ctrl.subsys.target.options.traffic_based_keep_alive
  put_common(id, ctrl)
  id[72] = 6 // RAB
  id[76] = 2 // CMIC: several controllers
  put32(id, 92, OAES_NS_ATTR)
  put32(id, 96, CTRATT_HID_128 | (tbkas ? CTRATT_TBKAS : 0))
  id[258] = 3 // ACL
  id[259] = 3 // AERL
  id[260] = 3 // FRMW: one slot, read-only
  id[261] = LPA
  id[262] = 127 // ELPE
  put16(id, 320, NVMET_KAS)
  id[512] = SQES
  id[513] = CQES
  put32(id, 516, NVMET_MAX_NAMESPACES)
  put16(id, 520, ONCS)
  id[525] = 1 // VWC
  put32(id, 536, sgls(ctrl))
  put32(id, 540, NVMET_MAX_NAMESPACES)
  put32(id, 1792, (64 + ctrl.ops.inline_data_size) / 16)
  put32(id, 1796, 1)
  id[1803] = ctrl.ops.msdbd
  put16(id, 2048, 0x9c4) // PSD 0: maximum power, 10 mW
  put32(id, 2052, 0x10)
  put32(id, 2056, 4)
  return id
}

/** Identify Controller of the discovery subsystem. */
export function identify_disc_ctrl(ctrl: nvmet_ctrl): Uint8Array {
  const id = new Uint8Array(IDENTIFY_BYTES)
  put_common(id, ctrl)
  id[261] = 4 // LPA: extended data
  put32(id, 536, sgls(ctrl))
  put32(id, 1792, (64 + ctrl.ops.inline_data_size) / 16)
  put32(id, 1796, 1)
  id[1803] = ctrl.ops.msdbd
  return id
}

/** Identify Namespace. */
export function identify_ns(ns: nvmet_ns): Uint8Array {
  const id = new Uint8Array(IDENTIFY_BYTES)
  const blocks = Math.floor(ns.bytes / 2 ** ns.blksize_shift)
  put64(id, 0, blocks)
  put64(id, 8, blocks)
  put64(id, 16, blocks)
  id[30] = 1 // NMIC: shared
  id[33] = 9 // DLFEAT: deallocated blocks read as zeros, write zeroes deallocates
  id.set(ns.nguid, 104)
  id[130] = ns.blksize_shift
  return id
}

const NIDT_NGUID = 2
const NIDT_UUID = 3

/** Namespace identification descriptors; an identifier of zeros is none. */
export function ns_identifiers(ns: nvmet_ns): Uint8Array[] {
  const all = [
    [NIDT_UUID, ns.uuid],
    [NIDT_NGUID, ns.nguid],
  ] as const
  return all
    .filter(([, value]) => value.some(byte => byte !== 0))
    .map(([type, value]) => Uint8Array.of(type, value.length, 0, 0, ...value))
}

/** Active namespaces above `min`, ascending. */
export function identify_nslist(ctrl: nvmet_ctrl, min: number): Uint8Array {
  const list = new Uint8Array(IDENTIFY_BYTES)
  const ids = [...ctrl.subsys.namespaces.values()].filter(ns => ns.enabled && ns.nsid > min)
  ids.sort((a, b) => a.nsid - b.nsid)
  for (const [i, ns] of ids.slice(0, IDENTIFY_BYTES / 4).entries()) put32(list, 4 * i, ns.nsid)
  return list
}
