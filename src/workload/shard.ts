// --shard I/N: a run dealt out to N machines. Shard I runs jobs I, I+N, I+2N, ... of the plan, clones counted, with the seeds and on
// the disks that they have in the whole run; `phasebit merge` puts the N results (JSON) together.
//
// Walls, groups and exitall hold among the jobs of a shard: nobody waits for another machine. A job that waits for one of another
// shard by name, and a group that is reported as one, have no meaning then and are refused.

import { UserError } from '../core/errors.js'
import type { JobSpec, RunPlan } from './job.js'

/**
 * The plan of one shard, or the plan itself where it is whole.
 * @throws UserError when the run cannot be dealt out so
 */
export function shardOf(plan: RunPlan): RunPlan {
  if (plan.shard === null) return plan
  const { index: shard, count } = plan.shard
  const text = `--shard=${shard}/${count}`
  if (plan.jobs.length < count) {
    const have = plan.jobs.length === 1 ? 'is one job' : `are ${plan.jobs.length} jobs`
    throw new UserError(`${text}: there ${have}; N is at most that`)
  }
  const numbers = plan.jobs.map((_, i) => i).filter(i => i % count === shard - 1)
  const place = new Map(numbers.map((number, at) => [number, at]))
  const jobs = numbers.map((number, index): JobSpec => {
    const job = plan.jobs[number]!
    if (job.groupReporting)
      throw new UserError(`${text}: ${job.name}: group_reporting adds up jobs of other shards`)
    const waitFor = job.waitFor.map(other => {
      const at = place.get(other)
      if (at !== undefined) return at
      throw new UserError(
        `${text}: ${job.name} waits for ${plan.jobs[other]!.name}, which runs in another shard`,
      )
    })
    return { ...job, index, waitFor }
  })
  return { ...plan, jobs, dealt: { shard, count, jobs: numbers, of: plan.jobs.length } }
}
