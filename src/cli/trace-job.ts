// `phasebit trace JOBFILE...`: the jobs run as `phasebit run` would run them, and what goes out is their trace.
//
// There is no report, and options about one are refused. Rings keep the last records, half a million in all
// (run-trace.ts); a note says how many are missing.

import { UserError } from '../core/errors.js'
import type { RunPlan } from '../workload/job.js'
import { executePlan } from '../workload/run.js'
import { type TraceFormat, traceText, type WholeTrace } from '../workload/trace-formats.js'
import { printErr, printOut } from './output.js'
import { DumpSink, printNotes, readPlan, Signals } from './run-parts.js'

/** Options of `phasebit run` that say what its report looks like, or that nothing is run. */
const REPORT_OPTIONS = [
  'output-format',
  'minimal',
  'terse-version',
  'status-interval',
  'eta',
  'parse-only',
  'showcmd',
]
const TRACE_OPTIONS = ['trace', 'trace-format']

/** @throws UserError */
function checkOptions(args: readonly string[]): void {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (name === undefined) continue
    if (REPORT_OPTIONS.includes(name))
      throw new UserError(
        `trace: --${name} is for phasebit run: here the output is the trace alone`,
      )
    if (TRACE_OPTIONS.includes(name))
      throw new UserError(`trace: --${name} is for phasebit run: here it is --format and --output`)
  }
}

/**
 * Runs the jobs that these arguments of `phasebit run` describe, and writes their trace; the exit status.
 * @param output a file, blktrace's BASE, or null for standard output
 */
export async function traceJobs(
  args: readonly string[],
  format: TraceFormat,
  output: string | null,
): Promise<number> {
  checkOptions(args)
  const plan: RunPlan = { ...readPlan(args), trace: output ?? '', traceFormat: format }
  const dumps = new DumpSink(plan)
  const signals = new Signals()
  const traces: WholeTrace[] = []
  try {
    const { failures } = await executePlan(plan, {
      signal: signals.signal,
      onStart: (_, notes) => printNotes(notes),
      onNote: text => printNotes([text]),
      onFailure: text => printErr(`phasebit: ${text}\n`),
      onDump: dump => dumps.write(dump),
      ...(output === null ? { onTrace: (trace: WholeTrace) => traces.push(trace) } : {}),
    })
    dumps.commit()
    if (format !== 'blktrace') for (const trace of traces) await printOut(traceText(trace, format))
    return failures.length === 0 ? 0 : 1
  } finally {
    signals.restore()
    dumps.discard()
  }
}
