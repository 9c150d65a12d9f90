// What pblk writes about a line on the line itself: the layouts of drivers/lightnvm/pblk.h of Linux 4.19.
//
//   header   crc 0, identifier 4, uuid 8, type 24, version 26 and 27, id 28: 32 bytes, at the start of both
//   smeta    header, crc 32, prev_id 36, seq_nr 40, window_wr_lun 48, bitmap of LUNs 64. Before the data.
//   emeta    header, crc 32, prev_id 36, seq_nr 40, window_wr_lun 48, next_id 52, nr_lbas 56, nr_valid_lbas 64, bitmap of
//            bad chunks 72, then written by users, collector, padding; the list of lbas, one for each sector of the line,
//            from a sector of its own on. After the data.
//
// CRC-32 begins with all ones and is not inverted in the end. The header's covers bytes 4 to 31, the others 36 to the end.
// The list of valid counts that a third part of emeta is meant for has no sectors: the kernel computes its size while the
// number of lines is still 0.

import {
  ADDR_EMPTY,
  get_lba,
  PBLK_LINETYPE_DATA,
  type pblk,
  type pblk_line,
  put_lba,
} from './pblk.js'

export const PBLK_MAGIC = 0x70626c6b
export const SMETA_VERSION: readonly [number, number] = [0, 1]
export const EMETA_VERSION: readonly [number, number] = [0, 2]

const HEADER_BYTES = 32
const CRC_AT = 32
const CRC_FROM = 36
export const SMETA_BITMAP_AT = 64
export const EMETA_BITMAP_AT = 72
export const EMETA_COUNTS_BYTES = 24

/** What a byte comes to when 0 to 7 bytes of zeros follow it: eight tables of 256, one behind the other. */
const TABLE: Int32Array = new Int32Array(8 * 256)
for (let n = 0; n < 256; n++) {
  let c = n
  for (let i = 0; i < 8; i++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  TABLE[n] = c
}
for (let n = 256; n < TABLE.length; n++)
  TABLE[n] = TABLE[TABLE[n - 256] & 0xff] ^ (TABLE[n - 256] >>> 8)

/** Two words at a time ("slicing by 8"): a line's metadata are tens of kilobytes, and gone through more than once. */
function crc_of_words(crc: number, words: Int32Array): number {
  const t = TABLE
  for (let i = 0; i + 1 < words.length; i += 2) {
    const a = words[i] ^ crc
    const b = words[i + 1]
    crc =
      t[1792 + (a & 0xff)] ^
      t[1536 + ((a >>> 8) & 0xff)] ^
      t[1280 + ((a >>> 16) & 0xff)] ^
      t[1024 + (a >>> 24)] ^
      t[768 + (b & 0xff)] ^
      t[512 + ((b >>> 8) & 0xff)] ^
      t[256 + ((b >>> 16) & 0xff)] ^
      t[b >>> 24]
  }
  return crc
}

/** crc32_le with the seed of pblk: all ones, not inverted in the end. */
export function pblk_crc(bytes: Uint8Array, from: number, to: number): number {
  let crc = -1
  let at = from
  const start = bytes.byteOffset + from
  if (start % 4 === 0) {
    const pairs = Math.floor((to - from) / 8)
    crc = crc_of_words(crc, new Int32Array(bytes.buffer, start, 2 * pairs))
    at += 8 * pairs
  }
  for (; at < to; at++) crc = TABLE[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8)
  return crc >>> 0
}

function view_at(pblk: pblk, address: number, bytes: number): DataView {
  const { buffer, byteOffset } = pblk.memory.bytes
  return new DataView(buffer, byteOffset + address, bytes)
}

function bytes_at(pblk: pblk, address: number, bytes: number): Uint8Array {
  return pblk.memory.bytes.subarray(address, address + bytes)
}

/** Writes a header; its crc comes last. */
export function put_header(
  bytes: Uint8Array,
  version: readonly [number, number],
  uuid: Uint8Array,
  id: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES)
  view.setUint32(4, PBLK_MAGIC, true)
  bytes.set(uuid, 8)
  view.setUint16(24, PBLK_LINETYPE_DATA, true)
  view.setUint8(26, version[0])
  view.setUint8(27, version[1])
  view.setUint32(28, id, true)
  view.setUint32(0, pblk_crc(bytes, 4, HEADER_BYTES), true)
}

