// Machines with an emulated kernel, drawn from a seed: null_blk disks of every kind, two that share their tags, schedulers that
// change while I/O runs, queues that freeze, quiesce and stop, CPUs that go and come back, requests that are lost or requeued, more
// tasks than tags. Whatever happens, every task ends and the books balance.

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
import type { request_queue } from '../../src/block/blkdev.js'
import { cpu_down, cpu_up } from '../../src/kernel/cpu.js'
import { Hosted } from '../unit/block/hosted.js'
import type { SimFacts } from './simulate.js'

const TASKS = 6
const IOS = 12
const TYPES = [mq_deadline, kyber_sched]

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

/** A task that reads, writes and syncs. */
function* work(h: Hosted, q: request_queue, draw: Draw, task: number): Sleep<void> {
  for (let i = 0; i < IOS; i++) {
    const what = draw.below(10)
    const block = 16 * task + draw.below(16)
    if (what < 5) yield* blkdev_read_iter(h.io(block, false, { q }))
    else if (what < 8) yield* blkdev_write_iter(h.io(block, true, { q }))
    else if (what < 9) yield* blkdev_write_iter(h.io(block, true, { q, dsync: true }))
    else yield* blkdev_fsync(q)
    if (draw.below(4) === 0) yield* msleep(h.k, draw.below(8))
  }
}

/** Somebody who holds the queue now and then, and changes its scheduler and its number of requests. */
function* disturb(h: Hosted, draw: Draw): Sleep<void> {
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
      blk_mq_quiesce_queue(h.q)
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
    } else yield* elv_iosched_store(h.q, draw.one(['none', 'mq-deadline', 'kyber']), TYPES, tags)
  }
}

/**
 * Runs a seed.
 * @throws Error that names the seed, the disks and what is wrong
 */
export async function simulateHosted(seed: number): Promise<SimFacts> {
  const draw = new Draw(seed)
  const cpus = 1 + draw.below(4)
  const text = device(draw, cpus)
  const h = new Hosted(text, cpus, draw.one([null, mq_deadline, kyber_sched]))
  const queues = h.machine.disks.map(disk => h.machine.host!.queue(disk))
  const tasks = Array.from({ length: TASKS }, (_, n) =>
    h.task(10, n % cpus, () => work(h, queues[n % queues.length]!, draw, n)),
  )
  tasks.push(h.task(10, 0, () => disturb(h, draw)))
  await h.until(60_000)
  const waiting = [...h.k.tasks].filter(task => task.name === 'test').map(t => t.waiting_on)
  const { problems, submitted } = h.machine.books()
  const wrong = [...waiting.map(what => `a task waits: ${what}`), ...problems]
  if (tasks.some(task => task.ended === null)) wrong.push('a task has not ended')
  if (wrong.length > 0) throw new Error(`seed ${seed}, ${text}: ${wrong.join('; ')}`)
  return { ios: submitted, virtualNs: h.machine.now() }
}
