// Machines with an emulated kernel, drawn from a seed: null_blk disks of every kind, two that share their tags, schedulers that
// change while I/O runs, queues that freeze, quiesce and stop, CPUs that go and come back, requests that are lost or requeued, more
// tasks than tags. Whatever happens, every task ends and the books balance, and what watch.ts says holds all the time.

import {
  blk_mq_quiesce_queue,
  blk_mq_start_stopped_hw_queues,
  blk_mq_stop_hw_queues,
  blk_mq_unquiesce_queue,
} from '../../src/block/blk-mq.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from '../../src/block/blk-mq-freeze.js'
import { queue_attr_store } from '../../src/block/blk-sysfs.js'
import { elv_iosched_store } from '../../src/block/elevator-switch.js'
import { kyber_sched } from '../../src/block/kyber-iosched.js'
import { mq_deadline } from '../../src/block/mq-deadline.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import type { elevator_type, request_queue } from '../../src/block/blkdev.js'
import { cpu_down, cpu_up } from '../../src/kernel/cpu.js'
import { Hosted } from '../unit/block/hosted.js'
import type { SimFacts } from './simulate.js'
import { FlushWatch, idleTokens, idleWaits, scarce, watched, wrongTags } from './watch.js'

const TASKS = 6
const IOS = 12
/** Looks at the tags: so many one after the other, then more rarely; ms. */
const LOOKS = 60
const LOOK_MS = 3
const REST_MS = 1500

/** Numbers from a seed. */
class Draw {
  #state: number

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0
  }

  below(n: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % n
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }
}

/** A slow disk, and more tasks than its scheduler has requests. */
function crowded(draw: Draw): string {
  const ns = draw.one([300_000, 1_000_000, 3_000_000])
  const depth = draw.one([1, 2, 4, 8])
  return `null_blk,gb=1,no_sched=1,submit_queues=1,hw_queue_depth=${depth},irqmode=2,completion_nsec=${ns}`
}

function device(draw: Draw, cpus: number): string {
  const keys = ['null_blk,gb=1,no_sched=1', `submit_queues=${1 + draw.below(cpus)}`]
  const irqmode = draw.below(3)
  keys.push(`hw_queue_depth=${draw.one([1, 2, 3, 8, 64])}`, `irqmode=${irqmode}`)
  if (irqmode === 2) keys.push(`completion_nsec=${draw.one([1000, 100_000, 3_000_000])}`)
  const kind = draw.below(4)
  if (kind === 1) keys.push('memory_backed=1')
  if (kind === 2) keys.push('memory_backed=1,cache_size=1')
  if (kind === 3) keys.push('blocking=1')
  const fault = draw.below(4)
  if (fault === 1) keys.push(`requeue=${1 + draw.below(4)}/50/0/-1`)
  if (fault === 2) keys.push(`timeout=${3 + draw.below(9)}/100/0/3`)
  const shares = draw.below(5) === 0
  if (shares) keys.push('shared_tags=1')
  const text = keys.join(',')
  return shares ? `${text} ${text}` : text
}

/** What a seed has: its disks, and who looks at them. */
interface World {
  readonly h: Hosted
  readonly queues: readonly request_queue[]
  readonly schedulers: readonly elevator_type[]
  readonly flushes: FlushWatch
  readonly wrong: Set<string>
}

function look({ queues, wrong }: World): void {
  for (const what of [...wrongTags(queues), ...idleTokens(queues)]) wrong.add(what)
}

/** A task that reads, writes and syncs, or reads alone. */
function* work(
  world: World,
  q: request_queue,
  draw: Draw,
  task: number,
  reads: boolean,
): Sleep<void> {
  const { h, flushes } = world
  const disk = world.queues.indexOf(q)
  for (let i = 0; i < IOS; i++) {
    const what = reads ? 0 : draw.below(10)
    const block = 16 * task + draw.below(16)
    const from = flushes.now
    const dsync = what === 8
    let status = 0
    if (what < 5) yield* blkdev_read_iter(h.io(block, false, { q }))
    else if (what < 9) status = yield* blkdev_write_iter(h.io(block, true, { q, dsync }))
    else status = yield* blkdev_fsync(q)
    if (what >= 5 && status === 0) flushes.done(disk, what < 9 ? 8 * block : null, dsync, from)
    look(world)
    if (draw.below(4) === 0) yield* msleep(h.k, draw.below(8))
  }
}

