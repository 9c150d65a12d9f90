// The figures of the status line while a run goes on: what each job does, rates since the line before, how long it will
// take. status-line.ts turns them into fio's text.
//
// The time that is left is the longest of the jobs of each phase, one phase after the other. A job limited by time knows
// it; a job limited by amount goes on as it went so far; when neither is known, nothing is said.

import { JOB_BYTES, JOB_END_NS, JOB_START_NS, JOB_VERIFYING } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { DIRECTIONS, type Direction } from '../report/result.js'
import type { JobProgress, Progress } from '../report/status-line.js'
import { addCounters, type JobCounters, NO_COUNTS } from './counters.js'
import type { Triple } from './job.js'
import type { RunningJob } from './running-job.js'

/** Beyond this a deadline is "none" (the core's 2^63). */
const NEVER_NS = 2 ** 62

/** Makes one Progress after another. */
export class ProgressMeter {
  readonly #view: View
  readonly #jobs: readonly RunningJob[]
  #last: JobCounters = NO_COUNTS
  #lastNs: number

  constructor(view: View, jobs: readonly RunningJob[], nowNs: number) {
    this.#view = view
    this.#jobs = jobs
    this.#lastNs = nowNs
  }

  take(nowNs: number): Progress {
    const counts = this.#jobs
      .filter(job => job.started)
      .reduce((sum, job) => addCounters(sum, job.counters()), NO_COUNTS)
    const seconds = Math.max(1e-9, (nowNs - this.#lastNs) / 1e9)
    const left = this.#leftNs(nowNs)
    const first = this.#jobs[0]?.spec
    const progress: Progress = {
      jobs: this.#jobs.map(job => this.#jobProgress(job)),
      openFiles: this.#jobs.reduce((n, job) => n + (job.running ? job.spec.files.length : 0), 0),
      rate: perSecond(counts.bytes, this.#last.bytes, seconds),
      iops: perSecond(counts.ios, this.#last.ios, seconds),
      elapsedS: nowNs / 1e9,
      ...(Number.isFinite(left) ? { etaS: left / 1e9 } : {}),
      kbBase: first?.kbBase === 1000 ? 1000 : 1024,
      unitBase: first?.unitBase === 1 ? 1 : first?.unitBase === 8 ? 8 : 0,
    }
    this.#last = counts
    this.#lastNs = nowNs
    return progress
  }

  #jobProgress(job: RunningJob): JobProgress {
    const directions = DIRECTIONS.filter((_, d) => job.spec.uses[d])
    return { state: this.#state(job), directions, random: job.spec.random }
  }

  #state(job: RunningJob): JobProgress['state'] {
    if (job.ended) return 'reaped'
    if (!job.started) return 'not-created'
    if (!job.measuring) return 'ramp'
    return this.#view.u32(job.address + JOB_VERIFYING) ? 'verifying' : 'running'
  }

  /** Infinity = unknown. */
  #leftNs(nowNs: number): number {
    const phases = new Map<number, number>()
    for (const job of this.#jobs) {
      const left = this.#jobLeftNs(job, nowNs)
      phases.set(job.spec.phase, Math.max(phases.get(job.spec.phase) ?? 0, left))
    }
    return [...phases.values()].reduce((a, b) => a + b, 0)
  }

  #jobLeftNs(job: RunningJob, nowNs: number): number {
    const { limits } = job
    if (job.ended) return 0
    const byTime = limits.rampNs + limits.runtimeNs
    if (!job.started) return byTime
    const end = this.#view.u64(job.address + JOB_END_NS)
    return Math.min(
      end >= NEVER_NS ? Number.POSITIVE_INFINITY : end - nowNs,
      this.#byAmount(job, nowNs),
    )
  }

  #byAmount(job: RunningJob, nowNs: number): number {
    const done = this.#view.u64(job.address + JOB_BYTES)
    if (done === 0 || !Number.isFinite(job.limits.bytes)) return Number.POSITIVE_INFINITY
    const spent = nowNs - this.#view.u64(job.address + JOB_START_NS)
    return Math.max(0, (spent * (job.limits.bytes - done)) / done)
  }
}

function perSecond(now: Triple, before: Triple, seconds: number): Record<Direction, number> {
  const rate = (d: 0 | 1 | 2): number => Math.max(0, (now[d] - before[d]) / seconds)
  return { read: rate(0), write: rate(1), trim: rate(2) }
}
