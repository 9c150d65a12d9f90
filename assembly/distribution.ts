// Where random I/Os fall: random_distribution, and the waiting times of rate_process=poisson.
//
//   uniform    every block alike
//   zipf       rank k (from 1) has a share proportional to 1 / k^theta; ranks are scattered over
//              the region by a permutation, the first at the centre if one is given
//   pareto     rank n * u^(log h / log(1 - h)), which gives a share 1 - h of the I/Os to a part h
//              of the blocks; scattered likewise
//   normal     the mean of twelve uniform draws, which has a deviation of n / 12, plus a uniform draw
//              as wide as the deviation asked for (percent of the region): fio's form of it;
//              scattered, the middle rank at the centre if one is given
//   zoned      a zone by its share of the accesses, then uniform in it
//   sequence   a list of blocks, over and over
//
// zipf is drawn exactly, by rejection-inversion (Hormann and Derflinger 1996), for any theta but
// 1. The arithmetic is compiled into the core and the same on every machine.

import {
  DIST_NORMAL, DIST_PARETO, DIST_UNIFORM, DIST_ZIPF, DIST_ZONED, DS_A, DS_B, DS_C, DS_CENTRE,
  DS_KEY, DS_KIND, DS_N, DS_PARAM, DS_PERM_BITS, DS_SHIFT, DS_TABLE, JG_RNG_RATE, JOB_GEN,
  ZN_ACCESS, ZN_LENGTH, ZN_SIZE, ZN_START,
} from './layout'
import { permute, permute_bits } from './permute'
import { prng_below, prng_next, prng_unit } from './prng'

/** Uniform draws whose mean is nearly normal. */
const NORMAL_DRAWS: u64 = 12

/** x^y for x >= 0. The library's own pow passes half of its result in a mutable global. */
function power(x: f64, y: f64): f64 {
  return NativeMath.exp(y * NativeMath.log(x))
}

/** The integral of x^-theta, up to a constant. */
function zipf_integral(x: f64, theta: f64): f64 {
  return power(x, 1.0 - theta) / (1.0 - theta)
}

function zipf_inverse(y: f64, theta: f64): f64 {
  return power(y * (1.0 - theta), 1.0 / (1.0 - theta))
}

function zipf_init(ds: usize, n: u64): void {
  const theta = load<f64>(ds, DS_PARAM)
  const second = zipf_integral(2.5, theta) - power(2.0, -theta)
  store<f64>(ds, zipf_integral(1.5, theta) - 1.0, DS_A)
  store<f64>(ds, zipf_integral(<f64>n + 0.5, theta), DS_B)
  store<f64>(ds, 2.0 - zipf_inverse(second, theta), DS_C)
}

/** A rank from 0. */
function zipf_rank(ds: usize, n: u64, rng: usize): u64 {
  const theta = load<f64>(ds, DS_PARAM)
  const top = load<f64>(ds, DS_A)
  const end = load<f64>(ds, DS_B)
  while (true) {
    const u = end + prng_unit(rng) * (top - end)
    const x = zipf_inverse(u, theta)
    const k = min(max(floor(x + 0.5), 1.0), <f64>n)
    if (k - x <= load<f64>(ds, DS_C)) return <u64>k - 1
    if (u >= zipf_integral(k + 0.5, theta) - power(k, -theta)) return <u64>k - 1
  }
}

/** What the kind keeps in DS_A to DS_C. */
function parameters(ds: usize, kind: u32, n: u64): void {
  const param = load<f64>(ds, DS_PARAM)
  if (kind == DIST_ZIPF) zipf_init(ds, n)
  else if (kind == DIST_PARETO) {
    store<f64>(ds, NativeMath.log(param) / NativeMath.log(1.0 - param), DS_A)
  } else store<f64>(ds, min(ceil((<f64>n * param) / 100.0), floor(<f64>n / 2.0)), DS_A)
}

/** Prepares the distribution for `n` blocks; its keys (DS_KEY) are drawn already. */
export function dist_init(ds: usize, n: u64): void {
  const kind = load<u32>(ds, DS_KIND)
  if ((kind != DIST_ZIPF && kind != DIST_PARETO && kind != DIST_NORMAL) || n == 0) return
  const bits = permute_bits(n)
  store<u32>(ds, bits, DS_PERM_BITS)
  const centre = load<f64>(ds, DS_CENTRE)
  const hottest = permute(kind == DIST_NORMAL ? n / 2 : 0, n, bits, ds + DS_KEY)
  const wanted = centre < 0.0 ? hottest : min(<u64>(centre * <f64>n), n - 1)
  store<u64>(ds, (wanted + n - hottest) % n, DS_SHIFT)
  parameters(ds, kind, n)
}

/** The block of a rank. */
function scatter(ds: usize, n: u64, rank: u64): u64 {
  const block = permute(rank, n, load<u32>(ds, DS_PERM_BITS), ds + DS_KEY) + load<u64>(ds, DS_SHIFT)
  return block >= n ? block - n : block
}

/** A rank around n / 2. */
function normal_rank(ds: usize, n: u64, rng: usize): u64 {
  let sum: u64 = 0
  for (let i: u64 = 0; i < NORMAL_DRAWS; i++) sum += prng_below(rng, n + 1)
  const rank = <i64>min((sum + NORMAL_DRAWS - 1) / NORMAL_DRAWS, n - 1)
  const width = load<f64>(ds, DS_A)
  let off = <i64>(width * prng_unit(rng)) - <i64>width / 2
  while (<u64>(rank + off) >= n) off /= 2
  return <u64>(rank + off)
}

function zoned_block(ds: usize, n: u64, rng: usize): u64 {
  const r = <u32>(prng_next(rng) >> 32)
  let zone: usize = load<u32>(ds, DS_TABLE)
  const last = zone + (load<u32>(ds, DS_N) - 1) * ZN_SIZE
  while (zone < last && r >= load<u32>(zone, ZN_ACCESS)) zone += ZN_SIZE
  const block = load<u64>(zone, ZN_START) + prng_below(rng, load<u64>(zone, ZN_LENGTH))
  return block < n ? block : block % n
}

function sequence_block(ds: usize, n: u64, at: usize): u64 {
  const i = load<u32>(at)
  store<u32>(at, i + 1 == load<u32>(ds, DS_N) ? 0 : i + 1)
  return load<u64>(load<u32>(ds, DS_TABLE) + (i << 3)) % n
}

/** A block below `n`, drawn with `rng`. `at` is the place in the list of a sequence. */
export function dist_next(ds: usize, n: u64, rng: usize, at: usize): u64 {
  const kind = load<u32>(ds, DS_KIND)
  if (kind == DIST_UNIFORM) return prng_below(rng, n)
  if (kind == DIST_ZIPF) return scatter(ds, n, zipf_rank(ds, n, rng))
  if (kind == DIST_PARETO) {
    const share = power(prng_unit(rng), load<f64>(ds, DS_A))
    return scatter(ds, n, min(<u64>(<f64>n * share), n - 1))
  }
  if (kind == DIST_NORMAL) return scatter(ds, n, normal_rank(ds, n, rng))
  if (kind == DIST_ZONED) return zoned_block(ds, n, rng)
  return sequence_block(ds, n, at)
}

/** Time to the next arrival, exponential with this mean (rate_process=poisson). */
export function exp_interval(job: usize, mean: f64): f64 {
  return -mean * NativeMath.log(1.0 - prng_unit(job + JOB_GEN + JG_RNG_RATE))
}
