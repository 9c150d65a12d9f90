// What the options can say and the machine cannot do yet: refused by name, before anything exists, or, where the run still
// means what was asked for, done without it and said in a note. Nothing is ignored in silence.

import { UserError } from '../core/errors.js'
import type { JobSpec, RunPlan } from './job.js'

function watchesLatency(plan: RunPlan): boolean {
  return plan.jobs.some(job => job.latencyTarget !== null || job.maxLatencyNs > 0)
}

type Check<T> = readonly [option: string, wanted: (of: T) => boolean]

const PLAN: readonly Check<RunPlan>[] = [
  ['--kernel 4.9', plan => plan.kernel !== '4.19'],
  ['--trace', plan => plan.trace !== null],
  [
    '--lat none with latency_target or max_latency',
    plan => plan.lat === 'none' && watchesLatency(plan),
  ],
  ['--terse-version 2', plan => plan.terseVersion === 2],
  ['--shard', plan => plan.shard !== null],
]

const JOB: readonly Check<JobSpec>[] = [
  ['flow', job => job.flow !== 0],
  ['end_fsync', job => job.endFsync],
  ['fsync_on_close', job => job.fsyncOnClose],
  ['write_barrier', job => job.writeBarrier > 0],
  ['thinktime_iotime', job => job.thinktimeIotimeNs > 0],
  ['serialize_overlap', job => job.serializeOverlap],
  ['io_submit_mode=offload', job => job.ioSubmitMode === 'offload'],
  ['verify_only', job => job.verify.only],
  ['trim_percentage', job => job.trim.percent > 0],
  ['ignore_error', job => Object.values(job.ignoreError).some(list => list.length > 0)],
  ['cmdprio_percentage', job => job.cmdPrio.percentage.some(p => p > 0)],
  ['cmdprio_bssplit', job => job.cmdPrio.split.some(list => list.length > 0)],
  ['read_iolog', job => job.replay !== null],
  ['filename with several disks', job => new Set(job.files.map(file => file.disk)).size > 1],
]

/** @throws UserError naming the first option that is not built yet */
export function refuseUnbuilt(plan: RunPlan): void {
  for (const [option, wanted] of PLAN)
    if (wanted(plan)) throw new UserError(`${option}: not built yet`)
  for (const job of plan.jobs)
    for (const [option, wanted] of JOB)
      if (wanted(job)) throw new UserError(`${job.source}: ${option}: not built yet`)
}

const NOTES: readonly Check<JobSpec>[] = [
  ['thinktime_spin: the job waits instead of spinning', job => job.thinktimeSpinNs > 0],
]

/** One line for each thing that is done without. */
export function unbuiltNotes(plan: RunPlan): string[] {
  return NOTES.filter(([, wanted]) => plan.jobs.some(wanted)).map(([text]) => text)
}
