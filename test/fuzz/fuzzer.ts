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

/** @throws FuzzFailure when something is not as it must be */
export function check(good: boolean, what: string): void {
  if (!good) throw new FuzzFailure(what)
}

/** Keeps a case's input, for the message of a failure. */
export type Remember = (input: string) => void

/** Longest time of one case, in ms: far beyond any case that ends. */
const HANG_MS = 10_000

/** CPU time of this process, ms. */
function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Two system calls cheaper for a case. */
const wall = (): number => performance.now()

/**
 * A fuzzer from one case. The case makes its input, uses it and checks what came out; UserError is a legal end.
 * @param now a clock in ms, for cases that take far too long (one that never ends is the caller's to stop): on a busy machine a
 *   case may wait for long without doing anything, so that it is run once more and its CPU time counts
 */
export function fuzzer(
  name: string,
  runCase: (random: Prng, remember: Remember, seed: number, i: number) => void,
  now: (() => number) | null = null,
): Fuzz {
  const one = (seed: number, i: number, clock: () => number): boolean => {
    let input = ''
    const start = clock()
    try {
      const remember = (text: string): void => {
        input = text
      }
      runCase(caseStream(seed, i), remember, seed, i)
    } catch (error) {
      if (!(error instanceof UserError)) throw failure(name, seed, i, input, error)
      checkMessage(name, seed, i, input, error.message)
    }
    if (clock() - start <= HANG_MS) return true
    if (clock !== wall) throw failure(name, seed, i, input, 'took too long')
    return false
  }
  return (seed, cases, first = 0) => {
    // Most cases end in an error whose stack nobody reads; a failing case is run again with one.
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    let i = first
    try {
      for (; i < first + cases; i++) if (!one(seed, i, now ?? wall)) one(seed, i, cpu)
    } catch (error) {
      Error.stackTraceLimit = 20
      one(seed, i, now ?? cpu)
      throw error
    } finally {
      Error.stackTraceLimit = limit
    }
    return { cases }
  }
}

/** Cases that follow each other on one machine: each is a step, a line says what it does. */
export interface Story {
  step(random: Prng, say: (line: string) => void): void
  /** After the last step: what must hold in the end. */
  end(): void
}

/** Apart from the streams of the cases. */
const STORY_SEED = 0x5f356495

/**
 * A fuzzer whose cases are the steps of stories of `length` steps each. A case in the middle of a story is repeated by the
 * steps before it, which its number tells.
 */
export function storyFuzzer(name: string, length: number, begin: (random: Prng) => Story): Fuzz {
  let open: { story: Story; seed: number; next: number; said: string } | null = null
  return fuzzer(name, (_, remember, seed, i) => {
    const first = i - (i % length)
    let at = open
    // Until a step has ended well, nobody else goes on with its story.
    open = null
    if (at?.seed !== seed || at.next !== i) {
      const story = begin(caseStream(seed ^ STORY_SEED, first / length))
      at = { story, seed, next: first, said: '' }
    }
    const here = at
    const { story } = here
    const say = (line: string): void => {
      here.said += `${line}\n`
      remember(here.said)
    }
    for (; here.next <= i; here.next++) story.step(caseStream(seed, here.next), say)
    if (here.next % length === 0) story.end()
    else open = here
  })
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
