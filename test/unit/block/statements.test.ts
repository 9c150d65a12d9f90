// What a driver answers and what follows, schedulers by default, timers: statements of blk-mq section 20 and blk-timers section
// 10. The driver of these tests is a function in place of null_blk's (DRIVER_HOST).

import { describe, expect, test } from 'vitest'
import {
  DRIVER_HOST,
  HC_DRIVER,
  HC_SCHED_TAGS,
  HC_TAGS,
  Q_TIMEOUT,
  Q_TIMER_ARMED,
  RQ_DEADLINE,
  SBQ_MIN_SHALLOW,
  SBQ_WAKE_BATCH,
  TAGS_BITMAP,
  TAGS_NR,
} from '../../../assembly/layout.js'
import {
  BLK_QC_T_NONE,
  BLK_STS_DEV_RESOURCE,
  BLK_STS_IOERR,
  BLK_STS_MEDIUM,
  BLK_STS_OK,
  BLK_STS_RESOURCE,
  REQ_FUA,
  REQ_OP_DRV_IN,
  REQ_OP_WRITE,
  REQ_SYNC,
} from '../../../assembly/nvme.js'
import { bio_alloc_bioset, bio_put, submit_bio, submit_bio_wait } from '../../../src/block/bio.js'
import {
  blk_execute_rq,
  blk_execute_rq_nowait,
  blk_mq_alloc_request,
  blk_mq_free_request,
} from '../../../src/block/blk-exec.js'
import { blk_mq_quiesce_queue, blk_mq_unquiesce_queue } from '../../../src/block/blk-mq.js'
import { blk_mq_freeze_queue } from '../../../src/block/blk-mq-freeze.js'
import { blk_rq_timer } from '../../../src/block/blk-timeout.js'
import {
  BLK_EH_DONE,
  BLK_EH_RESET_TIMER,
  type blk_mq_ops,
  type request_queue,
} from '../../../src/block/blkdev.js'
import { kyber_sched } from '../../../src/block/kyber-iosched.js'
import { mq_deadline } from '../../../src/block/mq-deadline.js'
import { default_elevator } from '../../../src/block/schedulers.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { page_cache_init, vm_laptop_mode } from '../../../src/fs/page-cache.js'
import { EWOULDBLOCK } from '../../../src/kernel/errno.js'
import { del_timer, timer_pending } from '../../../src/kernel/timer.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { builtOnly, diskConfig } from '../../../src/workload/machine-config.js'
import { Hosted } from './hosted.js'

const ONE = 'null_blk,gb=1,no_sched=1'
const LOST = `${ONE},timeout=1/100/0/-1`
const CACHE = `${ONE},memory_backed=1,cache_size=16,irqmode=2,completion_nsec=1000000`

/** The same queue with other functions of its driver. */
function drive(h: Hosted, ops: Partial<blk_mq_ops>): void {
  const q = h.q as { -readonly [K in keyof request_queue]: request_queue[K] }
  q.ops = { ...q.ops, ...ops }
}

/** The driver answers with a status; the jiffies at which it was asked. */
function answering(h: Hosted, status: () => number): number[] {
  const asked: number[] = []
  for (const { at } of h.q.queue_hw_ctx) h.machine.view.setU32(at + HC_DRIVER, DRIVER_HOST)
  drive(h, {
    queue_rq: () => {
      asked.push(h.k.jiffies)
      return status()
    },
  })
  return asked
}

describe('what the driver answers', () => {
  test('blk-mq 20.16: an error of the driver is EIO by way of the dispatch list, and its own when issued directly', async () => {
    const h = new Hosted(ONE)
    answering(h, () => BLK_STS_MEDIUM)
    const got: number[] = []
    const read = function* () {
      got.push(yield* blkdev_read_iter(h.io(1)))
    }
    h.task(10, 0, read)
    h.task(20, 0, function* () {
      yield* blk_mq_quiesce_queue(h.q)
    })
    h.task(21, 0, read)
    h.task(25, 0, function* () {
      blk_mq_unquiesce_queue(h.q)
      yield 'a turn'
    })
    await h.until(40)
    expect(got).toEqual([BLK_STS_MEDIUM, BLK_STS_IOERR])
  })

  /** Jiffies at which a request that was inserted at 10 is offered to the driver. */
  async function offers(status: number, hz: number): Promise<number[]> {
    const h = new Hosted(ONE, 1, null, hz)
    const asked = answering(h, () => status)
    h.task(10, 0, function* () {
      const rq = blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)
      blk_execute_rq_nowait(h.q, rq, false, () => {})
      yield 'a turn'
    })
    await h.until(20)
    return asked
  }

  test('blk-mq 20.17: RESOURCE is tried again at once, then every 3 ms; DEV_RESOURCE when a request is freed', async () => {
    expect((await offers(BLK_STS_RESOURCE, 250)).slice(0, 6)).toEqual([10, 10, 11, 12, 13, 14])
    expect((await offers(BLK_STS_RESOURCE, 1000)).slice(0, 5)).toEqual([10, 10, 13, 16, 19])
    expect(await offers(BLK_STS_DEV_RESOURCE, 250)).toEqual([10, 10])
  })

  test('blk-mq 20.17: ... and the next request that is freed runs the queue again', async () => {
    const h = new Hosted(ONE, 1)
    let status = BLK_STS_DEV_RESOURCE
    const asked = answering(h, () => status)
    const other = blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)
    h.task(10, 0, function* () {
      blk_execute_rq_nowait(h.q, blk_mq_alloc_request(h.q, REQ_OP_DRV_IN), false, () => {})
      yield 'a turn'
    })
    h.task(30, 0, function* () {
      status = BLK_STS_OK
      blk_mq_free_request(h.q, other)
      yield 'a turn'
    })
    await h.until(40)
    expect(asked).toEqual([10, 10, 30])
  })
})

