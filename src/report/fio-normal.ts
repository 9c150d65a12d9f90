// fio's human-readable report.
//
//   job lines, version, "Starting N processes"         normalHeader: printed when the run begins
//   one block per reporting unit                       normalReport: everything from here on, at the end
//   "Run status group" lines per group
//   "Disk stats", "CPU idleness"
//   "phasebit": clock, seed, completion, books; this part is ours
//
// A unit that moved nothing and did not fail prints nothing, as in fio.

import {
  type DirectionTotals,
  type GroupTotals,
  groupTotals,
  mixedDirection,
  type ReportUnit,
  reportUnits,
  runtimeMs,
} from './merge.js'
import { latencyLine, normalDirection, percentileTable } from './normal-direction.js'
import { ctime, fixed, humanBytes, humanNumber, humanRate, percentOf } from './numbers.js'
import { completionOf } from './phasebit-json.js'
import {
  type BlockInfo,
  type CpuIdleness,
  DIRECTIONS,
  type Direction,
  type DiskUtil,
  FIO_VERSION,
  type JobReportOptions,
  type JobResult,
  type PhasebitFacts,
  type RunResult,
  type SteadyStateResult,
} from './result.js'
import * as figures from './unit-figures.js'

/** What identifies a job before it has run. */
export type JobIntro = Pick<
  JobResult,
  'jobname' | 'groupid' | 'clone' | 'numjobs' | 'header' | 'report'
>

/** The lines fio prints when a run begins: one per section, `...` for further clones, version, number of processes. */
export function normalHeader(jobs: readonly JobIntro[]): string {
  const lines = jobs.filter(job => job.clone === 0).map(introLine)
  return `${lines.join('')}${FIO_VERSION}\n${startingLine(jobs)}\n`
}

/** The report proper, beginning with an empty line. */
export function normalReport(run: RunResult): string {
  const units = reportUnits(run.jobs)
  const groups = groupTotals(units)
  const blocks = units.map(unit => {
    const group = groups.find(g => g.groupid === unit.groupid)!
    return unitBlock(unit, group, ctime(run.epochMs, run.utc))
  })
  return [
    '\n',
    ...blocks,
    ...groups.map(groupBlock),
    disksBlock(run.disks),
    run.cpuIdleness ? idlenessBlock(run.cpuIdleness) : '',
    factsBlock(run.phasebit),
  ].join('')
}

function introLine(job: JobIntro): string {
  const { rw, bs, ioengine, iodepth } = job.header
  const o = job.report
  const size = (bytes: number): string => humanBytes(bytes, o.significantFigures, o.kbBase === 1024)
  const [r, w, t] = bs.map(([low, high]) => `${size(low)}-${size(high)}`)
  const more = job.numjobs > 1 ? '...\n' : ''
  return (
    `${job.jobname}: (g=${job.groupid}): rw=${rw}, bs=(R) ${r}, (W) ${w}, (T) ${t}, ` +
    `ioengine=${ioengine}, iodepth=${iodepth}\n${more}`
  )
}

function startingLine(jobs: readonly JobIntro[]): string {
  const threads = jobs.filter(job => job.header.thread).length
  const processes = jobs.length - threads
  const parts: string[] = []
  if (threads > 0) parts.push(`${threads} thread${threads > 1 ? 's' : ''}`)
  if (processes > 0) parts.push(`${processes} process${processes > 1 ? 'es' : ''}`)
  return `Starting ${parts.join(' and ')}`
}

function unitBlock(unit: ReportUnit, group: GroupTotals, date: string): string {
  const { description, continueOnError } = unit.report
  const moved = figures.totalIos(unit) + unit.sync.totalIos > 0
  if (!moved && unit.error === 0) return ''
  return [
    titleLine(unit, date),
    description ? `  Description  : [${description}]\n` : '',
    directionBlocks(unit, group),
    shareLines('nsec', figures.SHORT_KEYS, figures.latencyShares(unit, 'ns')),
    shareLines('usec', figures.SHORT_KEYS, figures.latencyShares(unit, 'us')),
    shareLines('msec', figures.MS_KEYS, figures.latencyShares(unit, 'ms')),
    syncBlock(unit),
    cpuLine(unit),
    depthLines(unit),
    issuedLine(unit),
    continueOnError ? errorLine(unit) : '',
    targetLine(unit),
    unit.block ? blockLines(unit.block) : '',
    unit.steadystate ? steadyLine(unit.steadystate, unit.report) : '',
  ].join('')
}

function titleLine(unit: ReportUnit, date: string): string {
  const text = unit.error !== 0 && unit.errorText ? ` (${unit.errorText})` : ''
  const err = `err=${String(unit.error).padStart(2)}${text}`
  const members = `(groupid=${unit.groupid}, jobs=${unit.members})`
  return `${unit.jobname}: ${members}: ${err}: pid=${unit.pid}: ${date}\n`
}

