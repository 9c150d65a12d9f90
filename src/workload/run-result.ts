// The result of a run, at its end or (status-interval) in its middle.

import { JOB_FINISH_NS } from '../../assembly/layout.js'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { distUrl } from '../core/wasm.js'
import { sharesThread } from '../machine/clock.js'
import { realTime, type Books as TakenBooks } from '../machine/config.js'
import type { Machine } from '../machine/machine.js'
import type { Books, Json, JobResult, PhasebitFacts, RunResult } from '../report/result.js'
import { collectJob } from './collect.js'
import type { Executor } from './executor.js'
import { diskUtil, queueFacts, stageMeans } from './facts.js'
import type { RunPlan } from './job.js'
import { deviceTexts } from './machine-config.js'
import type { RunningJob } from './running-job.js'

/** What a result is made of. */
export interface RunState {
  readonly plan: RunPlan
  readonly machine: Machine
  readonly executor: Executor
  readonly notes: readonly string[]
  /** ms since 1970 at which the run began; 0 in virtual time. */
  readonly epochMs: number
}

/** The result so far. `books` are taken anew at the end of a run; in its middle the CPUs' counters must do. */
export function runResult(state: RunState, books: TakenBooks | null): RunResult {
  const { plan, machine, executor } = state
  const nowNs = machine.now()
  const real = realTime(machine.config)
  return {
    epochMs: real ? state.epochMs + Math.floor(nowNs / 1e6) : 0,
    utc: !real,
    globalOptions: { ...plan.globalOptions },
    jobs: executor.jobs.map(job => jobResult(state, job, nowNs)),
    disks: machine.disks.flatMap(disk => diskUtil(machine, disk, nowNs) ?? []),
    phasebit: facts(state, books),
  }
}

/** The result of one job at `nowNs`. */
export function jobResult(state: RunState, job: RunningJob, nowNs: number): JobResult {
  const { machine, executor } = state
  const used = executor.cpuTime.of(executor.jobs.indexOf(job))
  return collectJob(machine.view, job.spec, {
    address: job.started ? job.address : 0,
    errno: job.errno,
    firstErrno: job.firstErrno,
    samples: job.policy?.samples ?? null,
    depth: job.policy?.depth ?? null,
    steady: executor.steady.result(job),
    ...used,
    endNs: job.ended ? machine.view.u64(job.address + JOB_FINISH_NS) : nowNs,
    submissionTimed: machine.config.lat === 'every',
    elapsedNs: nowNs,
    epochMs: state.epochMs,
  })
}

function facts(state: RunState, books: TakenBooks | null): PhasebitFacts {
  const { plan, machine } = state
  const shortened = shortenedBy(state)
  const stages = stageMeans(machine)
  const real = realTime(machine.config)
  return {
    version: packageVersion(),
    ...coreHash(),
    clock: real ? 'real' : 'virtual',
    kernel: plan.kernel,
    seed: String(plan.seed),
    cpus: machine.config.cpus,
    ...cpuThreads(machine),
    devices: deviceTexts(plan),
    latencyMode: machine.config.lat,
    queues: queueFacts(machine),
    books: books ? withoutProblems(books) : runningBooks(machine),
    ...(shortened === '' ? {} : { shortened }),
    ...(plan.dealt ? { shard: plan.dealt } : {}),
    notes: [...state.notes],
    ...(real ? { host: hostFacts() } : {}),
    ...(stages ? { extra: { stages } } : {}),
  }
}

function cpuThreads({ config }: Machine): { cpuThreads?: number } {
  if (config.clock === 'virtual') return {}
  return { cpuThreads: sharesThread(config) ? 1 : config.cpus }
}

function withoutProblems(books: TakenBooks): Books {
  const { submitted, completed, failed, inFlight, tagsHeld, ringEntries, biosUnbalanced } = books
  return {
    submitted,
    completed,
    failed,
    inFlight,
    tagsHeld,
    ringEntries,
    biosUnbalanced,
    worksPending: 0,
    timersPending: 0,
    balanced: books.balanced,
  }
}

/** While jobs run nothing can be counted twice: what is missing is in flight. */
function runningBooks(machine: Machine): Books {
  const cpus = Array.from({ length: machine.config.cpus }, (_, i) => machine.cpuCounters(i))
  const sum = (key: 'submitted' | 'ended' | 'failed'): number =>
    cpus.reduce((total, cpu) => total + cpu[key], 0)
  const [completed, failed] = [sum('ended'), sum('failed')]
  const submitted = sum('submitted')
  const inFlight = Math.max(0, submitted - completed - failed)
  return {
    submitted,
    completed,
    failed,
    inFlight,
    tagsHeld: inFlight,
    ringEntries: 0,
    biosUnbalanced: 0,
    worksPending: 0,
    timersPending: 0,
    balanced: true,
  }
}

/** Which caps of the command line took effect, as the user wrote them. */
function shortenedBy({ plan, executor }: RunState): string {
  const by = new Set(executor.jobs.map(job => job.shortenedBy))
  const parts: string[] = []
  if (by.has('runtime')) parts.push(`--max-runtime ${(plan.maxRuntimeNs ?? 0) / 1e9}s`)
  if (by.has('io')) parts.push(`--max-io ${plan.maxIo}`)
  if (executor.interrupted) parts.push('interrupted')
  return parts.join(', ')
}

function packageVersion(): string {
  const text = readFileSync(distUrl('../package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** Hash of the sources of the core; absent when only the core was built. */
function coreHash(): { core?: string } {
  try {
    return { core: readFileSync(distUrl('core.hash'), 'utf8').slice(0, 16) }
  } catch {
    return {}
  }
}

function hostFacts(): { [key: string]: Json } {
  return {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cores: availableParallelism(),
  }
}
