// Device texts and machine files. What is accepted must be in range, and formatDevice must give a text that reads as the same
// device; a machine file that holds the devices as text or as objects must give the same machine as --device.

import type { ControllerSpec, DeviceSpec, MediaSpec } from '../../src/machine/spec.js'
import { formatDevice, parseDevices, parseMachine } from '../../src/machine/spec-parse.js'
import { type Fuzz, fuzzer } from './fuzzer.js'
import type { Prng } from './prng.js'

const NUMBERS = [
  '1',
  '2',
  '4',
  '8',
  '64',
  '0x10',
  '63',
  '0',
  '1024',
  '-1',
  '65537',
  '99999999999999999999',
  'x',
  '',
]
const SIZES = [
  '4G',
  '512',
  '4096',
  '16M',
  '1T',
  '16T',
  '17T',
  '1000',
  '2GiB',
  '1.5G',
  '4K',
  '0',
  '-4G',
  '8192T',
]
const TIMES = [
  '10us',
  '0',
  '100us',
  '5ms',
  '1s',
  '80',
  '3ns',
  '9999999999s',
  '10us/2us',
  '8/100us',
  '8/150us',
  '1/0',
  '300/100us',
]
const ON_OFF = ['0', '1', 'on', 'off', 'yes', 'maybe']

const CONTROLLER: Readonly<Record<string, readonly string[]>> = {
  queues: ['1', '4', '128', '0'],
  'poll-queues': ['0', '1', '4'],
  depth: ['2', '64', '1024', '65536', '1', '70000'],
  stride: ['0', '4', '15', '16'],
  where: ['inline', 'thread', 'here'],
  wait: ['poll', 'irq', 'hybrid'],
  coalesce: TIMES,
  mem: ['64M', '2G', '5G'],
  event: ['1ms:reset', '0:flr', '5ms:suspend/1s', '1us:aer', '9ms:power-loss', 'reset', '1s:sleep'],
  fault: [
    'drop',
    'drop/nth:3',
    'status:0x281/op:read/nth:100',
    'delay:5ms/queue:1/lba:0-4095',
    'stuck:fatal',
    'remove/nth:1',
    'status:0',
    'op:read',
    'drop/op:read/admin:6',
    'corrupt/count:2',
    'delay',
    'duplicate/lba:9-3',
    'status:1/lba:7',
  ],
}

const TIMING: Readonly<Record<string, readonly string[]>> = {
  cell: ['slc', 'mlc', 'tlc', 'qlc', 'plc'],
  'read-time': TIMES,
  'program-time': TIMES,
  'erase-time': TIMES,
  'transfer-time': TIMES,
}

const KEYS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  nvme: {
    ...CONTROLLER,
    size: SIZES,
    lba: ['512', '4096', '4K', '1000'],
    vwc: ON_OFF,
    namespaces: ['1', '2', '3', '33'],
    unallocated: SIZES,
    ms: ['0', '8', '64', '7'],
    pi: ['0', '1', '2', '3', '4'],
    pil: ON_OFF,
    ext: ON_OFF,
    zoned: ON_OFF,
    'zone-size': ['1M', '64K', '3M', '100'],
    'zone-capacity': ['1M', '64K', '768K'],
    'max-open': NUMBERS,
    'max-active': NUMBERS,
    cmb: SIZES,
    'cmb-sqs': ON_OFF,
    crdt: ['100ms', '1s/2s/300ms', '5ms', '100ms/100ms/100ms/100ms'],
    hmb: ['1M', '1M/64K', '64K/1M', '5'],
    shadow: ON_OFF,
    sgl: ON_OFF,
    mdts: ['128K', '4K', '12K', '1'],
    wrr: ON_OFF,
    inflight: NUMBERS,
    'write-queues': NUMBERS,
    ready: ['1ms', '0', '5s', 'x'],
  },
  ocssd: {
    ...CONTROLLER,
    ...TIMING,
    groups: NUMBERS,
    pus: NUMBERS,
    chunks: NUMBERS,
    clba: ['256', '4096', '100'],
    'ws-min': ['4', '8', '3'],
    'ws-opt': ['8', '16', '5'],
    'mw-cunits': ['0', '24', '9999'],
    maxoc: NUMBERS,
    maxocpu: NUMBERS,
    'early-reset': ON_OFF,
    channels: NUMBERS,
    luns: NUMBERS,
    planes: ['1', '2', '3', '4'],
    blocks: NUMBERS,
    sectors: NUMBERS,
    l2p: ON_OFF,
    oob: ['16', '0', '65'],
    endurance: NUMBERS,
    'write-fail': NUMBERS,
  },
  null_blk: {
    queue_mode: ['0', '1', '2', '3'],
    irqmode: ['0', '1', '2', '3'],
    completion_nsec: NUMBERS,
    submit_queues: NUMBERS,
    use_per_node_hctx: ON_OFF,
    hw_queue_depth: NUMBERS,
    home_node: ['-1', '0'],
    gb: ['1', '250', '0'],
    size: ['64', '4G', '1'],
    bs: ['512', '4096', '1536', '700'],
    no_sched: ON_OFF,
    shared_tags: ON_OFF,
    blocking: ON_OFF,
    memory_backed: ON_OFF,
    discard: ON_OFF,
    mbps: ['0', '100', '50000'],
    cache_size: ['0', '1', '64'],
    badblocks: ['0-7', '100-103/200-200', '9-5', '1-99999999999'],
    zoned: ON_OFF,
    zone_size: ['256', '3', '64M'],
    timeout: ['1/100/0/1', '1,,100,,0,,1', '1/2', '1/101/0/-1'],
    requeue: ['3/100/0/-1'],
    nr_devices: ['1', '2', '65'],
    mem: ['64M'],
  },
  pblk: {
    parent: ['nvme0n1', 'nvme1n1', '/dev/nvme0n1', 'nullb0'],
    name: ['p0', 'p1', 'pblk1', 'p3', 'nvme0n1', '9x'],
    luns: ['0-3', '4-7', '3-0', '0-99999'],
    op: ['11', '2', '80', '81'],
    factory: ON_OFF,
  },
  rrpc: { parent: ['nvme0n1', 'nvme1n1'], luns: ['0-1', '2-3'], name: ['r'] },
}

