// A life of pblk from a seed: writes, trims, flushes and reads in any order, failures of the media, losses of power and
// graceful ends between them. Power may also go while an instance is made from what the last one left, or while one ends:
// after a time, or when so many more commands have been sent, so that short steps are met as often as long ones
// (`moments` says what was under way). A model knows for each sector what it may hold; the checkers look at pauses.
//
// Every write has a number. A sector may read as any write that was begun since the last one that is known to be persisted;
// after a flush has ended, what was written before it is persisted. Without power loss the newest write is the only answer.
// A trimmed sector may come back after a loss of power, as anything it ever was, since trims are not kept.

import type { OcssdGeometry } from '../../../../src/device/ocssd/geometry.js'
import { PBLK_RL_LOW } from '../../../../src/drivers/lightnvm/pblk.js'
import { pblk_check } from '../../../../src/drivers/lightnvm/pblk-check.js'
import { pblk_sysfs_store } from '../../../../src/drivers/lightnvm/pblk-sysfs.js'
import { Prng } from '../../../../src/core/prng.js'
import { TINY } from '../../device/ocssd/rig.js'
import { media_check, type Moment, moments_of } from './media-check.js'
import { type Io, LnvmRig } from './rig.js'

const DATA = 4 * 2 ** 20
const READ = DATA + 2 ** 20
/** Writes under way at most, each of which has its own buffer, and their sectors. */
const SLOTS = 5
const MOST = 40

export interface StoryOptions {
  readonly seed: number
  readonly geometry?: OcssdGeometry
  /** Steps between two losses of power, and how many of those. */
  readonly steps?: number
  readonly lives?: number
  readonly writeFail?: number
  readonly eraseFail?: number
  /** Share of the sectors that are used. */
  readonly span?: number
  readonly op?: number
  /** Memory of the hosts, 8 MiB. */
  readonly memory?: ArrayBuffer
}

interface Sector {
  /** Writes that it may hold; 0 is nothing. The last one is the newest. */
  may: number[]
}

interface Begun {
  readonly io: Io
  readonly writes: readonly { lba: number; version: number }[]
}

export class Story {
  readonly #o: Required<Omit<StoryOptions, 'geometry' | 'memory'>>
  readonly #prng: Prng
  rig: LnvmRig
  readonly #sectors: Sector[] = []
  readonly #ever: Set<number>[] = []
  #version = 0
  /** Writes, reads, trims and flushes so far. */
  ios = 0
  #span = 0
  #slot = 0
  readonly problems: string[] = []
  /** What was under way when power went, each time. */
  readonly moments: Moment[][] = []

  constructor(options: StoryOptions) {
    const defaults = { steps: 60, lives: 2, writeFail: 0, eraseFail: 0, span: 0.5, op: 0xffff }
    this.#o = { ...defaults, ...options }
    this.#prng = new Prng(options.seed, 7)
    const geometry = options.geometry ?? { ...TINY, chunks: 24, clba: 32 }
    this.rig = new LnvmRig({
      geometry,
      seed: options.seed,
      memory: options.memory ?? 8 * 2 ** 20,
      channel: false,
      pblk: { seed: options.seed },
    })
    this.#start(1)
  }

