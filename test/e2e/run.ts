// Runs in this process: what `phasebit run` does between the command line and the report.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { JobResult, RunResult } from '../../src/report/result.js'
import { executePlan, type RunHooks, type RunOutcome } from '../../src/workload/run.js'
import { parseRun } from '../../src/workload/run-command.js'

export const CLOCKS = ['virtual', 'real'] as const
export type Clock = (typeof CLOCKS)[number]

/** An example job file, by the beginning of its name. */
export function example(name: string): string {
  return fileURLToPath(new URL(`../../examples/jobs/${name}.fio`, import.meta.url))
}

/** Runs these arguments; files named in `texts` need not exist. */
export function execute(
  args: readonly string[],
  texts: Readonly<Record<string, string>> = {},
  hooks: RunHooks = {},
): Promise<RunOutcome> {
  const plan = parseRun(args, {
    readFile: path => (path in texts ? new TextEncoder().encode(texts[path]) : readFileSync(path)),
    env: { DEPTH: '8' },
    hostCpus: 2,
  })
  return executePlan(plan, hooks)
}

/** A run that must succeed. */
export async function succeed(...args: Parameters<typeof execute>): Promise<RunResult> {
  const { result, failures } = await execute(...args)
  if (failures.length > 0) throw new Error(failures.join('; '))
  return result
}

export function job(result: RunResult, name: string, clone = 0): JobResult {
  const found = result.jobs.find(j => j.jobname === name && j.clone === clone)
  if (!found) throw new Error(`no job ${name}`)
  return found
}

/** Reads, writes, trims. */
export function ios(j: JobResult): [number, number, number] {
  return [j.read.totalIos, j.write.totalIos, j.trim.totalIos]
}

/** I/Os a second in virtual time. */
export function iops(j: JobResult, direction: 'read' | 'write' | 'trim'): number {
  const { totalIos, runtimeNs } = j[direction]
  return (totalIos * 1e9) / runtimeNs
}
