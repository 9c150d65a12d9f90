// A controller and a host that is the test: registers by the PCI function, entries and doorbells by hand, completions by phase
// bit. Memory, blocks and a clock are the rig's own; nothing of the driver or of a machine is here.

import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import { alignUp, createMemory, MemoryPlan } from '../../../src/core/memory.js'
import { View } from '../../../src/core/view.js'
import { compileCore, type Core, instantiateCore } from '../../../src/core/wasm.js'
import type { ControllerConfig } from '../../../src/device/nvme/config.js'
import { NvmeController } from '../../../src/device/nvme/controller.js'
import type { Extension } from '../../../src/device/nvme/extension.js'

export const PAGE = 4096
const VECTORS = 8

let compiled: WebAssembly.Module | undefined

export interface RigOptions {
  readonly config?: Partial<ControllerConfig>
  /** Made anew for each controller. */
  readonly extensions?: () => readonly Extension[]
  readonly queues?: number
  readonly entries?: number
  readonly sizeBytes?: number
  readonly lbaShift?: number
  /** Data are kept unless false. */
  readonly store?: boolean
  readonly poolPages?: number
  /** Time of a command on the medium, ns; 0 = none. */
  readonly serviceNs?: number
  /** Pages of host memory for buffers and rings. */
  readonly pages?: number
}

/** One entry; what is left out is 0. */
export interface Entry {
  readonly opcode: number
  readonly flags?: number
  readonly cid?: number
  readonly nsid?: number
  readonly mptr?: number
  readonly prp1?: number
  readonly prp2?: number
  /** SGL: type and subtype of the descriptor, whose length is prp2. */
  readonly sgl?: number
  /** Command dwords 10 to 15. */
  readonly cdw?: readonly number[]
}

export interface Completion {
  readonly dw0: number
  readonly dw1: number
  readonly sqhd: number
  readonly sqid: number
  readonly cid: number
  readonly phase: number
  readonly status: number
}

interface Ring {
  readonly base: number
  readonly entries: number
  at: number
  phase: number
}

/** Read or Write of so many blocks: command dwords 10 to 12. */
export function blocks(slba: number, count: number, flags = 0): number[] {
  return [slba >>> 0, Math.floor(slba / 2 ** 32), ((count - 1) | flags) >>> 0, 0, 0, 0]
}

export class Rig {
  readonly view: View
  readonly core: Core
  controller: NvmeController
  readonly at: ConstructorParameters<typeof NvmeController>[1]
  readonly pool: number
  readonly entries: number
  now = 0
  readonly raised: number[] = []
  readonly #sq = new Map<number, Ring>()
  readonly #cq = new Map<number, Ring>()
  readonly #timers: { readonly at: number; readonly fn: () => void }[] = []
  #free: number
  readonly #end: number
  readonly #make: () => NvmeController
  #cid = 0

