// Rounding an expiry to a full second, after kernel/time/timer.c.
//
// Timers that need not be exact are rounded so that many of them fire in one tick. Each CPU's full
// second lies 3 jiffies before that of the CPU before it, which keeps CPUs from waking all at once.
// The plain forms round down in the first quarter of a second; the _up forms never do. A result
// that would lie in the past is dropped and the original kept. `_relative` forms take and give
// distances from now.

import type { KernelCore } from './core.js'
import { enter, leave } from './trace.js'

const JIFFIES_PER_CPU = 3

function round_jiffies_common(k: KernelCore, j: number, cpu: number, force_up: boolean): number {
  const original = j
  j += cpu * JIFFIES_PER_CPU
  const rem = j % k.hz
  j -= rem
  if (rem >= Math.floor(k.hz / 4) || force_up) j += k.hz
  j -= cpu * JIFFIES_PER_CPU
  return j > k.jiffies ? j : original
}

export function __round_jiffies(k: KernelCore, j: number, cpu: number): number {
  const t = enter(k, '__round_jiffies')
  return leave(k, t, round_jiffies_common(k, j, cpu, false))
}

export function __round_jiffies_relative(k: KernelCore, j: number, cpu: number): number {
  const t = enter(k, '__round_jiffies_relative')
  return leave(k, t, round_jiffies_common(k, j + k.jiffies, cpu, false) - k.jiffies)
}

export function round_jiffies(k: KernelCore, j: number): number {
  const t = enter(k, 'round_jiffies')
  return leave(k, t, round_jiffies_common(k, j, k.cpu.id, false))
}

export function round_jiffies_relative(k: KernelCore, j: number): number {
  const t = enter(k, 'round_jiffies_relative')
  return leave(k, t, __round_jiffies_relative(k, j, k.cpu.id))
}

export function __round_jiffies_up(k: KernelCore, j: number, cpu: number): number {
  const t = enter(k, '__round_jiffies_up')
  return leave(k, t, round_jiffies_common(k, j, cpu, true))
}

export function __round_jiffies_up_relative(k: KernelCore, j: number, cpu: number): number {
  const t = enter(k, '__round_jiffies_up_relative')
  return leave(k, t, round_jiffies_common(k, j + k.jiffies, cpu, true) - k.jiffies)
}

export function round_jiffies_up(k: KernelCore, j: number): number {
  const t = enter(k, 'round_jiffies_up')
  return leave(k, t, round_jiffies_common(k, j, k.cpu.id, true))
}

export function round_jiffies_up_relative(k: KernelCore, j: number): number {
  const t = enter(k, 'round_jiffies_up_relative')
  return leave(k, t, __round_jiffies_up_relative(k, j, k.cpu.id))
}
