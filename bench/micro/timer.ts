// What a timer costs, from 10 armed timers to 1,000,000.
//
//   add, del   arm a timer and delete it again, at distances over all levels
//   mod        move an armed timer to another distance
//   tick       one tick at which no timer is due
//   fire       one timer through its life: armed, its share of the ticks, fired
//
// The wheel promises that none of them depends on how many timers are armed beside it.

import { Kernel } from '../../src/kernel/kernel.js'
import { del_timer, mod_timer, timer_setup } from '../../src/kernel/timer.js'
import { timer_list } from '../../src/kernel/timer-wheel.js'
import type { Size } from '../cell.js'
import { type Micro, opsOf } from './micro.js'

/** Timers armed beside those that are measured. */
const ARMED = { small: [10, 1000], large: [10, 1000, 100_000, 1_000_000] } as const

const TICK_NS = 4_000_000

/** No timer of the background comes due while anything is measured: 18 days ahead and more. */
const FAR = 400_000_000

/** A cheap sequence of distances; each level of the wheel below 2^28 jiffies gets its share. */
class Distances {
  #state = 12345

  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return 1 + (this.#state >>> (4 + (this.#state & 15)))
  }
}

/** A kernel with so many timers in its wheel. */
class Bed {
  ns = 0
  fired = 0
  readonly k: Kernel = new Kernel({ hz: 250, now: () => this.ns })
  readonly distances: Distances = new Distances()
  readonly timers: timer_list<Bed>[]

  constructor(armed: number) {
    for (let i = 0; i < armed; i++) this.arm(this.#timer(), FAR + this.distances.next() / 8)
    this.timers = Array.from({ length: 64 }, () => this.#timer())
  }

  #timer(): timer_list<Bed> {
    const timer = new timer_list<Bed>(this.k, this)
    timer_setup(timer, count)
    return timer
  }

  arm(timer: timer_list<Bed>, distance: number): void {
    mod_timer(timer, this.k.jiffies + Math.floor(distance))
  }

  tick(): void {
    this.ns += TICK_NS
    this.k.advance()
  }

  add_del(ops: number): void {
    for (let i = 0; i < ops; i++) {
      const timer = this.timers[i & 63]
      this.arm(timer, this.distances.next())
      this.fired += del_timer(timer)
    }
  }

  mod(ops: number): void {
    for (let i = 0; i < ops; i++) this.arm(this.timers[i & 63], FAR + this.distances.next() / 8)
  }

  ticks(ops: number): void {
    for (let i = 0; i < ops; i++) this.tick()
  }

  fire(ops: number): void {
    const until = this.fired + ops
    while (this.fired < until) {
      for (let i = 0; i < 64; i++) this.arm(this.timers[i], 1 + (i & 31))
      for (let i = 0; i < 34; i++) this.tick()
    }
  }
}

function count(timer: timer_list<Bed>): void {
  timer.container.fired++
}

/** A row for each operation and each number of armed timers. */
export function timerMicros(size: Size): Micro[] {
  const ops = opsOf(size)
  return ARMED[size].flatMap(armed => {
    // One for the four rows, made when the first of them warms up: a million timers are not small.
    let shared: Bed | undefined
    const row = (name: string, run: (bed: Bed) => void): Micro => ({
      name: `timer: ${name}, ${armed} armed`,
      ops,
      run: () => run((shared ??= new Bed(armed))),
    })
    return [
      row('add, del', bed => bed.add_del(ops)),
      row('mod', bed => bed.mod(ops)),
      row('tick', bed => bed.ticks(ops)),
      row('fire', bed => bed.fire(ops)),
    ]
  })
}
