// The words of null_blk: module parameters, and the attributes of `config/nullb/NAME`, with what Linux 4.19 does to values.
//
//   module load          nullb_module: a range error fails the load (EINVAL); everything else is put right at power-on
//   mkdir                null_alloc_dev: a description with the module's values
//   attribute = text     nullb_device_store: EBUSY while the disk exists; numbers in any C base, bools as kstrtobool
//   power = 1            null_validate_conf puts the values right, then the disk is made (add); power = 0 deletes it (del)
//   badblocks = text     at any time: +FIRST-LAST adds, -FIRST-LAST removes
//
// Errors are negative errno, as everywhere below the API. What makes and deletes disks is handed in.

import { badblocks, badblocks_clear, badblocks_set, badblocks_show } from '../../block/badblocks.js'
import { EBUSY, EINVAL, ENOMEM } from '../../kernel/errno.js'
import { kstrtoul } from '../../kernel/kstrtox.js'
import { enter, leave, type TraceHost } from '../../kernel/trace.js'

export const NULL_Q_BIO = 0
export const NULL_Q_RQ = 1
export const NULL_Q_MQ = 2

export const NULL_IRQ_NONE = 0
export const NULL_IRQ_SOFTIRQ = 1
export const NULL_IRQ_TIMER = 2

export const TICKS_PER_SEC = 50
export const TIMER_INTERVAL = 20_000_000
const MAX_MBPS = 1024 * 40
const ULONG_MAX = 2 ** 64 - 1
const MIB = 2 ** 20

/** What the machine has, as far as the driver asks. */
export interface NullbHost {
  readonly nr_cpu_ids: number
  readonly nr_online_nodes: number
}

/** Module parameters. */
export interface nullb_module {
  queue_mode: number
  irqmode: number
  completion_nsec: number
  submit_queues: number
  use_per_node_hctx: boolean
  hw_queue_depth: number
  home_node: number
  /** GiB. */
  gb: number
  bs: number
  nr_devices: number
  no_sched: boolean
  shared_tags: boolean
  blocking: boolean
  zoned: boolean
  /** MiB. */
  zone_size: number
  timeout: string
  requeue: string
}

/** The parameters of `modprobe null_blk`. */
export function module_defaults(): nullb_module {
  return {
    queue_mode: NULL_Q_MQ,
    irqmode: NULL_IRQ_SOFTIRQ,
    completion_nsec: 10_000,
    submit_queues: 1,
    use_per_node_hctx: false,
    hw_queue_depth: 64,
    home_node: -1,
    gb: 250,
    bs: 512,
    nr_devices: 1,
    no_sched: false,
    shared_tags: false,
    blocking: false,
    zoned: false,
    zone_size: 256,
    timeout: '',
    requeue: '',
  }
}

function powerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value))
}

/** null_init: checks and corrects the parameters. 0, or -errno and the module is not loaded. */
export function null_init(module: nullb_module, host: NullbHost): number {
  if (module.queue_mode < NULL_Q_BIO || module.queue_mode > NULL_Q_MQ) return -EINVAL
  if (module.irqmode < NULL_IRQ_NONE || module.irqmode > NULL_IRQ_TIMER) return -EINVAL
  if (module.bs > 4096) module.bs = 4096
  if (module.zoned && !powerOfTwo(module.zone_size)) return -EINVAL
  if (module.queue_mode === NULL_Q_MQ && module.use_per_node_hctx)
    module.submit_queues = host.nr_online_nodes
  else if (module.submit_queues > host.nr_cpu_ids) module.submit_queues = host.nr_cpu_ids
  else if (module.submit_queues <= 0) module.submit_queues = 1
  return 0
}

/** What a disk of a description is made and deleted by. */
export interface NullbMaker {
  /** null_add_dev: 0, or -errno. */
  add(dev: nullb_device): number
  del(dev: nullb_device): void
}

