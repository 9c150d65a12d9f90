// A target as it is set up by hand: functions behind directories and files of drivers/nvme/target/configfs.c, Linux 4.19.
//
//   mkdir subsystems/NQN                 nvmet_subsys_make
//   attr_allow_any_host                  nvmet_subsys_attr_allow_any_host_store
//   mkdir .../namespaces/N               nvmet_ns_make
//   device_path, enable                  nvmet_ns_device_path_store, nvmet_ns_enable_store (the disk is opened)
//   mkdir ports/N                        nvmet_ports_make
//   addr_trtype, _traddr, _trsvcid, _adrfam    nvmet_addr_trtype_store and so on
//   ln -s .../NQN ports/N/subsystems     nvmet_port_subsys_allow_link: the first link opens the port
//
// There is no file system: who sets something up calls these, and finds what was made in what they return. Not modelled:
// removal, hosts, referrals, identifiers of namespaces (they are zero).

import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EBUSY, EINVAL } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { nvmet_ns_add, nvmet_subsys_alloc } from './core.js'
import { nvmet_bdev_ns_enable } from './io-cmd-bdev.js'
import { type nvmet, NVMET_NR_QUEUES, type nvmet_subsys } from './nvmet.js'

/** A namespace's directory. */
export interface nvmet_ns_item {
  readonly subsys: nvmet_subsys
  readonly nsid: number
  bdev: request_queue | null
  bytes: number
}

/** A port's directory. */
export interface nvmet_port_item {
  readonly target: nvmet
  readonly portid: number
  trtype: string
  traddr: string
  trsvcid: string
  adrfam: string
  readonly subsystems: nvmet_subsys[]
}

export function nvmet_subsys_make(target: nvmet, subsysnqn: string, serial: string): nvmet_subsys {
  const { k } = target.blk
  const t = enter(k, 'nvmet_subsys_make')
  return leave(k, t, nvmet_subsys_alloc(target, subsysnqn, serial, NVMET_NR_QUEUES))
}

export function nvmet_subsys_attr_allow_any_host_store(subsys: nvmet_subsys, any: boolean): void {
  trace_call(subsys.target.blk.k, 'nvmet_subsys_attr_allow_any_host_store')
  subsys.allow_any_host = any
}

export function nvmet_ns_make(subsys: nvmet_subsys, nsid: number): nvmet_ns_item {
  const { k } = subsys.target.blk
  const t = enter(k, 'nvmet_ns_make')
  trace_call(k, 'nvmet_ns_alloc')
  return leave(k, t, { subsys, nsid, bdev: null, bytes: 0 })
}

/** @param bytes of the disk, whole blocks */
export function nvmet_ns_device_path_store(
  item: nvmet_ns_item,
  bdev: request_queue,
  bytes: number,
): void {
  trace_call(item.subsys.target.blk.k, 'nvmet_ns_device_path_store')
  item.bdev = bdev
  item.bytes = bytes
}

/**
 * @param open opens the disk
 * @returns 0 or -EINVAL when no disk was named
 */
export function* nvmet_ns_enable_store(
  { subsys, nsid, bdev, bytes }: nvmet_ns_item,
  open: (bdev: request_queue) => Sleep<void>,
): Sleep<number> {
  const { k } = subsys.target.blk
  const t = enter(k, 'nvmet_ns_enable_store')
  if (bdev === null) return leave(k, t, -EINVAL)
  const e = enter(k, 'nvmet_ns_enable')
  const [uuid, nguid] = [new Uint8Array(16), new Uint8Array(16)]
  nvmet_ns_add(
    yield* nvmet_bdev_ns_enable({ nsid, subsys, bdev, bytes, uuid, nguid, persist: null }, open),
  )
  leave(k, e)
  return leave(k, t, 0)
}

export function nvmet_ports_make(target: nvmet, portid: number): nvmet_port_item {
  trace_call(target.blk.k, 'nvmet_ports_make')
  return { target, portid, trtype: '', traddr: '', trsvcid: '', adrfam: '', subsystems: [] }
}

export function nvmet_addr_trtype_store(item: nvmet_port_item, value: string): void {
  trace_call(item.target.blk.k, 'nvmet_addr_trtype_store')
  item.trtype = value
}

export function nvmet_addr_traddr_store(item: nvmet_port_item, value: string): void {
  trace_call(item.target.blk.k, 'nvmet_addr_traddr_store')
  item.traddr = value
}

export function nvmet_addr_trsvcid_store(item: nvmet_port_item, value: string): void {
  trace_call(item.target.blk.k, 'nvmet_addr_trsvcid_store')
  item.trsvcid = value
}

export function nvmet_addr_adrfam_store(item: nvmet_port_item, value: string): void {
  trace_call(item.target.blk.k, 'nvmet_addr_adrfam_store')
  item.adrfam = value
}

/**
 * @param enable the transport's way to open the port with this subsystem
 * @returns 0, -EINVAL when the port has no address, -EBUSY when it is open: here a port has one subsystem
 */
export function nvmet_port_subsys_allow_link(
  item: nvmet_port_item,
  subsys: nvmet_subsys,
  enable: (subsystems: readonly nvmet_subsys[]) => void,
): number {
  const { k } = item.target.blk
  const t = enter(k, 'nvmet_port_subsys_allow_link')
  if (item.trtype === '' || item.traddr === '') return leave(k, t, -EINVAL)
  if (item.subsystems.length > 0) return leave(k, t, -EBUSY)
  item.subsystems.push(subsys)
  enable(item.subsystems)
  return leave(k, t, 0)
}
