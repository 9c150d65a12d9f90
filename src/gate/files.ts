// Files mode: results that were made elsewhere, one sample for each file.
//
//   iops, bw          of each job and direction: the median over files
//   p50, p99, p99.9   JSON+: histograms of all files of a side are merged and the percentile is read off the sum.
//                     Plain JSON: the lower median of what fio printed in each file, for percentiles are never averaged
//
//   fewer than 5 files on a side   `regressed` only if every head is worse than every base and the ratio is below 1 - 2L
//   from 5 on                      the bootstrap interval (files are resampled, Holm over all metrics) and Mann-Whitney at
//                                  5 %, both needed
//
// No fresh batch can be asked, so nothing is confirmed, and the report says so. p99.9 is advisory, and so are all
// percentiles of phasebit's own runs in real time: those are latencies of a busy host.

import { UserError } from '../core/errors.js'
import { bucketValue } from '../report/histogram.js'
import { requireSame, UNKNOWN } from './fingerprint.js'
import { addBuckets, type FioFile, type FioUnit, percentileOf, unitPercentile } from './fio-file.js'
import { chances, RESAMPLES, ratioOf, suiteVerdicts } from './judge.js'
import { bootstrap, lowMedian, mannWhitney, median } from './stats.js'
import {
  type Better,
  blankResult,
  type Fingerprint,
  GATE_SCHEMA,
  type GateReport,
  type GateResult,
  type Ratio,
  type Verdict,
} from './types.js'

/** Files a side from which intervals mean something. */
const ENOUGH = 5
const MANN_WHITNEY_ALPHA = 0.05

/** A metric of files, by the name that --metric takes. */
interface FileMetric {
  readonly unit: string
  readonly better: Better
  readonly gated: boolean
  /** The percentile, of those that are one. */
  readonly percent: number | null
}

const METRICS: Readonly<Record<string, FileMetric>> = {
  iops: { unit: 'IO/s', better: 'higher', gated: true, percent: null },
  bw: { unit: 'B/s', better: 'higher', gated: true, percent: null },
  p50: { unit: 'ns', better: 'lower', gated: true, percent: 50 },
  p99: { unit: 'ns', better: 'lower', gated: true, percent: 99 },
  'p99.9': { unit: 'ns', better: 'lower', gated: false, percent: 99.9 },
}

/** Names that `metrics` of compareFiles may hold. */
export const FILE_METRICS: readonly string[] = Object.keys(METRICS)

export interface FilesOptions {
  readonly limit: number
  readonly seed: number
  /** Which metrics to compare; all of them unless said. A metric that is asked for by name is never advisory. */
  readonly metrics: readonly string[] | null
}

/** One metric of one unit, both sides. */
interface Comparison {
  readonly result: GateResult
  readonly metric: FileMetric
  /** Values of each file. */
  readonly base: readonly number[]
  readonly head: readonly number[]
  /** Histograms of each file; null where values are compared. */
  readonly histograms: {
    readonly base: readonly Float64Array[]
    readonly head: readonly Float64Array[]
  } | null
}

/** A comparison with its ratio. */
interface Weighed extends Comparison {
  readonly ratio: Ratio
  readonly pWorse: number
  readonly pBetter: number
  readonly limit: number
}

/**
 * Compares two sets of files.
 * @throws UserError when a side is empty, fingerprints or jobs differ, or a metric is unknown
 */
export function compareFiles(
  base: readonly FioFile[],
  head: readonly FioFile[],
  options: FilesOptions,
): GateReport {
  checkMetrics(options.metrics)
  const facts = agreedFacts(base, head)
  const notes = notesOf(base, head)
  const comparisons = [...base[0].units.keys()].flatMap(key =>
    unitComparisons(
      key,
      unitsOf(base, key),
      unitsOf(head, key),
      isOwnRealTime(facts),
      options,
      notes,
    ),
  )
  if (comparisons.length === 0)
    throw new UserError('none of the metrics asked for is in these files')
  const few = Math.min(base.length, head.length) < ENOUGH
  const results = few ? fewFiles(comparisons, options.limit) : manyFiles(comparisons, options)
  return {
    schema: GATE_SCHEMA,
    mode: 'files',
    seed: options.seed,
    fingerprint: { base: facts, head: facts },
    results,
    notes,
  }
}

