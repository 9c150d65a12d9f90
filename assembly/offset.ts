// What the next I/O of a job is: direction, then offset, then length, as fio chooses them.
//
// Direction: the one that rw names; in a mix a draw against rwmixread. trimwrite trims a block,
// then writes it: in random order the write has the place and length of the trim; in sequential
// order both directions have their own position, and the one that lags behind comes next.
//
// Offset:
//   sequential  where the last I/O of the direction ended, plus the hole of rw=read:112k.
//               Reaching the end of the region ends the pass; a hole that jumps past it goes on
//               at the start, one that jumps before the start goes on at the end.
//   random      a block of blockalign bytes: from the random map (each block once a pass) or from
//               the distribution. rw=randread:8 jumps every 8 I/Os and is sequential (or repeats
//               the offset) in between; percentage_random makes a share of the jumps sequential.
//               Only jumps count in the map.
//   strided     both, inside a zone of zonerange bytes; after zonesize bytes comes the next zone,
//               zoneskip bytes on, and after the last the first.
//
// Length: blocksize.ts; with the bitmap, cut to the free run.
//
// Several regions (files) take turns, one I/O each unless file_service_type says otherwise; each has
// its own positions and map, and leaves the round when its pass is over. A job's limits (bytes, I/Os, time) are the caller's.

import { blockmap_clear, blockmap_next_free, blockmap_take } from './blockmap'
import { next_length } from './blocksize'
import { dist_init, dist_next } from './distribution'
import {
  DDIR_READ, DDIR_TRIM, DDIR_WRITE, DIST_UNIFORM, FILES_AT_RANDOM, FILES_IN_ORDER, DS_KEY, DS_KIND, DS_SIZE, FL_BLOCKS, FL_BYTES,
  FL_DIST, FL_DONE, FL_INDEX, FL_LAST, FL_MAP, FL_PASS, FL_PERM_BITS, FL_PERM_KEY, FL_REGION,
  FL_SIZE, FL_START, FL_TRIMMED, FL_UNITS, FL_ZONE, FL_ZONE_BYTES, FL_ZONE_DONE, GEN_GENERAL,
  GEN_NEW, GEN_PERM, GEN_RANDOM, GEN_SEQ, JG_ALIGN, JG_DIRECTION, JG_FILE0, JG_FILES,
  JG_FILES_DONE, JG_FILE_LEFT, JG_FILE_N, JG_FILE_NOW, JG_FILE_NR, JG_FILE_ORDER, JG_FILE_TURN, JG_LOOPS, JG_LOOPS_DONE, JG_MAP_MODE, JG_MAP_UNIT,
  JG_MAX_BS, JG_MIN_BS, JG_MIX_READ, JG_MODE, JG_MORE, JG_NEXT_DDIR, JG_NEXT_DISK, JG_NEXT_FILE,
  JG_NEXT_LEN, JG_NEXT_OFFSET, JG_ONLY, JG_RANDOM_PCT, JG_RNG_MIX, JG_RNG_OFF, JG_RW,
  JG_SEQ_AT, JG_SEQ_IDENTICAL, JG_SEQ_LEFT, JG_SEQ_NR, JG_SEQ_WRAP, JG_SKIP, JG_STRIDE_RANGE,
  JG_STRIDE_SKIP, JG_STRIDE_ZONE, JG_TIME_BASED, JOB_GEN, MAP_BITS, MAP_NONE, MAP_PERM, RW_RANDOM,
  RW_READ, RW_TRIM, RW_TRIMWRITE, RW_WRITE,
} from './layout'
import { permute, permute_bits, permute_keys } from './permute'
import { prng_below } from './prng'

const NONE: u64 = u64.MAX_VALUE

/** The FL block of a region of the job whose generator is at `g`. */
export function region_at(g: usize, index: u32): usize {
  return index == 0 ? g + JG_FILE0 : <usize>load<u32>(g, JG_FILES) + (index - 1) * FL_SIZE
}

