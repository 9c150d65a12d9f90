// Times of the media: "open-channel device", statements 11 to 16 and 18.

import { describe, expect, it } from 'vitest'
import { GEOMETRY_20, type OcssdGeometry } from '../../../../src/device/ocssd/geometry.js'
import { MediaTiming, pageType } from '../../../../src/device/ocssd/media.js'
import { DeviceRig } from './rig.js'

const MLC: OcssdGeometry = { ...GEOMETRY_20, groups: 2, pus: 2, planes: 1, clba: 512 * 4 }

describe('media times', () => {
  it('ocssd-device 10.11: two reads of one LUN: arrays one after the other, the transfer after its array', () => {
    const media = new MediaTiming(MLC, true)
    expect([media.read(0, 0, 0, 1), media.read(0, 0, 1, 1)]).toEqual([100433, 152866])
  })

  it('ocssd-device 10.12: two LUNs of a channel share the bus, two channels nothing', () => {
    const one = new MediaTiming(MLC, true)
    expect([one.read(0, 0, 0, 1), one.read(0, 1, 0, 1)]).toEqual([100433, 152866])
    const two = new MediaTiming(MLC, true)
    expect([two.read(0, 0, 0, 1), two.read(0, 2, 0, 1)]).toEqual([100433, 100433])
  })

  it('ocssd-device 10.13: a read waits for the program of its LUN', () => {
    const media = new MediaTiming(MLC, true)
    expect(media.program(0, 0, 0, 1)).toBe(902433)
    expect(media.read(10000, 0, 0, 1)).toBe(1002866)
  })

  it('ocssd-device 10.14: an erase occupies its LUN alone', () => {
    const media = new MediaTiming(MLC, true)
    expect(media.erase(0, 0)).toBe(3000000)
    expect(media.read(0, 1, 0, 1)).toBe(100433)
    // and its own LUN's read waits for it
    expect(media.read(0, 0, 0, 1)).toBe(3100433)
  })

  it('ocssd-device 10.15: without channels only the LUN counts', () => {
    const media = new MediaTiming(MLC, false)
    expect([media.read(0, 0, 0, 1), media.read(0, 0, 1, 1)]).toEqual([48000, 96000])
  })

  it('ocssd-device 10.16: which pages of an MLC block are slow', () => {
    const upper = (page: number): boolean => pageType('mlc', page, 512) === 1
    expect([0, 5, 8, 11, 14, 15].map(upper)).toEqual(Array(6).fill(false))
    expect([6, 9, 12, 13, 511].map(upper)).toEqual(Array(5).fill(true))
    expect([502, 503, 506, 507, 509, 510].some(upper)).toBe(false)
    expect([504, 505, 508, 511].every(upper)).toBe(true)
    expect([pageType('slc', 6, 512), pageType('tlc', 5, 512), pageType('qlc', 7, 512)]).toEqual([
      0, 2, 3,
    ])
  })

  it('ocssd-device 10.18: a write of 64 sectors over eight LUNs of two channels', () => {
    const rig = new DeviceRig({ geometry: { ...GEOMETRY_20, groups: 2, pus: 4 } })
    const addresses = Array.from({ length: 8 }, (_, i) => rig.run(i >> 2, i & 3, 0, 0, 8)).flat()
    expect(rig.write(addresses).due).toBe(1269464)
  })

  it('counts the planes that a read wants, and a page once', () => {
    const rig = new DeviceRig()
    for (let i = 0; i < 8; i++) rig.write(rig.run(0, 0, 0, 8 * i, 8), 0)
    const from = 1e9
    expect(rig.read(rig.run(0, 0, 0, 0, 4), from).due).toBe(from + 48000 + 52433)
    expect(rig.read(rig.run(0, 0, 0, 0, 8), 2 * from).due).toBe(2 * from + 48000 + 2 * 52433)
    expect(rig.erase([rig.at(0, 0, 1, 0)], 0).due).toBe(0)
  })
})
