// A thread that takes and frees bits of a shared bitmap until it is told to stop: company for a measurement.

import { parentPort, workerData } from 'node:worker_threads'
import { CHURN_CORE, CHURN_STOP, type ChurnData } from './churn.js'
import { churnLoop } from './loops.js'
import { sharedBitmapTwin } from './twins.js'

const { bitmap, words, held, thread, which } = workerData as ChurnData
const core = await churnLoop(bitmap, thread)
const twin = sharedBitmapTwin(words, held, thread)
parentPort!.postMessage('running')
for (;;) {
  const now = Atomics.load(which, 0)
  if (now === CHURN_STOP) break
  const loop = now === CHURN_CORE ? core : twin
  loop(1000)
}
