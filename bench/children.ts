// A fresh process for the measurements of one cell, and how it is asked.

import { type ChildProcess, fork } from 'node:child_process'
import { distUrl } from '../src/core/wasm.js'
import type { Cell, Measured, Size } from './cell.js'

/** What the child is asked: a side of a cell. */
export interface ChildRequest {
  readonly cell: string
  readonly side: number
  readonly size: Size
}

export type ChildAnswer = { readonly measured: Measured } | { readonly failed: string }

/** Measures sides of one cell in a process of its own. */
export class Child {
  readonly #process: ChildProcess
  readonly #cell: Cell

  constructor(cell: Cell) {
    this.#cell = cell
    this.#process = fork(distUrl('bench/child.js'))
  }

  /** @throws Error when the measurement fails or the process dies */
  async measure(side: number, size: Size): Promise<Measured> {
    const request: ChildRequest = { cell: this.#cell.name, side, size }
    const answer = await new Promise<ChildAnswer>(resolve => {
      const died = (code: number | null, signal: string | null): void =>
        resolve({ failed: `the process died (${signal ?? `status ${code}`})` })
      this.#process.once('exit', died)
      this.#process.once('message', message => {
        this.#process.off('exit', died)
        resolve(message as ChildAnswer)
      })
      this.#process.send(request)
    })
    if ('failed' in answer) throw new Error(answer.failed)
    return answer.measured
  }

  /** Ends the process. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = new Promise(resolve => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await gone
  }
}
