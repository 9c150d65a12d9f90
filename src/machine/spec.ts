// What a machine is made of, as plain data: the result of reading `--device` texts and the `--machine` file.
//
// `spec-parse.ts` turns text into these objects and refuses what contradicts itself; the machine and the devices read
// them. A null stands for "not said": the machine then chooses by its clock and by what the job files need.
//
// Units: bytes, nanoseconds, percent.

import type { SchedulerName } from '../block/schedulers.js'
import type { CostKey } from './costs.js'

/** What a controller's media costs, by operation. Mean and deviation in ns; `fixed` has deviation 0. */
export interface LatencySpec {
  readonly meanNs: number
  readonly devNs: number
}

/** One point of an empirical latency curve: `percent` of the I/Os take at most `ns`. */
export interface LatencyPoint {
  readonly percent: number
  readonly ns: number
}

/** Cell type of flash: selects the table of read, program, erase and transfer times. */
export type NandCell = 'slc' | 'mlc' | 'tlc' | 'qlc'

/** Times of the flash. Null = the value of the cell's table (which for mlc, tlc, qlc differs by page). */
export interface NandTiming {
  readonly cell: NandCell
  readonly readNs: number | null
  readonly programNs: number | null
  readonly eraseNs: number | null
  /** Transfer of one page over its channel; 0 = channels cost nothing. */
  readonly transferNs: number | null
}

/** Shape of the flash behind an ordinary NVMe disk. */
export interface NandGeometry {
  readonly channels: number
  /** Dies on each channel. */
  readonly dies: number
  readonly planes: number
  /** Blocks of each plane; null = as many as the size needs. */
  readonly blocks: number | null
  /** Pages of each block. */
  readonly pages: number
  readonly pageBytes: number
  /** Share of the flash that the disk does not show, in percent of what it shows. */
  readonly overProvisioning: number
}

/** How long an I/O takes on the media. */
export type MediaSpec =
  /** Completes at once and keeps nothing: reads return zeros. */
  | { readonly model: 'null' }
  /** Keeps data, takes no time of its own. */
  | { readonly model: 'ram' }
  | {
      readonly model: 'fixed' | 'normal' | 'lognormal'
      readonly read: LatencySpec
      readonly write: LatencySpec
      readonly trim: LatencySpec
      readonly flush: LatencySpec
      /** I/Os served at the same time. */
      readonly units: number
    }
  | {
      readonly model: 'empirical'
      /** Ascending in both members, at least two points, the last one 100 %. */
      readonly read: readonly LatencyPoint[]
      readonly write: readonly LatencyPoint[]
      readonly trim: readonly LatencyPoint[]
      readonly flush: readonly LatencyPoint[]
      readonly units: number
    }
  | {
      readonly model: 'nand'
      readonly geometry: NandGeometry
      readonly timing: NandTiming
      /** Percent of the drive that holds data at boot. */
      readonly fillPercent: number
      /** False: only times, no content. */
      readonly keepsData: boolean
    }

/** Which commands a fault applies to. An absent member matches everything. */
export interface FaultMatch {
  /** An I/O command by name, or any opcode by number (0..255) with `admin` saying which set. */
  readonly opcode?: number
  readonly admin?: boolean
  /** Queue identifier; 0 is the admin queue. */
  readonly queue?: number
  /** First and last logical block, inclusive. */
  readonly lba?: readonly [first: number, last: number]
  /** The n-th matching command, from 1; with `count`, the first of so many. */
  readonly nth?: number
  /** How many commands it strikes; absent = 1 with nth, otherwise all. */
  readonly count?: number
}

/** What happens to a matching command. */
export type FaultAction =
  /** Complete with this NVMe status (type and code: 0x281 is an unrecovered read error; 0x4000 = do not retry). */
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'delay'; readonly ns: number }
  /** Never complete. */
  | { readonly kind: 'drop' }
  /** Complete twice. */
  | { readonly kind: 'duplicate' }
  /** Flip a bit of the data; or complete under another identifier, or with the old phase. */
  | { readonly kind: 'corrupt'; readonly what?: 'data' | 'cid' | 'phase' }
  /** The controller stops answering (CSTS.CFS when `fatal`). */
  | { readonly kind: 'stuck'; readonly fatal: boolean }
  /** The device is pulled out. */
  | { readonly kind: 'remove' }

/** A fault is data on a device, never a fork of the code. */
export interface FaultSpec {
  readonly match: FaultMatch
  readonly action: FaultAction
}

