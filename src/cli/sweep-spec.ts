// A sweep file, and the points it stands for.
//
//   {
//     "jobs":    ["hello.fio"],                      job files, relative to the sweep file
//     "options": { "clock": "virtual" },             for every point: options as after `phasebit run`, without the dashes
//     "grid":    { "iodepth": [1, 4], "bs": ["4k", "64k"] },      every combination, the last name turning fastest
//     "list":    [ { "rw": "write", "iodepth": 2 } ],             and these
//     "seeds":   [1, 2, 3]                           each point once for each of them
//   }
//
// With seeds, jobs run with randrepeat=0 unless something else is said: fio's default repeats the same offsets whatever the seed.
//
// `jobs` and `machine` may stand in grid and list too: they name files. A list as value is an option given several times
// (`device`); true is an option without value, false leaves it out.
//
// A point is known by the hash of what it runs: jobs with all options resolved, machine, seed, limits. Not by its place, nor by
// the names of files.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { UserError } from '../core/errors.js'
import { isRecord, type JsonRecord, parseJson, readText } from '../gate/json-file.js'
import type { RunPlan } from '../workload/job.js'
import { parseRun } from '../workload/run-command.js'
import { didYouMean } from '../workload/suggest.js'

/** What a value of an option may be. */
type Value = string | number | boolean | readonly (string | number)[]

export type Overrides = Readonly<Record<string, Value>>

/** One run of a sweep. */
export interface Point {
  /** Place among all points, from 0. */
  readonly index: number
  readonly hash: string
  readonly overrides: Overrides
  readonly seed: number
  /** Arguments of `phasebit run`. */
  readonly args: readonly string[]
}

export interface Sweep {
  /** Hash of all points in their order. */
  readonly hash: string
  readonly clock: 'real' | 'virtual'
  readonly points: readonly Point[]
}

const KEYS = ['jobs', 'options', 'grid', 'list', 'seeds'] as const
const MOST_POINTS = 100_000

/** Options that the sweep sets itself. */
const OURS = [
  'output',
  'output-format',
  'eta',
  'status-interval',
  'shard',
  'seed',
  'showcmd',
  'parse-only',
]

/** Options whose values are files. */
const FILES = ['jobs', 'machine']

/**
 * Reads a sweep file and checks every point.
 * @throws UserError
 */
export function readSweep(path: string): Sweep {
  const json = parseJson(path, readText(path), 'sweep')
  if (!isRecord(json)) throw new UserError(`${path}: a sweep is an object with ${KEYS.join(', ')}`)
  const strange = Object.keys(json).find(key => !KEYS.some(one => one === key))
  if (strange !== undefined)
    throw new UserError(
      `${path}: unknown key ${JSON.stringify(strange)}${didYouMean(strange, KEYS)}`,
    )
  const jobs = json['jobs'] === undefined ? [] : fileNames(path, 'jobs', json['jobs'])
  const common = overridesOf(path, 'options', json['options'] ?? {})
  const variants = [
    ...gridOf(path, json['grid'], json['list'] === undefined),
    ...listOf(path, json['list']),
  ]
  const seeds = seedsOf(path, json['seeds'])
  const count = variants.length * seeds.length
  if (count > MOST_POINTS)
    throw new UserError(`${path}: ${count} points; ${MOST_POINTS} are the most`)
  const drawn = json['seeds'] === undefined ? {} : { randrepeat: 0 }
  const made = variants.flatMap(overrides =>
    seeds.map(seed => pointOf(path, { jobs, ...drawn, ...common, ...overrides }, overrides, seed)),
  )
  checkAlike(path, made)
  const points = made.map(({ point }, index) => ({ ...point, index }))
  return { hash: hashOf(points.map(point => point.hash)), clock: made[0].clock, points }
}

function fail(path: string, where: string, what: string): UserError {
  return new UserError(`${path}: ${where}: ${what}`)
}

function fileNames(path: string, where: string, value: unknown): readonly string[] {
  const list = Array.isArray(value) ? value : [value]
  if (!list.every(one => typeof one === 'string' && one !== ''))
    throw fail(path, where, 'file names are expected')
  return list as string[]
}

function isValue(value: unknown): value is Value {
  if (Array.isArray(value))
    return value.every(one => typeof one === 'string' || Number.isFinite(one))
  return typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
}

function overridesOf(path: string, where: string, value: unknown): Overrides {
  if (!isRecord(value)) throw fail(path, where, 'an object of options is expected')
  for (const [name, one] of Object.entries(value)) checkOption(path, where, name, one)
  return value as Overrides
}

function checkOption(path: string, where: string, name: string, value: unknown): void {
  if (OURS.includes(name)) throw fail(path, where, `${name} is set by the sweep itself`)
  if (!/^[a-z][\w-]*$/i.test(name)) throw fail(path, where, `${JSON.stringify(name)} is no option`)
  if (!isValue(value))
    throw fail(path, where, `${name}: a text, a number or a list of them is expected`)
}

