// What hosts of Linux 5.10 to 6.x send to a target, in their order and byte by byte, over real sockets: the answers that they
// go on with, and those that they take for "not supported". Rules that need many controllers, or long waits, are in
// virtual time.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Target } from '../../../src/workload/serve.js'
import { closeHost, connectHost, icreq, pdu, type RawHost, RawQueue } from './raw-host.js'
import { withTarget } from './with-target.js'

const NQN = 'nqn.2026-11.io.phasebit:hosts'
const DISC = 'nqn.2014-08.org.nvmexpress.discovery'
const NO_DIGESTS = { header: false, data: false }
const INVALID_FIELD = 0x4002
const INVALID_OPCODE = 0x4001

let target: Target

withTarget(
  { nqn: NQN, devices: ['nvme,size=64m,model=ram', 'nvme,size=32m,lba=4096,model=ram'] },
  opened => {
    target = opened
  },
)

async function queue(digests = NO_DIGESTS): Promise<RawQueue> {
  const q = await RawQueue.open(target.port)
  await q.init(digests)
  return q
}

const log = (q: RawQueue, lid: number, bytes: number, offset = 0, cdw10 = 0) =>
  q.run({
    opcode: 2,
    nsid: 0xffffffff,
    cdw: [lid | cdw10 | ((bytes / 4 - 1) << 16), 0, offset],
    length: bytes,
  })

describe('a host that discovers', () => {
  it('5.10 to 6.x: Connect without keep-alive, registers, identify, log in parts, shutdown', async () => {
    const q = await queue()
    expect((await q.connect({ subnqn: DISC, kato: 0 })).status).toBe(0)
    expect((await q.property(0, true)).result).toBe(0x0000_0020_0f00_03ffn)
    // 6.1: CC without EN, a read of CC, CAP again, then EN
    for (const cc of [0x00460000, 0x00460001]) {
      expect((await q.setProperty(0x14, cc)).status).toBe(0)
      expect((await q.property(0x14)).result).toBe(BigInt(cc))
      expect((await q.property(0, true)).status).toBe(0)
    }
    expect((await q.property(0x1c)).result).toBe(1n)
    expect((await q.property(8)).result).toBe(0x10300n)
    const { data: id } = await q.identify(1)
    expect(id[111]).toBe(2)
    expect([id.readUInt32LE(80), id.readUInt16LE(514), id.readUInt32LE(536) & 1]).toEqual([
      0x10300, 1024, 1,
    ])
    expect([id[261], id.readUInt32LE(92), id.readUInt32LE(516)]).toEqual([4, 0, 0])
    // header, entries, header: the generation has not changed
    const first = (await log(q, 0x70, 1024)).data
    const entry = (await log(q, 0x70, 1024, 1024)).data
    const again = (await log(q, 0x70, 1024)).data
    expect(first.equals(again)).toBe(true)
    expect([first.readBigUInt64LE(8), first.readUInt16LE(16)]).toEqual([1n, 0])
    expect([...entry.subarray(0, 10)]).toEqual([3, 1, 2, 4, 1, 0, 0xff, 0xff, 32, 0])
    expect(entry[768]).toBe(0)
    // LSP and RAE are no part of the identifier; what is behind the end is zero
    expect((await log(q, 0x70, 1024, 0, 0x8f00)).data.equals(first)).toBe(true)
    expect((await log(q, 0x70, 1024, 65536)).data.every(byte => byte === 0)).toBe(true)
    expect((await log(q, 0x70, 1024, 1)).status).toBe(INVALID_FIELD)
    expect((await log(q, 2, 512)).status).toBe(INVALID_FIELD)
    await q.setProperty(0x14, 0x00464001)
    expect((await q.property(0x1c)).result).toBe(8n)
    q.socket.destroy()
  })

  it('has keep-alive and events, no other feature, no namespaces', async () => {
    const q = await queue()
    await q.connect({ subnqn: DISC, kato: 900_000 })
    await q.setProperty(0x14, 1)
    expect((await q.property(0x1c)).result).toBe(1n)
    const set = (fid: number, value: number) => q.run({ opcode: 9, cdw: [fid, value] })
    const get = (fid: number) => q.run({ opcode: 10, cdw: [fid] })
    expect((await get(0x0f)).dw0).toBe(900_000)
    expect((await set(0x0b, 0)).status).toBe(0)
    expect((await set(7, 0x10001)).status).toBe(INVALID_FIELD)
    expect((await get(7)).status).toBe(INVALID_FIELD)
    for (const cns of [0, 2, 3, 6, 0x1c]) expect((await q.identify(cns)).status).toBe(INVALID_FIELD)
    expect((await q.run({ opcode: 0x18 })).status).toBe(0)
    const held = q.send({ opcode: 0x0c, cid: 31 })
    expect((await q.run({ opcode: 8, cdw: [31 << 16] })).status).toBe(INVALID_OPCODE)
    expect(q.answered(held)).toBe(false)
    q.socket.destroy()
  })
})