// ---------------------------------------------------------------- the beginning of a pass

/** New keys or a clear bitmap: every block of the zone may be drawn again. */
function reset_map(g: usize, fl: usize): void {
  const mode = load<u32>(g, JG_MAP_MODE)
  store<u64>(fl, 0, FL_PASS)
  if (mode == MAP_PERM) permute_keys(fl + FL_PERM_KEY, g + JG_RNG_OFF)
  else if (mode == MAP_BITS) blockmap_clear(load<u32>(fl, FL_MAP), load<u64>(fl, FL_UNITS))
}

/**
 * Random offsets of a direction in `bytes`: the last block must fit, even when aligned more
 * finely.
 */
function random_blocks(g: usize, ddir: u32, bytes: u64): u64 {
  const align = <u64>load<u32>(g + (ddir << 2), JG_ALIGN)
  const size = <u64>load<u32>(g + (ddir << 2), JG_MIN_BS)
  const short = size > align ? size - align : 0
  return bytes > short ? (bytes - short) / align : 0
}

/** Makes the zone at `start` (not strided: the whole region) the one to work in. */
function enter_zone(g: usize, fl: usize, start: u64, bytes: u64): void {
  store<u64>(fl, start, FL_ZONE)
  store<u64>(fl, bytes, FL_ZONE_BYTES)
  store<u64>(fl, 0, FL_ZONE_DONE)
  for (let ddir: u32 = 0; ddir < 3; ddir++) {
    const at = fl + (ddir << 3)
    const n = random_blocks(g, ddir, bytes)
    store<u64>(at, start, FL_LAST)
    store<u64>(at, NONE, FL_START)
    store<u64>(at, n, FL_BLOCKS)
    dist_init(fl + FL_DIST + ddir * DS_SIZE, n)
  }
  if (load<u32>(g, JG_MAP_MODE) != MAP_NONE) {
    const units = bytes / load<u32>(g, JG_MAP_UNIT)
    store<u64>(fl, units, FL_UNITS)
    store<u32>(fl, permute_bits(units), FL_PERM_BITS)
  }
  reset_map(g, fl)
}

function begin_pass(g: usize, fl: usize): void {
  const bytes = load<u64>(fl, FL_BYTES)
  const strided = load<u64>(g, JG_STRIDE_ZONE) != 0
  store<u32>(fl, 0, FL_DONE)
  store<u32>(fl, 0, FL_TRIMMED)
  enter_zone(g, fl, 0, strided ? min(load<u64>(g, JG_STRIDE_RANGE), bytes) : bytes)
}

function begin_passes(g: usize): void {
  const n = load<u32>(g, JG_FILE_N)
  for (let i: u32 = 0; i < n; i++) begin_pass(g, region_at(g, i))
  store<u32>(g, 0, JG_FILES_DONE)
  store<u32>(g, 0, JG_FILE_TURN)
  store<u32>(g, 0, JG_FILE_LEFT)
  store<u32>(g, 1, JG_SEQ_LEFT)
  use_region(g, g + JG_FILE0)
}

/** The direction of a job that has one only, else 3. */
function only_direction(rw: u32): u32 {
  const uses = rw & (RW_READ | RW_WRITE | RW_TRIM)
  return popcnt<u32>(uses) == 1 ? ctz<u32>(uses) : 3
}

/** Whether the direction has one size and, at random, nothing but uniform jumps. */
function is_plain(g: usize, ddir: u32, random: u32): bool {
  const at = g + (ddir << 2)
  if (load<u32>(at, JG_MIN_BS) != load<u32>(at, JG_MAX_BS)) return false
  if (!random) return true
  const fl = g + JG_FILE0
  return load<u32>(at, JG_RANDOM_PCT) >= 100 && load<u64>(fl + (ddir << 3), FL_BLOCKS) != 0 &&
    load<u32>(fl + FL_DIST + ddir * DS_SIZE, DS_KIND) == DIST_UNIFORM
}

