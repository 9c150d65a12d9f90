// Results of a sweep, in files.
//
//   DIR/points/HASH.json            one finished point; written whole or not at all, so that a killed sweep leaves no halves
//   DIR/results.jsonl               when all points of a sweep are finished
//   DIR/results.I-of-N.jsonl        when all points of a shard are
//
// A results file is JSON lines: a header (schema, sweep, how many points, which shard, fingerprint), a line for each point in
// order, and, when the sweep is complete, a line for each group of points that differ in nothing but the seed: histograms added,
// percentiles of the sum. Merged shards give the same bytes as a sweep that was run whole.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '../core/errors.js'
import { requireSame } from '../gate/fingerprint.js'
import { addBuckets, type FioUnit, parseFio, percentileOf } from '../gate/fio-file.js'
import { isRecord, type JsonRecord, parseJson, readText } from '../gate/json-file.js'
import type { Fingerprint } from '../gate/types.js'
import { filledBuckets } from '../report/histogram.js'
import { cannotWrite, OutFile } from '../workload/out-file.js'
import { memberOf, type Overrides, type Point, type Shard } from './sweep-spec.js'

const POINT_SCHEMA = 'phasebit-sweep-point/1'
const RESULTS_SCHEMA = 'phasebit-sweep/1'

/** A finished point. */
export interface PointResult {
  readonly hash: string
  readonly fingerprint: Fingerprint
  /** fio's JSON+ of the run. */
  readonly result: JsonRecord
}

/** A line of a results file. */
export interface ResultLine {
  readonly index: number
  readonly hash: string
  readonly overrides: Overrides
  readonly seed: number
  readonly result: JsonRecord
}

/** The first line of a results file. */
export interface Header {
  readonly schema: typeof RESULTS_SCHEMA
  readonly sweep: string
  /** Points of the whole sweep. */
  readonly points: number
  readonly shard: Shard
  /** Point lines that follow. */
  readonly lines: number
  readonly fingerprint: Fingerprint
}

/** What must agree before results stand in one file; speeds of different hosts are never pooled. */
export function fingerprintOf(result: JsonRecord, host: Fingerprint): Fingerprint {
  const own = memberOf(result, 'phasebit')
  const facts = { version: String(own['version']), core: String(own['core'] ?? 'unknown') }
  return own['clock'] === 'real'
    ? { ...facts, clock: 'real', ...host }
    : { ...facts, clock: 'virtual' }
}

// ------------------------------------------------------------------ points

function pointPath(folder: string, hash: string): string {
  return join(folder, 'points', `${hash}.json`)
}

/** Keeps a finished point. @throws OutputError */
export function storePoint(folder: string, point: PointResult): void {
  const path = pointPath(folder, point.hash)
  try {
    mkdirSync(join(folder, 'points'), { recursive: true })
  } catch (error) {
    throw cannotWrite(folder, error)
  }
  const file = new OutFile(path)
  file.write(`${JSON.stringify({ schema: POINT_SCHEMA, ...point })}\n`)
  file.commit()
}

/** A finished point; null when it has to be run. A damaged file counts as none. */
export function loadPoint(folder: string, hash: string): PointResult | null {
  const path = pointPath(folder, hash)
  if (!existsSync(path)) return null
  try {
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const good =
      isRecord(json) &&
      json['schema'] === POINT_SCHEMA &&
      json['hash'] === hash &&
      isRecord(json['fingerprint']) &&
      isRecord(json['result'])
    return good ? (json as unknown as PointResult) : null
  } catch {
    return null
  }
}

/**
 * Points that are finished already, by hash.
 * @throws UserError when they were made by different builds, or by another than `mine`
 */
export function finishedPoints(
  folder: string,
  points: readonly Point[],
  mine: Fingerprint,
): Map<string, PointResult> {
  const found = new Map<string, PointResult>()
  for (const { hash } of points) {
    const stored = loadPoint(folder, hash)
    if (stored === null) continue
    requireSame(
      stored.fingerprint,
      mine,
      [pointPath(folder, hash), 'this build'],
      '; take another --output, or remove the old results',
    )
    found.set(hash, stored)
  }
  return found
}

// ------------------------------------------------------------------ results

/** The text of a results file. */
export function resultsText(header: Header, lines: readonly ResultLine[]): string {
  const complete = header.shard.count === 1
  const records = [header, ...lines, ...(complete ? replicates(lines) : [])]
  return records.map(record => `${JSON.stringify(record)}\n`).join('')
}

export function headerOf(
  sweep: string,
  points: number,
  shard: Shard,
  lines: number,
  fingerprint: Fingerprint,
): Header {
  return { schema: RESULTS_SCHEMA, sweep, points, shard, lines, fingerprint }
}

/** Points that differ in their seed only, as one. */
function replicates(lines: readonly ResultLine[]): object[] {
  const groups = new Map<string, ResultLine[]>()
  for (const line of lines) {
    const key = JSON.stringify(line.overrides)
    groups.set(key, [...(groups.get(key) ?? []), line])
  }
  return [...groups.values()].filter(group => group.length > 1).map(mergedGroup)
}