describe('a host that connects', () => {
  let host: RawHost
  beforeAll(async () => {
    host = await connectHost(target.port, NQN, { queues: 2, cattr: 4 })
  })
  afterAll(() => closeHost(host))

  it('6.x asks for more than there is, and gets "invalid field" or "invalid opcode"', async () => {
    const { admin } = host
    // 05h, 06h with CSI 0 and 2, 08h: command sets; 10h, 11h, 13h, 16h, 17h, 1Ch
    for (const cns of [5, 6, 8, 0x10, 0x11, 0x13, 0x16, 0x17, 0x1c]) {
      const csi = await admin.run({ opcode: 6, nsid: 1, cdw: [cns, 0x02000000], length: 4096 })
      expect([cns, csi.status, csi.data.length]).toEqual([cns, INVALID_FIELD, 0])
    }
    // error and firmware logs are there; ANA, host-initiated telemetry, endurance groups, persistent events are not
    expect((await log(admin, 1, 64)).status).toBe(0)
    expect((await log(admin, 1, 64 * 63)).data.length).toBe(64 * 63)
    expect((await log(admin, 1, 64 * 128)).data.length).toBe(64 * 128)
    expect((await log(admin, 3, 512)).status).toBe(0)
    for (const lid of [6, 7, 8, 9, 0x0c, 0x0d, 0x12, 0x70, 0x80])
      expect([lid, (await log(admin, lid, 512)).status]).toEqual([lid, INVALID_FIELD])
    // APST, timestamp, host behaviour, temperature thresholds
    const get = (fid: number, length = 0) => admin.run({ opcode: 10, cdw: [fid], length })
    for (const fid of [2, 4, 0x0c, 0x0e, 0x10, 0x11, 0x16, 0x19])
      expect([fid, (await get(fid)).status]).toEqual([fid, INVALID_FIELD])
    expect((await get(6)).dw0).toBe(1)
    // firmware, format, self-test, namespace management, directives, security, sanitize, doorbell buffers, queues
    for (const opcode of [0, 1, 4, 5, 0x0d, 0x10, 0x11, 0x14, 0x15, 0x19, 0x7c, 0x80, 0x81, 0x84])
      expect([opcode, (await admin.run({ opcode })).status]).toEqual([opcode, INVALID_OPCODE])
  })

  it('is no ANA group, nobody reports what 1.4 brought', async () => {
    const { data: id } = await host.admin.identify(1)
    expect([id[76]! & 8, id[111], id[342], id[343]]).toEqual([0, 1, 0, 0])
    expect([id.readUInt32LE(340), id.readUInt32LE(344)]).toEqual([0, 0])
    expect([id.readUInt32LE(92), id.readUInt32LE(96)]).toEqual([0x100, 0x41])
    expect([id.readUInt16LE(256), id.readUInt16LE(520)]).toEqual([0, 12])
    expect(id.readUInt32LE(1792) * 16 - 64).toBe(16384)
    const ns = (await host.admin.identify(0, 2)).data
    expect([ns.readBigUInt64LE(0), ns[25], ns[26], ns[130]]).toEqual([8192n, 0, 0, 12])
  })

  it('the identifier of a command comes back with its generation, in R2T, data and response', async () => {
    const [, q] = host.io
    const cid = 0xf01f
    const data = Buffer.alloc(32768, 3)
    const write = { opcode: 1, nsid: 1, cid, cdw: [0, 0, 63] }
    expect((await q!.run({ ...write, out: data })).cid).toBe(cid)
    expect(q!.r2ts.at(-1)).toEqual({ cid, offset: 0, length: 32768 })
    const back = await q!.run({ opcode: 2, nsid: 1, cid, cdw: [0, 0, 63], length: 32768 })
    expect(back.data.equals(data)).toBe(true)
    expect(q!.pdus.at(-1)!.header.readUInt16LE(8)).toBe(cid)
    expect(q!.pdus.at(-1)!.flags & 0x0c).toBe(0x0c)
  })

  it('discards as 5.10 and later do: 4 KiB of ranges, of which the command uses some', async () => {
    const q = host.io[0]!
    await q.run({ opcode: 1, nsid: 1, cdw: [0, 0, 31], inline: Buffer.alloc(16384, 9) })
    const ranges = Buffer.alloc(4096)
    ranges.writeUInt32LE(8, 4)
    ranges.writeUInt32LE(8, 8)
    expect((await q.run({ opcode: 9, nsid: 1, cdw: [0, 4], inline: ranges })).status).toBe(0)
    const { data } = await q.run({ opcode: 2, nsid: 1, cdw: [0, 0, 31], length: 16384 })
    expect(data.subarray(4096, 8192).every(byte => byte === 0)).toBe(true)
    expect(data.subarray(8192).every(byte => byte === 9)).toBe(true)
    expect(
      (await q.run({ opcode: 9, nsid: 1, cdw: [1, 4], out: ranges.subarray(16) })).status,
    ).toBe(0)
    const few = { opcode: 9, nsid: 1, cdw: [1, 4], inline: ranges.subarray(0, 16) }
    expect((await q.run(few)).status).toBe(0x400f)
  })

  it('I/O commands that are not there; a fabrics command on an I/O queue', async () => {
    const q = host.io[0]!
    // write uncorrectable, compare, verify, reservations, zone commands
    for (const opcode of [4, 5, 0x0c, 0x0d, 0x0e, 0x11, 0x15, 0x79, 0x7a, 0x7d])
      expect([opcode, (await q.run({ opcode, nsid: 1 })).status]).toEqual([opcode, INVALID_OPCODE])
    expect((await q.connect({ subnqn: NQN, qid: 1, cntlid: host.cntlid })).status).toBe(
      INVALID_OPCODE,
    )
    expect((await q.run({ opcode: 0, nsid: 0xffffffff })).status).toBe(0x400b)
    expect((await q.run({ opcode: 2, nsid: 3, cdw: [0, 0, 0], length: 512 })).status).toBe(0x400b)
  })

  it('SGLs that do not fit', async () => {
    const q = host.io[0]!
    const type = (value: number) => (sqe: Buffer) => {
      sqe[39] = value
    }
    const read = { opcode: 2, nsid: 1, cdw: [0, 0, 0], length: 512 }
    // keyed, a segment list, a bit bucket: no descriptors of this transport
    for (const value of [0x40, 0x20, 0x30, 0x10, 0x00])
      expect([value, (await q.run({ ...read, patch: type(value) })).status]).toEqual([
        value,
        0x4011,
      ])
    // an offset into the capsule, for data that go the other way, or that are not there
    expect((await q.run({ ...read, patch: type(1) })).status).toBe(INVALID_FIELD)
    const write = { opcode: 1, nsid: 1, cdw: [0, 0, 0], length: 512 }
    expect((await q.run({ ...write, patch: type(1) })).status).toBe(0x4016)
    // more or less than the command moves
    expect((await q.run({ ...read, length: 0 })).status).toBe(0x400f)
    for (const opcode of [0, 8])
      expect((await q.run({ opcode, nsid: 1, length: 512 })).status).toBe(0x400f)
    for (const opcode of [8, 0x0c, 0x18])
      expect((await host.admin.run({ opcode, length: 512 })).status).toBe(0x400f)
    const buffer = await host.admin.run({ opcode: 10, cdw: [7], length: 512 })
    expect([buffer.status, buffer.data.every(byte => byte === 0)]).toEqual([0, true])
    expect((await host.admin.run({ opcode: 6, cdw: [1], length: 2048 })).status).toBe(0x400f)
  })

  it('a response to a failed read brings no data, also without flow control', async () => {
    const q = host.io[0]!
    const before = q.pdus.length
    const past = await q.run({ opcode: 2, nsid: 1, cdw: [131072, 0, 0], length: 512 })
    expect([past.status, past.sqhd]).toEqual([0x4080, 0xffff])
    expect(q.pdus.slice(before).map(p => p.type)).toEqual([5])
  })
})

