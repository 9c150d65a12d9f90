// A program's own queue to a disk, for many small I/Os: it has slots, each with a buffer in the machine's memory, as
// io_uring has registered buffers. Nothing is allocated and nothing copied for an I/O.
//
//   read, write   fill a slot's bio and submit it: one call into the core (plain_rw), or the bio is filled here and goes
//                 the whole way (submit_bio). Whether a slot is free its bio says (BIO_BUSY)
//   poll          real time: one look for completions (plain_look); virtual time: time passes until something has ended
//   ended         a promise for the I/O in a slot; what the promises of one turn wait for is polled for together
//
// Ended bios come in the CPU's ring, together with those of the machine's other users, who get theirs.

import {
  BIO_BUFFER,
  BIO_BUSY,
  BIO_DISK,
  BIO_END_IO,
  BIO_PRIVATE,
  BIO_STATUS,
  CPU_RING,
  END_IO_RING,
  RING_BASE,
  RING_HEAD,
  RING_MASK,
  RING_TAIL,
  RUN_MORE,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { Disk } from '../machine/machine.js'
import { turn } from '../machine/turn.js'
import { checkRange, errnoOf, fillBio, OPF } from './open-io.js'

/** A slot: bio and buffer, of which `maxBytes` may be used. */
export interface QueueSlot {
  readonly bio: number
  readonly buffer: number
}

/** What a queue needs of its machine. */
export interface QueueHost {
  readonly core: Core
  readonly view: View
  /** The CPU that submits. */
  readonly cpu: number
  readonly disk: Disk
  readonly maxBytes: number
  /** Whether the clock is the host's. */
  readonly real: boolean
  /** Stamps the time of what follows. */
  readonly stamp: () => void
  /** Lets the machine do what it can, and hands out what has ended. @throws Error when nothing will ever end */
  readonly step: () => void
  /** Submits a filled bio, waiting for a tag if need be. */
  readonly submit: (bio: number) => void
  /** A bio that is not of this queue has ended. */
  readonly completed: (bio: number) => void
}

/** Looks between two readings of the host's clock. */
const LOOKS_A_STAMP = 64

const READ = OPF.read
const WRITE = OPF.write
/** The engine knows what a constant of this file is, and reads an imported one each time. */
const MORE: number = RUN_MORE
/** Word indices in a bio. */
const BUSY = BIO_BUSY >>> 2
const PRIVATE = BIO_PRIVATE >>> 2
const STATUS = BIO_STATUS >>> 2

/**
 * A queue of `slots` I/Os to one disk. Make one with OpenMachine.queue(). Fields begin as what they will hold: the engine then
 * need not ask each time what they are.
 */
export class IoQueue {
  /** How many I/Os it holds; slots are numbered from 0. */
  readonly slots: number = 0
  readonly #host: QueueHost
  readonly #rw: Core['plain_rw']
  readonly #look: Core['plain_look']
  /** The memory as signed words, which the engine need not look at twice; addresses are shifted without their sign. */
  readonly #ints: Int32Array = new Int32Array(0)
  readonly #cpu: number = 0
  readonly #places: readonly QueueSlot[]
  /** The bios of the slots. */
  readonly #bios: readonly number[]
  /** The number of slot 0 in BIO_PRIVATE. */
  readonly #first: number = 0
  readonly #maxBytes: number = 0
  /** Word indices of the ring of ended bios. */
  readonly #head: number = 0
  readonly #tail: number = 0
  readonly #base: number = 0
  readonly #mask: number = 0
  readonly #waiting: (((errno: number) => void) | undefined)[]
  readonly #giveUp: (((error: unknown) => void) | undefined)[]
  /** Ended while the machine was doing something else. */
  readonly #kept: number[] = []
  #inFlight = 0
  /** Polls until the next one that does more than look; stays 0 in virtual time, where each does. */
  #looks = 0
  #awaited = 0
  #pumping = false

  /** Use OpenMachine.queue(). @param first the number of its first slot in BIO_PRIVATE */
  constructor(host: QueueHost, places: readonly QueueSlot[], first: number) {
    const { view, cpu, disk } = host
    this.#host = host
    this.#rw = host.core.plain_rw
    this.#look = host.core.plain_look
    this.#ints = view.ints
    this.#cpu = cpu
    this.#places = places
    this.#maxBytes = host.maxBytes
    this.slots = places.length
    this.#bios = places.map(({ bio }) => bio)
    this.#waiting = places.map(() => undefined)
    this.#giveUp = places.map(() => undefined)
    this.#first = first
    const ring = view.u32(cpu + CPU_RING)
    this.#head = (ring + RING_HEAD) >>> 2
    this.#tail = (ring + RING_TAIL) >>> 2
    this.#base = view.u32(ring + RING_BASE) >>> 2
    this.#mask = view.u32(ring + RING_MASK)
    for (const [i, { bio, buffer }] of places.entries()) {
      view.setU32(bio + BIO_DISK, disk.q)
      view.setU32(bio + BIO_END_IO, END_IO_RING)
      view.setU32(bio + BIO_PRIVATE, first + i)
      view.setU32(bio + BIO_BUFFER, buffer)
      view.setU32(bio + BIO_BUSY, 0)
    }
  }

  /** Submitted, and not yet given to poll()'s callback or a promise. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** The memory that reads of a slot fill and writes of it are taken from; the machine's own, not a copy. */
  buffer(slot: number): Uint8Array {
    const { buffer } = this.#place(slot)
    return this.#host.view.bytes.subarray(buffer, buffer + this.#maxBytes)
  }

  /** Reads `length` bytes at `offset` of the disk into the slot's buffer. @throws UserError, RangeError */
  read(slot: number, offset: number, length: number): void {
    this.#submit(READ, slot, offset, length)
  }

  /** Writes the first `length` bytes of the slot's buffer to `offset` of the disk. @throws UserError, RangeError */
  write(slot: number, offset: number, length: number): void {
    this.#submit(WRITE, slot, offset, length)
  }

  #submit(opf: number, slot: number, offset: number, length: number): void {
    const bio = this.#bios[slot]
    if (
      bio === undefined ||
      (length | 0) !== length || // the core would cut it
      length > this.#maxBytes ||
      this.#rw(this.#cpu, bio, opf, offset, length) < 0 // NOT_PLAIN
    )
      this.#submitAny(opf, slot, offset, length)
    this.#inFlight++
  }

  /** The whole way, for what is not plain or cannot be. */
  #submitAny(opf: number, slot: number, offset: number, length: number): void {
    const { disk, view, submit } = this.#host
    const { bio, buffer } = this.#place(slot)
    if (this.#isBusy(bio)) throw new RangeError(`slot ${slot} is in flight`)
    checkRange({ op: opf === READ ? 'read' : 'write', offset, length }, disk, this.#maxBytes)
    fillBio(view, bio, opf, offset, length, buffer, disk.q)
    this.#host.stamp()
    submit(bio)
    view.setU32(bio + BIO_BUSY, 1)
  }

  #isBusy(bio: number): boolean {
    return this.#ints[(bio >>> 2) + BUSY] === 1
  }

  #place(slot: number): QueueSlot {
    const place = this.#places[slot]
    if (!place) throw new RangeError(`slot ${slot}: this queue has slots 0 to ${this.slots - 1}`)
    return place
  }

  /**
   * Looks for completions once; in virtual time it lets time pass until something has ended, if anything is in flight.
   * @param done gets the slot, which is free from then on, and a positive errno, 0 = good
   * @returns how many have ended
   */
  poll(done: (slot: number, errno: number) => void): number {
    if (--this.#looks < 0) return this.#pollRarely(done)
    if (this.#look(this.#cpu) !== MORE) return this.#serve(done)
    return this.#drain(done)
  }

  /** A poll that does more than look: something was kept, time has to pass, or the clock is to be read. */
  #pollRarely(done: (slot: number, errno: number) => void): number {
    this.#looks = 0
    if (this.#kept.length > 0) return this.#takeKept(done)
    if (!this.#host.real) return this.#passTime(done)
    this.#looks = LOOKS_A_STAMP
    this.#host.stamp()
    if (this.#look(this.#cpu) !== MORE) return this.#serve(done)
    return this.#drain(done)
  }

  /** The slow half, which hands out what has ended. */
  #serve(done: (slot: number, errno: number) => void): number {
    this.#host.step()
    return this.#kept.length > 0 ? this.#takeKept(done) : this.#drain(done)
  }

  #passTime(done: (slot: number, errno: number) => void): number {
    while (this.#kept.length === 0 && this.#inFlight > 0) this.#host.step()
    return this.#takeKept(done)
  }

  /** Takes what has ended out of the CPU's ring; who is told may poll as well. */
  #drain(done: (slot: number, errno: number) => void): number {
    const ints = this.#ints
    for (let n = 0; ; ) {
      const head = ints[this.#head]!
      if (head === ints[this.#tail]!) return n
      ints[this.#head] = head + 1
      const bio = ints[this.#base + (head & this.#mask)]! >>> 2
      const slot = ints[bio + PRIVATE]! - this.#first
      if (slot >>> 0 < this.slots) {
        this.#end(slot, bio, done)
        n++
      } else this.#host.completed(bio * 4)
    }
  }

  /** @param bio its word index */
  #end(slot: number, bio: number, done: (slot: number, errno: number) => void): void {
    const status = this.#ints[bio + STATUS]!
    this.#ints[bio + BUSY] = 0
    this.#inFlight--
    done(slot, status === 0 ? 0 : errnoOf(status))
  }

  #takeKept(done: (slot: number, errno: number) => void): number {
    let n = 0
    // who is told may poll, and take some of them
    for (let bio = this.#kept.shift(); bio !== undefined; bio = this.#kept.shift()) {
      this.#end(this.slotOf(bio), bio >>> 2, done)
      n++
    }
    return n
  }

  /** The slot of a bio; outside of 0 to slots - 1 when it is none of this queue's. For the machine alone. */
  slotOf(bio: number): number {
    return this.#ints[(bio >>> 2) + PRIVATE]! - this.#first
  }

  /** Whether something has ended that no poll() has seen. For the machine alone. */
  get keeps(): boolean {
    return this.#kept.length > 0
  }

  /** One of its bios has ended, seen by somebody else: the next poll() has it. For the machine alone. */
  keep(bio: number): void {
    this.#kept.push(bio)
    this.#looks = 0
  }

  /**
   * The end of the I/O in a slot, as an errno, 0 = good; it is polled for by itself, at the end of this turn of the event
   * loop together with all others that are awaited; meanwhile what nobody awaits ends unseen. Rejects when nothing will ever
   * end.
   * @throws RangeError for a slot that is not in flight
   */
  ended(slot: number): Promise<number> {
    if (!this.#isBusy(this.#place(slot).bio)) throw new RangeError(`slot ${slot} is not in flight`)
    return new Promise((resolve, reject) => {
      this.#waiting[slot] = resolve
      this.#giveUp[slot] = reject
      this.#awaited++
      if (!this.#pumping) void this.#pump()
    })
  }

  /** Polls while anything is awaited, first when this turn's callers have all submitted theirs. */
  async #pump(): Promise<void> {
    this.#pumping = true
    await Promise.resolve()
    try {
      while (this.#awaited > 0) {
        // what a device takes its time for leaves the program its turns
        if (this.poll(this.#settle) > 0) await Promise.resolve()
        else await turn()
      }
    } catch (error) {
      this.#awaited = 0
      for (const [slot, reject] of this.#giveUp.entries()) {
        if (this.#waiting[slot]) reject!(error)
        this.#waiting[slot] = undefined
      }
    }
    this.#pumping = false
  }

  readonly #settle = (slot: number, errno: number): void => {
    const resolve = this.#waiting[slot]
    if (!resolve) return
    this.#waiting[slot] = undefined
    this.#awaited--
    resolve(errno)
  }
}
