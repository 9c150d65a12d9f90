// fio's terse output: one line per reporting unit, fields by `;`.
//
//   3;fio-3.33;name;group;error; 41 read columns; 41 write columns; cpu 5; depths 7; us latency 10; ms latency 12
//     [; 9 per disk] [; total errors; first error] [; description]
//
// That is 121 columns before the optional ones. Version 4 adds 41 trim columns after write, version 5 also the number of
// bandwidth samples and five IOPS columns per direction. Version 2 is version 4 without fio's version and without disks, and
// a description stands on a line of its own, begun by a semicolon. Latencies are microseconds: extremes truncated, means with six
// decimals. The nanosecond latency shares are counted into the first microsecond class. A mixed report (unified_rw_reporting)
// has one direction instead of two or three; "both" appends the mixed columns to the usual ones.

import { percentiles } from './histogram.js'
import {
  type GroupTotals,
  groupTotals,
  iopsOf,
  mixedDirection,
  type ReportUnit,
  rateOf,
  reportUnits,
  runtimeMs,
} from './merge.js'
import { fixed, percentOf } from './numbers.js'
import {
  type Direction,
  type DirectionResult,
  type DiskUtil,
  FIO_VERSION,
  type JobReportOptions,
  type RunningStat,
  type RunResult,
} from './result.js'
import { stddev } from './stat.js'
import * as figures from './unit-figures.js'

/** Versions that can be written. */
export type TerseVersion = 2 | 3 | 4 | 5

type Field = string | number

/** Columns for percentiles, used or not. */
const PERCENTILE_COLUMNS = 20

/** One line per unit, each ended by a newline. */
export function fioTerse(run: RunResult, version: TerseVersion = 3): string {
  const units = reportUnits(run.jobs)
  const groups = groupTotals(units)
  const line = (unit: ReportUnit): string => {
    const group = groups.find(g => g.groupid === unit.groupid)!
    const { description } = unit.report
    const after = description ? `${version === 2 ? '\n' : ''};${description}` : ''
    return `${unitFields(unit, group, run.disks, version).join(';')}${after}\n`
  }
  return units.map(line).join('')
}

function unitFields(
  unit: ReportUnit,
  group: GroupTotals,
  disks: readonly DiskUtil[],
  version: TerseVersion,
): Field[] {
  const old = version === 2
  return [
    version,
    ...(old ? [] : [FIO_VERSION]),
    unit.jobname,
    unit.groupid,
    unit.error,
    ...directionsFields(unit, group, version),
    `${fixed(percentOf(unit.usrNs, unit.jobRuntimeNs), 6)}%`,
    `${fixed(percentOf(unit.sysNs, unit.jobRuntimeNs), 6)}%`,
    unit.ctx,
    unit.majf,
    unit.minf,
    ...figures.levelShares(unit).map(share => `${fixed(share, 1)}%`),
    ...microShares(unit).map(share => `${fixed(share, 2)}%`),
    ...figures.latencyShares(unit, 'ms').map(share => `${fixed(share, 2)}%`),
    ...(old ? [] : disks.flatMap(diskFields)),
    ...(unit.report.continueOnError ? [unit.totalErrors, unit.firstError] : []),
  ]
}

function directionsFields(unit: ReportUnit, group: GroupTotals, version: TerseVersion): Field[] {
  const one = (d: DirectionResult, rate: number): Field[] =>
    directionFields(d, unit.report, rate, version)
  const rate = (d: Direction): number => group[d]?.aggregateRate ?? 0
  if (unit.report.unifiedRw === 'mixed') return one(unit.read, rate('read'))
  const names: Direction[] = version === 3 ? ['read', 'write'] : ['read', 'write', 'trim']
  const fields = names.flatMap(name => one(unit[name], rate(name)))
  if (unit.report.unifiedRw === 'none') return fields
  return [...fields, ...one(mixedDirection(unit), rate('read') + rate('write') + rate('trim'))]
}

function directionFields(
  d: DirectionResult,
  report: JobReportOptions,
  aggregateRate: number,
  version: TerseVersion,
): Field[] {
  return [
    Math.floor(d.ioBytes / 1024),
    Math.floor(rateOf(d) / 1024),
    Math.floor(iopsOf(d)),
    runtimeMs(d.runtimeNs),
    ...latencyFields(d.slat),
    ...latencyFields(d.clat),
    ...percentileFields(d, report),
    ...latencyFields(d.lat),
    d.bw.min,
    d.bw.max,
    `${fixed(figures.shareOfGroup(d.bw, aggregateRate), 6)}%`,
    fixed(d.bw.mean, 6),
    fixed(stddev(d.bw), 6),
    ...(version === 5 ? sampleFields(d) : []),
  ]
}

function sampleFields(d: DirectionResult): Field[] {
  const { min, max, mean, n } = d.iops
  return [d.bw.n, min, max, fixed(mean, 6), fixed(stddev(d.iops), 6), n]
}

/** min, max, mean, deviation in microseconds. */
function latencyFields(stat: RunningStat): Field[] {
  return [
    Math.floor(stat.min / 1000),
    Math.floor(stat.max / 1000),
    fixed(stat.mean / 1000, 6),
    fixed(stddev(stat) / 1000, 6),
  ]
}

/** Percentiles of lat when asked for, else of clat; a column that is not used says `0%=0`. */
function percentileFields(d: DirectionResult, report: JobReportOptions): Field[] {
  const { latPercentiles, clatPercentiles, percentileList } = report
  const fields: Field[] = []
  if (latPercentiles || clatPercentiles) {
    const { buckets } = latPercentiles ? d.lat : d.clat
    const table = buckets ? percentiles(buckets, percentileList) : unmeasured(percentileList)
    for (const p of table) fields.push(`${fixed(p.percent, 6)}%=${Math.floor(p.ns / 1000)}`)
  }
  while (fields.length < PERCENTILE_COLUMNS) fields.push('0%=0')
  return fields.slice(0, PERCENTILE_COLUMNS)
}

function unmeasured(list: readonly number[]): { percent: number; ns: number }[] {
  return [...list].sort((a, b) => a - b).map(percent => ({ percent, ns: 0 }))
}

/** Microsecond shares, with everything below 1000 ns in the first. */
function microShares(unit: ReportUnit): number[] {
  const shares = figures.latencyShares(unit, 'us')
  const below = unit.latencyShares.ns.reduce((a, b) => a + b, 0)
  shares[0] += percentOf(below, figures.totalIos(unit))
  return shares
}

function diskFields(disk: DiskUtil): Field[] {
  const below = disk.aggregate ? ['slaves', ...diskCounters(disk.aggregate)] : []
  return [disk.name, ...diskCounters(disk), ...below]
}

function diskCounters(d: NonNullable<DiskUtil['aggregate']>): Field[] {
  return [
    d.readIos,
    d.writeIos,
    d.readMerges,
    d.writeMerges,
    d.readTicksMs,
    d.writeTicksMs,
    d.inQueueMs,
    `${fixed(d.util, 2)}%`,
  ]
}
