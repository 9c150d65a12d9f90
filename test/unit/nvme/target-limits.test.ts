// What bounds the target: memory, connections, time. In virtual time, where seconds cost nothing.

import { describe, expect, it } from 'vitest'
import { put16, put32 } from '../../../src/drivers/nvme/bytes.js'
import { crc32c } from '../../../src/drivers/nvme/crc32c.js'
import {
  NVME_DISC_SUBSYS_NAME,
  connect_command,
  connect_data,
  property_set,
  set_sgl,
} from '../../../src/drivers/nvme/nvme.js'
import {
  icreq_pdu,
  icresp_pdu,
  NO_DIGESTS,
  nvme_tcp_h2c_data,
  put_cmd,
  put_data,
} from '../../../src/drivers/nvme/nvme-tcp.js'
import { nvmet_ns_changed } from '../../../src/drivers/nvme/target/core.js'
import { sgl_pool } from '../../../src/drivers/nvme/target/sgl-pool.js'
import { Prng } from '../../fuzz/prng.js'
import { slowCrc } from './raw-host.js'
import { type ListSocket, VirtualTarget, type VirtualOptions, VNQN } from './virtual-target.js'

const NONE = new Uint8Array(0)

function capsule(cmd: Uint8Array, data: Uint8Array = NONE): Uint8Array {
  const out = new Uint8Array(72 + data.length)
  put_cmd(out, 0, cmd, data, NO_DIGESTS)
  return out
}

function connect(qid: number, cntlid: number, kato = 15000, subnqn = VNQN): Uint8Array {
  const cmd = connect_command({ qid, sqsize: 31, kato })
  const data = connect_data(new Uint8Array(16), cntlid, subnqn, 'nqn.test')
  set_sgl(cmd, 1, data.length)
  return capsule(cmd, data)
}

const ICREQ = icreq_pdu({ pfv: 0, pda: 0, limit: 0, ...NO_DIGESTS })

function enable(): Uint8Array {
  const cmd = property_set(0x14, 0x00460001)
  set_sgl(cmd, 0x5a, 0)
  return capsule(cmd)
}

function command(opcode: number, cid: number, length = 0, nsid = 1): Uint8Array {
  const cmd = new Uint8Array(64)
  cmd[0] = opcode
  cmd[1] = 0x40
  put16(cmd, 2, cid)
  put32(cmd, 4, nsid)
  if (length > 0) put16(cmd, 48, length / 512 - 1)
  set_sgl(cmd, 0x5a, length)
  return capsule(cmd)
}

class Rig {
  readonly virtual: VirtualTarget
  readonly admin: ListSocket

  constructor(options: VirtualOptions = {}, kato = 15000) {
    this.virtual = new VirtualTarget(options)
    this.admin = this.virtual.accept().sock
    for (const bytes of [ICREQ, connect(0, 0xffff, kato), enable()]) this.admin.bring(bytes)
    this.virtual.settle()
    this.admin.take()
  }

  io(qid: number): ListSocket {
    const { sock } = this.virtual.accept()
    sock.bring(ICREQ)
    sock.bring(connect(qid, 1, 0))
    this.virtual.settle()
    sock.take()
    return sock
  }
}

