// The open-channel device: identity, chunk states, write and read rules, statuses, bad blocks, wear and failures. Numbers
// are those of the statements of "open-channel device".

import { describe, expect, it } from 'vitest'
import { CHUNK_CLOSED, CHUNK_FREE, CHUNK_OFFLINE, CHUNK_OPEN } from '../../../../assembly/layout.js'
import {
  GEOMETRY_12,
  GEOMETRY_20,
  geometryProblem,
  MCCAP_COPY,
  MCCAP_EARLY_RESET,
  MCCAP_MULTI_RESET,
  namespaceSectors,
  totalChunks,
} from '../../../../src/device/ocssd/geometry.js'
import { SQE_BYTES } from '../../../../assembly/nvme.js'
import { DeviceRig, TINY } from './rig.js'

const with20 = (change: object) => new DeviceRig({ geometry: { ...GEOMETRY_20, ...change } })

describe('identity', () => {
  it('ocssd-device 10.1: bytes of the default device of 2.0', () => {
    const bytes = new DeviceRig().device.identity()
    const view = new DataView(bytes.buffer)
    expect(bytes.length).toBe(4096)
    expect([bytes[0], ...bytes.subarray(8, 12)]).toEqual([2, 1, 3, 6, 12])
    expect([view.getUint16(64, true), view.getUint16(66, true)]).toEqual([2, 8])
    const words = [68, 72, 128, 132, 136].map(at => view.getUint32(at, true))
    expect(words).toEqual([60, 4096, 4, 8, 24])
    expect([192, 200, 208].map(at => view.getUint32(at, true))).toEqual([70000, 1900000, 3000000])
  })

  it('ocssd-device 10.2: sizes of what goes over the wire', () => {
    const [old, now] = [DeviceRig.old().device, new DeviceRig().device]
    expect([old.identity().length, now.identity().length, SQE_BYTES]).toEqual([4096, 4096, 64])
    const first = old.identity().findIndex((byte, at) => at >= 256 && byte !== 0)
    const rest = [...old.identity().entries()].filter(([, byte]) => byte !== 0).map(([at]) => at)
    // the format of addresses at 12, the first of four groups at 256: nothing behind them
    expect(rest.filter(at => at >= 12 + 16 && at < 256)).toEqual([])
    expect([first >= 256, rest.filter(at => at >= 256 + 960)]).toEqual([true, []])
    const log = now.chunkLog(0, 64)!
    const view = new DataView(log.buffer, log.byteOffset)
    expect([8, 32 + 8].map(at => view.getBigUint64(at, true))).toEqual([0n, 4096n])
    const { chunks, planes } = GEOMETRY_12
    expect(old.badBlockTable(0)?.length).toBe(64 + chunks * planes)
  })

  it('is that of 1.2: format, group, planes', () => {
    const bytes = DeviceRig.old().device.identity()
    const view = new DataView(bytes.buffer)
    expect([bytes[0], bytes[2]]).toEqual([1, 1])
    expect([...bytes.subarray(12, 24)]).toEqual([19, 0, 17, 2, 2, 1, 12, 5, 3, 9, 0, 2])
    expect([...bytes.subarray(260, 263)]).toEqual([1, 4, 2])
    expect([264, 266, 268, 270, 272].map(at => view.getUint16(at, true))).toEqual([
      32, 512, 16384, 4096, 16,
    ])
    expect(view.getUint32(300, true)).toBe(0x020202)
  })

  it('section 8: sizes that follow', () => {
    expect(namespaceSectors(GEOMETRY_20)).toBe(4194304)
    expect(namespaceSectors(TINY)).toBe(32768)
    expect(namespaceSectors(GEOMETRY_12)).toBe(524288)
    expect(totalChunks(GEOMETRY_20)).toBe(960)
  })

  it.each([
    [{ groups: 0 }, 'groups'],
    [{ planes: 3 }, 'planes'],
    [{ wsOpt: 6 }, 'wsOpt'],
    [{ clba: 4100 }, 'clba'],
    [{ wsMin: 128 }, 'wsMin'],
  ])('refuses %o', (change, word) => {
    expect(geometryProblem({ ...GEOMETRY_20, ...change })).toContain(word)
    expect(() => with20(change)).toThrow(word)
  })
})

