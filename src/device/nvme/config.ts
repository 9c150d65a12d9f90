// What a controller is made with: its ports to the machine, where its blocks are, and everything that is fixed before it
// is switched on. Times are ns, sizes bytes.

import type { View } from '../../core/view.js'
import type { Core } from '../../core/wasm.js'
import type { FaultRule } from './faults.js'

/** What the machine gives to the controller. */
export interface ControllerPorts {
  /** Shared memory and this thread's instance of the core. */
  readonly view: View
  readonly core: Core
  /** ns on the machine's clock. */
  now(): number
  /** Calls `fn` later; the result calls it off. */
  after(ns: number, fn: () => void): () => void
  /** MSI-X message of a vector whose completion queue is not wired to a host's queue (DCQ_NQ 0). */
  raise?(vector: number): void
}

/** Addresses of the blocks; queues by their identifier, 0 = admin. */
export interface ControllerAddresses {
  /** Device (DEV_*), first of the namespaces (NS_*), registers (BAR 0). */
  readonly dev: number
  readonly ns: number
  readonly bar: number
  /** DSQ_*, DCQ_*, and the records of commands in service (FIFO_*, as many as `entries`; not needed for 0). */
  readonly dsqs: readonly number[]
  readonly dcqs: readonly number[]
  readonly fifos: readonly number[]
  /** Interrupt vectors (IRQ_*). */
  readonly irqs: number
  readonly irqStride: number
}

/** One LBA format. */
export interface LbaFormat {
  /** log2 of the data bytes of a block. */
  readonly dataShift: number
  readonly metadataBytes: number
}

/** How a namespace stands there at first. */
export interface NamespaceConfig {
  readonly bytes: number
  /** Number of the LBA format. */
  readonly format: number
  /** End-to-end protection: 0 none, 1 to 3 the type. */
  readonly protection?: number
  /** Protection information in the first 8 bytes of the metadata, not the last. */
  readonly protectionFirst?: boolean
  /** Metadata behind the data of each block, not in a buffer of its own. */
  readonly extended?: boolean
  readonly attached?: boolean
}

export interface ControllerConfig {
  readonly vendor: number
  readonly subsystemVendor: number
  readonly device: number
  readonly serial: string
  readonly model: string
  readonly firmware: string
  readonly nqn: string
  /** VS. */
  readonly version: number
  /** CAP.MQES + 1. */
  readonly entries: number
  /** I/O queue pairs that it gives out, and completion queues if there are fewer or more. */
  readonly ioQueues: number
  readonly ioCompletionQueues?: number
  /** MSI-X table. */
  readonly vectors: number
  /** CAP.DSTRD. */
  readonly stride: number
  /** CAP.TO, 500 ms units. */
  readonly timeout: number
  /** CAP.MPSMAX: largest page is 4096 << this. */
  readonly mpsMax: number
  /** Largest transfer; a power of two times 4096, 0 = no limit. */
  readonly mdtsBytes: number
  /** Weighted round robin with urgent class. */
  readonly weighted: boolean
  /** Commands in service at most, all queues together; 0 = no limit. */
  readonly serviceSlots: number
  /** Subsystem reset (NSSR). */
  readonly subsystemReset: boolean
  /** Controller memory buffer: an address in the shared memory, and bytes (a multiple of 4096). */
  readonly cmb?: { readonly at: number; readonly bytes: number }
  /** What it may reach of the memory; everything above the compiler's data unless told. */
  readonly dma?: { readonly from: number; readonly to: number }
  readonly writeCache: boolean
  /** Unflushed content of the write cache can be lost: powerLoss() takes it back. Every write then is the controller's. */
  readonly trackCache: boolean
  readonly formats: readonly LbaFormat[]
  /** Namespaces; the first is the boot image's unless given. */
  readonly namespaces?: readonly NamespaceConfig[]
  /** Namespace blocks there are (NN). */
  readonly slots: number
  /** Abort commands at once, asynchronous event requests at once (from 1), entries of the error log. */
  readonly abortLimit: number
  /**
   * Commands in service end early when that is asked for (Abort, Delete I/O Submission Queue). Otherwise Abort says that it
   * did nothing, and what is in service when its queue goes ends at once with what it came to.
   */
  readonly aborts: boolean
  readonly eventLimit: number
  readonly errorEntries: number
  /** Host memory buffer that it would like and needs, 4 KiB units; 0 = none. */
  readonly hostMemory: { readonly preferred: number; readonly minimum: number }
  /** Keep alive granularity, 100 ms units; 0 = not supported. */
  readonly keepAlive: number
  /** CRDT1 to CRDT3, 100 ms units; 0 = none. */
  readonly retryDelays: readonly [number, number, number]
  /** SGLs: 0 none, 1 any alignment. */
  readonly sgls: 0 | 1
  readonly doorbellBuffer: boolean
  /** What goes wrong on purpose; replaces the rules that the core has for the device. */
  readonly faults?: readonly FaultRule[]
  readonly controllerId: number
  /** CC.EN to CSTS.RDY, SHN to SHST complete, an admin command, a format, a sanitize operation, an activation. */
  readonly readyNs: number
  readonly shutdownNs: number
  readonly adminNs: number
  readonly formatNs: number
  readonly sanitizeNs: number
  readonly activateNs: number
}

/** A drive as QEMU makes one, in what can be seen from the host. */
export const DEFAULT_CONFIG: ControllerConfig = {
  vendor: 0x1b36,
  subsystemVendor: 0x1af4,
  device: 0x0010,
  serial: 'phasebit0',
  model: 'phasebit NVMe Ctrl',
  firmware: '1.0',
  nqn: 'nqn.2014-08.org.nvmexpress:phasebit:nvme0',
  version: 0x00010300,
  entries: 1024,
  ioQueues: 64,
  vectors: 65,
  stride: 0,
  timeout: 15,
  mpsMax: 0,
  mdtsBytes: 0,
  weighted: true,
  serviceSlots: 0,
  subsystemReset: true,
  writeCache: false,
  trackCache: false,
  formats: [
    { dataShift: 9, metadataBytes: 0 },
    { dataShift: 9, metadataBytes: 8 },
    { dataShift: 12, metadataBytes: 0 },
    { dataShift: 12, metadataBytes: 8 },
    { dataShift: 12, metadataBytes: 64 },
  ],
  slots: 1,
  abortLimit: 4,
  aborts: true,
  eventLimit: 4,
  errorEntries: 64,
  hostMemory: { preferred: 0, minimum: 0 },
  keepAlive: 0,
  retryDelays: [0, 0, 0],
  sgls: 0,
  doorbellBuffer: true,
  controllerId: 0,
  readyNs: 0,
  shutdownNs: 0,
  adminNs: 0,
  formatNs: 0,
  sanitizeNs: 0,
  activateNs: 0,
}
