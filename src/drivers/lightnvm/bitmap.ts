// Bitmaps of lines, after lib/bitmap.c and lib/find_bit.c: bit i is bit i % 32 of word i / 32.

/** Words for so many bits, all clear. */
export function bitmap_alloc(bits: number): Uint32Array {
  return new Uint32Array(Math.ceil(bits / 32))
}

export function test_bit(map: Uint32Array, bit: number): boolean {
  return ((map[bit >>> 5] >>> (bit & 31)) & 1) !== 0
}

export function set_bit(map: Uint32Array, bit: number): void {
  map[bit >>> 5] |= 1 << (bit & 31)
}

export function clear_bit(map: Uint32Array, bit: number): void {
  map[bit >>> 5] &= ~(1 << (bit & 31))
}

/** Sets a bit; whether it was set before. */
export function test_and_set_bit(map: Uint32Array, bit: number): boolean {
  const was = test_bit(map, bit)
  set_bit(map, bit)
  return was
}

export function bitmap_set(map: Uint32Array, from: number, count: number): void {
  const end = from + count
  for (let bit = from; bit < end; ) {
    if ((bit & 31) === 0 && end - bit >= 32) {
      map[bit >>> 5] = 0xffffffff
      bit += 32
    } else set_bit(map, bit++)
  }
}

/** How many of the first `bits` are set. */
export function bitmap_weight(map: Uint32Array, bits: number): number {
  let weight = 0
  const whole = bits >>> 5
  for (let i = 0; i < whole; i++)
    for (let word = map[i]; word !== 0; word = (word & (word - 1)) >>> 0) weight++
  for (let bit = whole * 32; bit < bits; bit++) if (test_bit(map, bit)) weight++
  return weight
}

/** The first clear bit at or after `from`; `bits` if there is none. */
export function find_next_zero_bit(map: Uint32Array, bits: number, from: number): number {
  let bit = from
  while (bit < bits && test_bit(map, bit)) {
    if ((bit & 31) === 0 && map[bit >>> 5] === 0xffffffff) bit += 32
    else bit++
  }
  return Math.min(bit, bits)
}

/** The first set bit at or after `from`; `bits` if there is none. */
export function find_next_bit(map: Uint32Array, bits: number, from: number): number {
  for (let bit = from; bit < bits; bit++) if (test_bit(map, bit)) return bit
  return bits
}
