// The controller as a host sees it: registers, handshakes, queues, the admin commands about the controller itself. Numbers in
// names are those of the device-side statements.

import { describe, expect, it } from 'vitest'
import { readU16, readU32, readU64 } from '../../../src/device/nvme/bytes.js'
import { DEFAULT_CONFIG } from '../../../src/device/nvme/config.js'
import { capabilities } from '../../../src/device/nvme/registers.js'
import { PAGE, ready, Rig } from './rig.js'

const DNR = 0x4000

function text(data: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...data.subarray(at, at + length)).trimEnd()
}

describe('registers', () => {
  it('nvme-spec 22.1, 22.2: CAP of 1024 entries, contiguous, 7.5 s, pages up to 64 KiB', () => {
    const config = { ...DEFAULT_CONFIG, entries: 1024, mpsMax: 4, weighted: false }
    const [low, high] = capabilities({ ...config, subsystemReset: false })
    expect((BigInt(high) << 32n) | BigInt(low)).toBe(0x004000200f0103ffn)
    expect(((low >>> 24) & 0xff) * 0.5).toBe(7.5)
  })

  it('read-only registers stay, INTMS and INTMC are one mask, misaligned access is nothing', () => {
    const rig = new Rig()
    const before = rig.read(0)
    rig.write(0, 0)
    rig.write(8, 0)
    expect(rig.read(0)).toBe(before)
    expect(rig.read(8)).toBe(0x00010300)
    rig.write(0x0c, 0xf0)
    rig.write(0x10, 0x30)
    expect([rig.read(0x0c), rig.read(0x10)]).toEqual([0xc0, 0xc0])
    rig.write(0x26, 0xffffffff)
    expect(rig.read(0x24)).toBe(0)
    expect(rig.read(0x25)).toBe(0)
    rig.write(0x24, 0xffffffff)
    expect(rig.read(0x24)).toBe(0x0fff0fff)
    expect(rig.controller.read64(0)).toBe((BigInt(rig.read(4)) << 32n) | BigInt(rig.read(0)))
    rig.controller.write64(0x28, 0x1234567890an)
    expect([rig.read(0x28), rig.read(0x2c)]).toEqual([0x4567890a, 0x123])
  })

  it('RDY follows EN after the ready time, in both directions', () => {
    const rig = new Rig({ config: { readyNs: 1000 } })
    rig.enable()
    expect(rig.read(0x1c)).toBe(0)
    rig.run(1000)
    expect(rig.read(0x1c)).toBe(1)
    rig.write(0x14, 0x00460000)
    expect(rig.read(0x1c)).toBe(1)
    rig.run(1000)
    expect(rig.read(0x1c)).toBe(0)
    expect(rig.read(0x24)).toBe(0x001f001f)
  })

  it.each([
    ['ASQ off a page', 0x28, 0x1010],
    ['ACQ off a page', 0x30, 0x1004],
    ['a queue of one entry', 0x24, 0x001f0000],
    ['a queue that cannot be reached', 0x2c, 1],
  ])('CFS instead of RDY: %s', (_, register, value) => {
    const rig = new Rig()
    rig.enable(32, 0x00460000)
    rig.write(register, value)
    rig.write(0x14, 0x00460001)
    expect(rig.read(0x1c)).toBe(2)
    rig.write(0x14, 0x00460000)
    expect(rig.read(0x1c)).toBe(0)
  })

  it.each([
    ['page size', 0x00460081],
    ['command sets', 0x00460011],
    ['arbitration', 0x00463801],
    ['entry sizes', 0x00450001],
  ])('CFS for a CC with another %s than is supported', (_, cc) => {
    const rig = new Rig()
    rig.enable(32, cc)
    expect(rig.read(0x1c)).toBe(2)
  })

  it('shutdown is complete after its time, ends fetching, and is cleared with SHN', () => {
    const rig = new Rig({ config: { shutdownNs: 500 } })
    rig.enable()
    rig.write(0x14, 0x00464001)
    expect(rig.read(0x1c)).toBe(1 | 4)
    rig.run(500)
    expect(rig.read(0x1c)).toBe(1 | 8)
    rig.push(0, { opcode: 0x06, cdw: [1] })
    rig.ring(0)
    expect(rig.reap(0)).toEqual([])
    rig.write(0x14, 0x00460000)
    expect(rig.read(0x1c)).toBe(0)
    rig.enable()
    expect(rig.identify(1)).toBeInstanceOf(Uint8Array)
  })

  it('NSSR acts on one value only, and NSSRO is cleared by writing 1', () => {
    const rig = ready()
    rig.write(0x20, 0x4e564d66)
    expect(rig.read(0x1c)).toBe(1)
    rig.write(0x20, 0x4e564d65)
    expect(rig.read(0x1c)).toBe(0x10)
    expect(rig.read(0x14)).toBe(0)
    rig.write(0x1c, 0x10)
    expect(rig.read(0x1c)).toBe(0)
  })

  it('nothing is fetched without bus mastering', () => {
    const rig = ready()
    rig.controller.busMaster(false)
    rig.push(0, { opcode: 0x06, cdw: [1], prp1: rig.alloc(PAGE) })
    rig.ring(0)
    expect(rig.reap(0)).toEqual([])
    rig.controller.busMaster(true)
    expect(rig.reap(0)).toHaveLength(1)
  })

  it('nvme-spec 22.20: CMBSZ says how large the memory buffer is', () => {
    const rig = new Rig({ config: { cmb: { at: 0, bytes: 64 * 2 ** 20 } } })
    const size = rig.read(0x3c)
    expect((size >>> 12) * 2 ** (12 + 4 * ((size >>> 8) & 15))).toBe(64 * 2 ** 20)
  })

  it('a memory buffer of NVMe 1.4, which hosts have to ask for, is refused', () => {
    const cmb = { at: 0, bytes: 2 ** 20 }
    expect(() => new Rig({ config: { cmb, version: 0x00010400 } })).toThrow(/CMBMSC/)
    expect(new Rig({ config: { version: 0x00010400 } }).read(8)).toBe(0x00010400)
  })
})