function checkMetrics(metrics: readonly string[] | null): void {
  const unknown = metrics?.find(name => !FILE_METRICS.includes(name))
  if (unknown === undefined) return
  throw new UserError(`--metric=${unknown}: unknown metric; there are ${FILE_METRICS.join(', ')}`)
}

/** The facts of all files, which agree. */
function agreedFacts(base: readonly FioFile[], head: readonly FioFile[]): Fingerprint {
  if (base.length === 0 || head.length === 0)
    throw new UserError(`no ${base.length === 0 ? 'base' : 'head'} file was given`)
  const first = base[0]
  for (const file of [...base, ...head]) {
    requireSame(first.facts, file.facts, [first.path, file.path])
    const strange = [...first.units.keys(), ...file.units.keys()].find(
      key => !(first.units.has(key) && file.units.has(key)),
    )
    if (strange === undefined) continue
    const [has, lacks] = first.units.has(strange) ? [first, file] : [file, first]
    throw new UserError(`cannot compare: ${has.path} has I/O of ${strange}, ${lacks.path} has none`)
  }
  return first.facts
}

function notesOf(base: readonly FioFile[], head: readonly FioFile[]): string[] {
  const notes = [
    `${base.length} base and ${head.length} head files; made elsewhere, so nothing is confirmed by a fresh batch`,
  ]
  if (Math.min(base.length, head.length) < ENOUGH)
    notes.push(
      `fewer than ${ENOUGH} files a side: ranges instead of intervals, and only a clear regression is told`,
    )
  const models = [...new Set([...base, ...head].map(file => file.facts['CPU model'] ?? UNKNOWN))]
  if (models.includes(UNKNOWN))
    notes.push('CPU model unknown: the files do not name it, so it was not compared')
  for (const file of [...base, ...head]) notes.push(...file.notes)
  return notes
}

function isOwnRealTime(facts: Fingerprint): boolean {
  return facts['phasebit clock'] === '"real"'
}

function unitsOf(files: readonly FioFile[], key: string): FioUnit[] {
  return files.map(file => file.units.get(key)!)
}

function unitComparisons(
  key: string,
  base: readonly FioUnit[],
  head: readonly FioUnit[],
  advisoryLatency: boolean,
  { metrics, limit }: FilesOptions,
  notes: string[],
): Comparison[] {
  const chosen = Object.entries(METRICS).filter(([name]) => metrics?.includes(name) ?? true)
  const found: Comparison[] = []
  const without: string[] = []
  for (const [name, metric] of chosen) {
    const gated =
      metrics !== null || (metric.gated && !(metric.percent !== null && advisoryLatency))
    const result = { ...blankResult(key, name, metric.unit, metric.better), gated, limit }
    const sides = sidesOf(base, head, name, metric)
    if (sides === null) without.push(name)
    else found.push({ result, metric, ...sides })
  }
  if (without.length === 0) return found
  const why =
    base[0].clones > 1 ? 'percentiles of clones cannot be added: use json+' : 'not recorded'
  if (metrics !== null) throw new UserError(`--metric=${without[0]}: ${key}: ${why}`)
  notes.push(`${key}: without ${without.join(', ')}: ${why}`)
  return found
}

/** Values and histograms of both sides; null when a file lacks them. */
function sidesOf(
  base: readonly FioUnit[],
  head: readonly FioUnit[],
  name: string,
  { percent }: FileMetric,
): Pick<Comparison, 'base' | 'head' | 'histograms'> | null {
  const value = (unit: FioUnit): number =>
    percent === null ? (name === 'iops' ? unit.iops : unit.bw) : unitPercentile(unit, percent)
  const all = [...base, ...head]
  if (!all.every(unit => value(unit) > 0)) return null
  if (percent !== null && new Set(all.map(unit => unit.latency)).size > 1) return null
  const merge = percent !== null && all.every(unit => unit.buckets !== null)
  return {
    base: base.map(value),
    head: head.map(value),
    histograms: merge
      ? { base: base.map(unit => unit.buckets!), head: head.map(unit => unit.buckets!) }
      : null,
  }
}

/** What stands for a side: never a mean of percentiles. */
function sideValue(
  values: readonly number[],
  histograms: readonly Float64Array[] | undefined,
  { percent }: FileMetric,
): number {
  if (percent === null) return median(values)
  return histograms ? percentileOf(addBuckets(histograms), percent) : lowMedian(values)
}