  constructor(options: RigOptions = {}) {
    const { queues = 4, entries = 64, sizeBytes = 2 ** 24, lbaShift = 9, pages = 256 } = options
    const poolPages = options.poolPages ?? 1024
    const slots = options.config?.slots ?? 1
    const plan = new MemoryPlan()
    const take = (bytes: number, align?: number): number => plan.take('rig', 'block', bytes, align)
    const each = (bytes: number): number[] => Array.from({ length: queues + 1 }, () => take(bytes))
    take(L.M_SIZE)
    const events = take(L.EVQ_SIZE)
    const heap = take((queues + 1) * 6 * L.EV_SIZE)
    const irqStride = alignUp(L.IRQ_SIZE, L.LINE_PAIR)
    const at = {
      dev: take(L.DEV_SIZE),
      ns: take(slots * L.NS_SIZE),
      dsqs: each(L.DSQ_SIZE),
      dcqs: each(L.DCQ_SIZE),
      fifos: each(entries * L.FIFO_SIZE),
      irqs: take(VECTORS * irqStride),
      irqStride,
      bar: take(N.DOORBELLS + (queues + 1) * 8 * 2 ** (options.config?.stride ?? 0), PAGE),
    }
    const units = take(8 * 8)
    const store = take(L.ST_SIZE)
    const leaves = Math.ceil(sizeBytes / 2 ** 22)
    const dir = take(leaves * 4)
    const pool = take(L.POOL_SIZE)
    const host = take(pages * PAGE, PAGE)
    const poolStart = take(poolPages * PAGE, PAGE)
    const memory = createMemory(plan.end)
    const view = new View(memory.buffer as unknown as SharedArrayBuffer)
    compiled ??= compileCore('release')
    this.view = view
    this.at = at
    this.pool = pool
    this.entries = entries
    this.#free = host
    this.#end = host + pages * PAGE
    const set = (base: number, fields: readonly (readonly [number, number])[]): void => {
      for (const [field, value] of fields) view.setU32(base + field, value)
    }
    set(L.M_BASE, [
      [L.M_CLOCK, L.CLOCK_VIRTUAL],
      [L.M_EVENTS, events],
    ])
    view.setU64(L.M_BASE + L.M_JIFFY_NS, 1e6)
    view.setU64(L.M_BASE + L.M_NEXT_JIFFY, 1e6)
    set(events, [
      [L.EVQ_CAP, (queues + 1) * 3],
      [L.EVQ_HEAP, heap],
    ])
    set(at.dev, [
      [L.DEV_MODEL, options.serviceNs ? L.MODEL_FIXED : L.MODEL_RAM],
      [L.DEV_UNITS, 8],
      [L.DEV_UNIT_FREE, units],
    ])
    view.setU64(at.dev + L.DEV_SERVICE_NS, options.serviceNs ?? 0)
    view.setU64(at.ns + L.NS_NSZE, sizeBytes / 2 ** lbaShift)
    view.setU32(at.ns + L.NS_LBADS, lbaShift)
    view.setU32(at.ns + L.NS_STORE, options.store === false ? 0 : store)
    set(store, [
      [L.ST_DIR, dir],
      [L.ST_DIRS, leaves],
      [L.ST_POOL, pool],
    ])
    set(pool, [
      [L.POOL_NEXT, poolStart],
      [L.POOL_END, poolStart + poolPages * PAGE],
    ])
    this.core = instantiateCore(compiled, memory, {
      now: () => this.now,
      relax: () => {},
      device_host: (what, dsq, sqe, arg) => this.controller.deviceHost(what, dsq, sqe >>> 0, arg),
    })
    const dma = options.config?.dma ?? { from: host, to: this.#end }
    const config = { entries, ioQueues: queues, vectors: VECTORS, ...options.config, dma }
    const nvm = [at.ns, sizeBytes / 2 ** lbaShift, lbaShift] as const
    this.#make = () => {
      view.setU64(nvm[0] + L.NS_NSZE, nvm[1])
      view.setU32(nvm[0] + L.NS_LBADS, nvm[2])
      return new NvmeController(this.#ports(), at, config, options.extensions?.())
    }
    this.controller = this.#make()
    this.controller.busMaster(true)
  }

  #ports(): ConstructorParameters<typeof NvmeController>[0] {
    return {
      view: this.view,
      core: this.core,
      now: () => this.now,
      after: (ns, fn) => this.#after(ns, fn),
      raise: vector => this.raised.push(vector),
    }
  }

  /** Another controller as it was at first, on the same blocks; the medium and host memory are zeroed. */
  renew(): void {
    const { view, at } = this
    this.#timers.length = 0
    const { from, to } = this.controller.config.dma!
    const { store, capacity } = this.controller.spaces
    this.core.dev_zero(store, 0, capacity)
    this.core.dev_read(store, 0, from, to - from) // zeroes, faster than a fill of shared memory from here
    view.fill(at.bar, 0x40, 0)
    this.controller = this.#make()
    this.controller.busMaster(true)
  }

  // ---------------------------------------------------------------- time

