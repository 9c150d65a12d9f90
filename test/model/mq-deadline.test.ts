// mq-deadline against a plain model: a list of requests, and the rules as the scheduler's story tells them. Requests lie
// far apart, so that none of them joins another.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mq_deadline } from '../../src/block/mq-deadline.js'
import { READ, SchedRig, WRITE } from '../unit/block/sched-rig.js'

interface Entry {
  readonly sector: number
  readonly write: boolean
  readonly expires: number
}

class Model {
  readonly head: number[] = []
  /** In order of arrival. */
  waiting: Entry[] = []
  next: Entry | null = null
  batch = 0
  starved = 0
  now = 0
  readonly expire: readonly [number, number]
  readonly fifoBatch: number

  constructor(expire: readonly [number, number], fifoBatch: number) {
    this.expire = expire
    this.fifoBatch = fifoBatch
  }

  add(sector: number, write: boolean): void {
    this.waiting.push({ sector, write, expires: this.now + this.expire[write ? 1 : 0] })
  }

  dispatch(): number | null {
    const first = this.head.shift()
    if (first !== undefined) return first
    const entry = this.#choose()
    if (entry === null) return null
    this.batch++
    const behind = this.waiting
      .filter(one => one.write === entry.write && one.sector > entry.sector)
      .sort((a, b) => a.sector - b.sector)
    this.next = behind[0] ?? null
    this.waiting = this.waiting.filter(one => one !== entry)
    return entry.sector
  }

  #choose(): Entry | null {
    if (this.next !== null && this.batch < this.fifoBatch) return this.next
    const reads = this.waiting.filter(one => !one.write)
    const writes = this.waiting.filter(one => one.write)
    let list = reads
    if (reads.length > 0 && writes.length > 0 && this.starved++ >= 2) list = writes
    else if (reads.length === 0) list = writes
    if (list.length === 0) return null
    if (list === writes) this.starved = 0
    this.batch = 0
    const following = this.next !== null && this.next.write === list[0]!.write ? this.next : null
    return following === null || this.now >= list[0]!.expires ? list[0]! : following
  }
}

interface Real {
  readonly rig: SchedRig
}

class Add implements fc.Command<Model, Real> {
  readonly place: number
  readonly write: boolean
  readonly atHead: boolean

  constructor(place: number, write: boolean, atHead: boolean) {
    this.place = place
    this.write = write
    this.atHead = atHead
  }

  check = (model: Readonly<Model>): boolean => {
    const sector = this.place * 64
    return !model.head.includes(sector) && model.waiting.every(one => one.sector !== sector)
  }
  run(model: Model, { rig }: Real): void {
    const sector = this.place * 64
    rig.insert([rig.request(this.write ? WRITE : READ, sector)], this.atHead)
    if (this.atHead) model.head.unshift(sector)
    else model.add(sector, this.write)
  }
  toString = (): string =>
    `add(${this.place}, ${this.write ? 'write' : 'read'}${this.atHead ? ', head' : ''})`
}

class Dispatch implements fc.Command<Model, Real> {
  readonly times: number

  constructor(times: number) {
    this.times = times
  }

  check = (): boolean => true
  run(model: Model, { rig }: Real): void {
    for (let i = 0; i < this.times; i++) {
      expect(rig.has_work()).toBe(model.head.length + model.waiting.length > 0)
      const rq = rig.dispatch()
      expect(rq ? rig.sector(rq) : null).toBe(model.dispatch())
    }
  }
  toString = (): string => `dispatch(${this.times})`
}

class Wait implements fc.Command<Model, Real> {
  readonly ticks: number

  constructor(ticks: number) {
    this.ticks = ticks
  }

  check = (): boolean => true
  run(model: Model, { rig }: Real): void {
    rig.vk.ticks(this.ticks)
    model.now += this.ticks
  }
  toString = (): string => `wait(${this.ticks})`
}

describe('mq-deadline', () => {
  it('does what the plain model does', () => {
    const place = fc.nat(120)
    const add = fc
      .tuple(place, fc.boolean(), fc.constantFrom(false, false, false, true))
      .map(([at, write, head]) => new Add(at, write, head))
    const commands = fc.commands(
      [
        add,
        add,
        add,
        add,
        fc.integer({ min: 1, max: 4 }).map(n => new Dispatch(n)),
        fc.integer({ min: 1, max: 40 }).map(n => new Wait(n)),
      ],
      { maxCommands: 100 },
    )
    fc.assert(
      fc.property(commands, fc.constantFrom(2, 16), (list, fifoBatch) => {
        const rig = new SchedRig(mq_deadline)
        for (const [name, value] of [
          ['read_expire', '100'],
          ['write_expire', '400'],
          ['fifo_batch', `${fifoBatch}`],
        ] as const)
          expect(rig.set(name, value)).toBe(0)
        fc.modelRun(() => ({ model: new Model([25, 100], fifoBatch), real: { rig } }), list)
      }),
      { numRuns: 150 },
    )
  })
})
