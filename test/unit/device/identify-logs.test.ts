// nvme-spec, sections 9 and 11 to 13: every structure of Identify, every log page, events and Abort.

import { describe, expect, it } from 'vitest'
import { readU16, readU32 } from '../../../src/device/nvme/bytes.js'
import { changedPage } from '../../../src/device/nvme/logs.js'
import { blocks, PAGE, ready, type Rig } from './rig.js'

const DNR = 0x4000
const RAE = 0x8000

/** Two namespaces, of which the second is attached to nobody. */
function two(): Rig {
  const rig = ready({ config: { slots: 3, namespaces: [{ bytes: 2 ** 22, format: 0 }] } })
  const at = rig.alloc(PAGE)
  rig.view.setU64(at, 64)
  rig.view.setU64(at + 8, 64)
  expect(rig.admin({ opcode: 0x0d, prp1: at, cdw: [0] })).toMatchObject({ status: 0, dw0: 2 })
  return rig
}

function cns(rig: Rig, number: number, nsid = 0, csi = 0, cntid = 0): Uint8Array | number {
  const prp1 = rig.alloc(PAGE)
  const cdw = [(number | (cntid << 16)) >>> 0, (csi << 24) >>> 0]
  const { status } = rig.admin({ opcode: 0x06, nsid, prp1, cdw })
  return status === 0 ? rig.bytes(prp1, PAGE).slice() : status
}

const zero = (data: Uint8Array | number): boolean =>
  typeof data !== 'number' && data.every(byte => byte === 0)
const list = (data: Uint8Array | number): number[] =>
  [0, 4, 8].map(at => readU32(data as Uint8Array, at)).filter(id => id !== 0)

describe('nvme-spec 9: Identify', () => {
  it('CNS 0x00 and 0x11: a namespace that is attached, one that is not, one that there is not', () => {
    const rig = two()
    expect(readU32(cns(rig, 0x00, 1) as Uint8Array, 0)).toBe(2 ** 13)
    expect(zero(cns(rig, 0x00, 2))).toBe(true)
    expect(readU32(cns(rig, 0x11, 2) as Uint8Array, 0)).toBe(64)
    expect(zero(cns(rig, 0x11, 3))).toBe(true)
    for (const nsid of [0, 4])
      for (const n of [0x00, 0x11]) expect(cns(rig, n, nsid)).toBe(0x00b | DNR)
    expect(cns(rig, 0x11, 0xffffffff)).toBe(0x00b | DNR)
    // what all namespaces have in common: formats, and no size
    const common = cns(rig, 0x00, 0xffffffff) as Uint8Array
    expect([readU32(common, 0), common[25], common[128 + 2]]).toEqual([0, 4, 9])
  })

  it('CNS 0x02 and 0x10: identifiers above the one that is named', () => {
    const rig = two()
    expect([0, 1].map(nsid => list(cns(rig, 0x02, nsid)))).toEqual([[1], []])
    expect([0, 1, 2].map(nsid => list(cns(rig, 0x10, nsid)))).toEqual([[1, 2], [2], []])
    for (const nsid of [0xfffffffe, 0xffffffff])
      for (const n of [0x02, 0x07, 0x10]) expect(cns(rig, n, nsid)).toBe(0x00b | DNR)
  })

  it('CNS 0x03: descriptors of an attached namespace', () => {
    const rig = two()
    const ids = cns(rig, 0x03, 1) as Uint8Array
    expect([ids[0], ids[1], ids[20], ids[21]]).toEqual([2, 16, 0, 0])
    expect(cns(rig, 0x03, 2)).toBe(0x002 | DNR)
    expect(cns(rig, 0x03, 0)).toBe(0x00b | DNR)
    expect(cns(rig, 0x03, 4)).toBe(0x00b | DNR)
  })

  it('CNS 0x05 to 0x07, 0x1c: of a command set', () => {
    const rig = two()
    expect(zero(cns(rig, 0x05, 1))).toBe(true)
    expect(cns(rig, 0x05, 2)).toBe(0x00b | DNR)
    expect(zero(cns(rig, 0x06))).toBe(true)
    expect(list(cns(rig, 0x07))).toEqual([1])
    expect(list(cns(rig, 0x07, 0, 2))).toEqual([])
    for (const n of [0x05, 0x06]) expect(cns(rig, n, 1, 3)).toBe(0x002 | DNR)
    expect(readU32(cns(rig, 0x1c) as Uint8Array, 0)).toBe(1)
  })

  it('CNS 0x12 and 0x13: controllers of the subsystem from one on, and of a namespace', () => {
    const rig = two()
    expect(readU16(cns(rig, 0x13) as Uint8Array, 0)).toBe(1)
    expect(readU16(cns(rig, 0x13, 0, 0, 1) as Uint8Array, 0)).toBe(0)
    expect(readU16(cns(rig, 0x12, 1) as Uint8Array, 0)).toBe(1)
    expect(readU16(cns(rig, 0x12, 2) as Uint8Array, 0)).toBe(0)
    expect(cns(rig, 0x12, 3)).toBe(0x002 | DNR)
    expect(cns(rig, 0x12, 0)).toBe(0x00b | DNR)
  })

  it.each([0x04, 0x08, 0x14, 0x15, 0x16, 0x17, 0x20, 0xff])('CNS %i is not there', n => {
    expect(cns(ready(), n, 1)).toBe(0x002 | DNR)
  })
})

