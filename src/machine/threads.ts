// The threads of a machine in real time: a pool of workers, one for each CPU and each device thread, whose one task
// lasts as long as the machine runs.
//
// The pool is loaded only when it is needed: virtual time never pays for it. A thread that ends before M_STOP, whatever
// the reason, is a failure: the others are stopped, and whoever waits for the machine learns of it.

import { availableParallelism } from 'node:os'
import { MessageChannel, type Worker } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import { OutputError } from '../core/errors.js'
import type { ClockOrigin } from './clock.js'
import type { ThreadMessage, ThreadTask } from './cpu.js'

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
  readonly workerFile: URL
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly origin: ClockOrigin
  readonly cpus: number
  /** Numbers of the devices with a thread of their own. */
  readonly devices: readonly number[]
}

/** Cores that the process may use. */
export function hostCores(): number {
  return availableParallelism()
}

/** The pool and its tasks. */
export class Threads {
  readonly #setup: ThreadSetup
  readonly #events: ThreadEvents
  #pool: Piscina | undefined
  #tasks: Promise<void>[] = []
  #stopping = false

  constructor(setup: ThreadSetup, events: ThreadEvents) {
    this.#setup = setup
    this.#events = events
  }

  /** Starts everything; resolves when every thread is about to enter its loop. */
  async start(): Promise<void> {
    const { Piscina } = await import('piscina')
    const { cpus, devices } = this.#setup
    const count = cpus + devices.length
    this.#pool = new Piscina({
      filename: this.#setup.workerFile.href,
      minThreads: count,
      maxThreads: count,
      concurrentTasksPerWorker: 1,
      atomics: 'disabled',
      recordTiming: false,
    })
    this.#pool.on('error', (error: Error) => this.#fail('a thread', error))
    const crowded = count > hostCores()
    const ready: Promise<void>[] = []
    for (let i = 0; i < cpus; i++) ready.push(this.#launch('cpu', i, crowded))
    for (const dev of devices) ready.push(this.#launch('device', dev, crowded))
    await Promise.all(ready)
  }

  /** Gives one thread its task. Resolves when it says that it is ready, or has ended. */
  #launch(kind: ThreadTask['kind'], index: number, crowded: boolean): Promise<void> {
    const { port1, port2 } = new MessageChannel()
    const { module, memory, origin } = this.#setup
    const task: ThreadTask = { kind, index, module, memory, origin, crowded, port: port2 }
    const name = kind === 'cpu' ? `CPU ${index}` : `the thread of device ${index}`
    return new Promise(resolve => {
      port1.on('message', (message: ThreadMessage) => {
        if (message.type === 'ready') resolve()
        else if (message.type === 'done') this.#events.done(message.job)
        else this.#events.message(message.message, index)
      })
      port1.unref()
      const life = this.#pool!.run(task, { transferList: [port2] }).then(
        () => this.#fail(name, new Error('it ended by itself')),
        (error: Error) => this.#fail(name, error),
      )
      this.#tasks.push(
        life.finally(() => {
          port1.close()
          resolve()
        }),
      )
    })
  }

  #fail(name: string, error: Error): void {
    if (this.#stopping) return
    const failure = new OutputError(`${name} died: ${error.message}`)
    failure.cause = error
    this.#events.failed(failure)
  }

  /** After M_STOP was set and everybody woken: waits for the threads, then ends those that did not end. */
  async stop(): Promise<void> {
    this.#stopping = true
    const pool = this.#pool
    if (!pool) return
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<void>(resolve => {
      timer = setTimeout(resolve, STOP_MS)
    })
    await Promise.race([Promise.all(this.#tasks), patience])
    clearTimeout(timer)
    await pool.destroy()
    await Promise.all(this.#tasks)
    this.#pool = undefined
  }

  get workers(): readonly Worker[] {
    return this.#pool?.threads ?? []
  }
}
