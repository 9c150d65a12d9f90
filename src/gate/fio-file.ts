// fio's JSON and JSON+, from any machine: what of it can be compared, and the facts that say whether it may be.
//
//   FioFile
//     facts     fio's version, global options, options of each job; phasebit's own facts when it wrote the file
//     units     one for each job name and direction; clones of a job are one unit:
//                 I/Os and bytes add, the runtime is the longest, histograms add.
//               Percentiles without a histogram (plain JSON) stay only where a unit has a single clone: they cannot be added
//
// fio may print notes before the document, and with --status-interval several documents: the last one is the result. A file
// without I/O, with a failed job, cut off, or made by something else is refused.

import { UserError } from '../core/errors.js'
import { bucketIndex, bucketValue, percentiles } from '../report/histogram.js'
import { HISTOGRAM_BUCKETS } from '../report/result.js'
import { UNKNOWN } from './fingerprint.js'
import { isRecord, type JsonRecord, numberOf, parseJson, readText } from './json-file.js'
import { type Fingerprint, GATE_SCHEMA } from './types.js'

const DIRECTIONS = ['read', 'write', 'trim', 'mixed'] as const

/** Latencies in the order of preference. */
const LATENCIES = ['clat_ns', 'lat_ns'] as const

/** One job in one direction. */
export interface FioUnit {
  readonly job: string
  readonly direction: string
  readonly ios: number
  readonly bytes: number
  /** Time active, ms; the longest of the clones. */
  readonly runtimeMs: number
  readonly iops: number
  /** Bytes a second. */
  readonly bw: number
  readonly clones: number
  /** Which latency: `clat_ns`, `lat_ns`, or none. */
  readonly latency: string | null
  /** HISTOGRAM_BUCKETS counts; null in plain JSON. */
  readonly buckets: Float64Array | null
  /** As fio prints them, by percent; of a single clone only. */
  readonly percentiles: ReadonlyMap<number, number>
}

export interface FioFile {
  readonly path: string
  readonly facts: Fingerprint
  /** By `job: direction`. */
  readonly units: ReadonlyMap<string, FioUnit>
  /** What was noticed and is no reason to refuse. */
  readonly notes: readonly string[]
}

/** Reads a file. @throws UserError */
export function readFioFile(path: string): FioFile {
  return parseFio(path, readText(path))
}

/** @throws UserError when the text is no complete, successful result of fio with I/O in it */
export function parseFio(path: string, text: string): FioFile {
  const { json, documents } = documentOf(path, text)
  if (isRecord(json) && json['schema'] === GATE_SCHEMA) return parseNative(path, json)
  if (!isRecord(json) || typeof json['fio version'] !== 'string' || !Array.isArray(json['jobs']))
    throw new UserError(`${path}: is JSON, but neither fio's nor the gate's`)
  const jobs = json['jobs'].map((job, i) => {
    if (isRecord(job) && typeof job['jobname'] === 'string') return job
    throw new UserError(`${path}: jobs[${i}] has no jobname: the file is damaged`)
  })
  distinguish(jobs)
  const units = unitsOf(path, jobs)
  const notes = documents > 1 ? [`${path}: holds ${documents} reports; the last one counts`] : []
  return { path, facts: factsOf(json, jobs), units, notes }
}

/** The gate's own JSON: the rates of its heads, each a unit whose IOPS they are. */
function parseNative(path: string, json: JsonRecord): FioFile {
  const fingerprint = isRecord(json['fingerprint']) ? json['fingerprint']['head'] : undefined
  const results = Array.isArray(json['results']) ? json['results'].filter(isRecord) : []
  const units = new Map<string, FioUnit>()
  for (const { benchmark, metric, unit, head } of results) {
    const value = isRecord(head) ? numberOf(head, 'value') : Number.NaN
    if (!(value > 0) || !String(unit).endsWith('/s') || unit === 'B/s') continue
    units.set(`${benchmark}: ${metric}`, {
      job: String(benchmark),
      direction: String(metric),
      ios: 0,
      bytes: 0,
      runtimeMs: 0,
      iops: value,
      bw: Number.NaN,
      clones: 1,
      latency: null,
      buckets: null,
      percentiles: new Map(),
    })
  }
  if (units.size === 0 || !isRecord(fingerprint))
    throw new UserError(`${path}: holds no rates: there is nothing to compare`)
  return { path, facts: fingerprint as Fingerprint, units, notes: [] }
}

