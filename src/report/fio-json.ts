// fio's JSON and JSON+ output: key for key what fio 3.33 writes, with the keys that later versions (to 3.42) added beside
// them, and one extra key at the top, "phasebit".
//
//   { "fio version", "timestamp", ..., "global options", "jobs" : [ unit, ... ], "disk_util", "cpu_idleness", "phasebit" }
//
// json and json+ differ only by the `bins` objects. A unit is a job or a merged group (merge.ts). Rates are exact: bytes and
// I/Os over the runtime in nanoseconds, while "runtime" itself is whole milliseconds, rounded up as fio does.

import { filledBuckets, percentiles } from './histogram.js'
import { float, floats, type JsonNode, type JsonObject, jsonText, object } from './json-text.js'
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
import { ctime, percentOf } from './numbers.js'
import { phasebitJson } from './phasebit-json.js'
import {
  type CpuIdleness,
  DIRECTIONS,
  type DirectionResult,
  type DiskUtil,
  FIO_VERSION,
  type JobHeader,
  type LatencyStat,
  type PriorityLatency,
  type RunningStat,
  type RunResult,
  type SteadyStateResult,
} from './result.js'
import { stddev } from './stat.js'
import * as figures from './unit-figures.js'

/** The document as text with one trailing newline; `plus` adds the bins of json+. */
export function fioJson(run: RunResult, plus: boolean): string {
  return `${jsonText(fioJsonTree(run, plus))}\n`
}

function fioJsonTree(run: RunResult, plus: boolean): JsonObject {
  const units = reportUnits(run.jobs)
  const groups = groupTotals(units)
  const totals = (unit: ReportUnit): GroupTotals => groups.find(g => g.groupid === unit.groupid)!
  const options = Object.entries(run.globalOptions)
  return object(
    ['fio version', FIO_VERSION],
    ['timestamp', Math.floor(run.epochMs / 1000)],
    ['timestamp_ms', run.epochMs],
    ['time', ctime(run.epochMs, run.utc)],
    ['global options', options.length > 0 ? new Map(options) : undefined],
    ['jobs', units.map(unit => unitJson(unit, totals(unit), run.globalOptions, plus))],
    ['disk_util', run.disks.length > 0 ? run.disks.map(diskJson) : undefined],
    ['cpu_idleness', run.cpuIdleness && idlenessJson(run.cpuIdleness)],
    ['phasebit', phasebitJson(run, plus)],
  )
}

function unitJson(
  unit: ReportUnit,
  group: GroupTotals,
  globals: Record<string, string>,
  plus: boolean,
): JsonObject {
  return new Map([
    ...object(
      ['jobname', unit.jobname],
      ['groupid', unit.groupid],
      ['job_start', unit.jobStartMs],
      ['error', unit.error],
      ['eta', unit.etaS],
      ['elapsed', unit.elapsedS],
      ['job options', jobOptions(unit, globals)],
    ),
    ...directions(unit, group, plus),
    ...sharesJson(unit),
    ...tailJson(unit),
  ])
}

/** What the user wrote, and in any case the four options that plotting tools look for. */
function jobOptions(unit: ReportUnit, globals: Record<string, string>): JsonObject {
  const options = new Map<string, JsonNode>(Object.entries(unit.jobOptions))
  const always = {
    rw: unit.header.rw,
    bs: blockSizes(unit.header),
    iodepth: String(unit.header.iodepth),
    numjobs: String(unit.numjobs),
  }
  for (const [key, value] of Object.entries(always)) {
    if (!options.has(key)) options.set(key, globals[key] ?? value)
  }
  return options
}

/** Block sizes as a job file says them: `4k`, `4k-16k`, or three of them by comma. */
function blockSizes(header: JobHeader): string {
  const each = header.bs.map(([low, high]) =>
    low === high ? size(low) : `${size(low)}-${size(high)}`,
  )
  return new Set(each).size === 1 ? each[0] : each.join(',')
}

function size(bytes: number): string {
  if (bytes > 0 && bytes % 1048576 === 0) return `${bytes / 1048576}m`
  return bytes > 0 && bytes % 1024 === 0 ? `${bytes / 1024}k` : String(bytes)
}

