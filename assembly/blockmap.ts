// Which blocks of a region a pass has covered: fio's random map for mixed block sizes.
//
// A bitmap with summaries: bit i of level 0 is block i; bit i of level k+1 says that word i of
// level k is full. The top level is one word. Bits past the last block count as taken. A search
// for the next free block climbs over full words and comes down again, so that it stays short
// when few are left.

const NONE: u64 = u64.MAX_VALUE

function words(bits: u64): u64 {
  return (bits + 63) >> 6
}

/** Address of a level of the map of `n` blocks. */
function level_at(map: usize, n: u64, level: u32): usize {
  let at = map
  let count = words(n)
  for (let i: u32 = 0; i < level; i++) {
    at += <usize>(count << 3)
    count = words(count)
  }
  return at
}

/** Makes all `n` blocks free. */
export function blockmap_clear(map: usize, n: u64): void {
  let at = map
  let bits = n
  while (true) {
    const count = words(bits)
    const size = <usize>(count << 3)
    memory.fill(at, 0, size)
    if (bits & 63) store<u64>(at + size - 8, ~<u64>0 << (bits & 63))
    at += size
    if (count <= 1) return
    bits = count
  }
}

/** Takes one block. */
function take(map: usize, n: u64, block: u64): void {
  let at = map
  let count = words(n)
  let bit = block
  while (true) {
    const word = at + <usize>((bit >> 6) << 3)
    const now = load<u64>(word) | ((<u64>1) << (bit & 63))
    store<u64>(word, now)
    if (now != ~<u64>0 || count <= 1) return
    at += <usize>(count << 3)
    count = words(count)
    bit >>= 6
  }
}

/** The first free block at or after `from`, 2^64 - 1 when there is none. */
function next_free_from(map: usize, n: u64, from: u64): u64 {
  let at = map
  let count = words(n)
  let bit = from
  let level: u32 = 0
  while (true) {
    const free = (bit >> 6) < count
      ? ~load<u64>(at + <usize>((bit >> 6) << 3)) & (~<u64>0 << (bit & 63))
      : 0
    if (free) {
      bit = (bit & ~<u64>63) + ctz<u64>(free)
      break
    }
    if (count <= 1) return NONE
    at += <usize>(count << 3)
    count = words(count)
    bit = (bit >> 6) + 1
    level++
  }
  while (level) {
    level--
    bit = (bit << 6) + ctz<u64>(~load<u64>(level_at(map, n, level) + <usize>(bit << 3)))
  }
  return bit
}

/**
 * The next free block from `from` on, past the end again from the start; 2^64 - 1 when all are
 * taken.
 */
export function blockmap_next_free(map: usize, n: u64, from: u64): u64 {
  const block = next_free_from(map, n, from)
  return block == NONE ? next_free_from(map, n, 0) : block
}

/**
 * Takes up to `want` blocks from the free block `from` on, until one is not free; gives how many.
 */
export function blockmap_take(map: usize, n: u64, from: u64, want: u64): u64 {
  let got: u64 = 0
  while (got < want && from + got < n) {
    const bit = from + got
    if ((load<u64>(map + <usize>((bit >> 6) << 3)) >> (bit & 63)) & 1) break
    take(map, n, bit)
    got++
  }
  return got
}
