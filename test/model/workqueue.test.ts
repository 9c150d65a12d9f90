// Workqueues against a plain model (workqueue-world.ts): random queueing, re-timing, cancelling and
// flushing from several CPUs, with works that sleep, pass their turn and queue themselves, with and
// without memory for new workers.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { list_entries } from '../../src/kernel/list.js'
import { destroy_workqueue, WORK_CPU_UNBOUND } from '../../src/kernel/workqueue.js'
import { all_pools } from '../../src/kernel/workqueue-structs.js'
import { seeded } from './seeded.js'
import { type Behaviour, KINDS, NR_CPUS, World } from './workqueue-world.js'

const WORKS = 3 * KINDS.length

const work = fc.nat({ max: WORKS - 1 })
const cpu = fc.oneof(
  { weight: 2, arbitrary: fc.constant(WORK_CPU_UNBOUND) },
  { weight: 3, arbitrary: fc.nat({ max: NR_CPUS - 1 }) },
)
const delay = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 80 }) },
)

const op = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom('queue' as const, 'mod' as const),
      work,
      cpu,
      delay,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'cancel' as const,
        'cancel_sync' as const,
        'flush_work' as const,
        'flush_delayed' as const,
      ),
      work,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('flush_queue' as const),
      queue: fc.nat({ max: KINDS.length - 1 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('wait' as const),
      jiffies: fc.integer({ min: 1, max: 60 }),
    }),
  },
  // A few turns of tasks, so that the next call meets them half-way.
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('turns' as const),
      turns: fc.integer({ min: 1, max: 9 }),
    }),
  },
)
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never

const behaviours = fc.array(
  fc.constantFrom<Behaviour>('instant', 'turn', 'sleep', 'long', 'again'),
  { minLength: WORKS, maxLength: WORKS },
)

function step(world: World, o: Op): void {
  const { k } = world.v
  if (o.op === 'wait') world.v.ticks(o.jiffies)
  else if (o.op === 'turns') k.runReady(o.turns)
  else if (o.op === 'flush_queue') world.flush_queue(o.queue)
  else if ('delay' in o) world[o.op](world.works[o.work], o.cpu, o.delay)
  else world[o.op](world.works[o.work])
  world.check()
}

/** No counts, timers, workers or references are left over. */
function expect_rest(world: World): void {
  const { k } = world.v
  world.check_rest()
  for (const { wq } of world.queues) {
    expect([wq.first_flusher, wq.flush_color]).toEqual([null, wq.work_color])
    for (const pwq of list_entries(wq.pwqs)) {
      expect([pwq.nr_active, ...pwq.nr_in_flight].every(n => n === 0)).toBe(true)
      expect(pwq.refcnt).toBe(pwq === wq.dfl_pwq ? 2 : 1)
    }
  }
  for (const pool of all_pools(k)) {
    expect([pool.nr_running, pool.nr_idle, pool.busy_hash.size]).toEqual([0, pool.nr_workers, 0])
  }
  for (const { std } of k.timer_bases) expect(std.count).toBe(0)
}

function expect_clean_end(world: World): void {
  for (const { wq } of world.queues) world.v.run(() => destroy_workqueue(wq))
  world.v.ticks(10)
  const { k } = world.v
  expect(k.wq.workqueues.length).toBe(7)
  expect(k.wq.unbound_pool_hash.size).toBe(1)
  expect(world.v.warnings).toEqual([])
}

describe('workqueues', () => {
  test('run everything that was queued, once, within their limits; flushes wait for exactly what was there', () => {
    fc.assert(
      fc.property(behaviours, fc.array(op, { minLength: 1, maxLength: 70 }), (b, ops) => {
        const world = new World(b)
        for (const o of ops) step(world, o)
        world.v.ticks(4000)
        expect_rest(world)
        expect_clean_end(world)
      }),
      seeded(60),
    )
  })

  test('without memory for workers, queues with a rescuer finish; with memory again, all do', () => {
    fc.assert(
      fc.property(
        behaviours,
        fc.array(op, { minLength: 1, maxLength: 40 }),
        fc.nat({ max: 40 }),
        (b, ops, famine) => {
          const world = new World(b)
          ops.forEach((o, i) => {
            if (i === famine) world.memory = false
            step(world, o)
          })
          world.memory = false
          world.v.ticks(20_000)
          for (const w of world.works) {
            if (w.queue.wq.rescuer !== null) expect([w.pending, w.running]).toEqual([false, null])
          }
          world.memory = true
          world.v.ticks(2000)
          expect_rest(world)
          expect_clean_end(world)
        },
      ),
      seeded(30),
    )
  })
})
