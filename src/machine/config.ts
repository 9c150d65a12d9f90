// What the executor asks of a machine, and what it gets back: types only.
//
// Units: bytes, nanoseconds on the machine's clock (0 = boot). Addresses are byte offsets into the shared memory.

import type { OcssdOptions } from '../device/ocssd/device.js'
import type { SchedulerName } from '../block/schedulers.js'
import type { View } from '../core/view.js'
import type { ControllerConfig } from '../device/nvme/config.js'
import type { ZonedConfig } from '../device/nvme/zoned.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import type { Core, CoreTarget } from '../core/wasm.js'
import type { TraceSink } from '../kernel/trace.js'
import type { Sysctls } from '../fs/sysctl.js'
import type { NullBlkConfig } from './null-blk-config.js'
import type { CostKey } from './costs.js'
import type { EventSpec } from './spec.js'

/** How long a command takes on the media, and whether data is kept. */
export type MediaModel = 'null' | 'ram' | 'fixed' | 'normal' | 'lognormal' | 'empirical' | 'nand'

/** Flash of model `nand`. Times are ns, of one operation. */
export interface NandConfig {
  readonly channels: number
  /** Of each channel. */
  readonly dies: number
  readonly planes: number
  /** Blocks of each plane, those that the drive keeps for itself included. */
  readonly blocks: number
  readonly pages: number
  readonly pageBytes: number
  readonly readNs: number
  readonly programNs: number
  readonly eraseNs: number
  /** One page over a channel. */
  readonly transferNs: number
  /** Bytes of the drive that hold data at boot. */
  readonly fillBytes: number
  /** False: only times, no content. */
  readonly keepsData: boolean
}

/** How long commands of one kind take. */
export interface OperationTimes {
  readonly serviceNs: number
  readonly sigmaNs?: number
  readonly empirical?: readonly number[]
}

/** One disk: its driver, and its request queue. NVMe: a controller with one namespace. */
export interface DiskConfig {
  /** Such as `nvme0n1`. */
  readonly name: string
  readonly driver: 'nvme' | 'null_blk' | 'lightnvm'
  /** Of a null_blk disk; its queues, depth and wait stand below, and its model is `null`. */
  readonly nullBlk?: NullBlkConfig
  readonly sizeBytes: number
  readonly lbaShift: 9 | 10 | 11 | 12
  /** I/O queue pairs in all, polled ones included. The machine takes at most one for each CPU. */
  readonly queues: number
  /** How many of them, counted from the last, have no interrupt and are polled. */
  readonly pollQueues: number
  /** NVMe: entries of each queue; gives depth - 1 tags. 2..65536, tags at most 10240. null_blk: tags. */
  readonly depth: number
  /** I/O scheduler; absent = none. */
  readonly sched?: SchedulerName
  readonly model: MediaModel
  /** Mean service time of the timed models. */
  readonly serviceNs: number
  /** Standard deviation of normal and lognormal. */
  readonly sigmaNs?: number
  /** Times of writes, trims and flushes, in this order; absent = those of reads, which stand above. */
  readonly operations?: readonly OperationTimes[]
  /** Flash behind model `nand`. */
  readonly nand?: NandConfig
  /** Commands served at the same time. */
  readonly units: number
  /** Latencies in ns of model `empirical`, drawn uniformly. */
  readonly empirical?: readonly number[]
  /** Device in the submitting thread, or in a thread of its own. Real clock only. */
  readonly where: 'inline' | 'thread'
  /** How the host learns of completions, where there is something to wait for. */
  readonly wait: 'poll' | 'irq' | 'hybrid'
  /** Interrupt after this many entries (1 = each) ... */
  readonly coalesceCount: number
  /** ... or this long after the first. */
  readonly coalesceNs: number
  /** CAP.DSTRD: doorbells are 4 << stride bytes apart, 0..15. Null = 4 (a line each) for a device thread, else 0. */
  readonly stride: number | null
  /** Shadow doorbells (Doorbell Buffer Config). */
  readonly shadow: boolean
  /** Largest transfer of one command, 0 = no limit. */
  readonly mdtsBytes: number
  /** Volatile write cache: flushes reach the device. */
  readonly wc: boolean
  /**
   * Pages for PRP lists of each queue. A request of more than two pages takes one while it is in flight.
   * Absent = enough for every tag, or, where that is over 256 MiB for the disk, an equal share of that.
   */
  readonly prpPages?: number
  /** NVMe: a whole controller stands there, which the driver of a kernel has to find and bring up. */
  readonly controller?: DiskController
  /** NVMe: a further namespace of this disk's controller; only its queue is its own. */
  readonly namespaceOf?: string
  /** lightnvm: a target on an open-channel device. It has bios and no requests; its queue is there from boot, so that jobs find it. */
  readonly target?: DiskTarget
  /** What goes wrong on purpose, in order of precedence. */
  readonly faults?: readonly FaultConfig[]
}

