// The core as it stands in the .wasm file: all exports, also those that only tests call directly. 64-bit numbers cross
// as BigInt here.

import * as L from '../../../assembly/layout.js'
import { createMemory } from '../../../src/core/memory.js'
import { View } from '../../../src/core/view.js'
import { type Core, compileCore, instantiateCore } from '../../../src/core/wasm.js'

export interface RawCore extends Core {
  sbitmap_shift(depth: number): number
  sbitmap_get(sbq: number, hint: number, roundRobin: number): number
  __sbitmap_queue_get(sbq: number, cpu: number): number
  __sbitmap_queue_get_shallow(sbq: number, cpu: number, shallow: number): number
  sbitmap_queue_get_near(hints: number, map: number, shift: number, depth: number): number
  sbitmap_queue_clear(sbq: number, nr: number, cpu: number): number
  sbitmap_queue_resize(sbq: number, depth: number): void
  sbitmap_queue_min_shallow_depth(sbq: number, depth: number): void
  sbitmap_any_bit_set(sbq: number): number
  sbitmap_any_bit_clear(sbq: number): number
  sbitmap_weight(sbq: number): number
  sbq_ws(sbq: number, index: number): number
  sbq_wait_ptr(sbq: number, index: number): number
  sbitmap_prepare_to_wait(sbq: number, ws: number, waiter: number): void
  sbitmap_finish_wait(sbq: number, waiter: number): void
  sbitmap_queue_wake_all(sbq: number): void
  hctx_may_queue(hctx: number, sbq: number): number
  blk_mq_get_tag(hctx: number, cpu: number, flags: number): number
  blk_mq_put_tag(tags: number, cpu: number, tag: number): void
  submit_bio(cpu: number, bio: number): number
  submit_bio_again(cpu: number, bio: number): number
  blk_start_plug(cpu: number): void
  blk_finish_plug(cpu: number): void
  complete_done_list(cpu: number): number
  nvme_process_cq(cpu: number, nq: number, max: number): number
  nvme_dbbuf_need_event(eventIndex: number, value: number, old: number): number
  event_by(time: bigint, kind: number, slot: number): void
  event_at(time: bigint, kind: number, slot: number): void
  event_first(evq: number): number
  event_take(evq: number, event: number): bigint
  event_over(evq: number): void
  /** 2^64 - 1, as -1n, when there is none. */
  event_time(evq: number): bigint
  dev_run_sq(dsq: number, max: number, now: bigint): number
  ocssd_execute(dev: number, oc: number, sqe: number, opcode: number): number
  ocssd_look_ahead(oc: number, dsq: number, head: number, end: number): void
  dev_post_due(dsq: number, now: bigint): number
  dev_next_due(dsq: number): bigint
}

const module = compileCore('release')

/** A core over a memory of its own without a machine: blocks are laid out by the test. */
export class Arena {
  readonly memory: WebAssembly.Memory
  readonly view: View
  readonly core: RawCore
  #next = L.PLAN_BASE + L.M_SIZE

  constructor(bytes: number) {
    this.memory = createMemory(bytes)
    this.view = new View(this.memory.buffer as unknown as SharedArrayBuffer)
    this.core = instantiateCore(module, this.memory, {
      now: () => 0,
      relax: () => {
        throw new Error('a lock was left held')
      },
    }) as RawCore
  }

