// Tag sets against a plain model: several queues on one set, reserved tags, shares of those that are active, another number of
// tags while some are held. Which tag is given is the bitmap's (sbitmap.test.ts); here: whether one is, to whom, and that
// nobody else has it.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as L from '../../assembly/layout.js'
import {
  BLK_MQ_F_TAG_SHARED,
  BLK_MQ_REQ_RESERVED,
  BLK_MQ_S_TAG_ACTIVE,
  BLK_MQ_TAG_FAIL,
} from '../../assembly/nvme.js'
import { Arena } from '../unit/core/raw.js'
import { seeded } from './seeded.js'

const arena = new Arena(2 ** 20)
const CPUS = 2

interface Shape {
  readonly depth: number
  readonly reserved: number
  readonly queues: number
}

/** The set and its queues in memory. */
class Real {
  readonly tags: number
  readonly hctxs: readonly number[]
  readonly #reserved: number

  constructor({ depth, reserved, queues }: Shape) {
    arena.reset()
    const { view, core } = arena
    const tags = arena.alloc(L.TAGS_SIZE)
    this.tags = tags
    this.#reserved = reserved
    view.setU32(tags + L.TAGS_NR, depth + reserved)
    view.setU32(tags + L.TAGS_RESERVED, reserved)
    for (const [at, bits] of [
      [L.TAGS_BITMAP, depth],
      [L.TAGS_BRESERVED, reserved],
    ] as const) {
      const map = arena.alloc((core.sbitmap_words(bits, -1) + 1) * L.SBW_SIZE)
      const hints = arena.alloc(CPUS * L.SBQ_HINT_SIZE)
      core.sbitmap_queue_init_node(tags + at, bits, -1, 0, map, hints, CPUS, 1, 0)
    }
    this.hctxs = Array.from({ length: queues }, () => {
      const hctx = arena.alloc(L.HC_SIZE)
      view.setU32(hctx + L.HC_TAGS, tags)
      view.setU32(hctx + L.HC_FLAGS, queues > 1 ? BLK_MQ_F_TAG_SHARED : 0)
      return hctx
    })
  }

  get(queue: number, cpu: number, reserved: boolean): number {
    const { view, core } = arena
    const hctx = this.hctxs[queue]!
    const tag = core.blk_mq_get_tag(hctx, cpu, reserved ? BLK_MQ_REQ_RESERVED : 0)
    if (tag >= 0) view.add(hctx + L.HC_NR_ACTIVE, 1)
    return tag
  }

  put(queue: number, cpu: number, tag: number): void {
    arena.core.blk_mq_put_tag(this.tags, cpu, tag)
    arena.view.add(this.hctxs[queue]! + L.HC_NR_ACTIVE, -1)
  }

  /** A queue begins to count among the users of the set, or does no more. */
  active(queue: number, on: boolean): void {
    const { view } = arena
    view.store(this.hctxs[queue]! + L.HC_STATE, on ? BLK_MQ_S_TAG_ACTIVE : 0)
    view.add(this.tags + L.TAGS_ACTIVE_QUEUES, on ? 1 : -1)
  }

  resize(depth: number): void {
    arena.core.sbitmap_queue_resize(this.tags + L.TAGS_BITMAP, depth)
  }

  get taken(): number {
    const { core } = arena
    const weight = (at: number): number => core.sbitmap_weight(this.tags + at)
    return weight(L.TAGS_BITMAP) + (this.#reserved ? weight(L.TAGS_BRESERVED) : 0)
  }
}

/** Who holds which tag. */
class Model {
  readonly shape: Shape
  readonly holder = new Map<number, number>()
  readonly active: boolean[]
  depth: number

  constructor(shape: Shape) {
    this.shape = shape
    this.depth = shape.depth
    this.active = Array<boolean>(shape.queues).fill(false)
  }

  /** Tags that may be given to a queue now. */
  choices(queue: number, reserved: boolean): number[] {
    const first = reserved ? 0 : this.shape.reserved
    const count = reserved ? this.shape.reserved : this.depth
    if (!reserved && !this.mayQueue(queue)) return []
    return Array.from({ length: count }, (_, i) => first + i).filter(t => !this.holder.has(t))
  }

  mayQueue(queue: number): boolean {
    if (this.shape.queues === 1 || !this.active[queue] || this.depth === 1) return true
    const users = this.active.filter(Boolean).length
    const held = [...this.holder.values()].filter(one => one === queue).length
    return held < Math.max(Math.ceil(this.depth / users), 4)
  }
}

type Step = (model: Model, real: Real) => void

const get = fc
  .record({ pick: fc.nat(99), cpu: fc.nat(CPUS - 1), reserved: fc.boolean(), n: fc.nat(12) })
  .map(
    ({ pick, cpu, reserved, n }): Step =>
      (model, real) => {
        const queue = pick % model.shape.queues
        for (let i = 0; i <= n; i++) {
          const choices = model.choices(queue, reserved)
          const tag = real.get(queue, cpu, reserved)
          if (choices.length === 0) {
            expect(tag).toBe(BLK_MQ_TAG_FAIL)
            return
          }
          expect(choices).toContain(tag)
          model.holder.set(tag, queue)
        }
      },
  )

const put = fc.record({ pick: fc.nat(999), cpu: fc.nat(CPUS - 1), n: fc.nat(12) }).map(
  ({ pick, cpu, n }): Step =>
    (model, real) => {
      for (let i = 0; i <= n && model.holder.size > 0; i++) {
        const [tag, queue] = [...model.holder][pick % model.holder.size]!
        real.put(queue, cpu, tag)
        model.holder.delete(tag)
      }
    },
)

const activity = fc.nat(99).map(
  (pick): Step =>
    (model, real) => {
      const queue = pick % model.shape.queues
      model.active[queue] = !model.active[queue]
      real.active(queue, model.active[queue]!)
    },
)

const resize = fc.nat(99).map(
  (pick): Step =>
    (model, real) => {
      model.depth = 1 + (pick % model.shape.depth)
      real.resize(model.depth)
    },
)

const SHAPE = fc.record({
  depth: fc.integer({ min: 1, max: 70 }),
  reserved: fc.nat(3),
  queues: fc.integer({ min: 1, max: 4 }),
})

describe('tag sets', () => {
  it('give what the plain model has to give, and no tag twice', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: get },
      { weight: 4, arbitrary: put },
      { weight: 2, arbitrary: activity },
      { weight: 1, arbitrary: resize },
    )
    fc.assert(
      fc.property(SHAPE, fc.array(step, { maxLength: 60 }), (shape, steps) => {
        const [model, real] = [new Model(shape), new Real(shape)]
        for (const act of steps) {
          act(model, real)
          const beyond = [...model.holder.keys()].filter(t => t >= shape.reserved + model.depth)
          expect(real.taken).toBe(model.holder.size - beyond.length)
        }
      }),
      seeded(150),
    )
  })
})