describe('the scheduler of a disk', () => {
  test('blk-mq 20.19: by default mq-deadline with one queue and twice the depth, none with two', () => {
    expect([1, 2].map(n => default_elevator(n, false))).toEqual(['mq-deadline', 'none'])
    expect(default_elevator(1, true)).toBe('none')
    const made = (device: string): (string | undefined)[] =>
      parseDevices([device]).map(s => diskConfig(builtOnly(s), 'virtual', 0, 4).sched)
    expect(made('nvme,queues=1,sched=default')).toEqual(['mq-deadline'])
    expect(made('nvme,queues=2,sched=default')).toEqual(['none'])
    expect(made('null_blk,sched=default')).toEqual(['mq-deadline'])
    expect(made('null_blk,sched=default,no_sched=1')).toEqual(['none'])
    expect(made('null_blk')).toEqual(['none'])
    const requests = [64, 1023].map(depth => {
      const h = new Hosted(`null_blk,gb=1,hw_queue_depth=${depth}`, 1, mq_deadline)
      const { view } = h.machine
      return view.u32(view.u32(h.q.queue_hw_ctx[0]!.at + HC_SCHED_TAGS) + TAGS_NR)
    })
    expect(requests).toEqual([128, 256])
    const two = new Hosted('null_blk,gb=1,submit_queues=2,hw_queue_depth=48', 2)
    const { view } = two.machine
    for (const { at } of two.q.queue_hw_ctx)
      expect([view.u32(at + HC_SCHED_TAGS), view.u32(view.u32(at + HC_TAGS) + TAGS_NR)]).toEqual([
        0, 48,
      ])
  })

  test('null-blk 11.2: by default mq-deadline and 128 requests; with no_sched none and 64', () => {
    const made = ['', ',no_sched=1'].map(more => {
      const text = `null_blk,gb=1,sched=default${more}`
      const { sched } = diskConfig(builtOnly(parseDevices([text])[0]!), 'virtual', 0, 1)
      const h = new Hosted(text, 1, sched === 'mq-deadline' ? mq_deadline : null)
      const { at } = h.q.queue_hw_ctx[0]!
      const { view } = h.machine
      const [sched_tags, tags] = [HC_SCHED_TAGS, HC_TAGS].map(field => view.u32(at + field))
      return [sched, view.u32((sched_tags || tags)! + TAGS_NR)]
    })
    expect(made).toEqual([
      ['mq-deadline', 128],
      ['none', 64],
    ])
  })

  test.each([
    ['sbitmap-tags 9.10', 16, 6, 3],
    ['sbitmap-tags 9.11', 31, 6, 6],
    ['sbitmap-tags 9.12', 64, 24, 8],
  ])('%s: kyber at queue depth %i: async depth %i, wake batch %i', (_, depth, shallow, batch) => {
    const h = new Hosted(`null_blk,gb=1,hw_queue_depth=${depth}`, 1, kyber_sched)
    const { view } = h.machine
    const map = view.u32(h.q.queue_hw_ctx[0]!.at + HC_SCHED_TAGS) + TAGS_BITMAP
    expect(view.u32(map + SBQ_MIN_SHALLOW)).toBe(shallow)
    expect(view.u32(map + SBQ_WAKE_BATCH)).toBe(batch)
  })

  test('blk-mq 20.7: a cookie is the hardware queue and the tag, with the top bit that of a scheduler', async () => {
    const cookieOf = async (sched: typeof mq_deadline | null): Promise<number> => {
      const h = new Hosted(`${ONE},submit_queues=4`, 4, sched)
      let cookie = 0
      h.task(10, 3, function* () {
        const { q, data } = h
        const one = { q, opf: REQ_OP_WRITE | REQ_SYNC, sector: 80, bytes: 4096, data }
        let ended = false
        const end_io = (): void => void (ended = true)
        cookie = yield* submit_bio(q, bio_alloc_bioset(q.blk, { ...one, end_io }))
        yield* h.sleepUntil(20)
        expect(ended).toBe(true)
      })
      await h.until(100)
      return cookie
    }
    const [plain, scheduled] = [await cookieOf(null), await cookieOf(mq_deadline)]
    expect([plain >>> 16, scheduled >>> 16]).toEqual([3, 0x8003])
    expect(plain & 0xffff).toBeLessThan(64)
    expect(scheduled & 0xffff).toBeLessThan(128)
    expect(BLK_QC_T_NONE >>> 0).toBe(0xffffffff)
  })
})

