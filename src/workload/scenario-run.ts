// One trace scenario: a machine in virtual time with an emulated kernel, a task that does the I/O, everything recorded
// from its first call to the end of its last one.
//
// Before it one I/O is done and a second goes by, so that what happens once in a queue's life is over, and the timer of
// its requests, where the story does not say otherwise, is still running.

import { parseDevices } from '../machine/spec-parse.js'
import { REQ_FUA, REQ_OP_WRITE, REQ_PREFLUSH, REQ_SYNC } from '../../assembly/nvme.js'
import { bio_alloc_bioset, bio_put, submit_bio_wait } from '../block/bio.js'
import { blk_mq_freeze_queue, blk_mq_unfreeze_queue } from '../block/blk-mq-freeze.js'
import { blk_mq_init_sched } from '../block/blk-mq-sched.js'
import { elv_iosched_store, type SchedTags } from '../block/elevator-switch.js'
import type { elevator_type, request_queue } from '../block/blkdev.js'
import { kyber_sched } from '../block/kyber-iosched.js'
import { mq_deadline } from '../block/mq-deadline.js'
import { io_submit_wait } from '../fs/aio.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { blkdev_close, blkdev_open } from '../fs/block_dev-open.js'
import type { Sleep } from '../kernel/core.js'
import { msleep } from '../kernel/timer-sleep.js'
import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import { bootMachine } from '../machine/machine.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { laptopBytes, laptopStory, laptopWords, type Story } from './scenario-laptop.js'
import { lifeBytes, lifeStory } from './scenario-life.js'
import type { NullBlkScenario } from './scenario-names.js'
import { Recorder, SCENARIO_HZ, scenarioMachine, type ScenarioTrace } from './scenario-recorder.js'
import { rest, runTask } from './scenario-task.js'

const RECORDS = 1 << 16
const BLOCK = 4096
/**
 * The recorded kernels ran in slow guests, slower for the recording: a task that was woken ran in a later jiffy, so that
 * statistics, which go on once a jiffy, went on again.
 */
const SWITCH_NS = 0.5e6
const SPREAD_NS = 2e6
/** ... and a jiffy went by in 150 to 300 recorded functions, whoever ran. */
const RECORD_NS = 14_000
const SCHEDULERS: Readonly<Record<string, elevator_type | null>> = {
  none: null,
  'mq-deadline': mq_deadline,
  kyber: kyber_sched,
}

// ---------------------------------------------------------------- the machine

const QUEUE_MODE: Readonly<Record<NullBlkScenario['kind'], string>> = {
  polled: '-',
  bio: '0',
  rq: '1',
  mq: '2',
  cache: '2',
  nocache: '2',
}

function deviceText(s: NullBlkScenario): string {
  if (s.kind === 'polled') return 'nvme,size=1G,wait=poll,sched=none'
  const mode = QUEUE_MODE[s.kind]
  const cached = s.kind === 'cache' || s.kind === 'rq'
  const keys = [
    'null_blk',
    'gb=1',
    mode === '2' ? 'queue_mode=2,no_sched=1' : `queue_mode=${mode}`,
    `irqmode=${s.irqmode}`,
  ]
  if (s.depth !== null) keys.push(`hw_queue_depth=${s.depth}`)
  else keys.push(`submit_queues=${s.cpus}`)
  if (cached || s.kind === 'nocache' || s.mbps > 0) keys.push('memory_backed=1')
  if (cached) keys.push('cache_size=64')
  if (s.kind === 'cache' || s.kind === 'nocache') keys.push('quirks=4.19')
  if (s.mbps > 0) keys.push(`mbps=${s.mbps}`)
  if (s.fault === 'requeue') keys.push('requeue=2/100/0/-1')
  if (s.fault === 'timeout') keys.push('timeout=5/100/0/-1')
  return keys.join(',')
}

