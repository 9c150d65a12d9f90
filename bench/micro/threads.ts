// One bitmap, several threads: the one that is timed, and others that take and free bits all the time. The twin in plain
// JavaScript has a bitmap of its own and the same company: the others work on whichever is being timed.

import { Worker } from 'node:worker_threads'
import { distUrl } from '../../src/core/wasm.js'
import { CHURN_CORE, CHURN_STOP, CHURN_TWIN, type ChurnData } from './churn.js'
import { bitmapOf, churnLoop, type Loop } from './loops.js'
import { sharedBitmapTwin, sharedWords } from './twins.js'

/** A loop with company; `end` sends it away. */
export interface Crowd {
  readonly loop: Loop
  readonly twin: Loop
  readonly end: () => Promise<void>
}

/** `threads` of them on a bitmap of `depth` bits, of which `held` are taken. */
export async function crowdedBitmap(depth: number, held: number, threads: number): Promise<Crowd> {
  const bitmap = await bitmapOf(depth, held, threads)
  const words = sharedWords(depth)
  const each = Math.max(1, Math.floor(held / threads))
  const which = new Int32Array(new SharedArrayBuffer(4))
  const others = Array.from({ length: threads - 1 }, (_, i) => {
    const workerData: ChurnData = { bitmap, words, held: each, thread: i + 1, which }
    return new Worker(distUrl('bench/micro/churn.worker.js'), { workerData })
  })
  const running = (one: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => {
      one.once('message', resolve)
      one.once('error', reject)
    })
  await Promise.all(others.map(running))
  const timed =
    (number: number, loop: Loop): Loop =>
    ops => {
      Atomics.store(which, 0, number)
      loop(ops)
    }
  return {
    loop: timed(CHURN_CORE, await churnLoop(bitmap)),
    twin: timed(CHURN_TWIN, sharedBitmapTwin(words, each, 0)),
    end: async () => {
      Atomics.store(which, 0, CHURN_STOP)
      await Promise.all(others.map(one => new Promise(resolve => one.once('exit', resolve))))
    },
  }
}