describe('more than one controller', () => {
  it('a second association of the same host has an identifier of its own; the first lives on', async () => {
    const one = await connectHost(target.port, NQN)
    const two = await connectHost(target.port, NQN)
    expect(two.cntlid).not.toBe(one.cntlid)
    two.admin.socket.destroy()
    await two.io[0]!.end()
    expect((await one.io[0]!.run({ opcode: 0, nsid: 1 })).status).toBe(0)
    closeHost(one)
  })

  it('a host that was cut off connects again at once, with queues of the same numbers', async () => {
    const first = await connectHost(target.port, NQN, { queues: 2 })
    first.io[0]!.send({ opcode: 1, nsid: 1, cdw: [0, 0, 255], length: 131072 })
    await first.io[0]!.until(() => first.io[0]!.r2ts.length === 1)
    closeHost(first)
    const second = await connectHost(target.port, NQN, { queues: 2 })
    const { status } = await second.io[0]!.run({ opcode: 2, nsid: 1, cdw: [0, 0, 7], length: 4096 })
    expect(status).toBe(0)
    closeHost(second)
  })

  it('reset by the host: CC without EN, RDY falls, the same queues are refused until they are new', async () => {
    const host = await connectHost(target.port, NQN)
    await host.admin.setProperty(0x14, 0x00460000)
    expect((await host.admin.property(0x1c)).result).toBe(0n)
    expect((await host.io[0]!.run({ opcode: 0, nsid: 1 })).status).toBe(0x400c)
    await host.admin.setProperty(0x14, 0x00460001)
    expect((await host.io[0]!.run({ opcode: 0, nsid: 1 })).status).toBe(0)
    const q = await queue()
    const again = { subnqn: NQN, qid: 1, cntlid: host.cntlid }
    expect((await q.connect(again)).status).toBe(0x400c)
    host.io[0]!.socket.destroy()
    // the queue's number is free when its connection is gone
    let status = 0x400c
    while (status === 0x400c) {
      await new Promise(resolve => setTimeout(resolve, 5))
      status = (await q.connect(again)).status
    }
    expect(status).toBe(0)
    q.socket.destroy()
    closeHost(host)
  })
})

