// From clones to reporting units, and from units to the totals of a status group.
//
//   jobs in starting order ──▸ one unit per job, or with group_reporting one per run of jobs in the same group
//
// What adds: bytes, counts, CPU time, histograms, depth counts, errors. What does not: runtime is the longest one (clones run
// side by side), and bandwidth samples add as rates. A unit is named after its first job and has that job's report options.
// unified_rw_reporting=mixed folds writes and trims into read, as fio does. Percentiles come from the added histograms.
//
// A job with stats=0 is left out. What the job file disabled (disable_clat and the like) is dropped here, once.

import { addLatency, emptyShares, sharesFromBuckets } from './histogram.js'
import {
  DIRECTIONS,
  type Direction,
  type DirectionResult,
  emptyDirection,
  emptyLatency,
  type JobReportOptions,
  type JobResult,
  type LatencyShares,
  type Priority,
  type PriorityLatency,
} from './result.js'
import { sumSamples } from './stat.js'

/** One entry of the report: a job or a merged group. */
export interface ReportUnit extends JobResult {
  /** How many clones are in it. */
  members: number
  latencyShares: LatencyShares
}

/** Totals of one direction over the units of a group. Rates in bytes per second. */
export interface DirectionTotals {
  ioBytes: number
  minRunNs: number
  maxRunNs: number
  minRate: number
  maxRate: number
  /** All bytes over the longest runtime. */
  aggregateRate: number
}

/** Totals of one status group; a direction without runtime is absent. */
export interface GroupTotals {
  groupid: number
  /** The options of the group's first unit: bases and significant figures. */
  report: JobReportOptions
  /** Absent when nothing ran in that direction. */
  read?: DirectionTotals
  write?: DirectionTotals
  trim?: DirectionTotals
  mixed: 'none' | 'mixed' | 'both'
}

/** The units to report, in the order of their first jobs. The input is left unchanged. */
export function reportUnits(jobs: readonly JobResult[]): ReportUnit[] {
  const units: ReportUnit[] = []
  let last: ReportUnit | undefined
  for (const job of jobs) {
    if (!job.report.stats) continue
    const joins =
      last?.groupid === job.groupid && last.report.groupReporting && job.report.groupReporting
    if (!last || !joins) units.push((last = emptyUnit(job)))
    addJob(last, job)
  }
  return units
}

/** Bytes per second over the runtime; 0 without runtime. */
export function rateOf(d: { ioBytes: number; runtimeNs: number }): number {
  return d.runtimeNs > 0 ? (d.ioBytes * 1e9) / d.runtimeNs : 0
}

/** I/Os per second over the runtime; 0 without runtime. */
export function iopsOf(d: { totalIos: number; runtimeNs: number }): number {
  return d.runtimeNs > 0 ? (d.totalIos * 1e9) / d.runtimeNs : 0
}

/** A duration in ms as fio rounds it: up, so that a job that did anything ran for at least 1 ms. */
export function runtimeMs(ns: number): number {
  return Math.ceil(ns / 1e6)
}

/** All directions of a unit as one (unified_rw_reporting). */
export function mixedDirection(unit: ReportUnit): DirectionResult {
  const mixed = emptyDirection()
  for (const direction of DIRECTIONS) addDirection(mixed, unit[direction])
  return mixed
}

/** Totals per status group, ascending. */
export function groupTotals(units: readonly ReportUnit[]): GroupTotals[] {
  const groups = new Map<number, GroupTotals>()
  for (const unit of units) {
    const group = groups.get(unit.groupid) ?? newGroup(unit)
    groups.set(unit.groupid, group)
    if (unit.report.unifiedRw !== 'none') group.mixed = unit.report.unifiedRw
    for (const direction of DIRECTIONS) addToGroup(group, direction, unit[direction])
  }
  return [...groups.values()].sort((a, b) => a.groupid - b.groupid)
}

function newGroup(unit: ReportUnit): GroupTotals {
  return { groupid: unit.groupid, report: unit.report, mixed: 'none' }
}

function addToGroup(group: GroupTotals, direction: Direction, d: DirectionResult): void {
  if (d.runtimeNs === 0) return
  const rate = rateOf(d)
  const was = group[direction]
  const ioBytes = (was?.ioBytes ?? 0) + d.ioBytes
  const maxRunNs = Math.max(was?.maxRunNs ?? 0, d.runtimeNs)
  group[direction] = {
    ioBytes,
    minRunNs: Math.min(was?.minRunNs ?? d.runtimeNs, d.runtimeNs),
    maxRunNs,
    minRate: Math.min(was?.minRate ?? rate, rate),
    maxRate: Math.max(was?.maxRate ?? rate, rate),
    aggregateRate: rateOf({ ioBytes, runtimeNs: maxRunNs }),
  }
}

/** The first job's identity with nothing counted yet. */
function emptyUnit(job: JobResult): ReportUnit {
  return {
    ...job,
    members: 0,
    error: 0,
    totalErrors: 0,
    firstError: 0,
    jobRuntimeNs: 0,
    usrNs: 0,
    sysNs: 0,
    ctx: 0,
    majf: 0,
    minf: 0,
    elapsedS: 0,
    read: emptyDirection(),
    write: emptyDirection(),
    trim: emptyDirection(),
    sync: { totalIos: 0, lat: emptyLatency() },
    depth: { level: [], submit: [], complete: [] },
    latencyShares: emptyShares(),
    ...(job.zoneResets === undefined ? {} : { zoneResets: 0 }),
  }
}

