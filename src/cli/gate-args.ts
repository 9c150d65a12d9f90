// The command line of `phasebit gate`: what is compared with what, by which rules, and what is written.
//
//   --base and --head take every word up to the next option, but for job files (*.fio); all other options take one value (`--x V` or `--x=V`) or none.
//   Words that belong to no option are job files. An option that is not the gate's goes to the jobs, and must be written
//   `--x=V`, because nobody knows whether the next word belongs to it.

import { UserError } from '../core/errors.js'
import { DEFAULT_LIMIT } from '../gate/limits.js'
import type { GateMode } from '../gate/types.js'
import { didYouMean } from '../workload/suggest.js'

/** Forms of output, by their option. */
export const EXPORTS = [
  'json',
  'junit',
  'bencher',
  'github-benchmark',
  'go-bench',
  'hyperfine',
  'csv',
  'summary',
] as const

export type ExportName = (typeof EXPORTS)[number]

export interface GateArgs {
  readonly jobFiles: readonly string[]
  /** Options of the jobs and of the machine, as after `phasebit run`. */
  readonly runOptions: readonly string[]
  readonly base: readonly string[]
  readonly head: readonly string[]
  readonly baseline: string | null
  readonly mode: GateMode | null
  readonly strict: boolean
  readonly init: boolean
  readonly update: boolean
  readonly calibrate: boolean
  readonly list: boolean
  /** Share; null = the stored one, or the default. */
  readonly limit: number | null
  readonly metrics: readonly string[] | null
  readonly benches: readonly string[] | null
  /** Processes, or pairs of them; null = as many as the mode needs. */
  readonly count: number | null
  readonly doublings: number
  readonly seed: number
  /** Folder for fio's JSON of each run of the job files. */
  readonly fioJson: string | null
  readonly exports: Readonly<Partial<Record<ExportName, string>>>
}

const FLAGS = ['strict', 'init', 'update', 'calibrate', 'list'] as const
const SIDES = ['base', 'head'] as const
const MODES: readonly GateMode[] = ['exact', 'pair', 'process', 'history', 'files']
const VALUES = [
  'baseline',
  'mode',
  'limit',
  'metric',
  'bench',
  'count',
  'doublings',
  'seed',
  'fio-json',
  ...EXPORTS,
] as const
const DEFAULT_DOUBLINGS = 4

type Said = Partial<Record<(typeof VALUES)[number], string>>

function bad(option: string, value: string, accepted: string): UserError {
  return new UserError(`--${option}=${value}: ${accepted} is accepted`)
}

/** @throws UserError for anything that is not understood */
export function parseGate(argv: readonly string[]): GateArgs {
  const flags = new Set<string>()
  const said: Said = {}
  const sides: Record<(typeof SIDES)[number], string[]> = { base: [], head: [] }
  const [jobFiles, runOptions]: [string[], string[]] = [[], []]
  let side: string[] | null = null
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]
    if (!word.startsWith('-')) {
      const place = word.endsWith('.fio') ? jobFiles : (side ?? jobFiles)
      place.push(word)
      continue
    }
    side = null
    const [, name, , value] = /^--([^=]*)(=([\s\S]*))?$/.exec(word) ?? []
    const flag = FLAGS.find(one => one === name)
    const known = VALUES.find(one => one === name)
    const which = SIDES.find(one => one === name)
    if (flag !== undefined) flags.add(bare(flag, value))
    else if (which !== undefined) {
      side = sides[which]
      if (value !== undefined) side.push(value)
    } else if (known !== undefined) {
      if (said[known] !== undefined) throw new UserError(`--${known} was given twice`)
      const next = value ?? argv[++i]
      if (next === undefined || next === '') throw new UserError(`--${known} needs a value`)
      said[known] = next
    } else runOptions.push(forJobs(word, name))
  }
  for (const one of SIDES)
    if (argv.some(word => word === `--${one}`) && sides[one].length === 0)
      throw new UserError(`--${one} needs a value`)
  return { jobFiles, runOptions, ...sides, ...flagsOf(flags), ...valuesOf(said) }
}

function bare(flag: string, value: string | undefined): string {
  if (value !== undefined) throw new UserError(`--${flag} takes no value`)
  return flag
}

/** An option of the jobs: told from a mistyped one of ours by its `=`. */
function forJobs(word: string, name: string | undefined): string {
  if (name !== undefined && word.includes('=')) return word
  const hint = didYouMean(name ?? '', [...FLAGS, ...VALUES, ...SIDES])
  throw new UserError(
    `unknown option ${word}${hint}; options of the jobs are written --NAME=VALUE here`,
  )
}

function flagsOf(flags: ReadonlySet<string>): Record<(typeof FLAGS)[number], boolean> {
  return {
    strict: flags.has('strict'),
    init: flags.has('init'),
    update: flags.has('update'),
    calibrate: flags.has('calibrate'),
    list: flags.has('list'),
  }
}

function valuesOf(
  said: Said,
): Omit<GateArgs, 'jobFiles' | 'runOptions' | 'base' | 'head' | (typeof FLAGS)[number]> {
  return {
    baseline: said.baseline ?? null,
    mode: modeOf(said.mode),
    limit: limitOf(said.limit),
    metrics: listOf(said.metric),
    benches: listOf(said.bench),
    count: said.count === undefined ? null : whole('count', said.count, 2, 10_000),
    doublings:
      said.doublings === undefined ? DEFAULT_DOUBLINGS : whole('doublings', said.doublings, 0, 10),
    seed: said.seed === undefined ? 0 : whole('seed', said.seed, 0, Number.MAX_SAFE_INTEGER),
    fioJson: said['fio-json'] ?? null,
    exports: Object.fromEntries(
      EXPORTS.flatMap(name => (said[name] === undefined ? [] : [[name, said[name]]])),
    ),
  }
}

function modeOf(text: string | undefined): GateMode | null {
  if (text === undefined) return null
  const mode = MODES.find(one => one === text)
  if (mode === undefined) throw bad('mode', text, MODES.join(', '))
  return mode
}

/** A limit in percent, with or without the sign. */
function limitOf(text: string | undefined): number | null {
  if (text === undefined) return null
  const percent = Number(/^(\d+(?:\.\d+)?)\s*%?$/.exec(text)?.[1] ?? Number.NaN)
  if (!(percent > 0 && percent < 50))
    throw bad('limit', text, `a percentage above 0 and below 50, such as ${DEFAULT_LIMIT * 100}`)
  return percent / 100
}

function listOf(text: string | undefined): readonly string[] | null {
  if (text === undefined) return null
  return text.split(',').map(part => part.trim())
}

function whole(option: string, text: string, low: number, high: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= low && value <= high)) throw bad(option, text, `${low} to ${high}`)
  return value
}
