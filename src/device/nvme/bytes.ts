// Structures of the specification as bytes: little-endian fields at offsets, text padded with spaces.

export class Bytes {
  readonly data: Uint8Array
  readonly #view: DataView

  constructor(size: number) {
    this.data = new Uint8Array(size)
    this.#view = new DataView(this.data.buffer)
  }

  u8(at: number, value: number): this {
    this.#view.setUint8(at, value)
    return this
  }

  u16(at: number, value: number): this {
    this.#view.setUint16(at, value, true)
    return this
  }

  u32(at: number, value: number): this {
    this.#view.setUint32(at, value, true)
    return this
  }

  /** A whole number up to 2^53. */
  u64(at: number, value: number): this {
    return this.u32(at, value % 2 ** 32).u32(at + 4, Math.floor(value / 2 ** 32))
  }

  /** ASCII, padded with spaces up to `size`, cut there. */
  text(at: number, size: number, text: string): this {
    for (let i = 0; i < size; i++)
      this.u8(at + i, i < text.length ? text.charCodeAt(i) & 0x7f : 0x20)
    return this
  }

  bytes(at: number, bytes: ArrayLike<number>): this {
    this.data.set(bytes, at)
    return this
  }
}

/** Little-endian fields of what a host sent. */
export function readU16(data: Uint8Array, at: number): number {
  return data[at]! | (data[at + 1]! << 8)
}

export function readU32(data: Uint8Array, at: number): number {
  return (readU16(data, at) | (readU16(data, at + 2) << 16)) >>> 0
}

/** Exact up to 2^53. */
export function readU64(data: Uint8Array, at: number): number {
  return readU32(data, at) + readU32(data, at + 4) * 2 ** 32
}