describe('memory', () => {
  const inCapsule = (cid: number): Uint8Array => {
    const write = new Uint8Array(64)
    write.set(command(1, cid, 4096).subarray(8, 72))
    put32(write, 40, 1024 + 8 * cid)
    set_sgl(write, 1, 4096)
    return capsule(write, new Uint8Array(4096).fill(cid))
  }

  /** H2CData for all that one R2T asks for. */
  const asked = (r2t: Buffer): Uint8Array => {
    const [cid, ttag] = [r2t.readUInt16LE(8), r2t.readUInt16LE(10)]
    const [offset, length] = [r2t.readUInt32LE(12), r2t.readUInt32LE(16)]
    const out = new Uint8Array(24 + length)
    const fields = { cid, ttag, offset, length }
    put_data(out, 0, nvme_tcp_h2c_data, 4, fields, new Uint8Array(length), NO_DIGESTS)
    return out
  }

  it('a reader that takes nothing holds its share of the pool at most, and gets all in the end', () => {
    const rig = new Rig({ poolBytes: 4 * 2 ** 20 })
    const io = rig.io(1)
    io.writeable = false
    for (let cid = 0; cid < 31; cid++) io.bring(command(2, cid, 2 ** 18))
    rig.virtual.settle()
    expect(io.take().length).toBe(0)
    expect(rig.virtual.pool.used).toBe(3 * 2 ** 18)
    // somebody else has room
    const other = rig.io(2)
    other.bring(command(2, 1, 2 ** 19))
    rig.virtual.settle()
    expect(other.take().length).toBe(2 ** 19 + 48)
    io.writeable = true
    io.sk_write_space()
    rig.virtual.settle()
    expect(io.take().length).toBe(31 * (2 ** 18 + 48))
    expect(rig.virtual.pool.used).toBe(0)
  })

  it('a sender that asks for more commands than its queue has is not read from', () => {
    const rig = new Rig()
    const io = rig.io(1)
    io.writeable = false
    for (let cid = 0; cid < 500; cid++) io.bring(command(0, cid))
    rig.virtual.settle()
    expect(io.received.length).toBeGreaterThan(460)
    io.writeable = true
    io.sk_write_space()
    rig.virtual.settle()
    expect(io.take().length).toBe(500 * 24)
    expect(io.received).toEqual([])
  })

  it('data in capsules wait for room before they are read', () => {
    const rig = new Rig({ poolBytes: 4 * 2 ** 20 })
    const io = rig.io(1)
    // reads for a quarter of what is free of the pool, and nobody takes their data
    io.writeable = false
    for (let cid = 0; cid < 4; cid++) io.bring(command(2, cid, cid < 3 ? 2 ** 18 : 2 ** 16))
    io.bring(inCapsule(9))
    rig.virtual.settle()
    expect(rig.virtual.pool.used).toBe(3 * 2 ** 18 + 2 ** 16)
    expect(io.received.length).toBe(1)
    io.hangUp()
    rig.virtual.pass(0.02)
    expect(rig.virtual.pool.used).toBe(0)
  })

  it('data in capsules do not stand in the way of data that were asked for: those come behind them', () => {
    const rig = new Rig({ poolBytes: 4 * 2 ** 20 })
    const io = rig.io(1)
    for (let cid = 0; cid < 8; cid++) io.bring(command(1, cid, cid === 3 ? 2 ** 16 : 2 ** 18))
    rig.virtual.settle()
    let sent = io.take()
    // four have all that one connection may hold; what comes now is kept beside the pool
    expect(sent.length).toBe(4 * 24)
    for (let cid = 16; cid < 30; cid++) io.bring(inCapsule(cid))
    rig.virtual.settle()
    expect([rig.virtual.pool.used, rig.virtual.port.beside]).toEqual([
      3 * 2 ** 18 + 2 ** 16,
      14 * 4096,
    ])
    const done: number[] = []
    while (sent.length > 0) {
      for (let at = 0; at < sent.length; at += 24) {
        const part = sent.subarray(at, at + 24)
        if (part[0] === 9) io.bring(asked(part))
        else done.push(part.readUInt16LE(20))
      }
      rig.virtual.settle()
      sent = io.take()
    }
    expect(done.toSorted((a, b) => a - b)).toEqual([
      ...Array.from({ length: 8 }, (_, i) => i),
      ...Array.from({ length: 14 }, (_, i) => i + 16),
    ])
    expect([rig.virtual.pool.used, rig.virtual.port.beside]).toEqual([0, 0])
    const read = new Uint8Array(64)
    read.set(command(2, 1, 4096).subarray(8, 72))
    put32(read, 40, 1024 + 8 * 29)
    io.bring(capsule(read))
    rig.virtual.settle()
    expect(
      io
        .take()
        .subarray(24, 24 + 4096)
        .every(byte => byte === 29),
    ).toBe(true)
  })

  it('what is kept beside the pool goes with its connection, and is bounded', () => {
    const rig = new Rig({ poolBytes: 2 ** 17 })
    const io = rig.io(1)
    for (let cid = 0; cid < 8; cid++) io.bring(command(1, cid, 4096))
    for (let cid = 8; cid < 29; cid++) {
      const write = new Uint8Array(64)
      write.set(command(1, cid, 16384).subarray(8, 72))
      set_sgl(write, 1, 16384)
      io.bring(capsule(write, new Uint8Array(16384)))
    }
    rig.virtual.settle()
    expect(rig.virtual.port.beside).toBe(2 ** 17)
    expect(io.received.length).toBeGreaterThan(0)
    io.hangUp()
    rig.virtual.pass(0.02)
    expect([rig.virtual.pool.used, rig.virtual.port.beside]).toEqual([0, 0])
  })

  it('connections beyond the limit close the oldest that are no queue yet, never a queue', () => {
    const rig = new Rig({ maxQueues: 8 })
    const { virtual } = rig
    const io = rig.io(1)
    const all = Array.from({ length: 100 }, () => virtual.accept())
    expect(virtual.port.queues.size).toBeLessThanOrEqual(8 + 64)
    virtual.pass(0.02)
    expect(virtual.port.queues.size).toBeLessThanOrEqual(8)
    expect(all.filter(one => one.sock.released).length).toBeGreaterThanOrEqual(94)
    expect([rig.admin.released, io.released]).toEqual([false, false])
    // a host that comes now gets its turn
    for (let qid = 2; qid < 8; qid++) rig.io(qid)
    virtual.pass(0.02)
    expect(virtual.subsys.ctrls[0]!.sqs.size).toBe(8)
    // with queues alone, nobody else does
    expect(virtual.accept().queue).toBeNull()
    io.hangUp()
    virtual.pass(0.02)
    expect(virtual.accept().queue).not.toBeNull()
  })

  it('a connection that does not connect a queue is closed after 30 s', () => {
    const virtual = new VirtualTarget()
    const { sock } = virtual.accept()
    sock.bring(ICREQ)
    virtual.pass(29)
    expect(sock.released).toBe(false)
    virtual.pass(2)
    expect(sock.released).toBe(true)
    expect(virtual.port.queues.size).toBe(0)
  })

  it('the pool gives everything back, whatever the order', () => {
    const pool = new sgl_pool(65536, 2 ** 20)
    const random = new Prng(5)
    const held: { at: number; bytes: number }[] = []
    for (let n = 0; n < 20_000; n++) {
      if (random.chance(55)) {
        const bytes = 1 + random.below(random.pick([512, 5000, 200_000]))
        const at = pool.alloc(bytes)
        if (at === 0) continue
        const clash = held.some(h => at < h.at + h.bytes && h.at < at + bytes)
        expect(clash || at < 65536 || at + bytes > 65536 + 2 ** 20).toBe(false)
        held.push({ at, bytes })
      } else if (held.length > 0) {
        const [one] = held.splice(random.below(held.length), 1)
        pool.free(one!.at, one!.bytes)
      }
    }
    for (const { at, bytes } of held) pool.free(at, bytes)
    expect(pool.used).toBe(0)
    expect(pool.alloc(2 ** 20)).toBe(65536)
  })
})