describe('addresses', () => {
  it('round trip, and fields out of range are none', () => {
    const { format } = with20({ groups: 3, pus: 5, chunks: 60, clba: 1000, wsOpt: 4 }).device
    const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
    const there = { group: 2, pu: 4, chunk: 59, sector: 999 }
    expect(format.place(format.address(there), place)).toBe(true)
    expect(place).toEqual(there)
    for (const wrong of [{ group: 3 }, { pu: 5 }, { chunk: 60 }, { sector: 1000 }])
      expect(format.place(format.address({ ...there, ...wrong }), place)).toBe(false)
    expect(format.place(2 ** 64, place)).toBe(false)
  })

  it('of 1.2 with pages of six sectors leave holes', () => {
    const { format } = DeviceRig.old({
      geometry: { ...GEOMETRY_12, pageSectors: 6, clba: 2 * 6 * 64, wsMin: 6, wsOpt: 12 },
    }).device
    const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
    for (const sector of [0, 5, 6, 11, 12, 767]) {
      expect(format.place(format.address({ group: 0, pu: 1, chunk: 7, sector }), place)).toBe(true)
      expect(place).toEqual({ group: 0, pu: 1, chunk: 7, sector })
    }
    expect(format.place(6, place)).toBe(false)
  })
})

describe('chunk log', () => {
  it('ocssd-device 10.3: length and a descriptor', () => {
    const { device } = new DeviceRig()
    expect(device.chunkLog(0, 30720)?.length).toBe(30720)
    expect(device.chunkLog(0, 30752)).toBeNull()
    expect(device.chunkLog(16, 32)).toBeNull()
    const d = device.chunkLog(845 * 32, 32)!
    const view = new DataView(d.buffer, d.byteOffset)
    expect([d[0], d[1], d[2]]).toEqual([CHUNK_FREE, 1, 0])
    expect(view.getBigUint64(8, true)).toBe(3690496n)
    expect(view.getBigUint64(16, true)).toBe(4096n)
  })

  it('shows a state as soon as the command is over', () => {
    const rig = new DeviceRig()
    rig.write(rig.run(1, 6, 5, 0, 8))
    const d = rig.device.chunkLog(845 * 32, 32)!
    expect([d[0], d[24]]).toEqual([CHUNK_OPEN, 8])
  })
})

