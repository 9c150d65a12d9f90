// Disks of LightNVM for jobs: `--device nvme,ocssd=...` and the targets on it.
//
//   ocssdDisk      a disk whose controller has an open-channel device behind it
//   targetDisk     a target's disk: its queue is there from boot, so that jobs find it, and is the target's when it is made
//   makeTargets    before the jobs: the control node's ioctl for each target, in order
//   removeTargets  after them: what is in buffers goes to the media, so that nothing is under way when all is counted

import { VS_SIZE } from '../../assembly/layout.js'
import type { DiskConfig, DiskTarget } from '../machine/config.js'
import { UserError } from '../core/errors.js'
import type { FaultRates } from '../device/ocssd/faults.js'
import type { CellTimes } from '../device/ocssd/media.js'
import { OCSSD_DEVICE, OCSSD_VENDOR } from '../device/ocssd/extension.js'
import {
  GEOMETRY_20,
  OOB_BYTES,
  SECTOR_BYTES,
  type OcssdGeometry,
} from '../device/ocssd/geometry.js'
import { nvm_ctl_ioctl } from '../drivers/lightnvm/core.js'
import {
  encode_create,
  encode_remove,
  NVM_CONFIG_TYPE_EXTENDED,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
} from '../drivers/lightnvm/ioctl.js'
import { NVM_TARGET_DEFAULT_OP, NVM_TARGET_FACTORY } from '../drivers/lightnvm/lightnvm.js'
import { pblk_good_capacity } from '../drivers/lightnvm/pblk-geometry.js'
import {
  rrpc_geometry_problem,
  rrpc_pages,
  rrpc_size_problem,
} from '../drivers/lightnvm/rrpc-init.js'
import type { Machine } from '../machine/booted.js'
import { ocssdLuns } from '../machine/spec-nvme.js'
import type { NandTiming, OcssdSpec, TargetSpec } from '../machine/spec.js'
import { runTask } from './scenario-task.js'

/** Namespaces of an open-channel controller. */
const SLOTS = 1
/** The plain namespace of the controller, which nobody uses. */
const PLAIN_BYTES = 2 ** 26
/** Of the kernel's memory for a target: lists of commands, bios, and what the collector moves at once. */
const TARGET_HEAP = 2 ** 26
/** Hardware queues that have memory for commands of the core. */
const MAX_QUEUES = 16
/** A LUN that says "all" in the extended form. */
const ALL_LUNS = 0xffff
const DEFAULT_OP = 0xffff

// ---------------------------------------------------------------- the device

/** The device's own words for a specification's geometry. */
export function geometryOf({ geometry: g, timing }: OcssdSpec): OcssdGeometry {
  const { cell } = timing
  if (g.version === '1.2')
    return {
      ...GEOMETRY_20,
      version: 12,
      groups: g.channels,
      pus: g.luns,
      chunks: g.blocks,
      planes: g.planes,
      pageSectors: g.sectors,
      clba: g.planes * g.pages * g.sectors,
      wsMin: g.sectors,
      wsOpt: g.sectors * g.planes,
      mwCunits: 0,
      dom: g.l2p ? 1 : 0,
      cell,
    }
  const { groups, pus, chunks, clba, wsMin, wsOpt, mwCunits, maxoc, maxocpu } = g
  const pageSectors = Math.min(wsMin, 16)
  const planes = [4, 2].find(n => wsOpt === n * pageSectors) ?? 1
  const mccap = (g.copy ? 1 : 0) | (g.multiReset ? 2 : 0) | (g.earlyReset ? 4 : 0)
  const sizes = { groups, pus, chunks, clba, wsMin, wsOpt, mwCunits, maxoc, maxocpu }
  return { ...GEOMETRY_20, ...sizes, pageSectors, planes, mccap, cell }
}

