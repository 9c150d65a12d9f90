// `--device null_blk,...`: the module parameters and configfs attributes of null_blk, by their own names.
//
// Linux corrects some contradictions without a word (mbps of a bio queue becomes 0, the cache of a disk without memory
// disappears, submit_queues gives way to the nodes). Here they are refused, because nothing the user wrote is dropped.
// The size is 250 GiB as in Linux (`gb`), or `size` in MiB or with a unit. nr_devices=N makes N equal disks.

import { default_elevator } from '../block/schedulers.js'
import { UserError } from '../core/errors.js'
import type { DiskConfig } from './config.js'
import { type NullBlkFault, type NullBlkSpec, SCHEDULER_NAMES } from './spec.js'
import { MAX_SIZE, MIN_SIZE } from './spec-nvme.js'
import { formatSize, type Keys, parseWhole } from './spec-values.js'

const GIB = 2 ** 30
const MIB = 2 ** 20
const MAX_NSEC = Number.MAX_SAFE_INTEGER

/** Several equal disks; their names come from the list. */
export function readNullBlk(keys: Keys, names: () => string): NullBlkSpec[] {
  const count = keys.whole('nr_devices', 1, 64) ?? 1
  const spec = readOne(keys)
  check(keys, spec)
  return Array.from({ length: count }, () => ({ ...spec, name: names() }))
}

function readOne(keys: Keys): NullBlkSpec {
  return {
    kind: 'null_blk',
    name: '',
    sizeBytes: readSize(keys),
    queueMode: mode(keys.whole('queue_mode', 0, 2) ?? 2),
    irqmode: mode(keys.whole('irqmode', 0, 2) ?? 1),
    completionNs: keys.whole('completion_nsec', 0, MAX_NSEC) ?? 10_000,
    submitQueues: keys.whole('submit_queues', 1, 65535) ?? 1,
    usePerNodeHctx: keys.bool('use_per_node_hctx') ?? false,
    hwQueueDepth: keys.whole('hw_queue_depth', 1, 10240) ?? 64,
    homeNode: keys.whole('home_node', -1, 1023) ?? -1,
    bs: readBlockSize(keys),
    noSched: keys.bool('no_sched') ?? false,
    sharedTags: keys.bool('shared_tags') ?? false,
    blocking: keys.bool('blocking') ?? false,
    memoryBacked: keys.bool('memory_backed') ?? false,
    discard: keys.bool('discard') ?? false,
    mbps: keys.whole('mbps', 0, 40960) ?? 0,
    cacheBytes: keys.mebibytes('cache_size', 0, MAX_SIZE) ?? 0,
    badblocks: keys.form('badblocks', parseBadblocks, 'FIRST-LAST/FIRST-LAST in sectors') ?? [],
    zoned: keys.bool('zoned') ?? false,
    zoneBytes: keys.mebibytes('zone_size', MIB, MAX_SIZE) ?? 256 * MIB,
    timeoutFault: readFault(keys, 'timeout'),
    requeueFault: readFault(keys, 'requeue'),
    memBytes: keys.size('mem', MIN_SIZE, 4 * GIB) ?? null,
    quirks: keys.choice('quirks', ['4.19']) === '4.19',
    sched: keys.choice('sched', SCHEDULER_NAMES) ?? 'none',
  }
}

const mode = (value: number): 0 | 1 | 2 => (value === 0 ? 0 : value === 1 ? 1 : 2)

function readSize(keys: Keys): number {
  const gb = keys.whole('gb', 1, 16384)
  const size = keys.mebibytes('size', MIN_SIZE, MAX_SIZE)
  if (gb !== undefined && size !== undefined) keys.fail('gb and size are both given')
  return size ?? (gb ?? 250) * GIB
}

function readBlockSize(keys: Keys): number {
  const [parameter, attribute] = [keys.size('bs', 512, 4096), keys.size('blocksize', 512, 4096)]
  if (parameter !== undefined && attribute !== undefined) keys.fail('bs and blocksize are the same')
  const bs = parameter ?? attribute ?? 512
  if (bs % 512 !== 0) keys.fail(`bs=${bs}: must be a multiple of 512`)
  return bs
}

