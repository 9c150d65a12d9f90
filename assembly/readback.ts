// Which blocks a verify job must read back, and what it must find there.
//
// JV_EXPECT has a word for each interval of the job's regions: the number of its last write,
// whether that write is still in flight, and whether it was chosen for reading back.
//
//   verify_number       the number of the next write
//   verify_busy         does a write in flight touch these bytes? then this one must wait: of two
//                       writes at once nobody can say which lasts
//   verify_note_write   the write is about to be issued: its number, in flight
//   verify_write_done   it ended: not in flight any more; after an error nothing is expected
//   verify_begin        everything is written and ended: start reading back
//   verify_next         the next piece to read; its words are marked as read
//   verify_overtaken    a check failed, but the interval was written again since it was chosen:
//                       no error. That is why a word is marked and not cleared: the number shows
//                       it
//
// At the end of the job the words are read in the order of offsets, as fio does with verifysort.
// With verify_backlog, pieces also wait in a ring in the order in which they ended; when it holds
// a backlog's worth, verify_next gives a batch of them. The ring is only a hint: what falls out
// of it, or was written again meanwhile, is still found at the end.
//
// A trim is noted as a write with the number VERIFY_ZEROES.

import {
  DDIR_READ, FL_BYTES, FL_REGION, FL_UNIT0, JG_FILE_N, JG_NEXT_DDIR, JG_NEXT_DISK, JG_NEXT_FILE,
  JG_NEXT_LEN, JG_NEXT_OFFSET, JOB_GEN, JOB_PENDING, JOB_VER, JV_BACKLOG,
  JV_BACKLOG_BATCH, JV_CHECK_READS, JV_CURSOR, JV_EXPECT, JV_HIGH, JV_INTERVAL, JV_LEFT, JV_LIST,
  JV_LIST_CAP, JV_LIST_HEAD, JV_LIST_TAIL, JV_LOW, JV_MAX_LEN, JV_NEXT_NUMBER, JV_PHASE,
  JV_TRIM_ZERO, JV_WRITES, VERIFY_ANY, VERIFY_NUMBERS, VERIFY_ZEROES, VP_FILE, VP_LEN, VP_NUMBER,
  VP_OFFSET, VP_SIZE, VX_IN_FLIGHT, VX_READ, VX_SHIFT,
} from './layout'
import { region_at } from './offset'

/** The number of the next write. */
export function verify_number(job: usize): u32 {
  const v = job + JOB_VER
  const number = load<u32>(v, JV_WRITES)
  store<u32>(v, number + 1 == VERIFY_NUMBERS ? 0 : number + 1, JV_WRITES)
  return number
}

/** The word of a write that has ended. */
function word_of(number: u32): u32 {
  return (number + 1) << VX_SHIFT
}

/** Address of the word of the interval at `disk`. */
function word_at(job: usize, file: u32, disk: u64): usize {
  const v = job + JOB_VER
  const fl = region_at(job + JOB_GEN, file)
  const unit = <u32>((disk - load<u64>(fl, FL_REGION)) / load<u32>(v, JV_INTERVAL))
  return load<u32>(v, JV_EXPECT) + ((load<u32>(fl, FL_UNIT0) + unit) << 2)
}

function words_of(v: usize, len: u32): u32 {
  return len / load<u32>(v, JV_INTERVAL)
}

/** Whether a write in flight touches these bytes: 1 = hold yours back until some have ended. */
export function verify_busy(job: usize, file: u32, disk: u64, len: u32): u32 {
  const v = job + JOB_VER
  if (!load<u32>(v, JV_EXPECT)) return 0
  const n = words_of(v, len)
  const at = word_at(job, file, disk)
  for (let i: u32 = 0; i < n; i++) {
    if (load<u32>(at + (i << 2)) & VX_IN_FLIGHT) return 1
  }
  return 0
}

/** Whether these bytes still hold the write `number`, and nobody has chosen them for reading back. */
export function verify_intact(job: usize, file: u32, disk: u64, len: u32, number: u32): bool {
  const n = words_of(job + JOB_VER, len)
  const at = word_at(job, file, disk)
  for (let i: u32 = 0; i < n; i++) {
    if (load<u32>(at + (i << 2)) != word_of(number)) return false
  }
  return true
}

/** Widens the range of words that reading back must look at. */
function widen(v: usize, from: u32, to: u32): void {
  if (from < load<u32>(v, JV_LOW)) store<u32>(v, from, JV_LOW)
  if (to > load<u32>(v, JV_HIGH)) store<u32>(v, to, JV_HIGH)
}

