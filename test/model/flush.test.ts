// The flush machinery against a plain model of a cache: writes, durable writes and flushes at random times on a disk with a
// volatile cache, with and without FUA, on every scheduler. The model is told what the driver was given, when each command ended, and
// when each bio did; it says what was volatile then.
//
//   a flush or PREFLUSH     covers every write that had ended when it was submitted: they are on the medium when it ends
//                           (of PREFLUSH with data: before the data are given to the driver)
//   a FUA write             is on the medium when it ends
//   one hardware queue      has one flush command at a time

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Q_FLAGS } from '../../assembly/layout.js'
import {
  BLK_STS_OK,
  QUEUE_FLAG_FUA,
  REQ_FUA,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { bio_alloc_bioset, bio_put, submit_bio_wait } from '../../src/block/bio.js'
import { kyber_sched } from '../../src/block/kyber-iosched.js'
import { mq_deadline } from '../../src/block/mq-deadline.js'
import { Hosted } from '../unit/block/hosted.js'
import { seeded } from './seeded.js'

const DEVICE =
  'null_blk,gb=1,no_sched=1,memory_backed=1,cache_size=16,irqmode=2,completion_nsec=3000000,hw_queue_depth=4'
const SCHEDULERS = [null, mq_deadline, kyber_sched]

/** One bio of a task. Blocks are one for each bio, so that a command names its bio. */
interface Wish {
  readonly at: number
  readonly cpu: number
  readonly data: boolean
  readonly fua: boolean
  readonly preflush: boolean
}

/** What is known of one bio: how many records of the trace came before. */
interface Told {
  submitted: number
  ended: number
}

/** A command: that of a bio's data, or a flush. Times are places in the trace. */
interface Command {
  readonly wish: number | 'flush'
  readonly fua: boolean
  readonly issued: number
  completed: number
}

async function run(wishes: readonly Wish[], sched: number, fuaDisk: boolean, cpus: number) {
  const h = new Hosted(`${DEVICE},submit_queues=${cpus}`, 2, SCHEDULERS[sched]!)
  const { view } = h.machine
  const flags = view.load(h.q.at + Q_FLAGS)
  if (!fuaDisk) view.store(h.q.at + Q_FLAGS, flags & ~(1 << QUEUE_FLAG_FUA))
  const records = (): number => h.rings.written
  const first = records()
  const told: Told[] = wishes.map(() => ({ submitted: -1, ended: -1 }))
  wishes.forEach((wish, i) => {
    h.task(10 + wish.at, wish.cpu, function* () {
      const opf =
        REQ_OP_WRITE | REQ_SYNC | (wish.fua ? REQ_FUA : 0) | (wish.preflush ? REQ_PREFLUSH : 0)
      const bytes = wish.data ? 4096 : 0
      const io = { q: h.q, opf, sector: wish.data ? 16 * (i + 1) : 0, bytes, data: h.data }
      told[i]!.submitted = records() - first
      const { bio, status } = yield* submit_bio_wait(h.q, end_io =>
        bio_alloc_bioset(h.q.blk, { ...io, end_io }),
      )
      told[i]!.ended = records() - first
      expect(status).toBe(BLK_STS_OK)
      bio_put(h.q.blk, bio)
    })
  })
  h.record(true)
  await h.until(400)
  h.record(false)
  expect(h.machine.books().problems).toEqual([])
  return { told, commands: commandsOf(h) }
}

/** Issued and completed commands, from the tracepoints of the driver's side. */
function commandsOf(h: Hosted): Command[] {
  const commands: Command[] = []
  for (const [i, entry] of h.rings.drain().entries()) {
    const sector = entry.sector ?? 0
    const wish = sector === 0 ? 'flush' : sector / 16 - 1
    if (entry.name === 'block_rq_issue')
      commands.push({
        wish,
        fua: ((entry.opf ?? 0) & REQ_FUA) !== 0,
        issued: i,
        completed: Number.POSITIVE_INFINITY,
      })
    if (entry.name !== 'block_rq_complete') continue
    const open = commands.find(c => c.wish === wish && c.completed === Number.POSITIVE_INFINITY)
    if (open) open.completed = i
  }
  return commands
}

/** When a write is on the medium: at its own end with FUA, else at the end of the first flush issued after it ended. */
function durable(write: Command, commands: readonly Command[]): number {
  if (write.fua) return write.completed
  const flushes = commands.filter(c => c.wish === 'flush' && c.issued >= write.completed)
  return Math.min(...flushes.map(c => c.completed))
}

function check(wishes: readonly Wish[], told: readonly Told[], commands: readonly Command[]): void {
  const dataOf = (i: number): Command | undefined => commands.find(c => c.wish === i)
  wishes.forEach((wish, i) => {
    const mine = told[i]!
    expect(mine.ended, `bio ${i} ends`).toBeGreaterThanOrEqual(0)
    const write = dataOf(i)
    if (wish.data)
      expect(write?.completed, `bio ${i} after its data`).toBeLessThanOrEqual(mine.ended)
    if (wish.data && wish.fua)
      expect(durable(write!, commands), `bio ${i} is durable`).toBeLessThanOrEqual(mine.ended)
    if (!wish.preflush) return
    const deadline = wish.data ? write!.issued : mine.ended
    wishes.forEach((other, j) => {
      if (!other.data || j === i || told[j]!.ended < 0 || told[j]!.ended > mine.submitted) return
      expect(durable(dataOf(j)!, commands), `bio ${j}, covered by ${i}`).toBeLessThanOrEqual(
        deadline,
      )
    })
  })
}

const WISH = fc.record({
  at: fc.nat(8),
  cpu: fc.nat(1),
  data: fc.boolean(),
  fua: fc.boolean(),
  preflush: fc.boolean(),
})
/** Without data only a flush means something. */
const BIO = WISH.map(wish => (wish.data ? wish : { ...wish, preflush: true, fua: false }))

describe('flush sequences', () => {
  it('keep what a plain model of a cache promises', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(BIO, { minLength: 1, maxLength: 14 }),
        fc.nat(2),
        fc.boolean(),
        fc.integer({ min: 1, max: 2 }),
        async (wishes, sched, fuaDisk, queues) => {
          const { told, commands } = await run(wishes, sched, fuaDisk, queues)
          check(wishes, told, commands)
          if (queues === 1) expect(overlapping(commands)).toBe(false)
        },
      ),
      seeded(25),
    )
  })
})

/** Whether two flush commands were under way at the same time. */
function overlapping(commands: readonly Command[]): boolean {
  const flushes = commands.filter(c => c.wish === 'flush')
  return flushes.some((a, i) => flushes.some((b, j) => j > i && b.issued < a.completed))
}