/** The PCIe controller that both NVMe disks and open-channel devices have. */
export interface ControllerSpec {
  /** I/O queue pairs in all, polled ones included; null = one for each CPU. */
  readonly queues: number | null
  /** Queue pairs without an interrupt; of a controller that is probed, those of polled I/O. */
  readonly pollQueues: number
  /** Entries of each I/O queue (CAP.MQES + 1 and the driver's depth together): gives depth - 1 tags. */
  readonly depth: number
  /** CAP.DSTRD: doorbells are 4 << stride bytes apart; null = the machine chooses. */
  readonly stride: number | null
  /** Device in the submitting thread or in one of its own; null = inline. Real clock only. */
  readonly where: 'inline' | 'thread' | null
  /** How the host learns of completions; null = irq where there is something to wait for. */
  readonly wait: 'poll' | 'irq' | 'hybrid' | null
  /** Interrupt coalescing: an interrupt after so many entries or so long. */
  readonly coalesce: { readonly entries: number; readonly ns: number } | null
  /** Bytes of data the device may keep; null = what the machine has (2 GiB unless told). */
  readonly memBytes: number | null
  readonly faults: readonly FaultSpec[]
}

/** I/O schedulers of multi-queue disks, as choices of a key. */
export const SCHEDULER_NAMES: readonly SchedulerChoice[] = [
  'none',
  'mq-deadline',
  'kyber',
  'default',
]

/** `default`: what Linux chooses itself. Without it a disk has none, as distributions' udev rules give NVMe disks. */
export type SchedulerChoice = SchedulerName | 'default'

/** Zones of every namespace of a controller; 0 open or active zones = no limit. */
export interface ZonedFeature {
  readonly zoneBytes: number
  /** What of a zone can be written. */
  readonly capacityBytes: number
  readonly maxOpen: number
  readonly maxActive: number
}

/** What a controller offers beside one plain namespace (spec-features.ts). Absent = not said. */
export interface ControllerFeatures {
  /** Equal parts of the disk, each a namespace. */
  readonly namespaces?: number
  /** Of the device beside its namespaces. */
  readonly unallocatedBytes?: number
  readonly metadataBytes?: 0 | 8 | 16 | 64
  /** End-to-end protection: 0 none, 1 to 3 the type. */
  readonly protection?: 0 | 1 | 2 | 3
  readonly protectionFirst?: boolean
  /** Metadata behind the data of each block. */
  readonly extended?: boolean
  readonly zoned?: ZonedFeature
  readonly cmbBytes?: number
  /** Host memory buffer, bytes: what it would like, and needs. */
  readonly hmb?: { readonly preferred: number; readonly minimum: number }
  readonly shadow?: boolean
  readonly sgl?: boolean
  readonly mdtsBytes?: number
  /** I/O submission queues in the controller's memory buffer; they go there unless this says no. */
  readonly cmbSqs?: boolean
  /** Delays before another try, ms, as statuses choose them (CRD 1 to 3). */
  readonly retryMs?: readonly [number, number, number]
  /** Weighted round robin with urgent class. */
  readonly weighted?: boolean
  /** Queue pairs for writes alone (write_queues of Linux 5.0). */
  readonly writeQueues?: number
  /** Commands in service at once, all queues together. */
  readonly inflight?: number
  /** CC.EN to CSTS.RDY. */
  readonly readyNs?: number
  /** What happens to the controller while jobs run. */
  readonly events?: readonly EventSpec[]
}

export type EventAction =
  | { readonly kind: 'suspend'; readonly ns: number }
  | { readonly kind: 'aer'; readonly fatal: boolean }
  | {
      readonly kind: 'reset' | 'flr' | 'power-loss' | 'subsystem-reset' | 'rescan' | 'unbind'
    }

export interface EventSpec {
  /** ns after the jobs began. */
  readonly atNs: number
  readonly action: EventAction
}

/** An ordinary NVMe disk: one controller, one namespace or more. */
export interface NvmeSpec extends ControllerSpec {
  readonly kind: 'nvme'
  /** `nvme0n1`, numbered in the order of the devices. */
  readonly name: string
  /** All namespaces together; null = as large as the job files need. */
  readonly sizeBytes: number | null
  readonly lbaBytes: number
  /** Null = `ram` in real time, `fixed` in virtual. */
  readonly media: MediaSpec | null
  /** Volatile write cache: whether flushes reach the device. */
  readonly writeCache: boolean
  readonly sched: SchedulerChoice
  readonly features: ControllerFeatures
}

/** Geometry of an open-channel device, revision 2.0. */
export interface OcssdGeometry20 {
  readonly version: '2.0'
  readonly groups: number
  /** Parallel units of each group. */
  readonly pus: number
  /** Chunks of each parallel unit. */
  readonly chunks: number
  /** 4 KiB sectors of each chunk. */
  readonly clba: number
  readonly wsMin: number
  readonly wsOpt: number
  readonly mwCunits: number
  /** 0 = no limit. */
  readonly maxoc: number
  readonly maxocpu: number
  readonly earlyReset: boolean
  readonly multiReset: boolean
  /** Vector copy (93h). */
  readonly copy: boolean
}

