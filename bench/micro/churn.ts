// What a thread of churn.worker.ts is told.

import type { Bitmap } from './loops.js'

/** On what it is to work. */
export const CHURN_CORE = 0
export const CHURN_TWIN = 1
export const CHURN_STOP = 2

/** What the thread is given. */
export interface ChurnData {
  readonly bitmap: Bitmap
  /** The twin's bitmap, and how many of its bits each thread holds. */
  readonly words: Int32Array
  readonly held: number
  readonly thread: number
  /** One of CHURN_*. */
  readonly which: Int32Array
}
