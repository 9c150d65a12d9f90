// A machine booted to be looked at as a LightNVM host: its open-channel controllers are found by the driver, and programs
// talk to /dev/lightnvm/control as nvme-cli does: info, devices, create, remove. The attributes of devices and of targets in
// sysfs can be read, and those of targets written. Targets last as long as the machine.
//
// The kernel answers a mistake with an error number; what can be said better, with the accepted values, is said before.

import { UserError } from '../core/errors.js'
import {
  encode_create,
  encode_remove,
  get_string,
  NVM_CONFIG_TYPE_EXTENDED,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
  NVM_GET_DEVICES,
  NVM_INFO,
  NVM_IOCTL_BYTES,
} from '../drivers/lightnvm/ioctl.js'
import {
  NVM_TARGET_FACTORY,
  NVM_TARGET_MAX_OP,
  NVM_TARGET_MIN_OP,
  type nvm_dev,
  type nvm_target,
} from '../drivers/lightnvm/lightnvm.js'
import { nvme_nvm_attributes } from '../drivers/nvme/host/lightnvm.js'
import type { Machine } from '../machine/booted.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import type { DeviceSpec, TargetSpec } from '../machine/spec.js'
import { control, ocssdDisk, targetHeap } from './lightnvm-disks.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { rest } from './scenario-task.js'
import { didYouMean } from './suggest.js'

const HZ = 250
const CPUS = 2
const DEFAULT_DEVICE = 'nvme,ocssd=2.0'
/** For the target that needs it. */
const TABLE_DEVICE = 'nvme,ocssd=1.2,l2p=1'
/** Of the kernel's memory for a controller, and targets for whose buffers there is room beside each other. */
const HEAP = 2 ** 22
const TARGETS = 2
const NAME = /^[a-z][a-z0-9_]{0,30}$/i

/** Three numbers of a version. */
export type Version = readonly [number, number, number]

/** A kind of target that the kernel knows. */
export interface LnvmType {
  readonly name: string
  readonly version: Version
}

/** A target that was made. */
export interface LnvmTarget {
  readonly name: string
  readonly type: string
  readonly device: string
  /** First and last LUN. */
  readonly luns: readonly [number, number]
  /** Bytes that its disk has. */
  readonly bytes: number
}

/** An open-channel device. */
export interface LnvmDevice {
  readonly name: string
  /** Block manager: gennvm. */
  readonly manager: string
  readonly version: Version
}

/** What is to be made. LUNs left out: all of the device. */
export interface LnvmCreate {
  readonly type: string
  readonly device: string
  readonly name: string
  readonly begin?: number
  readonly end?: number
  /** Over-provisioning in percent; left out: the target chooses. */
  readonly op?: number
  /** From scratch, in place of recovering what is there. */
  readonly factory?: boolean
  /** The mistakes of its kernels as well. */
  readonly quirks?: boolean
}

