// An open-channel device, without an NVMe controller around it: vector commands and what they leave on the media.
//
//   write    2.0: runs of addresses in one chunk, each checked in order before anything is written; the first error fails
//            the whole command. 1.2: at least a page over all planes, free sectors, pages in order.
//   read     sectors that are not readable are "deallocated": zeros and success, or an error when the host asked for it.
//            1.2: the first sector that was never written fails it and all that follow; OOB is returned before it.
//   erase    2.0: reset in order, an error ends the command. 1.2: blocks over the planes of the plane mode.
//   hybrid   1.2, optional: a write that says which logical sectors it is about (l2p.ts)
//   copy     2.0, optional: a read and a write inside of the device
//
// State changes at once, so that the next command and the chunk log see it; the time at which a command is over comes from
// the media's model (media.ts). What is still under way when power is lost may be missing, from some write unit on.
//
// Order of checks and statuses are those of the public emulators, with their slips left out: all 64 addresses of a read
// are looked at, every chunk of a write advances, wear does not wrap, a reset names its failed addresses.
//
// Not modelled: buffered writes that end after the transfer, the advice to write elsewhere (status 2F0h).

import { BLOCK_FACTORY_BAD, Blocks } from './blocks.js'
import {
  CHUNK_CLOSED,
  CHUNK_FREE,
  CHUNK_OFFLINE,
  CHUNK_OPEN,
  CHUNK_RANDOM,
  OCF_CLOSE,
  OCF_READ,
  OCF_WRITE,
} from '../../../assembly/layout.js'
import { Chunks, DESCRIPTOR_BYTES } from './chunks.js'
import { type FaultRates, MediaFaults } from './faults.js'
import { AddressFormat, geometryProblem, identity, MAX_VECTOR, MCCAP_COPY } from './geometry.js'
import type { OcssdGeometry, Place } from './geometry.js'
import { L2pTable } from './l2p.js'
import { type CellTimes, MediaTiming } from './media.js'
import { OcssdMemory, type OcssdRegion } from './memory.js'
import * as S from './status.js'
import { fail, type VectorResult } from './status.js'
import { SectorStore } from './store.js'

export interface OcssdOptions {
  readonly geometry: OcssdGeometry
  /** Of failures and of what power loss leaves. */
  readonly seed?: number
  /** Whether transfers take their channel's time (default true). */
  readonly channel?: boolean
  /** Times that differ from those of the geometry's cell. */
  readonly times?: Partial<CellTimes>
  /** How often the media fails. */
  readonly rates?: FaultRates
  /** Resets after which a chunk's reset fails; 0: never. */
  readonly endurance?: number
  /** Whether media errors carry Do Not Retry (default true). */
  readonly dnr?: boolean
  /** Bytes of sector data at most. */
  readonly budget?: number
  /** Chunks (by number) that are bad from the factory. */
  readonly bad?: readonly number[]
  /** Text of presets and failures, see faults.ts. */
  readonly presets?: string
}

/** A vector command as it came over the wire, with its lists fetched. */
export interface VectorCommand {
  readonly count: number
  readonly addresses: ArrayLike<number>
  /** Memory as words; `data` are byte addresses of each sector in it, `oob` of the OOB array, -1 for none. */
  readonly mem: Uint32Array
  readonly data: ArrayLike<number>
  readonly oob: number
  /** 1.2: plane mode in bits 0 and 1. */
  readonly control: number
}

interface Flight {
  readonly due: number
  readonly chunk: number
  readonly sector: number
  readonly count: number
}

const OOB_STEP = 4

// Places in the counts of commands and sectors, in the order of OC_READS and so on.
const READS = 0
const WRITES = 1
const ERASES = 2
const SECTORS_READ = 3
const SECTORS_WRITTEN = 4

/** Statuses that say nothing about the media: the command itself is wrong. */
const OF_THE_COMMAND: readonly number[] = [S.SC_INVALID_FIELD, S.SC_INVALID_OPCODE]

