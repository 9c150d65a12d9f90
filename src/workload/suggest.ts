// The nearest right name for a wrong one, by edit distance (insertions, deletions, substitutions, swaps of neighbours).

/** Distance of two words, or `limit + 1` as soon as it must be larger than `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let [before, row, next] = [rows[0]!, rows[1]!, rows[2]!]
  for (let j = 0; j <= b.length; j++) row[j] = j
  for (let i = 1; i <= a.length; i++) {
    let least = (next[0] = i)
    for (let j = 1; j <= b.length; j++) {
      const cost = a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1
      let best = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + cost)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) best = Math.min(best, before[j - 2]! + 1)
      next[j] = best
      if (best < least) least = best
    }
    if (least > limit) return limit + 1
    ;[before, row, next] = [row, next, before]
  }
  return row[b.length]!
}

/** Three rows of the table of distances, used again and again. */
const rows: readonly number[][] = [[], [], []]

/** Candidates are the same few hundred names again and again. */
const plainNames = new Map<string, string>()

function plain(text: string): string {
  return text.toLowerCase().replaceAll('-', '_')
}

function plainName(candidate: string): string {
  let name = plainNames.get(candidate)
  if (name === undefined) plainNames.set(candidate, (name = plain(candidate)))
  return name
}

/**
 * The candidate nearest to `word`: at most a third of its letters may be wrong (and one is always allowed).
 * The first of equally near ones wins; undefined when none is near. Case and the choice of - or _ do not count.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  // Nobody mistypes a name this long; do not spend time on it.
  if (word.length > 64) return undefined
  const wanted = plain(word)
  let limit = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plainName(candidate), limit)
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
