// Made-up measurements of known distributions, from seeds.
import { Prng } from '../../../src/core/prng.js'
import type { Sample } from '../../../src/gate/judge.js'

/** A standard normal number (sum of twelve). */
function normal(prng: Prng): number {
  let sum = -6
  for (let i = 0; i < 12; i++) sum += prng.unit()
  return sum
}

export function normals(seed: number, n: number, mean: number, deviation: number): number[] {
  const prng = new Prng(seed, 77)
  return Array.from({ length: n }, () => mean + deviation * normal(prng))
}

/**
 * Rates of processes on a noisy machine: neighbours in time resemble each other (lag-1 correlation 0.57), quiet moments
 * all reach the same ceiling, and the scatter is some 22 %.
 */
export class NoisyMachine {
  readonly #prng: Prng
  #state: number

  constructor(seed: number) {
    this.#prng = new Prng(seed, 78)
    this.#state = normal(this.#prng)
  }

  /** A rate whose ceiling is 1 million a second for speed 1. */
  rate(speed: number): number {
    this.#state = 0.57 * this.#state + Math.sqrt(1 - 0.57 ** 2) * normal(this.#prng)
    const lost = Math.max(0, 0.2 + 0.3 * this.#state)
    return 1e6 * speed * Math.exp(-lost) * (1 + 0.004 * normal(this.#prng))
  }

  /** Pairs of processes in ABBA order; `speed` is that of the head. */
  pairs(n: number, speed: number): Sample[] {
    return Array.from({ length: n }, (_, i) => {
      const first = this.rate(i % 2 === 0 ? 1 : speed)
      const second = this.rate(i % 2 === 0 ? speed : 1)
      const [base, head] = i % 2 === 0 ? [first, second] : [second, first]
      return { base, head, logRatio: Math.log(head / base) }
    })
  }

  /** Processes that hold both builds: the ratio scatters by `scatter`, the rates as those of the machine. */
  processes(n: number, speed: number, scatter: number): Sample[] {
    return Array.from({ length: n }, () => {
      const base = this.rate(1)
      const logRatio = Math.log(speed) + scatter * normal(this.#prng)
      return { base, head: base * Math.exp(logRatio), logRatio }
    })
  }
}
