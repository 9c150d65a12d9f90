// The reason why a value cannot be used, on its way to whoever knows the file, line and option it belongs to.

import { UserError } from '../core/errors.js'

/** A value that cannot be used, and why; without file, line and option. */
export class BadValue extends Error {
  override readonly name: string = 'BadValue'
}

/** Run `action`; a BadValue in it becomes a UserError with what `prefix` says in front. */
export function withPrefix<T>(prefix: () => string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    if (error instanceof BadValue) throw new UserError(`${prefix()}: ${printable(error.message)}`)
    throw error
  }
}

/** One line of readable characters, whatever the value that is quoted in it contains. */
function printable(text: string): string {
  const clean = text.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?')
  return clean.length > 400 ? `${clean.slice(0, 397)}...` : clean
}