export class OpenChannelDevice {
  readonly geometry: OcssdGeometry
  readonly format: AddressFormat
  readonly chunks: Chunks
  readonly blocks: Blocks
  readonly faults: MediaFaults
  readonly store: SectorStore
  /** Of devices that keep one. */
  readonly l2p: L2pTable
  /** Deallocated or Unwritten Logical Block Error Enable. */
  dulbe = false
  /** Media Feedback: a read that could only just be corrected says so. */
  warns = true
  readonly #timing: MediaTiming
  readonly #endurance: number
  readonly #dnr: number
  /** Chunk and sector of each address of the command. */
  readonly #chunk: Int32Array = new Int32Array(MAX_VECTOR)
  readonly #sector: Int32Array = new Int32Array(MAX_VECTOR)
  readonly #place: Place = { group: 0, pu: 0, chunk: 0, sector: 0 }
  readonly #result: VectorResult = { status: 0, low: 0, high: 0, due: 0 }
  #flights: Flight[] = []
  readonly #counts: Float64Array
  readonly #memory: OcssdMemory | null

  /**
   * @param region the machine's memory for it, where the core executes plain commands; absent: memory of its own
   * @throws Error when the geometry cannot be
   */
  constructor(options: OcssdOptions, region?: OcssdRegion) {
    const problem = geometryProblem(options.geometry)
    if (problem !== null) throw new Error(problem)
    this.geometry = options.geometry
    this.format = new AddressFormat(options.geometry)
    const budget = options.budget ?? Number.POSITIVE_INFINITY
    this.#memory = region ? new OcssdMemory(options.geometry, region, budget) : null
    this.#counts = this.#memory?.counts() ?? new Float64Array(5)
    this.chunks = new Chunks(this.format, this.#memory)
    this.blocks = new Blocks(options.geometry)
    this.faults = new MediaFaults(options.geometry, options.seed ?? 0)
    this.faults.rates = options.rates ?? {}
    this.store = new SectorStore(options.geometry.clba, budget, this.#memory)
    this.l2p = new L2pTable(options.geometry.clba)
    const { channel = true, times, seed } = options
    this.#timing = new MediaTiming(options.geometry, channel, times, seed)
    this.#endurance = options.endurance ?? 0
    this.#dnr = options.dnr === false ? 0 : S.DNR
    for (const chunk of options.bad ?? []) this.#factoryBad(chunk)
    for (const preset of this.faults.read(options.presets ?? '')) {
      if (preset.type !== undefined) this.chunks.type[preset.chunk] = preset.type
      if (preset.wear !== undefined) this.chunks.wear[preset.chunk] = preset.wear
      if (preset.wp !== undefined) this.chunks.wp[preset.chunk] = preset.wp
      if (preset.state === CHUNK_OFFLINE) this.chunks.offline(preset.chunk)
      else if (preset.state !== undefined) this.chunks.set(preset.chunk, preset.state)
    }
    this.faults.changed = () => this.#allow()
    this.#allow()
  }

  /** Commands and sectors of each kind, for tests and reports. */
  get counts(): Readonly<
    Record<'reads' | 'writes' | 'erases' | 'sectorsRead' | 'sectorsWritten', number>
  > {
    const n = this.#counts
    return {
      reads: n[READS],
      writes: n[WRITES],
      erases: n[ERASES],
      sectorsRead: n[SECTORS_READ],
      sectorsWritten: n[SECTORS_WRITTEN],
    }
  }

  /** Says what the core may do by itself: what takes no time and cannot fail. */
  #allow(): void {
    const { read, write } = this.faults.mayFail
    const plain = this.geometry.version === 20 && this.#timing.untimed
    const writes = OCF_WRITE | (this.chunks.counted ? 0 : OCF_CLOSE)
    this.#memory?.allow(plain ? (read ? 0 : OCF_READ) | (write ? 0 : writes) : 0)
  }

  #factoryBad(chunk: number): void {
    const { chunks, planes } = this.geometry
    if (this.geometry.version === 20) this.chunks.offline(chunk)
    else
      for (let plane = 0; plane < planes; plane++)
        this.blocks.mark(Math.floor(chunk / chunks), chunk % chunks, plane, BLOCK_FACTORY_BAD)
  }

  // ---------------------------------------------------------------- what admin commands ask for

  /** The answer to E2h. */
  identity(): Uint8Array {
    return identity(this.geometry)
  }

