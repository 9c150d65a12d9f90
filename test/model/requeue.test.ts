// The requeue list against a plain model: requests that a driver gives back, at the head or the tail, prepared already
// (DONTPREP, as NVMe's are) or not, come to it again in the order that blk_mq_requeue_work makes.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RQ_FLAGS } from '../../assembly/layout.js'
import { RQF_DONTPREP } from '../../assembly/nvme.js'
import {
  blk_mq_add_to_requeue_list,
  blk_mq_kick_requeue_list,
  blk_mq_quiesce_queue,
  blk_mq_requeue_request,
  blk_mq_unquiesce_queue,
  take_dispatch,
} from '../../src/block/blk-mq.js'
import { blkdev_read_iter } from '../../src/fs/block_dev.js'
import { Hosted } from '../unit/block/hosted.js'
import { seeded } from './seeded.js'

const DEVICE = 'null_blk,gb=1,no_sched=1,submit_queues=2'
const START = 10
const BACK = 40

/** What happens to one request, and in which order they are given back. */
interface Given {
  readonly tail: boolean
  readonly prepared: boolean
  readonly turn: number
}

/** The order in which they are issued, by the rules: two passes over the list, then dispatch list before software queue. */
function expected(all: readonly Given[]): number[] {
  const list: number[] = []
  const turns = all.map((_, i) => i).sort((a, b) => all[a]!.turn - all[b]!.turn || a - b)
  for (const i of turns) all[i]!.tail ? list.push(i) : list.unshift(i)
  const dispatch: number[] = []
  const ctx: number[] = []
  for (const i of list) {
    if (all[i]!.prepared) dispatch.push(i)
    else if (!all[i]!.tail) ctx.unshift(i)
  }
  for (const i of list) if (!all[i]!.prepared && all[i]!.tail) ctx.push(i)
  return [...dispatch, ...ctx]
}

async function issued(all: readonly Given[]): Promise<number[]> {
  const h = new Hosted(DEVICE)
  const { view } = h.machine
  h.task(START, 0, function* () {
    yield* blk_mq_quiesce_queue(h.q)
  })
  all.forEach((_, i) => {
    h.task(START + 1 + i, 0, function* () {
      yield* blkdev_read_iter(h.io(2 * i))
    })
  })
  h.task(BACK, 0, function* () {
    const rqs = take_dispatch(h.q.queue_hw_ctx[0]!)
    const turns = all.map((_, i) => i).sort((a, b) => all[a]!.turn - all[b]!.turn || a - b)
    for (const i of turns) {
      const rq = rqs[i]!
      if (all[i]!.prepared) view.setU32(rq + RQ_FLAGS, view.u32(rq + RQ_FLAGS) | RQF_DONTPREP)
      if (all[i]!.tail) blk_mq_add_to_requeue_list(h.q, rq, false, false)
      else blk_mq_requeue_request(h.q, rq, false)
    }
    blk_mq_kick_requeue_list(h.q)
    blk_mq_unquiesce_queue(h.q)
    yield 'a turn'
  })
  h.record(true)
  await h.until(BACK + 20)
  h.record(false)
  expect(h.machine.books().problems).toEqual([])
  return h.issued().map(({ sector }) => sector / 16)
}

const GIVEN = fc.record({ tail: fc.boolean(), prepared: fc.boolean(), turn: fc.nat(3) })

describe('the requeue list', () => {
  it('gives requests to the driver in the order of a plain model', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(GIVEN, { minLength: 1, maxLength: 8 }), async all => {
        expect(await issued(all)).toEqual(expected(all))
      }),
      seeded(15),
    )
  })
})
