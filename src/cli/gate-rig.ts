// A machine in real time with an endless job, driven by whoever calls: no thread of its own runs it, so a
// slice of half a millisecond can be timed and another build's slice put beside it.
//
//   boot    command line -> plan -> machine -> blocks of the jobs, as a run does; the machine's threads are never started
//   step    cpu_run in short calls, until so many I/Os have ended
//
// In virtual time the machine runs itself, by its own clock.

import { once } from 'node:events'
import { CPU_ENDED } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import { bootMachine, type Machine } from '../machine/machine.js'
import { serviceSlow, slowPending } from '../machine/slow.js'
import { placeJobs } from '../workload/cpus.js'
import { hostHandlers } from '../workload/host.js'
import type { RunPlan } from '../workload/job.js'
import { fillJob, startJob } from '../workload/job-block.js'
import { planJobMemory } from '../workload/job-memory.js'
import { jobLimits } from '../workload/limits.js'
import { machineConfig } from '../workload/machine-config.js'
import { parseRun } from '../workload/run-command.js'

const PAGE = 4096

/** I/Os of one call: short enough that the clock in a slice is the caller's. */
const CALL = 1024

/** The plan of a command line that names no files. */
function planOf(args: readonly string[]): RunPlan {
  const plan = parseRun(args, {
    readFile: path => {
      throw new Error(`a benchmark reads no file, and ${path} was asked for`)
    },
    env: {},
    hostCpus: 1,
  })
  return plan
}

const HANDLERS = hostHandlers(() => {
  throw new Error('a benchmark has no files that a job could wait for')
})

/**
 * Boots the machine of these arguments; every job goes at once. Its threads have loaded their files when it returns, and stay
 * idle: loading would disturb what is measured, and a thread that is ended while it loads takes the process with it.
 */
export async function bootRig(args: readonly string[]): Promise<Machine> {
  const plan = planOf(args)
  const cores = plan.clock === 'real' ? plan.jobs.length : null
  const placement = placeJobs(plan.jobs, plan.cpus ?? plan.jobs.length, cores)
  const memory = planJobMemory(plan)
  const machine = bootMachine(
    machineConfig(plan, {
      nrCpus: placement.nrCpus,
      jobs: plan.jobs.length,
      extraBytes: memory.bytes + PAGE,
    }),
  )
  const base = machine.alloc(memory.bytes, PAGE)
  for (const [i, spec] of plan.jobs.entries()) {
    const disk = machine.disk(spec.files[0].disk.replace(/^\/dev\//, ''))
    const lbaBytes = 2 ** disk.config.lbaShift
    const job = machine.jobAddress(i)
    const site = { job, q: disk.q, lbaBytes, base, places: memory.jobs[i], tables: 0 }
    fillJob(machine.view, spec, jobLimits(spec, plan), site)
    machine.linkJob(job, placement.cpuOfJob[i])
    startJob(machine.view, spec, jobLimits(spec, plan), site, 0)
  }
  await Promise.all(machine.threads().map(worker => once(worker, 'message')))
  return machine
}

/** What drives one CPU. */
export interface Seat {
  readonly core: Core
  readonly view: View
  /** The CPU's block and number. */
  readonly cpu: number
  readonly index: number
  readonly now: () => number
}

/** The machine's first CPU, driven by the calling thread. */
export function seatOf(machine: Machine): Seat {
  const { core, view, now } = machine
  return { core, view, cpu: machine.cpuAddress(0), index: 0, now }
}

/**
 * Runs the CPU until at least `ios` I/Os have ended.
 * @returns how many have
 * @throws Error when nothing ends any more
 */
export function step(seat: Seat, ios: number): number {
  const { core, view, cpu } = seat
  const began = view.u64(cpu + CPU_ENDED)
  let ended = 0
  let idle = 0
  while (ended < ios) {
    core.cpu_set_now(cpu, seat.now())
    core.cpu_run(cpu, Math.min(CALL, ios - ended))
    if (slowPending(view, cpu)) serviceSlow({ ...seat, post: () => {} }, HANDLERS)
    const before = ended
    ended = view.u64(cpu + CPU_ENDED) - began
    idle = ended === before ? idle + 1 : 0
    if (idle > 10_000) throw new Error('the machine idles: its job does not go on')
  }
  return ended
}