function parseBadblocks(text: string): NullBlkSpec['badblocks'] | undefined {
  const ranges: [number, number][] = []
  for (const part of text.split('/')) {
    const match = /^\+?(\d+)-(\d+)$/.exec(part)
    const [first, last] = [parseWhole(match?.[1] ?? ''), parseWhole(match?.[2] ?? '')]
    if (first === undefined || last === undefined || last < first) return undefined
    ranges.push([first, last])
  }
  return ranges
}

/** `interval,probability,space,times`; in a device text the commas are doubled or written `/`. */
function readFault(keys: Keys, key: string): NullBlkFault | null {
  return keys.form(key, parseNullBlkFault, 'INTERVAL/PROBABILITY/SPACE/TIMES') ?? null
}

function parseNullBlkFault(text: string): NullBlkFault | undefined {
  const numbers = text.split(/[,/]/).map(parseWhole)
  const [interval, probability, space, times] = numbers
  if (numbers.length !== 4 || interval === undefined || probability === undefined) return undefined
  if (space === undefined || times === undefined || interval < 0 || space < 0 || times < -1) {
    return undefined
  }
  if (probability < 0 || probability > 100) return undefined
  return { interval, probability, space, times }
}

function check(keys: Keys, spec: NullBlkSpec): void {
  const needs = (wrong: boolean, key: string, what: string): void => {
    if (wrong) keys.fail(`${key} needs ${what}`)
  }
  const multi = spec.queueMode === 2
  needs(
    spec.completionNs > 0 && keys.has('completion_nsec') && spec.irqmode !== 2,
    'completion_nsec',
    'irqmode=2',
  )
  needs(spec.usePerNodeHctx && !multi, 'use_per_node_hctx', 'queue_mode=2')
  needs(spec.sharedTags && !multi, 'shared_tags', 'queue_mode=2')
  needs(spec.noSched && !multi, 'no_sched', 'queue_mode=2')
  needs(spec.sched !== 'none' && !multi, 'sched', 'queue_mode=2')
  if (spec.noSched && spec.sched !== 'none' && spec.sched !== 'default')
    keys.fail('no_sched=1 leaves no room for sched')
  needs(spec.mbps > 0 && spec.queueMode === 0, 'mbps', 'queue_mode=1 or 2')
  needs(spec.cacheBytes > 0 && !spec.memoryBacked, 'cache_size', 'memory_backed=1')
  needs(spec.memBytes !== null && !spec.memoryBacked, 'mem', 'memory_backed=1')
  needs(keys.has('zone_size') && !spec.zoned, 'zone_size', 'zoned=1')
  const injects = spec.timeoutFault !== null || spec.requeueFault !== null
  needs(injects && spec.queueMode === 0, 'fault injection', 'queue_mode=1 or 2')
  if (spec.usePerNodeHctx && keys.has('submit_queues')) {
    keys.fail('use_per_node_hctx decides submit_queues; give one of them')
  }
  checkSizes(keys, spec)
}

function checkSizes(keys: Keys, spec: NullBlkSpec): void {
  const size = spec.sizeBytes!
  if (size % spec.bs !== 0) keys.fail(`size=${formatSize(size)} is not a multiple of bs=${spec.bs}`)
  const zoneMib = spec.zoneBytes / MIB
  if (spec.zoned && !isPowerOfTwo(zoneMib)) keys.fail('zone_size must be a power of two MiB')
  if (spec.zoned && spec.zoneBytes > size) keys.fail('zone_size is larger than the disk')
  const beyond = spec.badblocks.find(([, last]) => (last + 1) * 512 > size)
  if (beyond) keys.fail(`badblocks=${beyond[0]}-${beyond[1]}: beyond the end of the disk`)
}

/** Doubling, because MiB counts may exceed the 32 bits of the operators. */
function isPowerOfTwo(value: number): boolean {
  let power = 1
  while (power < value) power *= 2
  return power === value
}