/** The plainest jobs have a short way; this finds it. */
function choose_mode(g: usize): u32 {
  const rw = load<u32>(g, JG_RW)
  const random = rw & RW_RANDOM
  if (load<u32>(g, JG_FILE_N) != 1 || load<u64>(g, JG_STRIDE_ZONE) || rw & RW_TRIMWRITE) {
    return GEN_GENERAL
  }
  for (let ddir: u32 = 0; ddir < 3; ddir++) {
    if ((rw >> ddir) & 1 && !is_plain(g, ddir, random)) return GEN_GENERAL
  }
  if (!random) return load<u64>(g, JG_SKIP) ? GEN_GENERAL : GEN_SEQ
  const map = load<u32>(g, JG_MAP_MODE)
  if (map == MAP_BITS || load<u32>(g, JG_SEQ_NR) != 1) return GEN_GENERAL
  return map == MAP_PERM ? GEN_PERM : GEN_RANDOM
}

/** The first pass: draws the keys of the distributions, which last for the whole job. */
function gen_start(g: usize): void {
  const n = load<u32>(g, JG_FILE_N)
  for (let i: u32 = 0; i < n; i++) {
    const ds = region_at(g, i) + FL_DIST
    for (let ddir: u32 = 0; ddir < 3; ddir++) {
      permute_keys(ds + ddir * DS_SIZE + DS_KEY, g + JG_RNG_OFF)
    }
  }
  store<u32>(g, only_direction(load<u32>(g, JG_RW)), JG_DIRECTION)
  begin_passes(g)
  store<u32>(g, choose_mode(g), JG_MODE)
}

/**
 * Whether the job begins another pass when one is over (gen_restart): always if it runs for a time;
 * until its loops are done; and then, if io_size is more than size, while the `left` bytes of io_size
 * can hold the largest block.
 */
export function gen_again(job: usize, left: u64): u32 {
  const g = job + JOB_GEN
  if (load<u32>(g, JG_TIME_BASED)) return 1
  if (load<u32>(g, JG_LOOPS_DONE) + 1 < load<u32>(g, JG_LOOPS)) return 1
  if (!load<u32>(g, JG_MORE)) return 0
  const most = max(load<u32>(g, JG_MAX_BS), load<u32>(g, JG_MAX_BS + 4))
  return <u32>(left >= <u64>max(most, load<u32>(g, JG_MAX_BS + 8)))
}

/** Begins a new pass: positions at the start, a new order of random blocks. */
export function gen_restart(job: usize): void {
  const g = job + JOB_GEN
  if (load<u32>(g, JG_MODE) == GEN_NEW) return
  store<u32>(g, load<u32>(g, JG_LOOPS_DONE) + 1, JG_LOOPS_DONE)
  begin_passes(g)
}

// ---------------------------------------------------------------- strided zones

/** Goes to the next zone when this one has had its bytes, and back to the first after the last. */
function stride(g: usize, fl: usize, ddir: u32): void {
  if (load<u64>(fl, FL_ZONE_DONE) < load<u64>(g, JG_STRIDE_ZONE)) return
  const range = load<u64>(g, JG_STRIDE_RANGE)
  const bytes = load<u64>(fl, FL_BYTES)
  const next = load<u64>(fl, FL_ZONE) + range + load<u64>(g, JG_STRIDE_SKIP)
  const fits = next + load<u32>(g + (ddir << 2), JG_MIN_BS) <= bytes
  enter_zone(g, fl, fits ? next : 0, fits ? min(range, bytes - next) : min(range, bytes))
}

// ---------------------------------------------------------------- offsets

