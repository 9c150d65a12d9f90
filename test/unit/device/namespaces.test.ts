// Namespaces that come and go, formats, firmware, sanitize, doorbell buffers: admin commands that change the drive.

import { describe, expect, it } from 'vitest'
import { readU16, readU32, readU64 } from '../../../src/device/nvme/bytes.js'
import { blocks, PAGE, ready, type Rig } from './rig.js'

const DNR = 0x4000
const MANAGE = 0x0d
const ATTACH = 0x15

function create(
  rig: Rig,
  size: number,
  more: { format?: number; dps?: number; capacity?: number } = {},
): { status: number; nsid: number } {
  const at = rig.alloc(PAGE)
  rig.view.setU64(at, size)
  rig.view.setU64(at + 8, more.capacity ?? size)
  rig.view.bytes[at + 26] = more.format ?? 0
  rig.view.bytes[at + 29] = more.dps ?? 0
  const { status, dw0 } = rig.admin({ opcode: MANAGE, prp1: at, cdw: [0] })
  return { status, nsid: dw0 }
}

function attach(rig: Rig, nsid: number, select = 0, ids = [0]): number {
  const at = rig.alloc(PAGE)
  rig.view.setU32(at, ids.length | ((ids[0] ?? 0) << 16))
  return rig.admin({ opcode: ATTACH, nsid, prp1: at, cdw: [select] }).status
}

function remove(rig: Rig, nsid: number): number {
  return rig.admin({ opcode: MANAGE, nsid, cdw: [1] }).status
}

function small(): Rig {
  return ready({ config: { slots: 4, namespaces: [{ bytes: 2 ** 22, format: 0 }] } })
}

function ids(rig: Rig, cns: number): number[] {
  const list = rig.identify(cns) as Uint8Array
  return [0, 1, 2, 3, 4].map(i => readU32(list, 4 * i)).filter(id => id !== 0)
}

describe('namespaces', () => {
  it('create, attach, use, detach, delete; the host is told', () => {
    const rig = small()
    rig.setFeature(0x0b, 0x100)
    const event = rig.push(0, { opcode: 0x0c })
    rig.ring(0)
    const { status, nsid } = create(rig, 512, { format: 2 })
    expect([status, nsid]).toEqual([0, 2])
    expect([ids(rig, 2), ids(rig, 0x10)]).toEqual([[1], [1, 2]])
    const prp1 = rig.alloc(PAGE)
    const write = { opcode: 1, nsid, prp1, cdw: blocks(511, 1) }
    expect(rig.execute(1, write).status).toBe(0x002 | DNR)
    rig.push(0, { opcode: ATTACH, nsid, prp1: controllers(rig), cdw: [0] })
    rig.ring(0)
    const done = rig.reap(0)
    expect(done.find(c => c.cid === event)?.dw0).toBe(0x040002)
    rig.view.fill(prp1, PAGE, 7)
    expect(rig.execute(1, write).status).toBe(0)
    rig.view.fill(prp1, PAGE, 0)
    expect(rig.execute(1, { ...write, opcode: 2 }).status).toBe(0)
    expect(rig.bytes(prp1, 1)[0]).toBe(7)
    expect(rig.execute(1, { ...write, cdw: blocks(512, 1) }).status).toBe(0x080 | DNR)
    expect(readU32(rig.log(4, 4096) as Uint8Array, 0)).toBe(2)
    expect(readU32(rig.log(4, 4096) as Uint8Array, 0)).toBe(0)
    expect(attach(rig, nsid, 1)).toBe(0)
    expect(remove(rig, nsid)).toBe(0)
    expect(remove(rig, nsid)).toBe(0x002 | DNR)
  })

  function controllers(rig: Rig): number {
    const at = rig.alloc(PAGE)
    rig.view.setU32(at, 1)
    return at
  }

  it('every error has its status', () => {
    const rig = small()
    expect(create(rig, 100, { format: 9 }).status).toBe(0x10a | DNR)
    expect(create(rig, 100, { dps: 1 }).status).toBe(0x10a | DNR)
    expect(create(rig, 100, { capacity: 50 }).status).toBe(0x11b | DNR)
    expect(create(rig, 2 ** 30).status).toBe(0x115 | DNR)
    expect([2, 3, 4].map(() => create(rig, 8).nsid)).toEqual([2, 3, 4])
    expect(create(rig, 8).status).toBe(0x116 | DNR)
    expect(attach(rig, 1)).toBe(0x118 | DNR)
    expect(attach(rig, 2, 1)).toBe(0x11a | DNR)
    expect(attach(rig, 2, 0, [5])).toBe(0x11c | DNR)
    expect(attach(rig, 9)).toBe(0x00b | DNR)
    expect(rig.admin({ opcode: MANAGE, cdw: [2] }).status).toBe(0x002 | DNR)
    expect(remove(rig, 0xffffffff)).toBe(0)
    expect(ids(rig, 0x10)).toEqual([])
  })

  it('what is deleted leaves no data behind, and neighbours keep theirs', () => {
    const rig = small()
    const prp1 = rig.alloc(PAGE)
    const fill = (nsid: number, byte: number): void => {
      rig.view.fill(prp1, PAGE, byte)
      expect(rig.execute(1, { opcode: 1, nsid, prp1, cdw: blocks(0, 8) }).status).toBe(0)
    }
    const read = (nsid: number): number => {
      expect(rig.execute(1, { opcode: 2, nsid, prp1, cdw: blocks(0, 8) }).status).toBe(0)
      return rig.bytes(prp1, 1)[0]!
    }
    for (const nsid of [2, 3]) {
      create(rig, 64)
      attach(rig, nsid)
      fill(nsid, nsid)
    }
    fill(1, 1)
    remove(rig, 2)
    create(rig, 64)
    attach(rig, 2)
    expect([1, 2, 3].map(read)).toEqual([1, 0, 3])
  })

  it('format: other blocks, all zeroes; I/O waits while it lasts', () => {
    const rig = ready({ config: { formatNs: 1e6 } })
    const prp1 = rig.alloc(PAGE)
    rig.view.fill(prp1, PAGE, 1)
    rig.execute(1, { opcode: 1, nsid: 1, prp1, cdw: blocks(0, 8) })
    const format = (word: number): number =>
      rig.admin({ opcode: 0x80, nsid: 1, cdw: [word] }).status
    expect(format(15)).toBe(0x10a | DNR)
    expect(format(2 | (1 << 5))).toBe(0x10a | DNR)
    rig.push(0, { opcode: 0x80, nsid: 1, cdw: [2] })
    rig.ring(0)
    expect(rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(0, 1) }).status).toBe(0x084)
    rig.run(1e6)
    expect(rig.reap(0).map(c => c.status)).toEqual([0])
    const data = rig.identify(0, 1) as Uint8Array
    expect([readU64(data, 0), data[26]]).toEqual([4096, 2])
    expect(rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(0, 1) }).status).toBe(0)
    expect(rig.bytes(prp1, PAGE).every(x => x === 0)).toBe(true)
    expect(rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(4096, 1) }).status).toBe(
      0x080 | DNR,
    )
  })
})