/** Jobs of one name in several groups ran one after the other: they are no clones, and get the group into their name. */
function distinguish(jobs: JsonRecord[]): void {
  const groups = new Map<unknown, Set<unknown>>()
  for (const job of jobs)
    groups.set(job['jobname'], (groups.get(job['jobname']) ?? new Set()).add(job['groupid']))
  for (const [i, job] of jobs.entries()) {
    const name = String(job['jobname'])
    if (groups.get(name)!.size > 1)
      jobs[i] = { ...job, jobname: `${name} (g=${String(job['groupid'])})` }
  }
}

/** The last JSON document of what fio printed. */
function documentOf(path: string, text: string): { json: unknown; documents: number } {
  const begins = [...text.matchAll(/^\{[ \t]*$/gm)].map(match => match.index)
  if (begins.length === 0 || begins[0] === text.search(/\S/)) {
    if (begins.length <= 1) return { json: parseJson(path, text, 'fio JSON'), documents: 1 }
  }
  const rest = text.slice(begins.at(-1))
  const end = /^\}[ \t]*$/m.exec(rest)
  const document = end ? rest.slice(0, end.index + 1) : rest
  return { json: parseJson(path, document, 'fio JSON'), documents: begins.length }
}

// ------------------------------------------------------------------ facts

function optionsText(value: unknown): string {
  if (!isRecord(value)) return '{}'
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify(Object.fromEntries(sorted))
}

/** Facts of a phasebit run that must agree; what it is a build of may differ, for that is what is compared. */
const PHASEBIT_FACTS = [
  'clock',
  'kernel',
  'seed',
  'cpus',
  'devices',
  'latency_mode',
  'host',
] as const

function factsOf(json: JsonRecord, jobs: readonly JsonRecord[]): Fingerprint {
  const facts: Record<string, string> = {
    'fio version': String(json['fio version']),
    'global options': optionsText(json['global options']),
    'CPU model': UNKNOWN,
  }
  for (const job of jobs) {
    const name = `options of job ${String(job['jobname'])}`
    const options = optionsText(job['job options'])
    if (!facts[name]) facts[name] = options
    else if (!facts[name].includes(options)) facts[name] += ` and ${options}`
  }
  const own = json['phasebit']
  if (!isRecord(own)) return facts
  for (const key of PHASEBIT_FACTS) {
    const value = own[key]
    if (value !== undefined) facts[`phasebit ${key}`] = JSON.stringify(value)
  }
  const host = own['host']
  const model = isRecord(host) ? (host['cpu_model'] ?? host['cpu']) : undefined
  if (typeof model === 'string') facts['CPU model'] = model
  return facts
}

// ------------------------------------------------------------------ figures

function unitsOf(path: string, jobs: readonly JsonRecord[]): Map<string, FioUnit> {
  const units = new Map<string, FioUnit>()
  for (const job of jobs) {
    const name = String(job['jobname'])
    const error = job['error']
    if (typeof error === 'number' && error !== 0)
      throw new UserError(`${path}: job ${name} failed with error ${error}; only good runs compare`)
    for (const direction of DIRECTIONS) {
      const one = unitOf(path, name, direction, job[direction])
      if (one === null) continue
      const key = `${name}: ${direction}`
      const before = units.get(key)
      units.set(key, before ? addUnits(before, one) : one)
    }
  }
  if (units.size === 0)
    throw new UserError(`${path}: not one I/O was done: there is nothing to compare`)
  return units
}

