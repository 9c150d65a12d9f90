// Exact metrics: job files run in virtual time, compared with baselines in a folder.
//
//   no baseline      it is written, and the verdict is `new` (exit status 3, with --init 0)
//   --update         it is written anew: that is how a change is accepted
//   else             every metric must be equal
//
// The order in which I/Os ended comes from latency logs, one line for each I/O, written to a temporary folder and hashed.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { UserError } from '../core/errors.js'
import { baselinePath, baselineText, readBaseline } from '../gate/baseline.js'
import { compareExact, type ExactValues, exactValues, shortHash } from '../gate/exact.js'
import { type Fingerprint, GATE_SCHEMA, type GateReport, type GateResult } from '../gate/types.js'
import type { RunPlan } from '../workload/job.js'
import { cannotWrite, OutFile } from '../workload/out-file.js'
import { executePlan } from '../workload/run.js'
import { parseRun } from '../workload/run-command.js'
import type { GateArgs } from './gate-args.js'

/** Compares every job file with its baseline, and writes those that are missing. */
export async function exactGate(args: GateArgs): Promise<GateReport> {
  const folder = args.baseline
  if (folder === null)
    throw new UserError('job files need --baseline DIR, the folder of what they came to before')
  checkNames(args.jobFiles)
  const results: GateResult[] = []
  const notes: string[] = []
  const facts: Record<string, string> = { seed: String(args.seed) }
  for (const file of args.jobFiles) {
    const { fingerprint, values } = await runExact(file, args)
    facts[`job file ${basename(file)}`] = fingerprint['job file']
    const path = baselinePath(folder, file)
    const stored = args.update ? null : readBaseline(path, fingerprint)
    results.push(...compareExact(basename(file), stored, values))
    if (stored !== null) continue
    writeText(folder, path, baselineText(fingerprint, values))
    notes.push(`${path}: ${args.update ? 'written anew' : 'no baseline yet, written now'}`)
  }
  if (results.some(result => result.verdict === 'changed'))
    notes.push('--update writes the baseline anew, if this change is meant')
  return {
    schema: GATE_SCHEMA,
    mode: 'exact',
    seed: args.seed,
    fingerprint: { base: facts, head: facts },
    results,
    notes,
  }
}

/** Files of the same name would share a baseline. */
function checkNames(files: readonly string[]): void {
  const names = files.map(file => baselinePath('', file))
  const twice = files.find((_, i) => names.indexOf(names[i]) !== i)
  if (twice === undefined) return
  throw new UserError(`${twice}: another job file has the same name, and so the same baseline`)
}

/** Writes a whole file, its folder as well. @throws OutputError */
export function writeText(folder: string, path: string, text: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw cannotWrite(folder, error)
  }
  const file = new OutFile(path)
  file.write(text)
  file.commit()
}

/** What one job file comes to in virtual time. */
export async function runExact(
  file: string,
  { runOptions, seed }: Pick<GateArgs, 'runOptions' | 'seed'>,
): Promise<{ fingerprint: Fingerprint; values: ExactValues }> {
  checkOptions(runOptions)
  const read: Uint8Array[] = []
  const logs = mkdtempSync(join(tmpdir(), 'phasebit-gate-'))
  try {
    const plan = planOf([
      ...[file, ...runOptions, '--clock=virtual', `--seed=${seed}`],
      ...[`--write_lat_log=${join(logs, 'order')}`, '--log_avg_msec=0', '--log_offset=1'],
    ])(read)
    const { result, failures } = await executePlan(plan)
    if (failures.length > 0) throw new UserError(`${file}: the run failed: ${failures[0]}`)
    if (result.jobs.every(job => [job.read, job.write, job.trim].every(d => d.totalIos === 0)))
      throw new UserError(`${file}: not one I/O was done: there is nothing to compare`)
    const fingerprint = {
      'job file': shortHash(Buffer.concat(read)),
      options: runOptions.join(' '),
      seed: String(seed),
    }
    return { fingerprint, values: exactValues(result, orderOf(logs)) }
  } finally {
    rmSync(logs, { recursive: true, force: true })
  }
}

function checkOptions(options: readonly string[]): void {
  const strange = options.find(option => /^--(clock|output|write_\w+_log|seed)\b/.test(option))
  if (strange !== undefined)
    throw new UserError(`${strange}: the gate sets this itself when it runs job files`)
}

/** The plan of a command line; `read` gets what the files say. */
function planOf(argv: readonly string[]): (read: Uint8Array[]) => RunPlan {
  return read =>
    parseRun(argv, {
      readFile: path => {
        const bytes = readFileSync(path)
        read.push(bytes)
        return bytes
      },
      env: process.env,
      hostCpus: availableParallelism(),
    })
}

/** A hash of all logs, in the order of their names. */
function orderOf(folder: string): string {
  const names = readdirSync(folder).sort()
  if (names.length === 0) return 'not logged'
  return shortHash(
    Buffer.concat(names.flatMap(name => [Buffer.from(name), readFileSync(join(folder, name))])),
  )
}
