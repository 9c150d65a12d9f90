// Scalable bitmaps and tags: the numbered statements of sbitmap-tags 9, and the tables before them. What belongs to
// kyber is tested as far as a bitmap goes; blocking allocation is the jobs' (tags.test.ts).

import { beforeEach, describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import {
  BLK_MQ_F_TAG_SHARED,
  BLK_MQ_S_TAG_ACTIVE,
  BLK_MQ_REQ_INTERNAL,
  BLK_MQ_REQ_RESERVED,
  BLK_MQ_TAG_FAIL,
} from '../../../assembly/nvme.js'
import { Arena, Sbq, type SbqShape } from './raw.js'

const arena = new Arena(2 ** 22)
beforeEach(() => arena.reset())

function make(shape: SbqShape): Sbq {
  return new Sbq(arena, shape)
}

/** Numbers got one after another until the map is full, with the hint after each. */
function drain(sbq: Sbq, get: () => number = () => sbq.get()): { got: number[]; hints: number[] } {
  const got: number[] = []
  const hints: number[] = []
  do {
    got.push(get())
    hints.push(sbq.hint())
  } while (got.at(-1)! >= 0)
  return { got, hints }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

describe('shape', () => {
  it.each([
    // depth, shift, words, bits in the last word
    [0, 6, 0, 0],
    [1, 6, 1, 1],
    [2, 6, 1, 2],
    [3, 6, 1, 3],
    [4, 0, 4, 1],
    [7, 0, 7, 1],
    [8, 1, 4, 2],
    [16, 2, 4, 4],
    [30, 2, 8, 2],
    [31, 2, 8, 3],
    [32, 3, 4, 8],
    [62, 3, 8, 6],
    [63, 3, 8, 7],
    [64, 4, 4, 16],
    [100, 4, 7, 4],
    [127, 4, 8, 15],
    [128, 5, 4, 32],
    [255, 5, 8, 31],
    [256, 6, 4, 64],
    [1000, 6, 16, 40],
    [1023, 6, 16, 63],
    [1024, 6, 16, 64],
    [10240, 6, 160, 64],
  ])('of depth %d: shift %d, %d words, the last of %d bits', (depth, shift, words, last) => {
    const sbq = make({ depth })
    expect([sbq.shift, sbq.words, sbq.wordDepths.at(-1) ?? 0]).toEqual([shift, words, last])
    expect(sbq.wordDepths.reduce((a, b) => a + b, 0)).toBe(depth)
  })

  it('refuses a shift above 6', () => {
    expect(make({ depth: 128, shift: 7 }).initialized).toBe(-22)
    expect(make({ depth: 128, shift: 6 }).initialized).toBe(0)
  })

  it('has nothing to give at depth 0', () => {
    const sbq = make({ depth: 0, seed: 5 })
    expect([sbq.get(), sbq.hint(), sbq.anySet(), sbq.anyClear()]).toEqual([-1, 0, false, false])
  })

  it('draws the first hints below depth from the seed, and 0 without one or in strict order', () => {
    const hints = (shape: Partial<SbqShape>): number[] => {
      const sbq = make({ depth: 100, cpus: 16, ...shape })
      return range(0, 16).map(cpu => sbq.hint(cpu))
    }
    expect(hints({ seed: 9 })).toEqual(hints({ seed: 9 }))
    expect(hints({ seed: 9 })).not.toEqual(hints({ seed: 10 }))
    expect(new Set(hints({ seed: 9 })).size).toBeGreaterThan(8)
    expect(Math.max(...hints({ seed: 9 }))).toBeLessThan(100)
    expect(hints({})).toEqual(range(0, 16).map(() => 0))
    expect(hints({ seed: 9, roundRobin: true })).toEqual(range(0, 16).map(() => 0))
  })
})

describe('wake batch', () => {
  it('sbitmap-tags 9.1: depth 128 has 4 words and a batch of 8, whatever the number of CPUs', () => {
    for (const cpus of [1, 8, 64]) {
      const sbq = make({ depth: 128, cpus })
      expect([sbq.shift, sbq.words, sbq.wakeBatch]).toEqual([5, 4, 8])
    }
  })

  it('sbitmap-tags 9.2: follows the depth', () => {
    const batch = (depth: number): number => make({ depth }).wakeBatch
    for (const depth of [1, 2, 3, 4, 7, 8, 15]) expect(batch(depth)).toBe(1)
    expect([16, 31, 32, 62, 63, 64, 100, 1000].map(batch)).toEqual([2, 3, 4, 7, 7, 8, 8, 8])
    for (const depth of [1, 16, 64]) {
      const sbq = make({ depth })
      expect(sbq.waitCounts).toEqual(Array(8).fill(sbq.wakeBatch))
    }
  })

  it.each([
    ['sbitmap-tags 9.10', 32, 6, 4, 3, 1],
    ['sbitmap-tags 9.11', 62, 6, 7, 6, 1],
    ['sbitmap-tags 9.12', 128, 24, 8, 8, 8],
  ])(
    '%s: depth %d with shallow depth %d: batch %d becomes %d',
    (_, depth, shallow, before, after, count) => {
      const sbq = make({ depth })
      expect(sbq.wakeBatch).toBe(before)
      sbq.minShallow(shallow)
      expect(sbq.wakeBatch).toBe(after)
      expect(sbq.waitCounts).toEqual(Array(8).fill(count))
    },
  )

  it('sbitmap-tags 9.13: resizing keeps the shift; a batch that changes sets every counter to 1', () => {
    const sbq = make({ depth: 64 })
    sbq.resize(32)
    expect([sbq.shift, sbq.words, sbq.wakeBatch]).toEqual([4, 2, 4])
    expect(sbq.waitCounts).toEqual(Array(8).fill(1))
    sbq.resize(16)
    expect([sbq.shift, sbq.words, sbq.wakeBatch]).toEqual([4, 1, 2])
    sbq.resize(64)
    expect([sbq.words, sbq.wakeBatch]).toEqual([4, 8])
  })

  it('sbitmap-tags 9.20: the token maps of kyber at queue depth 64', () => {
    for (const [depth, words] of [
      [256, 4],
      [128, 2],
      [64, 1],
    ] as const) {
      const sbq = make({ depth: 256 })
      sbq.resize(depth)
      expect([sbq.shift, sbq.words, sbq.wakeBatch]).toEqual([6, words, 8])
    }
  })
})

describe('allocation', () => {
  it('sbitmap-tags 9.3: depth 8 from hint 5', () => {
    const sbq = make({ depth: 8 })
    sbq.setHint(5)
    const { got, hints } = drain(sbq)
    expect(got).toEqual([5, 6, 0, 1, 2, 3, 4, 7, -1])
    expect(hints).toEqual([6, 0, 1, 2, 3, 4, 5, 5, 0])
  })

  it('sbitmap-tags 9.4: depth 16 from hint 6', () => {
    const sbq = make({ depth: 16 })
    sbq.setHint(6)
    const { got, hints } = drain(sbq)
    expect(got).toEqual([...range(6, 15), ...range(0, 6), 15, -1])
    expect([hints[8], hints[15], hints[16]]).toEqual([0, 6, 0])
  })

  it('sbitmap-tags 9.5: depth 16 in strict order', () => {
    const sbq = make({ depth: 16, roundRobin: true })
    const { got, hints } = drain(sbq)
    expect(got).toEqual([...range(0, 16), -1])
    expect([hints[14], hints[15]]).toEqual([0, 0])
  })

  it('sbitmap-tags 9.6: in strict order the bits below the hint in its word are not searched', () => {
    const allBut2 = (roundRobin: boolean): Sbq => {
      const sbq = make({ depth: 8, roundRobin })
      drain(sbq)
      sbq.clear(2)
      sbq.setHint(3)
      return sbq
    }
    const strict = allBut2(true)
    expect([strict.get(), strict.hint(), strict.get(), strict.hint()]).toEqual([-1, 0, 2, 3])
    const hinted = allBut2(false)
    expect([hinted.get(), hinted.hint()]).toEqual([2, 3])
  })

  it('sbitmap-tags 9.7: depth 8 in strict order from hint 3', () => {
    const sbq = make({ depth: 8, roundRobin: true })
    sbq.setHint(3)
    expect(drain(sbq).got).toEqual([3, 4, 5, 6, 0, 1, 2, 7, -1])
  })

  it('sbitmap-tags 9.8: shallow depth 2 on depth 16', () => {
    const sbq = make({ depth: 16 })
    sbq.minShallow(2)
    expect(sbq.wakeBatch).toBe(1)
    const { got } = drain(sbq, () => sbq.getShallow(2))
    expect(got).toEqual([0, 1, 4, 5, 8, 9, 12, 13, -1])
    expect([sbq.get(), sbq.weight]).toEqual([2, 9])
  })

  it('sbitmap-tags 9.9: the bit that was freed is the next one (last in, first out)', () => {
    const sbq = make({ depth: 64 })
    sbq.setHint(10)
    expect([sbq.get(), sbq.hint()]).toEqual([10, 11])
    sbq.clear(10)
    expect([sbq.hint(), sbq.get()]).toEqual([10, 10])
  })

  it('frees on behalf of the CPU that took the bit', () => {
    const sbq = make({ depth: 64, cpus: 2 })
    const nr = sbq.get(1)
    sbq.setHint(30, 0)
    sbq.clear(nr, 1)
    expect([sbq.hint(0), sbq.hint(1)]).toEqual([30, nr])
  })

  it('leaves the hints alone in strict order', () => {
    const sbq = make({ depth: 64, roundRobin: true })
    for (let i = 0; i < 5; i++) sbq.get()
    sbq.clear(1)
    expect(sbq.hint()).toBe(5)
  })

  it('after a shrink draws a new hint, clears bits beyond the depth, and takes no hint from them', () => {
    const sbq = make({ depth: 64, seed: 77 })
    drain(sbq)
    sbq.resize(20)
    sbq.clear(50)
    expect(sbq.hint()).toBe(0)
    sbq.setHint(63)
    expect(sbq.get()).toBe(-1)
    for (const nr of range(0, 20)) sbq.clear(nr)
    sbq.setHint(40)
    const nr = sbq.get()
    expect(nr).toBeLessThan(20)
    expect(nr).toBeGreaterThanOrEqual(0)
    sbq.resize(64)
    expect(sbq.weight).toBe(44)
  })

  it('says whether a bit was set', () => {
    const sbq = make({ depth: 200 })
    expect(sbq.clear(130)).toBe(false)
    sbq.setHint(130)
    expect([sbq.get(), sbq.anySet(), sbq.clear(130), sbq.anySet()]).toEqual([
      130,
      true,
      true,
      false,
    ])
  })

  it('two CPUs with one hint: the second takes the next bit and keeps its hint', () => {
    const sbq = make({ depth: 64, cpus: 2, shared: true })
    sbq.setHint(8, 0)
    sbq.setHint(8, 1)
    expect([sbq.get(0), sbq.get(1), sbq.hint(0), sbq.hint(1)]).toEqual([8, 9, 9, 8])
  })
})

describe('waking', () => {
  const woken = (list: readonly { woken: boolean }[]): number => list.filter(w => w.woken).length

  it('sbitmap-tags 9.14: ten waiters on ws0 and three on ws1, batch 8', () => {
    const sbq = make({ depth: 64 })
    drain(sbq)
    const a = range(0, 10).map(() => sbq.wait(0))
    const b = range(0, 3).map(() => sbq.wait(1))
    const states = range(0, 32).map(nr => {
      sbq.clear(nr)
      return [woken(a), woken(b), sbq.wakeIndex, sbq.waitCounts[0]]
    })
    for (const state of states.slice(0, 7)) expect(state.slice(0, 3)).toEqual([0, 0, 0])
    expect(states[7]).toEqual([8, 0, 1, 8])
    expect(states[15]).toEqual([8, 3, 2, 8])
    expect(states[16]).toEqual([8, 3, 0, 7])
    expect(states[23]).toEqual([10, 3, 1, 8])
    for (const state of states.slice(24)) expect(state).toEqual(states[23])
    expect(a.map(w => w.wakes)).toEqual(Array(10).fill(1))
    expect(sbq.sleepers).toBe(0)
  })

  it('sbitmap-tags 9.15: one waiter on ws3', () => {
    const sbq = make({ depth: 64 })
    drain(sbq)
    const waiter = sbq.wait(3)
    sbq.clear(0)
    expect([sbq.wakeIndex, waiter.woken]).toEqual([3, false])
    for (const nr of range(1, 7)) sbq.clear(nr)
    expect(waiter.woken).toBe(false)
    sbq.clear(7)
    expect([waiter.woken, sbq.wakeIndex]).toEqual([true, 4])
  })

  it('wakes the oldest first, one for each free, at depth 1 to 7', () => {
    for (const depth of [1, 2, 7]) {
      const sbq = make({ depth })
      drain(sbq)
      const list = [sbq.wait(0), sbq.wait(0)]
      sbq.clear(0)
      expect(list.map(w => w.woken)).toEqual([true, false])
    }
  })

  it('does not count frees while nobody waits', () => {
    const sbq = make({ depth: 64 })
    drain(sbq)
    for (const nr of range(0, 20)) sbq.clear(nr)
    expect(sbq.waitCounts).toEqual(Array(8).fill(8))
  })

  it('sends successive sleepers to ws 0 to 7 in turn', () => {
    const sbq = make({ depth: 64 })
    expect(range(0, 10).map(() => sbq.nextWs())).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 0, 1])
  })

  it('wakes those that are not exclusive in addition', () => {
    const sbq = make({ depth: 16 })
    drain(sbq)
    const list = [true, false, true, false, true].map(exclusive => sbq.wait(0, exclusive))
    sbq.clear(0)
    sbq.clear(1)
    expect(list.map(w => w.woken)).toEqual([true, true, true, false, false])
  })

  it('wakes one on each queue for everybody (wake_all), and leaves the counters', () => {
    const sbq = make({ depth: 64 })
    drain(sbq)
    const list = [0, 0, 5].map(i => sbq.wait(i))
    sbq.wakeAll()
    expect(list.map(w => w.woken)).toEqual([true, false, true])
    expect(sbq.waitCounts).toEqual(Array(8).fill(8))
  })

  it('forgets a waiter that found a bit by itself', () => {
    const sbq = make({ depth: 4 })
    drain(sbq)
    const [a, b, c] = [sbq.wait(2), sbq.wait(2), sbq.wait(2)]
    sbq.finish(b!)
    expect(sbq.waiting(2)).toEqual([a!.at, c!.at])
    sbq.finish(b!)
    sbq.finish(a!)
    sbq.finish(c!)
    expect([sbq.waiting(2), sbq.sleepers]).toEqual([[], 0])
  })
})

