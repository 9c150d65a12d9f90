// `phasebit trace`: runs a scenario, or jobs, with everything recorded, and writes the trace.

import { existsSync } from 'node:fs'
import { coreFunctions } from '../machine/trace-ring.js'
import { UserError } from '../core/errors.js'
import { STDIN } from '../workload/jobfile.js'
import { didYouMean } from '../workload/suggest.js'
import { HOST_FUNCTIONS } from '../workload/trace-functions.js'
import {
  parseTraceFormat,
  type TraceFormat,
  traceText,
  type WholeTrace,
} from '../workload/trace-formats.js'
import { ALL_SCENARIOS, scenarioOf } from '../workload/scenarios.js'
import { TraceFile } from '../workload/trace-file.js'
import { printErr, printOut } from './output.js'
import { ReportSink } from './report-sink.js'

interface TraceArgs {
  format: TraceFormat
  output: string | null
  what: 'run' | 'list' | 'functions' | 'all'
  /** Everything else, in order: a scenario, or job files with options of `phasebit run`. */
  readonly rest: string[]
}

const OPTIONS = ['--format', '--output', '--list', '--functions', '--all', '--help']

/** @throws UserError when the arguments contradict themselves */
function parseTrace(args: readonly string[]): TraceArgs {
  const parsed: TraceArgs = { format: 'graph', output: null, what: 'run', rest: [] }
  const words = [...args]
  while (words.length > 0) takeOption(parsed, words)
  const { what, format, output, rest } = parsed
  if (what !== 'run' && rest.length > 0 && !rest[0]!.startsWith('-'))
    throw new UserError(`trace --${what}: takes neither scenario nor job file`)
  if (what === 'all' && format !== 'json')
    throw new UserError('trace --all: only with --format json, one object a line')
  if (format === 'blktrace' && output === null)
    throw new UserError(
      'trace --format blktrace: --output BASE is needed, for BASE.blktrace.0, .1 ...',
    )
  return parsed
}

function takeOption(parsed: TraceArgs, words: string[]): void {
  const arg = words.shift()!
  const [name, inline] = arg.startsWith('--') ? splitOption(arg) : [arg, undefined]
  const value = (): string => {
    const text = inline ?? words.shift()
    if (text === undefined || text === '') throw new UserError(`trace ${name}: needs a value`)
    return text
  }
  if (name === '--format') parsed.format = parseTraceFormat(value(), 'trace --format')
  else if (name === '--output' || name === '-o') parsed.output = value()
  else if (name === '--list' || name === '--functions' || name === '--all') {
    if (inline !== undefined) throw new UserError(`trace ${name}: takes no value`)
    if (parsed.what !== 'run' && parsed.what !== name.slice(2))
      throw new UserError(`trace: one of --${parsed.what} and ${name}, not both`)
    parsed.what = name.slice(2) as TraceArgs['what']
  } else parsed.rest.push(arg)
}

function splitOption(arg: string): [string, string | undefined] {
  const at = arg.indexOf('=')
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)]
}

/** Plays a scenario; its notes say what is missing. */
export async function recordScenario(name: string): Promise<WholeTrace> {
  const scenario = scenarioOf(name)
  const { config, records, drops, disks } = await scenario.run()
  const notes = drops > 0 ? [`${drops} records were lost: the rings were full`] : []
  for (const note of notes) printErr(`phasebit: note: ${note}\n`)
  return { name, config, notes, records, cpus: scenario.cpus, disks, scenario: true }
}

/** Every function of Linux that can be recorded, sorted. */
export function traceFunctions(): string[] {
  return [...new Set([...HOST_FUNCTIONS, ...coreFunctions()])].sort()
}

/** Whether a word names a job file: one that exists, or that no scenario could be called. */
function isJobFile(word: string): boolean {
  if (word === STDIN) return true
  return !word.startsWith('-') && (/[./]/.test(word) || (!isScenario(word) && existsSync(word)))
}

function isScenario(name: string): boolean {
  try {
    scenarioOf(name)
    return true
  } catch {
    return false
  }
}

/** Jobs stand in a file, or on the command line behind --name. */
function meansJobs(words: readonly string[]): boolean {
  return words.some(word => isJobFile(word) || /^--name(=|$)/.test(word))
}

/** The scenario that stands alone. @throws UserError */
function theScenario(words: readonly string[]): string {
  const option = words.find(word => word.startsWith('-'))
  if (option !== undefined) {
    const [name] = splitOption(option)
    throw new UserError(
      `trace: unknown option ${name}${didYouMean(name, OPTIONS)}; the options are ${OPTIONS.join(', ')}`,
    )
  }
  const [scenario, another] = words
  if (scenario === undefined)
    throw new UserError(
      'trace: which scenario, or which job file? phasebit trace --list shows scenarios',
    )
  if (another !== undefined)
    throw new UserError(`trace: one scenario at a time, not ${scenario} and ${another}`)
  scenarioOf(scenario)
  return scenario
}

/** Runs `phasebit trace`; the exit status. */
export async function traceCommand(args: readonly string[]): Promise<number> {
  const { what, rest, format, output } = parseTrace(args)
  if (what === 'run' && meansJobs(rest))
    return (await import('./trace-job.js')).traceJobs(rest, format, output)
  const names = what === 'run' || rest.length > 0 ? [theScenario(rest)] : ALL_SCENARIOS
  if (what === 'list') return printOut(`${ALL_SCENARIOS.join('\n')}\n`)
  if (what === 'functions') return printOut(`${traceFunctions().join('\n')}\n`)
  if (format === 'blktrace') {
    const file = new TraceFile(output!, format)
    file.save(await recordScenario(names[0]!))
    return 0
  }
  const sink = new ReportSink(output)
  for (const name of names) sink.write(traceText(await recordScenario(name), format))
  await sink.finish()
  return 0
}
