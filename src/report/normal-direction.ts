// One direction of fio's human-readable report:
//
//   read: IOPS=665k, BW=2598MiB/s (2724MB/s)(15.6MiB/6msec)
//     clat (nsec): min=150, max=25732, avg=343.01, stdev=486.48
//      lat (nsec): ...
//     clat percentiles (nsec):
//      | 50.0th=[  310], 99.0th=[  588], 99.9th=[ 5344]
//    bw (  KiB/s): min=60332, max=96797, per=100.00%, avg=78859.00, stdev=18239.63, samples=3
//    iops        : ...
//
// Latency lines move from nsec to usec or msec only when smallest, largest and deviation (for tables: smallest and largest)
// are all large enough to lose nothing of interest.

import { type Percentile, percentiles } from './histogram.js'
import { iopsOf, rateOf, runtimeMs } from './merge.js'
import { fixed, humanBytes, humanNumber, humanRate } from './numbers.js'
import type { DirectionResult, JobReportOptions, LatencyStat, RunningStat } from './result.js'
import { stddev } from './stat.js'
import { shareOfGroup } from './unit-figures.js'

/** Lines of one direction, each with its newline. `aggregateRate` is the group's, in bytes per second. */
export function normalDirection(
  name: string,
  d: DirectionResult,
  o: JobReportOptions,
  aggregateRate: number,
  suffix = '',
): string {
  return [
    headline(name, d, o, suffix),
    latencyLine('slat', d.slat),
    latencyLine('clat', d.clat),
    latencyLine(' lat', d.lat),
    priorityLines(d, o),
    o.slatPercentiles ? percentileTable('slat', d.slat, o) : '',
    o.clatPercentiles ? percentileTable('clat', d.clat, o) : '',
    o.latPercentiles ? percentileTable('lat', d.lat, o) : '',
    priorityTables(d, o),
    bandwidthLine(d.bw, o, aggregateRate),
    iopsLine(d.iops),
  ].join('')
}

function headline(name: string, d: DirectionResult, o: JobReportOptions, suffix: string): string {
  const binary = o.kbBase === 1024
  const figures = o.significantFigures
  const rate = Math.floor(rateOf(d))
  const iops = humanNumber(Math.floor(iopsOf(d)), figures, false, '')
  const bw = humanRate(rate, figures, binary, o.unitBase)
  const other = humanRate(rate, figures, !binary, o.unitBase)
  const bytes = humanBytes(d.ioBytes, figures, binary)
  const hit = d.cachehit === undefined ? '' : `; Cachehit=${fixed(d.cachehit, 2)}%`
  const amount = `(${bytes}/${runtimeMs(d.runtimeNs)}msec)`
  return `  ${name}: IOPS=${iops}, BW=${bw} (${other})${amount}${suffix}${hit}\n`
}

/** min, max, avg and stdev of one latency; empty without samples. */
export function latencyLine(name: string, stat: RunningStat): string {
  if (stat.n === 0) return ''
  const dev = stddev(stat)
  const [unit, divisor] = lineUnit(stat, dev)
  const whole = (ns: number): string => humanNumber(Math.floor(ns / divisor), 6, false, '')
  return (
    `    ${name} (${unit}): min=${whole(stat.min)}, max=${whole(stat.max)}, ` +
    `avg=${fixed(stat.mean / divisor, 2, 5)}, stdev=${fixed(dev / divisor, 2, 5)}\n`
  )
}

function lineUnit(stat: RunningStat, dev: number): [string, number] {
  if (stat.min > 2e6 && stat.max > 99999999 && dev > 1e6) return ['msec', 1e6]
  if (stat.min > 2e3 && stat.max > 99999 && dev > 1e3) return ['usec', 1e3]
  return ['nsec', 1]
}

/** Columns the table may use after its indent and bar. */
const TABLE_COLUMNS = 73