describe('firmware', () => {
  const download = (rig: Rig, text: string, offset = 0): number => {
    const at = rig.alloc(PAGE)
    rig.view.bytes.set(new TextEncoder().encode(text), at)
    return rig.admin({ opcode: 0x11, prp1: at, cdw: [text.length / 4 - 1, offset] }).status
  }
  const commit = (rig: Rig, slot: number, action: number): number =>
    rig.admin({ opcode: 0x10, cdw: [slot | (action << 3)] }).status
  const revision = (rig: Rig): string =>
    String.fromCharCode(...(rig.identify(1) as Uint8Array).subarray(64, 72)).trimEnd()

  it('download, commit, active after a reset or at once', () => {
    const rig = ready({ config: { activateNs: 1e6 } })
    expect(commit(rig, 2, 1)).toBe(0x107 | DNR)
    expect(download(rig, 'rev2')).toBe(0)
    expect(download(rig, 'rev2')).toBe(0x114 | DNR)
    expect(download(rig, '.bin', 1)).toBe(0)
    expect(commit(rig, 2, 1)).toBe(0)
    expect(revision(rig)).toBe('1.0')
    const log = rig.log(3, 512) as Uint8Array
    expect([log[0], String.fromCharCode(...log.subarray(16, 24))]).toEqual([0x21, 'rev2.bin'])
    rig.write(0x14, 0x00460000)
    rig.enable()
    expect(revision(rig)).toBe('rev2.bin')
    rig.setFeature(0x0b, 0x200)
    const event = rig.push(0, { opcode: 0x0c })
    rig.push(0, { opcode: 0x10, cdw: [1 | (3 << 3)] })
    rig.ring(0)
    expect(rig.reap(0).find(c => c.cid === event)?.dw0).toBe(0x030102)
    expect(rig.read(0x1c) & 0x20).toBe(0x20)
    rig.run(1e6)
    expect(rig.read(0x1c) & 0x20).toBe(0)
    expect(revision(rig)).toBe('1.0')
    expect(commit(rig, 5, 2)).toBe(0x107 | DNR)
    expect(commit(rig, 1, 7)).toBe(0x002 | DNR)
  })
})

