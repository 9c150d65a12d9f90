// Virtual time that keeps pace with the host's clock: for machines that talk to the world outside, whose kernel's timers
// must mean real seconds, and whose I/O ends when a socket says so.
//
//   poke      something came from outside: all that is due is run at once, before poke() returns
//   turn      1. the clocks of the machine and of its CPUs are set to the host's; events that are due happen
//             2. kernel: timers, tasks that are ready, until none is
//             3. events that this made
//   sleep     no event is due, no task ready: until the kernel's next timer, the next event of a device, or a poke
//
// The clock is at most AHEAD_NS ahead of the host's and, when something runs, not behind it. What CPUs do costs next to nothing
// here (PACED_COSTS): it costs the host's time already. What is to go out (sockets) is written when a turn leaves nothing
// to do, in one piece for each socket: see atRest().
//
// A timer of the host comes up to a millisecond late. For the kernel, whose ticks are longer, that is good enough; an event
// of a device that is due sooner is waited for by looking again and again.

import { CPU_NOW } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { RunEnd } from './config.js'
import type { HostKernel } from './host-kernel.js'
import type { VirtualTime } from './virtual.js'

/** How long the event loop may be kept waiting, ms. */
const TURN_MS = 2
/** An event of a device that is due so soon is not slept for, ns. */
const LOOK_NS = 1e6
/** The clock may be ahead of the host's by so much: what CPUs do at PACED_COSTS is done in one turn. */
const AHEAD_NS = 10_000
/** Longest timer that is set, ms. */
const LONGEST_MS = 60_000

/** What a paced machine is made of. */
export interface PacedParts {
  readonly virtual: VirtualTime
  readonly host: HostKernel | null
  readonly view: View
  /** CPU blocks. */
  readonly cpus: readonly number[]
  /** Whether run() has to return, because somebody interrupted. */
  readonly takeEvent: () => boolean
}

interface Goal {
  readonly untilNs: number
  readonly done: (end: RunEnd) => void
  readonly failed: (error: unknown) => void
}

/** Drives one machine. */
export class PacedTime {
  readonly #parts: PacedParts
  readonly #origin: number
  readonly #atRest: (() => void)[] = []
  /** Whoever waits in run(). */
  #goal: Goal | null = null
  #inside = false
  #again = false
  #soon: NodeJS.Immediate | undefined
  #timer: NodeJS.Timeout | undefined
  /** When the timer that is set comes, ns of the machine. */
  #timerNs = Number.POSITIVE_INFINITY

  constructor(parts: PacedParts) {
    this.#parts = parts
    this.#origin = performance.now() * 1e6 - parts.virtual.now()
  }

  /** Calls whenever the machine has done what was to be done. */
  atRest(fn: () => void): void {
    this.#atRest.push(fn)
  }

  /** Lets time pass until `untilNs`, or until somebody interrupts. One at a time. */
  run(untilNs: number): Promise<RunEnd> {
    return new Promise((done, failed) => {
      this.#goal = { untilNs, done, failed }
      this.poke()
    })
  }

  /** Something is to be done. Without anybody in run() it waits for the next. */
  poke(): void {
    if (this.#inside) this.#again = true
    else if (this.#goal !== null) this.#go(this.#goal)
  }

  /** No timer is left; who is in run() gets his answer. */
  stop(): void {
    this.#rest()
    this.#goal?.done('idle')
    this.#goal = null
  }

  #rest(): void {
    clearImmediate(this.#soon)
    clearTimeout(this.#timer)
    this.#soon = undefined
    this.#timer = undefined
    this.#timerNs = Number.POSITIVE_INFINITY
  }

  #real(): number {
    return performance.now() * 1e6 - this.#origin
  }

  #go(goal: Goal): void {
    this.#inside = true
    try {
      const end = this.#turns(goal.untilNs)
      for (const fn of this.#atRest) fn()
      this.#inside = false
      if (end === 'event' || end === 'time') this.#end(() => goal.done(end))
      else if (end === 'more' || this.#again) this.#later()
      else this.#sleep(goal.untilNs)
    } catch (error) {
      this.#inside = false
      this.#end(() => goal.failed(error))
    }
  }

  #end(answer: () => void): void {
    this.#rest()
    this.#goal = null
    answer()
  }

  /** Turns until nothing is left to do. */
  #turns(untilNs: number): 'event' | 'time' | 'rest' | 'more' {
    const { virtual, takeEvent } = this.#parts
    const began = performance.now()
    do {
      this.#again = false
      const over = this.#turn(untilNs)
      if (takeEvent()) return 'event'
      if (virtual.now() >= untilNs) return 'time'
      if (over && !this.#again) return 'rest'
    } while (performance.now() - began < TURN_MS)
    return 'more'
  }

  /** True when nothing is due any more. */
  #turn(untilNs: number): boolean {
    const { virtual, host, view, cpus } = this.#parts
    const limit = Math.min(untilNs, Math.max(this.#real(), virtual.now()))
    for (const cpu of cpus)
      if (view.u64(cpu + CPU_NOW) < limit) view.setU64(cpu + CPU_NOW, Math.floor(limit))
    virtual.slice(limit)
    virtual.step()
    const end = virtual.slice(Math.min(untilNs, limit + AHEAD_NS))
    // An event of the last slice may have woken a task.
    return (end === 'time' || end === 'idle') && !host?.ready
  }

  #later(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined
      this.poke()
    })
  }

  #sleep(untilNs: number): void {
    const { virtual, host } = this.#parts
    const real = this.#real()
    const device = virtual.nextEvent()
    const kernel = host?.k.nextDeadline() ?? Number.POSITIVE_INFINITY
    if (device - real < LOOK_NS || kernel <= real) {
      this.#later()
      return
    }
    const next = Math.min(untilNs, device, kernel)
    // A timer that comes too early only looks again.
    if (this.#timerNs <= next + 1e6) return
    clearTimeout(this.#timer)
    const ms = Math.min(Math.max(Math.ceil((next - real) / 1e6), 0), LONGEST_MS)
    this.#timerNs = real + ms * 1e6
    this.#timer = setTimeout(() => {
      this.#timerNs = Number.POSITIVE_INFINITY
      this.poke()
    }, ms)
  }
}