describe('writing a chunk', () => {
  it('ocssd-device 10.4: at the write pointer, whole write units, in order', () => {
    const rig = new DeviceRig()
    const { chunks } = rig.device
    expect(rig.write(rig.run(0, 0, 0, 0, 8)).status).toBe(0)
    expect([chunks.state[0], chunks.wp[0]]).toEqual([CHUNK_OPEN, 8])
    expect(rig.write(rig.run(0, 0, 0, 16, 8)).status).toBe(0x42f2)
    expect(chunks.wp[0]).toBe(8)
    expect(rig.write(rig.run(0, 0, 0, 8, 4)).status).toBe(0)
    expect(chunks.wp[0]).toBe(12)
    expect(rig.write(rig.run(0, 0, 0, 12, 3)).status).toBe(0x4002)
  })

  it('ocssd-device 10.5: closes it, refuses more, and a reset frees it', () => {
    const rig = new DeviceRig()
    const { chunks } = rig.device
    for (let i = 0; i < 512; i++) expect(rig.write(rig.run(0, 0, 0, 8 * i, 8)).status).toBe(0)
    expect(chunks.state[0]).toBe(CHUNK_CLOSED)
    expect(rig.write(rig.run(0, 0, 0, 0, 8)).status).toBe(0x4280)
    expect(rig.erase([rig.at(0, 0, 0, 0)]).status).toBe(0)
    expect([chunks.state[0], chunks.wp[0], chunks.wear[0]]).toEqual([CHUNK_FREE, 0, 1])
  })

  it('refuses more than 64 addresses, an address that cannot be, an offline chunk', () => {
    const rig = new DeviceRig({ bad: [3] })
    expect(rig.write(rig.run(0, 0, 0, 0, 65)).status).toBe(0x4002)
    expect(rig.write([2 ** 60, 2 ** 60, 2 ** 60, 2 ** 60]).status).toBe(0x4280)
    expect(rig.write(rig.run(0, 0, 3, 0, 8)).status).toBe(0x4280)
  })

  it('checks all runs before it writes any: several chunks, gaps, an address twice', () => {
    const rig = new DeviceRig()
    const { chunks } = rig.device
    const two = [...rig.run(0, 0, 0, 0, 8), ...rig.run(0, 1, 0, 0, 8)]
    expect(rig.write(two).status).toBe(0)
    expect([chunks.wp[0], chunks.wp[60]]).toEqual([8, 8])
    expect(rig.write([...rig.run(0, 0, 0, 8, 8), ...rig.run(0, 1, 0, 12, 8)]).status).toBe(0x42f2)
    expect([chunks.wp[0], chunks.wp[60]]).toEqual([8, 8])
    expect(rig.write([...rig.run(0, 0, 0, 8, 4), ...rig.run(0, 0, 0, 16, 4)]).status).toBe(0x42f2)
    expect(rig.write([...rig.run(0, 0, 0, 8, 4), rig.at(0, 0, 0, 11)]).status).toBe(0x42f2)
    const there = [...rig.run(0, 0, 0, 8, 4), ...rig.run(0, 1, 0, 8, 4), ...rig.run(0, 0, 0, 12, 4)]
    expect(rig.write(there).status).toBe(0)
    expect([chunks.wp[0], chunks.wp[60]]).toEqual([16, 12])
  })

  it('opens no more chunks than there may be', () => {
    const rig = with20({ maxoc: 3, maxocpu: 2 })
    expect(rig.write(rig.run(0, 0, 0, 0, 4)).status).toBe(0)
    expect(rig.write(rig.run(0, 0, 1, 0, 4)).status).toBe(0)
    expect(rig.write(rig.run(0, 0, 2, 0, 4)).status).toBe(0x4280)
    expect(rig.write(rig.run(0, 1, 0, 0, 4)).status).toBe(0)
    expect(rig.write(rig.run(0, 1, 1, 0, 4)).status).toBe(0x4280)
    expect(rig.write(rig.run(0, 0, 0, 4, 4)).status).toBe(0)
  })

  it('writes and reads chunks of random type anywhere', () => {
    const rig = new DeviceRig({ presets: 'grp=0 pu=0 chk=0 state=OPEN type=RAN' })
    rig.stamp(4)
    expect(rig.write(rig.run(0, 0, 0, 400, 4)).status).toBe(0)
    expect(rig.write(rig.run(0, 0, 0, 0, 4)).status).toBe(0)
    expect(rig.read(rig.run(0, 0, 0, 400, 4)).status).toBe(0)
    expect(rig.word(3)).toBe(4)
  })
})

describe('reading', () => {
  it('ocssd-device 10.6: the last mw_cunits sectors of an open chunk are not there yet', () => {
    const rig = new DeviceRig()
    const stamps: number[] = []
    for (let i = 0; i < 3; i++) {
      stamps.push(...rig.stamp(8))
      rig.write(rig.run(0, 0, 0, 8 * i, 8))
    }
    rig.read(rig.run(0, 0, 0, 0, 8))
    expect(rig.word(0)).toBe(0)
    rig.device.dulbe = true
    expect(rig.read(rig.run(0, 0, 0, 0, 24)).failed).toEqual(
      Array.from({ length: 24 }, (_, i) => i),
    )
    rig.device.dulbe = false
    rig.stamp(8)
    rig.write(rig.run(0, 0, 0, 24, 8))
    rig.read(rig.run(0, 0, 0, 0, 9))
    expect([0, 7, 8].map(i => rig.word(i))).toEqual([stamps[0], stamps[7], 0])
    expect([0, 7, 8].map(i => rig.oob(i))).toEqual([stamps[0], stamps[7], 0])
    rig.device.dulbe = true
    const answer = rig.read(rig.run(0, 0, 0, 6, 4))
    expect([answer.status, answer.failed]).toEqual([0x4287, [2, 3]])
    for (let i = 4; i < 512; i++) rig.write(rig.run(0, 0, 0, 8 * i, 8))
    for (let at = 0; at < 4096; at += 64) expect(rig.read(rig.run(0, 0, 0, at, 64)).status).toBe(0)
  })

  it('looks at all 64 addresses, and an invalid one counts as never written', () => {
    const rig = new DeviceRig()
    rig.device.dulbe = true
    const answer = rig.read([...rig.run(0, 0, 0, 0, 63), 2 ** 60])
    expect(answer.failed.length).toBe(64)
    rig.device.dulbe = false
    expect(rig.read([2 ** 60]).status).toBe(0)
  })

  it('reports errors and warnings from their rates', () => {
    const rig = new DeviceRig()
    for (let i = 0; i < 8; i++) rig.write(rig.run(0, 0, 0, 8 * i, 8))
    rig.device.faults.rates = { ecc: 1 }
    expect(rig.read(rig.run(0, 0, 0, 0, 2))).toMatchObject({ status: 0x4281, failed: [0, 1] })
    rig.device.faults.rates = { highEcc: 1 }
    expect(rig.read(rig.run(0, 0, 0, 0, 2))).toMatchObject({ status: 0x4700, failed: [] })
    rig.device.faults.clear()
    expect(rig.read(rig.run(0, 0, 0, 0, 2)).status).toBe(0)
  })
})