function machineOf(s: NullBlkScenario): MachineConfig {
  const disks = parseDevices([deviceText(s)]).map(spec =>
    diskConfig(builtOnly(spec), 'virtual', 0, s.cpus),
  )
  return scenarioMachine({
    cpus: s.cpus,
    disks,
    records: RECORDS,
    bytes: (s.laptop === null ? 0 : laptopBytes()) + (isLife(s) ? lifeBytes() : 0) + 129 * BLOCK,
    kernel: { switchNs: SWITCH_NS, switchSpreadNs: SPREAD_NS },
  })
}

/** The scenario in words, as recordings have it. */
function configWords(s: NullBlkScenario): Record<string, string> {
  if (s.laptop !== null) return laptopWords(s)
  if (s.kind === 'polled') return { op: s.op, count: '1', wait: 'poll', cpus: String(s.cpus) }
  if (isLife(s))
    return { queue_mode: '2', irqmode: '0', submit_queues: String(s.cpus), cpus: String(s.cpus) }
  return {
    op: s.op,
    count: String(s.count),
    queue_mode: QUEUE_MODE[s.kind],
    irqmode: String(s.irqmode),
    sched: s.sched,
    cpus: String(s.cpus),
    ...(s.depth === null ? {} : { hw_queue_depth: String(s.depth) }),
    ...(s.kind === 'cache' || s.kind === 'rq' ? { cache: 'writeback' } : {}),
    ...(s.mbps > 0 ? { mbps: String(s.mbps) } : {}),
    ...(s.fault === null
      ? {}
      : { fault: s.fault === 'requeue' ? 'requeue_every_second' : 'timeout_every_fifth' }),
  }
}

// ---------------------------------------------------------------- the task

class Actor {
  readonly #q: request_queue
  readonly #s: NullBlkScenario
  readonly #data: number
  readonly #tags: SchedTags

  constructor(q: request_queue, s: NullBlkScenario, data: number, tags: SchedTags) {
    this.#q = q
    this.#s = s
    this.#data = data
    this.#tags = tags
  }