/** A controller that is probed, and what the driver's parameters say about it. */
export interface DiskController {
  /** What differs from what the disk's other words say. */
  readonly config: Partial<ControllerConfig>
  /** Namespaces that there may be. */
  readonly slots: number
  /** Its namespaces are zoned. */
  readonly zoned?: ZonedConfig
  /** Controller memory buffer, bytes. */
  readonly cmbBytes?: number
  /** An open-channel device stands behind it. */
  readonly ocssd?: OcssdOptions
  /** Module parameters: io_queue_depth, sgl_threshold (bytes), io_timeout and admin_timeout (s), max_host_mem_size_mb. */
  readonly io_queue_depth?: number
  readonly sgl_threshold?: number
  readonly io_timeout?: number
  readonly admin_timeout?: number
  readonly max_host_mem_mb?: number
  /** Module parameters of Linux 5.0: queue pairs for writes alone, and queue pairs that are polled. */
  readonly write_queues?: number
  readonly poll_queues?: number
  /** use_cmb_sqs: I/O submission queues go into the controller's memory buffer. */
  readonly use_cmb_sqs?: boolean
  /** What happens to it while jobs run. */
  readonly events?: readonly EventSpec[]
}

/** A LightNVM target, as it is made. */
export interface DiskTarget {
  readonly type: 'pblk' | 'rrpc'
  /** Name of the disk that is its open-channel device. */
  readonly parent: string
  /** First and last LUN, inclusive; null = all. */
  readonly luns: readonly [begin: number, end: number] | null
  /** Percent; null = the target's own. */
  readonly op: number | null
  readonly factory: boolean
  /** Behaves as its kernels do where that is wrong. */
  readonly quirks: boolean
}

/** Memory for pages of files, and what differs from the kernel's own settings. */
export interface PageCacheConfig {
  readonly bytes: number
  readonly sysctls: Sysctls
}

/** One fault rule of a device. Absent members match every command. */
export interface FaultConfig {
  readonly opcode?: number
  /** Queue identifier, from 1. */
  readonly qid?: number
  /** First and last logical block. */
  readonly lba?: readonly [first: number, last: number]
  /** Only the n-th command that matches, from 1. */
  readonly nth?: number
  readonly action: 'status' | 'delay' | 'corrupt'
  /** NVMe status, ns, or the byte to spoil. */
  readonly value: number
}