describe('identify', () => {
  it('controller: ids, texts, sizes, limits', () => {
    const rig = ready({ config: { mdtsBytes: 131072, serial: 'S1', model: 'M1', slots: 3 } })
    const data = rig.identify(1) as Uint8Array
    expect([readU16(data, 0), readU16(data, 2)]).toEqual([0x1b36, 0x1af4])
    expect([text(data, 4, 20), text(data, 24, 40), text(data, 64, 8)]).toEqual(['S1', 'M1', '1.0'])
    expect(data[77]).toBe(5)
    expect([data[258], data[259], data[512], data[513]]).toEqual([3, 3, 0x66, 0x44])
    expect([readU32(data, 80), readU32(data, 516)]).toEqual([0x00010300, 3])
    expect(text(data, 768, 8)).toBe('nqn.2014')
  })

  it('namespace: size, formats; lists; descriptors', () => {
    const rig = ready({ sizeBytes: 2 ** 24, lbaShift: 12, config: { slots: 4 } })
    const data = rig.identify(0, 1) as Uint8Array
    expect([readU64(data, 0), readU64(data, 8)]).toEqual([4096, 4096])
    expect([data[25], data[26]]).toEqual([4, 2])
    expect([data[128 + 8 + 2], readU16(data, 128 + 8)]).toEqual([12, 0])
    expect((rig.identify(0, 2) as Uint8Array).every(x => x === 0)).toBe(true)
    expect([...(rig.identify(2, 0) as Uint8Array).subarray(0, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0])
    expect((rig.identify(2, 1) as Uint8Array).every(x => x === 0)).toBe(true)
    const ids = rig.identify(3, 1) as Uint8Array
    expect([ids[0], ids[1], ids[20]]).toEqual([2, 16, 0])
    expect([...ids.subarray(4, 20)]).toEqual([...data.subarray(104, 120)])
    expect(rig.identify(0x13)).toHaveProperty([0], 1)
  })

  it('what is wrong is named', () => {
    const rig = ready()
    expect(rig.identify(0, 0)).toBe(0x00b | DNR)
    expect(rig.identify(0, 2)).toBe(0x00b | DNR)
    expect(rig.identify(2, 0xfffffffe)).toBe(0x00b | DNR)
    expect(rig.identify(0x7f)).toBe(0x002 | DNR)
    expect(rig.admin({ opcode: 0x7e }).status).toBe(0x001 | DNR)
    expect(rig.admin({ opcode: 0x06, flags: 0x40, cdw: [1] }).status).toBe(0x002 | DNR)
    expect(rig.admin({ opcode: 0x06, flags: 1, cdw: [1] }).status).toBe(0x002 | DNR)
    expect(rig.admin({ opcode: 0x06, prp1: 2, cdw: [1] }).status).toBe(0x013 | DNR)
    expect(rig.admin({ opcode: 0x06, prp1: 2 ** 40, cdw: [1] }).status).toBe(0x004 | DNR)
  })
})

describe('queues', () => {
  it('nvme-spec 7: errors of Create I/O CQ in their order', () => {
    const rig = new Rig({ entries: 16 })
    rig.enable()
    const at = rig.alloc(PAGE)
    expect(rig.createCq(0, at, 16).status).toBe(0x101 | DNR)
    expect(rig.createCq(5, at + 1, 17).status).toBe(0x101 | DNR)
    expect(rig.createCq(1, at + 1, 1).status).toBe(0x102 | DNR)
    expect(rig.createCq(1, at + 1, 17).status).toBe(0x102 | DNR)
    expect(rig.createCq(1, at + 8, 16, 99).status).toBe(0x013 | DNR)
    expect(rig.createCq(1, at, 16, 8, 2).status).toBe(0x108 | DNR)
    expect(rig.createCq(1, at, 16, 7, 2).status).toBe(0x002 | DNR)
    expect(rig.createCq(1, at, 16, 7).status).toBe(0)
    expect(rig.createCq(1, at, 16, 7).status).toBe(0x101 | DNR)
  })

  it('nvme-spec 7, 22.17: errors of Create I/O SQ, the completion queue first', () => {
    const rig = new Rig({ entries: 16 })
    rig.enable()
    const at = rig.alloc(PAGE)
    expect(rig.createSq(99, at, 16, 5).status).toBe(0x100 | DNR)
    expect(rig.createSq(1, at, 16, 0).status).toBe(0x100 | DNR)
    rig.createCq(1, at, 16)
    expect(rig.createSq(0, at, 16, 1).status).toBe(0x101 | DNR)
    expect(rig.createSq(1, at, 1, 1).status).toBe(0x102 | DNR)
    expect(rig.createSq(1, at + 4, 16, 1).status).toBe(0x013 | DNR)
    expect(rig.createSq(1, at, 16, 1, 0).status).toBe(0x002 | DNR)
    expect(rig.createSq(1, at, 16, 1).status).toBe(0)
    expect(rig.createSq(1, at, 16, 1).status).toBe(0x101 | DNR)
  })

  it('nvme-spec 22.18: a completion queue goes after its submission queues', () => {
    const rig = ready()
    expect(rig.admin({ opcode: 0x04, cdw: [1] }).status).toBe(0x10c)
    expect(rig.admin({ opcode: 0x00, cdw: [2] }).status).toBe(0x101 | DNR)
    expect(rig.admin({ opcode: 0x00, cdw: [1] }).status).toBe(0)
    expect(rig.admin({ opcode: 0x04, cdw: [1] }).status).toBe(0)
    expect(rig.admin({ opcode: 0x04, cdw: [1] }).status).toBe(0x101 | DNR)
  })

  it('65,535 I/O queues, and the last of them works', () => {
    const rig = new Rig({ queues: 65535, entries: 2, poolPages: 16 })
    rig.enable()
    expect(rig.setFeature(7, 0xfffefffe).dw0).toBe(0xfffefffe)
    rig.pair(65535, 2, 1)
    expect(rig.execute(65535, { opcode: 0, nsid: 1 }).status).toBe(0)
  })

  it.each([0, 1, 4])('nvme-spec 22.3: doorbells 4 << %i bytes apart', stride => {
    const rig = new Rig({ config: { stride } })
    rig.enable()
    rig.pair()
    expect(rig.doorbell(1, 1)).toBe(0x1000 + 3 * 4 * 2 ** stride)
    expect(rig.execute(1, { opcode: 0, nsid: 1 }).status).toBe(0)
  })

  it('nvme-spec 22.6: a ring of n takes n - 1 commands', () => {
    for (const entries of [2, 5, 16]) {
      const rig = new Rig({ entries: 16, serviceNs: 1000 })
      rig.enable()
      rig.pair(1, entries)
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < entries - 1; i++) rig.push(1, { opcode: 0, nsid: 1 })
        rig.ring(1)
        rig.run(5000)
        expect(rig.reap(1)).toHaveLength(entries - 1)
      }
    }
  })

  it('nvme-spec 6: submission queues may share a completion queue', () => {
    const rig = ready()
    rig.pair(2, 16, 1, 1)
    rig.pair(3, 16, 1, 1)
    for (const qid of [1, 2, 3]) {
      rig.push(qid, { opcode: 0, nsid: 1 })
      rig.ring(qid)
    }
    expect(rig.reap(1).map(c => [c.sqid, c.sqhd])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ])
  })

  it('nvme-spec 22.5: phases of ten completions in a queue of four', () => {
    const rig = new Rig()
    rig.enable(4)
    const phases = Array.from({ length: 10 }, () => rig.feature(1).phase)
    expect(phases).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
  })

  it('nvme-spec 22.7: status 0x101 with DNR is 0x8203, and 0x8202 in the next round', () => {
    const rig = new Rig()
    rig.enable(4)
    const acq = Number(rig.controller.read64(0x30))
    const halfwords = Array.from({ length: 5 }, (_, i) => {
      rig.createCq(0, acq, 16)
      return rig.view.u32(acq + (i % 4) * 16 + 12) >>> 16
    })
    expect(halfwords).toEqual([0x8203, 0x8203, 0x8203, 0x8203, 0x8202])
  })

  it('nvme-spec 6: a full completion queue holds completions back until its head moves', () => {
    const rig = new Rig({ config: { adminNs: 100 } })
    rig.enable(4)
    for (let i = 0; i < 3; i++) rig.push(0, { opcode: 0x0a, cdw: [1] })
    rig.ring(0)
    rig.run(1000)
    expect(rig.reap(0, false)).toHaveLength(3)
    for (let i = 0; i < 3; i++) rig.push(0, { opcode: 0x0a, cdw: [1] })
    rig.ring(0)
    rig.run(1000)
    expect(rig.reap(0, false)).toEqual([])
    rig.write(rig.doorbell(0, 1), 3)
    rig.run(1000)
    expect(rig.reap(0)).toHaveLength(3)
  })

  it('commands in service end as aborted when their queue is deleted', () => {
    const rig = ready({ serviceNs: 1e6 })
    const cid = rig.push(1, { opcode: 2, nsid: 1, prp1: rig.alloc(PAGE), cdw: [0, 0, 0] })
    rig.ring(1)
    expect(rig.admin({ opcode: 0x00, cdw: [1] }).status).toBe(0)
    expect(rig.reap(1).map(c => [c.cid, c.status])).toEqual([[cid, 0x008]])
  })

  it('nvme-spec 13: Abort ends what is in service with 0x007, and says so when there is nothing', () => {
    const rig = ready({ serviceNs: 1e6 })
    const read = { opcode: 2, nsid: 1, prp1: rig.alloc(PAGE), cdw: [0, 0, 0] }
    const [first, second] = [rig.push(1, read), rig.push(1, read)]
    rig.ring(1)
    expect(rig.admin({ opcode: 8, cdw: [(1 | (second << 16)) >>> 0] })).toMatchObject({
      status: 0,
      dw0: 0,
    })
    expect(rig.reap(1).map(c => [c.cid, c.status])).toEqual([[second, 0x007]])
    expect(rig.admin({ opcode: 8, cdw: [(1 | (999 << 16)) >>> 0] })).toMatchObject({
      status: 0,
      dw0: 1,
    })
    expect(rig.admin({ opcode: 8, cdw: [9] }).status).toBe(0x002 | DNR)
    rig.run(1e6)
    expect(rig.reap(1).map(c => [c.cid, c.status])).toEqual([[first, 0]])
  })

  it('a controller that gives nothing up says so, and ends what is in service when its queue goes', () => {
    const faults = [{ match: { nth: 2 }, action: { kind: 'delay' as const, ns: 5e6 } }]
    const rig = ready({ serviceNs: 1e6, config: { aborts: false, faults } })
    const read = { opcode: 2, nsid: 1, prp1: rig.alloc(PAGE), cdw: [0, 0, 0] }
    const cids = [rig.push(1, read), rig.push(1, read), rig.push(1, read)]
    rig.ring(1)
    const abort = { opcode: 8, cdw: [(1 | (cids[0]! << 16)) >>> 0] }
    expect(rig.admin(abort)).toMatchObject({ status: 0, dw0: 1 })
    expect(rig.reap(1)).toEqual([])
    expect(rig.admin({ opcode: 0x00, cdw: [1] }).status).toBe(0)
    const ended = rig.reap(1).map(c => [c.cid, c.status])
    expect(ended.sort((a, b) => a[0]! - b[0]!)).toEqual(cids.map(cid => [cid, 0]))
    rig.run(1e7)
    expect(rig.reap(1)).toEqual([])
  })

  it('a reset takes queues, commands and events away without a completion', () => {
    const rig = ready({ serviceNs: 1e6 })
    rig.push(1, { opcode: 2, nsid: 1, prp1: rig.alloc(PAGE), cdw: [0, 0, 0] })
    rig.ring(1)
    rig.push(0, { opcode: 0x0c })
    rig.ring(0)
    rig.write(0x14, 0x00460000)
    rig.run(1e7)
    expect([...rig.reap(0), ...rig.reap(1)]).toEqual([])
    rig.enable()
    rig.pair()
    expect(rig.execute(1, { opcode: 0, nsid: 1 }).status).toBe(0)
  })
})

