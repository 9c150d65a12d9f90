// Fault injection, as null_blk uses it: lib/fault-inject.c of Linux 4.19.
//
// An attribute is four numbers, `<interval>,<probability>,<space>,<times>`. should_fail asks them in this order, and the
// first that applies decides:
//
//   probability 0                     no
//   times 0                           no
//   space above the size              no, and the space shrinks by the size
//   not the interval's turn           no
//   a throw of the dice says so       no
//   else                              yes, and times goes down unless it is -1
//
// null_blk's attributes belong to the module: all its disks share them. Stack-trace and task filters are left out.

import { Prng } from '../../core/prng.js'
import { enter, leave, type TraceHost } from '../../kernel/trace.js'

/** Strings of null_blk: timeout=, requeue=. */
export interface FaultNumbers {
  readonly interval: number
  /** Percent. */
  readonly probability: number
  readonly space: number
  /** -1 = for ever. */
  readonly times: number
}

/** struct fault_attr. */
export class fault_attr {
  probability = 0
  interval = 1
  times = 1
  space = 0
  /** Calls that came as far as the interval. */
  count = 0
  readonly #dice: Prng

  /** @param seed of its dice, so that a run repeats */
  constructor(seed: number | bigint) {
    this.#dice = new Prng(seed, 0x66617565)
  }

  /** A number from 0 to 99. */
  throwDice(): number {
    return this.#dice.next()[0] % 100
  }
}

/** Sets an attribute to four numbers. */
export function set_fault_attr(attr: fault_attr, numbers: FaultNumbers): void {
  attr.interval = numbers.interval
  attr.probability = numbers.probability
  attr.space = numbers.space
  attr.times = numbers.times
}

/**
 * Reads `<interval>,<probability>,<space>,<times>`; blanks are not allowed.
 * @returns 1 if the string was understood, else 0 and nothing changed
 */
export function setup_fault_attr(attr: fault_attr, text: string): 0 | 1 {
  const match = /^(\d+),(\d+),([+-]?\d+),([+-]?\d+)$/.exec(text)
  if (match === null) return 0
  const [interval, probability, space, times] = match.slice(1).map(Number)
  set_fault_attr(attr, {
    interval: interval!,
    probability: probability!,
    space: space!,
    times: times!,
  })
  return 1
}

/** Whether something of this size fails now. */
export function should_fail(k: TraceHost, attr: fault_attr, size: number): boolean {
  const t = enter(k, 'should_fail')
  return leave(k, t, decide(attr, size))
}

function decide(attr: fault_attr, size: number): boolean {
  if (attr.probability === 0 || attr.times === 0) return false
  if (attr.space > size) {
    attr.space -= size
    return false
  }
  if (attr.interval > 1) {
    attr.count++
    if (attr.count % attr.interval !== 0) return false
  }
  if (attr.probability <= attr.throwDice()) return false
  if (attr.times !== -1) attr.times = Math.max(0, attr.times - 1)
  return true
}
