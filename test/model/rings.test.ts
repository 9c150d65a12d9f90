// Rings of any size against plain lists. First the controller alone, told by doorbells of any value when to look; then the
// driver above it, with and without shadow doorbells.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import { bootDevice, RawQueue } from '../unit/core/raw-queue.js'
import { Stepped } from '../unit/core/stepped.js'
import { seeded } from './seeded.js'

const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 2, max: 20 }) },
  { weight: 3, arbitrary: fc.integer({ min: 2, max: 1030 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2, max: 65536 }) },
)

const SERVICE_NS = 100
const UNITS = 3

/** What the controller must do, in lists. */
class ControllerModel {
  readonly #entries: number
  readonly #timed: boolean
  readonly #units: number[] = Array(UNITS).fill(0)
  #unit = 0
  written: number[] = []
  rung: number[] = []
  /** In service: identifier and due time, in order of due time. */
  service: { cid: number; due: number }[] = []
  posted: { cid: number; sqhd: number }[] = []
  fetched = 0
  postedCount = 0
  /** Completions whose place the host has given back. */
  freed = 0

  constructor(entries: number, timed: boolean) {
    this.#entries = entries
    this.#timed = timed
  }

  get room(): number {
    return this.#entries - 1 - (this.postedCount - this.freed)
  }

  /** Entries of the submission ring that are not fetched. */
  get used(): number {
    return this.written.length + this.rung.length
  }

  ring(): void {
    this.rung.push(...this.written.splice(0))
  }

  /** So many commands were fetched at `now`. */
  fetch(n: number, now: number): void {
    for (const cid of this.rung.splice(0, n)) {
      this.fetched++
      if (this.#timed) this.#serve(cid, now)
      else this.#post(cid)
    }
  }

  #serve(cid: number, now: number): void {
    const due = Math.max(now, this.#units[this.#unit]!) + SERVICE_NS
    this.#units[this.#unit] = due
    this.#unit = (this.#unit + 1) % UNITS
    let at = this.service.length
    while (at > 0 && this.service[at - 1]!.due > due) at--
    this.service.splice(at, 0, { cid, due })
  }

  postDue(now: number): number {
    let n = 0
    while (n < this.room && (this.service[n]?.due ?? Infinity) <= now) n++
    for (const { cid } of this.service.splice(0, n)) this.#post(cid)
    return n
  }

  #post(cid: number): void {
    this.posted.push({ cid, sqhd: this.fetched % this.#entries })
    this.postedCount++
  }

  phase(index: number): number {
    return Math.floor(index / this.#entries) % 2 ? 0 : 1
  }
}

const controllerSteps = fc.array(
  fc.record({
    do: fc.constantFrom('write', 'ring', 'bad tail', 'run', 'post', 'reap', 'free', 'bad head'),
    n: fc.nat({ max: 70_000 }),
  }),
  { maxLength: 60 },
)

class Controller {
  readonly #view
  readonly #q: RawQueue
  readonly #model: ControllerModel
  readonly #timed: boolean
  #reaped = 0
  #badHead = false
  #badTail = false
  #now = 0

  constructor(entries: number, timed: boolean) {
    const machine = bootDevice({
      depth: entries,
      model: timed ? 'fixed' : 'null',
      serviceNs: SERVICE_NS,
      units: UNITS,
      prpPages: 1,
    })
    this.#view = machine.view
    this.#q = new RawQueue(machine)
    this.#model = new ControllerModel(entries, timed)
    this.#timed = timed
  }

  step(what: string, n: number): void {
    const model = this.#model
    const { entries } = this.#q
    if (what === 'write') this.#write(n % entries)
    else if (what === 'ring') this.#ring()
    else if (what === 'bad tail') this.#ringBadly(entries + n)
    else if (what === 'run') this.#run(n % 100 === 0 ? 0 : n % (entries + 1))
    else if (what === 'post') this.#post(n % 300)
    else if (what === 'reap') this.#reap(n % (entries + 1))
    else if (what === 'free') this.#free()
    else if (model.room === 0) this.#badHeadDoorbell(entries + n)
  }

  #write(n: number): void {
    for (let i = 0; i < n && this.#model.used < this.#q.entries - 1; i++)
      this.#model.written.push(this.#q.write({ opcode: N.NVME_CMD_FLUSH }))
  }

  #ring(): void {
    this.#q.ring()
    this.#badTail = false
    this.#model.ring()
  }

  #ringBadly(value: number): void {
    this.#q.ring(value)
    this.#badTail = true
  }

  #run(max: number): void {
    const model = this.#model
    const n = this.#q.run(max, this.#now)
    const most = this.#badTail ? 0 : Math.min(max, model.rung.length)
    // A timed device asks for room for one completion, and serves as many commands as the ring has entries.
    const service = model.room > 0 ? this.#q.entries - model.service.length : 0
    const limit = Math.min(most, this.#timed ? service : model.room)
    // It may fetch less than it could, but not nothing.
    if (n > limit || (n === 0 && limit > 0)) throw new Error(`${n} fetched, ${limit} there`)
    model.fetch(n, this.#now)
  }

  #post(pass: number): void {
    this.#now += pass
    expect(this.#q.post(this.#now)).toBe(this.#model.postDue(this.#now))
  }

  #reap(max: number): void {
    const model = this.#model
    const list = this.#q.reap(max, false)
    const wanted = model.posted.splice(0, max)
    expect(list.map(c => [c.cid, c.sqhd, c.phase, c.sqid, c.status])).toEqual(
      wanted.map((c, i) => [c.cid, c.sqhd, model.phase(this.#reaped + i), 1, 0]),
    )
    this.#reaped += list.length
  }

  #free(): void {
    this.#q.ringCq()
    this.#badHead = false
    this.#model.freed = this.#reaped
  }

  /** A value that is no index: the room stays what it was, which is none here. */
  #badHeadDoorbell(value: number): void {
    this.#q.ringCq(value)
    this.#badHead = true
  }

  /** Lets everything through and checks the ends of the rings. */
  finish(): void {
    if (this.#badHead) this.#free()
    for (let i = 0; this.#busy(); i++) {
      if (i > 1e6) throw new Error('it does not end')
      this.#ring()
      this.#run(70_000)
      this.#post(10 * SERVICE_NS)
      this.#reap(70_000)
      this.#free()
    }
    this.#checkEnds()
  }

  /** Where a gap follows a ring, nothing has been written to it. */
  #checkEnds(): void {
    const { cq, sq, entries } = this.#q
    const gaps = [
      [sq + entries * N.SQE_BYTES, cq],
      [cq + entries * N.CQE_BYTES, this.#view.u32(this.#q.dsq + L.DSQ_FIFO)],
    ] as const
    for (const [from, to] of gaps)
      expect(this.#view.bytes.slice(from, to).every(byte => byte === 0)).toBe(true)
  }

  #busy(): boolean {
    const { used, service, posted } = this.#model
    return used + service.length + posted.length > 0
  }
}

describe('the controller', () => {
  it.each([
    ['of an untimed medium', false],
    ['of a timed medium', true],
  ])('%s does with its rings what plain lists say', (_, timed) => {
    fc.assert(
      fc.property(sizes, controllerSteps, (entries, steps) => {
        const controller = new Controller(entries, timed)
        for (const step of steps) controller.step(step.do, step.n)
        controller.finish()
      }),
      seeded(80),
    )
  })
})

// ---------------------------------------------------------------- the driver

const hosts = fc.record({
  depth: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 2, max: 20 }) },
    { weight: 1, arbitrary: fc.integer({ min: 2, max: 600 }) },
  ),
  shadow: fc.boolean(),
  stride: fc.nat({ max: 15 }),
  shared: fc.boolean(),
  model: fc.constantFrom('null' as const, 'fixed' as const),
})

