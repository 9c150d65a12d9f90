// The LightNVM subsystem: drivers/lightnvm/core.c of Linux 4.19.
//
//   nvm_register        a driver found an open-channel device: identity, maps, the list of devices
//   nvm_create_tgt      a range of LUNs becomes a target's: reserved, numbered anew, its disk made
//   nvm_submit_io       one command of a target: addresses to the device's form, to the driver; back in nvm_end_io
//   nvm_ctl_ioctl       the control node, lightnvm/control
//
// A target numbers its channels and LUNs from 0. `map` has what to add to come to the device's numbers, `rmap` of the
// device the way back.
//
// On purpose different from 4.19: a range that begins inside of a channel and goes beyond its end is refused (there the
// maps are read past their ends); NVM_GET_DEVICES stops at the 31 devices that there is room for.
//
// Not modelled: modules and their use counts, the sysfs class.

import { rw_semaphore, down_write, up_write } from '../../kernel/mutex.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from '../../kernel/errno.js'
import type { Kernel } from '../../kernel/kernel.js'
import { enter, leave } from '../../kernel/trace.js'
import * as I from './ioctl.js'
import {
  dev_to_generic_addr,
  generic_to_dev_addr,
  NVM_L2P_NONE,
  NVM_MAX_VLBA,
  NVM_TARGET_DEFAULT_OP,
  NVM_TARGET_FACTORY,
  NVM_TARGET_MAX_OP,
  NVM_TARGET_MIN_OP,
  type nvm_ch_map,
  type nvm_dev,
  type nvm_geo,
  type nvm_lun,
  type nvm_rq,
  type nvm_target,
  type nvm_tgt_dev,
  type nvm_tgt_type,
  ppa_ch,
  ppa_chk,
  ppa_lun,
  ppa_of,
  ppa_sec,
  type tgt_bio,
  type tgt_disk,
} from './lightnvm.js'

/** What the subsystem needs of the block layer: a bio-based disk for a target. */
export type alloc_tgt_disk = (
  dev: nvm_dev,
  name: string,
  make_rq: (bio: tgt_bio) => number,
) => tgt_disk

/** The subsystem of one kernel: its lists and their locks. */
export class lightnvm {
  readonly k: Kernel
  readonly alloc_disk: alloc_tgt_disk
  readonly tgt_types: nvm_tgt_type[] = []
  readonly devices: nvm_dev[] = []
  readonly tgtt_lock: rw_semaphore
  readonly lock: rw_semaphore

  constructor(k: Kernel, alloc_disk: alloc_tgt_disk) {
    this.k = k
    this.alloc_disk = alloc_disk
    this.tgtt_lock = new rw_semaphore(k, 'nvm_tgtt_lock')
    this.lock = new rw_semaphore(k, 'nvm_lock')
  }
}

/** _nvm_misc: the control node, and what opens it. */
export const _nvm_misc: { readonly name: string; readonly nodename: string } = {
  name: 'lightnvm',
  nodename: 'lightnvm/control',
}

// ---------------------------------------------------------------- target types and devices

/** 0, or -EEXIST's place in Linux: a type of that name is there already. */
export function nvm_register_tgt_type<T>(lnvm: lightnvm, type: nvm_tgt_type<T>): number {
  if (nvm_find_target_type(lnvm, type.name) !== null) return -EINVAL
  lnvm.tgt_types.unshift(type as nvm_tgt_type)
  return 0
}

function nvm_find_target_type(lnvm: lightnvm, name: string): nvm_tgt_type | null {
  return lnvm.tgt_types.find(type => type.name === name) ?? null
}

export function nvm_find_nvm_dev(lnvm: lightnvm, name: string): nvm_dev | null {
  return lnvm.devices.find(dev => dev.name === name) ?? null
}

function nvm_register_map(dev: nvm_dev, geo: nvm_geo): void {
  dev.rmap = Array.from({ length: geo.num_ch }, () => ({
    ch_off: -1,
    lun_offs: new Int32Array(geo.num_lun).fill(-1),
  }))
}

