// The NVMe/TCP target over real sockets, against a host that was written by hand: what a Linux host does, step by step,
// and what it must never see.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTarget, type Target } from '../../../src/workload/serve.js'
import { closeHost, connectHost, HOSTNQN, icreq, type RawHost, RawQueue } from './raw-host.js'
import { withTarget } from './with-target.js'

const NQN = 'nqn.2026-11.io.phasebit:test'
const SIZE = 64 * 2 ** 20

function pattern(bytes: number, seed: number): Uint8Array {
  const data = new Uint8Array(bytes)
  let x = seed * 2654435761 + 1
  for (let i = 0; i < bytes; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    data[i] = x >>> 24
  }
  return data
}

const write = (slba: number, data: Uint8Array, inCapsule = false) => ({
  opcode: 1,
  nsid: 1,
  cdw: [slba, 0, data.length / 512 - 1],
  ...(inCapsule ? { inline: data } : { out: data }),
})
const read = (slba: number, bytes: number) => ({
  opcode: 2,
  nsid: 1,
  cdw: [slba, 0, bytes / 512 - 1],
  length: bytes,
})

let target: Target

withTarget({ nqn: NQN, devices: [`nvme,size=${SIZE},model=ram`], maxh2cdata: 65536 }, opened => {
  target = opened
})

async function queue(): Promise<RawQueue> {
  const q = await RawQueue.open(target.port)
  await q.init()
  return q
}

/** The one TermReq that came before the end. */
async function termination(q: RawQueue): Promise<{ fes: number; fei: number }> {
  await q.end()
  const term = q.pdus.filter(p => p.type === 3)
  expect(term).toHaveLength(1)
  const { header } = term[0]!
  return { fes: header.readUInt16LE(8), fei: header.readUInt32LE(10) }
}

