// What an open-channel device is: its geometry, its address format and the 4096 bytes of identity that say so.
//
// Revision 1.2 (blocks, planes and pages are visible) and revision 2.0 (chunks, with write units) answer the same admin
// command, E2h, with different structures; the first byte tells them apart. Both kinds are described here by one
// `OcssdGeometry` in 2.0's words: a chunk of 1.2 is a block over all its planes, and the number of a sector in it counts
// sector, plane, page from low to high, which is also the order of its address bits.
//
//   2.0 address, low to high   sector | chunk | PU | group
//   1.2 address, low to high   sector | plane | page | block | LUN | channel
//
// A field has as many bits as its count less one needs, so that the address space has holes where a count is no power of
// two. An address is a number here: geometries that need more than 52 bits are refused.
//
// Not modelled: more than one configuration group, devices with the page table of an MLC flash in their identity.

/** Cell technology: it decides the times of the media. */
export type Cell = 'slc' | 'mlc' | 'tlc' | 'qlc'

/** Bytes of a device sector. */
export const SECTOR_BYTES = 4096
/** Bytes of out-of-band data of a sector. */
export const OOB_BYTES = 16
/** Addresses of a vector command at most. */
export const MAX_VECTOR = 64
/** Bytes of the answer to E2h. */
export const IDENTITY_BYTES = 4096

export interface OcssdGeometry {
  /** Revision: 1.2 or 2.0. */
  readonly version: 12 | 20
  /** Groups (1.2: channels). */
  readonly groups: number
  /** Parallel units of a group (1.2: LUNs of a channel). */
  readonly pus: number
  /** Chunks of a PU (1.2: blocks of a plane). */
  readonly chunks: number
  /** Sectors of a chunk. */
  readonly clba: number
  /** Planes, and sectors of a page of one plane: what one program or read of the flash covers. */
  readonly planes: number
  readonly pageSectors: number
  /** Write units, in sectors (2.0). */
  readonly wsMin: number
  readonly wsOpt: number
  /** Sectors behind the write pointer of an open chunk that cannot be read yet (2.0). */
  readonly mwCunits: number
  /** 2.0: bit 0 vector copy, bit 1 a free chunk may be reset, bit 2 an open chunk may be reset. */
  readonly mccap: number
  /** Wear-level index delta threshold (2.0). */
  readonly wit: number
  /** Open chunks at most, in all and of a PU; 0: no limit (2.0). */
  readonly maxoc: number
  readonly maxocpu: number
  /** 1.2: bit 0 the device keeps the logical-to-physical table, bit 1 it corrects errors. */
  readonly dom: number
  readonly cell: Cell
}

export const MCCAP_COPY = 1
export const MCCAP_MULTI_RESET = 2
export const MCCAP_EARLY_RESET = 4

/** Revision 2.0, as small devices of the emulators have it. */
export const GEOMETRY_20: OcssdGeometry = {
  version: 20,
  groups: 2,
  pus: 8,
  chunks: 60,
  clba: 4096,
  planes: 2,
  pageSectors: 4,
  wsMin: 4,
  wsOpt: 8,
  mwCunits: 24,
  mccap: 0,
  wit: 0,
  maxoc: 0,
  maxocpu: 0,
  dom: 0,
  cell: 'mlc',
}

/** Revision 1.2: one channel of four LUNs, two planes, pages of 16 KiB, 512 of them in a block. */
export const GEOMETRY_12: OcssdGeometry = {
  ...GEOMETRY_20,
  version: 12,
  groups: 1,
  pus: 4,
  chunks: 32,
  clba: 2 * 4 * 512,
  wsMin: 4,
  wsOpt: 8,
  mwCunits: 32,
}

/** Where an address is: all from 0; `sector` within the chunk. */
export interface Place {
  group: number
  pu: number
  chunk: number
  sector: number
}

/** Bits that count - 1 needs. */
export function bitsFor(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1)
}

/** Why a geometry cannot be; null if it can. One line that names the field. */
export function geometryProblem(g: OcssdGeometry): string | null {
  const whole: readonly [keyof OcssdGeometry, number, number][] = [
    ['groups', 1, 256],
    ['pus', 1, 256],
    ['chunks', 1, 65536],
    ['clba', 1, 2 ** 21],
    ['wsMin', 1, MAX_VECTOR],
    ['wsOpt', 1, MAX_VECTOR],
    ['mwCunits', 0, 2 ** 21],
    ['pageSectors', 1, 16],
  ]
  for (const [key, least, most] of whole) {
    const value = Number(g[key])
    if (!Number.isInteger(value) || value < least || value > most)
      return `${key} is a number from ${least} to ${most}`
  }
  if (![1, 2, 4].includes(g.planes)) return 'planes is 1, 2 or 4'
  if (g.wsOpt % g.wsMin !== 0) return 'wsOpt is a multiple of wsMin'
  if (g.clba % g.wsOpt !== 0) return 'clba is a multiple of wsOpt'
  if (g.version === 12 && g.clba % (g.planes * g.pageSectors) !== 0)
    return 'clba is a multiple of planes * pageSectors'
  const bits = bitsFor(g.groups) + bitsFor(g.pus) + bitsFor(g.chunks) + sectorBits(g)
  return bits > 52 ? 'an address takes more than 52 bits' : null
}

/** PUs of the device. */
export function punits(g: OcssdGeometry): number {
  return g.groups * g.pus
}

/** Chunks of the device. */
export function totalChunks(g: OcssdGeometry): number {
  return punits(g) * g.chunks
}

/** Pages of a block (1.2). */
export function pagesOf(g: OcssdGeometry): number {
  return g.clba / (g.planes * g.pageSectors)
}