describe('events', () => {
  it('nvme-spec 22.19: the fifth request of four ends at once', () => {
    const rig = ready()
    for (let i = 0; i < 5; i++) rig.push(0, { opcode: 0x0c })
    rig.ring(0)
    expect(rig.reap(0).map(c => c.status)).toEqual([0x105 | DNR])
  })

  it('nvme-spec 3, 12: bad doorbells are events; a class waits until its log was read', () => {
    const rig = ready()
    rig.ring(1, 64) // nobody asked: nobody is told
    for (let i = 0; i < 2; i++) rig.push(0, { opcode: 0x0c })
    rig.ring(0)
    rig.ring(1, 64)
    expect(rig.reap(0).map(c => c.dw0)).toEqual([0x010100])
    rig.write(rig.doorbell(4, 0), 1)
    expect(rig.reap(0)).toEqual([])
    expect(rig.log(1, 64, 0x8000)).toBeInstanceOf(Uint8Array)
    expect(rig.reap(0)).toEqual([])
    rig.push(0, { opcode: 0x02, prp1: rig.alloc(PAGE), cdw: [0x000f0001] })
    rig.ring(0)
    expect(
      rig
        .reap(0)
        .map(c => c.dw0)
        .sort(),
    ).toEqual([0, 0x010000])
  })
})

