// The queue of events against a plain list: one event for each slot, moved by every new time, first in time first, and
// first set first among equals. While one is handled it is not there, and may be set again, as others may.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as L from '../../assembly/layout.js'
import { Arena } from '../unit/core/raw.js'
import { seeded } from './seeded.js'

const SLOTS = 40
const arena = new Arena(2 ** 20)

const steps = fc.array(
  fc.record({
    do: fc.constantFrom('by', 'at', 'take', 'over', 'again', 'pop'),
    slot: fc.nat({ max: SLOTS - 1 }),
    time: fc.oneof(fc.nat({ max: 6 }), fc.nat({ max: 10_000 }), fc.constant(2 ** 50)),
  }),
  { maxLength: 200 },
)

interface Event {
  readonly slot: number
  readonly time: number
  readonly order: number
}

class Pair {
  readonly #evq: number
  readonly #slots: number
  readonly #cap: number
  #events: Event[] = []
  #order = 0
  /** Slot of the event that is being handled; -1 = none. */
  #taken = -1

  constructor(cap: number) {
    arena.reset()
    this.#evq = arena.alloc(L.EVQ_SIZE)
    this.#slots = arena.alloc(SLOTS * 16)
    this.#cap = cap
    const heap = arena.alloc(2 * cap * L.EV_SIZE)
    arena.view.setU32(L.M_BASE + L.M_EVENTS, this.#evq)
    arena.view.setU32(this.#evq + L.EVQ_CAP, cap)
    arena.view.setU32(this.#evq + L.EVQ_HEAP, heap)
  }

  step(what: string, slot: number, time: number): void {
    if (what === 'pop') this.#pop()
    else if (what === 'take') this.#take()
    else if (what === 'over') this.#over()
    else if (what !== 'again') this.#set(what, slot % this.#cap, time)
    else if (this.#taken >= 0) this.#set('at', this.#taken, time)
    this.#compare()
  }

  #set(what: string, slot: number, time: number): void {
    const address = this.#slots + slot * 16
    const { core } = arena
    if (what === 'by') core.event_by(BigInt(time), slot % 4, address)
    else core.event_at(BigInt(time), slot % 4, address)
    const old = this.#events.find(e => e.slot === slot)
    if (old && (what === 'by' ? time >= old.time : time === old.time)) return
    this.#events = this.#events.filter(e => e !== old)
    this.#events.push({ slot, time, order: this.#order++ })
  }

  get #first(): Event | undefined {
    return this.#events.toSorted((a, b) => a.time - b.time || a.order - b.order)[0]
  }

  #take(): void {
    const first = this.#first
    if (!first || this.#taken >= 0) return
    const { core } = arena
    const event = core.event_first(this.#evq)
    const key = Number(BigInt.asUintN(32, core.event_take(this.#evq, event)))
    expect(((key & 0xfffffff) * 16 - this.#slots) / 16).toBe(first.slot)
    expect(key >>> 28).toBe(first.slot % 4)
    this.#events = this.#events.filter(e => e !== first)
    this.#taken = first.slot
  }

  #over(): void {
    if (this.#taken >= 0) arena.core.event_over(this.#evq)
    this.#taken = -1
  }

  #pop(): void {
    this.#take()
    this.#over()
  }

  #compare(): void {
    const { core, view } = arena
    const first = this.#first
    expect(view.u32(this.#evq + L.EVQ_COUNT)).toBe(this.#events.length)
    expect(core.event_time(this.#evq)).toBe(first ? BigInt(first.time) : -1n)
    if (this.#taken >= 0) return
    const queued = Array.from({ length: SLOTS }, (_, i) => view.u32(this.#slots + i * 16) !== 0)
    expect(queued).toEqual(queued.map((_, i) => this.#events.some(e => e.slot === i)))
  }

  /** Everything comes out in order. */
  drain(): void {
    this.#over()
    while (this.#events.length) {
      this.#pop()
      this.#compare()
    }
  }
}

it('events come in the order of their times, each slot once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: SLOTS }), steps, (cap, list) => {
      const pair = new Pair(cap)
      for (const step of list) pair.step(step.do, step.slot, step.time)
      pair.drain()
    }),
    seeded(150),
  )
})
