// The multi-queue block layer on an emulated kernel: blk-mq section 20 and blk-timers section 10.

import { describe, expect, test } from 'vitest'
import { HC_FQ_PENDING_SINCE, Q_FLAGS, RQ_FLAGS } from '../../../assembly/layout.js'
import { BLK_STS_OK, QUEUE_FLAG_FUA, REQ_OP_DRV_IN, RQF_DONTPREP } from '../../../assembly/nvme.js'
import {
  blk_execute_rq,
  blk_mq_alloc_request,
  blk_mq_free_request,
} from '../../../src/block/blk-exec.js'
import {
  blk_mq_add_to_requeue_list,
  blk_mq_delay_kick_requeue_list,
  blk_mq_hctx_next_cpu,
  blk_mq_kick_requeue_list,
  blk_mq_quiesce_queue,
  blk_mq_requeue_request,
  blk_mq_unquiesce_queue,
  queued_to_index,
  take_dispatch,
} from '../../../src/block/blk-mq.js'
import {
  blk_freeze_queue_start,
  blk_mq_freeze_queue,
  blk_mq_unfreeze_queue,
} from '../../../src/block/blk-mq-freeze.js'
import { elv_iosched_show, elv_iosched_store } from '../../../src/block/elevator-switch.js'
import { kyber_sched } from '../../../src/block/kyber-iosched.js'
import { mq_deadline } from '../../../src/block/mq-deadline.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { EINVAL } from '../../../src/kernel/errno.js'
import { wait_event, wait_queue_head, wake_up } from '../../../src/kernel/wait.js'
import { Hosted } from './hosted.js'

const TWO = 'null_blk,gb=1,no_sched=1,submit_queues=2'
const TIMED = `${TWO},irqmode=2,completion_nsec=1000000`
const CACHE = `${TWO},memory_backed=1,cache_size=16`

describe('numbers', () => {
  test('blk-mq 20.9: the bucket of a dispatch', () => {
    const queued = [0, 1, 2, 3, 4, 8, 16, 31, 32, 100]
    expect(queued.map(queued_to_index)).toEqual([0, 1, 2, 2, 3, 4, 5, 5, 6, 6])
  })

  test('blk-mq 20.21: CPUs of a queue take turns of eight runs; the first turn has seven', () => {
    const h = new Hosted('null_blk,gb=1,no_sched=1,submit_queues=3', 6)
    const hctx = h.q.queue_hw_ctx[2]!
    expect(hctx.cpumask).toEqual([2, 5])
    const turns = Array.from({ length: 20 }, () => blk_mq_hctx_next_cpu(hctx))
    expect(turns).toEqual([...Array(7).fill(2), ...Array(8).fill(5), ...Array(5).fill(2)])
  })
})

describe('requeue', () => {
  /** Blocks of the requests in the order in which the driver gets them. */
  async function order(act: (h: Hosted, rqs: number[]) => void): Promise<number[]> {
    const h = new Hosted(TWO)
    h.task(10, 0, function* () {
      yield* blk_mq_quiesce_queue(h.q)
    })
    for (const block of [1, 2, 3, 4])
      h.task(10 + block, 0, function* () {
        yield* blkdev_read_iter(h.io(block))
      })
    h.task(20, 0, function* () {
      act(h, take_dispatch(h.q.queue_hw_ctx[0]!))
      blk_mq_unquiesce_queue(h.q)
      yield 'a turn'
    })
    h.record(true)
    await h.until(100)
    h.record(false)
    return h.issued().map(({ sector }) => sector / 8)
  }

  test('blk-timers 10.16: at the head A, B, C, then D at the tail', async () => {
    const got = await order((h, rqs) => {
      for (const rq of rqs.slice(0, 3)) blk_mq_requeue_request(h.q, rq, false)
      blk_mq_add_to_requeue_list(h.q, rqs[3]!, false, true)
    })
    expect(got).toEqual([1, 2, 3, 4])
  })

  test('blk-timers 10.16: what its driver has prepared goes to the tail of the dispatch list: C, B, A, then D', async () => {
    const got = await order((h, rqs) => {
      const { view } = h.machine
      for (const rq of rqs) view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_DONTPREP)
      for (const rq of rqs.slice(0, 3)) blk_mq_requeue_request(h.q, rq, false)
      blk_mq_add_to_requeue_list(h.q, rqs[3]!, false, true)
    })
    expect(got).toEqual([3, 2, 1, 4])
  })

  test('blk-timers 10.17: a kick makes a delayed kick immediate, and the other way round', async () => {
    const at = async (act: (h: Hosted) => void): Promise<number> => {
      const h = new Hosted(TWO)
      h.task(10, 0, function* () {
        yield* blk_mq_quiesce_queue(h.q)
      })
      const read = h.task(11, 0, function* () {
        yield* blkdev_read_iter(h.io(1))
      })
      h.task(20, 1, function* () {
        const [rq] = take_dispatch(h.q.queue_hw_ctx[0]!)
        blk_mq_unquiesce_queue(h.q)
        blk_mq_requeue_request(h.q, rq!, false)
        act(h)
        yield 'a turn'
      })
      await h.until(100)
      return read.ended! - 20
    }
    const delayed_then_now = await at(h => {
      blk_mq_delay_kick_requeue_list(h.q, 100)
      blk_mq_kick_requeue_list(h.q)
    })
    const now_then_delayed = await at(h => {
      blk_mq_kick_requeue_list(h.q)
      blk_mq_delay_kick_requeue_list(h.q, 100)
    })
    expect([delayed_then_now, now_then_delayed]).toEqual([0, 25])
  })
})