describe('frames that come in pieces, or together', () => {
  it('one byte at a time, with both digests', async () => {
    const digests = { header: true, data: true }
    const host = await connectHost(target.port, NQN, { digests })
    const q = host.io[0]!
    const h = Buffer.alloc(72)
    h.set([4, 0, 72])
    h.set([1, 0x40, 0x21, 0, 1], 8)
    h[8 + 39] = 1
    h.writeUInt32LE(512, 8 + 32)
    const bytes = pdu(h, Buffer.alloc(512, 0x5a), digests)
    for (const byte of bytes) {
      q.socket.write(Uint8Array.of(byte))
      await new Promise(resolve => setImmediate(resolve))
    }
    expect((await q.result(0x21)).status).toBe(0)
    const { data } = await q.run({ opcode: 2, nsid: 1, cdw: [0, 0, 0], length: 512 })
    expect(data.every(byte => byte === 0x5a)).toBe(true)
    closeHost(host)
  })

  it('a queue full of commands in one piece', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    q.socket.cork()
    const cids = Array.from({ length: 127 }, (_, i) =>
      q.send({ opcode: i % 2, nsid: 1, cdw: [i], ...(i % 2 ? { inline: Buffer.alloc(512) } : {}) }),
    )
    q.socket.uncork()
    const all = await Promise.all(cids.map(cid => q.result(cid)))
    expect(all.every(({ status }) => status === 0)).toBe(true)
    closeHost(host)
  })
})

