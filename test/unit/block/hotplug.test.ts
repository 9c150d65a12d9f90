// CPUs that go, and tags that several disks share, on an emulated kernel.

import { describe, expect, test } from 'vitest'
import {
  HC_DISPATCH_HEAD,
  HC_STATE,
  HC_TAGS,
  Q_CTXS,
  CTX_HEAD,
  CTX_SIZE,
  TAGS_ACTIVE_QUEUES,
} from '../../../assembly/layout.js'
import { BLK_MQ_S_TAG_ACTIVE } from '../../../assembly/nvme.js'
import {
  __blk_mq_insert_request,
  blk_mq_hctx_next_cpu,
  blk_mq_quiesce_queue,
  blk_mq_unquiesce_queue,
  take_dispatch,
} from '../../../src/block/blk-mq.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from '../../../src/block/blk-mq-freeze.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { cpu_down, cpu_up } from '../../../src/kernel/cpu.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import { Hosted } from './hosted.js'

const FOUR = 'null_blk,gb=1,no_sched=1,submit_queues=2,irqmode=2,completion_nsec=1000000'

describe('a CPU goes', () => {
  test('blk-mq 18: what waits on its software queue goes to the dispatch list of the queue made last, and is issued', async () => {
    const h = new Hosted(FOUR, 4)
    const { view } = h.machine
    const [first, last] = h.q.queue_hw_ctx
    const ctx = view.u32(h.q.at + Q_CTXS) + 2 * CTX_SIZE
    let down = -1
    h.task(10, 0, function* () {
      yield* blk_mq_quiesce_queue(h.q)
    })
    const reads = [1, 2, 3].map(n =>
      h.task(10 + n, 2, function* () {
        yield* blkdev_read_iter(h.io(n))
      }),
    )
    h.task(20, 0, function* () {
      for (const rq of take_dispatch(first!)) __blk_mq_insert_request(first!, rq, false)
      expect(view.u32(ctx + CTX_HEAD)).not.toBe(0)
      down = cpu_down(h.k, 2)
      expect(view.u32(ctx + CTX_HEAD)).toBe(0)
      expect(view.u32(first!.at + HC_DISPATCH_HEAD)).toBe(0)
      expect(view.u32(last!.at + HC_DISPATCH_HEAD)).not.toBe(0)
      blk_mq_unquiesce_queue(h.q)
      yield 'a turn'
    })
    h.record(true)
    await h.until(60)
    h.record(false)
    expect(down).toBe(0)
    expect(h.issued().map(({ sector }) => sector / 8)).toEqual([1, 2, 3])
    expect(reads.every(task => task.ended !== null)).toBe(true)
    expect(h.machine.books().problems).toEqual([])
  })

  test('a task that waited for a tag there and goes on with others passes its wake-up on', async () => {
    const h = new Hosted(`${FOUR}0,hw_queue_depth=1`, 2)
    const readers = [1, 2, 3].map(n =>
      h.task(10, 0, function* () {
        yield* blkdev_read_iter(h.io(n))
      }),
    )
    h.task(11, 1, function* () {
      cpu_down(h.k, 0)
      yield* msleep(h.k, 1000)
      cpu_up(h.k, 0)
    })
    await h.until(1000)
    expect(readers.map(task => task.ended !== null)).toEqual([true, true, true])
    expect(h.machine.books().problems).toEqual([])
  })

  test('its requests in flight end, on other CPUs; its hardware queue is run by those that are left', async () => {
    const h = new Hosted('nvme,size=64M,queues=2,depth=32', 4)
    const reads = [0, 1, 2, 3].map(cpu =>
      h.task(10, cpu, function* () {
        for (let n = 0; n < 20; n++) yield* blkdev_read_iter(h.io(16 * cpu + (n % 16)))
      }),
    )
    h.task(10, 0, function* () {
      expect(cpu_down(h.k, 3)).toBe(0)
      expect(cpu_down(h.k, 1)).toBe(0)
      yield 'a turn'
    })
    h.task(11, 0, function* () {
      const turns = Array.from({ length: 30 }, () => blk_mq_hctx_next_cpu(h.q.queue_hw_ctx[0]!))
      expect(new Set(turns)).toEqual(new Set([0, 2]))
      yield 'a turn'
    })
    h.task(30, 0, function* () {
      expect(cpu_up(h.k, 1)).toBe(0)
      yield* blkdev_read_iter(h.io(3))
    })
    await h.until(60)
    expect(reads.every(task => task.ended !== null)).toBe(true)
    expect(h.machine.books().balanced).toBe(true)
  })

  test('a single queue: what was complete on it ends on another', async () => {
    const h = new Hosted('null_blk,gb=1,queue_mode=1,irqmode=1', 2)
    const read = h.task(10, 1, function* () {
      for (let n = 0; n < 8; n++) yield* blkdev_read_iter(h.io(n))
    })
    h.task(10, 0, function* () {
      expect(cpu_down(h.k, 1)).toBe(0)
      yield 'a turn'
    })
    await h.until(30)
    expect(read.ended).not.toBeNull()
  })
})

