// `phasebit merge`: the shards of a sweep, or of one run, made on many machines, become one results file.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { UserError } from '../core/errors.js'
import { OutFile } from '../workload/out-file.js'
import { printOut } from './output.js'
import { isRun, mergeRuns } from './merge-runs.js'
import { mergeResults, readResults } from './sweep-results.js'

/** Runs `phasebit merge ARGS...`; the result is the exit status. */
export async function mergeCommand(argv: readonly string[]): Promise<number> {
  const { values, positionals } = readOptions(argv)
  if (positionals.length === 0)
    throw new UserError('phasebit merge takes the results of shards (phasebit merge --help)')
  const text = mergeFiles(positionals.flatMap(resultFiles))
  if (values.output === undefined) return printOut(text)
  const file = new OutFile(values.output)
  file.write(text)
  file.commit()
  return 0
}

/** Results of runs are JSON documents (merge-runs.ts), those of sweeps are JSON lines. */
function mergeFiles(paths: readonly string[]): string {
  const runs = paths.flatMap(path => {
    const json = documentIn(path)
    return isRun(json) ? [{ path, json }] : []
  })
  return runs.length === paths.length ? mergeRuns(runs) : mergeResults(paths.map(readResults))
}

function documentIn(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

function readOptions(argv: readonly string[]): ReturnType<typeof parse> {
  try {
    return parse(argv)
  } catch (error) {
    throw new UserError((error as Error).message)
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { output: { type: 'string' } },
  })
}

/** A file is itself; a folder is the shards in it. */
function resultFiles(path: string): string[] {
  if (!existsSync(path)) throw new UserError(`${path}: no such file or folder`)
  if (!statSync(path).isDirectory()) return [path]
  const names = readdirSync(path).filter(name => /^results\.\d+-of-\d+\.jsonl$/.test(name))
  if (names.length === 0) throw new UserError(`${path}: there are no results of shards in it`)
  return names.sort().map(name => join(path, name))
}
