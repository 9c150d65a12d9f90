// Checksums of verify: crc32c, crc32, crc16, crc64, crc7 and xxhash32.
//
//   kind     polynomial            register                 result of "123456789"
//   crc32c   1EDC6F41              inverted in and out      E3069283
//   crc32    04C11DB7              inverted in and out      CBF43926
//   crc16    8005 (ARC)            from 0                   BB3D
//   crc64    AD93D23594C935A9      from 0 (Jones)           E9C6D914C4B8D9CA
//   crc7     09                    from 0, top bit first    75
//   xxhash   XXH32                 the seed                 937BAD67
//
// All but crc7 run over the bits from the lowest up, eight bytes at a time: table k tells what a
// byte does to the register k bytes later. Every function takes the result so far (0 at first)
// and can go on over a second range. The tables (VT_SIZE bytes) are built once for all jobs and
// then only read.

import {
  VERIFY_CRC16, VERIFY_CRC32, VERIFY_CRC32C, VERIFY_CRC64, VERIFY_CRC7, VERIFY_XXHASH, VT_CRC16,
  VT_CRC32, VT_CRC32C, VT_CRC64, VT_CRC7,
} from './layout'

// polynomials with their bits reversed
const POLY_CRC32C: u32 = 0x82f63b78
const POLY_CRC32: u32 = 0xedb88320
const POLY_CRC16: u32 = 0xa001
const POLY_CRC64: u64 = 0x95ac9329ac4bc9b5
/** Not reversed, with its leading bit: x^7 + x^3 + 1. */
const POLY_CRC7: u32 = 0x89

const PRIME_1: u32 = 0x9e3779b1
const PRIME_2: u32 = 0x85ebca77
const PRIME_3: u32 = 0xc2b2ae3d
const PRIME_4: u32 = 0x27d4eb2f
const PRIME_5: u32 = 0x165667b1

function tables_32(t: usize, poly: u32): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >> 1) ^ poly : c >> 1
    store<u32>(t + (i << 2), c)
  }
  for (let i: u32 = 256; i < 2048; i++) {
    const c = load<u32>(t + ((i - 256) << 2))
    store<u32>(t + (i << 2), (c >> 8) ^ load<u32>(t + ((c & 255) << 2)))
  }
}

function tables_64(t: usize, poly: u64): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = <u64>i
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >> 1) ^ poly : c >> 1
    store<u64>(t + (i << 3), c)
  }
  for (let i: u32 = 256; i < 2048; i++) {
    const c = load<u64>(t + ((i - 256) << 3))
    store<u64>(t + (i << 3), (c >> 8) ^ load<u64>(t + ((<u32>c & 255) << 3)))
  }
}

/** What a byte added to the 7-bit register, aligned to the top of a byte, leaves in it. */
function table_7(t: usize): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i & 0x80 ? i ^ POLY_CRC7 : i
    for (let bit = 0; bit < 7; bit++) {
      c <<= 1
      if (c & 0x80) c ^= POLY_CRC7
    }
    store<u8>(t + i, c)
  }
}

/** Fills the tables at `tables`. */
export function checksum_tables(tables: usize): void {
  tables_32(tables + VT_CRC32C, POLY_CRC32C)
  tables_32(tables + VT_CRC32, POLY_CRC32)
  tables_32(tables + VT_CRC16, POLY_CRC16)
  tables_64(tables + VT_CRC64, POLY_CRC64)
  table_7(tables + VT_CRC7)
}

/** A register of up to 32 bits over a range; `t` holds its eight tables. */
function slice_32(t: usize, from: usize, len: u32, register: u32): u32 {
  let c = register
  let p = from
  const end = from + len
  while (p + 8 <= end) {
    const lo = load<u32>(p) ^ c
    const hi = load<u32>(p, 4)
    c = load<u32>(t + ((lo & 255) << 2), 7168) ^ load<u32>(t + ((lo >> 8 & 255) << 2), 6144) ^
      load<u32>(t + ((lo >> 16 & 255) << 2), 5120) ^ load<u32>(t + (lo >> 24 << 2), 4096) ^
      load<u32>(t + ((hi & 255) << 2), 3072) ^ load<u32>(t + ((hi >> 8 & 255) << 2), 2048) ^
      load<u32>(t + ((hi >> 16 & 255) << 2), 1024) ^ load<u32>(t + (hi >> 24 << 2))
    p += 8
  }
  for (; p < end; p++) c = (c >> 8) ^ load<u32>(t + (((c ^ load<u8>(p)) & 255) << 2))
  return c
}