function directions(unit: ReportUnit, group: GroupTotals, plus: boolean): JsonObject {
  const { unifiedRw } = unit.report
  const rates = DIRECTIONS.map(d => group[d]?.aggregateRate ?? 0)
  const json: JsonObject = new Map()
  if (unifiedRw === 'mixed') {
    json.set('mixed', directionJson(unit, unit.read, rates[0], plus))
  } else {
    DIRECTIONS.forEach((d, i) => {
      json.set(d, directionJson(unit, unit[d], rates[i], plus))
    })
  }
  const { clatPercentiles, latPercentiles } = unit.report
  const lat = latencyJson(unit, unit.sync.lat, clatPercentiles || latPercentiles, plus)
  json.set('sync', object(['total_ios', unit.sync.totalIos], ['lat_ns', lat]))
  if (unifiedRw === 'both') {
    const all = rates.reduce((a, b) => a + b, 0)
    json.set('mixed', directionJson(unit, mixedDirection(unit), all, plus))
  }
  return json
}

function directionJson(
  unit: ReportUnit,
  d: DirectionResult,
  aggregateRate: number,
  plus: boolean,
): JsonObject {
  const o = unit.report
  const rate = Math.floor(rateOf(d))
  return object(
    ['io_bytes', d.ioBytes],
    ['io_kbytes', Math.floor(d.ioBytes / 1024)],
    ['bw_bytes', rate],
    ['bw', Math.floor(rate / 1024)],
    ['iops', float(iopsOf(d))],
    ['runtime', runtimeMs(d.runtimeNs)],
    ['total_ios', d.totalIos],
    ['short_ios', d.shortIos],
    ['drop_ios', d.dropIos],
    ['slat_ns', latencyJson(unit, d.slat, o.slatPercentiles, plus)],
    ['clat_ns', latencyJson(unit, d.clat, o.clatPercentiles, plus)],
    ['lat_ns', latencyJson(unit, d.lat, o.latPercentiles, plus)],
    ['prios', priosJson(unit, d.prios ?? [], plus)],
    ...samplesJson('bw', 'bw_dev', d.bw, figures.shareOfGroup(d.bw, aggregateRate)),
    ...samplesJson('iops', 'iops_stddev', d.iops),
    ['cachehit', d.cachehit === undefined ? undefined : float(d.cachehit)],
  )
}

function samplesJson(
  name: string,
  deviation: string,
  stat: RunningStat,
  share?: number,
): [string, JsonNode | undefined][] {
  return [
    [`${name}_min`, stat.min],
    [`${name}_max`, stat.max],
    [`${name}_agg`, share === undefined ? undefined : float(share)],
    [`${name}_mean`, float(stat.mean)],
    [deviation, float(stddev(stat))],
    [`${name}_samples`, stat.n],
  ]
}

function latencyJson(
  unit: ReportUnit,
  latency: LatencyStat,
  distribution: boolean,
  plus: boolean,
): JsonObject {
  const json = object(
    ['min', latency.min],
    ['max', latency.max],
    ['mean', float(latency.mean)],
    ['stddev', float(stddev(latency))],
    ['N', latency.n],
  )
  const { buckets } = latency
  if (!distribution || latency.n === 0 || !buckets) return json
  const table = percentiles(buckets, unit.report.percentileList)
  json.set('percentile', new Map(table.map(p => [p.percent.toFixed(6), p.ns])))
  if (plus) json.set('bins', new Map(filledBuckets(buckets).map(([ns, n]) => [String(ns), n])))
  return json
}

/** Latencies per priority; only when at least two priorities have samples. */
function priosJson(
  unit: ReportUnit,
  prios: readonly PriorityLatency[],
  plus: boolean,
): JsonNode | undefined {
  if (prios.length < 2) return undefined
  const { latPercentiles, clatPercentiles } = unit.report
  return prios.map(p =>
    object(
      ['prioclass', p.prioclass],
      ['prio', p.prio],
      ['priohint', p.priohint],
      [
        latPercentiles ? 'lat_ns' : 'clat_ns',
        latencyJson(unit, p.latency, latPercentiles || clatPercentiles, plus),
      ],
    ),
  )
}