describe('nvme-fabrics 4: rules of the target', () => {
  it('4.1: the first command must be Connect', async () => {
    const q = await queue()
    expect((await q.run({ opcode: 0x18 })).status).toBe(0x4001)
    expect((await q.property(0, true)).status).toBe(0x4001)
    q.socket.destroy()
  })

  it('4.1: a second Connect is an unknown fabrics type', async () => {
    const q = await queue()
    expect((await q.connect({ subnqn: NQN })).status).toBe(0)
    expect((await q.connect({ subnqn: NQN })).status).toBe(0x4001)
    q.socket.destroy()
  })

  it('nvme-fabrics 16.15: bad subnqn, bad cntlid, sqsize 0, record format', async () => {
    const q = await queue()
    const refused = async (fields: object): Promise<[number, number]> => {
      const { status, dw0 } = await q.connect({ subnqn: NQN, ...fields })
      return [status, dw0]
    }
    expect(await refused({ subnqn: 'nqn.2020-01.com.example:none' })).toEqual([0x4182, 0x10100])
    expect(await refused({ cntlid: 1 })).toEqual([0x4182, 0x10010])
    expect(await refused({ sqsize: 0 })).toEqual([0x4182, 0x2c])
    expect(await refused({ recfmt: 1 })).toEqual([0x4180, 0])
    expect(await refused({ qid: 1, cntlid: 4000 })).toEqual([0x4182, 0x10010])
    expect(await refused({ qid: 1, subnqn: 'nqn.none' })).toEqual([0x4182, 0x10100])
    expect(await refused({})).toEqual([0, expect.any(Number)])
    q.socket.destroy()
  })

  it('4.2: an I/O Connect of another host, and of too large a queue identifier', async () => {
    const host = await connectHost(target.port, NQN, { queues: 1 })
    const q = await queue()
    const { cntlid } = host
    const other = await q.connect({ subnqn: NQN, qid: 2, cntlid, hostnqn: 'nqn.other' })
    expect([other.status, other.dw0]).toEqual([0x4182, 0x10010])
    const high = await q.connect({ subnqn: NQN, qid: 129, cntlid })
    expect([high.status, high.dw0]).toEqual([0x4182, 42])
    expect((await q.connect({ subnqn: NQN, qid: 1, cntlid })).status).toBe(0x400c)
    expect((await q.connect({ subnqn: NQN, qid: 128, cntlid })).status).toBe(0)
    q.socket.destroy()
    closeHost(host)
  })

  it('4.5: nothing but fabrics commands before the controller is enabled', async () => {
    const q = await queue()
    const { dw0 } = await q.connect({ subnqn: NQN })
    expect((await q.identify(1)).status).toBe(0x400c)
    const io = await queue()
    expect((await io.connect({ subnqn: NQN, qid: 1, sqsize: 31, cntlid: dw0 })).status).toBe(0)
    expect((await io.run(read(0, 512))).status).toBe(0x400c)
    await q.setProperty(0x14, 0x00460001)
    expect((await q.identify(1)).status).toBe(0)
    expect((await io.run(read(0, 512))).status).toBe(0)
    q.socket.destroy()
    io.socket.destroy()
  })

  it('4.6: PSDT must be 01 and nothing fused, before rule 1', async () => {
    const q = await queue()
    expect((await q.run({ opcode: 0x18, flags: 0 })).status).toBe(0x4002)
    expect((await q.run({ opcode: 0x18, flags: 0x80 })).status).toBe(0x4002)
    expect((await q.run({ opcode: 0x18, flags: 0x41 })).status).toBe(0x4002)
    q.socket.destroy()
  })

  it('nvme-fabrics 16.14: properties', async () => {
    const q = await queue()
    await q.connect({ subnqn: NQN })
    expect((await q.property(0, true)).result).toBe(0x0000_0020_0f00_03ffn)
    expect((await q.property(8)).result).toBe(0x10300n)
    expect((await q.property(0x14)).result).toBe(0n)
    expect((await q.property(0)).status).toBe(0x4002)
    expect((await q.property(8, true)).status).toBe(0x4002)
    expect((await q.property(0x20)).status).toBe(0x4002)
    expect((await q.setProperty(0x1c, 0)).status).toBe(0x4002)
    expect((await q.setProperty(0x14, 0x460001, true)).status).toBe(0x4002)
    q.socket.destroy()
  })

  it('4.8: CC: enable, disable, shutdown, what cannot be', async () => {
    const q = await queue()
    await q.connect({ subnqn: NQN })
    const csts = async (cc: number): Promise<bigint[]> => {
      await q.setProperty(0x14, cc)
      return [(await q.property(0x1c)).result, (await q.property(0x14)).result]
    }
    expect(await csts(0x00460001)).toEqual([1n, 0x00460001n])
    expect(await csts(0x00460000)).toEqual([0n, 0n])
    expect(await csts(0x00460001)).toEqual([1n, 0x00460001n])
    expect(await csts(0x00464001)).toEqual([8n, 0n])
    expect((await q.identify(1)).status).toBe(0x400c)
    expect(await csts(0x00460000)).toEqual([8n, 0x00460000n])
    expect(await csts(0x00460001)).toEqual([1n, 0x00460001n])
    await csts(0x00460000)
    expect((await csts(0x00470001))[0]).toBe(2n)
    await csts(0x00460000)
    expect((await csts(0x00460061))[0]).toBe(2n)
    q.socket.destroy()
  })

  it('nvme-fabrics 16.13: the SQ head counts, and is 0xFFFF without flow control', async () => {
    const host = await connectHost(target.port, NQN, { queues: 0 })
    const q = await queue()
    const first = await q.connect({ subnqn: NQN, qid: 1, sqsize: 127, cntlid: host.cntlid })
    expect(first.sqhd).toBe(1)
    let last = first
    for (let n = 2; n <= 130; n++) last = await q.run({ opcode: 0, nsid: 1 })
    expect(last.sqhd).toBe(2)
    expect(last.sqid).toBe(1)
    const free = await queue()
    const open = await free.connect({ subnqn: NQN, qid: 2, cattr: 4, cntlid: host.cntlid })
    expect(open.sqhd).toBe(0xffff)
    closeHost(host)
    q.socket.destroy()
    free.socket.destroy()
  })

  it('4.9: without its admin queue the association is over', async () => {
    const host = await connectHost(target.port, NQN, { queues: 2 })
    host.admin.socket.destroy()
    await Promise.all(host.io.map(q => q.end()))
    expect(host.io.every(q => q.closed)).toBe(true)
  })
})