function directionBlocks(unit: ReportUnit, group: GroupTotals): string {
  const o = unit.report
  const rate = (d: Direction): number => group[d]?.aggregateRate ?? 0
  const blocks = DIRECTIONS.filter(d => unit[d].runtimeNs > 0 && unit[d].ioBytes > 0).map(d => {
    const name = o.unifiedRw === 'mixed' ? 'mixed' : d
    const resets = d === 'write' && unit.zoneResets !== undefined
    return normalDirection(
      name,
      unit[d],
      o,
      rate(d),
      resets ? `; ${unit.zoneResets} zone resets` : '',
    )
  })
  if (o.unifiedRw === 'both') {
    const all = DIRECTIONS.reduce((sum, d) => sum + rate(d), 0)
    blocks.push(normalDirection('mixed', mixedDirection(unit), o, all))
  }
  return blocks.join('')
}

/** Non-empty latency classes, five to a line. */
function shareLines(unit: string, keys: readonly string[], shares: readonly number[]): string {
  const entries = keys
    .map((key, i) => [key, shares[i]] as const)
    .filter(([, share]) => share > 0)
    .map(([key, share]) => `${key}=${fixed(share, 2)}%`)
  let lines = ''
  for (let i = 0; i < entries.length; i += 5) {
    lines += `  lat (${unit})   : ${entries.slice(i, i + 5).join(', ')}\n`
  }
  return lines
}

function syncBlock(unit: ReportUnit): string {
  const { lat } = unit.sync
  if (lat.n === 0) return ''
  const title = '  fsync/fdatasync/sync_file_range:\n'
  return title + latencyLine('sync', lat) + percentileTable('sync', lat, unit.report)
}

function cpuLine(unit: ReportUnit): string {
  const usr = fixed(percentOf(unit.usrNs, unit.jobRuntimeNs), 2)
  const sys = fixed(percentOf(unit.sysNs, unit.jobRuntimeNs), 2)
  const counts = `ctx=${unit.ctx}, majf=${unit.majf}, minf=${unit.minf}`
  return `  cpu          : usr=${usr}%, sys=${sys}%, ${counts}\n`
}

function depthLines(unit: ReportUnit): string {
  const line = (title: string, keys: readonly string[], shares: readonly number[]): string =>
    `${title}: ${keys.map((key, i) => `${key}=${fixed(shares[i], 1)}%`).join(', ')}\n`
  const { submit, complete } = unit.depth
  return (
    line('  IO depths    ', figures.LEVEL_KEYS, figures.levelShares(unit)) +
    line('     submit    ', figures.CALL_KEYS, figures.callShares(submit)) +
    line('     complete  ', figures.CALL_KEYS, figures.callShares(complete))
  )
}

function issuedLine(unit: ReportUnit): string {
  const three = (count: 'totalIos' | 'shortIos' | 'dropIos'): string =>
    DIRECTIONS.map(d => unit[d][count]).join(',')
  const total = `${three('totalIos')},${unit.sync.totalIos}`
  return `     issued rwts: total=${total} short=${three('shortIos')},0 dropped=${three('dropIos')},0\n`
}

function errorLine(unit: ReportUnit): string {
  const text = unit.firstError === 0 ? 'Success' : (unit.firstErrorText ?? 'Unknown error')
  return `     errors    : total=${unit.totalErrors}, first_error=${unit.firstError}/<${text}>\n`
}

function targetLine(unit: ReportUnit): string {
  const { targetNs, windowUs, percentile, depth } = unit.latencyTarget
  const share = `percentile=${fixed(percentile, 2)}%`
  return `     latency   : target=${targetNs}, window=${windowUs}, ${share}, depth=${depth}\n`
}

function blockLines(block: BlockInfo): string {
  const lifetimes = Object.entries(block.percentiles).map(
    ([percent, n]) => ` ${fixed(Number(percent), 2)}th=${n}`,
  )
  const states = Object.entries(block.states).map(([state, n]) => ` ${state}=${n}`)
  let table = ''
  for (let i = 0; i < lifetimes.length; i += 5) {
    table += `${i > 0 ? ',\n' : ''}   |${lifetimes.slice(i, i + 5).join(',')}`
  }
  return `  block lifetime percentiles :\n${table}\n        states               :${states.join(',')}\n`
}

function steadyLine(ss: SteadyStateResult, o: JobReportOptions): string {
  const rate = Math.floor(figures.mean(ss.bw))
  const bw = (binary: boolean): string => humanRate(rate, o.significantFigures, binary, o.unitBase)
  const iops = humanNumber(Math.floor(figures.mean(ss.iops)), o.significantFigures, false, '')
  const lat = ss.latNs ? `, lat=${Math.floor(figures.mean(ss.latNs))}nsec` : ''
  const [name, slope] = ss.criterion.split('_')
  const found = `${name} ${slope ? 'slope' : 'mean dev'}=${fixed(figures.steadyCriterion(ss), 3)}`
  return (
    `  steadystate  : attained=${ss.attained ? 'yes' : 'no'}, bw=${bw(o.kbBase === 1024)} ` +
    `(${bw(o.kbBase !== 1024)}), iops=${iops}${lat}, ${found}${ss.percent ? '%' : ''}\n`
  )
}