function* nvm_init(dev: nvm_dev): Sleep<number> {
  const t = enter(dev.k, 'nvm_init')
  const failed = yield* dev.ops.identity(dev)
  if (failed !== 0 || dev.geo === null) {
    printk(dev.k, 'err', `nvm: ${dev.name}: the device could not be identified`)
    return leave(dev.k, t, -EINVAL)
  }
  const { geo } = dev
  dev.lun_map = new Uint8Array(geo.all_luns)
  nvm_register_map(dev, geo)
  printk(
    dev.k,
    'info',
    `nvm: registered ${dev.name} [${geo.ws_min}/${geo.ws_opt}/${geo.num_chk}/${geo.all_luns}/${geo.num_ch}]`,
  )
  return leave(dev.k, t, 0)
}

/** A driver has found a device. 0, -ENOMEM, or -EINVAL when it cannot be identified. */
export function* nvm_register(lnvm: lightnvm, dev: nvm_dev): Sleep<number> {
  const t = enter(dev.k, 'nvm_register')
  if (!dev.ops.create_dma_pool(dev, 'ppalist')) return leave(dev.k, t, -ENOMEM)
  const failed = yield* nvm_init(dev)
  if (failed !== 0) {
    dev.ops.destroy_dma_pool(dev)
    return leave(dev.k, t, failed)
  }
  yield* down_write(lnvm.lock)
  lnvm.devices.unshift(dev)
  up_write(lnvm.lock)
  return leave(dev.k, t, 0)
}

/** The device goes: its targets are removed, without grace. */
export function* nvm_unregister(lnvm: lightnvm, dev: nvm_dev): Sleep<void> {
  const t = enter(dev.k, 'nvm_unregister')
  for (const target of [...dev.targets]) yield* __nvm_remove_tgt(lnvm, target, false)
  yield* down_write(lnvm.lock)
  const at = lnvm.devices.indexOf(dev)
  if (at >= 0) lnvm.devices.splice(at, 1)
  up_write(lnvm.lock)
  dev.ops.destroy_dma_pool(dev)
  leave(dev.k, t)
}

// ---------------------------------------------------------------- LUNs and maps

function nvm_reserve_luns(dev: nvm_dev, begin: number, end: number): number {
  for (let i = begin; i <= end; i++) {
    if (dev.lun_map[i] !== 0) {
      printk(dev.k, 'err', `nvm: lun ${i} already allocated`)
      dev.lun_map.fill(0, begin, i)
      return -EBUSY
    }
    dev.lun_map[i] = 1
  }
  return 0
}

function nvm_release_luns_err(dev: nvm_dev, begin: number, end: number): void {
  dev.lun_map.fill(0, begin, end + 1)
}

/** The target's view of a range of LUNs; null when it cannot be. */
function nvm_create_tgt_dev(
  dev: nvm_dev,
  begin: number,
  end: number,
  op: number,
): nvm_tgt_dev | null {
  const geo = dev.geo!
  const per = geo.num_lun
  const n = end - begin + 1
  let blun = begin % per
  const bch = Math.floor(begin / per)
  if (blun !== 0 && blun + n > per) {
    printk(
      dev.k,
      'err',
      `nvm: luns ${begin} to ${end} begin inside of a channel and end in another`,
    )
    return null
  }
  const num_ch = Math.ceil(n / per)
  const luns: nvm_lun[] = []
  const map: nvm_ch_map[] = []
  let [left, same, first] = [n, true, 0]
  for (let i = 0; i < num_ch; i++) {
    const here = Math.min(left, per)
    const lun_offs = new Int32Array(here).fill(blun)
    const back = dev.rmap[i + bch]
    back.ch_off = bch
    for (let j = 0; j < here; j++) {
      luns.push({ ch: i, lun: j })
      back.lun_offs[j + blun] = blun
    }
    map.push({ ch_off: bch, lun_offs })
    if (i === 0) first = here
    else if (here !== first) same = false
    left -= here
    blun = 0
  }
  const tgt_geo: nvm_geo = {
    ...geo,
    num_ch,
    num_lun: same ? first : -1,
    all_luns: n,
    all_chunks: n * geo.num_chk,
    total_secs: n * geo.num_chk * geo.clba,
    op,
  }
  return { parent: dev, geo: tgt_geo, luns, map }
}