describe('nvme-fabrics 11: frames', () => {
  it('nvme-fabrics 16.7: ICResp', async () => {
    const q = await RawQueue.open(target.port)
    const header = await q.init()
    expect([...header.subarray(0, 16)]).toEqual([
      1, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
    ])
    q.socket.destroy()
  })

  it('nvme-fabrics 16.8, nvme-fabrics 16.9: CapsuleResp and C2HData', async () => {
    const host = await connectHost(target.port, NQN)
    const { pdus } = host.io[0]!
    await host.io[0]!.run(read(0, 4096))
    const [data, rsp] = pdus.slice(-2)
    expect([...data!.header.subarray(0, 8)]).toEqual([7, 4, 24, 24, 0x18, 0x10, 0, 0])
    expect([...rsp!.header.subarray(0, 8)]).toEqual([5, 0, 24, 0, 24, 0, 0, 0])
    closeHost(host)
  })

  it('nvme-fabrics 16.8: CapsuleResp with a header digest', async () => {
    const digests = { header: true, data: false }
    const host = await connectHost(target.port, NQN, { digests })
    await host.io[0]!.run({ opcode: 0, nsid: 1 })
    const rsp = host.io[0]!.pdus.at(-1)!
    expect([...rsp.header.subarray(0, 8)]).toEqual([5, 1, 24, 0, 28, 0, 0, 0])
    closeHost(host)
  })

  it('SUCCESS replaces the response without SQ flow control, of a good read only', async () => {
    const host = await connectHost(target.port, NQN, { cattr: 4 })
    const q = host.io[0]!
    const before = q.pdus.length
    expect((await q.run(read(0, 4096))).status).toBe(0)
    expect(q.pdus.slice(before).map(p => [p.type, p.flags])).toEqual([[7, 12]])
    expect((await q.run(read(SIZE / 512, 4096))).status).toBe(0x4080)
    closeHost(host)
  })

  it('nvme-fabrics 16.12: a write of 256 KiB takes four R2Ts of 64 KiB, one after the other', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    const data = pattern(256 * 1024, 3)
    expect((await q.run(write(64, data))).status).toBe(0)
    expect(q.r2ts.map(r => [r.offset, r.length])).toEqual([
      [0, 65536],
      [65536, 65536],
      [131072, 65536],
      [196608, 65536],
    ])
    expect(Buffer.compare((await q.run(read(64, data.length))).data, data)).toBe(0)
    closeHost(host)
  })

  it.each([
    ['none', { header: false, data: false }],
    ['header', { header: true, data: false }],
    ['data', { header: false, data: true }],
    ['both', { header: true, data: true }],
  ])('data come back with %s digests, in the capsule and by R2T', async (_, digests) => {
    const host = await connectHost(target.port, NQN, { digests, queues: 2 })
    for (const [i, bytes] of [512, 4096, 16384, 16896, 131072, 2 ** 20].entries()) {
      const data = pattern(bytes, i + 1)
      const q = host.io[i % 2]!
      expect((await q.run(write(4096 * i, data, bytes <= 16384))).status).toBe(0)
      expect(Buffer.compare((await q.run(read(4096 * i, bytes))).data, data)).toBe(0)
    }
    closeHost(host)
  })
})