describe('flush', () => {
  async function letters(device: string, fua: boolean, dsync: boolean): Promise<string[]> {
    const h = new Hosted(device)
    const flags = h.machine.view.load(h.q.at + Q_FLAGS)
    if (!fua) h.machine.view.store(h.q.at + Q_FLAGS, flags & ~(1 << QUEUE_FLAG_FUA))
    h.record(true)
    h.task(10, 0, function* () {
      yield* blkdev_write_iter(h.io(1, true, { dsync }))
    })
    await h.until(50)
    h.record(false)
    return h.issued().map(({ rwbs }) => rwbs)
  }

  test('blk-timers 10.18: a write that must be durable, by what the cache can', async () => {
    // The fsync that follows it flushes once more.
    expect(await letters(CACHE, true, true)).toEqual(['WFS', 'FF'])
    expect(await letters(CACHE, false, true)).toEqual(['WS', 'FF', 'FF'])
    expect(await letters(TWO, true, true)).toEqual(['WS'])
  })

  test('blk-mq 20.22: without a volatile cache an empty flush ends at once, and FUA is left out', async () => {
    const h = new Hosted(TWO)
    h.record(true)
    let status = -1
    h.task(10, 0, function* () {
      status = yield* blkdev_fsync(h.q)
    })
    await h.until(20)
    h.record(false)
    expect(status).toBe(BLK_STS_OK)
    expect(h.issued()).toEqual([])
    expect(await letters(TWO, false, true)).toEqual(['WS'])
  })

  test('blk-timers 10.19: ten flushes that come while one is under way share the next', async () => {
    const h = new Hosted(`${CACHE},irqmode=2,completion_nsec=20000000`)
    h.record(true)
    const fsync = (at: number): { ended: number | null } =>
      h.task(at, 0, function* () {
        yield* blkdev_fsync(h.q)
      })
    const first = fsync(10)
    const others = Array.from({ length: 10 }, () => fsync(12))
    await h.until(100)
    h.record(false)
    expect(h.issued().map(({ rwbs }) => rwbs)).toEqual(['FF', 'FF'])
    expect(first.ended).not.toBeNull()
    expect(others.every(task => task.ended !== null)).toBe(true)
    expect(h.machine.view.u32(h.q.queue_hw_ctx[0]!.at + HC_FQ_PENDING_SINCE)).toBeGreaterThan(0)
  })
})