/** Forgets a target's maps; `clear` gives its LUNs back as well. */
function nvm_remove_tgt_dev(tgt: nvm_tgt_dev, clear: boolean): void {
  const { parent } = tgt
  const per = parent.geo!.num_lun
  for (const [i, ch] of tgt.map.entries()) {
    const back = parent.rmap[i + ch.ch_off]
    for (const [j, offset] of ch.lun_offs.entries()) {
      back.lun_offs[j + offset] = -1
      if (clear) parent.lun_map[(i + ch.ch_off) * per + j + offset] = 0
    }
    if (back.lun_offs.every(offset => offset < 0)) back.ch_off = -1
  }
}

function nvm_map_to_dev(tgt: nvm_tgt_dev, ppa: number): number {
  const ch = tgt.map[ppa_ch(ppa)]
  const lun = ppa_lun(ppa)
  return ppa_of(ppa_ch(ppa) + ch.ch_off, lun + ch.lun_offs[lun], ppa_chk(ppa), ppa_sec(ppa))
}

function nvm_map_to_tgt(dev: nvm_dev, ppa: number): number {
  const ch = dev.rmap[ppa_ch(ppa)]
  const lun = ppa_lun(ppa)
  return ppa_of(ppa_ch(ppa) - ch.ch_off, lun - ch.lun_offs[lun], ppa_chk(ppa), ppa_sec(ppa))
}

/** Addresses of a target to addresses of the device, in place. */
export function nvm_ppa_tgt_to_dev(tgt: nvm_tgt_dev, ppas: Float64Array, n: number): void {
  const t = enter(tgt.parent.k, 'nvm_ppa_tgt_to_dev')
  for (let i = 0; i < n; i++)
    ppas[i] = generic_to_dev_addr(tgt.parent.geo!, nvm_map_to_dev(tgt, ppas[i]))
  leave(tgt.parent.k, t)
}

export function nvm_ppa_dev_to_tgt(dev: nvm_dev, ppas: Float64Array, n: number): void {
  const t = enter(dev.k, 'nvm_ppa_dev_to_tgt')
  for (let i = 0; i < n; i++) ppas[i] = nvm_map_to_tgt(dev, dev_to_generic_addr(dev.geo!, ppas[i]))
  leave(dev.k, t)
}

// ---------------------------------------------------------------- commands

/** Gives a command to the device; nvm_end_io gets it when it is over. 0 or a negative error. */
export function nvm_submit_io(tgt: nvm_tgt_dev, rqd: nvm_rq): number {
  const dev = tgt.parent
  const t = enter(dev.k, 'nvm_submit_io')
  nvm_ppa_tgt_to_dev(tgt, rqd.ppa_list, rqd.nr_ppas)
  rqd.dev = dev
  const failed = dev.ops.submit_io(dev, rqd)
  if (failed !== 0) nvm_ppa_dev_to_tgt(dev, rqd.ppa_list, rqd.nr_ppas)
  return leave(dev.k, t, failed)
}

/** ... and waits for it. What the device says of it is rqd.error. */
export function* nvm_submit_io_sync(tgt: nvm_tgt_dev, rqd: nvm_rq): Sleep<number> {
  const dev = tgt.parent
  const t = enter(dev.k, 'nvm_submit_io_sync')
  nvm_ppa_tgt_to_dev(tgt, rqd.ppa_list, rqd.nr_ppas)
  rqd.dev = dev
  const failed = yield* dev.ops.submit_io_sync(dev, rqd)
  nvm_ppa_dev_to_tgt(dev, rqd.ppa_list, rqd.nr_ppas)
  return leave(dev.k, t, failed)
}

/** The driver's word that a command is over. */
export function nvm_end_io(rqd: nvm_rq): void {
  const dev = rqd.dev!
  const t = enter(dev.k, 'nvm_end_io')
  nvm_ppa_dev_to_tgt(dev, rqd.ppa_list, rqd.nr_ppas)
  rqd.end_io?.(rqd)
  leave(dev.k, t)
}

