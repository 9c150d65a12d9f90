// Scalable bitmaps: lib/sbitmap.c of Linux 4.19.
//
// A map is cut into words of 2^shift bits, each on a cache line of its own, so that CPUs which start
// at different places do not meet. Each CPU keeps a hint: where it last freed (LIFO: the tag that is
// still warm), or the bit after the one it got. A search goes from the hint to the end of its word,
// wraps inside that word, then visits the other words from bit 0.
//
// A map that one thread owns (SBQ_SHARED 0) changes its words with plain stores; a shared one with
// atomic OR and AND. Waiting: eight wait queues; a free wakes nobody until wake_batch frees have been
// counted on the queue whose turn it is. The lists of waiters stand in memory, under one lock that
// is touched only when somebody waits; sleeping itself is TypeScript's.

import {
  SBQ_DEPTH, SBQ_HINTS, SBQ_HINT_SIZE, SBQ_MAP, SBQ_MAP_NR, SBQ_MIN_SHALLOW, SBQ_ROUND_ROBIN,
  SBQ_SEED, SBQ_SHARED, SBQ_SHIFT, SBQ_WAITERS, SBQ_WAIT_QUEUES, SBQ_WAKE_BATCH,
  SBQ_WAKE_BATCH_MAX, SBQ_WAKE_INDEX, SBQ_WS, SBQ_WS_LOCK, SBW_DEPTH, SBW_SIZE, SBW_WORD,
  WS_HEAD, WS_SIZE, WS_TAIL, WS_WAIT_CNT, WT_CPU, WT_EXCLUSIVE, WT_NEXT, WT_PREV, WT_WOKEN, WT_WS,
} from './layout'
import { lock, unlock } from './lock'
import { wake_cpu } from './wake'

const EINVAL: i32 = 22

/** Bits per word, as a power of two, that `sbitmap_init_node` chooses for a depth. */
export function sbitmap_shift(depth: u32): u32 {
  let shift: u32 = 6
  if (depth >= 4) while (<u64>4 << shift > <u64>depth) shift--
  return shift
}

/** Words of a map. `shift` below zero: chosen by depth. */
export function sbitmap_words(depth: u32, shift: i32): u32 {
  const s: u32 = shift < 0 ? sbitmap_shift(depth) : <u32>shift
  return depth ? ((depth - 1) >> s) + 1 : 0
}

function set_word_depths(sbq: u32, depth: u32): void {
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const words = sbitmap_words(depth, shift)
  store<u32>(sbq, depth, SBQ_DEPTH)
  store<u32>(sbq, words, SBQ_MAP_NR)
  let left = depth
  let word = load<u32>(sbq, SBQ_MAP)
  for (let i: u32 = 0; i < words; i++) {
    const bits = min<u32>(left, 1 << shift)
    store<u32>(word, bits, SBW_DEPTH)
    left -= bits
    word += SBW_SIZE
  }
}

/** Frees needed to wake one wait queue (`sbq_calc_wake_batch`). */
function sbq_calc_wake_batch(sbq: u32): u32 {
  const depth = load<u32>(sbq, SBQ_DEPTH)
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const shallow = min<u32>(1 << shift, load<u32>(sbq, SBQ_MIN_SHALLOW))
  const usable = (depth >> shift) * shallow + min<u32>(depth & ((1 << shift) - 1), shallow)
  return max<u32>(1, min<u32>(usable / SBQ_WAIT_QUEUES, SBQ_WAKE_BATCH_MAX))
}

/**
 * Makes a map of `depth` bits. `map` has `sbitmap_words(depth, shift)` x SBW_SIZE zeroed bytes,
 * `hints` nr_cpus x SBQ_HINT_SIZE. The first hints are random below depth, or 0 without a seed.
 * Returns 0, or -EINVAL for a shift above 6.
 */
