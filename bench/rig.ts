// A machine with its jobs, as `phasebit run` sets them up, driven by hand so that any stretch of
// time can be measured.
//
//   boot     command line -> plan -> placement, memory -> machine -> blocks of all jobs
//            (what src/workload/run.ts does)
//   start    the machine's threads, then a job
//   window   I/Os, elapsed time and CPU time of a stretch of the run, while it runs
//   stop     jobs end, threads end, the books must balance
//
// Real clock: each CPU is a worker thread that runs src/machine/cpu.ts, as in every run; this
// thread sleeps meanwhile. Virtual clock: this thread does everything. Left out of a run: reports,
// logs, and the policies that look at a job twice a second.

import { availableParallelism } from 'node:os'
import { distUrl } from '../src/core/wasm.js'
import { bootMachine, type Disk, type Machine, type MachineParts } from '../src/machine/machine.js'
import { type Placement, placeJobs } from '../src/workload/cpus.js'
import { hostHandlers } from '../src/workload/host.js'
import type { JobSpec, RunPlan } from '../src/workload/job.js'
import { fillJob, type JobSite, startJob } from '../src/workload/job-block.js'
import { type JobMemory, planJobMemory } from '../src/workload/job-memory.js'
import { jobLimits } from '../src/workload/limits.js'
import { machineConfig } from '../src/workload/machine-config.js'
import { parseRun } from '../src/workload/run-command.js'
import { RunTrace, runTraceBytes } from '../src/workload/run-trace.js'
import type { ThreadNumber } from './cpu.worker.js'
import { ownThread, threadTime } from '../src/machine/thread-time.js'

const PAGE = 4096

/**
 * How many times as long as asked for a window may last: a busy host may not run a thread for a
 * while.
 */
const PATIENCE = 2000

/** A stretch of a run. Times in ns. */
export interface Window {
  readonly ios: number
  /** Host time. */
  readonly elapsedNs: number
  /** CPU time of the CPUs' threads; NaN where it cannot be told. */
  readonly cpuNs: number
}

/** Plan of a command line; what it would read from files is not there. */
export function planOf(args: readonly string[]): RunPlan {
  const plan = parseRun(args, {
    readFile: path => {
      throw new Error(`a bench reads no file, and ${path} was asked for`)
    },
    env: {},
    hostCpus: availableParallelism(),
  })
  return plan
}

/** A machine with its jobs. */
export class Rig {
  readonly plan: RunPlan
  readonly machine: Machine
  readonly sites: readonly JobSite[]
  readonly placement: Placement
  readonly #started = new Set<number>()
  readonly #done = new Set<number>()
  readonly #threads = new Set<number>()

