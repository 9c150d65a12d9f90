// nvme-spec, section 10: every feature with every select, saved or not, before and after a reset; what a value does elsewhere.

import { describe, expect, it } from 'vitest'
import { PAGE, ready, type Rig } from './rig.js'

const DNR = 0x4000
const [CURRENT, DEFAULT, SAVED, SUPPORTED] = [0, 1, 2, 3]
const SAVEABLE = 1

interface Row {
  readonly fid: number
  /** What can be done with it: 1 saved, 2 a value for each namespace, 4 changed. */
  readonly can: number
  readonly value: number
  readonly word: number
  /** Command dword 11 of Get Features, where it chooses. */
  readonly of?: number
  /** Bytes of its data. */
  readonly bytes?: number
}

const FEATURES: readonly Row[] = [
  { fid: 0x01, can: 5, value: 0, word: 0x03020104 },
  { fid: 0x02, can: 5, value: 0, word: 0x20 },
  { fid: 0x03, can: 6, value: 0, word: 1, bytes: 128 },
  { fid: 0x04, can: 5, value: 343, word: 0x150 },
  { fid: 0x05, can: 7, value: 0, word: 100 },
  { fid: 0x06, can: 5, value: 1, word: 0 },
  { fid: 0x08, can: 5, value: 0, word: 0x0a07 },
  { fid: 0x09, can: 5, value: 1, word: 0x10001, of: 1 },
  { fid: 0x0a, can: 5, value: 0, word: 1 },
  { fid: 0x0b, can: 5, value: 0, word: 0x300 },
  { fid: 0x0c, can: 5, value: 0, word: 1, bytes: 256 },
  { fid: 0x0f, can: 4, value: 0, word: 5000 },
  { fid: 0x16, can: 4, value: 0, word: 0, bytes: 512 },
  { fid: 0x80, can: 5, value: 0, word: 3 },
  { fid: 0x81, can: 4, value: 0, word: 1, of: 1, bytes: 16 },
]

const ALL = {
  writeCache: true,
  keepAlive: 1,
  hostMemory: { preferred: 16, minimum: 4 },
} as const

/** Dword and data of a feature. */
function get(rig: Rig, { fid, can, of = 0, bytes = 0 }: Row, select: number): [number, number[]] {
  const prp1 = rig.alloc(PAGE)
  const { status, dw0 } = rig.feature(fid, { prp1, nsid: can & 2 ? 1 : 0 }, select, of)
  expect(status).toBe(0)
  return [dw0, [...rig.bytes(prp1, bytes)]]
}

function set(rig: Rig, { fid, can, word, bytes = 0 }: Row, save: number): number {
  const prp1 = rig.alloc(PAGE)
  for (let i = 0; i < bytes; i++) rig.view.bytes[prp1 + i] = i + 1
  return rig.setFeature(fid, word, save, { prp1, nsid: can & 2 ? 1 : 0 }).status
}

function reset(rig: Rig): void {
  rig.write(0x14, 0x00460000)
  rig.enable()
}

describe.each(FEATURES)('nvme-spec 10: feature $fid', row => {
  const { fid, can, value, word, bytes = 0 } = row
  const empty = new Array<number>(bytes).fill(0)
  const full = empty.map((_, i) => (i + 1) & 0xff)

  it('current, default, saved, supported; a reset forgets what was not saved', () => {
    const rig = ready({ config: ALL, pages: 512 })
    expect(get(rig, row, SUPPORTED)[0]).toBe(can)
    for (const select of [CURRENT, DEFAULT, SAVED])
      expect(get(rig, row, select)).toEqual([value, empty])
    expect(set(rig, row, 0)).toBe(0)
    expect(get(rig, row, CURRENT)).toEqual([word, full])
    for (const select of [DEFAULT, SAVED]) expect(get(rig, row, select)).toEqual([value, empty])
    reset(rig)
    expect(get(rig, row, CURRENT)).toEqual([value, empty])
    expect(rig.feature(fid, { nsid: can & 2 ? 1 : 0 }, 4).status).toBe(0x002 | DNR)
  })

  it('saved: there after a reset and a power cycle, or refused', () => {
    const rig = ready({ config: ALL, pages: 512 })
    if (!(can & SAVEABLE)) {
      expect(set(rig, row, 1)).toBe(0x10d | DNR)
      expect(get(rig, row, CURRENT)).toEqual([value, empty])
      return
    }
    expect(set(rig, row, 1)).toBe(0)
    for (const select of [CURRENT, SAVED]) expect(get(rig, row, select)).toEqual([word, full])
    expect(get(rig, row, DEFAULT)).toEqual([value, empty])
    reset(rig)
    rig.controller.powerLoss()
    rig.controller.busMaster(true)
    rig.enable()
    for (const select of [CURRENT, SAVED]) expect(get(rig, row, select)).toEqual([word, full])
  })

  it('of a namespace or of the controller', () => {
    const rig = ready({ config: { ...ALL, slots: 2 } })
    const prp1 = rig.alloc(PAGE)
    const status = (nsid: number): number => rig.setFeature(fid, word, 0, { prp1, nsid }).status
    expect(status(7)).toBe(0x00b | DNR)
    if (can & 2) {
      expect(status(0)).toBe(0x00b | DNR)
      expect(status(2)).toBe(0x002 | DNR) // not attached
      expect(status(0xffffffff)).toBe(0)
      expect(rig.feature(fid, { prp1, nsid: 0xffffffff }).status).toBe(0x00b | DNR)
      expect(rig.feature(fid, { prp1, nsid: 1 }).dw0).toBe(word)
    } else {
      expect(status(1)).toBe(0x10f | DNR)
      expect(status(0xffffffff)).toBe(0)
    }
  })
})