describe('nvme-fabrics 12: what ends a connection', () => {
  const raw = (bytes: number[], plen: number): Buffer => {
    const b = Buffer.alloc(Math.max(plen, 8))
    b.set(bytes)
    b.writeUInt32LE(plen, 4)
    return b
  }

  it.each([
    ['another format version', icreq({ pfv: 1 }), 6, 8],
    ['an alignment', icreq({ hpda: 1 }), 6, 10],
    ['a command before ICReq', raw([4, 0, 72, 0], 72), 2, 0],
    ['an unknown type', raw([0x55, 0, 24, 0], 24), 1, 0],
    ['a PDU of the other side', raw([5, 0, 24, 0], 24), 1, 0],
    ['a wrong header length', raw([0, 0, 72, 0], 72), 1, 2],
    ['a wrong length', raw([0, 0, 128, 0], 127), 1, 4],
    ['digests nobody agreed on', raw([0, 1, 128, 0], 128), 1, 1],
  ])('before the connection is set up: %s', async (_, bytes, fes, fei) => {
    const q = await RawQueue.open(target.port)
    q.socket.write(bytes)
    expect(await termination(q)).toEqual({ fes, fei })
  })

  it('ICReq twice', async () => {
    const q = await queue()
    q.socket.write(icreq({}))
    expect(await termination(q)).toEqual({ fes: 2, fei: 0 })
  })

  it('a wrong header digest', async () => {
    const q = await RawQueue.open(target.port)
    await q.init({ header: true, data: false })
    const b = Buffer.alloc(76)
    b.set([4, 1, 72, 0, 76])
    q.socket.write(b)
    expect(await termination(q)).toEqual({ fes: 3, fei: 0 })
  })

  it('H2CData for an unknown tag, at a wrong place, too long, behind the end', async () => {
    const data = pattern(8192, 9)
    const attempt = async (send: (q: RawQueue, cid: number, ttag: number) => void) => {
      const host = await connectHost(target.port, NQN)
      const q = host.io[0]!
      const cid = q.send({ opcode: 1, nsid: 1, cdw: [0, 0, 15], length: 8192 })
      await q.until(() => q.pdus.at(-1)?.type === 9)
      send(q, cid, q.pdus.at(-1)!.header.readUInt16LE(10))
      const found = await termination(q)
      closeHost(host)
      return found
    }
    expect(await attempt((q, cid) => q.sendData(cid, 99, 0, data))).toEqual({ fes: 1, fei: 10 })
    expect(await attempt((q, cid, tag) => q.sendData(cid + 1, tag, 0, data))).toEqual({
      fes: 1,
      fei: 8,
    })
    expect(await attempt((q, cid, tag) => q.sendData(cid, tag, 512, data.subarray(512)))).toEqual({
      fes: 4,
      fei: 0,
    })
    const long = pattern(65536 + 4, 1)
    expect(await attempt((q, cid, tag) => q.sendData(cid, tag, 0, long, 1e6))).toEqual({
      fes: 5,
      fei: 0,
    })
    const more = pattern(8196, 1)
    expect(await attempt((q, cid, tag) => q.sendData(cid, tag, 0, more))).toEqual({
      fes: 4,
      fei: 0,
    })
  })

  it('more in a capsule than was agreed on', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    q.send(write(0, pattern(16384 + 512, 1), true))
    expect(await termination(q)).toEqual({ fes: 5, fei: 0 })
    closeHost(host)
  })

  it('a fatal error takes the whole association along', async () => {
    const host = await connectHost(target.port, NQN, { queues: 2 })
    host.io[0]!.socket.write(icreq({}))
    await Promise.all([host.admin, ...host.io].map(q => q.end()))
    expect(host.admin.closed).toBe(true)
  })

  it('a wrong data digest spoils its command only', async () => {
    const host = await connectHost(target.port, NQN, { digests: { header: false, data: true } })
    const q = host.io[0]!
    const good = pattern(4096, 1)
    expect((await q.run(write(0, good, true))).status).toBe(0)
    const h = Buffer.alloc(72)
    h.set([4, 2, 72, 72])
    h.writeUInt32LE(72 + 4096 + 4, 4)
    h.set([1, 0x40, 0x77, 0, 1], 8)
    h.writeUInt32LE(7, 8 + 48)
    h.writeUInt32LE(4096, 8 + 32)
    h[8 + 39] = 1
    q.socket.write(Buffer.concat([h, pattern(4096, 2), Buffer.alloc(4)]))
    expect((await q.result(0x77)).status).toBe(0x22)
    expect(Buffer.compare((await q.run(read(0, 4096))).data, good)).toBe(0)
    closeHost(host)
  })

  it('a refused command consumes the data of its capsule', async () => {
    const host = await connectHost(target.port, NQN, { digests: { header: true, data: true } })
    const q = host.io[0]!
    const bad = await q.run({ ...write(0, pattern(4096, 1), true), nsid: 9 })
    expect(bad.status).toBe(0x400b)
    expect((await q.run({ ...write(0, pattern(8192, 1)), nsid: 9 })).status).toBe(0x400b)
    expect(q.r2ts).toEqual([])
    expect((await q.run(read(0, 4096))).status).toBe(0)
    closeHost(host)
  })
})

