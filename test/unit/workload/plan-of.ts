// Plans from texts, without a file system: what the tests of job files and command lines share.

import { UserError } from '../../../src/core/errors.js'
import type { JobSpec, RunPlan } from '../../../src/workload/job.js'
import { parseRun } from '../../../src/workload/run-command.js'

type Files = Readonly<Record<string, string | Uint8Array>>
type Env = Readonly<Record<string, string>>

/** The plan of a command line that may read these files. */
export function planOf(argv: readonly string[], files: Files = {}, env: Env = {}): RunPlan {
  const readFile = (path: string): Uint8Array => {
    const content = files[path]
    if (content === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' })
    return typeof content === 'string' ? new TextEncoder().encode(content) : content
  }
  return parseRun(argv, { readFile, env, hostCpus: 6 })
}

/** Globals that a job needs to be complete. */
export const COMPLETE = '[global]\nfilename=/dev/nvme0n1\nsize=1m\ndirect=1\nioengine=libaio\n'

/** The jobs of a file text, completed by globals. */
export function jobsOf(
  text: string,
  argv: readonly string[] = [],
  env: Env = {},
): readonly JobSpec[] {
  return planOf(['j.fio', ...argv], { 'j.fio': COMPLETE + text }, env).jobs
}

/** The one job of these option lines. */
export function jobOf(...lines: readonly string[]): JobSpec {
  const jobs = jobsOf(`[a]\n${lines.join('\n')}`)
  if (jobs.length !== 1) throw new Error(`${jobs.length} jobs`)
  return jobs[0]!
}

/** The notes of these option lines. */
export function notesOf(...lines: readonly string[]): readonly string[] {
  return planOf(['j.fio'], { 'j.fio': `${COMPLETE}[a]\n${lines.join('\n')}` }).notes
}

/** The message of the UserError that the action must end with. */
export function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof UserError && error.exitStatus === 64) return error.message
    throw error
  }
  throw new Error('no error')
}

/** The message for a job of these lines; they begin at line 7 of j.fio. */
export function complaint(...lines: readonly string[]): string {
  return errorOf(() => jobOf(...lines))
}
