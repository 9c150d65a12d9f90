// Random numbers: xoroshiro128++ and splitmix64's output function.
//
//   xoroshiro128++   two u64 of state at an address; every stream of a job has its own
//   mix64            a bijection of 64-bit numbers that spreads every bit: word i of the stream of
//                    a seed is mix64(seed + i * GAMMA), so a stream can be entered anywhere
//
// src/core/prng.ts draws the same numbers in JavaScript, and seeds the states.

export const GAMMA: u64 = 0x9e3779b97f4a7c15

/** The next 64 random bits of the generator at `state` (xoroshiro128++). */
export function prng_next(state: usize): u64 {
  const s0 = load<u64>(state)
  const s1 = load<u64>(state, 8) ^ s0
  const sum = rotl<u64>(s0 + (s1 ^ s0), 17) + s0
  store<u64>(state, rotl<u64>(s0, 49) ^ s1 ^ (s1 << 21))
  store<u64>(state, rotl<u64>(s1, 28), 8)
  return sum
}

/** The upper half of the product of two 64-bit numbers. */
export function mul_high(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff, a1 = a >> 32
  const b0 = b & 0xffffffff, b1 = b >> 32
  const mid = a1 * b0 + ((a0 * b0) >> 32)
  const low = a0 * b1 + (mid & 0xffffffff)
  return a1 * b1 + (mid >> 32) + (low >> 32)
}

/** A number below `n`. Up to 2^24 the top 32 bits are enough to be even. */
export function prng_below(state: usize, n: u64): u64 {
  const r = prng_next(state)
  return n <= 0x1000000 ? ((r >> 32) * n) >> 32 : mul_high(r, n)
}

/** A number in [0, 1) with 53 random bits. */
export function prng_unit(state: usize): f64 {
  return <f64>(prng_next(state) >> 11) * (1.0 / 9007199254740992.0)
}

/** splitmix64's output function. */
export function mix64(x: u64): u64 {
  let z = x
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb
  return z ^ (z >> 31)
}
