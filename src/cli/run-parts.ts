// What commands that run a plan of jobs share: reading it, notes, dumps, signals.

import { availableParallelism } from 'node:os'
import { type Dump, formatDump } from '../workload/dump.js'
import type { RunPlan } from '../workload/job.js'
import { STDIN } from '../workload/jobfile.js'
import { OutFile } from '../workload/out-file.js'
import { readWhole } from '../workload/read-file.js'
import { parseRun } from '../workload/run-command.js'
import { printErr } from './output.js'

/** The plan of the arguments of `phasebit run`. @throws UserError */
export function readPlan(args: readonly string[]): RunPlan {
  return parseRun(args, {
    readFile: path => readWhole(path === STDIN ? 0 : path),
    env: process.env,
    hostCpus: availableParallelism(),
  })
}

export function printNotes(notes: readonly string[]): void {
  for (const note of notes) printErr(`phasebit: note: ${note}\n`)
}

/** Takes what --dump shows: for its file, or for standard error. */
export class DumpSink {
  readonly #file: OutFile | null

  /** @throws OutputError when the file cannot be written */
  constructor({ dump }: RunPlan) {
    this.#file = dump?.file == null ? null : new OutFile(dump.file)
  }

  write(dump: Dump): void {
    const text = formatDump(dump)
    if (this.#file) this.#file.write(text)
    else printErr(text)
  }

  commit(): void {
    this.#file?.commit()
  }

  /** Nothing after commit(); before it, the file does not appear. */
  discard(): void {
    this.#file?.discard()
  }
}

/** Turns the first SIGINT or SIGTERM into an abort; the next has its usual effect. */
export class Signals {
  readonly #controller = new AbortController()
  readonly #handler = (name: NodeJS.Signals): void => {
    this.restore()
    printErr(`phasebit: ${name}: ending the run\n`)
    this.#controller.abort()
  }

  constructor() {
    process.on('SIGINT', this.#handler)
    process.on('SIGTERM', this.#handler)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  restore(): void {
    process.off('SIGINT', this.#handler)
    process.off('SIGTERM', this.#handler)
  }
}