function mergedGroup(group: readonly ResultLine[]): object {
  const runs = group.map(line => parseFio(`point ${line.index}`, JSON.stringify(line.result)).units)
  const keys = [...new Set(runs.flatMap(units => [...units.keys()]))]
  const jobs = keys.map(key => [key, mergedUnits(runs.flatMap(units => units.get(key) ?? []))])
  return {
    merged: group.map(line => line.index),
    overrides: group[0].overrides,
    seeds: group.map(line => line.seed),
    jobs: Object.fromEntries(jobs),
  }
}

/** Sums, the rate of each run, and the percentiles of the added histograms. */
function mergedUnits(units: readonly FioUnit[]): object {
  const sum = (key: 'ios' | 'bytes'): number => units.reduce((total, unit) => total + unit[key], 0)
  const merged = {
    total_ios: sum('ios'),
    io_bytes: sum('bytes'),
    iops: units.map(unit => unit.iops),
  }
  const histograms = units.map(unit => unit.buckets).filter(buckets => buckets !== null)
  if (histograms.length < units.length) return merged
  const all = addBuckets(histograms)
  const percentile = Object.fromEntries(
    [50, 90, 99, 99.9].map(percent => [percent.toFixed(6), percentileOf(all, percent)]),
  )
  const bins = Object.fromEntries(filledBuckets(all).map(([ns, count]) => [String(ns), count]))
  return { ...merged, [units[0].latency!]: { N: sumOf(all), percentile, bins } }
}

function sumOf(buckets: Float64Array): number {
  return buckets.reduce((a, b) => a + b, 0)
}

/** A results file as it is read back. */
export interface ResultsFile {
  readonly path: string
  readonly header: Header
  readonly lines: readonly ResultLine[]
}

/** @throws UserError when the file is foreign, damaged or cut off */
export function readResults(path: string): ResultsFile {
  const texts = readText(path)
    .split('\n')
    .filter(line => line !== '')
  if (texts.length === 0) throw new UserError(`${path}: is empty, not a results file`)
  const records = texts.map((text, i) => parseJson(`${path}:${i + 1}`, text, 'results'))
  const header = records[0]
  if (!isHeader(header)) throw new UserError(`${path}: is no ${RESULTS_SCHEMA} file`)
  const lines = records.slice(1, 1 + header.lines)
  if (lines.length < header.lines)
    throw new UserError(`${path}: is cut off: ${lines.length} of ${header.lines} points are there`)
  const wrong = lines.findIndex(line => !isLine(line))
  if (wrong >= 0) throw new UserError(`${path}:${wrong + 2}: is no point of a sweep`)
  return { path, header, lines: lines as ResultLine[] }
}

function isHeader(value: unknown): value is Header {
  if (!isRecord(value) || value['schema'] !== RESULTS_SCHEMA) return false
  const { index, count } = memberOf(value, 'shard')
  const numbers = [index, count, value['points'], value['lines']]
  return (
    typeof value['sweep'] === 'string' &&
    numbers.every(one => Number.isSafeInteger(one) && (one as number) >= 0) &&
    isRecord(value['fingerprint'])
  )
}

function isLine(value: unknown): boolean {
  return (
    isRecord(value) &&
    Number.isSafeInteger(value['index']) &&
    typeof value['hash'] === 'string' &&
    isRecord(value['overrides']) &&
    isRecord(value['result'])
  )
}

/**
 * Shards as one sweep.
 * @throws UserError when a shard is missing or given twice, a point occurs twice, or sweeps or fingerprints differ
 */
export function mergeResults(files: readonly ResultsFile[]): string {
  const [first] = files
  const { sweep, points, shard, fingerprint } = first.header
  const shards = new Map<number, string>()
  for (const { path, header } of files) {
    if (header.sweep !== sweep)
      throw new UserError(`${path}: is of another sweep than ${first.path}`)
    if (header.shard.count !== shard.count)
      throw new UserError(
        `${path}: is one of ${header.shard.count} shards, ${first.path} one of ${shard.count}`,
      )
    requireSame(fingerprint, header.fingerprint, [first.path, path])
    const twin = shards.get(header.shard.index)
    if (twin !== undefined)
      throw new UserError(
        `shard ${header.shard.index}/${shard.count} is there twice: ${twin} and ${path}`,
      )
    shards.set(header.shard.index, path)
  }
  for (let i = 1; i <= shard.count; i++)
    if (!shards.has(i)) throw new UserError(`shard ${i}/${shard.count} is missing`)
  const lines = files.flatMap(file => file.lines).sort((a, b) => a.index - b.index)
  checkPoints(lines, points)
  return resultsText(
    headerOf(sweep, points, { index: 1, count: 1 }, lines.length, fingerprint),
    lines,
  )
}

/** Every point once. */
function checkPoints(lines: readonly ResultLine[], points: number): void {
  for (let i = 0; i < Math.max(points, lines.length); i++) {
    const index = lines[i]?.index ?? Number.POSITIVE_INFINITY
    if (index < i) throw new UserError(`point ${index} is there twice`)
    if (index > i) throw new UserError(`point ${i} is missing`)
    if (i >= points) throw new UserError(`point ${index}: the sweep has only ${points}`)
  }
}