describe('resetting', () => {
  it('ocssd-device 10.7: free and open chunks only where the device may', () => {
    const rig = new DeviceRig()
    expect(rig.erase([rig.at(0, 0, 0, 0)])).toMatchObject({ status: 0x42c1, failed: [0] })
    const multi = with20({ mccap: MCCAP_MULTI_RESET })
    expect(multi.erase([multi.at(0, 0, 0, 0)]).status).toBe(0)
    expect(multi.device.chunks.wear[0]).toBe(1)
    rig.write(rig.run(0, 0, 0, 0, 8))
    expect(rig.erase([rig.at(0, 0, 0, 0)]).status).toBe(0x42c1)
    const early = with20({ mccap: MCCAP_EARLY_RESET })
    early.write(early.run(0, 0, 0, 0, 8))
    expect(early.erase([early.at(0, 0, 0, 0)]).status).toBe(0)
  })

  it('ocssd-device 10.17: wear saturates', () => {
    const rig = with20({ mccap: MCCAP_MULTI_RESET })
    for (let i = 0; i < 256; i++) rig.erase([rig.at(0, 0, 0, 0)])
    expect([rig.device.chunks.wear[0], rig.device.chunks.resets[0]]).toEqual([255, 256])
  })

  it('goes in order: an error ends the command, what was reset stays', () => {
    const rig = with20({ mccap: MCCAP_MULTI_RESET })
    rig.write(rig.run(0, 1, 0, 0, 8))
    const answer = rig.erase([rig.at(0, 0, 0, 0), rig.at(0, 1, 0, 0), rig.at(0, 2, 0, 0)])
    expect(answer).toMatchObject({ status: 0x42c1, failed: [1] })
    expect([0, 60, 120].map(c => rig.device.chunks.wear[c])).toEqual([1, 0, 0])
    expect(rig.erase([2 ** 60]).status).toBe(0x42c1)
  })

  it('ends a chunk after its endurance', () => {
    const rig = new DeviceRig({
      geometry: { ...GEOMETRY_20, mccap: MCCAP_MULTI_RESET },
      endurance: 2,
    })
    const at = [rig.at(0, 0, 0, 0)]
    expect([0, 0, 0, 0].map(() => rig.erase(at).status)).toEqual([0, 0, 0x42c1, 0x42c0])
    expect([rig.device.chunks.state[0], rig.device.chunks.wp[0]]).toEqual([CHUNK_OFFLINE, 0xffff])
  })
})