/** The direction's next sequential offset, NONE at the end of the region. */
function next_sequential(g: usize, fl: usize, ddir: u32): u64 {
  const zone = load<u64>(fl, FL_ZONE)
  const bytes = load<u64>(fl, FL_ZONE_BYTES)
  let at = load<u64>(fl + (ddir << 3), FL_LAST) - zone
  if (load<u64>(g, JG_STRIDE_ZONE)) {
    if (at + load<u32>(g + (ddir << 2), JG_MIN_BS) > bytes) at = 0
  } else if (at >= bytes) {
    if (!load<u32>(g, JG_SEQ_WRAP)) return NONE
    at = 0
  }
  const skip = load<i64>(g, JG_SKIP)
  if (skip != 0 && at != 0) {
    at += <u64>skip
    if (at >= bytes) at = skip > 0 ? 0 : bytes + <u64>skip
    if (at >= bytes) return NONE
  }
  return zone + at
}

/** The next block of the permutation, NONE when the pass has had all. */
function next_permuted(g: usize, fl: usize): u64 {
  const units = load<u64>(fl, FL_UNITS)
  let pass = load<u64>(fl, FL_PASS)
  if (pass == units) {
    if (!units || !load<u64>(g, JG_STRIDE_ZONE)) return NONE
    reset_map(g, fl)
    pass = 0
  }
  store<u64>(fl, pass + 1, FL_PASS)
  return permute(pass, units, load<u32>(fl, FL_PERM_BITS), fl + FL_PERM_KEY)
}

/** The free block of the bitmap at or after `unit`, NONE when the pass has had all. */
function next_unmarked(g: usize, fl: usize, unit: u64): u64 {
  const units = load<u64>(fl, FL_UNITS)
  const map = <usize>load<u32>(fl, FL_MAP)
  if (unit >= units) return NONE
  const free = blockmap_next_free(map, units, unit)
  if (free != NONE || !load<u64>(g, JG_STRIDE_ZONE)) return free
  reset_map(g, fl)
  return unit
}

/** A random offset, NONE when the map is full or nothing fits. */
function next_random(g: usize, fl: usize, ddir: u32): u64 {
  const n = load<u64>(fl + (ddir << 3), FL_BLOCKS)
  if (!n) return NONE
  const align = <u64>load<u32>(g + (ddir << 2), JG_ALIGN)
  const map = load<u32>(g, JG_MAP_MODE)
  let block: u64
  if (map == MAP_PERM) {
    block = next_permuted(g, fl)
    if (block == NONE) return NONE
    return load<u64>(fl, FL_ZONE) + block * align
  }
  const ds = fl + FL_DIST + ddir * DS_SIZE
  block = dist_next(ds, n, g + JG_RNG_OFF, g + JG_SEQ_AT + (ddir << 2))
  if (map == MAP_NONE) return load<u64>(fl, FL_ZONE) + block * align
  const unit = <u64>load<u32>(g, JG_MAP_UNIT)
  block = next_unmarked(g, fl, (block * align) / unit)
  return block == NONE ? NONE : load<u64>(fl, FL_ZONE) + block * unit
}

/** Whether this I/O jumps to a random offset, or stays near the one before. */
function jumps(g: usize, ddir: u32): bool {
  if (!(load<u32>(g, JG_RW) & RW_RANDOM)) return false
  const left = load<u32>(g, JG_SEQ_LEFT) - 1
  store<u32>(g, left ? left : load<u32>(g, JG_SEQ_NR), JG_SEQ_LEFT)
  return left == 0
}

/** What a jump becomes by percentage_random: true = a random offset. */
function random_share(g: usize, ddir: u32): bool {
  const percent = load<u32>(g + (ddir << 2), JG_RANDOM_PCT)
  return percent >= 100 || <u32>prng_below(g + JG_RNG_MIX, 100) < percent
}

/** rw_sequencer=identical: the direction's last offset again. */
function same_again(fl: usize, ddir: u32): u64 {
  const start = load<u64>(fl + (ddir << 3), FL_START)
  return start == NONE ? load<u64>(fl, FL_ZONE) : start
}

// ---------------------------------------------------------------- one I/O