type Numbers =
  | 'size'
  | 'completion_nsec'
  | 'submit_queues'
  | 'home_node'
  | 'queue_mode'
  | 'blocksize'
  | 'irqmode'
  | 'hw_queue_depth'
  | 'index'
  | 'mbps'
  | 'cache_size'
  | 'zone_size'
type Bools = 'blocking' | 'use_per_node_hctx' | 'memory_backed' | 'discard' | 'zoned'

/** struct nullb_device: the description of one disk, and its attributes. */
export class nullb_device {
  readonly k: TraceHost
  readonly host: NullbHost
  readonly #maker: NullbMaker
  /** MiB. */
  size: number
  completion_nsec: number
  submit_queues: number
  home_node: number
  queue_mode: number
  blocksize: number
  irqmode: number
  hw_queue_depth: number
  index = 0
  /** Megabytes (2^20) a second; 0 = no limit. */
  mbps = 0
  /** MiB. */
  cache_size = 0
  /** MiB. */
  zone_size: number
  blocking: boolean
  use_per_node_hctx: boolean
  memory_backed = false
  discard = false
  zoned: boolean
  /** The disk exists (CONFIGURED). */
  configured = false
  /** It is being made, or exists (UP). */
  up = false
  readonly badblocks: badblocks = new badblocks(false)

  /** null_alloc_dev: the module's values. */
  constructor(k: TraceHost, module: nullb_module, host: NullbHost, maker: NullbMaker) {
    this.k = k
    this.host = host
    this.#maker = maker
    this.size = module.gb * 1024
    this.completion_nsec = module.completion_nsec
    this.submit_queues = module.submit_queues
    this.home_node = module.home_node
    this.queue_mode = module.queue_mode
    this.blocksize = module.bs
    this.irqmode = module.irqmode
    this.hw_queue_depth = module.hw_queue_depth
    this.blocking = module.blocking
    this.use_per_node_hctx = module.use_per_node_hctx
    this.zoned = module.zoned
    this.zone_size = module.zone_size
  }

  /** Deletes the disk: power = 0, or rmdir. */
  power_off(): void {
    if (!this.up) return
    this.up = false
    this.#maker.del(this)
    this.configured = false
  }

  /** Makes the disk: 0, or -errno. */
  power_on(): number {
    if (this.up) return 0
    this.up = true
    if (this.#maker.add(this) !== 0) {
      this.up = false
      return -ENOMEM
    }
    this.configured = true
    return 0
  }
}

/** Puts the values right that contradict each other or exceed a limit. */
export function null_validate_conf(dev: nullb_device): void {
  const { host } = dev
  dev.blocksize = Math.min(Math.max(dev.blocksize - (dev.blocksize % 512), 512), 4096)
  if (dev.queue_mode === NULL_Q_MQ && dev.use_per_node_hctx)
    dev.submit_queues = host.nr_online_nodes
  else if (dev.submit_queues > host.nr_cpu_ids) dev.submit_queues = host.nr_cpu_ids
  else if (dev.submit_queues === 0) dev.submit_queues = 1
  dev.queue_mode = Math.min(dev.queue_mode, NULL_Q_MQ)
  dev.irqmode = Math.min(dev.irqmode, NULL_IRQ_TIMER)
  if (dev.memory_backed) dev.blocking = true
  else dev.cache_size = 0
  dev.cache_size = Math.min(Math.floor(ULONG_MAX / MIB), dev.cache_size)
  dev.mbps = Math.min(MAX_MBPS, dev.mbps)
  if (dev.queue_mode === NULL_Q_BIO) dev.mbps = 0
}

// ---------------------------------------------------------------- configfs

const UINT: readonly Numbers[] = [
  'submit_queues',
  'home_node',
  'queue_mode',
  'blocksize',
  'irqmode',
  'hw_queue_depth',
  'index',
  'mbps',
]
const ULONG: readonly Numbers[] = ['size', 'completion_nsec', 'cache_size', 'zone_size']
const BOOL: readonly Bools[] = [
  'blocking',
  'use_per_node_hctx',
  'memory_backed',
  'discard',
  'zoned',
]

