// Several I/Os at once from the two plainest generators: uniform random offsets, and the permutation that
// stands for fio's random map. What offset.ts gives one by one, in the same order.

import {
  DDIR_READ, DDIR_WRITE, FL_BLOCKS, FL_PASS, FL_PERM_BITS, FL_PERM_KEY, FL_REGION, FL_UNITS, GEN_PERM,
  JG_ALIGN, JG_DIRECTION, JG_FILE0, JG_MIX_READ, JG_MODE, JG_ONLY, JG_RNG_MIX, JG_RNG_OFF, JOB_GEN,
  JOB_PL_UNDRAW, SECTOR_SHIFT,
} from './layout'
import { permute, permute_sum } from './permute'
import { mul_high, prng_below } from './prng'

/** Adds the directions of a mix to `n` keys. */
function draw_directions(g: u32, keys: u32, n: u32): void {
  const only = load<u32>(g, JG_ONLY)
  const mix = load<u32>(g, JG_MIX_READ)
  for (let i: u32 = 0; i < n; i++) {
    const read = only ? only - 1 == DDIR_READ : <u32>prng_below(g + JG_RNG_MIX, 100) < mix
    const at = keys + (i << 3)
    store<u64>(at, load<u64>(at) | (read ? DDIR_READ : DDIR_WRITE))
  }
}

function draw_permuted(fl: u32, align: u64, keys: u32, n: u32): bool {
  const units = load<u64>(fl, FL_UNITS)
  const pass = load<u64>(fl, FL_PASS)
  if (pass + n > units) return false
  store<u64>(fl, pass + n, FL_PASS)
  const region = load<u64>(fl, FL_REGION)
  const bits = load<u32>(fl, FL_PERM_BITS)
  const mask: u64 = ((<u64>1) << bits) - 1
  const half = <u64>((bits + 1) >> 1)
  const add = load<u64>(fl, FL_PERM_KEY)
  const first = load<u64>(fl, FL_PERM_KEY + 8)
  const second = load<u64>(fl, FL_PERM_KEY + 16)
  const from = pass + add
  const end = keys + (n << 3)
  let place: u64 = 0
  do {
    const block = permute_sum(from + place, units, mask, half, add, first, second)
    store<u64>(keys, ((region + block * align) >> SECTOR_SHIFT << 8) | (place << 2))
    place++
    keys += 8
  } while (keys != end)
  return true
}

/** prng_below (prng.ts) for each, with the state in locals; more than 2^24 blocks go its long way. */
function draw_uniform(g: u32, fl: u32, align: u64, blocks: u64, keys: u32, n: u32): void {
  const region = load<u64>(fl, FL_REGION)
  const rng = g + JG_RNG_OFF
  let s0 = load<u64>(rng)
  let s1 = load<u64>(rng, 8)
  const far = blocks > 0x1000000
  for (let place: u32 = 0; place < n; place++) {
    const x = s1 ^ s0
    const r = rotl<u64>(s0 + s1, 17) + s0
    s0 = rotl<u64>(s0, 49) ^ x ^ (x << 21)
    s1 = rotl<u64>(x, 28)
    const block = far ? mul_high(r, blocks) : ((r >> 32) * blocks) >> 32
    store<u64>(keys + (place << 3), ((region + block * align) >> SECTOR_SHIFT << 8) | (place << 2))
  }
  store<u64>(rng, s0)
  store<u64>(rng, s1, 8)
}

/** The sector of the I/O that comes next, without drawing it; NO_KEY at the end of a pass. */
export function gen_peek(job: u32): u64 {
  const g = job + JOB_GEN
  const fl = g + JG_FILE0
  const direction = load<u32>(g, JG_DIRECTION)
  const ddir: u32 = direction < 3 ? direction : DDIR_READ
  let block: u64
  if (load<u32>(g, JG_MODE) == GEN_PERM) {
    const pass = load<u64>(fl, FL_PASS)
    const units = load<u64>(fl, FL_UNITS)
    if (pass == units) return NO_KEY
    block = permute(pass, units, load<u32>(fl, FL_PERM_BITS), fl + FL_PERM_KEY)
  } else {
    const s0 = load<u64>(g, JG_RNG_OFF)
    const s1 = load<u64>(g, JG_RNG_OFF + 8)
    block = prng_below(g + JG_RNG_OFF, load<u64>(fl + (ddir << 3), FL_BLOCKS))
    store<u64>(g, s0, JG_RNG_OFF)
    store<u64>(g, s1, JG_RNG_OFF + 8)
  }
  return (load<u64>(fl, FL_REGION) + block * load<u32>(g + (ddir << 2), JG_ALIGN)) >> SECTOR_SHIFT
}