function timesOf({ readNs, programNs, eraseNs, transferNs }: NandTiming): Partial<CellTimes> {
  return {
    ...(readNs === null ? {} : { read: [readNs] }),
    ...(programNs === null ? {} : { program: [programNs] }),
    ...(eraseNs === null ? {} : { erase: eraseNs }),
    ...(transferNs === null ? {} : { transfer: transferNs }),
  }
}

function ratesOf(spec: OcssdSpec): FaultRates {
  return {
    write: spec.writeFailPercent / 100,
    reset: spec.resetFailPercent / 100,
    ecc: spec.readFailPercent / 100,
    highEcc: spec.highEccPercent / 100,
  }
}

/**
 * The disk of an open-channel device.
 * @throws UserError for what it cannot be
 */
export function ocssdDisk(spec: OcssdSpec, nrCpus: number, seed: number): DiskConfig {
  if ((spec.wait ?? 'irq') !== 'irq')
    throw new UserError(
      `${spec.name}: wait=${spec.wait!}: the queues of an open-channel controller have interrupts`,
    )
  if (spec.oobBytes !== OOB_BYTES)
    throw new UserError(`${spec.name}: oob=${spec.oobBytes}: not built yet; ${OOB_BYTES} is`)
  const { memBytes, endurance, bad, dnr, channel, faults } = spec
  const ocssd = {
    geometry: geometryOf(spec),
    seed,
    endurance,
    times: timesOf(spec.timing),
    rates: ratesOf(spec),
    bad,
    dnr,
    channel,
    ...(memBytes === null ? {} : { budget: memBytes }),
  }
  const poll_queues = Math.min(spec.pollQueues, nrCpus)
  const config = { faults, vendor: OCSSD_VENDOR, device: OCSSD_DEVICE }
  return {
    name: spec.name,
    driver: 'nvme',
    sizeBytes: PLAIN_BYTES,
    lbaShift: 9,
    queues: spec.queues ?? nrCpus + poll_queues,
    pollQueues: poll_queues,
    depth: spec.depth,
    model: 'ram',
    serviceNs: 0,
    units: 1,
    where: spec.where ?? 'inline',
    wait: 'irq',
    coalesceCount: spec.coalesce?.entries ?? 1,
    coalesceNs: spec.coalesce?.ns ?? 0,
    stride: spec.stride === 0 ? null : spec.stride,
    shadow: false,
    mdtsBytes: 0,
    wc: true,
    controller: { config, slots: SLOTS, ocssd, ...(poll_queues === 0 ? {} : { poll_queues }) },
  }
}

// ---------------------------------------------------------------- the target

function lunsOf(spec: TargetSpec, parent: OcssdSpec): number {
  if (spec.luns === null) return ocssdLuns(parent.geometry)
  return spec.luns[1] - spec.luns[0] + 1
}

/**
 * Bytes that users see of a new target on a device without bad blocks.
 * @throws UserError when the device is too small
 */
export function targetBytes(spec: TargetSpec, parent: OcssdSpec): number {
  const { wsOpt, clba, chunks, dom } = geometryOf(parent)
  const all_luns = lunsOf(spec, parent)
  const op = spec.op ?? NVM_TARGET_DEFAULT_OP
  const shape = { csecs: SECTOR_BYTES, ws_opt: wsOpt, all_luns, clba, num_chk: chunks, op }
  if (spec.kind === 'rrpc') {
    const small = spec.quirks ? null : rrpc_size_problem(shape)
    const problem = rrpc_geometry_problem(shape, dom) ?? small
    if (problem !== null) throw new UserError(`${spec.name}: ${spec.parent}: ${problem}`)
  }
  const sectors = spec.kind === 'rrpc' ? rrpc_pages(shape) : pblk_good_capacity(shape, spec.quirks)
  if (sectors > 0) return sectors * SECTOR_BYTES
  throw new UserError(
    `${spec.name}: ${spec.parent} is too small: of ${all_luns * chunks} chunks, spare space and metadata leave none`,
  )
}

