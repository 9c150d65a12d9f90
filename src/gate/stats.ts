// The statistics of the gate: quantiles, a rank test, resampling, and a correction for many comparisons.
//
//   quantile, median     of a list, between neighbours by linear interpolation
//   mannWhitney          are two lists shifted against each other? exact for short lists without ties
//   bootstrap            the distribution of any statistic under resampling, with a fixed seed
//   holm                 which of many p-values stand when all are looked at together
//
// Nothing here draws from the host: the same numbers and the same seed give the same answer everywhere.

import { Prng } from '../core/prng.js'

/** Lists up to this length are compared exactly by mannWhitney. */
const EXACT_UP_TO = 25

/** Ascending copy. */
export function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}

/** The value below which a share `q` (0 to 1) of an ascending list lies; NaN of none. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN
  const at = (sorted.length - 1) * q
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
}

/** The middle value; of an even number of values the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  return quantile(ascending(values), 0.5)
}

/** The lower of the two middle values: a value that was really there, for what must not be averaged. */
export function lowMedian(values: readonly number[]): number {
  return ascending(values)[Math.floor((values.length - 1) / 2)] ?? Number.NaN
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  return sum / values.length
}

/** Sample standard deviation (n - 1); 0 for fewer than two values. */
export function deviation(values: ArrayLike<number>): number {
  if (values.length < 2) return 0
  const middle = mean(values)
  let squares = 0
  for (let i = 0; i < values.length; i++) squares += (values[i] - middle) ** 2
  return Math.sqrt(squares / (values.length - 1))
}

/** The share of a standard normal distribution above `z`. */
export function normalTail(z: number): number {
  if (z < 0) return 1 - normalTail(-z)
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)
  if (z > 3) {
    // the continued fraction of Mills' ratio
    let rest = z
    for (let k = 60; k >= 1; k--) rest = z + k / rest
    return density / rest
  }
  let term = z
  let sum = z
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (z * z) / (2 * k + 1)
    sum += term
  }
  return 0.5 - density * sum
}

/** Ranks from 1 in the order of the input; equal values share the mean of their ranks. `ties` is the sum of t^3 - t. */
function ranksOf(values: readonly number[]): { ranks: number[]; ties: number } {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b])
  const ranks = new Array<number>(values.length)
  let ties = 0
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && values[order[to]] === values[order[from]]) to++
    for (let i = from; i < to; i++) ranks[order[i]] = (from + to + 1) / 2
    ties += (to - from) ** 3 - (to - from)
    from = to
  }
  return { ranks, ties }
}

/** The probability that U is at most `u` when `n` and `m` values without ties are mixed at random. */
function exactBelow(n: number, m: number, u: number): number {
  // ways[k][s]: choices of k of the ranks so far whose sum exceeds the smallest possible by s
  const most = n * m
  const ways = Array.from({ length: n + 1 }, () => new Float64Array(most + 1))
  ways[0][0] = 1
  for (let rank = 1; rank <= n + m; rank++) {
    for (let k = Math.min(n, rank); k >= 1; k--) {
      const shift = rank - k
      for (let s = most; s >= shift; s--) ways[k][s] += ways[k - 1][s - shift]
    }
  }
  const total = ways[n].reduce((a, b) => a + b, 0)
  return ways[n].slice(0, Math.floor(u) + 1).reduce((a, b) => a + b, 0) / total
}

/**
 * The two-sided Mann-Whitney test.
 * @returns `u`, how many pairs have the value of `a` above that of `b` (ties count half), and the p-value: exact for
 * lists up to 25 without ties, else by the normal distribution with corrections for ties and continuity; 1 when a list is empty
 */
export function mannWhitney(a: readonly number[], b: readonly number[]): { u: number; p: number } {
  const [n, m] = [a.length, b.length]
  if (n === 0 || m === 0) return { u: 0, p: 1 }
  const { ranks, ties } = ranksOf([...a, ...b])
  const u = ranks.slice(0, n).reduce((x, y) => x + y, 0) - (n * (n + 1)) / 2
  const low = Math.min(u, n * m - u)
  if (ties === 0 && n <= EXACT_UP_TO && m <= EXACT_UP_TO)
    return { u, p: Math.min(1, 2 * exactBelow(n, m, low)) }
  const all = n + m
  const variance = ((n * m) / 12) * (all + 1 - ties / (all * (all - 1)))
  if (variance <= 0) return { u, p: 1 }
  const z = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5) / Math.sqrt(variance)
  return { u, p: Math.min(1, 2 * normalTail(z)) }
}

/** Fills `into` with as many indices below its length, drawn with replacement; two from each number of the generator. */
function redraw(into: Int32Array, prng: Prng): Int32Array {
  const n = into.length
  for (let i = 0; i < n; i += 2) {
    const [low, high] = prng.next()
    into[i] = (low * n) / 0x100000000
    if (i + 1 < n) into[i + 1] = (high * n) / 0x100000000
  }
  return into
}

/**
 * The distribution of a statistic under resampling, ascending.
 * @param sizes how many values each group has; each is resampled for itself
 * @param statistic gets indices into each group
 */
export function bootstrap(
  sizes: readonly number[],
  statistic: (...groups: Int32Array[]) => number,
  resamples: number,
  seed: number,
): Float64Array {
  const prng = new Prng(seed)
  const groups = sizes.map(size => new Int32Array(size))
  const values = new Float64Array(resamples)
  for (let i = 0; i < resamples; i++) {
    values[i] = statistic(...groups.map(group => redraw(group, prng)))
  }
  return values.sort()
}

/** The middle share of an ascending distribution (percentile method). */
export function interval(distribution: Float64Array, level: number): { lo: number; hi: number } {
  const last = distribution.length - 1
  const out = Math.floor(((1 - level) / 2) * distribution.length)
  return { lo: distribution[Math.min(out, last)], hi: distribution[Math.max(last - out, 0)] }
}

/**
 * Holm's step-down correction: which hypotheses fall when the chance that any true one falls shall be at most `alpha`.
 * @returns for each p-value in the order given
 */
export function holm(pValues: readonly number[], alpha: number): boolean[] {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a] - pValues[b])
  const rejected = new Array<boolean>(pValues.length).fill(false)
  for (const [step, i] of order.entries()) {
    if (!(pValues[i] <= alpha / (pValues.length - step))) break
    rejected[i] = true
  }
  return rejected
}