test('sbitmap-tags 9.18: a task that waits for a tag has tried three times, run the queue and queued itself', async () => {
  const h = new Hosted(`${ONE},hw_queue_depth=1,irqmode=2,completion_nsec=1000000`, 1)
  h.task(10, 0, function* () {
    yield* blkdev_read_iter(h.io(1))
  })
  h.task(10, 0, function* () {
    h.record(true)
    yield* blkdev_read_iter(h.io(2))
  })
  await h.until(10.1)
  h.record(false)
  const names = h.rings.drain().map(entry => entry.name)
  const wait = ['blk_mq_get_tag', '__blk_mq_get_tag', 'blk_mq_run_hw_queue']
  const tries = ['__blk_mq_get_tag', '__blk_mq_get_tag', 'io_schedule', 'schedule']
  expect(names.slice(-7)).toEqual([...wait, ...tries])
})

test('sbitmap-tags 9.17: who does not wait tries once, and runs nothing', () => {
  const h = new Hosted(`${ONE},hw_queue_depth=1`, 1)
  expect(blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)).toBeGreaterThan(0)
  h.record(true)
  expect(blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)).toBe(-EWOULDBLOCK)
  h.record(false)
  const names = h.rings.drain().map(entry => entry.name)
  const inside = ['blk_mq_get_request', 'blk_mq_get_tag', '__blk_mq_get_tag']
  expect(names).toEqual(['blk_mq_alloc_request', 'blk_queue_enter', ...inside, 'blk_queue_exit'])
})

describe('faults of null_blk', () => {
  test('null-blk 11.11: the first dispatch is told RESOURCE, the second one requeued by the driver, the third is as ever', async () => {
    const h = new Hosted(`${ONE},requeue=1/100/0/2`, 1)
    let status = -1
    h.record(true)
    h.task(10, 0, function* () {
      status = yield* blkdev_read_iter(h.io(1))
    })
    await h.until(20)
    h.record(false)
    const all = ['null_queue_rq', 'block_rq_requeue', 'block_rq_complete', 'blk_mq_requeue_work']
    const told = [...all, 'blk_mq_request_bypass_insert', 'blk_mq_requeue_request']
    const names = h.rings.drain().map(entry => entry.name)
    expect(names.filter(name => told.includes(name))).toEqual([
      ...['null_queue_rq', 'block_rq_requeue', 'blk_mq_request_bypass_insert'],
      ...['null_queue_rq', 'blk_mq_requeue_request', 'block_rq_requeue', 'blk_mq_requeue_work'],
      ...['null_queue_rq', 'block_rq_complete'],
    ])
    expect(status).toBe(BLK_STS_OK)
  })

  test('null-blk 11.1: requests have 5 s', () => {
    const { machine, q } = new Hosted(ONE, 1)
    expect(machine.view.u32(q.at + Q_TIMEOUT)).toBe(1250)
  })
})

