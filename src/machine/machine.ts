// The machine: boots the computer and runs it under one of two clocks.
//
//   bootMachine   plan (plan.ts) -> memory -> core -> blocks (boot.ts); real clock: the threads are spawned meanwhile
//   start         real clock: each CPU and device thread gets its task (threads.ts, cpu.ts); virtual clock: handlers
//   linkJob, kick the executor gives a CPU a job, and wakes the CPU when the job may run
//   run           time passes until a deadline, an event, or (virtual) the end of all events
//   stop          M_STOP, everybody woken, threads ended
//   books         the proof that nothing was lost (books.ts)
//
// The main thread never sits in the I/O path. In real time it waits for messages; in virtual time it calls the core in
// slices of about 2 ms and gives the event loop a turn between them.

import type { Worker } from 'node:worker_threads'
import {
  DEV_OCSSD,
  CPU_BELLS_SAVED,
  CPU_BUSY_NS,
  CPU_CQ_DOORBELLS,
  CPU_DOORBELLS,
  CPU_ENDED,
  CPU_FAILED,
  CPU_INLINE,
  CPU_IPIS,
  CPU_IRQ_DONE,
  CPU_IRQS,
  CPU_JOB,
  CPU_NOTAG,
  CPU_POLLED,
  CPU_SLEEPS,
  CPU_SPINS,
  CPU_SUBMITTED,
  CPU_SWITCHES,
  CPU_WAITING,
  CPU_WAKE,
  DCQ_RAISED,
  DEV_SIZE,
  DEV_WAKE,
  HC_QUEUED,
  HC_SIZE,
  JOB_CPU,
  JOB_NEXT,
  JOB_SIZE,
  JOB_STOP,
  JOB_WAITER,
  LINE,
  M_BASE,
  M_NOW,
  M_RETURN,
  M_SEED,
  M_STOP,
  NQ_IRQ_DONE,
  NQ_POLLED,
  NQ_SPURIOUS,
  WT_CPU,
} from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import { alignUp, createMemory, formatBytes } from '../core/memory.js'
import { View } from '../core/view.js'
import { type Core, type CoreImports, compileCore, distUrl } from '../core/wasm.js'
import { type Books, takeBooks } from './books.js'
import { bootBlocks, waitOf } from './boot.js'
import { type ClockOrigin, clockOrigin, realClock, sharesThread } from './clock.js'
import type { Machine } from './booted.js'
import type {
  CpuCounters,
  Disk,
  MachineConfig,
  QueueFacts,
  RunEnd,
  StartOptions,
} from './config.js'
import { threadCore } from './cpu.js'
import type { NullbOptions } from '../drivers/block/null_blk.js'
import { HostKernel } from './host-kernel.js'
import { DeviceTimers, NvmeControllers } from './host-nvme.js'
import { Zoned } from '../device/nvme/zoned.js'
import { openChannelOf } from './host-lightnvm.js'
import { memoryReport, type QueueMemory } from './memory-report.js'
import { nullBlkDisks } from './null-blk.js'
import { PacedTime } from './paced.js'
import { cpuOf, type DiskPlan, type MachinePlan, planMachine, WAITER_STRIDE } from './plan.js'
import { runShared, type SharedThread } from './shared-thread.js'
import { hostCores, Threads } from './threads.js'
import type { ThreadPool } from './thread-pool.js'
import { turn } from './turn.js'
import { validateConfig } from './validate.js'
import { VirtualTime } from './virtual.js'

export type { Machine } from './booted.js'
export type {
  CpuCounters,
  Disk,
  DiskConfig,
  DiskQueue,
  FaultConfig,
  MachineConfig,
  MediaModel,
  QueueFacts,
  RunEnd,
  SlowContext,
  SlowHandlers,
  StartOptions,
} from './config.js'