/** A percentile table, as many entries to a line as fit; empty without a histogram. */
export function percentileTable(name: string, stat: LatencyStat, o: JobReportOptions): string {
  if (stat.n === 0 || !stat.buckets) return ''
  const table = percentiles(stat.buckets, o.percentileList)
  if (table.length === 0) return ''
  const [unit, steps] = tableUnit(table)
  const values = table.map(p => scaleUp(p.ns, steps))
  const width = Math.max(5, String(scaleDown(table.at(-1)!.ns, steps)).length)
  const decimals = decimalsOf(o.percentileList)
  const perLine = Math.floor(TABLE_COLUMNS / (decimals + 10 + width))
  const entries = table.map(
    (p, i) =>
      ` ${fixed(p.percent, decimals, decimals + 3)}th=[${String(values[i]).padStart(width)}]`,
  )
  return `    ${name} percentiles (${unit}):\n${tableLines(entries, Math.max(1, perLine))}`
}

function tableLines(entries: readonly string[], perLine: number): string {
  const lines: string[] = []
  for (let i = 0; i < entries.length; i += perLine) {
    lines.push(`     |${entries.slice(i, i + perLine).join(',')}`)
  }
  return `${lines.join(',\n')}\n`
}

function tableUnit(table: readonly Percentile[]): [string, number] {
  const low = table[0].ns
  const high = table.at(-1)!.ns
  if (low > 2e6 && high > 99999999) return ['msec', 2]
  if (low > 2e3 && high > 99999) return ['usec', 1]
  return ['nsec', 0]
}

/** Divides by 1000 `steps` times, rounding up each time. */
function scaleUp(ns: number, steps: number): number {
  return steps === 0 ? ns : scaleUp(Math.ceil(ns / 1000), steps - 1)
}

function scaleDown(ns: number, steps: number): number {
  return Math.floor(ns / 1000 ** steps)
}

/** Decimals of the most precise percentage in the list. */
function decimalsOf(list: readonly number[]): number {
  return Math.max(0, ...list.map(percent => String(percent).split('.')[1]?.length ?? 0))
}

function priorityLines(d: DirectionResult, o: JobReportOptions): string {
  return severalPriorities(d)
    .map(p => latencyLine(`${latencyName(o)} prio ${p.prioclass}/${p.prio}`, p.latency))
    .join('')
}

function priorityTables(d: DirectionResult, o: JobReportOptions): string {
  if (!o.clatPercentiles && !o.latPercentiles) return ''
  const all = o.latPercentiles ? d.lat.n : d.clat.n
  const title = (prioclass: number, prio: number, n: number): string =>
    `${latencyName(o)} prio ${prioclass}/${prio} (${fixed((100 * n) / all, 2)}% of IOs)`
  return severalPriorities(d)
    .map(p => percentileTable(title(p.prioclass, p.prio, p.latency.n), p.latency, o))
    .join('')
}

function severalPriorities(d: DirectionResult): NonNullable<DirectionResult['prios']> {
  return d.prios && d.prios.length >= 2 ? d.prios : []
}

function latencyName(o: JobReportOptions): string {
  return o.latPercentiles ? 'lat' : 'clat'
}

function bandwidthLine(bw: RunningStat, o: JobReportOptions, aggregateRate: number): string {
  if (bw.n === 0) return ''
  const binary = o.kbBase === 1024
  const bits = o.unitBase === 1
  // Samples are KiB/s; the line speaks the user's base.
  const perKib = (bits ? 8 : 1) * (binary ? 1 : 1.024)
  const large = bw.mean * perKib > o.kbBase * o.kbBase
  const factor = large ? perKib / o.kbBase : perKib
  const prefix = large ? (binary ? 'Mi' : 'M') : binary ? 'Ki' : 'k'
  const unit = `${prefix}${bits ? 'bit' : 'B'}`.padStart(5)
  const whole = (kib: number): string => String(Math.floor(kib * factor)).padStart(5)
  return (
    `   bw (${unit}/s): min=${whole(bw.min)}, max=${whole(bw.max)}, ` +
    `per=${fixed(shareOfGroup(bw, aggregateRate), 2)}%, avg=${fixed(bw.mean * factor, 2, 5)}, ` +
    `stdev=${fixed(stddev(bw) * factor, 2, 5)}, samples=${bw.n}\n`
  )
}

function iopsLine(iops: RunningStat): string {
  if (iops.n === 0) return ''
  const whole = (n: number): string => String(Math.floor(n)).padStart(5)
  return (
    `   iops        : min=${whole(iops.min)}, max=${whole(iops.max)}, ` +
    `avg=${fixed(iops.mean, 2, 5)}, stdev=${fixed(stddev(iops), 2, 5)}, samples=${iops.n}\n`
  )
}
