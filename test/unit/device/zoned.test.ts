// Zoned namespaces: the table of states, write pointers, limits, appends and reports.

import { describe, expect, it } from 'vitest'
import { readU16, readU32, readU64 } from '../../../src/device/nvme/bytes.js'
import { OFFLINE, READ_ONLY_ZONE, Zoned, type ZonedConfig } from '../../../src/device/nvme/zoned.js'
import { blocks, PAGE, Rig } from './rig.js'

const DNR = 0x4000
const [CLOSE, FINISH, OPEN, RESET, TAKE_OFFLINE] = [1, 2, 3, 4, 5]
const [WRITE, READ, SEND, RECEIVE, APPEND] = [1, 2, 0x79, 0x7a, 0x7d]
const ZONE = 64
const CAPACITY = 48

class ZonedRig {
  readonly rig: Rig
  readonly zoned: Zoned
  readonly #page: number

  constructor(change: Partial<ZonedConfig> = {}) {
    this.zoned = new Zoned({
      zoneBlocks: ZONE,
      capacityBlocks: CAPACITY,
      maxOpen: 0,
      maxActive: 0,
      appendBytes: 8192,
      ...change,
    })
    this.rig = new Rig({ sizeBytes: 8 * ZONE * 512, extensions: () => [this.zoned] })
    this.rig.enable(32, 0x00460061)
    this.rig.pair()
    this.#page = this.rig.alloc(4 * PAGE)
  }

