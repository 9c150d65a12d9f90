// Trace rings that keep the last records, written by TypeScript's half.

import { describe, expect, test } from 'vitest'
import { View } from '../../../src/core/view.js'
import type { TraceContext } from '../../../src/kernel/trace.js'
import { TraceRings, type TraceRingOptions } from '../../../src/machine/trace-ring.js'

const RECORDS = 8 // for each CPU
const CPUS = [0x4000, 0x4800]
const RINGS = 0x6000

function make(options: TraceRingOptions): { rings: TraceRings; ctx: TraceContext } {
  const rings = new TraceRings(
    new View(new SharedArrayBuffer(2 ** 17)),
    CPUS,
    RINGS,
    RECORDS,
    options,
  )
  rings.on = true
  return { rings, ctx: { id: 7, name: 'a', kind: 'task', depth: 3 } }
}

describe('trace rings', () => {
  test('keep the first records, and count what found no room', () => {
    const { rings, ctx } = make({})
    for (let i = 0; i < 19; i++) rings.event('e', { i }, ctx, i % 2, i)
    expect(rings.drain().map(entry => entry.fields)).toEqual(
      Array.from({ length: 16 }, (_, i) => ({ i })),
    )
    expect(rings.drops).toBe(3)
    rings.event('e', { i: 19 }, ctx, 0, 19)
    expect(rings.drain()).toMatchObject([{ fields: { i: 19 }, time: 19, cpu: 0 }])
  })

  test('or the last ones, and count what made room', () => {
    const { rings, ctx } = make({ last: true })
    for (let i = 0; i < 100; i++) {
      rings.event('e', { i }, ctx, 0, i)
      if (i % 30 === 0) rings.count()
    }
    const entries = rings.drain()
    expect(entries.map(entry => entry.fields)).toEqual(
      Array.from({ length: 16 }, (_, i) => ({ i: 84 + i })),
    )
    expect(rings.lost).toBe(84)
    expect(rings.drops).toBe(0)
  })

  test('CPUs of one thread: what happens at one time stays in its order', () => {
    const { rings, ctx } = make({})
    const cpus = [1, 0, 0, 1, 0, 1, 1, 0]
    cpus.forEach((cpu, i) => {
      if (i % 3 === 0) rings.enter(i, `f${i}`, { ...ctx, id: cpu + 1, depth: i }, cpu, 5)
      else rings.event('e', { i }, ctx, cpu, 5)
    })
    expect(rings.drain()).toMatchObject(
      cpus.map((cpu, i) => ({
        time: 5,
        cpu,
        ...(i % 3 === 0 ? { name: `f${i}`, depth: i } : { fields: { i } }),
      })),
    )
  })

  test('CPUs that are threads: nothing of one is older than what another one has kept', () => {
    const { rings, ctx } = make({ last: true, shared: true })
    for (let i = 0; i < 4; i++) rings.event('quiet', { i }, ctx, 1, i)
    for (let i = 4; i < 20; i++) rings.event('busy', { i }, ctx, 0, i)
    rings.event('quiet', { i: 20 }, ctx, 1, 20)
    const entries = rings.drain()
    expect(entries.map(entry => entry.time)).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20])
    expect(entries.length + rings.lost).toBe(21)
  })

  test('have tracepoints alone where functions are not asked for', () => {
    const { rings, ctx } = make({ last: true, events: true })
    rings.enter(0, 'f', ctx, 0, 1)
    rings.event('e', { n: 1 }, ctx, 0, 2)
    expect(rings.drain().map(entry => entry.name)).toEqual(['e'])
  })

  test('a record has its time, context and depth whole', () => {
    const { rings, ctx } = make({})
    const time = 2 ** 47 + 12345
    rings.enter(4, 'blk_mq_get_tag', { ...ctx, id: 70_000, depth: 200 }, 1, time)
    expect(rings.drain()).toEqual([
      { kind: 'enter', name: 'blk_mq_get_tag', time, cpu: 1, ctx: 70_000, depth: 200 },
    ])
  })
})