/** Bits of the number of a sector in its chunk. */
export function sectorBits(g: OcssdGeometry): number {
  if (g.version === 20) return bitsFor(g.clba)
  return bitsFor(g.pageSectors) + bitsFor(g.planes) + bitsFor(pagesOf(g))
}

/** Sectors that the namespace reports: the whole address space, holes included. */
export function namespaceSectors(g: OcssdGeometry): number {
  if (g.version === 12) return totalChunks(g) * g.clba
  return 2 ** (bitsFor(g.groups) + bitsFor(g.pus) + bitsFor(g.chunks) + bitsFor(g.clba))
}

// ---------------------------------------------------------------- addresses

/** The address format of one geometry, made once. */
export class AddressFormat {
  readonly geometry: OcssdGeometry
  readonly #sec: number
  readonly #chunk: number
  readonly #pu: number
  /** 1.2: size of the lowest field, the sector in its page. */
  readonly #low: number

  constructor(geometry: OcssdGeometry) {
    this.geometry = geometry
    this.#sec = 2 ** sectorBits(geometry)
    this.#chunk = 2 ** bitsFor(geometry.chunks)
    this.#pu = 2 ** bitsFor(geometry.pus)
    this.#low = 2 ** bitsFor(geometry.pageSectors)
  }

  /** Whether the bits below the block are the number of the sector as they are. */
  get #straight(): boolean {
    const g = this.geometry
    return g.version === 20 || this.#low === g.pageSectors
  }

  /** The address of a place. */
  address(place: Place): number {
    const { geometry: g } = this
    let { sector } = place
    if (!this.#straight) {
      const sec = sector % g.pageSectors
      sector = Math.floor(sector / g.pageSectors) * this.#low + sec
    }
    return ((place.group * this.#pu + place.pu) * this.#chunk + place.chunk) * this.#sec + sector
  }

  /** Decodes an address into `to`; false if a field is out of range. */
  place(address: number, to: Place): boolean {
    const { geometry: g } = this
    if (!(address >= 0 && address < 2 ** 53)) return false
    let sector = address % this.#sec
    let rest = Math.floor(address / this.#sec)
    to.chunk = rest % this.#chunk
    rest = Math.floor(rest / this.#chunk)
    to.pu = rest % this.#pu
    to.group = Math.floor(rest / this.#pu)
    if (!this.#straight) {
      const sec = sector % this.#low
      if (sec >= g.pageSectors) return false
      sector = Math.floor(sector / this.#low) * g.pageSectors + sec
    }
    to.sector = sector
    return to.group < g.groups && to.pu < g.pus && to.chunk < g.chunks && sector < g.clba
  }
}

// ---------------------------------------------------------------- identity

/** Times that a device tells of itself, in ns: typical and most. */
export interface AdvertisedTimes {
  readonly read: readonly [number, number]
  readonly write: readonly [number, number]
  readonly erase: readonly [number, number]
}

export const ADVERTISED: AdvertisedTimes = {
  read: [70_000, 100_000],
  write: [1_900_000, 3_500_000],
  erase: [3_000_000, 3_000_000],
}

/** The answer to E2h. */
export function identity(g: OcssdGeometry, times: AdvertisedTimes = ADVERTISED): Uint8Array {
  const bytes = new Uint8Array(IDENTITY_BYTES)
  const view = new DataView(bytes.buffer)
  if (g.version === 20) geometry20(view, g, times)
  else identity12(view, g, times)
  return bytes
}

function words(view: DataView, at: number, values: readonly number[]): void {
  for (const [i, value] of values.entries()) view.setUint32(at + 4 * i, value, true)
}

function geometry20(view: DataView, g: OcssdGeometry, times: AdvertisedTimes): void {
  view.setUint8(0, 2)
  for (const [i, count] of [g.groups, g.pus, g.chunks, g.clba].entries())
    view.setUint8(8 + i, bitsFor(count))
  view.setUint32(16, g.mccap, true)
  view.setUint8(32, g.wit)
  view.setUint16(64, g.groups, true)
  view.setUint16(66, g.pus, true)
  words(view, 68, [g.chunks, g.clba])
  words(view, 128, [g.wsMin, g.wsOpt, g.mwCunits, g.maxoc, g.maxocpu])
  words(view, 192, [...times.read, ...times.write, ...times.erase])
}

function identity12(view: DataView, g: OcssdGeometry, times: AdvertisedTimes): void {
  view.setUint8(0, 1)
  view.setUint8(2, 1)
  words(view, 4, [3, g.dom])
  const lengths = [g.pageSectors, g.planes, pagesOf(g), g.chunks, g.pus, g.groups].map(bitsFor)
  // In the structure the channel comes first; offset, then length.
  const place = [5, 4, 1, 3, 2, 0]
  for (const [i, field] of place.entries()) {
    const offset = lengths.slice(0, field).reduce((sum, n) => sum + n, 0)
    view.setUint8(12 + 2 * i, offset)
    view.setUint8(13 + 2 * i, lengths[field])
  }
  group12(view, 256, g, times)
}

function group12(view: DataView, at: number, g: OcssdGeometry, times: AdvertisedTimes): void {
  view.setUint8(at + 1, g.cell === 'slc' ? 0 : 1)
  view.setUint8(at + 4, g.groups)
  view.setUint8(at + 5, g.pus)
  view.setUint8(at + 6, g.planes)
  const half = [g.chunks, pagesOf(g), g.pageSectors * SECTOR_BYTES, SECTOR_BYTES, OOB_BYTES]
  for (const [i, value] of half.entries()) view.setUint16(at + 8 + 2 * i, value, true)
  words(view, at + 20, [...times.read, ...times.write, ...times.erase])
  view.setUint32(at + 44, 0x010101 * g.planes, true)
}
