// Exact metrics: what a run in virtual time came to. The same job, options and seed give the same numbers on every machine,
// so the rule is equality, and a difference is `changed`: to be accepted by writing the baseline anew in the same change.
//
//   of each job and direction   I/Os, bytes, runtime, IOPS, latencies and percentiles, a hash of the histogram
//   of each queue               submissions, completions by kind, interrupts, looks, doorbells, requeues, timeouts
//   of the run                  books, and a hash of the order in which I/Os ended, with their latencies
//
// A run in single steps of one thread has no compare-and-swap to try again; such retries are not counted.

import { createHash } from 'node:crypto'
import { percentiles } from '../report/histogram.js'
import { iopsOf, type ReportUnit, reportUnits } from '../report/merge.js'
import {
  DIRECTIONS,
  type DirectionResult,
  type LatencyStat,
  type QueueFacts,
  type RunResult,
} from '../report/result.js'
import { blankResult, type GateResult } from './types.js'

/** Metrics of one benchmark: numbers, or texts such as hashes. */
export type ExactMetrics = Readonly<Record<string, number | string>>

/** Everything that is compared of one run, by benchmark. */
export type ExactValues = Readonly<Record<string, ExactMetrics>>

const PERCENTS = [50, 99, 99.9] as const

/** Every metric there is, with its unit; a baseline with any other is not ours. */
const UNITS: Readonly<Record<string, string>> = {
  ios: 'IOs',
  bytes: 'B',
  runtime: 'ns',
  iops: 'IO/s',
  clat_min: 'ns',
  clat_mean: 'ns',
  clat_max: 'ns',
  clat_p50: 'ns',
  clat_p99: 'ns',
  'clat_p99.9': 'ns',
  clat_histogram: 'hash',
  syncs: 'IOs',
  errors: '',
  completion: '',
  submitted: 'requests',
  completed: 'requests',
  polled: 'requests',
  by_interrupt: 'requests',
  interrupts: '',
  polls: '',
  sq_doorbells: '',
  cq_doorbells: '',
  slow: 'requests',
  requeued: 'requests',
  timeouts: 'requests',
  failed: 'bios',
  order: 'hash',
}

export const EXACT_METRICS: readonly string[] = Object.keys(UNITS)

/** Twelve hex digits are enough to see a difference. */
export function shortHash(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

/**
 * What is compared of a run.
 * @param order hash of the order in which I/Os ended
 */
export function exactValues(run: RunResult, order: string): ExactValues {
  const { books, queues } = run.phasebit
  return {
    run: {
      submitted: books.submitted,
      completed: books.completed,
      failed: books.failed,
      order,
    },
    ...unitsValues(reportUnits(run.jobs)),
    ...Object.fromEntries(
      queues.map(queue => [`${queue.device} queue ${queue.queue}`, queueValues(queue)]),
    ),
  }
}

function unitsValues(units: readonly ReportUnit[]): ExactValues {
  const values: Record<string, ExactMetrics> = {}
  for (const unit of units) {
    const alike = units.filter(one => one.jobname === unit.jobname)
    const name = alike.length === 1 ? unit.jobname : `${unit.jobname} #${alike.indexOf(unit)}`
    values[name] = { errors: unit.totalErrors, syncs: unit.sync.totalIos }
    for (const direction of DIRECTIONS) {
      if (unit[direction].totalIos === 0) continue
      values[`${name}: ${direction}`] = directionValues(unit[direction])
    }
  }
  return values
}

function directionValues(direction: DirectionResult): ExactMetrics {
  return {
    ios: direction.totalIos,
    bytes: direction.ioBytes,
    runtime: direction.runtimeNs,
    iops: rounded(iopsOf(direction)),
    ...latencyValues(direction.clat),
  }
}

function latencyValues({ n, min, mean, max, buckets }: LatencyStat): ExactMetrics {
  if (n === 0) return {}
  const plain = { clat_min: min, clat_mean: rounded(mean), clat_max: max }
  if (!buckets) return plain
  const table = percentiles(buckets, PERCENTS).map(({ percent, ns }) => [`clat_p${percent}`, ns])
  return { ...plain, ...Object.fromEntries(table), clat_histogram: shortHash(buckets.join()) }
}

function queueValues(queue: QueueFacts): ExactMetrics {
  return {
    completion: queue.completion,
    submitted: queue.submitted,
    completed: queue.completed,
    polled: queue.polled,
    by_interrupt: queue.interrupts,
    interrupts: queue.irqs,
    polls: queue.spins,
    sq_doorbells: queue.sqDoorbells,
    cq_doorbells: queue.cqDoorbells,
    slow: queue.slow,
    requeued: queue.requeued,
    timeouts: queue.timeouts,
  }
}

/** A quotient with as many digits as a file shall show. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}

/**
 * Compares with what was stored, metric by metric.
 * @param label what the results are prefixed with: the job file
 * @param base null when nothing is stored yet: every metric is `new`
 */
export function compareExact(
  label: string,
  base: ExactValues | null,
  head: ExactValues,
): GateResult[] {
  const benchmarks = [...new Set([...Object.keys(base ?? {}), ...Object.keys(head)])]
  return benchmarks.flatMap(benchmark => {
    const before = base?.[benchmark] ?? {}
    const after = head[benchmark] ?? {}
    const metrics = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    return metrics.map(metric =>
      exactResult(`${label}: ${benchmark}`, metric, base !== null, before[metric], after[metric]),
    )
  })
}

function exactResult(
  benchmark: string,
  metric: string,
  stored: boolean,
  before: number | string | undefined,
  after: number | string | undefined,
): GateResult {
  const notes: string[] = []
  if (stored && before === undefined) notes.push('the baseline does not have it')
  if (after === undefined) notes.push('only the baseline has it')
  return {
    ...blankResult(benchmark, metric, UNITS[metric] ?? '', 'higher'),
    verdict: !stored ? 'new' : before === after ? 'same' : 'changed',
    base: before === undefined ? null : { value: before, samples: [] },
    head: after === undefined ? null : { value: after, samples: [] },
    notes,
  }
}
