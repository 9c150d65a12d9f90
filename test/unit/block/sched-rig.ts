// A scheduler on a queue of its own, without a driver: requests are slots in an arena, what the block layer would do with
// them is written down.

import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import type {
  BlockLayer,
  blk_mq_hw_ctx,
  elevator_queue,
  elevator_type,
  request_queue,
} from '../../../src/block/blkdev.js'
import type { Core } from '../../../src/core/wasm.js'
import {
  alloc_workqueue,
  delayed_work,
  INIT_DELAYED_WORK,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
} from '../../../src/kernel/workqueue.js'
import { Arena } from '../core/raw.js'
import { VirtualKernel } from '../kernel/support.js'

export const READ = N.REQ_OP_READ
export const WRITE = N.REQ_OP_WRITE
export const SYNC_WRITE = N.REQ_OP_WRITE | N.REQ_SYNC

const arena = new Arena(2 ** 22)

export class SchedRig {
  readonly vk: VirtualKernel = new VirtualKernel()
  readonly q: request_queue
  readonly hctx: blk_mq_hw_ctx
  /** Slots given back by a merge. */
  readonly freed: number[] = []
  /** Called when the hardware queue is run asynchronously. */
  onRun: () => void = () => {}
  readonly #ctxs: number

  constructor(type: elevator_type, hz = 250, ctxs = 1) {
    arena.reset()
    this.vk = new VirtualKernel({ hz })
    const { view } = arena
    const at = arena.alloc(L.Q_SIZE)
    view.setU32(at + L.Q_MAX_SECTORS, 256)
    view.setU32(at + L.Q_MAX_SEGMENTS, 64)
    this.#ctxs = arena.alloc(ctxs * L.CTX_SIZE)
    for (let i = 0; i < ctxs; i++) view.setU32(this.#ctxs + i * L.CTX_SIZE + L.CTX_INDEX_HW, i)
    const core = {
      blk_try_merge: arena.core.blk_try_merge,
      blk_mq_free_request: (_: number, rq: number) => this.freed.push(rq),
      sbitmap_queue_min_shallow_depth: () => {}, // there are no tags here
    } as unknown as Core
    const { k } = this.vk
    const kblockd = alloc_workqueue(k, 'kblockd', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
    const blk = { k, core, view, cpus: [0], kblockd } as unknown as BlockLayer
    const q = { blk, at, name: 'test', elevator: null, queue_hw_ctx: [] as blk_mq_hw_ctx[] }
    this.q = q as unknown as request_queue
    const cpumask = Array.from({ length: ctxs }, (_, i) => i)
    const run_work = new delayed_work<unknown>(k, null)
    INIT_DELAYED_WORK(run_work, () => this.onRun())
    const hctx = { at: arena.alloc(L.HC_SIZE), q: this.q, cpumask, run_work }
    this.hctx = hctx as unknown as blk_mq_hw_ctx
    q.queue_hw_ctx.push(this.hctx)
    const e: elevator_queue = { type, q: this.q, elevator_data: null }
    this.q.elevator = e
    if (type.ops.init_sched(this.q, e) !== 0) throw new Error('init_sched failed')
    type.ops.init_hctx?.(this.hctx)
  }

  get #ops(): elevator_type['ops'] {
    return this.q.elevator!.type.ops
  }

  bio(opf: number, sector: number, sectors = 8): number {
    const { view } = arena
    const bio = arena.alloc(L.BIO_BYTES)
    view.setU32(bio + L.BIO_OPF, opf)
    view.setU64(bio + L.BIO_SECTOR, sector)
    view.setU32(bio + L.BIO_SIZE, sectors * 512)
    return bio
  }

  /** A request with one bio. */
  request(opf: number, sector: number, sectors = 8, ctx = 0): number {
    const { view } = arena
    const rq = arena.alloc(L.RQ_SIZE)
    const bio = this.bio(opf, sector, sectors)
    view.setU32(rq + L.RQ_CMD_FLAGS, opf)
    view.setU64(rq + L.RQ_SECTOR, sector)
    view.setU32(rq + L.RQ_DATA_LEN, sectors * 512)
    view.setU32(rq + L.RQ_NR_SEGS, 1)
    view.setU32(rq + L.RQ_BIO, bio)
    view.setU32(rq + L.RQ_BIOTAIL, bio)
    view.setU32(rq + L.RQ_CTX, this.#ctxs + ctx * L.CTX_SIZE)
    return rq
  }

  insert(rqs: readonly number[], at_head = false): void {
    this.#ops.insert_requests(this.hctx, [...rqs], at_head)
  }

  /** A new request, inserted. */
  add(opf: number, sector: number, sectors = 8, ctx = 0): number {
    const rq = this.request(opf, sector, sectors, ctx)
    this.insert([rq])
    return rq
  }

  /** The next request, 0 if there is none now. */
  dispatch(): number {
    return this.#ops.dispatch_request(this.hctx)
  }

  /** Dispatches until nothing comes any more: the first sectors. */
  drain(): number[] {
    const sectors: number[] = []
    for (let rq = this.dispatch(); rq; rq = this.dispatch()) sectors.push(this.sector(rq))
    return sectors
  }

  merge(bio: number): boolean {
    return this.#ops.bio_merge!(this.hctx, bio)
  }

  /** The driver is done with a request. */
  end(rq: number): void {
    this.#ops.completed_request?.(this.q, rq)
    this.#ops.finish_request?.(this.q, rq)
  }

  has_work(): boolean {
    return this.#ops.has_work(this.hctx)
  }

  sector(rq: number): number {
    return arena.view.u64(rq + L.RQ_SECTOR)
  }

  sectors(rq: number): number {
    return arena.view.u32(rq + L.RQ_DATA_LEN) / 512
  }

  /** Bios of a request, by their first sectors. */
  bios(rq: number): number[] {
    const found: number[] = []
    const { view } = arena
    for (let bio = view.u32(rq + L.RQ_BIO); bio; bio = view.u32(bio + L.BIO_NEXT))
      found.push(view.u64(bio + L.BIO_SECTOR))
    return found
  }

  set(name: string, value: string): number {
    return this.#attr(name).store(this.q.elevator!, value)
  }

  show(name: string): string {
    return this.#attr(name).show(this.q.elevator!)
  }

  #attr(name: string): elevator_type['elevator_attrs'][number] {
    const attr = this.q.elevator!.type.elevator_attrs.find(one => one.name === name)
    if (attr === undefined) throw new Error(`no tunable ${name}`)
    return attr
  }
}
