// Where a report goes: standard output as it comes, or a file that appears when it is complete.

import { OutFile } from '../workload/out-file.js'
import { printOut } from './output.js'

/** Takes the texts of a report, in order. */
export class ReportSink {
  readonly #file: OutFile | null
  #written: Promise<unknown> = Promise.resolve()

  /** @throws OutputError when the file cannot be written */
  constructor(path: string | null) {
    this.#file = path === null ? null : new OutFile(path)
  }

  write(text: string): void {
    if (this.#file) this.#file.write(text)
    else this.#written = Promise.all([this.#written, printOut(text)])
    // finish() reports a failure; until then it must not count as unhandled
    this.#written.catch(() => {})
  }

  /** Everything is written. @throws OutputError */
  async finish(): Promise<void> {
    await this.#written
    this.#file?.commit()
  }

  /** Nothing after finish(); before it, the file does not appear. */
  discard(): void {
    this.#file?.discard()
  }
}