  #io(write: boolean, n: number): kiocb {
    const dsync = this.#s.op === 'dsync'
    const at = { pos: (2 * n + 16) * BLOCK, bytes: BLOCK, data: this.#data + n * BLOCK }
    return { q: this.#q, write, ...at, ...(write && dsync ? { dsync } : {}) }
  }

  /** One read, as anybody does them. */
  *read(): Sleep<void> {
    yield* blkdev_read_iter(this.#io(false, 0))
  }

  /** A journal's commit record: everything before it is on the medium first, and so is it itself when it ends. */
  *#commit(n: number): Sleep<void> {
    const { pos, bytes, data } = this.#io(true, n)
    const opf = REQ_OP_WRITE | REQ_SYNC | REQ_PREFLUSH | REQ_FUA
    const q = this.#q
    const make = (end_io: () => void): number =>
      bio_alloc_bioset(q.blk, { q, opf, sector: pos / 512, bytes, data, end_io })
    const { bio } = yield* submit_bio_wait(q, make)
    bio_put(q.blk, bio)
  }

  /** Two of them, by two tasks: the second waits for the flush of the first. */
  *#commits(): Sleep<void> {
    const { k } = this.#q.blk
    const other = k.spawn('io2', () => this.#commit(1), [0])
    yield* this.#commit(0)
    while (k.tasks.has(other)) yield* msleep(k, 4)
  }

  /** A read comes while the queue is frozen, and goes on when it is thawed. */
  *#freeze(): Sleep<void> {
    const { k } = this.#q.blk
    yield* blk_mq_freeze_queue(this.#q)
    const reader = k.spawn('io2', () => this.read(), [this.#s.cpus - 1])
    yield* msleep(k, 20)
    blk_mq_unfreeze_queue(this.#q)
    while (k.tasks.has(reader)) yield* msleep(k, 4)
  }

  /** What the scenario is about. */
  *run(): Sleep<void> {
    const { op, fault } = this.#s
    if (fault === 'timeout') yield* blkdev_open(this.#q)
    if (op === 'read') yield* this.read()
    else if (op === 'write' || op === 'dsync') yield* blkdev_write_iter(this.#io(true, 0))
    else if (op === 'flush') yield* blkdev_fsync(this.#q)
    else if (op === 'commit') yield* this.#commits()
    else if (op === 'freeze') yield* this.#freeze()
    else if (op === 'switch') {
      const types = Object.values(SCHEDULERS).filter(type => type !== null)
      yield* elv_iosched_store(this.#q, this.#s.sched, types, this.#tags)
      yield* this.read()
    } else if (op === 'wflush') {
      yield* blkdev_write_iter(this.#io(true, 0))
      yield* blkdev_fsync(this.#q)
    } else {
      const ios = Array.from({ length: this.#s.count }, (_, n) => this.#io(op === 'batchw', n))
      yield* io_submit_wait(this.#q.blk, ios)
    }
    if (fault === 'timeout') yield* blkdev_close(this.#q)
  }
}

// ---------------------------------------------------------------- running

const SHORT_MS = 100
/** What still runs when the task has ended. */
const REST_NS = 10e6
/** Longer than the timer of the requests runs. */
const LONG_MS = 10_000

/** How long the disk rests before the n-th read; the first of all is number 0. */
function restMs(s: NullBlkScenario, n: number): number {
  if (s.fault === 'requeue' && n === 1) return LONG_MS
  return s.fault === 'timeout' && n === 3 ? LONG_MS : SHORT_MS
}

async function prepare(machine: Machine, actor: Actor, s: NullBlkScenario): Promise<void> {
  const { k } = machine.host!
  await runTask(machine, 'sh', 0, function* () {
    yield* actor.read()
    yield* msleep(k, restMs(s, 1))
  })
  // Faults that alternate count for each hardware queue.
  const cpu = s.fault === 'requeue' ? s.cpus - 1 : 0
  await runTask(machine, 'sh', cpu, function* () {
    for (let n = 1; n < s.nth; n++) {
      yield* actor.read()
      yield* msleep(k, restMs(s, n + 1))
    }
  })
}

/** Whether the disk is made or removed. */
function isLife(s: NullBlkScenario): boolean {
  return s.op === 'create' || s.op === 'destroy'
}

/** The tasks of scenarios that are more than I/O. */
function storyOf(machine: Machine, q: request_queue, s: NullBlkScenario): Story | null {
  if (isLife(s)) return lifeStory(machine, q, s)
  return s.laptop === null ? null : laptopStory(machine, q, s)
}

/** Runs a scenario and returns what was recorded. */
export async function runScenario(s: NullBlkScenario): Promise<ScenarioTrace> {
  const machine = bootMachine(machineOf(s))
  const host = machine.host!
  const recorder = new Recorder(machine, s.cpus, RECORDS)
  const cpus = Array.from({ length: s.cpus }, (_, i) => machine.cpuAddress(i))
  recorder.rings.takesTime(RECORD_NS, cpus, machine.core)
  await machine.start()
  const q = host.queue(machine.disks[0]!)
  const tags: SchedTags = hctx => host.schedTags(hctx)
  const actor = new Actor(q, s, machine.alloc(128 * BLOCK, BLOCK), tags)
  const first = s.op === 'switch' ? 'none' : s.sched
  blk_mq_init_sched(q, SCHEDULERS[first] ?? null, tags)
  const story = storyOf(machine, q, s)
  if (story === null) await prepare(machine, actor, s)
  for (const task of story?.before ?? []) await runTask(machine, task.name, task.cpu, task.body)
  const jiffy = 1e9 / SCENARIO_HZ
  await rest(machine, jiffy - ((machine.now() + SWITCH_NS) % jiffy))
  recorder.on = true
  if (story === null) await runTask(machine, 'io1', s.cpus - 1, () => actor.run())
  for (const task of story?.tasks ?? []) await runTask(machine, task.name, task.cpu, task.body)
  await rest(machine, story?.restNs ?? REST_NS)
  recorder.on = false
  const trace = recorder.take(configWords(s))
  await machine.stop()
  return trace
}
