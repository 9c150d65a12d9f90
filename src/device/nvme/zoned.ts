// The zoned namespace command set as an extension of the controller: every namespace is a row of zones of one size, each with a
// state and a write pointer.
//
//   from         write, append          open       close     finish    reset
//   Empty        implicitly open        expl.      0x1bf     Full      Empty
//   Impl. open   stays; Full at the end expl.      Closed    Full      Empty
//   Expl. open   stays; Full at the end stays      Closed    Full      Empty
//   Closed       implicitly open        expl.      stays     Full      Empty
//   Full         0x1b9                  0x1bf      0x1bf     stays     Empty
//   Read only    0x1ba                  0x1bf      0x1bf     0x1bf     0x1bf     (offline: Offline)
//   Offline      0x1bb                  0x1bf      0x1bf     0x1bf     0x1bf
//
// A write begins at the write pointer (else 0x1bc) and stays inside the zone's capacity (else 0x1b8); an append names the zone's
// first block and learns where its data went. Open and active zones are limited; an implicitly open zone is closed to make room for
// another. Left out: descriptor extensions, zone changes by the drive itself, the changed zone list.

import {
  NVME_CMD_READ,
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_UNCOR,
  NVME_CMD_WRITE_ZEROES,
} from '../../../assembly/nvme.js'
import { Bytes } from './bytes.js'
import { type Answer, type Command, OK, refuse } from './command.js'
import type { ControllerServices, Extension, Handler } from './extension.js'
import type { Namespace } from './namespaces.js'
import * as S from './spec.js'

const SEND = 0x79
const RECEIVE = 0x7a
const APPEND = 0x7d

export const EMPTY = 1
export const IMPLICITLY_OPEN = 2
export const EXPLICITLY_OPEN = 3
export const CLOSED = 4
export const READ_ONLY_ZONE = 0xd
export const FULL = 0xe
export const OFFLINE = 0xf

/** States by the filters of a report, from 1. */
const FILTERS = [
  EMPTY,
  IMPLICITLY_OPEN,
  EXPLICITLY_OPEN,
  CLOSED,
  FULL,
  READ_ONLY_ZONE,
  OFFLINE,
] as const

const DESCRIPTOR = 64
/** CSI of the command set. */
const ZONED = 2

export interface ZonedConfig {
  /** Blocks from zone to zone, and how many of them can be written. */
  readonly zoneBlocks: number
  readonly capacityBlocks: number
  /** Zones at once; 0 = no limit. */
  readonly maxOpen: number
  readonly maxActive: number
  /** Largest append, bytes: 4096 times a power of two; 0 = as large as a write. */
  readonly appendBytes: number
}

interface Zone {
  readonly start: number
  state: number
  pointer: number
}

/** Zones of one namespace. */
class Zones {
  readonly list: readonly Zone[]
  readonly #config: ZonedConfig

  constructor(blocks: number, config: ZonedConfig) {
    const { zoneBlocks } = config
    this.#config = config
    this.list = Array.from({ length: Math.floor(blocks / zoneBlocks) }, (_, i) => {
      return { start: i * zoneBlocks, state: EMPTY, pointer: i * zoneBlocks }
    })
  }

  /** The zone that a block is in; undefined behind the last one. */
  of(lba: number): Zone | undefined {
    return this.list[Math.floor(lba / this.#config.zoneBlocks)]
  }

  /** The first block behind what can be written. */
  end(zone: Zone): number {
    return zone.start + this.#config.capacityBlocks
  }

  get #open(): number {
    return this.list.filter(z => isOpen(z.state)).length
  }

  get #active(): number {
    return this.list.filter(z => isOpen(z.state) || z.state === CLOSED).length
  }

  /** Opens a zone, or says which limit is in the way. */
  open(zone: Zone, state: number): number {
    const { maxOpen, maxActive } = this.#config
    if (zone.state === EMPTY && maxActive > 0 && this.#active >= maxActive)
      return S.ZONE_TOO_MANY_ACTIVE
    if (!isOpen(zone.state) && maxOpen > 0 && this.#open >= maxOpen) {
      const other = this.list.find(z => z.state === IMPLICITLY_OPEN)
      if (!other) return S.ZONE_TOO_MANY_OPEN
      this.close(other)
    }
    zone.state = state
    return 0
  }

  close(zone: Zone): void {
    zone.state = CLOSED
  }
}

function isOpen(state: number): boolean {
  return state === IMPLICITLY_OPEN || state === EXPLICITLY_OPEN
}

/** What a write to a zone in this state is answered, 0 = it may go on. */
function writeStatus(state: number): number {
  if (state === FULL) return S.ZONE_FULL
  if (state === READ_ONLY_ZONE) return S.ZONE_READ_ONLY
  return state === OFFLINE ? S.ZONE_OFFLINE : 0
}

export class Zoned implements Extension {
  readonly commandSet: number = ZONED
  readonly ioOpcodes: ReadonlyMap<number, Handler>
  readonly #config: ZonedConfig
  readonly #zones = new Map<Namespace, Zones>()

