// steadystate over the jobs of a run: each job for itself, or with group_reporting all jobs of a reporting group together,
// which then end together.

import type { SteadyStateResult } from '../report/result.js'
import { addCounters, type JobCounters, NO_COUNTS } from './counters.js'
import type { SteadyStateSpec } from './job.js'
import type { RunningJob } from './running-job.js'
import { SteadyState } from './steady-state.js'

interface Group {
  readonly spec: SteadyStateSpec
  readonly members: RunningJob[]
  /** Null until the first member measures. */
  state: SteadyState | null
}

/** All groups that look for a steady state. */
export class SteadyGroups {
  readonly #groups = new Map<string, Group>()

  constructor(jobs: readonly RunningJob[]) {
    for (const job of jobs) {
      const { steadyState } = job.spec
      if (!steadyState) continue
      const group = this.#groups.get(keyOf(job))
      if (group) group.members.push(job)
      else this.#groups.set(keyOf(job), { spec: steadyState, members: [job], state: null })
    }
  }

  get nextNs(): number {
    return this.#active().reduce(
      (next, group) => Math.min(next, group.state?.nextNs ?? Number.POSITIVE_INFINITY),
      Number.POSITIVE_INFINITY,
    )
  }

  /** Takes the values that are due. Returns the jobs that are to end. */
  tick(nowNs: number): RunningJob[] {
    return this.#active().flatMap(group => {
      if (!group.state && group.members.some(job => job.measuring))
        group.state = new SteadyState(group.spec, nowNs)
      const steady = group.state?.tick(nowNs, countersOf(group)) ?? false
      return steady ? group.members.filter(job => job.running) : []
    })
  }

  result(job: RunningJob): SteadyStateResult | null {
    return this.#groups.get(keyOf(job))?.state?.result() ?? null
  }

  #active(): Group[] {
    return [...this.#groups.values()].filter(group => group.members.some(job => job.running))
  }
}

function keyOf({ spec }: RunningJob): string {
  return spec.groupReporting ? `group ${spec.groupid}` : `job ${spec.index}`
}

function countersOf(group: Group): JobCounters {
  return group.members
    .filter(job => job.started)
    .reduce((sum, job) => addCounters(sum, job.counters()), NO_COUNTS)
}
