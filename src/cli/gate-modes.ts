// The modes that need more than job files in virtual time: files, pair, process, history, calibration.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { UserError } from '../core/errors.js'
import { shortHash } from '../gate/exact.js'
import { compareFiles } from '../gate/files.js'
import { readFioFile } from '../gate/fio-file.js'
import {
  compareHistory,
  HISTORY_SCHEMA,
  type HistoryEntry,
  historyPath,
  parseHistory,
} from '../gate/history.js'
import { BEST_OF, PAIR, RESAMPLES, pairedMedian } from '../gate/judge.js'
import { calibrated, DEFAULT_LIMIT, readLimits } from '../gate/limits.js'
import { changeText } from '../gate/print.js'
import { type Bench, runSequence, type SequenceOptions, selfChecks } from '../gate/sequence.js'
import {
  blankResult,
  type Fingerprint,
  GATE_SCHEMA,
  type GateMode,
  type GateReport,
  type GateResult,
} from '../gate/types.js'
import { distUrl } from '../core/wasm.js'
import { fileURLToPath } from 'node:url'
import type { GateArgs } from './gate-args.js'
import { type Build, copyBuild, findBuild, type Workshop } from './gate-build.js'
import { writeText } from './gate-exact.js'
import {
  benchesOf,
  chosenProbes,
  commonProbes,
  drawRates,
  hostFingerprint,
  jobRates,
  latencyBenches,
  PairSampler,
  ProcessSampler,
  probesOf,
  suiteRates,
  type Told,
} from './gate-speed.js'
import { printErr } from './output.js'

/** Processes of a first pass, or pairs of them. */
const PAIR_COUNT = 10
const PROCESS_COUNT = 20

const told: Told = line => {
  if (process.stderr.isTTY) printErr(`phasebit: ${line}\n`)
}

// ------------------------------------------------------------------ files

/** Where files mode keeps the files of a baseline. */
const RESULTS = 'results'

/** Results made elsewhere; the base may be what --baseline has stored. */
export function filesGate(args: GateArgs): GateReport {
  const { head, baseline } = args
  if (args.jobFiles.length > 0) throw new UserError(`${args.jobFiles[0]}: files mode runs no jobs`)
  let base: readonly string[] = args.base
  if (base.length === 0 && baseline !== null) {
    const folder = join(baseline, RESULTS)
    base = existsSync(folder) ? storedFiles(folder) : []
    if (base.length === 0 || args.update) return storeFiles(folder, args)
  }
  return compareFiles(base.map(readFioFile), head.map(readFioFile), {
    limit: args.limit ?? DEFAULT_LIMIT,
    seed: args.seed,
    metrics: args.metrics,
  })
}

function storedFiles(folder: string): string[] {
  const names = readdirSync(folder).filter(name => name.endsWith('.json'))
  return names.sort().map(name => join(folder, name))
}

/** The heads become the baseline. They are read first: what cannot be compared is not stored. */
function storeFiles(folder: string, args: GateArgs): GateReport {
  const heads = args.head.map(readFioFile)
  const report = compareFiles(heads, heads, {
    limit: DEFAULT_LIMIT,
    seed: args.seed,
    metrics: args.metrics,
  })
  mkdirSync(folder, { recursive: true })
  args.head.forEach((path, i) => {
    copyFileSync(path, join(folder, `${String(i + 1).padStart(3, '0')}-${basename(path)}`))
  })
  return {
    ...report,
    results: report.results.map(result => ({
      ...result,
      verdict: 'new' as const,
      gated: true,
      ratio: null,
      base: null,
    })),
    notes: [`${folder}: no baseline yet, ${heads.length} files stored now`],
  }
}

// ------------------------------------------------------------------ builds

const OWN_ROOT = fileURLToPath(distUrl('..'))

function oneBuild(list: readonly string[], side: string, workshop: Workshop): Build {
  if (list.length > 1) throw new UserError(`--${side} takes one build, and got ${list.join(' ')}`)
  return findBuild(list[0] ?? OWN_ROOT, workshop)
}

interface Builds {
  readonly base: Build
  readonly head: Build
}

/** Both builds; where they are the same one, the head is a copy, so that they do not share code. */
function bothBuilds(args: GateArgs, workshop: Workshop): Builds {
  const base = oneBuild(args.base, 'base', workshop)
  const head = oneBuild(args.head, 'head', workshop)
  return { base, head: base.root === head.root ? copyBuild(head, workshop) : head }
}

/** What is said about a pass with fewer samples than the rules are made for. */
function countNotes(args: GateArgs, mode: 'pair' | 'process'): string[] {
  const enough = mode === 'pair' ? PAIR_COUNT : PROCESS_COUNT
  if (args.count === null || args.count >= enough) return []
  return [`--count ${args.count}: fewer than the ${enough} that verdicts are made for`]
}

function buildText({ label, version, core }: Build): string {
  return `${label} (${version}, core ${core})`
}

