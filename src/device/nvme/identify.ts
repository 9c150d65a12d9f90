// Identify: the structures that a controller shows of itself and of its namespaces.

import { Bytes } from './bytes.js'
import type { ControllerConfig } from './config.js'
import { IDENTIFY_BYTES } from './spec.js'
import type { Namespace, Namespaces } from './namespaces.js'

/** Optional admin commands (OACS): format, firmware, namespace management. */
const OACS = 0x00e
const OACS_DOORBELL_BUFFER = 0x100
/** Asynchronous events (OAES): namespace attributes, firmware activation. */
const OAES = 0x300
/** Compare, write uncorrectable, deallocate, write zeroes, save and select of features, timestamp, verify. */
const ONCS = 0xdf
/** Log pages (LPA): SMART for each namespace no, commands and effects yes, extended data yes. */
const LPA = 0x6
/** Slots of firmware: 7, the first can be written, activation without reset. */
const FRMW = (7 << 1) | 0x10
/** Sanitize: crypto erase, block erase. */
const SANICAP = 3
/** Format of one namespace or all, with a crypto erase if wanted. */
const FNA = 4
const KELVIN = 273

/** log2 of a power of two. */
function log2(value: number): number {
  return Math.round(Math.log2(value))
}

/** Identify Controller. */
export function identifyController(
  c: ControllerConfig,
  spaces: Namespaces,
  revision: string,
): Bytes {
  const b = new Bytes(IDENTIFY_BYTES)
  b.u16(0, c.vendor).u16(2, c.subsystemVendor)
  b.text(4, 20, c.serial).text(24, 40, c.model).text(64, 8, revision)
  b.u8(72, 6).bytes(73, [0x00, 0x54, 0x52])
  b.u8(77, c.mdtsBytes > 0 ? log2(c.mdtsBytes / 4096) : 0)
  b.u16(78, c.controllerId).u32(80, c.version)
  b.u32(92, OAES)
  b.u8(111, 1)
  for (const [i, units] of c.retryDelays.entries()) b.u16(128 + 2 * i, units)
  b.u16(256, OACS | (c.doorbellBuffer ? OACS_DOORBELL_BUFFER : 0))
  b.u8(258, c.abortLimit - 1).u8(259, c.eventLimit - 1)
  b.u8(260, FRMW)
    .u8(261, LPA)
    .u8(262, c.errorEntries - 1)
  b.u16(266, KELVIN + 70).u16(268, KELVIN + 100)
  b.u16(270, Math.min(0xffff, Math.ceil(c.activateNs / 1e8)))
  b.u32(272, c.hostMemory.preferred).u32(276, c.hostMemory.minimum)
  b.u64(280, spaces.capacity).u64(296, spaces.unallocated)
  b.u16(320, c.keepAlive)
  b.u32(328, SANICAP)
  b.u8(512, 0x66).u8(513, 0x44)
  b.u32(516, spaces.most)
  b.u16(520, ONCS).u16(522, 1)
  b.u8(524, FNA)
  b.u8(525, c.writeCache ? 7 : 0) // a Flush of all namespaces is taken
  b.u32(536, c.sgls ? 0x90001 : 0) // any alignment; bit buckets; metadata by SGL
  if (c.nqn.length > 0) b.bytes(768, [...c.nqn].map(x => x.charCodeAt(0)).slice(0, 223))
  b.u16(2048, 2500) // one power state: 25 W
  return b
}

/** Identify Namespace; `ns` undefined: the capabilities that all have in common (NSID all ones). */
export function identifyNamespace(spaces: Namespaces, ns: Namespace | undefined): Bytes {
  const b = new Bytes(IDENTIFY_BYTES)
  const { formats } = spaces
  b.u8(25, formats.length - 1)
  b.u8(27, 3) // metadata behind the data, or in a buffer of their own
  b.u8(28, 0x1f) // protection 1 to 3, in the first or the last bytes
  formats.forEach((format, i) => {
    b.u16(128 + 4 * i, format.metadataBytes).u8(130 + 4 * i, format.dataShift)
  })
  if (!ns) return b
  const { shape } = ns
  b.u64(0, shape.blocks).u64(8, shape.blocks).u64(16, shape.blocks)
  b.u8(26, shape.format | (shape.extended ? 0x10 : 0))
  b.u8(29, shape.protection | (shape.protection && shape.protectionFirst ? 8 : 0))
  b.u8(30, shape.shared ? 1 : 0)
  b.u8(33, 1 | 8) // deallocated blocks read as zeroes; deallocation by Write Zeroes
  b.u64(48, ns.bytes)
  b.u8(99, ns.writeProtect ? 1 : 0)
  b.bytes(104, globalId(ns.nsid))
  return b
}

/** NGUID: the same namespace has the same in every run. */
function globalId(nsid: number): number[] {
  const id = [0x70, 0x68, 0x61, 0x73, 0x65, 0x62, 0x69, 0x74, 0, 0, 0, 0]
  return [...id, nsid >>> 24, (nsid >>> 16) & 255, (nsid >>> 8) & 255, nsid & 255]
}

/** Namespace Identification Descriptors: NGUID, and the command set where it is not the NVM one. */
export function namespaceDescriptors(nsid: number, commandSet: number): Bytes {
  const b = new Bytes(IDENTIFY_BYTES)
  b.u8(0, 2).u8(1, 16).bytes(4, globalId(nsid))
  if (commandSet !== 0) b.u8(20, 4).u8(21, 1).u8(24, commandSet)
  return b
}

/** Up to 1024 identifiers above `after`. */
export function idList(ids: readonly number[], after: number): Bytes {
  const b = new Bytes(IDENTIFY_BYTES)
  ids
    .filter(id => id > after)
    .slice(0, 1024)
    .forEach((id, i) => {
      b.u32(4 * i, id)
    })
  return b
}

/** Controller list: count, then identifiers. */
export function controllerList(ids: readonly number[]): Bytes {
  const b = new Bytes(IDENTIFY_BYTES)
  b.u16(0, ids.length)
  ids.forEach((id, i) => {
    b.u16(2 + 2 * i, id)
  })
  return b
}
