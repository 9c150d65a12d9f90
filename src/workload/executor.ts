// The loop of a run, the same for both clocks:
//
//   start what is due -> let the machine run until something ends or is due -> collect what ended -> tick the policies
//
// Times are the machine's. Jobs run in the core; this loop wakes only at job ends, at the deadlines of policies, log
// windows and progress, and when a job wants its log emptied. An interrupt stops every job and starts nothing more; the
// loop then goes on until nothing is in flight, so that the books balance.

import type { Machine, SlowContext } from '../machine/machine.js'
import { CpuTime } from './cpu-time.js'
import { type HostRequest, resumeJob, waitsForHost } from './host.js'
import type { Phases } from './phases.js'
import type { Verdict } from './policy.js'
import type { RunningJob } from './running-job.js'
import { SteadyGroups } from './steady-groups.js'

/** Something that wants to be called at regular times while jobs run. */
export interface Periodic {
  /** Infinity = once. */
  readonly everyNs: number
  /** ns from the start of the run to the first call; absent = everyNs. */
  readonly firstNs?: number
  readonly call: (nowNs: number) => void
}

/** Runs the jobs of a plan on a booted machine. */
export class Executor {
  readonly jobs: readonly RunningJob[]
  readonly steady: SteadyGroups
  readonly cpuTime: CpuTime
  readonly #machine: Machine
  readonly #phases: Phases
  readonly #periodic: { readonly what: Periodic; nextNs: number }[]
  readonly #byAddress: ReadonlyMap<number, RunningJob>
  readonly #ended: RunningJob[] = []
  readonly #failed: (job: RunningJob) => void
  /** Something was done since the machine ran that may make it go on. */
  #acted = false
  /** A log could not be written. */
  #failure: Error | null = null
  interrupted = false

  constructor(
    machine: Machine,
    jobs: readonly RunningJob[],
    phases: Phases,
    periodic: readonly Periodic[],
    failed: (job: RunningJob) => void,
  ) {
    this.#machine = machine
    this.jobs = jobs
    this.#phases = phases
    this.#periodic = periodic.map(what => ({
      what,
      nextNs: machine.now() + (what.firstNs ?? what.everyNs),
    }))
    this.#failed = failed
    this.#byAddress = new Map(jobs.map(job => [job.address, job]))
    this.steady = new SteadyGroups(jobs)
    this.cpuTime = new CpuTime(
      machine,
      jobs.map(job => job.cpu),
    )
    machine.onJobDone(address => this.#ended.push(this.#byAddress.get(address)!))
    machine.onMessage(message => this.serve((message as HostRequest).job))
  }

  /** Runs everything. @throws the failure of a thread, OutputError when a log cannot be written */
  async run(): Promise<void> {
    let idle = 0
    while (!this.#phases.finished) {
      this.#startDue()
      this.#acted = false
      const end = await this.#machine.run(this.#deadline())
      if (this.#failure) throw this.#failure
      this.#collectEnded()
      this.#tick()
      idle = end === 'idle' && !this.#acted ? idle + 1 : 0
      if (idle > 1 && this.#phases.nextStartNs === Number.POSITIVE_INFINITY) throw this.#stalled()
    }
  }

  /** Virtual time has no event left, and nothing that this loop does will make one: our own fault. */
  #stalled(): Error {
    const jobs = this.jobs.filter(job => job.running)
    const states = jobs.map(job => `${job.spec.name} (state ${job.state})`)
    return new Error(`nothing will ever happen again, but jobs still run: ${states.join(', ')}`)
  }

  /** Ends the run as soon as nothing is in flight any more. */
  interrupt(): void {
    if (this.interrupted) return
    this.interrupted = true
    this.#phases.stopAll()
    this.#machine.stopJobs()
    this.#machine.interrupt()
  }

  /** A job waits for the main thread: its log is full. What fails here ends the run: nobody above would catch it. */
  serve(address: number): void {
    const job = this.#byAddress.get(address)
    if (!job || !waitsForHost(this.#machine.view, address)) return
    try {
      job.serve()
    } catch (error) {
      this.#failure ??= error as Error
      this.#machine.interrupt()
      return
    }
    resumeJob(this.#machine.view, address)
    this.#kick(job)
  }

  /** The handler of virtual time, where the main thread is the only one. */
  readonly serveHere = (_context: SlowContext, job: number): void => this.serve(job)

  #startDue(): void {
    const due = this.#phases.due(this.#machine.now())
    if (due.length === 0) return
    this.#account()
    const jobs = due.map(i => this.jobs[i]!)
    for (const job of jobs) job.join()
    for (const job of jobs) {
      job.start(this.#machine.now())
      this.#kick(job)
    }
  }

  #deadline(): number {
    const times = this.jobs.map(job => job.nextNs)
    const periodic = this.#periodic.map(p => p.nextNs)
    return Math.min(this.#phases.nextStartNs, this.steady.nextNs, ...times, ...periodic)
  }

  #collectEnded(): void {
    if (this.#ended.length > 0) {
      this.#acted = true
      this.#account()
    }
    for (const job of this.#ended.splice(0)) {
      job.finish()
      const failed = job.errno !== 0
      if (failed) this.#failed(job)
      for (const i of this.#phases.ended(job.spec.index, this.#machine.now(), failed))
        this.#stop(this.jobs[i]!)
    }
  }

  #tick(): void {
    const now = this.#machine.now()
    for (const job of this.jobs) {
      const { depth, restart, stop } = this.#tickJob(job, now)
      if (depth !== undefined || restart || stop) this.#kick(job)
    }
    for (const job of this.steady.tick(now)) this.#stop(job)
    for (const periodic of this.#periodic) {
      if (now < periodic.nextNs) continue
      periodic.what.call(now)
      periodic.nextNs = now + periodic.what.everyNs
    }
  }

  #tickJob(job: RunningJob, now: number): Verdict {
    const ramping = !job.measuring
    const verdict = job.tick(now)
    if ((ramping && job.measuring) || verdict.restart) {
      this.#account()
      this.cpuTime.forget(job.spec.index)
    }
    return verdict
  }

  #stop(job: RunningJob): void {
    job.stop()
    this.#kick(job)
  }

  #kick(job: RunningJob): void {
    this.#acted = true
    this.#machine.kick(job.cpu)
  }

  #account(): void {
    this.cpuTime.account(this.jobs.flatMap((job, i) => (job.running ? [i] : [])))
  }
}
