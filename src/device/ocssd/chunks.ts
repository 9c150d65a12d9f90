// The chunks of a device of revision 2.0: their states, write pointers and wear, and the chunk log that reports them.
//
//   FREE     write at 0                  OPEN
//   OPEN     write at the write pointer  OPEN, or CLOSED when the chunk is full
//   CLOSED   reset                       FREE, wear + 1
//   FREE     reset                       FREE, wear + 1 (mccap bit 1), else refused
//   OPEN     reset                       FREE (mccap bit 2), else refused
//   any      a reset that fails          OFFLINE, write pointer all ones
//   OPEN     a write that fails          CLOSED: "early close", and the next reset fails
//
// A chunk of random-write type takes reads and writes while it is OPEN, and has no write pointer.
// Wear saturates at 255. Beyond the limit of open chunks a write to a FREE chunk is a write fault.

import {
  CHUNK_CLOSED,
  CHUNK_FREE,
  CHUNK_OFFLINE,
  CHUNK_OPEN,
  CHUNK_RANDOM,
  CHUNK_SEQUENTIAL,
} from '../../../assembly/layout.js'
import { type AddressFormat, MCCAP_EARLY_RESET, MCCAP_MULTI_RESET } from './geometry.js'
import type { OcssdMemory } from './memory.js'
import { SC_INVALID_RESET, SC_OFFLINE_CHUNK, SC_SUCCESS } from './status.js'

/** Bytes of a chunk descriptor in the log page CAh. */
export const DESCRIPTOR_BYTES = 32

/** The write pointer of a chunk that is gone. */
const WP_OFFLINE = 0xffff

export class Chunks {
  readonly #format: AddressFormat
  readonly state: Uint8Array
  readonly type: Uint8Array
  readonly wear: Uint8Array
  readonly wp: Uint32Array
  /** Resets that succeeded, which the wear index cannot count beyond 255. */
  readonly resets: Uint32Array
  /** Chunks whose next reset fails. */
  readonly #doomed: Uint8Array
  /** Whether there is a limit to open chunks. Without one nobody counts them, and the core may close one. */
  readonly counted: boolean
  /** Open chunks of each PU, and of all. */
  readonly #open: Uint16Array
  #openAll = 0

  /** @param memory where the core sees states, types and write pointers; null: nowhere */
  constructor(format: AddressFormat, memory: OcssdMemory | null = null) {
    const { groups, pus, chunks } = format.geometry
    const count = groups * pus * chunks
    this.#format = format
    this.counted = format.geometry.maxoc > 0 || format.geometry.maxocpu > 0
    const seen = memory?.chunks(count)
    this.state = (seen?.state ?? new Uint8Array(count)).fill(CHUNK_FREE)
    this.type = (seen?.type ?? new Uint8Array(count)).fill(CHUNK_SEQUENTIAL)
    this.wear = new Uint8Array(count)
    this.wp = seen?.wp ?? new Uint32Array(count)
    this.resets = new Uint32Array(count)
    this.#doomed = new Uint8Array(count)
    this.#open = new Uint16Array(groups * pus)
  }

  #pu(chunk: number): number {
    return Math.floor(chunk / this.#format.geometry.chunks)
  }

  /** Puts a chunk into a state. */
  set(chunk: number, state: number): void {
    if (this.counted) {
      const more = Number(state === CHUNK_OPEN) - Number(this.state[chunk] === CHUNK_OPEN)
      this.#open[this.#pu(chunk)] += more
      this.#openAll += more
    }
    this.state[chunk] = state
  }

  /** Whether one more chunk of its PU may be opened, if `opening` are opened by the same command. */
  mayOpen(chunk: number, opening: number): boolean {
    const { maxoc, maxocpu } = this.#format.geometry
    if (maxoc > 0 && this.#openAll + opening >= maxoc) return false
    return maxocpu === 0 || this.#open[this.#pu(chunk)] + opening < maxocpu
  }

  /** `sectors` more are written. */
  advance(chunk: number, sectors: number): void {
    if (this.type[chunk] === CHUNK_RANDOM) return
    this.wp[chunk] += sectors
    this.set(chunk, this.wp[chunk] >= this.#format.geometry.clba ? CHUNK_CLOSED : CHUNK_OPEN)
  }

  /** A write failed at a sector: the chunk takes no more, and its next reset fails. */
  closeEarly(chunk: number, wp: number): void {
    this.wp[chunk] = wp
    this.#doomed[chunk] = 1
    this.set(chunk, CHUNK_CLOSED)
  }

  /** Power was lost in the middle of a write: what it wrote ends at `wp`. */
  cut(chunk: number, wp: number): void {
    this.wp[chunk] = wp
    this.set(chunk, wp === 0 ? CHUNK_FREE : CHUNK_OPEN)
  }

  /** Whether a sector can be read from the media now. */
  readable(chunk: number, sector: number): boolean {
    const state = this.state[chunk]
    if (this.type[chunk] === CHUNK_RANDOM) return state === CHUNK_OPEN
    if (state === CHUNK_CLOSED) return sector < this.wp[chunk]
    return state === CHUNK_OPEN && sector < this.wp[chunk] - this.#format.geometry.mwCunits
  }

  /** Why a chunk cannot be reset, without DNR; SC_SUCCESS if it can. */
  resetProblem(chunk: number): number {
    const { mccap } = this.#format.geometry
    const state = this.state[chunk]
    if (state === CHUNK_OFFLINE) return SC_OFFLINE_CHUNK
    if (state === CHUNK_FREE && !(mccap & MCCAP_MULTI_RESET)) return SC_INVALID_RESET
    if (state === CHUNK_OPEN && !(mccap & MCCAP_EARLY_RESET)) return SC_INVALID_RESET
    return SC_SUCCESS
  }

  /** Whether the next reset of a chunk must fail. */
  doomed(chunk: number): boolean {
    return this.#doomed[chunk] !== 0
  }

  /** The chunk is gone for good. */
  offline(chunk: number): void {
    this.wp[chunk] = WP_OFFLINE
    this.set(chunk, CHUNK_OFFLINE)
  }

  reset(chunk: number): void {
    this.wp[chunk] = 0
    this.resets[chunk]++
    if (this.wear[chunk] < 255) this.wear[chunk]++
    this.set(chunk, CHUNK_FREE)
  }

  /** Descriptors `from` to `from` + `count` - 1 of the log; null beyond its end. */
  log(from: number, count: number): Uint8Array | null {
    if (from + count > this.state.length) return null
    const bytes = new Uint8Array(count * DESCRIPTOR_BYTES)
    for (let i = 0; i < count; i++) this.descriptor(from + i, bytes, i * DESCRIPTOR_BYTES)
    return bytes
  }

  /** Writes the descriptor of a chunk. */
  descriptor(chunk: number, to: Uint8Array, at: number): void {
    const { chunks, pus, clba } = this.#format.geometry
    const pu = this.#pu(chunk)
    const place = { group: Math.floor(pu / pus), pu: pu % pus, chunk: chunk % chunks, sector: 0 }
    const view = new DataView(to.buffer, to.byteOffset + at, DESCRIPTOR_BYTES)
    view.setUint8(0, this.state[chunk])
    view.setUint8(1, this.type[chunk])
    view.setUint8(2, this.wear[chunk])
    view.setBigUint64(8, BigInt(this.#format.address(place)), true)
    view.setBigUint64(16, BigInt(clba), true)
    view.setBigUint64(24, BigInt(this.wp[chunk]), true)
  }
}