/** The direction of a mix: the one that rates ask for (JG_ONLY), or one by rwmixread. */
function mixed_direction(g: usize): u32 {
  const only = load<u32>(g, JG_ONLY)
  if (only) return only - 1
  const mix = load<u32>(g, JG_MIX_READ)
  return <u32>prng_below(g + JG_RNG_MIX, 100) < mix ? DDIR_READ : DDIR_WRITE
}

/** The direction of the next I/O on this region. */
function next_direction(g: usize, fl: usize): u32 {
  const rw = load<u32>(g, JG_RW)
  if (rw & RW_TRIMWRITE) {
    if (rw & RW_RANDOM) return load<u32>(fl, FL_TRIMMED) ? DDIR_WRITE : DDIR_TRIM
    const same = load<u64>(fl, FL_START + 8) == load<u64>(fl, FL_START + 16)
    return same ? DDIR_TRIM : DDIR_WRITE
  }
  const direction = load<u32>(g, JG_DIRECTION)
  return direction < 3 ? direction : mixed_direction(g)
}

/** Makes the choice known. */
function chosen(g: usize, fl: usize, ddir: u32, offset: u64, len: u32): void {
  store<u32>(g, ddir, JG_NEXT_DDIR)
  store<u32>(g, len, JG_NEXT_LEN)
  store<u64>(g, offset, JG_NEXT_OFFSET)
  store<u64>(g, load<u64>(fl, FL_REGION) + offset, JG_NEXT_DISK)
}

/** Makes the choice known, and moves the positions that the next one starts from. */
function moved(g: usize, fl: usize, ddir: u32, offset: u64, len: u32): u32 {
  const at = fl + (ddir << 3)
  store<u64>(at, offset, FL_START)
  store<u64>(at, offset + len, FL_LAST)
  store<u64>(fl, load<u64>(fl, FL_ZONE_DONE) + len, FL_ZONE_DONE)
  chosen(g, fl, ddir, offset, len)
  return 1
}

/** The length at a block just taken from the bitmap: at most the free run, which it marks. */
function mapped_length(g: usize, fl: usize, ddir: u32, offset: u64, room: u64): u32 {
  const unit = load<u32>(g, JG_MAP_UNIT)
  const drawn = next_length(g, ddir, room)
  const len = drawn ? drawn : <u32>room
  const units = load<u64>(fl, FL_UNITS)
  const first = (offset - load<u64>(fl, FL_ZONE)) / unit
  const want = <u64>((len + unit - 1) / unit)
  const got = blockmap_take(load<u32>(fl, FL_MAP), units, first, want)
  return <u32>min(got * unit, <u64>len)
}

/** Chooses an I/O on this region; 0 = its pass is over. */
function choose(g: usize, fl: usize): u32 {
  const ddir = next_direction(g, fl)
  const rw = load<u32>(g, JG_RW)
  if (load<u64>(g, JG_STRIDE_ZONE)) stride(g, fl, ddir)
  if (rw & RW_TRIMWRITE && rw & RW_RANDOM) {
    store<u32>(fl, <u32>(ddir == DDIR_TRIM), FL_TRIMMED)
    if (ddir == DDIR_WRITE) {
      const start = load<u64>(fl, FL_START + 16)
      return moved(g, fl, DDIR_WRITE, start, <u32>(load<u64>(fl, FL_LAST + 16) - start))
    }
  }
  const jump = jumps(g, ddir)
  const random = <u32>rw & RW_RANDOM
  let marks = jump && random_share(g, ddir)
  let offset = NONE
  if (!marks) {
    const repeat = random != 0 && !jump && load<u32>(g, JG_SEQ_IDENTICAL) != 0
    offset = repeat ? same_again(fl, ddir) : next_sequential(g, fl, ddir)
    marks = offset == NONE && random != 0
  }
  if (marks) offset = next_random(g, fl, ddir)
  if (offset == NONE) return 0
  const room = load<u64>(fl, FL_ZONE) + load<u64>(fl, FL_ZONE_BYTES) - offset
  const bits = marks && load<u32>(g, JG_MAP_MODE) == MAP_BITS
  const len = bits ? mapped_length(g, fl, ddir, offset, room) : next_length(g, ddir, room)
  return len ? moved(g, fl, ddir, offset, len) : 0
}