describe('nvme-spec 10', () => {
  it.each([0x00, 0x10, 0x17, 0x7f, 0x82, 0x83, 0xff])('feature %i is not there', fid => {
    const rig = ready({ config: ALL })
    for (const select of [0, 1, 2, 3]) expect(rig.feature(fid, {}, select).status).toBe(0x002 | DNR)
    expect(rig.setFeature(fid, 0).status).toBe(0x002 | DNR)
  })

  it.each([0x06, 0x0d, 0x0f])('feature %i is not there without what it is about', fid => {
    const rig = ready()
    expect(rig.feature(fid, {}, 3).status).toBe(0x002 | DNR)
    expect(rig.setFeature(fid, 0).status).toBe(0x002 | DNR)
  })

  it.each([
    ['a power state that is not there', 0x02, 1],
    ['errors for deallocated blocks', 0x05, 0x10001],
    ['the threshold of a sensor that is not there', 0x04, 0x10150],
    ['a threshold neither above nor below', 0x04, 0x200150],
    ['a vector that is not there', 0x09, 8],
    ['65,536 queues', 0x07, 0xffff0000],
    ['a write protection that is not there', 0x84, 4],
  ])('%s', (_, fid, word) => {
    const rig = ready()
    const nsid = fid === 0x05 || fid === 0x84 ? 1 : 0
    expect(rig.setFeature(fid, word, 0, { nsid }).status).toBe(0x002 | DNR)
  })

  it('the number of queues is the same by every select, and no vector is without its number', () => {
    const rig = ready({ queues: 4 })
    for (const select of [CURRENT, DEFAULT, SAVED])
      expect(rig.feature(7, {}, select)).toMatchObject({ status: 0, dw0: 0x00030003 })
    expect(rig.feature(7, {}, SUPPORTED).dw0).toBe(4)
    expect(rig.setFeature(7, 0, 1).status).toBe(0x10d | DNR)
    for (const select of [CURRENT, DEFAULT, SAVED]) {
      expect(rig.feature(9, {}, select, 5)).toMatchObject({ status: 0, dw0: 5 })
      expect(rig.feature(9, {}, select, 8).status).toBe(0x002 | DNR)
    }
  })

  it('a host has one identifier, of 8 or 16 bytes', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    rig.view.setU32(prp1, 77)
    expect(rig.setFeature(0x81, 0, 0, { prp1 }).status).toBe(0)
    expect(rig.setFeature(0x81, 0, 0, { prp1 }).status).toBe(0x00c | DNR)
    const to = rig.alloc(PAGE)
    rig.view.fill(to, 16, 9)
    expect(rig.feature(0x81, { prp1: to }).status).toBe(0)
    expect([...rig.bytes(to, 10)]).toEqual([77, 0, 0, 0, 0, 0, 0, 0, 9, 9])
  })

  it('write protection outlives a reset; until a power cycle, or for good', () => {
    const rig = ready()
    const protect = (state: number): number => rig.setFeature(0x84, state, 0, { nsid: 1 }).status
    const now = (): number => rig.feature(0x84, { nsid: 1 }).dw0
    const power = (): void => {
      rig.controller.powerLoss()
      rig.controller.busMaster(true)
      rig.enable()
    }
    for (const [state, after] of [
      [1, 1],
      [2, 0],
    ] as const) {
      expect(protect(state)).toBe(0)
      reset(rig)
      expect(now()).toBe(state)
      power()
      expect(now()).toBe(after)
    }
    expect(protect(3)).toBe(0)
    expect(protect(0)).toBe(0x10e | DNR)
    power()
    expect(now()).toBe(3)
    expect(rig.setFeature(0x84, 0, 1, { nsid: 1 }).status).toBe(0x10d | DNR)
  })

  it('temperature: above and below, of the one sensor there is or of all; health and an event say so', () => {
    const rig = ready()
    const warning = (): number => (rig.log(2, 512, 0x8000) as Uint8Array)[0]!
    const threshold = (of: number): number => rig.feature(4, {}, 0, of << 16).dw0 & 0xffff
    expect([0, 0x10, 0xf, 0x1].map(threshold)).toEqual([343, 0, 343, 0])
    expect(warning()).toBe(0)
    rig.setFeature(0x0b, 2)
    const event = rig.push(0, { opcode: 0x0c })
    rig.ring(0)
    rig.setFeature(4, (0xf << 16) | 309)
    expect([threshold(0), warning()]).toEqual([309, 0])
    rig.push(0, { opcode: 9, cdw: [4, 308] })
    rig.ring(0)
    expect(rig.reap(0).find(c => c.cid === event)?.dw0).toBe(0x020101)
    expect(warning()).toBe(2)
    rig.setFeature(4, 343)
    expect(warning()).toBe(0)
    rig.setFeature(4, (0x10 << 16) | 308)
    expect([threshold(0x10), warning()]).toEqual([308, 2])
    expect(readTemperature(rig)).toBe(308)
  })
})

function readTemperature(rig: Rig): number {
  const log = rig.log(2, 512, 0x8000) as Uint8Array
  return log[1]! | (log[2]! << 8)
}
