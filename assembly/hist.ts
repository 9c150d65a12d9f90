// Latency statistics of one kind (slat, clat or lat) and direction: count, extremes, sums, and fio's
// histogram: values below 128 exactly, above that 64 buckets to each power of two (error 1/128).

import {
  HIST_BITS, HIST_BUCKETS, IOU_ISSUE_NS, IOU_NEXT, IOU_START_NS, LS_HIST, LS_MAX, LS_MIN, LS_N, LS_SHIFT, LS_SUM, LS_SUMSQ,
  STAT_CLAT, STAT_LAT, STAT_SLAT,
} from './layout'

/** The bucket of a value in ns. */
// @ts-ignore: decorator
@inline
export function plat_val_to_idx(value: u64): u32 {
  if (value < 2 << HIST_BITS) return <u32>value
  const shift: u32 = 63 - <u32>clz<u64>(value) - HIST_BITS
  const index = ((shift + 1) << HIST_BITS) + (<u32>(value >> shift) & ((1 << HIST_BITS) - 1))
  return min<u32>(index, HIST_BUCKETS - 1)
}

/** Records one value `times` times. Squares are taken of the distance to the first value: no cancellation. */
export function lat_record_n(ls: u32, value: u64, times: u32): void {
  const hist = load<u32>(ls, LS_HIST)
  if (!hist) return
  const n = load<u64>(ls, LS_N)
  const v = <f64><i64>value
  if (n == 0) {
    store<f64>(ls, v, LS_SHIFT)
    store<u64>(ls, value, LS_MIN)
    store<u64>(ls, value, LS_MAX)
  } else if (value < load<u64>(ls, LS_MIN)) {
    store<u64>(ls, value, LS_MIN)
  } else if (value > load<u64>(ls, LS_MAX)) {
    store<u64>(ls, value, LS_MAX)
  }
  store<u64>(ls, n + times, LS_N)
  store<f64>(ls, load<f64>(ls, LS_SUM) + v * <f64>times, LS_SUM)
  const d = v - load<f64>(ls, LS_SHIFT)
  store<f64>(ls, load<f64>(ls, LS_SUMSQ) + d * d * <f64>times, LS_SUMSQ)
  const bucket = hist + (plat_val_to_idx(value) << 2)
  store<u32>(bucket, load<u32>(bucket) + times)
}

/** Records for `n` io_us of a list the time from one stamp (a field) to another one, or to `now`. */
// @ts-ignore: decorator
@inline
function record_list(ls: u32, iou: u32, n: u32, from: u32, to: u32, now: u64): void {
  const hist = load<u32>(ls, LS_HIST)
  if (!hist) return
  const first = (to ? load<u64>(iou + to) : now) - load<u64>(iou + from)
  const before = load<u64>(ls, LS_N)
  const shift = before ? load<f64>(ls, LS_SHIFT) : <f64><i64>first
  let least = before ? load<u64>(ls, LS_MIN) : first
  let most = before ? load<u64>(ls, LS_MAX) : first
  let sum = load<f64>(ls, LS_SUM)
  let squares = load<f64>(ls, LS_SUMSQ)
  for (let left = n; left; left--) {
    const value = (to ? load<u64>(iou + to) : now) - load<u64>(iou + from)
    const v = <f64><i64>value
    const d = v - shift
    least = min<u64>(least, value)
    most = max<u64>(most, value)
    sum += v
    squares += d * d
    const bucket = hist + (plat_val_to_idx(value) << 2)
    store<u32>(bucket, load<u32>(bucket) + 1)
    iou = load<u32>(iou, IOU_NEXT)
  }
  store<u64>(ls, before + n, LS_N)
  store<u64>(ls, least, LS_MIN)
  store<u64>(ls, most, LS_MAX)
  store<f64>(ls, sum, LS_SUM)
  store<f64>(ls, squares, LS_SUMSQ)
  store<f64>(ls, shift, LS_SHIFT)
}

/** Submission, completion and total latency of the first `n` io_us of a list that end now (IOU_NEXT links them). */
export function lat_record_all(stat: u32, iou: u32, n: u32, now: u64): void {
  record_list(stat + STAT_SLAT, iou, n, IOU_START_NS, IOU_ISSUE_NS, now)
  record_list(stat + STAT_CLAT, iou, n, IOU_ISSUE_NS, 0, now)
  record_list(stat + STAT_LAT, iou, n, IOU_START_NS, 0, now)
}

/** Records one value. */
export function lat_record(ls: u32, value: u64): void {
  lat_record_n(ls, value, 1)
}

/** Forgets everything recorded (the end of the ramp). */
export function lat_reset(ls: u32): void {
  const hist = load<u32>(ls, LS_HIST)
  memory.fill(ls, 0, LS_HIST)
  if (hist) memory.fill(hist, 0, HIST_BUCKETS * 4)
}
