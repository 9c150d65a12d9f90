// The contents of blocks that are verified: written here, and checked here when they come back.
//
// A write is cut into intervals (verify_interval; it divides every write). Each interval stands
// alone:
//
//   0                    JV_OFFSET          JV_OFFSET + JV_HEADER               JV_INTERVAL
//   | data               | header | digest  | data                              |
//
// The header tells what, where and which: length, seed of the data, offset on the disk, number of
// the write, and a crc32c of itself. The digest covers all data of the interval, both sides of
// the header. A check goes through the header field by field and then the digest, so that a block
// that was lost, torn, misplaced or left stale is told from one that was damaged.
//
//   kind             header   digest                     data
//   crc..., xxhash   yes      u64                        random, or verify_pattern
//   host             yes      JavaScript's (md5, sha*)   random, or verify_pattern
//   meta             yes      none, data not checked     random, or verify_pattern
//   pattern_hdr      yes      none, data compared        verify_pattern
//   pattern          no       none, data compared        verify_pattern
//   null             no       none, nothing checked      random, or verify_pattern
//
// Host kinds are filled and checked here but for the digest (src/workload/verify-host.ts).
// A block that was rewritten while it was being read back is not an error: readback.ts knows.
// Reads of a job that also writes are not checked, but for those of its read-back.
// Unlike fio's, the header holds no time and no thread, and blocks are not readable by fio.

import { pattern_check, pattern_fill, stream_fill } from './buffer'
import { checksum, crc32c } from './checksum'
import {
  BAD_DATA, BAD_HEADER, BAD_KIND, BAD_LENGTH, BAD_MAGIC, BAD_NUMBER, BAD_OFFSET, BAD_PATTERN,
  BAD_SEED, BAD_ZEROES, JOB_VER, JV_BAD_FILE, JV_BAD_GOT, JV_BAD_OFFSET, JV_BAD_WANT, JV_BAD_WHY,
  JV_CHECKED, JV_CHECK_READS, JV_ERRORS, JV_GOT, JV_HEADER, JV_INTERVAL, JV_KIND, JV_OFFSET,
  JV_PATTERN, JV_SEED, JV_TABLES, JV_WANT, VERIFY_ANY, VERIFY_NULL, VERIFY_PATTERN,
  VERIFY_PATTERN_HDR, VERIFY_ZEROES, VH_CRC, VH_DIGEST, VH_KIND, VH_LEN, VH_MAGIC, VH_MAGIC_VALUE,
  VH_NUMBER, VH_OFFSET, VH_SEED, VH_SIZE,
} from './layout'
import { GAMMA, mix64 } from './prng'
import { verify_overtaken } from './readback'

/** The seed of an interval's data. */
function data_seed(v: usize, disk: u64, number: u32): u64 {
  return mix64(mix64(load<u64>(v, JV_SEED) + disk) + (<u64>number + 1) * GAMMA)
}

/**
 * What the header says beside magic and kind: the header's length tells the host's digests apart.
 */
function kind_word(v: usize): u32 {
  return load<u32>(v, JV_KIND) | (load<u32>(v, JV_HEADER) << 8)
}

/** The digest of the interval at `at`, around its header. */
function digest(v: usize, at: usize, len: u32): u64 {
  const kind = load<u32>(v, JV_KIND)
  const tables = <usize>load<u32>(v, JV_TABLES)
  const before = load<u32>(v, JV_OFFSET)
  const after = before + load<u32>(v, JV_HEADER)
  const sum = before ? checksum(kind, tables, at, before, 0) : 0
  return checksum(kind, tables, at + after, len - after, sum)
}

/** Whether the kind has a checksum that is computed here. */
function has_digest(v: usize): bool {
  return load<u32>(v, JV_HEADER) == VH_SIZE + 8
}

function fill_interval(v: usize, at: usize, disk: u64, number: u32): void {
  const len = load<u32>(v, JV_INTERVAL)
  const seed = data_seed(v, disk, number)
  const pattern = <usize>load<u32>(v, JV_PATTERN)
  if (pattern) pattern_fill(at, len, pattern, disk)
  else stream_fill(at, len, seed)
  const header = load<u32>(v, JV_HEADER)
  if (!header) return
  const h = at + load<u32>(v, JV_OFFSET)
  store<u16>(h, VH_MAGIC_VALUE, VH_MAGIC)
  store<u16>(h, kind_word(v), VH_KIND)
  store<u32>(h, len, VH_LEN)
  store<u64>(h, seed, VH_SEED)
  store<u64>(h, disk, VH_OFFSET)
  store<u32>(h, number, VH_NUMBER)
  store<u32>(h, crc32c(load<u32>(v, JV_TABLES), h, VH_CRC, 0), VH_CRC)
  if (has_digest(v)) store<u64>(h, digest(v, at, len), VH_DIGEST)
}

/**
 * Writes headers and data of a write of `len` bytes at `disk` (bytes from the start of the disk).
 */
export function verify_fill(job: usize, buf: usize, disk: u64, len: u32, number: u32): void {
  const v = job + JOB_VER
  const interval = load<u32>(v, JV_INTERVAL)
  for (let i: u32 = 0; i < len; i += interval) fill_interval(v, buf + i, disk + i, number)
}

/** Remembers what was read and expected. */
function bad(v: usize, why: u32, got: u64, want: u64): u32 {
  store<u64>(v, got, JV_GOT)
  store<u64>(v, want, JV_WANT)
  return why
}