export function nvm_dev_dma_alloc(dev: nvm_dev): number {
  const t = enter(dev.k, 'nvm_dev_dma_alloc')
  return leave(dev.k, t, dev.ops.dev_dma_alloc(dev))
}

export function nvm_dev_dma_free(dev: nvm_dev, address: number): void {
  const t = enter(dev.k, 'nvm_dev_dma_free')
  dev.ops.dev_dma_free(dev, address)
  leave(dev.k, t)
}

function to_dev(tgt: nvm_tgt_dev, ppas: readonly number[]): number[] {
  const list = Float64Array.from(ppas)
  nvm_ppa_tgt_to_dev(tgt, list, list.length)
  return [...list]
}

/** Descriptors of `n` chunks from that of a target's address on, or a negative error. */
export function* nvm_get_chunk_meta(
  tgt: nvm_tgt_dev,
  ppa: number,
  n: number,
): Sleep<Uint8Array | number> {
  const dev = tgt.parent
  const t = enter(dev.k, 'nvm_get_chunk_meta')
  const answer = yield* dev.ops.get_chk_meta(dev, to_dev(tgt, [ppa])[0], n)
  return leave(dev.k, t, answer)
}

/** Marks blocks over all their planes, plane by plane. 0 or -EINVAL. */
export function* nvm_set_tgt_bb_tbl(
  tgt: nvm_tgt_dev,
  ppas: readonly number[],
  type: number,
): Sleep<number> {
  const dev = tgt.parent
  const { pln_mode, ws_min } = tgt.geo
  if (ppas.length * pln_mode > NVM_MAX_VLBA) return -EINVAL
  const all: number[] = []
  for (let pl = 0; pl < pln_mode; pl++)
    for (const ppa of ppas) all.push(ppa_of(ppa_ch(ppa), ppa_lun(ppa), ppa_chk(ppa), pl * ws_min))
  return (yield* dev.ops.set_bb_tbl(dev, to_dev(tgt, all), type)) === 0 ? 0 : -EINVAL
}

/** The raw table of a LUN: a byte for each plane of each block. */
export function* nvm_get_tgt_bb_tbl(tgt: nvm_tgt_dev, ppa: number): Sleep<Uint8Array | number> {
  return yield* tgt.parent.ops.get_bb_tbl(tgt.parent, to_dev(tgt, [ppa])[0])
}

/**
 * The device's own table of logical sectors, in the target's addresses; NVM_L2P_NONE for a sector that is nowhere.
 * @returns -EINVAL when it names a place that is not the target's
 */
export function* nvm_get_l2p_tbl(
  tgt: nvm_tgt_dev,
  slba: number,
  n: number,
): Sleep<Float64Array | number> {
  const dev = tgt.parent
  const t = enter(dev.k, 'nvm_get_l2p_tbl')
  const table = yield* dev.ops.get_l2p_tbl(dev, slba, n)
  if (typeof table === 'number') return leave(dev.k, t, table)
  for (let i = 0; i < n; i++) {
    if (table[i] === NVM_L2P_NONE) continue
    const ppa = dev_to_generic_addr(dev.geo!, table[i])
    if (!nvm_owns(tgt, ppa)) return leave(dev.k, t, -EINVAL)
    table[i] = nvm_map_to_tgt(dev, ppa)
  }
  return leave(dev.k, t, table)
}

/** Whether a device's address is in one of the target's LUNs. */
function nvm_owns({ parent, map, geo }: nvm_tgt_dev, ppa: number): boolean {
  const ch = map.findIndex((one, i) => one.ch_off + i === ppa_ch(ppa))
  if (ch < 0 || ppa_chk(ppa) >= geo.num_chk || ppa_sec(ppa) >= geo.clba) return false
  const offs = parent.rmap[ppa_ch(ppa)].lun_offs
  const lun = ppa_lun(ppa)
  return lun < offs.length && offs[lun] >= 0 && lun - offs[lun] < map[ch].lun_offs.length
}