describe('nvme-fabrics 14: what a Linux host finds', () => {
  let host: RawHost
  beforeAll(async () => {
    host = await connectHost(target.port, NQN, { queues: 1 })
  })
  afterAll(() => closeHost(host))

  it('Identify Controller', async () => {
    const { data } = await host.admin.identify(1)
    expect(data.length).toBe(4096)
    expect(data.readUInt16LE(78)).toBe(host.cntlid)
    expect(data.readUInt32LE(80)).toBe(0x10300)
    expect([data[258], data[259], data[261], data[512], data[513], data[525]]).toEqual([
      3, 3, 7, 0x66, 0x44, 1,
    ])
    expect(data.readUInt16LE(320)).toBe(10)
    expect(data.readUInt16LE(514)).toBe(1024)
    expect(data.readUInt32LE(536)).toBe((1 << 20) | 1)
    expect(data.toString('latin1', 768, 768 + NQN.length + 1)).toBe(`${NQN}\0`)
    expect([data.readUInt32LE(1792), data.readUInt32LE(1796), data.readUInt16LE(1800)]).toEqual([
      1028, 1, 0,
    ])
    expect(data.toString('latin1', 24, 64).trim()).toBe('phasebit')
  })

  it('namespaces: list, identify, descriptors', async () => {
    const list = (await host.admin.identify(2)).data
    expect([list.readUInt32LE(0), list.readUInt32LE(4)]).toEqual([1, 0])
    expect((await host.admin.identify(2, 1)).data.readUInt32LE(0)).toBe(0)
    const ns = (await host.admin.identify(0, 1)).data
    expect(Number(ns.readBigUInt64LE(0))).toBe(SIZE / 512)
    expect(ns[130]).toBe(9)
    const descriptors = (await host.admin.identify(3, 1)).data
    expect([descriptors[0], descriptors[1], descriptors[20], descriptors[21]]).toEqual([
      3, 16, 2, 16,
    ])
    expect(descriptors.subarray(24, 40).equals(ns.subarray(104, 120))).toBe(true)
    expect((await host.admin.identify(0, 0)).status).toBe(0x400b)
    expect((await host.admin.identify(3, 7)).status).toBe(0x400b)
    expect((await host.admin.identify(0, 7)).data.every(byte => byte === 0)).toBe(true)
    expect((await host.admin.identify(6)).status).toBe(0x4002)
  })

  it('features, logs, abort', async () => {
    const { admin } = host
    const set = (fid: number, value: number) => admin.run({ opcode: 9, cdw: [fid, value] })
    const get = (fid: number, value = 0, length = 0) =>
      admin.run({ opcode: 10, cdw: [fid, value], length })
    expect((await set(7, 0x00070007)).dw0).toBe(0x007f007f)
    expect((await set(7, 0xffff0000)).status).toBe(0x4002)
    expect((await set(0x0b, 0x100)).status).toBe(0)
    expect((await get(0x0b)).dw0).toBe(0x100)
    expect((await set(0x0f, 20_500)).dw0).toBe(21_000)
    expect((await get(0x0f)).dw0).toBe(21_000)
    expect((await get(0x81, 1, 16)).data.every(byte => byte === 7)).toBe(true)
    expect((await set(0x81, 1)).status).toBe(0x400c)
    expect((await set(0x55, 1)).status).toBe(0x4002)
    const log = (lid: number, bytes: number, nsid = 0xffffffff, offset = 0) =>
      admin.run({
        opcode: 2,
        nsid,
        cdw: [lid | ((bytes / 4 - 1) << 16), 0, offset],
        length: bytes,
      })
    const effects = (await log(5, 4096)).data
    expect([effects[4 * 6], effects[1024 + 4]]).toEqual([1, 3])
    expect((await log(2, 512)).data[3]).toBe(100)
    expect((await log(2, 512, 7)).status).toBe(0x400b)
    expect((await log(5, 16, 0, 24)).data[0]).toBe(1)
    expect((await log(5, 16, 0, 2)).status).toBe(0x4002)
    expect((await log(0x42, 16)).status).toBe(0x4002)
    expect((await admin.run({ opcode: 8, cdw: [0x10001] })).dw0).toBe(1)
    expect((await admin.run({ opcode: 0x18 })).status).toBe(0)
    expect((await admin.run({ opcode: 0xc0 })).status).toBe(0x4001)
  })

  it('asynchronous events are held, the fifth is one too many', async () => {
    const { admin } = host
    const held = [31, 30, 29, 28].map(cid => admin.send({ opcode: 0x0c, cid }))
    expect((await admin.run({ opcode: 0x0c, cid: 27 })).status).toBe(0x4105)
    expect(held.some(cid => admin.answered(cid))).toBe(false)
  })

  it('I/O: flush, trim, write zeroes, ranges past the end, unknown commands', async () => {
    const q = host.io[0]!
    const data = pattern(65536, 5)
    expect((await q.run(write(0, data))).status).toBe(0)
    expect((await q.run({ opcode: 0, nsid: 1 })).status).toBe(0)
    const range = Buffer.alloc(16)
    range.writeUInt32LE(16, 4)
    range.writeUInt32LE(8, 8)
    expect((await q.run({ opcode: 9, nsid: 1, cdw: [0, 4], inline: range })).status).toBe(0)
    expect((await q.run({ opcode: 8, nsid: 1, cdw: [64, 0, 7] })).status).toBe(0)
    const now = (await q.run(read(0, 65536))).data
    expect(now.subarray(4096, 12288).every(byte => byte === 0)).toBe(true)
    expect(now.subarray(32768, 36864).every(byte => byte === 0)).toBe(true)
    expect(now.subarray(0, 4096).equals(data.subarray(0, 4096))).toBe(true)
    expect((await q.run(read(SIZE / 512 - 1, 1024))).status).toBe(0x4080)
    expect((await q.run(write(SIZE / 512, data.subarray(0, 512)))).status).toBe(0x4080)
    range.writeUInt32LE(SIZE / 512, 8)
    expect((await q.run({ opcode: 9, nsid: 1, cdw: [0, 4], inline: range })).status).toBe(0x4080)
    expect((await q.run({ opcode: 0x77, nsid: 1 })).status).toBe(0x4001)
    expect((await q.run({ ...read(0, 512), length: 1024 })).status).toBe(0x400f)
    expect((await q.run({ ...read(0, 512), length: 2 ** 21 })).status).toBe(0x4002)
  })

  it('128 commands at once on a queue of 128, each answered once', async () => {
    const q = host.io[0]!
    const cids = Array.from({ length: 127 }, (_, i) =>
      q.send({ ...read(8 * i, 4096), cid: 1000 + i }),
    )
    const all = await Promise.all(cids.map(cid => q.result(cid)))
    expect(all.every(rsp => rsp.status === 0 && rsp.data.length === 4096)).toBe(true)
  })
})