/** Every combination, in the order in which the grid was written. */
function gridOf(path: string, value: unknown, alone: boolean): Overrides[] {
  if (value === undefined) return alone ? [{}] : []
  if (!isRecord(value)) throw fail(path, 'grid', 'an object of lists is expected')
  let points: Overrides[] = [{}]
  for (const [name, values] of Object.entries(value)) {
    if (!Array.isArray(values) || values.length === 0)
      throw fail(path, 'grid', `${name}: a list of values is expected`)
    for (const one of values) checkOption(path, 'grid', name, one)
    if (points.length * values.length > MOST_POINTS)
      throw fail(path, 'grid', `more than ${MOST_POINTS} points`)
    points = points.flatMap(point => values.map(one => ({ ...point, [name]: one as Value })))
  }
  return points
}

function listOf(path: string, value: unknown): Overrides[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length === 0)
    throw fail(path, 'list', 'a list of objects is expected')
  return value.map((one, i) => overridesOf(path, `list[${i}]`, one))
}

function seedsOf(path: string, value: unknown): readonly number[] {
  if (value === undefined) return [0]
  const good =
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(seed => Number.isSafeInteger(seed) && seed >= 0)
  if (!good) throw fail(path, 'seeds', 'a list of whole numbers from 0 is expected')
  return value as number[]
}

interface Made {
  readonly point: Omit<Point, 'index'>
  readonly clock: 'real' | 'virtual'
}

function pointOf(path: string, all: Overrides, overrides: Overrides, seed: number): Made {
  const beside = (name: string): string => (isAbsolute(name) ? name : join(dirname(path), name))
  const jobs = fileNames(path, 'jobs', all['jobs']).map(beside)
  const options = Object.entries(all)
    .filter(([name]) => name !== 'jobs')
    .flatMap(([name, value]) => optionArgs(name, value, beside))
  const args = [...jobs, ...options, `--seed=${seed}`]
  const plan = planOf(path, overrides, args)
  return {
    clock: plan.clock,
    point: { hash: contentHash(plan), overrides: plain(overrides), seed, args },
  }
}

/** `--name=value`, as often as there are values. */
function optionArgs(name: string, value: Value, beside: (name: string) => string): string[] {
  if (value === false) return []
  if (value === true) return [`--${name}`]
  const list = Array.isArray(value) ? value : [value]
  const place = FILES.includes(name) ? (one: unknown) => beside(String(one)) : String
  return list.map(one => `--${name}=${place(one)}`)
}

function plain(overrides: Overrides): Overrides {
  return JSON.parse(JSON.stringify(overrides)) as Overrides
}

/** The plan of a point; what is wrong with it names the point. */
function planOf(path: string, overrides: Overrides, args: readonly string[]): RunPlan {
  try {
    const plan = parseRun(args, {
      readFile: file => readFileSync(file),
      env: process.env,
      hostCpus: availableParallelism(),
    })
    return plan
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    throw fail(path, `point ${JSON.stringify(overrides)}`, error.message)
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32)
}

/** What decides the outcome of a plan. */
function contentHash(plan: RunPlan): string {
  const { showcmdLines, machine, clock, kernel, seed, cpus, maxRuntimeNs, maxIo, lat, stages } =
    plan
  return hashOf([
    showcmdLines,
    machine,
    clock,
    kernel,
    seed,
    cpus,
    maxRuntimeNs,
    maxIo,
    lat,
    stages,
  ])
}

/** Points that are the same run, or under different clocks, are mistakes. */
function checkAlike(path: string, made: readonly Made[]): void {
  const seen = new Map<string, Omit<Point, 'index'>>()
  for (const { point, clock } of made) {
    const twin = seen.get(point.hash)
    if (twin !== undefined)
      throw new UserError(
        `${path}: two points are the same run: ${pointText(twin)} and ${pointText(point)}`,
      )
    if (clock !== made[0].clock) throw new UserError(`${path}: all points need the same clock`)
    seen.set(point.hash, point)
  }
}

/** A point as messages name it. */
export function pointText({ overrides, seed }: Pick<Point, 'overrides' | 'seed'>): string {
  return `${JSON.stringify(overrides)} seed ${seed}`
}

/** A shard as `I/N` names it, from 1. */
export interface Shard {
  readonly index: number
  readonly count: number
}

/** @throws UserError */
export function parseShard(text: string): Shard {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text)
  const [index, count] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || index < 1 || index > count)
    throw new UserError(`--shard=${text}: I/N is accepted, such as 1/4`)
  return { index, count }
}

/** The points of a shard: every N-th. */
export function shardPoints(sweep: Sweep, { index, count }: Shard): Point[] {
  return sweep.points.filter(point => point.index % count === index - 1)
}

/** A record's member as a record. */
export function memberOf(record: JsonRecord, key: string): JsonRecord {
  const value = record[key]
  return isRecord(value) ? value : {}
}