describe('quiescing', () => {
  test.each([
    ['waits for a grace period', TIMED, 2, 2],
    ['waits for nobody where one CPU alone is online', TIMED, 1, 0],
    ['waits for nobody when who dispatches may sleep, and is counted', `${TIMED},blocking=1`, 2, 0],
  ])('blk-mq 15: %s', async (_, device, cpus, jiffies) => {
    const h = new Hosted(device, cpus)
    const quiesced: number[] = []
    const read = h.task(11, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    h.task(10, 0, function* () {
      yield* blk_mq_quiesce_queue(h.q)
      quiesced.push(h.k.jiffies)
      yield* h.sleepUntil(20)
      expect(read.ended).toBeNull()
      blk_mq_unquiesce_queue(h.q)
    })
    await h.until(40)
    expect(quiesced).toEqual([10 + jiffies])
    expect(read.ended).toBeGreaterThanOrEqual(20)
  })
})

describe('freezing', () => {
  test('waits for what is inside, holds who comes, and lets him in again', async () => {
    const h = new Hosted(TIMED)
    const inside = h.task(10, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    const freeze = h.task(10, 1, function* () {
      yield* blk_mq_freeze_queue(h.q)
    })
    const outside = h.task(20, 0, function* () {
      yield* blkdev_read_iter(h.io(2))
    })
    await h.until(40)
    expect(inside.ended).not.toBeNull()
    expect(freeze.ended).toBeGreaterThanOrEqual(inside.ended!)
    expect(outside.ended).toBeNull()
    h.task(50, 1, function* () {
      blk_mq_unfreeze_queue(h.q)
      yield 'a turn'
    })
    await h.until(60)
    expect(outside.ended).toBeGreaterThanOrEqual(50)
  })

  test('nests: the last thaw opens', async () => {
    const h = new Hosted(TIMED)
    const read = h.task(20, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    h.task(10, 1, function* () {
      yield* blk_mq_freeze_queue(h.q)
      yield* blk_mq_freeze_queue(h.q)
      yield* h.sleepUntil(30)
      blk_mq_unfreeze_queue(h.q)
      yield* h.sleepUntil(40)
      expect(read.ended).toBeNull()
      blk_mq_unfreeze_queue(h.q)
    })
    await h.until(60)
    expect(read.ended).toBeGreaterThanOrEqual(40)
  })

  test('waits for who was woken for a tag and has not taken it yet', async () => {
    const h = new Hosted(
      'null_blk,gb=1,no_sched=1,hw_queue_depth=1,irqmode=2,completion_nsec=20000000',
      1,
    )
    const order: string[] = []
    for (const name of ['read', 'another'])
      h.task(10, 0, function* () {
        yield* blkdev_read_iter(h.io(1))
        order.push(name)
      })
    h.task(11, 0, function* () {
      yield* blk_mq_freeze_queue(h.q)
      order.push('frozen')
    })
    await h.until(40)
    expect(order).toHaveLength(3)
    expect(order[2]).toBe('frozen')
  })

  test('a disk is frozen when a grace period is over, however quiet it is; a queue that is no disk at once', async () => {
    for (const [disk, jiffies] of [
      [true, 2],
      [false, 0],
    ] as const) {
      const h = new Hosted(TIMED)
      h.q.init_done = disk
      h.record(true)
      const freeze = h.task(10, 1, function* () {
        yield* blk_mq_freeze_queue(h.q)
      })
      await h.until(30)
      h.record(false)
      expect(freeze.ended).toBe(10 + jiffies)
      const names = h.rings.drain().map(entry => entry.name)
      expect(names.filter(name => name === 'blk_queue_usage_counter_release')).toHaveLength(1)
    }
  })

  test('thawed before its grace period is over, a queue lets everybody in, and the next freeze waits for its own', async () => {
    const h = new Hosted(TIMED)
    const ended: number[] = []
    h.task(10, 1, function* () {
      blk_freeze_queue_start(h.q)
      blk_mq_unfreeze_queue(h.q)
      yield* blkdev_read_iter(h.io(1))
      ended.push(h.k.jiffies)
      yield* blk_mq_freeze_queue(h.q)
      ended.push(h.k.jiffies)
    })
    await h.until(30)
    expect(ended).toEqual([10, 12])
  })

  test('a scheduler comes and goes while I/O runs', async () => {
    const h = new Hosted(TIMED)
    const types = [mq_deadline, kyber_sched]
    let over = 0
    for (let n = 0; n < 4; n++)
      h.task(10, n % 2, function* () {
        for (let i = 0; i < 40; i++) yield* blkdev_read_iter(h.io(8 * n + (i % 8)))
        over++
      })
    const answers: number[] = []
    h.task(15, 1, function* () {
      for (const name of ['mq-deadline', 'kyber', 'bfq', 'none', 'mq-deadline'])
        answers.push(
          yield* elv_iosched_store(h.q, name, types, hctx => h.machine.host!.schedTags(hctx)),
        )
    })
    await h.until(400)
    expect(answers).toEqual([0, 0, -EINVAL, 0, 0])
    expect(over).toBe(4)
    expect(elv_iosched_show(h.q, types)).toBe('[mq-deadline] kyber none\n')
    expect(h.machine.books().problems).toEqual([])
  })
})

describe('requests of the kernel', () => {
  test('are executed, waited for and given back', async () => {
    const h = new Hosted(TIMED)
    let status = -1
    const task = h.task(10, 1, function* () {
      const rq = blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)
      status = yield* blk_execute_rq(h.q, rq, false)
      blk_mq_free_request(h.q, rq)
    })
    await h.until(20)
    expect(task.ended).not.toBeNull()
    expect(status).toBe(BLK_STS_OK)
    expect(h.machine.books().balanced).toBe(true)
  })
})

describe('waiting for a tag', () => {
  test('more tasks than tags all get one, on every scheduler', async () => {
    for (const sched of [null, mq_deadline, kyber_sched]) {
      const device = 'null_blk,gb=1,no_sched=1,hw_queue_depth=2,irqmode=2,completion_nsec=100000'
      const h = new Hosted(device, 2, sched)
      const done = new wait_queue_head(h.k, 'all')
      let left = 24
      for (let n = 0; n < 24; n++)
        h.task(10, n % 2, function* () {
          yield* blkdev_read_iter(h.io(2 * n))
          left--
          wake_up(done)
        })
      const all = h.task(10, 0, function* () {
        yield* wait_event(done, () => left === 0)
      })
      await h.until(200)
      expect(left, sched?.elevator_name).toBe(0)
      expect(all.ended).not.toBeNull()
      expect(h.machine.books().problems).toEqual([])
    }
  })
})