describe('discovery', () => {
  const DISC = 'nqn.2014-08.org.nvmexpress.discovery'

  it('lists the subsystem, whole and in parts', async () => {
    const q = await queue()
    expect((await q.connect({ subnqn: DISC, kato: 0 })).status).toBe(0)
    await q.setProperty(0x14, 0x00460001)
    const id = (await q.identify(1)).data
    expect(id.toString('latin1', 768, 768 + DISC.length)).toBe(DISC)
    const log = (bytes: number, offset = 0) =>
      q.run({ opcode: 2, cdw: [0x70 | ((bytes / 4 - 1) << 16), 0, offset], length: bytes })
    const head = (await log(16)).data
    expect(Number(head.readBigUInt64LE(8))).toBe(1)
    const { data } = await log(2048)
    const entry = data.subarray(1024)
    expect([entry[0], entry[1], entry[2]]).toEqual([3, 1, 2])
    expect(entry.readUInt16LE(6)).toBe(0xffff)
    expect(entry.readUInt16LE(8)).toBe(32)
    expect(entry.toString('latin1', 32, 64).trim()).toBe(String(target.port))
    expect(entry.toString('latin1', 256, 256 + NQN.length + 1)).toBe(`${NQN}\0`)
    expect(entry.toString('latin1', 512, 768).trim()).toBe('127.0.0.1')
    expect((await log(1024, 1024)).data.equals(entry)).toBe(true)
    expect((await q.identify(0, 1)).status).toBe(0x4002)
    q.socket.destroy()
  })
})