  private constructor(plan: RunPlan, machine: Machine, placement: Placement, memory: JobMemory) {
    this.plan = plan
    this.machine = machine
    this.placement = placement
    const base = machine.alloc(memory.bytes, PAGE)
    this.sites = plan.jobs.map((spec, i) => {
      const site = siteOf(machine, spec, i, base, memory)
      fillJob(machine.view, spec, jobLimits(spec, plan), site)
      machine.linkJob(site.job, placement.cpuOfJob[i]!)
      return site
    })
    machine.onJobDone(job => this.#done.add(job))
    machine.onMessage(message => this.#threads.add((message as ThreadNumber).thread))
    // virtual time, and a kernel in either clock, are on this thread
    if (plan.clock === 'virtual' || machine.host) this.#threads.add(ownThread())
  }

  /**
   * Boots the machine of a `phasebit run` command line; its jobs wait for start().
   * @param cpus more CPUs than --cpus can ask for
   * @param parts another build of the core than a run would have
   */
  static boot(args: readonly string[], cpus?: number, parts: Partial<MachineParts> = {}): Rig {
    const plan = planOf(args)
    const cores = plan.clock === 'real' ? availableParallelism() : null
    const placement = placeJobs(plan.jobs, cpus ?? plan.cpus, cores)
    const memory = planJobMemory(plan)
    const config = machineConfig(plan, {
      nrCpus: placement.nrCpus,
      jobs: plan.jobs.length,
      extraBytes: memory.bytes + PAGE + runTraceBytes(plan, placement.nrCpus),
    })
    const workerFile = distUrl('bench/cpu.worker.js')
    const machine = bootMachine({ ...config, workerFile }, parts)
    const rig = new Rig(plan, machine, placement, memory)
    // its rings keep the last records, which nobody writes out
    if (plan.trace !== null) new RunTrace(plan, machine, placement.cpuOfJob)
    return rig
  }

  /** Every thread of the machine enters its loop. */
  async begin(): Promise<void> {
    const handlers = hostHandlers(() => {
      throw new Error('a bench has no files that a job could wait for')
    })
    await this.machine.start({ handlers })
  }

  /** Sets a job going. */
  start(index: number): void {
    const { machine, plan } = this
    const spec = plan.jobs[index]!
    startJob(machine.view, spec, jobLimits(spec, plan), this.sites[index]!, machine.now())
    this.#started.add(this.sites[index]!.job)
    machine.kick(this.placement.cpuOfJob[index]!)
  }

  startAll(): void {
    for (const index of this.plan.jobs.keys()) this.start(index)
  }

  /** Waits for the end of every job that was started. */
  async finish(): Promise<void> {
    while (this.#anyRuns()) {
      const end = await this.machine.run()
      if (end === 'idle' && this.#anyRuns())
        throw new Error('the machine idles, a job does not end')
    }
  }

  #anyRuns(): boolean {
    return [...this.#started].some(job => !this.#done.has(job))
  }

  /**
   * Lets the machine run for so many ns of its own clock, and longer if no I/O has ended by then.
   */
  async pass(ns: number): Promise<Window> {
    const { machine } = this
    const began = machine.now()
    const before = this.#sample()
    for (let tries = 1; tries <= PATIENCE; tries++) {
      await this.#runUntil(began + ns * tries)
      const after = this.#sample()
      if (after.ios === before.ios) continue
      return {
        ios: after.ios - before.ios,
        elapsedNs: after.elapsedNs - before.elapsedNs,
        cpuNs: after.cpuNs - before.cpuNs,
      }
    }
    throw new Error(`no I/O has ended in ${(ns * PATIENCE) / 1e6} ms`)
  }

  async #runUntil(ns: number): Promise<void> {
    while (this.machine.now() < ns) {
      if ((await this.machine.run(ns)) === 'idle') return
    }
  }

  #sample(): Window {
    const { machine } = this
    let ios = 0
    for (let i = 0; i < machine.config.cpus; i++) ios += machine.cpuCounters(i).ended
    const cpuNs = [...this.#threads].reduce((sum, thread) => sum + threadTime(thread), 0)
    return { ios, elapsedNs: performance.now() * 1e6, cpuNs }
  }

  /** Ends everything. @throws Error when the books do not balance */
  async stop(): Promise<void> {
    const { machine } = this
    machine.stopJobs()
    await this.finish()
    await machine.stop()
    const { balanced, problems } = machine.books()
    if (!balanced) throw new Error(`the books do not balance: ${problems.join('; ')}`)
  }
}

function siteOf(
  machine: Machine,
  spec: JobSpec,
  index: number,
  base: number,
  memory: JobMemory,
): JobSite {
  const disk = diskOf(machine, spec)
  return {
    job: machine.jobAddress(index),
    q: disk.q,
    lbaBytes: 2 ** disk.config.lbaShift,
    base,
    places: memory.jobs[index]!,
    tables: 0,
  }
}

function diskOf(machine: Machine, spec: JobSpec): Disk {
  return machine.disk(spec.files[0]!.disk.replace(/^\/dev\//, ''))
}