export function crc32c(tables: usize, from: usize, len: u32, before: u32): u32 {
  return ~slice_32(tables + VT_CRC32C, from, len, ~before)
}

export function crc32(tables: usize, from: usize, len: u32, before: u32): u32 {
  return ~slice_32(tables + VT_CRC32, from, len, ~before)
}

export function crc16(tables: usize, from: usize, len: u32, before: u32): u32 {
  return slice_32(tables + VT_CRC16, from, len, before)
}

export function crc64(tables: usize, from: usize, len: u32, before: u64): u64 {
  const t = tables + VT_CRC64
  let c = before
  let p = from
  const end = from + len
  while (p + 8 <= end) {
    c ^= load<u64>(p)
    const lo = <u32>c
    const hi = <u32>(c >> 32)
    c = load<u64>(t + ((lo & 255) << 3), 14336) ^ load<u64>(t + ((lo >> 8 & 255) << 3), 12288) ^
      load<u64>(t + ((lo >> 16 & 255) << 3), 10240) ^ load<u64>(t + (lo >> 24 << 3), 8192) ^
      load<u64>(t + ((hi & 255) << 3), 6144) ^ load<u64>(t + ((hi >> 8 & 255) << 3), 4096) ^
      load<u64>(t + ((hi >> 16 & 255) << 3), 2048) ^ load<u64>(t + (hi >> 24 << 3))
    p += 8
  }
  for (; p < end; p++) c = (c >> 8) ^ load<u64>(t + (((<u32>c ^ load<u8>(p)) & 255) << 3))
  return c
}

export function crc7(tables: usize, from: usize, len: u32, before: u32): u32 {
  const t = tables + VT_CRC7
  let c = before
  for (let p = from, end = from + len; p < end; p++) c = load<u8>(t + ((c << 1) ^ load<u8>(p)))
  return c
}

function xx_round(lane: u32, from: usize): u32 {
  return rotl<u32>(lane + load<u32>(from) * PRIME_2, 13) * PRIME_1
}

/** XXH32 of a range. */
export function xxhash32(from: usize, len: u32, seed: u32): u32 {
  let p = from
  const end = from + len
  let h = seed + PRIME_5
  if (len >= 16) {
    let a = seed + PRIME_1 + PRIME_2
    let b = seed + PRIME_2
    let c = seed
    let d = seed - PRIME_1
    for (; p + 16 <= end; p += 16) {
      a = xx_round(a, p)
      b = xx_round(b, p + 4)
      c = xx_round(c, p + 8)
      d = xx_round(d, p + 12)
    }
    h = rotl<u32>(a, 1) + rotl<u32>(b, 7) + rotl<u32>(c, 12) + rotl<u32>(d, 18)
  }
  h += len
  for (; p + 4 <= end; p += 4) h = rotl<u32>(h + load<u32>(p) * PRIME_3, 17) * PRIME_4
  for (; p < end; p++) h = rotl<u32>(h + <u32>load<u8>(p) * PRIME_5, 11) * PRIME_1
  h = (h ^ (h >> 15)) * PRIME_2
  h = (h ^ (h >> 13)) * PRIME_3
  return h ^ (h >> 16)
}

/**
 * The checksum of a kind (VERIFY_*) over a range, going on from `before`; other kinds have none:
 * 0.
 */
export function checksum(kind: u32, tables: usize, from: usize, len: u32, before: u64): u64 {
  if (kind == VERIFY_CRC32C) return crc32c(tables, from, len, <u32>before)
  if (kind == VERIFY_CRC32) return crc32(tables, from, len, <u32>before)
  if (kind == VERIFY_CRC16) return crc16(tables, from, len, <u32>before)
  if (kind == VERIFY_CRC64) return crc64(tables, from, len, before)
  if (kind == VERIFY_CRC7) return crc7(tables, from, len, <u32>before)
  if (kind == VERIFY_XXHASH) return xxhash32(from, len, <u32>before)
  return 0
}