describe('sanitize', () => {
  it('erases everything in the background; I/O is refused, the log says how far it is', () => {
    const rig = ready({ config: { sanitizeNs: 1e6 } })
    const prp1 = rig.alloc(PAGE)
    rig.view.fill(prp1, PAGE, 1)
    rig.execute(1, { opcode: 1, nsid: 1, prp1, cdw: blocks(0, 8) })
    expect(rig.admin({ opcode: 0x84, cdw: [3] }).status).toBe(0x002 | DNR)
    const event = rig.push(0, { opcode: 0x0c })
    expect(rig.admin({ opcode: 0x84, cdw: [2] }).status).toBe(0)
    rig.run(5e5)
    const log = rig.log(0x81, 512) as Uint8Array
    expect([readU16(log, 0), readU16(log, 2) & 7]).toEqual([32768, 2])
    expect(rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(0, 1) }).status).toBe(0x01d | DNR)
    expect(rig.admin({ opcode: 0x80, nsid: 1, cdw: [0] }).status).toBe(0x01d | DNR)
    rig.run(5e5)
    expect(rig.reap(0).find(c => c.cid === event)?.dw0).toBe(0x810106)
    expect(rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(0, 8) }).status).toBe(0)
    expect(rig.bytes(prp1, PAGE).every(x => x === 0)).toBe(true)
    expect(readU16(rig.log(0x81, 512) as Uint8Array, 2) & 7).toBe(1)
  })
})

describe('doorbell buffers', () => {
  it('nvme-spec 19: tails and heads go through memory, event indices come back', () => {
    const rig = ready()
    const [db, ei] = [rig.alloc(PAGE), rig.alloc(PAGE)]
    expect(rig.admin({ opcode: 0x7c, prp1: db, prp2: ei + 4 }).status).toBe(0x002 | DNR)
    expect(rig.admin({ opcode: 0x7c, prp1: 0, prp2: ei }).status).toBe(0x002 | DNR)
    rig.execute(1, { opcode: 0, nsid: 1 })
    expect(rig.admin({ opcode: 0x7c, prp1: db, prp2: ei }).status).toBe(0)
    expect([rig.view.u32(db + 8), rig.view.u32(db + 12)]).toEqual([1, 1])
    rig.push(1, { opcode: 0, nsid: 1 })
    rig.view.setU32(db + 8, 2)
    rig.ring(1, 2)
    expect(rig.reap(1)).toHaveLength(1)
    rig.ring(1, 2)
    expect(rig.view.u32(ei + 8)).toBe(2)
    rig.write(0x14, 0x00460000)
    rig.enable()
    rig.pair()
    expect(rig.execute(1, { opcode: 0, nsid: 1 }).status).toBe(0)
  })
})

describe('logs', () => {
  it('parts of a page, from an offset inside of it', () => {
    const rig = ready()
    const whole = rig.log(5, 4096) as Uint8Array
    expect(readU32(whole, 4 * 6)).toBe(1)
    expect(readU32(whole, 1024 + 4)).toBe(3)
    expect(rig.log(5, 64, 0, 1024)).toEqual(whole.slice(1024, 1088))
    expect(rig.log(2, 512, 0, 2)).toBe(0x002 | DNR)
    expect(rig.log(2, 512, 0, 512)).toBe(0x002 | DNR)
    expect(rig.log(0x99, 512)).toBe(0x109 | DNR)
  })

  it('keep alive: nothing heard for so long is fatal', () => {
    const rig = ready({ config: { keepAlive: 1 } })
    rig.setFeature(0x0f, 1000)
    rig.run(9e8)
    expect(rig.admin({ opcode: 0x18 }).status).toBe(0)
    rig.run(9e8)
    expect(rig.read(0x1c)).toBe(1)
    rig.run(2e8)
    expect(rig.read(0x1c)).toBe(3)
    expect(ready().admin({ opcode: 0x18 }).status).toBe(0x001 | DNR)
  })

  it('host memory buffer: given, taken, not twice', () => {
    const rig = ready({ config: { hostMemory: { preferred: 16, minimum: 4 } } })
    const list = rig.alloc(PAGE)
    rig.view.setU64(list, 0x100000)
    rig.view.setU32(list + 8, 8)
    const set = (enable: number, pages = 8): number =>
      rig.admin({ opcode: 9, cdw: [0x0d, enable, pages, list, 0, 1] }).status
    expect(set(1, 2)).toBe(0x002 | DNR)
    expect(set(1)).toBe(0)
    expect(set(1)).toBe(0x00c | DNR)
    const at = rig.alloc(PAGE)
    expect(rig.feature(0x0d, { prp1: at }).dw0).toBe(1)
    expect([rig.view.u32(at), rig.view.u32(at + 4), rig.view.u32(at + 12)]).toEqual([8, list, 1])
    expect(set(0)).toBe(0)
    expect(set(1)).toBe(0)
  })
})
