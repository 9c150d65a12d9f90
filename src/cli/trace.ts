// `phasebit trace`: runs a scenario with everything recorded, and writes the trace.

import { coreFunctions } from '../machine/trace-ring.js'
import { UserError } from '../core/errors.js'
import { cannotWrite } from '../workload/out-file.js'
import { didYouMean } from '../workload/suggest.js'
import { HOST_FUNCTIONS } from '../workload/trace-functions.js'
import {
  parseTraceFormat,
  type TraceFormat,
  traceFiles,
  traceText,
  type WholeTrace,
} from '../workload/trace-formats.js'
import { ALL_SCENARIOS, scenarioOf } from '../workload/scenarios.js'
import { writeFileSync } from 'node:fs'
import { printErr, printOut } from './output.js'
import { ReportSink } from './report-sink.js'

interface TraceArgs {
  scenario: string | null
  format: TraceFormat
  output: string | null
  what: 'run' | 'list' | 'functions' | 'all'
}

const OPTIONS = ['--format', '--output', '--list', '--functions', '--all', '--help']

/** @throws UserError when the arguments contradict themselves */
function parseTrace(args: readonly string[]): TraceArgs {
  const parsed: TraceArgs = { scenario: null, format: 'graph', output: null, what: 'run' }
  const rest = [...args]
  while (rest.length > 0) takeOption(parsed, rest)
  if (parsed.what === 'run' && parsed.scenario === null)
    throw new UserError('trace: which scenario? phasebit trace --list shows them')
  if (parsed.what !== 'run' && parsed.scenario !== null)
    throw new UserError(`trace --${parsed.what}: takes no scenario`)
  if (parsed.what === 'all' && parsed.format !== 'json')
    throw new UserError('trace --all: only with --format json, one object a line')
  if (parsed.format === 'blktrace' && parsed.output === null)
    throw new UserError(
      'trace --format blktrace: --output BASE is needed, for BASE.blktrace.0, .1 ...',
    )
  return parsed
}

function takeOption(parsed: TraceArgs, rest: string[]): void {
  const arg = rest.shift()!
  const [name, inline] = arg.startsWith('--') ? splitOption(arg) : [arg, undefined]
  const value = (): string => {
    const text = inline ?? rest.shift()
    if (text === undefined || text === '') throw new UserError(`trace ${name}: needs a value`)
    return text
  }
  if (name === '--format') parsed.format = parseTraceFormat(value(), 'trace --format')
  else if (name === '--output' || name === '-o') parsed.output = value()
  else if (name === '--list' || name === '--functions' || name === '--all') {
    if (parsed.what !== 'run' && parsed.what !== name.slice(2))
      throw new UserError(`trace: one of --${parsed.what} and ${name}, not both`)
    parsed.what = name.slice(2) as TraceArgs['what']
  } else if (name.startsWith('-'))
    throw new UserError(
      `trace: unknown option ${name}${didYouMean(name, OPTIONS)}; the options are ${OPTIONS.join(', ')}`,
    )
  else if (parsed.scenario === null) parsed.scenario = name
  else throw new UserError(`trace: one scenario at a time, not ${parsed.scenario} and ${name}`)
}

function splitOption(arg: string): [string, string | undefined] {
  const at = arg.indexOf('=')
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)]
}

async function record(name: string): Promise<WholeTrace> {
  const scenario = scenarioOf(name)
  const { config, records, drops, disks } = await scenario.run()
  const notes = drops > 0 ? [`${drops} records were lost: the rings were full`] : []
  for (const note of notes) printErr(`phasebit: note: ${note}\n`)
  return { name, config, notes, records, cpus: scenario.cpus, disks }
}

/** Every function of Linux that can be recorded, sorted. */
export function traceFunctions(): string[] {
  return [...new Set([...HOST_FUNCTIONS, ...coreFunctions()])].sort()
}

function writeFiles(base: string, trace: WholeTrace): void {
  for (const [end, bytes] of traceFiles(trace)) {
    try {
      writeFileSync(`${base}${end}`, bytes)
    } catch (error) {
      throw cannotWrite(`${base}${end}`, error)
    }
  }
}

/** Runs `phasebit trace`; the exit status. */
export async function traceCommand(args: readonly string[]): Promise<number> {
  const { what, scenario, format, output } = parseTrace(args)
  if (what === 'list') return printOut(`${ALL_SCENARIOS.join('\n')}\n`)
  if (what === 'functions') return printOut(`${traceFunctions().join('\n')}\n`)
  if (scenario?.endsWith('.fio'))
    throw new UserError(
      `trace ${scenario}: is no scenario; a job file is traced by phasebit run ${scenario} --trace FILE`,
    )
  const names = what === 'all' ? ALL_SCENARIOS : [scenario!]
  for (const name of names) scenarioOf(name)
  if (format === 'blktrace') {
    writeFiles(output!, await record(names[0]!))
    return 0
  }
  const sink = new ReportSink(output)
  for (const name of names) sink.write(traceText(await record(name), format))
  await sink.finish()
  return 0
}
