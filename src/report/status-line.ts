// fio's one line of progress, as a function of a snapshot:
//
//   Jobs: 2 (f=2): [R(2)][60.0%][r=12.9GiB/s][r=3371k IOPS][eta 00m:02s]
//
// One letter per job tells its state; equal neighbours are counted: [r(2),_(1),P(1)]. The caller decides when to print, adds
// the carriage return and blanks out the rest of an earlier, longer line.

import { fixed, humanNumber, humanRate } from './numbers.js'
import { DIRECTIONS, type Direction } from './result.js'

/** What a job is doing. */
export type JobState =
  | 'not-created'
  | 'initialized'
  | 'created'
  | 'ramp'
  | 'running'
  | 'pre-reading'
  | 'verifying'
  | 'fsyncing'
  | 'finishing'
  | 'exited'
  | 'reaped'
  | 'failed'
  | 'killed'

export interface JobProgress {
  state: JobState
  /** Directions of the job's rw option. */
  directions: readonly Direction[]
  random: boolean
}

/** Sums over all jobs at one moment. */
export interface Progress {
  jobs: readonly JobProgress[]
  openFiles: number
  /** Bytes per second since the line before. */
  rate: Record<Direction, number>
  iops: Record<Direction, number>
  /** Sums of rate_min and rate over the running jobs, bytes per second; absent without limits. */
  rateLimit?: { min: number; target: number }
  /** Sums of rate_iops_min and rate_iops; shown only without rateLimit. */
  iopsLimit?: { min: number; target: number }
  elapsedS: number
  /** Undefined while unknown: the line then ends after the limits. */
  etaS?: number
  kbBase: 1024 | 1000
  unitBase: 0 | 1 | 8
}

const ACTIVE: readonly JobState[] = [
  'ramp',
  'running',
  'pre-reading',
  'verifying',
  'fsyncing',
  'finishing',
]
const FIGURES = 4

const LETTERS: Readonly<Record<Exclude<JobState, 'running'>, string>> = {
  'not-created': 'P',
  initialized: 'I',
  created: 'C',
  ramp: '/',
  'pre-reading': 'p',
  verifying: 'V',
  fsyncing: 'F',
  finishing: 'f',
  exited: 'E',
  reaped: '_',
  failed: 'X',
  killed: 'K',
}

/** The line, without a line end. */
export function statusLine(p: Progress): string {
  const active = p.jobs.filter(job => ACTIVE.includes(job.state))
  const start = `Jobs: ${active.length} (f=${p.openFiles})${limits(p)}`
  if (p.etaS === undefined || active.length === 0) return start
  const ramping = active.every(job => job.state === 'ramp')
  const done = p.elapsedS + p.etaS > 0 ? (100 * p.elapsedS) / (p.elapsedS + p.etaS) : 0
  const percent = ramping ? '-.-%' : `${fixed(done, 1)}%`
  return `${start}: [${condensed(p.jobs)}][${percent}]${rates(p)}[eta ${etaText(p.etaS)}]`
}

/** The letter of one job: lower case for random, M or m for reads and writes together, D or d for trims alone. */
export function jobLetter({ state, directions, random }: JobProgress): string {
  if (state !== 'running') return LETTERS[state]
  const has = (d: Direction): boolean => directions.includes(d)
  const letter = has('read') && has('write') ? 'M' : has('read') ? 'R' : has('write') ? 'W' : 'D'
  return random ? letter.toLowerCase() : letter
}

/** Seconds as `02d:03h:00m:07s`, without the days and hours that are not needed. */
export function etaText(seconds: number): string {
  const two = (n: number): string => String(n).padStart(2, '0')
  const days = Math.floor(seconds / 86_400)
  const hours = Math.floor(seconds / 3600) % 24
  const parts = [`${two(Math.floor(seconds / 60) % 60)}m`, `${two(Math.floor(seconds) % 60)}s`]
  if (days > 0 || hours > 0) parts.unshift(`${two(hours)}h`)
  if (days > 0) parts.unshift(`${two(days)}d`)
  return parts.join(':')
}

function limits(p: Progress): string {
  if (p.rateLimit) {
    const rate = (bytes: number): string => humanRate(bytes, FIGURES, p.kbBase === 1024, 8)
    return `, ${rate(p.rateLimit.min)}-${rate(p.rateLimit.target)}`
  }
  return p.iopsLimit ? `, ${p.iopsLimit.min}-${p.iopsLimit.target} IOPS` : ''
}

function condensed(jobs: readonly JobProgress[]): string {
  const letters = jobs.map(jobLetter).join('')
  const runs = letters.match(/(.)\1*/g) ?? []
  return runs.map(run => `${run[0]}(${run.length})`).join(',')
}

function rates(p: Progress): string {
  const moving = DIRECTIONS.filter(d => p.rate[d] > 0 || p.iops[d] > 0)
  if (moving.length === 0) return ''
  const rate = (d: Direction): string =>
    `${d[0]}=${humanRate(Math.floor(p.rate[d]), FIGURES, p.kbBase === 1024, p.unitBase)}`
  const iops = (d: Direction): string =>
    `${d[0]}=${humanNumber(Math.floor(p.iops[d]), FIGURES, false, '')}`
  return `[${moving.map(rate).join(',')}][${moving.map(iops).join(',')} IOPS]`
}