/** Whose device a target is on. parseDevices has seen to it that it is there. */
export function parentOf(
  spec: TargetSpec,
  all: readonly { kind: string; name: string }[],
): OcssdSpec {
  return all.find(one => one.name === spec.parent) as OcssdSpec
}

export function targetDisk(spec: TargetSpec, parent: OcssdSpec): DiskConfig {
  const { kind: type, name, luns, op, factory, quirks } = spec
  return {
    name,
    driver: 'lightnvm',
    sizeBytes: targetBytes(spec, parent),
    lbaShift: 12,
    queues: 1,
    pollQueues: 0,
    depth: 1,
    model: 'null',
    serviceNs: 0,
    units: 1,
    where: 'inline',
    wait: 'irq',
    coalesceCount: 1,
    coalesceNs: 0,
    stride: null,
    shadow: false,
    mdtsBytes: 0,
    wc: type === 'pblk',
    target: { type, parent: spec.parent, luns, op, factory, quirks },
  }
}

/** What the kernel's allocator takes for so many bytes. */
const allocated = (bytes: number): number => 2 ** Math.ceil(Math.log2(Math.max(bytes, 4096)))

/**
 * Bytes of the kernel's memory that a target takes: lists and pieces, its buffer, metadata of open and collected lines; pblk's
 * table, lines and their bitmaps, and what its commands have for each tag.
 */
export function targetHeap(spec: TargetSpec, parent: OcssdSpec): number {
  const { clba, wsOpt, mwCunits, chunks } = geometryOf(parent)
  const luns = lunsOf(spec, parent)
  const table = allocated(8 * luns * chunks * clba) / (luns * chunks * clba < 2 ** 31 ? 2 : 1)
  const lines = allocated(chunks * (64 + 5 * luns)) + chunks * allocated((luns * clba) / 8) * 2
  const tags = allocated(VS_SIZE * parent.depth) * MAX_QUEUES
  const ring = 4 * luns * (Math.max(mwCunits, 8 * wsOpt) + wsOpt) * SECTOR_BYTES
  const line = 32 * (luns * clba * 8 + 64 * SECTOR_BYTES)
  return TARGET_HEAP + ring + line + (spec.kind === 'pblk' ? table + lines + tags : 0)
}

// ---------------------------------------------------------------- life

/** The argument of NVM_DEV_CREATE. */
export function createWords(name: string, target: DiskTarget): Uint8Array {
  const [lun_begin, lun_end] = target.luns ?? [ALL_LUNS, ALL_LUNS]
  return encode_create({
    dev: target.parent,
    tgttype: target.type,
    tgtname: name,
    flags: target.factory ? NVM_TARGET_FACTORY : 0,
    type: NVM_CONFIG_TYPE_EXTENDED,
    lun_begin,
    lun_end,
    op: target.op ?? DEFAULT_OP,
    rsv: 0,
  })
}

/** One call of the control node: 0, 1 or a negative error. The answer is in `arg`. */
export async function control(machine: Machine, cmd: number, arg: Uint8Array): Promise<number> {
  let error = 0
  await runTask(machine, 'nvmctl', 0, function* () {
    error = yield* nvm_ctl_ioctl(machine.host!.lightnvm!.lnvm, cmd, arg)
  })
  return error
}

/**
 * Makes the targets of a machine whose controllers are up.
 * @throws UserError with what the kernel says of the first that cannot be
 */
export async function makeTargets(machine: Machine): Promise<void> {
  for (const { config } of machine.disks) {
    if (!config.target) continue
    const error = await control(machine, NVM_DEV_CREATE, createWords(config.name, config.target))
    if (error === 0) continue
    const last = machine.host!.k.dmesg.findLast(line => line.level === 'err')?.text
    throw new UserError(`${config.name}: ${last ?? `the kernel says error ${-error}`}`)
  }
}

/** Removes them, in reverse. */
export async function removeTargets(machine: Machine): Promise<void> {
  for (const { config } of [...machine.disks].reverse())
    if (config.target) await control(machine, NVM_DEV_REMOVE, encode_remove(config.name))
}
