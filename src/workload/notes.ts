// What the user should know but need not act on. Nothing is printed here: the lines are collected, each once.
//
// A note says where phasebit differs from fio or what an accepted option does not do. A warning is about what the user
// wrote (a blank after `=`, a time_based job without a runtime); `--warnings-fatal` turns the first one into an error.

import { UserError } from '../core/errors.js'

/** Collects lines, each text once, in the order of their first appearance. */
export class Notes {
  readonly #lines = new Set<string>()
  readonly #keys = new Set<string>()
  readonly #fatal: boolean

  /** @param fatal warnings are errors */
  constructor(fatal: boolean) {
    this.#fatal = fatal
  }

  /** Add `text` unless a note with this key is there already. */
  once(key: string, text: string): void {
    if (this.#keys.has(key)) return
    this.#keys.add(key)
    this.#lines.add(text)
  }

  /** @throws UserError under --warnings-fatal */
  warn(text: string): void {
    if (this.#fatal) throw new UserError(`${text} (--warnings-fatal)`)
    this.#lines.add(text)
  }

  get lines(): readonly string[] {
    return [...this.#lines]
  }
}