/** No I/O is left in this pass. */
export const NO_KEY: u64 = u64.MAX_VALUE

/** The next I/O as a key with place 0, or NO_KEY: gen_draw for one. */
// @ts-ignore: decorator
@inline
export function gen_draw_one(job: u32): u64 {
  const g = job + JOB_GEN
  const fl = g + JG_FILE0
  const permuted = load<u32>(g, JG_MODE) == GEN_PERM
  const pass = load<u64>(fl, FL_PASS)
  const units = load<u64>(fl, FL_UNITS)
  if (permuted && pass == units) return NO_KEY
  let ddir = load<u32>(g, JG_DIRECTION)
  if (ddir > <u32>DDIR_WRITE) {
    const only = load<u32>(g, JG_ONLY)
    if (only) ddir = only - 1
    else ddir = <u32>prng_below(g + JG_RNG_MIX, 100) < load<u32>(g, JG_MIX_READ) ? DDIR_READ : DDIR_WRITE
  }
  let block: u64
  if (permuted) {
    store<u64>(fl, pass + 1, FL_PASS)
    block = permute(pass, units, load<u32>(fl, FL_PERM_BITS), fl + FL_PERM_KEY)
  } else {
    block = prng_below(g + JG_RNG_OFF, load<u64>(fl + (ddir << 3), FL_BLOCKS))
  }
  const offset = load<u64>(fl, FL_REGION) + block * load<u32>(g + (ddir << 2), JG_ALIGN)
  return (offset >> SECTOR_SHIFT << 8) | ddir
}

/**
 * Draws the next `n` I/Os of a job in mode GEN_RANDOM or GEN_PERM: sector << 8 | place << 2 | direction,
 * n x u64 at `keys`. False: the pass has not so many left, and nothing has changed.
 */
export function gen_draw(job: u32, keys: u32, n: u32): bool {
  const g = job + JOB_GEN
  const fl = g + JG_FILE0
  const undo = job + JOB_PL_UNDRAW
  const direction = load<u32>(g, JG_DIRECTION)
  const ddir: u32 = direction < 3 ? direction : DDIR_READ
  const align = <u64>load<u32>(g + (ddir << 2), JG_ALIGN)
  store<u64>(undo, load<u64>(fl, FL_PASS))
  store<u64>(undo, load<u64>(g, JG_RNG_OFF), 8)
  store<u64>(undo, load<u64>(g, JG_RNG_OFF + 8), 16)
  if (load<u32>(g, JG_MODE) == GEN_PERM) {
    if (!draw_permuted(fl, align, keys, n)) return false
  } else {
    draw_uniform(g, fl, align, load<u64>(fl + (ddir << 3), FL_BLOCKS), keys, n)
  }
  if (direction == DDIR_READ) return true
  store<u64>(undo, load<u64>(g, JG_RNG_MIX), 24)
  store<u64>(undo, load<u64>(g, JG_RNG_MIX + 8), 32)
  if (direction == DDIR_WRITE) for (let i: u32 = 0; i < n; i++) store<u8>(keys + (i << 3), <u8>(i << 2 | DDIR_WRITE))
  else draw_directions(g, keys, n)
  return true
}

/** Takes back the last draw: the generator gives the same I/Os again. */
export function gen_undraw(job: u32): void {
  const g = job + JOB_GEN
  const undo = job + JOB_PL_UNDRAW
  const direction = load<u32>(g, JG_DIRECTION)
  store<u64>(g + JG_FILE0, load<u64>(undo), FL_PASS)
  store<u64>(g, load<u64>(undo, 8), JG_RNG_OFF)
  store<u64>(g, load<u64>(undo, 16), JG_RNG_OFF + 8)
  if (direction == DDIR_READ) return
  store<u64>(g, load<u64>(undo, 24), JG_RNG_MIX)
  store<u64>(g, load<u64>(undo, 32), JG_RNG_MIX + 8)
}
