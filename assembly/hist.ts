// Latency statistics of one kind (slat, clat or lat) and direction: count, extremes, sums, and fio's
// histogram: values below 128 exactly, above that 64 buckets to each power of two (error 1/128).

import {
  HIST_BITS, HIST_BUCKETS, LS_HIST, LS_MAX, LS_MIN, LS_N, LS_SHIFT, LS_SUM, LS_SUMSQ,
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
  const v = <f64>value
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
