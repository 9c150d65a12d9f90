// Failures of the media, on purpose: of single sectors and chunks, and at random from a seed.
//
//   grp=0 pu=1 chk=5 sec=53 writefail_prob=100     a write of this sector fails, in so many of 100
//   grp=0 pu=1 chk=5 resetfail_prob=10             a reset of this chunk fails
//   grp=0 pu=1 chk=5 state=OFFLINE wp=0 type=SEQ wi=3
//
// is the text form, one a line. Rates are of write units (wsMin sectors), of resets, and of sectors read.

import { Prng } from '../../core/prng.js'
import { CHUNK_CLOSED, CHUNK_FREE, CHUNK_OFFLINE, CHUNK_OPEN } from '../../../assembly/layout.js'
import type { OcssdGeometry } from './geometry.js'

export interface FaultRates {
  /** Probabilities, 0 to 1. */
  readonly write?: number
  readonly reset?: number
  /** A read that cannot be corrected, and one that was only just. */
  readonly ecc?: number
  readonly highEcc?: number
}

/** What a line of the text form asks for. */
export interface ChunkPreset {
  readonly chunk: number
  readonly state?: number
  readonly wp?: number
  readonly type?: number
  readonly wear?: number
}

const STATES: Readonly<Record<string, number>> = {
  FREE: CHUNK_FREE,
  CLOSED: CHUNK_CLOSED,
  OPEN: CHUNK_OPEN,
  OFFLINE: CHUNK_OFFLINE,
}
const TYPES: Readonly<Record<string, number>> = { SEQ: 1, RAN: 2 }

export class MediaFaults {
  readonly #geometry: OcssdGeometry
  readonly #prng: Prng
  /** Percent, by chunk * clba + sector, and by chunk. */
  readonly #write: Map<number, number> = new Map()
  readonly #reset: Map<number, number> = new Map()
  #rates: FaultRates = {}
  /** Called when something else may fail from now on. */
  changed: () => void = () => {}

  constructor(geometry: OcssdGeometry, seed: number) {
    this.#geometry = geometry
    this.#prng = new Prng(seed, 0x0c55d)
  }

  get rates(): FaultRates {
    return this.#rates
  }

  set rates(rates: FaultRates) {
    this.#rates = rates
    this.changed()
  }

  /** Whether a read may fail, and a write. */
  get mayFail(): { readonly read: boolean; readonly write: boolean } {
    const { ecc = 0, highEcc = 0, write = 0 } = this.#rates
    return { read: ecc > 0 || highEcc > 0, write: write > 0 || this.#write.size > 0 }
  }

  #dice(percent: number): boolean {
    return percent >= 100 || (percent > 0 && this.#prng.unit() * 100 < percent)
  }

  failWrites(chunk: number, sector: number, percent = 100): void {
    this.#write.set(chunk * this.#geometry.clba + sector, percent)
    this.changed()
  }

  failResets(chunk: number, percent = 100): void {
    this.#reset.set(chunk, percent)
  }

  /** Nothing fails on purpose any more. */
  clear(): void {
    this.#write.clear()
    this.#reset.clear()
    this.rates = {}
  }

  /** How many of `count` sectors from `sector` on are written before one fails. */
  writable(chunk: number, sector: number, count: number): number {
    const rate = (this.rates.write ?? 0) * 100
    if (this.#write.size === 0 && rate === 0) return count
    for (let i = 0; i < count; i++) {
      const percent = this.#write.get(chunk * this.#geometry.clba + sector + i) ?? 0
      if (this.#dice(percent)) return i
      if (i % this.#geometry.wsMin === 0 && this.#dice(rate)) return i
    }
    return count
  }

  resetFails(chunk: number): boolean {
    return this.#dice(this.#reset.get(chunk) ?? 0) || this.#dice((this.rates.reset ?? 0) * 100)
  }

  /** What the read of a sector comes to. */
  readProblem(): 'ecc' | 'high' | null {
    if (this.#dice((this.rates.ecc ?? 0) * 100)) return 'ecc'
    return this.#dice((this.rates.highEcc ?? 0) * 100) ? 'high' : null
  }

  /** A number below `n`, for what power loss leaves. */
  below(n: number): number {
    return this.#prng.below(n)
  }

  /**
   * Reads the text form.
   * @returns the presets among its lines
   * @throws Error that names the line
   */
  read(text: string): ChunkPreset[] {
    const presets: ChunkPreset[] = []
    for (const [i, line] of text.split('\n').entries()) {
      const words = line.replace(/#.*/, '').trim()
      if (words === '') continue
      const preset = this.#line(words, i + 1)
      if (preset !== null) presets.push(preset)
    }
    return presets
  }

  #line(words: string, number: number): ChunkPreset | null {
    const bad = (why: string): never => {
      throw new Error(`line ${number}: ${why}`)
    }
    const fields = new Map(words.split(/\s+/).map(word => word.split('=', 2) as [string, string]))
    const num = (key: string, most: number): number => {
      const value = Number(fields.get(key) ?? Number.NaN)
      if (!Number.isInteger(value) || value < 0 || value > most)
        bad(`${key} is a number from 0 to ${most}`)
      fields.delete(key)
      return value
    }
    const named = (key: string, names: Readonly<Record<string, number>>): number => {
      const value = names[fields.get(key) ?? '']
      fields.delete(key)
      return value ?? bad(`${key} is one of ${Object.keys(names).join(', ')}`)
    }
    const { groups, pus, chunks, clba } = this.#geometry
    const pu = num('grp', groups - 1) * pus + num('pu', pus - 1)
    const chunk = pu * chunks + num('chk', chunks - 1)
    if (fields.has('sec')) this.failWrites(chunk, num('sec', clba - 1), num('writefail_prob', 100))
    if (fields.has('resetfail_prob')) this.failResets(chunk, num('resetfail_prob', 100))
    const preset: ChunkPreset = {
      chunk,
      ...(fields.has('state') ? { state: named('state', STATES) } : {}),
      ...(fields.has('type') ? { type: named('type', TYPES) } : {}),
      ...(fields.has('wp') ? { wp: num('wp', clba) } : {}),
      ...(fields.has('wi') ? { wear: num('wi', 255) } : {}),
    }
    const left = [...fields.keys()]
    if (left.length > 0) bad(`unknown key ${left[0]}`)
    return Object.keys(preset).length > 1 ? preset : null
  }
}
