// A plan, run: from the machine's description to the result.
//
//   placement, limits, memory    before anything exists: what cannot work is refused here
//   files                        logs are opened, so that a place that cannot be written stops the run before any I/O
//   boot, fill, start            the machine, the blocks of all jobs, the threads
//   Executor.run                 the jobs
//   stop, books, result          nobody runs any more: everything is counted again
//
// The caller writes the report. Logs take their places when the run has ended well enough to have a result.

import { availableParallelism } from 'node:os'
import { SECTOR_SHIFT } from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import { type MachineConfig, realTime, type Books as TakenBooks } from '../machine/config.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine, type Disk, type Machine } from '../machine/machine.js'
import type { MachineSpec } from '../machine/spec.js'
import type { ThreadPool } from '../machine/thread-pool.js'
import { epochMs } from '../machine/wall-clock.js'
import type { JobResult, RunResult } from '../report/result.js'
import type { Progress } from '../report/status-line.js'
import { type Placement, placeJobs } from './cpus.js'
import { type Dump, RunDumps } from './dump.js'
import { Executor, type Periodic } from './executor.js'
import { failureLine } from './failures.js'
import { hostHandlers } from './host.js'
import type { JobSpec, RunPlan } from './job.js'
import { fillJob, type JobSite } from './job-block.js'
import { type JobMemory, planJobMemory } from './job-memory.js'
import { jobLimits } from './limits.js'
import { LogFiles } from './log-files.js'
import { filesClosed } from './files.js'
import { DeviceEvents } from './device-events.js'
import { checkQueueWrites, queueWrites } from './queue-writes.js'
import { makeTargets, removeTargets } from './lightnvm-disks.js'
import { isBuffered, latencyNotes, machineConfig } from './machine-config.js'
import { Phases } from './phases.js'
import { ProgressMeter } from './progress.js'
import { RunTrace, runTraceBytes, TRACE_COUNT_NS } from './run-trace.js'
import { RunningJob } from './running-job.js'
import { jobResult, type RunState, runResult } from './run-result.js'
import { shardOf } from './shard.js'
import { TraceFile } from './trace-file.js'
import type { WholeTrace } from './trace-formats.js'

const PAGE = 4096
const PROGRESS_NS = 1e9

/** What a caller may watch. */
export interface RunHooks {
  /** Everything is ready; the jobs as they stand in a report, without figures. */
  readonly onStart?: (jobs: readonly JobResult[], notes: readonly string[]) => void
  /** Each status interval of the plan. */
  readonly onStatus?: (result: RunResult) => void
  /** About once a second of the machine's clock. */
  readonly onProgress?: (progress: Progress) => void
  /** A job failed, or the books do not balance: one line. */
  readonly onFailure?: (line: string) => void
  /** Something that the user should know, at the end: one line. */
  readonly onNote?: (line: string) => void
  /** A look at the machine that the plan asked for (--dump). */
  readonly onDump?: (dump: Dump) => void
  /** Takes the trace in place of the file that the plan names. */
  readonly onTrace?: (trace: WholeTrace) => void
  /** The jobs have ended; disks and targets are still there. */
  readonly onEnd?: (machine: Machine) => void
  /** Ends the run early; it still has a result. */
  readonly signal?: AbortSignal
  /** Workers that were spawned before the plan was known. */
  readonly early?: ThreadPool
  /** Disks that are connected from outside before the jobs start. */
  readonly attachment?: Attachment
}

/** What stands behind disks of a machine in place of their own driver. */
export interface Attachment {
  /** Bytes of memory for its kernel. */
  readonly heapBytes: number
  attach(machine: Machine): Promise<void>
  detach(machine: Machine): Promise<void>
}

/** The same machine with a kernel, paced by the host's clock. */
function withAttachment(
  config: MachineConfig,
  { heapBytes }: Attachment,
  { timer }: MachineSpec,
): MachineConfig {
  const queues = config.disks.length * config.cpus
  const extra = (config.kernel ? 0 : hostKernelBytes(config.cpus, queues)) + heapBytes + PAGE
  return {
    ...config,
    extraBytes: config.extraBytes + extra,
    kernel: { ...config.kernel, heapBytes, timer },
    paced: true,
  }
}

/** How a run ended. */
export interface RunOutcome {
  readonly result: RunResult
  /** One line for each thing that went wrong; none = success. */
  readonly failures: readonly string[]
}

/**
 * Runs a plan.
 * @throws UserError before any I/O for what cannot work; OutputError when a file cannot be written or a thread dies
 */
