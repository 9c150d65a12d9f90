// The timer wheel against a plain list with the rounding rule: same timers, in the same order, at
// the same jiffies, and the same answers from every call, for any sequence of arming, moving,
// deleting and of the clock's steps and jumps.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  del_timer,
  mod_timer,
  mod_timer_pending,
  timer_pending,
  timer_reduce,
  timer_setup,
} from '../../src/kernel/timer.js'
import { timer_list } from '../../src/kernel/timer-wheel.js'
import { VirtualKernel } from '../unit/kernel/support.js'
import { seeded } from './seeded.js'

interface Armed {
  id: number
  expires: number
  fireAt: number
  level: number
  order: number
}

/** One wheel as a list. */
class PlainWheel {
  jiffies: number
  clk: number
  armed: Armed[] = []
  readonly log: [id: number, jiffies: number][] = []
  readonly periods: (number | null)[]
  readonly #depth: number
  #busy = false
  #order = 0

  constructor(hz: number, jiffies: number, periods: (number | null)[]) {
    this.#depth = hz > 100 ? 9 : 8
    this.jiffies = jiffies
    this.clk = jiffies
    this.periods = periods
  }

  /**
   * The rule of rounding: level by distance from the clock, then up to the next multiple of the
   * granularity.
   */
  #place(expires: number): { level: number; fireAt: number } {
    const delta = expires - this.clk
    if (delta < 0) return { level: 0, fireAt: this.clk }
    let level = 0
    while (level < this.#depth - 1 && delta >= 63 * 8 ** level) level++
    const gran = 8 ** level
    const cutoff = 63 * 8 ** (this.#depth - 1)
    if (level === this.#depth - 1 && expires >= cutoff) {
      // Linux 4.19: everything that is too far shares bucket 63 of the last level.
      let fireAt = Math.ceil(this.clk / gran) * gran
      while ((fireAt / gran) % 64 !== 63) fireAt += gran
      return { level, fireAt }
    }
    return { level, fireAt: Math.floor((expires + gran) / gran) * gran }
  }

  #forward(): void {
    if (this.#busy || this.jiffies - this.clk < 2) return
    this.clk = Math.min(this.jiffies, this.next())
  }

  next(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.armed.map(t => t.fireAt))
  }

  mod(id: number, expires: number, how: 'mod' | 'pending' | 'reduce'): number {
    const old = this.armed.find(t => t.id === id)
    if (old !== undefined) {
      if (old.expires === expires || (how === 'reduce' && old.expires < expires)) return 1
      this.#forward()
      const place = this.#place(expires)
      if (place.level === old.level && place.fireAt === old.fireAt) {
        old.expires = expires
        return 1
      }
      this.del(id)
    } else if (how === 'pending') return 0
    this.#forward()
    this.armed.push({ id, expires, ...this.#place(expires), order: this.#order++ })
    return old === undefined ? 0 : 1
  }

  del(id: number): number {
    const before = this.armed.length
    this.armed = this.armed.filter(t => t.id !== id)
    return before - this.armed.length
  }

  /** The tick at `jiffies`. */
  tick(jiffies: number): void {
    this.jiffies = jiffies
    if (this.next() > jiffies) return
    this.#busy = true
    while (this.clk <= jiffies) {
      const next = this.next()
      this.clk = Math.min(next, jiffies) + 1
      if (next > jiffies) break
      const due = this.armed.filter(t => t.fireAt === next)
      due.sort((a, b) => b.level - a.level || b.order - a.order)
      for (const { id } of due) {
        this.del(id)
        this.log.push([id, jiffies])
        const period = this.periods[id]
        if (period !== null) this.mod(id, jiffies + period, 'mod')
      }
    }
    this.#busy = false
  }

  /** Tick by tick, skipping those at which nothing happens. */
  until(jiffies: number): void {
    while (true) {
      const next = Math.max(this.next(), this.jiffies + 1)
      if (next > jiffies) break
      this.tick(next)
    }
    if (jiffies > this.jiffies) this.tick(jiffies)
  }
}

const TIMERS = 12

const distance = fc.oneof(
  fc.integer({ min: -70, max: 80 }),
  fc.integer({ min: 0, max: 600 }),
  fc.integer({ min: 400, max: 5000 }),
  fc.integer({ min: 0, max: 300_000 }),
  fc.constantFrom(61, 62, 63, 64, 502, 503, 504, 505, 4031, 4032, 4033, 32255, 32256),
  fc.constantFrom(16515071, 16515072, 132120575, 132120576, 2 ** 31, 2 ** 40),
)
const id = fc.nat({ max: TIMERS - 1 })
interface Arm {
  readonly op: 'mod' | 'pending' | 'reduce'
  readonly id: number
  readonly delta: number
}
interface Move {
  readonly op: 'step' | 'jump'
  readonly by: number
}
type Op = Arm | Move | { readonly op: 'del' | 'again'; readonly id: number }

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant('mod' as const), id, delta: distance }) },
  fc.record({ op: fc.constantFrom('pending' as const, 'reduce' as const), id, delta: distance }),
  // 'again': mod_timer with the expiry it has, pending or not.
  fc.record({ op: fc.constantFrom('del' as const, 'again' as const), id }),
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom('step' as const, 'jump' as const),
      by: fc.oneof(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 70 }),
        fc.integer({ min: 0, max: 6000 }),
      ),
    }),
  },
)