  /** A part of the chunk log; null if it begins inside of a descriptor or goes beyond the end. */
  chunkLog(offset: number, bytes: number): Uint8Array | null {
    if (offset % DESCRIPTOR_BYTES !== 0 || offset < 0) return null
    const count = Math.ceil(bytes / DESCRIPTOR_BYTES)
    return this.chunks.log(offset / DESCRIPTOR_BYTES, count)?.subarray(0, bytes) ?? null
  }

  /** Descriptors of the chunks of addresses, one for each. */
  descriptors(addresses: ArrayLike<number>, count: number): Uint8Array {
    const bytes = new Uint8Array(count * DESCRIPTOR_BYTES)
    const { pus, chunks } = this.geometry
    const place = this.#place
    for (let i = 0; i < count; i++)
      if (this.format.place(addresses[i], place)) {
        const chunk = (place.group * pus + place.pu) * chunks + place.chunk
        this.chunks.descriptor(chunk, bytes, i * DESCRIPTOR_BYTES)
      }
    return bytes
  }

  /** The bad-block table of the LUN of an address (1.2); null for an address that cannot be. */
  badBlockTable(address: number): Uint8Array | null {
    if (this.geometry.version !== 12 || !this.format.place(address, this.#place)) return null
    return this.blocks.table(this.#place.group * this.geometry.pus + this.#place.pu)
  }

  /** Marks the blocks and planes of some addresses (1.2). @returns a status */
  setBadBlocks(addresses: ArrayLike<number>, count: number, type: number): number {
    const { version, pus, pageSectors, planes } = this.geometry
    if (version !== 12 || count > MAX_VECTOR) return S.SC_INVALID_FIELD | S.DNR
    for (const really of [false, true])
      for (let i = 0; i < count; i++) {
        const place = this.#place
        if (!this.format.place(addresses[i], place)) return S.SC_INVALID_FIELD | S.DNR
        const plane = Math.floor(place.sector / pageSectors) % planes
        if (really) this.blocks.mark(place.group * pus + place.pu, place.chunk, plane, type)
      }
    return S.SC_SUCCESS
  }

  // ---------------------------------------------------------------- vector commands

  #begin(now: number): VectorResult {
    const result = this.#result
    result.status = S.SC_SUCCESS
    result.low = 0
    result.high = 0
    result.due = now
    return result
  }

  #error(status: number): VectorResult {
    const dnr = OF_THE_COMMAND.includes(status) ? S.DNR : this.#dnr
    this.#result.status = status | dnr
    return this.#result
  }

  /** Finds the place of address `i`; false if there is none: its chunk is then -1. */
  #find(command: VectorCommand, i: number): boolean {
    const { pus, chunks } = this.geometry
    const place = this.#place
    const valid = this.format.place(command.addresses[i], place)
    this.#chunk[i] = valid ? (place.group * pus + place.pu) * chunks + place.chunk : -1
    this.#sector[i] = place.sector
    return valid
  }

  /** Vector write (91h). The result is valid until the next command. */
  write(command: VectorCommand, now: number): VectorResult {
    const result = this.#begin(now)
    const { count } = command
    if (count < 1 || count > MAX_VECTOR) return this.#error(S.SC_INVALID_FIELD)
    for (let i = 0; i < count; i++) this.#find(command, i)
    const problem = this.geometry.version === 20 ? this.#check20(count) : this.#check12(count)
    if (problem !== S.SC_SUCCESS) return this.#error(problem)
    this.#counts[WRITES]++
    this.#flights =
      this.#flights.length > 256 ? this.#flights.filter(f => f.due > now) : this.#flights
    for (let i = 0; i < count; ) {
      const n = this.#runAt(i, count)
      const good = this.#program(command, i, n, now)
      if (good < n) {
        fail(result, i + good, count)
        return this.#error(result.status || this.#failed(i, good))
      }
      i += n
    }
    return result
  }

