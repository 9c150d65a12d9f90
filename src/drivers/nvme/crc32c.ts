// CRC32C (Castagnoli), the digest of NVMe/TCP: reflected polynomial 0x82F63B78, first and last exclusive-or all ones.
//
// Eight bytes a step with eight tables: table n holds what a byte contributes that has n more bytes behind it.

const POLYNOMIAL = 0x82f63b78
const SLICES = 8

function makeTables(): readonly Uint32Array[] {
  const tables = Array.from({ length: SLICES }, () => new Uint32Array(256))
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    tables[0]![byte] = crc
  }
  for (let n = 1; n < SLICES; n++)
    for (let byte = 0; byte < 256; byte++) {
      const before = tables[n - 1]![byte]!
      tables[n]![byte] = (before >>> 8) ^ tables[0]![before & 0xff]!
    }
  return tables
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = makeTables() as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
]

/** What a digest starts from. */
export const CRC32C_INIT = 0xffffffff

/** Goes on with a digest over more bytes; crc32c_final ends it. */
export function crc32c_update(crc: number, bytes: Uint8Array, from: number, to: number): number {
  let c = crc
  let i = from
  for (; i + 8 <= to; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    c =
      T7[c & 0xff]! ^
      T6[(c >>> 8) & 0xff]! ^
      T5[(c >>> 16) & 0xff]! ^
      T4[c >>> 24]! ^
      T3[bytes[i + 4]!]! ^
      T2[bytes[i + 5]!]! ^
      T1[bytes[i + 6]!]! ^
      T0[bytes[i + 7]!]!
  }
  for (; i < to; i++) c = (c >>> 8) ^ T0[(c ^ bytes[i]!) & 0xff]!
  return c >>> 0
}

export function crc32c_final(crc: number): number {
  return (crc ^ 0xffffffff) >>> 0
}

/** The digest of bytes. */
export function crc32c(bytes: Uint8Array, from: number = 0, to: number = bytes.length): number {
  return crc32c_final(crc32c_update(CRC32C_INIT, bytes, from, to))
}