/** The write `number` of these bytes is about to be issued. */
export function verify_note_write(job: usize, file: u32, disk: u64, len: u32, number: u32): void {
  const v = job + JOB_VER
  const expect = load<u32>(v, JV_EXPECT)
  if (!expect) return
  const n = words_of(v, len)
  const at = word_at(job, file, disk)
  const word = word_of(number) | VX_IN_FLIGHT
  for (let i: u32 = 0; i < n; i++) store<u32>(at + (i << 2), word)
  const first = <u32>(at - expect) >> 2
  widen(v, first, first + n)
}

/** The write `number` ended; `ok` is 0 after an error. */
export function verify_write_done(
  job: usize, file: u32, disk: u64, len: u32, number: u32, ok: u32,
): void {
  const v = job + JOB_VER
  if (!load<u32>(v, JV_EXPECT)) return
  const n = words_of(v, len)
  const at = word_at(job, file, disk)
  const trim = number == VERIFY_ZEROES
  const keep = ok && (!trim || load<u32>(v, JV_TRIM_ZERO))
  const mine = word_of(number) | VX_IN_FLIGHT
  const word = keep ? word_of(number) : 0
  for (let i: u32 = 0; i < n; i++) {
    if (load<u32>(at + (i << 2)) == mine) store<u32>(at + (i << 2), word)
  }
  if (keep && load<u32>(v, JV_BACKLOG)) push_piece(job, file, disk, len, number)
}

/** Adds a piece to the ring; the oldest gives way when it is full. */
function push_piece(job: usize, file: u32, disk: u64, len: u32, number: u32): void {
  const v = job + JOB_VER
  const cap = load<u32>(v, JV_LIST_CAP)
  const tail = load<u32>(v, JV_LIST_TAIL)
  const at = <usize>load<u32>(v, JV_LIST) + (tail & (cap - 1)) * VP_SIZE
  store<u64>(at, disk - load<u64>(region_at(job + JOB_GEN, file), FL_REGION), VP_OFFSET)
  store<u32>(at, len, VP_LEN)
  store<u32>(at, number, VP_NUMBER)
  store<u32>(at, file, VP_FILE)
  store<u32>(v, tail + 1, JV_LIST_TAIL)
  const head = load<u32>(v, JV_LIST_HEAD)
  if (tail + 1 - head > cap) store<u32>(v, head + 1, JV_LIST_HEAD)
}

/**
 * Whether a failed check of the interval at `disk` is excused: it was written again meanwhile, or
 * the job writes and this is one of its own reads, which may find anything.
 */
export function verify_overtaken(job: usize, file: u32, disk: u64, number: u32): bool {
  const v = job + JOB_VER
  if (number == VERIFY_ANY) return !load<u32>(v, JV_CHECK_READS)
  if (!load<u32>(v, JV_EXPECT)) return false
  const word = load<u32>(word_at(job, file, disk))
  return (word & VX_IN_FLIGHT) != 0 || word >> VX_SHIFT != number + 1
}

// ---------------------------------------------------------------- reading back

/**
 * Everything is written and nothing in flight: verify_next now gives all that was not read back
 * yet.
 */
export function verify_begin(job: usize): void {
  const v = job + JOB_VER
  store<u32>(v, 1, JV_PHASE)
  store<u32>(v, load<u32>(v, JV_LOW), JV_CURSOR)
  store<u32>(v, load<u32>(v, JV_LIST_TAIL), JV_LIST_HEAD)
  store<u32>(v, 0, JV_LEFT)
}

/** All was read back: the job may write again. */
export function verify_end(job: usize): void {
  const v = job + JOB_VER
  store<u32>(v, 0, JV_PHASE)
  store<u32>(v, -1, JV_LOW)
  store<u32>(v, 0, JV_HIGH)
}

/** Words equal to `word` from the index `from` on, at most up to `to`. */
function run_of(expect: usize, from: u32, to: u32, word: u32): u32 {
  let i = from
  while (i < to && load<u32>(expect + (i << 2)) == word) i++
  return i - from
}

/**
 * Makes `count` intervals from index `unit` of the region `file` the next I/O, and marks their
 * words.
 */
function yield_piece(job: usize, file: u32, unit: u32, count: u32): void {
  const g = job + JOB_GEN
  const v = job + JOB_VER
  const fl = region_at(g, file)
  const at = <usize>load<u32>(v, JV_EXPECT) + (unit << 2)
  const interval = load<u32>(v, JV_INTERVAL)
  const offset = <u64>(unit - load<u32>(fl, FL_UNIT0)) * interval
  const word = load<u32>(at)
  for (let i: u32 = 0; i < count; i++) store<u32>(at + (i << 2), word | VX_READ)
  store<u32>(v, (word >> VX_SHIFT) - 1, JV_NEXT_NUMBER)
  store<u32>(g, DDIR_READ, JG_NEXT_DDIR)
  store<u32>(g, count * interval, JG_NEXT_LEN)
  store<u64>(g, offset, JG_NEXT_OFFSET)
  store<u64>(g, load<u64>(fl, FL_REGION) + offset, JG_NEXT_DISK)
  store<u32>(g, file, JG_NEXT_FILE)
}

