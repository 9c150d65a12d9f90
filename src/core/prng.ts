// Random numbers: xoroshiro128++, the twin of assembly/prng.ts. Same state, same numbers.
//
// A state is two 64-bit words, kept here as four 32-bit halves: s0 low, s0 high, s1 low, s1 high, which
// is their order in memory. Seeds are spread by splitmix64, so that neighbouring seeds and streams have
// nothing in common.

const MASK_64 = (1n << 64n) - 1n
const GAMMA = 0x9e3779b97f4a7c15n

/** splitmix64's output function, a bijection of 64-bit numbers. */
export function mix64(x: bigint): bigint {
  let z = x & MASK_64
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK_64
  return z ^ (z >> 31n)
}

/** A 64-bit seed made of a user's seed (an integer) and the number of one of its streams. */
export function streamSeed(seed: number | bigint, stream: number): bigint {
  return mix64(mix64(BigInt(seed)) + GAMMA * BigInt(stream + 1))
}

/** A generator of 64 random bits at a time. */
export class Prng {
  /** The state: s0 low, s0 high, s1 low, s1 high. */
  readonly state: Uint32Array

  /** `stream` tells apart the generators that share a seed. */
  constructor(seed: number | bigint, stream: number = 0) {
    const x = streamSeed(seed, stream)
    this.state = Uint32Array.from(
      [mix64(x + GAMMA), mix64(x + 2n * GAMMA)].flatMap(w => [
        Number(w & 0xffffffffn),
        Number(w >> 32n),
      ]),
    )
  }

  /** The next 64 bits: [low, high], each 0..2^32-1. */
  next(): readonly [low: number, high: number] {
    const s = this.state
    const a0 = s[0]
    const a1 = s[1]
    const b0 = s[2] ^ a0
    const b1 = s[3] ^ a1
    const sumLow = a0 + s[2]
    const sumHigh = (a1 + s[3] + (sumLow > 0xffffffff ? 1 : 0)) | 0
    const low = ((sumLow << 17) | (sumHigh >>> 15)) >>> 0
    const high = ((sumHigh << 17) | ((sumLow | 0) >>> 15)) >>> 0
    const outLow = low + a0
    const outHigh = high + a1 + (outLow > 0xffffffff ? 1 : 0)
    // s0 = rotl(s0, 49) ^ b ^ (b << 21); rotl by 49 is rotl by 17 of the swapped halves
    s[0] = ((a1 << 17) | (a0 >>> 15)) ^ b0 ^ (b0 << 21)
    s[1] = ((a0 << 17) | (a1 >>> 15)) ^ b1 ^ ((b1 << 21) | (b0 >>> 11))
    s[2] = (b0 << 28) | (b1 >>> 4)
    s[3] = (b1 << 28) | (b0 >>> 4)
    return [outLow >>> 0, outHigh >>> 0]
  }

  /** An integer below `n` (1..2^53); the same as prng_below. */
  below(n: number): number {
    const [low, high] = this.next()
    if (n <= 0x1000000) {
      const part = Math.floor(((high & 0xffff) * n) / 0x10000)
      return Math.floor(((high >>> 16) * n + part) / 0x10000)
    }
    return Number((((BigInt(high) << 32n) | BigInt(low)) * BigInt(n)) >> 64n)
  }

  /** A number in [0, 1) with 53 random bits. */
  unit(): number {
    const [low, high] = this.next()
    return (high * 0x200000 + (low >>> 11)) / 0x20000000000000
  }
}