const COUNTERS: Readonly<Record<keyof CpuCounters, number>> = {
  submitted: CPU_SUBMITTED,
  ended: CPU_ENDED,
  failed: CPU_FAILED,
  doorbells: CPU_DOORBELLS,
  cqDoorbells: CPU_CQ_DOORBELLS,
  bellsSaved: CPU_BELLS_SAVED,
  inline: CPU_INLINE,
  polled: CPU_POLLED,
  irqs: CPU_IRQS,
  irqDone: CPU_IRQ_DONE,
  spins: CPU_SPINS,
  sleeps: CPU_SLEEPS,
  switches: CPU_SWITCHES,
  ipis: CPU_IPIS,
  noTag: CPU_NOTAG,
  busyNs: CPU_BUSY_NS,
}

/** Longest timer that the host knows, ms. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** A controller that is not there after so long will not be, ns. */
const PROBE_LIMIT_NS = 300e9

/** How long virtual time may keep the event loop waiting. */
const TURN_MS = 2

/** What machines that come one after another use in common. */
export interface MachineParts {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  /** Workers that were spawned before the machine was known, for its first CPUs. */
  readonly early?: ThreadPool
}

/**
 * Boots a machine. Nothing runs before start().
 * @param parts memory, which is zeroed, and the compiled core, from a caller who makes one machine after another: the engine gives
 *   the memory of a machine back late, so that the process would grow; workers
 * @throws UserError when the configuration contradicts itself or does not fit into memory
 */
export function bootMachine(config: MachineConfig, parts: Partial<MachineParts> = {}): Machine {
  validateConfig(config)
  const plan = planMachine(config)
  const origin = clockOrigin()
  const threads = spawnThreads(config, parts.early)
  try {
    const module = parts.module ?? compileCore(config.core ?? (config.trace ? 'trace' : 'release'))
    const memory = parts.memory ? cleared(parts.memory, plan.bytes) : createMemory(plan.bytes)
    return new BootedMachine(plan, origin, module, memory, threads)
  } catch (error) {
    void threads?.stop()
    throw error
  }
}

function cleared(memory: WebAssembly.Memory, bytes: number): WebAssembly.Memory {
  const all = new Uint8Array(memory.buffer)
  if (all.length < bytes) throw new Error(`the machine needs ${bytes} bytes of ${all.length}`)
  all.fill(0)
  return memory
}

/** Numbers of the disks whose device runs on a thread of its own. */
function threadedDevices(config: MachineConfig): number[] {
  return config.disks.flatMap((disk, i) => (disk.where === 'thread' ? [i] : []))
}

/** CPUs that have a thread of their own. */
function cpuThreads(config: MachineConfig): number {
  return sharesThread(config) || config.ownThread ? 0 : config.cpus
}

/** Real time: the workers, which load their files while the machine is booted. */
function spawnThreads(config: MachineConfig, early?: ThreadPool): Threads | undefined {
  if (config.clock === 'virtual') return undefined
  const file = config.workerFile ?? distUrl('lib/bare-cpu.worker.cjs')
  const count = cpuThreads(config) + threadedDevices(config).length
  return count > 0 ? new Threads(count, file, early) : undefined
}

function diskOf(plan: MachinePlan, disk: DiskPlan, index: number): Disk {
  const { config } = disk
  return {
    config,
    index,
    q: disk.q,
    dev: disk.dev,
    ns: disk.ns,
    store: disk.store,
    bar: disk.bar,
    nrHw: disk.nrHw,
    tags: disk.nrTags,
    map: disk.map,
    queues: disk.queues.map((queue, i) => ({
      index: i,
      hctx: disk.hctxs + i * HC_SIZE,
      tags: queue.tags,
      nq: queue.nq,
      dsq: queue.dsq,
      dcq: queue.dcq,
      irq: queue.irq,
      flushRq: queue.flush,
      owner: queue.owner,
      cpus: queue.cpus,
      shared: queue.cpus.length > 1,
      wait: waitOf(config, plan.config, i, disk.nrHw),
    })),
  }
}

