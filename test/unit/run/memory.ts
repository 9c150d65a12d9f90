// A piece of shared memory with one job block in it, for tests that need no machine.
import { HIST_BUCKETS, JOB_SIZE, LOG_SIZE, LS_HIST } from '../../../assembly/layout.js'
import { View } from '../../../src/core/view.js'

export const JOB = 4096
export const LOG: number = JOB + 2 * JOB_SIZE
export const HISTS: number = LOG + 64 * LOG_SIZE

export function newView(): View {
  return new View(new SharedArrayBuffer(HISTS + 16 * HIST_BUCKETS * 4))
}

/** Gives a latency block a histogram of its own. */
export function giveHistogram(view: View, ls: number, index: number): void {
  view.setU32(ls + LS_HIST, HISTS + index * HIST_BUCKETS * 4)
}