/** Bytes of a line's metadata. */
export function smeta_len(pblk: pblk): number {
  return pblk.lm.smeta_sec * pblk.geo.csecs
}

export function emeta_len(pblk: pblk): number {
  return pblk.lm.emeta_sec * pblk.geo.csecs
}

/** Where the list of lbas is in memory. */
export function emeta_to_lbas(pblk: pblk, emeta: number): number {
  return emeta + pblk.lm.emeta_lba_sec * pblk.geo.csecs
}

function put_crc(pblk: pblk, address: number, bytes: number): void {
  const crc = pblk_crc(bytes_at(pblk, address, bytes), CRC_FROM, bytes)
  view_at(pblk, address, bytes).setUint32(CRC_AT, crc, true)
}

/** Fills a line's smeta. The number of bytes of its bitmap is taken for a number of bits, as in Linux. */
export function put_smeta(pblk: pblk, line: pblk_line, prev: pblk_line | null): void {
  const at = line.meta!.smeta
  const length = smeta_len(pblk)
  const bytes = bytes_at(pblk, at, length)
  const view = view_at(pblk, at, length)
  bytes.fill(0)
  put_header(bytes, SMETA_VERSION, pblk.instance_uuid, line.id)
  view.setUint32(36, prev === null ? 0xffffffff : prev.id, true)
  view.setBigUint64(40, BigInt(line.seq_nr), true)
  view.setUint32(48, pblk.geo.all_luns, true)
  for (let bit = 0; bit < pblk.lm.blk_bitmap_len; bit++)
    bytes[SMETA_BITMAP_AT + (bit >> 3)] |= 1 << (bit & 7)
  put_crc(pblk, at, length)
}

/** Begins a line's emeta: all but what is known at its end. */
export function begin_emeta(pblk: pblk, line: pblk_line, prev: pblk_line | null): void {
  const at = line.meta!.emeta
  const length = emeta_len(pblk)
  bytes_at(pblk, at, length).fill(0)
  put_header(bytes_at(pblk, at, length), EMETA_VERSION, pblk.instance_uuid, line.id)
  const view = view_at(pblk, at, length)
  view.setBigUint64(40, BigInt(line.seq_nr), true)
  view.setBigUint64(56, BigInt(line.sec_in_line), true)
  view.setUint32(36, prev === null ? 0xffffffff : prev.id, true)
  view.setUint32(52, 0xffffffff, true)
  bytes_at(pblk, emeta_to_lbas(pblk, at), 8 * lba_room(pblk)).fill(0xff)
}

/** The line's successor is known. */
export function emeta_next(pblk: pblk, line: pblk_line, next: pblk_line): void {
  view_at(pblk, line.meta!.emeta, 64).setUint32(52, next.id, true)
}

/** Ends a line's emeta: counters, bad chunks, crc. */
export function finish_emeta(pblk: pblk, line: pblk_line): void {
  const at = line.meta!.emeta
  const length = emeta_len(pblk)
  const view = view_at(pblk, at, length)
  const bytes = bytes_at(pblk, at, length)
  const { blk_bitmap_len } = pblk.lm
  for (const [bit, bad] of line.blk_bitmap.entries())
    if (bad !== 0) bytes[EMETA_BITMAP_AT + (bit >> 3)] |= 1 << (bit & 7)
  const counts = [pblk.user_wa, pblk.gc_wa, pblk.pad_wa]
  for (const [i, count] of counts.entries())
    view.setBigUint64(EMETA_BITMAP_AT + blk_bitmap_len + 8 * i, BigInt(count), true)
  view.setBigUint64(64, BigInt(line.nr_valid_lbas), true)
  put_crc(pblk, at, length)
}