/** Everything that is fixed at boot. */
export interface MachineConfig {
  readonly clock: 'real' | 'virtual'
  readonly cpus: number
  /** Ticks of jiffies in a second: 100, 250, 300 or 1000. */
  readonly hz: number
  /** Seeds the devices' random numbers and the tag hints; 0 leaves the hints at 0. */
  readonly seed: number
  readonly lat: 'none' | 'sampled' | 'batch' | 'every'
  readonly stages: boolean
  readonly trace: boolean
  /** Budget of all data stores together (`mem=`). */
  readonly memBytes: number
  readonly disks: readonly DiskConfig[]
  /** For alloc(): blocks, io_us, buffers, histograms, tables. */
  readonly extraBytes: number
  /** Job blocks to reserve. */
  readonly jobs: number
  /** Costs of virtual time that differ from src/machine/costs.ts, in ns. */
  readonly costs?: Readonly<Partial<Record<CostKey, number>>>
  /** SMT siblings: first CPU of the group of each CPU. Absent = no SMT. */
  readonly siblings?: readonly number[]
  /** First CPU of those with which each CPU shares its last-level cache. Absent = none shares one. */
  readonly caches?: readonly number[]
  /** Real clock: built file whose default export is a thread's life; absent = this package's src/machine/cpu.worker.js. */
  readonly workerFile?: URL
  /** An emulated kernel serves the block layer (host-kernel.ts; real clock: all CPUs share a thread then, shared-thread.ts). extraBytes has hostKernelBytes for it. */
  readonly kernel?: {
    readonly trace?: TraceSink
    /** Bytes of extraBytes for the kernel's own memory: queues made while it runs. Absent = none. */
    readonly heapBytes?: number
    readonly timer?: 'wheel' | 'exact'
    /** Whose driver finds the controllers; 4.19 unless said. */
    readonly era?: KernelEra
    /** The page cache that jobs may use (extraBytes has pageCacheBytes for it). Absent = none. */
    readonly pageCache?: PageCacheConfig
    /** Controllers are found when somebody says so (HostKernel.nvme), not while the machine boots. */
    readonly manual?: boolean
    /** Between a wake-up and the task's first instruction, ns; 0 unless said. */
    readonly switchNs?: number
    /** ... and up to so much more, ns, another time at each wake-up. */
    readonly switchSpreadNs?: number
    /** What a request takes a task that submits many, ns; 0 unless said. */
    readonly submitNs?: number
  }
  /** Real clock: CPU 0 is the caller's thread, which calls the core itself; no thread is made for it. */
  readonly ownThread?: true
  /** Virtual clock that keeps pace with the host's: for machines with connections to the world outside. */
  readonly paced?: true
  /** Build of the core; absent = `trace` if trace is set, else `release`. */
  readonly core?: CoreTarget
}

/** Where the blocks of one disk are. */
export interface Disk {
  readonly config: DiskConfig
  readonly index: number
  /** request_queue (Q_*). */
  readonly q: number
  /** Device (DEV_*), namespace (NS_*), data store (ST_*, 0 for model null). */
  readonly dev: number
  readonly ns: number
  readonly store: number
  /** Doorbell registers. */
  readonly bar: number
  readonly nrHw: number
  readonly tags: number
  /** Hardware queue number of each CPU. */
  readonly map: readonly number[]
  readonly queues: readonly DiskQueue[]
}

/** One hardware queue of a disk. */
export interface DiskQueue {
  readonly index: number
  /** blk_mq_hw_ctx (HC_*), blk_mq_tags (TAGS_*), nvme_queue (NQ_*; 0 for null_blk, like what follows). */
  readonly hctx: number
  readonly tags: number
  readonly nq: number
  /** The controller's side (DSQ_*, DCQ_*) and the interrupt vector (IRQ_*). */
  readonly dsq: number
  readonly dcq: number
  readonly irq: number
  /** Room for the queue's flush request, behind the requests of the tags (RQ_*). */
  readonly flushRq: number
  /** Number of the CPU that reaps it: the first one mapped to it. */
  readonly owner: number
  readonly cpus: readonly number[]
  /** More than one CPU maps to it. */
  readonly shared: boolean
  /** What is really done: `inline` when the device runs in the submitting thread and there is nothing to wait for. */
  readonly wait: 'inline' | 'poll' | 'irq' | 'hybrid'
}