export function sbitmap_queue_init_node(
  sbq: u32, depth: u32, shift: i32, round_robin: u32, map: u32, hints: u32, nr_cpus: u32,
  shared: u32, seed: u32,
): i32 {
  if (shift > 6) return -EINVAL
  store<u32>(sbq, shift < 0 ? sbitmap_shift(depth) : <u32>shift, SBQ_SHIFT)
  store<u32>(sbq, map, SBQ_MAP)
  store<u32>(sbq, hints, SBQ_HINTS)
  store<u32>(sbq, round_robin, SBQ_ROUND_ROBIN)
  store<u32>(sbq, shared, SBQ_SHARED)
  store<u32>(sbq, seed, SBQ_SEED)
  store<u32>(sbq, u32.MAX_VALUE, SBQ_MIN_SHALLOW)
  store<u32>(sbq, 0, SBQ_WAKE_INDEX)
  set_word_depths(sbq, depth)
  const batch = sbq_calc_wake_batch(sbq)
  store<u32>(sbq, batch, SBQ_WAKE_BATCH)
  for (let i = 0; i < SBQ_WAIT_QUEUES; i++) {
    store<u32>(sbq + SBQ_WS + i * WS_SIZE, batch, WS_WAIT_CNT)
  }
  for (let cpu: u32 = 0; cpu < nr_cpus; cpu++) {
    const hint: u32 = seed && depth && !round_robin ? random_below(sbq, depth) : 0
    store<u32>(hints + cpu * SBQ_HINT_SIZE, hint)
  }
  return 0
}

/** A number below `bound` from the map's own seed (xorshift32): repeatable, needs no quality. */
function random_below(sbq: u32, bound: u32): u32 {
  let x = load<u32>(sbq, SBQ_SEED)
  if (x == 0) x = 0x9e3779b9
  x ^= x << 13
  x ^= x >> 17
  x ^= x << 5
  store<u32>(sbq, x, SBQ_SEED)
  return x % bound
}

function sbq_update_wake_batch(sbq: u32): void {
  set_wake_batch(sbq, sbq_calc_wake_batch(sbq))
}

/** Of a map that so many users share: one who has all that he may have must not wait for more frees than he can make. */
export function sbitmap_queue_share(sbq: u32, users: u32): void {
  const share = users ? max<u32>((load<u32>(sbq, SBQ_DEPTH) + users - 1) / users, 4) : u32.MAX_VALUE
  set_wake_batch(sbq, min<u32>(sbq_calc_wake_batch(sbq), max<u32>(share / SBQ_WAIT_QUEUES, 1)))
}

function set_wake_batch(sbq: u32, batch: u32): void {
  if (batch == load<u32>(sbq, SBQ_WAKE_BATCH)) return
  // The batch is stored before the counters: a freer must not re-arm with the larger one.
  atomic.store<u32>(sbq, batch, SBQ_WAKE_BATCH)
  for (let i = 0; i < SBQ_WAIT_QUEUES; i++) {
    atomic.store<u32>(sbq + SBQ_WS + i * WS_SIZE, 1, WS_WAIT_CNT)
  }
}

/** Changes the depth within the words that exist: the shift stays, no bit is cleared. */
export function sbitmap_queue_resize(sbq: u32, depth: u32): void {
  set_word_depths(sbq, depth)
  sbq_update_wake_batch(sbq)
}

/** Says the smallest depth that `__sbitmap_queue_get_shallow` will be asked for. */
export function sbitmap_queue_min_shallow_depth(sbq: u32, depth: u32): void {
  store<u32>(sbq, depth, SBQ_MIN_SHALLOW)
  sbq_update_wake_batch(sbq)
}

/** The first zero bit of a word in [from, depth), or -1. */
function find_next_zero_bit(word: u64, depth: u32, from: u32): i32 {
  if (from >= depth) return -1
  const free = ~word & (<u64>-1 << from) & (<u64>-1 >> (64 - depth))
  return free ? <i32>ctz(free) : -1
}

/** Sets a bit; returns true if it was set before. */
function test_and_set_bit(word: u32, bit: u32, shared: u32): bool {
  const mask = <u64>1 << bit
  if (shared) return (atomic.or<u64>(word, mask) & mask) != 0
  const old = load<u64>(word)
  store<u64>(word, old | mask)
  return (old & mask) != 0
}

function __sbitmap_get_word(word: u32, depth: u32, from: u32, wrap: bool, shared: u32): i32 {
  let origin = from
  let hint = from
  while (true) {
    const nr = find_next_zero_bit(load<u64>(word, SBW_WORD), depth, hint)
    if (nr < 0) {
      if (!origin || !hint || !wrap) return -1
      origin = 0
      hint = 0
      continue
    }
    if (!test_and_set_bit(word, nr, shared)) return nr
    hint = nr + 1
    if (hint >= depth - 1) hint = 0
  }
}