/** Limits of --limit, else of --calibrate on this machine, else the default. */
function limitsOf(args: GateArgs, host: Fingerprint, notes: string[]): (name: string) => number {
  if (args.limit !== null) return () => args.limit!
  if (args.baseline === null) return () => DEFAULT_LIMIT
  const path = join(args.baseline, 'limits.json')
  const limits = readLimits(path, host)
  if (limits === 'foreign')
    notes.push(`${path}: calibrated on another machine, so the default limit applies`)
  if (limits === null || limits === 'foreign') return () => DEFAULT_LIMIT
  return name => limits.limits[name] ?? DEFAULT_LIMIT
}

function optionsOf(args: GateArgs, mode: 'pair' | 'process'): SequenceOptions {
  return {
    statistic: mode === 'pair' ? PAIR : BEST_OF,
    best: mode === 'process',
    count: args.count ?? (mode === 'pair' ? PAIR_COUNT : PROCESS_COUNT),
    doublings: args.doublings,
    seed: args.seed,
    resamples: RESAMPLES,
    selfCheck: true,
  }
}

function speedReport(
  mode: GateMode,
  args: GateArgs,
  fingerprint: Fingerprint,
  results: readonly GateResult[],
  notes: readonly string[],
): GateReport {
  return {
    schema: GATE_SCHEMA,
    mode,
    seed: args.seed,
    fingerprint: { base: fingerprint, head: fingerprint },
    results,
    notes,
  }
}

/** Benchmarks of both builds, and what to say about those that only one has. */
async function suiteOf(
  args: GateArgs,
  { base, head }: Builds,
): Promise<{
  probes: Awaited<ReturnType<typeof probesOf>>
  results: GateResult[]
  notes: string[]
}> {
  const [mine, theirs] = [await probesOf(head), await probesOf(base)]
  const wanted = chosenProbes(mine, args.benches)
  const { common, notes } = commonProbes(theirs, wanted)
  if (common.length === 0)
    throw new UserError(
      `${base.label}: has no benchmark in common with ${head.label}; give job files to compare with --mode process`,
    )
  const left = wanted.filter(probe => !common.includes(probe))
  const results = left.map(({ name, per }) => ({
    ...blankResult(name, 'rate', `${per}/s`, 'higher'),
    notes: ['not comparable between these builds'],
  }))
  return { probes: common, results, notes }
}

type Probes = Awaited<ReturnType<typeof probesOf>>

/** Rates of all benchmarks, and the latencies of those that record them: only within one process, that is in pair mode. */
function withLatencies(probes: Probes, limit: (name: string) => number): Bench[] {
  return [...benchesOf(probes, limit), ...probes.flatMap(({ name }) => latencyBenches(name, limit))]
}

/** Two builds, by the benchmarks they bring. */
export async function pairGate(args: GateArgs, workshop: Workshop): Promise<GateReport> {
  if (args.jobFiles.length > 0)
    throw new UserError(`${args.jobFiles[0]}: pair mode runs no job files; --mode process does`)
  const builds = bothBuilds(args, workshop)
  const host = hostFingerprint()
  const { probes, results, notes } = await suiteOf(args, builds)
  const said = [
    `base ${buildText(builds.base)}, head ${buildText(builds.head)}`,
    ...countNotes(args, 'pair'),
    ...notes,
  ]
  const limit = limitsOf(args, host, said)
  const benches = withLatencies(probes, limit)
  const other = copyBuild(builds.base, workshop)
  const sampler = new PairSampler(builds.base, other, builds.head, told)
  const judged = await runSequence(benches, sampler, optionsOf(args, 'pair'))
  return speedReport('pair', args, host, [...judged, ...results], said)
}

/** Two builds, each in processes of its own: by their benchmarks, or by job files. */
export async function processGate(args: GateArgs, workshop: Workshop): Promise<GateReport> {
  const builds = bothBuilds(args, workshop)
  const { base, head } = builds
  const said = [`base ${buildText(base)}, head ${buildText(head)}`, ...countNotes(args, 'process')]
  const options = optionsOf(args, 'process')
  if (args.jobFiles.length > 0) return jobsGate(args, builds, said)
  const host = hostFingerprint()
  const { probes, results, notes } = await suiteOf(args, builds)
  said.push(...notes)
  const benches = benchesOf(probes, limitsOf(args, host, said))
  const sampler = new ProcessSampler(base, head, suiteRates, told)
  const judged = await runSequence(benches, sampler, options)
  return speedReport(
    'process',
    args,
    host,
    [...judged.map(r => withSecond(r, args)), ...results],
    said,
  )
}