/** Counters of one CPU; all are totals since boot. */
export interface CpuCounters {
  readonly submitted: number
  readonly ended: number
  readonly failed: number
  readonly doorbells: number
  readonly cqDoorbells: number
  readonly bellsSaved: number
  readonly inline: number
  readonly polled: number
  readonly irqs: number
  readonly irqDone: number
  readonly spins: number
  readonly sleeps: number
  readonly switches: number
  readonly ipis: number
  readonly noTag: number
  /** Virtual time: time not idle, ns. */
  readonly busyNs: number
}

/** How one hardware queue completed its I/O, as far as the queue itself knows. */
export interface QueueFacts {
  readonly disk: string
  /** NVMe queue identifier: hardware queue number + 1. */
  readonly qid: number
  readonly owner: number
  readonly cpus: readonly number[]
  readonly completion: 'inline' | 'poll' | 'irq' | 'hybrid'
  readonly queued: number
  readonly interruptsRaised: number
  /** Completions found by polling, and by interrupt. */
  readonly polled: number
  readonly irqDone: number
  readonly spurious: number
}

/** Totals over the whole run. */
export interface Books {
  readonly submitted: number
  readonly completed: number
  readonly failed: number
  /** Counted anew: bios of the requests that hold a tag. */
  readonly inFlight: number
  readonly tagsHeld: number
  /** Ring entries not consumed, commands in service, requests on lists, tag waiters, bios unread. */
  readonly ringEntries: number
  /** submitted - completed - failed - inFlight: bios that got lost (positive) or ended twice (negative). */
  readonly biosUnbalanced: number
  /** One line for each thing that is not as it should be at the end of a run. */
  readonly problems: readonly string[]
  /** Nothing lost and nothing left. */
  readonly balanced: boolean
}

/** Bytes that one hardware queue takes. */
export interface QueueMemory {
  readonly disk: string
  /** NVMe queue identifier. */
  readonly qid: number
  readonly submission: number
  readonly completion: number
  /** Requests, rqs[] and the device's records of commands in service. */
  readonly requests: number
  readonly tags: number
  readonly prpPages: number
  /** Control blocks of both sides, and the software queues mapped to it. */
  readonly control: number
  readonly total: number
}

/** What a slow handler works with. It runs on the thread of its CPU (virtual time: on the one thread there is). */
export interface SlowContext {
  readonly core: Core
  readonly view: View
  /** CPU block and number. */
  readonly cpu: number
  readonly index: number
  /** ns on the machine's clock. */
  now(): number
  /** To the main thread: arrives at Machine.onMessage. */
  post(message: unknown): void
}

/** What TypeScript does when the core asks for it (RUN_SLOW). An absent handler makes the request a failure of the machine. */
export interface SlowHandlers {
  /**
   * `why` is HOST_CHECK: the io_us of JOB_DONE_HEAD want their digests checked. Anything else: the job is in
   * JOB_WAIT_HOST, and stays there until somebody sets its state again and wakes its CPU.
   */
  readonly job?: (context: SlowContext, job: number, why: number) => void
  /** A finished bio of TypeScript's own. */
  readonly bio?: (context: SlowContext, bio: number) => void
}

/** Why Machine.run returned. */
export type RunEnd =
  /** The clock reached the time asked for. */
  | 'time'
  /** A job became JOB_DONE, a message came, or interrupt() was called. */
  | 'event'
  /**
   * Nothing will ever happen again: the machine is stopped, or (virtual time) there is no event left until something is
   * started; the clock then stands at `untilNs` if it was given.
   */
  | 'idle'

/** How the machine is started. */
export interface StartOptions {
  /** Another worker file than MachineConfig.workerFile; the threads load it only now. */
  readonly workerFile?: URL
  /** Handlers on the main thread: virtual time, and CPUs that share it. Threads have those of the worker file. */
  readonly handlers?: SlowHandlers
}

/** The machine's seconds are the wall's. */
export function realTime({ clock, paced }: MachineConfig): boolean {
  return clock === 'real' || paced === true
}