describe('failures on purpose', () => {
  it.each([
    [true, 0x4000],
    [false, 0],
  ])('ocssd-device 10.8: a failed write closes the chunk early; DNR %s', (dnr, bit) => {
    const presets = 'grp=0 pu=0 chk=0 sec=53 writefail_prob=100'
    const rig = new DeviceRig({ presets, dnr })
    for (let i = 0; i < 6; i++) rig.write(rig.run(0, 0, 0, 8 * i, 8))
    const answer = rig.write(rig.run(0, 0, 0, 48, 8))
    expect(answer).toMatchObject({ status: 0x2f1 | bit, failed: [5, 6, 7] })
    const { chunks } = rig.device
    expect([chunks.state[0], chunks.wp[0]]).toEqual([CHUNK_CLOSED, 53])
    expect(rig.erase([rig.at(0, 0, 0, 0)]).status).toBe(0x2c1 | bit)
    expect(chunks.state[0]).toBe(CHUNK_OFFLINE)
    expect(rig.erase([rig.at(0, 0, 0, 0)]).status).toBe(0x2c0 | bit)
  })

  it('leave later chunks of the command alone, and mark them', () => {
    const rig = new DeviceRig()
    rig.device.faults.failWrites(rig.chunk(0, 1, 0), 2)
    const three = [0, 1, 2].flatMap(pu => rig.run(0, pu, 0, 0, 4))
    expect(rig.write(three).failed).toEqual([6, 7, 8, 9, 10, 11])
    expect([0, 60, 120].map(c => rig.device.chunks.wp[c])).toEqual([4, 2, 0])
  })

  it('repeat with the seed', () => {
    const story = (seed: number): number[] => {
      const rig = new DeviceRig({ seed, presets: 'grp=0 pu=0 chk=1 resetfail_prob=50' })
      rig.device.faults.rates = { write: 0.2 }
      return Array.from({ length: 40 }, (_, i) => rig.write(rig.run(1, i % 8, i >> 3, 0, 4)).status)
    }
    expect(story(7)).toEqual(story(7))
    expect(story(7)).not.toEqual(story(8))
    expect(new Set(story(7))).toEqual(new Set([0, 0x42f1]))
  })

  it.each(['grp=2 pu=0 chk=0', 'grp=0 pu=0 chk=0 state=NEW', 'grp=0 pu=0 chk=0 color=1'])(
    'refuse the text %s with the number of its line',
    line => {
      expect(() => new DeviceRig({ presets: `# nothing\n${line}` })).toThrow('line 2')
    },
  )
})

describe('data', () => {
  it('are kept, also odd ones, and gone after a reset', () => {
    const rig = with20({ mccap: MCCAP_EARLY_RESET, mwCunits: 0 })
    const stamps = rig.stamp(8)
    rig.write(rig.run(0, 0, 0, 0, 8))
    expect(rig.device.store.bytes).toBe(8 * 4096)
    rig.read(rig.run(0, 0, 0, 0, 8))
    expect(Array.from({ length: 8 }, (_, i) => rig.word(i))).toEqual(stamps)
    expect([...rig.mem.subarray(0, 2)]).toEqual([~stamps[0] >>> 0, stamps[0]])
    rig.mem.fill(0x5a5a5a5a, 0, 8192)
    rig.write(rig.run(0, 0, 0, 8, 8))
    expect(rig.device.store.bytes).toBe(8 * 4096)
    rig.read(rig.run(0, 0, 0, 8, 1))
    expect(rig.word(0)).toBe(0x5a5a5a5a)
    rig.erase([rig.at(0, 0, 0, 0)])
    expect(rig.device.store.bytes).toBe(0)
  })

  it('beyond the budget are refused', () => {
    const rig = new DeviceRig({ budget: 4 * 4096 })
    rig.stamp(8)
    expect(rig.write(rig.run(0, 0, 0, 0, 8))).toMatchObject({
      status: 0x4081,
      failed: [4, 5, 6, 7],
    })
  })

  it('are copied inside of the device, where it can', () => {
    const rig = with20({ mccap: MCCAP_COPY, mwCunits: 0 })
    const stamps = rig.stamp(4)
    rig.write(rig.run(0, 0, 0, 0, 4))
    expect(rig.copy(rig.run(0, 0, 0, 0, 4), rig.run(1, 0, 0, 0, 4)).status).toBe(0)
    rig.read(rig.run(1, 0, 0, 0, 4))
    expect(Array.from({ length: 4 }, (_, i) => rig.word(i))).toEqual(stamps)
    expect(new DeviceRig().copy([0], [4096]).status).toBe(0x4001)
  })
})