  /** Zeroed bytes, which nobody gives back. */
  alloc(bytes: number, align = 128): number {
    const at = Math.ceil(this.#next / align) * align
    this.#next = at + bytes
    if (this.#next > this.view.bytes.length) throw new RangeError('the arena is too small')
    return at
  }

  /** Forgets everything that was handed out. */
  reset(): void {
    this.view.bytes.fill(0, L.PLAN_BASE, this.#next)
    this.#next = L.PLAN_BASE + L.M_SIZE
  }
}

export interface SbqShape {
  readonly depth: number
  /** Default: chosen by depth. */
  readonly shift?: number
  readonly roundRobin?: boolean
  readonly cpus?: number
  readonly shared?: boolean
  /** 0 = all hints begin at 0. */
  readonly seed?: number
}

/** A scalable bitmap with its wait queues, in an arena. */
export class Sbq {
  readonly at: number
  readonly hints: number
  /** What sbitmap_queue_init_node returned. */
  readonly initialized: number
  readonly #arena: Arena
  readonly #waitIndex: number

  constructor(arena: Arena, shape: SbqShape) {
    const { depth, shift = -1, roundRobin = false, cpus = 1, shared = false, seed = 0 } = shape
    this.#arena = arena
    this.at = arena.alloc(L.SBQ_SIZE)
    this.#waitIndex = arena.alloc(4)
    const words = arena.core.sbitmap_words(depth, Math.min(shift, 6))
    const map = arena.alloc(words * L.SBW_SIZE)
    this.hints = arena.alloc(cpus * L.SBQ_HINT_SIZE)
    const flags = [roundRobin ? 1 : 0, map, this.hints, cpus, shared ? 1 : 0, seed] as const
    this.initialized = arena.core.sbitmap_queue_init_node(this.at, depth, shift, ...flags)
  }

  #field(offset: number): number {
    return this.#arena.view.u32(this.at + offset)
  }

  get depth(): number {
    return this.#field(L.SBQ_DEPTH)
  }
  get shift(): number {
    return this.#field(L.SBQ_SHIFT)
  }
  get words(): number {
    return this.#field(L.SBQ_MAP_NR)
  }
  /** Usable bits of each word. */
  get wordDepths(): number[] {
    const map = this.#field(L.SBQ_MAP)
    return Array.from({ length: this.words }, (_, i) =>
      this.#arena.view.u32(map + i * L.SBW_SIZE + L.SBW_DEPTH),
    )
  }
  get wakeBatch(): number {
    return this.#field(L.SBQ_WAKE_BATCH)
  }
  get wakeIndex(): number {
    return this.#field(L.SBQ_WAKE_INDEX)
  }
  get sleepers(): number {
    return this.#field(L.SBQ_WAITERS)
  }
  get waitCounts(): number[] {
    return Array.from({ length: L.SBQ_WAIT_QUEUES }, (_, i) =>
      this.#arena.view.i32(this.ws(i) + L.WS_WAIT_CNT),
    )
  }
  get weight(): number {
    return this.#arena.core.sbitmap_weight(this.at)
  }

  hint(cpu = 0): number {
    return this.#arena.view.u32(this.hints + cpu * L.SBQ_HINT_SIZE)
  }
  setHint(hint: number, cpu = 0): void {
    this.#arena.view.setU32(this.hints + cpu * L.SBQ_HINT_SIZE, hint)
  }
  get(cpu = 0): number {
    return this.#arena.core.__sbitmap_queue_get(this.at, cpu)
  }
  getShallow(shallow: number, cpu = 0): number {
    return this.#arena.core.__sbitmap_queue_get_shallow(this.at, cpu, shallow)
  }
  /** Of a map of one thread, not round robin: one look at the word of the hint. */
  getNear(cpu = 0): number {
    const { core, view } = this.#arena
    const [map, shift, depth] = [L.SBQ_MAP, L.SBQ_SHIFT, L.SBQ_DEPTH].map(f =>
      view.u32(this.at + f),
    ) as [number, number, number]
    return core.sbitmap_queue_get_near(this.hints + cpu * L.SBQ_HINT_SIZE, map, shift, depth)
  }
  /** True if the bit was set. */
  clear(nr: number, cpu = 0): boolean {
    return this.#arena.core.sbitmap_queue_clear(this.at, nr, cpu) !== 0
  }
  resize(depth: number): void {
    this.#arena.core.sbitmap_queue_resize(this.at, depth)
  }
  minShallow(depth: number): void {
    this.#arena.core.sbitmap_queue_min_shallow_depth(this.at, depth)
  }
  share(users: number): void {
    this.#arena.core.sbitmap_queue_share(this.at, users)
  }
  anySet(): boolean {
    return this.#arena.core.sbitmap_any_bit_set(this.at) !== 0
  }
  anyClear(): boolean {
    return this.#arena.core.sbitmap_any_bit_clear(this.at) !== 0
  }

  ws(index: number): number {
    return this.#arena.core.sbq_ws(this.at, index)
  }
  /** Number of the wait queue that the next sleeper of this map's one hctx takes. */
  nextWs(): number {
    const ws = this.#arena.core.sbq_wait_ptr(this.at, this.#waitIndex)
    return (ws - this.ws(0)) / L.WS_SIZE
  }
  /** Enqueues a new waiter; its CPU is a block of its own. */
  wait(index: number, exclusive = true): Waiter {
    const waiter = new Waiter(this.#arena, exclusive)
    this.#arena.core.sbitmap_prepare_to_wait(this.at, this.ws(index), waiter.at)
    return waiter
  }
  finish(waiter: Waiter): void {
    this.#arena.core.sbitmap_finish_wait(this.at, waiter.at)
  }
  wakeAll(): void {
    this.#arena.core.sbitmap_queue_wake_all(this.at)
  }
  /** Addresses of the waiters of a wait queue, oldest first, checked in both directions. */
  waiting(index: number): number[] {
    const { view } = this.#arena
    const list: number[] = []
    let before = 0
    for (let at = view.u32(this.ws(index) + L.WS_HEAD); at; at = view.u32(at + L.WT_NEXT)) {
      if (view.u32(at + L.WT_PREV) !== before) throw new Error('the list is broken')
      list.push(at)
      before = at
    }
    if (view.u32(this.ws(index) + L.WS_TAIL) !== before) throw new Error('the tail is wrong')
    return list
  }
}

/** Somebody who sleeps until a bit is free. */
export class Waiter {
  readonly at: number
  readonly #view: View
  readonly #cpu: number

  constructor(arena: Arena, exclusive: boolean) {
    this.#view = arena.view
    this.#cpu = arena.alloc(L.CPU_SIZE)
    this.at = arena.alloc(L.WT_SIZE)
    arena.view.setU32(this.at + L.WT_CPU, this.#cpu)
    arena.view.setU32(this.at + L.WT_EXCLUSIVE, exclusive ? 1 : 0)
  }

  get woken(): boolean {
    return this.#view.u32(this.at + L.WT_WOKEN) === 1
  }
  /** How often its CPU was woken. */
  get wakes(): number {
    return this.#view.u32(this.#cpu + L.CPU_WAKE)
  }
}