/** Geometry of an open-channel device, revision 1.2. */
export interface OcssdGeometry12 {
  readonly version: '1.2'
  readonly channels: number
  /** LUNs of each channel. */
  readonly luns: number
  readonly planes: number
  /** Blocks of each plane. */
  readonly blocks: number
  readonly pages: number
  /** 4 KiB sectors of each page. */
  readonly sectors: number
  /** The device keeps a logical-to-physical table of its own (bit 0 of dom). */
  readonly l2p: boolean
}

/** An open-channel device: the host manages the flash. */
export interface OcssdSpec extends ControllerSpec {
  readonly kind: 'ocssd'
  /** `nvme0n1`, numbered together with the ordinary disks. */
  readonly name: string
  readonly geometry: OcssdGeometry20 | OcssdGeometry12
  readonly timing: NandTiming
  /** Out-of-band bytes of each sector. */
  readonly oobBytes: number
  /** Resets a chunk survives; 0 = no limit. */
  readonly endurance: number
  readonly writeFailPercent: number
  readonly resetFailPercent: number
  /** Sectors whose reads cannot be corrected, or were only just. */
  readonly readFailPercent: number
  readonly highEccPercent: number
  /** Chunks that are bad from the factory, by number: (group * PUs + PU) * chunks + chunk. */
  readonly bad: readonly number[]
  /** Whether errors of the media carry Do Not Retry. */
  readonly dnr: boolean
  /** Whether transfers take their channel's time. */
  readonly channel: boolean
}

/** null_blk, in the words of its module parameters and configfs attributes. */
export interface NullBlkSpec {
  readonly kind: 'null_blk'
  /** `nullb0`, numbered in the order of the devices. */
  readonly name: string
  /** Null = as large as the job files need. */
  readonly sizeBytes: number | null
  readonly queueMode: 0 | 1 | 2
  readonly irqmode: 0 | 1 | 2
  readonly completionNs: number
  readonly submitQueues: number
  readonly usePerNodeHctx: boolean
  readonly hwQueueDepth: number
  readonly homeNode: number
  readonly bs: number
  readonly noSched: boolean
  /** One tag set for all null_blk disks that say so. */
  readonly sharedTags: boolean
  readonly blocking: boolean
  readonly memoryBacked: boolean
  readonly discard: boolean
  /** Megabytes (2^20) a second; 0 = no limit. */
  readonly mbps: number
  readonly cacheBytes: number
  /** Inclusive ranges of 512-byte sectors. */
  readonly badblocks: readonly (readonly [first: number, last: number])[]
  readonly zoned: boolean
  readonly zoneBytes: number
  readonly timeoutFault: NullBlkFault | null
  readonly requeueFault: NullBlkFault | null
  readonly memBytes: number | null
  /** The mistakes of Linux 4.19's driver as well. */
  readonly quirks: boolean
  readonly sched: SchedulerChoice
}

/** The four numbers of a null_blk fault string: interval, probability, space, times. */
export interface NullBlkFault {
  readonly interval: number
  /** Percent. */
  readonly probability: number
  readonly space: number
  /** -1 = for ever. */
  readonly times: number
}

/** A LightNVM target on an open-channel device. rrpc needs revision 1.2 with `l2p`, pblk any without. */
export interface TargetSpec {
  readonly kind: 'pblk' | 'rrpc'
  /** The disk it makes, `pblk0` unless named. */
  readonly name: string
  /** Name of the open-channel device, such as `nvme0n1`. */
  readonly parent: string
  /** First and last LUN (parallel unit), inclusive; null = all. */
  readonly luns: readonly [begin: number, end: number] | null
  /** Over-provisioning in percent; null = the target's default. */
  readonly op: number | null
  /** Create from scratch instead of recovering what is there. */
  readonly factory: boolean
  /** The mistakes of its kernels as well. */
  readonly quirks: boolean
}

/** One device of the machine. `/dev/` + `name` is its path. */
export type DeviceSpec = NvmeSpec | OcssdSpec | NullBlkSpec | TargetSpec

/** A whole machine. Null = not said. */
export interface MachineSpec {
  readonly cpus: number | null
  readonly kernel: '4.19' | '4.9' | null
  readonly clock: 'real' | 'virtual' | null
  readonly seed: number | null
  /** Budget of the data store; default 2 GiB. */
  readonly memBytes: number
  /** Ticks of jiffies in a second. */
  readonly hz: 100 | 250 | 300 | 1000 | null
  /** Whether timers fire as Linux's wheel has them, up to an eighth late, or at their expiry. */
  readonly timer: 'wheel' | 'exact'
  /** SMT threads of a core, and CPUs that share a last-level cache; CPUs in a row are together. 1 = none. */
  readonly threads: number
  readonly cache: number
  /** Costs of virtual time that differ from the machine's own, in ns. */
  readonly costs: Readonly<Partial<Record<CostKey, number>>>
  /** Empty = the default devices. */
  readonly devices: readonly DeviceSpec[]
}
