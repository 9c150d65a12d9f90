// The threads of a machine in real time: a pool of workers, one for each CPU and each device thread, whose one task
// lasts as long as the machine runs.
//
//   spawn   at boot, before anything else: the workers load their files while the main thread compiles and boots. A pool that
//           was begun still earlier has the first of them
//   start   each worker gets its task; resolves when all of them are about to enter their loops
//   stop    after M_STOP: waits for the tasks, then ends the workers
//
// A thread that ends before M_STOP, whatever the reason, is a failure: the others are stopped, and whoever waits for the
// machine learns of it.

import { availableParallelism } from 'node:os'
import { MessageChannel, type Worker } from 'node:worker_threads'
import { OutputError } from '../core/errors.js'
import type { NullbOptions } from '../drivers/block/null_blk.js'
import type { ClockOrigin } from './clock.js'
import type { ThreadMessage, ThreadTask } from './cpu.js'
import type { Piscina } from 'piscina'
import { type ThreadPool, threadPool } from './thread-pool.js'
import { threadTime } from './thread-time.js'

/** How long threads have to end by themselves, ms: they look at M_STOP about every millisecond. */
const STOP_MS = 150

/** What the threads report, on the main thread. */
export interface ThreadEvents {
  readonly done: (job: number) => void
  readonly message: (message: unknown, cpu: number) => void
  readonly failed: (error: Error) => void
}

/** What all threads of a machine share. */
export interface ThreadSetup {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly origin: ClockOrigin
  /** CPUs with a thread of their own. */
  readonly cpus: number
  /** null_blk disks in whose commands TypeScript has a part. */
  readonly nullBlk: readonly NullbOptions[]
  /** Numbers of the devices with a thread of their own. */
  readonly devices: readonly number[]
}

/** Cores that the process may use. */
export function hostCores(): number {
  return availableParallelism()
}

/** The pools and their tasks. */
export class Threads {
  readonly #pools: readonly ThreadPool[]
  readonly #workerFile: URL
  readonly #crowded: boolean
  readonly #tasks: Promise<void>[] = []
  readonly #host: { kind: ThreadTask['kind']; index: number; thread: number }[] = []
  #events: ThreadEvents | undefined
  #resolveReady: (() => void)[] = []
  #early: Error | undefined
  #stopping = false

  /**
   * Spawns `count` workers that load `workerFile`.
   * @param early of which these have been spawned already, if they load the same file
   */
  constructor(count: number, workerFile: URL, early?: ThreadPool) {
    this.#workerFile = workerFile
    this.#crowded = count > hostCores()
    const first = early?.file === workerFile.href ? [early] : []
    const rest = count - (first[0]?.count ?? 0)
    this.#pools = rest > 0 ? [...first, threadPool(rest, workerFile)] : first
    for (const { pool } of this.#pools)
      pool.on('error', (error: Error) => this.#fail('a thread', error))
  }

  /**
   * Gives every worker its task; resolves when every thread is about to enter its loop, or has failed.
   * @param workerFile another file than the one the workers have loaded
   */
  async start(setup: ThreadSetup, events: ThreadEvents, workerFile?: URL): Promise<void> {
    this.#events = events
    if (this.#early) events.failed(this.#early)
    const file = workerFile ?? this.#workerFile
    const ready: Promise<void>[] = []
    for (let i = 0; i < setup.cpus; i++) ready.push(this.#launch('cpu', i, setup, file))
    for (const dev of setup.devices) ready.push(this.#launch('device', dev, setup, file))
    await Promise.all(ready)
  }

  /** Gives one thread its task. Resolves when it says that it is ready, or anything has failed. */
  #launch(kind: ThreadTask['kind'], index: number, setup: ThreadSetup, file: URL): Promise<void> {
    const { port1, port2 } = new MessageChannel()
    const { module, memory, origin, nullBlk } = setup
    const crowded = this.#crowded
    const task: ThreadTask = { kind, index, module, memory, origin, crowded, nullBlk, port: port2 }
    const name = kind === 'cpu' ? `CPU ${index}` : `the thread of device ${index}`
    return new Promise(resolve => {
      this.#resolveReady.push(resolve)
      port1.on('message', (message: ThreadMessage) => {
        if (message.type === 'ready') {
          this.#host.push({ kind, index, thread: message.thread })
          resolve()
        } else if (message.type === 'done') this.#events?.done(message.job)
        else this.#events?.message(message.message, index)
      })
      port1.unref()
      const life = this.#pool(this.#tasks.length)
        .run(task, { transferList: [port2], filename: file.href })
        .then(
          () => this.#fail(name, new Error('it ended by itself')),
          (error: Error) => this.#fail(name, error),
        )
      this.#tasks.push(life.finally(() => port1.close()))
    })
  }

  /** The pool of a task, by its number: each pool has as many as it has workers. */
  #pool(task: number): Piscina {
    let first = 0
    const own = this.#pools.find(({ count }) => task < (first += count))
    if (!own) throw new Error(`there is no thread ${task}`)
    return own.pool
  }

  #fail(name: string, error: Error): void {
    if (this.#stopping) return
    const failure = new OutputError(`${name} died: ${error.message}`)
    failure.cause = error
    this.#early ??= failure
    this.#events?.failed(failure)
    for (const resolve of this.#resolveReady.splice(0)) resolve()
  }

  /** After M_STOP was set and everybody woken: waits for the threads, then ends those that did not end. */
  async stop(): Promise<void> {
    this.#stopping = true
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>(resolve => {
      timer = setTimeout(resolve, STOP_MS)
    })
    await Promise.race([Promise.all(this.#tasks), patience])
    clearTimeout(timer)
    await Promise.all(this.#pools.map(({ pool }) => pool.destroy()))
    await Promise.all(this.#tasks)
  }

  /** CPU time that a CPU's or a device's thread has used since it began, ns; NaN where the host does not tell. */
  cpuTime(kind: ThreadTask['kind'], index: number): number {
    const host = this.#host.find(one => one.kind === kind && one.index === index)
    return host ? threadTime(host.thread) : Number.NaN
  }

  get workers(): readonly Worker[] {
    return this.#pools.flatMap(({ pool }) => pool.threads)
  }
}
