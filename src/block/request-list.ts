// Lists of requests in the shared memory: {head, tail} words, linked through RQ_FLUSH_NEXT and RQ_FLUSH_PREV of the
// slots. Only the thread that owns the hardware queue touches them.

import { RQ_FLUSH_NEXT, RQ_FLUSH_PREV } from '../../assembly/layout.js'
import type { View } from '../core/view.js'

/** The first request of a list, 0 if it is empty. */
export function first(view: View, list: number): number {
  return view.u32(list)
}

/** Appends a request. */
export function append(view: View, list: number, rq: number): void {
  const tail = view.u32(list + 4)
  view.setU32(rq + RQ_FLUSH_NEXT, 0)
  view.setU32(rq + RQ_FLUSH_PREV, tail)
  view.setU32(tail ? tail + RQ_FLUSH_NEXT : list, rq)
  view.setU32(list + 4, rq)
}

/** Takes a request out of the list that it stands on. */
export function remove(view: View, list: number, rq: number): void {
  const next = view.u32(rq + RQ_FLUSH_NEXT)
  const prev = view.u32(rq + RQ_FLUSH_PREV)
  view.setU32(prev ? prev + RQ_FLUSH_NEXT : list, next)
  view.setU32(next ? next + RQ_FLUSH_PREV : list + 4, prev)
}

/** Empties a list and returns its requests in order. */
export function takeAll(view: View, list: number): number[] {
  const all: number[] = []
  for (let rq = view.u32(list); rq; rq = view.u32(rq + RQ_FLUSH_NEXT)) all.push(rq)
  view.setU32(list, 0)
  view.setU32(list + 4, 0)
  return all
}
