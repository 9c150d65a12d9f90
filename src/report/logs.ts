// fio's sample logs as text: bandwidth, IOPS and latency logs, and histogram logs. Pure functions from samples to lines.
//
//   NAME_{bw,iops,slat,clat,lat}.J.log     msec, value, direction, block size[, offset], priority[, issue time]
//   NAME_clat_hist.J.log                   msec, direction, block size, c0, c1, ...
//
// Values: KiB/s, I/Os (1 for each I/O, or I/Os per second of a window), nanoseconds. Direction: 0 read, 1 write, 2 trim.
// The priority column is 1 for the real-time class and 0 otherwise; log_prio writes the whole value in hexadecimal. With
// log_avg_msec a window becomes one line whose value is the rounded mean and whose block size and offset are 0. A window ends
// with the first sample at or after its end, which still counts; the last one ends with the job.

import { HISTOGRAM_BUCKETS } from './result.js'

export type LogKind = 'bw' | 'iops' | 'slat' | 'clat' | 'lat'

/** One entry of a log, in the order in which it was taken. */
export interface LogSample {
  /** Since the job began. */
  timeMs: number
  value: number
  /** 0 read, 1 write, 2 trim. */
  direction: 0 | 1 | 2
  bs: number
  offset: number
  /** Linux's ioprio: class << 13 | level. */
  ioprio: number
  /** ns since the job began; only for log_issue_time. */
  issueNs?: number
}

/** Columns beyond the usual ones. */
export interface LogColumns {
  /** log_offset */
  offset?: boolean
  /** log_prio */
  prio?: boolean
  /** log_issue_time */
  issueTime?: boolean
}

/** Cumulative counts of a latency histogram at one moment (log_hist_msec). */
export interface HistogramSnapshot {
  timeMs: number
  direction: 0 | 1 | 2
  bs: number
  /** HISTOGRAM_BUCKETS counts since the job began. */
  buckets: Float64Array
}

const REAL_TIME_CLASS = 1
const CLASS_SHIFT = 13

/** File name of a log. `job` counts from 1 over all clones of the run; undefined stands for per_job_logs=0. */
export function logFileName(
  prefix: string,
  kind: LogKind | 'clat_hist',
  job: number | undefined,
): string {
  return job === undefined ? `${prefix}_${kind}.log` : `${prefix}_${kind}.${job}.log`
}

/** The log's text, one line per sample. */
export function formatLog(samples: readonly LogSample[], columns: LogColumns = {}): string {
  return samples.map(sample => `${fields(sample, columns).join(', ')}\n`).join('')
}

function fields(sample: LogSample, columns: LogColumns): (number | string)[] {
  const { timeMs, value, direction, bs, offset, ioprio, issueNs } = sample
  const realTime = ioprio >> CLASS_SHIFT === REAL_TIME_CLASS ? 1 : 0
  return [
    Math.floor(timeMs),
    Math.floor(value),
    direction,
    bs,
    ...(columns.offset ? [offset] : []),
    columns.prio ? `0x${ioprio.toString(16).padStart(4, '0')}` : realTime,
    ...(columns.issueTime ? [issueNs ?? 0] : []),
  ]
}

/** One window that is being filled. */
interface Window {
  startMs: number
  sum: number
  count: number
}

/**
 * One sample per direction and window of `windowMs` (log_avg_msec): the mean, rounded to the nearest integer.
 * `endMs` is when the job ended; what is then in a window becomes its last sample.
 */
export function averageLog(
  samples: readonly LogSample[],
  windowMs: number,
  endMs: number,
): LogSample[] {
  if (windowMs <= 0) return [...samples]
  const windows = [newWindow(), newWindow(), newWindow()]
  const out: LogSample[] = []
  for (const { timeMs, value, direction } of samples) {
    const window = windows[direction]
    window.sum += value
    window.count++
    if (timeMs - window.startMs < windowMs) continue
    close(window, timeMs, direction, out)
    window.startMs = timeMs - (timeMs % windowMs)
  }
  windows.forEach((window, direction) => {
    close(window, endMs, direction as 0 | 1 | 2, out)
  })
  return out
}

function newWindow(): Window {
  return { startMs: 0, sum: 0, count: 0 }
}

function close(window: Window, timeMs: number, direction: 0 | 1 | 2, out: LogSample[]): void {
  if (window.count === 0) return
  const value = Math.round(window.sum / window.count)
  out.push({ timeMs, value, direction, bs: 0, offset: 0, ioprio: 0 })
  window.sum = 0
  window.count = 0
}

/**
 * A histogram log: each line holds what was added since the snapshot before in the same direction, 2^coarseness buckets to a
 * column (log_hist_coarseness, 0 to 6).
 */
export function formatHistogramLog(
  snapshots: readonly HistogramSnapshot[],
  coarseness: number,
): string {
  const before: (Float64Array | undefined)[] = []
  let text = ''
  for (const { timeMs, direction, bs, buckets } of snapshots) {
    const counts = columnsOf(buckets, before[direction], 2 ** coarseness)
    text += `${[Math.floor(timeMs), direction, bs, ...counts].join(', ')}\n`
    before[direction] = buckets
  }
  return text
}

function columnsOf(now: Float64Array, before: Float64Array | undefined, stride: number): number[] {
  const columns: number[] = []
  for (let i = 0; i < HISTOGRAM_BUCKETS; i += stride) {
    let sum = 0
    for (let k = i; k < i + stride; k++) sum += now[k] - (before?.[k] ?? 0)
    columns.push(sum)
  }
  return columns
}
