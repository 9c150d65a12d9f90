// A life of rrpc from a seed: batches of writes and trims that overlap each other, reads, failures of the media, losses of
// power. A model knows for each page what it may hold.
//
// What has ended is on the media: a page holds the write that ended, one of them when several overlapped; the old one, too, when
// one of them failed or power was lost meanwhile. A trimmed page holds nothing, until a loss of power: trims are not kept.

import { GEOMETRY_12, type OcssdGeometry } from '../../../../src/device/ocssd/geometry.js'
import { rrpc_check } from '../../../../src/drivers/lightnvm/rrpc-check.js'
import { rrpc_pages } from '../../../../src/drivers/lightnvm/rrpc-init.js'
import { Prng } from '../../../../src/core/prng.js'
import { type Io, LnvmRig } from './rig.js'

const DATA = 2 * 2 ** 20
const READ = DATA + 2 ** 20
/** Statuses that a model has an answer to: I/O error, no space. */
const KNOWN = [0, 3, 10]

export interface RrpcStoryOptions {
  readonly seed: number
  readonly geometry?: Partial<OcssdGeometry>
  /** Batches of a life, and lives. */
  readonly steps?: number
  readonly lives?: number
  readonly writeFail?: number
  readonly eraseFail?: number
  /** Share of the disk that is used. */
  readonly span?: number
  readonly quirks?: boolean
  /** Memory of the hosts, 4 MiB. */
  readonly memory?: ArrayBuffer
}

const SMALL: OcssdGeometry = {
  ...GEOMETRY_12,
  groups: 2,
  pus: 2,
  chunks: 14,
  planes: 1,
  pageSectors: 1,
  wsMin: 1,
  wsOpt: 1,
  clba: 16,
  dom: 1,
}

interface Page {
  /** Numbers of writes; 0 is nothing. */
  may: Set<number>
  readonly ever: Set<number>
  trimmed: boolean
}

/** One I/O of a batch. */
interface Act {
  readonly io: Io
  readonly lba: number
  readonly n: number
  /** Number of the first page's write; 0: a trim. */
  readonly version: number
}

export class RrpcStory {
  readonly #o: Required<Omit<RrpcStoryOptions, 'geometry' | 'memory'>>
  readonly #prng: Prng
  rig: LnvmRig
  readonly #pages: Page[] = []
  #version = 0
  /** Writes and trims so far. */
  ios = 0
  readonly problems: string[] = []

  constructor({ geometry, memory = new ArrayBuffer(4 * 2 ** 20), ...options }: RrpcStoryOptions) {
    const defaults = { steps: 40, lives: 2, writeFail: 0, eraseFail: 0, span: 1, quirks: false }
    this.#o = { ...defaults, ...options }
    this.#prng = new Prng(options.seed, 11)
    this.rig = new LnvmRig({
      geometry: { ...SMALL, ...geometry },
      seed: options.seed,
      memory,
      channel: false,
      rrpc: { quirks: () => this.#o.quirks },
    })
    this.#start()
  }

  #say(text: string): void {
    if (this.problems.length < 10) this.problems.push(text)
  }