const CALLS = { mod: mod_timer, pending: mod_timer_pending, reduce: timer_reduce }

/** The kernel's wheel, driven by the same operations. */
class RealWheel {
  readonly v: VirtualKernel
  readonly timers: timer_list<number>[]
  readonly log: [id: number, jiffies: number][] = []

  constructor(v: VirtualKernel, periods: (number | null)[]) {
    this.v = v
    this.timers = Array.from({ length: TIMERS }, (_, i) => new timer_list(v.k, i))
    for (const timer of this.timers) {
      timer_setup(timer, t => {
        this.log.push([t.container, v.k.jiffies])
        const period = periods[t.container]
        if (period !== null) mod_timer(t, v.k.jiffies + period)
      })
    }
  }

  advance(how: 'step' | 'jump', jiffies: number): void {
    const ns = this.v.k.jiffyNs(jiffies)
    if (how === 'step') this.v.runUntil(ns)
    else {
      this.v.ns = ns
      this.v.k.advance()
    }
  }
}

function run(hz: number, start: number, periods: (number | null)[], ops: readonly Op[]): void {
  const v = new VirtualKernel({ hz, initialJiffies: start })
  const real = new RealWheel(v, periods)
  const plain = new PlainWheel(hz, start, periods)
  for (const o of ops) {
    if ('by' in o) {
      const to = v.k.jiffies + o.by
      real.advance(o.op, to)
      if (o.op === 'step') plain.until(to)
      else if (to > plain.jiffies) plain.tick(to)
    } else if ('delta' in o) {
      const expires = v.k.jiffies + o.delta
      expect(CALLS[o.op](real.timers[o.id], expires)).toBe(plain.mod(o.id, expires, o.op))
    } else if (o.op === 'del') {
      expect(del_timer(real.timers[o.id])).toBe(plain.del(o.id))
    } else {
      const { expires } = real.timers[o.id]
      expect(mod_timer(real.timers[o.id], expires)).toBe(plain.mod(o.id, expires, 'mod'))
    }
    expect(real.log).toEqual(plain.log)
    expect(real.timers.map(timer_pending)).toEqual(
      real.timers.map((_, i) => plain.armed.some(t => t.id === i)),
    )
    const next = Math.max(plain.next(), v.k.jiffies + 1)
    expect(v.k.nextDeadline()).toBe(Number.isFinite(next) ? v.k.jiffyNs(next) : next)
  }
}

const setting = fc.record({
  hz: fc.constantFrom(100, 250, 1000),
  start: fc.constantFrom(0, 1000, 2 ** 32 - 75_000, 2 ** 32 - 40, 2 ** 40),
  periods: fc.array(fc.option(fc.integer({ min: 0, max: 700 }), { freq: 4 }), {
    minLength: TIMERS,
    maxLength: TIMERS,
  }),
  ops: fc.array(op, { minLength: 1, maxLength: 80 }),
})

describe('the timer wheel', () => {
  test('is a list sorted by rounded expiry', () => {
    fc.assert(
      fc.property(setting, ({ hz, start, periods, ops }) => {
        // A period of null is rarer than not: most timers are one-shot.
        run(
          hz,
          start,
          periods.map(p => (p === null || p % 3 !== 0 ? null : p)),
          ops,
        )
      }),
      seeded(40),
    )
  })

  test('with timer=exact every timer fires at its expiry, or at the next tick if that has passed', () => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 1, maxLength: 60 }), ops => {
        const v = new VirtualKernel({ timer: 'exact' })
        const real = new RealWheel(v, new Array(TIMERS).fill(null))
        const due = new Map<number, number>()
        const expected: [number, number][] = []
        const until = (jiffies: number): void => {
          const hits = [...due].filter(([, at]) => at <= jiffies)
          for (const [timer, at] of hits.sort((a, b) => a[1] - b[1])) {
            expected.push([timer, at])
            due.delete(timer)
          }
        }
        const by_time = (log: [number, number][]): [number, number][] =>
          [...log].sort((a, b) => a[1] - b[1] || a[0] - b[0])
        for (const o of ops) {
          if ('by' in o) {
            const to = v.k.jiffies + o.by
            real.advance('step', to)
            until(to)
          } else if (o.op === 'del') {
            expect(del_timer(real.timers[o.id])).toBe(due.delete(o.id) ? 1 : 0)
          } else if (o.op === 'mod') {
            const expires = v.k.jiffies + o.delta
            const timer = real.timers[o.id]
            // Re-arming for the same jiffy changes nothing, a past one included.
            if (!timer_pending(timer) || timer.expires !== expires) {
              due.set(o.id, Math.max(expires, v.k.jiffies + 1))
            }
            mod_timer(timer, expires)
          }
          expect(by_time(real.log)).toEqual(by_time(expected))
        }
      }),
      seeded(40),
    )
  })
})
