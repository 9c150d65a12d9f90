// PRPs as a host would build them: a first page with an offset, then whole pages anywhere, with lists that may begin
// inside a page and go on in further pages (nvme-spec 14).

import type { View } from '../../../src/core/view.js'

export const PAGE = 4096

export interface Prps {
  readonly prp1: number
  readonly prp2: number
}

/** Pages that a transfer touches. */
export function prpEntries(offset: number, len: number): number {
  return 1 + Math.ceil(Math.max(0, len - (PAGE - offset)) / PAGE)
}

/** Pages of lists for so many entries behind PRP1, when the first begins at slot `slot`. */
export function listPages(entries: number, slot: number): number {
  let pages = 1
  for (let left = entries - (512 - slot); left > 0; left -= 511) {
    // The last slot of the page before became a pointer: its entry moves on.
    pages++
  }
  return pages
}

/**
 * Writes the PRPs of a transfer.
 * @param pages data pages in order, as many as prpEntries says
 * @param offset of the first byte in pages[0]
 * @param lists pages for lists, as many as listPages says
 * @param slot where the first list begins in its page, in entries
 */
export function buildPrps(
  view: View,
  pages: readonly number[],
  offset: number,
  lists: readonly number[],
  slot: number,
): Prps {
  const prp1 = pages[0]! + offset
  const rest = pages.slice(1)
  if (rest.length <= 1) return { prp1, prp2: rest[0] ?? 0 }
  let list = 0
  let at = lists[0]! + slot * 8
  const prp2 = at
  rest.forEach((page, i) => {
    const last = i === rest.length - 1
    if (at % PAGE === PAGE - 8 && !last) {
      const next = lists[++list]!
      view.setU64(at, next)
      at = next
    }
    view.setU64(at, page)
    at += 8
  })
  return { prp1, prp2 }
}

/** Copies between a plain array and the pages of a transfer. */
export function spread(
  pages: readonly number[],
  offset: number,
  len: number,
  each: (address: number, from: number, bytes: number) => void,
): void {
  let done = 0
  pages.forEach((page, i) => {
    const address = i === 0 ? page + offset : page
    const bytes = Math.min(len - done, PAGE - (i === 0 ? offset : 0))
    each(address, done, bytes)
    done += bytes
  })
}