/** What a line's smeta says; null if it is none. */
export interface smeta_facts {
  readonly uuid: Uint8Array
  readonly id: number
  readonly type: number
  readonly seq_nr: number
  readonly major: number
}

function header_is_good(bytes: Uint8Array, view: DataView): boolean {
  const magic = view.getUint32(4, true) === PBLK_MAGIC
  return magic && view.getUint32(0, true) === pblk_crc(bytes, 4, HEADER_BYTES)
}

function sound(pblk: pblk, at: number, length: number): boolean {
  const bytes = bytes_at(pblk, at, length)
  const view = view_at(pblk, at, length)
  const crc = view.getUint32(CRC_AT, true)
  return header_is_good(bytes, view) && crc === pblk_crc(bytes, CRC_FROM, length)
}

export function read_smeta(pblk: pblk, at: number): smeta_facts | null {
  const length = smeta_len(pblk)
  if (!sound(pblk, at, length)) return null
  const view = view_at(pblk, at, length)
  return {
    uuid: bytes_at(pblk, at + 8, 16).slice(),
    id: view.getUint32(28, true),
    type: view.getUint16(24, true),
    seq_nr: Number(view.getBigUint64(40, true)),
    major: view.getUint8(26),
  }
}

/** What a line's emeta says; null if it is none. */
export interface emeta_facts {
  readonly seq_nr: number
  readonly user: number
  readonly gc: number
  readonly pad: number
  readonly bad: Uint8Array
}

export function read_emeta(pblk: pblk, at: number): emeta_facts | null {
  const length = emeta_len(pblk)
  if (!sound(pblk, at, length)) return null
  const view = view_at(pblk, at, length)
  const { blk_bitmap_len, blk_per_line } = pblk.lm
  const count = (i: number): number =>
    Number(view.getBigUint64(EMETA_BITMAP_AT + blk_bitmap_len + 8 * i, true))
  const bad = Uint8Array.from(
    { length: blk_per_line },
    (_, bit) => (view.getUint8(EMETA_BITMAP_AT + (bit >> 3)) >> (bit & 7)) & 1,
  )
  const seq_nr = Number(view.getBigUint64(40, true))
  const good = view.getUint8(26) === EMETA_VERSION[0]
  return good ? { seq_nr, user: count(0), gc: count(1), pad: count(2), bad } : null
}

/** Entries of the list: the places before emeta's own. */
export function lba_room(pblk: pblk): number {
  const { lm, geo } = pblk
  return ((lm.emeta_sec - lm.emeta_lba_sec) * geo.csecs) / 8
}

/** The lba of a place in a line, in the emeta at `emeta`. */
export function emeta_lba(pblk: pblk, emeta: number, paddr: number): number {
  if (paddr >= lba_room(pblk)) return ADDR_EMPTY
  return get_lba(pblk, emeta_to_lbas(pblk, emeta) + 8 * paddr)
}

/** The first `n` lbas of the list in the emeta at `emeta`. */
export function emeta_lbas(pblk: pblk, emeta: number, n: number): Float64Array {
  const list = new Float64Array(n).fill(ADDR_EMPTY)
  const from = emeta_to_lbas(pblk, emeta)
  for (let i = Math.min(n, lba_room(pblk)) - 1; i >= 0; i--) list[i] = get_lba(pblk, from + 8 * i)
  return list
}

export function set_emeta_lba(pblk: pblk, emeta: number, paddr: number, lba: number): void {
  if (paddr < lba_room(pblk)) put_lba(pblk, emeta_to_lbas(pblk, emeta) + 8 * paddr, lba)
}
