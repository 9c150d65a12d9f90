// `--device` texts and the `--machine` file, read into DeviceSpec and MachineSpec.
//
//   --device nvme,size=4G,queues=4          kind, then key=value by comma; a comma in a value is doubled, a key alone means 1
//   --machine FILE                          JSON: cpus threads cache kernel clock seed mem hz costs devices
//
// In the file a device is the same text, or an object: {"type": "nvme", "size": "4G", "fault": ["drop/nth:3"]}.
// An nvme device with the key ocssd= is an open-channel one. Disks are numbered in the order given: nvme0n1, nvme1n1 ...,
// null_blk nullb0 ..., targets pblk0 ... and rrpc0 ...
// A name that a target takes, LUNs that two targets share, a parent that is not an open-channel device: refused.

import { UserError } from '../core/errors.js'
import type { CostKey } from './costs.js'
import type { DeviceSpec, MachineSpec, OcssdSpec, TargetSpec } from './spec.js'
import { formatNullBlk, readNullBlk } from './spec-null-blk.js'
import { formatNvme, formatOcssd, ocssdLuns, readNvme, readOcssd } from './spec-nvme.js'
import { type Entry, Keys, parseNs, plainKey, show } from './spec-values.js'

const KINDS = ['nvme', 'null_blk', 'pblk', 'rrpc'] as const
type Kind = (typeof KINDS)[number]

const GIB = 2 ** 30
const MAX_DEVICES = 256

/** One device before its keys are understood. */
interface Written {
  readonly kind: Kind
  readonly where: string
  readonly entries: readonly Entry[]
}

/** The next free number of each kind of disk. */
class Names {
  readonly #next = new Map<string, number>()

  #number(prefix: string): number {
    const n = this.#next.get(prefix) ?? 0
    this.#next.set(prefix, n + 1)
    return n
  }

  nvme(): string {
    return `nvme${this.#number('nvme')}n1`
  }

  plain(prefix: string): string {
    return `${prefix}${this.#number(prefix)}`
  }
}

/**
 * Devices from `--device` texts, in order.
 * @throws UserError: unknown kind or key (with the known ones), a value out of range, a contradiction
 */
export function parseDevices(texts: readonly string[]): DeviceSpec[] {
  return understand(texts.map(text => splitText(text, '--device')))
}

function kindOf(name: string, where: string): Kind {
  const kind = KINDS.find(one => one === plainKey(name))
  if (kind === undefined) {
    throw new UserError(`${where}: '${show(name)}' is not a device; there are ${KINDS.join(', ')}`)
  }
  return kind
}

function splitText(text: string, where: string): Written {
  // ",," is one comma of a value: hide it while splitting.
  const [first, ...rest] = text.replaceAll(',,', '\0').split(',')
  const kind = kindOf(first!.trim(), where)
  const entries = rest.map(part => {
    const whole = part.replaceAll('\0', ',').trim()
    const equals = whole.indexOf('=')
    if (equals === 0 || whole === '') {
      throw new UserError(`${where} ${kind}: '${show(whole)}' is not key=value`)
    }
    return equals < 0
      ? { key: whole, value: '1' }
      : { key: whole.slice(0, equals).trim(), value: whole.slice(equals + 1).trim() }
  })
  return { kind, where: `${where} ${kind}`, entries }
}

function understand(written: readonly Written[]): DeviceSpec[] {
  const names = new Names()
  const tables = new Set(written.flatMap(rrpcParent))
  const devices = written.flatMap(one => {
    const keys = new Keys(one.where, one.entries)
    const specs = readDevice(one.kind, keys, names, tables)
    keys.finish()
    return specs
  })
  if (devices.length > MAX_DEVICES)
    throw new UserError(`--device: more than ${MAX_DEVICES} devices`)
  checkTargets(devices)
  return devices
}