/** Keys that belong to a model. */
const MODELS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  null: {},
  ram: {},
  fixed: { latency: ['10us', '0', '80'], read: ['5us', '1/2'], flush: ['1ms'], units: NUMBERS },
  normal: { latency: ['20us/4us', '9us', '1us/2us/3us'], write: ['7us/1us'], units: NUMBERS },
  lognormal: { trim: ['20us/4us', '0/1us'], units: NUMBERS },
  empirical: {
    read: ['50:80us/100:1ms', '0.5:1us/99.99:2us/100:1s', '50:80us/99:10us/100:1s', '100:1us'],
    write: ['50:80us/100:1ms', '10us'],
  },
  nand: {
    ...TIMING,
    channels: NUMBERS,
    dies: NUMBERS,
    planes: ['1', '2', '4', '3'],
    blocks: ['32', '1024', '65536'],
    pages: NUMBERS,
    'page-size': ['4096', '16K', '5000'],
    op: ['7', '28', '0', '100'],
  },
  flash: {},
}

const KINDS = Object.keys(KEYS)
/** Of open-channel devices. */
const REVISIONS = ['2.0', '1.2', '3']
const ANY = [...NUMBERS, ...SIZES, ...TIMES, ...ON_OFF]

type Pair = readonly [key: string, value: string]

/** One of the first values, mostly: the good ones stand there. */
function value(random: Prng, values: readonly string[]): string {
  if (random.chance(2)) return random.pick(ANY)
  return values[Math.min(random.below(values.length), random.below(values.length))]!
}

function device(random: Prng): { kind: string; pairs: Pair[] } {
  const kind = random.pick(KINDS)
  const pairs: Pair[] = []
  const add = (keys: Readonly<Record<string, readonly string[]>>, most: number): void => {
    const names = Object.keys(keys)
    for (let i = names.length === 0 ? 0 : random.below(most); i > 0; i--) {
      const key = random.pick(names)
      pairs.push([key, value(random, keys[key]!)])
    }
  }
  if (kind === 'pblk' || kind === 'rrpc') pairs.push(['parent', 'nvme0n1'])
  if (kind === 'ocssd') pairs.push(['ocssd', value(random, REVISIONS)])
  add(KEYS[kind]!, 4)
  if (kind === 'nvme' && random.chance(70)) {
    const model = random.pick(Object.keys(MODELS))
    pairs.push(['model', model])
    if (model === 'empirical') pairs.push(['read', '50:80us/100:1ms'])
    add(random.chance(97) ? MODELS[model]! : MODELS['nand']!, 4)
  }
  const word = kind === 'ocssd' ? 'nvme' : kind
  return { kind: word, pairs: random.chance(98) ? distinct(pairs) : pairs }
}

const REPEATED = ['fault', 'event']

/** Each key once, but for faults and events. */
function distinct(pairs: readonly Pair[]): Pair[] {
  return pairs.filter(
    ([key], i) => REPEATED.includes(key) || pairs.findIndex(p => p[0] === key) === i,
  )
}

