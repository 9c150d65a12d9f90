// Scalable bitmaps of any depth against a plain model, step by step; bitmaps that several threads may share must do
// the same as those of one thread when only one thread is there.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Arena, Sbq, type Waiter } from '../unit/core/raw.js'
import { type ModelWaiter, SbitmapModel, type SbitmapShape } from './sbitmap-model.js'
import { seeded } from './seeded.js'

const arena = new Arena(2 ** 23)

const depths = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 70 }) },
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 1100 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 65536 }) },
)

const shapes: fc.Arbitrary<SbitmapShape> = fc.record({
  depth: depths,
  shift: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, fc.integer({ min: 0, max: 6 })),
  roundRobin: fc.boolean(),
  cpus: fc.constantFrom(1, 2, 3, 8, 64),
  seed: fc.constantFrom(0, 1, 0xdeadbeef),
})

const pick = fc.nat({ max: 2 ** 20 })
const steps = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('get' as const), pick }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('near' as const), pick }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('clear' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('shallow' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('finish' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fill' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resize' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('minShallow' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('share' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wakeAll' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hint' as const), pick }) },
)
type Step = typeof steps extends fc.Arbitrary<infer T> ? T : never

/** The bitmap and its model, walked together. */
class Pair {
  readonly #shape: SbitmapShape
  readonly #real: Sbq
  readonly #model: SbitmapModel
  /** The short way to a bit is for maps that need neither atomics nor order. */
  readonly #plain: boolean
  readonly #waiters: [Waiter, ModelWaiter][] = []
  #steps = 0

  constructor(shape: SbitmapShape, shared: boolean) {
    arena.reset()
    this.#shape = shape
    this.#plain = !shared && !shape.roundRobin
    this.#real = new Sbq(arena, { ...shape, shared })
    this.#model = new SbitmapModel(shape)
  }

  step(step: Step): void {
    this.#steps++
    this.#do(step)
    this.#compare(step)
  }

  #do({ do: what, pick }: Step): void {
    const { depth, cpus } = this.#shape
    const cpu = pick % cpus
    const n = Math.floor(pick / cpus)
    if (what === 'get') this.#get(cpu)
    else if (what === 'near') this.#near(cpu)
    else if (what === 'fill') for (let i = 0; i < 200; i++) this.#get(i % cpus)
    else if (what === 'clear') this.#clear(n, cpu)
    else if (what === 'shallow') this.#shallow(cpu, n % 65)
    else if (what === 'wait') this.#wait(n % 4 !== 0)
    else if (what === 'finish') this.#finish(n)
    else if (what === 'resize') this.#both(s => s.resize(1 + (n % depth)))
    else if (what === 'minShallow') this.#minShallow(1 + (n % 64))
    else if (what === 'share') this.#both(s => s.share(n % 12))
    else if (what === 'wakeAll') this.#both(s => s.wakeAll())
    else this.#hint(cpu, n % depth)
  }

  #both(act: (s: Sbq | SbitmapModel) => void): void {
    act(this.#real)
    act(this.#model)
  }

  #get(cpu: number): void {
    expect(this.#real.get(cpu)).toBe(this.#model.get(cpu))
  }

  #near(cpu: number): void {
    if (this.#plain) expect(this.#real.getNear(cpu)).toBe(this.#model.getNear(cpu))
    else this.#get(cpu)
  }

  #shallow(cpu: number, limit: number): void {
    expect(this.#real.getShallow(limit, cpu)).toBe(this.#model.getShallow(cpu, limit))
  }

  /** Mostly a bit that is set; sometimes any bit there has ever been. */
  #clear(n: number, cpu: number): void {
    const from = n % this.#shape.depth
    const next = this.#model.set.indexOf(true, from)
    const nr = n % 5 === 0 || next < 0 ? from : next
    expect(this.#real.clear(nr, cpu)).toBe(this.#model.clear(nr, cpu))
  }

  #wait(exclusive: boolean): void {
    const model = { exclusive, woken: false }
    const index = this.#real.nextWs()
    expect(index).toBe(this.#model.wait(model))
    this.#waiters.push([this.#real.wait(index, exclusive), model])
  }

  #finish(n: number): void {
    const pair = this.#waiters[n % this.#waiters.length]
    if (!pair) return
    this.#real.finish(pair[0])
    this.#model.finish(pair[1])
  }

  #minShallow(depth: number): void {
    this.#real.minShallow(depth)
    this.#model.setMinShallow(depth)
  }

  #hint(cpu: number, hint: number): void {
    this.#real.setHint(hint, cpu)
    this.#model.hints[cpu] = hint
  }

  #compare(step: Step): void {
    const real = this.#real
    const model = this.#model
    const woken = this.#waiters.map(([w]) => w.woken)
    const waiting = Array.from({ length: 8 }, (_, i) => real.waiting(i).length)
    expect(
      [real.depth, real.weight, real.wakeBatch, real.wakeIndex, real.waitCounts, waiting, woken],
      `step ${this.#steps}: ${step.do}`,
    ).toEqual([
      model.depth,
      model.weight,
      model.wakeBatch,
      model.wakeIndex,
      model.waitCounts,
      model.waiters.map(list => list.length),
      this.#waiters.map(([, w]) => w.woken),
    ])
    const hints = model.hints.map((_, cpu) => real.hint(cpu))
    expect(hints).toEqual(model.hints)
    expect([real.anySet(), real.anyClear()]).toEqual([this.#anySet(), model.weight < model.depth])
  }

  /** A word that is still used shows bits beyond the depth, too. */
  #anySet(): boolean {
    const { depth, shift, set } = this.#model
    const words = Math.ceil(depth / 2 ** shift)
    return set.slice(0, words * 2 ** shift).includes(true)
  }
}

it.each([
  ['of one thread', false],
  ['that threads may share', true],
])('a bitmap %s does what the plain model does', (_, shared) => {
  fc.assert(
    fc.property(shapes, fc.array(steps, { maxLength: 50 }), (shape, list) => {
      const pair = new Pair(shape, shared)
      for (const step of list) pair.step(step)
    }),
    seeded(200),
  )
})

it('gives every bit of any depth exactly once, whatever the hints', () => {
  fc.assert(
    fc.property(shapes, fc.boolean(), (shape, shared) => {
      arena.reset()
      const sbq = new Sbq(arena, { ...shape, shared })
      const seen = new Uint8Array(shape.depth)
      let failed = 0
      for (let got = 0; got < shape.depth; ) {
        const nr = sbq.get(got % shape.cpus)
        // In strict order one try may miss what lies below the hint in its word; the next starts at 0.
        if (nr < 0 && failed++ < shape.cpus) continue
        if (nr < 0 || seen[nr]) throw new Error(`bit ${nr} after ${got} others`)
        seen[nr] = 1
        got++
        failed = 0
      }
      expect([sbq.weight, sbq.get(), sbq.anyClear()]).toEqual([shape.depth, -1, false])
    }),
    seeded(60),
  )
})
