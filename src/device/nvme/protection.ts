// End-to-end data protection: eight bytes in the metadata of a block, made and checked.
//
//   guard    CRC-16 of T10 (polynomial 0x8bb7) over the data, and over the metadata before the guard where it stands last
//   app      application tag; all ones switch every check of the block off (type 3: together with the reference tag)
//   ref      reference tag: types 1 and 2 count up from the command's; in type 1 that is the address; type 3 does not check it
//
// Big-endian, unlike everything else.

import type { Command } from './command.js'
import { APPTAG_CHECK, GUARD_CHECK, INVALID_PI, REFTAG_CHECK } from './spec.js'

export const PI_BYTES = 8

const POLYNOMIAL = 0x8bb7

/** Bits of a command's PRINFO. */
const CHECK_REF = 1 << 26
const CHECK_APP = 1 << 27
const CHECK_GUARD = 1 << 28
const ACTION = 1 << 29

const TABLE: readonly number[] = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ POLYNOMIAL) & 0xffff : crc << 1
  return crc
})

/** CRC-16/T10-DIF, going on from `crc`. */
export function crc16(data: Uint8Array, crc = 0): number {
  for (const byte of data) crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >>> 8) ^ byte]!
  return crc
}

/** What a command wants of the protection information. */
export interface Wishes {
  /** The controller inserts it on writes, and takes it off on reads when it is all there is of metadata. */
  readonly action: boolean
  readonly guard: boolean
  readonly app: boolean
  readonly ref: boolean
  readonly initialRef: number
  readonly appTag: number
  readonly appMask: number
}

export function wishesOf(c: Command): Wishes {
  const word = c.cdw(12)
  return {
    action: (word & ACTION) !== 0,
    guard: (word & CHECK_GUARD) !== 0,
    app: (word & CHECK_APP) !== 0,
    ref: (word & CHECK_REF) !== 0,
    initialRef: c.cdw(14),
    appTag: c.cdw(15) & 0xffff,
    appMask: c.cdw(15) >>> 16,
  }
}

/** A command whose wishes do not go with the type: a status, or 0. */
export function checkWishes(type: number, w: Wishes, slba: number): number {
  if (type === 3 && w.ref) return INVALID_PI
  if (type === 1 && w.ref && w.initialRef !== slba % 2 ** 32) return INVALID_PI
  return 0
}

/** Where the eight bytes stand in the metadata. */
export function placeOf(metadataBytes: number, first: boolean): number {
  return first ? 0 : metadataBytes - PI_BYTES
}

function guardOf(data: Uint8Array, metadata: Uint8Array, at: number): number {
  return crc16(metadata.subarray(0, at), crc16(data))
}

function refOf(type: number, w: Wishes, i: number): number {
  return type === 3 ? w.initialRef : (w.initialRef + i) >>> 0
}

/** Writes the protection information of the i-th block of a command. */
export function insert(
  type: number,
  w: Wishes,
  i: number,
  data: Uint8Array,
  metadata: Uint8Array,
  at: number,
): void {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength)
  view.setUint16(at, guardOf(data, metadata, at))
  view.setUint16(at + 2, w.appTag)
  view.setUint32(at + 4, refOf(type, w, i))
}

/** Checks it: 0, or which check failed. */
export function check(
  type: number,
  w: Wishes,
  i: number,
  data: Uint8Array,
  metadata: Uint8Array,
  at: number,
): number {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength)
  const app = view.getUint16(at + 2)
  const ref = view.getUint32(at + 4)
  if (app === 0xffff && (type !== 3 || ref === 0xffffffff)) return 0
  if (w.guard && view.getUint16(at) !== guardOf(data, metadata, at)) return GUARD_CHECK
  if (w.app && (app & w.appMask) !== (w.appTag & w.appMask)) return APPTAG_CHECK
  return w.ref && ref !== refOf(type, w, i) ? REFTAG_CHECK : 0
}