describe('timeouts', () => {
  test('blk-timers 10.9: HZ 1000: 5 s from jiffy 4000 expire at 9000, and the timer fires at 10000', async () => {
    const h = new Hosted(LOST, 1, null, 1000)
    h.machine.view.setU32(h.q.at + Q_TIMEOUT, 5000)
    let deadline = 0
    drive(h, {
      timeout: (_, rq) => {
        deadline = h.machine.view.u32(rq + RQ_DEADLINE)
        return BLK_EH_DONE
      },
    })
    h.task(4000, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    await h.until(4001)
    expect(h.q.timeout.expires).toBe(10000)
    await h.until(10002)
    expect(deadline).toBe(9000)
  })

  /** Jiffies at which the driver is asked about a request that it lost at 1000, and whether a freeze ends. */
  async function asked(answer: number): Promise<{ at: number[]; frozen: boolean }> {
    const h = new Hosted(LOST, 1)
    h.machine.view.setU32(h.q.at + Q_TIMEOUT, 1250)
    const at: number[] = []
    drive(h, {
      timeout: () => {
        at.push(h.k.jiffies)
        return answer
      },
    })
    h.task(1000, 0, function* () {
      yield* blkdev_read_iter(h.io(1))
    })
    // another one's timer has the first looked at again
    if (answer === BLK_EH_DONE)
      h.task(4000, 0, function* () {
        yield* blkdev_read_iter(h.io(2))
      })
    const freeze = h.task(4100, 0, function* () {
      yield* blk_mq_freeze_queue(h.q)
    })
    await h.until(9000)
    return { at, frozen: freeze.ended !== null }
  }

  test('blk-timers 10.10: a driver that says DONE and never completes is not asked again, and a freeze waits for ever', async () => {
    expect(await asked(BLK_EH_DONE)).toEqual({ at: [2500, 5500], frozen: false })
  })

  test('blk-timers 10.10: RESET_TIMER gives another deadline, looked at when the rounded timer fires', async () => {
    const { at } = await asked(BLK_EH_RESET_TIMER)
    expect(at.slice(0, 3)).toEqual([2500, 4000, 5500])
  })

  test('blk-timers 10.26: how far away the timer of a start is, at any time and on any CPU', () => {
    const h = new Hosted(ONE, 8)
    const distances = (seconds: number): number[] => {
      const found: number[] = []
      for (let now = 1000; now < 1600; now++) {
        h.k.jiffies = now
        for (const cpu of h.k.cpus) {
          h.k.cpu = cpu
          del_timer(h.q.timeout)
          h.machine.view.store(h.q.at + Q_TIMER_ARMED, 0)
          blk_rq_timer(h.q, (now + seconds * 250) & ~1)
          found.push(h.q.timeout.expires - now)
        }
      }
      return [Math.min(...found), Math.max(...found)]
    }
    const [low30, high30] = distances(30)
    expect(low30).toBeGreaterThanOrEqual(1251)
    expect(high30).toBeLessThanOrEqual(1500)
    const [low5, high5] = distances(5)
    expect(low5).toBeGreaterThanOrEqual(1250)
    expect(high5).toBeLessThanOrEqual(1500)
    const [low2, high2] = distances(2)
    expect(low2).toBeGreaterThanOrEqual(500)
    expect(high2).toBeLessThanOrEqual(750)
  })
})

test('blk-timers 10.15: passthrough leaves the laptop timer alone', async () => {
  const h = new Hosted(ONE, 1)
  const frames = { at: h.machine.alloc(8 * 4096, 4096), count: 8 }
  const cache = page_cache_init(h.q.blk, frames)
  vm_laptop_mode(cache, 5)
  const pending: boolean[] = []
  const look = (): void => void pending.push(timer_pending(h.q.bdi!.laptop_mode_wb_timer))
  h.task(10, 0, function* () {
    const rq = blk_mq_alloc_request(h.q, REQ_OP_DRV_IN)
    yield* blk_execute_rq(h.q, rq, false)
    blk_mq_free_request(h.q, rq)
    look()
    yield* blkdev_read_iter(h.io(1))
    look()
  })
  await h.until(30)
  expect(pending).toEqual([false, true])
})

describe('writes that must reach the medium, of a disk with a cache and without FUA', () => {
  /** What the driver gets when three such writes are in flight together. */
  async function three(scheduled: boolean): Promise<string[]> {
    const h = new Hosted(CACHE, 1, scheduled ? mq_deadline : null)
    const opf = REQ_OP_WRITE | REQ_SYNC | REQ_FUA
    const flags = { store: h.machine.view, at: h.q.at }
    flags.store.store(flags.at, flags.store.load(flags.at) & ~(1 << 21))
    h.record(true)
    for (const block of [10, 20, 30])
      h.task(10, 0, function* () {
        const make = (end_io: () => void): number =>
          bio_alloc_bioset(h.q.blk, { ...bioOf(h, block), opf, end_io })
        const { bio, status } = yield* submit_bio_wait(h.q, make)
        expect(status).toBe(BLK_STS_OK)
        bio_put(h.q.blk, bio)
      })
    await h.until(60)
    h.record(false)
    return h.issued().map(({ rwbs }) => rwbs)
  }

  function bioOf(h: Hosted, block: number) {
    return { q: h.q, sector: 8 * block, bytes: 4096, data: h.data }
  }

  test('blk-timers 10.20: one flush after the last of three, without a scheduler', async () => {
    expect(await three(false)).toEqual(['WS', 'WS', 'WS', 'FF'])
  })

  test('blk-timers 10.21: with a scheduler the first flushes at once, the other two share the next', async () => {
    expect(await three(true)).toEqual(['WS', 'WS', 'WS', 'FF', 'FF'])
  })
})