function use_region(g: usize, fl: usize): void {
  store<u32>(g, load<u32>(fl, FL_INDEX), JG_NEXT_FILE)
}

/** The region for the next I/O, whose pass is not over; there is one. */
function next_region(g: usize, n: u32): usize {
  const left = load<u32>(g, JG_FILE_LEFT)
  const same = region_at(g, load<u32>(g, JG_FILE_NOW))
  if (left && !load<u32>(same, FL_DONE)) {
    store<u32>(g, left - 1, JG_FILE_LEFT)
    use_region(g, same)
    return same
  }
  const order = load<u32>(g, JG_FILE_ORDER)
  let turn = order == FILES_AT_RANDOM ? <u32>prng_below(g + JG_RNG_MIX, n) : load<u32>(g, JG_FILE_TURN)
  while (true) {
    const fl = region_at(g, turn)
    turn = turn + 1 == n ? 0 : turn + 1
    if (load<u32>(fl, FL_DONE)) continue
    store<u32>(g, turn, JG_FILE_TURN)
    store<u32>(g, load<u32>(fl, FL_INDEX), JG_FILE_NOW)
    store<u32>(g, order == FILES_IN_ORDER ? u32.MAX_VALUE : load<u32>(g, JG_FILE_NR) - 1, JG_FILE_LEFT)
    use_region(g, fl)
    return fl
  }
}

function next_general(g: usize): u32 {
  const n = load<u32>(g, JG_FILE_N)
  while (load<u32>(g, JG_FILES_DONE) < n) {
    const fl = n == 1 ? g + JG_FILE0 : next_region(g, n)
    if (choose(g, fl)) return 1
    store<u32>(fl, 1, FL_DONE)
    store<u32>(g, load<u32>(g, JG_FILES_DONE) + 1, JG_FILES_DONE)
  }
  return 0
}

/** The short way, for one region and one size a direction; the end of a pass goes the long way. */
function next_plain(g: usize, mode: u32): u32 {
  const fl = g + JG_FILE0
  const direction = load<u32>(g, JG_DIRECTION)
  const ddir = direction < 3 ? direction : mixed_direction(g)
  const len = load<u32>(g + (ddir << 2), JG_MIN_BS)
  let offset: u64
  if (mode == GEN_SEQ) {
    offset = load<u64>(fl + (ddir << 3), FL_LAST)
    if (offset + len > load<u64>(fl, FL_BYTES)) return next_general(g)
    store<u64>(fl + (ddir << 3), offset + len, FL_LAST)
  } else {
    const block = mode == GEN_PERM
      ? next_permuted(g, fl)
      : prng_below(g + JG_RNG_OFF, load<u64>(fl + (ddir << 3), FL_BLOCKS))
    if (block == NONE) return next_general(g)
    offset = block * load<u32>(g + (ddir << 2), JG_ALIGN)
  }
  chosen(g, fl, ddir, offset, len)
  return 1
}

/**
 * Chooses the job's next I/O: JG_NEXT_DDIR, JG_NEXT_LEN, JG_NEXT_OFFSET (in the region),
 * JG_NEXT_DISK (the same from the start of the disk) and JG_NEXT_FILE. Gives 0 when the pass is
 * over.
 */
export function gen_next(job: usize): u32 {
  const g = job + JOB_GEN
  let mode = load<u32>(g, JG_MODE)
  if (mode == GEN_NEW) {
    gen_start(g)
    mode = load<u32>(g, JG_MODE)
  }
  return mode == GEN_GENERAL ? next_general(g) : next_plain(g, mode)
}