describe('who may connect', () => {
  it('nvme-fabrics 16.15: a host that is not on the list gets 184, and sees an empty log', async () => {
    const allowed = 'nqn.2020-01.com.example:friend'
    const guarded = await openTarget({
      address: '127.0.0.1',
      port: 0,
      nqn: NQN,
      devices: ['nvme,size=16m,model=ram'],
      allowHosts: [allowed],
    })
    const q = await RawQueue.open(guarded.port)
    await q.init()
    const { status, dw0 } = await q.connect({ subnqn: NQN, hostnqn: HOSTNQN })
    expect([status, dw0]).toEqual([0x4184, 0x10200])
    expect((await q.connect({ subnqn: NQN, hostnqn: allowed })).status).toBe(0)
    q.socket.destroy()
    await guarded.close()
  })
})

describe('a target that is restarted', () => {
  it('has its data again with a store, and nothing without', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'phasebit-serve-'))
    const store = join(folder, 'disk')
    const serve = (stores: string[]) =>
      openTarget({
        address: '127.0.0.1',
        port: 0,
        nqn: NQN,
        devices: ['nvme,size=32m,model=ram'],
        stores,
      })
    const first = await serve([store])
    const host = await connectHost(first.port, NQN)
    const data = pattern(1536 * 1024, 7)
    const q = host.io[0]!
    expect((await q.run(write(3, data.subarray(0, 1024 * 1024)))).status).toBe(0)
    expect((await q.run(write(5000, data.subarray(0, 512), true))).status).toBe(0)
    expect((await q.run({ opcode: 8, nsid: 1, cdw: [100, 0, 99] })).status).toBe(0)
    const before = (await q.run(read(0, 1024 * 1024))).data
    await first.close()
    const second = await serve([store])
    const again = await connectHost(second.port, NQN)
    expect(Buffer.compare((await again.io[0]!.run(read(0, 1024 * 1024))).data, before)).toBe(0)
    const small = (await again.io[0]!.run(read(4999, 1536))).data
    expect(small.subarray(512, 1024).equals(data.subarray(0, 512))).toBe(true)
    expect(small.subarray(0, 512).every(byte => byte === 0)).toBe(true)
    await second.close()
    const third = await serve([])
    const empty = await connectHost(third.port, NQN)
    expect((await empty.io[0]!.run(read(0, 65536))).data.every(byte => byte === 0)).toBe(true)
    await third.close()
    rmSync(folder, { recursive: true })
  })
})
