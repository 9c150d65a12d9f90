// A benchmark on all cores at once: a worker for each, every one with a machine of its own, begun and ended together.
//
//   main thread                      worker
//   side, STOP = 0, TURN + 1 ──────▸ wakes, runs in short calls until STOP
//   sleeps for the slice
//   STOP = 1 ──────────────────────▸ writes its I/Os and its time, DONE + 1
//   wakes, adds up the rates
//
// The rate is the sum of the workers' own rates, so that a worker that wakes late is not counted as slow.

import { distUrl } from '../core/wasm.js'
import { Worker } from 'node:worker_threads'
import type { Probe, Spent } from './gate-probe.js'

/** Words of the control block. */
export const TURN = 0
export const STOP = 1
export const DONE = 2
/** Set when a worker failed. */
export const FAILED = 3
/** Set in the end. */
export const END = 4
export const WORDS = 8

/** What a worker is told. */
export interface SeatData {
  readonly control: Int32Array
  /** I/Os and ns of each worker. */
  readonly results: Float64Array
  readonly index: number
  readonly probe: string
  readonly name: string
}

/** How long a slice lasts, ms. */
const SLICE_MS = 8

/** How long a worker may take to boot, or to end a slice. */
const PATIENCE_MS = 60_000

/** The benchmark on all threads; each `run` is one slice, whatever is asked for. */
export class AllThreads implements Probe {
  readonly #workers: readonly Worker[]
  readonly #control: Int32Array
  readonly #results: Float64Array

  private constructor(workers: readonly Worker[], control: Int32Array, results: Float64Array) {
    this.#workers = workers
    this.#control = control
    this.#results = results
  }

  /** Boots a machine in each of `count` workers. @throws Error when one cannot */
  static async open(probe: string, name: string, count: number): Promise<AllThreads> {
    const control = new Int32Array(new SharedArrayBuffer(WORDS * 4))
    const results = new Float64Array(new SharedArrayBuffer(count * 16))
    const file = distUrl('lib/gate-seat.js')
    const workers = Array.from({ length: count }, (_, index) => {
      const workerData: SeatData = { control, results, index, probe, name }
      return new Worker(file, { workerData })
    })
    await Promise.all(
      workers.map(
        worker =>
          new Promise<void>((resolve, reject) => {
            worker.once('message', () => resolve())
            worker.once('error', reject)
          }),
      ),
    )
    return new AllThreads(workers, control, results)
  }

  run(): Spent {
    const control = this.#control
    Atomics.store(control, STOP, 0)
    Atomics.store(control, DONE, 0)
    Atomics.add(control, TURN, 1)
    Atomics.notify(control, TURN)
    // nobody wakes this: it is the length of the slice
    Atomics.wait(control, STOP, 0, SLICE_MS)
    Atomics.store(control, STOP, 1)
    let done = 0
    while ((done = Atomics.load(control, DONE)) < this.#workers.length) {
      const late = Atomics.wait(control, DONE, done, PATIENCE_MS) === 'timed-out'
      if (late || Atomics.load(control, FAILED)) throw new Error('a worker has failed')
    }
    return this.#sum()
  }

  /** One operation of all threads together takes 1 / (sum of their rates). */
  #sum(): Spent {
    let rate = 0
    let ops = 0
    for (let i = 0; i < this.#results.length; i += 2) {
      ops += this.#results[i]
      rate += this.#results[i] / this.#results[i + 1]
    }
    return { ops, ns: ops / rate }
  }

  async close(): Promise<void> {
    Atomics.store(this.#control, END, 1)
    Atomics.add(this.#control, TURN, 1)
    Atomics.notify(this.#control, TURN)
    await Promise.all(this.#workers.map(worker => worker.terminate()))
  }
}