/** The device that an rrpc is on: it keeps a table. */
function rrpcParent({ kind, entries }: Written): string[] {
  if (kind !== 'rrpc') return []
  return entries.filter(e => e.key === 'parent').map(e => e.value.replace(/^\/dev\//, ''))
}

function readDevice(
  kind: Kind,
  keys: Keys,
  names: Names,
  tables: ReadonlySet<string>,
): DeviceSpec[] {
  if (kind === 'nvme') {
    const name = names.nvme()
    return [keys.has('ocssd') ? readOcssd(keys, name, tables.has(name)) : readNvme(keys, name)]
  }
  if (kind === 'null_blk') return readNullBlk(keys, () => names.plain('nullb'))
  return [readTarget(kind, keys, names)]
}

function readTarget(kind: 'pblk' | 'rrpc', keys: Keys, names: Names): TargetSpec {
  const parent = keys.text('parent')
  if (parent === undefined) keys.fail('parent= is missing, such as parent=nvme0n1')
  const named = keys.form(
    'name',
    parseName,
    'letters and digits, at most 31, beginning with a letter',
  )
  const op = kind === 'pblk' ? keys.whole('op', 3, 80) : undefined
  const factory = kind === 'pblk' ? keys.bool('factory') : undefined
  return {
    kind,
    name: named ?? names.plain(kind),
    parent: parent.replace(/^\/dev\//, ''),
    luns: keys.form('luns', parseLuns, 'FIRST-LAST') ?? null,
    op: op ?? null,
    factory: factory ?? true,
    quirks: keys.choice('quirks', ['4.19']) === '4.19',
  }
}

const parseName = (text: string): string | undefined =>
  /^[a-z][a-z0-9_]{0,30}$/i.test(text) ? text : undefined

function parseLuns(text: string): [number, number] | undefined {
  const match = /^(\d{1,6})-(\d{1,6})$/.exec(text)
  if (match === null || Number(match[2]) < Number(match[1])) return undefined
  return [Number(match[1]), Number(match[2])]
}

function checkTargets(devices: readonly DeviceSpec[]): void {
  const names = new Set<string>()
  const taken = new Map<string, TargetSpec[]>()
  for (const device of devices) {
    if (names.has(device.name)) {
      throw new UserError(`--device ${device.kind}: the name ${device.name} is taken`)
    }
    names.add(device.name)
    if (device.kind !== 'pblk' && device.kind !== 'rrpc') continue
    const parent = parentOf(device, devices)
    checkLuns(device, parent, taken.get(parent.name) ?? [])
    taken.set(parent.name, [...(taken.get(parent.name) ?? []), device])
  }
}

function parentOf(target: TargetSpec, devices: readonly DeviceSpec[]): OcssdSpec {
  const parent = devices.find(device => device.name === target.parent)
  const where = `--device ${target.kind},parent=${show(target.parent)}`
  if (parent === undefined) {
    const have = devices.filter(device => device.kind === 'ocssd').map(device => device.name)
    const hint =
      have.length > 0
        ? `open-channel devices are ${have.join(', ')}`
        : 'add --device nvme,ocssd=2.0'
    throw new UserError(`${where}: no such device; ${hint}`)
  }
  if (parent.kind !== 'ocssd') {
    throw new UserError(
      `${where}: it is ${parent.kind}; a target needs an open-channel device, such as nvme,ocssd=2.0`,
    )
  }
  const { geometry } = parent
  const keepsTable = geometry.version === '1.2' && geometry.l2p
  if (target.kind === 'rrpc' && !keepsTable)
    throw new UserError(`${where}: rrpc needs a device that keeps a table: nvme,ocssd=1.2`)
  if (target.kind === 'pblk' && keepsTable)
    throw new UserError(
      `${where}: pblk needs a device without a table of its own: without l2p=1, and without rrpc on it`,
    )
  return parent
}

function checkLuns(target: TargetSpec, parent: OcssdSpec, others: readonly TargetSpec[]): void {
  const where = `--device ${target.kind},parent=${parent.name}`
  const all = ocssdLuns(parent.geometry)
  const [begin, end] = target.luns ?? [0, all - 1]
  if (end >= all) throw new UserError(`${where}: luns=${begin}-${end}: the device has 0-${all - 1}`)
  for (const other of others) {
    const [first, last] = other.luns ?? [0, all - 1]
    if (begin <= last && first <= end) {
      throw new UserError(`${where}: luns ${begin}-${end} are shared with ${other.name}`)
    }
  }
}

/**
 * What a kernel knows: pblk and revision 2.0 came after the 4.9 age. rrpc left with 4.17, and is a module here.
 * @throws UserError for a device that the kernel has no driver for
 */
export function checkKernel(devices: readonly DeviceSpec[], kernel: '4.19' | '4.9'): void {
  if (kernel === '4.19') return
  for (const device of devices) {
    if ('sched' in device && device.sched !== 'none')
      throw new UserError(
        `--device ${device.name}: sched=${device.sched}: Linux ${kernel} has no scheduler for several queues; none is accepted`,
      )
    const new20 = device.kind === 'ocssd' && device.geometry.version === '2.0'
    if (device.kind !== 'pblk' && !new20) continue
    const words = new20 ? 'nvme,ocssd=2.0' : device.kind
    throw new UserError(`--device ${words}: Linux ${kernel} has no driver for it`)
  }
}

/** A text that parseDevices reads as this device when it stands at the same place of a list. */
export function formatDevice(spec: DeviceSpec): string {
  const keys =
    spec.kind === 'nvme'
      ? formatNvme(spec)
      : spec.kind === 'ocssd'
        ? formatOcssd(spec)
        : spec.kind === 'null_blk'
          ? formatNullBlk(spec)
          : formatTarget(spec)
  return [spec.kind === 'ocssd' ? 'nvme' : spec.kind, ...keys].join(',')
}

function formatTarget(spec: TargetSpec): string[] {
  const keys = [`parent=${spec.parent}`, `name=${spec.name}`]
  if (spec.luns !== null) keys.push(`luns=${spec.luns.join('-')}`)
  if (spec.op !== null) keys.push(`op=${spec.op}`)
  if (spec.kind === 'pblk') keys.push(`factory=${Number(spec.factory)}`)
  if (spec.quirks) keys.push('quirks=4.19')
  return keys
}

/** A machine about which nothing was said. */
export const DEFAULT_MACHINE: MachineSpec = {
  cpus: null,
  kernel: null,
  clock: null,
  seed: null,
  memBytes: 2 * GIB,
  hz: null,
  timer: 'wheel',
  threads: 1,
  cache: 1,
  costs: {},
  devices: [],
}

const COSTS: readonly CostKey[] = [
  'submit',
  'complete',
  'doorbell',
  'irq',
  'switch',
  'ipi',
  'poll',
  'syscall',
  'copy',
]

/**
 * A `--machine` file. `extra` are `--device` texts, which follow the file's devices.
 * @throws UserError naming the file and what is accepted
 */
export function parseMachine(text: string, file: string, extra: readonly string[]): MachineSpec {
  const { devices, costs, ...rest } = asObject(parseJson(text, file), file)
  const keys = new Keys(file, scalars(rest, file))
  const hz = keys.choice('hz', ['100', '250', '300', '1000'])
  const spec: MachineSpec = {
    cpus: keys.whole('cpus', 1, 128) ?? null,
    kernel: keys.choice('kernel', ['4.19', '4.9']) ?? null,
    clock: keys.choice('clock', ['real', 'virtual']) ?? null,
    seed: keys.whole('seed', 0, Number.MAX_SAFE_INTEGER) ?? null,
    memBytes: keys.size('mem', 2 ** 20, 4 * GIB) ?? 2 * GIB,
    hz: hz === undefined ? null : (Number(hz) as 100 | 250 | 300 | 1000),
    timer: keys.choice('timer', ['wheel', 'exact']) ?? 'wheel',
    threads: keys.whole('threads', 1, 128) ?? 1,
    cache: keys.whole('cache', 1, 128) ?? 1,
    costs: readCosts(costs, file),
    devices: understand([
      ...readDeviceList(devices, file),
      ...extra.map(one => splitText(one, '--device')),
    ]),
  }
  keys.all('costs')
  keys.all('devices')
  keys.finish()
  checkCores(spec, file)
  return spec
}

/** Cores are whole, and so is what shares a cache. */
function checkCores({ cpus, threads, cache }: MachineSpec, file: string): void {
  for (const [key, together] of [
    ['threads', threads],
    ['cache', cache],
  ] as const)
    if (cpus !== null && cpus % together !== 0)
      throw new UserError(`${file}: ${key}=${together}: must divide cpus=${cpus}`)
  if (cache > 1 && cache % threads !== 0)
    throw new UserError(
      `${file}: cache=${cache}: must be a multiple of threads=${threads}: those of a core share its cache`,
    )
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    const reason = error instanceof Error ? show(error.message.split('\n')[0]!) : 'unreadable'
    throw new UserError(`${file}: not JSON: ${reason}`)
  }
}

function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw new UserError(`${where}: must be a JSON object`)
}

/** Members as text; a list repeats its key. */
function scalars(object: Record<string, unknown>, where: string): Entry[] {
  return Object.entries(object).flatMap(([key, value]) =>
    (Array.isArray(value) ? (value as unknown[]) : [value]).map(one => {
      if (typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean') {
        return { key, value: String(one) }
      }
      throw new UserError(`${where}: ${show(key)}: must be text, a number, true or false`)
    }),
  )
}

function readDeviceList(devices: unknown, file: string): Written[] {
  if (devices === undefined) return []
  if (!Array.isArray(devices)) throw new UserError(`${file}: devices: must be a list`)
  return (devices as unknown[]).map((device, i) => {
    const where = `${file}: devices[${i}]`
    if (typeof device === 'string') return splitText(device, `${where}:`)
    const { type, ...rest } = asObject(device, where)
    const kind = kindOf(String(type ?? ''), where)
    return { kind, where: `${where} ${kind}`, entries: scalars(rest, where) }
  })
}

function readCosts(costs: unknown, file: string): MachineSpec['costs'] {
  if (costs === undefined) return {}
  const read: Partial<Record<CostKey, number>> = {}
  for (const { key, value } of scalars(asObject(costs, `${file}: costs`), `${file}: costs`)) {
    const name = COSTS.find(cost => cost === key)
    if (name === undefined) {
      throw new UserError(`${file}: costs: unknown key ${show(key)}; there are ${COSTS.join(', ')}`)
    }
    const ns = /^\d+$/.test(value) ? Number(value) : parseNs(value)
    if (ns === undefined || ns > 1e9) {
      throw new UserError(
        `${file}: costs: ${name}=${show(value)}: must be ns up to 1s, such as 120 or 2us`,
      )
    }
    read[name] = ns
  }
  return read
}