/** Every attribute of a description. */
export const attributes: readonly string[] = [...UINT, ...ULONG, ...BOOL, 'power', 'badblocks']

/** What `config/nullb/features` reads. */
export const features = 'memory_backed,discard,bandwidth,cache,badblocks,zoned,zone_size\n'

/** kstrtobool: y, Y, 1, on; n, N, 0, off. Only the first letters count. */
function kstrtobool(text: string): boolean | undefined {
  if (/^([yY1]|[oO][nN])/.test(text)) return true
  return /^([nN0]|[oO][fF])/.test(text) ? false : undefined
}

function storeNumber(dev: nullb_device, name: Numbers, text: string, most: number): number {
  const value = kstrtoul(text, most)
  if (value < 0) return value
  if (dev.configured) return -EBUSY
  dev[name] = value
  return 0
}

function storeBool(dev: nullb_device, name: Bools, text: string): number {
  const value = kstrtobool(text)
  if (value === undefined) return -EINVAL
  if (dev.configured) return -EBUSY
  dev[name] = value
  return 0
}

export function nullb_device_power_store(dev: nullb_device, text: string): number {
  const t = enter(dev.k, 'nullb_device_power_store')
  const on = kstrtobool(text)
  if (on === undefined) return leave(dev.k, t, -EINVAL)
  if (on) return leave(dev.k, t, dev.power_on())
  dev.power_off()
  return leave(dev.k, t, 0)
}

/** `+FIRST-LAST` or `-FIRST-LAST`, both inclusive; the first store that can be read enables the table. */
export function nullb_device_badblocks_store(dev: nullb_device, text: string): number {
  const match = /^([+-])([^-]+)-(.+)$/s.exec(text.replace(/\n$/, ''))
  if (match === null) return -EINVAL
  const first = kstrtoul(match[2]!, Number.MAX_SAFE_INTEGER)
  const last = kstrtoul(match[3]!, Number.MAX_SAFE_INTEGER)
  if (first < 0) return first
  if (last < 0) return last
  if (first > last) return -EINVAL
  if (dev.badblocks.shift < 0) dev.badblocks.shift = 0
  const change = match[1] === '+' ? badblocks_set : badblocks_clear
  return change(dev.k, dev.badblocks, first, last - first + 1) ? -EINVAL : 0
}

/** Writes text to an attribute: 0, or -errno. An attribute that does not exist is -EINVAL. */
export function nullb_device_store(dev: nullb_device, name: string, text: string): number {
  if (name === 'power') return nullb_device_power_store(dev, text)
  if (name === 'badblocks') return nullb_device_badblocks_store(dev, text)
  const uint = UINT.find(one => one === name)
  if (uint !== undefined) return storeNumber(dev, uint, text, 2 ** 32 - 1)
  const ulong = ULONG.find(one => one === name)
  if (ulong !== undefined) return storeNumber(dev, ulong, text, ULONG_MAX)
  const bool = BOOL.find(one => one === name)
  return bool === undefined ? -EINVAL : storeBool(dev, bool, text)
}

/** What an attribute reads; undefined for one that does not exist. */
export function nullb_device_show(dev: nullb_device, name: string): string | undefined {
  if (name === 'power') return `${dev.up ? 1 : 0}\n`
  if (name === 'badblocks') return badblocks_show(dev.badblocks)
  const number = [...UINT, ...ULONG].find(one => one === name)
  if (number !== undefined) return `${dev[number]}\n`
  const bool = BOOL.find(one => one === name)
  return bool === undefined ? undefined : `${dev[bool] ? 1 : 0}\n`
}

/** Queue of a CPU in modes 0 and 1 (nullb_to_queue): blocks of CPUs, unlike the map of blk-mq. */
export function nullb_to_queue(cpu: number, nr_queues: number, nr_cpu_ids: number): number {
  if (nr_queues === 1) return 0
  return Math.floor(cpu / Math.ceil(nr_cpu_ids / nr_queues))
}
