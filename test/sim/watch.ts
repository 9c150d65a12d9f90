// What must hold at every moment of a machine with a kernel, looked at while its tasks run (hosted.ts):
//
//   tags         no two requests that are under way have the same tag of the driver, each one's bit is taken, and the tag finds it
//   wake-ups     nobody waits for a tag while all of them are free, nor for a token of kyber's while there is one
//   flushes      when a flush has ended, every write that had ended before it was asked for is on the medium; a FUA write is
//                when it ends. The model is a cache: writes that have ended are volatile until a flush that was issued after
//   schedulers   mq-deadline: a request that has expired, and is the oldest of its direction, is passed by at most by the
//                batch under way, and by the batches that writes_starved grants the other direction (0: writes always go first)
//                kyber: a domain with requests and tokens waits for at most one batch of each of the others

import {
  GATE_FROZEN,
  GATE_QUIESCED,
  GATE_STOPPED,
  HC_FQ_RQ,
  HC_GATE,
  HC_SCHED_TAGS,
  HC_TAGS,
  MQ_RQ_IDLE,
  Q_FLAGS,
  RQ_CMD_FLAGS,
  RQ_HCTX,
  RQ_SIZE,
  RQ_STATE,
  RQ_TAG,
  SBQ_WAITERS,
  TAGS_BITMAP,
  TAGS_NR,
  TAGS_STATIC_RQS,
} from '../../assembly/layout.js'
import {
  QUEUE_FLAG_WC,
  REQ_FUA,
  REQ_OP_FLUSH,
  REQ_OP_MASK,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { blk_mq_tag_to_rq, busy_tags } from '../../src/block/blk-mq-tag.js'
import type { blk_mq_hw_ctx, elevator_type, request_queue } from '../../src/block/blkdev.js'
import type { kyber_queue_data } from '../../src/block/kyber-iosched.js'
import type { deadline_data } from '../../src/block/mq-deadline.js'
import type { Hosted } from '../unit/block/hosted.js'

/** A hardware queue that somebody holds. */
const HELD = GATE_STOPPED | GATE_QUIESCED | GATE_FROZEN

// ---------------------------------------------------------------- tags

/** Tags of a driver that the queues use, and everything that may hold one of them. */
function holders(queues: readonly request_queue[]): Map<number, Set<number>> {
  const sets = new Map<number, Set<number>>()
  for (const { at } of queues.flatMap(q => q.queue_hw_ctx)) {
    const { view } = queues[0]!.blk
    const tags = view.u32(at + HC_TAGS)
    const all = sets.get(tags) ?? new Set()
    sets.set(tags, all.add(view.u32(at + HC_FQ_RQ)))
    for (const from of [tags, view.u32(at + HC_SCHED_TAGS)]) {
      if (!from) continue
      const first = view.u32(from + TAGS_STATIC_RQS)
      for (let i = 0; i < view.u32(from + TAGS_NR); i++) all.add(first + i * RQ_SIZE)
    }
  }
  return sets
}

/** What is wrong with the tags now; empty = nothing. */
export function wrongTags(queues: readonly request_queue[]): string[] {
  const { view } = queues[0]!.blk
  const wrong: string[] = []
  for (const [tags, requests] of holders(queues)) {
    const busy = new Set(busy_tags(view, tags))
    const held = new Map<number, number>()
    for (const rq of requests) {
      if (view.load(rq + RQ_STATE) === MQ_RQ_IDLE) continue
      if (view.u32(view.u32(rq + RQ_HCTX) + HC_TAGS) !== tags) continue
      const tag = view.i32(rq + RQ_TAG)
      if (held.has(tag)) wrong.push(`tag ${tag} is held twice`)
      if (!busy.has(tag)) wrong.push(`tag ${tag} is free, and a request under way has it`)
      if (blk_mq_tag_to_rq(view, tags, tag) !== rq) wrong.push(`tag ${tag} finds another request`)
      held.set(tag, rq)
    }
  }
  return wrong
}

/**
 * Tags (TAGS_*) for which somebody waits although none is taken. A hardware queue that was told of a free tag and may not run
 * passes that on to nobody, in Linux as here: what waits behind it goes on when it does, so tags of a queue that is held are left out.
 */
export function idleWaits(queues: readonly request_queue[]): number[] {
  const { view } = queues[0]!.blk
  const hctxs = queues.flatMap(q => q.queue_hw_ctx)
  const tagsOf = (at: number): number[] => [view.u32(at + HC_TAGS), view.u32(at + HC_SCHED_TAGS)]
  const held = hctxs.filter(({ at }) => view.load(at + HC_GATE) & HELD)
  const left = new Set(held.flatMap(({ at }) => tagsOf(at)))
  return [...new Set(hctxs.flatMap(({ at }) => tagsOf(at)))].filter(
    tags =>
      tags !== 0 &&
      !left.has(tags) &&
      view.load(tags + TAGS_BITMAP + SBQ_WAITERS) > 0 &&
      busy_tags(view, tags).length === 0,
  )
}

/** Domains of kyber's for whose tokens a hardware queue waits that was not woken when one came back. */
export function idleTokens(queues: readonly request_queue[]): string[] {
  return queues.flatMap(({ elevator }) => {
    if (elevator?.type.elevator_name !== 'kyber') return []
    const { domain_tokens } = elevator.elevator_data as kyber_queue_data
    return domain_tokens.flatMap(({ waiting, taken, depth }, d) =>
      waiting.size > 0 && taken < depth
        ? [`a queue waits for a token of domain ${d}: ${taken} of ${depth}`]
        : [],
    )
  })
}

/** kyber with so few tokens, as after bad latencies, that queues wait for them. */
export function scarce(type: elevator_type, tokens: number): elevator_type {
  const init_sched: typeof type.ops.init_sched = (q, e) => {
    const ret = type.ops.init_sched(q, e)
    const { domain_tokens } = e.elevator_data as kyber_queue_data
    for (const domain of domain_tokens) domain.depth = Math.min(domain.depth, tokens)
    return ret
  }
  return { ...type, ops: { ...type.ops, init_sched } }
}

// ---------------------------------------------------------------- flushes

/** A write or flush that a task did; times are places in the trace. */
interface Asked {
  readonly disk: number
  /** First sector; null = a flush. */
  readonly sector: number | null
  readonly fua: boolean
  readonly from: number
  readonly to: number
}

interface Command {
  readonly disk: number
  readonly sector: number
  /** First sector behind it. */
  readonly end: number
  readonly flush: boolean
  readonly fua: boolean
  readonly issued: number
  completed: number
}

/** Tells tasks and driver what came before what, and says at the end whether a flush covered too little. */
export class FlushWatch {
  readonly #h: Hosted
  readonly #asked: Asked[] = []
  readonly #commands: Command[] = []
  #seen = 0

  constructor(h: Hosted) {
    this.#h = h
    h.rings.on = true
  }

  /** The place in the trace. */
  get now(): number {
    return this.#h.rings.written
  }

  /** A task's write or flush has ended well. */
  done(disk: number, sector: number | null, fua: boolean, from: number): void {
    this.#asked.push({ disk, sector, fua, from, to: this.now })
    if (this.now - this.#seen > 2 ** 13) this.#drain()
  }

  /** The driver's side, so far. A command that is issued again is another one. */
  #drain(): void {
    for (const entry of this.#h.rings.drain()) {
      const at = this.#seen++
      const [disk, sector, opf] = [entry.disk ?? 0, entry.sector ?? 0, entry.opf ?? 0]
      const flush = (opf & REQ_OP_MASK) === REQ_OP_FLUSH
      if (!flush && (opf & REQ_OP_MASK) !== REQ_OP_WRITE) continue
      const fua = (opf & REQ_FUA) !== 0
      const end = sector + (entry.bytes ?? 0) / 512
      if (entry.name === 'block_rq_issue')
        this.#commands.push({ disk, sector, end, flush, fua, issued: at, completed: Infinity })
      if (entry.name !== 'block_rq_complete' || entry.error) continue
      const open = this.#commands.findLast(
        c =>
          c.disk === disk &&
          c.flush === flush &&
          c.completed === Infinity &&
          (flush || c.sector === sector),
      )
      if (open) open.completed = at
    }
  }

  #volatile(disk: number): boolean {
    const { view, disks } = this.#h.machine
    return (view.load(disks[disk]!.q + Q_FLAGS) & (1 << QUEUE_FLAG_WC)) !== 0
  }

  /** When a write is on the medium. */
  #durable(write: Asked): number {
    const command = this.#commands.findLast(
      c =>
        !c.flush &&
        c.disk === write.disk &&
        c.sector <= write.sector! &&
        c.end > write.sector! &&
        c.completed <= write.to,
    )
    if (!command) return Infinity
    if (command.fua || !this.#volatile(write.disk)) return command.completed
    const flushes = this.#commands.filter(
      c => c.flush && c.disk === write.disk && c.issued >= command.completed,
    )
    return Math.min(Infinity, ...flushes.map(c => c.completed))
  }

  /** What was promised and not kept. */
  wrong(): string[] {
    this.#drain()
    const wrong = this.#h.rings.drops > 0 ? ['the trace is not whole'] : []
    const writes = this.#asked
      .filter(one => one.sector !== null)
      .map(write => ({ write, durable: this.#durable(write) }))
    for (const { write, durable } of writes)
      if (write.fua && durable > write.to)
        wrong.push(`a FUA write of sector ${write.sector} has ended and is not on the medium`)
    for (const flush of this.#asked.filter(one => one.sector === null))
      for (const { write, durable } of writes)
        if (write.disk === flush.disk && write.to <= flush.from && durable > flush.to)
          wrong.push(
            `a flush has ended, and the write of sector ${write.sector} is not on the medium`,
          )
    return wrong
  }
}

// ---------------------------------------------------------------- schedulers

/** A scheduler whose dispatches are looked at: `tell` hears of what was passed over for too long. */
export function watched(type: elevator_type, tell: (what: string) => void): elevator_type {
  const look = type.elevator_name === 'kyber' ? kyberWatch(tell) : deadlineWatch(tell)
  return {
    ...type,
    ops: {
      ...type.ops,
      insert_requests: (hctx, list, at_head) => {
        look.insert(hctx, list)
        type.ops.insert_requests(hctx, list, at_head)
      },
      dispatch_request: hctx => {
        const before = look.before(hctx)
        const rq = type.ops.dispatch_request(hctx)
        if (rq) before(rq)
        return rq
      },
    },
  }
}

interface Look {
  insert(hctx: blk_mq_hw_ctx, list: readonly number[]): void
  /** What to do when a request was dispatched. */
  before(hctx: blk_mq_hw_ctx): (rq: number) => void
}

function deadlineWatch(tell: (what: string) => void): Look {
  /** By direction: an expired request that is the oldest, and how many were dispatched since. */
  const late = [
    { rq: 0, passed: 0 },
    { rq: 0, passed: 0 },
  ]
  const expired = (dd: deadline_data, dir: number): number => {
    const [first] = dd.fifo_list[dir]!
    return first !== undefined && dd.q.blk.k.jiffies >= first[1] ? first[0] : 0
  }
  return {
    insert: () => {},
    before: hctx => {
      const dd = hctx.q.elevator!.elevator_data as deadline_data
      if (dd.dispatch.length > 0) return () => {}
      const oldest = [expired(dd, 0), expired(dd, 1)]
      return rq => {
        late.forEach((one, dir) => {
          if (oldest[dir] !== one.rq) one.passed = 0
          one.rq = oldest[dir]!
          if (one.rq === rq) one.rq = 0
          if (one.rq === 0) return
          // with writes_starved=0 writes go first for as long as there are any
          const others =
            dir === 1 ? dd.writes_starved : dd.writes_starved > 0 ? 1 : Number.POSITIVE_INFINITY
          const batches = 1 + others
          if (++one.passed > batches * Math.max(1, dd.fifo_batch))
            tell(`mq-deadline passed over an expired request ${one.passed} times`)
        })
      }
    },
  }
}

/** Reads, synchronous writes, others; as kyber has them. */
const BATCHES = [16, 8, 8]

function domainOf(opf: number): number {
  if ((opf & REQ_OP_MASK) === REQ_OP_READ) return 0
  const sync = opf & (REQ_SYNC | REQ_FUA | REQ_PREFLUSH)
  return (opf & REQ_OP_MASK) === REQ_OP_WRITE && sync ? 1 : 2
}

/** What a hardware queue has, by domain. */
interface Domains {
  readonly waiting: readonly Set<number>[]
  /** How many of each domain went while this one waited and had a token. */
  readonly passed: readonly number[][]
}

function kyberWatch(tell: (what: string) => void): Look {
  const queues = new Map<blk_mq_hw_ctx, Domains>()
  const of = (hctx: blk_mq_hw_ctx): Domains => {
    const one = queues.get(hctx) ?? {
      waiting: BATCHES.map(() => new Set<number>()),
      passed: BATCHES.map(() => BATCHES.map(() => 0)),
    }
    queues.set(hctx, one)
    return one
  }
  const domain = (hctx: blk_mq_hw_ctx, rq: number): number =>
    domainOf(hctx.q.blk.view.u32(rq + RQ_CMD_FLAGS))
  return {
    insert: (hctx, list) => {
      for (const rq of list) of(hctx).waiting[domain(hctx, rq)]!.add(rq)
    },
    before: hctx => {
      const { domain_tokens } = hctx.q.elevator!.elevator_data as kyber_queue_data
      const free = domain_tokens.map(({ depth, taken }) => taken < depth)
      const { waiting, passed } = of(hctx)
      return rq => {
        const went = domain(hctx, rq)
        waiting[went]!.delete(rq)
        passed.forEach((by, d) => {
          if (d === went || waiting[d]!.size === 0 || !free[d]) by.fill(0)
          else if (++by[went]! > BATCHES[went]!)
            tell(`kyber passed over domain ${d}: ${by[went]} of domain ${went} went`)
        })
      }
    },
  }
}