/** Looks now and then while tasks wait: at the tags, and at who waits for one. */
function* audit(world: World, ended: () => boolean): Sleep<void> {
  let before: readonly number[] = []
  for (let i = 0; !ended(); i++) {
    look(world)
    const waits = idleWaits(world.queues)
    if (waits.some(tags => before.includes(tags)))
      world.wrong.add('a task waits for a tag, and all are free')
    before = waits
    yield* msleep(world.h.k, i < LOOKS ? LOOK_MS : REST_MS)
  }
}

/** Somebody who holds the queue now and then, and changes its scheduler and its number of requests. */
function* disturb({ h, schedulers }: World, draw: Draw): Sleep<void> {
  const tags = (hctx: Parameters<Parameters<typeof elv_iosched_store>[3]>[0]): number =>
    h.machine.host!.schedTags(hctx)
  for (let i = 0; i < 5; i++) {
    yield* msleep(h.k, 1 + draw.below(12))
    const what = draw.below(6)
    if (what === 0) {
      yield* blk_mq_freeze_queue(h.q)
      yield* msleep(h.k, draw.below(8))
      blk_mq_unfreeze_queue(h.q)
    } else if (what === 1) {
      yield* blk_mq_quiesce_queue(h.q)
      yield* msleep(h.k, draw.below(8))
      blk_mq_unquiesce_queue(h.q)
    } else if (what === 2) {
      blk_mq_stop_hw_queues(h.q)
      yield* msleep(h.k, draw.below(8))
      blk_mq_start_stopped_hw_queues(h.q, true)
    } else if (what === 3) {
      const cpu = draw.below(h.k.cpus.length)
      if (cpu_down(h.k, cpu) !== 0) continue
      yield* msleep(h.k, draw.below(8))
      cpu_up(h.k, cpu)
    } else if (what === 4) {
      // more than there are tags are refused
      yield* queue_attr_store(h.q, 'nr_requests', `${draw.below(24)}`, tags)
    } else
      yield* elv_iosched_store(h.q, draw.one(['none', 'mq-deadline', 'kyber']), schedulers, tags)
  }
}

/**
 * Runs a seed.
 * @throws Error that names the seed, the disks and what is wrong
 */
export async function simulateHosted(seed: number): Promise<SimFacts> {
  const draw = new Draw(seed)
  const cpus = 1 + draw.below(4)
  // more tasks than a scheduler serves in one batch, and deadlines that pass
  const many = draw.below(4) === 0
  const text = many ? crowded(draw) : device(draw, cpus)
  const wrong = new Set<string>()
  const kyber = seed % 2 ? kyber_sched : scarce(kyber_sched, 1 + (seed % 5))
  const schedulers = [mq_deadline, kyber].map(type =>
    watched(type, what => {
      wrong.add(what)
    }),
  )
  const h = new Hosted(text, cpus, draw.one([null, ...schedulers]), 250, { events: true })
  const queues = h.machine.disks.map(disk => h.machine.host!.queue(disk))
  const world: World = { h, queues, schedulers, flushes: new FlushWatch(h), wrong }
  if (many) impatient(h.q, draw)
  const tasks = Array.from({ length: many ? 3 * TASKS : TASKS }, (_, n) =>
    h.task(10, n % cpus, () => work(world, queues[n % queues.length]!, draw, n, many && n % 3 > 0)),
  )
  tasks.push(h.task(10, 0, () => disturb(world, draw)))
  const ended = (): boolean => tasks.every(task => task.ended !== null)
  h.task(10, 0, () => audit(world, ended))
  await h.until(60_000)
  const waiting = [...h.k.tasks].filter(task => task.name === 'test').map(t => t.waiting_on)
  const { problems, submitted } = h.machine.books()
  for (const what of waiting) wrong.add(`a task waits: ${what}`)
  for (const what of [...problems, ...world.flushes.wrong()]) wrong.add(what)
  if (!ended()) wrong.add('a task has not ended')
  if (wrong.size > 0) throw new Error(`seed ${seed}, ${text}: ${[...wrong].join('; ')}`)
  return { ios: submitted, virtualNs: h.machine.now() }
}

/** Small batches and early deadlines, where the scheduler has them. */
function impatient({ elevator }: request_queue, draw: Draw): void {
  const tunables: Record<string, number> = {
    fifo_batch: 1 + draw.below(4),
    read_expire: 1 + draw.below(30),
    write_expire: 1 + draw.below(60),
    writes_starved: draw.below(3),
  }
  for (const { name, store } of elevator?.type.elevator_attrs ?? [])
    if (name in tunables) store(elevator!, `${tunables[name]}`)
}
