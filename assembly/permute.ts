// A permutation of 0..n-1 that needs no memory: fio's random map for blocks of one size.
//
// Block i of a pass is permute(i): every block comes once, in an order that the pass's three keys
// decide. Over 2^bits >= n numbers, each of these steps can be undone, and so can all of them:
//
//   add a key;  three times: multiply by an odd number, then fold the upper half onto the lower
//
// A result of n or more is permuted again until it falls below n (cycle walking): a permutation
// of the whole range, cut to the part below n, is one of that part. As n > 2^(bits-1), that takes
// less than two rounds on average.

import { prng_next } from './prng'

/** The smallest number of bits that can count `n` blocks. */
export function permute_bits(n: u64): u32 {
  return n < 2 ? 0 : 64 - <u32>clz<u64>(n - 1)
}

/** Draws the keys of a new permutation into the 24 bytes at `key`. */
export function permute_keys(key: usize, rng: usize): void {
  store<u64>(key, prng_next(rng))
  store<u64>(key, prng_next(rng) | 1, 8)
  store<u64>(key, prng_next(rng) | 1, 16)
}

/** Where `x` goes among `n` blocks; `x` is below `n` and `bits` is permute_bits(n). */
// @ts-ignore: decorator
@inline
export function permute(x: u64, n: u64, bits: u32, key: usize): u64 {
  const mask: u64 = ((<u64>1) << bits) - 1
  const add = load<u64>(key)
  return permute_sum(x + add, n, mask, <u64>((bits + 1) >> 1), add, load<u64>(key, 8), load<u64>(key, 16))
}

/** permute with what is the same for all blocks of a pass: 2^bits - 1, half of the bits and the keys; `y` is the block plus the first key. */
// @ts-ignore: decorator
@inline
export function permute_sum(y: u64, n: u64, mask: u64, half: u64, add: u64, first: u64, second: u64): u64 {
  while (true) {
    y = (y * first) & mask
    y ^= y >> half
    y = (y * second) & mask
    y ^= y >> half
    y = (y * 0x9e3779b97f4a7c15) & mask
    y ^= y >> half
    if (y < n) break
    y += add
  }
  return y
}
