// One bitmap, several threads: the one that is timed, and others that take and free bits all the time.

import { Worker } from 'node:worker_threads'
import { distUrl } from '../../src/core/wasm.js'
import type { ChurnData } from './churn.worker.js'
import { bitmapOf, churnLoop, type Loop } from './loops.js'

/** A loop with company; `end` sends it away. */
export interface Crowd {
  readonly loop: Loop
  readonly end: () => Promise<void>
}

/** `threads` of them on a bitmap of `depth` bits, of which `held` are taken. */
export async function crowdedBitmap(depth: number, held: number, threads: number): Promise<Crowd> {
  const bitmap = await bitmapOf(depth, held, threads)
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const others = Array.from({ length: threads - 1 }, (_, i) => {
    const workerData: ChurnData = { bitmap, thread: i + 1, stop }
    return new Worker(distUrl('bench/micro/churn.worker.js'), { workerData })
  })
  const running = (one: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => {
      one.once('message', resolve)
      one.once('error', reject)
    })
  await Promise.all(others.map(running))
  return {
    loop: await churnLoop(bitmap),
    end: async () => {
      Atomics.store(stop, 0, 1)
      await Promise.all(others.map(one => new Promise(resolve => one.once('exit', resolve))))
    },
  }
}