describe('tags', () => {
  /** A hardware queue with tags of its own, without anything else. */
  function tagSet(depth: number, reserved: number): { hctx: number; tags: number } {
    const { view, core } = arena
    const hctx = arena.alloc(L.HC_SIZE)
    const tags = arena.alloc(L.TAGS_SIZE)
    view.setU32(hctx + L.HC_TAGS, tags)
    view.setU32(tags + L.TAGS_NR, depth)
    view.setU32(tags + L.TAGS_RESERVED, reserved)
    for (const [at, bits] of [
      [L.TAGS_BITMAP, depth - reserved],
      [L.TAGS_BRESERVED, reserved],
    ] as const) {
      const map = arena.alloc(core.sbitmap_words(bits, -1) * L.SBW_SIZE)
      const hints = arena.alloc(L.SBQ_HINT_SIZE)
      core.sbitmap_queue_init_node(tags + at, bits, -1, 0, map, hints, 1, 0, 0)
    }
    return { hctx, tags }
  }

  it('sbitmap-tags 9.16: reserved tags come first, and have a bitmap of their own', () => {
    const { hctx, tags } = tagSet(32, 2)
    const field = (bitmap: number, offset: number): number => arena.view.u32(tags + bitmap + offset)
    const shape = (bitmap: number): number[] =>
      [L.SBQ_DEPTH, L.SBQ_SHIFT, L.SBQ_MAP_NR, L.SBQ_WAKE_BATCH].map(f => field(bitmap, f))
    expect(shape(L.TAGS_BITMAP)).toEqual([30, 2, 8, 3])
    expect(shape(L.TAGS_BRESERVED)).toEqual([2, 6, 1, 1])
    const get = (flags: number) => arena.core.blk_mq_get_tag(hctx, 0, flags)
    expect([get(2), get(2), get(2)]).toEqual([0, 1, BLK_MQ_TAG_FAIL])
    expect(range(0, 31).map(() => get(0))).toEqual([...range(2, 32), BLK_MQ_TAG_FAIL])
    for (const tag of [1, 17]) arena.core.blk_mq_put_tag(tags, 0, tag)
    expect([get(BLK_MQ_REQ_RESERVED), get(0)]).toEqual([1, 17])
  })

  it('sbitmap-tags 9.17: none without reserved tags, none in a full map, and nobody waits', () => {
    const { hctx, tags } = tagSet(4, 0)
    expect(arena.core.blk_mq_get_tag(hctx, 0, BLK_MQ_REQ_RESERVED) >>> 0).toBe(0xffffffff)
    for (const tag of range(0, 4)) expect(arena.core.blk_mq_get_tag(hctx, 0, 0)).toBe(tag)
    expect(arena.core.blk_mq_get_tag(hctx, 0, 0) >>> 0).toBe(0xffffffff)
    expect(arena.view.u32(tags + L.TAGS_BITMAP + L.SBQ_WAITERS)).toBe(0)
  })

  it('takes scheduler tags from their own set', () => {
    const { hctx } = tagSet(4, 0)
    const sched = tagSet(8, 0)
    arena.view.setU32(hctx + L.HC_SCHED_TAGS, sched.tags)
    const got = range(0, 9).map(() => arena.core.blk_mq_get_tag(hctx, 0, BLK_MQ_REQ_INTERNAL))
    expect(got).toEqual([...range(0, 8), -1])
    expect(arena.core.blk_mq_get_tag(hctx, 0, 0)).toBe(0)
  })

  it('blk-mq 20.10, blk-mq 20.11: a fair share for each user of a shared set', () => {
    const share = (depth: number, users: number): number => {
      const { hctx, tags } = tagSet(depth, 0)
      arena.view.setU32(hctx + L.HC_FLAGS, BLK_MQ_F_TAG_SHARED)
      arena.view.setU32(hctx + L.HC_STATE, BLK_MQ_S_TAG_ACTIVE)
      arena.view.setU32(tags + L.TAGS_ACTIVE_QUEUES, users)
      let n = 0
      for (; n < depth + 1; n++) {
        arena.view.setU32(hctx + L.HC_NR_ACTIVE, n)
        if (!arena.core.hctx_may_queue(hctx, tags + L.TAGS_BITMAP)) break
      }
      return n
    }
    expect([1, 2, 3, 16, 32].map(users => share(64, users))).toEqual([64, 32, 22, 4, 4])
    expect(share(1, 9)).toBe(2)
    expect(share(64, 0)).toBe(65)
  })

  it.each([
    ['outside of its map', 32, 1],
    ['that is free', 5, 2],
  ])('stops the machine when a tag %s is freed', (_, tag, code) => {
    const { tags } = tagSet(32, 0)
    expect(() => arena.core.blk_mq_put_tag(tags, 0, tag)).toThrow(WebAssembly.RuntimeError)
    expect(arena.view.u32(L.M_BASE + L.M_TRAP)).toBe(code)
  })
})