function spoil(random: Prng, text: string): string {
  if (!random.chance(6)) return text
  const at = random.below(text.length + 1)
  return (
    text.slice(0, at) +
    random.pick([',', '=', ',,', ' ', '\n', '\0', 'é', '{', '-']) +
    text.slice(at)
  )
}

/** The same devices as a JSON file: texts, or objects with lists for repeated keys. */
function machineFile(
  random: Prng,
  devices: ReturnType<typeof device>[],
  texts: readonly string[],
): string {
  const objects = devices.map(({ kind, pairs }, i) => {
    if (random.chance(40)) return texts[i]
    const object: Record<string, unknown> = { type: kind }
    for (const [key, value] of pairs) {
      const text = value.replaceAll(',,', ',')
      if (REPEATED.includes(key))
        object[key] = [...((object[key] as string[] | undefined) ?? []), text]
      else object[key] = /^[1-9]\d{0,5}$/.test(text) && random.chance(50) ? Number(text) : text
    }
    return object
  })
  const machine = {
    cpus: 2,
    clock: 'virtual',
    mem: '1G',
    costs: { irq: '2us', poll: 40 },
    devices: objects,
  }
  return JSON.stringify(machine)
}

function must(condition: boolean, what: string, value: unknown): void {
  if (!condition) throw new Error(`${what}: ${JSON.stringify(value)}`)
}

function checkController(c: ControllerSpec): void {
  must(
    c.depth >= 2 && c.depth <= 65536 && (c.stride ?? 0) >= 0 && (c.stride ?? 0) <= 15,
    'controller',
    c,
  )
  must(c.queues === null || c.pollQueues < c.queues, 'poll queues', c)
  must(
    c.where !== 'inline' || (c.wait === null && c.coalesce === null && c.pollQueues === 0),
    'inline',
    c,
  )
  must(c.wait !== 'poll' || c.coalesce === null, 'coalesce', c)
}

function checkMedia(media: MediaSpec | null): void {
  if (media === null || media.model === 'null' || media.model === 'ram' || media.model === 'nand')
    return
  must(media.units >= 1 && media.units <= 1024, 'units', media.units)
  if (media.model !== 'empirical') {
    must(
      [media.read, media.write, media.trim, media.flush].every(l => l.meanNs >= 0 && l.devNs >= 0),
      'latency',
      media,
    )
  } else must(media.read.at(-1)!.percent === 100, 'curve', media.read)
}

function checkDevice(spec: DeviceSpec): void {
  if (spec.kind === 'nvme' || spec.kind === 'ocssd') checkController(spec)
  if (spec.kind === 'nvme') checkMedia(spec.media)
  if (spec.kind !== 'nvme' && spec.kind !== 'null_blk') return
  const block = spec.kind === 'nvme' ? spec.lbaBytes : spec.bs
  must(
    spec.sizeBytes === null ||
      (spec.sizeBytes > 0 && spec.sizeBytes % block === 0 && spec.sizeBytes <= 2 ** 44),
    'size',
    spec,
  )
}

/** Texts that are devices, and the file that says the same. */
function checkFile(texts: readonly string[], clean: string, file: string): void {
  const specs = parseDevices(texts)
  try {
    const machine = parseMachine(file, 'm.json', [])
    const same = JSON.stringify(machine.devices) === JSON.stringify(specs)
    must(same || file !== clean, 'file and text differ', { file: machine.devices, specs })
    machine.devices.forEach(checkDevice)
  } catch (error) {
    if (file !== clean) throw error
    throw new Error(`the texts are accepted, the file is not: ${String(error)}`)
  }
}

function runCase(random: Prng, remember: (input: string) => void): void {
  const devices = Array.from({ length: 1 + random.below(3) }, () => device(random))
  if (random.chance(50)) {
    const old: Pair[] = [
      ['ocssd', '1.2'],
      ['l2p', random.pick(ON_OFF)],
    ]
    devices.unshift({ kind: 'nvme', pairs: random.chance(50) ? old : [['ocssd', '2.0']] })
  }
  const texts = devices.map(({ kind, pairs }) =>
    [kind, ...pairs.map(pair => pair.join('='))].join(','),
  )
  if (random.chance(40)) {
    const clean = machineFile(random, devices, texts)
    const file = spoil(random, clean)
    remember(file)
    checkFile(texts, clean, file)
    return
  }
  const spoilt = texts.map(text => spoil(random, text))
  remember(spoilt.join('\n'))
  const specs = parseDevices(spoilt)
  specs.forEach(checkDevice)
  const again = parseDevices(specs.map(formatDevice))
  must(JSON.stringify(again) === JSON.stringify(specs), 'read again it differs', { again, specs })
}

/** Device texts and machine files. */
export const fuzz: Fuzz = fuzzer('device-spec', runCase)
