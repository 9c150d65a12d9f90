// `phasebit gate`: which mode, what is printed and written, and the exit status.
//
//   --base *.json, --head *.json    files: results made elsewhere
//   --base BUILD [--head BUILD]     pair: two builds in one process; with job files: process
//   JOBFILE... --baseline DIR       exact: virtual time, equality with what is stored
//   --mode history --baseline DIR   one build beside what this machine stored
//   --calibrate --baseline DIR      limits for this machine
//
// On GitHub Actions the table also goes to the step summary, and what fails becomes annotations.

import { appendFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { UserError } from '../core/errors.js'
import {
  actionBenchmark,
  bencherJson,
  csv,
  goBench,
  hyperfineJson,
  junitXml,
  nativeJson,
} from '../gate/exports.js'
import { FILE_METRICS } from '../gate/files.js'
import { annotations, reportText, summaryText } from '../gate/print.js'
import { exitStatus, type GateMode, type GateReport } from '../gate/types.js'
import { cannotWrite, OutFile } from '../workload/out-file.js'
import { type ExportName, type GateArgs, parseGate } from './gate-args.js'
import { Workshop } from './gate-build.js'
import { exactGate } from './gate-exact.js'
import { calibrateGate, filesGate, historyGate, pairGate, processGate } from './gate-modes.js'
import { PROBES } from './gate-probe.js'
import { printOut } from './output.js'

/** Runs `phasebit gate ARGS...`; the result is the exit status. */
export async function gateCommand(argv: readonly string[]): Promise<number> {
  const args = parseGate(argv)
  if (args.list) return printOut(listText())
  const report = await compare(args)
  const status = exitStatus(report.results, { strict: args.strict, init: args.init || args.update })
  const workflow = process.env['GITHUB_ACTIONS'] === 'true' ? annotations(report) : []
  await printOut(`${workflow.map(line => `${line}\n`).join('')}${reportText(report)}`)
  for (const [name, path] of Object.entries(args.exports))
    writeExport(name as ExportName, path, report, status)
  if (process.env['GITHUB_STEP_SUMMARY'])
    append(process.env['GITHUB_STEP_SUMMARY'], summaryText(report))
  return status
}

function listText(): string {
  const benches = PROBES.map(({ name, does }) => `${name.padEnd(14)}${does}`)
  return `${[...benches, '', `metrics of files: ${FILE_METRICS.join(' ')}`].join('\n')}\n`
}

/** The mode that was asked for, or the one that fits what was given. */
function modeOf(args: GateArgs): GateMode {
  if (args.mode !== null) return args.mode
  const files = [...args.base, ...args.head]
  if (files.length > 0 && files.every(file => file.endsWith('.json'))) return 'files'
  if (args.base.length > 0) return args.jobFiles.length > 0 ? 'process' : 'pair'
  if (args.jobFiles.length > 0) return 'exact'
  throw new UserError(
    'nothing to compare: give --base and --head, or job files and --baseline DIR (phasebit gate --help)',
  )
}

async function compare(args: GateArgs): Promise<GateReport> {
  const mode = args.calibrate ? 'pair' : modeOf(args)
  refuse(args, mode)
  if (mode === 'exact') return exactGate(args)
  if (mode === 'files') return filesGate(args)
  const workshop = new Workshop()
  const stop = (): void => {
    workshop.close()
    process.exit(1)
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    if (args.calibrate) return await calibrateGate(args, workshop)
    if (mode === 'history') return await historyGate(args, workshop)
    return await (mode === 'pair' ? pairGate(args, workshop) : processGate(args, workshop))
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    workshop.close()
  }
}

/** Options that would be ignored are refused, for a gate that does not do what was said is none. */
function refuse(args: GateArgs, mode: GateMode): void {
  const { base, head, jobFiles, metrics, benches, update, runOptions, calibrate } = args
  const runsJobs = mode === 'exact' || mode === 'process'
  const wrong = [
    [mode === 'exact' && base.length + head.length > 0, '--base and --head', 'exact mode'],
    [mode === 'exact' && jobFiles.length === 0, 'no job file', 'exact mode'],
    [mode === 'files' && head.length === 0, 'no --head', 'files mode'],
    [mode === 'files' && base.length === 0 && args.baseline === null, 'no --base', 'files mode'],
    [mode !== 'files' && metrics !== null, '--metric', `${mode} mode`],
    [(mode === 'files' || mode === 'exact') && benches !== null, '--bench', `${mode} mode`],
    [mode !== 'exact' && mode !== 'files' && update, '--update', `${mode} mode`],
    [mode === 'files' && update && base.length > 0, '--update', 'files mode with --base'],
    [mode === 'files' && update && args.baseline === null, '--update', 'without --baseline'],
    [
      !(runsJobs && jobFiles.length > 0) && runOptions.length > 0,
      runOptions[0],
      'without job files',
    ],
    [
      args.fioJson !== null && (mode !== 'process' || jobFiles.length === 0),
      '--fio-json',
      mode === 'process' ? 'without job files' : `${mode} mode`,
    ],
    [calibrate && head.length > 0, '--head', '--calibrate'],
    [
      (mode === 'pair' || mode === 'process') && base.length === 0 && !calibrate,
      'no --base',
      `${mode} mode`,
    ],
  ] as const
  const found = wrong.find(([is]) => is)
  if (found === undefined) return
  const [, what, where] = found
  throw new UserError(
    what.startsWith('no ')
      ? `${where} needs what is missing here: ${what.slice(3)}`
      : `${what} has no meaning ${where.startsWith('without') ? where : `in ${where}`}`,
  )
}

// ------------------------------------------------------------------ outputs

/** The files of one form: most are one file, two forms are one for each side or direction. */
function writeExport(name: ExportName, path: string, report: GateReport, status: number): void {
  const cores = availableParallelism()
  const files: Readonly<Record<ExportName, () => readonly (readonly [string, string])[]>> = {
    json: () => [[path, nativeJson(report, status)]],
    junit: () => [[path, junitXml(report)]],
    bencher: () => [[path, bencherJson(report)]],
    'github-benchmark': () => [
      [`${path}.bigger.json`, actionBenchmark(report, 'higher')],
      [`${path}.smaller.json`, actionBenchmark(report, 'lower')],
    ],
    'go-bench': () => [
      [`${path}.base.txt`, goBench(report, 'base', cores)],
      [`${path}.head.txt`, goBench(report, 'head', cores)],
    ],
    hyperfine: () => [[path, hyperfineJson(report)]],
    csv: () => [[path, csv(report)]],
    summary: () => [[path, summaryText(report)]],
  }
  for (const [target, text] of files[name]()) {
    const file = new OutFile(target)
    file.write(text)
    file.commit()
  }
}

function append(path: string, text: string): void {
  try {
    appendFileSync(path, text)
  } catch (error) {
    throw cannotWrite(path, error)
  }
}