function check_header(v: usize, h: usize, disk: u64, number: u32): u32 {
  const magic = <u64>load<u16>(h, VH_MAGIC)
  if (magic != VH_MAGIC_VALUE) return bad(v, BAD_MAGIC, magic, VH_MAGIC_VALUE)
  const crc = crc32c(load<u32>(v, JV_TABLES), h, VH_CRC, 0)
  if (load<u32>(h, VH_CRC) != crc) return bad(v, BAD_HEADER, load<u32>(h, VH_CRC), crc)
  const kind = <u32>load<u16>(h, VH_KIND)
  if (kind != kind_word(v)) return bad(v, BAD_KIND, kind, kind_word(v))
  const len = load<u32>(h, VH_LEN)
  const interval = load<u32>(v, JV_INTERVAL)
  if (len != interval) return bad(v, BAD_LENGTH, len, interval)
  const offset = load<u64>(h, VH_OFFSET)
  if (offset != disk) return bad(v, BAD_OFFSET, offset, disk)
  if (number == VERIFY_ANY) return 0
  const got = load<u32>(h, VH_NUMBER)
  if (got != number) return bad(v, BAD_NUMBER, got, number)
  const seed = data_seed(v, disk, number)
  if (load<u64>(h, VH_SEED) != seed) return bad(v, BAD_SEED, load<u64>(h, VH_SEED), seed)
  return 0
}

function check_digest(v: usize, at: usize): u32 {
  const h = at + load<u32>(v, JV_OFFSET)
  const want = load<u64>(h, VH_DIGEST)
  const got = digest(v, at, load<u32>(v, JV_INTERVAL))
  return got == want ? 0 : bad(v, BAD_DATA, got, want)
}

/** Compares the data around the header, if there is one, with the pattern. */
function check_pattern(v: usize, at: usize, disk: u64): u32 {
  const len = load<u32>(v, JV_INTERVAL)
  const pattern = <usize>load<u32>(v, JV_PATTERN)
  const header = load<u32>(v, JV_HEADER)
  const before = header ? load<u32>(v, JV_OFFSET) : 0
  let wrong = pattern_check(at, 0, before, pattern, disk)
  if (wrong == before) wrong = pattern_check(at, before + header, len, pattern, disk)
  return wrong == len ? 0 : bad(v, BAD_PATTERN, load<u8>(at + wrong), wrong)
}

function check_zeroes(v: usize, at: usize): u32 {
  const len = load<u32>(v, JV_INTERVAL)
  for (let i: u32 = 0; i < len; i++) {
    if (load<u8>(at + i)) return bad(v, BAD_ZEROES, load<u8>(at + i), i)
  }
  return 0
}

function check_interval(v: usize, at: usize, disk: u64, number: u32): u32 {
  if (number == VERIFY_ZEROES) return check_zeroes(v, at)
  const kind = load<u32>(v, JV_KIND)
  if (load<u32>(v, JV_HEADER)) {
    const why = check_header(v, at + load<u32>(v, JV_OFFSET), disk, number)
    if (why) return why
  }
  if (has_digest(v)) return check_digest(v, at)
  const pattern = kind == VERIFY_PATTERN || kind == VERIFY_PATTERN_HDR
  return pattern ? check_pattern(v, at, disk) : 0
}

/** Counts a failure, and keeps the first. */
function count_bad(v: usize, why: u32, file: u32, disk: u64): void {
  const errors = load<u64>(v, JV_ERRORS)
  store<u64>(v, errors + 1, JV_ERRORS)
  if (errors) return
  store<u32>(v, why, JV_BAD_WHY)
  store<u32>(v, file, JV_BAD_FILE)
  store<u64>(v, disk, JV_BAD_OFFSET)
  store<u64>(v, load<u64>(v, JV_GOT), JV_BAD_GOT)
  store<u64>(v, load<u64>(v, JV_WANT), JV_BAD_WANT)
}

/**
 * Checks the intervals of a read of `len` bytes at `disk`, of the region `file`, against the write
 * `number` (VERIFY_ANY: whichever it was; VERIFY_ZEROES: trimmed). Gives 0, or BAD_* of the first
 * interval that fails; JV_GOT and JV_WANT then say what was read and expected (bytes of a pattern
 * or of a trimmed interval: what was read, and where in the interval).
 */
export function verify_check(
  job: usize, file: u32, buf: usize, disk: u64, len: u32, number: u32,
): u32 {
  const v = job + JOB_VER
  if (load<u32>(v, JV_KIND) == VERIFY_NULL) return 0
  if (number == VERIFY_ANY && !load<u32>(v, JV_CHECK_READS)) return 0
  const interval = load<u32>(v, JV_INTERVAL)
  for (let i: u32 = 0; i + interval <= len; i += interval) {
    store<u64>(v, load<u64>(v, JV_CHECKED) + 1, JV_CHECKED)
    const why = check_interval(v, buf + i, disk + i, number)
    if (!why || verify_overtaken(job, file, disk + i, number)) continue
    count_bad(v, why, file, disk + i)
    return why
  }
  return 0
}

/**
 * A digest that the host compared (VERIFY_HOST) does not fit; JV_GOT and JV_WANT are filled.
 * Gives BAD_DATA, or 0 when the interval was written again meanwhile.
 */
export function verify_digest_bad(job: usize, file: u32, disk: f64, number: u32): u32 {
  if (verify_overtaken(job, file, <u64>disk, number)) return 0
  count_bad(job + JOB_VER, BAD_DATA, file, <u64>disk)
  return BAD_DATA
}