  /** Hybrid write (81h) of logical sectors from `lba` on. */
  hybridWrite(command: VectorCommand, lba: number, now: number): VectorResult {
    const result = this.write(command, now)
    const failed = (i: number): boolean =>
      (((i < 32 ? result.low : result.high) >>> (i & 31)) & 1) !== 0
    const nothing = result.status !== S.SC_SUCCESS && result.low === 0 && result.high === 0
    for (let i = 0; i < command.count && !nothing; i++)
      if (!failed(i)) this.l2p.set(lba + i, this.#chunk[i], this.#sector[i])
    return result
  }

  /** The answer to EAh: device addresses of `n` logical sectors from `slba` on, all ones for none. */
  l2pTable(slba: number, n: number): Uint8Array {
    const { clba, chunks, pus } = this.geometry
    const bytes = new Uint8Array(8 * n).fill(0xff)
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < n; i++) {
      const at = this.l2p.find(slba + i)
      if (at < 0) continue
      const block = Math.floor(at / clba)
      const lun = Math.floor(block / chunks)
      const place = { group: Math.floor(lun / pus), pu: lun % pus, chunk: block % chunks }
      const address = this.format.address({ ...place, sector: at % clba })
      view.setBigUint64(8 * i, BigInt(address), true)
    }
    return bytes
  }

  /** A failed write's status, and what it does to the chunk. */
  #failed(i: number, good: number): number {
    if (this.geometry.version === 12) return S.SC_FAIL
    this.chunks.closeEarly(this.#chunk[i], this.#sector[i] + good)
    return S.SC_EARLY_CLOSE
  }