const hostSteps = fc.array(
  fc.record({
    do: fc.constantFrom('submit', 'submit', 'plug', 'device', 'device', 'reap'),
    n: fc.integer({ min: 1, max: 40 }),
  }),
  { maxLength: 80 },
)

/** A device that sleeps whenever it finds nothing, and wakes only when a register is written. */
class SleepyDevice {
  readonly #host: Stepped
  #asleep = false
  #writes = 0

  constructor(host: Stepped) {
    this.#host = host
  }

  run(max: number): number {
    const { doorbells, cqDoorbells } = this.#host.machine.cpuCounters(0)
    if (this.#asleep && this.#writes === doorbells + cqDoorbells) return 0
    this.#writes = doorbells + cqDoorbells
    const n = this.#host.fetch(max)
    this.#asleep = n === 0
    return n
  }
}

it('the driver loses nothing, whatever the device is told and when', () => {
  fc.assert(
    fc.property(hosts, hostSteps, ({ depth, shadow, stride, shared, model }, steps) => {
      const host = new Stepped(
        { depth, shadow, stride, model, queues: 1, prpPages: 1 },
        { cpus: shared ? 2 : 1 },
      )
      const device = new SleepyDevice(host)
      let submitted = 0
      let ended = 0
      const submit = (n: number): void => {
        for (let i = 0; i < n && submitted - ended < depth - 1; i++) {
          const bio = host.bio(N.REQ_OP_READ | N.REQ_NOMERGE, (submitted % 1000) * 8, 512 * 8)
          if (host.submit(bio) < 0) throw new Error('no tag although one is free')
          submitted++
        }
      }
      const end = (): void => {
        ended += host.ended().length
      }
      for (const step of steps) {
        if (step.do === 'submit') submit(step.n)
        else if (step.do === 'plug') host.plugged(() => submit(step.n))
        else if (step.do === 'device') device.run(step.n)
        else host.reap(step.n)
        end()
      }
      for (let i = 0; ended < submitted; i++) {
        if (i > 2000) throw new Error(`${submitted - ended} of ${submitted} are lost`)
        device.run(7)
        host.reap(5)
        end()
      }
      expect(host.machine.books()).toMatchObject({ submitted, completed: submitted, problems: [] })
      expect(host.held()).toBe(0)
      const counters = host.machine.cpuCounters(0)
      if (!shadow) expect(counters.bellsSaved).toBe(0)
    }),
    seeded(120),
  )
})