  #after(ns: number, fn: () => void): () => void {
    const timer = { at: this.now + ns, fn }
    this.#timers.push(timer)
    return () => this.#timers.splice(this.#timers.indexOf(timer), 1)
  }

  /** Lets time pass: the controller's timers, the core's events. */
  run(ns: number): void {
    const end = this.now + ns
    for (;;) {
      this.#timers.sort((a, b) => a.at - b.at)
      const next = this.#timers[0]
      if (!next || next.at > end) break
      this.#events(next.at)
      this.#timers.shift()
      next.fn()
    }
    this.#events(end)
  }

  #events(until: number): void {
    while ((this.core.virtual_run(1000, until) & L.RUN_REASON) === L.RUN_MORE);
    this.now = until
  }

  // ---------------------------------------------------------------- host memory

  /** Zeroed memory that the controller may reach. */
  alloc(bytes: number, align: number = PAGE): number {
    const at = alignUp(this.#free, align)
    if (at + bytes > this.#end) throw new Error('the rig has no memory left')
    this.#free = at + bytes
    this.view.fill(at, bytes, 0)
    return at
  }

  bytes(at: number, length: number): Uint8Array {
    return this.view.bytes.subarray(at, at + length)
  }

  // ---------------------------------------------------------------- registers and queues

  read(offset: number): number {
    return this.controller.read32(offset)
  }

  write(offset: number, value: number): void {
    this.controller.write32(offset, value)
  }

  #ring(base: number, entries: number): Ring {
    return { base, entries, at: 0, phase: 1 }
  }

  /** Writes AQA, ASQ, ACQ and enables. */
  enable(entries = 32, cc = 0x00460001): void {
    const sq = this.alloc(entries * N.SQE_BYTES)
    const cq = this.alloc(entries * N.CQE_BYTES)
    this.#sq.clear()
    this.#cq.clear()
    this.#sq.set(0, this.#ring(sq, entries))
    this.#cq.set(0, this.#ring(cq, entries))
    this.write(0x24, ((entries - 1) | ((entries - 1) << 16)) >>> 0)
    this.write(0x28, sq)
    this.write(0x2c, 0)
    this.write(0x30, cq)
    this.write(0x34, 0)
    this.write(0x14, cc)
  }

  /** Creates an I/O queue pair; throws when the controller refuses. */
  pair(
    qid: number = 1,
    entries: number = this.entries,
    vector: number = qid,
    cqid: number = qid,
    priority: number = 0,
  ): void {
    if (!this.#cq.has(cqid)) {
      const cq = this.alloc(entries * N.CQE_BYTES)
      this.#good(this.createCq(cqid, cq, entries, vector))
      this.#cq.set(cqid, this.#ring(cq, entries))
    }
    const sq = this.alloc(entries * N.SQE_BYTES)
    this.#good(this.createSq(qid, sq, entries, cqid, 1 | (priority << 1)))
    this.#sq.set(qid, this.#ring(sq, entries))
    if (qid !== cqid) this.#cq.set(qid, this.#cq.get(cqid)!)
  }

  #good(c: Completion): void {
    if (c.status !== 0) throw new Error(`status 0x${c.status.toString(16)}`)
  }

  createCq(qid: number, at: number, entries: number, vector = 0, flags = 3): Completion {
    const cdw = [(qid | ((entries - 1) << 16)) >>> 0, (flags | (vector << 16)) >>> 0]
    return this.admin({ opcode: 0x05, prp1: at, cdw })
  }

  createSq(qid: number, at: number, entries: number, cqid: number, flags = 1): Completion {
    const cdw = [(qid | ((entries - 1) << 16)) >>> 0, (flags | (cqid << 16)) >>> 0]
    return this.admin({ opcode: 0x01, prp1: at, cdw })
  }

  /** Writes an entry at a queue's tail; its identifier. */
  push(qid: number, e: Entry): number {
    const { view } = this
    const ring = this.#sq.get(qid)!
    const at = ring.base + ring.at * N.SQE_BYTES
    const cid = e.cid ?? this.#cid++ % 60000
    view.fill(at, N.SQE_BYTES, 0)
    view.setU32(at, (e.opcode | ((e.flags ?? 0) << 8) | (cid << 16)) >>> 0)
    view.setU32(at + N.SQE_NSID, e.nsid ?? 0)
    view.setU64(at + N.SQE_MPTR, e.mptr ?? 0)
    view.setU64(at + N.SQE_PRP1, e.prp1 ?? 0)
    view.setU64(at + N.SQE_PRP2, e.prp2 ?? 0)
    if (e.sgl) view.bytes[at + N.SQE_PRP2 + 7] = e.sgl
    e.cdw?.forEach((word, i) => {
      view.setU32(at + N.SQE_CDW10 + 4 * i, word >>> 0)
    })
    ring.at = (ring.at + 1) % ring.entries
    return cid
  }

  /** Rings the submission doorbell. */
  ring(qid: number, value: number = this.#sq.get(qid)!.at): void {
    this.write(this.doorbell(qid, 0), value)
  }

  doorbell(qid: number, completion: number): number {
    return N.DOORBELLS + (2 * qid + completion) * 4 * 2 ** this.controller.config.stride
  }

  /** Takes what is new in a completion queue; rings its doorbell unless told not to. */
  reap(cqid: number, ring = true): Completion[] {
    const { view } = this
    const cq = this.#cq.get(cqid)!
    const list: Completion[] = []
    for (;;) {
      const at = cq.base + cq.at * N.CQE_BYTES
      const word = view.u32(at + N.CQE_DW3)
      if (((word >>> 16) & 1) !== cq.phase) break
      const heads = view.u32(at + N.CQE_SQHD)
      list.push({
        dw0: view.u32(at),
        dw1: view.u32(at + 4),
        sqhd: heads & 0xffff,
        sqid: heads >>> 16,
        cid: word & 0xffff,
        phase: cq.phase,
        status: word >>> 17,
      })
      if (++cq.at === cq.entries) {
        cq.at = 0
        cq.phase ^= 1
      }
    }
    if (ring && list.length > 0) this.write(this.doorbell(cqid, 1), cq.at)
    return list
  }

  /** One command from entry to completion; a controller that takes time gets a second. */
  execute(qid: number, e: Entry): Completion {
    const cid = this.push(qid, e)
    this.ring(qid)
    let done = this.reap(qid)
    if (done.length === 0) {
      this.run(1e9)
      done = this.reap(qid)
    }
    const own = done.find(c => c.cid === cid)
    if (!own || done.length !== 1) throw new Error(`${done.length} completions for one command`)
    return own
  }

  admin(e: Entry): Completion {
    return this.execute(0, e)
  }

  /** Identify: the structure, or the status. */
  identify(cns: number, nsid = 0, more = 0): Uint8Array | number {
    const at = this.#buffer()
    const cdw = [(cns | more) >>> 0]
    const { status } = this.admin({ opcode: 0x06, nsid, prp1: at, cdw })
    return status === 0 ? this.bytes(at, PAGE).slice() : status
  }

  /** Get Log Page from its beginning: the bytes, or the status. */
  log(id: number, bytes: number, flags = 0, offset = 0): Uint8Array | number {
    const at = this.#buffer()
    const dwords = bytes / 4 - 1
    const cdw = [(id | flags | (dwords << 16)) >>> 0, dwords >>> 16, offset, 0]
    const { status } = this.admin({ opcode: 0x02, prp1: at, cdw })
    return status === 0 ? this.bytes(at, bytes).slice() : status
  }

  #page = 0
  #buffer(): number {
    this.#page ||= this.alloc(PAGE)
    this.view.fill(this.#page, PAGE, 0xee)
    return this.#page
  }

  feature(fid: number, more: Partial<Entry> = {}, select = 0, word = 0): Completion {
    return this.admin({ opcode: 0x0a, cdw: [fid | (select << 8), word], ...more })
  }

  setFeature(fid: number, word: number, save = 0, more: Partial<Entry> = {}): Completion {
    return this.admin({ opcode: 0x09, cdw: [(fid | (save << 31)) >>> 0, word], ...more })
  }
}

/** A rig that is enabled and has one I/O queue pair. */
export function ready(options: RigOptions = {}): Rig {
  const rig = new Rig(options)
  rig.enable()
  rig.pair()
  return rig
}