function groupBlock(group: GroupTotals): string {
  const lines = DIRECTIONS.map(d => {
    const name = group.mixed === 'mixed' ? 'MIXED' : d.toUpperCase()
    return group[d] ? groupLine(name, group[d], group.report) : ''
  })
  if (group.mixed === 'both') lines.push(mixedGroupLine(group))
  return `\nRun status group ${group.groupid} (all jobs):\n${lines.join('')}`
}

function groupLine(name: string, t: DirectionTotals, o: JobReportOptions): string {
  const binary = o.kbBase === 1024
  const rate = (value: number, pow2: boolean): string =>
    humanRate(Math.floor(value), o.significantFigures, pow2, o.unitBase)
  const range = (pow2: boolean): string => `${rate(t.minRate, pow2)}-${rate(t.maxRate, pow2)}`
  const io = (pow2: boolean): string => humanBytes(t.ioBytes, o.significantFigures, pow2)
  return (
    `${name.padStart(7)}: bw=${rate(t.aggregateRate, binary)} (${rate(t.aggregateRate, !binary)}), ` +
    `${range(binary)} (${range(!binary)}), io=${io(binary)} (${io(!binary)}), ` +
    `run=${runtimeMs(t.minRunNs)}-${runtimeMs(t.maxRunNs)}msec\n`
  )
}

/** All directions of a group together. */
function mixedGroupLine(group: GroupTotals): string {
  const all = DIRECTIONS.map(d => group[d]).filter(t => t !== undefined)
  if (all.length === 0) return ''
  const sum = (key: 'ioBytes' | 'aggregateRate'): number => all.reduce((a, t) => a + t[key], 0)
  const totals: DirectionTotals = {
    ioBytes: sum('ioBytes'),
    aggregateRate: sum('aggregateRate'),
    minRate: Math.min(...all.map(t => t.minRate)),
    maxRate: Math.max(...all.map(t => t.maxRate)),
    minRunNs: Math.min(...all.map(t => t.minRunNs)),
    maxRunNs: Math.max(...all.map(t => t.maxRunNs)),
  }
  return groupLine('MIXED', totals, group.report)
}

function disksBlock(disks: readonly DiskUtil[]): string {
  if (disks.length === 0) return ''
  return `\nDisk stats (read/write):\n${disks.map(diskLine).join('')}`
}

function diskLine(disk: DiskUtil): string {
  const counters = (prefix: string, d: NonNullable<DiskUtil['aggregate']>): string =>
    `${prefix}ios=${d.readIos}/${d.writeIos}, ${prefix}merge=${d.readMerges}/${d.writeMerges}, ` +
    `${prefix}ticks=${d.readTicksMs}/${d.writeTicksMs}, ${prefix}in_queue=${d.inQueueMs}, ` +
    `${prefix}util=${fixed(d.util, 2)}%`
  const below = disk.aggregate ? `, ${counters('aggr', disk.aggregate)}` : ''
  return `${disk.aggregate ? '    ' : '  '}${disk.name}: ${counters('', disk)}${below}\n`
}

function idlenessBlock(idle: CpuIdleness): string {
  const cpus = idle.percpu?.map(share => `${fixed(share, 2)}%`).join(', ')
  const percpu = cpus === undefined ? '' : `  percpu: ${cpus}\n`
  const work = `mean=${fixed(idle.unitMeanUs, 2)}us, stddev=${fixed(idle.unitStddevUs, 2)}`
  return `\nCPU idleness:\n  system: ${fixed(idle.system, 2)}%\n${percpu}  unit work: ${work}\n`
}

function factsBlock(facts: PhasebitFacts): string {
  const { clock, kernel, cpus, seed, latencyMode, books } = facts
  const completion = completionOf(facts.queues) ?? 'none'
  const stages = Object.entries(facts.stages ?? {}).map(([name, s]) => latencyLine(name, s))
  return [
    `\nphasebit: clock=${clock}, kernel=${kernel}, cpus=${cpus}, seed=${seed}, `,
    `lat=${latencyMode}, completion=${completion}\n`,
    `  books        : submitted=${books.submitted}, completed=${books.completed}, `,
    `failed=${books.failed}, in flight=${books.inFlight}, `,
    `${books.balanced ? 'balanced' : 'NOT BALANCED'}\n`,
    facts.shortened ? `  shortened    : ${facts.shortened}\n` : '',
    ...stages,
  ].join('')
}
