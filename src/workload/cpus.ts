// Which CPU each job runs on, and how many CPUs the machine needs.
//
// A job keeps one CPU for its whole life: the emulated scheduler does not migrate. A job that names CPUs
// (cpus_allowed, cpumask; `split` has already become one CPU for each clone) gets the least loaded of them, any other
// job the least loaded of all. Load is counted among the jobs of the same phase, because the others have ended by then.
//
// The number of CPUs is --cpus, or else what the jobs ask for: every CPU that is named, and for the rest one for each
// job that runs at the same time, up to a bound (real clock: the host's cores, since a CPU is a thread that spins).

import { UserError } from '../core/errors.js'
import type { JobSpec } from './job.js'

/** What jobs that name no CPU may add in virtual time, where CPUs cost nothing but must not depend on the host. */
const VIRTUAL_BOUND = 16

type PlacedJob = Pick<JobSpec, 'name' | 'source' | 'phase' | 'cpusAllowed'>

/** Where the jobs run. */
export interface Placement {
  readonly nrCpus: number
  /** CPU of each job, in the order of the jobs. */
  readonly cpuOfJob: readonly number[]
}

/**
 * Places jobs on CPUs. `cpus` is --cpus (null = as many as needed), `hostCores` the host's cores, or null in virtual
 * time. Throws UserError when a job may only run on CPUs that the machine does not have.
 */
export function placeJobs(
  jobs: readonly PlacedJob[],
  cpus: number | null,
  hostCores: number | null,
): Placement {
  const nrCpus = cpus ?? cpusNeeded(jobs, hostCores ?? VIRTUAL_BOUND)
  const loads = new Map<number, number[]>()
  const cpuOfJob = jobs.map(job => {
    let load = loads.get(job.phase)
    if (!load) loads.set(job.phase, (load = new Array<number>(nrCpus).fill(0)))
    const cpu = leastLoaded(candidates(job, nrCpus), load)
    load[cpu] += 1
    return cpu
  })
  return { nrCpus, cpuOfJob }
}

function cpusNeeded(jobs: readonly PlacedJob[], bound: number): number {
  const named = jobs.flatMap(job => job.cpusAllowed ?? [])
  const highest = named.reduce((a, b) => Math.max(a, b), -1)
  const free = new Map<number, number>()
  for (const job of jobs)
    if (job.cpusAllowed === null) free.set(job.phase, (free.get(job.phase) ?? 0) + 1)
  const together = Math.max(0, ...free.values())
  return Math.max(1, highest + 1, Math.min(together, bound))
}

function candidates(job: PlacedJob, nrCpus: number): readonly number[] {
  if (job.cpusAllowed === null) return Array.from({ length: nrCpus }, (_, cpu) => cpu)
  const present = job.cpusAllowed.filter(cpu => cpu < nrCpus)
  if (present.length === 0)
    throw new UserError(
      `${job.source}: job '${job.name}': cpus_allowed=${job.cpusAllowed.join(',')}: ` +
        `the machine has CPUs 0 to ${nrCpus - 1} (--cpus ${nrCpus})`,
    )
  return present
}

function leastLoaded(cpus: readonly number[], load: readonly number[]): number {
  return cpus.reduce((best, cpu) => (load[cpu] < load[best] ? cpu : best))
}
