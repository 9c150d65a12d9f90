// Medians and ranges of a handful of rounds.

/** What a list of figures comes to. */
export interface Summary {
  /** How many were numbers. */
  readonly n: number
  readonly median: number
  readonly min: number
  readonly max: number
}

/** The middle value; of an even number of values the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  if (sorted.length === 0) return Number.NaN
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)]!
  return (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Median and range of those values that are finite. */
export function summarize(values: readonly number[]): Summary {
  const good = values.filter(Number.isFinite)
  return {
    n: good.length,
    median: median(good),
    min: good.length === 0 ? Number.NaN : Math.min(...good),
    max: good.length === 0 ? Number.NaN : Math.max(...good),
  }
}