/**
 * One look at the word of the hint, without wrapping: where most allocations end. -1: the whole walk
 * has to be made.
 */
// @ts-ignore: decorator
@inline
function sbitmap_get_first(sbq: u32, hint: u32): i32 {
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const index = hint >> shift
  const word = load<u32>(sbq, SBQ_MAP) + index * SBW_SIZE
  const bits = load<u64>(word, SBW_WORD)
  const free = ~bits & (<u64>-1 << (hint & ((1 << shift) - 1))) & (<u64>-1 >> (64 - load<u32>(word, SBW_DEPTH)))
  if (!free) return -1
  const bit = <u32>ctz(free)
  const mask = <u64>1 << bit
  if (!load<u32>(sbq, SBQ_SHARED)) store<u64>(word, bits | mask, SBW_WORD)
  else if (atomic.or<u64>(word, mask, SBW_WORD) & mask) return -1
  return <i32>((index << shift) | bit)
}

/** Finds and sets a zero bit; -1 if the walk meets none. `limit` bits of each word may be used. */
function sbitmap_get_limited(sbq: u32, hint: u32, limit: u32, wrap: bool): i32 {
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const shared = load<u32>(sbq, SBQ_SHARED)
  const base = load<u32>(sbq, SBQ_MAP)
  const words = load<u32>(sbq, SBQ_MAP_NR)
  let index = hint >> shift
  let from = hint & ((1 << shift) - 1)
  for (let i: u32 = 0; i < words; i++) {
    const word = base + index * SBW_SIZE
    const nr = __sbitmap_get_word(word, min<u32>(load<u32>(word, SBW_DEPTH), limit), from, wrap, shared)
    if (nr >= 0) return (index << shift) | nr
    from = 0
    if (++index >= words) index = 0
  }
  return -1
}

export function sbitmap_get(sbq: u32, hint: u32, round_robin: u32): i32 {
  return sbitmap_get_limited(sbq, hint, 64, !round_robin)
}

function alloc_hint(sbq: u32, hints: u32): u32 {
  const depth = load<u32>(sbq, SBQ_DEPTH)
  let hint = load<u32>(hints)
  if (hint >= depth) {
    hint = depth ? random_below(sbq, depth) : 0
    store<u32>(hints, hint)
  }
  return hint
}

// @ts-ignore: decorator
@inline
function update_hint(sbq: u32, hints: u32, hint: u32, nr: i32): void {
  if (nr < 0) {
    store<u32>(hints, 0)
  } else if (<u32>nr == hint || load<u32>(sbq, SBQ_ROUND_ROBIN)) {
    const next: u32 = nr + 1
    store<u32>(hints, next >= load<u32>(sbq, SBQ_DEPTH) - 1 ? 0 : next)
  }
}

/** Allocates a bit for a CPU: its number, or -1. Tries once and does not wait. */
// @ts-ignore: decorator
@inline
export function __sbitmap_queue_get(sbq: u32, cpu: u32): i32 {
  const hints = load<u32>(sbq, SBQ_HINTS) + cpu * SBQ_HINT_SIZE
  let hint = load<u32>(hints)
  if (hint >= load<u32>(sbq, SBQ_DEPTH)) hint = alloc_hint(sbq, hints)
  let nr = load<u32>(sbq, SBQ_MAP_NR) ? sbitmap_get_first(sbq, hint) : -1
  if (nr < 0) nr = sbitmap_get(sbq, hint, load<u32>(sbq, SBQ_ROUND_ROBIN))
  update_hint(sbq, hints, hint, nr)
  return nr
}

/**
 * __sbitmap_queue_get of a map that has bits, belongs to one thread and is not round robin, as far as one look at the word
 * of the hint goes; -1: the whole walk has to be made, and nothing has changed. The words of the map are given.
 */
// @ts-ignore: decorator
@inline
export function sbitmap_queue_get_near(hints: u32, map: u32, shift: u32, depth: u32): i32 {
  const hint = load<u32>(hints)
  if (hint >= depth) return -1
  const first = (hint >> shift) << shift
  const word = map + (hint >> shift) * SBW_SIZE
  const bits = load<u64>(word, SBW_WORD)
  const free = ~bits & (<u64>-1 << (hint - first))
  const bit = <u32>ctz(free) // 64: none
  if (bit >= load<u32>(word, SBW_DEPTH)) return -1
  store<u64>(word, bits | (free & (0 - free)), SBW_WORD)
  const nr = first + bit
  if (nr == hint) store<u32>(hints, nr + 1 >= depth - 1 ? 0 : nr + 1)
  return nr
}