describe('keep-alive', () => {
  it('nvme-fabrics 16.16: 15 s after the last command in the older form', () => {
    const rig = new Rig({ tbkas: false })
    rig.virtual.pass(10)
    rig.admin.bring(command(0x18, 1))
    rig.virtual.pass(14)
    expect(rig.admin.released).toBe(false)
    rig.virtual.pass(2)
    expect(rig.admin.released).toBe(true)
    expect(rig.virtual.subsys.ctrls).toEqual([])
  })

  it('nvme-fabrics 16.16: 30 s where any command is a sign of life', () => {
    const rig = new Rig()
    rig.admin.bring(command(0x18, 1))
    rig.virtual.settle()
    rig.virtual.pass(29)
    expect(rig.admin.released).toBe(false)
    rig.virtual.pass(2)
    expect(rig.admin.released).toBe(true)
  })

  it('commands alone keep a controller alive', () => {
    const rig = new Rig()
    const io = rig.io(1)
    for (let n = 0; n < 10; n++) {
      rig.virtual.pass(10)
      io.bring(command(0, n))
    }
    expect(rig.admin.released).toBe(false)
    expect(io.released).toBe(false)
  })

  it('an expiry takes the I/O queues along', () => {
    const rig = new Rig()
    const io = rig.io(1)
    rig.virtual.pass(40)
    expect([rig.admin.released, io.released]).toEqual([true, true])
    expect(rig.virtual.port.queues.size).toBe(0)
  })

  it('kato 0 asks for none', () => {
    const rig = new Rig({}, 0)
    rig.virtual.pass(1000)
    expect(rig.admin.released).toBe(false)
  })

  it('a discovery controller that asked for none has 120 s', () => {
    const virtual = new VirtualTarget({ tbkas: false })
    const { sock } = virtual.accept()
    sock.bring(ICREQ)
    sock.bring(connect(0, 0xffff, 0, NVME_DISC_SUBSYS_NAME))
    virtual.pass(119)
    expect(sock.released).toBe(false)
    virtual.pass(2)
    expect(sock.released).toBe(true)
  })

  it.each([
    [1, 1],
    [4999, 5],
    [15_001, 16],
  ])('%i ms are %i s', (kato, seconds) => {
    const rig = new Rig({ tbkas: false }, kato)
    expect(rig.virtual.subsys.ctrls[0]!.kato).toBe(seconds)
    rig.virtual.pass(seconds - 0.1)
    expect(rig.admin.released).toBe(false)
    rig.virtual.pass(1.2)
    expect(rig.admin.released).toBe(true)
  })
})