function addJob(unit: ReportUnit, job: JobResult): void {
  unit.members++
  for (const direction of DIRECTIONS) {
    const into = unit.report.unifiedRw === 'mixed' ? unit.read : unit[direction]
    addDirection(into, shown(job, direction))
  }
  unit.sync.totalIos += job.sync.totalIos
  if (!noClat(job.report)) addLatency(unit.sync.lat, job.sync.lat)
  addCounters(unit, job)
  addErrors(unit, job)
  unit.latencyTarget = job.latencyTarget
  if (job.steadystate) unit.steadystate = job.steadystate
}

function addCounters(unit: ReportUnit, job: JobResult): void {
  unit.jobRuntimeNs += job.jobRuntimeNs
  unit.usrNs += job.usrNs
  unit.sysNs += job.sysNs
  unit.ctx += job.ctx
  unit.majf += job.majf
  unit.minf += job.minf
  unit.elapsedS = Math.max(unit.elapsedS, job.elapsedS)
  if (job.zoneResets !== undefined) unit.zoneResets = (unit.zoneResets ?? 0) + job.zoneResets
  for (const kind of ['level', 'submit', 'complete'] as const) {
    addCounts(unit.depth[kind], job.depth[kind])
  }
  const shares = sharesOf(job)
  for (const scale of ['ns', 'us', 'ms'] as const) {
    addCounts(unit.latencyShares[scale], shares[scale])
  }
}

function addErrors(unit: ReportUnit, job: JobResult): void {
  unit.totalErrors += job.totalErrors
  if (unit.firstError === 0 && job.firstError !== 0) {
    unit.firstError = job.firstError
    if (job.firstErrorText !== undefined) unit.firstErrorText = job.firstErrorText
  }
  const ended = job.error !== 0 || !job.report.continueOnError
  const error = ended ? job.error : job.firstError
  if (unit.error !== 0 || error === 0) return
  unit.error = error
  const text = ended ? job.errorText : job.firstErrorText
  if (text !== undefined) unit.errorText = text
}

function addCounts(into: number[], from: readonly number[]): void {
  from.forEach((count, i) => {
    into[i] = (into[i] ?? 0) + count
  })
}

/** The direction as the job's options let it be seen. */
function shown(job: JobResult, direction: Direction): DirectionResult {
  const o = job.report
  const d: DirectionResult = { ...job[direction] }
  if (o.disableSlat || o.gtodReduce) d.slat = emptyLatency()
  if (o.disableLat || o.gtodReduce) d.lat = emptyLatency()
  if (noClat(o)) d.clat = emptyLatency()
  d.prios = prioritiesOf(d, job)
  return d
}

function noClat(o: JobReportOptions): boolean {
  return o.disableClat || o.gtodReduce
}

/** Per-priority latencies of a job; a job with one priority counts whole under that one. */
function prioritiesOf(d: DirectionResult, job: JobResult): PriorityLatency[] {
  const latency = job.report.latPercentiles ? d.lat : d.clat
  if (latency.n === 0) return []
  if (d.prios) return d.prios
  const one: Priority = job.priority ?? { prioclass: 0, prio: 0, priohint: 0 }
  return [{ ...one, latency }]
}

function addDirection(into: DirectionResult, d: DirectionResult): void {
  if (d.cachehit !== undefined) {
    const before = (into.cachehit ?? 0) * into.totalIos
    into.cachehit = (before + d.cachehit * d.totalIos) / Math.max(1, into.totalIos + d.totalIos)
  }
  into.ioBytes += d.ioBytes
  into.totalIos += d.totalIos
  into.shortIos += d.shortIos
  into.dropIos += d.dropIos
  into.runtimeNs = Math.max(into.runtimeNs, d.runtimeNs)
  addLatency(into.slat, d.slat)
  addLatency(into.clat, d.clat)
  addLatency(into.lat, d.lat)
  sumSamples(into.bw, d.bw)
  sumSamples(into.iops, d.iops)
  for (const prio of d.prios ?? []) addPriority((into.prios ??= []), prio)
}

function addPriority(list: PriorityLatency[], { latency, ...key }: PriorityLatency): void {
  const same = (p: PriorityLatency): boolean =>
    p.prioclass === key.prioclass && p.prio === key.prio && p.priohint === key.priohint
  let entry = list.find(same)
  if (!entry) list.push((entry = { ...key, latency: emptyLatency() }))
  addLatency(entry.latency, latency)
}

/** Counted shares, or those of the clat histograms; nothing when completion latency is disabled. */
function sharesOf(job: JobResult): LatencyShares {
  if (noClat(job.report)) return emptyShares()
  if (job.latencyShares) return job.latencyShares
  const histograms = DIRECTIONS.map(direction => job[direction].clat.buckets)
  return sharesFromBuckets(histograms.filter((h): h is Float64Array => h !== undefined))
}
