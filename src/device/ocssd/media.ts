// How long the flash takes: when a vector command that begins now is over.
//
// A PU (LUN) does one thing at a time, and the PUs of a channel share its bus:
//
//   read      the array, then the transfer out, which waits for the bus
//   program   the transfer in, which waits for the bus, then the array
//   erase     the array alone
//
// A command touches one flash page after another: neighbouring addresses of one page over all planes count as one, the
// planes' transfers follow each other on the bus, and their arrays work at once. The command is over when its last page is.
//
//   cell  read by page type         program by page type             erase    transfer of a plane's page
//   slc   40 us                     800 us                           2 ms     20 us
//   mlc   48 / 64 us                850 us / 2.3 ms                  3 ms     52.433 us
//   tlc   56.5 / 77.5 / 106 us      820.5 us / 2.225 / 5.734 ms      3 ms     52.433 us
//   qlc   tlc's, times 1.05, 1.1, 1.2 and 1.6 (lower, centre, upper, top)
//
// The figures of MLC were measured on the flash of the first open-channel drive. Without the channel model transfers take
// no time, as in the emulators today. With `spread` an array's time is that much longer or shorter, evenly, from a seed.
//
// Not modelled: command and status phases of the bus, suspending a program for a read, slower reads of worn cells.

import { Prng } from '../../core/prng.js'
import type { Cell, OcssdGeometry } from './geometry.js'

/** ns; reads and programs by page type. */
export interface CellTimes {
  readonly read: readonly number[]
  readonly program: readonly number[]
  readonly erase: number
  readonly transfer: number
  /** By what part an array's time differs from the table's at most; 0 unless said. */
  readonly spread?: number
}

const TLC_READ = [56_500, 77_500, 106_000] as const
const TLC_PROGRAM = [820_500, 2_225_000, 5_734_000] as const

function qlc(low: readonly [number, number, number]): number[] {
  return [low[0] * 1.05, low[1] * 1.1, low[2] * 1.2, low[2] * 1.6].map(Math.round)
}

const CELLS: Readonly<Record<Cell, CellTimes>> = {
  slc: { read: [40_000], program: [800_000], erase: 2_000_000, transfer: 20_000 },
  mlc: {
    read: [48_000, 64_000],
    program: [850_000, 2_300_000],
    erase: 3_000_000,
    transfer: 52_433,
  },
  tlc: { read: TLC_READ, program: TLC_PROGRAM, erase: 3_000_000, transfer: 52_433 },
  qlc: { read: qlc(TLC_READ), program: qlc(TLC_PROGRAM), erase: 3_000_000, transfer: 52_433 },
}

/** The type of a page of its block: 0 is the fastest. `pages` of a block. */
export function pageType(cell: Cell, page: number, pages: number): number {
  if (cell === 'slc') return 0
  if (cell === 'tlc') return page % 3
  if (cell === 'qlc') return page % 4
  return mlcUpper(page, pages) ? 1 : 0
}

/** MLC pairs pages across the block: its ends are irregular, between them pairs alternate. */
function mlcUpper(page: number, pages: number): boolean {
  if (page < 10) return page === 6 || page === 9
  const last = pages - page
  if (last <= 8) return last === 8 || last === 7 || last === 4 || last === 1
  return ((page - 10) >> 1) % 2 === 1
}

/** The state of all PUs and channels in time. */
export class MediaTiming {
  readonly #times: CellTimes
  readonly #cell: Cell
  readonly #pages: number
  readonly #transfer: number
  readonly #pus: number
  readonly #prng: Prng
  /** When each PU, and each channel, is free, ns. */
  readonly #lunFree: Float64Array
  readonly #busFree: Float64Array

  /**
   * @param channel whether transfers take time and wait for each other
   * @param times what differs from the cell's
   * @param seed of the spread
   */
  constructor(g: OcssdGeometry, channel: boolean, times: Partial<CellTimes> = {}, seed = 0) {
    this.#prng = new Prng(seed, 0x714e)
    this.#times = { ...CELLS[g.cell], ...times }
    this.#cell = g.cell
    this.#pages = Math.max(1, Math.ceil(g.clba / (g.planes * g.pageSectors)))
    this.#transfer = channel ? this.#times.transfer : 0
    this.#pus = g.pus
    this.#lunFree = new Float64Array(g.groups * g.pus)
    this.#busFree = new Float64Array(g.groups)
  }

  /** Whether reads, and programs, take no time, so that they wait for nothing either. */
  get untimed(): boolean {
    const { read, program, erase } = this.#times
    return this.#transfer === 0 && erase === 0 && [...read, ...program].every(ns => ns === 0)
  }

  /**
   * One page of a PU is read. `lun`: group * PUs + PU; `planes` of it that are wanted.
   * @returns when its last byte is out, ns
   */
  read(now: number, lun: number, page: number, planes: number): number {
    const took = this.#of(this.#times.read, page)
    const done = Math.max(now, this.#lunFree[lun]) + took
    this.#lunFree[lun] = done
    return this.#move(lun, done, planes)
  }

  /** One page is programmed. @returns when it holds, ns */
  program(now: number, lun: number, page: number, planes: number): number {
    const moved = this.#move(lun, now, planes)
    const took = this.#of(this.#times.program, page)
    const done = Math.max(moved, this.#lunFree[lun]) + took
    this.#lunFree[lun] = done
    return done
  }

  /** One chunk is erased. @returns when it is free, ns */
  erase(now: number, lun: number): number {
    const done = Math.max(now, this.#lunFree[lun]) + this.#spread(this.#times.erase)
    this.#lunFree[lun] = done
    return done
  }

  /** A time by page type; a list of one is for all pages. */
  #of(times: readonly number[], page: number): number {
    return this.#spread(
      times.length === 1 ? times[0] : times[pageType(this.#cell, page, this.#pages)],
    )
  }

  #spread(ns: number): number {
    const { spread = 0 } = this.#times
    return spread === 0 ? ns : Math.round(ns * (1 + spread * (2 * this.#prng.unit() - 1)))
  }

  /** Takes the channel for some planes' pages, from `when` at the earliest. @returns the end of it */
  #move(lun: number, when: number, planes: number): number {
    if (this.#transfer === 0) return when
    const bus = Math.floor(lun / this.#pus)
    const done = Math.max(when, this.#busFree[bus]) + this.#transfer * planes
    this.#busFree[bus] = done
    return done
  }
}
