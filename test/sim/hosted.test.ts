// Machines with an emulated kernel, from seeds (hosted.ts); more of them: npm run sim -- --world block.

import { describe, expect, test } from 'vitest'
import * as L from '../../assembly/layout.js'
import { type kyber_queue_data, kyber_sched } from '../../src/block/kyber-iosched.js'
import { Hosted } from '../unit/block/hosted.js'
import { simulateHosted } from './hosted.js'
import { idleTokens, idleWaits, wrongTags } from './watch.js'

const SEEDS = 200

describe('random machines with a kernel', () => {
  test.each(Array.from({ length: SEEDS }, (_, seed) => seed))('seed %i', async seed => {
    expect((await simulateHosted(seed)).ios).toBeGreaterThan(0)
  })
})

describe('who looks at them sees', () => {
  const h = new Hosted('null_blk,gb=1,no_sched=1,submit_queues=1,hw_queue_depth=8')
  const { view } = h.machine
  const tags = view.u32(h.q.queue_hw_ctx[0]!.at + L.HC_TAGS)
  let tag = 0
  const slot = (nr: number): number => view.u32(tags + L.TAGS_STATIC_RQS) + nr * L.RQ_SIZE

  test('a tag that is held twice, one that is held and free, and one that finds another request', () => {
    expect(wrongTags([h.q])).toEqual([])
    tag = h.machine.core.blk_mq_get_tag(h.q.queue_hw_ctx[0]!.at, 0, 0)
    const other = tag === 0 ? 1 : 0
    for (const rq of [slot(tag), slot(other)]) {
      view.setU32(rq + L.RQ_HCTX, h.q.queue_hw_ctx[0]!.at)
      view.setU32(rq + L.RQ_TAG, tag)
      view.store(rq + L.RQ_STATE, L.MQ_RQ_IN_FLIGHT)
    }
    view.setU32(view.u32(tags + L.TAGS_RQS) + 4 * tag, slot(tag))
    expect(wrongTags([h.q]).sort()).toEqual([
      `tag ${tag} finds another request`,
      `tag ${tag} is held twice`,
    ])
    view.setU32(slot(other) + L.RQ_TAG, other)
    view.setU32(view.u32(tags + L.TAGS_RQS) + 4 * other, slot(other))
    expect(wrongTags([h.q])).toEqual([`tag ${other} is free, and a request under way has it`])
  })

  test("a queue that waits for one of kyber's tokens while there are some", () => {
    const { q } = new Hosted('null_blk,gb=1,no_sched=1', 1, kyber_sched)
    const { domain_tokens } = q.elevator!.elevator_data as kyber_queue_data
    expect(idleTokens([q])).toEqual([])
    domain_tokens[1]!.waiting.add(q.queue_hw_ctx[0]!)
    expect(idleTokens([q])).toEqual(['a queue waits for a token of domain 1: 0 of 128'])
  })

  test('a task that waits for a tag while all are free', () => {
    h.machine.core.blk_mq_put_tag(tags, 0, tag)
    expect(idleWaits([h.q])).toEqual([])
    view.store(tags + L.TAGS_BITMAP + L.SBQ_WAITERS, 1)
    expect(idleWaits([h.q])).toEqual([tags])
  })
})