describe('what ends a connection, with its code', () => {
  async function code(q: RawQueue): Promise<[number, number, number]> {
    await q.end()
    const { header, data } = q.pdus.find(p => p.type === 3)!
    return [header.readUInt16LE(8), header.readUInt32LE(10), header.readUInt32LE(4) + data.length]
  }

  /** A PDU of an I/O queue that has asked for the data of one write. */
  async function attempt(
    make: (ttag: number, cid: number) => Buffer,
    digests = NO_DIGESTS,
  ): Promise<[number, number, number]> {
    const host = await connectHost(target.port, NQN, { digests })
    const q = host.io[0]!
    const cid = q.send({ opcode: 1, nsid: 1, cdw: [0, 0, 15], length: 8192 })
    await q.until(() => q.r2ts.length === 1)
    const r2t = q.pdus.at(-1)!.header
    q.socket.write(make(r2t.readUInt16LE(10), cid))
    const found = await code(q)
    closeHost(host)
    return found
  }

  const h2c = (ttag: number, cid: number, length: number, plen: number, pdo = 24): Buffer => {
    const b = Buffer.alloc(Math.max(plen, 24))
    b.set([6, 4, 24, pdo])
    b.writeUInt32LE(plen, 4)
    b.writeUInt16LE(cid, 8)
    b.writeUInt16LE(ttag, 10)
    b.writeUInt32LE(length, 16)
    return b
  }

  it.each([
    ['data of another length than the frame', 4096, 24 + 2048, 24, [1, 16, 48]],
    ['no data', 0, 24, 24, [1, 4, 32]],
    ['data that begin in the header', 4096, 24 + 4096, 16, [1, 3, 32]],
    ['data that begin at no multiple of 4', 4096, 24 + 4096, 26, [1, 3, 32]],
    ['data that begin behind the end', 16, 24 + 16, 44, [1, 4, 32]],
  ])('H2CData: %s', async (_, length, plen, pdo, want) => {
    expect(await attempt((ttag, cid) => h2c(ttag, cid, length, plen, pdo))).toEqual(want)
  })

  it('H2CData again, after all data have come', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    await q.run({ opcode: 1, nsid: 1, cdw: [0, 0, 15], out: Buffer.alloc(8192) })
    const { header } = q.pdus.find(p => p.type === 9)!
    q.socket.write(h2c(header.readUInt16LE(10), header.readUInt16LE(8), 512, 24 + 512))
    expect((await code(q)).slice(0, 2)).toEqual([1, 10])
    closeHost(host)
  })

  it('the TermReq quotes the header; ICReq is as long as it says', async () => {
    const q = await RawQueue.open(target.port)
    const wrong = icreq({ pfv: 3 })
    q.socket.write(wrong)
    await q.end()
    const term = q.pdus[0]!
    expect([...term.header.subarray(0, 4)]).toEqual([3, 0, 24, 0])
    expect(term.header.readUInt32LE(4)).toBe(24 + 128)
    const long = await RawQueue.open(target.port)
    const more = Buffer.concat([icreq({}), Buffer.alloc(4)])
    more.writeUInt32LE(132, 4)
    long.socket.write(more)
    expect((await code(long)).slice(0, 2)).toEqual([1, 4])
  })

  it('a TermReq of the host ends it without an answer', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    const before = q.pdus.length
    const term = Buffer.alloc(24)
    term.set([2, 0, 24, 0, 24])
    term.writeUInt16LE(3, 8)
    q.socket.write(term)
    await q.end()
    expect(q.pdus.length).toBe(before)
    closeHost(host)
  })

  it.each([
    ['a header digest is missing', { header: true, data: false }, 0],
    ['a data digest that nobody agreed on', NO_DIGESTS, 2],
  ])('%s', async (_, digests, flags) => {
    const q = await queue(digests)
    const h = Buffer.alloc(72 + 16)
    h.set([4, flags, 72, 72, 88])
    q.socket.write(h)
    expect((await code(q)).slice(0, 2)).toEqual([1, 1])
  })

  it('ICReq: more R2Ts than one, and digests that do not exist, are no reason to refuse', async () => {
    const q = await RawQueue.open(target.port)
    q.socket.write(icreq({ maxr2t: 0xffff, digest: 0xfd }))
    await q.until(() => q.pdus.length > 0)
    const { type, header } = q.pdus[0]!
    expect([type, header[10], header[11]]).toEqual([1, 0, 1])
    q.socket.destroy()
  })
})
