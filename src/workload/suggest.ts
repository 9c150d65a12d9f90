// The nearest right name for a wrong one, by edit distance (insertions, deletions, substitutions, swaps of neighbours).

/** Distance of two words, or `limit + 1` as soon as it must be larger than `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) best = Math.min(best, before[j - 2]! + 1)
      next.push(best)
    }
    if (Math.min(...next) > limit) return limit + 1
    before = row
    row = next
  }
  return row[b.length]!
}

/**
 * The candidate nearest to `word`: at most a third of its letters may be wrong (and one is always allowed).
 * The first of equally near ones wins; undefined when none is near. Case and the choice of - or _ do not count.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll('-', '_')
  // Nobody mistypes a name this long; do not spend time on it.
  if (word.length > 64) return undefined
  const wanted = plain(word)
  let limit = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate), limit)
    if (distance <= limit) {
      best = candidate
      limit = distance - 1
    }
    if (limit < 0) break
  }
  return best
}

/** `; did you mean X?` or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const name = nearest(word, candidates)
  return name === undefined ? '' : `; did you mean ${name}?`
}