describe('nvme-spec 11: log pages', () => {
  it.each([0x00, 0x06, 0x07, 0x0c, 0x70, 0x80, 0xbf, 0xff])('log %i is not there', id => {
    expect(ready().log(id, 64)).toBe(0x109 | DNR)
  })

  it('commands and effects: what is supported is executed, everything else is an invalid opcode', () => {
    const rig = ready({ config: { doorbellBuffer: true, keepAlive: 1 } })
    const log = rig.log(5, 4096) as Uint8Array
    for (let opcode = 0; opcode < 256; opcode++) {
      if (opcode === 0x0c || opcode === 0x84) continue // these change what others answer
      const admin = rig.admin({ opcode, nsid: 0, cdw: [0xffffffff] }).status & 0x7ff
      expect(admin === 0x001, `admin ${opcode}`).toBe(readU32(log, 4 * opcode) === 0)
      const io = rig.execute(1, { opcode, nsid: 1, prp1: 2 ** 40 }).status & 0x7ff
      expect(io === 0x001, `io ${opcode}`).toBe(readU32(log, 1024 + 4 * opcode) === 0)
    }
    expect([0x0c, 0x84].map(opcode => readU32(log, 4 * opcode) & 1)).toEqual([1, 1])
  })

  it('health: power cycles and those without a shutdown', () => {
    const rig = ready()
    const cycle = (): [number, number] => {
      rig.controller.powerLoss()
      rig.controller.busMaster(true)
      rig.enable()
      const log = rig.log(2, 512) as Uint8Array
      return [readU32(log, 112), readU32(log, 144)]
    }
    expect(readU32(rig.log(2, 512) as Uint8Array, 112)).toBe(1)
    expect(cycle()).toEqual([2, 1])
    rig.write(0x14, 0x00464001)
    expect(cycle()).toEqual([3, 1])
  })

  it('changed namespaces: 1024 of them are named, more are not', () => {
    const ids = Array.from({ length: 1025 }, (_, i) => i + 1)
    const named = changedPage(ids.slice(0, 1024)).data
    expect([readU32(named, 0), readU32(named, 4 * 1023)]).toEqual([1, 1024])
    const many = changedPage(ids).data
    expect(readU32(many, 0)).toBe(0xffffffff)
    expect(many.subarray(4).every(byte => byte === 0)).toBe(true)
  })
})

/** Results of the events that have come by now. */
function events(rig: Rig, asked: Set<number>): number[] {
  return rig.reap(0).flatMap(c => (asked.delete(c.cid) ? [c.dw0] : []))
}

function ask(rig: Rig, asked: Set<number>): void {
  asked.add(rig.push(0, { opcode: 0x0c }))
  rig.ring(0)
}