describe('nvme-fabrics 4.3: controller identifiers', () => {
  it('are 1 to FFEFh, the lowest that is free; then Connect gets 181', () => {
    const virtual = new VirtualTarget()
    const { cntlids } = virtual.target
    const attempt = (): { status: number; cntlid: number; sock: ListSocket } => {
      const { sock } = virtual.accept()
      sock.bring(ICREQ)
      sock.bring(connect(0, 0xffff))
      virtual.settle()
      const rsp = sock.take().subarray(128 + 8)
      return { status: rsp.readUInt16LE(14) >> 1, cntlid: rsp.readUInt32LE(0), sock }
    }
    expect(attempt()).toMatchObject({ status: 0, cntlid: 1 })
    for (let id = 2; id < 0xffef; id++) cntlids.add(id)
    const last = attempt()
    expect(last).toMatchObject({ status: 0, cntlid: 0xffef })
    expect(attempt()).toMatchObject({ status: 0x4181, cntlid: 0 })
    last.sock.hangUp()
    virtual.pass(0.1)
    expect(attempt()).toMatchObject({ status: 0, cntlid: 0xffef })
  })
})

describe('events', () => {
  it('a changed namespace is reported once, until its log is read', () => {
    const rig = new Rig()
    const features = new Uint8Array(64)
    features.set(command(9, 1).subarray(8, 72))
    put32(features, 40, 0x0b)
    put32(features, 44, 0x100)
    rig.admin.bring(capsule(features))
    rig.admin.bring(command(0x0c, 31))
    rig.admin.bring(command(0x0c, 30))
    rig.virtual.settle()
    rig.admin.take()
    nvmet_ns_changed(rig.virtual.subsys, 1)
    nvmet_ns_changed(rig.virtual.subsys, 1)
    rig.virtual.settle()
    const answer = rig.admin.take()
    expect(answer.length).toBe(24)
    expect(answer.readUInt32LE(8)).toBe(0x040002)
    const log = new Uint8Array(64)
    log.set(command(2, 5).subarray(8, 72))
    put32(log, 40, 4 | (1023 << 16))
    set_sgl(log, 0x5a, 4096)
    rig.admin.bring(capsule(log))
    rig.virtual.settle()
    expect(rig.admin.take().readUInt32LE(24)).toBe(1)
    nvmet_ns_changed(rig.virtual.subsys, 1)
    rig.virtual.settle()
    expect(rig.admin.take().readUInt32LE(8)).toBe(0x040002)
    // a host that retains the event gets no other
    rig.admin.bring(command(0x0c, 29))
    put32(log, 40, 4 | 0x8000 | (1023 << 16))
    rig.admin.bring(capsule(log))
    rig.virtual.settle()
    expect(rig.admin.take().readUInt32LE(24)).toBe(1)
    nvmet_ns_changed(rig.virtual.subsys, 1)
    rig.virtual.settle()
    expect(rig.admin.take().length).toBe(0)
  })
})

describe('nvme-fabrics 11: CRC32C', () => {
  it('has the known values', () => {
    const text = (s: string): Uint8Array => new TextEncoder().encode(s)
    expect(crc32c(text('123456789'))).toBe(0xe3069283)
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e)
    const header = new Uint8Array(72)
    header.set([4, 1, 72, 0, 76])
    expect(crc32c(header)).toBe(0xb1c1eaba)
  })

  it('is the same as one bit at a time', () => {
    const random = new Prng(3)
    for (let n = 0; n < 300; n++) {
      const bytes = Uint8Array.from({ length: random.below(100) }, () => random.next())
      expect(crc32c(bytes)).toBe(slowCrc(bytes))
    }
  })
})

describe('nvme-fabrics 16: bytes on the wire', () => {
  it('nvme-fabrics 16.7: ICResp of a target that takes 131072 bytes at once', () => {
    const pdu = icresp_pdu({ pfv: 0, pda: 0, hdr_digest: false, data_digest: false, limit: 131072 })
    expect([...pdu.subarray(0, 16)]).toEqual([1, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0])
  })

  it('nvme-fabrics 16.4, nvme-fabrics 16.5, nvme-fabrics 16.6: Connect and ICReq', () => {
    const cmd = connect_command({ qid: 0, sqsize: 31, kato: 15000 })
    const data = new Uint8Array(1024)
    const out = new Uint8Array(2000)
    expect(put_cmd(out, 0, cmd, data, NO_DIGESTS)).toBe(1096)
    expect([...out.subarray(0, 8)]).toEqual([4, 0, 0x48, 0x48, 0x48, 4, 0, 0])
    expect(put_cmd(out, 0, cmd, data, { hdr_digest: true, data_digest: true })).toBe(1104)
    expect([...out.subarray(0, 8)]).toEqual([4, 3, 0x48, 0x4c, 0x50, 4, 0, 0])
    expect(ICREQ.length).toBe(128)
    expect([...ICREQ.subarray(0, 16)]).toEqual([0, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  })
})