  #start(): void {
    const { rig } = this
    const made =
      rig.register() === 0 && rig.create({ tgttype: 'rrpc', tgtname: 'r', flags: 0 }) === 0
    if (!made) throw new Error(`no instance: ${rig.complaints.join('; ')}`)
    const span = Math.floor(rrpc_pages(rig.rrpc.geo) * this.#o.span)
    while (this.#pages.length < span)
      this.#pages.push({ may: new Set([0]), ever: new Set([0]), trimmed: false })
    rig.device.faults.rates = { write: this.#o.writeFail, reset: this.#o.eraseFail }
  }

  #range(most: number): [lba: number, n: number] {
    const n = 1 + this.#prng.below(most)
    return [this.#prng.below(Math.max(1, this.#pages.length - n)), n]
  }

  #begin(slot: number): Act {
    this.ios++
    const trim = this.#prng.below(12) === 0
    const [lba, n] = this.#range(trim ? 20 : this.#prng.below(6) === 0 ? 16 : 4)
    if (trim) return { io: this.rig.trim(lba, n), lba, n, version: 0 }
    const at = DATA + slot * 16 * 4096
    const version = this.#version + 1
    this.#version += n
    const { words } = this.rig.mem
    for (let i = 0; i < n; i++) {
      const word = (at >> 2) + i * 1024
      words.fill(version + i, word, word + 1024)
      words[word] = lba + i
      this.#pages[lba + i].ever.add(version + i)
    }
    return { io: this.rig.write(lba, n, at), lba, n, version }
  }

  /** What a page may hold after a batch. `lost`: power went before all had ended. */
  #believe(acts: readonly Act[], lost: boolean): void {
    const after = new Map<number, Set<number>>()
    const trims = new Set<number>()
    for (const { io, lba, n, version } of acts)
      for (let i = 0; i < n; i++) {
        const page = this.#pages[lba + i]
        const whole = io.done && io.status === 0
        const known = after.get(lba + i)
        // A write that failed, or has not ended, leaves what was there.
        const before = lost || !whole ? page.may : []
        const set = new Set([...(known ?? []), ...before, version === 0 ? 0 : version + i])
        after.set(lba + i, set)
        // Which of several came last is not known: that one was a trim is enough.
        if (version === 0) trims.add(lba + i)
        else if (whole) page.trimmed = false
      }
    for (const lba of trims) this.#pages[lba].trimmed = true
    for (const [lba, may] of after) this.#pages[lba].may = may
  }

  /** A batch of I/Os, some of which overlap. */
  #batch(): void {
    const acts = Array.from({ length: 1 + this.#prng.below(6) }, (_, i) => this.#begin(i))
    for (const { io } of acts)
      if (!KNOWN.includes(this.rig.wait(io))) this.#say(`an I/O ended with ${io.status}`)
    this.#believe(acts, false)
  }

  /** What a page holds, or -1 for something torn. */
  #held(lba: number, i: number): number {
    const word = (READ >> 2) + i * 1024
    const { words } = this.rig.mem
    const version = words[word + 1]
    for (let k = 1; k < 1024; k += 61) if (words[word + k] !== version) return -1
    return version === 0 || words[word] === lba ? version : -1
  }

  #check(lba: number, n: number): void {
    const status = this.rig.wait(this.rig.read(lba, n, READ))
    if (status !== 0) this.#say(`read of ${lba}: status ${status}`)
    for (let i = 0; i < n; i++) {
      const held = this.#held(lba + i, i)
      const { may } = this.#pages[lba + i]
      if (!may.has(held)) this.#say(`page ${lba + i} holds ${held}, may hold ${[...may]}`)
      this.#pages[lba + i].may = new Set([held])
    }
  }

  #checkAll(): void {
    for (const text of rrpc_check(this.rig.rrpc)) this.#say(text)
    for (let lba = 0; lba < this.#pages.length; lba += 32)
      this.#check(lba, Math.min(32, this.#pages.length - lba))
  }

  /** Another life; `acts` are under way. */
  #crash(acts: readonly Act[]): void {
    this.#believe(acts, true)
    this.rig.device.faults.rates = {}
    this.rig = this.rig.crash()
    this.#start()
    for (const page of this.#pages)
      if (page.trimmed) {
        page.may = new Set([...page.ever, ...page.may])
        page.trimmed = false
      }
  }

  #end(): void {
    const kind = this.#prng.below(4)
    if (kind === 0) {
      if (this.rig.remove('r') !== 0) this.#say('the instance could not be removed')
      if (this.rig.mem.used !== 0) this.#say(`${this.rig.mem.used} bytes are still in use`)
      this.#crash([])
      return
    }
    const acts = Array.from({ length: 1 + this.#prng.below(6) }, (_, i) => this.#begin(i))
    this.rig.vk.runUntil(this.rig.vk.ns + this.#prng.below(4e6))
    this.#crash(acts)
  }

  run(): string[] {
    for (let life = 0; life < this.#o.lives; life++) {
      for (let i = 0; i < this.#o.steps && this.problems.length === 0; i++) {
        this.#batch()
        if (this.#prng.below(4) === 0) this.#check(...this.#range(12))
        if (this.#prng.below(8) === 0) this.rig.rest(this.#prng.below(30))
      }
      this.#checkAll()
      if (this.problems.length > 0) break
      this.#end()
      this.#checkAll()
    }
    return this.problems
  }
}