describe('nvme-spec 12: events', () => {
  it('a class is told again when its log was read without RAE, and not before', () => {
    const rig = two()
    const asked = new Set<number>()
    const prp1 = rig.alloc(PAGE)
    rig.view.setU32(prp1, 1) // this controller alone
    const attach = (select: number): void => {
      rig.push(0, { opcode: 0x15, nsid: 2, prp1, cdw: [select] })
      rig.ring(0)
    }
    const read = (id: number, flags: number): void => {
      rig.push(0, { opcode: 2, prp1: rig.alloc(PAGE), cdw: [(id | flags | (1023 << 16)) >>> 0] })
      rig.ring(0)
    }
    rig.setFeature(0x0b, 0x100)
    ask(rig, asked)
    attach(0)
    expect(events(rig, asked)).toEqual([0x040002])
    ask(rig, asked)
    attach(1)
    expect(events(rig, asked)).toEqual([])
    read(4, RAE)
    expect(events(rig, asked)).toEqual([])
    read(2, 0) // another class's log
    expect(events(rig, asked)).toEqual([])
    read(4, 0)
    expect(events(rig, asked)).toEqual([0x040002])
  })

  it('nobody is told what was not asked for', () => {
    const rig = two()
    const asked = new Set<number>()
    ask(rig, asked)
    const prp1 = rig.alloc(PAGE)
    rig.view.setU32(prp1, 1)
    rig.push(0, { opcode: 0x15, nsid: 2, prp1, cdw: [0] })
    rig.ring(0)
    expect(events(rig, asked)).toEqual([])
    expect(asked.size).toBe(1)
  })

  it('Abort takes a request for events back', () => {
    const rig = ready()
    const cid = rig.push(0, { opcode: 0x0c })
    rig.push(0, { opcode: 8, cdw: [(cid << 16) >>> 0] })
    rig.ring(0)
    expect(rig.reap(0).map(c => [c.status, c.dw0])).toEqual([
      [0x007, 0],
      [0, 0],
    ])
  })
})

describe('nvme-spec 13: Abort', () => {
  it('more than there may be at a time: 0x103', () => {
    const rig = ready({ config: { abortLimit: 2, adminNs: 1e6 } })
    for (let i = 0; i < 3; i++) rig.push(0, { opcode: 8, cdw: [(1 | ((500 + i) << 16)) >>> 0] })
    rig.ring(0)
    rig.run(1e7)
    expect(rig.reap(0).map(c => c.status)).toEqual([0, 0, 0x103 | DNR])
    expect(rig.admin({ opcode: 8, cdw: [1] }).status).toBe(0)
  })
})

describe('nvme-spec 3: doorbells', () => {
  function waiting(config: object = {}): { rig: Rig; asked: Set<number> } {
    const rig = ready({ serviceNs: 1e6, config })
    const asked = new Set<number>()
    ask(rig, asked)
    return { rig, asked }
  }

  it('a tail that goes back is an event, and takes nothing away', () => {
    const { rig, asked } = waiting({ serviceSlots: 1 })
    const read = { opcode: 2, nsid: 1, prp1: rig.alloc(PAGE), cdw: blocks(0, 1) }
    for (let i = 0; i < 3; i++) rig.push(1, read)
    rig.ring(1)
    rig.ring(1, 2)
    expect(events(rig, asked)).toEqual([0x010100])
    rig.run(1e7)
    expect(rig.reap(1)).toHaveLength(3)
    rig.ring(1, 3) // the same again is nothing
    expect(rig.execute(1, read).status).toBe(0)
  })

  it('a head beyond what was posted is an event, and makes no room', () => {
    const { rig, asked } = waiting()
    rig.write(rig.doorbell(1, 1), 5)
    expect(events(rig, asked)).toEqual([0x010100])
    expect(rig.execute(1, { opcode: 0, nsid: 1 }).status).toBe(0)
  })

  it('between the doorbells of a wider stride there is none', () => {
    const { rig, asked } = waiting({ stride: 1 })
    rig.write(0x1004, 1)
    expect(events(rig, asked)).toEqual([0x010000])
  })
})

describe('nvme-spec 7: queues', () => {
  it('what cannot be reached, what is not there, what is gone', () => {
    const rig = ready()
    const far = 2 ** 33
    expect(rig.createCq(2, far, 16).status).toBe(0x004 | DNR)
    rig.createCq(2, rig.alloc(PAGE), 16)
    expect(rig.createSq(2, far, 16, 2).status).toBe(0x004 | DNR)
    for (const qid of [0, 3, 99, 65535])
      for (const opcode of [0x00, 0x04])
        expect(rig.admin({ opcode, cdw: [qid] }).status).toBe(0x101 | DNR)
    expect(rig.admin({ opcode: 0x04, cdw: [2] }).status).toBe(0)
    expect(rig.createSq(2, rig.alloc(PAGE), 16, 2).status).toBe(0x100 | DNR)
  })

  it('a completion queue of two submission queues goes after both', () => {
    const rig = ready()
    rig.pair(2, 16, 1, 1)
    const status = (opcode: number, qid: number): number => rig.admin({ opcode, cdw: [qid] }).status
    expect(status(0x04, 1)).toBe(0x10c)
    expect(status(0x00, 1)).toBe(0)
    expect(status(0x04, 1)).toBe(0x10c)
    expect(status(0x00, 2)).toBe(0)
    expect(status(0x04, 1)).toBe(0)
  })
})
