// A booted machine, as everybody above it sees it: types only.

import type { Worker } from 'node:worker_threads'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type {
  MachineConfig,
  Disk,
  CpuCounters,
  QueueFacts,
  Books,
  QueueMemory,
  RunEnd,
  StartOptions,
} from './config.js'
import type { HostKernel } from './host-kernel.js'

/** A booted computer. */
export interface Machine {
  readonly config: MachineConfig
  readonly memory: WebAssembly.Memory
  readonly buffer: SharedArrayBuffer
  readonly view: View
  /** Exports of this thread's instance. */
  readonly core: Core
  readonly disks: readonly Disk[]
  /** The kernel of a machine that has one. */
  readonly host: HostKernel | null
  /** One line each for the user, such as more CPUs than the host has. */
  readonly notes: readonly string[]
  /**
   * Takes zeroed memory out of extraBytes, at boot time.
   * @throws UserError when extraBytes is used up
   */
  alloc(bytes: number, align?: number): number
  cpuAddress(index: number): number
  jobAddress(index: number): number
  /** @throws UserError that lists the disks there are */
  disk(name: string): Disk
  /** ns on the machine's clock; real: since boot, exact enough to a few dozen ns and equal on all threads. */
  now(): number
  /**
   * Real clock: every CPU and device thread enters its loop; the workers have been loading since bootMachine. Virtual
   * clock: installs the handlers.
   */
  start(options?: StartOptions): Promise<void>
  /**
   * Lets time pass until the driver has found every controller, brought it up and scanned it; at once where there is none.
   * @throws UserError when a disk did not come up
   */
  probed(): Promise<void>
  /** Appends a job to the list of a CPU and fills JOB_CPU, JOB_NEXT. Before the job is made runnable. */
  linkJob(job: number, cpu: number): void
  /** Wakes a CPU after a job of it was made runnable. */
  kick(cpu: number): void
  /** Sets JOB_STOP in all linked jobs and wakes their CPUs. */
  stopJobs(): void
  /**
   * Lets time pass until `untilNs`, or until something happens.
   * @throws the failure of a thread, with everything torn down
   */
  run(untilNs?: number): Promise<RunEnd>
  /**
   * Virtual clock: one step of run(), without giving the event loop a turn. What is ready runs, then the events up to
   * `untilNs`; `time` or `idle` when that was all, else there is more to do now.
   */
  turn(untilNs: number): 'more' | 'slow' | 'time' | 'idle'
  /** Something came from outside of a machine that is paced: what it queued is run, if somebody is in run(). */
  poke(): void
  /** Paced: called whenever everything that was due has been done. */
  atRest(fn: () => void): void
  /** Makes a pending run() return 'event' soon. */
  interrupt(): void
  /** Called once for each job that became JOB_DONE, before run() returns. */
  onJobDone(callback: (job: number) => void): void
  /** What slow handlers post. */
  onMessage(callback: (message: unknown, cpu: number) => void): void
  /** Ends all threads (of a machine that was never started, too); at most 200 ms, then by force. Idempotent. */
  stop(): Promise<void>
  /** Counts everything again and compares (design: nothing lost). Nobody may be running. */
  books(): Books
  cpuCounters(index: number): CpuCounters
  /** CPU time that the host's thread of a CPU or device has used, ns; NaN in virtual time and where the host does not tell. */
  threadTime(kind: 'cpu' | 'device', index: number): number
  queueFacts(): QueueFacts[]
  /** Bytes of each queue, by what they are for. */
  memoryReport(): QueueMemory[]
  /** The threads there are, for tests that kill one. Empty in virtual time. */
  threads(): readonly Worker[]
}