class BootedMachine implements Machine {
  readonly config: MachineConfig
  readonly #module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly buffer: SharedArrayBuffer
  readonly view: View
  readonly core: Core
  readonly disks: readonly Disk[]
  readonly notes: readonly string[]
  readonly host: HostKernel | null
  readonly now: () => number
  readonly #plan: MachinePlan
  readonly #origin: ClockOrigin
  readonly #virtual: VirtualTime | undefined
  readonly #paced: PacedTime | undefined
  readonly #threads: Threads | undefined
  readonly #deviceTimers = new DeviceTimers(
    () => this.now(),
    () => this.view.setU32(M_BASE + M_RETURN, 1),
  )
  readonly #controllers: NvmeControllers | null
  readonly #linked: number[] = []
  readonly #lastJob = new Map<number, number>()
  #allocated = 0
  #event = false
  #failure: Error | undefined
  #wake: (() => void) | undefined
  #stopped: Promise<void> | undefined
  #onJobDone: (job: number) => void = () => {}
  #onMessage: (message: unknown, cpu: number) => void = () => {}

  constructor(
    plan: MachinePlan,
    origin: ClockOrigin,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    threads: Threads | undefined,
  ) {
    const { config } = plan
    this.#threads = threads
    this.#plan = plan
    this.#origin = origin
    this.#module = module
    this.config = config
    this.memory = memory
    this.buffer = memory.buffer as unknown as SharedArrayBuffer
    this.view = new View(this.buffer)
    const clock = realClock(origin)
    this.view.setU32(M_BASE + M_SEED, config.seed >>> 0)
    const nullBlk = nullBlkDisks(plan.disks)
    this.core = threadCore(module, memory, clock, this.view, nullBlk, this.#hostImports())
    bootBlocks(this.view, this.core, plan)
    this.disks = plan.disks.map((disk, i) => diskOf(plan, disk, i))
    this.now = config.clock === 'virtual' ? () => this.view.u64(M_BASE + M_NOW) : clock
    this.#controllers = this.#makeControllers()
    this.host = config.kernel ? this.#hostKernel(config.kernel, nullBlk) : null
    const here = config.clock === 'virtual' || sharesThread(config)
    this.#virtual = here ? this.#virtualTime() : undefined
    const paced = config.clock === 'virtual' && config.paced === true
    this.#paced = paced ? this.#pacedTime(this.#virtual!) : undefined
    this.notes = [...plan.notes, ...this.#sharedNotes(), ...this.#crowdNotes()]
  }

  /** What the core calls while a kernel is attached. */
  #hostImports():
    | Pick<CoreImports, 'block_host' | 'null_cmd' | 'make_request' | 'device_host'>
    | undefined {
    if (!this.config.kernel) return undefined
    return {
      device_host: (what, dsq, sqe, arg) => this.#controllers!.device_host(what, dsq, sqe, arg),
      block_host: (cpu, what, a, b) => this.host!.block_host(cpu, what, a, b),
      null_cmd: (cpu, nullb, rq, faults) => this.host!.null_cmd(cpu, nullb, rq, faults),
      make_request: (cpu, bio) => this.host!.make_request(cpu, bio),
    }
  }

  /** Both sides of the wire are in the machine: the device's first. */
  #makeControllers(): NvmeControllers | null {
    if (!this.#plan.disks.some(disk => disk.admin !== null)) return null
    const { view, core, now } = this
    const ports = { view, core, now, timers: this.#deviceTimers }
    return new NvmeControllers(ports, this.#plan.disks, i => {
      const { ocssd, zoned } = this.#plan.disks[i]!.config.controller!
      if (zoned) return [new Zoned(zoned)]
      if (ocssd === undefined) return []
      const { extension, memory } = openChannelOf(ocssd, { view, ...this.#plan.media.get(i)! })
      view.setU32(this.#plan.disks[i]!.dev + DEV_OCSSD, memory)
      return [extension]
    })
  }

  #hostKernel(
    kernel: NonNullable<MachineConfig['kernel']>,
    nullBlk: readonly NullbOptions[],
  ): HostKernel {
    return new HostKernel({
      ...kernel,
      view: this.view,
      core: this.core,
      cpus: Array.from({ length: this.config.cpus }, (_, i) => cpuOf(this.#plan, i)),
      hz: this.config.hz,
      disks: this.disks,
      nullBlk,
      seed: this.config.seed,
      paced: this.config.paced === true,
      jobs: this.config.jobs,
      alloc: (bytes, align) => this.alloc(bytes, align),
      ...(this.#controllers
        ? { controllers: this.#controllers, deviceTimers: this.#deviceTimers }
        : {}),
      ...(this.config.clock === 'real' ? { now: this.now } : {}),
    })
  }

  #virtualTime(): VirtualTime {
    return new VirtualTime(
      this.view,
      this.core,
      { first: this.#plan.cpus, count: this.config.cpus },
      job => this.#jobDone(job),
      (message, cpu) => this.#message(message, cpu),
      this.host,
      this.config.clock === 'real' ? this.now : null,
    )
  }

  #pacedTime(virtual: VirtualTime): PacedTime {
    const { host, view } = this
    const cpus = Array.from({ length: this.config.cpus }, (_, i) => cpuOf(this.#plan, i))
    return new PacedTime({ virtual, host, view, cpus, takeEvent: () => this.#takeEvent() })
  }

  #sharedNotes(): string[] {
    const { cpus } = this.config
    if (!sharesThread(this.config) || cpus === 1) return []
    return [`the ${cpus} CPUs share one thread of this host, that of the emulated kernel`]
  }

  #crowdNotes(): string[] {
    if (this.config.clock === 'virtual') return []
    const devices = threadedDevices(this.config).length
    const wanted = Math.max(cpuThreads(this.config), 1) + devices
    const cores = hostCores()
    if (wanted <= cores) return []
    const cpus = sharesThread(this.config) ? 'the thread of all CPUs' : `${this.config.cpus} CPUs`
    const threads = devices ? `${cpus} and ${devices} device threads` : cpus
    return [
      `${threads} share the ${cores} cores of this host: they take turns, and times say little`,
    ]
  }

  // ---------------------------------------------------------------- memory

  alloc(bytes: number, align: number = LINE): number {
    const address = alignUp(this.#plan.extra + this.#allocated, align)
    const end = address + bytes - this.#plan.extra
    if (end > this.config.extraBytes)
      throw new UserError(
        `the jobs need more than the ${formatBytes(this.config.extraBytes)} of memory set aside for them`,
      )
    this.#allocated = end
    return address
  }

  cpuAddress(index: number): number {
    if (!(index >= 0 && index < this.config.cpus)) throw new RangeError(`no CPU ${index}`)
    return cpuOf(this.#plan, index)
  }

  jobAddress(index: number): number {
    if (!(index >= 0 && index < this.config.jobs)) throw new RangeError(`no job ${index}`)
    return this.#plan.jobs + index * JOB_SIZE
  }

  disk(name: string): Disk {
    const disk = this.disks.find(d => d.config.name === name)
    if (disk) return disk
    const names = this.disks.map(d => d.config.name).join(', ')
    throw new UserError(`there is no disk ${name}; this machine has ${names || 'none'}`)
  }

  // ---------------------------------------------------------------- running

  async start(options: StartOptions = {}): Promise<void> {
    this.#virtual?.install(options.handlers ?? {})
    if (!this.#threads) return
    const setup = {
      module: this.#module,
      memory: this.memory,
      origin: this.#origin,
      cpus: cpuThreads(this.config),
      nullBlk: nullBlkDisks(this.#plan.disks),
      devices: threadedDevices(this.config),
    }
    const events = {
      done: (job: number) => this.#jobDone(job),
      message: (message: unknown, cpu: number) => this.#message(message, cpu),
      failed: (error: Error) => this.#fail(error),
    }
    await this.#threads.start(setup, events, options.workerFile)
    if (this.#failure) throw await this.#tornDown()
  }

  async probed(): Promise<void> {
    const nvme = this.host?.nvme
    if (!nvme) return
    const end = this.now() + PROBE_LIMIT_NS
    while (!nvme.settled && this.now() < end) await this.run(Math.min(this.now() + 1e6, end))
    for (const [i, { disk }] of nvme.controllers.all.entries()) {
      if ((nvme.ctrl(i)?.namespaces.length ?? 0) > 0) continue
      const last = this.host.k.dmesg.at(-1)?.text ?? 'the kernel says nothing'
      throw new UserError(`${disk.config.name}: the controller did not come up: ${last}`)
    }
  }

  linkJob(job: number, cpu: number): void {
    const { view } = this
    const block = this.cpuAddress(cpu)
    const waiter = this.#plan.waiters + ((job - this.#plan.jobs) / JOB_SIZE) * WAITER_STRIDE
    view.setU32(job + JOB_CPU, block)
    view.setU32(job + JOB_NEXT, 0)
    view.setU32(job + JOB_WAITER, waiter)
    view.setU32(waiter + WT_CPU, block)
    const last = this.#lastJob.get(cpu)
    view.store(last === undefined ? block + CPU_JOB : last + JOB_NEXT, job)
    this.host?.has_jobs(block)
    this.#lastJob.set(cpu, job)
    this.#linked.push(job)
  }

  kick(cpu: number): void {
    const block = this.cpuAddress(cpu)
    if (this.#virtual) this.core.virtual_kick(block)
    else this.#wakeCpu(block)
  }

  #wakeCpu(block: number): void {
    this.view.add(block + CPU_WAKE, 1)
    if (this.view.load(block + CPU_WAITING)) this.view.notify(block + CPU_WAKE)
  }

  stopJobs(): void {
    for (const job of this.#linked) this.view.store(job + JOB_STOP, 1)
    for (let i = 0; i < this.config.cpus; i++) this.kick(i)
  }

  async run(untilNs: number = Number.POSITIVE_INFINITY): Promise<RunEnd> {
    if (this.#stopped && !this.#failure) return 'idle'
    const end = await this.#run(untilNs)
    if (this.#failure) throw await this.#tornDown()
    return end
  }

  #run(untilNs: number): Promise<RunEnd> {
    if (this.#virtual === undefined) return this.#runReal(untilNs)
    if (this.config.clock === 'virtual') return this.#runVirtual(this.#virtual, untilNs)
    return runShared(this.#shared(this.#virtual), untilNs)
  }

  #shared(time: VirtualTime): SharedThread {
    const threaded = this.disks.filter(disk => disk.config.where === 'thread')
    const polled = threaded.some(disk => disk.queues.some(queue => queue.wait !== 'irq'))
    return {
      view: this.view,
      core: this.core,
      host: this.host!,
      time,
      cpu: this.#plan.cpus,
      devices: threaded.length === 0 ? 'none' : polled ? 'poll' : 'irq',
      stopped: () => this.#stopped !== undefined,
      takeEvent: () => this.#takeEvent(),
      pause: ms => this.#pause(ms),
      turn,
    }
  }

  poke(): void {
    this.#paced?.poke()
  }

  atRest(fn: () => void): void {
    this.#paced?.atRest(fn)
  }

  async #runVirtual(virtual: VirtualTime, untilNs: number): Promise<RunEnd> {
    if (this.#paced) return this.#paced.run(untilNs)
    let turned = performance.now()
    while (!this.#stopped) {
      if (this.#takeEvent()) return 'event'
      virtual.step()
      if (this.#takeEvent()) return 'event'
      const end = virtual.slice(untilNs)
      if (this.#takeEvent()) return 'event'
      if (end === 'time' || end === 'idle') return end
      if (performance.now() - turned < TURN_MS) continue
      await turn()
      turned = performance.now()
    }
    return 'idle'
  }

  async #runReal(untilNs: number): Promise<RunEnd> {
    while (!this.#stopped) {
      if (this.#takeEvent()) return 'event'
      const rest = (untilNs - this.now()) / 1e6
      if (rest <= 0) return 'time'
      await this.#pause(Math.min(rest, MAX_TIMER_MS))
    }
    return 'idle'
  }

  /** Waits for so many ms, or until something happens. */
  async #pause(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      this.#wake = resolve
      timer = setTimeout(resolve, Math.ceil(ms))
    })
    clearTimeout(timer)
    this.#wake = undefined
  }

  #takeEvent(): boolean {
    const event = this.#event || this.#failure !== undefined
    this.#event = false
    return event
  }

  turn(untilNs: number): 'more' | 'slow' | 'time' | 'idle' {
    const virtual = this.#virtual
    if (virtual === undefined) throw new Error('turn() is for machines in virtual time')
    virtual.step()
    return virtual.slice(untilNs)
  }

  interrupt(): void {
    this.#event = true
    this.#wake?.()
    this.#paced?.poke()
  }

  #jobDone(job: number): void {
    this.#onJobDone(job)
    this.interrupt()
  }

  #message(message: unknown, cpu: number): void {
    this.#onMessage(message, cpu)
    this.interrupt()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake?.()
  }

  /** After a failure: the rest is stopped, then the failure may be thrown. */
  async #tornDown(): Promise<Error> {
    await this.stop()
    return this.#failure as Error
  }

  onJobDone(callback: (job: number) => void): void {
    this.#onJobDone = callback
  }

  onMessage(callback: (message: unknown, cpu: number) => void): void {
    this.#onMessage = callback
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { view } = this
    view.store(M_BASE + M_STOP, 1)
    for (let i = 0; i < this.config.cpus; i++) this.#wakeCpu(cpuOf(this.#plan, i))
    for (let i = 0; i < this.disks.length; i++) {
      const word = this.#plan.devs + i * DEV_SIZE + DEV_WAKE
      view.add(word, 1)
      view.notify(word)
    }
    this.#wake?.()
    this.#paced?.stop()
    await this.#threads?.stop()
  }

  threadTime(kind: 'cpu' | 'device', index: number): number {
    return this.#threads?.cpuTime(kind, index) ?? Number.NaN
  }

  threads(): readonly Worker[] {
    return this.#threads?.workers ?? []
  }

  // ---------------------------------------------------------------- what happened

  /** Disks with hardware queues of their own. */
  #controllerDisks(): Disk[] {
    return this.disks.filter(disk => disk.config.namespaceOf === undefined)
  }

  books(): Books {
    const cpus = Array.from({ length: this.config.cpus }, (_, i) => cpuOf(this.#plan, i))
    return takeBooks(this.view, cpus, this.#controllerDisks(), this.host?.nvme?.adminTags())
  }

  cpuCounters(index: number): CpuCounters {
    const cpu = this.cpuAddress(index)
    const entries = Object.entries(COUNTERS).map(([name, field]) => [
      name,
      this.view.u64(cpu + field),
    ])
    return Object.fromEntries(entries) as CpuCounters
  }

  /** Requests of a queue pair, of all disks that have it. */
  #queued(disk: Disk, index: number): number {
    const also = this.disks.filter(one => one.config.namespaceOf === disk.config.name)
    return [disk, ...also].reduce(
      (sum, one) => sum + this.view.u64(one.queues[index]!.hctx + HC_QUEUED),
      0,
    )
  }

  queueFacts(): QueueFacts[] {
    const { view } = this
    return this.#controllerDisks().flatMap(disk =>
      disk.queues.map(queue => ({
        disk: disk.config.name,
        qid: queue.index + 1,
        owner: queue.owner,
        cpus: queue.cpus,
        completion: queue.wait,
        queued: this.#queued(disk, queue.index),
        interruptsRaised: queue.dcq ? view.u64(queue.dcq + DCQ_RAISED) : 0,
        polled: queue.nq ? view.u64(queue.nq + NQ_POLLED) : 0,
        irqDone: queue.nq ? view.u64(queue.nq + NQ_IRQ_DONE) : 0,
        spurious: queue.nq ? view.u32(queue.nq + NQ_SPURIOUS) : 0,
      })),
    )
  }

  memoryReport(): QueueMemory[] {
    return memoryReport(this.#plan.disks, this.config.cpus)
  }
}
