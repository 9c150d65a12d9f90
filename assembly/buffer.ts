// What buffers hold: random data, a pattern, or zeros.
//
// Random data is the stream of a seed (prng.ts), eight bytes a word. A pattern (PT_*) repeats
// from the start of the range; each %o in it stands for an 8-byte offset, little-endian, the same
// for the range.

import {
  BUF_PATTERN, BUF_ZERO, JG_BUF_MODE, JG_BUF_PATTERN, JG_RNG_DATA, JOB_GEN, PT_AT, PT_BYTES,
  PT_LEN, PT_OFFSETS,
} from './layout'
import { GAMMA, mix64, prng_next } from './prng'

/** Fills a range with the stream of `seed`. */
export function stream_fill(at: usize, len: u32, seed: u64): void {
  let p = at
  const end = at + (len & ~7)
  let x = seed
  for (; p < end; p += 8, x += GAMMA) store<u64>(p, mix64(x))
  let rest = mix64(x)
  for (const last = at + len; p < last; p++, rest >>= 8) store<u8>(p, rest)
}

/** The byte of the pattern at `i`, for a range whose offset is `offset`. */
function pattern_byte(pattern: usize, i: u32, offset: u64): u32 {
  const n = load<u32>(pattern, PT_OFFSETS)
  for (let k: u32 = 0; k < n; k++) {
    const from = i - load<u32>(pattern + (k << 2), PT_AT)
    if (from < 8) return <u32>(offset >> (from << 3)) & 255
  }
  return load<u8>(load<u32>(pattern, PT_BYTES) + i)
}

/** Fills a range with the pattern. */
export function pattern_fill(at: usize, len: u32, pattern: usize, offset: u64): void {
  const period = load<u32>(pattern, PT_LEN)
  const first = min(period, len)
  for (let i: u32 = 0; i < first; i++) store<u8>(at + i, pattern_byte(pattern, i, offset))
  for (let done = first; done < len; ) {
    const more = min(done, len - done)
    memory.copy(at + done, at, more)
    done += more
  }
}

/**
 * The first of the bytes `from` to `to` of the range at `at` that is not the pattern's; `to` =
 * none.
 */
export function pattern_check(at: usize, from: u32, to: u32, pattern: usize, offset: u64): u32 {
  const period = load<u32>(pattern, PT_LEN)
  const once = min(from + period, to)
  let i = from
  for (; i < once; i++) {
    if (load<u8>(at + i) != pattern_byte(pattern, i % period, offset)) return i
  }
  for (; i + 8 <= to; i += 8) {
    if (load<u64>(at + i) != load<u64>(at + i - period)) break
  }
  for (; i < to; i++) {
    if (load<u8>(at + i) != load<u8>(at + i - period)) return i
  }
  return to
}

/** Fills a buffer that nothing will verify: random data, buffer_pattern or zeros. */
export function fill_buffer(job: usize, at: usize, len: u32): void {
  const g = job + JOB_GEN
  const mode = load<u32>(g, JG_BUF_MODE)
  if (mode == BUF_ZERO) memory.fill(at, 0, len)
  else if (mode == BUF_PATTERN) pattern_fill(at, len, load<u32>(g, JG_BUF_PATTERN), 0)
  else stream_fill(at, len, prng_next(g + JG_RNG_DATA))
}