/** __sbitmap_queue_get, using only the first `shallow` bits of each word. */
export function __sbitmap_queue_get_shallow(sbq: u32, cpu: u32, shallow: u32): i32 {
  const hints = load<u32>(sbq, SBQ_HINTS) + cpu * SBQ_HINT_SIZE
  const hint = alloc_hint(sbq, hints)
  const nr = sbitmap_get_limited(sbq, hint, shallow, true)
  update_hint(sbq, hints, hint, nr)
  return nr
}

/** Clears a bit; returns false if it was clear already. */
// @ts-ignore: decorator
@inline
function test_and_clear_bit(sbq: u32, nr: u32): bool {
  const shift = load<u32>(sbq, SBQ_SHIFT)
  const word = load<u32>(sbq, SBQ_MAP) + (nr >> shift) * SBW_SIZE
  const mask = <u64>1 << (nr & ((1 << shift) - 1))
  if (load<u32>(sbq, SBQ_SHARED)) return (atomic.and<u64>(word, ~mask) & mask) != 0
  const old = load<u64>(word)
  store<u64>(word, old & ~mask)
  return (old & mask) != 0
}

/** Frees a bit that `cpu` got, wakes waiters when a batch is full. False: it was free already. */
// @ts-ignore: decorator
@inline
export function sbitmap_queue_clear(sbq: u32, nr: u32, cpu: u32): bool {
  const was_set = test_and_clear_bit(sbq, nr)
  // Sequentially consistent on both sides: either the freer sees the waiter, or the waiter, which
  // is queued before it tries again, sees the free bit.
  if (atomic.load<u32>(sbq, SBQ_WAITERS)) sbitmap_queue_wake_up(sbq)
  if (!load<u32>(sbq, SBQ_ROUND_ROBIN) && nr < load<u32>(sbq, SBQ_DEPTH)) {
    store<u32>(load<u32>(sbq, SBQ_HINTS) + cpu * SBQ_HINT_SIZE, nr)
  }
  return was_set
}

export function sbitmap_any_bit_set(sbq: u32): bool {
  const words = load<u32>(sbq, SBQ_MAP_NR)
  let word = load<u32>(sbq, SBQ_MAP)
  for (let i: u32 = 0; i < words; i++) {
    if (load<u64>(word)) return true
    word += SBW_SIZE
  }
  return false
}

export function sbitmap_any_bit_clear(sbq: u32): bool {
  const words = load<u32>(sbq, SBQ_MAP_NR)
  let word = load<u32>(sbq, SBQ_MAP)
  for (let i: u32 = 0; i < words; i++) {
    if (find_next_zero_bit(load<u64>(word), load<u32>(word, SBW_DEPTH), 0) >= 0) return true
    word += SBW_SIZE
  }
  return false
}

/** How many usable bits are set. */
export function sbitmap_weight(sbq: u32): u32 {
  const words = load<u32>(sbq, SBQ_MAP_NR)
  let word = load<u32>(sbq, SBQ_MAP)
  let weight: u32 = 0
  for (let i: u32 = 0; i < words; i++) {
    const depth = load<u32>(word, SBW_DEPTH)
    weight += <u32>popcnt<u64>(load<u64>(word) & (<u64>-1 >> (64 - depth)))
    word += SBW_SIZE
  }
  return weight
}

// ---------------------------------------------------------------- waiting

/** The wait queue with this number. */
export function sbq_ws(sbq: u32, index: u32): u32 {
  return sbq + SBQ_WS + index * WS_SIZE
}

/** The next wait queue to sleep on; `index` is the address of the hardware queue's wait_index. */
export function sbq_wait_ptr(sbq: u32, index: u32): u32 {
  const seen = atomic.load<u32>(index)
  atomic.cmpxchg<u32>(index, seen, (seen + 1) % SBQ_WAIT_QUEUES)
  return sbq_ws(sbq, seen)
}

