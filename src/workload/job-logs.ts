// The log files of one job: write_bw_log, write_iops_log, write_lat_log, write_hist_log.
//
//   each I/O          the core appends a record to the job's log buffer at every completion; when it is full the job waits
//                     (JOB_WAIT_HOST, HOST_LOG) until drain() has written the lines; once more at the end of the job
//   log_avg_msec      no records: what was added to counts and sums since the window before gives one line per direction
//   log_max_value     needs the records as well, and keeps the largest value of each window
//   log_hist_msec     what was added to the histogram of completion latency since the line before
//
// Files grow under another name and take their places when the run is over (out-file.ts); with per_job_logs=0 the jobs'
// parts are joined in job order. Times count from the moment at which the measurement began.

import {
  JOB_LOG,
  JOB_LOG_COUNT,
  JOB_MEASURE_NS,
  JOB_STATS,
  LOG_BYTES,
  LOG_DDIR,
  LOG_LAT,
  LOG_OFFSET,
  LOG_SIZE,
  LOG_SLAT,
  LOG_TIME,
  LS_N,
  LS_SUM,
  STAT_BYTES,
  STAT_CLAT,
  STAT_IOS,
  STAT_LAT,
  STAT_SIZE,
  STAT_SLAT,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import {
  formatHistogramLog,
  formatLog,
  type LogColumns,
  type LogKind,
  type LogSample,
} from '../report/logs.js'
import { HISTOGRAM_BUCKETS } from '../report/result.js'
import { type PrioKind, prioKinds } from './extras.js'
import type { JobSpec, LogSpec } from './job.js'
import { readHistogram } from './job-view.js'

/** Records of a job's log buffer. */
export const LOG_RECORDS = 8192

type Direction = 0 | 1 | 2
const DIRECTIONS: readonly Direction[] = [0, 1, 2]

/** Takes the text of a log. */
export type LogSink = (text: string) => void

/** Where the lines of each kind of log go. */
export type LogSinks = Readonly<Partial<Record<LogKind | 'clat_hist', LogSink>>>

/** One completed I/O as the core recorded it. Times in ns on the machine's clock. */
export interface LogRecord {
  readonly timeNs: number
  readonly clatNs: number
  readonly slatNs: number
  readonly offset: number
  readonly bytes: number
  readonly ddir: number
  /** Number of its priority (extras.ts). */
  readonly prio: number
  /** Number of its region. */
  readonly file: number
}

/** Whether the core has to record every I/O of the job. */
export function wantsRecords(job: Pick<JobSpec, 'log' | 'writeIolog'>): boolean {
  const { log } = job
  const perIo = log.averageNs === 0 || log.maxValue
  return (perIo && (log.bw ?? log.iops ?? log.lat) !== null) || job.writeIolog !== null
}

/** Takes the records out of a job's buffer. */
export function takeRecords(view: View, job: number): LogRecord[] {
  const base = view.u32(job + JOB_LOG)
  const count = base === 0 ? 0 : view.u32(job + JOB_LOG_COUNT)
  const records: LogRecord[] = []
  for (let i = 0, at = base; i < count; i++, at += LOG_SIZE) {
    const kind = view.u32(at + LOG_DDIR)
    records.push({
      timeNs: view.u64(at + LOG_TIME),
      clatNs: view.u64(at + LOG_LAT),
      slatNs: view.u64(at + LOG_SLAT),
      offset: view.u64(at + LOG_OFFSET),
      bytes: view.u32(at + LOG_BYTES),
      ddir: kind & 0xff,
      prio: (kind >>> 8) & 0xff,
      file: kind >>> 16,
    })
  }
  if (count > 0) view.setU32(job + JOB_LOG_COUNT, 0)
  return records
}

type Values = Readonly<Record<LogKind, (r: LogRecord) => number>>

const VALUES: Values = {
  slat: r => r.slatNs,
  clat: r => r.clatNs,
  lat: r => r.slatNs + r.clatNs,
  bw: r => (r.clatNs > 0 ? (r.bytes * 1e9) / r.clatNs / 1024 : 0),
  iops: () => 1,
}

/** A synchronous engine submits and completes in one call, and that call is what it times. */
const SYNC_VALUES: Values = {
  ...VALUES,
  clat: VALUES.lat,
  bw: r => VALUES.bw({ ...r, clatNs: VALUES.lat(r) }),
}

/** The logs that a job writes: prefix of the file names by kind. */
export function logKinds(
  job: Pick<JobSpec, 'log' | 'engineKind'>,
): [kind: LogKind, prefix: string][] {
  const { log } = job
  const kinds: [LogKind, string | null][] = [
    ['bw', log.bw],
    ['iops', log.iops],
    ['slat', log.lat],
    ['clat', log.lat],
    ['lat', log.lat],
  ]
  return kinds.flatMap(([kind, prefix]) =>
    prefix === null ? [] : [[kind, prefix] as [LogKind, string]],
  )
}

type LoggedJob = Pick<JobSpec, 'log' | 'engineKind' | 'prioClass' | 'prio' | 'cmdPrio'>

/**
 * Writes the lines of one job. `sinks` has an entry for each kind of log that is wanted; `submissionTimed` says whether
 * the core times submissions (otherwise a latency is the same from submission and from issue).
 */
export class JobLogs {
  readonly #job: LoggedJob
  readonly #prios: readonly (readonly PrioKind[])[]
  readonly #values: Values
  readonly #sinks: LogSinks
  readonly #columns: LogColumns
  readonly #windows: WindowSums | null
  readonly #maxima: WindowMaxima | null
  readonly #hist: HistogramWindows | null

  constructor(job: LoggedJob, sinks: LogSinks, submissionTimed: boolean) {
    const { log } = job
    const sync = job.engineKind === 'sync'
    this.#job = job
    this.#prios = [prioKinds(job, 0), prioKinds(job, 1)]
    this.#values = sync ? SYNC_VALUES : VALUES
    this.#sinks = sinks
    this.#columns = { offset: log.offset, prio: log.prio }
    const averaged = log.averageNs > 0
    const whole = submissionTimed ? STAT_LAT : STAT_CLAT
    this.#windows =
      averaged && !log.maxValue ? new WindowSums(sync ? whole : STAT_CLAT, whole) : null
    this.#maxima = averaged && log.maxValue ? new WindowMaxima(log.averageNs, this.#values) : null
    this.#hist = log.hist !== null && log.histNs > 0 ? new HistogramWindows(log) : null
  }

  /** Length of the windows that window() and histogram() close; Infinity = none. */
  get windowNs(): number {
    return this.#windows ? this.#job.log.averageNs : Number.POSITIVE_INFINITY
  }

  get histogramNs(): number {
    return this.#hist ? this.#job.log.histNs : Number.POSITIVE_INFINITY
  }

  /** Lines for completed I/Os; `measureNs` is when the measurement began. */
  records(records: readonly LogRecord[], measureNs: number): void {
    const ios = records.filter(r => r.ddir <= 2)
    for (const kind of this.#kinds())
      if (this.#maxima) this.#write(kind, this.#maxima.add(kind, ios, measureNs))
      else if (!this.#windows)
        this.#write(
          kind,
          ios.map(r => this.#sample(kind, r, measureNs)),
        )
  }

  /** Closes the averaging window at `nowNs`. */
  window(view: View, job: number, nowNs: number): void {
    if (!this.#windows) return
    const timeMs = (nowNs - view.u64(job + JOB_MEASURE_NS)) / 1e6
    const closed = this.#windows.close(view, job, timeMs)
    for (const kind of this.#kinds()) this.#write(kind, closed[kind])
  }

  /** Writes what was added to the histogram. */
  histogram(view: View, job: number, nowNs: number): void {
    if (!this.#hist) return
    const timeMs = (nowNs - view.u64(job + JOB_MEASURE_NS)) / 1e6
    this.#sinks.clat_hist?.(this.#hist.close(view, job, timeMs))
  }

  /** The job is over: the open windows are closed. */
  end(view: View, job: number, nowNs: number): void {
    this.window(view, job, nowNs)
    this.histogram(view, job, nowNs)
    const timeMs = (nowNs - view.u64(job + JOB_MEASURE_NS)) / 1e6
    for (const kind of this.#kinds())
      if (this.#maxima) this.#write(kind, this.#maxima.end(kind, timeMs))
  }

  #kinds(): LogKind[] {
    // a synchronous engine submits and completes in one call: there is no submission latency
    const none = this.#job.engineKind === 'sync' ? 'slat' : ''
    return (Object.keys(this.#sinks) as (LogKind | 'clat_hist')[]).filter(
      (k): k is LogKind => k !== 'clat_hist' && k !== none,
    )
  }

  #sample(kind: LogKind, r: LogRecord, measureNs: number): LogSample {
    const prio = r.ddir < 2 ? this.#prios[r.ddir]![r.prio]! : this.#prios[0]![0]!
    return {
      timeMs: (r.timeNs - measureNs) / 1e6,
      value: this.#values[kind](r),
      direction: r.ddir as Direction,
      bs: r.bytes,
      offset: r.offset,
      ioprio: (prio.class << 13) | prio.level,
    }
  }

  #write(kind: LogKind, samples: readonly LogSample[]): void {
    if (samples.length > 0) this.#sinks[kind]?.(formatLog(samples, this.#columns))
  }
}

function averaged(timeMs: number, value: number, direction: Direction): LogSample {
  return { timeMs, value: Math.round(value), direction, bs: 0, offset: 0, ioprio: 0 }
}

/** What was added to the job's counts and sums since the last look. */
class WindowSums {
  readonly #last = new Map<number, number>()
  readonly #clat: number
  readonly #lat: number
  #lastMs = 0

  /** Which latencies of a STAT block stand for clat and lat. */
  constructor(clat: number, lat: number) {
    this.#clat = clat
    this.#lat = lat
  }

  close(view: View, job: number, timeMs: number): Record<LogKind, LogSample[]> {
    const seconds = (timeMs - this.#lastMs) / 1000
    this.#lastMs = timeMs
    const per = (value: (stat: number) => number | null): LogSample[] =>
      DIRECTIONS.flatMap(d => {
        const v = value(job + JOB_STATS + d * STAT_SIZE)
        return v === null ? [] : [averaged(timeMs, v, d)]
      })
    const rate = (field: number, unit: number) => (stat: number) => {
      const delta = this.#delta(stat + field, view.u64(stat + field))
      return delta > 0 && seconds > 0 ? delta / seconds / unit : null
    }
    const mean = (field: number) => (stat: number) => {
      const n = this.#delta(stat + field + LS_N, view.u64(stat + field + LS_N))
      const sum = this.#delta(stat + field + LS_SUM, view.f64(stat + field + LS_SUM))
      return n > 0 ? sum / n : null
    }
    return {
      bw: per(rate(STAT_BYTES, 1024)),
      iops: per(rate(STAT_IOS, 1)),
      slat: per(mean(STAT_SLAT)),
      ...this.#latencies(per, mean),
    }
  }

  /** clat and lat may be the same latency, whose differences can be taken only once. */
  #latencies(
    per: (value: (stat: number) => number | null) => LogSample[],
    mean: (field: number) => (stat: number) => number | null,
  ): Pick<Record<LogKind, LogSample[]>, 'clat' | 'lat'> {
    const clat = per(mean(this.#clat))
    return { clat, lat: this.#lat === this.#clat ? clat : per(mean(this.#lat)) }
  }

  #delta(address: number, value: number): number {
    const before = this.#last.get(address) ?? 0
    this.#last.set(address, value)
    return value - before
  }
}

/** The largest value of each window. */
class WindowMaxima {
  readonly #windowMs: number
  readonly #values: Values
  readonly #open = new Map<LogKind, { endMs: number; max: (number | null)[] }>()

  constructor(windowNs: number, values: Values) {
    this.#windowMs = windowNs / 1e6
    this.#values = values
  }

  add(kind: LogKind, ios: readonly LogRecord[], measureNs: number): LogSample[] {
    const closed: LogSample[] = []
    for (const r of ios) {
      const timeMs = (r.timeNs - measureNs) / 1e6
      let window = this.#window(kind)
      if (timeMs >= window.endMs) {
        closed.push(...this.end(kind, window.endMs))
        window = this.#window(kind)
        window.endMs = (Math.floor(timeMs / this.#windowMs) + 1) * this.#windowMs
      }
      window.max[r.ddir] = Math.max(window.max[r.ddir] ?? 0, this.#values[kind](r))
    }
    return closed
  }

  end(kind: LogKind, timeMs: number): LogSample[] {
    const window = this.#window(kind)
    const closed = DIRECTIONS.flatMap(d => {
      const max = window.max[d]
      return max === null ? [] : [averaged(Math.min(timeMs, window.endMs), max, d)]
    })
    window.max.fill(null)
    return closed
  }

  #window(kind: LogKind): { endMs: number; max: (number | null)[] } {
    let window = this.#open.get(kind)
    if (!window) this.#open.set(kind, (window = { endMs: this.#windowMs, max: [null, null, null] }))
    return window
  }
}

/** Histogram lines: counts since the line before. */
class HistogramWindows {
  readonly #log: LogSpec
  readonly #before: (Float64Array | null)[] = [null, null, null]

  constructor(log: LogSpec) {
    this.#log = log
  }

  close(view: View, job: number, timeMs: number): string {
    return DIRECTIONS.map(direction => {
      const stat = job + JOB_STATS + direction * STAT_SIZE
      const n = view.u64(stat + STAT_CLAT + LS_N)
      if (n === 0) return ''
      const buckets = readHistogram(view, stat + STAT_CLAT)
      const added = this.#added(direction, buckets)
      if (added.every(c => c === 0)) return ''
      const bs = Math.round(view.u64(stat + STAT_BYTES) / view.u64(stat + STAT_IOS))
      const snapshot = { timeMs, direction, bs, buckets: added }
      return formatHistogramLog([snapshot], this.#log.histCoarseness)
    }).join('')
  }

  #added(direction: Direction, now: Float64Array): Float64Array {
    const before = this.#before[direction]
    this.#before[direction] = now
    if (before === null) return now
    const added = new Float64Array(HISTOGRAM_BUCKETS)
    for (let i = 0; i < HISTOGRAM_BUCKETS; i++) added[i] = now[i] - before[i]
    return added
  }
}
