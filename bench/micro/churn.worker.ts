// A thread that takes and frees bits of a shared bitmap until it is told to stop: company for a measurement.

import { parentPort, workerData } from 'node:worker_threads'
import { type Bitmap, churnLoop } from './loops.js'

/** What the thread is given. */
export interface ChurnData {
  readonly bitmap: Bitmap
  readonly thread: number
  /** 1: stop. */
  readonly stop: Int32Array
}

const { bitmap, thread, stop } = workerData as ChurnData
const loop = await churnLoop(bitmap, thread)
parentPort!.postMessage('running')
while (Atomics.load(stop, 0) === 0) loop(1000)
