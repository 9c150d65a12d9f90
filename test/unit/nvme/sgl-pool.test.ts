// Buffers of the target: what is handed out never overlaps, and nothing gets lost, whatever is taken and given back.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { sgl_pool } from '../../../src/drivers/nvme/target/sgl-pool.js'

const PAGE = 4096
const BASE = 64 * PAGE
const BYTES = 256 * PAGE

interface Buffer {
  readonly at: number
  readonly bytes: number
}

/** Whether a buffer is inside of the pool and touches none of the others. */
function fits(pool: sgl_pool, { at, bytes }: Buffer, others: readonly Buffer[]): boolean {
  const end = at + pool.rounded(bytes)
  if (at < BASE || end > BASE + BYTES || at % PAGE !== 0) return false
  return others.every(other => end <= other.at || other.at + pool.rounded(other.bytes) <= at)
}

const STEPS = fc.array(fc.record({ take: fc.nat(64 * PAGE), put: fc.nat(), keeps: fc.boolean() }), {
  maxLength: 400,
})

it('buffers do not overlap, and the whole pool is one buffer again when all are back', () => {
  fc.assert(
    fc.property(STEPS, steps => {
      const pool = new sgl_pool(BASE, BYTES)
      const held: Buffer[] = []
      for (const { take, put, keeps } of steps) {
        const at = pool.alloc(take + 1)
        const buffer = { at, bytes: take + 1 }
        if (at !== 0) {
          expect(fits(pool, buffer, held)).toBe(true)
          held.push(buffer)
        }
        if (keeps || held.length === 0) continue
        const [back] = held.splice(put % held.length, 1)
        pool.free(back!.at, back!.bytes)
      }
      for (const { at, bytes } of held) pool.free(at, bytes)
      expect(pool.used).toBe(0)
      expect(pool.alloc(BYTES)).toBe(BASE)
    }),
    { numRuns: 50 },
  )
})

it('every page can be had one by one, and a buffer of two of them after two neighbours came back', () => {
  const pool = new sgl_pool(BASE, BYTES)
  const pages = Array.from({ length: BYTES / PAGE }, () => pool.alloc(1))
  expect(new Set(pages).size).toBe(BYTES / PAGE)
  expect(pages).not.toContain(0)
  expect(pool.alloc(1)).toBe(0)
  pool.free(BASE + 2 * PAGE, 1)
  pool.free(BASE + 3 * PAGE, 1)
  expect(pool.alloc(2 * PAGE)).toBe(BASE + 2 * PAGE)
  expect(pool.used).toBe(BYTES)
})

it('what a buffer takes is a power of two of pages', () => {
  const pool = new sgl_pool(BASE, BYTES)
  const sizes = [0, 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE, 64 * PAGE]
  expect(sizes.map(bytes => pool.rounded(bytes) / PAGE)).toEqual([1, 1, 1, 2, 2, 4, 4, 8, 64])
})
