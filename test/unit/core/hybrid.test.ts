// How long a poller sleeps: block/blk-mq.c of Linux 4.19, blk_mq_poll_hybrid_sleep with io_poll_delay 0.

import { beforeEach, describe, expect, it } from 'vitest'
import { Q_SIZE } from '../../../assembly/layout.js'
import { Arena } from './raw.js'

const arena = new Arena(2 ** 20)
const { core } = arena
const READ = 0
const WRITE = 1
const MS = 1e6
let q = 0

beforeEach(() => {
  arena.reset()
  q = arena.alloc(Q_SIZE)
})

/** So many reads of 4 KiB that took `took` ns, one a millisecond. */
function reads(count: number, took: number, from: number): void {
  for (let i = 0; i < count; i++) core.blk_stat_add(q, 6, took, from + i * MS)
}

const nsecs = (now: number): number => core.blk_mq_poll_nsecs(q, 4096, READ, now)

describe('hybrid polling', () => {
  it.each([
    [512, READ, 0],
    [512, WRITE, 1],
    [3000, READ, 4],
    [4096, WRITE, 7],
    [65536, READ, 14],
    [131072, READ, 14],
    [131072, WRITE, 15],
    [511, READ, -1],
    [511, WRITE, -1],
    [0, READ, -1],
  ])('blk-mq 20.12: %i bytes, direction %i: bucket %i', (bytes, write, bucket) => {
    expect(core.blk_mq_poll_stats_bkt(bytes, write)).toBe(bucket)
  })

  it('blk-mq 20.13: half of the mean, and 0 for the first poll ever', () => {
    expect(nsecs(1)).toBe(0)
    reads(3, 10_001, 1 * MS)
    expect(nsecs(50 * MS)).toBe(0)
    reads(1, 10_001, 102 * MS)
    expect(nsecs(103 * MS)).toBe(5001)
    expect(core.blk_mq_poll_nsecs(q, 4096, WRITE, 103 * MS)).toBe(0)
    expect(core.blk_mq_poll_nsecs(q, 8192, READ, 103 * MS)).toBe(0)
  })

  it('takes means over windows of 100 ms; a bucket without samples keeps its own', () => {
    reads(10, 1000, 0)
    reads(10, 3000, 50 * MS)
    reads(1, 9000, 100 * MS)
    expect(nsecs(100 * MS)).toBe(1000)
    core.blk_stat_add(q, 7, 500, 201 * MS)
    expect(nsecs(201 * MS)).toBe(4500)
    core.blk_stat_add(q, 7, 500, 302 * MS)
    expect(nsecs(302 * MS)).toBe(4500)
    expect(core.blk_mq_poll_nsecs(q, 4096, WRITE, 302 * MS)).toBe(250)
  })

  it('does not count what is smaller than a sector', () => {
    core.blk_stat_add(q, core.blk_mq_poll_stats_bkt(511, READ), 1000, 0)
    reads(1, 8000, 101 * MS)
    reads(1, 8000, 202 * MS)
    expect(core.blk_mq_poll_nsecs(q, 511, READ, 203 * MS)).toBe(0)
    expect(core.blk_mq_poll_nsecs(q, 512, READ, 203 * MS)).toBe(0)
    expect(nsecs(203 * MS)).toBe(4000)
  })
})