/** One byte for each block: that of its first bad plane, else of plane 0. */
export function nvm_bb_tbl_fold(geo: nvm_geo, table: Uint8Array): Uint8Array | number {
  const { num_chk, pln_mode } = geo
  if (table.length !== num_chk * pln_mode) return -EINVAL
  return Uint8Array.from({ length: num_chk }, (_, blk) => {
    const planes = table.subarray(blk * pln_mode, (blk + 1) * pln_mode)
    return planes.find(type => (type & 3) !== 0) ?? planes[0]
  })
}

// ---------------------------------------------------------------- targets

function nvm_find_target(lnvm: lightnvm, name: string): nvm_target | null {
  for (const dev of lnvm.devices) {
    const target = dev.targets.find(one => one.name === name)
    if (target !== undefined) return target
  }
  return null
}

/** Type and range of a create call, checked. */
interface tgt_config {
  readonly begin: number
  readonly end: number
  readonly op: number
}

function nvm_config_check_luns(geo: nvm_geo, begin: number, end: number): boolean {
  return begin <= end && end < geo.all_luns
}

/** Steps 4 to 6 of the checks: the range of LUNs and the over-provisioning; null: -EINVAL. */
function check_config(geo: nvm_geo, create: I.nvm_ioctl_create): tgt_config | null {
  const simple = create.type === I.NVM_CONFIG_TYPE_SIMPLE
  if (!simple && create.type !== I.NVM_CONFIG_TYPE_EXTENDED) return null
  const all = simple ? 0xffffffff : 0xffff
  let { lun_begin: begin, lun_end: end, op } = create
  if (begin === all && end === all) {
    begin = 0
    end = geo.all_luns - 1
  }
  if (simple || op === 0xffff) op = NVM_TARGET_DEFAULT_OP
  else if (op < NVM_TARGET_MIN_OP || op > NVM_TARGET_MAX_OP) return null
  return nvm_config_check_luns(geo, begin, end) ? { begin, end, op } : null
}

/** Makes a target. 0 or a negative error. */
export function* nvm_create_tgt(
  lnvm: lightnvm,
  dev: nvm_dev,
  create: I.nvm_ioctl_create,
): Sleep<number> {
  const t = enter(lnvm.k, 'nvm_create_tgt')
  const config = check_config(dev.geo!, create)
  const type = nvm_find_target_type(lnvm, create.tgttype)
  if (config === null || type === null) return leave(lnvm.k, t, -EINVAL)
  if (nvm_find_target(lnvm, create.tgtname) !== null) {
    printk(lnvm.k, 'err', `nvm: target name already exists (${create.tgtname})`)
    return leave(lnvm.k, t, -EINVAL)
  }
  const busy = nvm_reserve_luns(dev, config.begin, config.end)
  if (busy !== 0) return leave(lnvm.k, t, busy)
  const made = yield* make_target(lnvm, dev, type, config, create)
  if (made !== 0) nvm_release_luns_err(dev, config.begin, config.end)
  return leave(lnvm.k, t, made)
}

function* make_target(
  lnvm: lightnvm,
  dev: nvm_dev,
  type: nvm_tgt_type,
  config: tgt_config,
  create: I.nvm_ioctl_create,
): Sleep<number> {
  const tgt_dev = nvm_create_tgt_dev(dev, config.begin, config.end, config.op)
  if (tgt_dev === null) return -EINVAL
  const held: { data: unknown } = { data: null }
  const disk = lnvm.alloc_disk(dev, create.tgtname, bio => type.make_rq(held.data, bio))
  const data = yield* type.init(tgt_dev, create.tgtname, create.flags)
  if (typeof data === 'number') {
    yield* disk.remove()
    disk.put_disk()
    nvm_remove_tgt_dev(tgt_dev, false)
    return data
  }
  held.data = data
  yield* disk.add(type.capacity(data), type.write_through !== true, type.share?.(data) ?? 0)
  const target = { name: create.tgtname, type, dev: tgt_dev, disk, private_data: data }
  if ((type.sysfs_init?.(data) ?? 0) !== 0) {
    yield* disk.remove()
    yield* type.exit(data, true)
    disk.put_disk()
    nvm_remove_tgt_dev(tgt_dev, false)
    return -ENOMEM
  }
  dev.targets.push(target)
  return 0
}

