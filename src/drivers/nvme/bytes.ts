// Little-endian fields in plain bytes: commands, capsules, identify data. Offsets need not be aligned.
//
// A 64-bit field is a number where it is exact (lengths, block numbers up to 2^53) and a bigint where every bit counts
// (properties).

const TWO_32 = 2 ** 32

export function get16(b: Uint8Array, at: number): number {
  return b[at]! | (b[at + 1]! << 8)
}

export function get32(b: Uint8Array, at: number): number {
  return (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0
}

/** Exact up to 2^53; above, rounded. */
export function get64(b: Uint8Array, at: number): number {
  return get32(b, at) + get32(b, at + 4) * TWO_32
}

export function getBig64(b: Uint8Array, at: number): bigint {
  return BigInt(get32(b, at)) | (BigInt(get32(b, at + 4)) << 32n)
}

export function put16(b: Uint8Array, at: number, value: number): void {
  b[at] = value
  b[at + 1] = value >>> 8
}

export function put32(b: Uint8Array, at: number, value: number): void {
  b[at] = value
  b[at + 1] = value >>> 8
  b[at + 2] = value >>> 16
  b[at + 3] = value >>> 24
}

export function put64(b: Uint8Array, at: number, value: number): void {
  put32(b, at, value % TWO_32)
  put32(b, at + 4, Math.floor(value / TWO_32))
}

export function putBig64(b: Uint8Array, at: number, value: bigint): void {
  put32(b, at, Number(value & 0xffffffffn))
  put32(b, at + 4, Number((value >> 32n) & 0xffffffffn))
}

/** ASCII, padded with `pad` to `bytes`. */
export function putText(b: Uint8Array, at: number, bytes: number, text: string, pad = 0): void {
  b.fill(pad, at, at + bytes)
  for (let i = 0; i < Math.min(text.length, bytes); i++) b[at + i] = text.charCodeAt(i)
}

/** Text up to the first zero byte. */
export function getText(b: Uint8Array, at: number, bytes: number): string {
  let text = ''
  for (let i = at; i < at + bytes && b[i] !== 0; i++) text += String.fromCharCode(b[i]!)
  return text
}
