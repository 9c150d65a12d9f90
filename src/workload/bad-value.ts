// The reason why a value cannot be used, on its way to whoever knows the file, line and option it belongs to.

import { UserError } from '../core/errors.js'

/** A value that cannot be used, and why; without file, line and option. */
export class BadValue extends Error {
  override readonly name: string = 'BadValue'
}

/** Run `action`; a BadValue in it becomes a UserError with `prefix` in front. */
export function withPrefix<T>(prefix: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    if (error instanceof BadValue) throw new UserError(`${prefix}: ${error.message}`)
    throw error
  }
}