/** One direction of one job; null when nothing was done in it. */
function unitOf(path: string, job: string, direction: string, value: unknown): FioUnit | null {
  if (!isRecord(value)) return null
  const [ios, bytes, runtimeMs, iops, bw] = [
    'total_ios',
    'io_bytes',
    'runtime',
    'iops',
    'bw_bytes',
  ].map(key => numberOf(value, key))
  if (ios === 0) return null
  if (!(ios > 0 && bytes >= 0 && runtimeMs >= 0 && iops > 0))
    throw new UserError(`${path}: job ${job}, ${direction}: figures are missing or impossible`)
  const latency = latencyOf(path, value)
  const rate = Number.isNaN(bw) ? (bytes / Math.max(1, runtimeMs)) * 1000 : bw
  return { job, direction, ios, bytes, runtimeMs, iops, bw: rate, clones: 1, ...latency }
}

type Latency = Pick<FioUnit, 'latency' | 'buckets' | 'percentiles'>

/** The first latency that was recorded. */
function latencyOf(path: string, direction: JsonRecord): Latency {
  for (const latency of LATENCIES) {
    const value = direction[latency]
    if (!isRecord(value)) continue
    if (isRecord(value['bins'])) {
      const buckets = bucketsOf(path, value['bins'])
      return { latency, buckets, percentiles: new Map() }
    }
    if (isRecord(value['percentile'])) {
      const list = Object.entries(value['percentile']).map(
        ([percent, ns]) => [Number(percent), Number(ns)] as const,
      )
      return { latency, buckets: null, percentiles: new Map(list) }
    }
  }
  return { latency: null, buckets: null, percentiles: new Map() }
}

/** Bins of JSON+, each standing in the bucket that its value names. */
export function bucketsOf(path: string, bins: JsonRecord): Float64Array {
  const buckets = new Float64Array(HISTOGRAM_BUCKETS)
  for (const [ns, count] of Object.entries(bins)) {
    const value = Number(ns)
    if (!(value >= 0 && typeof count === 'number' && count >= 0))
      throw new UserError(`${path}: bins: ${JSON.stringify(ns)}: no latency with a count`)
    buckets[bucketIndex(value)] += count
  }
  return buckets
}

/** Two clones that ran side by side, or the same unit of two runs. */
function addUnits(a: FioUnit, b: FioUnit): FioUnit {
  const [ios, bytes] = [a.ios + b.ios, a.bytes + b.bytes]
  return {
    ...a,
    ios,
    bytes,
    runtimeMs: Math.max(a.runtimeMs, b.runtimeMs),
    iops: a.iops + b.iops,
    bw: a.bw + b.bw,
    clones: a.clones + b.clones,
    latency: a.latency === b.latency ? a.latency : null,
    buckets:
      a.latency === b.latency && a.buckets && b.buckets ? addBuckets([a.buckets, b.buckets]) : null,
    percentiles: new Map(),
  }
}

/** The sum of histograms: the only way in which percentiles of several series come together. */
export function addBuckets(list: readonly Float64Array[]): Float64Array {
  const sum = new Float64Array(HISTOGRAM_BUCKETS)
  for (const buckets of list) for (let i = 0; i < sum.length; i++) sum[i] += buckets[i]
  return sum
}

/** One percentile of a histogram, ns; NaN when it is empty. */
export function percentileOf(buckets: Float64Array, percent: number): number {
  return percentiles(buckets, [percent])[0]?.ns ?? Number.NaN
}

/** A percentile with its place inside the bucket, as if the bucket's values were evenly spread; NaN of none. */
export function finePercentile(buckets: ArrayLike<number>, percent: number): number {
  const counts = Array.from(buckets)
  const wanted = (percent / 100) * counts.reduce((a, b) => a + b, 0)
  let seen = 0
  for (const [i, count] of counts.entries()) {
    if (count > 0 && seen + count >= wanted) {
      const [low, next] = [bucketValue(i), bucketValue(Math.min(i + 1, counts.length - 1))]
      return low + ((wanted - seen) / count) * (next - low)
    }
    seen += count
  }
  return Number.NaN
}

/** A unit's percentile: of its histogram, else as fio printed it; NaN when neither is there. */
export function unitPercentile(unit: FioUnit, percent: number): number {
  if (unit.buckets) return percentileOf(unit.buckets, percent)
  return unit.percentiles.get(percent) ?? Number.NaN
}