export async function executePlan(whole: RunPlan, hooks: RunHooks = {}): Promise<RunOutcome> {
  const plan = shardOf(whole)
  const cores = plan.clock === 'real' ? availableParallelism() : null
  const placement = placeJobs(plan.jobs, plan.cpus, cores)
  const memory = planJobMemory(plan)
  const { attachment } = hooks
  const plain = machineConfig(plan, {
    nrCpus: placement.nrCpus,
    jobs: plan.jobs.length,
    extraBytes: memory.bytes + PAGE + runTraceBytes(plan, placement.nrCpus),
  })
  const config = attachment ? withAttachment(plain, attachment, plan.machine) : plain
  const files = new LogFiles(plan.jobs)
  let trace: TraceFile | null = null
  let machine: Machine | null = null
  try {
    if (plan.trace !== null && !hooks.onTrace) trace = new TraceFile(plan.trace, plan.traceFormat)
    machine = bootMachine(config, hooks.early ? { early: hooks.early } : {})
    await machine.probed()
    await makeTargets(machine)
    await attachment?.attach(machine)
    checkQueueWrites(plan.queueWrites, machine)
    const run = new Run(plan, machine, placement, memory, files, {
      ...(trace ? { onTrace: whole => trace?.save(whole) } : {}),
      ...hooks,
    })
    const outcome = await run.go()
    files.commit()
    return outcome
  } finally {
    await machine?.stop()
    files.discard()
    trace?.discard()
  }
}

/** One run of one plan. */
class Run {
  readonly #plan: RunPlan
  readonly #machine: Machine
  readonly #hooks: RunHooks
  readonly #executor: Executor
  readonly #state: RunState
  readonly #failures: string[] = []
  readonly #trace: RunTrace | null
  readonly #dumps: RunDumps | null
  readonly #events: DeviceEvents