  io(opcode: number, slba: number, count = 1, cdw13 = 0): { status: number; dw0: number } {
    const cdw = blocks(slba, count)
    cdw[3] = cdw13
    const prp2 = this.#page + PAGE
    return this.rig.execute(1, { opcode, nsid: 1, prp1: this.#page, prp2, cdw })
  }

  write(slba: number, count = 1): number {
    return this.io(WRITE, slba, count).status
  }

  send(zone: number, action: number, all = false): number {
    return this.io(SEND, zone * ZONE, 1, action | (all ? 0x100 : 0)).status
  }

  /** States and write pointers of all zones. */
  report(
    filter = 0,
    partial = false,
    dwords = 1024,
    from = 0,
  ): { count: number; zones: number[][] } {
    const cdw = [from, 0, dwords - 1, (filter << 8) | (partial ? 0x10000 : 0)]
    const { rig } = this
    const done = rig.execute(1, { opcode: RECEIVE, nsid: 1, prp1: this.#page, cdw })
    expect(done.status).toBe(0)
    const data = rig.bytes(this.#page, dwords * 4)
    const count = readU64(data, 0)
    const shown = Math.min(count, dwords / 16 - 1)
    const zones = Array.from({ length: shown }, (_, i) => {
      const at = 64 * (i + 1)
      expect([data[at], readU64(data, at + 8)]).toEqual([2, CAPACITY])
      return [data[at + 1]! >> 4, readU32(data, at + 24)]
    })
    return { count, zones }
  }

  state(zone: number): number {
    return this.report().zones[zone]![0]!
  }
}

describe('zoned namespaces', () => {
  it('capabilities, identify, descriptors', () => {
    const { rig } = new ZonedRig({ maxOpen: 3, maxActive: 5 })
    expect(rig.read(4) & (1 << 11)).toBe(1 << 11)
    const ids = rig.identify(3, 1) as Uint8Array
    expect([ids[20], ids[24]]).toEqual([4, 2])
    const at = rig.alloc(PAGE)
    rig.admin({ opcode: 6, nsid: 1, prp1: at, cdw: [5, 2 << 24] })
    const data = rig.bytes(at, PAGE)
    expect([readU16(data, 2), readU32(data, 4), readU32(data, 8)]).toEqual([1, 4, 2])
    expect(readU64(data, 2816)).toBe(ZONE)
    rig.admin({ opcode: 6, prp1: at, cdw: [6, 2 << 24] })
    expect(rig.bytes(at, 1)[0]).toBe(1)
    expect(rig.admin({ opcode: 6, prp1: at, cdw: [6, 3 << 24] }).status).toBe(0x002 | DNR)
  })

  it('nvme-spec 21: writes go to the write pointer, inside of the capacity', () => {
    const z = new ZonedRig()
    expect(z.write(1)).toBe(0x1bc | DNR)
    expect(z.write(0, 8)).toBe(0)
    expect(z.write(0)).toBe(0x1bc | DNR)
    expect(z.write(8, 16)).toBe(0)
    expect(z.report().zones[0]).toEqual([2, 24])
    expect(z.write(24, 16)).toBe(0)
    expect(z.write(40, 9)).toBe(0x1b8 | DNR)
    expect(z.write(40, 8)).toBe(0)
    expect(z.report().zones[0]).toEqual([0xe, 0xffffffff])
    expect(z.write(48)).toBe(0x1b9 | DNR)
    expect(z.io(READ, 40, 16).status).toBe(0)
    expect(z.write(8 * ZONE)).toBe(0x080 | DNR)
  })

  it('nvme-spec 21: every action from every state', () => {
    const state = (z: ZonedRig, name: string): void => {
      const ns = z.rig.controller.spaces.list.get(1)!
      if (name === 'implicit' || name === 'closed') z.write(0)
      if (name === 'explicit') z.send(0, OPEN)
      if (name === 'closed') z.send(0, CLOSE)
      if (name === 'full') z.send(0, FINISH)
      if (name === 'read only') z.zoned.fail(ns, 0, READ_ONLY_ZONE)
      if (name === 'offline') z.zoned.fail(ns, 0, OFFLINE)
    }
    const bad = 0x1bf | DNR
    const table: Record<string, (readonly [number, number])[]> = {
      // close, finish, open, reset, offline: status and the state then
      empty: [
        [bad, 1],
        [0, 0xe],
        [0, 3],
        [0, 1],
        [bad, 1],
      ],
      implicit: [
        [0, 4],
        [0, 0xe],
        [0, 3],
        [0, 1],
        [bad, 2],
      ],
      explicit: [
        [0, 4],
        [0, 0xe],
        [0, 3],
        [0, 1],
        [bad, 3],
      ],
      closed: [
        [0, 4],
        [0, 0xe],
        [0, 3],
        [0, 1],
        [bad, 4],
      ],
      full: [
        [bad, 0xe],
        [0, 0xe],
        [bad, 0xe],
        [0, 1],
        [bad, 0xe],
      ],
      'read only': [
        [bad, 0xd],
        [bad, 0xd],
        [bad, 0xd],
        [bad, 0xd],
        [0, 0xf],
      ],
      offline: [
        [bad, 0xf],
        [bad, 0xf],
        [bad, 0xf],
        [bad, 0xf],
        [0, 0xf],
      ],
    }
    for (const [name, row] of Object.entries(table)) {
      for (const [i, action] of [CLOSE, FINISH, OPEN, RESET, TAKE_OFFLINE].entries()) {
        const z = new ZonedRig()
        state(z, name)
        const status = z.send(0, action)
        expect([name, action, status, z.state(0)]).toEqual([name, action, ...row[i]!])
      }
    }
  })

  it('append says where its data went', () => {
    const z = new ZonedRig()
    expect(z.io(APPEND, ZONE, 4)).toMatchObject({ status: 0, dw0: ZONE })
    expect(z.io(APPEND, ZONE, 4)).toMatchObject({ status: 0, dw0: ZONE + 4 })
    expect(z.io(APPEND, ZONE + 8, 1).status).toBe(0x002 | DNR)
    expect(z.io(APPEND, ZONE, 17).status).toBe(0x002 | DNR)
    expect(z.report().zones[1]).toEqual([2, ZONE + 8])
  })

  it('limits: implicitly open zones make room, explicitly open ones do not; active zones are counted', () => {
    const z = new ZonedRig({ maxOpen: 2, maxActive: 3 })
    expect([z.write(0), z.write(ZONE), z.write(2 * ZONE)]).toEqual([0, 0, 0])
    expect([0, 1, 2].map(i => z.state(i)).sort()).toEqual([2, 2, 4])
    expect(z.write(3 * ZONE)).toBe(0x1bd | DNR)
    expect(z.send(0, FINISH)).toBe(0)
    expect(z.send(1, OPEN)).toBe(0)
    expect(z.send(2, OPEN)).toBe(0)
    expect(z.write(3 * ZONE)).toBe(0x1be | DNR)
    expect(z.send(2, CLOSE)).toBe(0)
    expect(z.write(3 * ZONE)).toBe(0)
  })

  it('format and sanitize leave empty zones, as many as the format has room for', () => {
    const zoned = new ZonedRig()
    expect(zoned.write(0, 8)).toBe(0)
    expect(zoned.send(1, OPEN)).toBe(0)
    expect(zoned.rig.admin({ opcode: 0x84, cdw: [2] }).status).toBe(0)
    expect(zoned.report().zones.map(([state]) => state)).toEqual(new Array(8).fill(1))
    expect(zoned.write(0, 8)).toBe(0)
    expect(zoned.rig.admin({ opcode: 0x80, nsid: 1, cdw: [2] }).status).toBe(0)
    expect(zoned.report()).toEqual({ count: 1, zones: [[1, 0]] })
    expect(zoned.write(0)).toBe(0)
  })

  it('a namespace that is protected or being formatted takes no action on its zones', () => {
    const zoned = new ZonedRig()
    zoned.rig.setFeature(0x84, 1, 0, { nsid: 1 })
    expect(zoned.send(0, OPEN)).toBe(0x020 | DNR)
    zoned.rig.setFeature(0x84, 0, 0, { nsid: 1 })
    expect(zoned.send(0, OPEN)).toBe(0)
  })

  it('the log of effects knows the commands of the set', () => {
    const log = new ZonedRig().rig.log(5, 4096) as Uint8Array
    const effects = [SEND, RECEIVE, APPEND, WRITE].map(opcode => readU32(log, 1024 + 4 * opcode))
    expect(effects).toEqual([3, 1, 3, 3])
  })

  it('a reset zone reads as zeroes; reading one that is offline fails', () => {
    const z = new ZonedRig()
    z.rig.view.fill(z.rig.alloc(PAGE), PAGE, 0)
    expect(z.write(0, 8)).toBe(0)
    expect(z.send(0, RESET)).toBe(0)
    expect(z.report().zones[0]).toEqual([1, 0])
    expect(z.io(READ, 0, 8).status).toBe(0)
    z.zoned.fail(z.rig.controller.spaces.list.get(1)!, 0, OFFLINE)
    expect(z.io(READ, 0, 8).status).toBe(0x1bb | DNR)
    expect(z.write(0)).toBe(0x1bb | DNR)
  })

  it('reports: filters, parts, counts; all zones at once', () => {
    const z = new ZonedRig()
    for (const zone of [0, 1, 2]) z.write(zone * ZONE)
    expect(z.report(2)).toMatchObject({ count: 3 })
    expect(z.report(1)).toMatchObject({ count: 5 })
    expect(z.report(0, false, 32)).toMatchObject({ count: 8 })
    expect(z.report(0, true, 32)).toMatchObject({ count: 1 })
    expect(z.report(0, false, 1024, 6 * ZONE)).toMatchObject({ count: 2 })
    expect(z.send(0, CLOSE, true)).toBe(0)
    expect(z.report(4)).toMatchObject({ count: 3 })
    expect(z.send(0, OPEN, true)).toBe(0)
    expect(z.report(3)).toMatchObject({ count: 3 })
    expect(z.send(0, FINISH, true)).toBe(0)
    expect(z.report(5)).toMatchObject({ count: 3 })
    expect(z.send(0, RESET, true)).toBe(0)
    expect(z.report(1)).toMatchObject({ count: 8 })
    expect(z.send(0, 9)).toBe(0x002 | DNR)
  })
})