describe('revision 1.2', () => {
  it('ocssd-device 10.9: a read stops at the first sector that was never written', () => {
    const rig = DeviceRig.old()
    const stamps = rig.stamp(8)
    rig.write(rig.run(0, 0, 0, 0, 8))
    const answer = rig.read([...rig.run(0, 0, 0, 0, 2), ...rig.run(0, 0, 1, 0, 2)])
    expect(answer).toMatchObject({ status: 0x42ff, failed: [2, 3] })
    expect([rig.oob(0), rig.oob(1)]).toEqual(stamps.slice(0, 2))
  })

  it('ocssd-device 10.10: bad blocks are marked and told', () => {
    const rig = DeviceRig.old()
    const at = rig.at(0, 1, 7, 0)
    expect(rig.device.setBadBlocks([at], 1, 2)).toBe(0)
    const table = rig.device.badBlockTable(at)!
    const view = new DataView(table.buffer)
    expect(String.fromCharCode(...table.subarray(0, 4))).toBe('BBLT')
    expect([view.getUint16(4, true), view.getUint32(12, true), table.length]).toEqual([1, 64, 128])
    expect([table[64 + 14], table[64 + 15], view.getUint32(20, true)]).toEqual([2, 0, 1])
    expect(rig.erase([at], 0, 1).status).toBe(0x4002)
    expect(rig.device.setBadBlocks([2 ** 60], 1, 2)).toBe(0x4002)
    expect(DeviceRig.old({ bad: [0] }).device.badBlockTable(0)?.[64]).toBe(1)
  })

  it('takes a page over all planes, once, in order', () => {
    const rig = DeviceRig.old()
    expect(rig.write(rig.run(0, 0, 0, 0, 4)).status).toBe(0x4002)
    expect(rig.write(rig.run(0, 0, 0, 8, 8)).status).toBe(0x4002)
    expect(rig.write(rig.run(0, 0, 0, 0, 16)).status).toBe(0)
    expect(rig.write(rig.run(0, 0, 0, 0, 8)).status).toBe(0x4002)
    expect(rig.write(rig.run(0, 0, 0, 16, 8)).status).toBe(0)
    const small = DeviceRig.old({ geometry: { ...GEOMETRY_12, dom: 1 } })
    expect(small.write(small.run(0, 0, 0, 0, 1)).status).toBe(0)
  })

  it('erases by plane mode, and fails with its own status', () => {
    const rig = DeviceRig.old({
      endurance: 1,
      presets: 'grp=0 pu=0 chk=1 sec=9 writefail_prob=100',
    })
    rig.write(rig.run(0, 0, 0, 0, 8))
    expect(rig.erase([0], 0, 2).status).toBe(0x4002)
    expect(rig.erase([0], 0, 1).status).toBe(0)
    expect(rig.write(rig.run(0, 0, 0, 0, 8)).status).toBe(0)
    expect(rig.erase([0], 0, 1).status).toBe(0x40ff)
    expect(rig.write(rig.run(0, 0, 1, 0, 16))).toMatchObject({
      status: 0x40ff,
      failed: [9, 10, 11, 12, 13, 14, 15],
    })
  })
})

describe('power loss', () => {
  it('keeps what has ended, and of the rest whole write units', () => {
    const kept = new Set<number>()
    for (let seed = 0; seed < 40; seed++) {
      const rig = new DeviceRig({ seed })
      const first = rig.write(rig.run(0, 0, 0, 0, 8))
      rig.write(rig.run(0, 0, 0, 8, 16), first.due)
      rig.device.powerLoss(first.due + 1)
      const wp = rig.device.chunks.wp[0]
      kept.add(wp)
      expect(wp % 4).toBe(0)
      expect(rig.write(rig.run(0, 0, 0, wp, 8)).status).toBe(0)
    }
    expect([...kept].sort((a, b) => a - b)).toEqual([8, 12, 16, 20, 24])
  })

  it('takes a later write with the earlier one that it cut', () => {
    for (let seed = 0; seed < 20; seed++) {
      const rig = new DeviceRig({ seed })
      for (let i = 0; i < 4; i++) rig.write(rig.run(0, 0, 0, 8 * i, 8), 0)
      rig.device.powerLoss(1)
      const wp = rig.device.chunks.wp[0]
      const state = rig.device.chunks.state[0]
      expect(state).toBe(wp === 0 ? CHUNK_FREE : CHUNK_OPEN)
    }
  })
})
