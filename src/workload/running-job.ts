// One job of a run on the main thread: where it is, what watches it, where its logs go.
//
//   start    fills in the times, lets the core begin
//   tick     from the start of the measurement on: samples, log windows, policies
//   drain    empties the log buffer
//   finish   after the core has said that it is done: the last lines, the errno

import {
  HOST_REPLAY,
  JOB_CONTINUE,
  JOB_END_NS,
  JOB_ERROR,
  JOB_FINISH_NS,
  JOB_HOST_WHY,
  JOB_IGNORED,
  JOB_IODEPTH,
  JOB_ISSUED_MEASURED,
  JOB_MEASURE_NS,
  JOB_RAMP_NS,
  JOB_RECORD,
  JOB_START_NS,
  JOB_STATE,
  JOB_STOP,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { EILSEQ } from '../kernel/errno.js'
import type { JobCounters } from './counters.js'
import { feedReplay, joinFlow } from './extras.js'
import { IologOut } from './iolog-out.js'
import type { JobSpec } from './job.js'
import { type JobSite, startJob } from './job-block.js'
import { JobLogs, takeRecords } from './job-logs.js'
import { readCounters } from './job-view.js'
import type { JobLimits } from './limits.js'
import type { LogFiles } from './log-files.js'
import { JobPolicy, type Verdict } from './policy.js'

/**
 * When a job whose ramp should be over is asked whether it is: soon, because what it uses until then is not charged to it, and
 * then more and more rarely, because its next I/O may be far.
 */
const RAMP_CHECK_NS = { first: 10_000, most: 1_000_000 } as const
const VERIFY_CONTINUES = 4
const IO_CONTINUES = 3

/** See above. */
export class RunningJob {
  readonly spec: JobSpec
  readonly limits: JobLimits
  readonly site: JobSite
  readonly cpu: number
  policy: JobPolicy | null = null
  /** What a policy failed it with. */
  policyError: Verdict['error'] | null = null
  started = false
  ended = false
  readonly #view: View
  readonly #logs: JobLogs
  readonly #iolog: IologOut | null
  #nextWindowNs = Number.POSITIVE_INFINITY
  #nextHistogramNs = Number.POSITIVE_INFINITY
  #checkNs = Number.POSITIVE_INFINITY
  #checkStepNs: number = RAMP_CHECK_NS.first
  /** Entries of the replayed log that the core has got. */
  #fed = 0

  constructor(
    view: View,
    spec: JobSpec,
    limits: JobLimits,
    site: JobSite,
    cpu: number,
    files: LogFiles,
    submissionTimed: boolean,
  ) {
    this.#view = view
    this.spec = spec
    this.limits = limits
    this.site = site
    this.cpu = cpu
    this.#logs = new JobLogs(spec, files.sinks(spec), submissionTimed)
    const iolog = files.iolog(spec)
    this.#iolog = iolog ? new IologOut(spec.files, iolog) : null
  }

  get address(): number {
    return this.site.job
  }

  get running(): boolean {
    return this.started && !this.ended
  }

  /** JOB_* */
  get state(): number {
    return this.#view.load(this.address + JOB_STATE)
  }

  /** The measurement has begun. */
  get measuring(): boolean {
    return this.policy !== null
  }

  /** Comes before start(), for all jobs that start together. */
  join(): void {
    joinFlow(this.#view, this.address, this.spec)
  }

  start(nowNs: number): void {
    if (this.spec.replay) this.#feed()
    startJob(this.#view, this.spec, this.limits, this.site, nowNs)
    this.started = true
    this.#checkNs = nowNs + this.limits.rampNs
    if (this.limits.rampNs === 0) this.#measure(nowNs)
  }

  /** When tick() has something to do; Infinity = never. */
  get nextNs(): number {
    if (!this.running) return Number.POSITIVE_INFINITY
    if (!this.policy) return this.#checkNs
    return Math.min(this.policy.nextNs, this.#nextWindowNs, this.#nextHistogramNs)
  }

  counters(): JobCounters {
    return readCounters(this.#view, this.address)
  }

  tick(nowNs: number): Verdict {
    if (!this.running || nowNs < this.nextNs) return {}
    if (!this.policy) {
      this.#checkNs = nowNs + this.#checkStepNs
      this.#checkStepNs = Math.min(2 * this.#checkStepNs, RAMP_CHECK_NS.most)
      if (this.#view.load(this.address + JOB_RECORD) === 0) return {}
      this.#measure(this.#view.u64(this.address + JOB_MEASURE_NS))
    }
    this.#closeWindows(nowNs)
    return this.#act(nowNs, this.policy!.tick(nowNs, this.counters()))
  }

  /** Does what the job waits for: room in its log, or more of the log that it replays. */
  serve(): void {
    if (this.#view.u32(this.address + JOB_HOST_WHY) === HOST_REPLAY) this.#feed()
    else this.drain()
  }

  /** Empties the log buffer. */
  drain(): void {
    const records = takeRecords(this.#view, this.address)
    if (records.length === 0) return
    this.#logs.records(records, this.#view.u64(this.address + JOB_MEASURE_NS))
    this.#iolog?.records(records, this.#view.u64(this.address + JOB_START_NS))
  }

  stop(): void {
    this.#view.store(this.address + JOB_STOP, 1)
  }

  finish(): void {
    this.ended = true
    this.drain()
    const view = this.#view
    if (view.load(this.address + JOB_RECORD) === 0) return
    if (!this.policy) this.#measure(view.u64(this.address + JOB_MEASURE_NS))
    this.#logs.end(view, this.address, view.u64(this.address + JOB_FINISH_NS))
    this.#iolog?.end(view.u64(this.address + JOB_START_NS))
  }

  /** What the job ended with: an error that continue_on_error lets pass is none. */
  get errno(): number {
    if (!this.started) return 0
    if (this.policyError) return this.policyError.errno
    const errno = this.#view.u32(this.address + JOB_ERROR)
    const survives = this.#view.u32(this.address + JOB_CONTINUE)
    const mask = errno === EILSEQ ? VERIFY_CONTINUES : IO_CONTINUES
    return (survives & mask) === mask ? 0 : errno
  }

  /** The first error, even if the job survived it. */
  get firstErrno(): number {
    if (!this.started) return 0
    const view = this.#view
    const own = view.u32(this.address + JOB_ERROR) || view.u32(this.address + JOB_IGNORED)
    return this.policyError?.errno ?? own
  }

  /** Which cap of the command line has made it shorter than its file says. */
  get shortenedBy(): 'runtime' | 'io' | null {
    const view = this.#view
    if (!this.started) return null
    if (view.u64(this.address + JOB_ISSUED_MEASURED) >= this.limits.maxIo) return 'io'
    const late = view.u64(this.address + JOB_FINISH_NS) >= view.u64(this.address + JOB_END_NS)
    return this.limits.clipped || (this.limits.capped && late) ? 'runtime' : null
  }

  #feed(): void {
    this.#fed = feedReplay(this.#view, this.address, this.spec, this.#fed)
  }

  #measure(measureNs: number): void {
    this.policy = new JobPolicy(this.spec, measureNs)
    this.#nextWindowNs = measureNs + this.#logs.windowNs
    this.#nextHistogramNs = measureNs + this.#logs.histogramNs
  }

  #closeWindows(nowNs: number): void {
    if (nowNs >= this.#nextWindowNs) {
      this.#logs.window(this.#view, this.address, nowNs)
      this.#nextWindowNs = following(this.#nextWindowNs, this.#logs.windowNs, nowNs)
    }
    if (nowNs >= this.#nextHistogramNs) {
      this.#logs.histogram(this.#view, this.address, nowNs)
      this.#nextHistogramNs = following(this.#nextHistogramNs, this.#logs.histogramNs, nowNs)
    }
  }

  #act(nowNs: number, verdict: Verdict): Verdict {
    if (verdict.depth !== undefined) this.#view.store(this.address + JOB_IODEPTH, verdict.depth)
    // the core forgets what it has recorded when a ramp ends, and this one is over at once
    if (verdict.restart) this.#view.setU64(this.address + JOB_RAMP_NS, Math.max(1, nowNs))
    if (verdict.error) this.policyError = verdict.error
    if (verdict.stop) this.stop()
    return verdict
  }
}

/** The first end of a window after `nowNs`. */
function following(endNs: number, windowNs: number, nowNs: number): number {
  return endNs + windowNs * Math.ceil((nowNs + 1 - endNs) / windowNs)
}