  #say(text: string): void {
    if (this.problems.length < 10) this.problems.push(text)
  }

  #start(flags: number): void {
    const { rig } = this
    const ok = rig.register() === 0
    const { op } = this.#o
    if (!ok || rig.create({ flags, type: 1, lun_begin: 0xffff, lun_end: 0xffff, op }) !== 0) {
      throw new Error(`no instance: ${rig.complaints.join('; ')}`)
    }
    this.#widen()
    this.#span = Math.floor(rig.pblk.capacity * this.#o.span)
    for (let lba = this.#sectors.length; lba < this.#span; lba++) {
      this.#sectors.push({ may: [0] })
      this.#ever.push(new Set([0]))
    }
    rig.device.faults.rates = { write: this.#o.writeFail, reset: this.#o.eraseFail }
  }

  /** In three of eight lives the writer's requests may be of several write units. */
  #widen(): void {
    const { pblk } = this.rig
    const units = Math.max(1, (this.#o.seed % 8) - 3)
    const n = Math.min(units * pblk.min_write_pgs, pblk.max_write_pgs)
    if (pblk_sysfs_store(pblk, 'max_sec_per_write', `${n}\n`) < 0)
      this.#say(`max_sec_per_write ${n} is refused`)
  }

  #write(): Begun {
    this.ios++
    const n = 1 + this.#prng.below(this.#prng.below(8) === 0 ? MOST : 6)
    const lba = this.#prng.below(Math.max(1, this.#span - n))
    const at = DATA + (this.#slot++ % SLOTS) * MOST * 4096
    const writes = []
    for (let i = 0; i < n; i++) {
      const version = ++this.#version
      const word = (at >> 2) + i * 1024
      this.rig.mem.words.fill(version, word, word + 1024)
      this.rig.mem.words[word] = lba + i
      this.#sectors[lba + i].may.push(version)
      this.#ever[lba + i].add(version)
      writes.push({ lba: lba + i, version })
    }
    return { io: this.rig.write(lba, n, at, this.#prng.below(10) === 0), writes }
  }

  #trim(): void {
    this.ios++
    const n = 1 + this.#prng.below(12)
    const lba = this.#prng.below(Math.max(1, this.#span - n))
    this.rig.wait(this.rig.trim(lba, n))
    for (let i = lba; i < lba + n; i++) this.#sectors[i].may = [...this.#ever[i], 0]
  }

  /** What a sector holds, or -1 for something torn. */
  #held(lba: number, i: number): number {
    const word = (READ >> 2) + i * 1024
    const { words } = this.rig.mem
    const version = words[word + 1]
    for (let k = 1; k < 1024; k += 61) if (words[word + k] !== version) return -1
    return version === 0 || words[word] === lba ? version : -1
  }

  /** Reads and compares. `newest`: nothing but the newest write will do. */
  #check(lba: number, n: number, newest: boolean): void {
    this.ios++
    const status = this.rig.wait(this.rig.read(lba, n, READ))
    if (status !== 0) this.#say(`read of ${lba}: status ${status}`)
    for (let i = 0; i < n; i++) {
      const held = this.#held(lba + i, i)
      const { may } = this.#sectors[lba + i]
      const ok = newest ? held === may[may.length - 1] : may.includes(held)
      if (!ok) this.#say(`lba ${lba + i} holds ${held}, may hold ${may.slice(-5)}`)
      if (!newest) this.#sectors[lba + i].may = [held]
    }
  }

  #checkAll(newest: boolean): void {
    for (let lba = 0; lba < this.#span; lba += 32)
      this.#check(lba, Math.min(32, this.#span - lba), newest)
  }

  /** What has been written before a flush that ended is there for good. */
  #flush(): void {
    this.ios++
    const newest = this.#sectors.map(({ may }) => may[may.length - 1])
    if (this.rig.wait(this.rig.flush()) !== 0) this.#say('a flush failed')
    for (const [lba, version] of newest.entries()) {
      const { may } = this.#sectors[lba]
      if (version !== 0) this.#sectors[lba].may = may.slice(may.lastIndexOf(version))
    }
  }

  #pauseCheck(): void {
    for (const text of [...pblk_check(this.rig.pblk), ...media_check(this.rig)]) this.#say(text)
  }

  /** Goes on for up to `ns`, or until up to `commands` more have been sent: where power is lost. */
  #until_lost(ns: number, commands: number): void {
    const { rig } = this
    if (this.#prng.below(2) === 0) rig.vk.runUntil(rig.vk.ns + this.#prng.below(ns))
    else {
      const last = rig.log.length + 1 + this.#prng.below(commands)
      rig.until(() => rig.log.length >= last, 400e6)
    }
  }

  /** Another host over the same device. */
  #lose(making: boolean): void {
    this.moments.push(moments_of(this.rig, making))
    this.rig = this.rig.crash()
  }

  #step(): void {
    const dice = this.#prng.below(20)
    if (dice < 12) {
      const { io } = this.#write()
      if (this.rig.wait(io) !== 0) this.#say('a write failed')
    } else if (dice < 14) this.#trim()
    else if (dice < 15) this.#flush()
    else if (dice < 18) {
      const n = 1 + this.#prng.below(10)
      this.#check(this.#prng.below(Math.max(1, this.#span - n)), n, true)
    } else if (dice < 19) this.rig.rest(this.#prng.below(20))
    else this.#pauseCheck()
  }

  /** Another host finds the device as it is. It may lose power, too, before its instance is there. */
  #reborn(): void {
    this.rig.device.faults.rates = {}
    this.#lose(false)
    for (let again = 0; again < 2 && this.#prng.below(3) === 0; again++) {
      const { rig } = this
      if (rig.register() !== 0) this.#say('the device is not found')
      rig.vk.k.spawn('create', () => rig.creating({ flags: 0, op: this.#o.op }))
      this.#until_lost(16e6, 70)
      this.#lose(true)
    }
    this.#start(0)
  }

  /** The collector is made to work, if there is anything for it: the last that this instance does. */
  #collect(): void {
    const { pblk } = this.rig
    pblk.rl.high = 1000
    pblk.rl.rb_state = PBLK_RL_LOW
    if (pblk_sysfs_store(pblk, 'gc_force', '1\n') < 0) this.#say('gc_force is refused')
    if (this.rig.until(() => pblk.gc.in_hand > 0, 5e6)) this.#until_lost(3e6, 6)
  }

  /** Some writes are under way when it happens. */
  #crash(): void {
    const begun = 1 + this.#prng.below(SLOTS)
    for (let i = 0; i < begun; i++) {
      this.#write()
      if (this.#prng.below(2) === 0) this.#until_lost(3e6, 6)
    }
    // Nobody waits for them.
    if (this.#prng.below(3) === 0) this.rig.read(this.#prng.below(this.#span), 1, READ + 2 ** 18)
    if (this.#prng.below(4) === 0) this.rig.flush()
    if (this.#prng.below(4) === 0) this.rig.rest(this.#prng.below(12))
    if (this.#o.span === 1 || this.#prng.below(8) === 0) this.#collect()
    this.#reborn()
    this.#pauseCheck()
    this.#checkAll(false)
  }

  /** Power goes while the instance ends. */
  #torn(): void {
    const { rig } = this
    rig.vk.k.spawn('remove', () => rig.removing())
    this.#until_lost(12e6, 20)
    this.#reborn()
    this.#pauseCheck()
    this.#checkAll(false)
  }

  #graceful(): void {
    if (this.rig.remove() !== 0) this.#say('the instance could not be removed')
    if (this.rig.mem.used !== 0) this.#say(`${this.rig.mem.used} bytes are still in use`)
    for (const sector of this.#sectors) sector.may = sector.may.slice(-1)
    const was = this.#sectors.map(({ may }) => may[0])
    this.#reborn()
    for (const [lba, version] of was.entries())
      if (version === 0) this.#sectors[lba].may = [...this.#ever[lba]]
    this.#checkAll(false)
  }

  run(): string[] {
    for (let life = 0; life < this.#o.lives; life++) {
      for (let i = 0; i < this.#o.steps && this.problems.length === 0; i++) this.#step()
      this.#pauseCheck()
      this.#checkAll(true)
      if (this.problems.length > 0) break
      const end = this.#prng.below(8)
      if (end < 2) this.#graceful()
      else if (end < 3) this.#torn()
      else this.#crash()
    }
    const corrupted = this.rig.complaints.find(text => text.includes('corrupted'))
    if (corrupted !== undefined) this.#say(corrupted)
    return this.problems
  }
}
