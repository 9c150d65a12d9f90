// A table of bad ranges: block/badblocks.c of Linux 4.19, as null_blk uses it.
//
// Up to MAX_BADBLOCKS entries, sorted by start and never overlapping; an entry covers at most BB_MAX_LEN sectors, a
// longer range takes several. `shift` is the sector size as a power of two above 512 bytes; -1 disables the table, and
// null_blk enables it with the first range that it is given.
//
// Left out: unacknowledged ranges and the seqlock (a table belongs to one thread).

import { enter, leave, type TraceHost } from '../kernel/trace.js'

/** Entries of a table: a page of u64. */
export const MAX_BADBLOCKS = 512
/** Sectors of one entry at most. */
export const BB_MAX_LEN = 512

interface Range {
  readonly start: number
  /** One past the last sector. */
  readonly end: number
}

/** struct badblocks. */
export class badblocks {
  /** -1 = disabled. */
  shift: number
  readonly ranges: Range[] = []

  constructor(enable: boolean) {
    this.shift = enable ? 0 : -1
  }
}

/** Index of the first range that ends behind `sector`. */
function firstBehind(ranges: readonly Range[], sector: number): number {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ranges[middle]!.end > sector) high = middle
    else low = middle + 1
  }
  return low
}

/** 0: none of `sectors` from `s` is bad; 1: some are. */
export function badblocks_check(k: TraceHost, bb: badblocks, s: number, sectors: number): 0 | 1 {
  const t = enter(k, 'badblocks_check')
  const range = bb.shift < 0 ? undefined : bb.ranges[firstBehind(bb.ranges, s)]
  return leave(k, t, range !== undefined && range.start < s + sectors ? 1 : 0)
}

/** Cuts ranges into entries of BB_MAX_LEN. */
function* entries(start: number, end: number): Generator<Range> {
  for (let at = start; at < end; at += BB_MAX_LEN)
    yield { start: at, end: Math.min(end, at + BB_MAX_LEN) }
}

/** Ranges that touch become one where an entry can hold them. */
function tidy(ranges: readonly Range[]): Range[] {
  const tidied: Range[] = []
  for (const { start, end } of ranges) {
    const last = tidied.at(-1)
    if (last !== undefined && last.end === start && end - last.start <= BB_MAX_LEN)
      tidied[tidied.length - 1] = { start: last.start, end }
    else tidied.push({ start, end })
  }
  return tidied
}

/** Everything of the table outside of [start, end). */
function without(ranges: readonly Range[], start: number, end: number): Range[] {
  return ranges.flatMap(range => {
    const parts: Range[] = []
    if (range.start < start) parts.push({ start: range.start, end: Math.min(range.end, start) })
    if (range.end > end) parts.push({ start: Math.max(range.start, end), end: range.end })
    return parts
  })
}

function change(bb: badblocks, ranges: readonly Range[]): 0 | 1 {
  const tidied = tidy(ranges)
  if (tidied.length > MAX_BADBLOCKS) return 1
  bb.ranges.splice(0, bb.ranges.length, ...tidied)
  return 0
}

/** Adds `sectors` from `s`. 0 = done; 1 = no room, and nothing changed. */
export function badblocks_set(k: TraceHost, bb: badblocks, s: number, sectors: number): 0 | 1 {
  const t = enter(k, 'badblocks_set')
  if (bb.shift < 0) return leave(k, t, 1)
  const rest = without(bb.ranges, s, s + sectors)
  const all = [...rest, ...entries(s, s + sectors)].sort((a, b) => a.start - b.start)
  return leave(k, t, change(bb, all))
}

/** Takes `sectors` from `s` off the table. 0 = done; 1 = a split found no room. */
export function badblocks_clear(k: TraceHost, bb: badblocks, s: number, sectors: number): 0 | 1 {
  const t = enter(k, 'badblocks_clear')
  return leave(k, t, change(bb, without(bb.ranges, s, s + sectors)))
}

/** The table as sysfs shows it: a line `start length` for each entry; empty while disabled. */
export function badblocks_show(bb: badblocks): string {
  if (bb.shift < 0) return ''
  return bb.ranges.map(({ start, end }) => `${start} ${end - start}\n`).join('')
}