describe('tags that two disks share', () => {
  const SHARED =
    'null_blk,gb=1,no_sched=1,shared_tags=1,hw_queue_depth=16,irqmode=2,completion_nsec=1000000'

  function sharing(): Hosted & { readonly other: Hosted['q'] } {
    const h = new Hosted(`${SHARED} ${SHARED}`, 1)
    return Object.assign(h, { other: h.machine.host!.queue(h.machine.disks[1]!) })
  }

  function users(h: Hosted): number {
    const { view } = h.machine
    return view.load(view.u32(h.q.queue_hw_ctx[0]!.at + HC_TAGS) + TAGS_ACTIVE_QUEUES)
  }

  function active(h: Hosted, q: Hosted['q']): boolean {
    return (h.machine.view.load(q.queue_hw_ctx[0]!.at + HC_STATE) & BLK_MQ_S_TAG_ACTIVE) !== 0
  }

  test('blk-mq 14: a queue has its share from its first request until a scan finds nothing of it', async () => {
    const h = sharing()
    expect(users(h)).toBe(0)
    h.task(1000, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    h.task(1100, 0, function* () {
      yield* blkdev_read_iter({ ...h.io(1), q: h.other })
    })
    await h.until(1050)
    expect([users(h), active(h, h.q), active(h, h.other)]).toEqual([1, true, false])
    await h.until(1200)
    expect([users(h), active(h, h.q), active(h, h.other)]).toEqual([2, true, true])
    // the timers of both were armed for 2500; it is they who find that nothing is left
    await h.until(2600)
    expect([users(h), active(h, h.q), active(h, h.other)]).toEqual([0, false, false])
  })

  test('blk-timers 5.2: of a frozen queue that all have left nothing is looked at', async () => {
    const h = sharing()
    for (const q of [h.q, h.other])
      h.task(1000, 0, function* () {
        yield* blkdev_read_iter({ ...h.io(1), q })
      })
    h.task(2400, 0, function* () {
      yield* blk_mq_freeze_queue(h.q)
      yield* h.sleepUntil(2600)
      blk_mq_unfreeze_queue(h.q)
    })
    await h.until(2550)
    expect([users(h), active(h, h.q), active(h, h.other)]).toEqual([1, true, false])
  })

  test('one disk does not take the tags of the other; alone it may have all', async () => {
    const h = sharing()
    const most = { q: 0, other: 0 }
    const now = { q: 0, other: 0 }
    const read = (name: 'q' | 'other', at: number, count: number): void => {
      for (let n = 0; n < count; n++)
        h.task(at, 0, function* () {
          const done = (): void => void now[name]--
          yield* blkdev_read_iter({ ...h.io(16 * n), q: h[name], done })
          most[name] = Math.max(most[name], ++now[name])
        })
    }
    read('q', 1000, 16)
    await h.until(1005)
    expect(most.q).toBe(16)
    read('other', 1010, 1)
    read('q', 1011, 40)
    read('other', 1011, 40)
    most.q = most.other = 0
    await h.until(1100)
    expect(now).toEqual({ q: 0, other: 0 })
    expect(most.q).toBeLessThanOrEqual(8)
    expect(most.other).toBeLessThanOrEqual(8)
    expect(h.machine.books().problems).toEqual([])
  })

  test('who has waited for a tag because of a share gets it without the other being idle', async () => {
    const h = sharing()
    h.task(1000, 0, function* () {
      yield* blkdev_read_iter({ ...h.io(1), q: h.other })
    })
    let left = 60
    for (let n = 0; n < 60; n++)
      h.task(1010, 0, function* () {
        yield* blkdev_read_iter(h.io(16 * n))
        left--
      })
    await h.until(1100)
    expect(left).toBe(0)
  })
})