const SHIFTS: Readonly<Record<number, DiskConfig['lbaShift']>> = {
  512: 9,
  1024: 10,
  2048: 11,
  4096: 12,
}

/** What the disk's data may take unless the device says. */
const DEFAULT_MEM = 2 * GIB

/**
 * The disk of a specification; `need` bytes large unless its size was said.
 * @throws UserError for a block size that no machine can have
 */
export function nullBlkConfig(spec: NullBlkSpec, need: number): DiskConfig {
  const lbaShift = SHIFTS[spec.bs]
  if (lbaShift === undefined)
    throw new UserError(`${spec.name}: bs=${spec.bs}: 512, 1024, 2048 and 4096 are accepted`)
  // the machine has one node
  const queues = spec.usePerNodeHctx ? 1 : spec.submitQueues
  return {
    name: spec.name,
    driver: 'null_blk',
    nullBlk: {
      queueMode: spec.queueMode,
      irqmode: spec.irqmode,
      completionNs: spec.completionNs,
      noSched: spec.noSched,
      sharedTags: spec.sharedTags,
      blocking: spec.blocking || spec.memoryBacked,
      memoryBacked: spec.memoryBacked,
      discard: spec.discard,
      mbps: spec.mbps,
      cacheBytes: spec.cacheBytes,
      badblocks: spec.badblocks,
      zoneSectors: spec.zoned ? spec.zoneBytes / 512 : 0,
      timeout: spec.timeoutFault,
      requeue: spec.requeueFault,
      memBytes: spec.memBytes ?? DEFAULT_MEM,
      quirks: spec.quirks,
    },
    sizeBytes: spec.sizeBytes ?? need,
    lbaShift,
    queues,
    depth: spec.hwQueueDepth,
    sched: spec.sched === 'default' ? default_elevator(queues, spec.noSched) : spec.sched,
    pollQueues: 0,
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
    wc: spec.cacheBytes > 0,
  }
}

/** The keys that readNullBlk reads as this disk. */
export function formatNullBlk(spec: NullBlkSpec): string[] {
  const keys = [
    `queue_mode=${spec.queueMode}`,
    `irqmode=${spec.irqmode}`,
    `hw_queue_depth=${spec.hwQueueDepth}`,
    `home_node=${spec.homeNode}`,
    `bs=${spec.bs}`,
    `mbps=${spec.mbps}`,
    `size=${formatSize(spec.sizeBytes!)}`,
  ]
  const set = (on: boolean, text: string): void => {
    if (on) keys.push(text)
  }
  set(spec.irqmode === 2 || spec.completionNs === 0, `completion_nsec=${spec.completionNs}`)
  set(!spec.usePerNodeHctx, `submit_queues=${spec.submitQueues}`)
  set(spec.usePerNodeHctx, 'use_per_node_hctx=1')
  set(spec.noSched, 'no_sched=1')
  set(spec.sched !== 'none', `sched=${spec.sched}`)
  set(spec.sharedTags, 'shared_tags=1')
  set(spec.blocking, 'blocking=1')
  set(spec.memoryBacked, 'memory_backed=1')
  set(spec.discard, 'discard=1')
  set(spec.cacheBytes > 0, `cache_size=${formatSize(spec.cacheBytes)}`)
  set(
    spec.badblocks.length > 0,
    `badblocks=${spec.badblocks.map(range => range.join('-')).join('/')}`,
  )
  set(spec.zoned, `zoned=1,zone_size=${formatSize(spec.zoneBytes)}`)
  set(spec.timeoutFault !== null, `timeout=${formatFault(spec.timeoutFault)}`)
  set(spec.requeueFault !== null, `requeue=${formatFault(spec.requeueFault)}`)
  set(spec.quirks, 'quirks=4.19')
  set(spec.memBytes !== null, `mem=${formatSize(spec.memBytes ?? 0)}`)
  return keys
}

function formatFault(fault: NullBlkFault | null): string {
  return fault === null ? '' : Object.values(fault).join('/')
}