/** head/base where more is better. */
function goodness(base: number, head: number, better: Better): number {
  return better === 'higher' ? head / base : base / head
}

function estimateOf({ base, head, histograms, metric }: Comparison): number {
  return goodness(
    sideValue(base, histograms?.base, metric),
    sideValue(head, histograms?.head, metric),
    metric.better,
  )
}

function complete(comparison: Comparison, ratio: Ratio, verdict: Verdict): GateResult {
  const { result, base, head, histograms, metric } = comparison
  return {
    ...result,
    verdict: result.gated ? verdict : 'advisory',
    ratio,
    base: { value: sideValue(base, histograms?.base, metric), samples: base },
    head: { value: sideValue(head, histograms?.head, metric), samples: head },
  }
}

// ------------------------------------------------------------------ few files

function fewFiles(comparisons: readonly Comparison[], limit: number): GateResult[] {
  return comparisons.map(comparison => {
    const { base, head, metric } = comparison
    const ratios = base.flatMap(b => head.map(h => goodness(b, h, metric.better)))
    const ratio = {
      estimate: estimateOf(comparison),
      lo: Math.min(...ratios),
      hi: Math.max(...ratios),
    }
    const regressed = ratio.hi < 1 && ratio.estimate < 1 - 2 * limit
    return complete(comparison, ratio, regressed ? 'regressed' : 'unclear')
  })
}

// ------------------------------------------------------------------ enough files

function manyFiles(comparisons: readonly Comparison[], options: FilesOptions): GateResult[] {
  const weighed = comparisons.map(comparison => weigh(comparison, options))
  const gated = weighed.filter(one => one.result.gated)
  const verdicts = new Map(suiteVerdicts(gated).map((verdict, i) => [gated[i], verdict]))
  return weighed.map(one => {
    const verdict = verdicts.get(one) ?? 'advisory'
    const shifted = mannWhitney(one.base, one.head).p < MANN_WHITNEY_ALPHA
    const stands = shifted || !['regressed', 'improved'].includes(verdict)
    return complete(one, one.ratio, stands ? verdict : 'unclear')
  })
}

function weigh(comparison: Comparison, { limit, seed }: FilesOptions): Weighed {
  const distribution = resampled(comparison, seed)
  const ratio = ratioOf(Math.log(estimateOf(comparison)), distribution)
  return { ...comparison, ratio, limit, ...chances(distribution, limit) }
}

/** Log ratios when the files of each side are drawn again. */
function resampled(comparison: Comparison, seed: number): Float64Array {
  const { base, head, histograms, metric } = comparison
  const value = histograms
    ? mergedValue(histograms, metric.percent!)
    : (side: 'base' | 'head', chosen: Int32Array): number =>
        sideValue(
          Array.from(chosen, i => comparison[side][i]),
          undefined,
          metric,
        )
  return bootstrap(
    [base.length, head.length],
    (b, h) => Math.log(goodness(value('base', b), value('head', h), metric.better)),
    RESAMPLES,
    seed,
  )
}

/** The percentile of merged histograms, with the empty buckets left out once for all resamples. */
function mergedValue(
  histograms: NonNullable<Comparison['histograms']>,
  percent: number,
): (side: 'base' | 'head', chosen: Int32Array) => number {
  const filled = [...addBuckets([...histograms.base, ...histograms.head]).entries()]
    .filter(([, count]) => count > 0)
    .map(([bucket]) => bucket)
  const dense = {
    base: histograms.base.map(one => Float64Array.from(filled, bucket => one[bucket])),
    head: histograms.head.map(one => Float64Array.from(filled, bucket => one[bucket])),
  }
  const values = filled.map(bucketValue)
  const count = (list: Float64Array): number => list.reduce((a, b) => a + b, 0)
  const totals = { base: dense.base.map(count), head: dense.head.map(count) }
  return (side, chosen) => {
    const lists = Array.from(chosen, i => dense[side][i])
    const total = chosen.reduce((sum, i) => sum + totals[side][i], 0)
    let seen = 0
    for (let k = 0; k < filled.length; k++) {
      for (const list of lists) seen += list[k]
      if (seen >= (percent / 100) * total) return values[k]
    }
    return values.at(-1)!
  }
}
