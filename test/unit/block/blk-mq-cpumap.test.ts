import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blk_mq_map_queues } from '../../../src/block/blk-mq-cpumap.js'

function mapOf(cpus: number, queues: number, siblings?: number[]): number[] {
  const map = new Uint32Array(cpus)
  blk_mq_map_queues(map, queues, siblings)
  return [...map]
}

describe('blk_mq_map_queues', () => {
  it('blk-mq 20.1: 8 CPUs, 4 queues, siblings (i, i + 4)', () => {
    expect(mapOf(8, 4, [0, 1, 2, 3, 0, 1, 2, 3])).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })

  it('blk-mq 20.2: 8 CPUs, 4 queues, siblings (2i, 2i + 1)', () => {
    expect(mapOf(8, 4, [0, 0, 2, 2, 4, 4, 6, 6])).toEqual([0, 1, 2, 3, 0, 0, 2, 2])
  })

  it('blk-mq 20.3: 8 CPUs, 3 queues, no SMT', () => {
    expect(mapOf(8, 3)).toEqual([0, 1, 2, 0, 1, 2, 0, 1])
  })

  it('blk-mq 20.4: 8 CPUs, 5 queues, siblings (i, i + 4)', () => {
    expect(mapOf(8, 5, [0, 1, 2, 3, 0, 1, 2, 3])).toEqual([0, 1, 2, 3, 4, 1, 2, 3])
  })

  it('gives every CPU its own queue when there are as many', () => {
    expect(mapOf(4, 4)).toEqual([0, 1, 2, 3])
  })

  it('maps to existing queues, uses each of them, and keeps siblings together above nr_queues', () => {
    const machine = fc.tuple(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 64 }))
    fc.assert(
      fc.property(machine, fc.constantFrom(1, 2, 4), ([cpus, wanted], threads) => {
        const queues = Math.min(cpus, wanted)
        const siblings = Array.from({ length: cpus }, (_, cpu) => cpu - (cpu % threads))
        const map = mapOf(cpus, queues, siblings)
        expect(new Set(map).size).toBe(queues)
        expect(Math.max(...map)).toBe(queues - 1)
        for (let cpu = queues; cpu < cpus; cpu++) {
          const first = siblings[cpu]!
          expect(map[cpu]).toBe(first === cpu ? cpu % queues : map[first])
        }
      }),
    )
  })
})