function sharesJson(unit: ReportUnit): JsonObject {
  const { submit, complete } = unit.depth
  return object(
    ['job_runtime', runtimeMs(unit.jobRuntimeNs)],
    ['usr_cpu', float(percentOf(unit.usrNs, unit.jobRuntimeNs))],
    ['sys_cpu', float(percentOf(unit.sysNs, unit.jobRuntimeNs))],
    ['ctx', unit.ctx],
    ['majf', unit.majf],
    ['minf', unit.minf],
    ['iodepth_level', floats(figures.LEVEL_KEYS, figures.levelShares(unit))],
    ['iodepth_submit', floats(figures.CALL_KEYS, figures.callShares(submit))],
    ['iodepth_complete', floats(figures.CALL_KEYS, figures.callShares(complete))],
    ['latency_ns', floats(figures.SHORT_KEYS, figures.latencyShares(unit, 'ns'))],
    ['latency_us', floats(figures.SHORT_KEYS, figures.latencyShares(unit, 'us'))],
    ['latency_ms', floats(figures.MS_KEYS, figures.latencyShares(unit, 'ms'))],
  )
}

function tailJson(unit: ReportUnit): JsonObject {
  const errors = unit.report.continueOnError
  const target = unit.latencyTarget
  const { block } = unit
  return object(
    ['total_err', errors ? unit.totalErrors : undefined],
    ['first_error', errors ? unit.firstError : undefined],
    ['latency_depth', target.depth],
    ['latency_target', target.targetNs],
    ['latency_target_ns', target.targetNs],
    ['latency_percentile', float(target.percentile)],
    ['latency_window', target.windowUs],
    ['latency_window_us', target.windowUs],
    ['desc', unit.report.description],
    [
      'block',
      block &&
        object(
          ['percentiles', new Map(Object.entries(block.percentiles))],
          ['states', new Map(Object.entries(block.states))],
        ),
    ],
    ['steadystate', unit.steadystate && steadyJson(unit.steadystate)],
    ['zone_resets', unit.zoneResets],
  )
}

function steadyJson(ss: SteadyStateResult): JsonObject {
  const percent = ss.percent ? '%' : ''
  return object(
    ['ss', `${ss.criterion}:${ss.limit.toFixed(6)}${percent}`],
    ['duration', ss.durationS],
    ['attained', ss.attained ? 1 : 0],
    ['criterion', figures.steadyCriterion(ss).toFixed(6) + percent],
    ['max_deviation', float(ss.maxDeviation)],
    ['slope', float(ss.slope)],
    [
      'data',
      object(
        ['bw_mean', figures.mean(ss.bw)],
        ['iops_mean', figures.mean(ss.iops)],
        ['lat_mean', ss.latNs && figures.mean(ss.latNs)],
        ['lat_ns', ss.latNs],
        ['iops', ss.iops],
        ['bw', ss.bw],
      ),
    ],
  )
}

function diskJson(disk: DiskUtil): JsonObject {
  const below = disk.aggregate
  return object(
    ['name', disk.name],
    ...diskCounters('', disk),
    ...(below ? diskCounters('aggr_', below) : []),
  )
}

/** The aggregate's key for write merges has no final s; readers know it that way. */
function diskCounters(prefix: string, d: NonNullable<DiskUtil['aggregate']>): [string, JsonNode][] {
  return [
    [`${prefix}read_ios`, d.readIos],
    [`${prefix}write_ios`, d.writeIos],
    [`${prefix}read_sectors`, d.readSectors],
    [`${prefix}write_sectors`, d.writeSectors],
    [`${prefix}read_merges`, d.readMerges],
    [prefix ? 'aggr_write_merge' : 'write_merges', d.writeMerges],
    [`${prefix}read_ticks`, d.readTicksMs],
    [`${prefix}write_ticks`, d.writeTicksMs],
    [`${prefix}in_queue`, d.inQueueMs],
    [`${prefix}util`, float(d.util)],
  ]
}

function idlenessJson(idle: CpuIdleness): JsonObject {
  return object(
    ['system', float(idle.system)],
    ...(idle.percpu ?? []).map((share, cpu) => [`cpu-${cpu}`, float(share)] as const),
    ['unit_mean', float(idle.unitMeanUs)],
    ['unit_stddev', float(idle.unitStddevUs)],
  )
}
