// `phasebit run`: the plan, the run, the report.
//
//   standard output   the report, or nothing with --output; the status line on a terminal
//   standard error    notes before the run, then one line for each thing that fails
//
// SIGINT and SIGTERM end the run; it still has its report. The second one ends the process at once.

import type { ThreadPool } from '../machine/thread-pool.js'
import { normalHeader } from '../report/fio-normal.js'
import { formatReport } from '../report/report.js'
import type { JobResult, RunResult } from '../report/result.js'
import { type Progress, statusLine } from '../report/status-line.js'
import type { RunPlan } from '../workload/job.js'
import { executePlan } from '../workload/run.js'
import { printErr, printOut } from './output.js'
import { ReportSink } from './report-sink.js'
import { DumpSink, printNotes, readPlan, Signals } from './run-parts.js'

/**
 * Runs `phasebit run ARGS...`; the result is the exit status.
 * @param early workers that were spawned meanwhile
 */
export async function runCommand(args: readonly string[], early?: ThreadPool): Promise<number> {
  const plan = readPlan(args)
  if (plan.showcmd) return printOut(`${plan.showcmdLines.join('\n')}\n`)
  if (plan.parseOnly) {
    printNotes(plan.notes)
    return 0
  }
  return runPlan(plan, early)
}

async function runPlan(plan: RunPlan, early?: ThreadPool): Promise<number> {
  const sink = new ReportSink(plan.output)
  const dumps = new DumpSink(plan)
  const line = showsProgress(plan) ? new StatusLine() : null
  const signals = new Signals()
  try {
    const { result, failures } = await executePlan(plan, {
      signal: signals.signal,
      ...(early ? { early } : {}),
      onStart: (jobs, notes) => begin(plan, sink, jobs, notes),
      onStatus: status => sink.write(report(plan, status)),
      onFailure: text => {
        line?.clear()
        printErr(`phasebit: ${text}\n`)
      },
      onNote: text => printNotes([text]),
      onDump: dump => dumps.write(dump),
      ...(line ? { onProgress: (progress: Progress) => line.show(progress) } : {}),
    })
    line?.clear()
    sink.write(report(plan, result))
    await sink.finish()
    dumps.commit()
    return failures.length === 0 ? 0 : 1
  } finally {
    signals.restore()
    sink.discard()
    dumps.discard()
  }
}

function begin(
  plan: RunPlan,
  sink: ReportSink,
  jobs: readonly JobResult[],
  notes: readonly string[],
): void {
  printNotes(notes)
  if (plan.outputFormats.includes('normal')) sink.write(normalHeader(jobs))
}

function report(plan: RunPlan, result: RunResult): string {
  const { outputFormats: formats, terseVersion } = plan
  return formatReport(result, { formats, terseVersion, header: false })
}

/** As fio: on a terminal, unless the report itself is a machine's and goes there too. */
function showsProgress(plan: RunPlan): boolean {
  if (plan.eta === 'never') return false
  if (plan.output === null && !plan.outputFormats.includes('normal')) return false
  return plan.eta === 'always' || process.stdout.isTTY === true
}

/** One line that is written over again and again. */
class StatusLine {
  #length = 0

  show(progress: Progress): void {
    const text = statusLine(progress)
    void printOut(`${text.padEnd(this.#length)}\r`)
    this.#length = text.length
  }

  clear(): void {
    if (this.#length > 0) void printOut(`${' '.repeat(this.#length)}\r`)
    this.#length = 0
  }
}