function diskOf(path: string): string {
  return path.replace(/^\/dev\//, '')
}

function fail(words: string): never {
  throw new UserError(`lnvm ${words}`)
}

/** A booted machine with open-channel devices. */
export class LnvmMachine {
  readonly #machine: Machine

  constructor(machine: Machine) {
    this.#machine = machine
  }

  get #devices(): readonly nvm_dev[] {
    return [...this.#machine.host!.lightnvm!.lnvm.devices].reverse()
  }

  async #ask(cmd: number, bytes: number): Promise<Uint8Array> {
    const arg = new Uint8Array(bytes)
    const error = await control(this.#machine, cmd, arg)
    if (error !== 0) throw new Error(`the control node says ${error}`)
    return arg
  }

  /** The subsystem's version, and the kinds of targets (NVM_INFO). */
  async info(): Promise<{ readonly version: Version; readonly types: readonly LnvmType[] }> {
    const arg = await this.#ask(NVM_INFO, NVM_IOCTL_BYTES.info)
    const view = new DataView(arg.buffer)
    const version = (at: number): Version => [
      view.getUint32(at, true),
      view.getUint32(at + 4, true),
      view.getUint32(at + 8, true),
    ]
    const types = Array.from({ length: view.getUint16(12, true) }, (_, i) => ({
      name: get_string(arg, 80 + 64 * i, 48),
      version: version(64 + 64 * i),
    }))
    return { version: version(0), types }
  }

  /** Open-channel devices (NVM_GET_DEVICES). */
  async devices(): Promise<readonly LnvmDevice[]> {
    const arg = await this.#ask(NVM_GET_DEVICES, NVM_IOCTL_BYTES.devices)
    const view = new DataView(arg.buffer)
    const list = Array.from({ length: view.getUint32(0, true) }, (_, i) => {
      const at = 128 + 128 * i
      const version: Version = [
        view.getUint32(at + 80, true),
        view.getUint32(at + 84, true),
        view.getUint32(at + 88, true),
      ]
      return { name: get_string(arg, at, 32), manager: get_string(arg, at + 32, 48), version }
    })
    return list.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Targets, by device and in the order in which they were made. */
  get targets(): readonly LnvmTarget[] {
    return this.#devices.flatMap(({ name: device, targets, geo }) =>
      targets.map(({ name, type, dev, private_data }) => {
        const [{ ch_off, lun_offs }] = dev.map as [(typeof dev.map)[number]]
        const first = ch_off * geo!.num_lun + lun_offs[0]!
        return {
          name,
          type: type.name,
          device,
          luns: [first, first + dev.geo.all_luns - 1] as const,
          bytes: type.capacity(private_data) * 512,
        }
      }),
    )
  }

  /** @throws UserError for a device that is none of the open-channel ones */
  #find(word: string, path: string): nvm_dev {
    const name = diskOf(path)
    const found = this.#devices.find(dev => dev.name === name)
    if (found) return found
    const names = this.#devices.map(dev => dev.name)
    const have = names.length > 0 ? `open-channel devices are ${names.join(', ')}` : 'there is none'
    const targets = word === 'sysfs' ? this.targets.map(target => target.name) : []
    const more = targets.length > 0 ? `, targets ${targets.join(', ')}` : ''
    const near = didYouMean(name, [...names, ...targets])
    return fail(`${word}: ${path}: no such device; ${have}${more}${near}`)
  }

  #target(path: string): nvm_target | undefined {
    const name = diskOf(path)
    return this.#devices.flatMap(dev => dev.targets).find(target => target.name === name)
  }

  /**
   * The attributes in sysfs, by name: of a device those in <disk>/lightnvm, of a pblk those in <disk>/pblk that can be read.
   * @param path nvme0n1 or /dev/nvme0n1; pblk0 or /dev/pblk0
   * @throws UserError
   */
  attributes(path: string): Readonly<Record<string, string>> {
    const target = this.#target(path)
    if (target === undefined) return nvme_nvm_attributes(this.#find('sysfs', path))
    const { type, private_data } = target
    if (type.sysfs === undefined) return fail(`sysfs: ${path}: ${type.name} has no attributes`)
    const { attributes, show } = type.sysfs
    const readable = attributes.filter(attr => attr.readable)
    return Object.fromEntries(
      readable.map(({ name }) => [name, String(show(private_data, name)).replace(/\n$/, '')]),
    )
  }

  /**
   * Writes an attribute of a pblk.
   * @param path pblk0 or /dev/pblk0
   * @throws UserError for a target or an attribute that is none, or cannot be written, and when the kernel refuses the value
   */
  setAttribute(path: string, name: string, value: string): void {
    const target = this.#target(path)
    const { attributes = [] } = target?.type.sysfs ?? {}
    const names = attributes.filter(attr => attr.writable).map(attr => attr.name)
    if (target === undefined) this.#find('sysfs', path)
    if (names.length === 0) fail(`sysfs: ${path}: none of its attributes can be written`)
    const label = `sysfs: ${path}: ${name}`
    if (!names.includes(name)) {
      const known = attributes.some(attr => attr.name === name)
      const what = known ? 'can be read alone' : `no such attribute${didYouMean(name, names)}`
      fail(`${label}: ${what}; ${names.join(', ')} can be written`)
    }
    const stored = target!.type.sysfs!.store(target!.private_data, name, `${value}\n`)
    if (stored < 0) fail(`${label}: the kernel refuses '${value}' (error ${-stored})`)
  }

  #checkName(name: string): void {
    if (!NAME.test(name))
      fail(`create: name ${name}: letters, digits and _, at most 31, beginning with a letter`)
    const { disks } = this.#machine
    const taken = [...this.targets.map(t => t.name), ...disks.map(disk => disk.config.name)]
    if (taken.includes(name)) fail(`create: the name ${name} is taken`)
  }

  #checkLuns(dev: nvm_dev, { begin, end }: LnvmCreate): void {
    const all = dev.geo!.all_luns
    if ((begin === undefined) !== (end === undefined))
      fail(`create: the first and the last LUN go together; ${dev.name} has 0 to ${all - 1}`)
    const [first, last] = [begin ?? 0, end ?? all - 1]
    if (first > last || last >= all)
      fail(`create: LUNs ${first} to ${last}: ${dev.name} has 0 to ${all - 1}`)
    for (const { name, device, luns } of this.targets)
      if (device === dev.name && first <= luns[1] && luns[0] <= last)
        fail(
          `create: LUNs ${first} to ${last} are shared with ${name}, which has ${luns.join(' to ')}`,
        )
  }

  /**
   * Makes a target (NVM_DEV_CREATE).
   * @throws UserError, one line that names what is accepted, or what the kernel says
   */
  async create(what: LnvmCreate): Promise<LnvmTarget> {
    const dev = this.#find('create', what.device)
    const types = (await this.info()).types.map(type => type.name)
    const { name, type, op } = what
    if (!types.includes(type))
      fail(`create: '${type}' is no target type; there are ${types.sort().join(', ')}`)
    this.#checkName(name)
    this.#checkLuns(dev, what)
    if (op !== undefined && !(op >= NVM_TARGET_MIN_OP && op <= NVM_TARGET_MAX_OP))
      fail(`create: over-provisioning ${op}: ${NVM_TARGET_MIN_OP} to ${NVM_TARGET_MAX_OP} percent`)
    if (type === 'rrpc' && (op !== undefined || what.factory))
      fail('create: rrpc has neither over-provisioning nor a factory state of its own')
    const { k, lightnvm } = this.#machine.host!
    if (what.quirks) lightnvm!.quirks.add(name)
    else lightnvm!.quirks.delete(name)
    const before = k.dmesg.length
    const error = await control(this.#machine, NVM_DEV_CREATE, createArg(dev.name, what))
    if (error !== 0) {
      const said = k.dmesg.slice(before).findLast(line => line.level === 'err')?.text
      fail(`create: ${said ?? `the kernel says error ${-error}`}`)
    }
    return this.targets.find(one => one.name === name)!
  }

  /**
   * Removes a target, and lets it write what it holds (NVM_DEV_REMOVE).
   * @throws UserError when there is none of that name
   */
  async remove(name: string): Promise<void> {
    const names = this.targets.map(target => target.name)
    const error = await control(this.#machine, NVM_DEV_REMOVE, encode_remove(name))
    if (error === 0 && names.includes(name)) return
    const have = names.length > 0 ? `there are ${names.join(', ')}` : 'there is none'
    fail(`remove: no target ${name}; ${have}`)
  }

  async stop(): Promise<void> {
    for (const { name } of [...this.targets].reverse()) await this.remove(name)
    await rest(this.#machine, 1e6)
    await this.#machine.stop()
  }
}

function createArg(dev: string, { type, name, begin, end, op, factory }: LnvmCreate): Uint8Array {
  return encode_create({
    dev,
    tgttype: type,
    tgtname: name,
    flags: factory ? NVM_TARGET_FACTORY : 0,
    type: NVM_CONFIG_TYPE_EXTENDED,
    lun_begin: begin ?? 0xffff,
    lun_end: end ?? 0xffff,
    op: op ?? 0xffff,
    rsv: 0,
  })
}

// ---------------------------------------------------------------- the machine

/** A target of the whole device, for the memory that one takes. */
function wholeTarget(parent: string): TargetSpec {
  const rest = { luns: null, op: null, factory: true, quirks: false }
  return { kind: 'pblk', name: parent, parent, ...rest }
}

function heapOf(specs: readonly DeviceSpec[]): number {
  return specs.reduce((sum, spec) => {
    if (spec.kind !== 'ocssd') return sum + HEAP
    return sum + HEAP + TARGETS * targetHeap(wholeTarget(spec.name), spec)
  }, 0)
}

/**
 * Boots a machine with these devices (`--device` texts; default one open-channel device on which a target of `type` can be:
 * of revision 2.0, for rrpc of 1.2), finds their controllers and makes the targets among them.
 * @throws UserError for devices that are none, or targets that cannot be
 */
export async function openLightnvm(
  devices: readonly string[] = [],
  type = 'pblk',
): Promise<LnvmMachine> {
  const usual = type === 'rrpc' ? TABLE_DEVICE : DEFAULT_DEVICE
  const specs = parseDevices(devices.length > 0 ? devices : [usual])
  const disks = specs.flatMap(spec => {
    if (spec.kind === 'ocssd') return [ocssdDisk(spec, CPUS, 0)]
    if (spec.kind === 'pblk' || spec.kind === 'rrpc') return []
    return [{ ...diskConfig(builtOnly(spec), 'virtual', 0, CPUS), ...controllerOf(spec) }]
  })
  if (!specs.some(spec => spec.kind === 'ocssd'))
    fail('needs an open-channel device, such as --device nvme,ocssd=2.0')
  const heapBytes = heapOf(specs)
  const machine = bootMachine({
    clock: 'virtual',
    cpus: CPUS,
    hz: HZ,
    seed: 0,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 26,
    disks,
    extraBytes: hostKernelBytes(CPUS, CPUS * disks.length, heapBytes),
    jobs: 0,
    kernel: { heapBytes },
  })
  await machine.start()
  await machine.probed()
  const lnvm = new LnvmMachine(machine)
  for (const spec of specs) {
    if (spec.kind !== 'pblk' && spec.kind !== 'rrpc') continue
    const { kind: type, name, parent: device, luns, op, factory, quirks } = spec
    const range = luns === null ? {} : { begin: luns[0], end: luns[1] }
    const ways = { ...(op === null ? {} : { op }), ...(type === 'pblk' ? { factory } : {}) }
    await lnvm.create({ type, device, name, quirks, ...range, ...ways })
  }
  return lnvm
}

/** An ordinary NVMe disk is found by the driver, too. */
function controllerOf(spec: DeviceSpec): object {
  return spec.kind === 'nvme' ? { controller: { config: { faults: spec.faults }, slots: 1 } } : {}
}
