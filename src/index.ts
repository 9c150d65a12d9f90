// The public API: what `phasebit run` does, as functions.
//
//   plan      arguments and job files become a RunPlan, everything checked, nothing run
//   run       a plan (or the arguments of one) is run; the result is plain data
//   formatReport   fio's texts of a result
//   openMachine    a machine for a program: read, write, trim and flush, queues of one's own, in either clock
//   openLightnvm   a machine with open-channel devices: targets are made and removed, attributes read
//
// Errors: UserError for anything wrong with what was asked for, before any I/O; OutputError when a log cannot be written
// or a thread dies. Jobs that fail are no exception: the outcome lists them. Nothing is printed here, and signals are the
// caller's. Times end in their unit; sizes are bytes.

import { availableParallelism } from 'node:os'
import type { RunPlan } from './workload/job.js'
import { readWhole } from './workload/read-file.js'
import { executePlan, type RunHooks, type RunOutcome } from './workload/run.js'
import { parseRun } from './workload/run-command.js'

export { OutputError, UserError } from './core/errors.js'
export { formatReport, type OutputFormat, type ReportFormat } from './report/report.js'
export type {
  Direction,
  DirectionResult,
  JobResult,
  LatencyStat,
  PhasebitFacts,
  RunResult,
} from './report/result.js'
export type { Progress } from './report/status-line.js'
export type { JobSpec, RunPlan } from './workload/job.js'
export { type Completion, type Io, IoError } from './workload/open-io.js'
export { type OpenMachine, type OpenOptions, openMachine } from './workload/open-machine.js'
export type { IoQueue } from './workload/io-queue.js'
export { type Dump, formatDump } from './workload/dump.js'
export {
  type LnvmCreate,
  type LnvmDevice,
  type LnvmMachine,
  type LnvmTarget,
  type LnvmType,
  openLightnvm,
  type Version,
} from './workload/lnvm-machine.js'
export type { RunHooks, RunOutcome } from './workload/run.js'

/** The name under which messages know a job file that came as text. */
const JOB_TEXT = 'job'

/** Where job files and environment variables come from; by default from this process. */
export interface PlanOptions {
  /** Text of a job file, run as if it came first among the arguments; messages call it `job`. */
  readonly job?: string
  /** Contents of a file by its path; throws when there is none. */
  readonly readFile?: (path: string) => Uint8Array
  /** For `${NAME}` in job files. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/**
 * Checks arguments and job files.
 * @param args as after `phasebit run`: job files, options of the machine and of the run, fio options
 * @throws UserError, one line naming file, line, option and what is accepted
 */
export function plan(args: readonly string[], options: PlanOptions = {}): RunPlan {
  const { job } = options
  const files = options.readFile ?? readWhole
  return parseRun(job === undefined ? args : [JOB_TEXT, ...args], {
    readFile: path =>
      job !== undefined && path === JOB_TEXT ? new TextEncoder().encode(job) : files(path),
    env: options.env ?? process.env,
    hostCpus: availableParallelism(),
  })
}

/**
 * Runs jobs on an emulated machine of their own.
 * @param what a plan, or the arguments of one
 * @param hooks progress, interim results, failures, and a signal that ends the run early
 * @returns the result, and one line for each job that failed (none = success)
 * @throws UserError before any I/O; OutputError when a log cannot be written or a thread dies
 */
export async function run(
  what: RunPlan | readonly string[],
  hooks: RunHooks = {},
): Promise<RunOutcome> {
  return executePlan('jobs' in what ? what : plan(what), hooks)
}