  /** Addresses from `i` on that follow each other in one chunk. */
  #runAt(i: number, count: number): number {
    let n = 1
    while (
      i + n < count &&
      this.#chunk[i + n] === this.#chunk[i] &&
      this.#sector[i + n] === this.#sector[i] + n
    )
      n++
    return n
  }

  /** The rules of 2.0 for all runs of a write. */
  #check20(count: number): number {
    let opening = 0
    for (let i = 0; i < count; ) {
      const n = this.#runAt(i, count)
      const chunk = this.#chunk[i]
      if (i + n < count && chunk >= 0 && this.#chunk[i + n] === chunk) return S.SC_OUT_OF_ORDER
      if (chunk < 0) return S.SC_WRITE_FAULT
      const random = this.chunks.type[chunk] === CHUNK_RANDOM
      const state = this.chunks.state[chunk]
      if (state === CHUNK_CLOSED || state === CHUNK_OFFLINE) return S.SC_WRITE_FAULT
      if (n < this.geometry.wsMin || n % this.geometry.wsMin !== 0) return S.SC_INVALID_FIELD
      if (!random && this.#sector[i] !== this.chunks.wp[chunk] + this.#before(i))
        return S.SC_OUT_OF_ORDER
      if (random ? state !== CHUNK_OPEN : state === CHUNK_FREE) {
        if (random || !this.chunks.mayOpen(chunk, opening)) return S.SC_WRITE_FAULT
        opening++
      }
      i += n
    }
    return S.SC_SUCCESS
  }

  /** Sectors that this command writes to the chunk of address `i` before it. */
  #before(i: number): number {
    let n = 0
    for (let j = 0; j < i; j++) if (this.#chunk[j] === this.#chunk[i]) n++
    return n
  }

  /** The rules of 1.2. */
  #check12(count: number): number {
    const { pageSectors, planes, dom } = this.geometry
    if (count < pageSectors * planes && (dom & 1) === 0) return S.SC_INVALID_FIELD
    for (let i = 0; i < count; i++) {
      if (this.#chunk[i] < 0) return S.SC_INVALID_FIELD
      let begun = 0
      for (let j = 0; j < i; j++) {
        if (this.#chunk[j] !== this.#chunk[i]) continue
        if (this.#sector[j] === this.#sector[i]) return S.SC_INVALID_FIELD
        begun = Math.max(begun, this.blocks.begunAfter(this.#sector[j]))
      }
      if (this.blocks.full(this.#chunk[i], this.#sector[i])) return S.SC_INVALID_FIELD
      if (!this.blocks.inOrder(this.#chunk[i], this.#sector[i], begun)) return S.SC_INVALID_FIELD
    }
    return S.SC_SUCCESS
  }

  /** Writes one run. @returns how many of its sectors hold */
  #program(command: VectorCommand, i: number, n: number, now: number): number {
    const chunk = this.#chunk[i]
    const sector = this.#sector[i]
    let good = this.faults.writable(chunk, sector, n)
    for (let j = 0; j < good; j++) {
      const oob = command.oob < 0 ? -1 : (command.oob >> 2) + (i + j) * OOB_STEP
      if (this.store.write(chunk, sector + j, command.mem, command.data[i + j] >> 2, oob)) continue
      this.#result.status = S.SC_CAPACITY_EXCEEDED
      good = j
    }
    if (this.geometry.version === 20) {
      if (good > 0) this.chunks.advance(chunk, good)
    } else for (let j = 0; j < good; j++) this.blocks.write(chunk, sector + j)
    this.#counts[SECTORS_WRITTEN] += good
    const due = this.#pages(i, n, now, true)
    this.#result.due = Math.max(this.#result.due, due)
    if (due > now) this.#flights.push({ due, chunk, sector, count: good })
    return good
  }

  /** Moves the pages that a run of addresses touches. @returns when the last one is done */
  #pages(i: number, n: number, now: number, program: boolean): number {
    const { planes, pageSectors, chunks } = this.geometry
    const lun = Math.floor(this.#chunk[i] / chunks)
    let due = now
    for (let j = i; j < i + n; ) {
      const page = Math.floor(this.#sector[j] / (planes * pageSectors))
      let mask = 0
      while (j < i + n && Math.floor(this.#sector[j] / (planes * pageSectors)) === page) {
        mask |= 1 << (Math.floor(this.#sector[j] / pageSectors) % planes)
        j++
      }
      const wide = (mask & 1) + ((mask >> 1) & 1) + ((mask >> 2) & 1) + ((mask >> 3) & 1)
      const end = program
        ? this.#timing.program(now, lun, page, wide)
        : this.#timing.read(now, lun, page, wide)
      due = Math.max(due, end)
    }
    return due
  }

  /** Vector read (92h). */
  read(command: VectorCommand, now: number): VectorResult {
    const result = this.#begin(now)
    const { count, mem } = command
    if (count < 1 || count > MAX_VECTOR) return this.#error(S.SC_INVALID_FIELD)
    this.#counts[READS]++
    this.#counts[SECTORS_READ] += count
    for (let i = 0; i < count; i++) {
      const valid = this.#find(command, i)
      const oob = command.oob < 0 ? -1 : (command.oob >> 2) + i * OOB_STEP
      if (valid && this.#readable(i)) {
        this.store.read(this.#chunk[i], this.#sector[i], mem, command.data[i] >> 2, oob)
        this.#suffer(i)
      } else if (this.geometry.version === 12) {
        fail(result, i, count)
        this.#take(0, i, now)
        return this.#error(valid ? S.SC_EMPTY_PAGE : S.SC_INVALID_FIELD)
      } else this.#deallocated(command, i, oob)
    }
    this.#take(0, count, now)
    return result.status === S.SC_SUCCESS ? result : this.#error(result.status)
  }

  #readable(i: number): boolean {
    const [chunk, sector] = [this.#chunk[i], this.#sector[i]]
    return this.geometry.version === 20
      ? this.chunks.readable(chunk, sector)
      : this.blocks.full(chunk, sector)
  }

  #deallocated(command: VectorCommand, i: number, oob: number): void {
    const at = command.data[i] >> 2
    command.mem.fill(0, at, at + 1024)
    if (oob >= 0) command.mem.fill(0, oob, oob + OOB_STEP)
    if (!this.dulbe) return
    fail(this.#result, i, i + 1)
    this.#result.status = S.SC_DEALLOCATED
  }

  /** The read of a sector may fail; an error outweighs a warning. */
  #suffer(i: number): void {
    const problem = this.faults.readProblem()
    if (problem === null) return
    if (problem === 'ecc') {
      fail(this.#result, i, i + 1)
      this.#result.status = S.SC_UNRECOVERED_READ
    } else if (this.#result.status === S.SC_SUCCESS && this.warns)
      this.#result.status = S.SC_HIGH_ECC
  }

  /** The time that a read takes: page by page, in the order of the addresses. */
  #take(from: number, to: number, now: number): void {
    const { planes, pageSectors } = this.geometry
    const page = (i: number): number => Math.floor(this.#sector[i] / (planes * pageSectors))
    for (let i = from; i < to; ) {
      let n = 1
      while (i + n < to && this.#chunk[i + n] === this.#chunk[i] && page(i + n) === page(i)) n++
      if (this.#chunk[i] >= 0)
        this.#result.due = Math.max(this.#result.due, this.#pages(i, n, now, false))
      i += n
    }
  }

  /** Vector erase, or chunk reset (90h). */
  erase(command: VectorCommand, now: number): VectorResult {
    const result = this.#begin(now)
    const { count } = command
    if (count < 1 || count > MAX_VECTOR) return this.#error(S.SC_INVALID_FIELD)
    this.#counts[ERASES]++
    for (let i = 0; i < count; i++) {
      const status = this.#find(command, i)
        ? this.geometry.version === 20
          ? this.#reset(i, now)
          : this.#erase12(command, i, now)
        : this.geometry.version === 20
          ? S.SC_INVALID_RESET
          : S.SC_INVALID_FIELD
      if (status === S.SC_SUCCESS) continue
      fail(result, i, i + 1)
      return this.#error(status)
    }
    return result
  }

  #reset(i: number, now: number): number {
    const chunk = this.#chunk[i]
    const problem = this.chunks.resetProblem(chunk)
    if (problem !== S.SC_SUCCESS) return problem
    this.#result.due = Math.max(this.#result.due, this.#wear(chunk, now))
    const worn = this.#endurance > 0 && this.chunks.resets[chunk] >= this.#endurance
    if (worn || this.chunks.doomed(chunk) || this.faults.resetFails(chunk)) {
      this.chunks.offline(chunk)
      this.store.clear(chunk)
      return S.SC_INVALID_RESET
    }
    this.chunks.reset(chunk)
    this.store.clear(chunk)
    return S.SC_SUCCESS
  }

  #wear(chunk: number, now: number): number {
    return this.#timing.erase(now, Math.floor(chunk / this.geometry.chunks))
  }

  #erase12(command: VectorCommand, i: number, now: number): number {
    const chunk = this.#chunk[i]
    const wanted = [1, 2, 4][command.control & 3] ?? 8
    if (wanted > this.geometry.planes) return S.SC_INVALID_FIELD
    if (this.blocks.bad(chunk)) return S.SC_INVALID_FIELD
    this.#result.due = Math.max(this.#result.due, this.#wear(chunk, now))
    const worn = this.#endurance > 0 && this.blocks.erases[chunk] >= this.#endurance
    if (worn || this.faults.resetFails(chunk)) return S.SC_FAIL
    this.blocks.erase(chunk)
    this.l2p.erase(chunk)
    this.store.clear(chunk)
    return S.SC_SUCCESS
  }

  /**
   * Vector chunk copy (93h): sectors of `command` (their data stay inside) to `to`. `scratch` is the byte address of
   * 64 sectors and their OOB in `mem`.
   */
  copy(command: VectorCommand, to: ArrayLike<number>, scratch: number, now: number): VectorResult {
    this.#begin(now)
    if (!(this.geometry.mccap & MCCAP_COPY)) return this.#error(S.SC_INVALID_OPCODE)
    const data = Array.from({ length: command.count }, (_, i) => scratch + i * 4096)
    const oob = scratch + command.count * 4096
    const read = this.read({ ...command, data, oob }, now)
    if (read.status !== S.SC_SUCCESS) return read
    return this.write({ ...command, addresses: to, data, oob }, read.due)
  }

  // ---------------------------------------------------------------- power

  /** Power is lost at `now`: of what is under way, each write keeps some of its first write units. */
  powerLoss(now: number): void {
    const flights = this.#flights.filter(flight => flight.due > now)
    this.#flights = []
    for (const { chunk, sector, count } of flights.reverse()) {
      const { version, wsMin, planes, pageSectors } = this.geometry
      const unit = version === 20 ? wsMin : planes * pageSectors
      const kept = unit * this.faults.below(Math.floor(count / unit) + 1)
      if (kept >= count) continue
      if (this.geometry.version === 20) this.#cut(chunk, sector + kept)
      else
        for (let s = sector + count - 1; s >= sector + kept; s--) {
          this.blocks.unwrite(chunk, s)
          this.l2p.undo(chunk, s)
        }
    }
  }

  #cut(chunk: number, wp: number): void {
    const state = this.chunks.state[chunk]
    if (state === CHUNK_FREE || state === CHUNK_OFFLINE || this.chunks.wp[chunk] <= wp) return
    if (this.chunks.doomed(chunk)) this.chunks.closeEarly(chunk, wp)
    else this.chunks.cut(chunk, wp)
    this.store.clear(chunk, wp)
  }
}