describe('features', () => {
  it('nvme-spec 22.8, 22.9: the number of queues', () => {
    const rig = new Rig({ queues: 4 })
    rig.enable()
    expect(rig.setFeature(7, 0x00070007).dw0).toBe(0x00030003)
    expect(rig.setFeature(7, 0x0000ffff).status).toBe(0x002 | DNR)
    rig.pair()
    expect(rig.setFeature(7, 0x00070007).status).toBe(0x400c)
    expect(rig.feature(7).dw0).toBe(0x00030003)
  })

  it('current, default, saved, supported; a reset brings back what was saved', () => {
    const rig = ready()
    const arbitration = (select: number): number => rig.feature(1, {}, select).dw0
    expect(arbitration(3)).toBe(5)
    rig.setFeature(1, 3)
    rig.setFeature(1, 4, 1)
    rig.setFeature(1, 5)
    expect([0, 1, 2].map(arbitration)).toEqual([5, 0, 4])
    rig.write(0x14, 0x00460000)
    rig.enable()
    expect([0, 1, 2].map(arbitration)).toEqual([4, 0, 4])
  })

  it('nvme-spec 10: what is wrong with a feature', () => {
    const rig = ready()
    expect(rig.feature(0x7f).status).toBe(0x002 | DNR)
    expect(rig.setFeature(0x7f, 0).status).toBe(0x002 | DNR)
    expect(rig.setFeature(7, 0, 1).status).toBe(0x10d | DNR)
    expect(rig.setFeature(1, 0, 0, { nsid: 1 }).status).toBe(0x10f | DNR)
    expect(rig.setFeature(5, 0, 0, { nsid: 7 }).status).toBe(0x00b | DNR)
    expect(rig.feature(6).status).toBe(0x002 | DNR) // no write cache
    expect(rig.setFeature(9, 8).status).toBe(0x002 | DNR)
  })

  it('timestamp goes on from what was set', () => {
    const rig = ready()
    const at = rig.alloc(PAGE)
    rig.view.setU64(at, 1234567)
    expect(rig.setFeature(0x0e, 0, 0, { prp1: at }).status).toBe(0)
    rig.run(5e6)
    rig.feature(0x0e, { prp1: at })
    expect(readU32(rig.bytes(at, 8), 0)).toBe(1234572)
    expect(rig.bytes(at, 8)[6]).toBe(2)
  })

  it('nvme-spec 22.14: interrupts are held back for 8 entries or 1 ms, not on a vector that says no', () => {
    const rig = ready()
    rig.setFeature(8, 0x0a07)
    const flush = (n: number): number => {
      const before = rig.raised.length
      for (let i = 0; i < n; i++) rig.push(1, { opcode: 0, nsid: 1 })
      rig.ring(1)
      rig.reap(1)
      return rig.raised.length - before
    }
    const dcq = rig.at.dcqs[1]!
    const raisedByCore = (): number => rig.view.u64(dcq + 88)
    flush(7)
    expect(raisedByCore()).toBe(0)
    flush(1)
    expect(raisedByCore()).toBe(1)
    flush(1)
    rig.run(1e6)
    expect(raisedByCore()).toBe(2)
    rig.setFeature(9, 0x10001)
    flush(1)
    expect(raisedByCore()).toBe(3)
  })
})
