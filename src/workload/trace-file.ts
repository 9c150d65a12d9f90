// Where a trace goes that has a file: one of text, or blktrace's BASE.blktrace.0, .1 ..., one for each CPU.
//
// Text appears whole or not at all, as every output (out-file.ts). blktrace's readers open N from 0 upward until one is
// missing, so files of an earlier trace of more CPUs under the same name are removed: they would be read as part of this one.

import { existsSync, unlinkSync, writeFileSync } from 'node:fs'
import { cannotWrite, OutFile } from './out-file.js'
import { type TraceFormat, traceFiles, traceText, type WholeTrace } from './trace-formats.js'

/** The file, or files, of one trace. */
export class TraceFile {
  readonly #path: string
  readonly #format: TraceFormat
  readonly #text: OutFile | null

  /** Finds out whether the place can be written. @throws OutputError */
  constructor(path: string, format: TraceFormat) {
    this.#path = path
    this.#format = format
    this.#text = format === 'blktrace' ? null : new OutFile(path)
    if (format === 'blktrace') put(nameOf(path, 0), new Uint8Array(0))
  }

  /** @throws OutputError */
  save(trace: WholeTrace): void {
    if (this.#text && this.#format !== 'blktrace') {
      this.#text.write(traceText(trace, this.#format))
      this.#text.commit()
      return
    }
    const files = traceFiles(trace)
    for (const [cpu, bytes] of files.entries()) put(nameOf(this.#path, cpu), bytes)
    for (let cpu = files.length; existsSync(nameOf(this.#path, cpu)); cpu++)
      unlinkSync(nameOf(this.#path, cpu))
  }

  /** Nothing after save(); before it, no text appears. */
  discard(): void {
    this.#text?.discard()
  }
}

function nameOf(base: string, cpu: number): string {
  return `${base}.blktrace.${cpu}`
}

function put(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes)
  } catch (error) {
    throw cannotWrite(path, error)
  }
}