  constructor(config: ZonedConfig) {
    this.#config = config
    this.ioOpcodes = new Map<number, Handler>([
      [NVME_CMD_WRITE, (c, s) => this.#write(c, s)],
      [NVME_CMD_WRITE_ZEROES, (c, s) => this.#write(c, s)],
      [NVME_CMD_WRITE_UNCOR, (c, s) => this.#write(c, s)],
      [NVME_CMD_READ, (c, s) => this.#read(c, s)],
      [SEND, (c, s) => this.#send(c, s)],
      [RECEIVE, (c, s) => this.#receive(c, s)],
      [APPEND, (c, s) => this.#append(c, s)],
    ])
  }

  #of(ns: Namespace): Zones {
    let zones = this.#zones.get(ns)
    if (!zones) {
      zones = new Zones(ns.shape.blocks, this.#config)
      this.#zones.set(ns, zones)
    }
    return zones
  }

  /** All zones are empty, and as many as the format has room for. */
  erased(ns: Namespace): void {
    this.#zones.delete(ns)
  }

  /** The power went: open zones are closed, those without data empty. */
  powerCycle(): void {
    for (const zones of this.#zones.values()) {
      for (const zone of zones.list)
        if (isOpen(zone.state)) zone.state = zone.pointer === zone.start ? EMPTY : CLOSED
    }
  }

  /** A zone fails, as flash does: 'read only' or 'offline'. */
  fail(ns: Namespace, lba: number, state: typeof READ_ONLY_ZONE | typeof OFFLINE): void {
    const zone = this.#of(ns).of(lba)
    if (zone) zone.state = state
  }

  // ---------------------------------------------------------------- identify

  identify(c: Command, { spaces }: ControllerServices): Uint8Array | undefined {
    const cns = c.cdw(10) & 0xff
    if (c.cdw(11) >>> 24 !== ZONED) return undefined
    const { appendBytes, maxActive, maxOpen, zoneBlocks } = this.#config
    if (cns === 0x06)
      return new Bytes(4096).u8(0, appendBytes ? Math.round(Math.log2(appendBytes / 4096)) : 0).data
    if (cns !== 0x05 || typeof spaces.active(c.nsid) === 'number') return undefined
    const b = new Bytes(4096)
    b.u16(2, 1) // reads may cross zones
    b.u32(4, (maxActive - 1) >>> 0).u32(8, (maxOpen - 1) >>> 0)
    spaces.formats.forEach((_, i) => {
      b.u64(2816 + 16 * i, zoneBlocks)
    })
    return b.data
  }

  // ---------------------------------------------------------------- data

  /** Write, Write Zeroes, Write Uncorrectable at the write pointer. */
  #write(c: Command, services: ControllerServices): Answer {
    const ns = services.spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    const zones = this.#of(ns)
    const slba = c.u64(10)
    const blocks = (c.cdw(12) & 0xffff) + 1
    const zone = zones.of(slba)
    if (!zone) return refuse(S.LBA_RANGE)
    const wrong = writeStatus(zone.state)
    if (wrong) return refuse(wrong)
    if (slba !== zone.pointer) return refuse(S.ZONE_INVALID_WRITE)
    if (slba + blocks > zones.end(zone)) return refuse(S.ZONE_BOUNDARY)
    const before = zone.state
    const limit = isOpen(zone.state) ? 0 : zones.open(zone, IMPLICITLY_OPEN)
    if (limit) return refuse(limit)
    const answer = services.nvm(c)
    if (answer === 'pending' || answer.status !== 0) {
      zone.state = before
      return answer
    }
    zone.pointer += blocks
    if (zone.pointer === zones.end(zone)) zone.state = FULL
    return answer
  }

  /** The zone's first block stands in the command; the result is where the data went. */
  #append(c: Command, services: ControllerServices): Answer {
    const ns = services.spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    const zone = this.#of(ns).of(c.u64(10))
    if (!zone) return refuse(S.LBA_RANGE)
    if (zone.start !== c.u64(10)) return refuse(S.INVALID_FIELD)
    const bytes = ((c.cdw(12) & 0xffff) + 1) * 2 ** services.spaces.shift(ns)
    const { appendBytes } = this.#config
    if (appendBytes > 0 && bytes > appendBytes) return refuse(S.INVALID_FIELD)
    const at = zone.pointer
    const answer = this.#write(c.as(NVME_CMD_WRITE, at), services)
    if (answer === 'pending' || answer.status !== 0) return answer
    return { status: 0, dw0: at % 2 ** 32, dw1: Math.floor(at / 2 ** 32) }
  }

  #read(c: Command, services: ControllerServices): Answer {
    const ns = services.spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    const slba = c.u64(10)
    const blocks = (c.cdw(12) & 0xffff) + 1
    if (slba + blocks <= ns.shape.blocks) {
      const zones = this.#of(ns)
      for (let lba = slba; lba < slba + blocks; lba += this.#config.zoneBlocks)
        if (zones.of(lba)?.state === OFFLINE) return refuse(S.ZONE_OFFLINE)
      if (zones.of(slba + blocks - 1)?.state === OFFLINE) return refuse(S.ZONE_OFFLINE)
    }
    return services.nvm(c)
  }

  // ---------------------------------------------------------------- management

  /** Zone Management Send: one zone, or all that the action is for. */
  #send(c: Command, services: ControllerServices): Answer {
    const ns = services.spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    if (ns.formatting) return { status: S.FORMAT_IN_PROGRESS }
    if (ns.writeProtect !== 0) return refuse(S.NS_WRITE_PROTECTED)
    const zones = this.#of(ns)
    const action = c.cdw(13) & 0xff
    if (action < 1 || action > 5) return refuse(S.INVALID_FIELD)
    if (c.cdw(13) & 0x100) {
      for (const zone of zones.list) {
        if (!SELECTED[action]!.includes(zone.state)) continue
        const status = this.#act(ns, zones, zone, action, services)
        if (status) return refuse(status)
      }
      return OK
    }
    const zone = zones.of(c.u64(10))
    if (!zone) return refuse(S.LBA_RANGE)
    if (zone.start !== c.u64(10)) return refuse(S.INVALID_FIELD)
    const status = this.#act(ns, zones, zone, action, services)
    return status ? refuse(status) : OK
  }

  #act(
    ns: Namespace,
    zones: Zones,
    zone: Zone,
    action: number,
    services: ControllerServices,
  ): number {
    const { state } = zone
    const dead = state === READ_ONLY_ZONE || state === OFFLINE
    if (action === 5) {
      if (!dead) return S.ZONE_INVALID_TRANSITION
      zone.state = OFFLINE
      return 0
    }
    if (dead) return S.ZONE_INVALID_TRANSITION
    if (action === 4) {
      this.#reset(ns, zone, services)
      return 0
    }
    if (action === 2) {
      zone.state = FULL
      return 0
    }
    if (state === FULL) return S.ZONE_INVALID_TRANSITION
    if (action === 3) return zones.open(zone, EXPLICITLY_OPEN)
    if (state === EMPTY) return S.ZONE_INVALID_TRANSITION
    if (state !== CLOSED) zones.close(zone)
    return 0
  }

  /** Empty again: its blocks read as zeroes. */
  #reset(ns: Namespace, zone: Zone, { medium, spaces, cache }: ControllerServices): void {
    const size = 2 ** spaces.shift(ns)
    const { capacityBlocks } = this.#config
    cache.remember(ns, zone.start, zone.pointer - zone.start)
    medium.zero(ns.base + zone.start * size, capacityBlocks * size)
    zone.state = EMPTY
    zone.pointer = zone.start
  }

  /** Zone Management Receive: a report from the zone of a block on. */
  #receive(c: Command, { spaces, dma }: ControllerServices): Answer {
    const ns = spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    const zones = this.#of(ns)
    const filter = (c.cdw(13) >>> 8) & 0xff
    if ((c.cdw(13) & 0xff) !== 0 || filter > FILTERS.length) return refuse(S.INVALID_FIELD)
    const first = zones.of(c.u64(10))
    if (!first) return refuse(S.LBA_RANGE)
    const bytes = (c.cdw(12) + 1) * 4
    if (bytes < DESCRIPTOR || bytes > MOST_REPORT) return refuse(S.INVALID_FIELD)
    const state = filter === 0 ? undefined : FILTERS[filter - 1]
    const found = zones.list.filter(
      z => z.start >= first.start && (state === undefined || z.state === state),
    )
    const room = Math.floor(bytes / DESCRIPTOR) - 1
    const partial = (c.cdw(13) & 0x10000) !== 0
    const b = new Bytes(bytes)
    b.u64(0, partial ? Math.min(room, found.length) : found.length)
    for (const [i, zone] of found.slice(0, room).entries())
      this.#describe(b, (i + 1) * DESCRIPTOR, zone)
    const status = dma.deliver(c, b.data)
    return status ? { status } : OK
  }

  #describe(b: Bytes, at: number, { state, start, pointer }: Zone): void {
    b.u8(at, 2).u8(at + 1, state << 4)
    b.u64(at + 8, this.#config.capacityBlocks).u64(at + 16, start)
    const valid = state !== FULL && state !== READ_ONLY_ZONE && state !== OFFLINE
    if (valid) b.u64(at + 24, pointer)
    else b.u32(at + 24, 0xffffffff).u32(at + 28, 0xffffffff)
  }
}

/** A report that one command can ask for. */
const MOST_REPORT = 2 ** 20

/** Zones that an action for all of them takes, by action. */
const SELECTED: Readonly<Record<number, readonly number[]>> = {
  1: [IMPLICITLY_OPEN, EXPLICITLY_OPEN],
  2: [IMPLICITLY_OPEN, EXPLICITLY_OPEN, CLOSED],
  3: [CLOSED],
  4: [IMPLICITLY_OPEN, EXPLICITLY_OPEN, CLOSED, FULL],
  5: [READ_ONLY_ZONE],
}
