// What a fuzzer is, and the loop that all of them share.

import { UserError } from '../../src/core/errors.js'
import { caseStream, type Prng } from './prng.js'

/**
 * Runs `cases` cases, numbered from `first`.
 * @returns how many were really run
 * @throws Error naming seed and case when one fails
 */
export type Fuzz = (seed: number, cases: number, first?: number) => { cases: number }

/** A case that did not end as it may. */
export class FuzzFailure extends Error {
  override readonly name: string = 'FuzzFailure'
}

/** Longest time of one case, in ms: far beyond any case that ends, even on a busy machine. */
const HANG_MS = 10_000

/**
 * A fuzzer from one case. The case makes its input, uses it and checks what came out; UserError is a legal end.
 * @param now a clock in ms, for cases that take far too long (one that never ends is the caller's to stop)
 */
export function fuzzer(
  name: string,
  runCase: (random: Prng, remember: (input: string) => void) => void,
  now: () => number = () => performance.now(),
): Fuzz {
  const one = (seed: number, i: number): void => {
    let input = ''
    const start = now()
    try {
      runCase(caseStream(seed, i), text => {
        input = text
      })
    } catch (error) {
      if (!(error instanceof UserError)) throw failure(name, seed, i, input, error)
      checkMessage(name, seed, i, input, error.message)
    }
    if (now() - start > HANG_MS) throw failure(name, seed, i, input, 'took too long')
  }
  return (seed, cases, first = 0) => {
    // Most cases end in an error whose stack nobody reads; a failing case is run again with one.
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    let i = first
    try {
      for (; i < first + cases; i++) one(seed, i)
    } catch (error) {
      Error.stackTraceLimit = 20
      one(seed, i)
      throw error
    } finally {
      Error.stackTraceLimit = limit
    }
    return { cases }
  }
}

function failure(
  name: string,
  seed: number,
  i: number,
  input: string,
  error: unknown,
): FuzzFailure {
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new FuzzFailure(
    `${name}: seed ${seed} case ${i}: ${what}\ninput: ${JSON.stringify(input)}`,
  )
}

/** An error for the user is one line of readable text about what the user wrote. */
function checkMessage(name: string, seed: number, i: number, input: string, message: string): void {
  const readable = message.length > 0 && message.length < 2000 && !/[\n\r\0]/.test(message)
  const garbage =
    /undefined|NaN|Infinity|\[object/.test(message) && !/undefined|NaN|Infinity|object/.test(input)
  if (readable && !garbage) return
  throw failure(name, seed, i, input, `bad message ${JSON.stringify(message)}`)
}