  constructor(
    plan: RunPlan,
    machine: Machine,
    placement: Placement,
    memory: JobMemory,
    files: LogFiles,
    hooks: RunHooks,
  ) {
    this.#plan = plan
    this.#machine = machine
    this.#hooks = hooks
    const jobs = prepareJobs(plan, machine, placement, memory, files)
    this.#trace = plan.trace === null ? null : new RunTrace(plan, machine, placement.cpuOfJob)
    this.#dumps =
      plan.dump === null ? null : new RunDumps(machine, plan.dump, dump => hooks.onDump?.(dump))
    this.#events = new DeviceEvents(machine, line => this.#fail(line))
    this.#executor = new Executor(
      machine,
      jobs,
      new Phases(plan.jobs, machine.now()),
      this.#periodic(jobs),
      job => this.#jobFailed(job),
    )
    this.#state = {
      plan,
      machine,
      executor: this.#executor,
      notes: [
        ...plan.notes,
        ...machine.notes,
        ...latencyNotes(plan),
        ...pollingNotes(plan, machine),
      ],
      epochMs: realTime(machine.config) ? epochMs() - Math.floor(machine.now() / 1e6) : 0,
    }
  }

  async go(): Promise<RunOutcome> {
    const { signal } = this.#hooks
    const interrupt = (): void => this.#executor.interrupt()
    try {
      await this.#machine.start({ handlers: hostHandlers(this.#executor.serveHere) })
      this.#dumps?.begin()
      this.#announce()
      if (signal?.aborted) interrupt()
      signal?.addEventListener('abort', interrupt)
      await this.#executor.run()
      await filesClosed(this.#machine)
      this.#dumps?.end()
      this.#hooks.onEnd?.(this.#machine)
      await removeTargets(this.#machine)
    } finally {
      signal?.removeEventListener('abort', interrupt)
      await this.#hooks.attachment?.detach(this.#machine)
      await this.#machine.stop()
    }
    const books = this.#machine.books()
    this.#checkBooks(books)
    const trace = this.#trace?.finish()
    if (trace) this.#hooks.onTrace?.(trace)
    const missing = [...(trace?.notes ?? []), ...this.#events.missed]
    for (const line of missing) this.#hooks.onNote?.(line)
    const state = { ...this.#state, notes: [...this.#state.notes, ...missing] }
    return { result: runResult(state, books), failures: this.#failures }
  }

  #announce(): void {
    const jobs = this.#executor.jobs.map(job => jobResult(this.#state, job, 0))
    this.#hooks.onStart?.(jobs, this.#state.notes)
  }

  #periodic(jobs: readonly RunningJob[]): Periodic[] {
    const { onProgress, onStatus } = this.#hooks
    const periodic: Periodic[] = [
      ...(this.#dumps?.periodic ?? []),
      ...this.#events.periodic,
      ...queueWrites(this.#plan.queueWrites, this.#machine, line => this.#fail(line)),
    ]
    const trace = this.#trace
    if (trace) periodic.push({ everyNs: TRACE_COUNT_NS, call: () => trace.count() })
    if (onProgress) {
      const meter = new ProgressMeter(this.#machine.view, jobs, this.#machine.now())
      periodic.push({ everyNs: PROGRESS_NS, call: now => onProgress(meter.take(now)) })
    }
    const everyNs = this.#plan.statusIntervalNs
    if (onStatus && everyNs !== null)
      periodic.push({ everyNs, call: () => onStatus(runResult(this.#state, null)) })
    return periodic
  }

  #jobFailed(job: RunningJob): void {
    const { view, disks } = this.#machine
    const own = job.policyError?.text ?? null
    this.#fail(failureLine(view, job.spec, job.address, job.errno, disks, own))
  }

  #checkBooks(books: TakenBooks): void {
    if (!books.balanced) this.#fail(`the books do not balance: ${books.problems.join('; ')}`)
  }

  #fail(line: string): void {
    this.#failures.push(line)
    this.#hooks.onFailure?.(line)
  }
}

/** Fills the blocks of all jobs and gives each to its CPU. */
function prepareJobs(
  plan: RunPlan,
  machine: Machine,
  placement: Placement,
  memory: JobMemory,
  files: LogFiles,
): RunningJob[] {
  const { view } = machine
  const base = machine.alloc(memory.bytes, PAGE)
  const tables = memory.tables === 0 ? 0 : base + memory.tables
  if (tables !== 0) machine.core.checksum_tables(tables)
  return plan.jobs.map((spec, i) => {
    const cpu = placement.cpuOfJob[i]!
    const site = siteOf(plan, machine, spec, i, base, memory, tables)
    const limits = jobLimits(spec, plan)
    fillJob(view, spec, limits, site)
    machine.linkJob(site.job, cpu)
    return new RunningJob(view, spec, limits, site, cpu, files, machine.config.lat === 'every')
  })
}

function siteOf(
  plan: RunPlan,
  machine: Machine,
  spec: JobSpec,
  index: number,
  base: number,
  memory: JobMemory,
  tables: number,
): JobSite {
  const disks = spec.files.map(file => diskOf(machine, spec, file.disk))
  return {
    job: machine.jobAddress(index),
    q: disks[0]?.q ?? 0,
    interrupts: disks.some(disk => disk?.queues.some(queue => queue.wait === 'irq')),
    queues: disks.map(disk => disk?.q ?? 0),
    lbaBytes: spec.direct
      ? Math.max(...disks.map(disk => 2 ** (disk?.config.lbaShift ?? SECTOR_SHIFT)))
      : 2 ** SECTOR_SHIFT,
    files: usesFiles(spec, plan),
    base,
    places: memory.jobs[index]!,
    tables,
  }
}

/** Whether a job, or another one on a disk of its own, goes through the page cache. */
function usesFiles(spec: JobSpec, { jobs }: RunPlan): boolean {
  const disks = new Set(spec.files.map(file => file.disk))
  const meets = (other: JobSpec): boolean => other.files.some(file => disks.has(file.disk))
  return spec.engineKind !== 'null' && jobs.some(other => isBuffered(other) && meets(other))
}

/** A disk of a job; undefined for engine null. */
function diskOf(machine: Machine, spec: JobSpec, name: string): Disk | undefined {
  if (spec.engineKind === 'null' || name === '') return undefined
  const disk = machine.disk(name.replace(/^\/dev\//, ''))
  const lba = spec.direct ? 2 ** disk.config.lbaShift : 2 ** SECTOR_SHIFT
  for (const d of [0, 1, 2] as const) {
    if (!spec.uses[d] || (spec.bsMin[d] % lba === 0 && spec.blockAlign[d] % lba === 0)) continue
    throw new UserError(
      `${spec.source}: bs=${spec.bsMin[d]}: ${name} takes whole blocks of ${lba} bytes only`,
    )
  }
  return disk
}

/** What hipri comes to: nothing where the device has completed before anyone could wait, else what the device says. */
function pollingNotes(plan: RunPlan, machine: Machine): string[] {
  if (plan.jobs.every(job => job.hipriPercentage === 0)) return []
  const waits = new Set(machine.disks.flatMap(disk => disk.queues.map(queue => queue.wait)))
  const inline =
    'hipri: the device runs in the submitting thread, nothing is waited for; where=thread makes a difference'
  return waits.has('inline') ? [inline] : []
}