/** The region that the interval `unit` belongs to. */
function file_of(g: usize, unit: u32): u32 {
  let file = load<u32>(g, JG_FILE_N) - 1
  while (file && unit < load<u32>(region_at(g, file), FL_UNIT0)) file--
  return file
}

/** One past the last interval of the region `file`. */
function end_of(job: usize, file: u32): u32 {
  const fl = region_at(job + JOB_GEN, file)
  const interval = load<u32>(job + JOB_VER, JV_INTERVAL)
  return load<u32>(fl, FL_UNIT0) + <u32>(load<u64>(fl, FL_BYTES) / interval)
}

/**
 * The next piece in the order of offsets: as many intervals of one write as stand side by side.
 */
function next_in_order(job: usize): u32 {
  const v = job + JOB_VER
  const expect = <usize>load<u32>(v, JV_EXPECT)
  const high = load<u32>(v, JV_HIGH)
  let unit = load<u32>(v, JV_CURSOR)
  let word: u32 = 0
  while (unit < high) {
    word = load<u32>(expect + (unit << 2))
    if (word && !(word & (VX_IN_FLIGHT | VX_READ))) break
    unit++
  }
  store<u32>(v, unit, JV_CURSOR)
  if (unit >= high) return 0
  const file = file_of(job + JOB_GEN, unit)
  const most = unit + load<u32>(v, JV_MAX_LEN) / load<u32>(v, JV_INTERVAL)
  const count = run_of(expect, unit, min(most, min(high, end_of(job, file))), word)
  yield_piece(job, file, unit, count)
  store<u32>(v, unit + count, JV_CURSOR)
  return 1
}

/**
 * What is left of the piece at `at` in the ring: gives its first intact run; 0 = nothing left of
 * it.
 */
function next_of_piece(job: usize, at: usize): u32 {
  const v = job + JOB_VER
  const file = load<u32>(at, VP_FILE)
  const fl = region_at(job + JOB_GEN, file)
  const interval = load<u32>(v, JV_INTERVAL)
  const expect = <usize>load<u32>(v, JV_EXPECT)
  const word = word_of(load<u32>(at, VP_NUMBER))
  let unit = load<u32>(fl, FL_UNIT0) + <u32>(load<u64>(at, VP_OFFSET) / interval)
  const end = unit + load<u32>(at, VP_LEN) / interval
  while (unit < end && load<u32>(expect + (unit << 2)) != word) unit++
  if (unit == end) return 0
  const count = run_of(expect, unit, end, word)
  yield_piece(job, file, unit, count)
  const rest = unit + count
  store<u64>(at, <u64>(rest - load<u32>(fl, FL_UNIT0)) * interval, VP_OFFSET)
  store<u32>(at, (end - rest) * interval, VP_LEN)
  return 1
}

/** The next piece of a backlog batch; starts a batch when the ring holds enough. */
function next_of_backlog(job: usize): u32 {
  const v = job + JOB_VER
  const tail = load<u32>(v, JV_LIST_TAIL)
  let head = load<u32>(v, JV_LIST_HEAD)
  if (!load<u32>(v, JV_LEFT)) {
    const backlog = load<u32>(v, JV_BACKLOG)
    if (!backlog || tail - head < backlog) return 0
    store<u32>(v, load<u32>(v, JV_BACKLOG_BATCH), JV_LEFT)
  }
  const mask = load<u32>(v, JV_LIST_CAP) - 1
  for (; head != tail; head++) {
    const at = <usize>load<u32>(v, JV_LIST) + (head & mask) * VP_SIZE
    if (!next_of_piece(job, at)) continue
    store<u32>(v, load<u32>(at, VP_LEN) ? head : head + 1, JV_LIST_HEAD)
    store<u32>(v, load<u32>(v, JV_LEFT) - 1, JV_LEFT)
    return 1
  }
  store<u32>(v, head, JV_LIST_HEAD)
  store<u32>(v, 0, JV_LEFT)
  return 0
}

/**
 * Chooses the next piece to read back: JG_NEXT_* as gen_next does, and JV_NEXT_NUMBER, the number
 * that verify_check shall expect. Before verify_begin only what verify_backlog asks for. 0 =
 * nothing.
 */
export function verify_next(job: usize): u32 {
  const v = job + JOB_VER
  if (!load<u32>(v, JV_EXPECT)) return 0
  if (load<u32>(v, JV_PHASE)) return next_in_order(job)
  // a write that was held back (verify_busy) is still in JG_NEXT_*
  return load<u32>(job, JOB_PENDING) ? 0 : next_of_backlog(job)
}
