// io_submit on a machine with a null_blk disk.

import { describe, expect, test } from 'vitest'
import { BLK_STS_IOERR, BLK_STS_OK } from '../../../assembly/nvme.js'
import { io_submit, io_submit_wait } from '../../../src/fs/aio.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import { Hosted } from '../block/hosted.js'

const DEVICE = 'null_blk,size=64,queue_mode=2,irqmode=2,completion_nsec=100000,submit_queues=1'

describe('io_submit', () => {
  test('returns before the I/Os have ended; each is told once', async () => {
    const h = new Hosted(DEVICE, 1)
    const { blk } = h.machine.host!
    const ended: number[] = []
    let before = -1
    const ios = [0, 2, 4, 6].map(n => h.io(n, n > 3, { done: () => void ended.push(n) }))
    h.task(h.k.jiffies + 2, 0, function* () {
      yield* io_submit(blk, ios)
      before = ended.length
      yield* msleep(h.k, 50)
    })
    await h.until(h.k.jiffies + 50)
    expect(before).toBe(0)
    expect(ended.toSorted((a, b) => a - b)).toEqual([0, 2, 4, 6])
  })

  test('reads of neighbours go to the driver as one request: they are under one plug', async () => {
    const h = new Hosted(DEVICE, 1)
    const { blk } = h.machine.host!
    h.record(true)
    h.task(h.k.jiffies + 2, 0, function* () {
      yield* io_submit_wait(
        blk,
        [8, 9, 10, 20].map(n => h.io(n)),
      )
    })
    await h.until(h.k.jiffies + 50)
    expect(h.issued().map(({ sector }) => sector)).toEqual([64, 160])
  })

  test('a write sends what was plugged before it: its own plug is inside', async () => {
    const h = new Hosted(DEVICE, 1)
    const { blk } = h.machine.host!
    h.record(true)
    h.task(h.k.jiffies + 2, 0, function* () {
      yield* io_submit_wait(blk, [h.io(30), h.io(40, true), h.io(50)])
    })
    await h.until(h.k.jiffies + 50)
    const issued = h.issued()
    expect(issued.map(({ sector }) => sector).toSorted((a, b) => a - b)).toEqual([240, 320, 400])
    expect(issued.map(({ rwbs }) => rwbs[0]).toSorted()).toEqual(['R', 'R', 'W'])
  })
})

describe('io_submit_wait', () => {
  test('waits for the last, whatever they end with', async () => {
    const h = new Hosted(DEVICE, 1)
    const { blk } = h.machine.host!
    const statuses: number[] = []
    const { sizeBytes } = h.machine.disks[0]!.config
    const past = { ...h.io(0), pos: sizeBytes }
    const result = h.task(h.k.jiffies + 2, 0, function* () {
      const done = (status: number): void => void statuses.push(status)
      yield* io_submit(blk, [h.io(1, false, { done }), { ...past, done }])
      yield* msleep(h.k, 20)
      yield* io_submit_wait(blk, [h.io(1), past, h.io(3, true)])
    })
    await h.until(h.k.jiffies + 100)
    expect(result.ended).not.toBeNull()
    expect(statuses.toSorted((a, b) => a - b)).toEqual([BLK_STS_OK, BLK_STS_IOERR])
    expect(h.machine.books().balanced).toBe(true)
  })

  test('more I/Os than there are tags', async () => {
    const h = new Hosted(`${DEVICE},hw_queue_depth=4`, 1)
    const { blk } = h.machine.host!
    const result = h.task(h.k.jiffies + 2, 0, function* () {
      yield* io_submit_wait(
        blk,
        Array.from({ length: 40 }, (_, n) => h.io(2 * n, n % 2 === 1)),
      )
    })
    await h.until(h.k.jiffies + 200)
    expect(result.ended).not.toBeNull()
    expect(h.machine.books().balanced).toBe(true)
  })
})