/** Job files in real time: all of them are one benchmark for each job and direction. */
async function jobsGate(args: GateArgs, builds: Builds, said: string[]): Promise<GateReport> {
  if (args.runOptions.some(option => /^--(clock|output)/.test(option)))
    throw new UserError('--clock and --output are set by the gate when it runs job files')
  const argv = [...args.jobFiles, ...args.runOptions, '--clock=real']
  const text = args.jobFiles.map(file => readJob(file)).join('\n')
  const host = hostFingerprint({ 'job files': shortHash(text), options: args.runOptions.join(' ') })
  const rates = keptRates(argv, builds.base, args.fioJson)
  const [first, other] = [await rates(builds.base), await rates(builds.head)]
  const names = Object.keys(first)
  if (names.join() !== Object.keys(other).join())
    throw new UserError('the two builds do not do I/O in the same jobs: nothing to compare')
  const limit = limitsOf(args, host, said)
  const benches: Bench[] = benchesOf(
    names.map(name => ({ name, per: 'IO' })),
    limit,
  )
  const sampler = new ProcessSampler(builds.base, builds.head, rates, told)
  const judged = await runSequence(benches, sampler, optionsOf(args, 'process'))
  return speedReport(
    'process',
    args,
    host,
    judged.map(r => withSecond(r, args)),
    said,
  )
}

/** One run of the job files by a build. With a folder each leaves its JSON there: base-001.json, head-001.json ... */
function keptRates(
  argv: readonly string[],
  base: Build,
  folder: string | null,
): (build: Build) => Promise<Record<string, number>> {
  const runs = { base: 0, head: 0 }
  return build =>
    jobRates(build, argv, json => {
      if (folder === null) return
      const side = build === base ? 'base' : 'head'
      const name = `${side}-${String(++runs[side]).padStart(3, '0')}.json`
      writeText(folder, join(folder, name), json)
    })
}

function readJob(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new UserError(`${file}: no such job file`)
  }
}

/** The median of the pairs beside the best of each side. */
function withSecond(result: GateResult, { seed }: GateArgs): GateResult {
  const { base, head } = result
  if (base === null || head === null) return result
  const samples = head.samples.map((rate, i) => ({
    base: base.samples[i],
    head: rate,
    logRatio: Math.log(rate / base.samples[i]),
  }))
  const second = `median of the pairs: ${changeText(pairedMedian(samples, seed))}`
  return { ...result, notes: [...result.notes, second] }
}

// ------------------------------------------------------------------ one build

/** Stores limits found by comparing the base with itself. */
export async function calibrateGate(args: GateArgs, workshop: Workshop): Promise<GateReport> {
  const folder = args.baseline
  if (folder === null)
    throw new UserError('--calibrate needs --baseline DIR, where limits are kept')
  const base = oneBuild(args.base, 'base', workshop)
  const probes = chosenProbes(await probesOf(base), args.benches)
  if (probes.length === 0) throw new UserError(`${base.label}: has no benchmarks`)
  const benches = withLatencies(probes, () => DEFAULT_LIMIT)
  const other = copyBuild(base, workshop)
  const count = args.count ?? 3 * PAIR_COUNT
  const options = { ...optionsOf(args, 'pair'), doublings: 0, count }
  const checks = await selfChecks(benches, new PairSampler(base, other, other, told), options)
  const host = hostFingerprint()
  const limits = calibrated(checks, count / PAIR_COUNT, host)
  const path = join(folder, 'limits.json')
  writeText(folder, path, `${JSON.stringify(limits, null, 2)}\n`)
  const results = benches.map(({ name, benchmark, metric, unit, better }) => ({
    ...blankResult(benchmark, metric, unit, better),
    verdict: 'advisory' as const,
    gated: false,
    ratio: checks.get(name)!.ratio,
    limit: limits.limits[name],
    notes: [`deviation of base against base: ${(checks.get(name)!.scatter * 100).toFixed(2)} %`],
  }))
  return speedReport('pair', args, host, results, [`${path}: limits stored for this machine`])
}

/** One build, beside what the same machine stored before. */
export async function historyGate(args: GateArgs, workshop: Workshop): Promise<GateReport> {
  const folder = args.baseline
  if (folder === null)
    throw new UserError('history mode needs --baseline DIR, where rates are kept')
  if (args.jobFiles.length > 0 || args.base.length > 0)
    throw new UserError('history mode takes one build as --head, and nothing else')
  const head = oneBuild(args.head, 'head', workshop)
  const probes = chosenProbes(await probesOf(head), args.benches)
  if (probes.length === 0) throw new UserError(`${head.label}: has no benchmarks`)
  const host = hostFingerprint()
  const path = historyPath(folder, host)
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const before = parseHistory(path, text)
  const names = probes.map(probe => probe.name)
  const rates = await drawRates(names, args.count ?? PAIR_COUNT, n => suiteRates(head, n), told)
  const entry: HistoryEntry = {
    schema: HISTORY_SCHEMA,
    version: head.version,
    core: head.core,
    rates: Object.fromEntries([...rates].map(([name, { median }]) => [name, median])),
  }
  writeText(join(folder, 'history'), path, `${text}${JSON.stringify(entry)}\n`)
  const results = probes.map(({ name, per }) => {
    const { median, samples } = rates.get(name)!
    return compareHistory(name, per, samples, median, before)
  })
  return speedReport('history', args, host, results, [
    `${path}: ${before.length + 1} runs of this machine; advisory, nothing fails`,
  ])
}
