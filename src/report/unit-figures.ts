// Figures that every output format prints in the same way: shares of I/Os by depth and latency, CPU, share of the group.
//
// A class that has any I/O never shows as zero: fio lifts it to the smallest figure its format can print (0.1 % for depths,
// 0.01 % for latencies).

import type { ReportUnit } from './merge.js'
import { percentOf } from './numbers.js'
import { DIRECTIONS, type RunningStat, type SteadyStateResult } from './result.js'

/** Keys of the seven depth classes. */
export const LEVEL_KEYS: readonly string[] = ['1', '2', '4', '8', '16', '32', '>=64']
/** Keys of the seven classes of I/Os per submit or complete call. */
export const CALL_KEYS: readonly string[] = ['0', '4', '8', '16', '32', '64', '>=64']
/** Upper bounds of the ten ns classes and the ten us classes. */
export const SHORT_KEYS: readonly string[] = '2 4 10 20 50 100 250 500 750 1000'.split(' ')
/** Upper bounds of the twelve ms classes. */
export const MS_KEYS: readonly string[] = [...SHORT_KEYS, '2000', '>=2000']

/** Reads, writes and trims of a unit. */
export function totalIos(unit: ReportUnit): number {
  return DIRECTIONS.reduce((sum, direction) => sum + unit[direction].totalIos, 0)
}

/** Percent of I/Os per depth class. */
export function levelShares(unit: ReportUnit): number[] {
  return depthShares(unit.depth.level, totalIos(unit))
}

/** Percent of calls per class of I/Os submitted or completed at once. */
export function callShares(counts: readonly number[]): number[] {
  return depthShares(
    counts,
    counts.reduce((a, b) => a + b, 0),
  )
}

function depthShares(counts: readonly number[], total: number): number[] {
  return shares(counts, total, 7, 0.1)
}

/** Percent of I/Os per latency class of one scale. */
export function latencyShares(unit: ReportUnit, scale: 'ns' | 'us' | 'ms'): number[] {
  return shares(unit.latencyShares[scale], totalIos(unit), scale === 'ms' ? 12 : 10, 0.01)
}

function shares(counts: readonly number[], total: number, n: number, least: number): number[] {
  return Array.from({ length: n }, (_, i) => {
    const count = counts[i] ?? 0
    if (total === 0 || count === 0) return 0
    return Math.max(least, (100 * count) / total)
  })
}

/** Share of the group's bandwidth, percent: mean of the samples (KiB/s) against the group's rate (bytes/s). */
export function shareOfGroup(bw: RunningStat, aggregateRate: number): number {
  if (bw.n === 0) return 0
  const aggregate = aggregateRate / 1024
  return aggregate > 1 ? Math.min(100, (bw.mean * 100) / aggregate) : 100
}

/** The value a steady-state criterion compares with its limit: percent of the mean or absolute. */
export function steadyCriterion(ss: SteadyStateResult): number {
  const value = ss.criterion.endsWith('_slope') ? Math.abs(ss.slope) : ss.maxDeviation
  if (!ss.percent) return value
  const series = ss.criterion.startsWith('lat') ? (ss.latNs ?? []) : seriesOf(ss)
  return percentOf(value, mean(series))
}

/** Mean of a list, 0 when empty. */
export function mean(list: readonly number[]): number {
  return list.length === 0 ? 0 : list.reduce((a, b) => a + b, 0) / list.length
}

function seriesOf(ss: SteadyStateResult): number[] {
  return ss.criterion.startsWith('iops') ? ss.iops : ss.bw
}