/** Puts a waiter at the tail of a wait queue. The caller then tries once more before it sleeps. */
export function sbitmap_prepare_to_wait(sbq: u32, ws: u32, waiter: u32): void {
  lock(sbq + SBQ_WS_LOCK)
  const tail = load<u32>(ws, WS_TAIL)
  store<u32>(waiter, 0, WT_NEXT)
  store<u32>(waiter, tail, WT_PREV)
  store<u32>(waiter, ws, WT_WS)
  store<u32>(waiter, 0, WT_WOKEN)
  if (tail) store<u32>(tail, waiter, WT_NEXT)
  else store<u32>(ws, waiter, WS_HEAD)
  store<u32>(ws, waiter, WS_TAIL)
  atomic.add<u32>(sbq, 1, SBQ_WAITERS)
  unlock(sbq + SBQ_WS_LOCK)
}

/** Takes a waiter off its wait queue, if it is still there. */
export function sbitmap_finish_wait(sbq: u32, waiter: u32): void {
  lock(sbq + SBQ_WS_LOCK)
  if (load<u32>(waiter, WT_WS)) unlink(sbq, waiter)
  unlock(sbq + SBQ_WS_LOCK)
}

function unlink(sbq: u32, waiter: u32): void {
  const ws = load<u32>(waiter, WT_WS)
  const next = load<u32>(waiter, WT_NEXT)
  const prev = load<u32>(waiter, WT_PREV)
  if (next) store<u32>(next, prev, WT_PREV)
  else store<u32>(ws, prev, WS_TAIL)
  if (prev) store<u32>(prev, next, WT_NEXT)
  else store<u32>(ws, next, WS_HEAD)
  store<u32>(waiter, 0, WT_WS)
  atomic.sub<u32>(sbq, 1, SBQ_WAITERS)
}

/** Wakes at most `nr` exclusive waiters from the head, and the others met before. */
function wake_up_nr(sbq: u32, ws: u32, nr: u32): void {
  lock(sbq + SBQ_WS_LOCK)
  let left = nr
  let waiter = load<u32>(ws, WS_HEAD)
  while (waiter && left) {
    const next = load<u32>(waiter, WT_NEXT)
    unlink(sbq, waiter)
    atomic.store<u32>(waiter, 1, WT_WOKEN)
    wake_cpu(load<u32>(waiter, WT_CPU))
    if (load<u32>(waiter, WT_EXCLUSIVE)) left--
    waiter = next
  }
  unlock(sbq + SBQ_WS_LOCK)
}

/** The wait queue whose turn it is: from wake_index the first with a waiter, 0 if none. */
function sbq_wake_ptr(sbq: u32): u32 {
  const start = atomic.load<u32>(sbq, SBQ_WAKE_INDEX)
  let index = start
  for (let i = 0; i < SBQ_WAIT_QUEUES; i++) {
    const ws = sbq_ws(sbq, index)
    if (atomic.load<u32>(ws, WS_HEAD)) {
      if (index != start) atomic.store<u32>(sbq, index, SBQ_WAKE_INDEX)
      return ws
    }
    index = (index + 1) % SBQ_WAIT_QUEUES
  }
  return 0
}

/** Counts one free; true: another freer re-armed the counter meanwhile, look again. */
function __sbq_wake_up(sbq: u32): bool {
  const ws = sbq_wake_ptr(sbq)
  if (!ws) return false
  const left = atomic.sub<i32>(ws, 1, WS_WAIT_CNT) - 1
  if (left > 0) return false
  const batch = atomic.load<u32>(sbq, SBQ_WAKE_BATCH)
  if (atomic.cmpxchg<i32>(ws, left, <i32>batch, WS_WAIT_CNT) != left) return true
  atomic.store<u32>(sbq, (atomic.load<u32>(sbq, SBQ_WAKE_INDEX) + 1) % SBQ_WAIT_QUEUES, SBQ_WAKE_INDEX)
  wake_up_nr(sbq, ws, batch)
  return false
}

export function sbitmap_queue_wake_up(sbq: u32): void {
  while (__sbq_wake_up(sbq)) continue
}

/** One wake-up on each wait queue that has waiters; counters stay. */
export function sbitmap_queue_wake_all(sbq: u32): void {
  let index = atomic.load<u32>(sbq, SBQ_WAKE_INDEX)
  for (let i = 0; i < SBQ_WAIT_QUEUES; i++) {
    const ws = sbq_ws(sbq, index)
    if (atomic.load<u32>(ws, WS_HEAD)) wake_up_nr(sbq, ws, 1)
    index = (index + 1) % SBQ_WAIT_QUEUES
  }
}
