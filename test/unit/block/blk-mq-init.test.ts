// Tag sets and the life of a request queue: blk-mq, section 20.

import { describe, expect, test } from 'vitest'
import {
  blk_cleanup_queue,
  blk_mq_alloc_tag_set,
  blk_mq_free_tag_set,
  type blk_mq_tag_set,
} from '../../../src/block/blk-mq-init.js'
import {
  CPU_PLUG_COUNT,
  HC_DISPATCH_BUSY,
  SBQ_DEPTH,
  TAGS_BITMAP,
  TAGS_NR,
} from '../../../assembly/layout.js'
import { blk_finish_plug, blk_start_plug } from '../../../src/block/bio.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { EINVAL, ENOMEM } from '../../../src/kernel/errno.js'
import { Hosted } from './hosted.js'

const ONE = 'null_blk,gb=1,no_sched=1,irqmode=2,completion_nsec=1000000'

function set(h: Hosted, rest: Partial<blk_mq_tag_set>): blk_mq_tag_set {
  const { blk, at, ops } = h.q
  const tags = { mq_map: new Uint32Array(0), tags: [] }
  return { blk, at, ops, nr_hw_queues: 1, queue_depth: 64, reserved_tags: 0, ...tags, ...rest }
}

describe('blk_mq_alloc_tag_set', () => {
  test('blk-mq 20.5: 16 queues on 4 CPUs become 4; none is refused', () => {
    const h = new Hosted(`${ONE},submit_queues=4`, 4)
    const many = set(h, { nr_hw_queues: 16 })
    expect(blk_mq_alloc_tag_set(many)).toBe(0)
    expect(many.nr_hw_queues).toBe(4)
    expect([...many.mq_map]).toEqual([0, 1, 2, 3])
    expect(many.tags).toEqual(h.machine.disks[0]!.queues.map(queue => queue.tags))
    blk_mq_free_tag_set(many)
    expect(many.tags).toEqual([])
    expect(blk_mq_alloc_tag_set(set(h, { nr_hw_queues: 0 }))).toBe(-EINVAL)
  })

  test('blk-mq 20.6: depth 20000 becomes 10240, 2 with 2 reserved is refused', () => {
    const h = new Hosted(ONE, 1, null, 250, {}, 2 ** 23)
    // tags of its own, in the kernel's memory
    const { at: _, ...deep } = set(h, { queue_depth: 20000 })
    expect(blk_mq_alloc_tag_set(deep)).toBe(0)
    expect(deep.queue_depth).toBe(10240)
    const { view } = h.machine
    expect(view.u32(deep.tags[0]! + TAGS_NR)).toBe(10240)
    expect(view.u32(deep.tags[0]! + TAGS_BITMAP + SBQ_DEPTH)).toBe(10240)
    expect(blk_mq_alloc_tag_set(set(h, { queue_depth: 2, reserved_tags: 2 }))).toBe(-EINVAL)
    expect(blk_mq_alloc_tag_set(set(h, { queue_depth: 3, reserved_tags: 2 }))).toBe(0)
  })

  test('blk-mq 12: without room the depth is halved until it fits, or no more than what is reserved', () => {
    const h = new Hosted(ONE)
    const deep = set(h, { queue_depth: 20000 })
    expect(blk_mq_alloc_tag_set(deep)).toBe(0)
    // 10240, then halved until it fits into the 64 tags that were planned
    expect(deep.queue_depth).toBe(40)
    expect(blk_mq_alloc_tag_set(set(h, { queue_depth: 0 }))).toBe(-EINVAL)
    expect(blk_mq_alloc_tag_set(set(h, { queue_depth: 200, reserved_tags: 100 }))).toBe(-ENOMEM)
  })
})

test('blk_cleanup_queue: waits for what is in flight, and leaves no timer and no work behind', async () => {
  const h = new Hosted(ONE)
  const read = h.task(10, 0, function* () {
    yield* blkdev_read_iter(h.io(1))
  })
  const end = h.task(10, 1, function* () {
    yield* blk_cleanup_queue(h.q)
  })
  await h.until(20)
  expect(read.ended).not.toBeNull()
  expect(end.ended).toBeGreaterThanOrEqual(read.ended!)
  expect(h.machine.host!.blk.queues.size).toBe(0)
  expect(h.k.nextDeadline()).toBe(Number.POSITIVE_INFINITY)
})

describe('plugs', () => {
  interface Plugged {
    /** Requests plugged after each of the reads. */
    readonly counts: number[]
    /** Requests that left the plug together, and how many reads had been submitted then. */
    readonly unplugs: (readonly [requests: number, reads: number])[]
  }

  async function plugged(
    reads: number,
    bytes: number,
    device: string = `${ONE},hw_queue_depth=64`,
  ): Promise<Plugged> {
    const h = new Hosted(device)
    const counts: number[] = []
    let left = reads
    h.record(true)
    h.task(10, 0, function* () {
      blk_start_plug(h.q.blk)
      for (let n = 0; n < reads; n++) {
        const io = h.io(100 * n, false, { bytes, done: () => void left-- })
        yield* blkdev_read_iter(io)
        counts.push(h.machine.view.u32(h.machine.cpuAddress(0) + CPU_PLUG_COUNT))
      }
      blk_finish_plug(h.q.blk)
    })
    await h.until(30)
    h.record(false)
    expect(left).toBe(0)
    const names = h.rings.drain()
    const before = (at: number): number =>
      names.slice(0, at).filter(entry => entry.name === 'submit_bio').length
    const unplugs = names.flatMap((entry, at) =>
      entry.name === 'block_unplug' ? [[entry.bytes!, before(at)] as const] : [],
    )
    return { counts, unplugs }
  }

  test('blk-mq 20.14: the 17th request flushes the sixteen before it', async () => {
    const { counts, unplugs } = await plugged(18, 4096)
    expect(counts).toEqual([...Array.from({ length: 16 }, (_, i) => i + 1), 1, 2])
    expect(unplugs).toEqual([
      [16, 17],
      [2, 18],
    ])
  })

  test('blk-mq 20.15: behind a request of 128 KiB the next one flushes first', async () => {
    const device = 'nvme,size=64M,queues=1,depth=64,sched=none'
    const large = await plugged(4, 128 * 1024, device)
    expect(large.counts).toEqual([1, 1, 1, 1])
    expect(large.unplugs).toEqual([2, 3, 4, 4].map(reads => [1, reads]))
    const half = await plugged(4, 64 * 1024, device)
    expect(half.counts).toEqual([1, 2, 3, 4])
    expect(half.unplugs).toEqual([[4, 4]])
  })

  test('requests below 128 KiB stay plugged', async () => {
    expect((await plugged(3, 124 * 1024)).counts).toEqual([1, 2, 3])
  })
})

test('blk-mq 20.8: the running mean of "busy"', () => {
  const h = new Hosted(ONE)
  const { core, view } = h.machine
  const { at } = h.q.queue_hw_ctx[0]!
  const feed = (busy: number, times: number): number[] =>
    Array.from({ length: times }, () => {
      core.blk_mq_update_dispatch_busy(at, busy)
      return view.u32(at + HC_DISPATCH_BUSY)
    })
  expect(feed(1, 9)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 9])
  expect(feed(0, 8)).toEqual([7, 6, 5, 4, 3, 2, 1, 0])
})