/** A target goes: its disk first, then what it has; `graceful` lets it write what it holds. */
export function* __nvm_remove_tgt(
  lnvm: lightnvm,
  target: nvm_target,
  graceful: boolean,
): Sleep<void> {
  const t = enter(lnvm.k, '__nvm_remove_tgt')
  yield* __nvm_remove_target(lnvm, target, graceful)
  leave(lnvm.k, t)
}

/** The name that the function has in later kernels of that age. */
function* __nvm_remove_target(lnvm: lightnvm, target: nvm_target, graceful: boolean): Sleep<void> {
  const t = enter(lnvm.k, '__nvm_remove_target')
  const { dev, type, disk, private_data } = target
  yield* disk.remove()
  type.sysfs_exit?.(private_data)
  yield* type.exit(private_data, graceful)
  nvm_remove_tgt_dev(dev, true)
  disk.put_disk()
  const list = dev.parent.targets
  list.splice(list.indexOf(target), 1)
  leave(lnvm.k, t)
}

/** 0, or 1 when no device has a target of that name. */
export function* nvm_remove_tgt(lnvm: lightnvm, name: string): Sleep<number> {
  const target = nvm_find_target(lnvm, name)
  if (target === null) return lnvm.devices.length === 0 ? 0 : 1
  yield* __nvm_remove_tgt(lnvm, target, true)
  return 0
}

// ---------------------------------------------------------------- the control node

function* nvm_ioctl_dev_create(lnvm: lightnvm, arg: Uint8Array): Sleep<number> {
  const t = enter(lnvm.k, 'nvm_ioctl_dev_create')
  const create = I.decode_create(arg)
  const { type, rsv, flags } = create
  const extended = type === I.NVM_CONFIG_TYPE_EXTENDED
  if ((extended && rsv !== 0) || (flags & ~NVM_TARGET_FACTORY) !== 0)
    return leave(lnvm.k, t, -EINVAL)
  const dev = nvm_find_nvm_dev(lnvm, create.dev)
  if (dev === null) {
    printk(lnvm.k, 'err', `nvm: device not found (${create.dev})`)
    return leave(lnvm.k, t, -EINVAL)
  }
  return leave(lnvm.k, t, yield* nvm_create_tgt(lnvm, dev, create))
}

/**
 * One ioctl of the control node. `arg` holds its structure and takes the answer. What nobody knows gives 0.
 * @param admin whether the caller has CAP_SYS_ADMIN
 * @returns 0, 1 (nothing of that name) or a negative error
 */
export function* nvm_ctl_ioctl(
  lnvm: lightnvm,
  cmd: number,
  arg: Uint8Array,
  admin = true,
): Sleep<number> {
  const t = enter(lnvm.k, 'nvm_ctl_ioctl')
  return leave(lnvm.k, t, admin ? yield* ctl(lnvm, cmd, arg) : -EPERM)
}

function* ctl(lnvm: lightnvm, cmd: number, arg: Uint8Array): Sleep<number> {
  if (arg.length < I.nvm_ioctl_bytes(cmd)) return -EFAULT
  switch (cmd) {
    case I.NVM_INFO:
      I.put_info(arg, lnvm.tgt_types)
      return 0
    case I.NVM_GET_DEVICES:
      I.put_devices(
        arg,
        lnvm.devices.map(dev => dev.name),
      )
      return 0
    case I.NVM_DEV_CREATE:
      return yield* nvm_ioctl_dev_create(lnvm, arg)
    case I.NVM_DEV_REMOVE: {
      const { tgtname, flags } = I.decode_remove(arg)
      return flags !== 0 ? -EINVAL : yield* nvm_remove_tgt(lnvm, tgtname)
    }
    case I.NVM_DEV_INIT:
      return I.last_flags(arg) !== 0 ? -EINVAL : 0
    case I.NVM_DEV_FACTORY:
      return (I.last_flags(arg) & ~7) !== 0 ? -EINVAL : 0
    default:
      return 0
  }
}
